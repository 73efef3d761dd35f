"""The kit as a blueprint: factories, several kits, several apps, nesting, and its neighbours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from flask import Blueprint, Flask, redirect, render_template_string, session, url_for

from flask_chatkit import ChatKit, ConfigurationError, OptionError
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.sites import Browser, MakeApp, told

Browse = Callable[[Any], Browser]
FLOATING = '{% from "chatkit/macros.html" import chatkit_floating %}{{ chatkit_floating(kit=kit) }}'


def test_init_app_registers(openai_standin: OpenAIStandIn, browse: Browse) -> None:
    """init_app does what register_blueprint does."""
    app = Flask("site")
    app.config.update(openai_standin.config(), SECRET_KEY="k", TESTING=True)
    ChatKit().init_app(app, url_prefix="/talk")
    assert browse(app).mint("/talk")


def test_one_kit_on_several_applications(make_app: MakeApp, browse: Browse) -> None:
    """An application factory may register a module's kit on as many applications as it makes."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")
    one = browse(make_app(kit, SECRET_KEY="one"))
    two = browse(make_app(kit, SECRET_KEY="two", CHATKIT_RATELIMIT="1/minute"))
    for _ in range(2):
        assert one.mint()
    assert two.mint("/chatkit/sales")
    told(two.post("/chatkit/secret"), 429, "rate_limited")


def test_several_kits_on_one_application(make_app: MakeApp, browse: Browse) -> None:
    """Two kits have their own paths, cookies and sessions."""
    app = make_app()
    app.register_blueprint(ChatKit("staff", url_prefix="/staff/chat"))
    browser = browse(app)
    session_id = browser.mint()["session_id"]
    assert browser.mint("/staff/chat")
    assert {cookie.name for cookie in browser.cookies} == {
        "chatkit_visitor",
        "chatkit_visitor_staff",
    }
    told(browser.get(f"/staff/chat/session/{session_id}/validate"), 404, "not_found")
    with app.test_request_context():
        assert '"page":"/staff/chat/"' in render_template_string(FLOATING, kit="staff")
        assert '"page":"/chatkit/"' in render_template_string(FLOATING, kit=None)
        with pytest.raises(OptionError, match="no kit 'nobody'; registered: chatkit, staff"):
            render_template_string(FLOATING, kit="nobody")


def test_two_kits_at_one_place_are_refused(make_app: MakeApp) -> None:
    """A second kit without a prefix of its own would never be reached, which is an error."""
    app = make_app()
    with pytest.raises(ConfigurationError, match="url_prefix"):
        app.register_blueprint(ChatKit("staff"))


def test_kit_is_no_extension_of_an_application() -> None:
    """An application in place of the name is an error that names init_app."""
    with pytest.raises(TypeError, match="init_app"):
        ChatKit(Flask("site"))  # type: ignore[arg-type]


def test_one_kit_twice_on_an_application(make_app: MakeApp, browse: Browse) -> None:
    """A kit may be registered under a second name and prefix."""
    kit = ChatKit()
    app = make_app(kit)
    app.register_blueprint(kit, name="again", url_prefix="/again")
    browser = browse(app)
    session_id = browser.mint("/again")["session_id"]
    url = f"/session/{session_id}/validate"
    assert browser.get(f"/again{url}").json()["status"] == "active"


def test_kit_under_two_names_has_one_quota(make_app: MakeApp, browse: Browse) -> None:
    """A second name buys nobody a second quota, and a cancelled session is so under both."""
    kit = ChatKit()
    app = make_app(kit, CHATKIT_RATELIMIT="2/minute", CHATKIT_COOKIE_PATH="/")
    app.register_blueprint(kit, name="again", url_prefix="/again")
    browser = browse(app)
    session_id = browser.mint()["session_id"]
    browser.mint("/again")
    told(browser.post("/again/secret"), 429, "rate_limited")
    told(browser.post("/chatkit/secret"), 429, "rate_limited")
    browser.post(f"/chatkit/session/{session_id}/cancel")
    url = f"/again/session/{session_id}/validate"
    assert browser.get(url).json()["status"] == "cancelled"


def test_exact_name_of_a_kit_comes_first(make_app: MakeApp) -> None:
    """A nested kit of the same own name does not take the place of the one so called."""
    admin = Blueprint("admin", __name__, url_prefix="/admin")
    admin.register_blueprint(ChatKit())
    app = Flask("site")
    app.config.update(CHATKIT_WORKFLOW_ID="wf_1", SECRET_KEY="k")
    app.register_blueprint(admin)
    app.register_blueprint(ChatKit(url_prefix="/talk"))
    page = app.test_client().get("/talk/").text
    assert '"page":"/talk/"' in page


