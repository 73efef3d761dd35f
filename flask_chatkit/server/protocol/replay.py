"""The same message once more: a browser sends it again after a broken connection or a hidden tab.

It has no number to be known by, so it is known by who says it and by every word of it. One that is
being answered, or was a moment ago, gets that very answer. One whose answer was cut off is answered
anew, and stands in the history once; that is seen in the history, so also by another process.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

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
from pydantic import BaseModel

from ..context import ChatContext
from ..history.tool_outputs import is_memory
from ..ids import SAME_SECONDS
from ..streaming.stream import Stream
from ..streaming.subscriber import Subscriber

#: Seconds in which it is so when its answer was cut off, and the visitor may not know.
CUT_SECONDS = 60.0
#: Seconds that an answer which was cut off gets to store what it has said.
CLEANUP_SECONDS = 5.0
#: Seconds to wait for another thread that counts the very same call.
MAKING = 10.0
#: Answers that are remembered.
REMEMBERED = 128
#: Items after a message that was cut off: a partial answer or two, what tools returned, and the
#: note that it was.
_LOOK_BACK = 12
#: Items after a message that another process has answered, and seconds that it may have taken.
_LOOK_BACK_FAR = 100
ANSWERED_SECONDS = 3600.0

_HIDDEN = (HiddenContextItem, SDKHiddenContextItem)


class Cut(NamedTuple):
    """A message that is in the history, and whose answer was cut off."""

    thread: ThreadMetadata
    item: UserMessageItem

    @property
    def retry(self) -> dict[str, Any]:
        """The request that has it answered anew."""
        place = {"thread_id": self.thread.id, "item_id": self.item.id}
        return {"type": "threads.retry_after_item", "params": place}

    async def retold(self, *, created: bool, rest: Any) -> AsyncGenerator[bytes, None]:
        """What the client was told, or would have been, and the new answer."""
        for event in _opening(self.thread, self.item, created=created):
            yield event
        async for chunk in rest:
            yield chunk


class Answered(NamedTuple):
    """A message that is in the history, and what was answered to it, the oldest first."""

    thread: ThreadMetadata
    item: UserMessageItem
    after: Sequence[ThreadItem]

    async def retold(self, *, created: bool) -> AsyncGenerator[bytes, None]:
        """What the client would have been told, without the words in between."""
        for event in _opening(self.thread, self.item, created=created):
            yield event
        for item in self.after:
            yield _event(ThreadItemDoneEvent(item=item))


class Key(NamedTuple):
    """What a call is known by: who asks, and every word of it."""

    owner: str
    words: bytes
    is_message: bool

    @property
    def digest(self) -> str:
        """All of it, as 64 hex digits."""
        return hashlib.sha256(self.owner.encode() + self.words).hexdigest()


class Repeats:
    """The answers of one chat that a call which comes once more may get."""

    def __init__(self) -> None:
        self._recent: OrderedDict[Key, tuple[float, Stream]] = OrderedDict()
        self._tidied = 0.0
        self._making: dict[Key, threading.Event] = {}
        self._lock = threading.Lock()

    def forget(self, owner: str) -> None:
        """Take whatever an owner says next for something new: a thread of theirs is deleted."""
        with self._lock:
            for key in [key for key in self._recent if key.owner == owner]:
                del self._recent[key]

    def clear(self) -> None:
        """Take whatever anybody says next for something new."""
        with self._lock:
            self._recent.clear()

    def reader(
        self, key: Key, make: Callable[[Stream | None], Stream], charge: Callable[[], None]
    ) -> Subscriber | None:
        """A reader of the answer to a call; None if it is under way and can't be told again.

        :param key: the call's :func:`fingerprint`.
        :param make: makes an answer; it is handed the one that was cut off, if there is one, which
            has to end first.
        :param charge: counts the call, unless it is being answered already. It may raise.
        """
        while True:
            now = time.monotonic()
            with self._lock:
                self._tidy(now)
                _, former = self._recent.get(key, (now, None))
                if former is not None and not (former.ended or former.abandoned):
                    return former.subscribe()
                other = self._making.get(key)
                if other is None:
                    self._making[key] = threading.Event()
                    break
            # The very call is just being counted in another thread.
            other.wait(MAKING)
        try:
            charge()
            with self._lock:
                reader = self._told(former, key, now)
                if reader is None:
                    answer = make(former if former is not None and former.abandoned else None)
                    self._recent[key] = (now, answer)
                    self._recent.move_to_end(key)
                    reader = answer.start()
                return reader
        finally:
            with self._lock:
                self._making.pop(key).set()

    def _told(self, former: Stream | None, key: Key, now: float) -> Subscriber | None:
        """A reader of an answer that ended well a moment ago."""
        if (
            former is None
            or former.abandoned
            or former.error is not None
            or now - former.ended_at > SAME_SECONDS
            or not key.is_message
        ):
            return None
        return former.subscribe()

    def _tidy(self, now: float) -> None:
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        if now - self._tidied < 1.0:
            return
        self._tidied = now
        for key, (since, answer) in list(self._recent.items()):
            if answer.ended and now - since > CUT_SECONDS:
                del self._recent[key]
            elif answer.ended and now - answer.ended_at > SAME_SECONDS:
                # That it was is enough from now on.
                answer.drop_replay()


def fingerprint(asked: Any, context: ChatContext) -> Key:
    """What a call is known by."""
    is_message = asked.type != "threads.add_client_tool_output"
    # Of what a page's tool has answered the first counts: the thread waits for one.
    words = asked.params.model_dump_json() if is_message else asked.params.thread_id
    digest = hashlib.sha256(f"{asked.type}\0{words}".encode()).digest()
    return Key(context.owner, digest, is_message)


async def find_cut(
    store: Store[Any], asked: Any, context: Any, seconds: float = CUT_SECONDS
) -> Cut | None:
    """The very message that is asked for, if it is the last of the history and was cut off.

    A message that was answered well is none: people do say the same twice.

    :param seconds: how long ago it may have been said.
    """
    found = await _find(store, asked, context, seconds, _LOOK_BACK)
    if found is None or not found.was_cut:
        return None
    return Cut(await store.load_thread(found.thread_id, context), found.item)


async def find_answered(store: Store[Any], asked: Any, context: Any) -> Answered | None:
    """The very message that is asked for, if it is the last of the history and was answered."""
    found = await _find(store, asked, context, ANSWERED_SECONDS, _LOOK_BACK_FAR)
    if found is None or found.was_cut:
        return None
    shown = [item for item in reversed(found.after) if not isinstance(item, _HIDDEN)]
    return Answered(await store.load_thread(found.thread_id, context), found.item, shown)


class _Found(NamedTuple):
    """A message of the history, and what came after it, the newest first."""

    thread_id: str
    item: UserMessageItem
    after: list[ThreadItem]

    @property
    def was_cut(self) -> bool:
        return not self.after or isinstance(self.after[0], _HIDDEN)


async def _find(
    store: Store[Any], asked: Any, context: Any, seconds: float, look_back: int
) -> _Found | None:
    if asked.type == "threads.create":
        threads = await store.load_threads(1, None, "desc", context)
        if not threads.data or not _is_recent(threads.data[0].created_at, seconds):
            return None
        thread_id = threads.data[0].id
    elif asked.type == "threads.add_user_message":
        thread_id = asked.params.thread_id
    else:
        return None
    page = await store.load_thread_items(thread_id, None, look_back, "desc", context)
    after: list[ThreadItem] = []
    for item in page.data:
        if isinstance(item, UserMessageItem):
            is_first = asked.type != "threads.create" or item is page.data[-1]
            same = is_first and not (page.has_more and asked.type == "threads.create")
            if same and _is_recent(item.created_at, seconds) and _says(item, asked.params.input):
                return _Found(thread_id, item, after)
            return None
        if not is_memory(item):
            after.append(item)
    return None


def _is_recent(when: datetime, seconds: float) -> bool:
    # A store of a site's own may keep the package's local times without a zone.
    aware = when.astimezone() if when.tzinfo is None else when
    return datetime.now(timezone.utc) - aware < timedelta(seconds=seconds)


def _says(item: UserMessageItem, said: Any) -> bool:
    return bool(
        item.content == said.content
        and [attachment.id for attachment in item.attachments] == said.attachments
        and item.quoted_text == said.quoted_text
        and item.inference_options == said.inference_options
    )


def _opening(thread: ThreadMetadata, item: UserMessageItem, *, created: bool) -> Iterator[bytes]:
    """What a client is told first of its message."""
    if created:
        # Its metadata is the site's own.
        told = thread.model_dump(exclude={"metadata"})
        yield _event(ThreadCreatedEvent(thread=Thread(**told, items=Page())))
    yield _event(ThreadItemDoneEvent(item=item))


def _event(event: BaseModel) -> bytes:
    # As ChatKitServer writes them.
    said = event.model_dump_json(
        by_alias=True, exclude_none=True, context={"exclude_metadata": True}
    )
    return b"data: " + said.encode() + b"\n\n"
