"""HTTP connections that a :class:`.Watchdog` closes at the deadline of their call."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from ..runtime.watchdog import Watchdog

_here = threading.local()


class Call:
    """A current call.

    :param deadline: seconds of ``time.monotonic()``.
    :param public: whether it may reach public addresses only.
    """

    def __init__(self, deadline: float, *, public: bool = False) -> None:
        self.deadline = deadline
        self.public = public
        # Kept here: a response with Connection: close removes it from its connection.
        self.sock: socket.socket | None = None
        self.ended = False

    def end(self) -> None:
        """End reads from the connection."""
        self.ended = True
        if self.sock is not None:
            # TLS within TLS, through a proxy, wraps the real socket.
            sock = getattr(self.sock, "socket", self.sock)
            with contextlib.suppress(OSError):
                # Not the TLS socket's, which would remove the TLS layer under its reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Watch:
    """Ends calls at their deadline."""

    def __init__(self) -> None:
        self._watchdog = Watchdog()

    @contextlib.contextmanager
    def call(self, deadline: float, *, public: bool = False) -> Iterator[Call]:
        """Watch this thread's call until the block ends; see :class:`Call`."""
        call = _here.call = Call(deadline, public=public)
        try:
            self._watchdog.add(call)
            yield call
        finally:
            _here.call = None
            self._watchdog.discard(call)


class _Shown:
    """Registers its socket so that the watchdog can close it."""

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        call = getattr(_here, "call", None)
        # Checked after connecting: a name may resolve to another address the next time. Behind a
        # proxy, the address is the proxy's.
        if call is None or not call.public or self.proxy is not None:  # type: ignore[attr-defined]
            return sock
        if not ip_address(sock.getpeername()[0]).is_global:
            sock.close()
            raise NewConnectionError(self, "the address is not public")  # type: ignore[arg-type]
        return sock

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        call = getattr(_here, "call", None)
        if call is not None:
            call.sock = self.sock  # type: ignore[attr-defined]
        return super().getresponse(*args, **kwargs)  # type: ignore[misc]


class _HTTP(_Shown, HTTPConnection):
    """A plain connection."""


class _HTTPS(_Shown, HTTPSConnection):
    """A TLS connection."""


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPS


class Adapter(HTTPAdapter):
    """An adapter whose connections a :class:`Watch` can end."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the connection pools; called by requests."""
        super().init_poolmanager(*args, **kwargs)
        _use(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Create the connection pools to a proxy; called by requests."""
        manager = super().proxy_manager_for(*args, **kwargs)
        _use(manager)
        return manager


def _use(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
