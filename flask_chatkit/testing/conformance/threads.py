"""Tests of a store's threads."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

import pytest
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    ActiveStatus,
    ClosedStatus,
    LockedStatus,
    Page,
    Thread,
    ThreadMetadata,
)

from .checks import Run, check, check_pages, ids, same
from .samples import DIFFICULT, NOON, new_message, new_thread


class ThreadTests:
    """Threads are stored, listed and deleted."""

    def test_thread_comes_back(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """A saved thread is loaded as it was."""
        for title in (None, "", DIFFICULT):
            thread = new_thread(
                title=title,
                metadata={"count": 1, "nested": {"list": [1, None, "x"]}},
                allowed_image_domains=["shop.example"],
            )
            run(store.save_thread(thread, alice))
            same(run(store.load_thread(thread.id, alice)), thread)

    def test_thread_of_local_time_comes_back(
        self, store: Store[Any], alice: Any, run: Run[Any]
    ) -> None:
        """A naive time, as ChatKit creates them, counts as the machine's local time."""
        thread = new_thread(created_at=datetime.now())  # noqa: DTZ005 - this is the point
        run(store.save_thread(thread, alice))
        same(run(store.load_thread(thread.id, alice)), thread)

    def test_thread_is_updated(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Saving again replaces title, status, metadata and image domains, and nothing else."""
        several: list[dict[str, Any]] = [
            {"title": "Renamed"},
            {"title": None},
            {"status": LockedStatus(reason="Closed for today")},
            {"status": ClosedStatus(reason=None)},
            {"status": ActiveStatus()},
            {"metadata": {"topic": "owl", "seen": True}},
            {"metadata": {}},
            {"allowed_image_domains": ["shop.example"]},
        ]
        for changes in several:
            thread = thread.model_copy(update=changes)
            run(store.save_thread(thread, alice))
            same(run(store.load_thread(thread.id, alice)), thread)
        check(
            ids(run(store.load_threads(20, None, "asc", alice))) == [thread.id],
            "a thread that is saved again must not be there twice",
        )

    def test_thread_may_carry_items(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """ChatKit saves threads with a page of items, which is not stored with them."""
        bare = new_thread(title="With items")
        full = Thread(**bare.model_dump(), items=Page(data=[new_message(bare)]))
        run(store.save_thread(full, alice))
        same(run(store.load_thread(bare.id, alice)), bare)
        check(
            not run(store.load_thread_items(bare.id, None, 20, "asc", alice)).data,
            "items come with add_thread_item only",
        )

    def test_missing_thread_is_not_found(
        self, store: Store[Any], alice: Any, run: Run[Any]
    ) -> None:
        """A missing thread raises NotFoundError, and nothing else."""
        for strange in (f"thr_{secrets.token_hex(16)}", "", "' OR 1=1 --", "%"):
            with pytest.raises(NotFoundError):
                run(store.load_thread(strange, alice))

    def test_threads_are_paged(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """Pages of threads hold each exactly once, in both orders, at every length of page."""
        saved = []
        for number in range(7):
            saved.append(new_thread(title=str(number), created_at=NOON + timedelta(hours=number)))
            run(store.save_thread(saved[-1], alice))
            run(store.save_thread(new_thread(created_at=NOON + timedelta(hours=number)), bob))

        def load(limit: int, after: str | None, order: str) -> Any:
            return run(store.load_threads(limit, after, order, alice))

        check_pages(load, [thread.id for thread in saved])

    def test_threads_of_one_moment_are_paged(
        self, store: Store[Any], alice: Any, run: Run[Any]
    ) -> None:
        """Threads of the same time keep the order in which they were saved."""
        saved = [new_thread() for _ in range(7)]
        for thread in saved:
            run(store.save_thread(thread, alice))

        def load(limit: int, after: str | None, order: str) -> Any:
            return run(store.load_threads(limit, after, order, alice))

        check_pages(load, [thread.id for thread in saved])

    def test_threads_after_nothing_are_not_found(
        self, store: Store[Any], bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """A page after an unknown thread, or after somebody else's, is not the first page."""
        run(store.save_thread(new_thread(), bob))
        for after in (f"thr_{secrets.token_hex(16)}", thread.id):
            for order in ("asc", "desc"):
                with pytest.raises(NotFoundError):
                    run(store.load_threads(20, after, order, bob))

    def test_pages_of_threads_are_bounded(
        self, store: Store[Any], alice: Any, run: Run[Any]
    ) -> None:
        """A browser that requests a million threads gets a page of at most a hundred."""
        for _ in range(101):
            run(store.save_thread(new_thread(), alice))
        page = run(store.load_threads(1_000_000, None, "desc", alice))
        check(
            0 < len(page.data) <= 100 and page.has_more,
            f"a page of {len(page.data)} threads, has_more {page.has_more}",
        )

    def test_deleted_thread_is_gone(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Its items are deleted, too, even if a thread with the same id is saved again."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        run(store.delete_thread(thread.id, alice))
        with pytest.raises(NotFoundError):
            run(store.load_thread(thread.id, alice))
        with pytest.raises(NotFoundError):
            run(store.load_item(thread.id, message.id, alice))
        check(not run(store.load_threads(20, None, "desc", alice)).data, "it is listed still")
        run(store.save_thread(thread, alice))
        page = run(store.load_thread_items(thread.id, None, 20, "asc", alice))
        check(not page.data, "the items of a deleted thread are still there")
