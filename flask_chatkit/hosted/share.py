"""Bounds how many calls of a process wait for OpenAI: a slow API must not block the site."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UpstreamTimeout, UpstreamUnavailable
from ..runtime._upstream import worker_threads
from ..runtime.processes import PerProcess

#: The API counts as hanging if a call waits this many seconds, and none is answered meanwhile.
SLOW_SECONDS = 1.0
#: Seconds for a call beyond the share.
BEYOND_SECONDS = 2.0
#: Calls that may wait in a server with an unknown number of threads.
UNKNOWN = 16
#: Seconds of Retry-After for browsers.
RETRY_AFTER = 5


class Share:
    """Lets at most so many calls wait for a slow API.

    While the API answers, there may be more, as many as the server has threads. A call beyond the
    share gets little time, though, and none begins once a call has waited :data:`SLOW_SECONDS`
    while no other was answered.

    :param size: how many; None: half of the threads of gunicorn's worker, or :data:`UNKNOWN` in
        another server.
    """

    def __init__(self, size: int | None = None) -> None:
        # Per process: a lock may be held during a fork, after which gunicorn's worker is known.
        self._places = PerProcess(lambda: _Places(size))

    @contextmanager
    def call(self) -> Iterator[float | None]:
        """Hold a place; yield the seconds that the call may take, None for as long as usual.

        :raises UpstreamUnavailable: there is no place, or a call beyond the share timed out.
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
    """The current calls of one process."""

    def __init__(self, size: int | None) -> None:
        self.lock = threading.Lock()
        #: The start of each call, the oldest first, in seconds of time.monotonic().
        self.begun: dict[object, float] = {}
        #: The time of the last response, in seconds of time.monotonic().
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
