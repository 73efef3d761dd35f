"""Hosted threads carried into the history: every item type, breaks, repeats, all databases."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_chatkit import ChatKit, ConfigurationError
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.owner.carry import LONGEST_ITEM
from flask_chatkit.server.context import ChatContext, owner_name
from flask_chatkit.server.streaming import loop
from flask_chatkit.testing import (
    OpenAIStandIn,
    assistant_message,
    client_tool_call,
    task,
    task_group,
    user_message,
    widget,
)
from tests.helpers.databases import fresh_database
from tests.helpers.paths import ROOT
from tests.helpers.served import PNG
from tests.helpers.sites import MakeApp
from tests.helpers.stores import TidyStore

ANN = Visitor.login("ann")
CARD = {"type": "Card", "children": [{"type": "Text", "value": "Parcel 12"}]}


def picture(url: str | None, name: str = "slip.png") -> dict[str, Any]:
    """A picture of a message, in the API's shape."""
    return {
        "id": f"file_{name}",
        "type": "image",
        "name": name,
        "mime_type": "image/png",
        "preview_url": url,
    }


@pytest.fixture(params=["SQLite", "PostgreSQL", "MariaDB"])
def uri(request: pytest.FixtureRequest, missing: Any, tmp_path: Path) -> Iterator[str]:
    """The URI of an empty database of each kind."""
    if request.param == "SQLite":
        yield f"sqlite:///{tmp_path}/history.sqlite3"
    else:
        with fresh_database(request.param, missing) as fresh:
            yield fresh


def answer(message: Any, _chat: Any) -> str:
    """What the site's own assistant answers."""
    return f"You wrote {message.text}"


def site(make_app: MakeApp, tmp_path: Path, uri: str | None = None, **more: Any) -> Any:
    """A site with a served chat, and its kit."""
    kit = ChatKit(store=more.pop("store", None))
    kit.assistant(**more.pop("options", {}))(answer)
    app = make_app(
        kit,
        CHATKIT_DATABASE_URI=uri or f"sqlite:///{tmp_path}/history.sqlite3",
        CHATKIT_UPLOAD_FOLDER=str(tmp_path / "files"),
        **more,
    )
    return app, kit


def of(visitor: Visitor, chat: str = "default") -> ChatContext:
    """The context of a visitor in a chat."""
    return ChatContext(visitor=visitor, chat=chat)


def ask(app: Flask, name: str, *args: Any) -> Any:
    """Ask the history of the chat."""
    with app.app_context():
        kit = app.extensions["chatkit"]["chatkit"]
        store = kit.service.dispatcher(kit.chats["default"]).server.store
        method = getattr(store, name)

        async def act() -> Any:
            return await method(*args)

        return loop.current().run(act, 30)


def threads_of(app: Flask, visitor: Visitor) -> list[Any]:
    return ask(app, "load_threads", 100, None, "asc", of(visitor)).data


def items_of(app: Flask, visitor: Visitor, thread: str) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = ask(app, "load_thread_items", thread, after, 100, "asc", of(visitor))
        found += page.data
        if not page.has_more:
            return found
        after = page.after


def every_type(openai: OpenAIStandIn) -> list[dict[str, Any]]:
    """One item of each type that OpenAI has."""
    message = user_message(
        "Where is it?",
        quoted="We ship on Mondays",
        attachments=[picture(None)],
        model="gpt-5.2",
        tool="search",
    )
    message["content"].append(
        {"type": "input_tag", "id": "p12", "text": "Parcel 12", "data": {"nr": "12"}}
    )
    return [
        message,
        assistant_message("On its way.", urls=["https://carrier.test/12"], files=["label.pdf"]),
        widget(CARD),
        client_tool_call("show_map", {"place": "Bern"}, output={"shown": True}),
        client_tool_call("ask_page", {}),
        task("Looking it up", "in the warehouse"),
        task("Hm", "I think", task_type="thought"),
        task_group(task("Read the label"), task("Asked", "the carrier", task_type="thought")),
    ]


