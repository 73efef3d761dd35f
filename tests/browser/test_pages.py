"""Pages as they are: what their styles, scripts, proxies and extensions do, the chat is spared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chatkit.server  # noqa: F401 - here, and not while a visitor waits
import pytest
from flask import Flask, Response, render_template_string

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.pages import (
    HEAD,
    IMPORT,
    NONCE,
    STRICT,
    Sites,
    launcher,
    ready,
    say,
    until,
)
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


@pytest.fixture
def served(site: Sites, tmp_path: Path) -> Any:
    """Serve pages whose chat is the built-in one: they have no key of OpenAI's list."""

    def start(pages: dict[str, str] | str, **more: Any) -> str:
        kit = ChatKit()

        @kit.assistant(attachments=True)
        def answer(message: Any, _chat: Any) -> str:
            return message.text if message.text.startswith("#") else f"You wrote “{message.text}”"

        settings = {
            "CHATKIT_WORKFLOW_ID": None,
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
            "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "files"),
        }
        given = {"/": pages} if isinstance(pages, str) else pages
        setup = more.pop("setup", None)

        def without_key(app: Flask) -> None:
            @app.after_request
            def remove(response: Response) -> Response:
                if response.mimetype == "text/html":
                    html = response.get_data(as_text=True)
                    response.set_data(html.replace('"domainKey":', '"noKey":'))
                return response

            if setup:
                setup(app)

        return site(given, kit, **{"policy": None, **settings, **more, "setup": without_key})

    return start


def library(node_modules: Path, name: str) -> str:
    """A script of an npm package."""
    return (node_modules / name).read_text("utf-8")


def builtin(page: Page) -> Locator:
    """The built-in chat."""
    return page.locator("flask-chatkit-chat")


def field(page: Page) -> Locator:
    """Where a message to the built-in chat is written."""
    return builtin(page).get_by_role("textbox", name="Message", exact=True)


def open_builtin(page: Page) -> None:
    """Open the floating chat, until it can be written in."""
    page.evaluate("FlaskChatKit.get().open(), null")
    ready(page)
    field(page).wait_for()


def write(page: Page, text: str) -> None:
    """Send a message by mouse and keyboard, and wait for the answer."""
    field(page).click()
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    answer = builtin(page).get_by_role("log").get_by_text(f"You wrote “{text}”")
    answer.wait_for(timeout=30_000)  # the first one waits for the server's own start


def page_with(head: str, body: str) -> str:
    """A page with something in its head."""
    return f"{HEAD}{head}</head><body>{body}</body></html>"


# --- units ----------------------------------------------------------------------------------------

#: The boxes of a widget's parts, those in the shadow of the built-in chat too.
BOXES = """() => {
  const boxes = [];
  const walk = (node) => {
    const { x, y, width, height } = node.getBoundingClientRect();
    boxes.push([node.localName, node.className.baseVal ?? node.className,
      ...[x, y, width, height].map((value) => Math.round(value * 10) / 10)]);
    for (const child of [...node.children, ...(node.shadowRoot?.children ?? [])]) walk(child);
  };
  for (const root of document.querySelectorAll("[data-chatkit]")) walk(root);
  return boxes;
}"""
ANSWER = (
    "# Title\n\n1. one\n2. two\n\n> quoted\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```js\nlet a;\n```"
)


@pytest.mark.parametrize("root", ["62.5%", "100px", "7px"])
def test_font_size_of_the_root_changes_nothing(page: Page, served: Any, root: str) -> None:
    """Launcher, panel, teaser, built-in chat and inline chat are as large on every page."""
    body = (
        "{{ chatkit_floating(teaser={'text': 'May we help?', 'delay': 0}) }}"
        "<main>{{ chatkit_inline(load='click', prompts=['Where is my order?']) }}</main>"
    )
    base = served(body)
    seen = []
    for size in ("16px", root):
        page.goto(base)
        page.evaluate("localStorage.clear(), sessionStorage.clear()")
        page.reload()
        page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", size)
        page.locator(".chatkit-teaser").wait_for()
        page.locator(".chatkit-actions button").wait_for()
        boxes = page.evaluate(BOXES)
        open_builtin(page)
        field(page).fill("x")
        page.evaluate("(text) => FlaskChatKit.get().send(text)", ANSWER)
        builtin(page).locator("article pre .hljs-keyword").wait_for()
        builtin(page).locator(".bar").first.wait_for()
        boxes += page.evaluate(BOXES)
        seen.append(boxes)
    assert len(seen[0]) > 100
    assert seen[1] == seen[0]


@pytest.mark.parametrize("size", [16, 24])
def test_text_size_of_the_browser_is_followed(page: Page, served: Any, size: int) -> None:
    """Who has the browser show larger text has a larger launcher, panel and conversation."""
    sizes = {"fontSizes": {"standard": size, "fixed": size}}
    page.context.new_cdp_session(page).send("Page.setFontSizes", sizes)
    page.goto(
        served(page_with("<style>html { font-size: 62.5% }</style>", "{{ chatkit_floating() }}"))
    )
    assert launcher(page).bounding_box()["width"] == 3.5 * size
    open_builtin(page)
    assert page.locator("dialog").bounding_box()["width"] == 24 * size
    text = "(node) => parseFloat(getComputedStyle(node).fontSize)"
    assert field(page).evaluate(text) == size
    assert page.locator(".chatkit-bar h2").evaluate(text) == size


