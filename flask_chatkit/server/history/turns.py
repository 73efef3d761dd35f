"""Claims: which process answers a message that two received at the same moment.

A row of the database decides. The process that answers renews it, so that it expires soon after
the process is killed; and it stays for a moment after the answer, for a retry that was under way.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, Insert, bindparam, delete, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement

from ..ids import SAME_SECONDS
from .tables import claims

#: Seconds between two renewals, and seconds without one after which a claim has expired. The
#: waiting process counts them, because the clocks of two machines may differ.
RENEW_SECONDS = 3.0
STALE_SECONDS = 10.0
#: Seconds after which a row is deleted.
OLD_SECONDS = 3600.0

#: Hex digits of a holder: its machine, its process id, and the part that identifies the process.
_MACHINE_DIGITS, _PID_DIGITS, PROCESS_DIGITS = 8, 8, 24


class Seen(NamedTuple):
    """A claim as it was read.

    :param touched_at: when it was renewed, in Unix microseconds by the database's clock.
    """

    holder: str
    touched_at: int
    is_answered: int


def new_holder(process: str) -> str:
    """The holder of a new claim.

    :param process: the process's name, see :func:`new_process`.
    """
    return process + secrets.token_hex(4)


def new_process() -> str:
    """A unique name for this process."""
    return f"{_machine()}{os.getpid():08x}{secrets.token_hex(4)}"


@lru_cache
def _machine() -> str:
    """Identifies the machine and its process id namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return secrets.token_hex(_MACHINE_DIGITS // 2)
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:_MACHINE_DIGITS]


def is_dead(holder: str) -> bool:
    """Whether the process that holds a claim is known to have ended."""
    if holder[:_MACHINE_DIGITS] != _machine():
        return False
    try:
        os.kill(int(holder[_MACHINE_DIGITS : _MACHINE_DIGITS + _PID_DIGITS], 16), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return False


def claim(db: Connection, key: str, visitor: str, holder: str) -> bool:
    """Claim a message; False if another process answers it, or just has.

    A process may claim again what it has claimed before: it recognises retries itself.

    :param key: SHA-256 of the visitor and the message.
    :param visitor: the visitor's digest.
    """
    values = {"message": key, "visitor": visitor, "holder": holder, "is_answered": 0}
    if db.execute(_insert(db.dialect.name), values).rowcount > 0:
        return True
    free = {
        "key_": key,
        "own_": holder[:PROCESS_DIGITS] + "%",
        "old_": _micro(OLD_SECONDS),
        "same_": _micro(SAME_SECONDS),
        "holder_": holder,
    }
    return db.execute(_TAKE, free).rowcount > 0


def take_over(db: Connection, key: str, holder: str, seen: Seen) -> bool:
    """Take over an expired claim; False if it has changed meanwhile."""
    values = {"key_": key, "holder_": holder, "seen_": seen.holder, "at_": seen.touched_at}
    return db.execute(_TAKE_OVER, values).rowcount > 0


def look(db: Connection, key: str) -> Seen | None:
    """The claim of a message; None if there is none."""
    row = db.execute(_LOOK, {"key_": key}).first()
    return None if row is None else Seen(*row)


def renew(db: Connection, key: str, holder: str) -> None:
    """Renew a claim while the answer is written."""
    db.execute(_RENEW, {"key_": key, "holder_": holder})


def settle(db: Connection, key: str, holder: str, *, answered: bool) -> None:
    """End a claim; if the message was not answered, any process may claim it."""
    if answered:
        db.execute(_SETTLE, {"key_": key, "holder_": holder})
    else:
        db.execute(_DROP, {"key_": key, "holder_": holder})


def tidy(db: Connection) -> None:
    """Delete old claims."""
    db.execute(_TIDY, {"old_": _micro(OLD_SECONDS)})


def _micro(seconds: float) -> int:
    return int(seconds * 1_000_000)


class _Now(ColumnElement[int]):
    """Unix time in microseconds by the database's clock, which all hosts share."""

    inherit_cache = True
    type = BigInteger()


@compiles(_Now)
def _postgresql_now(_element: _Now, _compiler: SQLCompiler, **_: object) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


@compiles(_Now, "sqlite")
def _sqlite_now(_element: _Now, _compiler: SQLCompiler, **_: object) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)"


@compiles(_Now, "mysql", "mariadb")
def _mysql_now(_element: _Now, _compiler: SQLCompiler, **_: object) -> str:
    # In UTC: in a session's time zone, one hour of the year is ambiguous.
    return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"


_NOW = _Now()


@lru_cache
def _insert(dialect: str) -> Insert:
    if dialect in {"mysql", "mariadb"}:
        return mysql.insert(claims).values(touched_at=_NOW).prefix_with("IGNORE")
    if dialect == "sqlite":
        return sqlite.insert(claims).values(touched_at=_NOW).on_conflict_do_nothing()
    return (
        postgresql.insert(claims)
        .values(touched_at=_NOW)
        .on_conflict_do_nothing()
        .inline()
        .execution_options(preserve_rowcount=True)
    )


_KEY = claims.c.message == bindparam("key_")
_HOLDER = claims.c.holder == bindparam("holder_")
# A time in the future was written by a host's clock in an earlier release, or the clock was
# set back.
_SAME = (claims.c.touched_at >= _NOW - bindparam("same_")) & (
    claims.c.touched_at <= _NOW + bindparam("same_")
)
_TAKE = (
    update(claims)
    .where(
        _KEY,
        claims.c.holder.like(bindparam("own_"))
        | (claims.c.touched_at < _NOW - bindparam("old_"))
        | ((claims.c.is_answered == 1) & ~_SAME),
    )
    .values(holder=bindparam("holder_"), touched_at=_NOW, is_answered=0)
)
_TAKE_OVER = (
    update(claims)
    .where(_KEY, claims.c.holder == bindparam("seen_"), claims.c.touched_at == bindparam("at_"))
    .values(holder=bindparam("holder_"), touched_at=_NOW, is_answered=0)
)
_LOOK = select(claims.c.holder, claims.c.touched_at, claims.c.is_answered).where(_KEY)
_RENEW = update(claims).where(_KEY, _HOLDER).values(touched_at=_NOW)
_SETTLE = update(claims).where(_KEY, _HOLDER).values(touched_at=_NOW, is_answered=1)
_DROP = delete(claims).where(_KEY, _HOLDER)
_TIDY = delete(claims).where(claims.c.touched_at < _NOW - bindparam("old_"))
