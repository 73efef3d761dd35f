"""What may be loaded: nothing of OpenAI's before a consent, and only what the policy allows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.pages import POLICIES, Sites, alien, chat, launcher, ready, state, until
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Page

NOTICE = "To chat here, a script is loaded from OpenAI, and what you write is sent there."
KINDS = ["chatkit_floating", "chatkit_inline", "chatkit_themed"]
BANNER = "<button id=banner data-chatkit-consent>Allow chat</button>"


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


def asking(page: Page, macro: str) -> None:
    """Bring a widget to where it asks."""
    if macro == "chatkit_floating":
        launcher(page).hover()
        launcher(page).click()
    state(page, "consent")
    page.get_by_text(NOTICE).wait_for()


def untouched(page: Page, site: Sites, strangers: list[str]) -> None:
    """Nobody but the site knows of the visitor, and the site knows nothing."""
    page.evaluate(
        "new Promise((done) => requestIdleCallback(() => setTimeout(done, 100), { timeout: 500 }))"
    )
    assert strangers == []
    assert site.mints == 0
    assert not [path for path in site.asked if path.endswith("/secret") or "/session" in path]
    assert page.context.cookies() == []
    assert page.locator("openai-chatkit").count() == 0
    assert page.evaluate("document.querySelectorAll('link[rel*=connect]').length") == 0


@pytest.mark.parametrize("macro", KINDS)
def test_nothing_is_loaded_before_the_consent(
    page: Page, site: Sites, console: Any, macro: str
) -> None:
    """To point at the launcher, to open it and to scroll to a chat asks nothing of OpenAI."""
    call = f"{macro}(load='consent', contact='mailto:us@shop.test')"
    base = site({"/": "{{ " + call + " }}"})
    strangers = alien(page, base)
    page.goto(base)
    asking(page, macro)
    untouched(page, site, strangers)
    contact = page.get_by_role("link", name="Contact us another way")
    assert contact.get_attribute("href") == "mailto:us@shop.test"
    assert page.evaluate("localStorage.length") == 0
    page.get_by_role("button", name="Start the chat").click()
    ready(page)
    assert strangers != []
    assert site.mints == 1
    assert console.all == []


def test_visitors_own_consent_is_remembered(page: Page, site: Sites) -> None:
    """Who started the chat is not asked again on the next page, nor in the next tab."""
    call = "{{ chatkit_floating(load='consent') }}"
    base = site({"/": call, "/next": "{{ chatkit_inline(load='consent') }}"})
    page.goto(base)
    asking(page, "chatkit_floating")
    page.get_by_role("button", name="Start the chat").click()
    ready(page)
    assert page.evaluate("localStorage.getItem('chatkit:consent')") == "1"
    other = page.context.new_page()
    other.goto(f"{base}/next")
    ready(other)
    other.close()
    page.goto(f"{base}/next")
    ready(page)


@pytest.mark.parametrize("how", ["function", "hook", "early function"])
@pytest.mark.parametrize("macro", ["chatkit_floating", "chatkit_inline"])
def test_sites_own_consent_starts_the_chat(
    page: Page, site: Sites, console: Any, macro: str, how: str
) -> None:
    """A function or an attribute of the site's banner is enough, before the chat or after."""
    base = site({"/": BANNER + "{{ " + macro + "(load='consent') }}"})
    strangers = alien(page, base)
    page.goto(base)
    if how == "early function":
        page.evaluate("FlaskChatKit.consent()")
        if macro == "chatkit_floating":
            untouched(page, site, strangers)
            launcher(page).click()
    else:
        asking(page, macro)
        untouched(page, site, strangers)
        if how == "hook":
            page.locator("#banner").click()
        else:
            page.evaluate("FlaskChatKit.consent()")
    ready(page)
    # What the site has asked the site remembers.
    assert page.evaluate("localStorage.length") == 0
    assert console.all == []


def test_consent_opens_nothing(page: Page, site: Sites) -> None:
    """A panel that is closed stays closed, and its chat starts when it is opened."""
    base = site({"/": BANNER + "{{ chatkit_floating(load='consent') }}"})
    strangers = alien(page, base)
    page.goto(base)
    asking(page, "chatkit_floating")
    page.keyboard.press("Escape")
    page.locator("#banner").click()
    untouched(page, site, strangers)
    assert not page.locator("dialog").is_visible()
    launcher(page).click()
    ready(page)


