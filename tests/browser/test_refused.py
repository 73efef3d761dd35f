"""What is refused, fails, is edited or waits: nothing is lost, and there is a way on."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import render_template_string, request

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.served import PNG
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

HEAD = (
    "<!doctype html><html lang=en><title>Site</title><body>"
    '{% from "chatkit/macros.html" import chatkit_inline %}'
)
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data: blob:; base-uri 'none'; form-action 'self'"
)
AXE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
STORY = "the model is at 10.0.0.7"


class Model:
    """Echoes; for the next answer it may be in another mood."""

    def __init__(self) -> None:
        #: Of the next answer: "fails", "half", "late" or "waits" until the gate is open, "breaks".
        self.mood = "good"
        self.gate = threading.Event()
        self.asked: list[Any] = []
        self.sockets: list[socket.socket] = []
        self.calls: list[str] = []

    def answer(self, message: Any, chat: Any) -> Iterator[str]:
        """Answer by the mood."""
        mood, self.mood = self.mood, "good"
        self.asked.append(message)
        if mood == "fails":
            raise RuntimeError(STORY)
        if mood in {"late", "breaks"}:
            self.gate.wait(20)
        if mood == "breaks":
            raise RuntimeError(STORY)
        yield "Well, "
        if mood == "half":
            raise RuntimeError(STORY)
        if mood == "waits":
            self.gate.wait(20)
        yield f"{len(self.asked)}: you said {message.text}."


class Talk:
    """The built-in chat of one page, as a visitor uses it."""

    def __init__(self, page: Page, base: str, model: Model) -> None:
        self.page, self.base, self.model = page, base, model
        self.root = page.locator("flask-chatkit-chat")
        self.field = self.root.get_by_role("textbox", name="Message", exact=True)
        self.log = self.root.get_by_role("log")
        self.mine = self.root.locator("article.user_message .bubble")
        self.answers = self.root.locator("article.assistant_message .md")
        self.problem = self.root.locator(".problem")

    def open(self) -> Talk:
        """Open the page, and the chat in it."""
        self.page.goto(self.base)
        self.field.wait_for()
        return self

    def button(self, name: str, **more: Any) -> Locator:
        """A button by its name."""
        return self.root.get_by_role("button", name=name, exact=True, **more)

    def type(self, text: str) -> None:
        """Write and press Enter."""
        self.field.fill(text)
        self.field.press("Enter")

    def idle(self) -> None:
        """Wait until no answer is coming in."""
        self.root.locator(".chat:not(.answering)").wait_for()

    def say(self, text: str) -> None:
        """Write something and wait for the answer."""
        self.type(text)
        self.log.get_by_text(f"you said {text}.").last.wait_for()
        self.idle()

    def shows(self, *wanted: str) -> None:
        """Wait until the messages are these, of both."""
        until(lambda: self.texts() == list(wanted), self.texts)

    def texts(self) -> list[str]:
        """The messages that are shown."""
        rows = self.root.locator(":is(.bubble, .assistant_message .md):visible")
        return [text.strip() for text in rows.all_inner_texts()]

    def reload(self) -> None:
        """Load the page anew, with the open thread."""
        self.page.reload()
        self.field.wait_for()

    def holds(self, text: str) -> None:
        """Wait until the field has a text."""
        until(lambda: self.field.input_value() == text, self.field.input_value)


def until(check: Callable[[], Any], told: Callable[[], Any] = str) -> None:
    """Wait for something; `told` is what is shown if it does not come."""
    end = time.monotonic() + 8
    while not check():
        assert time.monotonic() < end, told()
        time.sleep(0.02)


@pytest.fixture
def talk(
    page: Page, openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any, tmp_path: Path
) -> Iterator[Callable[..., Talk]]:
    """Make a site whose chat is the built-in one, and open it."""
    model = Model()

    def start(options: str = "", chat: Any = None, **config: Any) -> Talk:
        kit = ChatKit()
        kit.assistant(attachments=True, **(chat or {}))(model.answer)
        app = make_app(
            kit,
            CHATKIT_WORKFLOW_ID=None,
            CHATKIT_SCRIPT_URL=openai_standin.script_url.replace("127.0.0.1", "localhost"),
            CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/history.sqlite3",
            CHATKIT_UPLOAD_FOLDER=str(tmp_path / "files"),
            **{"CHATKIT_MESSAGE_RATELIMIT": "1000/minute", **config},
        )
        body = f"<main><h1>Site</h1>{{{{ chatkit_inline(retry=True, {options}) }}}}</main>"
        app.add_url_rule("/", "home", lambda: render_template_string(HEAD + body))

        @app.before_request
        def note() -> None:
            if request.path == "/chatkit/api":
                model.sockets.append(request.environ["werkzeug.socket"])
                model.calls.append((request.get_json(silent=True) or {}).get("type", ""))

        @app.after_request
        def secure(response: Any) -> Any:
            if request.path == "/":
                response.headers["Content-Security-Policy"] = STRICT
            if response.mimetype == "text/event-stream" and app.config.get("LONG"):
                # So that a browser notices that it breaks off, as with chunks.
                response.headers["Content-Length"] = "99999"
            return response

        model.app = app
        page.route(re.compile("/deployments/"), lambda route: route.abort())
        return Talk(page, str(serve(app)), model).open()

    yield start
    model.gate.set()


# --- what was refused is in the hand again -------------------------------------------------------


def test_limit_counts_down_and_lets_go(talk: Any, console: Any) -> None:
    """A limit: the text is in the field, the reason and a countdown beside; then it can be sent."""
    chat = talk(CHATKIT_MESSAGE_RATELIMIT="1 per 4 second")
    chat.say("one")
    chat.type("two")
    chat.problem.get_by_text("Please wait").wait_for()
    chat.holds("two")
    chat.shows("one", "Well, 1: you said one.")
    timer = chat.root.get_by_role("timer")
    assert re.fullmatch(r"You can send again in [1-4] sec\.", timer.inner_text())
    assert chat.button("Send message").get_attribute("aria-disabled") == "true"
    calls = len(chat.model.calls)
    chat.field.press("Enter")
    assert len(chat.model.calls) == calls
    chat.holds("two")
    timer.wait_for(state="hidden")
    assert chat.problem.inner_text() == ""
    assert chat.button("Send message").get_attribute("aria-disabled") == "false"
    chat.field.press("Enter")
    chat.shows("one", "Well, 1: you said one.", "two", "Well, 2: you said two.")
    assert console.uncaught == []


def test_too_long_comes_back_whole(talk: Any) -> None:
    """Too long: text, quote, file, tool and model are in the composer again, to be shortened."""
    choices = {
        "tools": [{"id": "web", "label": "Web", "icon": "globe"}],
        "models": [{"id": "a", "label": "Fast"}, {"id": "b", "label": "Careful"}],
    }
    chat = talk(chat={"max_message_length": 30, "widget": choices})
    chat.page.evaluate(
        """() => document.querySelector("flask-chatkit-chat").setComposerValue(
          {reply: "a quote", selectedToolId: "web", selectedModelId: "b"})"""
    )
    upload(chat, "dot.png")
    text = "far too long, " * 5
    chat.type(text)
    chat.problem.get_by_text("This message is too long").wait_for()
    chat.holds(text.strip())
    assert chat.texts() == []
    composer = chat.root.locator(".composer")
    assert composer.locator("blockquote").inner_text().endswith("a quote")
    assert composer.locator(".files").get_by_role("img").count() == 1
    assert composer.locator(".chip").all_inner_texts() == ["Web"]
    assert composer.locator(".model").inner_text() == "Careful"
    chat.say("short")
    (message,) = chat.model.asked
    assert [message.quoted_text, message.tool, message.model] == ["a quote", "web", "b"]
    assert [file.name for file in message.attachments] == ["dot.png"]


def upload(chat: Talk, name: str, data: bytes = PNG) -> None:
    """Attach a file, and wait until it is uploaded."""
    file = {"name": name, "mimeType": "image/png", "buffer": data}
    chat.root.locator("input[type=file]").set_input_files([file])
    chat.button(f"Remove {name}").wait_for()
    chat.root.get_by_text("Uploading…").wait_for(state="detached")


def test_offline_comes_back(talk: Any, context: BrowserContext) -> None:
    """Offline: the text is in the field before what was being written, and is sent later."""
    chat = talk()
    chat.say("one")
    context.set_offline(True)
    chat.type("two")
    chat.problem.get_by_text("You seem to be offline.").wait_for()
    chat.holds("two")
    chat.shows("one", "Well, 1: you said one.")
    context.set_offline(False)
    chat.say("two")
    chat.shows("one", "Well, 1: you said one.", "two", "Well, 2: you said two.")


def test_file_that_is_gone_comes_back(talk: Any) -> None:
    """A file that the server does not have any more: text and file are in the composer again."""
    chat = talk()
    upload(chat, "dot.png")
    chat.page.route(
        "**/chatkit/api",
        lambda route: route.fulfill(
            content_type="text/event-stream",
            body='data: {"type": "error", "code": "custom", "allow_retry": false,'
            ' "message": "The file dot.png has not been uploaded."}\n\n',
        ),
    )
    chat.type("look")
    chat.problem.get_by_text("has not been uploaded").wait_for()
    chat.holds("look")
    chat.button("Remove dot.png").wait_for()
    chat.page.unroute("**/chatkit/api")
    chat.say("look")
    assert [file.name for file in chat.model.asked[0].attachments] == ["dot.png"]


@pytest.mark.parametrize("state", ["busy", "failed"])
def test_file_that_is_not_ready_waits(talk: Any, state: str) -> None:
    """A file that is being uploaded, or could not be: nothing is sent, and the reason is there."""
    chat = talk()
    held: list[Any] = []
    chat.page.route(
        "**/chatkit/attachments",
        lambda route: held.append(route) if state == "busy" else route.abort(),
    )
    file = {"name": "dot.png", "mimeType": "image/png", "buffer": PNG}
    chat.root.locator("input[type=file]").set_input_files([file])
    if state == "failed":
        chat.problem.get_by_text("dot.png could not be uploaded.").wait_for()
    chat.type("look")
    told = {"busy": "until the files are uploaded", "failed": "could not be uploaded"}
    chat.problem.get_by_text(told[state]).wait_for()
    chat.holds("look")
    assert chat.model.asked == []
    chat.button("Remove dot.png").click()
    chat.say("look")


@pytest.mark.parametrize("status", [500, 503])
def test_server_that_fails_first(talk: Any, status: int) -> None:
    """A server that fails before it has the message: the text is in the field, and goes later."""
    chat = talk()
    chat.say("one")
    chat.page.route("**/chatkit/api", lambda route: route.fulfill(status=status, body="no"))
    chat.type("two")
    chat.problem.get_by_text("Something went wrong").wait_for()
    chat.holds("two")
    chat.page.unroute("**/chatkit/api")
    chat.say("two")
    chat.shows("one", "Well, 1: you said one.", "two", "Well, 2: you said two.")


def test_two_clicks_send_once(talk: Any) -> None:
    """A double click on Send sends one message, and does not stop its answer."""
    chat = talk()
    chat.field.fill("one")
    chat.model.mood = "waits"
    chat.button("Send message").dblclick()
    chat.log.get_by_text("Well,").wait_for()
    time.sleep(0.6)
    assert chat.button("Stop the answer").count() == 1
    chat.model.gate.set()
    chat.shows("one", "Well, 1: you said one.")
    # Stop is Stop for one click.
    chat.model.gate.clear()
    chat.model.mood = "waits"
    chat.field.fill("two")
    chat.button("Send message").click()
    chat.answers.nth(1).wait_for()
    time.sleep(0.6)
    chat.button("Stop the answer").click()
    chat.button("Send message").wait_for()
    assert [message.text for message in chat.model.asked] == ["one", "two"]


# --- answers that fail ---------------------------------------------------------------------------


def test_model_that_fails_first(talk: Any) -> None:
    """A model that fails before it answers: the message stays, and is answered once."""
    chat = talk()
    chat.model.mood = "fails"
    chat.type("one")
    alert = chat.root.locator(".notice.danger")
    alert.wait_for()
    chat.shows("one")
    alert.get_by_role("button", name="Try again").click()
    chat.shows("one", "Well, 2: you said one.")
    assert alert.count() == 0


def test_half_an_answer_stays_until_the_next(talk: Any) -> None:
    """A server error in the middle: what came stays until another try has begun to answer."""
    chat = talk()
    chat.model.mood = "half"
    chat.type("one")
    chat.root.locator(".notice.danger").wait_for()
    chat.shows("one", "Well,")
    chat.model.mood = "fails"
    chat.root.locator(".notice").get_by_role("button", name="Try again").click()
    until(lambda: len(chat.model.asked) == 2)
    chat.idle()
    chat.root.locator(".notice.danger").wait_for()
    chat.shows("one", "Well,")
    chat.model.mood = "late"
    chat.root.locator(".notice").get_by_role("button", name="Try again").click()
    until(lambda: len(chat.model.asked) == 3)
    chat.shows("one", "Well,")
    assert chat.root.locator("article.replaced[inert]").count() == 1
    chat.model.gate.set()
    chat.shows("one", "Well, 3: you said one.")
    chat.idle()
    chat.reload()
    chat.shows("one", "Well, 3: you said one.")


def test_lost_connection_keeps_what_came(talk: Any) -> None:
    """A network that is lost and back: the partial answer stays, and is then replaced by one."""
    # Otherwise the answer goes on, and the chat with it: see test_outlives.py.
    chat = talk(CHATKIT_LEAVE_SECONDS=0)
    chat.model.app.config["LONG"] = True
    chat.model.mood = "waits"
    chat.type("one")
    chat.log.get_by_text("Well,").wait_for()
    chat.model.sockets[-1].shutdown(socket.SHUT_RDWR)
    chat.root.locator(".notice").get_by_text("The connection was lost").wait_for()
    chat.shows("one", "Well,")
    chat.model.app.config["LONG"] = False
    chat.page.context.set_offline(True)
    chat.root.locator(".notice").get_by_role("button", name="Try again").click()
    chat.root.locator(".notice").get_by_text("You seem to be offline.").wait_for()
    chat.shows("one", "Well,")
    chat.page.context.set_offline(False)
    chat.model.gate.set()
    time.sleep(1)  # the server has noticed by then
    chat.root.locator(".notice").get_by_role("button", name="Try again").click()
    chat.shows("one", "Well, 2: you said one.")
    chat.idle()
    chat.reload()
    chat.shows("one", "Well, 2: you said one.")


def test_retry_of_an_earlier_answer(talk: Any) -> None:
    """It is under the last answer, asks under an earlier one, and an outage then loses nothing."""
    chat = talk()
    chat.say("one")
    chat.say("two")
    all_of_it = ["one", "Well, 1: you said one.", "two", "Well, 2: you said two."]
    chat.button("Try again").wait_for()
    assert chat.button("Try again").count() == 1
    earlier = chat.button("Try again from here")
    assert earlier.count() == 1
    earlier.click()
    ask = chat.root.get_by_role("group", name="Try again from here?")
    ask.wait_for()
    assert focused(chat) == "Cancel"
    chat.page.keyboard.press("Escape")
    assert ask.count() == 0
    assert focused(chat) == "Try again from here"
    assert len(chat.model.asked) == 2
    earlier.click()
    chat.model.mood = "fails"
    ask.get_by_role("button", name="Try again").click()
    chat.root.locator(".notice.danger").wait_for()
    chat.idle()
    chat.shows(*all_of_it)
    assert chat.root.locator("[inert]").count() == 0
    assert chat.button("Try again from here").is_visible()
    chat.reload()
    chat.shows(*all_of_it)
    # A limit or no network before the server has heard of it.
    chat.button("Try again from here").click()
    ask.wait_for()
    chat.page.context.set_offline(True)
    ask.get_by_role("button", name="Try again").click()
    chat.root.locator(".notice").get_by_text("You seem to be offline.").wait_for()
    chat.shows(*all_of_it)
    chat.page.context.set_offline(False)
    chat.root.locator(".notice").get_by_role("button", name="Try again").click()
    chat.shows("one", "Well, 4: you said one.")
    chat.button("Try again").wait_for()
    assert chat.button("Try again").count() == 1
    chat.reload()
    chat.shows("one", "Well, 4: you said one.")


def focused(chat: Talk) -> str:
    """The name of what has the focus in the chat."""
    return str(
        chat.root.evaluate(
            "({shadowRoot: {activeElement: at}}) => at?.getAttribute('aria-label')"
            " ?? at?.textContent ?? ''"
        )
    )


def test_limited_retry_waits_beside_its_button(talk: Any) -> None:
    """A limit refuses another try: the answer is there, and the button comes back by itself."""
    chat = talk(CHATKIT_MESSAGE_RATELIMIT="1 per 3 second")
    chat.say("one")
    chat.button("Try again").click()
    again = chat.root.locator(".notice").get_by_role("button", name="Try again")
    again.wait_for()
    assert again.is_disabled()
    chat.shows("one", "Well, 1: you said one.")
    chat.root.get_by_role("timer").wait_for(state="hidden")
    again.click()
    chat.shows("one", "Well, 2: you said one.")


def test_openais_element_loses_nothing_either(
    page: Page, openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any, tmp_path: Path
) -> None:
    """With OpenAI's element an outage at another try keeps the answer; a good one replaces it."""
    model = Model()
    kit = ChatKit()
    kit.assistant()(model.answer)
    app = make_app(
        kit,
        CHATKIT_WORKFLOW_ID=None,
        CHATKIT_SCRIPT_URL=openai_standin.script_url.replace("127.0.0.1", "localhost"),
        CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/history.sqlite3",
    )
    body = "{{ chatkit_inline(retry=True) }}"
    app.add_url_rule("/", "home", lambda: render_template_string(HEAD + body))
    page.goto(str(serve(app)))
    frame = page.frame_locator("openai-chatkit iframe")
    frame.locator("#input").fill("one")
    frame.locator("#send").click()
    answers = frame.locator("article.assistant_message .text")
    frame.get_by_text("1: you said one.").wait_for()
    model.mood = "fails"
    frame.get_by_role("button", name="Try again").first.click()
    until(lambda: len(model.asked) == 2)
    frame.locator(".notice, [role=alert]").first.wait_for()
    assert answers.all_inner_texts() == ["Well, 1: you said one."]
    frame.get_by_role("button", name="Try again").first.click()
    frame.get_by_text("3: you said one.").wait_for()
    assert answers.all_inner_texts() == ["Well, 3: you said one."]


