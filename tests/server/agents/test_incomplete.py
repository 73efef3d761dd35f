"""Streams of a model's service that close before their end: half an answer is none."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from agents import Runner, function_tool
from chatkit.types import SDKHiddenContextItem

from flask_chatkit.server.agents.incomplete import CUT_SHORT
from tests.helpers.driving import ALICE, call, deltas, kinds, said, stored, thread_of
from tests.helpers.model_api import Gateway, Half, ModelApi, Say
from tests.server.agents.test_server import Site
from tests.server.agents.test_workflow import drive, export

NOTHING = [
    Gateway("<html><h1>502 Bad Gateway</h1></html>"),
    Gateway(),
    Gateway(content_type="text/event-stream"),
    Gateway('{"error": "overloaded"}', "application/json"),
    Gateway('data: {"id": "x", "cho', "text/event-stream"),
    Half([]),
]


def _told_once(log: pytest.LogCaptureFixture) -> None:
    ours = [one for one in log.records if one.levelno >= logging.ERROR]
    assert [one.name for one in ours] == ["flask_chatkit"]
    assert "Traceback" not in log.text


def test_half_an_answer_is_an_error_with_retry(
    site: Site, api: ModelApi, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was said stays, with the error and Retry below it; the model is told that it was cut."""
    api.replies = [Half(["So ", "far"]), Say(["So far, so good"])]
    server = site.server(site.agent(dialect))

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        assert deltas(events) == "So far"
        assert kinds(events)[-2:] == ["done assistant_message", "error"]
        assert events[-1].allow_retry
        thread = thread_of(events)
        message, half, mark = await stored(server, thread)
        assert half.content[0].text == "So far"
        assert isinstance(mark, SDKHiddenContextItem)
        given = {"thread_id": thread, "item_id": message.id}
        events = await call(server, "threads.retry_after_item", **given)
        assert "error" not in kinds(events)
        (_, whole) = await stored(server, thread)
        assert whole.content[0].text == "So far, so good"

    site.run(test())
    _told_once(caplog)


def test_the_next_turn_knows_of_the_cut(site: Site, api: ModelApi, dialect: str) -> None:
    """Somebody who goes on without Retry is understood: the model knows what was read."""
    api.replies = [Half(["So far"]), Say(["Sorry"])]
    server = site.server(site.agent(dialect))

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said()))
        await call(server, "threads.add_user_message", thread_id=thread, input=said("And?"))
        told = str(api.asked[-1])
        assert told.index("So far") < told.index(CUT_SHORT) < told.index("And?")

    site.run(test())


@pytest.mark.parametrize("nothing", NOTHING, ids=str)
def test_nothing_is_an_error_with_retry(
    site: Site, api: ModelApi, dialect: str, nothing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway's page, an empty answer and a broken one leave no message, but Retry."""
    api.replies = [nothing]
    server = site.server(site.agent(dialect))

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        assert kinds(events)[-1] == "error"
        assert events[-1].allow_retry
        assert not [one for one in kinds(events) if one == "done assistant_message"]
        assert [item.type for item in await stored(server, thread_of(events))] == ["user_message"]

    site.run(test())
    assert "502 Bad Gateway" not in caplog.text


def test_half_a_call_is_not_made(site: Site, api: ModelApi, dialect: str) -> None:
    """A tool whose call was cut off is not run with what has come of its arguments."""
    ran: list[str] = []

    @function_tool
    def pay(sum: str = "everything") -> str:  # noqa: A002 - what a model calls it
        ran.append(sum)
        return "paid"

    api.replies = [Half(["I pay"], call="pay")]
    server = site.server(site.agent(dialect, tools=[pay]))
    events = site.run(call(server, "threads.create", input=said()))
    assert kinds(events)[-1] == "error"
    assert ran == []


def test_a_title_is_no_page_of_html(
    site: Site, api: ModelApi, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A title that a gateway has answered is none; the thread is named by its first words."""
    api.replies = [Say(["Hi"])]
    api.title = Gateway("<html>Bad Gateway</html>")
    server = site.server(site.agent(dialect), titles=True)

    async def test() -> None:
        events = await call(server, "threads.create", input=said("Boots for rain"))
        assert "error" not in kinds(events)
        thread = await server.store.load_thread(thread_of(events), ALICE)
        assert thread.title == "Boots for rain"

    site.run(test())
    assert "A title could not be written" in caplog.text


def test_runs_of_the_site_are_left_alone(site: Site, api: ModelApi) -> None:
    """Outside of an answer the SDK does what it does without us."""
    api.replies = [Half(["So far"]), Half(["So far"])]
    server = site.server(site.agent("completions"))

    async def test() -> str:
        await asyncio.create_task(call(server, "threads.create", input=said()))
        result = Runner.run_streamed(site.agent("completions"), "Hello")
        async for _ in result.stream_events():
            pass
        return str(result.final_output)

    assert site.run(test()) == "So far"


def test_half_an_answer_of_a_workflow(api: ModelApi) -> None:
    """What an export's agent has said stays, too, with the error and Retry."""
    api.replies = [Half(["So ", "far"])]

    async def test(server: Any) -> None:
        events = await call(server, "threads.create", input=said())
        assert deltas(events) == "So far"
        assert kinds(events)[-2:] == ["done assistant_message", "error"]
        assert events[-1].allow_retry
        types = [item.type for item in await stored(server, thread_of(events))]
        assert types == ["user_message", "assistant_message", "sdk_hidden_context"]

    drive(api, export("linear"), test)