@pytest.mark.parametrize("macro", ["chatkit_floating", "chatkit_inline"])
def test_consent_may_be_withdrawn(page: Page, site: Sites, console: Any, macro: str) -> None:
    """The chat is gone at once, is not remembered, and can be started again."""
    base = site({"/": "{{ " + macro + "(load='consent') }}"})
    page.goto(base)
    asking(page, macro)
    page.get_by_role("button", name="Start the chat").click()
    ready(page)
    page.evaluate("FlaskChatKit.consent(false)")
    state(page, "consent")
    assert page.locator("openai-chatkit, iframe").count() == 0
    assert page.get_by_text(NOTICE).is_visible()
    assert page.evaluate("localStorage.getItem('chatkit:consent')") is None
    # What works on a conversation has none.
    for name in ("New chat", "Earlier chats"):
        assert not page.get_by_role("button", name=name).is_visible()
    page.get_by_role("button", name="Start the chat").click()
    ready(page)
    chat(page).locator("#input").wait_for()
    assert console.all == []


def test_early_withdrawal_is_not_forgotten(page: Page, site: Sites) -> None:
    """A site may take the consent back before the chat was opened: the next page asks again."""
    base = site({"/": "{{ chatkit_floating(load='consent') }}"})
    page.goto(base)
    page.evaluate("localStorage.setItem('chatkit:consent', '1')")
    page.reload()
    strangers = alien(page, base)
    page.evaluate("FlaskChatKit.consent(false)")
    page.reload()
    asking(page, "chatkit_floating")
    untouched(page, site, strangers)


def test_open_panel_asks_again_on_the_next_page(page: Page, site: Sites) -> None:
    """A panel that was left open without a consent is open, and has loaded nothing."""
    base = site({"/": "{{ chatkit_floating(load='consent') }}"})
    strangers = alien(page, base)
    page.goto(base)
    asking(page, "chatkit_floating")
    page.reload()
    page.get_by_text(NOTICE).wait_for()
    untouched(page, site, strangers)


def test_teaser_and_calls_wait_for_the_consent(page: Page, site: Sites) -> None:
    """A greeting is shown without it; a message that was sent early goes when it comes."""
    call = "chatkit_floating(load='consent', teaser={'text': 'May we help?', 'delay': 0})"
    base = site({"/": "{{ " + call + " }}"})
    strangers = alien(page, base)
    page.goto(base)
    page.get_by_role("button", name="May we help?").wait_for()
    untouched(page, site, strangers)
    page.evaluate("FlaskChatKit.get().send('hello'), null")
    page.get_by_text(NOTICE).wait_for()
    untouched(page, site, strangers)
    page.evaluate("FlaskChatKit.consent()")
    ready(page)
    chat(page).get_by_text("You wrote “hello”").wait_for()


def test_where_one_asks_all_wait(page: Page, site: Sites) -> None:
    """A widget without the option is no way around one that has it, whoever wrote its markup."""
    body = "{{ chatkit_inline(id='a', height=200) }}{{ chatkit_inline(id='b', load='consent') }}"
    base = site({"/": body})
    strangers = alien(page, base)
    page.goto(base)
    state(page, "consent", "#a")
    untouched(page, site, strangers)
    page.evaluate("FlaskChatKit.consent()")
    ready(page, "#a")


def test_chat_in_the_page_may_wait_for_a_click(page: Page, site: Sites, console: Any) -> None:
    """With load="click" its name and a button stand in the chat's place; nothing loads before."""
    base = site({"/": "{{ chatkit_inline(load='click', height=300) }}"})
    strangers = alien(page, base)
    page.goto(base)
    start = page.get_by_role("button", name="Start the chat")
    start.wait_for()
    untouched(page, site, strangers)
    assert not page.get_by_text(NOTICE).is_visible()
    name = page.locator(".chatkit-notice").get_by_text("Chat", exact=True)
    above, box = name.bounding_box(), start.bounding_box()
    around = page.locator("[data-chatkit]").bounding_box()
    for part in (above, box):
        middle = part["x"] + part["width"] / 2
        assert middle == pytest.approx(around["x"] + around["width"] / 2, abs=9)
    middle = (above["y"] + box["y"] + box["height"]) / 2
    assert middle == pytest.approx(around["y"] + around["height"] / 2, abs=12)
    start.click()
    ready(page)
    assert not start.is_visible()
    assert console.all == []


# --- policies -------------------------------------------------------------------------------------

EVERYTHING = (
    "{{ chatkit_floating(accent='#0a7', side='left', offset='2rem', size='5rem', text='Help',"
    " label='Help', preset='auto', teaser={'text': 'May we help?', 'delay': 0},"
    " header={'left_action': {'icon': 'home', 'href': '/'}}, locale='de') }}"
    "{{ chatkit_floating('sales', panel_header=False, theme='dark', id='bare') }}"
    "{{ chatkit_inline(id='in', height='20rem', width='30rem', background='#fffff0') }}"
    "{{ chatkit_themed(id='as', height=200, radius='pill') }}"
)


