"""What each process of a server has for itself, and the worker of gunicorn's that it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Something that a forked process must not share with its parent: a lock, a thread.

    :param make: makes it, when a process first asks for it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """What the process that asks has for itself."""
        pid = os.getpid()
        if pid not in self._made:
            # setdefault is atomic: of two threads that get here at once, one's is never used.
            return self._made.setdefault(pid, self._make())
        return self._made[pid]


def gunicorn_worker() -> Any:
    """Gunicorn's worker, if this process is one; else None.

    It is known by its handlers of signals. Gunicorn has no other way to tell.
    """
    return getattr(signal.getsignal(signal.SIGTERM), "__self__", None)


def worker_threads() -> int | None:
    """How many requests the process serves at once, where that is known: under gunicorn's threads.

    Its workers of other classes, such as gevent's, have no such bound.
    """
    config = getattr(gunicorn_worker(), "cfg", None)
    if getattr(config, "worker_class_str", None) not in {"sync", "gthread"}:
        return None
    threads = getattr(config, "threads", None)
    return threads if isinstance(threads, int) and threads > 0 else None
