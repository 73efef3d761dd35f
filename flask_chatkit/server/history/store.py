"""The history of served chats, in a database that SQLAlchemy knows."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import cached_property, lru_cache
from typing import Any, Protocol, TypeVar, cast

from chatkit.store import NotFoundError, Store, StoreItemType
from chatkit.types import (
    Attachment,
    Page,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
    WorkflowItem,
)
from pydantic import TypeAdapter
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
from typing_extensions import override

from ...activity import Count
from ...identity.visitor import Visitor
from ..context import ChatContext, as_context, owner_name, owner_of
from ..ids import new_id, page_size
from ..surrogates import clean
from . import counts, records
from .claims import Claims
from .database import SECONDS, Database, Source
from .follow import follows, may_follow, move, signed_in_as
from .tables import LONGEST_ID, attachments, items, threads

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")
Change = TypeVar("Change", Insert, Update)

#: Seconds that all of a visitor's threads may take to become a login's.
HAND_OVER_SECONDS = 30.0
#: Seconds that counting a large history may take, for which no visitor waits.
FIGURES_SECONDS = 600.0

_THREAD: TypeAdapter[ThreadMetadata] = TypeAdapter(ThreadMetadata)
_ITEM: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)
_ATTACHMENT: TypeAdapter[Attachment] = TypeAdapter(Attachment)


class SQLAlchemyStore(Store[ChatContext]):
    """Keeps threads, their items and attachments, each for its owner and for nobody else.

    What is missing and what is somebody else's are the same to a caller:
    :class:`chatkit.store.NotFoundError`. Only a page of the items of such a thread is empty
    instead, as the package has it.

    Its methods work in threads of their own, so that a slow database does not keep the event loop
    waiting. Driven without a running loop they work at once and never suspend.

    :param source: a database URI, an engine of SQLAlchemy, or a Flask-SQLAlchemy extension.
    :param create_tables: whether missing tables are made at the first call; False for sites that
        migrate :data:`flask_chatkit.server.history.tables.metadata` themselves.
    :param seconds: how long a call may take before it is given up and its connection replaced.
    :raises ConfigurationError: the database can't be used.
    """

    #: Every method asks for the owner, so nothing has to be put around this store.
    isolates_owners = True
    #: Whether its methods wait for nothing when they are driven without a running loop.
    reads_at_once = True

    def __init__(
        self, source: Source, *, create_tables: bool = True, seconds: float = SECONDS
    ) -> None:
        self._database = Database(source, create_tables=create_tables, seconds=seconds)
        #: Applied to each attachment that is loaded: links are signed anew each time.
        self.present: Callable[[Attachment, ChatContext], Attachment] | None = None
        #: Told of the attachments that went with a thread, once that is certain.
        self.on_attachments_deleted: (
            Callable[[list[Attachment], ChatContext], Awaitable[None] | None] | None
        ) = None

    @property
    def database(self) -> Database:
        """Where it is, for what is done with more than one visitor's threads."""
        return self._database

    @cached_property
    def claims(self) -> Claims | None:
        """Who answers what; None where no other process can be asked."""
        return Claims(self._database) if self._database.is_shared else None

    def close(self) -> None:
        """End the store's threads and connections; an engine that it was given stays open."""
        self._database.close()

    @override
    def generate_thread_id(self, context: ChatContext) -> str:
        """A new id for a thread."""
        return new_id("thread")

    @override
    def generate_item_id(
        self, item_type: StoreItemType, thread: ThreadMetadata, context: ChatContext
    ) -> str:
        """A new id for an item."""
        return new_id(item_type)

    @follows
    async def load_thread(self, thread_id: str, context: ChatContext) -> ThreadMetadata:
        """A thread without its items."""
        keys = _keys(context, thread=thread_id)
        return await self._database.statement(
            lambda db: _THREAD.validate_json(_found(db.scalar(_LOAD_THREAD, keys)))
        )

    @follows
    async def save_thread(self, thread: ThreadMetadata, context: ChatContext) -> None:
        """Create a thread, or replace what is known of it.

        :raises chatkit.store.NotFoundError: it is somebody else's; or it was there when the
            request began, or all that the visitor had was, and has been deleted since.
        """
        meant = as_context(context)
        thread = thread.model_copy(update={"created_at": _utc(thread.created_at)})
        values = _owned(context) | {
            "id": _storable(thread.id),
            "created_at": thread.created_at,
            # The package also saves threads that carry a page of items.
            "data": clean(thread).model_dump_json(exclude={"items"}),
        }
        if meant.is_stored(thread.id):
            await self._database.statement(lambda db: _changed(_update(db, threads, values)))
        else:
            await self._save(threads, values, meant)
            meant.stored.add(thread.id)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: ChatContext
    ) -> Page[ThreadMetadata]:
        """A page of the owner's threads, by the time at which they were begun."""
        size = page_size(limit)
        order = _checked(order)
        keys = _keys(context, thread=after) if after is not None else _keys(context)

        def work(db: Connection) -> list[ThreadMetadata]:
            statement = _list_threads(db.dialect.name, order, after is not None)
            found = db.scalars(statement, {**keys, "size": size + 1}).all()
            if not found and after is not None:
                _found(db.scalar(_LOAD_THREAD, keys))
            return [_THREAD.validate_json(data) for data in found]

        return _page(await self._database.statement(work), size)

    async def delete_thread(self, thread_id: str, context: ChatContext) -> None:
        """Delete a thread, its items and its attachments."""
        keys = _keys(context, thread=thread_id)

        def work(db: Connection) -> list[Attachment]:
            position = {"position_": _found(db.scalar(_LOCK_THREAD, keys))}
            gone = [_ATTACHMENT.validate_json(data) for data in db.scalars(_OF_THREAD, keys)]
            if gone:
                db.execute(_DELETE_OF_THREAD, keys)
            db.execute(_DELETE_ITEMS, position)
            db.execute(_DELETE_THREAD, position)
            records.note_deletion(db, thread_id)
            return gone

        gone = await self._database.transaction(work)
        # Whoever deletes a thread may make one of the same id again.
        as_context(context).stored.discard(thread_id)
        if gone and self.on_attachments_deleted is not None:
            try:
                told = self.on_attachments_deleted(gone, as_context(context))
                if inspect.isawaitable(told):
                    await told
            except Exception:
                # The thread is gone, whatever becomes of its files.
                logger.exception("The files of a deleted thread could not be deleted")

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: ChatContext
    ) -> Page[ThreadItem]:
        """A page of a thread's items, in the order in which they were first added.

        It is empty for a thread that is missing or somebody else's.
        """
        if after is None and not _is_id(thread_id):
            return Page()
        size = page_size(limit)
        order = _checked(order)
        keys = _keys(context, thread=thread_id)
        if after is not None:
            keys = _keys(context, thread=thread_id, item=after)

        def work(db: Connection) -> list[ThreadItem]:
            statement = _list_items(db.dialect.name, order, after is not None)
            found = db.scalars(statement, {**keys, "size": size + 1}).all()
            if not found and after is not None:
                _found(db.scalar(_LOAD_ITEM, keys))
            return [_ITEM.validate_json(data) for data in found]

        page = _page(await self._database.statement(work), size)
        for item in page.data:
            self._present(item, context)
        return page

    @follows
    async def load_item(self, thread_id: str, item_id: str, context: ChatContext) -> ThreadItem:
        """One item of a thread."""
        keys = _keys(context, thread=thread_id, item=item_id)
        item = await self._database.statement(
            lambda db: _ITEM.validate_json(_found(db.scalar(_LOAD_ITEM, keys)))
        )
        self._present(item, context)
        return item

    @follows
    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        """Add an item to a thread; one that is there is replaced, and keeps its place."""
        item = item.model_copy(update={"created_at": _utc(item.created_at)})
        values = _keys(context, thread=thread_id) | {
            "new_id": _storable(item.id),
            "new_type": item.type,
            "new_created_at": item.created_at,
            "new_data": clean(item).model_dump_json(),
        }

        def work(db: Connection) -> None:
            _changed(db.execute(_save_item(db.dialect.name), values).rowcount)

        await self._database.statement(work)

    async def save_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        """Replace an item of a thread, or add it."""
        await self.add_thread_item(thread_id, item, context)

    @follows
    async def delete_thread_item(self, thread_id: str, item_id: str, context: ChatContext) -> None:
        """Delete one item of a thread, if it is there.

        The package takes back what an agent has begun to say when a guardrail stops it, and does
        not know what of it was stored.
        """
        keys = _keys(context, thread=thread_id, item=item_id)

        def work(db: Connection) -> None:
            if not db.execute(_DELETE_ITEM, keys).rowcount:
                _found(db.scalar(_LOAD_THREAD, keys))

        await self._database.statement(work)

    @follows
    async def save_attachment(self, attachment: Attachment, context: ChatContext) -> None:
        """Keep what is known of an attachment, its metadata included."""
        values = _owned(context) | {
            "id": _storable(attachment.id),
            "thread_": attachment.thread_id and _storable(attachment.thread_id),
            "created_at": datetime.now(timezone.utc),
            "data": clean(attachment).model_dump_json(),
        }
        await self._save(attachments, values, as_context(context))

    @follows
    async def load_attachment(self, attachment_id: str, context: ChatContext) -> Attachment:
        """What is known of an attachment."""
        keys = _keys(context, attachment=attachment_id)
        attachment = await self._database.statement(
            lambda db: _ATTACHMENT.validate_json(_found(db.scalar(_LOAD_ATTACHMENT, keys)))
        )
        return self.present(attachment, as_context(context)) if self.present else attachment

    async def delete_attachment(self, attachment_id: str, context: ChatContext) -> None:
        """Forget an attachment; its bytes are the attachment store's."""
        keys = _keys(context, attachment=attachment_id)
        await self._database.statement(
            lambda db: _changed(db.execute(_DELETE_ATTACHMENT, keys).rowcount)
        )

    async def save_feedback(
        self, thread_id: str, item_ids: Sequence[str], kind: str, context: ChatContext
    ) -> None:
        """Keep what a visitor thinks of items of a thread; the last word on an item counts.

        :param kind: ``positive`` or ``negative``.
        """
        values = {"kind_": kind, "now_": counts.utc_now()}
        rows = [
            _keys(context, thread=thread_id, item=item_id) | values
            for item_id in dict.fromkeys(item_ids)
        ]

        def work(db: Connection) -> None:
            statement = counts.save_feedback(db.dialect.name)
            for row in rows:
                try:
                    db.execute(statement, row)
                except IntegrityError:
                    # The item has just been deleted.
                    raise NotFoundError("there is nothing of this id") from None

        await self._database.transaction(work)

    async def add_counts(self, kit: str, gathered: Mapping[Count, int]) -> None:
        """Add to the daily counts of a kit.

        :param kit: the kit's own name.
        """
        await self._database.statement(lambda db: counts.add_counts(db, kit, gathered))

    async def read_figures(self, kit: str, since: datetime) -> dict[str, dict[str, int]]:
        """What happened in a kit's chats; see :func:`.history.counts.read_figures`.

        :param kit: the kit's own name.
        :param since: a time in UTC.
        """
        return await self._database.statement(
            lambda db: counts.read_figures(db, kit, since), seconds=FIGURES_SECONDS
        )

    async def transfer_threads(self, kit: str, old: Visitor, new: Visitor) -> int:
        """Make everything that a visitor has in a kit's chats another visitor's, at once.

        :param kit: the kit's own name.
        :returns: how many threads that were.
        """
        if old.key == new.key:
            return 0

        def work(db: Connection) -> int:
            moved = 0
            for chat in db.scalars(_CHATS, {"kit_": kit, "visitor_": old.key}).all():
                # By the owner: MySQL takes visitors for the same who differ in a space at the end.
                change = {
                    "owner_": owner_name(kit, chat, old),
                    "owner": owner_name(kit, chat, new),
                    "visitor": new.key,
                }
                moved += db.execute(_HAND_OVER_THREADS, change).rowcount
                db.execute(_HAND_OVER_ATTACHMENTS, change)
            return moved

        return await self._database.transaction(work, seconds=HAND_OVER_SECONDS)

    async def follow(self, context: ChatContext) -> bool:
        """Let a context stand for the login that its visitor has signed in as since it began."""
        if not may_follow(context):
            return False
        login = await self._database.statement(lambda db: signed_in_as(db, context))
        if login is not None:
            move(context, login)
        return login is not None

    async def add_alias(self, kit: str, old: Visitor, new: Visitor) -> None:
        """Note that an anonymous visitor has signed in, so that all that is theirs is found."""
        await self._database.transaction(lambda db: records.add_alias(db, kit, old, new))

    async def revoke(self, kit: str, visitor: Visitor, at: float) -> None:
        """Have what a visitor was given before a time refused, in Unix seconds."""
        moment = int(at * 1_000_000)
        await self._database.transaction(lambda db: records.revoke(db, kit, visitor, moment))

    async def revoked_at(self, kit: str, digest: str) -> float | None:
        """When what a visitor was given was last revoked, in Unix seconds; None if never.

        :param digest: :attr:`Visitor.digest <flask_chatkit.identity.visitor.Visitor.digest>`.
        """
        moment = await self._database.statement(lambda db: records.revoked_at(db, kit, digest))
        return None if moment is None else moment / 1_000_000

    async def _save(self, table: Table, values: Mapping[str, Any], context: ChatContext) -> None:
        values = {**values, "owner_": values["owner"]}

        def work(db: Connection) -> None:
            revoked = records.revoked_at(db, context.kit, context.visitor.digest)
            if context.is_revoked(revoked):
                # All that the visitor had was deleted while this request was under way.
                raise NotFoundError("there is nothing of this id")
            if not _is_mysql(db):
                try:
                    _changed(db.execute(_upsert(table, db.dialect.name), values).rowcount)
                except IntegrityError:
                    # The thread of an attachment has just been deleted.
                    raise NotFoundError("there is nothing of this id") from None
            # MySQL replaces without a condition or not at all.
            elif not _update(db, table, values):
                try:
                    db.execute(_with_thread(insert(table), table).inline(), values)
                except IntegrityError:
                    # Somebody else's, or our own that another request has just made.
                    _changed(_update(db, table, values))

        await self._database.statement(work)

    def _present(self, item: ThreadItem, context: ChatContext) -> None:
        if isinstance(item, UserMessageItem) and self.present is not None:
            meant = as_context(context)
            item.attachments = [self.present(one, meant) for one in item.attachments]
        elif isinstance(item, WorkflowItem):
            item.created_at = _Moment.of(item.created_at)


