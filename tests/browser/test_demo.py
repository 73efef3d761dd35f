"""The demo shop in a real Chromium, with the stand-ins that it runs by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from demo_app import create_app
from demo_app.assistant import UNKNOWN, reply
from demo_app.catalogue import PRODUCTS
from flask_chatkit.testing import OpenAIStandIn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator, Page

FLOATING = ".chatkit-floating"
INLINE = ".chatkit-inline"
THEMED = ".chatkit-themed"
PRODUCT = "/products/drizzle-jacket"
#: Each page, and the widgets on it.
PAGES = {
    "/": [FLOATING],
    "/help": [INLINE],
    PRODUCT: [THEMED, FLOATING],
    "/login": [FLOATING],
    "/chatkit/": [INLINE],
    "/chatkit/help/": [INLINE],
}
CHATS = [(path, widget) for path, widgets in PAGES.items() for widget in widgets]
#: The shop's surface in the light and in the dark.
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(31, 38, 32)"
VARIABLES = ("OPENAI_API_KEY", "CHATKIT_API_KEY", "CHATKIT_WORKFLOW_ID")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own key and workflow out of the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"FLASK_{name}", raising=False)


@dataclass
class Shop:
    """The demo, served: where it is, and the stand-in that it talks to."""

    url: str
    standin: OpenAIStandIn

    @property
    def minted(self) -> int:
        """How many sessions were created upstream."""
        return [(call.method, call.path) for call in self.standin.requests].count(
            ("POST", "/v1/chatkit/sessions")
        )


@pytest.fixture
def shop(serve) -> Iterator[Shop]:
    """Serve the demo as it runs without a key: with stand-ins."""
    app = create_app()
    standin: OpenAIStandIn = app.extensions["openai_standin"]
    yield Shop(serve(app), standin)
    standin.stop()


def open_chat(page: Page, widget: str) -> FrameLocator:
    """Bring a widget's chat up as a visitor does, and wait until it has its secret."""
    root = page.locator(widget)
    if widget == FLOATING:
        root.locator(".chatkit-launcher").click()
    else:
        root.scroll_into_view_if_needed()
    page.locator(f"{widget}[data-state=ready]").wait_for(state="attached")
    return page.frame_locator(f"{widget} iframe")


def ask(chat: FrameLocator, text: str) -> None:
    """Type a message and send it."""
    chat.get_by_label("Message", exact=True).fill(text)
    chat.get_by_role("button", name="Send", exact=True).click()


def expect_colour(chat: FrameLocator, colour: str) -> None:
    """Wait until the inside of a chat is painted with a colour."""
    from playwright.sync_api import expect

    expect(chat.locator("#chat")).to_have_css("background-color", colour)


@pytest.mark.parametrize("path", PAGES)
def test_page_opens_without_a_complaint(page: Page, shop: Shop, console: Any, path: str) -> None:
    """Each page opens under its strict policy, and each chat on it appears, with no complaint."""
    page.goto(shop.url + path)
    for widget in PAGES[path]:
        open_chat(page, widget).get_by_label("Message", exact=True).wait_for()
    assert console.all == []


@pytest.mark.parametrize("path", ["/", "/login", "/nope"])
def test_page_costs_nothing_before_the_click(
    page: Page, shop: Shop, console: Any, path: str
) -> None:
    """A page with a launcher alone loads no chat, mints nothing and sets no cookie."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.goto(shop.url + path)
    page.wait_for_load_state("networkidle")
    assert not [path for path in asked if path.startswith("/standin") or "secret" in path]
    assert shop.standin.requests == []
    assert page.context.cookies() == []
    assert console.violations == console.uncaught == []


@pytest.mark.parametrize(("path", "widget"), CHATS)
def test_message_is_answered(page: Page, shop: Shop, path: str, widget: str) -> None:
    """On each page a message can be sent to the stand-in and is answered by the shop's replies."""
    page.goto(shop.url + path)
    chat = open_chat(page, widget)
    ask(chat, "How long does delivery take?")
    chat.get_by_text("2 to 3 working days").wait_for()


@pytest.mark.parametrize(("path", "widget"), CHATS)
def test_chat_fills_its_place(page: Page, shop: Shop, path: str, widget: str) -> None:
    """The frame is as large as its place although the policy blocks the element's own style."""
    page.goto(shop.url + path)
    open_chat(page, widget)
    frame = page.locator(f"{widget} iframe").bounding_box()
    place = page.locator(f"{widget} .chatkit-body").bounding_box()
    assert frame == place
    assert frame is not None
    assert frame["width"] > 300
    assert frame["height"] > 400


