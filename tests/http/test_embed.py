"""Pages of other origins: the script, the widget rendered for them, and their visitors' token."""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
import requests
from flask import Flask, redirect, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_chatkit import ChatKit
from flask_chatkit.identity.cookie import VisitorCookie
from flask_chatkit.options.element import ELEMENT, SHORTHANDS
from flask_chatkit.options.macros import PRESENTATION
from flask_chatkit.testing import OpenAIStandIn
from flask_chatkit.widget import assets
from tests.helpers.served import PNG, Client, events, kinds, path_of, said
from tests.helpers.sites import Browser, MakeApp, told

SCRIPT, WIDGET = "/chatkit/embed.js", "/chatkit/embed.json"
SECRET = "/chatkit/secret"
#: Two origins that the sites of these tests trust, and one that they do not.
SHOP, BLOG, EVIL = "https://www.example.com", "https://blog.example.org", "https://evil.example"
HEADER = "X-ChatKit-Visitor"
TOKEN = re.compile(r"[\w-]{22}\.[\w-]{1,12}\.[\w-]{64}")


@pytest.fixture
def make_app(make_app: MakeApp) -> MakeApp:
    """Make sites that trust two other origins."""

    def make(kit: ChatKit | None = None, /, **config: Any) -> Flask:
        return make_app(kit, **{"CHATKIT_TRUSTED_ORIGINS": [SHOP, BLOG], **config})

    return make


def ask(browser: Browser, path: str = WIDGET, **more: Any) -> requests.Response:
    """Ask for a widget; ``options`` are the macro's, ``headers`` the request's."""
    query = dict(more.pop("query", {}))
    if "options" in more:
        query["options"] = json.dumps(more.pop("options"))
    return browser.get(path, params=query, **more)


class Page(Browser):
    """A browser on a page of another origin that embeds the chat: no cookies, and a token."""

    def __init__(self, base: str, origin: str = SHOP, visitor: str = "") -> None:
        super().__init__(base)
        self.origin = origin
        self.visitor = visitor

    def request(self, method: str, url: str, **more: Any) -> requests.Response:  # type: ignore[override]
        """Ask as a page's fetch does that leaves the cookies out."""
        own = {"Origin": self.origin, "Sec-Fetch-Site": "cross-site", HEADER: self.visitor}
        headers = {**own, **more.pop("headers", {})}
        if method.upper() == "POST" and not {"json", "data", "files"} & set(more):
            more["json"] = {}
        headers = {name: value for name, value in headers.items() if value is not None}
        return super().request(method, url, **more, headers=headers)

    def mint(self, prefix: str = "/chatkit") -> dict[str, Any]:
        """Mint, and keep the token, as the widget does."""
        body = super().mint(prefix)
        self.visitor = body.get("visitor", self.visitor)
        return body


Start = Callable[..., Page]


@pytest.fixture
def on_page(serve: Any) -> Start:
    """Open pages of other origins that embed the chat of a site."""

    def start(app: Any, origin: str = SHOP, visitor: str = "") -> Page:
        return Page(app if isinstance(app, str) else serve(app), origin, visitor)

    return start


def users(openai: OpenAIStandIn) -> list[str]:
    """Who OpenAI was told to mint for, in order."""
    return [one.body["user"] for one in openai.requests if one.body and "user" in one.body]


# --- the script ---