@pytest.mark.parametrize("prefix", [None, "", "/"])
def test_kit_at_the_root_is_refused(make_app: MakeApp, prefix: str | None) -> None:
    """At the root the kit would lose its files to the site's, and take the site's pages."""
    with pytest.raises(ConfigurationError, match="url_prefix"):
        make_app(ChatKit(url_prefix=prefix))


@pytest.mark.parametrize("name", ["zürich", "a=b", "a;b", "a b", ""])
def test_name_that_no_cookie_may_have_is_refused(name: str) -> None:
    """A kit's name is part of a cookie's."""
    with pytest.raises((ConfigurationError, ValueError), match="name"):
        ChatKit(name)


@pytest.mark.parametrize(
    "config",
    [
        {"SECRET_KEY_FALLBACKS": "oldkey"},
        {"SECRET_KEY_FALLBACKS": [""]},
        {"SECRET_KEY_FALLBACKS": [5]},
        {"SECRET_KEY": 12345678},
    ],
)
def test_keys_that_are_none_are_refused(
    make_app: MakeApp,
    browse: Browse,
    caplog: pytest.LogCaptureFixture,
    config: dict[str, Any],
) -> None:
    """A text in place of a list of keys would be as many keys as it has letters."""
    told(browse(make_app(**config)).post("/chatkit/secret"), 500, "misconfigured")
    assert next(iter(config)) in caplog.text


def test_late_configuration_is_told(
    make_app: MakeApp, browse: Browse, caplog: pytest.LogCaptureFixture
) -> None:
    """What is configured after registering has no effect, and the log says so once."""
    app = make_app()
    app.config["CHATKIT_SESSION_SECONDS"] = 60
    browser = browse(app)
    for _ in range(2):
        browser.mint()
    told_it = [r.message for r in caplog.records if "CHATKIT_SESSION_SECONDS changed" in r.message]
    assert len(told_it) == 1


