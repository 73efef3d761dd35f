"""The widget in Chromium: what it waits for, what it keeps, and what it says when it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from flask import redirect, render_template_string, request, session

from flask_chatkit import ChatKit
from flask_chatkit.testing import Failure, OpenAIStandIn
from tests.helpers.pages import IMPORT, chat, say
from tests.helpers.pages import usable as ready
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Page

STRICT = (
    "default-src 'none'; script-src 'self' {cdn}; style-src 'self'; connect-src 'self';"
    " frame-src {cdn}; img-src 'self'; base-uri 'none'; form-action 'none'"
)


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Callable[..., str]:
    """Serve a site with given pages; the chat's script and frame are on another site."""

    def start(pages: dict[str, str], kit: ChatKit | None = None, **config: Any) -> str:
        script = openai_standin.script_url.replace("127.0.0.1", "localhost")
        app = make_app(kit or ChatKit(), CHATKIT_SCRIPT_URL=script, **config)
        for path, body in pages.items():
            app.add_url_rule(path, path, lambda body=body: document(body))
        cdn = script.partition("/deployments")[0]

        @app.get("/in/<name>")
        def sign_in(name: str) -> str:
            session["user"] = name
            return ""

        @app.get("/out")
        def sign_out() -> str:
            session.clear()
            return ""

        @app.after_request
        def secure(response: Any) -> Any:
            response.headers["Content-Security-Policy"] = STRICT.format(cdn=cdn)
            return response

        return str(serve(app))

    return start


def document(body: str) -> str:
    head = "<!doctype html><html lang=en><title>Site</title><body>"
    return render_template_string(head + IMPORT + body)


def mints(openai: OpenAIStandIn) -> int:
    return sum(request.path == "/v1/chatkit/sessions" for request in openai.requests)


def launcher(page: Page) -> Any:
    return page.locator(".chatkit-launcher")


def test_nothing_happens_before_the_visitor_acts(
    page: Page, site: Any, openai_standin: OpenAIStandIn, console: Any
) -> None:
    """A page with a launcher asks two files of its own site, mints nothing and sets no cookie."""
    base = site({"/": "{{ chatkit_floating() }}<p>Text"})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(base, wait_until="networkidle")
    assert len([url for url in asked if "/chatkit/static/" in url]) == 2
    assert all(url.startswith(base) for url in asked)
    assert len(asked) == 3 + sum("favicon" in url for url in asked)
    assert page.context.cookies() == []
    assert openai_standin.requests == []
    assert page.evaluate("customElements.get('openai-chatkit')") is None
    assert console.all == []


def test_floating_chat_opens_and_answers(
    page: Page, site: Any, openai_standin: OpenAIStandIn, console: Any
) -> None:
    """A click opens the panel, mints once and lets the visitor chat; a strict policy holds."""
    page.goto(site({"/": "{{ chatkit_floating(greeting='Ahoy') }}"}))
    launcher(page).click()
    ready(page)
    chat(page).get_by_text("Ahoy").wait_for()
    say(page, "hello")
    assert mints(openai_standin) == 1
    assert openai_standin.threads
    box = page.locator("openai-chatkit").bounding_box()
    frame = page.locator("openai-chatkit iframe").bounding_box()
    assert box == frame
    assert frame["height"] > 400
    assert console.all == []
    assert "ek_" not in page.content()


def test_panel_is_opened_and_closed_by_keyboard(page: Page, site: Any) -> None:
    """Enter opens, Esc and the close button close; focus goes in and comes back; one frame load."""
    page.goto(site({"/": "<a href='#x'>before</a>{{ chatkit_floating() }}"}))
    button, panel = launcher(page), page.locator("dialog")
    for close in ("Escape", "Enter", "Escape"):
        button.focus()
        page.keyboard.press("Enter")
        ready(page)
        assert panel.is_visible()
        assert button.get_attribute("aria-expanded") == "true"
        page.wait_for_function("document.activeElement.localName == 'openai-chatkit'")
        page.locator(".chatkit-close").focus()
        page.keyboard.press(close)
        assert not panel.is_visible()
        assert button.get_attribute("aria-expanded") == "false"
        assert page.evaluate("document.activeElement.className") == "chatkit-launcher"
    assert page.evaluate("__chatkitStandin.frameLoads") == 1


