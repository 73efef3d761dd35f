"""The same application by ASGI: the same answers, and no thread for one that streams.

``test_servers.py`` looks at processes of uvicorn and hypercorn as at all others; here uvicorn runs
in a thread of the tests, so that they see what happens within.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chatkit.types import AssistantMessageContentPartTextDelta, ThreadItemUpdatedEvent
from flask import Flask, Response, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wsgi import ClosingIterator

from flask_chatkit import ChatKit
from flask_chatkit.asgi import ChatKitASGI
from flask_chatkit.server.streaming import asgi_environ, asgi_request, loop, sse, stream
from tests.helpers import asgi_server
from tests.helpers.paths import HELPERS
from tests.helpers.served import Client, Shop, kinds, said, until, visit
from tests.helpers.sites import Browser, told
from tests.server.protocol import test_api

start = asgi_server.start
serve = asgi_server.serve
site = test_api.site
shop = test_api.shop
login_shop = test_api.login_shop

#: What holds for every server, held here by uvicorn.
test_operations_that_stream = test_api.test_streaming_operations
test_operations_for_json = test_api.test_json_operations
test_headers_of_a_stream = test_api.test_stream_has_no_header_of_a_connection
test_ids_of_others = test_api.test_foreign_and_made_up_ids_are_told_the_same
test_files_of_others = test_api.test_foreign_files_and_sessions_are_not_found
test_nobody = test_api.test_nobody_is_unauthenticated
test_token_and_cookie = test_api.test_token_and_cookie_must_agree
test_login = test_api.test_a_logins_token_needs_the_login
test_replay = test_api.test_duplicates_directly_after
test_replay_while_it_runs = test_api.test_concurrent_duplicates_answer_once
test_cut_is_stored = test_api.test_a_cut_answer_is_stored


def open_stream(base: str, client: Client, text: str) -> tuple[Any, Any]:
    """Send a message; the connection, and its answer under way."""
    port = int(base.rsplit(":", 1)[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    cookie = "; ".join(f"{one.name}={one.value}" for one in client.browser.cookies)
    body = json.dumps({"type": "threads.create", "params": {"input": said(text)}})
    headers = {"Content-Type": "application/json", "Cookie": cookie}
    connection.request("POST", "/chatkit/api", body, headers)
    return connection, connection.getresponse()


def read_until(answer: Any, what: bytes) -> bytes:
    """Read lines until one has something in it."""
    while what not in (line := answer.readline()):
        assert line, "the stream has ended"
    return line


def test_answers_run_on_the_servers_loop(start: Any, browse: Any, shop: Any) -> None:
    """There is one loop in the process, the server's, and the site's code runs on it."""
    made = shop()
    # Those of tests that were before this one live as long as their process.
    before = set(threading.enumerate())
    server = start(made.app)
    visit(browse(server.base)).create()
    assert loop.current().is_on(server.loop)
    begun = set(threading.enumerate()) - before
    assert [one for one in begun if one.name == "flask_chatkit"] == []
    assert made.made[0].seen[0][1:] == (made.app.name, False)


def test_streams_hold_no_thread(start: Any, browse: Any, shop: Any) -> None:
    """Two hundred answers under way take no thread of the pool, and other calls go on."""
    made = shop()
    server = start(ChatKitASGI(made.app, threads=3))
    clients = [visit(browse(server.base)) for _ in range(50)]
    clients[0].create()
    # Those of tests that were before this one end, or don't, in their own time.
    before = set(threading.enumerate())
    with ExitStack() as held:
        streams = []
        for client in clients:
            for n in range(4):
                connection, answer = open_stream(server.base, client, f"slow {n}")
                # The server does not end before they do, also where this test fails.
                held.callback(connection.close)
                held.callback(answer.close)
                streams.append(answer)
        for answer in streams:
            read_until(answer, b"so far")
        assert loop.current().busy == len(streams) == 200
        begun = [one.name for one in threading.enumerate() if one not in before]
        ours = [name for name in begun if name.startswith("flask_chatkit request")]
        assert len(ours) <= 3, ours
        assert clients[0].threads()
        made.made[0].open_gate()
        for answer in streams:
            assert b"so far, so good" in answer.read()
    until(lambda: loop.current().busy == 0)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_leaving_is_noticed_at_once(start: Any, browse: Any, shop: Any, how: str) -> None:
    """A client that goes cancels the answer before any heartbeat could have failed."""
    made = shop()
    server = start(made.app)
    client = visit(browse(server.base))
    connection, answer = open_stream(server.base, client, "slow")
    read_until(answer, b"so far")
    began = time.monotonic()
    if how == "reset":
        connection.sock and connection.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )
    answer.close()
    connection.close()
    assert made.made[0].cancelled.wait(5)
    assert time.monotonic() - began < 5
    until(lambda: not server.app._running)


class Chatty(Shop):
    """Talks without an end, and notes when it is stopped."""

    async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                update = AssistantMessageContentPartTextDelta(content_index=0, delta="x" * 10_000)
                yield ThreadItemUpdatedEvent(item_id="msg_1", update=update)
                await asyncio.sleep(0)
        finally:
            self.cancelled.set()


def test_answers_that_are_not_read_have_an_end(
    start: Any, browse: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads nothing of its answer is given up, and the answer is stopped."""
    monkeypatch.setattr(asgi_request, "SEND_SECONDS", 0.3)
    made: list[Chatty] = []

    def factory(store: Any) -> Chatty:
        made.append(Chatty(store))
        return made[0]

    kit = ChatKit()
    kit.add_server("default", factory)
    server = start(site(kit))
    client = visit(browse(server.base))
    cookie = "; ".join(f"{one.name}={one.value}" for one in client.browser.cookies)
    body = json.dumps({"type": "threads.create", "params": {"input": said("talk")}})
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(("127.0.0.1", server.port))
        link.sendall(
            f"POST /chatkit/api HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Cookie: {cookie}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        until(lambda: made and made[0].cancelled.is_set(), 10)
        until(lambda: not server.app._running)


def test_silence_is_filled(
    start: Any, browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent answer has heartbeats, and goes on after them."""
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    made = shop()
    server = start(made.app)
    connection, answer = open_stream(server.base, visit(browse(server.base)), "slow")
    read_until(answer, b"so far")
    for _ in range(2):
        assert read_until(answer, b": hb") == sse.HEARTBEAT
    made.made[0].open_gate()
    assert b"so far, so good" in answer.read()
    connection.close()


def test_failures_before_the_first_event_are_statuses(browse: Any, shop: Any) -> None:
    """What is wrong before anything was said is told by status, in the contract's JSON."""
    browser = browse(shop().app)
    client = visit(browser)
    told(client.post("threads.add_user_message", thread_id="", input=said("x")), 404, "not_found")
    told(browser.post("/chatkit/nowhere/api", json={}), 404, "not_found")
    browser.cookies.clear()
    told(client.post("threads.list"), 401, "unauthenticated")


def test_stopped_server_tells_and_keeps(
    start: Any, browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that waits no longer ends an answer with an error event, and says it was cut off."""
    made = shop()
    ended: list[str] = []
    server = start(made.app, timeout_graceful_shutdown=0.2)
    from flask_chatkit.signals import answer_finished

    def note(_: Any, **more: Any) -> None:
        ended.append(more["outcome"])

    answer_finished.connect(note)
    connection, answer = open_stream(server.base, visit(browse(server.base)), "slow")
    read_until(answer, b"so far")
    server.stop()
    assert b'"code":"stream.error","allow_retry":true' in answer.read()
    assert ended == ["interrupted"]
    connection.close()


def test_end_waits_for_answers(start: Any, browse: Any, shop: Any) -> None:
    """A server that ends lets an answer under way end, and takes no new ones."""
    made = shop()
    server = start(made.app)
    connection, answer = open_stream(server.base, visit(browse(server.base)), "slow")
    read_until(answer, b"so far")
    server.server.should_exit = True
    time.sleep(0.3)
    made.made[0].open_gate()
    assert b"so far, so good" in answer.read()
    connection.close()


def test_loop_of_an_earlier_life_is_kept(
    start: Any, browse: Any, shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that was needed while the application was made goes on, and is read from."""
    former = loop.current()
    made = shop()
    server = start(made.app)
    client = visit(browse(server.base))
    assert kinds(client.stream("threads.create", input=said("hello")))[-1].startswith("thread.item")
    assert loop.current() is former
    assert "needed before the server's ran" in caplog.text
    connection, answer = open_stream(server.base, client, "slow")
    read_until(answer, b"so far")
    answer.close()
    connection.close()
    assert made.made[0].cancelled.wait(5)
    former.stop()
    former._loop.close()


# --- the rest of the site ---


@pytest.fixture
def plain(start: Any) -> Any:  # noqa: C901  it is a list of pages
    """A site of a few pages that tell what arrives."""
    app = Flask("plain")
    closed: list[str] = []

    @app.route("/echo", methods=["GET", "POST", "PUT", "HEAD"])
    def echo() -> Any:
        return {
            "body": request.get_data(as_text=True),
            "headers": dict(request.headers),
            "root": request.script_root,
            "path": request.path,
            "query": request.query_string.decode("latin-1"),
            "cookies": request.cookies,
            "address": request.remote_addr,
            "scheme": request.scheme,
        }

    @app.route("/size", methods=["PUT"])
    def size() -> Any:
        count, most = 0, 0
        while part := request.stream.read(65536):
            count += len(part)
            most = max(most, len(request.environ["wsgi.input"].buffer))
        return {"count": count, "most": most}

    @app.route("/refuse", methods=["PUT"])
    def refuse() -> Any:
        return "no", 413

    @app.route("/large")
    def large() -> Any:
        return b"x" * 300_000

    @app.route("/parts")
    def parts() -> Any:
        def talk() -> Iterator[bytes]:
            try:
                yield b"one "
                yield b"two"
            finally:
                closed.append("parts")

        return Response(talk())

    @app.route("/endless")
    def endless() -> Any:
        def talk() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
            finally:
                closed.append("endless")

        return Response(talk())

    @app.route("/known")
    def known() -> Any:
        def pieces() -> Iterator[bytes]:
            try:
                for _ in range(1000):
                    yield b"x" * 65536
            finally:
                closed.append("known")

        return Response(pieces(), headers={"Content-Length": str(1000 * 65536)})

    @app.route("/boom")
    def boom() -> Any:
        raise RuntimeError("of the cause")

    # Without it uvicorn believes a proxy on this machine in everything.
    server = start(app, proxy_headers=False)
    with Browser(server.base) as browser:
        yield SimpleNamespace(
            app=app, browser=browser, closed=closed, port=server.port, server=server
        )


def raw(port: int, sent: bytes, *, close: bool = True) -> bytes:
    """Send bytes, and read all that comes."""
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.sendall(sent)
        got = b""
        while part := link.recv(65536):
            got += part
        return got


def test_pages_work(plain: Any) -> None:
    """Pages, large ones, generators, HEAD and errors are answered as by a WSGI server."""
    browser = plain.browser
    assert browser.post("/echo?a=%C3%A9", data="hällo".encode()).json()["body"] == "hällo"
    assert browser.get("/echo?a=%C3%A9").json()["query"] == "a=%C3%A9"
    large = browser.get("/large")
    assert len(large.content) == int(large.headers["Content-Length"]) == 300_000
    assert browser.get("/parts").content == b"one two"
    assert plain.closed == ["parts"]
    head = browser.request("HEAD", "/large")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == "300000"
    assert browser.get("/boom").status_code == 500
    assert browser.get("/nowhere").status_code == 404


def test_headers_mean_what_they_say(plain: Any) -> None:
    """An underscore passes for no hyphen, cookies are one header, and bytes do no harm."""
    told = plain.browser.get(
        "/echo?q=<\u00e9>",
        headers={"X_Forwarded_For": "6.6.6.6", "X-Forwarded-For": "1.1.1.1", "Cookie": "a=1"},
    ).json()
    assert told["headers"]["X-Forwarded-For"] == "1.1.1.1"
    assert told["address"] == "127.0.0.1"
    got = raw(
        plain.port,
        b"GET /echo?q=\xff HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\nCookie: b=2\r\n"
        b"Connection: close\r\n\r\n",
    )
    assert b" 200 " in got.split(b"\r\n", 1)[0] or b" 400 " in got.split(b"\r\n", 1)[0]
    got = raw(
        plain.port,
        b"GET /echo HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: close\r\n\r\n",
    )
    assert json.loads(got.split(b"\r\n\r\n", 1)[1])["cookies"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("root", "path", "script", "info"),
    [
        ("/shop", "/shop/echo", "/shop", "/echo"),
        ("/shop", "/echo", "/shop", "/echo"),
        ("/shop", "/shopping", "/shop", "/shopping"),
        ("/shop/", "/shop", "/shop", ""),
        ("", "/echo", "", "/echo"),
    ],
)
def test_prefixes(root: str, path: str, script: str, info: str) -> None:
    """A prefix is one whether the server or a proxy has taken it away, and only as a whole."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "headers": [],
        "path": path,
        "root_path": root,
        "query_string": b"",
        "server": None,
        "client": None,
    }
    made = asgi_environ.make_environ(scope, None)  # type: ignore[arg-type]
    assert (made["SCRIPT_NAME"], made["PATH_INFO"]) == (script, info)


def test_large_bodies_stay_small_in_memory(plain: Any) -> None:
    """A large body is read as it comes, by its length or in chunks, and only so much at a time."""
    block = b"x" * 100_000
    seen = plain.browser.put("/size", data=block * 100).json()
    assert seen["count"] == 10_000_000
    assert seen["most"] < 1_000_000
    seen = plain.browser.put("/size", data=iter([block] * 30)).json()
    assert seen["count"] == 3_000_000


def test_half_a_body_is_none(plain: Any) -> None:
    """A client that goes in the middle of its body is never answered as if that were all."""
    seen: list[int] = []
    plain.app.after_request(lambda answer: seen.append(answer.status_code) or answer)
    for head in (b"Content-Length: 300000", b"Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", plain.port), 10) as link:
            part = b"13880\r\n" if b"chunked" in head else b""
            link.sendall(
                b"PUT /size HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + part + b"x" * 80_000
            )
            time.sleep(0.3)
        until(lambda: not plain.server.app._running)
    assert 200 not in seen


def test_slow_bodies_have_an_end(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that keeps a thread waiting for its body is answered 408."""
    monkeypatch.setattr(asgi_environ, "RECEIVE_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", plain.port), 10) as link:
        link.sendall(b"PUT /size HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
        link.sendall(b"x" * 80_000)
        assert link.recv(1000).startswith(b"HTTP/1.1 408 ")


def drip(link: socket.socket) -> bytes:
    """Send a byte now and then, until there is an answer."""
    link.settimeout(0.05)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(TimeoutError):
            return link.recv(1000)
        link.sendall(b"x")
    raise AssertionError("the body has no end")


def test_slow_bodies_have_an_end_as_a_whole(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then makes a body last no longer: on the loop, and in a thread."""
    monkeypatch.setattr(asgi_environ, "RECEIVE_SECONDS", 0.3)
    monkeypatch.setattr(asgi_environ, "SLOWEST", 1_000_000)
    for length, sent in ((4000, 0), (300_000, 80_000)):
        with socket.create_connection(("127.0.0.1", plain.port), 10) as link:
            head = f"PUT /size HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
            link.sendall(head.encode() + b"x" * sent)
            answer = drip(link)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"connection: close" in answer.lower()


def test_slow_bodies_hold_no_thread(
    start: Any, browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small bodies are waited for on the loop, whatever their clients expect, and not for long."""
    server = start(ChatKitASGI(shop().app, threads=2))
    visit(browse(server.base))
    ask = b"POST /chatkit/secret HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    ask += b"Content-Length: 4000\r\nExpect: 100-continue\r\n\r\n"
    with ExitStack() as held:
        links = []
        for _ in range(8):
            link = held.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            link.sendall(ask)
            assert link.recv(1000).startswith(b"HTTP/1.1 100 ")
            links.append(link)
        assert visit(browse(server.base)).threads() == []
    monkeypatch.setattr(asgi_environ, "RECEIVE_SECONDS", 0.3)
    monkeypatch.setattr(asgi_environ, "SLOWEST", 1_000_000)
    with socket.create_connection(("127.0.0.1", server.port), 10) as link:
        link.sendall(ask)
        assert link.recv(1000).startswith(b"HTTP/1.1 100 ")
        answer = drip(link)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"request_id"' in answer + link.recv(4000)


def test_slow_readers_have_an_end(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads a little now and then does not get a file over hours."""
    monkeypatch.setattr(asgi_request, "SEND_SECONDS", 0.5)
    monkeypatch.setattr(asgi_request, "SLOWEST", 100_000_000)
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(("127.0.0.1", plain.port))
        link.sendall(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n")
        end = time.monotonic() + 10
        while "known" not in plain.closed:
            assert time.monotonic() < end
            link.recv(65_536)
            time.sleep(0.02)
        assert plain.closed == ["known"]


def test_clients_that_do_not_read_are_given_up(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads nothing holds a thread for a while, and no longer."""
    monkeypatch.setattr(asgi_request, "SEND_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", plain.port), 10) as link:
        link.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: plain.closed == ["endless"], 10)
    until(lambda: not plain.server.app._running)


def test_continue_is_told_to_who_asks(plain: Any) -> None:
    """A large body that is announced is asked for when it is read, and not where it is refused."""
    ask = b"PUT /%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", plain.port), 10) as link:
        link.sendall(ask % (b"size", 2))
        assert link.recv(1000).startswith(b"HTTP/1.1 100 ")
        link.sendall(b"xy")
        assert link.recv(1000).startswith(b"HTTP/1.1 200 ")
    with socket.create_connection(("127.0.0.1", plain.port), 10) as link:
        link.sendall(ask % (b"refuse", 70_000))
        assert link.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_websockets_are_refused(plain: Any) -> None:
    """There is no WebSocket here, which is told as of any other address that does not exist."""
    got = raw(
        plain.port,
        b"GET /chatkit/api HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert re.match(rb"HTTP/1.1 40[34] ", got)


# --- middleware of the site's ---


def test_middleware_may_wrap_a_stream(start: Any, browse: Any, shop: Any) -> None:
    """What is closed with an answer is closed, though nobody iterates over it."""
    made = shop()
    closed: list[str] = []

    def wrap(inner: Any) -> Any:
        def app(environ: Any, start_response: Any) -> Any:
            answer = inner(environ, start_response)
            if not environ["PATH_INFO"].endswith("/api"):
                return answer
            return ClosingIterator(answer, lambda: closed.append(threading.current_thread().name))

        return app

    made.app.wsgi_app = ProxyFix(wrap(made.app.wsgi_app))
    server = start(ChatKitASGI(DispatcherMiddleware(made.app), threads=1))
    client = visit(browse(server.base))
    connection, answer = open_stream(server.base, client, "slow")
    read_until(answer, b"so far")
    assert client.threads()  # the only thread is free
    made.made[0].open_gate()
    assert b"so far, so good" in answer.read()
    connection.close()
    until(lambda: closed)
    assert closed[0].startswith("flask_chatkit request")


def test_sentry_costs_no_thread(start: Any, browse: Any, shop: Any) -> None:
    """Sentry's middleware is around every answer of a site that uses it, and changes none."""
    wsgi = pytest.importorskip("sentry_sdk.integrations.wsgi")
    made = shop()
    server = start(ChatKitASGI(wsgi.SentryWsgiMiddleware(made.app), threads=1))
    client = visit(browse(server.base))
    connection, answer = open_stream(server.base, client, "slow")
    read_until(answer, b"so far")
    assert client.threads()  # the only thread is free
    made.made[0].open_gate()
    assert b"so far, so good" in answer.read()
    connection.close()


def mask_by_hook(app: Flask) -> None:
    """Have a hook change the words of all answers."""

    @app.after_request
    def mask(response: Response) -> Response:
        if response.mimetype == "text/event-stream":
            inner: Any = response.response
            response.response = (part.replace(b"4111", b"XXXX") for part in inner)
        return response


def mask_by_middleware(app: Flask) -> None:
    """Have a middleware do so."""
    inner = app.wsgi_app

    def masked(environ: Any, start_response: Any) -> Any:
        answer = inner(environ, start_response)
        if environ["PATH_INFO"].endswith("/api"):
            return (part.replace(b"4111", b"XXXX") for part in answer)
        return answer

    app.wsgi_app = masked  # type: ignore[method-assign]


def mask_by_class(app: Flask) -> None:
    """Have a class of a middleware's do so, which is Werkzeug's own but for that."""
    inner = app.wsgi_app

    class Masked(ClosingIterator):
        def __next__(self) -> bytes:
            return super().__next__().replace(b"4111", b"XXXX")

    app.wsgi_app = lambda environ, start: Masked(  # type: ignore[method-assign]
        inner(environ, start)
    )


@pytest.mark.parametrize("mask", [mask_by_hook, mask_by_middleware, mask_by_class])
def test_what_the_site_does_to_a_stream_is_done(
    start: Any, browse: Any, shop: Any, mask: Any
) -> None:
    """What a hook or a middleware makes of the words is sent, as under a WSGI server."""
    made = shop()
    mask(made.app)
    server = start(made.app)
    answer = visit(browse(server.base)).post("threads.create", input=said("card 4111"))
    assert b"card XXXX" in answer.content
    assert b"4111" not in answer.content


def test_leaving_a_stream_of_a_middleware_is_noticed(start: Any, browse: Any, shop: Any) -> None:
    """A client that goes frees the thread that writes its answer at once, too."""
    made = shop()
    mask_by_middleware(made.app)
    server = start(made.app)
    connection, answer = open_stream(server.base, visit(browse(server.base)), "slow")
    read_until(answer, b"so far")
    answer.close()
    connection.close()
    assert made.made[0].cancelled.wait(5)
    until(lambda: not server.app._running)


def test_middleware_that_changes_a_stream_is_heard(start: Any, browse: Any, shop: Any) -> None:
    """A stream that was made into something else is sent as that, by a thread."""
    made = shop()

    def wrap(inner: Any) -> Any:
        def app(environ: Any, start_response: Any) -> Any:
            def encoded(status: str, headers: Any, exc_info: Any = None) -> Any:
                return start_response(status, [*headers, ("Content-Encoding", "x-upper")])

            answer = inner(
                environ,
                encoded if environ["PATH_INFO"].endswith("/api") else start_response,
            )
            if environ["PATH_INFO"].endswith("/api"):
                return (part.upper() for part in answer)
            return answer

        return app

    made.app.wsgi_app = wrap(made.app.wsgi_app)
    server = start(made.app)
    answer = visit(browse(server.base)).post("threads.create", input=said("hello"))
    assert b"YOU SAID HELLO" in answer.content


# --- processes ---


@pytest.mark.skipif(os.name == "nt", reason="signals are not as here")
@pytest.mark.parametrize(
    "command",
    [
        "-m uvicorn --factory --workers 2 --port {port} site_under_test:make_asgi",
        "-m hypercorn -w 2 -b 127.0.0.1:{port} site_under_test:make_asgi()",
        (
            "-W ignore -m gunicorn -k uvicorn.workers.UvicornWorker -w 2 --preload "
            "--no-control-socket -b 127.0.0.1:{port} site_under_test:make_asgi()"
        ),
    ],
    ids=["uvicorn", "hypercorn", "gunicorn"],
)
def test_several_workers(command: str, tmp_path: Path) -> None:
    """Each process has a loop of its own, and all of them end well when they are told to."""
    here = HELPERS
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "log.txt").open("wb")
    process = subprocess.Popen(
        [sys.executable, *command.format(port=port).split()],
        cwd=here,
        env={
            **os.environ,
            "PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here}",
            "SITE_FOLDER": str(tmp_path),
            "SITE_MODEL": "localhost:1",
        },
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        pids: set[int] = set()

        def both() -> bool:
            try:
                with Browser(f"http://127.0.0.1:{port}") as browser:
                    seen = browser.get("/stats").json()
            except OSError:
                assert process.poll() is None, (tmp_path / "log.txt").read_text()
                return False
            assert seen["answers"] == 0
            pids.add(seen["pid"])
            return len(pids) == 2

        until(both, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in {0, -signal.SIGTERM}
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


def test_without_the_package_it_is_named() -> None:
    """Who has not installed a2wsgi is told what to install."""
    code = "import sys; sys.modules['a2wsgi'] = None; sys.modules['a2wsgi.wsgi'] = None\n"
    code += "import flask_chatkit.asgi"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "pip install 'flask-chatkit[asgi]'" in done.stderr
