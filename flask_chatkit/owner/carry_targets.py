"""The targets of an import: the kit's own tables, or a site's store.

Both write only what is missing, so that importing twice changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol

from chatkit.store import NotFoundError
from chatkit.types import Attachment, ThreadItem, ThreadMetadata
from sqlalchemy import Connection, Table, bindparam, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from ..identity.visitor import Visitor
from ..server.context import ChatContext
from ..server.history import records
from ..server.history.base import DatabaseStore
from ..server.history.tables import attachments, items, threads
from ..server.history.words import item_words, words_of
from .stores import Rows, Walk

#: The key of a thread's metadata that marks how far it was imported.
CARRIED = "chatkit_hosted"


@dataclass
class Entry:
    """A thread, or the next part of it, that is to be imported.

    :param user: OpenAI's user of the thread.
    """

    thread: ThreadMetadata
    visitor: Visitor
    context: ChatContext
    user: str
    items: list[ThreadItem] = field(default_factory=list)
    files: dict[str, Attachment] = field(default_factory=dict)

    @property
    def marked(self) -> ThreadMetadata:
        """The thread, marked with its last imported item."""
        last = self.items[-1].id if self.items else None
        mark = {CARRIED: {"last_item": last, "user": self.user}} if last else {}
        return self.thread.model_copy(update={"metadata": {**self.thread.metadata, **mark}})


class Target(Protocol):
    """A history to which entries are written."""

    def last_item(self, entry: Entry) -> str | None:
        """The id of the last imported item; None if there is none."""

    def write(self, entries: Sequence[Entry], *, dry_run: bool) -> Written:
        """Write what is missing of some entries."""


@dataclass(frozen=True)
class Written:
    """The numbers of new and known threads and items.

    :param deleted: the ids of threads that were deleted here, and were skipped.
    :param foreign: the ids of threads that belong to somebody else, or to another chat.
    """

    threads: int
    items: int
    known_threads: int
    known_items: int
    deleted: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()


class Tables:
    """The kit's own tables.

    :param store: their store.
    """

    def __init__(self, store: DatabaseStore) -> None:
        self._rows = Rows(store)

    def last_item(self, entry: Entry) -> str | None:
        """The id of the last imported item; None if there is none."""
        data = self._rows.read(
            lambda db: db.scalar(select(threads.c.data).where(threads.c.id == entry.thread.id))
        )
        return None if data is None else _last_item(ThreadMetadata.model_validate_json(data))

    def write(self, entries: Sequence[Entry], *, dry_run: bool) -> Written:
        """Write what is missing of some entries, in a transaction."""
        if dry_run:
            return self._rows.read(lambda db: _missing(db, entries).written)
        return self._rows.change(lambda db: _write(db, entries))


def _gone(db: Connection, entries: Sequence[Entry]) -> set[str]:
    """The ids of threads that were deleted here, or whose visitor's data was."""
    gone = records.deleted(db, {entry.thread.id for entry in entries})
    people: dict[str, set[str]] = {}
    for entry in entries:
        people.setdefault(entry.context.kit, set()).add(entry.visitor.digest)
    revoked = {kit: records.revoked_since(db, kit, digests) for kit, digests in people.items()}
    for entry in entries:
        since = revoked[entry.context.kit].get(entry.visitor.digest)
        if since is not None and since > entry.thread.created_at.timestamp() * 1_000_000:
            gone.add(entry.thread.id)
    return gone


