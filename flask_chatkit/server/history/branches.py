"""What a new answer replaces stays in the history until that answer has begun.

openai-chatkit deletes a part of a thread before it has it answered anew: a model, a database or a
process that fails then takes the conversation with it. Here the answer's own task sees a history
without that part (a :class:`Branch`), which is deleted once something of the answer is stored.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar, cast

from chatkit.store import NotFoundError, Store
from chatkit.types import (
    HiddenContextItem,
    Page,
    SDKHiddenContextItem,
    TaskItem,
    ThreadItem,
    UserMessageItem,
    WorkflowItem,
)
from typing_extensions import Self

from ..ids import LONGEST_PAGE, page_size

F = TypeVar("F", bound=Callable[..., Any])

_HIDDEN = (HiddenContextItem, SDKHiddenContextItem)
#: What is stored before there is an answer: the edited message, and what led to the answer.
_BEFORE = (*_HIDDEN, UserMessageItem, TaskItem, WorkflowItem)
#: Marks a method that knows branches.
_MARK = "knows_branches"


class Branch:
    """The part of a thread that a new answer replaces, hidden from the task that answers.

    :param store: the history.
    :param thread_id: the thread.
    :param items: the part, the oldest first.
    :param context: of the request.
    """

    def __init__(
        self, store: Store[Any], thread_id: str, items: list[ThreadItem], context: Any
    ) -> None:
        self.thread_id = thread_id
        #: The ids of all its items.
        self.ids = {item.id for item in items}
        #: Whether the answer has begun, so that the part is deleted.
        self.has_begun = False
        self._store = store
        self._context = context
        self._items = items
        self._left = [item.id for item in items]
        #: The items that were stored before the answer has begun.
        self._before: list[str] = []

    @property
    def shown(self) -> list[ThreadItem]:
        """The items that the visitor sees."""
        return [
            item for item in self._items if item.id in self.ids and not isinstance(item, _HIDDEN)
        ]

    async def __aenter__(self) -> Self:
        """Hide the part from the current task."""
        _current.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delete what is to be deleted, even if the answer was cancelled meanwhile."""
        await (self.begin() if self.has_begun else self.keep())
        _current.set(None)

    async def stored(self, item: ThreadItem) -> None:
        """Note that an item was stored: the first of an answer begins it."""
        if self.has_begun:
            return
        if item.id in self.ids:
            # Some adapters give all items the same id: it has taken the old one's place.
            self.ids.discard(item.id)
            self._left.remove(item.id)
        if isinstance(item, _BEFORE):
            self._before.append(item.id)
        else:
            await self.begin()

    async def begin(self) -> None:
        """Delete the part."""
        self.has_begun = True
        await self._delete(self._left)

    async def keep(self) -> None:
        """Keep the part, and delete what was stored before there was an answer."""
        await self._delete(self._before)

    async def _delete(self, ids: list[str]) -> None:
        while ids:
            # Somebody may have deleted the thread meanwhile.
            with suppress(NotFoundError):
                await self._store.delete_thread_item(self.thread_id, ids[-1], self._context)
            ids.pop()


#: The branch that the current task replaces.
_current: ContextVar[Branch | None] = ContextVar("flask_chatkit_branch", default=None)


def _branch_of(thread_id: str) -> Branch | None:
    branch = _current.get()
    return branch if branch is not None and branch.thread_id == thread_id else None


def hides_branch(method: F) -> F:
    """Have ``load_thread_items`` of a store leave out what is replaced."""

    @wraps(method)
    async def load_thread_items(
        store: Any, thread_id: str, after: str | None, limit: int, order: str, context: Any
    ) -> Page[ThreadItem]:
        branch = _branch_of(thread_id)
        if branch is None or branch.has_begun:
            page: Page[ThreadItem] = await method(store, thread_id, after, limit, order, context)
            return page
        size, found, seen = page_size(limit), list[ThreadItem](), {after}
        while True:
            page = await method(store, thread_id, after, size, order, context)
            found += [item for item in page.data if item.id not in branch.ids]
            after = page.after or (page.data[-1].id if page.data else None)
            has_more = page.has_more and after not in seen
            if len(found) >= size or not has_more:
                break
            seen.add(after)
        has_more = has_more or len(found) > size
        found = found[:size]
        return Page(data=found, has_more=has_more, after=found[-1].id if has_more else None)

    return cast("F", _marked(load_thread_items))


