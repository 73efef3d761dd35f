"""The doctor's HTTP client for the running site, with its errors in plain words."""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

#: Seconds to connect, and seconds to wait for the next bytes.
TIMEOUT = (3.0, 4.0)
#: Seconds to wait for "100 Continue" or a refusal before a body is sent.
EXPECT_SECONDS = 1.5
#: Bytes of a page that are read.
MAX_PAGE = 2 * 2**20
_CHUNK = 64 * 1024


class Unreachable(Exception):
    """The site did not respond; the message has the reason, without secrets."""


@dataclass(frozen=True)
class Page:
    """A response.

    :param headers: its headers, case-insensitive.
    """

    status: int
    headers: Mapping[str, str]
    text: str


def plain_headers(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Return case-insensitive headers; repeated ones are joined, as browsers do."""
    found: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


class Http:
    """A client of the running site, without redirects and cookies.

    :param url: the site's base URL, perhaps with a name and password for HTTP Basic.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._proxies = requests.utils.get_environ_proxies(_bare(url))
        self._verify = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        named = parts.username is not None
        self._auth = (parts.username or "", parts.password or "") if named else None

    def send(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, *, auth: bool = True
    ) -> Page:
        """Ask once, on a connection of its own, which any worker may take.

        :param auth: whether the name and password of the site's URL are sent along.
        :raises Unreachable: there was no answer.
        """
        return self._ask(method, url, headers, auth=auth, piece=_CHUNK)[0]

    def stream(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> tuple[Page, list[float]]:
        """Ask once, and note when each byte of the answer came, in monotonic seconds.

        :raises Unreachable: there was no answer.
        """
        return self._ask(method, url, headers, auth=True, piece=1)

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        *,
        auth: bool,
        piece: int,
    ) -> tuple[Page, list[float]]:
        with _plain_errors(), requests.Session() as session:
            session.trust_env = False  # no credentials of a .netrc
            with session.request(
                method,
                _bare(url),
                headers={"User-Agent": "flask-chatkit-doctor", **(headers or {})},
                auth=self._auth if auth else None,
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
                proxies=self._proxies,
                verify=self._verify,
            ) as response:
                times, body = [], bytearray()
                # After decompression, as in a browser.
                for chunk in response.iter_content(piece):
                    times.append(time.monotonic())
                    body += chunk
                    if len(body) > MAX_PAGE:
                        break
                text = bytes(body).decode("utf-8", "replace")
                return Page(response.status_code, response.headers, text), times

    def upload(self, url: str, headers: Mapping[str, str], size: int, seconds: float) -> int:
        """Announce a body of zeros, and send it unless it is refused; return the status.

        Servers refuse a body for its size when they read its length, so a large one need not be
        sent whole: 0 stands for no refusal within the time.

        :param size: the body's length in bytes.
        :param seconds: how long to send.
        :raises Unreachable: there was no response.
        """
        parts = urlsplit(_bare(url))
        with _plain_errors(), ExitStack() as opened:
            sock = opened.enter_context(
                self._connect(parts.hostname or "", parts.scheme, parts.port)
            )
            head = [
                f"POST {parts.path} HTTP/1.1",
                f"Host: {parts.netloc}",
                "User-Agent: flask-chatkit-doctor",
                "Content-Type: application/octet-stream",
                f"Content-Length: {size}",
                "Expect: 100-continue",
                "Connection: close",
                *(f"{name}: {value}" for name, value in headers.items()),
            ]
            sock.sendall("\r\n".join([*head, "", ""]).encode("ascii"))
            sock.settimeout(EXPECT_SECONDS)
            with suppress(TimeoutError):
                status = _status(sock)
                if status >= 200:
                    return status
            return _send_body(sock, size, time.monotonic() + seconds)

    def _connect(self, host: str, scheme: str, port: int | None) -> socket.socket:
        is_https = scheme == "https"
        plain = socket.create_connection((host, port or (443 if is_https else 80)), TIMEOUT[0])
        if not is_https:
            return plain
        bundle = None if self._verify is True else str(self._verify)
        return ssl.create_default_context(cafile=bundle).wrap_socket(plain, server_hostname=host)


def _send_body(sock: socket.socket, size: int, deadline: float) -> int:
    sock.settimeout(TIMEOUT[1])
    sent = 0
    # A server that refuses meanwhile closes the connection; its response can still be read.
    with suppress(ConnectionError):
        while sent < size:
            if time.monotonic() > deadline:
                return 0
            chunk = bytes(min(_CHUNK, size - sent))
            sock.sendall(chunk)
            sent += len(chunk)
    return _status(sock)


def _status(sock: socket.socket) -> int:
    """Read the status of the next response."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(_CHUNK)
        if not piece:
            break
        head += piece
    found = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if found is None:
        raise Unreachable("the connection was closed without an answer")
    status = int(found[1])
    # Some servers send "100 Continue" and the response at once.
    rest = head.partition(b"\r\n\r\n")[2]
    later = re.match(rb"HTTP/1\.[01] (\d{3})", rest)
    return int(later[1]) if status == 100 and later else status


def _bare(url: str) -> str:
    """Return a URL without its name and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise errors of the connection as :class:`Unreachable`."""
    try:
        yield
    except (requests.exceptions.SSLError, ssl.SSLError) as error:
        raise Unreachable("its TLS certificate is not accepted" + _reason(error)) from error
    except (requests.Timeout, TimeoutError) as error:
        raise Unreachable("it did not answer in time") from error
    except requests.exceptions.ProxyError as error:
        raise Unreachable("the outgoing proxy (HTTPS_PROXY) refused") from error
    except (requests.RequestException, HTTPError, OSError) as error:
        raise Unreachable(_plain(error)) from error


def _reason(error: BaseException) -> str:
    found = re.search(r"certificate verify failed: ([\w ,'.-]+?)(?: \(|$)", str(error))
    return f" ({found[1]})" if found else ""


def _plain(error: BaseException) -> str:
    message = str(error)
    names = ("getaddrinfo", "NameResolutionError", "Name or service")
    if any(name in message for name in names):
        return "its host name is not known"
    if "refused" in message.lower():
        return "the connection was refused"
    return f"the connection failed ({type(error).__name__})"
