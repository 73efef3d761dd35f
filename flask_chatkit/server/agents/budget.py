"""Limits an agent's input: characters of the history, bytes of files, memory of all answers."""

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

#: Characters of a history, and bytes of a message's files, that are sent by default.
HISTORY_CHARACTERS = 200_000
HISTORY_BYTES = 15_000_000
#: Bytes of memory for the files of all answers of a process by default.
ANSWERS_BYTES = 64_000_000
#: Copies of a file in memory during a model's call: as base64, as JSON and as the request's body,
#: each a third larger than the file.
COPIES = 4
#: Seconds to wait for memory, and between two tries.
WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.05

#: Blocks of at least this many bytes return to the system as soon as they are freed.
LARGE_BLOCK = 512 * 1024
#: A parameter of mallopt(3).
_M_MMAP_THRESHOLD = -3

#: Characters that are kept of each tool output of a turn that is too long; the second, if the first
#: does not help.
LEAST_OUTPUTS = (2_000, 200)

#: The end of a text that was cut.
CUT = "\n(The rest is left out.)"
BUSY = "Too much is going on at the moment. Please try again in a little while."


@dataclass(frozen=True)
class Budget:
    """The limits of one agent's input.

    :param characters: characters of all texts of the history, including text files.
    :param bytes: bytes of the files of a message.
    :param answers_bytes: bytes of memory for the files of all answers of this process.
    """

    characters: int = HISTORY_CHARACTERS
    bytes: int = HISTORY_BYTES
    answers_bytes: int = ANSWERS_BYTES


# --- characters -----------------------------------------------------------------------------------


def trim_history(
    items: Sequence[ThreadItem], outputs: Mapping[str, Any], budget: Budget, file_characters: int
) -> list[ThreadItem]:
    """Return the last turns of a history that fit the budget's characters, the oldest first.

    A turn begins with a visitor's message and is kept whole, so that tool calls keep their outputs.
    The last turn always stays; if it is too long, its tools' outputs are shortened, oldest first.

    :param outputs: outputs of tools, by the id of the hidden item.
    :param file_characters: characters of the last message's files.
    """
    left = most = budget.characters - file_characters
    first = fitting = len(items)
    for at in range(len(items) - 1, -1, -1):
        left -= _characters(items[at], outputs)
        if left < 0 and first < len(items):
            break
        fitting = at if left >= 0 else fitting
        if isinstance(items[at], UserMessageItem):
            first = at
    if first == len(items):
        # Without a message: the items that fit, and the newest in any case.
        first = max(min(fitting, len(items) - 1), 0)
    return _shortened(items[first:], outputs, most)


def _shortened(
    items: Sequence[ThreadItem], outputs: Mapping[str, Any], most: int
) -> list[ThreadItem]:
    """Return the items with tools' outputs cut, the oldest first, to fit.

    :param most: characters of all items, as far as :data:`LEAST_OUTPUTS` allows.
    """
    found = list(items)
    over = sum(_characters(item, outputs) for item in found) - most
    for least in LEAST_OUTPUTS:
        for at in range(len(found)):
            # Twice, since JSON that becomes a string gets backslashes.
            for _ in range(2):
                if over <= 0:
                    return found
                before = found[at]
                found[at] = _with_outputs(before, outputs, over, least)
                over -= _size(before) - _size(found[at])
    return found


def _with_outputs(
    item: ThreadItem, outputs: Mapping[str, Any], over: int, least: int
) -> ThreadItem:
    """Return an item with its tool outputs cut, if it has any."""
    if isinstance(item, ClientToolCallItem):
        return item.model_copy(update={"output": _cut(item.output, over, least)})
    if item.id not in outputs:
        return item
    content, kept = cast("HiddenContextItem", item).content, []
    for one in content.get("items", []):
        new = {**one, "output": _cut(one["output"], over, least)} if "output" in one else one
        over -= len(str(one.get("output"))) - len(str(new.get("output")))
        kept.append(new)
    return item.model_copy(update={"content": {**content, "items": kept}})


def _cut(output: Any, over: int, least: int) -> Any:
    """Return an output with so many fewer characters, but at least ``least``."""
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    keeps = max(len(text) - max(over, 0) - len(CUT), least)
    return output if over <= 0 or keeps + len(CUT) >= len(text) else text[:keeps] + CUT


