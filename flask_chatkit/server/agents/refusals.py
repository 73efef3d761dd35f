"""Leaves out parts of a history that a model's service refuses, so that the conversation continues.

A service that refuses a request for its content would refuse each later one, too. Files are left
out first, then the oldest turns. What was left out is stored with the thread, for the next turn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatkit.errors import CustomStreamError
from chatkit.types import NoticeEvent, ThreadItem, ThreadMetadata, UserMessageItem

from .budget import CUT
from .choices import attachments_of
from .errors import REFUSED, Blame, Fault

logger = logging.getLogger("flask_chatkit")

#: Model calls for one turn that are refused for their content, at most.
ATTEMPTS = 6
#: Characters of each tool output of the current answer, when nothing else helps.
SHORT_OUTPUT = 2_000
#: The key of a thread's metadata.
LEFT_OUT = "flask_chatkit_left_out"

TOO_LONG = "This message is too long to be answered. Please shorten it, or start a new chat."
CANNOT_CONTINUE = "This conversation can't be continued. Please start a new chat."
BEGINNING_LEFT_OUT = (
    "This conversation has become long. Its beginning is not taken into account any more."
)


@dataclass(frozen=True)
class LeftOut:
    """The parts of a thread that are not sent to the model.

    :param files: ids of attachments.
    :param first: the id of the first item that is sent; None for all.
    :param short_outputs: whether the tool outputs of the current answer are shortened.
    """

    files: frozenset[str] = frozenset()
    first: str | None = None
    short_outputs: bool = False

    @classmethod
    def of(cls, thread: ThreadMetadata) -> LeftOut:
        """Load what was left out of a thread before."""
        known = thread.metadata.get(LEFT_OUT)
        if not isinstance(known, dict):
            return cls()
        return cls(frozenset(known.get("files") or ()), known.get("first"))

    def kept(self, items: Sequence[ThreadItem]) -> list[ThreadItem]:
        """Return the items that are sent, without the files that are left out."""
        places = [at for at, item in enumerate(items) if item.id == self.first]
        return [self._without_files(item) for item in items[places[0] if places else 0 :]]

    def _without_files(self, item: ThreadItem) -> ThreadItem:
        if not isinstance(item, UserMessageItem) or self.files.isdisjoint(_files([item])):
            return item
        kept = [one for one in item.attachments if one.id not in self.files]
        return item.model_copy(update={"attachments": kept})


class Refusals:
    """The refused calls of one turn, and what to leave out next.

    :param thread: the thread, whose metadata stores it.
    :param items: the thread's items, the oldest first.
    """

    def __init__(self, thread: ThreadMetadata, items: Sequence[ThreadItem]) -> None:
        self._thread = thread
        self._items = items
        self._base = self.left_out = LeftOut.of(thread)
        self._tried = {self.left_out}
        self._blame: Blame | None = None

    def leave_out_more(self, fault: Fault) -> bool:
        """Leave out more, as the fault suggests; return False if the history is not to blame.

        :raises CustomStreamError: nothing more can be left out, with a message for the visitor.
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
            # The site's own request may be wrong, which no shorter history helps.
            return False
        logger.warning(
            "A model's service refuses a conversation, whatever is left out: %s",
            fault.code or self._blame.value,
        )
        raise CustomStreamError(self._final_message(self._blame), allow_retry=False)

    def accepted(self) -> Iterator[NoticeEvent]:
        """Yield notices for the visitor when the service has accepted the rest, once."""
        if self.left_out == self._base:
            return
        new = self.left_out.files - self._base.files
        lost = [one.name for one in attachments_of(self._items[self._current :]) if one.id in new]
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
        """The index of the message that is being answered."""
        places = [at for at, one in enumerate(self._items) if isinstance(one, UserMessageItem)]
        return places[-1] if places else 0

    def _candidates(self, blame: Blame) -> Iterator[LeftOut]:
        base = replace(self._base, first=self.left_out.first)
        older = base.files | _files(self._items[: self._current])
        own = frozenset(_files(self._items[self._current :]))
        if blame is not Blame.CONTENT and blame is not Blame.LENGTH:
            yield replace(base, files=base.files | own)
            # Files of earlier messages are sent if the agent has looked at them again.
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
        """Yield ids of items at which the history may begin, later and later."""
        turns = [one.id for one in self._items if isinstance(one, UserMessageItem)]
        if self._base.first in turns:
            turns = turns[turns.index(self._base.first) :]
        if len(turns) < 2:
            return
        if blame is Blame.LENGTH:
            yield turns[len(turns) // 2]
        yield turns[-1]

    def _final_message(self, blame: Blame) -> str:
        if blame is Blame.CONTENT:
            return REFUSED
        is_first = self._current == 0
        return TOO_LONG if is_first and blame is Blame.LENGTH else CANNOT_CONTINUE


def shortened_outputs(items: Sequence[Any]) -> list[Any]:
    """Return a model's input with its tool outputs shortened."""
    return [_shortened(item) for item in items]


def _shortened(item: Any) -> Any:
    output = item.get("output") if item.get("type") == "function_call_output" else None
    if output is None or len(str(output)) <= SHORT_OUTPUT:
        return item
    return {**item, "output": str(output)[:SHORT_OUTPUT] + CUT}


def _files(items: Sequence[ThreadItem]) -> set[str]:
    return {one.id for one in attachments_of(items)}
