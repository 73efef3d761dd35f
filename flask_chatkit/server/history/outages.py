"""Which errors mean that the history's database is unavailable."""

from __future__ import annotations

import sys
from typing import Any

from ...errors import HistoryUnavailable
from .calls import RETRY_AFTER

#: In SQLite's messages for a locked database or a failing disk.
_SQLITE = ("locked", "unable to open", "disk")
#: MySQL's codes for a server that is shutting down or full; drivers' own begin with 2000.
_MYSQL = frozenset({1040, 1053, 1129, 1158, 1159, 1160, 1161, 1203, 1205, 1213})
_DRIVERS = 2000


def as_outage(error: BaseException) -> HistoryUnavailable | None:
    """The API error for an error that means an outage; None for any other.

    A site's own store may use SQLAlchemy, too, and raise the same errors.
    """
    if isinstance(error, HistoryUnavailable):
        return error
    # If SQLAlchemy is not imported, it has raised no error.
    exc: Any = sys.modules.get("sqlalchemy.exc")
    if exc is None or not _is_outage(error, exc):
        return None
    # Only the type: a driver's message may contain an address.
    return HistoryUnavailable(
        detail=f"the history's database can't be used ({type(error).__name__})",
        retry_after=RETRY_AFTER,
    )


def _is_outage(error: BaseException, exc: Any) -> bool:
    if isinstance(error, exc.TimeoutError):
        return True
    if not isinstance(error, (exc.OperationalError, exc.InterfaceError)):
        return False
    if error.connection_invalidated:
        return True
    original = error.orig
    if type(original).__module__.startswith("sqlite3"):
        return any(word in str(original) for word in _SQLITE)
    number = next(iter(getattr(original, "args", ())), None)
    if isinstance(number, int):
        return number in _MYSQL or number >= _DRIVERS
    return True


def raise_outage(error: BaseException) -> None:
    """Raise the API error for an error that means an outage."""
    outage = as_outage(error)
    if outage is not None and outage is not error:
        raise outage from error