def _size(item: ThreadItem) -> int:
    return len(item.model_dump_json())


def _characters(item: ThreadItem, outputs: Mapping[str, Any]) -> int:
    """Return about how many characters an item adds to the input."""
    if isinstance(item, UserMessageItem):
        data = sum(len(json.dumps(getattr(part, "data", None) or {})) for part in item.content)
        return len(text_of(item)) + len(item.quoted_text or "") + data + 200 * len(item.attachments)
    if isinstance(item, AssistantMessageItem):
        return len(text_of(item))
    if is_memory(item):
        return len(json.dumps(outputs[item.id], ensure_ascii=False)) if item.id in outputs else 0
    return _size(item)


# --- bytes ----------------------------------------------------------------------------------------


def size_of(attachment: Attachment) -> int | None:
    """Return a file's size in bytes, if it is known before the file is read."""
    size = (attachment.metadata or {}).get("size")
    return size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None


class MemoryPool:
    """The memory that the files of all answers of a process share."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start with nothing taken: after a fork, or in a test."""
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Bytes that are taken now."""
        with self._lock:
            return self._taken.total()

    async def take(self, count: int, most: int, owner: str, seconds: float) -> bool:
        """Take memory, and wait for it if need be; return whether there was enough in time.

        :param count: bytes; more than ``most`` is possible while no other answer has any.
        :param most: bytes for all answers.
        :param owner: the visitor, who gets at most half of it while others have some.
        :param seconds: the longest wait.
        """
        ends = time.monotonic() + seconds
        while not self._try(count, most, owner):
            if time.monotonic() >= ends:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    def give_back(self, count: int, owner: str) -> None:
        """Return memory of this owner."""
        with self._lock:
            self._taken[owner] -= count
            if self._taken[owner] <= 0:
                del self._taken[owner]

    def _try(self, count: int, most: int, owner: str) -> bool:
        with self._lock:
            mine, total = self._taken[owner], self._taken.total()
            # A file that is larger than the limit is sent while no other is.
            fits = total == 0 or total + count <= most
            is_share = not mine or total == mine or mine + count <= most // 2
            if not fits or not is_share:
                return False
            self._taken[owner] += count
            return True


def return_large_blocks() -> None:
    """Make the C library return large blocks to the system when they are freed.

    By default, glibc keeps blocks of a size that was freed once, in each thread's arena: each
    answer with pictures makes the process larger. Other C libraries don't.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or "mmap_threshold" in os.environ.get(
        "GLIBC_TUNABLES", ""
    ):
        return  # the site's operator has decided
    with suppress(OSError, AttributeError, TypeError):  # another library, or Windows
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


POOL = MemoryPool()
os.register_at_fork(after_in_child=POOL.clear)


class Share:
    """One answer's share of the memory for files, until its end.

    :param owner: the visitor.
    :param most: bytes of memory for all answers.
    """

    def __init__(self, owner: str, most: int) -> None:
        self._owner = owner
        self._most = most
        self._taken = 0

    async def take(self, count: int, seconds: float) -> bool:
        """Take memory for files; return whether there was enough in time.

        :param count: the files' bytes.
        :param seconds: the longest wait.
        """
        wanted = count * COPIES
        if not await POOL.take(wanted, self._most, self._owner, seconds):
            return False
        self._taken += wanted
        return True

    async def take_or_refuse(self, count: int) -> None:
        """Take memory for the files of a message.

        :raises CustomStreamError: there was not enough in time, with a message for the visitor.
        """
        if not await self.take(count, WAIT_SECONDS):
            note_refusal("busy", f"{self._most} bytes of files in all answers")
            raise CustomStreamError(BUSY, allow_retry=True)

    def shrink(self, count: int) -> None:
        """Return memory that files did not need.

        :param count: the files' bytes.
        """
        spare = self._taken - count * COPIES
        if spare > 0:
            self._taken -= spare
            POOL.give_back(spare, self._owner)

    def give_back(self, count: int) -> None:
        """Return the memory of files that were dropped.

        :param count: the files' bytes.
        """
        # An answer that has ended has returned all of it.
        given = min(count * COPIES, self._taken)
        if given > 0:
            self._taken -= given
            POOL.give_back(given, self._owner)

    def release(self) -> None:
        """Return all of it; later calls do nothing."""
        taken, self._taken = self._taken, 0
        if taken:
            POOL.give_back(taken, self._owner)
