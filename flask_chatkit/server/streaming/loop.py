"""One event loop for the whole process, in a thread of its own, for as long as the process lives.

Clients of models and databases belong to the loop that they were made on, so a loop for each
request breaks them, and one that answers run on together is also twice as fast. It starts when it
is first needed, and anew in each process that is forked. Under an ASGI server it is the server's
own loop, which :func:`adopt` makes known.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread
import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast
from weakref import WeakSet

from ...runtime.processes import gunicorn_worker
from .beat import Beat

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: Seconds that answers under way get to end by themselves when the process ends.
GRACE = 3.0
#: Seconds that they get, once cancelled, to store what they have said.
CLEANUP_SECONDS = 2.0
#: Seconds for which the code of one answer may keep all others waiting before the log tells.
STALL = 1.0

#: Seconds that kept tasks get to clean up when the process ends: a child process of an MCP server
#: gets two to end by itself, two more after SIGTERM, and is killed then.
CLEANUP = 7.0

#: The tasks that were started in the course of one answer, by whatever code.
_spawned: contextvars.ContextVar[set[asyncio.Task[Any]]] = contextvars.ContextVar(
    "flask_chatkit_spawned"
)


class LoopTimeout(Exception):
    """Who waited for the loop has waited long enough."""


class Job(concurrent.futures.Future[T]):
    """What a coroutine that runs on the loop will return."""

    task: asyncio.Task[T] | None = None

    def stop(self) -> None:
        """Cancel the task; called on the loop."""
        if self.task is not None:
            self.task.cancel()


class Loop:
    """The event loop of this process.

    :param adopted: a server's own loop, which runs already; else one is made, in a new thread.
    """

    def __init__(self, adopted: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = adopted or asyncio.new_event_loop()
        self._loop.set_task_factory(cast("Any", _task))
        self._others: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._is_over = False
        #: When what answers have said is handed on.
        self.beat = Beat()
        self._answers: set[asyncio.Task[Any]] = set()
        self._stopped: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._kept: set[asyncio.Task[Any]] = set()
        self._watched = False
        self._is_ending = False
        self._thread: threading.Thread | None = None
        if adopted is None:
            self._thread = threading.Thread(target=self._run, name="flask_chatkit", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._loop.run_forever()
            except RuntimeError:
                # Under gevent all loops share a thread, and another one is running just now.
                time.sleep(0.05)
            except BaseException:
                # sys.exit in a task or callback of some library's: it must not end all chats.
                logger.critical("The event loop was ended by the code of a chat", exc_info=True)
            else:
                return

    def call(self, act: Callable[..., object], *args: Any) -> None:
        """Have something done on the loop; nobody waits for it."""
        try:
            # In a context of its own: the caller's holds its request, which ends before this does.
            self._loop.call_soon_threadsafe(act, *args, context=contextvars.Context())
        except RuntimeError:
            # The process is ending, and the loop has ended: what it ran was cancelled.
            logger.debug("The event loop has ended; a late call was dropped")

    def start(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Job[T]:
        """Run a coroutine as a task of its own."""
        job: Job[T] = Job()

        async def guarded() -> T:
            try:
                return await make()
            except (SystemExit, KeyboardInterrupt) as error:
                # These would end the loop, and with it every other answer.
                raise RuntimeError(f"the code of a served chat raised {error!r}") from None

        def begin() -> None:
            job.task = self._loop.create_task(guarded())
            self._answers.add(job.task)
            job.task.add_done_callback(finish)
            if not self._watched:
                self._watched = True
                self._watch(time.monotonic() - STALL / 2)

        def finish(task: asyncio.Task[T]) -> None:
            self._answers.discard(task)
            if task.cancelled():
                # Not asyncio's own, which no handler of a view's errors would see.
                job.set_exception(concurrent.futures.CancelledError())
            elif (error := task.exception()) is not None:
                job.set_exception(error)
            else:
                job.set_result(task.result())

        self.call(begin)
        return job

    def run(self, make: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> T:
        """Run a coroutine, and wait for what it returns.

        :param timeout: seconds, after which it is cancelled.
        :raises LoopTimeout: it took longer.
        :raises concurrent.futures.CancelledError: the process ends.
        """
        if self._thread is None and _running() is self._loop:
            # It would wait for itself, and with it the whole server.
            raise RuntimeError("this call waits, and must not be made on the server's event loop")
        job = self.start(make)
        try:
            return job.result(timeout)
        except concurrent.futures.TimeoutError:
            if job.done():
                raise  # one of its own
            self.call(job.stop)
            raise LoopTimeout from None

    def note(self, task: asyncio.Task[Any]) -> None:
        """Remember a task of a site's code, which may outlive the answer that has started it."""
        if self._thread is None:
            self._others.add(task)

    def is_on(self, running: asyncio.AbstractEventLoop) -> bool:
        """Whether it is this event loop of asyncio's."""
        return self._loop is running

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Let a task live until the loop ends, which cancels it and waits for it to clean up."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    @property
    def is_running_here(self) -> bool:
        """Whether the caller runs on this loop."""
        return self.is_on(asyncio.get_running_loop())

    @property
    def has_ended(self) -> bool:
        """Whether it was a server's, which has ended, or has closed it without a word."""
        return self._is_over or self._loop.is_closed()

    @property
    def busy(self) -> int:
        """How many tasks run."""
        return len(self._answers)

    def _watch(self, before: float) -> None:
        """Look, while answers are under way, whether one of them stalls the others."""
        late = time.monotonic() - before - STALL / 2
        if late > STALL:
            logger.warning(
                "The code of a served chat kept all others waiting for %.1f seconds: it blocks "
                "the event loop. Await, or use asyncio.to_thread",
                late,
            )
        if not self._is_ending and (left := _seconds_left()) is not None:
            self._is_ending = True
            self._loop.call_later(max(0.0, left - CLEANUP_SECONDS), self._cancel_all)
        if self._answers:
            self._loop.call_later(STALL / 2, self._watch, time.monotonic())
        else:
            self._watched = False

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, on the loop; once, for a second time would cut its last words off."""
        if task not in self._stopped:
            self._stopped.add(task)
            task.cancel()

    def _cancel_all(self) -> None:
        for task in list(self._answers):
            self.cancel(task)

    async def _clean_up(self) -> None:
        """End what was kept for the process, and then whatever else still runs."""
        await _cancelled(set(self._kept), CLEANUP)
        # What is left is the site's own, such as a task that a function of on_startup has started.
        # A server has tasks on its loop, too, which are none of ours.
        everybody = asyncio.all_tasks(self._loop) if self._thread else set(self._others)
        rest = everybody - {asyncio.current_task(self._loop)}
        await _cancelled({task for task in rest if task is not None and not task.done()}, 1)

    async def drain(self) -> None:
        """Let answers under way end, cancel those that don't, and clean up; on the loop itself."""
        if self._answers:
            await asyncio.wait(self._answers, timeout=GRACE)
        self._cancel_all()
        if self._answers:
            await asyncio.wait(self._answers, timeout=CLEANUP_SECONDS)
        await self._clean_up()
        self._is_over = self._thread is None

    def stop(self) -> None:
        """Drain it, and end the loop; a server's is drained and ended by the server."""
        if self._thread is None or not self._thread.is_alive():
            return
        ended = threading.Event()

        def begin() -> None:
            self._loop.create_task(self.drain()).add_done_callback(end)

        def end(_: object) -> None:
            ended.set()
            self._loop.stop()

        self.call(begin)
        ended.wait(GRACE + CLEANUP_SECONDS + CLEANUP + 2)
        self._thread.join(1)


