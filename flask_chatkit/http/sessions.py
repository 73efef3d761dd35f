"""The views of sessions: mint, refresh, validate, cancel."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify
from flask.typing import ResponseReturnValue

from ..chats.checks import TOKEN_SECONDS
from ..chats.hosted import HostedChat
from ..chats.served import Chat
from ..chats.state import state_variables
from ..errors import NotFound
from ..identity.sessions import Minted, SessionRecord
from ..identity.visitor import Visitor
from ..limits.ratelimit import CALL
from . import guard
from .caller import Caller
from .sign_in import transfer_threads


def secret(caller: Caller) -> ResponseReturnValue:
    """Mint a secret."""
    _ = caller.chat
    guard.check_body(caller.request)
    return _mint(caller, caller.identify_or_new())


def refresh(caller: Caller, session_id: str) -> ResponseReturnValue:
    """Mint anew for the same visitor, and cancel the session that is replaced."""
    _ = caller.chat
    guard.check_body(caller.request)
    visitor, record = _load_session(caller, session_id)
    status = caller.sessions.status(record)
    if status == "cancelled":
        raise NotFound
    response = _mint(caller, visitor)
    if status == "active":
        caller.sessions.replace(record)
    return response


def validate(caller: Caller, session_id: str) -> ResponseReturnValue:
    """Return whether a session is still valid."""
    _, record = _load_session(caller, session_id)
    return jsonify(status=caller.sessions.status(record), expires_at=record.expires_at)


def cancel(caller: Caller, session_id: str) -> ResponseReturnValue:
    """End a session, at OpenAI too."""
    chat = caller.chat
    guard.check_body(caller.request)
    visitor, record = _load_session(caller, session_id)
    if caller.sessions.status(record) == "active":
        caller.budget.spend("cancel")
        with caller.kit.activity.watch_upstream(chat.name, visitor):
            caller.sessions.cancel(record)
    return jsonify(status="cancelled")


def _load_session(caller: Caller, session_id: str) -> tuple[Visitor, SessionRecord]:
    """Return who asks, and their session.

    :raises NotFound: it is not theirs, or not genuine.
    """
    chat, visitor = caller.chat, caller.identify()
    # Looking for what is not found counts, too.
    caller.budget.spend(CALL)
    if visitor is None:
        raise NotFound
    return visitor, caller.sessions.open(session_id, chat.name, visitor)


def _mint(caller: Caller, visitor: Visitor) -> Response:
    kit, chat = caller.kit, caller.chat
    caller.budget.spend("mint")
    # The keys are needed before OpenAI is called: without one, nothing is minted.
    _ = kit.cookie, kit.token
    if not visitor.is_anonymous:
        transfer_threads(caller, visitor)
    with kit.activity.watch_upstream(chat.name, visitor):
        minted = _session(caller, chat, visitor)
    body: dict[str, Any] = {
        "client_secret": minted.client_secret,
        "expires_at": minted.expires_at,
        "expires_in": minted.expires_in,
        "session_id": minted.session_id,
    }
    origin = caller.origin.token
    if origin and visitor.is_anonymous:
        body.update(_visitor_token(caller, visitor, origin))
    response = jsonify(body)
    if origin is None and visitor.is_anonymous:
        _set_cookie(caller, response, visitor)
    hosted = isinstance(chat, HostedChat)
    kit.activity.minted(chat.name, visitor, minted.expires_in, hosted=hosted)
    return response


def _session(caller: Caller, chat: Chat, visitor: Visitor) -> Minted:
    """Begin a session, hosted or served.

    :raises ApiError: one of the ``Upstream…`` errors, or ``Misconfigured``.
    """
    settings = caller.kit.settings
    if isinstance(chat, HostedChat):
        body = chat.session(visitor.key, state_variables(chat, visitor), settings)
        return caller.sessions.mint(chat.name, visitor, body)
    seconds = chat.session_seconds or settings.session_seconds or TOKEN_SECONDS
    return caller.sessions.mint_token(chat.name, visitor, seconds)


def _visitor_token(caller: Caller, visitor: Visitor, origin: str) -> dict[str, Any]:
    """The visitor's token for a page of another origin, and whether it is not to be kept."""
    token = caller.kit.token
    body = {"visitor": token.sign(visitor, origin)}
    if visitor.known or not token.is_of_other_key(caller.request, origin):
        return body
    caller.kit.warn_other_key()
    return {**body, "temporary": True}


def _set_cookie(caller: Caller, response: Response, visitor: Visitor) -> None:
    """Set the cookie of an anonymous visitor, unless it would replace one that is valid elsewhere.

    A new process of a rolling deploy may have signed it: its visitor is known there, and will be
    here. A stolen or made-up cookie gains nothing: the visitor lasts for this response only, and
    counts as one without a cookie.
    """
    cookie, request = caller.kit.cookie, caller.request
    if not visitor.known and cookie.is_of_other_key(request):
        caller.kit.warn_other_key()
        return
    # Only a login can take over what its visitor wrote before; see sign_in.
    may_sign_in = caller.kit.declared.user_loader is not None
    is_own = may_sign_in and (not visitor.known or cookie.is_own(request, visitor))
    cookie.write(request, response, visitor, own=is_own)
