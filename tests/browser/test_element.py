"""The browser stand-in for <openai-chatkit>, in a real Chromium: as strict as the real element."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import requests
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Request, Response

from flask_chatkit.testing.standin import OpenAIStandIn
from tests.helpers.paths import PACKAGE

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, FrameLocator, Page

HTML = "text/html; charset=utf-8"
EVENTS = [
    "ready",
    "error",
    "effect",
    "deeplink",
    "response.start",
    "response.end",
    "history.open",
    "history.close",
    "thread.change",
    "thread.load.start",
    "thread.load.end",
    "tool.change",
    "log",
]
HOSTED = "api: {getClientSecret: mint}"
OWN = "api: {url: '/api', domainKey: 'local'}"


def document(script: str, head: str = "", *, module: bool = False) -> str:
    """Write a page with a box of 600 by 500 pixels and the element's script."""
    kind = ' type="module"' if module else ""
    return (
        f'<!doctype html><html lang="en"><head><title>Test</title>{head}</head><body>'
        f'<div id="box"></div><div id="other"></div><script{kind} src="{script}"></script></body>'
    )


class Chat:
    """One element on one page: makes it, records its events, reads its frame."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def add(self, options: str | None, *, before: str = "") -> Chat:
        """Create the element, record its events, configure it with `options` and append it."""
        configure = "" if options is None else f"el.setOptions({{{options}}});"
        self.page.evaluate(
            f"""() => {{
              const box = document.getElementById("box");
              box.style.cssText = "width:600px;height:500px";
              const el = window.el = document.createElement("openai-chatkit");
              window.seen = [];
              for (const name of {EVENTS}) {{
                el.addEventListener("chatkit." + name, ({{ detail }}) => seen.push(
                  [name, detail?.error ? {{ error: detail.error.message }} : detail]));
              }}
              {before}
              {configure}
              box.append(el);
            }}"""
        )
        return self

    def run(self, script: str) -> Any:
        """Evaluate `script` in the page, where `el` is the element."""
        return self.page.evaluate(script)

    def call(self, script: str) -> str:
        """Call a method of the element; "done", or what it was rejected with."""
        return self.run(f"{script}.then(() => 'done', (error) => error.message)")

    @property
    def frame(self) -> FrameLocator:
        """The chat's frame."""
        return self.page.frame_locator("openai-chatkit iframe")

    @property
    def blank(self) -> bool:
        """Whether the element shows no frame."""
        return self.run("el.shadowRoot.querySelector('iframe') === null")

    def seen(self, name: str) -> list[Any]:
        """Return the details of the events of one kind so far."""
        return [detail for event, detail in self.run("seen") if event == name]

    def wait(self, name: str, count: int = 1) -> None:
        """Wait until an event has come `count` times."""
        self.page.wait_for_function(
            "([name, count]) => seen.filter(([event]) => event === name).length >= count",
            arg=[name, count],
        )

    def send(self, text: str) -> None:
        """Type a message in the frame and send it with the button."""
        self.frame.get_by_label("Message", exact=True).fill(text)
        self.frame.get_by_role("button", name="Send").click()

    def shows(self, text: str) -> None:
        """Wait until the frame shows `text`."""
        self.frame.get_by_text(text).first.wait_for()


@pytest.fixture
def chat(page: Page, serve, openai_standin: OpenAIStandIn) -> Chat:
    """Open a page of one site with the element's script of the stand-in's, another site."""
    script = openai_standin.script_url.replace("127.0.0.1", "localhost")
    page.goto(serve({"/": (HTML, document(script))}))
    return Chat(page)


class Mint:
    """The page's ``mint(current)``: mints at the stand-in and remembers what it was given."""

    def __init__(self, standin: OpenAIStandIn) -> None:
        self.standin = standin
        self.given: list[str | None] = []
        self.secrets: list[str] = []
        self.answer: Callable[[str | None], Any] = lambda _current: self.new()

    def __call__(self, current: str | None) -> Any:
        """Answer getClientSecret(current)."""
        self.given.append(current)
        return self.answer(current)

    def new(self) -> str:
        """Mint one session for the visitor."""
        answer = requests.post(
            f"{self.standin.api_base}/chatkit/sessions",
            json={"user": "visitor", "workflow": {"id": "wf_standin"}},
            headers={"Authorization": "Bearer sk-standin", "OpenAI-Beta": "chatkit_beta=v1"},
            timeout=5,
        )
        self.secrets.append(answer.json()["client_secret"])
        return self.secrets[-1]


@pytest.fixture
def mint(page: Page, openai_standin: OpenAIStandIn) -> Mint:
    """Give the page a function ``mint`` that works as a getClientSecret."""
    mint = Mint(openai_standin)
    page.expose_function("mint", mint)
    return mint


# --- what leaves it blank ---

