"""Sign-ins, revocations, deletions and jobs, stored beside the threads."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, insert, inspect, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ...identity.visitor import Visitor
from .tables import aliases, claims, deletions, jobs, revocations

#: Microseconds that a revocation is stored: twice the longest session of a served chat.
_REVOKED_FOR = 2 * 86400 * 1_000_000

#: The prefix of OpenAI's thread ids.
HOSTED = "cthr_"

#: Built once, because each call of a served chat runs it.
_REVOKED_AT = select(revocations.c.revoked_at).where(
    revocations.c.kit == bindparam("kit_"), revocations.c.visitor == bindparam("visitor_")
)


@dataclass(frozen=True)
class Alias:
    """An anonymous visitor who has signed in.

    :param alias: the anonymous visitor's key.
    :param visitor: the login's key.
    :param since: when they signed in.
    """

    alias: str
    visitor: str
    since: datetime


def add_alias(db: Connection, kit: str, old: Visitor, new: Visitor) -> None:
    """Record that an anonymous visitor has signed in as another visitor."""
    pair = hashlib.sha256(f"{kit}\0{old.key}\0{new.key}".encode()).hexdigest()
    _insert_new(
        db,
        aliases,
        {
            "pair": pair,
            "kit": kit,
            "alias": old.key,
            "visitor": new.key,
            "created_at": datetime.now(timezone.utc),
        },
    )


def aliases_of(db: Connection, kit: str, key: str) -> list[Alias]:
    """The anonymous visitors who signed in as a person, the oldest first."""
    found = db.execute(
        select(aliases)
        .where(aliases.c.visitor == key, aliases.c.kit == kit)
        .order_by(aliases.c.position)
    )
    # For MySQL, strings are equal that differ in trailing spaces.
    return [
        Alias(row.alias, row.visitor, utc(row.created_at))
        for row in found
        if (row.visitor, row.kit) == (key, kit)
    ]


def logins_of(db: Connection, kit: str, keys: Collection[str]) -> dict[str, str]:
    """The logins of anonymous visitors who have signed in, by anonymous key.

    One who has signed in as several people is left out.
    """
    found: dict[str, set[str]] = {}
    for row in db.execute(
        select(aliases).where(aliases.c.kit == kit, aliases.c.alias.in_(list(keys)))
    ):
        if row.alias in keys and row.kit == kit:
            found.setdefault(row.alias, set()).add(row.visitor)
    return {alias: people.pop() for alias, people in found.items() if len(people) == 1}


def revoked_since(db: Connection, kit: str, digests: Collection[str]) -> dict[str, int]:
    """When visitors' sessions were revoked, in Unix microseconds, by digest."""
    found = db.execute(
        select(revocations.c.visitor, revocations.c.revoked_at).where(
            revocations.c.kit == kit, revocations.c.visitor.in_(list(digests))
        )
    )
    return {row.visitor: row.revoked_at for row in found}


def delete_aliases(db: Connection, kit: str, keys: Collection[str]) -> int:
    """Delete the sign-ins of some visitors; the number of rows deleted."""
    found = db.execute(
        select(aliases.c.position, aliases.c.kit, aliases.c.alias, aliases.c.visitor).where(
            or_(aliases.c.alias.in_(keys), aliases.c.visitor.in_(keys)), aliases.c.kit == kit
        )
    ).all()
    positions = [
        row.position for row in found if row.kit == kit and {row.alias, row.visitor} & {*keys}
    ]
    if positions:
        db.execute(delete(aliases).where(aliases.c.position.in_(positions)))
    return len(positions)


def revoke(db: Connection, kit: str, visitor: Visitor, at: int) -> None:
    """Revoke what a visitor was given before a time.

    :param at: Unix time in microseconds.
    """
    db.execute(delete(revocations).where(revocations.c.revoked_at < at - _REVOKED_FOR))
    own = (revocations.c.kit == kit, revocations.c.visitor == visitor.digest)
    if not db.execute(update(revocations).where(*own).values(revoked_at=at)).rowcount:
        _insert_new(db, revocations, {"kit": kit, "visitor": visitor.digest, "revoked_at": at})
    # Digests of recent messages; a site that migrates itself may not have the table yet.
    if inspect(db).has_table(claims.name):
        db.execute(delete(claims).where(claims.c.visitor == visitor.digest))


def revoked_at(db: Connection, kit: str, digest: str) -> int | None:
    """When a visitor's sessions were revoked, in Unix microseconds; None if never."""
    return db.scalar(_REVOKED_AT, {"kit_": kit, "visitor_": digest})


def note_deletion(db: Connection, thread: str) -> None:
    """Record the deletion of an imported thread, which must not be imported again."""
    if thread.startswith(HOSTED):
        _insert_new(db, deletions, {"thread": _digest(thread)})


def deleted(db: Connection, ids: Collection[str]) -> set[str]:
    """Those of some imported threads that were deleted here."""
    named = {_digest(one): one for one in ids}
    found = db.scalars(select(deletions.c.thread).where(deletions.c.thread.in_(named)))
    return {named[digest] for digest in found}


def _digest(thread: str) -> str:
    return hashlib.sha256(thread.encode()).hexdigest()


def begin_job(
    db: Connection, kit: str, name: str, every: timedelta, *, at_first: bool = True
) -> bool:
    """Whether the caller is to run a job now; no other process does within the interval.

    :param every: the interval between two runs.
    :param at_first: whether the job is due if it has never run.
    """
    now = datetime.now(timezone.utc)
    if _insert_new(db, jobs, {"kit": kit, "name": name, "begun_at": now}):
        return at_first
    own = (jobs.c.kit == kit, jobs.c.name == name, jobs.c.begun_at < now - every)
    return db.execute(update(jobs).where(*own).values(begun_at=now)).rowcount == 1


def utc(moment: datetime) -> datetime:
    """A time from the database in UTC; SQLite and MySQL store no zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _insert_new(db: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row unless it exists; returns whether it was inserted."""
    statement: Any
    if db.dialect.name == "sqlite":
        statement = sqlite.insert(table).on_conflict_do_nothing()
    elif db.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    else:
        statement = insert(table).prefix_with("IGNORE")
    statement = statement.inline().execution_options(preserve_rowcount=True)
    return db.execute(statement, values).rowcount == 1