class _Moment(datetime):
    """A time in UTC that can be taken from a local time without a zone.

    ``chatkit.agents.stream_agent_response`` takes the creation of a workflow, which it goes on
    with after a client tool's answer, from ``datetime.now()``.
    """

    @classmethod
    def of(cls, time: datetime) -> _Moment:
        return cls.combine(time.date(), time.timetz())

    def __rsub__(self, other: datetime) -> timedelta:
        return other.astimezone() - datetime.combine(self.date(), self.timetz())


class _Entry(Protocol):
    @property
    def id(self) -> str: ...


Entry = TypeVar("Entry", bound=_Entry)


def _page(found: Sequence[Entry], size: int) -> Page[Entry]:
    """A page, of one entry more than it may have if there are more."""
    shown = list(found[:size])
    has_more = len(found) > size
    return Page(data=shown, has_more=has_more, after=shown[-1].id if has_more else None)


def _checked(order: str) -> str:
    if order not in {"asc", "desc"}:
        raise ValueError("order must be asc or desc")
    return order


def _is_id(value: object) -> bool:
    """Whether every database can store this as an id, and tell it from others."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_ID
        # PostgreSQL refuses NUL, MySQL ignores spaces at the end, and no driver encodes half a
        # character.
        and "\0" not in value
        and not value.endswith(" ")
        and not any("\ud800" <= letter <= "\udfff" for letter in value)
    )


def _storable(value: str) -> str:
    if not _is_id(value):
        raise ValueError(f"an id must have 1 to {LONGEST_ID} characters, with no space at its end")
    return value


def _keys(context: ChatContext, **ids: str) -> dict[str, Any]:
    """What the statements below ask for.

    :raises NotFoundError: one of the ids can't be anybody's.
    """
    if not all(map(_is_id, ids.values())):
        raise NotFoundError("there is nothing of this id")
    return {"owner_": owner_of(context)} | {f"{name}_": value for name, value in ids.items()}


def _owned(context: ChatContext) -> dict[str, Any]:
    meant = as_context(context)
    return {
        "owner": owner_of(meant),
        "kit": meant.kit,
        "chat": meant.chat,
        "visitor": meant.owner_key,
    }


def _found(value: T | None) -> T:
    if value is None:
        raise NotFoundError("there is nothing of this id")
    return value


def _changed(rows: int) -> None:
    if rows < 1:
        raise NotFoundError("there is nothing of this id")


def _utc(time: datetime) -> datetime:
    """A time in UTC; one without a zone is the machine's, as the package makes it."""
    return time.astimezone(timezone.utc)


