"""Every operation counts: reading, renaming, feedback and all; and so does what is under way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from flask_chatkit import ChatKit
from flask_chatkit.limits import concurrency
from tests.helpers.served import PNG, Client, refused, said, until, visit
from tests.helpers.sites import Browser, MakeApp, told

THUMB = {"kind": "positive"}


@pytest.fixture
def shop(make_app: MakeApp, browse: Any, tmp_path: Path) -> Callable[..., Any]:
    """Make a site whose chat echoes, and takes files and feedback."""

    def make(*, feedback: Any = None, **config: Any) -> Any:
        kit = ChatKit()
        kit.assistant(attachments=True)(lambda message, _chat: message.text)
        kit.feedback()(feedback or (lambda *_: None))
        files = {
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3",
            "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "up"),
            "CHATKIT_RATELIMIT": "",
            "CHATKIT_RATELIMIT_IP": "100000/minute",
        }
        app = make_app(kit, **{**files, **config})
        base = browse(app).base
        return SimpleNamespace(app=app, base=base, visit=lambda: visit(browse(base)))

    return make


def calls(ann: Client, thread: str, item: str) -> Iterator[Callable[[], requests.Response]]:
    """Each call that is no message, as something that it sends."""
    yield lambda: ann.post("threads.list")
    yield lambda: ann.post("threads.get_by_id", thread_id=thread)
    yield lambda: ann.post("items.list", thread_id=thread)
    yield lambda: ann.post("items.feedback", thread_id=thread, item_ids=[item], **THUMB)
    yield lambda: ann.post("threads.update", thread_id=thread, title="Mine")
    yield lambda: ann.post("threads.delete", thread_id=thread)
    yield lambda: ann.post("attachments.delete", attachment_id="atc_0")
    yield lambda: ann.send({"type": "no such thing"})


def test_every_call_counts(shop: Any) -> None:
    """What is no message is counted together, and refused with 429 in words; messages go on."""
    place = shop(CHATKIT_CALL_RATELIMIT="3/minute")
    ann = place.visit()
    thread = ann.create("one")
    item = ann.items(thread)[-1]["id"]
    ann.threads()
    assert ann.post("threads.update", thread_id=thread, title="Mine").status_code == 200
    for call in calls(ann, thread, item):
        answer = call()
        assert "wait" in told(answer, 429, "rate_limited")["message"]
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert ann.add(thread, "two")[-1]["type"] == "thread.item.done"
    assert place.visit().threads() == []


@pytest.mark.parametrize("number", range(8))
def test_each_call_is_counted(shop: Any, number: int) -> None:
    """Each of them uses the quota up, one that can't be read and one that finds nothing too."""
    place = shop(CHATKIT_CALL_RATELIMIT="2/minute")
    ann = place.visit()
    thread = ann.create("one")
    item = ann.items(thread)[-1]["id"]
    call = list(calls(ann, thread, item))[number]
    assert call().status_code != 429
    told(ann.post("threads.list"), 429, "rate_limited")


def test_small_requests_count(shop: Any, browse: Any) -> None:
    """Files to read, the widget's data and the state of a session are counted, too."""
    place = shop(CHATKIT_CALL_RATELIMIT="1/minute")
    ann = place.visit()
    file = ann.upload().json()["id"]
    path = f"/chatkit/attachments/{file}"
    assert ann.browser.get(path).content == PNG
    told(ann.browser.get(path), 429, "rate_limited")
    session = ann.browser.mint()["session_id"]
    told(ann.browser.get(f"/chatkit/session/{session}/validate"), 429, "rate_limited")
    # Who is not known is counted by address.
    for path in ("/chatkit/config", "/chatkit/embed.json?variant=floating"):
        place = shop(CHATKIT_CALL_RATELIMIT="1/minute")
        seen = [requests.get(place.base + path, timeout=10) for _ in range(6)]
        assert [answer.status_code for answer in seen[:5]] == [200] * 5
        told(seen[5], 429, "rate_limited")


def test_fresh_cookies_buy_no_calls(shop: Any) -> None:
    """All anonymous visitors of an address have five times what one has."""
    place = shop(CHATKIT_CALL_RATELIMIT="2/minute")
    clients = [place.visit() for _ in range(7)]
    seen = [client.post("threads.list").status_code for client in clients for _ in range(2)]
    assert seen == [200] * 10 + [429] * 4


def test_large_limit_is_counted_in_parts(shop: Any) -> None:
    """The storage hears of a few calls at once, and the limit holds nevertheless."""
    place = shop(CHATKIT_CALL_RATELIMIT="100/minute")
    quotas = place.app.extensions["chatkit"]["chatkit"].limiter.storage
    ann = place.visit()
    asked = []
    real = quotas._hit
    quotas._hit = lambda *more: asked.append(more) or real(*more)
    seen = [ann.post("threads.list").status_code for _ in range(110)]
    assert seen.count(200) in {100, 101}
    assert seen[-8:] == [429] * 8
    assert len(asked) < 80


