"""A small WSGI server for the stand-in: keep-alive, TLS, real resets and cuts, a quick stop."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_MAX_READ = 10_000_000  # bytes of a body; the application refuses longer ones
_JOIN = 2.0  # seconds for a connection's thread to end


class ResetConnectionError(ConnectionResetError):
    """Raised by a WSGI application to reset the connection instead of a response."""


class Server(socketserver.TCPServer):
    """Serves a WSGI application, each connection in its own daemon thread."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, app: WSGIApplication, host: str, port: int, ssl_context: ssl.SSLContext | None
    ) -> None:
        super().__init__((host, port), _Handler)
        self.app = app
        self.scheme = "http" if ssl_context is None else "https"
        if ssl_context is not None:
            # The handshake happens at the first read, in the connection's own thread.
            self.socket = ssl_context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True
        )

    def start(self) -> None:
        """Accept connections in a background thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, and close all connections."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            # Not SSLSocket.shutdown, which would remove the TLS layer under its thread.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join(_JOIN)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a new connection in a thread of its own."""
        thread = threading.Thread(
            target=self._serve_connection, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def _serve_connection(self, connection: socket.socket, client_address: object) -> None:
        try:
            self.finish_request(connection, client_address)
        except OSError:
            pass  # the client is gone, or did not use TLS
        except Exception:  # noqa: BLE001 - a bug in the application: its traceback goes to stderr
            self.handle_error(connection, client_address)
        finally:
            self.shutdown_request(connection)
            with self._lock:
                del self._connections[connection]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""

    def _serve(self) -> None:
        head: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _error: object = None, /
        ) -> Callable[[bytes], object]:
            head.append((status, headers))
            return self.wfile.write

        try:
            body = self.server.app(self._environ(), start_response)
        except ResetConnectionError:
            self._reset()
            return
        status, headers = head[0]
        lines = [f"HTTP/1.1 {status}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        pending = "\r\n".join([*lines, "", ""]).encode("latin-1")
        left = int(dict(headers)["Content-Length"])
        for chunk in body:
            self.wfile.write(pending + chunk)  # the head is sent with the first bytes
            pending = b""
            left -= len(chunk)
        self.wfile.write(pending)
        if left and self.command != "HEAD":
            self.close_connection = (
                True  # less than announced: the client can't find the next response
            )

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def _reset(self) -> None:
        """Close without lingering, so that the kernel sends RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())
        self.close_connection = True

    def _environ(self) -> WSGIEnvironment:
        path, _, query = self.path.partition("?")
        length = self.headers.get("Content-Length", "0")
        size = int(length) if length.isascii() and length.isdigit() else 0
        if "Transfer-Encoding" in self.headers or str(size) != length:
            self.close_connection = True  # the end of this request is not known
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(size),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "REMOTE_ADDR": self.client_address[0],
            "SERVER_NAME": str(self.server.server_address[0]),
            "SERVER_PORT": str(self.server.server_address[1]),
            "SERVER_PROTOCOL": self.request_version,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": self.server.scheme,
            "wsgi.input": BytesIO(self.rfile.read(min(size, _MAX_READ))),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            if name.lower() not in {"content-length", "content-type"}:
                environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return environ
