"""The code of docs/recipes.md in Chromium, as it is printed, with the libraries that it is for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from flask import Flask, Response, render_template, render_template_string, session
from jinja2 import DictLoader

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.pages import chat, say, wrote
from tests.helpers.pages import usable as ready
from tests.helpers.paths import DOCS
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

RECIPES = (DOCS / "recipes.md").read_text("utf-8")
IMPORT = '{% from "chatkit/macros.html" import chatkit_floating, chatkit_inline, chatkit_themed %}'
DOCUMENT = (
    "<!doctype html><html lang=en><head><meta charset=utf-8><title>Site</title>HEAD</head>"
    "BODY</html>"
)
TYPES = {"css": "text/css", "js": "text/javascript"}
#: The names of OpenAI's script where a site has no way to the internet.
OPENAI = re.compile(r"/chatkit\.js$")


def recipe(heading: str, language: str) -> list[str]:
    """The code of a recipe in a language."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", RECIPES, re.DOTALL | re.MULTILINE)
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert found, f"{heading} has no {language}"
    return found


@dataclass
class Product:
    """What the recipe's card is about."""

    name: str = "Drizzle Jacket"


class Site(Protocol):
    """How the fixture `site` is called."""

    def __call__(
        self, pages: Mapping[str, str] | str, kit: ChatKit | None = None, **more: Any
    ) -> str:
        """Serve pages, path → body, or one; the site's address."""
        ...


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Site:
    """Serve pages; the chats `default`, `sales`, `support` and `returns` are on another site."""

    def start(
        pages: Mapping[str, str] | str,
        kit: ChatKit | None = None,
        *,
        files: Mapping[str, str] | None = None,
        setup: Any = None,
        **config: Any,
    ) -> str:
        script = openai_standin.script_url.replace("127.0.0.1", "localhost")
        if kit is None:
            kit = ChatKit()
            for name in ("sales", "support", "returns"):
                kit.add_hosted(name, "wf_standin")
        app = make_app(kit, **{"CHATKIT_SCRIPT_URL": script, **config})
        for path, body in ({"/": pages} if isinstance(pages, str) else pages).items():
            app.add_url_rule(path, path, lambda body=body: document(body, files or {}))
        for path, text in (files or {}).items():
            answer = lambda text=text, path=path: Response(  # noqa: E731
                text, mimetype=TYPES[path.rpartition(".")[2]]
            )
            app.add_url_rule(path, path, answer)
        if setup is not None:
            setup(app)
        return str(serve(app))

    return start


def document(body: str, files: Mapping[str, str]) -> str:
    """Render a page that has these files, the page's own script after the widget."""
    head = "".join(
        f"<link rel=stylesheet href={path}>"
        if path.endswith("css")
        else f"<script src={path} defer></script>"
        for path in files
        if path != "/page.js"
    )
    script = "<script src=/page.js defer></script>" if "/page.js" in files else ""
    if "<body>" not in body:
        body = f"<body>{body}</body>"
    body = body.replace("</body>", f"{script}</body>")
    html = IMPORT + DOCUMENT.replace("HEAD", head).replace("BODY", body)
    return render_template_string(html, product=Product())


def panel(page: Page, root: str = "[data-chatkit]") -> Locator:
    return page.locator(f"{root} > .chatkit-panel")


def launcher(page: Page, root: str = "[data-chatkit]") -> Locator:
    return page.locator(f"{root} > .chatkit-launcher")


def test_menu_opens_the_chat(page: Page, site: Site, console: Any) -> None:
    """A link and a button open the chat that they name, and so does the address's end."""
    (body,) = recipe("Open from a menu or a link", "jinja")
    base = site({"/": body, "/prices": body})
    page.goto(base)
    link = page.get_by_role("link", name="Chat with us")
    assert link.get_attribute("href") == "/chatkit/"
    link.click()
    ready(page, "#chatkit-1")
    assert page.url == f"{base}/"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Talk to sales").click()
    ready(page, "#chatkit-2")
    assert panel(page, "#chatkit-2").bounding_box()["x"] < 100
    page.goto(f"{base}/prices#chat-sales")
    ready(page, "#chatkit-2")
    assert console.all == []


