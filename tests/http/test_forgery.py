"""Why the kit's calls need no CSRF token, and what a check of the site's own comes to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, abort, jsonify, request, session
from flask_wtf.csrf import CSRFError, CSRFProtect, generate_csrf
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from flask_chatkit import ChatKit
from flask_chatkit.http.rules import RULES
from tests.helpers.served import said
from tests.helpers.sites import Browser, MakeApp, told

LINE = "csrf.exempt(chatkit)"
SITE, EVIL = "https://shop.test", "https://evil.test"
#: How a browser says that a page of another site calls: with forms, scripts and sandboxed frames.
FOREIGN: dict[str, dict[str, str]] = {
    "form": {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    "script": {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "sandboxed frame": {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    "sibling": {"Origin": "https://blog.shop.test", "Sec-Fetch-Site": "same-site"},
    "older browser": {"Origin": EVIL},
    "older browser, sandboxed": {"Origin": "null"},
}
BODIES: dict[str, dict[str, Any]] = {
    "json": {"json": {"type": "threads.list", "params": {}}},
    "empty": {"data": b""},
    "text": {"data": "{}", "content_type": "text/plain"},
    "form": {"data": {"a": "b"}},
    "file": {"data": {"file": (__file__, "a.txt")}, "content_type": "multipart/form-data"},
}
#: The rules that take a POST.
POSTED = [rule.replace("<session_id>", "x") for rule, _, methods in RULES if "POST" in methods]


@pytest.fixture
def kit() -> ChatKit:
    """A kit with a served chat that takes files, for visitors who may be signed in."""
    made = ChatKit()

    @made.assistant(attachments=True)
    def answer(message: Any, _chat: Any) -> str:
        return f"You said {message.text}"

    made.user_loader(lambda: session.get("user"))
    return made


@pytest.fixture
def shop(kit: ChatKit, make_app: MakeApp, tmp_path: Any) -> Flask:
    """A site with that kit, whose visitors sign in at /in."""
    app = make_app(
        kit,
        CHATKIT_WORKFLOW_ID=None,
        CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/x.sqlite3",
        CHATKIT_UPLOAD_FOLDER=str(tmp_path / "files"),
    )
    app.add_url_rule("/in", "in", lambda: session.update(user="ann") or "in")
    app.add_url_rule("/token", "token", generate_csrf)
    return app


def body_of(name: str) -> dict[str, Any]:
    given = dict(BODIES[name])
    if name == "file":
        given["data"] = {"file": (open(__file__, "rb"), "a.txt")}  # noqa: SIM115, PTH123  closed by the client
    return given


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("page", FOREIGN)
@pytest.mark.parametrize("rule", POSTED)
def test_no_page_of_another_site_can_call(shop: Flask, rule: str, page: str, body: str) -> None:
    """Each POST is refused to pages of other sites, signed in or not, whatever they send."""
    client = shop.test_client()
    client.get("/in", base_url=SITE)
    answer = client.post(f"/chatkit{rule}", base_url=SITE, headers=FOREIGN[page], **body_of(body))
    assert answer.status_code == 403
    assert answer.json["error"]["code"] == "forbidden_origin"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_calls_are_json(shop: Flask, kind: str | None) -> None:
    """What a form can send is no call, not even of the site's own page."""
    answer = shop.test_client().post("/chatkit/api", data="{}", content_type=kind)
    assert answer.status_code in {400, 401}
    assert b"thread" not in answer.data


# --- a check of the site's own --------------------------------------------------------------------


class Past(TimestampSigner):
    """Signs as of two hours ago."""

    def get_timestamp(self) -> int:
        """Return the time that is signed."""
        return super().get_timestamp() - 7200


