"""What a page pays for a chat that nobody has opened: bytes, requests, and nothing that moves."""

from __future__ import annotations

import gzip
import re
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from flask_chatkit.widget.assets import FOLDER, served
from tests.helpers.pages import Sites, alien, hold, launcher, ready, until
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: A page as there are many: what it says is packed with what is added.
WORDS = "<main>" + "".join(
    f"<section><h2>Part {number}</h2><p class='text-{number}'>Number {number} of the things that we"
    f" make of wood. <a href='/parts/{number}'>Read more</a></p></section>"
    for number in range(12)
)
STYLED = (
    "chatkit_floating(accent='#7a1fa2', side='left', edge='top', size='64px', offset='2rem 3rem',"
    " z_index=50, icon='question', text='Help', label='Help chat', width='26rem', height='80vh')"
)
#: What stands on a page, and how many bytes its HTML may be.
PAGES = {
    "floating": ("{{ chatkit_floating() }}", 600),
    "styled": ("{{ " + STYLED + " }}", 620),  # with all that a launcher can be told
    "teaser": ("{{ chatkit_floating(teaser={'text': 'May we help?', 'delay': 60}) }}", 600),
    "consent": (
        "{{ chatkit_floating(load='consent') }}<div hidden>{{ chatkit_inline(load='consent') }}",
        600,
    ),
    "several": (
        "{{ chatkit_floating() }}{{ chatkit_floating('sales') }}<div hidden>{{ chatkit_inline() }}",
        600,
    ),
}
YEAR = 31_536_000  # seconds
#: Our own scripts.
CODE = sorted(
    path.relative_to(FOLDER).as_posix()
    for ending in ("js", "css")
    for path in FOLDER.rglob(f"*.{ending}")
)
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const { value, sources } of list.getEntries()) {
    shifts.push([value, ...sources.map(({ node }) => node?.outerHTML?.slice(0, 90))]);
  }
}).observe({ type: "layout-shift", buffered: true });
window.tasks = [];
new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)))
  .observe({ type: "longtask", buffered: true });
