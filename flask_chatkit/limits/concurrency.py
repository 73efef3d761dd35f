"""How much one visitor has under way in one process: answers, files up and down, reads.

Each holds a thread of the server's, until the last byte was read. A client that does not read would
hold it for ever: where the server shows the connection, it is closed after a while.

Where it is known how many threads there are, a visitor has at most half of those that others have
left free: the more is under way, the less one may begin. An address has three fourths of all.
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
from ..runtime.processes import worker_threads
from .addresses import networks_of
from .ratelimit import VISITORS

logger = logging.getLogger("flask_chatkit")

#: What one visitor has under way, of any kind.
AT_A_TIME = 8
#: Calls of one visitor that run the site's own functions, such as feedback.
CALLS_AT_A_TIME = 2
#: Seconds that a call waits for one before it to end. A browser asks for many pictures at once.
WAIT_SECONDS = 0.5
#: Calls of one visitor that wait, for each that is under way.
WAITING = 1
#: Calls that wait in a process: so many, or a fourth of its threads; half of them of one visitor.
WAITING_IN_ALL = 16
#: What a visitor may have under way however little is free.
LEAST = 2
#: Seconds after which a client that takes none of what it is sent is given up.
SEND_SECONDS = 30.0
#: Bytes of a stream or a file that are sent at once, in that time.
PIECE = 64 * 1024
#: Bytes a second that a client takes at least of an answer whose length is known.
SLOWEST = 16 * 1024
#: How often that is looked at, in seconds.
LOOK_SECONDS = 2.0

#: Under what the servers show a request's connection.
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")

Key = tuple[str, str, str]
BUSY = "Please wait until what you asked for before is done."


class UnderWay:
    """What is under way in this process, by visitor and by address.

    :param by_address: whether the anonymous visitors of an address are held to a share together.
    """

    def __init__(self, *, by_address: bool) -> None:
        self._by_address = by_address
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._dropped: deque[list[Key]] = deque()
        # Both forget a name when its count is zero, so they hold no more than the server's threads.
        self._counts: Counter[Key] = Counter()
        self._waiting: Counter[Key] = Counter()
        self._threads = worker_threads()
        # Weak: a response that is dropped unsent leaves its connection to the next one.
        self._sending: WeakSet[Slot] = WeakSet()
        self._watcher: threading.Thread | None = None

    def take(self, owner: str, address: str | None) -> Slot:
        """Note that something begins; it waits a moment for what was begun before.

        :param owner: who asks.
        :param address: where from, by :func:`.address_of`; None for who is
            signed in, whom no address makes up.
        :returns: what ends it; :meth:`Slot.check` tells whether it may go on.
        """
        if self._pid != os.getpid():
            self._start_anew()  # the parent's requests are not ours, and it may have held the lock
        slot = Slot(self, owner, address if self._by_address else None)
        slot.refusal = self.enter(slot, "request", AT_A_TIME)
        return slot

    def enter(self, slot: Slot, kind: str, most: int) -> RateLimited | None:
        """Count a slot once more, as of some kind.

        :returns: the refusal, if there are too many of that kind.
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
        """Those limits that are reached, as they are at this moment."""
        now = {key: self._at_this_moment(key, most) for key, most in limits.items()}
        return {key: most for key, most in now.items() if self._counts[key] >= most}

    def _at_this_moment(self, key: Key, most: int) -> int:
        kind, whose, _ = key
        threads = self._threads
        if threads is None or kind != "request":
            return most
        under_way = self._counts[kind, "process", ""]
        if whose == "address" or under_way == self._counts[key]:
            # However many visitors an address makes up, and however alone somebody is.
            return min(most, max(LEAST, threads - max(1, threads // 4)))
        return min(most, max(LEAST, (threads - under_way) // 2))

    def _wait(self, limits: Mapping[Key, int]) -> bool:
        """Wait for room; who waits holds a thread, so few may."""
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
        """Note that something has ended."""
        with self._changed:
            self._sending.discard(slot)
            keys, slot.keys = slot.keys, []
            _subtract(self._counts, keys)
            self._changed.notify_all()

    def watch(self, slot: Slot) -> None:
        """Close a slot's connection when its client takes nothing for too long."""
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
            # Not under the lock: a handler of the log's may do anything.
            for _ in stuck:
                logger.info("A connection was closed whose client is too slow")
            if is_last:
                return

    def drop(self, keys: list[Key]) -> None:
        """Note what a slot held that the garbage collector found, in whatever thread and moment."""
        self._dropped.append(keys)

    def _collect(self) -> None:
        while self._dropped:
            _subtract(self._counts, self._dropped.popleft())

    def __len__(self) -> int:
        """How many names are counted under."""
        with self._changed:
            self._collect()
            return len(self._counts)


class Slot:
    """One thing that is under way, until it is released; once is enough, and never too often.

    :param under_way: where it is counted.
    :param owner: whose it is.
    :param address: where from, if that counts.
    """

    def __init__(self, under_way: UnderWay, owner: str, address: str | None) -> None:
        self.owner = owner
        self.address = address
        self.refusal: RateLimited | None = None
        #: What it is counted under.
        self.keys: list[Key] = []
        self._under_way = under_way
        self._pid = os.getpid()
        self._socket: Any = None
        self._ends = 0.0
        #: When all must have been sent, where it is known how much that is.
        self._last = float("inf")

    def check(self) -> None:
        """Tell who has too much under way.

        :raises RateLimited: this is one too many.
        """
        if self.refusal is not None:
            raise self.refusal

    def call_site(self) -> None:
        """Note that it runs a function of the site's.

        :raises RateLimited: too many of this visitor's do.
        """
        refusal = self._under_way.enter(self, "call", CALLS_AT_A_TIME)
        if refusal is not None:
            raise refusal

    def release(self) -> None:
        """It has ended."""
        if self.keys and self._pid == os.getpid():
            self._under_way.leave(self)
        self._socket = None

    def __enter__(self) -> Slot:  # noqa: PYI034  Self is of Python 3.11
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Release it if the block fails; else :meth:`hold` says when."""
        if error is not None:
            self.release()

    def __del__(self) -> None:
        # A response that nobody sends, such as one that a hook of the site's puts another one in
        # the place of, is closed by nobody either.
        # No lock is taken here: the thread may hold it.
        keys, self.keys = self.keys, []
        if keys and self._pid == os.getpid():
            self._under_way.drop(keys)

    def hold(self, response: Response, environ: Mapping[str, Any]) -> Response:
        """Release it when the response was sent, or its client has gone."""
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
        """The client has taken all that it was sent, and is sent more.

        :param size: bytes, if they are many.
        """
        self._ends = time.monotonic() + SEND_SECONDS + size / SLOWEST

    @property
    def is_stuck(self) -> bool:
        """Whether the client takes too long over what it is sent."""
        return time.monotonic() > min(self._ends, self._last)

    def hang_up(self) -> None:
        """Close the connection: who waits for the client in a thread of its own, is told there."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Held(Iterator[bytes]):
    """What is sent piece by piece, while it holds a slot."""

    def __init__(self, pieces: Any, slot: Slot) -> None:
        self.pieces = pieces
        self._iterator = iter(pieces)
        self._slot = slot
        self._piece = b""
        self._sent = 0

    @property
    def is_begun(self) -> bool:
        """Whether a piece was taken, of which a part may be here."""
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
        # What an answer was ahead of its client may be megabytes.
        self._sent += PIECE
        return self._piece[self._sent - PIECE : self._sent]

    def close(self) -> None:
        """Called by every WSGI server at the end, whoever ended it."""
        try:
            if hasattr(self.pieces, "close"):
                self.pieces.close()
        finally:
            self._slot.release()


def connection_of(environ: Mapping[str, Any]) -> Any:
    """The connection that a request has come by, where the server shows it, or None."""
    return next((environ[name] for name in _SOCKETS if name in environ), None)


def _subtract(counts: Counter[Key], keys: Any) -> None:
    for key in keys:
        counts[key] -= 1
        if counts[key] <= 0:
            del counts[key]