@pytest.mark.parametrize("zoom", [0.8, 1.5])
def test_zoom_of_the_page_leaves_the_panel_on_the_screen(
    page: Page, served: Any, zoom: float
) -> None:
    """A page that is zoomed by its style has the chat on the screen, also all over a small one."""
    page.goto(
        served(page_with(f"<style>body {{ zoom: {zoom} }}</style>", "{{ chatkit_floating() }}"))
    )
    open_builtin(page)
    for width, height in ((1000, 800), (420, 700)):
        page.set_viewport_size({"width": width, "height": height})
        until(page, "document.querySelector('dialog').matches(':modal')", width == 420)
        box = page.locator("dialog").bounding_box()
        if width == 420:
            found = tuple(box[name] for name in ("x", "y", "width", "height"))
            assert found == pytest.approx((0, 0, width, height), abs=1)
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= width + 0.5
        assert box["y"] + box["height"] <= height + 0.5


# --- styles ---------------------------------------------------------------------------------------

STYLES = {
    "unset": "button, dialog, h2, input, textarea, section, p, a { all: unset; }",
    "dialogs": "dialog { display: block; font-size: 30px; transition: all 5s; opacity: 1; }",
    "transitions": "* { transition: all 5s; }",
    "boxes": "* { box-sizing: content-box; }",
    "text": (
        "body { text-align: right; text-transform: uppercase; letter-spacing: 5px; line-height: 3;"
        " white-space: nowrap; text-indent: 3em; word-spacing: 1em; user-select: none;"
        " cursor: none; text-shadow: 0 0 5px red; font: italic bold 30px monospace; }"
    ),
    "paragraphs": "p { font-size: 3rem; line-height: 1; } html { font-size: 62.5%; }",
}
TEXT = """(node) => {
  const { textAlign, textTransform, letterSpacing, whiteSpace, textIndent, wordSpacing, userSelect,
    cursor, textShadow, fontStyle, lineHeight, fontSize } = getComputedStyle(node);
  return { textAlign, textTransform, letterSpacing, whiteSpace, textIndent, wordSpacing, userSelect,
    cursor, textShadow, fontStyle, lineHeight, fontSize };
}"""


@pytest.mark.parametrize("name", STYLES)
def test_styles_of_the_page_do_not_reach_the_chat(page: Page, served: Any, name: str) -> None:
    """Resets, transitions, and what is said of all text leave all parts where and as they are."""
    base = served(
        {
            "/": "{{ chatkit_floating() }}<main>{{ chatkit_inline(load='click') }}</main>",
            "/styled": page_with(
                "<link rel=stylesheet href=/site.css>",
                "{{ chatkit_floating() }}<main>{{ chatkit_inline(load='click') }}</main>",
            ),
        },
        files={"/site.css": STYLES[name]},
    )
    seen = []
    for path in ("/", "/styled"):
        page.goto(base + path)
        page.locator(".chatkit-actions button").wait_for()
        assert not page.locator("dialog").is_visible()
        page.locator("main").evaluate(
            "(node) => { node.style.all = 'initial'; node.style.display = 'block'; }"
        )
        open_builtin(page)
        field(page).fill("x")
        texts = [
            page.locator(part).first.evaluate(TEXT)
            for part in (".chatkit-bar h2", ".chatkit-notice p", "article, .greeting", "textarea")
        ]
        boxes = [box for box in page.evaluate(BOXES) if box[0] != "option"]
        seen.append((texts, boxes))
        page.evaluate("sessionStorage.clear()")
    (texts, boxes), (styled_texts, styled_boxes) = seen
    assert styled_texts == texts
    differing = [pair for pair in zip(boxes, styled_boxes, strict=True) if pair[0] != pair[1]]
    assert differing == []


def test_colours_are_right_at_once_on_a_page_in_transition(page: Page, served: Any) -> None:
    """Where everything changes slowly the launcher has its own colour from the beginning."""
    page.goto(
        served(
            page_with(
                "<style>* { transition: all 9s; } .site { --chatkit-primary: #7a1fa2; }</style>",
                "<div class=site>{{ chatkit_floating() }}</div>",
            )
        )
    )
    open_builtin(page)
    colour = "(node) => getComputedStyle(node).backgroundColor"
    assert launcher(page).evaluate(colour) == "rgb(122, 31, 162)"
    page.evaluate("document.querySelector('.site').style.setProperty('--chatkit-primary', '#0a0')")
    assert launcher(page).evaluate(colour) == "rgb(0, 170, 0)"


# --- modals, keys and what else a page listens to -------------------------------------------------

MODALS = {
    "bootstrap": (
        ["bootstrap/dist/js/bootstrap.bundle.js"],
        "<div class=modal id=modal><div class=modal-dialog><input id=inside></div></div>",
        (
            "new Promise((shown) => { modal.addEventListener('shown.bs.modal', () => shown(0));"
            " new bootstrap.Modal(modal).show(); })"
        ),
    ),
    "jquery ui": (
        ["jquery/dist/jquery.js", "jquery-ui-dist/jquery-ui.js"],
        "<div id=modal><input id=inside></div>",
        "$('#modal').dialog({modal: true})",
    ),
    "focus-trap": (
        ["tabbable/dist/index.umd.js", "focus-trap/dist/focus-trap.umd.js"],
        "<div id=modal><input id=inside></div>",
        "focusTrap.createFocusTrap('#modal', {allowOutsideClick: true}).activate()",
    ),
}


