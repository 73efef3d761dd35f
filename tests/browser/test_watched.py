"""An element that blanks itself, scripts that do not come: nothing is lost, there is a way on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.pages import Sites, chat, hold, launcher, ready, say, state, until, usable
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SCRIPT = re.compile(r"/deployments/chatkit/chatkit\.js$")
FRAME = re.compile(r"/frame\.html")
MODULES = re.compile(r"/static/\w+/widget/")
BUILTIN = re.compile(r"/static/\w+/builtin/")
CONTACT = "contact={'href': 'mailto:us@shop.test', 'label': 'Write to us'}"
FLOATING = "{{ chatkit_floating(" + CONTACT + ") }}"
INLINE = "<h1>Shop</h1>{{ chatkit_inline(" + CONTACT + ") }}"
FAILED = "The chat could not be loaded."
LOST = "The chat has stopped working."
SILENT = "The chat did not answer."
UNABLE = "This does not work right now."
WAYS = ["Try again", "Open the chat on its own page", "Write to us"]
#: The newest of OpenAI's elements.
ELEMENT = "__chatkitStandin.elements.at(-1)"


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages under a strict policy, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


@pytest.fixture
def served(site: Sites, tmp_path: Path) -> Callable[..., str]:
    """Serve pages whose chat is the site's own."""
    # It takes a while, in which no visitor is to wait.
    pytest.importorskip("chatkit.agents")

    def start(pages: dict[str, str], *, history: bool = True) -> str:
        kit = ChatKit()

        @kit.assistant(history=history)
        def answer(message: Any, _chat: Any) -> str:
            if message.text == "slow":
                time.sleep(1)
            return f"You wrote “{message.text}”"

        database = f"sqlite:///{tmp_path}/history.sqlite3"
        return site(pages, kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=database)

    return start


def builtin(page: Page) -> Locator:
    return page.locator("flask-chatkit-chat")


def field(page: Page) -> Locator:
    return builtin(page).get_by_role("textbox", name="Message", exact=True)


def read(page: Page, text: str) -> None:
    """Wait until the built-in chat shows a text in the conversation."""
    builtin(page).get_by_role("log").get_by_text(text, exact=True).wait_for()


def preset(page: Page, **given: Any) -> None:
    """What OpenAI's element is like on the pages that come."""
    page.add_init_script(f"window.__chatkitStandin = {json.dumps(given)}")


def thread_of(page: Page) -> Any:
    return page.evaluate("FlaskChatKit.get().state.thread ?? null")


def ways(page: Page) -> list[str]:
    """What a visitor is offered in the chat's place."""
    return page.locator(".chatkit-actions > *").all_inner_texts()


def focused(page: Page) -> str:
    """Where the focus is, through the shadow of the built-in chat."""
    return page.evaluate(
        "(() => { let at = document.activeElement;"
        " while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;"
        " return at.className || at.localName; })()"
    )


def pass_time(page: Page, milliseconds: int) -> None:
    """Let what is under way arrive, and then the time pass."""
    page.wait_for_timeout(200)
    page.clock.run_for(milliseconds)


# --- a chat that the site serves goes on in the built-in one --------------------------------------


@pytest.mark.parametrize("how", ["unmount", "refuse"])
@pytest.mark.parametrize("place", [FLOATING, INLINE], ids=["floating", "inline"])
def test_served_conversation_goes_on(
    page: Page, served: Any, console: Any, how: str, place: str
) -> None:
    """An element blanks itself late: thread, draft and focus are in the built-in chat at once."""
    page.goto(served({"/": place}))
    if place == FLOATING:
        launcher(page).click()
    frame = usable(page)
    say(page, "hello")
    thread = thread_of(page)
    # The answer's last word is not yet its end, and a chat that is busy takes nothing.
    until(page, "FlaskChatKit.get().compose('half a sen').then(() => true, () => false)")
    until(page, "document.activeElement.localName", "openai-chatkit")
    frame.locator("#input").click()
    page.evaluate(f"__chatkitStandin.{how}({ELEMENT})")
    read(page, "You wrote “hello”")
    assert field(page).input_value() == "half a sen"
    until(page, "document.activeElement.localName", "flask-chatkit-chat")
    assert page.locator("openai-chatkit").count() == 0
    page.keyboard.type("tence")
    page.keyboard.press("Enter")
    read(page, "You wrote “half a sentence”")
    assert thread_of(page) == thread
    assert console.all == []