def test_every_item_type_is_carried(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str
) -> None:
    """Each of OpenAI's item types becomes its served one, with ids, times and order kept."""
    thread = openai_standin.add_thread(
        "user:ann", title="Parcel", items=every_type(openai_standin), status="closed"
    )
    app, kit = site(make_app, tmp_path, uri)
    with app.app_context():
        done = kit.migrate_threads()
    assert (done.threads, done.items, done.lost) == (1, 8, [])
    (carried,) = threads_of(app, ANN)
    sent = openai_standin.threads[thread]
    assert (carried.id, carried.title, carried.status.type) == (thread, "Parcel", "closed")
    assert carried.created_at.timestamp() == sent["created_at"]
    items = items_of(app, ANN, thread)
    assert [item.id for item in items] == [item["id"] for item in openai_standin.items(thread)]
    message, answer, card, call, pending, step, thought, group = items
    assert [part.text for part in message.content] == ["Where is it?", "Parcel 12"]
    assert message.content[1].data == {"nr": "12"}
    assert message.quoted_text == "We ship on Mondays"
    assert message.inference_options.model == "gpt-5.2"
    assert message.inference_options.tool_choice.id == "search"
    assert [file.name for file in message.attachments] == ["slip.png"]
    assert answer.content[0].text == "On its way."
    assert [one.source.type for one in answer.content[0].annotations] == ["url", "file"]
    assert card.widget.model_dump(exclude_none=True)["children"][0]["value"] == "Parcel 12"
    assert (call.name, call.arguments, call.output) == (
        "show_map",
        {"place": "Bern"},
        {"shown": True},
    )
    assert (call.status, pending.status, pending.output) == ("completed", "completed", None)
    assert (step.task.title, step.task.content) == ("Looking it up", "in the warehouse")
    assert (thought.task.type, thought.task.content) == ("thought", "I think")
    assert [one.title for one in group.workflow.tasks] == ["Read the label", "Asked"]
    reasons = [(problem.item, problem.reason) for problem in done.problems]
    assert len(reasons) == 2
    assert "file_slip.png" in reasons[0][1]
    assert "never answered" in reasons[1][1]


@pytest.mark.parametrize("status", ["locked", "closed"])
def test_reasons_of_a_status_are_kept(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, status: Any
) -> None:
    """A locked or closed thread stays so, with its reason."""
    app, kit = site(make_app, tmp_path)
    thread = {
        "object": "chatkit.thread",
        "id": "cthr_1",
        "created_at": 1_700_000_000,
        "title": None,
        "status": {"type": status, "reason": "Solved"},
        "user": "user:ann",
    }
    with app.app_context():
        kit.import_threads([json.dumps(thread)])
    (carried,) = threads_of(app, ANN)
    assert (carried.status.type, carried.status.reason) == (status, "Solved")


def test_owners_are_kept(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str
) -> None:
    """Each thread is its visitor's, anonymous or not, and nobody else's."""
    anonymous = Visitor.new()
    hers = openai_standin.add_thread("user:ann")
    theirs = openai_standin.add_thread(anonymous.key)
    app, kit = site(make_app, tmp_path, uri)
    with app.app_context():
        kit.migrate_threads()
    assert [thread.id for thread in threads_of(app, ANN)] == [hers]
    assert [thread.id for thread in threads_of(app, anonymous)] == [theirs]
    assert threads_of(app, Visitor.login("bob")) == []


