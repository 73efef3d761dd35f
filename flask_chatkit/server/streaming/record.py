"""What is recorded of one answer while it streams, and reported at its end."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ... import signals
from ...errors import UpstreamRejected, UpstreamTimeout, UpstreamUnavailable
from . import loop

if TYPE_CHECKING:
    from ...activity import Activity
    from ..context import ChatContext

logger = logging.getLogger("flask_chatkit")

#: How ``ChatKitServer`` writes the events that are looked for (openai-chatkit 1.6.5).
_ERROR = b'data: {"type":"error"'
_CREATED = b'data: {"type":"thread.created"'
_START = len(b"data: ")


class AnswerRecord:
    """One answer from the request to its end, when ``answer_finished`` is sent.

    All methods but :meth:`begin` are called on the event loop.

    :param activity: logs, counts and signals it.
    :param context: the chat's context; its thread is None for a new one.
    :param operation: the request's type, such as ``threads.create``.
    :param message: the numbers of characters and files of a visitor's message; else None.
    :param is_refusal: whether an error refuses the request, so that no answer is reported.
    """

    def __init__(
        self,
        activity: Activity,
        context: ChatContext,
        operation: str,
        message: tuple[int, int] | None = None,
        is_refusal: Callable[[BaseException], bool] = lambda _: False,
    ) -> None:
        self._activity = activity
        self._context = context
        self._operation = operation
        self._message = message
        self._is_refusal = is_refusal
        self._thread: str | None = context["thread"]
        self._began = time.monotonic()
        self._starts = message is not None
        self._outcome: str | None = None
        #: Why an answer is refused with a message, and what was exceeded.
        self.refusal: tuple[str, str | None] = ("declined", None)
        #: Whether the visitor has stopped it.
        self.is_stopped: Callable[[], bool] = lambda: False
        #: Called when it is known whose thread it is in, and at the end.
        self.on_thread: Callable[[str], object] | None = None
        self.on_end: Callable[[], object] | None = None
        self._ended = False
        #: Whether the history is as if the request had not been made.
        self.is_undone = False
        #: The process that answers.
        self.pid = 0

    def begin(self) -> None:
        """Report an end from now on, whatever happens; called in the request's thread."""
        self.pid = os.getpid()
        _under_way.add(self)

    def enter(self) -> None:
        """Make this the record of the current task."""
        _current.set(self)

    def found(self, thread: str) -> None:
        """Note the thread: it is the visitor's, and was stored."""
        self._thread = thread
        if self.on_thread is not None:
            self.on_thread(thread)

    def upstream_failed(self, code: str) -> None:
        """Report that the model could not answer."""
        self._activity.upstream_failed(self._context.chat, self._context.visitor, code)

    def forget_message(self) -> None:
        """Don't report the message as received: it is in the history already."""
        self._message = None

    def saw(self, event: bytes) -> None:
        """Note an event of the answer."""
        if event.startswith(_ERROR):
            is_custom = _read(event).get("code") == "custom"
            self._outcome = "refused" if is_custom else "failed"
        elif self._starts:
            if event.startswith(_CREATED):
                thread = _read(event).get("thread", {}).get("id")
                if isinstance(thread, str):
                    self.found(thread)
                return
            # The first event but ``thread.created``: the message was stored.
            self._starts = False
            if self._message is not None and self._thread is not None:
                characters, files = self._message
                self._activity.received(
                    self._context, self._thread, characters=characters, attachments=files
                )

    def end(self, outcome: str, error: BaseException | None = None) -> None:
        """Report the end.

        :param outcome: the stream's; an error event that it carried overrides ``finished``.
        :param error: what was raised before the first event.
        """
        if self._ended:
            return
        self._ended = True
        _under_way.discard(self)
        if self.on_end is not None:
            self.on_end()
        if error is not None and self._is_refusal(error):
            return
        if outcome == "finished":
            outcome = self._outcome or outcome
        try:
            self._report(outcome)
        except Exception:
            logger.exception("The end of an answer could not be reported")

    def _report(self, outcome: str) -> None:
        context = self._context
        if outcome == "refused":
            reason, limit = self.refusal
            self._activity.refused(
                reason,
                limit=limit,
                chat=context.chat,
                visitor=context.visitor,
                status=200,
                thread=self._thread,
            )
        self._activity.finished(
            context,
            outcome,
            thread=self._thread,
            operation=self._operation,
            seconds=time.monotonic() - self._began,
            usage=_usage(),
        )


def _read(event: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(event[_START:])
    except ValueError:
        # A site's own server may write events in its own form.
        return {}
    return found


def _usage() -> Any:
    """The tokens that this answer has used, if an agent answered."""
    module = sys.modules.get("flask_chatkit.server.agents.usage")
    try:
        return module.current_usage() if module is not None else None
    except Exception:
        # The answer is counted all the same.
        logger.exception("The tokens of an answer could not be counted")
        return None


def note_model_failure(error: Exception) -> None:
    """Send ``upstream_failed`` for an error of a model's service.

    :param error: one of the ``openai`` package, or of a stream that was closed before its end.
    """
    record = _current.get(None)
    if record is None:
        return
    import openai

    status = getattr(error, "status_code", None)
    if isinstance(error, openai.APITimeoutError):
        record.upstream_failed(UpstreamTimeout.slug)
    elif (
        not isinstance(error, openai.OpenAIError)
        or isinstance(error, openai.APIConnectionError)
        or status == 429
        or (status or 0) >= 500
    ):
        record.upstream_failed(UpstreamUnavailable.slug)
    else:
        record.upstream_failed(UpstreamRejected.slug)


def note_thread(thread: str) -> None:
    """Note the thread of the current task's answer, which was found to be the visitor's."""
    record = _current.get(None)
    if record is not None:
        record.found(thread)


def was_stopped() -> bool:
    """Whether the visitor has stopped the current task's answer; True for one without a record."""
    record = _current.get(None)
    return record is None or record.is_stopped()


def note_refusal(reason: str, limit: str) -> None:
    """Note why the current task's answer is refused with a message.

    :param reason: one of :data:`flask_chatkit.activity.REASONS`.
    :param limit: what was exceeded, for the log.
    """
    record = _current.get(None)
    if record is not None:
        record.refusal = (reason, limit)


def note_undone() -> None:
    """Note that the current task's answer has failed and left nothing behind."""
    record = _current.get(None)
    if record is not None:
        record.is_undone = True


#: The record of the current task's answer, for code that is not handed it.
_current: ContextVar[AnswerRecord] = ContextVar("flask_chatkit_record")

#: The answers that have not ended yet.
_under_way: WeakSet[AnswerRecord] = WeakSet()


def _end_all() -> None:
    """Report the answers that the end of the process has interrupted."""
    for record in list(_under_way):
        # A forked process inherits its parent's, which go on there.
        if record.pid == os.getpid():
            record.end("interrupted")


loop.at_end(_end_all)
loop.at_end(signals.wait_delivered)
