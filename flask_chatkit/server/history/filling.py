"""Makes SQLite's full-text indexes, and adds the words to what an earlier release has stored.

A large history takes minutes for it. So it is done in short transactions, by a thread of its own,
while visitors chat; until then they find what is stored anew, and what is done.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from .search import INDEXED
from .tables import items, jobs, threads
from .words import item_words, thread_words

logger = logging.getLogger("flask_chatkit")

#: Rows whose words are added in one transaction, which must be short for visitors.
BATCH = 200
#: The job that is begun once, and noted when it is done.
FILL = "search words"

_WORDS: dict[Table, Callable[[dict[str, Any]], str]] = {threads: thread_words, items: item_words}


def add_fts5(db: Connection) -> None:
    """Make full-text indexes on SQLite, if it has FTS5.

    They are no part of the metadata: Alembic would take their tables for a site's.
    """
    if not db.scalar(text("SELECT sqlite_compileoption_used('ENABLE_FTS5')")):
        return
    for table in INDEXED:
        name, index = table.name, f"{table.name}_fts"
        if db.scalar(text("SELECT 1 FROM sqlite_master WHERE name = :name"), {"name": index}):
            continue
        db.exec_driver_sql(
            f"CREATE VIRTUAL TABLE {index} USING fts5(words, content='{name}', "
            "content_rowid='position', tokenize='ascii', detail='none', columnsize=0)"
        )
        add = (
            f"INSERT INTO {index}(rowid, words) "
            "SELECT NEW.position, NEW.words WHERE NEW.words <> ''"
        )
        remove = (
            f"INSERT INTO {index}({index}, rowid, words) "
            "SELECT 'delete', OLD.position, OLD.words WHERE OLD.words <> ''"
        )
        for event, steps in {
            "INSERT": (add,),
            "DELETE": (remove,),
            "UPDATE OF words": (remove, add),
        }.items():
            trigger = f"{index}_{event[:6].lower()}"
            body = " ".join(f"{step};" for step in steps)
            db.exec_driver_sql(f"CREATE TRIGGER {trigger} AFTER {event} ON {name} BEGIN {body} END")
        db.exec_driver_sql(
            f"INSERT INTO {index}(rowid, words) SELECT position, words FROM {name} "  # noqa: S608  constant names
            "WHERE words <> ''"
        )


def is_filled(db: Connection) -> bool:
    """Whether each row has its words; also where the tables can't be read."""
    done = select(jobs.c.name).where(jobs.c.kit == "", jobs.c.name == FILL)
    try:
        return db.scalar(done) is not None
    except DBAPIError:
        return True


def note_filled(db: Connection) -> None:
    """Note that each row has its words."""
    now = datetime.now(timezone.utc)
    try:
        with db.begin_nested():
            db.execute(insert(jobs), {"kit": "", "name": FILL, "begun_at": now})
    except IntegrityError:
        pass  # another process has


def fill(db: Connection, table: Table, after: int) -> int | None:
    """Add the words to a batch of rows that have none.

    :param after: the position before the batch.
    :returns: the last position of the batch; None at the end.
    """
    rows = db.execute(
        select(table.c.position, table.c.data)
        .where(table.c.words.is_(None), table.c.position > after)
        .order_by(table.c.position)
        .limit(BATCH)
    ).all()
    words = _WORDS[table]
    filled = [{"at": row.position, "found": words(json.loads(row.data))} for row in rows]
    if filled:
        # What was stored anew meanwhile has its words.
        own = (table.c.position == bindparam("at"), table.c.words.is_(None))
        found = bindparam("found", type_=table.c.words.type)
        db.execute(update(table).where(*own).values(words=found), filled)
    return rows[-1].position if rows else None


class Filling:
    """Adds the words to all rows that have none, in a thread, unless that is done.

    :param run: runs a function with a connection, in a ``transaction`` or not.
    """

    def __init__(self, run: Callable[..., Any]) -> None:
        self._stopped = threading.Event()
        # The function is not kept: it holds the database, which holds this.
        # A daemon: a process that ends does not wait for it.
        self._thread = threading.Thread(
            target=self._work, args=(run,), name="flask-chatkit-words", daemon=True
        )
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Stop after the batch that is under way, and wait for that so many seconds."""
        self._stopped.set()
        self._thread.join(seconds)

    def _work(self, run: Callable[..., Any]) -> None:
        try:
            if not self._stopped.is_set() and not run(is_filled, transaction=False):
                self._fill(run)
        except Exception:
            if not self._stopped.is_set():
                # The next process goes on where this one has stopped.
                logger.exception("What was stored before could not be made searchable")

    def _fill(self, run: Callable[..., Any]) -> None:
        for table in (threads, items):
            after: int | None = 0
            while after is not None:
                if self._stopped.is_set():
                    return
                after = run(partial(fill, table=table, after=after), transaction=True)
        run(note_filled, transaction=True)
