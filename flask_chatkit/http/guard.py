"""May this request be here: where it comes from, what it carries, how much of it there is."""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout
from werkzeug.wrappers import Response

from ..errors import BadRequest, ForbiddenOrigin, TooLarge
from ..identity.origins import own_origin, trusted_origin
from ..identity.visitor import HEADER as VISITOR_HEADER
from ..limits.bodies import in_time
from ..options.element import PRESENTATION

#: Bytes of a body of the small calls, which carry next to nothing.
MAX_BODY = 4096
#: Bytes of a query.
MAX_QUERY = 4096

#: The header that tells the widget more of a failure than its code does.
REASON = "X-ChatKit-Reason"

#: What samples on the web let a browser choose, and what decides it here.
_CHOSEN_HERE = {
    "user": "the login or the visitor cookie tells who the visitor is",
    "user_id": "the login or the visitor cookie tells who the visitor is",
    "workflow": "the chat's declaration names the workflow",
    "workflow_id": "the chat's declaration names the workflow",
}

#: Options of the macros that say nothing on a page of another origin, and what does in their place.
_NOT_EMBEDDED = {
    "kit": "the address of embed.js tells the kit and the chat",
    "nonce": "the nonce of the page's own script tag is used",
}


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
    shown = ["Retry-After", *([REASON] if REASON in headers else [])]
    headers["Access-Control-Expose-Headers"] = ", ".join(shown)
    if request.method == "OPTIONS":
        headers["Access-Control-Allow-Methods"] = "GET, POST, PUT"
        headers["Access-Control-Allow-Headers"] = (
            f"Authorization, Content-Type, X-CSRFToken, {VISITOR_HEADER}"
        )
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


def read_query(request: Request) -> tuple[str, dict[str, Any]]:
    """Read what a page of another origin wants embedded: the variant, and the macro's options.

    :raises BadRequest: it is not of the accepted form; what is wrong is named.
    :raises TooLarge: the query has more than ``MAX_QUERY`` bytes.
    """
    if len(request.query_string) > MAX_QUERY:
        raise TooLarge(f"The query has more than {MAX_QUERY} bytes.", limit=f"{MAX_QUERY} bytes")
    for name, values in request.args.lists():
        if name not in {"variant", "options"}:
            raise BadRequest(f"The parameter {name[:64]!r} is not accepted: variant, options are.")
        if len(values) > 1:
            raise BadRequest(f"The parameter {name!r} is there more than once.")
    variant = request.args.get("variant", "floating")
    if variant not in PRESENTATION:
        raise BadRequest(f"The variant must be one of {', '.join(PRESENTATION)}.")
    return variant, _options(request.args.get("options", "{}"))


def _options(given: str) -> dict[str, Any]:
    try:
        options = json.loads(given)
        # Neither infinities nor halves of a character, which JSON's escapes let pass.
        json.dumps(options, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadRequest("The options are not JSON.") from None
    if not isinstance(options, dict):
        raise BadRequest("The options must be a JSON object.")
    for name, reason in _NOT_EMBEDDED.items():
        if name in options:
            raise BadRequest(f"The option {name!r} is not accepted: {reason}.")
    return options


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
    :raises RequestTimeout: it did not arrive in time, where the server looks at that.
    :raises TooLarge: it has more bytes.
    """
    # One byte more than accepted: a body without a length is cut at the limit, and not refused.
    request.max_content_length = limit + 1
    try:
        with in_time(request, limit):
            raw = request.get_data(cache=True)
    except RequestEntityTooLarge:
        raise _too_large(limit) from None
    except RequestTimeout:
        raise
    except Exception:  # noqa: BLE001  each server has an exception of its own for a broken body
        raise BadRequest("The body did not arrive whole.") from None
    if len(raw) > limit:
        raise _too_large(limit)
    return raw


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body has more than {limit} bytes.", limit=f"{limit} bytes")


def bearer(request: Request) -> str | None:
    """The token that the widget of a served chat sends along."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None
