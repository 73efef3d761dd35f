"""The caller: what is known of one request, each fact found once."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from flask import Request, Response, current_app, g, request
from flask.typing import ResponseReturnValue
from werkzeug.utils import cached_property

from ..chats.checks import DEFAULT
from ..chats.served import Chat, ServedChat
from ..errors import NotFound, RateLimited
from ..identity.login import login_visitor
from ..identity.origins import Origin
from ..identity.sessions import HEADER as TOKEN_HEADER
from ..identity.sessions import Sessions, session_ended
from ..identity.visitor import Visitor
from ..limits.addresses import address_of
from ..limits.budget import Budget
from ..limits.concurrency import Slot
from ..limits.ratelimit import CALL
from ..registry import EXTENSION, ChatKitState
from ..runtime._upstream import this_request
from ..runtime.processes import PerProcess

if TYPE_CHECKING:
    from ..server.context import ChatContext

P = ParamSpec("P")

#: Not the module's own generator, which a site may have seeded.
_ids = PerProcess(random.Random)
#: Requests of one application context whose callers are kept.
MAX_NESTED = 4
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


# Werkzeug's cached_property: before Python 3.12 that of functools locks all requests of a process.
class Caller:
    """Who makes one request, and what is asked.

    :param kit: the kit whose URL was requested.
    :param request: the request.
    """

    def __init__(self, kit: ChatKitState, request: Request) -> None:
        self.kit = kit
        self.request = request
        #: The endpoint's name within the kit; a blueprint that a site nests below has others.
        self.endpoint = (request.endpoint or "").removeprefix(f"{kit.name}.")
        self.chat_name: str = (request.view_args or {}).get("chat", DEFAULT)
        #: Who asks; None before :meth:`identify`, and for somebody unknown.
        self.visitor: Visitor | None = None
        #: The visitor whom a login, token or cookie identified, for the log of a refusal.
        self.identified: Visitor | None = None
        #: The owner that a signed link names.
        self.owner: str | None = None
        #: The finished response of a view, which no hook changes.
        self.response: Response | None = None
        #: Whether the refusal of this request was logged and counted.
        self.is_refused = False
        #: Whether the threads of the cookie's visitor are the login's now.
        self.is_transferred = False
        self._revocations: dict[str, float | None] = {}

    @cached_property
    def chat(self) -> Chat:
        """The chat that is asked.

        :raises NotFound: there is none.
        :raises Misconfigured: it is hosted, and has no workflow.
        """
        return self.kit.chat(self.chat_name)

    @property
    def served_chat(self) -> ServedChat:
        """The chat that is asked, which the site serves.

        :raises NotFound: there is none, or OpenAI hosts it.
        """
        if not isinstance(self.chat, ServedChat):
            raise NotFound("This chat is hosted by OpenAI.")
        return self.chat

    @cached_property
    def origin(self) -> Origin:
        """Where the request comes from."""
        return Origin.of(self.request, self.kit.settings)

    @cached_property
    def address(self) -> str:
        """The address that the request is counted under."""
        return address_of(self.request)

    @cached_property
    def request_id(self) -> str:
        """The id that connects a response with the log: a proxy's, else one made here."""
        given = self.request.headers.get("X-Request-ID", "")
        if _REQUEST_ID.fullmatch(given):
            return given
        # It is no secret, so the system's randomness, which costs a system call, is not needed.
        return f"{_ids.get().getrandbits(64):016x}"

    @property
    def sessions(self) -> Sessions:
        """The kit's sessions, with revocations read once."""
        # Not kept: it refers to this caller, and a request that waits for Python to find such
        # circles keeps its memory.
        return self.kit.sessions.for_request(self.revoked_at)

    def revoked_at(self, digest: str) -> float | None:
        """When what a visitor was given was last revoked, in Unix seconds; None if never.

        It is read once: what is written for this request later compares with that.
        """
        if digest not in self._revocations:
            self._revocations[digest] = self.kit.revoked_at(digest)
        return self._revocations[digest]

    def identify(self) -> Visitor | None:
        """Find who asks: the login, else the owner of the token or the cookie, else None.

        A page of another origin, trusted or not, is its token's visitor and nobody else: neither
        the login nor the cookie counts, unless ``CHATKIT_LOGIN_ORIGINS`` lists it. Where a token
        decides, a cookie beside it counts for nothing: the visitor would otherwise change from
        call to call.

        :raises Misconfigured: the site's ``user_loader`` returned something unusable.
        """
        self.visitor = self.identified = self._find_visitor()
        return self.visitor

    def _find_visitor(self) -> Visitor | None:
        kit, origin = self.kit, self.origin
        loader = kit.declared.user_loader
        if loader is not None and origin.counts_login:
            visitor = login_visitor(loader)
            if visitor is not None:
                return visitor
        if origin.token is None:
            return kit.cookie.read(self.request)
        return kit.token.read(self.request, origin.token) if origin.token else None

    def identify_or_new(self) -> Visitor:
        """Find who asks, or make a visitor for somebody unknown."""
        self.visitor = self.identify() or Visitor.new()
        return self.visitor

    def require_visitor(self) -> Visitor:
        """Find who asks in a served chat: by cookie or login, and by the session's token if sent.

        :raises Unauthenticated: nobody is known, or the token is another visitor's; the widget
            mints anew.
        """
        visitor = self.identify()
        token = self._session_token()
        if token is not None:
            opened = self.sessions.open_token(token, self.chat.name)
            if visitor is None:
                # A page whose cookies are blocked. A login, however, has to be signed in still.
                visitor = opened.anonymous
            elif visitor.digest != opened.digest:
                visitor = None
        self.visitor = visitor
        if visitor is None:
            self.budget.spend(CALL)
            raise session_ended()
        self.identified = visitor
        return visitor

    def _session_token(self) -> str | None:
        """The token of a served session; None if none was sent."""
        headers = self.request.headers
        own = headers.get(TOKEN_HEADER)
        if own is not None:
            return own.strip()
        kind, _, token = headers.get("Authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else None

    @property
    def budget(self) -> Budget:
        """The quotas that the request is counted against."""
        return Budget(self.kit.limiter, self.chat, self.visitor, self.address, self.owner)

    def begin(self, context: ChatContext) -> Slot:
        """Note that the request is under way for its visitor."""
        visitor = context.visitor
        address = self.address if visitor.is_anonymous else None
        slot = self.kit.under_way.take(context.owner, address)
        if slot.refusal is not None:
            # What is refused has waited, too.
            try:
                self.budget.spend(CALL)
            except RateLimited as error:
                slot.refusal = error
        return slot


def current_caller() -> Caller:
    """The caller of the current request."""
    # Requests share ``g`` within one application context: a test client's, and those that a site
    # makes to itself while it answers another one.
    callers: list[Caller] = g.setdefault("chatkit_callers", [])
    caller = next((one for one in callers if one.request.environ is request.environ), None)
    if caller is None:
        registered: dict[str, ChatKitState] = current_app.extensions[EXTENSION]
        kit = next(filter(None, map(registered.get, request.blueprints)))
        if not kit.is_used:
            kit.first_use()
        caller = Caller(kit, this_request())
        callers.insert(0, caller)
        del callers[MAX_NESTED:]
    return caller


def with_caller(
    view: Callable[Concatenate[Caller, P], ResponseReturnValue],
) -> Callable[..., ResponseReturnValue]:
    """Make a Flask view of a function that takes the caller, and its URL's values but the chat."""

    @wraps(view)
    def answer(chat: str = DEFAULT, **values: Any) -> ResponseReturnValue:  # noqa: ARG001
        return view(current_caller(), **values)  # type: ignore[call-arg]

    return answer
