"""Our own store: what the conformance kit does not ask of every store."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from chatkit.store import NotFoundError
from chatkit.types import (
    CustomTask,
    FileAttachment,
    InferenceOptions,
    Page,
    UserMessageItem,
    UserMessageTextContent,
    Workflow,
    WorkflowItem,
)
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.pool import StaticPool

from flask_chatkit.errors import ConfigurationError
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server.attachments.links import Links
from flask_chatkit.server.context import ChatContext, owner_of
from flask_chatkit.server.history.statements import list_items, list_threads
from flask_chatkit.server.history.store import SQLAlchemyStore
from flask_chatkit.server.history.tables import attachments, items, metadata, threads
from flask_chatkit.testing.stores import ids, new_attachment, new_message, new_thread
from tests.helpers.databases import fresh_database
from tests.helpers.paths import ROOT

Missing = Callable[[str, str], NoReturn]
KINDS = ["file", "memory", "PostgreSQL", "MariaDB"]


@pytest.fixture(scope="module")
def uris(missing: Missing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable]:
    """Make the URI of a kind of database; one database of each kind does for all tests."""
    made: dict[str, str] = {
        "file": f"sqlite:///{tmp_path_factory.mktemp('history')}/chat.db",
        "memory": "sqlite://",
    }
    with ExitStack() as stack:

        def uri(kind: str) -> str:
            if kind not in made:
                made[kind] = stack.enter_context(fresh_database(kind, missing))
            return made[kind]

        yield uri


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, uris: Callable) -> Iterator[SQLAlchemyStore]:
    """Open a store in each kind of database."""
    store = SQLAlchemyStore(uris(request.param))
    yield store
    store.close()


@pytest.fixture
def memory() -> Iterator[SQLAlchemyStore]:
    """Open a store in memory, for what has nothing to do with the database."""
    store = SQLAlchemyStore("sqlite://")
    yield store
    store.close()


@pytest.fixture
def alice() -> ChatContext:
    """Make up a visitor."""
    return ChatContext(visitor=Visitor.new())


@pytest.fixture
def bob() -> ChatContext:
    """Make up another visitor."""
    return ChatContext(visitor=Visitor.new())


def by_hand(coroutine: Any) -> Any:
    """Drive a coroutine that must not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("it suspended")


def raw(store: SQLAlchemyStore, statement: Any) -> list[Any]:
    """What the database has, whoever it belongs to."""
    return by_hand(store._database.statement(lambda db: db.execute(statement).all()))


# --- the package's own cases ------------------------------------------------------------------


def test_ids_have_the_packages_prefixes(memory: SQLAlchemyStore, alice: ChatContext) -> None:
    """New ids begin as the package's do, and go on with 128 bits."""
    prefixes = {
        "thread": "thr",
        "message": "msg",
        "tool_call": "tc",
        "workflow": "wf",
        "task": "tsk",
        "attachment": "atc",
        "sdk_hidden_context": "shcx",
    }
    made = {kind: memory.generate_item_id(kind, new_thread(), alice) for kind in prefixes}
    made["thread"] = memory.generate_thread_id(alice)
    for kind, prefix in prefixes.items():
        assert made[kind].startswith(f"{prefix}_")
        assert len(made[kind]) == len(prefix) + 33


def test_a_site_makes_its_own_ids(alice: ChatContext) -> None:
    """A subclass that makes ids of its own has them stored and found."""

    class Counting(SQLAlchemyStore):
        count = 0

        def generate_thread_id(self, context: ChatContext) -> str:
            self.count += 1
            return f"thr_custom_{self.count}"

    store = Counting("sqlite://")
    for wanted in ("thr_custom_1", "thr_custom_2"):
        thread = new_thread(id=store.generate_thread_id(alice))
        by_hand(store.save_thread(thread, alice))
        assert by_hand(store.load_thread(wanted, alice)) == thread
    store.close()


def test_others_items_are_an_empty_page(
    store: SQLAlchemyStore, alice: ChatContext, bob: ChatContext
) -> None:
    """The items of a thread that is somebody else's, or nowhere, are an empty page, as theirs."""
    thread = new_thread()
    by_hand(store.save_thread(thread, alice))
    by_hand(store.add_thread_item(thread.id, new_message(thread), alice))
    for thread_id in (thread.id, "thr_nowhere", "", "thr_\x00"):
        assert by_hand(store.load_thread_items(thread_id, None, 20, "asc", bob)) == Page()


