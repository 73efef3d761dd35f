"""What happens to an anonymous visitor's threads when they sign in: they become the login's."""

from __future__ import annotations

from ..identity.visitor import Visitor
from .caller import Caller

#: Seconds until the transfer of threads that failed is tried again.
RETRY_SECONDS = 60
#: Seconds for which a finished transfer is remembered.
DONE_SECONDS = 3600


def transfer_threads(caller: Caller, visitor: Visitor) -> None:
    """Give a login the threads of the cookie's visitor, and have the cookie cleared then.

    :param visitor: the login.
    """
    if not caller.kit.served:
        return
    if caller.origin.token is not None:
        # Neither those of the cookie, whose visitor this page does not show, nor the token's:
        # another origin must not put anything into the history of whoever is signed in here.
        return
    cookie = caller.kit.cookie
    former = cookie.read(caller.request)
    # Nor must a sibling host, by a cookie of its own visitor.
    if former is not None and cookie.is_own(caller.request, former):
        caller.is_transferred = _transfer(caller, former, visitor)


def _transfer(caller: Caller, old: Visitor, new: Visitor) -> bool:
    """Transfer the threads of all served chats.

    :returns: whether all of them are the login's now. What failed is tried again later, since a
        chat that is broken must not break the others.
    """
    kit, marks = caller.kit, caller.kit.limiter.storage
    # A browser that keeps the cookie nevertheless must not cause a transfer with each call.
    done, waiting = (f"{word}-{old.digest}" for word in ("handed-over", "hand-over-failed"))
    if marks.is_marked(done):
        return True
    if marks.is_marked(waiting):
        return False
    is_whole = kit.service.transfer_threads(kit.served, old, new)
    if is_whole:
        kit.activity.transferred(old, new)
        marks.mark(done, DONE_SECONDS)
    else:
        marks.mark(waiting, RETRY_SECONDS)
    return is_whole
