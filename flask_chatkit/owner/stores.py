"""The places where a kit has data: its databases, the site's own stores, and files."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from chatkit.store import NotFoundError
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata, UserMessageItem
from sqlalchemy import Connection

from ..chats.hosted import HostedChat
from ..chats.served import ServedChat
from ..errors import ChatKitError
from ..hosted.threads import HostedThreads
from ..identity.visitor import Visitor
from ..registry import ChatKitState
from ..server.context import ChatContext
from ..server.history import records, rows
from ..server.history.base import DatabaseStore
from ..server.history.database import Database
from ..server.ids import LONGEST_PAGE
from ..server.protocol.dispatcher import Dispatcher
from ..server.streaming.run import run_at_once, run_sync

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: Seconds that one step may take: a page, a batch, or deleting a file.
STEP_SECONDS = 120.0


class Problems(list[str]):
    """What failed, each problem once, in words for the site's owner."""

    def add(self, what: str, error: BaseException) -> None:
        """Add a failure; the log has its traceback."""
        # Without a driver's message, which may contain a password or what people wrote.
        where = "".join(traceback.format_tb(error.__traceback__))
        logger.error("%s: %s, raised here:\n%s", what, type(error).__name__, where)
        detail = str(error) if isinstance(error, ChatKitError) else ""
        problem = f"{what}: {type(error).__name__}" + (f" ({detail})" if detail else "")
        if problem not in self:
            self.append(problem)

    def collect(self, what: str) -> _Collected:
        """A ``with`` block whose failure is added, so that the rest goes on."""
        return _Collected(self, what)


class _Collected:
    def __init__(self, problems: Problems, what: str) -> None:
        self._problems = problems
        self._what = what

    def __enter__(self) -> None:
        """Nothing is needed."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        # Of any database, driver or code of the site's.
        if isinstance(error, Exception):
            self._problems.add(self._what, error)
            return True
        return False


class Rows:
    """A database with the kit's own tables.

    :param store: its store.
    """

    def __init__(self, store: DatabaseStore) -> None:
        self._database = store.database

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that only reads."""
        return run_at_once(
            lambda: self._database.statement(work, seconds=STEP_SECONDS), STEP_SECONDS
        )

    def change(self, work: Callable[[Connection], T]) -> T:
        """Run a function in a transaction."""
        return run_sync(
            None, lambda: self._database.transaction(work, seconds=STEP_SECONDS), STEP_SECONDS
        )


class Walk:
    """A site's own store in one chat, which is read by its methods only.

    :param kit: the kit's own name.
    :param dispatcher: the chat's dispatcher.
    """

    def __init__(self, kit: str, dispatcher: Dispatcher) -> None:
        self.chat = dispatcher.chat
        self._kit = kit
        self.dispatcher = dispatcher
        self.store = dispatcher.server.store

    def context(self, visitor: Visitor, owner: str | None = None) -> ChatContext:
        """A context for a visitor's threads."""
        return ChatContext(visitor=visitor, kit=self._kit, chat=self.chat.name, owner=owner)

    def made(self, context: ChatContext) -> Any:
        """The site's own context for one of the kit's."""
        return self.chat.context(context) if self.chat.context else context

    def ask(self, context: ChatContext, ask: Callable[[Any], Any]) -> Any:
        """Call the store with a context, on the loop."""

        async def act() -> Any:
            return await ask(self.made(context))

        return run_sync(context, act, STEP_SECONDS)

    def threads(self, context: ChatContext) -> Iterator[ThreadMetadata]:
        """The visitor's threads, the oldest first."""
        load = self.store.load_threads
        return self._entries(context, lambda after, made: load(LONGEST_PAGE, after, "asc", made))

    def items(self, context: ChatContext, thread_id: str) -> Iterator[ThreadItem]:
        """The items of a thread, the oldest first."""
        load = self.store.load_thread_items
        return self._entries(
            context, lambda after, made: load(thread_id, after, LONGEST_PAGE, "asc", made)
        )

    def _entries(
        self, context: ChatContext, load: Callable[[str | None, Any], Awaitable[Page[Any]]]
    ) -> Iterator[Any]:
        after: str | None = None
        while True:
            page: Page[Any] = self.ask(context, partial(load, after))
            yield from page.data
            if not page.has_more or not page.data:
                return
            after = page.after or page.data[-1].id

    def count(self, context: ChatContext, thread_id: str) -> tuple[int, int]:
        """The numbers of a thread's items and files."""
        items, files = 0, 0
        for item in self.items(context, thread_id):
            items += 1
            files += len(item.attachments) if isinstance(item, UserMessageItem) else 0
        return items, files

    def delete(self, context: ChatContext, thread_id: str) -> tuple[int, int]:
        """Delete a thread; returns the numbers of its items and files."""
        count, files = 0, []
        for item in self.items(context, thread_id):
            count += 1
            files += item.attachments if isinstance(item, UserMessageItem) else []
        for file in files:
            # The bytes first: as long as the thread exists, a retry finds them.
            self.delete_file(context, file)
        self.ask(context, lambda made: self.store.delete_thread(thread_id, made))
        return count, len(files)

    def delete_file(self, context: ChatContext, file: Attachment) -> None:
        """Delete a file and its description, if they exist."""
        attachment_store = self.dispatcher.server.attachment_store
        with suppress(NotFoundError):
            if attachment_store is not None:
                self.ask(context, lambda made: attachment_store.delete_attachment(file.id, made))
            self.ask(context, lambda made: self.store.delete_attachment(file.id, made))


