"""Reads the counts of a kit's chats: ``flask chatkit stats``, and :meth:`ChatKit.stats`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from ..chats.served import ServedChat
from ..errors import ApiError, ChatKitError, Misconfigured
from ..registry import ChatKitState

if TYPE_CHECKING:
    from ..server.history.base import DatabaseStore
    from ..server.history.database import Database

#: The default time span.
DEFAULT_SINCE = timedelta(hours=24)

#: Seconds that a database may take.
READ_SECONDS = 600.0

#: The field of :class:`Figures` for each outcome of an answer.
_FIELDS = {
    "finished": "finished",
    "stopped": "stops",
    "refused": "declined",
    "failed": "failures",
    "timed_out": "failures",
    "interrupted": "failures",
}
_PLAIN = (
    *("threads", "messages", "answers", "finished", "stops", "declined", "failures"),
    "secrets",
)


@dataclass(frozen=True)
class Figures:
    """The counts of one chat, or of all.

    :param threads: new threads.
    :param messages: visitors' messages.
    :param answers: all answers, whatever their outcome.
    :param finished: complete answers.
    :param stops: answers that the visitor stopped, or left.
    :param declined: answers that a guardrail or the site's code refused.
    :param failures: answers that failed, timed out, or were interrupted when the process ended.
    :param secrets: minted secrets.
    :param refusals: refused requests, by :data:`reason <flask_chatkit.activity.REASONS>`.
    :param positive: thumbs up.
    :param negative: thumbs down.
    """

    threads: int = 0
    messages: int = 0
    answers: int = 0
    finished: int = 0
    stops: int = 0
    declined: int = 0
    failures: int = 0
    secrets: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)
    positive: int = 0
    negative: int = 0

    @classmethod
    def of(cls, counted: Mapping[str, int]) -> Figures:
        """The figures for counts by name."""
        outcomes: Counter[str] = Counter()
        refusals: dict[str, int] = {}
        for name, number in sorted(counted.items()):
            kind, _, what = name.partition(".")
            if kind == "answer":
                outcomes[_FIELDS.get(what, "failures")] += number
            elif kind == "refusal":
                refusals[what] = number
        return cls(
            threads=counted.get("thread", 0),
            messages=counted.get("message", 0),
            answers=sum(outcomes.values()),
            **outcomes,
            secrets=counted.get("secret", 0),
            refusals=refusals,
            positive=counted.get("feedback.positive", 0),
            negative=counted.get("feedback.negative", 0),
        )

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        feedback = {"positive": self.positive, "negative": self.negative}
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {**plain, "refusals": dict(self.refusals), "feedback": feedback}


@dataclass(frozen=True)
class Stats:
    """The counts of a kit's chats since a time.

    :param since: the time, in UTC, for threads, messages and feedback.
    :param counted_since: the beginning of its day, in UTC, for answers, secrets and refusals,
        which are counted by day.
    :param total: the counts of all chats, and of requests for no chat.
    :param chats: the counts by chat name.
    :param notes: what is not counted, and why.
    """

    since: datetime
    counted_since: datetime
    total: Figures
    chats: Mapping[str, Figures]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON, with times in ISO 8601."""
        return {
            "since": self.since.isoformat(),
            "counted_since": self.counted_since.isoformat(),
            "total": self.total.as_dict(),
            "chats": {name: figures.as_dict() for name, figures in self.chats.items()},
            "notes": list(self.notes),
        }


def read_stats(kit: ChatKitState, since: timedelta | datetime = DEFAULT_SINCE) -> Stats:
    """Read the counts of a kit's chats, in an application context.

    Counts that this process has not written yet are written first.

    :param since: a time span up to now, or a time; one without a zone is in UTC.
    :raises ValueError: it is in the future.
    :raises ChatKitError: the history can't be opened.
    """
    moment = _moment(since)
    counted_since = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    found: dict[str, Counter[str]] = {name: Counter() for name in kit.chats}
    stores, notes = _stores(kit)
    if stores:
        # Imported here: a site without served chats need not have these packages.
        from sqlalchemy.exc import SQLAlchemyError

        from ..server.streaming.run import run_sync

        kit.service.flush_counts()
        for store in stores:
            act = partial(store.read_figures, kit.own_name, moment)
            try:
                counted = run_sync(None, act, READ_SECONDS)
            except SQLAlchemyError as error:
                # Only the type: the message may contain the database's address and password.
                raise Misconfigured(
                    detail=f"the history could not be read ({type(error).__name__}): is the "
                    "database there, and are its tables those of this release?"
                ) from error
            for chat, figures in counted.items():
                found.setdefault(chat, Counter()).update(figures)
    total = sum(found.values(), Counter[str]())
    chats = {chat: Figures.of(counted) for chat, counted in found.items() if chat}
    return Stats(moment, counted_since, Figures.of(total), chats, tuple(notes))


def _stores(kit: ChatKitState) -> tuple[list[DatabaseStore], list[str]]:
    """The stores with counts, and notes on what is not counted."""
    stores: dict[Database, DatabaseStore] = {}
    notes: list[str] = []
    hosted: list[str] = []
    own: list[str] = []
    for name, chat in kit.chats.items():
        if not isinstance(chat, ServedChat):
            hosted.append(name)
            continue
        try:
            store = kit.service.dispatcher(chat).server.store
        except ChatKitError as error:
            cause = (error.detail if isinstance(error, ApiError) else None) or error
            notes.append(f"The chat {name!r} can't be started, and is left out: {cause}")
            continue
        from ..server.history.base import DatabaseStore

        if isinstance(store, DatabaseStore):
            stores.setdefault(store.database, store)
        else:
            own.append(name)
    beside = "only secrets, answers and refusals are" if stores else "nothing is"
    notes += [
        f"The history of the chat {name!r} is in a store of the site's own: {beside} counted."
        for name in own
    ]
    beside = "only secrets and refusals are" if stores else "nothing is"
    notes += [
        f"The chat {name!r} is hosted by OpenAI, which has its threads: {beside} counted."
        for name in hosted
    ]
    if not stores:
        notes.append("No chat of this kit has its history in a database in which could be counted.")
    return list(stores.values()), notes


def _moment(since: timedelta | datetime) -> datetime:
    now = datetime.now(timezone.utc)
    if isinstance(since, timedelta):
        try:
            moment = now - since
        except OverflowError:
            moment = datetime.min.replace(tzinfo=timezone.utc)
    elif since.tzinfo is None:
        moment = since.replace(tzinfo=timezone.utc)
    else:
        moment = since.astimezone(timezone.utc)
    if moment > now:
        raise ValueError("since must be a time in the past, or a time span that is not negative")
    return moment
