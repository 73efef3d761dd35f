"""How the stand-in can be made to fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http import HTTPStatus

from werkzeug.wrappers import Response

from .checks import RefusalError
from .frame import is_frame
from .server import ResetConnectionError


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One way to fail, for :meth:`OpenAIStandIn.fail`.

    With a ``status`` or a ``body``, the call is not carried out and this is the response. Without,
    it is carried out, and its real response is delayed, cut or dripped.

    :param status: the HTTP status; by default 200 with a ``body``.
    :param delay: seconds before the response.
    :param reset: reset the TCP connection (RST) instead; the call is not carried out.
    :param cut: announce the whole response (``Content-Length``), send half of it, close.
    :param body: bytes of the response; by default OpenAI's error JSON from ``code`` and
        ``message``.
    :param content_type: its content type.
    :param retry_after: seconds, or a whole ``Retry-After`` value such as an HTTP date.
    :param headers: further headers of the response.
    :param drip: seconds after each single byte of the body.
    """

    status: int | None = None
    delay: float = 0.0
    reset: bool = False
    cut: bool = False
    body: bytes | None = None
    content_type: str = "application/json"
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: float = 0.0
    code: str | None = None
    message: str = "The server had an error while processing your request."

    @classmethod
    def rate_limit(cls, retry_after: float | str | None = 1) -> Failure:
        """Respond 429 with ``Retry-After`` (seconds, an HTTP date, or None for no header)."""
        message = "Rate limit reached. Please try again later."
        code = "rate_limit_exceeded"
        return cls(status=429, retry_after=retry_after, code=code, message=message)

    @classmethod
    def outage(cls, status: int = 500) -> Failure:
        """Respond 5xx with OpenAI's error JSON."""
        return cls(status=status)

    @classmethod
    def truncated_json(cls) -> Failure:
        """Respond 200 with JSON that ends in the middle, and a matching ``Content-Length``."""
        return cls(body=b'{"id": "cksess_0123", "object": "chatkit.sess')

    @classmethod
    def wrong_json(cls) -> Failure:
        """Respond 200 with valid JSON that is no session and no thread."""
        return cls(body=b'{"object": "list", "data": []}')

    @classmethod
    def html(cls) -> Failure:
        """Respond 200 with an HTML page, like a proxy that wants a login."""
        page = b"<!doctype html><title>Sign in</title><p>Please sign in."
        return cls(body=page, content_type="text/html; charset=utf-8")

    @classmethod
    def oversized(cls, size: int = 1_500_000) -> Failure:
        """Respond 200 with valid JSON of ``size`` bytes."""
        return cls(body=b'{"padding": "' + b"x" * (size - 15) + b'"}')

    @property
    def replaces(self) -> bool:
        """Whether the call is not carried out at all."""
        return self.reset or self.status is not None or self.body is not None

    def answer(self) -> Response:
        """Build the response that replaces the real one."""
        status = HTTPStatus.OK if self.status is None else self.status
        if self.body is None:
            return RefusalError(status, self.message, code=self.code).answer()
        return Response(self.body, status, content_type=self.content_type)


def spoil(response: Response, failure: Failure, stopping: threading.Event) -> Response:
    """Delay, reset, cut or drip a response.

    :param stopping: ends the waiting when it is set.
    :raises ResetConnectionError: the connection is to be reset.
    """
    stopping.wait(failure.delay)
    if failure.reset:
        raise ResetConnectionError
    if failure.retry_after is not None:
        value = failure.retry_after
        response.headers["Retry-After"] = value if isinstance(value, str) else f"{value:g}"
    response.headers.update(failure.headers)
    body = response.get_data()
    sent = body[: len(body) // 2] if failure.cut else body
    response.response = _dripped(sent, failure.drip, stopping) if failure.drip else [sent]
    response.headers["Content-Length"] = str(max(len(body), 1 if failure.cut else 0))
    return response


def _dripped(body: bytes, seconds: float, stopping: threading.Event) -> Iterator[bytes]:
    for index in range(len(body)):
        yield body[index : index + 1]
        if stopping.wait(seconds):
            return


@dataclass
class PlannedFailure:
    """A failure for the next calls that match."""

    failure: Failure
    times: int
    method: str | None
    path: str | None

    def matches(self, method: str, path: str) -> bool:
        """Whether a call has this method and path, and any failures are left."""
        wanted = self.path if self.path is not None else "/"
        if self.times < 1 or (is_frame(path) and not is_frame(wanted)):
            return False  # the frame's calls are none of the API's
        return self.method in {None, method} and fnmatchcase(path, f"{wanted}*")
