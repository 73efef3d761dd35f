"""The README agrees with the code: its tables are complete, its snippets run."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from agents import Agent
from chatkit.server import ChatKitServer
from flask import Flask, render_template_string

from flask_chatkit import ChatKit
from flask_chatkit.config import documented
from flask_chatkit.errors import API_ERRORS
from flask_chatkit.testing import OpenAIStandIn
from flask_chatkit.views import RULES
from flask_chatkit.widget.options import ELEMENT, PRESENTATION, SHORT
from tests.support import MakeApp

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def snippets(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)
    return [inspect.cleandoc(" " * 0 + body) if indent else body for indent, body in found]


def table(head: str) -> list[list[str]]:
    """The rows of the table whose head begins with a text, as lists of cells."""
    (body,) = re.findall(
        rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, re.MULTILINE
    )
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in body.splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_configuration_table_is_the_codes() -> None:
    """Each setting is in the table, in order, with its default and its meaning."""
    assert table("key") == [
        [f"`{field.metadata['key']}`", field.metadata["shown"], field.metadata["doc"]]
        for field in documented()
    ]


def test_http_table_is_the_codes() -> None:
    """Each route is in the table, and nothing else."""
    told = {tuple(re.findall(r"`(\w+) …(/[^`]*)`", row[0])[0]) for row in table("call")}
    rules = {
        (method, rule.replace("<", "{").replace(">", "}"))
        for rule, _, methods in RULES
        for method in methods.split()
        if method != "HEAD"
    }
    assert told == rules


def test_error_table_is_the_codes() -> None:
    """Each error is in the table with its status, and nothing else."""
    told = [(row[0].strip("`"), int(row[1])) for row in table("code")]
    assert told == [(error.slug, error.code) for error in API_ERRORS]


def test_option_table_is_the_codes() -> None:
    """Each option of the element is in the table, and nothing else."""
    told = [name for row in table("option") for name in names(row[0])]
    assert sorted(told) == sorted([*ELEMENT, *SHORT, "options"])


def test_macros_own_options_are_told() -> None:
    """Each macro's entry names its own options."""
    for variant in ("floating", "inline"):
        (entry,) = re.findall(rf"\*\*`chatkit_{variant}`\*\*(.*?)\n- ", README, re.DOTALL)
        own = entry.split("Its own options:")[1]
        assert set(PRESENTATION[variant]) <= set(names(own))


def test_arguments_of_add_hosted_are_told() -> None:
    """Each argument of add_hosted is in its table, in order."""
    told = [row[0].strip("`") for row in table("argument of `add_hosted`")]
    assert told == list(inspect.signature(ChatKit.add_hosted).parameters)[1:]


def test_python_snippets_run(
    openai_standin: OpenAIStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first screen's code, the declarations and the proxy's line work as printed."""
    first, declare, proxy, testing = snippets("python")
    monkeypatch.setenv("FLASK_SECRET_KEY", "of the tests")
    monkeypatch.setenv("FLASK_CHATKIT_API_BASE", openai_standin.api_base)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-standin")

    class Nobody:
        is_authenticated = False

    class Silent(ChatKitServer[Any]):
        async def respond(self, *_: Any) -> Any:
            return
            yield

    space: dict[str, Any] = {"__name__": "readme", "current_user": Nobody, "Agent": Agent}
    space["MyChatKitServer"] = Silent
    monkeypatch.setenv("FLASK_CHATKIT_DATABASE_URI", f"sqlite:///{tmp_path}/history.sqlite3")
    for snippet in (first, declare.replace("wf_…", "wf_standin"), proxy):
        exec(compile(snippet, "README.md", "exec"), space)  # noqa: S102
    client = space["app"].test_client()
    for chat in ("", "/concierge", "/coach", "/support", "/sales"):
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

    def create_app(config: dict[str, Any]) -> Flask:
        app = Flask("readme")
        app.config.update(config, SECRET_KEY="of the tests")
        app.register_blueprint(ChatKit())
        return app

    space = {"create_app": create_app}
    exec(compile(testing, "README.md", "exec"), space)  # noqa: S102
    space["test_chat_is_offered"](openai_standin)


def test_jinja_snippets_render(make_app: MakeApp) -> None:
    """The macro calls of the README render."""
    kit = ChatKit()
    for name in ("support", "sales"):
        kit.add_hosted(name, "wf_standin")
    with make_app(kit).test_request_context("/"):
        for snippet in snippets("jinja"):
            assert "data-chatkit=" in render_template_string(snippet)


def test_commands_set_everything_up() -> None:
    """Both commands begin with a fresh environment, and the tests' one is what CI calls."""
    for name in ("demo", "tests"):
        (command,) = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)\n```", README, re.DOTALL)
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_links_within_lead_somewhere() -> None:
    """Each file and heading that the README links to is there."""
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in README.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        file, _, heading = target.partition("#")
        assert (ROOT / file).is_file() if file else heading in headings, target
