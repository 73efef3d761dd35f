"""An answer to an anonymous visitor who signs in meanwhile continues under the login.

The threads are transferred to the login while a request of the anonymous visitor writes an answer.
Only that request may follow: one that begins after the sign-in, with an old cookie, finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timezone
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from chatkit.store import NotFoundError
from sqlalchemy import Connection, bindparam, select

from ...identity.visitor import Visitor
from ..context import ChatContext, as_context, owner_name
from .tables import aliases

T = TypeVar("T")
P = ParamSpec("P")

_SIGNED_IN = (
    select(aliases.c.visitor)
    .where(
        aliases.c.alias == bindparam("alias_"),
        aliases.c.kit == bindparam("kit_"),
        aliases.c.created_at >= bindparam("began_"),
    )
    .order_by(aliases.c.position.desc())
    .limit(1)
)


class Following(Protocol):
    """A store that knows sign-ins."""

    async def follow(self, context: ChatContext) -> bool:
        """Move a context to the login of its visitor; False if they have not signed in."""


S = TypeVar("S", bound=Following)


def follows(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Retry a store's method for the login if the thread was transferred to it."""

    @wraps(method)
    async def act(store: S, /, *args: P.args, **more: P.kwargs) -> T:
        try:
            return await method(store, *args, **more)
        except NotFoundError:
            context: Any = more.get("context") or (args[-1] if args else None)
            if not await store.follow(as_context(context)):
                raise
            return await method(store, *args, **more)

    return act


def signed_in_as(db: Connection, context: ChatContext) -> Visitor | None:
    """The login of an anonymous visitor who has signed in since a request began."""
    began = datetime.fromtimestamp(context.began, timezone.utc)
    values = {"alias_": context.visitor.key, "kit_": context.kit, "began_": began}
    key = db.scalar(_SIGNED_IN, values)
    return None if key is None else Visitor.from_key(key)


def may_follow(context: ChatContext) -> bool:
    """Whether a context is that of an anonymous visitor who has not signed in yet."""
    own = owner_name(context.kit, context.chat, context.visitor)
    return context.visitor.is_anonymous and context.owner == own


def move(context: ChatContext, login: Visitor) -> None:
    """Make a context's owner the login; the site's code still sees the anonymous visitor."""
    context["owner"] = owner_name(context.kit, context.chat, login)
    context.owner_key = login.key