REFUSED = {
    "options": "null",
    "options.api": "{}",
    "options.api.clientToken": "{api: {clientToken: 'x'}}",
    "options.api mixes": "{api: {getClientSecret() {}, url: '/api', domainKey: 'k'}}",
    "options.api.domainKey": "{api: {url: '/api'}}",
    "options.api.url": "{api: {url: '', domainKey: 'k'}}",
    "options.api.getClientSecret": "{api: {getClientSecret: 'x'}}",
    "options.api.uploadStrategy.type": (
        "{api: {url: '/a', domainKey: 'k', uploadStrategy: {type: 'tus'}}}"
    ),
    "options.api.uploadStrategy is missing": (
        "{api: {url: '/a', domainKey: 'k'}, composer: {attachments: {enabled: true}}}"
    ),
    "options.welcomeMessage": "{...hosted, welcomeMessage: 'Hello'}",
    "options.theme.primaryColor": "{...hosted, theme: {primaryColor: '#fff'}}",
    "options.theme": "{...hosted, theme: 'auto'}",
    "options.theme.color.accent.level": (
        "{...hosted, theme: {color: {accent: {primary: '#fff'}}}}"
    ),
    "options.theme.color.grayscale.hue": (
        "{...hosted, theme: {color: {grayscale: {hue: 361, tint: 0}}}}"
    ),
    "options.theme.color.grayscale.tint": (
        "{...hosted, theme: {color: {grayscale: {hue: 0, tint: 2.5}}}}"
    ),
    "options.theme.typography.baseSize": "{...hosted, theme: {typography: {baseSize: 13}}}",
    "options.theme.radius": "{...hosted, theme: {radius: 'large'}}",
    "options.locale": "{...hosted, locale: 'xx'}",
    "options.initialThread": "{...hosted, initialThread: 5}",
    "options.frameTitle": "{...hosted, frameTitle: new String('Chat')}",
    "options.header.rightAction.icon": (
        "{...hosted, header: {rightAction: {icon: 'cross', onClick() {}}}}"
    ),
    "options.header.leftAction.onClick": "{...hosted, header: {leftAction: {icon: 'close'}}}",
    "options.startScreen.prompts[1].prompt": (
        "{...hosted, startScreen: {prompts: [{label: 'a', prompt: 'b'}, {label: 'c'}]}}"
    ),
    "options.startScreen.prompts[0].prompt[0].data.when": (
        "{...hosted, startScreen: {prompts: [{label: 'a', prompt: [{type: 'input_tag', text: 'x',"
        " id: '1', data: {when: new Date()}}]}]}}"
    ),
    "options.composer.placeholder": "{...hosted, composer: {placeholder: () => 'text'}}",
    "options.composer.attachments.maxSize": (
        "{...hosted, composer: {attachments: {enabled: true, maxSize: NaN}}}"
    ),
    "options.disclaimer.text": "{...hosted, disclaimer: {}}",
    "options.history.enabled": "{...hosted, history: {enabled: 1}}",
    "options.startScreen.greeting holds a secret": (
        "{...hosted, startScreen: {greeting: 'ek_123456'}}"
    ),
    "options.api.domainKey holds a secret": "{api: {url: '/a', domainKey: 'sk-proj-1'}}",
}


@pytest.mark.parametrize("problem", REFUSED)
def test_refused_options_leave_it_blank(chat: Chat, console, problem: str) -> None:
    """Options the types do not allow show no frame, and one console.error names the path."""
    hosted = "const hosted = {api: {async getClientSecret() { return 'x'; }}};"
    caught = "catch (error) { window.thrown = error }"
    chat.add(None, before=f"{hosted} try {{ el.setOptions({REFUSED[problem]}) }} {caught}")
    assert chat.blank
    assert chat.run("thrown.name") == "IntegrationError"
    assert problem in chat.run("thrown.message")
    assert problem in chat.seen("error")[0]["error"]
    assert len(console.errors) == 1
    assert problem in console.errors[0]
    assert "123456" not in console.errors[0]
    assert "stays blank" in console.errors[0]
    assert chat.seen("ready") == []
    assert problem in chat.call("el.focusComposer()")
    chat.run("el.setOptions({api: {getClientSecret: async () => 'x'}})")
    assert chat.blank
    assert len(console.errors) == 1


def test_every_path_of_the_options_is_checked(chat: Chat) -> None:
    """A foreign value at any path is refused, and so is a further key in any closed object."""
    assert chat.run(f"window.__chatkitStandin.check({COMPLETE})") is None
    missed = chat.run(
        f"""() => {{
          const open = /\\.(maxSize|accept|data)(\\.|$)/; // maps: their keys are the site's
          const missed = [];
          const walk = (path) => {{
            const fresh = {COMPLETE};
            let at = fresh;
            for (const key of path.slice(0, -1)) at = at[key];
            const key = path[path.length - 1];
            const name = "." + path.join(".");
            const value = path.length ? at[key] : fresh;
            if (path.length) {{
              at[key] = 7n;
              if (!window.__chatkitStandin.check(fresh)) missed.push(name);
              at[key] = value;
            }}
            if (value === null || typeof value !== "object") return;
            if (!Array.isArray(value) && !open.test(name)) {{
              value.surplus = true;
              if (!window.__chatkitStandin.check(fresh)) missed.push(name + ".surplus");
            }}
            for (const each of Object.keys(value)) if (each !== "surplus") walk([...path, each]);
          }};
          walk([]);
          return missed;
        }}"""
    )
    assert missed == []


COMPLETE = """{
  api: {
    url: "/api", domainKey: "local", fetch: window.fetch,
    uploadStrategy: { type: "direct", uploadUrl: "/upload" },
  },
  locale: "de-DE",
  theme: {
    colorScheme: "dark", radius: "soft", density: "compact",
    typography: {
      baseSize: 15, fontFamily: "Inter, sans-serif", fontFamilyMono: "monospace",
      fontSources: [{ family: "Inter", src: "/inter.woff2", weight: 400, style: "normal",
        display: "swap", unicodeRange: "U+0-FF" }],
    },
    color: {
      grayscale: { hue: 220, tint: 6, shade: -1 }, accent: { primary: "#08f", level: 2 },
      surface: { background: "#fff", foreground: "#000" },
    },
  },
  frameTitle: "Chat", initialThread: "thr_1", onClientTool: () => ({}),
  header: {
    enabled: true, title: { enabled: true, text: "Help" },
    leftAction: { icon: "menu", onClick() {} }, rightAction: { icon: "close", onClick() {} },
  },
  history: { enabled: true, showDelete: false, showRename: true },
  startScreen: { greeting: "Hello", prompts: [
    { label: "One", prompt: "one", icon: "lucide:truck" },
    { label: "Two", icon: "bolt", prompt: [{ type: "input_text", text: "two " },
      { type: "input_tag", text: "x", id: "1", group: "g", data: { a: [1, null, { b: true }] },
        interactive: true }] },
  ] },
  threadItemActions: { feedback: true, retry: false },
  composer: {
    placeholder: "Write",
    attachments: { enabled: true, maxSize: { "image/*": 1000 }, maxCount: 3,
      accept: { "image/*": [".png"] } },
    tools: [{ id: "t", label: "Tool", icon: "search", shortLabel: "T", placeholderOverride: "…",
      pinned: true, persistent: false }],
    models: [{ id: "m", label: "Model", description: "d", disabled: false, default: true }],
    dictation: { enabled: true },
  },
  disclaimer: { text: "AI", highContrast: true },
  entities: { onTagSearch: async () => [], showComposerMenu: true, onClick() {},
    onRequestPreview: async () => ({ preview: null }) },
  commands: { enabled: true, onSearch: async () => [], onSelect: async () => {} },
  widgets: { onAction: async () => {} },
  thread: { autoScroll: true },
}"""


