"""The chat on pages of another origin, in Chromium: one tag, no cookies, readable refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import render_template_string, session
from werkzeug.wrappers import Request, Response

from flask_chatkit import ChatKit
from flask_chatkit.config import Settings
from flask_chatkit.identity.token import VisitorToken
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers import pages as chats
from tests.helpers.pages import usable as ready
from tests.helpers.served import PNG
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Locator, Page

#: Milliseconds.
PATIENCE = 6_000
HEAD = "<!doctype html><html lang=en><meta charset=utf-8><title>A blog</title>"


class Blog:
    """A site of somebody else, on another origin, and the shop whose chat it embeds.

    :param pages: path → the page's body; ``{shop}`` is the shop's chat.
    """

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.policy = ""
        self.app: Any = None
        self.base = ""
        self.shop = ""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer with a page."""
        path = Request(environ).path
        body = self.pages.get(path)
        if body is None:
            return Response("Nothing", 404)(environ, start_response)
        response = Response(body.replace("{shop}", f"{self.shop}/chatkit"), mimetype="text/html")
        if self.policy:
            cdn = self.policy.replace("{shop}", self.shop)
            response.headers["Content-Security-Policy"] = cdn
        return response(environ, start_response)

    @property
    def kit(self) -> str:
        """Where the shop's kit is."""
        return f"{self.shop}/chatkit/"


