"""The code of the README and of the documentation works as it is printed.

``tests/browser/test_recipes.py``, ``tests/test_moving.py``, ``tests/http/test_reliability.py``,
``tests/test_signals.py`` and ``tests/testing/test_docs.py`` have those of the pages they are about.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from agents import Agent
from chatkit.server import ChatKitServer
from flask import Flask, render_template_string
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf.csrf import CSRFProtect
from jinja2 import DictLoader

from flask_chatkit import ChatKit
from flask_chatkit.testing import FakeModel, OpenAIStandIn, ServedChat, ToolCall
from tests.helpers.markdown import page, snippets
from tests.helpers.paths import ROOT
from tests.helpers.sites import MakeApp


def run(code: str, name: str, space: dict[str, Any]) -> None:
    """Run the code of a page."""
    exec(compile(code, f"{name}.md", "exec"), space)  # noqa: S102


class SilentServer(ChatKitServer[Any]):
    """A ChatKit server that does not answer."""

    async def respond(self, *_: Any) -> Any:
        return
        yield


@pytest.fixture
def environment(
    openai_standin: OpenAIStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Configure the sites that read the environment."""
    monkeypatch.setenv("FLASK_SECRET_KEY", "of the tests")
    monkeypatch.setenv("FLASK_CHATKIT_API_BASE", openai_standin.api_base)
    monkeypatch.setenv("FLASK_CHATKIT_DATABASE_URI", f"sqlite:///{tmp_path}/history.sqlite3")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-standin")


@pytest.fixture
def space() -> dict[str, Any]:
    """What the pages' code has around it."""
    return {
        "__name__": "page",
        "Agent": Agent,
        "MyChatKitServer": SilentServer,
        "current_user": SimpleNamespace(is_authenticated=False),
        "run_workflow": importlib.import_module("tests.helpers.exports.linear").run_workflow,
    }


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("name", ["README", "quickstart"])
def test_first_screen_and_declarations_work(
    name: str, space: dict[str, Any], openai_standin: OpenAIStandIn
) -> None:
    """The first screen's code and each way to declare a chat work as printed."""
    first, *declarations = snippets("python", page(name))
    _, proxy, _ = snippets("python", page("deployment"))
    for snippet in (first, *declarations, proxy):
        run(snippet.replace("wf_…", "wf_standin"), name, space)
    client = space["app"].test_client()
    for chat in ("", "/concierge", "/coach", "/desk", "/support", "/sales"):
        assert client.post(f"/chatkit{chat}/secret", json={}).status_code == 200
    assert openai_standin.requests[0].body["workflow"]["state_variables"] == {"plan": "pro"}
    for chat in ("", "/concierge"):
        said = {"content": [{"type": "input_text", "text": "hello"}], "attachments": []}
        body = {
            "type": "threads.create",
            "params": {"input": {**said, "inference_options": {}}},
        }
        answer = client.post(f"/chatkit{chat}/api", json=body)
        assert "You said" in answer.get_data(as_text=True)


@pytest.mark.usefixtures("environment")
def test_quickstarts_page_shows_the_chat(space: dict[str, Any]) -> None:
    """The quickstart's application renders the quickstart's template, which shows the chat."""
    first, *_ = snippets("python", page("quickstart"))
    (template,) = snippets("jinja", page("quickstart"))
    run(first, "quickstart", space)
    space["app"].jinja_loader = DictLoader({"home.html": template})
    assert "data-chatkit=" in space["app"].test_client().get("/").get_data(as_text=True)


def test_configurations_snippet_runs(make_app: MakeApp) -> None:
    """The settings are accepted as printed."""
    (snippet,) = snippets("python", page("configuration"))
    app, kit = Flask("shop"), ChatKit()
    app.config.update(make_app().config, RATELIMIT_ENABLED=False)
    run(snippet, "configuration", {"app": app, "chatkit": kit})
    assert app.blueprints["chatkit"] is kit


def test_securitys_snippets_run(make_app: MakeApp, openai_standin: OpenAIStandIn) -> None:
    """The guard asks for a login, a line is all for CSRF, and a function gets the visitor."""
    guard, exempt, declare = snippets("python", page("security"))
    kit = ChatKit()
    run(declare, "security", {"chatkit": kit, "plan_of": lambda user_id: f"of {user_id}"})
    app = make_app(kit)
    assert app.test_client().post("/chatkit/sales/secret", json={}).status_code == 200
    sent = openai_standin.requests[0].body["workflow"]["state_variables"]
    assert sent == {"plan": "of None"}
    kit = ChatKit()

    def login_required(view: Callable[[], None]) -> Callable[[], Any]:
        return lambda: ("Sign in", 401)

    run(guard, "security", {"chatkit": kit, "login_required": login_required})
    assert make_app(kit).test_client().post("/chatkit/secret", json={}).status_code == 401
    kit = ChatKit()
    app = make_app(kit)
    run(exempt, "security", {"chatkit": kit, "csrf": CSRFProtect(app)})
    assert app.test_client().post("/chatkit/secret", json={}).status_code == 200


def test_jinja_snippets_render(make_app: MakeApp) -> None:
    """The macro calls of the README and of the macros' page render."""
    kit = ChatKit()
    for name in ("support", "sales"):
        kit.add_hosted(name, "wf_standin")
    app = make_app(kit)
    app.jinja_loader = DictLoader({"layout.html": "{% block main %}{% endblock %}"})
    macros, *calls = snippets("jinja", page("macros"))
    assert len(calls) > 4
    with app.test_request_context("/"):
        for snippet in snippets("jinja", page("README")) + snippets("jinja", page("index")):
            assert "data-chatkit=" in render_template_string(snippet)
        for snippet in calls:
            text = snippet if "{% from" in snippet else macros + snippet
            html = render_template_string(text, chat="default", kit="chatkit")
            assert "data-chatkit=" in html