"""
WRITES = """
window.writes = [];
for (const name of ["setItem", "removeItem", "clear"]) {
  const real = Storage.prototype[name];
  Storage.prototype[name] = function (...given) {
    writes.push([name, ...given]);
    return real.apply(this, given);
  };
}
"""


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


@dataclass
class Cost:
    """What a page with a chat pays more than the same page without it; sizes are packed bytes."""

    javascript: int = 0
    css: int = 0
    html: int = 0
    requests: int = 0
    forgotten: int = 0  # files that are not kept for a year
    third_parties: int = 0
    mints: int = 0
    cookies: int = 0
    writes: int = 0  # into the visitor's storage


BUDGET = Cost(javascript=2_500, css=1_600, html=600, requests=2)


def over(cost: Cost, budget: Cost = BUDGET) -> dict[str, int]:
    """What is more than the budget has."""
    limits = asdict(budget)
    return {name: found for name, found in asdict(cost).items() if found > limits[name]}


def packed(html: str) -> int:
    return len(gzip.compress(html.encode(), 9))


def measure(page: Page, site: Sites, base: str) -> Cost:
    """Load the page that has a chat, and see what came until nothing more came."""
    answers: list[dict[str, Any]] = []
    network = page.context.new_cdp_session(page)
    network.on("Network.responseReceived", lambda event: answers.append(event["response"]))
    network.send("Network.enable")
    strangers = alien(page, base)
    page.add_init_script(WRITES)
    with page.expect_response(f"{base}/with") as document:
        page.goto(f"{base}/with", wait_until="networkidle")
    # The body as it came over the wire, without its headers.
    sizes = page.evaluate(
        "Object.fromEntries(performance.getEntriesByType('resource')"
        ".map(({ name, encodedBodySize }) => [name, encodedBodySize]))"
    )
    own = {
        answer["url"]: answer
        for answer in answers
        if answer["url"].startswith(base) and answer["url"] != document.value.url
    }
    assert set(own) == {url for url in sizes if url.startswith(base)}
    cost = Cost(
        html=packed(document.value.text())
        - packed(requests.get(f"{base}/without", timeout=9).text),
        requests=len(own),
        third_parties=len(strangers),
        mints=site.mints + site.asked.count("/chatkit/secret"),
        cookies=len(page.context.cookies()),
        writes=page.evaluate("writes.length + localStorage.length + sessionStorage.length"),
    )
    for url, answer in own.items():
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        assert headers["content-encoding"] == "gzip"
        assert int(headers["content-length"]) == sizes[url]
        if url.endswith(".css"):
            cost.css += sizes[url]
        else:
            cost.javascript += sizes[url]
        kept = f"public, max-age={YEAR}, immutable"
        hashed = re.search(r"\.[0-9a-f]{12}\.(js|css)$", url)
        cost.forgotten += not (hashed and headers["cache-control"] == kept)
    return cost


def two_chats() -> ChatKit:
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")
    return kit


@pytest.mark.parametrize("name", PAGES)
def test_page_keeps_within_the_budget(page: Page, site: Sites, console: Any, name: str) -> None:
    """Two small files that are kept for a year, little HTML, and nothing else before an intent."""
    body, html = PAGES[name]
    base = site({"/with": WORDS + body, "/without": WORDS}, two_chats())
    cost = measure(page, site, base)
    assert over(cost, replace(BUDGET, html=html)) == {}
    assert cost.requests == 2
    assert console.all == []


def test_served_chat_costs_no_more(page: Page, site: Sites, tmp_path: Path) -> None:
    """A chat that the site serves itself keeps within the same budget."""
    kit = ChatKit()

    @kit.assistant()
    def answer(message: Any, _chat: Any) -> str:
        return f"You wrote “{message.text}”"

    pages = {"/with": WORDS + "{{ chatkit_floating() }}", "/without": WORDS}
    history = f"sqlite:///{tmp_path}/history.sqlite3"
    config = {"CHATKIT_WORKFLOW_ID": None, "CHATKIT_DATABASE_URI": history}
    assert over(measure(page, site, site(pages, kit, **config))) == {}


@pytest.mark.parametrize("name", asdict(BUDGET))
def test_one_too_many_is_noticed(name: str) -> None:
    """The check fails on a single byte, request or write more than the budget has."""
    limit = asdict(BUDGET)[name]
    assert over(replace(BUDGET, **{name: limit})) == {}
    assert over(replace(BUDGET, **{name: limit + 1})) == {name: limit + 1}


@pytest.mark.parametrize("how", ["hover", "focus"])
def test_pointing_at_the_launcher_warms_up(page: Page, site: Sites, how: str) -> None:
    """Who points at the launcher has the scripts fetched, and nothing that knows the visitor."""
    base = site({"/": WORDS + "{{ chatkit_floating() }}"})
    strangers = alien(page, base)
    page.add_init_script(WRITES)
    page.goto(base, wait_until="networkidle")
    assert strangers == []
    getattr(launcher(page), how)()
    until(page, "Boolean(customElements.get('openai-chatkit'))")
    assert strangers == [site.script]
    assert page.locator("openai-chatkit").count() == 0
    assert site.mints == 0
    assert page.context.cookies() == []
    assert page.evaluate("writes") == []


FLOW = (
    "<p>Before<main>{{ chatkit_inline(id='a', height='420px', width=500) }}<p>Between"
    "{{ chatkit_inline(id='b', height='20rem', width='75%') }}<p>Between"
    "{{ chatkit_inline(id='c', height='30vh') }}<p>Between"
    "{{ chatkit_inline(id='d', width='30rem') }}<p>Between"
    "{{ chatkit_themed(id='e', height='18em', accent='#7a1fa2') }}</main><p>After"
)
#: The page, and the widgets whose chat comes without a click.
STEADY = {
    "flow": (FLOW, ["#a", "#b", "#c", "#d", "#e"]),
    "styled": (WORDS + "{{ " + STYLED + " }}", []),
    "click": ("<p>Before{{ chatkit_inline(height='50vh', load='click') }}<p>After", []),
}


@pytest.mark.parametrize("width", [1000, 390])
@pytest.mark.parametrize("name", STEADY)
def test_nothing_moves(page: Page, site: Sites, name: str, width: int) -> None:
    """However late the loader comes, nothing of the page shifts while the chat comes to life."""
    body, live = STEADY[name]
    site.slow = {"/loader.": 0.4, "/widget/": 0.2}
    page.set_viewport_size({"width": width, "height": 2400})
    page.add_init_script(SHIFTS)
    page.goto(site({"/": body}), wait_until="networkidle")
    for root in live:
        ready(page, root)
    assert page.evaluate("shifts") == []


def test_full_page_does_not_move(page: Page, site: Sites) -> None:
    """The chat's own page stands as it was first painted."""
    site.slow = {"/loader.": 0.4}
    page.add_init_script(SHIFTS)
    page.goto(site({}) + "/chatkit/", wait_until="networkidle")
    ready(page)
    assert page.evaluate("shifts") == []