@pytest.fixture
def blog(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Callable[..., Blog]:
    """Serve a shop, and a blog on another site that the shop trusts, with pages given by path."""

    def start(
        pages: dict[str, str] | str,
        kit: ChatKit | None = None,
        *,
        trusted: bool = True,
        own: dict[str, str] | None = None,
        **config: Any,
    ) -> Blog:
        made = Blog()
        made.pages = {"/": pages} if isinstance(pages, str) else pages
        made.base = serve(made).replace("127.0.0.1", "localhost")
        script = openai_standin.script_url
        trust = {"CHATKIT_TRUSTED_ORIGINS": [made.base]} if trusted else {}
        app = make_app(kit or ChatKit(), CHATKIT_SCRIPT_URL=script, **trust, **config)
        for path, body in (own or {}).items():
            app.add_url_rule(path, path, lambda body=body: render_template_string(body))
        made.app = app
        made.shop = serve(app)
        return made

    return start


def tag(more: str = "", chat: str = "") -> str:
    return f'<script src="{{shop}}{chat}/embed.js" {more}></script>'


def launcher(page: Page, root: str = "[data-chatkit]") -> Locator:
    return page.locator(f"{root} > .chatkit-launcher")


def open_chat(page: Page, root: str = "[data-chatkit]") -> FrameLocator:
    launcher(page, root).click()
    return ready(page, root)


def say(page: Page, text: str) -> None:
    """Open the chat, write a message, and wait for the answer to it."""
    open_chat(page)
    chats.say(page, text)


def users(openai: OpenAIStandIn) -> list[str]:
    return [one.body["user"] for one in openai.requests if one.body and "user" in one.body]


def complaint(page: Page, console: Any) -> str:
    """The one line that the script writes to the console; nothing is thrown."""
    for _ in range(PATIENCE // 50):
        ours = [line for line in console.errors if line.startswith("flask_chatkit:")]
        if ours:
            break
        page.wait_for_timeout(50)
    assert len(ours) == 1, console.all
    assert console.uncaught == []
    assert page.locator("[data-chatkit]").count() == 0
    return ours[0]


def test_one_tag_is_enough(
    page: Page, blog: Any, openai_standin: OpenAIStandIn, console: Any
) -> None:
    """A page of another origin shows the launcher, and nothing else happens before a click."""
    site = blog(HEAD + "<body><p>Text" + tag('data-label="Ask us" data-side="left" defer'))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.base, wait_until="networkidle")
    button = launcher(page)
    assert button.get_attribute("aria-label") == "Ask us"
    box = button.bounding_box()
    assert box["x"] < 100
    assert box["width"] >= 44
    assert page.locator("[data-chatkit]").get_attribute("data-state") == "idle"
    ours = sorted(urlsplit(url).path for url in asked if url.startswith(site.shop))
    names = [re.sub(r"\.[0-9a-f]{12}\.", ".", path.rpartition("/")[2]) for path in ours]
    assert sorted(names) == ["chatkit.css", "embed.js", "embed.json", "loader.js"]
    assert all(url.startswith((site.shop, site.base)) for url in asked)
    assert openai_standin.requests == []
    assert page.context.cookies() == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert console.all == []


def test_visitor_is_remembered_without_cookies(
    page: Page, blog: Any, openai_standin: OpenAIStandIn, console: Any
) -> None:
    """The visitor chats, and is the same on the next page and in the next tab, by token alone."""
    text = HEAD + "<body>" + tag("defer")
    site = blog({"/": text, "/next": text})
    page.goto(site.base)
    launcher(page).wait_for()
    say(page, "hello")
    assert page.context.cookies() == []
    token = page.evaluate("Object.values(localStorage)[0]")
    assert re.fullmatch(r"[\w-]{22}\.[\w-]{1,12}\.[\w-]{64}", token)
    other = page.context.new_page()
    other.goto(f"{site.base}/next")
    launcher(other).wait_for()
    open_chat(other)
    assert len(users(openai_standin)) == 2
    assert len(set(users(openai_standin))) == 1
    assert page.context.cookies() == []
    assert console.all == []


PLACES = {
    "plain, in the head": (HEAD + tag() + "<body><main><p>Text</main>", "BODY", -1),
    "deferred, in the head": (HEAD + tag("defer") + "<body><main><p>Text</main>", "BODY", -1),
    "at any time, in the head": (HEAD + tag("async") + "<body><main><p>Text</main>", "BODY", -1),
    "plain, in the body": (HEAD + f"<body><main>{tag()}<p>Text</main>", "MAIN", 0),
    "deferred, in the body": (HEAD + f"<body><main>{tag('defer')}<p>Text</main>", "MAIN", 0),
    "at any time, in the body": (HEAD + f"<body><main>{tag('async')}<p>Text</main>", "MAIN", 0),
}


@pytest.mark.parametrize(("text", "parent", "index"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("variant", ["floating", "inline", "themed"])
def test_widget_stands_where_the_tag_does(
    page: Page, blog: Any, console: Any, text: str, parent: str, index: int, variant: str
) -> None:
    """In the body the widget stands before its tag, else at the body's end, however it loads."""
    text = text.replace("embed.js", f'embed.js" data-variant="{variant}')
    page.goto(blog(text).base)
    root = page.locator(f".chatkit-{variant}[data-state]")
    root.wait_for(state="attached")
    place = "(root) => [root.parentNode.nodeName, [...root.parentNode.children].indexOf(root)]"
    found = root.evaluate(place)
    last = root.evaluate("(root) => root.parentNode.children.length - 1")
    assert found == [parent, last if index < 0 else index]
    assert console.all == []


def test_widget_stands_in_its_target(page: Page, blog: Any, console: Any) -> None:
    """An inline chat goes where data-target says, also where that comes later in the page."""
    body = tag('data-variant="inline" data-target="#here" data-height="400"')
    page.goto(blog(HEAD + body + "<body><p>Text<div id=here><h2>Chat</h2></div><p>End").base)
    root = page.locator("#here > h2 + .chatkit-inline")
    root.wait_for()
    ready(page, "#here > .chatkit-inline")
    assert 390 <= root.bounding_box()["height"] <= 420
    assert console.all == []


def test_several_chats_share_a_page(page: Page, blog: Any, console: Any) -> None:
    """Each tag is a chat of its own; the stylesheet and the loader are there once."""
    kit = ChatKit()
    for name in ("default", "sales", "support"):
        kit.add_hosted(name, "wf_standin")
    body = tag("async") + tag('data-variant="inline"', "/sales") + tag()
    body += tag('data-side="left" defer', "/support")
    page.goto(blog(HEAD + "<body>" + body, kit).base)
    for name in ("floating", "sales-inline", "support-floating"):
        page.locator(f"#chatkit-{name}[data-state]").wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    # The same chat twice is one.
    assert page.locator("[data-chatkit]").count() == 3
    assert page.locator("link[rel=stylesheet][href*='/chatkit.']").count() == 1
    assert page.locator("script[data-kit]").count() == 1
    open_chat(page, "#chatkit-support-floating")
    ready(page, "#chatkit-sales-inline")
    assert console.all == []


def test_tag_may_come_later(page: Page, blog: Any, console: Any) -> None:
    """A tag that a script of the page adds, and takes away, at any time starts a chat."""
    kit = ChatKit()
    for name in ("default", "sales"):
        kit.add_hosted(name, "wf_standin")
    site = blog(HEAD + "<body><main></main>", kit)
    page.goto(site.base, wait_until="networkidle")
    add = """([src, chat]) => new Promise((done) => {
      const script = document.createElement("script");
      script.src = src;
      script.dataset.variant = "inline";
      script.onload = () => { if (chat) script.remove(); done(); };
      document.querySelector("main").append(script);
    })"""
    page.evaluate(add, [f"{site.kit}embed.js", ""])
    ready(page, "main > #chatkit-inline")
    page.evaluate(add, [f"{site.kit}sales/embed.js", "sales"])
    ready(page, "body > #chatkit-sales-inline")
    assert page.locator("script[data-kit]").count() == 1
    assert console.all == []


def test_attributes_are_options(page: Page, blog: Any, console: Any) -> None:
    """Attributes become options of their kinds; data-options comes first, and is exact."""
    attributes = {
        "greeting": "Hi",
        "frame-title": "7 days",
        "base-size": "16",
        "z-index": "-1.5",
        "initial-thread": "007",
        "header": "false",
        "history": "true",
        "prompts": '["Where is it?", {"label": "L", "prompt": "P"}]',
        "composer": '{"placeholder": "Type"}',
        "title": "[Hi] there",
        "placeholder": "{",
        "text": "",
        "disclaimer": "true story",
        "locale": "1e3",
        "size": "1.2.3",
        "options": '{"label": "2024", "greeting": "no", "api": null}',
    }
    given = " ".join(f"data-{name}='{value}'" for name, value in attributes.items())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(blog(HEAD + "<body>" + tag(given)).base, wait_until="networkidle")
    (url,) = {url for url in asked if "embed.json" in url}
    query = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items()}
    assert query["variant"] == "floating"
    assert json.loads(query["options"]) == {
        "label": "2024",
        "api": None,
        "greeting": "Hi",
        "frame_title": "7 days",
        "base_size": 16,
        "z_index": -1.5,
        "initial_thread": "007",
        "header": False,
        "history": True,
        "prompts": ["Where is it?", {"label": "L", "prompt": "P"}],
        "composer": {"placeholder": "Type"},
        "title": "[Hi] there",
        "placeholder": "{",
        "text": "",
        "disclaimer": "true story",
        "locale": "1e3",
        "size": "1.2.3",
    }
    # As for the macros, what is no option is told.
    complaint(page, console)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ('data-side="middle"', "side"),
        ('data-labell="Chat"', "labell"),
        ('data-variant="huge"', "floating, inline, themed"),
        ('data-kit="staff"', "'kit'"),
        ('data-prompts="[1"', "prompts"),
        ('data-variant="inline" data-target="#nowhere"', "data-target: #nowhere"),
        ('data-variant="inline" data-target="<"', "selector"),
        ('data-options="{"', "JSON"),
        ('data-options="[]"', "JSON object"),
    ],
)
def test_wrong_attribute_is_told(
    page: Page, blog: Any, console: Any, more: str, named: str
) -> None:
    """What is wrong with a tag is one line in the console that names it."""
    page.goto(blog(HEAD + "<body>" + tag(more)).base)
    assert named in complaint(page, console)


