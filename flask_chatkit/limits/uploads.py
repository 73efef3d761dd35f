"""The quota of bytes that ``CHATKIT_UPLOAD_QUOTA`` sets for a day."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from limits import RateLimitItem, RateLimitItemPerDay

from ..errors import RateLimited, TooLarge
from ..identity.visitor import Visitor
from ..quota import UploadQuota, size_text, time_text
from .addresses import networks_of
from .storage import Storage


class _Limit(NamedTuple):
    """One limit of a visitor's files, in kilobytes.

    :param whose: ``visitor`` or ``address``, for the log.
    """

    item: RateLimitItem
    key: tuple[str, ...]
    whose: str


class UploadBytes:
    """Counts the bytes of files, by visitor and by address.

    :param storage: where they are counted, in kilobytes.
    :param quota: the kit's quota.
    """

    def __init__(self, storage: Storage, quota: UploadQuota) -> None:
        self._storage = storage
        self._quota = quota

    def spend(self, visitor: Visitor, address: str, size: int) -> None:
        """Count the bytes of a file that is announced, or refuse it.

        :param size: in bytes.
        :raises RateLimited: the visitor, or the address, has sent too much within a day.
        :raises TooLarge: the file alone exceeds a day's quota.
        """

        def act() -> None:
            self._check(visitor, address, size)
            self._count(visitor, address, size)

        self._storage.run(act)

    def check(self, visitor: Visitor, address: str, size: int) -> None:
        """Refuse a file that exceeds the quota, without counting it.

        :param size: in bytes.
        :raises RateLimited: as for :meth:`spend`.
        :raises TooLarge: as for :meth:`spend`.
        """
        self._storage.run(lambda: self._check(visitor, address, size))

    def count(self, visitor: Visitor, address: str, size: int) -> None:
        """Count the bytes of a file that was received.

        :param size: in bytes.
        """
        self._storage.run(lambda: self._count(visitor, address, size))

    def _check(self, visitor: Visitor, address: str, size: int) -> None:
        storage, cost = self._storage, _kilobytes(size)
        # What is refused is not counted: a smaller file may still be accepted.
        for item, key, whose in self._limits(visitor, address):
            if storage.has_room(item, key, cost):
                continue
            quota = size_text(item.amount * 1024)
            if cost > item.amount:
                # Waiting would not help.
                raise TooLarge(f"No file can have more than {quota}.", limit=f"{quota} a day")
            wait = storage.retry_after(item, key)
            raise RateLimited(
                f"No more than {quota} of files can be sent in a day. Please send your "
                f"message without the file, or wait {time_text(wait)}.",
                retry_after=wait,
                limit=f"{quota} a day per {whose}",
            )

    def _count(self, visitor: Visitor, address: str, size: int) -> None:
        for item, key, _ in self._limits(visitor, address):
            self._storage.hit(item, key, _kilobytes(size))

    def _limits(self, visitor: Visitor, address: str) -> Iterator[_Limit]:
        quota, key = self._quota, self._storage.key
        if quota.visitor is not None:
            item = _per_day(quota.visitor)
            yield _Limit(item, key(("upload", "visitor", visitor.digest)), "visitor")
        if visitor.is_anonymous and quota.address is not None:
            for network, times in ((address, 1), *networks_of(address)):
                item = _per_day(quota.address, times)
                yield _Limit(item, key(("upload", "address", network)), "address")


def _kilobytes(size: int) -> int:
    return math.ceil(size / 1024)


def _per_day(size: int, times: int = 1) -> RateLimitItem:
    """A quota of bytes as one of kilobytes, which a storage counts."""
    return RateLimitItemPerDay(max(1, size // 1024) * times)
