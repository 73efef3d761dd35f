"""The protocol of a served chat over real HTTP: every operation, whose it is, what goes wrong."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from chatkit.agents import AgentContext
from chatkit.store import Store
from chatkit.types import AssistantMessageContent, AssistantMessageItem, ThreadItemDoneEvent
from flask import Flask, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_chatkit import ChatKit
from flask_chatkit.server import ChatContext
from flask_chatkit.server.protocol import replay
from flask_chatkit.server.streaming import stream as streams
from tests.helpers.served import (
    ANSWERS,
    PNG,
    STORY,
    STREAMS,
    Client,
    Shop,
    card,
    events,
    kinds,
    of_type,
    path_of,
    refused,
    said,
    until,
    visit,
)
from tests.helpers.sites import Browser, MakeApp, told
from tests.helpers.stores import LeakyStore, TidyStore

AUDIO = base64.b64encode(b"RIFF" * 10).decode()
ANSWER = {"answers": {"size": {"values": ["M"]}}}


@pytest.fixture
def site(make_app: MakeApp, tmp_path: Any) -> Callable[..., Flask]:
    """Make sites whose history and files are this test's own."""

    def make(kit: ChatKit, /, **config: Any) -> Flask:
        return make_app(
            kit,
            **{
                "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3",
                "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "up"),
                "CHATKIT_LEAVE_SECONDS": 0,
                "CHATKIT_MESSAGE_RATELIMIT": "",
                "CHATKIT_RATELIMIT": "",
                "CHATKIT_RATELIMIT_IP": "",
                **config,
            },
        )

    return make


@pytest.fixture
def shop(site: Callable[..., Flask]) -> Callable[..., Any]:
    """Make sites with one served chat; `server` is what answers, once it was asked."""

    def make(store: Any = None, /, chat: Any = None, **config: Any) -> Any:
        made: list[Shop] = []

        def ours(store: Any, attachment_store: Any) -> Shop:
            made.append(Shop(store, attachment_store))
            return made[0]

        def own() -> Shop:
            made.append(Shop(store))
            return made[0]

        kit = ChatKit()
        factory = own if store else ours
        kit.add_server("default", factory, **{"attachments": True, **(chat or {})})
        return SimpleNamespace(app=site(kit, **config), kit=kit, made=made)

    return make


def server_of(shop: Any) -> Shop:
    """The server that answers, which is made when it is first asked."""
    server: Shop = shop.made[0]
    return server


# --- the sixteen operations ---


def test_streaming_operations(browse: Any, shop: Any) -> None:
    """Each call that streams answers with events that chatkit's types accept, and is stored."""
    place = shop(chat={"widget": {"dictation": True}})
    ann = visit(browse(place.app))
    stream = ann.stream("threads.create", input=said("everything"))
    assert kinds(stream) == [
        "thread.created",
        "thread.item.done:user_message",
        "stream_options",
        "thread.item.done:assistant_message",
        "thread.item.done:widget",
        "thread.item.done:structured_input",
        "thread.item.done:client_tool_call",
    ]
    thread = stream[0]["thread"]["id"]
    stored = ann.items(thread)
    assert [item["id"] for item in stored] == [
        event["item"]["id"] for event in stream if "item" in event
    ]

    stream = ann.stream("threads.add_client_tool_output", thread_id=thread, result={"items": 2})
    assert kinds(stream) == ["stream_options", "thread.item.done:assistant_message"]
    call = of_type(ann.items(thread), "client_tool_call")
    assert (call["status"], call["output"]) == ("completed", {"items": 2})

    form = of_type(stored, "structured_input")["id"]
    stream = ann.stream(
        "threads.add_structured_input", thread_id=thread, item_id=form, input=ANSWER
    )
    assert kinds(stream)[1] == "thread.item.replaced:structured_input"
    assert of_type(ann.items(thread), "structured_input")["status"] == "answered"

    widget = of_type(stored, "widget")["id"]
    action = {"type": "order.cancel", "payload": {"id": 1}}
    stream = ann.stream("threads.custom_action", thread_id=thread, item_id=widget, action=action)
    assert kinds(stream) == ["stream_options", "thread.item.replaced:widget"]
    assert server_of(place).told == [("order.cancel", {"id": 1})]
    assert ann.stream("threads.custom_action", thread_id=thread, action=action)

    stream = ann.add(thread, "more")
    assert kinds(stream) == [
        "thread.item.done:user_message",
        "stream_options",
        "thread.item.done:assistant_message",
    ]
    replaced = [item["id"] for item in ann.items(thread)[1:]]
    stream = ann.stream("threads.retry_after_item", thread_id=thread, item_id=stored[0]["id"])
    removed = [event["item_id"] for event in stream if event["type"] == "thread.item.removed"]
    assert removed == replaced
    rest = [kind for kind in kinds(stream) if kind != "thread.item.removed"]
    assert rest[:2] == ["stream_options", "thread.item.done:assistant_message"]
    assert ann.texts(thread) == ["everything"]


def test_json_operations(browse: Any, shop: Any) -> None:
    """Each call for JSON answers with what chatkit's types accept, and does what it says."""
    place = shop(chat={"attachments": {"upload": "two_phase"}})
    ann = visit(browse(place.app))
    thread = ann.create("everything")
    whole = ann.ask("threads.get_by_id", thread_id=thread)
    assert whole["id"] == thread
    assert len(whole["items"]["data"]) == 5
    assert [item["id"] for item in ann.threads()] == [thread]
    page = ann.ask("items.list", thread_id=thread, order="asc", limit=2)
    assert page["has_more"]
    rest = ann.ask("items.list", thread_id=thread, order="asc", after=page["after"])
    assert [item["id"] for item in page["data"] + rest["data"]] == [
        item["id"] for item in ann.items(thread)
    ]

    widget = of_type(ann.items(thread), "widget")
    ann.ask("items.feedback", thread_id=thread, item_ids=[widget["id"]], kind="positive")
    assert server_of(place).told == [("positive", thread, [widget["id"]])]
    action = {"type": "look", "payload": None}
    asked = {"thread_id": thread, "item_id": widget["id"], "action": action}
    answer = ann.ask("threads.sync_custom_action", **asked)
    assert answer["updated_item"]["id"] == widget["id"]

    assert ann.ask("threads.update", thread_id=thread, title="Order 1")["title"] == "Order 1"
    assert ann.threads()[0]["title"] == "Order 1"

    file = ann.ask("attachments.create", name="a.txt", size=5, mime_type="text/plain")
    assert file["upload_descriptor"]["method"] == "PUT"
    ann.ask("attachments.delete", attachment_id=file["id"])
    told(ann.post("attachments.delete", attachment_id=file["id"]), 404, "not_found")

    assert ann.ask("threads.delete", thread_id=thread) == {}
    assert ann.threads() == []
    told(ann.post("threads.get_by_id", thread_id=thread), 404, "not_found")


@pytest.mark.parametrize("declared", ["class", "instance", "factory", "setting"])
def test_dictation(browse: Any, site: Any, declared: str) -> None:
    """Speech becomes text where the server transcribes, however it was declared."""
    kit = ChatKit()
    config = {}
    if declared == "setting":
        path = "tests.helpers.served:factory"
        config = {"CHATKIT_SERVER": path, "CHATKIT_WORKFLOW_ID": None}
    else:
        ways = {
            "class": Shop,
            "instance": Shop(TidyStore()),
            "factory": lambda store: Shop(store),  # noqa: PLW0108  no class, so that it can't be looked into
        }
        kit.add_server("default", ways[declared])
    ann = visit(browse(site(kit, **config)))
    answer = ann.ask("input.transcribe", audio_base64=AUDIO, mime_type="audio/webm;codecs=opus")
    assert answer == {"text": "40 bytes of audio/webm;codecs=opus"}


def test_every_operation_is_tested_here() -> None:
    """The helpers know all sixteen operations, and no others."""
    from flask_chatkit.server.protocol.operations import OPERATIONS

    assert set(ANSWERS) | STREAMS == set(OPERATIONS)
    assert len(OPERATIONS) == 16
    assert {name for name, operation in OPERATIONS.items() if operation.streams} == STREAMS


def test_stream_has_no_header_of_a_connection(shop: Any) -> None:
    """What belongs to one hop is the server's business, and WSGI forbids it."""
    client = shop().app.test_client()
    client.post("/chatkit/secret", json={})
    answer = client.post(
        "/chatkit/api", json={"type": "threads.create", "params": {"input": said("hello")}}
    )
    hop = {"connection", "transfer-encoding", "keep-alive", "content-encoding"}
    assert not hop & {name.lower() for name in answer.headers.keys()}  # noqa: SIM118  pairs otherwise
    assert answer.get_data().startswith(b"data: ")


