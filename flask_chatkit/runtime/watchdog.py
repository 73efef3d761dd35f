"""Ends calls at a wall-clock deadline, which socket timeouts don't.

A socket timeout bounds each wait for the next bytes: a server or proxy that sends a byte now and
then blocks a thread for ever, and some drivers have no timeout at all. So one thread per process
ends the calls that have passed their deadline.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

logger = logging.getLogger("flask_chatkit")

#: Seconds between checks: a call may last that much longer.
TICK = 0.1


class Ending(Protocol):
    """A call that can be ended by another thread.

    ``deadline`` is in seconds of ``time.monotonic()``; ``ended`` is whether :meth:`end` was called.
    """

    deadline: float
    ended: bool

    def end(self) -> None:
        """End the call; this must not block."""


class Watchdog:
    """Ends calls at their deadline. Its thread lives while there are calls, and a little longer."""

    def __init__(self) -> None:
        self._calls: set[Ending] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, call: Ending) -> None:
        """Watch a call."""
        with self._lock:
            self._calls.add(call)
            # Threads don't survive a fork.
            if self._thread is None or not self._thread.is_alive():
                self._start()

    def discard(self, call: Ending) -> None:
        """Stop watching a call, which is not ended once this has returned."""
        with self._lock:
            self._calls.discard(call)

    def _look(self) -> None:
        idle = 0
        while idle < 10 / TICK:
            time.sleep(TICK)
            now = time.monotonic()
            with self._lock:
                idle = 0 if self._calls else idle + 1
                # Under the lock: a finished call passes its connection on to another one.
                for call in self._calls:
                    if call.deadline <= now and not call.ended:
                        _end(call)
        with self._lock:
            self._thread = None
            if self._calls:  # one was added since the last check
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._look, name="chatkit-deadlines", daemon=True)
        thread.start()
        self._thread = thread


def _end(call: Ending) -> None:
    try:
        call.end()
    except Exception:
        # It must not keep the others from being ended.
        call.ended = True
        logger.exception("A call past its deadline could not be ended")
