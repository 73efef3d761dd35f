"""The built-in chat against a real ChatKitServer, in a real Chromium under a strict policy."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response, request

from tests.helpers import builtin_server as site
from tests.helpers.paths import STATIC

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

EVENTS = """ready error effect deeplink response.start response.end history.open history.close
thread.change thread.load.start thread.load.end tool.change log""".split()
AXE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ALL = """
    composer: {attachments: {enabled: true}, placeholder: "Ask us",
      models: [{id: "a", label: "Fast"}, {id: "b", label: "Careful", default: true}],
      tools: [{id: "web", label: "Web", icon: "globe", placeholderOverride: "Search for"}]},
    startScreen: {greeting: "Welcome", prompts: [{label: "Hours", prompt: "When?", icon: "clock"}]},
    threadItemActions: {feedback: true, retry: true},
    disclaimer: {text: "May be [wrong](/about)."},
"""


class Chat:
    """One built-in chat on one page, and the server behind it."""

    def __init__(self, page: Page, server: site.Talker, app: Flask, base: str) -> None:
        self.page, self.server, self.app, self.base = page, server, app, base

    def open(self, options: str = "", *, query: str = "", upload: str = "direct") -> Chat:
        """Load the page, record the events, make the element with `options`."""
        self.page.goto(self.base + "/" + query)
        how = {"direct": "{type: 'direct', uploadUrl: '/upload'}", "two": "{type: 'two_phase'}"}
        self.page.evaluate(
            f"""async () => {{
              await customElements.whenDefined("flask-chatkit-chat");
              window.pwned = (n) => {{ window.wasPwned = n; }};
              window.base = () => ({{
                api: {{url: "/api", domainKey: "local", uploadStrategy: {how[upload]}}},
                {options}
              }});
              window.seen = [];
              const el = window.el = document.createElement("flask-chatkit-chat");
              for (const name of {EVENTS}) {{
                el.addEventListener("chatkit." + name, ({{ detail }}) => seen.push(
                  [name, detail?.error ? detail.error.message : detail]));
              }}
              document.addEventListener("chatkit.ready", () => {{ window.bubbled = true; }});
              el.setOptions(base());
              document.getElementById("box").append(el);
            }}"""
        )
        return self

    def run(self, script: str, arg: Any = None) -> Any:
        """Evaluate in the page, where `el` is the element and `root` its shadow."""
        return self.page.evaluate(
            f"(arg) => {{ const root = el.shadowRoot; return {script}; }}", arg
        )

    def seen(self, name: str) -> list[Any]:
        """The details of the events of one kind."""
        return [detail for event, detail in self.run("seen") if event == name]

    def wait(self, script: str, arg: Any = None) -> None:
        """Wait until `script` is true in the page; the page's policy forbids Playwright's way."""
        until(lambda: self.run(script, arg))

    @property
    def field(self) -> Locator:
        """The field for a message."""
        return self.page.get_by_role("textbox", name="Message", exact=True)

    def button(self, name: str, **more: Any) -> Locator:
        """A button by its name."""
        return self.page.get_by_role("button", name=name, **more)

    @property
    def log(self) -> Locator:
        """The messages."""
        return self.page.get_by_role("log", name="Messages")

    @property
    def answers(self) -> Locator:
        """The assistant's messages."""
        return self.page.locator("article.assistant_message")

    def type(self, text: str) -> None:
        """Write a message and press Enter."""
        self.field.fill(text)
        self.field.press("Enter")

    def idle(self) -> None:
        """Wait until no answer is coming in."""
        self.wait("!root.querySelector('.answering, [role=log][aria-busy=true]')")

    def say(self, text: str) -> None:
        """Send a message and wait for the whole answer."""
        count = len(self.seen("response.end"))
        self.type(text)
        self.wait("seen.filter(([e]) => e === 'response.end').length > arg", count)

    def shows(self, text: str) -> None:
        """Wait until the messages have `text`."""
        self.log.get_by_text(text).first.wait_for()

    def thread(self) -> str:
        """The id of the only thread of the server."""
        (found,) = self.server.store.threads
        return found


@pytest.fixture
def chat(page: Page, serve: Any) -> Iterator[Chat]:
    """A page of a site with the built-in chat, not opened yet."""
    server = site.Talker()
    app = site.make_site(server)
    yield Chat(page, server, app, serve(app))
    server.go.set()


def until(check: Callable[[], Any]) -> None:
    """Wait for something on the server."""
    end = time.monotonic() + 5
    while not check():
        assert time.monotonic() < end
        time.sleep(0.01)


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def stream(*chunks: bytes) -> Response:
    return Response(iter(chunks), content_type="text/event-stream")


def created(text: str, thread: str = "t1") -> list[dict[str, Any]]:
    at = {"thread_id": thread, "created_at": "2026-01-01T00:00:00Z"}
    return [
        {"type": "thread.created", "thread": {"id": thread, "created_at": at["created_at"]}},
        {
            "type": "thread.item.done",
            "item": {
                "id": "m1",
                "type": "assistant_message",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
                **at,
            },
        },
    ]


# --- text ----------------------------------------------------------------------------------------


