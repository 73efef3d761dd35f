"""A served chat in Chromium: in OpenAI's element, and in the built-in one without it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import redirect, render_template_string, request, session

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.served import visit
from tests.helpers.sites import Browser, MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Locator, Page

HEAD = (
    "<!doctype html><html lang=en><title>Site</title><body>"
    '{% from "chatkit/macros.html" import chatkit_floating, chatkit_inline, chatkit_themed %}'
)
STRICT = (
    "default-src 'none'; script-src 'self' {cdn}; style-src 'self'; connect-src 'self';"
    " frame-src {cdn}; img-src 'self' data:; base-uri 'none'; form-action 'self'"
)


def parrot() -> ChatKit:
    """A kit whose default chat repeats what it is told, and shows what a page can do for it."""
    kit = ChatKit()

    @kit.assistant(attachments=True)
    def answer(message: Any, chat: Any) -> Any:
        if message.tool_result is not None:
            yield f"The page says {message.tool_result.output['colour']}."
        elif message.text.startswith("colour?"):
            chat.client_tool("colour")
        elif message.attachments:
            (file,) = message.attachments
            yield f"{file.name} has {len(file.read())} bytes."
        else:
            yield f"You wrote “{message.text}” to {'us' if chat.visitor.is_anonymous else 'you'}"

    return kit


@pytest.fixture
def calls() -> list[tuple[str, str, bool]]:
    """What the site was asked: method, path, and whether a token came along."""
    return []


@pytest.fixture
def site(
    openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any, tmp_path: Path, calls: Any
) -> Callable[..., str]:
    """Serve a site with one page; the chat's script and frame are on another site."""

    def start(body: str, kit: ChatKit | None = None, **config: Any) -> str:
        script = openai_standin.script_url.replace("127.0.0.1", "localhost")
        settings = {
            "CHATKIT_WORKFLOW_ID": None,
            "CHATKIT_SCRIPT_URL": script,
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
            "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "files"),
        }
        app = make_app(kit or parrot(), **settings, **config)
        app.add_url_rule("/", "home", lambda: render_template_string(HEAD + body))
        app.add_url_rule(
            "/page.js",
            "script",
            lambda: app.response_class(
                "FlaskChatKit.get().tool('colour', async () => ({colour: 'green'}))",
                mimetype="text/javascript",
            ),
        )

        @app.before_request
        def note() -> None:
            token = request.headers.get("X-ChatKit-Token", "")
            calls.append((request.method, request.path, token.startswith("ck_")))

        @app.after_request
        def secure(response: Any) -> Any:
            cdn = script.partition("/deployments")[0]
            if request.path == "/":
                response.headers["Content-Security-Policy"] = STRICT.format(cdn=cdn)
            return response

        return str(serve(app))

    return start


def standin(page: Page) -> FrameLocator:
    return page.frame_locator("openai-chatkit iframe")


def builtin(page: Page) -> Locator:
    return page.locator("flask-chatkit-chat")


def say(page: Page, text: str) -> None:
    builtin(page).get_by_role("textbox").fill(text)
    page.keyboard.press("Enter")


def read(page: Page, text: str) -> None:
    builtin(page).get_by_role("log").get_by_text(text).last.wait_for()


def open_builtin(page: Page, base: str) -> None:
    """Open the page where OpenAI's script is blocked, and the chat in it."""
    page.route(re.compile("/deployments/"), lambda route: route.abort())
    page.goto(base)
    # The panel may have been open on the page before, and open by itself.
    page.evaluate("FlaskChatKit.get().open()")
    page.wait_for_selector("[data-state=ready]", state="attached")
    builtin(page).get_by_role("textbox").wait_for()


def test_element_talks_to_the_site(page: Page, site: Any, console: Any, calls: Any) -> None:
    """OpenAI's element sends its calls to the site, each with the token of one mint."""
    page.goto(site("{{ chatkit_floating(greeting='Ahoy') }}"))
    page.locator(".chatkit-launcher").click()
    frame = standin(page)
    frame.get_by_text("Ahoy").wait_for()
    for text in ("hello", "again"):
        frame.locator("#input").fill(text)
        frame.locator("#send").click()
        frame.get_by_text(f"You wrote “{text}” to us").wait_for()
    page.wait_for_selector("[data-state=ready]", state="attached")
    assert [path for _, path, _ in calls].count("/chatkit/secret") == 1
    asked = [has_token for _, path, has_token in calls if path == "/chatkit/api"]
    assert len(asked) >= 3
    assert all(asked)
    assert not any("builtin" in path for _, path, _ in calls)
    assert console.all == []
    assert "ck_" not in page.content()


