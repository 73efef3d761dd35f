"""What a page asks about an answer that it has not begun itself, or wants to end.

ChatKit's protocol has no call for that: these are the kit's own, beside ``POST …/api``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from chatkit.server import ChatKitServer
from chatkit.store import NotFoundError, Store
from chatkit.types import HiddenContextItem, SDKHiddenContextItem, UserMessageItem
from flask import Response, request

from ...errors import BadRequest
from ...limits.budget import Budget
from ...limits.ratelimit import CALL
from .._upstream import is_stop_note
from ..assistants.base import BaseAssistantServer
from ..context import ANSWER_HEADER, ANSWER_ID_HEADER, ChatContext
from ..history.tool_outputs import is_memory
from ..streaming.asgi_stream import hand_off
from ..streaming.subscriber import Subscriber
from .operations import Call, parse_call
from .streams import OpenStreams, event_stream

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


class RunningAnswers:
    """The answers under way in the threads of one chat, for pages that have not begun them.

    :param streams: those answers.
    :param leave_seconds: how long each goes on when nobody reads it any more.
    :param load: makes a call for JSON, and raises what is wrong with it.
    """

    def __init__(
        self, streams: OpenStreams, leave_seconds: float, load: Callable[[Call], Response]
    ) -> None:
        self._streams = streams
        self._leave_seconds = leave_seconds
        self._load = load

    def resume(self, body: bytes, context: ChatContext, budget: Budget) -> Response | None:
        """Read what is being answered in a thread, from its start; None if nothing is.

        :raises ApiError: the body is of another form, or the thread is somebody else's.
        """
        events = self._streams.read(self._own_thread(_load(body), context, budget))
        if events is None:
            return None
        if isinstance(events, Subscriber):
            hand_off(request, events)
            answer = events.stream.id
        else:
            answer = events.id
        return self.outliving(event_stream(events), answer)

    def stop(self, body: bytes, context: ChatContext, budget: Budget) -> None:
        """Stop what is being answered in a thread, in whichever process.

        An ``answer`` in the body is the id of the one to stop: a call that comes late leaves a
        later one alone.

        :raises ApiError: as for :meth:`resume`.
        """
        given = _load(body)
        answer = given.pop("answer", None) if isinstance(given, dict) else None
        if answer is not None and not (isinstance(answer, str) and answer):
            raise BadRequest("The field 'answer' must be the id of an answer.")
        self._streams.stop(self._own_thread(given, context, budget), answer)

    def _own_thread(self, given: Any, context: ChatContext, budget: Budget) -> str:
        """The thread that a body names, if it is the visitor's."""
        try:
            call = thread_call(given, context)
        finally:
            budget.spend(CALL)
        # Whose it is only the history knows: a login has its visitor's threads.
        self._load(call)
        thread: str = call.params.thread_id
        return thread

    def outliving(self, response: Response, answer: str) -> Response:
        """Say that an answer goes on when its request ends, so that Stop is told to the server."""
        if self._leave_seconds:
            response.headers[ANSWER_HEADER] = RUNNING
            response.headers[ANSWER_ID_HEADER] = answer
        return response

    def prepare(self, call: Call) -> None:
        """Note in its request what a call needs later."""
        is_alone = not request.environ.get("wsgi.multiprocess", True)
        call.knows_all = is_alone or self._streams.shared.is_on

    async def note_owner(self, call: Call, server: ChatKitServer[Any], context: Any) -> None:
        """Note whether a thread that is to be deleted is the visitor's: its answer is stopped."""
        if call.type == "threads.delete":
            with suppress(NotFoundError):
                await server.store.load_thread(call.params.thread_id, context)
                call.is_own_thread = True

    async def look(self, call: Call, server: ChatKitServer[Any], context: Any) -> None:
        """Look into the history for a call that asks how its thread's last answer stands.

        :param context: the one for the store.
        """
        asks = call.type == "threads.get_by_id" and call.request.metadata.get(ASKS) is True
        if asks and not self._streams.of_thread(call.params.thread_id):
            call.last_answer = await last_answer(
                server.store,
                call.params.thread_id,
                context,
                knows_all=call.knows_all,
                tells_stops=tells_stops(server),
            )

    def follow_up(self, call: Call, response: Response) -> Response:
        """Say how a thread's last answer stands, and stop that of a deleted one."""
        if call.type == "threads.get_by_id":
            is_running = self._streams.is_answering(call.params.thread_id)
            state = RUNNING if is_running else call.last_answer
            if state is not None:
                response.headers[ANSWER_HEADER] = state
        elif call.is_own_thread:
            self._streams.stop(call.params.thread_id)
        return response


def tells_stops(server: ChatKitServer[Any]) -> bool:
    """Whether the history tells what the visitor has stopped from what was interrupted."""
    return isinstance(server, BaseAssistantServer)


def _load(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None


def thread_call(given: Any, context: ChatContext) -> Call:
    """The call for the thread that a body names: only its owner can make it.

    :raises BadRequest: it is not of the accepted form.
    """
    thread = given.get("thread_id") if isinstance(given, dict) else None
    if not isinstance(thread, str) or len(given) != 1:
        raise BadRequest('Send {"thread_id": "…"}, the id of a thread.')
    request = {"type": "threads.get_by_id", "params": {"thread_id": thread}}
    return parse_call(json.dumps(request).encode(), context)


async def last_answer(
    store: Store[Any], thread: str, context: Any, *, knows_all: bool, tells_stops: bool
) -> str | None:
    """How the last answer in a thread stands that nobody is known to write.

    :param knows_all: whether one that another process writes would be known.
    :param tells_stops: whether what the visitor has stopped is told from what was interrupted.
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
            # Of a server that the kit has not made, that note may mean either.
            return None if tells_stops and is_stop_note(item) else INTERRUPTED
        return UNANSWERED if is_message else None
    return None


def _is_recent(when: datetime) -> bool:
    aware = when.astimezone() if when.tzinfo is None else when
    return datetime.now(timezone.utc) - aware < _RECENT