def test_first_message_makes_a_thread(chat: Chat, console: Any) -> None:
    """Enter sends, the answer comes, the events tell of it, and nothing is complained about."""
    chat.open(ALL)
    chat.page.get_by_text("Welcome").wait_for()
    chat.say("Hello <b>there</b>")
    chat.shows("You said Hello")
    assert chat.page.locator("article.user_message .bubble").inner_text() == "Hello <b>there</b>"
    assert chat.seen("thread.change") == [{"threadId": chat.thread()}]
    assert chat.seen("response.start") == [None]
    assert chat.seen("response.end") == [None]
    assert chat.seen("error") == []
    assert chat.run("window.bubbled")
    assert chat.page.get_by_role("heading", level=2).inner_text() == "Hello <b>there</b>"
    assert chat.field.input_value() == ""
    assert console.all == []


def test_markdown_streams_in(chat: Chat, console: Any) -> None:
    """Markdown in small pieces ends as headings, lists, tables, code and safe links."""
    chat.open()
    chat.say("stream")
    answer = chat.answers
    assert answer.locator("h4").inner_text() == "Big"
    assert answer.locator("h5").inner_text() == "Smaller"
    assert answer.locator("li ol li").inner_text() == "nested"
    assert answer.locator("td").all_inner_texts() == ["Tea", "3.50"]
    assert answer.locator("pre").get_attribute("tabindex") == "0"
    for link in answer.locator("a").all():
        assert link.get_attribute("target") == "_blank"
        assert link.get_attribute("rel") == "noopener noreferrer"
    assert answer.locator("a").nth(1).get_attribute("href") == chat.base + "/orders"
    assert chat.run(
        "root.querySelector('.md').scrollWidth <= root.querySelector('.md').clientWidth"
    )
    assert console.all == []