def test_missing_keys_are_told_when_a_page_shows_a_chat(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anybody has opened a chat the log says what it will lack, all at once."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    app = make_app(CHATKIT_API_KEY=None, SECRET_KEY=None)
    with app.test_request_context("/"):
        render_template_string(FLOATING, kit=None)
    assert "CHATKIT_API_KEY (or OPENAI_API_KEY) and SECRET_KEY is not set" in caplog.text


def test_nested_below_another_blueprint(openai_standin: OpenAIStandIn, browse: Browse) -> None:
    """A kit below another blueprint has that one's prefix, name and guard."""
    parent = Blueprint("account", __name__, url_prefix="/account")
    kit = ChatKit()
    parent.register_blueprint(kit)
    guarded: list[str] = []
    parent.before_request(lambda: guarded.append("asked"))  # type: ignore[arg-type, return-value]
    app = Flask("site")
    app.config.update(openai_standin.config(), SECRET_KEY="k", TESTING=True)
    app.register_blueprint(parent)
    browser = browse(app)
    minted = browser.mint("/account/chatkit")
    assert guarded
    (cookie,) = browser.cookies
    assert cookie.path == "/account/chatkit"
    url = f"/account/chatkit/session/{minted['session_id']}/validate"
    assert browser.get(url).json()["status"] == "active"
    with app.test_request_context():
        assert url_for("account.chatkit.page") == "/account/chatkit/"
        assert '"page":"/account/chatkit/"' in render_template_string(FLOATING, kit="chatkit")


def test_prefix_with_a_variable(openai_standin: OpenAIStandIn, browse: Browse) -> None:
    """Below a language in the URL, a visitor is the same in all of them."""
    kit = ChatKit(url_prefix="/<lang>/chatkit")
    kit.url_value_preprocessor(lambda _, values: values and values.pop("lang"))
    app = Flask("site")
    app.config.update(openai_standin.config(), SECRET_KEY="k", TESTING=True)
    app.register_blueprint(kit)
    app.url_defaults(lambda _, values: values.setdefault("lang", "de"))
    browser = browse(app)
    browser.mint("/de/chatkit")
    browser.mint("/fr/chatkit")
    (one, two) = (request.body["user"] for request in openai_standin.requests)
    assert one == two
    with app.test_request_context():
        assert '"page":"/de/chatkit/"' in render_template_string(FLOATING, kit=None)


def test_subdomain(openai_standin: OpenAIStandIn) -> None:
    """A kit may live on a subdomain, as any blueprint may."""
    app = Flask("site", subdomain_matching=True)
    app.config.update(openai_standin.config(), SECRET_KEY="k", SERVER_NAME="example.com")
    app.register_blueprint(ChatKit(subdomain="chat"))
    answer = app.test_client().post("/chatkit/secret", base_url="http://chat.example.com")
    assert answer.status_code == 200


def test_state_is_the_applications(make_app: MakeApp) -> None:
    """What belongs to one application is in its extensions, by the kit's full name."""
    app = make_app()
    assert list(app.extensions["chatkit"]) == ["chatkit"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_login_tells_who_it_is(
    make_app: MakeApp, browse: Browse, openai_standin: OpenAIStandIn, kind: str
) -> None:
    """The login's id is the user upstream, without a visitor cookie; nobody's is anonymous."""
    kit = ChatKit()
    who: list[str | int | None] = ["ann"]
    if kind == "sync":
        kit.user_loader(lambda: who[0])
    else:

        @kit.user_loader
        async def load() -> str | int | None:
            await asyncio.sleep(0)
            return who[0]

    browser = browse(make_app(kit))
    answer = browser.post("/chatkit/secret")
    assert "Set-Cookie" not in answer.headers
    session_id = answer.json()["session_id"]
    who[0] = 7
    told(browser.get(f"/chatkit/session/{session_id}/validate"), 404, "not_found")
    browser.mint()
    who[0] = None
    assert "chatkit_visitor" in browser.post("/chatkit/secret").headers["Set-Cookie"]
    users = [request.body["user"] for request in openai_standin.requests]
    assert users[:2] == ["user:ann", "user:7"]
    assert users[2].startswith("anon:")


class Account:
    """What a careless loader returns in place of its id."""


async def forgotten() -> str:
    return "ann"


@pytest.mark.parametrize(
    "unusable",
    [
        pytest.param("", id="empty"),
        pytest.param(True, id="bool"),
        pytest.param(Account(), id="object"),
        pytest.param(b"7", id="bytes"),
        pytest.param(1.5, id="float"),
        pytest.param("a" * 513, id="long"),
        pytest.param("a\nb", id="line break"),
        pytest.param("\ud800", id="surrogate"),
        pytest.param(forgotten, id="coroutine"),
    ],
)
def test_unusable_login_is_the_sites_fault(
    make_app: MakeApp, browse: Browse, caplog: pytest.LogCaptureFixture, unusable: Any
) -> None:
    """What is no id is nobody's, and must not become everybody's; an object's text is no id."""
    kit = ChatKit()
    kit.user_loader(lambda: unusable() if unusable is forgotten else unusable)
    told(browse(make_app(kit)).post("/chatkit/secret"), 500, "misconfigured")
    assert "user_loader" in caplog.text


def test_user_loader_is_checked_when_declared() -> None:
    """A loader with arguments, and a second one, are refused."""
    kit = ChatKit()
    with pytest.raises(ConfigurationError, match="without arguments"):
        kit.user_loader(lambda user: user)  # type: ignore[arg-type, misc]
    kit.user_loader(lambda: None)
    with pytest.raises(ConfigurationError, match="twice"):
        kit.user_loader(lambda: None)


def test_async_state_variables(
    make_app: MakeApp, browse: Browse, openai_standin: OpenAIStandIn
) -> None:
    """State variables may come from a coroutine function, in the visitor's request."""

    async def variables() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"page": url_for("chatkit.secret", chat="a")}

    kit = ChatKit()
    kit.add_hosted("a", "wf_standin", state_variables=variables)
    browse(make_app(kit)).mint("/chatkit/a")
    body = openai_standin.requests[0].body
    assert body["workflow"]["state_variables"] == {"page": "/chatkit/a/secret"}


def test_default_chat_may_be_declared_without_its_workflow(
    make_app: MakeApp, browse: Browse, openai_standin: OpenAIStandIn
) -> None:
    """A declared default chat takes its workflow from the configuration, and keeps its settings."""
    kit = ChatKit()
    kit.add_hosted("default", file_upload=True, session_seconds=60)
    minted = browse(make_app(kit)).mint()
    assert minted["expires_in"] <= 60
    body = openai_standin.requests[0].body
    assert body["workflow"] == {"id": "wf_standin"}
    assert body["chatkit_configuration"]["file_upload"] == {"enabled": True}


def test_end_of_workflows_is_told_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, browse: Browse
) -> None:
    """At start-up, once, the log names the day and the setting that comes next."""
    kit = ChatKit()
    kit.add_hosted("a", "wf_standin")
    app = make_app(kit)
    browse(app).mint()
    told_it = [r for r in caplog.records if "2026-11-30" in r.message]
    assert len(told_it) == 1
    assert told_it[0].levelno == logging.WARNING
    assert "CHATKIT_SERVER" in told_it[0].message


