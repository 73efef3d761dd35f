"""The way of a function's outputs to the task that streams its answer."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Outputs that a function may be ahead of its reader; then it waits.
AHEAD = 16


class Channel(Generic[T]):
    """A bounded queue of a function's outputs. Created on the loop.

    :param room: outputs in the queue after which the function waits.
    """

    def __init__(self, room: int = AHEAD) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._room = room
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._has_items = asyncio.Event()
        self._has_room = asyncio.Event()
        self._error: BaseException | None = None
        self._finished = False
        self._calls: set[Any] = set()
        #: Whether the reader has left.
        self.closed = False

    # --- the function's side, in any thread -----------------------------------------------------

    def put(self, item: T) -> None:
        """Add an output; any thread but the loop's waits while there is no room.

        :raises GeneratorExit: the reader has left.
        """
        if item is None:
            return
        with self._changed:
            while not (self.closed or self.on_loop or len(self._items) < self._room):
                self._changed.wait()
            if self.closed:
                raise GeneratorExit
            self._items.append(item)
        self._set(self._has_items)

    async def put_on_loop(self, item: T) -> None:
        """Add an output on the loop; awaits room."""
        while len(self._items) >= self._room and not self.closed:
            self._has_room.clear()
            await self._has_room.wait()
        self.put(item)

    def finish(self, error: BaseException | None = None) -> None:
        """End the outputs; an error is raised where they are read."""
        with self._changed:
            self._finished, self._error = True, error
        self._set(self._has_items)

    def wait_for(self, make: Callable[[], Awaitable[R]]) -> R:
        """Run an awaitable on the loop, and wait for it in another thread.

        :raises GeneratorExit: the reader has left.
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
        """Whether the caller runs on the loop, where nothing may block."""
        return threading.get_ident() == self._loop_thread

    def call_on_loop(self, act: Callable[..., object], *args: Any) -> None:
        """Call a function on the loop, without waiting for it."""
        try:
            self._loop.call_soon_threadsafe(act, *args)
        except RuntimeError:
            # The process is ending.
            self.closed = True

    def _set(self, event: asyncio.Event) -> None:
        if self.on_loop:
            event.set()
        else:
            self.call_on_loop(event.set)

    # --- the answer's side, on the loop ---------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[T]:
        """The outputs, until the function has ended."""
        while True:
            with self._changed:
                if self._items:
                    item = self._items.popleft()
                    self._changed.notify_all()
                    self._has_room.set()
                elif self._finished:
                    break
                else:
                    self._has_items.clear()
                    item = None
            if item is None:
                await self._has_items.wait()
            else:
                yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop reading: the function ends at its next output."""
        with self._changed:
            self.closed = True
            calls = list(self._calls)
            self._changed.notify_all()
        self._has_room.set()
        for call in calls:
            call.cancel()
