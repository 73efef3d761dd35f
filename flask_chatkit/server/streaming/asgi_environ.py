"""The WSGI environment and body of an ASGI request."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import TimeoutError as LoopTimeout
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote

from a2wsgi.wsgi import Body, build_environ
from werkzeug.exceptions import ClientDisconnected, RequestTimeout

from ...limits.bodies import SLOWEST

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

#: Seconds in all that a client may take to send a body, and one more for each ``SLOWEST`` bytes
#: received.
RECEIVE_SECONDS = 30.0
#: Bytes of a body that are read before the request gets a thread.
AHEAD = 65_536

_ASCII = "".join(map(chr, range(33, 127)))


class RequestBody(Body):
    """A body that is received on the server's loop, and read in a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive) -> None:
        super().__init__(loop, cast("Any", receive))
        self._receive = receive
        self._received = 0
        #: Seconds spent waiting for the client, without those that the application took.
        self._waited = 0.0
        #: Whether the client was too slow; nothing more is received then.
        self.is_late = False

    @property
    def is_whole(self) -> bool:
        """Whether all of it was received."""
        return not self._has_more

    async def fill(self) -> None:
        """Receive the first bytes, or all of a small body, on the loop.

        If that takes too long, a later read raises :exc:`RequestTimeout`.

        :raises ClientDisconnected: the client disconnected before it had sent everything.
        """
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._fill(), RECEIVE_SECONDS + AHEAD / SLOWEST)
            return
        self.is_late = True

    async def _fill(self) -> None:
        while self._has_more and len(self.buffer) < AHEAD:
            self.buffer.extend(self._part(await self._receive()))

    def _receive_more_data(self) -> bytes:
        if not self._has_more:
            return b""
        seconds = RECEIVE_SECONDS + self._received / SLOWEST - self._waited
        if self.is_late or seconds <= 0:
            self.is_late = True
            raise RequestTimeout
        began = time.monotonic()
        coming = asyncio.run_coroutine_threadsafe(_received(self._receive), self.loop)
        try:
            return self._part(coming.result(min(seconds, RECEIVE_SECONDS)))
        except LoopTimeout:
            coming.cancel()
            self.is_late = True
            raise RequestTimeout from None
        finally:
            self._waited += time.monotonic() - began

    def _part(self, message: MutableMapping[str, Any]) -> bytes:
        if message["type"] == "http.disconnect":
            # A partial body must not pass for a complete one.
            raise ClientDisconnected
        self._has_more = message.get("more_body", False)
        part: bytes = message.get("body", b"")
        self._received += len(part)
        return part


async def _received(receive: Receive) -> MutableMapping[str, Any]:
    return await receive()


def is_read_ahead(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a body is read before the request gets a thread.

    A large one with an ``Expect`` header is not: the application may refuse it unread.
    """
    known = {name.lower(): value for name, value in headers}
    length = known.get(b"content-length", b"")
    is_large = length.isdigit() and int(length) > AHEAD
    return not (is_large and b"expect" in known)


def make_environ(scope: MutableMapping[str, Any], body: RequestBody) -> dict[str, Any]:
    """The WSGI environment of a request; nothing in it is trusted."""
    environ: dict[str, Any] = dict(build_environ(_plain(scope), body))
    environ["wsgi.errors"] = sys.stderr
    # The server has decoded a chunked body.
    environ["wsgi.input_terminated"] = True
    return environ


def _plain(scope: MutableMapping[str, Any]) -> Any:
    """A scope normalised for a2wsgi, which misreads some forms."""
    headers: list[tuple[bytes, bytes]] = []
    cookies: list[bytes] = []
    for name, value in scope["headers"]:
        lowered = name.lower()
        if lowered == b"cookie":
            # HTTP/2 sends each cookie in a separate header.
            cookies.append(value)
        elif b"_" not in lowered:
            # A name with an underscore would pass for the proxy's header with a hyphen.
            headers.append((lowered, value))
    if cookies:
        headers.append((b"cookie", b"; ".join(cookies)))
    root = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    if root and path != root and not path.startswith(f"{root}/"):
        # A proxy has removed the prefix, or the path only begins with the same letters.
        path = root + path
    query = quote(scope.get("query_string", b""), safe=_ASCII).encode()
    return {**scope, "headers": headers, "root_path": root, "path": path, "query_string": query}
