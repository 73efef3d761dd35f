"""Parses OpenAI's responses: their JSON, their errors, and their parts for the log."""

from __future__ import annotations

import datetime
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from ..errors import UpstreamRejected

logger = logging.getLogger("flask_chatkit")


@dataclass(frozen=True)
class Session:
    """The fields of a ``POST /chatkit/sessions`` response that minting needs.

    :param id: ``cksess_…``.
    :param client_secret: an opaque string for the browser.
    :param expires_at: Unix seconds.
    :param request_id: OpenAI's request id, for the log.
    """

    id: str
    client_secret: str = field(repr=False)
    expires_at: int
    request_id: str = "none"


_WORD = re.compile(r"[\x21-\x7e]{1,512}")


def read_session(answer: Mapping[str, Any], request_id: str) -> Session:
    """Read the response to ``POST /chatkit/sessions``.

    :raises UpstreamRejected: it is not an active session.
    """
    identifier, secret = answer.get("id"), answer.get("client_secret")
    expires_at = answer.get("expires_at")
    if not (
        isinstance(identifier, str)
        and _WORD.fullmatch(identifier)
        and isinstance(secret, str)
        and _WORD.fullmatch(secret)
        and isinstance(expires_at, int)
        and not isinstance(expires_at, bool)
        and answer.get("status", "active") == "active"
    ):
        malformed("it is not an active session with id, client_secret and expires_at", request_id)
    return Session(identifier, secret, expires_at, request_id)


@dataclass(frozen=True)
class Reply:
    """OpenAI's response to one call, also if it is a refusal.

    :param headers: its headers, case-insensitive.
    :param error: OpenAI's error with ``message``, ``type`` and ``code``; {} without one.
    """

    status: int
    headers: Mapping[str, str]
    answer: dict[str, Any] = field(repr=False)
    error: dict[str, Any] = field(repr=False)


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return OpenAI's request id, for the log."""
    return printable(headers.get("x-request-id", "none"))


def malformed(reason: str, request_id: str) -> NoReturn:
    """Log why a response is malformed, and raise UpstreamRejected."""
    logger.error("OpenAI's answer is of no use (request id %s): %s", request_id, reason)
    raise UpstreamRejected


def parse(raw: bytes, headers: Mapping[str, str], request_id: str) -> dict[str, Any]:
    """Parse a JSON object.

    :raises UpstreamRejected: the response is not one.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        malformed(f"its type is {printable(kind)!r}", request_id)
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        malformed("it is not JSON", request_id)
    if not isinstance(answer, dict):
        malformed("it is not a JSON object", request_id)
    return answer


def error_of(raw: bytes) -> dict[str, Any]:
    """Return OpenAI's error in a response; {} without one."""
    try:
        error = json.loads(raw)["error"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return {}
    return error if isinstance(error, dict) else {}


def printable(value: object, length: int = 80) -> str:
    """Return a value as printable ASCII characters, for one line of the log."""
    return re.sub(r"[^\x20-\x7e]", "?", str(value))[:length]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which may also be a date."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, moment.timestamp() - time.time())