def test_product_is_asked_about(page: Page, site: Site, console: Any) -> None:
    """A button writes a question, another sends one, and a script sends one in a new thread."""
    heading = "Ask about a product"
    (body,), (script,) = recipe(heading, "jinja"), recipe(heading, "js")
    page.goto(site(f"{body}<button id=compare>Compare</button>", files={"/page.js": script}))
    page.get_by_role("button", name="Which size?").click()
    ready(page)
    field = chat(page).locator("#input")
    assert field.input_value() == "Which size of the Drizzle Jacket should I take?"
    page.get_by_role("button", name="Tell me more").click()
    wrote(page, "Tell me about the Drizzle Jacket.")
    first = page.evaluate("FlaskChatKit.get().state.thread")
    page.locator("#compare").click()
    wrote(page, "Compare the two jackets in my basket.")
    assert page.evaluate("FlaskChatKit.get().state.thread") != first
    assert console.all == []


def test_analytics_hear_events_and_no_texts(page: Page, site: Site, console: Any) -> None:
    """What goes to the data layer names the chat, and holds nothing that was said."""
    (script,) = recipe("Analytics", "js")
    page.goto(site("{{ chatkit_floating() }}", files={"/page.js": script}))
    launcher(page).click()
    ready(page)
    say(page, "my secret")
    page.locator(".chatkit-close").click()
    page.wait_for_function("dataLayer.some(({ event }) => event === 'chat_close')")
    told = page.evaluate("dataLayer")
    assert [each["event"] for each in told] == ["chat_open", "chat_response_end", "chat_close"]
    assert {each["chat"] for each in told} == {"default"}
    assert "secret" not in str(told)
    assert console.all == []


def test_consent_is_waited_for(
    page: Page, site: Site, openai_standin: OpenAIStandIn, console: Any
) -> None:
    """Nothing foreign is asked before a yes, of the page's button or banner; a no takes it away."""
    (body,), (script,) = recipe("Consent", "jinja"), recipe("Consent", "js")
    base = site(f"{body}<button id=withdraw>No</button>", files={"/page.js": script})
    foreign: list[str] = []
    page.on("request", lambda one: None if one.url.startswith(base) else foreign.append(one.url))
    page.goto(base)
    launcher(page).click()
    page.locator("[data-state=consent]").wait_for(state="attached")
    assert foreign == []
    assert openai_standin.requests == []
    assert page.context.cookies() == []
    page.get_by_role("button", name="Allow the chat").click()
    ready(page)
    page.locator("#withdraw").click()
    page.locator("[data-state=consent]").wait_for(state="attached")
    assert page.locator("openai-chatkit").count() == 0
    decide = (
        "given => dispatchEvent(new CustomEvent('banner:decided', {detail: {functional: given}}))"
    )
    page.evaluate(decide, True)
    ready(page)
    page.evaluate(decide, False)
    page.locator("[data-state=consent]").wait_for(state="attached")
    page.get_by_role("button", name="Start the chat").click()
    ready(page)
    page.goto(base)
    ready(page)
    assert console.all == []


def test_turbo_needs_nothing(page: Page, site: Site, node_modules: Path, console: Any) -> None:
    """After a visit there is one launcher, the panel is open, and what a frame brings is found."""
    (layout,), (script,) = recipe("Turbo", "jinja"), recipe("Turbo", "js")
    turbo = (node_modules / "@hotwired/turbo/dist/turbo.es2017-umd.js").read_text("utf-8")
    frame = (
        "<turbo-frame id=part>{{ chatkit_inline('sales', id='brought', height=300) }}</turbo-frame>"
    )
    pages = {
        "/": layout.replace("{% block main %}{% endblock %}", "<a href=/b>To b</a>"),
        "/b": layout.replace(
            "{% block main %}{% endblock %}",
            "<p id=b>b</p><turbo-frame id=part><a href=/part>Bring</a></turbo-frame>",
        ),
        "/part": frame,
    }
    page.goto(site(pages, files={"/turbo.js": turbo, "/page.js": script}))
    page.evaluate("window.same = 'page'")
    launcher(page).click()
    ready(page)
    say(page, "hello")
    page.get_by_role("link", name="To b").click()
    page.locator("#b").wait_for()
    ready(page)
    wrote(page, "hello")
    assert page.locator(".chatkit-launcher").count() == 1
    page.get_by_role("link", name="Bring").click()
    ready(page, "#brought")
    assert page.evaluate("same") == "page"
    assert console.all == []