def test_origin_that_is_not_trusted_is_told_what_to_do(
    page: Page, blog: Any, console: Any, openai_standin: OpenAIStandIn
) -> None:
    """A refusal names the page's origin, the setting and whose it is."""
    site = blog(HEAD + "<body>" + tag(), trusted=False)
    page.goto(site.base)
    said = complaint(page, console)
    assert site.base in said
    assert site.shop in said
    assert "CHATKIT_TRUSTED_ORIGINS" in said
    assert "not to this page" in said
    assert "reached" not in said
    assert openai_standin.requests == []


@pytest.mark.parametrize("how", ["network", "policy"])
def test_site_that_is_not_there_is_told(page: Page, blog: Any, console: Any, how: str) -> None:
    """A site that can't be reached is told apart from one that refuses."""
    site = blog(HEAD + "<body>" + tag())
    if how == "network":
        page.route("**/embed.json*", lambda route: route.abort())
    else:
        site.policy = "connect-src 'self'"
    page.goto(site.base)
    said = complaint(page, console)
    assert "can't be reached" in said
    assert "connect-src" in said
    assert site.base in said
    assert "CHATKIT_TRUSTED_ORIGINS" in said


def test_failure_of_the_site_is_told(page: Page, blog: Any, console: Any) -> None:
    """What the server says is what the console says."""
    site = blog(HEAD + "<body>" + tag())
    answer = {"status": 500, "headers": {"Access-Control-Allow-Origin": "*"}}
    body = {"message": "This chat is not set up completely."}
    page.route("**/embed.json*", lambda route: route.fulfill(json=body, **answer))
    page.goto(site.base)
    assert "not set up completely" in complaint(page, console)