# --- editing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["button", "key"])
def test_last_message_is_edited(talk: Any, way: str, console: Any) -> None:
    """The last message can be had in the field, by a button or ArrowUp, and takes its own place."""
    chat = talk()
    chat.say("one")
    chat.say("two")
    assert chat.button("Edit message").count() == 1
    if way == "button":
        chat.button("Edit message").click()
    else:
        chat.field.press("ArrowUp")
    chat.holds("two")
    assert chat.root.locator(".banner").is_visible()
    chat.say("three")
    assert chat.root.locator(".banner").is_hidden()
    wanted = ["one", "Well, 1: you said one.", "three", "Well, 3: you said three."]
    chat.shows(*wanted)
    chat.holds("")
    chat.reload()
    chat.shows(*wanted)
    assert console.uncaught == []


def test_editing_keeps_files_and_drafts(talk: Any) -> None:
    """A file of the message goes along; what was being written comes back, also by Escape."""
    chat = talk()
    upload(chat, "dot.png")
    chat.say("look")
    chat.field.fill("a draft")
    chat.field.press("ArrowUp")  # moves in what is written
    chat.holds("a draft")
    chat.button("Edit message").click()
    chat.holds("look")
    assert chat.root.locator(".composer .files").get_by_role("img").count() == 1
    chat.field.press("Escape")
    chat.holds("a draft")
    assert chat.root.locator(".composer .files li").count() == 0
    chat.button("Edit message").click()
    chat.field.fill("look again")
    chat.field.press("Enter")
    chat.shows("look again", "Well, 2: you said look again.")
    chat.holds("a draft")
    assert [file.name for file in chat.model.asked[-1].attachments] == ["dot.png"]


