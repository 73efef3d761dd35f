"""The same message again, as the history shows it: answered once, whichever process gets it.

A message whose answer was interrupted is answered anew, and stays in the history once. One that
another process has answered meanwhile is replayed from there.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, NamedTuple

from chatkit.server import StreamingResult
from chatkit.store import Store
from chatkit.types import (
    HiddenContextItem,
    Page,
    SDKHiddenContextItem,
    Thread,
    ThreadCreatedEvent,
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadMetadata,
    UserMessageItem,
)

from .._upstream import is_stop_note
from ..history.base import DatabaseStore
from ..history.claims import begin_once
from ..history.tool_outputs import is_memory
from ..streaming.record import AnswerRecord
from ..streaming.stream import Stream
from .events import event
from .operations import Call, parse
from .replay import CUT_SECONDS, RequestKey

#: Seconds that an interrupted answer gets to store what it has sent.
CLEANUP_SECONDS = 5.0
#: Items after an interrupted message: a partial answer or two, what tools returned, and a note that
#: it was interrupted.
_LOOK_BACK = 12
#: Items after a message that another process has answered, and seconds that it may have taken.
_LOOK_BACK_FAR = 100
ANSWERED_SECONDS = 3600.0

_HIDDEN = (HiddenContextItem, SDKHiddenContextItem)


class InterruptedMessage(NamedTuple):
    """A message in the history whose answer was interrupted."""

    thread: ThreadMetadata
    item: UserMessageItem

    @property
    def retry(self) -> bytes:
        """The request that has it answered anew, as JSON."""
        place = {"thread_id": self.thread.id, "item_id": self.item.id}
        return json.dumps({"type": "threads.retry_after_item", "params": place}).encode()

    async def replay(self, *, created: bool, rest: Any) -> AsyncGenerator[bytes, None]:
        """The events of the message itself, and those of the new answer."""
        for opening in _opening(self.thread, self.item, created=created):
            yield opening
        async for chunk in rest:
            yield chunk


class AnsweredMessage(NamedTuple):
    """A message in the history, and the items that answer it, the oldest first."""

    thread: ThreadMetadata
    item: UserMessageItem
    after: Sequence[ThreadItem]

    async def replay(self, *, created: bool) -> AsyncGenerator[bytes, None]:
        """The events of the message and its answer, without deltas."""
        for opening in _opening(self.thread, self.item, created=created):
            yield opening
        for item in self.after:
            yield event(ThreadItemDoneEvent(item=item))


@dataclass
class AnswerOnce:
    """Answers a message, unless the history has it already and only its answer is missing.

    :param store: the history.
    :param record: the answer's.
    :param authorize: checks the call; returns the context for the site's code.
    :param begin: starts to answer a request in such a context; gets the request parsed and as JSON,
        and the id of the visitor's message that it replaces.
    :param tells_stops: see :func:`.resume.tells_stops`. What the visitor writes after a stop is
        new, even if it is the same.
    """

    call: Call
    key: RequestKey
    store: Store[Any]
    record: AnswerRecord
    authorize: Callable[[Call], Awaitable[Any]]
    begin: Callable[[Any, Any, bytes, str | None], Awaitable[Any]]
    tells_stops: bool

    async def answer(self, former: Stream | None, *, searches: bool) -> Any:
        """Start to answer.

        :param former: the same call's interrupted stream, which has to end before.
        :param searches: whether the history is searched for an interrupted message.
        """
        if former is not None:
            await former.wait(CLEANUP_SECONDS)
        context = await self.authorize(self.call)
        claims = self.store.claims if isinstance(self.store, DatabaseStore) else None
        if claims is None or not self.key.is_message:
            return await self._start(context, searches, 0.0)
        visitor = self.call.context["visitor"].digest
        start, replay = partial(self._start, context, searches), partial(self._replay, context)
        return StreamingResult(await begin_once(claims, self.key.digest, visitor, start, replay))

    async def _start(self, context: Any, searches: bool, waited: float) -> Any:  # noqa: FBT001
        call, interrupted = self.call, None
        if searches:
            interrupted = await find_interrupted(
                self.store, call, context, CUT_SECONDS + waited, tells_stops=self.tells_stops
            )
        if interrupted is None or interrupted.item.id == call.replaces:
            return await self.begin(context, call.request, call.body, call.replaces)
        self.record.forget_message()
        retry = interrupted.retry
        rest = await self.begin(context, parse(retry), retry, call.replaces)
        created = call.type == "threads.create"
        return StreamingResult(interrupted.replay(created=created, rest=rest))

    async def _replay(self, context: Any) -> AsyncGenerator[bytes, None] | None:
        answered = await find_answered(self.store, self.call, context)
        if answered is None:
            return None
        self.record.forget_message()
        return answered.replay(created=self.call.type == "threads.create")


async def find_interrupted(
    store: Store[Any], call: Call, context: Any, seconds: float, *, tells_stops: bool
) -> InterruptedMessage | None:
    """The message of a call, if it is the last in the history and its answer was interrupted.

    One that was answered well does not count: people do send the same message twice.

    :param seconds: how long ago it may have been sent.
    :param tells_stops: as for :class:`AnswerOnce`.
    """
    found = await _find(store, call, context, seconds, _LOOK_BACK)
    if found is None or not found.is_interrupted:
        return None
    if tells_stops and found.after and is_stop_note(found.after[0]):
        return None
    return InterruptedMessage(await store.load_thread(found.thread_id, context), found.item)


async def find_answered(store: Store[Any], call: Call, context: Any) -> AnsweredMessage | None:
    """The message of a call, if it is the last in the history and was answered."""
    found = await _find(store, call, context, ANSWERED_SECONDS, _LOOK_BACK_FAR)
    if found is None or found.is_interrupted:
        return None
    shown = [item for item in reversed(found.after) if not isinstance(item, _HIDDEN)]
    return AnsweredMessage(await store.load_thread(found.thread_id, context), found.item, shown)


class _Found(NamedTuple):
    """A message in the history, and the items after it, the newest first."""

    thread_id: str
    item: UserMessageItem
    after: list[ThreadItem]

    @property
    def is_interrupted(self) -> bool:
        return not self.after or isinstance(self.after[0], _HIDDEN)


async def _find(
    store: Store[Any], call: Call, context: Any, seconds: float, look_back: int
) -> _Found | None:
    if call.type == "threads.create":
        threads = await store.load_threads(1, None, "desc", context)
        if not threads.data or not _is_recent(threads.data[0].created_at, seconds):
            return None
        thread_id = threads.data[0].id
    elif call.type == "threads.add_user_message":
        thread_id = call.params.thread_id
    else:
        return None
    page = await store.load_thread_items(thread_id, None, look_back, "desc", context)
    after: list[ThreadItem] = []
    for item in page.data:
        if isinstance(item, UserMessageItem):
            is_first = call.type != "threads.create" or item is page.data[-1]
            same = is_first and not (page.has_more and call.type == "threads.create")
            if same and _is_recent(item.created_at, seconds) and _is_same(item, call.params.input):
                return _Found(thread_id, item, after)
            return None
        if not is_memory(item):
            after.append(item)
    return None


def _is_recent(when: datetime, seconds: float) -> bool:
    # A site's own store may keep openai-chatkit's local times without a zone.
    aware = when.astimezone() if when.tzinfo is None else when
    return datetime.now(timezone.utc) - aware < timedelta(seconds=seconds)


def _is_same(item: UserMessageItem, message: Any) -> bool:
    return bool(
        item.content == message.content
        and [attachment.id for attachment in item.attachments] == message.attachments
        and item.quoted_text == message.quoted_text
        and item.inference_options == message.inference_options
    )


def _opening(thread: ThreadMetadata, item: UserMessageItem, *, created: bool) -> Iterator[bytes]:
    """The events of a message itself."""
    if created:
        # Its metadata is for the site alone.
        fields = thread.model_dump(exclude={"metadata"})
        yield event(ThreadCreatedEvent(thread=Thread(**fields, items=Page())))
    yield event(ThreadItemDoneEvent(item=item))
