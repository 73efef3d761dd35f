"""A shop's own ChatKitServer that does what it is told, and a visitor who speaks its protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from chatkit.errors import CustomStreamError
from chatkit.server import ChatKitServer
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    Attachment,
    ClientToolCallItem,
    ClosedStatus,
    LockedStatus,
    Page,
    StructuredInputFreeform,
    StructuredInputItem,
    SyncCustomActionResponse,
    Thread,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
    TranscriptionResult,
    WidgetItem,
)
from flask import current_app, has_request_context
from pydantic import TypeAdapter

from flask_chatkit.server.streaming import loop
from tests.helpers.sites import Browser
from tests.helpers.stores import TidyStore

#: What a site's code says when it fails, and what no visitor may ever read.
STORY = "the whole story: /srv/shop/db at 10.0.0.7"
#: A picture of one dot.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

_EVENT: TypeAdapter[Any] = TypeAdapter(ThreadStreamEvent)
#: What each call for JSON answers with; None for an empty object.
ANSWERS: dict[str, TypeAdapter[Any] | None] = {
    "threads.get_by_id": TypeAdapter(Thread),
    "threads.list": TypeAdapter(Page[Thread]),
    "threads.update": TypeAdapter(Thread),
    "threads.delete": None,
    "threads.sync_custom_action": TypeAdapter(SyncCustomActionResponse),
    "items.list": TypeAdapter(Page[ThreadItem]),
    "items.feedback": None,
    "attachments.create": TypeAdapter(Attachment),
    "attachments.delete": None,
    "input.transcribe": TypeAdapter(TranscriptionResult),
}
STREAMS = {
    "threads.create",
    "threads.add_user_message",
    "threads.add_client_tool_output",
    "threads.add_structured_input",
    "threads.retry_after_item",
    "threads.custom_action",
}


STATUSES = {
    "lock": LockedStatus(reason="We look into it."),
    "locked-silently": LockedStatus(),
    "close": ClosedStatus(),
}


def _fail(word: str) -> None:
    if word == "boom":
        raise RuntimeError(STORY)
    if word == "readable":
        raise CustomStreamError("We are closed.", allow_retry=False)


def now() -> datetime:
    """The time as the package and its samples have it: local, without a zone."""
    return datetime.now()  # noqa: DTZ005  see above


def card(text: str, *actions: dict[str, Any]) -> dict[str, Any]:
    """A widget that shows a text, and a button for each action."""
    buttons = [{"type": "Button", "label": one["type"], "onClickAction": one} for one in actions]
    return {"type": "Card", "children": [{"type": "Text", "value": text}, *buttons]}


#: What can be done with an order that :class:`Shop` shows.
ORDER_ACTIONS: tuple[dict[str, Any], ...] = (
    {"type": "order.cancel", "payload": {"id": 1}},
    {"type": "look", "streaming": False},
    {"type": "go", "payload": {}},
)


class Shop(ChatKitServer[Any]):
    """Answers by the words of the message; see :meth:`respond`."""

    #: It answers what the page sends without a widget, too.
    page_actions = True

    def __init__(self, store: Any, attachment_store: Any = None) -> None:
        super().__init__(store, attachment_store)
        #: The contexts that it was given, and where it ran.
        self.seen: list[tuple[Any, str, bool]] = []
        #: What it was told beside messages.
        self.told: list[Any] = []
        #: How many answers were begun, and what those under way wait for.
        self.begun = 0
        #: How many more answers call a tool of the page, whatever they are answers to.
        self.calls = 0
        self._gate = asyncio.Event()
        self.cancelled = threading.Event()

    async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
        """Do what the first word says: ``everything``, ``lock``, ``slow``, ``boom``; or echo it."""
        self.begun += 1
        self.seen.append((context, current_app.name, has_request_context()))
        text = " ".join(part.text for part in item.content) if item else "your answer"
        word = text.partition(" ")[0]
        _fail(word)
        if word == "slow":
            async for event in self._slowly(thread, context):
                yield event
            return
        for done in self._answer(word, text, thread, context):
            yield ThreadItemDoneEvent(item=done)
        _fail(word.removeprefix("late-"))
        if word in STATUSES:
            thread.status = STATUSES[word]

    def _answer(self, word: str, text: str, thread: Any, context: Any) -> Iterator[Any]:
        def place(kind: str = "message") -> dict[str, Any]:
            key = self.store.generate_item_id(kind, thread, context)
            return {"id": key, "thread_id": thread.id, "created_at": now()}

        content = [AssistantMessageContent(text=f"You said {text}")]
        yield AssistantMessageItem(content=content, **place())
        if word == "everything":
            yield WidgetItem(widget=card("Order 1", *ORDER_ACTIONS), **place())
            question = StructuredInputFreeform(type="freeform", id="size", question="Which size?")
            yield StructuredInputItem(inputs=[question], **place())
        if word in {"everything", "tool"} or self.calls:
            self.calls -= bool(self.calls)
            call = {"call_id": "call_1", "name": "cart", "arguments": {}}
            yield ClientToolCallItem(**call, **place("tool_call"))

    async def _slowly(self, thread: Any, context: Any) -> AsyncIterator[Any]:
        key = self.store.generate_item_id("message", thread, context)
        said = AssistantMessageItem(id=key, thread_id=thread.id, created_at=now(), content=[])
        yield ThreadItemAddedEvent(item=said)
        empty = AssistantMessageContent(text="")
        added = AssistantMessageContentPartAdded(content_index=0, content=empty)
        yield ThreadItemUpdatedEvent(item_id=key, update=added)
        delta = AssistantMessageContentPartTextDelta(content_index=0, delta="so far")
        yield ThreadItemUpdatedEvent(item_id=key, update=delta)
        try:
            await self._gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        said.content = [AssistantMessageContent(text="so far, so good")]
        yield ThreadItemDoneEvent(item=said)

    def open_gate(self) -> None:
        """Let the slow answers go on."""
        loop.current().call(self._gate.set)

    async def action(
        self, thread: Any, action: Any, sender: Any, context: Any
    ) -> AsyncIterator[Any]:
        """Show what was done in the widget's place."""
        self.told.append((action.type, action.payload))
        if action.type == "boom":
            raise RuntimeError(STORY)
        if sender is not None:
            changed = {**sender.model_dump(), "widget": card("Done")}
            yield ThreadItemReplacedEvent(item=WidgetItem.model_validate(changed))

    async def sync_action(self, thread: Any, action: Any, sender: Any, context: Any) -> Any:
        """Answer with the widget as it is from now on."""
        self.told.append((action.type, action.payload))
        if action.type == "boom":
            raise RuntimeError(STORY)
        if action.type == "readable":
            raise CustomStreamError("We are closed.", allow_retry=False)
        return SyncCustomActionResponse(updated_item=sender)

    async def add_feedback(
        self, thread_id: str, item_ids: Any, feedback: Any, context: Any
    ) -> None:
        """Remember it."""
        self.told.append((feedback, thread_id, list(item_ids)))

    async def transcribe(self, audio_input: Any, context: Any) -> TranscriptionResult:
        """Tell how much was said."""
        return TranscriptionResult(text=f"{len(audio_input.data)} bytes of {audio_input.mime_type}")


