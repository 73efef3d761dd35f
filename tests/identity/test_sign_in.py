"""Signing in: what was said in this browser comes along, and what was put into it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request

from flask_chatkit import ChatKit
from flask_chatkit.testing import ServedChat
from tests.helpers.served import Client, visit
from tests.helpers.sites import Browser, MakeApp

COOKIE, OWN = "chatkit_visitor", "chatkit_visitor-own"


@pytest.fixture
def shop(make_app: MakeApp, tmp_path: Any) -> Callable[..., Flask]:
    """Make sites with a served chat whose visitors sign in with a cookie."""

    def make(**config: Any) -> Flask:
        kit = ChatKit()

        @kit.assistant()
        def answer(message: Any, chat: Any) -> Any:
            yield "Hello"

        kit.user_loader(lambda: request.cookies.get("login"))
        database = f"sqlite:///{tmp_path}/x.sqlite3"
        return make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=database, **config)

    return make


def sign_in(browser: Browser, name: str = "ann") -> None:
    """Sign in at the site."""
    browser.cookies.set("login", name, domain="127.0.0.1")


def toss(browser: Browser, value: str | None, path: str = "/") -> None:
    """Put a cookie into a browser, as a page of a sibling host can."""
    browser.cookies.set(COOKIE, value, domain="127.0.0.1", path=path)


def texts(browser: Browser) -> list[list[str]]:
    """What was said in each thread of whoever is there, read as the widget reads it."""
    client = Client(browser, token=browser.mint()["client_secret"])
    return sorted(client.texts(thread["id"]) for thread in client.threads())


@pytest.fixture
def mallory(shop: Callable[..., Flask], browse: Any) -> Browser:
    """Somebody whose visitor cookie ends up in other browsers."""
    browser: Browser = browse(shop())
    visit(browser).create("of mallory")
    return browser


@pytest.mark.parametrize("path", ["/", "/chatkit/secret", "/chatkit"])
def test_tossed_cookie_moves_nothing(mallory: Browser, path: str) -> None:
    """Who has never chatted, and signs in with a cookie of somebody else's, gets none of theirs."""
    victim = Browser(mallory.base)
    toss(victim, mallory.cookies[COOKIE], path)
    sign_in(victim)
    assert texts(victim) == []
    assert Client(victim).threads() == []
    assert texts(mallory) == [["of mallory"]]


def test_cookie_that_was_used_moves_nothing(mallory: Browser) -> None:
    """Neither does one under which the victim has chatted, without knowing, before signing in."""
    victim = Browser(mallory.base)
    toss(victim, mallory.cookies[COOKIE], "/chatkit")
    visit(victim).create("of the victim")
    assert OWN not in victim.cookies
    sign_in(victim)
    assert texts(victim) == []
    # It stays what it was, and is there again for who signs out.
    victim.cookies.set("login", None)
    assert texts(victim) == [["of mallory"], ["of the victim"]]


@pytest.mark.parametrize("path", ["/", "/chatkit/secret", "/chatkit/api"])
def test_tossed_cookie_hides_no_history(mallory: Browser, path: str) -> None:
    """Who has chatted goes on as themselves, and takes along their own threads and no others."""
    victim = Browser(mallory.base)
    visit(victim).create("of the victim")
    toss(victim, mallory.cookies[COOKIE], path)
    toss(victim, "broken", "/chatkit/secret/")
    assert texts(victim) == [["of the victim"]]
    sign_in(victim)
    assert texts(victim) == [["of the victim"]]
    assert OWN not in victim.cookies
    assert texts(mallory) == [["of mallory"]]


def test_tossed_companion_of_another_visitor_moves_nothing(mallory: Browser) -> None:
    """The second cookie is a visitor's own: with another first one it says nothing."""
    victim = Browser(mallory.base)
    visit(victim).create("of the victim")
    mine = victim.cookies[OWN]
    victim.cookies.clear()
    toss(victim, mallory.cookies[COOKIE])
    for value in (mine, mallory.cookies[COOKIE], "x", ""):
        victim.cookies.set(OWN, value, domain="127.0.0.1")
        sign_in(victim)
        assert texts(victim) == []


