"""A call of the database: it has an end, whatever the server and the network do."""

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

#: Seconds after which a database that did not answer is tried again, by one call.
RECHECK_SECONDS = 1.0
#: Seconds that a visitor is told to wait.
RETRY_AFTER = 5
#: Seconds that a call gets to notice that its connection was shut.
GRACE = 0.5

_here = threading.local()


class Call:
    """A call under way, whose connection is shut at its deadline.

    :param seconds: how long it may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began = time.monotonic()
        self.deadline = self.began + seconds
        self.ended = False
        #: A driver's connection that is just being set up.
        self.begun: Any = None
        self._sockets: list[int] = []

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be tried."""
        return self.ended or time.monotonic() >= self.deadline

    def show(self, connection: Any) -> None:
        """Note the socket of a driver's connection.

        A number of our own for it: the driver may close its number at any time, and it would be
        that of somebody else's file when it is needed.
        """
        number = _number(connection)
        if number is not None:
            self._sockets.append(os.dup(number))
            if self.ended:
                self.end()

    def end(self) -> None:
        """Shut its connection: whoever reads from it sees the end."""
        self.ended = True
        for number in self._sockets[-1:]:
            shown = socket.socket(fileno=number)
            with contextlib.suppress(OSError):
                shown.shutdown(socket.SHUT_RDWR)
            shown.detach()

    def close(self) -> None:
        """Forget the sockets; nothing ends it any more."""
        if self.begun is not None:
            # What SQLAlchemy asked it at first has failed, and then nobody else closes it.
            with contextlib.suppress(Exception):
                self.begun.close()
        while self._sockets:
            os.close(self._sockets.pop())


def _number(connection: Any) -> int | None:
    """The file number of a connection's socket; None if there is none, or none is known."""
    try:
        source = connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)
        number = -1 if source is None else int(source.fileno())
    except Exception:  # noqa: BLE001 - closed meanwhile, which each driver says in its own way
        return None
    return number if number >= 0 else None


def show_socket(connection: Any) -> None:
    """Show the socket of a connection that is being made to the call of this thread."""
    call: Call | None = getattr(_here, "call", None)
    if call is not None:
        call.show(connection)


def show_connection(connection: Any, _record: object) -> None:
    """Show a driver's connection, as soon as there is one, to the call of this thread."""
    show_socket(connection)
    call: Call | None = getattr(_here, "call", None)
    if call is not None:
        call.begun = connection


@contextmanager
def watched(watchdog: Watchdog, call: Call) -> Iterator[None]:
    """Have a call of this thread ended at its deadline."""
    before, _here.call = getattr(_here, "call", None), call
    watchdog.add(call)
    try:
        yield
    finally:
        watchdog.discard(call)
        _here.call = before
        call.close()


class Health:
    """Whether a database answers: while it does not, one call a second finds that out for all.

    Otherwise each request would wait for as long as a call may take, and once for each of its
    calls.
    """

    def __init__(self) -> None:
        self._answered_at = time.monotonic()
        self._silent_until = 0.0

    def admit(self) -> None:
        """Let a call begin.

        :raises HistoryUnavailable: the database did not answer a moment ago.
        """
        until = self._silent_until
        if until:
            now = time.monotonic()
            if now < until:
                raise silent()
            self._silent_until = now + RECHECK_SECONDS

    def answered(self) -> None:
        """Note that a call was answered."""
        self._answered_at = time.monotonic()
        self._silent_until = 0.0

    def overdue(self, call: Call) -> None:
        """Note that a call was given up; if others were answered meanwhile, it was just long."""
        if self._answered_at < call.began:
            self._silent_until = time.monotonic() + RECHECK_SECONDS


def silent() -> HistoryUnavailable:
    """What is raised while the database is known not to answer."""
    return HistoryUnavailable(
        detail="the history's database does not answer", retry_after=RETRY_AFTER
    )


def overdue(call: Call) -> HistoryUnavailable:
    """What is raised for a call that was given up."""
    return HistoryUnavailable(
        detail=f"the history's database did not answer in {call.seconds:g} seconds",
        retry_after=RETRY_AFTER,
    )
