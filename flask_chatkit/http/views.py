"""The HTTP surface: one thin view per route, and what surrounds them all."""

from __future__ import annotations

import logging
import random
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, g, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue
from limits import RateLimitItem
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.http import HTTP_STATUS_CODES

from ..activity import reason_of
from ..chats.declarations import DEFAULT, Chat, ServedChat
from ..errors import (
    API_ERRORS,
    ApiError,
    BadRequest,
    Misconfigured,
    NotFound,
    OptionError,
    RateLimited,
    Unauthenticated,
)
from ..identity.sessions import EXPIRED, SessionRecord
from ..identity.visitor import Visitor
from ..limits import bodies
from ..limits.budget import Budget
from ..limits.concurrency import Slot
from ..limits.ratelimit import MESSAGE, address_of
from ..owner.upkeep import prune_after
from ..registry import VISITOR, ChatKitState, current_kit
from ..runtime.processes import PerProcess
from ..server.context import ChatContext, owner_name
from ..widget import assets
from ..widget.html import describe, embed, page_context
from . import guard, probes

if TYPE_CHECKING:
    from ..server.attachments.http import Uploads

logger = logging.getLogger("flask_chatkit")

#: Where a request's environment has that its refusal was noted.
_REFUSED = "flask_chatkit.refused"
#: Not the module's own generator, which a site may have seeded.
_ids = PerProcess(random.Random)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: Seconds for which a browser keeps what a page of another origin embeds, and the script for it.
EMBED_SECONDS = 300


def secret(chat: str = DEFAULT) -> ResponseReturnValue:
    """Mint a secret for whoever asks."""
    kit = current_kit()
    declared = kit.chat(chat)
    guard.check_body(request)
    return _mint(kit, declared, kit.identify(request) or Visitor.new())


def refresh(session_id: str, chat: str = DEFAULT) -> ResponseReturnValue:
    """Mint anew for the same visitor, and cancel the session that is replaced."""
    kit = current_kit()
    declared = kit.chat(chat)
    guard.check_body(request)
    visitor, record = _own(kit, declared, session_id)
    status = kit.sessions.status(record)
    if status == "cancelled":
        raise NotFound
    response = _mint(kit, declared, visitor)
    if status == "active":
        kit.sessions.replace(record)
    return response


def validate(session_id: str, chat: str = DEFAULT) -> ResponseReturnValue:
    """Tell whether a session is still good."""
    kit = current_kit()
    _, record = _own(kit, kit.chat(chat), session_id)
    return jsonify(status=kit.sessions.status(record), expires_at=record.expires_at)


def cancel(session_id: str, chat: str = DEFAULT) -> ResponseReturnValue:
    """End a session, upstream too."""
    kit = current_kit()
    declared = kit.chat(chat)
    guard.check_body(request)
    visitor, record = _own(kit, declared, session_id)
    if kit.sessions.status(record) == "active":
        _budget(kit, declared, visitor).spend("cancel")
        with kit.activity.watch_upstream(declared.name, visitor):
            kit.sessions.cancel(record)
    return jsonify(status="cancelled")


def api(chat: str = DEFAULT) -> ResponseReturnValue:
    """Answer a call of ChatKit's protocol, in a served chat."""
    kit = current_kit()
    declared = _served(kit, chat)
    guard.check_json(request)
    visitor = _speaker(kit, declared)
    endpoint = kit.service.dispatcher(declared)
    context = _context(kit, declared, visitor)
    budget = _budget(kit, declared, visitor)
    with _begin(kit, context) as slot:
        body = guard.read_body(request, endpoint.max_body)
        answer = endpoint.answer(body, context, budget, slot)
        return _whole(slot.hold(prune_after(kit, answer), request.environ))


def attachments(chat: str = DEFAULT) -> ResponseReturnValue:
    """Take a file in one call."""
    kit = current_kit()
    declared = _served(kit, chat)
    visitor = _speaker(kit, declared)
    files = _files(kit, declared)
    context = _context(kit, declared, visitor)
    with _begin(kit, context) as slot:
        slot.check()
        budget = _budget(kit, declared, visitor)
        budget.spend(MESSAGE)
        response = files.receive(request, context, budget)
        response = prune_after(kit, response, took_file=True)
        return _whole(slot.hold(response, request.environ))


