"""What happens around a visitor, by what they had written or read: nothing is lost.

Each row is in the table of docs/reliability.md. All of them are checked in one way: see
``test_nothing_is_lost``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from flask import Flask

from flask_chatkit.testing import OpenAIStandIn
from tests.browser.test_sessions import (
    BLOCKED,
    FORMS,
    GROW_OLD,
    THREADS,
    TOKEN,
    other_tab,
    protected,
    sign_in,
    with_logins,
)
from tests.helpers import chromium
from tests.helpers.around import Around, BuiltIn, OpenAI, Teller, first, whole
from tests.helpers.faults import FaultProxy, faults
from tests.helpers.markdown import page as documentation
from tests.helpers.markdown import table
from tests.helpers.pages import Sites
from tests.helpers.processes import free_port
from tests.helpers.sites import MakeApp
from tests.helpers.telling_site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PAGE = '<main><h1>Shop</h1><a href="/other">Elsewhere</a>{{ chatkit_floating(retry=True) }}</main>'
DRAFT, QUESTION, SLOW = "half a sentence", "a long question", "slow question"
API = re.compile(r"/chatkit/api$")
BOTH, OURS, THEIRS = (BuiltIn, OpenAI), (BuiltIn,), (OpenAI,)


class Stage(Around):
    """The visitor of one row, and what the row does around them.

    :ivar network: what their connections go through.
    :ivar sent: what they send.
    """

    network: FaultProxy
    sent: str = QUESTION
    teller: Any

    def lose_network(self) -> None:
        """End all connections, and let none begin."""
        self.network.set("reset")
        self.page.context.set_offline(True)

    def find_network(self) -> None:
        """Let connections be made again."""
        self.network.set("pass")
        self.page.context.set_offline(False)

    def says_above(self, text: str) -> None:
        """Wait for what is said above the conversation."""
        self.page.locator(".chatkit-notice.chatkit-strip p").get_by_text(text).first.wait_for()

    def button_again(self) -> Any:
        """The button of a failure to try again."""
        return self.chat.root.locator(".notice").get_by_role("button", name="Try again")

    def problem(self, text: str) -> None:
        """Wait for what the chat says of a failure."""
        self.chat.root.get_by_text(text).first.wait_for()


# --- what they had written or read ----------------------------------------------------------------


def has_draft(stage: Stage) -> None:
    stage.write(DRAFT)


def has_sent(stage: Stage) -> None:
    stage.write(stage.sent)
    stage.press_send()


def has_part(stage: Stage) -> None:
    stage.write(SLOW)
    stage.press_send()
    stage.until(lambda: first(SLOW) in stage.chat.texts(), "no answer")
    stage.kept.append(first(SLOW))


def has_read(stage: Stage) -> None:
    """They have read an answer already."""


#: By the table's words. A message is sent after what happens; the others are there before.
HAD = {
    "a draft": has_draft,
    "a message just sent": has_sent,
    "part of an answer": has_part,
    "an answer": has_read,
}
SENT = "a message just sent"

# --- ways on --------------------------------------------------------------------------------------


def sends_draft(stage: Stage) -> None:
    """It is in the field, and can be sent."""
    stage.sends(DRAFT)
    stage.kept.append(whole(DRAFT))


def sends_again(stage: Stage) -> None:
    stage.until(lambda: stage.chat.field.input_value() == QUESTION, "it is not in the field")
    stage.sends(QUESTION)
    stage.kept.append(whole(QUESTION))


def is_answered(stage: Stage) -> None:
    stage.reads(whole(QUESTION))
    stage.kept.append(whole(QUESTION))


def goes_on(stage: Stage) -> None:
    stage.teller.go_on()
    stage.reads(whole(SLOW))
    stage.kept.append(whole(SLOW))


def until_whole(event: Callable[[Stage], object]) -> Callable[[Stage], object]:
    """OpenAI's element shows a page's answer on another page once it has ended."""

    def happen(stage: Stage) -> None:
        event(stage)
        stage.kept.remove(first(SLOW))

    return happen


def tries_again(stage: Stage) -> None:
    stage.button_again().click()
    if SLOW in stage.kept:
        stage.teller.go_on()
        stage.reads(whole(SLOW))
        stage.kept.append(whole(SLOW))
    else:
        is_answered(stage)


def writes_on(stage: Stage) -> None:
    stage.idle()


@dataclass(frozen=True)
class Row:
    """One row: what happens, what they had, and their way on; in which chats that can be."""

    happens: str
    had: str
    way: str
    event: Callable[[Stage], object]
    goes: Callable[[Stage], object]
    chats: tuple[type[BuiltIn], ...]
    site: dict[str, Any]

    @property
    def cells(self) -> list[str]:
        """The row of the documentation."""
        return [self.happens, self.had, self.way, " and ".join(one.name for one in self.chats)]


ROWS: list[Row] = []


def row(
    happens: str,
    had: str,
    way: str,
    goes: Callable[[Stage], object],
    chats: tuple[type[BuiltIn], ...] = BOTH,
    **site: Any,
) -> Callable[[Callable[[Stage], object]], Callable[[Stage], object]]:
    """Add a row, whose event is what is decorated; keywords are for `Stages`."""

    def add(event: Callable[[Stage], object]) -> Callable[[Stage], object]:
        ROWS.append(Row(happens, had, way, event, goes, chats, site))
        return event

    return add


# --- pages ----------------------------------------------------------------------------------------


@row("The page is reloaded", "a draft", "it is in the field; *Send*", sends_draft, OURS)
@row("The page is reloaded", "part of an answer", "the answer goes on", goes_on, OURS)
def reload(stage: Stage) -> None:
    stage.reload()


@row("A link leads to another page", "a draft", "it is in the field; *Send*", sends_draft, OURS)
@row("A link leads to another page", "part of an answer", "the answer goes on", goes_on, OURS)
def link(stage: Stage) -> None:
    stage.page.get_by_role("link", name="Elsewhere").click()
    stage.page.wait_for_url("**/other")
    stage.again()


@row(
    "Away, and back by the back button", "a draft", "it is in the field; *Send*", sends_draft, OURS
)
@row("Away, and back by the back button", "part of an answer", "the answer goes on", goes_on, OURS)
def back(stage: Stage) -> None:
    stage.page.goto(f"{stage.base}/plain")
    stage.page.go_back()
    stage.again()


WHOLE = "the answer is there when it has ended"
for happens, event in (
    ("The page is reloaded", reload),
    ("A link leads to another page", link),
    ("Away, and back by the back button", back),
):
    row(happens, "part of an answer", WHOLE, goes_on, THEIRS)(until_whole(event))


def back_from_cache(stage: Stage) -> None:
    stage.page.goto(f"{stage.base}/plain")
    stage.page.wait_for_timeout(500)
    stage.page.go_back(wait_until="commit")
    stage.page.wait_for_timeout(500)


CACHE = "Back to a page that the browser has kept"
row(CACHE, "a draft", "it is in the field; *Send*", sends_draft, OURS, cached=True)(back_from_cache)
row(CACHE, "part of an answer", "the answer goes on", goes_on, OURS, cached=True)(back_from_cache)


@row("The panel is closed and opened", "a draft", "it is in the field; *Send*", sends_draft)
@row("The panel is closed and opened", "part of an answer", "the answer goes on", goes_on)
def close(stage: Stage) -> None:
    stage.closes()


@row("Another chat is opened, and left", "a draft", "it is in the field; *Send*", sends_draft, OURS)
@row("Another chat is opened, and left", "part of an answer", "the answer goes on", goes_on, OURS)
def other_chat(stage: Stage) -> None:
    stage.goes_to_history()


# --- tabs -----------------------------------------------------------------------------------------


@row(
    "A second tab reads along, and this one ends",
    "part of an answer",
    "the answer goes on",
    goes_on,
    OURS,
)
def second_tab(stage: Stage) -> None:
    first_page = stage.page
    stage.page = stage.page.context.new_page()
    stage.chat = type(stage.chat)(stage.page)
    stage.open()
    stage.bar("Earlier chats").click()
    stage.opens_last()
    first_page.close()
    stage.find = lambda: None


@row("A second tab writes in the same chat", "a draft", "it is in the field; *Send*", sends_draft)
def writing_tab(stage: Stage) -> None:
    tab = Stage(stage.page.context.new_page(), type(stage.chat), stage.base, stage.teller)
    tab.kept.append(stage.kept[0])
    tab.open()
    tab.bar("Earlier chats").click()
    tab.opens_last()
    tab.say("from the second")
    tab.page.close()
    stage.page.bring_to_front()


def goes_new(stage: Stage) -> None:
    stage.until(lambda: stage.chat.field.input_value() == QUESTION, "it is not in the field")
    stage.bar("New chat").click()
    sends_again(stage)


@row("The chat is deleted in a second tab", SENT, "*New chat*, with the message", goes_new)
def deleted(stage: Stage) -> None:
    stage.page.evaluate(DELETE)
    stage.kept.clear()


DELETE = """async () => {
  const call = async (type, params) => (await fetch("/chatkit/api", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type, params }),
  })).json();
  const { data } = await call("threads.list", { limit: 20, order: "desc" });
  for (const { id } of data) await call("threads.delete", { thread_id: id });
}"""


# --- the network, the server ----------------------------------------------------------------------


@row("The network is lost, and back", "a draft", "it is in the field; *Send*", sends_draft)
def lost_between(stage: Stage) -> None:
    stage.lose_network()
    stage.page.wait_for_timeout(500)
    stage.find_network()


@row("The network is lost, and back", "part of an answer", "the answer goes on", goes_on, OURS)
def lost_meanwhile(stage: Stage) -> None:
    stage.lose_network()
    stage.page.wait_for_timeout(500)
    stage.find_network()


def back_online(stage: Stage) -> None:
    stage.find_network()
    sends_again(stage)


@row("The network is lost", SENT, "it is in the field; *Send*", back_online)
def lost_before(stage: Stage) -> None:
    stage.lose_network()


def mended(stage: Stage) -> None:
    stage.problem("Something went wrong")
    stage.page.unroute(API)
    sends_again(stage)


@row("The server fails before it has the message", SENT, "it is in the field; *Send*", mended)
def server_error(stage: Stage) -> None:
    stage.page.route(API, lambda route: route.fulfill(status=500, body="oops"))


@row("The model fails before it answers", SENT, "*Try again*", tries_again)
def model_fails(stage: Stage) -> None:
    stage.teller.fault = "first"


@row("The model fails in the middle", SENT, "*Try again*", tries_again)
def model_breaks(stage: Stage) -> None:
    stage.teller.fault = "middle"


def waits(stage: Stage) -> None:
    stage.problem("Please wait")
    if type(stage.chat) is BuiltIn:
        stage.chat.root.get_by_role("timer").wait_for(state="hidden")
    else:
        stage.page.wait_for_timeout(12_000)
    sends_again(stage)


@row(
    "A limit is reached",
    SENT,
    "it is in the field; *Send* when the time is up",
    waits,
    CHATKIT_MESSAGE_RATELIMIT="3 per 12 second",
)
def limited(stage: Stage) -> None:
    for text in ("one", "two"):
        stage.say(text)


def shortens(stage: Stage) -> None:
    stage.problem("too long")
    stage.keeps("when it was refused")
    stage.chat.field.fill(QUESTION)
    stage.kept.remove(LONG)
    stage.kept.append(QUESTION)
    sends_again(stage)


LONG = "a very long question, " * 5 + "you know"


@row("The message is too long", SENT, "it is in the field, to be shortened; *Send*", shortens)
def too_long(stage: Stage) -> None:
    stage.sent = LONG


@row(
    "The visitor stops the answer",
    "part of an answer",
    "what came stays; the next message",
    writes_on,
)
def stopped(stage: Stage) -> None:
    stage.button(stage.chat.stop).click()
    # OpenAI's element tells nobody of it: the page finds out, and nobody writes as fast as a test.
    stage.page.wait_for_timeout(1_000)


@row("*Send* is clicked twice", SENT, "it is sent once, and answered", is_answered)
def twice(stage: Stage) -> None:
    pass


@row(
    "The server's process is killed",
    "part of an answer",
    "*Try again*",
    tries_again,
    OURS,
    process=True,
)
def killed(stage: Stage) -> None:
    stage.teller.kill()
    stage.problem("The connection was lost")
    stage.teller.start()
    stage.button_again().click()
    stage.problem("This answer was interrupted")


@row(
    "The server's process is killed, the page reloaded",
    "part of an answer",
    "*Try again*",
    tries_again,
    OURS,
    process=True,
)
def killed_and_reloaded(stage: Stage) -> None:
    stage.teller.kill()
    stage.teller.start()
    stage.reload()
    # What only the process and the page had is gone with both.
    stage.kept.remove(first(SLOW))


@row("A new release replaces the page's", SENT, "it is answered", is_answered, old=True)
def released(stage: Stage) -> None:
    pass


# --- sessions -------------------------------------------------------------------------------------


@row("A login in a second tab", SENT, "it is answered, in the same chat", is_answered)
def login(stage: Stage) -> None:
    other_tab(stage.page, stage.base, "ann")


def starts_new(stage: Stage) -> None:
    stage.says_above("Your sign-in has changed")
    stage.notice("New chat").click()
    stage.kept[:] = [QUESTION]
    stage.keeps("in the new chat")
    sends_again(stage)
    # And the other conversation is there when they are.
    other_tab(stage.page, stage.base, "ann")
    assert stage.page.evaluate(THREADS) == 2


@row(
    "A logout in a second tab",
    SENT,
    "*New chat*, with the message; *Sign in* for the old one",
    starts_new,
    user="ann",
)
def logout(stage: Stage) -> None:
    other_tab(stage.page, stage.base, None)


def signs_in(stage: Stage) -> None:
    stage.says_above("Sign in to use this chat.")
    stage.notice("Sign in", "link").click()
    stage.page.wait_for_url(re.compile("/login"))
    sign_in(stage.page, "ann")
    stage.page.wait_for_url(f"{stage.base}/")
    stage.again()
    stage.keeps("after the login")
    sends_again(stage)


@row(
    "The login of a guarded chat ends",
    SENT,
    "*Sign in*, and back to the message",
    signs_in,
    user="ann",
    guarded=True,
)
def login_ended(stage: Stage) -> None:
    other_tab(stage.page, stage.base, None)


@row("The page's CSRF token runs out", SENT, "it is answered", is_answered, csrf=True)
def token_out(stage: Stage) -> None:
    stage.page.evaluate(GROW_OLD)


def reloads(stage: Stage) -> None:
    stage.says_above("This page has been open for a long time.")
    with stage.page.expect_navigation():
        stage.notice("Reload the page").click()
    stage.again()
    stage.keeps("on the new page")
    sends_again(stage)


@row(
    "The page's CSRF token runs out, and there is no new one",
    SENT,
    "*Reload the page*, with the message",
    reloads,
    csrf=True,
)
def token_gone(stage: Stage) -> None:
    stage.page.route(re.compile("/chatkit/$"), lambda route: route.fulfill(body="<p>Nothing"))
    stage.page.evaluate(GROW_OLD)


@row("The chat's own token runs out", SENT, "it is answered", is_answered)
def secret_out(stage: Stage) -> None:
    refused: list[Any] = []

    def refuse(route: Any) -> None:
        refused.append(route)
        if len(refused) > 1:
            route.continue_()
        else:
            body = json.dumps({"error": {"code": "unauthenticated"}, "message": "no"})
            route.fulfill(status=401, body=body, content_type="application/json")

    stage.page.route(API, refuse)


# --- browsers -------------------------------------------------------------------------------------


def from_history(stage: Stage) -> None:
    stage.bar("Earlier chats").click()
    stage.opens_last()


@row(
    "The browser blocks storage, and the page is reloaded",
    "an answer",
    "it is in the history",
    writes_on,
    OURS,
    script=BLOCKED,
)
def no_storage(stage: Stage) -> None:
    stage.find = lambda: from_history(stage)
    stage.reload()


@row(
    "The browser takes itself to be offline",
    SENT,
    "it is answered",
    is_answered,
    script="Object.defineProperty(navigator, 'onLine', { get: () => false })",
)
def believes_offline(stage: Stage) -> None:
    pass


# --- OpenAI's part --------------------------------------------------------------------------------

SCRIPT = re.compile(r"/deployments/chatkit/chatkit\.js$")


def in_builtin(stage: Stage) -> None:
    stage.page.reload()
    stage.chat = BuiltIn(stage.page)
    stage.again()


@row(
    "OpenAI's script is not there (404)",
    "an answer",
    "it goes on in the built-in chat",
    writes_on,
    THEIRS,
)
def missing_script(stage: Stage) -> None:
    stage.page.route(SCRIPT, lambda route: route.fulfill(status=404))
    in_builtin(stage)


def with_builtin(stage: Stage) -> None:
    """From now on the visitor is in the built-in chat, on the same page."""
    stage.chat = BuiltIn(stage.page)
    stage.chat.field.wait_for()


@row("OpenAI's script hangs", "an answer", "it goes on in the built-in chat", writes_on, THEIRS)
def hanging_script(stage: Stage) -> None:
    stage.page.route(SCRIPT, lambda _: None)
    stage.page.reload()
    with_builtin(stage)


ELEMENT = "__chatkitStandin.elements.at(-1)"


@row(
    "OpenAI's element removes itself",
    "an answer",
    "it goes on in the built-in chat",
    writes_on,
    THEIRS,
)
def unmounted(stage: Stage) -> None:
    stage.page.evaluate(f"__chatkitStandin.unmount({ELEMENT})")
    with_builtin(stage)


@row(
    "OpenAI's element removes itself while it loads",
    "an answer",
    "it goes on in the built-in chat",
    writes_on,
    THEIRS,
)
def unmounted_early(stage: Stage) -> None:
    stage.page.add_init_script("window.__chatkitStandin = { refuses: true }")
    stage.page.reload()
    with_builtin(stage)


@row(
    "OpenAI's element removes itself",
    "part of an answer",
    "the answer goes on in the built-in chat",
    goes_on,
    THEIRS,
)
def unmounted_meanwhile(stage: Stage) -> None:
    unmounted(stage)


# --- the table ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def patience(context: BrowserContext) -> None:
    """Each row is a long way, on machines that do much else."""
    context.set_default_timeout(25_000)


@dataclass
class Stages:
    """Sets the stage for a row: a site behind a network, and a visitor who has read an answer."""

    browser: Browser
    page: Page
    sites: Sites
    folder: Path
    stack: ExitStack

    def __call__(
        self,
        kind: type[BuiltIn],
        *,
        cached: bool = False,
        guarded: bool = False,
        process: bool = False,
        script: str = "",
        user: str = "",
        **more: Any,
    ) -> Stage:
        """Start the site, and open its chat.

        :param cached: whether the browser keeps pages for the back button.
        :param guarded: whether the chat needs a login.
        :param process: whether the site is a process of its own.
        :param script: runs in each page before all else.
        :param user: who has signed in.
        :param more: of the site; see `serve`.
        """
        teller: Any = Teller(guarded=guarded)
        if process:
            teller = Site(self.folder, free_port())
            self.stack.callback(teller.kill)
        base = teller.base if process else self.serve(teller, **more)
        page = self.stack.enter_context(keeping(self.browser)).new_page() if cached else self.page
        page.add_init_script(script)
        network = self.stack.enter_context(faults("127.0.0.1", urlsplit(base).port or 0))
        stage = Stage(page, kind, f"http://127.0.0.1:{network.port}", teller)
        stage.network = network
        if user:
            other_tab(page, stage.base, user)
        stage.open()
        stage.say("hello")
        return stage

    def serve(self, teller: Teller, *, csrf: bool = False, old: bool = False, **config: Any) -> str:
        """Serve a site with logins in this process.

        :param csrf: whether it checks CSRF tokens.
        :param old: whether its pages are those of an older release.
        """

        def setup(app: Flask) -> None:
            with_logins(app)
            app.add_url_rule("/plain", "plain", lambda: "<title>Plain</title><p>No chat here.")
            if csrf:
                protected(app)
            if old:
                app.after_request(of_old_release)

        settings = {
            "CHATKIT_WORKFLOW_ID": None,
            "CHATKIT_DATABASE_URI": f"sqlite:///{self.folder}/history.sqlite3",
            "CHATKIT_RATELIMIT": "none",
            "CHATKIT_RATELIMIT_IP": "none",
            "CHATKIT_MESSAGE_RATELIMIT": "none",
            **config,
        }
        body = (TOKEN if csrf else "") + PAGE
        shown = {"/": body, "/other": body}
        return self.sites(shown, teller.kit, policy=FORMS, setup=setup, **settings)


@pytest.fixture
def stages(
    browser: Browser,
    page: Page,
    openai_standin: OpenAIStandIn,
    make_app: MakeApp,
    serve: Any,
    tmp_path: Path,
) -> Iterator[Stages]:
    """Set stages until the test ends."""
    # What a chat's first call imports takes longer than a visitor waits, on a busy machine.
    import_module("flask_chatkit.server.served_chats")
    import_module("flask_chatkit.server.wiring")
    with ExitStack() as stack:
        yield Stages(browser, page, Sites(openai_standin, make_app, serve), tmp_path, stack)


def keeping(browser: Browser) -> Any:
    """A browser that keeps pages for the back button."""
    return browser.browser_type.launch(
        executable_path=chromium.program(),
        args=chromium.FLAGS,
        ignore_default_args=["--disable-back-forward-cache"],
    )


def of_old_release(response: Any) -> Any:
    """Make a page one that an older release has written: its files had other hashes."""
    if response.mimetype == "text/html":
        text = re.sub(
            r"(/static/(?:[\w-]+\.)?)[0-9a-f]{12}",
            r"\g<1>0123456789ab",
            response.get_data(as_text=True),
        )
        response.set_data(text)
    return response


def cases() -> Iterator[Any]:
    for one in ROWS:
        for kind in one.chats:
            yield pytest.param(one, kind, id=f"{one.happens}, {one.had}: {kind.name}")


@pytest.mark.parametrize(("row", "kind"), list(cases()))
def test_nothing_is_lost(stages: Stages, row: Row, kind: type[BuiltIn]) -> None:
    """All that they wrote and read is there, the way on leads on, and no control is dead."""
    visitor = stages(kind, **row.site)
    had = HAD[row.had]
    if row.had == SENT:
        row.event(visitor)
        had(visitor)
    else:
        had(visitor)
        row.event(visitor)
    visitor.keeps("after what happened")
    row.goes(visitor)
    visitor.keeps("on the way on")
    visitor.alive()
    visitor.reload()
    visitor.keeps("after a reload")


def test_table_is_the_documentations() -> None:
    """The table of the documentation has these rows, in this order."""
    assert table("what happens", documentation("reliability")) == [one.cells for one in ROWS]
