"""Answers that outlive their request, over real HTTP: read again, stopped, and found cut off."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import redis
import requests
from chatkit.server import StreamingResult
from flask import Flask, session
from flask.typing import ResponseReturnValue

from flask_chatkit import ChatKit
from flask_chatkit.asgi import ChatKitASGI
from flask_chatkit.server.streaming import loop, shared
from flask_chatkit.server.streaming.sse import HEARTBEAT, error_event
from flask_chatkit.server.streaming.stream import Stream
from tests.helpers import asgi_server
from tests.helpers.served import Client, Shop, events, kinds, said, until, visit
from tests.helpers.sites import Browser, MakeApp, told
from tests.limits import test_ratelimit

redis_uri = test_ratelimit.redis_uri
start = asgi_server.start

ANSWER = "X-ChatKit-Answer"
ANSWER_ID = "X-ChatKit-Answer-Id"


class Site(NamedTuple):
    """A site with one served chat, and what answers in it."""

    app: Flask
    shops: list[Shop]

    @property
    def shop(self) -> Shop:
        """What answers, once it was asked."""
        return self.shops[0]


@pytest.fixture
def make(make_app: MakeApp, tmp_path: Path) -> Callable[..., Site]:
    """Make sites that share a history, as processes do."""

    def make(**config: Any) -> Site:
        shops: list[Shop] = []

        def shop(store: Any) -> Shop:
            shops.append(Shop(store))
            return shops[-1]

        kit = ChatKit()
        kit.add_server("default", shop)
        kit.user_loader(lambda: session.get("user"))
        app = make_app(
            kit,
            **{
                "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3",
                "CHATKIT_LEAVE_SECONDS": 20,
                "CHATKIT_MESSAGE_RATELIMIT": "",
                **config,
            },
        )

        @app.post("/login")
        def login() -> ResponseReturnValue:
            session["user"] = "ann"
            return "", 204

        return Site(app, shops)

    return make


@contextmanager
def answering(client: Client, text: str = "slow", **more: Any) -> Iterator[str]:
    """An answer under way, whose page is left at the end; the thread."""
    body = {"type": "threads.create", "params": {"input": said(text, **more)}}
    with client.send(body, stream=True) as response:
        assert response.headers.get(ANSWER) == "running"
        for line in response.iter_lines():
            if line.startswith(b"data: ") and b"so far" in line:
                break
            if b"thread.created" in line:
                thread = json.loads(line[6:])["thread"]["id"]
        yield thread


def own(client: Client, name: str, thread: Any, answer: str = "", **more: Any) -> requests.Response:
    """Make one of the kit's own calls about a thread."""
    body = {"thread_id": thread, **({"answer": answer} if answer else {})}
    url = f"{client.prefix}/api/{name}"
    return client.browser.post(url, json=body, headers=client.bearer, **more)


def state(client: Client, thread: str, *, asks: bool = True) -> str | None:
    """What the thread says of its last answer."""
    metadata = {"metadata": {"answer": True}} if asks else {}
    request = {"type": "threads.get_by_id", "params": {"thread_id": thread}, **metadata}
    answer = client.send(request)
    assert answer.status_code == 200, answer.text
    return answer.headers.get(ANSWER)


def test_next_page_reads_it_from_its_start(browse: Any, make: Callable[..., Site]) -> None:
    """An answer whose page was left is read by the next one, from its start to its end."""
    site = make()
    ann = visit(browse(site.app))
    with answering(ann) as thread:
        pass
    time.sleep(1.5)
    assert not site.shop.cancelled.is_set()
    assert state(ann, thread, asks=False) == "running"
    with own(ann, "resume", thread, stream=True) as response:
        assert response.headers[ANSWER] == "running"
        site.shop.open_gate()
        stream = events(response)
    assert kinds(stream) == [
        "thread.created",
        "thread.item.done:user_message",
        "stream_options",
        "thread.item.added:assistant_message",
        "thread.item.updated",
        "thread.item.updated",
        "thread.item.done:assistant_message",
    ]
    assert site.shop.begun == 1
    assert ann.texts(thread, "assistant_message") == ["so far, so good"]
    assert own(ann, "resume", thread).status_code == 204
    assert state(ann, thread) is None


