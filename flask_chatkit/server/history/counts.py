"""Daily counts and feedback in the history's database.

Each process gathers counts, see :class:`~flask_chatkit.activity.Tally`, and adds them to the table
in one statement when an answer has ended, at most once a second; refusals alone are written after
a minute. So no request and no answer waits for them, and a refusal causes no write.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from chatkit.store import NotFoundError
from sqlalchemy import Connection, Insert, bindparam, func, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from ...activity import Activity, Count
from ..streaming import loop
from .base import DatabaseStore
from .tables import counts, feedback, items, threads

if TYPE_CHECKING:
    from flask import Flask

    from .database import Database

logger = logging.getLogger("flask_chatkit")

#: Seconds between two writes of one process, while answers end.
EVERY = 1.0
#: Seconds after which counts are written if no answer ends.
LATEST = 60.0
#: Seconds that flushing waits for a write in progress.
LAST_SECONDS = 5.0
#: Rows per statement; SQLite allows 32,766 values.
ROWS = 1000

_EPOCH = date(1970, 1, 1)


def day_name(day: int) -> str:
    """The day as in the table, ``2026-11-28``.

    :param day: days since 1970-01-01.
    """
    return (_EPOCH + timedelta(days=day)).isoformat()


# --- statements ---------------------------------------------------------------------------------


def add_counts(db: Connection, kit: str, gathered: Mapping[Count, int]) -> None:
    """Add to the counts of a kit; several processes may do so concurrently."""
    # Sorted, so that two processes can't deadlock.
    rows = [
        {"day": day_name(key.day), "kit": kit, "chat": key.chat, "name": key.name, "count": count}
        for key, count in sorted(gathered.items())
    ]
    for start in range(0, len(rows), ROWS):
        db.execute(_add(db.dialect.name, rows[start : start + ROWS]))


def _add(dialect: str, rows: Sequence[Mapping[str, Any]]) -> Insert:
    if dialect in {"mysql", "mariadb"}:
        theirs = mysql.insert(counts).values(rows)
        return theirs.on_duplicate_key_update(count=counts.c.count + theirs.inserted.count)
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    ours = insert(counts).values(rows)
    return ours.on_conflict_do_update(
        index_elements=list(counts.primary_key.columns),
        set_={"count": counts.c.count + ours.excluded["count"]},
    )


def save_feedback(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store feedback on items of the owner's thread, or replace it.

    :param rows: each with ``owner_``, ``thread_``, ``item_``, ``kind_`` and ``now_``.
    :raises chatkit.store.NotFoundError: an item has just been deleted.
    """
    statement = _save_feedback(db.dialect.name)
    for row in rows:
        try:
            db.execute(statement, row)
        except IntegrityError:
            raise NotFoundError("there is nothing of this id") from None


@lru_cache
def _save_feedback(dialect: str) -> Insert:
    columns = ["thread", "item", "kind", "created_at"]
    source = (
        select(
            threads.c.position,
            *(
                bindparam(f"{name}_", type_=feedback.c[column].type).label(name)
                for name, column in (("item", "item"), ("kind", "kind"), ("now", "created_at"))
            ),
        )
    ).where(threads.c.id == bindparam("thread_"), threads.c.owner == bindparam("owner_"))
    if dialect in {"mysql", "mariadb"}:
        theirs = mysql.insert(feedback).from_select(columns, source)
        return theirs.on_duplicate_key_update(
            kind=theirs.inserted.kind, created_at=theirs.inserted.created_at
        )
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    ours = insert(feedback).from_select(columns, source)
    return ours.on_conflict_do_update(
        index_elements=[feedback.c.thread, feedback.c.item],
        set_={"kind": ours.excluded.kind, "created_at": ours.excluded.created_at},
    )


