"""The returning visitor: a hosted chat becomes a served one, and the old threads are there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import render_template_string, request

from flask_chatkit import ChatKit
from flask_chatkit.testing import (
    OpenAIStandIn,
    assistant_message,
    client_tool_call,
    task,
    task_group,
    user_message,
    widget,
)
from tests.helpers.pages import chat, say
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

HEAD = (
    "<!doctype html><html lang=en><title>Site</title><body>"
    '{% from "chatkit/macros.html" import chatkit_inline %}'
)
CARD = {
    "type": "Card",
    "children": [{"type": "Title", "value": "Parcel 12"}, {"type": "Text", "value": "On its way"}],
}
#: One of each type of OpenAI's thread items.
ITEMS = [
    user_message("Where is my parcel?", quoted="We ship on Mondays"),
    task("Looking up the parcel", "in the warehouse"),
    task_group(task("Read the label"), task("Asked the carrier", task_type="thought")),
    client_tool_call("show_map", {"place": "Bern"}, output={"shown": True}),
    widget(CARD),
    assistant_message("It is on its way.", urls=["https://carrier.test/12"], files=["label.pdf"]),
    user_message(
        "Here is the slip.",
        attachments=[
            {
                "id": "file_1",
                "type": "file",
                "name": "slip.pdf",
                "mime_type": "application/pdf",
                "preview_url": None,
            }
        ],
    ),
    assistant_message("Thank you."),
]


def answer(message: Any, chat: Any) -> str:
    """The site's own assistant, which says how much of the conversation it knows."""
    first = chat.history[0].text if chat.history else "nothing"
    return f"You wrote “{message.text}”. Before it came {len(chat.history)} turns, first: {first}"


class Site:
    """A site whose application is replaced while its visitors stay."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self.app(environ, start_response)  # type: ignore[no-any-return]


@pytest.fixture
def make_site(openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path) -> Any:
    """Make the shop, hosted or served; nothing differs but the setting."""

    def make(**config: Any) -> Any:
        kit = ChatKit()
        kit.add_hosted("default")
        kit.user_loader(lambda: request.cookies.get("login"))
        script = openai_standin.script_url.replace("127.0.0.1", "localhost")
        app = make_app(
            kit,
            CHATKIT_SCRIPT_URL=script,
            CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/history.sqlite3",
            CHATKIT_UPLOAD_FOLDER=str(tmp_path / "files"),
            **config,
        )
        app.add_url_rule(
            "/", "home", lambda: render_template_string(HEAD + "{{ chatkit_inline() }}")
        )
        return app

    return make


def builtin(page: Page) -> Locator:
    return page.locator("flask-chatkit-chat")


SERVED = {"CHATKIT_WORKFLOW_ID": None, "CHATKIT_SERVER": f"{__name__}:answer"}


@pytest.mark.parametrize("login", [None, "ann"])
def test_returning_visitor_goes_on_in_an_old_thread(
    page: Page,
    serve: Any,
    make_site: Any,
    openai_standin: OpenAIStandIn,
    login: str | None,
) -> None:
    """With the cookie or login of before, a visitor opens an old thread and goes on in it."""
    site = Site(make_site())
    base = serve(site)
    if login:
        page.context.add_cookies([{"name": "login", "value": login, "url": base}])
    page.goto(base)
    chat(page).locator("#input").wait_for()
    say(page, "hello")
    (user,) = {thread["user"] for thread in openai_standin.threads.values()}
    openai_standin.add_thread(user, title="The parcel", items=ITEMS)
    openai_standin.add_thread("anon:somebody-else", title="Private", items=ITEMS)

    site.app = make_site(**SERVED)
    result = site.app.test_cli_runner().invoke(args=["chatkit", "threads", "migrate"])
    assert result.exit_code == 0, result.output

    page.route(re.compile("/deployments/"), lambda route: route.abort())
    page.goto(base)
    shown = builtin(page)
    # The tab's own thread of before is open, under its own id.
    shown.get_by_role("log").get_by_text("You wrote “hello”").wait_for()
    shown.get_by_role("button", name="Chats").click()
    shown.get_by_text("The parcel").first.wait_for()
    assert shown.get_by_text("Private").count() == 0
    shown.get_by_text("The parcel").first.click()
    log = shown.get_by_role("log")
    for text in (
        "Where is my parcel?",
        "We ship on Mondays",
        "Looking up the parcel",
        "Parcel 12",
        "It is on its way.",
        "slip.pdf",
        "Thank you.",
    ):
        log.get_by_text(text).first.wait_for(state="attached")
    shown.get_by_role("textbox").fill("And now?")
    page.keyboard.press("Enter")
    log.get_by_text("first: Where is my parcel?").wait_for()
    listed = page.evaluate(
        """async () => {
          const answer = await fetch("/chatkit/api", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ type: "threads.list", params: { limit: 20, order: "desc" } }),
          });
          return (await answer.json()).data.map((thread) => thread.title);
        }"""
    )
    assert "The parcel" in listed
    assert "Private" not in listed
