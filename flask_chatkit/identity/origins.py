"""Where a request comes from: the site's own pages, a trusted origin, or another one."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Request

from ..config import Settings
from .token import HEADER as VISITOR_HEADER


@dataclass(frozen=True)
class Origin:
    """Where a request comes from, and what that allows.

    :param name: the ``Origin`` header; None without one.
    :param is_allowed: whether the call is accepted: from the site's own page, a trusted origin, or
        a client that is no browser.
    :param trusted: the foreign origin, if ``CHATKIT_TRUSTED_ORIGINS`` lists it; else None.
    :param counts_login: whether the page chats as whoever is signed in.
    :param token: the origin whose pages identify their visitor by a token; empty where there is
        none to have a token, None where the cookie identifies the visitor.
    """

    name: str | None
    is_allowed: bool
    trusted: str | None
    counts_login: bool
    token: str | None

    @classmethod
    def of(cls, request: Request, settings: Settings) -> Origin:
        """Find where a request comes from.

        ``Sec-Fetch-Site`` comes first: no script can set it, and it is right behind a proxy that
        changes the ``Host``. A client that sends neither it nor ``Origin`` is no browser, and
        carries nobody's cookies but its own. A sibling host is another origin. A link that is
        followed is the visitor's own step: the page with the link cannot read what comes.

        On the site's own pages a token counts for nothing, even if their origin is listed as
        trusted: whoever gets such a page to send theirs would otherwise have its visitor chat
        under an identity that both hold, and read along. It is no error either: the cookie
        decides, as if there were no token. On another origin's pages the cookie counts for
        nothing: they would read and write as somebody else. Pages that chat as the login may do
        either.
        """
        headers = request.headers
        name, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
        if site is None:
            is_own = name is None or name == own_origin(request)
            is_foreign = not is_own
        else:
            is_own = site in {"same-origin", "none"}
            is_link = name is None and headers.get("Sec-Fetch-Mode") == "navigate"
            is_foreign = not is_own and not is_link
        trusted = name if name in settings.trusted_origins else None
        is_login_origin = name in settings.login_origins
        by_cookie = not is_foreign or (is_login_origin and VISITOR_HEADER not in headers)
        return cls(
            name=name,
            is_allowed=is_own or trusted is not None,
            trusted=trusted,
            counts_login=not is_foreign or is_login_origin,
            token=None if by_cookie else trusted or "",
        )


def trusted_origin(request: Request, trusted: AbstractSet[str]) -> str | None:
    """The foreign origin of a request, if the site trusts it; else None."""
    origin = request.headers.get("Origin", "")
    return origin if origin in trusted else None


def own_origin(request: Request) -> str:
    """The origin of the site, as the request names it."""
    parts = urlsplit(request.host_url)
    return f"{parts.scheme}://{parts.netloc}"