def test_second_cookie_rolls_with_the_first(mallory: Browser) -> None:
    """Each mint renews both, with the same attributes, and signing in takes both away."""
    for _ in range(2):
        answer = mallory.post("/chatkit/secret")
        lines = answer.raw.headers.getlist("Set-Cookie")
        assert [line.partition("=")[0] for line in lines] == [COOKIE, OWN]
        first, second = (line.partition(";")[2] for line in lines)
        assert first == second
    sign_in(mallory)
    assert texts(mallory) == [["of mallory"]]
    assert not {COOKIE, OWN} & set(mallory.cookies.keys())


def test_sites_without_logins_set_one_cookie(make_app: MakeApp, browse: Any) -> None:
    """Where nobody can sign in the second cookie is not set; a hosted chat may be served later."""
    kit = ChatKit()
    kit.user_loader(lambda: None)
    for made, names in ((ChatKit(), {COOKIE}), (kit, {COOKIE, OWN})):
        browser = browse(make_app(made))
        browser.mint()
        assert set(browser.cookies.keys()) == names


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("http://shop.test/", COOKIE),
        ("https://shop.test/app/", COOKIE),
        ("https://shop.test/app/", "__Host-chat"),
        ("https://shop.test/", "__Secure-chat"),
    ],
)
def test_threads_move_on_https_and_by_any_name(
    shop: Callable[..., Flask], base_url: str, name: str
) -> None:
    """Below a prefix, on https and with a prefixed name, what was said comes along at sign-in."""
    app = shop(CHATKIT_COOKIE_NAME=name)
    client = app.test_client()
    chat = ServedChat(app, client=client, base_url=base_url)
    chat.say("before")
    kept = {cookie.key for cookie in client._cookies.values()}
    assert name in kept
    assert len(kept) == (1 if name == "__Host-chat" else 2)
    host = base_url.split("/")[2]
    chat.sign_in(lambda client: client.set_cookie("login", "ann", domain=host))
    assert len(chat.threads()) == 1
    assert {cookie.key for cookie in client._cookies.values()} == {"login"}


def test_plain_companion_counts_for_nothing_on_https(shop: Callable[..., Flask]) -> None:
    """On https both of somebody's cookies of http, put there by a sibling host, gain nothing."""
    app = shop()
    theirs = app.test_client()
    ServedChat(app, client=theirs, base_url="http://shop.test/").say("of mallory")
    client = app.test_client()
    for cookie in theirs._cookies.values():
        client.set_cookie(cookie.key, cookie.value, domain="shop.test")
    client.set_cookie("login", "ann", domain="shop.test")
    assert ServedChat(app, client=client, base_url="https://shop.test/").threads() == []
    assert len(ServedChat(app, client=client, base_url="http://shop.test/").threads()) == 1


@pytest.mark.parametrize("blank", ["\xa0", "\x85", "\x0b", "\x1c", "\x1f"])
def test_name_that_only_looks_alike_is_another_one(
    mallory: Browser, shop: Callable[..., Flask], blank: str
) -> None:
    """A browser takes a name with an odd blank before it for no ``__Host-`` one; nor do we."""
    stolen = {one.name: one.value for one in mallory.cookies}
    cookies = f"login=ann; {COOKIE}={stolen[COOKIE]}"
    for name in (OWN, "__Host-chatkit_visitor-own_chatkit"):
        cookies += f"; {blank}{name}={stolen[OWN]}"
    client = shop().test_client(use_cookies=False)
    for base in ("http://localhost", "https://localhost"):
        minted = client.post("/chatkit/secret", json={}, base_url=base, headers={"Cookie": cookies})
        assert minted.status_code == 200
        assert "Set-Cookie" not in minted.headers
    assert texts(mallory) == [["of mallory"]]
