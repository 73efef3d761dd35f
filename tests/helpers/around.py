"""What `tests/browser/test_around.py` drives: a site, a visitor in one of two chats, their texts.

Each message is answered with two sentences; between them an answer to a *slow* message waits until
the test lets it go on. The site stands behind a proxy that breaks real connections.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol

from flask_login import current_user, login_required

from flask_chatkit import ChatKit
from flask_chatkit.server.streaming import loop
from tests.helpers import pages

if TYPE_CHECKING:
    from playwright.sync_api import Frame, FrameLocator, Locator, Page

#: The two sentences of an answer.
FIRST, LAST = "First words for {}.", "And the last ones."
SECONDS = 25


def first(text: str) -> str:
    """How the answer to a message begins."""
    return FIRST.format(text)


def whole(text: str) -> str:
    """The whole answer to a message."""
    return f"{first(text)} {LAST}"


def is_of(shown: str, text: str) -> bool:
    """Whether what is shown is a text, or an answer that begins with it."""
    return shown == text or (shown == f"{text} {LAST}")


class Goes(Protocol):
    """What lets slow answers go on."""

    def go_on(self) -> None:
        """Let all of them go on."""
        ...


class Teller:
    """A kit whose chat answers as above, for visitors who may sign in; or have to."""

    def __init__(self, *, guarded: bool = False) -> None:
        #: Of the next answer: "first" raises before it, "middle" between its sentences.
        self.fault: str | None = None
        #: The messages that were answered.
        self.begun: list[str] = []
        self._gates: list[asyncio.Event] = []
        self.kit = ChatKit()
        self.kit.assistant(max_message_length=60)(self.answer)
        self.kit.user_loader(
            lambda: current_user.get_id() if current_user.is_authenticated else None
        )
        if guarded:
            self.kit.before_request(login_required(lambda: None))

    async def answer(self, message: Any, _chat: Any) -> AsyncIterator[str]:
        """Answer a message."""
        fault, self.fault = self.fault, None
        self.begun.append(message.text)
        if fault == "first":
            raise RuntimeError("the model is at 10.0.0.7")
        yield f"{first(message.text)} "
        if fault == "middle":
            raise RuntimeError("the model is at 10.0.0.7")
        if message.text.startswith("slow"):
            gate = asyncio.Event()
            self._gates.append(gate)
            await gate.wait()
        yield LAST

    def go_on(self) -> None:
        """Let the slow answers go on."""
        for gate in self._gates:
            loop.current().call(gate.set)


class BuiltIn:
    """The built-in chat, on a network on which OpenAI's script is blocked."""

    name = "built-in"
    send = "Send message"
    stop = "Stop the answer"

    def __init__(self, page: Page) -> None:
        self.page = page
        self.block()

    def block(self) -> None:
        """Keep OpenAI's script away."""
        self.page.route(re.compile("/deployments/"), lambda route: route.abort())

    @property
    def root(self) -> Locator | FrameLocator:
        """What the chat is in."""
        return self.page.locator("flask-chatkit-chat")

    @property
    def field(self) -> Locator:
        """Where a visitor writes."""
        return self.root.get_by_role("textbox", name="Message", exact=True)

    @property
    def rows(self) -> Locator:
        """The texts of the conversation."""
        return self.root.locator(":is(.bubble, .assistant_message .md):visible")

    def texts(self) -> list[str]:
        """What a visitor reads in the conversation."""
        return [" ".join(text.split()) for text in self.rows.all_inner_texts()]


class OpenAI(BuiltIn):
    """The stand-in of OpenAI's element, whose frame nobody can look into but the test."""

    name = "OpenAI's"
    send = "Send"
    stop = "Stop"

    def block(self) -> None:
        """Let OpenAI's script come."""

    @property
    def root(self) -> FrameLocator:
        """What the chat is in."""
        return pages.chat(self.page)

    @property
    def rows(self) -> Locator:
        """The texts of the conversation."""
        return self.root.locator("#log .text:visible")


CHATS = {"built-in": BuiltIn, "OpenAI's": OpenAI}

