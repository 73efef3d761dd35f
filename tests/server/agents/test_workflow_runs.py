"""What runs of exported workflows share with those of agents, and what they do not."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from agents import (
    Agent,
    ModelSettings,
    RunConfig,
    RunContextWrapper,
    Runner,
    SQLiteSession,
    StopAtTools,
    function_tool,
)
from agents import run as agents_run
from agents.mcp import MCPServerStdio
from agents.run import AgentRunner
from chatkit.agents import AgentContext, ClientToolCall

from flask_chatkit.errors import ConfigurationError
from flask_chatkit.server.agents import mcp, models
from flask_chatkit.server.agents.runner import install_runner
from flask_chatkit.server.sources import imported, kind_of
from tests.helpers.driving import (
    ALICE,
    BOB,
    Answer,
    call,
    deltas,
    items_of,
    said,
    thread_of,
    upload,
)
from tests.helpers.model_api import ModelApi, Say, Stop, Use
from tests.helpers.paths import HELPERS
from tests.helpers.served import PNG
from tests.server.agents.test_workflow import api, drive, export

__all__ = ["api"]
WorkflowInput = export("linear").__globals__["WorkflowInput"]


def workflow(function: Any) -> Any:
    """A function with the parameter of an export."""
    function.__annotations__["given"] = WorkflowInput
    return function


def coach(**more: Any) -> Agent[Any]:
    """An agent."""
    return Agent(**{"name": "Coach", "model": "small", **more})


def runs(agent: Agent[Any], **options: Any) -> Any:
    """A workflow of one run."""

    @workflow
    async def run_workflow(given: Any) -> Any:
        result = await Runner.run(agent, given.input_as_text, **options)
        return {"output_text": result.final_output}

    return run_workflow


async def create(server: Any, text: str = "Hello", context: Any = ALICE, **more: Any) -> Any:
    """Begin a thread."""
    return await call(server, "threads.create", context, input=said(text, **more))


def texts(events: Any) -> list[str]:
    """The texts of the messages that are done."""
    return [one.content[0].text for one in items_of(events, "assistant_message")]


def test_titles_and_composer(api: ModelApi) -> None:
    """A thread gets a title, and the model and the tool that were chosen are used, once."""

    @function_tool
    def look_up(city: str) -> str:
        """Look something up."""
        return "sunny"

    api.replies = [Use([("look_up", {"city": "Bern"})]), Say(["a"]), Say(["b"])]
    agent = coach(tools=[look_up])

    @workflow
    async def twice(given: Any) -> None:
        await Runner.run(agent, given.input_as_text)
        await Runner.run(agent, given.input_as_text)

    async def test(server: Any) -> None:
        events = await create(server, model="big", tool_choice={"id": "look_up"})
        assert texts(events) == ["a", "b"]
        thread = await server.store.load_thread(thread_of(events), ALICE)
        assert thread.title == "Keys and locks"

    drive(api, twice, test, titles=True, models=["big"], tools=["look_up"])
    assert [one["model"] for one in api.asked] == ["big"] * 3
    choices = [one.get("tool_choice") for one in api.asked]
    assert choices == [{"type": "function", "name": "look_up"}, None, None]


def test_run_configs_are_merged(api: ModelApi) -> None:
    """The export's own run_config goes before the site's, field by field."""
    api.replies = [Say(["a"])]
    config = RunConfig(workflow_name="Export", model="exports")
    site = {"run_config": {"model": "sites", "model_settings": ModelSettings(temperature=0.25)}}
    drive(api, runs(coach(), run_config=config), create, run_options=site)
    assert api.asked[0]["model"] == "exports"
    assert api.asked[0]["temperature"] == 0.25


def test_retiring_model_is_named_once(
    api: ModelApi, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log names a model that leaves the API, its date and agent, once a process."""
    monkeypatch.setattr(models, "_named", set())
    api.replies = [Say(["a"]), Say(["b"])]
    caplog.set_level(logging.WARNING, "flask_chatkit")

    async def test(server: Any) -> None:
        await create(server)
        await create(server)

    drive(api, runs(coach(model="gpt-4.1")), test)
    (line,) = [one.getMessage() for one in caplog.records if "leaves" in one.getMessage()]
    assert "gpt-4.1 " in line
    assert "2027-01-14" in line
    assert "'Coach'" in line


def test_stop_ends_a_sync_workflow(api: ModelApi) -> None:
    """Stop ends the model's call of a workflow in a thread, and the workflow with it."""
    api.replies = [Say(["so far"], hang=True)]
    ended = threading.Event()
    agent = coach()

    @workflow
    def run_workflow(given: Any) -> Any:
        try:
            while True:
                try:
                    Runner.run_sync(agent, given.input_as_text)
                except Exception:  # noqa: BLE001, S112 - as a stubborn export does
                    continue
        finally:
            ended.set()

    async def test(server: Any) -> None:
        answer = Answer(server, "threads.create", input=said())
        await answer.until(lambda events: deltas(events) == "so far")
        await answer.stop()
        assert await asyncio.to_thread(api.has_gone.wait, 10)
        assert await asyncio.to_thread(ended.wait, 10)

    drive(api, run_workflow, test)
    assert len(api.asked) == 1


