"""Tests of a store's ids, and of tasks that write at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

from chatkit.store import Store, StoreItemType
from chatkit.types import (
    ThreadMetadata,
)

from .checks import Run, check, ids
from .samples import LEAST_RANDOM, new_message, new_thread


class ConcurrencyTests:
    """Ids can't be guessed, and tasks that write at the same time lose nothing."""

    def test_ids_cannot_be_guessed(
        self, store: Store[Any], alice: Any, thread: ThreadMetadata
    ) -> None:
        """New ids are all different, and long: ChatKit's own have 8 hex digits."""
        made = [store.generate_thread_id(alice) for _ in range(200)]
        kinds: tuple[StoreItemType, ...] = (
            "message",
            "tool_call",
            "task",
            "workflow",
            "attachment",
            "sdk_hidden_context",
        )
        for kind in kinds:
            made += [store.generate_item_id(kind, thread, alice) for _ in range(200)]
        check(len(set(made)) == len(made), "an id was made twice")
        short = min(made, key=lambda made_id: len(made_id.rpartition("_")[2]))
        check(len(short.rpartition("_")[2]) >= LEAST_RANDOM, f"{short} is too short")

    def test_many_add_at_once(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Tasks that add items and save threads at the same time lose none."""
        messages = [new_message(thread, str(number)) for number in range(40)]
        others = [new_thread() for _ in range(20)]

        async def together() -> None:
            await asyncio.gather(
                *(store.add_thread_item(thread.id, message, alice) for message in messages),
                *(store.save_thread(other, bob) for other in others),
            )

        run(together())
        page = run(store.load_thread_items(thread.id, None, 100, "asc", alice))
        check(sorted(ids(page)) == sorted(item.id for item in messages), "items were lost")
        page = run(store.load_threads(100, None, "asc", bob))
        check(sorted(ids(page)) == sorted(other.id for other in others), "threads were lost")

    def test_many_save_one_at_once(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Tasks that save one item at the same time leave one item."""
        message = new_message(thread)

        async def together() -> None:
            await asyncio.gather(
                *(store.save_item(thread.id, message, alice) for _ in range(10)),
                *(store.save_thread(thread, alice) for _ in range(10)),
            )

        run(together())
        page = run(store.load_thread_items(thread.id, None, 100, "asc", alice))
        check(ids(page) == [message.id], f"there are {ids(page)}")