def test_deployments_python_snippets_run(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines for ASGI, a proxy and the site's own extensions work as printed."""
    asgi, proxy, extensions = snippets("python", page("deployment"))
    kit = ChatKit()
    app = make_app(kit, SECRET_KEY="of the tests")
    limiter = Limiter(get_remote_address, storage_uri="memory://", default_limits=["1/hour"])
    limiter.init_app(app)
    monkeypatch.setitem(sys.modules, "shop", SimpleNamespace(create_app=lambda: app))
    served: dict[str, Any] = {}
    run(asgi, "deployment", served)
    assert served["app"].app is app
    space = {"app": app, "chatkit": kit, "limiter": limiter, "csrf": CSRFProtect(app)}
    for snippet in (proxy, extensions):
        run(snippet, "deployment", space)
    for _ in range(3):
        answer = app.test_client().post(
            "/chatkit/secret", json={}, headers={"X-Forwarded-For": "203.0.113.9"}
        )
        assert answer.status_code == 200


class Order(SimpleNamespace):
    """An order of the site that the pages are about."""


@pytest.fixture
def served_site(make_app: MakeApp, tmp_path: Path) -> SimpleNamespace:
    """A site with all of the code of the page about served chats, and what it has around it."""
    orders = {"1042": Order(number="1042", state="packed")}
    log: list[Any] = []

    class Prices:
        async def watch(self) -> None:
            log.append("watching")

        async def close(self) -> None:
            log.append("closed")

    kit = ChatKit()
    app = Flask("shop")
    space: dict[str, Any] = {
        "app": app,
        "chatkit": kit,
        "find_order": lambda number, **_: orders.get(number),
        "load_user": lambda _: SimpleNamespace(orders=list(orders.values())),
        "log_feedback": lambda *feedback: log.append(feedback),
        "transcribe": lambda data: f"{len(data)} bytes",
        "Prices": Prices,
        "MyChatKitServer": SilentServer,
        "pytest": pytest,
        "MyStore": object,
    }
    for snippet in snippets("python", page("served")):
        run(snippet, "served", space)
    app.config.update(
        make_app().config,
        CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/history.sqlite3",
        CHATKIT_MESSAGE_RATELIMIT="",
    )
    app.register_blueprint(kit)
    return SimpleNamespace(log=log, **space)


def test_served_chats_snippets_run(served_site: SimpleNamespace) -> None:
    """The function, its actions, feedback, dictation and start-up work as printed."""
    chat = ServedChat(served_site.app)
    assert chat.say("1042").text == "Order **1042** is packed."
    assert chat.click("Send me the return label").text == "It is on its way to your inbox."
    assert chat.act("compare", "1042").text == "You are looking at 1042."
    error = chat.say("7", check=False).error
    assert error is not None
    assert error.message == "I can't find that order. Is the number right?"
    chat.feedback("positive")
    assert chat.transcribe(b"12345", "audio/webm") == "5 bytes"
    assert "watching" in served_site.log
    assert any("positive" in entry for entry in served_site.log)


def test_agents_snippets_run(served_site: SimpleNamespace) -> None:
    """The tool that reads who is asking finds the visitor."""
    model = FakeModel(ToolCall("my_orders", {}), "Please sign in.")
    agent = Agent(name="Desk", model=model, tools=[served_site.my_orders])
    kit = ChatKit("staff")
    kit.add_agent("default", agent, titles=False)
    served_site.app.register_blueprint(kit, url_prefix="/staff")
    assert ServedChat(served_site.app, kit="staff").say("My orders?").text == "Please sign in."
    assert model.asked[1].tool_outputs == ["Nobody is signed in."]


def test_chat_from_the_shell_works(
    serve: Any,
    missing: Callable[[str, str], NoReturn],
    served_site: SimpleNamespace,
    tmp_path: Path,
) -> None:
    """The two calls in a shell get a visitor an answer."""
    try:
        subprocess.run(["curl", "--version"], check=True, capture_output=True, timeout=30)
    except OSError:
        missing("curl", "install curl")
    snippet = snippets("sh", page("served"))[-1]
    here = "http://127.0.0.1:5000"
    assert here in snippet
    snippet = snippet.replace(here, serve(served_site.app)).replace("Hello", "1042")
    done = subprocess.run(
        ["bash", "-euc", snippet],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "client_secret" in done.stdout
    assert "assistant_message" in done.stdout
    assert "packed" in done.stdout


def test_embed_snippets_are_those_of_the_recipe() -> None:
    """The page about embed.js has the code of the recipe, which is tested in a browser."""
    recipe = page("recipes").partition("## A static site or another origin\n")[2]
    for language in ("python", "html"):
        assert snippets(language, page("embed")) == snippets(language, recipe)


def test_persons_data_in_python_works(served_site: SimpleNamespace, tmp_path: Path) -> None:
    """A person's data is exported and counted as printed."""
    snippet, *_ = snippets("python", page("operations"))
    chat = ServedChat(served_site.app)
    chat.say("1042")
    printed: list[str] = []
    space = {"chatkit": served_site.chatkit, "json": json, "print": printed.append}
    with served_site.app.app_context():
        run(snippet.replace("ann-files", str(tmp_path / "files")), "operations", space)
    assert json.loads(printed[0])["record"] == "person"
    assert space["deletion"].problems == []


def test_commands_set_everything_up() -> None:
    """Both commands begin with a fresh environment, and the tests' one is what CI calls."""
    readme = page("README")
    for name in ("demo", "tests"):
        (command,) = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)\n```", readme, re.DOTALL)
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "<!-- tests -->" in ci