@pytest.mark.parametrize("trouble", ["fails", "offline", "stop"])
def test_edit_that_is_not_answered(talk: Any, trouble: str, context: BrowserContext) -> None:
    """The old message and its answer are there again, and the new words in the field, to go on."""
    chat = talk()
    chat.say("one")
    old = ["one", "Well, 1: you said one."]
    chat.field.press("ArrowUp")
    chat.model.mood = {"stop": "late"}.get(trouble, "fails")
    context.set_offline(trouble == "offline")
    chat.type("two")
    if trouble == "stop":
        until(lambda: len(chat.model.asked) == 2)
        chat.shows("two")
        chat.button("Stop the answer").click()
    else:
        until(lambda: chat.problem.inner_text() != "")
    chat.idle()
    chat.shows(*old)
    chat.holds("two")
    assert chat.root.locator(".banner").is_visible()
    assert chat.root.locator(".notice").count() == 0
    context.set_offline(False)
    if trouble == "stop":
        time.sleep(2)  # the server has noticed by then
    chat.model.gate.set()
    chat.model.mood = "good"
    chat.field.press("Enter")
    until(lambda: chat.texts()[:1] == ["two"] and len(chat.texts()) == 2, chat.texts)
    chat.idle()
    chat.reload()
    until(lambda: chat.texts()[:1] == ["two"] and len(chat.texts()) == 2, chat.texts)


