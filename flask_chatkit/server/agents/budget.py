"""How much an agent is told: characters of a history, bytes of files, and those of all answers."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from chatkit.errors import CustomStreamError
from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    ClientToolCallItem,
    HiddenContextItem,
    ThreadItem,
    UserMessageItem,
)

from ..assistants.messages import text_of
from ..history.tool_outputs import is_memory
from ..streaming.record import note_refusal

#: Characters of a history, and bytes of a message's files, that an agent is told by default.
HISTORY_CHARACTERS = 200_000
HISTORY_BYTES = 15_000_000
#: Bytes of memory that the files of all answers of a process take by default.
ANSWERS_BYTES = 64_000_000
#: How often a file is in memory while a model is asked: as base64, as JSON, and as the request's
#: body, each a third larger than the file.
COPIES = 4
#: Seconds to wait for room, and between two looks for it.
WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.05

#: Bytes of memory that go back to the system at once when they are freed.
LARGE_BLOCK = 512 * 1024
#: A parameter of mallopt(3).
_M_MMAP_THRESHOLD = -3

#: Characters that are kept of each of a turn's outputs, of which there are too many; and if that
#: does not help.
LEAST_OUTPUTS = (2_000, 200)

_CUT = "\n(The rest is left out.)"
TOO_MUCH = "Too much is going on at the moment. Please try again in a little while."


@dataclass(frozen=True)
class Budget:
    """What one agent may be told.

    :param characters: of all texts of a history, text files included.
    :param bytes: of the files of a message.
    :param answers_bytes: of memory, for the files of all answers of this process.
    """

    characters: int = HISTORY_CHARACTERS
    bytes: int = HISTORY_BYTES
    answers_bytes: int = ANSWERS_BYTES


# --- characters -----------------------------------------------------------------------------------


def within(
    items: Sequence[ThreadItem], told: Mapping[str, Any], budget: Budget, file_characters: int
) -> list[ThreadItem]:
    """The last turns of a history, as far as the budget's characters go, the oldest first.

    A turn begins with a visitor's message and is kept whole, so that what a tool was asked stays
    with what it has returned. The last one always stays; what its tools returned is shortened if it
    is too much, the oldest first.

    :param told: what tools returned, by the id of the item that holds it.
    :param file_characters: what the files of the last message take.
    """
    left = most = budget.characters - file_characters
    first = fitting = len(items)
    for at in range(len(items) - 1, -1, -1):
        left -= _characters(items[at], told)
        if left < 0 and first < len(items):
            break
        fitting = at if left >= 0 else fitting
        if isinstance(items[at], UserMessageItem):
            first = at
    if first == len(items):
        # Without a message there is nothing to begin with: what fits, and the newest in any case.
        first = max(min(fitting, len(items) - 1), 0)
    return _shortened(items[first:], told, most)


def _shortened(items: Sequence[ThreadItem], told: Mapping[str, Any], most: int) -> list[ThreadItem]:
    """Items, of which tools' outputs are cut from the oldest on until they have few characters.

    :param most: characters, if the outputs' parts that stay in any case allow it.
    """
    found = list(items)
    over = sum(_characters(item, told) for item in found) - most
    for least in LEAST_OUTPUTS:
        for at in range(len(found)):
            # Once more, for what a text that was JSON is told with backslashes then.
            for _ in range(2):
                if over <= 0:
                    return found
                before = found[at]
                found[at] = _with_outputs(before, told, over, least)
                over -= _size(before) - _size(found[at])
    return found


def _with_outputs(item: ThreadItem, told: Mapping[str, Any], over: int, least: int) -> ThreadItem:
    """An item with what tools returned cut, if it holds that."""
    if isinstance(item, ClientToolCallItem):
        return item.model_copy(update={"output": _cut(item.output, over, least)})
    if item.id not in told:
        return item
    content, kept = cast("HiddenContextItem", item).content, []
    for one in content.get("items", []):
        new = {**one, "output": _cut(one["output"], over, least)} if "output" in one else one
        over -= len(str(one.get("output"))) - len(str(new.get("output")))
        kept.append(new)
    return item.model_copy(update={"content": {**content, "items": kept}})


def _cut(output: Any, over: int, least: int) -> Any:
    """An output with so many characters less, or the least that is kept of one."""
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    keeps = max(len(text) - max(over, 0) - len(_CUT), least)
    return output if over <= 0 or keeps + len(_CUT) >= len(text) else text[:keeps] + _CUT


def _size(item: ThreadItem) -> int:
    return len(item.model_dump_json())


def _characters(item: ThreadItem, told: Mapping[str, Any]) -> int:
    """About how many characters an item is told with."""
    if isinstance(item, UserMessageItem):
        data = sum(len(json.dumps(getattr(part, "data", None) or {})) for part in item.content)
        return len(text_of(item)) + len(item.quoted_text or "") + data + 200 * len(item.attachments)
    if isinstance(item, AssistantMessageItem):
        return len(text_of(item))
    if is_memory(item):
        return len(json.dumps(told[item.id], ensure_ascii=False)) if item.id in told else 0
    return _size(item)


# --- bytes ----------------------------------------------------------------------------------------


def size_of(attachment: Attachment) -> int | None:
    """The bytes of a file, if they are known before it is read."""
    size = (attachment.metadata or {}).get("size")
    return size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None


class Room:
    """The memory that the files of all answers of a process share."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is taken: in a process that was forked, or in a test."""
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Bytes that are taken at the moment."""
        with self._lock:
            return self._taken.total()

    async def take(self, count: int, most: int, owner: str, seconds: float) -> bool:
        """Take some, and wait until there is room; whether there was, in time.

        :param count: bytes; more than ``most`` is given when nobody else has any.
        :param most: bytes of all answers.
        :param owner: who is answered: who has some gets half of all at most while others have some.
        :param seconds: how long to wait.
        """
        ends = time.monotonic() + seconds
        while not self._try(count, most, owner):
            if time.monotonic() >= ends:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    def give_back(self, count: int, owner: str) -> None:
        """Give back what was taken."""
        with self._lock:
            self._taken[owner] -= count
            if self._taken[owner] <= 0:
                del self._taken[owner]

    def _try(self, count: int, most: int, owner: str) -> bool:
        with self._lock:
            mine, total = self._taken[owner], self._taken.total()
            # What is larger than all is told alone.
            fits = total == 0 or total + count <= most
            is_share = not mine or total == mine or mine + count <= most // 2
            if not fits or not is_share:
                return False
            self._taken[owner] += count
            return True


def return_large_blocks() -> None:
    """Have memory of a file's size go back to the system when it is freed.

    By default glibc keeps blocks of a size that was freed once, in each thread's arena, for as long
    as the process lives: each answer with pictures makes it larger. Other C libraries don't.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or "mmap_threshold" in os.environ.get(
        "GLIBC_TUNABLES", ""
    ):
        return  # whoever runs the site has decided
    with suppress(OSError, AttributeError, TypeError):  # another library, or Windows
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


