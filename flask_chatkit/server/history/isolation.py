"""A site's own store, made safe: everybody gets their own threads and nobody else's.

OpenAI's sample stores ignore the context, and show everybody's threads to everybody.
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
from .deadlines import EndingStore

#: Where the owner is kept, in a thread's and an attachment's metadata.
OWNER = "flask_chatkit_owner"
#: How many threads' owners are remembered, so that adding an item does not load the thread.
REMEMBERED = 4096
#: Seconds that a call of a site's store may take, unless the site says otherwise.
STORE_SECONDS = 10.0

Owned = TypeVar("Owned", bound="ThreadMetadata | AttachmentBase")


def isolate(store: Store[Any], seconds: float = STORE_SECONDS) -> Store[Any]:
    """The store itself if it says that it isolates owners, else one around it that does.

    :param seconds: how long a call of it may take.
    """
    is_isolated = getattr(store, "isolates_owners", False) is True
    return store if is_isolated else OwnedStore(store, seconds)


class OwnedStore(Store[ChatContext]):
    """Puts owners around a store that has none.

    The owner is kept in the metadata of threads and attachments, where the site's own code does
    not see it. What has no owner, since it was stored before, is nobody's. Listing reads the
    store's own pages until it has enough: a site with many threads has a store that filters by
    owner itself, and says so with ``isolates_owners = True``.

    Whatever else the store has is reached through this one.

    :param store: the site's store.
    :param seconds: how long a call of it may take.
    """

    isolates_owners = True

    def __init__(self, store: Store[Any], seconds: float = STORE_SECONDS) -> None:
        self._store = store
        # The same methods, each with an end.
        self._calls = cast("Store[Any]", EndingStore(store, seconds))
        self._owners: OrderedDict[str, str] = OrderedDict()
        #: Who has become whom, and when, in Unix seconds; by the names of owners.
        self._moved: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        # Looked up while there is no store yet, as copy and pickle do, it would look for ever.
        if name in {"_store", "_calls"}:
            raise AttributeError(name)
        return getattr(self._store, name)

    def generate_thread_id(self, context: ChatContext) -> str:
        """A new id: the store's own if it makes some, else one of 128 bits."""
        if self._makes("generate_thread_id"):
            return self._store.generate_thread_id(context)
        return new_id("thread")

    def generate_item_id(
        self, item_type: StoreItemType, thread: ThreadMetadata, context: ChatContext
    ) -> str:
        """A new id: the store's own if it makes some, else one of 128 bits."""
        if self._makes("generate_item_id"):
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
        """Create a thread, or replace what is known of it."""
        meant = as_context(context)
        try:
            owner = _owner(await self._calls.load_thread(thread.id, context))
        except NotFoundError:
            if meant.is_stored(thread.id):
                # It was deleted while this request was under way.
                raise
            owner = meant.owner
        self._compare(owner, context)
        if isinstance(thread, Thread):
            # The package also saves threads that carry a page of items. A store that keeps what
            # it gets would hand them out again, where the package does not expect them.
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
            # A store that turns in circles must not take this one along.
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
            # A store that looks for the item's id only has found another thread's.
            await self._check(item.thread_id, context)
        return item

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        """Add an item to a thread."""
        await self._check(thread_id, context)
        await self._calls.add_thread_item(thread_id, clean(item), context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        """Replace an item of a thread, or add it."""
        await self._check(thread_id, context)
        await self._calls.save_item(thread_id, clean(item), context)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: ChatContext) -> None:
        """Delete one item of a thread, if it is there."""
        try:
            await self.load_item(thread_id, item_id, context)
        except NotFoundError:
            # The package takes back what it never stored; but only in the visitor's own thread.
            await self._check(thread_id, context)
            return
        await self._calls.delete_thread_item(thread_id, item_id, context)

    async def save_attachment(self, attachment: Attachment, context: ChatContext) -> None:
        """Keep what is known of an attachment."""
        try:
            known = await self._calls.load_attachment(attachment.id, context)
        except NotFoundError:
            known = None
        # One without an owner is being made: OpenAI's guide has an attachment store save it first,
        # directly. No browser gets here with the id of one that it could not load.
        if known is not None and _owner(known) is not None:
            self._compare(_owner(known), context)
        await self._calls.save_attachment(_with_owner(attachment, context), context)

    async def load_attachment(self, attachment_id: str, context: ChatContext) -> Attachment:
        """What is known of an attachment."""
        attachment = await self._calls.load_attachment(attachment_id, context)
        self._compare(_owner(attachment), context)
        return _without_owner(attachment)

    async def delete_attachment(self, attachment_id: str, context: ChatContext) -> None:
        """Forget an attachment."""
        await self.load_attachment(attachment_id, context)
        await self._calls.delete_attachment(attachment_id, context)

    async def load_everybodys_threads(
        self, after: str | None, context: Any
    ) -> Page[ThreadMetadata]:
        """A page of the threads of all owners, who are in their metadata: :func:`owner_in`."""
        return await self._calls.load_threads(LONGEST_PAGE, after, "asc", context)

    async def transfer_threads(
        self, before: ChatContext, after: ChatContext, made: Callable[[ChatContext], Any]
    ) -> int:
        """Make the threads and files of one visitor another one's, in one chat.

        The site's store knows no owners, so all that it has is looked through.

        :param made: makes the site's own context of ours.
        :returns: how many threads.
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
            await asyncio.sleep(0)  # a store in memory waits for nothing, and others do for it
        for thread in found:
            for attachment in await self._files_of(thread.id, old):
                await self._calls.save_attachment(_with_owner(attachment, after), new)
            await self._calls.save_thread(_with_owner(thread, after), new)
            self._remember(thread.id, after.owner)
        return len(found)

    async def _files_of(self, thread_id: str, context: Any) -> list[Attachment]:
        """The files that were sent in a thread, as they are kept."""
        page = Page[ThreadItem](has_more=True)
        found: list[Attachment] = []
        while page.has_more:
            page = await self.load_thread_items(thread_id, page.after, LONGEST_PAGE, "asc", context)
            for item in page.data:
                for sent in item.attachments if isinstance(item, UserMessageItem) else ():
                    with suppress(NotFoundError):
                        found.append(await self.load_attachment(sent.id, context))
        return found

    def _makes(self, name: str) -> bool:
        """Whether the site's store has a method of its own in place of the package's."""
        return name in vars(self._store) or getattr(type(self._store), name) is not getattr(
            Store, name
        )

    def _compare(self, owner: str | None, context: ChatContext) -> None:
        """Check whose something is; an answer that was begun before a sign-in follows it.

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
    """Whose a thread or attachment is, as the site's own store keeps it; None for nobody's."""
    return _owner(stored)


def _check(owner: str | None, context: ChatContext) -> None:
    if owner is None or owner != owner_of(context):
        raise NotFoundError("there is nothing of this id")


def _with_owner(shown: Owned, context: ChatContext) -> Owned:
    metadata = {**(shown.metadata or {}), OWNER: owner_of(context)}
    return clean(cast("Owned", shown.model_copy(update={"metadata": metadata})))


def _without_owner(stored: Owned) -> Owned:
    metadata = {key: value for key, value in (stored.metadata or {}).items() if key != OWNER}
    # Without metadata a thread has an empty one, an attachment none.
    shown = metadata if metadata or isinstance(stored, ThreadMetadata) else None
    return cast("Owned", stored.model_copy(update={"metadata": shown}))
