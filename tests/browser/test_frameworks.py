"""Real Turbo, htmx, React, Vue and Alpine pages keep one widget, whose chat goes on, for long."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import chatkit.server  # noqa: F401 - here, and not while a visitor waits
import pytest
from flask import Flask, Response, render_template_string

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.pages import HEAD, IMPORT, Sites, chat, launcher, ready, say, until
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAVIGATIONS = 20
FLOATING = "{{ chatkit_floating() }}"
LINKS = "<nav><a href=/a>To a</a> <a href=/b>To b</a></nav>"


class App(NamedTuple):
    """A site with a library.

    :param pages: path → its HTML.
    :param script: a library's file in node_modules, if a page loads it as it is.
    :param source: the app's own script; JSX is bundled.
    :param restarts: whether each page has a body of its own, in which the chat starts anew.
    :param back: whether going back keeps the body.
    """

    pages: dict[str, str]
    script: str = ""
    source: str = ""
    restarts: bool = False
    back: bool = True


def both(text: str, head: str = "") -> dict[str, str]:
    """The pages /a and /b, whose names stand for NAME."""
    return {
        f"/{name}": f"{HEAD}{head}</head><body>{text.replace('NAME', name)}</body></html>"
        for name in "ab"
    }


SCRIPT = "<script src=/library.js defer></script>"
APP = "<script src=/app.js defer></script>"

REACT = """
import { StrictMode, useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

function Chat() {
  const place = useRef(null);
  useEffect(() => {
    const left = new AbortController();
    fetch("/part", { signal: left.signal })
      .then((response) => response.text())
      .then((html) =>
        place.current.replaceChildren(document.createRange().createContextualFragment(html)))
      .catch(() => {});
    return () => left.abort();
  }, []);
  return <div ref={place} />;
}

function App() {
  const [path, setPath] = useState(location.pathname);
  useEffect(() => {
    const follow = () => setPath(location.pathname);
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);
  const go = (event) => {
    event.preventDefault();
    history.pushState(null, "", event.target.href);
    setPath(location.pathname);
  };
  return <>
    <nav><a href="/a" onClick={go}>To a</a> <a href="/b" onClick={go}>To b</a></nav>
    <h1 key={path}>{path.slice(1)}</h1>
    {path === "/b" && <Chat />}
  </>;
}

createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>);
"""

# The whole page is the app's template, the widgets in it too, as with Vue from a tag it mostly is.
VUE = """
Vue.createApp({
  data: () => ({ path: location.pathname }),
  created() { addEventListener("popstate", () => { this.path = location.pathname; }); },
  methods: {
    go(event) {
      history.pushState(null, "", event.target.href);
      this.path = location.pathname;
    },
  },
}).mount("#app");
"""
VUE_PAGE = (
    '<div id=app><nav><a href="/a" @click.prevent="go">To a</a> <a href="/b" @click.prevent="go">'
    'To b</a></nav><h1 :key="path" v-text="path.slice(1)"></h1><div v-if="path === \'/b\'">'
    f"{{{{ chatkit_inline('other', id='within') }}}}</div>{FLOATING}</div>"
)
# The loader's tag comes with the first widget, and would lie still in a template.
ALPINE_PAGE = (
    f"{FLOATING}"
    '<div x-data="{ path: location.pathname,'
    " go({ target }) { history.pushState(null, '', target.href);"
    ' this.path = location.pathname; } }" @popstate.window="path = location.pathname">'
    '<nav><a href="/a" @click.prevent="go">To a</a>'
    ' <a href="/b" @click.prevent="go">To b</a></nav><h1 x-text="path.slice(1)"></h1>'
    "<template x-if=\"path === '/b'\"><div>{{ chatkit_inline('other', id='within') }}</div>"
    "</template></div>"
)
TURBO = "@hotwired/turbo/dist/turbo.es2017-umd.js"
TEXT = f"{LINKS}<h1>NAME</h1>{FLOATING}"

APPS = {
    "Turbo": App(both(TEXT, SCRIPT), TURBO, restarts=True),
    "Turbo, morphing": App(
        both(TEXT, f"<meta name=turbo-refresh-method content=morph>{SCRIPT}"), TURBO, restarts=True
    ),
    "htmx, boosted": App(
        both(f"<div hx-boost:inherited=true>{TEXT}</div>", SCRIPT),
        "htmx.org/dist/htmx.js",
        restarts=True,
    ),
    "htmx, beside": App(
        both(
            "".join(
                f"<a href=/{name} hx-get=/{name} hx-select=#main hx-target=#main hx-swap=outerHTML"
                f" hx-push-url=true>To {name}</a> "
                for name in "ab"
            )
            + f"<main id=main><h1>NAME</h1></main>{FLOATING}",
            SCRIPT,
        ),
        "htmx.org/dist/htmx.js",
        back=False,
    ),
    "React 19": App(both(f"<div id=root></div>{FLOATING}", APP), source=REACT),
    "Vue 3": App(both(VUE_PAGE + SCRIPT + APP), "vue/dist/vue.global.js", VUE),
    "Vue 3, late": App(
        both(
            VUE_PAGE + SCRIPT + "<script>addEventListener('load', () => setTimeout(() => {"
            " const made = document.createElement('script'); made.src = '/app.js';"
            " document.head.append(made); }, 500))</script>"
        ),
        "vue/dist/vue.global.js",
        VUE,
    ),
    "Alpine": App(both(ALPINE_PAGE, SCRIPT), "alpinejs/dist/cdn.js"),
}


def bundle(source: str, node_modules: Path, folder: Path) -> str:
    """An app's script; with JSX, in React's development mode with its checks."""
    if "</" not in source:
        return source
    (folder / "node_modules").symlink_to(node_modules)
    (folder / "app.jsx").write_text(source)
    flags = ["--bundle", "--jsx=automatic", '--define:process.env.NODE_ENV="development"']
    command = [node_modules / ".bin/esbuild", "app.jsx", "--log-level=warning", *flags]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(params=["hosted", "served"])
def start(
    request: pytest.FixtureRequest,
    openai_standin: OpenAIStandIn,
    make_app: MakeApp,
    serve: Any,
    node_modules: Path,
    tmp_path: Path,
) -> Any:
    """Serve an app, its chats in OpenAI's element or in the built-in one."""

    def serve_app(app: App) -> str:
        kit, config = ChatKit(), {}
        if request.param == "hosted":
            kit.add_hosted("other", "wf_standin")
        else:
            config = {
                "CHATKIT_WORKFLOW_ID": None,
                "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
            }
            for name in ("default", "other"):
                kit.assistant(name)(lambda message, _chat: f"You wrote “{message.text}”")

        def setup(flask: Flask) -> None:
            html = IMPORT + "{{ chatkit_inline('other', id='within') }}"
            flask.add_url_rule("/part", "part", lambda: render_template_string(html))

            @flask.after_request
            def without_key(response: Response) -> Response:
                if response.mimetype == "text/html":
                    text = response.get_data(as_text=True)
                    response.set_data(text.replace('"domainKey":', '"noKey":'))
                return response

        files = {"/app.js": bundle(app.source, node_modules, tmp_path)}
        if app.script:
            files["/library.js"] = (node_modules / app.script).read_text("utf-8")
        site = Sites(openai_standin, make_app, serve)
        return site(app.pages, kit, files=files, policy=None, setup=setup, **config)

    serve_app.kind = request.param  # type: ignore[attr-defined]
    return serve_app


def talk(page: Page, kind: str, text: str) -> None:
    """Write a message, and wait for its answer."""
    if kind == "hosted":
        say(page, text, ".chatkit-floating")
        return
    builtin = page.locator(".chatkit-floating flask-chatkit-chat")
    builtin.get_by_role("textbox", name="Message", exact=True).fill(text)
    page.keyboard.press("Enter")
    answer = builtin.get_by_role("log").get_by_text(f"You wrote “{text}”")
    answer.wait_for(timeout=30_000)  # the first one waits for the server's own start


def goes_on(page: Page, kind: str, text: str) -> None:
    """The one widget is open, and shows what was written."""
    ready(page, ".chatkit-floating")
    words = f"You wrote “{text}”"
    if kind == "hosted":
        chat(page, ".chatkit-floating").get_by_text(words).wait_for()
    else:
        page.locator(".chatkit-floating").get_by_role("log").get_by_text(words).wait_for()
    for part in (".chatkit-floating", ".chatkit-launcher", "dialog", ".chatkit-bar"):
        assert page.locator(part).count() == 1, part
    element = "openai-chatkit" if kind == "hosted" else "flask-chatkit-chat"
    assert page.locator(f".chatkit-floating {element}").count() == 1


@pytest.mark.parametrize("name", APPS)
def test_one_widget_stays_through_twenty_navigations(
    page: Page, start: Any, console: Any, name: str
) -> None:
    """From page to page, back and forth, there is one widget; it is open, and the chat goes on."""
    app = APPS[name]
    page.goto(start(app) + "/a")
    page.get_by_role("heading", name="a", exact=True).wait_for()
    page.evaluate("window.same = 'page'")
    launcher(page).click()
    ready(page, ".chatkit-floating")
    talk(page, start.kind, "hello")
    element = "document.querySelector('.chatkit-floating .chatkit-body').lastElementChild"
    page.evaluate(f"window.element = {element}")
    for number in range(NAVIGATIONS):
        there = "ba"[number % 2]
        if app.back and number % 5 == 3:
            page.go_back()
        else:
            page.get_by_role("link", name=f"To {there}").click()
        page.get_by_role("heading", name=there, exact=True).wait_for()
        until(page, "document.documentElement.hasAttribute('data-turbo-preview')", False)
        goes_on(page, start.kind, "hello")
        if app.source or name == "Alpine":
            until(page, "document.querySelectorAll('#within').length", int(there == "b"))
    talk(page, start.kind, "still here")
    if not app.restarts:
        assert page.evaluate("element.isConnected")
    if app.source or name == "Alpine":
        page.get_by_role("link", name="To b").click()
        ready(page, "#within")
    assert page.evaluate("same") == "page"
    assert console.uncaught == []
    assert console.errors == []