def test_code_is_copied(chat: Chat, context: BrowserContext) -> None:
    """The button of a code block copies the code, the one under the answer the answer."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat.open()
    chat.say("stream")
    chat.answers.get_by_role("button", name="Copy").click()
    chat.page.get_by_text("Copied.").wait_for(state="attached")
    assert chat.page.evaluate("navigator.clipboard.readText()").startswith('print("hello"')
    chat.button("Copy", exact=True).nth(1).click()
    until(lambda: chat.page.evaluate("navigator.clipboard.readText()").startswith("# Big"))


def test_half_a_code_block_is_code(chat: Chat) -> None:
    """A fence that is still open is shown as code, and what stands does not move."""
    chat.open()
    chat.type("fence")
    chat.answers.locator("pre code", has_text="let a").wait_for()
    chat.run("(window.first = root.querySelector('article .md').firstChild, 0)")
    chat.server.go.set()
    chat.shows("So.")
    assert chat.answers.locator("pre code").inner_text() == "let a = 1;\n"
    assert chat.run("root.querySelector('article .md').firstChild === window.first")


def test_nothing_hostile_runs(chat: Chat, console: Any) -> None:
    """Of the whole corpus nothing runs, loads or restyles, in text, widgets and notices."""
    requests: list[str] = []
    chat.page.on("request", lambda request: requests.append(request.url))
    chat.open()
    chat.say("xss")
    chat.page.locator("article.widget .card").wait_for()
    chat.page.wait_for_timeout(200)
    for kind in ("script", "svg:not(.icon)", "math", "iframe", "style", "form:not(.composer)"):
        assert chat.log.locator(kind).count() == 0, kind
    assert chat.page.locator("video, object, embed, base, template, details").count() == 0
    assert chat.run("window.wasPwned") is None
    assert (
        chat.run(
            "[...root.querySelectorAll('*')].flatMap((e) => [...e.attributes])"
            ".filter(({name, value}) => /^(on|style$|srcdoc)/.test(name) && value"
            " || /^\\s*(javascript|vbscript|data:text)/i.test(value))"
            ".map(({name, value}) => name + value)"
        )
        == []
    )
    for link in chat.log.locator("a").all():
        assert re.match(r"https?:", link.get_attribute("href") or "")
    assert chat.log.get_by_role("link", name="picture14").count() == 2
    assert chat.run("document.querySelectorAll('#attributes, #ui').length") == 0
    assert all(url.startswith((chat.base, "data:")) for url in requests)
    chat.field.wait_for()
    assert console.violations == []
    assert console.uncaught == []


def test_pictures_come_from_where_they_may(chat: Chat) -> None:
    """A picture of an allowed host or in the text is shown, another one is a link."""
    chat.page.route("https://pictures.test/*", lambda route: route.fulfill(body=site.PNG))
    chat.open()
    chat.say("image")
    chat.shows("no")
    assert chat.answers.get_by_role("link").all_inner_texts() == ["no"]
    for name in ("in", "ok"):
        chat.answers.get_by_role("img", name=name).wait_for()


def test_without_libraries_text_is_plain(chat: Chat) -> None:
    """When marked and DOMPurify did not come, the text is there as it was written."""
    chat.app.config["LIBRARIES"] = False
    chat.open()
    chat.say("stream")
    assert "Some **bold**" in chat.answers.inner_text()


def test_sources_are_listed_once(chat: Chat) -> None:
    """Annotations become a list of sources without duplicates."""
    chat.open()
    chat.say("sources")
    chat.log.get_by_text("Sources (1)").click()
    assert chat.page.get_by_role("link", name="On tea").get_attribute("href") == "https://tea.test/"


def test_items_are_replaced_removed_and_hidden(chat: Chat) -> None:
    """Replaced and removed items follow the server; titles change; hidden ones never show."""
    chat.open()
    chat.say("replace")
    assert chat.answers.locator(".md").all_inner_texts() == ["Right"]
    chat.say("title")
    assert chat.page.get_by_role("heading", level=2).inner_text() == "A better title"
    chat.server.go.set()
    chat.say("effect")
    assert "secret" not in chat.log.inner_text()


def test_progress_effects_and_notices_show(chat: Chat) -> None:
    """Progress is shown while it lasts, an effect is an event, a notice stays until dismissed."""
    chat.open()
    chat.type("effect")
    chat.shows("Counting sheep")
    assert chat.seen("effect") == [{"name": "confetti", "data": {"n": 3}}]
    chat.server.go.set()
    chat.shows("Mind the gap.")
    chat.idle()
    assert not chat.log.get_by_text("Counting sheep").is_visible()
    chat.button("Dismiss").click()
    assert chat.page.get_by_text("Mind the").count() == 0


def test_stream_may_be_cut_anywhere(chat: Chat) -> None:
    """Events cut in the middle of a character or a CRLF, with heartbeats between, arrive whole."""
    text = "Ünïcode 🍵 tea\nand more"
    raw = b": hb\n" + sse(*created(text)).replace(b"\n", b"\r\n")
    raw = raw.replace(b"\\u", b"\\u")
    utf8 = json.dumps(created("Ünïcode 🍵 tea")[1], ensure_ascii=False).encode()

    def cut() -> Iterator[bytes]:
        for n in range(len(raw)):
            yield raw[n : n + 1]
            if n % 40 == 0:
                time.sleep(0.002)
        yield b": hb\n:hb\r\ndata:" + utf8[:9] + utf8[9:]
        yield b"\r"
        yield b"\n\r"
        yield b"\n: hb\n"

    chat.app.config["ANSWER"] = lambda body: stream(*cut()) if "create" in body["type"] else None
    chat.open()
    chat.say("anything")
    assert chat.answers.locator(".md").all_inner_texts() == ["Ünïcode 🍵 tea"]
    assert chat.seen("error") == []


# --- what goes wrong -----------------------------------------------------------------------------


def test_failed_answer_is_tried_again(chat: Chat) -> None:
    """An error is read out with a way to try again, which replaces the half answer."""
    chat.open()
    chat.say("fail")
    chat.page.get_by_role("alert").filter(has_text="The kettle is cold.").wait_for()
    assert chat.seen("error") == ["The kettle is cold."]
    chat.button("Try again").click()
    chat.shows("Now it is warm.")
    assert chat.page.get_by_text("Half an answer").count() == 0
    assert chat.page.get_by_role("alert").filter(has_text="kettle").count() == 0
    assert chat.page.locator("article.user_message").count() == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: ({"message": "Slow down."}, 429), "Slow down."),
        (lambda: ({"message": "Too long."}, 400), "Too long."),
        (lambda: ("<h1>502</h1>", 502), "Something went wrong."),
        (lambda: "<h1>Please log in</h1>", "Something went wrong."),
        (
            lambda: stream(
                sse({"type": "error", "code": "custom", "message": "Later.", "allow_retry": True})
            ),
            "Later.",
        ),
    ],
)
def test_refused_message_is_not_lost(chat: Chat, answer: Any, told: str) -> None:
    """A refusal is shown in the server's words beside the message, which is in the field again."""
    chat.app.config["ANSWER"] = lambda _body: answer()
    chat.open()
    chat.say("Hello")
    chat.page.get_by_role("alert").filter(has_text=told).wait_for()
    assert chat.field.input_value() == "Hello"
    assert chat.page.locator("article").count() == 0
    chat.app.config["ANSWER"] = None
    chat.field.press("Enter")
    chat.shows("You said Hello")
    assert chat.page.get_by_role("alert").filter(has_text=told).count() == 0
    assert chat.page.locator("article.user_message").count() == 1
    assert len(chat.server.store.threads) == 1


def test_offline_is_told_and_mended(chat: Chat, context: BrowserContext) -> None:
    """Without a network the visitor reads so, and sends the same words when it is back."""
    chat.open()
    context.set_offline(True)
    chat.say("Hello")
    chat.page.get_by_text("You seem to be offline.").wait_for()
    context.set_offline(False)
    chat.button("Send message").click()
    chat.shows("You said Hello")


def test_broken_connection_is_told(chat: Chat) -> None:
    """A stream that breaks off is told as such, and what came stays."""

    def broken(connection: socket.socket) -> Iterator[bytes]:
        yield sse(*created("Part"))
        time.sleep(0.5)
        connection.shutdown(socket.SHUT_RDWR)

    def answer(body: Any) -> Response:
        response = stream(*[])
        response.response = broken(request.environ["werkzeug.socket"])
        response.headers["Content-Length"] = "99999"
        return response

    chat.app.config["ANSWER"] = answer
    chat.open()
    chat.say("Hello")
    chat.page.get_by_role("alert").filter(has_text="The connection was lost").wait_for()
    chat.shows("Part")


def test_stop_keeps_what_was_said(chat: Chat) -> None:
    """Stop ends the answer on the server too, keeps the beginning, and the chat goes on."""
    chat.open()
    chat.type("wait")
    chat.shows("The beginning,")
    chat.button("Stop the answer").click()
    assert chat.server.cancelled.wait(5)
    chat.button("Send message").wait_for()
    chat.shows("The beginning,")
    assert chat.seen("error") == []
    chat.say("again")
    chat.shows("You said again")