def test_focus_elsewhere_stays(page: Page, served: Any) -> None:
    """Who writes somewhere else on the page goes on there while the chat is replaced."""
    page.goto(served({"/": INLINE + "<input id=other>"}))
    usable(page)
    say(page, "hello")
    page.locator("#other").click()
    page.evaluate(f"__chatkitStandin.unmount({ELEMENT})")
    read(page, "You wrote “hello”")
    assert page.evaluate("document.activeElement.id") == "other"


def test_new_chat_stays_a_new_one(page: Page, served: Any) -> None:
    """Who has begun a new chat is not sent back into the thread that the page had begun with."""
    page.goto(served({"/": FLOATING}))
    launcher(page).click()
    usable(page)
    say(page, "hello")
    page.reload()
    chat(page).get_by_text("You wrote “hello”").wait_for()
    page.get_by_role("button", name="New chat").click()
    until(page, "FlaskChatKit.get().state.thread ?? null", None)
    page.evaluate(f"__chatkitStandin.unmount({ELEMENT})")
    field(page).wait_for()
    builtin(page).get_by_text("What can I help with today?").wait_for()
    assert thread_of(page) is None


def test_message_on_its_way_comes_back(page: Page, served: Any) -> None:
    """A first message whose thread is not known yet is in the built-in chat's field."""
    page.goto(served({"/": FLOATING}))
    launcher(page).click()
    frame = usable(page)
    held = hold(page, re.compile("/chatkit/api$"))
    frame.locator("#input").fill("is there anybody?")
    frame.locator("#send").click()
    for _ in range(100):
        if held:
            break
        page.wait_for_timeout(20)
    page.unroute(re.compile("/chatkit/api$"))
    page.evaluate(f"__chatkitStandin.unmount({ELEMENT})")
    field(page).wait_for()
    until(page, "FlaskChatKit.get().state.status", "ready")
    assert field(page).input_value() == "is there anybody?"


def test_sent_message_is_in_the_thread(page: Page, served: Any) -> None:
    """A message that the server has is in the conversation, and not in the field as well."""
    page.goto(served({"/": FLOATING}))
    launcher(page).click()
    frame = usable(page)
    say(page, "hello")
    frame.locator("#input").fill("slow")
    frame.locator("#send").click()
    page.wait_for_timeout(500)
    page.evaluate(f"__chatkitStandin.unmount({ELEMENT})")
    read(page, "slow")
    assert field(page).input_value() == ""


def test_send_that_nobody_answers_is_rejected(page: Page, served: Any) -> None:
    """A page's send() to an element that goes does not wait for ever, and its text is kept."""
    page.goto(served({"/": FLOATING}))
    launcher(page).click()
    usable(page)
    page.evaluate(f"__chatkitStandin.unmount({ELEMENT})")
    told = page.evaluate("FlaskChatKit.get().send('hello').then(() => 'sent', String)")
    assert told in {"sent", "Error: The chat was closed"}
    if told == "sent":
        read(page, "You wrote “hello”")
    else:
        field(page).wait_for()
        until(page, "FlaskChatKit.get().state.status", "ready")
        assert field(page).input_value() == "hello"


@pytest.mark.parametrize("how", ["refused", "unmounted"])
def test_served_chat_need_not_wait(page: Page, served: Any, console: Any, how: str) -> None:
    """An element that blanks itself while it loads is replaced at once, and not after 8 seconds."""
    if how == "refused":
        preset(page, refuses=True)
    held = hold(page, FRAME) if how == "unmounted" else []
    page.goto(served({"/": FLOATING}))
    begun = time.monotonic()
    launcher(page).click()
    if how == "unmounted":
        page.locator("openai-chatkit").wait_for(state="attached")
        until(page, f"{ELEMENT}.shadowRoot.querySelector('iframe') !== null")
        page.evaluate(f"__chatkitStandin.unmount({ELEMENT})")
    field(page).wait_for()
    assert time.monotonic() - begun < 7
    field(page).fill("hello")
    page.keyboard.press("Enter")
    read(page, "You wrote “hello”")
    assert len(held) <= 1
    assert console.violations == []


