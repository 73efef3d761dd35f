"""What a served chat refuses, and in which form: how often, how much, from where, and when."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from flask import abort, redirect

from flask_chatkit import ChatKit
from flask_chatkit.server.protocol.operations import KIB
from flask_chatkit.server.streaming import stream as streams
from tests.helpers.served import (
    STREAMS,
    Client,
    Shop,
    check_stream_headers,
    events,
    kinds,
    of_type,
    refused,
    said,
    until,
    visit,
)
from tests.helpers.sites import MakeApp, told
from tests.helpers.stores import TidyStore

AUDIO = base64.b64encode(b"RIFF" * 10).decode()
ACTION = {"type": "go", "payload": {}}


class Recorder(TidyStore):
    """A store that tells what limits it was asked with, and says that it keeps owners apart."""

    isolates_owners = True

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int] = []

    async def load_threads(self, limit: int, after: Any, order: str, context: Any) -> Any:
        self.limits.append(limit)
        return await super().load_threads(limit, after, order, context)

    async def load_thread_items(
        self, thread_id: str, after: Any, limit: int, order: str, context: Any
    ) -> Any:
        self.limits.append(limit)
        return await super().load_thread_items(thread_id, after, limit, order, context)


class Silent(Shop):
    """A server without dictation."""

    transcribe = Shop.__mro__[1].transcribe  # type: ignore[assignment]


@pytest.fixture
def shop(make_app: MakeApp, tmp_path: Any) -> Callable[..., Any]:
    """Make sites with one served chat; keywords are its options, `config` the site's."""

    def make(
        server: Any = Shop, config: Any = None, kit: ChatKit | None = None, **options: Any
    ) -> Any:
        kit = kit or ChatKit()
        kit.add_server("default", server, **options)
        app = make_app(
            kit,
            **{
                "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3",
                "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "up"),
                "CHATKIT_RATELIMIT": "",
                "CHATKIT_RATELIMIT_IP": "",
                **(config or {}),
            },
        )
        return SimpleNamespace(app=app, kit=kit)

    return make


def again(client: Client, *, keep: bool) -> Client:
    """The same browser, or one that came without anything, on the same site."""
    if not keep:
        client.browser.cookies.clear()
    return visit(client.browser)


# --- how often ---


def test_messages_have_a_limit_told_in_words(browse: Any, shop: Any) -> None:
    """On a streaming call the limit is an event to be read; nothing is stored or answered."""
    ann = visit(browse(shop(config={"CHATKIT_MESSAGE_RATELIMIT": "2/minute"}).app))
    thread = ann.create("one")
    ann.add(thread, "two")
    for kind, params in (
        ("threads.add_user_message", {"thread_id": thread, "input": said("three")}),
        ("threads.create", {"input": said("four")}),
    ):
        answer = ann.post(kind, **params)
        message = refused(answer)
        assert "wait" in message
        assert "second" in message or "minute" in message
    assert [item["id"] for item in ann.threads()] == [thread]
    assert ann.texts(thread) == ["one", "two"]


def test_limit_on_calls_for_json(browse: Any, shop: Any) -> None:
    """On a call for JSON the limit is 429 with a message and Retry-After."""
    place = shop(attachments=True, config={"CHATKIT_MESSAGE_RATELIMIT": "1/minute"})
    ann = visit(browse(place.app))
    thread = ann.create("one")
    announced = {"name": "a.txt", "size": 5, "mime_type": "text/plain"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("attachments.create", announced),
        ("input.transcribe", {"audio_base64": AUDIO, "mime_type": "audio/webm"}),
        ("threads.sync_custom_action", {"thread_id": thread, "action": ACTION}),
    ]
    for kind, params in calls:
        answer = ann.post(kind, **params)
        told(answer, 429, "rate_limited")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    answer = ann.upload()
    told(answer, 429, "rate_limited")
    assert "Retry-After" in answer.headers
    # Reading and tidying up is no message.
    ann.items(thread)
    ann.ask("threads.update", thread_id=thread, title="Mine")
    ann.ask("threads.delete", thread_id=thread)


