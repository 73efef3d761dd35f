"""When streams deliver what they hold back: one timer for all of them, and few at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

#: Seconds between two beats, on a loop that is not late.
BEAT = 0.005
#: Streams that deliver in one beat. Each delivery may wake a thread, and all threads that are awake
#: compete for the GIL: a loop that is late wakes fewer of them, with more to read each.
AT_A_BEAT = 16
#: Seconds by which that may delay a stream that is due.
LATEST = 0.5


class Beat:
    """Calls functions after a while, in the order in which they were added."""

    def __init__(self) -> None:
        self._due: deque[tuple[float, Callable[[], None]]] = deque()
        self._is_set = False

    def add(self, act: Callable[[], None], seconds: float) -> None:
        """Call a function on the running loop.

        :param seconds: the shortest delay.
        """
        running = asyncio.get_running_loop()
        self._due.append((running.time() + seconds, act))
        if not self._is_set:
            self._is_set = True
            running.call_later(max(seconds, BEAT), self._beat, running)

    def _beat(self, running: asyncio.AbstractEventLoop) -> None:
        now, count, due = running.time(), 0, self._due
        while due:
            when = due[0][0]
            if when > now or (count >= AT_A_BEAT and now - when < LATEST):
                break
            count += 1
            due.popleft()[1]()
        self._is_set = bool(due)
        if due:
            running.call_later(max(due[0][0] - now, BEAT), self._beat, running)