def test_closed_thread_takes_no_more(chat: Chat) -> None:
    """A closed thread says why instead of a composer, and offers a new chat."""
    chat.open()
    chat.say("close")
    chat.page.get_by_text("We are closed for today.").wait_for()
    assert not chat.field.is_visible()
    chat.button("New chat").last.click()
    chat.field.wait_for()
    assert chat.seen("thread.change")[-1] == {"threadId": None}


# --- threads -------------------------------------------------------------------------------------


def test_history_lists_opens_renames_and_deletes(chat: Chat) -> None:
    """The list of chats opens one, renames one in place, and deletes one after asking."""
    chat.open()
    for text in ("First one", "Second one"):
        chat.say(text)
        chat.button("New chat").click()
    chat.button("Chats").click()
    chat.button("Rename: First one").click()
    chat.page.get_by_role("textbox", name="Title").fill("The very first")
    chat.page.keyboard.press("Enter")
    chat.button("The very first Nov").or_(chat.button("Rename: The very first")).last.wait_for()
    chat.button("Delete: Second one").click()
    chat.button("Cancel").click()
    assert len(chat.server.store.threads) == 2
    chat.button("Delete: Second one").click()
    chat.button("Delete", exact=True).click()
    until(lambda: len(chat.server.store.threads) == 1)
    chat.page.locator(".past .item").click()
    chat.shows("You said First one")
    assert chat.page.get_by_role("heading", level=2).first.inner_text() == "The very first"
    assert [len(chat.seen(f"history.{each}")) for each in ("open", "close")] == [1, 1]
    assert chat.seen("thread.load.start") == chat.seen("thread.load.end")


def test_deleting_the_open_thread_starts_a_new_chat(chat: Chat) -> None:
    """When the thread on the screen is deleted, the list stays open over a new chat."""
    chat.open()
    chat.say("Hello")
    chat.button("Chats").click()
    chat.button("Delete: Hello").click()
    chat.button("Delete", exact=True).click()
    chat.page.get_by_text("No chats yet.").wait_for()
    chat.page.keyboard.press("Escape")
    assert chat.seen("thread.change")[-1] == {"threadId": None}
    chat.say("Hello again")
    chat.shows("You said Hello again")


def fill(chat: Chat, threads: int, messages: int) -> None:
    store = chat.server.store
    for n in range(threads):
        meta = site.ThreadMetadata(id=f"thr_x{n}", title=f"Thread {n}", created_at=site.now())
        store.threads[meta.id] = meta
        store.items[meta.id] = {}
        for m in range(messages):
            item = chat.server.say(meta, f"Message {m}").item
            store.items[meta.id][item.id] = item


def test_long_lists_come_in_pages(chat: Chat) -> None:
    """A long history and a long thread show the newest first, and more when asked."""
    fill(chat, 35, 75)
    chat.open("initialThread: 'thr_x3'")
    chat.shows("Message 74")
    assert chat.answers.count() == 30
    chat.wait(
        "((l) => l.scrollTop + l.clientHeight > l.scrollHeight - 5)(root.querySelector('.log'))"
    )
    for count in (60, 75):
        chat.button("Show earlier messages").click()
        chat.wait("root.querySelectorAll('article').length === arg", count)
    texts = chat.answers.locator(".md").all_text_contents()
    assert texts == [f"Message {n}" for n in range(75)]
    assert not chat.button("Show earlier messages").is_visible()
    chat.button("Chats").click()
    chat.button("Show more").click()
    chat.wait("root.querySelectorAll('.past').length === 35")


def test_missing_thread_is_told(chat: Chat) -> None:
    """A remembered thread that is gone leaves a new chat and a word about it."""
    chat.open("initialThread: 'thr_gone'")
    chat.page.get_by_text("That chat does not exist any more.").wait_for()
    assert chat.seen("thread.change")[-1] == {"threadId": None}
    chat.say("Hello")
    chat.shows("You said Hello")


def test_methods_do_what_chatkit_documents(chat: Chat) -> None:
    """The eight methods are promises with ChatKit's effects."""
    chat.open(ALL)
    chat.run("el.sendUserMessage({text: 'Hello', model: 'b', toolChoice: {id: 'web'}})")
    chat.shows("You said Hello")
    chat.idle()
    options = chat.server.inputs[0].inference_options
    assert (options.model, options.tool_choice.id) == ("b", "web")
    first = chat.thread()
    chat.run("el.sendUserMessage({text: 'Anew', newThread: true})")
    chat.shows("You said Anew")
    chat.idle()
    assert len(chat.server.store.threads) == 2
    chat.run("el.setThreadId(arg)", first)
    chat.shows("You said Hello")
    chat.run("el.setComposerValue({text: 'Draft', reply: 'quoted', selectedToolId: 'web'})")
    assert chat.field.input_value() == "Draft"
    assert chat.seen("tool.change") == [{"toolId": "web"}]
    chat.field.press("Enter")
    chat.shows("You said Draft")
    chat.idle()
    assert chat.server.inputs[-1].quoted_text == "quoted"
    assert chat.seen("tool.change")[-1] == {"toolId": None}
    chat.run("el.sendCustomAction({type: 'hi', payload: {a: 1}})")
    chat.shows('Action hi {"a": 1}')
    chat.run("el.showHistory()")
    chat.button("Back to the chat").wait_for()
    chat.run("el.hideHistory()")
    chat.run("el.focusComposer()")
    assert chat.run("root.activeElement.tagName") == "TEXTAREA"
    meta = chat.server.store.threads[first]
    item = chat.server.say(meta, "From elsewhere").item
    chat.server.store.items[first][item.id] = item
    chat.run("el.fetchUpdates()")
    chat.shows("From elsewhere")
    chat.run("el.setThreadId(null)")
    chat.page.get_by_text("Welcome").wait_for()


