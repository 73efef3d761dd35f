"""A wall-clock end for what waits on a socket, which timeouts of sockets are not.

A timeout bounds each wait for the next bytes. A server, or a proxy, that sends a byte now and then
keeps a thread for ever, and some drivers have no timeout at all. So one thread per process looks at
the calls under way, and ends those that are over their time.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

logger = logging.getLogger("flask_chatkit")

#: Seconds between looks: a call may last that much longer.
TICK = 0.1


class Ending(Protocol):
    """A call under way that can be ended from outside.

    ``deadline`` is by ``time.monotonic()``, in seconds; ``ended`` is whether :meth:`end` was
    called.
    """

    deadline: float
    ended: bool

    def end(self) -> None:
        """Make whoever waits see the end; it must not block."""


class Watchdog:
    """Ends calls at their deadline. Its thread lives while there are calls, and a little longer."""

    def __init__(self) -> None:
        self._calls: set[Ending] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, call: Ending) -> None:
        """Watch a call from now on."""
        with self._lock:
            self._calls.add(call)
            # None survives a fork.
            if self._thread is None or not self._thread.is_alive():
                self._start()

    def discard(self, call: Ending) -> None:
        """Watch a call no more: it is not ended once this has returned."""
        with self._lock:
            self._calls.discard(call)

    def _look(self) -> None:
        idle = 0
        while idle < 10 / TICK:
            time.sleep(TICK)
            now = time.monotonic()
            with self._lock:
                idle = 0 if self._calls else idle + 1
                # Under the lock: a call that is over has given its connection to another one.
                for call in self._calls:
                    if call.deadline <= now and not call.ended:
                        _end(call)
        with self._lock:
            self._thread = None
            if self._calls:  # one began between the last look and now
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._look, name="chatkit-deadlines", daemon=True)
        thread.start()
        self._thread = thread


def _end(call: Ending) -> None:
    try:
        call.end()
    except Exception:
        # One that can't be ended must not keep the others from it.
        call.ended = True
        logger.exception("A call that is over its time could not be ended")
