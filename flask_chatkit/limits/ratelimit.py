"""Rate limiting on top of Flask-Limiter.

Three quotas hold at once, the visitor's, the address's and the kit's, counted by a
:class:`~flask_limiter.Limiter`: the host's if it has one, else one of our own. They are counted
through ``Limiter.limiter``, its strategy, and not by its decorators: those key their registry by
the view's name, so that two kits would share limits, and mark the storage as dead for the whole
application when a key function fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flask.sansio.app import App
from limits import RateLimitItem

from ..config import Settings
from ..errors import RateLimited
from ..identity.visitor import Visitor
from .addresses import networks_of
from .pending import PendingCalls
from .storage import Hit, Storage

Items = Sequence[RateLimitItem]

#: The acts that ``CHATKIT_MESSAGE_RATELIMIT`` is for, each with a count of its own.
MESSAGE = "message"
TOOL = "tool"
#: Every other call that asks for something, which ``CHATKIT_CALL_RATELIMIT`` is for.
CALL = "call"
#: Visitors' worth of messages that all anonymous visitors of an address have together.
VISITORS = 5
#: Into how many parts a limit of calls is divided: the storage learns of so many calls at once,
#: since counting each there would be slow.
PARTS = 50


class RateLimiter:
    """Counts the requests of one kit on one application.

    :param app: whose Limiter counts, if it has one by the first request.
    :param kit: the kit's full name, which is part of every key.
    :param settings: the kit's settings.
    """

    def __init__(self, app: App, kit: str, settings: Settings) -> None:
        self.storage = Storage(app, kit, settings)
        self.upload_quota = settings.upload_quota
        #: False where the host switched its limits off, as test configurations do.
        self.enabled = settings.limiter_enabled
        self._settings = settings
        self._calls = PendingCalls()

    def hit(
        self, visitor: Visitor, address: str, *, act: str, chat: str, visitor_items: Items | None
    ) -> None:
        """Count one act, or refuse it.

        Each anonymous act counts twice: for the visitor, and for all anonymous visitors of the
        address. Who sends a cookie is held to the first; who sends none, to the second, which
        everything that came from there before has used up. So dropping the cookie, or making one
        up, gains nothing.

        A message always comes with a cookie: who was given theirs within a day is held to what all
        such visitors of the address have used up, for the same reason.

        :param act: what is counted, each with quotas of its own: ``mint``, ``cancel``, ``message``,
            ``tool``.
        :param visitor_items: the chat's own limits per visitor; None for the kit's.
        :raises RateLimited: a quota is used up; ``retry_after`` is in seconds, and ``limit`` names
            it: ``20 per 1 minute per visitor``, ``… per address``, ``… per kit``.
        """
        if self.enabled:
            self.storage.spend([*self._hits(visitor, address, act, chat, visitor_items)])

    def _hits(
        self, visitor: Visitor, address: str, act: str, chat: str, visitor_items: Items | None
    ) -> Iterator[Hit]:
        settings = self._settings
        is_message, is_anonymous = act in {MESSAGE, TOOL}, visitor.is_anonymous
        scope = (act, "visitor") if visitor_items is None else (act, "visitor", chat)
        items = settings.message_ratelimit if is_message else settings.ratelimit
        items = items if visitor_items is None else tuple(visitor_items)
        own, crowd = (*scope, visitor.digest), (*scope, "address", address)
        known = visitor.known and not (is_message and visitor.is_new)
        first, other = (own, crowd) if known else (crowd, own)
        yield from (Hit(item, first, "visitor" if known else "address") for item in items)
        if not is_message:
            yield from _of_address(settings.ratelimit_ip, (act, "address"), address)
        elif is_anonymous:
            # Whoever gathers cookies, and lets them grow old, is still at one address.
            every = [_times(item, VISITORS) for item in items]
            yield from _of_address(every, (*scope, "all"), address)
        yield from (Hit(item, (act, "kit"), "kit") for item in settings.ratelimit_global)
        if is_anonymous:
            yield from (Hit(item, other, None) for item in items)

    def hit_call(self, owner: str | None, address: str | None) -> None:
        """Count a call that costs little: reading, renaming, deleting, feedback, a file to read.

        Beside the visitor's own quota, all anonymous visitors of an address have five times as
        much. The storage learns of several calls at once, so that reading does not wait for it.

        :param owner: who calls; None for somebody unknown.
        :param address: where from; None for a login, which no address can make up.
        :raises RateLimited: a quota is used up, as for :meth:`hit`.
        """
        items = self._settings.call_ratelimit
        if not self.enabled or not items:
            return
        if owner is not None:
            self._hit_pending(items, 1, "visitor", owner)
        if address is not None:
            self._hit_pending(items, VISITORS, "address", address)
            for network, times in networks_of(address):
                self._hit_pending(items, VISITORS * times, "address", network)

    def _hit_pending(self, items: Items, times: int, whose: str, name: str) -> None:
        """Count in this process, and in the storage once there are enough."""
        for place, item in enumerate(items):
            entry = (place, whose, name)
            self._calls.check(entry)
            cost = self._calls.add(entry, item.amount * times // PARTS)
            if not cost:
                continue
            try:
                self.storage.spend([Hit(_times(item, times), (CALL, whose, name), whose, cost)])
            except RateLimited as error:
                # Until the storage has accepted one, it is asked each time.
                self._calls.put_back(entry, cost - 1, error)
                raise


def _of_address(items: Items, names: tuple[str, ...], address: str) -> Iterator[Hit]:
    """What is counted for an address, and for the networks that it is in."""
    yield from (Hit(item, (*names, address), "address") for item in items)
    for network, times in networks_of(address):
        yield from (Hit(_times(item, times), (*names, network), "network") for item in items)


def _times(item: RateLimitItem, factor: int) -> RateLimitItem:
    return type(item)(item.amount * factor, item.multiples)