def test_answer_goes_on_when_the_chat_is_left(chat: Chat) -> None:
    """Who starts a new chat during an answer finds it whole in the history."""
    chat.open()
    chat.type("wait")
    chat.shows("The beginning,")
    chat.button("New chat").click()
    chat.say("Something else")
    assert chat.answers.locator(".md").all_inner_texts() == ["You said Something else"]
    chat.server.go.set()
    chat.button("Chats").click()
    chat.page.locator(".past .item", has_text="wait").click()
    chat.shows("and the end.")


def test_theme_switch_keeps_everything(chat: Chat) -> None:
    """Setting the full options again in another theme keeps thread, draft, focus and an answer."""
    chat.open(ALL)
    chat.say("form")
    chat.page.get_by_label("Your name").fill("Ann")
    chat.type("wait")
    chat.shows("The beginning,")
    chat.field.fill("A draft")
    chat.run("el.setOptions({...base(), theme: {colorScheme: 'dark'}})")
    chat.run("el.setOptions({...base(), theme: 'dark', disclaimer: {text: 'New'}})")
    assert chat.run("getComputedStyle(root.querySelector('.chat')).backgroundColor") != (
        "rgb(255, 255, 255)"
    )
    assert chat.field.input_value() == "A draft"
    assert chat.page.get_by_label("Your name").input_value() == "Ann"
    chat.server.go.set()
    chat.shows("The beginning, and the end.")
    assert len(chat.server.store.threads) == 1
    assert chat.run("root.activeElement.tagName") == "TEXTAREA"


def test_words_can_be_others(chat: Chat) -> None:
    """A site's own words replace the English ones, also after the start."""
    chat.open()
    chat.run("el.setStrings({send: 'Senden', message: 'Nachricht', newChat: 'Neu'})")
    chat.button("Senden").wait_for()
    chat.page.get_by_role("textbox", name="Nachricht").wait_for()


# --- feedback, retry, tools ----------------------------------------------------------------------


def test_feedback_and_retry(chat: Chat) -> None:
    """Feedback names the items of the turn; retry answers the same message anew."""
    chat.open(ALL)
    chat.say("Hello")
    chat.button("Good answer").click()
    chat.page.get_by_text("Thank you for the feedback.").wait_for(state="attached")
    ((thread, items, kind),) = chat.server.feedback
    assert (thread, kind) == (chat.thread(), "positive")
    assert items == [list(chat.server.store.items[thread])[1]]
    assert chat.button("Good answer").get_attribute("aria-pressed") == "true"
    chat.button("Try again").click()
    chat.wait("seen.filter(([e]) => e === 'response.end').length === 2")
    assert chat.answers.count() == 1
    assert list(chat.server.store.items[thread])[1] != items[0]


TOOL = "onClientTool: async ({name, params}) => { await 0; return {said: name + params.of}; },"


def test_client_tools_run_in_the_page(chat: Chat) -> None:
    """A client tool is run in the page and the answer goes on with its result."""
    chat.open(TOOL)
    chat.say("tool")
    chat.shows('The tool said {"said": "coloursky"}')


def test_failing_client_tool_does_not_hang_the_thread(chat: Chat) -> None:
    """A client tool that throws, or that nobody handles, is answered with its error."""
    chat.open()
    chat.say("tool")
    chat.shows("No handler for the client tool colour")


def test_client_tool_goes_on_after_a_reload(chat: Chat) -> None:
    """A call that was left unanswered by a reload is offered again when its thread is opened."""
    chat.open("onClientTool: () => new Promise(() => {}),")
    chat.type("tool")
    until(lambda: len(chat.server.store.items.get("thr_1", {})) == 2)
    chat.open(TOOL + "initialThread: 'thr_1'")
    chat.button("Continue").click()
    chat.shows('The tool said {"said": "coloursky"}')


# --- widgets, tasks, forms -----------------------------------------------------------------------


def test_widget_actions_go_where_they_should(chat: Chat) -> None:
    """Buttons of a card act on the server, in the page, or as one quick change of the item."""
    chat.open("widgets: {onAction: async (action, item) => { window.acted = [action, item.id]; }},")
    chat.say("card")
    chat.button("Look").click()
    assert chat.run("acted")[0] == {"type": "look", "payload": {"id": 17}}
    chat.button("Buy").click()
    chat.shows('Action buy {"id": 17}')
    chat.idle()
    chat.button("Note").click()
    chat.shows("Noted")
    item = chat.run("acted")[1]
    assert chat.server.actions == [("buy", {"id": 17}, item), ("note", {"id": 17}, item)]
    assert chat.page.get_by_text("Green tea").count() == 0