def test_protocols_metadata_is_accepted(browse: Any, shop: Any) -> None:
    """The optional metadata of a call is accepted, as the protocol has it."""
    ann = visit(browse(shop().app))
    body = {"type": "threads.create", "params": {"input": said("hi")}, "metadata": {"a": 1}}
    assert kinds(events(ann.send(body)))[0] == "thread.created"


# --- somebody else's ---


def belongings(client: Client) -> dict[str, str]:
    """A visitor's thread, items, file and session, all in use."""
    file = client.upload()
    assert file.status_code == 200, file.text
    thread = client.create("everything", attachments=[file.json()["id"]])
    items = client.items(thread)
    announced = client.ask("attachments.create", name="a.txt", size=5, mime_type="text/plain")
    return {
        "thread": thread,
        "message": of_type(items, "user_message")["id"],
        "widget": of_type(items, "widget")["id"],
        "form": of_type(items, "structured_input")["id"],
        "file": file.json()["id"],
        "announced": announced["id"],
    }


MADE_UP = {
    "thread": "thr_" + "0" * 32,
    "message": "msg_" + "0" * 32,
    "widget": "msg_" + "1" * 32,
    "form": "msg_" + "2" * 32,
    "file": "atc_" + "0" * 32,
    "announced": "atc_" + "1" * 32,
}
ACTION = {"type": "go", "payload": {}}

#: Every operation, with each id that it takes: `mine` is the caller's own, `other` is foreign.
FOREIGN: dict[str, tuple[str, Callable[[Any, Any], dict[str, Any]]]] = {
    "create, file": (
        "threads.create",
        lambda _, other: {"input": said("x", attachments=[other["file"]])},
    ),
    "create, announced file": (
        "threads.create",
        lambda _, other: {"input": said("x", attachments=[other["announced"]])},
    ),
    "message, thread": (
        "threads.add_user_message",
        lambda _, other: {"thread_id": other["thread"], "input": said("x")},
    ),
    "message, file": (
        "threads.add_user_message",
        lambda mine, other: {
            "thread_id": mine["thread"],
            "input": said("x", attachments=[other["file"]]),
        },
    ),
    "tool output, thread": (
        "threads.add_client_tool_output",
        lambda _, other: {"thread_id": other["thread"], "result": 1},
    ),
    "form, thread": (
        "threads.add_structured_input",
        lambda _, other: {
            "thread_id": other["thread"],
            "item_id": other["form"],
            "input": ANSWER,
        },
    ),
    "form, item": (
        "threads.add_structured_input",
        lambda mine, other: {
            "thread_id": mine["thread"],
            "item_id": other["form"],
            "input": ANSWER,
        },
    ),
    "retry, thread": (
        "threads.retry_after_item",
        lambda _, other: {"thread_id": other["thread"], "item_id": other["message"]},
    ),
    "retry, item": (
        "threads.retry_after_item",
        lambda mine, other: {"thread_id": mine["thread"], "item_id": other["message"]},
    ),
    "retry, own item": (
        "threads.retry_after_item",
        lambda mine, other: {"thread_id": other["thread"], "item_id": mine["message"]},
    ),
    "action, thread": (
        "threads.custom_action",
        lambda _, other: {"thread_id": other["thread"], "action": ACTION},
    ),
    "action, item": (
        "threads.custom_action",
        lambda mine, other: {
            "thread_id": mine["thread"],
            "item_id": other["widget"],
            "action": ACTION,
        },
    ),
    "sync action, thread": (
        "threads.sync_custom_action",
        lambda _, other: {"thread_id": other["thread"], "action": ACTION},
    ),
    "sync action, item": (
        "threads.sync_custom_action",
        lambda mine, other: {
            "thread_id": mine["thread"],
            "item_id": other["widget"],
            "action": ACTION,
        },
    ),
    "get": ("threads.get_by_id", lambda _, other: {"thread_id": other["thread"]}),
    "list, after": ("threads.list", lambda _, other: {"after": other["thread"]}),
    "items, thread": ("items.list", lambda _, other: {"thread_id": other["thread"]}),
    "items, after": (
        "items.list",
        lambda mine, other: {"thread_id": mine["thread"], "after": other["message"]},
    ),
    "items, thread and after": (
        "items.list",
        lambda _, other: {"thread_id": other["thread"], "after": other["message"]},
    ),
    "feedback, thread": (
        "items.feedback",
        lambda _, other: {
            "thread_id": other["thread"],
            "item_ids": [other["widget"]],
            "kind": "positive",
        },
    ),
    "feedback, no items": (
        "items.feedback",
        lambda _, other: {"thread_id": other["thread"], "item_ids": [], "kind": "negative"},
    ),
    "feedback, item": (
        "items.feedback",
        lambda mine, other: {
            "thread_id": mine["thread"],
            "item_ids": [mine["widget"], other["widget"]],
            "kind": "positive",
        },
    ),
    "update": (
        "threads.update",
        lambda _, other: {"thread_id": other["thread"], "title": "Mine now"},
    ),
    "delete": ("threads.delete", lambda _, other: {"thread_id": other["thread"]}),
    "delete file": ("attachments.delete", lambda _, other: {"attachment_id": other["file"]}),
    "delete announced file": (
        "attachments.delete",
        lambda _, other: {"attachment_id": other["announced"]},
    ),
}
#: The operations that take no id of anything that exists.
WITHOUT_IDS = {"attachments.create", "input.transcribe"}


def test_table_of_foreign_ids_is_complete() -> None:
    """The table has every operation that takes an id."""
    assert {kind for kind, _ in FOREIGN.values()} == (set(ANSWERS) | STREAMS) - WITHOUT_IDS


STORES: dict[str, Callable[[], Any]] = {"ours": lambda: None, "leaky": TidyStore}


def not_refused(client: Client, mine: Any, other: Any) -> dict[str, str]:
    """The rows of the table that are not answered as 404 in JSON."""
    wrong = {}
    for case, (kind, params) in FOREIGN.items():
        answer = client.post(kind, **params(mine, other))
        if answer.status_code == 404:
            told(answer, 404, "not_found")
        else:
            wrong[case] = f"{answer.status_code} {answer.text[:200]}"
    return wrong


@pytest.mark.parametrize("way", ["cookie", "token", "script root"])
@pytest.mark.parametrize("store", STORES)
def test_foreign_ids_are_not_found(browse: Any, shop: Any, store: str, way: str) -> None:
    """404: what is another visitor's, or nobody's, by cookie, by token, and under a script root."""
    place = shop(STORES[store]())
    root = DispatcherMiddleware(place.app, {"/shop": place.app})
    ann = visit(browse(root))
    theirs = belongings(ann)
    before = ann.everything()
    prefix = "/shop/chatkit" if way == "script root" else "/chatkit"
    bob = visit(browse(ann.browser.base), prefix, by_token=way == "token")
    mine = belongings(bob)
    own = bob.everything()
    assert not_refused(bob, mine, theirs) == {}
    assert not_refused(bob, mine, MADE_UP) == {}
    assert bob.everything() == own
    assert ann.everything() == before
    assert ann.browser.get(f"/chatkit/attachments/{theirs['file']}").content == PNG
    assert server_of(place).told == []


def test_foreign_and_made_up_ids_are_told_the_same(browse: Any, shop: Any) -> None:
    """An id that exists for somebody else is answered as one that does not exist at all."""
    app = shop().app
    theirs = belongings(visit(browse(app)))
    bob = visit(browse(app))
    mine = belongings(bob)
    for kind, params in FOREIGN.values():
        answers = [bob.post(kind, **params(mine, other)) for other in (theirs, MADE_UP)]
        first, second = ((answer.status_code, answer.json().get("message")) for answer in answers)
        assert first == second, kind


@pytest.mark.parametrize("store", STORES)
def test_another_chat_of_the_same_visitor(browse: Any, site: Any, store: str) -> None:
    """404: a visitor's own thread is not there in another chat of the kit, nor its files."""
    own = STORES[store]()
    kit = ChatKit()
    told_there = []
    for name in ("default", "other"):

        def ours(store: Any, attachment_store: Any) -> Shop:
            server = Shop(store, attachment_store)
            told_there.append(server.told)
            return server

        kit.add_server(name, (lambda: ours(own, None)) if own else ours, attachments=True)
    browser = browse(site(kit))
    here = visit(browser)
    there = Client(browser, "/chatkit/other")
    theirs, mine = belongings(here), belongings(there)
    before = here.everything()
    assert not_refused(there, mine, theirs) == {}
    for key in (theirs["file"], theirs["announced"]):
        told(browser.get(f"/chatkit/other/attachments/{key}"), 404, "not_found")
        told(browser.put(f"/chatkit/other/attachments/{key}", data=b"x"), 404, "not_found")
    assert here.everything() == before
    assert told_there == [[], []]


