"""What was said before is found: by day, by words, beside the chat, with its time and as a file."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import render_template_string, request

from flask_chatkit import ChatKit
from flask_chatkit.server.history.tables import items, threads
from flask_chatkit.server.history.words import item_words, words_of
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

INLINE = (
    "<!doctype html><html lang=en><title>Site</title><body>"
    '{% from "chatkit/macros.html" import chatkit_inline %}'
    "<main><h1>Site</h1>{{ chatkit_inline() }}</main>"
)
AXE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NOW = datetime.now(timezone.utc)
#: Title, days ago, and what was asked in it.
PAST = [
    ("Red shoes", 0.0, ["Do you have red shoes?"]),
    ("Opening hours", 1.0, ["When are you open?"]),
    ("A refund", 4.0, ["The boots pinch", "How do I get my money back?"]),
    ("Old things", 400.0, ["Do you repair boots?", *[f"Line {n}" for n in range(80)]]),
]


class Site:
    """A site with one chat, and its visitor's page."""

    def __init__(self, page: Page, base: str, uri: str) -> None:
        self.page, self.base, self.uri = page, base, uri
        self.root = page.locator("flask-chatkit-chat")
        self.field = self.root.get_by_role("textbox", name="Message", exact=True)
        self.log = self.root.get_by_role("log")
        self.search = self.root.get_by_role("searchbox")
        self.rows = self.root.locator(".past:visible .item > span:first-child")
        self.panel = self.root.locator(".history")
        #: What threads.list was asked for, as the server got it.
        self.asked: list[str] = []

    def open(self, path: str = "/", *, seeds: bool = True) -> Site:
        """Open the page and the chat in it, with a past."""
        self.page.goto(self.base + path)
        self.field.fill("Hello")
        self.field.press("Enter")
        self.log.get_by_text("You said Hello.").wait_for()
        self.root.locator(".chat:not(.answering)").wait_for()
        if seeds:
            self.seed()
        self.page.reload()
        self.field.wait_for()
        return self

    def seed(self) -> None:
        """Give the visitor a past; the one chat that there is becomes the newest."""
        engine = sa.create_engine(self.uri)
        with engine.begin() as db:
            first = db.execute(sa.select(threads)).one()
            owner = {name: getattr(first, name) for name in ("owner", "kit", "chat", "visitor")}
            for number, (title, days, texts) in enumerate(PAST):
                at = NOW - timedelta(days=days)
                thread = {"id": f"thr_{number}", "title": title, "created_at": at.isoformat()}
                row = {
                    **owner,
                    "id": thread["id"],
                    "created_at": at,
                    "data": json.dumps(thread),
                    "words": words_of(title),
                }
                done = db.execute(sa.insert(threads).values(row))
                for place, text in enumerate(texts):
                    self._add(db, done.inserted_primary_key[0], thread, place, text)
        engine.dispose()

    def _add(self, db: Any, position: int, thread: dict[str, Any], place: int, text: str) -> None:
        item = {
            "id": f"msg_{thread['id']}_{place}",
            "type": "user_message",
            "thread_id": thread["id"],
            "created_at": thread["created_at"],
            "content": [{"type": "input_text", "text": text}],
            "attachments": [],
            "inference_options": {},
        }
        values = {
            "thread": position,
            "id": item["id"],
            "type": item["type"],
            "created_at": datetime.fromisoformat(thread["created_at"]),
            "data": json.dumps(item),
            "words": item_words(item),
        }
        db.execute(sa.insert(items).values(values))

    def button(self, name: str) -> Locator:
        """A button by its name."""
        return self.root.get_by_role("button", name=name, exact=True)

    def lists(self, *titles: str) -> None:
        """Wait until the list has these threads."""
        wait(lambda: self.rows.all_inner_texts() == list(titles), self.rows.all_inner_texts)


def wait(check: Callable[[], Any], told: Callable[[], Any] = str) -> None:
    end = time.monotonic() + 10
    while not check():
        assert time.monotonic() < end, told()
        time.sleep(0.02)


ALL = ["Hello", *[title for title, _, _ in PAST]]


