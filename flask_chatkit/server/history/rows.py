"""Finds, counts and deletes rows in batches: a person's, unused threads and unsent files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from . import records
from .tables import attachments, feedback, items, threads

#: Threads or files deleted in one transaction, which must be short for visitors.
BATCH = 100
#: Items read at once.
PAGE = 500


@dataclass(frozen=True)
class ThreadRow:
    """A row of the threads."""

    position: int
    id: str
    kit: str
    chat: str
    visitor: str
    created_at: datetime
    data: str


@dataclass(frozen=True)
class FileRow:
    """A row of the attachments."""

    position: int
    id: str
    kit: str
    chat: str
    visitor: str
    owner: str
    thread: str | None
    created_at: datetime
    data: str

    @property
    def details(self) -> dict[str, Any]:
        """The attachment, as serialised by openai-chatkit."""
        found: dict[str, Any] = json.loads(self.data)
        return found

    @property
    def is_ours(self) -> bool:
        """Whether its bytes are in the kit's files, and not in a site's own attachment store."""
        return "uploaded" in (self.details.get("metadata") or {})


@dataclass
class Removed:
    """How many rows were deleted."""

    threads: int = 0
    items: int = 0
    feedback: int = 0


def _columns(table: Table, row: type[ThreadRow | FileRow]) -> list[Any]:
    return [table.c[name] for name in row.__dataclass_fields__]


def threads_of(
    db: Connection, kit: str, keys: Collection[str], after: int, *, lock: bool = False
) -> list[ThreadRow]:
    """A batch of a person's threads, in the order in which they were first stored.

    :param lock: whether to lock the rows until the transaction ends.
    """
    return _rows_of(db, threads, ThreadRow, kit, keys, after, lock=lock)


def files_of(db: Connection, kit: str, keys: Collection[str], after: int) -> list[FileRow]:
    """A batch of a person's attachments."""
    return _rows_of(db, attachments, FileRow, kit, keys, after)


def _rows_of(
    db: Connection,
    table: Table,
    row: Any,
    kit: str,
    keys: Collection[str],
    after: int,
    *,
    lock: bool = False,
) -> list[Any]:
    while True:
        statement = (
            select(*_columns(table, row))
            .where(table.c.visitor.in_(keys), table.c.kit == kit, table.c.position > after)
            .order_by(table.c.position)
            .limit(BATCH)
        )
        found = [
            row(*one) for one in db.execute(statement.with_for_update() if lock else statement)
        ]
        # For MySQL, strings are equal that differ in trailing spaces.
        exact = [one for one in found if one.kit == kit and one.visitor in keys]
        if exact or not found:
            return exact
        after = found[-1].position


def items_of(db: Connection, found: Collection[int], after: tuple[int, int]) -> list[Any]:
    """A page of the items of threads, thread by thread.

    :param found: the threads' positions.
    :param after: the positions of the thread and the item before the page.
    """
    thread, position = after
    left = or_(items.c.thread > thread, and_(items.c.thread == thread, items.c.position > position))
    columns = (items.c.thread, items.c.position, items.c.created_at, items.c.data)
    statement = select(*columns).where(items.c.thread.in_(found), left)
    return list(db.execute(statement.order_by(items.c.thread, items.c.position).limit(PAGE)))


def feedback_of(db: Connection, found: Collection[int]) -> list[Any]:
    """The feedback in threads."""
    columns = (feedback.c.thread, feedback.c.item, feedback.c.kind, feedback.c.created_at)
    statement = select(*columns).where(feedback.c.thread.in_(found))
    return list(db.execute(statement.order_by(feedback.c.position)))


def remove_threads(db: Connection, found: Iterable[ThreadRow], *, dry_run: bool) -> Removed:
    """Delete threads with their items and feedback, and count these.

    Their attachments stay, without a thread, until the bytes are deleted.

    :param dry_run: whether to count only.
    """
    rows = list(found)
    positions = [row.position for row in rows]
    removed = Removed(
        threads=len(rows),
        items=_count(db, items, items.c.thread.in_(positions)),
        feedback=_count(db, feedback, feedback.c.thread.in_(positions)),
    )
    if not dry_run and rows:
        sent = attachments.c.thread.in_([row.id for row in rows])
        db.execute(update(attachments).where(sent).values(thread=None))
        # Explicitly: SQLite enforces foreign keys only on connections that enable them.
        db.execute(delete(feedback).where(feedback.c.thread.in_(positions)))
        db.execute(delete(items).where(items.c.thread.in_(positions)))
        removed.threads = db.execute(
            delete(threads).where(threads.c.position.in_(positions))
        ).rowcount
        for row in rows:
            records.note_deletion(db, row.id)
    return removed


