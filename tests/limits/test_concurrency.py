"""What one visitor has under way: how much, for how long, and that nothing of it is left."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response

from flask_chatkit import RateLimited
from flask_chatkit.limits import concurrency
from flask_chatkit.limits.concurrency import AT_A_TIME, CALLS_AT_A_TIME, Slot, UnderWay
from flask_chatkit.limits.ratelimit import VISITORS
from tests.helpers.served import until

ENVIRON = {"REQUEST_METHOD": "GET"}
ADDRESS = "198.51.100.1"


@pytest.fixture
def under_way(monkeypatch: pytest.MonkeyPatch) -> UnderWay:
    """A process's table, whose calls don't wait for each other."""
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.0)
    return UnderWay(by_address=True)


def fill(table: UnderWay, owner: str, count: int = AT_A_TIME) -> list[Slot]:
    return [table.take(owner, ADDRESS) for _ in range(count)]


def is_refused(slot: Slot) -> bool:
    if slot.refusal is None:
        slot.check()
        return False
    with pytest.raises(RateLimited) as caught:
        slot.check()
    assert (caught.value.refusal, caught.value.retry_after) == ("busy", 1)
    return True


def test_visitor_has_so_many(under_way: UnderWay) -> None:
    """A visitor has so many requests at a time, and one more when one has ended."""
    slots = fill(under_way, "ann")
    assert not any(map(is_refused, slots))
    assert is_refused(under_way.take("ann", ADDRESS))
    assert not is_refused(under_way.take("bob", ADDRESS))
    slots[0].release()
    slots[0].release()
    ours = fill(under_way, "ann", 2)
    assert list(map(is_refused, ours)) == [False, True]


def test_address_has_so_many(under_way: UnderWay) -> None:
    """Fresh cookies gain what a few visitors have, a login is held by no address."""
    held = [slot for number in range(VISITORS) for slot in fill(under_way, f"anon{number}")]
    assert not any(map(is_refused, held))
    assert is_refused(under_way.take("another", ADDRESS))
    assert not is_refused(under_way.take("another", "198.51.100.2"))
    assert not is_refused(under_way.take("login", None))


def test_networks_have_so_many(under_way: UnderWay) -> None:
    """A customer's many IPv6 networks gain no more than ten addresses have."""
    held = [
        under_way.take(f"anon{number}", f"2001:db8:1:{number:x}::/64")
        for number in range(AT_A_TIME * VISITORS * 5 + 1)
    ]
    assert [is_refused(slot) for slot in held] == [False] * (len(held) - 1) + [True]
    assert not is_refused(under_way.take("another", "2001:db8:1:100::/64"))


def test_addresses_may_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where addresses are not counted, only visitors are held to a bound."""
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.0)
    table = UnderWay(by_address=False)
    held = [slot for number in range(50) for slot in fill(table, f"anon{number}")]
    assert not any(map(is_refused, held))


def test_the_sites_functions_have_a_bound_of_their_own(under_way: UnderWay) -> None:
    """Of all that a visitor may have under way, few run a function of the site's."""
    slots = fill(under_way, "ann", 4)
    for slot in slots[:CALLS_AT_A_TIME]:
        slot.call_site()
    with pytest.raises(RateLimited, match="Please wait"):
        slots[CALLS_AT_A_TIME].call_site()
    slots[0].release()
    slots[CALLS_AT_A_TIME].call_site()


def test_call_waits_for_one_that_is_about_to_end() -> None:
    """A browser that asks for one picture too many at once gets it a moment later."""
    table = UnderWay(by_address=True)
    slots = fill(table, "ann")
    threading.Timer(0.05, slots[0].release).start()
    began = time.monotonic()
    assert not is_refused(table.take("ann", ADDRESS))
    assert time.monotonic() - began < concurrency.WAIT_SECONDS


