"""Ids, owners, times and pages as the history's statements take and return them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol, TypeVar

from chatkit.store import NotFoundError
from chatkit.types import Page

from ..context import ChatContext, as_context, owner_of
from .tables import LONGEST_ID


class UTCDatetime(datetime):
    """A time in UTC that can be subtracted from a local time without a zone.

    ``chatkit.agents.stream_agent_response`` subtracts a workflow's creation from
    ``datetime.now()`` when a client tool's answer resumes the workflow.
    """

    @classmethod
    def of(cls, time: datetime) -> UTCDatetime:
        """The same time."""
        return cls.combine(time.date(), time.timetz())

    def __rsub__(self, other: datetime) -> timedelta:
        return other.astimezone() - datetime.combine(self.date(), self.timetz())


class _Entry(Protocol):
    @property
    def id(self) -> str: ...


Entry = TypeVar("Entry", bound=_Entry)


def make_page(found: Sequence[Entry], size: int) -> Page[Entry]:
    """A page of entries, of which one more than its size was read if there are more."""
    shown = list(found[:size])
    has_more = len(found) > size
    return Page(data=shown, has_more=has_more, after=shown[-1].id if has_more else None)


def checked_order(order: str) -> str:
    """The order of a page.

    :raises ValueError: it is neither ``asc`` nor ``desc``.
    """
    if order not in {"asc", "desc"}:
        raise ValueError("order must be asc or desc")
    return order


def is_id(value: object) -> bool:
    """Whether every database stores this id exactly."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_ID
        # PostgreSQL refuses NUL, MySQL ignores trailing spaces, and no driver encodes a lone
        # surrogate.
        and "\0" not in value
        and not value.endswith(" ")
        and not any("\ud800" <= letter <= "\udfff" for letter in value)
    )


def storable_id(value: str) -> str:
    """An id that is to be stored.

    :raises ValueError: not every database stores it exactly.
    """
    if not is_id(value):
        raise ValueError(f"an id must have 1 to {LONGEST_ID} characters, with no space at its end")
    return value


def keys_of(context: ChatContext, **ids: str) -> dict[str, Any]:
    """The parameters of a statement: the owner and ids.

    :raises chatkit.store.NotFoundError: one of the ids can't exist.
    """
    if not all(map(is_id, ids.values())):
        raise NotFoundError("there is nothing of this id")
    return {"owner_": owner_of(context)} | {f"{name}_": value for name, value in ids.items()}


def owner_columns(context: ChatContext) -> dict[str, Any]:
    """The columns of a row that name its owner."""
    meant = as_context(context)
    return {
        "owner": owner_of(meant),
        "kit": meant.kit,
        "chat": meant.chat,
        "visitor": meant.owner_key,
    }


def as_utc(time: datetime) -> datetime:
    """A time in UTC; one without a zone is local, as openai-chatkit creates them."""
    return time.astimezone(timezone.utc)
