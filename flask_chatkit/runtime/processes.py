"""What each process of a server has for itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Something that a forked process must not share with its parent: a lock, a thread.

    :param make: makes it when a process first needs it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """The current process's own."""
        pid = os.getpid()
        if pid not in self._made:
            # setdefault is atomic: of two threads that get here at once, one's is discarded.
            return self._made.setdefault(pid, self._make())
        return self._made[pid]
