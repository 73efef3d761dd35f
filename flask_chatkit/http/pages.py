"""The views of pages: the chat's own page, its configuration, and widgets on other sites."""

from __future__ import annotations

from flask import jsonify, render_template
from flask.typing import ResponseReturnValue

from ..errors import BadRequest, OptionError
from ..limits.ratelimit import CALL
from ..widget import assets
from ..widget.html import embed
from ..widget.payloads import describe, page_context
from . import guard
from .caller import Caller

#: Seconds for which a browser caches what a page of another origin embeds, and its script.
EMBED_SECONDS = 300


def config(caller: Caller) -> ResponseReturnValue:
    """Return what a widget may know of the chat."""
    chat = caller.chat
    caller.budget.spend(CALL)
    return jsonify(describe(caller.kit, chat))


def page(caller: Caller) -> ResponseReturnValue:
    """Show the chat on a page of its own."""
    return render_template("chatkit/page.html", **page_context(caller.kit, caller.chat))


def embed_js(caller: Caller) -> ResponseReturnValue:
    """Send the script that embeds the chat; it is the same for all chats and visitors.

    Also for a chat that does not exist: a response that is no script would be dropped silently,
    whereas the script's next request explains it in the page's console.
    """
    return assets.send(caller.request, "embed.js", EMBED_SECONDS)


def embed_json(caller: Caller) -> ResponseReturnValue:
    """Render the widget for a page of another origin, which can read it if it is trusted."""
    chat = caller.chat
    caller.budget.spend(CALL)
    variant, options = guard.read_query(caller.request)
    try:
        response = jsonify(embed(caller.kit, chat, variant, options))
    except OptionError as error:
        raise BadRequest(str(error)) from None
    except RecursionError:
        raise BadRequest("The options are nested too deeply.") from None
    # Nothing in it is personal, but it may be in the visitor's language: no proxy may cache it.
    response.cache_control.private = True
    response.cache_control.max_age = EMBED_SECONDS
    # Also where no origin is trusted: what the site's own pages may read is of no use to others.
    response.vary.add("Origin")
    return response
