"""The widgets of the built-in chat: every component and property, in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from tests.browser.test_builtin import Chat, axe, sse, stream
from tests.helpers import builtin_server as site
from tests.helpers.widget_gallery import GALLERY, Widget

if TYPE_CHECKING:
    from playwright.sync_api import Page

AT = {"thread_id": "t1", "created_at": "2026-01-01T00:00:00Z"}


class Shown(Chat):
    """A chat whose server shows widgets, and keeps what it is asked for."""

    def __init__(self, page: Page, server: site.Talker, app: Flask, base: str) -> None:
        super().__init__(page, server, app, base)
        self.widgets: list[Widget] = []
        self.actions: list[dict[str, Any]] = []
        self.count = 0
        app.config["ANSWER"] = self._answer

    def _answer(self, body: dict[str, Any]) -> Any:
        if body["type"] == "threads.custom_action":
            self.actions.append(body["params"]["action"])
            return stream(b"")
        if not body["type"].endswith(("create", "add_user_message")):
            return None
        thread = {"type": "thread.created", "thread": {"id": "t1", "created_at": AT["created_at"]}}
        events = [thread] if self.count == 0 else []
        for widget in self.widgets:
            self.count += 1
            item = {"id": f"w{self.count}", "type": "widget", "widget": widget, **AT}
            events.append({"type": "thread.item.done", "item": item})
        return stream(sse(*events))

    def show(self, *widgets: Widget) -> None:
        """Have the server answer with these widgets, and wait until they are drawn."""
        self.widgets = list(widgets)
        self.say("Show")
        self.wait("!root.querySelector('article.widget .progress')")


@pytest.fixture
def chat(page: Page, serve: Any) -> Iterator[Shown]:
    """A page of a site with the built-in chat, not opened yet."""
    server = site.Talker()
    app = site.make_site(server)
    yield Shown(page, server, app, serve(app))
    server.go.set()