def test_forms_send_their_values(chat: Chat) -> None:
    """A form is checked by the browser and its values are in the payload by their names."""
    chat.open()
    chat.say("form")
    chat.button("Book").click()
    assert chat.server.actions == []
    chat.page.get_by_label("Your name").fill("Ann")
    chat.page.get_by_label("Wishes").fill("Quiet")
    chat.page.get_by_label("Where?").select_option("out")
    chat.page.get_by_label("Day").fill("2026-12-24")
    chat.page.get_by_label("With a dog").check()
    chat.page.get_by_role("radiogroup", name="Size").get_by_label("Large").check()
    chat.button("Book").click()
    chat.shows("Action book")
    assert chat.server.actions[0][1] == {
        "table": 4,
        "guest": {"name": "Ann"},
        "wish": "Quiet",
        "seat": "out",
        "day": "2026-12-24",
        "dog": True,
        "size": "l",
    }


def test_lists_and_charts_are_readable(chat: Chat) -> None:
    """List rows act and grow, a chart is a table, and the unknown shows its words."""
    chat.open()
    chat.say("list")
    assert chat.button("Row 3").count() == 0
    chat.button("Show more").click()
    chat.button("Row 3").click()
    chat.shows('Action pick {"n": 3}')
    chat.idle()
    chat.say("chart")
    assert chat.page.get_by_role("row").all_inner_texts()[:3] == ["\tVisits", "May\t3", "June\t5"]
    assert chat.page.get_by_role("columnheader", name="City").count() == 1
    chat.shows("From the future")


def test_widgets_stream(chat: Chat) -> None:
    """Text of a widget grows, components and roots are replaced, and what was typed stays."""
    chat.open()
    chat.type("live")
    chat.shows("One two")
    chat.page.get_by_label("kept").fill("mine")
    chat.page.get_by_label("kept").focus()
    chat.server.go.set()
    chat.shows("Five")
    assert chat.page.locator("article.widget .badge").inner_text() == "Four"


def test_tasks_are_told(chat: Chat) -> None:
    """Thinking shows what it is at, then how long it took; its steps can be opened."""
    chat.open()
    chat.type("think")
    summary = chat.page.locator("summary").first
    summary.filter(has_text="Weighing").wait_for()
    summary.click()
    chat.server.go.set()
    summary.filter(has_text="Thought for 1 min 15 sec").wait_for()
    chat.log.get_by_text("Is it tea?").wait_for()
    assert chat.page.get_by_role("link", name="Tea").count() == 1
    chat.shows("Boil")
    chat.shows("Pour")


def test_generated_images_show(chat: Chat) -> None:
    """A generated image is a picture with a name."""
    chat.open()
    chat.say("draw")
    image = chat.page.get_by_role("img", name="Generated image")
    assert image.get_attribute("src") == site.PIXEL


def test_questions_are_answered(chat: Chat) -> None:
    """Structured input is a form: choices, several choices, another answer, free text."""
    chat.open()
    chat.say("ask")
    chat.page.get_by_role("radio", name="Green").check()
    for box in ("Green", "Black"):
        chat.page.get_by_role("checkbox", name=box).check()
    chat.page.get_by_label("With what? Another answer").fill("Milk")
    chat.page.get_by_label("Anything else?").fill("No")
    chat.button("Send answers").click()
    chat.shows("answered: [['Green'], ['Green', 'Black', 'Milk'], ['No']]")
    assert chat.page.get_by_role("definition").all_inner_texts() == [
        "Green",
        "Green, Black, Milk",
        "No",
    ]


def test_questions_are_skipped(chat: Chat) -> None:
    """Structured input can be skipped as a whole."""
    chat.open()
    chat.say("ask")
    chat.button("Skip").click()
    chat.shows("skipped: [[], [], []]")


# --- attachments ---------------------------------------------------------------------------------

IMAGE = {"name": "dot.png", "mimeType": "image/png", "buffer": site.PNG}
PAPER = {"name": "bill.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"}


@pytest.mark.parametrize("way", ["direct", "two"])
def test_files_are_uploaded_and_sent(chat: Chat, console: Any, way: str) -> None:
    """Files go up in either way with the site's own fetch, show a preview, and are sent."""
    chat.open(ALL, upload=way)
    chat.run(
        "el.setOptions({...base(), api: {...base().api, fetch: (url, init) => fetch(url,"
        " {...init, headers: {...init.headers, Authorization: 'Bearer x'}})}})"
    )
    chat.page.locator("input[type=file]").set_input_files([IMAGE, PAPER])
    chat.page.get_by_role("img", name="dot.png").wait_for()
    chat.button("Remove bill.pdf").wait_for()
    until(lambda: len(chat.app.config["UPLOADS"]) == 2)
    for _name, _data, headers in chat.app.config["UPLOADS"]:
        assert headers["Authorization"] == "Bearer x"
        assert ("X-Upload" in headers) is (way == "two")
    assert {data for _name, data, _headers in chat.app.config["UPLOADS"]} == {site.PNG, b"%PDF"}
    chat.wait("!root.querySelector('.composer .spinner')")
    chat.button("Send message").click()
    chat.shows("I got")
    assert {each.name for each in chat.server.inputs[0].attachments} == {"dot.png", "bill.pdf"}
    assert chat.page.locator("article.user_message .file").count() == 2
    assert console.all == []


