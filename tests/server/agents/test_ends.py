"""Ends of a run that are no faults, and what the log says of those that are."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flask_chatkit.server.agents import errors
from flask_chatkit.server.agents.errors import CUT_OFF, FILTERED
from tests.helpers.driving import call, kinds, said, stored, thread_of
from tests.helpers.model_api import Fail, ModelApi, Stop
from tests.server.agents.test_server import Site


def _no_fault(events: list[Any], log: pytest.LogCaptureFixture) -> None:
    assert "error" not in kinds(events)
    assert "Traceback" not in log.text
    ours = [one for one in log.records if one.name == "flask_chatkit"]
    assert [one.levelname for one in ours] == ["INFO"]


def test_a_refusal_is_an_answer(
    site: Site, api: ModelApi, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a model refuses with is shown and kept like any other text."""
    api.replies = [Stop([], refusal="I can't help with that.")]
    server = site.server(site.agent(dialect))

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        _no_fault(events, caplog)
        (_, item) = await stored(server, thread_of(events))
        assert item.content[0].text == "I can't help with that."

    with caplog.at_level(logging.INFO, "flask_chatkit"):
        site.run(test())


@pytest.mark.parametrize(
    ("reason", "notice"), [("max_output_tokens", CUT_OFF), ("content_filter", FILTERED)]
)
def test_an_incomplete_answer_is_kept(
    site: Site, api: ModelApi, reason: str, notice: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The text so far stays, and a notice gives the reason."""
    api.replies = [Stop(["So ", "far"], incomplete=reason)]
    server = site.server(site.agent())

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        _no_fault(events, caplog)
        assert kinds(events)[-2:] == ["done assistant_message", "notice"]
        assert events[-1].message == notice
        (_, item) = await stored(server, thread_of(events))
        assert item.content[0].text == "So far"

    with caplog.at_level(logging.INFO, "flask_chatkit"):
        site.run(test())


def test_completions_that_are_cut_off(
    site: Site, api: ModelApi, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that has used its tokens before the first word is a notice, by the other API."""
    api.replies = [Stop([], incomplete="max_output_tokens")]
    server = site.server(site.agent("completions"))
    with caplog.at_level(logging.INFO, "flask_chatkit"):
        events = site.run(call(server, "threads.create", input=said()))
    _no_fault(events, caplog)
    assert events[-1].message == CUT_OFF


@pytest.mark.parametrize(
    ("failure", "cure"),
    [
        (Fail(401, "Incorrect API key provided: sk-secret123"), "OPENAI_API_KEY"),
        (Fail(404, "The model 'x' does not exist", "model_not_found"), "agent's model"),
        (Fail(404, "Not Found"), "set_default_openai_api('chat_completions')"),
        (Fail(429, "You exceeded your quota", "insufficient_quota"), "no credit left"),
    ],
)
def test_the_log_names_the_cure_once(
    site: Site,
    api: ModelApi,
    failure: Fail,
    cure: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault of the set-up is logged with what to do, in one line and once a process."""
    monkeypatch.setattr(errors, "_advised", set())
    api.replies = [failure, failure]
    server = site.server(site.agent())

    async def test() -> None:
        for _ in range(2):
            events = await call(server, "threads.create", input=said())
            assert kinds(events) == ["error"]

    with caplog.at_level(logging.INFO, "flask_chatkit"):
        site.run(test())
    ours = [one.getMessage() for one in caplog.records if one.name == "flask_chatkit"]
    assert [cure in line for line in ours] == [True, False]
    assert "secret123" not in caplog.text