def test_module_is_a_tag_as_any(page: Page, blog: Any, console: Any) -> None:
    """A tag with type=module starts the chat; test_pages.py has the ways to write one."""
    page.goto(blog(HEAD + "<body>" + tag("type=module") + "<p id=after>After").base)
    say(page, "hello")
    assert page.locator("#after").is_visible()
    assert console.all == []


#: Time stands still for the script's patience, until a test says that it has run out.
PATIENT = """{
  const wait = window.setTimeout;
  window.outOfPatience = [];
  window.setTimeout = (run, ms, ...more) =>
    ms === 3000 ? window.outOfPatience.push(run) : wait(run, ms, ...more);
}"""


@pytest.mark.parametrize("ends", ["it comes", "it fails", "it takes too long"])
def test_nothing_is_shown_without_its_style(page: Page, blog: Any, console: Any, ends: str) -> None:
    """The widget waits until its stylesheet has come, has failed, or takes too long."""
    site = blog(HEAD + "<body>" + tag() + "<p>Text")
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.add_init_script(PATIENT)
    page.route("**/chatkit.*.css", hold)
    page.goto(site.base)
    page.wait_for_function("outOfPatience.length")
    page.wait_for_timeout(300)
    assert len(held) == 1
    assert page.locator("[data-chatkit]").count() == 0
    if ends == "it takes too long":
        page.evaluate("for (const run of outOfPatience) run()")
    elif ends == "it fails":
        held[0].abort()
    else:
        held[0].continue_()
    page.locator("[data-chatkit][data-state]").wait_for(state="attached")
    if ends == "it comes":
        style = "(node) => getComputedStyle(node).position"
        assert launcher(page).evaluate(style) == "fixed"
        assert console.all == []
    assert console.uncaught == []


@pytest.mark.parametrize("nonce", [False, True])
def test_strict_policy_holds(
    page: Page, blog: Any, console: Any, openai_standin: OpenAIStandIn, nonce: bool
) -> None:
    """Under a strict policy of the page's the chat needs the shop and OpenAI, or a nonce."""
    cdn = openai_standin.script_url.partition("/deployments")[0]
    scripts, styles = ("'nonce-abc123'",) * 2 if nonce else (f"{{shop}} {cdn}", "{shop}")
    site = blog(HEAD + "<body>" + tag('nonce="abc123" defer' if nonce else "defer"))
    site.policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; connect-src {{shop}};"
        f" frame-src {cdn}; img-src {{shop}}; base-uri 'none'; form-action 'none'"
    )
    page.goto(site.base)
    launcher(page).wait_for()
    say(page, "hello")
    assert console.violations == []


def test_own_static_pages_go_on_by_cookie(
    page: Page, blog: Any, console: Any, openai_standin: OpenAIStandIn
) -> None:
    """On the shop's own pages, by Flask or not, the same visitor is known by the cookie."""
    static = f"{HEAD}<body>{tag('defer')}".replace("{shop}", "/chatkit")
    site = blog("", own={"/static.html": static}, trusted=False)
    page.goto(f"{site.shop}/static.html")
    launcher(page).wait_for()
    say(page, "hello")
    assert [cookie["name"] for cookie in page.context.cookies()] == ["chatkit_visitor"]
    assert page.evaluate("Object.keys(localStorage).filter((key) => /visitor/.test(key))") == []
    page.evaluate("sessionStorage.clear()")
    page.goto(f"{site.shop}/chatkit/")
    ready(page)
    assert len(users(openai_standin)) == 2
    assert len(set(users(openai_standin))) == 1
    assert console.all == []