def test_files_can_be_taken_back(chat: Chat) -> None:
    """A removed file is deleted on the server and not sent."""
    chat.open(ALL)
    chat.page.locator("input[type=file]").set_input_files([PAPER])
    chat.wait("!root.querySelector('.composer .spinner')")
    chat.button("Remove bill.pdf").click()
    until(lambda: chat.server.uploads.deleted == ["atc_1"])


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ("maxSize: 3", "bill.pdf is too large. A file may have up to 3 B."),
        ("maxSize: {'application/*': 2048, '*': 1}", None),
        ("maxSize: {'image/*': 2048, '*': 1}", "too large"),
        ("accept: {'image/*': ['.png']}", "bill.pdf is not a kind of file"),
        ("accept: {'x/y': ['.PDF']}", None),
        ("maxCount: 0", "Up to 0 files"),
    ],
)
def test_files_are_checked_first(chat: Chat, limits: str, told: str | None) -> None:
    """Size, kind and number are checked before anything is sent, in readable words."""
    chat.open("composer: {attachments: {enabled: true, " + limits + "}}")
    chat.page.locator("input[type=file]").set_input_files([PAPER])
    if told:
        chat.page.get_by_role("alert").filter(has_text=told).wait_for()
        assert chat.app.config["UPLOADS"] == []
    else:
        chat.button("Remove bill.pdf").wait_for()


def test_failed_upload_can_be_repeated(chat: Chat) -> None:
    """An upload that fails says so and can be tried again."""
    chat.page.route("**/upload", lambda route: route.abort())
    chat.open(ALL)
    chat.page.locator("input[type=file]").set_input_files([PAPER])
    chat.page.get_by_text("bill.pdf could not be uploaded.").wait_for()
    chat.page.unroute("**/upload")
    chat.button("Try again").click()
    chat.wait("!root.querySelector('.composer .failed, .spinner')")
    chat.say("here")
    assert [each.name for each in chat.server.inputs[0].attachments] == ["bill.pdf"]


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_files_are_dropped_and_pasted(chat: Chat, how: str) -> None:
    """A file that is dropped on the chat, or pasted into the field, is attached."""
    chat.open(ALL)
    chat.run(
        """(() => {
          const data = new DataTransfer();
          data.items.add(new File(["x"], "note.txt", {type: "text/plain"}));
          const given = {bubbles: true, cancelable: true, composed: true};
          const event = arg === "drop"
            ? new DragEvent("drop", {...given, dataTransfer: data})
            : new ClipboardEvent("paste", {...given, clipboardData: data});
          root.querySelector("textarea").dispatchEvent(event);
        })()""",
        how,
    )
    chat.button("Remove note.txt").wait_for()


# --- everybody -----------------------------------------------------------------------------------


def test_chat_is_used_by_keyboard_alone(chat: Chat) -> None:
    """Tab reaches everything, Shift+Enter is a new line, Esc closes only the list."""
    chat.open(ALL)
    chat.page.evaluate(
        "document.addEventListener('keydown', ({ key }) => {"
        " if (key === 'Escape') window.escaped = 1; })"
    )
    chat.field.focus()
    for key in ("a", "Shift+Enter", "b", "Enter"):
        chat.page.keyboard.press(key)
    chat.shows("You said a")
    chat.idle()
    names = set()
    chat.page.evaluate("document.activeElement.blur()")
    for _ in range(30):
        chat.page.keyboard.press("Tab")
        names.add(chat.run("root.activeElement?.ariaLabel ?? root.activeElement?.textContent"))
    wanted = {"New chat", "Chats", "Messages", "Copy", "Good answer", "Bad answer", "Try again"}
    assert wanted | {"Message", "Add and choose", "Model: Careful", "Send message"} <= names
    chat.button("Chats").focus()
    chat.page.keyboard.press("Enter")
    chat.button("Back to the chat").wait_for()
    assert chat.run("root.activeElement.ariaLabel") == "Back to the chat"
    assert chat.run("root.querySelector('.main').inert")
    chat.page.keyboard.press("Escape")
    assert chat.run("root.activeElement.ariaLabel") == "Chats"
    assert chat.run("window.escaped") is None
    chat.page.keyboard.press("Escape")
    assert chat.run("window.escaped") == 1


