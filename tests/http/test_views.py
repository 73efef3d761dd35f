"""The HTTP surface, over real HTTP: every call, and every row of the error table."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, abort, current_app, redirect
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_chatkit import ApiError, ChatKit, RateLimited
from flask_chatkit.testing import Failure, OpenAIStandIn
from tests.helpers.served import visit
from tests.helpers.sites import MakeApp, told

SECRET = "/chatkit/secret"


# --- the calls ---


def test_mint_answers_as_the_contract_says(
    browse: Any, app: Flask, openai_standin: OpenAIStandIn
) -> None:
    """A mint answers a secret, its end and a session, uncached, and sets the visitor cookie."""
    answer = browse(app).post(SECRET)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"client_secret", "expires_at", "expires_in", "session_id"}
    (session,) = openai_standin.sessions.values()
    assert body["client_secret"] == session["client_secret"]
    assert body["expires_at"] == session["expires_at"]
    assert 595 <= body["expires_in"] <= 600
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Cookie" in answer.headers["Vary"]
    assert "Access-Control-Allow-Origin" not in answer.headers
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("chatkit_visitor=")
    assert "HttpOnly" in cookie


def test_visitor_is_known_again(browse: Any, app: Flask, openai_standin: OpenAIStandIn) -> None:
    """The cookie keeps the same user upstream; another browser is another one."""
    ann, bob = browse(app), browse(app)
    for browser in (ann, ann, bob):
        browser.mint()
    users = [request.body["user"] for request in openai_standin.requests]
    assert users[0] == users[1] != users[2]
    assert all(re.fullmatch(r"anon:[\w-]{22}", user) for user in users)


def test_empty_request_is_accepted(browse: Any, app: Flask) -> None:
    """A mint needs no body at all."""
    assert browse(app).post(SECRET, data=b"").status_code == 200


def test_session_lives_and_ends(browse: Any, app: Flask, openai_standin: OpenAIStandIn) -> None:
    """Validate, refresh and cancel do what they say, here and upstream."""
    browser = browse(app)
    first = browser.mint()
    url = f"/chatkit/session/{first['session_id']}"
    valid = browser.get(f"{url}/validate")
    assert valid.json() == {"status": "active", "expires_at": first["expires_at"]}
    second = browser.post(f"{url}/refresh").json()
    assert set(second) == set(first)
    assert second["client_secret"] != first["client_secret"]
    assert browser.get(f"{url}/validate").json()["status"] == "cancelled"
    assert [session["status"] for session in openai_standin.sessions.values()] == [
        "cancelled",
        "active",
    ]
    assert len({request.body["user"] for request in openai_standin.requests if request.body}) == 1
    url = f"/chatkit/session/{second['session_id']}"
    assert browser.post(f"{url}/cancel").json() == {"status": "cancelled"}
    assert browser.post(f"{url}/cancel").json() == {"status": "cancelled"}
    told(browser.post(f"{url}/refresh"), 404, "not_found")
    assert {session["status"] for session in openai_standin.sessions.values()} == {"cancelled"}


def test_named_chat_has_its_own_path(
    browse: Any, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """A named chat is below its name; its sessions are not the default chat's."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin", state_variables=lambda: {"plan": "pro"})
    browser = browse(make_app(kit))
    minted = browser.mint("/chatkit/sales")
    assert openai_standin.requests[0].body["workflow"]["state_variables"] == {"plan": "pro"}
    path = f"session/{minted['session_id']}/validate"
    assert browser.get(f"/chatkit/sales/{path}").status_code == 200
    told(browser.get(f"/chatkit/{path}"), 404, "not_found")
    assert browser.get("/chatkit/sales/config").json()["chat"] == "sales"
    assert browser.get("/chatkit/sales/").status_code == 200


def test_chat_may_be_declared_after_registering(browse: Any, make_app: MakeApp) -> None:
    """Chats and the login may be declared once the kit is registered, in any order."""
    kit = ChatKit()
    app = make_app(kit)
    kit.add_hosted("late", "wf_standin")
    assert browse(app).mint("/chatkit/late")


