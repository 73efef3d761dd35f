"""A store of a site's own whose calls end, whatever the place that it keeps things in does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from ...errors import HistoryUnavailable
from .calls import RETRY_AFTER


class EndingStore:
    """The methods of a store, each of which is cancelled when it takes too long.

    What blocks the event loop can't be: such a store has calls of its own for its driver to end.

    :param store: the site's store.
    :param seconds: how long a call may take.
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
                # Driven by hand, as tests do: it suspends for nothing.
                return await method(*args, **more)
            expiry = _Expiry()
            timer = running.call_later(self._seconds, expiry.come, asyncio.current_task())
            try:
                return await method(*args, **more)
            except asyncio.CancelledError:
                if not expiry.has_come:
                    raise
                raise HistoryUnavailable(
                    detail=f"the site's store did not answer in {self._seconds:g} seconds: {name}",
                    retry_after=RETRY_AFTER,
                ) from None
            finally:
                timer.cancel()

        return act


class _Expiry:
    """Whether a call's time is over."""

    has_come = False

    def come(self, task: asyncio.Task[Any] | None) -> None:
        self.has_come = True
        if task is not None:
            task.cancel()