@pytest.mark.parametrize(
    "kind", ["threads.retry_after_item", "threads.custom_action", "threads.add_structured_input"]
)
def test_all_that_makes_the_server_talk_counts(browse: Any, shop: Any, kind: str) -> None:
    """Retrying, acting and answering a form cost what a message costs, and are counted so."""
    ann = visit(browse(shop(config={"CHATKIT_MESSAGE_RATELIMIT": "1/minute"}).app))
    thread = ann.create("everything")
    items = ann.items(thread)
    ids = {
        "threads.retry_after_item": of_type(items, "user_message")["id"],
        "threads.custom_action": of_type(items, "widget")["id"],
        "threads.add_structured_input": of_type(items, "structured_input")["id"],
    }
    more = {
        "threads.custom_action": {"action": ACTION},
        "threads.add_structured_input": {"input": {"answers": {}}},
    }
    answer = ann.post(kind, thread_id=thread, item_id=ids[kind], **more.get(kind, {}))
    assert "wait" in refused(answer)
    assert ann.items(thread) == items


def test_a_tools_answer_is_no_message(browse: Any, shop: Any) -> None:
    """The page's own answer to a tool comes through, or the conversation would be stuck."""
    ann = visit(browse(shop(config={"CHATKIT_MESSAGE_RATELIMIT": "1/minute"}).app))
    thread = ann.create("tool")
    stream = ann.stream("threads.add_client_tool_output", thread_id=thread, result=1)
    assert kinds(stream)[-1] == "thread.item.done:assistant_message"


def test_a_chats_own_limit(browse: Any, shop: Any) -> None:
    """A chat's message_ratelimit stands in the place of the setting."""
    place = shop(message_ratelimit="1/day", config={"CHATKIT_MESSAGE_RATELIMIT": "100/minute"})
    ann = visit(browse(place.app))
    ann.create("one")
    assert "hour" in refused(ann.post("threads.create", input=said("two")))


def test_the_kits_total_holds_for_messages(browse: Any, shop: Any) -> None:
    """CHATKIT_RATELIMIT_GLOBAL bounds what all visitors together may cost, mints apart."""
    place = shop(config={"CHATKIT_MESSAGE_RATELIMIT": "", "CHATKIT_RATELIMIT_GLOBAL": "3/minute"})
    clients = [visit(browse(place.app)) for _ in range(3)]
    for number, client in enumerate(clients):
        client.create(f"hello {number}")
    assert "wait" in refused(clients[0].post("threads.create", input=said("one more")))
    # As many were minted; the mints did not use up the messages.
    told(clients[0].browser.post("/chatkit/secret"), 429, "rate_limited")


@pytest.mark.parametrize("how", ["cookie", "token"])
def test_dropping_the_cookie_buys_no_messages(browse: Any, shop: Any, how: str) -> None:
    """Who comes anew for each message has no more of them than who stays."""
    base = browse(shop(config={"CHATKIT_MESSAGE_RATELIMIT": "3/minute"}).app).base
    answers = []
    for number in range(6):
        client = visit(browse(base), by_token=how == "token")
        answers.append(events(client.post("threads.create", input=said(f"hello {number}"))))
    talked = [stream[0]["type"] == "thread.created" for stream in answers]
    assert talked == [True] * 3 + [False] * 3


def test_cookies_in_store_buy_no_messages(browse: Any, shop: Any) -> None:
    """Cookies that were collected beforehand count as one newcomer as well."""
    base = browse(shop(config={"CHATKIT_MESSAGE_RATELIMIT": "3/minute"}).app).base
    clients = [visit(browse(base)) for _ in range(5)]
    first = [client.stream("threads.create", input=said("hello"))[0]["type"] for client in clients]
    assert first == ["thread.created"] * 3 + ["error"] * 2
    # Nor does a fresh secret for the same cookie.
    for client in clients:
        assert "wait" in refused(again(client, keep=True).post("threads.create", input=said("x")))


def test_hosted_cookies_buy_no_messages(browse: Any, shop: Any) -> None:
    """Cookies from a hosted chat of the same kit are newcomers' in a served one too."""
    place = shop(config={"CHATKIT_MESSAGE_RATELIMIT": "3/minute"})
    place.kit.add_hosted("sales", "wf_standin")
    base = browse(place.app).base
    first = []
    for number in range(6):
        browser = browse(base)
        browser.mint("/chatkit/sales")
        client = Client(browser)
        first.append(client.stream("threads.create", input=said(f"hello {number}"))[0]["type"])
    assert first == ["thread.created"] * 3 + ["error"] * 3