#: The controls of a widget and of what is in its shadow, as a visitor meets them: their names, and
#: what covers the middle of each.
CONTROLS = """(root) => {
  const found = [];
  const walk = (node) => {
    if (node.nodeType === 1 && node.matches("button, a[href], summary, [role=menuitem]")) {
      const isSeen = node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
      if (isSeen && !node.disabled && node.ariaDisabled !== "true" && !node.closest("[inert]")) {
        node.scrollIntoView({ block: "nearest" });
        const { left, top, width, height } = node.getBoundingClientRect();
        let hit = document.elementFromPoint(left + width / 2, top + height / 2);
        while (hit?.shadowRoot?.elementFromPoint) {
          const inner = hit.shadowRoot.elementFromPoint(left + width / 2, top + height / 2);
          if (!inner || inner === hit) break;
          hit = inner;
        }
        const name = node.getAttribute("aria-label") || node.textContent.trim();
        found.push({ name, over: node.contains(hit) ? "" : hit?.outerHTML ?? "nothing" });
      }
    }
    if (node.shadowRoot) walk(node.shadowRoot);
    for (const child of node.children ?? []) walk(child);
  };
  walk(root);
  return found;
}"""
#: What can be seen or heard of a document, its shadows included.
SEEN = """() => {
  const told = [];
  const walk = (node) => {
    if (node.nodeType === 3) told.push(node.data);
    if (node.nodeType !== 1 && node.nodeType !== 11) return;
    if (node.nodeType === 1) {
      told.push(node.localName, node.value ?? "", node.open ?? "");
      for (const { name, value } of node.attributes) told.push(name + "=" + value);
    }
    if (node.shadowRoot) walk(node.shadowRoot);
    for (const child of node.childNodes) walk(child);
  };
  walk(document.body);
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return told.join("|") + "@" + (at?.getAttribute("aria-label") ?? at?.textContent ?? "");
}"""


