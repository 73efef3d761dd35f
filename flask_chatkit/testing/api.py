"""The calls of OpenAI's ChatKit API, as the stand-in answers them."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from .checks import (
    CREATE_SESSION,
    NOTHING,
    PAGING,
    RefusalError,
    bad_request,
    check_query,
    json_body,
    page,
)
from .frame import Frame, is_frame
from .items import new_id
from .state import State, StoredSession, StoredThread, not_found

Json = dict[str, Any]

_BETA = "chatkit_beta=v1"


class Api:
    """Routes, authorizes and answers the calls below ``/v1/chatkit``.

    :param state: what they read and change.
    :param frame: answers the calls of the stand-in element's frame.
    """

    def __init__(self, state: State, frame: Frame) -> None:
        self._state = state
        views: list[tuple[str, str, Callable[..., Json]]] = [
            ("POST", "/sessions", self._create_session),
            ("POST", "/sessions/<id_>/cancel", self._cancel_session),
            ("GET", "/threads", self._list_threads),
            ("GET", "/threads/<id_>", self._get_thread),
            ("DELETE", "/threads/<id_>", self._delete_thread),
            ("GET", "/threads/<id_>/items", self._list_items),
            ("POST", "/_frame/messages", frame.message),
            ("GET", "/_frame/threads", frame.threads),
            ("DELETE", "/_frame/threads/<id_>", frame.delete),
            ("GET", "/_frame/threads/<id_>/items", frame.items),
        ]
        rules = [
            Rule(f"/v1/chatkit{path}", methods=[method], endpoint=view)
            for method, path, view in views
        ]
        self._routes = Map(rules, merge_slashes=False)

    def respond(self, request: Request) -> Response:
        """Answer a call.

        :raises RefusalError: the API refuses it.
        """
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
        if not is_frame(request.path.removeprefix("/v1")):
            self._authorize(request)
        answer = view(request, **ids)
        return Response(json.dumps(answer), content_type="application/json")

    def _authorize(self, request: Request) -> None:
        """Check the three headers of every call, without echoing the key."""
        if request.headers.get("Authorization") != f"Bearer {self._state.api_key}":
            message = "Incorrect API key provided."
            raise RefusalError(HTTPStatus.UNAUTHORIZED, message, code="invalid_api_key")
        own = self._state.organization
        if own is not None and request.headers.get("OpenAI-Organization", own) != own:
            message = "OpenAI-Organization header should match organization for API key"
            raise RefusalError(HTTPStatus.UNAUTHORIZED, message, code="mismatched_organization")
        betas = request.headers.get("OpenAI-Beta", "").split(",")
        if _BETA not in {beta.strip() for beta in betas}:
            message = f"You must provide the header 'OpenAI-Beta: {_BETA}' to use this API."
            raise bad_request(message, "invalid_beta")

    def _in_project(self, request: Request) -> bool:
        """Whether a call names the stand-in's organisation and project."""
        headers, state = request.headers, self._state
        return (
            state.organization is None or headers.get("OpenAI-Organization") == state.organization
        ) and (state.project is None or headers.get("OpenAI-Project") == state.project)

    def _create_session(self, request: Request) -> Json:
        check_query(request)
        body = json_body(request, CREATE_SESSION)
        workflow = body["workflow"]
        if self._state.ended == HTTPStatus.GONE:
            raise RefusalError(HTTPStatus.GONE, "Agent Builder workflows are no longer available.")
        known = workflow["id"] in self._state.workflows and self._in_project(request)
        if self._state.ended is not None or not known:
            message = f"Workflow with id '{workflow['id'][:60]}' not found."
            raise RefusalError(HTTPStatus.NOT_FOUND, message)
        session = StoredSession(_resolved(body, self._state.clock()))
        with self._state.lock:
            self._state.sessions[session.data["id"]] = session
            return self._state.show(session)

    def _cancel_session(self, request: Request, id_: str) -> Json:
        check_query(request)
        json_body(request, NOTHING)
        with self._state.lock:
            session = self._state.sessions.get(id_)
            if session is None or not self._in_project(request):
                raise not_found("session", id_)
            status = self._state.show(session)["status"]
            if status != "active":
                message = f"Session with id '{id_}' is {status} and cannot be cancelled."
                raise bad_request(message, "session_not_active")
            session.data["status"] = "cancelled"
            return self._state.show(session)

    def _list_threads(self, request: Request) -> Json:
        check_query(request, "user", *PAGING)
        user = request.args.get("user")
        with self._state.lock:
            threads = self._state.threads.values() if self._in_project(request) else ()
            rows = [thread.data for thread in threads if user in {None, thread.data["user"]}]
            return page(rows, request)

    def _get_thread(self, request: Request, id_: str) -> Json:
        check_query(request)
        with self._state.lock:
            return copy.deepcopy(self._project_thread(request, id_).data)

    def _delete_thread(self, request: Request, id_: str) -> Json:
        check_query(request)
        with self._state.lock:
            self._project_thread(request, id_)
            return self._state.delete_thread(id_)

    def _list_items(self, request: Request, id_: str) -> Json:
        check_query(request, *PAGING)
        with self._state.lock:
            return page(self._project_thread(request, id_).items, request)

    def _project_thread(self, request: Request, id_: str) -> StoredThread:
        thread = self._state.threads.get(id_)
        if thread is None or not self._in_project(request):
            raise not_found("thread", id_)
        return thread

    def _deleted(self, id_: str) -> Json:
        del self._state.threads[id_]
        return {"id": id_, "object": "chatkit.thread.deleted", "deleted": True}


def _resolved(body: Json, now: float) -> Json:
    """Build a new session from a checked body: its fields over the defaults."""
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
