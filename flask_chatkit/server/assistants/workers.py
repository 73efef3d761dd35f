"""Running a site's functions, blocking or not, so that no answer keeps another one waiting.

A blocking function gets a thread of its own for each call. Of a small pool, a few slow ones would
take every place, and all other visitors would wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any, Generic, TypeVar

from flask import has_app_context

from ...runtime._upstream import this_app

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")
R = TypeVar("R")

#: Outputs that a function may be ahead of its reader; then it waits.
AHEAD = 16
#: Seconds that an asynchronous function gets, once cancelled, to clean up.
CLEANUP_SECONDS = 2.0


class Channel(Generic[T]):
    """What a function puts out, on its way to the answer's task. Made on the loop.

    :param room: how many outputs wait at most before a function waits.
    """

    def __init__(self, room: int = AHEAD) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._room = room
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._news = asyncio.Event()
        self._space = asyncio.Event()
        self._error: BaseException | None = None
        self._finished = False
        self._calls: set[Any] = set()
        #: Whether nobody reads any more.
        self.closed = False

    # --- the function's side, in any thread -----------------------------------------------------

    def put(self, item: T) -> None:
        """Hand something over. Another thread than the loop's waits while there is no room.

        :raises GeneratorExit: nobody reads any more, so there is no use in going on.
        """
        if item is None:
            return
        with self._changed:
            while not (self.closed or self.on_loop or len(self._items) < self._room):
                self._changed.wait()
            if self.closed:
                raise GeneratorExit
            self._items.append(item)
        self._tell(self._news)

    async def put_on_loop(self, item: T) -> None:
        """Hand something over, on the loop; this waits while there is no room."""
        while len(self._items) >= self._room and not self.closed:
            self._space.clear()
            await self._space.wait()
        self.put(item)

    def finish(self, error: BaseException | None = None) -> None:
        """Say that this was all; an error is raised where it is read."""
        with self._changed:
            self._finished, self._error = True, error
        self._tell(self._news)

    def wait_for(self, make: Callable[[], Awaitable[R]]) -> R:
        """Wait in another thread for something that only the loop can do.

        :raises GeneratorExit: nobody reads any more.
        """

        async def wait() -> R:
            return await make()

        with self._changed:
            if self.closed:
                raise GeneratorExit
            call = asyncio.run_coroutine_threadsafe(wait(), self._loop)
            self._calls.add(call)
        try:
            return call.result()
        except BaseException:
            if self.closed:
                raise GeneratorExit from None
            raise
        finally:
            with self._changed:
                self._calls.discard(call)

    @property
    def on_loop(self) -> bool:
        """Whether the caller runs on the loop, where nobody may block."""
        return threading.get_ident() == self._loop_thread

    def call_on_loop(self, act: Callable[..., object], *args: Any) -> None:
        """Have something done on the loop; nobody waits for it."""
        try:
            self._loop.call_soon_threadsafe(act, *args)
        except RuntimeError:
            # The process is ending, and the loop has ended.
            self.closed = True

    def _tell(self, event: asyncio.Event) -> None:
        if self.on_loop:
            event.set()
        else:
            self.call_on_loop(event.set)

    # --- the answer's side, on the loop ---------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[T]:
        """What comes, until the function has ended."""
        while True:
            with self._changed:
                if self._items:
                    item = self._items.popleft()
                    self._changed.notify_all()
                    self._space.set()
                elif self._finished:
                    break
                else:
                    self._news.clear()
                    item = None
            if item is None:
                await self._news.wait()
            else:
                yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Read no more: whoever puts something out from now on is told to end."""
        with self._changed:
            self.closed = True
            calls = list(self._calls)
            self._changed.notify_all()
        self._space.set()
        for call in calls:
            call.cancel()