def test_a_login_has_its_own_quota(browse: Any, shop: Any) -> None:
    """Who is signed in is not counted with the newcomers of the address."""
    from flask import request

    place = shop(config={"CHATKIT_MESSAGE_RATELIMIT": "2/minute"})
    place.kit.user_loader(lambda: request.cookies.get("login"))
    base = browse(place.app).base
    for number in range(3):
        visit(browse(base)).post("threads.create", input=said(f"hello {number}"))
    browser = browse(base)
    browser.cookies.set("login", "ann", domain="127.0.0.1")
    ann = visit(browser)
    ann.create("one")
    ann.create("two")
    assert "wait" in refused(ann.post("threads.create", input=said("three")))


def test_a_duplicate_costs_nothing(browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client sends again while it is answered gets that answer, whatever the limit."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    place = shop(config={"CHATKIT_MESSAGE_RATELIMIT": "1/minute"})
    ann = visit(browse(place.app))
    ann.threads()
    again = Client(browse(ann.browser.base))
    again.browser.cookies.update(ann.browser.cookies)
    (endpoint,) = place.app.extensions["chatkit"]["chatkit"].service._dispatchers.values()
    server = endpoint.server
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(ann.post, "threads.create", input=said("slow one"))]
        until(lambda: server.begun)
        jobs.append(pool.submit(again.post, "threads.create", input=said("slow one")))
        time.sleep(0.2)
        server.open_gate()
        first, second = (events(job.result(10)) for job in jobs)
    assert first == second
    assert kinds(first)[-1] == "thread.item.done:assistant_message"


def test_limits_hold_for_calls_at_a_time(browse: Any, shop: Any) -> None:
    """Many calls at a time get no more than the limit."""
    ann = visit(browse(shop(config={"CHATKIT_MESSAGE_RATELIMIT": "3/minute"}).app))
    others = [Client(browse(ann.browser.base)) for _ in range(8)]
    for other in others:
        other.browser.cookies.update(ann.browser.cookies)

    def say(numbered: tuple[int, Client]) -> str:
        number, client = numbered
        stream = client.stream("threads.create", input=said(f"hello {number}"))
        kind: str = stream[0]["type"]
        return kind

    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(say, enumerate(others)))
    assert first.count("thread.created") == 3
    assert len(ann.threads()) == 3


# --- how much ---


@pytest.mark.parametrize("kind", ["threads.create", "threads.add_user_message"])
def test_too_long_messages(browse: Any, shop: Any, kind: str) -> None:
    """A message that is too long is refused in words with both numbers, and is not stored."""
    ann = visit(browse(shop(config={"CHATKIT_MAX_MESSAGE_LENGTH": 2000}).app))
    thread = ann.create("first")
    params = {"thread_id": thread} if kind == "threads.add_user_message" else {}
    message = refused(ann.post(kind, input=said("x" * 2001), **params))
    assert "too long" in message
    assert "2,001" in message
    assert "2,000" in message
    two = said("x" * 1500)
    two["content"].append({"type": "input_text", "text": "x" * 501})
    assert "too long" in refused(ann.post(kind, input=two, **params))
    quoted = said("x" * 1500, quoted_text="x" * 501)
    assert "too long" in refused(ann.post(kind, input=quoted, **params))
    assert [item["id"] for item in ann.threads()] == [thread]
    assert ann.texts(thread) == ["first"]
    # As long as allowed, in letters of which each takes the most bytes.
    most = ann.post(kind, input=said("\U0001f600" * 2000), **params)
    assert "thread.item.done:user_message" in kinds(events(most))


def test_a_chats_own_length(browse: Any, shop: Any) -> None:
    """A chat's max_message_length stands in the place of the setting, also above it."""
    ann = visit(browse(shop(max_message_length=50_000).app))
    # As the browser sends them, escaped: six bytes for each.
    ann.create("\x01" * 50_000)
    assert "too long" in refused(ann.post("threads.create", input=said("x" * 50_001)))


