"""The look of the widget and the built-in chat: where things stand, and what moves when touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import redirect

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.browser.test_builtin import ALL, Chat, axe, until
from tests.helpers import builtin_server
from tests.helpers.pages import Sites, launcher, ready, state
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLOATING = {"/": "{{ chatkit_floating() }}"}
INLINE = {"/": "{{ chatkit_inline() }}"}
WIDE = {"width": 1100, "height": 800}
PHONE = {"width": 390, "height": 844}
DRAG = """root.querySelector(".chat").dispatchEvent(new DragEvent(arg, {dataTransfer: (() => {
  const data = new DataTransfer();
  data.items.add(new File(["x"], "x.txt"));
  return data;
})()}))"""
DROP_WORDS = 'getComputedStyle(root.querySelector(".chat"), "::after").content'
FADE = """(({ content, backgroundImage }) => content === "none" ? content : backgroundImage)(
  getComputedStyle(root.querySelector(".foot-area"), "::before"))"""


@pytest.fixture
def chat(page: Page, serve: Any) -> Iterator[Chat]:
    """A page of a site with the built-in chat, not opened yet."""
    server = builtin_server.Talker()
    app = builtin_server.make_site(server)
    yield Chat(page, server, app, serve(app))
    server.go.set()


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


def box(chat: Chat, selector: str) -> dict[str, float]:
    """Where an element of the chat is."""
    found = chat.page.locator(f"flask-chatkit-chat {selector}").first.bounding_box()
    assert found is not None
    return {**found, "bottom": found["y"] + found["height"], "right": found["x"] + found["width"]}


# --- the launcher ---------------------------------------------------------------------------------


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_launcher_answers_hand_and_press(page: Page, site: Any, motion: Any) -> None:
    """It grows under the pointer and gives way when pressed, at once where motion is reduced."""
    page.emulate_media(reduced_motion=motion)
    page.goto(site(FLOATING))
    button = launcher(page)
    style = "(node) => [getComputedStyle(node).scale, getComputedStyle(node).transitionDuration]"
    moves = "0.15s" if motion == "no-preference" else "0s"
    button.hover()
    until(lambda: button.evaluate(style) == ["1.05", moves])
    page.mouse.down()
    until(lambda: button.evaluate(style) == ["0.95", moves])
    page.mouse.up()


def test_launcher_keeps_its_cross_in_forced_colours(page: Page, site: Any) -> None:
    """The cross of an open panel's launcher is drawn in a colour that its ground has not."""
    page.emulate_media(forced_colors="active")
    page.goto(site(FLOATING))
    launcher(page).click()
    page.locator(".chatkit-panel[open]").wait_for()
    colours = launcher(page).evaluate(
        """(node) => [getComputedStyle(node, "::before").backgroundColor,
          getComputedStyle(node).backgroundColor, getComputedStyle(node, "::before").width]"""
    )
    assert colours[0] != colours[1]
    assert float(colours[2].removesuffix("px")) > 20


# --- the outline of what comes --------------------------------------------------------------------


def test_outline_is_of_what_comes(page: Page, site: Any, node_modules: Path) -> None:
    """While it loads there is the outline of a start screen; of a conversation, if one is open."""
    page.set_viewport_size(WIDE)
    page.route("**/chatkit.js", lambda _route: None)
    page.goto(site(INLINE))
    state(page, "loading")
    outline = page.locator(".chatkit-skeleton")
    outline.wait_for()
    assert "chatkit-talk" not in (outline.get_attribute("class") or "")
    field = outline.locator("p").bounding_box()
    around = page.locator(".chatkit").bounding_box()
    assert field
    assert around
    below = around["y"] + around["height"] - field["y"] - field["height"]
    assert 0 < below < 40
    assert field["width"] > 0.6 * around["width"]
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run('.chatkit-notice').then((all) => all.violations)")
    assert found == []


# --- the start screen -----------------------------------------------------------------------------


def test_start_is_in_the_middle_of_a_wide_page(chat: Chat, node_modules: Path) -> None:
    """Greeting, prompts and composer stand together in the middle; on a phone it is at the end."""
    chat.page.set_viewport_size(WIDE)
    chat.open(ALL)
    chat.run("el.parentElement.style.cssText += ';inline-size: 1000px; block-size: 760px'")
    chat.page.wait_for_timeout(100)
    whole, greeting = box(chat, ".chat"), box(chat, ".greeting")
    composer = box(chat, ".composer")
    above, below = greeting["y"] - whole["y"], whole["bottom"] - composer["bottom"]
    assert above > 150
    assert abs(above - below) < 90
    assert composer["y"] - greeting["bottom"] < 150
    assert axe(chat, node_modules) == []
    chat.say("hello")
    composer = box(chat, ".composer")
    assert whole["bottom"] - composer["bottom"] < 80
    chat.button("New chat").click()
    assert whole["bottom"] - box(chat, ".composer")["bottom"] > 150
    chat.run("el.parentElement.style.cssText += ';inline-size: 380px'")
    chat.page.wait_for_timeout(100)
    assert whole["bottom"] - box(chat, ".composer")["bottom"] < 80


def test_header_names_the_chat_until_it_has_a_title(chat: Chat) -> None:
    """The header has the name of the chat, then the title of the thread, once there is one."""
    chat.open('frameTitle: "Ask the shop",')
    title = chat.page.locator("flask-chatkit-chat h2").first
    assert title.inner_text() == "Ask the shop"
    chat.say("hello")
    stored = chat.server.store.threads[chat.thread()]
    assert title.inner_text() == (stored.title or "Ask the shop")


# --- the composer ---------------------------------------------------------------------------------