class Work:
    """A site's function at work, and what it puts out.

    :param is_one: whether what a function returned is one output, not many of them.
    """

    def __init__(self, is_one: Callable[[Any], bool]) -> None:
        self.channel: Channel[Any] = Channel()
        self._is_one = is_one
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self, function: Callable[..., Any], *args: Any) -> None:
        """Call the function: on the loop if it is asynchronous, else in a thread of its own."""
        if is_asynchronous(function):
            self._start_on_loop(lambda: function(*args))
        else:
            spawn(self._work, function, *args)

    def stop(self) -> None:
        """End the function at its next output, or where it awaits; once is enough."""
        if not self._stopped:
            self._stopped = True
            self.channel.close()
            if self._task is not None:
                self._task.cancel()

    async def settle(self) -> None:
        """Stop, and let an asynchronous function clean up."""
        self.stop()
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=CLEANUP_SECONDS)

    def _work(self, function: Callable[..., Any], *args: Any) -> None:
        channel = self.channel
        try:
            result = function(*args)
            if inspect.isawaitable(result) or hasattr(result, "__aiter__"):
                # A plain function around an asynchronous one, as decorators make them.
                channel.call_on_loop(self._start_on_loop, lambda: result)
                return
            with closing(self._outputs(result)) as outputs:
                for output in outputs:
                    channel.put(output)
        except BaseException as error:  # noqa: BLE001 - told to whoever reads, if anybody does
            self._end(error)
        else:
            channel.finish()

    def _start_on_loop(self, make: Callable[[], Any]) -> None:
        if not self._stopped:
            self._task = asyncio.create_task(self._work_on_loop(make))

    async def _work_on_loop(self, make: Callable[[], Any]) -> None:
        channel = self.channel
        try:
            result = make()
            if inspect.isawaitable(result):
                result = await result
            if hasattr(result, "__aiter__"):
                try:
                    async for output in result:
                        await channel.put_on_loop(output)
                finally:
                    if hasattr(result, "aclose"):
                        await result.aclose()
            else:
                with closing(self._outputs(result)) as outputs:
                    for output in outputs:
                        await channel.put_on_loop(output)
        except BaseException as error:  # noqa: BLE001 - told to whoever reads, if anybody does
            self._end(error)
        else:
            channel.finish()

    def _outputs(self, result: Any) -> Generator[Any, None, None]:
        if result is None:
            return
        if self._is_one(result):
            yield result
            return
        try:
            yield from result
        finally:
            # GeneratorExit at its yield, however this ends.
            if hasattr(result, "close"):
                result.close()

    def _end(self, error: BaseException) -> None:
        if self.channel.closed:
            if isinstance(error, Exception):
                logger.warning("A function failed after its answer was stopped", exc_info=error)
        elif isinstance(error, Exception):
            self.channel.finish(error)
        else:
            # SystemExit would end the loop, CancelledError and GeneratorExit would pass for a stop.
            strange = RuntimeError(f"the function raised {error!r}")
            strange.__cause__ = error
            self.channel.finish(strange)


def is_asynchronous(function: Callable[..., Any]) -> bool:
    """Whether calling this does not block: a coroutine function or an asynchronous generator's."""
    call = getattr(type(function), "__call__", None)  # noqa: B004 - it is called with another
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, call)
    )


def spawn(function: Callable[..., Any], *args: Any) -> None:
    """Call a function in a thread of its own, in a copy of this context.

    It has an application context of its own as well, so that what the site tears down is torn
    down in the thread that used it, and only when that has ended.
    """
    context = contextvars.copy_context()
    app = this_app() if has_app_context() else None

    def work() -> None:
        try:
            with app.app_context() if app is not None else nullcontext():
                function(*args)
        except Exception:
            logger.exception("The application context of an answer could not be torn down")

    threading.Thread(
        target=context.run, args=(work,), name="flask_chatkit answer", daemon=True
    ).start()


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """What a site's function returns, be it blocking or asynchronous."""
    if is_asynchronous(function):
        return await function(*args)
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            done.set_exception(error)
        else:
            done.set_exception(RuntimeError(f"the function raised {error!r}"))

    def work() -> None:
        result, error = None, None
        try:
            result = function(*args)
        except BaseException as caught:  # noqa: BLE001 - told to whoever waits
            error = caught
        try:
            loop.call_soon_threadsafe(tell, result, error)
        except RuntimeError:
            logger.debug("The event loop has ended before a function has")

    spawn(work)
    result = await done
    return await result if inspect.isawaitable(result) else result


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Have something stopped when this block ends, or the task if that ends before.

    A task that is cancelled while a store is asked leaves the generators that answer suspended
    until they are collected: what they have running must not wait for that.
    """
    task = asyncio.current_task()

    def ended(_: object) -> None:
        stop()

    if task is not None:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        if task is not None:
            task.remove_done_callback(ended)
        stop()