DAMAGE: list[tuple[dict[str, Any], str]] = [
    ({"type": "chatkit.hologram"}, "type: it is none of"),
    ({"type": "chatkit.user_message", "content": "text"}, "content"),
    ({"type": "chatkit.assistant_message", "content": [{"type": "output_text"}]}, "text"),
    ({"type": "chatkit.widget", "widget": "{"}, "widget: it is no JSON"),
    ({"type": "chatkit.widget", "widget": '"x"'}, "widget"),
    (
        {
            "type": "chatkit.client_tool_call",
            "call_id": "c",
            "name": "n",
            "arguments": "[]",
            "status": "completed",
        },
        "arguments: it is no JSON object",
    ),
    ({"type": "chatkit.task", "task_type": "dream"}, "task_type"),
    ({"type": "chatkit.task", "task_type": "custom", "created_at": "now"}, "created_at"),
    ({"type": "chatkit.task", "task_type": "custom", "created_at": 10**13}, "created_at"),
    ({"type": "chatkit.task", "task_type": "custom", "id": "x" * 300}, "id"),
    ({"type": "chatkit.task", "task_type": "custom", "id": "a b"}, "id"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_damaged_items_are_reported_and_skipped(
    openai_standin: OpenAIStandIn,
    make_app: MakeApp,
    tmp_path: Path,
    damage: dict[str, Any],
    reason: str,
) -> None:
    """An item of an unknown or damaged form is named with its id, and the rest is carried."""
    items = [user_message("before"), damage, assistant_message("after")]
    thread = openai_standin.add_thread("user:ann", items=items)
    wrong = openai_standin.items(thread)[1]["id"]
    app, kit = site(make_app, tmp_path)
    with app.app_context():
        done = kit.migrate_threads()
    (lost,) = done.lost
    assert (lost.thread, lost.item) == (thread, wrong)
    assert reason in lost.reason
    assert [item.type for item in items_of(app, ANN, thread)] == [
        "user_message",
        "assistant_message",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"created_at": None}, "created_at"),
        ({"user": "somebody"}, "--map-users"),
        ({"user": "user:"}, "user"),
        ({"user": ""}, "user"),
        ({"status": {"type": "melted"}}, "status"),
        ({"title": "x" * 100_001}, "title"),
    ],
)
def test_damaged_threads_are_reported_and_skipped(
    make_app: MakeApp, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    """A thread that is damaged, or nobody's whom the kit knows, is named, and its items skipped."""
    whole = {
        "object": "chatkit.thread",
        "created_at": 1_700_000_000,
        "title": None,
        "status": {"type": "active"},
        "user": "user:ann",
    }
    item = {"object": "chatkit.thread_item", "id": "i1", "thread_id": "bad", "created_at": 1}
    lines = [{**whole, "id": "bad", **change}, {**item, **task("x")}, {**whole, "id": "good"}]
    app, kit = site(make_app, tmp_path)
    with app.app_context():
        done = kit.import_threads(map(json.dumps, lines))
    (lost,) = done.problems
    assert (lost.thread, lost.item, lost.lost) == ("bad", None, True)
    assert reason in lost.reason
    assert [thread.id for thread in threads_of(app, ANN)] == ["good"]


@pytest.mark.parametrize("depth", [120, 210, 300, 600, 5000])
@pytest.mark.parametrize("place", ["output", "tag"])
def test_deep_data_stops_nobodys_migration(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, depth: int, place: str
) -> None:
    """What is nested too deeply is reported, or kept so that it can be read, and the rest comes."""
    nested = "[" * depth + "]" * depth
    call = {**client_tool_call("t", {}), "output": nested, "status": "completed"}
    tag = user_message("x")
    deep: Any = []
    # The stand-in copies what it is given, and that is as deep as Python goes there.
    for _ in range(min(depth, 250)):
        deep = [deep]
    tag["content"].append({"type": "input_tag", "id": "t", "text": "t", "data": {"a": deep}})
    item = call if place == "output" else tag
    thread = openai_standin.add_thread("user:ann", items=[user_message("a"), item])
    openai_standin.add_thread("user:bob", items=[user_message("b")])
    app, kit = site(make_app, tmp_path)
    with app.app_context():
        done = kit.migrate_threads()
    assert len(threads_of(app, Visitor.login("bob"))) == 1
    assert len(items_of(app, ANN, thread)) == 2 - len(done.lost)


@pytest.mark.parametrize("other", ["person", "chat"])
def test_nothing_is_put_into_somebody_elses_thread(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str, other: str
) -> None:
    """A file that names a thread which is somebody else's, or another chat's, changes nothing."""
    thread = openai_standin.add_thread("user:ann", items=[user_message("hi")])
    app, kit = site(make_app, tmp_path, uri)
    kit.assistant("sales")(answer)
    line = openai_standin.threads[thread]
    item = {
        "object": "chatkit.thread_item",
        "id": "cthi_new",
        "thread_id": thread,
        "created_at": 1,
        **user_message("injected"),
    }
    user, chat = ("user:mallory", "default") if other == "person" else ("user:ann", "sales")
    with app.app_context():
        kit.migrate_threads()
        done = kit.import_threads(map(json.dumps, [{**line, "user": user}, item]), chat=chat)
    assert [problem.thread for problem in done.lost] == [thread]
    assert (done.threads, done.items) == (0, 0)
    assert len(items_of(app, ANN, thread)) == 1


def test_deletion_in_the_middle_of_an_import(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """What is deleted while an import runs does not come back with its next batch."""
    for number in range(700):
        openai_standin.add_thread("user:ann", title=str(number))
    app, kit = site(make_app, tmp_path)
    export = tmp_path / "export.jsonl"

    def lines() -> Any:
        for number, line in enumerate(export.read_text().splitlines()):
            if number == 600:
                kit.delete_user("ann", hosted=False)
            yield line

    with app.app_context():
        kit.export_threads(export)
        kit.import_threads(lines())
    assert threads_of(app, ANN) == []


def test_halves_of_characters_and_nul(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str
) -> None:
    """Half a surrogate becomes U+FFFD and NUL stays, in every database."""
    items = [
        user_message("half \ud83d and \x00 nul", quoted="\ude00"),
        widget({"type": "Card", "children": [{"type": "Text", "value": "a\ud83d"}]}),
    ]
    thread = openai_standin.add_thread("user:ann", title="T\ud83d", items=items)
    app, kit = site(make_app, tmp_path, uri)
    with app.app_context():
        done = kit.migrate_threads()
    assert done.problems == []
    message, card = items_of(app, ANN, thread)
    assert message.content[0].text == "half \ufffd and \x00 nul"
    assert message.quoted_text == "\ufffd"
    assert card.widget.children[0].value == "a\ufffd"
    assert threads_of(app, ANN)[0].title == "T\ufffd"


def test_users_of_other_code_are_mapped(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """A function makes keys of users whom other code named, and may leave some out."""
    mine = openai_standin.add_thread("customer-7")
    out = openai_standin.add_thread("robot")
    app, kit = site(make_app, tmp_path)
    people = {"customer-7": "user:ann"}
    with app.app_context():
        done = kit.migrate_threads(map_users=people.get)
    assert [thread.id for thread in threads_of(app, ANN)] == [mine]
    assert [problem.thread for problem in done.lost] == [out]


def test_repeating_changes_nothing(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str
) -> None:
    """What is there is neither doubled nor fetched again, and what is new since is added."""
    thread = openai_standin.add_thread("user:ann", items=[user_message("one")])
    app, kit = site(make_app, tmp_path, uri)
    with app.app_context():
        kit.migrate_threads()
        # As if the visitor went on in the hosted chat, and gave the thread another name here.
        openai_standin.add_item(thread, assistant_message("two"))
        carried = threads_of(app, ANN)[0]
        ask(app, "save_thread", carried.model_copy(update={"title": "Mine"}), of(ANN))
        again = kit.migrate_threads()
        third = kit.migrate_threads()
    assert (again.threads, again.items, again.known_threads) == (0, 1, 1)
    assert (third.threads, third.items) == (0, 0)
    assert len(items_of(app, ANN, thread)) == 2
    assert threads_of(app, ANN)[0].title == "Mine"


def test_thread_of_somebody_who_signed_in_since(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str
) -> None:
    """A thread that became a login's goes on being theirs when it is carried once more."""
    anonymous = Visitor.new()
    thread = openai_standin.add_thread(anonymous.key, items=[user_message("one")])
    app, kit = site(make_app, tmp_path, uri)
    with app.app_context():
        kit.migrate_threads()
        ask(app, "add_alias", "chatkit", anonymous, ANN)
        ask(app, "transfer_threads", "chatkit", anonymous, ANN)
        openai_standin.add_item(thread, assistant_message("two"))
        kit.migrate_threads()
    assert [one.id for one in threads_of(app, ANN)] == [thread]
    assert len(items_of(app, ANN, thread)) == 2
    assert threads_of(app, anonymous) == []


def test_old_threads_are_listed_as_old(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str
) -> None:
    """What is carried over after the switch comes before what was said since, page by page."""
    app, kit = site(make_app, tmp_path, uri)
    with app.app_context():
        client = app.test_client()
        client.post("/chatkit/secret", json={})
        said = {"content": [{"type": "input_text", "text": "hi"}], "attachments": []}
        body = {"type": "threads.create", "params": {"input": {**said, "inference_options": {}}}}
        client.post("/chatkit/api", json=body).get_data()
        (key,) = {row.visitor for row in rows(app)}
        old = []
        for day in range(3):
            at = 1_700_000_000 + 86_400 * day
            old.append(openai_standin.add_thread(key, created_at=at))
        kit.migrate_threads()
        visitor = Visitor(key, known=True)
        newest_first: list[str] = []
        after = None
        while True:
            page = ask(app, "load_threads", 1, after, "desc", of(visitor))
            newest_first += [thread.id for thread in page.data]
            if not page.has_more:
                break
            after = page.after
    assert len(newest_first) == 4
    assert newest_first[1:] == old[::-1]
    oldest_first = [thread.id for thread in threads_of(app, visitor)]
    assert oldest_first == newest_first[::-1]


def rows(app: Flask) -> list[Any]:
    from flask_chatkit.server.history.tables import threads

    with app.app_context():
        kit = app.extensions["chatkit"]["chatkit"]
        database = kit.service.storage.store.database

        async def act() -> Any:
            return await database.statement(lambda db: db.execute(threads.select()).all())

        return loop.current().run(act, 30)


def test_dry_run_changes_nothing(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """A dry run counts the same, and writes neither rows nor files."""
    url = f"{openai_standin.url}/deployments/chatkit/nothing.png"
    items = [user_message("see", attachments=[picture(url)]), {"type": "chatkit.hologram"}]
    openai_standin.add_thread("user:ann", items=items)
    app, kit = site(make_app, tmp_path)
    with app.app_context():
        done = kit.migrate_threads(dry_run=True)
    assert (done.threads, done.items, len(done.lost)) == (1, 1, 1)
    assert threads_of(app, ANN) == []
    assert not (tmp_path / "files").exists()


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def pictures(serve: Any, openai_standin: OpenAIStandIn) -> Callable[[bytes, int], str]:
    """Have OpenAI's own host hand out a file."""

    def put(data: bytes, status: int = 200) -> str:
        from werkzeug.wrappers import Response

        real = openai_standin.wsgi_app

        def answer(environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/preview/slip.png":
                assert "HTTP_AUTHORIZATION" not in environ
                return Response(data, status, content_type="image/png")(environ, start_response)
            return real(environ, start_response)

        openai_standin._server.app = answer  # type: ignore[union-attr]
        return f"{openai_standin.url}/preview/slip.png"

    return put


def test_pictures_are_fetched(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str, pictures: Any
) -> None:
    """A picture that OpenAI still hands out is the visitor's file from now on."""
    url = pictures(PNG)
    items = [user_message("see", attachments=[picture(url)])]
    thread = openai_standin.add_thread("user:ann", items=items)
    app, kit = site(make_app, tmp_path, uri, options={"attachments": True})
    with app.app_context():
        done = kit.migrate_threads()
        kit.migrate_threads()
    assert (done.files, done.problems) == (1, [])
    (message,) = items_of(app, ANN, thread)
    (file,) = message.attachments
    assert (file.type, file.name, file.mime_type) == ("image", "slip.png", "image/png")
    stored = ask(app, "load_attachment", file.id, of(ANN))
    assert stored.thread_id == thread
    link = str(file.preview_url).partition("://")[2].partition("/")[2]
    with app.test_client().get(f"/{link}") as got:
        assert (got.status_code, got.data) == (200, PNG)
    assert len(list((tmp_path / "files").iterdir())) == 1


@pytest.mark.parametrize("wrong", ["404", "large", "private", "no link", "file:"])
def test_files_that_are_not_to_be_had_stay_named(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, pictures: Any, wrong: str
) -> None:
    """A file that OpenAI does not hand out stays named in its message, and is reported."""
    url = {
        "404": lambda: pictures(b"", 404),
        "large": lambda: pictures(PNG + b"x" * 2000),
        "private": lambda: "https://127.0.0.1:1/x.png",
        "no link": lambda: None,
        "file:": lambda: "file:///etc/passwd",
    }[wrong]()
    items = [user_message("see", attachments=[picture(url)]), assistant_message("ok")]
    thread = openai_standin.add_thread("user:ann", items=items)
    app, kit = site(
        make_app, tmp_path, options={"attachments": True}, CHATKIT_MAX_UPLOAD_BYTES=1000
    )
    with app.app_context():
        done = kit.migrate_threads()
    (problem,) = done.problems
    assert (problem.thread, problem.lost) == (thread, False)
    assert "file_slip.png" in problem.reason
    message, _ = items_of(app, ANN, thread)
    (file,) = message.attachments
    assert (file.type, file.name) == ("file", "slip.png")
    got = app.test_client().get(f"/chatkit/attachments/{file.id}")
    assert got.status_code in {401, 404}


# --- a store of the site's own --------------------------------------------------------------------


def test_a_store_of_the_sites_own(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """Threads go into any store by its own methods, once, and each is its visitor's."""
    store = TidyStore()
    thread = openai_standin.add_thread("user:ann", items=every_type(openai_standin))
    openai_standin.add_thread("user:bob", items=[user_message("bob's")])
    app, kit = site(make_app, tmp_path, store=store)
    with app.app_context():
        first = kit.migrate_threads()
        openai_standin.add_item(thread, assistant_message("new"))
        second = kit.migrate_threads()
    assert (first.threads, first.items) == (2, 9)
    assert (second.threads, second.items) == (0, 1)
    assert [one.id for one in threads_of(app, ANN)] == [thread]
    ids = [item.id for item in items_of(app, ANN, thread)]
    assert ids == [item["id"] for item in openai_standin.items(thread)]


# --- chats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chat", ["sales", "nothing"])
def test_only_served_chats_take_threads(make_app: MakeApp, tmp_path: Path, chat: str) -> None:
    """A chat that is hosted, or is none, is refused, and the served ones are named."""
    app, kit = site(make_app, tmp_path)
    kit.add_hosted("sales", workflow_id="wf_1")
    with app.app_context(), pytest.raises(ConfigurationError, match="default"):
        kit.migrate_threads(chat=chat)


# --- breaks ---------------------------------------------------------------------------------------

CHILD = """
import sys
from tests.owner.test_carry import child
child(*sys.argv[1:])
"""


def child(api_base: str, uri: str, folder: str) -> None:
    """Migrate in a process of its own, which may be killed."""
    kit = ChatKit()
    kit.assistant()(answer)
    app = Flask("site")
    app.config.update(
        SECRET_KEY="of the tests",
        CHATKIT_API_BASE=api_base,
        CHATKIT_API_KEY="sk-standin",
        CHATKIT_DATABASE_URI=uri,
        CHATKIT_UPLOAD_FOLDER=folder,
    )
    app.register_blueprint(kit)
    with app.app_context():
        kit.migrate_threads()


def many(openai: OpenAIStandIn, threads: int, items: int) -> None:
    """Many threads of many people, each item with a time of its own."""
    clock = iter(range(1_700_000_000, 1_800_000_000))
    openai._state.clock = lambda: float(next(clock))
    for number in range(threads):
        said = [user_message(f"{number}.{place}") for place in range(items)]
        openai.add_thread(f"user:{number % 20}", title=f"{number}", items=said)


def check_whole(app: Flask, openai: OpenAIStandIn) -> None:
    """Nothing is lost or doubled, and order and times are OpenAI's."""
    from flask_chatkit.server.history.tables import items, threads

    with app.app_context():
        database = app.extensions["chatkit"]["chatkit"].service.storage.store.database

        async def read() -> Any:
            return await database.statement(
                lambda db: (
                    db.execute(threads.select().order_by(threads.c.position)).all(),
                    db.execute(items.select().order_by(items.c.position)).all(),
                )
            )

        found, said = loop.current().run(read, 60)
    sent = openai.threads
    assert [row.id for row in found] == list(sent)
    by_position = {row.position: row.id for row in found}
    kept: dict[str, list[tuple[str, int]]] = {name: [] for name in sent}
    for row in said:
        kept[by_position[row.thread]].append((row.id, seconds(row.created_at)))
    for row in found:
        thread = sent[row.id]
        assert seconds(row.created_at) == thread["created_at"]
        assert row.owner == owner_name("chatkit", "default", Visitor(thread["user"], known=True))
        own = [(item["id"], item["created_at"]) for item in openai.items(row.id)]
        assert kept[row.id] == own


def seconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return int(aware.timestamp())


def test_killed_at_random_and_resumed(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str
) -> None:
    """A migration that is killed again and again, and begun anew, loses and doubles nothing."""
    many(openai_standin, threads=120, items=10)
    seed = random.randrange(10**6)
    print("seed:", seed)
    chance = random.Random(seed)
    killed = 0
    # A process takes seconds to start, so not as often everywhere.
    while killed < (3 if uri.startswith("sqlite") else 1):
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, openai_standin.api_base, uri, str(tmp_path / "files")],
            cwd=ROOT,
        )
        # A run asks for each page of threads and for each thread's items.
        wanted = len(openai_standin.requests) + chance.randrange(1, 100)
        while len(openai_standin.requests) < wanted and process.poll() is None:
            threading.Event().wait(0.01)
        assert process.poll() is None, "it ended before it was killed"
        process.kill()
        process.wait(10)
        killed += 1
    app, kit = site(make_app, tmp_path, uri)
    with app.app_context():
        done = kit.migrate_threads()
    assert done.problems == []
    check_whole(app, openai_standin)


def test_huge_items_are_reported_and_skipped(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str
) -> None:
    """An item of more than a database takes is named with its id, and the rest is carried."""
    fits = assistant_message('"' * (LONGEST_ITEM // 2 - 1000))
    thread = openai_standin.add_thread("user:ann", items=[fits, assistant_message("after")])
    huge = openai_standin.add_item(thread, assistant_message("x" * LONGEST_ITEM))
    openai_standin.add_item(thread, user_message("last"))
    app, kit = site(make_app, tmp_path, uri)
    with app.app_context():
        done = kit.migrate_threads()
    (lost,) = done.lost
    assert (lost.thread, lost.item) == (thread, huge)
    assert "4,194,304 bytes" in lost.reason
    ids = [item["id"] for item in openai_standin.items(thread) if item["id"] != huge]
    assert [item.id for item in items_of(app, ANN, thread)] == ids


def test_two_at_once(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str
) -> None:
    """Two migrations and an import at once are as one."""
    many(openai_standin, threads=40, items=15)
    app, kit = site(make_app, tmp_path, uri)
    export = tmp_path / "export.jsonl"
    with app.app_context():
        kit.export_threads(export)

    def migrate(_: int) -> Any:
        with app.app_context():
            return kit.migrate_threads()

    def carry(_: int) -> Any:
        with app.app_context():
            return kit.import_threads(export)

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(migrate, 0), pool.submit(carry, 1), pool.submit(migrate, 2)]
        for job in jobs:
            job.result(60)
    found = sorted(row.id for row in rows(app))
    assert found == sorted(openai_standin.threads)
    for name, thread in openai_standin.threads.items():
        visitor = Visitor(thread["user"], known=True)
        ids = [item.id for item in items_of(app, visitor, name)]
        assert ids == [item["id"] for item in openai_standin.items(name)]


def test_deleted_people_stay_deleted(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """An export of before a person's data was deleted does not bring them back."""
    openai_standin.add_thread("user:ann", items=[user_message("one")])
    openai_standin.add_thread("user:bob", items=[user_message("two")])
    app, kit = site(make_app, tmp_path)
    export = tmp_path / "export.jsonl"
    with app.app_context():
        kit.export_threads(export)
        kit.import_threads(export)
        kit.delete_user("ann")
        done = kit.import_threads(export)
    assert threads_of(app, ANN) == []
    assert len(threads_of(app, Visitor.login("bob"))) == 1
    assert "deleted" in done.problems[0].reason


def test_large_threads_are_written_in_parts(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """A thread of more items than are held at once is whole, and in order."""
    items = [user_message(str(number)) for number in range(1203)]
    thread = openai_standin.add_thread("user:ann", items=items)
    app, kit = site(make_app, tmp_path)
    with app.app_context():
        done = kit.migrate_threads()
    assert (done.threads, done.items) == (1, 1203)
    found = items_of(app, ANN, thread)
    assert [item.content[0].text for item in found] == [str(number) for number in range(1203)]
    assert timedelta(0) <= found[-1].created_at - found[0].created_at


def test_carried_thread_can_be_gone_on_with(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """A visitor goes on in a carried thread, and the site's code knows what was said."""
    client_key: list[str] = []
    kit = ChatKit()

    @kit.assistant()
    def recall(_message: Any, chat: Any) -> str:
        client_key.append(chat.visitor.key)
        return "; ".join(turn.text for turn in chat.history)

    app = make_app(kit, CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/history.sqlite3")
    client = app.test_client()
    client.post("/chatkit/secret", json={})
    said = {
        "content": [{"type": "input_text", "text": "hi"}],
        "attachments": [],
        "inference_options": {},
    }
    create = {"type": "threads.create", "params": {"input": said}}
    client.post("/chatkit/api", json=create).get_data()
    thread = openai_standin.add_thread(
        client_key[0], items=[user_message("old question"), assistant_message("old answer")]
    )
    with app.app_context():
        kit.migrate_threads()
    more = {"thread_id": thread, "input": said}
    body = {"type": "threads.add_user_message", "params": more}
    text = client.post("/chatkit/api", json=body).get_data(as_text=True)
    assert "old question; old answer" in text


@pytest.mark.parametrize("by", ["visitor", "owner", "prune"])
def test_deleted_threads_stay_deleted(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path, uri: str, by: str
) -> None:
    """A carried thread that was deleted is not carried anew, and is named by the report only."""
    old = {**user_message("one"), "created_at": 10**9}
    thread = openai_standin.add_thread("user:ann", items=[old], created_at=10**9)
    openai_standin.add_thread("user:bob", items=[user_message("two")])
    app, kit = site(make_app, tmp_path, uri)
    export = tmp_path / "export.jsonl"
    with app.app_context():
        kit.export_threads(export)
        kit.import_threads(export)
        if by == "visitor":
            ask(app, "delete_thread", thread, of(ANN))
        elif by == "owner":
            kit.delete_user("ann", hosted=False)
        else:
            kit.prune(timedelta(days=9))
        done = kit.import_threads(export)
        dry = kit.migrate_threads(dry_run=True)
    assert threads_of(app, ANN) == []
    assert [problem.thread for problem in done.problems] == [thread]
    assert [problem.thread for problem in dry.problems] == [thread]
    assert len(threads_of(app, Visitor.login("bob"))) == 1
    assert thread not in str([list(row) for row in everything(app)])


def everything(app: Flask) -> list[Any]:
    """Each row of each table."""
    from flask_chatkit.server.history.tables import metadata

    with app.app_context():
        database = app.extensions["chatkit"]["chatkit"].service.storage.store.database

        async def act() -> Any:
            return await database.statement(
                lambda db: [
                    row for table in metadata.tables.values() for row in db.execute(table.select())
                ]
            )

        return loop.current().run(act, 30)