def test_too_long_answers_in_forms(browse: Any, shop: Any) -> None:
    """What is typed into a form is bounded like a message."""
    ann = visit(browse(shop(config={"CHATKIT_MAX_MESSAGE_LENGTH": 100}).app))
    thread = ann.create("everything")
    form = of_type(ann.items(thread), "structured_input")
    answer = ann.post(
        "threads.add_structured_input",
        thread_id=thread,
        item_id=form["id"],
        input={"answers": {"size": {"values": ["x" * 60, "y" * 60]}}},
    )
    assert "too long" in refused(answer)
    assert of_type(ann.items(thread), "structured_input")["status"] == "pending"


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_empty_messages(browse: Any, shop: Any, text: str) -> None:
    """400: a message of nothing."""
    ann = visit(browse(shop().app))
    told(ann.post("threads.create", input=said(text)), 400, "bad_request")
    told(ann.post("threads.create", input={**said("x"), "content": []}), 400, "bad_request")
    assert ann.threads() == []


BODIES: dict[str, tuple[int, dict[str, Any]]] = {
    "threads.create": (200 * KIB, {"input": said("x")}),
    "threads.add_user_message": (200 * KIB, {"thread_id": "t", "input": said("x")}),
    "threads.add_client_tool_output": (600 * KIB, {"thread_id": "t", "result": 1}),
    "threads.add_structured_input": (
        200 * KIB,
        {"thread_id": "t", "item_id": "i", "input": {"answers": {}}},
    ),
    "threads.retry_after_item": (200 * KIB, {"thread_id": "t", "item_id": "i"}),
    "threads.custom_action": (200 * KIB, {"thread_id": "t", "action": ACTION}),
    "threads.sync_custom_action": (200 * KIB, {"thread_id": "t", "action": ACTION}),
    "threads.get_by_id": (200 * KIB, {"thread_id": "t"}),
    "threads.list": (200 * KIB, {}),
    "threads.update": (200 * KIB, {"thread_id": "t", "title": "x"}),
    "threads.delete": (200 * KIB, {"thread_id": "t"}),
    "items.list": (200 * KIB, {"thread_id": "t"}),
    "items.feedback": (200 * KIB, {"thread_id": "t", "item_ids": [], "kind": "positive"}),
    "attachments.create": (200 * KIB, {"name": "a", "size": 1, "mime_type": "text/plain"}),
    "attachments.delete": (200 * KIB, {"attachment_id": "a"}),
    "input.transcribe": (13 * KIB * KIB, {"audio_base64": AUDIO, "mime_type": "audio/webm"}),
}


def test_bodies_have_a_limit_each(browse: Any, shop: Any) -> None:
    """413: a body that no call of its kind needs, whatever makes it large."""
    ann = visit(browse(shop(attachments=True).app))
    for kind, (size, params) in BODIES.items():
        body = {"type": kind, "params": params, "metadata": {"pad": "x" * size}}
        answer = ann.send(body)
        assert answer.status_code == 413, (kind, answer.status_code, answer.text[:200])
        told(answer, 413, "too_large")
    assert len(BODIES) == 16


def test_dictation_and_tools_may_bring_more(browse: Any, shop: Any) -> None:
    """A recording of some megabytes, and a tool's answer of a hundred KiB, are accepted."""
    ann = visit(browse(shop().app))
    audio = base64.b64encode(b"0" * 3 * KIB * KIB).decode()
    answer = ann.ask("input.transcribe", audio_base64=audio, mime_type="audio/ogg")
    assert answer["text"] == f"{3 * KIB * KIB} bytes of audio/ogg"
    thread = ann.create("tool")
    stream = ann.stream(
        "threads.add_client_tool_output", thread_id=thread, result={"page": "x" * 100 * KIB}
    )
    assert kinds(stream)[-1] == "thread.item.done:assistant_message"


def test_without_dictation_bodies_are_small(browse: Any, shop: Any) -> None:
    """413: a chat that takes no dictation reads no megabytes to say so."""
    ann = visit(browse(shop(Silent).app))
    refusal = ann.post("input.transcribe", audio_base64=AUDIO, mime_type="audio/webm")
    told(refusal, 400, "bad_request")
    audio = base64.b64encode(b"0" * 3 * KIB * KIB).decode()
    told(ann.post("input.transcribe", audio_base64=audio, mime_type="audio/ogg"), 413, "too_large")