def test_nothing_hosted_is_nothing_told(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of a site without a hosted chat has nothing about the end of hosted workflows."""
    make_app(CHATKIT_WORKFLOW_ID=None)
    assert "2026-11-30" not in caplog.text


# --- neighbours ---


def test_flask_login_guards_the_kit(
    make_app: MakeApp, browse: Browse, missing: Callable[[str, str], NoReturn]
) -> None:
    """Flask-Login's login_required: the page redirects, calls answer 401, a login may chat."""
    try:
        import flask_login
    except ImportError:
        missing("Flask-Login", "pip install 'flask-chatkit[test]'")
    kit = ChatKit()
    kit.before_request(flask_login.login_required(lambda: None))
    kit.user_loader(
        lambda: (
            flask_login.current_user.get_id() if flask_login.current_user.is_authenticated else None
        )
    )
    app = make_app(kit)
    manager = flask_login.LoginManager(app)
    manager.login_view = "login"

    class User(flask_login.UserMixin):
        id = "ann"

    manager.user_loader(lambda _: User())

    @app.get("/login")
    def login() -> Any:
        flask_login.login_user(User())
        return redirect("/")

    @app.get("/logout")
    def logout() -> Any:
        flask_login.logout_user()
        return redirect("/")

    browser = browse(app)
    told(browser.post("/chatkit/secret"), 401, "unauthenticated")
    page = browser.get("/chatkit/")
    assert page.status_code == 302
    assert page.headers["Location"].startswith("/login?next=")
    # Public pages may show a widget all the same: its files are nobody's secret.
    assert browser.get("/chatkit/static/loader.js").status_code == 200
    browser.get("/login")
    minted = browser.mint()
    assert browser.get("/chatkit/").status_code == 200
    browser.get("/logout")
    url = f"/chatkit/session/{minted['session_id']}/validate"
    told(browser.get(url), 401, "unauthenticated")


@pytest.mark.parametrize("exempt", [False, True])
def test_csrf_protection(
    make_app: MakeApp,
    browse: Browse,
    missing: Callable[[str, str], NoReturn],
    exempt: bool,
) -> None:
    """Under CSRFProtect a mint needs the page's token, unless the kit is exempt."""
    try:
        from flask_wtf.csrf import CSRFProtect, generate_csrf
    except ImportError:
        missing("Flask-WTF", "pip install 'flask-chatkit[test]'")
    kit = ChatKit()
    app = make_app(kit)
    protect = CSRFProtect(app)
    if exempt:
        protect.exempt(kit)
    app.add_url_rule("/token", view_func=generate_csrf)
    browser = browse(app)
    if exempt:
        assert browser.mint()
        return
    assert "CSRF" in told(browser.post("/chatkit/secret"), 400, "bad_request")["message"]
    token = browser.get("/token").text
    answer = browser.post("/chatkit/secret", json={}, headers={"X-CSRFToken": token})
    assert answer.status_code == 200
    assert 'name="csrf-token"' in browser.get("/chatkit/").text


def test_talisman(
    make_app: MakeApp, browse: Browse, missing: Callable[[str, str], NoReturn]
) -> None:
    """Next to Flask-Talisman the assets carry its nonce, and calls are no logins."""
    try:
        from flask_talisman import Talisman
    except ImportError:
        missing("Flask-Talisman", "pip install 'flask-chatkit[test]'")
    app = make_app()
    policy = {"default-src": "'self'", "script-src": "'self'"}
    Talisman(
        app,
        force_https=False,
        session_cookie_secure=False,
        content_security_policy=policy,
        content_security_policy_nonce_in=["script-src"],
    )
    browser = browse(app)
    assert browser.mint()
    page = browser.get("/chatkit/")
    nonce = page.headers["Content-Security-Policy"].split("'nonce-")[1].split("'")[0]
    assert page.text.count(f'nonce="{nonce}"') == 3


def test_a_session_of_the_site_is_left_alone(make_app: MakeApp, browse: Browse) -> None:
    """Neither a page with a widget nor a mint touches the site's own session."""
    app = make_app()
    app.add_url_rule("/", view_func=lambda: render_template_string(FLOATING, kit=None))

    @app.get("/in")
    def sign_in() -> str:
        session["a"] = 1
        return ""

    browser = browse(app)
    assert "Set-Cookie" not in browser.get("/").headers
    browser.get("/in")
    assert browser.post("/chatkit/secret").headers["Set-Cookie"].count("session=") == 0
