"""Daily counts and feedback: in each database, by several processes, and off the visitor's path."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from agents import Agent
from chatkit.store import NotFoundError
from chatkit.types import (
    InferenceOptions,
    ThreadMetadata,
    UserMessageItem,
    UserMessageTextContent,
)
from flask import Flask

from flask_chatkit import ChatKit, signals
from flask_chatkit.activity import Activity, Count, Tally
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server import SQLAlchemyStore
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.history import counts as counting
from flask_chatkit.server.history.tables import counts, feedback
from flask_chatkit.testing.stores import new_message, new_thread
from tests.helpers.databases import fresh_database
from tests.helpers.served import Client, Shop, of_type, until, visit
from tests.helpers.sites import MakeApp
from tests.helpers.stores import TidyStore

ANN = ChatContext(visitor=Visitor.login("ann"))
BOB = ChatContext(visitor=Visitor.login("bob"))
NOW = datetime.now(timezone.utc)
TODAY = int(NOW.timestamp()) // 86400


def hello(_message: Any, _chat: Any) -> str:
    return "hello"


def run(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it suspended")


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL", "MariaDB"])
def uri(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    missing: Callable[[str, str], NoReturn],
) -> Iterator[str]:
    """Make a database of each kind, one for all tests."""
    if request.param == "SQLite":
        yield f"sqlite:///{tmp_path_factory.mktemp('counts')}/chat.db"
    else:
        with fresh_database(request.param, missing) as uri:
            yield uri


@pytest.fixture
def store(uri: str) -> Iterator[SQLAlchemyStore]:
    """Open the database."""
    store = SQLAlchemyStore(uri)
    yield store
    store.close()


def message(thread: ThreadMetadata, name: str, when: datetime) -> UserMessageItem:
    """What a visitor wrote."""
    text = UserMessageTextContent(text="hello")
    return UserMessageItem(
        id=name,
        thread_id=thread.id,
        created_at=when,
        content=[text],
        attachments=[],
        inference_options=InferenceOptions(),
    )


def rows(store: Any, statement: Any) -> list[tuple[Any, ...]]:
    """What a statement finds in a store's database."""
    return run(store._database.statement(lambda db: [tuple(row) for row in db.execute(statement)]))


# --- the databases --------------------------------------------------------------------------------


def test_counts_add_up(store: SQLAlchemyStore) -> None:
    """What is counted again is added, by kit, chat, name and day."""
    refusals = {
        Count(TODAY, "support", "refusal.busy"): 2,
        Count(TODAY, "", "refusal.not_found"): 1,
        Count(TODAY - 1, "support", "refusal.busy"): 5,
        Count(TODAY - 2, "support", "refusal.busy"): 100,
    }
    run(store.add_counts("adding", refusals))
    run(store.add_counts("adding", {Count(TODAY, "support", "refusal.busy"): 40}))
    run(store.add_counts("another", {Count(TODAY, "support", "refusal.busy"): 1000}))
    day = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    assert run(store.read_figures("adding", day)) == {
        "support": {"refusal.busy": 42},
        "": {"refusal.not_found": 1},
    }
    # A time within a day has the whole of it.
    late = day - timedelta(seconds=1)
    assert run(store.read_figures("adding", late))["support"] == {"refusal.busy": 47}


def test_many_processes_add_up(uri: str) -> None:
    """Writers at the same time, on connections of their own and in any order, lose nothing."""
    stores = [SQLAlchemyStore(uri) for _ in range(4)]
    names = [f"refusal.{n}" for n in range(12)]

    def write(number: int) -> None:
        turned = names[number:] + names[:number]
        for _ in range(10):
            some = {Count(TODAY, "support", name): 1 for name in turned}
            run(stores[number].add_counts("many", some))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    found = run(stores[0].read_figures("many", NOW))
    for one in stores:
        one.close()
    assert found == {"support": dict.fromkeys(names, 40)}