def test_limits_of_pages_are_clamped(browse: Any, shop: Any) -> None:
    """A page has 1 to 100 entries, whatever the browser asks for, also in a site's own store."""
    store = Recorder()
    ann = visit(browse(shop(lambda: Shop(store)).app))
    thread = ann.create("hello")
    for limit in (-5, 0, 1, 100, 101, 10**9):
        store.limits.clear()
        ann.ask("threads.list", limit=limit)
        ann.ask("items.list", thread_id=thread, limit=limit)
        assert len(store.limits) >= 2
        assert all(1 <= asked <= 100 for asked in store.limits), (limit, store.limits)


def test_titles_and_feedback_are_bounded(browse: Any, shop: Any) -> None:
    """400: a title of nothing or of too much, feedback on more than a page shows."""
    ann = visit(browse(shop().app))
    thread = ann.create("hello")
    for title in ("", "   ", "x" * 201):
        told(ann.post("threads.update", thread_id=thread, title=title), 400, "bad_request")
    ann.ask("threads.update", thread_id=thread, title="x" * 200)
    ids = [ann.items(thread)[0]["id"]] * 51
    answer = ann.post("items.feedback", thread_id=thread, item_ids=ids, kind="positive")
    told(answer, 400, "bad_request")


# --- in which form ---


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"data": "a=b", "headers": {"Content-Type": "text/plain"}}, "application/json"),
        ({"data": {"type": "threads.list"}}, "application/json"),
        ({"data": b"{}", "headers": {"Content-Type": "multipart/form-data"}}, "application/json"),
        ({"data": "{", "headers": {"Content-Type": "application/json"}}, "body"),
        ({"data": "", "headers": {"Content-Type": "application/json"}}, "body"),
        ({"data": b"\xff\xfe", "headers": {"Content-Type": "application/json"}}, "body"),
        ({"data": "[" * 9000, "headers": {"Content-Type": "application/json"}}, "body"),
        ({"json": []}, ""),
        ({"json": "threads.list"}, ""),
        ({"json": {}}, "'type'"),
        ({"json": {"type": "threads.nothing", "params": {}}}, "'type'"),
        ({"json": {"type": 7, "params": {}}}, "'type'"),
        ({"json": {"type": "threads.list"}}, "'params'"),
        ({"json": {"type": "threads.list", "params": {"limit": "x"}}}, "limit"),
        ({"json": {"type": "threads.list", "params": {"order": "up"}}}, "order"),
        ({"json": {"type": "threads.create", "params": {"input": {}}}}, "input"),
        ({"json": {"type": "threads.get_by_id", "params": {"thread_id": 7}}}, "thread_id"),
        ({"json": {"type": "threads.get_by_id", "params": {}}}, "thread_id"),
        ({"json": {"type": "threads.list", "params": {}, "metadata": 1}}, "metadata"),
    ],
)
def test_bad_requests(browse: Any, shop: Any, more: dict[str, Any], named: str) -> None:
    """400: no JSON, no call, or a field that is not of its form, which is named."""
    ann = visit(browse(shop().app))
    answer = ann.browser.post("/chatkit/api", **more)
    assert named in told(answer, 400, "bad_request")["message"]
    assert "pydantic" not in answer.text


@pytest.mark.parametrize("thread", ["", "\x00", "x" * 5000, "../..", "thr_' OR 1=1 --", "ä\ud800"])
def test_strange_ids(browse: Any, shop: Any, thread: str) -> None:
    """404 or 400: an id that no thread can have breaks nothing."""
    ann = visit(browse(shop().app))
    ann.create("hello")
    for kind, more in (
        ("threads.get_by_id", {}),
        ("threads.delete", {}),
        ("threads.add_user_message", {"input": said("x")}),
        ("threads.custom_action", {"action": ACTION}),
    ):
        answer = ann.post(kind, thread_id=thread, **more)
        assert answer.status_code in {400, 404}, (kind, answer.status_code, answer.text[:200])
    assert len(ann.threads()) == 1


