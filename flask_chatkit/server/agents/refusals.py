"""What is left out of a history that a model's service refuses, so that the conversation goes on.

A service that refuses a request for what is in it would refuse each later one as well. Files are
left out first, then the oldest turns; what was left out is kept with the thread, so that the next
turn does not pay for it again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatkit.errors import CustomStreamError
from chatkit.types import NoticeEvent, ThreadItem, ThreadMetadata, UserMessageItem

from .errors import REFUSED, Blame, Fault

logger = logging.getLogger("flask_chatkit")

#: Calls of a model for one turn, at most, that are refused for what is in them.
ATTEMPTS = 6
#: Characters of each tool's output of this very answer that are told when nothing else helps.
SHORT_OUTPUT = 2_000
#: Where it is kept in a thread's metadata.
LEFT_OUT = "flask_chatkit_left_out"

TOO_LONG = "This message is too long to be answered. Please shorten it, or start a new chat."
NO_WAY_ON = "This conversation can't be continued. Please start a new chat."
BEGINNING_LEFT_OUT = (
    "This conversation has become long. Its beginning is not taken into account any more."
)


@dataclass(frozen=True)
class LeftOut:
    """What of a thread a model is not told.

    :param files: ids of attachments.
    :param first: the id of the first item that it is told; None for all.
    :param short_outputs: whether the outputs of this answer's own tools are shortened.
    """

    files: frozenset[str] = frozenset()
    first: str | None = None
    short_outputs: bool = False

    @classmethod
    def of(cls, thread: ThreadMetadata) -> LeftOut:
        """What was left out before."""
        known = thread.metadata.get(LEFT_OUT)
        if not isinstance(known, dict):
            return cls()
        return cls(frozenset(known.get("files") or ()), known.get("first"))

    def kept(self, items: Sequence[ThreadItem]) -> list[ThreadItem]:
        """The items that a model is told, without the files that are left out."""
        places = [at for at, item in enumerate(items) if item.id == self.first]
        return [self._without_files(item) for item in items[places[0] if places else 0 :]]

    def _without_files(self, item: ThreadItem) -> ThreadItem:
        if not isinstance(item, UserMessageItem) or self.files.isdisjoint(_files([item])):
            return item
        kept = [one for one in item.attachments if one.id not in self.files]
        return item.model_copy(update={"attachments": kept})


class Refusals:
    """The refused calls of one turn, and what to leave out next.

    :param thread: the thread, whose metadata remembers it.
    :param items: the thread's items, the oldest first.
    """

    def __init__(self, thread: ThreadMetadata, items: Sequence[ThreadItem]) -> None:
        self._thread = thread
        self._items = items
        self._base = self.left_out = LeftOut.of(thread)
        self._tried = {self.left_out}
        self._blame: Blame | None = None

    def give_way(self, fault: Fault) -> bool:
        """Leave something out for what a service has blamed; False if it blames nothing here.

        :raises CustomStreamError: nothing more can be left out, which the visitor can read.
        """
        self._blame = fault.blame
        if self._blame is None:
            return False
        if len(self._tried) < ATTEMPTS:
            for candidate in self._candidates(self._blame):
                if candidate not in self._tried:
                    self._tried.add(candidate)
                    self.left_out = candidate
                    return True
        if self._blame is Blame.UNCLEAR:
            # It may be the site's own request that is wrong, in which no visitor can help.
            return False
        logger.warning(
            "A model's service refuses a conversation, whatever is left out: %s",
            fault.code or self._blame.value,
        )
        raise CustomStreamError(self._farewell(self._blame), allow_retry=False)

    def accepted(self) -> Iterator[NoticeEvent]:
        """What the visitor has to know when the service has accepted the rest; once."""
        if self.left_out == self._base:
            return
        new = self.left_out.files - self._base.files
        lost = [one.name for one in _attachments(self._items[self._current :]) if one.id in new]
        if lost:
            names = ", ".join(lost)
            yield NoticeEvent(
                level="warning", message=f"This file could not be read, and was left out: {names}"
            )
        if self.left_out.first != self._base.first and self._blame is not Blame.CONTENT:
            yield NoticeEvent(level="info", message=BEGINNING_LEFT_OUT)
        self._base = replace(self.left_out, short_outputs=False)
        known = {"files": sorted(self._base.files), "first": self._base.first}
        self._thread.metadata = {**self._thread.metadata, LEFT_OUT: known}

    @property
    def _current(self) -> int:
        """The place of the message that is being answered."""
        places = [at for at, one in enumerate(self._items) if isinstance(one, UserMessageItem)]
        return places[-1] if places else 0

    def _candidates(self, blame: Blame) -> Iterator[LeftOut]:
        base = replace(self._base, first=self.left_out.first)
        older = base.files | _files(self._items[: self._current])
        own = frozenset(_files(self._items[self._current :]))
        if blame is not Blame.CONTENT and blame is not Blame.LENGTH:
            yield replace(base, files=base.files | own)
            # Those of earlier messages are told when the agent has looked at them again.
            yield replace(base, files=older)
            yield replace(base, files=older | own)
        if blame is Blame.FILES:
            return
        if blame is not Blame.CONTENT:
            base = replace(base, files=older)
            yield base
        for first in self._starts(blame):
            base = replace(base, first=first)
            yield base
        if blame is Blame.LENGTH:
            yield replace(base, short_outputs=True)
            yield replace(base, files=older | own, short_outputs=True)

    def _starts(self, blame: Blame) -> Iterator[str]:
        """Where the history may begin, later and later."""
        turns = [one.id for one in self._items if isinstance(one, UserMessageItem)]
        if self._base.first in turns:
            turns = turns[turns.index(self._base.first) :]
        if len(turns) < 2:
            return
        if blame is Blame.LENGTH:
            yield turns[len(turns) // 2]
        yield turns[-1]

    def _farewell(self, blame: Blame) -> str:
        if blame is Blame.CONTENT:
            return REFUSED
        is_first = self._current == 0
        return TOO_LONG if is_first and blame is Blame.LENGTH else NO_WAY_ON


def shortened_outputs(items: Sequence[Any]) -> list[Any]:
    """Input of a model whose tools' outputs are short."""
    return [_shortened(item) for item in items]


def _shortened(item: Any) -> Any:
    output = item.get("output") if item.get("type") == "function_call_output" else None
    if output is None or len(str(output)) <= SHORT_OUTPUT:
        return item
    return {**item, "output": str(output)[:SHORT_OUTPUT] + "\n(The rest is left out.)"}


def _attachments(items: Sequence[ThreadItem]) -> list[Any]:
    return [one for item in items if isinstance(item, UserMessageItem) for one in item.attachments]


def _files(items: Sequence[ThreadItem]) -> set[str]:
    return {one.id for one in _attachments(items)}