# --- at a time --------------------------------------------------------------------------------


def unread(browser: Browser, path: str) -> socket.socket:
    """A download that is begun, and not read."""
    parts = urlsplit(browser.base)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((parts.hostname, parts.port))
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies)
    connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\nCookie: {cookies}\r\n\r\n".encode())
    assert connection.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
    return connection


def test_unread_downloads_have_a_bound(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not read what they asked for gets nothing more, in words; others are served."""
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.05)
    place = shop()
    ann, bob = place.visit(), place.visit()
    thread = ann.create("hello")
    file = ann.upload(b"%PDF-1.7\n" + b"x" * 9_000_000, "a.pdf", "application/pdf").json()["id"]
    path = f"/chatkit/attachments/{file}"
    under_way = place.app.extensions["chatkit"]["chatkit"].under_way
    with ExitStack() as downloads:
        for _ in range(concurrency.AT_A_TIME):
            downloads.enter_context(closing(unread(ann.browser, path)))
        for answer in (
            ann.browser.get(path),
            ann.post("threads.list"),
            ann.upload(),
        ):
            assert "wait" in told(answer, 429, "rate_limited")["message"]
            assert answer.headers["Retry-After"] == "1"
        assert "wait" in refused(ann.post("threads.create", input=said("hello")))
        assert bob.threads() == []
    until(lambda: len(under_way) == 0)
    assert ann.add(thread, "again")[-1]["type"] == "thread.item.done"
    assert ann.browser.get(path).content.startswith(b"%PDF")


def test_client_that_does_not_read_is_given_up(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server shows its connections, an unread download ends after a while."""
    monkeypatch.setattr(concurrency, "SEND_SECONDS", 0.3)
    monkeypatch.setattr(concurrency, "LOOK_SECONDS", 0.05)
    place = shop()
    ann = place.visit()
    file = ann.upload(b"%PDF-1.7\n" + b"x" * 9_000_000, "a.pdf", "application/pdf").json()["id"]
    under_way = place.app.extensions["chatkit"]["chatkit"].under_way
    with closing(unread(ann.browser, f"/chatkit/attachments/{file}")):
        assert len(under_way) > 0
        until(lambda: len(under_way) == 0)


def test_feedback_handler_is_not_flooded(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few calls of one visitor run the site's function at a time, and none of others wait."""
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.05)
    go_on, lock = threading.Event(), threading.Lock()
    running: list[int] = [0, 0]

    def feedback(*_: Any) -> None:
        with lock:
            running[0] += 1
            running[1] = max(running)
        assert go_on.wait(20)
        with lock:
            running[0] -= 1

    place = shop(feedback=feedback)
    ann, bob = place.visit(), place.visit()
    thread = ann.create("hello")
    item = ann.items(thread)[-1]["id"]
    others = [Client(Browser(ann.browser.base)) for _ in range(6)]
    for other in others:
        other.browser.cookies.update(ann.browser.cookies)

    def rate(client: Client) -> requests.Response:
        return client.post("items.feedback", thread_id=thread, item_ids=[item], **THUMB)

    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(rate, other) for other in others]
        until(lambda: sum(job.done() for job in jobs) == 6 - concurrency.CALLS_AT_A_TIME)
        assert bob.create("hello")
        go_on.set()
        statuses = sorted(job.result(20).status_code for job in jobs)
    assert statuses == [200] * concurrency.CALLS_AT_A_TIME + [429] * 4
    assert running == [0, concurrency.CALLS_AT_A_TIME]
    for other in others:
        other.browser.close()


def test_refusals_count_and_run_nothing(make_app: MakeApp, browse: Any, tmp_path: Path) -> None:
    """A message that is refused for its form counts as a call, and runs no code of the site's."""
    ran: list[int] = []

    def state() -> dict[str, str]:
        ran.append(1)
        return {}

    kit = ChatKit()
    kit.assistant(state_variables=state)(lambda message, _chat: message.text)
    app = make_app(
        kit,
        CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/x.sqlite3",
        CHATKIT_WORKFLOW_ID=None,
        CHATKIT_CALL_RATELIMIT="3/minute",
    )
    ann = visit(browse(app))
    statuses = [ann.post("threads.create", input=said("  ")).status_code for _ in range(5)]
    assert statuses == [400, 400, 400, 429, 429]
    assert ran == []
    ann.create("hello")
    assert ran == [1]


def test_what_is_not_found_counts(shop: Any) -> None:
    """Sessions that are nobody's are looked for as often as anything else."""
    place = shop(CHATKIT_CALL_RATELIMIT="3/minute")
    ann = place.visit()
    path = "/chatkit/session/none/validate"
    assert [ann.browser.get(path).status_code for _ in range(4)] == [404, 404, 404, 429]
