"""The calls that the widget of a served chat makes, through a test client of the application."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, request, url_for
from flask.testing import FlaskClient
from werkzeug.routing import BuildError
from werkzeug.test import TestResponse

from ..chats.checks import DEFAULT
from ..chats.served import ServedChat
from ..errors import ApiError, OptionError
from ..identity.sessions import HEADER as TOKEN_HEADER
from ..registry import ChatKitState, kits, named_kit
from .answers import CallRefusedError

if TYPE_CHECKING:
    from ..server.protocol.dispatcher import Dispatcher

T = TypeVar("T")


class Transport:
    """One visitor's calls of one served chat; the first one mints a secret.

    :param app: the application.
    :param chat: the chat's name.
    :param kit: the kit's name; the application's first by default.
    :param client: the test client with the visitor's cookies.
    :param base_url: the site's address, such as ``https://shop.example/app/``.
    :param headers: sent with every call.
    :param url_values: values of variables in the kit's URLs.
    :raises LookupError: there is no such kit or served chat.
    """

    def __init__(
        self,
        app: Flask,
        chat: str,
        kit: str | None,
        client: FlaskClient,
        base_url: str | None,
        headers: Mapping[str, str],
        url_values: Mapping[str, Any],
    ) -> None:
        self.app = app
        self.chat = chat
        self.client = client
        self._base_url = base_url
        self._headers = dict(headers)
        self._url_values = dict(url_values)
        self._token: str | None = None
        self._config: dict[str, Any] | None = None
        #: What the page says that it is about.
        self.page: Mapping[str, Any] = {}
        self.state, self._declared = self._in_request(lambda: _served(app, kit, chat))

    # --- the widget's calls -----------------------------------------------------------------------

    def post(self, kind: str, params: Mapping[str, Any]) -> TestResponse:
        """Make a call of ChatKit's protocol; return the response with its body unread.

        :raises CallRefusedError: the status is not 200.
        """
        return self._api(kind, params, buffered=False)

    def ask(self, kind: str, /, **params: Any) -> Any:
        """Make a call, and return the JSON of its response.

        :raises CallRefusedError: the status is not 200.
        """
        return self._api(kind, params, buffered=True).get_json()

    def _api(self, kind: str, params: Mapping[str, Any], *, buffered: bool) -> TestResponse:
        metadata = {"page": dict(self.page)} if self.page else {}
        body = json.dumps({"type": kind, "params": params, "metadata": metadata})
        more = {"data": body, "content_type": "application/json", "buffered": buffered}
        return self.call(kind, "POST", self._url("api"), **more)

    def call(self, what: str, method: str, url: str, /, **more: Any) -> TestResponse:
        """Make a call as the visitor; an expired secret is renewed once.

        :param what: the call's name in errors.
        :param more: arguments of :meth:`FlaskClient.open <flask.testing.FlaskClient.open>`.
        :raises CallRefusedError: the status is not 200.
        """
        response = self._as_visitor(method, url, more)
        if response.status_code == 401:
            self.isolate(response.close)
            self._token = None
            response = self._as_visitor(method, url, more)
        if response.status_code != 200:
            raise CallRefusedError(what, response)
        return response

    def stop(self, thread: str) -> None:
        """Have what is answered in a thread stopped, as the Stop button does."""
        response = self._as_visitor("POST", self._url("stop"), {"json": {"thread_id": thread}})
        self.isolate(response.close)

    def upload(self, file: Any, name: str, mime_type: str) -> dict[str, Any]:
        """Upload a file as the chat's configuration requires; return ChatKit's attachment.

        :raises CallRefusedError: it was refused.
        :raises ValueError: the chat accepts no files.
        """
        way = self.config.get("upload")
        if way is None:
            raise ValueError(f"the chat {self.chat!r} accepts no files: its widget has no button")
        if way["type"] == "direct":
            form = {"file": (file, name, mime_type)}
            url = self._url("attachments")
            response = self.call("attachments", "POST", url, data=form)
            attachment: dict[str, Any] = response.get_json()
            return attachment
        data = file.read()
        attachment = self.ask("attachments.create", name=name, size=len(data), mime_type=mime_type)
        to = attachment["upload_descriptor"]
        more = {"data": data, "headers": to.get("headers", {})}
        self.call("attachments", to["method"], to["url"], **more)
        return attachment

    @property
    def config(self) -> dict[str, Any]:
        """The chat's configuration for the widget."""
        if self._config is None:
            response = self.send("GET", self._url("config"), {})
            if response.status_code != 200:
                raise CallRefusedError("config", response)
            self._config = response.get_json()
        return self._config

    def forget(self) -> None:
        """Drop the secret, like a reloaded page."""
        self._token = None

    def wait(self, seconds: float) -> None:
        """Wait until the abandoned answers of this chat have ended."""
        self._in_request(lambda: self._dispatcher.settle(seconds))

    def clear_replays(self) -> None:
        """Make a repeated message a new one.

        Within seconds, it would count as the retry of a browser that has lost its connection. No
        visitor types that fast, but a test does.
        """
        self._in_request(self._clear_replays)

    def _clear_replays(self) -> None:
        self._dispatcher.clear_replays()

    @property
    def _dispatcher(self) -> Dispatcher:
        return self.state.service.dispatcher(self._declared)

    # --- requests ---------------------------------------------------------------------------------

    def send(self, method: str, url: str, more: Mapping[str, Any]) -> TestResponse:
        """Send a request as a page of the site does, and return any response."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        path = parts.path.removeprefix(self._root) + (f"?{parts.query}" if parts.query else "")
        ours = {"Origin": origin, "Sec-Fetch-Site": "same-origin", **self._headers}
        options = {"buffered": True, **more, "headers": {**ours, **more.get("headers", {})}}
        return self.isolate(
            lambda: self.client.open(
                path, method=method, base_url=f"{origin}{self._root}/", **options
            )
        )

    def chunks(self, response: TestResponse) -> Iterator[bytes]:
        """Yield the pieces of a body as the application writes them."""
        pieces = iter(response.iter_encoded())
        while True:
            piece = self.isolate(lambda: next(pieces, None))
            if piece is None:
                return
            yield piece

    def isolate(self, act: Callable[[], T]) -> T:
        """Run without the context variables of the test.

        Within an application context of the test, all requests would share one ``g``, unlike real
        ones. A client in a ``with`` block keeps its contexts for the test.
        """
        if self.client.preserve_context:
            return act()
        return Context().run(act)

    def _as_visitor(self, method: str, url: str, more: Mapping[str, Any]) -> TestResponse:
        if self._token is None:
            response = self.send("POST", self._url("secret"), {"json": {}})
            if response.status_code != 200:
                raise CallRefusedError("secret", response)
            self._token = response.get_json()["client_secret"]
        headers = {**more.get("headers", {}), TOKEN_HEADER: self._token}
        return self.send(method, url, {**more, "headers": headers})

    @property
    def _root(self) -> str:
        """The script root, without a trailing slash."""
        return self._in_request(lambda: request.root_path.rstrip("/"))

    def _url(self, endpoint: str) -> str:
        values = {"chat": None if self.chat == DEFAULT else self.chat, **self._url_values}
        name = f"{self.state.name}.{endpoint}"
        try:
            return self._in_request(lambda: url_for(name, _external=True, **values))
        except BuildError as error:
            raise LookupError(
                f"the URLs of the kit {self.state.name!r} have variables of the site: give "
                f"their values, as in ServedChat(app, url_values={{…}}). {error}"
            ) from None

    def _in_request(self, act: Callable[[], T]) -> T:
        def within() -> T:
            with self.app.test_request_context(base_url=self._base_url):
                return act()

        return Context().run(within)


def _served(app: Flask, kit: str | None, name: str) -> tuple[ChatKitState, ServedChat]:
    """Return the kit's state and the chat's declaration.

    :raises LookupError: there is none, or it is hosted.
    """
    if not kits(app):
        raise LookupError(f"no ChatKit is registered on the application {app.name!r}")
    try:
        state = named_kit(app, kit)
    except OptionError as error:
        raise LookupError(str(error)) from None
    try:
        chat = state.chat(name)
    except ApiError as error:
        reason = getattr(error, "detail", None) or error.description
        names = ", ".join(sorted(state.chats)) or "none"
        raise LookupError(f"no chat {name!r}, only {names}: {reason}") from None
    if not isinstance(chat, ServedChat):
        raise LookupError(  # noqa: TRY004 - it is not a served chat
            f"the chat {name!r} is hosted by OpenAI, and the site has no answers to test: "
            "test it with OpenAIStandIn, or set CHATKIT_SERVER"
        )
    return state, chat
