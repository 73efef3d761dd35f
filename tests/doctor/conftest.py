"""Sites to be examined."""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flask import Flask, render_template_string

from flask_chatkit import ChatKit
from flask_chatkit.doctor.report import Result
from tests.support import MakeApp

PAGE = "{% from 'chatkit/macros.html' import chatkit_floating %}<p>{{ chatkit_floating() }}</p>"
#: A secret key as it should be.
STRONG = secrets.token_hex()


def answer(message: Any, chat: Any) -> str:
    """Answer as an assistant, or what else takes two arguments."""
    return f"You wrote {message.text}"


def served_kit(**options: Any) -> ChatKit:
    """Make a kit whose chat a function answers in."""
    kit = ChatKit()
    kit.assistant(attachments=True, **options)(answer)
    return kit


@pytest.fixture
def redis_uri(missing: Callable[[str, str], NoReturn]) -> str:
    """The address of a Redis, without the number of a database."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)):
            missing("Redis", "start redis-server on 127.0.0.1:6379")
    return "redis://127.0.0.1:6379"


@pytest.fixture
def production(make_app: MakeApp, tmp_path: Path) -> Callable[..., Flask]:
    """Make sites as they are in production: no debugging, and a good key."""

    def make(kit: ChatKit | None = None, /, **config: Any) -> Flask:
        given = {
            "TESTING": False,
            "SECRET_KEY": STRONG,
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
            "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "files"),
            **({"CHATKIT_WORKFLOW_ID": None} if kit else {}),
            **config,
        }
        app = make_app(kit, **given)
        headers = config.get("HEADERS", {})

        @app.get("/")
        def home() -> Any:
            return render_template_string(PAGE), headers

        return app

    return make


def examine(app: Flask, url: str | None = None, pages: Sequence[str] = ("/",)) -> list[Result]:
    """Have a look at the site's first kit."""
    kit = next(bp for bp in app.blueprints.values() if isinstance(bp, ChatKit))
    with app.app_context():
        return kit.doctor(url, pages)


def faults(results: list[Result]) -> list[Result]:
    """What is wrong."""
    return [result for result in results if result.status in {"error", "warning"}]


def the_fault(results: list[Result], check: str, found: str, cure: str) -> Result:
    """The one fault of a check that was planted: what is said of it, and its cure."""
    matching = [
        result
        for result in faults(results)
        if result.check == check and found in result.found and cure in result.cure
    ]
    assert len(matching) == 1, faults(results)
    assert "\n" not in matching[0].found + matching[0].cure
    return matching[0]


@contextmanager
def process(
    folder: Path, *command: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the test."""
    with (folder / "log").open("ab") as log:
        started = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            yield started
        finally:
            started.terminate()
            started.wait(20)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def wait_for(
    port: int, running: subprocess.Popen[bytes], folder: Path, host: str = "127.0.0.1"
) -> None:
    """Wait until somebody listens."""
    end = time.monotonic() + 60
    while True:
        assert running.poll() is None, (folder / "log").read_text()
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        assert time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.05)