def _count(db: Connection, table: Table, which: ColumnElement[bool]) -> int:
    return db.scalar(select(func.count()).select_from(table).where(which)) or 0


def files_sent_in(db: Connection, ids: Collection[str]) -> list[FileRow]:
    """The attachments of threads."""
    statement = select(*_columns(attachments, FileRow)).where(attachments.c.thread.in_(ids))
    return [FileRow(*one) for one in db.execute(statement.order_by(attachments.c.position))]


def remove_files(db: Connection, found: Iterable[FileRow]) -> int:
    """Delete rows of attachments; the number deleted."""
    positions = [row.position for row in found]
    if not positions:
        return 0
    return db.execute(delete(attachments).where(attachments.c.position.in_(positions))).rowcount


def unused_threads(
    db: Connection, kit: str, before: datetime, after: int, *, lock: bool
) -> tuple[list[ThreadRow], int | None]:
    """A batch of the threads of a kit without items since a time.

    :param after: the position before the batch.
    :param lock: whether to lock the rows until the transaction ends.
    :returns: the threads, and the last position of the batch; None at the end.
    """
    old = (
        select(*_columns(threads, ThreadRow))
        .where(threads.c.kit == kit, threads.c.position > after, threads.c.created_at < before)
        .order_by(threads.c.position)
        .limit(BATCH)
    )
    found = [ThreadRow(*one) for one in db.execute(old.with_for_update() if lock else old)]
    if not found:
        return [], None
    # Read once the threads are locked.
    used = db.scalars(
        select(items.c.thread)
        .where(items.c.thread.in_([row.position for row in found]), items.c.created_at >= before)
        .distinct()
    )
    busy = set(used)
    unused = [row for row in found if row.position not in busy and row.kit == kit]
    return unused, found[-1].position


def stray_items(db: Connection) -> list[int]:
    """A batch of the items whose thread is gone.

    On SQLite only: a plain DELETE left them before the tables had triggers.
    """
    if db.dialect.name != "sqlite":
        return []
    return list(db.scalars(select(items.c.position).where(~_HAS_THREAD).limit(10 * BATCH)))


def count_stray_items(db: Connection) -> int:
    """The number of items whose thread is gone."""
    return _count(db, items, ~_HAS_THREAD) if db.dialect.name == "sqlite" else 0


_HAS_THREAD = exists().where(threads.c.position == items.c.thread)


def remove_items(db: Connection, positions: Collection[int]) -> int:
    """Delete items; the number deleted."""
    return db.execute(delete(items).where(items.c.position.in_(positions))).rowcount


def unsent_files(db: Connection, kit: str, before: datetime, after: int) -> list[FileRow]:
    """A batch of a kit's attachments that were uploaded before a time and have no thread."""
    statement = (
        select(*_columns(attachments, FileRow))
        .where(
            attachments.c.kit == kit,
            attachments.c.thread.is_(None),
            attachments.c.created_at < before,
            attachments.c.position > after,
        )
        .order_by(attachments.c.position)
        .limit(BATCH)
    )
    return [FileRow(*one) for one in db.execute(statement)]


def find_message(db: Connection, file: FileRow, *, keep: bool) -> bool:
    """Whether a message of the owner contains an attachment that has no thread.

    :param keep: whether to assign the message's thread to it.
    """
    mentions = exists().where(
        items.c.thread == threads.c.position,
        items.c.type == "user_message",
        items.c.data.contains(json.dumps(file.id), autoescape=True),
    )
    found = db.scalar(select(threads.c.id).where(threads.c.owner == file.owner, mentions).limit(1))
    if found is not None and keep:
        own = attachments.c.position == file.position
        db.execute(update(attachments).where(own).values(thread=found))
    return found is not None


def known_files(db: Connection, ids: Collection[str]) -> set[str]:
    """Those of some ids that attachments have, of any owner."""
    return set(db.scalars(select(attachments.c.id).where(attachments.c.id.in_(ids))))


def has_imported(db: Connection, kit: str) -> bool:
    """Whether a kit has threads imported from OpenAI."""
    theirs = (threads.c.kit == kit, threads.c.id.startswith(records.HOSTED, autoescape=True))
    return db.scalar(select(threads.c.position).where(*theirs).limit(1)) is not None


def has_files(db: Connection) -> bool:
    """Whether there is any attachment."""
    return db.scalar(select(attachments.c.position).limit(1)) is not None
