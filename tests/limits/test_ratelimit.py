"""Limits: three quotas at once, whoever counts, and what happens when nobody can."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from flask_chatkit import ChatKit, ConfigurationError, RateLimited
from flask_chatkit.config import Settings
from flask_chatkit.limits import pending, ratelimit
from flask_chatkit.limits import storage as storage_module
from flask_chatkit.limits.addresses import address_of, networks_of
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.served import until
from tests.helpers.sites import MakeApp

SECRET = "/chatkit/secret"
REDIS = "redis://127.0.0.1:6379/15"


@pytest.fixture
def redis_uri(missing: Callable[[str, str], NoReturn], quota_prefix: str) -> Iterator[str]:
    """Find a real Redis, and take this test's keys out of it afterwards."""
    try:
        import redis
    except ImportError:
        missing("the redis package", "pip install 'flask-chatkit[test]'")
    client = redis.Redis.from_url(REDIS, socket_connect_timeout=1)
    try:
        client.ping()
    except redis.RedisError:
        missing("Redis", "start redis-server on 127.0.0.1:6379")
    yield REDIS
    for key in client.scan_iter(f"*{quota_prefix}*"):
        client.delete(key)
    client.close()


def post(app: Flask, *, address: str = "198.51.100.1", client: Any = None) -> int:
    client = client or app.test_client()
    answer = client.post(SECRET, json={}, environ_overrides={"REMOTE_ADDR": address})
    if answer.status_code == 429:
        assert int(answer.headers["Retry-After"]) >= 1
    return int(answer.status_code)


def posts(app: Flask, count: int, **more: Any) -> list[int]:
    return [post(app, **more) for _ in range(count)]


def test_visitor_has_a_quota(make_app: MakeApp) -> None:
    """A visitor with a cookie gets exactly the quota, the first mint included."""
    app = make_app(CHATKIT_RATELIMIT="3/minute")
    assert posts(app, 5, client=app.test_client()) == [200, 200, 200, 429, 429]


def test_two_visitors_of_an_address_have_a_quota_each(make_app: MakeApp) -> None:
    """Who has a cookie is not held to what others of the address have used up."""
    app = make_app(CHATKIT_RATELIMIT="3/minute")
    ann, bob = app.test_client(), app.test_client()
    assert [post(app, client=ann), post(app, client=bob)] == [200, 200]
    assert posts(app, 3, client=ann) == [200, 200, 429]
    assert posts(app, 3, client=bob) == [200, 200, 429]


def test_dropping_the_cookie_buys_nothing(make_app: MakeApp) -> None:
    """Who comes without a cookie is held to what the address has used up."""
    app = make_app(CHATKIT_RATELIMIT="3/minute")
    assert posts(app, 5) == [200, 200, 200, 429, 429]
    app = make_app(CHATKIT_RATELIMIT="3/minute")
    assert posts(app, 4, client=app.test_client()) == [200, 200, 200, 429]
    assert posts(app, 3) == [429, 429, 429]


@pytest.mark.parametrize("forged", ["x", "A" * 22 + ".aaaa." + "A" * 64, "A" * 4000])
def test_forging_the_cookie_buys_nothing(make_app: MakeApp, forged: str) -> None:
    """A made-up cookie is as good as none."""
    app = make_app(CHATKIT_RATELIMIT="2/minute")
    seen = []
    for _ in range(4):
        client = app.test_client()
        client.set_cookie("chatkit_visitor", forged)
        seen.append(post(app, client=client))
    assert seen == [200, 200, 429, 429]


def test_address_has_a_quota(make_app: MakeApp) -> None:
    """The address's quota holds over all its visitors, and another address has its own."""
    app = make_app(CHATKIT_RATELIMIT="100/minute", CHATKIT_RATELIMIT_IP="3/minute")
    clients = [app.test_client() for _ in range(5)]
    assert [post(app, client=client) for client in clients] == [200, 200, 200, 429, 429]
    assert post(app, address="198.51.100.2") == 200


def test_kit_has_a_quota(make_app: MakeApp) -> None:
    """The kit's quota holds over all addresses; who is refused elsewhere does not use it up."""
    app = make_app(CHATKIT_RATELIMIT_GLOBAL="3/minute", CHATKIT_RATELIMIT="1/minute")
    assert posts(app, 5, address="198.51.100.1") == [200, 429, 429, 429, 429]
    addresses = [f"198.51.100.{n}" for n in range(2, 6)]
    assert [post(app, address=address) for address in addresses] == [200, 200, 429, 429]