def attachment(attachment_id: str, chat: str = DEFAULT) -> ResponseReturnValue:
    """Hand out a file; or take one that was announced before."""
    kit = current_kit()
    declared = _served(kit, chat)
    files = _files(kit, declared)
    writes = request.method == "PUT"
    link = request.args.get("link")
    if link is None:
        guard.check_origin(request, kit.settings.trusted_origins)
        context = _context(kit, declared, _speaker(kit, declared))
    else:
        # ChatKit's frame is another site: its pictures come without a cookie, by their link alone.
        owner = files.linked(link, attachment_id, declared.name, writes=writes)
        # Nobody is known of a page that embeds the chat: it can't send a picture's request the
        # token of its visitor.
        context = _context(kit, declared, kit.identify(request) or Visitor.new(), owner)
    with _begin(kit, context) as slot:
        slot.check()
        _charge_call(kit, context.visitor, context.owner)
        if writes:
            response = files.fill(request, attachment_id, context)
            response = prune_after(kit, response, took_file=True)
        else:
            response = files.send(request, attachment_id, context)
        return _whole(slot.hold(response, request.environ))


def config(chat: str = DEFAULT) -> ResponseReturnValue:
    """Tell what a widget may know of the chat."""
    kit = current_kit()
    declared = kit.chat(chat)
    _charge_call(kit)
    return jsonify(describe(kit, declared))


def page(chat: str = DEFAULT) -> ResponseReturnValue:
    """Show the chat on a page of its own."""
    kit = current_kit()
    return render_template("chatkit/page.html", **page_context(kit, kit.chat(chat)))


def embed_js(chat: str = DEFAULT) -> ResponseReturnValue:  # noqa: ARG001  its rule has a chat
    """Hand out the script that embeds the chat; it is the same for all chats and visitors.

    Of a chat that does not exist, too: an answer that is no script would be dropped without a word,
    and what the script asks for next tells the page's console.
    """
    return assets.send(request, "embed.js", EMBED_SECONDS)


def embed_json(chat: str = DEFAULT) -> ResponseReturnValue:
    """Render the widget for a page of another origin, which may read it if it is trusted."""
    kit = current_kit()
    declared = kit.chat(chat)
    _charge_call(kit)
    variant, options = guard.read_query(request)
    try:
        response = jsonify(embed(kit, declared, variant, options))
    except OptionError as error:
        raise BadRequest(str(error)) from None
    except RecursionError:
        raise BadRequest("The options are nested too deeply.") from None
    # Nothing in it is the visitor's, but its words may be in their language: no proxy may keep it.
    response.cache_control.private = True
    response.cache_control.max_age = EMBED_SECONDS
    # Also where no origin is trusted: what the site's own pages may read is of no use to others.
    response.vary.add("Origin")
    return response


#: Rule, view, methods; each stands for the default chat and, after ``/<chat>``, for a named one.
RULES = (
    ("/secret", secret, "POST"),
    ("/session/<session_id>/refresh", refresh, "POST"),
    ("/session/<session_id>/validate", validate, "GET HEAD"),
    ("/session/<session_id>/cancel", cancel, "POST"),
    ("/api", api, "POST"),
    ("/attachments", attachments, "POST"),
    ("/attachments/<attachment_id>", attachment, "GET HEAD PUT"),
    ("/config", config, "GET HEAD"),
    ("/", page, "GET HEAD"),
    ("/embed.js", embed_js, "GET HEAD"),
    ("/embed.json", embed_json, "GET HEAD"),
)
#: The methods of each API call. Their rules take all: a wrong one is answered as JSON too.
_METHODS = {
    view.__name__: set(methods.split())
    for _, view, methods in RULES
    if view not in {page, embed_js}
}
METHODS = {
    name: ["GET", "POST", "PUT", "PATCH", "DELETE"] if name in _METHODS else ["GET"]
    for name in (view.__name__ for _, view, _ in RULES)
}

#: The statuses that are answered as JSON: those of our errors, and what a site's own hooks raise.
HANDLED = tuple(
    sorted({error.code for error in API_ERRORS} | {405, 406, 408, 409, 411, 415, 422, 423, 451})
)