@pytest.mark.parametrize("name", MODALS)
def test_modal_of_the_page_leaves_the_focus_in_the_chat(
    page: Page, served: Any, node_modules: Path, name: str
) -> None:
    """Beside an open modal that traps the focus a visitor writes by mouse and keyboard."""
    scripts, modal, show = MODALS[name]
    files = {f"/{at}.js": library(node_modules, each) for at, each in enumerate(scripts)}
    tags = "".join(f"<script src={path}></script>" for path in files)
    page.goto(served(modal + "{{ chatkit_floating() }}" + tags, files=files))
    page.evaluate(f"() => {{ const shown = {show}; return shown.then ? shown : 0; }}")
    page.locator("#inside").focus()
    open_builtin(page)
    write(page, "hello")
    page.keyboard.type("and")
    page.locator(".chatkit-close").focus()
    field(page).focus()
    page.keyboard.type(" more")
    assert field(page).input_value() == "and more"
    page.locator(".chatkit-close").click()
    assert not page.locator("dialog.chatkit-panel").is_visible()


def test_focus_of_the_pages_own_fields_is_the_pages_business(page: Page, served: Any) -> None:
    """A page hears that its field was left for the chat, and nothing of the focus within it."""
    page.goto(served("<input id=own>{{ chatkit_floating() }}"))
    open_builtin(page)
    page.evaluate(
        """() => {
          window.heard = [];
          for (const type of ["focusin", "focusout"])
            document.addEventListener(type, ({ target }) => heard.push([type, target.id]));
        }"""
    )
    page.locator("#own").focus()
    field(page).focus()
    page.locator(".chatkit-close").focus()
    page.locator("#own").focus()
    assert page.evaluate("heard") == [["focusin", "own"], ["focusout", "own"], ["focusin", "own"]]


def test_keys_that_write_are_no_shortcuts_of_the_page(page: Page, served: Any) -> None:
    """What is typed in the chat reaches no shortcut; Escape, and what has Ctrl or Alt, does."""
    page.goto(served("{{ chatkit_floating() }}"))
    open_builtin(page)
    page.evaluate(
        """() => {
          window.pressed = [];
          for (const type of ["keydown", "keypress", "keyup"])
            document.addEventListener(type, (event) => {
              if (event.target.matches("input, textarea")) return;
              pressed.push(event.key);
              if (!event.ctrlKey && event.key !== "Escape") event.preventDefault();
            });
        }"""
    )
    write(page, "is / a k?")
    assert page.evaluate("pressed") == []
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    assert {"Control", "k", "Escape"} == set(page.evaluate("pressed"))
    assert not page.locator("dialog").is_visible()


FORBIDDING = """
for (const type of ["contextmenu", "copy", "cut", "dragstart", "mousedown", "paste", "selectstart"])
  document[`on${type}`] = () => false;
addEventListener("wheel", (event) => event.preventDefault(), { passive: false });
"""


