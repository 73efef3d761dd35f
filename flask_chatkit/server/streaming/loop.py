"""One event loop for the whole process, in a thread of its own.

Clients of models and databases belong to the loop that they were made on, so a loop for each
request would break them; a shared one is also twice as fast. It starts when it is first needed, and
again in each forked process. Under an ASGI server it is the server's own loop: see :func:`adopt`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast
from weakref import WeakSet

from ...runtime._upstream import at_exit, gunicorn_seconds_left
from .pacing import Beat

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: Seconds that answers under way get to end by themselves when the process ends.
GRACE_SECONDS = 3.0
#: Seconds that they get, once cancelled, to store what they have sent.
CLEANUP_SECONDS = 2.0
#: Seconds for which the code of one answer may block all others before a warning is logged.
STALL_SECONDS = 1.0
#: Seconds that kept tasks get to clean up when the process ends: the child process of an MCP server
#: gets two to end by itself and two more after SIGTERM, and is then killed.
KEPT_TASK_SECONDS = 7.0

#: The tasks that were started in the course of one answer, by whatever code.
_spawned: contextvars.ContextVar[set[asyncio.Task[Any]]] = contextvars.ContextVar(
    "flask_chatkit_spawned"
)


class LoopTimeout(Exception):
    """A coroutine on the loop took longer than its caller would wait."""


class Job(concurrent.futures.Future[T]):
    """The future result of a coroutine that runs on the loop."""

    task: asyncio.Task[T] | None = None

    def stop(self) -> None:
        """Cancel the task; called on the loop."""
        if self.task is not None:
            self.task.cancel()


class Loop:
    """The event loop of this process.

    :param adopted: a server's running loop; without it a new one runs in a new thread.
    """

    def __init__(self, adopted: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = adopted or asyncio.new_event_loop()
        self._loop.set_task_factory(cast("Any", _make_task))
        self._others: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._is_over = False
        #: When the streams deliver what they hold back.
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
                # sys.exit in a library's task or callback must not end all chats.
                logger.critical("The event loop was ended by the code of a chat", exc_info=True)
            else:
                return

    def call(self, act: Callable[..., object], *args: Any) -> None:
        """Call a function on the loop, without waiting for it."""
        try:
            # In an empty context: the caller's holds its request, which ends before this does.
            self._loop.call_soon_threadsafe(act, *args, context=contextvars.Context())
        except RuntimeError:
            # The process is ending, and what the loop ran was cancelled.
            logger.debug("The event loop has ended; a late call was dropped")

    def start(self, make: Callable[[], Coroutine[Any, Any, T]], *, guard: bool = True) -> Job[T]:
        """Run a coroutine as a new task.

        :param guard: whether ``SystemExit`` is caught; False for a coroutine that does so itself.
        """
        job: Job[T] = Job()

        def begin() -> None:
            job.task = self._loop.create_task(_guarded(make) if guard else make())
            self._answers.add(job.task)
            job.task.add_done_callback(finish)
            if not self._watched:
                self._watched = True
                self._watch(time.monotonic() - STALL_SECONDS / 2)

        def finish(task: asyncio.Task[T]) -> None:
            self._answers.discard(task)
            if task.cancelled():
                # Not asyncio's own, which is no Exception: no view's error handler would see it.
                job.set_exception(concurrent.futures.CancelledError())
            elif (error := task.exception()) is not None:
                job.set_exception(error)
            else:
                job.set_result(task.result())

        self.call(begin)
        return job

    def run(self, make: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> T:
        """Run a coroutine, and wait for its result.

        :param timeout: seconds, after which it is cancelled.
        :raises LoopTimeout: it took longer.
        :raises concurrent.futures.CancelledError: the process ends.
        """
        if self._thread is None and _running() is self._loop:
            # It would deadlock, and with it the whole server.
            raise RuntimeError("this call waits, and must not be made on the server's event loop")
        job = self.start(make)
        try:
            return job.result(timeout)
        except concurrent.futures.TimeoutError:
            if job.done():
                raise  # the coroutine's own
            self.call(job.stop)
            raise LoopTimeout from None

    def note(self, task: asyncio.Task[Any]) -> None:
        """Remember a task of the site's code, which may outlive the answer that started it."""
        if self._thread is None:
            self._others.add(task)

    def is_on(self, running: asyncio.AbstractEventLoop) -> bool:
        """Whether it wraps this asyncio loop."""
        return self._loop is running

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Let a task run until the loop ends, which cancels it and waits for its cleanup."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    @property
    def is_running_here(self) -> bool:
        """Whether the caller runs on this loop."""
        return self.is_on(asyncio.get_running_loop())

    @property
    def has_ended(self) -> bool:
        """Whether it was a server's that has ended, or has closed the loop without notice."""
        return self._is_over or self._loop.is_closed()

    @property
    def busy(self) -> int:
        """How many answers run."""
        return len(self._answers)

    def _watch(self, before: float) -> None:
        """While answers are under way, warn if one of them blocks the others."""
        late = time.monotonic() - before - STALL_SECONDS / 2
        if late > STALL_SECONDS:
            logger.warning(
                "The code of a served chat blocks the event loop: all other chats waited for %.1f "
                "seconds. Await, or use asyncio.to_thread",
                late,
            )
        if not self._is_ending and (left := gunicorn_seconds_left(GRACE_SECONDS)) is not None:
            self._is_ending = True
            self._loop.call_later(max(0.0, left - CLEANUP_SECONDS), self._cancel_all)
        if self._answers:
            self._loop.call_later(STALL_SECONDS / 2, self._watch, time.monotonic())
        else:
            self._watched = False

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, on the loop; only once, as a second time would interrupt its cleanup."""
        if task not in self._stopped:
            self._stopped.add(task)
            task.cancel()

    def _cancel_all(self) -> None:
        for task in list(self._answers):
            self.cancel(task)

    async def _clean_up(self) -> None:
        """End the kept tasks, and then whatever else still runs."""
        await _cancelled(set(self._kept), KEPT_TASK_SECONDS)
        # What is left is the site's own, such as a task that an on_startup function has started. An
        # adopted loop has tasks of the server's as well, which are left alone.
        everybody = asyncio.all_tasks(self._loop) if self._thread else set(self._others)
        rest = everybody - {asyncio.current_task(self._loop)}
        await _cancelled({task for task in rest if task is not None and not task.done()}, 1)

    async def drain(self) -> None:
        """Let answers under way end, cancel the rest, and clean up; runs on the loop."""
        if self._answers:
            await asyncio.wait(self._answers, timeout=GRACE_SECONDS)
        self._cancel_all()
        if self._answers:
            await asyncio.wait(self._answers, timeout=CLEANUP_SECONDS)
        await self._clean_up()
        self._is_over = self._thread is None

    def stop(self) -> None:
        """Drain and end the loop; an adopted one is drained and ended by its server."""
        if self._thread is None or not self._thread.is_alive():
            return
        ended = threading.Event()

        def begin() -> None:
            self._loop.create_task(self.drain()).add_done_callback(end)

        def end(_: object) -> None:
            ended.set()
            self._loop.stop()

        self.call(begin)
        ended.wait(GRACE_SECONDS + CLEANUP_SECONDS + KEPT_TASK_SECONDS + 2)
        self._thread.join(1)


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **more: Any
) -> asyncio.Task[T]:
    """The loop's task factory: notes which answer has started a task."""
    task = asyncio.Task(coroutine, loop=loop, **more)
    spawned = _spawned.get(None)
    if spawned is not None:
        spawned.add(task)
        task.add_done_callback(spawned.discard)
        if _current is not None:
            _current.note(task)
    return task


