"""The visitor's cookie and token: genuine ones are known, everything else is a new visitor."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Iterator

import pytest
from itsdangerous import TimestampSigner
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

import flask_chatkit
from flask_chatkit.config import Settings
from flask_chatkit.identity.cookie import MAX_COOKIES, ROLLOUT_SECONDS, VisitorCookie
from flask_chatkit.identity.signing import signer
from flask_chatkit.identity.token import HEADER, VisitorToken
from flask_chatkit.identity.visitor import Visitor

SETTINGS = Settings.from_config({}, {})


def cookie(*keys: str, kit: str = "chatkit", settings: Settings = SETTINGS) -> VisitorCookie:
    return VisitorCookie([key.encode() for key in keys or ("key",)], kit, settings, "/chatkit")


def request(value: str | None = None, name: str = "chatkit_visitor", **environ: str) -> Request:
    builder = EnvironBuilder(**environ)
    if value is not None:
        builder.headers["Cookie"] = f"{name}={value}"
    return Request(builder.get_environ())


def request_with(*cookies: tuple[str, str], **environ: str) -> Request:
    """A request with cookies in this order, also several of one name."""
    builder = EnvironBuilder(**environ)
    builder.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies)
    return Request(builder.get_environ())


def issue(by: VisitorCookie, visitor: Visitor) -> str:
    response = Response()
    by.write(request(), response, visitor)
    return response.headers["Set-Cookie"].split(";")[0].partition("=")[2]


def test_genuine_cookie_is_known() -> None:
    """Who gets a cookie is recognised by it."""
    visitor = Visitor.new()
    read = cookie().read(request(issue(cookie(), visitor)))
    assert read is not None
    assert read.key == visitor.key
    assert read.known
    assert not visitor.known


def test_keys_rotate() -> None:
    """A cookie signed with a fallback key still holds; one of a dropped key does not."""
    value = issue(cookie("old"), Visitor.new())
    assert cookie("old", "new").read(request(value))
    assert cookie("new").read(request(value)) is None
    assert cookie("old").read(request(issue(cookie("old", "new"), Visitor.new()))) is None


def test_another_kits_cookie_is_nobodys() -> None:
    """The kit's name salts the signature, even where the cookie's name is the same."""
    value = issue(cookie(kit="staff"), Visitor.new())
    assert cookie(kit="staff").name == "chatkit_visitor_staff"
    assert cookie().read(request(value)) is None
    assert cookie(kit="staff").read(request(value, "chatkit_visitor_staff"))


def test_foreign_signature_is_nobodys() -> None:
    """A signature of the same key for another purpose does not count."""
    value = TimestampSigner("key", salt="cookie-session").sign("A" * 22).decode()
    assert cookie().read(request(value)) is None


def test_expired_cookie_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cookie older than its age is a new visitor; a younger one is not."""
    settings = Settings.from_config({"CHATKIT_COOKIE_MAX_AGE": 3600}, {})
    value = issue(cookie(settings=settings), Visitor.new())
    now = __import__("time").time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 3590)
    assert cookie(settings=settings).read(request(value))
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 3700)
    assert cookie(settings=settings).read(request(value)) is None


