"""Whether there is room for a file: a limit for all files, and some free space for the history."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol

from ...errors import RateLimited, UpstreamUnavailable
from ...upload_quota import size_text

logger = logging.getLogger("flask_chatkit")

#: Bytes of a file system that stay free, or the share of a small one.
KEPT_FREE = 512 * 2**20
KEPT_SHARE = 0.1
#: Seconds for which the total size is cached, and if it exceeds the limit.
REMEMBERED = 300.0
REMEMBERED_FULL = 10.0
#: ``Retry-After``, in seconds.
AGAIN = 600
#: The errors of a full disk.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

NO_ROOM = (
    "There is no room for files at the moment. Please send your message without the file, or try "
    "again later."
)


class _Place(Protocol):
    def entries(self) -> Iterable[Any]: ...
    def space(self) -> tuple[int, int] | None: ...


class Room:
    """The room that a place has for files.

    :param place: lists its files and the space of its file system.
    :param total: the maximum size of all files, in bytes; None for no limit.
    """

    def __init__(self, place: _Place, total: int | None) -> None:
        self._place = place
        self._total = total
        self._used = 0
        self._measured_at: float | None = None
        self._lock = threading.Lock()

    def check(self, size: int) -> None:
        """Check that there is room for that many more bytes.

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
        # Files may have been deleted since then.
        if not self._is_below(size, REMEMBERED_FULL):
            limit = f"{size_text(self._total)} of files in all"
            raise RateLimited(NO_ROOM, retry_after=AGAIN, limit=limit)

    def add(self, size: int) -> None:
        """Count a new file."""
        with self._lock:
            self._used += size

    def _is_below(self, size: int, seconds: float) -> bool:
        measured_at = self._measured_at
        if measured_at is None or time.monotonic() - measured_at > seconds:
            self._measure()
        return self._total is None or self._used + size <= self._total

    def _measure(self) -> None:
        try:
            used = sum(entry.size for entry in self._place.entries() if entry.is_ours)
        except NotImplementedError:
            # The URL's driver lists nothing; the quotas of visitors and addresses still apply.
            used = 0
        with self._lock:
            self._used, self._measured_at = used, time.monotonic()


def kept_free(whole: int) -> int:
    """How many bytes of a file system of that size stay free."""
    return min(KEPT_FREE, int(whole * KEPT_SHARE))


def no_room(detail: str) -> UpstreamUnavailable:
    """The error for a file for which there is no space.

    :param detail: for the log.
    """
    return UpstreamUnavailable(
        NO_ROOM, retry_after=AGAIN, detail=f"the files of CHATKIT_UPLOAD_FOLDER: {detail}"
    )


def not_stored(error: Exception) -> UpstreamUnavailable:
    """The error for a file that could not be written; the reason is for the log."""
    if isinstance(error, OSError):
        if error.errno in FULL:
            return no_room("the disk is full")
        # Without the message, which may contain a URL's credentials.
        why = errno.errorcode.get(error.errno or 0, type(error).__name__)
    else:
        logger.error("A file could not be stored", exc_info=error)
        why = type(error).__name__
    return not_written(f"the files of CHATKIT_UPLOAD_FOLDER: {why}")


def not_written(detail: str) -> UpstreamUnavailable:
    """The error for a file that could not be written.

    :param detail: for the log.
    """
    return UpstreamUnavailable(
        "The file could not be stored. Please send your message without it, or try again later.",
        retry_after=AGAIN,
        detail=detail,
    )
