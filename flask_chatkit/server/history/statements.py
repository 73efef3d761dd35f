"""The history's SQL: every statement asks for the owner.

Parameters end in an underscore; SQLAlchemy reserves the columns' own names for written values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

from chatkit.store import NotFoundError
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    ScalarSelect,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    tuple_,
    union,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from ...identity.visitor import Visitor
from ..context import owner_name
from .tables import attachments, items, threads

T = TypeVar("T")
Change = TypeVar("Change", Insert, Update)

#: The owner's thread of an id.
OWN_THREAD = (threads.c.id == bindparam("thread_"), threads.c.owner == bindparam("owner_"))
_OWN_ATTACHMENT = (
    attachments.c.id == bindparam("attachment_"),
    attachments.c.owner == bindparam("owner_"),
)
_OF_OWN_THREAD = (
    attachments.c.owner == bindparam("owner_"),
    attachments.c.thread == bindparam("thread_"),
)


def _own_thread(column: Column[Any] = threads.c.position) -> ScalarSelect[Any]:
    """A column of the owner's thread; NULL, which equals nothing, if there is none."""
    return select(column).where(*OWN_THREAD).scalar_subquery()


def _with_thread(statement: Change, table: Table) -> Change:
    """Have an attachment refer to its thread, if the owner has one of that id."""
    if table is not attachments:
        return statement
    return statement.values(thread=_own_thread(threads.c.id))


_OWN_ITEM = (items.c.thread == _own_thread(), items.c.id == bindparam("item_"))

LOAD_THREAD = select(threads.c.data).where(*OWN_THREAD)
LOAD_ITEM = select(items.c.data).where(*_OWN_ITEM)
DELETE_ITEM = delete(items).where(*_OWN_ITEM)
LOAD_ATTACHMENT = select(attachments.c.data).where(*_OWN_ATTACHMENT)
DELETE_ATTACHMENT = delete(attachments).where(*_OWN_ATTACHMENT)
_LOCK_THREAD = select(threads.c.position).where(*OWN_THREAD).with_for_update()
_DELETE_THREAD = delete(threads).where(threads.c.position == bindparam("position_"))
_DELETE_ITEMS = delete(items).where(items.c.thread == bindparam("position_"))
_LOAD_ATTACHMENTS = select(attachments.c.data).where(*_OF_OWN_THREAD)
_DELETE_ATTACHMENTS = delete(attachments).where(*_OF_OWN_THREAD)
_CHATS = union(
    *(
        select(table.c.chat).where(
            table.c.visitor == bindparam("visitor_"), table.c.kit == bindparam("kit_")
        )
        for table in (threads, attachments)
    )
)
_TRANSFER_THREADS = update(threads).where(threads.c.owner == bindparam("owner_"))
_TRANSFER_ATTACHMENTS = update(attachments).where(attachments.c.owner == bindparam("owner_"))


def found(value: T | None) -> T:
    """A value that was read.

    :raises chatkit.store.NotFoundError: it is None.
    """
    if value is None:
        raise NotFoundError("there is nothing of this id")
    return value


def changed(rows: int) -> None:
    """Check that a statement has changed a row.

    :raises chatkit.store.NotFoundError: it has not.
    """
    if rows < 1:
        raise NotFoundError("there is nothing of this id")


def delete_thread(db: Connection, keys: Mapping[str, Any]) -> list[str]:
    """Delete the owner's thread, its items and attachments; returns the attachments' data.

    :raises chatkit.store.NotFoundError: there is no such thread.
    """
    position = {"position_": found(db.scalar(_LOCK_THREAD, keys))}
    sent = list(db.scalars(_LOAD_ATTACHMENTS, keys))
    if sent:
        db.execute(_DELETE_ATTACHMENTS, keys)
    db.execute(_DELETE_ITEMS, position)
    db.execute(_DELETE_THREAD, position)
    return sent


def transfer_threads(db: Connection, kit: str, old: Visitor, new: Visitor) -> int:
    """Make a visitor's threads and attachments in a kit another visitor's; how many threads."""
    moved = 0
    for chat in db.scalars(_CHATS, {"kit_": kit, "visitor_": old.key}).all():
        # By the owner: for MySQL, visitors are equal that differ in a space at the end.
        change = {
            "owner_": owner_name(kit, chat, old),
            "owner": owner_name(kit, chat, new),
            "visitor": new.key,
        }
        moved += db.execute(_TRANSFER_THREADS, change).rowcount
        db.execute(_TRANSFER_ATTACHMENTS, change)
    return moved


@lru_cache
def list_threads(dialect: str, order: str, after: bool) -> Select[str]:  # noqa: FBT001 - a key
    """A page of the owner's threads.

    :param after: whether the page begins after the thread ``thread_``.
    """
    owner = bindparam("owner_", type_=threads.c.owner.type)
    # Not by position alone: imported threads are older than rows before them.
    keys = [threads.c.created_at, threads.c.position]
    seen = [_own_thread(key) for key in keys] if after else None
    return _list_page(threads.c.data, threads.c.owner, owner, keys, seen, dialect, order)