def test_nobody_comes_back(browse: Any, make: Callable[..., Site]) -> None:
    """An answer that nobody reads for too long is stopped, stored, and marked as interrupted."""
    site = make(CHATKIT_LEAVE_SECONDS=1)
    ann = visit(browse(site.app))
    with answering(ann) as thread:
        pass
    assert site.shop.cancelled.wait(10)
    until(lambda: state(ann, thread) == "interrupted")
    assert ann.texts(thread, "assistant_message") == ["so far"]
    assert own(ann, "resume", thread).status_code == 204
    # Who does not ask pays for no look into the history.
    assert state(ann, thread, asks=False) is None
    assert kinds(ann.add(thread, "hello"))[-1] == "thread.item.done:assistant_message"
    assert state(ann, thread) is None


def test_stop_is_at_once(browse: Any, make: Callable[..., Site]) -> None:
    """Stop ends an answer while its page still reads it, and what it has said is stored."""
    site = make()
    ann = visit(browse(site.app))
    with answering(ann) as thread:
        began = time.monotonic()
        assert own(ann, "stop", thread).status_code == 204
        assert site.shop.cancelled.wait(5)
        assert time.monotonic() - began < 3
    until(lambda: ann.texts(thread, "assistant_message") == ["so far"])
    # There is nothing to stop any more, which is no error.
    assert own(ann, "stop", thread).status_code == 204


def answer_id(client: Client, thread: str) -> str:
    """The id of the answer that is being written in a thread."""
    with own(client, "resume", thread, stream=True) as response:
        return response.headers[ANSWER_ID]


def test_late_stop_leaves_the_next_answer_alone(browse: Any, make: Callable[..., Site]) -> None:
    """A stop that names an answer stops that one only, whenever it arrives."""
    site = make()
    ann = visit(browse(site.app))
    with answering(ann) as thread:
        first = answer_id(ann, thread)
        assert own(ann, "stop", thread, first).status_code == 204
        assert site.shop.cancelled.wait(5)
    site.shop.cancelled.clear()
    with ann.send(
        {
            "type": "threads.add_user_message",
            "params": {"thread_id": thread, "input": said("slow again")},
        },
        stream=True,
    ) as response:
        second = response.headers[ANSWER_ID]
        assert second != first
        assert own(ann, "stop", thread, first).status_code == 204
        time.sleep(0.5)
        assert not site.shop.cancelled.is_set()
        assert own(ann, "stop", thread, second).status_code == 204
        assert site.shop.cancelled.wait(5)


@pytest.mark.parametrize("place", ["same process", "another process"])
def test_same_words_after_stop_are_new(
    browse: Any, make_app: MakeApp, tmp_path: Path, place: str
) -> None:
    """Who stops an answer and asks the same in a new chat has two chats, each with its answer."""
    kit, gate = ChatKit(store=f"sqlite:///{tmp_path}/x.sqlite3"), threading.Event()

    @kit.assistant()
    def answer(_message: Any, _chat: Any) -> Any:
        yield "so far"
        gate.wait(10)
        yield ", so good"

    app = make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_MESSAGE_RATELIMIT="")
    ann = visit(browse(app))
    with answering(ann, "slow") as first:
        assert own(ann, "stop", first).status_code == 204
    gate.set()
    until(lambda: ann.texts(first, "assistant_message") == ["so far"])
    if place == "another process":
        with app.app_context():
            for dispatcher in app.extensions["chatkit"]["chatkit"].service._dispatchers.values():
                dispatcher.clear_replays()
    second = ann.create("slow")
    assert second != first
    assert ann.texts(first, "assistant_message") == ["so far"]
    assert ann.texts(second, "assistant_message") == ["so far, so good"]


