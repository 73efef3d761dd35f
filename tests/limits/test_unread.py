"""Clients that read or send next to nothing, on a server with few threads."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.processes import free_port, process, wait_for
from tests.helpers.served import Client, said, visit
from tests.helpers.sites import Browser

THREADS = 4
SITE = """
import os
from flask import Flask
from flask_chatkit import ChatKit
from flask_chatkit.limits import bodies, concurrency

bodies.RECEIVE_SECONDS = bodies.DISCARD_SECONDS = 1.0
concurrency.SEND_SECONDS, concurrency.LOOK_SECONDS = 1.0, 0.1

def create_app():
    app = Flask("site", instance_path=os.getcwd())
    app.config.update(SECRET_KEY="of the tests", RATELIMIT_ENABLED=False)
    chatkit = ChatKit()
    app.register_blueprint(chatkit)

    @chatkit.assistant(attachments=True)
    def answer(message, chat):
        for _ in range(400 if message.text.startswith("much") else 1):
            yield "word " * 4000
    return app
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a site under gunicorn, with few threads."""
    folder = tmp_path_factory.mktemp("unread")
    (folder / "shop.py").write_text(SITE)
    port = free_port()
    command = f"-m gunicorn -k gthread --no-control-socket -b 127.0.0.1:{port}"
    command += f" --threads {THREADS} --keep-alive 30 shop:create_app()"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with process(folder, sys.executable, *command.split(), env=env) as running:
        wait_for(port, running, folder)
        with Browser(f"http://127.0.0.1:{port}") as first:
            # What served chats need is imported now, which takes its time.
            visit(first).send({"type": "threads.list", "params": {}}, timeout=60)
        yield f"http://127.0.0.1:{port}"
    log = (folder / "log").read_text()
    assert "closed whose client" not in log  # INFO, which nobody asked for
    assert "Traceback" not in log, log


def begin(client: Client, request: str, body: str = "") -> socket.socket:
    """Send a request, and read nothing of its answer but the first line."""
    host, _, port = client.browser.base.removeprefix("http://").partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.browser.cookies)
    lines = [request, "Host: x", f"Cookie: {cookies}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", body]
    connection.sendall("\r\n".join(lines).encode())
    connection.settimeout(10)
    connection.recv(1, socket.MSG_PEEK)
    return connection


def test_unread_downloads_hold_no_thread_for_long(base: str) -> None:
    """More unread downloads than there are threads hold a server up for a moment only."""
    with ExitStack() as held:
        ann = visit(held.enter_context(Browser(base)))
        data = b"%PDF-1.7\n" + b"x" * 6_000_000
        file = ann.upload(data, "a.pdf", "application/pdf").json()["id"]
        for _ in range(THREADS):
            path = f"GET /chatkit/attachments/{file} HTTP/1.1"
            held.enter_context(closing(begin(ann, path)))
        assert held.enter_context(Browser(base)).mint()
        assert ann.browser.get(f"/chatkit/attachments/{file}").content == data


def test_unread_answers_hold_no_thread_for_long(base: str) -> None:
    """Answers that have ended, and that nobody reads, don't either."""
    with ExitStack() as held:
        ann = visit(held.enter_context(Browser(base)))
        for number in range(THREADS):
            params = {"input": said(f"much {number}")}
            body = json.dumps({"type": "threads.create", "params": params})
            held.enter_context(closing(begin(ann, "POST /chatkit/api HTTP/1.1", body)))
        assert held.enter_context(Browser(base)).mint()
        assert visit(held.enter_context(Browser(base))).create("hello")


@pytest.mark.parametrize("path", ["secret", "api", "attachments", "nobody/attachments"])
def test_slow_bodies_hold_no_thread_for_long(base: str, path: str) -> None:
    """Bodies of which a byte comes now and then are waited for only so long, refused ones too."""
    host, _, port = base.removeprefix("http://").partition(":")
    with ExitStack() as held:
        ann = visit(held.enter_context(Browser(base)))
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in ann.browser.cookies)
        kind = "multipart/form-data; boundary=x" if "attachments" in path else "application/json"
        head = f"POST /chatkit/{path} HTTP/1.1\r\nHost: x\r\nCookie: {cookies}\r\n"
        head += f"Content-Type: {kind}\r\nContent-Length: 4000\r\n\r\n"
        links = []
        for _ in range(THREADS):
            link = held.enter_context(closing(socket.create_connection((host, int(port)))))
            link.sendall(head.encode())
            link.settimeout(0.05)
            links.append(link)
        end = time.monotonic() + 10
        while links:
            assert time.monotonic() < end, "the bodies have no end"
            links = [link for link in links if not is_over(link)]
        assert held.enter_context(Browser(base)).mint()


def is_over(link: socket.socket) -> bool:
    """Send one byte more, unless the server has ended the connection."""
    try:
        link.sendall(b" ")
        return link.recv(1000) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
