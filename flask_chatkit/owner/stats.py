"""What happened in a kit's chats lately: ``flask chatkit stats``, and :meth:`ChatKit.stats`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from ..chats.declarations import ServedChat
from ..errors import ChatKitError, Misconfigured
from ..registry import ChatKitState

if TYPE_CHECKING:
    from ..server.history.base import DatabaseStore
    from ..server.history.database import Database

#: The time that is looked back on by default.
DEFAULT_SINCE = timedelta(hours=24)

#: Seconds that a database may take to add up.
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
    """What happened in one chat, or in all.

    :param threads: conversations begun.
    :param messages: messages that visitors wrote.
    :param answers: answers, however they ended: the sum of the next five.
    :param finished: those that came to their end.
    :param stops: those that the visitor stopped, or left.
    :param declined: those in which a guardrail or the site's code refused.
    :param failures: those that failed, took too long, or were cut off by the process's end.
    :param secrets: secrets minted.
    :param refusals: what was refused, by :data:`reason <flask_chatkit.activity.REASONS>`.
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
        """The figures of what was counted, by name."""
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
    """What happened in a kit's chats since a time.

    :param since: the time, in UTC: threads, messages and feedback are those since then.
    :param counted_since: the beginning of its day, in UTC: answers, secrets and refusals are
        counted by day, so they are those since then.
    :param total: of all chats, and of what belongs to none.
    :param chats: by the chat's name.
    :param notes: what is not counted, and why, in plain words.
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
    """What happened in a kit's chats lately; needs an application context.

    What this process has counted and not written yet is written first.

    :param since: for how long to look back, or a time; one without a zone is in UTC.
    :raises ValueError: it is in the future.
    :raises ChatKitError: the history can't be opened.
    """
    moment = _moment(since)
    counted_since = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    found: dict[str, Counter[str]] = {name: Counter() for name in kit.chats}
    stores, notes = _stores(kit)
    if stores:
        # Imported here: a site without served chats need not have the packages behind it.
        from sqlalchemy.exc import SQLAlchemyError

        from ..server.streaming.run import run_sync

        kit.service.flush_counts()
        for store in stores:
            act = partial(store.read_figures, kit.own_name, moment)
            try:
                counted = run_sync(None, act, READ_SECONDS)
            except SQLAlchemyError as error:
                # The type alone: its text may hold the database's address and password.
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
    """The stores in whose databases is counted, and what is not counted, in plain words."""
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
            cause = getattr(error, "detail", None) or error
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
