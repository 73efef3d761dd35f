"""Gives an id to items that a model's adapter left without one."""

from __future__ import annotations

from collections.abc import Callable

from chatkit.store import StoreItemType
from chatkit.types import (
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadStreamEvent,
)

from .._upstream import is_fake_id


class ItemIds:
    """Replaces the placeholder ids of a model's adapter.

    Adapters for other services, or for chat completions, give every item the id ``__fake_id__``; in
    a history they would overwrite each other.
    """

    def __init__(self, new_id: Callable[[StoreItemType], str]) -> None:
        self._new_id = new_id
        self._open: str | None = None
        self._given: list[str] = []

    def rewrite(self, event: ThreadStreamEvent) -> list[ThreadStreamEvent]:
        """Return the events for this one, with real ids."""
        if isinstance(event, (ThreadItemAddedEvent, ThreadItemDoneEvent, ThreadItemReplacedEvent)):
            if not is_fake_id(event.item.id):
                return [event]
            kind: StoreItemType = (
                "tool_call" if event.item.type == "client_tool_call" else "message"
            )
            is_new = isinstance(event, ThreadItemAddedEvent) or kind == "tool_call"
            if is_new or self._open is None:
                self._open = self._new_id(kind)
                self._given.append(self._open)
            item = event.item.model_copy(update={"id": self._open})
            if isinstance(event, ThreadItemDoneEvent):
                self._open = None
            return [event.model_copy(update={"item": item})]
        if isinstance(event, ThreadItemUpdatedEvent) and is_fake_id(event.item_id):
            return [event.model_copy(update={"item_id": self._open})] if self._open else []
        if isinstance(event, ThreadItemRemovedEvent) and is_fake_id(event.item_id):
            given, self._given, self._open = self._given, [], None
            return [ThreadItemRemovedEvent(item_id=item_id) for item_id in given]
        return [event]
