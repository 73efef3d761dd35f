"""What the browser tests share: a Chromium that reaches loopback only, pages, servers, npm."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest
from werkzeug.wrappers import Request, Response

from tests.helpers import chromium

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

Missing = Callable[[str, str], NoReturn]
NPM = {
    "@hotwired/turbo": "8.0.23",
    "@openai/chatkit": "1.9.0",
    "@openai/chatkit-react": "1.6.1",
    "@picocss/pico": "2.1.1",
    "alpinejs": "3.17.5",
    "axe-core": "4.14.1",
    "bootstrap": "5.3.9",
    "esbuild": "0.28.2",
    "focus-trap": "8.2.4",
    "htmx.org": "4.0.1",
    "jquery": "3.7.1",
    "jquery-ui-dist": "1.13.3",
    "lenis": "1.3.27",
    "react": "19.3.1",
    "react-dom": "19.3.1",
    "requirejs": "2.3.8",
    "tabbable": "6.5.2",
    "typescript": "7.0.2",
    "vue": "3.5.45",
}


@pytest.fixture(scope="session")
def browser(missing: Missing) -> Iterator[Browser]:
    """Start one headless Chromium for the run; no name but localhost resolves in it."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright", "pip install playwright")
    program = chromium.program()
    if program is None:
        missing("Chromium", chromium.MISSING)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=chromium.FLAGS)
        yield started
        started.close()


@dataclass
class Console:
    """What a page complained about so far, its frames included, oldest first.

    ``errors`` are console.error lines and what the browser itself reports, ``uncaught`` are
    exceptions nobody caught, ``violations`` the directives of the policy that were violated.
    """

    errors: list[str] = field(default_factory=list)
    uncaught: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        """Everything of the three kinds; empty on a page without complaints."""
        return [*self.errors, *self.uncaught, *self.violations]

    def watch(self, page: Page) -> None:
        """Collect from `page` from now on."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.uncaught.append(str(error)))
        page.expose_binding("__violated", lambda _source, what: self.violations.append(what))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) =>"
            " window.__violated(event.effectiveDirective))"
        )

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Open a fresh browser profile; a test file may override this to change its options."""
    # What moves is measured where it is not meant to be.
    context = browser.new_context(
        locale="en-GB", viewport={"width": 1000, "height": 800}, reduced_motion="reduce"
    )
    context.set_default_timeout(20_000)  # milliseconds
    yield context
    context.close()


@pytest.fixture
def console() -> Console:
    """Collect the complaints of the test's `page`."""
    return Console()


@pytest.fixture
def page(context: BrowserContext, console: Console) -> Page:
    """Open a blank page whose complaints go to `console`."""
    page = context.new_page()
    console.watch(page)
    return page


def _answer(app: Any, environ: dict[str, Any], start_response: Any) -> Any:
    """Answer from an app or from fixed files; a favicon is always empty."""
    path = Request(environ).path
    if path == "/favicon.ico":
        response = Response(status=204)
    elif callable(app):
        response = app
    elif path in app:
        response = Response(app[path][1], content_type=app[path][0])
    else:
        response = Response("Not found", 404)
    return response(environ, start_response)


class Serve(Protocol):
    """How the fixture `serve` is called."""

    def __call__(self, app: WSGIApplication | Mapping[str, tuple[str, str | bytes]]) -> str:
        """Serve a WSGI app, or path → (content type, body); the base URL, without a slash."""
        ...


@pytest.fixture
def serve(serve: Callable[[Any], str]) -> Serve:
    """Serve apps or dicts of files; a browser's favicon is always answered."""
    return lambda app: serve(partial(_answer, app))


@pytest.fixture(scope="session")
def node_modules(request: pytest.FixtureRequest, missing: Missing) -> Path:
    """Find the npm packages the tests need, or install them once into pytest's cache.

    FLASK_CHATKIT_NODE_MODULES names a ``node_modules`` folder that has them already.
    """
    if shutil.which("node") is None:
        missing("Node.js", "put node and npm on the PATH")
    given = os.environ.get("FLASK_CHATKIT_NODE_MODULES")
    if given:
        return Path(given)
    folder = Path(request.config.cache.mkdir("npm"))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests may run in several processes
        _install_npm(folder, missing)
    return folder / "node_modules"


def _install_npm(folder: Path, missing: Missing) -> None:
    stamp = folder / "installed.txt"
    wanted = [f"{name}@{version}" for name, version in NPM.items()]
    if not stamp.is_file() or stamp.read_text() != "\n".join(wanted):
        npm = shutil.which("npm")
        if npm is None:
            missing("npm", "put it on the PATH, or set FLASK_CHATKIT_NODE_MODULES")
        quiet = ["--no-audit", "--no-fund", "--no-save"]
        done = subprocess.run(
            [npm, "install", "--prefix", folder, *quiet, *wanted],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode != 0:
            missing("npm packages", f"npm install failed: {done.stderr.strip()[-300:]}")
        stamp.write_text("\n".join(wanted))
