"""``POST …/api`` of a served chat: checks a call, runs the operation, and answers the client.

ChatKit's client retries a streaming call five times if the status is 5xx, and shows nothing of a
4xx: so a message for the visitor goes into an error *event* with status 200. Of a call for JSON it
shows the error's ``message``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from chatkit.errors import CustomStreamError
from chatkit.server import ChatKitServer, NonStreamingResult, StreamingResult
from chatkit.store import NotFoundError
from flask import Response, current_app, request

from ...activity import Activity
from ...chats.served import ServedChat
from ...chats.state import state_variables
from ...config import Settings
from ...errors import BadRequest, RateLimited, TooLarge, UpstreamTimeout, UpstreamUnavailable
from ...limits.budget import Budget
from ...limits.concurrency import Slot
from ...limits.ratelimit import CALL
from ...runtime._upstream import this_app
from ...upload_quota import time_text
from .._upstream import process, processes_plainly
from ..context import ChatContext, current_context
from ..history.base import DatabaseStore
from ..history.branches import teach_branches
from ..history.outages import as_outage
from ..streaming import loop
from ..streaming.asgi_stream import hand_off
from ..streaming.record import AnswerRecord, note_thread
from ..streaming.run import run_sync
from ..streaming.shared import SharedAnswers
from ..streaming.sse import error_event
from ..streaming.startup import Startup, StartupFailed
from ..streaming.stream import Stream
from ..surrogates import whole_json
from .branches import branch_of, replace
from .operations import OPERATIONS, Call, Operation, parse_call
from .refusals import Refusal, raise_api_error, raise_http_error, refusal_of
from .replay import ReplayCache, RequestKey, request_key
from .resume import RunningAnswers, tells_stops
from .retries import AnswerOnce
from .search import search
from .streams import OpenStreams, event_stream
from .validation import CallChecks

if TYPE_CHECKING:
    from ..attachments.http import Uploads

logger = logging.getLogger("flask_chatkit")

#: Seconds to wait for the first event before the headers are sent without it.
FIRST_SECONDS = 5.0
#: Seconds that a call for JSON may take.
JSON_SECONDS = 30.0


class Dispatcher:
    """The calls of one served chat on one application.

    :param chat: its declaration.
    :param server: answers.
    :param uploads: its files, if the package stores them.
    :param settings: the kit's settings.
    :param activity: logs, counts and signals what happens.
    :param startup: runs before the first answer.
    :param shared: the answers of other processes.
    """

    def __init__(
        self,
        chat: ServedChat,
        server: ChatKitServer[Any],
        uploads: Uploads | None,
        settings: Settings,
        activity: Activity,
        startup: Startup,
        shared: SharedAnswers,
    ) -> None:
        self.chat = chat
        self.server = server
        self.uploads = uploads
        self._activity = activity
        self._startup = startup
        self._seconds = chat.answer_seconds or settings.answer_seconds
        self._leave_seconds = settings.leave_seconds
        self._checks = CallChecks(chat, server, uploads, settings)
        #: Bytes of the largest body that any call may have.
        self.max_body = self._checks.max_body
        self._replays = ReplayCache()
        self._streams = OpenStreams(shared, chat.name)
        #: The answers under way, for pages that have not begun them.
        self.running = RunningAnswers(self._streams, settings.leave_seconds, self._answer_json)
        self._is_plain = processes_plainly(type(server))
        teach_branches(server.store)
        store = vars(type(server.store))
        self._reads_at_once: bool = self._is_plain and store.get("reads_at_once", False)

    def answer(self, body: bytes, context: ChatContext, budget: Budget, slot: Slot) -> Response:
        """Answer a call.

        :param body: the request's body.
        :param context: the one that the site's code gets.
        :param budget: the quotas that the call is counted against.
        :param slot: the visitor's concurrent requests, this one included.
        :raises ApiError: for a response with a status of its own.
        """
        # A lone surrogate is as long as the character that replaces it.
        body = whole_json(body)
        try:
            call = parse_call(body, context)
        except BadRequest:
            # Parsing takes time as well.
            budget.spend(CALL)
            raise
        limit = self._checks.limits[call.type]
        if len(body) > limit:
            raise TooLarge(
                f"The body of {call.type} has more than {limit} bytes.", limit=f"{limit} bytes"
            )
        try:
            _check_slot(slot, call.operation)
            try:
                self._checks.check(call)
            except (BadRequest, Refusal):
                budget.spend(CALL)
                raise
            if call.operation.streams:
                return self._answer_stream(call, budget, slot)
            self._charge(call, budget)
            self.running.prepare(call)
        except Refusal as refusal:
            if call.operation.streams:
                return event_stream(iter([self._error_event(call, refusal)]))
            raise refusal.as_api_error() from None
        return self._answer_json(call)

    def settle(self, seconds: float) -> None:
        """Wait until no stream is under way, or so many seconds for each; for tests."""
        self._streams.settle(seconds)

    def clear_replays(self) -> None:
        """Take the next call for a new one, even if it repeats another; for tests."""
        self._replays.clear()

    def forget(self, owner: str) -> None:
        """Replay nothing to an owner whose threads are deleted."""
        self._replays.forget(owner)

    def _charge(self, call: Call, budget: Budget) -> None:
        """Charge a call, and only then run the site's code."""
        _spend(budget, call.operation)
        if not call.operation.reads_only:
            call.context["state"] = state_variables(self.chat, call.context["visitor"]) or {}
        if call.type == "attachments.create" and self.uploads is not None:
            # Not when the bytes arrive: ChatKit's frame sends these without a cookie.
            size = call.params.size
            if 0 < size <= self.uploads.max_bytes:
                budget.spend_bytes(size)

    # --- on the loop ---------------------------------------------------------------------------

    async def _process(self, call: Call) -> StreamingResult | NonStreamingResult:
        context = await self._authorize(call)
        if call.type == "items.feedback":
            await self._save_feedback(call)
        await self.running.note_owner(call, self.server, context)
        begin = partial(self._begin, context, call.request, call.body, call.replaces)
        if call.search is None:
            result = await begin()
        else:
            store = cast("DatabaseStore", self.server.store) if self._reads_at_once else None
            result = await search(store, call, context, begin)
        await self.running.look(call, self.server, context)
        return result

    def _open_once(
        self, call: Call, key: RequestKey, record: AnswerRecord, former: Stream | None
    ) -> Stream:
        """Make the stream of a call that may have been made before."""
        # A site's own store may search everybody's threads for the visitor's newest.
        is_quick = call.type != "threads.create" or self._reads_at_once
        # What the visitor has stopped was not interrupted.
        searches = is_quick if former is None else not former.stopped
        once = AnswerOnce(
            call,
            key,
            self.server.store,
            record,
            self._authorize,
            self._begin,
            tells_stops=tells_stops(self.server),
        )
        return self._open(call, record, lambda: once.answer(former, searches=searches))

    async def _authorize(self, call: Call) -> Any:
        """Check a call against the history; returns the context for the site's code."""
        current_context.set(call.context)
        if not (call.operation.reads_only and self._reads_at_once):
            # A site's own store may need it for reading as well.
            await self._startup.run(this_app())
        context = self.chat.context(call.context) if self.chat.context else call.context
        await self._checks.check_history(call, context)
        if call.context.thread is not None:
            note_thread(call.context.thread)
        return context

    async def _begin(
        self, context: Any, request: Any, body: bytes, replaces: str | None
    ) -> StreamingResult | NonStreamingResult:
        branch = await branch_of(self.server.store, context, request, replaces)
        if not self._is_plain:
            make = partial(self.server.process, body, context)
        else:
            streams = OPERATIONS[request.type].streams
            make = partial(process, self.server, request, context, streams=streams)
        return await (make() if branch is None else replace(branch, make))

    async def _save_feedback(self, call: Call) -> None:
        """Save a visitor's feedback before the site's code runs, which may fail.

        A site's own store does not save it: only the site's code and the signal get it.
        """
        given, store = call.params, self.server.store
        if isinstance(store, DatabaseStore):
            try:
                await store.save_feedback(given.thread_id, given.item_ids, given.kind, call.context)
            except NotFoundError:
                raise
            except Exception:
                # The site's code may save it elsewhere.
                logger.exception("The feedback of a visitor could not be saved")
        self._activity.rated(call.context, given.thread_id, given.item_ids, given.kind)

    # --- answers -------------------------------------------------------------------------------

    def _answer_json(self, call: Call) -> Response:
        async def act() -> bytes:
            result = await self._process(call)
            return result.json if isinstance(result, NonStreamingResult) else b"{}"

        if call.type == "threads.delete":
            self._replays.forget(call.owner)
        try:
            answer = self._read_here(call)
            if answer is None:
                answer = run_sync(call.context, act, JSON_SECONDS)
        except loop.LoopTimeout:
            raise UpstreamTimeout("The chat did not answer in time.") from None
        except CancelledError:
            raise UpstreamUnavailable("The chat was interrupted.") from None
        except StartupFailed:
            raise UpstreamUnavailable("The chat can't answer at the moment.") from None
        except CustomStreamError as error:
            raise BadRequest(error.message, refusal="declined") from None
        except Exception as error:
            raise_api_error(self.chat.name, call.operation, error)
            raise_http_error(error)
            raise
        response = current_app.response_class(answer, mimetype="application/json")
        return self.running.follow_up(call, response)

    def _read_here(self, call: Call) -> bytes | None:
        """Read our own store in this thread; None if the call needs the loop.

        Saves a call that only reads two switches between threads.
        """
        if not self._reads_at_once or not call.operation.reads_only or self.chat.context:
            return None
        # In a copy of the request's context, which must not keep the chat's.
        return copy_context().run(run_without_loop, self._process(call))

    def _answer_stream(self, call: Call, budget: Budget, slot: Slot) -> Response:
        record = self._record(call)
        charge = partial(self._charge_answer, call, budget, slot, record)
        if call.operation.retriable:
            key = request_key(call)
            subscriber = self._replays.subscribe(
                key,
                partial(self._open_once, call, key, record),
                charge,
            )
            if subscriber is None:
                raise Refusal("Your message is being answered already.", "duplicate")
        else:
            charge()
            subscriber = self._open(call, record, lambda: self._process(call)).start()
        stream = subscriber.stream
        if not subscriber.wait_first(FIRST_SECONDS) and not stream.commit_headers():
            # It has ended in this very moment.
            subscriber.wait_first(0)
        if subscriber.is_empty and (error := stream.error) is not None:
            if not isinstance(error, Refusal) and as_outage(error) is None:
                raise_api_error(self.chat.name, call.operation, error)
            return event_stream(iter([self._error_event(call, error)]))
        hand_off(request, subscriber)
        return self.running.outliving(event_stream(subscriber), stream.id)

    def _charge_answer(self, call: Call, budget: Budget, slot: Slot, record: AnswerRecord) -> None:
        """Charge an answer, which may go on when its request has ended."""
        try:
            record.on_end = slot.begin_answer().release
        except RateLimited as error:
            raise Refusal.of_limit(error, str(error.description)) from None
        self._charge(call, budget)

    def _record(self, call: Call) -> AnswerRecord:
        new = call.params.input if call.operation.is_message else None
        message = new and (sum(len(part.text) for part in new.content), len(new.attachments))
        return AnswerRecord(
            self._activity,
            call.context,
            call.type,
            message,
            lambda error: refusal_of(call.operation, error) is not None,
        )

    def _open(
        self, call: Call, record: AnswerRecord, begin: Callable[[], Awaitable[Any]]
    ) -> Stream:
        explain = partial(self._error_event, call)
        stream = Stream(
            loop.current(), this_app(), begin, self._seconds, explain, record, self._leave_seconds
        )
        self._streams.add(call.owner, stream)
        record.on_thread = partial(self._streams.note_thread, stream)
        record.is_stopped = lambda: stream.stopped
        return stream

    def _error_event(self, call: Call, error: BaseException) -> bytes:
        """The event that shows an error to the visitor; it is logged or reported as well."""
        refusal = refusal_of(call.operation, error)
        if refusal is None:
            return log_error(self.chat.name, error)
        context = call.context
        self._activity.refused(
            refusal.reason,
            limit=refusal.limit,
            chat=context.chat,
            visitor=context.visitor,
            thread=context.thread,
            status=200,
        )
        return error_event(
            str(refusal), allow_retry=refusal.allow_retry, retry_after=refusal.retry_after
        )