def test_ended_token_is_made_anew_once(page: Page, site: Any, calls: Any) -> None:
    """A token that is not good any more costs one more mint, and no message."""
    page.goto(site("{{ chatkit_floating() }}"))
    page.locator(".chatkit-launcher").click()
    frame = standin(page)
    page.wait_for_selector("[data-state=ready]", state="attached")
    page.evaluate(
        """async () => {
          const key = Object.keys(sessionStorage).find((name) => name.startsWith("chatkit:http"));
          const { session } = JSON.parse(sessionStorage[key]);
          const options = { method: "POST", headers: { "Content-Type": "application/json" } };
          await fetch(`/chatkit/session/${session}/cancel`, { ...options, body: "{}" });
        }"""
    )
    calls.clear()
    frame.locator("#input").fill("hello")
    frame.locator("#send").click()
    frame.get_by_text("You wrote “hello” to us").wait_for()
    paths = [path for _, path, _ in calls]
    assert sum("refresh" in path or path.endswith("/secret") for path in paths) in {1, 2}
    assert paths.count("/chatkit/api") >= 2


def test_builtin_chat_goes_on_without_openai(
    page: Page, site: Any, console: Any, calls: Any
) -> None:
    """Where OpenAI's script does not come the visitor chats in the built-in element."""
    open_builtin(page, site("{{ chatkit_floating(greeting='Ahoy') }}"))
    builtin(page).get_by_text("Ahoy").wait_for()
    say(page, "hello")
    read(page, "You wrote “hello” to us")
    assert page.locator("[data-builtin]").count() == 1
    assert all(has_token for _, path, has_token in calls if path == "/chatkit/api")
    box = builtin(page).bounding_box()
    panel = page.locator("dialog").bounding_box()
    assert box["height"] > panel["height"] - 80
    assert console.violations == []
    assert page.evaluate("[typeof window.marked, typeof window.DOMPurify]") == ["undefined"] * 2


def test_page_with_an_amd_loader_is_left_alone(page: Page, site: Any, console: Any) -> None:
    """The built-in chat's libraries neither call a page's AMD loader nor bring global names."""
    page.add_init_script(
        "window.defined = [];"
        "window.define = Object.assign((...given) => defined.push(given), {amd: {}});"
    )
    names = "Object.getOwnPropertyNames(window)"
    page.route(re.compile("/deployments/"), lambda route: route.abort())
    page.goto(site("{{ chatkit_floating() }}"))
    before = page.evaluate(names)
    page.evaluate("FlaskChatKit.get().open()")
    builtin(page).get_by_role("textbox").wait_for()
    say(page, "**hello**")
    builtin(page).locator("article strong").get_by_text("hello").wait_for()
    assert page.evaluate("defined") == []
    assert set(page.evaluate(names)) - set(before) == set()
    assert (console.uncaught, console.violations) == ([], [])


@pytest.mark.parametrize("mode", ["hanging", "blocked frame"])
def test_silent_element_is_replaced(page: Page, site: Any, mode: str) -> None:
    """Where OpenAI's script hangs, or its frame is blocked, the built-in chat takes its place."""
    page.clock.install()
    if mode == "hanging":
        page.route(re.compile("/deployments/"), lambda _route: None)
    else:
        page.route(re.compile(r"frame\.html"), lambda route: route.abort())
    page.goto(site("{{ chatkit_floating() }}"))
    page.locator(".chatkit-launcher").click()
    page.wait_for_selector("[data-state=loading]", state="attached")
    page.wait_for_timeout(500)
    page.clock.run_for(9_000)
    builtin(page).get_by_role("textbox").wait_for()
    assert page.locator("openai-chatkit").count() == 0


def test_no_domain_key_means_the_builtin_chat(page: Page, site: Any, calls: Any) -> None:
    """On a host without a key of OpenAI's list nothing of OpenAI's is loaded at all."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    base = site("{{ chatkit_inline() }}", TRUSTED_HOSTS=None)
    page.route(re.compile("/$"), _without_key)
    page.goto(base)
    builtin(page).get_by_role("textbox").wait_for()
    assert not any("/deployments/" in url for url in asked)


def _without_key(route: Any) -> None:
    # The page as a host that is not this machine gets it.
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace('"domainKey":', '"noKey":'))


@pytest.mark.parametrize("lost", ["", "element.js", "view.js"])
def test_page_that_fails_altogether_says_so(page: Page, site: Any, lost: str) -> None:
    """Where not even the built-in chat comes, the visitor reads it and can try again."""
    pattern = re.compile(rf"/deployments/|/builtin/{lost}")
    page.route(pattern, lambda route: route.abort())
    page.goto(site("{{ chatkit_inline() }}"))
    page.wait_for_selector("[data-state=failed]")
    page.unroute(pattern)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("[data-state=ready]")


def test_history_without_calls_is_no_failure(page: Page, site: Any) -> None:
    """A chat without history asks nothing before the first message, and is not taken for dead."""
    kit = ChatKit()

    @kit.assistant(history=False)
    def answer(message: Any, _chat: Any) -> str:
        return f"You wrote “{message.text}”"

    page.clock.install()
    page.goto(site("{{ chatkit_floating() }}", kit))
    page.locator(".chatkit-launcher").click()
    page.wait_for_selector("[data-state=ready]", state="attached")
    page.clock.run_for(30_000)
    assert page.locator("openai-chatkit").count() == 1


def test_client_tool_of_the_page(page: Page, site: Any) -> None:
    """A function that the page declares is called in its place, in both elements."""
    body = "{{ chatkit_floating() }}<script src=/page.js defer></script>"
    base = site(body)
    page.goto(base)
    page.locator(".chatkit-launcher").click()
    frame = standin(page)
    frame.locator("#input").fill("colour?")
    frame.locator("#send").click()
    frame.get_by_text("The page says green.").wait_for()
    open_builtin(page, base)
    # The very same words within moments would be the same message.
    say(page, "colour? Once more.")
    read(page, "The page says green.")


def test_file_is_sent_along(page: Page, site: Any) -> None:
    """A file is uploaded with the token, sent with a message, and read by the site's code."""
    open_builtin(page, site("{{ chatkit_floating() }}"))
    file = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"twelve bytes"}
    with page.expect_response(re.compile("/chatkit/attachments")):
        builtin(page).locator("input[type=file]").set_input_files(file)
    builtin(page).get_by_text("Uploading").wait_for(state="detached")
    say(page, "see this")
    read(page, "note.txt has 12 bytes.")