def test_foreign_files_and_sessions_are_not_found(browse: Any, shop: Any) -> None:
    """404: the calls beside the protocol keep visitors apart as well."""
    app = shop().app
    ann = visit(browse(app))
    theirs = belongings(ann)
    session = ann.browser.mint()["session_id"]
    for bob in (visit(browse(app)), visit(browse(app), by_token=True)):
        for key in (theirs["file"], theirs["announced"], MADE_UP["file"]):
            url = f"/chatkit/attachments/{key}"
            told(bob.browser.get(url, headers=bob.bearer), 404, "not_found")
            told(bob.browser.put(url, data=b"12345", headers=bob.bearer), 404, "not_found")
        for known in (session, "x" * 40):
            url = f"/chatkit/session/{known}"
            told(bob.browser.get(f"{url}/validate", headers=bob.bearer), 404, "not_found")
            told(bob.browser.post(f"{url}/refresh"), 404, "not_found")
            told(bob.browser.post(f"{url}/cancel"), 404, "not_found")
    url = f"/chatkit/session/{session}/validate"
    assert ann.browser.get(url).json()["status"] == "active"
    assert ann.browser.get(f"/chatkit/attachments/{theirs['file']}").content == PNG


def test_lists_hold_nobody_elses(browse: Any, shop: Any) -> None:
    """A list has the visitor's own threads and no others, though the store shows all of them."""
    for store in (None, TidyStore(), LeakyStore()):
        app = shop(store).app
        clients = [visit(browse(app)) for _ in range(3)]
        made = [
            [client.create(f"{place} {count}") for count in range(3)]
            for place, client in enumerate(clients)
        ]
        for client, ids in zip(clients, made, strict=True):
            assert {thread["id"] for thread in client.threads()} == set(ids)


def test_a_leaky_servers_metadata_shows_no_owner(browse: Any, shop: Any) -> None:
    """Nothing that the browser or the site's code sees tells how owners are kept apart."""
    place = shop(TidyStore())
    ann = visit(browse(place.app))
    thread = ann.create("everything", attachments=[ann.upload().json()["id"]])
    shown = json.dumps(ann.everything()) + ann.post("threads.get_by_id", thread_id=thread).text
    assert "owner" not in shown


# --- who speaks ---


@pytest.fixture
def login_shop(shop: Any) -> Any:
    """A shop whose visitors sign in with a cookie of its own."""
    place = shop()
    place.kit.user_loader(lambda: request.cookies.get("login"))
    return place


def sign_in(browser: Browser, name: str) -> None:
    """Sign in at the site."""
    browser.cookies.set("login", name, domain=browser.base.split("/")[2].split(":")[0])


def test_cookie_alone_and_token_alone(browse: Any, shop: Any) -> None:
    """The cookie alone is enough, the token alone is enough, and both are the same visitor."""
    app = shop().app
    browser = browse(app)
    by_cookie = visit(browser)
    thread = by_cookie.create()
    token = browser.mint()["client_secret"]
    for client in (Client(browse(app), token=token), Client(browser, token=token)):
        assert [item["id"] for item in client.threads()] == [thread]
        assert client.add(thread, f"again {client.browser is browser}")
    answer = Client(browse(app), token=token).post("threads.list")
    assert "Set-Cookie" not in answer.headers
    assert "Cookie" in answer.headers["Vary"]


def test_nobody_is_unauthenticated(browse: Any, shop: Any) -> None:
    """401: neither cookie nor token; a streaming call is told the same way."""
    app = shop().app
    nobody = Client(browse(app))
    told(nobody.post("threads.list"), 401, "unauthenticated")
    told(nobody.post("threads.create", input=said("x")), 401, "unauthenticated")
    told(nobody.browser.get("/chatkit/attachments/x"), 401, "unauthenticated")
    told(nobody.upload(), 401, "unauthenticated")
    forged = browse(app)
    forged.cookies.set("chatkit_visitor", "x" * 22 + ".abc." + "y" * 64)
    told(Client(forged).post("threads.list"), 401, "unauthenticated")


def test_token_and_cookie_must_agree(browse: Any, shop: Any) -> None:
    """401: one visitor's token with another's cookie is nobody."""
    app = shop().app
    ann, bob = browse(app), browse(app)
    token = ann.mint()["client_secret"]
    bob.mint()
    told(Client(bob, token=token).post("threads.list"), 401, "unauthenticated")


def test_a_logins_token_needs_the_login(browse: Any, login_shop: Any) -> None:
    """401: a token that was minted for a login is nothing without that login."""
    app = login_shop.app
    browser = browse(app)
    sign_in(browser, "ann")
    token = browser.mint()["client_secret"]
    assert "ann" not in token
    assert (
        "ann" not in base64.urlsafe_b64decode(token.split("_", 1)[1].split(".")[0] + "==").decode()
    )
    assert Client(browser, token=token).threads() == []
    told(Client(browse(app), token=token).post("threads.list"), 401, "unauthenticated")
    other = browse(app)
    sign_in(other, "bob")
    told(Client(other, token=token).post("threads.list"), 401, "unauthenticated")
    browser.cookies.clear()
    told(Client(browser, token=token).post("threads.list"), 401, "unauthenticated")


def test_tampered_tokens(browse: Any, shop: Any) -> None:
    """401: a token of which any one character was changed, cut or added."""
    app = shop().app
    token = browse(app).mint()["client_secret"]
    client = app.test_client()
    body = {"type": "threads.list", "params": {}}

    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return int(client.post("/chatkit/api", json=body, headers=headers).status_code)

    assert status(token) == 200
    for place, letter in enumerate(token):
        changed = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        assert status(changed) == 401, place
    for changed in (token[:-1], token + "A", token + "=", token + ".", "ck_", "", "ck_" + token):
        assert status(changed) == 401, changed


def test_expired_tokens(browse: Any, shop: Any) -> None:
    """401: the token's time is over; the cookie alone goes on, and so does a new token."""
    app = shop(chat={"session_seconds": 60}).app
    browser = browse(app)
    minted = browser.mint()
    assert minted["expires_in"] == 60
    assert abs(minted["expires_at"] - time.time() - 60) < 5
    client = Client(browser, token=minted["client_secret"])
    client.threads()
    with app.test_request_context("/chatkit/"):
        app.extensions["chatkit"]["chatkit"].sessions._clock = lambda: time.time() + 61
    told(client.post("threads.list"), 401, "unauthenticated")
    assert Client(browser).threads() == []
    url = f"/chatkit/session/{minted['session_id']}"
    assert browser.get(f"{url}/validate").json()["status"] == "expired"
    fresh = browser.post(f"{url}/refresh").json()["client_secret"]
    assert Client(browser, token=fresh).threads() == []


def test_tokens_last_an_hour(browse: Any, shop: Any) -> None:
    """A served chat's secret is good for an hour unless told otherwise."""
    assert browse(shop().app).mint()["expires_in"] == 3600


def test_sessions_of_served_chats(browse: Any, shop: Any) -> None:
    """Validate, refresh and cancel do what they say; what was cancelled or replaced is no good."""
    app = shop().app
    browser = browse(app)
    first = browser.mint()
    url = f"/chatkit/session/{first['session_id']}"
    assert browser.get(f"{url}/validate").json() == {
        "status": "active",
        "expires_at": first["expires_at"],
    }
    second = browser.post(f"{url}/refresh").json()
    assert set(second) == set(first)
    assert browser.get(f"{url}/validate").json()["status"] == "cancelled"
    told(
        Client(browse(app), token=first["client_secret"]).post("threads.list"),
        401,
        "unauthenticated",
    )
    alone = Client(browse(app), token=second["client_secret"])
    assert alone.threads() == []
    url = f"/chatkit/session/{second['session_id']}"
    assert browser.post(f"{url}/cancel").json() == {"status": "cancelled"}
    told(alone.post("threads.list"), 401, "unauthenticated")
    told(browser.post(f"{url}/refresh"), 404, "not_found")


def test_tokens_of_another_chat_and_hosted_chats(browse: Any, site: Any) -> None:
    """401 for another chat's token; 404 for the protocol of a chat that OpenAI runs."""
    kit = ChatKit()
    kit.add_server("default", Shop)
    kit.add_server("other", Shop)
    kit.add_hosted("sales", "wf_standin")
    app = site(kit)
    browser = browse(app)
    token = browser.mint("/chatkit/other")["client_secret"]
    told(Client(browser, token=token).post("threads.list"), 401, "unauthenticated")
    assert Client(browser, "/chatkit/other", token).threads() == []
    session = browser.mint("/chatkit/other")["session_id"]
    told(browser.get(f"/chatkit/session/{session}/validate"), 404, "not_found")
    browser.mint("/chatkit/sales")
    sales = Client(browser, "/chatkit/sales")
    told(sales.post("threads.list"), 404, "not_found")
    told(sales.upload(), 404, "not_found")
    told(Client(browser, "/chatkit/nobody").post("threads.list"), 404, "not_found")