def test_refused_chat_is_not_tried_on_each_page(page: Page, served: Any) -> None:
    """The next page of the tab is in the built-in chat from the start, another tab tries anew."""
    preset(page, refuses=True)
    base = served({"/": FLOATING, "/next": FLOATING})
    page.goto(base)
    launcher(page).click()
    field(page).wait_for()
    frames: list[str] = []
    page.on("request", lambda request: FRAME.search(request.url) and frames.append(request.url))
    page.goto(f"{base}/next")
    field(page).wait_for()
    assert frames == []
    other = page.context.new_page()
    other.goto(base)
    launcher(other).click()
    usable(other)


#: A method that the element does not have → what a visitor or a page does that needs it.
WISHES: dict[str, Callable[[Page], object]] = {
    "showHistory": lambda page: page.get_by_role("button", name="Earlier chats").click(),
    "setThreadId": lambda page: page.get_by_role("button", name="New chat").click(),
    "sendUserMessage": lambda page: page.evaluate("FlaskChatKit.get().send('more')"),
    "setComposerValue": lambda page: page.evaluate("FlaskChatKit.get().compose('more')"),
    "fetchUpdates": lambda page: page.evaluate("FlaskChatKit.get().fetchUpdates()"),
}


@pytest.mark.parametrize("method", WISHES)
def test_what_the_element_lacks_the_builtin_does(
    page: Page, served: Any, console: Any, method: str
) -> None:
    """A method that throws at once is no dead control: the built-in chat takes over and does it."""
    preset(page, missing=[method])
    page.goto(served({"/": FLOATING}))
    launcher(page).click()
    usable(page)
    say(page, "hello")
    WISHES[method](page)
    field(page).wait_for(state="attached")
    if method == "showHistory":
        builtin(page).get_by_role("button", name="Delete: hello").wait_for()
    elif method == "setThreadId":
        builtin(page).get_by_text("What can I help with today?").wait_for()
    elif method == "sendUserMessage":
        read(page, "You wrote “more”")
        assert field(page).input_value() == ""
    else:
        read(page, "You wrote “hello”")
        assert field(page).input_value() == ("more" if method == "setComposerValue" else "")
    assert page.locator("openai-chatkit").count() == 0
    assert console.uncaught == []


def test_missing_focus_is_no_reason(page: Page, served: Any, console: Any) -> None:
    """For a focus that it can't set no element is replaced: its frame gets the focus."""
    preset(page, missing=["focusComposer"])
    page.goto(served({"/": FLOATING}))
    launcher(page).click()
    usable(page)
    until(page, "document.activeElement.localName", "openai-chatkit")
    say(page, "hello")
    assert builtin(page).count() == 0
    assert console.all == []


@pytest.mark.parametrize("is_blocked", [False, True], ids=["quiet", "blocked"])
def test_quiet_frame_is_told_from_a_blocked_one(page: Page, served: Any, is_blocked: bool) -> None:
    """A chat without history asks nothing at first: kept if its frame lives, else replaced."""
    page.clock.install()
    if is_blocked:
        page.route(FRAME, lambda route: route.abort())
    page.goto(served({"/": FLOATING}, history=False))
    launcher(page).click()
    page.locator("openai-chatkit").wait_for(state="attached")
    if is_blocked:
        pass_time(page, 9_000)
        field(page).wait_for()
    else:
        chat(page).locator("#input").wait_for()
        page.clock.run_for(30_000)
        ready(page)
        say(page, "hello")
        assert builtin(page).count() == 0


# --- a hosted one says so -------------------------------------------------------------------------


def test_hosted_chat_says_that_it_has_stopped(page: Page, site: Sites, console: Any) -> None:
    """An element blanks itself late: said in its place, with ways on; the thread comes back."""
    page.goto(site({"/": FLOATING}))
    launcher(page).click()
    usable(page).locator("#input").click()
    say(page, "hello")
    page.evaluate(f"__chatkitStandin.unmount({ELEMENT})")
    state(page, "failed")
    assert page.locator("dialog [role=status] p").first.inner_text() == LOST
    assert ways(page) == WAYS
    assert focused(page) == "chatkit-notice"
    assert page.get_by_role("button", name="New chat").count() == 0
    page.get_by_role("button", name="Try again").click()
    ready(page)
    chat(page).get_by_text("You wrote “hello”").wait_for()
    assert page.locator("openai-chatkit").count() == 1
    say(page, "again")
    assert console.all == []


