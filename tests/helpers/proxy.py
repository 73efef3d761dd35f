"""A small reverse proxy, real HTTP on both sides, that does wrong what it is told to."""

from __future__ import annotations

import gzip
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect"}


@dataclass(kw_only=True)
class Habits:
    """What the proxy does; by default what is right.

    :param forwards: whether it sends X-Forwarded-…, and overwrites what came.
    :param appends: whether it passes on what came of X-Forwarded-For as it is.
    :param scheme: the scheme that it says the visitor used.
    :param keeps_host: whether the application gets the visitor's Host.
    :param buffers: whether an answer is held back until it is whole.
    :param compresses: whether answers are compressed; never buffered for it.
    :param max_body: bytes of the longest body that it takes; None for any.
    :param strips: headers of requests that it takes away, in lower case.
    :param answers: statuses that it answers itself, by what a path ends with.
    :param basic: whether it wants a name and password.
    :param headers: what it sets in answers.
    """

    forwards: bool = True
    appends: bool = False
    scheme: str = "http"
    keeps_host: bool = True
    buffers: bool = False
    compresses: bool = False
    max_body: int | None = None
    strips: frozenset[str] = frozenset()
    answers: dict[str, int] = field(default_factory=dict)
    basic: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str, habits: Habits) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.habits = urlsplit(upstream), habits


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.server.habits.headers.get("Date") or super().date_time_string(timestamp)

    def _short(self, status: int, **headers: str) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def _refuses(self) -> bool:
        habits = self.server.habits
        path = self.path.partition("?")[0]
        for end, status in habits.answers.items():
            if path.endswith(end):
                self._short(status)
                return True
        given = self.headers.get("Authorization", "")
        if habits.basic and not given.startswith("Basic "):
            self._short(401, WWW_Authenticate='Basic realm="staging"')
            return True
        if habits.max_body is not None and int(self.headers["Content-Length"] or 0) > (
            habits.max_body
        ):
            self._short(413)
            return True
        return False

    def handle_expect_100(self) -> bool:
        return not self._refuses() and super().handle_expect_100()

    def _pass(self) -> None:
        habits, target = self.server.habits, self.server.target
        if self._refuses():
            return
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        sent = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in _HOP | habits.strips
        }
        if not habits.keeps_host:
            sent["Host"] = target.netloc
        if habits.forwards:
            if not (habits.appends and "X-Forwarded-For" in sent):
                sent["X-Forwarded-For"] = self.client_address[0]
            sent["X-Forwarded-Proto"] = habits.scheme
            sent["X-Forwarded-Host"] = self.headers["Host"]
        line = http.client.HTTPConnection(target.hostname or "", target.port, timeout=10)
        line.request(self.command, self.path, body, sent)
        self._answer(line.getresponse())
        line.close()

    def _answer(self, found: http.client.HTTPResponse) -> None:
        habits = self.server.habits
        self.close_connection = True
        self.send_response_only(found.status)
        set_here = {name.lower() for name in habits.headers}
        for name, value in found.getheaders():
            if name.lower() not in {*_HOP, *set_here, "content-length"}:
                self.send_header(name, value)
        for name, value in habits.headers.items():
            self.send_header(name, value)
        if habits.compresses:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Connection", "close")
        self.end_headers()
        pieces = [found.read()] if habits.buffers else iter(lambda: found.read1(65536), b"")
        for piece in pieces:
            # Each piece is a whole member, so that it can be unpacked when it comes.
            self.wfile.write(gzip.compress(piece) if habits.compresses else piece)
            self.wfile.flush()

    do_GET = do_POST = do_PUT = _pass  # noqa: N815  http.server's names


@contextmanager
def proxy(upstream: str, habits: Habits) -> Iterator[str]:
    """Run the proxy in front of a site; its address, until the test ends."""
    server = _Server(upstream, habits)
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
