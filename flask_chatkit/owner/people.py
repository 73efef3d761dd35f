"""Deletes all data of one person.

A person is a login in one kit, together with the anonymous visitors who signed in as it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..errors import ChatKitError
from ..hosted.threads import HostedThreads
from ..identity.visitor import Visitor
from ..registry import ChatKitState
from ..server.context import owner_name
from ..server.history import records, rows
from .stores import Places, Problems, Rows, Walk

#: How often deleting is repeated for data written meanwhile.
PASSES = 5

Advance = Callable[[int], object]


@dataclass
class Deletion:
    """What was deleted of a person, or would be.

    :param key: the person's key.
    :param aliases: the keys of the anonymous visitors who signed in as the person.
    :param dry_run: whether nothing was changed.
    :param threads: threads in the site's own history.
    :param items: messages and other items in these.
    :param files: files, sent or not.
    :param feedback: thumbs up and down.
    :param hosted_threads: threads at OpenAI.
    :param asked_openai: whether OpenAI was asked for these.
    :param problems: what could not be deleted, and why; delete again for these.
    """

    key: str
    aliases: list[str] = field(default_factory=list)
    dry_run: bool = False
    threads: int = 0
    items: int = 0
    files: int = 0
    feedback: int = 0
    hosted_threads: int = 0
    asked_openai: bool = False
    problems: list[str] = field(default_factory=list)

    def add(self, removed: rows.Removed) -> None:
        """Add what was deleted from a database."""
        self.threads += removed.threads
        self.items += removed.items
        self.feedback += removed.feedback


def delete_person(
    kit: ChatKitState,
    person: Visitor,
    *,
    dry_run: bool = False,
    hosted: bool | None = None,
    advance: Advance = lambda _: None,
) -> Deletion:
    """Delete all data of a person in a kit.

    :param kit: the kit; data of other kits stays.
    :param person: the person.
    :param dry_run: whether to count only.
    :param hosted: whether to ask OpenAI; by default if the kit has or had hosted chats.
    :param advance: is called with the number of threads and files deleted since the last call.
    """
    problems = Problems()
    places = Places(kit, problems)
    done = Deletion(person.key, dry_run=dry_run, problems=problems)
    keys = _keys_of(places, person, done)
    imported = _imported_ids(places, keys)
    if not dry_run:
        _revoke(kit, keys, problems)
    for attempt in range(1, PASSES + 1):
        before = (done.threads, done.files)
        for where in places.rows:
            with problems.collect("the history could not be read"):
                _delete_rows(places, where, keys, done, advance)
        for walk in places.walks:
            with problems.collect(f"the store of the chat {walk.chat.name!r} failed"):
                _delete_walked(walk, keys, done, advance)
        # Requests that were under way may have written data, or signed in, since the revocation.
        if dry_run or (attempt > 1 and before == (done.threads, done.files)):
            break
        known, keys = keys, _keys_of(places, person, done)
        _revoke(kit, [key for key in keys if key not in known], problems)
    _delete_hosted(places, keys, imported, done, hosted, advance)
    if not dry_run and not problems:
        # Kept until everything is deleted, because they lead to the rest.
        for where in places.rows:
            where.change(partial(records.delete_aliases, kit=kit.own_name, keys=keys))
    return done


def _keys_of(places: Places, person: Visitor, done: Deletion | None = None) -> list[str]:
    """The person's key, and those of the anonymous visitors who signed in as them."""
    found = {alias.alias: None for alias in places.aliases_of(person)}
    if done is not None:
        done.aliases = list(found)
    return [person.key, *found]


def _revoke(kit: ChatKitState, keys: list[str], problems: Problems) -> None:
    if not kit.served or not keys:
        return
    now = time.time()
    with problems.collect("the secrets that were handed out could not be revoked"):
        where = Rows(kit.service.storage.records)
        for key in keys:
            visitor, moment = Visitor(key, known=True), int(now * 1_000_000)
            where.change(partial(records.revoke, kit=kit.own_name, visitor=visitor, at=moment))


def _delete_rows(
    places: Places, where: Rows, keys: list[str], done: Deletion, advance: Advance
) -> None:
    kit, after = places.kit.own_name, 0
    files = _count_files(places, where, keys) if done.dry_run else 0

    def batch(db: Any) -> tuple[rows.Removed, int | None]:
        # Locked: a file sent meanwhile would lose its row and keep its bytes.
        found = rows.threads_of(db, kit, keys, after, lock=not done.dry_run)
        removed = rows.remove_threads(db, found, dry_run=done.dry_run)
        return removed, found[-1].position if found else None

    while True:
        removed, last = where.change(batch)
        done.add(removed)
        advance(removed.threads)
        if last is None:
            break
        after = last
    done.files += files if done.dry_run else _delete_files(places, where, keys, advance)
    for name, dispatcher in places.dispatchers.items():
        for key in keys:
            dispatcher.forget(owner_name(kit, name, Visitor(key, known=True)))


def _count_files(places: Places, where: Rows, keys: list[str]) -> int:
    return sum(map(len, places.files_of(where, keys)))


def _delete_files(places: Places, where: Rows, keys: list[str], advance: Advance) -> int:
    count = 0
    for found in places.files_of(where, keys):
        gone = places.delete_files(where, found)
        advance(gone)
        count += gone
    return count


def _delete_walked(walk: Walk, keys: list[str], done: Deletion, advance: Advance) -> None:
    for key in keys:
        context = walk.context(Visitor(key, known=True))
        # All ids first: the cursor of the next page may be a deleted thread.
        for thread_id in [thread.id for thread in walk.threads(context)]:
            if done.dry_run:
                items, files = walk.count(context, thread_id)
            else:
                items, files = walk.delete(context, thread_id)
            done.threads += 1
            done.items += items
            done.files += files
            advance(1)
        walk.dispatcher.forget(context.owner)


def _imported_ids(places: Places, keys: list[str]) -> list[str]:
    """The ids of the person's threads that were imported from OpenAI."""
    found: list[str] = []
    for where in places.rows:
        after = 0
        while page := where.read(
            lambda db, after=after: rows.threads_of(  # type: ignore[misc]
                db, places.kit.own_name, keys, after, lock=False
            )
        ):
            found += [row.id for row in page]
            after = page[-1].position
    for walk in places.walks:
        for key in keys:
            context = walk.context(Visitor(key, known=True))
            with suppress(Exception):  # reported when its threads are deleted
                found += [thread.id for thread in walk.threads(context)]
    return [one for one in found if one.startswith(records.HOSTED)]


def _delete_hosted(
    places: Places,
    keys: list[str],
    imported: list[str],
    done: Deletion,
    asked: bool | None,  # noqa: FBT001  handed on
    advance: Advance,
) -> None:
    hosted = places.hosted(asked)
    if hosted is None:
        return
    done.asked_openai = True
    for key in keys:
        try:
            # All ids first: the cursor of the next page may be a deleted thread.
            listed = [thread["id"] for thread in hosted.threads(key)]
            for thread_id in listed if done.dry_run else [*listed, *imported]:
                done.hosted_threads += done.dry_run or _delete_one(places, hosted, thread_id)
                advance(1)
            imported = []
        except ChatKitError as error:
            places.problems.add("OpenAI could not be asked for hosted threads", error)


def _delete_one(places: Places, hosted: HostedThreads, thread_id: str) -> bool:
    is_gone = hosted.delete(thread_id)
    if places.records is not None:
        # So that an earlier export does not import it again.
        places.records.change(lambda db: records.note_deletion(db, thread_id))
    return is_gone