@pytest.mark.parametrize("trusted", POLICIES)
def test_policy_is_kept(page: Page, site: Sites, console: Any, trusted: str) -> None:
    """With all options, from the first paint to a dark full-screen chat, no policy is violated."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")

    def setup(app: Any) -> None:
        if trusted != "addresses":
            app.jinja_env.globals["csp_nonce"] = lambda: "abc"

    base = site({"/": EVERYTHING}, kit, policy=POLICIES[trusted], setup=setup)
    page.goto(base)
    for root in ("#in", "#as"):
        ready(page, root)
    page.locator("#chatkit-1 .chatkit-teaser").wait_for()
    for root in ("#chatkit-1", "#bare"):
        launcher(page, root).click()
        ready(page, root)
        chat(page, root).locator("#input").wait_for()
        page.evaluate("(id) => FlaskChatKit.get(id).close()", root[1:])
    # In a style that came, and in its language.
    panel = page.locator("#chatkit-1 dialog")
    assert panel.get_attribute("lang") == "de"
    launcher(page, "#chatkit-1").click()
    assert panel.evaluate("(node) => getComputedStyle(node).position") == "fixed"
    page.evaluate("document.documentElement.classList.add('dark')")
    page.set_viewport_size({"width": 390, "height": 844})
    until(page, "Boolean(document.querySelector('dialog:modal'))")
    # A frame that keeps its host's size: its style was not refused.
    box = page.locator("#chatkit-1 iframe").bounding_box()
    assert (box["width"], box["height"] > 500) == (390, True)
    page.goto(f"{base}/chatkit/")
    ready(page)
    assert console.violations == []
    assert console.all == []


@pytest.mark.parametrize("trusted", POLICIES)
def test_policy_is_kept_by_the_builtin_chat(
    page: Page, site: Sites, console: Any, tmp_path: Path, trusted: str
) -> None:
    """Without OpenAI's script the chat of our own comes, by the same trust, and styled."""
    kit = ChatKit()

    @kit.assistant()
    def answer(message: Any, _chat: Any) -> str:
        return f"You wrote **{message.text}**"

    def setup(app: Any) -> None:
        if trusted != "addresses":
            app.jinja_env.globals["csp_nonce"] = lambda: "abc"

    page.route(re.compile("/deployments/"), lambda route: route.abort())
    base = site(
        {"/": "{{ chatkit_floating() }}"},
        kit,
        policy=POLICIES[trusted],
        setup=setup,
        CHATKIT_WORKFLOW_ID=None,
        CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/history.sqlite3",
    )
    page.goto(base)
    launcher(page).click()
    own = page.locator("flask-chatkit-chat")
    own.get_by_role("textbox").fill("hello")
    page.keyboard.press("Enter")
    own.get_by_role("log").locator("strong", has_text="hello").wait_for()
    box = own.bounding_box()
    assert box["height"] > 400
    assert console.violations == []


OWN = "To chat here, what you write is sent to {}."


@pytest.mark.parametrize(
    ("script", "key", "is_openai"),
    [
        ("https://cdn.platform.openai.com/deployments/chatkit/chatkit.js", "dk", True),
        ("https://cdn.platform.openai.com/deployments/chatkit/chatkit.js", None, False),
        ("https://openai.com.shop.test/chatkit.js", "dk", False),
    ],
    ids=["element", "built-in", "own script"],
)
def test_notice_of_a_served_chat_is_true(
    page: Page, site: Sites, tmp_path: Path, script: str, key: str | None, is_openai: bool
) -> None:
    """A chat that loads nothing from OpenAI says where messages go instead, and keeps to it."""
    kit = ChatKit()

    @kit.assistant()
    def answer(message: Any, _chat: Any) -> str:
        return f"You wrote “{message.text}”"

    if key is None:
        # As on a host that is not this machine.
        page.route(re.compile("/$"), _without_key)
    base = site(
        {"/": "{{ chatkit_inline(load='consent') }}"},
        kit,
        CHATKIT_WORKFLOW_ID=None,
        CHATKIT_DOMAIN_KEY=key,
        CHATKIT_SCRIPT_URL=script,
        CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/history.sqlite3",
    )
    strangers = alien(page, base)
    page.goto(base)
    state(page, "consent")
    wanted = NOTICE if is_openai else OWN.format(base.removeprefix("http://"))
    assert page.locator(".chatkit-notice p").first.inner_text() == wanted
    page.get_by_role("button", name="Start the chat").click()
    if key is None:
        ready(page)
        assert strangers == []


def _without_key(route: Any) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace('"domainKey":', '"noKey":'))


def test_sites_own_words_of_consent(page: Page, site: Sites, tmp_path: Path) -> None:
    """What a site says itself is said, whoever serves the chat."""
    kit = ChatKit()
    kit.assistant()(lambda message, _chat: message.text)
    call = "chatkit_inline(load='consent', strings={'consent': 'May we?'})"
    database = f"sqlite:///{tmp_path}/history.sqlite3"
    page.goto(
        site(
            {"/": "{{ " + call + " }}"},
            kit,
            CHATKIT_WORKFLOW_ID=None,
            CHATKIT_DATABASE_URI=database,
        )
    )
    page.get_by_text("May we?").wait_for()
