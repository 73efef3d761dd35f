"""What one request may spend: the quotas that it is counted against."""

from __future__ import annotations

import math
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerDay

from ..chats.served import Chat, ServedChat
from ..errors import RateLimited, TooLarge
from ..identity.visitor import Visitor
from ..upload_quota import size_text, time_text
from .addresses import networks_of
from .ratelimit import CALL, MESSAGE, TOOL, RateLimiter
from .storage import Hit


@dataclass(frozen=True)
class Budget:
    """The quotas of one request.

    :param limiter: counts, for the whole kit.
    :param chat: the chat that is asked, which may have limits of its own.
    :param visitor: who asks; None for somebody unknown, for whom only calls are counted.
    :param address: the address that the request is counted under.
    :param owner: the owner that a signed link names, where nothing else identifies the visitor.
    """

    limiter: RateLimiter
    chat: Chat
    visitor: Visitor | None
    address: str
    owner: str | None = None

    def spend(self, act: str) -> None:
        """Count an act: ``mint``, ``cancel``, ``message``, ``tool`` or ``call``.

        :raises RateLimited: a quota is used up.
        """
        visitor, chat = self.visitor, self.chat
        if visitor is None or act == CALL:
            owner = visitor.digest if visitor is not None and visitor.known else self.owner
            is_login = visitor is not None and not visitor.is_anonymous
            self.limiter.hit_call(owner, None if is_login else self.address)
            return
        own = chat.ratelimit
        if act in {MESSAGE, TOOL}:
            own = chat.message_ratelimit if isinstance(chat, ServedChat) else None
        self.limiter.hit(visitor, self.address, act=act, chat=chat.name, visitor_items=own)

    def spend_bytes(self, size: int) -> None:
        """Count the bytes of a file that is announced, by ``CHATKIT_UPLOAD_QUOTA``.

        :param size: in bytes.
        :raises RateLimited: the visitor, or the address, has sent too much within a day.
        :raises TooLarge: the file alone exceeds a day's quota.
        """
        self.check_bytes(size)
        self.count_bytes(size)

    def check_bytes(self, size: int) -> None:
        """Refuse a file that exceeds the quota, without counting it: a smaller one may follow.

        :param size: in bytes.
        :raises RateLimited: as for :meth:`spend_bytes`.
        :raises TooLarge: as for :meth:`spend_bytes`.
        """
        if not self.limiter.enabled:
            return
        full = self.limiter.storage.find_full(self._hits_of_bytes(size))
        if full is None:
            return
        hit, wait = full
        quota = size_text(hit.item.amount * 1024)
        if hit.cost > hit.item.amount:
            # Waiting would not help.
            raise TooLarge(f"No file can have more than {quota}.", limit=f"{quota} a day")
        raise RateLimited(
            f"No more than {quota} of files can be sent in a day. Please send your "
            f"message without the file, or wait {time_text(wait)}.",
            retry_after=wait,
            limit=f"{quota} a day per {hit.whose}",
        )

    def count_bytes(self, size: int) -> None:
        """Count the bytes of a file that was received.

        :param size: in bytes.
        """
        if self.limiter.enabled:
            # What exceeds the quota by now was stored nevertheless.
            hits = [hit._replace(whose=None) for hit in self._hits_of_bytes(size)]
            self.limiter.storage.spend(hits)

    def _hits_of_bytes(self, size: int) -> list[Hit]:
        """What a file counts as: kilobytes, by visitor and by address."""
        visitor, quota, hits = self.visitor, self.limiter.upload_quota, []
        if visitor is None:
            return []
        cost = math.ceil(size / 1024)
        if quota.visitor is not None:
            names = ("upload", "visitor", visitor.digest)
            hits.append(Hit(_per_day(quota.visitor), names, "visitor", cost))
        if visitor.is_anonymous and quota.address is not None:
            for network, times in ((self.address, 1), *networks_of(self.address)):
                item, names = _per_day(quota.address, times), ("upload", "address", network)
                hits.append(Hit(item, names, "address", cost))
        return hits


def _per_day(size: int, times: int = 1) -> RateLimitItem:
    """A quota of bytes as one of kilobytes, which a storage counts."""
    return RateLimitItemPerDay(max(1, size // 1024) * times)
