"""A client of OpenAI's ChatKit API.

It calls ``POST /chatkit/sessions`` and ``POST /chatkit/sessions/{id}/cancel`` for minting, and the
endpoints of :mod:`flask_chatkit.hosted.threads`, as OpenAI's OpenAPI document 2.3.0 and the
``openai`` SDK's ``client.beta.chatkit`` define them.
"""

from __future__ import annotations

import datetime
import json
import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from ..errors import (
    ApiError,
    Misconfigured,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from .answers import (
    Reply,
    Session,
    error_of,
    parse,
    printable,
    read_session,
    request_id_of,
    retry_after,
)
from .share import RETRY_AFTER, Share
from .transport import NEVER, Call, PageTooLargeError, Transport, failed_to_connect

logger = logging.getLogger("flask_chatkit")

BETA = "chatkit_beta=v1"
#: The day on which OpenAI shuts down Agent Builder and hosted workflows (announced 2026-06-03).
WORKFLOWS_END = datetime.date(2026, 11, 30)
#: The message for visitors of a chat whose workflow has ended, and the reason for the widget.
ENDED = "This chat has ended and is no longer available."
WORKFLOW_ENDED = "workflow_ended"
MAX_ANSWER_BYTES = 1_000_000
#: Statuses for an unknown id; and for a session that is not active any more.
GONE = frozenset({404, 410})
ENDED_SESSION = GONE | {400, 409}
#: The most bytes of a page of threads or items; and of a page with a single one.
MAX_PAGE_BYTES = 8 * 2**20
MAX_ENTRY_BYTES = 64 * 2**20
ATTEMPTS = 3
#: For commands: attempts, the least seconds of one attempt, and the longest wait.
PATIENT_ATTEMPTS = 8
PATIENT_SECONDS = 30.0
LONGEST_PATIENCE = 60.0
#: Statuses after which a retry is safe: nothing was done, or a session that nobody will use.
RETRIED = frozenset({429, 502, 503, 504})
#: The most seconds of Retry-After that are waited here.
LONGEST_WAIT = 3.0
#: The most seconds of Retry-After that a browser is sent.
MAX_RETRY_AFTER = 3600

_SECRETS = re.compile(r"\b(sk|ek|sess)[-_][\w*.-]+")


class _Again(Exception):
    """An attempt failed and may be repeated, after the seconds that OpenAI asks for."""

    def __init__(self, error: ApiError, wait: float | None = None) -> None:
        self.error = error
        self.wait = wait


class Client:
    """OpenAI's ChatKit API.

    :param api_key: OpenAI's key; None raises :class:`~flask_chatkit.errors.Misconfigured` at the
        first call.
    :param base: the API's base URL, without a slash at its end.
    :param timeout: seconds to connect, and seconds to wait for the next part of an answer. Once
        connected, a whole call, retries included, ends after their sum.
    :param at_a_time: calls of a process that may wait for a slow API; see
        :class:`~flask_chatkit.hosted.share.Share`.
    :param today: returns the date, for log messages about the end of hosted workflows.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        base: str,
        timeout: tuple[float, float],
        organization: str | None = None,
        project: str | None = None,
        at_a_time: int | None = None,
        today: Callable[[], datetime.date] = lambda: datetime.datetime.now(
            datetime.timezone.utc
        ).date(),
    ) -> None:
        self._key = api_key
        self._base = base
        self._timeout = timeout
        self._today = today
        self._headers = {
            "Accept": "application/json",
            # Responses are small, and an uncompressed one can't unfold into a gigabyte.
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "OpenAI-Beta": BETA,
            "User-Agent": "flask-chatkit",
        }
        if organization:
            self._headers["OpenAI-Organization"] = organization
        if project:
            self._headers["OpenAI-Project"] = project
        self._transport = Transport(base, timeout)
        self._share = Share(at_a_time)
        self._has_minted = False

    def create_session(self, body: Mapping[str, Any]) -> Session:
        """Create a session.

        :param body: the documented body; ``user`` and ``workflow`` are required.
        :raises Misconfigured: there is no key.
        :raises UpstreamRejected: OpenAI refused, or its response is malformed.
        :raises UpstreamUnavailable: OpenAI can't be reached, is overloaded or is down.
        :raises UpstreamTimeout: OpenAI did not answer in time.
        """
        with self._share.call() as budget:
            answer, request_id = self._call("/chatkit/sessions", body, budget=budget)
        session = read_session(answer, request_id)
        self._has_minted = True
        return session

    def cancel_session(self, session_id: str, budget: float | None = None) -> None:
        """Cancel a session. One that OpenAI no longer knows as active counts as cancelled.

        :param budget: the most seconds it may take, if less than usual.
        :raises ApiError: as for :meth:`create_session`.
        """
        path = f"/chatkit/sessions/{quote(session_id, safe='')}/cancel"
        with self._share.call() as most:
            given = [seconds for seconds in (budget, most) if seconds is not None]
            self._call(path, None, gone=ENDED_SESSION, budget=min(given, default=None))

    def ask(
        self,
        method: str,
        path: str,
        *,
        gone_is_fine: bool = False,
        most: int = MAX_PAGE_BYTES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> dict[str, Any]:
        """Read or delete something for a command, with more patience than for a visitor.

        Failed attempts are repeated, up to eight in all, after the seconds of OpenAI's
        ``Retry-After``, a minute at most.

        :param method: ``GET`` or ``DELETE``.
        :param path: the path below the base URL, with its query.
        :param gone_is_fine: whether to return {} instead of an error if there is nothing.
        :param most: the most bytes of the response.
        :raises PageTooLargeError: the response is longer.
        :raises ApiError: as for :meth:`create_session`.
        """
        self._check_key()
        for attempt in range(1, PATIENT_ATTEMPTS + 1):
            deadline = time.monotonic() + max(PATIENT_SECONDS, sum(self._timeout))
            wait: float | None = None
            try:
                call = Call(method, path, None, most, GONE if gone_is_fine else NEVER)
                return self._once(call, deadline)[0]
            except _Again as again:
                error, wait = again.error, again.wait
            except (UpstreamTimeout, UpstreamUnavailable) as slow:
                error = slow
            if wait is None:
                wait = random.uniform(0.5, 1.0) * 2 ** (attempt - 1)  # noqa: S311
            if attempt == PATIENT_ATTEMPTS or wait > LONGEST_PATIENCE:
                raise error
            sleep(wait)
        raise AssertionError  # the last attempt has returned or raised

    def download(self, url: str, most: int) -> bytes:
        """Fetch a file that OpenAI links to, without the key.

        :param url: an ``https`` address on the internet, or one on the API's host.
        :param most: the most bytes that it may have.
        :raises UpstreamRejected: the address is not allowed, or there is no such file.
        :raises UpstreamTimeout: it did not arrive in time.
        :raises UpstreamUnavailable: the host can't be reached.
        """
        is_public = self._is_elsewhere(url)
        call = Call("GET", url, None, most, is_link=True, is_public=is_public)
        try:
            status, headers, raw = self._transport.send(
                call, self._all_headers(), time.monotonic() + PATIENT_SECONDS
            )
        except ApiError as error:
            logger.warning("A file could not be fetched: %s", error.detail or error.slug)
            raise
        if status != 200:
            raise UpstreamRejected(
                detail=f"the link was answered {status}, request id {request_id_of(headers)}"
            )
        return raw

    def _is_elsewhere(self, url: str) -> bool:
        """Whether a link leads to another host than the API's.

        :raises UpstreamRejected: the link is not allowed.
        """
        try:
            link, base = urlsplit(url), urlsplit(self._base)
            if link[:2] == base[:2]:
                return False
            if link.scheme == "https" and link.hostname and "@" not in link.netloc:
                return True
        except ValueError:
            pass
        raise UpstreamRejected(detail="the link is no https address")

    def look(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, seconds: float = 4.0
    ) -> Reply:
        """Make one call for ``doctor``, and return the response, whatever it is.

        :param path: the path below the base URL, with its query.
        :param seconds: the most seconds it may take.
        :raises ApiError: there is no key, or no complete response.
        """
        self._check_key()
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        call = Call(method, path, data, MAX_ANSWER_BYTES)
        status, headers, raw = self._transport.send(
            call, self._all_headers(), time.monotonic() + seconds
        )
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        error = {key: self._redact(printable(value, 200)) for key, value in error_of(raw).items()}
        return Reply(status, headers, answer if isinstance(answer, dict) else {}, error)

    def _check_key(self) -> None:
        if not self._key:
            raise Misconfigured(detail="there is no API key: set CHATKIT_API_KEY or OPENAI_API_KEY")

    def _call(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        gone: frozenset[int] = NEVER,
        budget: float | None = None,
    ) -> tuple[dict[str, Any], str]:
        self._check_key()
        usual = sum(self._timeout)
        deadline = time.monotonic() + min(usual, budget or usual)
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        call = Call("POST", path, data, MAX_ANSWER_BYTES, gone)
        attempt = 1
        while True:
            try:
                return self._once(call, deadline)
            except _Again as again:
                # Jitter, so that workers that failed together don't retry together.
                wait = again.wait
                if wait is None:
                    wait = random.uniform(0.1, 0.3) * attempt  # noqa: S311
                # A wait occupies one of the site's workers; the browser does the long ones.
                if (
                    attempt == ATTEMPTS
                    or wait > LONGEST_WAIT
                    or time.monotonic() + wait >= deadline
                ):
                    raise again.error from again.__cause__
                time.sleep(wait)
                attempt += 1

    def _once(self, call: Call, deadline: float) -> tuple[dict[str, Any], str]:
        """Make one attempt; return the response and OpenAI's request id.

        :raises ApiError: it failed for good.
        :raises _Again: a retry is safe, and may help.
        """
        try:
            status, headers, raw = self._transport.send(call, self._all_headers(), deadline)
        except PageTooLargeError:
            raise
        except ApiError as error:
            if error.detail:
                logger.error("OpenAI: %s: %s", call.shown, error.detail)  # noqa: TRY400  in a line
            if failed_to_connect(error):
                raise _Again(error) from error.__cause__
            raise
        request_id = request_id_of(headers)
        if 200 <= status < 300:
            logger.debug("OpenAI: %s: %s, request id %s", call.shown, status, request_id)
            return parse(raw, headers, request_id), request_id
        if status in call.gone:
            return {}, request_id
        refusal = self._refusal(call, status, headers, raw, request_id)
        if status in RETRIED and error_of(raw).get("code") != "insufficient_quota":
            raise _Again(refusal, retry_after(headers))
        raise refusal

    def _all_headers(self) -> dict[str, str]:
        return {**self._headers, "Authorization": f"Bearer {self._key}"}

    def _refusal(
        self, call: Call, status: int, headers: Mapping[str, str], raw: bytes, request_id: str
    ) -> ApiError:
        """Log OpenAI's refusal, and return the error for the browser."""
        error = error_of(raw)
        logger.error(
            "OpenAI: %s: %s, request id %s, type %s, code %s: %s",
            call.shown,
            status,
            request_id,
            printable(error.get("type")),
            printable(error.get("code")),
            self._redact(printable(error.get("message"), 300)),
        )
        if call.path == "/chatkit/sessions" and self._has_ended(status):
            logger.error(
                "OpenAI does not run this workflow: hosted workflows end on %s. Serve the chat "
                "yourself: set CHATKIT_SERVER in place of CHATKIT_WORKFLOW_ID",
                WORKFLOWS_END,
            )
            if self._today() < WORKFLOWS_END and status == 404 and not self._has_minted:
                logger.error(
                    "If the workflow still runs, it belongs to another organisation or project: "
                    "see CHATKIT_ORGANIZATION and CHATKIT_PROJECT"
                )
            return UpstreamRejected(ENDED, reason=WORKFLOW_ENDED)
        if status in {401, 403}:
            logger.error("OpenAI does not accept the key: see CHATKIT_API_KEY")
        if status == 429 or status >= 500:
            wait = retry_after(headers)
            seconds = RETRY_AFTER if wait is None else min(MAX_RETRY_AFTER, max(1, round(wait)))
            return UpstreamUnavailable(retry_after=seconds)
        return UpstreamRejected()

    def _has_ended(self, status: int) -> bool:
        """Whether a refused mint means that the workflow has ended.

        OpenAI has not documented its response after the end: 410 and 404 mean it on any day, and
        400 and 403 from that day on.
        """
        return status in {404, 410} or (status in {400, 403} and self._today() >= WORKFLOWS_END)

    def _redact(self, text: str) -> str:
        return _SECRETS.sub(r"\1-[removed]", text.replace(self._key or "\0", "[key removed]"))
