"""Where a request comes from: the site's own pages, a trusted origin, or another one."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

from flask import Request

from .visitor import HEADER as VISITOR_HEADER


def trusted_origin(request: Request, trusted: AbstractSet[str]) -> str | None:
    """The foreign origin that asks, if the site trusts it; None for everybody else."""
    origin = request.headers.get("Origin", "")
    return origin if origin in trusted else None


def is_foreign(request: Request) -> bool:
    """Whether a page of another origin asks, be it trusted or not; a sibling host is another one.

    A link that is followed is the visitor's own step: what comes is a page of its own, which the
    one with the link can't read. A client that tells nothing is no browser.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None:
        return origin is not None and origin != own_origin(request)
    is_link = origin is None and request.headers.get("Sec-Fetch-Mode") == "navigate"
    return site not in {"same-origin", "none"} and not is_link


def counts_login(request: Request, login_origins: AbstractSet[str]) -> bool:
    """Whether the page that asks may chat as whoever is signed in."""
    return not is_foreign(request) or trusted_origin(request, login_origins) is not None


def token_origin(
    request: Request, trusted: AbstractSet[str], login_origins: AbstractSet[str]
) -> str | None:
    """The origin of a page whose visitor its token tells; None for one whose visitor a cookie does.

    On the site's own pages a token counts for nothing, also where their origin is listed as a
    trusted one: otherwise whoever gets such a page to send theirs would have its visitor chat under
    an identity that they hold as well, and read along. It is no error either: the cookie decides,
    as if there were no token. On another origin's pages the cookie counts for nothing: they would
    read and write as somebody who is not theirs. Pages that chat as the login have the choice.
    """
    if not is_foreign(request):
        return None
    if trusted_origin(request, login_origins) and VISITOR_HEADER not in request.headers:
        return None
    # What asks without an origin, as a picture does, has no token either.
    return trusted_origin(request, trusted) or ""


def own_origin(request: Request) -> str:
    """The origin of the site, as the request shows it."""
    parts = urlsplit(request.host_url)
    return f"{parts.scheme}://{parts.netloc}"
