"""Sessions and logins that change around a chat: it goes on, or says how to; nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, redirect, render_template_string, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_wtf.csrf import CSRFProtect, generate_csrf
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.pages import HEAD, STRICT, Sites, chat, launcher, ready, state
from tests.helpers.proxy import Habits, proxy
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

FORMS = STRICT.replace("form-action 'none'", "form-action 'self'")
TOKEN = "<meta name=csrf-token content='{{ csrf_token() }}'>"
INLINE = "{{ chatkit_inline() }}"
SIGN_IN = "Sign in to use this chat."
CHANGED = "Your sign-in has changed, and this chat belongs to the one before."
STALE = "This page has been open for a long time."
OFFLINE = "The chat can't be reached. Please check your connection."
LOGIN = HEAD + (
    "</head><body><h1>Sign in</h1><form method=post>"
    "<input type=hidden name=csrf_token value='{{ csrf_token() if csrf_token }}'>"
    "<input name=user aria-label=User><button>Go</button></form></body></html>"
)
#: Storage that a browser blocks.
BLOCKED = """
for (const name of ["localStorage", "sessionStorage"]) {
  Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
}
"""


def parrot(*, guarded: bool = False) -> ChatKit:
    """A kit that repeats what it is told, for visitors who may sign in; or have to."""
    kit = ChatKit()

    @kit.assistant()
    def answer(message: Any, chat: Any) -> str:
        return f"You wrote “{message.text}” to {'us' if chat.visitor.is_anonymous else 'you'}"

    @kit.user_loader
    def who() -> str | None:
        return current_user.get_id() if current_user.is_authenticated else None

    if guarded:
        kit.before_request(login_required(lambda: None))
    return kit


def with_logins(app: Flask) -> None:
    """Give a site logins by a form, as whom one likes; they lead back where one came from."""
    manager = LoginManager(app)
    manager.login_view = "login"

    class User(UserMixin):
        def __init__(self, name: str) -> None:
            self.id = name

    manager.user_loader(User)

    @app.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if request.method == "GET":
            return render_template_string(LOGIN)
        login_user(User(request.form["user"]))
        target = request.args.get("next", "/")
        # As logins do that take care where they lead.
        return redirect(target if target.startswith("/") else url_for("login"))

    @app.post("/logout")
    def logout() -> Any:
        session.clear()
        return redirect("/")


class Past(TimestampSigner):
    """Signs as of two hours ago."""

    def get_timestamp(self) -> int:
        """Return the time that is signed."""
        return super().get_timestamp() - 7200


def protected(app: Flask) -> CSRFProtect:
    """Have a site check CSRF tokens; `/old` is what a page has after two hours."""

    @app.get("/old")
    def old() -> Any:
        generate_csrf()
        by = URLSafeTimedSerializer(app.secret_key or "", salt="wtf-csrf-token", signer=Past)
        return by.dumps(session["csrf_token"])

    return CSRFProtect(app)


#: Two hours pass.
GROW_OLD = """async () => {
  const token = await (await fetch("/old")).text();
  for (const node of document.querySelectorAll("[name=csrf-token]")) node.content = token;
}"""


class BuiltIn:
    """The built-in chat, where OpenAI's script does not come."""

    name = "builtin"

    def __init__(self, page: Page) -> None:
        self.page = page
        page.route(re.compile("/deployments/"), lambda route: route.abort())

    @property
    def field(self) -> Locator:
        """Where a visitor writes."""
        return self.page.locator("flask-chatkit-chat").get_by_role("textbox")

    def send(self, text: str) -> None:
        """Write a message, and send it."""
        self.field.fill(text)
        self.field.press("Enter")

    def submit(self) -> None:
        """Send what is in the field."""
        self.field.press("Enter")

    def text(self, text: str) -> Locator:
        """What stands in the conversation."""
        return self.page.locator("flask-chatkit-chat").get_by_role("log").get_by_text(text)


class OpenAI(BuiltIn):
    """The stand-in of OpenAI's element, whose frame nobody can look into but the test."""

    name = "openai"

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def field(self) -> Locator:
        """Where a visitor writes."""
        return chat(self.page).locator("#input")

    def send(self, text: str) -> None:
        """Write a message, and send it."""
        self.field.fill(text)
        self.submit()

    def submit(self) -> None:
        """Send what is in the field."""
        chat(self.page).locator("#send").click()

    def text(self, text: str) -> Locator:
        """What stands in the conversation."""
        return chat(self.page).get_by_text(text)