# Parameters end in an underscore: SQLAlchemy keeps the columns' own names for what is written.


def _mine(column: Column[Any] = threads.c.position) -> ScalarSelect[Any]:
    """The position of the owner's thread of an id; NULL, which equals nothing, if there is none.

    :param column: what of the thread is wanted in the position's place.
    """
    return (
        select(column)
        .where(threads.c.id == bindparam("thread_"), threads.c.owner == bindparam("owner_"))
        .scalar_subquery()
    )


def _with_thread(statement: Change, table: Table) -> Change:
    """Have an attachment refer to its thread, if the owner has one of that id."""
    if table is not attachments:
        return statement
    owners = (
        select(threads.c.id)
        .where(threads.c.id == bindparam("thread_"), threads.c.owner == bindparam("owner_"))
        .scalar_subquery()
    )
    return statement.values(thread=owners)


_LOAD_THREAD = select(threads.c.data).where(
    threads.c.id == bindparam("thread_"), threads.c.owner == bindparam("owner_")
)
_LOCK_THREAD = (
    select(threads.c.position)
    .where(threads.c.id == bindparam("thread_"), threads.c.owner == bindparam("owner_"))
    .with_for_update()
)
_DELETE_THREAD = delete(threads).where(threads.c.position == bindparam("position_"))
_DELETE_ITEMS = delete(items).where(items.c.thread == bindparam("position_"))
_OF_THREAD = select(attachments.c.data).where(
    attachments.c.owner == bindparam("owner_"), attachments.c.thread == bindparam("thread_")
)
_DELETE_OF_THREAD = delete(attachments).where(
    attachments.c.owner == bindparam("owner_"), attachments.c.thread == bindparam("thread_")
)
_LOAD_ITEM = select(items.c.data).where(items.c.thread == _mine(), items.c.id == bindparam("item_"))
_DELETE_ITEM = delete(items).where(items.c.thread == _mine(), items.c.id == bindparam("item_"))
_LOAD_ATTACHMENT = select(attachments.c.data).where(
    attachments.c.id == bindparam("attachment_"), attachments.c.owner == bindparam("owner_")
)
_DELETE_ATTACHMENT = delete(attachments).where(
    attachments.c.id == bindparam("attachment_"), attachments.c.owner == bindparam("owner_")
)
_CHATS = union(
    *(
        select(table.c.chat).where(
            table.c.visitor == bindparam("visitor_"), table.c.kit == bindparam("kit_")
        )
        for table in (threads, attachments)
    )
)
_HAND_OVER_THREADS = update(threads).where(threads.c.owner == bindparam("owner_"))
_HAND_OVER_ATTACHMENTS = update(attachments).where(attachments.c.owner == bindparam("owner_"))


