"""Logs, counts and signals what happens in a kit's chats."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from . import signals
from .errors import UpstreamRejected, UpstreamTimeout, UpstreamUnavailable
from .identity.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.sansio.app import App


logger = logging.getLogger("flask_chatkit")

#: Why a request is refused, by the reason in log records, signals and counts.
REASONS: Mapping[str, str] = {
    "bad_request": "the request does not have the accepted form",
    "busy": "too much is under way for this visitor or in this process",
    "chat_closed": "the conversation is closed",
    "chat_locked": "the conversation is locked",
    "declined": "the chat's own code refused, with a message for the visitor",
    "duplicate": "the same message is already being answered",
    "file_refused": "a file is empty, of a type that is not accepted, or was uploaded before",
    "file_missing": "a file of the message was not uploaded",
    "file_too_large": "a file is too large",
    "forbidden": "the site's own code returned 403",
    "forbidden_origin": "a page of another origin, which is not trusted, sent the request",
    "no_dictation": "the chat has no dictation",
    "no_files": "the chat accepts no files",
    "not_found": "there is no such chat, session, thread, item or file for this visitor",
    "other": "the site's own code refused with another status",
    "rate_limited": "a rate limit is used up",
    "session_ended": "the session has ended, or there was none",
    "too_large": "the request body is too large",
    "too_long": "the message is too long",
    "too_many_files": "the message has too many files",
    "unauthenticated": "the site's own code requires a login",
    "wrong_state": "the conversation is not waiting for this",
}

#: The reason of a refusal by the site's own code, which has a status only.
_BY_STATUS: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "bad_request",
    413: "too_large",
    415: "bad_request",
    429: "rate_limited",
}

#: How an answer ends, the ``outcome`` of ``answer_finished``.
OUTCOMES: Mapping[str, str] = {
    "finished": "was completed",
    "stopped": "was stopped by the visitor, or the visitor left and did not come back",
    "refused": "was refused by a guardrail or the site's code; the visitor read why",
    "failed": "failed, and the visitor read that",
    "timed_out": "took longer than it may",
    "interrupted": "was cut off by the end of the process",
}

_UPSTREAM = (UpstreamRejected, UpstreamTimeout, UpstreamUnavailable)


class Count(NamedTuple):
    """The key of a count.

    :param day: days since 1970-01-01, UTC.
    :param chat: the chat's name; empty for none.
    :param name: ``secret``, ``answer.<outcome>`` or ``refusal.<reason>``.
    """

    day: int
    chat: str
    name: str


class Tally:
    """Counts of this process that are not in a history yet."""

    def __init__(self) -> None:
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._counts: Counter[Count] = Counter()

    def add(self, chat: str, name: str) -> bool:
        """Count one.

        :returns: whether it is the first since :meth:`take`.
        """
        if self._pid != os.getpid():
            # The parent process writes its own counts, and may have held the lock.
            self._start_anew()
        key = Count(int(time.time()) // 86400, chat, name)
        with self._lock:
            is_first = not self._counts
            self._counts[key] += 1
        return is_first

    def take(self) -> dict[Count, int]:
        """Return all counts, and begin again at zero."""
        if self._pid != os.getpid():
            self._start_anew()
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return dict(taken)

    def put_back(self, counts: Mapping[Count, int]) -> None:
        """Add counts that could not be written."""
        with self._lock:
            self._counts.update(counts)


class Answered(Protocol):
    """The part of an answer's context that is logged."""

    @property
    def chat(self) -> str:
        """The chat's name."""
        ...

    @property
    def visitor(self) -> Visitor:
        """The visitor."""
        ...