def read_figures(db: Connection, kit: str, since: datetime) -> dict[str, dict[str, int]]:
    """Read the counts of a kit since a time, by chat and name.

    ``thread``, ``message``, ``feedback.positive`` and ``feedback.negative`` come from the history,
    exact to the second. The names of :class:`~flask_chatkit.activity.Count` are counted by day,
    starting with the UTC day of the time.
    """
    found: dict[str, dict[str, int]] = defaultdict(dict)
    ours = threads.c.kit == kit
    of_items = items.join(threads, items.c.thread == threads.c.position)
    of_feedback = feedback.join(threads, feedback.c.thread == threads.c.position)
    for chat, number in db.execute(
        select(threads.c.chat, func.count())
        .where(ours, threads.c.created_at >= since)
        .group_by(threads.c.chat)
    ):
        found[chat]["thread"] = number
    for chat, number in db.execute(
        select(threads.c.chat, func.count())
        .select_from(of_items)
        .where(ours, items.c.type == "user_message", items.c.created_at >= since)
        .group_by(threads.c.chat)
    ):
        found[chat]["message"] = number
    for chat, kind, number in db.execute(
        select(threads.c.chat, feedback.c.kind, func.count())
        .select_from(of_feedback)
        .where(ours, feedback.c.created_at >= since)
        .group_by(threads.c.chat, feedback.c.kind)
    ):
        found[chat][f"feedback.{kind}"] = number
    for chat, name, number in db.execute(
        select(counts.c.chat, counts.c.name, func.sum(counts.c.count))
        .where(counts.c.kit == kit, counts.c.day >= since.date().isoformat())
        .group_by(counts.c.chat, counts.c.name)
    ):
        found[chat][name] = int(number)
    return found


def utc_now() -> datetime:
    """The current time in UTC."""
    return datetime.now(timezone.utc)


# --- writing what was counted -------------------------------------------------------------------


class CountsWriter:
    """Writes the counts of one kit on one application, gathered in this process.

    :param app: the application in whose context the database is used.
    :param activity: gathers the counts.
    """

    def __init__(self, app: Flask, activity: Activity) -> None:
        self._app = app
        self._activity = activity
        #: By chat name; the first also gets the counts of no chat and of hosted chats.
        self._stores: dict[str, DatabaseStore] = {}
        self._pid = os.getpid()
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._written = float("-inf")
        self._is_failing = False
        _writers.add(self)

    def add_store(self, chat: str, store: DatabaseStore) -> None:
        """Write the counts of a chat to a store's database from now on."""
        self._stores[chat] = store
        self._activity.on_count = self.note
        self.note(ends_answer=False)

    def note(self, ends_answer: bool) -> None:  # noqa: FBT001 - its only argument
        """Schedule a write; called in any thread when something was counted."""
        if self._pid != os.getpid():
            # The timer belongs to the loop of the parent process.
            self._pid, self._timer = os.getpid(), None
            self._is_idle.set()
        loop.current().call(self._soon if ends_answer else self._later)

    def flush(self) -> None:
        """Write all counts at once; blocks."""
        self._is_idle.wait(LAST_SECONDS)
        for store, gathered in self._take():
            try:
                _drive(store.add_counts(self._activity.kit, gathered))
            except Exception as error:  # noqa: BLE001 - as each database has its own
                self._failed(gathered, error)

    def _soon(self) -> None:
        self._schedule(max(0.0, self._written + EVERY - asyncio.get_running_loop().time()))

    def _later(self) -> None:
        self._schedule(LATEST)

    def _schedule(self, seconds: float) -> None:
        running = asyncio.get_running_loop()
        when = running.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = running.call_at(when, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._written = asyncio.get_running_loop().time()
        loop.current().start(self._write)

    async def _write(self) -> None:
        self._is_idle.clear()
        try:
            with self._app.app_context():
                for store, gathered in self._take():
                    try:
                        await store.add_counts(self._activity.kit, gathered)
                    except Exception as error:  # noqa: BLE001 - as each database has its own
                        self._failed(gathered, error)
                        self._later()
                    else:
                        self._is_failing = False
        finally:
            self._is_idle.set()

    def _take(self) -> Iterable[tuple[DatabaseStore, dict[Count, int]]]:
        """Take the counts since the last write, by the store to write them to."""
        if not self._stores:
            return
        first = next(iter(self._stores.values()))
        parts: dict[Database, tuple[DatabaseStore, dict[Count, int]]] = {}
        for key, count in self._activity.tally.take().items():
            store = self._stores.get(key.chat, first)
            parts.setdefault(store.database, (store, {}))[1][key] = count
        yield from parts.values()

    def _failed(self, gathered: Mapping[Count, int], error: Exception) -> None:
        self._activity.tally.put_back(gathered)
        if not self._is_failing:
            self._is_failing = True
            # The type alone, without a traceback: it is repeated each minute.
            logger.warning(
                "The daily counts could not be written (%s), and are kept until they can be",
                type(error).__name__,
            )


def _drive(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine of a store that never suspends without a running loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("the store waits for an event loop")


_writers: WeakSet[CountsWriter] = WeakSet()


def _flush_all() -> None:
    for writer in list(_writers):
        with writer._app.app_context():  # noqa: SLF001 - of this module
            writer.flush()


loop.at_end(_flush_all)
