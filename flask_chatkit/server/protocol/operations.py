"""The sixteen operations of ChatKit's protocol, and what each may carry.

Names and parameters are those of ``chatkit.types`` (openai-chatkit 1.6.5), which judges them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from chatkit.types import ChatKitReq
from pydantic import TypeAdapter, ValidationError

from ...errors import BadRequest

KIB = 1024
#: Bytes of a recording: some minutes of speech, in base64.
DICTATION = 12 * KIB * KIB
#: Bytes of what a page's own tool may answer.
TOOL_OUTPUT = 128 * KIB
SMALL = 64 * KIB

#: What a body larger than SMALL is made of: so many marks between its parts, and no more.
_STRUCTURE = (b"[", b"{", b",")
MOST_PARTS = 8192

_REQUEST: TypeAdapter[Any] = TypeAdapter(ChatKitReq)


@dataclass(frozen=True)
class Operation:
    """One operation.

    :param streams: whether it is answered with server-sent events.
    :param counts: as what it counts against the visitor's limits: a ``message``; a ``tool``,
        which has as many of its own, since a conversation that waits for one would be stuck; or a
        ``call``, which is all else.
    :param runs: whether it may run a function of the site's, and is answered when that is done.
    :param repeats: whether ChatKit's client may send it twice without meaning it.
    :param talks: whether it adds to the thread, which must be active then.
    :param writes: whether it is a message that the visitor wrote.
    :param says: whether it carries a visitor's words, as many as a message may have.
    :param limit: bytes of its body, beside those words, each of which may take six in JSON.
    """

    streams: bool = False
    counts: str = "call"
    runs: bool = False
    repeats: bool = False
    talks: bool = False
    writes: bool = False
    says: bool = False
    limit: int = SMALL


OPERATIONS: dict[str, Operation] = {
    "threads.create": Operation(
        streams=True, counts="message", repeats=True, writes=True, says=True
    ),
    "threads.add_user_message": Operation(
        streams=True, counts="message", repeats=True, talks=True, writes=True, says=True
    ),
    "threads.add_client_tool_output": Operation(
        streams=True, counts="tool", repeats=True, talks=True, limit=TOOL_OUTPUT
    ),
    "threads.add_structured_input": Operation(
        streams=True, counts="message", talks=True, says=True
    ),
    "threads.retry_after_item": Operation(streams=True, counts="message", talks=True),
    "threads.custom_action": Operation(streams=True, counts="message", talks=True, says=True),
    "threads.sync_custom_action": Operation(counts="message", runs=True, talks=True, says=True),
    "threads.get_by_id": Operation(),
    "threads.list": Operation(),
    "threads.update": Operation(),
    "threads.delete": Operation(),
    "items.list": Operation(),
    "items.feedback": Operation(runs=True),
    "attachments.create": Operation(counts="message"),
    "attachments.delete": Operation(),
    "input.transcribe": Operation(counts="message", runs=True, limit=DICTATION),
}


def parse(body: bytes) -> Any:
    """Read a request.

    :returns: one of the ``…Req`` classes of ``chatkit.types``.
    :raises BadRequest: it is none; the message names the field.
    """
    if len(body) > SMALL and sum(map(body.count, _STRUCTURE)) > MOST_PARTS:
        # Each part becomes an object, and each wrong one an error of its own: what takes no time
        # to send takes seconds to refuse, in which nobody else is served. A recording is one text.
        raise BadRequest("The body has too many parts.")
    try:
        return _REQUEST.validate_json(body)
    except ValidationError as error:
        problem = _first(error)
    at_top = len(problem["loc"]) == 0
    if at_top and problem["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        raise BadRequest(f"The field 'type' must be one of {', '.join(sorted(OPERATIONS))}.")
    # The first part of the place is the operation's name, which pydantic puts there.
    place = ".".join(str(part) for part in problem["loc"][1:]) or "body"
    raise BadRequest(f"The field {place[:200]!r} is not of the accepted form: {problem['msg']}.")


def _first(error: ValidationError) -> Any:
    return error.errors(include_url=False, include_input=False, include_context=False)[0]


def thread_of(asked: Any) -> str | None:
    """The id of the thread that a request names; None for none."""
    return cast("str | None", getattr(asked.params, "thread_id", None))
