"""Running a site's asynchronous code from a view: on the loop, in its contexts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from ...runtime._upstream import this_app
from ..context import ChatContext, current_context
from . import loop

T = TypeVar("T")


def run_sync(
    context: ChatContext | None, make: Callable[[], Coroutine[Any, Any, T]], seconds: float
) -> T:
    """Run a coroutine on the loop, in an application context, and wait for its result.

    :param context: the current chat's context, for code that gets another one or none.
    :param seconds: after which it is cancelled.
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
    """Run a coroutine of our own store in this thread if it awaits nothing, else on the loop.

    It awaits nothing unless one loop runs in all threads, as under gevent.

    :raises flask_chatkit.server.streaming.loop.LoopTimeout: as for :func:`run_sync`.
    """
    reading = make()
    try:
        reading.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    reading.close()
    return run_sync(None, make, seconds)
