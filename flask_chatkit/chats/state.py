"""The state variables of a chat, for the visitor of one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from flask import current_app

from ..errors import ConfigurationError, Misconfigured
from ..identity.visitor import Visitor
from .checks import StateValue, check_state_variables, takes
from .served import Chat


def state_variables(chat: Chat, visitor: Visitor) -> dict[str, StateValue] | None:
    """The chat's state variables for the visitor of this request; None if it declares none.

    A function of the site's may take the visitor: on a page of another origin that is not
    whoever is signed in, though the request may have their cookies.

    :raises Misconfigured: the site's function returned something out of OpenAI's bounds.
    """
    source = chat.state_variables
    if source is None or isinstance(source, Mapping):
        return None if source is None else dict(source)
    given = () if takes(source) else (visitor,)
    variables: object = current_app.ensure_sync(cast("Callable[..., object]", source))(*given)
    try:
        return check_state_variables(variables, chat.name)
    except ConfigurationError as error:
        raise Misconfigured(detail=str(error)) from None
