"""What an attacker tried, so that it stays closed."""

from __future__ import annotations

import io
import json
import logging
import os
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from flask_chatkit import ChatKit
from flask_chatkit.errors import BadRequest
from flask_chatkit.identity.visitor import NEW_SECONDS, Visitor
from flask_chatkit.server.attachments.filetypes import clean_name
from flask_chatkit.server.attachments.pictures import MOST_CHUNKS, WatchedPicture
from flask_chatkit.server.protocol.operations import MOST_PARTS, parse
from flask_chatkit.server.streaming import loop
from flask_chatkit.server.streaming import stream as streams
from tests.helpers.served import events, kinds, refused, said, until, visit
from tests.helpers.sites import MakeApp


@pytest.fixture
def site(make_app: MakeApp, tmp_path: Any) -> Callable[..., Flask]:
    """Make sites whose chat answers when it is let, and tells how often it was asked."""

    def make(function: Any, **config: Any) -> Flask:
        kit = ChatKit()
        kit.assistant(attachments=True)(function)
        return make_app(
            kit,
            CHATKIT_WORKFLOW_ID=None,
            CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/history.sqlite3",
            CHATKIT_UPLOAD_FOLDER=str(tmp_path / "files"),
            **config,
        )

    return make


def test_names_of_combining_marks_take_no_time() -> None:
    """Half a megabyte of marks in a file's name is cut before it is normalised."""
    name = clean_name("a" + "\u0315\u0300\u0316" * 160_000 + ".png")
    assert len(name) <= 255
    assert name.endswith(".png")


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"threads.create","params":{"input":{"content":[' + b"1," * 60_000 + b"1]}}}",
        b'{"type":"threads.custom_action","params":{"action":{"payload":[' + b"[]," * 40_000 + b"]",
    ],
)
def test_bodies_of_many_parts_are_refused_unread(body: bytes) -> None:
    """A body of more parts than any message has is refused before it is taken apart."""
    assert sum(map(body.count, (b"[", b"{", b","))) > MOST_PARTS
    with pytest.raises(BadRequest, match="too many parts"):
        parse(body)


def test_wrong_part_is_not_taken_for_a_wrong_type() -> None:
    """A wrong tag deep in a body is told by its place."""
    said_wrongly = {"content": [{"type": "x"}], "attachments": [], "inference_options": {}}
    body = {"type": "threads.create", "params": {"input": said_wrongly}}
    with pytest.raises(BadRequest, match=r"params\.input\.content"):
        parse(json.dumps(body).encode())


def test_visitor_has_a_few_answers_at_a_time(browse: Any, site: Any) -> None:
    """One visitor does not take all threads of the server: the fifth answer waits, in words."""
    import threading

    gate = threading.Event()

    def answer(message: Any, _chat: Any) -> Any:
        yield message.text
        gate.wait(10)

    app = site(answer)
    ann = visit(browse(app))
    ann.threads()
    (endpoint,) = app.extensions["chatkit"]["chatkit"].service._dispatchers.values()
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(ann.post, "threads.create", input=said(f"{n}")) for n in range(4)]
        until(
            lambda: (
                len(endpoint._streams.by_owner) and len(*endpoint._streams.by_owner.values()) == 4
            )
        )
        assert "wait until your other messages" in refused(
            ann.post("threads.create", input=said("fifth"))
        )
        gate.set()
        assert all("thread.created" in kinds(events(job.result(10))) for job in jobs)