def log_error(chat: str, error: BaseException) -> bytes:
    """Log a failure, unless that was done; returns the event that shows it."""
    if isinstance(error, StartupFailed):
        return error_event(allow_retry=True)
    outage = as_outage(error)
    if outage is not None:
        logger.error("The chat %r could not answer: %s", chat, outage.detail)
        return error_event(str(outage.description), allow_retry=True)
    logger.error("The chat %r could not answer", chat, exc_info=error)
    return error_event(allow_retry=True)


def _spend(budget: Budget, operation: Operation) -> None:
    try:
        budget.spend(operation.charged_as)
    except RateLimited as error:
        wait = time_text(error.retry_after or 1)
        often = "You have sent many messages"
        if operation.charged_as == CALL:
            often = "That was very often in a short time"
        raise Refusal.of_limit(error, f"{often}. Please wait {wait} and try again.") from None


def _check_slot(slot: Slot, operation: Operation) -> None:
    try:
        slot.check()
        if operation.runs_code:
            slot.call_site()
    except RateLimited as error:
        raise Refusal.of_limit(error, str(error.description)) from None


def run_without_loop(reading: Coroutine[Any, Any, Any]) -> bytes | None:
    """The JSON that a coroutine returns if it awaits nothing; else None."""
    try:
        reading.send(None)
    except StopIteration as done:
        result: bytes = done.value.json
        return result
    reading.close()
    return None
