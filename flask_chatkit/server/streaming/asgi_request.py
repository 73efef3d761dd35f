"""One ASGI request: the application runs in a thread, and a stream is sent on the loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as LoopTimeout
from functools import partial
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import ClientDisconnected

from ...limits.bodies import SLOWEST
from ...limits.concurrency import SEND_SECONDS
from .asgi_environ import RequestBody, is_read_ahead, make_environ
from .asgi_stream import ENVIRON, Feed, Handoff, Pulse, leads_to

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from .subscriber import Subscriber

logger = logging.getLogger("flask_chatkit")

Message = MutableMapping[str, Any]

#: Bytes of a response that are sent at a time, where its length is known.
BLOCK = 65_536
#: Seconds that a stream gets to send its last events when the server ends.
CLEANUP_SECONDS = 4.0


class Exchange:
    """One request and its response.

    :param app: the WSGI application.
    :param pool: the threads that it runs in.
    :param pulse: sends heartbeats, and ends streams that are not read.
    """

    def __init__(
        self,
        app: WSGIApplication,
        pool: Executor,
        pulse: Pulse,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self._app = app
        self._pool = pool
        self._pulse = pulse
        self._scope = scope
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._handoff = Handoff()
        self._start: Message | None = None
        self._is_started = False
        self._iterable: Iterable[bytes] | None = None
        self._rest = b""
        self._gone = False
        self._sending_since = 0.0
        #: Seconds that a thread may still wait for the client, if the length is known.
        self._patience: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._body = RequestBody(self._loop, receive)
        self._watching: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Respond to the request."""
        body = self._body
        if is_read_ahead(self._scope["headers"]):
            try:
                await body.fill()
            except ClientDisconnected:
                return
        environ = make_environ(self._scope, body)
        environ[ENVIRON] = self._handoff
        run = partial(contextvars.copy_context().run, self._in_thread, environ)
        try:
            subscriber = await self._loop.run_in_executor(self._pool, run)
        except ClientDisconnected:
            return
        except asyncio.CancelledError:
            self._give_up()
            raise
        finally:
            if self._watching is not None:
                self._watching.cancel()
        if subscriber is not None:
            await self._stream(subscriber)
            return
        if not self._is_started and self._start is not None:
            await self._send(self._start)
        await self._send(_part(self._rest, more=False))

    # --- in a thread ---------------------------------------------------------------------------

    def _in_thread(self, environ: dict[str, Any]) -> Subscriber | None:
        """Run the application; returns the stream to be read on the loop, if there is one."""
        iterable = self._app(environ, self._start_response)
        subscriber = self._handoff.subscriber
        if subscriber is not None and self._is_unchanged(iterable, subscriber):
            self._iterable = iterable
            if self._gone:
                self._give_up()
            return subscriber
        try:
            self._write_all(iterable)
        finally:
            _close(iterable)
        return None

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        if exc_info is not None and self._is_started:
            raise exc_info[1].with_traceback(exc_info[2])
        self._start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [
                (name.strip().lower().encode("latin-1"), value.strip().encode("latin-1"))
                for name, value in headers
            ],
        }
        if self._body.is_late and self._scope["http_version"].startswith("1"):
            # So that the server does not wait for the rest of the body, either.
            self._start["headers"].append((b"connection", b"close"))
        return self._write

    def _is_unchanged(self, iterable: object, subscriber: Subscriber) -> bool:
        """Whether no hook and no middleware has changed a stream."""
        if not leads_to(iterable, subscriber):
            return False
        if self._start is None or self._start["status"] != 200:
            return False
        headers = dict(self._start["headers"])
        is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        return is_stream and b"content-encoding" not in headers and not self._is_started

    def _write_all(self, iterable: Iterable[bytes]) -> None:
        """Send a response as it comes; a small one is sent after the thread has returned."""
        length: int | None = None
        waiting: list[bytes] = []
        size = 0
        for chunk in iterable:
            if length is None:
                known = dict(self._start["headers"] if self._start else ()).get(b"content-length")
                length = int(known) if known else 0
                self._patience = SEND_SECONDS + length / SLOWEST if known else None
            waiting.append(chunk)
            size += len(chunk)
            if size >= min(length, BLOCK):
                if self._is_started or size != length:
                    self._write(b"".join(waiting))
                    waiting.clear()
                size = sum(map(len, waiting))
        self._rest = b"".join(waiting)

    def _write(self, chunk: bytes) -> None:
        """Send a chunk, and wait until the client has taken what was sent before."""
        if not chunk:
            return
        if not self._is_started and self._start is not None:
            self._is_started = True
            self._loop.call_soon_threadsafe(self._watch_meanwhile)
            self._send_from_thread(self._start)
        self._send_from_thread(_part(chunk, more=True))

    def _send_from_thread(self, message: Message) -> None:
        if self._gone:
            raise ClientDisconnected
        began = time.monotonic()
        seconds = SEND_SECONDS if self._patience is None else min(SEND_SECONDS, self._patience)
        sending = asyncio.run_coroutine_threadsafe(_sent(self._send, message), self._loop)
        try:
            sending.result(max(seconds, 0.0))
        except (LoopTimeout, OSError):
            sending.cancel()
            self._gone = True
            raise ClientDisconnected from None
        if self._patience is not None:
            self._patience -= time.monotonic() - began

    # --- on the loop ---------------------------------------------------------------------------

    def _watch_meanwhile(self) -> None:
        """Notice that the client disconnects while a thread writes, which raises nothing."""
        if self._body.is_whole:
            self._watching = self._loop.create_task(self._watch(self._on_disconnect))

    def _on_disconnect(self) -> None:
        self._gone = True
        if self._handoff.subscriber is not None:
            self._handoff.subscriber.close()

    async def _stream(self, subscriber: Subscriber) -> None:
        """Send a stream until it ends or the client disconnects."""
        feed = Feed(subscriber)
        self._task = asyncio.current_task()
        watching = self._loop.create_task(self._watch(feed.close))
        self._pulse.add(feed.tick)
        self._pulse.add(self._check_reading)
        try:
            await self._forward(feed)
        except asyncio.CancelledError:
            if self._gone:
                return
            # The server ends. What was sent is stored, and the client is asked to try again.
            subscriber.stream.interrupt()
            await asyncio.wait(
                [self._loop.create_task(self._forward(feed))], timeout=CLEANUP_SECONDS
            )
        except OSError:
            # Some servers report a disconnected client like this.
            logger.debug("A client has disconnected from a stream")
        finally:
            self._pulse.discard(feed.tick)
            self._pulse.discard(self._check_reading)
            watching.cancel()
            feed.close()
            await self._end(subscriber)

    async def _forward(self, feed: Feed) -> None:
        if not self._is_started:
            self._is_started = True
            await self._send(self._start or {})
        while chunk := await feed.read():
            self._sending_since = time.monotonic()
            await self._send(_part(chunk, more=True))
            self._sending_since = 0.0
        await self._send(_part(b"", more=False))

    async def _watch(self, on_disconnect: Callable[[], None]) -> None:
        """Call a function as soon as the client disconnects."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        on_disconnect()

    def _check_reading(self, now: float) -> None:
        """End a stream that the client does not read."""
        since = self._sending_since
        if since and now - since > SEND_SECONDS and self._task is not None and not self._gone:
            self._gone = True
            self._task.cancel()

    async def _end(self, subscriber: Subscriber) -> None:
        iterable, self._iterable = self._iterable, None
        if iterable is not None and iterable is not subscriber:
            # A middleware's, which may take its time to close.
            await self._loop.run_in_executor(self._pool, _close, iterable)

    def _give_up(self) -> None:
        """The server has cancelled the request while a thread has it, or since."""
        self._on_disconnect()
        _close(self._iterable)


def _part(chunk: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


async def _sent(send: Callable[[Message], Awaitable[None]], message: Message) -> None:
    await send(message)


def _close(iterable: object) -> None:
    close = getattr(iterable, "close", None)
    if close is not None:
        close()
