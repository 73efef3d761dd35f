"""In which language the widget speaks, and in whose words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.pages import HEAD, Sites, chat, hold, launcher, ready, state
from tests.helpers.paths import STATIC
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

LANG = STATIC / "lang"
SCRIPT = re.compile(r"/deployments/chatkit/chatkit\.js$")


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


@pytest.fixture
def served(site: Sites, tmp_path: Path) -> Callable[..., str]:
    """Serve pages whose chat is the site's own."""

    def start(pages: dict[str, str]) -> str:
        kit = ChatKit()

        @kit.assistant()
        def answer(message: Any, _chat: Any) -> str:
            return f"You wrote “{message.text}”"

        history = f"sqlite:///{tmp_path}/history.sqlite3"
        return site(pages, kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=history)

    return start


def words(language: str) -> dict[str, dict[str, str]]:
    return json.loads((LANG / f"{language}.json").read_text("utf-8"))


def html(lang: str | None, body: str) -> str:
    """A page that says its language, or doesn't."""
    said = f'lang="{lang}"' if lang else ""
    return f"{HEAD}</head><body>{body}".replace('lang="en"', said)


def close(page: Page) -> str:
    """The name of the close button, which tells the language of the widget's words."""
    return page.locator(".chatkit-close").get_attribute("aria-label") or ""


@pytest.fixture
def german(browser: Browser) -> Any:
    """Open a page in the browser of somebody who reads German, then French."""
    context = browser.new_context(locale="de-CH")
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


def babel(missing: Callable[[str, str], NoReturn], locale: str | None) -> Any:
    """What makes an application speak a language by Flask-Babel."""
    try:
        from flask_babel import Babel
    except ImportError:
        missing("Flask-Babel", "pip install 'flask-chatkit[test]'")
    return lambda app: Babel(app, locale_selector=lambda: locale)


#: option, Flask-Babel's, the page's; the words' language, and the locale that ChatKit gets.
ORDER: dict[str, tuple[str | None, str | None, str | None, str, str | None]] = {
    "option first": ("it", "es", "fr", "it", "it"),
    "then Flask-Babel": (None, "es_MX", "fr", "es", "es"),
    "then the page": (None, None, "fr-CA", "fr", "fr-CA"),
    "then the browser": (None, None, None, "de", None),
    "page nobody speaks": (None, None, "tlh", "de", None),
    "page that only ChatKit speaks": (None, None, "hu", "en", "hu"),
    "page in Taiwan": (None, None, "zh-Hant-TW", "zh-TW", "zh-TW"),
    "page in Brazil": (None, None, "pt_BR", "pt", "pt-BR"),
    "option that only ChatKit speaks": ("sk", None, "fr", "en", "sk"),
}


def test_language_is_the_first_that_was_said(german: Page, site: Sites, missing: Any) -> None:
    """The option, Flask-Babel, the page, the browser: the words and ChatKit's locale follow it."""
    pages = {"": {}, "babel": {}}
    for number, (option, babels, lang, _, _) in enumerate(ORDER.values()):
        call = f"chatkit_floating(locale='{option}')" if option else "chatkit_floating()"
        pages["babel" if babels else ""][f"/{number}"] = html(lang, "{{ " + call + " }}")
    bases = {
        "": site(pages[""]),
        "babel": site(pages["babel"], setup=babel(missing, "es_MX")),
    }
    for number, (name, (_, babels, _, spoken, locale)) in enumerate(ORDER.items()):
        german.goto(f"{bases['babel' if babels else '']}/{number}")
        german.evaluate("FlaskChatKit.get().open(), null")
        ready(german)
        assert close(german) == words(spoken)["widget"]["close"], name
        assert german.evaluate("__chatkitStandin.lastOptions.locale ?? null") == locale, name
        assert german.locator("dialog").get_attribute("lang") == locale, name
        assert german.evaluate("__chatkitStandin.problems") == []


def test_language_that_nobody_speaks_is_english(page: Page, site: Sites) -> None:
    """A Hebrew page has English words of ours, and ChatKit finds its own locale."""
    page.goto(site({"/": html("he", "{{ chatkit_floating() }}")}))
    launcher(page).click()
    ready(page)
    assert close(page) == "Close chat"
    assert page.evaluate("__chatkitStandin.lastOptions.locale ?? null") is None
    assert page.locator("dialog").get_attribute("dir") is None
    # English stands in the script: no file is asked for.
    assert not [path for path in site.asked if "/lang/" in path and path.endswith(".json")]


def test_arabic_is_written_from_the_right(page: Page, site: Sites) -> None:
    """Title bar, notices and chat run from right to left, also on an English page."""
    held = hold(page, SCRIPT)
    call = "chatkit_floating(locale='ar', title='Title', teaser={'text': 'Hi', 'delay': 0})"
    page.goto(site({"/": "{{ " + call + " }}"}))
    said = words("ar")["widget"]
    launcher(page).click()
    panel = page.locator("dialog")
    page.get_by_text(said["loading"]).wait_for()
    assert (panel.get_attribute("lang"), panel.get_attribute("dir")) == ("ar", "rtl")
    assert close(page) == said["close"]
    box = panel.bounding_box()
    # On the page's own side, with the title where Arabic begins.
    assert box["x"] > 500
    shut, title = (
        page.locator(f"dialog {part}").bounding_box() for part in (".chatkit-close", "h2")
    )
    assert shut["x"] - box["x"] < 20
    assert title["x"] > shut["x"]
    text = page.locator(".chatkit-bar h2").evaluate(
        "(node) => { const range = document.createRange(); range.selectNodeContents(node);"
        " const { right } = range.getBoundingClientRect(); return right; }"
    )
    assert box["x"] + box["width"] - text < 30
    for route in held:
        route.abort()
    state(page, "failed")
    assert page.locator(".chatkit-notice p").first.inner_text() == said["failed"]
    assert page.get_by_role("button", name=said["retry"]).is_visible()
    page.unroute(SCRIPT)
    page.get_by_role("button", name=said["retry"]).click()
    ready(page)
    inside = chat(page).locator("html")
    assert (inside.get_attribute("lang"), inside.get_attribute("dir")) == ("ar", "rtl")