@pytest.fixture(params=[BuiltIn, OpenAI], ids=["builtin", "openai"])
def element(request: pytest.FixtureRequest, page: Page) -> BuiltIn:
    """The element that the visitor chats in: one after the other."""
    made: BuiltIn = request.param(page)
    return made


@pytest.fixture(autouse=True)
def patience(context: BrowserContext) -> None:
    """Each row is a long way, on machines that do much else."""
    context.set_default_timeout(25_000)


@pytest.fixture
def sites(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


@pytest.fixture
def site(sites: Sites, tmp_path: Path) -> Callable[..., str]:
    """Serve a site whose chat is its own, with logins."""

    def start(
        body: str = INLINE,
        kit: ChatKit | None = None,
        setup: Callable[[Flask], object] = lambda _: None,
        **more: Any,
    ) -> str:
        def prepare(app: Flask) -> None:
            with_logins(app)
            setup(app)

        config = {
            "CHATKIT_WORKFLOW_ID": None,
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
            "CHATKIT_RATELIMIT": "none",
            "CHATKIT_RATELIMIT_IP": "none",
        }
        pages = {"/": body, "/orders": body}
        kit = kit or parrot()
        # What a chat's first call imports takes longer than a visitor waits, on a busy machine.
        import_module("flask_chatkit.server.served_chats")
        import_module("flask_chatkit.server.wiring")
        return sites(pages, kit, policy=FORMS, setup=prepare, **{**config, **more})

    return start


def opened(page: Page, element: BuiltIn, address: str) -> None:
    """Go to a page, and wait for its chat."""
    page.goto(address)
    ready(page)
    element.field.wait_for()


def thread_of(page: Page) -> str | None:
    return page.locator("[data-chatkit]").get_attribute("data-thread")


def sign_in(page: Page, user: str) -> None:
    """Fill in the login's form."""
    page.get_by_label("User").fill(user)
    page.get_by_role("button", name="Go").click()


def other_tab(page: Page, base: str, user: str | None) -> None:
    """Sign in, or out, in another tab."""
    tab = page.context.new_page()
    tab.goto(f"{base}/login")
    if user is None:
        tab.evaluate("fetch('/logout', {method: 'POST'})")
    else:
        sign_in(tab, user)
        tab.wait_for_url(f"{base}/")
    tab.close()
    page.bring_to_front()


def strip(page: Page) -> Locator:
    """What is said above the conversation."""
    return page.locator(".chatkit-notice.chatkit-strip")


# --- CSRF tokens ----------------------------------------------------------------------------------


def pages_asked(sites: Sites) -> int:
    return sites.asked.count("/chatkit/")


@pytest.mark.parametrize("head", [TOKEN, ""], ids=["token", "no token"])
def test_token_that_ran_out_is_renewed(
    page: Page, site: Any, sites: Sites, element: BuiltIn, head: str
) -> None:
    """Where a page's CSRF token has run out, or there was none, the chat goes on with a new one."""
    opened(page, element, site(head + INLINE, setup=protected))
    element.send("hello")
    element.text("You wrote “hello” to us").wait_for()
    # The session that the tokens belong to ends, too, where there was none in the page.
    page.evaluate(GROW_OLD) if head else page.context.clear_cookies(name="session")
    before = pages_asked(sites)
    element.send("still here")
    element.text("You wrote “still here” to us").wait_for()
    assert pages_asked(sites) > before
    assert not strip(page).is_visible()
    assert element.text("You wrote “hello” to us").count() == 1


def test_exempt_kit_needs_no_token(page: Page, site: Any, sites: Sites, element: BuiltIn) -> None:
    """With the documented line no token is asked for, whatever has become of the page's."""
    kit = parrot()
    base = site(TOKEN + INLINE, kit, setup=lambda app: protected(app).exempt(kit))
    opened(page, element, base)
    page.evaluate(GROW_OLD)
    element.send("hello")
    element.text("You wrote “hello” to us").wait_for()
    assert pages_asked(sites) == 0


def test_token_that_cannot_be_renewed(page: Page, site: Any, element: BuiltIn) -> None:
    """Where no new token is to be had the visitor reads what to do, and the message is kept."""
    opened(page, element, site(TOKEN + INLINE, setup=protected))
    element.send("hello")
    element.text("You wrote “hello” to us").wait_for()
    thread = thread_of(page)
    page.route(re.compile("/chatkit/$"), lambda route: route.fulfill(body="<p>Nothing"))
    page.evaluate(GROW_OLD)
    element.send("a long question")
    strip(page).get_by_text(STALE).wait_for()
    with page.expect_navigation():
        strip(page).get_by_role("button", name="Reload the page").click()
    ready(page)
    page.wait_for_function("() => document.querySelector('[data-thread]')")
    assert thread_of(page) == thread
    element.text("You wrote “hello” to us").wait_for()
    filled(page, element, "a long question")
    element.submit()
    element.text("You wrote “a long question” to us").wait_for()
    page.reload()
    ready(page)
    element.text("You wrote “a long question” to us").wait_for()
    page.wait_for_timeout(1_000)
    assert element.field.input_value() == ""


def filled(page: Page, element: BuiltIn, text: str) -> None:
    """Wait until a text is in the field."""
    for _ in range(100):
        if element.field.input_value() == text:
            return
        page.wait_for_timeout(100)
    assert element.field.input_value() == text


def test_check_that_refuses_from_the_start_is_explained(page: Page, site: Any) -> None:
    """A developer reads in the chat's place which line is missing; a visitor can reload."""
    page.route(re.compile("/chatkit/$"), lambda route: route.fulfill(body="<p>Nothing"))
    page.goto(site(INLINE, setup=protected, debug=True))
    state(page, "failed")
    page.get_by_text(STALE).wait_for()
    assert "csrf.exempt(chatkit)" in page.locator(".chatkit-cause").inner_text()
    assert page.get_by_role("button", name="Reload the page").is_visible()
    assert page.get_by_role("button", name="Try again").is_visible()


# --- logins ---------------------------------------------------------------------------------------


def test_login_in_another_tab(page: Page, site: Any, element: BuiltIn) -> None:
    """Who signs in in another tab goes on in the conversation that is open in this one."""
    base = site()
    opened(page, element, base)
    element.send("hello")
    element.text("You wrote “hello” to us").wait_for()
    thread = thread_of(page)
    other_tab(page, base, "ann")
    element.send("again")
    element.text("You wrote “again” to you").wait_for()
    assert thread_of(page) == thread
    assert not strip(page).is_visible()
    page.reload()
    ready(page)
    element.text("You wrote “again” to you").wait_for()
    assert element.text("You wrote “hello” to us").count() == 1


def test_logout_in_another_tab(page: Page, site: Any, element: BuiltIn) -> None:
    """After a logout the conversation is not theirs: the message goes along into a new one."""
    base = site()
    other_tab(page, base, "ann")
    opened(page, element, base)
    element.send("hello")
    element.text("You wrote “hello” to you").wait_for()
    other_tab(page, base, None)
    element.send("am I here?")
    strip(page).get_by_text(CHANGED).wait_for()
    strip(page).get_by_role("button", name="New chat").click()
    filled(page, element, "am I here?")
    assert not strip(page).is_visible()
    element.text("You wrote “hello” to you").wait_for(state="detached")
    element.submit()
    element.text("You wrote “am I here?” to us").wait_for()
    # And the conversation is there when they are.
    other_tab(page, base, "ann")
    page.reload()
    ready(page)
    assert page.evaluate(THREADS) == 2


#: How many conversations whoever is signed in finds.
THREADS = """async () => {
  const answer = await fetch("/chatkit/api", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type: "threads.list", params: { limit: 20, order: "desc" } }),
  });
  return (await answer.json()).data.length;
}"""


def test_another_user_does_not_go_on_in_a_conversation(
    page: Page, site: Any, element: BuiltIn
) -> None:
    """Who signs in as somebody else reads that the open conversation is not theirs."""
    base = site()
    other_tab(page, base, "ann")
    opened(page, element, base)
    element.send("of ann")
    element.text("You wrote “of ann” to you").wait_for()
    other_tab(page, base, "bob")
    element.send("of bob")
    strip(page).get_by_text(CHANGED).wait_for()
    assert page.evaluate(THREADS) == 0


def test_login_first_is_offered_and_leads_back(page: Page, site: Any, element: BuiltIn) -> None:
    """A guarded chat offers the site's login, which leads back to the visitor's page."""
    base = site(kit=parrot(guarded=True))
    page.goto(f"{base}/orders?page=2#list")
    if element.name == "openai":
        state(page, "failed")
    else:
        # It asks for nothing before the first message, which is kept.
        ready(page)
        element.send("hello")
    page.locator(".chatkit-notice").get_by_text(SIGN_IN).wait_for()
    page.get_by_role("link", name="Sign in").click()
    page.wait_for_url(re.compile("/login"))
    sign_in(page, "ann")
    page.wait_for_url(f"{base}/orders?page=2#list")
    ready(page)
    if element.name == "openai":
        element.field.fill("hello")
    filled(page, element, "hello")
    element.submit()
    element.text("You wrote “hello” to you").wait_for()


def test_session_that_ended_in_a_guarded_chat(page: Page, site: Any, element: BuiltIn) -> None:
    """A login that has ended in mid-conversation costs neither the conversation nor the message."""
    base = site(kit=parrot(guarded=True))
    other_tab(page, base, "ann")
    opened(page, element, f"{base}/orders")
    element.send("hello")
    element.text("You wrote “hello” to you").wait_for()
    thread = thread_of(page)
    other_tab(page, base, None)
    element.send("a long question")
    strip(page).get_by_text(SIGN_IN).wait_for()
    strip(page).get_by_role("link", name="Sign in").click()
    page.wait_for_url(re.compile("/login"))
    sign_in(page, "ann")
    page.wait_for_url(f"{base}/orders")
    ready(page)
    element.text("You wrote “hello” to you").wait_for()
    assert thread_of(page) == thread
    filled(page, element, "a long question")
    element.submit()
    element.text("You wrote “a long question” to you").wait_for()


def test_signing_in_elsewhere_wakes_a_guarded_chat(page: Page, site: Any) -> None:
    """A tab that asks for a login has the chat when the visitor comes back to it, signed in."""
    element = OpenAI(page)
    base = site(kit=parrot(guarded=True))
    page.goto(base)
    state(page, "failed")
    other_tab(page, base, "ann")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    ready(page)
    element.send("hello")
    element.text("You wrote “hello” to you").wait_for()


def test_login_that_leads_back_to_a_call(page: Page, site: Any) -> None:
    """A login that keeps for itself what it stood before leads to the chat's own page."""
    BuiltIn(page)
    base = site(kit=parrot(guarded=True), USE_SESSION_FOR_NEXT=True)
    other_tab(page, base, "ann")
    page.goto(f"{base}/chatkit/secret")
    assert page.url == f"{base}/chatkit/"
    ready(page)


# --- tabs, storage, proxies -----------------------------------------------------------------------


def test_two_tabs_in_one_conversation(page: Page, site: Any, element: BuiltIn) -> None:
    """Two tabs write in one conversation, and each finds all of it when it is loaded again."""
    base = site()
    opened(page, element, base)
    element.send("from the first")
    element.text("You wrote “from the first” to us").wait_for()
    thread = thread_of(page)
    tab = page.context.new_page()
    second = type(element)(tab)
    opened(tab, second, base)
    tab.evaluate("(thread) => FlaskChatKit.get().thread(thread)", thread)
    second.text("You wrote “from the first” to us").wait_for()
    second.send("from the second")
    second.text("You wrote “from the second” to us").wait_for()
    element.send("first again")
    element.text("You wrote “first again” to us").wait_for()
    for one, chatting in ((page, element), (tab, second)):
        one.reload()
        ready(one)
        for text in ("from the first", "from the second", "first again"):
            chatting.text(f"You wrote “{text}” to us").wait_for()
    tab.close()


def test_blocked_storage(page: Page, site: Any, console: Any) -> None:
    """Without storage the chat works, and the conversation is in the history of the next page."""
    page.add_init_script(BLOCKED)
    element = BuiltIn(page)
    base = site()
    opened(page, element, base)
    element.send("remember this")
    element.text("You wrote “remember this” to us").wait_for()
    opened(page, element, base)
    chatting = page.locator("flask-chatkit-chat")
    chatting.get_by_role("button", name="Chats").click()
    chatting.get_by_role("button", name=re.compile("^remember this")).first.click()
    element.text("You wrote “remember this” to us").wait_for()
    element.send("and this")
    element.text("You wrote “and this” to us").wait_for()
    assert console.uncaught == []


@pytest.fixture
def staging(browser: Browser) -> Iterator[BrowserContext]:
    """A browser whose visitor knows the password of a proxy."""
    context = browser.new_context(
        locale="en-GB", http_credentials={"username": "dev", "password": "secret"}
    )
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.mark.parametrize("kind", [BuiltIn, OpenAI], ids=["builtin", "openai"])
def test_http_basic_in_front(staging: BrowserContext, site: Any, kind: Any) -> None:
    """Behind a proxy with HTTP Basic a served chat works, in the visitor's language."""
    page = staging.new_page()
    sent: list[dict[str, str]] = []
    page.on(
        "request",
        lambda one: sent.append(one.all_headers()) if one.url.endswith("/chatkit/api") else None,
    )
    element = kind(page)
    with proxy(site("{{ chatkit_inline(locale='de') }}"), Habits(basic=True)) as front:
        opened(page, element, front)
        element.send("hello")
        element.text("You wrote “hello” to us").wait_for()
        page.reload()
        ready(page)
        element.text("You wrote “hello” to us").wait_for()
        if kind is BuiltIn:
            placeholder = element.field.get_attribute("placeholder")
            assert placeholder not in {None, "Message the assistant"}
    assert sent
    for headers in sent:
        assert headers["x-chatkit-token"].startswith("ck_")
        assert not headers.get("authorization", "").startswith("Bearer")


def test_machine_without_a_network_chats_with_itself(page: Page, site: Any) -> None:
    """Where the browser takes itself to be offline, the site is asked, and its chat works."""
    page.add_init_script("Object.defineProperty(navigator, 'onLine', { get: () => false })")
    element = BuiltIn(page)
    opened(page, element, site())
    element.send("hello")
    element.text("You wrote “hello” to us").wait_for()


def test_offline_is_told_where_the_site_does_not_answer(page: Page, site: Any) -> None:
    """Where the site does not answer either, the visitor reads that, and can try again."""
    page.add_init_script("Object.defineProperty(navigator, 'onLine', { get: () => false })")
    element = BuiltIn(page)
    base = site("{{ chatkit_floating() }}")
    page.goto(base)
    launcher(page).hover()
    page.wait_for_function("() => window.FlaskChatKit.act")
    page.route(re.compile("/chatkit/config"), lambda route: route.abort())
    launcher(page).click()
    page.get_by_text(OFFLINE).wait_for()
    page.unroute(re.compile("/chatkit/config"))
    page.get_by_role("button", name="Try again").click()
    ready(page)
    element.field.wait_for()


# --- words ----------------------------------------------------------------------------------------

REFUSALS: dict[str, dict[str, Any]] = {
    "page of a proxy": {"status": 401, "body": "<h1>No", "content_type": "text/html"},
    "server error": {"status": 500, "body": "oops"},
    "no JSON": {"status": 200, "body": "fine"},
    "nothing in it": {"status": 200, "body": "{}", "content_type": "application/json"},
    "limit": {"status": 403, "body": "{}", "content_type": "application/json"},
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_words_in_place_of_a_reason(page: Page, site: Any, element: BuiltIn, refusal: str) -> None:
    """Whatever is answered to a new session in mid-conversation, a visitor reads a sentence."""
    opened(page, element, site())
    element.send("hello")
    element.text("You wrote “hello” to us").wait_for()
    answer = REFUSALS[refusal]
    page.route(re.compile(r"/secret$|/refresh$"), lambda route: route.fulfill(**answer))
    page.route(re.compile("/chatkit/api"), lambda route: route.fulfill(status=401, body="{}"))
    element.send("a long question")
    if element.name == "openai":
        strip(page).locator("p").first.wait_for()
        said = strip(page).inner_text()
    else:
        page.locator("flask-chatkit-chat").get_by_role("alert").wait_for()
        said = page.locator("flask-chatkit-chat").get_by_role("alert").inner_text()
    first = said.strip().partition("\n")[0]
    assert re.fullmatch(r"[A-Z][^.]+ [^.]+\.( [A-Z].*\.)?", first), said
    page.unroute(re.compile(r"/secret$|/refresh$"))
    page.unroute(re.compile("/chatkit/api"))
    element.send("a long question, once more")
    element.text("You wrote “a long question, once more” to us").wait_for()
    assert not strip(page).is_visible()