@pytest.mark.parametrize("kind", ["cookie", "token"])
def test_clocks_may_differ_by_five_minutes(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """What a host signs whose clock is up to five minutes ahead holds; what is further does not."""
    real = time.time
    for ahead, holds in ((1, True), (299, True), (310, False), (86400, False), (-299, True)):
        monkeypatch.setattr(time, "time", lambda shift=ahead: real() + shift)
        visitor = Visitor.new()
        value = issue(cookie(), visitor) if kind == "cookie" else token().sign(visitor, SHOP)
        monkeypatch.setattr(time, "time", real)
        read = (
            cookie().read(request(value)) if kind == "cookie" else token().read(shown(value), SHOP)
        )
        assert (read is not None) is holds, ahead
        # Nobody escapes the newcomers' limits by having come from the future.
        assert visitor.is_new is holds, ahead


def test_first_genuine_cookie_counts() -> None:
    """Of several cookies of the name the first genuine one counts, whatever stands around it."""
    ann, bob = Visitor.new(), Visitor.new()
    first, second = issue(cookie(), ann), issue(cookie(), bob)
    broken = ["", "x", '"', "a.b.c", first[:-1], first.swapcase(), "A" * 22 + ".aaaa." + "A" * 64]
    for front in ([], *([one] for one in broken), broken, broken * 4):
        for behind in ([], broken):
            values = [*front, first, *behind, second]
            read = cookie().read(request_with(*(("chatkit_visitor", value) for value in values)))
            assert read is not None, values
            assert read.key == ann.key, values


def test_cookies_without_end_are_not_looked_at() -> None:
    """The number of cookies of one name that are verified has a bound."""
    forged = [("chatkit_visitor", "A" * 22 + ".aaaa." + "A" * 64)] * MAX_COOKIES
    value = issue(cookie(), Visitor.new())
    assert cookie().read(request_with(*forged[1:], ("chatkit_visitor", value)))
    assert cookie().read(request_with(*forged, ("chatkit_visitor", value))) is None


def test_visitor_who_began_in_this_browser_goes_first() -> None:
    """A genuine cookie that a sibling host has put in front makes nobody somebody else."""
    by, mine, tossed = cookie(), Visitor.new(), Visitor.new()
    response = Response()
    by.write(request(), response, mine, own=True)
    own = [line.split(";")[0].split("=", 1) for line in response.headers.getlist("Set-Cookie")]
    pairs = [(name, value) for name, value in own]
    assert [name for name, _ in pairs] == ["chatkit_visitor", "chatkit_visitor-own"]
    theirs = ("chatkit_visitor", issue(by, tossed))
    for order in ([theirs, *pairs], [*pairs, theirs]):
        asked = request_with(*order)
        read = by.read(asked)
        assert read is not None
        assert read.key == mine.key
        assert by.is_own(asked, read)
    # Alone it is read, and is nobody's own: not with another's companion either.
    for order in ([theirs], [theirs, pairs[1]], [theirs, ("chatkit_visitor-own", theirs[1])]):
        asked = request_with(*order)
        read = by.read(asked)
        assert read is not None
        assert read.key == tossed.key
        assert not by.is_own(asked, read)


def mutations(value: str, other: str) -> Iterator[str]:
    """Ten thousand texts that are nearly one of two values."""
    chance = random.Random(20261120)
    alphabet = string.ascii_letters + string.digits + "-_.=+/ !%\x00é\u2028"
    tried = 0
    while tried < 10_000:
        at = chance.randrange(len(value))
        mutated = chance.choice(
            [
                value[:at] + chance.choice(alphabet) + value[at + 1 :],
                value[:at] + chance.choice(alphabet) + value[at:],
                value[:at] + value[at + 1 :],
                value[:at],
                value[:at] + other[at:],
                value[at:] + value[:at],
                value + value[:at],
                value.swapcase(),
                value[:at] + value[at:].swapcase(),
            ]
        )
        if mutated in {value, other}:
            continue
        tried += 1
        yield mutated


def test_ten_thousand_mutations_are_refused() -> None:
    """No changed, cut, padded or doubled cookie is anybody's."""
    signer = cookie()
    value, other = issue(signer, Visitor.new()), issue(signer, Visitor.new())
    for mutated in mutations(value, other):
        environ = EnvironBuilder().get_environ()
        environ["HTTP_COOKIE"] = f"chatkit_visitor={mutated}".encode().decode("latin-1")
        read = signer.read(Request(environ))
        # A parser may trim what is no part of a cookie's value; the value itself is exact.
        assert read is None or Request(environ).cookies["chatkit_visitor"] == value


@pytest.mark.parametrize("value", ["", "x" * 100_000, ".", "..", "a.b.c", "\x00", "é"])
def test_nonsense_is_nobodys(value: str) -> None:
    """Oversized, empty and malformed cookies raise nothing."""
    environ = EnvironBuilder().get_environ()
    environ["HTTP_COOKIE"] = f"chatkit_visitor={value}".encode().decode("latin-1")
    assert cookie().read(Request(environ)) is None


def test_every_character_of_the_signature_counts() -> None:
    """No character of a cookie has a spelling that decodes to the same signature."""
    value = issue(cookie(), Visitor.new())
    for at in range(len(value)):
        for other in string.ascii_letters + string.digits + "-_":
            if other != value[at]:
                assert cookie().read(request(value[:at] + other + value[at + 1 :])) is None


def attributes(settings: Settings, **environ: str) -> list[str]:
    response = Response()
    VisitorCookie([b"k"], "chatkit", settings, "/chatkit").write(
        request(**environ), response, Visitor.new()
    )
    return sorted(part.strip() for part in response.headers["Set-Cookie"].split(";")[1:])


def test_attributes_are_safe_by_default() -> None:
    """HttpOnly, Lax, 30 days, the kit's path under the script root, secure on https only."""
    plain = attributes(SETTINGS)
    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    assert "Max-Age=2592000" in plain
    assert "Path=/chatkit" in plain
    assert "Secure" not in plain
    assert "Secure" in attributes(SETTINGS, base_url="https://example.com")
    assert "Path=/shop/chatkit" in attributes(SETTINGS, base_url="http://example.com/shop")


def test_attributes_follow_the_settings() -> None:
    """Each cookie setting is an attribute; SameSite=None and Partitioned are always secure."""
    settings = Settings.from_config(
        {
            "CHATKIT_COOKIE_DOMAIN": "example.com",
            "CHATKIT_COOKIE_PATH": "/x",
            "CHATKIT_COOKIE_SAMESITE": "None",
            "CHATKIT_COOKIE_PARTITIONED": True,
        },
        {},
    )
    given = attributes(settings)
    for wanted in ("Domain=example.com", "Path=/x", "SameSite=None", "Partitioned", "Secure"):
        assert wanted in given


@pytest.mark.parametrize("kit", ["chatkit", "staff"])
def test_host_cookie_has_the_attributes_that_browsers_want(kit: str) -> None:
    """A __Host- cookie is secure, has the path / and no domain, below a prefix and on http, too."""
    settings = Settings.from_config({"CHATKIT_COOKIE_NAME": "__Host-chat"}, {})
    by = VisitorCookie([b"k"], kit, settings, "/chatkit")
    assert by.name == "__Host-chat" + ("" if kit == "chatkit" else "_staff")
    for base in ("http://localhost", "https://example.com/shop"):
        asked, response, visitor = request(base_url=base), Response(), Visitor.new()
        by.write(asked, response, visitor, own=True)
        (line,) = response.headers.getlist("Set-Cookie")
        parts = line.split("; ")
        assert {"Secure", "Path=/", "HttpOnly"} <= set(parts)
        assert "Domain" not in line
        # It needs no second cookie: no other host can write it.
        shown = request_with((by.name, parts[0].partition("=")[2]))
        assert by.is_own(shown, visitor)
        assert not any(name.endswith("-own") for name in shown.cookies)


def test_own_cookie_is_of_this_host_alone() -> None:
    """On https the second cookie has a name that no other host can write, whatever is set."""
    config = {"CHATKIT_COOKIE_DOMAIN": "example.com", "CHATKIT_COOKIE_NAME": "__Secure-chat"}
    for settings, name in (
        (SETTINGS, "__Host-chatkit_visitor-own_shop_chatkit"),
        (Settings.from_config(config, {}), "__Host-chat-own_shop_chatkit"),
    ):
        asked, response = request(base_url="https://www.example.com/shop"), Response()
        by = VisitorCookie([b"k"], "chatkit", settings, "/chatkit")
        by.write(asked, response, Visitor.new(), own=True)
        line = response.headers.getlist("Set-Cookie")[1]
        assert line.startswith(f"{name}=")
        assert {"Secure", "Path=/", "HttpOnly", "SameSite=Lax"} <= set(line.split("; "))
        assert "Domain" not in line
        gone = Response()
        by.clear(
            request_with(
                (name, line.split(";")[0].partition("=")[2]),
                base_url="https://www.example.com/shop",
            ),
            gone,
        )
        cleared = gone.headers.getlist("Set-Cookie")[1]
        assert cleared.startswith(f"{name}=;")
        assert {"Secure", "Path=/", "Max-Age=0"} <= set(cleared.split("; "))


def test_unknown_keys_are_told_from_forgeries_by_nothing_but_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What looks freshly signed by an unknown key is told from what is old, broken or of ours."""
    real = time.time
    value = issue(cookie("next"), Visitor.new())
    assert cookie().is_of_other_key(request(value))
    assert cookie().is_of_other_key(
        request_with(("chatkit_visitor", "x"), ("chatkit_visitor", value))
    )
    assert not cookie("key", "next").is_of_other_key(request(value))
    assert not cookie().is_of_other_key(request(value[:-1]))
    assert not cookie().is_of_other_key(request(issue(cookie(), Visitor.new())))
    assert not cookie().is_of_other_key(request())
    for later, fresh in ((ROLLOUT_SECONDS - 5, True), (ROLLOUT_SECONDS + 5, False), (-310, False)):
        monkeypatch.setattr(time, "time", lambda shift=later: real() + shift)
        assert cookie().is_of_other_key(request(value)) is fresh
    monkeypatch.setattr(time, "time", real)
    assert token().is_of_other_key(shown(token("next").sign(Visitor.new(), SHOP)), SHOP)
    assert not token().is_of_other_key(shown(token().sign(Visitor.new(), SHOP)), SHOP)


def test_login_and_anonymous_ids_never_collide() -> None:
    """A login whose id is another visitor's anonymous id is somebody else."""
    anonymous = Visitor.new()
    assert Visitor.login(anonymous.key).key != anonymous.key
    assert Visitor.login(anonymous.key.removeprefix("anon:")).key != anonymous.key
    assert not Visitor.login("anon:x").is_anonymous


def test_ids_are_long_and_unique() -> None:
    """An anonymous id has 128 bits."""
    ids = {Visitor.new().key for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(key) for key in ids} == {len("anon:") + 22}


# --- the token that stands for the cookie on pages of other origins ---

SHOP = "https://www.example.com"


def token(*keys: str, kit: str = "chatkit", settings: Settings = SETTINGS) -> VisitorToken:
    return VisitorToken([key.encode() for key in keys or ("key",)], kit, settings)


def shown(value: str | bytes | None) -> Request:
    """A request that shows a token, as a server hands its bytes over."""
    environ = EnvironBuilder().get_environ()
    if value is not None:
        raw = value if isinstance(value, bytes) else value.encode()
        environ["HTTP_" + HEADER.upper().replace("-", "_")] = raw.decode("latin-1")
    return Request(environ)


def test_genuine_token_is_known() -> None:
    """Who gets a token is recognised by it, on pages of the same origin."""
    visitor = Visitor.new()
    read = token().read(shown(token().sign(visitor, SHOP)), SHOP)
    assert read is not None
    assert read.key == visitor.key
    assert read.known
    assert read.is_new
    assert read.is_anonymous


@pytest.mark.parametrize(
    "other",
    [
        "https://www.example.org",
        "http://www.example.com",
        "https://example.com",
        "https://www.example.com:8443",
        "https://www.example.com.evil.example",
        "",
    ],
)
def test_token_is_good_on_one_origin(other: str) -> None:
    """Another origin's token is nobody's, however alike the two are."""
    value = token().sign(Visitor.new(), SHOP)
    assert token().read(shown(value), other) is None
    assert token().read(shown(token().sign(Visitor.new(), other)), SHOP) is None


def test_token_is_no_cookie_and_a_cookie_no_token() -> None:
    """Each is nobody's in the place of the other, although they look alike."""
    visitor = Visitor.new()
    as_token, as_cookie = token().sign(visitor, SHOP), issue(cookie(), visitor)
    assert len(as_token) == len(as_cookie)
    assert cookie().read(request(as_token)) is None
    assert token().read(shown(as_cookie), SHOP) is None
    for purpose in ("visitor", "token", "session", "visitor-token", f"visitor-token.{SHOP}."):
        by = signer(TimestampSigner, [b"key"], purpose, "chatkit")
        forged = by.sign(visitor.key.removeprefix("anon:")).decode()
        assert token().read(shown(forged), SHOP) is None


def test_tokens_keys_rotate_and_kits_are_told_apart() -> None:
    """A fallback key's token still holds; a dropped key's and another kit's do not."""
    value = token("old").sign(Visitor.new(), SHOP)
    assert token("old", "new").read(shown(value), SHOP)
    assert token("new").read(shown(value), SHOP) is None
    assert token("old").read(shown(token("old", "new").sign(Visitor.new(), SHOP)), SHOP) is None
    assert token("old", kit="staff").read(shown(value), SHOP) is None


def test_expired_token_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is as long-lived as the cookie."""
    settings = Settings.from_config({"CHATKIT_COOKIE_MAX_AGE": 3600}, {})
    by = token(settings=settings)
    value = by.sign(Visitor.new(), SHOP)
    now = __import__("time").time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 3590)
    assert by.read(shown(value), SHOP)
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 3700)
    assert by.read(shown(value), SHOP) is None


def test_ten_thousand_mutated_tokens_are_refused() -> None:
    """No changed, cut, padded or doubled token is anybody's."""
    by = token()
    value, other = (by.sign(Visitor.new(), SHOP) for _ in range(2))
    for mutated in mutations(value, other):
        assert by.read(shown(mutated), SHOP) is None, mutated


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "x" * 100_000, "..", "a.b.c", "\x00", "é", b"\xff\xfe", "null", "undefined"],
)
def test_nonsense_is_nobodys_token(value: str | bytes | None) -> None:
    """Oversized, empty and malformed tokens raise nothing."""
    assert token().read(shown(value), SHOP) is None


def test_every_character_of_a_token_counts() -> None:
    """A token has one spelling."""
    by = token()
    value = by.sign(Visitor.new(), SHOP)
    for at in range(len(value)):
        for other in string.ascii_letters + string.digits + "-_.":
            if other != value[at]:
                changed = value[:at] + other + value[at + 1 :]
                assert by.read(shown(changed), SHOP) is None
    for more in (" ", "\t", "\n", "=", ".", "\x00"):
        assert by.read(shown(value + more), SHOP) is None
        assert by.read(shown(more + value), SHOP) is None


def test_former_place_is_deprecated() -> None:
    """The class is still found at its former place, with a warning."""
    with pytest.warns(DeprecationWarning, match="import Visitor from flask_chatkit"):
        from flask_chatkit.visitor import Visitor as former  # noqa: N813
    assert former is flask_chatkit.Visitor
