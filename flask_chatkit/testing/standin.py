"""A strict stand-in of OpenAI's ChatKit API: a real HTTP server on loopback, for tests and demos.

It refuses what the real API refuses, answers in exactly the real shape, records what it was asked,
and can be told to fail. The API is as the openai SDK 3.52 and OpenAI's OpenAPI document 2.3.0 have
it. Where neither says what happens, this module chooses the strict answer:

- ``null`` is no value: an optional field is left out or valid.
- Only an active session can be cancelled; a cancelled or an expired one answers 400.
- An ``OpenAI-Organization`` other than the stand-in's answers 401 ``mismatched_organization``. A
  wrong ``OpenAI-Project``, or leaving out either header, looks into another project: workflow,
  sessions and threads are not found there (404), and lists are empty.
- A page cursor (``after``, ``before``) that is not in the list answers 400.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from werkzeug.datastructures import Headers
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from .checks import (
    CREATE_SESSION,
    FRAME_MESSAGE,
    NOTHING,
    PAGING,
    RefusalError,
    bad_request,
    check_query,
    json_body,
    page,
)
from .failures import Failure
from .items import assistant_message, new_id, user_message
from .server import ResetConnectionError, Server

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
_FRAME = "/chatkit/_frame"
_BETA = "chatkit_beta=v1"
_TITLE_LENGTH = 40  # characters
_MINUTE = 60.0  # seconds


class RecordedHeaders(Headers):
    """Request headers, case-insensitive. Their repr shows no values, so no key is logged."""

    def __repr__(self) -> str:
        return f"<headers {sorted({name for name, _ in self})}>"

    __str__ = __repr__


@dataclass(frozen=True)
class RecordedRequest:
    """One call of the API as it arrived; ``status`` is that of the response (0: reset)."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: RecordedHeaders = field(repr=False)
    body: Any
    status: int
    request_id: str


# --- what is kept ---


@dataclass
class _Session:
    data: Json
    messages: list[float] = field(default_factory=list)  # when, of the last minute


@dataclass
class _Thread:
    data: Json
    items: list[Json] = field(default_factory=list)


