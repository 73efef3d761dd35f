"""FlaskChatKit in the page: what ChatKit's element can do, its options and its errors, by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.pages import Sites, launcher, ready, until
from tests.helpers.paths import STATIC
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, FrameLocator, Locator, Page

SCRIPT = re.compile(r"/deployments/chatkit/chatkit\.js$")
#: What ChatKit's methods are called here, where it is not the same.
NAMES = {
    "sendUserMessage": "send",
    "setComposerValue": "compose",
    "setOptions": "configure",
    "setThreadId": "thread",
}
CHAT = "FlaskChatKit.get()"
OUTCOME = ".then(() => 'done', String)"
FLOATING = "{{ chatkit_floating(greeting='Ahoy', placeholder='Write') }}"


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages under a strict policy, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


class Shop:
    """A page with a served chat, in OpenAI's element or in the built-in one."""

    def __init__(self, page: Page, base: str, is_builtin: bool) -> None:
        self.page, self.base, self.is_builtin = page, base, is_builtin

    @property
    def inside(self) -> Locator | FrameLocator:
        """What is in the element."""
        if self.is_builtin:
            return self.page.locator("flask-chatkit-chat")
        return self.page.frame_locator("openai-chatkit iframe")

    def open(self) -> None:
        self.page.goto(self.base)
        launcher(self.page).click()
        ready(self.page)
        self.inside.get_by_text("Ahoy").wait_for()

    def reads(self, text: str) -> None:
        """Wait until the visitor reads a text."""
        self.inside.get_by_text(text, exact=True).first.wait_for()

    def say(self, text: str) -> None:
        """Send a message, and wait for the whole answer."""
        done = f"new Promise((done) => {CHAT}.on('response.end', done))"
        self.page.evaluate(f"() => {{ window.done = {done} }}")
        assert self.call(f"send('{text}')") == "done"
        self.reads(f"You wrote “{text}”")
        self.page.evaluate("done")

    def call(self, method: str) -> str:
        """What a method's promise says."""
        return str(self.page.evaluate(f"{CHAT}.{method}{OUTCOME}"))


@pytest.fixture(params=["openai", "builtin"])
def shop(request: Any, page: Page, site: Sites, tmp_path: Path) -> Shop:
    """Serve a page with a chat that knows an action."""
    # It takes a while, in which no visitor is to wait.
    pytest.importorskip("chatkit.agents")
    kit = ChatKit()

    @kit.assistant()
    def answer(message: Any, _chat: Any) -> str:
        return f"You wrote “{message.text}”"

    @kit.action("label", from_page=True)
    def label(payload: Any, _chat: Any) -> str:
        return f"Labelled {payload['colour']}"

    is_builtin = request.param == "builtin"
    if is_builtin:
        page.route(SCRIPT, lambda route: route.abort())
    database = f"sqlite:///{tmp_path}/history.sqlite3"
    base = site({"/": FLOATING}, kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=database)
    return Shop(page, base, is_builtin)


def warnings_of(page: Page) -> list[str]:
    """What the console warns of from now on."""
    told: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "warning":
            told.append(message.text)

    page.on("console", note)
    return told


def test_all_methods_of_chatkit_are_reached(node_modules: Path) -> None:
    """Each method of ChatKit's types is one of the chat's, by its own or a shorter name."""
    types = (node_modules / "@openai/chatkit/types/index.d.ts").read_text("utf-8")
    (body,) = re.findall(
        r"interface OpenAIChatKit\b.*?\{\n(.*?)^\s*\}\n", types, re.DOTALL | re.MULTILINE
    )
    methods = set(re.findall(r"^\s+(\w+)\(", body, re.MULTILINE)) - {
        "addEventListener",
        "removeEventListener",
    }
    assert {"setOptions", "sendCustomAction", "hideHistory"} <= methods
    loader = (STATIC / "loader.js").read_text("utf-8")
    (acts,) = re.findall(r"for \(const act of \[(.*?)\]\)", loader, re.DOTALL)
    ours = set(re.findall(r'"(\w+)"', acts))
    assert {NAMES.get(name, name) for name in methods} <= ours


def test_history_is_shown_and_hidden(shop: Shop) -> None:
    """showHistory() opens a closed chat too, and hideHistory() goes back to the conversation."""
    shop.page.goto(shop.base)
    assert shop.call("showHistory()") == "done"
    assert shop.page.locator("dialog").is_visible()
    nothing = shop.inside.get_by_text("No chats yet")
    nothing.wait_for()
    assert shop.call("hideHistory()") == "done"
    nothing.wait_for(state="hidden")


