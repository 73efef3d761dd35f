"""The sixteen operations of ChatKit's protocol, and the calls that browsers make of them.

Names and parameters are those of ``chatkit.types`` (openai-chatkit 1.6.5), which validates them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from chatkit.types import ChatKitReq
from pydantic import TypeAdapter, ValidationError

from ...errors import BadRequest
from ...options.macros import PAGE_CONTEXT
from ..context import ChatContext
from .search import query_of

KIB = 1024
#: Bytes of a recording: some minutes of speech, in base64.
DICTATION = 12 * KIB * KIB
#: Bytes of what a page's own tool may answer.
TOOL_OUTPUT = 128 * KIB
SMALL = 64 * KIB
#: Characters of the longest id of an item.
LONGEST_ID = 255

#: The marks that separate the parts of a body, and how many of them one larger than SMALL may have.
_STRUCTURE = (b"[", b"{", b",")
MOST_PARTS = 8192

#: In a request's metadata, which openai-chatkit leaves to the integration: the id of the visitor's
#: message that ``threads.add_user_message`` replaces, with all after it.
REPLACES = "flask_chatkit_replaces"

_REQUEST: TypeAdapter[Any] = TypeAdapter(ChatKitReq)


@dataclass(frozen=True)
class Operation:
    """One operation.

    :param streams: whether it is answered with server-sent events.
    :param charged_as: what it counts as: a ``message``; a ``tool``, with a separate quota of the
        same size, as a conversation that waits for one would be stuck; else a ``call``.
    :param runs_code: whether it runs the site's code to the end before it is answered.
    :param retriable: whether ChatKit's client may send the same call again by itself.
    :param writes_thread: whether it adds to an existing thread, which must be active.
    :param is_message: whether it is a visitor's new message.
    :param carries_text: whether it carries a visitor's text, as long as a message may be.
    :param reads_only: whether it only reads the store.
    :param is_action: whether it is a widget's action.
    :param needs_state: whether ``ChatKitServer`` raises ``ValueError``, before the site's code
        runs, if the thread is not in a state for it.
    :param limit: bytes of its body beside that text, each character of which takes up to six.
    """

    streams: bool = False
    charged_as: str = "call"
    runs_code: bool = False
    retriable: bool = False
    writes_thread: bool = False
    is_message: bool = False
    carries_text: bool = False
    reads_only: bool = False
    is_action: bool = False
    needs_state: bool = False
    limit: int = SMALL


def _message(**more: bool) -> Operation:
    return Operation(
        streams=True,
        charged_as="message",
        retriable=True,
        is_message=True,
        carries_text=True,
        **more,
    )


def _action(**more: bool) -> Operation:
    return Operation(
        charged_as="message", writes_thread=True, carries_text=True, is_action=True, **more
    )


OPERATIONS: dict[str, Operation] = {
    "threads.create": _message(),
    "threads.add_user_message": _message(writes_thread=True),
    "threads.add_client_tool_output": Operation(
        streams=True,
        charged_as="tool",
        retriable=True,
        writes_thread=True,
        needs_state=True,
        limit=TOOL_OUTPUT,
    ),
    "threads.add_structured_input": Operation(
        streams=True,
        charged_as="message",
        writes_thread=True,
        carries_text=True,
        needs_state=True,
    ),
    "threads.retry_after_item": Operation(
        streams=True, charged_as="message", writes_thread=True, needs_state=True
    ),
    "threads.custom_action": _action(streams=True),
    "threads.sync_custom_action": _action(runs_code=True),
    "threads.get_by_id": Operation(reads_only=True),
    "threads.list": Operation(reads_only=True),
    "threads.update": Operation(),
    "threads.delete": Operation(),
    "items.list": Operation(reads_only=True),
    "items.feedback": Operation(runs_code=True),
    "attachments.create": Operation(charged_as="message"),
    "attachments.delete": Operation(),
    "input.transcribe": Operation(charged_as="message", runs_code=True, limit=DICTATION),
}


@dataclass
class Call:
    """One call of an operation.

    :param type: the operation's name.
    :param params: the request's, one of ``chatkit.types``.
    :param body: the request as JSON.
    :param owner: ``context.owner``.
    :param knows_all: whether an answer that another process writes would be known.
    :param last_answer: what :func:`.resume.last_answer` has found.
    :param is_own_thread: whether the thread that it deletes is the visitor's.
    :param replaces: the id of the visitor's message that it replaces; see :data:`REPLACES`.
    :param search: what it searches the threads for; see :mod:`.search`.
    """

    type: str
    operation: Operation
    request: Any
    params: Any
    body: bytes
    context: ChatContext
    owner: str
    knows_all: bool = True
    last_answer: str | None = None
    is_own_thread: bool = False
    replaces: str | None = None
    search: str | None = None


def replaced_by(request: Any) -> str | None:
    """The id of the visitor's message that a request replaces, if it does.

    :raises BadRequest: it can be none.
    """
    if request.type != "threads.add_user_message" or REPLACES not in request.metadata:
        return None
    item_id = request.metadata[REPLACES]
    if not isinstance(item_id, str) or not 1 <= len(item_id) <= LONGEST_ID:
        raise BadRequest(f"The field 'metadata.{REPLACES}' must be the id of a message.")
    return item_id


def parse_call(body: bytes, context: ChatContext) -> Call:
    """Parse a call; its thread, if it names one, and its page are entered in the context.

    :raises BadRequest: it is not valid; the message names the field.
    """
    request = parse(body)
    params = request.params
    context["thread"] = getattr(params, "thread_id", None)
    context["page"] = _page_context(request.metadata)
    kind: str = request.type
    operation, owner = OPERATIONS[kind], context["owner"]
    replaces = replaced_by(request)
    return Call(
        kind,
        operation,
        request,
        params,
        body,
        context,
        owner,
        replaces=replaces,
        search=query_of(request),
    )


def _page_context(metadata: dict[str, Any]) -> dict[str, Any]:
    page = metadata.get("page")
    if page is None:
        return {}
    if not isinstance(page, dict):
        raise BadRequest("The field 'metadata.page' must be a JSON object.")
    text = json.dumps(page, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > PAGE_CONTEXT:
        raise BadRequest(f"The field 'metadata.page' has more than {PAGE_CONTEXT} bytes.")
    return page


def parse(body: bytes) -> Any:
    """Parse a request.

    :returns: one of the ``…Req`` classes of ``chatkit.types``.
    :raises BadRequest: it is not valid; the message names the field.
    """
    if len(body) > SMALL and sum(map(body.count, _STRUCTURE)) > MOST_PARTS:
        # Each part becomes an object, and each invalid one an error: a body that is quickly sent
        # would take seconds to refuse, and block everybody else. A recording is one string.
        raise BadRequest("The body has too many parts.")
    try:
        return _REQUEST.validate_json(body)
    except ValidationError as error:
        problem: Any = error.errors(include_url=False, include_input=False, include_context=False)[
            0
        ]
    at_top = len(problem["loc"]) == 0
    if at_top and problem["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        raise BadRequest(f"The field 'type' must be one of {', '.join(sorted(OPERATIONS))}.")
    # The first part of the location is the operation's name, which pydantic puts there.
    place = ".".join(str(part) for part in problem["loc"][1:]) or "body"
    raise BadRequest(f"The field {place[:200]!r} is not of the accepted form: {problem['msg']}.")