def test_stored_items_equal_what_was_given(store: SQLAlchemyStore, alice: ChatContext) -> None:
    """Items with times that have a zone are equal to what was stored, attachments included."""
    thread = new_thread(title="Test", metadata={"test": "test"})
    by_hand(store.save_thread(thread, alice))
    given = [message_with_file(thread), new_message(thread), workflow(thread)]
    for item in given:
        by_hand(store.add_thread_item(thread.id, item, alice))
    assert by_hand(store.load_thread(thread.id, alice)) == thread
    assert by_hand(store.load_thread_items(thread.id, None, 10, "asc", alice)).data == given


def test_pages_tell_where_the_next_begins(store: SQLAlchemyStore, alice: ChatContext) -> None:
    """`after` is the last id of a page that has more after it, and None on the last page."""
    saved = [new_thread() for _ in range(3)]
    for thread in saved:
        by_hand(store.save_thread(thread, alice))
    first = by_hand(store.load_threads(2, None, "asc", alice))
    assert (ids(first), first.has_more, first.after) == (
        [saved[0].id, saved[1].id],
        True,
        saved[1].id,
    )
    last = by_hand(store.load_threads(2, first.after, "asc", alice))
    assert (ids(last), last.has_more, last.after) == ([saved[2].id], False, None)


# --- what is stored ---------------------------------------------------------------------------


def message_with_file(thread: Any, **more: Any) -> UserMessageItem:
    return UserMessageItem(
        id="msg_file",
        thread_id=thread.id,
        created_at=thread.created_at,
        content=[UserMessageTextContent(text="here \x00 it is")],
        attachments=[new_attachment(thread_id=thread.id, metadata={"path": "a/b"}, **more)],
        inference_options=InferenceOptions(),
    )


def workflow(thread: Any, **more: Any) -> WorkflowItem:
    return WorkflowItem(
        **{
            "id": "wf_1",
            "thread_id": thread.id,
            "created_at": thread.created_at,
            "workflow": Workflow(type="custom", tasks=[CustomTask(title="Search")]),
            **more,
        }
    )


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Move this machine to New York."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_times_are_utc(store: SQLAlchemyStore, alice: ChatContext) -> None:
    """The package's local times are stored and come back as times in UTC."""
    local = datetime(2026, 7, 1, 20, 30)  # noqa: DTZ001 - as the package has it
    utc = datetime(2026, 7, 2, 0, 30, tzinfo=timezone.utc)
    thread = new_thread(created_at=local)
    by_hand(store.save_thread(thread, alice))
    by_hand(store.add_thread_item(thread.id, new_message(thread, created_at=local), alice))
    loaded = by_hand(store.load_thread(thread.id, alice))
    (item,) = by_hand(store.load_thread_items(thread.id, None, 20, "asc", alice)).data
    for moment in (loaded.created_at, item.created_at):
        assert (moment, moment.utcoffset()) == (utc, timedelta(0))
    ((stored,),) = raw(store, sa.select(threads.c.created_at).where(threads.c.id == thread.id))
    assert stored.replace(tzinfo=stored.tzinfo or timezone.utc) == utc
    assert thread.created_at == local


@pytest.mark.usefixtures("new_york")
def test_a_workflow_can_be_continued(memory: SQLAlchemyStore, alice: ChatContext) -> None:
    """A workflow's time can be taken from a local time, as the package's agents do."""
    thread = new_thread()
    by_hand(memory.save_thread(thread, alice))
    minute = timedelta(minutes=1)
    item = workflow(thread, created_at=datetime.now(timezone.utc) - minute)
    by_hand(memory.add_thread_item(thread.id, item, alice))
    loaded = by_hand(memory.load_item(thread.id, item.id, alice))
    for now in (datetime.now(), datetime.now(timezone.utc)):  # noqa: DTZ005 - the package's
        assert minute <= now - loaded.created_at < 2 * minute
    assert loaded.model_copy(deep=True) == item
    assert loaded.model_dump_json() == item.model_dump_json()


def test_metadata_of_attachments_is_kept(store: SQLAlchemyStore, alice: ChatContext) -> None:
    """What browsers must not see of an attachment is in the database nevertheless."""
    attachment = new_attachment(metadata={"path": "a/b"})
    by_hand(store.save_attachment(attachment, alice))
    assert by_hand(store.load_attachment(attachment.id, alice)).metadata == {"path": "a/b"}


