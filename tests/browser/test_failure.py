"""When something fails: what a visitor sees and can do, and what a developer is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flask_chatkit import ChatKit
from flask_chatkit.doctor.report import CHECKS
from flask_chatkit.testing import Failure, OpenAIStandIn
from tests.helpers.pages import STRICT, Sites, chat, launcher, ready, state
from tests.helpers.paths import STATIC
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SCRIPT = re.compile(r"/deployments/chatkit/chatkit\.js$")
FRAME = re.compile(r"/frame\.html")
CONTACT = "contact={'href': 'mailto:us@shop.test', 'label': 'Write to us'}"
SECRET = re.compile(r"ek_\w|ck_\w|sk-\w|of the tests|wf_standin|cksess_")
FAILED = "The chat could not be loaded."
SILENT = "The chat did not answer."
OFFLINE = "The chat can't be reached. Please check your connection."


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


@pytest.fixture
def served(site: Sites, tmp_path: Path) -> Callable[..., str]:
    """Serve pages whose chat is the site's own."""

    def start(pages: dict[str, str], **more: Any) -> str:
        kit = ChatKit()

        @kit.assistant()
        def answer(message: Any, _chat: Any) -> str:
            return f"You wrote “{message.text}”"

        config = {
            "CHATKIT_WORKFLOW_ID": None,
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
        }
        return site(pages, kit, **config, **more)

    return start


def builtin(page: Page) -> Locator:
    return page.locator("flask-chatkit-chat")


def cause(page: Page) -> str:
    """What a developer is told in the chat's place."""
    page.locator(".chatkit-cause").wait_for()
    return " ".join(page.locator(".chatkit-cause").inner_text().split())


class Broken:
    """A way in which OpenAI's part does not come, which can be mended."""

    def __init__(self, page: Page, mode: str) -> None:
        self.page, self.mode = page, mode
        self.held: list[Any] = []
        self.pattern = FRAME if mode == "frame" else SCRIPT
        page.clock.install()
        page.route(self.pattern, self.answer)

    def answer(self, route: Any) -> None:
        """Keep it waiting."""
        self.held.append(route)

    def wait(self) -> None:
        """Let it fail, or the time pass for which the widget is patient."""
        self.page.locator(".chatkit-skeleton").wait_for()
        for _ in range(200):
            if self.held:
                break
            self.page.wait_for_timeout(50)
        for route in self.held:
            if self.mode == "404":
                route.fulfill(status=404)
            elif self.mode == "empty":
                route.fulfill(body="", content_type="text/javascript")
            elif self.mode in {"aborted", "frame"}:
                route.abort()
        if self.mode not in {"404", "aborted"}:
            self.page.wait_for_timeout(100)
            self.page.clock.run_for(16_000)

    def mend(self) -> None:
        """Let it come from now on."""
        for route in self.held if self.mode == "late" else []:
            route.continue_()
        self.page.unroute(self.pattern)


MODES = {"aborted": FAILED, "404": FAILED, "hanging": FAILED, "frame": SILENT}


@pytest.mark.parametrize("mode", MODES)
def test_visitor_is_told_and_has_ways_out(page: Page, site: Sites, mode: str) -> None:
    """A skeleton first; then what is the matter, a second try, the full page and the contact."""
    broken = Broken(page, mode)
    base = site({"/": "{{ chatkit_floating(" + CONTACT + ") }}"})
    page.goto(base)
    launcher(page).click()
    page.locator(".chatkit-skeleton").wait_for()
    assert page.get_by_role("status").filter(has_text="The chat is loading").is_visible()
    broken.wait()
    state(page, "failed")
    said = page.locator("dialog [role=status]")
    assert said.locator("p").first.inner_text() == MODES[mode]
    assert page.locator(".chatkit-skeleton").count() == 0
    assert page.locator(".chatkit-cause").count() == 0
    links = page.locator(".chatkit-notice a")
    assert {link.inner_text(): link.get_attribute("href") for link in links.all()} == {
        "Open the chat on its own page": f"{base}/chatkit/",
        "Write to us": "mailto:us@shop.test",
    }
    for part in (*links.all(), page.get_by_role("button", name="Try again")):
        assert part.bounding_box()["height"] >= 24
    broken.mend()
    page.get_by_role("button", name="Try again").click()
    ready(page)
    chat(page).locator("#input").wait_for()
    assert page.locator("openai-chatkit").count() == 1
    assert not said.first.is_visible()


@pytest.mark.parametrize("mode", ["aborted", "404", "empty", "hanging", "frame"])
def test_served_chat_goes_on(page: Page, served: Any, mode: str) -> None:
    """A chat that the site serves itself needs nothing of OpenAI's: the visitor can write."""
    broken = Broken(page, mode)
    page.goto(served({"/": "{{ chatkit_floating() }}"}))
    launcher(page).click()
    broken.wait()
    field = builtin(page).get_by_role("textbox")
    field.fill("hello")
    page.keyboard.press("Enter")
    builtin(page).get_by_role("log").get_by_text("You wrote “hello”").wait_for()
    assert page.locator("openai-chatkit").count() == 0


