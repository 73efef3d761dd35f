"""Running a site's functions, blocking or not, without one answer delaying another.

Each call of a blocking function gets a thread of its own: a few slow ones would fill a small pool,
and all other visitors would wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

from flask import has_app_context

from ...runtime._upstream import this_app
from .channel import Channel

logger = logging.getLogger("flask_chatkit")

#: Seconds that an asynchronous function gets, once cancelled, to clean up.
CLEANUP_SECONDS = 2.0


class Work:
    """One run of a site's function, and the channel of its outputs.

    :param is_one: whether what a function returned is one output, not an iterable of them.
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
        """End the function at its next output, or where it awaits."""
        if not self._stopped:
            self._stopped = True
            self.channel.close()
            if self._task is not None:
                self._task.cancel()

    async def settle(self) -> None:
        """Stop, and wait for an asynchronous function to clean up."""
        self.stop()
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=CLEANUP_SECONDS)

    def _work(self, function: Callable[..., Any], *args: Any) -> None:
        channel = self.channel
        try:
            result = function(*args)
            if inspect.isawaitable(result) or hasattr(result, "__aiter__"):
                # A plain function around an asynchronous one, such as a decorator's.
                channel.call_on_loop(self._start_on_loop, lambda: result)
                return
            with closing(self._outputs(result)) as outputs:
                for output in outputs:
                    channel.put(output)
        except BaseException as error:  # noqa: BLE001 - raised where it is read
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
        except BaseException as error:  # noqa: BLE001 - raised where it is read
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
            # Raises GeneratorExit at its yield, whatever the reason.
            if hasattr(result, "close"):
                result.close()

    def _end(self, error: BaseException) -> None:
        if self.channel.closed:
            if isinstance(error, Exception):
                logger.warning("A function failed after its answer was stopped", exc_info=error)
        elif isinstance(error, Exception):
            self.channel.finish(error)
        else:
            # SystemExit would end the loop; the others would look like a stop.
            wrapped = RuntimeError(f"the function raised {error!r}")
            wrapped.__cause__ = error
            self.channel.finish(wrapped)


def is_asynchronous(function: Callable[..., Any]) -> bool:
    """Whether this is a coroutine function or an asynchronous generator function."""
    call = getattr(type(function), "__call__", None)  # noqa: B004 - it is called with another
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, call)
    )


def spawn(function: Callable[..., Any], *args: Any) -> None:
    """Call a function in a new thread, in a copy of this context.

    It has an application context of its own as well, so that the site's teardown functions run in
    the thread that used it, at its end.
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
    """The result of a site's function, which may block or be asynchronous."""
    if is_asynchronous(function):
        return await function(*args)
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def resolve(result: Any, error: BaseException | None) -> None:
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
        except BaseException as caught:  # noqa: BLE001 - raised in the task
            error = caught
        try:
            loop.call_soon_threadsafe(resolve, result, error)
        except RuntimeError:
            logger.debug("The event loop has ended before a function has")

    spawn(work)
    result = await done
    return await result if inspect.isawaitable(result) else result


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call a function when this block ends, or when the task does.

    A task that is cancelled while it awaits a store leaves the answering generators suspended until
    they are collected: what they have started must not wait for that.
    """
    task = asyncio.current_task()

    def on_end(_: object) -> None:
        stop()

    if task is not None:
        task.add_done_callback(on_end)
    try:
        yield
    finally:
        if task is not None:
            task.remove_done_callback(on_end)
        stop()
