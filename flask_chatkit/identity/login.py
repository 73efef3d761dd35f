"""The site's login, as its ``user_loader`` returns it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import cast
from uuid import UUID

from flask import current_app

from ..errors import Misconfigured
from .visitor import LONGEST_ID, Visitor

UserId = str | int | UUID
UserLoader = Callable[[], UserId | None] | Callable[[], Awaitable[UserId | None]]


def login_visitor(loader: UserLoader) -> Visitor | None:
    """Return the visitor who is signed in; None if nobody is.

    :param loader: the site's function, sync or async.
    :raises Misconfigured: it returned something that is no id.
    """
    user_id: object = current_app.ensure_sync(cast("Callable[[], object]", loader))()
    return None if user_id is None else Visitor.login(_checked_id(user_id))


def _checked_id(user_id: object) -> str:
    """The id as a string: an object of another type may change its string, or share it."""
    if inspect.iscoroutine(user_id):
        user_id.close()
    if isinstance(user_id, (int, UUID)) and not isinstance(user_id, bool):
        return str(user_id)
    if isinstance(user_id, str) and 0 < len(user_id) <= LONGEST_ID and user_id.isprintable():
        return user_id
    raise Misconfigured(
        detail=f"user_loader must return a printable string of at most {LONGEST_ID} characters, "
        "a whole number or a UUID, or None for an "
        f"anonymous visitor, not {type(user_id).__name__}"
    )