def test_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has many waiting already is refused at once: those hold threads, too."""
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 20.0)
    monkeypatch.setattr(concurrency, "WAITING", 1)
    table = UnderWay(by_address=True)
    slots = fill(table, "ann")
    results: list[bool] = []

    def wait() -> None:
        slot = table.take("ann", ADDRESS)
        results.append(is_refused(slot))
        slot.release()

    waiting = [threading.Thread(target=wait) for _ in range(AT_A_TIME)]
    for thread in waiting:
        thread.start()
    until(lambda: sum(table._waiting.values()) == 3 * AT_A_TIME)
    assert is_refused(table.take("ann", ADDRESS))
    for slot in slots:
        slot.release()
    for thread in waiting:
        thread.join(10)
    assert results == [False] * AT_A_TIME
    assert len(table) == 0


@pytest.mark.parametrize("threads", [16, 64])
def test_there_is_always_a_thread_for_somebody_else(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Few visitors who take all that they can get leave some of gunicorn's threads to others."""
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(concurrency, "worker_threads", lambda: threads)
    table = UnderWay(by_address=True)
    held = []
    for number in range(threads // 12 + 2):
        greedy = (table.take(f"greedy{number}", f"203.0.113.{number}") for _ in range(AT_A_TIME))
        held += [slot for slot in greedy if not is_refused(slot)]
    assert threads // 4 <= len(held) <= threads * 7 // 8
    honest = fill(table, "ann", concurrency.LEAST)
    assert not any(map(is_refused, honest))
    refused = table.take("greedy0", "203.0.113.0").refusal
    assert refused is not None
    for slot in (*held, *honest):
        slot.release()
    assert len(table) == 0
    # Alone, a visitor has as much as ever, and a small server has some left nevertheless.
    slots = [slot for slot in fill(table, "ann") if not is_refused(slot)]
    assert len(slots) == AT_A_TIME


@pytest.mark.parametrize(("threads", "most"), [(4, 3), (8, 6), (16, 12)])
def test_an_address_leaves_some_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int, most: int
) -> None:
    """Visitors that an address makes up have three fourths of the threads together."""
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(concurrency, "worker_threads", lambda: threads)
    table = UnderWay(by_address=True)
    slots = [table.take(f"anon{number}", ADDRESS) for number in range(2 * threads)]
    assert sum(not is_refused(slot) for slot in slots) == most
    assert not is_refused(table.take("honest", "198.51.100.9"))


def test_who_waits_leaves_room_for_others_who_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor whose calls keep waiting does not make others' calls busy."""
    monkeypatch.setattr(concurrency, "worker_threads", lambda: 8)
    table = UnderWay(by_address=True)
    greedy = [table.take("greedy", "203.0.113.1") for _ in range(4)]
    slots = fill(table, "ann", concurrency.LEAST)
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 20.0)
    flood = threading.Thread(target=lambda: table.take("greedy", "203.0.113.1").release())
    flood.start()
    until(lambda: table._waiting["", "process", ""] == 1)
    assert is_refused(table.take("greedy", "203.0.113.1"))
    threading.Timer(0.05, slots[0].release).start()
    assert not is_refused(table.take("ann", ADDRESS))
    for slot in (*greedy, *slots):
        slot.release()
    flood.join(10)


