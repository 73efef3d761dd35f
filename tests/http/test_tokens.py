"""The headers around a session: the token's own, the site's login, and the way back from it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, redirect, request
from flask_login import LoginManager, login_required

from flask_chatkit import ChatKit, ConfigurationError
from tests.helpers.sites import Browser, MakeApp, told

CALL = {"type": "threads.list", "params": {"limit": 5, "order": "desc"}}


def echo(message: Any, _chat: Any) -> str:
    return f"You said {message.text}"


@pytest.fixture
def shop(make_app: MakeApp, tmp_path: Any) -> Any:
    """Make sites with a served chat."""

    def make(kit: ChatKit | None = None, **config: Any) -> Flask:
        kit = kit or ChatKit()
        kit.assistant()(echo)
        database = f"sqlite:///{tmp_path}/x.sqlite3"
        return make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=database, **config)

    return make


def without_cookies(browser: Browser, **headers: str) -> Any:
    browser.cookies.clear()
    return browser.post("/chatkit/api", json=CALL, headers=headers)


def test_token_has_a_header_of_its_own(shop: Any, browse: Any) -> None:
    """X-ChatKit-Token identifies a visitor without a cookie, as Authorization: Bearer does."""
    browser = browse(shop())
    token = browser.mint()["client_secret"]
    told(without_cookies(browser), 401, "unauthenticated")
    assert without_cookies(browser, **{"X-ChatKit-Token": token}).status_code == 200
    assert without_cookies(browser, Authorization=f"Bearer {token}").status_code == 200


@pytest.mark.parametrize("other", ["Basic YTpi", "Bearer of-somebody-else"])
def test_authorization_beside_it_counts_for_nothing(shop: Any, browse: Any, other: str) -> None:
    """Beside the kit's own header, Authorization is the proxy's, or the site's."""
    browser = browse(shop())
    headers = {"X-ChatKit-Token": browser.mint()["client_secret"], "Authorization": other}
    assert without_cookies(browser, **headers).status_code == 200
    headers["X-ChatKit-Token"] = "ck_made-up"
    answer = without_cookies(browser, **headers)
    told(answer, 401, "unauthenticated")
    assert answer.headers["X-ChatKit-Reason"] == "session_ended"


def test_site_code_gets_no_token() -> None:
    """A declaration can't hand the visitor's token on to the site's code."""
    for name in ("X-ChatKit-Token", "x-chatkit-visitor", "Authorization", "Cookie"):
        with pytest.raises(ConfigurationError, match="the visitor's secrets"):
            ChatKit().assistant(headers=[name])(echo)


def with_logins(app: Flask, view: str | None = "login") -> None:
    manager = LoginManager(app)
    manager.user_loader(lambda _: None)
    manager.login_view = view
    app.add_url_rule("/login", "login", lambda: "Sign in")


def guarded() -> ChatKit:
    kit = ChatKit()
    kit.before_request(login_required(lambda: None))
    return kit


def test_login_of_a_guard_is_named(shop: Any, browse: Any) -> None:
    """A guard's redirect to a login is told to the widget, with the call that it leads back to."""
    app = shop(guarded())
    with_logins(app)
    answer = browse(app).post("/chatkit/secret")
    told(answer, 401, "unauthenticated")
    assert answer.headers["X-ChatKit-Sign-In"] == "/login?next=%2Fchatkit%2Fsecret"
    assert "Location" not in answer.headers


def test_guard_without_a_login_names_none(shop: Any, browse: Any) -> None:
    """A guard that just refuses names no login; nor does a redirect to https."""
    app = shop(guarded())
    with_logins(app, None)
    answer = browse(app).post("/chatkit/secret")
    told(answer, 401, "unauthenticated")
    assert "X-ChatKit-Sign-In" not in answer.headers


def test_redirect_to_https_is_no_login(shop: Any, browse: Any) -> None:
    """Where only the scheme changes, the redirect stays one."""
    app = shop()
    app.before_request(lambda: redirect(f"https://shop.test{request.path}"))
    answer = browse(app).post("/chatkit/secret")
    assert answer.status_code == 302
    assert "X-ChatKit-Sign-In" not in answer.headers


def test_trusted_page_may_read_the_login(shop: Any, browse: Any) -> None:
    """A page of a trusted origin can offer the login, too."""
    origin = "https://www.example.com"
    app = shop(guarded(), CHATKIT_TRUSTED_ORIGINS=[origin])
    with_logins(app)
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    answer = browse(app).post("/chatkit/secret", json={}, headers=headers)
    assert "X-ChatKit-Sign-In" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("path", ["secret", "api", "sales/api", "session/x/refresh"])
@pytest.mark.parametrize("site", ["same-origin", "cross-site"])
def test_visit_to_a_call_leads_to_the_page(shop: Any, browse: Any, path: str, site: str) -> None:
    """A browser that a login has led to a call finds the chat's page; a script is refused."""
    kit = ChatKit()
    kit.assistant("sales")(echo)
    browser = browse(shop(kit))
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": site}
    answer = browser.get(f"/chatkit/{path}", headers=headers)
    assert answer.status_code == 302
    chat = "sales/" if path.startswith("sales") else ""
    assert answer.headers["Location"] == f"/chatkit/{chat}"
    told(
        browser.get(f"/chatkit/{path}", headers={"Sec-Fetch-Mode": "cors"}),
        405,
        "method_not_allowed",
    )
