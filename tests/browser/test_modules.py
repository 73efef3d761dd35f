"""The widget's modules in Chromium: fetched in one go, from one tree, and without globals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, request

from flask_chatkit.testing import OpenAIStandIn
from flask_chatkit.widget.assets import FOLDER, tree_hash
from tests.helpers.pages import Sites, hold, launcher, ready
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: All that a widget needs; the others are for those that have a teaser, wait for consent, are
#: listened to by a wrong name, are refused, or have an answer in OpenAI's element that outlives its
#: page.
LATER = ("consent", "csrf", "names", "outlive", "refusals", "teaser")
MODULES = {"lang/en.js", "shared/locales.js"} | {
    path.relative_to(FOLDER).as_posix()
    for folder in ("shared", "widget")
    for path in (FOLDER / folder).glob("*.js")
} - {f"widget/{name}.js" for name in LATER}
#: Comes beside OpenAI's script, which takes longer.
BESIDE = "widget/openai.js"
#: Those that the loader names.
FIRST = {
    f"widget/{name}.js" for name in ("index", "element", "notices", "panel", "secrets", "theme")
}
OUTDATED = "0" * 12


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


def modules(site: Sites, tree: str) -> set[str]:
    """The modules that a site was asked for in a tree."""
    prefix = f"/chatkit/static/{tree}/"
    return {path.removeprefix(prefix) for path in site.asked if path.startswith(prefix)}


def test_modules_come_in_two_steps(page: Page, site: Sites) -> None:
    """Two steps of six requests, as many as a browser has at once over HTTP/1.1, bring them all."""
    held = hold(page, re.compile(rf"/static/\w+/(lang|shared|widget)/(?!{BESIDE[7:]})"))
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    launcher(page).click()
    asked: list[set[str]] = []
    for _ in range(2):
        for _ in range(100):
            if len(held) >= 6:
                break
            page.wait_for_timeout(50)
        page.wait_for_timeout(100)
        step, held[:] = list(held), []
        asked.append({route.request.url.partition(f"/{tree_hash()}/")[2] for route in step})
        for route in step:
            route.continue_()
    ready(page)
    assert held == []
    assert [len(step) for step in asked] == [6, 6]
    assert asked[0] | asked[1] == MODULES - {BESIDE}


@pytest.mark.parametrize("how", ["hover", "focus"])
def test_modules_are_there_before_the_click(page: Page, site: Sites, how: str) -> None:
    """Who points at the launcher has all modules by the time of the click."""
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    assert modules(site, tree_hash()) == set()
    getattr(launcher(page), how)()
    page.wait_for_function("() => FlaskChatKit.act")
    for _ in range(100):
        if BESIDE in modules(site, tree_hash()):
            break
        page.wait_for_timeout(20)
    assert modules(site, tree_hash()) == MODULES
    before = len(site.asked)
    launcher(page).click()
    ready(page)
    assert not [path for path in site.asked[before:] if path.endswith(".js")]


def test_page_of_the_version_before_gets_one_tree(page: Page, site: Sites, console: Any) -> None:
    """The hash of another version is redirected; all that comes after is from today's tree."""

    def outdate(response: Any) -> Any:
        if request.path == "/":
            response.set_data(response.get_data().replace(tree_hash().encode(), OUTDATED.encode()))
        return response

    def setup(app: Flask) -> None:
        app.after_request(outdate)

    page.goto(site({"/": "{{ chatkit_floating() }}"}, setup=setup))
    launcher(page).click()
    ready(page)
    assert modules(site, OUTDATED) == FIRST
    assert modules(site, tree_hash()) == MODULES
    assert console.all == []


@pytest.mark.parametrize("name", ["widget/index.js", "widget/panel.js", "shared/dom.js"])
def test_module_that_did_not_come_is_fetched_again(page: Page, site: Sites, name: str) -> None:
    """A visitor who clicks again, when the network is back, gets the chat."""
    pattern = re.compile(re.escape(name))
    page.route(pattern, lambda route: route.abort())
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    launcher(page).click()
    page.locator(".chatkit-fallback").wait_for()
    page.unroute(pattern)
    launcher(page).click()
    ready(page)
    assert page.locator(".chatkit-fallback").count() == 0


def test_page_gets_one_global(page: Page, site: Sites) -> None:
    """The page's scripts see FlaskChatKit, and nothing else that was not there before."""
    base = site({"/": "{{ chatkit_floating() }}", "/without": "<p>"})
    page.goto(f"{base}/without")
    before = set(page.evaluate("Object.getOwnPropertyNames(window)"))
    page.goto(base)
    launcher(page).click()
    ready(page)
    after = set(page.evaluate("Object.getOwnPropertyNames(window)"))
    # OpenAI's script is the stand-in's here.
    assert {name for name in after - before if "tandin" not in name} == {"FlaskChatKit"}