def test_history_survives_a_reload(page: Page, site: Any) -> None:
    """The earlier conversation is found in the history after the page was loaded again."""
    base = site("{{ chatkit_floating() }}")
    open_builtin(page, base)
    say(page, "remember this")
    read(page, "You wrote “remember this” to us")
    open_builtin(page, base)
    # The conversation is there again; and in the history, after a new one has been begun.
    read(page, "You wrote “remember this” to us")
    page.get_by_role("button", name="New chat").click()
    builtin(page).get_by_text("remember this").first.wait_for(state="detached")
    page.get_by_role("button", name="Earlier chats").click()
    builtin(page).get_by_text("remember this").first.click()
    read(page, "You wrote “remember this” to us")


@pytest.fixture
def members(site: Any) -> str:
    """Serve a site whose visitors sign in by a form, as whom they like."""
    kit = parrot()
    kit.user_loader(lambda: session.get("user"))

    @kit.route("/in", methods=["POST"])
    def sign_in() -> Any:
        session["user"] = request.form["user"]
        return redirect("/")

    form = "<form method=post action=/chatkit/in><input name=user><button>Sign in</button></form>"
    return str(site("{{ chatkit_inline() }}" + form, kit))


def sign_in(page: Page, user: str) -> None:
    page.locator("input[name=user]").fill(user)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("[data-state=ready]", state="attached")


def test_login_by_a_form_keeps_the_thread(page: Page, members: str) -> None:
    """A visitor who signs in by a form goes on in the thread that was open; nobody else does."""
    page.goto(members)
    frame = standin(page)
    frame.locator("#input").fill("hello")
    frame.locator("#send").click()
    frame.get_by_text("You wrote “hello” to us").wait_for()
    thread = page.locator("[data-chatkit]").get_attribute("data-thread")
    assert thread
    sign_in(page, "ann")
    frame.get_by_text("You wrote “hello” to us").wait_for()
    frame.locator("#input").fill("again")
    frame.locator("#send").click()
    frame.get_by_text("You wrote “again” to you").wait_for()
    assert page.locator("[data-chatkit]").get_attribute("data-thread") == thread
    sign_in(page, "bob")
    frame.locator("#input").wait_for()
    assert page.locator("[data-chatkit]").get_attribute("data-thread") is None
    assert frame.get_by_text("You wrote").count() == 0


def test_login_by_a_form_keeps_the_thread_of_the_built_in_chat(page: Page, members: str) -> None:
    """The built-in chat, too, shows the open thread after the login."""
    page.route(re.compile("/deployments/"), lambda route: route.abort())
    page.goto(members)
    builtin(page).get_by_role("textbox").wait_for()
    say(page, "hello")
    read(page, "You wrote “hello” to us")
    sign_in(page, "ann")
    read(page, "You wrote “hello” to us")
    say(page, "again")
    read(page, "You wrote “again” to you")


def test_login_takes_nothing_along_that_a_sibling_host_has_put_there(
    page: Page, members: str
) -> None:
    """A cookie of somebody else's, put in front, brings none of their threads into the history."""
    mallory = visit(Browser(members))
    mallory.create("of mallory")
    tossed = {"name": "chatkit_visitor", "value": mallory.browser.cookies["chatkit_visitor"]}
    for path in ("/chatkit/secret", "/chatkit/api"):
        page.context.add_cookies([{**tossed, "domain": "127.0.0.1", "path": path}])  # type: ignore[typeddict-item]
    page.route(re.compile("/deployments/"), lambda route: route.abort())
    page.goto(members)
    sign_in(page, "ann")
    builtin(page).get_by_role("textbox").wait_for()
    say(page, "hello")
    read(page, "You wrote “hello” to you")
    listed = page.evaluate(
        """async () => {
          const answer = await fetch("/chatkit/api", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ type: "threads.list", params: { limit: 20, order: "desc" } }),
          });
          return (await answer.json()).data.length;
        }"""
    )
    assert listed == 1
    assert len(mallory.threads()) == 1