def test_page_that_forbids_things_forbids_them_to_itself(page: Page, served: Any) -> None:
    """Where a page wants nothing selected, pasted or scrolled, all that works in the chat."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(
        served("{{ chatkit_floating() }}<script src=/no.js></script>", files={"/no.js": FORBIDDING})
    )
    open_builtin(page)
    write(page, "hello")
    field(page).click()
    page.keyboard.type("words")
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+x")
    page.keyboard.press("Control+v")
    page.keyboard.press("Control+v")
    assert field(page).input_value() == "wordswords"
    page.evaluate("(text) => FlaskChatKit.get().send(text)", "# " + "a b c d " * 900)
    log = builtin(page).get_by_role("log")
    until(page, f"{LOG}.scrollHeight > 3 * {LOG}.clientHeight")
    until(page, f"{LOG}.ariaBusy", "false")
    until(page, f"{LOG}.scrollHeight - {LOG}.scrollTop - {LOG}.clientHeight < 2")
    before = log.evaluate("(node) => node.scrollTop")
    log.hover()
    page.mouse.wheel(0, -300)
    until(page, f"{LOG}.scrollTop < {before} - 100")


LOG = "document.querySelector('flask-chatkit-chat').shadowRoot.querySelector('.log')"


def test_smooth_scrolling_of_the_page_leaves_the_log_to_the_wheel(
    page: Page, served: Any, node_modules: Path
) -> None:
    """Where Lenis scrolls the page the wheel scrolls the conversation that it is over."""
    files = {
        "/lenis.js": library(node_modules, "lenis/dist/lenis.js"),
        "/page.js": "new Lenis({autoRaf: true})",
    }
    body = "<div style='height: 5000px'></div>{{ chatkit_floating() }}"
    page.goto(
        served(body + "<script src=/lenis.js></script><script src=/page.js></script>", files=files)
    )
    open_builtin(page)
    page.evaluate("(text) => FlaskChatKit.get().send(text)", "# " + "a b c d " * 900)
    until(page, f"{LOG}.scrollHeight > 3 * {LOG}.clientHeight")
    until(page, f"{LOG}.ariaBusy", "false")
    until(page, f"{LOG}.scrollHeight - {LOG}.scrollTop - {LOG}.clientHeight < 2")
    before = page.evaluate(f"{LOG}.scrollTop")
    builtin(page).hover()
    page.mouse.wheel(0, -300)
    until(page, f"{LOG}.scrollTop < {before} - 100")
    assert page.evaluate("scrollY") == 0


def test_files_dropped_on_the_chat_are_the_chats_alone(page: Page, served: Any) -> None:
    """A page that takes files dropped or pasted anywhere does not take those of the chat."""
    page.goto(served("{{ chatkit_floating() }}"))
    open_builtin(page)
    page.evaluate(
        """() => {
          window.taken = [];
          for (const type of ["drop", "paste"])
            document.addEventListener(type, () => taken.push(type));
          const data = new DataTransfer();
          data.items.add(new File(["words"], "note.txt", { type: "text/plain" }));
          const chat = document.querySelector("flask-chatkit-chat").shadowRoot;
          const init = { bubbles: true, composed: true, cancelable: true };
          const field = chat.querySelector("textarea");
          field.dispatchEvent(new DragEvent("drop", { ...init, dataTransfer: data }));
          field.dispatchEvent(new ClipboardEvent("paste", { ...init, clipboardData: data }));
        }"""
    )
    builtin(page).get_by_text("note.txt").nth(1).wait_for()
    assert page.evaluate("taken") == []


# --- which kit a widget is of ---------------------------------------------------------------------

#: What stands for the loader's tag on a page whose optimiser has had its way: `tag` is the tag, and
#: `code` the loader's.
OPTIMISERS = {
    "inlined": "const made = document.createElement('script'); made.dataset.kit = tag.dataset.kit;"
    " made.text = code; tag.replaceWith(made);",
    "run by another tag": "const made = document.createElement('script'); made.src = tag.src;"
    " document.head.append(made);",
    "run by a copy": "const made = document.createElement('script');"
    " for (const { name, value } of tag.attributes)"
    " if (name !== 'type') made.setAttribute(name, value);"
    " tag.replaceWith(made);",
    "combined": "const made = document.createElement('script'); made.text = 'var other;' + code;"
    " document.head.append(made);",
    "a module": "const made = document.createElement('script'); made.type = 'module';"
    " made.src = tag.src; made.dataset.kit = tag.dataset.kit; tag.replaceWith(made);",
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimised_loader_knows_its_kit(page: Page, site: Sites, console: Any, name: str) -> None:
    """Inlined, combined, delayed, a module, or run by another tag, the loader does its work."""
    optimise = (
        "addEventListener('load', async () => {"
        " const tag = document.querySelector('script[data-kit]');"
        " const code = await (await fetch(tag.src)).text();"
        f" {OPTIMISERS[name]} }});"
    )

    def rewrite(app: Flask) -> None:
        @app.after_request
        def delay(response: Response) -> Response:
            if response.mimetype == "text/html":
                html = response.get_data(as_text=True)
                response.set_data(
                    re.sub(r"<script (?=src=\S+loader)", "<script type=text/later ", html)
                )
            return response

    body = "{{ chatkit_floating() }}<script src=/optimise.js></script>"
    page.goto(site({"/": body}, files={"/optimise.js": optimise}, policy=None, setup=rewrite))
    page.locator("[data-state=idle]").wait_for(state="attached")
    launcher(page).click()
    ready(page)
    assert console.all == []


@pytest.mark.parametrize("nonce", [False, True])
def test_fragment_that_jquery_puts_in_works(
    page: Page, site: Sites, node_modules: Path, console: Any, nonce: bool
) -> None:
    """JQuery evaluates a fragment's scripts itself: the widget in it is of its kit."""
    files = {
        "/jquery.js": library(node_modules, "jquery/dist/jquery.js"),
        "/page.js": "$.get('/part', (html) => $('#place').html(html))",
    }
    mark = " nonce=abc" if nonce else ""
    scripts = "".join(f"<script src={path}{mark}></script>" for path in files)
    part = "{{ chatkit_inline(NONCE) }}".replace("NONCE", "nonce='abc'" if nonce else "")

    def fragment(app: Flask) -> None:
        app.add_url_rule("/part", "part", lambda: render_template_string(IMPORT + part))

    policy = NONCE if nonce else None
    page.goto(
        site({"/": "<div id=place></div>" + scripts}, files=files, policy=policy, setup=fragment)
    )
    ready(page, "#place [data-chatkit]")
    assert console.all == []


