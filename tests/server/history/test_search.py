"""A visitor's threads are found by words: the same on each database, with an index and without."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    HiddenContextItem,
    InferenceOptions,
    ThreadMetadata,
    UserMessageItem,
    UserMessageTextContent,
)

from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server import SQLAlchemyStore
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.history import filling, search
from flask_chatkit.server.history.engines import database_url
from flask_chatkit.server.history.tables import items, jobs, threads
from flask_chatkit.server.history.words import item_words, query_words, shown_text, words_of
from flask_chatkit.testing.stores import new_attachment, new_message, new_thread
from tests.helpers.databases import fresh_database
from tests.server.history.test_migrations import fill as fill_old

Missing = Callable[[str, str], NoReturn]
KINDS = ["SQLite", "PostgreSQL", "MariaDB"]
ANN = ChatContext(visitor=Visitor.login("ann"))
BOB = ChatContext(visitor=Visitor.login("bob"))
DAY = datetime(2026, 11, 1, tzinfo=timezone.utc)

TEXTS = {
    "shoes": "Where are my red shoes?",
    "stop": "What is to be, or not to be",
    "german": "Größe und Straße im Köln",
    "chinese": "我想去東京大学看一看",
    "hindi": "मुझे किताब चाहिए",
    "korean": "안녕하세요 여러분",
    "arabic": "أين طَلَبِي رقم 4711",
    "thai": "สวัสดีครับ",
    "russian": "достопримечательность Кракова",
    "code": "call foo_bar(x) at https://example.com/a?b=c -- +red* \"quoted\" 'x' (not) ~me",
}
QUERIES = {
    "shoes": "red sho",
    "stop": "the not be",
    "german": "strasse grosse",
    "chinese": "京大",
    "hindi": "किता",
    "korean": "안녕",
    "arabic": "طلبي 47",
    "thai": "ดีครับ",
    "russian": "достопримечательность крак",
    "code": "example foo",
}


def run(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it suspended")


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Let the visitors of each test know of no threads of another one."""
    for context in (ANN, BOB):
        context.stored.clear()


@pytest.fixture(params=KINDS)
def uri(request: pytest.FixtureRequest, tmp_path: Path, missing: Missing) -> Iterator[str]:
    """Make an empty database of each kind."""
    with ExitStack() as stack:
        if request.param == "SQLite":
            yield f"sqlite:///{tmp_path}/chat.db"
        else:
            yield stack.enter_context(fresh_database(request.param, missing))


@pytest.fixture(params=["few", "many"])
def store(
    uri: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SQLAlchemyStore]:
    """Open a store, whose visitors have few messages, or so many that an index is asked."""
    if request.param == "many":
        monkeypatch.setattr(search, "FEW", 0)
    store = SQLAlchemyStore(uri)
    yield store
    store.close()


def say(
    store: SQLAlchemyStore,
    name: str,
    *texts: str,
    title: str = "",
    context: ChatContext = ANN,
    number: int = 0,
) -> ThreadMetadata:
    thread = new_thread(id=f"thr_{name}", title=title, created_at=DAY + timedelta(hours=number))
    run(store.save_thread(thread, context))
    for place, text in enumerate(texts):
        message = new_message(thread, id=f"msg_{name}_{place}", text=text)
        run(store.add_thread_item(thread.id, message, context))
    return thread


def names(store: SQLAlchemyStore, query: str, context: ChatContext = ANN) -> list[str]:
    page = run(store.search_threads(query, 50, context))
    return [one.thread.id.removeprefix("thr_") for one in page.data]


def test_words_of_any_script_are_found(store: SQLAlchemyStore) -> None:
    """Beginnings of words find their thread and no other: short and common ones, in any script."""
    for number, (name, text) in enumerate(TEXTS.items()):
        say(store, name, text, number=number)
    say(store, "the", "The end", number=30)
    queries = QUERIES | {"stop": "not be"}
    assert {name: names(store, query) for name, query in queries.items()} == {
        name: [name] for name in TEXTS
    }
    assert names(store, "the") == ["the"]
    assert names(store, "hoes") == names(store, "red shoes blue") == []
    # Nothing is an operator: of the words of a query all count.
    assert names(store, '+red -shoes* "(~') == ["shoes"]
    assert names(store, "%") == names(store, " ") == names(store, "") == []


