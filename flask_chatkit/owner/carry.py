"""Imports hosted threads into the history of a served chat.

Threads and items keep OpenAI's ids, which identify what was imported before. So an import can be
interrupted at any time and repeated, by several processes at once, without duplicates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from chatkit.types import Attachment

from ..chats.served import ServedChat
from ..errors import ApiError, ConfigurationError
from ..hosted.export import THREAD, items_after
from ..hosted.threads import HostedThreads, read_ahead
from ..hosted.transport import PageTooLargeError
from ..identity.visitor import Visitor
from ..registry import ChatKitState
from ..server.attachments.store import Attachments
from ..server.context import ChatContext
from ..server.history import records
from ..server.history.base import DatabaseStore
from .carry_targets import Entry, SiteStore, Tables, Target
from .hosted_items import DamagedError, HostedAttachment, files_of, item_of, json_of, thread_of
from .stores import Rows, Walk

Json = Mapping[str, Any]
#: Maps OpenAI's user to a visitor or a visitor's key; None skips the user's threads.
MapUsers = Callable[[str], Visitor | str | None]

#: Threads, items, and bytes of items, that are buffered and written together.
BATCH = 500
#: Problems that a report lists.
MOST_PROBLEMS = 10_000
BATCH_BYTES = 8 * 2**20
#: Bytes of an item at most: MariaDB's statements have 16 MiB, and escaping doubles bytes.
LONGEST_ITEM = 4 * 2**20


@dataclass(frozen=True)
class Problem:
    """Something that was not imported, or not completely.

    :param thread: the thread's id at OpenAI; empty if it has none.
    :param item: the item's id; None for the thread itself.
    :param reason: what was wrong.
    :param lost: whether the thread or item is missing from the history, and not only a detail.
    """

    thread: str
    item: str | None
    reason: str
    lost: bool


@dataclass
class Carried:
    """What was imported into the history of a chat, or would be.

    :param chat: the chat's name.
    :param dry_run: whether nothing was changed.
    :param threads: new threads.
    :param items: new items.
    :param files: downloaded files.
    :param known_threads: threads that were in the history before.
    :param known_items: items that were in the history before.
    :param problems: what was not imported, or not completely; the first ten thousand.
    :param more_problems: the number of further problems.
    """

    chat: str
    dry_run: bool = False
    threads: int = 0
    items: int = 0
    files: int = 0
    known_threads: int = 0
    known_items: int = 0
    problems: list[Problem] = field(default_factory=list)
    more_problems: int = 0

    @property
    def lost(self) -> list[Problem]:
        """The threads and items that are missing from the history."""
        return [problem for problem in self.problems if problem.lost]


class Carrier:
    """Imports threads into the history of one served chat.

    :param kit: the kit.
    :param chat: the name of the chat.
    :param map_users: maps users that were not named by the kit to visitors.
    :param dry_run: whether nothing is changed.
    :param advance: is called with the number of threads after they are written.
    :raises ConfigurationError: there is no such served chat.
    """

    def __init__(
        self,
        kit: ChatKitState,
        chat: str,
        *,
        map_users: MapUsers | None = None,
        dry_run: bool = False,
        advance: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._kit = kit
        self._map_users = map_users
        self._advance = advance
        self.done = Carried(chat=chat, dry_run=dry_run)
        self._chat = _served(kit, chat)
        dispatcher = kit.service.dispatcher(self._chat)
        store = dispatcher.server.store
        self._target: Target = (
            Tables(store)
            if isinstance(store, DatabaseStore)
            else SiteStore(Walk(kit.own_name, dispatcher))
        )
        self._dispatcher = dispatcher
        self._batch: list[Entry] = []
        self._held = self._bytes = 0

    def carry_lines(self, lines: Iterable[Json]) -> Carried:
        """Import an export.

        :param lines: its threads and items, by :func:`flask_chatkit.hosted.export.read_lines`.
        :returns: what was imported.
        """
        entry: Entry | None = None
        skipped: str | None = None
        for line in lines:
            if line["object"] == THREAD:
                entry = self._begin(line)
                skipped = line["id"] if entry is None else None
                if entry is not None:
                    self._hold(entry)
            elif entry is not None and line.get("thread_id") == entry.thread.id:
                entry = self._add(entry, line)
            elif line.get("thread_id") != skipped:
                self._skip(
                    str(line.get("thread_id")), str(line.get("id")), "its thread is not before it"
                )
        self._flush()
        return self.done

    def carry_hosted(self, hosted: HostedThreads, threads: Iterable[Json]) -> Carried:
        """Import from OpenAI.

        :param threads: the threads, by :func:`flask_chatkit.hosted.export.threads_since`.
        :returns: what was imported.
        :raises ApiError: OpenAI refuses, or can't be reached for a longer time.
        """
        entries = (entry for thread in threads if (entry := self._begin(thread)) is not None)

        def rest(entry: Entry) -> Iterator[dict[str, Any]]:
            return items_after(hosted, entry.thread.id, self._target.last_item(entry))

        try:
            for entry, items in read_ahead(entries, rest):
                self._hold(entry)
                self._carry(entry, items)
        finally:
            # What was read before an error is written; the next import continues after it.
            self._flush()
        return self.done

    def _carry(self, entry: Entry, items: Iterable[Json]) -> None:
        try:
            for item in items:
                # A large thread is written in several parts.
                entry = self._add(entry, item)
        except PageTooLargeError as error:
            self._skip(entry.thread.id, None, f"its items from one on: {error.detail}")

    def _begin(self, sent: Json) -> Entry | None:
        """Convert a thread; None if it can't be imported."""
        identifier = str(sent.get("id"))
        try:
            thread, user = thread_of(sent)
            visitor = self._visitor(user)
        except (DamagedError, _UnknownUserError) as error:
            self._skip(identifier, None, str(error))
            return None
        return Entry(thread, visitor, self._context(visitor), user)

    def _context(self, visitor: Visitor) -> ChatContext:
        return ChatContext(visitor=visitor, kit=self._kit.own_name, chat=self._chat.name)

    def _hold(self, entry: Entry) -> None:
        """Buffer a thread until the batch is written."""
        if len(self._batch) >= BATCH:
            self._flush()
        self._batch.append(entry)

    def _add(self, entry: Entry, sent: Json) -> Entry:
        """Add an item to its thread; returns the entry to which the next item is added."""
        identifier = str(sent.get("id"))
        if sent.get("thread_id") != entry.thread.id:
            self._skip(entry.thread.id, identifier, "thread_id: it names another thread")
            return entry
        try:
            files = {file.id: self._fetch(entry, file) for file in files_of(sent)}
            kept = {name: file for name, file in files.items() if file is not None}
            item, notes = item_of(sent, kept)
            size = len(json_of(item))
        except DamagedError as error:
            self._skip(entry.thread.id, identifier, str(error))
            return entry
        if size > LONGEST_ITEM:
            self._skip(entry.thread.id, identifier, f"it has more than {LONGEST_ITEM:,} bytes")
            return entry
        entry.items.append(item)
        entry.files.update(kept)
        for note in notes:
            self._note(Problem(entry.thread.id, identifier, note, lost=False))
        self._held += 1
        self._bytes += size
        if self._held < BATCH and self._bytes < BATCH_BYTES:
            return entry
        self._flush()
        # The thread's next items are another part.
        rest = Entry(entry.thread, entry.visitor, entry.context, entry.user)
        self._batch.append(rest)
        return rest

    def _flush(self) -> None:
        entries, self._batch, self._held, self._bytes = self._batch, [], 0, 0
        entries = self._with_current_visitors(entries)
        if not entries:
            return
        written = self._target.write(entries, dry_run=self.done.dry_run)
        self.done.threads += written.threads
        self.done.items += written.items
        self.done.known_threads += written.known_threads
        self.done.known_items += written.known_items
        for name in sorted(written.deleted):
            self._note(Problem(name, None, "it was deleted here", lost=False))
        for name in sorted(written.foreign):
            self._skip(name, None, "it is in the history already, of another person or chat")
        self._advance(len(entries))

    def _with_current_visitors(self, entries: list[Entry]) -> list[Entry]:
        """The entries with visitors who have signed in since, and without deleted ones."""
        service = self._kit.service
        if not service.storage.has_records:
            return entries
        own = self._kit.own_name
        keys = {entry.visitor.key for entry in entries if entry.visitor.is_anonymous}
        logins: dict[str, str] = {}
        if keys:
            logins = Rows(service.storage.records).read(lambda db: records.logins_of(db, own, keys))
        kept = []
        for entry in entries:
            key = logins.get(entry.visitor.key)
            since = service.revoked_at(entry.visitor.digest)
            if key is not None:
                entry.visitor = Visitor(key, known=True)
                entry.context = self._context(entry.visitor)
            if since is not None and since > entry.thread.created_at.timestamp():
                self._note(Problem(entry.thread.id, None, "it was deleted here", lost=False))
            else:
                kept.append(entry)
        return kept

    def _note(self, problem: Problem) -> None:
        if len(self.done.problems) < MOST_PROBLEMS:
            self.done.problems.append(problem)
        else:
            self.done.more_problems += 1

    def _skip(self, thread: str, item: str | None, reason: str) -> None:
        self._note(Problem(thread, item, reason, lost=True))

    def _visitor(self, user: str) -> Visitor:
        if self._map_users is not None:
            mapped = self._map_users(user)
            if mapped is None:
                raise _UnknownUserError("map_users leaves its user out")
            if isinstance(mapped, Visitor):
                return mapped
            user = mapped
        elif not user.startswith(("user:", "anon:")):
            raise _UnknownUserError(
                "its user is neither user:… nor anon:…, as the kit names them: see --map-users"
            )
        try:
            return Visitor.from_key(user)
        except (ValueError, AttributeError, TypeError) as error:
            raise _UnknownUserError(f"its user: {error}") from None

    @cached_property
    def _files(self) -> Attachments | None:
        """The attachments; None if the site has an attachment store of its own."""
        server = self._dispatcher.server
        if server.attachment_store is None:
            return self._kit.service.storage.attachments(self._chat, server.store)
        return server.attachment_store if isinstance(server.attachment_store, Attachments) else None

    def _fetch(self, entry: Entry, file: HostedAttachment) -> Attachment | None:
        """Download a file from OpenAI; None if it is no longer available."""
        if file.preview_url is None or self._files is None:
            return None
        key = "atc_" + hashlib.sha256(file.id.encode()).hexdigest()[:32]
        if self.done.dry_run:
            self.done.files += 1
            return None
        try:
            data = self._kit.download(file.preview_url, self._files.max_bytes)
            kept = self._files.adopt(key, data, file.name, file.mime_type, entry.context)
        except ApiError:
            return None
        self.done.files += 1
        return kept


class _UnknownUserError(Exception):
    """A thread's user is no visitor of the kit."""


def _served(kit: ChatKitState, name: str) -> ServedChat:
    chat = kit.chats.get(name)
    if isinstance(chat, ServedChat):
        return chat
    served = ", ".join(chat.name for chat in kit.served) or "none"
    what = "is hosted by OpenAI" if chat is not None else "does not exist"
    raise ConfigurationError(
        f"the chat {name!r} {what}, and threads are carried into a served one; served are: "
        f"{served}. Set CHATKIT_SERVER, or declare one"
    )