def _endpoint(kit: ChatKitState) -> str:
    """The kit's own name of the endpoint; a blueprint that a site nests below has others."""
    return (request.endpoint or "").removeprefix(f"{kit.name}.")


def enter() -> ResponseReturnValue | None:
    """Decide, before a site's own hooks on the kit, whether the request may be here at all."""
    kit = current_kit()
    if not kit.settings.enabled:
        raise NotFound
    endpoint = _endpoint(kit)
    if endpoint in _METHODS:
        if request.method == "OPTIONS":
            return _preflight()
        probed = probes.answer(kit, request)
        if probed is not None:
            return _whole(probed)
        if endpoint != attachment.__name__:  # which looks at its link first
            guard.check_origin(request, kit.settings.trusted_origins)
        if request.method not in _METHODS[endpoint]:
            raise MethodNotAllowed(sorted(_METHODS[endpoint]))
    # The files are answered here, before a site's guard of the kit: public pages show widgets too.
    elif endpoint == embed_js.__name__:
        return embed_js()
    elif endpoint == "static":
        filename = (request.view_args or {})["filename"]
        blueprint = cast("Blueprint", current_app.blueprints[kit.name])
        return assets.send(request, filename, blueprint.get_send_file_max_age(filename))
    return None


def leave(response: Response) -> Response:
    """See to it that an API call is answered with JSON, whatever a site's hooks made of it."""
    kit = current_kit()
    endpoint = _endpoint(kit)
    if endpoint == "page":
        # Only the site, and whom it trusts, may frame a page that chats as the visitor.
        framers = " ".join(["'self'", *sorted(kit.settings.trusted_origins)])
        response.headers.setdefault("Content-Security-Policy", f"frame-ancestors {framers}")
    if endpoint not in _METHODS:
        return response
    if request.method == "OPTIONS" and kit.settings.enabled:
        response = _preflight()
    elif response is g.get("chatkit_whole"):
        pass
    elif not response.is_json and not _is_same_path(response):
        # A guard sent the visitor to a login page, or an app-wide one answered with HTML.
        status = response.status_code
        error = HTTPException()
        error.code = status if status >= 400 else Unauthenticated.code
        retry_after = response.headers.get("Retry-After")
        response = _answer(_ours(error))
        if retry_after is not None:
            response.headers["Retry-After"] = retry_after
    _note_sites_refusal(kit, response)
    if "Cache-Control" not in response.headers:
        response.cache_control.no_store = True
    if g.get("chatkit_adopted"):
        kit.cookie.clear(request, response)
    if endpoint != embed_json.__name__:
        response.vary.add("Cookie")
    guard.allow_origin(request, response, kit.settings.trusted_origins)
    bodies.end_unread(request, response)
    return response


def answer_error(error: HTTPException) -> Any:
    """Answer an error as JSON; on the full page and for its files, as Flask would."""
    if _endpoint(current_kit()) not in {*_METHODS, embed_js.__name__}:
        # Flask asks a blueprint's handlers before the application's, whose pages these are.
        handler = current_app._find_error_handler(error, [])  # noqa: SLF001  it has no other name
        return error if handler is None else current_app.ensure_sync(handler)(error)
    if not isinstance(error, ApiError):
        error = _ours(error)
    return _answer(error)


def _ours(error: HTTPException) -> HTTPException:
    """The error of ours that says what a hook of the site said with one of Werkzeug's."""
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


def _answer(error: HTTPException) -> Response:
    status = error.code or 500
    detail = getattr(error, "detail", None)
    if isinstance(error, ApiError):
        slug, message = error.slug, str(error.description)
        if detail and current_app.debug and isinstance(error, Misconfigured):
            message = f"{message} ({detail})"
    else:
        message = HTTP_STATUS_CODES.get(status, "Error")
        slug = re.sub(r"\W+", "_", message.lower())
    request_id = _request_id()
    if status >= 500 or detail:
        logger.log(
            logging.ERROR if status >= 500 else logging.WARNING,
            "%s answered %s %s, request id %s%s",
            request.endpoint,
            status,
            slug,
            request_id,
            f": {detail}" if detail else "",
        )
    if status < 500:
        refusal = getattr(error, "refusal", None) or reason_of(status)
        limit = error.limit if isinstance(error, ApiError) else None
        _note_refusal(current_kit(), refusal, status, limit, request_id)
    response = jsonify(
        error={"code": slug, "message": message, "request_id": request_id}, message=message
    )
    response.status_code = status
    response.cache_control.no_store = True
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.valid_methods or ())
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    reason = getattr(error, "reason", None)
    if reason is not None:
        response.headers[guard.REASON] = reason
    return response