def test_builtin_chat_speaks_the_same_language(page: Page, served: Any) -> None:
    """The chat of our own has the words of the page's language, from the right where it is so."""
    page.route(SCRIPT, lambda route: route.abort())
    base = served(
        {
            "/de": html("de-AT", "{{ chatkit_floating() }}"),
            "/ar": html("ar", "{{ chatkit_floating() }}"),
        }
    )
    for language in ("de", "ar"):
        page.goto(f"{base}/{language}")
        page.evaluate("FlaskChatKit.get().open(), null")
        own = page.locator("flask-chatkit-chat")
        said = words(language)["chat"]
        own.get_by_role("textbox", name=said["message"]).wait_for()
        own.get_by_role("button", name=said["send"]).wait_for()
        assert own.get_by_text(said["greeting"]).is_visible()
        around = "(node) => getComputedStyle(node.parentNode).direction"
        direction = own.get_by_role("textbox").evaluate(around)
        assert direction == ("rtl" if language == "ar" else "ltr")


STRINGS = (
    "strings={'close': 'Begone', 'retry': 'Once more', 'failed': 'Oh no.', 'loading': 'Hold on',"
    " 'page': 'Larger', 'chat': {'send': 'Off it goes', 'greeting': 'Well met'}}"
)


@pytest.mark.parametrize("lang", ["en", "de"])
def test_sites_own_words_win(page: Page, site: Sites, lang: str) -> None:
    """A word that the site has chosen stands in every language; the others are translated."""
    held = hold(page, SCRIPT)
    page.goto(site({"/": html(lang, "{{ chatkit_floating(" + STRINGS + ") }}")}))
    launcher(page).click()
    page.get_by_text("Hold on").wait_for()
    assert close(page) == "Begone"
    for route in held:
        route.abort()
    page.get_by_text("Oh no.").wait_for()
    assert page.get_by_role("button", name="Once more").is_visible()
    assert page.get_by_role("link", name="Larger").is_visible()
    page.unroute(SCRIPT)
    page.get_by_role("button", name="Once more").click()
    ready(page)
    assert page.get_by_role("button", name=words(lang)["widget"]["history"]).is_visible()


def test_sites_own_words_reach_the_builtin_chat(page: Page, served: Any) -> None:
    """Also the words of the chat that stands in for OpenAI's."""
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(served({"/": html("de", "{{ chatkit_floating(" + STRINGS + ") }}")}))
    launcher(page).click()
    own: Locator = page.locator("flask-chatkit-chat")
    own.get_by_role("button", name="Off it goes").wait_for()
    assert own.get_by_text("Well met").is_visible()
    assert own.get_by_role("textbox", name=words("de")["chat"]["message"]).is_visible()


@pytest.mark.parametrize("how", ["aborted", "404", "nonsense", "hanging"])
def test_words_that_do_not_come_are_english(page: Page, site: Sites, how: str) -> None:
    """A missing file of words keeps nobody from the chat, and the chat's language is the page's."""

    def answer(route: Any) -> None:
        if how == "aborted":
            route.abort()
        elif how == "404":
            route.fulfill(status=404, body="<h1>Not found</h1>")
        elif how == "nonsense":
            route.fulfill(body="{", content_type="application/json")

    page.route(re.compile(r"/lang/.*\.json"), answer)
    call = "chatkit_floating(strings={'history': 'Before'})"
    page.goto(site({"/": html("fr", "{{ " + call + " }}")}))
    launcher(page).click()
    ready(page)
    assert close(page) == "Close chat"
    assert page.get_by_role("button", name="Before").is_visible()
    assert page.evaluate("__chatkitStandin.lastOptions.locale") == "fr"


def test_what_the_server_says_is_translated(page: Page, site: Sites) -> None:
    """A refusal has the words of the page's language, though the server speaks English."""
    base = site(
        {"/": html("de", "{{ chatkit_inline() }}")},
        CHATKIT_RATELIMIT="1/day",
        CHATKIT_API_TIMEOUT=1,
    )
    page.goto(base)
    ready(page)
    page.evaluate("sessionStorage.clear()")
    page.reload()
    page.get_by_text(words("de")["widget"]["limited"]).wait_for()


def test_name_of_the_chat_is_in_the_sites_language(page: Page, site: Sites, missing: Any) -> None:
    """Without a label launcher, panel and frame are named in Flask-Babel's language."""
    page.goto(site({"/": "{{ chatkit_floating() }}"}, setup=babel(missing, "ja")))
    name = words("ja")["page"]["chat"]
    assert launcher(page).get_attribute("aria-label") == name
    launcher(page).click()
    ready(page)
    assert page.get_by_role("dialog", name=name).is_visible()
    assert page.evaluate("__chatkitStandin.lastOptions.frameTitle") == name
