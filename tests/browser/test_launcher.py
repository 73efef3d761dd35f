"""The launcher and its panel in Chromium: keys, focus, telephones, the way from page to page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from flask import Flask, session

from flask_chatkit import ChatKit
from flask_chatkit.testing import Failure
from tests.helpers.pages import HEAD, NONCE, Sites, chat, say
from tests.helpers.pages import usable as ready

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

WIDE = {"width": 1000, "height": 800}
PHONE = {"width": 390, "height": 844}
TINY = {"width": 320, "height": 256}  # 400 % zoom on a screen of 1280 by 1024
FOCUSED = "(document.activeElement.id || document.activeElement.className)"
AXE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: How long a page may take to become what a test waits for, in milliseconds.
PATIENCE = 6_000
SCRIPT = re.compile(r"/deployments/chatkit/chatkit\.js$")
WIDGET = re.compile(r"/static/\w+/widget/")


class Start(Protocol):
    """How the fixture `site` is called."""

    def __call__(
        self, pages: Mapping[str, str] | str, kit: ChatKit | None = None, **more: Any
    ) -> str:
        """Serve pages, path → what is in their main part, or one; the address of the site."""
        ...


@pytest.fixture
def site(openai_standin: Any, make_app: Any, serve: Any) -> Start:
    """Serve pages with a heading and a main part, whose visitors can sign in and out."""

    def setup(app: Flask) -> None:
        @app.get("/in/<name>")
        def sign_in(name: str) -> str:
            session["user"] = name
            return "Signed in"

        @app.get("/out")
        def sign_out() -> str:
            session.clear()
            return "Signed out"

    def start(
        pages: Mapping[str, str] | str, kit: ChatKit | None = None, head: str = "", **more: Any
    ) -> str:
        given = {"/": pages} if isinstance(pages, str) else pages
        whole = {
            path: HEAD + head + f"</head><body><main><h1>Site</h1>{body}</main></body></html>"
            for path, body in given.items()
        }
        return Sites(openai_standin, make_app, serve)(whole, kit, setup=setup, **more)

    return start


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Open a fresh browser profile that wants no motion: what is measured stands still."""
    context = browser.new_context(locale="en-GB", viewport=WIDE, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def phone(browser: Browser, console: Any) -> Iterator[Page]:
    """Open a blank page on a telephone: a small screen, touch, no hover."""
    context = browser.new_context(
        locale="en-GB", viewport=PHONE, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    context.set_default_timeout(10_000)
    page = context.new_page()
    console.watch(page)
    yield page
    context.close()


def launcher(page: Page, root: str = "[data-chatkit]") -> Locator:
    return page.locator(f"{root} > .chatkit-launcher")


def panel(page: Page, root: str = "[data-chatkit]") -> Locator:
    return page.locator(f"{root} > dialog")


def open_chat(page: Page, root: str = "[data-chatkit]") -> None:
    """Click the launcher, and wait until the visitor can write."""
    launcher(page, root).click()
    ready(page, root)


def reopen(page: Page, root: str = "[data-chatkit]") -> None:
    """Use the launcher where a frame has just gone; a mouse's click may still be sent to that."""
    launcher(page, root).press("Enter")


def until(page: Page, expression: str, expected: Any = True) -> None:
    """Wait until an expression has a value; a strict policy forbids Playwright's own way."""
    for _ in range(PATIENCE // 50):
        found = page.evaluate(expression)
        if found == expected:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{expression} is {found!r}, not {expected!r}")


def hold(page: Page, held: list[Any]) -> None:
    """Let OpenAI's script neither come nor fail: the test decides what becomes of the request."""

    def keep(route: Any) -> None:
        held.append(route)

    page.route(SCRIPT, keep)


def floating(options: str = "") -> str:
    """The call of the macro with some options."""
    return "{{ chatkit_floating(" + options + ") }}"


def axe(page: Page, node_modules: Path) -> list[str]:
    """What axe finds on the page as it is; what is inside of ChatKit's frame is not the page's."""
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = page.evaluate(
        "(tags) => axe.run(document, {runOnly: tags, resultTypes: ['violations'], iframes: false})",
        AXE,
    )
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def inside(box: dict[str, float], width: float, height: float) -> bool:
    return (
        box["x"] >= 0
        and box["y"] >= 0
        and box["x"] + box["width"] <= width
        and box["y"] + box["height"] <= height
    )


def is_hit(page: Page, selector: str) -> bool:
    """Whether a click in the middle of an element reaches it: it is seen, and nothing covers it."""
    return page.evaluate(
        """(selector) => {
          const node = document.querySelector(selector);
          const { x, y, width, height } = node.getBoundingClientRect();
          const hit = document.elementFromPoint(x + width / 2, y + height / 2);
          return width > 0 && node.contains(hit);
        }""",
        selector,
    )


def answer(page: Page, root: str = "[data-chatkit]") -> None:
    """Let an answer end, as ChatKit's element tells it; the visitor may have closed the panel."""
    page.evaluate(
        "(root) => document.querySelector(`${root} openai-chatkit`)"
        ".dispatchEvent(new CustomEvent('chatkit.response.end'))",
        root,
    )


def reached(page: Page, presses: int, key: str = "Tab") -> list[str]:
    """What has the focus after each of some presses of a key."""
    found = []
    for _ in range(presses):
        page.keyboard.press(key)
        now = "body"
        # Into a frame of another site it takes its time.
        for _ in range(10):
            now = page.evaluate(f"{FOCUSED} || document.activeElement.localName")
            if now != "body":
                break
            if has_frame_focus(page):
                now = "openai-chatkit"
                break
            page.wait_for_timeout(50)
        found.append(now)
    return found


def has_frame_focus(page: Page) -> bool:
    """Whether a frame has the focus; the page that holds it may not know yet, or ever."""
    return any(
        frame.evaluate("document.hasFocus() && document.activeElement !== document.body")
        for frame in page.frames
        if frame is not page.main_frame
    )


# --- the launcher, and the panel beside it --------------------------------------------------------


def test_launcher_is_a_button_with_one_name(page: Page, site: Start, console: Any) -> None:
    """Name and role stay the same whatever happens; the state is in aria-expanded alone."""
    page.goto(site("{{ chatkit_floating(label='Ask us', size='44px') }}"))
    button = page.get_by_role("button", name="Ask us", exact=True)
    assert button.get_attribute("type") == "button"

    def stands(expanded: str) -> None:
        assert button.count() == 1
        assert button.get_attribute("aria-expanded") == expanded
        controlled = button.get_attribute("aria-controls")
        assert page.locator(f"dialog#{controlled}").count() == 1
        box = button.bounding_box()
        assert box["width"] >= 44
        assert box["height"] >= 44

    stands("false")
    open_chat(page)
    stands("true")
    button.click()
    stands("false")
    answer(page)
    page.locator(".chatkit-badge").wait_for()
    stands("false")
    button.click()
    stands("true")
    assert console.all == []


def test_text_beside_the_icon_is_in_the_name(page: Page, site: Start) -> None:
    """Who sees "Ask us" and says it to speech control finds the launcher, which grows around it."""
    page.goto(site("{{ chatkit_floating(text='Ask us') }}"))
    box = page.get_by_role("button", name="Ask us", exact=True).bounding_box()
    assert box["width"] > box["height"] >= 44


def test_without_scripts_a_link_stands_in(browser: Browser, site: Start) -> None:
    """Where scripts are off there is a link to the full page, and no button that does nothing."""
    base = site("{{ chatkit_floating(label='Ask us') }}")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(base)
    assert not launcher(page).is_visible()
    link = page.get_by_role("link", name="Ask us", exact=True)
    assert inside(link.bounding_box(), 1280, 720)
    link.click()
    page.wait_for_url(f"{base}/chatkit/")
    context.close()


def test_panel_is_beside_the_page_and_tab_flows_in(page: Page, site: Start, console: Any) -> None:
    """On a wide screen the panel is no modal, follows its launcher, and Tab goes in and out."""
    page.goto(
        site(
            "<a id=before href=#x>before</a>{{ chatkit_floating(teaser={'text': 'Hi', 'delay': 0})"
            " }}<a id=after href=#y>after</a>"
        )
    )
    page.get_by_role("button", name="Dismiss").click()
    open_chat(page)
    until(page, f"{FOCUSED} || document.activeElement.localName", "openai-chatkit")
    dialog = page.locator("dialog")
    assert dialog.evaluate("node => !node.matches(':modal')")
    assert dialog.get_attribute("aria-modal") is None
    assert dialog.get_attribute("aria-label") == "Chat"
    assert dialog.evaluate("node => node.previousElementSibling.className") == "chatkit-launcher"
    page.locator("#before").focus()
    way = reached(page, 5)
    assert way == [
        "chatkit-launcher",
        "chatkit-tool chatkit-close",
        "chatkit-tool",
        "openai-chatkit",
        "after",
    ]
    assert reached(page, 5, "Shift+Tab") == [*reversed(way[:-1]), "before"]
    assert console.all == []


@pytest.mark.parametrize("size", [PHONE, {"width": 800, "height": 400}, TINY])
def test_panel_is_modal_on_a_small_screen(page: Page, site: Start, size: Any) -> None:
    """On narrow and on low screens it fills the screen, and Tab stays in it, the frame included."""
    page.set_viewport_size(size)
    page.goto(site("<a id=before href=#x>before</a>{{ chatkit_floating() }}<a href=#y>after</a>"))
    open_chat(page)
    dialog = panel(page)
    assert dialog.evaluate("node => node.matches(':modal')")
    assert dialog.get_attribute("aria-modal") is None
    assert dialog.bounding_box() == {"x": 0, "y": 0, **size}
    page.locator(".chatkit-close").focus()
    found = reached(page, 9) + reached(page, 9, "Shift+Tab")
    # Between the last and the first is the browser's own interface, which is no element.
    allowed = {"chatkit-tool chatkit-close", "chatkit-tool", "openai-chatkit", "body"}
    assert set(found) <= allowed
    for each in allowed - {"body"}:
        assert found.count(each) >= 2
    page.locator(".chatkit-close").focus()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert reached(page, 1, "Shift+Tab") == ["before"]


def test_tablet_is_no_phone(page: Page, site: Start) -> None:
    """Just above the limits the panel stands beside the page."""
    page.set_viewport_size({"width": 481, "height": 481})
    page.goto(site("{{ chatkit_floating() }}"))
    open_chat(page)
    assert not panel(page).evaluate("node => node.matches(':modal')")
    assert inside(panel(page).bounding_box(), 481, 481)
    assert is_hit(page, ".chatkit-launcher")


# --- Esc and the close button ---------------------------------------------------------------------


@pytest.mark.parametrize("modal", [False, True])
def test_escape_closes_wherever_the_focus_is(page: Page, site: Start, modal: bool) -> None:
    """Esc closes from anywhere on the host's page, and does nothing from inside of the frame."""
    if modal:
        page.set_viewport_size(PHONE)
    page.goto(site("<a id=link href=#x>link</a>{{ chatkit_floating() }}"))
    open_chat(page)
    places = [".chatkit-close", "body"] + ([] if modal else [".chatkit-launcher", "#link"])
    for place in places:
        if place == "body":
            page.evaluate("document.activeElement.blur()")
        else:
            page.locator(place).focus()
        page.keyboard.press("Escape")
        assert not panel(page).is_visible(), place
        assert launcher(page).get_attribute("aria-expanded") == "false"
        # Who had gone to another place of the page stays there.
        kept = "link" if place == "#link" else "chatkit-launcher"
        assert page.evaluate(FOCUSED) == kept, place
        reopen(page)
        chat(page).locator("#input:focus").wait_for()
    for _ in range(2):
        page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    assert panel(page).is_visible()
    assert chat(page).locator("#input:focus").count() == 1


def test_pages_own_layers_keep_their_escape(page: Page, site: Start) -> None:
    """Esc closes what the page has opened over it first, wherever the focus is, then the chat."""
    page.goto(
        site(
            "<button id=a>a</button><dialog id=own>Own <button id=in>in</button></dialog>"
            "<div id=pop popover>Popover</div><div id=menu role=dialog aria-modal=true tabindex=-1>"
            "Menu</div>{{ chatkit_floating() }}"
        )
    )
    open_chat(page)
    for focus in ("#in", "body"):
        page.evaluate("document.querySelector('#own').showModal()")
        page.evaluate(
            "(at) => at === 'body' ? document.activeElement.blur()"
            " : document.querySelector(at).focus()",
            focus,
        )
        page.keyboard.press("Escape")
        assert not page.locator("#own").is_visible(), focus
        assert panel(page).is_visible(), focus
    page.locator("#a").focus()
    page.evaluate("document.querySelector('#pop').showPopover()")
    page.keyboard.press("Escape")
    assert not page.locator("#pop").is_visible()
    assert panel(page).is_visible()
    # A layer of the page's own making, and a key that the page has taken.
    page.locator("#menu").focus()
    page.keyboard.press("Escape")
    assert panel(page).is_visible()
    page.evaluate(
        "document.querySelector('#a').addEventListener('keydown', (e) => e.preventDefault())"
    )
    page.locator("#a").focus()
    page.keyboard.press("Escape")
    assert panel(page).is_visible()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Escape")
    assert not panel(page).is_visible()


def test_systems_close_request_closes(page: Page, site: Start) -> None:
    """A telephone's back gesture, which closes a dialog without any key, leaves nothing behind."""
    page.set_viewport_size(PHONE)
    page.goto(site("{{ chatkit_floating() }}"))
    open_chat(page)
    page.evaluate("document.querySelector('dialog').requestClose()")
    until(page, "document.querySelector('[data-open], [data-modal]')", None)
    assert launcher(page).get_attribute("aria-expanded") == "false"
    until(page, FOCUSED, "chatkit-launcher")
    assert page.evaluate("getComputedStyle(document.documentElement).overflow") == "visible"
    reopen(page)
    assert panel(page).is_visible()


@pytest.mark.parametrize(
    ("size", "header"), [(WIDE, True), (TINY, True), (WIDE, False), (PHONE, False)]
)
def test_close_button_is_always_there(page: Page, site: Start, size: Any, header: bool) -> None:
    """While it loads, when it failed and when it works, something in sight closes the panel."""
    held: list[Any] = []
    page.set_viewport_size(size)
    hold(page, held)
    page.goto(site(floating(f"panel_header={header}")))

    def closes() -> None:
        assert is_hit(page, ".chatkit-close")
        assert inside(page.locator(".chatkit-close").bounding_box(), size["width"], size["height"])
        page.get_by_role("button", name="Close chat", exact=True).click()
        assert not panel(page).is_visible()
        assert page.evaluate(FOCUSED) == "chatkit-launcher"

    launcher(page).click()
    page.get_by_text("The chat is loading…").wait_for()
    closes()
    reopen(page)
    held.pop().abort()
    page.get_by_role("button", name="Try again").wait_for()
    closes()
    page.unroute(SCRIPT)
    reopen(page)
    ready(page)
    if header:
        closes()
    else:
        assert not is_hit(page, ".chatkit-close")
        assert chat(page).locator("#historyButton").is_visible()
        # The visitor is in the composer by now; a focus on its way there would get lost, and the
        # page that holds the frame has it before the frame's own document does.
        until(page, "document.activeElement.localName", "openai-chatkit")
        chat(page).locator("#input:focus").wait_for()
        # What is not seen is not reached either, from the launcher on where it can have the focus.
        if size is WIDE:
            launcher(page).focus()
        found = reached(page, 12)
        assert "openai-chatkit" in found
        assert "chatkit-close" not in " ".join(found)
        chat(page).get_by_role("button", name="Close").click()
        assert not panel(page).is_visible()
        assert page.evaluate(FOCUSED) == "chatkit-launcher"


# --- focus ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_focus_goes_in_and_comes_back(page: Page, site: Start, size: Any) -> None:
    """A visitor's open puts the focus into the composer, closing gives it back to the opener."""
    page.set_viewport_size(size)
    page.goto(
        site(
            "<input id=field><button id=button data-chatkit-open>Chat</button>"
            "{{ chatkit_floating() }}"
        )
    )
    openers = {
        "chatkit-launcher": lambda: reopen(page),
        # By key: a click may still go to the frame of a full-screen panel that has just closed.
        "button": lambda: page.locator("#button").press("Enter"),
        "field": lambda: (
            page.locator("#field").focus(),
            page.evaluate("FlaskChatKit.get().open()"),
        ),
    }
    for name, opens in openers.items():
        opens()
        ready(page)
        chat(page).locator("#input:focus").wait_for()
        page.evaluate("FlaskChatKit.get().close()")
        assert page.evaluate(FOCUSED) == name
    # Where a click does not focus a button, as in Safari, it is the button that counts.
    page.evaluate("document.activeElement.blur()")
    page.evaluate("document.querySelector('#button').click()")
    chat(page).locator("#input:focus").wait_for()
    page.evaluate("FlaskChatKit.get().close()")
    assert page.evaluate(FOCUSED) == "button"
    # An opener that has gone meanwhile can't get it back.
    page.locator("#button").press("Enter")
    chat(page).locator("#input:focus").wait_for()
    page.evaluate("document.querySelector('#button').remove()")
    page.evaluate("FlaskChatKit.get().close()")
    assert page.evaluate(FOCUSED) == "chatkit-launcher"


def test_focus_is_not_taken_from_who_went_elsewhere(page: Page, site: Start) -> None:
    """A visitor who types elsewhere while the chat loads is not carried off when it is ready."""
    held: list[Any] = []
    hold(page, held)
    page.goto(site("<input id=field>{{ chatkit_floating() }}"))
    launcher(page).click()
    page.get_by_text("The chat is loading…").wait_for()
    assert page.evaluate(FOCUSED) == "chatkit-tool chatkit-close"
    page.locator("#field").focus()
    held.pop().continue_()
    ready(page)
    page.wait_for_timeout(150)
    assert page.evaluate(FOCUSED) == "field"


@pytest.mark.parametrize("macro", ["chatkit_floating", "chatkit_inline"])
def test_focus_stays_in_a_chat_that_is_tried_again(page: Page, site: Start, macro: str) -> None:
    """A button that goes when it has done its work hands the focus on, at last to the composer."""
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(site("<a id=a href=#a>a</a>{{ " + macro + "(load='consent') }}"))
    if macro == "chatkit_floating":
        launcher(page).click()
    page.get_by_role("button", name="Start the chat").press("Enter")
    for name in ("Try again", "Try again"):
        page.get_by_role("button", name=name).wait_for()
        assert page.evaluate("document.activeElement.closest('.chatkit-body') !== null")
        assert reached(page, 1) != ["body"]
        again = page.get_by_role("button", name=name)
        assert again.evaluate("node => node === document.activeElement")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('[data-state=loading]')", None)
    page.unroute(SCRIPT)
    page.get_by_role("button", name="Try again").press("Enter")
    ready(page)
    chat(page).locator("#input:focus").wait_for()


def test_focus_follows_a_new_chat(page: Page, phone: Page, site: Start) -> None:
    """The button for a new chat goes with the old chat, and the focus stays in the panel."""
    base = site("{{ chatkit_floating() }}")
    for each in (page, phone):
        each.goto(base)
        open_chat(each)
        say(each, "hello")
        each.get_by_role("button", name="New chat").press("Enter")
        each.get_by_role("button", name="New chat").wait_for(state="hidden")
        if each is page:
            chat(each).locator("#input:focus").wait_for()
        else:
            until(each, FOCUSED, "chatkit-tool chatkit-close")


def test_touch_brings_no_keyboard(phone: Page, site: Start, console: Any) -> None:
    """On a telephone the focus goes into the panel, but not into the field: no keyboard opens."""
    phone.goto(site("{{ chatkit_floating() }}"))
    launcher(phone).tap()
    ready(phone)
    phone.wait_for_timeout(150)
    assert phone.evaluate(FOCUSED) == "chatkit-tool chatkit-close"
    assert console.all == []


def test_closed_panel_is_out_of_reach(page: Page, site: Start) -> None:
    """With the panel closed Tab never comes to the frame, and nothing of it is in the way."""
    page.goto(site("<a id=a href=#a>a</a>{{ chatkit_floating() }}<a id=b href=#b>b</a>"))
    open_chat(page)
    launcher(page).click()
    page.locator("#a").focus()
    assert reached(page, 4) == ["chatkit-launcher", "b", "body", "a"]
    assert chat(page).locator("#input").is_hidden()


def test_one_frame_for_everything(page: Page, site: Start, console: Any) -> None:
    """Opening, closing and going from wide to small three times moves nothing and loads nothing."""
    page.goto(site("{{ chatkit_floating() }}"))
    open_chat(page)
    say(page, "hello")
    page.evaluate("window.kept = document.querySelector('openai-chatkit')")
    for _ in range(3):
        page.set_viewport_size(PHONE)
        until(page, "document.querySelector('dialog').matches(':modal')")
        assert panel(page).bounding_box() == {"x": 0, "y": 0, **PHONE}
        launcher_is_open = launcher(page).get_attribute("aria-expanded")
        assert launcher_is_open == "true"
        page.locator(".chatkit-close").click()
        reopen(page)
        page.set_viewport_size(WIDE)
        until(page, "document.querySelector('dialog').matches(':modal')", False)
        assert panel(page).is_visible()
        assert page.locator("[data-modal]").count() == 0
        page.keyboard.press("Escape") if page.evaluate(
            "document.activeElement.localName !== 'openai-chatkit'"
        ) else page.locator(".chatkit-close").click()
        assert not panel(page).is_visible()
        reopen(page)
    assert page.evaluate("__chatkitStandin.frameLoads") == 1
    assert page.evaluate("kept === document.querySelector('openai-chatkit')")
    assert page.evaluate("__chatkitStandin.problems") == []
    chat(page).get_by_text("You wrote “hello”").wait_for()
    assert console.all == []


def test_focus_survives_a_turned_screen(page: Page, site: Start) -> None:
    """Who writes in the chat still does after the screen is turned."""
    page.set_viewport_size({"width": 844, "height": 700})
    page.goto(site("{{ chatkit_floating() }}"))
    open_chat(page)
    chat(page).locator("#input").fill("half a sent")
    for size in (PHONE, {"width": 844, "height": 700}):
        page.set_viewport_size(size)
        until(page, "document.querySelector('dialog').matches(':modal')", size == PHONE)
        chat(page).locator("#input:focus").wait_for()
    page.keyboard.type("ence")
    assert chat(page).locator("#input").input_value() == "half a sentence"


# --- unread answers, names and headings -----------------------------------------------------------


def test_answers_to_a_closed_panel_are_counted(
    page: Page, site: Start, openai_standin: Any, console: Any
) -> None:
    """A badge counts them, a polite sentence says it once, and opening the panel settles both."""
    page.goto(site("{{ chatkit_floating(side='left') }}{{ chatkit_floating('sales') }}", two()))
    root, badge = page.locator("#chatkit-1"), page.locator("#chatkit-1 .chatkit-badge")
    status = root.locator(":scope > [role=status]")
    hears = "() => FlaskChatKit.get().on('unread', ({detail}) => (window.told ??= []).push(detail))"
    page.evaluate(hears)
    open_chat(page, "#chatkit-1")
    say(page, "hello", "#chatkit-1")
    assert root.get_attribute("data-unread") is None
    # The answer comes a moment after the visitor has closed the panel.
    openai_standin.fail(Failure(delay=0.5), path="/chatkit/_frame/messages")
    chat(page, "#chatkit-1").locator("#input").fill("slowly")
    page.keyboard.press("Enter")
    launcher(page, "#chatkit-1").click()
    assert badge.count() == 0
    badge.wait_for()
    sentence = "There is a new answer in the chat."
    assert badge.get_attribute("data-count") == "1"
    assert badge.get_attribute("aria-hidden") == "true"
    assert status.inner_text() == sentence
    said = "window.said = 0, new MutationObserver(() => said++).observe("
    page.evaluate(said + "document.querySelector('.chatkit-status'), {childList: true})")
    for count in ("2", "3"):
        answer(page, "#chatkit-1")
        assert badge.get_attribute("data-count") == root.get_attribute("data-unread") == count
    assert page.evaluate("FlaskChatKit.get().state.unread") == 3
    assert page.evaluate("said") == 0
    assert page.locator(".chatkit-badge").count() == 1
    box, button = badge.bounding_box(), launcher(page, "#chatkit-1").bounding_box()
    assert inside(box, 1000, 800)
    assert box["x"] < button["x"] + button["width"]
    assert box["y"] < button["y"] + button["height"]
    launcher(page, "#chatkit-1").click()
    assert badge.count() == 0
    assert root.get_attribute("data-unread") is None
    assert status.inner_text() == ""
    answer(page, "#chatkit-1")
    assert badge.count() == 0
    page.locator("#chatkit-1 .chatkit-close").click()
    answer(page, "#chatkit-1")
    assert badge.get_attribute("data-count") == "1"
    assert status.inner_text() == sentence
    assert [each["count"] for each in page.evaluate("told")] == [1, 2, 3, 0, 1]
    assert console.all == []


def two() -> ChatKit:
    """A kit with two chats, `default` and `sales`."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")
    return kit


def test_frames_and_chats_have_names(page: Page, site: Start) -> None:
    """Each frame has a title, and a heading that says the chat comes before it; a panel has one."""
    page.goto(
        site(
            "{{ chatkit_floating(label='Ask us') }}"
            "{{ chatkit_inline(height=200, label='Questions') }}"
            "{{ chatkit_inline('sales', height=200, frame_title='Sales desk', label='Sales') }}"
            "{{ chatkit_floating('sales', side='left', title='Our shop', panel_header=False) }}",
            two(),
        )
    )
    for number in (1, 4):
        open_chat(page, f"#chatkit-{number}")
    for number, title, heading in (
        (1, "Ask us", "Ask us"),
        (2, "Questions", "Questions"),
        (3, "Sales desk", "Sales"),
        (4, "Chat", "Our shop"),
    ):
        root = page.locator(f"#chatkit-{number}")
        ready(page, f"#chatkit-{number}")
        assert root.locator("iframe").get_attribute("title") == title
        assert root.get_by_role("heading").all_inner_texts() == [heading]
        assert root.get_by_role("heading", level=2).count() == 1
        assert root.evaluate(
            "root => Boolean(root.querySelector('h2').compareDocumentPosition("
            "root.querySelector('openai-chatkit')) & Node.DOCUMENT_POSITION_FOLLOWING)"
        )
    assert page.get_by_role("region", name="Questions").count() == 1
    assert page.get_by_role("dialog", name="Ask us").count() == 1


# --- telephones -----------------------------------------------------------------------------------


def test_keyboard_of_a_telephone_leaves_the_composer_in_view(phone: Page, site: Start) -> None:
    """The panel is as high as what is left to see, follows it, and does not shrink by zooming."""
    phone.goto(site("{{ chatkit_floating() }}"))
    launcher(phone).tap()
    ready(phone)
    assert panel(phone).bounding_box() == {"x": 0, "y": 0, **PHONE}
    stub = """(seen) => {
      for (const name in seen) {
        Object.defineProperty(visualViewport, name, {configurable: true, get: () => seen[name]});
      }
      visualViewport.dispatchEvent(new Event(seen.offsetTop ? 'scroll' : 'resize'));
    }"""
    for seen in ({"height": 500, "offsetTop": 0}, {"height": 480, "offsetTop": 120}):
        phone.evaluate(stub, seen)
        box = panel(phone).bounding_box()
        assert box == {"x": 0, "y": seen["offsetTop"], "width": 390, "height": seen["height"]}
        field = chat(phone).locator("#input").bounding_box()
        assert field["y"] + field["height"] <= seen["offsetTop"] + seen["height"]
        close = phone.locator(".chatkit-close").bounding_box()
        assert close["y"] >= seen["offsetTop"]
    phone.evaluate("for (const n of ['height', 'offsetTop']) delete visualViewport[n]")
    phone.evaluate("visualViewport.dispatchEvent(new Event('resize'))")
    assert panel(phone).bounding_box() == {"x": 0, "y": 0, **PHONE}
    # Who zooms in with two fingers wants to see it larger, not to have less of it.
    devtools = phone.context.new_cdp_session(phone)
    devtools.send("Emulation.setPageScaleFactor", {"pageScaleFactor": 2})
    until(phone, "visualViewport.scale", 2)
    phone.wait_for_timeout(100)
    height = "document.querySelector('dialog').getBoundingClientRect().height"
    assert phone.evaluate(height) == PHONE["height"]


def test_page_scrolls_again_after_a_telephones_chat(page: Page, site: Start) -> None:
    """The page does not scroll while the panel covers it, and does as before afterwards."""
    tall = "<div class=tall></div><link rel=stylesheet href=/tall.css>{{ chatkit_floating() }}"
    files = {"/tall.css": "html { overflow-y: scroll; } .tall { height: 5000px; }"}
    page.goto(site(tall, files=files))
    overflow = "getComputedStyle(document.documentElement).overflowY"
    open_chat(page)
    assert page.evaluate(overflow) == "scroll"
    page.locator(".chatkit-close").click()
    page.set_viewport_size(PHONE)
    page.evaluate("document.documentElement.style.overflow = 'auto'; scrollTo(0, 700)")
    for leave in ("close", "widen", "remove"):
        reopen(page)
        until(page, "document.querySelector('dialog').matches(':modal')")
        assert page.evaluate(overflow) == "hidden", leave
        page.mouse.move(200, 400)
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(100)
        assert page.evaluate("scrollY") == 700
        if leave == "close":
            page.locator(".chatkit-close").click()
        elif leave == "widen":
            page.set_viewport_size(WIDE)
            until(page, "document.querySelector('dialog').matches(':modal')", False)
        else:
            page.evaluate("document.querySelector('[data-chatkit]').remove()")
        assert page.evaluate(overflow) == "auto", leave
        assert page.evaluate("document.documentElement.style.overflow") == "auto", leave
        if leave == "widen":
            page.locator(".chatkit-close").click()
            page.set_viewport_size(PHONE)
            page.evaluate("scrollTo(0, 700)")


def test_text_is_large_enough_for_a_telephone(phone: Page, page: Page, site: Start) -> None:
    """On touch the chat's text has 16 pixels at least, or iOS zooms; elsewhere what was asked."""
    base = site(
        "<link rel=stylesheet href=/small.css>{{ chatkit_inline(base_size=14, height=300) }}"
        "{{ chatkit_themed(height=300) }}",
        files={"/small.css": "main { font-size: 14px; }"},
    )
    sizes = "__chatkitStandin.elements.map(e => __chatkitStandin.of(e).options.theme.typography)"
    for each, size in ((phone, 16), (page, 14)):
        each.goto(base)
        ready(each, "#chatkit-1")
        ready(each, "#chatkit-2")
        assert [found["baseSize"] for found in each.evaluate(sizes)] == [size, size]


@pytest.mark.parametrize("header", [True, False])
def test_usable_at_four_hundred_percent(page: Page, site: Start, header: bool) -> None:
    """At 320 by 256 pixels launcher, close button and composer are all in view and can be used."""
    page.set_viewport_size(TINY)
    page.goto(site(floating(f"panel_header={header}, text='Ask us'")))
    assert inside(launcher(page).bounding_box(), **TINY)
    assert is_hit(page, ".chatkit-launcher")
    open_chat(page)
    say(page, "hello")
    inner = ["#input", "#send"] + ([] if header else ["#rightAction"])
    for each in [chat(page).locator(selector) for selector in inner]:
        assert inside(each.bounding_box(), **TINY)
    chat(page).locator("#input").fill("again")
    page.keyboard.press("Enter")
    chat(page).get_by_text("You wrote “again”").wait_for()
    if header:
        assert inside(page.locator(".chatkit-close").bounding_box(), **TINY)
        page.locator(".chatkit-close").click()
    else:
        chat(page).locator("#rightAction").click()
    assert is_hit(page, ".chatkit-launcher")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


# --- opening from anywhere ------------------------------------------------------------------------


def test_buttons_and_links_of_the_page_open_the_chat(
    page: Page, site: Start, openai_standin: Any, console: Any
) -> None:
    """Any element of the page opens a chat, by name, by id or the first, and may say something."""
    page.goto(
        site(
            "<p class=middle><a id=plain href=/other data-chatkit-open><b id=inner>Chat</b></a>"
            "<button id=prefill data-chatkit-open=sales data-chatkit-message='Hi there'>a</button>"
            "<a id=send href=/other data-chatkit-open data-chatkit-send='Ship it'>b</a>"
            "<button id=again data-chatkit-open=byid>c</button></p>"
            "<link rel=stylesheet href=/middle.css>"
            "{{ chatkit_inline('sales', height=200) }}{{ chatkit_floating() }}"
            "{{ chatkit_floating('sales', id='byid', side='left') }}",
            two(),
            files={"/middle.css": ".middle { margin-left: 450px; }"},
        )
    )
    page.locator("#inner").click()
    ready(page, "#chatkit-2")
    assert page.locator("[data-open]").count() == 1
    chat(page, "#chatkit-2").locator("#input:focus").wait_for()
    page.locator("#chatkit-2 .chatkit-close").click()
    assert page.evaluate(FOCUSED) == "plain"
    page.locator("#send").press("Enter")
    chat(page, "#chatkit-2").get_by_text("You wrote “Ship it”").wait_for()
    page.locator("#chatkit-2 .chatkit-close").click()
    assert page.evaluate(FOCUSED) == "send"
    page.locator("#prefill").click()
    ready(page, "#byid")
    field = chat(page, "#byid").locator("#input")
    chat(page, "#byid").locator("#input:focus").wait_for()
    assert field.input_value() == "Hi there"
    page.locator("#prefill").click()
    assert page.locator("#byid[data-open]").count() == 1
    page.locator("#byid .chatkit-close").click()
    page.locator("#again").click()
    assert page.locator("#byid[data-open]").count() == 1
    assert [thread["title"] for thread in openai_standin.threads.values()] == ["Ship it"]
    assert page.url.endswith("/")
    assert console.all == []


def test_chat_in_the_page_is_scrolled_to(page: Page, site: Start) -> None:
    """A link to a chat that is no panel brings it into view, as does the hash."""
    base = site(
        "<a id=a href=/other data-chatkit-open>a</a><a id=b href=#chat-default>b</a>"
        "<link rel=stylesheet href=/far.css><div class=far></div>{{ chatkit_inline(height=300) }}",
        files={"/far.css": ".far { height: 3000px; }"},
    )
    for link in ("#a", "#b"):
        page.goto(base)
        page.locator(link).click()
        ready(page)
        assert inside(page.locator("[data-chatkit]").bounding_box(), 1000, 800)


def test_links_that_mean_something_else_are_left_alone(page: Page, site: Start) -> None:
    """With a modifier key, without a widget of that name, or when the page acts itself: no chat."""
    base = site(
        {
            "/": "<a id=ours href=/other data-chatkit-open>a</a>"
            "<a id=none href=/other?none data-chatkit-open=nobody>b</a>"
            "<button id=own data-chatkit-open>c</button>{{ chatkit_floating() }}",
            "/other": "Other",
        }
    )
    page.goto(base)
    for key in ("Control", "Shift"):
        with page.context.expect_page() as opened:
            page.locator("#ours").click(modifiers=[key])
        opened.value.close()
    page.evaluate(
        "document.querySelector('#own').addEventListener('click', e => e.preventDefault())"
    )
    page.locator("#own").click()
    assert page.url == f"{base}/"
    assert page.locator("[data-state=idle]").count() == 1
    page.locator("#none").click()
    page.wait_for_url(f"{base}/other?none")


def test_hash_opens_the_chat(page: Page, site: Start) -> None:
    """#chat opens at load and by a link, #chat-name that chat, each time; others do nothing."""
    base = site(
        "<a id=link href=#chat>Chat</a><a id=sales href=#chat-sales>Sales</a>"
        "<a id=no href=#chatter>No</a><a id=nobody href=#chat-nobody>No</a>"
        "{{ chatkit_floating('sales', side='left') }}{{ chatkit_floating() }}",
        two(),
    )
    page.goto(f"{base}/#chat-default")
    ready(page, "#chatkit-2")
    assert panel(page, "#chatkit-2").is_visible()
    chat(page, "#chatkit-2").locator("#input:focus").wait_for()
    page.locator("#chatkit-2 .chatkit-close").click()
    assert page.url == f"{base}/"
    for _ in range(2):
        page.locator("#sales").click()
        ready(page, "#chatkit-1")
        assert panel(page, "#chatkit-1").is_visible()
        page.locator("#chatkit-1 .chatkit-close").click()
        assert page.evaluate(FOCUSED) == "sales"
    for link in ("#no", "#nobody"):
        page.locator(link).click()
        page.wait_for_timeout(100)
        assert page.locator("[data-open]").count() == 0
    assert page.url.endswith("#chat-nobody")
    page.locator("#link").click()
    panel(page, "#chatkit-1").wait_for()
    page.goto("about:blank")
    page.goto(f"{base}/#chat")
    panel(page, "#chatkit-1").wait_for()


# --- the JavaScript API ---------------------------------------------------------------------------


def test_javascript_opens_and_closes(page: Page, site: Start, console: Any) -> None:
    """Each method keeps its promise, and `state` tells what is the case, from the beginning."""
    page.goto(site("{{ chatkit_floating() }}{{ chatkit_inline('sales', height=200) }}", two()))
    state = "FlaskChatKit.get().state"
    idle = {"status": "idle", "idle": True, "open": False, "unread": 0, "thread": None}
    assert page.evaluate(state) == idle
    assert page.evaluate("FlaskChatKit.get() === FlaskChatKit.get('default')")
    page.evaluate("FlaskChatKit.get().close()")
    assert page.evaluate(state) == idle
    page.evaluate("FlaskChatKit.get('chatkit-1').open()")
    assert page.evaluate(state)["open"]
    assert panel(page, "#chatkit-1").is_visible()
    ready(page, "#chatkit-1")
    assert page.evaluate(state) == {
        "status": "ready",
        "ready": True,
        "open": True,
        "unread": 0,
        "thread": None,
    }
    page.evaluate("FlaskChatKit.get().open()")
    assert panel(page, "#chatkit-1").is_visible()
    for shown in (False, True):
        page.evaluate("FlaskChatKit.get().toggle()")
        assert panel(page, "#chatkit-1").is_visible() is shown
    page.evaluate("FlaskChatKit.get().close()")
    assert not page.evaluate(state)["open"]
    # A chat in the page is there; there is nothing to open.
    page.evaluate("FlaskChatKit.get('sales').open()")
    ready(page, "#chatkit-2")
    page.evaluate("FlaskChatKit.get('sales').close()")
    assert page.locator("#chatkit-2 openai-chatkit").is_visible()
    for act in ("open", "close", "toggle", "send", "compose", "thread", "setTheme"):
        told = f"FlaskChatKit.get('nobody').{act}('x').then(() => 'kept', (error) => error.message)"
        assert "nobody" in page.evaluate(told)
    nobody = page.evaluate("FlaskChatKit.get('nobody').state")
    assert nobody.items() >= {"open": False, "unread": 0}.items()
    assert not nobody.get("ready")
    assert console.all == []


def test_javascript_talks(page: Page, site: Start, openai_standin: Any, console: Any) -> None:
    """Messages are sent and prefilled as soon as the chat works; threads and themes are set."""
    page.goto(site("{{ chatkit_floating(accent='#0a7') }}"))
    page.evaluate("FlaskChatKit.get().send('First of all')")
    assert (
        page.evaluate("FlaskChatKit.get().state").items() >= {"ready": True, "open": True}.items()
    )
    chat(page).get_by_text("You wrote “First of all”").wait_for()
    page.evaluate("FlaskChatKit.get().send({text: 'Anew', newThread: true})")
    chat(page).get_by_text("You wrote “Anew”").wait_for()
    first, second = openai_standin.threads
    assert page.evaluate("FlaskChatKit.get().state.thread") == second
    page.evaluate("FlaskChatKit.get().close()")
    page.evaluate("FlaskChatKit.get().compose('Not yet')")
    assert panel(page).is_visible()
    assert chat(page).locator("#input").input_value() == "Not yet"
    page.evaluate("FlaskChatKit.get().compose({text: 'Nor yet'})")
    assert chat(page).locator("#input").input_value() == "Nor yet"
    page.evaluate("(id) => FlaskChatKit.get().thread(id)", first)
    chat(page).get_by_text("You wrote “First of all”").wait_for()
    page.evaluate("FlaskChatKit.get().thread(null)")
    until(page, "FlaskChatKit.get().state.thread ?? 'none'", "none")
    told = "FlaskChatKit.get().thread('cthr_nobodys').then(() => 'kept', (error) => error.message)"
    assert page.evaluate(told) != "kept"
    theme = "__chatkitStandin.lastOptions.theme"
    for given, scheme in (("'dark'", "dark"), ("'auto'", "light"), ("null", "light")):
        page.evaluate(f"FlaskChatKit.get().setTheme({given})")
        assert page.evaluate(theme)["colorScheme"] == scheme
        assert page.evaluate(theme)["color"]["accent"]["primary"] == "#0a7"
    page.evaluate("FlaskChatKit.get().setTheme({colorScheme: 'dark', radius: 'sharp'})")
    assert page.evaluate(theme).items() >= {"colorScheme": "dark", "radius": "sharp"}.items()
    for wrong in ("'blue'", "7", "['dark']", "{colorScheme: 'blue'}"):
        told = f"FlaskChatKit.get().setTheme({wrong}).then(() => 'kept', (error) => error.message)"
        assert '"light"' in page.evaluate(told)
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.wait_for_timeout(50)
    assert page.evaluate(theme)["colorScheme"] == "dark"
    assert page.evaluate("__chatkitStandin.frameLoads") == 1
    assert console.uncaught == console.violations == []


def test_javascript_may_come_right_after_the_loader(page: Page, site: Start, console: Any) -> None:
    """The next script of the page finds the API, and its click is answered, beside other kits."""
    early = (
        "FlaskChatKit.get().on('chatkit.ready', () => { window.heard = 'ready'; });"
        "document.querySelector('.chatkit-launcher').click();"
    )
    others = "<script type='text/plain' data-kit='fonts'></script>"
    mine = "{{ chatkit_floating() }}<script src='/early.js' defer></script>"
    page.goto(site(others + mine, files={"/early.js": early}))
    ready(page)
    assert panel(page).is_visible()
    until(page, "window.heard", "ready")
    assert console.all == []


@pytest.mark.parametrize("how", ["parsed", "written"])
def test_kit_is_told_by_a_tag_that_ran(page: Page, site: Start, how: str) -> None:
    """A tag that the policy keeps from running says neither what is run nor what nonce it gets."""
    kit = {"base": "/chatkit/", "widget": "/evil.js", "styles": "/x.css", "script": "/evil.js"}
    tag = f"<script data-kit='{json.dumps(kit)}'></script>"
    files = {
        "/evil.js": "window.pwned = true;",
        "/write.js": f"document.getElementById('e').innerHTML = {json.dumps(tag)};",
    }
    write = "<p id=e></p><script nonce=abc src=/write.js></script>"
    inert = write if how == "written" else tag
    page.goto(
        site(inert + "{{ chatkit_floating(nonce='abc') }}" + inert, files=files, policy=NONCE)
    )
    launcher(page).hover()
    open_chat(page)
    assert page.evaluate("window.pwned") is None


def test_tag_that_went_has_been_heard(page: Page, site: Start, console: Any) -> None:
    """A script that tidies the page up before it is idle does not stop the widget."""
    tidy = "for (const tag of document.querySelectorAll('script')) tag.remove();"
    body = "{{ chatkit_floating() }}<script src='/tidy.js' defer></script>"
    page.goto(site(body, files={"/tidy.js": tidy}))
    open_chat(page)
    assert console.all == []


def test_click_comes_before_a_router_of_the_page(page: Page, site: Start) -> None:
    """A router that was added after the loader, and keeps links to itself, leaves it its own."""
    router = (
        "addEventListener('DOMContentLoaded', () => document.addEventListener('click', (event) => {"
        " if (event.target.closest('a[href]')) event.preventDefault(); }));"
    )
    link = "<a href='/help' data-chatkit-open>Ask</a><script src=/r.js></script>"
    page.goto(site("{{ chatkit_floating() }}" + link, files={"/r.js": router}))
    page.get_by_role("link", name="Ask").click()
    ready(page)
    assert panel(page).is_visible()


def test_javascript_is_told_of_a_failure(page: Page, site: Start) -> None:
    """What was to be sent to a chat that does not start is refused, and works the next time."""
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(site("{{ chatkit_floating() }}"))
    send = "FlaskChatKit.get().send('hello').then(() => 'kept', (error) => error.message)"
    assert page.evaluate(send) == "The chat could not be loaded."
    assert page.evaluate("FlaskChatKit.get().state").items() >= {"failed": True}.items()
    page.unroute(SCRIPT)
    assert page.evaluate(send) == "kept"
    chat(page).get_by_text("You wrote “hello”").wait_for()


def test_thread_chosen_before_the_opening(page: Page, site: Start, openai_standin: Any) -> None:
    """A page that knows the conversation, from a mail, say, opens the chat in it."""
    base = site("{{ chatkit_floating() }}")
    page.goto(base)
    open_chat(page)
    say(page, "remember this")
    (thread,) = openai_standin.threads
    page.evaluate("FlaskChatKit.get().thread(null)")
    until(page, "FlaskChatKit.get().state.thread ?? 'none'", "none")
    page.locator(".chatkit-close").click()
    page.reload()
    page.evaluate("(id) => FlaskChatKit.get().thread(id)", thread)
    assert page.locator("[data-state=idle]").count() == 1
    open_chat(page)
    chat(page).get_by_text("You wrote “remember this”").wait_for()


def test_pages_tools_are_the_chats_tools(page: Page, site: Start, tmp_path: Path) -> None:
    """A tool of the page answers the chat; a widget's own comes before that of its chat."""
    kit = ChatKit()

    @kit.assistant()
    def reply(message: Any, conversation: Any) -> Any:
        if message.tool_result is None:
            conversation.client_tool("colour", {"which": "sky"})
        else:
            yield f"The page says {message.tool_result.output['colour']}."

    config = {
        "CHATKIT_WORKFLOW_ID": None,
        "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
    }
    page.goto(site("{{ chatkit_floating() }}", kit, **config))
    assert page.evaluate(
        "(() => { const chat = FlaskChatKit.get(); return chat === chat"
        ".tool('colour', ({which}) => ({colour: `${which} blue`})).action('a', () => {})"
        ".on('open', () => {}).off('open', () => {}); })()"
    )
    open_chat(page)
    page.evaluate("FlaskChatKit.get().send('Which colour?')")
    chat(page).get_by_text("The page says sky blue.").wait_for()
    page.evaluate("FlaskChatKit.get('chatkit-1').tool('colour', () => ({colour: 'red'}))")
    page.evaluate("FlaskChatKit.get().send('And now?')")
    chat(page).get_by_text("The page says red.").wait_for()


# --- from page to page ----------------------------------------------------------------------------


def goes_on(page: Page) -> None:
    """The page was changed, not loaded: one widget is there, alive, with its conversation."""
    ready(page)
    assert page.evaluate("window.same") == "page"
    for part in (".chatkit-launcher", ".chatkit-bar", "openai-chatkit", ".chatkit-status"):
        assert page.locator(part).count() == 1, part
    assert panel(page).bounding_box()["height"] > 400
    chat(page).get_by_text("You wrote “hello”").wait_for()


WALK = "<a id=to-b href=/b>b</a> <a id=to-a href=/>a</a> <a id=to-none href=/none>none</a>"


def test_open_chat_comes_along(page: Page, site: Start, console: Any) -> None:
    """On the next page the panel is open in the same conversation, without taking the focus."""
    base = site(
        {
            "/": WALK + "{{ chatkit_floating() }}",
            # It is not the first widget of every page.
            "/b": WALK + "<div class=far></div><link rel=stylesheet href=/far.css>"
            "{{ chatkit_inline('sales', height=200) }}{{ chatkit_floating() }}",
            "/none": WALK,
        },
        two(),
        files={"/far.css": ".far { height: 3000px; }"},
    )
    page.goto(base)
    open_chat(page)
    say(page, "hello")
    page.locator("#to-b").click()
    ready(page, ".chatkit-floating")
    chat(page, ".chatkit-floating").get_by_text("You wrote “hello”").wait_for()
    assert launcher(page).get_attribute("aria-expanded") == "true"
    page.wait_for_timeout(150)
    assert page.evaluate("document.activeElement === document.body")
    assert page.locator(".chatkit-inline[data-state=idle]").count() == 1
    page.locator("#to-none").click()
    page.locator("#to-a").click()
    ready(page)
    chat(page).get_by_text("You wrote “hello”").wait_for()
    # Restored or not, Esc closes it; then it stays closed, and the conversation is kept.
    page.keyboard.press("Escape")
    assert not panel(page).is_visible()
    page.reload()
    page.wait_for_timeout(300)
    assert page.locator("[data-state=idle]").count() == 1
    assert not panel(page).is_visible()
    open_chat(page)
    chat(page).get_by_text("You wrote “hello”").wait_for()
    # Another tab is another matter.
    other = page.context.new_page()
    other.goto(base)
    other.wait_for_timeout(300)
    assert not panel(other).is_visible()
    # Nor does a small screen begin with a chat that covers it.
    page.set_viewport_size(PHONE)
    page.reload()
    page.wait_for_timeout(300)
    assert not panel(page).is_visible()
    assert console.all == []


def test_next_visitor_does_not_see_the_conversation(page: Page, site: Start) -> None:
    """After a login or a logout the same tab opens an empty chat, not the former visitor's."""
    kit = ChatKit()
    kit.user_loader(lambda: session.get("user"))
    base = site("{{ chatkit_floating() }}", kit)
    page.goto(base)
    for number, way in enumerate(("/in/ann", "/in/bob", "/out")):
        page.goto(base + way)
        page.goto(base)
        if number == 0:
            launcher(page).click()
        ready(page)
        until(page, "document.querySelector('[data-open]') !== null")
        chat(page).get_by_text("What can I help with today?").wait_for()
        say(page, f"I am {number}")
        assert chat(page).locator(".user_message").count() == 1


def test_turbo_keeps_one_widget_that_works(
    page: Page, site: Start, node_modules: Path, console: Any
) -> None:
    """Visits, previews from the cache and going back leave one launcher, whose chat goes on."""
    turbo = node_modules / "@hotwired" / "turbo" / "dist" / "turbo.es2017-umd.js"
    base = site(
        {
            "/": WALK + "<a id=hash href=#chat>c</a><p id=is-a>{{ chatkit_floating() }}",
            "/b": WALK + "<a id=open href=/none data-chatkit-open>o</a><p id=is-b>"
            "{{ chatkit_floating() }}",
            "/none": WALK,
        },
        head="<meta name=turbo-refresh-method content=morph><script src=/turbo.js defer></script>",
        files={"/turbo.js": turbo.read_text("utf-8")},
    )
    page.goto(base)
    page.evaluate("window.same = 'page'")

    def works(where: str) -> None:
        page.locator(where).wait_for(state="attached")
        until(page, "document.documentElement.hasAttribute('data-turbo-preview')", False)
        goes_on(page)

    open_chat(page)
    say(page, "hello")
    page.locator("#to-b").click()
    works("#is-b")
    page.go_back()
    works("#is-a")
    page.go_forward()
    works("#is-b")
    page.locator(".chatkit-close").click()
    page.locator("#to-a").click()
    page.locator("#is-a").wait_for(state="attached")
    page.wait_for_timeout(300)
    assert not panel(page).is_visible()
    assert page.locator(".chatkit-launcher").count() == 1
    launcher(page).click()
    works("#is-a")
    page.locator(".chatkit-close").click()
    page.locator("#hash").click()
    until(page, "document.querySelector('[data-open]') !== null")
    page.locator("#to-none").click()
    until(page, "document.querySelector('[data-chatkit]')", None)
    page.locator("#to-b").click()
    works("#is-b")
    page.locator(".chatkit-close").click()
    page.locator("#open").click()
    works("#is-b")
    assert page.url == f"{base}/b"
    # A morphing refresh takes away all that the server does not send.
    for is_open in (True, False):
        page.evaluate("window.old = document.querySelector('openai-chatkit')")
        page.evaluate("Turbo.visit(location.href, {action: 'replace'})")
        until(page, "old.isConnected", False)
        if not is_open:
            page.wait_for_timeout(300)
            assert not panel(page).is_visible()
            launcher(page).click()
        works("#is-b")
        page.locator(".chatkit-close").click()
        assert not panel(page).is_visible()
    # Turbo's own bar, and the copy of the element that it keeps for a moment, bring inline styles.
    assert set(console.violations) <= {"style-src-elem"}
    assert console.uncaught == []


def test_turbo_on_a_telephone_leaves_nothing_locked(
    page: Page, site: Start, node_modules: Path
) -> None:
    """Who goes back while the chat covers the screen can scroll the page and open it anew."""
    turbo = node_modules / "@hotwired" / "turbo" / "dist" / "turbo.es2017-umd.js"
    page.set_viewport_size(PHONE)
    page.goto(
        site(
            {
                "/": WALK + "{{ chatkit_floating() }}",
                "/b": WALK + "<p id=b>{{ chatkit_floating() }}",
            },
            head="<script src=/turbo.js defer></script>",
            files={"/turbo.js": turbo.read_text("utf-8")},
        )
    )
    page.locator("#to-b").click()
    page.locator("#b").wait_for(state="attached")
    open_chat(page)
    page.go_back()
    page.locator("#b").wait_for(state="detached")
    assert page.evaluate("getComputedStyle(document.documentElement).overflowY") == "visible"
    page.wait_for_timeout(300)
    assert not panel(page).is_visible()
    open_chat(page)
    page.locator(".chatkit-close").click()
    page.go_forward()
    page.locator("#b").wait_for(state="attached")
    page.wait_for_timeout(300)
    assert not panel(page).is_visible()
    open_chat(page)


def test_htmx_keeps_one_widget_that_works(
    page: Page, site: Start, node_modules: Path, console: Any
) -> None:
    """Boosted links, going back and swaps of the region around it leave one launcher that works."""
    htmx = node_modules / "htmx.org" / "dist" / "htmx.js"
    region = "<div id=region>{{ chatkit_floating() }}</div>"
    swaps = "".join(
        f"<button id={swap} hx-get=/b hx-select=#region hx-target=#region hx-swap={swap}>s</button>"
        for swap in ("outerHTML", "outerMorph")
    )
    boost = f"<div hx-boost:inherited=true>{WALK}<a id=open href=/none data-chatkit-open>o</a>"
    base = site(
        {
            "/": f"{boost}{swaps}<p id=is-a></p>{region}</div>",
            "/b": f"{boost}{swaps}<p id=is-b></p>{region}</div>",
            "/none": f"{boost}</div>",
        },
        head="<script src=/htmx.js defer></script>",
        files={"/htmx.js": htmx.read_text("utf-8")},
    )
    page.goto(base)
    page.evaluate("window.same = 'page'")

    open_chat(page)
    say(page, "hello")
    page.locator("#to-b").click()
    page.locator("#is-b").wait_for(state="attached")
    goes_on(page)
    page.go_back()
    page.locator("#is-a").wait_for(state="attached")
    goes_on(page)
    page.locator(".chatkit-close").click()
    for swap in ("#outerHTML", "#outerMorph"):
        with page.expect_response(f"{base}/b"):
            page.locator(swap).click()
        page.wait_for_timeout(300)
        assert not panel(page).is_visible()
        launcher(page).click()
        goes_on(page)
        with page.expect_response(f"{base}/b"):
            page.locator(swap).click()
        page.wait_for_timeout(300)
        goes_on(page)
        page.locator(".chatkit-close").click()
        assert not panel(page).is_visible()
    assert console.all == []


# --- the teaser -----------------------------------------------------------------------------------


def test_teaser_greets_once(page: Page, site: Start, openai_standin: Any, console: Any) -> None:
    """After its delay a bubble is there and is announced; who dismissed it has seen it for good."""
    base = site(
        {
            "/": "{{ chatkit_floating(teaser={'text': 'Any questions?', 'delay': 1}) }}",
            "/b": "{{ chatkit_floating(teaser={'text': 'Any questions?', 'delay': 0}) }}",
            "/new": "{{ chatkit_floating(teaser={'text': 'Summer sale!', 'delay': 0}) }}",
        }
    )
    page.add_init_script(
        """new MutationObserver(() => {
          if (window.came || !document.querySelector(".chatkit-teaser")) return;
          const { textContent } = document.querySelector(".chatkit-status");
          window.came = { at: performance.now(), textContent };
        }).observe(document, { childList: true, subtree: true });"""
    )
    page.goto(base)
    bubble, status = page.locator(".chatkit-teaser"), page.locator(".chatkit-status")
    bubble.wait_for()
    assert page.evaluate("document.activeElement === document.body")
    came = page.evaluate("window.came")
    assert came["at"] >= 1000
    # A moment after the live region itself, or nobody would read it out.
    assert came["textContent"] == ""
    until(page, "document.querySelector('.chatkit-status').textContent", "Any questions?")
    assert page.get_by_role("status").count() == 1
    box, button = bubble.bounding_box(), launcher(page).bounding_box()
    assert inside(box, 1000, 800)
    assert box["y"] + box["height"] <= button["y"]
    assert button["x"] + button["width"] - box["x"] - box["width"] == pytest.approx(0, abs=2)
    assert is_hit(page, ".chatkit-launcher")
    # Nothing was asked of anybody for it.
    assert openai_standin.requests == []
    assert page.evaluate("customElements.get('openai-chatkit')") is None
    # Who only goes on reading is greeted on the next page too.
    page.goto(f"{base}/b")
    bubble.wait_for()
    launcher(page).focus()
    assert reached(page, 2) == ["button", "chatkit-tool"]
    page.get_by_role("button", name="Dismiss", exact=True).press("Enter")
    assert bubble.count() == 0
    assert status.inner_text() == ""
    assert page.evaluate(FOCUSED) == "chatkit-launcher"
    for path in ("/b", "/"):
        page.goto(base + path)
        page.wait_for_timeout(1400 if path == "/" else 300)
        assert bubble.count() == 0
    page.goto(f"{base}/new")
    page.get_by_role("button", name="Summer sale!", exact=True).click()
    assert bubble.count() == 0
    ready(page)
    chat(page).locator("#input:focus").wait_for()
    page.evaluate("FlaskChatKit.get().close()")
    assert page.evaluate(FOCUSED) == "chatkit-launcher"
    page.reload()
    page.wait_for_timeout(300)
    assert bubble.count() == 0
    assert console.all == []


def test_teaser_does_not_disturb_an_open_chat(page: Page, site: Start) -> None:
    """Who has opened the chat needs no invitation, then and on the next page."""
    base = site("{{ chatkit_floating(teaser={'text': 'Any questions?', 'delay': 1}) }}")
    page.goto(base)
    launcher(page).click()
    page.wait_for_timeout(1300)
    ready(page)
    assert page.locator(".chatkit-teaser").count() == 0
    page.keyboard.press("Escape")
    page.locator(".chatkit-close").click()
    page.wait_for_timeout(300)
    assert page.locator(".chatkit-teaser").count() == 0
    page.reload()
    page.wait_for_timeout(1300)
    assert page.locator(".chatkit-teaser").count() == 0


# --- events ---------------------------------------------------------------------------------------

TYPES = (
    "open close ready failed unread consent error response.start response.end thread.change"
    " thread.load.start thread.load.end history.open history.close tool.change effect deeplink log"
)
GATHER = f"""window.heard = [];
for (const type of "{TYPES}".split(" ")) {{
  document.addEventListener(`chatkit.${{type}}`, ({{ target, detail }}) => {{
    heard.push([type, target.id || target.localName, detail]);
  }});
}}"""


@pytest.mark.parametrize("log", [False, True])
def test_events_tell_what_happens_and_not_what_is_said(
    page: Page, site: Start, openai_standin: Any, console: Any, log: bool
) -> None:
    """The widget's events bubble from it, with names and ids; text is in none, unless asked for."""
    page.add_init_script(GATHER)
    page.goto(site(floating(f"message_events={log}")))
    page.evaluate(
        "['open', 'close', 'ready', 'unread', 'thread.change'].forEach((type) =>"
        " FlaskChatKit.get().on(type, (event) =>"
        " (window.own ??= []).push([event.type, event.detail])))"
    )
    open_chat(page)
    say(page, "hunter2 is my word")
    (thread,) = openai_standin.threads
    page.get_by_role("button", name="Earlier chats").click()
    page.locator(".chatkit-tool[aria-expanded=true]").wait_for()
    page.get_by_role("button", name="Earlier chats").click()
    page.locator(".chatkit-tool[aria-expanded=false]").wait_for()
    page.get_by_role("button", name="New chat").click()
    until(page, "document.querySelector('[data-chatkit]').dataset.thread ?? 'none'", "none")
    page.evaluate("(id) => FlaskChatKit.get().thread(id)", thread)
    page.locator(".chatkit-close").click()
    element = "document.querySelector('openai-chatkit')"
    for name, detail in (
        ("response.end", {}),
        ("log", {"name": "message.send", "data": {"text": "hunter2"}}),
        ("effect", {"name": "confetti", "data": {"much": 1}, "text": "hunter2"}),
        ("deeplink", {"name": "order", "data": {"number": "7"}, "text": "hunter2"}),
        ("tool.change", {"toolId": "t", "text": "hunter2"}),
        ("response.start", {"text": "hunter2"}),
    ):
        page.evaluate(
            f"([name, detail]) => {element}.dispatchEvent("
            "new CustomEvent(`chatkit.${name}`, {detail}))",
            [name, detail],
        )
    page.evaluate(
        f"{element}.dispatchEvent(new CustomEvent('chatkit.error', {{detail: {{error:"
        " Object.assign(new Error('No network'), {sent: 'hunter2'})}}))"
    )
    heard = page.evaluate("heard")
    assert {target for _, target, _ in heard} == {"chatkit-1"}
    assert all(detail["chat"] == "default" for *_, detail in heard)
    assert all(detail["id"] == "chatkit-1" for *_, detail in heard)
    told = [[kind, {k: v for k, v in d.items() if k not in ("chat", "id")}] for kind, _, d in heard]
    logs = [each for each in told if each[0] == "log"]
    assert [each for each in told if each[0] != "log"] == [
        ["open", {}],
        ["ready", {}],
        ["response.start", {}],
        ["thread.change", {"threadId": thread}],
        ["response.end", {}],
        ["history.open", {}],
        ["history.close", {}],
        ["thread.change", {"threadId": None}],
        ["thread.load.start", {"threadId": thread}],
        ["thread.change", {"threadId": thread}],
        ["thread.load.end", {"threadId": thread}],
        ["close", {}],
        ["response.end", {}],
        ["unread", {"count": 1}],
        ["effect", {"name": "confetti", "data": {"much": 1}}],
        ["deeplink", {"name": "order", "data": {"number": "7"}}],
        ["tool.change", {"toolId": "t"}],
        ["response.start", {}],
        [
            "error",
            {
                "message": "No network",
                "error": {"name": "Error", "message": "No network", "code": None},
            },
        ],
    ]
    if log:
        assert logs[-1] == ["log", {"name": "message.send", "data": {"text": "hunter2"}}]
    else:
        assert logs == []
        assert "hunter2" not in str(heard)
    own = [[kind, detail.get("count")] for kind, detail in page.evaluate("own")]
    names = ["open", "ready", *["thread.change"] * 3, "close", "unread"]
    assert own == [[name, 1 if name == "unread" else None] for name in names]
    assert console.all == []


def test_listener_that_was_taken_off_hears_nothing(page: Page, site: Start) -> None:
    """`off` ends what `on` began; a listener of one chat does not hear the other."""
    page.goto(site("{{ chatkit_floating() }}{{ chatkit_floating('sales', side='left') }}", two()))
    page.evaluate(
        """() => {
          window.heard = [];
          const gone = () => heard.push('gone');
          FlaskChatKit.get().on('open', gone).off('open', gone);
          FlaskChatKit.get('sales').on('open', () => heard.push('sales'));
          FlaskChatKit.get('chatkit-1').on('open', () => heard.push('first'));
        }"""
    )
    launcher(page, "#chatkit-1").click()
    launcher(page, "#chatkit-2").click()
    panel(page, "#chatkit-2").wait_for()
    assert page.evaluate("heard") == ["first", "sales"]


def test_acts_are_done_in_their_order(page: Page, site: Start) -> None:
    """What is asked for while the scripts arrive comes after what was asked for before."""
    page.goto(site("{{ chatkit_floating() }}{{ chatkit_floating('sales', side='left') }}", two()))
    page.evaluate(
        """() => {
          window.heard = [];
          for (const name of ['chatkit-1', 'sales'])
            FlaskChatKit.get(name).on('open', () => heard.push(name));
          let act;
          Object.defineProperty(FlaskChatKit, 'act', {
            get: () => act,
            set: (value) => {
              act = value;
              // The scripts have run, and their promises are not settled.
              FlaskChatKit.get('sales').open();
            },
          });
          FlaskChatKit.get('chatkit-1').open();
        }"""
    )
    panel(page, "#chatkit-1").wait_for()
    panel(page, "#chatkit-2").wait_for()
    assert page.evaluate("heard") == ["chatkit-1", "sales"]


def test_failure_is_an_event_with_its_reason(page: Page, site: Start) -> None:
    """A site's own monitoring learns that a chat did not start, why, and that it does later."""
    page.add_init_script(GATHER)
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(site("{{ chatkit_inline() }}"))
    page.get_by_role("button", name="Try again").wait_for()
    page.unroute(SCRIPT)
    page.get_by_role("button", name="Try again").click()
    ready(page)
    whose = {"chat": "default", "id": "chatkit-1"}
    assert page.evaluate("heard.map(([type,, detail]) => [type, detail])") == [
        ["failed", {"reason": "script", **whose}],
        ["ready", whose],
    ]


# --- buttons in the header, several widgets -------------------------------------------------------

BUTTONS = (
    "header={'left_action': {'icon': 'home', 'href': '/home', 'label': 'To the shop'},"
    " 'right_action': {'icon': 'share', 'action': 'share', 'label': 'Share this'}}"
)


def test_sites_buttons_in_our_bar(page: Page, site: Start) -> None:
    """In the panel's bar an address is a link and an action a button, both with their names."""
    page.goto(site({"/": floating(BUTTONS), "/home": "Home"}))
    page.evaluate("FlaskChatKit.get().action('share', (...given) => { window.shared = given; })")
    launcher(page).click()
    bar = page.locator(".chatkit-bar")
    link = bar.get_by_role("link", name="To the shop", exact=True)
    share = bar.get_by_role("button", name="Share this", exact=True)
    assert link.get_attribute("href") == "/home"
    share.click()
    assert page.evaluate("shared") == [{}, None]
    ready(page)
    # Seen from left to right: the site's left one, the title, the rest, and close at the edge.
    seen = bar.locator("a, h2, button").evaluate_all(
        "nodes => nodes.filter(n => n.checkVisibility())"
        ".sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x)"
        ".map(n => n.ariaLabel ?? n.textContent)"
    )
    assert seen == ["To the shop", "Chat", "Earlier chats", "Share this", "Close chat"]
    for node in bar.locator("a, button").all():
        if node.is_visible():
            assert node.bounding_box()["height"] >= 44
            assert node.bounding_box()["width"] >= 44
    link.click()
    page.wait_for_url("**/home")


@pytest.mark.parametrize(
    "macro", ["chatkit_inline(height=400,", "chatkit_floating(panel_header=False,"]
)
def test_sites_buttons_in_chatkits_header(
    page: Page, site: Start, console: Any, macro: str
) -> None:
    """In ChatKit's own header they do the same; if they take both places our bar stays."""
    page.goto(site({"/": "{{ " + macro + BUTTONS + ") }}", "/home": "Home"}))
    page.evaluate("FlaskChatKit.get('chatkit-1').action('share', () => { window.shared = 1; })")
    page.evaluate("FlaskChatKit.get().open()")
    ready(page)
    if "floating" in macro:
        assert is_hit(page, ".chatkit-close")
        page.get_by_role("button", name="Share this", exact=True).click()
        page.get_by_role("link", name="To the shop", exact=True).click()
    else:
        chat(page).locator("#rightAction").click()
        until(page, "window.shared", 1)
        chat(page).locator("#leftAction").click()
    page.wait_for_url("**/home")
    assert console.all == []


def test_chatkits_header_keeps_the_sites_button(page: Page, site: Start) -> None:
    """With one button of the site's, close takes the other place of ChatKit's header."""
    header = "header={'right_action': {'icon': 'share', 'action': 'share'}}"
    page.goto(site(floating(f"panel_header=False, {header}")))
    page.evaluate("FlaskChatKit.get().action('share', () => { window.shared = 1; })")
    open_chat(page)
    chat(page).locator("#rightAction").click()
    until(page, "window.shared", 1)
    chat(page).locator("#leftAction").click()
    until(page, "document.querySelector('dialog').open", False)


def test_several_widgets_live_side_by_side(page: Page, site: Start, console: Any) -> None:
    """Two panels and an inline chat are open at once; Esc closes the one that it is pressed in."""
    base = site(
        "{{ chatkit_floating() }}{{ chatkit_floating('sales', side='left') }}"
        "{{ chatkit_inline(height=200) }}",
        two(),
    )
    page.goto(base)
    for root in ("#chatkit-1", "#chatkit-2"):
        open_chat(page, root)
        say(page, f"in {root}", root)
    ready(page, "#chatkit-3")
    left, right = panel(page, "#chatkit-2").bounding_box(), panel(page, "#chatkit-1").bounding_box()
    assert left["x"] + left["width"] < right["x"]
    assert is_hit(page, "#chatkit-1 .chatkit-launcher")
    assert is_hit(page, "#chatkit-2 .chatkit-launcher")
    assert page.evaluate("__chatkitStandin.frameLoads") == 3
    page.locator("#chatkit-1 .chatkit-close").focus()
    page.keyboard.press("Escape")
    assert not panel(page, "#chatkit-1").is_visible()
    assert panel(page, "#chatkit-2").is_visible()
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(({id}) => id)")
    assert len(ids) == len(set(ids))
    # The one that is still open comes along to the next page.
    page.reload()
    ready(page, "#chatkit-2")
    assert panel(page, "#chatkit-2").is_visible()
    assert not panel(page, "#chatkit-1").is_visible()
    assert console.all == []


# --- everything on the screen, in every mode ------------------------------------------------------

MODES: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "forced": {"forced_colors": "active"},
    "rtl": {"contrast": "more"},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True},
    "tiny": {"viewport": TINY},
}
SHOP = (
    "<link rel=stylesheet href=/shop.css><p>Fine goods, and some more words about them.</p>"
    "{{ chatkit_floating(teaser={'text': 'Any questions? We are here to help you.', 'delay': 0},"
    " contact='mailto:help@shop.example', greeting='Ahoy', accent='#0a7'%s) }}"
)


def walk(page: Page, base: str) -> Iterator[str]:
    """Bring a page into each state that a visitor may see, and tell its name."""
    held: list[Any] = []
    hold(page, held)
    page.goto(base)
    page.locator(".chatkit-teaser").wait_for()
    yield "teaser"
    page.locator(".chatkit-teaser .chatkit-tool").click()
    yield "closed"
    launcher(page).click()
    page.locator(".chatkit-skeleton").wait_for()
    yield "loading"
    held.pop().abort()
    page.locator("[data-state=failed]").wait_for(state="attached")
    yield "failed"
    page.unroute(SCRIPT)
    page.locator(".chatkit-actions button").click()
    ready(page)
    page.wait_for_timeout(100)
    yield "open"
    say(page, "hello")
    page.locator(".chatkit-bar :nth-child(3)").wait_for()
    yield "answered"
    page.evaluate("__chatkitStandin.missing = ['showHistory']")
    page.locator(".chatkit-bar [aria-expanded]").click()
    page.locator(".chatkit-strip").wait_for()
    yield "unable"
    page.locator(".chatkit-strip button").last.click()
    page.locator(".chatkit-close").click()
    for _ in range(12):
        answer(page)
    yield "unread"
    reopen(page)
    page.evaluate("__chatkitStandin.unmount(__chatkitStandin.elements.at(-1))")
    page.locator("[data-state=failed]").wait_for(state="attached")
    yield "lost"
    page.goto(f"{base}/consent")
    launcher(page).click()
    page.locator("[data-state=consent]").wait_for(state="attached")
    yield "consent"
    page.route(WIDGET, lambda route: route.abort())
    page.goto(base)
    launcher(page).click()
    page.locator(".chatkit-fallback").wait_for()
    yield "way out"


def boxes(page: Page, mode: str) -> list[str]:
    """What of the widget is not in view, on the wrong side, covered, or out of a thumb's reach."""
    size = page.viewport_size
    wide = mode not in {"phone", "tiny"}
    found = {
        name: page.locator(selector).first.bounding_box()
        for name, selector in (
            ("launcher", ".chatkit-launcher"),
            ("panel", ".chatkit-panel[open]"),
            ("close", ".chatkit-panel[open] .chatkit-close"),
            ("teaser", ".chatkit-teaser"),
            ("badge", ".chatkit-badge"),
            ("way out", ".chatkit-fallback"),
        )
        if page.locator(selector).count()
    }
    wrong = []
    for name, box in found.items():
        if not inside(box, **size):
            wrong.append(f"{name} sticks out: {box}")
        middle = box["x"] + box["width"] / 2
        if wide and (middle < size["width"] / 2) is not (mode == "rtl"):
            wrong.append(f"{name} is on the wrong side: {box}")
    if (wide or "panel" not in found) and not is_hit(page, ".chatkit-launcher"):
        wrong.append("the launcher is covered")
    for name in ("panel", "teaser", "way out"):
        if wide and name in found:
            below = found[name]["y"] + found[name]["height"]
            if below > found["launcher"]["y"]:
                wrong.append(f"{name} overlaps the launcher")
    if "panel" in found and not is_hit(page, ".chatkit-close"):
        wrong.append("the close button is covered")
    wrong += page.evaluate(
        """() => [...document.querySelectorAll('.chatkit button, .chatkit a')]
          .filter((node) => node.checkVisibility())
          .map((node) => [node.className || node.textContent, node.getBoundingClientRect()])
          .filter(([, { width, height }]) => width < 24 || height < 24)
          .map(([name]) => `${name} is too small`)"""
    )
    # What is too long for a notice is scrolled to, from its beginning on.
    wrong += page.evaluate(
        """() => [...document.querySelectorAll('.chatkit-notice:not(:empty)')]
          .filter((node) => node.firstElementChild.getBoundingClientRect().top
            < node.getBoundingClientRect().top)
          .map(() => 'the notice begins out of sight')"""
    )
    if page.evaluate("document.documentElement.scrollWidth") > size["width"]:
        wrong.append("the page scrolls sideways")
    return wrong


@pytest.mark.parametrize("mode", MODES)
def test_every_state_can_be_seen_and_used(
    browser: Browser, site: Start, node_modules: Path, console: Any, mode: str
) -> None:
    """In each mode and state axe finds nothing, and each part can be seen and clicked."""
    base = site(
        {"/": SHOP % "", "/consent": SHOP % ", load='consent'"},
        files={"/shop.css": ":root { color-scheme: light dark; }"},
    )
    context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **MODES[mode]})
    context.set_default_timeout(10_000)
    page = context.new_page()
    console.watch(page)
    if mode == "rtl":
        page.add_init_script(
            "addEventListener('readystatechange', () => Object.assign("
            "document.documentElement, {dir: 'rtl', lang: 'ar'}), {once: true, capture: true})"
        )
    wrong = {state: axe(page, node_modules) + boxes(page, mode) for state in walk(page, base)}
    context.close()
    assert len(wrong) == 11
    assert {state: found for state, found in wrong.items() if found} == {}
    assert console.uncaught == console.violations == []