def test_same_words_after_stop_of_the_sites_server(browse: Any, make: Callable[..., Site]) -> None:
    """A server of the site's own does the same in one process."""
    site = make()
    ann = visit(browse(site.app))
    with answering(ann) as first:
        assert own(ann, "stop", first).status_code == 204
    until(lambda: ann.texts(first, "assistant_message") == ["so far"])
    site.shop.open_gate()
    assert ann.create("slow") != first
    assert ann.texts(first, "assistant_message") == ["so far"]


def test_others_neither_read_nor_stop(browse: Any, make: Callable[..., Site]) -> None:
    """Somebody else's answer is not found, whatever they know of it."""
    site = make()
    ann, eve = visit(browse(site.app)), visit(browse(site.app))
    with answering(ann) as thread:
        for name in ("resume", "stop"):
            told(own(eve, name, thread), 404, "not_found")
            told(own(eve, name, "thr_nothing"), 404, "not_found")
            unknown = Client(browse(site.app))
            told(own(unknown, name, thread), 401, "unauthenticated")
            forged = ann.browser.post(
                f"/chatkit/api/{name}",
                json={"thread_id": thread},
                headers={"Origin": "https://evil.example"},
            )
            told(forged, 403, "forbidden_origin")
        # Nor does deleting what is somebody else's.
        eve.post("threads.delete", thread_id=thread)
        # Nor does a retry of somebody else's message come between.
        eve.post("threads.retry_after_item", thread_id=thread, item_id="msg_1")
        time.sleep(0.5)
        assert not site.shop.cancelled.is_set()
    site.shop.open_gate()
    until(lambda: ann.texts(thread, "assistant_message") == ["so far, so good"])


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"thread_id": 1},
        {"thread_id": "thr_1", "user": "eve"},
        {"thread_id": "thr_1", "answer": 1},
        {"thread_id": "thr_1", "answer": ""},
        "x" * 5000,
    ],
)
def test_other_bodies_are_refused(browse: Any, make: Callable[..., Site], body: Any) -> None:
    """A call takes the id of a thread, stopping that of an answer too, and nothing else."""
    ann = visit(browse(make().app))
    for name in ("resume", "stop"):
        answer = ann.browser.post(f"/chatkit/api/{name}", json=body)
        too_large = isinstance(body, str)
        told(answer, 413 if too_large else 400, "too_large" if too_large else "bad_request")
        form = ann.browser.post(f"/chatkit/api/{name}", data="thread_id=thr_1")
        told(form, 400, "bad_request")


def test_calls_count(browse: Any, make: Callable[..., Site]) -> None:
    """Both calls count against the visitor's quota of calls."""
    ann = visit(browse(make(CHATKIT_CALL_RATELIMIT="3/minute").app))
    answers = [own(ann, name, "thr_1").status_code for name in ("resume", "stop") * 2]
    assert answers == [404, 404, 404, 429]


def test_deleted_thread_stops_its_answer(browse: Any, make: Callable[..., Site]) -> None:
    """What is answered in a thread that is deleted is stopped."""
    site = make()
    ann = visit(browse(site.app))
    with answering(ann) as thread:
        pass
    ann.ask("threads.delete", thread_id=thread)
    assert site.shop.cancelled.wait(5)
    assert ann.threads() == []


def test_login_keeps_its_answer(browse: Any, make: Callable[..., Site]) -> None:
    """Who signs in while an answer is written reads it as the login, and may stop it."""
    site = make()
    browser: Browser = browse(site.app)
    ann = visit(browser)
    with answering(ann) as thread:
        pass
    browser.post("/login")
    login = visit(browser)
    assert state(login, thread) == "running"
    with own(login, "resume", thread, stream=True) as response:
        site.shop.open_gate()
        assert kinds(events(response))[-1] == "thread.item.done:assistant_message"
    assert login.texts(thread, "assistant_message") == ["so far, so good"]


