"""How much room there is for files: all of them have a bound, and the history keeps some space."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol

from ...errors import RateLimited, UpstreamUnavailable
from ...quota import size_text

logger = logging.getLogger("flask_chatkit")

#: Bytes of a file system that no file of a visitor's takes, and the share of a small one.
KEPT_FREE = 512 * 2**20
KEPT_SHARE = 0.1
#: Seconds for which it is remembered how much there is, and if that is too much.
REMEMBERED = 300.0
REMEMBERED_FULL = 10.0
#: Seconds after which an upload may be tried again.
AGAIN = 600
#: What a full disk is told by.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

NO_ROOM = (
    "There is no room for files at the moment. Please send your message without the file, or try "
    "again later."
)


class _Place(Protocol):
    def entries(self) -> Iterable[Any]: ...
    def space(self) -> tuple[int, int] | None: ...


class Room:
    """The room in the place where the files are.

    :param place: it tells what lies there, and the space of its file system.
    :param total: bytes of all files; None for as many as there is space for.
    """

    def __init__(self, place: _Place, total: int | None) -> None:
        self._place = place
        self._total = total
        self._used = 0
        self._looked_at: float | None = None
        self._lock = threading.Lock()

    def check(self, size: int) -> None:
        """Check that there is room for so many bytes more.

        :raises RateLimited: all files together would be too large.
        :raises UpstreamUnavailable: the disk is almost full.
        """
        space = self._place.space()
        if space is not None:
            whole, free = space
            kept = kept_free(whole)
            if free - size < kept:
                raise no_room(f"less than {size_text(kept)} would be free")
        if self._total is None or self._is_below(size, REMEMBERED):
            return
        # Files may have been deleted since, here or by another process.
        if not self._is_below(size, REMEMBERED_FULL):
            limit = f"{size_text(self._total)} of files in all"
            raise RateLimited(NO_ROOM, retry_after=AGAIN, limit=limit)

    def add(self, size: int) -> None:
        """Note that a file has come."""
        with self._lock:
            self._used += size

    def _is_below(self, size: int, seconds: float) -> bool:
        looked_at = self._looked_at
        if looked_at is None or time.monotonic() - looked_at > seconds:
            self._look()
        return self._total is None or self._used + size <= self._total

    def _look(self) -> None:
        try:
            used = sum(entry.size for entry in self._place.entries() if entry.is_ours)
        except NotImplementedError:
            # A kind of URL that lists nothing: the quotas of visitors and addresses hold.
            used = 0
        with self._lock:
            self._used, self._looked_at = used, time.monotonic()


def kept_free(whole: int) -> int:
    """Bytes of a file system of so many that no file of a visitor's takes."""
    return min(KEPT_FREE, int(whole * KEPT_SHARE))


def no_room(detail: str) -> UpstreamUnavailable:
    """The refusal of a file for which there is no space.

    :param detail: for the log.
    """
    return UpstreamUnavailable(
        NO_ROOM, retry_after=AGAIN, detail=f"the files of CHATKIT_UPLOAD_FOLDER: {detail}"
    )


def not_stored(error: Exception) -> UpstreamUnavailable:
    """What the visitor reads when a file could not be written; the log says why."""
    if isinstance(error, OSError):
        if error.errno in FULL:
            return no_room("the disk is full")
        # Not its message, which may name what is secret of a URL.
        why = errno.errorcode.get(error.errno or 0, type(error).__name__)
    else:
        logger.error("A file could not be stored", exc_info=error)
        why = type(error).__name__
    return not_written(f"the files of CHATKIT_UPLOAD_FOLDER: {why}")


def not_written(detail: str) -> UpstreamUnavailable:
    """What the visitor reads of a file that could not be written.

    :param detail: for the log.
    """
    return UpstreamUnavailable(
        "The file could not be stored. Please send your message without it, or try again later.",
        retry_after=AGAIN,
        detail=detail,
    )
