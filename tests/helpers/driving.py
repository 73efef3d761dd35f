"""Driving a ChatKitServer as the endpoint does: one task for each answer, JSON in, events out."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from chatkit.server import NonStreamingResult
from chatkit.types import Attachment, FileAttachment, ThreadStreamEvent
from pydantic import TypeAdapter

from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.ids import new_id

EVENT: TypeAdapter[Any] = TypeAdapter(ThreadStreamEvent)
ALICE = ChatContext(visitor=Visitor.login("alice"), locale="de-CH")
BOB = ChatContext(visitor=Visitor.login("bob"))


def said(text: str = "Hello", **more: Any) -> dict[str, Any]:
    """What the composer sends."""
    options = {key: more.pop(key) for key in ("model", "tool_choice") if key in more}
    content = more.pop("content", [{"type": "input_text", "text": text}])
    return {"content": content, "attachments": [], "inference_options": options, **more}


def parse(chunk: bytes) -> Any:
    """One event, checked against ChatKit's own types."""
    assert chunk.startswith(b"data: ")
    assert chunk.endswith(b"\n\n")
    return EVENT.validate_json(chunk[6:])


async def call(server: Any, kind: str, context: ChatContext = ALICE, /, **params: Any) -> Any:
    """Make a call; the events of a stream, else the JSON."""
    body = json.dumps({"type": kind, "params": params}).encode()
    result = await server.process(body, context)
    if isinstance(result, NonStreamingResult):
        return json.loads(result.json)
    return [parse(chunk) async for chunk in result]


class Answer:
    """An answer under way, read by a task of its own, which can be stopped."""

    def __init__(
        self, server: Any, kind: str, context: ChatContext = ALICE, /, **params: Any
    ) -> None:
        self.events: list[Any] = []
        self.error: BaseException | None = None
        self._news = asyncio.Event()
        body = json.dumps({"type": kind, "params": params}).encode()
        self.task = asyncio.create_task(self._read(server, body, context))

    async def _read(self, server: Any, body: bytes, context: ChatContext) -> None:
        try:
            async for chunk in await server.process(body, context):
                self.events.append(parse(chunk))
                self._news.set()
        except BaseException as error:
            # The endpoint keeps it as well, and with it every generator that it went through.
            self.error = error
            raise

    async def until(self, holds: Callable[[list[Any]], object]) -> None:
        """Wait until something holds of the events so far."""
        while not holds(self.events):
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 10)

    async def stop(self) -> None:
        """What the endpoint does when the visitor has pressed Stop or gone away."""
        self.task.cancel()
        await asyncio.wait([self.task])
        assert self.task.cancelled()


def kinds(events: list[Any]) -> list[str]:
    """What the events are, without what comes before every answer."""
    told = []
    for event in events:
        if event.type in {"thread.created", "stream_options"}:
            continue
        if event.type == "thread.item.updated":
            told.append(event.update.type)
        elif event.type.startswith("thread.item.") and event.type != "thread.item.removed":
            told.append(f"{event.type.removeprefix('thread.item.')} {event.item.type}")
        else:
            told.append(event.type)
    return told[1:] if told[:1] == ["done user_message"] else told


def deltas(events: list[Any]) -> str:
    """All text that was streamed."""
    return "".join(
        event.update.delta
        for event in events
        if event.type == "thread.item.updated" and event.update.type.endswith("text_delta")
    )


def items_of(events: list[Any], kind: str) -> list[Any]:
    """The items of a kind that are done."""
    return [
        event.item
        for event in events
        if event.type in {"thread.item.done", "thread.item.replaced"} and event.item.type == kind
    ]


def thread_of(events: list[Any]) -> str:
    """The id of the thread that was created."""
    return str(events[0].thread.id)


async def stored(server: Any, thread: str, context: ChatContext = ALICE) -> list[Any]:
    """All that the store has of a thread, the oldest first."""
    page = await server.store.load_thread_items(thread, None, 100, "asc", context)
    return list(page.data)


async def upload(server: Any, name: str, mime_type: str, **more: Any) -> Attachment:
    """An attachment that the visitor has uploaded."""
    attachment = FileAttachment(id=new_id("attachment"), name=name, mime_type=mime_type, **more)
    await server.store.save_attachment(attachment, ALICE)
    return attachment


async def settled(holds: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something holds, while the loop runs."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        await asyncio.sleep(0.005)


def workers() -> list[threading.Thread]:
    """The threads that answer."""
    return [one for one in threading.enumerate() if one.name == "flask_chatkit answer"]


def others() -> list[Any]:
    """The tasks that run beside the test's own."""
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
