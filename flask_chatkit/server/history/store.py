"""The history of served chats, in a database of SQLAlchemy's."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from chatkit.store import NotFoundError
from chatkit.types import (
    Attachment,
    Page,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
    WorkflowItem,
)
from pydantic import TypeAdapter
from sqlalchemy import Connection, Table
from typing_extensions import Self, override

from ...activity import Count
from ...identity.visitor import Visitor
from ..context import ChatContext, as_context
from ..ids import page_size
from ..surrogates import clean
from . import counts, records, search, statements
from .base import DatabaseStore, DeletesBytes, FoundThread, SignsLinks
from .branches import begins_answer, begins_nothing, hides_branch
from .claims import Claims
from .database import SECONDS, Database, Source
from .follow import follows, may_follow, move, signed_in_as
from .statements import changed, found
from .tables import attachments, threads
from .values import (
    UTCDatetime,
    as_utc,
    checked_order,
    is_id,
    keys_of,
    make_page,
    owner_columns,
    storable_id,
)
from .words import item_words, words_of

logger = logging.getLogger("flask_chatkit")

#: Seconds that transferring all of a visitor's threads to a login may take.
TRANSFER_SECONDS = 30.0
#: Seconds that counting a large history may take; no visitor waits for it.
FIGURES_SECONDS = 600.0

_THREAD: TypeAdapter[ThreadMetadata] = TypeAdapter(ThreadMetadata)
_ITEM: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)
_ATTACHMENT: TypeAdapter[Attachment] = TypeAdapter(Attachment)


class SQLAlchemyStore(DatabaseStore):
    """Stores threads, their items and attachments, each visible to its owner only.

    What is missing and what is somebody else's raise the same
    :class:`chatkit.store.NotFoundError`. Only a page of the items of such a thread is empty
    instead, as in openai-chatkit.

    The methods run in worker threads, so that a slow database does not block the event loop.
    Driven without a running loop they run at once and never suspend.

    :param source: a database URI, an engine of SQLAlchemy, or a Flask-SQLAlchemy extension.
    :param create_tables: whether missing tables are created at the first call; False for sites
        that migrate :data:`flask_chatkit.server.history.tables.metadata` themselves.
    :param seconds: seconds that a call may take before its connection is replaced.
    :param links: signs the links of attachments that are loaded; None leaves them as stored.
    :param files: deletes the bytes of attachments together with their thread; None keeps them.
    :raises ConfigurationError: the database can't be used.
    """

    #: Whether its methods never suspend when they are driven without a running loop.
    reads_at_once = True

    def __init__(
        self,
        source: Source,
        *,
        create_tables: bool = True,
        seconds: float = SECONDS,
        links: SignsLinks | None = None,
        files: DeletesBytes | None = None,
    ) -> None:
        self._database = Database(source, create_tables=create_tables, seconds=seconds)
        self._links = links
        self._files = files

    @override
    def with_files(self, links: SignsLinks, files: DeletesBytes) -> Self:
        if self._links is links and self._files is files:
            return self
        store = copy.copy(self)
        store._links, store._files = links, files  # noqa: SLF001  of this class
        return store

    @property
    def database(self) -> Database:
        """The database, for work on more than one visitor's threads."""
        return self._database

    @cached_property
    def claims(self) -> Claims | None:
        """The messages that processes are answering; None where no other process can ask."""
        return Claims(self._database) if self._database.is_shared else None

    def close(self) -> None:
        """Close the store's threads and connections; a site's engine stays open."""
        self._database.close()

    @follows
    async def load_thread(self, thread_id: str, context: ChatContext) -> ThreadMetadata:
        """A thread without its items."""
        keys = keys_of(context, thread=thread_id)
        return await self._database.statement(
            lambda db: _THREAD.validate_json(found(db.scalar(statements.LOAD_THREAD, keys)))
        )

    @follows
    async def save_thread(self, thread: ThreadMetadata, context: ChatContext) -> None:
        """Create a thread, or replace its metadata.

        :raises chatkit.store.NotFoundError: it is somebody else's; or it was deleted, or all of
            the visitor's data was, since the request began.
        """
        meant = as_context(context)
        thread = thread.model_copy(update={"created_at": as_utc(thread.created_at)})
        values = owner_columns(context) | {
            "id": storable_id(thread.id),
            "created_at": thread.created_at,
            # openai-chatkit also saves threads that contain a page of items.
            "data": clean(thread).model_dump_json(exclude={"items"}),
            "words": words_of(thread.title or ""),
        }
        if meant.is_stored(thread.id):
            await self._database.statement(
                lambda db: changed(statements.update_row(db, threads, values))
            )
        else:
            await self._save(threads, values, meant)
            meant.stored.add(thread.id)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: ChatContext
    ) -> Page[ThreadMetadata]:
        """A page of the owner's threads, ordered by creation time."""
        size = page_size(limit)
        order = checked_order(order)
        keys = keys_of(context, thread=after) if after is not None else keys_of(context)

        def work(db: Connection) -> list[ThreadMetadata]:
            statement = statements.list_threads(db.dialect.name, order, after is not None)
            rows = db.scalars(statement, {**keys, "size": size + 1}).all()
            if not rows and after is not None:
                found(db.scalar(statements.LOAD_THREAD, keys))
            return [_THREAD.validate_json(data) for data in rows]

        return make_page(await self._database.statement(work), size)

    async def search_threads(
        self, query: str, limit: int, context: ChatContext
    ) -> Page[FoundThread]:
        """The owner's threads, newest first, in which words begin with all those of a query."""
        size = page_size(limit)
        owner = keys_of(context)["owner_"]
        found = await self._database.statement(lambda db: search.search(db, owner, query, size + 1))
        shown = [
            FoundThread(_THREAD.validate_json(one.data), one.item_id, one.excerpt)
            for one in found[:size]
        ]
        return Page(data=shown, has_more=len(found) > size)

    async def delete_thread(self, thread_id: str, context: ChatContext) -> None:
        """Delete a thread, its items and its attachments."""
        keys = keys_of(context, thread=thread_id)

        def work(db: Connection) -> list[Attachment]:
            sent = statements.delete_thread(db, keys)
            records.note_deletion(db, thread_id)
            return [_ATTACHMENT.validate_json(data) for data in sent]

        sent = await self._database.transaction(work)
        # A thread that is deleted may be created again under the same id.
        as_context(context).stored.discard(thread_id)
        if sent and self._files is not None:
            try:
                await _delete_bytes(self._files, sent)
            except Exception:
                # The thread is deleted, whatever happens to its files.
                logger.exception("The files of a deleted thread could not be deleted")

    @hides_branch
    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: ChatContext
    ) -> Page[ThreadItem]:
        """A page of a thread's items, in the order in which they were first added.

        The page is empty if the thread is missing or somebody else's.
        """
        if after is None and not is_id(thread_id):
            return Page()
        size = page_size(limit)
        order = checked_order(order)
        keys = keys_of(context, thread=thread_id)
        if after is not None:
            keys = keys_of(context, thread=thread_id, item=after)

        def work(db: Connection) -> list[ThreadItem]:
            statement = statements.list_items(db.dialect.name, order, after is not None)
            rows = db.scalars(statement, {**keys, "size": size + 1}).all()
            if not rows and after is not None:
                found(db.scalar(statements.LOAD_ITEM, keys))
            return [_ITEM.validate_json(data) for data in rows]

        page = make_page(await self._database.statement(work), size)
        for item in page.data:
            self._prepare(item, context)
        return page

    @follows
    async def load_item(self, thread_id: str, item_id: str, context: ChatContext) -> ThreadItem:
        """One item of a thread."""
        keys = keys_of(context, thread=thread_id, item=item_id)
        item = await self._database.statement(
            lambda db: _ITEM.validate_json(found(db.scalar(statements.LOAD_ITEM, keys)))
        )
        self._prepare(item, context)
        return item

    @begins_answer
    @follows
    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        """Add an item to a thread; an existing one is replaced in its place."""
        item = item.model_copy(update={"created_at": as_utc(item.created_at)})
        values = keys_of(context, thread=thread_id) | {
            "new_id": storable_id(item.id),
            "new_type": item.type,
            "new_created_at": item.created_at,
            "new_data": (data := clean(item).model_dump_json()),
            "new_words": item_words(json.loads(data)),
        }

        def work(db: Connection) -> None:
            changed(db.execute(statements.save_item(db.dialect.name), values).rowcount)

        await self._database.statement(work)

    @begins_nothing
    async def save_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        """Replace an item of a thread, or add it."""
        await self.add_thread_item(thread_id, item, context)

    @follows
    async def delete_thread_item(self, thread_id: str, item_id: str, context: ChatContext) -> None:
        """Delete one item of a thread, if it exists.

        When a guardrail stops an agent, openai-chatkit deletes the items of its answer without
        knowing which of them were stored.
        """
        keys = keys_of(context, thread=thread_id, item=item_id)

        def work(db: Connection) -> None:
            if not db.execute(statements.DELETE_ITEM, keys).rowcount:
                found(db.scalar(statements.LOAD_THREAD, keys))

        await self._database.statement(work)

    @follows
    async def save_attachment(self, attachment: Attachment, context: ChatContext) -> None:
        """Store an attachment's description, including its metadata."""
        values = owner_columns(context) | {
            "id": storable_id(attachment.id),
            "thread_": attachment.thread_id and storable_id(attachment.thread_id),
            "created_at": datetime.now(timezone.utc),
            "data": clean(attachment).model_dump_json(),
        }
        await self._save(attachments, values, as_context(context))

    @follows
    async def load_attachment(self, attachment_id: str, context: ChatContext) -> Attachment:
        """The description of an attachment."""
        keys = keys_of(context, attachment=attachment_id)
        attachment = await self._database.statement(
            lambda db: _ATTACHMENT.validate_json(found(db.scalar(statements.LOAD_ATTACHMENT, keys)))
        )
        return self._sign_links(attachment, as_context(context))

    async def delete_attachment(self, attachment_id: str, context: ChatContext) -> None:
        """Delete an attachment's description; the attachment store deletes its bytes."""
        keys = keys_of(context, attachment=attachment_id)
        await self._database.statement(
            lambda db: changed(db.execute(statements.DELETE_ATTACHMENT, keys).rowcount)
        )

    async def save_feedback(
        self, thread_id: str, item_ids: Sequence[str], kind: str, context: ChatContext
    ) -> None:
        """Store a visitor's feedback on items of a thread; each replaces an earlier one.

        :param kind: ``positive`` or ``negative``.
        """
        values = {"kind_": kind, "now_": counts.utc_now()}
        rows = [
            keys_of(context, thread=thread_id, item=item_id) | values
            for item_id in dict.fromkeys(item_ids)
        ]

        await self._database.transaction(lambda db: counts.save_feedback(db, rows))

    async def add_counts(self, kit: str, gathered: Mapping[Count, int]) -> None:
        """Add to the daily counts of a kit.

        :param kit: the kit's own name.
        """
        await self._database.statement(lambda db: counts.add_counts(db, kit, gathered))

    async def read_figures(self, kit: str, since: datetime) -> dict[str, dict[str, int]]:
        """Read the counts of a kit; see :func:`.history.counts.read_figures`.

        :param kit: the kit's own name.
        :param since: a time in UTC.
        """
        return await self._database.statement(
            lambda db: counts.read_figures(db, kit, since), seconds=FIGURES_SECONDS
        )

    async def transfer_threads(self, kit: str, old: Visitor, new: Visitor) -> int:
        """Transfer a visitor's threads and attachments in a kit to another visitor, atomically.

        :param kit: the kit's own name.
        :returns: the number of threads.
        """
        if old.key == new.key:
            return 0
        return await self._database.transaction(
            lambda db: statements.transfer_threads(db, kit, old, new), seconds=TRANSFER_SECONDS
        )

    async def follow(self, context: ChatContext) -> bool:
        """Move a context to the login that its visitor has signed in as since the request began."""
        if not may_follow(context):
            return False
        login = await self._database.statement(lambda db: signed_in_as(db, context))
        if login is not None:
            move(context, login)
        return login is not None

    async def add_alias(self, kit: str, old: Visitor, new: Visitor) -> None:
        """Record as whom an anonymous visitor has signed in, so that their data is found."""
        await self._database.transaction(lambda db: records.add_alias(db, kit, old, new))

    async def revoke(self, kit: str, visitor: Visitor, at: float) -> None:
        """Revoke what a visitor was given before a time, in Unix seconds."""
        moment = int(at * 1_000_000)
        await self._database.transaction(lambda db: records.revoke(db, kit, visitor, moment))

    async def revoked_at(self, kit: str, digest: str) -> float | None:
        """When a visitor's sessions were last revoked, in Unix seconds; None if never.

        :param digest: :attr:`Visitor.digest <flask_chatkit.identity.visitor.Visitor.digest>`.
        """
        moment = await self._database.statement(lambda db: records.revoked_at(db, kit, digest))
        return None if moment is None else moment / 1_000_000

    async def _save(self, table: Table, values: Mapping[str, Any], context: ChatContext) -> None:
        values = {**values, "owner_": values["owner"]}

        def work(db: Connection) -> None:
            if context.is_revoked(records.revoked_at(db, context.kit, context.visitor.digest)):
                # All of the visitor's data was deleted during this request.
                raise NotFoundError("there is nothing of this id")
            statements.save_row(db, table, values)

        await self._database.statement(work)

    def _sign_links(self, attachment: Attachment, context: ChatContext) -> Attachment:
        return self._links.sign_links(attachment, context) if self._links else attachment

    def _prepare(self, item: ThreadItem, context: ChatContext) -> None:
        """Make an item that was read ready for openai-chatkit."""
        if isinstance(item, UserMessageItem) and item.attachments:
            meant = as_context(context)
            item.attachments = [self._sign_links(one, meant) for one in item.attachments]
        elif isinstance(item, WorkflowItem):
            item.created_at = UTCDatetime.of(item.created_at)


async def _delete_bytes(files: DeletesBytes, gone: list[Attachment]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        files.delete_bytes(gone)
    else:
        await asyncio.to_thread(files.delete_bytes, gone)
