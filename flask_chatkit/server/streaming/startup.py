"""What a site starts once in each process: the functions of ``ChatKit.on_startup``."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import loop

if TYPE_CHECKING:
    from flask import Flask

logger = logging.getLogger("flask_chatkit")

#: Seconds that each function may take.
STARTUP_SECONDS = 30.0


class StartupFailed(Exception):
    """A function of on_startup has failed; the log has the name and the error."""


class Startup:
    """The functions that run before the first answer, for one kit on one application.

    :param functions: what the site has declared.
    """

    def __init__(self, functions: Sequence[Callable[[], Any]]) -> None:
        self._functions = functions
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun: list[asyncio.Future[None]] = []

    async def run(self, app: Flask) -> None:
        """Run what has not run yet in this process, in order; concurrent callers wait for it.

        :param app: whose application context they run in.
        :raises StartupFailed: one of them has failed; the next call tries it again.
        """
        running = asyncio.get_running_loop()
        if self._loop is not running:
            # The first call, or a forked process: what has run belongs to the parent's loop.
            self._loop, self._begun = running, []
        for place, function in enumerate(self._functions):
            if place == len(self._begun):
                self._begun.append(self._begin(function, app))
            elif self._begun[place].done() and self._begun[place].exception() is not None:
                self._begun[place] = self._begin(function, app)
            # A caller that is cancelled must not cancel what others wait for.
            await asyncio.shield(self._begun[place])

    def _begin(self, function: Callable[[], Any], app: Flask) -> asyncio.Future[None]:
        running = asyncio.get_running_loop()
        ready: asyncio.Future[None] = running.create_future()
        # Retrieved, so that asyncio logs nothing when all callers were cancelled.
        ready.add_done_callback(lambda done: done.exception())
        task = loop.keep(lambda: _live(function, app, ready))

        def give_up() -> None:
            _fail(function, ready, asyncio.TimeoutError())
            task.cancel()

        timer = running.call_later(STARTUP_SECONDS, give_up)
        ready.add_done_callback(lambda _: timer.cancel())
        return ready


async def _live(function: Callable[[], Any], app: Flask, ready: asyncio.Future[None]) -> None:
    """Run a function, and what follows its ``yield`` at the end of the process."""
    with app.app_context():
        try:
            made = function()
            if inspect.isasyncgen(made):
                await made.__anext__()
            elif inspect.isawaitable(made):
                await made
        except BaseException as error:
            _fail(function, ready, error)
            if not isinstance(error, Exception):
                raise
            return
        if not ready.done():
            ready.set_result(None)
        if not inspect.isasyncgen(made):
            return
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await made.__anext__()
            except StopAsyncIteration:
                pass
            except Exception:
                logger.exception("The end of on_startup's %s has failed", _name(function))
            else:
                logger.error("on_startup's %s yields more than once", _name(function))
                await made.aclose()


def _fail(function: Callable[[], Any], ready: asyncio.Future[None], error: BaseException) -> None:
    if ready.done():
        return
    ready.set_exception(StartupFailed(_name(function)))
    if isinstance(error, asyncio.TimeoutError):
        logger.error(
            "on_startup's %s took more than %g seconds and was cancelled",
            _name(function),
            STARTUP_SECONDS,
        )
    elif not isinstance(error, asyncio.CancelledError):  # which is the end of the process
        logger.error("on_startup's %s has failed", _name(function), exc_info=error)


def _name(function: Callable[[], Any]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
