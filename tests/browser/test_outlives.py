"""What a visitor finds who comes back: the answer, the draft, and the place where they were."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from flask_chatkit import ChatKit
from flask_chatkit.server.streaming import loop
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers import chromium, pages
from tests.helpers.pages import Sites
from tests.helpers.processes import free_port
from tests.helpers.served import until
from tests.helpers.sites import MakeApp
from tests.helpers.telling_site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

PAGE = '<main><h1>Shop</h1><a href="/other">Elsewhere</a>{{ chatkit_floating() }}</main>'
CUT = "This answer was interrupted before its end."
LONG = "\n\n".join(f"Paragraph {number} of a long answer." for number in range(60))


class Teller:
    """A chat whose slow answers wait until they are told to go on."""

    def __init__(self) -> None:
        #: The messages that were answered, and those whose answers were stopped.
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self._gates: list[asyncio.Event] = []
        self.kit = ChatKit()
        self.kit.assistant()(self.answer)

    async def answer(self, message: Any, chat: Any) -> AsyncIterator[str]:
        """Answer a message by its first word."""
        del chat
        self.begun.append(message.text)
        if message.text.startswith("slow"):
            yield f"First words for {message.text}. "
            gate = asyncio.Event()
            self._gates.append(gate)
            try:
                await gate.wait()
            except asyncio.CancelledError:
                self.stopped.append(message.text)
                raise
            yield "And the last ones."
        else:
            yield LONG if message.text.startswith("long") else f"You wrote “{message.text}”."

    def go_on(self) -> None:
        """Let the slow answers go on."""
        for gate in self._gates:
            loop.current().call(gate.set)


class Chat:
    """The chat on a page, as a visitor uses it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self.base = page, base

    def open(self, path: str = "/") -> Chat:
        """Load a page, and open the chat there unless it opens by itself."""
        self.page.goto(self.base + path)
        return self.again()

    def again(self) -> Chat:
        """Open the chat on the page that has come."""
        self.page.wait_for_function("'FlaskChatKit' in window")
        self.page.evaluate("FlaskChatKit.get().open()")
        pages.ready(self.page)
        self.field.wait_for()
        return self

    @property
    def field(self) -> Locator:
        """Where a message is written."""
        return self.page.locator("flask-chatkit-chat").get_by_role("textbox", name="Message")

    @property
    def log(self) -> Locator:
        """The messages."""
        return self.page.locator("flask-chatkit-chat").get_by_role("log")

    def button(self, name: str) -> Locator:
        """A button of the chat."""
        return self.page.locator("flask-chatkit-chat").get_by_role("button", name=name, exact=True)

    def say(self, text: str) -> None:
        """Send a message."""
        self.field.fill(text)
        self.field.press("Enter")

    def shows(self, text: str, count: int = 1) -> None:
        """Wait until the messages have a text, so many times."""
        self.log.get_by_text(text).first.wait_for()
        assert self.log.get_by_text(text).count() == count

    def idle(self) -> None:
        """Wait until no answer comes in."""
        self.button("Send message").wait_for()


@pytest.fixture
def teller() -> Teller:
    """What answers."""
    return Teller()


@pytest.fixture
def site(
    openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any, tmp_path: Path, teller: Teller
) -> Callable[..., str]:
    """Serve a site with two pages, whose chat is the teller's."""

    def start(**config: Any) -> str:
        files = {
            "CHATKIT_WORKFLOW_ID": None,
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
            "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "files"),
        }
        sites = Sites(openai_standin, make_app, serve)

        def setup(app: Flask) -> None:
            app.add_url_rule("/plain", "plain", lambda: "<title>Plain</title><p>No chat here.")

        config = {"setup": setup, **files, **config}
        return sites({"/": PAGE, "/other": PAGE}, teller.kit, **config)

    return start


def builtin_only(page: Page) -> Page:
    """A page on whose network OpenAI's script is blocked."""
    page.route(re.compile("/deployments/"), lambda route: route.abort())
    return page


@pytest.fixture
def chat(page: Page, site: Callable[..., str]) -> Chat:
    """The built-in chat, open on the first page."""
    return Chat(builtin_only(page), site()).open()


