"""Every error this package raises, each with its stable code and its HTTP status.

Errors that answer a request are also Werkzeug's: a site handles them with ``errorhandler`` like any
other :class:`~werkzeug.exceptions.HTTPException`, by our class or by Werkzeug's.
"""

from __future__ import annotations

from typing import ClassVar

from werkzeug import exceptions


class ChatKitError(Exception):
    """The root of this package's errors."""


class ConfigurationError(ChatKitError, ValueError):
    """A setting or declaration is wrong; the message names it and the accepted form.

    Raised while an application starts, never while it answers.
    """


class OptionError(ChatKitError, ValueError):
    """A macro was given a wrong option; the message names it and the valid ones."""


class ApiError(ChatKitError, exceptions.HTTPException):
    """The root of the errors that answer a request.

    A kit's handler may be registered for it; an application's is for its concrete classes, since
    Flask looks for an error's status first.

    :param description: what the browser is told; never what OpenAI said, never anything secret.
    :param detail: what the log is told in addition; never anything secret.
    :param retry_after: seconds after which trying again may help; sent as ``Retry-After``.
    :param reason: what the widget needs to know beside the code; sent as ``X-ChatKit-Reason``.
    :param refusal: the reason under which a refusal is logged and counted, one of
        :data:`flask_chatkit.activity.REASONS`; the ``slug`` by default.
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
    """The request's body or header is not of the accepted form."""

    slug = "bad_request"
    summary = "The request is not of the accepted form."


class Unauthenticated(ApiError, exceptions.Unauthorized):
    """The site's own guard wants the visitor to sign in first."""

    slug = "unauthenticated"
    summary = "Sign in to use this chat."


class ForbiddenOrigin(ApiError, exceptions.Forbidden):
    """A page of another origin asked, and it is not in ``CHATKIT_TRUSTED_ORIGINS``."""

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
    """The visitor, the address or the whole kit has used up its quota."""

    slug = "rate_limited"
    summary = "Too many requests. Please wait a moment and try again."


class Misconfigured(ApiError, exceptions.InternalServerError):
    """The site's own set-up is incomplete; the log says what is missing."""

    slug = "misconfigured"
    summary = "This chat is not set up completely."

    def __str__(self) -> str:
        """What a program is told: what is missing, too, which no browser is."""
        return f"{super().__str__()} ({self.detail})" if self.detail else super().__str__()


class UpstreamRejected(ApiError, exceptions.BadGateway):
    """OpenAI refused the request for good, or its answer was not of the documented form."""

    slug = "upstream_rejected"
    summary = "The chat service refused the request."


class UpstreamUnavailable(ApiError, exceptions.ServiceUnavailable):  # type: ignore[misc]
    """OpenAI could not be reached, is overloaded or is down."""

    slug = "upstream_unavailable"
    summary = "The chat service is not available at the moment."


class HistoryUnavailable(UpstreamUnavailable):
    """The database of a served chat's history does not answer, or can't be reached.

    It has the code of :class:`UpstreamUnavailable`: to a browser it is the same.
    """

    summary = "The chat is not available at the moment. Please try again in a moment."


class UpstreamTimeout(ApiError, exceptions.GatewayTimeout):
    """OpenAI did not answer in time."""

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