def test_composer_gets_the_focus(shop: Shop) -> None:
    """focusComposer() opens the chat, and what is typed then is in its field."""
    shop.page.goto(shop.base)
    assert shop.call("focusComposer()") == "done"
    shop.page.keyboard.type("hello")
    shop.page.keyboard.press("Enter")
    shop.reads("You wrote “hello”")


def test_action_is_sent_with_its_item(shop: Shop) -> None:
    """sendCustomAction() runs the server's own action in the open thread."""
    shop.open()
    given = "{type: 'label', payload: {colour: 'red'}}"
    assert "thread" in shop.call(f"sendCustomAction({given})")
    shop.say("hello")
    assert shop.call(f"sendCustomAction({given})") == "done"
    shop.reads("Labelled red")


def test_updates_are_fetched(shop: Shop) -> None:
    """fetchUpdates() asks the server for the thread anew."""
    shop.open()
    shop.say("hello")
    with shop.page.expect_request(re.compile("/chatkit/api$")):
        assert shop.call("fetchUpdates()") == "done"


@pytest.mark.parametrize("method", ["fetchUpdates()", "sendCustomAction({type: 'a'})"])
def test_chat_that_nobody_opened_is_not_started(page: Page, site: Sites, method: str) -> None:
    """What needs a conversation does not open one."""
    page.goto(site({"/": FLOATING}))
    told = page.evaluate(f"{CHAT}.{method}{OUTCOME}")
    assert told == "Error: The chat default has not started"
    assert page.locator("openai-chatkit").count() == 0
    assert site.mints == 0


# --- options --------------------------------------------------------------------------------------


def test_options_change_before_the_start(shop: Shop) -> None:
    """configure() before the chat is opened is what it starts with, over the page's options."""
    shop.page.goto(shop.base)
    assert shop.call("configure({startScreen: {greeting: 'Good evening'}})") == "done"
    assert shop.page.locator("dialog").is_visible() is False
    launcher(shop.page).click()
    shop.inside.get_by_text("Good evening").wait_for()
    assert shop.inside.get_by_placeholder("Write").is_visible()


def test_options_change_after_the_start(shop: Shop) -> None:
    """configure() of an open chat merges, and sends all options again to the same element."""
    shop.open()
    shop.page.evaluate("window.before = document.querySelector('dialog .chatkit-body').lastChild")
    more = (
        "{startScreen: {prompts: [{label: 'Where is it?', prompt: 'Where?'}]},"
        " header: {title: {text: 'Deliveries'}}}"
    )
    assert shop.call(f"configure({more})") == "done"
    shop.inside.get_by_role("button", name="Where is it?").wait_for()
    assert shop.inside.get_by_text("Ahoy").is_visible()
    assert shop.inside.get_by_placeholder("Write").is_visible()
    shop.page.locator(".chatkit-bar h2").get_by_text("Deliveries").wait_for()
    assert shop.call("configure({startScreen: {prompts: undefined}})") == "done"
    shop.inside.get_by_role("button", name="Where is it?").wait_for(state="detached")
    assert shop.page.evaluate(
        "before === document.querySelector('dialog .chatkit-body').lastChild && before.isConnected"
    )


def test_theme_changes_with_the_options(shop: Shop) -> None:
    """A theme is one of the options, by name or in parts, and "auto" follows the page again."""
    shop.open()
    shop.call("configure({theme: 'dark'})")
    until(shop.page, "document.querySelector('[data-chatkit]').dataset.scheme", "dark")
    shop.call("configure({theme: {color: {accent: {primary: '#7a1fa2', level: 2}}}})")
    until(shop.page, "document.querySelector('[data-chatkit]').dataset.scheme", "dark")
    accent = "document.querySelector('dialog').style.getPropertyValue('--_accent')"
    until(shop.page, accent, "#7a1fa2")
    shop.call("configure({theme: 'auto'})")
    until(shop.page, "document.querySelector('[data-chatkit]').dataset.scheme", "light")
    assert shop.page.evaluate(accent) == "#7a1fa2"


def test_focus_stays_in_the_bar(shop: Shop) -> None:
    """Who is on a button of the bar while it changes stays in it."""
    shop.open()
    shop.page.get_by_role("button", name="Earlier chats").focus()
    shop.call("configure({header: {title: {text: 'Deliveries'}}})")
    assert shop.page.evaluate("document.activeElement.className") == "chatkit-tool chatkit-close"