@dataclass
class _Planned:
    failure: Failure
    times: int
    method: str | None
    path: str | None

    def matches(self, method: str, path: str) -> bool:
        wanted = self.path if self.path is not None else "/"
        if path.startswith(_FRAME) and not wanted.startswith(_FRAME):
            return False  # the frame's calls are no calls of the API
        return self.method in {None, method} and fnmatchcase(path, f"{wanted}*")


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
        self._api_key = api_key
        self._workflows = tuple(workflows)
        self._organization = organization
        self._project = project
        self._reply = reply or _default_reply
        self._clock = clock
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._server: Server | None = None
        self._url = ""
        self._routes = self._make_routes()
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
            "CHATKIT_API_KEY": self._api_key,
            "CHATKIT_WORKFLOW_ID": self._workflows[0],
            "CHATKIT_SCRIPT_URL": self.script_url,
        }
        if self._organization is not None:
            config["CHATKIT_ORGANIZATION"] = self._organization
        if self._project is not None:
            config["CHATKIT_PROJECT"] = self._project
        return config

    # -- what a test sees and sets --

    @property
    def requests(self) -> list[RecordedRequest]:
        """The calls of the API so far, including refused and failed ones, the oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def sessions(self) -> dict[str, Json]:
        """A copy of every session in the API's form, by id, the oldest first."""
        with self._lock:
            return {key: self._shown(session) for key, session in self._sessions.items()}

    @property
    def threads(self) -> dict[str, Json]:
        """A copy of every thread in the API's form, by id, the oldest first."""
        with self._lock:
            return {key: copy.deepcopy(thread.data) for key, thread in self._threads.items()}

    def items(self, thread_id: str) -> list[Json]:
        """Return a copy of a thread's items, the oldest first; raises KeyError without it."""
        with self._lock:
            return copy.deepcopy(self._threads[thread_id].items)

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
        with self._lock:
            self._planned.append(_Planned(failure, times, method and method.upper(), path))

    def reset(self) -> None:
        """Forget sessions, threads, pictures, requests, failures, and the end of workflows."""
        with self._lock:
            self._previews: dict[str, tuple[bytes, str]] = {}
            self._sessions: dict[str, _Session] = {}
            self._threads: dict[str, _Thread] = {}
            self._requests: list[RecordedRequest] = []
            self._planned: list[_Planned] = []
            self._ended: int | None = None

    def expire(self, session_id_or_secret: str) -> None:
        """Let a session expire now; raises KeyError for an unknown one."""
        with self._lock:
            for session in self._sessions.values():
                if session_id_or_secret in {session.data["id"], session.data["client_secret"]}:
                    session.data["expires_at"] = int(self._clock())
                    return
        raise KeyError("no such session")

    def end_workflows(self, status: Literal[404, 410] = 404) -> None:
        """Refuse every new session, as may happen after 2026-11-30 (undocumented)."""
        self._ended = status

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
        thread = _Thread(
            {
                "id": new_id("cthr"),
                "object": "chatkit.thread",
                "created_at": int(self._clock()) if created_at is None else created_at,
                "status": shown,
                "title": title,
                "user": user,
            }
        )
        for item in items:
            self._append(thread, item)
        with self._lock:
            self._threads[thread.data["id"]] = thread
        return str(thread.data["id"])

    def add_item(self, thread_id: str, item: Mapping[str, Any]) -> str:
        """Add an item to a thread, as if its visitor continued; return its id.

        :raises KeyError: there is no such thread.
        """
        with self._lock:
            return str(self._append(self._threads[thread_id], item)["id"])

    def add_preview(self, data: bytes, mime_type: str = "image/png") -> str:
        """Serve a picture's bytes; return its address, for an attachment's ``preview_url``.

        As with OpenAI's links, it is fetched without the API's key: a call with one gets 400.
        """
        with self._lock:
            name = f"/previews/{uuid.uuid4().hex}"
            self._previews[name] = (data, mime_type)
        return f"{self.url}{name}"

    def _append(self, thread: _Thread, item: Mapping[str, Any]) -> Json:
        whole = {
            "id": new_id("cthi"),
            "object": "chatkit.thread_item",
            "created_at": int(self._clock()),
            "thread_id": thread.data["id"],
            **copy.deepcopy(dict(item)),
        }
        thread.items.append(whole)
        return whole

    def _shown(self, session: _Session) -> Json:
        data = copy.deepcopy(session.data)
        if data["status"] == "active" and self._clock() >= data["expires_at"]:
            data["status"] = "expired"
        return data

    # -- HTTP --

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve the same under any WSGI server and prefix; a reset is a ConnectionResetError."""
        request = Request(environ)
        if request.path.startswith("/v1/"):
            return self._answer(request)(environ, start_response)
        if request.path in self._previews:
            return self._preview(request)(environ, start_response)
        return self._file(request)(environ, start_response)

    def _preview(self, request: Request) -> Response:
        if "Authorization" in request.headers:
            # A file store takes a signed link or a header, and never both.
            return Response("One way to sign in only\n", HTTPStatus.BAD_REQUEST)
        data, mime_type = self._previews[request.path]
        return Response(data, content_type=mime_type)

    def _file(self, request: Request) -> Response:
        folder, _, name = request.path.rpartition("/")
        file = _ELEMENT / name
        # A name is looked up in the folder's list, so it cannot lead out of it.
        known = {path.name for path in _ELEMENT.iterdir()} if _ELEMENT.is_dir() else set()
        if folder != "/deployments/chatkit" or name not in known or file.suffix not in _FILE_TYPES:
            return Response("Not found\n", HTTPStatus.NOT_FOUND, mimetype="text/plain")
        if request.method not in {"GET", "HEAD"}:
            return Response("GET only\n", HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        response = Response(file.read_bytes(), content_type=_FILE_TYPES[file.suffix])
        response.headers["Cache-Control"] = "no-store"
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    def _answer(self, request: Request) -> Response:
        """Answer one call of the API or the frame, or fail as planned, and record it."""
        began = time.perf_counter()
        path = request.path.removeprefix("/v1")
        failure = self._next_failure(request.method, path)
        if failure is not None and failure.replaces:
            response = failure.answer()
        else:
            try:
                response = self._dispatch(request)
            except RefusalError as refusal:
                response = refusal.answer()
        request_id = new_id("req")
        response.headers["x-request-id"] = request_id
        response.headers["openai-processing-ms"] = str(int((time.perf_counter() - began) * 1000))
        if not path.startswith(_FRAME):
            self._record(request, request_id, 0 if failure and failure.reset else response)
        return response if failure is None else self._spoilt(response, failure)

    def _next_failure(self, method: str, path: str) -> Failure | None:
        with self._lock:
            for planned in self._planned:
                if planned.times > 0 and planned.matches(method, path):
                    planned.times -= 1
                    return planned.failure
        return None

    def _record(self, request: Request, request_id: str, answer: Response | Literal[0]) -> None:
        body = None
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(request.get_data())
        recorded = RecordedRequest(
            method=request.method,
            path=request.path,
            query=request.args.to_dict(),
            headers=RecordedHeaders(request.headers),
            body=body,
            status=answer.status_code if isinstance(answer, Response) else answer,
            request_id=request_id,
        )
        with self._lock:
            self._requests.append(recorded)

    def _spoilt(self, response: Response, failure: Failure) -> Response:
        """Do to an answer what a failure does beside choosing its status and body."""
        self._stopping.wait(failure.delay)
        if failure.reset:
            raise ResetConnectionError
        if failure.retry_after is not None:
            value = failure.retry_after
            response.headers["Retry-After"] = value if isinstance(value, str) else f"{value:g}"
        response.headers.update(failure.headers)
        body = response.get_data()
        sent = body[: len(body) // 2] if failure.cut else body
        response.response = self._drip(sent, failure.drip) if failure.drip else [sent]
        response.headers["Content-Length"] = str(max(len(body), 1 if failure.cut else 0))
        return response

    def _drip(self, body: bytes, seconds: float) -> Iterator[bytes]:
        for index in range(len(body)):
            yield body[index : index + 1]
            if self._stopping.wait(seconds):
                return

    def _make_routes(self) -> Map:
        views: list[tuple[str, str, Callable[..., Json]]] = [
            ("POST", "/sessions", self._create_session),
            ("POST", "/sessions/<id_>/cancel", self._cancel_session),
            ("GET", "/threads", self._list_threads),
            ("GET", "/threads/<id_>", self._get_thread),
            ("DELETE", "/threads/<id_>", self._delete_thread),
            ("GET", "/threads/<id_>/items", self._list_items),
            ("POST", "/_frame/messages", self._frame_message),
            ("GET", "/_frame/threads", self._frame_threads),
            ("DELETE", "/_frame/threads/<id_>", self._frame_delete),
            ("GET", "/_frame/threads/<id_>/items", self._frame_items),
        ]
        rules = [
            Rule(f"/v1/chatkit{path}", methods=[method], endpoint=view)
            for method, path, view in views
        ]
        return Map(rules, merge_slashes=False)

    def _dispatch(self, request: Request) -> Response:
        try:
            view, ids = self._routes.bind("").match(request.path, request.method)
        except NotFound:
            message = f"Invalid URL ({request.method} {request.path})"
            raise RefusalError(HTTPStatus.NOT_FOUND, message) from None
        except MethodNotAllowed as error:
            allowed = {"Allow": ", ".join(sorted(error.valid_methods or ()))}
            message = f"Not allowed to {request.method} on {request.path}."
            status = HTTPStatus.METHOD_NOT_ALLOWED
            raise RefusalError(
                status, message, code="method_not_supported", headers=allowed
            ) from None
        if not request.path.startswith(f"/v1{_FRAME}"):
            self._authorize(request)
        answer = view(request, **ids)
        return Response(json.dumps(answer), content_type="application/json")

    def _authorize(self, request: Request) -> None:
        """Check the three headers that every call of the API has; the key is never echoed."""
        if request.headers.get("Authorization") != f"Bearer {self._api_key}":
            message = "Incorrect API key provided."
            raise RefusalError(HTTPStatus.UNAUTHORIZED, message, code="invalid_api_key")
        organization = request.headers.get("OpenAI-Organization")
        if self._organization is not None and organization not in {None, self._organization}:
            message = "OpenAI-Organization header should match organization for API key"
            raise RefusalError(HTTPStatus.UNAUTHORIZED, message, code="mismatched_organization")
        betas = request.headers.get("OpenAI-Beta", "").split(",")
        if _BETA not in {beta.strip() for beta in betas}:
            message = f"You must provide the header 'OpenAI-Beta: {_BETA}' to use this API."
            raise bad_request(message, "invalid_beta")

    def _in_project(self, request: Request) -> bool:
        """Whether a call looks into the organisation and project that the stand-in stands for."""
        headers = request.headers
        return (
            self._organization is None or headers.get("OpenAI-Organization") == self._organization
        ) and (self._project is None or headers.get("OpenAI-Project") == self._project)

    # -- OpenAI's calls --

    def _create_session(self, request: Request) -> Json:
        check_query(request)
        body = json_body(request, CREATE_SESSION)
        workflow = body["workflow"]
        if self._ended == HTTPStatus.GONE:
            raise RefusalError(HTTPStatus.GONE, "Agent Builder workflows are no longer available.")
        known = workflow["id"] in self._workflows and self._in_project(request)
        if self._ended is not None or not known:
            message = f"Workflow with id '{workflow['id'][:60]}' not found."
            raise RefusalError(HTTPStatus.NOT_FOUND, message)
        session = _Session(_resolved(body, self._clock()))
        with self._lock:
            self._sessions[session.data["id"]] = session
            return self._shown(session)

    def _cancel_session(self, request: Request, id_: str) -> Json:
        check_query(request)
        json_body(request, NOTHING)
        with self._lock:
            session = self._sessions.get(id_)
            if session is None or not self._in_project(request):
                raise _not_found("session", id_)
            status = self._shown(session)["status"]
            if status != "active":
                message = f"Session with id '{id_}' is {status} and cannot be cancelled."
                raise bad_request(message, "session_not_active")
            session.data["status"] = "cancelled"
            return self._shown(session)

    def _list_threads(self, request: Request) -> Json:
        check_query(request, "user", *PAGING)
        user = request.args.get("user")
        with self._lock:
            threads = self._threads.values() if self._in_project(request) else ()
            rows = [thread.data for thread in threads if user in {None, thread.data["user"]}]
            return page(rows, request)

    def _get_thread(self, request: Request, id_: str) -> Json:
        check_query(request)
        with self._lock:
            return copy.deepcopy(self._project_thread(request, id_).data)

    def _delete_thread(self, request: Request, id_: str) -> Json:
        check_query(request)
        with self._lock:
            self._project_thread(request, id_)
            return self._deleted(id_)

    def _list_items(self, request: Request, id_: str) -> Json:
        check_query(request, *PAGING)
        with self._lock:
            return page(self._project_thread(request, id_).items, request)

    def _project_thread(self, request: Request, id_: str) -> _Thread:
        thread = self._threads.get(id_)
        if thread is None or not self._in_project(request):
            raise _not_found("thread", id_)
        return thread

    def _deleted(self, id_: str) -> Json:
        del self._threads[id_]
        return {"id": id_, "object": "chatkit.thread.deleted", "deleted": True}

    # -- the frame's calls --

    def _frame_session(self, request: Request) -> _Session:
        """Find the active session whose client secret a call of the frame carries."""
        bearer = request.headers.get("Authorization", "")
        with self._lock:
            for session in self._sessions.values():
                if bearer == f"Bearer {session.data['client_secret']}":
                    if self._shown(session)["status"] == "active":
                        return session
                    break
        message = "The client secret is unknown, has expired or was cancelled."
        raise RefusalError(HTTPStatus.UNAUTHORIZED, message, code="session_expired")

    def _own_thread(self, session: _Session, id_: str) -> _Thread:
        thread = self._threads.get(id_)
        if thread is None or thread.data["user"] != session.data["user"]:
            raise _not_found("thread", id_)
        return thread

    def _frame_message(self, request: Request) -> Json:
        check_query(request)
        session = self._frame_session(request)
        body = json_body(request, FRAME_MESSAGE)
        with self._lock:
            self._count_message(session)
            if session.data["workflow"]["version"] == "latest":
                # Accepted at creation, and broken here: the real API does so too.
                raise RefusalError(HTTPStatus.NOT_FOUND, "Workflow version 'latest' not found.")
            thread_id = body.get("thread_id")
            thread = None if thread_id is None else self._own_thread(session, thread_id)
            if thread is not None and thread.data["status"]["type"] != "active":
                raise bad_request(
                    "The thread takes no more messages.", "thread_not_active", "thread_id"
                )
        text = body["text"]
        answer = self._reply(text)  # the site's own code, perhaps slow: without the lock
        with self._lock:
            if thread is None:
                thread = self._threads[self.add_thread(session.data["user"])]
            titling = session.data["chatkit_configuration"]["automatic_thread_titling"]
            if titling["enabled"] and thread.data["title"] is None:
                thread.data["title"] = text[:_TITLE_LENGTH]
            items = [
                self._append(thread, user_message(text)),
                self._append(thread, assistant_message(answer)),
            ]
            return copy.deepcopy({"thread": thread.data, "items": items})

    def _count_message(self, session: _Session) -> None:
        now = self._clock()
        session.messages = [when for when in session.messages if when > now - _MINUTE]
        if len(session.messages) >= session.data["max_requests_per_1_minute"]:
            wait = math.ceil(session.messages[0] + _MINUTE - now)
            raise RefusalError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many messages in a minute.",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(max(wait, 1))},
            )
        session.messages.append(now)

    def _frame_threads(self, request: Request) -> Json:
        check_query(request, *PAGING)
        with self._lock:
            session = self._frame_session(request)
            history = session.data["chatkit_configuration"]["history"]
            user = session.data["user"]
            threads = self._threads.values() if history["enabled"] else ()
            rows = [thread.data for thread in threads if thread.data["user"] == user]
            return page(rows[-(history["recent_threads"] or 0) :], request)  # None: all of them

    def _frame_items(self, request: Request, id_: str) -> Json:
        check_query(request, *PAGING)
        with self._lock:
            return page(self._own_thread(self._frame_session(request), id_).items, request)

    def _frame_delete(self, request: Request, id_: str) -> Json:
        check_query(request)
        with self._lock:
            self._own_thread(self._frame_session(request), id_)
            return self._deleted(id_)


def _resolved(body: Json, now: float) -> Json:
    """Build a new session out of a checked create body: what was asked for, over the defaults."""
    workflow = body["workflow"]
    per_minute = body.get("rate_limits", {}).get("max_requests_per_1_minute", 10)
    asked = body.get("chatkit_configuration", {})
    defaults: dict[str, Json] = {
        "automatic_thread_titling": {"enabled": True},
        "file_upload": {"enabled": False, "max_file_size": 512, "max_files": 10},
        "history": {"enabled": True, "recent_threads": None},
    }
    return {
        "id": new_id("cksess"),
        "object": "chatkit.session",
        "client_secret": f"ek_{uuid.uuid4().hex}{uuid.uuid4().hex}",
        "expires_at": int(now) + body.get("expires_after", {}).get("seconds", 600),
        "status": "active",
        "user": body["user"],
        "workflow": {
            "id": workflow["id"],
            "version": workflow.get("version"),
            "state_variables": workflow.get("state_variables"),
            "tracing": {"enabled": True, **workflow.get("tracing", {})},
        },
        "rate_limits": {"max_requests_per_1_minute": per_minute},
        "max_requests_per_1_minute": per_minute,
        "chatkit_configuration": {
            name: {**default, **asked.get(name, {})} for name, default in defaults.items()
        },
    }


def _not_found(what: str, id_: str) -> RefusalError:
    return RefusalError(HTTPStatus.NOT_FOUND, f"No {what} found with id '{id_[:60]}'.")
