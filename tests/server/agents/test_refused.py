"""Histories that a model's service refuses: the conversation goes on with less."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from agents import function_tool

from flask_chatkit.server.agents.errors import Blame, Fault
from flask_chatkit.server.agents.refusals import (
    ATTEMPTS,
    BEGINNING_LEFT_OUT,
    CANNOT_CONTINUE,
    TOO_LONG,
)
from tests.helpers.driving import call, deltas, kinds, said, thread_of, upload
from tests.helpers.model_api import Fail, ModelApi, Say, Use
from tests.server.agents.test_server import PNG, Site, texts

DAMAGED = PNG[:8] + bytes(60)


async def _send(site: Site, server: Any, thread: str | None, text: str, *files: str) -> list[Any]:
    """Send a message with files of these names."""
    ids = [(await upload(server, name, "image/png")).id for name in files]
    content = said(text, attachments=ids)
    if thread is None:
        return await call(server, "threads.create", input=content)
    return await call(server, "threads.add_user_message", thread_id=thread, input=content)


def _server(site: Site, dialect: str, **more: Any) -> Any:
    """A server whose files are damaged if their name says so."""
    return site.server(
        site.agent(dialect, **more.pop("agent", {})),
        read_attachment=lambda file, _: DAMAGED if "bad" in file.name else PNG,
        **more,
    )


def test_a_damaged_picture_is_left_out(site: Site, api: ModelApi, dialect: str) -> None:
    """The visitor learns which file could not be read, and later turns pay for no refusal."""
    api.replies = [Say(["One"]), Say(["Two"]), Say(["Three"])]
    server = _server(site, dialect)

    async def test() -> None:
        events = await _send(site, server, None, "first", "good.png")
        thread = thread_of(events)
        events = await _send(site, server, thread, "second", "bad.png")
        (notice,) = [one for one in events if one.type == "notice"]
        assert "bad.png" in notice.message
        assert "good.png" not in notice.message
        assert kinds(events).index("notice") < kinds(events).index("added assistant_message")
        assert deltas(events) == "Two"
        refused = len(api.refused)
        assert 1 <= refused < ATTEMPTS
        events = await _send(site, server, thread, "third")
        assert deltas(events) == "Three"
        assert len(api.refused) == refused
        assert "notice" not in kinds(events)

    site.run(test())
    # The good one is named, and the bad one is not.
    assert "good.png" in str(api.asked[2])
    assert "bad.png" not in str(api.asked[2])
    assert base64.b64encode(DAMAGED).decode() not in str(api.asked[1:])


def test_a_history_that_is_too_long_is_cut(site: Site, api: ModelApi, dialect: str) -> None:
    """The oldest turns are left out, the newest message never is."""
    api.replies = [Say([str(turn)]) for turn in range(7)]
    server = _server(site, dialect)

    async def test() -> None:
        thread = thread_of(await _send(site, server, None, "turn 0"))
        for turn in range(1, 5):
            await _send(site, server, thread, f"turn {turn} " + "x" * 500)
        api.context_length = 1800
        events = await _send(site, server, thread, "turn 5")
        assert deltas(events) == "5"
        (notice,) = [one for one in events if one.type == "notice"]
        assert notice.message == BEGINNING_LEFT_OUT
        refused = len(api.refused)
        assert deltas(await _send(site, server, thread, "turn 6")) == "6"
        assert len(api.refused) == refused

    site.run(test())
    told = [text for role, text in texts(api.asked[5]) if role == "user"]
    assert told[-1] == "turn 5"
    assert len(told) == 3


def test_what_is_too_long_alone_is_told_in_words(site: Site, api: ModelApi, dialect: str) -> None:
    """No retry is offered that can't help."""
    server = _server(site, dialect)

    async def test() -> None:
        api.context_length = 200
        events = await _send(site, server, None, "x" * 500)
        assert (events[-1].message, events[-1].allow_retry) == (TOO_LONG, False)

    site.run(test())
    assert len(api.refused) <= ATTEMPTS


def test_a_refusal_in_the_middle_of_a_run(site: Site, api: ModelApi, dialect: str) -> None:
    """What a tool has done is not done again when the call after it is too long."""
    orders = []

    @function_tool
    def order() -> str:
        """Order something."""
        orders.append(1)
        return "y" * 5000

    api.replies = [Say(["Hello"]), Use([("order", {})], text="Let me see."), Say(["Ordered"])]
    server = _server(site, dialect, agent={"tools": [order]})

    async def test() -> None:
        thread = thread_of(await _send(site, server, None, "one " + "x" * 500))
        api.context_length = 4000
        events = await _send(site, server, thread, "two")
        assert deltas(events) == "Let me see.Ordered"
        assert "error" not in kinds(events)

    site.run(test())
    assert orders == [1]
    assert api.refused


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_others_are_not_blamed_on_the_history(
    site: Site, api: ModelApi, dialect: str, status: int
) -> None:
    """What nothing in the history can help is asked once, and may be retried."""
    api.replies = [Say(["One"]), Fail(status, "no image, context length")]
    server = _server(site, dialect)

    async def test() -> None:
        thread = thread_of(await _send(site, server, None, "one", "good.png"))
        events = await _send(site, server, thread, "two")
        assert (events[-1].type, events[-1].allow_retry) == ("error", True)

    site.run(test())


def test_attempts_are_bounded(site: Site, api: ModelApi, dialect: str) -> None:
    """A service that refuses everything is asked so often and no more."""
    api.replies = [Say(["1"]), Say(["2"]), Say(["3"])]
    server = _server(site, dialect)

    async def test() -> None:
        thread = thread_of(await _send(site, server, None, "one", "a.png"))
        await _send(site, server, thread, "two", "b.png")
        await _send(site, server, thread, "three")
        api.replies = [Fail(400, "prompt is too long: 9 tokens > 8 maximum")] * 20
        events = await _send(site, server, thread, "four", "c.png")
        assert (events[-1].message, events[-1].allow_retry) == (CANNOT_CONTINUE, False)
        assert 20 - len(api.replies) <= ATTEMPTS
        api.replies = []

    site.run(test())


@pytest.mark.parametrize(
    ("code", "param", "message", "blamed"),
    [
        ("context_length_exceeded", "messages", "", Blame.LENGTH),
        ("", "", "prompt is too long: 210000 tokens > 200000 maximum", Blame.LENGTH),
        ("", "", "The input token count exceeds the maximum number of tokens", Blame.LENGTH),
        ("invalid_image_format", "", "", Blame.FILES),
        ("", "", "Could not process image", Blame.FILES),
        ("invalid_value", "input[3].content[1].file_data", "Invalid file data", Blame.FILES),
        ("content_filter", "prompt", "The response was filtered", Blame.CONTENT),
        ("", "messages[2].role", "bad", Blame.UNCLEAR),
        ("unsupported_parameter", "temperature", "'temperature' is not supported", None),
        ("", "tools[0].function.name", "Invalid 'tools[0]': no file", None),
    ],
)
def test_what_services_blame(code: str, param: str, message: str, blamed: Blame | None) -> None:
    """The words of OpenAI and of gateways are understood alike."""
    assert Fault(400, code, param, message).blame is blamed