@lru_cache
def list_items(dialect: str, order: str, after: bool) -> Select[str]:  # noqa: FBT001 - a key
    """A page of the items of the owner's thread.

    :param after: whether the page begins after the item ``item_``.
    """
    last = items.alias("last")
    seen = (
        select(last.c.position)
        .where(last.c.thread == _own_thread(), last.c.id == bindparam("item_"))
        .scalar_subquery()
    )
    position = [items.c.position]
    return _list_page(
        items.c.data,
        items.c.thread,
        _own_thread(),
        position,
        [seen] if after else None,
        dialect,
        order,
    )


def _list_page(
    shown: Column[str],
    group: Column[Any],
    value: ColumnElement[Any],
    keys: Sequence[Column[Any]],
    seen: Sequence[ScalarSelect[Any]] | None,
    dialect: str,
    order: str,
) -> Select[str]:
    """A page of a group's rows, read from the index over group and keys."""
    forward, table = order == "asc", shown.table
    ordered: list[Column[Any]] = list(keys)
    where: list[ColumnElement[bool]] = []
    if dialect == "postgresql":
        # Where a group has many of the table's rows, PostgreSQL would scan all rows by position.
        # An order that begins with the group, and a range instead of an equality, make it use
        # the index.
        ordered = [group, *keys]
        where += [group >= value, group <= value]
        if seen is not None:
            here, there = tuple_(*ordered), tuple_(value, *seen)
            where.append(here > there if forward else here < there)
    else:
        where.append(group == value)
        if seen is not None:
            where.append(_is_past(keys, seen, forward=forward))
    statement = (
        select(shown)
        .where(*where)
        .order_by(*(key.asc() if forward else key.desc() for key in ordered))
        .limit(bindparam("size", type_=Integer))
    )
    for name in ("mysql", "mariadb"):
        index = f"ix_{table.name}_" + "_".join(column.name for column in (group, *keys))
        statement = statement.with_hint(table, f"FORCE INDEX ({index})", name)
    return statement


def _is_past(
    keys: Sequence[Column[Any]], seen: Sequence[ScalarSelect[Any]], *, forward: bool
) -> ColumnElement[bool]:
    """Whether a row comes after another one, in a form for which MySQL uses the index."""
    first, at = keys[0], seen[0]
    if len(keys) == 1:
        return first > at if forward else first < at
    further = and_(first == at, _is_past(keys[1:], seen[1:], forward=forward))
    if forward:
        return and_(first >= at, or_(first > at, further))
    return and_(first <= at, or_(first < at, further))


#: The columns that saving a row again updates.
_UPDATED: Mapping[str, Sequence[str]] = {
    "chatkit_threads": ("created_at", "data", "words"),
    "chatkit_items": ("type", "created_at", "data", "words"),
    "chatkit_attachments": ("thread", "data"),
}


@lru_cache
def _upsert(table: Table, dialect: str) -> Insert:
    """Insert a row, or replace the owner's; changes no row that is somebody else's."""
    theirs = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    statement = cast("postgresql.Insert", _with_thread(theirs, table))
    return (
        statement.on_conflict_do_update(
            index_elements=[table.c.id],
            set_={name: statement.excluded[name] for name in _UPDATED[table.name]},
            where=table.c.owner == statement.excluded.owner,
        )
        .inline()
        .execution_options(preserve_rowcount=True)
    )


@lru_cache
def save_item(dialect: str) -> Insert:
    """Insert or replace an item of the owner's thread; changes no row if there is no thread."""
    names = ["id", "type", "created_at", "data", "words"]
    source = select(
        threads.c.position,
        *(bindparam(f"new_{name}", type_=items.c[name].type).label(name) for name in names),
    ).where(*OWN_THREAD)
    columns = ["thread", *names]
    result: Insert
    if dialect in {"mysql", "mariadb"}:
        theirs = mysql.insert(items).from_select(columns, source)
        result = theirs.on_duplicate_key_update(
            {name: theirs.inserted[name] for name in _UPDATED[items.name]}
        )
    else:
        insert_into = sqlite.insert if dialect == "sqlite" else postgresql.insert
        ours = insert_into(items).from_select(columns, source)
        result = ours.on_conflict_do_update(
            index_elements=[items.c.thread, items.c.id],
            set_={name: ours.excluded[name] for name in _UPDATED[items.name]},
        )
    return result.execution_options(preserve_rowcount=True)


@lru_cache
def _replace(table: Table) -> Update:
    own = (table.c.id == bindparam("id_"), table.c.owner == bindparam("owner_"))
    return _with_thread(update(table).where(*own), table)


def update_row(db: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Replace the owner's row; the number of rows changed."""
    changes = {name: values[name] for name in _UPDATED[table.name] if name in values}
    keys = {"id_": values["id"], "owner_": values["owner"], "thread_": values.get("thread_")}
    return db.execute(_replace(table), keys | changes).rowcount


def save_row(db: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert a thread or an attachment, or replace the owner's.

    :raises chatkit.store.NotFoundError: the row is somebody else's, or its thread is gone.
    """
    if db.dialect.name not in {"mysql", "mariadb"}:
        try:
            changed(db.execute(_upsert(table, db.dialect.name), values).rowcount)
        except IntegrityError:
            # The thread of an attachment has just been deleted.
            raise NotFoundError("there is nothing of this id") from None
    # MySQL's upsert takes no condition.
    elif not update_row(db, table, values):
        try:
            db.execute(_with_thread(insert(table), table).inline(), values)
        except IntegrityError:
            # Somebody else's, or one that another request of the owner has just inserted.
            changed(update_row(db, table, values))
