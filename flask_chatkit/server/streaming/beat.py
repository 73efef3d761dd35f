"""When what an answer has said is handed on: one timer for all answers, and few at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

#: Seconds between two beats, on a loop that is not late.
BEAT = 0.005
#: Answers that are handed on in one beat. Each may wake a thread, and all that are awake at a time
#: ask for Python's lock: a loop that is late wakes fewer of them, and has more to hand on to each.
AT_A_BEAT = 16
#: Seconds for which an answer that is due may be held back by that.
LATEST = 0.5


class Beat:
    """Calls functions after a while, in the order in which they were given."""

    def __init__(self) -> None:
        self._due: deque[tuple[float, Callable[[], None]]] = deque()
        self._is_set = False

    def add(self, act: Callable[[], None], seconds: float) -> None:
        """Call a function, on the loop that runs.

        :param seconds: the time to wait for more, at least.
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
