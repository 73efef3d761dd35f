"""Tests of a store's items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    ThreadItem,
    ThreadMetadata,
)

from .checks import Run, check, check_pages, ids, same
from .samples import NOON, every_item, new_message, new_thread


class ItemTests:
    """Items are stored, listed and deleted."""

    def test_every_item_comes_back(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """An item of every type is loaded as it was, alone and on a page."""
        given = every_item(thread)
        for item in given:
            run(store.add_thread_item(thread.id, item, alice))
        page = run(store.load_thread_items(thread.id, None, 50, "asc", alice))
        check(ids(page) == [item.id for item in given], f"added {given}, and loaded {page}")
        for item, listed in zip(given, page.data, strict=True):
            loaded = run(store.load_item(thread.id, item.id, alice))
            for stored in (listed, loaded):
                check(type(stored) is type(item), f"{type(item)} came back as {type(stored)}")
                same(stored, item)

    def test_every_item_is_replaced(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Saving an item again, or adding it again as agents do, replaces it in its place."""
        given = every_item(thread)
        for item in given:
            run(store.add_thread_item(thread.id, item, alice))
        for again in (store.save_item, store.add_thread_item):
            for place, item in enumerate(given):
                later = {"created_at": item.created_at + timedelta(minutes=1)}
                given[place] = item.model_copy(update=later)
                run(again(thread.id, given[place], alice))
            page = run(store.load_thread_items(thread.id, None, 50, "asc", alice))
            check(
                ids(page) == [item.id for item in given],
                f"after {again.__name__} the items are {ids(page)}",
            )
            for item, stored in zip(given, page.data, strict=True):
                same(stored, item)

    def test_text_of_item_is_replaced(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Saving an item stores its new content."""
        first, second = new_message(thread, "first"), new_message(thread, "second")
        run(store.add_thread_item(thread.id, first, alice))
        run(store.add_thread_item(thread.id, second, alice))
        changed = first.model_copy(update={"content": [AssistantMessageContent(text="changed")]})
        run(store.save_item(thread.id, changed, alice))
        same(run(store.load_item(thread.id, first.id, alice)), changed)
        same(run(store.load_item(thread.id, second.id, alice)), second)

    def test_saving_an_item_adds_it(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Saving an item that is not there adds it."""
        message = new_message(thread)
        run(store.save_item(thread.id, message, alice))
        same(run(store.load_item(thread.id, message.id, alice)), message)

    def test_items_are_paged(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Pages of items hold each exactly once, in both orders, at every length of page."""
        added = [
            new_message(thread, created_at=NOON + timedelta(seconds=number)) for number in range(7)
        ]
        self._check_items(store, alice, run, thread, added)

    def test_items_of_one_moment_are_paged(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Items of the same time keep the order in which they were added."""
        self._check_items(store, alice, run, thread, [new_message(thread) for _ in range(7)])

    def test_items_keep_the_order_of_insertion(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Items are in the order in which they were added, whatever their times."""
        added = [
            new_message(thread, created_at=NOON - timedelta(seconds=number)) for number in range(7)
        ]
        self._check_items(store, alice, run, thread, added)

    def _check_items(
        self,
        store: Store[Any],
        alice: Any,
        run: Run[Any],
        thread: ThreadMetadata,
        added: Sequence[ThreadItem],
    ) -> None:
        other = new_thread()
        run(store.save_thread(other, alice))
        for item in added:
            run(store.add_thread_item(thread.id, item, alice))
            run(store.add_thread_item(other.id, new_message(other), alice))

        def load(limit: int, after: str | None, order: str) -> Any:
            return run(store.load_thread_items(thread.id, after, limit, order, alice))

        check_pages(load, [item.id for item in added])

    def test_items_after_nothing_are_not_found(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """A page after an unknown item, or after another thread's, is not the first page."""
        other = new_thread()
        run(store.save_thread(other, alice))
        elsewhere = new_message(other)
        run(store.add_thread_item(other.id, elsewhere, alice))
        run(store.add_thread_item(thread.id, new_message(thread), alice))
        for order in ("asc", "desc"):
            with pytest.raises(NotFoundError):
                run(store.load_thread_items(thread.id, "msg_nowhere", 20, order, alice))
            with pytest.raises(NotFoundError):
                run(store.load_thread_items(thread.id, elsewhere.id, 20, order, alice))

    def test_pages_of_items_are_bounded(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """A browser that requests a million items gets a page of at most a hundred."""
        for _ in range(101):
            run(store.add_thread_item(thread.id, new_message(thread), alice))
        page = run(store.load_thread_items(thread.id, None, 1_000_000, "desc", alice))
        check(
            0 < len(page.data) <= 100 and page.has_more,
            f"a page of {len(page.data)} items, has_more {page.has_more}",
        )

    def test_item_ids_are_the_threads_own(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """Items with the same id in two threads are two: some models give all messages one id."""
        kept: list[tuple[ThreadMetadata, AssistantMessageItem, Any]] = []
        for owner in (alice, alice, bob):
            thread = new_thread()
            run(store.save_thread(thread, owner))
            message = new_message(thread, f"text {len(kept)}", id="__fake_id__")
            run(store.add_thread_item(thread.id, message, owner))
            kept.append((thread, message, owner))
        for thread, message, owner in kept:
            same(run(store.load_item(thread.id, message.id, owner)), message)
        thread, message, owner = kept.pop(0)
        run(store.delete_thread_item(thread.id, message.id, owner))
        for thread, message, owner in kept:
            same(run(store.load_item(thread.id, message.id, owner)), message)

    def test_deleted_item_is_gone(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Deleting an item leaves the others as they are."""
        added = [new_message(thread, str(number)) for number in range(3)]
        for item in added:
            run(store.add_thread_item(thread.id, item, alice))
        run(store.delete_thread_item(thread.id, added[1].id, alice))
        with pytest.raises(NotFoundError):
            run(store.load_item(thread.id, added[1].id, alice))
        page = run(store.load_thread_items(thread.id, None, 20, "asc", alice))
        check(ids(page) == [added[0].id, added[2].id], f"left are {ids(page)}")

    def test_item_that_was_never_stored_can_be_deleted(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """ChatKit deletes items that it never stored when a guardrail stops an agent."""
        run(store.delete_thread_item(thread.id, "msg_nowhere", alice))
