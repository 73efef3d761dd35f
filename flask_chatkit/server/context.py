"""The context of a request, as the code of a served chat gets it.

Nothing here needs the optional packages of ``flask-chatkit[server]``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, cast

from ..identity.visitor import Visitor

#: The header of ``threads.get_by_id`` that says how the thread's last answer stands.
ANSWER_HEADER = "X-ChatKit-Answer"
#: The header of an answer that names it, for who wants to stop this one and no later one.
ANSWER_ID_HEADER = "X-ChatKit-Answer-Id"


class ChatContext(dict[str, Any]):
    """The ``context`` of a :class:`chatkit.server.ChatKitServer` and of its store.

    Plain data that outlives the request: it contains nothing of Flask's ``request``. It is also a
    dict (``context["visitor"]``), because servers written for FastAPI declare theirs as ``dict[str,
    Any]``, which pydantic checks and copies.

    :param visitor: who is chatting.
    :param kit: the kit's name.
    :param chat: the chat's name.
    :param thread: the id of the thread that the request names, if any.
    :param locale: the browser's first language (``de-CH``).
    :param headers: the request headers that the site chose, by lower-case name.
    :param url: the absolute URL of the chat's page, which ends in ``/``.
    :param state: the chat's state variables for this visitor.
    :param owner: whose threads and files it is about; by default the visitor's.
    :param page: what the visitor's page says it is about. It comes from the browser, which can send
        anything.
    """

    def __init__(
        self,
        *,
        visitor: Visitor,
        kit: str = "chatkit",
        chat: str = "default",
        thread: str | None = None,
        locale: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        url: str = "http://localhost/chatkit/",
        state: Mapping[str, Any] = MappingProxyType({}),
        owner: str | None = None,
        page: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__(
            visitor=visitor,
            kit=kit,
            chat=chat,
            thread=thread,
            locale=locale,
            headers=dict(headers),
            url=url,
            state=dict(state),
            owner=owner or owner_name(kit, chat, visitor),
            page=dict(page),
        )
        #: When the request began, in Unix seconds; data may be deleted meanwhile.
        self.began = time.time()
        self._revoked_before: int | None = None
        self._knows_revocation = False
        #: The key stored with new rows: the visitor's, or that of the login as which the visitor
        #: has signed in meanwhile.
        self.owner_key = visitor.key
        #: The threads stored during this request; see :meth:`is_stored`.
        self.stored: set[str] = set()

    def is_stored(self, thread_id: str) -> bool:
        """Return whether a thread was stored before; if it is gone, it was deleted since."""
        return thread_id == self.thread or thread_id in self.stored

    def note_revocation(self, revoked_at: float | None) -> None:
        """Record when the visitor's access was last revoked before the request.

        :param revoked_at: that time as this host read it when the request began, in Unix seconds.
        """
        self._knows_revocation = True
        self._revoked_before = None if revoked_at is None else round(revoked_at * 1_000_000)

    def is_revoked(self, revoked_at: int | None) -> bool:
        """Return whether the visitor's access was revoked since the request began.

        :param revoked_at: when it was last revoked, in Unix microseconds.
        """
        if revoked_at is None:
            return False
        if self._knows_revocation:
            return revoked_at != self._revoked_before
        return revoked_at >= int(self.began * 1_000_000)

    @property
    def visitor(self) -> Visitor:
        """The visitor."""
        return cast("Visitor", self["visitor"])

    @property
    def kit(self) -> str:
        """The kit's name."""
        return cast("str", self["kit"])

    @property
    def chat(self) -> str:
        """The chat's name."""
        return cast("str", self["chat"])

    @property
    def thread(self) -> str | None:
        """The id of the thread that the request names; None for a new one."""
        return cast("str | None", self["thread"])

    @property
    def locale(self) -> str | None:
        """The browser's first language."""
        return cast("str | None", self["locale"])

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that the site chose, by lower-case name."""
        return cast("dict[str, str]", self["headers"])

    @property
    def url(self) -> str:
        """The absolute URL of the chat's page; it ends in ``/``."""
        return cast("str", self["url"])

    @property
    def owner(self) -> str:
        """The name under which the visitor owns threads and files here; see :func:`owner_name`."""
        return cast("str", self["owner"])

    @property
    def state(self) -> dict[str, Any]:
        """The chat's state variables for this visitor."""
        return cast("dict[str, Any]", self["state"])

    @property
    def page(self) -> dict[str, Any]:
        """What the visitor's page says it is about: JSON of at most 4 kB, empty if it says nothing.

        The page sets it with ``FlaskChatKit.get().context({…})``. It comes from the browser: grant
        nothing on its word.
        """
        return cast("dict[str, Any]", self["page"])


_KEYS = (
    "visitor",
    "kit",
    "chat",
    "thread",
    "locale",
    "headers",
    "url",
    "state",
    "owner",
    "page",
)

#: The context of the current answer, for code that was given another one.
current_context: ContextVar[ChatContext] = ContextVar("flask_chatkit_context")


def as_context(context: object) -> ChatContext:
    """The :class:`ChatContext` behind a site's own context, or behind a copy of one.

    :raises TypeError: there is none, so nothing may be read.
    """
    if isinstance(context, ChatContext):
        return context
    found = current_context.get(None)
    if found is not None:
        return found
    if isinstance(context, Mapping) and isinstance(context.get("visitor"), Visitor):
        return ChatContext(**{key: context[key] for key in _KEYS if key in context})
    raise TypeError("the context must be a ChatContext, which names the visitor")


def owner_name(kit: str, chat: str, visitor: Visitor) -> str:
    """The name under which a visitor owns threads in one chat: SHA-256, 64 hex digits."""
    return hashlib.sha256(f"{kit}\0{chat}\0{visitor.key}".encode()).hexdigest()


def owner_of(context: object) -> str:
    """The owner that a context names; see :func:`owner_name`.

    :raises TypeError: the context names no visitor, so nothing may be read.
    """
    return as_context(context).owner
