"""Sends HTTP requests to OpenAI, over one connection pool a process."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import NoReturn
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import ReadTimeoutError

from ..errors import ApiError, UpstreamRejected, UpstreamTimeout, UpstreamUnavailable
from .answers import malformed, request_id_of
from .connections import Adapter, Watch
from .share import RETRY_AFTER

NEVER: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Call:
    """A call.

    :param path: the path below the base URL, with its query.
    :param most: the most bytes of the response.
    :param gone: statuses of something that is gone, if that is not an error.
    :param is_link: whether ``path`` is a whole URL, to which no key is sent.
    :param is_public: whether it may reach public addresses only.
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
        """The call for the log, without its query, which has names of visitors."""
        return f"{self.method} {self.path.partition('?')[0]}"


class PageTooLargeError(UpstreamRejected):
    """A page has too many bytes; ask for one with fewer entries."""


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
        # Cookies of OpenAI's edge must not pass from one visitor's mint to the next.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = Adapter(pool_connections=2, pool_maxsize=64, max_retries=0)
        self.mount("https://", adapter)
        self.mount("http://", adapter)


class Transport:
    """Sends calls to OpenAI.

    Each process has one pooled :class:`requests.Session`, created at its first call: two processes
    must not share a TLS connection.

    :param base: the API's base URL, without a slash at its end.
    :param timeout: seconds to connect, and seconds to wait for the next part of an answer.
    """

    def __init__(self, base: str, timeout: tuple[float, float]) -> None:
        self._base = base
        self._host = urlsplit(base).hostname
        self._timeout = timeout
        self._pools: dict[int, _Pool] = {}

    def send(
        self, call: Call, headers: Mapping[str, str], deadline: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Make one attempt, and read the response.

        :param headers: the API's headers; a link gets none.
        :param deadline: the end of the call, in seconds of ``time.monotonic()``.
        :returns: the status, the headers and the body.
        :raises UpstreamTimeout: the response did not end in time.
        :raises UpstreamUnavailable: the connection failed.
        :raises UpstreamRejected: the response is too long.
        """
        pool = self._pool()
        answered: Mapping[str, str] = {}
        with pool.watch.call(deadline, public=call.is_public) as watched:
            try:
                with self._open(pool, call, headers, deadline) as response:
                    answered = response.headers
                    raw = bytearray()
                    while len(raw) <= call.most and (chunk := response.raw.read(65536)):
                        raw += chunk
            except (requests.RequestException, TransportError) as error:
                if watched.ended or isinstance(error, (requests.Timeout, ReadTimeoutError)):
                    raise UpstreamTimeout(
                        detail=f"no answer in time ({type(error).__name__}), "
                        f"request id {request_id_of(answered)}"
                    ) from error
                raise UpstreamUnavailable(
                    detail=f"the connection to {self._host} failed ({_innermost(error)}), "
                    f"request id {request_id_of(answered)}",
                    retry_after=RETRY_AFTER,
                ) from error
        if watched.ended:
            raise UpstreamTimeout(
                detail=f"the answer did not end in time, request id {request_id_of(answered)}"
            )
        if len(raw) > call.most:
            _refuse_long(call, answered)
        return response.status_code, answered, bytes(raw)

    def _open(
        self, pool: _Pool, call: Call, headers: Mapping[str, str], deadline: float
    ) -> requests.Response:
        request = requests.PreparedRequest()
        request.prepare(
            method=call.method,
            url=call.path if call.is_link else self._base + call.path,
            headers={} if call.is_link else headers,
            data=call.data,
        )
        connect, read = self._timeout
        left = max(0.001, deadline - time.monotonic())
        timeout = min(connect, left), min(read, left)
        return pool.send(request, stream=True, allow_redirects=False, timeout=timeout)

    def _pool(self) -> _Pool:
        pid = os.getpid()
        pool = self._pools.get(pid)
        if pool is None:
            # setdefault is atomic: two threads get the same pool.
            pool = self._pools.setdefault(pid, _Pool(self._base))
        return pool


def _refuse_long(call: Call, headers: Mapping[str, str]) -> NoReturn:
    if call.is_link:
        raise UpstreamRejected(detail=f"the file has more than {call.most} bytes")
    if call.method == "GET":
        raise PageTooLargeError(detail=f"the answer has more than {call.most} bytes")
    malformed(f"it has more than {call.most} bytes", request_id_of(headers))


def failed_to_connect(error: ApiError) -> bool:
    """Whether there was no connection or it broke; a slow API is not retried."""
    return isinstance(error, UpstreamUnavailable) or isinstance(
        error.__cause__, requests.ConnectTimeout
    )


def _innermost(error: BaseException) -> str:
    """Return the innermost error's name; its message may contain a proxy's password."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        if inner is None or inner is seen:
            return type(seen).__name__
        seen = inner
