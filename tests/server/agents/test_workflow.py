"""Workflows that Agent Builder exports: the real SDKs, against a model's API on loopback."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Iterator
from typing import Any

import agents
import pytest
from agents.models import _openai_shared
from openai import AsyncOpenAI

from flask_chatkit import ChatKit
from flask_chatkit.chats.callbacks import Callbacks
from flask_chatkit.errors import ConfigurationError
from flask_chatkit.server import SQLAlchemyStore
from flask_chatkit.server.agents.workflow import WorkflowServer
from flask_chatkit.server.sources import kind_of
from tests.helpers.driving import Answer, call, deltas, items_of, said, stored, thread_of, upload
from tests.helpers.model_api import KEY, ModelApi, Say, Use, serve_model

#: Exports call what pydantic has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The `json` method is deprecated")

JSON = json.dumps({"kind": "sales"})
LABEL = {"server_label": "weather"}
#: What a tool of an MCP server did, to which OpenAI has connected.
CALLED: list[dict[str, Any]] = [
    {"type": "mcp_list_tools", "id": "mcpl_1", "tools": [], **LABEL},
    {
        "type": "mcp_call",
        "id": "mcp_1",
        "name": "get_weather",
        "arguments": "{}",
        "output": "foggy",
        **LABEL,
    },
]
#: What the model answers in each export, and the texts and steps that the visitor is shown.
EXPORTS: dict[str, tuple[list[Any], list[str], list[str]]] = {
    "linear": ([Say(["a"]), Say(["b"])], ["a", "b"], []),
    "router": ([Say([JSON]), Say(["sold"])], ["sold"], ["Classifier"]),
    "loop": ([Say(["a"]), Say(["b"])], ["a", "b"], []),
    "guardrail": ([Say(["a"])], ["a"], []),
    "tools": ([Use([("get_weather", {"location": "Bern"})]), Say(["sunny"])], ["sunny"], []),
    "structured": ([Say([JSON])], ['{"kind":"sales"}'], ["Sorter"]),
    "nothing": ([Say(["a"])], ["a"], []),
    "returned": ([Say(["a"])], ["a"], []),
    "nested_trace": ([Say(["a"])], ["a"], []),
    "handoff": ([Use([("transfer_to_expert", {})]), Say(["known"])], ["known"], []),
    "mcp": ([Say(["misty"], before=CALLED)], ["misty"], []),
    "approval": ([Say(["a"])], ["a"], []),
}


@pytest.fixture
def api() -> Iterator[ModelApi]:
    """A model's API of this test's own."""
    agents.set_tracing_disabled(True)
    with serve_model() as served:
        yield served
        assert served.wrong == []
        assert served.replies == []


def export(name: str) -> Any:
    """The function of an export."""
    return importlib.import_module(f"tests.helpers.exports.{name}").run_workflow


def drive(api: ModelApi, function: Any, test: Any, **more: Any) -> Any:
    """Run a test with a server of a workflow."""
    store = SQLAlchemyStore("sqlite://")
    server = WorkflowServer(function, store, callbacks=Callbacks(), **{"titles": False, **more})

    async def whole() -> Any:
        old = _openai_shared.get_default_openai_client()
        async with AsyncOpenAI(api_key=KEY, base_url=api.base_url, max_retries=0) as client:
            agents.set_default_openai_client(client, use_for_tracing=False)
            try:
                return await asyncio.wait_for(test(server), 20)
            finally:
                _openai_shared._default_openai_client = old

    try:
        return asyncio.run(whole())
    finally:
        store.close()


@pytest.mark.parametrize("name", EXPORTS)
def test_export_answers_and_remembers(api: ModelApi, name: str) -> None:
    """Each export shows each text once, and knows the first turn in the second."""
    replies, shown, steps = EXPORTS[name]
    api.replies = [*replies, *replies]

    async def test(server: Any) -> None:
        events = await call(server, "threads.create", input=said("first turn"))
        texts = [one.content[0].text for one in items_of(events, "assistant_message")]
        assert texts == shown
        titles = [t.title for one in items_of(events, "workflow") for t in one.workflow.tasks]
        assert titles == steps
        thread = thread_of(events)
        await call(server, "threads.add_user_message", thread_id=thread, input=said("second"))
        # What tools returned is kept in hidden items, for the model.
        items = [one for one in await stored(server, thread) if one.type != "hidden_context_item"]
        assert len({one.id for one in items}) == 2 * (1 + len(shown) + len(steps))

    drive(api, export(name), test)
    for asked in api.asked[: len(replies)]:
        assert str(asked).count("first turn") == 1
    for asked in api.asked[len(replies) :]:
        assert str(asked).count("first turn") == 1
        assert str(asked).count("'second'") == 1


@pytest.mark.parametrize("name", [name for name in EXPORTS if name != "structured"])
def test_stop_ends_the_call_after_its_first_delta(api: ModelApi, name: str) -> None:
    """The first delta comes while the last call still runs, and Stop cancels that call."""
    api.replies = [*EXPORTS[name][0][:-1], Say(["so far"], hang=True)]

    async def test(server: Any) -> None:
        answer = Answer(server, "threads.create", input=said())
        await answer.until(lambda events: deltas(events).endswith("so far"))
        await answer.stop()
        assert await asyncio.to_thread(api.has_gone.wait, 10)

    drive(api, export(name), test)


@pytest.mark.parametrize("name", EXPORTS)
def test_files_reach_the_model(api: ModelApi, name: str) -> None:
    """A file belongs to the message that the export passes on."""
    api.replies = list(EXPORTS[name][0])

    async def test(server: Any) -> None:
        file = await upload(server, "a.txt", "text/plain")
        await call(server, "threads.create", input=said("look", attachments=[file.id]))

    drive(api, export(name), test, read_attachment=lambda *_: b"foxes live here")
    assert all(str(asked).count("foxes live here") == 1 for asked in api.asked)


def test_failed_guardrail_is_refused_without_json(api: ModelApi) -> None:
    """What a failed guardrail returns is an error in words."""

    async def test(server: Any) -> None:
        events = await call(server, "threads.create", input=said("ignore all"))
        assert events[-1].type == "error"
        assert "Sorry" in events[-1].message
        assert deltas(events) == ""

    drive(api, export("guardrail"), test)


def test_workflow_is_recognised_and_others_are_refused() -> None:
    """A workflow is known by its shape, and declared by its own method only."""
    function = export("linear")
    assert kind_of(function) == "workflow"
    kit = ChatKit()
    kit.add_workflow("sales", function)
    for declare in (kit.add_agent, kit.add_server, lambda name, one: kit.assistant(name)(one)):
        with pytest.raises(ConfigurationError, match="add_workflow"):
            declare("other", function)
    with pytest.raises(ConfigurationError, match="input_as_text"):
        kit.add_workflow("other", lambda message: message)
    with pytest.raises(ConfigurationError, match="run_workflow"):
        kind_of(lambda message: message)


@pytest.mark.parametrize("way", ["run_sync", "own_loop", "streamed"])
def test_other_ways_to_run_are_shown(api: ModelApi, way: str) -> None:
    """Runs in a thread, on a loop of the export's own, and streamed ones are shown once."""
    api.replies = [Say(["Hel", "lo"])]
    model = importlib.import_module("tests.helpers.exports.linear").WorkflowInput
    agent = agents.Agent(name="Coach", model="small")

    def run_sync(given: model) -> Any:  # type: ignore[valid-type]
        return {"output_text": agents.Runner.run_sync(agent, given.input_as_text).final_output}

    def own_loop(given: model) -> Any:  # type: ignore[valid-type]
        return asyncio.run(agents.Runner.run(agent, given.input_as_text)).final_output

    async def streamed(given: model) -> Any:  # type: ignore[valid-type]
        result = agents.Runner.run_streamed(agent, given.input_as_text)
        assert [event async for event in result.stream_events()]
        return result.final_output

    function = {"run_sync": run_sync, "own_loop": own_loop, "streamed": streamed}[way]
    function.__annotations__["given"] = model

    async def test(server: Any) -> None:
        events = await call(server, "threads.create", input=said())
        assert [one.content[0].text for one in items_of(events, "assistant_message")] == ["Hello"]
        assert deltas(events) == "Hello"

    drive(api, function, test)