def test_login_has_a_quota_wherever_it_comes_from(make_app: MakeApp) -> None:
    """A login is counted by its id, from all addresses, cookie or not."""
    kit = ChatKit()
    who = iter(["ann", "ann", "ann", "bob", 5])
    kit.user_loader(lambda: next(who))
    app = make_app(kit, CHATKIT_RATELIMIT="2/minute")
    assert [post(app, address=f"198.51.100.{n}") for n in range(5)] == [200, 200, 429, 200, 200]


def test_chat_may_have_limits_of_its_own(make_app: MakeApp) -> None:
    """A chat's own limit counts apart from the kit's."""
    kit = ChatKit()
    kit.add_hosted("busy", "wf_standin", ratelimit="4/minute")
    app = make_app(kit, CHATKIT_RATELIMIT="1/minute")
    client = app.test_client()
    assert posts(app, 2, client=client) == [200, 429]
    seen = [client.post("/chatkit/busy/secret", json={}).status_code for _ in range(5)]
    assert seen == [200, 200, 200, 200, 429]


def test_several_windows_hold_at_once(make_app: MakeApp) -> None:
    """The second window of a limit is enforced as the first."""
    app = make_app(CHATKIT_RATELIMIT="10/minute;2/day")
    client = app.test_client()
    assert posts(app, 2, client=client) == [200, 200]
    answer = client.post(SECRET, environ_overrides={"REMOTE_ADDR": "198.51.100.1"})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 60


def test_no_limit_is_no_limit(make_app: MakeApp) -> None:
    """Empty texts switch the limits off."""
    app = make_app(CHATKIT_RATELIMIT="", CHATKIT_RATELIMIT_IP="")
    assert set(posts(app, 40)) == {200}


def test_refresh_counts_as_a_mint_and_cancel_does_not(make_app: MakeApp) -> None:
    """A refresh uses the quota of mints up; a cancel has a quota of its own."""
    app = make_app(CHATKIT_RATELIMIT="2/minute")
    client = app.test_client()
    session = client.post(SECRET, json={}).json["session_id"]
    session = client.post(f"/chatkit/session/{session}/refresh", json={}).json["session_id"]
    assert client.post(f"/chatkit/session/{session}/refresh", json={}).status_code == 429
    assert client.post(f"/chatkit/session/{session}/cancel", json={}).status_code == 200


def at_once(app: Flask, count: int) -> list[int]:
    seen: list[int] = []
    gate = threading.Barrier(count)

    def ask() -> None:
        gate.wait()
        seen.append(post(app))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(seen)


def test_ten_at_once_let_five_through(make_app: MakeApp) -> None:
    """Ten concurrent requests at a limit of five let exactly five through, in memory."""
    app = make_app(CHATKIT_RATELIMIT="5/minute")
    assert at_once(app, 10) == [200] * 5 + [429] * 5


def test_ten_at_once_let_five_through_by_redis(make_app: MakeApp, redis_uri: str) -> None:
    """The same over a real Redis."""
    app = make_app(CHATKIT_RATELIMIT="5/minute", CHATKIT_RATELIMIT_STORAGE_URI=redis_uri)
    assert at_once(app, 10) == [200] * 5 + [429] * 5


def test_processes_share_the_count_by_redis(make_app: MakeApp, redis_uri: str) -> None:
    """Two applications on one Redis, as two workers are, count together, cancellations too."""
    config = {"CHATKIT_RATELIMIT": "3/minute", "CHATKIT_RATELIMIT_STORAGE_URI": redis_uri}
    one, two = make_app(**config), make_app(**config)
    client = one.test_client()
    session = client.post(SECRET, json={}).json["session_id"]
    cookie = client.get_cookie("chatkit_visitor", path="/chatkit")
    other = two.test_client()
    other.set_cookie("chatkit_visitor", cookie.value)
    client.post(f"/chatkit/session/{session}/cancel", json={})
    url = f"/chatkit/session/{session}/validate"
    assert other.get(url).json["status"] == "cancelled"
    assert [post(app, address="127.0.0.1") for app in (one, two, two, one)] == [200, 200, 429, 429]


def test_hosts_limiter_counts(make_app: MakeApp) -> None:
    """A Limiter of the site, also one set up after the kit, is the one that counts."""
    app = make_app(CHATKIT_RATELIMIT="2/minute", RATELIMIT_KEY_PREFIX="mine")
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    assert posts(app, 3) == [200, 200, 429]
    keys = list(limiter.storage.storage)
    assert keys
    assert all("mine/chatkit/" in key for key in keys)


def test_hosts_default_limits_are_enforced_once(make_app: MakeApp) -> None:
    """A kit on the site does not make RATELIMIT_DEFAULT count twice."""
    app = make_app(RATELIMIT_DEFAULT="2/minute")
    Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.add_url_rule("/", view_func=lambda: "home")
    client = app.test_client()
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]