def test_more_than_one_statement_takes(
    store: SQLAlchemyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Very many counts are written in parts."""
    monkeypatch.setattr(counting, "ROWS", 7)
    gathered = {Count(TODAY, f"chat{n}", "secret"): n + 1 for n in range(30)}
    run(store.add_counts("large", gathered))
    found = run(store.read_figures("large", NOW))
    assert found == {f"chat{n}": {"secret": n + 1} for n in range(30)}


def test_history_is_counted_to_the_second(store: SQLAlchemyStore) -> None:
    """Threads, messages and thumbs are those since the time, of the kit, by chat."""
    kit = "reading"
    for chat, days in (("support", 0), ("support", 3), ("sales", 0)):
        context = ChatContext(visitor=Visitor.login("ann"), kit=kit, chat=chat)
        thread = new_thread(id=f"{chat}-{days}", created_at=NOW - timedelta(days=days))
        run(store.save_thread(thread, context))
        for number in range(2):
            when = NOW - timedelta(days=days, hours=number)
            run(store.add_thread_item(thread.id, message(thread, f"m{number}", when), context))
            run(store.add_thread_item(thread.id, new_message(thread, created_at=when), context))
        run(store.save_feedback(thread.id, ["m0"], "positive", context))
        run(store.save_feedback(thread.id, ["m1", "m1"], "negative", context))
    found = run(store.read_figures(kit, NOW - timedelta(minutes=30)))
    assert found == {
        "support": {"thread": 1, "message": 1, "feedback.positive": 2, "feedback.negative": 2},
        "sales": {"thread": 1, "message": 1, "feedback.positive": 1, "feedback.negative": 1},
    }
    found = run(store.read_figures(kit, NOW - timedelta(days=4)))
    assert (found["support"]["thread"], found["support"]["message"]) == (2, 4)
    assert run(store.read_figures("nobody's", NOW - timedelta(days=4))) == {}


def test_feedback_is_its_owners(store: SQLAlchemyStore) -> None:
    """A thumb is kept once for an item, for the owner alone, and goes with its item."""
    thread = new_thread()
    run(store.save_thread(thread, ANN))
    for name in ("a", "b"):
        run(store.add_thread_item(thread.id, new_message(thread, id=name), ANN))
    mine = sa.select(feedback.c.item, feedback.c.kind).order_by(feedback.c.item)
    run(store._database.statement(lambda db: db.execute(sa.delete(feedback))))
    run(store.save_feedback(thread.id, ["a", "b"], "positive", ANN))
    run(store.save_feedback(thread.id, ["a"], "negative", ANN))
    run(store.save_feedback(thread.id, ["b"], "negative", BOB))
    assert rows(store, mine) == [("a", "negative"), ("b", "positive")]
    with pytest.raises(NotFoundError):
        run(store.save_feedback(thread.id, ["b", "gone"], "negative", ANN))
    assert rows(store, mine) == [("a", "negative"), ("b", "positive")]
    run(store.delete_thread_item(thread.id, "a", ANN))
    assert rows(store, mine) == [("b", "positive")]
    run(store.delete_thread(thread.id, ANN))
    assert rows(store, mine) == []


# --- chats ----------------------------------------------------------------------------------------


@pytest.fixture
def site(make_app: MakeApp, tmp_path: Path) -> Callable[..., Flask]:
    """Make sites whose history is this test's own."""

    def make(kit: ChatKit, **config: Any) -> Flask:
        quiet = dict.fromkeys(
            ("CHATKIT_RATELIMIT", "CHATKIT_RATELIMIT_IP", "CHATKIT_MESSAGE_RATELIMIT"), ""
        )
        history = {"CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3"}
        return make_app(kit, **{**quiet, **history, **config})

    return make


def store_of(app: Flask) -> Any:
    """The store that the first chat of an application answers from."""
    (state,) = app.extensions["chatkit"].values()
    return next(iter(state.service._dispatchers.values())).server.store


def rate(ann: Client, thread: str, kind: str) -> int:
    """Give a thumb for the first message of a thread; the status of the answer."""
    item = of_type(ann.items(thread), "user_message")["id"]
    given = {"thread_id": thread, "item_ids": [item], "kind": kind}
    return ann.post("items.feedback", **given).status_code


class FailingShop(Shop):
    """A server whose own code for feedback fails."""

    async def add_feedback(self, *args: Any) -> None:
        """Fail."""
        raise RuntimeError("no feedback today")


def of_kind(kind: str) -> ChatKit:
    """A kit whose chat is of a kind, and whose hook for feedback fails."""
    kit = ChatKit()
    if kind == "server":
        kit.add_server("default", FailingShop)
        return kit

    @kit.feedback()
    def fail(*_args: Any) -> None:
        raise RuntimeError("no feedback today")

    if kind == "agent":
        kit.add_agent("default", Agent(name="Coach", model=None), titles=False)
    else:
        kit.assistant()(hello)
    return kit


@pytest.mark.parametrize("kind", ["assistant", "agent", "server"])
def test_feedback_of_each_kind_of_chat(
    browse: Any, site: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thumb is kept before the site's code runs, which may fail, and a second one changes it."""
    # Nobody is asked: the message is there, and that is what the thumb is for.
    monkeypatch.setattr("agents.Runner.run_streamed", None)
    app = site(of_kind(kind))
    given: list[Any] = []
    ann = visit(browse(app))
    thread = ann.create("hello")
    with signals.feedback_given.connected_to(lambda _app, **sent: given.append(sent), app):
        assert rate(ann, thread, "positive") == 500
        kept = sa.select(feedback.c.kind, feedback.c.created_at)
        ((first, then),) = rows(store_of(app), kept)
        assert rate(ann, thread, "negative") == 500
        ((second, later),) = rows(store_of(app), kept)
        assert signals.wait_delivered()
    assert (first, second) == ("positive", "negative")
    assert then < later
    assert [(one["kind"], one["thread"]) for one in given] == [
        ("positive", thread),
        ("negative", thread),
    ]


def test_feedback_that_cannot_be_kept(
    browse: Any, site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the database fails the site's code still gets the thumb, and the log says so."""
    kit = ChatKit()
    told: list[str] = []
    kit.assistant()(hello)
    kit.feedback()(lambda kind, _items, _chat: told.append(kind))
    app = site(kit)
    ann = visit(browse(app))
    thread = ann.create("hello")

    async def fail(*_args: Any) -> None:
        raise sa.exc.OperationalError("INSERT", {}, Exception("disk full"))

    monkeypatch.setattr(SQLAlchemyStore, "save_feedback", fail)
    assert rate(ann, thread, "positive") == 200
    assert told == ["positive"]
    assert "could not be saved" in caplog.text


def test_store_of_the_sites_own(browse: Any, site: Any) -> None:
    """A store that is not ours gets no thumbs and no counts; the site's code and signals do."""
    made: list[Shop] = []
    kit = ChatKit()

    def factory() -> Shop:
        made.append(Shop(TidyStore()))
        return made[0]

    kit.add_server("default", factory)
    app = site(kit)
    given: list[Any] = []
    with signals.feedback_given.connected_to(lambda _app, **sent: given.append(sent), app):
        ann = visit(browse(app))
        assert rate(ann, ann.create("hello"), "positive") == 200
        assert signals.wait_delivered()
    assert [told[0] for told in made[0].told] == ["positive"]
    assert len(given) == 1
    assert not Path(app.config["CHATKIT_DATABASE_URI"].removeprefix("sqlite:///")).exists()


# --- when counts are written ----------------------------------------------------------------------


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[dict[Count, int]]:
    """Remember each write of counts."""
    writes: list[dict[Count, int]] = []
    write = SQLAlchemyStore.add_counts

    async def noted(self: SQLAlchemyStore, kit: str, gathered: dict[Count, int]) -> None:
        await write(self, kit, gathered)
        writes.append(dict(gathered))

    monkeypatch.setattr(SQLAlchemyStore, "add_counts", noted)
    return writes


def talking() -> ChatKit:
    """A kit with a chat that answers."""
    kit = ChatKit()
    kit.assistant()(hello)
    return kit


def test_refusals_cost_no_write(browse: Any, site: Any, written: list[dict[Count, int]]) -> None:
    """However much is refused, nothing is written until an answer ends, and then all at once."""
    app = site(talking())
    ann = visit(browse(app))
    ann.threads()
    for _ in range(30):
        ann.post("threads.get_by_id", thread_id="thr_0")
    assert written == []
    ann.create("hello")
    until(lambda: written)
    assert written == [
        {
            Count(TODAY, "default", "secret"): 1,
            Count(TODAY, "default", "refusal.not_found"): 30,
            Count(TODAY, "default", "answer.finished"): 1,
        }
    ]


def test_answers_share_a_write(
    browse: Any, site: Any, written: list[dict[Count, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that end within a second are written together, and none is lost."""
    monkeypatch.setattr(counting, "EVERY", 3600)
    app = site(talking())
    ann = visit(browse(app))
    thread = ann.create("one")
    until(lambda: len(written) == 1)
    for number in range(5):
        ann.add(thread, f"more {number}")
    assert len(written) == 1
    with app.app_context():
        next(iter(app.extensions["chatkit"].values())).service.flush_counts()
    assert written[1:] == [{Count(TODAY, "default", "answer.finished"): 5}]


def test_refusals_alone_are_written_later(
    browse: Any, site: Any, written: list[dict[Count, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no answer comes the counts are written after a while, without a request."""
    monkeypatch.setattr(counting, "LATEST", 0.2)
    ann = visit(browse(site(talking())))
    ann.post("threads.get_by_id", thread_id="thr_0")
    until(lambda: any(Count(TODAY, "default", "refusal.not_found") in some for some in written))


def test_counts_outlast_a_database_that_fails(
    browse: Any, site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What could not be written is kept, told once, and written when that is possible."""
    monkeypatch.setattr(counting, "EVERY", 0)
    app = site(talking())
    ann = visit(browse(app))
    failures: list[bool] = []
    write = SQLAlchemyStore.add_counts

    async def fail(*_args: Any) -> None:
        failures.append(True)
        raise sa.exc.OperationalError("INSERT", {}, Exception("hunter2"))

    monkeypatch.setattr(SQLAlchemyStore, "add_counts", fail)
    thread = ann.create("one")
    until(lambda: len(failures) == 1)
    ann.add(thread, "two")
    until(lambda: len(failures) == 2)
    monkeypatch.setattr(SQLAlchemyStore, "add_counts", write)
    ann.add(thread, "three")
    found = sa.select(counts.c.name, counts.c.count)
    until(lambda: ("answer.finished", 3) in rows(store_of(app), found))
    told = [record for record in caplog.records if "daily counts" in record.getMessage()]
    assert [record.levelname for record in told] == ["WARNING"]


def test_hosted_chats_beside_a_served_one(
    browse: Any, site: Any, written: list[dict[Count, int]]
) -> None:
    """The secrets and refusals of a hosted chat are kept where a served one has its history."""
    kit = talking()
    kit.add_hosted("sales", "wf_standin")
    app = site(kit)
    browser = browse(app)
    browser.mint("/chatkit/sales")
    browser.post("/chatkit/sales/secret", json={"user": "somebody"})
    visit(browser).create("hello")
    until(lambda: written)
    assert written[0][Count(TODAY, "sales", "secret")] == 1
    assert written[0][Count(TODAY, "sales", "refusal.bad_request")] == 1


def test_names_that_browsers_make_up_are_not_kept(browse: Any, site: Any) -> None:
    """However many chats are asked for that there are not, they are one count."""
    app = site(talking())
    browser = browse(app)
    for number in range(20):
        browser.post(f"/chatkit/made-up-{number}/secret")
    (state,) = app.extensions["chatkit"].values()
    assert state.activity.tally.take() == {Count(TODAY, "", "refusal.not_found"): 20}


def test_forked_process_writes_its_own() -> None:
    """A process that was forked has none of its parent's counts, which the parent writes."""
    tally = Tally()
    tally.add("support", "secret")
    child = os.fork()
    if child == 0:
        tally.add("support", "answer.finished")
        kept = list(tally.take())
        os._exit(0 if [key.name for key in kept] == ["answer.finished"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [key.name for key in tally.take()] == ["secret"]


def test_tally_counts_in_all_threads() -> None:
    """Threads that count the same at once lose nothing, also while counts are taken."""
    tally = Tally()
    taken: list[int] = []

    def work(number: int) -> None:
        for _ in range(500):
            tally.add("support", "secret")
            if number == 0:
                taken.extend(tally.take().values())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sum(taken) + sum(tally.take().values()) == 2000


def test_unknown_reason_is_other(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a subclass of ours calls itself, the set of reasons stays closed."""
    activity = Activity(Flask("closed"), "chatkit")
    with caplog.at_level(logging.INFO, "flask_chatkit"):
        activity.refused("made_up", chat=None, visitor=None, status=418)
    assert [key.name for key in activity.tally.take()] == ["refusal.other"]
    assert caplog.records[0].chatkit_reason == "other"  # type: ignore[attr-defined]
