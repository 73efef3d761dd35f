"""A Flask application under uvicorn or hypercorn, where a stream holds no thread.

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
from .server.streaming.asgi_stream import Pulse

try:
    from .server.streaming.asgi_request import Exchange
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "a2wsgi":
        raise
    raise ImportError("ChatKitASGI needs a2wsgi: pip install 'flask-chatkit[asgi]'") from error

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["ChatKitASGI"]

logger = logging.getLogger("flask_chatkit")

#: Seconds between two checks of the streams, for silence and for clients that don't read.
PULSE_SECONDS = 0.2
#: Seconds that streams get to send their last events once all answers have ended.
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
        """Handle a request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._handle(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse(scope, receive, send)
        else:
            raise ValueError(f"ChatKitASGI does not support the scope type {scope['type']!r}")

    async def _handle(self, scope: Message, receive: Receive, send: Send) -> None:
        self._use_running_loop()
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        await Exchange(self.app, self._executor(), self._pulse, scope, receive, send).run()

    def _use_running_loop(self) -> None:
        """Have answers run on the server's loop; not all servers send lifespan events."""
        running = asyncio.get_running_loop()
        if self._home is running:
            return
        self._home = running
        self._pulse = Pulse(PULSE_SECONDS)
        self._running = set()
        if not loop.adopt().is_on(running):
            logger.warning(
                "Answers run on a loop in a separate thread, which was needed before the server's "
                "ran: call no chat while the application is created"
            )

    def _executor(self) -> ThreadPoolExecutor:
        # Not created earlier: gunicorn may fork after the application was created.
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "flask_chatkit request")
        return self._pool

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Handle the lifespan events: answers under way end before the server does."""
        await receive()
        self._use_running_loop()
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
    """Refuse a WebSocket connection with 404."""
    await receive()
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close", "code": 1000})
