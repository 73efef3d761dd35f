"""The sessions and threads of the stand-in."""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .checks import RefusalError
from .items import new_id

Json = dict[str, Any]


@dataclass
class StoredSession:
    """A session, and when its messages of the last minute arrived."""

    data: Json
    messages: list[float] = field(default_factory=list)


@dataclass
class StoredThread:
    """A thread and its items, the oldest first."""

    data: Json
    items: list[Json] = field(default_factory=list)


@dataclass
class State:
    """One organisation's project at OpenAI, as the stand-in keeps it."""

    api_key: str
    workflows: tuple[str, ...]
    organization: str | None
    project: str | None
    clock: Callable[[], float]
    #: Hold it to read or change what follows.
    lock: threading.RLock = field(default_factory=threading.RLock)
    sessions: dict[str, StoredSession] = field(default_factory=dict)
    threads: dict[str, StoredThread] = field(default_factory=dict)
    #: The bytes and MIME type of each picture, by path.
    previews: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    #: The status that refuses new sessions.
    ended: int | None = None

    def reset(self) -> None:
        """Forget all but the account."""
        with self.lock:
            self.sessions.clear()
            self.threads.clear()
            self.previews.clear()
            self.ended = None

    def show(self, session: StoredSession) -> Json:
        """Return a session as the API shows it now."""
        data = copy.deepcopy(session.data)
        if data["status"] == "active" and self.clock() >= data["expires_at"]:
            data["status"] = "expired"
        return data

    def add_thread(
        self,
        user: str,
        title: str | None = None,
        status: Json | None = None,
        created_at: int | None = None,
    ) -> StoredThread:
        """Add a thread without items."""
        thread = StoredThread(
            {
                "id": new_id("cthr"),
                "object": "chatkit.thread",
                "created_at": int(self.clock()) if created_at is None else created_at,
                "status": status or {"type": "active"},
                "title": title,
                "user": user,
            }
        )
        with self.lock:
            self.threads[thread.data["id"]] = thread
        return thread

    def append(self, thread: StoredThread, item: Mapping[str, Any]) -> Json:
        """Add an item to a thread, with the fields that every item has; return it."""
        whole = {
            "id": new_id("cthi"),
            "object": "chatkit.thread_item",
            "created_at": int(self.clock()),
            "thread_id": thread.data["id"],
            **copy.deepcopy(dict(item)),
        }
        thread.items.append(whole)
        return whole

    def delete_thread(self, id_: str) -> Json:
        """Delete a thread; return the API's response."""
        del self.threads[id_]
        return {"id": id_, "object": "chatkit.thread.deleted", "deleted": True}

    def add_preview(self, data: bytes, mime_type: str) -> str:
        """Store a picture; return its path."""
        with self.lock:
            path = f"/previews/{uuid.uuid4().hex}"
            self.previews[path] = (data, mime_type)
        return path


def not_found(what: str, id_: str) -> RefusalError:
    """Build the 404 answer for a session or a thread."""
    return RefusalError(HTTPStatus.NOT_FOUND, f"No {what} found with id '{id_[:60]}'.")
