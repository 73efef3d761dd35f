"""Classifies the errors of agents' runs, for retries, for the log and for the visitor."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Any

import openai
from agents import (
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelBehaviorError,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
)
from agents.exceptions import ModelRefusalError
from chatkit.errors import CustomStreamError, ErrorCode, StreamError

from ..streaming.record import note_model_failure
from .incomplete import is_incomplete
from .mcp import Unreachable

logger = logging.getLogger("flask_chatkit")

REFUSED = "Sorry, this can't be answered here. Please try to put it differently."
CUT_OFF = "This answer was cut off: it has reached its greatest length."
FILTERED = "This answer was ended by the content filter of the model's service."
TOO_MANY_TURNS = "This answer was ended: it took too many steps."

_KEYS = re.compile(r"\b(sk|pk|ek|ak)[-_][\w*.-]{4,}")
_TRIPWIRES = (
    InputGuardrailTripwireTriggered,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
)


class Blame(Enum):
    """The part of a request that a service blames."""

    FILES = "files"
    LENGTH = "length"
    CONTENT = "content"
    UNCLEAR = "unclear"


#: Codes and phrases of errors, in the order in which they are tried. The codes are OpenAI's
#: (openai 3.57, ``ResponseError.code``); gateways pass on the messages of their services.
_LENGTH = re.compile(
    r"context_length|string_above_max_length|context (length|window)|maximum context"
    r"|(prompt|input|request|messages?) (is|are) too (long|large)|too many (input )?tokens"
    r"|exceeds? the (maximum|limit|context)|reduce the length|input tokens? exceed"
    r"|request too large|token limit|tokens? > \d+ maximum",
    re.IGNORECASE,
)
_CONTENT = re.compile(
    r"content_filter|content_policy|content management policy|invalid_prompt|usage policy"
    r"|content_policy_violation|safety",
    re.IGNORECASE,
)
_FILES = re.compile(
    r"image|picture|\bpdf\b|\bfiles?\b|invalid_file|file_|_file|document|base64|media[ _]type"
    r"|vision|multimodal|input_file",
    re.IGNORECASE,
)
_HISTORY = re.compile(r"^(input|messages|contents?)\b")
_HISTORY_WORDS = re.compile(
    r"\b(messages?|input|content|role|turns?|conversation)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Fault:
    """An error of a model's service.

    :param status: the HTTP status; None for an error within a stream.
    :param code: its code, such as ``context_length_exceeded``.
    :param param: the parameter that it names.
    :param message: its message.
    :param path: the path of the request's URL.
    """

    status: int | None
    code: str
    param: str
    message: str
    path: str = ""

    @property
    def blame(self) -> Blame | None:
        """The part of the history that it blames; None if it blames something else."""
        if self.status not in {None, 400, 413, 422}:
            return None
        named = f"{self.code} {self.message}"
        if self.param and not _HISTORY.match(self.param) and not self.code:
            # Such as temperature: a setting of the site, which no shorter history helps.
            named = self.code
        if _LENGTH.search(named) or self.status == 413:
            return Blame.LENGTH
        if _CONTENT.search(named):
            return Blame.CONTENT
        if _FILES.search(named) and "model_not_found" not in named:
            return Blame.FILES
        if self.status is None:
            return None
        # Without a parameter, the message must mention the history.
        mentions = not self.param and _HISTORY_WORDS.search(named)
        return Blame.UNCLEAR if mentions or _HISTORY.match(self.param) else None


def fault_from(error: Exception, failure: Any = None) -> Fault | None:
    """Return the service's error behind an error of a run; None if there is none.

    :param failure: the error at the end of a stream, as the service has sent it.
    """
    if isinstance(error, openai.APIError):
        status = getattr(error, "status_code", None)
        path = error.request.url.path if error.request is not None else ""
        code, param = str(error.code or error.type or ""), str(error.param or "")
        if code == "invalid_request_error":
            code = ""
        return Fault(status, code, param, str(error), path)
    if isinstance(error, ModelBehaviorError) and failure is not None:
        known = [str(getattr(failure, name, None) or "") for name in ("code", "param", "message")]
        return Fault(None, *known)
    return None


# --- early ends ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """Why a run has ended early without a fault.

    :param reason: the reason for the log.
    :param notice: a notice for the visitor, after the text so far.
    :param text: the model's last text, which may not have been streamed.
    """

    reason: str
    notice: str | None = None
    text: str = ""


def ending(error: Exception, incomplete: str | None) -> Ending | None:
    """Return why a run has ended early; None for a fault.

    :param incomplete: the service's reason for an incomplete answer.
    """
    if isinstance(error, ModelRefusalError):
        return Ending("the model refused to answer", text=error.refusal)
    if isinstance(error, MaxTurnsExceeded):
        return Ending("it has reached max_turns", TOO_MANY_TURNS)
    if isinstance(error, ModelBehaviorError):
        if incomplete == "content_filter":
            return Ending("content_filter", FILTERED)
        if incomplete is not None or "finish_reason='length'" in str(error):
            return Ending(incomplete or "length", CUT_OFF)
    return None


# --- errors for the visitor and the log ---------------------------------------------------------


def visible_error(error: Exception) -> Exception:
    """Return the error to raise, without the service's message, which is logged."""
    if isinstance(error, _TRIPWIRES):
        logger.warning("A guardrail stopped an answer: %s", type(error).__name__)
        return CustomStreamError(REFUSED)
    if isinstance(error, Unreachable):
        return StreamError(ErrorCode.STREAM_ERROR, allow_retry=True)
    if isinstance(error, openai.OpenAIError) or is_incomplete(error):
        logger.error("The model could not answer: %s%s", describe(error), _advice_once(error))
        note_model_failure(error)
        return StreamError(ErrorCode.STREAM_ERROR, allow_retry=True)
    return error


