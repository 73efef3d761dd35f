"""A site in processes of its own, whose slow answers wait for the test; see ``Site`` below.

What an answer does is in files of ``SITE_FOLDER``: ``begun`` and ``stopped`` have a line for each
message, with the process that answers; a slow answer goes on when there is a file ``go``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask import Flask, render_template_string

import flask_chatkit.server.served_chats  # noqa: F401  so that the first call does not wait for it
from flask_chatkit import ChatKit
from tests.helpers.paths import ROOT
from tests.helpers.processes import wait_for

PAGE = (
    '<!doctype html><html lang="en"><title>Shop</title><body>'
    '{% from "chatkit/macros.html" import chatkit_floating %}'
    '<main><h1>Shop</h1><a href="/other">Elsewhere</a></main>{{ chatkit_floating() }}'
)


def make_app() -> Flask:
    """The site, with what the tests set in the environment."""
    folder = Path(os.environ["SITE_FOLDER"])
    app = Flask("site", instance_path=str(folder))
    app.config.update(
        SECRET_KEY="of the tests",
        CHATKIT_LEAVE_SECONDS=int(os.environ["SITE_LEAVE_SECONDS"]),
        CHATKIT_RATELIMIT_STORAGE_URI=os.environ.get("SITE_REDIS") or None,
        RATELIMIT_KEY_PREFIX=os.environ.get("SITE_PREFIX", ""),
    )
    kit = ChatKit()

    def note(name: str, text: str) -> None:
        with (folder / name).open("a") as file:
            file.write(f"{os.getpid()} {text}\n")

    @kit.assistant()
    async def answer(message: Any, chat: Any) -> AsyncIterator[str]:
        note("begun", message.text)
        yield f"First words for {message.text}. "
        try:
            # The test that lets it go on is another process.
            while message.text.startswith("slow") and not (folder / "go").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            note("stopped", message.text)
            raise
        yield "And the last ones."

    app.register_blueprint(kit)
    for path in ("/", "/other"):
        app.add_url_rule(path, path, lambda: render_template_string(PAGE))
    app.add_url_rule("/plain", "plain", lambda: "<title>Plain</title><p>No chat here.")
    return app


class Site:
    """One process that serves the site.

    :param folder: has its history, and what its answers do.
    :param env: more of its environment.
    """

    def __init__(self, folder: Path, port: int, *, leave: int = 30, **env: str) -> None:
        self.folder, self.port = folder, port
        self.base = f"http://127.0.0.1:{port}"
        self._env = {
            **os.environ,
            **env,
            "PYTHONPATH": str(ROOT),
            "SITE_FOLDER": str(folder),
            "SITE_LEAVE_SECONDS": str(leave),
        }
        self.start()

    def start(self) -> None:
        """Start it, with what it knew before."""
        app = "tests.helpers.telling_site:make_app"
        command = [sys.executable, "-m", "flask", "--app", app, "run", "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self._env, stdout=log, stderr=log
            )
        wait_for(self.port, self.process, self.folder)

    def kill(self) -> None:
        """End it as a power cut does."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def told(self, name: str) -> list[tuple[int, str]]:
        """What answers have done: the process, and the message."""
        file = self.folder / name
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(line.partition(" ")[0]), line.partition(" ")[2]) for line in lines]

    def go_on(self) -> None:
        """Let the slow answers go on."""
        (self.folder / "go").touch()
