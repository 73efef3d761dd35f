"""What one request may spend: the quotas that it is counted against."""

from __future__ import annotations

from dataclasses import dataclass

from ..chats.declarations import Chat, ServedChat
from ..identity.visitor import Visitor
from .ratelimit import CALL, MESSAGE, TOOL, RateLimiter


@dataclass(frozen=True)
class Budget:
    """The quotas of one request.

    :param limiter: counts, for the whole kit.
    :param chat: the chat that is asked, which may have limits of its own.
    :param visitor: who asks; None for somebody unknown.
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
        if act == CALL:
            visitor, owner = self.visitor, self.owner
            if visitor is not None and visitor.known:
                owner = visitor.digest
            is_login = visitor is not None and not visitor.is_anonymous
            self.limiter.hit_call(owner, None if is_login else self.address)
            return
        chat = self.chat
        own = chat.ratelimit
        if act in {MESSAGE, TOOL}:
            own = chat.message_ratelimit if isinstance(chat, ServedChat) else None
        self.limiter.hit(self._visitor, self.address, act=act, chat=chat.name, visitor_items=own)

    def spend_bytes(self, size: int) -> None:
        """Count the bytes of a file that is announced.

        :param size: in bytes.
        :raises RateLimited: the visitor, or the address, has sent too much within a day.
        :raises TooLarge: the file alone exceeds a day's quota.
        """
        if self.limiter.enabled:
            self.limiter.uploads.spend(self._visitor, self.address, size)

    def check_bytes(self, size: int) -> None:
        """Refuse a file that exceeds the quota, without counting it.

        :param size: in bytes.
        :raises RateLimited: as for :meth:`spend_bytes`.
        :raises TooLarge: as for :meth:`spend_bytes`.
        """
        if self.limiter.enabled:
            self.limiter.uploads.check(self._visitor, self.address, size)

    def count_bytes(self, size: int) -> None:
        """Count the bytes of a file that was received.

        :param size: in bytes.
        """
        if self.limiter.enabled:
            self.limiter.uploads.count(self._visitor, self.address, size)

    @property
    def _visitor(self) -> Visitor:
        if self.visitor is None:
            raise TypeError("only calls are counted for somebody unknown")
        return self.visitor
