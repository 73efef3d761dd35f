"""Where traces go: a real exporter, and a stand-in for OpenAI's trace store on loopback."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import agents
import httpx2
import pytest
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, RunConfig, Runner, trace
from agents.tracing import TracingProcessor, get_trace_provider
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor
from openai import AsyncOpenAI

from flask_chatkit import ChatKit
from flask_chatkit.server.agents import tracing
from flask_chatkit.server.agents.tracing import guard_run, guard_workflow, tracing_of
from flask_chatkit.server.streaming import loop
from tests.helpers.model_api import KEY, ModelApi, Say, serve_model
from tests.helpers.served import said, visit

clients: list[AsyncOpenAI] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """The clients of models are closed where they were used."""
    yield

    async def close() -> None:
        while clients:
            await clients.pop().close()

    loop.current().run(close, 10)


def client_of(**more: Any) -> AsyncOpenAI:
    """A client that is closed after the test."""
    clients.append(AsyncOpenAI(api_key=KEY, max_retries=0, **more))
    return clients[-1]


class Store:
    """OpenAI's trace store: what it was sent."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                store.items += json.loads(body)["data"]
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces/ingest"
        threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True).start()

    def names(self) -> list[str]:
        """The names of the traces, once all that waits has been sent."""
        get_trace_provider().force_flush()
        return [one["workflow_name"] for one in self.items if one["object"] == "trace"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Own(TracingProcessor):
    """A trace processor of the site's own."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_trace_start(self, trace: Any) -> None:
        self.names.append(trace.name)

    def on_trace_end(self, trace: Any) -> None: ...
    def on_span_start(self, span: Any) -> None: ...
    def on_span_end(self, span: Any) -> None: ...
    def shutdown(self) -> None: ...
    def force_flush(self) -> None: ...


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """OpenAI's exporter, which posts to a stand-in; everything is as it was afterwards."""
    made = Store()
    provider = get_trace_provider()
    before = provider._multi_processor._processors
    exporter = BackendSpanExporter(api_key="sk-traces", endpoint=made.url)
    agents.set_trace_processors([BatchTraceProcessor(exporter)])
    agents.set_tracing_disabled(False)
    monkeypatch.setattr(tracing._Logged, "done", False)
    yield made
    agents.set_tracing_disabled(True)
    provider.shutdown(5)
    provider.set_processors(list(before))
    made.close()


@pytest.fixture
def api() -> Iterator[ModelApi]:
    """A model's API of this test's own."""
    with serve_model() as served:
        yield served


def foreign(api: ModelApi, kind: Any = OpenAIResponsesModel) -> Any:
    """A model that somebody else answers for."""
    return kind("small", client_of(base_url=api.base_url))


def openais(api: ModelApi, host: str = "api.openai.com", kind: Any = OpenAIResponsesModel) -> Any:
    """A model of OpenAI's, whose calls are led to the stand-in."""

    async def lead(request: httpx2.Request) -> None:
        request.url = httpx2.URL(api.base_url).join(request.url.path)

    http = httpx2.AsyncClient(event_hooks={"request": [lead]})
    return kind("small", client_of(base_url=f"https://{host}/v1", http_client=http))


def say(make_app: Any, browse: Any, api: ModelApi, agent: Any, **more: Any) -> None:
    """Have an agent answer a message."""
    api.replies = [Say(["Hello"])]
    kit = ChatKit(store="sqlite://")
    kit.add_agent("default", agent, **more)
    visitor = visit(browse(make_app(kit, CHATKIT_WORKFLOW_ID=None)))
    told = visitor.stream("threads.create", input=said("my secret wish"))
    assert not [one for one in told if one["type"] == "error"], told
    # A title was written as well.
    assert api.titles_asked or more.get("titles") is False


@pytest.mark.parametrize("kind", [OpenAIResponsesModel, OpenAIChatCompletionsModel])
def test_foreign_models_are_not_traced(
    make_app: Any,
    browse: Any,
    store: Store,
    api: ModelApi,
    kind: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is said to somebody else's model does not reach OpenAI, as the log says."""
    for _ in range(2):
        say(make_app, browse, api, Agent(name="Coach", model=foreign(api, kind)))
    assert store.names() == []
    assert store.items == []
    told = [one.getMessage() for one in caplog.records if "Traces" in one.getMessage()]
    assert len(told) == 1
    assert "'Coach' is not OpenAI's, but at 127.0.0.1" in told[0]


@pytest.mark.parametrize("host", ["api.openai.com", "eu.api.openai.com"])
def test_openais_models_are_traced(
    make_app: Any,
    browse: Any,
    store: Store,
    api: ModelApi,
    host: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Runs on OpenAI's models are traced as the SDK does it, titles too, and the log is silent."""
    say(make_app, browse, api, Agent(name="Coach", model=openais(api, host)))
    assert store.names() == ["Agent workflow"] * 2
    assert "Traces" not in caplog.text


def test_model_by_name_is_the_default_clients(
    make_app: Any, browse: Any, store: Store, api: ModelApi
) -> None:
    """A name stands for a model of the default client, wherever that one asks."""
    shared = agents.models._openai_shared
    before = shared.get_default_openai_client()
    try:
        agents.set_default_openai_client(foreign(api)._client, use_for_tracing=False)
        say(make_app, browse, api, Agent(name="Coach", model="small"))
        assert store.names() == []
        agents.set_default_openai_client(openais(api)._client, use_for_tracing=False)
        say(make_app, browse, api, Agent(name="Coach", model="small"))
        assert store.names() == ["Agent workflow"] * 2
    finally:
        shared.set_default_openai_client(before)


def test_each_agent_that_can_be_reached_counts(store: Store, api: ModelApi) -> None:
    """A foreign model behind a handoff, in the configuration or of an adapter's name counts."""
    own = Agent(name="Own", model=openais(api))
    assert tracing_of(own).to_openai
    expert = Agent(name="Expert", model=foreign(api))
    for agent, config in [
        (own.clone(handoffs=[expert]), None),
        (own.clone(tools=[expert.as_tool("expert", "Asks.")]), None),
        (own, RunConfig(model=foreign(api))),
        (Agent(name="Other", model="litellm/claude"), None),
    ]:
        found = tracing_of(agent, config)
        assert (found.to_openai, found.to_site) == (False, False)
        assert "not OpenAI's" in found.reason


def test_site_that_wants_no_traces_is_told_nothing(
    make_app: Any, browse: Any, store: Store, api: ModelApi, caplog: pytest.LogCaptureFixture
) -> None:
    """What the site has switched off stays off, in each of its ways."""
    off = RunConfig(tracing_disabled=True)
    agent = Agent(name="Coach", model=openais(api))
    say(make_app, browse, api, agent, run_options={"run_config": off})
    assert not tracing_of(agent, off).to_openai
    agents.set_tracing_disabled(True)
    say(make_app, browse, api, Agent(name="Coach", model=foreign(api)))
    assert store.names() == []
    assert "switched tracing off" in tracing_of(agent).reason
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_processors_of_the_sites_own_get_all_traces(
    make_app: Any, browse: Any, store: Store, api: ModelApi
) -> None:
    """Beside OpenAI's exporter they get what that one does not; alone they get everything."""
    own = Own()
    agents.add_trace_processor(own)
    agent = Agent(name="Coach", model=foreign(api))
    assert tracing_of(agent) == tracing.Tracing(
        False, True, "the model of the agent 'Coach' is not OpenAI's, but at 127.0.0.1"
    )
    say(make_app, browse, api, agent)
    assert own.names == ["Agent workflow"] * 2
    assert store.names() == []
    agents.set_trace_processors([own])
    say(make_app, browse, api, agent)
    assert len(own.names) == 4


async def workflow() -> None:
    """An exported workflow, in so far as it traces itself."""
    with trace("My workflow"):
        await Runner.run(workflow.agent, "my secret wish", run_config=guard_run(workflow.agent))  # type: ignore[attr-defined]


def test_trace_of_a_workflow_is_kept_back(
    store: Store, api: ModelApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trace that an exported workflow opens itself goes to OpenAI only for OpenAI's models."""

    async def run() -> None:
        guard_workflow(workflow)
        await workflow()

    for model, names in [(foreign(api), []), (openais(api), ["My workflow"])]:
        agent = Agent(name="Coach", model=model)
        monkeypatch.setitem(globals(), "coach", agent)
        monkeypatch.setattr(workflow, "agent", agent, raising=False)
        loop.current().run(run, 20)
        assert store.names() == names
    assert [one for one in store.items if one["object"] == "trace.span"]