# What CHATKIT_SERVER can name.


def instance_server() -> Shop:
    """A server with a store of its own that tells nobody apart."""
    return Shop(TidyStore())


instance = instance_server()


def factory(store: Any) -> Shop:
    """A factory that is given the kit's store."""
    return Shop(store)


async def async_factory(store: Any, attachment_store: Any = None) -> Shop:
    """A factory that waits for something."""
    await asyncio.sleep(0)
    return Shop(store, attachment_store)


def factory_of_nonsense() -> dict[str, str]:
    """A factory that makes no server."""
    return {}


nonsense = 42


# Who talks.


def said(text: str, **more: Any) -> dict[str, Any]:
    """A message as ChatKit's element sends it."""
    content = [{"type": "input_text", "text": text}]
    return {"content": content, "attachments": [], "inference_options": {}, **more}


class Client:
    """A visitor of one chat, in a browser; every answer is judged by ``chatkit.types``.

    :param browser: their browser.
    :param prefix: the chat's path.
    :param token: the secret that is sent along; None for the cookie alone.
    """

    def __init__(
        self, browser: Browser, prefix: str = "/chatkit", token: str | None = None
    ) -> None:
        self.browser = browser
        self.prefix = prefix
        self.token = token

    def post(self, kind: str, /, *, headers: Any = None, **params: Any) -> requests.Response:
        """Send a call, whatever becomes of it."""
        return self.send({"type": kind, "params": params}, headers=headers)

    def send(self, body: Any, /, headers: Any = None, **more: Any) -> requests.Response:
        """Send a body."""
        return self.browser.post(
            f"{self.prefix}/api", json=body, headers={**self.bearer, **(headers or {})}, **more
        )

    @property
    def bearer(self) -> dict[str, str]:
        """The header with the token, if there is one."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def stream(self, kind: str, /, **params: Any) -> list[dict[str, Any]]:
        """The events of a call that streams."""
        assert kind in STREAMS
        return events(self.post(kind, **params))

    def ask(self, kind: str, /, **params: Any) -> dict[str, Any]:
        """The answer of a call for JSON."""
        answer = self.post(kind, **params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        judge = ANSWERS[kind]
        body: dict[str, Any] = answer.json()
        if judge is None:
            assert body == {}
        else:
            judge.validate_python(body)
        return body

    def create(self, text: str = "hello", **more: Any) -> str:
        """Begin a thread; its id."""
        first = self.stream("threads.create", input=said(text, **more))[0]
        assert first["type"] == "thread.created", first
        thread_id: str = first["thread"]["id"]
        return thread_id

    def add(self, thread_id: str, text: str, **more: Any) -> list[dict[str, Any]]:
        """Say something in a thread."""
        return self.stream(
            "threads.add_user_message", thread_id=thread_id, input=said(text, **more)
        )

    def threads(self) -> list[dict[str, Any]]:
        """All threads, the newest first."""
        found: list[dict[str, Any]] = self.ask("threads.list", limit=100)["data"]
        return found

    def items(self, thread_id: str) -> list[dict[str, Any]]:
        """All items of a thread, the oldest first."""
        listed = self.ask("items.list", thread_id=thread_id, order="asc", limit=100)
        found: list[dict[str, Any]] = listed["data"]
        return found

    def texts(self, thread_id: str, kind: str = "user_message") -> list[str]:
        """What was said in a thread."""
        items = (item for item in self.items(thread_id) if item["type"] == kind)
        return ["".join(part["text"] for part in item["content"]) for item in items]

    def upload(
        self, data: bytes = PNG, name: str = "dot.png", kind: str = "image/png"
    ) -> requests.Response:
        """Upload a file in one call."""
        return self.browser.post(
            f"{self.prefix}/attachments",
            files={"file": (name, data, kind)},
            headers=self.bearer,
        )

    def everything(self) -> list[Any]:
        """All that is theirs here, as they see it, without what is signed anew each time."""
        threads = self.threads()
        ids = [thread["id"] for thread in threads]
        return [threads, [self.ask("threads.get_by_id", thread_id=key) for key in ids]] + [
            self.items(key) for key in ids
        ]


def visit(browser: Browser, prefix: str = "/chatkit", *, by_token: bool = False) -> Client:
    """Mint a secret, as a widget does; by_token leaves the cookie behind."""
    token = browser.mint(prefix)["client_secret"]
    if by_token:
        browser.cookies.clear()
    return Client(browser, prefix, token if by_token else None)


def events(answer: requests.Response) -> list[dict[str, Any]]:
    """The events of a stream, once its headers, its form and each event are what they should be."""
    assert answer.status_code == 200, answer.text
    check_stream_headers(answer)
    # A heartbeat may come after the last event, too.
    content = answer.content.removesuffix(b": hb\n")
    assert content.endswith(b"\n\n"), content
    found = []
    for piece in content.decode().removesuffix("\n\n").split("\n\n"):
        lines = piece.split("\n")
        # A heartbeat is a line of its own, before the next event.
        lines = [line for line in lines if line != ": hb"]
        assert len(lines) == 1, piece
        assert lines[0].startswith("data: "), piece
        event = json.loads(lines[0].removeprefix("data: "))
        _EVENT.validate_python(event)
        found.append(event)
    return found


def check_stream_headers(answer: requests.Response) -> None:
    """Check what every stream is sent with, and what not."""
    headers = answer.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in headers
    assert "Content-Encoding" not in headers


def refused(answer: requests.Response) -> str:
    """What a visitor is told in a stream that is nothing but a refusal."""
    (event,) = events(answer)
    assert event["type"] == "error"
    assert event["code"] == "custom"
    assert event["allow_retry"] is False
    message: str = event["message"]
    assert message
    return message


def kinds(stream: list[dict[str, Any]]) -> list[str]:
    """The types of events, with those of their items."""
    return [
        event["type"] + (f":{event['item']['type']}" if "item" in event else "") for event in stream
    ]


def of_type(items: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The first item of a type."""
    return next(item for item in items if item["type"] == kind)


def path_of(url: str) -> str:
    """The path of an absolute URL, with its query."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def until(holds: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.01)
