"""An answer that was begun for somebody who signs in meanwhile: it goes on under the login.

Threads become the login's while the answer is written, by a request that knows the anonymous
visitor only. It may follow what it was begun for, and nothing else: a request that begins after the
sign-in, with a cookie that somebody kept, is nobody's.
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
    """A store that can ask who somebody has become."""

    async def follow(self, context: ChatContext) -> bool:
        """Let a context stand for whom its visitor has become since it began; False for nobody."""


S = TypeVar("S", bound=Following)


def follows(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Try a method of a store once more for the login, where the thread has become its own."""

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
    """As whom an anonymous visitor has signed in since a context began."""
    began = datetime.fromtimestamp(context.began, timezone.utc)
    values = {"alias_": context.visitor.key, "kit_": context.kit, "began_": began}
    key = db.scalar(_SIGNED_IN, values)
    return None if key is None else Visitor.from_key(key)


def may_follow(context: ChatContext) -> bool:
    """Whether a context is an anonymous visitor's own, who has not become anybody yet."""
    own = owner_name(context.kit, context.chat, context.visitor)
    return context.visitor.is_anonymous and context.owner == own


def move(context: ChatContext, login: Visitor) -> None:
    """Let a context stand for a login; the code of the site sees the visitor that it was told."""
    context["owner"] = owner_name(context.kit, context.chat, login)
    context.owner_key = login.key