def test_page_that_has_the_assets_already(page: Page, blog: Any, console: Any) -> None:
    """Next to a widget that Flask rendered, a tag adds its own, and one of the same is left out."""
    kit = ChatKit()
    for name in ("default", "sales"):
        kit.add_hosted(name, "wf_standin")
    text = (
        HEAD + "<body>{% from 'chatkit/macros.html' import chatkit_floating %}"
        "{{ chatkit_floating() }}<main>"
        + tag('data-variant="inline" async', "/sales").replace("{shop}", "/chatkit")
    )
    site = blog("", kit, own={"/both": text}, trusted=False)
    page.goto(f"{site.shop}/both")
    ready(page, "main > #chatkit-sales-inline")
    open_chat(page, ".chatkit-floating")
    assert page.locator("[data-chatkit]").count() == 2
    assert console.all == []


def test_served_chat_goes_on_in_the_builtin_one(
    page: Page, blog: Any, console: Any, tmp_path: Path
) -> None:
    """Without OpenAI a served chat works elsewhere too, with pictures, and comes back by token."""
    kit = ChatKit()

    @kit.assistant(attachments=True)
    def answer(message: Any, chat: Any) -> Any:
        yield f"You wrote “{message.text}”, with {len(message.attachments)} files"

    config = {
        "CHATKIT_WORKFLOW_ID": None,
        "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
        "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "files"),
    }
    site = blog(HEAD + "<body>" + tag('data-variant="inline" defer'), kit, **config)
    # The visitor is known at the shop too, as somebody else.
    page.goto(f"{site.shop}/chatkit/config")
    at_shop = page.request.post(f"{site.shop}/chatkit/secret", data={})
    assert at_shop.ok
    page.route("**/deployments/**", lambda route: route.abort())
    page.goto(site.base)
    chat = page.locator("flask-chatkit-chat")
    said = chat.get_by_role("log").get_by_text("You wrote “hello”, with 1 files")
    chat.get_by_role("textbox").wait_for()
    file = {"name": "dot.png", "mimeType": "image/png", "buffer": PNG}
    with page.expect_response("**/attachments"):
        chat.locator("input[type=file]").set_input_files(file)
    chat.get_by_text("Uploading").wait_for(state="detached")
    chat.get_by_role("textbox").fill("hello")
    chat.get_by_role("textbox").press("Enter")
    said.wait_for()
    picture = chat.get_by_role("log").locator("img").first
    picture.wait_for()
    assert picture.evaluate("(node) => node.decode().then(() => node.naturalWidth)") == 1
    page.reload()
    said.wait_for()
    # What the browser itself says of the script that was refused.
    assert [line for line in console.errors if "ERR_FAILED" not in line] == []
    assert console.uncaught == []


def test_token_of_a_new_key_stays_on_the_page(
    page: Page, blog: Any, openai_standin: OpenAIStandIn
) -> None:
    """In a rolling deploy an old process answers, and the page keeps what a new one has given."""
    site = blog(HEAD + "<body>" + tag("defer"))
    new = VisitorToken([b"a key to come"], "chatkit", Settings.from_config({}, {}))
    token, name = new.sign(Visitor.new(), site.base), f"chatkit:visitor:{site.kit}"
    page.goto(site.base)
    page.evaluate("([name, token]) => localStorage.setItem(name, token)", [name, token])
    page.reload()
    launcher(page).wait_for()
    say(page, "hello")
    assert len(users(openai_standin)) == 1
    assert page.evaluate("(name) => localStorage.getItem(name)", name) == token


# --- the shop's own logins ------------------------------------------------------------------------

#: Asks the shop with all cookies, as a page's own script may; what came of it.
ASK = """async ([url, headers, body]) => {
  const answer = await fetch(url, {
    method: "POST",
    credentials: "include",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return [answer.status, await answer.json()];
}"""
LIST = {"type": "threads.list", "params": {"limit": 20, "order": "desc"}}


