"""What is noted of one answer while it streams, and reported when it has ended."""

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
    """One answer, from the request to its end; ``answer_finished`` is sent once for each.

    The other methods are called on the event loop.

    :param activity: logs, counts and signals it.
    :param context: the chat's, whose thread is None for a new one.
    :param operation: the request's type, such as ``threads.create``.
    :param message: the characters and files of a visitor's new message; None for anything else.
    :param is_refusal: whether an error refuses the request, so that there is no answer.
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
        self._thread = context.thread
        self._began = time.monotonic()
        self._starts = message is not None
        self._outcome: str | None = None
        #: Why an answer is refused in words, and what was exceeded.
        self.refusal: tuple[str, str | None] = ("declined", None)
        self._ended = False
        #: The process that makes it.
        self.pid = 0

    def begin(self) -> AnswerRecord:
        """From now on there is an answer, which will end; called in the request's thread."""
        self.pid = os.getpid()
        _under_way.add(self)
        return self

    def enter(self) -> None:
        """The current task makes this answer."""
        _current.set(self)

    def upstream_failed(self, code: str) -> None:
        """The model that was asked could not answer."""
        self._activity.upstream_failed(self._context.chat, self._context.visitor, code)

    def forget_message(self) -> None:
        """The message is in the history already, and is answered anew."""
        self._message = None

    def saw(self, event: bytes) -> None:
        """Note an event of the answer."""
        if event.startswith(_ERROR):
            is_custom = _read(event).get("code") == "custom"
            self._outcome = "refused" if is_custom else "failed"
        elif self._starts:
            if event.startswith(_CREATED):
                self._thread = _read(event).get("thread", {}).get("id")
                return
            # What follows the thread, or comes first in one that is there: the message, stored.
            self._starts = False
            if self._message is not None and self._thread is not None:
                characters, files = self._message
                self._activity.received(
                    self._context, self._thread, characters=characters, attachments=files
                )

    def end(self, outcome: str, error: BaseException | None = None) -> None:
        """Report how it has ended.

        :param outcome: as far as the stream knows; an error event that it carried counts for more.
        :param error: what was raised before the first event.
        """
        if self._ended:
            return
        self._ended = True
        _under_way.discard(self)
        if error is not None and self._is_refusal(error):
            return
        if outcome == "finished":
            outcome = self._outcome or outcome
        try:
            self._report(outcome)
        except Exception:
            logger.exception("The end of an answer could not be noted")

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
        # A site's own server may write as it likes.
        return {}
    return found


def _usage() -> Any:
    """The tokens that this answer has used, if an agent has answered."""
    module = sys.modules.get("flask_chatkit.server.agents.usage")
    try:
        return module.current_usage() if module is not None else None
    except Exception:
        # An answer is not worth less for it, and is counted all the same.
        logger.exception("The tokens of an answer could not be counted")
        return None


def note_model_failure(error: Exception) -> None:
    """Send ``upstream_failed`` for what a model's service did while an answer was made.

    :param error: one of the ``openai`` package, or of a stream that has closed before its end.
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


def note_refusal(reason: str, limit: str) -> None:
    """Note why the answer that this task makes is refused in words.

    :param reason: one of :data:`flask_chatkit.activity.REASONS`.
    :param limit: what was exceeded, for the log.
    """
    record = _current.get(None)
    if record is not None:
        record.refusal = (reason, limit)


#: The answer that a task makes, for code that knows nothing of it.
_current: ContextVar[AnswerRecord] = ContextVar("flask_chatkit_record")

#: Those that have not ended yet.
_under_way: WeakSet[AnswerRecord] = WeakSet()


def _end_all() -> None:
    """Report the answers that the process's end has cut off."""
    for record in list(_under_way):
        # A process that was forked has its parent's as well, which go on there.
        if record.pid == os.getpid():
            record.end("interrupted")


loop.at_end(_end_all)
loop.at_end(signals.wait_delivered)
