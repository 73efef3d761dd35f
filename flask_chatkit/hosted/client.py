"""OpenAI's ChatKit API. Only this module talks to OpenAI.

``POST /chatkit/sessions`` and ``POST /chatkit/sessions/{id}/cancel``, which minting needs, and what
:mod:`flask_chatkit.hosted.threads` asks; as in OpenAI's OpenAPI document 2.3.0 and the ``openai``
SDK's ``client.beta.chatkit``.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn, TypeGuard
from urllib.parse import quote, urlsplit

import requests
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import ReadTimeoutError

from ..errors import (
    ApiError,
    Misconfigured,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from .share import Share
from .transport import Adapter, Watch

logger = logging.getLogger("flask_chatkit")

BETA = "chatkit_beta=v1"
#: The day on which OpenAI shuts Agent Builder, and with it hosted workflows, down
#: (announced 2026-06-03).
WORKFLOWS_END = datetime.date(2026, 11, 30)
#: What a visitor reads of a chat whose workflow has ended, and by which reason the widget knows.
ENDED = "This chat has ended and is no longer available."
WORKFLOW_ENDED = "workflow_ended"
MAX_ANSWER_BYTES = 1_000_000
#: Answers that there is nothing of an id; and that a session is not active any more.
GONE = frozenset({404, 410})
ENDED_SESSION = GONE | {400, 409}
NEVER: frozenset[int] = frozenset()
#: Bytes of a page of threads or items; and of a page of a single one.
MAX_PAGE_BYTES = 8 * 2**20
MAX_ENTRY_BYTES = 64 * 2**20
ATTEMPTS = 3
#: For what a command asks: attempts, seconds of one attempt at least, and of one wait at most.
PATIENT_ATTEMPTS = 8
PATIENT_SECONDS = 30.0
LONGEST_PATIENCE = 60.0
#: Answers after which asking again is safe: nothing was done, or a session that nobody will use.
RETRIED = frozenset({429, 502, 503, 504})
#: Seconds of Retry-After that are waited for here.
LONGEST_WAIT = 3.0
#: Seconds that a browser is told to wait when OpenAI named none, and the most it is told.
RETRY_AFTER = 5
MAX_RETRY_AFTER = 3600

_SECRETS = re.compile(r"\b(sk|ek|sess)[-_][\w*.-]+")


@dataclass(frozen=True)
class Session:
    """What ``POST /chatkit/sessions`` answers, as far as minting needs it.

    :param id: ``cksess_…``.
    :param client_secret: opaque; for the browser.
    :param expires_at: Unix seconds.
    :param request_id: OpenAI's id of the call, for the log.
    """

    id: str
    client_secret: str = field(repr=False)
    expires_at: int
    request_id: str = "none"


@dataclass(frozen=True)
class Reply:
    """What OpenAI answered to one call, be it a refusal.

    :param headers: those of the answer; case does not matter.
    :param error: OpenAI's error, with its ``message``, ``type`` and ``code``; {} without one.
    """

    status: int
    headers: Mapping[str, str]
    answer: dict[str, Any] = field(repr=False)
    error: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class _Call:
    """One call: what is sent, and how much may come back.

    :param path: below the base URL, with its query.
    :param most: bytes of the longest answer.
    :param is_link: whether ``path`` is a whole address, which is sent no key.
    :param is_public: whether it may lead to addresses of the internet only.
    :param gone: statuses that say there is nothing any more, where that is no failure.
    """

    method: str
    path: str
    data: bytes | None
    most: int
    gone: frozenset[int] = NEVER
    is_link: bool = False
    is_public: bool = False

    @property
    def shown(self) -> str:
        """The call as the log has it: a query names people."""
        return f"{self.method} {self.path.partition('?')[0]}"


class _Again(Exception):
    """Why an attempt failed, and how many seconds OpenAI wants to be left alone."""

    def __init__(self, error: ApiError, wait: float | None = None) -> None:
        self.error = error
        self.wait = wait


class PageTooLargeError(UpstreamRejected):
    """A page has more bytes than were asked for; one of fewer entries may do."""


class _Pool(requests.Session):
    """A process's connections to OpenAI."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.watch = Watch()
        # The environment is read once: requests reads it, and ~/.netrc, again at each call, and a
        # netrc entry would replace our Authorization.
        self.proxies = requests.utils.get_environ_proxies(base)
        self.verify = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        self.trust_env = False
        # A cookie that OpenAI's edge sets for one visitor's mint is no business of the next one's.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = Adapter(pool_connections=2, pool_maxsize=64, max_retries=0)
        self.mount("https://", adapter)
        self.mount("http://", adapter)


