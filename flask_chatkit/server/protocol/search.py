"""Searches the visitor's threads: an addition of ours to ``threads.list``.

ChatKit's protocol has none. The query is in the request's metadata, which openai-chatkit leaves to
the integration; an empty one lists all threads. The answer's ``search`` tells whether the chat can
search, and ``found`` in which message each thread was found, and what stands there.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from chatkit.server import NonStreamingResult, StreamingResult
from chatkit.types import Page, Thread, ThreadMetadata

from ...errors import BadRequest
from ..history.base import DatabaseStore

#: The key of the query in the metadata.
SEARCH = "flask_chatkit_search"
#: Characters of the longest query.
LONGEST_QUERY = 200
#: Threads of a page if the client names no number.
FOUND = 30


def query_of(request: Any) -> str | None:
    """The query of a request; None if it has none.

    :raises BadRequest: it is of another form.
    """
    if request.type != "threads.list" or SEARCH not in request.metadata:
        return None
    query = request.metadata[SEARCH]
    if not isinstance(query, str) or len(query) > LONGEST_QUERY:
        raise BadRequest(
            f"The field 'metadata.{SEARCH}' must be a string of at most {LONGEST_QUERY} characters."
        )
    return query.strip()


async def search(
    store: DatabaseStore | None,
    call: Any,
    context: Any,
    list_all: Callable[[], Awaitable[NonStreamingResult | StreamingResult]],
) -> NonStreamingResult | StreamingResult:
    """Answer a call that has a query, or an empty one.

    :param store: None if it can't search; then all threads are listed.
    :param list_all: answers the call without its query.
    """
    if store is None or not call.search:
        result = await list_all()
        if not isinstance(result, NonStreamingResult):
            return result
        return _answer(json.loads(result.json) | {"search": store is not None})
    page = await store.search_threads(call.search, call.params.limit or FOUND, context)
    found = {
        one.thread.id: {"item_id": one.item_id, "excerpt": one.excerpt}
        for one in page.data
        if one.item_id is not None
    }
    data = [_shown(one.thread) for one in page.data]
    return _answer({"data": data, "has_more": page.has_more, "search": True, "found": found})


def _answer(value: dict[str, Any]) -> NonStreamingResult:
    return NonStreamingResult(json.dumps(value).encode())


def _shown(thread: ThreadMetadata) -> dict[str, Any]:
    """A thread without its metadata, which is the server's."""
    names = ("id", "title", "created_at", "status", "allowed_image_domains")
    shown = Thread(**{name: getattr(thread, name) for name in names}, items=Page())
    return shown.model_dump(mode="json", by_alias=True, exclude_none=True)
