"""Deletes unused threads, and files that were never sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import islice
from typing import Any

from chatkit.store import Store
from chatkit.types import Page, ThreadItem
from flask import current_app

from ..identity.visitor import Visitor
from ..registry import ChatKitState, kits
from ..server.attachments.files import Entry
from ..server.history import rows
from ..server.history.isolation import OwnedStore, owner_in
from .stores import Places, Problems, Rows, Walk

#: Seconds after which unsent files and the rests of uploads are deleted.
UNSENT_SECONDS = 86400
#: File names that are looked up together.
_NAMES = 500

Advance = Callable[[int], object]


@dataclass
class Pruned:
    """What was deleted, or would be.

    :param unused_since: threads without newer items were deleted; None if threads were skipped.
    :param dry_run: whether nothing was changed.
    :param threads: threads.
    :param items: messages and other items in these.
    :param files: files that were sent in these.
    :param feedback: thumbs up and down in these.
    :param unsent: files uploaded more than a day ago and never sent.
    :param orphans: files that are in no database, such as those of a thread deleted by SQL.
    :param strays: items whose thread was deleted by SQL under an earlier release.
    :param leftovers: the rests of interrupted uploads.
    :param notes: what was skipped, and why.
    :param problems: what could not be deleted, and why.
    """

    unused_since: datetime | None = None
    dry_run: bool = False
    threads: int = 0
    items: int = 0
    files: int = 0
    feedback: int = 0
    unsent: int = 0
    orphans: int = 0
    leftovers: int = 0
    strays: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def prune(
    kit: ChatKitState,
    older_than: timedelta | None = None,
    *,
    dry_run: bool = False,
    is_automatic: bool = False,
    orphans: bool = True,
    advance: Advance = lambda _: None,
) -> Pruned:
    """Delete the unused threads of a kit, and files that were never sent.

    A thread in which an answer may be under way stays, however short the time is.

    :param older_than: the time without new items; ``CHATKIT_KEEP_DAYS`` by default. Without
        either, only files are deleted.
    :param dry_run: whether to count only.
    :param is_automatic: whether it runs unattended: if the database knows none of the files, it
        may be the wrong one, and orphans stay.
    :param orphans: whether to delete files that are in no database.
    :param advance: is called with the number of threads and files deleted since the last call.
    :raises ValueError: ``older_than`` is not above zero.
    """
    if older_than is None and kit.settings.keep_days is not None:
        older_than = timedelta(days=kit.settings.keep_days)
    if older_than is not None and older_than <= timedelta():
        raise ValueError("older_than must be above zero")
    problems = Problems()
    places = Places(kit, problems)
    done = Pruned(dry_run=dry_run, problems=problems)
    run = _Run(places, done, advance)
    if older_than is not None:
        done.unused_since = datetime.now(timezone.utc) - max(older_than, _longest_answer(kit))
        for where in places.rows:
            with problems.collect("threads could not be pruned"):
                run.prune_threads(where, done.unused_since)
        for walk in places.walks:
            with problems.collect(
                f"the threads of the chat {walk.chat.name!r} could not be pruned"
            ):
                run.prune_walked(walk, done.unused_since)
    for where in places.rows:
        with problems.collect("items of deleted threads could not be pruned"):
            run.prune_strays(where)
        with problems.collect("files that were never sent could not be pruned"):
            run.prune_unsent(where)
    if kit.served:
        with problems.collect("the folder of the files could not be read"):
            run.sweep(is_automatic=is_automatic, orphans=orphans)
    return done


def _longest_answer(kit: ChatKitState) -> timedelta:
    seconds = [chat.answer_seconds or kit.settings.answer_seconds for chat in kit.served]
    return timedelta(seconds=max(seconds, default=0))


class _Run:
    """One run over all places of a kit."""

    def __init__(self, places: Places, done: Pruned, advance: Advance) -> None:
        self.places = places
        self.done = done
        self.kit = places.kit
        self.advance = advance

    def prune_threads(self, where: Rows, before: datetime) -> None:
        """Delete the unused threads of a database, batch by batch."""
        done, name = self.done, self.kit.own_name
        after: int | None = 0

        def batch(db: Any) -> tuple[rows.Removed, list[rows.FileRow], int | None]:
            found, last = rows.unused_threads(db, name, before, after or 0, lock=not done.dry_run)
            sent = rows.files_sent_in(db, [row.id for row in found])
            return rows.remove_threads(db, found, dry_run=done.dry_run), sent, last

        while after is not None:
            removed, sent, after = (where.read if done.dry_run else where.change)(batch)
            done.threads += removed.threads
            done.items += removed.items
            done.feedback += removed.feedback
            done.files += len(sent) if done.dry_run else self.places.delete_files(where, sent)
            self.advance(removed.threads)

    def prune_strays(self, where: Rows) -> None:
        """Delete items without a thread."""
        # Searched outside of a transaction, because SQLite has a single writer.
        if self.done.dry_run:
            self.done.strays += where.read(rows.count_stray_items)
            return
        while found := where.read(rows.stray_items):
            self.done.strays += where.change(partial(rows.remove_items, positions=found))

    def prune_unsent(self, where: Rows) -> None:
        """Delete files that were uploaded a day ago and are in no message."""
        before = datetime.now(timezone.utc) - timedelta(seconds=UNSENT_SECONDS)
        after, dry_run = 0, self.done.dry_run

        def batch(db: Any) -> tuple[list[rows.FileRow], int | None]:
            found = rows.unsent_files(db, self.kit.own_name, before, after)
            unsent = [file for file in found if not rows.find_message(db, file, keep=not dry_run)]
            return unsent, found[-1].position if found else None

        while True:
            unsent, last = (where.read if dry_run else where.change)(batch)
            gone = len(unsent) if dry_run else self.places.delete_files(where, unsent)
            self.done.unsent += gone
            self.advance(gone)
            if last is None:
                return
            after = last

    def prune_walked(self, walk: Walk, before: datetime) -> None:
        """Delete the unused threads of a site's own store, if it lists those of all owners."""
        if not isinstance(walk.store, OwnedStore):
            self.done.notes.append(
                f"The threads of the chat {walk.chat.name!r} are in a store of the site's own that "
                "shows nobody else's: prune them there."
            )
            return
        # All ids first: the cursor of the next page may be a deleted thread.
        for thread_id, owner in list(_old_threads(walk, walk.store, before)):
            context = walk.context(_NOBODY, owner)
            newest = walk.ask(context, partial(_newest, walk.store, thread_id)).data
            if newest and newest[0].created_at.astimezone(timezone.utc) >= before:
                continue
            if self.done.dry_run:
                items, files = walk.count(context, thread_id)
            else:
                items, files = walk.delete(context, thread_id)
            self.done.threads += 1
            self.done.items += items
            self.done.files += files
            self.advance(1)

    def sweep(self, *, is_automatic: bool, orphans: bool) -> None:
        """Delete files in the folder to which nothing refers."""
        try:
            entries = self.kit.service.storage.files.entries()
            databases = self._file_databases(is_automatic) if orphans else None
            for batch in _batches(entries, self.done):
                self._sweep_parts([entry for entry in batch if entry.is_part])
                if databases is not None:
                    self._sweep_files([entry for entry in batch if entry.is_file], databases)
        except NotImplementedError:
            self.done.notes.append(
                "CHATKIT_UPLOAD_FOLDER lists nothing: files that nothing refers to are not found."
            )

    def _file_databases(self, is_automatic: bool) -> list[Rows] | None:  # noqa: FBT001  as above
        """The databases with all files of the folder, including those of other kits."""
        found: list[Rows] = []
        for kit in set(kits(current_app).values()):
            problems = Problems()
            places = self.places if kit is self.kit else Places(kit, problems)
            found += places.rows
            # A site's own store can't be searched for files.
            if problems or any(walk.dispatcher.uploads is not None for walk in places.walks):
                self.done.notes.append(
                    "Files that nothing refers to were not looked for: not all that refers to "
                    "files is in a database of the kit's own."
                )
                return None
        if self.places.problems:
            return None
        if is_automatic and not any(where.read(rows.has_files) for where in found):
            return None
        return found

    def _sweep_parts(self, parts: list[Entry]) -> None:
        for entry in parts:
            self.done.leftovers += self._remove(entry)

    def _sweep_files(self, files: list[Entry], databases: list[Rows]) -> None:
        names = [entry.name for entry in files]
        known: set[str] = set()
        for where in databases:
            known |= where.read(partial(rows.known_files, ids=names))
        for entry in files:
            if entry.name not in known:
                self.done.orphans += self._remove(entry)

    def _remove(self, entry: Entry) -> bool:
        with self.places.problems.collect(f"the file {entry.name} could not be deleted"):
            if not self.done.dry_run:
                self.kit.service.storage.files.delete_entry(entry)
            self.advance(1)
            return True
        return False