def begins_answer(method: F) -> F:
    """Have ``add_thread_item`` of a store delete what is replaced, after the first new item."""

    @wraps(method)
    async def add_thread_item(store: Any, thread_id: str, item: ThreadItem, context: Any) -> None:
        await method(store, thread_id, item, context)
        branch = _branch_of(thread_id)
        if branch is not None:
            await branch.stored(item)

    return cast("F", _marked(add_thread_item))


def begins_nothing(method: F) -> F:
    """Have ``save_item`` of a store begin no answer, even if it calls ``add_thread_item``."""

    @wraps(method)
    async def save_item(store: Any, thread_id: str, item: ThreadItem, context: Any) -> None:
        branch = _current.get()
        _current.set(None)
        try:
            await method(store, thread_id, item, context)
        finally:
            _current.set(branch)

    return cast("F", _marked(save_item))


def _marked(method: Any) -> Any:
    setattr(method, _MARK, True)
    return method


_METHODS: dict[str, Callable[[Any], Any]] = {
    "load_thread_items": hides_branch,
    "add_thread_item": begins_answer,
    "save_item": begins_nothing,
}


def _knows_branches(store: Store[Any]) -> bool:
    return all(getattr(getattr(store, name), _MARK, False) for name in _METHODS)


def teach_branches(store: Store[Any]) -> None:
    """Have a site's store that isolates its owners know branches; ours do."""
    if any(getattr(getattr(type(store), name, None), _MARK, False) for name in _METHODS):
        # One of ours, or a site's class that extends it.
        return
    for name, extend in _METHODS.items():
        own = getattr(store, name)
        if not getattr(own, _MARK, False):
            # A store whose class allows no attributes is answered as openai-chatkit does it.
            with suppress(AttributeError):
                setattr(store, name, extend(_unbound(own)).__get__(store))


def _unbound(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(_store: Any, *args: Any) -> Any:
        return method(*args)

    return call


async def find_branch(
    store: Store[Any], context: Any, thread_id: str, message: str | None, first: str | None
) -> Branch | None:
    """What an answer replaces; None if that is nothing.

    :param message: the visitor's message that is answered anew: all after it.
    :param first: the visitor's message that was edited: it, and all after it.
    :raises NotFoundError: ``first`` is not a message in the thread.
    """
    if not _knows_branches(store):
        return None
    if first is not None and not await _is_message(store, context, thread_id, first):
        if message is None:
            raise NotFoundError("there is no such message")
        # The answer to the edited message had begun before it was interrupted.
        first = None
    last = first or message
    found: list[ThreadItem] = []
    async for item in _newest_first(store, context, thread_id):
        if item.id == last:
            if first is not None:
                found.append(item)
            is_ours = isinstance(item, UserMessageItem) and bool(found)
            return Branch(store, thread_id, found[::-1], context) if is_ours else None
        if item.id != message:
            found.append(item)
    return None


async def _is_message(store: Store[Any], context: Any, thread_id: str, item_id: str) -> bool:
    try:
        item = await store.load_item(thread_id, item_id, context)
    except NotFoundError:
        return False
    return isinstance(item, UserMessageItem)


async def _newest_first(
    store: Store[Any], context: Any, thread_id: str
) -> AsyncGenerator[ThreadItem, None]:
    after: str | None = None
    while True:
        page = await store.load_thread_items(thread_id, after, LONGEST_PAGE, "desc", context)
        for item in page.data:
            yield item
        after = page.after or (page.data[-1].id if page.data else None)
        if not page.has_more or after is None:
            return