def leave_by_link(chat: Chat) -> None:
    chat.page.locator("a").click()
    chat.page.wait_for_url("**/other")
    chat.again()


def reload(chat: Chat) -> None:
    chat.page.reload()
    chat.again()


def close_panel(chat: Chat) -> None:
    chat.page.evaluate("FlaskChatKit.get().close()")
    chat.page.wait_for_timeout(1500)
    chat.again()


def other_thread(chat: Chat) -> None:
    chat.page.get_by_role("button", name="New chat").first.click()
    chat.page.wait_for_timeout(1500)
    chat.page.get_by_role("button", name="Earlier chats").first.click()
    chat.page.locator("flask-chatkit-chat .past button").first.click()


def go_back(chat: Chat) -> None:
    chat.page.goto(chat.base + "/plain")
    chat.page.go_back()
    chat.again()


@pytest.mark.parametrize("leave", [leave_by_link, reload, close_panel, other_thread, go_back])
def test_answer_goes_on(chat: Chat, teller: Teller, leave: Callable[[Chat], None]) -> None:
    """Whatever the visitor does meanwhile, they see one answer from its first word to its last."""
    chat.say("slow one")
    chat.shows("First words for slow one.")
    leave(chat)
    chat.shows("First words for slow one.")
    chat.button("Stop the answer").wait_for()
    teller.go_on()
    chat.shows("First words for slow one. And the last ones.")
    chat.idle()
    assert teller.begun == ["slow one"]
    assert teller.stopped == []
    assert chat.log.get_by_text("slow one", exact=True).count() == 1
    assert chat.log.get_by_text(CUT).count() == 0
    chat.say("and now?")
    chat.shows("You wrote “and now?”.")


def test_finished_answer_is_there(chat: Chat, teller: Teller) -> None:
    """An answer that has ended while no page read it is simply there, and nothing is asked for."""
    chat.say("slow one")
    chat.shows("First words for slow one.")
    chat.page.goto(chat.base + "/plain")
    teller.go_on()
    time.sleep(1)
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url))
    chat.open("/other")
    chat.shows("First words for slow one. And the last ones.")
    chat.idle()
    assert not any("/api/" in url for url in asked)
    assert chat.log.get_by_text(CUT).count() == 0


def interrupted(page: Page, site: Any, teller: Teller) -> Chat:
    """A chat whose page was left while an answer came in, until nobody waited for it any more."""
    chat = Chat(builtin_only(page), site(CHATKIT_LEAVE_SECONDS=1)).open()
    chat.say("slow one")
    chat.shows("First words for slow one.")
    page.goto(chat.base + "/plain")
    until(lambda: teller.stopped == ["slow one"], 15)
    return chat


def test_interrupted_answer_is_marked(page: Page, site: Any, teller: Teller) -> None:
    """An answer that nobody came back to is marked on each page until it is answered again."""
    chat = interrupted(page, site, teller)
    for path in ("/other", "/"):
        chat.open(path)
        chat.shows("First words for slow one.")
        chat.shows(CUT)
    # Also on a page of the visitor's that knows nothing of it.
    page.evaluate("sessionStorage.clear()")
    chat.open()
    page.get_by_role("button", name="Earlier chats").first.click()
    page.locator("flask-chatkit-chat .past button").first.click()
    chat.shows(CUT)
    chat.button("Try again").click()
    until(lambda: len(teller.begun) == 2)
    teller.go_on()
    chat.shows("First words for slow one. And the last ones.")
    assert chat.log.get_by_text(CUT).count() == 0
    reload(chat)
    chat.shows("First words for slow one. And the last ones.")
    assert chat.log.get_by_text(CUT).count() == 0


def test_mark_goes_with_the_next_message(page: Page, site: Any, teller: Teller) -> None:
    """A visitor who writes something else after an interrupted answer is not held up by it."""
    chat = interrupted(page, site, teller)
    chat.open()
    chat.shows(CUT)
    chat.say("never mind")
    chat.shows("You wrote “never mind”.")
    assert chat.log.get_by_text(CUT).count() == 0