def test_whose_it_is_stands_in_plain_words(store: SQLAlchemyStore) -> None:
    """A site finds what a person has by kit, chat and visitor, without this package's help."""
    context = ChatContext(visitor=Visitor.login("x" * 512), kit="staff", chat="help")
    thread, attachment = new_thread(), new_attachment()
    by_hand(store.save_thread(thread, context))
    by_hand(store.save_attachment(attachment, context))
    for table, key in ((threads, thread.id), (attachments, attachment.id)):
        columns = [table.c.owner, table.c.kit, table.c.chat, table.c.visitor]
        (row,) = raw(store, sa.select(*columns).where(table.c.id == key))
        assert tuple(row) == (owner_of(context), "staff", "help", "user:" + "x" * 512)


def test_ids_are_exact(store: SQLAlchemyStore, alice: ChatContext) -> None:
    """Ids that differ in case or accents are different ones, on MySQL too."""
    thread = new_thread()
    by_hand(store.save_thread(thread, alice))
    given = [new_message(thread, id=name) for name in ("msg_a", "msg_A", "msg_ä", "msg_a\u0301")]
    for item in given:
        by_hand(store.add_thread_item(thread.id, item, alice))
    assert by_hand(store.load_thread_items(thread.id, None, 20, "asc", alice)).data == given
    with pytest.raises(NotFoundError):
        by_hand(store.load_thread(thread.id.upper(), alice))


@pytest.mark.parametrize("strange", ["", "a\x00b", "x" * 256, "x" * 70_000, "\ud800", "a ", 17])
def test_strange_ids_are_not_found(
    store: SQLAlchemyStore, alice: ChatContext, strange: Any
) -> None:
    """An id that no database can have is not found, and not stored either."""
    thread = new_thread()
    by_hand(store.save_thread(thread, alice))
    for asked in (
        store.load_thread(strange, alice),
        store.delete_thread(strange, alice),
        store.load_threads(20, strange, "asc", alice),
        store.load_item(thread.id, strange, alice),
        store.load_item(strange, "msg_1", alice),
        store.load_thread_items(thread.id, strange, 20, "asc", alice),
        store.delete_thread_item(thread.id, strange, alice),
        store.add_thread_item(strange, new_message(thread), alice),
        store.load_attachment(strange, alice),
        store.delete_attachment(strange, alice),
    ):
        with pytest.raises(NotFoundError):
            by_hand(asked)
    if isinstance(strange, str):
        for written in (
            store.save_thread(new_thread(id=strange), alice),
            store.add_thread_item(thread.id, new_message(thread, id=strange), alice),
            store.save_attachment(new_attachment(id=strange), alice),
        ):
            with pytest.raises(ValueError, match="255 characters"):
                by_hand(written)


def test_limits_and_orders(memory: SQLAlchemyStore, alice: ChatContext) -> None:
    """Nothing, or none, is 20 entries; less than one is one; an order must be one."""
    for _ in range(25):
        by_hand(memory.save_thread(new_thread(), alice))
    for limit, found in ((None, 20), (0, 20), (-5, 1), (1, 1), (25, 25), (10**30, 25)):
        assert len(by_hand(memory.load_threads(limit, None, "desc", alice)).data) == found
    with pytest.raises(ValueError, match="order"):
        by_hand(memory.load_threads(20, None, "asc; DROP TABLE", alice))


def test_who_is_nobody_gets_nothing(memory: SQLAlchemyStore) -> None:
    """A context without a visitor is refused before anything is read."""
    for context in ({}, None, {"visitor": "user:alice"}):
        with pytest.raises(TypeError):
            by_hand(memory.load_threads(20, None, "desc", context))


# --- attachments ------------------------------------------------------------------------------


class Bytes:
    """Files that note what is deleted of them."""

    def __init__(self, act: Callable[[list[Any]], None] = lambda _gone: None) -> None:
        self.delete_bytes = act


def test_links_are_signed_when_attachments_are_loaded(
    memory: SQLAlchemyStore, alice: ChatContext
) -> None:
    """Links are signed for attachments alone and in messages, and are not stored."""
    seen: list[ChatContext] = []

    def present(attachment: FileAttachment, context: ChatContext) -> FileAttachment:
        seen.append(context)
        return attachment.model_copy(update={"name": "signed"})

    thread = new_thread()
    item = message_with_file(thread)
    by_hand(memory.save_thread(thread, alice))
    by_hand(memory.add_thread_item(thread.id, item, alice))
    by_hand(memory.save_attachment(item.attachments[0], alice))

    class Signer:
        sign_links = staticmethod(present)

    signing = memory.with_files(Signer(), Bytes())
    page = by_hand(signing.load_thread_items(thread.id, None, 20, "asc", alice))
    loaded = by_hand(signing.load_item(thread.id, item.id, alice))
    alone = by_hand(signing.load_attachment(item.attachments[0].id, alice))
    assert {one.name for one in (page.data[0].attachments[0], loaded.attachments[0], alone)} == {
        "signed"
    }
    assert seen == [alice] * 3
    assert by_hand(memory.load_item(thread.id, item.id, alice)) == item


