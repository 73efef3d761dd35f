"""Limits on the requests that a visitor has under way in one process: answers, files, reads.

Each holds a thread of the server's until the last byte is read. A client that does not read would
hold it for ever: where the server exposes the connection, it is closed after a while.

Where the number of threads is known, a visitor has at most half of those that others leave free:
the more is under way, the less one visitor can begin. An address has three fourths of all.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from flask import Response

from ..errors import RateLimited
from ..runtime._upstream import worker_threads
from .addresses import networks_of
from .bodies import SLOWEST, connection_of
from .ratelimit import VISITORS

logger = logging.getLogger("flask_chatkit")

#: Requests of one visitor under way, of any kind.
AT_A_TIME = 8
#: Calls of one visitor under way that run functions of the site's, such as feedback.
CALLS_AT_A_TIME = 2
#: Seconds that a call waits for an earlier one to end. A browser fetches many pictures at once.
WAIT_SECONDS = 0.5
#: Calls of one visitor that wait, for each under way.
WAITING = 1
#: Calls that wait in a process, where its threads are not known; at most half are one visitor's.
WAITING_IN_ALL = 16
#: Requests that a visitor may have under way however little is free.
LEAST = 2
#: Seconds after which a client that reads nothing is disconnected.
SEND_SECONDS = 30.0
#: Bytes of a stream or a file that are sent at once, and must be read in that time.
PIECE = 64 * 1024
#: Seconds between two checks of that.
LOOK_SECONDS = 2.0

Key = tuple[str, str, str]
BUSY = "Please wait until what you asked for before is done."


class UnderWay:
    """The requests under way in this process, by visitor and by address.

    :param by_address: whether the anonymous visitors of an address share a limit.
    """

    def __init__(self, *, by_address: bool) -> None:
        self._by_address = by_address
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._dropped: deque[list[Key]] = deque()
        # Both drop a name when its count is zero, so they hold no more than the server's threads.
        self._counts: Counter[Key] = Counter()
        self._waiting: Counter[Key] = Counter()
        self._threads = worker_threads()
        # Weak: a response that is dropped unsent leaves its connection to the next one.
        self._sending: WeakSet[Slot] = WeakSet()
        self._watcher: threading.Thread | None = None

    def take(self, owner: str, address: str | None) -> Slot:
        """Begin a request, waiting a moment for earlier ones if there are too many.

        :param owner: who asks.
        :param address: where from, by :func:`.address_of`; None for a login, which no address can
            make up.
        :returns: the request's slot; :meth:`Slot.check` raises if there are too many.
        """
        if self._pid != os.getpid():
            self._start_anew()  # the parent's requests are not ours, and it may have held the lock
        slot = Slot(self, owner, address if self._by_address else None)
        slot.refusal = self.enter(slot, "request", AT_A_TIME)
        return slot

    def enter(self, slot: Slot, kind: str, most: int) -> RateLimited | None:
        """Count a slot as one of a kind.

        :param most: how many of the kind a visitor may have.
        :returns: the refusal, if there are too many.
        """
        limits: dict[Key, int] = {(kind, "visitor", slot.owner): most}
        if slot.address is not None:
            limits[kind, "address", slot.address] = most * VISITORS
            for network, times in networks_of(slot.address):
                limits[kind, "address", network] = most * VISITORS * times
        with self._changed:
            self._collect()
            full = self._full(limits)
            if not full or self._wait(limits):
                keys = [*limits, (kind, "process", "")]
                self._counts.update(keys)
                slot.keys += keys
                return None
        (_, whose, _), most = next(iter(full.items()))
        limit = f"{most} {kind}s at a time per {whose}"
        return RateLimited(BUSY, refusal="busy", retry_after=1, limit=limit)

    def _full(self, limits: Mapping[Key, int]) -> dict[Key, int]:
        """The limits that are reached, as they are at this moment."""
        now = {key: self._at_this_moment(key, most) for key, most in limits.items()}
        return {key: most for key, most in now.items() if self._counts[key] >= most}

    def _at_this_moment(self, key: Key, most: int) -> int:
        kind, whose, _ = key
        threads = self._threads
        if threads is None or kind != "request":
            return most
        under_way = self._counts[kind, "process", ""]
        if whose == "address" or under_way == self._counts[key]:
            # However many visitors an address makes up, and even if nobody else is there.
            return min(most, max(LEAST, threads - max(1, threads // 4)))
        return min(most, max(LEAST, (threads - under_way) // 2))

    def _wait(self, limits: Mapping[Key, int]) -> bool:
        """Wait for room; a request that waits holds a thread, so only few may."""
        most_in_all = WAITING_IN_ALL if self._threads is None else max(2, self._threads // 4)
        # Half of the places are for others.
        most_of_one = max(1, most_in_all // 2)
        limits_of_waiting = {key: min(most * WAITING, most_of_one) for key, most in limits.items()}
        limits_of_waiting["", "process", ""] = most_in_all
        if any(self._waiting[key] >= most for key, most in limits_of_waiting.items()):
            return False
        self._waiting.update(limits_of_waiting.keys())
        try:
            return self._changed.wait_for(lambda: not self._full(limits), WAIT_SECONDS)
        finally:
            _subtract(self._waiting, limits_of_waiting)

    def leave(self, slot: Slot) -> None:
        """Note that a request has ended."""
        with self._changed:
            self._sending.discard(slot)
            keys, slot.keys = slot.keys, []
            _subtract(self._counts, keys)
            self._changed.notify_all()

    def watch(self, slot: Slot) -> None:
        """Close a slot's connection when its client reads nothing for too long."""
        with self._changed:
            if slot.keys:
                self._sending.add(slot)
            if self._watcher is None and self._sending:
                self._watcher = threading.Thread(
                    target=self._look, name="flask_chatkit sends", daemon=True
                )
                self._watcher.start()

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            with self._changed:
                stuck = [one for one in self._sending if one.is_stuck]
                for slot in stuck:
                    self._sending.discard(slot)
                    slot.hang_up()
                is_last = not self._sending
                if is_last:
                    self._watcher = None
            # Not under the lock: a log handler may do anything.
            for _ in stuck:
                logger.info("A connection was closed whose client is too slow")
            if is_last:
                return

    def drop(self, keys: list[Key]) -> None:
        """Note what a slot held that was garbage collected, in any thread at any moment."""
        self._dropped.append(keys)

    def _collect(self) -> None:
        while self._dropped:
            _subtract(self._counts, self._dropped.popleft())

    def __len__(self) -> int:
        """How many names have a count."""
        with self._changed:
            self._collect()
            return len(self._counts)


