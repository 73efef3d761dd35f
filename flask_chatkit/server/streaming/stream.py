"""An asynchronous answer as a task on the loop, whose events go to its subscribers.

The whole answer is one task: its context variables hold together, and cancelling it reaches the
model's call and ``handle_stream_cancelled``. A WSGI server notices that a client has disconnected
only when it writes, so a silent stream sends heartbeats.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from chatkit.server import NonStreamingResult, StreamingResult

from .._upstream import is_leaked
from .loop import Loop, note_spawned
from .sse import MERGE_AFTER, error_event, merged, merged_chunks
from .subscriber import END, Subscriber

if TYPE_CHECKING:
    from flask import Flask

logger = logging.getLogger("flask_chatkit")

#: Seconds of silence after which a heartbeat is sent, and a disconnected client is noticed.
HEARTBEAT_SECONDS = 0.5
#: The same for each stream under way, if that is more: a process that is late would write little
#: but heartbeats if it sent two thousand of them a second.
HEARTBEAT_PACE = 0.0025
#: Chunks that a stream may be ahead of its subscribers; then it waits. A chunk has up to HELD
#: events.
AHEAD = 16
HELD = 16
#: Clients of one stream.
MAX_SUBSCRIBERS = 4
#: Seconds that an answer which takes too long gets to store what it has sent.
CLEANUP_SECONDS = 3.0
#: Bytes of a stream that are kept for a client which sends the same call again, or another page.
MAX_REPLAY_BYTES = 256_000
#: Events at the beginning of a stream that are sent at once, and seconds for each stream under way
#: that later ones may be held back: nobody notices that with one stream, and with two hundred it
#: is a twentieth of a second and saves most of the switches between threads. A loop that is late
#: holds more of them back, and merges them; see :mod:`.streaming.pacing`.
AT_ONCE = 12
PACE = 0.00025


class Record(Protocol):
    """Observes a :class:`Stream`."""

    #: Whether the history is as if the request had not been made.
    is_undone: bool

    def begin(self) -> None:
        """Called when the stream is started."""

    def enter(self) -> None:
        """Called first in the stream's task."""

    def saw(self, event: bytes) -> None:
        """Note an event."""

    def end(self, outcome: str, error: BaseException | None) -> None:
        """Note the end: ``finished``, ``stopped``, ``failed``, ``timed_out`` or ``interrupted``.

        :param error: what was raised before the first event.
        """


class Pacer:
    """Delivers the events of one stream: the first ones at once, later ones several at a time.

    :param loop: where the stream runs.
    :param deliver: takes one or more events as one chunk.
    """

    def __init__(self, loop: Loop, deliver: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._deliver = deliver
        #: How many events were put.
        self.count = 0
        #: Events that are not delivered yet.
        self.held: list[bytes] = []
        self._held_since = 0.0
        self._is_due = False

    def put(self, event: bytes) -> None:
        """Deliver an event now or soon."""
        self.count += 1
        if not self.held:
            self._held_since = time.monotonic()
        self.held.append(event)
        if self.count == 1 or len(self.held) >= HELD:
            self.flush()
        elif self._is_due:
            return
        elif self.count <= AT_ONCE:
            # Together with all that is sent before the code awaits something.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._flush_due)
        else:
            self._is_due = True
            self._loop.beat.add(self._flush_due, PACE * self._loop.busy)

    def _flush_due(self) -> None:
        self._is_due = False
        self.flush()

    def flush(self) -> None:
        """Deliver what is held back."""
        if not self.held:
            return
        # The first events are never merged, even while the process is warming up.
        is_late = self.count > AT_ONCE and time.monotonic() - self._held_since >= MERGE_AFTER
        chunk = merged(self.held) if is_late else b"".join(self.held)
        self.held.clear()
        self._deliver(chunk)


class Replay:
    """What a stream has sent, for a client that comes later."""

    def __init__(self) -> None:
        self._chunks: list[bytes] | None = []
        self._size = 0

    @property
    def is_whole(self) -> bool:
        """Whether it has all of the stream."""
        return self._chunks is not None

    def add(self, chunk: bytes) -> None:
        """Keep a chunk; of a long text the same with fewer events, and else nothing."""
        if self._chunks is None:
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_REPLAY_BYTES:
            whole = merged_chunks(self._chunks)
            self._size = len(whole)
            self._chunks = [whole] if self._size <= MAX_REPLAY_BYTES / 2 else None

    def drop(self) -> None:
        """Keep nothing any more."""
        self._chunks = None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks or ())


