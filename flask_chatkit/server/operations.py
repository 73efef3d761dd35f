"""The sixteen operations of ChatKit's protocol, and what each may carry.

Names and parameters are those of ``chatkit.types`` (openai-chatkit 1.6.5), which judges them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from chatkit.types import ChatKitReq
from pydantic import TypeAdapter, ValidationError

from ..errors import BadRequest

KIB = 1024
#: Bytes of a recording: some minutes of speech, in base64.
DICTATION = 12 * KIB * KIB
#: Bytes of what a page's own tool may answer.
TOOL_OUTPUT = 512 * KIB
#: Bytes of a message beside its text, each character of which may take six in JSON.
MESSAGE = 64 * KIB
SMALL = 64 * KIB

_REQUEST: TypeAdapter[Any] = TypeAdapter(ChatKitReq)


@dataclass(frozen=True)
class Operation:
    """One operation.

    :param streams: whether it is answered with server-sent events.
    :param counts: whether it counts as a message of the visitor's.
    :param repeats: whether ChatKit's client may send it twice without meaning it.
    :param talks: whether it adds to the thread, which must be active then.
    :param limit: bytes of its body.
    """

    streams: bool = False
    counts: bool = False
    repeats: bool = False
    talks: bool = False
    limit: int = SMALL


OPERATIONS: dict[str, Operation] = {
    "threads.create": Operation(streams=True, counts=True, repeats=True, limit=MESSAGE),
    "threads.add_user_message": Operation(
        streams=True, counts=True, repeats=True, talks=True, limit=MESSAGE
    ),
    # The package itself refuses what is not the answer to the thread's pending call.
    "threads.add_client_tool_output": Operation(streams=True, talks=True, limit=TOOL_OUTPUT),
    "threads.add_structured_input": Operation(streams=True, counts=True, talks=True, limit=MESSAGE),
    "threads.retry_after_item": Operation(streams=True, counts=True, talks=True),
    "threads.custom_action": Operation(streams=True, counts=True, talks=True, limit=MESSAGE),
    "threads.sync_custom_action": Operation(counts=True, talks=True, limit=MESSAGE),
    "threads.get_by_id": Operation(),
    "threads.list": Operation(),
    "threads.update": Operation(),
    "threads.delete": Operation(),
    "items.list": Operation(),
    "items.feedback": Operation(),
    "attachments.create": Operation(counts=True),
    "attachments.delete": Operation(),
    "input.transcribe": Operation(counts=True, limit=DICTATION),
}


def parse(body: bytes) -> Any:
    """Read a request.

    :returns: one of the ``…Req`` classes of ``chatkit.types``.
    :raises BadRequest: it is none; the message names the field.
    """
    try:
        return _REQUEST.validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
    if problem["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        raise BadRequest(f"The field 'type' must be one of {', '.join(sorted(OPERATIONS))}.")
    # The first part of the place is the operation's name, which pydantic puts there.
    place = ".".join(str(part) for part in problem["loc"][1:]) or "body"
    raise BadRequest(f"The field {place[:200]!r} is not of the accepted form: {problem['msg']}.")


def thread_of(asked: Any) -> str | None:
    """The id of the thread that a request names; None for none."""
    return cast("str | None", getattr(asked.params, "thread_id", None))
