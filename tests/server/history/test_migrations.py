"""Tables of an earlier release, brought up to date on first use or by Alembic."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from chatkit.store import NotFoundError

from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server import SQLAlchemyStore, metadata, upgrade_tables
from flask_chatkit.server.context import ChatContext, owner_of
from flask_chatkit.server.history import migrations
from flask_chatkit.server.history.engines import database_url
from flask_chatkit.server.history.tables import attachments, feedback, items, schema, threads
from flask_chatkit.testing.stores import new_attachment, new_message, new_thread
from tests.helpers.databases import fresh_database
from tests.helpers.paths import DOCS
from tests.helpers.schema_1 import STATEMENTS

Missing = Callable[[str, str], NoReturn]
ANN = ChatContext(visitor=Visitor.login("ann"))
BOB = ChatContext(visitor=Visitor.login("bob"))
LONG_AGO = datetime(2025, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(params=["SQLite", "PostgreSQL", "MariaDB"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, missing: Missing) -> Iterator[str]:
    """Make an empty database of each kind."""
    if request.param == "SQLite":
        yield f"sqlite:///{tmp_path}/chat.db"
    else:
        with fresh_database(request.param, missing) as uri:
            yield uri


@pytest.fixture
def engine(uri: str) -> Iterator[sa.Engine]:
    """Open a database as a site does that knows nothing of the package."""
    engine = sa.create_engine(database_url(uri))
    yield engine
    engine.dispose()


def run(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it suspended")


def fill(engine: sa.Engine, people: int = 2) -> None:
    """Make the tables of the earlier release, with rows: of people, and of threads long gone."""
    old = sa.MetaData()
    with engine.begin() as db:
        for statement in STATEMENTS[engine.dialect.name.replace("mariadb", "mysql")]:
            db.exec_driver_sql(" ".join(statement.split()))
        old.reflect(db)
        for number in range(people):
            context = (ANN, BOB)[number] if number < 2 else _stranger(number)
            owned = {
                "owner": owner_of(context),
                "kit": context.kit,
                "chat": context.chat,
                "visitor": context.visitor.key,
                "created_at": LONG_AGO,
            }
            thread = new_thread(id=f"thr_{number}")
            db.execute(
                old.tables["chatkit_threads"].insert(),
                {**owned, "id": thread.id, "data": thread.model_dump_json()},
            )
            item = new_message(thread, id=f"msg_{number}")
            position = db.scalar(sa.select(threads.c.position).where(threads.c.id == thread.id))
            db.execute(
                old.tables["chatkit_items"].insert(),
                {
                    "thread": position,
                    "id": item.id,
                    "type": item.type,
                    "created_at": LONG_AGO,
                    "data": item.model_dump_json(),
                },
            )
            for name, sent in (("sent", thread.id), ("unsent", None), ("lost", f"gone_{number}")):
                file = new_attachment(id=f"atc_{name}_{number}", thread_id=sent)
                db.execute(
                    old.tables["chatkit_attachments"].insert(),
                    {**owned, "id": file.id, "thread": sent, "data": file.model_dump_json()},
                )


def _stranger(number: int) -> ChatContext:
    return ChatContext(visitor=Visitor.login(f"stranger {number}"))


def dump(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Each row of the tables that the earlier release had."""
    names = ("chatkit_threads", "chatkit_items", "chatkit_attachments")
    with engine.connect() as db:
        return {
            name: [
                tuple(row)
                for row in db.execute(
                    sa.select(*(one for one in table.c if one.name != "words")).order_by(
                        table.c.position
                    )
                )
            ]
            for name, table in metadata.tables.items()
            if name in names
        }


def differences(engine: sa.Engine) -> list[Any]:
    """What Alembic would write into a revision."""
    with engine.connect() as db:
        ours = set(metadata.tables)
        context = MigrationContext.configure(
            db, opts={"include_name": lambda name, kind, _: kind != "table" or name in ours}
        )
        return list(compare_metadata(context, metadata))


def first_use(uri: str) -> None:
    store = SQLAlchemyStore(uri)
    run(store.load_threads(20, None, "asc", ANN))
    store.close()


# --- on first use -----------------------------------------------------------------------------


def test_old_tables_are_upgraded_without_a_loss(uri: str, engine: sa.Engine) -> None:
    """The first use brings old tables up to date; each row stays, and only lost threads go."""
    fill(engine, 20)
    before = dump(engine)
    assert differences(engine)
    first_use(uri)
    after = dump(engine)
    assert after["chatkit_threads"] == before["chatkit_threads"]
    assert after["chatkit_items"] == before["chatkit_items"]
    at = [column.name for column in attachments.columns].index("thread")
    wanted = [
        (*row[:at], None if str(row[at]).startswith("gone") else row[at], *row[at + 1 :])
        for row in before["chatkit_attachments"]
    ]
    assert after["chatkit_attachments"] == wanted
    assert differences(engine) == []
    with engine.connect() as db:
        assert db.scalars(sa.select(schema.c.version)).all() == [migrations.VERSION]


