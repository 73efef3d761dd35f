"""From an asynchronous answer to the bytes that a WSGI server writes.

The whole answer is one task: its context variables hold together, and cancelling it reaches the
model's call and ``handle_stream_cancelled``. No WSGI server tells that a client has gone until
something is written, so what says nothing for a while is made to write a heartbeat.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from chatkit.server import NonStreamingResult, StreamingResult

from .loop import Loop, note_spawned
from .merge import MERGE_AFTER, READ_LATE, merged, merged_chunks

if TYPE_CHECKING:
    from flask import Flask

logger = logging.getLogger("flask_chatkit")

#: Seconds of silence after which a heartbeat is written, and a client that has gone is noticed.
HEARTBEAT_SECONDS = 0.5
#: Seconds of silence for each answer that is under way, if these are more: with two thousand
#: heartbeats a second a process that is late would write little else.
HEARTBEAT_PACE = 0.0025
#: A comment line. With a second newline ChatKit's client would take it for an empty message.
HEARTBEAT = b": hb\n"
#: Pieces that an answer may be ahead of its reader; then it waits. A piece is an event, or up to
#: HELD of them.
AHEAD = 16
HELD = 16
#: Clients that listen to one answer.
LISTENERS = 4
#: Seconds that an answer which takes too long gets to store what it has said.
CLEANUP_SECONDS = 3.0
#: Bytes of an answer that are kept for a client which asks for the same once more.
KEPT = 256_000
#: Events at the beginning of an answer that are handed on at once, and seconds that later ones may
#: be held back for each answer that is under way: with one nobody can tell, with two hundred it is
#: a twentieth of a second, and saves most of the changes from thread to thread. What waits for each
#: other is merged then, and a loop that is late lets more of it wait: see :mod:`.streaming.beat`.
AT_ONCE = 12
PACE = 0.00025

_END = None
#: What 1.6.5 of openai-chatkit leaves behind when an answer ends early, by its code's name.
_LEAKING = frozenset({"_AsyncQueueIterator.__anext__"})


def event(**fields: Any) -> bytes:
    """One server-sent event, as ChatKit's client reads it."""
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


def error_event(message: str | None = None, *, allow_retry: bool) -> bytes:
    """An error in the chat: in our words, or in ChatKit's own."""
    if message is None:
        return event(type="error", code="stream.error", allow_retry=allow_retry)
    return event(type="error", code="custom", message=message, allow_retry=allow_retry)


class Record(Protocol):
    """Observes an :class:`Answer`: its events, and how it ends."""

    def saw(self, event: bytes) -> None:
        """Note an event of the answer."""

    def end(self, outcome: str, error: BaseException | None) -> None:
        """Note the end: ``finished``, ``stopped``, ``failed``, ``timed_out`` or ``interrupted``.

        :param error: what was raised before the first event.
        """


class _NoRecord:
    """Notes nothing."""

    def saw(self, event: bytes) -> None: ...

    def end(self, outcome: str, error: BaseException | None) -> None: ...


_NO_RECORD = _NoRecord()