def test_enter_of_an_input_method_does_not_send(chat: Chat) -> None:
    """Enter that ends the composing of a word is not a send."""
    chat.open()
    chat.field.fill("にほん")
    chat.run(
        "root.querySelector('textarea').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    assert chat.seen("response.start") == []


def test_finished_answers_are_announced_once(chat: Chat) -> None:
    """The live region says that an answer comes, then the whole answer, never the pieces."""
    chat.open()
    chat.run(
        """new MutationObserver(() => {
          (window.said ??= []).push(root.querySelector('[role=status]').textContent);
        }).observe(root.querySelector('[role=status]'), {childList: true, subtree: true})"""
    )
    chat.say("stream")
    said = chat.run("said")
    assert said[0] == "The assistant is answering."
    assert len(said) == 2
    assert "A second line." in said[1]
    assert chat.log.get_attribute("aria-live") == "off"


def axe(chat: Chat, node_modules: Path) -> list[str]:
    """What axe finds on the page as it is."""
    chat.page.wait_for_timeout(50)
    source = (node_modules / "axe-core" / "axe.min.js").read_text("utf-8")
    chat.page.evaluate(source)
    found = chat.page.evaluate(
        "(tags) => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", AXE
    )
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


THEMES = {
    "light": "theme: 'light'",
    "dark": "theme: {colorScheme: 'dark'}",
    "yellow": "theme: {color: {accent: {primary: '#ffe000', level: 3}}}",
    "navy": "theme: {colorScheme: 'dark', color: {accent: {primary: 'navy', level: 2}}}",
    "paper": (
        "theme: {color: {surface: {background: '#f4ecd8', foreground: '#4b3a20'},"
        " grayscale: {hue: 40, tint: 5}}, density: 'compact', radius: 'sharp'}"
    ),
    "rtl": "theme: 'light'",
    "small": "theme: 'light'",
    "forced": "theme: 'light'",
}


@pytest.mark.parametrize("case", THEMES)
def test_axe_finds_nothing(chat: Chat, node_modules: Path, case: str) -> None:
    """In every theme, direction and size axe has nothing to say, whatever is on the screen."""
    if case == "forced":
        chat.page.emulate_media(forced_colors="active")
    if case == "small":
        chat.page.set_viewport_size({"width": 320, "height": 256})
    chat.server.go.set()
    chat.open(ALL + THEMES[case], query="?rtl" if case == "rtl" else "")
    assert axe(chat, node_modules) == []
    for text in ("stream", "sources", "card", "form", "list", "chart", "think", "ask", "fail"):
        chat.say(text)
    chat.page.evaluate("for (const d of el.shadowRoot.querySelectorAll('details')) d.open = true")
    chat.page.locator("input[type=file]").set_input_files([IMAGE, PAPER])
    chat.wait("!root.querySelector('.composer .spinner')")
    assert axe(chat, node_modules) == []
    chat.button("Chats").click()
    chat.page.locator(".past").first.wait_for()
    assert axe(chat, node_modules) == []


@pytest.mark.parametrize(("width", "height"), [(320, 256), (390, 844), (1000, 800)])
def test_nothing_overflows(chat: Chat, width: int, height: int) -> None:
    """In small and large boxes nothing sticks out, and field, button and messages are in view."""
    chat.page.set_viewport_size({"width": width, "height": height})
    chat.open(ALL)
    for text in ("stream", "form", "word" + "x" * 300):
        chat.say(text)
    for part in (chat.field, chat.button("Send message"), chat.button("Chats"), chat.log):
        box = part.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
    assert chat.log.bounding_box()["height"] >= 100
    assert chat.run("((log) => log.scrollWidth <= log.clientWidth)(root.querySelector('.log'))")


SMALL_TARGETS = """[...root.querySelectorAll('button, select, summary')]
      .filter((node) => node.checkVisibility())
      .map((b) => [b.ariaLabel ?? b.textContent, b.getBoundingClientRect()])
      .filter(([, r]) => Math.round(r.width) < arg || Math.round(r.height) < arg)
      .map(([name]) => name)"""


def test_targets_are_large_enough(chat: Chat) -> None:
    """Every button is at least 24 px each way."""
    chat.open(ALL)
    for text in ("sources", "stream", "ask"):
        chat.say(text)
    assert chat.run(SMALL_TARGETS, 24) == []


def test_targets_fit_fingers(browser: Any, chat: Chat) -> None:
    """Where fingers point, every button is at least 44 px each way, and text is not zoomed."""
    with browser.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}
    ) as c:
        chat.page = c.new_page()
        chat.open(ALL + "theme: {typography: {baseSize: 14}}")
        for text in ("sources", "stream", "ask"):
            chat.say(text)
        assert chat.page.evaluate("matchMedia('(pointer: coarse)').matches")
        assert chat.run(SMALL_TARGETS, 44) == []
        assert chat.run("getComputedStyle(root.querySelector('textarea')).fontSize") == "16px"
        chat.button("Chats").click()
        chat.page.locator(".past").first.wait_for()
        assert chat.run(SMALL_TARGETS, 44) == []


def test_motion_is_reduced_on_request(chat: Chat) -> None:
    """With reduced motion nothing turns or pulses."""
    chat.page.emulate_media(reduced_motion="reduce")
    chat.open()
    chat.type("effect")
    chat.page.locator(".spinner").wait_for()
    assert chat.run("root.getAnimations().length") == 0


def test_element_is_of_openais_type(node_modules: Path, tmp_path: Path) -> None:
    """The class has the methods of OpenAIChatKit with its parameters, judged by tsc."""
    judged = tmp_path / "judged.js"
    judged.write_text(
        'import { BuiltinChat } from "./static/builtin/element.js";\n'
        "/** @type {import('@openai/chatkit').OpenAIChatKit} */\n"
        "const judged = new BuiltinChat();\n"
    )
    (tmp_path / "node_modules").symlink_to(node_modules)
    element = Path(shutil.copytree(STATIC, tmp_path / "static")) / "builtin" / "element.js"

    def complaints() -> list[str]:
        done = subprocess.run(
            [
                *(str(node_modules / ".bin" / "tsc"), "--allowJs", "--checkJs", "--noEmit"),
                *("--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"),
                *("--strict", "false", "--types", "", "--ignoreConfig", judged.name),
            ],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return [line for line in done.stdout.splitlines() if line.startswith(judged.name)]

    assert complaints() == []
    source = element.read_text("utf-8")
    element.write_text(source.replace("async fetchUpdates()", "async fetch()"), "utf-8")
    assert "fetchUpdates" in complaints()[0]