def _task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **more: Any
) -> asyncio.Task[T]:
    """Make a task, and note whose it is."""
    task = asyncio.Task(coroutine, loop=loop, **more)
    spawned = _spawned.get(None)
    if spawned is not None:
        spawned.add(task)
        task.add_done_callback(spawned.discard)
        if _current is not None:
            _current.note(task)
    return task


def note_spawned() -> set[asyncio.Task[Any]]:
    """From now on note the tasks that the current one starts, and those that they start."""
    spawned: set[asyncio.Task[Any]] = set()
    _spawned.set(spawned)
    return spawned


def keep(make: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
    """Run a coroutine as a task that belongs to no answer; called on the loop.

    It lives until the process ends, and is cancelled then: it cleans up on ``CancelledError``. It
    starts in an empty context, without an application or a request. On a loop that is not this
    process's (a test's, say) nobody but the caller ends it.
    """

    async def guarded() -> T:
        try:
            return await make()
        except (SystemExit, KeyboardInterrupt) as error:
            # These would end the loop, and with it every answer.
            raise RuntimeError(f"code that outlives an answer raised {error!r}") from None

    running = asyncio.get_running_loop()
    apart = contextvars.Context()
    apart.run(note_spawned)
    task: asyncio.Task[T] = apart.run(running.create_task, guarded())
    if _current is not None and _current.is_running_here:
        _current.keep(task)
    return task


async def _cancelled(tasks: set[asyncio.Task[Any]], seconds: float) -> None:
    """Cancel tasks, and wait a while for them to end."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _seconds_left() -> float | None:
    """Seconds that gunicorn gives this worker to end, if it was told to; None while it goes on.

    Gunicorn kills a worker at the end of them, before any of its code runs that ends a process.
    """
    worker = gunicorn_worker()
    if getattr(worker, "alive", True):
        return None
    seconds = getattr(getattr(worker, "cfg", None), "graceful_timeout", GRACE)
    return float(seconds)


_lock = threading.Lock()
_current: Loop | None = None
_is_exiting = False


def current() -> Loop:
    """The loop of this process; it is started if need be."""
    global _current  # noqa: PLW0603  one for each process is the point
    known = _current
    if known is None or (known.has_ended and not _is_exiting):
        with _lock:
            if _current is known:
                _current = Loop()
    return cast("Loop", _current)


def adopt() -> Loop:
    """Have the loop that runs be that of this process, unless there is one already.

    Clients that were made on one loop don't work on another, so a loop that was needed before the
    server's ran (while the application was made, say) stays what it is: a thread's own.

    :returns: the loop of this process.
    """
    global _current  # noqa: PLW0603  as above
    with _lock:
        if _current is None or _current.has_ended:
            _current = Loop(asyncio.get_running_loop())
        return _current


def _forget() -> None:
    """In a forked process: the thread is the parent's, and so is a lock that it may hold."""
    global _current, _lock
    _current, _lock = None, threading.Lock()


#: What is done when the process ends and the loop has ended, in the order of registration.
_last_acts: list[Callable[[], object]] = []


def at_end(act: Callable[[], object]) -> None:
    """Have something done when the process ends and the loop has ended; it is called once."""
    _last_acts.append(act)


def _stop() -> None:
    global _is_exiting  # noqa: PLW0603  it is the process that exits
    _is_exiting = True
    if _current is not None:
        _current.stop()
    for act in _last_acts:
        try:
            act()
        except Exception:
            logger.exception("What was to be done at the process's end failed")


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
# Before the pools of threads end, which atexit comes after: what was said is stored by one of
# them, and gunicorn's is waited for as long as an answer takes. Hooks run in reverse order, and
# the pools' is set when concurrent.futures.thread is imported.
getattr(threading, "_register_atexit", atexit.register)(_stop)
