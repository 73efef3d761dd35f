"""Sessions: the signed record is bound to visitor, chat, kit and key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_chatkit.errors import NotFound, Unauthenticated, UpstreamRejected
from flask_chatkit.hosted.client import Client
from flask_chatkit.identity.sessions import Minted, SessionRecord, Sessions
from flask_chatkit.identity.signing import CLOCK_TOLERANCE
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.testing import Failure, OpenAIStandIn

ANN = Visitor.login("ann")
BOB = Visitor.login("bob")


class Memory:
    """Marks in a dict."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}

    def mark(self, name: str, seconds: int) -> None:
        """Remember."""
        self.names[name] = seconds

    def is_marked(self, name: str) -> bool:
        """Look up."""
        return name in self.names


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Start at a round moment."""
    return Clock()


@pytest.fixture
def openai(clock: Clock) -> Iterator[OpenAIStandIn]:
    """Serve a stand-in whose time the test moves."""
    with OpenAIStandIn(clock=clock) as standin:
        yield standin


def make(openai: OpenAIStandIn, clock: Clock, *, keys: str = "k", kit: str = "chatkit") -> Sessions:
    client = Client(api_key="sk-standin", base=openai.api_base, timeout=(1, 1))
    return Sessions([key.encode() for key in keys], kit, client, Memory(), clock)


def mint(sessions: Sessions, visitor: Visitor = ANN, chat: str = "default") -> Minted:
    return sessions.mint(chat, visitor, {"user": visitor.key, "workflow": {"id": "wf_standin"}})


def test_minted_session_opens_for_its_visitor(openai: OpenAIStandIn, clock: Clock) -> None:
    """The record names the upstream session, its end, and neither visitor nor secret."""
    sessions = make(openai, clock)
    minted = mint(sessions)
    record = sessions.open(minted.session_id, "default", ANN)
    assert record == SessionRecord(
        upstream_id=next(iter(openai.sessions)),
        expires_at=int(clock.now) + 600,
        visitor=ANN.digest,
        chat="default",
        issued_at=int(clock.now * 1_000_000),
    )
    assert minted.expires_in == 600
    assert minted.client_secret not in minted.session_id
    assert minted.client_secret not in repr(minted)


def test_record_is_bound(openai: OpenAIStandIn, clock: Clock) -> None:
    """Another visitor, chat, kit or key finds nothing."""
    sessions = make(openai, clock)
    identifier = mint(sessions).session_id
    for visitor, chat in ((BOB, "default"), (ANN, "sales")):
        with pytest.raises(NotFound):
            sessions.open(identifier, chat, visitor)
    for other in (make(openai, clock, kit="staff"), make(openai, clock, keys="x")):
        with pytest.raises(NotFound):
            other.open(identifier, "default", ANN)
    assert make(openai, clock, keys="kx").open(identifier, "default", ANN)


@pytest.mark.parametrize("mutated", ["", "x", "é", "a.b", "A" * 5000, "%00", "../..", "."])
def test_nonsense_is_not_found(openai: OpenAIStandIn, clock: Clock, mutated: str) -> None:
    """A malformed record raises nothing but not-found."""
    with pytest.raises(NotFound):
        make(openai, clock).open(mutated, "default", ANN)


def test_every_character_of_a_record_counts(openai: OpenAIStandIn, clock: Clock) -> None:
    """A record has one spelling."""
    sessions = make(openai, clock)
    identifier = mint(sessions).session_id
    for at in range(len(identifier)):
        for other in "Ab9-_!.":
            if other != identifier[at]:
                with pytest.raises(NotFound):
                    sessions.open(identifier[:at] + other + identifier[at + 1 :], "default", ANN)


def test_status_goes_from_active_to_expired(openai: OpenAIStandIn, clock: Clock) -> None:
    """A session is active until its end."""
    sessions = make(openai, clock)
    record = sessions.open(mint(sessions).session_id, "default", ANN)
    clock.now += 599
    assert sessions.status(record) == "active"
    clock.now += 1
    assert sessions.status(record) == "expired"


def test_cancel_ends_it_here_and_upstream(openai: OpenAIStandIn, clock: Clock) -> None:
    """A cancelled session is cancelled in both places."""
    sessions = make(openai, clock)
    record = sessions.open(mint(sessions).session_id, "default", ANN)
    sessions.cancel(record)
    assert sessions.status(record) == "cancelled"
    assert openai.sessions[record.upstream_id]["status"] == "cancelled"
    assert len(openai.requests) == 2


def test_replaced_session_is_ended_whatever_openai_says(
    openai: OpenAIStandIn, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A refresh succeeds though the old session can't be cancelled upstream; the log tells it."""
    sessions = make(openai, clock)
    record = sessions.open(mint(sessions).session_id, "default", ANN)
    openai.fail(Failure(status=500))
    sessions.replace(record)
    assert sessions.status(record) == "cancelled"
    assert "could not be cancelled" in caplog.text


