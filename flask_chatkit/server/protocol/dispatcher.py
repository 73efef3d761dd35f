"""``POST …/api`` of a served chat: who may ask for what, and in which form the client is answered.

How ChatKit's client behaves decides the forms. It sends a streaming call that is answered with 5xx
again, five times, and shows nothing of a 4xx: so what the visitor should read there is an error
*event*, with status 200. A call for JSON shows the answer's ``message``.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from chatkit.errors import CustomStreamError
from chatkit.server import ChatKitServer, NonStreamingResult, StreamingResult
from chatkit.store import NotFoundError
from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException, default_exceptions

from ...activity import Activity, reason_of
from ...chats.declarations import ServedChat
from ...chats.state import state_variables
from ...config import Settings
from ...errors import (
    ApiError,
    BadRequest,
    ConfigurationError,
    Misconfigured,
    NotFound,
    RateLimited,
    TooLarge,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from ...limits.budget import Budget
from ...limits.concurrency import Slot
from ...limits.ratelimit import CALL
from ...quota import time_text
from ...runtime._upstream import this_app
from .._upstream import process, processes_plainly
from ..assistants.base import BaseAssistantServer, callbacks_of
from ..context import ChatContext, current_context
from ..history.claims import begin_once
from ..history.outages import as_outage, raise_outage
from ..streaming import loop
from ..streaming.feed import hand_off
from ..streaming.record import AnswerRecord
from ..streaming.run import run_sync
from ..streaming.sse import error_event
from ..streaming.startup import Startup, StartupFailed
from ..streaming.stream import Stream
from ..surrogates import whole_json
from .operations import OPERATIONS, Operation, parse, thread_of
from .replay import CLEANUP_SECONDS, CUT_SECONDS, Repeats, find_answered, find_cut, fingerprint
from .widget_actions import ActionChecks

if TYPE_CHECKING:
    from ..attachments.http import Uploads

logger = logging.getLogger("flask_chatkit")

#: Items and threads of one page; ChatKit's client asks for fewer.
MAX_LIMIT = 100
#: Characters of a thread's title.
MAX_TITLE = 200
#: Characters of a file's name.
MAX_NAME = 1024
#: Items that one call may give feedback on.
MAX_FEEDBACK = 50
#: Answers that one visitor has under way; each holds a thread of the server's.
AT_A_TIME = 4
#: Seconds to wait for the first word before the headers are sent without it.
FIRST_SECONDS = 5.0
#: Seconds that a call for JSON may take.
JSON_SECONDS = 30.0
#: What the package itself refuses with a ValueError, before any code of the site's runs.
_STATEFUL = frozenset(
    {
        "threads.add_client_tool_output",
        "threads.add_structured_input",
        "threads.retry_after_item",
    }
)
_ACTIONS = frozenset({"threads.custom_action", "threads.sync_custom_action"})

#: Reads that touch nothing but the store.
_PLAIN = frozenset({"threads.list", "threads.get_by_id", "items.list"})

CLOSED = "This conversation is closed. Please start a new one."
LOCKED = "This conversation is locked at the moment."
WRONG_STATE = "The chat is not in a state for this."


class Dispatcher:
    """One served chat on one application.

    :param chat: its declaration.
    :param server: who answers.
    :param uploads: its files, if we keep them.
    :param settings: the kit's settings.
    :param activity: logs, counts and signals what happens.
    :param startup: what runs before the first answer.
    """

    def __init__(
        self,
        chat: ServedChat,
        server: ChatKitServer[Any],
        uploads: Uploads | None,
        settings: Settings,
        activity: Activity,
        startup: Startup,
    ) -> None:
        self.chat = chat
        self.server = server
        self.uploads = uploads
        self._settings = settings
        self._activity = activity
        self._startup = startup
        self._max_length = chat.max_message_length or settings.max_message_length
        self._seconds = chat.answer_seconds or settings.answer_seconds
        self._repeats = Repeats()
        self._under_way: dict[str, list[Stream]] = {}
        self._lock = threading.Lock()
        self._offered = {"model": chat.offers("models"), "tool_choice": chat.offers("tools")}
        self._is_ours = isinstance(server, BaseAssistantServer)
        kind = type(server)
        takes_page_actions = chat.page_actions or bool(getattr(server, "page_actions", False))
        self._actions = ActionChecks(
            callbacks_of(server),
            page_actions=takes_page_actions,
            answers_at_once=type(server).sync_action is not ChatKitServer.sync_action,
        )
        handles = chat.callbacks.transcribe is not None
        self._takes_dictation = handles or (
            not self._is_ours and kind.transcribe is not ChatKitServer.transcribe
        )
        self._is_plain = processes_plainly(kind)
        self._reads_at_once = self._is_plain and vars(type(server.store)).get(
            "reads_at_once", False
        )

    @property
    def max_body(self) -> int:
        """Bytes of the largest body that any operation here may have."""
        return max(
            self._limit(operation)
            for name, operation in OPERATIONS.items()
            if name != "input.transcribe" or self._takes_dictation
        )

    def answer(
        self,
        body: bytes,
        context: ChatContext,
        budget: Budget,
        slot: Slot,
    ) -> Response:
        """Answer a call.

        :param body: the request's body.
        :param context: what the site's code is told.
        :param budget: the quotas that the call is counted against.
        :param slot: what the visitor has under way with this call.
        :raises ApiError: what the client is told with a status of its own.
        """
        # Half a character is as long as the one that stands for it.
        body = whole_json(body)
        try:
            asked = parse(body)
        except BadRequest:
            # What can't be read costs time, too.
            budget.spend(CALL)
            raise
        operation = OPERATIONS[asked.type]
        limit = self._limit(operation)
        if len(body) > limit:
            raise TooLarge(
                f"The body of {asked.type} has more than {limit} bytes.", limit=f"{limit} bytes"
            )
        context["thread"] = thread_of(asked)

        def count() -> None:
            """Count it, and only then run code of the site's."""
            _spend(budget, operation)
            if asked.type not in _PLAIN:
                context["state"] = state_variables(self.chat, context.visitor) or {}

        try:
            _check_slot(slot, operation)
            try:
                body = self._checked(asked, body)
            except (BadRequest, _Refused):
                budget.spend(CALL)
                raise
            if operation.streams:
                return self._stream(asked, operation, body, context, count)
            count()
            if asked.type == "attachments.create" and self.uploads is not None:
                # Here and not when its bytes come: ChatKit's frame sends these without a cookie.
                size = asked.params.size
                if 0 < size <= self.uploads.max_bytes:
                    budget.spend_bytes(size)
        except _Refused as refusal:
            return self._refuse(asked, context, refusal)
        return self._json(asked, operation, body, context)

    def settle(self, seconds: float) -> None:
        """Wait until no answer is under way, or for so many seconds; for tests."""
        with self._lock:
            answers = [one for some in self._under_way.values() for one in some if not one.ended]
        for answer in answers:
            loop.current().run(partial(answer.wait, seconds), seconds + 1)

    def forget_repeats(self) -> None:
        """Take the same message once more for a new one, whenever it comes; for tests."""
        self._repeats.clear()

    def forget(self, owner: str) -> None:
        """Hand no answer out again to an owner whose threads are deleted."""
        self._repeats.forget(owner)

    # --- what may be asked -------------------------------------------------------------------

    def _limit(self, operation: Operation) -> int:
        return operation.limit + (6 * self._max_length if operation.says else 0)

    def _checked(self, asked: Any, body: bytes) -> bytes:
        """Check what needs no look at the history; the body, with its limit put into bounds."""
        params = asked.params
        if asked.type in {"threads.create", "threads.add_user_message"}:
            self._check_message(params.input)
        elif asked.type == "threads.add_structured_input":
            said = (value for answer in params.input.answers.values() for value in answer.values)
            self._check_length(sum(map(len, said)))
        elif asked.type == "threads.update":
            if not 1 <= len(params.title.strip()) <= MAX_TITLE:
                raise BadRequest(f"A title has 1 to {MAX_TITLE} characters.")
        elif asked.type == "items.feedback" and len(params.item_ids) > MAX_FEEDBACK:
            raise BadRequest(f"Feedback on more than {MAX_FEEDBACK} items is not accepted.")
        elif asked.type == "attachments.create" and len(params.name) > MAX_NAME:
            raise BadRequest(f"A file's name has at most {MAX_NAME} characters.")
        self._check_offered(asked)
        limit = getattr(params, "limit", None)
        if limit is not None and not 1 <= limit <= MAX_LIMIT:
            params.limit = max(1, min(limit, MAX_LIMIT))
            clamped: str = asked.model_dump_json()
            return clamped.encode()
        return body

    def _check_offered(self, asked: Any) -> None:
        """Check that this chat has what is asked for: files, dictation, an action."""
        if asked.type.startswith("attachments.") and self.server.attachment_store is None:
            raise BadRequest("This chat accepts no files.", refusal="no_files")
        if asked.type == "input.transcribe" and not self._takes_dictation:
            raise BadRequest("This chat takes no dictation.", refusal="no_dictation")
        if asked.type in _ACTIONS:
            self._actions.check_type(asked.params.action.type)

    def _check_message(self, said: Any) -> None:
        parts = [part.text for part in said.content]
        if not said.attachments and not any(part.strip() for part in parts):
            raise BadRequest("The message is empty.")
        self._check_length(sum(map(len, parts)) + len(said.quoted_text or ""))
        if said.attachments:
            if self.server.attachment_store is None:
                raise _Refused("This chat accepts no files.", "no_files")
            accepted = self.chat.attachments(self._settings) or {}
            most = accepted.get("maxCount", len(said.attachments))
            if len(said.attachments) > most:
                raise _Refused(
                    f"A message can have at most {most} files.",
                    "too_many_files",
                    limit=f"{most} files",
                )
        chosen = said.inference_options
        choices = {
            "model": chosen.model,
            "tool_choice": chosen.tool_choice and chosen.tool_choice.id,
        }
        for name, value in choices.items():
            # What costs what is for the site to decide. A server of the site's own that declares
            # no choices here decides by itself.
            offered = self._offered[name]
            if value is not None and value not in offered and (offered or self._is_ours):
                raise BadRequest(f"The field 'inference_options.{name}' is none of those on offer.")

    def _check_length(self, length: int) -> None:
        if length > self._max_length:
            raise _Refused(
                f"This message is too long: it has {length:,} characters, and "
                f"{self._max_length:,} are possible. Please shorten it.",
                "too_long",
                limit=f"{self._max_length} characters",
            )

    async def _check_history(self, asked: Any, operation: Operation, context: Any) -> None:
        """Check what is asked for against the visitor's own history, before anything is done.

        :raises NotFoundError: something in it is nobody's, or somebody else's.
        """
        store, params = self.server.store, asked.params
        if operation.talks or asked.type in {"items.feedback", "items.list"}:
            thread = await store.load_thread(params.thread_id, context)
            if operation.talks and thread.status.type != "active":
                kind = thread.status.type
                said = CLOSED if kind == "closed" else LOCKED
                raise _Refused(getattr(thread.status, "reason", None) or said, f"chat_{kind}")
        item = None
        items = [params.item_id] if getattr(params, "item_id", None) else []
        for item_id in [*items, *getattr(params, "item_ids", ())]:
            item = await store.load_item(params.thread_id, item_id, context)
        if asked.type in _ACTIONS:
            is_sync = not operation.streams
            payload = self._actions.check_use(params.action, item, is_sync=is_sync)
            params.action = params.action.model_copy(update={"payload": payload})
        files = getattr(getattr(params, "input", None), "attachments", None) or []
        if asked.type == "attachments.delete":
            files = [params.attachment_id]
        for attachment_id in files:
            attachment = await store.load_attachment(attachment_id, context)
            if asked.type == "attachments.delete" or self.uploads is None:
                continue
            if not self.uploads.is_uploaded(attachment):
                raise _Refused(
                    f"The file {attachment.name} has not been uploaded. Please try again.",
                    "file_missing",
                )

    # --- how it is answered --------------------------------------------------------------------

    async def _process(
        self, asked: Any, operation: Operation, body: bytes, context: ChatContext
    ) -> StreamingResult | NonStreamingResult:
        made = await self._admit(asked, operation, context)
        if asked.type == "items.feedback":
            await self._keep_feedback(asked.params, context)
        if asked.type in _ACTIONS:
            body = asked.model_dump_json().encode()
        return await self._begin(asked, body, made)

    async def _keep_feedback(self, given: Any, context: ChatContext) -> None:
        """Keep what a visitor thinks of an answer before the site's code runs, which may fail.

        Where the history is a store of the site's own, only that code and the signal have it.
        """
        store = self.server.store
        if hasattr(type(store), "save_feedback"):
            keep = cast("Any", store).save_feedback
            try:
                await keep(given.thread_id, given.item_ids, given.kind, context)
            except NotFoundError:
                raise
            except Exception:
                # The site's code may have a place of its own for it.
                logger.exception("The feedback of a visitor could not be kept")
        self._activity.rated(context, given.thread_id, given.item_ids, given.kind)

    async def _admit(self, asked: Any, operation: Operation, context: ChatContext) -> Any:
        """Check a call against the history; the context that the site's code gets for it."""
        current_context.set(context)
        if asked.type not in _PLAIN or not self._reads_at_once:
            # The site's own store may need it for reading, too.
            await self._startup.run(this_app())
        made = self.chat.context(context) if self.chat.context else context
        await self._check_history(asked, operation, made)
        return made

    async def _begin(
        self, asked: Any, body: bytes, context: Any
    ) -> StreamingResult | NonStreamingResult:
        server = self.server
        if not self._is_plain:
            return await server.process(body, context)
        return await process(server, asked, context, streams=OPERATIONS[asked.type].streams)

    async def _process_once(
        self,
        asked: Any,
        operation: Operation,
        body: bytes,
        context: ChatContext,
        former: Stream | None,
        record: AnswerRecord,
    ) -> StreamingResult | NonStreamingResult:
        """Process a message, unless it is in the history already and only its answer is missing."""
        if former is not None:
            await former.wait(CLEANUP_SECONDS)
        made = await self._admit(asked, operation, context)
        # A store that is not ours may look through everybody's threads for the visitor's newest.
        is_quick = asked.type != "threads.create" or self._reads_at_once

        async def begin(waited: float = 0.0) -> StreamingResult | NonStreamingResult:
            cut = None
            if is_quick or former is not None:
                cut = await find_cut(self.server.store, asked, made, CUT_SECONDS + waited)
            if cut is None:
                return await self._begin(asked, body, made)
            record.forget_message()
            retry = json.dumps(cut.retry).encode()
            again = await self._begin(parse(retry), retry, made)
            return StreamingResult(cut.retold(created=asked.type == "threads.create", rest=again))

        async def replay() -> AsyncIterable[bytes] | None:
            told = await find_answered(self.server.store, asked, made)
            if told is not None:
                record.forget_message()
            return told and told.retold(created=asked.type == "threads.create")

        store, key = self.server.store, fingerprint(asked, context)
        known = cast("Any", store).claims if hasattr(type(store), "claims") else None
        if known is None or not key.is_message:
            return await begin()
        visitor = context.visitor.digest
        return StreamingResult(await begin_once(known, key.digest, visitor, begin, replay))

    def _json(
        self, asked: Any, operation: Operation, body: bytes, context: ChatContext
    ) -> Response:
        async def act() -> bytes:
            result = await self._process(asked, operation, body, context)
            return result.json if isinstance(result, NonStreamingResult) else b"{}"

        if asked.type == "threads.delete":
            self._repeats.forget(context.owner)
        try:
            answer = self._read(asked, operation, body, context)
            if answer is None:
                answer = run_sync(context, act, JSON_SECONDS)
        except loop.LoopTimeout:
            raise UpstreamTimeout("The chat did not answer in time.") from None
        except CancelledError:
            raise UpstreamUnavailable("The chat was interrupted.") from None
        except StartupFailed:
            raise UpstreamUnavailable("The chat can't answer at the moment.") from None
        except CustomStreamError as error:
            raise BadRequest(error.message, refusal="declined") from None
        except Exception as error:
            self._tell(asked, error)
            _retell(error)
            raise
        return current_app.response_class(answer, mimetype="application/json")

    def _read(
        self, asked: Any, operation: Operation, body: bytes, context: ChatContext
    ) -> bytes | None:
        """Read the history right here, where our own store does not wait for the loop; None for no.

        A call that only reads need not cross threads twice.
        """
        if not self._reads_at_once or asked.type not in _PLAIN or self.chat.context:
            return None
        # In a copy of this request's context, which must not learn of the chat's.
        return copy_context().run(_driven, self._process(asked, operation, body, context))

    def _stream(
        self,
        asked: Any,
        operation: Operation,
        body: bytes,
        context: ChatContext,
        charge: Callable[[], None],
    ) -> Response:
        record = self._record(asked, context)
        if operation.repeats:
            reader = self._repeats.reader(
                fingerprint(asked, context),
                lambda former: self._answer(
                    asked,
                    context,
                    lambda: self._process_once(asked, operation, body, context, former, record),
                    record,
                ),
                charge,
            )
            if reader is None:
                raise _Refused("Your message is being answered already.", "duplicate")
        else:
            charge()
            reader = self._answer(
                asked, context, lambda: self._process(asked, operation, body, context), record
            ).start()
        if not reader.wait_first(FIRST_SECONDS) and not reader.stream.commit_headers():
            # It has ended in this very moment.
            reader.wait_first(0)
        if reader.is_empty and reader.stream.error is not None:
            return self._failed(asked, context, reader.stream.error)
        hand_off(request, reader)
        return _event_stream(reader)

    def _record(self, asked: Any, context: ChatContext) -> AnswerRecord:
        new = asked.params.input if OPERATIONS[asked.type].writes else None
        message = new and (sum(len(part.text) for part in new.content), len(new.attachments))
        return AnswerRecord(
            self._activity,
            context,
            asked.type,
            message,
            lambda error: _refusal_of(asked, error) is not None,
        )

    def _answer(
        self,
        asked: Any,
        context: ChatContext,
        process: Callable[[], Awaitable[Any]],
        record: AnswerRecord,
    ) -> Stream:
        with self._lock:
            mine = [one for one in self._under_way.get(context.owner, ()) if not one.ended]
            if len(mine) >= AT_A_TIME:
                raise _Refused(
                    "Please wait until your other messages are answered.",
                    "busy",
                    limit=f"{AT_A_TIME} answers at a time",
                )
            if len(self._under_way) > 1000:
                ended = [who for who, some in self._under_way.items() if all(a.ended for a in some)]
                for who in ended:
                    del self._under_way[who]

            async def begin() -> Any:
                record.enter()
                return await process()

            explain = partial(self._explain, asked, context)
            answer = Stream(
                loop.current(), this_app(), begin, self._seconds, explain, record.begin()
            )
            self._under_way[context.owner] = [*mine, answer]
        return answer

    def _failed(self, asked: Any, context: ChatContext, error: BaseException) -> Response:
        """Answer for a call that failed before its first word."""
        if isinstance(error, _Refused):
            return self._refuse(asked, context, error)
        if as_outage(error) is None:
            self._tell(asked, error)
        return _event_stream(iter([self._explain(asked, context, error)]))

    def _explain(self, asked: Any, context: ChatContext, error: BaseException) -> bytes:
        """What the visitor reads of a failure, and what the log does."""
        refusal = _refusal_of(asked, error)
        if refusal is None:
            if isinstance(error, StartupFailed):
                # The log has it already.
                return error_event(allow_retry=True)
            outage = as_outage(error)
            if outage is not None:
                logger.error("The chat %r could not answer: %s", self.chat.name, outage.detail)
                return error_event(str(outage.description), allow_retry=True)
            logger.error("The chat %r could not answer", self.chat.name, exc_info=error)
            return error_event(allow_retry=True)
        self._activity.refused(
            refusal.reason,
            limit=refusal.limit,
            chat=context.chat,
            visitor=context.visitor,
            thread=context.thread,
            status=200,
        )
        return error_event(str(refusal), allow_retry=refusal.allow_retry)

    def _tell(self, asked: Any, error: BaseException) -> None:
        """Raise the error of ours that says what is wrong with the call, if one does."""
        if isinstance(error, (ApiError, HTTPException)):
            raise error
        if isinstance(error, _Refused):
            raise error.as_api_error()
        raise_outage(error)
        if isinstance(error, NotFoundError):
            raise NotFound from None
        if isinstance(error, ConfigurationError):
            raise Misconfigured(detail=f"the chat {self.chat.name!r}: {error}") from None
        if type(error) is ValueError and asked.type in _STATEFUL:
            detail = str(error)[:200]
            raise BadRequest(WRONG_STATE, detail=detail, refusal="wrong_state") from error

    def _refuse(self, asked: Any, context: ChatContext, refusal: _Refused) -> Response:
        if OPERATIONS[asked.type].streams:
            return _event_stream(iter([self._explain(asked, context, refusal)]))
        raise refusal.as_api_error()