def test_titles_and_texts_are_found_newest_first(store: SQLAlchemyStore) -> None:
    """Titles, messages and answers count; each thread once, the newest first, with an excerpt."""
    say(store, "old", "about boats", title="Other", number=1)
    say(store, "both", "about a boat", "many boats", title="My boats", number=3)
    newest = say(store, "answer", "x", number=2)
    text = "Long before it comes to the point. " * 10 + "A boat is a thing that swims."
    answer = AssistantMessageItem(
        id="ans_1",
        thread_id=newest.id,
        created_at=DAY,
        content=[AssistantMessageContent(text=text)],
    )
    run(store.add_thread_item(newest.id, answer, ANN))
    found = run(store.search_threads("boat", 50, ANN)).data
    assert [(one.thread.id, one.item_id) for one in found] == [
        ("thr_both", None),
        ("thr_answer", "ans_1"),
        ("thr_old", "msg_old_0"),
    ]
    assert found[2].excerpt == "about boats"
    assert found[1].excerpt.startswith("…")
    assert "A boat is a thing" in found[1].excerpt
    assert len(found[1].excerpt) <= search.SHOWN + 2


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("## Part 1: *how*\n\n> it is **fired**", "Part 1: how it is fired"),
        ("- one\n  - `two` and ***three***", "one two and three"),
        ("> > # deep\n1986. A great year", "deep 1986. A great year"),
        ("---help is an option\n---\n~~~ is a wave", "---help is an option ~~~ is a wave"),
        (
            r"__init__, \*not this\* and *** or **bold**text",
            r"__init__, \*not this\* and *** or boldtext",
        ),
        ("```python\nx = a*b*c\n```\nsnake_case_name", "x = a*b*c snake_case_name"),
        ("![a pot](https://shop.test/a.png) and [terms](/terms)", "a pot and terms"),
        ("| a | b |\n|---|--:|\n| 1 | 2 |", "| a | b | | 1 | 2 |"),
        ("2 * 3 * 4 < 5", "2 * 3 * 4 < 5"),
    ],
)
def test_excerpts_are_without_markdown(markdown: str, shown: str) -> None:
    """An answer is shown as it is read; what a visitor wrote, as they wrote it."""
    content = [{"type": "output_text", "text": markdown, "annotations": []}]
    assert shown_text({"type": "assistant_message", "content": content}) == shown
    written = {"type": "user_message", "content": [{"type": "input_text", "text": markdown}]}
    assert shown_text(written) == " ".join(markdown.split())


def test_pages_are_bounded(store: SQLAlchemyStore) -> None:
    """No more threads come than asked for, and never more than a hundred."""
    for number in range(103):
        say(store, f"n{number}", "same words", number=number)
    page = run(store.search_threads("same", 3, ANN))
    assert [one.thread.id for one in page.data] == ["thr_n102", "thr_n101", "thr_n100"]
    assert page.has_more
    assert len(run(store.search_threads("same", 10_000, ANN)).data) == 100


def test_others_are_not_found(store: SQLAlchemyStore) -> None:
    """Nobody finds what somebody else has written, in titles or texts."""
    say(store, "bobs", "a secret word", title="secret title", context=BOB)
    say(store, "anns", "a word", title="title")
    for query in ("secret", "word", "title"):
        assert "bobs" not in names(store, query)
    assert names(store, "secret", BOB) == ["bobs"]
    run(store.transfer_threads(BOB.kit, BOB.visitor, ANN.visitor))
    assert names(store, "secret", BOB) == []
    assert names(store, "secret") == ["bobs"]


def test_what_visitors_do_not_see_is_not_found(store: SQLAlchemyStore) -> None:
    """What a site tells the model alone is not searched; the names of files are."""
    thread = say(store, "one", "hello")
    hidden = HiddenContextItem(id="hid", thread_id=thread.id, created_at=DAY, content="vipstatus")
    run(store.add_thread_item(thread.id, hidden, ANN))
    message = UserMessageItem(
        id="with_file",
        thread_id=thread.id,
        created_at=DAY,
        content=[UserMessageTextContent(text="see")],
        attachments=[new_attachment(name="Quarterly report.pdf")],
        inference_options=InferenceOptions(),
    )
    run(store.add_thread_item(thread.id, message, ANN))
    assert names(store, "vipstatus") == []
    assert names(store, "quarterly pdf") == ["one"]


def test_changes_and_deletions_are_seen(store: SQLAlchemyStore) -> None:
    """A new title and another text are found, the former are not; nor what was deleted."""
    thread = say(store, "one", "first text", "last text", title="Apples")
    run(store.save_thread(thread.model_copy(update={"title": "Pears"}), ANN))
    changed = new_message(thread, id="msg_one_0", text="changed text")
    run(store.save_item(thread.id, changed, ANN))
    assert names(store, "apples") == names(store, "first") == []
    assert names(store, "pears") == names(store, "changed") == names(store, "last") == ["one"]
    run(store.delete_thread_item(thread.id, "msg_one_1", ANN))
    assert names(store, "last") == []
    run(store.delete_thread(thread.id, ANN))
    assert names(store, "pears") == names(store, "changed") == []
    say(store, "one", "new text")
    assert names(store, "new") == ["one"]
    assert names(store, "changed") == []


