"""README and docs agree with the code: their tables are complete, their snippets run."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from agents import Agent
from chatkit.server import ChatKitServer
from flask import Flask, render_template_string
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf.csrf import CSRFProtect
from jinja2 import DictLoader

from flask_chatkit import ChatKit
from flask_chatkit.config import documented
from flask_chatkit.doctor.report import CHECKS
from flask_chatkit.errors import API_ERRORS
from flask_chatkit.http.rules import RULES
from flask_chatkit.identity.probes import Purpose
from flask_chatkit.options.element import ELEMENT, GLYPHS, PRESENTATION, SHORT
from flask_chatkit.options.translations import english, languages
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.gallery import DOCS
from tests.helpers.sites import MakeApp

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "flask_chatkit" / "static"
PICTURES = ROOT / "docs" / "pictures"
README = (ROOT / "README.md").read_text("utf-8")
WIDGET = (ROOT / "docs" / "widget.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What no template can say: the functions of a page's script.
UNSAYABLE = {"entities", "commands", "widgets", "on_client_tool", "api"}
#: The pages that begin with a list of their parts.
CONTENTS = {"widget", "recipes", "testing"}
#: Bytes of one picture, and of all.
PICTURE, ALL_PICTURES = 120_000, 900_000


def snippets(language: str, text: str = README) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [inspect.cleandoc(body) if indent else body for indent, body in found]


def tables(head: str, text: str) -> list[list[list[str]]]:
    """The rows of the tables whose head begins with a text, as lists of cells."""
    bodies = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|").split(" | ")] for row in body.splitlines()]
        for body in bodies
    ]


def table(head: str, text: str = README) -> list[list[str]]:
    """The rows of the one table with this head."""
    (rows,) = tables(head, text)
    return rows


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
    """Each option of the element is in its table, and nothing else."""
    told = [name for row in table("option", WIDGET) for name in names(row[0])]
    assert sorted(told) == sorted([*ELEMENT, *SHORT, "options"])


def test_macros_own_options_are_told() -> None:
    """Each macro's own options are in the tables, once, and nothing else."""
    all_three, floating = tables("own option", WIDGET)
    assert PRESENTATION["inline"] == PRESENTATION["themed"]
    assert sorted(names(row[0])[0] for row in all_three) == sorted(PRESENTATION["inline"])
    assert sorted(names(row[0])[0] for row in floating) == sorted(
        set(PRESENTATION["floating"]) - set(PRESENTATION["inline"])
    )
    (icons,) = [row[1] for row in floating if row[0] == "`icon`"]
    assert set(names(icons)) == set(GLYPHS)


def test_readme_lists_every_option() -> None:
    """The README's table has all options that a macro takes, once."""
    told = [name for row in table("what") for name in names(row[1])]
    own = {name for options in PRESENTATION.values() for name in options}
    assert sorted(told) == sorted({*own, "kit", "nonce", *ELEMENT, *SHORT, "options"} - UNSAYABLE)


def test_custom_properties_are_the_stylesheets() -> None:
    """Each property that the stylesheets read is in the table, and no other."""
    told = {
        name for row in table("custom property", WIDGET) for name in re.findall(r"--[\w-]+", row[0])
    }
    read = set()
    for name in ("chatkit.css", "widget.css"):
        read |= set(re.findall(r"var\(\s*(--chatkit-[\w-]+)", (STATIC / name).read_text("utf-8")))
    # Set by the widget itself, for the option accent; and read by its script, for a themed one.
    assert told == read - {"--chatkit-accent", "--chatkit-on-accent"} | {"--chatkit-radius"}
    for rows in tables("own option", WIDGET):
        for row in rows:
            assert set(re.findall(r"--[\w-]+", row[-1])) <= told


def test_words_are_the_codes() -> None:
    """Each word is in the table as it is said in English, and the languages are counted."""
    told = [(row[0].strip("`"), row[1]) for row in table("name", WIDGET)]
    assert told == list(english()["widget"].items())
    for text in (README, WIDGET):
        assert f"{len(languages())} languages" in text


def test_presets_are_the_scripts() -> None:
    """Each preset is in the table with the properties that it reads."""
    script = (STATIC / "widget/theme.js").read_text("utf-8")
    (block,) = re.findall(r"^const PRESETS = \{\n(.*?)^\};$", script, re.DOTALL | re.MULTILINE)
    read = {
        name: set(re.findall(r'"(--[\w-]+)"', body))
        for name, body in re.findall(r"^  (\w+): \{(.*?)\},?$", block, re.DOTALL | re.MULTILINE)
    }
    told = {
        row[0].strip("`"): set(re.findall(r"`(--[\w-]+)`", " ".join(row[1:])))
        for row in table("preset", WIDGET)
    }
    assert told == read


def test_events_are_the_scripts() -> None:
    """Each event that the widget sends is in the table, and nothing else."""
    modules = [path.read_text("utf-8") for path in (STATIC / "widget").glob("*.js")]
    script = "\n".join(modules)
    (block,) = re.findall(r"^const EVENTS = \{\n(.*?)^\};$", script, re.DOTALL | re.MULTILINE)
    sent = set(re.findall(r'^  "?([\w.]+)"?: \[', block, re.MULTILINE))
    sent |= set(re.findall(r'(?:emit|setState)\(widget, "([\w.]+)"', script)) - {"idle", "loading"}
    told = {name for row in table("event", WIDGET) for name in re.findall(r"`([\w.]+)`", row[0])}
    assert told == sent