def test_the_types_agree(chat: Chat, node_modules: Path, tmp_path: Path) -> None:
    """The sample of all options compiles, and every name in the types' lists is accepted."""
    types = node_modules / "@openai/chatkit/types/index.d.ts"
    (tmp_path / "node_modules").symlink_to(node_modules)
    (tmp_path / "all.ts").write_text(
        "import type { ChatKitOptions } from '@openai/chatkit';\n"
        f"export const all: Required<ChatKitOptions> = {COMPLETE};\n"
    )
    tsc = [node_modules / ".bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--types", ""]
    flags = ["--target", "es2022", "--moduleResolution", "bundler", "--module", "esnext"]
    done = subprocess.run(
        [*tsc, *flags, "all.ts"], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == ""

    def names(union: str) -> list[str]:
        found = re.search(rf"type {union} =(.*?);", types.read_text(), re.DOTALL)
        assert found is not None
        return re.findall(r"'([^']+)'", found[1])

    options = "api: {getClientSecret() {}}"
    for union, use in {
        "TranslatedLocale": "locale: name",
        "SupportedLocale": "locale: name",
        "HeaderIcon": "header: {leftAction: {icon: name, onClick() {}}}",
        "ChatKitIcon": "startScreen: {prompts: [{label: '', prompt: '', icon: name}]}",
    }.items():
        assert len(names(union)) > 25
        refused = f"(names) => names.filter((name) => __chatkitStandin.check({{{options}, {use}}}))"
        assert chat.page.evaluate(refused, names(union)) == []


def test_only_set_options_configures(chat: Chat, console) -> None:
    """Attributes and properties do nothing, and a method before setOptions is rejected."""
    chat.add(None, before="el.setAttribute('theme', 'dark'); el.options = {api: {}}; el.api = {};")
    assert chat.blank
    for call in (
        "focusComposer()",
        "setThreadId(null)",
        "sendUserMessage({text: 'x'})",
        "setComposerValue({text: 'x'})",
        "sendCustomAction({type: 'x'})",
        "fetchUpdates()",
        "showHistory()",
        "hideHistory()",
    ):
        assert "before setOptions" in chat.call(f"el.{call}")
    assert console.all == []


def test_options_replace_and_never_merge(chat: Chat, mint: Mint) -> None:
    """A second setOptions drops what only the first had, on the same frame."""
    chat.add(f"{HOSTED}, theme: 'dark', frameTitle: 'Help', startScreen: {{greeting: 'Ahoy'}}")
    chat.shows("Ahoy")
    assert chat.frame.locator("html").get_attribute("data-color-scheme") == "dark"
    assert chat.run("el.shadowRoot.querySelector('iframe').title") == "Help"
    chat.run(f"el.setOptions({{{HOSTED}}})")
    chat.shows("What can I help with today?")
    assert chat.frame.locator("html").get_attribute("data-color-scheme") == "light"
    assert chat.run("el.shadowRoot.querySelector('iframe').title") == "Chat"
    assert chat.run("__chatkitStandin.frameLoads") == 1
    assert mint.given == [None]


def test_undefined_is_absent(chat: Chat, mint: Mint, console) -> None:
    """A key with the value undefined is no key, as in JSON."""
    chat.add(
        f"{HOSTED}, theme: undefined, surplus: undefined, composer: {{placeholder: undefined}}"
    )
    chat.shows("What can I help with today?")
    assert console.all == []


@pytest.mark.parametrize("move", ["other.append(el)", "el.remove(); box.append(el)"])
def test_moving_it_kills_it(chat: Chat, mint: Mint, console, move: str) -> None:
    """An element that was moved or attached again stays blank, whatever is called then."""
    chat.add(HOSTED)
    chat.shows("What can I help with today?")
    chat.run(move)
    assert chat.blank
    assert ["moved or re-attached" in line for line in console.errors] == [True]
    chat.run(f"el.setOptions({{{HOSTED}}})")
    assert chat.blank
    assert "moved" in chat.call("el.sendUserMessage({text: 'x'})")


def test_a_removed_element_rejects_calls(chat: Chat, mint: Mint, console) -> None:
    """Once it is out of the document its methods are rejected, those under way too."""
    chat.add(HOSTED)
    waiting = chat.run(
        "() => { const call = el.focusComposer(); el.remove();"
        " return call.then(() => 'done', (error) => error.message); }"
    )
    assert waiting == "The chat was closed"
    assert chat.call("el.focusComposer()") == "The element is not in the document"
    assert console.all == []


def test_showing_and_hiding_loads_the_frame_once(chat: Chat, mint: Mint) -> None:
    """Made in a hidden parent and toggled many times with CSS, it loads one frame."""
    chat.add(HOSTED, before="box.style.display = 'none';")
    chat.wait("ready")
    for display in ("block", "none") * 5 + ("block",):
        chat.run(f"box.style.display = '{display}'")
    chat.shows("What can I help with today?")
    assert chat.run("__chatkitStandin.frameLoads") == 1
    assert chat.run("__chatkitStandin.of(el).frameLoads") == 1
    composer = chat.frame.get_by_label("Message", exact=True).bounding_box()
    assert composer is not None
    assert composer["height"] > 30
    assert len(chat.seen("ready")) == 1


def test_loading_the_script_twice_is_harmless(chat: Chat, mint: Mint, console) -> None:
    """A second script tag changes nothing."""
    chat.add(HOSTED)
    chat.wait("ready")
    chat.run(
        """() => new Promise((done) => {
          const again = document.createElement("script");
          again.src = document.scripts[0].src;
          again.onload = done;
          document.body.append(again);
        })"""
    )
    assert chat.run("__chatkitStandin.elements.length") == 1
    assert chat.call("el.focusComposer()") == "done"
    assert console.all == []


def test_module_import_stays_blank(page: Page, serve, openai_standin, console) -> None:
    """Imported as a module it cannot find its frame: defined, blank, with one console.error."""
    page.goto(serve({"/": (HTML, document(openai_standin.script_url, module=True))}))
    page.wait_for_function("!!customElements.get('openai-chatkit')")
    chat = Chat(page).add("api: {async getClientSecret() { return 'x'; }}")
    assert chat.blank
    assert ["classic script" in line for line in console.errors] == [True]


def test_insecure_context_stays_blank(page: Page, context: BrowserContext, console) -> None:
    """On plain http that is not loopback it stays blank and says why."""
    script = PACKAGE / "testing/element/chatkit.js"
    for path, kind, body in (
        ("/", HTML, document("/chatkit.js")),
        ("/chatkit.js", "text/javascript", script.read_text()),
    ):
        context.route(
            f"http://shop.test{path}",
            lambda route, _request, kind=kind, body=body: route.fulfill(
                content_type=kind, body=body
            ),
        )
    page.goto("http://shop.test/")
    chat = Chat(page).add("api: {async getClientSecret() { return 'x'; }}")
    assert chat.blank
    assert ["secure context" in line for line in console.errors] == [True]


# --- the shadow root, the frame and the policy ---


def test_it_fills_its_parent(chat: Chat, mint: Mint) -> None:
    """The element and its borderless frame are as large as the parent, in an open shadow root."""
    chat.add(HOSTED)
    assert chat.run("el.shadowRoot.mode") == "open"
    size = "(({width, height}) => [width, height])"
    frame = "el.shadowRoot.querySelector('iframe').getBoundingClientRect()"
    assert chat.run(f"{size}({frame})") == [600, 500]
    assert chat.run(f"{size}(el.getBoundingClientRect())") == [600, 500]


def strict_page(origin: str, frames: str) -> str:
    """Write a page with a policy that allows no inline code and no inline style."""
    policy = f"default-src 'none'; script-src {origin}; frame-src {frames}; style-src 'self'"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return document(f"{origin}/deployments/chatkit/chatkit.js", head)


def test_strict_policy_and_its_cure(page: Page, serve, openai_standin, mint, console) -> None:
    """Without 'unsafe-inline' the frame is 300 by 150 pixels; adoptedStyleSheets cure it."""
    page.goto(serve({"/": (HTML, strict_page(openai_standin.url, openai_standin.url))}))
    chat = Chat(page).add(HOSTED)
    chat.shows("What can I help with today?")
    size = "((f) => [f.clientWidth, f.clientHeight])(el.shadowRoot.querySelector('iframe'))"
    assert chat.run(size) == [300, 150]
    assert console.violations == ["style-src-elem"]
    chat.run(
        """() => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(":host{display:block;height:100%;width:100%}" +
            "div,iframe{border:0;display:block;height:100%;width:100%}");
          el.shadowRoot.adoptedStyleSheets = [sheet];
        }"""
    )
    assert chat.run(size) == [600, 500]
    assert console.violations == ["style-src-elem"]


def test_ready_is_no_proof_of_health(page: Page, serve, openai_standin, mint, console) -> None:
    """With its frame blocked it is as ready as ever, and never asks for a secret."""
    page.goto(serve({"/": (HTML, strict_page(openai_standin.url, "'none'"))}))
    chat = Chat(page).add(HOSTED)
    chat.wait("ready")
    assert "frame-src" in console.violations
    assert mint.given == []


def test_the_frame_is_strict_itself(chat: Chat, mint: Mint, console) -> None:
    """A chat with every part in use breaks no policy, the frame's own included."""
    chat.add(
        f"{HOSTED}, theme: {{colorScheme: 'dark', density: 'compact', radius: 'pill', color: "
        "{accent: {primary: 'rebeccapurple', level: 3}, grayscale: {hue: 10, tint: 5}}}, "
        "startScreen: {prompts: [{label: 'Ask', prompt: 'Hello?', icon: 'bolt'}]}, "
        "threadItemActions: {feedback: true}, disclaimer: {text: '[Terms](https://a.test/)'}"
    )
    chat.frame.get_by_role("button", name="Ask").click()
    chat.wait("response.end")
    chat.frame.get_by_role("button", name="Good answer").click()
    assert console.all == []
    inline = chat.frame.locator("html").evaluate(
        "(root) => [root.ownerDocument.querySelectorAll('style, [onclick]').length,"
        " [...root.ownerDocument.scripts].filter((each) => !each.src).length]"
    )
    assert inline == [0, 0]


def test_text_is_shown_as_text(chat: Chat, mint: Mint, console) -> None:
    """Markup in options and messages is shown, not run; only safe links become links."""
    markup = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) [b](https://b.test/)"
    chat.add(f"{HOSTED}, startScreen: {{greeting: {markup!r}}}, disclaimer: {{text: {markup!r}}}")
    chat.shows("<img src=x")
    assert chat.call(f"el.sendUserMessage({{text: {markup!r}}})") == "done"
    chat.wait("response.end")
    assert chat.frame.locator("img").count() == 0
    links = chat.frame.locator("a").evaluate_all("(found) => found.map((each) => each.href)")
    assert set(links) == {"https://b.test/"}
    assert console.all == []


@pytest.mark.parametrize(
    ("locale", "direction"), [("ar", "rtl"), ("ur", "rtl"), ("de-DE", "ltr"), (None, "ltr")]
)
def test_locale_sets_language_and_direction(chat: Chat, mint, locale, direction) -> None:
    """The frame has the language of the option, else the browser's, and reads in its direction."""
    chat.add(HOSTED + (f", locale: '{locale}'" if locale else ""))
    chat.shows("What can I help with today?")
    assert chat.frame.locator("html").get_attribute("dir") == direction
    assert chat.frame.locator("html").get_attribute("lang") == (locale or "en-GB")


def test_it_works_under_a_prefix(page: Page, serve, openai_standin: OpenAIStandIn, mint) -> None:
    """Frame and API are found next to the script, under a prefix and on the page's own origin."""
    html = document("/a/b/deployments/chatkit/chatkit.js")
    site = Response(html, content_type=HTML)
    prefixed = DispatcherMiddleware(site, {"/a/b": openai_standin.wsgi_app})
    page.goto(serve(prefixed))
    chat = Chat(page).add(HOSTED)
    chat.send("Hello")
    chat.shows("You wrote “Hello”.")


# --- messages between page and frame ---


def test_strangers_are_not_heard(chat: Chat, mint: Mint) -> None:
    """A message from another window than the frame, or than the page, is ignored."""
    chat.add(HOSTED)
    chat.shows("What can I help with today?")
    chat.run(
        """() => new Promise((done) => {
          const forged = { chatkitStandin: 1, kind: "event", name: "effect", detail: {} };
          window.postMessage(forged, "*");
          window.chatFrame = el.shadowRoot.querySelector("iframe").contentWindow;
          const stranger = document.createElement("iframe");
          document.body.append(stranger);
          const script = stranger.contentDocument.createElement("script");
          script.textContent = `parent.chatFrame.postMessage({ chatkitStandin: 1, kind: "options",
            mode: "hosted", options: { startScreen: { greeting: "Forged" } } }, "*");
            parent.postMessage({ chatkitStandin: 1, kind: "event", name: "effect" }, "*")`;
          stranger.contentDocument.body.append(script);
          setTimeout(done, 200);
        })"""
    )
    assert chat.call("el.setComposerValue({text: 'still here'})") == "done"
    assert chat.frame.locator("#greeting").text_content() == "What can I help with today?"
    assert chat.seen("effect") == []


def test_only_ready_bubbles(chat: Chat, mint: Mint) -> None:
    """chatkit.ready reaches the document; every other event stays at the element."""
    chat.add(
        HOSTED,
        before=f"""window.bubbled = [];
          for (const name of {EVENTS}) {{
            document.addEventListener("chatkit." + name, () => bubbled.push(name));
          }}""",
    )
    chat.send("Hello")
    chat.wait("response.end")
    assert chat.call("el.showHistory()") == "done"
    assert chat.call("el.hideHistory()") == "done"
    assert chat.call("el.setThreadId('cthr_nope')") != "done"
    assert chat.run("bubbled") == ["ready"]
    names = {name for name, _ in chat.run("seen")}
    assert names == {
        "ready",
        "error",
        "response.start",
        "response.end",
        "history.open",
        "history.close",
        "thread.change",
        "thread.load.start",
        "log",
    }


def test_methods_check_their_arguments(chat: Chat, mint: Mint) -> None:
    """Wrong arguments are rejected in the page, with the name of the method."""
    chat.add(HOSTED)
    assert "sendUserMessage() argument 1" in chat.call("el.sendUserMessage('Hello')")
    assert ".message is not" in chat.call("el.sendUserMessage({message: 'Hello'})")
    assert "setThreadId() argument 1" in chat.call("el.setThreadId(undefined)")
    assert "needs text" in chat.call("el.sendUserMessage({})")
    assert "without an active thread" in chat.call("el.sendCustomAction({type: 'x'})")


def test_methods_reach_the_frame(chat: Chat, mint: Mint) -> None:
    """Prefill and focus the composer, show and hide the history, call a header action."""
    chat.add(
        f"{HOSTED}, header: {{rightAction: {{icon: 'close', onClick() {{ window.closed_ = 1; }}}}}}"
    )
    assert chat.call("el.setComposerValue({text: 'A draft'})") == "done"
    assert chat.frame.get_by_label("Message", exact=True).input_value() == "A draft"
    assert chat.call("el.focusComposer()") == "done"
    assert chat.frame.locator("#input:focus").count() == 1
    assert chat.run("document.activeElement === el") is True
    assert chat.call("el.showHistory()") == "done"
    chat.shows("No chats yet")
    assert chat.call("el.hideHistory()") == "done"
    chat.frame.get_by_role("button", name="Close").click()
    chat.page.wait_for_function("window.closed_ === 1")


# --- hosted: secrets ---


def test_message_round_trip(chat: Chat, mint: Mint, openai_standin, console) -> None:
    """A message goes to the API stand-in and its answer comes back, in one thread."""
    chat.add(HOSTED)
    chat.wait("ready")
    chat.send("Hello there")
    chat.shows("You wrote “Hello there”.")
    chat.wait("response.end")
    assert chat.call("el.sendUserMessage({text: 'And again'})") == "done"
    chat.shows("You wrote “And again”.")
    chat.wait("response.end", 2)
    (thread,) = openai_standin.threads.values()
    assert chat.seen("thread.change") == [{"threadId": thread["id"]}]
    assert len(openai_standin.items(thread["id"])) == 4
    assert chat.frame.get_by_role("heading", level=1).text_content() == "Hello there"
    assert len(chat.frame.locator("article").all()) == 4
    assert mint.given == [None]
    assert "Hello there" not in json.dumps(chat.seen("log"))
    assert console.all == []


def test_history_and_threads(chat: Chat, mint: Mint, openai_standin: OpenAIStandIn) -> None:
    """The history lists the visitor's threads; opening one, a new one and deleting one work."""
    chat.add(HOSTED)
    chat.send("First")
    chat.wait("response.end")
    (first,) = openai_standin.threads
    assert chat.call("el.sendUserMessage({text: 'Second', newThread: true})") == "done"
    chat.wait("response.end", 2)
    assert len(openai_standin.threads) == 2
    chat.frame.get_by_role("button", name="Chat history").click()
    chat.frame.get_by_role("button", name="First", exact=True).click()
    chat.wait("thread.load.end")
    chat.shows("You wrote “First”.")
    assert [each["threadId"] for each in chat.seen("thread.change")][1:] == [
        None,
        next(each for each in openai_standin.threads if each != first),
        first,
    ]
    assert chat.call("el.showHistory()") == "done"
    chat.frame.get_by_role("button", name="Delete First").click()
    chat.frame.get_by_role("heading", name="What can I help with today?").wait_for()
    assert first not in openai_standin.threads


def test_initial_thread_is_loaded(chat: Chat, mint: Mint, openai_standin: OpenAIStandIn) -> None:
    """The thread of initialThread is shown, between thread.load.start and thread.load.end."""
    chat.add(HOSTED)
    chat.send("Earlier")
    chat.wait("response.end")
    (thread,) = openai_standin.threads
    chat.run("el.remove()")
    chat.add(f"{HOSTED}, initialThread: '{thread}'")
    chat.shows("You wrote “Earlier”.")
    chat.wait("thread.load.end")
    assert chat.seen("thread.load.start") == [{"threadId": thread}]
    assert chat.seen("thread.load.end") == [{"threadId": thread}]


def test_secret_is_asked_with_null_then_with_the_current(
    chat: Chat, mint: Mint, openai_standin: OpenAIStandIn
) -> None:
    """It asks with null as soon as it has loaded, and with the secret that has run out later."""
    chat.add(HOSTED)
    chat.shows("What can I help with today?")
    assert chat.call("el.focusComposer()") == "done"  # a round trip later it has asked
    assert mint.given == [None]
    chat.send("Hello")
    chat.wait("response.end")
    assert mint.given == [None]
    openai_standin.expire(mint.secrets[0])
    assert chat.call("el.sendUserMessage({text: 'Are you there?'})") == "done"
    chat.shows("You wrote “Are you there?”.")
    assert mint.given == [None, mint.secrets[0]]
    assert len(set(mint.secrets)) == 2
    assert chat.seen("error") == []


def test_the_same_dead_secret_again_is_an_error(
    chat: Chat, mint: Mint, openai_standin: OpenAIStandIn
) -> None:
    """Given back the secret that has run out, it shows an error and does not try for ever."""
    mint.answer = lambda current: current or mint.new()
    chat.add(HOSTED)
    chat.send("Hello")
    chat.wait("response.end")
    openai_standin.expire(mint.secrets[0])
    chat.send("Are you there?")
    chat.shows("This chat session has expired.")
    assert mint.given == [None, mint.secrets[0]]
    assert len(chat.seen("error")) == 1
    assert mint.secrets[0] not in json.dumps(chat.run("seen"))


@pytest.mark.parametrize("answer", [None, "", 42, {"client_secret": "ek_x"}])
def test_secret_must_be_a_string(chat: Chat, mint: Mint, answer) -> None:
    """Anything but a non-empty string is an error, readable in the frame."""
    mint.answer = lambda _current: answer
    chat.add(HOSTED)
    chat.shows("Please try again later.")
    assert chat.seen("error") == [{"error": "getClientSecret must resolve to a non-empty string"}]


def test_failed_mint_is_readable_and_not_retried(chat: Chat, mint: Mint) -> None:
    """A getClientSecret that rejects is asked once; the next message asks again."""
    chat.add(
        "api: {getClientSecret: async () => { window.asked = (window.asked || 0) + 1;"
        " if (window.asked > 1) return mint(null); throw new Error('429'); }}"
    )
    chat.shows("Please try again later.")
    assert chat.run("asked") == 1
    assert chat.seen("error") == [{"error": "429"}]
    chat.send("Hello")
    chat.shows("You wrote “Hello”.")


def test_rate_limit_is_readable(page: Page, serve, console) -> None:
    """A session's limit of messages a minute gives words to the visitor."""
    with OpenAIStandIn() as standin:
        mint = Mint(standin)
        page.expose_function("mint", mint)
        page.goto(serve({"/": (HTML, document(standin.script_url))}))
        chat = Chat(page).add(HOSTED)
        for number in range(11):
            assert chat.call(f"el.sendUserMessage({{text: 'Number {number}'}})") == "done"
            chat.wait("response.end", number + 1)
        chat.shows("Too many messages.")


# --- own server: the page makes the calls ---


class OwnServer:
    """A page, and a ChatKit endpoint at /api that answers as it is told."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], Response]] = {
            "threads.list": lambda _params: as_json({"data": [], "has_more": False}),
        }
        self.closed = threading.Event()

    @Request.application
    def __call__(self, request: Request) -> Response:
        """Answer the page, or a call as planned."""
        if request.path != "/api":
            return Response(document(self.script), content_type=HTML)
        body = request.get_json()
        self.calls.append(body)
        self.headers.append(dict(request.headers))
        return self.answers[body["type"]](body["params"])

    def types(self, kind: str = "") -> list[str]:
        """List the types of the calls so far that begin with `kind`."""
        return [call["type"] for call in self.calls if call["type"].startswith(kind)]


def as_json(value: Any, status: int = 200) -> Response:
    """Answer with JSON."""
    return Response(json.dumps(value), status, content_type="application/json")


def stream(*events: dict[str, Any] | str) -> Response:
    """Answer with server-sent events; a string is sent as it is."""

    def body() -> Iterator[str]:
        for event in events:
            yield event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n"

    return Response(body(), content_type="text/event-stream; charset=utf-8")


AT = "2026-11-20T12:00:00"
THREAD = {"id": "thr_1", "title": None, "created_at": AT, "status": {"type": "active"}}


def item(number: int, kind: str, **more: Any) -> dict[str, Any]:
    """Write a thread item as openai-chatkit does."""
    return {"id": f"itm_{number}", "thread_id": "thr_1", "created_at": AT, "type": kind, **more}


def said(number: int, kind: str, text: str) -> dict[str, Any]:
    """Write a message."""
    part = "input_text" if kind == "user_message" else "output_text"
    return item(number, kind, content=[{"type": part, "text": text, "annotations": []}])


def turn(params: dict[str, Any], *events: dict[str, Any] | str) -> Response:
    """Answer a new message: the thread, the visitor's item, then `events`."""
    text = params["input"]["content"][0]["text"]
    return stream(
        {"type": "thread.created", "thread": {**THREAD, "items": {"data": []}}},
        {"type": "thread.item.done", "item": said(1, "user_message", text)},
        *events,
    )


@pytest.fixture
def own(page: Page, serve, openai_standin: OpenAIStandIn) -> OwnServer:
    """Open a page of a site with a ChatKit server of its own, and make its retries quick."""
    own = OwnServer(openai_standin.script_url.replace("127.0.0.1", "localhost"))
    page.goto(serve(own))
    page.evaluate("__chatkitStandin.retryDelays = [1, 1, 1, 1, 1]")
    return own


def test_own_server_streams(page: Page, own: OwnServer, console) -> None:
    """The page posts a new thread, shows the text as it comes, and then adds to the thread."""
    update = "assistant_message.content_part."
    own.answers["threads.create"] = lambda params: turn(
        params,
        {"type": "thread.item.added", "item": item(2, "assistant_message", content=[])},
        ": hb\n",
        *(
            {"type": "thread.item.updated", "item_id": "itm_2", "update": change}
            for change in (
                {"type": f"{update}text_delta", "content_index": 0, "delta": "Wie geht"},
                {"type": f"{update}text_delta", "content_index": 0, "delta": " es?"},
            )
        ),
        {"type": "thread.item.done", "item": said(2, "assistant_message", "Wie geht es Ihnen?")},
        {"type": "thread.updated", "thread": {**THREAD, "title": "Small talk"}},
        {"type": "client_effect", "name": "confetti", "data": {"amount": 3}},
    )
    own.answers["threads.add_user_message"] = lambda _params: stream(
        {"type": "thread.item.done", "item": said(4, "assistant_message", "Bis bald!")}
    )
    chat = Chat(page).add(OWN)
    chat.send("Guten Tag")
    chat.wait("response.end")
    rows = chat.frame.locator("article .text").all_text_contents()
    assert rows == ["Guten Tag", "Wie geht es Ihnen?"]
    assert chat.frame.get_by_role("heading", level=1).text_content() == "Small talk"
    assert chat.seen("thread.change") == [{"threadId": "thr_1"}]
    assert chat.seen("effect") == [{"name": "confetti", "data": {"amount": 3}}]
    chat.send("Auf Wiedersehen")
    chat.shows("Bis bald!")
    chat.wait("response.end", 2)
    assert own.types() == ["threads.list", "threads.create", "threads.add_user_message"]
    assert own.calls[1]["params"] == {
        "input": {
            "content": [{"type": "input_text", "text": "Guten Tag"}],
            "attachments": [],
            "quoted_text": None,
            "inference_options": {"tool_choice": None, "model": None},
        }
    }
    assert own.calls[2]["params"]["thread_id"] == "thr_1"
    assert console.all == []


def test_own_server_requests_are_chatkits(
    page: Page, own: OwnServer, missing: Callable[[str, str], NoReturn]
) -> None:
    """openai-chatkit itself parses every kind of request that is sent."""
    try:
        import pydantic

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own widgets are deprecated by itself
            from chatkit import types
    except ImportError:
        missing("openai-chatkit", "pip install 'flask-chatkit[test]'")
    own.answers.update(
        {
            "threads.create": lambda params: turn(
                params,
                {"type": "thread.item.done", "item": said(2, "assistant_message", "Hello!")},
                {
                    "type": "thread.item.done",
                    "item": item(
                        3,
                        "client_tool_call",
                        status="pending",
                        call_id="c1",
                        name="page",
                        arguments={"full": True},
                    ),
                },
            ),
            "threads.add_client_tool_output": lambda _params: stream(),
            "threads.retry_after_item": lambda _params: stream(),
            "threads.custom_action": lambda _params: stream(),
            "items.feedback": lambda _params: as_json({}),
            "threads.list": lambda _params: as_json({"data": [THREAD], "has_more": False}),
            "threads.update": lambda _params: as_json(THREAD),
            "threads.delete": lambda _params: as_json({}),
            "threads.get_by_id": lambda _params: as_json(
                {**THREAD, "items": {"data": [], "has_more": True, "after": "itm_0"}}
            ),
            "items.list": lambda _params: as_json(
                {"data": [said(1, "user_message", "Hello")], "has_more": False}
            ),
        }
    )
    chat = Chat(page).add(
        f"{OWN}, threadItemActions: {{feedback: true, retry: true}},"
        " onClientTool: async (call) => ({ url: '/shop', call })"
    )
    chat.send("Hello")
    chat.wait("response.end")
    assert own.calls[-1]["params"]["result"] == {
        "url": "/shop",
        "call": {"name": "page", "params": {"full": True}},
    }
    chat.frame.get_by_role("button", name="Good answer").click()
    chat.frame.get_by_role("button", name="Try again").click()
    chat.wait("response.end", 2)
    assert chat.call("el.sendCustomAction({type: 'buy', payload: {id: 1}})") == "done"
    chat.wait("response.end", 3)
    assert chat.call("el.fetchUpdates()") == "done"
    assert chat.call("el.showHistory()") == "done"
    chat.frame.get_by_role("button", name="Rename").click()
    chat.frame.get_by_label("Title").fill("Renamed")
    chat.frame.get_by_label("Title").press("Enter")
    chat.frame.get_by_role("button", name="Delete Renamed").click()
    chat.frame.get_by_role("heading", name="What can I help with today?").wait_for()
    parse = pydantic.TypeAdapter(types.ChatKitReq).validate_python
    assert {type(parse(call)).__name__ for call in own.calls} == {
        "ThreadsListReq",
        "ThreadsCreateReq",
        "ThreadsAddClientToolOutputReq",
        "ThreadsRetryAfterItemReq",
        "ThreadsCustomActionReq",
        "ItemsFeedbackReq",
        "ThreadsGetByIdReq",
        "ItemsListReq",
        "ThreadsUpdateReq",
        "ThreadsDeleteReq",
    }


@pytest.mark.parametrize(
    ("answer", "posts"),
    [
        (lambda: Response("down", 503), 6),
        (lambda: Response("<h1>Sign in</h1>", 200, content_type=HTML), 6),
        (lambda: as_json({"message": "A secret reason"}, 429), 1),
        (lambda: as_json({"message": "A secret reason"}, 401), 1),
    ],
    ids=["5xx", "login page", "429", "401"],
)
def test_own_server_posts_again_like_the_real_one(
    page: Page, own: OwnServer, answer: Callable[[], Response], posts: int
) -> None:
    """5xx and 2xx without a stream are posted six times, 4xx once, and its body is not shown."""
    own.answers["threads.create"] = lambda _params: answer()
    chat = Chat(page).add(OWN)
    chat.send("Hello")
    chat.shows("Something went wrong.")
    chat.wait("response.end")
    assert own.types("threads.create") == ["threads.create"] * posts
    assert len(chat.seen("error")) == 1
    assert chat.frame.get_by_text("A secret reason").count() == 0


def test_own_server_recovers_within_the_retries(page: Page, own: OwnServer) -> None:
    """A 503 followed by a stream is no error."""

    def create(params: dict[str, Any]) -> Response:
        if len(own.types("threads.create")) < 3:
            return Response("down", 503)
        return turn(
            params, {"type": "thread.item.done", "item": said(2, "assistant_message", "Back!")}
        )

    own.answers["threads.create"] = create
    chat = Chat(page).add(OWN)
    chat.send("Hello")
    chat.shows("Back!")
    assert chat.seen("error") == []


def test_own_server_error_events_are_readable(page: Page, own: OwnServer) -> None:
    """An error event shows its message, and with allow_retry a way to try again."""
    own.answers["threads.create"] = lambda params: turn(
        params,
        {
            "type": "error",
            "code": "custom",
            "message": "One at a time, please.",
            "allow_retry": True,
        },
    )
    own.answers["threads.retry_after_item"] = lambda _params: stream(
        {"type": "thread.item.done", "item": said(2, "assistant_message", "Now then.")}
    )
    chat = Chat(page).add(OWN)
    chat.send("Hello")
    chat.shows("One at a time, please.")
    chat.wait("response.end")
    chat.frame.get_by_role("button", name="Try again").click()
    chat.shows("Now then.")
    assert own.calls[-1]["params"] == {"thread_id": "thr_1", "item_id": "itm_1"}
    assert chat.seen("error") == [{"error": "One at a time, please."}]


def test_a_heartbeat_with_two_newlines_is_an_error(page: Page, own: OwnServer) -> None:
    """A comment followed by an empty line delivers an empty message, which is not JSON."""
    own.answers["threads.create"] = lambda params: turn(params, ": hb\n\n")
    chat = Chat(page).add(OWN)
    chat.send("Hello")
    chat.shows("Something went wrong.")
    assert "heartbeat" in chat.seen("error")[0]["error"]


def test_json_calls_show_the_message(page: Page, own: OwnServer) -> None:
    """A JSON call that fails shows the answer's top-level message."""
    own.answers["threads.list"] = lambda _params: as_json({"message": "Please sign in."}, 401)
    chat = Chat(page).add(OWN)
    chat.shows("Please sign in.")
    assert chat.seen("error") == [{"error": "Please sign in."}]


def test_api_fetch_may_add_headers(page: Page, own: OwnServer) -> None:
    """With api.fetch the page's own function makes every call."""
    chat = Chat(page).add(
        "api: {url: '/api', domainKey: 'local', fetch: (url, init) => fetch(url, "
        "{...init, headers: {...init.headers, Authorization: 'Bearer abc'}})}"
    )
    chat.page.wait_for_function("() => performance.getEntriesByName(location.origin + '/api')[0]")
    assert own.headers[0]["Authorization"] == "Bearer abc"
    assert own.headers[0]["Content-Type"] == "application/json"


def test_stop_aborts_the_request(page: Page, own: OwnServer) -> None:
    """Stop closes the request and leaves what was said; no error."""

    def create(params: dict[str, Any]) -> Response:
        def body() -> Iterator[str]:
            yield from turn(
                params, {"type": "thread.item.added", "item": said(2, "assistant_message", "Once")}
            ).iter_encoded()
            try:
                while not own.closed.wait(0.02):
                    yield ": hb\n"
            finally:
                own.closed.set()

        return Response(body(), content_type="text/event-stream")

    own.answers["threads.create"] = create
    chat = Chat(page).add(OWN)
    chat.send("Tell me a story")
    chat.shows("Once")
    assert "busy" in chat.call("el.setThreadId(null)")
    chat.frame.get_by_role("button", name="Stop").click()
    chat.wait("response.end")
    assert own.closed.wait(5)
    chat.shows("Once")
    assert chat.seen("error") == []


def test_widgets_and_tools_of_an_own_server(page: Page, own: OwnServer) -> None:
    """A widget's client action reaches widgets.onAction; tool and model go with the message."""
    button = {
        "type": "Button",
        "label": "Buy",
        "onClickAction": {"type": "buy", "payload": {"n": 1}},
    }
    button["onClickAction"]["handler"] = "client"  # type: ignore[index]
    card = {"type": "Card", "children": [{"type": "Text", "value": "A lamp"}, button]}
    own.answers["threads.create"] = lambda params: turn(
        params, {"type": "thread.item.done", "item": item(2, "widget", widget=card)}
    )
    chat = Chat(page).add(
        f"{OWN}, widgets: {{async onAction(action, item) {{ window.acted = [action, item.id]; }}}},"
        "composer: {tools: [{id: 'find', label: 'Find', icon: 'search'}],"
        " models: [{id: 'a', label: 'A'}, {id: 'b', label: 'B', default: true}]}"
    )
    chat.frame.get_by_label("Tool").select_option("find")
    chat.send("Hello")
    chat.wait("response.end")
    chat.shows("A lamp")
    assert own.calls[-1]["params"]["input"]["inference_options"] == {
        "tool_choice": {"id": "find"},
        "model": "b",
    }
    assert chat.seen("tool.change") == [{"toolId": "find"}, {"toolId": None}]
    chat.frame.get_by_role("button", name="Buy").click()
    chat.page.wait_for_function("window.acted")
    assert chat.run("acted") == [{"type": "buy", "payload": {"n": 1}}, "itm_2"]


def test_deeplinks_are_events(page: Page, own: OwnServer) -> None:
    """A chatkit-link in an answer becomes chatkit.deeplink."""
    text = "See [this lamp](chatkit-link://product?id=7)"
    own.answers["threads.create"] = lambda params: turn(
        params, {"type": "thread.item.done", "item": said(2, "assistant_message", text)}
    )
    chat = Chat(page).add(OWN)
    chat.send("Hello")
    chat.frame.get_by_role("button", name="this lamp").click()
    chat.wait("deeplink")
    assert chat.seen("deeplink") == [{"name": "product", "data": {"id": "7"}}]


def test_the_files_are_plain() -> None:
    """The element's files need nothing from elsewhere and say that they are not OpenAI's."""
    folder = PACKAGE / "testing/element"
    assert sorted(each.name for each in folder.iterdir()) == [
        "chatkit.js",
        "frame.css",
        "frame.html",
        "frame.js",
    ]
    for file in folder.iterdir():
        text = file.read_text()
        assert "//cdn" not in text
        assert "<openai-chatkit>" in text
    assert "not OpenAI's code" in (folder / "chatkit.js").read_text().replace("\n * ", " ")