def test_answers_that_nobody_reads_count(browse: Any, make: Callable[..., Site]) -> None:
    """A visitor who leaves one answer after the other gets no more of them at a time."""
    site = make()
    ann = visit(browse(site.app))
    threads = []
    for number in range(4):
        with answering(ann, f"slow {number}") as thread:
            threads.append(thread)
    refusal = ann.stream("threads.create", input=said("slow down"))
    assert "wait" in refusal[-1]["message"]
    own(ann, "stop", threads[0])
    until(lambda: len(ann.texts(threads[0], "assistant_message")) == 1)
    assert len(ann.add(threads[0], "hello")) > 1


def test_addresses_have_a_limit_of_answers(browse: Any, make: Callable[..., Site]) -> None:
    """New visitors of an address don't begin answers without end by leaving them."""
    site = make(CHATKIT_RATELIMIT="", CHATKIT_RATELIMIT_IP="1000/minute")
    refused = 0
    for _ in range(12):
        ann = visit(browse(site.app))
        for number in range(4):
            body = {"type": "threads.create", "params": {"input": said(f"slow {number}")}}
            with ann.send(body, stream=True) as response:
                refused += b"Please wait until" in next(response.iter_content(4096))
    assert site.shop.begun == 40
    assert refused == 8
    site.shop.open_gate()
    under_way = site.app.extensions["chatkit"]["chatkit"].under_way
    until(lambda: len(under_way) == 0)


def test_without_a_grace_nothing_is_said(browse: Any, make: Callable[..., Site]) -> None:
    """With CHATKIT_LEAVE_SECONDS=0 an answer ends with its request, and says nothing else."""
    site = make(CHATKIT_LEAVE_SECONDS=0)
    ann = visit(browse(site.app))
    body = {"type": "threads.create", "params": {"input": said("slow")}}
    with ann.send(body, stream=True) as response:
        assert ANSWER not in response.headers
        next(response.iter_lines())
    assert site.shop.cancelled.wait(5)


def test_unanswered_message(browse: Any, make: Callable[..., Site]) -> None:
    """A message whose answer is lost with its process is told from a whole answer."""
    site = make()
    ann = visit(browse(site.app))
    thread = ann.create("hello")
    assert state(ann, thread) is None
    shop = site.shop
    shop.respond = lambda *_: _silence()  # type: ignore[method-assign]
    ann.add(thread, "and now?")
    assert state(ann, thread) == "unanswered"
    # Among several processes without Redis, another one may be answering.
    app = site.app
    wsgi = app.wsgi_app

    def as_one_of_several(environ: Any, start_response: Any) -> Any:
        return wsgi({**environ, "wsgi.multiprocess": True}, start_response)

    app.wsgi_app = as_one_of_several  # type: ignore[method-assign]
    assert state(ann, thread) == "elsewhere"


async def _silence() -> Any:
    for nothing in ():
        yield nothing


def test_trusted_page_may_read_the_header(browse: Any, make: Callable[..., Site]) -> None:
    """A trusted page of another origin reads how an answer stands."""
    site = make(CHATKIT_TRUSTED_ORIGINS="https://shop.example")
    headers = {"Origin": "https://shop.example"}
    browser: Browser = browse(site.app)
    minted = browser.post("/chatkit/secret", headers={**headers, "X-ChatKit-Visitor": ""}).json()
    ours = {**headers, "X-ChatKit-Visitor": minted["visitor"]}
    body = {"type": "threads.create", "params": {"input": said("slow")}}
    with browser.post("/chatkit/api", json=body, headers=ours, stream=True) as response:
        assert response.headers[ANSWER] == "running"
        assert {ANSWER, ANSWER_ID} <= {
            *response.headers["Access-Control-Expose-Headers"].split(", ")
        }


def test_asgi_does_the_same(make: Callable[..., Site], start: Any) -> None:
    """On an ASGI server an answer goes on, is read again without a thread, and is stopped."""
    site = make()
    ann = visit(Browser(start(ChatKitASGI(site.app, threads=2)).base))
    with answering(ann) as thread:
        pass
    time.sleep(1)
    assert not site.shop.cancelled.is_set()
    readers = [own(ann, "resume", thread, stream=True) for _ in range(3)]
    lines = readers[0].iter_lines()
    next(line for line in lines if b"so far" in line)
    # More readers than threads, and calls still get one.
    assert state(ann, thread) == "running"
    assert own(ann, "stop", thread).status_code == 204
    assert site.shop.cancelled.wait(5)
    assert b"error" not in b"".join(lines)
    for reader in readers:
        reader.close()