def test_edit_of_what_is_gone(talk: Any) -> None:
    """Where another answer has taken its place meanwhile, the thread is shown as it is."""
    chat = talk()
    chat.say("one")
    held: list[Any] = []
    chat.page.route("**/chatkit/api/stop", lambda route: held.append(route))  # noqa: PLW0108
    chat.field.press("ArrowUp")
    chat.model.mood = "late"
    chat.type("two")
    until(lambda: len(chat.model.asked) == 2)
    chat.button("Stop the answer").click()
    chat.holds("two")
    chat.model.gate.set()  # the answer begins before the server hears of that
    chat.model.mood = "good"
    chat.page.wait_for_timeout(4_000)  # longer than the same words count as the same message
    chat.field.press("Enter")
    until(lambda: chat.texts()[:1] == ["two"], chat.texts)
    chat.idle()
    chat.holds("two")
    chat.root.locator(".banner").wait_for(state="hidden")
    chat.field.press("Enter")
    until(lambda: chat.texts()[2:3] == ["two"] and len(chat.texts()) == 4, chat.texts)


def test_editing_ends_with_the_thread(talk: Any) -> None:
    """Who opens a new chat while editing writes a new message there; the words stay a draft."""
    chat = talk()
    chat.say("one")
    chat.field.press("ArrowUp")
    chat.field.fill("two")
    chat.root.get_by_role("button", name="New chat").click()
    chat.root.locator(".banner").wait_for(state="hidden")
    chat.holds("")
    chat.say("three")
    assert chat.model.calls.count("threads.create") == 2
    chat.root.get_by_role("button", name="Chats").click()
    chat.root.locator(".past .item", has_text="one").click()
    chat.holds("two")
    assert chat.root.locator(".banner").is_hidden()
    chat.shows("one", "Well, 1: you said one.")


