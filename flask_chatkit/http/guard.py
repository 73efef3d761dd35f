"""Guards of requests: their origin, their body and its size, their query."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout
from werkzeug.wrappers import Response

from ..errors import BadRequest, ForbiddenOrigin, TooLarge
from ..identity.origins import Origin, own_origin
from ..identity.sessions import HEADER as TOKEN_HEADER
from ..identity.token import HEADER as VISITOR_HEADER
from ..limits.bodies import in_time
from ..options.macros import PRESENTATION
from ..server.context import ANSWER_HEADER, ANSWER_ID_HEADER

#: Most bytes of a body of the small calls, which carry next to nothing.
MAX_BODY = 4096
#: Most bytes of a query.
MAX_QUERY = 4096

#: The header with more about a failure than its code, for the widget.
REASON = "X-ChatKit-Reason"
#: The header with the address of the site's login, for the widget.
SIGN_IN = "X-ChatKit-Sign-In"

#: Fields that samples on the web let a browser choose, and what decides them here.
_CHOSEN_HERE = {
    "user": "the login or the visitor cookie identifies the visitor",
    "user_id": "the login or the visitor cookie identifies the visitor",
    "workflow": "the chat's declaration names the workflow",
    "workflow_id": "the chat's declaration names the workflow",
}

#: Options of the macros that have no effect on a page of another origin, and what has instead.
_NOT_EMBEDDED = {
    "kit": "the address of embed.js names the kit and the chat",
    "nonce": "the nonce of the page's own script tag is used",
}


def check_origin(request: Request, origin: Origin) -> None:
    """Accept the site's own pages and trusted origins.

    :raises ForbiddenOrigin: the request comes from another origin.
    """
    if not origin.is_allowed:
        name = (origin.name or "none")[:100]
        raise ForbiddenOrigin(
            detail=f"the page's origin is {name!a}, the site's own {own_origin(request)!a}; if "
            "they should be equal see ProxyFix, else CHATKIT_TRUSTED_ORIGINS"
        )


def allow_origin(
    request: Request, response: Response, origin: Origin, site_headers: Sequence[str]
) -> None:
    """Set exact CORS headers for a trusted origin, and none for others.

    :param site_headers: headers that the chat's declaration names, which a page may send as well.
    """
    response.vary.add("Origin")
    if origin.trusted is None:
        return
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = origin.trusted
    headers["Access-Control-Allow-Credentials"] = "true"
    marks = (REASON, SIGN_IN, ANSWER_HEADER, ANSWER_ID_HEADER)
    exposed = ["Retry-After", *(name for name in marks if name in headers)]
    headers["Access-Control-Expose-Headers"] = ", ".join(exposed)
    if request.method == "OPTIONS":
        headers["Access-Control-Allow-Methods"] = "GET, POST, PUT"
        own = ("Authorization", "Content-Type", "X-CSRFToken", TOKEN_HEADER, VISITOR_HEADER)
        headers["Access-Control-Allow-Headers"] = ", ".join([*own, *site_headers])
        headers["Access-Control-Max-Age"] = "600"


def check_body(request: Request) -> None:
    """Refuse a body with any field: there is nothing for a browser to choose.

    :raises BadRequest: the body is no JSON object, or has a field, which the message names.
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
    """Read what a page of another origin embeds.

    :returns: the variant, and the macro's options.
    :raises BadRequest: the query is not of the accepted form; the message names what is wrong.
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
        # Refuse infinities and lone surrogates, which JSON's escapes accept.
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
    """Refuse a body whose ``Content-Type`` is not JSON.

    Any page can post a form here without a preflight, but not JSON.

    :raises BadRequest: the type is another one.
    """
    if request.mimetype != "application/json":
        raise BadRequest("Send JSON, with Content-Type: application/json.")


def read_body(request: Request, limit: int) -> bytes:
    """Read a body.

    :param limit: most bytes of it.
    :raises BadRequest: it did not arrive whole.
    :raises RequestTimeout: it did not arrive in time, where the server's connection is known.
    :raises TooLarge: it has more bytes.
    """
    # One byte more than accepted: a body without a length is cut at the limit, not refused.
    request.max_content_length = limit + 1
    try:
        with in_time(request, limit):
            raw = request.get_data(cache=True)
    except RequestEntityTooLarge:
        raise _too_large(limit) from None
    except RequestTimeout:
        raise
    except Exception:  # noqa: BLE001  servers raise exceptions of their own for a broken body
        raise BadRequest("The body did not arrive whole.") from None
    if len(raw) > limit:
        raise _too_large(limit)
    return raw


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body has more than {limit} bytes.", limit=f"{limit} bytes")
