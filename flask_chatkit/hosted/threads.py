"""The threads that OpenAI keeps of hosted chats, read page by page, and deleted.

The calls and their fields are those of OpenAI's API reference for ``/v1/chatkit/threads`` (OpenAPI
document 2.3.0). A thread has ``id``, ``title``, ``created_at`` (Unix seconds), ``status`` and
``user``; an item ``id``, ``thread_id``, ``created_at`` and ``type``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain, islice
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

from ..errors import UpstreamRejected
from .client import MAX_ENTRY_BYTES, MAX_PAGE_BYTES
from .transport import PageTooLargeError

#: The most threads or items that OpenAI sends at once.
PAGE = 100
#: Calls that are under way at once where many threads are read.
FETCHES = 4

Json = dict[str, Any]
T = TypeVar("T")


class Asks(Protocol):
    """What is asked of a :class:`~flask_chatkit.hosted.client.Client`."""

    def ask(
        self, method: str, path: str, *, gone_is_fine: bool = False, most: int = MAX_PAGE_BYTES
    ) -> Json:
        """Ask OpenAI, patiently."""


class HostedThreads:
    """Reads and deletes the threads of hosted chats.

    Every method raises an :class:`~flask_chatkit.ApiError` where OpenAI refuses, or can't be
    reached for long.

    :param client: how OpenAI is asked.
    """

    def __init__(self, client: Asks) -> None:
        self._client = client

    def threads(self, user: str | None = None, *, after: str | None = None) -> Iterator[Json]:
        """The threads, the oldest first, each fetched when it is asked for.

        :param user: whose, as the kit named them to OpenAI: ``user:<login id>`` or ``anon:<id>``.
            None for everybody's.
        :param after: the id of the thread to go on after.
        """
        for thread in self._pages("/chatkit/threads", {"user": user} if user else {}, after):
            if not isinstance(thread.get("id"), str):
                raise UpstreamRejected(detail="OpenAI sent a thread without an id")
            yield thread

    def items(self, thread_id: str, *, after: str | None = None) -> Iterator[Json]:
        """The items of a thread, the oldest first; none if the thread is gone.

        :param after: the id of the item to go on after.
        """
        yield from self._pages(f"/chatkit/threads/{quote(thread_id, safe='')}/items", {}, after)

    def delete(self, thread_id: str) -> bool:
        """Delete a thread; False if there was none."""
        path = f"/chatkit/threads/{quote(thread_id, safe='')}"
        answer = self._client.ask("DELETE", path, gone_is_fine=True)
        return bool(answer.get("deleted"))

    def _pages(self, path: str, query: Mapping[str, str], after: str | None) -> Iterator[Json]:
        size = PAGE
        seen = {after}
        while True:
            asked = {"limit": size, "order": "asc", **query, **({"after": after} if after else {})}
            # A thread may be deleted while others are read; the list of threads is always there.
            is_items = path.endswith("/items")
            most = MAX_PAGE_BYTES if size > 1 else MAX_ENTRY_BYTES
            try:
                page = self._client.ask(
                    "GET", f"{path}?{urlencode(asked)}", gone_is_fine=is_items, most=most
                )
            except PageTooLargeError:
                if size == 1:
                    raise
                size = max(1, size // 4)
                continue
            entries = page.get("data", [])
            if not isinstance(entries, list):
                raise UpstreamRejected(detail="OpenAI sent a page without a list of data")
            yield from (entry for entry in entries if isinstance(entry, dict))
            last = page.get("last_id")
            # A page that goes on from where one began would be asked for without an end.
            if not page.get("has_more") or not isinstance(last, str) or last in seen:
                return
            seen.add(last)
            after, size = last, min(PAGE, size * 2)


def read_ahead(
    entries: Iterable[T], read: Callable[[T], Iterator[Json]]
) -> Iterator[tuple[T, Iterator[Json]]]:
    """Each entry with its items, in order, while the first items of the next ones are fetched.

    :param entries: threads, or whatever items are read of.
    :param read: reads the items of an entry; it runs in another thread, in this context. What it
        raises is raised where the items are iterated over.
    """

    def begin(entry: T) -> Iterator[Json]:
        reading = read(entry)
        return chain(list(islice(reading, PAGE)), reading)

    waiting: deque[tuple[T, Future[Iterator[Json]]]] = deque()
    pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="flask_chatkit")
    try:
        for entry in entries:
            waiting.append((entry, pool.submit(copy_context().run, begin, entry)))
            if len(waiting) > FETCHES:
                first, items = waiting.popleft()
                yield first, _begun(items)
        while waiting:
            first, items = waiting.popleft()
            yield first, _begun(items)
    finally:
        pool.shutdown(cancel_futures=True)


def _begun(items: Future[Iterator[Json]]) -> Iterator[Json]:
    yield from items.result()