@pytest.fixture
def site(
    page: Page, openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any, tmp_path: Path
) -> Callable[..., Site]:
    """Make a site whose chat is the built-in one."""

    def start(kit: ChatKit | None = None, **config: Any) -> Site:
        uri = f"sqlite:///{tmp_path}/history.sqlite3"
        if kit is None:
            kit = ChatKit()
            kit.assistant()(lambda message, _chat: f"You said {message.text}.")
        app = make_app(
            kit,
            CHATKIT_WORKFLOW_ID=None,
            CHATKIT_SCRIPT_URL=openai_standin.script_url.replace("127.0.0.1", "localhost"),
            CHATKIT_DATABASE_URI=uri,
            **config,
        )
        app.add_url_rule("/", "home", lambda: render_template_string(INLINE))
        made = Site(page, "", uri)

        @app.before_request
        def note() -> None:
            body = request.get_json(silent=True) if request.path == "/chatkit/api" else None
            if (body or {}).get("type") == "threads.list":
                made.asked.append(body["metadata"].get("flask_chatkit_search"))

        page.route(re.compile("/deployments/"), lambda route: route.abort())
        made.base = str(serve(app))
        return made

    return start


# --- the list ------------------------------------------------------------------------------------


def test_threads_stand_under_their_day(site: Any) -> None:
    """Today, yesterday, the week before, and months, each with its threads, newest first."""
    chat = site().open()
    chat.button("Chats").click()
    chat.lists(*ALL)
    groups = chat.panel.locator("section")
    assert [groups.nth(n).locator("h3").inner_text() for n in range(4)][:3] == [
        "Today",
        "Yesterday",
        "Previous 7 days",
    ]
    assert re.fullmatch(r"\w+ 20\d\d", groups.nth(3).locator("h3").inner_text())
    assert groups.nth(0).get_by_role("listitem").count() == 2
    chat.button("Delete: Opening hours").click()
    chat.button("Delete").click()
    chat.root.get_by_text("Yesterday").wait_for(state="detached")
    # The focus is on the thread that stands in its place.
    focused = "document.querySelector('flask-chatkit-chat').shadowRoot.activeElement.textContent"
    assert chat.page.evaluate(focused).startswith("A refund")


def test_words_of_titles_and_texts_are_found(site: Any) -> None:
    """Typing finds threads by title and text, with the place marked; Escape brings all back."""
    chat = site().open()
    chat.button("Chats").click()
    chat.search.fill("boot")
    chat.lists("A refund", "Old things")
    assert chat.panel.locator("mark").all_inner_texts() == ["boot", "boot"]
    assert "The boots pinch" in chat.panel.inner_text()
    assert chat.panel.locator("h3").count() == 0
    chat.root.get_by_text("Found: 2").wait_for(state="attached")
    chat.search.fill("hours OPEN")
    chat.lists("Opening hours")
    chat.search.fill("zebra")
    chat.root.locator(".history").get_by_text("Nothing found").wait_for()
    chat.search.press("Escape")
    chat.lists(*ALL)
    assert chat.search.input_value() == ""
    assert chat.panel.is_visible()
    chat.search.press("Escape")
    chat.panel.wait_for(state="hidden")
    assert chat.asked == ["", "boot", "hours OPEN", "zebra", ""]


def test_a_result_opens_where_it_was_found(site: Any) -> None:
    """A thread that is found in an early message is opened at that message."""
    chat = site().open()
    chat.button("Chats").click()
    chat.search.fill("repair")
    chat.lists("Old things")
    chat.rows.first.click()
    found = chat.root.locator("article").get_by_text("Do you repair boots?")
    found.wait_for()
    box = chat.log.bounding_box()
    wait(lambda: box["y"] <= found.bounding_box()["y"] <= box["y"] + 80)
    assert chat.root.get_by_role("heading", level=2).first.inner_text() == "Old things"


def test_what_comes_late_is_not_shown(site: Any) -> None:
    """An answer to a former query does not replace that of the newest."""
    chat = site().open()
    chat.button("Chats").click()
    held: list[Any] = []

    def hold(route: Any) -> None:
        if '"shoes"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    chat.page.route("**/chatkit/api", hold)
    chat.search.fill("shoes")
    wait(lambda: chat.page.wait_for_timeout(20) or held)
    chat.search.fill("refund")
    chat.lists("A refund")
    held[0].continue_()
    chat.page.wait_for_timeout(300)
    chat.lists("A refund")