def test_impatient_clicks_open_the_panel(page: Page, site: Any) -> None:
    """Who clicks again while the rest is still coming finds the panel open."""

    def slow(route: Any) -> None:
        page.wait_for_timeout(300)
        route.continue_()

    page.route(re.compile(r"/static/\w+/widget/"), slow)
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    for _ in range(2):
        page.evaluate("document.querySelector('.chatkit-launcher').click()")
    ready(page)
    assert page.locator("dialog").is_visible()


def test_panel_reopened_at_once_is_open(page: Page, site: Any) -> None:
    """Closing and opening in one breath leaves a panel that is open, and says so."""
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    launcher(page).click()
    ready(page)
    page.evaluate(
        """() => {
          FlaskChatKit.get().close();
          FlaskChatKit.get().open();
          return new Promise((done) => setTimeout(done, 100));
        }"""
    )
    assert page.locator("dialog").is_visible()
    assert launcher(page).get_attribute("aria-expanded") == "true"
    assert page.locator("[data-open]").count() == 1


def test_launcher_wears_the_chats_accent(page: Page, site: Any) -> None:
    """The accent option colours the launcher too, with a readable icon."""
    page.goto(site({"/": "{{ chatkit_floating(accent='#ffe000') }}"}))
    page.wait_for_selector("[data-chatkit][style]", state="attached")
    style = "getComputedStyle(document.querySelector('.chatkit-launcher'))"
    assert page.evaluate(f"{style}.backgroundColor") == "rgb(255, 224, 0)"
    assert page.evaluate(f"{style}.color") == "rgb(0, 0, 0)"


@pytest.mark.parametrize(
    ("side", "direction", "found"),
    [
        ("left", "ltr", "left"),
        ("right", "ltr", "right"),
        ("left", "rtl", "left"),
        ("right", "rtl", "right"),
        (None, "ltr", "right"),
        (None, "rtl", "left"),
    ],
)
def test_panel_is_where_it_was_asked_for(
    page: Page, site: Any, side: str | None, direction: str, found: str
) -> None:
    """Launcher and panel are on the side that was said, else where the writing ends, in view."""
    call = f"chatkit_floating(side='{side}')" if side else "chatkit_floating()"
    page.goto(site({"/": "{{ " + call + " }}"}))
    page.evaluate("direction => document.documentElement.dir = direction", direction)
    launcher(page).click()
    ready(page)
    for box in (launcher(page).bounding_box(), page.locator("dialog").bounding_box()):
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 1000
        assert box["y"] + box["height"] <= 800
        middle = box["x"] + box["width"] / 2
        assert middle < 500 if found == "left" else middle > 500
    panel, button = page.locator("dialog").bounding_box(), launcher(page).bounding_box()
    assert panel["y"] + panel["height"] <= button["y"]


def test_panel_is_full_screen_on_a_phone(page: Page, site: Any) -> None:
    """On a small screen the panel is modal and fills it."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    launcher(page).click()
    ready(page)
    assert page.evaluate("document.querySelector('dialog').matches(':modal')")
    assert page.locator("dialog").bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 844}


def test_inline_chat_is_made_at_first_sight(
    page: Page, site: Any, openai_standin: OpenAIStandIn
) -> None:
    """A chat below the fold costs nothing until it is scrolled to."""
    page.set_viewport_size({"width": 800, "height": 500})
    spacer = "<p>Much text.</p>" * 100
    page.goto(site({"/": spacer + "{{ chatkit_inline(height='420px', width=500) }}"}))
    page.wait_for_load_state("networkidle")
    assert openai_standin.requests == []
    page.locator("[data-chatkit]").scroll_into_view_if_needed()
    ready(page)
    box = page.locator("[data-chatkit]").bounding_box()
    assert (box["width"], box["height"]) == (500, 420)


def test_ten_page_views_mint_once(page: Page, site: Any, openai_standin: OpenAIStandIn) -> None:
    """The secret of one page serves the next ones of the same tab."""
    base = site({"/": "{{ chatkit_floating() }}", "/b": "{{ chatkit_inline() }}"})
    for view in range(10):
        page.goto(base + ("/b" if view % 2 else "/"))
        if view == 0:
            launcher(page).click()  # on later pages the panel is open again
        ready(page)
    assert mints(openai_standin) == 1


def test_secret_comes_beside_the_script(
    page: Page, site: Any, openai_standin: OpenAIStandIn, console: Any
) -> None:
    """The visitor waits for the secret and for ChatKit's script at once; it is asked for once."""
    answers: list[str] = []

    def hold(route: Any) -> None:
        for _ in range(100):
            if mints(openai_standin):
                break
            page.wait_for_timeout(50)
        answers.append(f"after {mints(openai_standin)}")
        route.continue_()

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.route(re.compile("/deployments/.*chatkit[.]js"), hold)
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    launcher(page).click()
    ready(page)
    assert answers == ["after 1"]
    assert len([url for url in asked if "/chatkit/secret" in url or "/session" in url]) == 1
    assert console.all == []