def test_hosted_draft_comes_back(page: Page, site: Sites) -> None:
    """What the page has put into the composer is there again after Try again."""
    page.goto(site({"/": FLOATING}))
    launcher(page).click()
    usable(page)
    page.evaluate("FlaskChatKit.get().compose('half a sen')")
    page.evaluate(f"__chatkitStandin.unmount({ELEMENT})")
    page.get_by_role("button", name="Try again").click()
    ready(page)
    field = chat(page).locator("#input")
    field.wait_for()
    for _ in range(100):
        if field.input_value():
            break
        page.wait_for_timeout(50)
    assert field.input_value() == "half a sen"


def test_hosted_chat_that_is_not_listed(page: Page, site: Sites, console: Any) -> None:
    """A missing entry in OpenAI's list is said within moments, the next page says it at once."""
    preset(page, refuses=True)
    base = site({"/": FLOATING, "/next": FLOATING})
    page.goto(base)
    launcher(page).click()
    state(page, "failed")
    assert page.locator(".chatkit-notice p").first.inner_text() == FAILED
    assert ways(page) == WAYS
    page.goto(f"{base}/next")
    state(page, "failed")
    assert page.locator(".chatkit-skeleton").count() == 0
    page.wait_for_timeout(500)
    assert ways(page) == WAYS
    assert console.violations == []


def test_hosted_element_that_lacks_a_method(page: Page, site: Sites, console: Any) -> None:
    """What can't be done is said above the conversation, which stays."""
    preset(page, missing=["showHistory"])
    page.goto(site({"/": FLOATING}))
    launcher(page).click()
    usable(page)
    say(page, "hello")
    page.get_by_role("button", name="Earlier chats").click()
    strip = page.locator(".chatkit-strip")
    strip.get_by_text(UNABLE).wait_for()
    assert ways(page) == ["Try again", "Write to us", "Dismiss"]
    page.evaluate("__chatkitStandin.missing = []")
    strip.get_by_role("button", name="Try again").click()
    chat(page).get_by_role("button", name="hello", exact=True).wait_for()
    assert ways(page) == []
    assert console.all == []


# --- a network that swallows OpenAI's script ------------------------------------------------------


def test_served_chat_waits_once_for_a_swallowed_script(page: Page, served: Any) -> None:
    """8 seconds on the first page, with the built-in chat prepared beside; none on the next."""
    page.clock.install()
    held = hold(page, SCRIPT)
    base = served({"/": FLOATING, "/next": FLOATING})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(base)
    launcher(page).click()
    page.locator(".chatkit-skeleton").wait_for()
    pass_time(page, 1_000)
    assert not [url for url in asked if BUILTIN.search(url)]
    pass_time(page, 1_500)
    page.wait_for_timeout(300)
    assert [url for url in asked if BUILTIN.search(url)]
    assert builtin(page).count() == 0
    pass_time(page, 7_000)
    field(page).fill("hello")
    page.keyboard.press("Enter")
    read(page, "You wrote “hello”")
    # Open on the next page, without anything that the visitor or the clock does.
    page.goto(f"{base}/next")
    read(page, "You wrote “hello”")
    assert len(held) == 2
    # It came after all: the chat in use stays, and the page after that has OpenAI's element again.
    held.pop().continue_()
    until(page, "Boolean(customElements.get('openai-chatkit'))")
    page.unroute(SCRIPT)
    assert builtin(page).count() == 1
    page.goto(base)
    chat(page).get_by_text("You wrote “hello”").wait_for()
    assert builtin(page).count() == 0


def test_hosted_chat_says_at_once_that_the_script_is_swallowed(page: Page, site: Sites) -> None:
    """15 seconds on the first page; the next says so at once, and shows the chat if it comes."""
    page.clock.install()
    held = hold(page, SCRIPT)
    base = site({"/": FLOATING, "/next": FLOATING})
    page.goto(base)
    launcher(page).click()
    page.locator(".chatkit-skeleton").wait_for()
    pass_time(page, 16_000)
    state(page, "failed")
    page.goto(f"{base}/next")
    state(page, "failed")
    assert page.locator(".chatkit-notice p").first.inner_text() == FAILED
    assert ways(page) == WAYS
    page.get_by_role("button", name="Try again").focus()
    # It is tried behind the message all the same.
    for _ in range(100):
        if len(held) == 2:
            break
        page.wait_for_timeout(20)
    held[1].continue_()
    ready(page)
    chat(page).locator("#input").wait_for()
    assert focused(page) != "body"
    page.unroute(SCRIPT)
    page.goto(base)
    usable(page)