def test_hosts_refusal_is_json_too(make_app: MakeApp) -> None:
    """When the site's own default limit refuses a call of ours, the answer is of our form."""
    app = make_app(RATELIMIT_DEFAULT="1/minute")
    Limiter(get_remote_address, app=app, storage_uri="memory://")
    client = app.test_client()
    client.post(SECRET, json={})
    answer = client.post(SECRET, json={})
    assert answer.status_code == 429
    assert answer.json["error"]["code"] == "rate_limited"
    assert int(answer.headers["Retry-After"]) >= 1


def test_limits_switched_off_by_the_site(make_app: MakeApp) -> None:
    """RATELIMIT_ENABLED False, as test configurations have it, switches ours off too."""
    app = make_app(CHATKIT_RATELIMIT="1/minute", RATELIMIT_ENABLED=False)
    assert posts(app, 3) == [200, 200, 200]


def test_dead_storage_is_counted_for_in_memory(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, redis_uri: str
) -> None:
    """When the storage is down the quota still holds, the log says so once, without the URI."""
    app = make_app(
        CHATKIT_RATELIMIT="3/minute",
        CHATKIT_RATELIMIT_STORAGE_URI="redis://:hunter2@127.0.0.1:1/0",
    )
    client = app.test_client()
    assert posts(app, 5, client=client) == [200, 200, 200, 429, 429]
    down = [record for record in caplog.records if "storage failed" in record.message]
    assert len(down) == 1
    assert down[0].levelno == logging.ERROR
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("uri", ["redis//x", "nonsense://127.0.0.1", "nonsense"])
def test_storage_that_never_can_work_is_refused(make_app: MakeApp, uri: str) -> None:
    """A storage that Flask-Limiter does not know is an error at registration, by key."""
    with pytest.raises(ConfigurationError, match="CHATKIT_RATELIMIT_STORAGE_URI"):
        make_app(CHATKIT_RATELIMIT_STORAGE_URI=uri)


def test_dead_storage_of_the_host_is_no_error(make_app: MakeApp, redis_uri: str) -> None:
    """The same holds for a Limiter of the site that has no fallback."""
    app = make_app(CHATKIT_RATELIMIT="3/minute")
    Limiter(get_remote_address, app=app, storage_uri="redis://127.0.0.1:1/0")
    assert posts(app, 5, client=app.test_client()) == [200, 200, 200, 429, 429]


def test_storage_that_comes_back_counts_again(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that was down is asked again after a while, and the log says that it is back."""
    monkeypatch.setattr("flask_chatkit.limits.storage.RECHECK_SECONDS", 0.0)
    app = make_app()
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    real = limiter.storage.incr
    monkeypatch.setattr(limiter.storage, "incr", lambda *_, **__: 1 / 0)
    assert post(app) == 200
    monkeypatch.setattr(limiter.storage, "incr", real)
    assert post(app) == 200
    assert "is back" in caplog.text
    assert list(limiter.storage.storage)


def memory_warnings(caplog: pytest.LogCaptureFixture) -> int:
    return sum("own memory" in record.message for record in caplog.records)


def test_memory_is_warned_of_once(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """Outside debugging and testing, counting in memory is told once."""
    app = make_app(TESTING=False)
    posts(app, 3)
    assert memory_warnings(caplog) == 1


def test_memory_is_not_warned_of_needlessly(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, redis_uri: str
) -> None:
    """Nothing is told while testing or debugging, nor with a shared storage."""
    post(make_app())
    post(make_app(TESTING=False, DEBUG=True))
    post(make_app(TESTING=False, RATELIMIT_STORAGE_URI=redis_uri))
    assert memory_warnings(caplog) == 0


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("198.51.100.7:5678", "198.51.100.7"),
        ("[2001:db8:1:2::1]:5678", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("unix:", "unknown"),
    ],
)
def test_address_is_what_one_customer_holds(given: str, counted: str) -> None:
    """An IPv6 customer's whole /64 counts as one address, and no address counts as one too."""
    app = Flask("x")
    with app.test_request_context(environ_overrides={"REMOTE_ADDR": given}) as context:
        assert address_of(context.request) == counted


def test_keys_of_two_kits_do_not_meet(make_app: MakeApp, openai_standin: OpenAIStandIn) -> None:
    """Two kits on one application have quotas of their own."""
    app = make_app(CHATKIT_RATELIMIT="1/minute")
    app.register_blueprint(ChatKit("staff", url_prefix="/staff/chat"))
    assert posts(app, 2) == [200, 429]
    answer = app.test_client().post("/staff/chat/secret", json={})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("prefix", "worth"),
    [("2001:db8:1:1", 5), ("2001:db8:1:", 10)],
    ids=["/56", "/48"],
)
def test_many_networks_of_a_customer_are_one(make_app: MakeApp, prefix: str, worth: int) -> None:
    """Who holds a /56 or a /48 gets so many addresses' worth, whichever of its /64s asks."""
    app = make_app(CHATKIT_RATELIMIT_IP="2/minute")
    form = f"{prefix}{{}}" if worth == 5 else f"{prefix}{{}}00"
    addresses = [form.format(f"{number:02x}") + "::1" for number in range(2 * worth + 4)]
    seen = [post(app, address=address) for address in addresses]
    assert seen == [200] * 2 * worth + [429] * 4
    assert post(app, address="2001:db8:2::1") == 200


