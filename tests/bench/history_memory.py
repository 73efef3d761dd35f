"""A store like those of OpenAI's samples: everybody's threads, in the process's memory.

It costs what theirs cost. Each page is cut from a sorted copy of everything, and the place after
which it begins is looked for from the top.
"""

from __future__ import annotations

from operator import attrgetter

from chatkit.store import NotFoundError, Store
from chatkit.types import Page


class MemoryStore(Store):
    """Keeps threads and their items until the process ends."""

    def __init__(self):
        self.threads = {}
        self.items = {}

    async def load_thread(self, thread_id, context):
        return _found(self.threads.get(thread_id))

    async def save_thread(self, thread, context):
        self.threads[thread.id] = thread

    async def load_threads(self, limit, after, order, context):
        return _page(self.threads.values(), after, limit, order)

    async def delete_thread(self, thread_id, context):
        self.threads.pop(thread_id, None)
        self.items.pop(thread_id, None)

    async def load_thread_items(self, thread_id, after, limit, order, context):
        return _page(self.items.get(thread_id, ()), after, limit, order)

    async def load_item(self, thread_id, item_id, context):
        items = self.items.get(thread_id, ())
        return _found(next((item for item in items if item.id == item_id), None))

    async def add_thread_item(self, thread_id, item, context):
        self.items.setdefault(thread_id, []).append(item)

    async def save_item(self, thread_id, item, context):
        items = self.items.setdefault(thread_id, [])
        for place, old in enumerate(items):
            if old.id == item.id:
                items[place] = item
                return
        items.append(item)

    async def delete_thread_item(self, thread_id, item_id, context):
        items = self.items.get(thread_id, ())
        self.items[thread_id] = [item for item in items if item.id != item_id]

    async def save_attachment(self, attachment, context):
        raise NotImplementedError

    async def load_attachment(self, attachment_id, context):
        raise NotImplementedError

    async def delete_attachment(self, attachment_id, context):
        raise NotImplementedError


def _found(kept):
    if kept is None:
        raise NotFoundError("there is nothing of this id")
    return kept


def _page(kept, after, limit, order):
    rows = sorted(kept, key=attrgetter("created_at"), reverse=order == "desc")
    start = 0
    if after:
        start = next((place + 1 for place, row in enumerate(rows) if row.id == after), 0)
    shown = rows[start : start + limit]
    has_more = start + limit < len(rows)
    return Page(data=shown, has_more=has_more, after=shown[-1].id if has_more and shown else None)
