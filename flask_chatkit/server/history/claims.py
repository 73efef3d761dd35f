"""Which process answers a message that two of them were sent at the same moment.

A row of the database decides. Whoever answers renews it, so that it runs out soon after a process
that was killed; and it stays a moment after the answer, for a call that was on its way.
"""

from __future__ import annotations

import secrets
import time
from functools import lru_cache
from typing import Literal

from sqlalchemy import Connection, Insert, bindparam, delete, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from ..tables import claims

State = Literal["free", "busy", "answered"]

#: Seconds between two renewals, and after which a claim that was not renewed is anybody's.
RENEW_SECONDS = 4.0
STALE_SECONDS = 15.0
#: Seconds after an answer in which the same message is the same one.
SAME_SECONDS = 3.0
#: Seconds after which a row is of no use to anybody.
OLD_SECONDS = 3600.0

#: Hex digits at the beginning of a holder that are its process's own.
PROCESS_DIGITS = 24


def new_holder(process: str) -> str:
    """A name for a new claim of a process.

    :param process: the process's own, of :data:`PROCESS_DIGITS` hex digits.
    """
    return process + secrets.token_hex(4)


def new_process() -> str:
    """A name for a process, which no other one has."""
    return secrets.token_hex(PROCESS_DIGITS // 2)


def claim(db: Connection, key: str, holder: str) -> bool:
    """Take a message to be answered here; False if another process does, or just has.

    What this very process has claimed before it may claim again: it knows by itself.

    :param key: SHA-256 of who says what.
    """
    now = _now()
    values = {"message": key, "holder": holder, "touched_at": now, "is_answered": 0}
    if db.execute(_insert(db.dialect.name), values).rowcount > 0:
        return True
    free = {
        "key_": key,
        "own_": holder[:PROCESS_DIGITS] + "%",
        "stale_": now - _micro(STALE_SECONDS),
        "same_": now - _micro(SAME_SECONDS),
        "holder_": holder,
        "now_": now,
    }
    return db.execute(_TAKE, free).rowcount > 0


def state(db: Connection, key: str) -> State:
    """Whether a message is being answered, has just been, or may be taken."""
    row = db.execute(_STATE, {"key_": key}).first()
    if row is None:
        return "free"
    if row.is_answered:
        return "answered"
    return "free" if row.touched_at < _now() - _micro(STALE_SECONDS) else "busy"


def renew(db: Connection, key: str, holder: str) -> None:
    """Say that the answer is still under way."""
    db.execute(_RENEW, {"key_": key, "holder_": holder, "now_": _now()})


def settle(db: Connection, key: str, holder: str, *, answered: bool) -> None:
    """Say that it is over; if it was not answered, anybody may."""
    if answered:
        db.execute(_SETTLE, {"key_": key, "holder_": holder, "now_": _now()})
    else:
        db.execute(_DROP, {"key_": key, "holder_": holder})


def tidy(db: Connection) -> None:
    """Delete what is of no use to anybody."""
    db.execute(_TIDY, {"old_": _now() - _micro(OLD_SECONDS)})


def _now() -> int:
    return _micro(time.time())


def _micro(seconds: float) -> int:
    return int(seconds * 1_000_000)


@lru_cache
def _insert(dialect: str) -> Insert:
    if dialect in {"mysql", "mariadb"}:
        return mysql.insert(claims).prefix_with("IGNORE")
    if dialect == "sqlite":
        return sqlite.insert(claims).on_conflict_do_nothing()
    return (
        postgresql.insert(claims)
        .on_conflict_do_nothing()
        .inline()
        .execution_options(preserve_rowcount=True)
    )


_KEY = claims.c.message == bindparam("key_")
_HOLDER = claims.c.holder == bindparam("holder_")
_TAKE = (
    update(claims)
    .where(
        _KEY,
        claims.c.holder.like(bindparam("own_"))
        | (claims.c.touched_at < bindparam("stale_"))
        | ((claims.c.is_answered == 1) & (claims.c.touched_at < bindparam("same_"))),
    )
    .values(holder=bindparam("holder_"), touched_at=bindparam("now_"), is_answered=0)
)
_STATE = select(claims.c.is_answered, claims.c.touched_at).where(_KEY)
_RENEW = update(claims).where(_KEY, _HOLDER).values(touched_at=bindparam("now_"))
_SETTLE = update(claims).where(_KEY, _HOLDER).values(touched_at=bindparam("now_"), is_answered=1)
_DROP = delete(claims).where(_KEY, _HOLDER)
_TIDY = delete(claims).where(claims.c.touched_at < bindparam("old_"))