def describe(error: Exception) -> str:
    """Describe an error for the log, without any key."""
    parts = [type(error).__name__]
    if isinstance(error, openai.APIError):
        request_id = getattr(error, "request_id", None)
        status = getattr(error, "status_code", None)
        known = {"status": status, "code": error.code, "request id": request_id}
        parts += [f"{name} {value}" for name, value in known.items() if value]
        if status in {401, 403}:
            # The message quotes the key.
            return ", ".join(parts)
    return ", ".join([*parts, _KEYS.sub(r"\1-…", str(error))[:500]])


_advised: set[str] = set()
_lock = threading.Lock()


def _advice_once(error: Exception) -> str:
    """Return the advice for an error, once a process; empty for none."""
    fault = fault_from(error)
    found = advice(fault) if fault is not None else None
    with _lock:
        if found is None or found in _advised:
            return ""
        _advised.add(found)
    return f" - {found}"


def advice(fault: Fault) -> str | None:
    """Return one line of advice for the site's owner; None for none."""
    if fault.status == 404:
        is_model = fault.code == "model_not_found" or re.search(
            r"\bmodel\b.*(not exist|not found|not have access|unknown)",
            fault.message,
            re.IGNORECASE,
        )
        if is_model:
            return "check the name of the agent's model, and whether the key's project may use it"
        if fault.path.endswith("/responses"):
            return (
                "the service has no /responses: call "
                "agents.set_default_openai_api('chat_completions'), or give the agent an "
                "agents.OpenAIChatCompletionsModel"
            )
        return "check the base_url of the model's client, which ends in /v1 as a rule"
    if fault.status in {401, 403}:
        return (
            "the service refuses the key: check OPENAI_API_KEY, or the api_key and base_url of "
            "the model's client"
        )
    if fault.status == 429 and fault.code == "insufficient_quota":
        return "the account has no credit left: see the billing page of the model's service"
    return None
