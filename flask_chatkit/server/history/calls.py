"""A database call with a deadline, whatever the server and the network do."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import HistoryUnavailable
from ...runtime.watchdog import Watchdog
from .._upstream import socket_of

#: Seconds after which a database that did not answer is tried again, by a single call.
RECHECK_SECONDS = 1.0
#: ``Retry-After``, in seconds.
RETRY_AFTER = 5
#: Seconds that a call has to notice that its connection was shut down.
GRACE = 0.5

_here = threading.local()


class Call:
    """A call whose connection is shut down at its deadline.

    :param seconds: seconds that it may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began = time.monotonic()
        self.deadline = self.began + seconds
        self.ended = False
        #: A driver's connection that is being set up.
        self.begun: Any = None
        self._sockets: list[int] = []

    @property
    def left(self) -> float:
        """The seconds left."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.ended or time.monotonic() >= self.deadline

    def show(self, connection: Any) -> None:
        """Register the socket of a driver's connection, so that the watchdog can shut it down.

        Its file descriptor is duplicated: the driver may close its own at any time, and the number
        could belong to another file when it is used.
        """
        descriptor = _descriptor(connection)
        if descriptor is not None:
            self._sockets.append(os.dup(descriptor))
            if self.ended:
                self.end()

    def end(self) -> None:
        """Shut the connection down, which ends reads and writes that wait for it."""
        self.ended = True
        for descriptor in self._sockets[-1:]:
            duplicate = socket.socket(fileno=descriptor)
            with contextlib.suppress(OSError):
                duplicate.shutdown(socket.SHUT_RDWR)
            duplicate.detach()

    def close(self) -> None:
        """Close the duplicated sockets; the call can no longer be ended."""
        if self.begun is not None:
            # SQLAlchemy does not close a connection whose first query fails.
            with contextlib.suppress(Exception):
                self.begun.close()
        while self._sockets:
            os.close(self._sockets.pop())


def _descriptor(connection: Any) -> int | None:
    """The file descriptor of a connection's socket; None if it has none, or it is unknown."""
    try:
        source = socket_of(connection)
        number = -1 if source is None else int(source.fileno())
    except Exception:  # noqa: BLE001 - each driver raises its own error for a closed connection
        return None
    return number if number >= 0 else None


def show_socket(connection: Any) -> None:
    """Register the socket of a new connection with this thread's call."""
    call: Call | None = getattr(_here, "call", None)
    if call is not None:
        call.show(connection)


def show_connection(connection: Any, _record: object) -> None:
    """Register a driver's new connection with this thread's call."""
    show_socket(connection)
    call: Call | None = getattr(_here, "call", None)
    if call is not None:
        call.begun = connection


@contextmanager
def watched(watchdog: Watchdog, call: Call) -> Iterator[None]:
    """End a call of this thread at its deadline."""
    before, _here.call = getattr(_here, "call", None), call
    watchdog.add(call)
    try:
        yield
    finally:
        watchdog.discard(call)
        _here.call = before
        call.close()


class Health:
    """Whether a database answers; while it does not, one call a second tries it for all others.

    Otherwise each request would wait until the deadline, once for each of its calls.
    """

    def __init__(self) -> None:
        self._answered_at = time.monotonic()
        self._silent_until = 0.0

    def admit(self) -> None:
        """Admit a call.

        :raises HistoryUnavailable: the database did not answer a moment ago.
        """
        until = self._silent_until
        if until:
            now = time.monotonic()
            if now < until:
                raise silent()
            self._silent_until = now + RECHECK_SECONDS

    def answered(self) -> None:
        """Record that a call was answered."""
        self._answered_at = time.monotonic()
        self._silent_until = 0.0

    def overdue(self, call: Call) -> None:
        """Record that a call was abandoned; if others were answered meanwhile, it was only long."""
        if self._answered_at < call.began:
            self._silent_until = time.monotonic() + RECHECK_SECONDS


def silent() -> HistoryUnavailable:
    """The error while the database is known not to answer."""
    return HistoryUnavailable(
        detail="the history's database does not answer", retry_after=RETRY_AFTER
    )


def overdue(call: Call) -> HistoryUnavailable:
    """The error for a call that was abandoned."""
    return HistoryUnavailable(
        detail=f"the history's database did not answer in {call.seconds:g} seconds",
        retry_after=RETRY_AFTER,
    )