def test_switch_changes_the_chat(page: Page, shop: Shop) -> None:
    """The light/dark switch repaints the themed chat in the shop's colours, in the same frame."""
    page.emulate_media(color_scheme="light")
    page.goto(shop.url + PRODUCT)
    chat = open_chat(page, THEMED)
    ask(chat, "Which size should I take?")
    chat.get_by_text("true to size").wait_for()
    expect_colour(chat, LIGHT)
    page.get_by_role("button", name="Dark").click()
    expect_colour(chat, DARK)
    assert chat.get_by_text("true to size").is_visible()
    assert page.evaluate("__chatkitStandin.frameLoads") == 1
    page.get_by_role("button", name="Dark").click()
    expect_colour(chat, LIGHT)


def test_switch_is_remembered(page: Page, shop: Shop) -> None:
    """The next page is dark from the start, and so is its chat."""
    page.emulate_media(color_scheme="light")
    page.goto(shop.url)
    page.get_by_role("button", name="Dark").click()
    page.goto(shop.url + PRODUCT)
    page.locator("html[data-theme=dark]").wait_for()
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    expect_colour(open_chat(page, THEMED), DARK)


def test_system_decides_without_a_choice(page: Page, shop: Shop) -> None:
    """A visitor who chose nothing gets the system's light or dark, and it may change."""
    page.emulate_media(color_scheme="dark")
    page.goto(shop.url + PRODUCT)
    chat = open_chat(page, THEMED)
    expect_colour(chat, DARK)
    page.emulate_media(color_scheme="light")
    expect_colour(chat, LIGHT)


@pytest.mark.parametrize(
    ("paths", "widgets"),
    [
        (["/", "/login"] * 5, [FLOATING]),
        (["/help"] * 10, [INLINE]),
        ([f"/products/{slug}" for slug in [*PRODUCTS, *PRODUCTS][:10]], [THEMED, FLOATING]),
    ],
    ids=["floating", "inline", "both"],
)
def test_ten_views_mint_once(page: Page, shop: Shop, paths: list[str], widgets: list[str]) -> None:
    """Ten page views with the chat opened on each mint one secret for each chat."""
    posted: list[str] = []
    page.on(
        "request",
        lambda request: request.method == "POST" and posted.append(urlsplit(request.url).path),
    )
    for path in paths:
        page.goto(shop.url + path)
        for widget in widgets:
            open_chat(page, widget).get_by_label("Message", exact=True).wait_for()
    minting = [path for path in posted if re.search(r"/(secret|refresh)$", path)]
    assert len(minting) == len(set(minting)) == len(widgets)
    assert shop.minted == len(widgets)


def test_secret_that_runs_out_is_refreshed(page: Page, shop: Shop) -> None:
    """A conversation goes on when its secret has run out: one refresh, seen by nobody."""
    page.goto(shop.url + "/help")
    chat = open_chat(page, INLINE)
    ask(chat, "Hello")
    chat.get_by_text("What are you getting ready for?").wait_for()
    (session,) = shop.standin.sessions
    shop.standin.expire(session)
    with page.expect_request(lambda request: request.url.endswith("/refresh")):
        ask(chat, "Can I send it back?")
    chat.get_by_text("60 days").wait_for()
    assert shop.minted == 2
    assert len(shop.standin.threads) == 1


def test_two_chats_live_on_one_page(page: Page, shop: Shop) -> None:
    """The product page's two chats talk each on its own, and both stay."""
    page.goto(shop.url + PRODUCT)
    themed, floating = open_chat(page, THEMED), open_chat(page, FLOATING)
    ask(themed, "Which size should I take?")
    ask(floating, "When are you open?")
    themed.get_by_text("true to size").wait_for()
    floating.get_by_text("9:00 to 16:00").wait_for()
    assert themed.get_by_text("true to size").is_visible()
    assert not themed.get_by_text("9:00 to 16:00").is_visible()
    assert page.evaluate("__chatkitStandin.frameLoads") == 2
    assert len(shop.standin.threads) == 2


def test_login_is_who_chats(page: Page, shop: Shop) -> None:
    """Who signs in chats as somebody else, and as before once signed out; no secret is shared."""
    page.goto(shop.url)
    open_chat(page, FLOATING)
    page.goto(shop.url + "/login")
    page.get_by_label("Name").fill("Ada Fell")
    page.locator("main").get_by_role("button", name="Sign in").click()
    page.get_by_text("Hello, Ada Fell.").wait_for()
    open_chat(page, FLOATING)
    page.get_by_role("button", name="Sign out Ada Fell").click()
    page.get_by_text("You are signed out.").wait_for()
    open_chat(page, FLOATING)
    before, during, after = (session["user"] for session in shop.standin.sessions.values())
    assert before == after != during


