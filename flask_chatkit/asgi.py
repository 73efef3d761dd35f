"""The same Flask application under uvicorn or hypercorn, where an answer holds no thread.

Every request runs through the application in a thread of a bounded pool, with the same hooks,
guards and limits as under a WSGI server. A streamed answer leaves its thread at its first event:
from then on the server's own loop sends it. Answers run on that loop too.

This needs the extra ``asgi``: a2wsgi makes the environment and the body of a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from .server.streaming import loop
from .server.streaming.feed import Pulse

try:
    from .server.streaming.exchange import Exchange
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "a2wsgi":
        raise
    raise ImportError("ChatKitASGI needs a2wsgi: pip install 'flask-chatkit[asgi]'") from error

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["ChatKitASGI"]

logger = logging.getLogger("flask_chatkit")

#: Seconds between two looks at the streams that are silent, or whose clients don't read.
PULSE_SECONDS = 0.2
#: Seconds that streams get to write their last words once all answers have ended.
CLEANUP_SECONDS = 2.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ChatKitASGI:
    """A Flask application for an ASGI server.

    .. code-block:: python

        app = ChatKitASGI(create_app())

    :param app: the application.
    :param threads: how many requests run through it at a time. Streamed answers do not count once
        their first event is sent. Other requests wait for a thread.
    """

    def __init__(self, app: WSGIApplication, *, threads: int = 64) -> None:
        self.app = app
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._pulse = Pulse(PULSE_SECONDS)
        self._home: asyncio.AbstractEventLoop | None = None
        self._running: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or see to the server's beginning and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse(scope, receive, send)
        else:
            raise ValueError(f"ChatKitASGI does not know what {scope['type']!r} is")

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        self._settle_in()
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        await Exchange(self.app, self._threads_of(), self._pulse, scope, receive, send).run()

    def _settle_in(self) -> None:
        """Have answers run on the loop that runs here; a server may not tell when it begins."""
        running = asyncio.get_running_loop()
        if self._home is running:
            return
        self._home = running
        self._pulse = Pulse(PULSE_SECONDS)
        self._running = set()
        if not loop.adopt().is_on(running):
            logger.warning(
                "Answers run on a loop in a thread of its own, since it was needed before the "
                "server's ran: make no calls of chats while the application is made"
            )

    def _threads_of(self) -> ThreadPoolExecutor:
        # Not made earlier: gunicorn may fork after the application was made.
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "flask_chatkit request")
        return self._pool

    async def _live(self, receive: Receive, send: Send) -> None:
        """Begin with the server, and let answers under way end before it does."""
        await receive()
        self._settle_in()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        known = loop.adopt()
        if known.is_on(asyncio.get_running_loop()):
            await known.drain()
        if self._running:
            await asyncio.wait(self._running, timeout=CLEANUP_SECONDS)
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None
        await send({"type": "lifespan.shutdown.complete"})


async def _refuse(scope: Message, receive: Receive, send: Send) -> None:
    """Tell a client that there is no WebSocket here."""
    await receive()
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close", "code": 1000})