class Slot:
    """One request under way, until it is released, which may be done more than once.

    :param under_way: where it is counted.
    :param owner: who asks.
    :param address: where from, if that is counted.
    """

    def __init__(self, under_way: UnderWay, owner: str, address: str | None) -> None:
        self.owner = owner
        self.address = address
        self.refusal: RateLimited | None = None
        #: The names that it is counted under.
        self.keys: list[Key] = []
        self._under_way = under_way
        self._pid = os.getpid()
        self._socket: Any = None
        self._ends = 0.0
        #: When everything must have been sent, if its length is known.
        self._last = float("inf")

    def check(self) -> None:
        """Refuse a request that is one too many.

        :raises RateLimited: it is.
        """
        if self.refusal is not None:
            raise self.refusal

    def call_site(self) -> None:
        """Note that the request runs a function of the site's.

        :raises RateLimited: too many of this visitor's requests do.
        """
        refusal = self._under_way.enter(self, "call", CALLS_AT_A_TIME)
        if refusal is not None:
            raise refusal

    def begin_answer(self) -> Slot:
        """A slot for what the request begins and does not end: an answer that outlives its page.

        :raises RateLimited: too many of this visitor's answers are under way.
        """
        answer = Slot(self._under_way, self.owner, self.address)
        refusal = self._under_way.enter(answer, "answer", AT_A_TIME)
        if refusal is not None:
            raise refusal
        return answer

    def release(self) -> None:
        """Note that the request has ended."""
        if self.keys and self._pid == os.getpid():
            self._under_way.leave(self)
        self._socket = None

    def __enter__(self) -> Slot:  # noqa: PYI034  Self is of Python 3.11
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Release it if the block fails; else :meth:`hold` decides when."""
        if error is not None:
            self.release()

    def __del__(self) -> None:
        # A response that is not sent, such as one that a hook of the site's replaces, is not closed
        # either. No lock is taken here: the thread may hold it.
        keys, self.keys = self.keys, []
        if keys and self._pid == os.getpid():
            self._under_way.drop(keys)

    def hold(self, response: Response, environ: Mapping[str, Any]) -> Response:
        """Release it when the response was sent, or its client has disconnected."""
        if environ["REQUEST_METHOD"] == "HEAD":
            # Nothing is sent, and Werkzeug drops the response without closing it.
            self.release()
            return response
        self._socket = connection_of(environ)
        if response.direct_passthrough:
            self.moved()
            if response.content_length is not None:
                size = response.content_length
                self._last = time.monotonic() + SEND_SECONDS + size / SLOWEST
            response.response = Held(response.response, self)
        else:
            self.moved(response.content_length or 0)
            response.call_on_close(self.release)
        if self._socket is not None:
            self._under_way.watch(self)
        return response

    def moved(self, size: int = 0) -> None:
        """Note that the client has read everything, and is sent more.

        :param size: its size in bytes, if it is large.
        """
        self._ends = time.monotonic() + SEND_SECONDS + size / SLOWEST

    @property
    def is_stuck(self) -> bool:
        """Whether the client takes too long to read."""
        return time.monotonic() > min(self._ends, self._last)

    def hang_up(self) -> None:
        """Close the connection, which ends the thread's wait for the client."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Held(Iterator[bytes]):
    """Sends a response piece by piece, while it holds a slot."""

    def __init__(self, pieces: Any, slot: Slot) -> None:
        self.pieces = pieces
        self._iterator = iter(pieces)
        self._slot = slot
        self._piece = b""
        self._sent = 0

    @property
    def is_begun(self) -> bool:
        """Whether a piece was taken, a part of which may still be here."""
        return self._sent > 0

    def __next__(self) -> bytes:
        self._slot.moved()
        if self._sent >= len(self._piece):
            try:
                self._piece, self._sent = next(self._iterator), 0
            except StopIteration:
                self._slot.release()
                raise
            self._slot.moved()
        # An answer that is ahead of its client may have buffered megabytes.
        self._sent += PIECE
        return self._piece[self._sent - PIECE : self._sent]

    def close(self) -> None:
        """Release the slot; every WSGI server calls this at the end, however it comes."""
        try:
            if hasattr(self.pieces, "close"):
                self.pieces.close()
        finally:
            self._slot.release()


def _subtract(counts: Counter[Key], keys: Any) -> None:
    for key in keys:
        counts[key] -= 1
        if counts[key] <= 0:
            del counts[key]
