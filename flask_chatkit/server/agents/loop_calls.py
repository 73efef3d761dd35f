"""Runs coroutines on the event loop from the thread of a sync workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopCalls:
    """Runs coroutines on the loop that this was created on, until :meth:`stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: set[Future[Any]] = set()
        self._is_stopped = False

    def is_on_loop(self) -> bool:
        """Whether the caller runs on the loop."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine from another thread.

        :raises asyncio.CancelledError: the answer was stopped.
        """
        if self._is_stopped:
            coroutine.close()
            raise asyncio.CancelledError
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._calls.add(future)
        return future

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine from another thread, and return its result.

        :raises asyncio.CancelledError: the answer was stopped.
        """
        future = self.begin(coroutine)
        try:
            return future.result()
        except BaseException:
            if self._is_stopped:
                # Not an Exception, which an export might catch: it must end.
                raise asyncio.CancelledError from None
            raise
        finally:
            self._calls.discard(future)

    def stop(self) -> None:
        """Cancel all of them."""
        self._is_stopped = True
        for call in list(self._calls):
            call.cancel()
