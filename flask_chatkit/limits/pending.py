"""Counts of cheap calls, of which the storage learns several at once."""

from __future__ import annotations

import os
import threading
import time
from typing import TypeVar

from ..errors import RateLimited

K = TypeVar("K")
T = TypeVar("T")

#: Seconds for which the storage is not asked again about what it has refused.
REFUSED_SECONDS = 1.0
#: Names under which a process counts calls that the storage does not know of yet.
MAX_NAMES = 10_000

Name = tuple[int, str, str]


class PendingCalls:
    """Calls of this process that the storage does not know of yet, by limit and name.

    Of more than ``MAX_NAMES`` names the newest are kept.
    """

    def __init__(self) -> None:
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._counts: dict[Name, int] = {}
        #: What the storage has just refused, and until when it is not asked again.
        self._refused: dict[Name, tuple[float, RateLimited]] = {}

    def check(self, name: Name) -> None:
        """Refuse what was just refused, so that a flood of calls costs the storage little.

        :raises RateLimited: as before.
        """
        if self._pid != os.getpid():
            # The parent's calls are its own, and it may have held the lock.
            self._start_anew()
        until, error = self._refused.get(name, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise RateLimited(retry_after=error.retry_after, limit=error.limit)

    def add(self, name: Name, enough: int) -> int:
        """Count one.

        :param enough: the count at which the storage is to learn of them.
        :returns: how many it is to learn of now; 0 for none yet.
        """
        with self._lock:
            count = self._counts.pop(name, 0) + 1
            if count >= enough:
                return count
            _keep(self._counts, name, count)
        return 0

    def put_back(self, name: Name, count: int, error: RateLimited) -> None:
        """Take back what the storage has refused.

        :param error: its refusal.
        """
        with self._lock:
            if count:
                _keep(self._counts, name, count)
            self._refused.pop(name, None)
            if (error.retry_after or 1) > 1:
                _keep(self._refused, name, (time.monotonic() + REFUSED_SECONDS, error))


def _keep(table: dict[K, T], name: K, value: T) -> None:
    """Store a table's newest entry, in place of the oldest if it is full."""
    while len(table) >= MAX_NAMES and name not in table:
        del table[next(iter(table))]
    table[name] = value
