"""How much of a process may wait for OpenAI: a hanging API must not take the rest along."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UpstreamTimeout, UpstreamUnavailable
from ..runtime._upstream import worker_threads
from ..runtime.processes import PerProcess

#: Seconds that a call may be under way, and none be answered, before the API counts as hanging.
SLOW_SECONDS = 1.0
#: Seconds that a call beyond the share gets.
BEYOND_SECONDS = 2.0
#: Calls that may wait in a server whose number of threads is not known.
UNKNOWN = 16
#: Seconds that a browser is told to wait.
RETRY_AFTER = 5


class Share:
    """Lets at most so many calls wait for an API that is slow.

    While it answers more may be under way, as many as the server has threads. A call beyond the
    share gets little time, though, and once one has waited for :data:`SLOW_SECONDS`, and none was
    answered meanwhile, no further one begins.

    :param size: how many; None for half of the threads of gunicorn's worker, and :data:`UNKNOWN`
        in another server.
    """

    def __init__(self, size: int | None = None) -> None:
        # A lock may be held while a process is forked, and gunicorn's worker is known by then.
        self._places = PerProcess(lambda: _Places(size))

    @contextmanager
    def call(self) -> Iterator[float | None]:
        """Hold a place; yields the seconds that the call may take, None for as long as usual.

        :raises UpstreamUnavailable: there is no place, or the call had little time, and it was
            not enough.
        """
        places = self._places.get()
        me, now = object(), time.monotonic()
        with places.lock:
            begun = places.begun
            is_beyond = len(begun) >= places.size
            since = max(places.answered_at, next(iter(begun.values()), now))
            if is_beyond and now - since >= SLOW_SECONDS:
                raise _full(len(begun))
            begun[me] = now
        try:
            yield BEYOND_SECONDS if is_beyond else None
            places.answered_at = time.monotonic()
        except UpstreamTimeout as error:
            if is_beyond:
                raise _full(len(begun)) from error
            raise
        finally:
            with places.lock:
                del begun[me]


class _Places:
    """What one process has under way."""

    def __init__(self, size: int | None) -> None:
        self.lock = threading.Lock()
        #: When each call began, the oldest first.
        self.begun: dict[object, float] = {}
        #: When one was answered last, by time.monotonic().
        self.answered_at = float("-inf")
        self.size = size or _default_size()


def _full(count: int) -> UpstreamUnavailable:
    return UpstreamUnavailable(
        detail=f"OpenAI is slow, and {count} calls of this process wait for it already",
        retry_after=RETRY_AFTER,
    )


def _default_size() -> int:
    threads = worker_threads()
    return UNKNOWN if threads is None else max(1, threads // 2)