@lru_cache
def _list_threads(dialect: str, order: str, after: bool) -> Select[str]:  # noqa: FBT001 - a key
    owner = bindparam("owner_", type_=threads.c.owner.type)
    # Not by position alone: threads that were carried over are older than what is there.
    keys = [threads.c.created_at, threads.c.position]
    seen = [_mine(key) for key in keys] if after else None
    return _list(threads.c.data, threads.c.owner, owner, keys, seen, dialect, order)


@lru_cache
def _list_items(dialect: str, order: str, after: bool) -> Select[str]:  # noqa: FBT001 - a key
    last = items.alias("last")
    seen = (
        select(last.c.position)
        .where(last.c.thread == _mine(), last.c.id == bindparam("item_"))
        .scalar_subquery()
    )
    position = [items.c.position]
    return _list(
        items.c.data, items.c.thread, _mine(), position, [seen] if after else None, dialect, order
    )


def _list(
    shown: Column[str],
    group: Column[Any],
    value: ColumnElement[Any],
    keys: Sequence[Column[Any]],
    seen: Sequence[ScalarSelect[Any]] | None,
    dialect: str,
    order: str,
) -> Select[str]:
    """A page of a group's rows, from the index of group and keys, at its place."""
    forward, table = order == "asc", shown.table
    ordered: list[Column[Any]] = list(keys)
    where: list[ColumnElement[bool]] = []
    if dialect == "postgresql":
        # Where a group seems to have many of a table's rows, PostgreSQL reads all rows by their
        # position until it has met enough of the group. An order that begins with the group, and
        # a group that it can't know to be a single one, leave it only the right index.
        ordered = [group, *keys]
        where += [group >= value, group <= value]
        if seen is not None:
            here, there = tuple_(*ordered), tuple_(value, *seen)
            where.append(here > there if forward else here < there)
    else:
        where.append(group == value)
        if seen is not None:
            where.append(_past(keys, seen, forward=forward))
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