def test_try_again_is_a_start_as_the_first(page: Page, site: Sites) -> None:
    """Who asks for another try sees that it is tried."""
    page.clock.install()
    hold(page, SCRIPT)
    page.goto(site({"/": FLOATING}))
    launcher(page).click()
    page.locator(".chatkit-skeleton").wait_for()
    pass_time(page, 16_000)
    state(page, "failed")
    page.get_by_role("button", name="Try again").click()
    page.locator(".chatkit-skeleton").wait_for()
    pass_time(page, 16_000)
    state(page, "failed")
    page.unroute(SCRIPT)
    page.get_by_role("button", name="Try again").click()
    ready(page)


@pytest.mark.parametrize("is_served", [False, True], ids=["hosted", "served"])
def test_script_that_fails_at_once_is_tried_on_each_page(
    page: Page, site: Sites, served: Any, is_served: bool
) -> None:
    """A 404 costs nothing, so nothing is remembered of it."""
    page.route(SCRIPT, lambda route: route.fulfill(status=404))
    base = (served if is_served else site)({"/": FLOATING, "/next": FLOATING})
    page.goto(base)
    launcher(page).click()
    if is_served:
        field(page).wait_for()
    else:
        state(page, "failed")
        assert ways(page) == WAYS
    page.unroute(SCRIPT)
    page.goto(f"{base}/next")
    usable(page)
    assert builtin(page).count() == 0


# --- where not even the widget's own scripts come -------------------------------------------------


@pytest.mark.parametrize("mode", ["aborted", "hanging"])
@pytest.mark.parametrize("edge", ["bottom", "top"])
def test_launcher_shows_a_way_out(page: Page, site: Sites, mode: str, edge: str) -> None:
    """The chat's own page is linked beside the launcher, to be seen, and has the focus."""
    page.clock.install()
    held = hold(page, MODULES)
    if mode == "aborted":
        page.route(MODULES, lambda route: route.abort())
    page.goto(site({"/": "{{ chatkit_floating(edge='" + edge + "', accent='#7a1fa2') }}"}))
    launcher(page).click()
    if mode == "hanging":
        pass_time(page, 9_000)
        assert held
    link = page.locator(".chatkit-fallback")
    link.wait_for()
    assert focused(page) == "chatkit-fallback"
    assert link.inner_text() == "Chat"
    assert link.get_attribute("href").endswith("/chatkit/")
    box, beside = link.bounding_box(), launcher(page).bounding_box()
    assert box["height"] >= 44
    assert box["x"] + box["width"] == beside["x"] + beside["width"]
    gap = beside["y"] - box["y"] - box["height"]
    assert (gap if edge == "bottom" else box["y"] - beside["y"] - beside["height"]) == 12
    colours = link.evaluate(
        "(node) => [getComputedStyle(node).backgroundColor, getComputedStyle(node).color]"
    )
    assert colours == ["rgb(122, 31, 162)", "rgb(255, 255, 255)"]
    # The same launcher tries again.
    launcher(page).click()
    page.wait_for_timeout(300)
    assert page.locator(".chatkit-fallback").count() == 1
    assert focused(page) == "chatkit-fallback" or mode == "hanging"
    page.unroute(MODULES)


def test_chat_in_the_page_shows_a_way_out(page: Page, site: Sites) -> None:
    """In the chat's own place, without taking the focus of who has not asked for it."""
    page.route(MODULES, lambda route: route.abort())
    page.goto(site({"/": "<input autofocus id=other>{{ chatkit_inline(height=300) }}"}))
    link = page.locator(".chatkit-fallback")
    link.wait_for()
    box, place = link.bounding_box(), page.locator("[data-chatkit]").bounding_box()
    assert place["y"] < box["y"]
    assert box["y"] + box["height"] < place["y"] + place["height"]
    assert box["x"] > place["x"]
    assert page.evaluate("document.activeElement.id") == "other"