# --- two processes that share Redis ---


@pytest.fixture
def pair(make: Callable[..., Site], browse: Any, redis_uri: str) -> tuple[Site, Client, Client]:
    """Two sites on one Redis and one history, and one visitor on both: the first site's shop."""
    first, second = (make(CHATKIT_RATELIMIT_STORAGE_URI=redis_uri) for _ in range(2))
    here = visit(browse(first.app))
    there = Client(browse(second.app), token=here.token)
    there.browser.cookies.update(here.browser.cookies)
    return first, here, there


class Place:
    """Where processes meet, by a Redis that may be down."""

    has_redis = True

    def __init__(self, uri: str, key: str) -> None:
        self._redis = redis.Redis.from_url(uri)
        self._key = key
        self.is_down = False

    def name(self, *names: str) -> str:
        return "/".join(("test", self._key, *names))

    def with_redis(self, act: Callable[[Any], Any]) -> Any:
        with suppress(redis.ConnectionError):
            return None if self.is_down else act(self._redis)
        return None


def test_other_process_reads_it(pair: tuple[Site, Client, Client]) -> None:
    """A page that meets another process reads the answer from its start to its end."""
    site, here, there = pair
    with answering(here) as thread:
        pass
    until(lambda: state(there, thread) == "running")
    with own(there, "resume", thread, stream=True) as response:
        lines = response.iter_lines()
        found: list[bytes] = []
        while not any(b"so far" in line for line in found):
            found.append(next(lines))
        site.shop.open_gate()
        found += lines
    data = [json.loads(line[6:]) for line in found if line.startswith(b"data: ")]
    assert kinds(data)[0] == "thread.created"
    assert kinds(data)[-1] == "thread.item.done:assistant_message"
    assert len(kinds(data)) == 7
    assert there.texts(thread, "assistant_message") == ["so far, so good"]
    until(lambda: state(there, thread) is None)
    assert own(there, "resume", thread).status_code == 204


def test_other_process_stops_it(pair: tuple[Site, Client, Client]) -> None:
    """Stop reaches the process that answers, while its page still reads."""
    site, here, there = pair
    with answering(here) as thread:
        until(lambda: state(there, thread) == "running")
        began = time.monotonic()
        assert own(there, "stop", thread).status_code == 204
        assert site.shop.cancelled.wait(5)
        assert time.monotonic() - began < 2


def test_late_stop_of_another_process(pair: tuple[Site, Client, Client]) -> None:
    """Across processes, too, a stop that names an answer leaves others alone."""
    site, here, there = pair
    with answering(here) as thread:
        until(lambda: state(there, thread) == "running")
        assert own(there, "stop", thread, "0123456789abcdef").status_code == 204
        time.sleep(1)
        assert not site.shop.cancelled.is_set()
        assert own(there, "stop", thread, answer_id(there, thread)).status_code == 204
        assert site.shop.cancelled.wait(5)