def test_answers_do_not_mix(api: ModelApi) -> None:
    """Two answers at once show their own runs, and a run outside of answers is a plain one."""
    api.replies = [Say(["of Alice"], hang=True), Say(["of Bob"])]
    # What is not streamed.
    api.title = Say(["of nobody"])
    agent = coach()

    async def test(server: Any) -> None:
        alices = Answer(server, "threads.create", input=said("from Alice"))
        await alices.until(lambda events: deltas(events) == "of Alice")
        bobs = await create(server, "from Bob", BOB)
        result = await Runner.run(agent, "from nobody")
        assert result.final_output == "of nobody"
        assert type(result).__name__ == "RunResult"
        assert texts(bobs) == ["of Bob"]
        assert deltas(alices.events) == "of Alice"
        await alices.stop()

    drive(api, runs(agent), test)
    assert "from Alice" not in str(api.asked[1:])
    (asked,) = api.titles_asked
    assert "from nobody" in str(asked)
    assert "from Alice" not in str(asked)


class SitesRunner(AgentRunner):
    """A default runner of a site's own, which counts."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0

    def run_streamed(self, *args: Any, **options: Any) -> Any:
        """Count, and run."""
        self.begun += 1
        return super().run_streamed(*args, **options)


@pytest.mark.parametrize("is_later", [False, True])
def test_sites_own_runner_is_used(api: ModelApi, is_later: bool) -> None:
    """A default runner that a site sets, before or after the first answer, runs what is shown."""
    before = agents_run.get_default_agent_runner()
    own = SitesRunner()
    api.replies = [Say(["a"])]
    try:
        if is_later:
            install_runner()
        agents_run.set_default_agent_runner(own)
        drive(api, runs(coach()), create)
    finally:
        agents_run.set_default_agent_runner(before)
    assert own.begun == 1


def test_agents_as_tools_are_not_shown(api: ModelApi) -> None:
    """What an agent says that is another one's tool is told that one, and not the visitor."""
    helper = coach(name="Helper").as_tool("helper", "Helps.")
    api.replies = [Use([("helper", {"input": "x"})]), Say(["outer"])]
    # What is not streamed.
    api.title = Say(["inner"])

    async def test(server: Any) -> None:
        events = await create(server)
        assert texts(events) == ["outer"]
        assert deltas(events) == "outer"

    drive(api, runs(coach(tools=[helper])), test)
    assert "inner" in str(api.asked[1])
    (asked,) = api.titles_asked
    assert "Hello" not in str(asked)


def test_client_tool_is_answered(api: ModelApi) -> None:
    """A tool of the page is called, and what the page returns is told when it goes on."""

    async def call_page(context: RunContextWrapper[AgentContext[Any]], sku: str) -> None:
        """Put something into the cart."""
        asked = ClientToolCall(name="add_to_cart", arguments={"sku": sku})
        context.context.client_tool_call = asked

    call_page.__annotations__["context"] = RunContextWrapper[AgentContext[Any]]
    call_page.__annotations__["sku"] = str
    tool = function_tool(call_page, name_override="add_to_cart")
    stop = StopAtTools(stop_at_tool_names=["add_to_cart"])
    api.replies = [Use([("add_to_cart", {"sku": "A1"})]), Say(["done"])]

    async def test(server: Any) -> None:
        events = await create(server)
        assert events[-1].type != "error"
        assert texts(events) == []
        params = {"thread_id": thread_of(events), "result": {"count": 7}}
        events = await call(server, "threads.add_client_tool_output", **params)
        assert [one for one in texts(events) if one] == ["done"]

    drive(api, runs(coach(tools=[tool], tool_use_behavior=stop)), test)
    assert "function_call_output" in str(api.asked[1])
    assert "7" in str(api.asked[1]["input"])
    assert str(api.asked[1]).count("Hello") == 1


def test_exception_of_the_export_is_logged(api: ModelApi, caplog: pytest.LogCaptureFixture) -> None:
    """An export that fails shows what it has said, then an error without its words."""
    api.replies = [Say(["so far"])]
    agent = coach()

    @workflow
    async def run_workflow(given: Any) -> Any:
        await Runner.run(agent, given.input_as_text)
        raise KeyError("at 10.0.0.7")

    async def test(server: Any) -> None:
        events = await create(server)
        assert texts(events) == ["so far"]
        assert events[-1].type == "error"
        assert "10.0.0.7" not in str(events)

    drive(api, run_workflow, test)
    assert "KeyError" in caplog.text


def test_setting_names_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CHATKIT_SERVER that can't be imported or called is refused with its cause."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_export.py").write_text("import guardrails_that_is_not_installed\n")
    with pytest.raises(ConfigurationError, match="guardrails_that_is_not_installed"):
        imported("broken_export:run_workflow")
    (tmp_path / "odd_export.py").write_text("def run_workflow(message): ...\n")
    with pytest.raises(ConfigurationError, match="run_workflow"):
        kind_of(imported("odd_export:run_workflow"))
    with pytest.raises(ConfigurationError, match="WorkflowInput"):
        kind_of(imported("odd_export:run_workflow"))
    with pytest.raises(ConfigurationError, match="run_workflows"):
        imported("odd_export:run_workflows")