def test_declarations_end_with_the_first_request(browse: Any, make_app: MakeApp) -> None:
    """After the first request, what would not reach every page is refused as Flask does."""
    kit = ChatKit()
    browse(make_app(kit)).mint()
    declare: list[Callable[[], object]] = [
        lambda: kit.add_hosted("late", "wf_standin"),
        lambda: kit.add_server("late", object),
        lambda: kit.add_agent("late", lambda _: None),
        lambda: kit.add_workflow("late", lambda _: None),
        lambda: kit.assistant("late"),
        lambda: kit.action("late"),
        kit.feedback,
        kit.transcriber,
        lambda: kit.on_startup(lambda: None),
        lambda: kit.user_loader(lambda: None),
    ]
    for late in declare:
        with pytest.raises(AssertionError, match="can no longer be called on the kit 'chatkit'"):
            late()


def test_one_application_ends_the_declarations_of_all(browse: Any, make_app: MakeApp) -> None:
    """The first request of any application ends them; others may still register the kit."""
    kit = ChatKit()
    first, second = make_app(kit), make_app(kit)
    browse(first).mint()
    with pytest.raises(AssertionError, match="add_hosted"):
        kit.add_hosted("late", "wf_standin")
    assert browse(second).mint()
    assert browse(make_app(kit)).mint()


def test_config_tells_what_a_widget_may_know(browse: Any, make_app: MakeApp) -> None:
    """The configuration has the addresses and options, and neither workflow nor key."""
    kit = ChatKit()
    kit.add_hosted("a", "wf_secret", file_upload={"max_file_size": 1}, widget={"greeting": "Hi"})
    answer = browse(make_app(kit)).get("/chatkit/a/config")
    body = answer.json()
    assert body["mode"] == "hosted"
    assert body["secret"] == "/chatkit/a/secret"
    assert body["session"] == "/chatkit/a/session/"
    assert body["page"] == "/chatkit/a/"
    assert body["options"]["startScreen"] == {"greeting": "Hi"}
    assert body["options"]["composer"]["attachments"]["maxSize"] == 1024 * 1024
    assert "wf_secret" not in answer.text
    assert "sk-" not in answer.text


def test_full_page_is_html(browse: Any, app: Flask) -> None:
    """The full page holds the widget, without inline code, and sets no cookie."""
    answer = browse(app).get("/chatkit/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "data-chatkit=" in answer.text
    assert "Set-Cookie" not in answer.headers
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", answer.text)


# --- the error table ---


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"data": "a=b", "headers": {"Content-Type": "text/plain"}}, "application/json"),
        ({"data": {"a": "b"}}, "application/json"),
        ({"data": "{", "headers": {"Content-Type": "application/json"}}, "JSON"),
        ({"data": "[" * 4000, "headers": {"Content-Type": "application/json"}}, "JSON"),
        ({"json": [1]}, "object"),
        ({"json": {"user": "ann"}}, "'user'"),
        ({"json": {"user_id": "ann"}}, "'user_id'"),
        ({"json": {"workflow": {"id": "wf_x"}}}, "'workflow'"),
        ({"json": {"workflow_id": "wf_x"}}, "'workflow_id'"),
        ({"json": {"state_variables": {}}}, "'state_variables'"),
    ],
)
def test_bad_request(browse: Any, app: Flask, more: dict[str, Any], named: str) -> None:
    """400: not JSON, no object, or a field that the browser may not choose, named."""
    assert named in told(browse(app).post(SECRET, **more), 400, "bad_request")["message"]


@pytest.mark.parametrize("path", ["refresh", "cancel"])
def test_bad_request_on_a_session(browse: Any, app: Flask, path: str) -> None:
    """The calls on a session check their bodies too."""
    browser = browse(app)
    url = f"/chatkit/session/{browser.mint()['session_id']}/{path}"
    told(browser.post(url, json={"user": "x"}), 400, "bad_request")


LOGIN_GUARDS = {
    "redirect": lambda: redirect("/login?next=x"),
    "abort": lambda: abort(401),
    "page": lambda: "<h1>Please sign in</h1>",
}


