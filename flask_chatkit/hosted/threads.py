"""Reads and deletes the threads of hosted chats at OpenAI.

The calls follow OpenAI's API reference for ``/v1/chatkit/threads`` (OpenAPI document 2.3.0). A
thread has ``id``, ``title``, ``created_at`` (Unix seconds), ``status`` and
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

#: The most threads or items of OpenAI's pages.
PAGE = 100
#: Parallel calls while many threads are read.
FETCHES = 4

Json = dict[str, Any]
T = TypeVar("T")


class Asks(Protocol):
    """The method of a :class:`~flask_chatkit.hosted.client.Client` that is needed."""

    def ask(
        self, method: str, path: str, *, gone_is_fine: bool = False, most: int = MAX_PAGE_BYTES
    ) -> Json:
        """Call OpenAI, with retries."""


class HostedThreads:
    """Reads and deletes the threads of hosted chats.

    Every method raises an :class:`~flask_chatkit.ApiError` if OpenAI refuses, or can't be reached
    for long.

    :param client: calls OpenAI.
    """

    def __init__(self, client: Asks) -> None:
        self._client = client

    def threads(self, user: str | None = None, *, after: str | None = None) -> Iterator[Json]:
        """Yield the threads, the oldest first, fetched as they are iterated over.

        :param user: whose, by the kit's name for them: ``user:<login id>`` or ``anon:<id>``; None
            for all visitors'.
        :param after: the id of the thread to continue after.
        """
        for thread in self._pages("/chatkit/threads", {"user": user} if user else {}, after):
            if not isinstance(thread.get("id"), str):
                raise UpstreamRejected(detail="OpenAI sent a thread without an id")
            yield thread

    def items(self, thread_id: str, *, after: str | None = None) -> Iterator[Json]:
        """Yield the items of a thread, the oldest first; none if the thread is gone.

        :param after: the id of the item to continue after.
        """
        yield from self._pages(f"/chatkit/threads/{quote(thread_id, safe='')}/items", {}, after)

    def delete(self, thread_id: str) -> bool:
        """Delete a thread; return False if there was none."""
        path = f"/chatkit/threads/{quote(thread_id, safe='')}"
        answer = self._client.ask("DELETE", path, gone_is_fine=True)
        return bool(answer.get("deleted"))

    def _pages(self, path: str, query: Mapping[str, str], after: str | None) -> Iterator[Json]:
        size = PAGE
        seen = {after}
        while True:
            asked = {"limit": size, "order": "asc", **query, **({"after": after} if after else {})}
            # A thread may be deleted meanwhile; the list of threads always exists.
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
            # A cursor that comes again would never end.
            if not page.get("has_more") or not isinstance(last, str) or last in seen:
                return
            seen.add(last)
            after, size = last, min(PAGE, size * 2)


def read_ahead(
    entries: Iterable[T], read: Callable[[T], Iterator[Json]]
) -> Iterator[tuple[T, Iterator[Json]]]:
    """Yield each entry with its items, while the first items of the next ones are fetched.

    :param entries: threads.
    :param read: reads the items of an entry; it runs in another thread, in this context. Its errors
        are raised by the iteration over the items.
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
