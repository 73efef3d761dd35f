"""Exports OpenAI's threads as JSON Lines: one line a thread or item, as OpenAI sends them.

A thread's line comes before those of its items, the oldest thread first. An export is resumed after
the last thread and the last item of its file.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from ..errors import ChatKitError, UpstreamRejected
from .threads import HostedThreads, read_ahead
from .transport import PageTooLargeError

Json = dict[str, Any]
Advance = Callable[[int], object]

THREAD = "chatkit.thread"
ITEM = "chatkit.thread_item"
#: Bytes of one read from the end of a file.
_BLOCK = 64 * 1024
#: The first bytes of an export.
_BEGINNING = b'{"object":"chatkit.thread"'


class FileFormError(ChatKitError, ValueError):
    """A line of a file is not a thread or item of an export; the message has the line's number."""


@dataclass
class Exported:
    """The result of an export.

    :param threads: threads that were written, without those that the file had before.
    :param items: items that were written, likewise.
    :param resumed_after: the id of the thread at which it was resumed; else None.
    :param cut: the ids of threads that are incomplete due to an item of more than 64 MiB.
    """

    threads: int = 0
    items: int = 0
    resumed_after: str | None = None
    cut: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """The place at which an export stopped.

    :param thread: the last thread of the file.
    :param item: the id of the last item of that thread; None if it has none yet.
    """

    thread: Json
    item: str | None


def export_threads(
    hosted: HostedThreads,
    file: IO[str],
    *,
    user: str | None = None,
    since: datetime | None = None,
    place: Place | None = None,
    advance: Advance = lambda _: None,
) -> Exported:
    """Write threads and their items to a file, each as soon as it is read.

    :param file: a text file, opened for writing.
    :param user: whose threads; None for all visitors'.
    :param since: the earliest creation time of threads; a naive one is in UTC.
    :param place: where an earlier export to the file stopped; see :func:`last_place`.
    :param advance: called with 1 after each thread.
    :raises ApiError: OpenAI refuses, or can't be reached for long.
    """
    done = Exported(resumed_after=place.thread["id"] if place else None)
    if place is not None:
        last = place.thread["id"]
        _write_items(file, last, items_after(hosted, last, place.item), done)
        advance(1)
    threads = threads_since(hosted, user, since, place.thread if place else None)
    for thread, items in read_ahead(threads, lambda thread: hosted.items(thread["id"])):
        _write(file, thread)
        done.threads += 1
        _write_items(file, thread["id"], items, done)
        advance(1)
    return done


def threads_since(
    hosted: HostedThreads, user: str | None, since: datetime | None, after: Json | None = None
) -> Iterator[Json]:
    """Yield the threads that were created since a time, the oldest first.

    :param after: the thread to continue after, which may be deleted by now.
    """
    least = _timestamp(since)
    for thread in _after(hosted, user, after):
        created = thread.get("created_at")
        # An entry without a time or an id is reported by the reader of the export.
        if not isinstance(created, int) or created >= least:
            yield thread


def _timestamp(since: datetime | None) -> float:
    if since is None:
        return float("-inf")
    aware = since if since.tzinfo is not None else since.replace(tzinfo=timezone.utc)
    return aware.timestamp()


def _after(hosted: HostedThreads, user: str | None, after: Json | None) -> Iterator[Json]:
    if after is None:
        yield from hosted.threads(user)
        return
    reading = hosted.threads(user, after=after["id"])
    try:
        first = next(reading, None)
    except UpstreamRejected:
        # The thread was deleted meanwhile, and OpenAI can't continue after it.
        yield from _younger(hosted, user, after)
        return
    if first is not None:
        yield first
        yield from reading


def _younger(hosted: HostedThreads, user: str | None, after: Json) -> Iterator[Json]:
    for thread in hosted.threads(user):
        # Threads of the same second may be in the file already: readers match them by id.
        if thread.get("created_at", 0) >= after.get("created_at", 0):
            yield thread


def _write_items(file: IO[str], thread: str, items: Iterable[Json], done: Exported) -> None:
    try:
        for item in items:
            _write(file, item)
            done.items += 1
    except PageTooLargeError:
        done.cut.append(thread)
    file.flush()


