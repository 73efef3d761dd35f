"""What runs before and after each view of the kit."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlsplit

from flask import Blueprint, Request, Response, current_app, redirect
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ..activity import reason_of
from ..errors import NotFound, Unauthenticated
from ..identity.probes import HEADER as PROBE_HEADER
from ..limits import bodies
from ..widget import assets
from ..widget.context import find_place
from . import csrf, guard, probes
from .caller import Caller, current_caller
from .errors import error_response, note_refusal
from .pages import embed_js
from .rules import ATTACHMENT, EMBED_SCRIPT, EMBED_WIDGET, METHODS, PAGE


def before_request() -> ResponseReturnValue | None:
    """Decide, before the site's own hooks on the kit, whether the request is accepted at all."""
    caller = current_caller()
    kit, request, endpoint = caller.kit, caller.request, caller.endpoint
    if not kit.settings.enabled:
        raise NotFound
    if endpoint in METHODS:
        if request.method == "OPTIONS":
            return _preflight()
        if _is_visit(request) and "GET" not in METHODS[endpoint]:
            # A login that knows no better sends visitors back to the call that it had to refuse.
            caller.response = cast("Response", redirect(find_place(kit, caller.chat).page))
            return caller.response
        if PROBE_HEADER in request.headers:
            caller.response = probes.answer(kit, request)
            return caller.response
        if endpoint != ATTACHMENT:  # which checks its link first
            guard.check_origin(request, caller.origin)
        if request.method not in METHODS[endpoint]:
            raise MethodNotAllowed(sorted(METHODS[endpoint]))
    # Files are sent here, before a site's guard of the kit: public pages show widgets, too.
    elif endpoint == EMBED_SCRIPT:
        return embed_js(caller)
    elif endpoint == "static":
        filename = (request.view_args or {})["filename"]
        blueprint = cast("Blueprint", current_app.blueprints[kit.name])
        return assets.send(request, filename, blueprint.get_send_file_max_age(filename))
    return None


def after_request(response: Response) -> Response:
    """Make sure that an API call is answered with JSON, whatever a site's hooks made of it."""
    caller = current_caller()
    kit, request, endpoint = caller.kit, caller.request, caller.endpoint
    if endpoint == PAGE:
        # Only the site, and whom it trusts, may frame a page that chats as the visitor.
        framers = " ".join(["'self'", *sorted(kit.settings.trusted_origins)])
        response.headers.setdefault("Content-Security-Policy", f"frame-ancestors {framers}")
    if endpoint not in METHODS:
        return response
    if request.method == "OPTIONS" and kit.settings.enabled:
        response = _preflight()
    elif response is not caller.response:
        response = _as_json(caller, response)
    if 400 <= response.status_code < 500 and not caller.is_refused:
        _note_site_refusal(caller, response)
    if "Cache-Control" not in response.headers:
        response.cache_control.no_store = True
    if caller.is_transferred:
        kit.cookie.clear(request, response)
    if endpoint != EMBED_WIDGET:
        response.vary.add("Cookie")
    if kit.settings.trusted_origins:
        guard.allow_origin(request, response, caller.origin, _site_headers(caller))
    bodies.end_unread(request, response)
    return response


def _as_json(caller: Caller, response: Response) -> Response:
    """The response, if it is JSON; else an error with its status."""
    if response.is_json or _is_same_path(caller, response):
        return response
    # A guard redirected the visitor to a login page, or an app-wide one answered with HTML.
    status = response.status_code
    error = HTTPException()
    error.code = status if status >= 400 else Unauthenticated.code
    retry_after, login = response.headers.get("Retry-After"), response.location
    response = error_response(caller, error)
    if retry_after is not None:
        response.headers["Retry-After"] = retry_after
    if login and status < 400:
        response.headers[guard.SIGN_IN] = login
    return response


def _note_site_refusal(caller: Caller, response: Response) -> None:
    """Note that a hook or a handler of the site's own refused without an error of ours."""
    note_refusal(caller, reason_of(response.status_code), response.status_code)
    if csrf.is_refused(response):
        response.headers[guard.REASON] = csrf.REASON
        caller.kit.warn_csrf()


def _is_visit(request: Request) -> bool:
    """Whether a browser is on its way to a page, and no script of one calls."""
    headers = request.headers
    return request.method == "GET" and headers.get("Sec-Fetch-Mode") == "navigate"


def _site_headers(caller: Caller) -> tuple[str, ...]:
    """The request headers that the chat's declaration passes to the site's code."""
    try:
        return getattr(caller.chat, "headers", ())
    except HTTPException:
        return ()  # there is no such chat


def _preflight() -> Response:
    return current_app.response_class(status=204)


def _is_same_path(caller: Caller, response: Response) -> bool:
    """Whether a redirect only changes the scheme or host, as https enforcement does."""
    request = caller.request
    return bool(
        response.location and urlsplit(response.location).path == request.root_path + request.path
    )