def test_stop_is_at_once(chat: Chat, teller: Teller) -> None:
    """Stop reaches the server although the answer would go on, and leaves what was said."""
    chat.say("slow one")
    chat.shows("First words for slow one.")
    began = time.monotonic()
    chat.button("Stop the answer").click()
    chat.idle()
    until(lambda: teller.stopped == ["slow one"])
    assert time.monotonic() - began < 3
    chat.shows("First words for slow one.")
    # What the visitor has stopped was not interrupted.
    reload(chat)
    chat.shows("First words for slow one.")
    chat.idle()
    assert chat.log.get_by_text(CUT).count() == 0
    chat.say("and now?")
    chat.shows("You wrote “and now?”.")


def test_stop_of_a_resumed_answer(chat: Chat, teller: Teller) -> None:
    """The page that goes on with an answer can stop it, too."""
    chat.say("slow one")
    chat.shows("First words for slow one.")
    reload(chat)
    chat.shows("First words for slow one.")
    chat.button("Stop the answer").click()
    until(lambda: teller.stopped == ["slow one"])
    chat.idle()


def test_stop_before_anything_came(page: Page, site: Any, teller: Teller) -> None:
    """Stop before the thread is known is told to the server as soon as it is."""
    chat = Chat(builtin_only(page), site()).open()
    held: list[Any] = []

    def hold(route: Any) -> None:
        if "threads.create" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/chatkit/api", hold)
    chat.say("slow one")
    chat.button("Stop the answer").click()
    chat.idle()
    assert chat.field.input_value() == "slow one"
    until(lambda: page.wait_for_timeout(50) or held)
    with page.expect_response("**/chatkit/api/stop") as told:
        held[0].continue_()
    assert told.value.status == 204
    # It may be stopped before the site's code has begun.
    until(lambda: page.wait_for_timeout(50) or teller.stopped == teller.begun, 10)


def test_second_tab_reads_along(
    context: BrowserContext, page: Page, site: Any, teller: Teller
) -> None:
    """Two tabs show the same answer; what one stops ends in the other."""
    first = Chat(builtin_only(page), site()).open()
    first.say("slow one")
    first.shows("First words for slow one.")
    second = Chat(builtin_only(context.new_page()), first.base).open()
    second.page.get_by_role("button", name="Earlier chats").first.click()
    second.page.locator("flask-chatkit-chat .past button").first.click()
    second.shows("First words for slow one.")
    second.button("Stop the answer").wait_for()
    page.close()
    time.sleep(2)
    assert teller.stopped == []
    teller.go_on()
    second.shows("First words for slow one. And the last ones.")
    second.idle()


def test_lost_connection_is_taken_up(chat: Chat, teller: Teller) -> None:
    """A connection that breaks in the middle of an answer is taken up again by itself."""
    resumed: list[str] = []
    chat.page.on("request", lambda request: resumed.append(request.url))
    chat.page.evaluate(
        """() => {
          const real = window.fetch;
          window.fetch = async (...given) => {
            const response = await real(...given);
            const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream");
            if (!isStream || window.hasBroken) return response;
            window.hasBroken = true;
            let stop;
            const cut = new TransformStream({
              start: (controller) => { stop = controller; },
              transform: (chunk, controller) => controller.enqueue(chunk),
            });
            window.breakIt = () => stop.error(new TypeError("network error"));
            const body = response.body.pipeThrough(cut);
            return new Response(body, { status: 200, headers: response.headers });
          };
        }"""
    )
    chat.say("slow one")
    chat.shows("First words for slow one.")
    chat.page.evaluate("breakIt()")
    until(lambda: chat.page.wait_for_timeout(50) or any("resume" in url for url in resumed))
    chat.button("Stop the answer").wait_for()
    teller.go_on()
    chat.shows("First words for slow one. And the last ones.")
    chat.idle()
    assert teller.begun == ["slow one"]
    assert chat.page.locator("flask-chatkit-chat .notice").count() == 0