@pytest.mark.parametrize("text", ["a\x00b", "\u202egnp.exe", "x\ud800y", "🧶" * 10])
def test_strange_texts(browse: Any, shop: Any, text: str) -> None:
    """What a visitor types is stored as it was typed, but for halves of characters, or refused."""
    ann = visit(browse(shop().app))
    answer = ann.post("threads.create", input=said(text))
    if answer.status_code != 200:
        told(answer, 400, "bad_request")
        assert ann.threads() == []
        return
    stream = events(answer)
    assert stream[0]["type"] == "thread.created", stream
    assert ann.texts(stream[0]["thread"]["id"]) == [text.replace("\ud800", "\ufffd")]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_methods(browse: Any, shop: Any, method: str) -> None:
    """405: the protocol is POST, and says so as JSON."""
    ann = visit(browse(shop().app))
    answer = ann.browser.request(method, "/chatkit/api")
    told(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


def test_nothing_is_a_redirect(browse: Any, shop: Any) -> None:
    """A slash too much is an error at once, and no redirect, which the client would follow."""
    ann = visit(browse(shop().app))
    assert ann.browser.post("/chatkit/api/", json={}).status_code in {404, 405}


# --- in which state ---


TALKING: dict[str, dict[str, Any]] = {
    "threads.add_user_message": {"input": said("more")},
    "threads.add_client_tool_output": {"result": 1},
    "threads.add_structured_input": {"item_id": "structured_input", "input": {"answers": {}}},
    "threads.retry_after_item": {"item_id": "user_message"},
    "threads.custom_action": {"item_id": "widget", "action": ACTION},
    "threads.sync_custom_action": {"item_id": "widget", "action": ACTION},
}


@pytest.mark.parametrize("store", ["ours", "own"])
@pytest.mark.parametrize(
    ("word", "reason"),
    [("lock", "We look into it."), ("locked-silently", "locked"), ("close", "closed")],
)
def test_locked_and_closed_threads(
    browse: Any, shop: Any, word: str, reason: str, store: str
) -> None:
    """A thread that is locked or closed is read and deleted, but nothing is said in it."""
    ann = visit(browse(shop(Shop if store == "ours" else lambda: Shop(TidyStore())).app))
    thread = ann.create("everything")
    ann.stream("threads.add_client_tool_output", thread_id=thread, result="the first")
    ann.add(thread, word)
    before = ann.items(thread)
    for kind, more in TALKING.items():
        ids = {"item_id": of_type(before, more["item_id"])["id"]} if "item_id" in more else {}
        answer = ann.post(kind, thread_id=thread, **{**more, **ids})
        if kind in STREAMS:
            assert reason in refused(answer), kind
        else:
            assert reason in told(answer, 400, "bad_request")["message"]
    assert ann.items(thread) == before
    assert ann.ask("threads.get_by_id", thread_id=thread)["status"]["type"] in {"locked", "closed"}
    ann.ask("items.feedback", thread_id=thread, item_ids=[before[0]["id"]], kind="negative")
    ann.ask("threads.delete", thread_id=thread)


# --- what is on offer ---

CHOICES = {
    "models": [{"id": "small", "label": "Small"}, {"id": "large", "label": "Large"}],
    "tools": [{"id": "search", "label": "Search", "icon": "search"}],
}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"model": "gpt-most-expensive"}, "model"),
        ({"model": ""}, "model"),
        ({"tool_choice": {"id": "shell"}}, "tool_choice"),
        ({"model": "small", "tool_choice": {"id": "shell"}}, "tool_choice"),
    ],
)
def test_choices_that_are_not_on_offer(
    browse: Any, shop: Any, options: dict[str, Any], named: str
) -> None:
    """400: a model or tool that the composer does not offer; nothing is stored."""
    ann = visit(browse(shop(widget=CHOICES).app))
    answer = ann.post("threads.create", input=said("x", inference_options=options))
    assert named in told(answer, 400, "bad_request")["message"]
    assert ann.threads() == []


def test_choices_that_are_on_offer(browse: Any, shop: Any) -> None:
    """What the composer offers is accepted and reaches the site's code; so is no choice."""
    ann = visit(browse(shop(widget=CHOICES).app))
    options = {"model": "large", "tool_choice": {"id": "search"}}
    thread = ann.create("one", inference_options=options)
    assert ann.items(thread)[0]["inference_options"] == options
    ann.create("two")
    # A server that declares no choices here decides by itself.
    free = visit(browse(shop().app))
    assert free.create("x", inference_options={"model": "anything"})