def _write(db: Connection, entries: Sequence[Entry]) -> Written:
    missing = _missing(db, entries)
    if missing.threads:
        _insert(db, threads, [_thread_row(entry) for entry in missing.threads])
    # Concurrent imports of the same threads wait here, in an order that can't deadlock.
    places = _places(db, missing.entries, lock=True)
    # A thread may have been deleted, or created by somebody else, meanwhile.
    kept = [
        entry
        for entry in missing.entries
        if entry.thread.id in places and not _is_foreign(entry, places)
    ]
    found = _items(db, kept, places)
    rows = [
        {
            "thread": places[entry.thread.id][0],
            "id": item.id,
            "type": item.type,
            "created_at": item.created_at,
            "data": (data := item.model_dump_json()),
            "words": item_words(json.loads(data)),
        }
        for entry in kept
        for item in _new(entry, found)
    ]
    if rows:
        _insert(db, items, rows)
    files = [
        _file_row(entry, file, places[entry.thread.id][1])
        for entry in kept
        for file in entry.files.values()
    ]
    if files:
        _insert(db, attachments, files)
    _mark(db, [entry for entry in kept if entry.items], places)
    return missing.written


@dataclass(frozen=True)
class _Missing:
    threads: list[Entry]
    entries: list[Entry]
    written: Written


def _missing(db: Connection, entries: Sequence[Entry]) -> _Missing:
    places = _places(db, entries)
    gone = _gone(db, entries)
    foreign = {entry.thread.id for entry in entries if _is_foreign(entry, places)} - gone
    kept = [entry for entry in entries if entry.thread.id not in gone | foreign]
    found = _items(db, kept, places)
    new: dict[str, Entry] = {}
    known = set()
    for entry in kept:
        if entry.thread.id in places:
            known.add(entry.thread.id)
        else:
            new.setdefault(entry.thread.id, entry)
    new_items = sum(len(_new(entry, found)) for entry in kept)
    total = sum(len(entry.items) for entry in kept)
    counted = len(new), new_items, len(known), total - new_items
    return _Missing(
        list(new.values()), kept, Written(*counted, frozenset(gone), frozenset(foreign))
    )


def _is_foreign(entry: Entry, places: Places) -> bool:
    """Whether the thread exists and is somebody else's, or in another chat."""
    place = places.get(entry.thread.id)
    return place is not None and place[1]["owner"] != entry.context.owner


def _new(entry: Entry, found: set[tuple[str, str]]) -> list[ThreadItem]:
    """The new items of an entry, each once."""
    new = {item.id: item for item in entry.items if (entry.thread.id, item.id) not in found}
    return list(new.values())


#: A thread's position, owner columns and data, by its id.
Places = dict[str, tuple[int, dict[str, Any], str]]


def _places(db: Connection, entries: Sequence[Entry], *, lock: bool = False) -> Places:
    columns = threads.c
    statement = select(
        columns.id,
        columns.position,
        columns.owner,
        columns.kit,
        columns.chat,
        columns.visitor,
        columns.data,
    ).where(columns.id.in_({entry.thread.id for entry in entries}))
    if lock:
        statement = statement.order_by(columns.position).with_for_update()
    return {
        row.id: (
            row.position,
            {"owner": row.owner, "kit": row.kit, "chat": row.chat, "visitor": row.visitor},
            row.data,
        )
        for row in db.execute(statement)
    }


def _items(db: Connection, entries: Sequence[Entry], places: Places) -> set[tuple[str, str]]:
    """The thread and id of each existing item."""
    asked = {item.id for entry in entries for item in entry.items}
    names = {position: name for name, (position, _, _) in places.items()}
    if not asked or not names:
        return set()
    statement = select(items.c.thread, items.c.id).where(
        items.c.thread.in_(names), items.c.id.in_(asked)
    )
    return {(names[row.thread], row.id) for row in db.execute(statement)}


def _mark(db: Connection, entries: Iterable[Entry], places: Places) -> None:
    """Mark in each thread how far it was imported; its other metadata stays."""
    changes: dict[int, dict[str, Any]] = {}
    for entry in entries:
        position, _, data = places[entry.thread.id]
        thread = ThreadMetadata.model_validate_json(data)
        thread.metadata[CARRIED] = entry.marked.metadata[CARRIED]
        changes[position] = {"position_": position, "data": thread.model_dump_json()}
    if changes:
        statement = update(threads).where(threads.c.position == bindparam("position_"))
        db.execute(statement, list(changes.values()))


