"""Limits on the time that a client takes to send a body, while a server holds a thread for it.

A server's timeout bounds the wait for the next bytes, if it has one: a client that sends one now
and then would hold the thread for ever. Where the server exposes the connection, it is closed.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from flask import Request, Response
from werkzeug.exceptions import RequestTimeout

from ..runtime.processes import PerProcess
from ..runtime.watchdog import Watchdog

logger = logging.getLogger("flask_chatkit")

#: Seconds for a body, and one more for each ``SLOWEST`` bytes of it.
RECEIVE_SECONDS = 30.0
#: Seconds for the rest of a body whose request was answered without it.
DISCARD_SECONDS = 5.0
#: Least bytes a second that a client sends, or reads of a response whose length is known.
SLOWEST = 16 * 1024
#: Where servers put a request's connection in its environment.
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")


class _Reading:
    """A body being read; see :class:`~flask_chatkit.runtime.watchdog.Ending`."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection = connection
        self.deadline = time.monotonic() + seconds
        self.ended = False

    def end(self) -> None:
        """Close the connection, which ends the read."""
        self.ended = True
        logger.info("A connection was closed whose client is too slow to send a body")
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def in_time(request: Request, most: int) -> Iterator[None]:
    """Bound how long the block may read the request's body.

    :param most: most bytes that are read of it.
    :raises RequestTimeout: it took longer, and the connection is closed.
    """
    connection = connection_of(request.environ)
    if connection is None or not _has_body(request):
        yield
        return
    size = min(request.content_length or most, most)
    with _reading(connection, RECEIVE_SECONDS + size / SLOWEST) as reading:
        try:
            yield
        except Exception:
            if reading.ended:
                raise RequestTimeout from None
            raise


def end_unread(request: Request, response: Response) -> None:
    """Bound how long the server reads the rest of a body after the response.

    Gunicorn reads the rest before it takes the connection's next request, and bounds the time for
    each piece only (27.0): a byte now and then would hold the thread.
    """
    connection = request.environ.get("gunicorn.socket")
    if connection is None or not _has_body(request):
        return
    body = request.environ["wsgi.input"]

    def discard() -> None:
        # Gunicorn raises errors of its own if the connection has ended.
        with _reading(connection, DISCARD_SECONDS), suppress(Exception):
            while body.read(64 * 1024):
                pass

    response.call_on_close(discard)


@contextmanager
def _reading(connection: Any, seconds: float) -> Iterator[_Reading]:
    """Close the connection if the block takes longer."""
    reading, watchdog = _Reading(connection, seconds), _watchdogs.get()
    watchdog.add(reading)
    try:
        yield reading
    finally:
        watchdog.discard(reading)


def connection_of(environ: Mapping[str, Any]) -> Any:
    """The connection of a request, if the server exposes it; else None."""
    return next((environ[name] for name in _SOCKETS if name in environ), None)


def _has_body(request: Request) -> bool:
    coding = request.headers.get("Transfer-Encoding", "").lower()
    return bool(request.content_length or "chunked" in coding)


#: A forked process does not have the parent's thread.
_watchdogs = PerProcess(Watchdog)
