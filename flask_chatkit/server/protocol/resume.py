"""What a page asks about an answer that it has not begun itself, or wants to end.

ChatKit's protocol has no call for that: these are the kit's own, beside ``POST …/api``.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from chatkit.store import Store
from chatkit.types import HiddenContextItem, SDKHiddenContextItem, UserMessageItem

from ...errors import BadRequest
from ..context import ChatContext
from ..history.tool_outputs import is_memory
from .operations import Call, parse_call

#: What :data:`flask_chatkit.server.context.ANSWER_HEADER` says of an answer.
#: It is being written: ``POST …/api/resume`` reads it.
RUNNING = "running"
#: It ended before its time, as the history says.
INTERRUPTED = "interrupted"
#: There is none. A process may have ended while it answered; or there was nothing to say.
UNANSWERED = "unanswered"
#: Another process may be writing it, which can't be asked without Redis: ask again.
ELSEWHERE = "elsewhere"
#: What a call has in its ``metadata`` to be told of the last three, which costs a read.
ASKS = "answer"

#: Items from the end among which the last that counts is looked for.
_LOOK_BACK = 12
#: Seconds for which an answer may be written elsewhere without a new item.
_RECENT = timedelta(seconds=60)


def thread_call(body: bytes, context: ChatContext) -> Call:
    """The call for the thread that a body names: only its owner can make it.

    :raises BadRequest: it is not of the accepted form.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    thread = given.get("thread_id") if isinstance(given, dict) else None
    if not isinstance(thread, str) or len(given) != 1:
        raise BadRequest('Send {"thread_id": "…"}, the id of a thread.')
    request = {"type": "threads.get_by_id", "params": {"thread_id": thread}}
    return parse_call(json.dumps(request).encode(), context)


def asks_for_answer(call: Call) -> bool:
    """Whether a call wants to know how the thread's last answer stands."""
    return call.type == "threads.get_by_id" and call.request.metadata.get(ASKS) is True


async def last_answer(
    store: Store[Any], thread: str, context: Any, *, knows_all: bool
) -> str | None:
    """How the last answer in a thread stands that nobody is known to write.

    :param knows_all: whether one that another process writes would be known.
    :returns: what the header says of it; None for one that is whole.
    """
    page = await store.load_thread_items(thread, None, _LOOK_BACK, "desc", context)
    for item in page.data:
        if is_memory(item) or isinstance(item, HiddenContextItem):
            # The site's own notes say nothing of that.
            continue
        is_message = isinstance(item, UserMessageItem)
        if not knows_all and (is_message or _is_recent(item.created_at)):
            return ELSEWHERE
        if isinstance(item, SDKHiddenContextItem):
            return INTERRUPTED
        return UNANSWERED if is_message else None
    return None


def _is_recent(when: datetime) -> bool:
    aware = when.astimezone() if when.tzinfo is None else when
    return datetime.now(timezone.utc) - aware < _RECENT