class Client:
    """OpenAI's ChatKit API.

    One pooled :class:`requests.Session` serves a process. It is made at the first call, and again
    after a fork, since two processes on one TLS connection talk into each other's sentences.

    :param api_key: OpenAI's key; None raises :class:`~flask_chatkit.errors.Misconfigured` at the
        first call.
    :param base: the API's base URL, without a slash at its end.
    :param timeout: seconds to connect, and seconds to wait for the next part of an answer. Once
        connected, a whole call, retries included, ends after their sum.
    :param at_a_time: calls of a process that may wait while the API is slow; see
        :class:`~flask_chatkit.hosted.share.Share`.
    :param today: the date, for what the log says about the end of hosted workflows.
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
        self._host = urlsplit(base).hostname
        self._timeout = timeout
        self._today = today
        self._headers = {
            "Accept": "application/json",
            # Answers are small, and what is not compressed can't unfold into a gigabyte.
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "OpenAI-Beta": BETA,
            "User-Agent": "flask-chatkit",
        }
        if organization:
            self._headers["OpenAI-Organization"] = organization
        if project:
            self._headers["OpenAI-Project"] = project
        self._pools: dict[int, _Pool] = {}
        self._share = Share(at_a_time)
        self._has_minted = False

    def create_session(self, body: Mapping[str, Any]) -> Session:
        """Create a session.

        :param body: the documented body; ``user`` and ``workflow`` are required.
        :raises Misconfigured: there is no key.
        :raises UpstreamRejected: OpenAI refused, or its answer is not of the documented form.
        :raises UpstreamUnavailable: OpenAI can't be reached, is overloaded or is down.
        :raises UpstreamTimeout: OpenAI did not answer in time.
        """
        with self._share.call() as budget:
            answer, request_id = self._call("/chatkit/sessions", body, budget=budget)
        identifier, secret = answer.get("id"), answer.get("client_secret")
        expires_at = answer.get("expires_at")
        if not (
            _is_word(identifier)
            and _is_word(secret)
            and isinstance(expires_at, int)
            and not isinstance(expires_at, bool)
            and answer.get("status", "active") == "active"
        ):
            _malformed(
                "it is not an active session with id, client_secret and expires_at", request_id
            )
        self._has_minted = True
        return Session(identifier, secret, expires_at, request_id)

    def cancel_session(self, session_id: str, budget: float | None = None) -> None:
        """Cancel a session. One that OpenAI no longer knows as active counts as cancelled.

        :param budget: how many seconds it may take at most, if that is less than usual.
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
        """Read or delete something, patiently: a command waits for it, and no visitor.

        What may come right is asked again, up to eight times, after as long as OpenAI's
        ``Retry-After`` says, a minute at most.

        :param method: ``GET`` or ``DELETE``.
        :param path: the path below the base URL, with its query.
        :param gone_is_fine: True for an empty mapping in place of an error where there is nothing.
        :param most: bytes of the longest answer.
        :raises PageTooLargeError: the answer is longer.
        :raises ApiError: as for :meth:`create_session`.
        """
        self._check_key()
        for attempt in range(1, PATIENT_ATTEMPTS + 1):
            deadline = time.monotonic() + max(PATIENT_SECONDS, sum(self._timeout))
            wait: float | None = None
            try:
                call = _Call(method, path, None, most, GONE if gone_is_fine else NEVER)
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

        :param url: an ``https`` address on the internet, or one of where the API itself is.
        :param most: bytes that it may have.
        :raises UpstreamRejected: the address is none of these, or it has no such file.
        :raises UpstreamTimeout: it did not come in time.
        :raises UpstreamUnavailable: it can't be reached.
        """
        is_public = self._is_elsewhere(url)
        call = _Call("GET", url, None, most, is_link=True, is_public=is_public)
        try:
            status, headers, raw = self._send(call, time.monotonic() + PATIENT_SECONDS)
        except ApiError as error:
            logger.warning("A file could not be fetched: %s", error.detail or error.slug)
            raise
        if status != 200:
            raise UpstreamRejected(
                detail=f"the link was answered {status}, request id {_request_id(headers)}"
            )
        return raw

    def _is_elsewhere(self, url: str) -> bool:
        """Whether a link leads to another place than the API's own.

        :raises UpstreamRejected: it is none that is followed.
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
        """Ask once, and return what OpenAI answers, whatever it is: for ``doctor``.

        :param path: the path below the base URL, with its query.
        :param seconds: how long it may take at most.
        :raises ApiError: there is no key, or no whole answer.
        """
        self._check_key()
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        call = _Call(method, path, data, MAX_ANSWER_BYTES)
        status, headers, raw = self._send(call, time.monotonic() + seconds)
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        error = {key: self._redact(_printable(value, 200)) for key, value in _error_of(raw).items()}
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
        call = _Call("POST", path, data, MAX_ANSWER_BYTES, gone)
        attempt = 1
        while True:
            try:
                return self._once(call, deadline)
            except _Again as again:
                # Jitter, so that workers which failed together do not come back together.
                wait = again.wait
                if wait is None:
                    wait = random.uniform(0.1, 0.3) * attempt  # noqa: S311
                # A wait keeps one of the site's workers; a long one is the browser's to wait.
                if (
                    attempt == ATTEMPTS
                    or wait > LONGEST_WAIT
                    or time.monotonic() + wait >= deadline
                ):
                    raise again.error from again.__cause__
                time.sleep(wait)
                attempt += 1

    def _once(self, call: _Call, deadline: float) -> tuple[dict[str, Any], str]:
        """Ask once; the answer, and OpenAI's id of the call.

        :raises ApiError: for good.
        :raises _Again: asking again is safe, and may help.
        """
        try:
            status, headers, raw = self._send(call, deadline)
        except PageTooLargeError:
            # Whoever asks for pages knows what to do.
            raise
        except ApiError as error:
            if error.detail:
                logger.error("OpenAI: %s: %s", call.shown, error.detail)  # noqa: TRY400  in a line
            # Nobody was reached, or the line broke. An answer that is slow stays slow.
            if isinstance(error, UpstreamUnavailable) or isinstance(
                error.__cause__, requests.ConnectTimeout
            ):
                raise _Again(error) from error.__cause__
            raise
        request_id = _request_id(headers)
        if 200 <= status < 300:
            logger.debug("OpenAI: %s: %s, request id %s", call.shown, status, request_id)
            return _parse(raw, headers, request_id), request_id
        if status in call.gone:
            return {}, request_id
        refusal = self._refusal(call, status, headers, raw, request_id)
        if status in RETRIED and _error_of(raw).get("code") != "insufficient_quota":
            raise _Again(refusal, _retry_after(headers))
        raise refusal

    def _send(self, call: _Call, deadline: float) -> tuple[int, Mapping[str, str], bytes]:
        """Send once, and read the answer, as far as it may go, before the deadline."""
        request = requests.PreparedRequest()
        request.prepare(
            method=call.method,
            url=call.path if call.is_link else self._base + call.path,
            headers={} if call.is_link else self._all_headers(),
            data=call.data,
        )
        connect, read = self._timeout
        left = max(0.001, deadline - time.monotonic())
        pool = self._pool()
        headers: Mapping[str, str] = {}
        with pool.watch.call(deadline, public=call.is_public) as watched:
            try:
                response = pool.send(
                    request,
                    stream=True,
                    allow_redirects=False,
                    timeout=(min(connect, left), min(read, left)),
                )
                headers = response.headers
                with response:
                    raw = bytearray()
                    while len(raw) <= call.most and (chunk := response.raw.read(65536)):
                        raw += chunk
            except (requests.RequestException, TransportError) as error:
                if watched.ended or isinstance(error, (requests.Timeout, ReadTimeoutError)):
                    raise UpstreamTimeout(
                        detail=f"no answer in time ({type(error).__name__}), "
                        f"request id {_request_id(headers)}"
                    ) from error
                raise UpstreamUnavailable(
                    detail=f"the connection to {self._host} failed ({_innermost(error)}), "
                    f"request id {_request_id(headers)}",
                    retry_after=RETRY_AFTER,
                ) from error
        if watched.ended:
            raise UpstreamTimeout(
                detail=f"the answer did not end in time, request id {_request_id(headers)}"
            )
        if len(raw) > call.most:
            if call.is_link:
                raise UpstreamRejected(detail=f"the file has more than {call.most} bytes")
            if call.method == "GET":
                raise PageTooLargeError(detail=f"the answer has more than {call.most} bytes")
            _malformed(f"it has more than {call.most} bytes", _request_id(headers))
        return response.status_code, headers, bytes(raw)

    def _all_headers(self) -> dict[str, str]:
        return {**self._headers, "Authorization": f"Bearer {self._key}"}

    def _pool(self) -> _Pool:
        pid = os.getpid()
        pool = self._pools.get(pid)
        if pool is None:
            # setdefault is atomic: of two threads that get here at once, one pool is never used.
            pool = self._pools.setdefault(pid, _Pool(self._base))
        return pool

    def _refusal(
        self, call: _Call, status: int, headers: Mapping[str, str], raw: bytes, request_id: str
    ) -> ApiError:
        """Tell the log what OpenAI said, and make the error that the browser is told."""
        error = _error_of(raw)
        logger.error(
            "OpenAI: %s: %s, request id %s, type %s, code %s: %s",
            call.shown,
            status,
            request_id,
            _printable(error.get("type")),
            _printable(error.get("code")),
            self._redact(_printable(error.get("message"), 300)),
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
            wait = _retry_after(headers)
            seconds = RETRY_AFTER if wait is None else min(MAX_RETRY_AFTER, max(1, round(wait)))
            return UpstreamUnavailable(retry_after=seconds)
        return UpstreamRejected()

    def _has_ended(self, status: int) -> bool:
        """Whether a refused mint means that the workflow has ended.

        What OpenAI answers after the end is not documented: 410 and 404 mean it on any day, and
        once the day has come so does what else is said of a key that is good.
        """
        return status in {404, 410} or (status in {400, 403} and self._today() >= WORKFLOWS_END)

    def _redact(self, text: str) -> str:
        return _SECRETS.sub(r"\1-[removed]", text.replace(self._key or "\0", "[key removed]"))


def _is_word(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]{1,512}", value) is not None


def _request_id(headers: Mapping[str, str]) -> str:
    return _printable(headers.get("x-request-id", "none"))


def _malformed(reason: str, request_id: str) -> NoReturn:
    logger.error("OpenAI's answer is of no use (request id %s): %s", request_id, reason)
    raise UpstreamRejected


def _parse(raw: bytes, headers: Mapping[str, str], request_id: str) -> dict[str, Any]:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        _malformed(f"its type is {_printable(kind)!r}", request_id)
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        _malformed("it is not JSON", request_id)
    if not isinstance(answer, dict):
        _malformed("it is no JSON object", request_id)
    return answer


def _error_of(raw: bytes) -> dict[str, Any]:
    try:
        error = json.loads(raw)["error"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return {}
    return error if isinstance(error, dict) else {}


def _printable(value: object, length: int = 80) -> str:
    """What OpenAI, or who pretends to be it, said, on one line of the log."""
    return re.sub(r"[^\x20-\x7e]", "?", str(value))[:length]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either form of ``Retry-After``."""
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


def _innermost(error: BaseException) -> str:
    """The name of the failure beneath the wrappers; its text may hold a proxy's password."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        if inner is None or inner is seen:
            return type(seen).__name__
        seen = inner