def test_methods_are_the_loaders() -> None:
    """Each method of a chat is in the table, and nothing else."""
    script = (STATIC / "loader.js").read_text("utf-8")
    (acts,) = re.findall(r"for \(const act of \[(.*?)\]\)", script)
    methods = {*re.findall(r'"(\w+)"', acts), "on", "off", "tool", "action", "state"}
    told = {name for row in table("method", WIDGET) for name in re.findall(r"`(\w+)", row[0])}
    assert told == methods


def test_pictures_are_the_gallerys() -> None:
    """Each picture is one of the gallery's, is shown with a text in its place, and is small."""
    shown = re.findall(r"!\[(.*?)\]\(pictures/(.*?)\.png\)", WIDGET)
    shown += [
        (words, name)
        for name, words in re.findall(r'<img src="pictures/(.*?)\.png"[^>]* alt="(.*?)">', WIDGET)
    ]
    files = {path.stem: path.stat().st_size for path in PICTURES.iterdir()}
    assert {name for _, name in shown} == set(files) == set(DOCS)
    assert all(len(words) > 20 for words, _ in shown)
    assert max(files.values()) <= PICTURE
    assert sum(files.values()) <= ALL_PICTURES


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
    space["run_workflow"] = importlib.import_module("tests.helpers.exports.linear").run_workflow
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
    app = Flask("readme")
    app.config.update(SECRET_KEY="of the tests", CHATKIT_DATABASE_URI="sqlite://")
    kit = ChatKit()
    kit.assistant()(lambda message, _: f"You said **{message.text}**")
    app.register_blueprint(kit)
    space["test_answer"](app)


def test_jinja_snippets_render(make_app: MakeApp) -> None:
    """The macro calls of the README and of the widget's page render."""
    kit = ChatKit()
    for name in ("support", "sales"):
        kit.add_hosted(name, "wf_standin")
    app = make_app(kit)
    app.jinja_loader = DictLoader({"layout.html": "{% block main %}{% endblock %}"})
    macros, *calls = snippets("jinja", WIDGET)
    with app.test_request_context("/"):
        for snippet in snippets("jinja"):
            assert "data-chatkit=" in render_template_string(snippet)
        for snippet in calls:
            text = snippet if "{% from" in snippet else macros + snippet
            html = render_template_string(text, chat="default", kit="chatkit")
            assert "data-chatkit=" in html


def test_commands_set_everything_up() -> None:
    """Both commands begin with a fresh environment, and the tests' one is what CI calls."""
    for name in ("demo", "tests"):
        (command,) = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)\n```", README, re.DOTALL)
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text("utf-8")


def headings(text: str) -> set[str]:
    """What a page's headings are called in addresses."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in plain.splitlines()
        if line.startswith("#")
    }


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_links_within_lead_somewhere(page: Path) -> None:
    """Each file and heading that the README and the docs link to is there."""
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, heading = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.is_file(), target
        assert not heading or heading in headings(found.read_text("utf-8")), target


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem in CONTENTS])
def test_contents_name_every_heading(page: Path) -> None:
    """The list at the top of a long page has each of its parts, in order."""
    text = page.read_text("utf-8")
    told = re.findall(r"^\[(.+?)\]\(#(.+?)\)", text, re.MULTILINE)
    assert [name for name, _ in told] == re.findall(r"^## (.+)$", text, re.MULTILINE)


def test_doctors_table_is_the_codes() -> None:
    """Each check is in the deployment page's table, in order, with what it checks."""
    deployment = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    assert table("check", deployment) == [[f"`{made.name}`", made.about] for made in CHECKS]
    told = {row[0].strip("`") for row in table("probe", deployment)}
    assert told == set(get_args(Purpose))


def test_deployments_python_snippets_run(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines for ASGI, a proxy and the site's own extensions work as printed."""
    asgi, proxy, extensions = snippets(
        "python", (ROOT / "docs" / "deployment.md").read_text("utf-8")
    )
    kit = ChatKit()
    app = make_app(kit, SECRET_KEY="of the tests")
    limiter = Limiter(get_remote_address, storage_uri="memory://", default_limits=["1/hour"])
    limiter.init_app(app)
    monkeypatch.setitem(sys.modules, "shop", SimpleNamespace(create_app=lambda: app))
    served: dict[str, Any] = {}
    exec(compile(asgi, "deployment.md", "exec"), served)  # noqa: S102
    assert served["app"].app is app
    space = {"app": app, "chatkit": kit, "limiter": limiter, "csrf": CSRFProtect(app)}
    for snippet in (proxy, extensions):
        exec(compile(snippet, "deployment.md", "exec"), space)  # noqa: S102
    for _ in range(3):
        answer = app.test_client().post(
            "/chatkit/secret", json={}, headers={"X-Forwarded-For": "203.0.113.9"}
        )
        assert answer.status_code == 200
