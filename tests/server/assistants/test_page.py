"""What a page says it is about, and what a chat suggests to say next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chatkit.server import ChatKitServer
from chatkit.types import ClientEffectEvent
from flask import Flask

from flask_chatkit import ChatKit
from flask_chatkit.server import ChatContext, suggestions_event
from flask_chatkit.server.context import as_context
from flask_chatkit.testing import CallRefusedError, ServedChat
from tests.helpers.driving import ALICE
from tests.helpers.sites import MakeApp

Serve = Callable[..., Flask]
PAGE = {"product": 42, "words": "Grüner Tee", "in": {"cart": [1, None, True]}}


@pytest.fixture
def serve(make_app: MakeApp, tmp_path: Path) -> Serve:
    """Make an application whose default chat is answered by a function."""

    def start(function: Any, **config: Any) -> Flask:
        kit = ChatKit()
        kit.assistant(headers=["X-Shop"])(function)
        history = f"sqlite:///{tmp_path}/history.sqlite3"
        settings = {"CHATKIT_WORKFLOW_ID": None, "CHATKIT_DATABASE_URI": history}
        return make_app(kit, **settings, **config)

    return start


def tell_page(_message: Any, chat: Any) -> str:
    return json.dumps([chat.page, chat.context.page])


def test_function_learns_what_the_page_is_about(serve: Serve) -> None:
    """It is in the chat and in its context; a page that says nothing is an empty one."""
    app = serve(tell_page)
    told = ServedChat(app, page=PAGE).say("Hello").text
    assert json.loads(told) == [PAGE, PAGE]
    assert json.loads(ServedChat(app).say("Hello").text) == [{}, {}]


def test_server_learns_what_the_page_is_about(make_app: MakeApp, tmp_path: Path) -> None:
    """So does a ChatKitServer of the site's own, also by the key of a dict."""
    seen = []

    class Own(ChatKitServer[Any]):
        async def respond(self, thread: Any, input_user_message: Any, context: Any) -> Any:
            seen.append((context.page, context["page"]))
            yield suggestions_event(["More"])

    kit = ChatKit()
    kit.add_server("default", Own)
    history = f"sqlite:///{tmp_path}/history.sqlite3"
    app = make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=history)
    answer = ServedChat(app, page=PAGE).say("Hello")
    assert seen == [(PAGE, PAGE)]
    (effect,) = answer.effects
    assert effect.data == {"suggestions": [{"label": "More", "prompt": "More"}]}


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("x", "'metadata.page' must be a JSON object"),
        ([1], "'metadata.page' must be a JSON object"),
        ({"a": "x" * 4090}, "'metadata.page' has more than 4096 bytes"),
        ({"a": "ü" * 2046}, "'metadata.page' has more than 4096 bytes"),
    ],
)
def test_page_that_is_none_is_refused(serve: Serve, page: Any, told: str) -> None:
    """400, with the field and the accepted form; what a browser sends is checked like the rest."""
    chat = ServedChat(serve(tell_page))
    body = {"type": "threads.list", "params": {}, "metadata": {"page": page}}
    with pytest.raises(CallRefusedError) as refused:
        chat._transport.call("page", "POST", "/chatkit/api", json=body)
    assert refused.value.response.status_code == 400
    assert told in refused.value.response.text


def test_page_may_have_four_kilobytes(serve: Serve) -> None:
    """As many bytes as UTF-8 needs for compact JSON, however the body writes them."""
    page = {"a": "ü" * 2044}
    assert len(json.dumps(page, ensure_ascii=False, separators=(",", ":")).encode()) == 4096
    assert json.loads(ServedChat(serve(tell_page), page=page).say("Hello").text)[0] == page


def test_page_nested_deeply_is_refused(serve: Serve) -> None:
    """A body of brackets ends in 400, not in a recursion that is too deep."""
    chat = ServedChat(serve(tell_page))
    deep = "[" * 1900 + "]" * 1900
    body = '{"type":"threads.list","params":{},"metadata":{"page":{"a":' + deep + "}}}"
    with pytest.raises(CallRefusedError) as refused:
        chat._transport.call(
            "page", "POST", "/chatkit/api", data=body, content_type="application/json"
        )
    assert refused.value.response.status_code == 400


def test_page_survives_a_copy_of_the_context() -> None:
    """A context that pydantic has copied as a dict still says what the page is about."""
    context = ChatContext(visitor=ALICE.visitor, page=PAGE)
    assert as_context(dict(context)).page == PAGE
    assert as_context(dict(ALICE)).page == {}


def test_page_of_another_origin_may_send_the_sites_headers(serve: Serve) -> None:
    """A preflight allows those that the chat's declaration names, and no others."""
    shop = "https://www.example.com"
    client = serve(tell_page, CHATKIT_TRUSTED_ORIGINS=[shop]).test_client()
    asked = {"Origin": shop, "Sec-Fetch-Site": "cross-site"}
    for path, more in (("api", ", x-shop"), ("secret", ", x-shop"), ("nobody/secret", "")):
        answer = client.options(f"/chatkit/{path}", headers=asked)
        allowed = (
            "Authorization, Content-Type, X-CSRFToken, X-ChatKit-Token, X-ChatKit-Visitor" + more
        )
        assert answer.headers["Access-Control-Allow-Headers"] == allowed, path


# --- suggestions ---------------------------------------------------------------------------------


def test_suggestions_are_an_effect(serve: Serve) -> None:
    """They go to the page at once, and are not stored."""

    def answer(_message: Any, chat: Any) -> Any:
        yield "Yes."
        yield chat.suggest([" How? ", {"label": "Price", "prompt": "What does it cost?"}])

    chat = ServedChat(serve(answer))
    (effect,) = chat.say("Hello").effects
    assert effect.name == "chatkit.suggestions"
    assert effect.data == {
        "suggestions": [
            {"label": "How?", "prompt": "How?"},
            {"label": "Price", "prompt": "What does it cost?"},
        ]
    }
    assert [item.type for item in chat.items()] == ["user_message", "assistant_message"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("Yes", "a list of 1 to 6"),
        ({"label": "a", "prompt": "b"}, "a list of 1 to 6"),
        ([], "a list of 1 to 6"),
        (["a"] * 7, "a list of 1 to 6"),
        ([3], "'label' and 'prompt'"),
        ([{"label": "a"}], "'label' and 'prompt'"),
        ([{"label": "a", "prompt": "b", "icon": "c"}], "'label' and 'prompt'"),
        ([" "], "'label' must be a str of 1 to 120 characters"),
        (["x" * 121], "'label' must be a str of 1 to 120 characters"),
        ([{"label": "a", "prompt": "x" * 2001}], "'prompt' must be a str of 1 to 2000 characters"),
        ([{"label": "a", "prompt": None}], "'prompt' must be a str of 1 to 2000 characters"),
    ],
)
def test_suggestions_of_another_form_are_refused(given: Any, told: str) -> None:
    """The error names the accepted form, and no value."""
    with pytest.raises(ValueError, match="suggest: ") as refused:
        suggestions_event(given)
    assert told in str(refused.value)
    assert isinstance(suggestions_event(["x" * 120]), ClientEffectEvent)