def _past(
    keys: Sequence[Column[Any]], seen: Sequence[ScalarSelect[Any]], *, forward: bool
) -> ColumnElement[bool]:
    """Whether a row comes after another one, said so that MySQL finds its place in the index."""
    first, at = keys[0], seen[0]
    if len(keys) == 1:
        return first > at if forward else first < at
    further = and_(first == at, _past(keys[1:], seen[1:], forward=forward))
    if forward:
        return and_(first >= at, or_(first > at, further))
    return and_(first <= at, or_(first < at, further))


#: What saving again changes.
_CHANGED: Mapping[str, Sequence[str]] = {
    "chatkit_threads": ("created_at", "data"),
    "chatkit_items": ("type", "created_at", "data"),
    "chatkit_attachments": ("thread", "data"),
}


@lru_cache
def _upsert(table: Table, dialect: str) -> Insert:
    """Insert, or replace what the owner has; no row is changed if it is somebody else's."""
    theirs = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    statement = cast("postgresql.Insert", _with_thread(theirs, table))
    return (
        statement.on_conflict_do_update(
            index_elements=[table.c.id],
            set_={name: statement.excluded[name] for name in _CHANGED[table.name]},
            where=table.c.owner == statement.excluded.owner,
        )
        .inline()
        .execution_options(preserve_rowcount=True)
    )