@pytest.mark.parametrize("guard", LOGIN_GUARDS.values(), ids=LOGIN_GUARDS)
@pytest.mark.parametrize("where", ["kit", "app"])
def test_unauthenticated(browse: Any, make_app: MakeApp, guard: Any, where: str) -> None:
    """401: a site's guard, however it says no, is JSON for every call, and itself on the page."""
    kit = ChatKit()
    if where == "kit":
        kit.before_request(guard)
    app = make_app(kit)
    if where == "app":
        app.before_request(guard)
    browser = browse(app)
    for method, path in (
        ("POST", "secret"),
        ("POST", "session/x/refresh"),
        ("GET", "session/x/validate"),
        ("POST", "session/x/cancel"),
        ("GET", "config"),
    ):
        told(browser.request(method, f"/chatkit/{path}"), 401, "unauthenticated")
    page = browser.get("/chatkit/")
    assert (
        page.status_code
        == {"redirect": 302, "abort": 401, "page": 200}[
            next(name for name, value in LOGIN_GUARDS.items() if value is guard)
        ]
    )
    assert page.headers["Content-Type"].startswith("text/html")


def test_sites_own_refusals_keep_their_status(browse: Any, make_app: MakeApp) -> None:
    """A 403 or 451 of the site's own keeps its status, as JSON."""
    kit = ChatKit()
    statuses = iter([403, 451])
    kit.before_request(lambda: abort(next(statuses)))
    browser = browse(make_app(kit))
    told(browser.post(SECRET), 403, "forbidden")
    told(browser.post(SECRET), 451, "unavailable_for_legal_reasons")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
    ],
)
def test_forbidden_origin(browse: Any, app: Flask, headers: dict[str, str]) -> None:
    """403: a page of another origin asked; it gets no CORS headers either."""
    answer = browse(app).post(SECRET, headers=headers)
    told(answer, 403, "forbidden_origin")
    assert not any(name.startswith("Access-Control") for name in answer.headers)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_own_pages_are_allowed(browse: Any, app: Flask, site: str) -> None:
    """The site's own pages may ask, also where a proxy changed what Origin is compared with."""
    headers = {"Sec-Fetch-Site": site, "Origin": "https://public.example"}
    assert browse(app).post(SECRET, headers=headers).status_code == 200


def test_own_origin_is_allowed_without_fetch_metadata(browse: Any, app: Flask) -> None:
    """An old browser's Origin is compared with the site's own."""
    browser = browse(app)
    assert browser.post(SECRET, headers={"Origin": browser.base}).status_code == 200


