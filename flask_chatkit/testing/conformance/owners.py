"""Tests that a store keeps visitors apart."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    Page,
    ThreadMetadata,
)

from .checks import Run, check, ids, same
from .samples import new_attachment, new_message, new_thread


class OwnerTests:
    """No method reads or changes what belongs to another visitor."""

    def test_others_threads_are_not_listed(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`load_threads` lists one's own threads only."""
        check(not run(store.load_threads(20, None, "desc", bob)).data, "Bob sees Alice's thread")
        mine = new_thread()
        run(store.save_thread(mine, bob))
        for owner, only in ((alice, thread), (bob, mine)):
            page = run(store.load_threads(20, None, "desc", owner))
            check(ids(page) == [only.id] and not page.has_more, f"listed are {page}")

    def test_others_thread_is_not_loaded(
        self, store: Store[Any], bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`load_thread` finds one's own threads only."""
        with pytest.raises(NotFoundError):
            run(store.load_thread(thread.id, bob))

    def test_others_thread_is_not_saved(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`save_thread` neither changes nor takes somebody else's thread."""
        stolen = thread.model_copy(update={"title": "Bob's"})
        with pytest.raises(NotFoundError):
            run(store.save_thread(stolen, bob))
        same(run(store.load_thread(thread.id, alice)), thread)
        with pytest.raises(NotFoundError):
            run(store.load_thread(thread.id, bob))

    def test_others_thread_is_not_deleted(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`delete_thread` leaves somebody else's thread and items alone."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        with pytest.raises(NotFoundError):
            run(store.delete_thread(thread.id, bob))
        same(run(store.load_thread(thread.id, alice)), thread)
        same(run(store.load_item(thread.id, message.id, alice)), message)

    def test_others_items_are_not_listed(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`load_thread_items` finds nothing in somebody else's thread; an empty page will do."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        run(store.add_thread_item(thread.id, new_message(thread), alice))
        try:
            page = run(store.load_thread_items(thread.id, None, 20, "asc", bob))
        except NotFoundError:
            page = Page()
        check(not page.data and not page.has_more, "Bob sees Alice's items")
        with pytest.raises(NotFoundError):
            run(store.load_thread_items(thread.id, message.id, 20, "asc", bob))

    def test_others_item_is_not_loaded(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`load_item` finds items of one's own threads only, whatever the thread's id."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        mine = new_thread()
        run(store.save_thread(mine, bob))
        for asked in (thread.id, mine.id):
            with pytest.raises(NotFoundError):
                run(store.load_item(asked, message.id, bob))

    def test_others_thread_gets_no_item(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`add_thread_item` writes into one's own threads only."""
        with pytest.raises(NotFoundError):
            run(store.add_thread_item(thread.id, new_message(thread), bob))
        with pytest.raises(NotFoundError):
            run(store.add_thread_item("thr_nowhere", new_message(thread), bob))
        page = run(store.load_thread_items(thread.id, None, 20, "asc", alice))
        check(not page.data, "Bob wrote into Alice's thread")

    def test_others_item_is_not_saved(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`save_item` neither changes nor adds an item of somebody else's thread."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        changed = message.model_copy(update={"content": []})
        for item in (changed, new_message(thread)):
            with pytest.raises(NotFoundError):
                run(store.save_item(thread.id, item, bob))
        page = run(store.load_thread_items(thread.id, None, 20, "asc", alice))
        check(ids(page) == [message.id], f"Alice has {ids(page)}")
        same(page.data[0], message)

    def test_others_item_is_not_deleted(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`delete_thread_item` leaves the items of somebody else's thread alone."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        with pytest.raises(NotFoundError):
            run(store.delete_thread_item(thread.id, message.id, bob))
        mine = new_thread()
        run(store.save_thread(mine, bob))
        with suppress(NotFoundError):
            run(store.delete_thread_item(mine.id, message.id, bob))
        same(run(store.load_item(thread.id, message.id, alice)), message)

    def test_others_attachment_is_not_loaded(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """`load_attachment` finds one's own attachments only."""
        attachment = new_attachment()
        run(store.save_attachment(attachment, alice))
        with pytest.raises(NotFoundError):
            run(store.load_attachment(attachment.id, bob))

    def test_others_attachment_is_not_saved(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """`save_attachment` neither changes nor takes somebody else's attachment."""
        attachment = new_attachment()
        run(store.save_attachment(attachment, alice))
        with pytest.raises(NotFoundError):
            run(store.save_attachment(attachment.model_copy(update={"name": "x"}), bob))
        same(run(store.load_attachment(attachment.id, alice)), attachment)
        with pytest.raises(NotFoundError):
            run(store.load_attachment(attachment.id, bob))

    def test_others_attachment_is_not_deleted(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """`delete_attachment` leaves somebody else's attachment alone."""
        attachment = new_attachment()
        run(store.save_attachment(attachment, alice))
        with pytest.raises(NotFoundError):
            run(store.delete_attachment(attachment.id, bob))
        same(run(store.load_attachment(attachment.id, alice)), attachment)
