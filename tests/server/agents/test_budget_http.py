"""Budgets of what an agent is told through HTTP: by setting, by chat, and for all answers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Agent

from flask_chatkit import ChatKit
from flask_chatkit.errors import ConfigurationError
from flask_chatkit.server.agents import budget
from flask_chatkit.server.agents.budget import BUSY, POOL
from tests.helpers.model_api import Half, ModelApi, Say
from tests.helpers.served import Client, said, visit
from tests.helpers.sites import MakeApp
from tests.server.agents.test_workflow_http import api

__all__ = ["api"]


@pytest.fixture
def site(make_app: MakeApp, browse: Any, tmp_path: Path) -> Callable[..., Client]:
    """Visitors of a site with three agents."""

    def visitor(prefix: str = "/chatkit", **config: Any) -> Client:
        kit = ChatKit(store="sqlite://")
        agent = Agent(name="Coach", model="small")
        given: dict[str, Any] = {"titles": False, "attachments": True}
        kit.add_agent("default", agent, **given)
        kit.add_agent("long", agent, history_characters=50_000, **given)
        kit.add_agent("bare", agent, history_bytes=0, look_again=False, **given)
        app = make_app(kit, CHATKIT_UPLOAD_FOLDER=str(tmp_path / "files"), **config)
        return visit(browse(app), prefix)

    return visitor


def test_characters_by_setting_and_by_chat(site: Callable[..., Client], api: ModelApi) -> None:
    """A chat's own budget takes the place of the setting's."""
    for prefix, is_told in (("/chatkit", False), ("/chatkit/long", True)):
        ann = site(prefix, CHATKIT_HISTORY_CHARACTERS=1000)
        api.replies = [Say(["One"]), Say(["Two"])]
        thread = ann.create("the first " + "x" * 900)
        ann.add(thread, "the second " + "y" * 900)
        told = str(api.asked[-1]["input"])
        assert "the second" in told
        assert ("the first" in told) is is_told


def test_files_by_chat(site: Callable[..., Client], api: ModelApi) -> None:
    """A chat whose agent is to read no files names them, and has no tool for them."""
    ann = site("/chatkit/bare")
    file = ann.upload().json()
    api.replies = [Say(["One"]), Say(["Two"])]
    thread = ann.create("look", attachments=[file["id"]])
    ann.add(thread, "again")
    assert all(file["name"] in str(asked["input"]) for asked in api.asked)
    assert "base64" not in str(api.asked)
    assert not api.asked[1].get("tools")


def test_too_much_at_a_time_is_a_refusal(
    site: Callable[..., Client],
    api: ModelApi,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without room for its files a message is refused in words, with Retry, and noted."""
    monkeypatch.setattr(budget, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(POOL, "_taken", Counter({"somebody": 10**12}))
    ann = site()
    file = ann.upload().json()
    with caplog.at_level(logging.INFO, "flask_chatkit"):
        stream = ann.stream("threads.create", input=said("look", attachments=[file["id"]]))
    assert (stream[-1]["message"], stream[-1]["allow_retry"]) == (BUSY, True)
    assert api.asked == []
    assert [
        (record.chatkit_reason, record.chatkit_limit)
        for record in caplog.records
        if hasattr(record, "chatkit_reason")
    ] == [("busy", "64000000 bytes of files in all answers")]


def test_half_an_answer_through_http(site: Callable[..., Client], api: ModelApi) -> None:
    """A stream that closes early is an error event with Retry, and what was said is stored."""
    ann = site()
    api.replies = [Half(["So far"])]
    stream = ann.stream("threads.create", input=said("hello"))
    assert (stream[-1]["type"], stream[-1]["allow_retry"]) == ("error", True)
    items = ann.items(stream[0]["thread"]["id"])
    assert [item["type"] for item in items] == ["user_message", "assistant_message"]
    assert items[1]["content"][0]["text"] == "So far"


@pytest.mark.parametrize(
    "option", [{"history_characters": 10}, {"history_bytes": -1}, {"look_again": "no"}]
)
def test_wrong_budgets_are_refused(option: dict[str, Any]) -> None:
    """A budget that is none is told by name when the chat is declared."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        ChatKit().add_agent("default", Agent(name="Coach"), **option)