def test_early_secret_is_handed_out_soon_or_never(
    page: Page, site: Any, openai_standin: OpenAIStandIn
) -> None:
    """Who signs in while ChatKit's script is slow has a chat of their own when it comes."""
    kit = ChatKit()
    kit.user_loader(lambda: session.get("user"))
    base = site({"/": "{{ chatkit_floating() }}"}, kit)

    def hold(route: Any) -> None:
        page.wait_for_timeout(1000)
        assert mints(openai_standin) == 1
        page.context.request.get(f"{base}/in/bob")
        page.wait_for_timeout(2500)
        route.continue_()

    page.route(re.compile("/deployments/.*chatkit[.]js"), hold)
    page.goto(base)
    page.context.request.get(f"{base}/in/ann")
    launcher(page).click()
    ready(page)
    users = [request.body["user"] for request in openai_standin.requests if request.body]
    assert users[0] == "user:ann"
    assert users[-1] == "user:bob"


def test_two_widgets_share_one_mint(
    page: Page, site: Any, openai_standin: OpenAIStandIn, console: Any
) -> None:
    """Two widgets of a chat wait for one request; another chat has its own."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")
    body = (
        "{{ chatkit_inline(id='a', height=200) }}{{ chatkit_inline(id='b', height=200) }}"
        "{{ chatkit_inline('sales', id='c', height=200) }}"
    )
    page.goto(site({"/": body}, kit))
    for root in ("#a", "#b", "#c"):
        ready(page, root)
    assert mints(openai_standin) == 2
    say(page, "first", "#a")
    say(page, "third", "#c")
    assert console.all == []


def test_two_chats_of_a_newcomer_are_one_visitors(
    page: Page, site: Any, openai_standin: OpenAIStandIn
) -> None:
    """Chats that start at once wait for the cookie that the first of them brings."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin")
    body = (
        "{{ chatkit_inline(id='a', height=200) }}{{ chatkit_inline('sales', id='b', height=200) }}"
    )
    page.goto(site({"/": body}, kit))
    ready(page, "#a")
    ready(page, "#b")
    assert mints(openai_standin) == 2
    assert len({made["user"] for made in openai_standin.sessions.values()}) == 1


def test_secret_that_runs_out_is_refreshed(
    page: Page, site: Any, openai_standin: OpenAIStandIn
) -> None:
    """When OpenAI no longer takes the secret a new one comes, for the same visitor."""
    base = site({"/": "{{ chatkit_inline() }}"})
    paths: list[str] = []
    page.on("request", lambda request: paths.append(request.url.removeprefix(base)))
    page.goto(base)
    ready(page)
    say(page, "one")
    (first,) = openai_standin.sessions
    openai_standin.expire(first)
    say(page, "two")
    assert mints(openai_standin) == 2
    assert sum(path.endswith("/refresh") for path in paths) == 1
    assert len({session["user"] for session in openai_standin.sessions.values()}) == 1
    # The dead one is not handed out again by the next page either.
    page.reload()
    ready(page)
    say(page, "three")
    assert mints(openai_standin) == 2


