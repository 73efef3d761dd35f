"""The proxy that breaks connections does what its faults are called."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.helpers.faults import FaultProxy, faults


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """Start a server that says everything again, behind the proxy."""
    server = socket.create_server(("127.0.0.1", 0))

    def echo(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while piece := client.recv(100):
                client.sendall(piece)

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with faults("127.0.0.1", server.getsockname()[1]) as proxy:
        yield proxy
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def dial(proxy: FaultProxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), 2)
    client.settimeout(0.2)
    return client


def test_each_fault_is_what_it_is_called(proxy: FaultProxy) -> None:
    """A connection works, hangs, is slow, drips and is reset, as the proxy is told."""
    client = dial(proxy)
    client.sendall(b"hello")
    assert client.recv(5) == b"hello"
    proxy.set("hang")
    client.sendall(b"hello")
    with pytest.raises(TimeoutError):
        client.recv(5)
    proxy.set("pass")
    assert client.recv(5) == b"hello"
    proxy.set("drip", 0.01)
    client.sendall(b"hello")
    began, read = time.monotonic(), b""
    while len(read) < 5:
        read += client.recv(5)
    assert (read, time.monotonic() - began >= 0.04) == (b"hello", True)
    proxy.set("reset")
    with pytest.raises(ConnectionResetError):
        client.recv(5)
    client.close()


def test_refused_and_back(proxy: FaultProxy) -> None:
    """Nobody listens while it refuses, and it listens on the same port afterwards."""
    proxy.set("refuse")
    with pytest.raises(ConnectionRefusedError):
        dial(proxy)
    proxy.set("pass")
    with dial(proxy) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"


def test_one_connection_has_a_fault_of_its_own(proxy: FaultProxy) -> None:
    """One connection hangs while another one works."""
    first = dial(proxy)
    first.sendall(b"x")
    assert first.recv(1) == b"x"
    (held,) = proxy.connections
    held.fault = "hang"
    second = dial(proxy)
    second.sendall(b"y")
    assert second.recv(1) == b"y"
    first.sendall(b"x")
    with pytest.raises(TimeoutError):
        first.recv(1)
    first.close()
    second.close()
