"""A TCP proxy that breaks connections in the ways that networks and servers do."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Literal

#: ``pass``: hand on. ``hang``: not a byte more, and no end. ``delay``: each piece after a while.
#: ``reset``: a connection ends at once, without a word. ``drip``: a byte at a time. ``refuse``:
#: nobody listens, and connections end.
Fault = Literal["pass", "hang", "delay", "reset", "drip", "refuse"]

#: Seconds between looks at what a connection is to do.
TICK = 0.02


def readable(*sockets: socket.socket, seconds: float = TICK) -> list[socket.socket]:
    """Wait until something can be read, for a while; ``select.select`` has no socket above 1023."""
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            selector.register(one, selectors.EVENT_READ, one)
        return [key.data for key, _ in selector.select(seconds)]


class Connection:
    """One connection through the proxy.

    :ivar fault: what it does; None for what the proxy does.
    """

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self.fault: Fault | None = None
        self._proxy = proxy
        self._client = client
        self._ended = False
        threading.Thread(target=self._run, daemon=True).start()

    def end(self, *, reset: bool) -> None:
        """Close it; with RST if asked for."""
        self._ended = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    @property
    def _now(self) -> Fault:
        return self.fault or self._proxy.fault

    def _run(self) -> None:
        server: socket.socket | None = None
        try:
            # A server that is hung accepts nothing, while the kernel does so for it.
            while not self._is_over() and self._now == "hang":
                time.sleep(TICK)
            if not self._is_over():
                server = socket.create_connection(self._proxy.target, 5)
                self._pump(server)
        except OSError:
            pass
        finally:
            self._proxy.connections.discard(self)
            self._client.close()
            if server is not None:
                server.close()

    def _is_over(self) -> bool:
        if self._now in {"reset", "refuse"}:
            self.end(reset=True)
        return self._ended

    def _pump(self, server: socket.socket) -> None:
        ways = {self._client: server, server: self._client}
        while not self._is_over():
            if self._now == "hang":
                time.sleep(TICK)
                continue
            for source in readable(*ways):
                if self._now == "hang":
                    break
                piece = source.recv(65536)
                if not piece:
                    return
                self._hand_on(piece, ways[source])

    def _hand_on(self, piece: bytes, target: socket.socket) -> None:
        if self._now == "delay":
            self._wait(self._proxy.seconds)
        if self._now != "drip":
            target.sendall(piece)
            return
        for place in range(len(piece)):
            if self._is_over():
                return
            if self._now != "drip":
                target.sendall(piece[place:])
                return
            target.sendall(piece[place : place + 1])
            self._wait(self._proxy.seconds)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._is_over() and self._now != "pass":
            time.sleep(min(TICK, seconds))


class FaultProxy:
    """Stands in front of a server, and breaks what goes through on demand.

    :param host: the server's.
    :param port: the server's.
    :ivar fault: what all connections do that have no fault of their own, new ones included.
    :ivar seconds: how long ``delay`` holds each piece, and ``drip`` each byte.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.fault: Fault = "pass"
        self.seconds = 0.2
        self.connections: set[Connection] = set()
        self._open = True
        self._listener: socket.socket | None = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
        return listener

    def set(self, fault: Fault, seconds: float | None = None) -> None:
        """Break all connections in one way, or let them work again with ``pass``."""
        if seconds is not None:
            self.seconds = seconds
        self.fault = fault
        if fault == "refuse" and self._listener is not None:
            # Closing alone leaves it open for as long as the other thread looks at it.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        elif fault != "refuse" and self._listener is None:
            self._listener = self._listen(self.port)

    def close(self) -> None:
        """End all of it."""
        self._open = False
        for connection in list(self.connections):
            connection.end(reset=True)
        self._thread.join(2)
        if self._listener is not None:
            self._listener.close()

    def _accept(self) -> None:
        while self._open:
            listener = self._listener
            if listener is None:
                time.sleep(TICK)
                continue
            try:
                if not readable(listener):
                    continue
                client, _ = listener.accept()
            except (OSError, ValueError):
                continue  # closed meanwhile
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.add(Connection(self, client))


@contextlib.contextmanager
def faults(host: str, port: int) -> Iterator[FaultProxy]:
    """A proxy in front of a server until the block ends."""
    proxy = FaultProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