def test_new_tables_are_those_that_are_upgraded(uri: str, engine: sa.Engine) -> None:
    """Tables made at first use differ in nothing from the metadata that Alembic takes."""
    first_use(uri)
    assert differences(engine) == []


def test_positions_are_never_given_twice(uri: str, engine: sa.Engine) -> None:
    """An attachment that was deleted before the upgrade leaves its position to nobody."""
    fill(engine)
    with engine.begin() as db:
        last = db.scalar(sa.select(sa.func.max(attachments.c.position)))
        db.execute(sa.delete(attachments).where(attachments.c.position == last))
    store = SQLAlchemyStore(uri)
    file = new_attachment()
    run(store.save_attachment(file, ANN))
    store.close()
    with engine.connect() as db:
        position = sa.select(attachments.c.position).where(attachments.c.id == file.id)
        assert db.scalar(position) > last


def test_upgrading_again_changes_nothing(uri: str, engine: sa.Engine) -> None:
    """What is up to date is left alone, also where nobody wrote the version down."""
    fill(engine)
    first_use(uri)
    before = dump(engine)
    statements: list[str] = []
    with engine.begin() as db:
        db.execute(sa.delete(schema))
        sa.event.listen(db, "before_cursor_execute", lambda *told: statements.append(told[2]))
        upgrade_tables(db)
    first_use(uri)
    changes = [one for one in statements if one.startswith(("ALTER", "CREATE T", "DROP", "UPDATE"))]
    assert [one for one in changes if "IF NOT EXISTS" not in one] == []
    assert (dump(engine), differences(engine)) == (before, [])


