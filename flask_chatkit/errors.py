"""Every error this package raises, each with its stable code and its HTTP status.

Errors that answer a request are also Werkzeug's: a site handles them with ``errorhandler`` like any
other :class:`~werkzeug.exceptions.HTTPException`, by our class or by Werkzeug's.
"""

from __future__ import annotations

from typing import ClassVar

from werkzeug import exceptions


class ChatKitError(Exception):
    """Base class of this package's errors."""


class ConfigurationError(ChatKitError, ValueError):
    """A setting or declaration is invalid. The message names it and what it accepts.

    Raised while an application starts, never during a request.
    """


class OptionError(ChatKitError, ValueError):
    """A macro was called with an invalid option. The message names it and the valid ones."""


class ApiError(ChatKitError, exceptions.HTTPException):
    """Base class of the errors that the endpoints return.

    A handler can be registered on a kit for this class; on an application, only for its subclasses,
    since Flask looks for an error's status first.

    :param description: the message for the browser; never OpenAI's, and nothing secret.
    :param detail: what is logged in addition; nothing secret.
    :param retry_after: seconds after which a retry may succeed; sent as ``Retry-After``.
    :param reason: what the widget needs to know in addition to the code; sent as
        ``X-ChatKit-Reason``.
    :param refusal: the reason under which a refusal is logged and counted, one of
        :data:`flask_chatkit.activity.REASONS`; by default the ``slug``.
    :param limit: what was exceeded, for the log, such as ``20 per 1 minute per visitor``.
    """

    code: int
    slug: ClassVar[str]
    summary: ClassVar[str]

    #: Seconds; Werkzeug's own classes allow a moment too.
    retry_after: int | None

    def __init__(
        self,
        description: str | None = None,
        *,
        detail: str | None = None,
        retry_after: int | None = None,
        reason: str | None = None,
        refusal: str | None = None,
        limit: str | None = None,
    ) -> None:
        super().__init__(description or self.summary)
        self.detail = detail
        self.retry_after = retry_after
        self.reason = reason
        self.refusal = refusal or self.slug
        self.limit = limit


class BadRequest(ApiError, exceptions.BadRequest):
    """The request's body or a header is invalid."""

    slug = "bad_request"
    summary = "The request is not of the accepted form."


class Unauthenticated(ApiError, exceptions.Unauthorized):
    """The site's own guard requires a login."""

    slug = "unauthenticated"
    summary = "Sign in to use this chat."


class ForbiddenOrigin(ApiError, exceptions.Forbidden):
    """A page of another origin sent the request, and it is not in ``CHATKIT_TRUSTED_ORIGINS``."""

    slug = "forbidden_origin"
    summary = "This page's origin may not use this chat."


class NotFound(ApiError, exceptions.NotFound):
    """There is no such chat, or no such session for this visitor."""

    slug = "not_found"
    summary = "There is nothing here."


class TooLarge(ApiError, exceptions.RequestEntityTooLarge):
    """The request's body is larger than the call accepts."""

    slug = "too_large"
    summary = "The request is too large."


class RateLimited(ApiError, exceptions.TooManyRequests):  # type: ignore[misc]
    """The visitor, the address or the whole kit has used up a limit."""

    slug = "rate_limited"
    summary = "Too many requests. Please wait a moment and try again."


class Misconfigured(ApiError, exceptions.InternalServerError):
    """The site's configuration is incomplete; the log names what is missing."""

    slug = "misconfigured"
    summary = "This chat is not set up completely."

    def __str__(self) -> str:
        """The message for a log or a program, with the detail, which no browser gets."""
        return f"{super().__str__()} ({self.detail})" if self.detail else super().__str__()


class UpstreamRejected(ApiError, exceptions.BadGateway):
    """OpenAI refused the request for good, or its response is not of the documented form."""

    slug = "upstream_rejected"
    summary = "The chat service refused the request."


class UpstreamUnavailable(ApiError, exceptions.ServiceUnavailable):  # type: ignore[misc]
    """OpenAI is unreachable, overloaded or down."""

    slug = "upstream_unavailable"
    summary = "The chat service is not available at the moment."


class HistoryUnavailable(UpstreamUnavailable):
    """The database of a served chat's history does not answer, or can't be reached.

    It has the code of :class:`UpstreamUnavailable`: to a browser it is the same.
    """

    summary = "The chat is not available at the moment. Please try again in a moment."


class UpstreamTimeout(ApiError, exceptions.GatewayTimeout):
    """OpenAI did not respond in time."""

    slug = "upstream_timeout"
    summary = "The chat service did not answer in time."


#: Every code a browser may be told, in the order of the table in docs/http.md.
API_ERRORS: tuple[type[ApiError], ...] = (
    BadRequest,
    Unauthenticated,
    ForbiddenOrigin,
    NotFound,
    TooLarge,
    RateLimited,
    Misconfigured,
    UpstreamRejected,
    UpstreamUnavailable,
    UpstreamTimeout,
)