# --- a message that waits ------------------------------------------------------------------------


def test_queued_message_is_sent_afterwards(talk: Any, console: Any) -> None:
    """A message written during an answer waits above the field, and is sent when that has ended."""
    chat = talk()
    chat.model.mood = "waits"
    chat.type("one")
    chat.log.get_by_text("Well,").wait_for()
    chat.type("two")
    waiting = chat.root.locator(".queued")
    waiting.get_by_text("two").wait_for()
    chat.holds("")
    chat.type("three")  # one is all that waits
    chat.problem.get_by_text("One message is already waiting").wait_for()
    chat.holds("three")
    chat.button("Take back").click()
    assert waiting.is_hidden()
    chat.holds("two\n\nthree")
    chat.field.fill("two")
    chat.button("Send after this answer").click()
    waiting.get_by_text("two").wait_for()
    assert len(chat.model.asked) == 1
    chat.model.gate.set()
    chat.shows("one", "Well, 1: you said one.", "two", "Well, 2: you said two.")
    assert waiting.is_hidden()
    assert console.uncaught == []


def queued(talk: Any) -> Any:
    """A chat that is answering the first message, while the second one waits."""
    chat = talk()
    chat.model.mood = "waits"
    chat.type("one")
    chat.log.get_by_text("Well,").wait_for()
    chat.type("two")
    chat.root.locator(".queued").get_by_text("two").wait_for()
    return chat