def test_an_upgrade_that_broke_off_is_finished(
    uri: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends between two steps leaves tables that the next one goes on with."""
    fill(engine)

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_add_missing_indexes", killed)
        with pytest.raises(Killed):
            first_use(uri)
    first_use(uri)
    assert differences(engine) == []
    assert len(dump(engine)["chatkit_attachments"]) == 6


STARTER = """
import asyncio, os, sys
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.history.store import SQLAlchemyStore
from flask_chatkit.identity.visitor import Visitor

ann = ChatContext(visitor=Visitor.login("ann"))
wait, start = os.pipe()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        os.close(start)
        os.read(wait, 1)
        store = SQLAlchemyStore(sys.argv[1])
        found = asyncio.run(store.load_threads(20, None, "asc", ann)).data
        os._exit(0 if len(found) == 1 else 1)
    children.append(child)
os.close(start)
print([os.waitpid(child, 0)[1] for child in children])
"""


def test_all_processes_may_start_at_once(uri: str, engine: sa.Engine) -> None:
    """Several processes that meet old tables at the same time all go on to work."""
    fill(engine, 50)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STARTER, uri],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[0, 0, 0]\n", done.stderr
    assert differences(engine) == []
    assert len(dump(engine)["chatkit_attachments"]) == 150


def test_threads_of_a_process_may_start_at_once(uri: str, engine: sa.Engine) -> None:
    """Several stores of one process that meet old tables at the same time all succeed."""
    fill(engine)
    start = threading.Barrier(4)
    failed: list[BaseException] = []

    def begin() -> None:
        start.wait()
        try:
            first_use(uri)
        except BaseException as error:  # noqa: BLE001 - looked at below
            failed.append(error)

    workers = [threading.Thread(target=begin) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert differences(engine) == []


# --- references -------------------------------------------------------------------------------


def with_feedback(uri: str, engine: sa.Engine) -> SQLAlchemyStore:
    """A store of which Ann and Bob each have a thread, a message, two files and feedback."""
    fill(engine)
    store = SQLAlchemyStore(uri)
    run(store.load_threads(20, None, "asc", ANN))
    with engine.begin() as db:
        for item in db.execute(sa.select(items)).all():
            said = {"thread": item.thread, "item": item.id, "kind": "positive"}
            db.execute(sa.insert(feedback), {**said, "created_at": LONG_AGO})
    return store


def left(engine: sa.Engine) -> list[list[str]]:
    with engine.connect() as db:
        columns = (threads.c.id, items.c.id, attachments.c.id, feedback.c.item)
        return [sorted(db.scalars(sa.select(column))) for column in columns]


@pytest.mark.parametrize("how", ["plain", "store"])
def test_deleting_a_thread_leaves_nothing_of_it(uri: str, engine: sa.Engine, how: str) -> None:
    """A DELETE by hand of a thread takes its messages, files and feedback along, as the store's."""
    store = with_feedback(uri, engine)
    if how == "store":
        run(store.delete_thread("thr_0", ANN))
    elif engine.dialect.name == "sqlite":
        # As an operator does: no PRAGMA, no package.
        with closing(sqlite3.connect(engine.url.database)) as plain, plain:
            assert plain.execute("PRAGMA foreign_keys").fetchone() == (0,)
            plain.execute("DELETE FROM chatkit_threads WHERE visitor = 'user:ann'")
    else:
        with engine.begin() as db:
            db.exec_driver_sql("DELETE FROM chatkit_threads WHERE visitor = 'user:ann'")
    store.close()
    files = ["atc_lost_0", "atc_lost_1", "atc_sent_1", "atc_unsent_0", "atc_unsent_1"]
    assert left(engine) == [["thr_1"], ["msg_1"], files, ["msg_1"]]


def test_deleting_an_item_takes_its_feedback(uri: str, engine: sa.Engine) -> None:
    """A DELETE by hand of an item takes its feedback along, and nothing else."""
    with_feedback(uri, engine).close()
    with ExitStack() as stack:
        if engine.dialect.name == "sqlite":
            db: Any = stack.enter_context(closing(sqlite3.connect(engine.url.database)))
            db.execute("DELETE FROM chatkit_items WHERE id = 'msg_0'")
            db.commit()
        else:
            db = stack.enter_context(engine.begin())
            db.exec_driver_sql("DELETE FROM chatkit_items WHERE id = 'msg_0'")
    found = left(engine)
    assert found[0] == ["thr_0", "thr_1"]
    assert found[1] == found[3] == ["msg_1"]
    assert len(found[2]) == 6


def test_deleting_everything_leaves_nothing(uri: str, engine: sa.Engine) -> None:
    """A DELETE without a condition, which SQLite has a shortcut for, takes everything along."""
    with_feedback(uri, engine).close()
    with ExitStack() as stack:
        if engine.dialect.name == "sqlite":
            db: Any = stack.enter_context(closing(sqlite3.connect(engine.url.database)))
            db.execute("DELETE FROM chatkit_threads")
            db.commit()
        else:
            db = stack.enter_context(engine.begin())
            db.exec_driver_sql("DELETE FROM chatkit_threads")
    found = left(engine)
    assert (found[0], found[1], found[3]) == ([], [], [])
    assert all("sent" not in name or "unsent" in name for name in found[2])


def test_files_refer_to_their_owners_threads_only(uri: str, engine: sa.Engine) -> None:
    """A file that names somebody else's thread, or none that there is, goes with neither."""
    store = SQLAlchemyStore(uri)
    thread = new_thread()
    run(store.save_thread(thread, ANN))
    for context, sent in ((ANN, thread.id), (BOB, thread.id), (ANN, "thr_nowhere")):
        file = new_attachment(thread_id=sent)
        run(store.save_attachment(file, context))
        run(store.save_attachment(file, context))
        with engine.connect() as db:
            kept = db.scalar(sa.select(attachments.c.thread).where(attachments.c.id == file.id))
        mine = context is ANN and sent == thread.id
        assert kept == (thread.id if mine else None)
    run(store.delete_thread(thread.id, ANN))
    with pytest.raises(NotFoundError):
        run(store.load_thread(thread.id, ANN))
    assert run(store.load_attachment(file.id, ANN)) == file
    store.close()


# --- Alembic ----------------------------------------------------------------------------------

ENV = """
from alembic import context
from sqlalchemy import create_engine
from flask_chatkit.server import metadata

engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""


@pytest.mark.parametrize("begin", ["old", "empty"])
def test_alembic_recipe_upgrades(
    uri: str, engine: sa.Engine, tmp_path: Path, begin: str, recipe: str
) -> None:
    """The revision of the docs brings old tables up to date, or makes them, and then all agrees."""
    if begin == "old":
        fill(engine)
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "script.py.mako").write_text("${upgrades}\n${downgrades}\n")
    (folder / "versions" / "chatkit_2.py").write_text(recipe)
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("sqlalchemy.url", engine.url.render_as_string(hide_password=False))
    command.upgrade(config, "head")
    command.check(config)
    assert differences_but_alembics(engine) == []
    store = SQLAlchemyStore(uri, create_tables=False)
    page = run(store.load_threads(20, None, "asc", ANN))
    store.close()
    assert [thread.id for thread in page.data] == (["thr_0"] if begin == "old" else [])
    if engine.dialect.name == "sqlite":
        with engine.connect() as db:
            found = db.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            assert set(found.scalars()) == {"chatkit_threads_deleted", "chatkit_items_deleted"}


def differences_but_alembics(engine: sa.Engine) -> list[Any]:
    return [one for one in differences(engine) if "alembic_version" not in str(one)]


@pytest.fixture
def recipe() -> str:
    """Read the revision that the docs show."""
    page = (DOCS / "operations.md").read_text("utf-8")
    section = page.partition("## Migrations with Alembic")[2]
    snippet = section.partition("```python")[2].partition("```")[0]
    assert "down_revision" in snippet
    return snippet
