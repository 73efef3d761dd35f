"""A site for the widget's tests: given pages and files, a policy, and a chat on another site."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, render_template_string, request

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page, Route

IMPORT = '{% from "chatkit/macros.html" import chatkit_floating, chatkit_inline, chatkit_themed %}'
HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Site</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="icon" href="data:,">'
)
#: No inline script or style, and nothing from anywhere but the site and the chat's own.
STRICT = (
    "default-src 'none'; script-src 'self' {cdn}; style-src 'self'; connect-src 'self';"
    " frame-src {cdn}; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)
#: What a site writes that trusts a nonce, and no address.
NONCE = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self';"
    " frame-src {cdn}; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)
#: The same, for scripts that trusted ones bring along.
DYNAMIC = NONCE.replace("script-src", "script-src 'strict-dynamic'")
POLICIES = {"addresses": STRICT, "nonce": NONCE, "dynamic": DYNAMIC}
TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Sites:
    """Starts sites.

    :param openai: the stand-in that mints and whose element is shown.
    """

    def __init__(
        self, openai: OpenAIStandIn, make_app: MakeApp, serve: Callable[[Any], str]
    ) -> None:
        self.openai = openai
        self.make_app = make_app
        self.serve = serve
        #: On another site than the page, as OpenAI's is.
        self.script = openai.script_url.replace("127.0.0.1", "localhost")
        self.cdn = self.script.partition("/deployments")[0]
        #: The paths that each site was asked for, oldest first.
        self.asked: list[str] = []
        #: Seconds that an answer takes, by a part of its path.
        self.slow: dict[str, float] = {}

    def __call__(
        self,
        pages: Mapping[str, str],
        kit: ChatKit | None = None,
        *,
        files: Mapping[str, str] | None = None,
        policy: str | None = STRICT,
        debug: bool = False,
        setup: Callable[[Flask], None] | None = None,
        **config: Any,
    ) -> str:
        """Serve a site, and tell its address.

        :param pages: path → what its template holds, or all of it when it says its doctype.
        :param files: path → text of a stylesheet, script or picture.
        :param policy: its Content-Security-Policy; None for none.
        :param setup: is called with the application before it is served.
        """
        settings = {"CHATKIT_SCRIPT_URL": self.script, **config}
        app = self.make_app(kit or ChatKit(), **settings)
        app.debug = debug
        for path, text in pages.items():
            app.add_url_rule(path, path, lambda text=text: document(text))
        for path, text in (files or {}).items():
            kind = TYPES[path.rpartition(".")[2]]
            app.add_url_rule(path, path, lambda text=text, kind=kind: Response(text, mimetype=kind))

        @app.before_request
        def note() -> None:
            self.asked.append(request.path)
            for part, seconds in self.slow.items():
                if part in request.path:
                    time.sleep(seconds)

        @app.after_request
        def secure(response: Any) -> Any:
            if policy is not None:
                said = policy.format(cdn=self.cdn, nonce="abc")
                response.headers["Content-Security-Policy"] = said
            return response

        if setup is not None:
            setup(app)
        return str(self.serve(app))

    @property
    def mints(self) -> int:
        """How often a session was asked for."""
        return sum(each.path == "/v1/chatkit/sessions" for each in self.openai.requests)


def document(text: str) -> str:
    """Render a page."""
    if text.startswith("<!doctype"):
        return render_template_string(text.replace("<body", IMPORT + "<body", 1))
    return render_template_string(f"{HEAD}</head><body>{IMPORT}{text}</body></html>")


def styled(sheet: str, body: str) -> str:
    """A page with a stylesheet of the site's in its head."""
    return f'{HEAD}<link rel="stylesheet" href="{sheet}"></head><body>{body}</body></html>'


def launcher(page: Page, root: str = ".chatkit-floating") -> Any:
    """A widget's launcher."""
    return page.locator(f"{root} > .chatkit-launcher")


def chat(page: Page, root: str = "[data-chatkit]") -> FrameLocator:
    """What is in the frame of OpenAI's element."""
    return page.frame_locator(f"{root} openai-chatkit iframe")


def ready(page: Page, root: str = "[data-chatkit]") -> None:
    """Wait until a chat can be used."""
    page.wait_for_selector(f"{root}[data-state=ready]", state="attached")


def usable(page: Page, root: str = "[data-chatkit]") -> FrameLocator:
    """Wait until a visitor can write in OpenAI's element; what is in its frame."""
    ready(page, root)
    chat(page, root).locator("#input").wait_for()
    return chat(page, root)


def wrote(page: Page, text: str, root: str = "[data-chatkit]") -> None:
    """Wait for the answer to a message."""
    chat(page, root).get_by_text(f"You wrote “{text}”").wait_for()


def say(page: Page, text: str, root: str = "[data-chatkit]") -> None:
    """Write a message, and wait for the answer to it."""
    frame = chat(page, root)
    frame.locator("#input").fill(text)
    frame.locator("#send").click()
    wrote(page, text, root)


def state(page: Page, wanted: str, root: str = "[data-chatkit]") -> None:
    """Wait for a widget's state."""
    page.wait_for_selector(f"{root}[data-state={wanted}]", state="attached")


def alien(page: Page, base: str) -> list[str]:
    """The addresses of other sites that a page asks for from now on."""
    asked: list[str] = []
    page.on(
        "request",
        lambda request: (
            asked.append(request.url)
            if not request.url.startswith((base, "data:", "about:"))
            else None
        ),
    )
    return asked


def hold(page: Page, pattern: re.Pattern[str]) -> list[Any]:
    """The requests that a page makes from now on for some address, which get no answer yet."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(pattern, keep)
    return held


def until(page: Page, expression: str, wanted: Any = True, what: Any = None) -> None:
    """Wait until an expression is what it should be, which a strict policy lets nobody wait for."""
    found = page.evaluate(expression, what)
    for _ in range(200):
        if found == wanted:
            return
        page.wait_for_timeout(50)
        found = page.evaluate(expression, what)
    assert found == wanted