def test_huge_and_odd_texts_are_stored(store: SQLAlchemyStore) -> None:
    """A text of a megabyte, long words and odd characters are stored, and found by their start."""
    thread = say(store, "odd", "a" * 5000 + " \x00 \\ ' : & | ! <-> \u2028 😀 ﬁne ①")
    say(store, "huge", " ".join(f"w{number}" for number in range(200_000)))
    assert names(store, "aaaa") == names(store, "fine") == names(store, "a" * 300) == ["odd"]
    assert names(store, "w12") == ["huge"]
    assert run(store.load_item(thread.id, "msg_odd_0", ANN)).content[0].text.startswith("aaa")


# --- what an earlier release has stored ---------------------------------------------------------


def test_old_rows_become_searchable(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of an earlier release are filled in batches, once, while visitors chat."""
    monkeypatch.setattr(filling, "BATCH", 7)
    engine = sa.create_engine(database_url(uri))
    fill_old(engine, 40)
    with engine.begin() as db:
        data = json.dumps({"id": "thr_0", "title": "Ancient", "created_at": DAY.isoformat()})
        db.exec_driver_sql(f"UPDATE chatkit_threads SET data = '{data}' WHERE id = 'thr_0'")  # noqa: S608
    store = SQLAlchemyStore(uri)
    assert len(run(store.load_threads(20, None, "asc", ANN)).data) == 1
    deadline = time.monotonic() + 20
    while True:
        with engine.connect() as db:
            done = db.scalar(sa.select(jobs.c.name).where(jobs.c.name == filling.FILL))
            if done or time.monotonic() > deadline:
                break
        time.sleep(0.05)
    with engine.connect() as db:
        for table in (threads, items):
            empty = sa.select(sa.func.count()).where(table.c.words.is_(None))
            assert db.scalar(empty) == 0
    for few in (10, 0):
        monkeypatch.setattr(search, "FEW", few)
        assert names(store, "ancient") == ["0"]
        text = run(store.load_item("thr_0", "msg_0", ANN)).content[0].text
        assert names(store, text) == ["0"]
    store.close()
    engine.dispose()


def test_filling_keeps_what_is_stored_meanwhile(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that gets its words after it was read to be filled keeps the new ones."""
    store = SQLAlchemyStore(uri)
    thread = say(store, "one", "before")
    engine = sa.create_engine(database_url(uri))
    with engine.begin() as db:
        db.execute(sa.update(items).values(words=None))
    words = filling._WORDS[items]

    def late(item: dict[str, Any]) -> str:
        run(store.save_item(thread.id, new_message(thread, id="msg_one_0", text="after"), ANN))
        return words(item)

    monkeypatch.setitem(filling._WORDS, items, late)
    # Each statement for itself: SQLite's transactions would keep the other one out.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        assert filling.fill(db, items, 0) is not None
    assert names(store, "after") == ["one"]
    assert names(store, "before") == []
    store.close()
    engine.dispose()


def test_without_fts5_all_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a SQLite without FTS5, or tables that Alembic has made, LIKE finds the same."""
    monkeypatch.setattr("flask_chatkit.server.history.database.add_fts5", lambda _db: None)
    monkeypatch.setattr(search, "FEW", 0)
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/chat.db")
    say(store, "shoes", TEXTS["shoes"])
    assert names(store, "red sho") == ["shoes"]
    assert run(store.database.statement(search.has_fts5)) is False
    store.close()


def test_an_index_is_used(store: SQLAlchemyStore, request: pytest.FixtureRequest) -> None:
    """With many messages SQLite and MariaDB ask their full-text index, and PostgreSQL has one."""
    say(store, "shoes", TEXTS["shoes"])

    def way(db: sa.Connection) -> tuple[str, str]:
        return db.dialect.name, search._way(db, "nobody")

    dialect, used = run(store.database.statement(way))
    kind = request.node.callspec.params["store"]
    wanted = {"sqlite": "fts5", "mysql": "fulltext", "mariadb": "fulltext"}
    if dialect == "postgresql":
        assert used == "tsvector"
    elif kind == "many":
        owner = run(store.database.statement(lambda db: db.scalar(sa.select(threads.c.owner))))
        assert run(store.database.statement(lambda db: search._way(db, owner))) == wanted[dialect]
    else:
        assert used == "like"


# --- words --------------------------------------------------------------------------------------


def test_words_are_plain_ascii() -> None:
    """All databases get words of letters and digits alone, of bounded length, each once."""
    for text in TEXTS.values():
        words = words_of(text).split()
        assert len(words) == len(set(words))
        assert all(word.isascii() and word.isalnum() and len(word) <= 84 for word in words)
    assert words_of("Red red RED") == " zzred"
    assert len(query_words("a b c d e f g h i j")) == 8


def test_items_of_other_kinds_have_words_of_their_copy() -> None:
    """A widget is found by the text that is copied of it, a task by none."""
    assert item_words({"type": "widget", "copy_text": "Two seats"}) == " zztwo zzseats"
    assert item_words({"type": "task", "task": {"title": "secret"}}) == ""
