"""The whole move from hosted to served is one setting: the same tests run on both sides of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, render_template_string, request

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers import served
from tests.helpers.served import Client, Shop, said
from tests.helpers.sites import MakeApp, told
from tests.helpers.stores import TidyStore

PAGE = """<!doctype html><title>Shop</title>
{% from "chatkit/macros.html" import chatkit_floating, chatkit_inline, chatkit_themed %}
{{ chatkit_floating() }}
{{ chatkit_inline("sales", height="600px", greeting="How can we help?", prompts=["My order?"]) }}
{{ chatkit_themed("sales", accent="#0a7", radius="round") }}
"""

MODES: dict[str, dict[str, Any]] = {
    # The fixture's own configuration has CHATKIT_WORKFLOW_ID.
    "hosted": {},
    "served": {"CHATKIT_WORKFLOW_ID": None, "CHATKIT_SERVER": "tests.helpers.served:instance"},
}


@pytest.fixture(autouse=True)
def fresh_server(monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Put a new server where the setting points to."""
    fresh = Shop(TidyStore())
    monkeypatch.setattr(served, "instance", fresh)
    return fresh


@pytest.fixture
def site(make_app: MakeApp, tmp_path: Any) -> Callable[..., Flask]:
    """Make the shop: code and configuration are the same but for the mode's one setting."""

    def make(mode: str, /, **config: Any) -> Flask:
        kit = ChatKit()
        kit.add_hosted(
            "sales",
            widget={"greeting": "Welcome"},
            state_variables=lambda: {"path": request.path},
            file_upload={"max_file_size": 1, "max_files": 3},
            ratelimit="5/minute",
        )
        kit.user_loader(lambda: request.cookies.get("login"))
        app = make_app(
            kit,
            **{
                "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3",
                "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "up"),
                **config,
                **MODES[mode],
            },
        )
        app.add_url_rule("/", "home", lambda: render_template_string(PAGE))
        return app

    return make


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Run a test on both sides."""
    return str(request.param)


@pytest.fixture
def app(site: Callable[..., Flask], mode: str) -> Flask:
    """The shop in one mode."""
    return site(mode)


def test_page_renders(browse: Any, app: Flask, mode: str) -> None:
    """The same template renders all three macros, and only their data tells the mode."""
    answer = browse(app).get("/")
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert answer.text.count("data-chatkit=") == 3
    for shown in ("chatkit-floating", "chatkit-inline", "chatkit-themed", "How can we help?"):
        assert shown in answer.text
    assert ('"served":true' in answer.text) is (mode == "served")
    assert "wf_" not in answer.text
    assert not re.search(r"<script>|<style|\son\w+=", answer.text)


def test_config(browse: Any, app: Flask, mode: str) -> None:
    """The configuration tells the mode, and the same paths and options otherwise."""
    browser = browse(app)
    for name, path in (("default", "/chatkit/"), ("sales", "/chatkit/sales/")):
        body = browser.get(f"{path}config").json()
        assert body["chat"] == name
        assert body["mode"] == mode
        assert body["secret"] == f"{path}secret"
        assert body["session"] == f"{path}session/"
        assert body["page"] == path
        assert (body.get("api") == f"{path}api") is (mode == "served")
    assert body["options"]["startScreen"] == {"greeting": "Welcome"}
    files = body["options"]["composer"]["attachments"]
    assert (files["enabled"], files["maxSize"], files["maxCount"]) == (True, 1024 * 1024, 3)


def test_full_page(browse: Any, app: Flask) -> None:
    """The chat's own page is there, and only the site may frame it."""
    for path in ("/chatkit/", "/chatkit/sales/"):
        answer = browse(app).get(path)
        assert answer.status_code == 200
        assert "data-chatkit=" in answer.text
        assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'self'"


def test_secret_and_session(browse: Any, app: Flask) -> None:
    """Secrets are minted, refreshed, validated and cancelled by the same calls and answers."""
    for prefix in ("/chatkit", "/chatkit/sales"):
        browser = browse(app)
        answer = browser.post(f"{prefix}/secret")
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Cookie" in answer.headers["Vary"]
        first = answer.json()
        assert set(first) == {"client_secret", "expires_at", "expires_in", "session_id"}
        url = f"{prefix}/session/{first['session_id']}"
        assert browser.get(f"{url}/validate").json() == {
            "status": "active",
            "expires_at": first["expires_at"],
        }
        second = browser.post(f"{url}/refresh").json()
        assert set(second) == set(first)
        assert second["client_secret"] != first["client_secret"]
        assert browser.get(f"{url}/validate").json()["status"] == "cancelled"
        url = f"{prefix}/session/{second['session_id']}"
        assert browser.post(f"{url}/cancel").json() == {"status": "cancelled"}
        assert browser.get(f"{url}/validate").json()["status"] == "cancelled"
        told(browse(app).get(f"{url}/validate"), 404, "not_found")


def test_cookie(browse: Any, app: Flask) -> None:
    """The visitor cookie has the same name, path and attributes."""
    cookie = browse(app).post("/chatkit/secret").headers["Set-Cookie"]
    name, _, attributes = cookie.partition("=")
    assert name == "chatkit_visitor"
    for attribute in ("HttpOnly", "Path=/chatkit", "SameSite=Lax", "Max-Age=2592000"):
        assert attribute in attributes