def expired(app: Flask, browser: Browser) -> dict[str, str]:
    """The header of a page that has been open for two hours."""

    def old() -> Any:
        generate_csrf()
        by = URLSafeTimedSerializer(app.secret_key or "", salt="wtf-csrf-token", signer=Past)
        return by.dumps(session["csrf_token"])

    app.view_functions["token"] = old
    return {"X-CSRFToken": browser.get("/token").text}


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings that have the line."""
    return [one.getMessage() for one in caplog.records if LINE in one.getMessage()]


def test_expired_token_is_logged_with_the_line(
    shop: Flask, browse: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An expired token is refused with words for the widget, and logged once, with the cure."""
    CSRFProtect(shop)
    browser = browse(shop)
    headers = expired(shop, browser)
    for _ in range(3):
        answer = browser.post("/chatkit/secret", json={}, headers=headers)
        assert "expired" in told(answer, 400, "bad_request")["message"]
        assert answer.headers["X-ChatKit-Reason"] == "csrf"
    (line,) = lines(caplog)
    assert "'chatkit'" in line
    assert [one.levelno for one in caplog.records if LINE in one.getMessage()] == [logging.WARNING]


@pytest.mark.parametrize("nested", [False, True])
def test_line_lets_all_calls_through(
    make_app: MakeApp, kit: ChatKit, shop: Flask, browse: Any, caplog: Any, nested: bool
) -> None:
    """With the line the kit's calls need no token, nor is one that has expired in the way."""
    protect = CSRFProtect(shop)
    prefix = "/chatkit"
    if nested:
        from flask import Blueprint

        area = Blueprint("area", __name__, url_prefix="/area")
        kit = ChatKit("inner")

        @kit.assistant()
        def answer(message: Any, _chat: Any) -> str:
            return f"You said {message.text}"

        area.register_blueprint(kit)
        shop.register_blueprint(area)
        prefix = "/area/chatkit"
    protect.exempt(kit)
    browser = browse(shop)
    headers = expired(shop, browser)
    minted = browser.post(f"{prefix}/secret", json={}, headers=headers)
    assert minted.status_code == 200, minted.text
    call = {"type": "threads.create", "params": {"input": said("hello")}}
    assert "You said hello" in browser.post(f"{prefix}/api", json=call, headers=headers).text
    if not nested:
        sent = browser.post("/chatkit/attachments", files={"file": b"x"}, headers=headers)
        assert sent.status_code == 200, sent.text
    assert lines(caplog) == []


def test_page_that_embeds_is_refused_without_the_line(
    make_app: MakeApp, browse: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A trusted page of another origin may read why it was refused, and the log has the line."""
    app = make_app(CHATKIT_TRUSTED_ORIGINS=[EVIL])
    protect = CSRFProtect(app)
    headers = {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "X-ChatKit-Visitor": ""}
    browser = browse(app)
    answer = browser.post("/chatkit/secret", json={}, headers=headers)
    told(answer, 400, "bad_request")
    assert answer.headers["X-ChatKit-Reason"] == "csrf"
    assert "X-ChatKit-Reason" in answer.headers["Access-Control-Expose-Headers"]
    assert len(lines(caplog)) == 1
    protect.exempt(app.blueprints["chatkit"])
    assert browser.post("/chatkit/secret", json={}, headers=headers).status_code == 200


def by_abort() -> None:
    """As simple checks do; Flask-SeaSurf aborts with 403."""
    abort(400)


def check_csrf() -> None:
    """A check that nothing but its name gives away."""
    abort(403)


def by_words() -> None:
    """A check that says what it misses."""
    abort(403, "XSRF cookie missing")


def by_json() -> Any:
    """A check that answers by itself."""
    return jsonify(error="CSRF token missing"), 400


def by_error() -> None:
    """A check of an extension."""
    raise CSRFError("The referrer header is missing.")


@pytest.mark.parametrize(
    ("hook", "is_csrf"),
    [(by_abort, False), (check_csrf, True), (by_words, True), (by_json, True), (by_error, True)],
)
def test_checks_of_all_kinds_are_recognised(
    make_app: MakeApp,
    browse: Any,
    caplog: pytest.LogCaptureFixture,
    hook: Callable[[], Any],
    is_csrf: bool,
) -> None:
    """A CSRF check is known by its error, its words or its name; another refusal is none."""
    app = make_app()
    app.before_request(lambda: hook() if request.method == "POST" else None)
    answer = browse(app).post("/chatkit/secret")
    assert answer.status_code in {400, 403}
    assert answer.headers.get("X-ChatKit-Reason") == ("csrf" if is_csrf else None)
    assert len(lines(caplog)) == is_csrf
