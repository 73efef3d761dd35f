"""Threads for calls that may hang: the caller gives up at a deadline, and other calls continue.

In a ``ThreadPoolExecutor``, a call that never returns occupies a worker for good, and blocks the
end of the process.
"""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar
from weakref import WeakSet, finalize

T = TypeVar("T")

_Job = tuple["Future[Any]", Callable[[], Any]]

#: Seconds after which a call is started although many hang, which may never return.
AGAIN_SECONDS = 60.0


class Stuck(Exception):
    """A call did not return in time, or so many hang that no further one is started."""


class _Crew:
    """State that the threads share, without a reference to :class:`Workers`, which may be freed."""

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self.name = name
        self.lock = threading.Lock()
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.idle = threading.Semaphore(0)
        self.threads = 0
        self.running: WeakSet[threading.Thread] = WeakSet()
        #: Jobs that occupy a thread, and that no caller waits for any more.
        self.abandoned: set[Future[Any]] = set()

    def grow(self) -> None:
        """Start a thread for a job, unless one is idle or there are enough."""
        if self.idle.acquire(blocking=False):
            return
        with self.lock:
            if self.threads >= self.size:
                return
            self.threads += 1
        # A daemon: a thread that hangs must not block the end of the process.
        thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        thread.start()
        # Added now: a thread can't be joined before it is started.
        self.running.add(thread)

    def stop(self) -> None:
        """End each thread after the jobs so far."""
        with self.lock:
            count, self.threads = self.threads, self.size
        for _ in range(count):
            self.jobs.put(None)

    def _work(self) -> None:
        while True:
            try:
                job = self.jobs.get_nowait()
            except queue.Empty:
                self.idle.release()
                job = self.jobs.get()
            if job is None:
                return
            future = job[0]
            _perform(*job)
            # Neither the job nor its result is kept until the next one.
            del job
            with self.lock:
                if future in self.abandoned:
                    # Another thread has replaced this one.
                    self.abandoned.discard(future)
                    return
            del future


def _perform(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - raised in the caller
        future.set_exception(error)
    else:
        future.set_result(result)


class Workers:
    """A pool of threads whose calls may hang.

    :param size: how many threads there are, beside those that hang.
    :param name: the threads' name.
    :param most: how many may hang; beyond these, one call a minute is started.
    """

    def __init__(self, size: int, name: str, most: int = 64) -> None:
        self._crew = _Crew(size, name)
        self._most = most
        self._begun_at = float("-inf")
        self._stop = finalize(self, self._crew.stop)
        self._stop.atexit = False

    def close(self, seconds: float) -> None:
        """End the threads after the jobs so far, and wait for them at most this long."""
        self._stop()
        end = time.monotonic() + seconds
        for thread in list(self._crew.running):
            thread.join(max(0.0, end - time.monotonic()))

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Start a call in a thread.

        :raises Stuck: too many threads hang.
        """
        now = time.monotonic()
        if len(self._crew.abandoned) >= self._most and now - self._begun_at < AGAIN_SECONDS:
            raise Stuck(f"{self._most} calls hang")
        self._begun_at = now
        future: Future[T] = Future()
        self._crew.jobs.put((future, work))
        self._crew.grow()
        return future

    def run(self, work: Callable[[], T], seconds: float) -> T:
        """Run a call in a thread, and return its result.

        :raises Stuck: it takes longer; its thread is replaced.
        """
        future = self.submit(work)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise  # the call's own error
            self.abandon(future)
            raise Stuck(f"a call took more than {seconds:g} seconds") from None

    def abandon(self, future: Future[Any]) -> None:
        """Give up a job: it is not started, or its thread is replaced."""
        if future.cancel():
            return
        crew = self._crew
        with crew.lock:
            if future.done():
                return
            crew.abandoned.add(future)
            crew.threads -= 1
        if not crew.jobs.empty():
            crew.grow()

    @property
    def stuck(self) -> int:
        """How many threads hang."""
        return len(self._crew.abandoned)
