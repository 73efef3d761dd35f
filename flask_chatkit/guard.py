"""May this request be here: where it comes from, what it carries, how much of it there is."""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response

from .errors import BadRequest, ForbiddenOrigin, TooLarge

#: Bytes of a body of the small calls, which carry next to nothing.
MAX_BODY = 4096

#: What samples on the web let a browser choose, and what decides it here.
_CHOSEN_HERE = {
    "user": "the login or the visitor cookie tells who the visitor is",
    "user_id": "the login or the visitor cookie tells who the visitor is",
    "workflow": "the chat's declaration names the workflow",
    "workflow_id": "the chat's declaration names the workflow",
}


def trusted_origin(request: Request, trusted: AbstractSet[str]) -> str | None:
    """The foreign origin that asks, if the site trusts it; None for everybody else."""
    origin = request.headers.get("Origin", "")
    return origin if origin in trusted else None


def check_origin(request: Request, trusted: AbstractSet[str]) -> None:
    """Let through what comes from the site's own pages and from trusted origins.

    ``Sec-Fetch-Site`` comes first: no script can set it, and it is right behind a proxy that
    changes the ``Host``. A client that sends neither header is no browser, and carries nobody's
    cookies but its own.

    :raises ForbiddenOrigin: another origin asks.
    """
    if trusted_origin(request, trusted):
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        allowed = site in {"same-origin", "none"}
    else:
        origin = request.headers.get("Origin")
        allowed = origin is None or origin == own_origin(request)
    if not allowed:
        origin = request.headers.get("Origin", "none")[:100]
        raise ForbiddenOrigin(
            detail=f"the page's origin is {origin!a}, the site's own {own_origin(request)!a}; if "
            "they should be equal see ProxyFix, else CHATKIT_TRUSTED_ORIGINS"
        )


def own_origin(request: Request) -> str:
    """The origin of the site, as the request shows it."""
    parts = urlsplit(request.host_url)
    return f"{parts.scheme}://{parts.netloc}"


def allow_origin(request: Request, response: Response, trusted: AbstractSet[str]) -> None:
    """Answer a trusted origin with exact CORS headers, and nobody else with any."""
    if not trusted:
        return
    response.vary.add("Origin")
    origin = trusted_origin(request, trusted)
    if origin is None:
        return
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Allow-Credentials"] = "true"
    headers["Access-Control-Expose-Headers"] = "Retry-After"
    if request.method == "OPTIONS":
        headers["Access-Control-Allow-Methods"] = "GET, POST, PUT"
        headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-CSRFToken"
        headers["Access-Control-Max-Age"] = "600"


def check_body(request: Request) -> None:
    """Refuse a body that says anything: there is nothing for a browser to choose.

    :raises BadRequest: it is no JSON object, or has a field, which is named.
    :raises TooLarge: it has more than ``MAX_BODY`` bytes.
    """
    raw = read_body(request, MAX_BODY)
    if not raw and not request.content_type:
        return
    check_json(request)
    try:
        body = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    for name in body:
        reason = _CHOSEN_HERE.get(name, "this call takes no fields")
        raise BadRequest(f"The field {name[:64]!r} is not accepted: {reason}.")


def check_json(request: Request) -> None:
    """Refuse a body that does not say that it is JSON.

    Any page can post a form here without asking first; JSON it can't.

    :raises BadRequest: it says something else.
    """
    if request.mimetype != "application/json":
        raise BadRequest("Send JSON, with Content-Type: application/json.")


def read_body(request: Request, limit: int) -> bytes:
    """Read a body.

    :param limit: the most bytes that it may have.
    :raises BadRequest: it did not arrive whole.
    :raises TooLarge: it has more bytes.
    """
    # One byte more than accepted: a body without a length is cut at the limit, and not refused.
    request.max_content_length = limit + 1
    try:
        raw = request.get_data(cache=True)
    except RequestEntityTooLarge:
        raise TooLarge(f"The body has more than {limit} bytes.") from None
    except Exception:  # noqa: BLE001  each server has an exception of its own for a broken body
        raise BadRequest("The body did not arrive whole.") from None
    if len(raw) > limit:
        raise TooLarge(f"The body has more than {limit} bytes.")
    return raw


def bearer(request: Request) -> str | None:
    """The token that the widget of a served chat sends along."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None
