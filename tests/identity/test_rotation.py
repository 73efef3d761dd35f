"""A new secret key, deployed host by host: no visitor is lost, and nobody gains by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import requests

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.served import Client
from tests.helpers.sites import Browser, MakeApp, told

SECRET = "/chatkit/secret"
SHOP = "https://www.example.com"
OLD, NEW = "the old key of the tests", "the new key of the tests"


class Hosts:
    """A site on several hosts, and the browsers of its visitors, who come to any of them."""

    def __init__(self, serve: Any, make_app: MakeApp) -> None:
        self._serve, self._make_app = serve, make_app

    def start(self, key: str, *fallbacks: str, **config: Any) -> str:
        """Start a process with these keys; where it is."""
        keys = {"SECRET_KEY": key, "SECRET_KEY_FALLBACKS": [*fallbacks]}
        return str(self._serve(self._make_app(ChatKit(), **keys, **config)))


@pytest.fixture
def hosts(serve: Any, make_app: MakeApp) -> Hosts:
    """Start processes of one site."""
    return Hosts(serve, make_app)


def users(openai: OpenAIStandIn) -> list[str]:
    """Who OpenAI was told to mint for, in order."""
    return [one.body["user"] for one in openai.requests if one.body and "user" in one.body]


def mint(browser: Browser, host: str, **headers: str) -> requests.Response:
    """Mint at a host, as the load balancer sends a browser there."""
    browser.base = host
    answer = browser.post(SECRET, headers=headers, json={})
    assert answer.status_code == 200, answer.text
    return answer


def test_staged_rotation_loses_nobody(hosts: Hosts, openai_standin: OpenAIStandIn) -> None:
    """With the new key among the fallbacks first, each step knows the visitors of the last one."""
    steps = [(OLD, []), (OLD, [NEW]), (NEW, [OLD]), (NEW, [])]
    running = [hosts.start(key, *fallbacks) for key, fallbacks in steps]
    ann = Browser(running[0])
    mint(ann, running[0])
    # In the course of each step hosts of two kinds are there, and visitors go back and forth.
    for before, after in pairwise(running):
        for host in (before, after, before, after):
            assert "chatkit_visitor=" in mint(ann, host).headers["Set-Cookie"]
    assert len(set(users(openai_standin))) == 1


def test_old_process_leaves_a_new_ones_cookie_alone(
    hosts: Hosts, openai_standin: OpenAIStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """Swapped at once, a visitor is somebody else on old hosts, and the same again on new ones."""
    old, new = hosts.start(OLD), hosts.start(NEW, OLD)
    ann = Browser(old)
    mint(ann, old)
    mint(ann, new)
    for _ in range(2):
        answer = mint(ann, old)
        assert "Set-Cookie" not in answer.headers
        session = answer.json()["session_id"]
        told(ann.get(f"/chatkit/session/{session}/validate"), 404, "not_found")
    assert "chatkit_visitor=" in mint(ann, new).headers["Set-Cookie"]
    first, second, one, other, again = users(openai_standin)
    assert first == second == again
    assert len({first, one, other}) == 3
    (warning,) = [text for text in caplog.messages if "does not have" in text]
    assert "SECRET_KEY_FALLBACKS first" in warning


def test_visitor_of_an_old_process_can_chat(
    serve: Any, make_app: MakeApp, tmp_path: Any, browse: Any
) -> None:
    """Where the cookie says nothing yet, the secret alone is enough for a served chat."""
    kit = ChatKit()

    @kit.assistant()
    def answer(message: Any, chat: Any) -> Any:
        yield "Hello"

    where = {
        "CHATKIT_WORKFLOW_ID": None,
        "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3",
    }
    old = make_app(kit, SECRET_KEY=OLD, **where)
    ann = browse(make_app(kit, SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[OLD], **where))
    new = ann.base
    ann.mint()
    thread = Client(ann).create("on a new host")
    ann.base = serve(old)
    there = Client(ann, token=mint(ann, ann.base).json()["client_secret"])
    there.create("on an old host")
    assert [there.texts(one["id"]) for one in there.threads()] == [["on an old host"]]
    ann.base = new
    assert [one["id"] for one in Client(ann).threads()] == [thread]


def test_tokens_of_other_origins_are_not_replaced_either(
    hosts: Hosts, openai_standin: OpenAIStandIn
) -> None:
    """A page of another origin is told not to keep the visitor whom an old host has made up."""
    config = {"CHATKIT_TRUSTED_ORIGINS": [SHOP]}
    old, new = hosts.start(OLD, **config), hosts.start(NEW, OLD, **config)
    page = Browser(new)
    headers = {"Origin": SHOP, "Sec-Fetch-Site": "cross-site"}
    kept = ""
    for host in (old, new, old, new):
        body = mint(page, host, **headers, **{"X-ChatKit-Visitor": kept}).json()
        assert body.get("temporary") is (True if host == old and kept else None)
        kept = kept if body.get("temporary") else body["visitor"]
    first, second, other, again = users(openai_standin)
    assert first == second == again != other


@pytest.mark.parametrize("kind", ["forged", "stolen from another site", "too old"])
def test_made_up_cookies_gain_nothing(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, kind: str, openai_standin: OpenAIStandIn
) -> None:
    """Who shows a cookie of an unknown key is new each time, and counts with the address."""
    here = hosts.start(OLD, CHATKIT_RATELIMIT="3/minute")
    thief = Browser(here)
    thief.cookies.set("chatkit_visitor", cookie_of(hosts, monkeypatch, kind), domain="127.0.0.1")
    for _ in range(3):
        answer = mint(thief, here)
        assert ("Set-Cookie" in answer.headers) is (kind == "too old")
        if kind == "too old":
            return
    told(thief.post(SECRET), 429, "rate_limited")
    told(Browser(here).post(SECRET), 429, "rate_limited")
    made = users(openai_standin)[-3:]
    assert len(set(made)) == 3


def cookie_of(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, kind: str) -> str:
    """A cookie that no key of the site has signed, or none of now."""
    ann = Browser(hosts.start(NEW))
    real: Callable[[], float] = time.time
    if kind == "too old":
        monkeypatch.setattr(time, "time", lambda: real() - 660)
    ann.mint()
    monkeypatch.setattr(time, "time", real)
    value = ann.cookies["chatkit_visitor"]
    assert value is not None
    return value[:-1] + ("A" if value[-1] != "A" else "B") if kind == "forged" else value
