"""An answer that is read on an event loop, without a thread; see :mod:`flask_chatkit.asgi`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from werkzeug.wsgi import ClosingIterator

from ...limits.concurrency import Held

if TYPE_CHECKING:
    from flask import Request

    from .stream import Reader

#: Where a request's environment has the :class:`Handoff`, if it was made by an ASGI server.
ENVIRON = "flask_chatkit.asgi"


#: Classes of others that pass everything on as it is: their module and name, and the attribute that
#: has what they are around.
PASSING = {("sentry_sdk.integrations.wsgi", "_ScopedResponse"): "_response"}


class Handoff:
    """What a view leaves for the ASGI server: the answer that is to be read on its loop."""

    def __init__(self) -> None:
        self.reader: Reader | None = None


def hand_off(request: Request, reader: Reader) -> None:
    """Leave an answer to the ASGI server that has made a request, if one has."""
    handoff = request.environ.get(ENVIRON)
    if isinstance(handoff, Handoff):
        handoff.reader = reader


def leads_to(iterable: object, reader: Reader) -> bool:
    """Whether iterating over what an application returns is the same as reading an answer.

    Only what is known to pass everything on as it is may be around it: what a class of the site's
    does to the pieces can't be told, so that one is iterated over.
    """
    while iterable is not reader:
        if type(iterable) is ClosingIterator:
            # It keeps nothing else of what it was made of.
            args = getattr(getattr(iterable, "_next", None), "args", None)
            if not args:
                return False
            iterable = args[0]
        elif isinstance(iterable, Held) and not iterable.is_begun:
            iterable = iterable.pieces
        else:
            kind = type(iterable)
            iterable = getattr(iterable, PASSING.get((kind.__module__, kind.__name__), ""), None)
            if iterable is None:
                return False
    return True


class Feed:
    """One client's answer, read on the loop that runs.

    :param reader: what it reads; no thread does so any more.
    :param heartbeat: what :meth:`read` returns after a while of silence.
    """

    def __init__(self, reader: Reader, heartbeat: bytes) -> None:
        self._reader = reader
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._is_silent = False
        #: When the last piece was handed on, in monotonic seconds.
        self._since = time.monotonic()
        is_here = reader.answer.runs_on(self._loop)
        reader.notify = self._wake if is_here else self._wake_from_thread

    async def read(self) -> bytes:
        """What was said since the last time, a heartbeat, or nothing at the end."""
        reader = self._reader
        while not self._closed:
            if not reader.is_waited_for:
                self._since = time.monotonic()
                return reader.take()
            if self._is_silent:
                self._is_silent = False
                self._since = time.monotonic()
                return self._heartbeat
            self._waiter = self._loop.create_future()
            await self._waiter
        return b""

    def tick(self, now: float) -> None:
        """Have a heartbeat written, if it is time for one."""
        if now - self._since >= self._reader.answer.heartbeat_seconds:
            self._is_silent = True
            self._wake()

    def close(self) -> None:
        """The client has gone, or has everything: the answer is told, and reading ends."""
        self._closed = True
        self._reader.notify = None
        self._reader.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wake_from_thread(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            # The server's loop has ended, and nobody reads there any more.
            self._reader.notify = None


class Pulse:
    """Looks after everything that waits on one loop, a few times in a second.

    One timer for all of them, since a timer for each piece would cost as much as the piece.

    :param seconds: the time between two looks.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched: set[Callable[[float], Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, look: Callable[[float], Any]) -> None:
        """Call a function with the monotonic time from now on."""
        self._watched.add(look)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._beat)

    def discard(self, look: Callable[[float], Any]) -> None:
        """Call a function no more."""
        self._watched.discard(look)

    def _beat(self) -> None:
        now = time.monotonic()
        for look in list(self._watched):
            look(now)
        self._timer = None
        if self._watched:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._beat)