@pytest.mark.parametrize("how", ["working", "failing"])
def test_attachments_go_with_their_thread(
    store: SQLAlchemyStore,
    alice: ChatContext,
    bob: ChatContext,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Deleting a thread deletes its attachments and tells which, once it is certain."""
    thread = new_thread()
    by_hand(store.save_thread(thread, alice))
    sent = [new_attachment(thread_id=thread.id) for _ in range(2)]
    unsent, others = new_attachment(), new_attachment(thread_id=thread.id)
    for attachment in (*sent, unsent):
        by_hand(store.save_attachment(attachment, alice))
    by_hand(store.save_attachment(others, bob))
    told: list[Any] = []

    def gone(deleted: list[Any]) -> None:
        with pytest.raises(NotFoundError):
            by_hand(store.load_thread(thread.id, alice))
        told.extend(deleted)
        if how == "failing":
            raise OSError("the disk is on fire")

    with_files = store.with_files(Links([b"key"], "chatkit"), Bytes(gone))
    by_hand(with_files.delete_thread(thread.id, alice))
    assert sorted(one.id for one in told) == sorted(one.id for one in sent)
    assert ("could not be deleted" in caplog.text) == (how == "failing")
    for attachment in sent:
        with pytest.raises(NotFoundError):
            by_hand(store.load_attachment(attachment.id, alice))
    assert by_hand(store.load_attachment(unsent.id, alice)) == unsent
    assert by_hand(store.load_attachment(others.id, bob)) == others
    assert not raw(store, sa.select(items.c.id).where(items.c.thread.not_in(
        sa.select(threads.c.position)
    )))  # fmt: skip


# --- handing over -----------------------------------------------------------------------------


def test_threads_are_handed_over(store: SQLAlchemyStore) -> None:
    """Signing in brings the threads and files of all the kit's chats along, and only these."""
    old, new, other = Visitor.new(), Visitor.login(os.urandom(8).hex()), Visitor.new()

    def context(visitor: Visitor, chat: str = "help", kit: str = "chatkit") -> ChatContext:
        return ChatContext(visitor=visitor, chat=chat, kit=kit)

    def threads_of(meant: ChatContext) -> list[str]:
        return ids(by_hand(store.load_threads(20, None, "asc", meant)))

    saved = {}
    for chat, visitor, kit in (
        ("help", old, "chatkit"),
        ("sales", old, "chatkit"),
        ("help", new, "chatkit"),
        ("help", other, "chatkit"),
        ("help", old, "staff"),
    ):
        thread = new_thread()
        by_hand(store.save_thread(thread, context(visitor, chat, kit)))
        by_hand(store.add_thread_item(thread.id, new_message(thread), context(visitor, chat, kit)))
        saved[chat, visitor, kit] = thread.id
    file = new_attachment()
    by_hand(store.save_attachment(file, context(old, "files")))

    assert by_hand(store.transfer_threads("chatkit", old, new)) == 2
    assert threads_of(context(old)) == threads_of(context(old, "sales")) == []
    assert threads_of(context(new)) == [
        saved["help", old, "chatkit"],
        saved["help", new, "chatkit"],
    ]
    assert threads_of(context(new, "sales")) == [saved["sales", old, "chatkit"]]
    assert threads_of(context(other)) == [saved["help", other, "chatkit"]]
    assert threads_of(context(old, "help", "staff")) == [saved["help", old, "staff"]]
    moved = saved["help", old, "chatkit"]
    assert by_hand(store.load_thread_items(moved, None, 20, "asc", context(new))).data
    assert by_hand(store.load_attachment(file.id, context(new, "files"))) == file
    with pytest.raises(NotFoundError):
        by_hand(store.load_attachment(file.id, context(old, "files")))
    assert by_hand(store.transfer_threads("chatkit", old, new)) == 0
    assert by_hand(store.transfer_threads("chatkit", new, new)) == 0


def test_handing_over_takes_nobody_elses(store: SQLAlchemyStore) -> None:
    """Visitors whose ids differ in case, or in a space at the end, are different ones."""
    name = os.urandom(8).hex() + "x"
    new = Visitor.new()
    for like in (f"{name} ", name.upper(), f"{name[:-1]}ẍ"):
        thread = new_thread()
        context = ChatContext(visitor=Visitor.login(like))
        by_hand(store.save_thread(thread, context))
        assert by_hand(store.transfer_threads("chatkit", Visitor.login(name), new)) == 0
        assert by_hand(store.load_thread(thread.id, context)) == thread


# --- the event loop ---------------------------------------------------------------------------


def test_a_slow_database_does_not_stall_the_loop(tmp_path: Path, alice: ChatContext) -> None:
    """While a call waits for the database, the loop goes on; without a loop it does not suspend."""
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/chat.db")
    thread = new_thread()
    by_hand(store.save_thread(thread, alice))
    blocker = sqlite3.connect(tmp_path / "chat.db", isolation_level=None)

    async def main() -> None:
        blocker.execute("BEGIN IMMEDIATE")
        saving = asyncio.ensure_future(store.save_thread(thread, alice))
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not saving.done()
        blocker.execute("ROLLBACK")
        await saving

    asyncio.run(main())
    blocker.close()
    store.close()


def test_what_was_begun_is_finished_when_cancelled(tmp_path: Path, alice: ChatContext) -> None:
    """A cancelled call ends after what it wrote, so that nothing later is written before it."""
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/chat.db")
    thread = new_thread()
    by_hand(store.load_threads(1, None, "asc", alice))
    blocker = sqlite3.connect(tmp_path / "chat.db", isolation_level=None)

    async def main() -> None:
        blocker.execute("BEGIN IMMEDIATE")
        saving = asyncio.ensure_future(store.save_thread(thread, alice))
        await asyncio.sleep(0.05)
        saving.cancel()
        await asyncio.sleep(0.05)
        assert not saving.done()
        blocker.execute("ROLLBACK")
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert await store.load_thread(thread.id, alice) == thread

    asyncio.run(main())
    blocker.close()
    store.close()


def test_threads_share_a_store(store: SQLAlchemyStore, alice: ChatContext) -> None:
    """Threads that write at the same time, with loops and without, lose nothing."""
    thread = new_thread()
    by_hand(store.save_thread(thread, alice))
    failed: list[Exception] = []

    def write(drive: Callable[[Any], Any]) -> None:
        try:
            for _ in range(10):
                drive(store.add_thread_item(thread.id, new_message(thread), alice))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is one too many
            failed.append(error)

    workers = [threading.Thread(target=write, args=(how,)) for how in (by_hand, asyncio.run) * 4]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed
    assert len(by_hand(store.load_thread_items(thread.id, None, 100, "asc", alice)).data) == 80


# --- databases --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "hunter2",
        "",
        "postgresql://bob:hunter2@host:port/name",
        "postgresql:/bob:hunter2@host",
        "oracle://bob:hunter2@host/name",
        "nonsense://bob:hunter2@host/name",
        "postgresql+nonsense://bob:hunter2@host/name",
        "mysql+mysqlconnector://bob:hunter2@host/name",
        "postgresql+asyncpg://bob:hunter2@host/name",
        "sqlite+aiosqlite:///hunter2.db",
    ],
)
def test_wrong_uris_are_told_without_telling_them(uri: str) -> None:
    """A URI that can't be used is an error of the configuration, which does not show it."""
    with pytest.raises(ConfigurationError, match="CHATKIT_DATABASE_URI") as caught:
        SQLAlchemyStore(uri)
    assert "hunter2" not in str(caught.value)
    assert "sqlite:////srv/site/chat.db" in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "mysql", "mariadb"])
