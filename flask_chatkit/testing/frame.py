"""The calls of the stand-in element's frame, which OpenAI's API does not have."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Request

from .checks import FRAME_MESSAGE, PAGING, RefusalError, bad_request, check_query, json_body, page
from .items import assistant_message, user_message
from .state import State, StoredSession, StoredThread, not_found

Json = dict[str, Any]

_TITLE_LENGTH = 40  # characters
_MINUTE = 60.0  # seconds


def is_frame(path: str) -> bool:
    """Whether a path, without ``/v1``, is one of the frame's."""
    return path.startswith("/chatkit/_frame")


class Frame:
    """Answers the frame's calls, which carry a client secret as their bearer token.

    :param state: what they read and change.
    :param reply: a function from a visitor's message to the assistant's answer.
    """

    def __init__(self, state: State, reply: Callable[[str], str]) -> None:
        self._state = state
        self._reply = reply

    def _session(self, request: Request) -> StoredSession:
        """Find the active session of a call's client secret."""
        bearer = request.headers.get("Authorization", "")
        with self._state.lock:
            for session in self._state.sessions.values():
                if bearer == f"Bearer {session.data['client_secret']}":
                    if self._state.show(session)["status"] == "active":
                        return session
                    break
        message = "The client secret is unknown, has expired or was cancelled."
        raise RefusalError(HTTPStatus.UNAUTHORIZED, message, code="session_expired")

    def _own_thread(self, session: StoredSession, id_: str) -> StoredThread:
        thread = self._state.threads.get(id_)
        if thread is None or thread.data["user"] != session.data["user"]:
            raise not_found("thread", id_)
        return thread

    def message(self, request: Request) -> Json:
        """Answer a visitor's message in a new or an open thread."""
        check_query(request)
        session = self._session(request)
        body = json_body(request, FRAME_MESSAGE)
        with self._state.lock:
            self._count_message(session)
            if session.data["workflow"]["version"] == "latest":
                # Accepted by the create call, but not here, like the real API.
                raise RefusalError(HTTPStatus.NOT_FOUND, "Workflow version 'latest' not found.")
            thread_id = body.get("thread_id")
            thread = None if thread_id is None else self._own_thread(session, thread_id)
            if thread is not None and thread.data["status"]["type"] != "active":
                raise bad_request(
                    "The thread takes no more messages.", "thread_not_active", "thread_id"
                )
        text = body["text"]
        answer = self._reply(text)  # the site's code may be slow: without the lock
        with self._state.lock:
            if thread is None:
                thread = self._state.add_thread(session.data["user"])
            titling = session.data["chatkit_configuration"]["automatic_thread_titling"]
            if titling["enabled"] and thread.data["title"] is None:
                thread.data["title"] = text[:_TITLE_LENGTH]
            items = [
                self._state.append(thread, user_message(text)),
                self._state.append(thread, assistant_message(answer)),
            ]
            return copy.deepcopy({"thread": thread.data, "items": items})

    def _count_message(self, session: StoredSession) -> None:
        now = self._state.clock()
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

    def threads(self, request: Request) -> Json:
        """List the visitor's threads, as far as the session has a history."""
        check_query(request, *PAGING)
        with self._state.lock:
            session = self._session(request)
            history = session.data["chatkit_configuration"]["history"]
            user = session.data["user"]
            threads = self._state.threads.values() if history["enabled"] else ()
            rows = [thread.data for thread in threads if thread.data["user"] == user]
            return page(rows[-(history["recent_threads"] or 0) :], request)  # None: all

    def items(self, request: Request, id_: str) -> Json:
        """List a thread's items."""
        check_query(request, *PAGING)
        with self._state.lock:
            return page(self._own_thread(self._session(request), id_).items, request)

    def delete(self, request: Request, id_: str) -> Json:
        """Delete a thread."""
        check_query(request)
        with self._state.lock:
            self._own_thread(self._session(request), id_)
            return self._state.delete_thread(id_)
