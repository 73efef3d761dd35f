"""The demo shop in a real Chromium without the internet.

First as it runs by itself, in the built-in chat because OpenAI's script does not come; then hosted,
by the stand-ins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import demo_app
from demo_app import assistant, create_app
from demo_app.catalogue import PRODUCTS
from demo_app.looks import SITES
from flask_chatkit.testing import OpenAIStandIn
from flask_chatkit.widget.assets import FOLDER as STATIC

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, FrameLocator, Locator, Page

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
PHONE = {"width": 390, "height": 844}
PACK = "What should I pack for a wet weekend?"
CLEANUP_SECONDS = "On a hill it is a sail."
AXE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own keys out of the tests."""
    for name in (*demo_app.VARIABLES, "DEMO_MODE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"FLASK_{name}", raising=False)


# --- as it runs by itself: served by the shop, in the built-in chat -------------------------------


@pytest.fixture
def served(serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Serve the demo as it runs with nothing set; its address."""
    monkeypatch.setattr(assistant, "LOOK", 0.05)
    monkeypatch.setattr(assistant, "WORD", 0.005)
    config = {
        "SECRET_KEY": "of the tests",
        "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
        "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "uploads"),
    }
    return serve(create_app(config))


def bring_up(page: Page, widget: str) -> Locator:
    """Bring a widget's chat up as a visitor does; one that was open on the page before comes up."""
    root = page.locator(widget)
    if widget != FLOATING:
        root.scroll_into_view_if_needed()
    elif not page.evaluate("sessionStorage.getItem('chatkit:open')"):
        root.locator(".chatkit-launcher").click()
    page.locator(f"{widget}[data-state=ready]").wait_for(state="attached")
    return root


def begin(page: Page, widget: str) -> Locator:
    """Bring a widget's chat up; the built-in chat in it."""
    return bring_up(page, widget).locator("flask-chatkit-chat")


def bar(page: Page, name: str) -> Locator:
    """A button in the bar of the floating panel."""
    return page.locator(f"{FLOATING} .chatkit-bar").get_by_role("button", name=name, exact=True)


def earlier(page: Page, chat: Locator, text: str) -> Locator:
    """An earlier conversation, in the list that the panel's bar shows."""
    bar(page, "Earlier chats").click()
    return chat.locator(".past").get_by_role("button", name=text).first


def say(chat: Locator, text: str, *, wait: bool = True) -> None:
    """Type a message and send it, and wait until it is answered."""
    chat.get_by_label("Message", exact=True).fill(text)
    chat.get_by_role("button", name="Send message").click()
    if wait:
        answered(chat)


def answered(chat: Locator) -> None:
    """Wait until nothing is being answered."""
    chat.locator(".chat:not(.answering)").wait_for()


def words(chat: Locator, text: str) -> Locator:
    """Some words of the conversation, and not of what a screen reader is told of it beside."""
    return chat.get_by_role("log").get_by_text(text)


def complaints(console: Any) -> list[str]:
    """What a page complained about, but for OpenAI's script, which is not to be had here."""
    return [each for each in console.all if "ERR_NAME_NOT_RESOLVED" not in each]


@pytest.mark.parametrize(("path", "widget"), CHATS)
def test_served_without_the_internet(
    page: Page, served: str, console: Any, path: str, widget: str
) -> None:
    """On each page the built-in chat takes over, answers under the strict policy, and fits in."""
    page.goto(served + path)
    chat = begin(page, widget)
    say(chat, "How long does delivery take?")
    assert chat.get_by_role("cell", name="2 to 3 working days").is_visible()
    assert complaints(console) == []
    body = page.locator(f"{widget} .chatkit-body").bounding_box()
    assert chat.bounding_box() == body


def test_served_costs_nothing_before_the_click(page: Page, served: str, console: Any) -> None:
    """Without a click nothing is asked of OpenAI, no chat is loaded, and no cookie is set."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served)
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith(served)] == []
    assert [url for url in asked if re.search("secret|builtin|api", url)] == []
    assert page.context.cookies() == []
    assert console.all == []


def test_order_card_and_its_button(page: Page, served: str, console: Any) -> None:
    """An order is shown as a card with pictures, and its button is answered and used up."""
    page.goto(served)
    chat = begin(page, FLOATING)
    chat.get_by_role("button", name="Where is my order 1042?").click()
    answered(chat)
    card = chat.locator(".card")
    # What draws widgets comes with the first of them.
    card.get_by_text("On its way").wait_for()
    assert card.get_by_text("2 pairs of Fellside Socks").is_visible()
    pictures = "(images) => images.every((image) => image.complete && image.naturalWidth > 0)"
    assert card.locator("img").evaluate_all(pictures)
    assert card.locator("img").count() == 2
    # Nothing in it sticks out.
    assert card.evaluate("(card) => card.scrollWidth <= card.clientWidth")
    card.get_by_role("button", name="Send me the return label").click()
    words(chat, "The return label for order 1042 is in your inbox").wait_for()
    assert card.get_by_role("button", name="Return label sent").is_disabled()
    assert chat.locator(".card").count() == 1
    assert complaints(console) == []


@pytest.mark.parametrize(
    ("path", "widget"), [("/", FLOATING), (PRODUCT, FLOATING), (PRODUCT, THEMED)]
)
def test_chat_shows_a_product_on_the_page(page: Page, served: str, path: str, widget: str) -> None:
    """Asked to show a product, the page brings it into view, and the assistant says so."""
    from playwright.sync_api import expect

    page.goto(served + path)
    chat = begin(page, widget)
    wanted = "blanket" if path == "/" else "jacket"
    say(chat, f"Show me the {wanted}")
    assert words(chat, "There it is, on this page.").is_visible()
    shown = page.locator(f"[data-product$={wanted}]")
    expect(shown).to_have_class(re.compile("pointed-at"))
    expect(shown).to_be_in_viewport(ratio=0.5)


@pytest.mark.parametrize(
    ("path", "widget", "size"),
    [
        ("/help", INLINE, None),
        ("/chatkit/", INLINE, None),
        (PRODUCT, THEMED, {"width": 390, "height": 440}),
        ("/", FLOATING, PHONE),
    ],
)
def test_product_that_the_page_can_not_show(
    page: Page, served: str, path: str, widget: str, size: Any
) -> None:
    """Where the product is not to be seen, the assistant links to its page instead."""
    if size:
        page.set_viewport_size(size)
    page.goto(served + path)
    chat = begin(page, widget)
    say(chat, "Show me the jacket")
    link = chat.get_by_role("link", name="a page of its own")
    assert link.get_attribute("href") == f"{served}{PRODUCT}"


def test_longer_answer_can_be_stopped(
    page: Page, served: str, monkeypatch: pytest.MonkeyPatch, console: Any
) -> None:
    """A longer answer comes after a thought, word by word; Stop ends it, and what came stays."""
    monkeypatch.setattr(assistant, "WORD", 0.04)
    page.goto(served)
    chat = begin(page, FLOATING)
    say(chat, PACK, wait=False)
    words(chat, "Cotton stays at home.").wait_for()
    assert not words(chat, CLEANUP_SECONDS).is_visible()
    chat.get_by_role("button", name="Stop the answer").click()
    answered(chat)
    assert words(chat, "Thought for").is_visible()
    said = chat.get_by_role("log").inner_text()
    assert CLEANUP_SECONDS not in said
    page.reload()
    # The panel was open and is again, in the same conversation.
    chat = begin(page, FLOATING)
    words(chat, "Cotton stays at home.").wait_for()
    assert not words(chat, CLEANUP_SECONDS).is_visible()
    # The conversation goes on.
    monkeypatch.setattr(assistant, "WORD", 0)
    say(chat, PACK)
    assert words(chat, CLEANUP_SECONDS).is_visible()
    assert complaints(console) == []


def test_history_is_there_after_a_reload(page: Page, served: str) -> None:
    """An earlier conversation is found in the list of chats, its card and button included."""
    page.goto(served + "/help")
    say(begin(page, INLINE), "Where is order 1017?")
    page.reload()
    chat = begin(page, INLINE)
    chat.get_by_role("button", name="Chats").click()
    chat.locator(".past").get_by_role("button", name="Where is order 1017?").first.click()
    chat.locator(".card").get_by_text("Delivered").wait_for()
    chat.get_by_role("button", name="Send me the return label").click()
    words(chat, "The return label for order 1017").wait_for()


def test_visitors_do_not_see_each_other(page: Page, served: str, browser: Browser) -> None:
    """Another visitor's list of chats is empty."""
    page.goto(served)
    say(begin(page, FLOATING), "hello")
    other = browser.new_context()
    try:
        chat_page = other.new_page()
        chat_page.goto(served)
        chat = begin(chat_page, FLOATING)
        bar(chat_page, "Earlier chats").click()
        chat.get_by_text("No chats yet.").wait_for()
    finally:
        other.close()


def test_picture_of_a_seam(page: Page, served: str, console: Any) -> None:
    """A picture is sent in the help chat, shown there, and confirmed with its name and size."""
    page.goto(served + "/help")
    chat = begin(page, INLINE)
    picture = page.locator(".masthead").screenshot()
    file = {"name": "seam.png", "mimeType": "image/png", "buffer": picture}
    with page.expect_file_chooser() as chooser:
        chat.get_by_role("button", name="Attach files").click()
    chooser.value.set_files([file])
    chat.get_by_role("img", name="seam.png").wait_for()
    say(chat, "The seam has come apart here")
    assert words(chat, f"seam.png ({len(picture) / 1024:.1f} kB)").is_visible()
    shown = chat.locator(".user_message").get_by_role("img", name="seam.png")
    assert shown.evaluate("(image) => image.complete && image.naturalWidth > 0")
    assert complaints(console) == []


def test_served_chat_wears_the_shops_colours(page: Page, served: str) -> None:
    """The themed chat is painted in the shop's colours, and again when the switch is used."""
    from playwright.sync_api import expect

    page.emulate_media(color_scheme="light")
    page.goto(served + PRODUCT)
    chat = begin(page, THEMED)
    say(chat, "Which size should I take?")
    inside = chat.locator(".chat")
    expect(inside).to_have_css("background-color", LIGHT)
    page.get_by_role("button", name="Dark").click()
    expect(inside).to_have_css("background-color", DARK)
    assert chat.get_by_role("cell", name="94 to 100 cm").is_visible()


def test_everything_with_the_keyboard(page: Page, served: str) -> None:
    """The chat is opened, asked, its card's button used and the chat closed, all by keyboard."""
    from playwright.sync_api import expect

    page.goto(served)
    launcher = page.locator(f"{FLOATING} .chatkit-launcher")
    launcher.focus()
    page.keyboard.press("Enter")
    page.locator(f"{FLOATING}[data-state=ready]").wait_for(state="attached")
    chat = page.locator(f"{FLOATING} flask-chatkit-chat")
    expect(chat.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.type("Where is order 1042?")
    page.keyboard.press("Enter")
    chat.locator(".card").wait_for()
    answered(chat)
    _tab_to(page, "Send me the return label", "Shift+Tab")
    page.keyboard.press("Enter")
    words(chat, "The return label for order 1042").wait_for()
    _tab_to(page, "Message")
    page.keyboard.press("Escape")
    expect(launcher).to_be_focused()
    assert not chat.is_visible()


FOCUSED = """() => {
    let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    return at?.ariaLabel ?? at?.textContent ?? "";
}"""


def _tab_to(page: Page, name: str, key: str = "Tab") -> None:
    for _ in range(30):
        if page.evaluate(FOCUSED) == name:
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not lead to {name}")


def test_phone_has_the_whole_screen(page: Page, served: str) -> None:
    """On a phone the chat fills the screen, a card fits in, and closing brings the page back."""
    page.set_viewport_size(PHONE)
    page.goto(served)
    chat = begin(page, FLOATING)
    say(chat, "Where is order 1042?")
    panel = page.locator(f"{FLOATING} .chatkit-panel").bounding_box()
    assert panel == {"x": 0, "y": 0, **PHONE}
    card = chat.locator(".card").bounding_box()
    assert card is not None
    assert card["x"] >= 0
    assert card["x"] + card["width"] <= PHONE["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.get_by_role("button", name="Close chat").click()
    assert page.get_by_role("heading", level=1).is_visible()


def test_right_to_left(page: Page, served: str) -> None:
    """On a page that is read from the right, the launcher and its panel are on the left."""
    page.goto(served + "/?dir=rtl")
    begin(page, FLOATING)
    for part in (".chatkit-launcher", ".chatkit-panel"):
        box = page.locator(f"{FLOATING} {part}").bounding_box()
        assert box is not None
        assert box["x"] < 100


def test_help_chat_speaks_arabic(page: Page, served: str, console: Any) -> None:
    """In Arabic the chat's words are, and it is read from the right, on a page that is not."""
    page.goto(served + "/help")
    page.get_by_role("navigation", name="Language of the chat").get_by_text("العربية").click()
    chat = bring_up(page, INLINE).locator("flask-chatkit-chat")
    chat.get_by_role("textbox").fill("Where is order 1042?")
    chat.get_by_role("textbox").press("Enter")
    card = chat.locator(".card")
    title, badge = (card.get_by_text(text).bounding_box() for text in ("Order 1042", "On its way"))
    assert title is not None
    assert badge is not None
    assert badge["x"] < title["x"]
    words = json.loads((STATIC / "lang" / "ar.json").read_text("utf-8"))["chat"]
    assert chat.get_by_role("button", name=words["send"], exact=True).is_visible()
    assert page.locator("html[lang=en][dir=ltr]").count() == 1
    assert complaints(console) == []


def test_signed_in_visitor_is_greeted(page: Page, served: str) -> None:
    """Who signs in is greeted by name, and finds what was said before signing in."""
    page.goto(served)
    say(begin(page, FLOATING), "When are you open?")
    page.goto(served + "/login")
    page.get_by_label("Name").fill("Ada Fell")
    page.locator("main").get_by_role("button", name="Sign in").click()
    page.get_by_text("Hello, Ada Fell.").wait_for()
    chat = begin(page, FLOATING)
    say(chat, "hi")
    assert words(chat, "Hello Ada Fell!").is_visible()
    earlier(page, chat, "When are you open?").wait_for()


def test_page_says_who_answers(page: Page, served: str) -> None:
    """Each page says in a strip who answers, and how a model would."""
    page.goto(served)
    assert page.locator(".notice").inner_text() == (
        "This demo is answered by a few lines of Python: no model, no key, no account. "
        "For a model, set OPENAI_API_KEY or OPENAI_BASE_URL."
    )


def test_switch_shows_what_it_does(page: Page, served: str) -> None:
    """The switch has one name, and its knob is at the side that says whether it is dark."""
    page.emulate_media(color_scheme="light")
    page.goto(served)
    switch = page.get_by_role("button", name="Dark", exact=True)
    margin = "(node) => getComputedStyle(node.querySelector('.switch'), '::before').marginLeft"
    seen = []
    for pressed in ("false", "true"):
        assert switch.get_attribute("aria-pressed") == pressed
        seen.append(switch.evaluate(margin))
        switch.click()
    assert seen[0] == "0px" != seen[1]


def test_teaser_comes_on_the_landing_page(page: Page, served: str) -> None:
    """After eight seconds the landing page offers help, once; who takes it is in the chat."""
    page.clock.install()
    page.goto(served)
    teaser = page.locator(".chatkit-teaser")
    page.clock.run_for(7_000)
    assert teaser.count() == 0
    page.clock.run_for(2_000)
    teaser.wait_for()
    page.clock.resume()
    teaser.get_by_role("button", name="Going out this weekend?").click()
    page.locator(f"{FLOATING}[data-state=ready]").wait_for(state="attached")
    assert page.evaluate("localStorage.getItem('chatkit:teaser:default')").startswith("Going out")
    assert teaser.count() == 0


def test_buttons_in_the_chats_bar(page: Page, served: str, console: Any) -> None:
    """One shares the page's address, without what opened the chat; the other leads home."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{served}/login#chat")
    page.locator(f"{FLOATING}[data-state=ready]").wait_for(state="attached")
    bar(page, "Share this page").click()
    page.get_by_role("status").get_by_text("address is copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == f"{served}/login"
    page.get_by_role("link", name="front page").click()
    page.wait_for_url(f"{served}/")
    assert complaints(console) == []


def test_shared_on_a_phone_without_a_clipboard(page: Page, served: str) -> None:
    """Where nothing can be copied the address is shown, above the chat that fills the screen."""
    page.set_viewport_size(PHONE)
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.goto(served)
    begin(page, FLOATING)
    bar(page, "Share this page").click()
    toast = page.locator(".toast")
    assert toast.inner_text().endswith(f" address: {served}/")
    # Among what is above all else, where the chat is too, and after it.
    assert page.locator(".chatkit-panel:modal").count() == 1
    assert toast.evaluate("(toast) => toast.matches(':popover-open')")


def test_links_open_the_chat(page: Page, served: str) -> None:
    """Links of the page open the chat in it: empty, with a text begun, or with a question asked."""
    from playwright.sync_api import expect

    page.goto(served + PRODUCT)
    chat = page.locator(f"{FLOATING} flask-chatkit-chat")
    field = chat.get_by_label("Message", exact=True)
    page.get_by_role("link", name="Chat with us").click()
    expect(field).to_be_focused()
    page.get_by_role("link", name="Ask about this").click()
    expect(field).to_have_value("About the Drizzle Jacket: ")
    # The panel lies over what is at the end of the page's lines.
    bar(page, "Close chat").click()
    page.get_by_role("link", name="Can I send it back?").click()
    words(chat, "Can I send the Drizzle Jacket back?").wait_for()
    words(chat, "60 days").wait_for()
    bar(page, "Close chat").click()
    page.get_by_role("link", name="Where is my order?").click()
    expect(field).to_have_value("Where is my order ")
    assert page.url == served + PRODUCT


def test_links_lead_to_the_chat_where_no_launcher_is(page: Page, served: str) -> None:
    """On a page without a launcher the same links lead to a page with a chat."""
    page.goto(served + "/help")
    page.get_by_role("link", name="Where is my order?").click()
    page.wait_for_url(f"{served}/help")
    page.get_by_role("link", name="Chat with us").click()
    page.wait_for_url(f"{served}/chatkit/")
    current = page.get_by_role("link", name="Chat with us")
    assert current.get_attribute("aria-current") == "page"


@pytest.mark.parametrize(
    "size", [{"width": 1200, "height": 800}, PHONE, {"width": 320, "height": 480}]
)
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_full_page_fills_the_screen(
    page: Page, served: str, size: Any, direction: str, console: Any
) -> None:
    """The chat's own page has the shop's header and gives the chat the rest of the screen."""
    page.set_viewport_size(size)
    page.goto(f"{served}/chatkit/?dir={direction}")
    chat = begin(page, INLINE)
    chat.get_by_text("Good things for slow walks.").wait_for()
    head, body = page.locator(".masthead").bounding_box(), chat.bounding_box()
    assert head is not None
    assert body is not None
    assert body["y"] >= head["y"] + head["height"]
    end = body["y"] + body["height"]
    assert size["height"] - 30 < end <= size["height"]
    if size["width"] < 700:
        assert body["width"] == size["width"]
    else:
        assert 900 < body["width"] < size["width"] - 40
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    assert page.evaluate("document.documentElement.scrollHeight") == size["height"]
    assert complaints(console) == []


def test_full_page_wears_the_shops_colours(page: Page, served: str) -> None:
    """The chat's own page is dark when the shop is, and changes with the switch."""
    from playwright.sync_api import expect

    page.emulate_media(color_scheme="dark")
    page.goto(served + "/chatkit/help/")
    inside = begin(page, INLINE).locator(".chat")
    expect(inside).to_have_css("background-color", DARK)
    page.get_by_role("button", name="Dark").click()
    expect(inside).to_have_css("background-color", LIGHT)


# --- the page of looks ----------------------------------------------------------------------------


@pytest.fixture
def looks(page: Page, served: str) -> Page:
    """Open the page of looks in the light, on a wide screen, and wait until its chats are there."""
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 1800})
    page.goto(served + "/looks")
    ready(page)
    return page


def ready(page: Page, state: str = "ready") -> None:
    """Wait until the chats in all frames are in a state."""
    for name in SITES:
        inside = page.frame_locator(f"iframe[src$='/looks/{name}']")
        inside.locator(f"#look-{name}[data-state={state}]").wait_for(state="attached")


def frames(page: Page) -> list[Frame]:
    """The pages in the frames, in their order."""
    return [frame for frame in page.frames if "/looks/" in frame.url]


def told(page: Page) -> str:
    """The macro call that the bench shows."""
    return page.locator(".call code").inner_text()


def mark(page: Page) -> None:
    """Mark the frames' pages, to see later whether they are still the same."""
    for frame in frames(page):
        frame.evaluate("window.marked = true")


def marked(page: Page) -> list[bool]:
    """Whether each frame's page is the one that was marked."""
    return [frame.evaluate("window.marked === true") for frame in frames(page)]


# What a visitor sees of a chat: its ground, its letters, and the button that sends what is written.
SEEN = """(root) => {
    const inside = root.querySelector("flask-chatkit-chat").shadowRoot;
    const chat = getComputedStyle(inside.querySelector(".chat"));
    const send = getComputedStyle(inside.querySelector(".send"));
    return {
        scheme: root.dataset.scheme, ground: chat.backgroundColor, ink: chat.color,
        size: chat.fontSize, font: chat.fontFamily, send: send.backgroundColor,
    };
}"""


def seen(page: Page) -> list[dict[str, str]]:
    """What each frame's chat looks like."""
    return [frame.locator("[data-chatkit]").evaluate(SEEN) for frame in frames(page)]


def until(page: Page, read: Any, wanted: Any) -> None:
    """Wait until what is read is what is wanted."""
    for _ in range(50):
        if (found := read()) == wanted:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{found} is not {wanted}")


def test_looks_are_at_home(looks: Page, console: Any) -> None:
    """Each chat is painted as its page is, without being told, and nothing complains."""
    painted = "getComputedStyle(document.body).backgroundColor"
    seen_first = seen(looks)
    for frame, chat in zip(frames(looks), seen_first, strict=True):
        ground = frame.evaluate(painted)
        if ground == "rgba(0, 0, 0, 0)":
            ground = frame.evaluate(painted.replace("body", "documentElement"))
        if "shadcn" not in frame.url:  # which writes in oklch()
            assert chat["ground"] == ground
        assert chat["font"] == frame.evaluate("getComputedStyle(document.body).fontFamily")
    assert len({chat["ground"] + chat["ink"] + chat["font"] for chat in seen_first}) == len(SITES)
    assert told(looks) == '{{ chatkit_themed(height="28rem") }}'
    assert complaints(console) == []


def test_pages_of_looks_follow_the_shop(looks: Page) -> None:
    """The pages are light or dark as the shop, or as the bench says, with their chats, at once."""
    mark(looks)

    def schemes() -> set[str]:
        return {
            frame.locator("[data-chatkit]").get_attribute("data-scheme") for frame in frames(looks)
        }

    assert schemes() == {"light"}
    looks.get_by_role("button", name="Dark").click()
    until(looks, schemes, {"dark"})
    looks.get_by_role("radio", name="Light").check()
    until(looks, schemes, {"light"})
    said = [
        frame.locator("html").get_attribute(SITES[frame.url.split("/")[-1]].switch)
        for frame in frames(looks)
    ]
    assert said == ["light"] * 4
    looks.emulate_media(color_scheme="dark")
    looks.evaluate("delete document.documentElement.dataset.theme")
    assert schemes() == {"light"}
    looks.get_by_role("radio", name="As the shop").check()
    until(looks, schemes, {"dark"})
    assert marked(looks) == [True] * 4


def test_theme_is_changed_at_once(looks: Page) -> None:
    """Accent, corners, density and letters change in the chats that are there."""
    mark(looks)
    for frame in frames(looks):
        # A place in the page is the same page.
        frame.get_by_role("link", name="What it reads").click()
        frame.get_by_role("button", name="Ask something").click()
        frame.locator("flask-chatkit-chat").get_by_label("Message", exact=True).wait_for()
    looks.get_by_label("Colour of the accent").fill("#c2185b")
    until(looks, lambda: {chat["send"] for chat in seen(looks)}, {"rgb(194, 24, 91)"})
    assert looks.get_by_label("Accent", exact=True).is_checked()
    looks.get_by_label("Letters").select_option("14")
    until(looks, lambda: {chat["size"] for chat in seen(looks)}, {"14px"})
    looks.get_by_label("Corners").select_option("sharp")
    looks.get_by_label("Density").select_option("compact")
    assert told(looks) == (
        '{{ chatkit_themed(height="28rem", accent="#c2185b", radius="sharp", density="compact", '
        "base_size=14) }}"
    )
    before = seen(looks)
    looks.get_by_label("Accent", exact=True).uncheck()
    until(looks, lambda: len({chat["send"] for chat in seen(looks)}), 4)
    assert "accent" not in told(looks)
    assert seen(looks) != before
    looks.get_by_role("button", name="As it was").click()
    until(looks, lambda: told(looks), '{{ chatkit_themed(height="28rem") }}')
    assert marked(looks) == [True] * 4


def widget_in(source: Any) -> dict[str, Any]:
    """What a widget's HTML says, but for where it is."""
    read = """(root) => ({
        told: JSON.parse(root.dataset.chatkit),
        label: root.getAttribute("aria-label"), className: root.className,
        side: root.dataset.side, edge: root.dataset.edge, preset: root.dataset.preset,
        launcher: root.querySelector(".chatkit-launcher")?.getAttribute("aria-label"),
        text: root.querySelector(".chatkit-text")?.textContent,
        icon: root.querySelector(".chatkit-launcher path")?.getAttribute("d"),
    })"""
    found: dict[str, Any] = source.evaluate(read)
    return found


@pytest.mark.parametrize("variant", ["Themed", "Inline", "Floating"])
def test_call_makes_what_is_shown(looks: Page, served: str, variant: str, browser: Browser) -> None:
    """The macro call that is shown renders the very widget that is in the frames."""
    from flask import render_template_string

    looks.get_by_role("radio", name=variant).check()
    looks.get_by_label("Colour of the accent").fill("#ffcc00")
    looks.get_by_label("Corners").select_option("pill")
    looks.get_by_label("Letters").select_option("18 px")
    if variant == "Floating":
        looks.get_by_label("Side").select_option("left")
        looks.get_by_label("Edge").select_option("top")
        looks.get_by_label("Icon").select_option("spark")
        looks.get_by_label("Text").fill("""Say "hi" &""")
        looks.get_by_label("Teaser").fill("""'Well'? </script>""")
    if variant == "Inline":
        looks.get_by_label("Takes the page").uncheck()
    # The last, so that what is in the frames was told by their addresses.
    looks.get_by_label("Label").fill("""Say "hi" & it's {{ 1 }} \\n }} — ü""")
    until(looks, lambda: ["label=" in frame.url for frame in frames(looks)], [True] * 4)
    wanted = f"chatkit-{variant.lower()}"
    ready(looks, "idle" if variant == "Floating" else "ready")
    call = told(looks)
    assert call.startswith("{{ chatkit_" + variant.lower() + "(")
    app = create_app({"SECRET_KEY": "of the tests"})
    imported = (
        '{% from "chatkit/macros.html" import chatkit_floating, chatkit_inline, chatkit_themed %}'
    )
    with app.test_request_context("/looks/pico"):
        html = render_template_string(imported + call)
    other = browser.new_page()
    try:
        other.set_content(html)
        made = widget_in(other.locator("[data-chatkit]"))
    finally:
        other.close()
    assert wanted in made["className"]
    for frame in frames(looks):
        assert frame.evaluate("new URL(location).searchParams.get('variant')") == variant.lower()
        assert widget_in(frame.locator("[data-chatkit]")) == made


def test_launcher_is_shown_as_it_is_told(looks: Page, console: Any) -> None:
    """A floating chat has its launcher where the bench says, and opens beside it in its frame."""
    looks.get_by_role("radio", name="Floating").check()
    looks.get_by_label("Side").select_option("left")
    looks.get_by_label("Text").fill("Ask us")
    looks.get_by_label("Teaser").fill("Can I help?")
    until(looks, lambda: ["teaser=" in frame.url for frame in frames(looks)], [True] * 4)
    for frame in frames(looks):
        frame.locator(".chatkit-teaser").get_by_text("Can I help?").wait_for()
        launcher = frame.get_by_role("button", name="Ask us")
        box = launcher.evaluate("(button) => button.getBoundingClientRect().x")
        assert box < 40
    first = frames(looks)[0]
    first.get_by_role("button", name="Ask us").click()
    first.locator("[data-state=ready]").wait_for(state="attached")
    assert first.locator(".chatkit-panel:modal").count() == 0
    # The other frames' chats are others.
    assert sum(frame.locator("[data-open]").count() for frame in frames(looks)) == 1
    mark(looks)
    looks.get_by_label("Colour of the accent").fill("#c2185b")
    painted = "(button) => getComputedStyle(button).backgroundColor"
    until(
        looks,
        lambda: {frame.locator(".chatkit-launcher").evaluate(painted) for frame in frames(looks)},
        {"rgb(194, 24, 91)"},
    )
    assert marked(looks) == [True] * 4
    assert complaints(console) == []


def test_label_must_hold_the_text(looks: Page) -> None:
    """A label that does not hold the launcher's text is told, and the pages stay as they are."""
    looks.get_by_role("radio", name="Floating").check()
    looks.get_by_label("Text").fill("Ask us")
    before = told(looks)
    assert 'text="Ask us"' in before
    looks.get_by_label("Label").fill("Help")
    looks.get_by_role("alert").get_by_text("must contain").wait_for()
    assert looks.get_by_label("Label").get_attribute("aria-invalid") == "true"
    assert told(looks) == before
    # Nor is anything shown of what was on its way.
    looks.wait_for_timeout(700)
    ready(looks, "idle")
    looks.get_by_label("Label").fill("Ask us for help")
    assert looks.get_by_role("alert").inner_text() == ""
    assert 'label="Ask us for help"' in told(looks)


def test_call_can_be_copied(looks: Page) -> None:
    """The button copies the call as it is shown, and says so."""
    looks.context.grant_permissions(["clipboard-read", "clipboard-write"])
    looks.get_by_label("Density").select_option("compact")
    looks.get_by_role("button", name="Copy").click()
    looks.get_by_role("status").get_by_text("Copied.").wait_for()
    copied = looks.evaluate("navigator.clipboard.readText()")
    assert copied == told(looks) == '{{ chatkit_themed(height="28rem", density="compact") }}'


def test_bench_with_the_keyboard(looks: Page) -> None:
    """The controls are reached and used by keyboard, and Back leads out of the page."""
    looks.get_by_role("radio", name="Themed").focus()
    looks.keyboard.press("ArrowRight")
    assert told(looks) == '{{ chatkit_inline(height="28rem", preset="auto") }}'
    ready(looks)
    looks.keyboard.press("Tab")
    looks.keyboard.press("ArrowRight")
    assert looks.get_by_role("radio", name="Light").is_checked()
    looks.keyboard.press("Tab")
    looks.keyboard.press("Space")
    assert told(looks) == '{{ chatkit_inline(height="28rem") }}'
    ready(looks)
    looks.go_back()
    assert looks.url == "about:blank"


def test_looks_on_a_phone(page: Page, served: str) -> None:
    """On a phone the options are folded, the pages are below each other, and nothing sticks out."""
    page.set_viewport_size(PHONE)
    for direction in ("ltr", "rtl"):
        page.goto(f"{served}/looks?dir={direction}")
        assert not page.locator(".bench").is_visible()
        page.get_by_text("Options", exact=True).click()
        assert page.get_by_label("Corners").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        boxes = [frame.bounding_box() for frame in page.locator("iframe").all()]
        assert len({box["x"] for box in boxes if box}) == 1
        assert all(box and box["width"] > 350 for box in boxes)


def test_looks_without_scripts(browser: Browser, served: str) -> None:
    """Without scripts the page is a list of pages, without controls that would do nothing."""
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(served + "/looks")
        assert page.locator(".options, .call").count() == 2
        assert page.locator(".options:visible, .call:visible").count() == 0
        for name, site in SITES.items():
            page.goto(served + "/looks")
            page.get_by_role("link", name=site.title).click()
            page.wait_for_url(f"{served}/looks/{name}")
            assert page.get_by_role("link", name="Chat", exact=True).is_visible()
    finally:
        context.close()


def axe(page: Page, node_modules: Path) -> list[str]:
    """What axe finds on the page, but for what is in its frames."""
    page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text("utf-8"))
    found: list[str] = page.evaluate(
        """async (runOnly) => {
            const { violations } = await axe.run(document, { runOnly, iframes: false });
            return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
        }""",
        AXE,
    )
    return found


@pytest.mark.parametrize("mode", ["light", "dark", "phone"])
def test_axe_finds_nothing(
    page: Page, served: str, node_modules: Path, mode: str, console: Any
) -> None:
    """Axe finds nothing on the shop's pages and those of looks, light, dark and on a phone."""
    page.emulate_media(color_scheme="dark" if mode == "dark" else "light", reduced_motion="reduce")
    if mode == "phone":
        page.set_viewport_size(PHONE)
    wrong = {}
    for path in ("/looks", "/", "/help", PRODUCT, "/chatkit/"):
        page.goto(served + path)
        if path == "/looks":
            page.get_by_text("Options", exact=True).click(click_count=1 if mode == "phone" else 2)
            page.get_by_role("radio", name="Floating").check()
        wrong[path] = axe(page, node_modules)
    for name in SITES:
        for variant in ("themed", "floating"):
            path = f"/looks/{name}?variant={variant}&scheme={'dark' if mode == 'dark' else 'light'}"
            page.goto(served + path)
            page.locator(f"#look-{name}[data-state]").wait_for(state="attached")
            wrong[path] = axe(page, node_modules)
    assert {path: found for path, found in wrong.items() if found} == {}
    assert console.uncaught == console.violations == []


# --- hosted, by the stand-ins ---------------------------------------------------------------------


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
    """Serve the demo hosted, by stand-ins."""
    app = create_app({"DEMO_MODE": "standins", "SECRET_KEY": "of the tests"})
    standin: OpenAIStandIn = app.extensions["openai_standin"]
    yield Shop(serve(app), standin)
    standin.stop()


def open_chat(page: Page, widget: str) -> FrameLocator:
    """Bring a widget's chat up, which then has its secret."""
    bring_up(page, widget)
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
