"""Which errors mean that the history's database is not there at the moment."""

from __future__ import annotations

import sys
from typing import Any

from ...errors import HistoryUnavailable
from .calls import RETRY_AFTER

#: What SQLite says when another process holds it, or when its disk fails.
_SQLITE = ("locked", "unable to open", "disk")
#: What MySQL itself says of a server that is shut down or full; drivers' own begin with 2000.
_MYSQL = frozenset({1040, 1053, 1129, 1158, 1159, 1160, 1161, 1203, 1205, 1213})
_DRIVERS = 2000


def as_outage(error: BaseException) -> HistoryUnavailable | None:
    """The answer to an error that means an outage; None for any other.

    A store of a site's own that uses SQLAlchemy raises the same ones.
    """
    if isinstance(error, HistoryUnavailable):
        return error
    # Where nobody has imported it, none of its errors was raised.
    exc: Any = sys.modules.get("sqlalchemy.exc")
    if exc is None or not _is_outage(error, exc):
        return None
    # The type alone: a driver's message may hold an address.
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
    """Raise the answer to an error that means an outage."""
    outage = as_outage(error)
    if outage is not None and outage is not error:
        raise outage from error
