"""Running a site's asynchronous code from a view: on the loop, with what it may count on around."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from flask import Flask, current_app

from ..context import ChatContext, current_context
from . import loop

T = TypeVar("T")


def this_app() -> Flask:
    """The application itself, which outlives the request."""
    return cast("Flask", current_app._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001


def run_sync(
    context: ChatContext | None, make: Callable[[], Coroutine[Any, Any, T]], seconds: float
) -> T:
    """Run a coroutine on the loop, in an application context, and wait for what it returns.

    :param context: the chat's context, for code that was handed another one.
    :raises LoopTimeout: it took longer than ``seconds``, and was cancelled.
    """
    app = this_app()

    async def act() -> T:
        if context is not None:
            current_context.set(context)
        with app.app_context():
            return await make()

    return loop.current().run(act, seconds)


def run_at_once(make: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
    """Run a coroutine of our own store's right here, which waits for nothing, or else on the loop.

    It crosses no thread, unless one loop runs in all of them, as under gevent.

    :raises flask_chatkit.server.streaming.loop.LoopTimeout: as for :func:`run_sync`.
    """
    reading = make()
    try:
        reading.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    reading.close()
    return run_sync(None, make, seconds)