def note_spawned() -> set[asyncio.Task[Any]]:
    """Note from now on the tasks that the current one starts, directly or indirectly."""
    spawned: set[asyncio.Task[Any]] = set()
    _spawned.set(spawned)
    return spawned


def keep(make: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
    """Run a coroutine on the loop as a task that belongs to no answer.

    It is cancelled when the process ends, and cleans up on ``CancelledError``. It starts in an
    empty context, without an application or a request. On another loop than this process's (a
    test's, say) only the caller ends it.
    """
    running = asyncio.get_running_loop()
    apart = contextvars.Context()
    apart.run(note_spawned)
    task: asyncio.Task[T] = apart.run(running.create_task, _guarded(make))
    if _current is not None and _current.is_running_here:
        _current.keep(task)
    return task


async def _guarded(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a site's coroutine; ``SystemExit`` would end the loop, and with it every answer."""
    try:
        return await make()
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the code of a served chat raised {error!r}") from None


async def _cancelled(tasks: set[asyncio.Task[Any]], seconds: float) -> None:
    """Cancel tasks, and wait up to so many seconds for them to end."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_lock = threading.Lock()
_current: Loop | None = None
_is_exiting = False


def current() -> Loop:
    """The loop of this process, started if need be."""
    global _current  # noqa: PLW0603  there is one for each process
    known = _current
    if known is None or (known.has_ended and not _is_exiting):
        with _lock:
            if _current is known:
                _current = Loop()
    return cast("Loop", _current)


def adopt() -> Loop:
    """Make the running loop that of this process, unless there is one already.

    Clients that were made on one loop don't work on another, so a loop that was needed before the
    server's ran (while the application was made, say) stays in use.

    :returns: the loop of this process.
    """
    global _current  # noqa: PLW0603  as above
    with _lock:
        if _current is None or _current.has_ended:
            _current = Loop(asyncio.get_running_loop())
        return _current


def _forget() -> None:
    """Start anew in a forked process: the thread and the lock are the parent's."""
    global _current, _lock
    _current, _lock = None, threading.Lock()


#: Called when the loop has ended because the process ends, in the order of registration.
_at_end: list[Callable[[], object]] = []


def at_end(act: Callable[[], object]) -> None:
    """Register a function to be called once the loop has ended because the process ends."""
    _at_end.append(act)


def _stop() -> None:
    global _is_exiting  # noqa: PLW0603  it is the process that exits
    _is_exiting = True
    if _current is not None:
        _current.stop()
    for act in _at_end:
        try:
            act()
        except Exception:
            logger.exception("A function that runs at the end of the process has failed")


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
# Before thread pools end: a pool stores what was sent, and gunicorn's is waited for as long as an
# answer takes.
at_exit(_stop)