def test_shift_would_be_noticed(page: Page, site: Sites) -> None:
    """What moves after it was painted is seen by the same observer."""
    page.add_init_script(SHIFTS)
    page.goto(site({"/": WORDS}))
    page.evaluate("new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)))")
    page.evaluate("document.body.style.paddingTop = '300px'")
    until(page, "shifts.length > 0")


def test_launcher_is_never_shown_as_it_is_not(page: Page, site: Sites) -> None:
    """Before the loader has come a launcher is as it will be, or not there to be seen."""
    held = hold(page, re.compile(r"/loader\."))
    plain = "{{ chatkit_floating(id='plain', side='left', edge='top', icon='spark') }}"
    styled = "{{ " + STYLED.replace("floating(", "floating(id='styled', ") + " }}"
    base = site({"/": WORDS + plain + styled})
    page.goto(base, wait_until="commit")
    seen = "(root) => getComputedStyle(root.querySelector('.chatkit-launcher')).visibility"
    for root in ("#plain", "#styled"):
        launcher(page, root).wait_for(state="attached")
    until(page, "document.styleSheets.length", 1)
    assert page.locator("#plain").evaluate(seen) == "visible"
    assert page.locator("#styled").evaluate(seen) == "hidden"
    before = launcher(page, "#plain").bounding_box()
    assert (before["x"], before["y"]) == (20, 20)
    (loader,) = held
    loader.continue_()
    launcher(page, "#styled").wait_for(state="visible")
    assert launcher(page, "#plain").bounding_box() == before
    box = launcher(page, "#styled").bounding_box()
    assert (box["x"], box["y"], box["height"]) == (32, 48, 64)
    colour = "(node) => getComputedStyle(node).backgroundColor"
    assert launcher(page, "#styled").evaluate(colour) == "rgb(122, 31, 162)"


def test_no_task_is_long(page: Page, site: Sites) -> None:
    """To load a page with launchers keeps the browser from nothing else."""
    base = site({"/": WORDS + PAGES["several"][0]}, two_chats())
    page.add_init_script(SHIFTS)
    # A machine that is busy otherwise makes any task long: one of a few loads has none.
    for _ in range(5):
        page.goto(base, wait_until="networkidle")
        tasks = page.evaluate("tasks")
        if not tasks:
            break
    assert tasks == []


@pytest.mark.parametrize("name", CODE)
def test_what_is_left_out_is_no_code(name: str, node_modules: Path, tmp_path: Path) -> None:
    """What is served says the same as its source, comments and white space apart."""
    codes = []
    file = f"code{Path(name).suffix}"
    for code in (served(name), (FOLDER / name).read_bytes()):
        (tmp_path / file).write_bytes(code)
        command = [node_modules / ".bin/esbuild", "--minify", file]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        codes.append(done.stdout)
    assert codes[0] == codes[1] != b""