class Answer:
    """One answer: a task on the loop that talks, and readers that listen.

    :param loop: where it runs.
    :param app: whose application context is there for the code that answers.
    :param process: begins to answer; what it returns is what ``ChatKitServer.process`` returns.
    :param seconds: the longest it may take.
    :param explain: makes an event of what went wrong before the first word, if the client has been
        promised a stream by then.
    :param record: observes its events, and once its end.
    """

    def __init__(
        self,
        loop: Loop,
        app: Flask,
        process: Callable[[], Awaitable[StreamingResult | NonStreamingResult]],
        seconds: float,
        explain: Callable[[BaseException], bytes] = lambda _: error_event(allow_retry=True),
        record: Record = _NO_RECORD,
    ) -> None:
        self._loop = loop
        self._app = app
        self._process = process
        self._seconds = seconds
        self._lock = threading.Lock()
        self._readers: list[Reader] = []
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None
        self._said = 0
        self._held: list[bytes] = []
        self._held_since = 0.0
        self._is_due = False
        self._late = False
        self._explain = explain
        self._record = record
        self._promised = False
        #: Whether the task has ended, when (as time.monotonic tells), and how: None for well.
        self.ended = False
        self.ended_at = 0.0
        self.error: BaseException | None = None
        #: Whether it was stopped because nobody listened any more.
        self.abandoned = False

    def begin(self) -> Reader:
        """Start answering."""
        reader = Reader(self)
        self._readers.append(reader)
        self._loop.start(self._run)
        return reader

    def promise(self) -> bool:
        """The client is promised a stream from now on; False if it has ended by now."""
        with self._lock:
            self._promised = not self.ended
            return self._promised

    def listen(self) -> Reader | None:
        """Listen from the beginning; None if it can't be told any more."""
        with self._lock:
            if self._kept is None or self.abandoned:
                return None
            if len(self._readers) >= LISTENERS:
                # Each may hold a thread; who has sent the same again has given it up.
                self._loop.call(self._readers.pop(0).put, _END)
            reader = Reader(self)
            for chunk in self._kept:
                reader.put(chunk)
            if self.ended:
                reader.put(_END)
            else:
                self._readers.append(reader)
            return reader

    def leave(self, reader: Reader) -> None:
        """A reader listens no more; when the last one has gone the answer is stopped."""
        with self._lock:
            if reader not in self._readers:
                return
            self._readers.remove(reader)
            if self._readers or self.ended:
                self.make_room()
                return
            self.abandoned = True
            self._kept = None
        self._loop.call(self._cancel)

    def interrupt(self) -> None:
        """Stop it for whoever still listens: the process ends."""
        self._loop.call(self._cancel)

    @property
    def heartbeat_seconds(self) -> float:
        """Seconds of silence after which its readers are handed a heartbeat."""
        return max(HEARTBEAT_SECONDS, HEARTBEAT_PACE * self._loop.busy)

    def runs_on(self, running: asyncio.AbstractEventLoop) -> bool:
        """Whether a loop is the one that it runs on."""
        return self._loop.is_on(running)

    def forget(self) -> None:
        """Keep no longer what was said."""
        with self._lock:
            self._kept = None

    async def wait(self, seconds: float) -> None:
        """Wait until it has ended, on the loop."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    def make_room(self) -> None:
        """A reader has caught up."""
        if self._room is not None:
            self._loop.call(self._room.set)

    def _cancel(self) -> None:
        if self._task is not None:
            self._loop.cancel(self._task)

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        spawned = note_spawned()
        timer = asyncio.get_running_loop().call_later(self._seconds, self._overrun)
        try:
            if not self.abandoned:
                with self._app.app_context():
                    await self._talk()
        except asyncio.CancelledError:
            # A new one: that which came holds on to all that the code had at hand.
            self.error = asyncio.CancelledError()
            if self._late:
                logger.warning("An answer took more than %s seconds and was ended", self._seconds)
                self._put(error_event("This answer took too long.", allow_retry=True))
            elif not self.abandoned:
                # The process ends, and somebody still listens.
                self._put(error_event(allow_retry=True))
        except BaseException as error:
            self.error = error
            if self._said:
                # Once something was said there is no other way to tell.
                logger.exception("An answer broke off")
                self.error = error.with_traceback(None)
                self._put(error_event(allow_retry=True))
        finally:
            timer.cancel()
            self._end()
            # It may be remembered for a while, and what made it need not be.
            del self._process
            stopped = isinstance(self.error, asyncio.CancelledError)
            for task in list(spawned):
                if task is not self._task and (stopped or _is_leaked(task)):
                    task.cancel()

    async def _talk(self) -> None:
        result = await self._process()
        if isinstance(result, NonStreamingResult):
            self._put(result.json)
            return
        async for chunk in result:
            self._record.saw(chunk)
            self._put(chunk)
            # What is held back is with no reader yet.
            while not self._held and self._is_far_ahead():
                self._room = asyncio.Event()
                # Between the look and the wait a reader may have caught up.
                if self._is_far_ahead() and not await self._has_room(self._room):
                    break
                self._room = None

    async def _has_room(self, room: asyncio.Event) -> bool:
        """Wait for a reader; False if the answer was cancelled meanwhile."""
        try:
            await room.wait()
        except asyncio.CancelledError:
            # To be raised once more, within the answer: only there is it understood.
            if self._task is not None:
                self._task.cancel()
            return False
        return True

    def _overrun(self) -> None:
        self._late = True
        self._cancel()
        asyncio.get_running_loop().call_later(CLEANUP_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """End what does not let itself be cancelled, for the clients at least."""
        if not self.ended:
            logger.error("An answer does not end: its code keeps CancelledError to itself")
            self.error = asyncio.CancelledError()
            self._put(error_event("This answer took too long.", allow_retry=True))
            self._end()

    def _put(self, chunk: bytes) -> None:
        if self.ended:
            return
        self._said += 1
        if not self._held:
            self._held_since = time.monotonic()
        self._held.append(chunk)
        if self._said == 1 or len(self._held) >= HELD:
            self._hand_on()
        elif self._is_due:
            return
        elif self._said <= AT_ONCE:
            # With all that is said before the code waits for something.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._hand_on_due)
        else:
            self._is_due = True
            self._loop.beat.add(self._hand_on_due, PACE * self._loop.busy)

    def _hand_on_due(self) -> None:
        self._is_due = False
        self._hand_on()

    def _hand_on(self) -> None:
        """Give the readers what was held back."""
        if not self._held:
            return
        # The first ones are handed on as they were said, also where the process is just warming up.
        is_late = self._said > AT_ONCE and time.monotonic() - self._held_since >= MERGE_AFTER
        said = merged(self._held) if is_late else b"".join(self._held)
        self._held.clear()
        with self._lock:
            if self._kept is not None:
                self._kept.append(said)
                self._kept_bytes += len(said)
                if self._kept_bytes > KEPT:
                    self._kept = None
            for reader in self._readers:
                reader.put(said)

    def _end(self) -> None:
        self._hand_on()
        if not self.ended:
            # Before anybody reads that it has ended: who waits for that finds all of it noted.
            self._record.end(self._outcome(), None if self._said else self.error)
        with self._lock:
            if self.ended:
                return
            if self.error is not None and not self._said and self._promised:
                for reader in self._readers:
                    reader.put(self._explain(self.error))
            self.ended, self.ended_at = True, time.monotonic()
            for reader in self._readers:
                reader.put(_END)

    def _outcome(self) -> str:
        if self.error is None:
            return "stopped" if self.abandoned else "finished"
        if not isinstance(self.error, asyncio.CancelledError):
            return "failed"
        if self._late:
            return "timed_out"
        return "stopped" if self.abandoned else "interrupted"

    def _is_far_ahead(self) -> bool:
        with self._lock:
            # The fastest sets the pace: a second one has come because the first hangs.
            behind = [reader.queue.qsize() for reader in self._readers]
            return bool(behind) and min(behind) > AHEAD


def _is_leaked(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "") in _LEAKING


class Reader(Iterator[bytes]):
    """One client's view of an answer: an iterable of bytes that a WSGI server writes.

    Under an ASGI server no thread iterates over it: a :class:`~.streaming.feed.Feed` takes what
    there is.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        #: Called when there is more to take, in the thread of the answer's loop.
        self.notify: Callable[[], None] | None = None
        self._pulled: list[bytes] = []
        self._over = False
        #: When the oldest piece came that is not taken yet; 0 if there is none.
        self._waits_since = 0.0

    def put(self, chunk: bytes | None) -> None:
        """Add a piece of the answer, or its end."""
        self._waits_since = self._waits_since or time.monotonic()
        self.queue.put(chunk)
        if (notify := self.notify) is not None:
            notify()

    def take(self) -> bytes:
        """What has been said since the last time, without waiting for more."""
        said, self._pulled = self._pulled, []
        with suppress(queue.Empty):
            while not self._over:
                self._take(said)
        self.answer.make_room()
        return self._joined(said)

    def _joined(self, said: list[bytes]) -> bytes:
        """What was taken at once; who reads late gets fewer events, and the same text."""
        since, self._waits_since = self._waits_since, 0.0
        is_late = since and time.monotonic() - since >= READ_LATE
        return merged_chunks(said) if is_late else b"".join(said)

    @property
    def is_waited_for(self) -> bool:
        """Whether there is nothing to take now, and more will come."""
        return not (self._over or self._pulled) and self.queue.empty()

    def pull(self, seconds: float) -> bool:
        """Wait for the first words, before anything is promised to the client.

        :returns: whether there are any yet, or the answer has ended with them.
        """
        try:
            chunk = self.queue.get(timeout=seconds)
        except queue.Empty:
            return False
        # The headers are sent next; what waits for that is not late.
        self._waits_since = 0.0 if self.queue.empty() else time.monotonic()
        if chunk is _END:
            self._over = True
        else:
            self._pulled.append(chunk)
        return True

    @property
    def is_mute(self) -> bool:
        """Whether the answer has ended without a word."""
        return self._over and not self._pulled

    def __next__(self) -> bytes:
        """What has been said since the last time, or a heartbeat after a while of silence."""
        said, self._pulled = self._pulled, []
        try:
            if not said and not self._over:
                self._take(said, timeout=self.answer.heartbeat_seconds)
            while not self._over:
                self._take(said)
        except queue.Empty:
            if not said:
                return HEARTBEAT
        self.answer.make_room()
        if not said:
            raise StopIteration
        return self._joined(said)

    def _take(self, said: list[bytes], timeout: float | None = None) -> None:
        chunk = self.queue.get(block=timeout is not None, timeout=timeout)
        if chunk is _END:
            self._over = True
        else:
            said.append(chunk)

    def close(self) -> None:
        """Called by every WSGI server at the end, whoever ended it."""
        self.answer.leave(self)