def test_without_a_grace_it_is_stopped(page: Page, site: Any, teller: Teller) -> None:
    """With CHATKIT_LEAVE_SECONDS=0 a page that is left stops its answer, which is marked then."""
    chat = Chat(builtin_only(page), site(CHATKIT_LEAVE_SECONDS=0)).open()
    chat.say("slow one")
    chat.shows("First words for slow one.")
    page.goto(chat.base + "/plain")
    until(lambda: teller.stopped == ["slow one"], 10)
    chat.open()
    chat.shows(CUT)
    chat.button("Try again").click()
    until(lambda: len(teller.begun) == 2)
    chat.button("Stop the answer").click()
    until(lambda: len(teller.stopped) == 2, 10)


def test_page_cache_of_the_browser(
    browser: Browser, site: Callable[..., str], teller: Teller
) -> None:
    """A page that comes back from the browser's page cache goes on with its answer by itself."""
    cached = browser.browser_type.launch(
        executable_path=chromium.program(),
        args=chromium.FLAGS,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    try:
        page = cached.new_page()
        page.add_init_script(
            "addEventListener('pageshow', (event) => { window.wasCached = event.persisted; })"
        )
        chat = Chat(builtin_only(page), site()).open()
        chat.say("slow one")
        chat.shows("First words for slow one.")
        page.goto(chat.base + "/plain")
        page.wait_for_timeout(1500)
        page.go_back(wait_until="commit")
        chat.again()
        chat.shows("First words for slow one.")
        teller.go_on()
        chat.shows("First words for slow one. And the last ones.")
        chat.idle()
        assert teller.begun == ["slow one"]
        assert chat.log.get_by_text("slow one", exact=True).count() == 1
        assert page.locator("flask-chatkit-chat .notice").count() == 0
        # Again without an answer under way, which Chromium keeps in any case.
        chat.field.fill("a draft")
        page.goto(chat.base + "/plain")
        page.go_back(wait_until="commit")
        assert page.evaluate("window.wasCached") is True
        chat.shows("First words for slow one. And the last ones.")
        assert chat.field.input_value() == "a draft"
    finally:
        cached.close()


def test_process_that_is_killed(page: Page, tmp_path: Path) -> None:
    """An answer that died with its process is marked on the next page, and can be had anew."""
    site = Site(tmp_path, free_port())
    try:
        chat = Chat(builtin_only(page), site.base)
        page.set_default_timeout(60_000)  # its first call imports the packages of served chats
        chat.open()
        chat.say("slow one")
        chat.shows("First words for slow one.")
        site.kill()
        site.start()
        chat.open("/other")
        chat.shows("slow one")
        chat.shows(CUT)
        site.go_on()
        chat.button("Try again").click()
        chat.shows("First words for slow one. And the last ones.")
        chat.idle()
        assert chat.log.get_by_text(CUT).count() == 0
        assert chat.log.get_by_text("slow one", exact=True).count() == 1
    finally:
        site.kill()


def test_process_that_comes_back_while_the_page_waits(page: Page, tmp_path: Path) -> None:
    """A page that loses the connection with its process says so, and finds out what there is."""
    site = Site(tmp_path, free_port())
    try:
        chat = Chat(builtin_only(page), site.base)
        page.set_default_timeout(60_000)
        chat.open()
        chat.say("slow one")
        chat.shows("First words for slow one.")
        site.kill()
        lost = "The connection was lost before the answer was complete."
        chat.shows(lost)
        chat.shows("First words for slow one.")
        site.start()
        site.go_on()
        chat.button("Try again").click()
        chat.shows(CUT)
        assert chat.log.get_by_text(lost).count() == 0
        chat.button("Try again").click()
        chat.shows("First words for slow one. And the last ones.")
    finally:
        site.kill()


# --- drafts and places ----------------------------------------------------------------------------


def test_drafts_survive(chat: Chat) -> None:
    """What was typed and not sent is there on the next page, by thread; what was sent is not."""
    chat.field.fill("for a new chat")
    leave_by_link(chat)
    assert chat.field.input_value() == "for a new chat"
    chat.say("hello")
    chat.shows("You wrote “hello”.")
    reload(chat)
    chat.shows("You wrote “hello”.")
    assert chat.field.input_value() == ""
    chat.field.fill("for this thread")
    chat.page.get_by_role("button", name="New chat").first.click()
    assert chat.field.input_value() == ""
    chat.field.fill("for another one")
    chat.page.get_by_role("button", name="Earlier chats").first.click()
    chat.page.locator("flask-chatkit-chat .past button").first.click()
    chat.shows("You wrote “hello”.")
    assert chat.field.input_value() == "for this thread"
    reload(chat)
    chat.shows("You wrote “hello”.")
    assert chat.field.input_value() == "for this thread"
    chat.field.fill("")
    reload(chat)
    assert chat.field.input_value() == ""


def test_draft_of_a_new_chat_becomes_that_of_its_thread(chat: Chat, teller: Teller) -> None:
    """What is typed while the first answer comes belongs to its thread."""
    chat.say("slow one")
    chat.shows("First words for slow one.")
    chat.field.fill("next question")
    reload(chat)
    chat.shows("First words for slow one.")
    assert chat.field.input_value() == "next question"
    teller.go_on()
    chat.idle()
    chat.page.get_by_role("button", name="New chat").first.click()
    assert chat.field.input_value() == ""


def test_place_in_a_thread_survives(chat: Chat) -> None:
    """A thread is shown where its visitor was reading, and at its end if they were there."""
    chat.say("long one")
    chat.shows("Paragraph 59 of a long answer.")
    chat.say("long two")
    chat.idle()
    until(lambda: chat.page.wait_for_timeout(50) or chat.log.get_by_text("long two").count())

    def top() -> float:
        return float(
            chat.page.evaluate(
                """() => {
                  const log = document.querySelector("flask-chatkit-chat").shadowRoot
                    .querySelector("[role=log]");
                  const row = log.querySelector("article.assistant_message");
                  return row.getBoundingClientRect().top - log.getBoundingClientRect().top;
                }"""
            )
        )

    at_end = top()
    chat.log.evaluate("log => log.scrollTo(0, 700)")
    chat.page.wait_for_timeout(400)
    there = top()
    assert abs(there - at_end) > 300
    for leave in (reload, leave_by_link, other_thread):
        leave(chat)
        chat.shows("Paragraph 59 of a long answer.", 2)
        until(lambda: chat.page.wait_for_timeout(50) or abs(top() - there) < 4)
    chat.log.evaluate("log => log.scrollTo(0, log.scrollHeight)")
    chat.page.wait_for_timeout(400)
    reload(chat)
    chat.shows("Paragraph 59 of a long answer.", 2)
    # Not by `top`: parts of a long text that were never in view have heights that are guessed.
    left = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    until(lambda: chat.page.wait_for_timeout(50) or chat.log.evaluate(left) < 4)


# --- OpenAI's element -----------------------------------------------------------------------------


def start_openai(page: Page, base: str) -> Any:
    page.goto(base)
    page.wait_for_function("'FlaskChatKit' in window")
    page.evaluate("FlaskChatKit.get().open()")
    return pages.usable(page)


def test_openais_element_is_told_when_it_ends(page: Page, site: Any, teller: Teller) -> None:
    """OpenAI's element shows an answer that another page has begun, once it has ended."""
    base = site()
    frame = start_openai(page, base)
    frame.locator("#input").fill("slow one")
    frame.locator("#send").click()
    frame.get_by_text("First words for slow one.").wait_for()
    page.goto(base + "/other")
    page.evaluate("FlaskChatKit.get().open()")
    frame = pages.usable(page)
    frame.get_by_text("slow one").first.wait_for()
    time.sleep(1.5)
    assert teller.stopped == []
    teller.go_on()
    frame.get_by_text("And the last ones.").wait_for()
    assert teller.begun == ["slow one"]


def test_stop_in_openais_element(page: Page, site: Any, teller: Teller) -> None:
    """Stop in OpenAI's element, which only aborts a request, stops the answer at once."""
    frame = start_openai(page, site())
    frame.locator("#input").fill("slow one")
    frame.locator("#send").click()
    frame.get_by_text("First words for slow one.").wait_for()
    began = time.monotonic()
    frame.get_by_role("button", name="Stop").click()
    until(lambda: page.wait_for_timeout(50) or teller.stopped == ["slow one"], 10)
    assert time.monotonic() - began < 4