def test_script_is_the_same_for_everybody(browse: Any, make_app: MakeApp) -> None:
    """The script of each chat is one public file, good for five minutes, for every origin."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")
    base = browse(make_app(kit)).base
    for path in (SCRIPT, "/chatkit/sales/embed.js", f"{SCRIPT}?v=3"):
        for headers in ({}, {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}, {"Cookie": "a=b"}):
            answer = browse(base).get(path, headers=headers)
            assert answer.status_code == 200
            assert answer.content == assets.served("embed.js")
            assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert answer.headers["Cache-Control"] == "public, max-age=300"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert answer.headers["Vary"] == "Accept-Encoding"
            assert "Set-Cookie" not in answer.headers
            assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
def test_script_is_asked_for_again(browse: Any, make_app: MakeApp, accepted: str) -> None:
    """Who has the script is told so after five minutes, by an ETag for each form of it."""
    browser = browse(make_app())
    how = {"Accept-Encoding": accepted}
    tag = browser.get(SCRIPT, headers=how).headers["ETag"]
    same = browser.get(SCRIPT, headers={**how, "If-None-Match": tag})
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["Cache-Control"] == "public, max-age=300"
    other = {"Accept-Encoding": "gzip" if accepted == "identity" else "identity"}
    assert browser.get(SCRIPT, headers={**other, "If-None-Match": tag}).status_code == 200
    assert browser.head(SCRIPT, headers=how).headers["ETag"] == tag


def test_script_is_small(browse: Any, make_app: MakeApp) -> None:
    """A page of another origin pays 1,850 bytes for the script."""
    answer = browse(make_app()).get(SCRIPT, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) <= 1850


def test_script_of_no_chat_is_not_found(
    browse: Any, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """An unknown chat is told by its widget; a kit that is switched off has no script either."""
    site = browse(make_app())
    assert site.get("/chatkit/nobody/embed.js").status_code == 200
    told(site.get("/chatkit/nobody/embed.json"), 404, "not_found")
    told(browse(make_app(CHATKIT_ENABLED=False)).get(SCRIPT), 404, "not_found")
    told(browse(make_app(CHATKIT_ENABLED=False)).get(WIDGET), 404, "not_found")
    nothing = browse(make_app(CHATKIT_WORKFLOW_ID=None))
    told(nothing.get(WIDGET), 500, "misconfigured")
    assert "CHATKIT_WORKFLOW_ID" in caplog.text


def test_script_passes_a_guard_and_the_widget_does_not(browse: Any, make_app: MakeApp) -> None:
    """A login that guards the kit leaves the script public; whom it keeps out gets no widget."""
    kit = ChatKit()
    kit.before_request(lambda: redirect("/login"))
    browser = browse(make_app(kit))
    assert browser.get(SCRIPT).status_code == 200
    headers = {"Origin": SHOP, "Sec-Fetch-Site": "cross-site"}
    answer = browser.get(WIDGET, headers=headers)
    told(answer, 401, "unauthenticated")
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP


def test_script_is_read_only(browse: Any, make_app: MakeApp) -> None:
    """Neither the script nor the widget takes anything but a question."""
    browser = browse(make_app())
    assert browser.post(SCRIPT).status_code == 405
    told(browser.post(WIDGET), 405, "method_not_allowed")
    assert browser.head(SCRIPT).status_code == browser.head(WIDGET).status_code == 200


def test_under_a_prefix(browse: Any, make_app: MakeApp) -> None:
    """Below another WSGI application, and under a prefix with a language, addresses are whole."""
    kit = ChatKit(url_prefix="/<lang>/chat")
    kit.url_value_preprocessor(lambda _endpoint, values: values.pop("lang"))
    kit.url_defaults(lambda _endpoint, values: values.setdefault("lang", "de"))
    browser = browse(DispatcherMiddleware(Flask("root"), {"/shop": make_app(kit)}))
    assert browser.get("/shop/de/chat/embed.js").status_code == 200
    body = ask(browser, "/shop/de/chat/embed.json").json()
    base = f"{browser.base}/shop/de/chat/"
    assert body["kit"]["base"] == base
    for url in (body["styles"], body["loader"]):
        assert url.startswith(f"{base}static/")
        answer = browser.get(path_of(url))
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]


# --- the widget that is rendered ---


def config_of(body: dict[str, Any]) -> dict[str, Any]:
    (found,) = re.findall(r"data-chatkit='([^']*)'", body["html"])
    config: dict[str, Any] = json.loads(unescape(found))
    return config


@pytest.mark.parametrize("variant", ["floating", "inline", "themed"])
def test_widget_is_rendered_as_the_macro_does(browse: Any, make_app: MakeApp, variant: str) -> None:
    """The answer has the HTML of the variant with its options, and every address in full."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_secret", widget={"greeting": "Hi"})
    browser = browse(make_app(kit))
    options = {"label": "Ask <us>", "placeholder": "Type…", "id": "mine"}
    answer = ask(browser, "/chatkit/sales/embed.json", query={"variant": variant}, options=options)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"html", "styles", "loader", "kit"}
    assert f'class="chatkit chatkit-{variant}"' in body["html"]
    assert 'id="mine"' in body["html"]
    assert 'aria-label="Ask &lt;us&gt;"' in body["html"]
    assert not re.search(r"<script|<style|\son\w+=|\sstyle=", body["html"])
    config = config_of(body)
    assert config["chat"] == "sales"
    assert config["options"]["startScreen"] == {"greeting": "Hi"}
    assert config["options"]["composer"]["placeholder"] == "Type…"
    urls = [body["styles"], body["loader"], body["kit"]["base"], body["kit"]["widget"]]
    for url in (*urls, config["page"]):
        assert url.startswith(f"{browser.base}/chatkit/")
    assert "wf_secret" not in answer.text
    assert "sk-" not in answer.text


def test_widget_needs_no_query(browse: Any, make_app: MakeApp) -> None:
    """Without a query it is the floating one, as the chat declares it."""
    browser = browse(make_app())
    plain = ask(browser).json()
    assert "chatkit-floating" in plain["html"]
    assert ask(browser, query={"variant": "floating", "options": "{}"}).json() == plain