def test_a_store_that_can_not_search_has_no_field(site: Any) -> None:
    """With a store of the site's own the list is as it was, without a field that finds nothing."""
    from chatkit.server import ChatKitServer

    from tests.helpers.stores import TidyStore

    class Server(ChatKitServer[Any]):
        async def respond(self, thread: Any, item: Any, context: Any) -> Any:
            from chatkit.types import (
                AssistantMessageContent,
                AssistantMessageItem,
                ThreadItemDoneEvent,
            )

            text = f"You said {item.content[0].text}."
            yield ThreadItemDoneEvent(
                item=AssistantMessageItem(
                    id=self.store.generate_item_id("message", thread, context),
                    thread_id=thread.id,
                    created_at=datetime.now(timezone.utc),
                    content=[AssistantMessageContent(text=text)],
                )
            )

    kit = ChatKit()
    kit.add_server("default", lambda: Server(TidyStore()))
    chat = site(kit).open(seeds=False)
    chat.button("Chats").click()
    chat.rows.first.wait_for()
    chat.page.wait_for_timeout(300)
    assert chat.search.count() == 0


# --- beside the chat -----------------------------------------------------------------------------


def test_a_wide_page_has_the_list_beside_the_chat(site: Any) -> None:
    """On a wide page of its own the list stands beside the chat, and follows what is open."""
    chat = site()
    chat.page.set_viewport_size({"width": 1300, "height": 800})
    chat.open("/chatkit/")
    chat.lists(*ALL)
    main = chat.root.locator(".main")
    beside = chat.panel.bounding_box()
    assert beside["x"] + beside["width"] == pytest.approx(main.bounding_box()["x"], abs=2)
    chat.rows.nth(3).click()
    chat.log.get_by_text("How do I get my money back?").wait_for()
    assert chat.panel.locator("[aria-current]").inner_text() == "A refund"
    assert chat.panel.is_visible()
    chat.button("New chat").click()
    chat.field.fill("Something new")
    chat.field.press("Enter")
    chat.log.get_by_text("You said Something new.").wait_for()
    chat.lists("Something new", *ALL)
    assert chat.panel.locator("[aria-current]").inner_text() == "Something new"
    # Who closes it has it closed on the next page, too.
    chat.button("Chats").click()
    chat.panel.wait_for(state="hidden")
    chat.page.reload()
    chat.field.wait_for()
    chat.page.wait_for_timeout(300)
    assert not chat.panel.is_visible()
    chat.button("Chats").click()
    chat.lists("Something new", *ALL)
    assert chat.button("Chats").get_attribute("aria-expanded") == "true"


def test_a_narrow_page_has_it_over_the_chat(site: Any) -> None:
    """A page that becomes narrow has the whole width for the chat, and no control is dead."""
    chat = site()
    chat.page.set_viewport_size({"width": 1300, "height": 800})
    chat.open("/chatkit/")
    chat.lists(*ALL)
    chat.search.focus()
    chat.page.set_viewport_size({"width": 700, "height": 800})
    chat.panel.wait_for(state="hidden")
    inside = "document.querySelector('flask-chatkit-chat').shadowRoot.activeElement?.className"
    assert chat.page.evaluate(inside)
    chat.button("Chats").click()
    chat.lists(*ALL)
    assert chat.root.locator(".main").evaluate("(node) => node.inert")
    chat.page.keyboard.press("Escape")
    chat.panel.wait_for(state="hidden")
    assert not chat.root.locator(".main").evaluate("(node) => node.inert")
    chat.page.set_viewport_size({"width": 1300, "height": 800})
    chat.lists(*ALL)


# --- times and files -----------------------------------------------------------------------------


def test_messages_have_their_time(site: Any) -> None:
    """The time of a message appears when one points at it, with the day in full."""
    chat = site().open()
    sent = chat.root.locator("article.user_message > time")
    answered = chat.root.locator(".bar > time")
    for stamp in (sent, answered):
        stamp.wait_for()
        assert re.search(rf"\b{datetime.now(timezone.utc).year}\b", stamp.get_attribute("title"))
        assert stamp.evaluate("(node) => getComputedStyle(node).opacity") == "0"
    chat.root.locator("article.user_message").hover()
    wait(lambda: sent.evaluate("(node) => getComputedStyle(node).opacity") == "1")
    # What was sent just now has one as soon as the server has it.
    chat.field.fill("Again")
    chat.field.press("Enter")
    wait(lambda: sent.count() == 2)