class _Refused(Exception):
    """What a visitor should read: as an error event in a stream, as a message elsewhere.

    :param reason: one of :data:`flask_chatkit.activity.REASONS`.
    :param status: the error that a call for JSON is answered with.
    :param limit: what was exceeded, for the log.
    :param retry_after: seconds after which trying again may help.
    :param allow_retry: whether a stream offers to try again.
    """

    def __init__(
        self,
        message: str,
        reason: str,
        status: type[ApiError] = BadRequest,
        *,
        limit: str | None = None,
        retry_after: int | None = None,
        allow_retry: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.limit = limit
        self.allow_retry = allow_retry
        self._status = status
        self._retry_after = retry_after

    def as_api_error(self) -> ApiError:
        """The same, for a call that is answered with JSON."""
        return self._status(
            str(self), refusal=self.reason, limit=self.limit, retry_after=self._retry_after
        )


def _refusal_of(asked: Any, error: BaseException) -> _Refused | None:
    """The refusal that an error means, for which nothing is wrong here; None for a failure."""
    if isinstance(error, _Refused):
        return error
    if isinstance(error, CustomStreamError):
        return _Refused(error.message, "declined", allow_retry=error.allow_retry)
    if isinstance(error, NotFoundError):
        return _Refused(NotFound.summary, "not_found")
    if isinstance(error, ApiError):
        is_ours = error.code < 500
        return (
            _Refused(str(error.description), error.refusal, limit=error.limit) if is_ours else None
        )
    if isinstance(error, HTTPException) and 400 <= (error.code or 500) < 500:
        return _Refused(error.name, reason_of(error.code or 500))
    if type(error) is ValueError and asked.type in _STATEFUL:
        return _Refused(WRONG_STATE, "wrong_state")
    return None


def _spend(budget: Budget, operation: Operation) -> None:
    try:
        budget.spend(operation.counts)
    except RateLimited as error:
        wait = time_text(error.retry_after or 1)
        often = "You have sent many messages"
        if operation.counts == CALL:
            often = "That was very often in a short time"
        raise _Refused(
            f"{often}. Please wait {wait} and try again.",
            error.refusal,
            RateLimited,
            limit=error.limit,
            retry_after=error.retry_after,
        ) from None


def _check_slot(slot: Slot, operation: Operation) -> None:
    try:
        slot.check()
        if operation.runs:
            slot.call_site()
    except RateLimited as error:
        raise _Refused(
            str(error.description),
            error.refusal,
            RateLimited,
            limit=error.limit,
            retry_after=error.retry_after,
        ) from None


def _retell(error: Exception) -> None:
    """Raise what a server that was written for FastAPI refuses with, as Flask knows it."""
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if isinstance(status, int) and 400 <= status < 500 and isinstance(detail, str):
        refusal = default_exceptions.get(status, BadRequest)
        raise refusal(description=detail) from None


def _event_stream(events: Any) -> Response:
    response = current_app.response_class(
        events, content_type="text/event-stream; charset=utf-8", direct_passthrough=True
    )
    response.headers["Cache-Control"] = "no-cache, no-transform"
    # nginx would keep the words until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _driven(reading: Coroutine[Any, Any, Any]) -> bytes | None:
    """What a coroutine returns that waits for nothing; None if it does."""
    try:
        reading.send(None)
    except StopIteration as done:
        result: bytes = done.value.json
        return result
    reading.close()
    return None