@lru_cache
def _save_item(dialect: str) -> Insert:
    """Insert into the owner's thread, or replace there; no row is changed if there is none."""
    names = ["id", "type", "created_at", "data"]
    source = select(
        threads.c.position,
        *(bindparam(f"new_{name}", type_=items.c[name].type).label(name) for name in names),
    ).where(threads.c.id == bindparam("thread_"), threads.c.owner == bindparam("owner_"))
    columns = ["thread", *names]
    result: Insert
    if dialect in {"mysql", "mariadb"}:
        theirs = mysql.insert(items).from_select(columns, source)
        result = theirs.on_duplicate_key_update(
            {name: theirs.inserted[name] for name in _CHANGED[items.name]}
        )
    else:
        insert_into = sqlite.insert if dialect == "sqlite" else postgresql.insert
        ours = insert_into(items).from_select(columns, source)
        result = ours.on_conflict_do_update(
            index_elements=[items.c.thread, items.c.id],
            set_={name: ours.excluded[name] for name in _CHANGED[items.name]},
        )
    return result.execution_options(preserve_rowcount=True)


@lru_cache
def _replace(table: Table) -> Update:
    mine = (table.c.id == bindparam("id_"), table.c.owner == bindparam("owner_"))
    return _with_thread(update(table).where(*mine), table)


def _update(db: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Replace what the owner has; how many rows that are."""
    changes = {name: values[name] for name in _CHANGED[table.name] if name in values}
    keys = {"id_": values["id"], "owner_": values["owner"], "thread_": values.get("thread_")}
    return db.execute(_replace(table), keys | changes).rowcount


def _is_mysql(db: Connection) -> bool:
    return db.dialect.name in {"mysql", "mariadb"}
