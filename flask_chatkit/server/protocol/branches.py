"""An answer in the place of a part of its thread: another try, or an answer to an edited message.

The part is deleted when the answer has begun, and only then. Clients are sent
``thread.item.removed`` for what they may still show of it, and all of it again if the answer fails
before: ChatKit's element removes it when its visitor tries again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any

from chatkit.server import NonStreamingResult, StreamingResult
from chatkit.store import Store
from chatkit.types import ThreadItemDoneEvent, ThreadItemRemovedEvent

from ..history.branches import Branch, find_branch
from ..streaming.record import note_undone
from .events import event

_ITEM = b'data: {"type":"thread.item.'
_UPDATE = b'data: {"type":"thread.item.updated"'
_ERROR = b'data: {"type":"error"'
_START = len(b"data: ")

Result = StreamingResult | NonStreamingResult


async def branch_of(
    store: Store[Any], context: Any, request: Any, replaces: str | None
) -> Branch | None:
    """What the answer to a request replaces; None if that is nothing.

    :param replaces: the id of the visitor's message that was edited.
    :raises NotFoundError: there is no such message in the thread.
    """
    message = request.params.item_id if request.type == "threads.retry_after_item" else None
    if message is None and replaces is None:
        return None
    return await find_branch(store, context, request.params.thread_id, message, replaces)


async def replace(branch: Branch, make: Callable[[], Awaitable[Result]]) -> StreamingResult:
    """Make an answer in the place of a branch.

    :param make: starts to answer.
    """

    async def answer() -> AsyncGenerator[bytes, None]:
        async with branch:
            result = await make()
            if isinstance(result, NonStreamingResult):
                yield result.json
                return
            async for chunk in _Events(branch).of(result):
                yield chunk

    return StreamingResult(answer())


class _Events:
    """The events of an answer that replaces a branch, and those that say so."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch
        #: The ids of the answer's items so far, and of those that clients were told to remove.
        self._new: list[str] = []
        self._removed: list[str] = []
        self._has_failed = False

    async def of(self, answer: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
        """Pass an answer's events on."""
        async for chunk in answer:
            if chunk.startswith(_ITEM) and not chunk.startswith(_UPDATE) and not self._is_done:
                for each in self._remove(chunk):
                    yield each
            elif chunk.startswith(_ERROR) and not self._branch.has_begun:
                self._has_failed = True
                for each in await self._restore():
                    yield each
            yield chunk
        if not self._has_failed and not self._branch.has_begun:
            # It consists of nothing that is kept, a progress say.
            await self._branch.begin()
            for each in self._removals():
                yield each

    @property
    def _is_done(self) -> bool:
        """Whether nothing is to be removed any more, or shown again."""
        return self._has_failed or (self._branch.has_begun and bool(self._removed))

    def _remove(self, chunk: bytes) -> list[bytes]:
        """The events that are sent before one of an item: the first of the answer's removes."""
        try:
            item = json.loads(chunk[_START:]).get("item")
        except ValueError:
            # A site's own server may write events in its own form.
            return []
        if item is None:
            return []
        if item["id"] not in self._new:
            self._new.append(item["id"])
        return [] if item["type"] == "user_message" else self._removals()

    def _removals(self) -> list[bytes]:
        ids = [item.id for item in self._branch.shown if item.id not in self._removed]
        self._removed += ids
        return [event(ThreadItemRemovedEvent(item_id=item_id)) for item_id in ids]

    async def _restore(self) -> list[bytes]:
        """The events that show a branch again which is kept."""
        await self._branch.keep()
        note_undone()
        gone = [event(ThreadItemRemovedEvent(item_id=item_id)) for item_id in self._new]
        return gone + [event(ThreadItemDoneEvent(item=item)) for item in self._branch.shown]