def test_double_click_on_stop_sends_nothing(talk: Any) -> None:
    """A double click on Stop stops, and does not send what comes back to the field."""
    chat = queued(talk)
    chat.button("Stop the answer").dblclick()
    chat.idle()
    chat.holds("two")
    assert len(chat.model.asked) == 1


def test_enter_twice_on_the_button_sends_once(talk: Any) -> None:
    """Enter pressed twice on Send sends one message, and does not stop its answer."""
    chat = talk()
    chat.field.fill("one")
    chat.button("Send message").focus()
    for _ in range(2):
        chat.page.keyboard.press("Enter")
    chat.shows("one", "Well, 1: you said one.")


def test_queued_message_survives_its_page(talk: Any) -> None:
    """On the next page it is in the field, before what was being written, and was not sent."""
    chat = queued(talk)
    chat.field.fill("three")
    chat.reload()
    chat.holds("two\n\nthree")
    chat.model.gate.set()
    chat.shows("one", "Well, 1: you said one.")
    chat.holds("two\n\nthree")
    assert len(chat.model.asked) == 1


@pytest.mark.parametrize("end", ["stop", "error", "new chat"])
def test_queued_message_comes_back(talk: Any, end: str) -> None:
    """After Stop, an error or in another thread it is not sent: it is in the field again."""
    chat = talk()
    chat.say("one")
    chat.model.mood = "breaks" if end == "error" else "late"
    chat.type("two")
    until(lambda: len(chat.model.asked) == 2)
    chat.type("three")
    chat.root.locator(".queued").get_by_text("three").wait_for()
    chat.field.fill("four")
    if end == "stop":
        chat.button("Stop the answer").click()
    elif end == "new chat":
        chat.root.get_by_role("button", name="New chat").click()
        chat.holds("")
    else:
        chat.model.gate.set()
        chat.root.locator(".notice.danger").wait_for()
    assert chat.root.locator(".queued").is_hidden()
    if end == "new chat":
        chat.root.get_by_role("button", name="Chats").click()
        chat.root.locator(".past .item", has_text="one").click()
    chat.holds("three\n\nfour")
    chat.model.gate.set()
    chat.idle()
    assert [message.text for message in chat.model.asked] == ["one", "two"]