class Activity:
    """What happens in the chats of one kit on one application.

    :param app: the sender of the signals.
    :param kit: the kit's own name.
    :param chat_names: returns the names of its chats; others, made up by a browser, are not
        counted by name.
    """

    def __init__(self, app: App, kit: str, chat_names: Callable[[], Iterable[str]] = tuple) -> None:
        self._app = cast("Any", app)
        self.kit = kit
        self.tally = Tally()
        #: Called when something was counted, in any thread: with True when an answer has ended.
        #: Set once there is a history that stores counts.
        self.on_count: Callable[[bool], None] | None = None
        self._chat_names = chat_names

    def minted(self, chat: str, visitor: Visitor, expires_in: int, *, hosted: bool) -> None:
        """Note that a secret was minted.

        :param expires_in: seconds.
        """
        self._count(chat, "secret")
        self._send(
            "secret_minted", chat=chat, visitor=visitor, expires_in=expires_in, hosted=hosted
        )

    def refused(
        self,
        reason: str,
        *,
        chat: str | None,
        visitor: Visitor | None,
        status: int,
        limit: str | None = None,
        thread: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Note that a request is refused.

        :param reason: one of :data:`REASONS`; anything else is ``other``.
        :param status: the HTTP status; 200 for an error event of a stream.
        :param limit: what was exceeded, such as ``20 per 1 minute per visitor``.
        :param request_id: the id in the visitor's response, if it has one.
        """
        reason = reason if reason in REASONS else "other"
        # A browser may request any name; only those of chats that exist are logged.
        chat = chat if chat is not None and chat in self._chat_names() else None
        who = visitor.digest if visitor is not None else None
        known = {"chat": chat, "visitor": who, "request id": request_id}
        logger.info(
            "Refused with status %s: %s%s%s",
            status,
            REASONS[reason],
            f", {limit}" if limit else "",
            "".join(f", {name} {value}" for name, value in known.items() if value),
            extra={
                "chatkit_reason": reason,
                "chatkit_limit": limit,
                "chatkit_kit": self.kit,
                "chatkit_chat": chat,
                "chatkit_visitor": who,
                "chatkit_status": status,
            },
        )
        self._count(chat or "", f"refusal.{reason}")
        self._send(
            "request_refused",
            reason=reason,
            limit=limit,
            status=status,
            chat=chat,
            visitor=visitor,
            thread=thread,
        )

    def received(
        self, context: Answered, thread: str, *, characters: int, attachments: int
    ) -> None:
        """Note that a message was stored, and is being answered."""
        self._send(
            "message_received",
            chat=context.chat,
            visitor=context.visitor,
            thread=thread,
            characters=characters,
            attachments=attachments,
        )

    def finished(self, context: Answered, outcome: str, **values: Any) -> None:
        """Note that an answer has ended.

        :param outcome: one of :data:`OUTCOMES`.
        :param values: the signal's other values.
        """
        self._count(context.chat, f"answer.{outcome}", ends_answer=True)
        self._send(
            "answer_finished", chat=context.chat, visitor=context.visitor, outcome=outcome, **values
        )

    def rated(self, context: Answered, thread: str, items: Iterable[str], kind: str) -> None:
        """Note that a visitor gave feedback.

        :param kind: ``positive`` or ``negative``.
        """
        self._send(
            "feedback_given",
            chat=context.chat,
            visitor=context.visitor,
            thread=thread,
            items=tuple(items),
            kind=kind,
        )

    def transferred(self, former: Visitor, visitor: Visitor) -> None:
        """Note that the threads of a visitor became those of a login."""
        self._send("user_transferred", chat=None, visitor=visitor, former=former)

    @contextmanager
    def watch_upstream(self, chat: str, visitor: Visitor) -> Iterator[None]:
        """Send ``upstream_failed`` if the block raises an error of OpenAI's."""
        began = time.monotonic()
        try:
            yield
        except _UPSTREAM as error:
            self.upstream_failed(chat, visitor, error.slug, time.monotonic() - began)
            raise

    def upstream_failed(
        self, chat: str, visitor: Visitor, code: str, seconds: float | None = None
    ) -> None:
        """Note that a call to OpenAI, or to an agent's model, failed.

        :param code: the ``slug`` of an error: ``upstream_rejected`` and so on.
        :param seconds: how long the call took.
        """
        self._send("upstream_failed", chat=chat, visitor=visitor, code=code, seconds=seconds)

    def _count(self, chat: str, name: str, *, ends_answer: bool = False) -> None:
        is_first = self.tally.add(chat, name)
        if self.on_count is not None and (is_first or ends_answer):
            self.on_count(ends_answer)

    def _send(self, name: str, **values: Any) -> None:
        signal = signals.SIGNALS[name]
        if signal.receivers:
            signals.send(signal, self._app, kit=self.kit, **values)


def reason_of(status: int) -> str:
    """The reason of a refusal that has a status only."""
    return _BY_STATUS.get(status, "other")
