"""How errors are answered: as JSON, logged and counted once."""

from __future__ import annotations

import logging
import re
from typing import Any

from flask import Response, current_app, jsonify
from limits import RateLimitItem
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.http import HTTP_STATUS_CODES

from ..activity import reason_of
from ..errors import API_ERRORS, ApiError, BadRequest, Misconfigured
from ..runtime._upstream import find_error_handler
from . import csrf, guard
from .caller import Caller, current_caller
from .rules import EMBED_SCRIPT, METHODS

logger = logging.getLogger("flask_chatkit")

#: The statuses that are answered as JSON: those of our errors, and what a site's own hooks raise.
HANDLED = tuple(
    sorted({error.code for error in API_ERRORS} | {405, 406, 408, 409, 411, 415, 422, 423, 451})
)


def answer_error(error: HTTPException) -> Any:
    """Answer an error as JSON; on the full page and for its files, as Flask would."""
    caller = current_caller()
    if caller.endpoint not in METHODS and caller.endpoint != EMBED_SCRIPT:
        # Flask asks a blueprint's handlers before the application's, whose pages these are.
        handler = find_error_handler(error)
        return error if handler is None else current_app.ensure_sync(handler)(error)
    return error_response(caller, error)


def error_response(caller: Caller, error: HTTPException) -> Response:
    """Make the JSON of an error, log it and count a refusal."""
    reason = getattr(error, "reason", None)
    if not isinstance(error, ApiError):
        if csrf.is_refusal(error):
            reason = csrf.REASON
            caller.kit.warn_csrf()
        error = _as_api_error(error)
    status = error.code or 500
    slug, message = _slug_and_message(error, status)
    detail = getattr(error, "detail", None)
    if status >= 500 or detail:
        logger.log(
            logging.ERROR if status >= 500 else logging.WARNING,
            "%s answered %s %s, request id %s%s",
            caller.request.endpoint,
            status,
            slug,
            caller.request_id,
            f": {detail}" if detail else "",
        )
    if status < 500:
        refusal = getattr(error, "refusal", None) or reason_of(status)
        limit = error.limit if isinstance(error, ApiError) else None
        note_refusal(caller, refusal, status, limit, caller.request_id)
    response = jsonify(
        error={"code": slug, "message": message, "request_id": caller.request_id}, message=message
    )
    response.status_code = status
    response.cache_control.no_store = True
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.valid_methods or ())
    retry_after = getattr(error, "retry_after", None)
    for header, value in (("Retry-After", retry_after), (guard.REASON, reason)):
        if value is not None:
            response.headers[header] = str(value)
    return response


def _as_api_error(error: HTTPException) -> HTTPException:
    """Our error for one of Werkzeug's that a hook of the site's raised."""
    for ours in API_ERRORS:
        # A 403 of the site's own is no matter of origins, and a 500 none of configuration.
        if error.code == ours.code and ours.slug not in {"forbidden_origin", "misconfigured"}:
            limit = getattr(getattr(error, "limit", None), "limit", None)
            return ours(
                error.description if error.code == BadRequest.code else None,
                retry_after=limit.get_expiry() if isinstance(limit, RateLimitItem) else None,
                limit=None if limit is None else f"{limit} by the site",
            )
    return error


def _slug_and_message(error: HTTPException, status: int) -> tuple[str, str]:
    if not isinstance(error, ApiError):
        message = HTTP_STATUS_CODES.get(status, "Error")
        return re.sub(r"\W+", "_", message.lower()), message
    message = str(error.description)
    if error.detail and current_app.debug and isinstance(error, Misconfigured):
        message = f"{message} ({error.detail})"
    return error.slug, message


def note_refusal(
    caller: Caller,
    reason: str,
    status: int,
    limit: str | None = None,
    request_id: str | None = None,
) -> None:
    """Log, count and signal that the request is refused.

    :param reason: one of :data:`flask_chatkit.activity.REASONS`.
    :param limit: what was exceeded.
    :param request_id: the id in the visitor's response, if it names one.
    """
    caller.is_refused = True
    caller.kit.activity.refused(
        reason,
        chat=caller.chat_name,
        visitor=caller.identified,
        status=status,
        limit=limit,
        request_id=request_id,
    )