def test_refused_history_goes_on(api: ModelApi) -> None:
    """A damaged picture of the first turn does not stop the second one."""
    api.replies = [Say(["a"]), Say(["b"])]

    async def test(server: Any) -> None:
        file = await upload(server, "x.png", "image/png")
        events = await create(server, "look", attachments=[file.id])
        assert texts(events) == ["a"]
        assert any(one.type == "notice" and "x.png" in one.message for one in events)
        thread = thread_of(events)
        events = await call(
            server, "threads.add_user_message", thread_id=thread, input=said("again")
        )
        assert texts(events) == ["b"]

    drive(api, runs(coach()), test, read_attachment=lambda *_: PNG[:8] + bytes(50))
    assert len(api.refused) == 1
    assert str(api.asked[1]).count("look") == 1


@pytest.mark.parametrize("end", ["max_turns", "refusal", "length"])
def test_early_end_is_no_error(api: ModelApi, end: str, caplog: pytest.LogCaptureFixture) -> None:
    """A run that ends early shows its text and a notice at most, although the export fails."""

    @function_tool
    def again() -> str:
        """Once more."""
        return "again"

    api.replies = {
        "max_turns": [Use([("again", {})], text="so far")],
        "refusal": [Stop([], refusal="so far")],
        "length": [Stop(["so far"], incomplete="max_output_tokens")],
    }[end]
    options = {"max_turns": 1} if end == "max_turns" else {}

    async def test(server: Any) -> None:
        events = await create(server)
        assert texts(events) == ["so far"]
        assert [one for one in events if one.type == "error"] == []
        assert any(one.type == "notice" for one in events) == (end != "refusal")

    drive(api, runs(coach(tools=[again]), **options), test)
    assert "Traceback" not in caplog.text


def test_mcp_server_is_connected(api: ModelApi, tmp_path: Path) -> None:
    """The MCP servers of an export's agents are connected before their runs."""
    command = {
        "command": sys.executable,
        "args": [str(HELPERS / "mcp_server.py"), str(tmp_path)],
    }
    server = MCPServerStdio(params=command, cache_tools_list=True)  # type: ignore[arg-type]
    api.replies = [Use([("pid", {})]), Say(["done"])]

    async def test(served: Any) -> None:
        try:
            assert texts(await create(served)) == ["done"]
        finally:
            pool = mcp._pool()
            links = [one._link for one in pool._connections if one._link]
            for connection in list(pool._connections):
                pool._close(connection)
            for link in links:
                await link.task

    drive(api, runs(coach(mcp_servers=[server])), test)
    (made,) = tmp_path.glob("*.pid")
    assert made.stem in str(api.asked[1]["input"])


def test_own_session_is_given_files_alone(api: ModelApi) -> None:
    """A run with a session of the export's own is told this message and its files, once."""
    session = SQLiteSession("export")
    api.replies = [Say(["a"]), Say(["b"])]

    async def test(server: Any) -> None:
        events = await create(server, "first turn")
        file = await upload(server, "a.txt", "text/plain")
        message = said("second", attachments=[file.id])
        await call(server, "threads.add_user_message", thread_id=thread_of(events), input=message)

    drive(api, runs(coach(), session=session), test, read_attachment=lambda *_: b"foxes")
    session.close()
    assert str(api.asked[1]).count("first turn") == 1
    assert str(api.asked[1]).count("second") == 1
    assert str(api.asked[1]).count("foxes") == 1


def test_files_are_read_once(api: ModelApi) -> None:
    """The files of the message are read once an answer; earlier ones are named in words."""
    api.replies = [Say(["a"]), Say(["b"]), Say(["c"])]
    read: list[str] = []

    def reader(attachment: Any, context: Any) -> bytes:
        read.append(attachment.name)
        return {"old.txt": b"ancient", "new.txt": b"foxes"}[attachment.name]

    async def test(server: Any) -> None:
        old = await upload(server, "old.txt", "text/plain")
        events = await create(server, "first", attachments=[old.id])
        new = await upload(server, "new.txt", "text/plain")
        read.clear()
        message = said("second", attachments=[new.id])
        await call(server, "threads.add_user_message", thread_id=thread_of(events), input=message)

    agent = coach()

    @workflow
    async def run_workflow(given: Any) -> Any:
        result = await Runner.run(agent, given.input_as_text)
        if given.input_as_text == "second":
            await Runner.run(agent, [*result.to_input_list()])

    drive(api, run_workflow, test, read_attachment=reader)
    assert read == ["new.txt"]
    for asked in api.asked[1:]:
        assert str(asked).count("foxes") == 1
        assert "ancient" not in str(asked)
        assert "'old.txt' (text/plain) here" in str(asked)
        assert not asked.get("tools")