def test_errors(browse: Any, app: Flask) -> None:
    """What is refused is refused in the same words and with the same codes."""
    browser = browse(app)
    named = told(browser.post("/chatkit/secret", json={"user": "x"}), 400, "bad_request")
    assert "'user'" in named["message"]
    told(browser.post("/chatkit/nobody/secret"), 404, "not_found")
    evil = {"Origin": "https://evil.example"}
    told(browser.post("/chatkit/secret", headers=evil), 403, "forbidden_origin")
    told(browser.get("/chatkit/secret"), 405, "method_not_allowed")


def test_limits(browse: Any, app: Flask) -> None:
    """A chat's own limit on secrets holds in both modes."""
    browser = browse(app)
    for _ in range(5):
        browser.mint("/chatkit/sales")
    told(browser.post("/chatkit/sales/secret"), 429, "rate_limited")
    browser.mint()


def test_protocol_of_the_mode(browse: Any, app: Flask, mode: str) -> None:
    """The protocol's endpoint answers in the served mode, and is 404 in the hosted one."""
    for prefix in ("/chatkit", "/chatkit/sales"):
        browser = browse(app)
        browser.mint(prefix)
        client = Client(browser, prefix)
        if mode == "hosted":
            told(client.post("threads.list"), 404, "not_found")
        else:
            thread = client.create("hello")
            assert client.texts(thread, "assistant_message") == ["You said hello"]


def test_chat_with_a_workflow_of_its_own(browse: Any, site: Any, make_app: MakeApp) -> None:
    """CHATKIT_SERVER serves the hosted chats without a workflow of their own, and only those."""
    kit = ChatKit()
    kit.add_hosted("own", "wf_standin")
    kit.add_hosted("shared")
    browser = browse(make_app(kit, **MODES["served"]))
    modes = {
        name: browser.get(f"/chatkit/{name}/config").json()["mode"] for name in ("own", "shared")
    }
    assert modes == {"own": "hosted", "shared": "served"}


@pytest.mark.parametrize("who", ["anonymous", "login"])
def test_visitor_stays_the_same(
    browse: Any, site: Any, openai_standin: OpenAIStandIn, fresh_server: Shop, who: str
) -> None:
    """Who chatted before the switch is the same visitor after it, by the same cookie."""
    before, after = browse(site("hosted")), browse(site("served"))
    if who == "login":
        before.cookies.set("login", "ann", domain="127.0.0.1")
    before.mint("/chatkit/sales")
    upstream = openai_standin.requests[-1].body["user"]
    after.cookies.update(before.cookies)
    client = Client(after, "/chatkit/sales")
    client.create("hello")
    context = fresh_server.seen[0][0]
    assert context.visitor.key == upstream
    assert context.visitor.key.startswith("anon:" if who == "anonymous" else "user:ann")
    # Minting anew keeps them, too, and so does going back.
    after.mint("/chatkit/sales")
    client.post("threads.create", input=said("again"))
    assert fresh_server.seen[1][0].visitor.key == upstream
    before.cookies.update(after.cookies)
    before.mint("/chatkit/sales")
    assert openai_standin.requests[-1].body["user"] == upstream


def test_session_of_before_is_told_of(browse: Any, site: Any) -> None:
    """A session that was minted before the switch can still be asked for and replaced."""
    before, after = browse(site("hosted")), browse(site("served"))
    minted = before.mint()
    after.cookies.update(before.cookies)
    url = f"/chatkit/session/{minted['session_id']}"
    assert after.get(f"{url}/validate").json()["status"] == "active"
    fresh = after.post(f"{url}/refresh")
    assert fresh.status_code == 200, fresh.text
    assert Client(after, token=fresh.json()["client_secret"]).threads() == []


def test_secret_of_before_is_minted_anew(browse: Any, site: Any) -> None:
    """401: a page that still holds OpenAI's secret is told to mint anew, and then goes on."""
    before, after = browse(site("hosted")), browse(site("served"))
    old = before.mint()["client_secret"]
    after.cookies.update(before.cookies)
    told(Client(after, token=old).post("threads.list"), 401, "unauthenticated")
    assert Client(after, token=after.mint()["client_secret"]).threads() == []


def test_hosted_declaration_goes_on_in_the_served_chat(
    browse: Any, site: Any, fresh_server: Shop
) -> None:
    """State variables and uploads that were declared for OpenAI hold for the site's own server."""
    browser = browse(site("served"))
    browser.mint("/chatkit/sales")
    client = Client(browser, "/chatkit/sales")
    file = client.upload()
    assert file.status_code == 200, file.text
    thread = client.create("see", attachments=[file.json()["id"]])
    assert client.items(thread)[0]["attachments"][0]["id"] == file.json()["id"]
    told(client.upload(b"x" * (1024 * 1024 + 1), "x.txt", "text/plain"), 413, "too_large")
    assert fresh_server.seen[0][0].state == {"path": "/chatkit/sales/api"}


def test_wrong_settings_beside_each_other(browse: Any, make_app: MakeApp) -> None:
    """With both settings the site's own server answers: the workflow is what it replaces."""
    config = {"CHATKIT_SERVER": MODES["served"]["CHATKIT_SERVER"]}
    browser = browse(make_app(**config))
    assert browser.get("/chatkit/config").json()["mode"] == "served"