def test_another_kits_token_is_nobodys(browse: Any, site: Any, tmp_path: Any) -> None:
    """401: a second kit on the same site signs under its own name."""
    kit, staff = ChatKit(), ChatKit("staff", url_prefix="/staff/chat")
    kit.add_server("default", Shop)
    staff.add_server("default", Shop)
    app = site(kit)
    app.register_blueprint(staff)
    token = browse(app).mint()["client_secret"]
    answer = Client(browse(app), "/staff/chat", token).post("threads.list")
    told(answer, 401, "unauthenticated")


def test_other_kinds_of_authorization_are_left_alone(browse: Any, shop: Any) -> None:
    """A site behind basic authentication sends a header that is no token of ours."""
    ann = visit(browse(shop().app))
    answer = ann.post("threads.list", headers={"Authorization": "Basic YTpi"})
    assert answer.status_code == 200


@pytest.mark.parametrize("first", ["secret", "api", "attachment"])
def test_signing_in_hands_the_threads_over(browse: Any, login_shop: Any, first: str) -> None:
    """Signing in takes the anonymous threads and files along, and ends the anonymous visitor."""
    app = login_shop.app
    browser = browse(app)
    ann = visit(browser)
    theirs = belongings(ann)
    anonymous = browser.cookies["chatkit_visitor"]
    token = browser.mint()["client_secret"]
    sign_in(browser, "ann")
    if first == "secret":
        answer = browser.post("/chatkit/secret")
    elif first == "api":
        answer = ann.post("threads.list")
        assert [thread["id"] for thread in answer.json()["data"]] == [theirs["thread"]]
    else:
        answer = browser.get(f"/chatkit/attachments/{theirs['file']}")
        assert answer.content == PNG
    assert answer.status_code == 200
    assert "chatkit_visitor=;" in answer.headers["Set-Cookie"]
    assert "chatkit_visitor" not in browser.cookies
    assert [thread["id"] for thread in ann.threads()] == [theirs["thread"]]
    assert kinds(ann.add(theirs["thread"], "as myself"))[0] == "thread.item.done:user_message"
    assert browser.get(f"/chatkit/attachments/{theirs['file']}").content == PNG
    # On another device, too; and who has only the old cookie or token has nothing.
    elsewhere = browse(app)
    sign_in(elsewhere, "ann")
    assert [thread["id"] for thread in Client(elsewhere).threads()] == [theirs["thread"]]
    former = browse(app)
    former.cookies.set("chatkit_visitor", anonymous)
    assert Client(former).threads() == []
    assert Client(browse(app), token=token).threads() == []


def test_signing_in_twice_hands_over_once(browse: Any, login_shop: Any) -> None:
    """What a login already has stays, and what comes later from the same cookie is added."""
    app = login_shop.app
    earlier = browse(app)
    sign_in(earlier, "ann")
    old = visit(earlier).create("from my desk")
    browser = browse(app)
    new = visit(browser).create("from my sofa")
    sign_in(browser, "ann")
    assert {thread["id"] for thread in Client(browser).threads()} == {old, new}


def test_signing_in_with_a_store_of_the_sites_own(browse: Any, shop: Any) -> None:
    """A store that was made safe hands threads over as well, and does so for them all."""
    place = shop(TidyStore())
    place.kit.user_loader(lambda: request.cookies.get("login"))
    browser = browse(place.app)
    ann = visit(browser)
    thread = ann.create()
    sign_in(browser, "ann")
    assert [item["id"] for item in ann.threads()] == [thread]
    assert ann.texts(thread) == ["hello"]


def test_signing_out_ends_the_session(browse: Any, login_shop: Any) -> None:
    """After signing out the login's token, session and threads are out of reach."""
    app = login_shop.app
    browser = browse(app)
    sign_in(browser, "ann")
    minted = browser.mint()
    client = Client(browser, token=minted["client_secret"])
    thread = client.create()
    browser.cookies.clear()
    told(client.post("threads.list"), 401, "unauthenticated")
    told(browser.get(f"/chatkit/session/{minted['session_id']}/validate"), 404, "not_found")
    anonymous = visit(browser)
    assert anonymous.threads() == []
    told(anonymous.post("threads.get_by_id", thread_id=thread), 404, "not_found")
    # Not even with both: the token is no longer the visitor's.
    told(
        Client(browser, token=minted["client_secret"]).post("threads.list"), 401, "unauthenticated"
    )


# --- the same once more ---


def test_concurrent_duplicates_answer_once(browse: Any, shop: Any) -> None:
    """The same message sent twice at a time is one, and both clients get the same answer."""
    place = shop()
    ann = visit(browse(place.app))
    ann.threads()
    others = [Client(browse(ann.browser.base)) for _ in range(4)]
    for other in others:
        other.browser.cookies.update(ann.browser.cookies)
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(other.post, "threads.create", input=said("slow one")) for other in others
        ]
        server = server_of(place)
        until(lambda: server.begun)
        time.sleep(0.1)
        server.open_gate()
        answers = [job.result(10) for job in asked]
    assert server.begun == 1
    streams = [events(answer) for answer in answers]
    assert all(stream == streams[0] for stream in streams)
    assert kinds(streams[0])[-1] == "thread.item.done:assistant_message"
    (thread,) = ann.threads()
    assert ann.texts(thread["id"]) == ["slow one"]

    with ThreadPoolExecutor(4) as pool:
        add = {"thread_id": thread["id"], "input": said("slow two")}
        asked = [pool.submit(other.post, "threads.add_user_message", **add) for other in others]
        streams = [events(job.result(10)) for job in asked]
    assert all(stream == streams[0] for stream in streams)
    assert ann.texts(thread["id"]) == ["slow one", "slow two"]
    assert server.begun == 2


def test_duplicates_directly_after(browse: Any, shop: Any) -> None:
    """The same message directly after its answer is that answer; another text is a new one."""
    ann = visit(browse(shop().app))
    first, again, other = (
        ann.stream("threads.create", input=said(text)) for text in ("hello", "hello", "hello!")
    )
    assert first == again
    assert other[0]["thread"]["id"] != first[0]["thread"]["id"]
    thread = first[0]["thread"]["id"]
    assert ann.add(thread, "more") == ann.add(thread, "more")
    ann.add(thread, "more!")
    assert ann.texts(thread) == ["hello", "more", "more!"]
    assert len(ann.threads()) == 2


def test_the_same_words_are_not_always_the_same(browse: Any, site: Any) -> None:
    """Another visitor, thread, chat, quotation or choice makes the same text another message."""
    kit = ChatKit()
    kit.add_server("default", Shop)
    kit.add_server("other", Shop)
    app = site(kit)
    ann, bob = visit(browse(app)), visit(browse(app))
    there = Client(ann.browser, "/chatkit/other")
    ids = [client.create("hello") for client in (ann, bob, there)]
    ids.append(ann.create("hello", quoted_text="a price"))
    ids.append(ann.create("hello", inference_options={"model": "small"}))
    assert len(set(ids)) == 5
    ann.add(ids[0], "more")
    ann.add(ids[3], "more")
    assert ann.texts(ids[0]) == ann.texts(ids[3]) == ["hello", "more"]