def test_htmx_swaps_beside_the_chat(
    page: Page, site: Site, node_modules: Path, console: Any
) -> None:
    """A swap of the main part leaves the open chat as it is, in the same frame."""
    (layout,) = recipe("htmx", "jinja")
    htmx = (node_modules / "htmx.org/dist/htmx.js").read_text("utf-8")
    body = layout.replace("{% block main %}{% endblock %}", "<p>{}</p>")
    pages = {"/": body.replace("{}", "Home"), "/delivery": body.replace("{}", "Two days")}
    base = site(pages, files={"/htmx.js": htmx})
    page.goto(base)
    launcher(page).click()
    ready(page)
    say(page, "hello")
    page.get_by_role("link", name="Delivery").click()
    page.get_by_text("Two days").wait_for()
    assert page.url == f"{base}/delivery"
    wrote(page, "hello")
    assert page.evaluate("__chatkitStandin.frameLoads") == 1
    assert console.all == []


def test_alpine_counts_and_toggles(
    page: Page, site: Site, node_modules: Path, missing: Any
) -> None:
    """Alpine's handlers call the methods and hear the events."""
    (body,) = recipe("Alpine", "html")
    library = node_modules / "alpinejs" / "dist" / "cdn.js"
    if not library.is_file():
        missing("alpinejs", "npm install alpinejs")
    files = {"/alpine.js": library.read_text("utf-8")}
    page.goto(site(f"{body}{{{{ chatkit_floating() }}}}", files=files))
    button = page.get_by_role("button", name="Chat").first
    button.click()
    ready(page)
    button.click()
    assert not panel(page).is_visible()
    page.evaluate(
        """async () => {
          await FlaskChatKit.get().send("hello");
          await FlaskChatKit.get().close();
        }"""
    )
    button.get_by_text("1").wait_for()