def _last_item(thread: ThreadMetadata) -> str | None:
    mark = thread.metadata.get(CARRIED)
    return mark.get("last_item") if isinstance(mark, dict) else None


def _thread_row(entry: Entry) -> dict[str, Any]:
    context, thread = entry.context, entry.thread
    return {
        "id": thread.id,
        "owner": context.owner,
        "kit": context.kit,
        "chat": context.chat,
        "visitor": context.visitor.key,
        "created_at": thread.created_at,
        "data": thread.model_dump_json(),
        "words": words_of(thread.title or ""),
    }


def _file_row(entry: Entry, file: Attachment, whose: dict[str, Any]) -> dict[str, Any]:
    # The thread may have been transferred to a login since its first import.
    sent = file.model_copy(update={"thread_id": entry.thread.id})
    return {
        **whose,
        "id": file.id,
        "thread": entry.thread.id,
        "created_at": datetime.now(timezone.utc),
        "data": sent.model_dump_json(),
    }


def _insert(db: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows that do not exist yet."""
    dialect = db.dialect.name
    if dialect == "sqlite":
        db.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
    elif dialect == "postgresql":
        db.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
    else:
        # INSERT IGNORE would also truncate long values.
        same = mysql.insert(table)
        db.execute(same.on_duplicate_key_update(id=table.c.id), rows)


class SiteStore:
    """A site's own store, written by its methods.

    :param walk: the store in one chat.
    """

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._store = walk.store

    def last_item(self, entry: Entry) -> str | None:
        """The id of the last imported item; None if there is none."""
        thread = self._load(entry)
        return None if thread is None else _last_item(thread)

    def write(self, entries: Sequence[Entry], *, dry_run: bool) -> Written:
        """Write what is missing of some entries."""
        counts = [0, 0, 0, 0]
        seen: set[str] = set()
        foreign: set[str] = set()
        for entry in entries:
            thread = self._load(entry)
            if thread is None and not dry_run:
                try:
                    self._ask(entry, "save_thread", entry.thread)
                except NotFoundError:
                    foreign.add(entry.thread.id)
                    continue
            if entry.thread.id not in seen:
                counts[0 if thread is None else 2] += 1
                seen.add(entry.thread.id)
            new = [item for item in entry.items if thread is None or not self._has(entry, item)]
            counts[1] += len(new)
            counts[3] += len(entry.items) - len(new)
            if not dry_run:
                self._add(entry, new)
        return Written(counts[0], counts[1], counts[2], counts[3], foreign=frozenset(foreign))

    def _add(self, entry: Entry, new: Sequence[ThreadItem]) -> None:
        for file in entry.files.values():
            sent = file.model_copy(update={"thread_id": entry.thread.id})
            self._ask(entry, "save_attachment", sent)
        for item in new:
            self._ask(entry, "add_thread_item", entry.thread.id, item)
        if new:
            # Last, so that the mark names an item that exists.
            thread = self._load(entry) or entry.thread
            mark = entry.marked.metadata[CARRIED]
            metadata = {**thread.metadata, CARRIED: mark}
            self._ask(entry, "save_thread", thread.model_copy(update={"metadata": metadata}))

    def _load(self, entry: Entry) -> ThreadMetadata | None:
        try:
            found: ThreadMetadata = self._ask(entry, "load_thread", entry.thread.id)
        except NotFoundError:
            return None
        return found

    def _has(self, entry: Entry, item: ThreadItem) -> bool:
        try:
            self._ask(entry, "load_item", entry.thread.id, item.id)
        except NotFoundError:
            return False
        return True

    def _ask(self, entry: Entry, name: str, *args: Any) -> Any:
        method = getattr(self._store, name)
        return self._walk.ask(entry.context, lambda made: method(*args, made))
