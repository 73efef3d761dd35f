"""A stream that is read on an event loop, without a thread; see :mod:`flask_chatkit.asgi`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...limits.concurrency import Held
from .._upstream import wrapped_by
from .sse import HEARTBEAT

if TYPE_CHECKING:
    from flask import Request

    from .subscriber import Subscriber

#: The key of a request's :class:`Handoff` in its environment, under an ASGI server.
ENVIRON = "flask_chatkit.asgi"


class Handoff:
    """Where a view leaves the stream that the ASGI server is to read on its loop."""

    def __init__(self) -> None:
        self.subscriber: Subscriber | None = None


def hand_off(request: Request, subscriber: Subscriber) -> None:
    """Leave a stream to the ASGI server, if there is one."""
    handoff = request.environ.get(ENVIRON)
    if isinstance(handoff, Handoff):
        handoff.subscriber = subscriber


def leads_to(iterable: object, subscriber: Subscriber) -> bool:
    """Whether iterating over a response is the same as reading a stream.

    That is so only inside wrappers that are known to change nothing.
    """
    while iterable is not subscriber:
        if isinstance(iterable, Held) and not iterable.is_begun:
            iterable = iterable.pieces
        else:
            iterable = wrapped_by(iterable)
            if iterable is None:
                return False
    return True


class Feed:
    """Reads a stream for one client on the running loop.

    :param subscriber: read by nobody else.
    """

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._is_silent = False
        #: When the last chunk was read, in monotonic seconds.
        self._since = time.monotonic()
        is_here = subscriber.stream.runs_on(self._loop)
        subscriber.notify = self._wake if is_here else self._wake_from_thread

    async def read(self) -> bytes:
        """What has arrived since the last call, a heartbeat, or ``b""`` at the end."""
        subscriber = self._subscriber
        while not self._closed:
            if not subscriber.is_waiting:
                self._since = time.monotonic()
                return subscriber.take()
            if self._is_silent:
                self._is_silent = False
                self._since = time.monotonic()
                return HEARTBEAT
            self._waiter = self._loop.create_future()
            await self._waiter
        return b""

    def tick(self, now: float) -> None:
        """Send a heartbeat, if one is due."""
        if now - self._since >= self._subscriber.stream.heartbeat_seconds:
            self._is_silent = True
            self._wake()

    def close(self) -> None:
        """Unsubscribe: the client has disconnected, or received everything."""
        self._closed = True
        self._subscriber.notify = None
        self._subscriber.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wake_from_thread(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            # The server's loop has ended.
            self._subscriber.notify = None


class Pulse:
    """Calls functions on one loop periodically, with one timer: one for each chunk is expensive.

    :param seconds: between two calls.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._acts: set[Callable[[float], Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, act: Callable[[float], Any]) -> None:
        """Call a function periodically from now on, with the monotonic time in seconds."""
        self._acts.add(act)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._beat)

    def discard(self, act: Callable[[float], Any]) -> None:
        """Stop calling a function."""
        self._acts.discard(act)

    def _beat(self) -> None:
        now = time.monotonic()
        for act in list(self._acts):
            act(now)
        self._timer = None
        if self._acts:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._beat)