def test_late_script_does_not_replace_the_chat_in_use(page: Page, served: Any) -> None:
    """What is written in the chat of our own stays when OpenAI's script comes after all."""
    broken = Broken(page, "late")
    page.goto(served({"/": "{{ chatkit_floating() }}"}))
    launcher(page).click()
    broken.wait()
    field = builtin(page).get_by_role("textbox")
    field.fill("half a sen")
    broken.mend()
    for _ in range(100):
        if page.evaluate("Boolean(customElements.get('openai-chatkit'))"):
            break
        page.wait_for_timeout(50)
    page.clock.run_for(20_000)
    assert page.locator("openai-chatkit").count() == 0
    assert builtin(page).count() == 1
    assert field.input_value() == "half a sen"
    assert page.locator("[data-builtin][data-state=ready]").count() == 1


def test_late_script_leaves_the_message_alone(page: Page, site: Sites) -> None:
    """Who reads that the chat failed is not interrupted; a second try takes what has come."""
    broken = Broken(page, "late")
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    launcher(page).click()
    broken.wait()
    state(page, "failed")
    broken.mend()
    page.wait_for_timeout(300)
    page.clock.run_for(20_000)
    assert page.locator("openai-chatkit").count() == 0
    assert page.get_by_text(FAILED).is_visible()
    page.get_by_role("button", name="Try again").click()
    ready(page)
    assert page.locator("openai-chatkit").count() == 1


@pytest.mark.parametrize("is_served", [False, True], ids=["hosted", "served"])
def test_it_tries_again_when_the_network_is_back(
    page: Page, site: Sites, served: Any, is_served: bool
) -> None:
    """Offline the visitor is told; when the network comes back the chat does too, by itself."""
    base = (served if is_served else site)({"/": "{{ chatkit_floating() }}"})
    page.goto(base)
    launcher(page).focus()
    page.wait_for_function("() => window.FlaskChatKit.act")
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    launcher(page).click()
    state(page, "failed")
    page.get_by_text(OFFLINE).wait_for()
    assert page.get_by_role("button", name="Try again").is_visible()
    page.context.set_offline(False)
    ready(page)
    assert page.locator("dialog").is_visible()


def test_closed_failure_tries_again_when_it_is_opened(page: Page, site: Sites) -> None:
    """Who comes back later finds the chat working, without having to ask."""
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(site({"/": "{{ chatkit_floating() }}"}))
    launcher(page).click()
    state(page, "failed")
    page.keyboard.press("Escape")
    page.unroute(SCRIPT)
    launcher(page).click()
    ready(page)


# --- what a developer is told ---------------------------------------------------------------------


def fails(page: Page) -> None:
    launcher(page).click()
    state(page, "failed")


@pytest.mark.parametrize("directive", ["script-src", "frame-src"])
def test_policy_that_blocks_the_chat_is_named(page: Page, site: Sites, directive: str) -> None:
    """In development the message says which directive of the page's policy is in the way."""
    page.clock.install()
    policy = re.sub(rf"({directive}[^;]*) {{cdn}}", r"\1 'none'", STRICT).replace(
        "'self' 'none'", "'self'"
    )
    page.goto(site({"/": "{{ chatkit_floating() }}"}, policy=policy, debug=True))
    launcher(page).click()
    if directive == "frame-src":
        page.locator("openai-chatkit").wait_for(state="attached")
        page.wait_for_timeout(300)
        page.clock.run_for(16_000)
    said = cause(page)
    assert said.startswith("The page's Content-Security-Policy blocks")
    assert f"see {directive}" in said
    assert site.cdn in said


def test_insecure_page_is_named(page: Page, site: Sites) -> None:
    """On a page that is not secure ChatKit stays blank, and the developer is told why."""
    page.clock.install()
    page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
    page.goto(site({"/": "{{ chatkit_floating() }}"}, debug=True))
    launcher(page).click()
    page.locator("openai-chatkit").wait_for(state="attached")
    page.clock.run_for(16_000)
    assert cause(page) == "ChatKit needs a secure context: https, or localhost."


def test_missing_script_and_silent_frame_are_named(page: Page, site: Sites) -> None:
    """The address that did not come, and the list that a site's host must be on."""
    page.clock.install()
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(site({"/": "{{ chatkit_floating() }}"}, debug=True))
    fails(page)
    assert cause(page) == f"{site.script} did not load: is it blocked, or offline?"
    page.unroute(SCRIPT)
    page.route(FRAME, lambda route: route.abort())
    page.get_by_role("button", name="Try again").click()
    page.locator("openai-chatkit").wait_for(state="attached")
    page.clock.run_for(16_000)
    page.get_by_text(SILENT).wait_for()
    assert "is 127.0.0.1 in OpenAI's domain allow-list" in cause(page)


