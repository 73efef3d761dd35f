"""Isolates the owners of a site's own store: each visitor gets their own threads only.

OpenAI's sample stores ignore the context and show all threads to everybody.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from chatkit.store import NotFoundError, Store, StoreItemType
from chatkit.types import (
    Attachment,
    AttachmentBase,
    Page,
    Thread,
    ThreadItem,
    ThreadMetadata,
    UserMessageItem,
)

from ..context import ChatContext, as_context, current_context, owner_of
from ..ids import LONGEST_PAGE, new_id, page_size
from ..surrogates import clean
from .branches import begins_answer, begins_nothing, hides_branch
from .deadlines import TimedStore

#: The key of the owner in the metadata of threads and attachments.
OWNER = "flask_chatkit_owner"
#: How many threads' owners are cached, so that adding an item does not load the thread.
REMEMBERED = 4096
#: Seconds that a call of a site's store may take, unless the site says otherwise.
STORE_SECONDS = 10.0

Owned = TypeVar("Owned", bound="ThreadMetadata | AttachmentBase")


def isolate(store: Store[Any], seconds: float = STORE_SECONDS) -> Store[Any]:
    """The store itself if it isolates owners, else a wrapper that does.

    :param seconds: seconds that a call of the store may take.
    """
    # Of the instance: a site's store may delegate its attributes to another one.
    isolates = getattr(store, "isolates_owners", False) is True
    return store if isolates else OwnedStore(store, seconds)


class OwnedStore(Store[ChatContext]):
    """Adds owners to a store that has none.

    The owner is stored in the metadata of threads and attachments, hidden from the site's code.
    Threads without one, which were stored before, belong to nobody. Listing reads the store's
    pages until it has found enough threads, so a site with many should filter by owner itself, in
    a store with ``isolates_owners = True``.

    All other attributes are the store's.

    :param store: the site's store.
    :param seconds: seconds that a call of the store may take.
    """

    isolates_owners = True

    def __init__(self, store: Store[Any], seconds: float = STORE_SECONDS) -> None:
        self._store = store
        # The same methods, each with a deadline.
        self._calls = cast("Store[Any]", TimedStore(store, seconds))
        self._owners: OrderedDict[str, str] = OrderedDict()
        #: By old owner: the new one, and when it was transferred, in Unix seconds.
        self._moved: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        # copy and pickle look attributes up before there is a store, which would recurse.
        if name in {"_store", "_calls"}:
            raise AttributeError(name)
        return getattr(self._store, name)

    def generate_thread_id(self, context: ChatContext) -> str:
        """A new id: the store's own if it generates ids, else one of 128 bits."""
        if self._overrides("generate_thread_id"):
            return self._store.generate_thread_id(context)
        return new_id("thread")

    def generate_item_id(
        self, item_type: StoreItemType, thread: ThreadMetadata, context: ChatContext
    ) -> str:
        """A new id: the store's own if it generates ids, else one of 128 bits."""
        if self._overrides("generate_item_id"):
            return self._store.generate_item_id(item_type, thread, context)
        return new_id(item_type)

    async def load_thread(self, thread_id: str, context: ChatContext) -> ThreadMetadata:
        """A thread without its items."""
        thread = await self._calls.load_thread(thread_id, context)
        owner = _owner(thread)
        self._remember(thread_id, owner)
        self._compare(owner, context)
        return _without_owner(thread)

    async def save_thread(self, thread: ThreadMetadata, context: ChatContext) -> None:
        """Create a thread, or replace its metadata."""
        meant = as_context(context)
        try:
            owner = _owner(await self._calls.load_thread(thread.id, context))
        except NotFoundError:
            if meant.is_stored(thread.id):
                # It was deleted during this request.
                raise
            owner = meant.owner
        self._compare(owner, context)
        if isinstance(thread, Thread):
            # openai-chatkit also saves threads that contain a page of items. A store that keeps
            # them as they are would return the items where openai-chatkit does not expect them.
            thread = ThreadMetadata(**thread.model_dump(exclude={"items"}))
        await self._calls.save_thread(_with_owner(thread, context), context)
        self._remember(thread.id, owner_of(context))
        meant.stored.add(thread.id)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: ChatContext
    ) -> Page[ThreadMetadata]:
        """A page of the owner's threads, in the store's order."""
        size, owner = page_size(limit), owner_of(context)
        if after is not None:
            await self._check(after, context)
        own: dict[str, ThreadMetadata] = {}
        seen = {after}
        while len(own) <= size:
            page = await self._calls.load_threads(LONGEST_PAGE, after, order, context)
            own.update((thread.id, thread) for thread in page.data if _owner(thread) == owner)
            after = page.after or (page.data[-1].id if page.data else None)
            # A store that repeats pages must not cause an endless loop.
            if not page.has_more or after in seen:
                break
            seen.add(after)
        shown = [_without_owner(thread) for thread in list(own.values())[:size]]
        has_more = len(own) > size
        return Page(data=shown, has_more=has_more, after=shown[-1].id if has_more else None)

    async def delete_thread(self, thread_id: str, context: ChatContext) -> None:
        """Delete a thread and its items."""
        await self.load_thread(thread_id, context)
        await self._calls.delete_thread(thread_id, context)
        as_context(context).stored.discard(thread_id)
        with self._lock:
            self._owners.pop(thread_id, None)

    @hides_branch
    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: ChatContext
    ) -> Page[ThreadItem]:
        """A page of a thread's items."""
        await self._check(thread_id, context)
        if after is not None:
            await self.load_item(thread_id, after, context)
        return await self._calls.load_thread_items(
            thread_id, after, page_size(limit), order, context
        )

    async def load_item(self, thread_id: str, item_id: str, context: ChatContext) -> ThreadItem:
        """One item of a thread."""
        await self._check(thread_id, context)
        item = await self._calls.load_item(thread_id, item_id, context)
        if item.thread_id != thread_id:
            # The store has looked for the item's id only, and found another thread's.
            await self._check(item.thread_id, context)
        return item

    @begins_answer
    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        """Add an item to a thread."""
        await self._check(thread_id, context)
        await self._calls.add_thread_item(thread_id, clean(item), context)

    @begins_nothing
    async def save_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        """Replace an item of a thread, or add it."""
        await self._check(thread_id, context)
        await self._calls.save_item(thread_id, clean(item), context)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: ChatContext) -> None:
        """Delete one item of a thread, if it exists."""
        try:
            await self.load_item(thread_id, item_id, context)
        except NotFoundError:
            # openai-chatkit also deletes items that it never stored, of the visitor's own thread.
            await self._check(thread_id, context)
            return
        await self._calls.delete_thread_item(thread_id, item_id, context)

    async def save_attachment(self, attachment: Attachment, context: ChatContext) -> None:
        """Store an attachment's description."""
        try:
            known = await self._calls.load_attachment(attachment.id, context)
        except NotFoundError:
            known = None
        # One without an owner is new: in OpenAI's guide the attachment store saves it first,
        # directly. A browser can't get here with an id that it could not load.
        if known is not None and _owner(known) is not None:
            self._compare(_owner(known), context)
        await self._calls.save_attachment(_with_owner(attachment, context), context)

    async def load_attachment(self, attachment_id: str, context: ChatContext) -> Attachment:
        """The description of an attachment."""
        attachment = await self._calls.load_attachment(attachment_id, context)
        self._compare(_owner(attachment), context)
        return _without_owner(attachment)

    async def delete_attachment(self, attachment_id: str, context: ChatContext) -> None:
        """Delete an attachment's description."""
        await self.load_attachment(attachment_id, context)
        await self._calls.delete_attachment(attachment_id, context)

    async def load_all_threads(self, after: str | None, context: Any) -> Page[ThreadMetadata]:
        """A page of the threads of all owners; see :func:`owner_in`."""
        return await self._calls.load_threads(LONGEST_PAGE, after, "asc", context)

    async def transfer_threads(
        self, before: ChatContext, after: ChatContext, made: Callable[[ChatContext], Any]
    ) -> int:
        """Transfer a visitor's threads and attachments in one chat to another visitor.

        The site's store knows no owners, so all of its threads are listed.

        :param made: makes the site's own context from a :class:`ChatContext`.
        :returns: the number of threads.
        """
        current_context.set(before)
        with self._lock:
            self._moved[before.owner] = after.owner, time.time()
            while len(self._moved) > REMEMBERED:
                self._moved.popitem(last=False)
        old, new = made(before), made(after)
        page = Page[ThreadMetadata](has_more=True)
        found: list[ThreadMetadata] = []
        while page.has_more:
            page = await self.load_threads(LONGEST_PAGE, page.after, "asc", old)
            found += page.data
            await asyncio.sleep(0)  # a store in memory never suspends, and would block the loop
        for thread in found:
            for attachment in await self._files_of(thread.id, old):
                await self._calls.save_attachment(_with_owner(attachment, after), new)
            await self._calls.save_thread(_with_owner(thread, after), new)
            self._remember(thread.id, after.owner)
        return len(found)

    async def _files_of(self, thread_id: str, context: Any) -> list[Attachment]:
        """The attachments of a thread's messages, as they are stored."""
        page = Page[ThreadItem](has_more=True)
        found: list[Attachment] = []
        while page.has_more:
            page = await self.load_thread_items(thread_id, page.after, LONGEST_PAGE, "asc", context)
            for item in page.data:
                for sent in item.attachments if isinstance(item, UserMessageItem) else ():
                    with suppress(NotFoundError):
                        found.append(await self.load_attachment(sent.id, context))
        return found

    def _overrides(self, name: str) -> bool:
        """Whether the site's store overrides a method of openai-chatkit's."""
        return name in vars(self._store) or getattr(type(self._store), name) is not getattr(
            Store, name
        )

    def _compare(self, owner: str | None, context: ChatContext) -> None:
        """Check an owner; an answer that was begun before a sign-in moves to the login.

        :raises NotFoundError: it is not the visitor's.
        """
        meant = as_context(context)
        moved, at = self._moved.get(meant.owner, (None, 0.0))
        if moved is not None and moved == owner and meant.began < at:
            meant["owner"] = moved
        _check(owner, meant)

    async def _check(self, thread_id: str, context: ChatContext) -> None:
        owner = self._remembered(thread_id)
        if owner is None:
            owner = _owner(await self._calls.load_thread(thread_id, context))
            self._remember(thread_id, owner)
        self._compare(owner, context)

    def _remembered(self, thread_id: str) -> str | None:
        with self._lock:
            if thread_id not in self._owners:
                return None
            self._owners.move_to_end(thread_id)
            return self._owners[thread_id]

    def _remember(self, thread_id: str, owner: str | None) -> None:
        if owner is None:
            return
        with self._lock:
            self._owners[thread_id] = owner
            self._owners.move_to_end(thread_id)
            while len(self._owners) > REMEMBERED:
                self._owners.popitem(last=False)


def _owner(stored: ThreadMetadata | AttachmentBase) -> str | None:
    return (stored.metadata or {}).get(OWNER)


def owner_in(stored: ThreadMetadata | AttachmentBase) -> str | None:
    """The owner of a thread or attachment in a site's store; None for nobody's."""
    return _owner(stored)


def _check(owner: str | None, context: ChatContext) -> None:
    if owner is None or owner != owner_of(context):
        raise NotFoundError("there is nothing of this id")


def _with_owner(shown: Owned, context: ChatContext) -> Owned:
    metadata = {**(shown.metadata or {}), OWNER: owner_of(context)}
    return clean(cast("Owned", shown.model_copy(update={"metadata": metadata})))


def _without_owner(stored: Owned) -> Owned:
    metadata = {key: value for key, value in (stored.metadata or {}).items() if key != OWNER}
    # A thread without metadata has an empty dict, an attachment None.
    shown = metadata if metadata or isinstance(stored, ThreadMetadata) else None
    return cast("Owned", stored.model_copy(update={"metadata": shown}))