def test_the_same_after_a_while_is_new(
    browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says the same thing again later means it."""
    monkeypatch.setattr(replay, "SAME_SECONDS", 0.2)
    ann = visit(browse(shop().app))
    first = ann.create("yes")
    time.sleep(0.3)
    assert ann.create("yes") != first
    ann.add(first, "yes")
    time.sleep(0.3)
    ann.add(first, "yes")
    assert ann.texts(first) == ["yes", "yes", "yes"]


def test_a_duplicate_of_a_long_answer(
    browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time in which the same is the same begins when the answer ends, however long it took."""
    monkeypatch.setattr(replay, "SAME_SECONDS", 0.4)
    place = shop()
    ann = visit(browse(place.app))
    ann.threads()
    threading.Timer(0.6, server_of(place).open_gate).start()
    first = ann.stream("threads.create", input=said("slow one"))
    assert ann.stream("threads.create", input=said("slow one")) == first
    assert len(ann.threads()) == 1


def test_the_same_words_after_deleting(browse: Any, shop: Any) -> None:
    """Who deletes a conversation and begins it again gets a new one, not the deleted one."""
    ann = visit(browse(shop().app))
    thread = ann.create("Where is my order?")
    ann.ask("threads.delete", thread_id=thread)
    again = ann.create("Where is my order?")
    assert [item["id"] for item in ann.threads()] == [again]


def test_two_tools_with_the_same_result(browse: Any, shop: Any) -> None:
    """Two calls of tools, one after the other, are each answered, though both with the same."""
    place = shop()
    ann = visit(browse(place.app))
    thread = ann.create("tool")
    server_of(place).calls = 1
    done = {"thread_id": thread, "result": {"success": True}}
    first = ann.stream("threads.add_client_tool_output", **done)
    assert kinds(first)[-1] == "thread.item.done:client_tool_call"
    second = ann.stream("threads.add_client_tool_output", **done)
    assert kinds(second) == ["stream_options", "thread.item.done:assistant_message"]
    calls = [item for item in ann.items(thread) if item["type"] == "client_tool_call"]
    assert [call["status"] for call in calls] == ["completed", "completed"]


def test_a_tools_result_twice(browse: Any, shop: Any) -> None:
    """The same result of the same call, sent twice by the client, is taken once."""
    place = shop()
    ann = visit(browse(place.app))
    thread = ann.create("tool")
    done = {"thread_id": thread, "result": {"success": True}}
    first = ann.stream("threads.add_client_tool_output", **done)
    answer = ann.post("threads.add_client_tool_output", **done)
    # Either is right: the same answer again, or that nobody waits for a result any more.
    assert answer.status_code == 400 or events(answer) == first
    assert server_of(place).begun == 2


def cut(client: Client, server: Callable[[], Shop], kind: str, **params: Any) -> None:
    """Send a call and go away in the middle of the answer, until the server has noticed."""
    body = {"type": kind, "params": params}
    answer = client.send(body, stream=True)
    heard = b""
    for chunk in answer.iter_content(None):
        heard += chunk
        if b"so far" in heard:
            break
    answer.close()
    assert server().cancelled.wait(5)


@pytest.mark.parametrize("kind", ["threads.create", "threads.add_user_message"])
def test_duplicates_after_a_cut(
    browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A message whose answer was cut off is answered when it comes again, and stored once."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    place = shop()
    ann = visit(browse(place.app))
    params: dict[str, Any] = {"input": said("slow one")}
    if kind == "threads.add_user_message":
        params["thread_id"] = ann.create("first")
    cut(ann, lambda: server_of(place), kind, **params)
    server_of(place).open_gate()
    stream = ann.stream(kind, **params)
    (thread,) = ann.threads()
    assert "thread.item.done:user_message" in kinds(stream)
    assert kinds(stream)[-1] == "thread.item.done:assistant_message"
    assert stream[-1]["item"]["content"][0]["text"] == "so far, so good"
    assert ann.texts(thread["id"])[-1:] == ["slow one"]
    assert ann.texts(thread["id"]).count("slow one") == 1
    if kind == "threads.create":
        assert stream[0]["thread"]["id"] == thread["id"]
    # The half of the first answer is not left beside the whole of the second.
    answers = ann.texts(thread["id"], "assistant_message")
    assert answers[-1] == "so far, so good"
    assert "so far" not in answers


@pytest.mark.parametrize("kind", ["threads.create", "threads.add_user_message"])
def test_the_same_words_later_in_a_conversation(
    browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Stop, another message, and the first words once more: they are new, and nothing is lost."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    place = shop()
    ann = visit(browse(place.app))
    params: dict[str, Any] = {"input": said("slow one")}
    if kind == "threads.add_user_message":
        params["thread_id"] = ann.create("first")
    cut(ann, lambda: server_of(place), kind, **params)
    server_of(place).open_gate()
    thread = ann.threads()[0]["id"]
    ann.add(thread, "something else")
    before = ann.items(thread)
    stream = ann.stream(kind, **params)
    assert kinds(stream)[-1] == "thread.item.done:assistant_message"
    assert ann.items(thread)[: len(before)] == before
    said_there = [text for item in ann.threads() for text in ann.texts(item["id"])]
    assert said_there.count("slow one") == 2


def test_another_choice_after_a_cut(
    browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops an answer and asks another model the same is answered by that model."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    place = shop()
    ann = visit(browse(place.app))
    first, second = (said("slow one", inference_options={"model": name}) for name in ("a", "b"))
    thread = ann.create("first")
    cut(ann, lambda: server_of(place), "threads.add_user_message", thread_id=thread, input=first)
    server_of(place).open_gate()
    ann.stream("threads.add_user_message", thread_id=thread, input=second)
    asked = [item for item in ann.items(thread) if item["type"] == "user_message"]
    assert asked[-1]["inference_options"]["model"] == "b"


def test_a_cut_answer_is_stored(browse: Any, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop keeps what was said so far, and the conversation goes on."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    place = shop()
    ann = visit(browse(place.app))
    cut(ann, lambda: server_of(place), "threads.create", input=said("slow one"))
    (thread,) = ann.threads()
    until(lambda: ann.texts(thread["id"], "assistant_message") == ["so far"])
    ann.add(thread["id"], "go on")
    assert ann.texts(thread["id"]) == ["slow one", "go on"]
    assert "cancelled" not in json.dumps(ann.items(thread["id"]))


def test_duplicates_of_a_leaky_server(browse: Any, shop: Any) -> None:
    """A site's own store is told of a repeated message once."""
    store = TidyStore()
    ann = visit(browse(shop(store).app))
    ann.create("hello")
    ann.create("hello")
    assert store.how_many() == 1


def test_a_failed_answer_may_be_tried_again(browse: Any, site: Any) -> None:
    """A message that failed before its first word was not said: the next one is no duplicate."""

    class Flaky(Shop):
        failed = False

        async def process(self, request: Any, context: Any) -> Any:
            if not Flaky.failed:
                Flaky.failed = True
                raise RuntimeError(STORY)
            return await super().process(request, context)

    kit = ChatKit()
    kit.add_server("default", Flaky)
    ann = visit(browse(site(kit)))
    (event,) = ann.stream("threads.create", input=said("hello"))
    assert event["type"] == "error"
    assert kinds(ann.stream("threads.create", input=said("hello")))[0] == "thread.created"
    assert len(ann.threads()) == 1


# --- when something fails ---


@pytest.mark.parametrize(
    ("word", "code"), [("boom", "stream.error"), ("late-boom", "stream.error")]
)
def test_exceptions_in_an_answer(browse: Any, shop: Any, word: str, code: str) -> None:
    """The site's exception is an event with status 200, and its text stays on the server."""
    ann = visit(browse(shop().app))
    answer = ann.post("threads.create", input=said(word))
    assert STORY not in answer.text
    stream = events(answer)
    assert stream[0]["type"] == "thread.created"
    error = stream[-1]
    assert (error["type"], error["code"]) == ("error", code)
    assert STORY not in json.dumps(error)
    assert ann.texts(stream[0]["thread"]["id"]) == [word]


def test_errors_that_are_meant_to_be_read(browse: Any, shop: Any) -> None:
    """What the site's code raises for the visitor is told in its words, streaming or not."""
    ann = visit(browse(shop().app))
    stream = ann.stream("threads.create", input=said("readable"))
    assert stream[-1] == {
        "type": "error",
        "code": "custom",
        "message": "We are closed.",
        "allow_retry": False,
    }
    thread = stream[0]["thread"]["id"]
    action = {"type": "readable", "payload": None}
    answer = ann.post("threads.sync_custom_action", thread_id=thread, action=action)
    assert told(answer, 400, "bad_request")["message"] == "We are closed."


@pytest.mark.parametrize(
    "kind", ["threads.create", "threads.add_user_message", "threads.custom_action", "threads.list"]
)
def test_exceptions_before_the_first_event(
    browse: Any, site: Any, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """A streaming call is never answered with 5xx; the log has the story, the browser has not."""

    class Broken(Shop):
        broken = False

        async def process(self, request: Any, context: Any) -> Any:
            if Broken.broken:
                raise RuntimeError(STORY)
            return await super().process(request, context)

    kit = ChatKit()
    kit.add_server("default", Broken)
    app = site(kit, TESTING=False, PROPAGATE_EXCEPTIONS=False)
    ann = visit(browse(app))
    thread = ann.create("hello")
    Broken.broken = True
    params: dict[str, Any] = (
        {} if kind in {"threads.create", "threads.list"} else {"thread_id": thread}
    )
    if kind in {"threads.create", "threads.add_user_message"}:
        params["input"] = said("x")
    elif kind == "threads.custom_action":
        params["action"] = ACTION
    with caplog.at_level(logging.ERROR):
        answer = ann.post(kind, **params)
    assert STORY not in answer.text
    if kind in STREAMS:
        (event,) = events(answer)
        assert event["type"] == "error"
        assert "message" not in event or STORY not in event["message"]
    else:
        told(answer, 500, "internal_server_error")
    assert STORY in caplog.text


class DownStore(TidyStore):
    """A store whose database has gone away."""

    down = False

    async def load_thread(self, thread_id: str, context: Any) -> Any:
        self._check()
        return await super().load_thread(thread_id, context)

    async def save_thread(self, thread: Any, context: Any) -> None:
        self._check()
        await super().save_thread(thread, context)

    async def load_threads(self, limit: int, after: Any, order: str, context: Any) -> Any:
        self._check()
        return await super().load_threads(limit, after, order, context)

    def _check(self) -> None:
        if self.down:
            raise ConnectionError(STORY)


def test_a_store_that_is_down(browse: Any, shop: Any) -> None:
    """With its store down a chat says so, in the form that each call needs."""
    store = DownStore()
    app = shop(store, TESTING=False, PROPAGATE_EXCEPTIONS=False).app
    ann = visit(browse(app))
    thread = ann.create("hello")
    store.down = True
    for answer in (
        ann.post("threads.create", input=said("x")),
        ann.post("threads.add_user_message", thread_id=thread, input=said("x")),
        ann.post("threads.retry_after_item", thread_id=thread, item_id="msg_1"),
    ):
        assert STORY not in answer.text
        assert events(answer)[-1]["type"] == "error"
    answer = ann.post("threads.list")
    assert answer.status_code >= 500
    assert STORY not in answer.text
    assert answer.json()["message"]
    store.down = False
    assert ann.threads()


def test_a_database_that_is_down(browse: Any, shop: Any) -> None:
    """The kit's own database out of reach is an event in a stream, and JSON elsewhere."""
    uri = "postgresql+psycopg://postgres:sesame@127.0.0.1:1/test?connect_timeout=1"
    app = shop(CHATKIT_DATABASE_URI=uri, TESTING=False, PROPAGATE_EXCEPTIONS=False).app
    ann = visit(browse(app))
    answer = ann.post("threads.create", input=said("x"))
    assert events(answer)[-1]["type"] == "error"
    other = ann.post("threads.list")
    assert other.status_code >= 500
    assert other.json()["message"]
    for told_to_browser in (answer.text, other.text):
        assert "sesame" not in told_to_browser
        assert "127.0.0.1" not in told_to_browser


def test_actions_that_fail(browse: Any, shop: Any) -> None:
    """A widget's action that fails tells nothing of why."""
    app = shop(TESTING=False, PROPAGATE_EXCEPTIONS=False).app
    ann = visit(browse(app))
    thread = ann.create("everything")
    action = {"type": "boom", "payload": {}}
    streamed = ann.post("threads.custom_action", thread_id=thread, action=action)
    assert events(streamed)[-1]["code"] == "stream.error"
    answer = ann.post("threads.sync_custom_action", thread_id=thread, action=action)
    told(answer, 500, "internal_server_error")
    assert STORY not in streamed.text + answer.text


def test_operations_out_of_place(browse: Any, shop: Any) -> None:
    """400: a tool's answer that nobody waits for, a form that is none, a widget that is none."""
    ann = visit(browse(shop().app))
    thread = ann.create("hello")
    message = ann.items(thread)[0]["id"]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("threads.add_client_tool_output", {"result": 1}),
        ("threads.add_structured_input", {"item_id": message, "input": ANSWER}),
        ("threads.sync_custom_action", {"item_id": message, "action": ACTION}),
        ("threads.retry_after_item", {"item_id": ann.items(thread)[1]["id"]}),
    ]
    before = ann.everything()
    for kind, params in calls:
        answer = ann.post(kind, thread_id=thread, **params)
        assert thread not in told(answer, 400, "bad_request")["message"], kind
    answer = ann.post("threads.custom_action", thread_id=thread, item_id=message, action=ACTION)
    assert events(answer)[-1]["type"] == "error"
    assert ann.everything() == before


def test_actions_that_nobody_answers(browse: Any, site: Any) -> None:
    """A server without actions fails in the form that the client needs."""

    class Plain(Shop):
        action = Shop.__mro__[1].action  # type: ignore[assignment]
        sync_action = Shop.__mro__[1].sync_action  # type: ignore[assignment]
        transcribe = Shop.__mro__[1].transcribe  # type: ignore[assignment]

    kit = ChatKit()
    kit.add_server("default", Plain)
    ann = visit(browse(site(kit, TESTING=False, PROPAGATE_EXCEPTIONS=False)))
    thread = ann.create()
    streamed = ann.stream("threads.custom_action", thread_id=thread, action=ACTION)
    assert streamed[-1]["type"] == "error"
    answer = ann.post("threads.sync_custom_action", thread_id=thread, action=ACTION)
    assert answer.json()["message"]
    answer = ann.post("input.transcribe", audio_base64=AUDIO, mime_type="audio/webm")
    told(answer, 400, "bad_request")


# --- what CHATKIT_SERVER and add_server take ---

HELPERS = "tests.helpers.served"


@pytest.mark.parametrize(
    "name", ["instance", "instance_server", "Shop", "factory", "async_factory"]
)
def test_forms_of_the_setting(browse: Any, site: Any, name: str) -> None:
    """CHATKIT_SERVER names a server, its class, or a factory, sync or async."""
    config = {"CHATKIT_SERVER": f"{HELPERS}:{name}", "CHATKIT_WORKFLOW_ID": None}
    ann, bob = (visit(browse(app)) for app in [site(ChatKit(), **config)] * 2)
    thread = ann.create("hello")
    assert ann.texts(thread, "assistant_message") == ["You said hello"]
    told(bob.post("threads.get_by_id", thread_id=thread), 404, "not_found")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Shop,
        lambda: Shop(TidyStore()),
        lambda: lambda: Shop(TidyStore()),
        lambda: lambda store: Shop(store, None),
        lambda: lambda *, attachment_store, store=None: Shop(store, attachment_store),
    ],
    ids=["class", "instance", "own store", "store", "keywords"],
)
def test_forms_of_a_server(browse: Any, site: Any, make: Any) -> None:
    """A server is declared as itself, its class or what makes one; it is made once."""
    kit = ChatKit()
    kit.add_server("default", make())
    app = site(kit)
    ann = visit(browse(app))
    thread = ann.create("hello")
    assert ann.texts(thread, "assistant_message") == ["You said hello"]
    told(visit(browse(app)).post("threads.get_by_id", thread_id=thread), 404, "not_found")


def test_a_server_is_made_once(browse: Any, site: Any) -> None:
    """Many first calls at a time make one server."""
    made = []

    def factory(store: Any) -> Shop:
        time.sleep(0.05)
        made.append(threading.current_thread().name)
        return Shop(store)

    kit = ChatKit()
    kit.add_server("default", factory)
    ann = visit(browse(site(kit)))
    others = [Client(browse(ann.browser.base)) for _ in range(5)]
    for other in others:
        other.browser.cookies.update(ann.browser.cookies)
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(lambda client: client.threads(), others)) == [[]] * 5
    assert len(made) == 1


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("nothing_of_this_name", "nothing_of_this_name"),
        ("Shop.nothing", "nothing"),
        ("nonsense", "int"),
        ("factory_of_nonsense", "dict"),
    ],
)
def test_wrong_settings_are_misconfigured(
    browse: Any, site: Any, caplog: pytest.LogCaptureFixture, path: str, named: str
) -> None:
    """500: CHATKIT_SERVER names nothing that answers; the log tells what, the browser not."""
    config = {"CHATKIT_SERVER": f"{HELPERS}:{path}", "CHATKIT_WORKFLOW_ID": None}
    browser = browse(site(ChatKit(), **config))
    browser.mint()
    for kind, params in (("threads.list", {}), ("threads.create", {"input": said("x")})):
        body = told(Client(browser).post(kind, **params), 500, "misconfigured")
        assert named not in str(body)
    assert named in caplog.text
    assert "CHATKIT_SERVER" in caplog.text or "default" in caplog.text


