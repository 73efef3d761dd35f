"""What a WSGI application reads of a request that has come by ASGI."""

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

#: Seconds that a client may be waited for in all while it sends a body, and more of them for each
#: ``SLOWEST`` bytes that have come.
RECEIVE_SECONDS = 30.0
#: Bytes of a body that are read before a thread is asked for.
AHEAD = 65_536

_ASCII = "".join(map(chr, range(33, 127)))


class RequestBody(Body):
    """A body that is read in a thread, as it comes, from the loop of the server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive) -> None:
        super().__init__(loop, cast("Any", receive))
        self._receive = receive
        self._received = 0
        #: Seconds that the client was waited for. What the application does meanwhile is not its.
        self._waited = 0.0
        #: Whether the client was too slow, and is waited for no more.
        self.is_late = False

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come."""
        return not self._has_more

    async def fill(self) -> None:
        """Read what has come, or all of a small body, on the loop.

        Who reads one that takes too long is told by :exc:`RequestTimeout`, as in a thread.

        :raises ClientDisconnected: the client has gone before it had sent everything.
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
            # Half a body must not look like a whole one.
            raise ClientDisconnected
        self._has_more = message.get("more_body", False)
        part: bytes = message.get("body", b"")
        self._received += len(part)
        return part


async def _received(receive: Receive) -> MutableMapping[str, Any]:
    return await receive()


def is_read_ahead(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a body is read before a thread is asked for.

    All are, but a large one whose client asks first whether to send it: it may be refused unread.
    """
    known = {name.lower(): value for name, value in headers}
    length = known.get(b"content-length", b"")
    is_large = length.isdigit() and int(length) > AHEAD
    return not (is_large and b"expect" in known)


def make_environ(scope: MutableMapping[str, Any], body: RequestBody) -> dict[str, Any]:
    """Make the environment of a request, for one client that is believed in nothing."""
    environ: dict[str, Any] = dict(build_environ(_plain(scope), body))
    environ["wsgi.errors"] = sys.stderr
    # Servers have taken the chunks of a body apart.
    environ["wsgi.input_terminated"] = True
    return environ


def _plain(scope: MutableMapping[str, Any]) -> Any:
    """A scope whose parts a2wsgi takes for what they are."""
    headers: list[tuple[bytes, bytes]] = []
    cookies: list[bytes] = []
    for name, value in scope["headers"]:
        lowered = name.lower()
        if lowered == b"cookie":
            # HTTP/2 sends each cookie in a header of its own.
            cookies.append(value)
        elif b"_" not in lowered:
            # One with an underscore would pass for the header that a proxy sets, with a hyphen.
            headers.append((lowered, value))
    if cookies:
        headers.append((b"cookie", b"; ".join(cookies)))
    root = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    if root and path != root and not path.startswith(f"{root}/"):
        # A proxy has taken the prefix away; or the path only begins with the same letters.
        path = root + path
    query = quote(scope.get("query_string", b""), safe=_ASCII).encode()
    return {**scope, "headers": headers, "root_path": root, "path": path, "query_string": query}