ROOM = Room()
os.register_at_fork(after_in_child=ROOM.clear)


class Share:
    """What one answer has taken of the room, until its end.

    :param owner: who is answered.
    :param most: bytes of memory for all answers.
    """

    def __init__(self, owner: str, most: int) -> None:
        self._owner = owner
        self._most = most
        self._taken = 0

    async def take(self, count: int, seconds: float) -> bool:
        """Take room for files; whether there was some in time.

        :param count: the files' bytes.
        :param seconds: how long to wait.
        """
        wanted = count * COPIES
        if not await ROOM.take(wanted, self._most, self._owner, seconds):
            return False
        self._taken += wanted
        return True

    async def take_or_refuse(self, count: int) -> None:
        """Take room for the files of a message.

        :raises CustomStreamError: there was none in time, which the visitor can read.
        """
        if not await self.take(count, WAIT_SECONDS):
            note_refusal("busy", f"{self._most} bytes of files in all answers")
            raise CustomStreamError(TOO_MUCH, allow_retry=True)

    def shrink(self, count: int) -> None:
        """Give back what is more than some files have needed.

        :param count: the files' bytes.
        """
        spare = self._taken - count * COPIES
        if spare > 0:
            self._taken -= spare
            ROOM.give_back(spare, self._owner)

    def give_back(self, count: int) -> None:
        """Give back what some files took, which are in memory no more.

        :param count: the files' bytes.
        """
        # An answer that has ended has given back all of it.
        given = min(count * COPIES, self._taken)
        if given > 0:
            self._taken -= given
            ROOM.give_back(given, self._owner)

    def release(self) -> None:
        """Give all of it back; once is enough."""
        taken, self._taken = self._taken, 0
        if taken:
            ROOM.give_back(taken, self._owner)