@pytest.fixture
def app_script(node_modules: Path, tmp_path: Path) -> str:
    """Bundle the recipe's two components into an app that shows both, and hides one."""
    components = recipe("React, Vue and other apps", "jsx")
    (tmp_path / "node_modules").symlink_to(node_modules)
    (tmp_path / "app.jsx").write_text(
        "import { StrictMode, useEffect, useRef, useState } from 'react';"
        "import { createRoot } from 'react-dom/client';"
        + "".join(components)
        + """
        function App() {
          const [shown, setShown] = useState(true);
          return <>
            <Help />
            <button onClick={() => setShown(!shown)}>Switch</button>
            {shown && <Chat />}
          </>;
        }
        createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>);
        """
    )
    flags = ["--bundle", "--jsx=automatic", '--define:process.env.NODE_ENV="development"']
    done = subprocess.run(
        [
            node_modules / ".bin/esbuild",
            "app.jsx",
            "--outfile=app.js",
            "--log-level=warning",
            *flags,
        ],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return (tmp_path / "app.js").read_text()


@pytest.mark.parametrize("beside", [True, False])
def test_react_shows_and_opens_the_chat(
    page: Page, site: Site, app_script: str, console: Any, beside: bool
) -> None:
    """An app opens the page's widget and shows one of its own, again after it was taken away."""
    heading = "React, Vue and other apps"
    (body,), (route,) = recipe(heading, "jinja"), recipe(heading, "python")
    if not beside:
        body = body.replace("{{ chatkit_floating() }}", "")

    def setup(app: Flask) -> None:
        space = {"app": app, "render_template_string": render_template_string}
        exec(compile(route, "recipes.md", "exec"), space)  # noqa: S102

    page.goto(site(body, setup=setup, files={"/page.js": app_script}))
    ready(page, "#help-chat")
    for _ in range(2):
        page.get_by_role("button", name="Switch").click()
    ready(page, "#help-chat")
    if beside:
        page.get_by_role("button", name="Ask us").click()
        ready(page, "#chatkit-1")
    assert page.locator("openai-chatkit").count() == 1 + beside
    assert console.all == []


@pytest.mark.parametrize("trusted", [True, False])
def test_full_page_in_a_frame(page: Page, site: Site, serve: Any, trusted: bool) -> None:
    """The full page chats in a frame of an origin that is trusted, and shows nothing elsewhere."""
    (frame,), (settings,) = recipe("In a frame", "html"), recipe("In a frame", "python")

    pages: dict[str, tuple[str, str]] = {}
    other = serve(pages).replace("127.0.0.1", "localhost")
    settings = settings.replace(
        "https://www.example.com", other if trusted else "https://a.example"
    )
    base = site(
        {},
        setup=None,
        **_told(settings),
    )
    frame = frame.replace("https://shop.example", base)
    pages["/"] = ("text/html", f"<!doctype html><html lang=en><title>Blog</title>{frame}")
    page.goto(other)
    inside = page.frame_locator("iframe[title=Chat]")
    if trusted:
        inside.frame_locator("openai-chatkit iframe").locator("#input").wait_for()
    else:
        page.wait_for_timeout(500)
        assert inside.locator("[data-chatkit]").count() == 0


def _told(settings: str) -> dict[str, Any]:
    """What a recipe puts into the configuration."""
    app = Flask("recipe")
    before = dict(app.config)
    exec(compile(settings, "recipes.md", "exec"), {"app": app})  # noqa: S102
    return {key: value for key, value in app.config.items() if before.get(key) != value}


def test_login_without_a_reload(page: Page, site: Site, tmp_path: Path) -> None:
    """Signing in takes along what was said; after signing out it is off the screen."""
    (script,) = recipe("A login without a reload", "js")
    kit = ChatKit()

    @kit.assistant()
    def answer(message: Any, chat: Any) -> Any:
        yield f"{chat.visitor.user_id or 'Somebody'} wrote {message.text}"

    kit.user_loader(lambda: session.get("user"))

    def setup(app: Flask) -> None:
        @app.post("/login")
        def sign_in() -> str:
            session["user"] = "ann"
            return ""

        @app.post("/logout")
        def sign_out() -> str:
            session.clear()
            return ""

    page.route(OPENAI, lambda route: route.abort())
    body = "<button id=in>In</button><button id=out>Out</button>{{ chatkit_floating() }}"
    more = (
        "document.querySelector('#in').onclick = () => fetch('/login', {method: 'POST'});"
        "document.querySelector('#out').onclick = signOut;"
    )
    database = f"sqlite:///{tmp_path}/history.sqlite3"
    settings = {"CHATKIT_WORKFLOW_ID": None, "CHATKIT_DATABASE_URI": database}
    page.goto(site(body, kit, setup=setup, files={"/page.js": script + more}, **settings))
    launcher(page).click()
    builtin = page.locator("flask-chatkit-chat")

    def write(text: str, who: str) -> None:
        builtin.get_by_role("textbox").fill(text)
        page.keyboard.press("Enter")
        builtin.get_by_role("log").get_by_text(f"{who} wrote {text}").wait_for()

    write("one", "Somebody")
    with page.expect_response("**/login"):
        page.locator("#in").click()
    write("two", "ann")
    assert builtin.get_by_role("log").get_by_text("Somebody wrote one").is_visible()
    page.locator("#out").click()
    builtin.get_by_role("log").get_by_text("ann wrote two").wait_for(state="detached")
    write("three", "Somebody")
    page.locator(".chatkit-tool[aria-expanded]").click()
    builtin.get_by_role("button", name=re.compile("^three")).wait_for()
    assert builtin.get_by_role("button", name=re.compile("^one")).count() == 0


def test_teaser_on_one_page(page: Page, site: Site) -> None:
    """The page that fills the block has a teaser, once; the others have none."""
    layout, child = recipe("A teaser on some pages", "jinja")

    def setup(app: Flask) -> None:
        app.jinja_loader = DictLoader(
            {
                "layout.html": IMPORT + layout,
                "prices.html": child.replace('"delay": 8', '"delay": 0'),
            }
        )
        app.add_url_rule("/home", "home", lambda: render_template("layout.html"))
        app.add_url_rule("/prices", "prices", lambda: render_template("prices.html"))

    base = site({}, setup=setup)
    teaser = page.get_by_role("button", name="Questions about prices?")
    page.goto(f"{base}/home")
    page.wait_for_timeout(300)
    assert teaser.count() == 0
    page.goto(f"{base}/prices")
    teaser.wait_for()
    page.get_by_role("button", name="Dismiss").click()
    page.reload()
    page.wait_for_timeout(300)
    assert teaser.count() == 0


def test_launcher_in_the_bar(page: Page, site: Site, console: Any) -> None:
    """The site's own button opens the panel, tells its state and answers, and gets the focus."""
    heading = "A launcher of your own"
    (body,), (style,), (script,) = (recipe(heading, kind) for kind in ("jinja", "css", "js"))
    page.goto(site(body, files={"/page.css": style, "/page.js": script}))
    button = page.locator("#chat-button")
    assert not launcher(page).is_visible()
    button.click()
    ready(page)
    assert button.get_attribute("aria-expanded") == "true"
    box = panel(page).bounding_box()
    assert 800 - box["y"] - box["height"] < 40
    page.locator(".chatkit-close").click()
    assert button.get_attribute("aria-expanded") == "false"
    assert page.evaluate("document.activeElement.id") == "chat-button"
    page.evaluate("FlaskChatKit.get().send('hi').then(() => FlaskChatKit.get().close())")
    page.locator("#chat-count").get_by_text("1").wait_for()
    button.click()
    assert page.locator("#chat-count").inner_text() == ""
    assert console.all == []


def test_several_chats(page: Page, site: Site, openai_standin: OpenAIStandIn, console: Any) -> None:
    """Three chats on a page have places and sessions of their own."""
    (body,) = recipe("Several chats", "jinja")
    page.goto(site(body))
    left, right = launcher(page, "#chatkit-2"), launcher(page, "#chatkit-1")
    assert left.bounding_box()["x"] < 100 < right.bounding_box()["x"]
    for root in ("#chatkit-1", "#chatkit-2"):
        launcher(page, root).click()
        ready(page, root)
    page.locator("#chatkit-3").scroll_into_view_if_needed()
    ready(page, "#chatkit-3")
    assert len(openai_standin.sessions) == 3
    assert page.evaluate("FlaskChatKit.get('sales').state.open")
    assert page.evaluate("FlaskChatKit.get('chatkit-2').state.open")
    assert console.all == []


@pytest.mark.parametrize("macro", ["chatkit_floating", "chatkit_inline"])
def test_nonce_of_talisman(page: Page, site: Site, console: Any, macro: str) -> None:
    """Under Talisman's policy with nonces the chat works, and nothing violates it."""
    from flask_talisman import Talisman

    (policy,) = recipe("A strict policy with a nonce", "python")

    def setup(app: Flask) -> None:
        cdn = app.config["CHATKIT_SCRIPT_URL"].partition("/deployments")[0]
        space = {
            "app": app,
            "Talisman": lambda app, **more: Talisman(app, force_https=False, **more),
        }
        exec(  # noqa: S102
            compile(policy.replace("https://cdn.platform.openai.com", cdn), "recipes.md", "exec"),
            space,
        )

    page.goto(site("{{ " + macro + "() }}", setup=setup))
    if macro == "chatkit_floating":
        launcher(page).click()
    ready(page)
    say(page, "hello")
    assert console.all == []


def test_static_site_embeds_the_chats(page: Page, site: Site, serve: Any, console: Any) -> None:
    """One tag brings the launcher to another origin, another the chat in the flow of the page."""
    heading = "A static site or another origin"
    (setting,), (floating, inline) = recipe(heading, "python"), recipe(heading, "html")
    pages: dict[str, tuple[str, str]] = {}
    other = serve(pages).replace("127.0.0.1", "localhost")
    base = site({}, **_told(setting.replace("https://www.example.com", other)))
    tags = (floating + inline).replace("https://shop.example", base)
    pages["/"] = ("text/html", f"<!doctype html><html lang=en><title>Blog</title><body>{tags}")
    page.goto(other)
    inside = page.locator("#help .chatkit-inline")
    inside.wait_for()
    chat(page, ".chatkit-inline").get_by_text("How can we help?").wait_for()
    chat(page, ".chatkit-inline").get_by_text("Where is my order?").wait_for()
    assert inside.bounding_box()["height"] == 480
    button = launcher(page, ".chatkit-floating")
    assert button.get_attribute("aria-label") == "Chat with us"
    assert button.bounding_box()["x"] < 100
    button.click()
    ready(page, ".chatkit-floating")
    say(page, "hello", ".chatkit-floating")
    assert page.context.cookies() == []
    assert console.all == []