def test_a_factory_that_fails(browse: Any, site: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A factory's exception is in the log; the call is answered in form, and it may work later."""
    tried = []

    def factory(store: Any) -> Shop:
        tried.append(1)
        if len(tried) < 3:
            raise RuntimeError(STORY)
        return Shop(store)

    kit = ChatKit()
    kit.add_server("default", factory)
    ann = visit(browse(site(kit, TESTING=False, PROPAGATE_EXCEPTIONS=False)))
    for answer in (ann.post("threads.list"), ann.post("threads.create", input=said("x"))):
        assert STORY not in answer.text
        assert answer.headers["Content-Type"] == "application/json"
        # Whether 500 or in a stream: nothing was stored, and the log has the whole story.
        assert answer.json()["error"]["code"] in {"misconfigured", "internal_server_error"}
    assert STORY in caplog.text
    assert ann.threads() == []


# --- what the site's code is told ---


def test_context_of_an_answer(browse: Any, shop: Any) -> None:
    """The site's code gets visitor, chat, thread, locale, its headers, URL and state."""
    place = shop(
        chat={"headers": ["X-Cart", "X-None"], "state_variables": lambda: {"path": request.path}}
    )
    ann = visit(browse(place.app))
    headers = {"X-Cart": "7", "X-Other": "no", "Accept-Language": "de-CH,de;q=0.9,en;q=0.1"}
    answer = ann.post("threads.create", input=said("hello"), headers=headers)
    thread = events(answer)[0]["thread"]["id"]
    ann.add(thread, "more")
    (first, app_name, in_request), (second, *_) = server_of(place).seen
    assert isinstance(first, ChatContext)
    assert isinstance(first, dict)
    assert app_name == "site"
    assert not in_request
    assert first.visitor.key.startswith("anon:")
    assert first.visitor is first["visitor"]
    assert first.visitor.is_anonymous
    assert first.visitor.user_id is None
    assert (first.kit, first.chat, first.thread) == ("chatkit", "default", None)
    assert first.locale == "de-CH"
    assert {name.lower(): value for name, value in first.headers.items()} == {"x-cart": "7"}
    assert first.url == f"{ann.browser.base}/chatkit/"
    assert first.state == {"path": "/chatkit/api"}
    assert second.thread == thread
    assert second.locale is None
    assert second.headers == {}
    assert second.visitor.key == first.visitor.key


def test_context_of_a_login_in_a_named_chat(browse: Any, site: Any) -> None:
    """A login's id is what the site returned; the URL is the chat's own, below a script root."""
    server = Shop(TidyStore())
    kit = ChatKit()
    kit.add_server("help", server)
    kit.user_loader(lambda: request.cookies.get("login"))
    browser = browse(DispatcherMiddleware(Flask("root"), {"/shop": site(kit)}))
    sign_in(browser, "ann")
    visit(browser, "/shop/chatkit/help").create("hello")
    context = server.seen[0][0]
    assert (context.visitor.user_id, context.chat) == ("ann", "help")
    assert not context.visitor.is_anonymous
    assert context.url == f"{browser.base}/shop/chatkit/help/"


class Own:
    """A site's own context."""

    def __init__(self, ours: ChatContext) -> None:
        self.who = ours.visitor.key
        self.ours = ours


@pytest.mark.parametrize("store", STORES)
def test_context_of_the_sites_own(browse: Any, shop: Any, store: str) -> None:
    """With `context=` the site's code gets its own object, and visitors stay apart."""
    place = shop(STORES[store](), chat={"context": Own})
    ann, bob = (visit(browse(app)) for app in [place.app] * 2)
    theirs, mine = belongings(ann), belongings(bob)
    (first, *_), *_ = server_of(place).seen
    assert isinstance(first, Own)
    assert first.who == first.ours.visitor.key
    assert ann.browser.get(f"/chatkit/attachments/{theirs['file']}").content == PNG
    assert not_refused(bob, mine, theirs) == {}
    assert [thread["id"] for thread in ann.threads()] == [theirs["thread"]]


class DictServer(Shop):
    """As OpenAI's samples are: the context is a dict, and goes through pydantic."""

    async def respond(self, thread: Any, item: Any, context: dict[str, Any]) -> Any:
        """Write through an AgentContext of such a dict."""
        agent = AgentContext[dict[str, Any]](
            thread=thread, store=self.store, request_context=context
        )
        self.seen.append((agent.request_context, "", False))
        store: Store[Any] = agent.store
        page = await store.load_thread_items(thread.id, None, 10, "asc", agent.request_context)
        content = [AssistantMessageContent(text=f"{len(page.data)} items")]
        yield ThreadItemDoneEvent(
            item=AssistantMessageItem(
                id=agent.generate_id("message"),
                thread_id=thread.id,
                created_at=thread.created_at,
                content=content,
            )
        )


@pytest.mark.parametrize("store", STORES)
def test_servers_with_a_dict_for_context(browse: Any, site: Any, store: str) -> None:
    """A server that declares its context as a dict works, though pydantic hands on a copy."""
    own = STORES[store]()
    kit = ChatKit()
    kit.add_server("default", lambda store: DictServer(own or store))
    app = site(kit)
    ann = visit(browse(app))
    thread = ann.create("hello")
    assert ann.texts(thread, "assistant_message") == ["1 items"]
    assert visit(browse(app)).threads() == []


def test_answers_do_not_share_a_context(browse: Any, shop: Any) -> None:
    """Answers at the same time are each told of their own visitor."""
    place = shop()
    clients = [visit(browse(place.app)) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        ids = list(pool.map(lambda client: client.create("hello"), clients))
    for client, thread in zip(clients, ids, strict=True):
        assert [item["id"] for item in client.threads()] == [thread]
    assert len({context.visitor.key for context, *_ in server_of(place).seen}) == 6


def test_a_factory_may_take_our_files_and_keep_its_own_history(browse: Any, site: Any) -> None:
    """Files of ours go with a store of the site's own, whichever way they came together."""
    kit = ChatKit()
    kit.add_server(
        "default",
        lambda attachment_store: Shop(TidyStore(), attachment_store),
        attachments=True,
    )
    ann = visit(browse(site(kit)))
    file = ann.upload().json()
    thread = ann.create("see", attachments=[file["id"]])
    assert ann.items(thread)[0]["attachments"][0]["id"] == file["id"]
    assert ann.browser.get(f"/chatkit/attachments/{file['id']}").content == PNG


# --- files ---


def link_of(client: Client, file: dict[str, Any], purpose: str = "read") -> str:
    """The path of a file's signed link."""
    url = file["preview_url"] if purpose == "read" else file["upload_descriptor"]["url"]
    assert url.startswith(client.browser.base)
    return path_of(url)


def test_direct_upload(browse: Any, shop: Any) -> None:
    """A picture is taken in one call, shown by its link without cookies, and sent in a message."""
    app = shop().app
    ann = visit(browse(app))
    answer = ann.upload()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    file = answer.json()
    assert (file["type"], file["name"], file["mime_type"]) == ("image", "dot.png", "image/png")
    assert "metadata" not in file
    shown = browse(app).get(link_of(ann, file))
    assert shown.content == PNG
    assert shown.headers["Content-Type"] == "image/png"
    assert shown.headers["X-Content-Type-Options"] == "nosniff"
    assert shown.headers["Content-Disposition"].startswith("inline")
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert "private" in shown.headers["Cache-Control"]
    assert shown.headers["Content-Length"] == str(len(PNG))
    assert browse(app).head(link_of(ann, file)).status_code == 200
    thread = ann.create("see", attachments=[file["id"]])
    (sent,) = ann.items(thread)[0]["attachments"]
    assert sent["id"] == file["id"]
    assert browse(app).get(path_of(sent["preview_url"])).content == PNG
    ann.ask("threads.delete", thread_id=thread)
    told(browse(app).get(link_of(ann, file)), 404, "not_found")


def test_two_phase_upload(browse: Any, shop: Any) -> None:
    """A file is announced, then sent to its signed link without cookies; once."""
    app = shop(chat={"attachments": {"upload": "two_phase"}}).app
    ann = visit(browse(app))
    file = ann.ask("attachments.create", name="dot.png", size=len(PNG), mime_type="image/png")
    told(ann.browser.get(f"/chatkit/attachments/{file['id']}"), 404, "not_found")
    link, headers = link_of(ann, file, "write"), file["upload_descriptor"]["headers"]
    frame = browse(app)
    cross = {**headers, "Sec-Fetch-Site": "cross-site"}
    sent = frame.put(link, data=PNG, headers=cross)
    assert sent.status_code == 200, sent.text
    assert sent.json()["id"] == file["id"]
    told(frame.put(link, data=PNG, headers=headers), 400, "bad_request")
    assert frame.get(link_of(ann, file)).content == PNG
    thread = ann.create("see", attachments=[file["id"]])
    assert ann.items(thread)[0]["attachments"][0]["id"] == file["id"]


def test_links_are_for_one_purpose(browse: Any, shop: Any) -> None:
    """404: a link to read writes nothing, one to write reads nothing, and each is for one file."""
    app = shop(chat={"attachments": {"upload": "two_phase"}}).app
    ann = visit(browse(app))
    one, two = (
        ann.ask("attachments.create", name="dot.png", size=len(PNG), mime_type="image/png")
        for _ in range(2)
    )
    frame = browse(app)
    query = link_of(ann, two, "write").partition("?")[2]
    told(frame.put(f"/chatkit/attachments/{one['id']}?{query}", data=PNG), 404, "not_found")
    told(frame.put(link_of(ann, one), data=PNG), 404, "not_found")
    assert frame.put(link_of(ann, one, "write"), data=PNG).status_code == 200
    told(frame.get(link_of(ann, one, "write")), 404, "not_found")
    assert frame.get(link_of(ann, one)).status_code == 200


def test_tampered_links(browse: Any, shop: Any) -> None:
    """404: a link of which any character was changed opens nothing."""
    app = shop().app
    ann = visit(browse(app))
    path, _, link = link_of(ann, ann.upload().json()).partition("?link=")
    client = app.test_client()
    assert browse(app).get(f"{path}?link={link}").status_code == 200
    for place, letter in enumerate(link):
        changed = link[:place] + ("A" if letter != "A" else "B") + link[place + 1 :]
        assert client.get(f"{path}?link={changed}").status_code == 404, place
    for changed in ("", link[:-1], link + "A", "x"):
        assert client.get(f"{path}?link={changed}").status_code == 404, changed
    assert client.get(path).status_code == 401


def test_links_of_another_visitor(browse: Any, shop: Any) -> None:
    """404: who has a cookie of their own can't use somebody else's link."""
    app = shop(chat={"attachments": {"upload": "two_phase"}}).app
    ann, bob = visit(browse(app)), visit(browse(app))
    file = ann.upload().json()
    announced = ann.ask("attachments.create", name="a.txt", size=5, mime_type="text/plain")
    told(bob.browser.get(link_of(ann, file)), 404, "not_found")
    told(bob.browser.put(link_of(ann, announced, "write"), data=b"12345"), 404, "not_found")
    assert ann.browser.get(link_of(ann, file)).content == PNG
    assert ann.browser.put(link_of(ann, announced, "write"), data=b"12345").status_code == 200


def test_links_go_along_with_the_login(browse: Any, login_shop: Any) -> None:
    """After signing in the history shows links that work for the login."""
    app = login_shop.app
    browser = browse(app)
    ann = visit(browser)
    thread = ann.create("see", attachments=[ann.upload().json()["id"]])
    sign_in(browser, "ann")
    (file,) = ann.items(thread)[0]["attachments"]
    assert browser.get(path_of(file["preview_url"])).content == PNG
    assert browse(app).get(path_of(file["preview_url"])).content == PNG


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (b"<html><script>alert(1)</script></html>", "a.html", "text/html"),
        (b"<html><script>alert(1)</script></html>", "a.png", "image/png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "a.svg", "image/svg+xml"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "a.gif", "image/gif"),
        (
            b"<?xml version='1.0'?><x xmlns='http://www.w3.org/1999/xhtml'/>",
            "a.xhtml",
            "application/xhtml+xml",
        ),
    ],
)
def test_scripts_are_never_inline(
    browse: Any, shop: Any, data: bytes, name: str, kind: str
) -> None:
    """HTML and SVG are saved, never shown, whatever they are called."""
    ann = visit(browse(shop().app))
    file = ann.upload(data, name, kind)
    if file.status_code != 200:
        told(file, 400, "bad_request")
        return
    assert file.json()["type"] == "file"
    answer = ann.browser.get(f"/chatkit/attachments/{file.json()['id']}")
    assert answer.content == data
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not answer.headers["Content-Type"].startswith("image/")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("upload", ["direct", "two_phase"])
def test_damaged_pictures_are_refused(browse: Any, shop: Any, upload: str) -> None:
    """A picture that is not whole is refused when it comes, and no bytes of it stay."""
    ann = visit(browse(shop(chat={"attachments": {"upload": upload}}).app))
    damaged = PNG[:8] + bytes(len(PNG) - 8)
    if upload == "direct":
        answer = told(ann.upload(damaged), 400, "bad_request")
    else:
        file = ann.ask("attachments.create", name="a.png", size=len(PNG), mime_type="image/png")
        sent = ann.browser.put(link_of(ann, file, "write"), data=damaged)
        answer = told(sent, 400, "bad_request")
        assert ann.browser.put(link_of(ann, file, "write"), data=PNG).status_code == 200
    assert "damaged" in answer["message"]


def test_halves_of_characters_are_accepted(browse: Any, shop: Any) -> None:
    """JSON that escapes half a character is a message with U+FFFD, and a title, too."""
    ann = visit(browse(shop().app))
    thread = ann.create("a\ud83d")
    assert "a\ufffd" in str(ann.ask("items.list", thread_id=thread))
    renamed = ann.ask("threads.update", thread_id=thread, title="\ud83d\ude00 \ude00")
    assert renamed["title"] == "\U0001f600 \ufffd"


def test_files_that_are_too_large(browse: Any, shop: Any, tmp_path: Any) -> None:
    """413: more bytes than accepted, sent directly, announced, or in the second phase."""
    app = shop(chat={"attachments": {"upload": "two_phase", "max_size": 1000}}).app
    ann = visit(browse(app))
    told(ann.upload(PNG + b"0" * 1000), 413, "too_large")
    told(ann.upload(PNG + b"0" * 200_000), 413, "too_large")
    announced = {"name": "a.png", "mime_type": "image/png"}
    told(ann.post("attachments.create", size=1001, **announced), 413, "too_large")
    told(ann.post("attachments.create", size=0, **announced), 400, "bad_request")
    told(ann.post("attachments.create", size=-1, **announced), 400, "bad_request")
    file = ann.ask("attachments.create", size=100, **announced)
    more = ann.browser.put(link_of(ann, file, "write"), data=PNG + b"0" * 500)
    assert more.status_code in {400, 413}
    most = ann.browser.put(link_of(ann, file, "write"), data=PNG + b"0" * 5000)
    assert most.status_code in {400, 413}
    assert [path for path in (tmp_path / "up").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("kind", ["threads.create", "threads.add_user_message"])
def test_a_message_with_a_file_that_has_not_come(browse: Any, shop: Any, kind: str) -> None:
    """A message whose file was only announced is refused in words, and nothing is stored."""
    ann = visit(browse(shop(chat={"attachments": {"upload": "two_phase"}}).app))
    thread = ann.create("first")
    file = ann.ask("attachments.create", name="a.png", size=5, mime_type="image/png")
    params = {"thread_id": thread} if kind == "threads.add_user_message" else {}
    message = refused(ann.post(kind, input=said("see", attachments=[file["id"]]), **params))
    assert "a.png" in message
    assert [item["id"] for item in ann.threads()] == [thread]
    assert ann.texts(thread) == ["first"]
    # Once it is there the very same message is accepted.
    sent = ann.browser.put(link_of(ann, file, "write"), data=PNG[:5])
    assert sent.status_code == 200, sent.text
    stream = ann.stream(kind, input=said("see", attachments=[file["id"]]), **params)
    assert "thread.item.done:user_message" in kinds(stream)


def test_too_many_files(browse: Any, shop: Any) -> None:
    """A message with more files than accepted is refused in words."""
    ann = visit(browse(shop(chat={"attachments": {"max_count": 1}}).app))
    ids = [ann.upload().json()["id"] for _ in range(2)]
    assert "1 file" in refused(ann.post("threads.create", input=said("see", attachments=ids)))
    assert ann.threads() == []


def test_uploads_that_are_none(browse: Any, shop: Any) -> None:
    """400: no form, no file in it, or a form that breaks off."""
    ann = visit(browse(shop().app))
    url = "/chatkit/attachments"
    told(ann.browser.post(url, json={}), 400, "bad_request")
    told(ann.browser.post(url, files={"other": ("a", b"b")}), 400, "bad_request")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    told(ann.browser.post(url, data=b"--x\r\nnonsense", headers=headers), 400, "bad_request")
    told(ann.upload(b""), 400, "bad_request")


def test_kinds_of_files(browse: Any, shop: Any) -> None:
    """400: a kind of file that the chat does not accept, by its bytes and not by its name."""
    place = shop(chat={"attachments": {"accept": {"image/png": [".png"]}}})
    ann = visit(browse(place.app))
    assert ann.upload().status_code == 200
    told(ann.upload(b"%PDF-1.7\n%%EOF", "a.pdf", "application/pdf"), 400, "bad_request")
    told(ann.upload(b"%PDF-1.7\n%%EOF", "a.png", "image/png"), 400, "bad_request")


def test_files_under_a_script_root(browse: Any, shop: Any) -> None:
    """Links lead through the script root, for files as for all else."""
    browser = browse(DispatcherMiddleware(Flask("root"), {"/shop": shop().app}))
    ann = visit(browser, "/shop/chatkit")
    file = ann.upload().json()
    assert path_of(file["preview_url"]).startswith("/shop/chatkit/attachments/")
    assert browser.get(path_of(file["preview_url"])).content == PNG


def test_a_widgets_card_is_what_was_stored(browse: Any, shop: Any) -> None:
    """An action's new widget is in the history in the place of the old one."""
    ann = visit(browse(shop().app))
    thread = ann.create("everything")
    widget = of_type(ann.items(thread), "widget")
    places = [item["id"] for item in ann.items(thread)]
    ann.stream("threads.custom_action", thread_id=thread, item_id=widget["id"], action=ACTION)
    changed = of_type(ann.items(thread), "widget")
    assert changed["id"] == widget["id"]
    expected = card("Done")["children"][0]["value"]
    assert changed["widget"]["children"][0]["value"] == expected
    assert [item["id"] for item in ann.items(thread)] == places