def test_reader_of_another_process_keeps_it_going(
    make: Callable[..., Site], browse: Any, redis_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer goes on as long as somebody reads it there, and a while longer."""
    monkeypatch.setattr("flask_chatkit.server.streaming.shared.NOTE_SECONDS", 3)
    config = {"CHATKIT_RATELIMIT_STORAGE_URI": redis_uri, "CHATKIT_LEAVE_SECONDS": 2}
    first, second = make(**config), make(**config)
    here = visit(browse(first.app))
    there = Client(browse(second.app), token=here.token)
    there.browser.cookies.update(here.browser.cookies)
    with answering(here) as thread:
        until(lambda: state(there, thread) == "running")
    with own(there, "resume", thread, stream=True) as response:
        end = time.monotonic() + 5
        for _ in response.iter_lines():
            if time.monotonic() > end:
                break
        assert not first.shop.cancelled.is_set()
    assert first.shop.cancelled.wait(15)


def test_redis_that_goes_away_stops_nothing(
    pair: tuple[Site, Client, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Redis is down, an answer goes on where it is written, and is read there."""
    site, here, _ = pair
    with answering(here) as thread:
        pass

    def down(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(redis.connection.AbstractConnection, "connect", down)
    monkeypatch.setattr(redis.Redis, "execute_command", down)
    with own(here, "resume", thread, stream=True) as response:
        site.shop.open_gate()
        assert kinds(events(response))[-1] == "thread.item.done:assistant_message"


@pytest.fixture
def apart(redis_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An answer of one process, and what another process knows: both on one Redis."""
    monkeypatch.setattr(shared, "NOTE_SECONDS", 1)
    key = secrets.token_hex(4)
    places = [Place(redis_uri, key), Place(redis_uri, key)]
    gate = asyncio.Event()

    async def say() -> Any:
        yield b"one "
        await gate.wait()
        yield b"two "

    async def process() -> Any:
        return StreamingResult(say())

    stream = Stream(loop.current(), Flask("site"), process, 30, leave_seconds=3)
    here, there = map(shared.SharedAnswers, places)
    reader = stream.start()
    assert next(reader) == b"one "
    here.add("thr_1", stream)
    until(lambda: there.find("thr_1"))
    go_on = partial(loop.current().call, gate.set)
    yield SimpleNamespace(stream=stream, place=places[0], there=there, go_on=go_on, reader=reader)
    go_on()
    reader.close()


def text_of(answer: Iterator[bytes]) -> bytes:
    """What comes of an answer, without heartbeats."""
    return b"".join(answer).replace(HEARTBEAT, b"")


def lose_connection(monkeypatch: pytest.MonkeyPatch, *, appends: bool) -> threading.Event:
    """Lose the next connection that puts something there, before it did or after; set once lost."""
    append, lost = shared._append, threading.Event()

    def lose(*arguments: Any) -> None:
        if lost.is_set() or appends:
            append(*arguments)
        if not lost.is_set():
            lost.set()
            raise redis.ConnectionError

    monkeypatch.setattr(shared, "_append", lose)
    return lost


def test_nothing_is_lost_while_redis_is_away(apart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be put there while Redis was down for a moment comes after it."""
    answer = apart.there.read("thr_1")
    assert next(answer) == b"one "
    failed = lose_connection(monkeypatch, appends=False)
    apart.go_on()
    assert text_of(answer) == b"two "
    assert failed.is_set()


def test_what_redis_has_lost_is_told(apart: Any) -> None:
    """Where Redis has forgotten a part, such as by a restart, the reader is told to begin anew."""
    answer = apart.there.read("thr_1")
    assert next(answer) == b"one "
    apart.place.with_redis(lambda it: it.delete(apart.place.name("events", answer.id)))
    apart.go_on()
    assert text_of(answer) == error_event(allow_retry=True)


def test_what_is_put_there_twice_is_read_once(apart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Redis has taken something without saying so, it is put there again, and read once."""
    answer = apart.there.read("thr_1")
    assert next(answer) == b"one "
    lost = lose_connection(monkeypatch, appends=True)
    apart.go_on()
    assert text_of(answer) == b"two "
    assert lost.is_set()


def test_readers_elsewhere_hold_nothing_without_redis(apart: Any) -> None:
    """An answer that is read elsewhere only ends after its time when Redis has gone."""
    answer = apart.there.read("thr_1")
    assert next(answer) == b"one "
    apart.reader.close()
    apart.place.is_down = True
    until(lambda: apart.stream.abandoned, 10)


def test_reader_that_was_away_is_told(apart: Any) -> None:
    """Who reads on after too long is told that something is missing, and may read anew."""
    answer = apart.there.read("thr_1")
    assert next(answer) == b"one "
    time.sleep(2)
    assert text_of(answer) == error_event(allow_retry=True)
    again = apart.there.read("thr_1")
    assert next(again) == b"one "
    apart.go_on()
    assert text_of(again) == b"two "