def test_end_beyond_reason_is_refused(openai: OpenAIStandIn, clock: Clock) -> None:
    """An end that no storage can count to is no session's."""
    body = b'{"id":"cksess_1","client_secret":"ek_1","expires_at":1%s}' % (b"0" * 400)
    openai.fail(Failure(status=200, body=body))
    with pytest.raises(UpstreamRejected):
        mint(make(openai, clock))


def test_expired_on_arrival_is_told(openai: OpenAIStandIn, clock: Clock) -> None:
    """A clock that is ahead is named as the probable cause."""
    sessions = make(openai, clock)
    sessions._clock = lambda: clock.now + 700
    with pytest.raises(UpstreamRejected) as caught:
        mint(sessions)
    assert "clock" in str(caught.value.detail)


def test_what_was_minted_before_a_revocation_ends(openai: OpenAIStandIn, clock: Clock) -> None:
    """A revocation ends its visitor's earlier tokens and records, and no others."""
    revoked: dict[str, float] = {}
    client = Client(api_key="sk-standin", base=openai.api_base, timeout=(1, 1))
    sessions = Sessions([b"k"], "chatkit", client, Memory(), clock, revoked.get)
    hosted, served, bobs = (
        mint(sessions),
        sessions.mint_token("default", ANN, 600),
        sessions.mint_token("default", BOB, 600),
    )
    clock.now += 0.25
    revoked[ANN.digest] = clock.now
    clock.now += 0.25
    later = sessions.mint_token("default", ANN, 600)
    for minted, status in ((hosted, "cancelled"), (served, "cancelled"), (later, "active")):
        assert sessions.status(sessions.open(minted.session_id, "default", ANN)) == status
    with pytest.raises(Unauthenticated):
        sessions.open_token(served.client_secret, "default")
    assert sessions.open_token(later.client_secret, "default").digest == ANN.digest
    assert sessions.open_token(bobs.client_secret, "default").digest == BOB.digest


@pytest.mark.parametrize("skew", [-280, -1, 0, 1, 280])
def test_revocation_holds_whichever_clock_is_ahead(
    openai: OpenAIStandIn, clock: Clock, skew: int
) -> None:
    """What was issued before a revocation ends with it, and what came after holds, on all hosts."""
    revoked: dict[str, float] = {}
    client = Client(api_key="sk-standin", base=openai.api_base, timeout=(1, 1))
    here = Sessions([b"k"], "chatkit", client, Memory(), clock, revoked.get)
    there = Sessions([b"k"], "chatkit", client, Memory(), lambda: clock.now + skew, revoked.get)
    before = [one.mint_token("default", ANN, 3600) for one in (here, there)]
    clock.now += 1
    # By this host's clock, as ``flask chatkit user delete`` does it.
    revoked[ANN.digest] = clock.now
    clock.now += 1
    after = [one.mint_token("default", ANN, 3600) for one in (here, there)]
    for reader in (here, there):
        for minted in before:
            record = reader.open(minted.session_id, "default", ANN)
            assert reader.status(record) == "cancelled"
        for minted in after:
            assert reader.open_token(minted.client_secret, "default").digest == ANN.digest


@pytest.mark.parametrize("skew", [-280, -1, 1, 280])
def test_sessions_hold_on_hosts_whose_clocks_differ(
    openai: OpenAIStandIn, clock: Clock, skew: int
) -> None:
    """A record and a token of one host are good on another, and not for longer than they say."""
    here = make(openai, clock)
    there = make(openai, clock)
    there._clock = lambda: clock.now + skew
    minted = there.mint_token("default", ANN, 3600)
    assert here.status(here.open(minted.session_id, "default", ANN)) == "active"
    assert here.open_token(minted.client_secret, "default")
    clock.now = minted.expires_at
    assert here.status(here.open(minted.session_id, "default", ANN)) == "expired"


def test_cancelled_session_is_remembered_until_it_is_over_everywhere(
    openai: OpenAIStandIn, clock: Clock
) -> None:
    """A mark outlasts the session by as much as the clock of another host may be behind."""
    sessions = make(openai, clock)
    record = sessions.open(mint(sessions).session_id, "default", ANN)
    sessions.cancel(record)
    (seconds,) = sessions._marks.names.values()  # type: ignore[attr-defined]
    assert seconds == 600 + CLOCK_TOLERANCE