#: The visitor of contexts that name an owner explicitly.
_NOBODY = Visitor("anon:nobody", known=True)


async def _newest(store: Store[Any], thread_id: str, made: Any) -> Page[ThreadItem]:
    return await store.load_thread_items(thread_id, None, 1, "desc", made)


def _old_threads(walk: Walk, store: OwnedStore, before: datetime) -> Iterator[tuple[str, str]]:
    """The ids and owners of all owners' threads that were created before a time."""
    after: str | None = None
    context, seen = walk.context(_NOBODY), {None}
    while True:
        page = walk.ask(context, partial(store.load_all_threads, after))
        for thread in page.data:
            owner = owner_in(thread)
            if owner is not None and thread.created_at.astimezone(timezone.utc) < before:
                yield thread.id, owner
        after = page.after or (page.data[-1].id if page.data else None)
        if not page.has_more or after in seen:
            return
        seen.add(after)


def _batches(entries: Iterator[Entry], done: Pruned) -> Iterator[list[Entry]]:
    """Batches of the kit's files that are too old for an upload in progress."""
    latest = time.time() - UNSENT_SECONDS
    while batch := list(islice(entries, _NAMES)):
        ours = [entry for entry in batch if entry.is_file or entry.is_part]
        if any(entry.modified is None for entry in ours):
            note = "CHATKIT_UPLOAD_FOLDER reports no age of some files: these stay."
            done.notes += [] if note in done.notes else [note]
        yield [one for one in ours if one.modified is not None and one.modified < latest]
