"""Answers that other processes read and stop, by way of the Redis that counts the limits.

A process notes there which threads it is answering, and takes orders: to stop an answer, or to put
its events there as well. Nothing but the note is sent of an answer that nobody asks for elsewhere.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from ...runtime.processes import PerProcess
from .sse import HEARTBEAT, error_event
from .stream import HEARTBEAT_SECONDS, Stream
from .subscriber import Subscriber

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: Seconds between two looks for orders, and for events to pass on.
TICK = 0.25
PASS_ON = 0.1
#: Seconds for which a note of a process, or of a reader, counts; they are renewed in a third of it.
NOTE_SECONDS = 9
#: Seconds for which events are kept that nobody reads any more.
EVENTS_SECONDS = 60
#: Bytes of one answer that are put there; its readers are told that the connection was lost then.
MAX_EVENTS_BYTES = 8_000_000
#: Orders that a process takes at once.
ORDERS = 50
#: Ends the events of an answer.
_END = b""


class Place(Protocol):
    """Where processes meet; see :class:`flask_chatkit.limits.storage.Storage`."""

    @property
    def has_redis(self) -> bool:
        """Whether there is such a place."""

    def name(self, *names: str) -> str:
        """The full name of a key."""

    def with_redis(self, act: Callable[[Any], T]) -> T | None:
        """Call a function with a client of Redis; None without one, or while it is down."""


class Address(NamedTuple):
    """Where an answer runs: the name of the process, and that of the answer."""

    process: str
    answer: str


class _Running:
    """An answer of this process."""

    def __init__(self, thread: str, stream: Stream) -> None:
        self.thread = thread
        self.stream = stream
        self.id = stream.id
        self.noted_at = float("-inf")
        #: Reads it for other processes, and when they were last known to want that.
        self.reader: Subscriber | None = None
        self.wanted_at = 0.0
        #: What is to be put there next, and how many chunks and bytes were.
        self.chunks: list[bytes] = []
        self.count = 0
        self.passed = 0

    def read(self) -> None:
        """Read it for other processes, from its start."""
        self.reader = self.stream.attach()
        self.wanted_at = time.monotonic()
        self.chunks = []
        self.count = 0
        self.passed = 0

    def add(self, chunk: bytes) -> None:
        """Have a chunk put there, numbered: Redis may lose some, or get them twice."""
        self.count += 1
        self.chunks.append(b"%d " % self.count + chunk)

    def close_reader(self) -> None:
        """Read it for nobody else any more."""
        if self.reader is not None:
            self.reader.close()
            self.reader = None


class SharedAnswers:
    """The answers of one kit, in all processes.

    :param place: where they meet. Without Redis, each process knows its own only.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process = PerProcess(lambda: _Process(place))

    @property
    def is_on(self) -> bool:
        """Whether other processes are asked."""
        return self._place.has_redis

    def add(self, thread: str, stream: Stream) -> None:
        """Note that this process answers in a thread; does not block."""
        if self.is_on:
            self._process.get().add(_Running(thread, stream))

    def find(self, thread: str) -> Address | None:
        """Where a thread is being answered."""
        key = self._place.name("answer", thread)
        found = self._place.with_redis(lambda redis: redis.get(key))
        if not found:
            return None
        process, _, answer = _text(found).partition(":")
        return Address(process, answer)

    def stop(self, thread: str, answer: str | None = None) -> None:
        """Have the process stop that answers in a thread.

        :param answer: the id of the one answer to stop, if not any.
        """
        address = self.find(thread)
        if address is not None and answer in {None, address.answer}:
            self._order(address, "stop")

    def read(self, thread: str) -> RemoteAnswer | None:
        """Read what another process answers in a thread; None if none does."""
        address = self.find(thread)
        if address is None:
            return None
        answer = RemoteAnswer(self._place, thread, address)
        answer.note_reader()
        self._order(address, "read")
        return answer

    def _order(self, address: Address, act: str) -> None:
        key = self._place.name("orders", address.process)

        order = json.dumps([act, address.answer])
        self._place.with_redis(lambda redis: _append(redis, key, order))