class Stream:
    """One answer: a task on the loop that sends events, and the clients that receive them.

    :param loop: where it runs.
    :param app: whose application context the answering code runs in.
    :param process: starts the answer; returns what ``ChatKitServer.process`` returns.
    :param seconds: the longest that it may take.
    :param explain: makes an event of an error that was raised before the first event, if the
        headers were committed by then.
    :param record: observes its events, and once its end.
    :param leave_seconds: how long it goes on when nobody reads it any more.
    """

    def __init__(
        self,
        loop: Loop,
        app: Flask,
        process: Callable[[], Awaitable[StreamingResult | NonStreamingResult]],
        seconds: float,
        explain: Callable[[BaseException], bytes] = lambda _: error_event(allow_retry=True),
        record: Record | None = None,
        leave_seconds: float = 0.0,
    ) -> None:
        #: Names it to clients, and to other processes.
        self.id = secrets.token_hex(8)
        self._loop = loop
        self._app = app
        self._process = process
        self._seconds = seconds
        self._explain = explain
        self._record = record
        self._leave_seconds = leave_seconds
        #: How often its last client has left, and what ends it unless one comes back.
        self._departures = 0
        self._leaving: asyncio.TimerHandle | None = None
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []
        self._replay = Replay()
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None
        self._pacer = Pacer(loop, self._deliver)
        self._late = False
        self._committed = False
        #: Whether the task has ended, when (``time.monotonic()``), and its error, if any.
        self.ended = False
        self.ended_at = 0.0
        self.error: BaseException | None = None
        #: Whether it was stopped: by the visitor, or because nobody read it any more.
        self.abandoned = False
        #: Whether the visitor has stopped it.
        self.stopped = False

    def start(self) -> Subscriber:
        """Start answering, with a first subscriber."""
        if self._record is not None:
            self._record.begin()
        subscriber = Subscriber(self)
        self._subscribers.append(subscriber)
        self._loop.start(self._run, guard=False)
        return subscriber

    def commit_headers(self) -> bool:
        """The response's headers are sent next; False if the stream has ended before."""
        with self._lock:
            self._committed = not self.ended
            return self._committed

    def subscribe(self) -> Subscriber | None:
        """Receive the stream from its start; None once the buffered start is gone."""
        with self._lock:
            is_whole = self._replay.is_whole and not self.abandoned
            return self._add_subscriber() if is_whole else None

    def attach(self) -> Subscriber | None:
        """Receive the stream while it runs: from its start, or from now on if that is gone.

        :returns: None if it has ended.
        """
        with self._lock:
            return None if self.ended or self.abandoned else self._add_subscriber()

    def _add_subscriber(self) -> Subscriber:
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            # Each may hold a thread, and a client that has sent the call again has given up its
            # first connection.
            self._loop.call(self._subscribers.pop(0).put, END)
        subscriber = Subscriber(self)
        for chunk in self._replay:
            subscriber.put(chunk)
        if self.ended:
            subscriber.put(END)
        else:
            self._subscribers.append(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; without any left the answer is stopped after a while."""
        with self._lock:
            if subscriber not in self._subscribers:
                return
            self._subscribers.remove(subscriber)
            # Whoever has left sets the pace no more.
            self.make_room()
            if self._subscribers or self.ended:
                return
            self._departures += 1
            if self._leave_seconds:
                self._loop.call(self._wait_for_return, self._departures)
                return
            self._abandon()

    def stop(self) -> None:
        """Stop the answer because the visitor says so, whoever else reads it."""
        with self._lock:
            if not self.ended:
                self.stopped = True
                self._abandon()

    def _abandon(self) -> None:
        self.abandoned = True
        self._replay.drop()
        self._loop.call(self._cancel)

    def _wait_for_return(self, departure: int) -> None:
        if not self.ended:
            later = asyncio.get_running_loop().call_later
            self._leaving = later(self._leave_seconds, self._end_left, departure)

    def _end_left(self, departure: int) -> None:
        """Stop the answer, unless somebody has come since, or it has ended."""
        with self._lock:
            if departure == self._departures and not (self._subscribers or self.ended):
                self._abandon()

    def interrupt(self) -> None:
        """Stop the answer although it has subscribers: the process ends."""
        self._loop.call(self._cancel)

    @property
    def is_undone(self) -> bool:
        """Whether the history is as if the request had not been made."""
        return self._record is not None and self._record.is_undone

    @property
    def heartbeat_seconds(self) -> float:
        """Seconds of silence after which its subscribers send a heartbeat."""
        return max(HEARTBEAT_SECONDS, HEARTBEAT_PACE * self._loop.busy)

    def runs_on(self, running: asyncio.AbstractEventLoop) -> bool:
        """Whether it runs on this event loop."""
        return self._loop.is_on(running)

    def drop_replay(self) -> None:
        """Stop keeping what was sent."""
        with self._lock:
            self._replay.drop()

    async def wait(self, seconds: float) -> None:
        """Wait on the loop until it has ended."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    def make_room(self) -> None:
        """A subscriber has caught up."""
        if self._room is not None:
            self._loop.call(self._room.set)

    def _cancel(self) -> None:
        if self._task is not None:
            self._loop.cancel(self._task)

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        spawned = note_spawned()
        if self._record is not None:
            self._record.enter()
        timer = asyncio.get_running_loop().call_later(self._seconds, self._overrun)
        try:
            if not self.abandoned:
                with self._app.app_context():
                    await self._send_all()
        except asyncio.CancelledError:
            # A new one: the one that was caught refers to all variables of the code.
            self.error = asyncio.CancelledError()
            if self._late:
                logger.warning("An answer took more than %s seconds and was ended", self._seconds)
                self._put(error_event("This answer took too long.", allow_retry=True))
            elif not self.abandoned:
                # The process ends, and there are still subscribers.
                self._put(error_event(allow_retry=True))
        except BaseException as error:
            self.error = error
            if self._pacer.count:
                # After the first event only another event can report it.
                logger.exception("An answer broke off")
                self.error = error.with_traceback(None)
                self._put(error_event(allow_retry=True))
        finally:
            timer.cancel()
            self._end()
            # The stream may be kept for a while, and what made it need not be.
            del self._process
            stopped = isinstance(self.error, asyncio.CancelledError)
            for task in list(spawned):
                if task is not self._task and (stopped or is_leaked(task)):
                    task.cancel()

    async def _send_all(self) -> None:
        result = await self._process()
        if isinstance(result, NonStreamingResult):
            self._put(result.json)
            return
        async for event in result:
            if self._record is not None:
                self._record.saw(event)
            self._put(event)
            # What is held back has reached no subscriber yet.
            while not self._pacer.held and self._is_far_ahead():
                self._room = asyncio.Event()
                # Between the check and the wait a subscriber may have caught up.
                if self._is_far_ahead() and not await self._has_room(self._room):
                    break
                self._room = None

    async def _has_room(self, room: asyncio.Event) -> bool:
        """Wait for a subscriber; False if the answer was cancelled meanwhile."""
        try:
            await room.wait()
        except asyncio.CancelledError:
            # Raised once more within the answer, which is the only place that handles it.
            if self._task is not None:
                self._task.cancel()
            return False
        return True

    def _is_far_ahead(self) -> bool:
        with self._lock:
            # The fastest sets the pace: a second subscriber has come because the first one hangs.
            behind = [subscriber.queue.qsize() for subscriber in self._subscribers]
            return bool(behind) and min(behind) > AHEAD

    def _overrun(self) -> None:
        self._late = True
        self._cancel()
        asyncio.get_running_loop().call_later(CLEANUP_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """End an answer that can't be cancelled, for its clients at least."""
        if not self.ended:
            logger.error("An answer does not end: its code suppresses CancelledError")
            self.error = asyncio.CancelledError()
            self._put(error_event("This answer took too long.", allow_retry=True))
            self._end()

    def _put(self, event: bytes) -> None:
        if not self.ended:
            self._pacer.put(event)

    def _deliver(self, chunk: bytes) -> None:
        with self._lock:
            self._replay.add(chunk)
            for subscriber in self._subscribers:
                subscriber.put(chunk)

    def _end(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        self._pacer.flush()
        if not self.ended and self._record is not None:
            # Before any subscriber reads the end: by then all of it must be recorded.
            self._record.end(self._outcome(), None if self._pacer.count else self.error)
        with self._lock:
            if self.ended:
                return
            if self.error is not None and not self._pacer.count and self._committed:
                for subscriber in self._subscribers:
                    subscriber.put(self._explain(self.error))
            self.ended, self.ended_at = True, time.monotonic()
            for subscriber in self._subscribers:
                subscriber.put(END)

    def _outcome(self) -> str:
        if self.error is None:
            return "stopped" if self.abandoned else "finished"
        if not isinstance(self.error, asyncio.CancelledError):
            return "failed"
        if self._late:
            return "timed_out"
        return "stopped" if self.abandoned else "interrupted"