def test_dead_secret_is_not_kept_when_refreshing_fails(
    page: Page, site: Any, openai_standin: OpenAIStandIn
) -> None:
    """A secret that was reported dead is gone from the tab, also if no new one could be had."""
    page.goto(site({"/": "{{ chatkit_inline() }}"}))
    ready(page)
    say(page, "one")
    (first,) = openai_standin.sessions.values()
    openai_standin.expire(first["id"])
    openai_standin.fail(Failure(status=500), times=9)
    chat(page).locator("#input").fill("hello")
    chat(page).locator("#send").click()
    # The conversation stays on the screen, under a strip that can be put away.
    page.locator(".chatkit-strip").get_by_text("not available").wait_for()
    chat(page).get_by_text("You wrote “one”").wait_for()
    page.get_by_role("button", name="Dismiss").click()
    assert page.locator(".chatkit-strip p").count() == 0
    assert first["client_secret"] not in str(page.evaluate("Object.entries(sessionStorage)"))


def test_next_visitor_of_a_tab_gets_another_secret(
    page: Page, site: Any, openai_standin: OpenAIStandIn
) -> None:
    """After a login, a logout and a lost cookie the same tab never shows the former's chat."""
    kit = ChatKit()
    kit.user_loader(lambda: session.get("user"))
    base = site({"/": "{{ chatkit_inline() }}"}, kit)
    users: list[str] = []
    for act in (None, "/in/ann", None, "/out", "lose the cookies"):
        if act and act.startswith("/"):
            page.goto(base + act)
        elif act:
            page.context.clear_cookies()
        page.goto(base)
        ready(page)
        say(page, f"I am {len(users)}")
        users.append(list(openai_standin.threads.values())[-1]["user"])
    first, ann, same, back, lost = users
    assert ann == same == "user:ann"
    assert first == back != lost
    assert first.startswith("anon:")
    assert lost.startswith("anon:")


def test_retry_after_is_honoured_once(page: Page, site: Any, openai_standin: OpenAIStandIn) -> None:
    """When the server says for how long it is busy the widget waits, and then goes on."""
    openai_standin.fail(Failure(status=429, retry_after=1))
    page.goto(site({"/": "{{ chatkit_inline() }}"}, CHATKIT_API_TIMEOUT=0.4))
    page.get_by_text("The chat is loading").wait_for()
    ready(page)
    assert mints(openai_standin) == 2


def test_what_does_not_help_is_told_readably(
    page: Page, site: Any, openai_standin: OpenAIStandIn
) -> None:
    """After the second refusal the visitor reads why, and can try again."""
    openai_standin.fail(Failure(status=429, retry_after=1), times=2)
    page.goto(site({"/": "{{ chatkit_inline() }}"}, CHATKIT_API_TIMEOUT=0.4))
    page.get_by_text("The chat service is not available at the moment.").wait_for()
    assert page.locator("[data-state=failed]").count() == 1
    assert mints(openai_standin) == 2
    link = page.get_by_role("link", name="Open the chat on its own page")
    assert link.evaluate("({ pathname }) => pathname") == "/chatkit/"
    page.get_by_role("button", name="Try again").click()
    ready(page)
    say(page, "at last")


def test_long_wait_is_told_at_once(page: Page, site: Any) -> None:
    """A quota that is used up for the day keeps nobody waiting."""
    base = site({"/": "{{ chatkit_inline() }}"}, CHATKIT_RATELIMIT="1/day")
    page.goto(base)
    ready(page)
    page.evaluate("sessionStorage.clear()")
    page.reload()
    page.get_by_text("Too many requests. Please wait a moment and try again.").wait_for()


@pytest.mark.parametrize("failure", ["404", "aborted"])
def test_missing_script_is_told(page: Page, site: Any, failure: str) -> None:
    """When OpenAI's script does not come the visitor is told, and trying again works."""
    base = site({"/": "{{ chatkit_floating() }}"})
    script = re.compile(r"/deployments/chatkit/chatkit\.js$")
    page.route(
        script,
        lambda route: route.abort() if failure == "aborted" else route.fulfill(status=404),
    )
    page.goto(base)
    launcher(page).click()
    page.get_by_text("The chat could not be loaded.").wait_for()
    page.unroute(script)
    page.get_by_role("button", name="Try again").click()
    ready(page)


def test_missing_site_is_told(page: Page, site: Any) -> None:
    """When the site itself can't be reached the visitor is told to look at the connection."""
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    page.route(re.compile("/chatkit/secret$"), lambda route: route.abort())
    launcher(page).click()
    page.get_by_text("The chat can't be reached. Please check your connection.").wait_for()


