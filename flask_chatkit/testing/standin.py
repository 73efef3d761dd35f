"""A strict stand-in for OpenAI's ChatKit API: a real HTTP server on loopback, for tests and demos.

It refuses what the real API refuses, responds in exactly the same form, records requests, and can
be made to fail. It follows the openai SDK 3.52 and OpenAI's OpenAPI document 2.3.0. Where they are
silent, it is strict:

- ``null`` is not a value: an optional field is missing or valid.
- Only an active session can be cancelled; a cancelled or expired one gets 400.
- An ``OpenAI-Organization`` other than the stand-in's gets 401 ``mismatched_organization``. With a
  wrong ``OpenAI-Project``, or without either header, a call is for another project: the workflow,
  sessions and threads are not found (404), and lists are empty.
- A page cursor (``after``, ``before``) that is not in the list gets 400.
"""

from __future__ import annotations

import copy
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from werkzeug.wrappers import Request, Response

from .api import Api
from .checks import RefusalError
from .failures import Failure, PlannedFailure, spoil
from .frame import Frame, is_frame
from .items import new_id
from .recorded import RecordedRequest
from .server import Server
from .state import State

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from typing_extensions import Self

Json = dict[str, Any]

_ELEMENT = Path(__file__).parent / "element"
_FILE_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def _default_reply(text: str) -> str:
    return f"You wrote “{text}”. This is the stand-in answering: no model was asked."