def test_tag_without_the_nonce_says_nothing_where_jquery_ran_the_loader(
    page: Page, site: Sites, node_modules: Path
) -> None:
    """What the policy keeps from running is no kit, also where the loader ran without a tag."""
    evil = {"base": "/chatkit/", "widget": "/evil.js", "styles": "/x.css", "script": "/evil.js"}
    tag = (
        f"<script nonce=guess data-kit='{json.dumps(evil)}'></script><script data-kit='!'></script>"
    )
    files = {
        "/jquery.js": library(node_modules, "jquery/dist/jquery.js"),
        "/page.js": f"document.getElementById('e').innerHTML = {json.dumps(tag)};"
        " $.get('/part', (html) => $('#place').html(html))",
        "/evil.js": "window.pwned = true;",
    }
    scripts = "".join(
        f"<script src={path} nonce=abc></script>" for path in files if "evil" not in path
    )

    def fragment(app: Flask) -> None:
        html = IMPORT + "{{ chatkit_inline(nonce='abc') }}"
        app.add_url_rule("/part", "part", lambda: render_template_string(html))

    body = tag + "<p id=e></p><div id=place></div>" + scripts
    page.goto(site({"/": body}, files=files, policy=NONCE, setup=fragment))
    ready(page, "#place [data-chatkit]")
    assert page.evaluate("window.pwned") is None


def test_widget_of_a_kit_that_is_yet_to_come_is_no_error(
    page: Page, site: Sites, console: Any
) -> None:
    """What a script puts in before its kit's tag is told of only when the page asks for it."""
    page.goto(site({"/": "{{ chatkit_floating() }}"}, policy=None))
    page.locator("[data-state=idle]").wait_for(state="attached")
    page.evaluate(
        """() => {
          const early = document.querySelector("[data-chatkit]").cloneNode(true);
          early.id = "early";
          delete early.dataset.state;
          early.dataset.chatkit = early.dataset.chatkit.replace("/chatkit/", "/other/");
          document.body.append(early);
          return new Promise((done) => setTimeout(done, 300));
        }"""
    )
    assert console.errors == []
    page.evaluate("FlaskChatKit.scan()")
    assert len(console.errors) == 1
    assert "a widget of no kit" in console.errors[0]
    page.evaluate(
        """() => {
          const later = document.querySelector("[data-chatkit]").cloneNode(true);
          later.id = "later";
          delete later.dataset.state;
          document.body.append(later);
        }"""
    )
    page.locator("#later[data-state=idle]").wait_for(state="attached")


# --- embed.js -------------------------------------------------------------------------------------


@pytest.fixture
def shop(site: Sites, serve: Any) -> Any:
    """Serve a page of another site, which the site trusts; `{shop}` in it is the kit."""

    def start(pages: dict[str, str], headers: dict[str, str] | None = None, **more: Any) -> str:
        made: dict[str, str] = {}

        def blog(environ: Any, start_response: Any) -> Any:
            body = pages.get(environ["PATH_INFO"], "").replace("{shop}", made["shop"] + "/chatkit")
            kind = "text/javascript" if environ["PATH_INFO"].endswith(".js") else "text/html"
            said = {name: value.format(**made) for name, value in (headers or {}).items()}
            return Response(body, mimetype=kind, headers=said)(environ, start_response)

        base = str(serve(blog)).replace("127.0.0.1", "localhost")
        made["cdn"] = site.cdn
        made["shop"] = site({}, CHATKIT_TRUSTED_ORIGINS=[base], policy=None, **more)
        return base

    return start


@pytest.mark.parametrize("where", ["in the head", "at the end", "imported", "twice"])
def test_embed_may_be_a_module(page: Page, shop: Any, console: Any, where: str) -> None:
    """As type=module, or imported by the page, the tag does what it does as a script."""
    tag = "<script type=module src='{shop}/embed.js' data-label='Ask us'></script>"
    head, body = {
        "in the head": (tag, "<p>Text"),
        "at the end": ("", "<p>Text" + tag),
        "imported": ("", "<p>Text<script type=module>import '{shop}/embed.js';</script>"),
        "twice": (tag, tag.replace("data-label='Ask us'", "data-variant=inline")),
    }[where]
    page.goto(shop({"/": page_with(head, body)}))
    launcher(page).click()
    ready(page, ".chatkit-floating")
    if where == "imported":
        assert launcher(page).get_attribute("aria-label") == "Chat"
    else:
        assert launcher(page).get_attribute("aria-label") == "Ask us"
    assert page.locator("[data-chatkit]").count() == 1 + (where == "twice")
    assert console.all == []


MARKS = (
    "data-cfasync=false data-rocket-status=executed data-no-optimize=1 data-wp-strategy=defer"
    " data-cookieconsent=ignore data-turbo-track=reload data-noptimize"
)


@pytest.mark.parametrize("how", ["marked", "inlined"])
def test_optimised_embed_works(page: Page, shop: Any, console: Any, how: str) -> None:
    """Marks of optimisers are no options, and a copy of the script finds its tag in the page."""
    tag = f"<script src='{{shop}}/embed.js' data-label='Ask us' {MARKS} defer></script>"
    if how == "inlined":
        tag = tag.replace("<script ", "<script type=text/later ") + (
            "<script>fetch(document.querySelector('script[src]').src)"
            ".then((answer) => answer.text())"
            ".then((code) => { const made = document.createElement('script'); made.text = code;"
            " document.head.append(made); })</script>"
        )
    page.goto(shop({"/": page_with("", tag)}))
    launcher(page).click()
    ready(page)
    assert launcher(page).get_attribute("aria-label") == "Ask us"
    assert console.uncaught == []
    assert [line for line in console.errors if "flask_chatkit" in line] == []