def test_files_where_none_are_taken(browse: Any, shop: Any) -> None:
    """400 or 404: a chat without attachments has no file operations, and says so in words."""
    ann = visit(browse(shop().app))
    calls: list[tuple[str, dict[str, Any]]] = [
        ("attachments.create", {"name": "a", "size": 1, "mime_type": "text/plain"}),
        ("attachments.delete", {"attachment_id": "atc_1"}),
    ]
    for kind, params in calls:
        answer = ann.post(kind, **params)
        assert "files" in told(answer, 400, "bad_request")["message"]
    message = refused(ann.post("threads.create", input=said("x", attachments=["atc_1"])))
    assert "files" in message
    told(ann.upload(), 404, "not_found")
    told(ann.browser.get("/chatkit/attachments/atc_1"), 404, "not_found")
    assert ann.threads() == []


# --- from where, and behind which guards ---


@pytest.mark.parametrize("where", ["kit", "app"])
@pytest.mark.parametrize(
    "guard",
    [lambda: redirect("/login?next=x"), lambda: abort(401), lambda: "<h1>Please sign in</h1>"],
    ids=["redirect", "abort", "page"],
)
def test_login_hooks(browse: Any, shop: Any, guard: Any, where: str) -> None:
    """401: a site's guard is JSON on the protocol and the files, never a redirect or a page."""
    shut: list[bool] = []
    kit = ChatKit()
    if where == "kit":
        kit.before_request(lambda: guard() if shut else None)
    place = shop(attachments=True, kit=kit)
    if where == "app":
        place.app.before_request(lambda: guard() if shut else None)
    ann = visit(browse(place.app))
    thread = ann.create("hello")
    shut.append(True)
    for kind, params in (
        ("threads.list", {}),
        ("threads.create", {"input": said("x")}),
        ("threads.add_user_message", {"thread_id": thread, "input": said("x")}),
    ):
        told(ann.post(kind, **params), 401, "unauthenticated")
    told(ann.upload(), 401, "unauthenticated")
    told(ann.browser.get("/chatkit/attachments/x"), 401, "unauthenticated")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_foreign_origins(browse: Any, shop: Any, headers: dict[str, str]) -> None:
    """403: another origin's page asks, with the visitor's cookie or with a token."""
    ann = visit(browse(shop(attachments=True).app))
    token = ann.browser.mint()["client_secret"]
    file = ann.upload().json()["id"]
    answers = [
        ann.post("threads.list", headers=headers),
        ann.post("threads.create", input=said("x"), headers=headers),
        Client(ann.browser, token=token).post("threads.list", headers=headers),
        ann.browser.post("/chatkit/attachments", files={"file": b"x"}, headers=headers),
        ann.browser.get(f"/chatkit/attachments/{file}", headers=headers),
        ann.browser.put(f"/chatkit/attachments/{file}", data=b"x", headers=headers),
    ]
    for answer in answers:
        told(answer, 403, "forbidden_origin")
        assert not any(name.startswith("Access-Control") for name in answer.headers)
    assert ann.threads() == []


def test_trusted_origins(browse: Any, shop: Any) -> None:
    """A trusted page asks by token or cookie, and may read streams, JSON, errors and refusals."""
    trusted = "https://www.example.com"
    config = {"CHATKIT_TRUSTED_ORIGINS": [trusted], "CHATKIT_MESSAGE_RATELIMIT": "1/minute"}
    ann = visit(browse(shop(config=config, attachments=True).app), by_token=True)
    headers = {"Origin": trusted, "Sec-Fetch-Site": "cross-site"}
    stream = ann.post("threads.create", input=said("hello"), headers=headers)
    assert kinds(events(stream))[0] == "thread.created"
    answers = [
        stream,
        ann.post("threads.list", headers=headers),
        ann.post("threads.create", input=said("again"), headers=headers),
        ann.post("threads.get_by_id", thread_id="x", headers=headers),
        ann.browser.post("/chatkit/attachments", headers={**headers, **ann.bearer}, data=b""),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 429]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == trusted
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in answer.headers["Vary"]
    check_stream_headers(answers[2])