@pytest.mark.parametrize("given", ["", "'dark'", "null", "[]", "{api: {url: '/elsewhere'}}"])
def test_what_are_no_options_is_refused(page: Page, site: Sites, given: str) -> None:
    """configure() takes an object, and where the chat calls is the server's to say."""
    page.goto(site({"/": FLOATING}))
    told = page.evaluate(f"{CHAT}.configure({given}){OUTCOME}")
    assert told == "TypeError: configure: give an object of ChatKit's options, without api"


def test_options_that_the_element_refuses(page: Page, site: Sites) -> None:
    """A mistake is told by the promise, and the chat comes back with the options it had."""
    page.goto(site({"/": FLOATING}))
    launcher(page).click()
    ready(page)
    frame = page.frame_locator("openai-chatkit iframe")
    frame.get_by_text("Ahoy").wait_for()
    told = page.evaluate(f"{CHAT}.configure({{startScreen: {{greating: 'x'}}}}){OUTCOME}")
    assert told == "IntegrationError: options.startScreen.greating is not a known option"
    until(page, f"{CHAT}.state.status", "ready")
    frame.get_by_text("Ahoy").wait_for()
    assert page.locator("openai-chatkit").count() == 1


def test_functions_of_the_page_are_the_elements(page: Page, site: Sites) -> None:
    """Functions among the options are called where tool() and action() have none."""
    page.goto(site({"/": FLOATING}))
    page.evaluate(
        f"{CHAT}.configure({{ onClientTool: async ({{name}}) => ({{from: name}}),"
        " widgets: {onAction: async (action) => { window.acted = action.type; }} })"
    )
    launcher(page).click()
    ready(page)
    options = "__chatkitStandin.lastOptions"
    called = f"{options}.onClientTool({{name: 'colour', params: {{}}}})"
    assert page.evaluate(called) == {"from": "colour"}
    page.evaluate(f"{options}.widgets.onAction({{type: 'share'}}, null)")
    assert page.evaluate("acted") == "share"
    page.evaluate(f"{CHAT}.tool('colour', () => ({{from: 'tool'}}))")
    assert page.evaluate(called) == {"from": "tool"}


# --- events ---------------------------------------------------------------------------------------


def test_error_has_its_name(shop: Shop) -> None:
    """An error event tells what failed, by the name that ChatKit has for it, in both elements."""
    shop.open()
    shop.page.evaluate(
        f"{CHAT}.on('error', ({{detail}}) => {{ (window.told ??= []).push(detail) }})"
    )
    assert shop.call("thread('thr_unknown')") != "done"
    until(shop.page, "window.told?.length", 1)
    detail = shop.page.evaluate("told[0]")
    assert detail["error"]["name"] == "HistoryViewError"
    assert detail["message"] == detail["error"]["message"] != ""
    assert detail["chat"] == "default"


#: A name that does not exist → what is meant, or null.
MISSPELT = {
    "opne": "open",
    "chatkit.opne": "open",
    "thread_change": "thread.change",
    "onThreadChange": "thread.change",
    "responseEnd": "response.end",
    "unraed": "unread",
    "errors": "error",
    "message": None,
}


@pytest.mark.parametrize("when", ["before", "after"])
def test_misspelt_event_is_told(page: Page, site: Sites, when: str) -> None:
    """The console names the event that was meant, once the widget's scripts are there."""
    told = warnings_of(page)
    page.goto(site({"/": FLOATING}))
    if when == "after":
        launcher(page).click()
        ready(page)
    known = "for (const name of ['open', 'chatkit.close', 'thread.load.start', 'log', 'consent'])"
    page.evaluate(f"() => {{ {known} {CHAT}.on(name, () => {{}}); }}")
    for name in MISSPELT:
        page.evaluate(f"(name) => {{ {CHAT}.on(name, () => {{}}); }}", name)
    if when == "before":
        launcher(page).click()
        ready(page)
    for _ in range(100):
        if len(told) >= len(MISSPELT):
            break
        page.wait_for_timeout(50)
    found = {}
    for line in told:
        match = re.fullmatch(
            r'flask_chatkit: there is no event "(.+?)": (?:did you mean "(.+)"\?|there are .*)',
            line,
        )
        assert match, line
        found[match[1]] = match[2]
    assert found == MISSPELT
