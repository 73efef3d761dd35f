"""Objects that each process has for itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """An object that a forked process must not share with its parent, such as a lock or a thread.

    :param make: creates it, at a process's first :meth:`get`.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """Return this process's object."""
        pid = os.getpid()
        if pid not in self._made:
            # setdefault is atomic: two threads get the same object.
            return self._made.setdefault(pid, self._make())
        return self._made[pid]