def test_embed_that_was_combined_away_is_told(page: Page, shop: Any, console: Any) -> None:
    """Where an optimiser leaves nothing of the tag the console says what to do."""
    body = (
        "<script>fetch('{shop}/embed.js').then((answer) => answer.text()).then((code) => {"
        " const made = document.createElement('script'); made.text = code;"
        " document.head.append(made); })</script>"
    )
    page.goto(shop({"/": page_with("", body)}))
    for _ in range(100):
        if console.errors:
            break
        page.wait_for_timeout(50)
    assert console.errors == [
        "flask_chatkit: the tag of embed.js is gone: do not combine it with others"
    ]


@pytest.mark.parametrize("kind", ["script", "module"])
def test_embed_in_the_head_survives_turbo(
    page: Page, shop: Any, node_modules: Path, kind: str, console: Any
) -> None:
    """From page to page and back, a tag that Turbo runs once has one launcher that works."""
    attribute = "defer" if kind == "script" else "type=module"
    head = f"<script src=/turbo.js></script><script src='{{shop}}/embed.js' {attribute}></script>"
    pages = {
        f"/{name}": page_with(head, f"<h1>{name}</h1><a href=/{other}>To {other}</a>")
        for name, other in (("a", "b"), ("b", "a"))
    }
    pages["/turbo.js"] = library(node_modules, "@hotwired/turbo/dist/turbo.es2017-umd.js")
    base = shop(pages)
    page.goto(f"{base}/a")
    launcher(page).wait_for()
    page.evaluate("window.same = 'page'")
    for name in ("b", "a", "b"):
        page.get_by_role("link", name=f"To {name}").click()
        page.get_by_role("heading", name=name, exact=True).wait_for()
        launcher(page).wait_for()
    page.go_back()
    page.get_by_role("heading", name="a", exact=True).wait_for()
    until(page, "document.querySelectorAll('.chatkit-launcher').length", 1)
    launcher(page).click()
    ready(page)
    assert page.evaluate("same") == "page"
    assert console.all == []


# --- policies and frames --------------------------------------------------------------------------

TYPES = (
    "require-trusted-types-for 'script'; trusted-types flask-chatkit dompurify 'allow-duplicates'"
)


@pytest.mark.parametrize("kind", ["hosted", "served"])
def test_page_that_takes_trusted_types_alone(
    page: Page, site: Sites, served: Any, console: Any, kind: str
) -> None:
    """With two policies allowed, OpenAI's script comes, and answers are Markdown."""
    policy = f"{STRICT}; {TYPES}"
    if kind == "hosted":
        page.goto(site({"/": "{{ chatkit_floating() }}"}, policy=policy))
        launcher(page).click()
        ready(page)
        say(page, "hello")
        assert console.violations == []
    else:
        page.goto(served("{{ chatkit_floating() }}", policy=policy))
        open_builtin(page)
        page.evaluate("FlaskChatKit.get().send('# **bold**')")
        builtin(page).locator("article strong").wait_for(timeout=30_000)
        assert console.violations == []


def test_embed_on_a_page_that_takes_trusted_types_alone(
    page: Page, shop: Any, console: Any
) -> None:
    """HTML and scripts of several tags are of the policy that the page has allowed."""
    tags = "".join(
        f"<script src='{{shop}}/embed.js' data-variant={variant} defer></script>"
        for variant in ("floating", "inline")
    )
    page.goto(shop({"/": page_with("", tags)}, {"Content-Security-Policy": TYPES}))
    launcher(page).click()
    ready(page, "#chatkit-floating")
    ready(page, "#chatkit-inline")
    assert console.all == []


FRAME = """async ([kind, sandbox]) => {
  const frame = document.createElement("iframe");
  frame.sandbox = sandbox;
  frame.style = "width: 900px; height: 700px";
  if (kind === "src") frame.src = "/in";
  else frame.srcdoc = await (await fetch("/in")).text();
  document.body.append(frame);
}"""


@pytest.mark.parametrize("kind", ["src", "srcdoc"])
def test_frame_without_an_origin_says_so(page: Page, site: Sites, kind: str) -> None:
    """In a sandboxed frame the chat can't know its visitor: it says so, and has a way out."""
    base = site({"/in": "{{ chatkit_floating() }}", "/": ""}, policy=None)
    page.goto(base)
    page.evaluate(FRAME, [kind, "allow-scripts"])
    frame = page.frame_locator("iframe")
    frame.locator("[data-state=idle]").wait_for(state="attached")
    frame.locator(".chatkit-launcher").click()
    frame.locator("dialog").wait_for()
    frame.get_by_role("button", name="Try again").wait_for()
    links = frame.locator(".chatkit-actions a")
    assert links.first.evaluate("(node) => node.href") == f"{base}/chatkit/"


@pytest.mark.parametrize("kind", ["src", "srcdoc"])
def test_frame_of_the_sites_own_origin_works(page: Page, served: Any, kind: str) -> None:
    """In a sandboxed frame that keeps its origin the visitor chats."""
    base = served({"/in": "{{ chatkit_inline() }}", "/": ""})
    page.goto(base)
    page.evaluate(FRAME, [kind, "allow-scripts allow-same-origin"])
    chat_of_frame = page.frame_locator("iframe").locator("flask-chatkit-chat")
    chat_of_frame.get_by_role("textbox", name="Message", exact=True).fill("hello")
    page.keyboard.press("Enter")
    chat_of_frame.get_by_role("log").get_by_text("You wrote “hello”").wait_for(timeout=30_000)