def _note_refusal(
    kit: ChatKitState,
    reason: str,
    status: int,
    limit: str | None = None,
    request_id: str | None = None,
) -> None:
    """Log, count and signal once that this request is refused."""
    request.environ[_REFUSED] = True
    kit.activity.refused(
        reason,
        chat=(request.view_args or {}).get("chat", DEFAULT),
        visitor=request.environ.get(VISITOR),
        status=status,
        limit=limit,
        request_id=request_id,
    )


def _note_sites_refusal(kit: ChatKitState, response: Response) -> None:
    """Note what a hook or a handler of the site's own refuses without an error of ours."""
    if 400 <= response.status_code < 500 and _REFUSED not in request.environ:
        _note_refusal(kit, reason_of(response.status_code), response.status_code)


def _request_id() -> str:
    """The id that ties an answer to the log: a proxy's, else one made here."""
    given = request.headers.get("X-Request-ID", "")
    if _REQUEST_ID.fullmatch(given):
        return given
    # No secret, so the system's own randomness, which costs a call of the kernel's, is not needed.
    return f"{_ids.get().getrandbits(64):016x}"


def _own(kit: ChatKitState, chat: Chat, session_id: str) -> tuple[Visitor, SessionRecord]:
    """Who asks, and the session that is theirs; another one is not found."""
    visitor = kit.identify(request)
    # What is not found was looked for, too.
    _charge_call(kit, visitor)
    if visitor is None:
        raise NotFound
    return visitor, kit.sessions.open(session_id, chat.name, visitor)


def _mint(kit: ChatKitState, chat: Chat, visitor: Visitor) -> Response:
    _budget(kit, chat, visitor).spend("mint")
    # The keys are asked for before OpenAI is: without one, nothing is minted.
    kit.require_keys()
    _adopt(kit, visitor)
    with kit.activity.watch_upstream(chat.name, visitor):
        minted = kit.mint(chat, visitor)
    told: dict[str, Any] = {
        "client_secret": minted.client_secret,
        "expires_at": minted.expires_at,
        "expires_in": minted.expires_in,
        "session_id": minted.session_id,
    }
    origin = kit.token_origin(request)
    if origin and visitor.is_anonymous:
        told.update(_token_for(kit, visitor, origin))
    response = jsonify(told)
    if origin is None and visitor.is_anonymous:
        _set_cookie(kit, response, visitor)
    hosted = not isinstance(chat, ServedChat)
    kit.activity.minted(chat.name, visitor, minted.expires_in, hosted=hosted)
    return response


def _token_for(kit: ChatKitState, visitor: Visitor, origin: str) -> dict[str, Any]:
    """What a page of another origin is told of its visitor, and whether not to keep it."""
    told = {"visitor": kit.token.sign(visitor, origin)}
    if visitor.known or not kit.token.is_of_other_key(request, origin):
        return told
    kit.warn_other_key()
    return {**told, "temporary": True}


def _set_cookie(kit: ChatKitState, response: Response, visitor: Visitor) -> None:
    """Set the cookie of an anonymous visitor, unless it would replace one that is good elsewhere.

    A new process of a rolling deploy may have signed it: who has it is known there, and will be
    here. A stolen or made-up one gains nothing: the visitor is for this answer only, and counts as
    one without a cookie.
    """
    if not visitor.known and kit.cookie.is_of_other_key(request):
        kit.warn_other_key()
        return
    is_own = kit.has_logins and (not visitor.known or kit.cookie.is_own(request, visitor))
    kit.cookie.write(request, response, visitor, own=is_own)


def _budget(kit: ChatKitState, chat: Chat, visitor: Visitor) -> Budget:
    quota = kit.settings.upload_quota
    return Budget(kit.quotas, quota, chat, visitor, address_of(request))