class Places:
    """All places where a kit's served chats have data.

    :param kit: the kit.
    :param problems: gets what could not be opened or read.
    """

    def __init__(self, kit: ChatKitState, problems: Problems) -> None:
        self.kit = kit
        self.problems = problems
        self.rows: list[Rows] = []
        self.walks: list[Walk] = []
        self.dispatchers: dict[str, Dispatcher] = {}
        seen: set[Database] = set()
        for chat in kit.served:
            with problems.collect(f"the chat {chat.name!r} could not be opened"):
                store = self._dispatcher(chat).server.store
                if not isinstance(store, DatabaseStore):
                    self.walks.append(Walk(kit.own_name, self.dispatchers[chat.name]))
                elif store.database not in seen:
                    seen.add(store.database)
                    self.rows.append(Rows(store))
        self.records: Rows | None = None
        with problems.collect("the history could not be opened"):
            storage = kit.service.storage
            # Also if no chat is served any more.
            if storage.has_records:
                self.records = Rows(storage.records)
                if storage.records.database not in seen:
                    self.rows.append(self.records)

    def _dispatcher(self, chat: ServedChat) -> Dispatcher:
        dispatcher = self.dispatchers[chat.name] = self.kit.service.dispatcher(chat)
        return dispatcher

    def aliases_of(self, person: Visitor) -> list[records.Alias]:
        """The anonymous visitors who signed in as a person."""
        found: list[records.Alias] = []
        for where in self.rows:
            with self.problems.collect("the history could not be read"):
                found += where.read(
                    partial(records.aliases_of, kit=self.kit.own_name, key=person.key)
                )
        return found

    def files_of(self, where: Rows, keys: list[str]) -> Iterator[list[rows.FileRow]]:
        """A person's attachments in a database, batch by batch."""
        after = 0
        while found := where.read(
            partial(rows.files_of, kit=self.kit.own_name, keys=keys, after=after)
        ):
            yield found
            after = found[-1].position

    def hosted(self, asked: bool | None) -> HostedThreads | None:  # noqa: FBT001  handed on
        """OpenAI's threads, if OpenAI is to be asked.

        By default only if the kit has or had hosted chats: OpenAI need not learn of other logins.

        :param asked: whether OpenAI is asked; None for the default.
        """
        kit = self.kit
        if asked is None:
            has_hosted = kit.settings.workflow_id is not None or any(
                isinstance(chat, HostedChat) for chat in kit.declared.chats.values()
            )
            asked = bool(kit.settings.api_key) and (has_hosted or self._was_hosted())
        return kit.hosted_threads if asked else None

    def _was_hosted(self) -> bool:
        """Whether there are threads that were imported from OpenAI."""
        for where in self.rows:
            with self.problems.collect("the history could not be read"):
                if where.read(partial(rows.has_imported, kit=self.kit.own_name)):
                    return True
        return False

    def delete_bytes(self, file: rows.FileRow) -> None:
        """Delete the bytes of an attachment."""
        if file.is_ours:
            self.kit.service.storage.files.delete(file.id)
            return
        dispatcher = self.dispatchers.get(file.chat)
        attachment_store = dispatcher.server.attachment_store if dispatcher else None
        if dispatcher is None or attachment_store is None:
            return
        walk = Walk(self.kit.own_name, dispatcher)
        context = walk.context(Visitor(file.visitor, known=True))
        with suppress(NotFoundError):
            walk.ask(context, lambda made: attachment_store.delete_attachment(file.id, made))

    def delete_files(self, where: Rows, found: list[rows.FileRow]) -> int:
        """Delete attachments, first the bytes and then the rows; returns their number."""
        gone = []
        for file in found:
            with self.problems.collect(f"the file {file.id} could not be deleted"):
                self.delete_bytes(file)
                gone.append(file)
        return where.change(lambda db: rows.remove_files(db, gone)) if gone else 0