# --- for everybody -------------------------------------------------------------------------------


def in_state(chat: Talk, state: str) -> None:
    """Bring a chat into one of the states that are new here."""
    chat.say("How long do you keep green tea, and does it matter whether the tin is opened daily?")
    if state == "edit":
        chat.field.press("ArrowUp")
        chat.holds(chat.mine.last.inner_text())
    elif state == "queue":
        chat.model.mood = "waits"
        chat.type("And black tea?")
        chat.answers.nth(1).wait_for()
        chat.type("What about the tins that came with the last order, are they tight as well?")
        chat.button("Take back").wait_for()
        chat.field.fill("Another")
    elif state == "limit":
        chat.page.route("**/chatkit/api", lambda route: route.fulfill(**LIMITED))
        chat.type("And black tea?")
        chat.root.get_by_role("timer").wait_for()
    elif state == "ask":
        chat.say("And black tea?")
        chat.button("Try again from here").click()
        chat.root.locator(".ask").wait_for()
    elif state == "retry":
        chat.model.mood = "late"
        chat.button("Try again").click()
        chat.root.locator(".replaced").wait_for()


LIMITED = {
    "content_type": "text/event-stream",
    "body": "data: "
    + json.dumps(
        {
            "type": "error",
            "code": "custom",
            "message": "You have sent many messages. Please wait a minute and try again.",
            "retry_after": 65,
        }
    )
    + "\n\n",
}
STATES = ["edit", "queue", "limit", "ask", "retry"]


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(talk: Any, node_modules: Path, state: str) -> None:
    """Axe has no complaint about the states that are new here."""
    chat = talk()
    in_state(chat, state)
    source = (node_modules / "axe-core" / "axe.min.js").read_text("utf-8")
    chat.page.evaluate(source)
    found = chat.page.evaluate(
        "(tags) => axe.run({runOnly: tags}).then(({violations}) =>"
        " violations.map(({id, nodes}) => [id, nodes.map(({html}) => html)]))",
        AXE,
    )
    assert found == []


def test_keyboard_alone_takes_back(talk: Any) -> None:
    """Tab reaches what waits, and the focus is in the field after each step."""
    chat = talk()
    in_state(chat, "queue")
    chat.field.press("Shift+Tab")
    assert focused(chat) == "Take back"
    chat.page.keyboard.press("Enter")
    assert focused(chat) == "Message"
    chat.model.gate.set()
    chat.idle()
    chat.field.fill("")
    chat.field.press("ArrowUp")
    chat.field.press("Shift+Tab")
    assert focused(chat) == "Cancel"
    chat.page.keyboard.press("Enter")
    assert focused(chat) == "Message"
    chat.holds("")