def test_long_answer_is_not_given_twice(
    browse: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same message once more is refused while an answer runs that is too long to be retold."""
    import threading

    monkeypatch.setattr(streams, "MAX_REPLAY_BYTES", 1000)
    gate, asked = threading.Event(), []

    def answer(message: Any, _chat: Any) -> Any:
        asked.append(message.text)
        for _ in range(60):
            yield "x" * 100
        gate.wait(10)

    ann = visit(browse(site(answer)))
    ann.threads()
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(ann.post, "threads.create", input=said("tell me"))
        until(lambda: asked)
        time.sleep(0.3)
        assert "answered already" in refused(ann.post("threads.create", input=said("tell me")))
        gate.set()
        assert "thread.created" in kinds(events(job.result(10)))
    assert asked == ["tell me"]


def test_exit_in_a_task_of_a_task_ends_no_chat(
    browse: Any, make_app: MakeApp, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A library whose task calls sys.exit does not end everybody's chats."""
    import asyncio
    import sys

    kit, tasks = ChatKit(), []

    @kit.assistant()
    async def answer(message: Any, _chat: Any) -> str:
        if message.text == "leave":

            async def leave() -> None:
                sys.exit(3)

            tasks.append(asyncio.create_task(leave()))
            await asyncio.wait(tasks, timeout=0.2)
        return f"You wrote {message.text}"

    uri = f"sqlite:///{tmp_path}/history.sqlite3"
    ann = visit(browse(make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=uri)))
    with caplog.at_level(logging.CRITICAL, "flask_chatkit"):
        ann.post("threads.create", input=said("leave"))
    assert "thread.item.done:assistant_message" in kinds(
        ann.stream("threads.create", input=said("stay"))
    )
    # Asked here, or the collector tells of it in the middle of another test.
    assert isinstance(tasks[0].exception(), SystemExit)


def test_code_that_cannot_be_cancelled_keeps_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that keeps CancelledError to itself is ended for its clients all the same."""
    import asyncio

    from chatkit.server import StreamingResult

    monkeypatch.setattr(streams, "CLEANUP_SECONDS", 0.1)
    over = asyncio.Event()

    async def process() -> StreamingResult:
        async def talk() -> Any:
            yield b"a"
            while not over.is_set():
                try:
                    await asyncio.sleep(0.05)
                except asyncio.CancelledError:
                    continue

        return StreamingResult(talk())

    reader = streams.Stream(loop.current(), Flask("site"), process, 0.1).start()
    assert b"took too long" in b"".join(reader)
    loop.current().call(over.set)


def test_newcomer_is_known_by_the_cookie_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a visitor is new needs no storage, which a restart or another worker has not."""
    visitor = Visitor.new()
    assert visitor.is_new
    assert not Visitor.login("ann").is_new
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + NEW_SECONDS + 5)
    assert not visitor.is_new


def test_many_old_cookies_share_an_address(browse: Any, site: Any) -> None:
    """Cookies that have grown old buy an address no more than five visitors' worth of messages."""
    import base64

    app = site(lambda message, _chat: message.text, CHATKIT_MESSAGE_RATELIMIT="2/day")
    cookie = app.extensions["chatkit"]["chatkit"]
    base = browse(app).base
    told = 0
    with app.test_request_context("/"):
        signer = cookie.cookie._signer
        old = [base64.urlsafe_b64encode(bytes(4) + bytes([n] * 12))[:22] for n in range(8)]
        values = [signer.sign(name).decode() for name in old]
    for value in values:
        browser = browse(base)
        browser.cookies.set("chatkit_visitor", value, domain="127.0.0.1", path="/chatkit")
        client = visit(browser)
        for number in range(2):
            stream = client.stream("threads.create", input=said(f"hello {number}"))
            told += "thread.created" in kinds(stream)
    assert told == 10


def test_large_picture_is_taken(browse: Any, site: Any) -> None:
    """A picture of a megabyte of chance comes through, wherever its line ends are."""
    ann = visit(browse(site(lambda message, _chat: message.text)))
    for _ in range(3):
        chunks = [(b"IHDR", bytes(13)), (b"IDAT", os.urandom(1_000_000)), (b"IEND", b"")]
        data = b"\x89PNG\r\n\x1a\n" + b"".join(
            len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
            for name, body in chunks
        )
        files = {"file": ("a.png", io.BytesIO(data), "image/png")}
        answer = ann.browser.post("/chatkit/attachments", data={}, files=files)
        assert answer.status_code == 200, answer.text


def test_picture_of_many_chunks_is_checked_in_one_pass() -> None:
    """A picture of a million tiny chunks is read no further than a real one could have."""
    chunk = bytes(4) + b"abCd" + zlib.crc32(b"abCd").to_bytes(4, "big")
    picture = WatchedPicture(io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk * (MOST_CHUNKS + 10)))
    while picture.read(65_536):
        pass
    assert not picture.is_whole
    assert picture._png._chunks == MOST_CHUNKS + 1
    assert picture._png._seen == set()
