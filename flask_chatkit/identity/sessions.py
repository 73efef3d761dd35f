"""Sessions: their signed records, from mint to cancel.

OpenAI has no call that retrieves or refreshes a session. So the browser keeps a record of ours,
signed and bound to its visitor and chat; refreshing mints anew, and validating reads the record.

A served chat's secret is a token of ours, just as short-lived and revocable: the widget sends it in
a header of its own, so that a page whose cookies are blocked has a visitor, too.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from itsdangerous import BadData, Signer, base64_decode, base64_encode

from ..errors import ApiError, NotFound, Unauthenticated, UpstreamRejected
from ..hosted.client import Client
from .signing import CLOCK_TOLERANCE, SIGNATURE, signer
from .visitor import Visitor

logger = logging.getLogger("flask_chatkit")

#: Most seconds of a session: OpenAI's longest has 600; storages cannot remember absurd ones.
LONGEST = 10**10
#: Seconds that a refresh spends on cancelling the session that it replaced.
CANCEL_BUDGET = 2.0

#: The header of a served session's token. ``Authorization: Bearer`` is accepted as well, but is the
#: proxy's where HTTP Basic is in front of the site.
HEADER = "X-ChatKit-Token"
#: What the widget is told of a session that has ended: a login is not what it wants.
ENDED = "session_ended"
EXPIRED = "This chat's session has ended. Please reload the page."

Status = Literal["active", "expired", "cancelled"]

#: The prefix of a served session's id; OpenAI's is ``cksess_``.
SERVED = "served_"
#: The prefix of a token, by which people and secret scanners recognise one.
TOKEN = "ck_"  # noqa: S105  the prefix of a secret, and none

#: A record and its signature, in their exact form.
_RECORD = re.compile(rf"[A-Za-z0-9_-]{{16,1024}}\.{SIGNATURE}")


class Revocations(Protocol):
    """Remembers names for a while, in all processes that share a storage."""

    def mark(self, name: str, seconds: int) -> None:
        """Remember a name for some seconds."""

    def is_marked(self, name: str) -> bool:
        """Whether the name is remembered."""


@dataclass(frozen=True)
class Minted:
    """The result of a mint, which the browser receives.

    :param client_secret: the short-lived secret for ChatKit's element.
    :param expires_at: when it ends, in Unix seconds.
    :param expires_in: how many seconds are left.
    :param session_id: our signed record of the session.
    """

    client_secret: str = field(repr=False)
    expires_at: int
    expires_in: int
    session_id: str


@dataclass(frozen=True)
class Token:
    """The content of a served session's token.

    :param session: the session's id.
    :param anonymous: the anonymous visitor, whom the token alone identifies; None for a login,
        which has to be signed in still.
    :param digest: the visitor's digest.
    """

    session: str
    anonymous: Visitor | None
    digest: str


@dataclass(frozen=True)
class SessionRecord:
    """The content of a session's signed record.

    :param upstream_id: OpenAI's id, ``cksess_…``, or ours, ``served_…``.
    :param expires_at: when it ends, in Unix seconds.
    :param visitor: the :attr:`.Visitor.digest` of its visitor.
    :param chat: the chat's name.
    :param issued_at: when it was minted, in Unix microseconds, see :meth:`Sessions.status`; 0 in
        those of earlier releases.
    """

    upstream_id: str
    expires_at: int
    visitor: str
    chat: str
    issued_at: int = 0


class Sessions:
    """Mints, refreshes, validates and cancels the sessions of one kit on one application.

    :param keys: the signing keys, the newest last.
    :param kit: the kit's name, which salts the signature.
    :param client: OpenAI's API.
    :param marks: where cancelled sessions are remembered until they would have expired.
    :param clock: returns Unix seconds.
    :param revoked_at: returns when everything that a visitor was given was last revoked, by the
        visitor's digest, in Unix seconds; None for never.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        kit: str,
        client: Client,
        marks: Revocations,
        clock: Callable[[], float] = time.time,
        revoked_at: Callable[[str], float | None] = lambda _: None,
    ) -> None:
        self._signer = signer(Signer, keys, "session", kit)
        self._token_signer = signer(Signer, keys, "token", kit)
        self._client = client
        self._marks = marks
        self._clock = clock
        self._revoked_at = revoked_at

    def for_request(self, revoked_at: Callable[[str], float | None]) -> Sessions:
        """The same sessions, with revocations read once a request.

        :param revoked_at: as for the class.
        """
        sessions = copy.copy(self)
        sessions._revoked_at = revoked_at  # noqa: SLF001  it is one of these
        return sessions

    def mint(self, chat: str, visitor: Visitor, body: Mapping[str, Any]) -> Minted:
        """Create a session at OpenAI.

        :param chat: the chat's name.
        :param body: the body of the call, by
            :meth:`HostedChat.session <flask_chatkit.chats.hosted.HostedChat.session>`.
        :raises ApiError: one of the ``Upstream…`` errors.
        """
        issued_at = self._issue_time(visitor)
        session = self._client.create_session(body)
        expires_in = session.expires_at - int(self._clock())
        if not 1 <= expires_in <= LONGEST:
            raise UpstreamRejected(
                detail="the session ends in the past, or beyond reason: is this machine's clock "
                f"right? OpenAI's request id {session.request_id}"
            )
        record = SessionRecord(session.id, session.expires_at, visitor.digest, chat, issued_at)
        return Minted(session.client_secret, session.expires_at, expires_in, self._sign(record))

    def mint_token(self, chat: str, visitor: Visitor, seconds: int) -> Minted:
        """Sign a token for a served chat.

        :param seconds: how long it is valid.
        """
        expires_at = int(self._clock()) + seconds
        session = SERVED + secrets.token_urlsafe(16)
        issued_at = self._issue_time(visitor)
        record = SessionRecord(session, expires_at, visitor.digest, chat, issued_at)
        # A login's id stays on the server; an anonymous one is random.
        anonymous = visitor.key if visitor.is_anonymous else ""
        token = _pack(self._token_signer, [*_fields(record), anonymous])
        return Minted(TOKEN + token, expires_at, seconds, self._sign(record))

    def open_token(self, token: str, chat: str) -> Token:
        """Read a token.

        :raises Unauthenticated: it is not genuine, another chat's, or no longer valid.
        """
        fields = _unpack(self._token_signer, token.removeprefix(TOKEN))
        try:
            *rest, anonymous = fields or []
            record = SessionRecord(*rest)
        except (ValueError, TypeError):
            raise session_ended() from None
        if record.chat != chat or self.status(record) != "active":
            raise session_ended()
        visitor = Visitor(anonymous, known=True) if anonymous else None
        return Token(record.upstream_id, visitor, record.visitor)

    def open(self, session_id: str, chat: str, visitor: Visitor) -> SessionRecord:
        """Read a record.

        :raises NotFound: it is not genuine, or it is another visitor's or another chat's.
        """
        try:
            record = SessionRecord(*(_unpack(self._signer, session_id) or ()))
        except TypeError:
            raise NotFound from None
        if record.visitor != visitor.digest or record.chat != chat:
            raise NotFound
        return record

    def status(self, record: SessionRecord) -> Status:
        """Return whether a session is still valid.

        The host that reads judges its end, by its own clock. A revocation also ends what a host
        issued whose clock is ahead; what is issued later has a later time in it, whatever the
        clocks.
        """
        if self._marks.is_marked(record.upstream_id):
            return "cancelled"
        if record.expires_at <= self._clock():
            return "expired"
        revoked = self._revoked_at(record.visitor)
        is_revoked = revoked is not None and record.issued_at <= _latest(revoked)
        return "cancelled" if is_revoked else "active"

    def cancel(self, record: SessionRecord, budget: float | None = None) -> None:
        """End an active session, at OpenAI too.

        :param budget: how many seconds that may take; the client's own limit by default.
        :raises ApiError: OpenAI did not do it; the session is still active then.
        """
        if not record.upstream_id.startswith(SERVED):
            self._client.cancel_session(record.upstream_id, budget)
        self._mark(record)

    def replace(self, record: SessionRecord) -> None:
        """End a session that was replaced; the new one is valid even if OpenAI fails."""
        try:
            self.cancel(record, CANCEL_BUDGET)
        except ApiError as error:
            logger.warning("The session that was refreshed could not be cancelled: %s", error.slug)
            self._mark(record)

    def _mark(self, record: SessionRecord) -> None:
        # For longer than it lasts, by any host's clock.
        left = int(record.expires_at - self._clock()) + CLOCK_TOLERANCE
        self._marks.mark(record.upstream_id, left)

    def _issue_time(self, visitor: Visitor) -> int:
        """The current time in Unix microseconds, but later than any revocation."""
        revoked = self._revoked_at(visitor.digest)
        now = int(self._clock() * 1_000_000)
        return now if revoked is None else max(now, _latest(revoked) + 1)

    def _sign(self, record: SessionRecord) -> str:
        return _pack(self._signer, _fields(record))


def session_ended() -> Unauthenticated:
    """The error for a token that is not valid, or not this visitor's."""
    return Unauthenticated(EXPIRED, refusal=ENDED, reason=ENDED)


def _latest(revoked_at: float) -> int:
    """The last time of issue that a revocation ends, in Unix microseconds."""
    return int((revoked_at + CLOCK_TOLERANCE) * 1_000_000)


def _fields(record: SessionRecord) -> list[Any]:
    return [*dataclasses.astuple(record)]


def _pack(key: Signer, fields: Sequence[Any]) -> str:
    return key.sign(base64_encode(json.dumps(fields, separators=(",", ":")))).decode("ascii")


def _unpack(key: Signer, packed: str) -> list[Any] | None:
    """Return the signed fields; None unless they are genuine, in their one exact form."""
    if not _RECORD.fullmatch(packed):
        return None
    try:
        fields: list[Any] = json.loads(base64_decode(key.unsign(packed)))
    except (BadData, ValueError):
        return None
    return fields
