"""The site that is checked: the application, and the running site at its URL."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from flask import Flask
from werkzeug.routing import BuildError

from ..chats.hosted import HostedChat
from ..chats.served import ServedChat
from ..config import signing_keys
from ..errors import ConfigurationError
from ..http import probes
from ..identity.probes import HEADER
from ..parsers import LOOPBACK
from ..registry import ChatKitState
from .http import Http, Page, Unreachable, plain_headers

T = TypeVar("T")


class Site:
    """A kit on an application, and the URL of the running site.

    :param app: the application.
    :param kit: the kit that is checked.
    :param url: the running site's base URL; None to check the application only.
    :param pages: paths of pages to fetch.
    """

    def __init__(
        self, app: Flask, kit: ChatKitState, url: str | None = None, pages: Sequence[str] = ("/",)
    ) -> None:
        self.app = app
        self.kit = kit
        self.url = url.rstrip("/") if url else None
        self.paths = tuple(pages)
        self.http = Http(self.url) if self.url else None
        self.settings = kit.settings
        self.config: Mapping[str, Any] = app.config
        #: The servers of the chats that could be set up, by name.
        self.servers: dict[str, Any] = {}
        self._pages: dict[str, Page] = {}
        #: By server: the Date header of a response, and this machine's time in Unix seconds.
        self.clocks: dict[str, tuple[str, float]] = {}

    # -- facts --

    @property
    def hosted(self) -> list[HostedChat]:
        """The chats that OpenAI runs."""
        return [chat for chat in self.kit.chats.values() if isinstance(chat, HostedChat)]

    @property
    def served(self) -> list[ServedChat]:
        """The chats that the site serves itself."""
        return self.kit.served

    @cached_property
    def has_key(self) -> bool:
        """Whether there is a secret key."""
        try:
            return bool(signing_keys(self.config))
        except ConfigurationError:
            return False

    @property
    def is_development(self) -> bool:
        """Whether the application is in debug or testing mode."""
        return bool(self.app.debug or self.app.testing)

    @cached_property
    def parts(self) -> SplitResult:
        """The parts of the site's URL; empty ones without a URL."""
        return urlsplit(self.url or "")

    @property
    def host(self) -> str | None:
        """The site's host name, as far as it is known."""
        name = self.parts.hostname
        if name is None and self.config.get("SERVER_NAME"):
            name = urlsplit(f"//{self.config['SERVER_NAME']}").hostname
        return name

    @property
    def is_loopback(self) -> bool:
        """Whether the site is on this machine, where browsers are less strict."""
        host = self.host or ""
        return host in LOOPBACK or host.endswith(".localhost")

    @property
    def scheme(self) -> str | None:
        """``http`` or ``https``, as far as it is known without a request."""
        if self.url:
            return self.parts.scheme
        return "https" if self.config.get("PREFERRED_URL_SCHEME") == "https" else None

    @property
    def shows_openai(self) -> bool:
        """Whether a chat uses OpenAI's element in production, and not the built-in one."""
        return bool(self.hosted) or bool(self.served and self.settings.domain_key)

    # -- its pages and calls --

    def address(self, endpoint: str, **values: Any) -> str:
        """Return the path of one of the kit's endpoints, such as ``/chatkit/api``.

        :raises LookupError: its URL has variables of the site.
        """
        base = self.url or "http://localhost"
        with self.app.test_request_context("/", base_url=base):
            try:
                return self.app.url_for(f"{self.kit.name}.{endpoint}", **values)
            except BuildError:
                raise LookupError(
                    "the kit's prefix has variables, which only the site can fill in"
                ) from None

    def at(self, path: str) -> str:
        """Return the URL of a path on the running site's host."""
        return f"{self.parts.scheme}://{self.parts.netloc}{path}"

    def page(self, path: str) -> Page:
        """Return a page of the running site, or else of the application.

        :raises Unreachable: the running site does not respond.
        """
        found = self._pages.get(path)
        if found is None:
            if self.http:
                found = self.http.send("GET", f"{self.url}{path}")
            else:
                found = self.inside("GET", path)
            self._pages[path] = found
        return found

    def inside(self, method: str, path: str, sent: Mapping[str, str] | None = None) -> Page:
        """Send a request to the application without a server."""
        host = self.config.get("SERVER_NAME") or "localhost"
        found = self._ask_inside(method, path, f"{self.scheme or 'http'}://{host}", sent)
        if 300 < found.status < 400 and found.headers.get("Location") == f"https://{host}{path}":
            # An extension such as Flask-Talisman requires https, which a proxy would provide.
            found = self._ask_inside(method, path, f"https://{host}", sent)
        return found

    def _ask_inside(
        self, method: str, path: str, base: str, sent: Mapping[str, str] | None
    ) -> Page:
        client = self.app.test_client(use_cookies=False)
        answer = client.open(path, method=method, headers=dict(sent or {}), base_url=base)
        with answer:
            headers = plain_headers(answer.headers.items())
            return Page(answer.status_code, headers, answer.get_data(as_text=True))

    # -- probes --

    @cached_property
    def nonce(self) -> str:
        """A mark in the storage of the limits, for the running site to find."""
        nonce = secrets.token_hex(8)
        if not self.kit.limiter.storage.is_in_memory:
            self.kit.limiter.storage.mark(probes.mark_name(nonce), 60)
        return nonce

    def probe(self, purpose: Any) -> dict[str, str]:
        """Return the headers of a probe."""
        return {HEADER: self.kit.probes.sign(purpose, self.nonce)}

    def look(self, headers: Mapping[str, str] | None = None) -> Page:
        """Send a probe to ``…/config`` of the running site, and return the response.

        :raises Unreachable: it does not respond.
        """
        assert self.http is not None  # noqa: S101  for the type checker
        url = self.at(self.address("config"))
        return self.http.send("GET", url, {**self.probe("look"), **(headers or {})})

    @cached_property
    def seen(self) -> dict[str, Any] | None:
        """The running site's report on a probe; None without a URL or a report."""
        if self.http is None or not self.has_key:
            return None
        try:
            return seen_in(self.look())
        except (Unreachable, LookupError):
            return None

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """Return a value that is created once for all checks."""
        kept = self.__dict__.setdefault("_remembered", {})
        if key not in kept:
            kept[key] = make()
        found: T = kept[key]
        return found


def seen_in(page: Page) -> dict[str, Any] | None:
    """Return the kit's report in the response to a probe; None if there is none."""
    if page.status != 200:
        return None
    try:
        report = json.loads(page.text)
    except ValueError:
        return None
    return report if isinstance(report, dict) and "has_mark" in report else None