def _charge_call(
    kit: ChatKitState, visitor: Visitor | None = None, owner: str | None = None
) -> None:
    """Count a call that costs little.

    :param owner: whose file a signed link is for, where that alone tells who asks.
    """
    if visitor is not None and visitor.known:
        owner = visitor.digest
    kit.quotas.charge_call(owner, None if _is_login(visitor) else address_of(request))


def _begin(kit: ChatKitState, context: ChatContext) -> Slot:
    """What the visitor has under way from now on."""
    visitor = context.visitor
    slot = kit.under_way.take(context.owner, None if _is_login(visitor) else address_of(request))
    if slot.refusal is not None:
        # What is refused has waited, too.
        try:
            _charge_call(kit, visitor, context.owner)
        except RateLimited as error:
            slot.refusal = error
    return slot


def _is_login(visitor: Visitor | None) -> bool:
    return visitor is not None and not visitor.is_anonymous


def _served(kit: ChatKitState, name: str) -> ServedChat:
    chat = kit.chat(name)
    if not isinstance(chat, ServedChat):
        raise NotFound("This chat is hosted by OpenAI.")
    return chat


def _speaker(kit: ChatKitState, chat: ServedChat) -> Visitor:
    """Who speaks in a served chat: by cookie or login, and by the token if one is sent.

    :raises Unauthenticated: nobody is known, or the token is not theirs; the widget mints anew.
    """
    visitor = kit.identify(request)
    token = guard.bearer(request)
    if token is not None:
        told = kit.sessions.open_token(token, chat.name)
        if visitor is None:
            # A page whose cookies are blocked. A login, though, has to be there still.
            visitor = told.anonymous
        elif visitor.digest != told.digest:
            visitor = None
    if visitor is None:
        _charge_call(kit)
        raise Unauthenticated(EXPIRED, refusal="session_ended")
    request.environ[VISITOR] = visitor
    _adopt(kit, visitor)
    return visitor


def _adopt(kit: ChatKitState, visitor: Visitor) -> None:
    """Hand what was said before signing in to the login, and forget the anonymous visitor."""
    served = kit.served
    if visitor.is_anonymous or not served:
        return
    if kit.token_origin(request) is not None:
        # Neither the cookie's visitor, whom this page does not show, nor the token's: another
        # origin must not put what it likes into the history of whoever is signed in here.
        return
    former = kit.cookie.read(request)
    # Nor must a sibling host, by a cookie of its own visitor.
    if former is not None and kit.cookie.is_own(request, former):
        g.chatkit_adopted = kit.transfer_threads(served, former, visitor)


def _context(
    kit: ChatKitState, chat: ServedChat, visitor: Visitor, owner: str | None = None
) -> ChatContext:
    """What the site's code is told of this request; nothing else of it is left later.

    :param owner: whose file a signed link is for.
    :raises NotFound: the link is not this visitor's.
    """
    own = owner_name(kit.own_name, chat.name, visitor)
    if owner is not None and visitor.known and owner != own:
        raise NotFound
    headers = request.headers
    context = ChatContext(
        visitor=visitor,
        kit=kit.own_name,
        chat=chat.name,
        locale=request.accept_languages.best,
        headers={name: headers[name] for name in chat.headers if name in headers},
        url=url_for(
            f"{kit.name}.page", chat=None if chat.name == DEFAULT else chat.name, _external=True
        ),
        owner=owner or own,
    )
    if visitor.known:
        context.note_revocation(kit.revoked_at(visitor.digest))
    return context


def _files(kit: ChatKitState, chat: ServedChat) -> Uploads:
    files = kit.service.dispatcher(chat).uploads
    if files is None:
        raise NotFound("This chat accepts no files.", refusal="no_files")
    return files


def _whole(response: Response) -> Response:
    """An answer of ours that is no JSON, or has headers of its own; see :func:`leave`."""
    g.chatkit_whole = response
    return response


def _preflight() -> Response:
    return current_app.response_class(status=204)


def _is_same_path(response: Response) -> bool:
    """Whether a redirect only asks for another scheme or host, as https enforcement does."""
    return bool(
        response.location and urlsplit(response.location).path == request.root_path + request.path
    )
