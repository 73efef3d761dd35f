"""Functions that are declared for a chat which does not exist: told when the kit is first used."""

from __future__ import annotations

from typing import Any

import pytest

from flask_chatkit import ChatKit
from tests.helpers.sites import MakeApp


def act(payload: Any, chat: Any) -> str:
    return "done"


def strays(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "does not exist" in one.getMessage()]


def test_misspelt_chat_is_logged_once(make_app: MakeApp, caplog: Any) -> None:
    """Each function for an unknown chat is logged, once, with the chats that there are."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")
    kit.action("order.cancel", chat="sale")(act)
    kit.transcriber(chat="sale")(act)
    client = make_app(kit).test_client()
    assert strays(caplog) == []
    for _ in range(2):
        assert client.get("/chatkit/config").status_code == 200
    where = "is declared for the chat 'sale' of the kit 'chatkit', which does not exist"
    known = "declared chats: default, sales"
    assert strays(caplog) == [
        f"@chatkit.action('order.cancel') {where}; {known}",
        f"@chatkit.transcriber {where}; {known}",
    ]


def test_order_of_declarations_is_free(make_app: MakeApp, caplog: Any, tmp_path: Any) -> None:
    """An action before its chat, or of one that the settings make or replace, is no stray."""
    kit = ChatKit()
    kit.action("order.cancel")(act)
    kit.action("order.cancel", chat="shop")(act)
    kit.action("order.cancel", chat="sales")(act)
    kit.assistant("shop")(act)
    kit.add_hosted("sales", "wf_standin")
    app = make_app(kit, CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/x.sqlite3")
    app.test_client().get("/chatkit/config")
    assert strays(caplog) == []