def test_silent_frame_is_told(page: Page, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the frame is blocked, which chatkit.ready does not tell, a watchdog does."""
    page.clock.install()
    page.route(re.compile(r"/frame\.html"), lambda route: route.abort())
    page.goto(site({"/": "{{ chatkit_inline() }}"}))
    page.locator("openai-chatkit").wait_for(state="attached")
    page.clock.run_for(16_000)
    page.get_by_text("The chat did not answer.").wait_for()


def scheme(page: Page, root: str = "[data-chatkit]") -> str | None:
    return chat(page, root).locator("html").get_attribute("data-color-scheme")


@pytest.mark.parametrize(
    "switch",
    [
        "html.dataset.theme = 'dark'",
        "html.dataset.bsTheme = 'dark'",
        "html.classList.add('dark')",
        "document.body.classList.add('dark')",
    ],
)
def test_switch_to_dark_is_followed(page: Page, site: Any, switch: str) -> None:
    """The page's switch sets the full options again, on the same element."""
    page.goto(site({"/": "{{ chatkit_inline(greeting='Ahoy', accent='#0a7') }}"}))
    ready(page)
    assert scheme(page) == "light"
    page.evaluate(f"(() => {{ const html = document.documentElement; {switch} }})()")
    chat(page).locator("html[data-color-scheme=dark]").wait_for()
    options = page.evaluate("__chatkitStandin.lastOptions")
    assert options["startScreen"] == {"greeting": "Ahoy"}
    assert options["theme"]["color"]["accent"]["primary"] == "#0a7"
    assert page.evaluate("__chatkitStandin.frameLoads") == 1


def test_system_setting_is_followed(page: Page, site: Any) -> None:
    """Without a switch of the page the system's dark mode counts, also when it changes."""
    page.emulate_media(color_scheme="dark")
    page.goto(site({"/": "{{ chatkit_inline() }}"}))
    ready(page)
    assert scheme(page) == "dark"
    page.emulate_media(color_scheme="light")
    chat(page).locator("html[data-color-scheme=light]").wait_for()


def test_chosen_theme_is_kept(page: Page, site: Any) -> None:
    """An explicit theme does not follow the page."""
    page.emulate_media(color_scheme="dark")
    page.goto(site({"/": "{{ chatkit_inline(theme='light') }}"}))
    ready(page)
    assert scheme(page) == "light"


def test_themed_chat_takes_the_sites_look(page: Page, site: Any, serve: Any) -> None:
    """Custom properties become the theme, whatever they are written as, and win over defaults."""
    look = (
        ":root { --brand: rebeccapurple; --chatkit-primary: var(--brand); }"
        "main { --chatkit-bg: #fffaf0; --chatkit-text: hsl(0 0% 10%); --chatkit-font: Georgia; }"
    )
    page.route("**/look.css", lambda route: route.fulfill(body=look, content_type="text/css"))
    body = "<link rel=stylesheet href=/look.css><main>{{ chatkit_themed(radius='sharp') }}</main>"
    page.goto(site({"/": body}))
    ready(page)
    assert page.evaluate("__chatkitStandin.lastOptions.theme") == {
        "colorScheme": "light",
        "color": {
            "accent": {"primary": "rgb(102, 51, 153)", "level": 1},
            "surface": {"background": "rgb(255, 250, 240)", "foreground": "rgb(26, 26, 26)"},
        },
        "typography": {"fontFamily": "Georgia", "baseSize": 16},
        "radius": "sharp",
    }


@pytest.mark.parametrize("transition", ["none", "background-color .3s, color .3s"])
def test_themed_chat_follows_a_site_without_properties(
    page: Page, site: Any, transition: str
) -> None:
    """Without custom properties the page's own colours count, also after an animated switch."""
    look = (
        f"body {{ background: #fff; color: #333; transition: {transition}; }}"
        "[data-theme=dark] body { background: #101418; color: #eee; }"
    )
    page.route("**/look.css", lambda route: route.fulfill(body=look, content_type="text/css"))
    page.goto(site({"/": "<link rel=stylesheet href=/look.css>{{ chatkit_themed() }}"}))
    ready(page)
    surface = "__chatkitStandin.lastOptions.theme.color.surface"
    light = {"background": "rgb(255, 255, 255)", "foreground": "rgb(51, 51, 51)"}
    assert page.evaluate(surface) == light
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    dark = {"background": "rgb(16, 20, 24)", "foreground": "rgb(238, 238, 238)"}
    for _ in range(40):
        if page.evaluate(surface) == dark:
            break
        page.wait_for_timeout(50)
    assert page.evaluate(surface) == dark


def test_page_that_declares_its_scheme_is_followed(page: Page, site: Any) -> None:
    """A site that is dark by color-scheme alone has a dark chat, whatever the system says."""
    look = ":root { color-scheme: dark; }"
    page.route("**/look.css", lambda route: route.fulfill(body=look, content_type="text/css"))
    page.goto(site({"/": "<link rel=stylesheet href=/look.css>{{ chatkit_inline() }}"}))
    ready(page)
    assert scheme(page) == "dark"


def test_csrf_token_of_the_page_is_sent(page: Page, site: Any) -> None:
    """A page that has a token sends it along."""
    sent: list[str | None] = []
    page.on(
        "request",
        lambda request: (
            sent.append(request.headers.get("x-csrftoken")) if request.method == "POST" else None
        ),
    )
    page.goto(site({"/": "<meta name=csrf-token content=abc>{{ chatkit_inline() }}"}))
    ready(page)
    assert sent[0] == "abc"


def test_signed_out_visitor_is_told(page: Page, site: Any) -> None:
    """A guard that wants a login is told in the chat's place."""
    kit = ChatKit()
    kit.before_request(lambda: redirect("/login") if request.path.endswith("secret") else None)
    page.goto(site({"/": "{{ chatkit_inline() }}"}, kit))
    page.get_by_text("Sign in to use this chat.").wait_for()


def test_full_page_fills_the_window(page: Page, site: Any, console: Any) -> None:
    """The full page is the chat, and nothing scrolls beside it."""
    page.goto(site({}) + "/chatkit/")
    ready(page)
    say(page, "hello")
    box = page.locator("[data-chatkit]").bounding_box()
    assert box["width"] > 850
    assert box["height"] > 680
    assert page.evaluate("document.documentElement.scrollHeight") == 800
    page.set_viewport_size({"width": 390, "height": 700})
    box = page.locator("[data-chatkit]").bounding_box()
    assert (box["x"], box["width"], box["y"] + box["height"]) == (0, 390, 700)
    assert page.evaluate("document.documentElement.scrollHeight") == 700
    assert console.all == []


def test_locale_reaches_the_frame(page: Page, site: Any) -> None:
    """The chat speaks the language it was told to, and writes in its direction."""
    page.goto(site({"/": "{{ chatkit_inline(locale='ar') }}"}))
    ready(page)
    html = chat(page).locator("html")
    assert (html.get_attribute("lang"), html.get_attribute("dir")) == ("ar", "rtl")


ALIEN = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "config",
    [
        '{"widget":"%s/x.js","script":"%s/x.js","options":{}}',
        '{"page":"%s/","options":{}}',
        '{"page":"/chatkit/../elsewhere/","options":{}}',
        '{"page":"/chatkit/attachments/elsewhere/","options":{}}',
        '{"page":"javascript:alert(1)","options":{}}',
        '{"page":"/chatkit/","api":"%s/api","config":"%s/config","options":{}}',
        '{"page":"/chatkit/","served":true,"api":"%s/","config":"%s/c","upload":"%s/","options":{}}',
        '{"page":"/chatkit/","secret":"%s/secret","session":"%s/","embedded":true,"options":{}}',
        "not JSON",
    ],
)
def test_text_of_a_visitor_can_not_pose_as_a_widget(page: Page, site: Any, config: str) -> None:
    """Markup that a sanitiser lets through loads nothing, and posts the page's token nowhere."""
    evil = config.replace("%s", ALIEN)
    body = (
        "<meta name=csrf-token content=abc>{{ chatkit_floating() }}"
        f"<section id=evil class='chatkit chatkit-inline' data-chatkit='{evil}'>x</section>"
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    base = site({"/": body})
    page.goto(base, wait_until="networkidle")
    assert not [url for url in asked if "elsewhere" in url]
    launcher(page).click()
    ready(page, "#chatkit-1")
    page.wait_for_timeout(300)
    assert not [url for url in asked if url.startswith(ALIEN)]


def test_addresses_of_a_visitors_markup_run_nothing(page: Page, site: Any) -> None:
    """A widget that the server has not rendered gets no link or button that runs a script."""
    evil = "javascript:void(window.pwned=1)"
    config = {
        "page": "/chatkit/",
        "contact": {"href": evil},
        "options": {
            "frameTitle": "x",
            "header": {
                "leftAction": {"icon": "home", "href": evil},
                "rightAction": {"icon": "share", "href": "https:evil:\\"},
            },
        },
    }
    root = (
        "<div class='chatkit chatkit-floating' id=evil data-chatkit='" + json.dumps(config) + "'>"
        "<button class=chatkit-launcher>x</button><dialog class=chatkit-panel></dialog></div>"
    )
    page.route(re.compile("/deployments/"), lambda route: route.abort())
    page.goto(site({"/": "{{ chatkit_floating() }}{% raw %}" + root + "{% endraw %}"}))
    page.locator("#evil > .chatkit-launcher").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#evil[data-state=failed]", state="attached")
    links = page.locator("#evil a").evaluate_all("all => all.map(({ protocol }) => protocol)")
    assert set(links) <= {"http:", "https:"}
    assert page.evaluate("window.pwned") is None


@pytest.mark.parametrize(
    "gadget",
    [
        '<img name=currentScript data-kit=\'{"base":"/chatkit/","widget":"%s/x.js"}\'>',
        "<form name=currentScript data-kit='{}'><input name=tagName value=SCRIPT></form>",
    ],
)
def test_names_of_a_visitors_markup_are_not_the_loader(page: Page, site: Any, gadget: str) -> None:
    """What takes the loader's own tag's name in the document says nothing about what is run."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site({"/": gadget.replace("%s", ALIEN) + "{{ chatkit_floating() }}"}))
    launcher(page).click()
    page.wait_for_timeout(500)
    assert not [url for url in asked if url.startswith(ALIEN)]


def test_form_of_a_visitor_does_not_stop_the_widget(page: Page, site: Any) -> None:
    """A form whose fields are named as an element's methods is left alone."""
    form = "<form class='chatkit chatkit-floating' data-chatkit='{}'><input name=matches></form>"
    page.goto(site({"/": form + "{{ chatkit_floating() }}"}))
    page.evaluate("FlaskChatKit.get().open()")
    ready(page, "#chatkit-1")


def test_names_of_javascripts_own_are_chats_too(page: Page, site: Any) -> None:
    """A widget may be called as what every object has."""
    page.goto(site({"/": "{{ chatkit_floating(id='constructor') }}"}))
    page.evaluate("FlaskChatKit.get('constructor').open()")
    ready(page, "#constructor")
    assert page.evaluate("FlaskChatKit.get('toString').tools.toString") is None


def test_pages_that_went_are_forgotten(page: Page, site: Any) -> None:
    """The roots of pages that were replaced are not held for ever."""
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    held = page.evaluate(
        """async () => {
          const gone = [];
          for (let turn = 0; turn < 20; turn += 1) {
            const copy = document.body.cloneNode(true);
            gone.push(new WeakRef(document.querySelector('[data-chatkit]')));
            document.body.replaceWith(copy);
            FlaskChatKit.scan();
            await new Promise((done) => setTimeout(done, 20));
          }
          window.gone = gone;
        }"""
    )
    session = page.context.new_cdp_session(page)
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
        page.wait_for_timeout(100)
    held = page.evaluate("gone.filter((root) => root.deref()).length")
    assert held <= 5


@pytest.mark.parametrize(
    "answer",
    [
        {"body": "<h1>Sign in to the hotel's network</h1>", "content_type": "text/html"},
        {"body": '{"client_secret": null}', "content_type": "application/json"},
        {"body": "null", "content_type": "application/json"},
        {"status": 500, "body": '{"message": {"a": 1}}', "content_type": "application/json"},
    ],
)
def test_answer_that_is_no_secret_is_told(page: Page, site: Any, answer: dict[str, Any]) -> None:
    """What stands between site and visitor may answer anything; a secret is a text."""
    page.route(re.compile("/chatkit/secret$"), lambda route: route.fulfill(**answer))
    page.goto(site({"/": "{{ chatkit_inline() }}"}))
    page.get_by_text("The chat could not be loaded.").wait_for()


def test_server_that_repeats_itself_is_not_asked_for_ever(
    page: Page, site: Any, openai_standin: OpenAIStandIn
) -> None:
    """When the same dead secret comes again and again, the widget gives up and says so."""
    page.goto(site({"/": "{{ chatkit_inline() }}"}))
    ready(page)
    say(page, "one")
    (dead,) = openai_standin.sessions.values()
    openai_standin.expire(dead["id"])
    asked: list[str] = []

    def repeat(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(
            json={"client_secret": dead["client_secret"], "expires_in": 600, "session_id": "x"}
        )

    page.route(re.compile("/(secret|refresh)$"), repeat)
    chat(page).locator("#input").fill("two")
    chat(page).locator("#send").click()
    page.locator(".chatkit-strip").get_by_text("could not be loaded").wait_for()
    assert len(asked) <= 4


def test_page_that_a_cache_put_back_works(page: Page, site: Any) -> None:
    """The markup of an open chat, restored without its life, is alive and open again."""
    page.goto(site({"/": "{{ chatkit_floating() }}<p>{{ chatkit_inline(height=200) }}"}))
    launcher(page).click()
    ready(page, "#chatkit-1")
    ready(page, "#chatkit-2")
    page.evaluate(
        """() => {
          const copy = document.body.cloneNode(true);
          document.body.replaceWith(copy);
          document.dispatchEvent(new Event('turbo:load'));
        }"""
    )
    assert page.locator("dialog").count() == 1
    ready(page, "#chatkit-1")
    assert page.locator("dialog").is_visible()
    assert page.locator(".chatkit-bar").count() == 1
    page.locator("#chatkit-2").scroll_into_view_if_needed()
    ready(page, "#chatkit-2")
    page.locator(".chatkit-close").click()
    assert not page.locator("dialog").is_visible()
    page.evaluate("document.body.classList.add('dark')")
    chat(page, "#chatkit-2").locator("html[data-color-scheme=dark]").wait_for()


@pytest.mark.parametrize("macro", ["chatkit_floating", "chatkit_inline"])
def test_missing_widget_leaves_a_link(page: Page, site: Any, macro: str) -> None:
    """When not even our own second file comes, there is a link to the full page."""
    page.route(re.compile(r"/static/\w+/widget/"), lambda route: route.abort())
    page.goto(site({"/": "{{ " + macro + "(label='Ask us') }}"}))
    if macro == "chatkit_floating":
        launcher(page).click()
    link = page.get_by_role("link", name="Ask us")
    link.wait_for()
    assert link.evaluate("({ pathname }) => pathname") == "/chatkit/"


def test_two_retries_at_once_make_one_element(
    page: Page, site: Any, openai_standin: OpenAIStandIn
) -> None:
    """Who clicks Try again twice gets one chat."""
    script = re.compile(r"/deployments/chatkit/chatkit\.js$")
    page.route(script, lambda route: route.abort())
    page.goto(site({"/": "{{ chatkit_inline() }}"}))
    page.get_by_role("button", name="Try again").wait_for()
    page.unroute(script)
    page.evaluate(
        "() => { const b = document.querySelector('.chatkit-actions button');"
        " b.click(); b.click(); }"
    )
    ready(page)
    assert page.locator("openai-chatkit").count() == 1


def test_loader_started_twice_is_harmless(page: Page, site: Any, console: Any) -> None:
    """A second copy of the assets, as a partial page load brings, changes nothing."""
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    page.evaluate(
        """() => new Promise((done) => {
          const copy = document.createElement('script');
          copy.src = document.querySelector('script').src;
          copy.onload = done;
          document.head.append(copy);
        })"""
    )
    launcher(page).click()
    ready(page)
    assert page.locator("dialog").is_visible()
    assert console.all == []


def test_without_scripts_there_is_a_link(browser: Any, site: Any) -> None:
    """Where scripts are off the launcher gives way to a link to the full page, which says so."""
    base = site({"/": "{{ chatkit_floating() }}"})
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(base)
    assert not launcher(page).is_visible()
    page.get_by_role("link", name="Chat").click()
    page.wait_for_url(f"{base}/chatkit/")
    assert "This chat needs JavaScript." in page.locator("main").inner_text()
    context.close()