def test_passwords_are_in_no_error_and_no_log(
    scheme: str, alice: ChatContext, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that does not answer is an error without the password in it."""
    caplog.set_level(logging.DEBUG)
    store = SQLAlchemyStore(f"{scheme}://bob:hunter2@127.0.0.1:1/name")
    with pytest.raises(sa.exc.OperationalError) as caught:
        by_hand(store.load_threads(20, None, "desc", alice))
    store.close()
    assert "hunter2" not in f"{caught.value} {caught.value!r} {store!r} {vars(store)} {caplog.text}"


def test_errors_do_not_tell_what_people_wrote(memory: SQLAlchemyStore, alice: ChatContext) -> None:
    """An error of the database shows the statement, and not the message."""
    by_hand(memory.load_threads(20, None, "desc", alice))
    by_hand(memory._database.transaction(threads.drop))
    with pytest.raises(sa.exc.OperationalError) as caught:
        by_hand(memory.save_thread(new_thread(title="my illness"), alice))
    assert "chatkit_threads" in str(caught.value)
    assert "illness" not in str(caught.value)


def test_sources_that_cannot_be_used() -> None:
    """What is no database, and an engine whose threads see different ones, are told at once."""
    for source in (None, 17, object()):
        with pytest.raises(ConfigurationError, match="Engine of SQLAlchemy"):
            SQLAlchemyStore(source)
    engine = sa.create_engine("sqlite://")
    with pytest.raises(ConfigurationError, match="StaticPool"):
        SQLAlchemyStore(engine)


def test_sqlite_is_set_up(tmp_path: Path, alice: ChatContext) -> None:
    """The folder is made, readers and a writer work at once, and writers wait for each other."""
    path = tmp_path / "new" / "folder" / "chat.db"
    store = SQLAlchemyStore(f"sqlite:///{path}")
    assert not path.parent.exists()
    by_hand(store.save_thread(new_thread(), alice))
    wanted = {"journal_mode": "wal", "busy_timeout": 10_000, "synchronous": 1, "foreign_keys": 1}
    for name, value in wanted.items():
        assert raw(store, sa.text(f"PRAGMA {name}")) == [(value,)]
    store.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, alice: ChatContext) -> None:
    """A file in place of the folder is an error of the configuration."""
    (tmp_path / "file").write_text("")
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/file/chat.db")
    with pytest.raises(ConfigurationError, match="CHATKIT_DATABASE_URI"):
        by_hand(store.load_threads(20, None, "desc", alice))
    store.close()


def test_tables_for_those_who_migrate(tmp_path: Path, alice: ChatContext) -> None:
    """The tables are in a metadata that Alembic takes, and are made by nobody else if asked."""
    assert set(metadata.tables) == {
        *("chatkit_threads", "chatkit_items", "chatkit_attachments", "chatkit_feedback"),
        *("chatkit_counts", "chatkit_aliases", "chatkit_revocations", "chatkit_jobs"),
        *("chatkit_schema", "chatkit_deletions", "chatkit_claims"),
    }
    names = {part.name for table in metadata.tables.values() for part in table.indexes}
    names |= {part.name for table in metadata.tables.values() for part in table.constraints}
    assert None not in names
    assert all("chatkit_" in name for name in names)
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/chat.db", create_tables=False)
    with pytest.raises(sa.exc.OperationalError):
        by_hand(store.load_threads(20, None, "desc", alice))
    engine = sa.create_engine(f"sqlite:///{tmp_path}/chat.db")
    metadata.create_all(engine)
    engine.dispose()
    assert by_hand(store.load_threads(20, None, "desc", alice)) == Page()
    store.close()


@pytest.mark.parametrize("kind", ["file", "PostgreSQL", "MariaDB"])
def test_tables_are_made_by_all_at_once(
    kind: str, tmp_path: Path, missing: Missing, alice: ChatContext
) -> None:
    """Several that start at the same time on an empty database all succeed."""
    with ExitStack() as stack:
        uri = f"sqlite:///{tmp_path}/chat.db"
        if kind != "file":
            uri = stack.enter_context(fresh_database(kind, missing))
        stores = [SQLAlchemyStore(uri) for _ in range(6)]
        start = threading.Barrier(len(stores))
        saved: list[str] = []

        def begin(store: SQLAlchemyStore) -> None:
            start.wait()
            thread = new_thread()
            by_hand(store.save_thread(thread, alice))
            saved.append(thread.id)

        workers = [threading.Thread(target=begin, args=(store,)) for store in stores]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        page = by_hand(stores[0].load_threads(20, None, "asc", alice))
        for store in stores:
            store.close()
    assert sorted(ids(page)) == sorted(saved)
    assert len(saved) == len(stores)


def test_an_engine_of_the_site_is_used(tmp_path: Path, alice: ChatContext) -> None:
    """A site's own engine serves as it is, and stays open."""
    for engine in (
        sa.create_engine(f"sqlite:///{tmp_path}/site.db"),
        sa.create_engine(
            "sqlite://",
            poolclass=StaticPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"check_same_thread": False},
        ),
    ):
        store = SQLAlchemyStore(engine)
        thread = new_thread()
        asyncio.run(store.save_thread(thread, alice))
        by_hand(store.add_thread_item(thread.id, new_message(thread), alice))
        store.close()
        with engine.connect() as connection:
            assert connection.scalars(sa.select(threads.c.id)).all() == [thread.id]
        by_hand(store.delete_thread(thread.id, alice))
        # SQLite looks after references only where it is told to; the items are gone all the same.
        with engine.connect() as connection:
            assert connection.scalars(sa.select(items.c.id)).all() == []
        store.close()
        engine.dispose()