class Around:
    """A visitor on a page of a site, and what they have written and read there.

    :ivar kept: what has to be there still: texts, or how they begin.
    :ivar find: how a conversation is found again on a page that was loaded.
    """

    def __init__(self, page: Page, kind: type[BuiltIn], base: str, teller: Goes) -> None:
        self.page, self.base, self.teller = page, base, teller
        self.chat = kind(page)
        self.kept: list[str] = []
        self.find: Callable[[], object] = lambda: None

    # --- pages

    def open(self, path: str = "/") -> Around:
        """Go to a page, and open its chat."""
        self.page.goto(self.base + path)
        return self.again()

    def again(self) -> Around:
        """Open the chat on the page that has come, unless it is open."""
        pages.until(self.page, "'FlaskChatKit' in window")
        self.page.evaluate("FlaskChatKit.get().open()")
        pages.ready(self.page)
        self.chat.field.wait_for()
        return self

    def reload(self) -> None:
        """Load the page anew."""
        self.page.reload()
        self.again()
        self.find()

    # --- what a visitor does

    def button(self, name: str) -> Locator:
        """A button of the chat by its name, the newest of them."""
        return self.chat.root.get_by_role("button", name=name, exact=True).last

    def bar(self, name: str) -> Locator:
        """A button above the chat, by its name."""
        return self.page.locator(".chatkit-bar").get_by_role("button", name=name, exact=True)

    def notice(self, name: str, role: Any = "button") -> Locator:
        """A button or link of what the widget says in the chat's place, or above it."""
        return self.page.locator(".chatkit-notice").get_by_role(role, name=name, exact=True)

    def write(self, text: str) -> None:
        """Write something, without sending it."""
        self.chat.field.fill(text)
        self.kept.append(text)

    def press_send(self) -> None:
        """Send what is in the field."""
        self.button(self.chat.send).click()

    def sends(self, text: str) -> None:
        """Send what is in the field by the button, and read the answer."""
        self.press_send()
        self.reads(whole(text))

    def say(self, text: str) -> None:
        """Write something, send it, and read the answer."""
        self.write(text)
        self.sends(text)
        self.kept.append(whole(text))

    # --- what they find

    def reads(self, text: str) -> None:
        """Wait for a text in the conversation."""
        self.until(lambda: text in self.chat.texts(), f"“{text}” is not in the conversation")
        self.idle()

    def idle(self) -> None:
        """Wait until no answer is coming in."""
        stop = self.chat.root.get_by_role("button", name=self.chat.stop, exact=True)
        stop.first.wait_for(state="detached")

    def keeps(self, when: str) -> None:
        """Check that all that they wrote and read is there, and nothing of it twice."""
        wanted = dict.fromkeys(self.kept)

        def missing() -> list[str]:
            shown = [*self.chat.texts(), self.chat.field.input_value()]
            # OpenAI's element shows what was refused where it was sent, too.
            most = 1 if type(self.chat) is BuiltIn else 2
            counts = {text: sum(is_of(one, text) for one in shown) for text in wanted}
            return [text for text, count in counts.items() if not 1 <= count <= most]

        self.until(lambda: not missing(), f"{when}, this is not there, or twice: {wanted}")

    def until(self, check: Callable[[], object], told: str) -> None:
        """Wait for something, while the page goes on."""
        end = time.monotonic() + SECONDS
        while not check():
            if time.monotonic() > end:
                shown = [*self.chat.texts(), "field:", self.chat.field.input_value()]
                raise AssertionError(f"{told}; there is {shown}")
            self.page.wait_for_timeout(50)

    # --- no dead control

    def controls(self) -> list[str]:
        """The names of the controls that can be used now; none of them is covered."""
        found = self.page.locator("[data-chatkit]").evaluate(CONTROLS)
        found += [
            one
            for frame in self._frames()
            for one in frame.evaluate(f"({CONTROLS})(document.body)")
        ]
        assert all(one["name"] for one in found), found
        assert {one["name"]: one["over"] for one in found if one["over"]} == {}
        return [one["name"] for one in found]

    def _frames(self) -> list[Frame]:
        return [] if type(self.chat) is BuiltIn else self.page.frames[1:]

    def _seen(self) -> list[str]:
        return [frame.evaluate(SEEN) for frame in [self.page.main_frame, *self._frames()]]

    def press(self, control: Locator) -> None:
        """Click a control, which has to do something that can be seen."""
        name = control.evaluate("(node) => node.getAttribute('aria-label') ?? node.textContent")
        before = self._seen()
        control.click()
        self.until(lambda: self._seen() != before, f"the control {name} is dead")

    def alive(self) -> None:
        """Check that the chat goes on, and that each control that there is does what it says."""
        self.say("still there?")
        names = self.controls()
        unknown = set(names) - set(KNOWN)
        assert not unknown, f"say in KNOWN what these do: {unknown}"
        for name, check in KNOWN.items():
            if name in names and check:
                check(self)
        self.keeps("after each control was used")

    def goes_to_history(self) -> None:
        """Leave the conversation for a new one, and come back by the history."""
        self.press(self.bar("New chat"))
        self.until(lambda: self.chat.texts() == [], "New chat shows the old one")
        self.press(self.bar("Earlier chats"))
        self.opens_last()

    def opens_last(self) -> None:
        """Choose the last conversation of the history."""
        title = self.kept[0]
        self.chat.root.get_by_role("button", name=re.compile(rf"^{re.escape(title)}")).first.click()
        self.until(self.chat.texts, "no conversation")

    def closes(self) -> None:
        """Close the panel, and open it by the launcher."""
        self.press(self.bar("Close chat"))
        self.press(pages.launcher(self.page))
        self.chat.field.wait_for()

    def edits(self) -> None:
        """Begin to edit the last message, and leave it."""
        self.press(self.button("Edit message"))
        self.press(self.button("Cancel"))

    def answers_again(self) -> None:
        """Have the last message answered again."""
        self.press(self.button("Try again"))
        self.page.wait_for_timeout(300)
        self.reads(self.kept[-1])

    def asks(self) -> None:
        """Begin to have an earlier message answered again, and leave it."""
        self.press(self.button("Try again from here"))
        self.press(self.button("Cancel"))


#: What each control does; None for what another one here has used.
KNOWN: dict[str, Callable[[Around], object] | None] = {
    "Chat": None,
    "Copy": lambda around: around.press(around.button("Copy")),
    "Edit message": Around.edits,
    "Try again": Around.answers_again,
    "Try again from here": Around.asks,
    "Earlier chats": None,
    "New chat": Around.goes_to_history,
    "Close chat": Around.closes,
}
