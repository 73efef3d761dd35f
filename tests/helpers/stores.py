"""Stores as OpenAI's quickstart has them: they don't look at whose a thread is."""

from __future__ import annotations

from typing import Any

from chatkit.store import NotFoundError, Store
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata


class LeakyStore(Store[Any]):
    """Everybody's threads for everybody, by their times, in a process's memory."""

    def __init__(self) -> None:
        self.threads: dict[str, ThreadMetadata] = {}
        self.items: dict[str, list[ThreadItem]] = {}
        self.attachments: dict[str, Attachment] = {}

    def how_many(self) -> int:
        """A method that only this store has."""
        return len(self.threads)

    async def load_thread(self, thread_id, context):
        return self._get(self.threads, thread_id)

    async def save_thread(self, thread, context):
        self.threads[thread.id] = thread

    async def load_threads(self, limit, after, order, context):
        return self.page(self.threads.values(), after, limit, order)

    async def delete_thread(self, thread_id, context):
        self.threads.pop(thread_id, None)
        self.items.pop(thread_id, None)

    async def load_thread_items(self, thread_id, after, limit, order, context):
        return self.page(self.items.get(thread_id, []), after, limit, order)

    async def add_thread_item(self, thread_id, item, context):
        self.items.setdefault(thread_id, []).append(item)

    async def save_item(self, thread_id, item, context):
        kept = self.items.setdefault(thread_id, [])
        places = [place for place, one in enumerate(kept) if one.id == item.id]
        if places:
            kept[places[0]] = item
        else:
            kept.append(item)

    async def load_item(self, thread_id, item_id, context):
        return self._get({one.id: one for one in self.items.get(thread_id, [])}, item_id)

    async def delete_thread_item(self, thread_id, item_id, context):
        kept = self.items.get(thread_id, [])
        kept[:] = [one for one in kept if one.id != item_id]

    async def save_attachment(self, attachment, context):
        self.attachments[attachment.id] = attachment

    async def load_attachment(self, attachment_id, context):
        return self._get(self.attachments, attachment_id)

    async def delete_attachment(self, attachment_id, context):
        self.attachments.pop(attachment_id, None)

    def page(self, rows, after, limit, order):
        """A page by time; one after something unknown is the first one."""
        rows = sorted(rows, key=lambda row: row.created_at, reverse=order == "desc")
        return self.cut(rows, after, limit)

    @staticmethod
    def cut(rows, after, limit):
        """The part of the rows after one of them."""
        start = next((place + 1 for place, row in enumerate(rows) if row.id == after), 0)
        shown, has_more = rows[start : start + limit], start + limit < len(rows)
        return Page(
            data=shown, has_more=has_more, after=shown[-1].id if shown and has_more else None
        )

    @staticmethod
    def _get(kept, wanted):
        if wanted not in kept:
            raise NotFoundError
        return kept[wanted]


class TidyStore(LeakyStore):
    """As leaky, but it keeps the order of insertion, and replaces what is added again."""

    async def add_thread_item(self, thread_id, item, context):
        await self.save_item(thread_id, item, context)

    def page(self, rows, after, limit, order):
        rows = list(rows)
        return self.cut(rows[::-1] if order == "desc" else rows, after, limit)