@pytest.fixture
def club(blog: Any, tmp_path: Path) -> Callable[..., Blog]:
    """Serve a shop with logins, and a blog on a sibling host: browsers send it Lax cookies, too."""

    def start(text: str = "", **config: Any) -> Blog:
        kit = ChatKit()

        @kit.assistant()
        def answer(message: Any, chat: Any) -> Any:
            yield f"You are {chat.visitor.user_id or 'nobody'}"

        kit.user_loader(lambda: session.get("user"))

        @kit.route("/in", methods=["GET"])
        def sign_in() -> str:
            session["user"] = "ann"
            return "Welcome"

        database = f"sqlite:///{tmp_path}/history.sqlite3"
        where = {"CHATKIT_WORKFLOW_ID": None, "CHATKIT_DATABASE_URI": database}
        made: Blog = blog(HEAD + "<body>" + text, kit, **where, **config)
        made.shop = made.shop.replace("127.0.0.1", "localhost")
        return made

    return start


def sign_in(page: Page, site: Blog) -> None:
    """Sign in at the shop, and say something there."""
    page.goto(f"{site.kit}in")
    minted = page.evaluate(ASK, [f"{site.kit}secret", {}, {}])[1]
    headers = {"Authorization": f"Bearer {minted['client_secret']}"}
    content = [{"type": "input_text", "text": "a secret"}]
    message = {"content": content, "attachments": [], "inference_options": {}}
    body = {"type": "threads.create", "params": {"input": message}}
    sent = page.request.post(f"{site.kit}api", data=body, headers=headers)
    assert "You are ann" in sent.text()
    assert len(page.evaluate(ASK, [f"{site.kit}api", headers, LIST])[1]["data"]) == 1


@pytest.mark.parametrize("headers", [{}, {"X-ChatKit-Visitor": ""}], ids=["plain", "as embed.js"])
def test_trusted_page_with_cookies_is_not_the_login(
    page: Page, club: Any, headers: dict[str, str]
) -> None:
    """A trusted page that sends the shop's cookies is somebody new, and reads nothing of theirs."""
    site = club()
    sign_in(page, site)
    before = page.context.cookies()
    page.goto(site.base)
    assert page.evaluate(ASK, [f"{site.kit}api", headers, LIST])[0] == 401
    status, minted = page.evaluate(ASK, [f"{site.kit}secret", headers, {}])
    assert status == 200
    assert minted["visitor"]
    headers = {**headers, "Authorization": f"Bearer {minted['client_secret']}"}
    status, listed = page.evaluate(ASK, [f"{site.kit}api", headers, LIST])
    assert (status, listed["data"]) == (200, [])
    assert page.context.cookies() == before


@pytest.mark.parametrize("login", [False, True])
def test_widget_of_a_sibling_host(page: Page, club: Any, console: Any, login: bool) -> None:
    """embed.js on a sibling host chats as the login where the shop says so, and else by token."""
    site = club(tag('data-variant="inline" defer'))
    if login:
        kit = site.app.extensions["chatkit"]["chatkit"]
        object.__setattr__(kit.settings, "login_origins", frozenset({site.base}))
    sign_in(page, site)
    page.route("**/deployments/**", lambda route: route.abort())
    page.goto(site.base)
    chat = page.locator("flask-chatkit-chat")
    chat.get_by_role("textbox").fill("who am I?")
    chat.get_by_role("textbox").press("Enter")
    chat.get_by_role("log").get_by_text("You are ann" if login else "You are nobody").wait_for()
    kept = page.evaluate("Object.keys(localStorage).filter((key) => /visitor:/.test(key)).length")
    assert kept == (0 if login else 1)
    page.reload()
    chat.get_by_role("log").get_by_text("who am I?").wait_for()
    assert console.uncaught == []


def test_page_in_a_frame_is_the_shops_own(page: Page, club: Any) -> None:
    """The full page in a trusted page's frame chats as the login, and shows that page nothing."""
    site = club('<iframe src="{shop}/" title="Chat" width="400" height="600"></iframe>')
    sign_in(page, site)
    page.route("**/deployments/**", lambda route: route.abort())
    page.goto(site.base)
    chat = page.frame_locator("iframe").locator("flask-chatkit-chat")
    chat.get_by_role("textbox").fill("who am I?")
    chat.get_by_role("textbox").press("Enter")
    chat.get_by_role("log").get_by_text("You are ann").wait_for()
    assert page.evaluate("document.querySelector('iframe').contentDocument") is None
