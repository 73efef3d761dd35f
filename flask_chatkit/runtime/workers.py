"""Threads for calls that may hang: whoever waits gives up at a deadline, and others go on.

A ``ThreadPoolExecutor`` has no place for a thread that never comes back: it takes a worker for
good, and the process waits for it when it ends.
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


#: Seconds after which a call is begun although many hang: these may never come back.
AGAIN_SECONDS = 60.0


class Stuck(Exception):
    """A call did not return in time, or so many hang that no further one is begun."""


class _Crew:
    """What the threads share; it knows nothing of its :class:`Workers`, which may go away."""

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self.name = name
        self.lock = threading.Lock()
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.idle = threading.Semaphore(0)
        self.threads = 0
        self.running: WeakSet[threading.Thread] = WeakSet()
        #: Jobs that hold a thread, and that nobody waits for any more.
        self.abandoned: set[Future[Any]] = set()

    def grow(self) -> None:
        """Start a thread for a job, unless one is idle or there are enough."""
        if self.idle.acquire(blocking=False):
            return
        with self.lock:
            if self.threads >= self.size:
                return
            self.threads += 1
        # Not waited for when the process ends: one that hangs would keep it from ending.
        thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        thread.start()
        # Not before: nobody can wait for one that has not been started.
        self.running.add(thread)

    def stop(self) -> None:
        """Have each thread end when it is done with what came before."""
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
            # Neither the job nor what it returned is kept until the next one comes.
            del job
            with self.lock:
                if future in self.abandoned:
                    # Another thread has taken this one's place.
                    self.abandoned.discard(future)
                    return
            del future


def _perform(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it
        future.set_exception(error)
    else:
        future.set_result(result)


class Workers:
    """Threads that do pieces of work, one each at a time.

    :param size: how many there are, beside those that hang.
    :param name: what the threads are called.
    :param most: how many may hang; beyond these one is begun a minute, until one comes back.
    """

    def __init__(self, size: int, name: str, most: int = 64) -> None:
        self._crew = _Crew(size, name)
        self._most = most
        self._begun_at = float("-inf")
        self._stop = finalize(self, self._crew.stop)
        self._stop.atexit = False

    def close(self, seconds: float) -> None:
        """End the threads when they have done what came before, and wait for them a while."""
        self._stop()
        end = time.monotonic() + seconds
        for thread in list(self._crew.running):
            thread.join(max(0.0, end - time.monotonic()))

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have something done.

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
        """Have something done, and wait for it.

        :raises Stuck: it takes longer; its thread is replaced.
        """
        future = self.submit(work)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise  # one of its own
            self.abandon(future)
            raise Stuck(f"a call took more than {seconds:g} seconds") from None

    def abandon(self, future: Future[Any]) -> None:
        """Wait no more for a job: it is not begun, or its thread is replaced if it hangs."""
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
