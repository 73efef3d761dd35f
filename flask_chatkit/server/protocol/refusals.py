"""Refusals: what a visitor reads of them, in a stream and elsewhere, and which errors mean one."""

from __future__ import annotations

from chatkit.errors import CustomStreamError
from chatkit.store import NotFoundError
from werkzeug.exceptions import HTTPException, default_exceptions

from ...activity import reason_of
from ...errors import (
    ApiError,
    BadRequest,
    ConfigurationError,
    Misconfigured,
    NotFound,
    RateLimited,
)
from ..history.outages import raise_outage
from .operations import Operation

WRONG_STATE = "The chat is not in a state for this."


class Refusal(Exception):
    """Refuses a call: with an error event in a stream, else with an error's message.

    :param reason: one of :data:`flask_chatkit.activity.REASONS`.
    :param status: the error that a call for JSON gets.
    :param limit: what was exceeded, for the log.
    :param retry_after: seconds after which a retry may succeed.
    :param allow_retry: whether a stream offers a retry.
    """

    def __init__(
        self,
        message: str,
        reason: str,
        status: type[ApiError] = BadRequest,
        *,
        limit: str | None = None,
        retry_after: int | None = None,
        allow_retry: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.limit = limit
        self.allow_retry = allow_retry
        self._status = status
        self.retry_after = retry_after

    @classmethod
    def of_limit(cls, error: RateLimited, message: str) -> Refusal:
        """The refusal for a limit that is exceeded."""
        return cls(
            message, error.refusal, RateLimited, limit=error.limit, retry_after=error.retry_after
        )

    def as_api_error(self) -> ApiError:
        """The same for a call that is answered with JSON."""
        return self._status(
            str(self), refusal=self.reason, limit=self.limit, retry_after=self.retry_after
        )


def refusal_of(operation: Operation, error: BaseException) -> Refusal | None:
    """The refusal that an error means; None for a failure of the site or of the package."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, CustomStreamError):
        return Refusal(error.message, "declined", allow_retry=error.allow_retry)
    if isinstance(error, NotFoundError):
        return Refusal(NotFound.summary, "not_found")
    if isinstance(error, ApiError):
        if error.code >= 500:
            return None
        return Refusal(
            str(error.description),
            error.refusal,
            limit=error.limit,
            retry_after=error.retry_after if isinstance(error, RateLimited) else None,
        )
    if isinstance(error, HTTPException) and 400 <= (error.code or 500) < 500:
        return Refusal(error.name, reason_of(error.code or 500))
    if type(error) is ValueError and operation.needs_state:
        return Refusal(WRONG_STATE, "wrong_state")
    return None


def raise_api_error(chat: str, operation: Operation, error: BaseException) -> None:
    """Raise the HTTP error that stands for another one, if one does.

    :param chat: the chat's name, for the log.
    """
    if isinstance(error, (ApiError, HTTPException)):
        raise error
    if isinstance(error, Refusal):
        raise error.as_api_error()
    raise_outage(error)
    if isinstance(error, NotFoundError):
        raise NotFound from None
    if isinstance(error, ConfigurationError):
        raise Misconfigured(detail=f"the chat {chat!r}: {error}") from None
    if type(error) is ValueError and operation.needs_state:
        detail = str(error)[:200]
        raise BadRequest(WRONG_STATE, detail=detail, refusal="wrong_state") from error


def raise_http_error(error: Exception) -> None:
    """Raise Werkzeug's error for a refusal by a server that was written for FastAPI."""
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if isinstance(status, int) and 400 <= status < 500 and isinstance(detail, str):
        refusal = default_exceptions.get(status, BadRequest)
        raise refusal(description=detail) from None
