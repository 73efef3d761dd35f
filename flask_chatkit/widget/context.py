"""The request that a widget is rendered in: its addresses, its language, its nonce."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import current_app, request, url_for

from ..chats.checks import DEFAULT
from ..chats.served import Chat
from ..errors import Misconfigured, NotFound, OptionError
from ..options.values import closest_locale
from ..parsers import LOOPBACK
from ..registry import ChatKitState


class Place(NamedTuple):
    """All that a widget's HTML depends on beside its chat and its options.

    :param page: the URL of the chat's own page; the chat's calls are below it.
    :param kit: the URL that the kit is mounted at.
    :param files: the URL that the kit's files are below.
    :param at_home: whether this is the chat's own page.
    :param is_local: whether the site is open on the visitor's own machine.
    :param locale: the visitor's locale, if the site uses Flask-Babel.
    :param number: the widget's number on its page.
    """

    page: str
    kit: str
    files: str
    at_home: bool
    is_local: bool
    locale: str | None
    number: int


def find_place(kit: ChatKitState, chat: Chat, number: int = 0, *, external: bool = False) -> Place:
    """The place of a widget in the current request.

    :param external: whether URLs are absolute.
    """

    def at(endpoint: str, **values: Any) -> str:
        return url_for(f"{kit.name}.{endpoint}", _external=external, **values)

    page = at("page", chat=None if chat.name == DEFAULT else chat.name)
    return Place(
        page=page,
        kit=at("page") if chat.name != DEFAULT else page,
        files=at("static", filename=""),
        at_home=request.root_path + request.path == page,
        is_local=urlsplit(request.host_url).hostname in LOOPBACK,
        locale=_babel_locale(),
        number=number,
    )


def find_chat(kit: ChatKitState, name: object) -> Chat:
    """The chat that a macro names.

    :raises OptionError: there is none, or it is not set up; names the declared ones.
    """
    if not isinstance(name, str):
        raise OptionError(f"the first argument is a chat's name, not {type(name).__name__}")
    try:
        return kit.chat(name)
    except (NotFound, Misconfigured) as error:
        known = ", ".join(sorted(kit.chats)) or "none"
        reason = error.detail or f"there is no chat {name!r}"
        raise OptionError(f"{reason}; declared chats: {known}") from None


def find_nonce(given: object) -> object:
    """The CSP nonce: the option's, else that of a ``csp_nonce`` of the site's templates."""
    if given is None:
        given = current_app.jinja_env.globals.get("csp_nonce")
    return given() if callable(given) else given


def _babel_locale() -> str | None:
    if "babel" not in current_app.extensions:
        return None
    from flask_babel import get_locale  # type: ignore[import-untyped]

    locale = get_locale()
    return closest_locale(str(locale)) if locale else None