def test_one_extension_serves_two_apps(alice: ChatContext) -> None:
    """A Flask-SQLAlchemy extension is asked for the current application's engine each time."""
    db = SQLAlchemy()
    store = SQLAlchemyStore(db)
    saved = {}
    apps = [Flask("first"), Flask("second")]
    for app in apps:
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
        db.init_app(app)
        with app.app_context():
            saved[app] = new_thread(title=app.name)
            asyncio.run(store.save_thread(saved[app], alice))
    for app in apps:
        with app.app_context():
            page = asyncio.run(store.load_threads(20, None, "asc", alice))
            assert page.data == [saved[app]]
    with pytest.raises(RuntimeError, match="application context"):
        by_hand(store.load_threads(20, None, "asc", alice))
    store.close()
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.mark.parametrize("kind", ["PostgreSQL", "MariaDB"])
def test_a_server_that_was_restarted_is_asked_again(
    kind: str, uris: Callable, alice: ChatContext
) -> None:
    """A connection that died while nobody used it costs no visitor an error."""
    store = SQLAlchemyStore(uris(kind))
    thread = new_thread()
    by_hand(store.save_thread(thread, alice))
    process = sa.select(
        sa.func.pg_backend_pid() if kind == "PostgreSQL" else sa.func.connection_id()
    )
    ((number,),) = raw(store, process)
    killer = sa.create_engine(store._database._source, isolation_level="AUTOCOMMIT")
    stop = f"SELECT pg_terminate_backend({number})" if kind == "PostgreSQL" else f"KILL {number}"
    with killer.connect() as connection:
        connection.execute(sa.text(stop))
    killer.dispose()
    assert by_hand(store.load_thread(thread.id, alice)) == thread
    store.close()