def items_after(hosted: HostedThreads, thread: str, after: str | None) -> Iterator[Json]:
    """Yield the items of a thread after one; all of them, if that one was deleted meanwhile.

    :param after: the item's id; None for all of them.
    :raises ApiError: OpenAI refuses, or can't be reached for long.
    """
    reading = hosted.items(thread, after=after)
    try:
        first = next(reading, None)
    except PageTooLargeError:
        raise
    except UpstreamRejected:
        if after is None:
            raise
        # Readers match items by id.
        reading = hosted.items(thread)
        first = next(reading, None)
    if first is not None:
        yield first
        yield from reading


def _write(file: IO[str], entry: Mapping[str, Any]) -> None:
    # "object" comes first, so that a file that broke off in its first line is recognised.
    line = {"object": entry.get("object"), **entry}
    file.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")


# --- existing exports -----------------------------------------------------------------------------


def last_place(path: Path) -> Place | None:
    """Return where an export to a file stopped; None for a missing or empty file.

    An incomplete last line is removed.

    :raises FileFormError: the file is not an export.
    """
    if not path.exists() or not path.stat().st_size:
        return None
    with path.open("r+b") as file:
        _check_beginning(file, path.name)
        end = _cut_half_line(file)
        item: str | None = None
        for line in _lines_backwards(file, end):
            entry = _parsed(line, f"{path.name}, near its end")
            if entry.get("object") == THREAD:
                return Place(entry, item)
            item = item or entry.get("id")
    if end:
        raise FileFormError(f"{path.name}: it begins with an item, and not with a thread")
    return None


@contextlib.contextmanager
def open_for_export(path: Path) -> Iterator[IO[str]]:
    """Open a file to append an export; only its owner can read a new one.

    A file that is still empty at an error is removed again.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        try:
            yield file
        except BaseException:
            file.flush()
            if not path.stat().st_size:
                path.unlink()
            raise


def read_lines(file: Iterable[bytes | str], name: str) -> Iterator[Json]:
    """Yield the threads and items of an export.

    :param name: the file's name, for errors.
    :raises FileFormError: a line is neither; the message has the line's number.
    """
    for number, line in enumerate(file, 1):
        if line.strip():
            yield _parsed(line, f"{name}, line {number}")


def _parsed(line: bytes | str, where: str) -> Json:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise FileFormError(f"{where}: it is no JSON") from None
    if not isinstance(entry, dict) or entry.get("object") not in {THREAD, ITEM}:
        raise FileFormError(
            f"{where}: a line must be a JSON object whose 'object' is {THREAD!r} or {ITEM!r}, as "
            "flask chatkit threads export writes it"
        )
    if entry["object"] == THREAD and not isinstance(entry.get("id"), str):
        raise FileFormError(f"{where}: the field 'id' must be a string")
    return entry


def _check_beginning(file: IO[bytes], name: str) -> None:
    """Check that a file is an export, before it is changed.

    :raises FileFormError: it is not.
    """
    first = file.readline(_BLOCK)
    if first.endswith(b"\n"):
        _parsed(first, f"{name}, line 1")
    elif not first.startswith(_BEGINNING) and not _BEGINNING.startswith(first):
        raise FileFormError(f"{name}: it is no export of threads")


def _cut_half_line(file: IO[bytes]) -> int:
    """Remove an incomplete last line; return the file's new size."""
    position = file.seek(0, os.SEEK_END)
    while position:
        start = max(0, position - _BLOCK)
        file.seek(start)
        at = file.read(position - start).rfind(b"\n")
        if at >= 0:
            position = start + at + 1
            break
        position = start
    file.truncate(position)
    return position


def _lines_backwards(file: IO[bytes], end: int) -> Iterator[bytes]:
    """Yield the lines of a file from the last to the first, without reading it whole."""
    rest, position = b"", end
    while position:
        start = max(0, position - _BLOCK)
        file.seek(start)
        rest = file.read(position - start) + rest
        position = start
        first, *lines = rest.split(b"\n")
        yield from (line for line in reversed(lines) if line)
        rest = first
    if rest:
        yield rest
