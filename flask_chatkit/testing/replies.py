"""The replies in the script of a :class:`~flask_chatkit.testing.FakeModel`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import openai
from agents import Agent
from pydantic import BaseModel

#: Characters of one piece of streamed JSON.
_JSON_PIECE = 12


class FakeModelError(Exception):
    """A reply of the script does not fit the call; the message names both."""


@dataclass(frozen=True)
class ToolCall:
    """A call of one of the agent's function tools.

    :param name: the tool's name.
    :param arguments: its arguments; a string is sent as it is, to simulate broken JSON.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)


@dataclass(frozen=True)
class HandoffTo:
    """A handoff to another agent.

    :param agent: the agent, or its name.
    :param arguments: the input of a handoff with an ``input_type``.
    """

    agent: Agent[Any] | str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.agent if isinstance(self.agent, str) else self.agent.name


@dataclass(frozen=True)
class ModelReply:
    """One reply of a model, in full. Most scripts use a shorter form.

    :param text: a message, streamed word by word; a list is streamed as it is, one delta each.
    :param calls: tools that are called, and handoffs, after the text.
    :param output: what an agent with an ``output_type`` returns: a pydantic object, or JSON.
    :param annotations: annotations of the text, in the form of the Responses API: ``{"type":
        "url_citation", "url": …, "title": …, "start_index": 0, "end_index": 5}``.
    :param thinking: a summary of reasoning, before the text.
    :param refusal: a refusal, in place of the text.
    :param usage: input and output tokens.
    :param incomplete: why the reply ends early, as the Responses API has it.
    :param error: raised after the text has been streamed.
    :param hang: send nothing after the text, until the run is stopped.
    """

    text: str | Sequence[str] = ""
    calls: Sequence[ToolCall | HandoffTo] = ()
    output: Any = None
    annotations: Sequence[Mapping[str, Any]] = ()
    thinking: str | None = None
    refusal: str | None = None
    usage: tuple[int, int] = (1, 1)
    incomplete: Literal["max_output_tokens", "content_filter"] | None = None
    error: Exception | None = None
    hang: bool = False

    @property
    def deltas(self) -> list[str]:
        """The text in the pieces in which it is streamed."""
        if not isinstance(self.text, str):
            return list(self.text)
        return re.findall(r"\s*\S+(?:\s+$)?|\s+$", self.text)


def as_reply(given: Any) -> ModelReply:
    """Convert an entry of a script to a reply.

    :raises TypeError: it is not a reply.
    """
    if isinstance(given, ModelReply):
        return given
    if isinstance(given, str):
        return ModelReply(given)
    if isinstance(given, (ToolCall, HandoffTo)):
        return ModelReply(calls=[given])
    if isinstance(given, (Mapping, BaseModel)):
        return ModelReply(output=given)
    if isinstance(given, Exception):
        return ModelReply(error=given)
    if isinstance(given, (list, tuple)) and all(
        isinstance(part, (str, ToolCall, HandoffTo)) for part in given
    ):
        text = "".join(part for part in given if isinstance(part, str))
        return ModelReply(text, [part for part in given if not isinstance(part, str)])
    raise TypeError(
        "a model replies with a string, a ToolCall, a HandoffTo, a list of these, a pydantic "
        "object or mapping for an output_type, a ModelReply, an exception, or a function of what "
        f"it was asked that returns one of them; not with {given!r}"
    )


def pieces(text: str) -> list[str]:
    """Split JSON into the pieces in which it is streamed."""
    return [text[at : at + _JSON_PIECE] for at in range(0, len(text), _JSON_PIECE)]


def as_json(arguments: Mapping[str, Any] | str) -> str:
    """Return the arguments of a call as a model writes them."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


_STATUS_ERRORS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}


def model_error(
    status: int, message: str = "The server had an error.", *, code: str | None = None
) -> openai.APIStatusError:
    """Return the error that the ``openai`` package raises for a status of the model's API.

    :param code: OpenAI's code, such as ``rate_limit_exceeded`` or ``context_length_exceeded``.
    """
    try:
        http = import_module("httpx2")
    except ImportError:  # openai before 3
        http = import_module("httpx")
    request = http.Request("POST", "https://api.openai.com/v1/responses")
    response = http.Response(status, request=request, headers={"x-request-id": "req_fake"})
    kind = _STATUS_ERRORS.get(status, openai.APIStatusError)
    if status >= 500:
        kind = openai.InternalServerError
    named = "invalid_request_error" if status == 400 else "error"
    body = {"message": message, "type": named, "param": None, "code": code}
    return kind(f"Error code: {status} - {body}", response=response, body=body)
