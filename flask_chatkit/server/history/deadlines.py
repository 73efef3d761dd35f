"""A site's own store whose calls have a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from ...errors import HistoryUnavailable
from .calls import RETRY_AFTER


class TimedStore:
    """A store whose methods are cancelled when they take too long.

    Methods that block the event loop can't be cancelled; their driver needs timeouts of its own.

    :param store: the site's store.
    :param seconds: seconds that a call may take.
    """

    def __init__(self, store: Any, seconds: float) -> None:
        self._store = store
        self._seconds = seconds

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)

        @wraps(method)
        async def act(*args: Any, **more: Any) -> Any:
            try:
                running = asyncio.get_running_loop()
            except RuntimeError:
                # Driven without a loop, as in tests: it never suspends.
                return await method(*args, **more)
            expiry = _Expiry()
            timer = running.call_later(self._seconds, expiry.expire, asyncio.current_task())
            try:
                return await method(*args, **more)
            except asyncio.CancelledError:
                if not expiry.has_passed:
                    raise
                raise HistoryUnavailable(
                    detail=f"the site's store did not answer in {self._seconds:g} seconds: {name}",
                    retry_after=RETRY_AFTER,
                ) from None
            finally:
                timer.cancel()

        return act


class _Expiry:
    """Whether a call has exceeded its time."""

    has_passed = False

    def expire(self, task: asyncio.Task[Any] | None) -> None:
        self.has_passed = True
        if task is not None:
            task.cancel()