HEADERS = {
    "base": (page_with("<base href=/elsewhere/deep/ target=_top>", "{{ chatkit_floating() }}"), {}),
    "permissions": (
        "{{ chatkit_floating() }}",
        {"Permissions-Policy": "clipboard-write=(), storage-access=(), microphone=(), autoplay=()"},
    ),
    "origin": ("{{ chatkit_floating() }}", {"Origin-Agent-Cluster": "?0"}),
    "isolated": (
        "{{ chatkit_floating() }}",
        {
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Referrer-Policy": "same-origin",
            "X-Frame-Options": "DENY",
        },
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_the_page_leave_the_chat_alone(
    page: Page, served: Any, console: Any, name: str
) -> None:
    """Under a base, a Permissions-Policy, a wider domain or isolation, visitors chat."""
    body, headers = HEADERS[name]

    def add(app: Flask) -> None:
        @app.after_request
        def send(response: Response) -> Response:
            response.headers.update(headers)
            return response

    page.goto(served(body, setup=add))
    if name == "origin":
        page.evaluate("try { document.domain = document.domain; } catch {}")
    open_builtin(page)
    write(page, "hello")
    if name == "permissions":
        builtin(page).get_by_role("button", name="Copy").last.click()
        builtin(page).get_by_role("status").get_by_text("went wrong").wait_for(state="attached")
    assert console.uncaught == []


# --- globals and prototypes -----------------------------------------------------------------------

GLOBALS = {
    "Prototype": """
      for (const kind of [Array, Object, String])
        Object.defineProperty(kind.prototype, "toJSON", {
          configurable: true, writable: true, value() { return `"${Object(this)}"`; } });
      for (const name of ["each", "inject", "first", "last", "without", "clear", "clone", "size"])
        Array.prototype[name] = function () { return this; };
      const { prototype } = Element;
      window.Element = Object.assign(function () {}, { prototype });
      window.Event = {}; window.Form = {}; window.Hash = {}; window.Class = {};
      window.$ = () => null;
      HTMLElement.prototype.remove = function () {
        this.parentNode.removeChild(this); return this; };
    """,
    "MooTools": """
      window.Request = function () { this.send = () => this; };
      window.Type = window.Class = window.Events = window.Options = window.Chain = function () {};
      Array.prototype.include = Array.prototype.erase = Array.prototype.empty = function () {};
      Array.from = (item) => (item == null ? [] : typeof item === "object" ? [...item] : [item]);
      Function.prototype.extend = Function.prototype.implement = function () { return this; };
      String.prototype.clean = Number.prototype.limit = function () { return this; };
    """,
    "additions": """
      Object.prototype.extend = function () {};
      Array.prototype.contains = Array.prototype.remove = function () {};
      window.name = "chat"; window.marked = 1; window.DOMPurify = 1; window.process = { env: {} };
      window.module = { exports: {} }; window.exports = {}; window.require = () => { throw 1; };
    """,
}


@pytest.mark.parametrize("name", GLOBALS)
def test_globals_of_the_page_do_not_reach_the_chat(
    page: Page, served: Any, console: Any, name: str
) -> None:
    """What older libraries give all lists and objects, and the names they take, change nothing."""
    page.goto(
        served(
            "<script src=/old.js></script>"
            "{{ chatkit_floating(prompts=['Where is it?'], size='60px') }}",
            files={"/old.js": GLOBALS[name]},
        )
    )
    launcher(page).click()
    ready(page)
    # Not its box, which grows under the pointer.
    assert launcher(page).evaluate("(node) => node.offsetWidth") == 60
    write(page, "hello")
    page.evaluate("FlaskChatKit.get().send('# **bold** and\\n\\n- a list')")
    builtin(page).locator("article li").get_by_text("a list").wait_for()
    page.get_by_role("button", name="Earlier chats").click()
    builtin(page).get_by_role("list").get_by_role("button").first.click()
    builtin(page).get_by_role("log").get_by_text("You wrote “hello”").wait_for()
    assert page.evaluate("getComputedStyle(document.querySelector('.chatkit')).display") == "block"
    assert console.all == []


def test_amd_page_goes_on_requiring(
    page: Page, served: Any, node_modules: Path, console: Any
) -> None:
    """With RequireJS answers are Markdown, and the site's own modules load after them."""
    files = {
        "/require.js": library(node_modules, "requirejs/require.js"),
        "/mine.js": "define([], () => 'mine');",
    }
    page.goto(served("<script src=/require.js></script>{{ chatkit_floating() }}", files=files))
    open_builtin(page)
    page.evaluate("FlaskChatKit.get().send('# **bold**')")
    builtin(page).locator("article strong").wait_for(timeout=30_000)
    wait = "new Promise((done, failed) => require(['/mine.js'], done, failed))"
    assert page.evaluate(wait) == "mine"
    assert console.all == []


TRANSLATE = """() => {
  const walk = (node) => {
    for (const child of [...node.childNodes]) {
      if (child.nodeType === 1 && !/^(script|style|textarea|font|iframe)$/.test(child.localName))
        walk(child);
      else if (child.nodeType === 3 && child.data.trim() && node.localName !== "option") {
        const [outer, inner] = [0, 1].map(() => document.createElement("font"));
        inner.textContent = `«${child.data}»`;
        outer.append(inner);
        child.replaceWith(outer);
      }
    }
    if (node.shadowRoot) walk(node.shadowRoot);
  };
  const translate = () => walk(document.body);
  document.documentElement.classList.add("translated-ltr");
  document.documentElement.lang = "de";
  translate();
  setInterval(translate, 50);
}"""


def test_translated_page_goes_on_chatting(page: Page, served: Any, console: Any) -> None:
    """A translator that puts other nodes in the place of all texts breaks nothing."""
    page.goto(served("<p>Words</p>{{ chatkit_floating(prompts=['Where is it?']) }}"))
    open_builtin(page)
    page.evaluate(TRANSLATE)
    builtin(page).get_by_role("button", name="«Where is it?»").click()
    log = builtin(page).get_by_role("log")
    log.get_by_text("You wrote “Where is it?”").wait_for(timeout=30_000)
    write(page, "hello")
    page.evaluate("FlaskChatKit.get().send('# **bold** words')")
    builtin(page).locator("article strong").last.get_by_text("bold").wait_for()
    page.get_by_role("button", name="Earlier chats").click()
    builtin(page).get_by_role("list").get_by_role("button").first.click()
    builtin(page).get_by_role("log").get_by_text("You wrote “hello”").wait_for()
    field(page).wait_for()
    page.get_by_role("button", name="New chat").click()
    builtin(page).get_by_role("button", name="«Where is it?»").wait_for()
    assert page.locator(".chatkit-bar h2").inner_text() == "«Chat»"
    assert console.all == []


# --- paper, forced colours, small screens ---------------------------------------------------------


def test_conversation_in_the_page_is_printed(page: Page, served: Any) -> None:
    """On paper a conversation is as long as it is, without a composer."""
    base = served(
        "<p>Before</p>{{ chatkit_floating() }}{{ chatkit_inline(height=300) }}<p id=after>After</p>"
    )
    for path in ("/", "/chatkit/"):
        page.goto(base + path)
        root = "section[data-chatkit]"
        ready(page, root)
        for text in ("# " + "a b c d " * 500, "# the end"):
            page.evaluate(
                "([id, text]) => FlaskChatKit.get(id).send(text)",
                ["chatkit-2" if path == "/" else "chatkit-1", text],
            )
            builtin(page).locator("article").last.get_by_text(text.strip("# ")[:20]).wait_for(
                timeout=30_000
            )
            page.wait_for_timeout(500)
        page.emulate_media(media="print", color_scheme="dark")
        log = page.evaluate(f"[{LOG}.scrollHeight, {LOG}.clientHeight]")
        assert log[0] == log[1]
        assert log[1] > 600
        assert not field(page).is_visible()
        last = builtin(page).locator("article").last.bounding_box()
        box = page.locator(root).bounding_box()
        assert last["y"] + last["height"] <= box["y"] + box["height"]
        if path == "/":
            assert page.locator("#after").bounding_box()["y"] >= box["y"] + box["height"]
            assert not launcher(page).is_visible()
        ink = (
            builtin(page).locator("article").last.evaluate("(node) => getComputedStyle(node).color")
        )
        assert ink == "rgb(0, 0, 0)"
        page.emulate_media(media="screen", color_scheme="light")
        assert field(page).is_visible()


def test_forced_colours_show_where_one_writes_and_closes(page: Page, served: Any) -> None:
    """In forced colours the launcher's cross has the text's colour, and the field a ring."""
    page.emulate_media(forced_colors="active")
    page.goto(served("{{ chatkit_floating() }}"))
    open_builtin(page)
    colours = page.evaluate(
        """() => {
          const probe = document.createElement("button");
          document.body.append(probe);
          const { color } = getComputedStyle(probe);
          probe.remove();
          const button = document.querySelector(".chatkit-launcher");
          return [color, getComputedStyle(button, "::before").backgroundColor];
        }"""
    )
    assert colours[0] == colours[1]
    composer = builtin(page).locator(".composer")
    ring = "(node) => getComputedStyle(node).outlineStyle"
    field(page).focus()
    assert composer.evaluate(ring) == "solid"
    page.locator(".chatkit-close").focus()
    assert composer.evaluate(ring) == "none"


@pytest.mark.parametrize("height", [256, 320])
def test_small_screen_starts_at_the_top(page: Page, served: Any, height: int) -> None:
    """At 400 % zoom the greeting is read first, then the prompts below it."""
    page.set_viewport_size({"width": 320, "height": height})
    prompts = "['Where is my order?', 'How do I return it?', 'Which size fits?', 'Who are you?']"
    call = f"chatkit_floating(greeting='What can we do for you?', prompts={prompts})"
    page.goto(served("{{ " + call + " }}"))
    open_builtin(page)
    assert page.evaluate(f"{LOG}.scrollTop") == 0
    log, greeting = (builtin(page).locator(part).bounding_box() for part in (".log", ".greeting"))
    assert greeting["y"] >= log["y"]
    field(page).fill("a")
    assert page.evaluate(f"{LOG}.scrollTop") == 0