class OpenAIStandIn:
    """A strict stand-in for OpenAI's ChatKit API on loopback, with sessions, threads and requests.

    .. code-block:: python

        with OpenAIStandIn() as openai:
            app = create_app(openai.config())  # before the kit is registered
            openai.fail(Failure(status=500))
            ...
            assert [request.path for request in openai.requests] == ["/v1/chatkit/sessions"]

    Beside the API, it serves the files of the stand-in element (:attr:`script_url`) and the calls
    of its frame, below ``/v1/chatkit/_frame``, which OpenAI does not have: they need the client
    secret as their bearer token, and count neither in :attr:`requests` nor for a :meth:`fail`
    without a path.

    :param api_key: the only key that it accepts.
    :param workflows: the ids of the workflows that it has; :meth:`config` names the first.
    :param organization: the organisation that they belong to; None: the header is not checked.
    :param project: the project that they belong to; None: the header is not checked.
    :param reply: a function from a visitor's message to the assistant's answer.
    :param clock: returns the time in Unix seconds at which secrets expire and limits renew.
    """

    def __init__(
        self,
        *,
        api_key: str = "sk-standin",
        workflows: Collection[str] = ("wf_standin",),
        organization: str | None = None,
        project: str | None = None,
        reply: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(workflows, str) or not workflows:
            raise TypeError("workflows takes at least one id, in a list or tuple")
        self._state = State(api_key, tuple(workflows), organization, project, clock)
        self._api = Api(self._state, Frame(self._state, reply or _default_reply))
        self._stopping = threading.Event()
        self._server: Server | None = None
        self._url = ""
        self.reset()

    # -- serving --

    def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Serve in background threads.

        :param port: 0 picks a free one.
        :raises RuntimeError: it is running already.
        """
        if self._server is not None:
            raise RuntimeError("the stand-in is started already")
        self._stopping.clear()
        self._server = Server(self.wsgi_app, host, port, ssl_context)
        scheme = "http" if ssl_context is None else "https"
        self._url = f"{scheme}://{host}:{self._server.server_address[1]}"
        self._server.start()

    def stop(self) -> None:
        """Stop serving and close every connection, also kept-alive and delayed ones."""
        server, self._server = self._server, None
        self._stopping.set()
        if server is not None:
            server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``; raises :class:`RuntimeError` before :meth:`start`."""
        if not self._url:
            raise RuntimeError("the stand-in has no address before start()")
        return self._url

    @property
    def api_base(self) -> str:
        """The base URL for clients."""
        return f"{self.url}/v1"

    @property
    def script_url(self) -> str:
        """The URL of the script of the stand-in element."""
        return f"{self.url}/deployments/chatkit/chatkit.js"

    def config(self) -> dict[str, str]:
        """Return the Flask configuration that makes a site use the stand-in instead of OpenAI."""
        config = {
            "CHATKIT_API_BASE": self.api_base,
            "CHATKIT_API_KEY": self._state.api_key,
            "CHATKIT_WORKFLOW_ID": self._state.workflows[0],
            "CHATKIT_SCRIPT_URL": self.script_url,
        }
        if self._state.organization is not None:
            config["CHATKIT_ORGANIZATION"] = self._state.organization
        if self._state.project is not None:
            config["CHATKIT_PROJECT"] = self._state.project
        return config

    # -- state --

    @property
    def requests(self) -> list[RecordedRequest]:
        """The calls of the API so far, including refused and failed ones, the oldest first."""
        with self._state.lock:
            return list(self._requests)

    @property
    def sessions(self) -> dict[str, Json]:
        """A copy of every session in the API's form, by id, the oldest first."""
        with self._state.lock:
            return {key: self._state.show(session) for key, session in self._state.sessions.items()}

    @property
    def threads(self) -> dict[str, Json]:
        """A copy of every thread in the API's form, by id, the oldest first."""
        with self._state.lock:
            return {key: copy.deepcopy(thread.data) for key, thread in self._state.threads.items()}

    def items(self, thread_id: str) -> list[Json]:
        """Return a copy of a thread's items, the oldest first; raises KeyError without it."""
        with self._state.lock:
            return copy.deepcopy(self._state.threads[thread_id].items)

    def fail(
        self,
        failure: Failure,
        *,
        times: int = 1,
        method: str | None = None,
        path: str | None = None,
    ) -> None:
        """Make the next matching calls fail, before anything about them is checked.

        :param failure: how they fail.
        :param times: how many do. What was planned earlier is used up first.
        :param method: the HTTP method of the calls; any by default.
        :param path: what follows ``/v1`` in their paths, or its beginning; any by default. It may
            hold ``*``: ``/chatkit/sessions`` matches create and cancel,
            ``/chatkit/sessions/*/cancel`` only cancel.
        """
        with self._state.lock:
            self._planned.append(PlannedFailure(failure, times, method and method.upper(), path))

    def reset(self) -> None:
        """Forget sessions, threads, pictures, requests, failures, and the end of workflows."""
        with self._state.lock:
            self._state.reset()
            self._requests: list[RecordedRequest] = []
            self._planned: list[PlannedFailure] = []

    def expire(self, session_id_or_secret: str) -> None:
        """Let a session expire now; raises KeyError for an unknown one."""
        with self._state.lock:
            for session in self._state.sessions.values():
                if session_id_or_secret in {session.data["id"], session.data["client_secret"]}:
                    session.data["expires_at"] = int(self._state.clock())
                    return
        raise KeyError("no such session")

    def end_workflows(self, status: Literal[404, 410] = 404) -> None:
        """Refuse every new session, as may happen after 2026-11-30 (undocumented)."""
        self._state.ended = status

    def add_thread(
        self,
        user: str,
        *,
        title: str | None = None,
        items: Iterable[Mapping[str, Any]] = (),
        status: Literal["active", "locked", "closed"] = "active",
        reason: str | None = None,
        created_at: int | None = None,
    ) -> str:
        """Add a thread of ``user``, with items as :func:`user_message` builds them; return its id.

        :param created_at: Unix seconds; by default now. An item may have its own, or any other
            field, even an invalid one.
        :param reason: why a thread is locked or closed.

        Threads are listed in the order in which they were added.
        """
        shown = {"type": status} if status == "active" else {"type": status, "reason": reason}
        with self._state.lock:
            thread = self._state.add_thread(user, title, shown, created_at)
            for item in items:
                self._state.append(thread, item)
        return str(thread.data["id"])

    def add_item(self, thread_id: str, item: Mapping[str, Any]) -> str:
        """Add an item to a thread, as if its visitor continued; return its id.

        :raises KeyError: there is no such thread.
        """
        with self._state.lock:
            return str(self._state.append(self._state.threads[thread_id], item)["id"])

    def add_preview(self, data: bytes, mime_type: str = "image/png") -> str:
        """Serve a picture's bytes; return its address, for an attachment's ``preview_url``.

        As with OpenAI's links, it is fetched without the API's key: a call with one gets 400.
        """
        return f"{self.url}{self._state.add_preview(data, mime_type)}"

    # -- HTTP --

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve under any WSGI server and prefix; a reset raises ConnectionResetError."""
        request = Request(environ)
        if request.path.startswith("/v1/"):
            response = self._answer(request)
        elif request.path in self._state.previews:
            response = _preview(request, *self._state.previews[request.path])
        else:
            response = _file(request)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        """Answer a call of the API or the frame, or fail as planned, and record it."""
        began = time.perf_counter()
        path = request.path.removeprefix("/v1")
        failure = self._next_failure(request.method, path)
        if failure is not None and failure.replaces:
            response = failure.answer()
        else:
            try:
                response = self._api.respond(request)
            except RefusalError as refusal:
                response = refusal.answer()
        request_id = new_id("req")
        response.headers["x-request-id"] = request_id
        response.headers["openai-processing-ms"] = str(int((time.perf_counter() - began) * 1000))
        if not is_frame(path):
            status = 0 if failure and failure.reset else response.status_code
            with self._state.lock:
                self._requests.append(RecordedRequest.of(request, status, request_id))
        return response if failure is None else spoil(response, failure, self._stopping)

    def _next_failure(self, method: str, path: str) -> Failure | None:
        with self._state.lock:
            for planned in self._planned:
                if planned.matches(method, path):
                    planned.times -= 1
                    return planned.failure
        return None


def _preview(request: Request, data: bytes, mime_type: str) -> Response:
    if "Authorization" in request.headers:
        # A file store accepts a signed link or a header, but not both.
        return Response("One way to sign in only\n", HTTPStatus.BAD_REQUEST)
    return Response(data, content_type=mime_type)


def _file(request: Request) -> Response:
    folder, _, name = request.path.rpartition("/")
    file = _ELEMENT / name
    # Looked up in the folder's list, so a name cannot lead out of it.
    known = {path.name for path in _ELEMENT.iterdir()} if _ELEMENT.is_dir() else set()
    if folder != "/deployments/chatkit" or name not in known or file.suffix not in _FILE_TYPES:
        return Response("Not found\n", HTTPStatus.NOT_FOUND, mimetype="text/plain")
    if request.method not in {"GET", "HEAD"}:
        return Response("GET only\n", HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
    response = Response(file.read_bytes(), content_type=_FILE_TYPES[file.suffix])
    response.headers["Cache-Control"] = "no-store"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