def test_console_names_the_doctors_check(page: Page, site: Sites) -> None:
    """In development the console's line has the cause, and the doctor's check for it; not else."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.clock.install()
    page.route(FRAME, lambda route: route.abort())
    for debug in (True, False):
        said.clear()
        page.goto(site({"/": "{{ chatkit_floating() }}"}, debug=debug))
        launcher(page).click()
        page.locator("openai-chatkit").wait_for(state="attached")
        page.clock.run_for(16_000)
        page.get_by_text(SILENT).wait_for()
        (line,) = [one for one in said if "flask_chatkit: the chat default" in one]
        assert "is 127.0.0.1 in OpenAI's domain allow-list, in the organisation of the key?" in line
        told = re.findall(r"the check (\S+) of flask chatkit doctor", line)
        assert told == (["allow-list"] if debug else [])


def test_checks_that_the_widget_names_are_the_doctors() -> None:
    """Each check that the widget's script names is one of the doctor's."""
    script = (STATIC / "widget" / "notices.js").read_text("utf-8")
    (causes,) = re.findall(r"const failureCause = .*?\n};\n", script, re.DOTALL)
    named = set(re.findall(r', "([a-z-]+)"\];', causes)) | set(
        re.findall(r'\? "([a-z-]+)"', causes)
    )
    assert named == {"csp", "https", "coep", "csrf", "allow-list", "workflow", "api-key"}
    assert named <= {made.name for made in CHECKS}


def test_missing_key_is_named(page: Page, site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site without a key tells its developer which setting is missing."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = {"CHATKIT_API_KEY": None, "OPENAI_API_KEY": None}
    page.goto(site({"/": "{{ chatkit_floating() }}"}, debug=True, **config))
    fails(page)
    assert "OPENAI_API_KEY" in cause(page)


@pytest.mark.parametrize(
    ("language", "ended"),
    [
        ("en", "This chat has ended and is no longer available."),
        ("de", "Dieser Chat wurde beendet und ist nicht mehr verfügbar."),
    ],
)
def test_chat_whose_workflow_has_ended(
    page: Page, site: Sites, openai_standin: OpenAIStandIn, language: str, ended: str
) -> None:
    """After the end of workflows a visitor reads of it, and finds the contact, and no Try again."""
    openai_standin.end_workflows()
    page.goto(site({"/": f"{{{{ chatkit_inline(locale='{language}', {CONTACT}) }}}}"}))
    page.get_by_text(ended).wait_for()
    assert page.locator(".chatkit-actions > *").all_inner_texts() == ["Write to us"]


def test_end_of_workflows_is_named(page: Page, site: Sites, openai_standin: OpenAIStandIn) -> None:
    """While developing the chat's place names the setting that serves the chat from now on."""
    openai_standin.end_workflows(410)
    page.goto(site({"/": "{{ chatkit_inline() }}"}, debug=True))
    assert "CHATKIT_SERVER" in cause(page)


@pytest.mark.parametrize("what", ["key", "script", "upstream"])
def test_visitors_are_not_told_how_the_site_is_made(
    page: Page, site: Sites, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """In production no cause is shown, and nowhere is a secret, a key or a workflow's name."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config: dict[str, Any] = {}
    if what == "key":
        config = {"CHATKIT_API_KEY": None, "OPENAI_API_KEY": None}
    elif what == "script":
        page.route(SCRIPT, lambda route: route.abort())
    else:
        site.openai.fail(Failure(status=401), times=9)
    base = site({"/": "{{ chatkit_floating() }}"}, **config)
    page.goto(base)
    fails(page)
    assert page.locator(".chatkit-cause").count() == 0
    shown = page.content() + page.locator("dialog").inner_text()
    assert not SECRET.search(shown)
    assert not SECRET.search("\n".join(said))
    assert "API_KEY" not in shown + "\n".join(said)


def test_nothing_secret_is_in_a_working_page(page: Page, site: Sites) -> None:
    """Neither the markup, nor the address, nor the console of an open chat holds a secret."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(site({"/": "{{ chatkit_floating() }}"}, debug=True))
    launcher(page).click()
    ready(page)
    assert not SECRET.search(page.content() + page.url + "\n".join(said))
    assert page.locator(".chatkit-cause").count() == 0


@pytest.mark.parametrize("macro", ["chatkit_inline", "chatkit_themed"])
def test_chat_in_the_page_says_so_in_its_place(page: Page, site: Sites, macro: str) -> None:
    """The message of a chat in the page is as large as the chat, and shifts nothing."""
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(site({"/": "{{ " + macro + "(height=300) }}<p id=after>After"}))
    state(page, "failed")
    box = page.locator("[data-chatkit]").bounding_box()
    notice = page.locator(".chatkit-notice").bounding_box()
    assert box["height"] == 300
    assert notice["height"] == 298
    assert page.locator("#after").bounding_box()["y"] >= box["y"] + 300
    page.unroute(SCRIPT)
    page.get_by_role("button", name="Try again").click()
    ready(page)


def test_message_on_the_full_page_has_no_link_to_it(page: Page, site: Sites) -> None:
    """There is nowhere else to go: the visitor can try again."""
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(site({}) + "/chatkit/")
    state(page, "failed")
    assert page.locator("main a").count() == 0
    assert page.get_by_role("button", name="Try again").is_visible()
