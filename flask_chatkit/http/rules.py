"""The kit's URL rules."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from .conversations import api, attachment, attachments, resume, stop
from .pages import config, embed_js, embed_json, page
from .sessions import cancel, refresh, secret, validate

#: Rule, view, methods; each is for the default chat and, below ``/<chat>``, for a named one.
RULES = (
    ("/secret", secret, "POST"),
    ("/session/<session_id>/refresh", refresh, "POST"),
    ("/session/<session_id>/validate", validate, "GET HEAD"),
    ("/session/<session_id>/cancel", cancel, "POST"),
    ("/api", api, "POST"),
    ("/api/resume", resume, "POST"),
    ("/api/stop", stop, "POST"),
    ("/attachments", attachments, "POST"),
    ("/attachments/<attachment_id>", attachment, "GET HEAD PUT"),
    ("/config", config, "GET HEAD"),
    ("/", page, "GET HEAD"),
    ("/embed.js", embed_js, "GET HEAD"),
    ("/embed.json", embed_json, "GET HEAD"),
)
PAGE, EMBED_SCRIPT, EMBED_WIDGET = page.__name__, embed_js.__name__, embed_json.__name__
ATTACHMENT = attachment.__name__
#: The methods of each API call, by endpoint.
METHODS: Mapping[str, AbstractSet[str]] = {
    view.__name__: frozenset(methods.split())
    for _, view, methods in RULES
    if view not in {page, embed_js}
}
#: The methods that the rule of an API call accepts: a wrong one is answered as JSON, too.
ANY_METHOD = ("GET", "POST", "PUT", "PATCH", "DELETE")