def test_few_of_all_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many visitors have too much under way, a fourth of the threads waits at most."""
    monkeypatch.setattr(concurrency, "WAIT_SECONDS", 20.0)
    monkeypatch.setattr(concurrency, "worker_threads", lambda: 16)
    table = UnderWay(by_address=True)
    names = [f"203.0.113.{number}" for number in range(7)]
    held = [table.take(name, name) for name in names for _ in range(concurrency.LEAST)]
    waiting = [
        threading.Thread(target=lambda name=name: table.take(name, name).release())
        for name in names[:4]
    ]
    for thread in waiting:
        thread.start()
    until(lambda: table._waiting["", "process", ""] == len(waiting))
    began = time.monotonic()
    assert is_refused(table.take(names[4], names[4]))
    assert time.monotonic() - began < 1.0
    for slot in held:
        slot.release()
    for thread in waiting:
        thread.join(10)
    assert len(table) == 0


def test_nothing_is_left(under_way: UnderWay) -> None:
    """Whatever becomes of a response, its place is free again, and no name stays in memory."""
    plain = Response("x")
    with under_way.take("plain", ADDRESS) as slot:
        slot.hold(plain, ENVIRON)
    stream = Response(iter([b"a", b"b"]), direct_passthrough=True)
    with under_way.take("stream", ADDRESS) as slot:
        slot.hold(stream, ENVIRON)
    left = Response(iter([b"a", b"b"]), direct_passthrough=True)
    with under_way.take("left", ADDRESS) as slot:
        slot.hold(left, ENVIRON)
    replaced = Response("x")
    with under_way.take("replaced", ADDRESS) as slot:
        slot.hold(replaced, ENVIRON)
    never = Response(iter([b"a"]), direct_passthrough=True)
    with under_way.take("never", ADDRESS) as slot:
        slot.hold(never, ENVIRON)
    head = Response("x")
    with under_way.take("head", ADDRESS) as slot:
        slot.hold(head, {"REQUEST_METHOD": "HEAD"})
    with pytest.raises(KeyError), under_way.take("failed", ADDRESS) as slot:
        raise KeyError
    del slot
    assert len(under_way) == 7  # the process, the address, and all but the last two
    plain.close()
    assert list(stream.response) == [b"a", b"b"]
    next(iter(left.response))
    left.response.close()
    del replaced, never
    gc.collect()
    assert len(under_way) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_process_begins_anew(under_way: UnderWay) -> None:
    """What is under way in the process that was forked is not in the new one, and stays there."""
    slots = fill(under_way, "ann")
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        slot = under_way.take("ann", ADDRESS)
        ok = slot.refusal is None
        for one in slots:
            one.release()
        os._exit(0 if ok and len(under_way) == 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert is_refused(under_way.take("ann", ADDRESS))


# --- clients that don't read ------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give clients up soon."""
    monkeypatch.setattr(concurrency, "SEND_SECONDS", 0.2)
    monkeypatch.setattr(concurrency, "LOOK_SECONDS", 0.05)


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection."""
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("server", ["gunicorn", "werkzeug"])
def test_client_that_does_not_read_is_hung_up_on(
    under_way: UnderWay, quick: None, connection: Any, server: str
) -> None:
    """The thread that waits for it is let go, whatever the server."""
    ours, _ = connection
    response = Response(iter([b"x" * 10_000_000]), direct_passthrough=True)
    with under_way.take("ann", ADDRESS) as slot:
        slot.hold(response, {**ENVIRON, f"{server}.socket": ours})
    with pytest.raises(OSError):  # noqa: PT011, PT012  each system has an error of its own
        for piece in response.response:
            ours.sendall(piece)
    response.response.close()
    assert len(under_way) == 0


def test_client_that_reads_goes_on(under_way: UnderWay, quick: None, connection: Any) -> None:
    """An answer that takes longer than a client may wait goes on while it is read."""
    ours, theirs = connection

    def words() -> Iterator[bytes]:
        for _ in range(10):
            time.sleep(0.05)
            yield b"word"

    response = Response(words(), direct_passthrough=True)
    with under_way.take("ann", ADDRESS) as slot:
        slot.hold(response, {**ENVIRON, "gunicorn.socket": ours})
    for piece in response.response:
        ours.sendall(piece)
        assert theirs.recv(100) == b"word"
    ours.sendall(b"the end")
    until(lambda: under_way._watcher is None)


def test_client_that_reads_slowly_is_hung_up_on(
    under_way: UnderWay, quick: None, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file has an end as a whole, though each of its pieces is taken in time."""
    monkeypatch.setattr(concurrency, "SLOWEST", 1000)
    ours, theirs = connection
    pieces = (b"x" for _ in range(200))
    response = Response(pieces, direct_passthrough=True, headers={"Content-Length": "200"})
    with under_way.take("ann", ADDRESS) as slot:
        slot.hold(response, {**ENVIRON, "gunicorn.socket": ours})
    with pytest.raises(OSError):  # noqa: PT011, PT012  each system has an error of its own
        for piece in response.response:
            ours.sendall(piece)
            theirs.recv(1)
            time.sleep(0.02)
    response.response.close()
    assert len(under_way) == 0


def test_connection_is_left_alone_once_the_response_was_sent(
    under_way: UnderWay, quick: None, connection: Any
) -> None:
    """The next request on a kept-alive connection is not cut off for the one before."""
    ours, theirs = connection
    sent, dropped = Response("x"), Response("x")
    for response in (sent, dropped):
        with under_way.take("ann", ADDRESS) as slot:
            slot.hold(response, {**ENVIRON, "gunicorn.socket": ours})
    sent.close()
    del dropped, slot, response
    until(lambda: under_way._watcher is None)
    ours.sendall(b"next")
    assert theirs.recv(100) == b"next"


def test_addresses_count_where_limits_do(make_app: Any) -> None:
    """An address has a bound unless the site has switched limits off, or those of addresses."""
    apps: list[tuple[Flask, bool]] = [
        (make_app(), True),
        (make_app(CHATKIT_RATELIMIT_IP=""), False),
        (make_app(RATELIMIT_ENABLED=False), False),
    ]
    for app, expected in apps:
        assert app.extensions["chatkit"]["chatkit"].under_way._by_address is expected


def test_collector_takes_no_lock(under_way: UnderWay) -> None:
    """What the garbage collector finds in a thread that holds the lock holds nobody up."""
    fill(under_way, "ann", AT_A_TIME - 1)
    gc.collect()
    with under_way._changed:
        dropped = under_way.take("ann", ADDRESS)
        # Another thread lets it go, as the collector may in any.
        other = threading.Thread(target=dropped.__del__)
        other.start()
        other.join(5)
        assert not other.is_alive()
    assert [is_refused(slot) for slot in fill(under_way, "ann")] == [False] * AT_A_TIME