@pytest.fixture
def phone(browser: Browser, serve: Any) -> Iterator[Chat]:
    """A phone with the built-in chat, not opened yet."""
    server = builtin_server.Talker()
    app = builtin_server.make_site(server)
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)  # type: ignore[arg-type]
    yield Chat(context.new_page(), server, app, serve(app))
    server.go.set()
    context.close()


LINE = """(() => {
  const input = root.querySelector("textarea");
  const { paddingTop, lineHeight } = getComputedStyle(input);
  const inset = parseFloat(paddingTop) + parseFloat(lineHeight) / 2;
  const text = input.getBoundingClientRect().top + inset;
  const send = root.querySelector(".send").getBoundingClientRect();
  return text - (send.top + send.bottom) / 2;
})()"""


@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_text_is_on_the_arrows_line(request: pytest.FixtureRequest, kind: str) -> None:
    """What is written stands in the middle of the button's height, where they share a line."""
    chat: Chat = request.getfixturevalue("phone" if kind == "touch" else "chat")
    chat.open('composer: {placeholder: "Ask us"},')
    assert abs(chat.run(LINE)) < 1


def test_files_find_where_they_drop(chat: Chat, node_modules: Path) -> None:
    """Files held over the chat are told where to go; the words are in the chat's language."""
    chat.open(ALL)
    chat.say("hello")
    assert chat.run(DROP_WORDS) == "none"
    chat.run(DRAG, "dragover")
    assert chat.run(DROP_WORDS) == '"Drop files here"'
    assert axe(chat, node_modules) == []
    chat.run("el.setStrings({drop: 'Hierher'})")
    chat.run(DRAG, "dragover")
    assert chat.run(DROP_WORDS) == '"Hierher"'
    chat.run(DRAG, "drop")
    assert chat.run(DROP_WORDS) == "none"
    chat.page.locator("flask-chatkit-chat .composer .file").wait_for()


# --- the conversation -----------------------------------------------------------------------------


def test_log_fades_out_at_its_end(chat: Chat) -> None:
    """Text fades towards the composer, can be clicked there, and fades in no forced colours."""
    chat.open(ALL)
    assert "gradient" not in chat.run(FADE)
    chat.say("hello")
    assert "linear-gradient" in chat.run(FADE)
    events = 'getComputedStyle(root.querySelector(".foot-area"), "::before").pointerEvents'
    assert chat.run(events) == "none"
    chat.page.emulate_media(forced_colors="active")
    assert "gradient" not in chat.run(FADE)


def quoted(chat: Chat, markdown: str) -> None:
    """Have the assistant say a text."""
    chat.server.do_quoted = lambda thread, _text: chat.server.stream_text(thread, [markdown])  # type: ignore[attr-defined]
    chat.say("quoted")


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_files_of_a_message_are_at_its_end(chat: Chat, direction: str) -> None:
    """A sent file stands under the end of its message, on either side."""
    chat.open(ALL)
    chat.run("document.documentElement.dir = arg", direction)
    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"x"}
    chat.page.locator("flask-chatkit-chat input[type=file]").set_input_files([file])  # type: ignore[list-item]
    chat.wait(
        "!root.querySelector('.composer .file .spinner') && root.querySelector('.composer .file')"
    )
    chat.say("a message that is longer than the name of its file is")
    bubble, sent = box(chat, ".user_message .bubble"), box(chat, ".user_message .file")
    side = "right" if direction == "ltr" else "x"
    assert abs(bubble[side] - sent[side]) < 1


def test_nested_quotes_are_apart(chat: Chat) -> None:
    """A quote in a quote does not stick to the line above it."""
    chat.open()
    quoted(chat, "> One\n>\n> > Two")
    gap = """(() => {
      const inner = root.querySelector(".md blockquote blockquote");
      return inner.getBoundingClientRect().top
        - inner.previousElementSibling.getBoundingClientRect().bottom;
    })()"""
    assert chat.run(gap) >= 6


def test_no_length_is_of_the_pages_root(chat: Chat) -> None:
    """No style sheet of the chat's has a rem, which a page's root may make any size."""
    chat.open(ALL)
    quoted(chat, "```python\nx = 1\n```\n\n$$x^2$$")
    chat.field.focus()
    chat.button("Add and choose").click()
    chat.page.locator("flask-chatkit-chat .menu").wait_for()
    sheets = chat.run(
        "root.adoptedStyleSheets.map((sheet) => [...sheet.cssRules].map((rule) => rule.cssText))"
    )
    assert len(sheets) > 2
    assert [rule for rules in sheets for rule in rules if "rem;" in rule or "rem " in rule] == []


# --- one thing said once --------------------------------------------------------------------------


def test_refusal_is_told_once(page: Page, site: Any, tmp_path: Path) -> None:
    """What the widget says above the conversation the built-in chat does not say again."""
    kit = ChatKit()

    @kit.assistant()
    def answer(message: Any, _chat: Any) -> str:
        return f"You wrote {message.text}"

    config = {
        "CHATKIT_WORKFLOW_ID": None,
        "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
    }
    page.route("**/chatkit.js", lambda route: route.abort())
    kit.before_request(lambda: redirect("/login"))
    kit.before_request(lambda: None)
    page.goto(site({**INLINE, "/login": "Sign in"}, kit, **config))
    ready(page)
    field = page.locator("flask-chatkit-chat textarea")
    field.fill("hello")
    field.press("Enter")
    strip = page.locator(".chatkit-notice.chatkit-strip")
    strip.wait_for()
    said = strip.locator("p").first.inner_text()
    page.wait_for_timeout(500)
    inside = page.locator("flask-chatkit-chat .main").inner_text()
    assert said
    assert said not in inside
    assert field.input_value() == "hello"