def test_store_that_nobody_has_is_closed(tmp_path: Path, alice: ChatContext) -> None:
    """A store that nothing refers to any more leaves no connection behind."""
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/chat.db")
    asyncio.run(store.save_thread(new_thread(), alice))
    engine = weakref.ref(store._database._processes[os.getpid()].engine)
    del store
    end = time.monotonic() + 5
    while engine() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)
    assert engine() is None


# --- processes --------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.history.statements import list_items, list_threads
from flask_chatkit.server.history.store import SQLAlchemyStore
from flask_chatkit.testing.stores import new_message, new_thread
from flask_chatkit.identity.visitor import Visitor

store = SQLAlchemyStore(sys.argv[1])
alice = ChatContext(visitor=Visitor.login("alice"))
thread = new_thread(id="thr_shared")


async def main(number):
    await store.save_thread(thread, alice)
    for at in range(number):
        await store.add_thread_item(thread.id, new_message(thread, "x" * 5000), alice)
        print(at, flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[2])))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs in processes of their own."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_processes_share_a_file(tmp_path: Path, start: Callable) -> None:
    """Processes that write to one SQLite file at the same time, and make it, lose nothing."""
    uri = f"sqlite:///{tmp_path}/chat.db"
    writers = [start(WRITER, uri, "60") for _ in range(4)]
    for writer in writers:
        told, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0, told
    store = SQLAlchemyStore(uri)
    assert raw(store, sa.select(sa.func.count()).select_from(items)) == [(240,)]
    assert raw(store, sa.text("PRAGMA integrity_check")) == [("ok",)]
    store.close()


def test_a_killed_writer_leaves_a_readable_file(tmp_path: Path, start: Callable) -> None:
    """What was stored before a kill -9 is there afterwards, whole."""
    uri = f"sqlite:///{tmp_path}/chat.db"
    writer = start(WRITER, uri, "1000000")
    for _ in range(20):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.wait(10)
    store = SQLAlchemyStore(uri)
    alice = ChatContext(visitor=Visitor.login("alice"))
    assert raw(store, sa.text("PRAGMA integrity_check")) == [("ok",)]
    page = by_hand(store.load_thread_items("thr_shared", None, 100, "asc", alice))
    assert len(page.data) > last
    by_hand(store.delete_thread("thr_shared", alice))
    store.close()