def test_trusted_origin_may_read_the_widget(browse: Any, make_app: MakeApp) -> None:
    """A listed origin gets the widget with exact CORS headers; the browser keeps it a while."""
    browser = browse(make_app())
    for origin in (SHOP, BLOG):
        answer = ask(browser, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Cache-Control"] == "private, max-age=300"
        assert answer.headers["Vary"] == "Origin"
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}])
def test_own_pages_may_read_the_widget(
    browse: Any, make_app: MakeApp, headers: dict[str, str]
) -> None:
    """Static pages of the site's own may embed too; caches tell them apart from other origins."""
    for config in ({}, {"CHATKIT_TRUSTED_ORIGINS": None}):
        answer = ask(browse(make_app(**config)), headers=headers)
        assert answer.status_code == 200
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
        {"Origin": f"{SHOP}.evil.example"},
        {"Origin": SHOP.replace("https", "http")},
        {"Origin": f"{SHOP}:8443"},
        {"Origin": f"{SHOP}/"},
        {"Origin": SHOP.upper()},
        {"Origin": f"{SHOP} {EVIL}"},
        {"Origin": f"{SHOP}, {SHOP}"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_other_origins_may_not(
    browse: Any, make_app: MakeApp, headers: dict[str, str], method: str
) -> None:
    """403: an origin that is not listed gets no widget and no CORS headers, nor a preflight's."""
    answer = browse(make_app()).request(method, WIDGET, headers={**headers, HEADER: ""})
    if method == "GET":
        told(answer, 403, "forbidden_origin")
    assert not any(name.startswith("Access-Control") for name in answer.headers)
    assert "Origin" in answer.headers["Vary"]


def test_widget_is_nobodys(browse: Any, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering reads no cookie, asks for no login and sets nothing, whatever comes along."""
    kit = ChatKit()
    kit.add_hosted("default", "wf_standin")

    @kit.user_loader
    def who() -> str | None:
        raise AssertionError("nobody may ask who it is")

    app = make_app(kit)
    browser = browse(app)

    def read(*_: Any) -> None:
        raise AssertionError("nobody may read the cookie")

    monkeypatch.setattr(VisitorCookie, "read", read)
    plain = ask(browser)
    browser.cookies.set("chatkit_visitor", "x", domain="127.0.0.1")
    again = ask(browser, headers={"Origin": SHOP})
    assert plain.status_code == again.status_code == 200
    assert plain.json() == again.json()
    assert "Set-Cookie" not in again.headers


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"variant": "huge"}, "floating, inline, themed"),
        ({"variant": ""}, "floating, inline, themed"),
        ({"variant": "Floating"}, "floating, inline, themed"),
        ({"options": ""}, "JSON"),
        ({"options": "{"}, "JSON"),
        ({"options": "{'a': 1}"}, "JSON"),
        ({"options": '{"greeting": NaN}'}, "JSON"),
        ({"options": '{"base_size": 1e999}'}, "JSON"),
        ({"options": '{"greeting": "\\ud800"}'}, "JSON"),
        ({"options": "[]"}, "object"),
        ({"options": "null"}, "object"),
        ({"options": '"label"'}, "object"),
        ({"options": "7"}, "object"),
        ({"options": '{"kit": "staff"}'}, "'kit'"),
        ({"options": '{"nonce": "x"}'}, "'nonce'"),
        ({"options": '{"kit": null}'}, "'kit'"),
        ({"options": '{"labell": "Chat"}'}, "labell"),
        ({"options": '{"label": 7}'}, "label"),
        ({"options": '{"side": "middle"}'}, "side"),
        ({"options": '{"prompts": [[]]}'}, "prompts"),
        ({"options": '{"theme": {"nothing": 1}}'}, "nothing"),
        ({"options": '{"primaryColor": 5}'}, "primaryColor"),
        ({"options": '{"onMessage": 5}'}, "onMessage"),
        ({"variant": "inline", "options": '{"side": "left"}'}, "side"),
        ({"callback": "alert"}, "'callback'"),
        ({"Variant": "inline"}, "'Variant'"),
        ({"chat": "sales"}, "'chat'"),
        ({"user": "ann"}, "'user'"),
        ({"": "x"}, "''"),
        ([("variant", "inline"), ("variant", "inline")], "'variant'"),
        ([("options", "{}"), ("options", "{}")], "'options'"),
    ],
)
def test_wrong_query_is_told(browse: Any, make_app: MakeApp, query: Any, named: str) -> None:
    """400: what is wrong in the query is named, to a trusted origin in a form that it may read."""
    headers = {"Origin": SHOP, "Sec-Fetch-Site": "cross-site"}
    answer = browse(make_app()).get(WIDGET, params=query, headers=headers)
    assert named in told(answer, 400, "bad_request")["message"]
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP


def test_long_query_is_too_large(browse: Any, make_app: MakeApp) -> None:
    """413: a query of more than 4 KiB, as it is sent."""
    browser = browse(make_app())
    start = f"variant=inline&options={quote(json.dumps({'greeting': ''})[:-2])}"
    end = quote('"}')
    room = 4096 - len(start) - len(end)
    assert browser.get(f"{WIDGET}?{start}{'x' * room}{end}").status_code == 200
    told(browser.get(f"{WIDGET}?{start}{'x' * (room + 1)}{end}"), 413, "too_large")


def test_nested_options_end_somewhere(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """400, never 500: options as deep as a query can be, each as a value of many names."""
    client = make_app(RATELIMIT_ENABLED=False).test_client()
    for name in ("theme", "options", "strings", "header", "prompts", "entities", "contact", "x"):
        for left, right in (("[", "]"), ('{"a":', "}")):
            for depth in (5, 50, 200, *range(300, 4000 // len(left + right), 53)):
                value = left * depth + "1" + right * depth
                # As it is: escaped it would not fit.
                answer = client.get(WIDGET, query_string=f'options={{"{name}":{value}}}')
                assert answer.status_code == 400, (name, depth, answer.text)
    assert client.get(WIDGET, query_string="options=" + "[" * 4000).status_code == 400

    def embed(*_: Any) -> Any:
        raise RecursionError

    # What is deep for the renderer need not be for the parser of every Python.
    monkeypatch.setattr("flask_chatkit.http.pages.embed", embed)
    assert "deep" in client.get(WIDGET).json["message"]


def test_chance_options_break_nothing(make_app: MakeApp) -> None:
    """Two thousand options by chance are rendered or refused with a reason, and never break."""
    chance = random.Random(20261121)
    names = sorted({*PRESENTATION["floating"], *PRESENTATION["inline"], *ELEMENT, *SHORTHANDS})
    texts = ["", "auto", "left", "chat", "10px", "#0a7", "https://x.example/a", "true", "de"]
    texts += ["javascript:alert(1)", "'><script>alert(1)</script>", "\u2028", "\x00", "é" * 50]

    def value(depth: int = 0) -> Any:
        kinds = [True, False, None, 0, -1, 7, 10**30, 0.5, *texts]
        if depth < 3 and chance.random() < 0.3:
            return [value(depth + 1) for _ in range(chance.randrange(3))]
        if depth < 3 and chance.random() < 0.3:
            keys = ["text", "delay", "label", "href", "icon", "left_action", "enabled", "x", "<"]
            return {chance.choice(keys): value(depth + 1) for _ in range(chance.randrange(3))}
        return chance.choice(kinds)

    client = make_app(RATELIMIT_ENABLED=False).test_client()
    seen = {200: 0, 400: 0}
    for _ in range(2000):
        options = {chance.choice(names): value() for _ in range(chance.randrange(1, 3))}
        query = {"variant": chance.choice(["floating", "inline", "themed"])}
        answer = client.get(WIDGET, query_string={**query, "options": json.dumps(options)})
        assert answer.status_code in seen, (options, answer.text)
        seen[answer.status_code] += 1
        if answer.status_code == 200:
            html = answer.json["html"]
            assert "<script" not in html, options
            assert not re.search("(href|src)=.javascript:", html), options
    assert min(seen.values()) > 50


# --- the visitor's token ---


def test_first_mint_gives_a_token_and_no_cookie(on_page: Start, make_app: MakeApp) -> None:
    """Who shows an empty token gets one with the secret, uncached, and no cookie."""
    page = on_page(make_app())
    answer = page.post(SECRET)
    assert answer.status_code == 200
    body = answer.json()
    fields = {"client_secret", "expires_at", "expires_in", "session_id", "visitor"}
    assert set(body) == fields
    assert TOKEN.fullmatch(body["visitor"])
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP


def test_visitor_is_known_by_the_token(
    on_page: Start, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """The token keeps the same user upstream, in all chats; another browser is another one."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")
    app = make_app(kit)
    ann = on_page(app)
    bob = on_page(ann.base)
    ann.mint()
    ann.mint("/chatkit/sales")
    bob.mint()
    ann.mint()
    first, sales, other, again = users(openai_standin)
    assert first == sales == again != other
    assert all(re.fullmatch(r"anon:[\w-]{22}", user) for user in (first, other))


def test_token_rolls(
    on_page: Start,
    make_app: MakeApp,
    openai_standin: OpenAIStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each mint and refresh signs the token anew: it ends a while after the last one."""
    page = on_page(make_app(CHATKIT_COOKIE_MAX_AGE=3600))
    now = __import__("time").time()
    clock = [now]
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: clock[0])
    first = page.mint()
    clock[0] += 3500
    second = page.post(f"/chatkit/session/{first['session_id']}/refresh").json()
    assert second["visitor"] != first["visitor"]
    clock[0] += 3500
    page.visitor = second["visitor"]
    page.mint()
    late = on_page(page.base, visitor=first["visitor"])
    late.mint()
    assert late.visitor != first["visitor"]
    one, two, three, four = users(openai_standin)
    assert one == two == three != four


def test_session_is_the_tokens(
    on_page: Start, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """Validate, refresh and cancel are for who shows the token; for others there is nothing."""
    ann = on_page(make_app())
    minted = ann.mint()
    url = f"/chatkit/session/{minted['session_id']}"
    bob = on_page(ann.base)
    bob.mint()
    strangers = [bob, on_page(ann.base), on_page(ann.base, BLOG, ann.visitor), Browser(ann.base)]
    strangers.append(on_page(ann.base, visitor=ann.visitor.swapcase()))
    for stranger in strangers:
        told(stranger.get(f"{url}/validate"), 404, "not_found")
        told(stranger.post(f"{url}/refresh"), 404, "not_found")
        told(stranger.post(f"{url}/cancel"), 404, "not_found")
    assert ann.get(f"{url}/validate").json()["status"] == "active"
    answer = ann.post(f"{url}/refresh")
    assert TOKEN.fullmatch(answer.json()["visitor"])
    assert "Set-Cookie" not in answer.headers
    assert ann.get(f"{url}/validate").json()["status"] == "cancelled"
    url = f"/chatkit/session/{answer.json()['session_id']}"
    assert ann.post(f"{url}/cancel").json() == {"status": "cancelled"}
    assert len(set(users(openai_standin)[:1] + users(openai_standin)[-1:])) == 1


def test_cookie_that_comes_along_is_left_alone(
    browse: Any, on_page: Start, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """Where a token is to tell, a cookie is neither read nor written nor cleared."""
    own = browse(make_app())
    minted = own.mint()
    page = on_page(own.base)
    page.cookies.update(own.cookies)
    for _ in range(2):
        answer = page.post(SECRET)
        assert "Set-Cookie" not in answer.headers
        page.visitor = answer.json()["visitor"]
    url = f"/chatkit/session/{minted['session_id']}/validate"
    told(page.get(url), 404, "not_found")
    page.visitor = "damaged"
    told(page.get(url), 404, "not_found")
    assert own.get(url).json()["status"] == "active"
    own.mint()
    by_cookie, *by_token, again = users(openai_standin)
    assert by_cookie == again
    assert len(set(by_token)) == 1
    assert by_token[0] != by_cookie


def test_without_the_header_the_cookie_says_nothing(
    browse: Any, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """A page of a trusted origin that sends cookies and no token is somebody new, by token."""
    browser = browse(make_app())
    browser.mint()
    headers = {"Origin": SHOP, "Sec-Fetch-Site": "cross-site"}
    answer = browser.post(SECRET, headers=headers)
    assert TOKEN.fullmatch(answer.json()["visitor"])
    assert "Set-Cookie" not in answer.headers
    browser.post(SECRET, headers={**headers, HEADER: answer.json()["visitor"]})
    browser.mint()
    by_cookie, new, same, again = users(openai_standin)
    assert by_cookie == again != new == same


OWN_PAGES = {
    "nothing is told": {},
    "same-origin": {"Sec-Fetch-Site": "same-origin"},
    "by address": {"Sec-Fetch-Site": "none"},
    "own origin": {"Origin": "{base}"},
    "both": {"Origin": "{base}", "Sec-Fetch-Site": "same-origin"},
    "behind a proxy": {"Origin": SHOP, "Sec-Fetch-Site": "same-origin"},
}


@pytest.mark.parametrize("headers", OWN_PAGES.values(), ids=OWN_PAGES)
@pytest.mark.parametrize("lists_itself", [False, True])
def test_token_says_nothing_on_own_pages(
    browse: Any,
    on_page: Start,
    serve: Any,
    make_app: MakeApp,
    openai_standin: OpenAIStandIn,
    headers: dict[str, str],
    lists_itself: bool,
) -> None:
    """On the site's own pages nobody is made somebody else by a token: the cookie decides."""
    app = make_app()
    base = serve(app)
    if lists_itself:
        kit = app.extensions["chatkit"]["chatkit"]
        origins = kit.settings.trusted_origins | {base}
        object.__setattr__(kit.settings, "trusted_origins", origins)
    thief = on_page(base)
    thief.mint()
    own = browse(base)
    own.mint()
    told_so = {name: value.format(base=base) for name, value in headers.items()}
    for visitor in (thief.visitor, "", "damaged"):
        answer = own.post(SECRET, headers={**told_so, HEADER: visitor})
        assert answer.status_code == 200
        assert "visitor" not in answer.json()
        assert "chatkit_visitor=" in answer.headers["Set-Cookie"]
    stolen, *mine = users(openai_standin)
    assert len(set(mine)) == 1
    assert stolen not in mine


@pytest.mark.parametrize("value", ["", "x", "token"])
def test_token_opens_nothing_to_other_origins(
    on_page: Start, make_app: MakeApp, openai_standin: OpenAIStandIn, value: str
) -> None:
    """403: an origin that is not listed is refused, whatever token it shows."""
    page = on_page(make_app())
    page.mint()
    shown = page.visitor if value == "token" else value
    for origin in (EVIL, "null", f"{SHOP}.evil.example"):
        answer = on_page(page.base, origin, shown).post(SECRET)
        told(answer, 403, "forbidden_origin")
        assert not any(name.startswith("Access-Control") for name in answer.headers)
        assert "Set-Cookie" not in answer.headers
    assert len(users(openai_standin)) == 1


def test_token_is_bound(
    on_page: Start, browse: Any, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """Another origin's, kit's or key's token, a cookie and a session make nobody somebody."""
    kit, staff = ChatKit(), ChatKit("staff", url_prefix="/staff")
    app = make_app(kit)
    app.register_blueprint(staff)
    ann = on_page(app)
    minted = ann.mint()
    own = browse(ann.base)
    own.mint()
    (cookie,) = own.cookies
    other = on_page(make_app(SECRET_KEY="another key of the tests"))
    other.mint()
    on_blog = on_page(ann.base, BLOG)
    on_blog.mint()
    seen = len(users(openai_standin))
    known = set(users(openai_standin))
    for origin, prefix, visitor in (
        (BLOG, "/chatkit", ann.visitor),
        (SHOP, "/chatkit", on_blog.visitor),
        (SHOP, "/staff", ann.visitor),
        (SHOP, "/chatkit", other.visitor),
        (SHOP, "/chatkit", cookie.value),
        (SHOP, "/chatkit", minted["session_id"]),
        (SHOP, "/chatkit", minted["client_secret"]),
        (SHOP, "/chatkit", ann.visitor.split(".")[0]),
    ):
        page = on_page(ann.base, origin, visitor)
        page.mint(prefix)
        assert page.visitor != visitor
    made = users(openai_standin)[seen:]
    assert len(set(made)) == len(made) == 8
    assert not known & set(made)
    ann.mint()
    assert users(openai_standin)[-1] in known


def test_token_is_no_cookie(
    on_page: Start, browse: Any, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """A token in the cookie's place is nobody's on the site's own pages."""
    page = on_page(make_app())
    page.mint()
    own = browse(page.base)
    own.cookies.set("chatkit_visitor", page.visitor, domain="127.0.0.1", path="/chatkit")
    own.mint()
    first, second = users(openai_standin)
    assert first != second


def test_fallback_keys_tokens_hold(
    on_page: Start, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """After a rotation an old key's token is still somebody's, and is signed by the new one."""
    old = on_page(make_app())
    old.mint()
    config = {"SECRET_KEY": "the next key of the tests", "SECRET_KEY_FALLBACKS": ["of the tests"]}
    page = on_page(make_app(**config), visitor=old.visitor)
    page.mint()
    alone = on_page(make_app(SECRET_KEY=config["SECRET_KEY"]), visitor=page.visitor)
    alone.mint()
    assert len(set(users(openai_standin))) == 1


def test_mutated_tokens_are_nobodys(on_page: Start, make_app: MakeApp) -> None:
    """Over HTTP, of two thousand changed tokens none is its visitor's, and none breaks anything."""
    page = on_page(make_app(RATELIMIT_ENABLED=False))
    minted = page.mint()
    url = f"/chatkit/session/{minted['session_id']}/validate"
    genuine = page.visitor
    assert page.get(url).status_code == 200
    chance = random.Random(20261121)
    letters = string.ascii_letters + string.digits + "-_.=+/!%,;:\"'é\xff"
    for _ in range(2000):
        at = chance.randrange(len(genuine))
        letter = chance.choice(letters)
        mutated = chance.choice(
            [
                genuine[:at] + letter + genuine[at + 1 :],
                genuine[:at] + letter + genuine[at:],
                genuine[:at] + genuine[at + 1 :],
                genuine[:at],
                genuine[at:],
                genuine[at:] + genuine[:at],
                genuine[:at] + genuine[at:].swapcase(),
                f"{genuine}, {genuine}",
                genuine * 2,
            ]
        )
        if mutated == genuine:
            continue
        page.visitor = mutated.encode("latin-1").decode("latin-1")
        told(page.get(url), 404, "not_found")


def test_preflight_allows_the_token(on_page: Start, make_app: MakeApp) -> None:
    """A trusted page's preflight for its token passes, without cookies and any guard."""
    app = make_app()
    app.before_request(lambda: redirect("/login"))
    page = on_page(app)
    wanted = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-chatkit-visitor",
        HEADER: None,
    }
    for path in (SECRET, "/chatkit/session/x/refresh", "/chatkit/session/x/validate", WIDGET):
        answer = page.options(path, headers=wanted)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert {"content-type", "x-chatkit-visitor", "authorization"} <= set(allowed)
        page.origin = EVIL
        assert "Access-Control-Allow-Origin" not in page.options(path, headers=wanted).headers
        page.origin = SHOP


@pytest.mark.parametrize("exempt", [False, True])
def test_csrf_protection(
    on_page: Start, make_app: MakeApp, missing: Callable[[str, str], Any], exempt: bool
) -> None:
    """Under CSRFProtect, whose token no other origin has, the kit must be exempt to be embedded."""
    try:
        from flask_wtf.csrf import CSRFProtect
    except ImportError:
        missing("Flask-WTF", "pip install 'flask-chatkit[test]'")
    kit = ChatKit()
    app = make_app(kit)
    protect = CSRFProtect(app)
    if exempt:
        protect.exempt(kit)
    page = on_page(app)
    assert page.get(WIDGET).status_code == 200
    answer = page.post(SECRET)
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    if exempt:
        assert TOKEN.fullmatch(answer.json()["visitor"])
    else:
        assert "CSRF" in told(answer, 400, "bad_request")["message"]


# --- how often ---


def statuses(pages: list[Page], prefix: str = "/chatkit") -> list[int]:
    """Mint on each page, keeping tokens; what came of it."""
    found = []
    for page in pages:
        answer = page.post(f"{prefix}/secret")
        found.append(answer.status_code)
        page.visitor = answer.json().get("visitor", page.visitor)
    return found


def test_token_has_a_visitors_quota(on_page: Start, make_app: MakeApp) -> None:
    """A visitor with a token gets exactly the quota; two of an address have one each."""
    ann = on_page(make_app(CHATKIT_RATELIMIT="3/minute"))
    bob = on_page(ann.base)
    assert statuses([ann, bob]) == [200, 200]
    assert statuses([ann] * 3) == [200, 200, 429]
    assert statuses([bob] * 3) == [200, 200, 429]


@pytest.mark.parametrize("shown", ["", "x", "A" * 22 + ".aaaa." + "A" * 64, "blog"])
def test_dropping_the_token_buys_nothing(on_page: Start, make_app: MakeApp, shown: str) -> None:
    """Who shows none, one made up or another origin's is held to what the address has used up."""
    base = on_page(make_app(CHATKIT_RATELIMIT="3/minute")).base
    if shown == "blog":
        blog = on_page(base, BLOG)
        blog.mint()
        shown = blog.visitor
        assert statuses([on_page(base, SHOP, shown) for _ in range(4)]) == [200, 200, 429, 429]
        return
    assert statuses([on_page(base, SHOP, shown) for _ in range(5)]) == [200, 200, 200, 429, 429]


def test_token_and_cookie_buy_nothing_from_each_other(
    browse: Any, on_page: Start, make_app: MakeApp
) -> None:
    """Whoever goes from pages by token to pages by cookie begins no new quota."""
    page = on_page(make_app(CHATKIT_RATELIMIT="3/minute"))
    assert statuses([page] * 4) == [200, 200, 200, 429]
    own = browse(page.base)
    told(own.post(SECRET), 429, "rate_limited")
    told(on_page(page.base, BLOG).post(SECRET), 429, "rate_limited")
    without = on_page(page.base)
    told(without.post(SECRET, headers={HEADER: None}), 429, "rate_limited")


@pytest.mark.parametrize(
    "config", [{"CHATKIT_RATELIMIT_IP": "3/minute"}, {"CHATKIT_RATELIMIT_GLOBAL": "3/minute"}]
)
def test_address_and_kit_have_their_quotas(
    on_page: Start, make_app: MakeApp, config: dict[str, str]
) -> None:
    """The address's and the kit's quotas hold over all who come by token, known or not."""
    app = make_app(CHATKIT_RATELIMIT="100/minute", **config)
    first = on_page(app)
    others = [on_page(first.base, origin) for origin in (SHOP, BLOG, SHOP)]
    assert statuses([first, first, *others]) == [200, 200, 200, 429, 429]
    refused = first.post(SECRET)
    told(refused, 429, "rate_limited")
    assert refused.headers["Access-Control-Allow-Origin"] == SHOP
    assert refused.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert int(refused.headers["Retry-After"]) >= 1


# --- served chats ---


@pytest.fixture
def served(make_app: MakeApp, tmp_path: Any) -> Callable[..., Flask]:
    """Make sites with a served chat that takes files."""

    def make(kit: ChatKit | None = None, /, **config: Any) -> Flask:
        kit = kit or ChatKit()

        @kit.assistant(attachments=True)
        def answer(message: Any, chat: Any) -> Any:
            yield f"You said {message.text}"

        return make_app(
            kit,
            **{
                "CHATKIT_WORKFLOW_ID": None,
                "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3",
                "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "up"),
                **config,
            },
        )

    return make


def client_on(page: Page, minted: dict[str, Any]) -> Client:
    """Who speaks in a served chat by the secret alone: neither cookie nor token is sent."""
    page.headers.update({"Origin": page.origin, "Sec-Fetch-Site": "cross-site"})
    bare = Browser(page.base)
    bare.headers.update({"Origin": page.origin, "Sec-Fetch-Site": "cross-site"})
    return Client(bare, token=minted["client_secret"])


def test_secret_is_all_that_a_served_chat_needs(
    on_page: Start, served: Callable[..., Flask]
) -> None:
    """By the secret alone a trusted page streams, lists, uploads and shows a picture."""
    page = on_page(served())
    ann = client_on(page, page.mint())
    file = ann.upload()
    assert file.status_code == 200, file.text
    assert file.headers["Access-Control-Allow-Origin"] == SHOP
    stream = ann.post("threads.create", input=said("hello", attachments=[file.json()["id"]]))
    assert stream.headers["Access-Control-Allow-Origin"] == SHOP
    assert kinds(events(stream))[0] == "thread.created"
    (thread,) = ann.threads()
    assert ann.texts(thread["id"]) == ["hello"]
    assert ann.texts(thread["id"], "assistant_message") == ["You said hello"]
    got = ann.browser.get(f"/chatkit/attachments/{file.json()['id']}", headers=ann.bearer)
    assert got.content == PNG
    assert got.headers["Access-Control-Allow-Origin"] == SHOP
    for answer in (file, stream, got):
        assert "Set-Cookie" not in answer.headers


def test_history_is_the_tokens(on_page: Start, served: Callable[..., Flask]) -> None:
    """The next page's mint finds the same threads by the token; other pages' visitors do not."""
    page = on_page(served())
    client_on(page, page.mint()).create("hello")
    assert len(client_on(page, page.mint()).threads()) == 1
    for other in (on_page(page.base), on_page(page.base, BLOG, page.visitor)):
        assert client_on(other, other.mint()).threads() == []


def test_token_beside_the_secret_must_agree(on_page: Start, served: Callable[..., Flask]) -> None:
    """A call with both is refused when they tell of two visitors; a lost token does no harm."""
    page = on_page(served())
    ann = client_on(page, page.mint())
    ann.create("hello")
    bob = on_page(page.base)
    bob.mint()
    body = {"type": "threads.list", "params": {}}
    for visitor, status in ((page.visitor, 200), ("", 200), ("x", 200), (bob.visitor, 401)):
        headers = {**ann.bearer, HEADER: visitor}
        assert page.post("/chatkit/api", json=body, headers=headers).status_code == status
    nobody = page.post("/chatkit/api", json=body, headers={HEADER: ""})
    told(nobody, 401, "unauthenticated")


def test_picture_is_shown_whatever_cookie_comes_along(
    browse: Any, on_page: Start, served: Callable[..., Flask]
) -> None:
    """A picture that a page shows is its visitor's, though the browser is another one at home."""
    page = on_page(served())
    ann = client_on(page, page.mint())
    file = ann.upload().json()
    link = path_of(file["preview_url"])
    own = browse(page.base)
    own.mint()
    part = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    for site in ("cross-site", "same-site"):
        shown = own.get(link, headers={"Sec-Fetch-Site": site, **part})
        assert shown.content == PNG
        assert "Set-Cookie" not in shown.headers
    told(own.get(link, headers={"Sec-Fetch-Site": "same-origin", **part}), 404, "not_found")
    told(own.get(link, headers={"Sec-Fetch-Site": "none"}), 404, "not_found")
    going = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    told(own.get(link, headers=going), 404, "not_found")


def test_messages_by_token_are_limited(on_page: Start, served: Callable[..., Flask]) -> None:
    """New visitors by token share their address's messages, as those by cookie do."""
    base = on_page(served(CHATKIT_MESSAGE_RATELIMIT="2/minute")).base
    streams = []
    for _ in range(3):
        page = on_page(base)
        ann = client_on(page, page.mint())
        streams.append(kinds(events(ann.post("threads.create", input=said("hello"))))[0])
    assert streams == ["thread.created", "thread.created", "error"]


#: How a page of another origin asks, also with cookies, and without the header of the widget.
FOREIGN: dict[str, dict[str, str | None]] = {
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "a sibling host": {"Sec-Fetch-Site": "same-site"},
    "an older browser": {"Sec-Fetch-Site": None},
    "without the header": {HEADER: None},
    "a sibling host, without the header": {"Sec-Fetch-Site": "same-site", HEADER: None},
    "an older browser, without the header": {"Sec-Fetch-Site": None, HEADER: None},
}


class Members:
    """A site with logins, in which both Ann and an anonymous visitor have chatted."""

    def __init__(self, browse: Any, served: Callable[..., Flask], **config: Any) -> None:
        self.asked = 0
        self.user: str | None = None
        kit = ChatKit()
        kit.user_loader(self.load)
        self.own: Browser = browse(served(kit, **config))
        self.own.mint()
        self.user = "ann"
        self.own.cookies.clear()
        self.session = self.own.mint()["session_id"]
        self.bearer = Client(self.own, token=self.own.mint()["client_secret"]).bearer
        self.thread = Client(self.own).create("a secret")
        self.file = Client(self.own).upload().json()
        self.user = None
        self.own.mint()
        Client(self.own).create("by cookie")
        self.user = "ann"
        self.asked = 0

    def load(self) -> str | None:
        """Who is signed in; counts how often that is asked."""
        self.asked += 1
        return self.user

    def page(self, headers: dict[str, str | None], origin: str = SHOP) -> Page:
        """A page of another origin whose calls bring the cookies of the site along."""
        page = Page(self.own.base, origin)
        page.cookies.update(self.own.cookies)
        page.headers.update({name: value for name, value in headers.items() if value})
        ask = page.request

        def request(method: str, url: str, **more: Any) -> requests.Response:
            more["headers"] = {**headers, **more.get("headers", {})}
            return ask(method, url, **more)

        page.request = request  # type: ignore[method-assign]
        return page


LIST = {"type": "threads.list", "params": {}}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_foreign_page_is_not_the_login(
    browse: Any, served: Callable[..., Flask], headers: dict[str, str | None]
) -> None:
    """No call of a trusted page, however it is made, reads or writes as login or cookie."""
    members = Members(browse, served)
    page = members.page(headers)
    for bearer in ({}, members.bearer):
        told(page.post("/chatkit/api", json=LIST, headers=bearer), 401, "unauthenticated")
        files = {"file": ("a.png", PNG, "image/png")}
        told(page.post("/chatkit/attachments", files=files, headers=bearer), 401, "unauthenticated")
        url = f"/chatkit/attachments/{members.file['id']}"
        told(page.get(url, headers=bearer), 401, "unauthenticated")
        told(page.put(url, data=b"x", headers=bearer), 401, "unauthenticated")
    session = f"/chatkit/session/{members.session}"
    told(page.get(f"{session}/validate"), 404, "not_found")
    told(page.post(f"{session}/refresh"), 404, "not_found")
    told(page.post(f"{session}/cancel"), 404, "not_found")
    minted = page.mint()
    token = minted["visitor"]
    assert TOKEN.fullmatch(token)
    assert Client(page, token=minted["client_secret"]).threads() == []
    thread = Client(page, token=minted["client_secret"]).create("of the page")
    for path in ("/chatkit/config", WIDGET, SCRIPT):
        assert "Set-Cookie" not in page.get(path).headers
    assert members.asked == 0
    mine = Client(members.own)
    assert [one["id"] for one in mine.threads()].count(thread) == 0
    assert members.thread in [one["id"] for one in mine.threads()]
    assert members.asked > 0


def test_link_tells_alone_on_a_foreign_page(browse: Any, served: Callable[..., Flask]) -> None:
    """A link to a file, read or written to, is asked for by nobody else than its owner."""
    members = Members(browse, served)
    link = path_of(members.file["preview_url"])
    for site in ("cross-site", "same-site"):
        assert members.own.get(link, headers={"Sec-Fetch-Site": site}).content == PNG
        own = {"Origin": SHOP, "Sec-Fetch-Site": site}
        assert members.own.get(link, headers=own).content == PNG
        written = members.own.put(link, data=b"x", headers=own)
        told(written, 404, "not_found")
    assert members.asked == 0
    members.user = "bob"
    told(members.own.get(link), 404, "not_found")
    assert members.asked == 1


def test_state_variables_are_the_visitors(
    browse: Any, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """A function that takes the visitor tells a workflow nothing of a login to a foreign page."""
    kit = ChatKit()
    kit.user_loader(lambda: request.cookies.get("login"))
    kit.add_hosted(
        "default", "wf_standin", state_variables=lambda visitor: {"who": visitor.user_id or ""}
    )
    browser = browse(make_app(kit))
    browser.cookies.set("login", "ann", domain="127.0.0.1")
    browser.mint()
    browser.post(SECRET, headers={"Origin": SHOP, "Sec-Fetch-Site": "same-site"})
    told = [one.body["workflow"]["state_variables"] for one in openai_standin.requests if one.body]
    assert told == [{"who": "ann"}, {"who": ""}]


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_login_origin_chats_as_the_login(
    browse: Any, served: Callable[..., Flask], headers: dict[str, str | None]
) -> None:
    """A page of an origin that CHATKIT_LOGIN_ORIGINS lists is the login; another trusted is not."""
    members = Members(browse, served, CHATKIT_LOGIN_ORIGINS=[SHOP])
    page = members.page(headers)
    minted = page.mint()
    assert "visitor" not in minted
    client = Client(page, token=minted["client_secret"])
    assert members.thread in [one["id"] for one in client.threads()]
    assert page.get(f"/chatkit/session/{members.session}/validate").json()["status"] == "active"
    assert client.upload().status_code == 200
    answer = page.post(SECRET)
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    other = members.page(headers, BLOG)
    told(other.post("/chatkit/api", json=LIST), 401, "unauthenticated")


def test_login_origin_is_trusted_and_told_so(browse: Any, make_app: MakeApp) -> None:
    """A login origin needs no second listing, may frame the page, and its widget uses cookies."""
    browser = browse(make_app(CHATKIT_TRUSTED_ORIGINS=[BLOG], CHATKIT_LOGIN_ORIGINS=SHOP))
    for origin, login in ((SHOP, True), (BLOG, None)):
        answer = ask(browser, headers={"Origin": origin, "Sec-Fetch-Site": "same-site"})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.json()["kit"].get("login") is login
    assert "login" not in ask(browser).json()["kit"]
    framers = browser.get("/chatkit/").headers["Content-Security-Policy"]
    assert framers == f"frame-ancestors 'self' {BLOG} {SHOP}"
    told(browser.post(SECRET, headers={"Origin": EVIL}), 403, "forbidden_origin")


def test_anonymous_visitor_of_a_login_origin(
    browse: Any, make_app: MakeApp, openai_standin: OpenAIStandIn
) -> None:
    """Without a login, such a page is the cookie's visitor, or the token's if it shows one."""
    browser = browse(make_app(CHATKIT_LOGIN_ORIGINS=[SHOP]))
    browser.mint()
    headers = {"Origin": SHOP, "Sec-Fetch-Site": "same-site"}
    by_cookie = browser.post(SECRET, headers=headers)
    assert "chatkit_visitor=" in by_cookie.headers["Set-Cookie"]
    by_token = browser.post(SECRET, headers={**headers, HEADER: ""})
    assert TOKEN.fullmatch(by_token.json()["visitor"])
    own, same, other = users(openai_standin)
    assert own == same != other


def test_signing_in_on_another_origins_page_hands_nothing_over(
    browse: Any, on_page: Start, served: Callable[..., Flask]
) -> None:
    """A login gets neither the cookie's nor the token's threads where a token is shown."""
    kit = ChatKit()
    who: list[str | None] = [None]
    kit.user_loader(lambda: who[0])
    own = browse(served(kit, CHATKIT_LOGIN_ORIGINS=[BLOG]))
    own.mint()
    Client(own).create("by cookie")
    pages = [on_page(own.base), on_page(own.base, BLOG)]
    for page in pages:
        client_on(page, page.mint()).create("by token")
        page.cookies.update(own.cookies)
    who[0] = "ann"
    for page, texts in zip(pages, (["by token"], []), strict=True):
        answer = page.post(SECRET)
        assert "Set-Cookie" not in answer.headers
        client = Client(page, token=answer.json()["client_secret"])
        found = [client.texts(thread["id"]) for thread in client.threads()]
        assert found == ([texts] if texts else [])
    # On the site's own pages it is as ever: what was said before is the login's.
    answer = own.post(SECRET)
    assert "chatkit_visitor=;" in answer.headers["Set-Cookie"]
    mine = Client(own, token=answer.json()["client_secret"])
    assert [mine.texts(thread["id"]) for thread in mine.threads()] == [["by cookie"]]


def test_log_has_no_token(
    on_page: Start, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """What is refused, limited and minted by token leaves no token in the log."""
    with caplog.at_level("DEBUG"):
        page = on_page(make_app(CHATKIT_RATELIMIT="2/minute"))
        page.mint()
        statuses([page] * 3)
        on_page(page.base, EVIL, page.visitor).post(SECRET)
        on_page(page.base, BLOG, page.visitor).post(SECRET)
    assert "forbidden_origin" in caplog.text
    assert not TOKEN.search(caplog.text)
