"""What a site starts once in each process, for as long as it lives: ``ChatKit.on_startup``."""

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
    """A function of on_startup has failed; the log says which one and why."""


class Startup:
    """The functions that run before the first answer, for one kit on one application.

    :param functions: what the site declares; more may come.
    """

    def __init__(self, functions: Sequence[Callable[[], Any]]) -> None:
        self._functions = functions
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun: list[asyncio.Future[None]] = []

    async def run(self, app: Flask) -> None:
        """Run what has not run yet in this process, in order; all who ask wait for the same.

        :param app: whose application context they run in.
        :raises StartupFailed: one of them has failed, and is tried again the next time.
        """
        running = asyncio.get_running_loop()
        if self._loop is not running:
            # The first time, or a fork: what has run belongs to the parent's loop.
            self._loop, self._begun = running, []
        for place, function in enumerate(self._functions):
            if place == len(self._begun):
                self._begun.append(self._begin(function, app))
            elif self._begun[place].done() and self._begun[place].exception() is not None:
                self._begun[place] = self._begin(function, app)
            # Who is stopped while waiting stops nobody else.
            await asyncio.shield(self._begun[place])

    def _begin(self, function: Callable[[], Any], app: Flask) -> asyncio.Future[None]:
        running = asyncio.get_running_loop()
        ready: asyncio.Future[None] = running.create_future()
        # Looked at, so that nobody complains when all who waited have gone.
        ready.add_done_callback(lambda done: done.exception())
        task = loop.keep(lambda: _live(function, app, ready))

        def give_up() -> None:
            _fail(function, ready, asyncio.TimeoutError())
            task.cancel()

        timer = running.call_later(STARTUP_SECONDS, give_up)
        ready.add_done_callback(lambda _: timer.cancel())
        return ready


async def _live(function: Callable[[], Any], app: Flask, ready: asyncio.Future[None]) -> None:
    """Run a function, and at the end of the process what it has after its ``yield``."""
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