def test_trusted_origin_gets_exact_cors(browse: Any, make_app: MakeApp) -> None:
    """A listed origin is allowed by name, with credentials; another one is told nothing."""
    trusted = "https://www.example.com"
    browser = browse(make_app(CHATKIT_TRUSTED_ORIGINS=[trusted]))
    headers = {"Origin": trusted, "Sec-Fetch-Site": "cross-site"}
    answer = browser.post(SECRET, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == trusted
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in answer.headers["Vary"]
    preflight = browser.options(
        SECRET, headers={"Origin": trusted, "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code == 204
    assert (
        preflight.headers["Access-Control-Allow-Headers"]
        == "Authorization, Content-Type, X-CSRFToken, X-ChatKit-Token, X-ChatKit-Visitor"
    )
    other = browser.post(SECRET, headers={"Origin": "https://www.example.com.evil.example"})
    told(other, 403, "forbidden_origin")
    assert "Access-Control-Allow-Origin" not in other.headers
    assert "Origin" in other.headers["Vary"]
    refused = browser.post(SECRET, headers=headers, json={"user": "x"})
    assert refused.headers["Access-Control-Allow-Origin"] == trusted


def test_preflight_passes_a_login_guard(browse: Any, make_app: MakeApp) -> None:
    """A preflight carries no cookies, so a guard that redirects must not answer it."""
    trusted = "https://www.example.com"
    app = make_app(CHATKIT_TRUSTED_ORIGINS=[trusted])
    app.before_request(LOGIN_GUARDS["redirect"])
    answer = browse(app).options(SECRET, headers={"Origin": trusted})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == trusted


def test_not_found(browse: Any, app: Flask) -> None:
    """404: an unknown chat, and a session that is not this visitor's."""
    ann, bob = browse(app), browse(app)
    told(ann.post("/chatkit/nobody/secret"), 404, "not_found")
    told(ann.get("/chatkit/nobody/config"), 404, "not_found")
    session = ann.mint()["session_id"]
    bob.mint()
    for browser in (bob, browse(app)):
        url = f"/chatkit/session/{session}"
        told(browser.get(f"{url}/validate"), 404, "not_found")
        told(browser.post(f"{url}/refresh"), 404, "not_found")
        told(browser.post(f"{url}/cancel"), 404, "not_found")
    assert ann.get(f"/chatkit/session/{session}/validate").json()["status"] == "active"


def test_disabled_kit_is_not_found(browse: Any, make_app: MakeApp) -> None:
    """404: with CHATKIT_ENABLED False there is nothing, and nothing is minted."""
    browser = browse(make_app(CHATKIT_ENABLED=False))
    told(browser.post(SECRET), 404, "not_found")
    told(browser.get("/chatkit/config"), 404, "not_found")
    told(browser.options(SECRET), 404, "not_found")
    assert browser.get("/chatkit/").status_code == 404


def test_too_large(browse: Any, app: Flask) -> None:
    """413: a body beyond 4 KiB, with and without a length."""
    browser = browse(app)
    told(browser.post(SECRET, json={"x": "x" * 5000}), 413, "too_large")


def chunked(base: str, *chunks: bytes) -> str:
    """Post chunks to a site; the status line of the answer."""
    host, port = base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            b"POST /chatkit/secret HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(chunks)
        )
        return connection.recv(4096).decode().partition("\r\n")[0]


def test_body_without_a_length_is_measured(browse: Any, app: Flask) -> None:
    """A body in chunks is refused beyond the limit, not cut; a broken one is a bad request."""
    base = browse(app).base
    body = b"{}" + b" " * 4094
    whole = b"%x\r\n%s\r\n" % (len(body), body)
    assert " 200 " in chunked(base, whole, b"0\r\n\r\n")
    assert " 413 " in chunked(base, whole, b'5\r\n{"x":\r\n', b"0\r\n\r\n")
    assert " 400 " in chunked(base, b"zz\r\n")


def test_full_page_is_framed_by_the_site_only(browse: Any, make_app: MakeApp) -> None:
    """Another site can't frame the page that chats as its visitor, unless it is trusted."""
    trusted = {"CHATKIT_TRUSTED_ORIGINS": "https://www.example.com"}
    for config, framers in (({}, "'self'"), (trusted, "'self' https://www.example.com")):
        policy = browse(make_app(**config)).get("/chatkit/").headers["Content-Security-Policy"]
        assert policy == f"frame-ancestors {framers}"


def test_rate_limited(browse: Any, make_app: MakeApp, openai_standin: OpenAIStandIn) -> None:
    """429: the quota is used up; Retry-After says for how long, and nothing is minted."""
    browser = browse(make_app(CHATKIT_RATELIMIT="2/minute"))
    for _ in range(2):
        browser.mint()
    answer = browser.post(SECRET)
    told(answer, 429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert len(openai_standin.requests) == 2


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"CHATKIT_API_KEY": None}, "OPENAI_API_KEY"),
        ({"SECRET_KEY": None}, "SECRET_KEY"),
        ({"CHATKIT_WORKFLOW_ID": None}, "CHATKIT_WORKFLOW_ID"),
    ],
)
def test_misconfigured(
    browse: Any,
    make_app: MakeApp,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    openai_standin: OpenAIStandIn,
    config: dict[str, Any],
    named: str,
) -> None:
    """500: something is not set; the log names it, and the browser only where it is debugged."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    app = make_app(**config)
    body = told(browse(app).post(SECRET), 500, "misconfigured")
    assert named not in str(body)
    assert named in caplog.text
    app.debug = True
    assert named in told(browse(app).post(SECRET), 500, "misconfigured")["message"]
    assert openai_standin.requests == []


def test_bad_state_variables_are_the_sites_fault(
    browse: Any, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """500: a callable's variables out of OpenAI's bounds are told in the log by name."""
    kit = ChatKit()
    kit.add_hosted("a", "wf_standin", state_variables=lambda: {"cart": ["secret thing"]})
    told(browse(make_app(kit)).post("/chatkit/a/secret"), 500, "misconfigured")
    assert "cart" in caplog.text
    assert "secret thing" not in caplog.text


def test_a_crash_of_the_sites_own_is_json_too(
    browse: Any, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500: what the site's login raises is a JSON error that tells nothing of it."""
    kit = ChatKit()

    @kit.user_loader
    def who() -> str | None:
        raise RuntimeError("the whole story")

    app = make_app(kit, TESTING=False, PROPAGATE_EXCEPTIONS=False)
    monkeypatch.setattr(app.logger, "disabled", True)
    assert "story" not in str(told(browse(app).post(SECRET), 500, "internal_server_error"))


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (Failure(status=400), 502, "upstream_rejected"),
        (Failure.truncated_json(), 502, "upstream_rejected"),
        (Failure(status=500), 503, "upstream_unavailable"),
        (Failure(reset=True), 503, "upstream_unavailable"),
        (Failure.rate_limit(retry_after=30), 503, "upstream_unavailable"),
        (Failure(delay=3), 504, "upstream_timeout"),
    ],
    ids=lambda value: str(value) if isinstance(value, (int, str)) else None,
)
def test_upstream_errors(
    browse: Any,
    make_app: MakeApp,
    openai_standin: OpenAIStandIn,
    failure: Failure,
    status: int,
    code: str,
) -> None:
    """502, 503, 504: what goes wrong at OpenAI is told by code; no cookie is set for it."""
    openai_standin.fail(failure, times=3)
    answer = browse(make_app(CHATKIT_API_TIMEOUT=0.5)).post(SECRET)
    told(answer, status, code)
    assert "Set-Cookie" not in answer.headers
    if status == 503:
        assert int(answer.headers["Retry-After"]) == (30 if failure.retry_after else 5)