@pytest.mark.parametrize("path", ["api", "attachments", "attachments/atc_1"])
def test_preflights(browse: Any, shop: Any, path: str) -> None:
    """A trusted page's preflight for a token is answered exactly, without any cookie."""
    trusted = "https://www.example.com"
    place = shop(config={"CHATKIT_TRUSTED_ORIGINS": [trusted]}, attachments=True)
    place.app.before_request(lambda: redirect("/login"))
    browser = browse(place.app)
    asked = {
        "Access-Control-Request-Method": "PUT" if "/" in path else "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = browser.options(f"/chatkit/{path}", headers={"Origin": trusted, **asked})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == trusted
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert asked["Access-Control-Request-Method"] in answer.headers["Access-Control-Allow-Methods"]
    other = browser.options(f"/chatkit/{path}", headers={"Origin": "https://evil.example", **asked})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_csrf_protection(browse: Any, shop: Any, missing: Any) -> None:
    """Under CSRFProtect the protocol needs the page's token in a header, unless exempt."""
    try:
        from flask_wtf.csrf import CSRFProtect, generate_csrf
    except ImportError:
        missing("Flask-WTF", "pip install flask-wtf")
    place = shop(attachments=True)
    protect = CSRFProtect(place.app)
    place.app.add_url_rule("/token", view_func=generate_csrf)
    browser = browse(place.app)
    token = {"X-CSRFToken": browser.get("/token").text}
    assert browser.post("/chatkit/secret", json={}, headers=token).status_code == 200
    ann = Client(browser)
    body = told(ann.post("threads.create", input=said("x")), 400, "bad_request")
    assert "CSRF" in body["message"]
    told(ann.upload(), 400, "bad_request")
    assert ann.post("threads.create", input=said("x"), headers=token).status_code == 200
    sent = browser.post("/chatkit/attachments", files={"file": b"x"}, headers=token)
    assert sent.status_code == 200, sent.text
    protect.exempt(place.kit)
    assert ann.create("y")


def test_a_disabled_kit(browse: Any, shop: Any) -> None:
    """404: with CHATKIT_ENABLED False there is no protocol either."""
    browser = browse(shop(config={"CHATKIT_ENABLED": False}, attachments=True).app)
    for path in ("api", "attachments"):
        told(browser.post(f"/chatkit/{path}"), 404, "not_found")
    told(browser.get("/chatkit/attachments/x"), 404, "not_found")


def test_without_a_secret_key(browse: Any, shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    """500: nothing can be signed without a SECRET_KEY, and the log names it."""
    browser = browse(shop(config={"SECRET_KEY": None}).app)
    told(browser.post("/chatkit/secret"), 500, "misconfigured")
    told(Client(browser).post("threads.list"), 500, "misconfigured")
    assert "SECRET_KEY" in caplog.text


def test_no_word_of_a_visitor_is_logged(
    browse: Any, shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither messages nor secrets are in the log of what goes well or is refused."""
    with caplog.at_level(logging.DEBUG):
        ann = visit(browse(shop(attachments=True).app))
        token = ann.browser.mint()["client_secret"]
        speaking = Client(ann.browser, token=token)
        thread = speaking.create("my secret illness")
        speaking.post("threads.update", thread_id=thread, title="my secret illness " * 20)
        speaking.post("threads.create", input=said("my secret illness " * 1000))
        speaking.post("threads.list", limit="my secret illness")
        file = ann.upload().json()
        ann.browser.get(f"/chatkit/attachments/{file['id']}")
    assert "illness" not in caplog.text
    assert token not in caplog.text
    assert file["preview_url"].partition("link=")[2] not in caplog.text


def test_answers_of_errors_are_short(browse: Any, shop: Any) -> None:
    """A refusal repeats no more of a call than it needs to."""
    ann = visit(browse(shop().app))
    answer = ann.send({"type": "x" * 50_000, "params": {}})
    assert len(answer.content) < 2000
    answer = ann.send({"type": "threads.list", "params": {"order": "y" * 50_000}})
    assert len(answer.content) < 2000
    assert json.loads(answer.text)["message"]