def test_networks_hold_for_calls(make_app: MakeApp) -> None:
    """Whatever is counted by address is counted for the networks around it, too."""
    app = make_app(CHATKIT_CALL_RATELIMIT="1/minute")
    seen = [
        app.test_client()
        .get("/chatkit/config", environ_overrides={"REMOTE_ADDR": f"2001:db8:1:{number:02x}00::1"})
        .status_code
        for number in range(53)
    ]
    assert seen == [200] * 50 + [429] * 3


def test_networks_of_an_address() -> None:
    """An IPv4 address is in no network that one customer holds."""
    assert networks_of("198.51.100.1") == ()
    assert networks_of("unknown") == ()
    assert networks_of("2001:db8:1:2::/64") == (("2001:db8:1::/56", 5), ("2001:db8:1::/48", 10))


# --- what counting costs ------------------------------------------------------------------------


def test_counting_in_memory_starts_no_threads(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage in memory is swept now and then, and not by a thread for every few counts."""
    app = make_app(CHATKIT_RATELIMIT="1000/second", CHATKIT_RATELIMIT_IP="")
    client = app.test_client()
    assert post(app, client=client) == 200
    started: list[str] = []
    start = threading.Thread.start

    def note(thread: threading.Thread) -> None:
        # Not those of others, which end what earlier tests have left.
        if isinstance(thread, threading.Timer) or thread.name == "chatkit-limits":
            started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    for _ in range(20):
        assert post(app, client=client) == 200
        time.sleep(0.02)  # the storage's own timer has run by then, and would be started anew
    assert started == []
    monkeypatch.setattr(storage_module, "SWEEP_SECONDS", 0.0)
    storage = storage_module.own_limiter(Settings.from_config(app.config), "memory://").storage
    storage.incr("gone", 0)
    assert storage.get_expiry("gone") <= time.time()
    storage.incr("here", 60)
    until(lambda: "gone" not in storage.storage)  # type: ignore[attr-defined]
    assert storage.get("here") == 1
    assert "chatkit-limits" in started


def test_a_flood_asks_the_storage_little(
    make_app: MakeApp, redis_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the storage has just refused is refused without asking it again, for a second."""
    monkeypatch.setattr(pending, "REFUSED_SECONDS", 60.0)
    app = make_app(CHATKIT_CALL_RATELIMIT="5/minute", CHATKIT_RATELIMIT_STORAGE_URI=redis_uri)
    quotas = ratelimit.RateLimiter(app, "chatkit", Settings.from_config(app.config))
    for _ in range(5):
        quotas.hit_call("ann", None)
    with pytest.raises(RateLimited) as first:
        quotas.hit_call("ann", None)
    asked: list[object] = []
    counts = quotas.storage
    monkeypatch.setattr(counts, "_count", lambda ask: asked.append(ask) or ask(counts.limiter))
    for _ in range(50):
        with pytest.raises(RateLimited) as again:
            quotas.hit_call("ann", None)
        assert (again.value.limit, again.value.retry_after) == (
            first.value.limit,
            first.value.retry_after,
        )
    assert asked == []
    quotas.hit_call("bob", None)
    assert len(asked) == 1
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 61)
    with pytest.raises(RateLimited):
        quotas.hit_call("ann", None)
    assert len(asked) > 1


def test_names_that_are_too_many_push_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd of names leaves what the last ones owe, and does not free all at once."""
    monkeypatch.setattr(pending, "MAX_NAMES", 3)
    owed = pending.PendingCalls()
    names = [(0, "visitor", name) for name in "abcd"]
    for name in names:
        assert owed.add(name, 3) == 0
    assert [owed.add(name, 2) for name in reversed(names)] == [2, 2, 2, 0]