def test_a_thread_is_saved_as_a_file(site: Any) -> None:
    """The whole open thread is saved as Markdown, also what is not loaded yet."""
    chat = site().open()
    chat.button("Download the chat").wait_for()
    chat.button("Chats").click()
    chat.rows.get_by_text("Old things").click()
    chat.log.get_by_text("Line 79").wait_for()
    with chat.page.expect_download() as waiting:
        chat.button("Download the chat").click()
    assert waiting.value.suggested_filename == "Old things.md"
    written = Path(waiting.value.path()).read_text("utf-8")
    assert written.startswith("# Old things\n\n## You said:\n\n*")
    assert "Do you repair boots?" in written
    assert [f"Line {n}\n" in written for n in range(80)] == [True] * 80
    chat.button("New chat").click()
    chat.button("Download the chat").wait_for(state="hidden")


def test_a_file_that_fails_says_why(site: Any) -> None:
    """Where the items can't be had, the visitor reads so, and can try again."""
    chat = site().open()
    chat.page.route("**/chatkit/api", lambda route: route.abort())
    chat.button("Download the chat").click()
    chat.root.get_by_role("alert").get_by_text("You seem to be offline").wait_for()


# --- for everybody -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["list", "results", "nothing", "sidebar", "times"])
def test_axe_finds_nothing(site: Any, node_modules: Path, state: str) -> None:
    """Each new state is free of what axe finds."""
    chat = site()
    if state == "sidebar":
        chat.page.set_viewport_size({"width": 1300, "height": 800})
    chat.open("/chatkit/" if state == "sidebar" else "/")
    if state in {"list", "results", "nothing"}:
        chat.button("Chats").click()
        chat.search.wait_for()
    if state in {"results", "nothing"}:
        chat.search.fill("boot" if state == "results" else "zebra")
        chat.panel.get_by_text("boots" if state == "results" else "Nothing found").first.wait_for()
    if state == "sidebar":
        chat.lists(*ALL)
    if state == "times":
        chat.root.locator("article.user_message").hover()
        chat.page.wait_for_timeout(300)
    chat.page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = chat.page.evaluate(
        "(tags) => axe.run({runOnly: tags}).then(({violations}) =>"
        " violations.map(({id, nodes}) => [id, nodes.map(({html}) => html)]))",
        AXE,
    )
    assert found == []


def test_the_keyboard_alone_finds(site: Any) -> None:
    """From the button of the list to an opened result, with Tab and Enter."""
    chat = site().open()
    chat.button("Chats").focus()
    chat.page.keyboard.press("Enter")
    chat.search.wait_for()
    chat.page.keyboard.press("Tab")
    chat.page.keyboard.type("money")
    chat.lists("A refund")
    chat.page.keyboard.press("Tab")
    # The log scrolls, so that it may be focused itself.
    focused = "document.querySelector('flask-chatkit-chat').shadowRoot.activeElement.className"
    if chat.page.evaluate(focused) != "item":
        chat.page.keyboard.press("Tab")
    chat.page.keyboard.press("Enter")
    chat.log.get_by_text("How do I get my money back?").wait_for()
    inside = "document.querySelector('flask-chatkit-chat').shadowRoot.activeElement?.tagName"
    wait(lambda: chat.page.evaluate(inside) == "TEXTAREA")


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_phones_have_all_of_it(site: Any, direction: str) -> None:
    """On a phone, in both directions, nothing is cut off and all is large enough to be touched."""
    chat = site()
    chat.page.set_viewport_size({"width": 360, "height": 640})
    chat.open()
    chat.root.locator(".chat").evaluate("(node, dir) => { node.dir = dir; }", direction)
    chat.button("Chats").click()
    chat.search.fill("boot")
    chat.lists("A refund", "Old things")
    wide = "(node) => node.scrollWidth - node.clientWidth"
    assert chat.root.locator(".history .log").evaluate(wide) <= 1
    outer, inner = chat.panel.bounding_box(), chat.search.bounding_box()
    assert outer["x"] <= inner["x"]
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"]
    assert inner["height"] >= 36
