"""What the served chats of a kit share, and what they must not share with another application."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

import pytest
from chatkit.server import ChatKitServer
from chatkit.types import AssistantMessageContent, AssistantMessageItem, ThreadItemDoneEvent
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy

from flask_chatkit import ChatKit
from flask_chatkit.errors import ConfigurationError
from flask_chatkit.server import SQLAlchemyStore
from tests.helpers.served import PNG, said, visit
from tests.helpers.sites import MakeApp


class Parrot(ChatKitServer[Any]):
    """Says what it is told."""

    async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
        yield ThreadItemDoneEvent(
            item=AssistantMessageItem(
                id=self.store.generate_item_id("message", thread, context),
                thread_id=thread.id,
                created_at=datetime.now(timezone.utc),
                content=[AssistantMessageContent(text=item.content[0].text)],
            )
        )


def login(kit: ChatKit) -> ChatKit:
    kit.user_loader(lambda: request.cookies.get("login"))
    return kit


def sign_in(client: Any, name: str = "ann") -> None:
    client.browser.cookies.set("login", name, domain="127.0.0.1")


@pytest.mark.parametrize("kind", ["extension", "engine", "URI", "store"])
def test_signing_in_hands_over_whatever_the_store(
    browse: Any, make_app: MakeApp, tmp_path: Any, kind: str
) -> None:
    """Anonymous threads become the login's in a store of each kind that a site may give."""
    from sqlalchemy import create_engine

    uri = f"sqlite:///{tmp_path}/history.sqlite3"
    db = SQLAlchemy()
    given = {
        "extension": db,
        "engine": create_engine(uri) if kind == "engine" else None,
        "URI": uri,
        "store": SQLAlchemyStore(uri) if kind == "store" else None,
    }
    kit = login(ChatKit(store=given[kind]))
    kit.assistant()(lambda message, _chat: message.text)
    app = make_app(kit, CHATKIT_WORKFLOW_ID=None, SQLALCHEMY_DATABASE_URI=uri)
    db.init_app(app)
    ann = visit(browse(app))
    thread = ann.create("hello")
    sign_in(ann)
    ann.browser.mint()
    assert [item["id"] for item in ann.threads()] == [thread]


def test_broken_chat_breaks_no_other(
    browse: Any, make_app: MakeApp, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A chat whose factory fails does not keep those who sign in from the others."""

    def fails() -> Any:
        raise RuntimeError("no model today")

    kit = login(ChatKit())
    kit.assistant()(lambda message, _chat: message.text)
    kit.add_server("broken", fails)
    uri = f"sqlite:///{tmp_path}/history.sqlite3"
    ann = visit(browse(make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=uri)))
    thread = ann.create("hello")
    sign_in(ann)
    ann.browser.mint()
    assert [item["id"] for item in ann.threads()] == [thread]
    assert "no model today" in caplog.text
    assert "not handed over" in caplog.text


def test_instance_serves_two_applications(browse: Any, make_app: MakeApp, tmp_path: Any) -> None:
    """One server object in two applications keeps each one's files in its own folder."""
    kit = ChatKit()
    kit.add_server("default", Parrot(SQLAlchemyStore("sqlite://")), attachments=True)
    clients, folders = [], []
    for name in ("a", "b"):
        folders.append(tmp_path / name)
        app = make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_UPLOAD_FOLDER=str(folders[-1]))
        app.config["SECRET_KEY"] = f"of the tests, {name}"
        clients.append(visit(browse(app)))
    for client in clients:
        file = {"file": ("a.png", io.BytesIO(PNG), "image/png")}
        uploaded = client.browser.post("/chatkit/attachments", data={}, files=file).json()
        thread = client.create("see", attachments=[uploaded["id"]])
        shown = client.items(thread)[0]["attachments"][0]["preview_url"]
        assert client.browser.get(shown.removeprefix(client.browser.base)).content == PNG
    assert [len(list(folder.iterdir())) for folder in folders] == [1, 1]


def test_reason_of_a_wrong_database_is_told(
    browse: Any, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the setting and the accepted form, and no password."""
    kit = ChatKit()
    kit.assistant()(lambda message, _chat: message.text)
    uri = "oracle://scott:hunter2@127.0.0.1/x"
    client = visit(browse(make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=uri)))
    answer = client.post("threads.create", input=said("hello"))
    assert answer.json()["error"]["code"] == "misconfigured"
    assert "CHATKIT_DATABASE_URI" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"atachments": True}, "no option atachments .*did you mean attachments"),
        ({"file_upload": True}, "no option file_upload .*did you mean attachments"),
        ({"message_ratelimit": "often"}, "the chat 'a': message_ratelimit must be"),
    ],
)
def test_wrong_option_is_named(options: Any, told: str) -> None:
    """An option that no served chat has is told by name, with what was probably meant."""
    with pytest.raises(ConfigurationError, match=told):
        ChatKit().add_server("a", Parrot, **options)


def test_wrong_declarations_are_refused() -> None:
    """A function without the two arguments, and handlers of a server's chat, are told at once."""
    kit = ChatKit()
    with pytest.raises(ConfigurationError, match=r"\(message, chat\)"):
        kit.assistant()(lambda message: message)
    kit.action("go", chat="b")(lambda _payload, _chat: None)
    with pytest.raises(ConfigurationError, match="own methods"):
        kit.add_server("b", Parrot)
    with pytest.raises(ConfigurationError, match="max_turns"):
        kit.add_agent("c", lambda _context: None, run_options={"session": 1})


def test_misspelled_field_of_a_widget_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A field that no component of the kind has is told, with what was probably meant."""
    from flask_chatkit.server.assistants.widgets import as_widget

    with caplog.at_level(logging.WARNING, "flask_chatkit"):
        as_widget({"type": "Card", "children": [{"type": "Button", "lable": "Go"}]})
    assert "a Button has no field 'lable'; did you mean label?" in caplog.text


def test_switch_keeps_the_limit_of_a_minute(make_app: MakeApp) -> None:
    """What a hosted session allowed a minute holds in the chat that takes its place."""
    kit = ChatKit()
    kit.add_hosted("default", requests_per_minute=2)
    app: Flask = make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_SERVER=f"{__name__}:Parrot")
    (chat,) = app.extensions["chatkit"]["chatkit"].served
    assert [str(item) for item in chat.message_ratelimit] == ["2 per 1 minute", "500 per 1 day"]