class _Process:
    """The answers of this process, and the thread that notes them and takes orders for them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._name = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def add(self, running: _Running) -> None:
        with self._lock:
            self._running[running.id] = running
            # It is noted at once, so that it can be stopped.
            self._wake.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="flask_chatkit answers", daemon=True
                )
                self._thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._wake.clear()
                known = list(self._running.values())
                if not known:
                    self._thread = None
                    return
            # Found out before, so that the note of each is deleted.
            ended = [one for one in known if one.stream.ended]
            try:
                self._place.with_redis(partial(self._turn, known, ended))
            except Exception:
                # The answers go on.
                logger.exception("Answers could not be shared with other processes")
            self._close_forgotten(known)
            self._forget(ended)
            self._wake.wait(PASS_ON if any(one.reader for one in known) else TICK)

    def _turn(self, known: list[_Running], ended: list[_Running], redis: Any) -> None:
        now = time.monotonic()
        for one in known:
            key = self._place.name("answer", one.thread)
            if one in ended:
                # A newer answer in the thread has its own.
                if _text(redis.get(key) or b"").endswith(one.id):
                    redis.delete(key)
            elif now - one.noted_at > NOTE_SECONDS / 3:
                redis.set(key, f"{self._name}:{one.id}", ex=NOTE_SECONDS)
                one.noted_at = now
        orders = self._place.name("orders", self._name)
        for _ in range(ORDERS):
            order = redis.lpop(orders)
            if order is None:
                break
            self._obey(redis, *json.loads(order))
        for one in known:
            if one.reader is not None:
                self._pass_on(redis, one, one.reader)

    def _obey(self, redis: Any, act: str, answer: str) -> None:
        one = self._running.get(answer)
        if one is None:
            return
        if act == "stop":
            one.stream.stop()
        elif one.reader is None:
            redis.delete(self._place.name("events", one.id))  # of former readers
            one.read()

    def _pass_on(self, redis: Any, one: _Running, reader: Subscriber) -> None:
        """Put there what has come since, as long as somebody reads it."""
        key = self._place.name("events", one.id)
        over = False
        if not reader.is_waiting:
            chunk = reader.take()
            one.passed += len(chunk)
            if one.passed > MAX_EVENTS_BYTES:
                one.add(error_event(allow_retry=True))
                chunk = _END
            one.add(chunk)
        if one.chunks:
            # Kept until they are there: Redis may have gone.
            _append(redis, key, *one.chunks)
            over = one.chunks[-1].partition(b" ")[2] == _END
            one.chunks = []
        now = time.monotonic()
        # What was just put there is still to be read.
        if not over and now - one.wanted_at > NOTE_SECONDS / 3:
            over = not redis.exists(self._place.name("reader", one.id))
            one.wanted_at = now
            if over:
                redis.delete(key)
            else:
                redis.expire(key, EVENTS_SECONDS)  # also while the answer is silent
        if over:
            one.close_reader()

    def _close_forgotten(self, known: list[_Running]) -> None:
        """Leave the answers whose readers were not heard of for a while, such as without Redis."""
        for one in known:
            if one.reader is not None and time.monotonic() - one.wanted_at > NOTE_SECONDS:
                one.close_reader()

    def _forget(self, ended: list[_Running]) -> None:
        with self._lock:
            for one in ended:
                if one.reader is None:
                    self._running.pop(one.id, None)


class RemoteAnswer(Iterator[bytes]):
    """An answer of another process, from its start."""

    def __init__(self, place: Place, thread: str, address: Address) -> None:
        self._place = place
        self.id = address.answer
        self._thread = thread
        self._address = address
        #: The number of the last chunk, and where the next one is in the list.
        self._count = 0
        self._place_in_list = 0
        self._is_over = False
        self._noted_at = 0.0
        self._heard_at = time.monotonic()

    def note_reader(self) -> None:
        """Note that somebody reads it."""
        self._noted_at = time.monotonic()
        key = self._place.name("reader", self._address.answer)
        self._place.with_redis(lambda redis: redis.set(key, "1", ex=NOTE_SECONDS))

    def __next__(self) -> bytes:
        """All that has come since the last call, or a heartbeat after a while of silence."""
        began = time.monotonic()
        if not self._is_over and began - self._noted_at > NOTE_SECONDS:
            # The other process has taken it for gone, and what is there may have gaps.
            self._is_over = True
            return error_event(allow_retry=True)
        while not self._is_over:
            whole = self._next_chunks()
            now = time.monotonic()
            if whole:
                self._heard_at = now
                return whole
            if self._is_dead(now):
                self._is_over = True
                return error_event(allow_retry=True)
            if now - began >= HEARTBEAT_SECONDS:
                return HEARTBEAT
            time.sleep(PASS_ON)
        raise StopIteration

    def _next_chunks(self) -> bytes:
        """What has come since; an error as well if something of it is lost."""
        if time.monotonic() - self._noted_at > NOTE_SECONDS / 3:
            self.note_reader()
        key = self._place.name("events", self._address.answer)
        found = self._place.with_redis(lambda redis: redis.lrange(key, self._place_in_list, -1))
        whole = b""
        for one in found or ():
            self._place_in_list += 1
            number, _, chunk = (one.encode() if isinstance(one, str) else one).partition(b" ")
            if int(number) <= self._count:
                continue  # it was put there twice
            self._count += 1
            if int(number) != self._count:
                self._is_over = True
                return whole + error_event(allow_retry=True)
            self._is_over = chunk == _END
            whole += chunk
        return whole

    def _is_dead(self, now: float) -> bool:
        """Whether its process has ended without a word."""
        if now - self._heard_at < NOTE_SECONDS:
            return False
        self._heard_at = now
        return SharedAnswers(self._place).find(self._thread) != self._address


def _append(redis: Any, key: str, *values: bytes | str) -> None:
    """Add to a list that is kept for a while; both or neither."""
    with redis.pipeline() as both:
        both.rpush(key, *values)
        both.expire(key, EVENTS_SECONDS)
        both.execute()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
