"""Exported workflows through HTTP: one setting in the place of the hosted workflow's id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import agents
import pytest
from agents.models import _openai_shared
from openai import AsyncOpenAI

from flask_chatkit import ChatKit
from flask_chatkit.server.streaming import loop
from tests.helpers.model_api import KEY, ModelApi, Say, serve_model
from tests.helpers.served import Client, said, visit
from tests.helpers.sites import MakeApp

LINEAR = "tests.helpers.exports.linear:run_workflow"


@pytest.fixture
def api() -> Iterator[ModelApi]:
    """A model's API, which the SDK's default client asks, as exports do."""
    agents.set_tracing_disabled(True)
    before = _openai_shared.get_default_openai_client()
    with serve_model() as served:
        client = AsyncOpenAI(api_key=KEY, base_url=served.base_url, max_retries=0)
        agents.set_default_openai_client(client, use_for_tracing=False)
        yield served
        _openai_shared._default_openai_client = before
        loop.current().run(client.close, 10)
        assert served.wrong == []


def visitors(make_app: MakeApp, browse: Any, way: str, **config: Any) -> Client:
    """A visitor of a chat that was hosted, on the day after the switch."""
    kit = ChatKit(store="sqlite://")
    prefix = "/chatkit"
    if way == "add_hosted":
        kit.add_hosted("sales", widget={"greeting": "Welcome"})
        prefix = "/chatkit/sales"
    app = make_app(kit, **{"CHATKIT_SERVER": LINEAR, "CHATKIT_WORKFLOW_ID": None, **config})
    return visit(browse(app), prefix)


@pytest.mark.parametrize("way", ["setting", "add_hosted"])
def test_setting_serves_an_export(make_app: MakeApp, browse: Any, api: ModelApi, way: str) -> None:
    """With the one setting an export answers, streamed and with memory, until Stop."""
    ann = visitors(make_app, browse, way, CHATKIT_LEAVE_SECONDS=0)
    api.replies = [Say(["Hel", "lo"]), Say(["you"])]
    told = ann.stream("threads.create", input=said("first turn"))
    thread = told[0]["thread"]["id"]
    parts = [one["update"].get("delta") for one in told if one["type"] == "thread.item.updated"]
    assert [one for one in parts if one] == ["Hel", "lo", "you"]
    assert ann.threads()[0]["title"] == "Keys and locks"
    api.replies = [Say(["so far"], hang=True)]
    body = {"thread_id": thread, "input": said("second")}
    answer = ann.send({"type": "threads.add_user_message", "params": body}, stream=True)
    heard = b""
    for chunk in answer.iter_content(None):
        heard += chunk
        if b"so far" in heard:
            break
    answer.close()
    assert api.has_gone.wait(10)
    assert str(api.asked[-1]["input"]).count("first turn") == 1
    assert str(api.asked[-1]["input"]).count("'Hello'") == 1


def test_time_limit_ends_an_export(make_app: MakeApp, browse: Any, api: ModelApi) -> None:
    """An export is given as much time as any other answer."""
    ann = visitors(make_app, browse, "setting", CHATKIT_ANSWER_SECONDS=1)
    api.replies = [Say(["so far"], hang=True)]
    told = ann.stream("threads.create", input=said("hello"))
    assert told[-1]["type"] == "error"
    assert api.has_gone.wait(10)
