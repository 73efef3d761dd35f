"""The views of served chats: calls of ChatKit's protocol, and attachments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, current_app, url_for
from flask.typing import ResponseReturnValue

from ..chats.checks import DEFAULT
from ..chats.served import ServedChat
from ..errors import NotFound
from ..identity.visitor import Visitor
from ..limits.concurrency import Slot
from ..limits.ratelimit import CALL, MESSAGE
from ..owner.hourly_prune import prune_after
from ..server.context import ChatContext, owner_name
from . import guard
from .caller import Caller
from .sign_in import transfer_threads

if TYPE_CHECKING:
    from ..server.attachments.http import Uploads
    from ..server.protocol.dispatcher import Dispatcher


def api(caller: Caller) -> ResponseReturnValue:
    """Answer a call of ChatKit's protocol."""
    chat = caller.served_chat
    guard.check_json(caller.request)
    context = _context(caller, _require_visitor(caller))
    dispatcher = caller.kit.service.dispatcher(chat)
    with caller.begin(context) as slot:
        body = guard.read_body(caller.request, dispatcher.max_body)
        response = dispatcher.answer(body, context, caller.budget, slot)
        return _finish(caller, slot, prune_after(caller.kit, response))


def resume(caller: Caller) -> ResponseReturnValue:
    """Send what is being answered in a thread, for a page that has not begun it."""
    dispatcher, context, body = _of_thread(caller)
    with caller.begin(context) as slot:
        slot.check()
        response = dispatcher.running.resume(body, context, caller.budget)
        return _finish(caller, slot, response or current_app.response_class(status=204))


def stop(caller: Caller) -> ResponseReturnValue:
    """Stop what is being answered in a thread: a request that is aborted does not say so."""
    dispatcher, context, body = _of_thread(caller)
    dispatcher.running.stop(body, context, caller.budget)
    # No request of the visitor's under way may keep this one waiting.
    caller.response = current_app.response_class(status=204)
    return caller.response


def _of_thread(caller: Caller) -> tuple[Dispatcher, ChatContext, bytes]:
    """What a call about one thread needs."""
    chat = caller.served_chat
    guard.check_json(caller.request)
    context = _context(caller, _require_visitor(caller))
    body = guard.read_body(caller.request, guard.MAX_BODY)
    return caller.kit.service.dispatcher(chat), context, body


def attachments(caller: Caller) -> ResponseReturnValue:
    """Receive a file in one call."""
    chat = caller.served_chat
    visitor = _require_visitor(caller)
    uploads = _uploads(caller, chat)
    context = _context(caller, visitor)
    with caller.begin(context) as slot:
        slot.check()
        budget = caller.budget
        budget.spend(MESSAGE)
        response = uploads.receive(caller.request, context, budget)
        return _finish(caller, slot, prune_after(caller.kit, response, took_file=True))


def attachment(caller: Caller, attachment_id: str) -> ResponseReturnValue:
    """Send a file; or receive one that was announced before."""
    chat, request = caller.served_chat, caller.request
    uploads = _uploads(caller, chat)
    writes = request.method == "PUT"
    link = request.args.get("link")
    if link is None:
        guard.check_origin(request, caller.origin)
        context = _context(caller, _require_visitor(caller))
    else:
        # ChatKit's frame is another site: its pictures are fetched without a cookie, by their
        # link alone. Of a page that embeds the chat nobody is known: a picture's request cannot
        # carry the token of its visitor.
        caller.owner = uploads.linked(link, attachment_id, chat.name, writes=writes)
        context = _context(caller, caller.identify_or_new())
    with caller.begin(context) as slot:
        slot.check()
        caller.budget.spend(CALL)
        if writes:
            response = uploads.complete(request, attachment_id, context)
            return _finish(caller, slot, prune_after(caller.kit, response, took_file=True))
        return _finish(caller, slot, uploads.send(request, attachment_id, context))


def _require_visitor(caller: Caller) -> Visitor:
    visitor = caller.require_visitor()
    if not visitor.is_anonymous:
        transfer_threads(caller, visitor)
    return visitor


def _context(caller: Caller, visitor: Visitor) -> ChatContext:
    """What the site's code learns of this request; nothing else of it is left later.

    :raises NotFound: the request's link is not this visitor's.
    """
    kit, chat, owner = caller.kit, caller.served_chat, caller.owner
    own = owner_name(kit.own_name, chat.name, visitor)
    if owner is not None and visitor.known and owner != own:
        raise NotFound
    headers = caller.request.headers
    page = url_for(
        f"{kit.name}.page", chat=None if chat.name == DEFAULT else chat.name, _external=True
    )
    context = ChatContext(
        visitor=visitor,
        kit=kit.own_name,
        chat=chat.name,
        locale=caller.request.accept_languages.best,
        headers={name: headers[name] for name in chat.headers if name in headers},
        url=page,
        owner=owner or own,
    )
    if visitor.known:
        context.note_revocation(caller.revoked_at(visitor.digest))
    return context


def _uploads(caller: Caller, chat: ServedChat) -> Uploads:
    uploads = caller.kit.service.dispatcher(chat).uploads
    if uploads is None:
        raise NotFound("This chat accepts no files.", refusal="no_files")
    return uploads


def _finish(caller: Caller, slot: Slot, response: Response) -> Response:
    """Hold the slot until the response is sent, which hooks leave as it is."""
    caller.response = slot.hold(response, caller.request.environ)
    return caller.response
