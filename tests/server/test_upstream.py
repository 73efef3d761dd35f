"""The private names of other packages are what the package takes them for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from agents import Agent, exceptions, function_tool, handoff
from agents.mcp.server import MCPServerStdio
from agents.models import fake_id
from agents.models.openai_responses import OpenAIResponsesModel
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor
from agents.tracing.provider import DefaultTraceProvider
from chatkit import agents as chatkit_agents
from chatkit.agents import AgentContext
from chatkit.server import ChatKitServer, NonStreamingResult, StreamingResult
from chatkit.types import ProgressUpdateEvent, ThreadMetadata, ThreadStreamEvent
from openai import AsyncOpenAI
from pydantic import BaseModel
from werkzeug.wsgi import ClosingIterator

from flask_chatkit.server import _upstream
from tests.helpers.stores import TidyStore


class Plain(ChatKitServer[Any]):
    """Nothing but the one method that must be written."""

    def respond(self, *_: Any) -> Any:
        """Answer nothing."""
        raise NotImplementedError


def test_chatkit_processes_requests_by_two_methods() -> None:
    """ChatKitServer.process parses a request and hands it to one of the two methods called here."""
    source = inspect.getsource(ChatKitServer.process)
    assert "self._process_streaming(" in source, "ChatKitServer.process works in another way"
    assert "self._process_non_streaming(" in source, "ChatKitServer.process works in another way"
    for name in ("_process_streaming", "_process_non_streaming"):
        assert list(inspect.signature(getattr(ChatKitServer, name)).parameters) == [
            "self",
            "request",
            "context",
        ], f"ChatKitServer.{name} takes other arguments"


def test_chatkits_note_of_a_stop_is_known() -> None:
    """The note that a stopped answer leaves for the model is the one that is looked for."""
    store = TidyStore()
    thread = ThreadMetadata(id="thr_1", created_at=datetime.now(timezone.utc))

    async def stop() -> list[Any]:
        await store.save_thread(thread, {})
        await Plain(store).handle_stream_cancelled(thread, [], {})
        return (await store.load_thread_items("thr_1", None, 10, "asc", {})).data

    (note,) = asyncio.run(stop())
    assert _upstream.is_stop_note(note)
    assert not _upstream.is_stop_note(note.model_copy(update={"content": "Something else."}))


def test_servers_with_a_way_of_their_own_are_known() -> None:
    """A server that overrides one of these methods is not processed plainly."""
    assert _upstream.processes_plainly(Plain)
    for name in ("process", "_process_streaming", "_process_non_streaming"):
        kind = type("Other", (Plain,), {name: lambda *_: None})
        assert not _upstream.processes_plainly(kind), name


def test_chatkit_stores_and_serializes_in_two_methods() -> None:
    """What a server answers passes _process_events, and what it sends passes _serialize."""
    parameters = list(inspect.signature(ChatKitServer._process_events).parameters)
    assert parameters == ["self", "thread", "context", "stream"], "_process_events has changed"
    server = Plain(SimpleNamespace())  # type: ignore[arg-type]
    passed: list[str] = []

    async def clean(
        stream: _upstream.Events, _thread: ThreadMetadata
    ) -> AsyncIterator[ThreadStreamEvent]:
        async for event in stream():
            passed.append(event.type)
            yield event

    def serialize(own: Any, obj: BaseModel) -> bytes:
        passed.append("serialized")
        data: bytes = own(obj)
        return data

    _upstream.wrap_output(server, clean, serialize)
    assert b"Looking" in server._serialize(ProgressUpdateEvent(text="Looking"))
    assert passed == ["serialized"]
    wrapped = vars(server)["_serialize"]
    _upstream.wrap_output(server, clean, serialize)
    assert vars(server)["_serialize"] is wrapped


def test_results_are_what_process_returns() -> None:
    """Both results can be made from what the two methods return."""
    assert NonStreamingResult(b"{}").json == b"{}"
    assert hasattr(StreamingResult(None), "__aiter__")  # type: ignore[arg-type]


def test_leaking_tasks_have_this_name() -> None:
    """The tasks that openai-chatkit leaves behind are known by the name of its queue's iterator."""
    (name,) = _upstream._LEAKING
    kind = getattr(chatkit_agents, name.partition(".")[0], None)
    assert kind is not None, "openai-chatkit has no such class in chatkit.agents"
    assert kind.__anext__.__qualname__ == name


def test_agent_contexts_have_a_queue() -> None:
    """AgentContext puts the events of tools into _events, which can be replaced."""
    assert (
        "_events" in AgentContext.model_fields or "_events" in AgentContext.__private_attributes__
    )