@pytest.mark.parametrize("path", PAGES)
def test_small_screen_needs_no_sideways_scrolling(page: Page, shop: Shop, path: str) -> None:
    """At 320 CSS pixels nothing sticks out, written from the left or from the right."""
    page.set_viewport_size({"width": 320, "height": 640})
    for direction in ("ltr", "rtl"):
        page.goto(f"{shop.url}{path}?dir={direction}")
        assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize(
    ("path", "links"),
    [
        ("/", {"Chat with the shop": "/chatkit/"}),
        ("/help", {"Help chat": "/chatkit/help/"}),
        (PRODUCT, {"Fitting room chat": "/chatkit/stylist/", "Chat with the shop": "/chatkit/"}),
    ],
)
def test_without_scripts_a_link_leads_to_the_chat(
    browser: Browser, shop: Shop, path: str, links: dict[str, str]
) -> None:
    """With JavaScript off each widget is a link to its full page, which says what is wrong."""
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(shop.url + path)
        assert page.locator(".chatkit-launcher:visible").count() == 0
        for name in links:
            assert page.get_by_role("link", name=name, exact=True).is_visible()
        for name, target in links.items():
            page.goto(shop.url + path)
            page.get_by_role("link", name=name, exact=True).click()
            page.wait_for_url(shop.url + target)
            assert page.locator("noscript p").is_visible()
    finally:
        context.close()


def test_page_says_whom_it_talks_to(page: Page, shop: Shop) -> None:
    """Each page says in a strip that it talks to stand-ins, and how to talk to OpenAI."""
    page.goto(shop.url)
    said = page.locator(".notice").inner_text()
    assert said == (
        "This demo talks to stand-ins on this machine: no key, no account, no internet. "
        "Set OPENAI_API_KEY and CHATKIT_WORKFLOW_ID to use OpenAI."
    )


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OPENAI_API_KEY": "sk-invented"}, "A key is set; set CHATKIT_WORKFLOW_ID too"),
        ({"FLASK_CHATKIT_API_KEY": "sk-invented"}, "A key is set; set CHATKIT_WORKFLOW_ID too"),
        ({"CHATKIT_WORKFLOW_ID": "wf_invented"}, "A workflow is set; set OPENAI_API_KEY too"),
        ({}, "Set OPENAI_API_KEY and CHATKIT_WORKFLOW_ID to use OpenAI."),
    ],
)
def test_half_a_configuration_runs_stand_ins(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    words: str,
) -> None:
    """Without both key and workflow it runs on stand-ins, and says in a line what is missing."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    app = create_app()
    app.extensions["openai_standin"].stop()
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert "invented" not in told
    assert "invented" not in app.config["CHATKIT_API_KEY"]


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "CHATKIT_API_KEY", "FLASK_CHATKIT_API_KEY"])
@pytest.mark.parametrize("workflow", ["CHATKIT_WORKFLOW_ID", "FLASK_CHATKIT_WORKFLOW_ID"])
def test_key_and_workflow_are_the_real_thing(
    monkeypatch: pytest.MonkeyPatch, key: str, workflow: str
) -> None:
    """With both it talks to OpenAI: no stand-in, and a policy that names OpenAI and nobody else."""
    monkeypatch.setenv(key, "sk-invented")
    monkeypatch.setenv(workflow, "wf_invented")
    app = create_app()
    assert "openai_standin" not in app.extensions
    answer = app.test_client().get("/")
    assert "This demo talks to OpenAI." in answer.text
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'self'; script-src 'self' https://cdn.platform.openai.com; "
        "frame-src https://cdn.platform.openai.com; connect-src 'self'; style-src 'self'; "
        "img-src 'self' data:; base-uri 'self'; form-action 'self'; frame-ancestors 'self'; "
        "object-src 'none'"
    )
    assert app.test_client().get("/standin/deployments/chatkit/chatkit.js").status_code == 404


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("What SIZE am I?", "true to size"),
        ("When does my order arrive?", "2 to 3 working days"),
        ("Refund, please", "60 days"),
        ("are you open on sunday", "Sunday and Monday**: closed"),
        ("Tell me about the socks", "£16"),
        ("What is love?", UNKNOWN),
    ],
)
def test_standin_knows_the_shop(message: str, answer: str) -> None:
    """The stand-in's assistant answers from the shop's data, and says when it can't."""
    assert answer in reply(message)