def test_request_id_ties_answer_and_log(
    browse: Any, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy's request id is taken over if it is one; the log has the same."""
    browser = browse(app)
    with caplog.at_level("INFO", "flask_chatkit"):
        for given, kept in (("abc-123", True), ("x" * 65, False), ("a b", False)):
            answer = browser.post(SECRET, json={"x": 1}, headers={"X-Request-ID": given})
            request_id = answer.json()["error"]["request_id"]
            assert (request_id == given) is kept
            assert request_id in caplog.text


def test_sites_error_handlers_do_not_answer_for_us(browse: Any, make_app: MakeApp) -> None:
    """A site's HTML pages for errors are not what an API call gets; its own JSON may be."""
    kit = ChatKit()
    kit.register_error_handler(RateLimited, lambda error: ({"mine": error.retry_after > 0}, 429))
    app = make_app(kit, CHATKIT_RATELIMIT="1/minute")
    app.register_error_handler(404, lambda _: ("<h1>Nothing</h1>", 404))
    browser = browse(app)
    told(browser.post("/chatkit/nobody/secret"), 404, "not_found")
    browser.mint()
    assert browser.post(SECRET).json() == {"mine": True}


def test_one_handler_for_all_our_errors(browse: Any, make_app: MakeApp) -> None:
    """A kit's handler for the root of our errors is asked for each of them."""
    kit = ChatKit()
    kit.register_error_handler(ApiError, lambda error: ({"mine": error.slug}, error.code))
    browser = browse(make_app(kit))
    assert browser.post("/chatkit/nobody/secret").json() == {"mine": "not_found"}
    assert browser.post(SECRET, json={"a": 1}).json() == {"mine": "bad_request"}


def test_wait_that_a_site_names_is_kept(browse: Any, make_app: MakeApp) -> None:
    """An app-wide maintenance page becomes our JSON, with its Retry-After."""
    app = make_app()
    app.before_request(lambda: ("<h1>Back soon</h1>", 503, {"Retry-After": "120"}))
    answer = browse(app).post(SECRET)
    told(answer, 503, "upstream_unavailable")
    assert answer.headers["Retry-After"] == "120"


def test_page_has_the_sites_own_error_pages(browse: Any, make_app: MakeApp) -> None:
    """On the full page and its files a site's pages for errors are shown."""
    app = make_app()
    app.register_error_handler(404, lambda _: ("<h1>Nothing here, friend</h1>", 404))
    browser = browse(app)
    for path in ("/chatkit/nobody/", "/chatkit/static/nothing.js"):
        assert "friend" in browser.get(path).text


def test_kit_with_named_chats_only_has_no_default_page(
    browse: Any, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody's visit to a default chat that was never meant to be is an error of the site's."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")
    browser = browse(make_app(kit, CHATKIT_WORKFLOW_ID=None))
    assert browser.get("/chatkit/").status_code == 404
    told(browser.post(SECRET), 404, "not_found")
    assert browser.mint("/chatkit/sales")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_blueprint_below_the_kit_is_its_own(browse: Any, make_app: MakeApp) -> None:
    """What a site nests below the kit is not taken for one of our calls."""
    kit = ChatKit()
    child = Blueprint("child", __name__, url_prefix="/child")
    child.add_url_rule("/config", "config", lambda: "<h1>mine</h1>")
    kit.register_blueprint(child)
    assert browse(make_app(kit)).get("/chatkit/child/config").text == "<h1>mine</h1>"


# --- where it is mounted ---


def test_under_a_script_name(browse: Any, app: Flask) -> None:
    """Below another WSGI application every URL, and the cookie's path, has the prefix."""
    browser = browse(DispatcherMiddleware(Flask("root"), {"/shop": app}))
    minted = browser.mint("/shop/chatkit")
    (cookie,) = browser.cookies
    assert cookie.path == "/shop/chatkit"
    url = f"/shop/chatkit/session/{minted['session_id']}/validate"
    assert browser.get(url).json()["status"] == "active"
    page = browser.get("/shop/chatkit/").text
    assets = re.findall(r'(?:href|src)="(/[^"]+\.(?:css|js))"', page)
    assert len(assets) == 3
    for asset in assets:
        assert asset.startswith("/shop/chatkit/static/")
        answer = browser.get(asset)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_behind_a_proxy(browse: Any, make_app: MakeApp) -> None:
    """ProxyFix gives the address, the scheme for the cookie, the origin and the prefix."""
    app = make_app(CHATKIT_RATELIMIT_IP="1/minute")
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    browser = browse(app)
    headers = {
        "X-Forwarded-For": "203.0.113.5",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example.com",
        "X-Forwarded-Prefix": "/app",
        "Origin": "https://www.example.com",
    }
    answer = browser.post(SECRET, headers=headers)
    assert answer.status_code == 200
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "Path=/app/chatkit" in answer.headers["Set-Cookie"]
    told(browser.post(SECRET, headers=headers), 429, "rate_limited")
    headers["X-Forwarded-For"] = "203.0.113.6"
    assert browser.post(SECRET, headers=headers).status_code == 200
    headers["Origin"] = "http://www.example.com"
    told(browser.post(SECRET, headers=headers), 403, "forbidden_origin")


def test_wrong_method_is_told_as_json(browse: Any, app: Flask) -> None:
    """405: a call by another method, which is not taken for a chat's page either."""
    browser = browse(app)
    answer = browser.get(SECRET)
    told(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"
    told(browser.request("DELETE", "/chatkit/config"), 405, "method_not_allowed")
    assert browser.head("/chatkit/config").status_code == 200


def test_foreign_origin_is_told_to_the_log(
    browse: Any, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has both origins, and what to look at."""
    browse(app).post(SECRET, headers={"Origin": "https://www.example.com"})
    assert "'https://www.example.com'" in caplog.text
    assert "ProxyFix" in caplog.text


def test_https_enforcement_is_no_login(browse: Any, make_app: MakeApp) -> None:
    """A redirect to the same path on https stays what it is."""
    app = make_app()
    app.before_request(lambda: redirect("https://127.0.0.1/chatkit/secret", 301))
    assert browse(app).post(SECRET).status_code == 301


def test_request_within_a_request_leaves_the_outer_one_alone(
    make_app: MakeApp, browse: Any
) -> None:
    """A site that asks its own kit while a request is answered changes nothing of the answer."""
    kit = ChatKit(store="sqlite://")
    kit.assistant()(lambda message, _chat: f"You said {message.text}")

    @kit.user_loader
    def nobody() -> None:
        assert current_app.test_client().get("/chatkit/config").status_code == 200

    ann = visit(browse(make_app(kit, CHATKIT_WORKFLOW_ID=None)))
    assert ann.texts(ann.create("hello"), "assistant_message") == ["You said hello"]