FORKER = """
import asyncio, os, sys, warnings
import sqlalchemy
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.history.statements import list_items, list_threads
from flask_chatkit.server.history.store import SQLAlchemyStore
from flask_chatkit.testing.stores import new_message, new_thread
from flask_chatkit.identity.visitor import Visitor

warnings.simplefilter("ignore", DeprecationWarning)
uri, given = sys.argv[1:]
engine = sqlalchemy.create_engine(uri) if given == "engine" else None
store = SQLAlchemyStore(engine or uri)
alice = ChatContext(visitor=Visitor.login("forking"))
thread = new_thread()


async def write(number):
    await asyncio.gather(
        *(store.add_thread_item(thread.id, new_message(thread), alice) for _ in range(number))
    )


asyncio.run(store.save_thread(thread, alice))
asyncio.run(write(10))
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        asyncio.run(write(10))
        store.close()
        sys.exit(0)
    children.append(child)
asyncio.run(write(10))
for child in children:
    assert os.waitpid(child, 0)[1] == 0
asyncio.run(write(10))
print(len(asyncio.run(store.load_thread_items(thread.id, None, 100, "asc", alice)).data))
"""


@pytest.mark.parametrize("given", ["uri", "engine"])
@pytest.mark.parametrize("kind", ["file", "PostgreSQL", "MariaDB"])
def test_a_fork_after_use(kind: str, given: str, uris: Callable, start: Callable) -> None:
    """Processes that were forked from one that used the store each have their own connections."""
    uri = sa.make_url(uris(kind))
    if kind != "file":
        driver = {"PostgreSQL": "postgresql+psycopg", "MariaDB": "mysql+pymysql"}[kind]
        uri = uri.set(drivername=driver)
    process = start(FORKER, uri.render_as_string(hide_password=False), given)
    told, _ = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, "60\n")


# --- plans ------------------------------------------------------------------------------------


def statements(dialect: str) -> Iterator[tuple[str, Any]]:
    """The statements of pages, each with the index that it is read from."""
    for make, index in (
        (list_threads, "ix_chatkit_threads_owner_created_at_position"),
        (list_items, "ix_chatkit_items_thread_position"),
    ):
        for order in ("asc", "desc"):
            for after in (False, True):
                yield index, make(dialect, order, after)


def explain(store: SQLAlchemyStore, how: str, query: Any, keys: dict[str, Any]) -> list[Any]:
    def work(db: sa.Connection) -> list[Any]:
        bound = query.params(keys)
        sql = bound.compile(db.engine, compile_kwargs={"literal_binds": True})
        return db.exec_driver_sql(f"{how} {sql}").all()

    return by_hand(store._database.statement(work))


KEYS = {"owner_": "o", "thread_": "t", "item_": "i", "size": 21}


def test_sqlite_reads_lists_by_index(memory: SQLAlchemyStore, alice: ChatContext) -> None:
    """SQLite reads a page from an index, at its place, and sorts nothing."""
    by_hand(memory.load_threads(1, None, "asc", alice))
    for index, query in statements("sqlite"):
        plan = [row[3] for row in explain(memory, "EXPLAIN QUERY PLAN", query, KEYS)]
        steps = [step for step in plan if "SUBQUERY" not in step]
        assert all(step.startswith("SEARCH") and "INDEX" in step for step in steps), plan
        assert any(index in step for step in steps), plan


@pytest.mark.services
def test_postgresql_reads_lists_by_index(uris: Callable, alice: ChatContext) -> None:
    """PostgreSQL does so too, where one owner has almost all threads and one thread all items."""
    store = SQLAlchemyStore(uris("PostgreSQL"))
    thread = new_thread()
    by_hand(store.save_thread(thread, alice))

    def fill(db: sa.Connection) -> None:
        base = {"created_at": thread.created_at, "data": "x" * 200}
        owner = {"owner": owner_of(alice), "kit": "k", "chat": "c", "visitor": "v", **base}
        db.execute(sa.insert(threads), [{**owner, "id": f"t{n}"} for n in range(3000)])
        position = db.scalar(sa.select(threads.c.position).where(threads.c.id == thread.id))
        item = {"thread": position, "type": "task", **base}
        db.execute(sa.insert(items), [{**item, "id": f"i{n}"} for n in range(3000)])
        db.execute(sa.text("ANALYZE chatkit_threads, chatkit_items"))

    by_hand(store._database.transaction(fill))
    keys = {**KEYS, "owner_": owner_of(alice), "thread_": thread.id, "item_": "i1500"}
    for index, query in statements("postgresql"):
        plan = "\n".join(row[0] for row in explain(store, "EXPLAIN", query, keys))
        assert index in plan
        assert "Sort" not in plan
        assert "Seq Scan" not in plan
    by_hand(store._database.transaction(lambda db: db.execute(sa.delete(threads))))
    store.close()
