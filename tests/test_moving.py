"""``docs/moving.md`` followed word by word in a fresh folder, against the stand-ins."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from flask_chatkit.testing import OpenAIStandIn, assistant_message, user_message
from tests.helpers.model_api import KEY, ModelApi, Say, serve_model
from tests.helpers.paths import ROOT
from tests.helpers.served import Client, until, visit
from tests.helpers.sites import Browser

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef, unused-ignore]

PAGE = (ROOT / "docs" / "moving.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = {
    named.group(1): text
    for language, text in BLOCKS
    if language == "python" and (named := re.match(r"# (\w+\.py)\n", text))
}
COMMANDS = [
    line
    for language, text in BLOCKS
    if language in {"bash", "sh"}
    for line in text.splitlines()
    if line.strip()
]
SECRET_KEY = "0f1c6ae2b7d94358a1c2e3f4059687db"


class Patient(Browser):
    """A browser that waits for a site that has just started."""

    def request(self, method: str, url: str, **more: Any) -> requests.Response:  # type: ignore[override]
        """Ask the site."""
        return super().request(method, url, **{"timeout": 60, **more})


class Folder:
    """A site's folder, and the shell of its owner."""

    def __init__(self, path: Path, standin: OpenAIStandIn, api: ModelApi) -> None:
        self.path, self.standin, self.api = path, standin, api
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        scripts = str(Path(sys.executable).parent)
        self.environment = {
            **kept,
            "PATH": os.pathsep.join([scripts, kept.get("PATH", "")]),
            "PYTHONPATH": str(ROOT),
            "FLASK_RUN_PORT": self.port,
            # Where OpenAI is, for a test.
            "FLASK_CHATKIT_API_BASE": standin.api_base,
            "OPENAI_BASE_URL": api.base_url,
        }
        for name, text in FILES.items():
            (path / name).write_text(text, "utf-8")

    def run(self, command: str) -> str:
        """Run one line of the page; what it prints."""
        # What stands in the place of the page's placeholders.
        command = command.replace("sk-…", KEY).replace("…", SECRET_KEY)
        words = shlex.split(command, comments=True)
        if words[0] == "export":
            key, _, value = words[1].partition("=")
            self.environment[key] = value
            return ""
        if words[:2] == ["pip", "install"]:
            check_requirement(words[2])
            return ""
        done = subprocess.run(
            words,
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def serve(self, command: str = "flask run") -> Iterator[Browser]:
        """Run the site; a browser on it."""
        log = (self.path / "site.log").open("w")
        site = subprocess.Popen(
            shlex.split(command), cwd=self.path, env=self.environment, stdout=log, stderr=log
        )

        def is_up() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", int(self.port))) == 0

        try:
            until(is_up, 30)
            yield Patient(f"http://127.0.0.1:{self.port}")
        finally:
            site.terminate()
            site.wait(10)
            log.close()


def check_requirement(requirement: str) -> None:
    """Check that what pip is to install is this package, with extras that it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.fullmatch(r"([\w-]+)\[([\w,-]+)\]", requirement)
    assert named is not None
    assert named.group(1).lower().replace("_", "-") == project["name"].lower().replace("_", "-")
    assert set(named.group(2).split(",")) <= set(project["optional-dependencies"])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """The folder in which the page is followed."""
    with OpenAIStandIn(api_key=KEY) as standin, serve_model() as api:
        yield Folder(tmp_path, standin, api)
        assert api.wrong == []


def test_page_is_followed_word_by_word(folder: Folder) -> None:
    """Each command of the page works, in its order, and the visitor goes on in an old thread."""
    standin, api = folder.standin, folder.api
    assert set(FILES) == {"workflow.py", "app.py"}
    assert shutil.which("flask", path=folder.environment["PATH"])
    before = dict(folder.environment)
    folder.environment |= {
        "FLASK_CHATKIT_WORKFLOW_ID": "wf_standin",
        "FLASK_CHATKIT_API_KEY": KEY,
        "FLASK_SECRET_KEY": SECRET_KEY,
    }
    with folder.serve() as browser:
        browser.mint()
    cookies = browser.cookies
    user = standin.requests[-1].body["user"]
    items = [user_message("Where is my order?"), assistant_message("It is packed.")]
    thread = standin.add_thread(user, title="My order", items=items)
    folder.environment = before
    told = {}
    api.replies = [Say(["Hel", "lo"]), Say(["again"])]
    for command in COMMANDS:
        if command == "flask run":
            with folder.serve(command) as browser:
                assert browser.get("/chatkit/").status_code == 200
                visit(browser).create("hi")
        else:
            told[command] = folder.run(command)
    assert "Carried 1 thread with 2 items" in told["flask chatkit threads migrate"]
    with folder.serve() as browser:
        browser.cookies = cookies
        visitor: Client = visit(browser)
        assert [one["id"] for one in visitor.threads()] == [thread]
        visitor.add(thread, "And now?")
        said = visitor.texts(thread), visitor.texts(thread, "assistant_message")
    assert said == (["Where is my order?", "And now?"], ["It is packed.", "again"])
    assert "It is packed." in str(api.asked[-1]["input"])