def test_placeholder_ids_are_those_of_the_sdk() -> None:
    """The literal that marks an item without an id is the SDK's own constant."""
    assert _upstream._FAKE_ID == fake_id.FAKE_RESPONSES_ID
    assert _upstream.is_fake_id(fake_id.FAKE_RESPONSES_ID)
    assert not _upstream.is_fake_id("msg_1")


def test_models_hold_their_client() -> None:
    """A model of the SDK's has its client under the name that is read here."""
    client = AsyncOpenAI(api_key="of-this-test")
    model = OpenAIResponsesModel("gpt-4.1", openai_client=client)
    assert _upstream.client_of(model) is client
    assert _upstream.client_of(object()) is None


def test_trace_providers_hold_their_processors() -> None:
    """The processors of a trace provider, and the exporter of one, can be read."""
    provider = DefaultTraceProvider()
    exporter = BackendSpanExporter()
    processor = BatchTraceProcessor(exporter)
    provider.set_processors([processor])
    assert _upstream.trace_processors(provider) == (processor,)
    assert _upstream.exporter_of(processor) is exporter
    processor.shutdown()


def test_handoffs_and_tools_hold_their_agent() -> None:
    """The agents behind a handoff and behind an agent's tool can be read."""
    agent: Agent[Any] = Agent("orders")
    assert _upstream.agent_of_handoff(handoff(agent)) is agent
    assert _upstream.agent_of_tool(agent.as_tool("ask_orders", "Ask")) is agent

    @function_tool
    def look_up() -> str:
        """Look something up."""
        return ""

    assert _upstream.agent_of_tool(look_up) is None


def test_runs_hand_on_events_before_a_marked_error() -> None:
    """The SDK reads the mark of an error whose run hands on the events that came before."""
    error = ValueError()
    _upstream.drain_events_before(error)
    (name,) = vars(error)
    assert f'"{name}"' in inspect.getsource(exceptions), "agents.exceptions has another mark"


def test_mcp_servers_can_run_calls_side_by_side() -> None:
    """The SDK's MCP servers run one call at a time unless an attribute is False."""
    server = MCPServerStdio({"command": "true"})
    if not hasattr(server, "_serialize_session_requests"):
        pytest.skip("this version of the SDK has no such attribute")
    _upstream.allow_concurrent_calls(server)
    assert server._serialize_session_requests is False


def test_mcp_sessions_hold_a_dispatcher() -> None:
    """A client session of mcp 2 has the dispatcher that knows whether the other end has gone."""
    shared = pytest.importorskip("mcp.shared.dispatcher", reason="mcp 1 has none")
    del shared
    from mcp import ClientSession

    source = inspect.getsource(ClientSession)
    assert "self._dispatcher" in source, "mcp's ClientSession has no _dispatcher"
    gone = SimpleNamespace(_dispatcher=SimpleNamespace(_closed=True))
    assert _upstream.is_disconnected(gone)
    assert not _upstream.is_disconnected(SimpleNamespace())


def test_wrappers_of_responses_are_seen_through() -> None:
    """What Werkzeug's ClosingIterator and Sentry's response wrap can be found; nothing else."""
    chunks = iter([b"a"])
    assert _upstream.wrapped_by(ClosingIterator(chunks, lambda: None)) is chunks
    assert _upstream.wrapped_by([b"a"]) is None
    wsgi = pytest.importorskip("sentry_sdk.integrations.wsgi")
    for (module, name), attribute in _upstream._WRAPPERS.items():
        kind = getattr(wsgi, name)
        assert kind.__module__ == module
        assert attribute in inspect.getsource(kind), f"{name} holds its response otherwise"


def test_pymysql_holds_its_socket() -> None:
    """PyMySQL's connections hold their socket in _sock; other drivers' have a fileno."""
    pymysql = pytest.importorskip("pymysql")
    connection = pymysql.connections.Connection(defer_connect=True)
    assert not hasattr(connection, "fileno")
    assert hasattr(connection, "_sock")
    psycopg = pytest.importorskip("psycopg")
    assert hasattr(psycopg.Connection, "fileno")


def test_tasks_of_others_are_left_alone() -> None:
    """A task of the site's is not taken for one that openai-chatkit has left behind."""

    async def look() -> bool:
        task = asyncio.ensure_future(asyncio.sleep(0))
        is_leaked = _upstream.is_leaked(task)
        await task
        return is_leaked

    assert not asyncio.run(look())
