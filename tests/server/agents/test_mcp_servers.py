"""No process of an MCP server outlives the server process that has started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import HELPERS, ROOT
from tests.helpers.served import Client, events, said, until
from tests.helpers.sites import Browser
from tests.server.agents.test_mcp import is_alive

COMMANDS = {
    "gunicorn": "-m gunicorn -b 127.0.0.1:{port} --no-control-socket -k gthread --threads 4 "
    "site_with_mcp:make_app()",
    "werkzeug": "-m flask --app site_with_mcp:make_app run --port {port}",
}


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("gunicorn", signal.SIGTERM),
        ("gunicorn", signal.SIGHUP),
        ("gunicorn", signal.SIGKILL),
        ("werkzeug", signal.SIGINT),
        ("werkzeug", signal.SIGTERM),
    ],
)
def test_no_process_is_left_behind(kind: str, sent: signal.Signals, tmp_path: Path) -> None:
    """Stopped, restarted or killed: the MCP server's process ends, and a new worker has its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = f"{ROOT}{os.pathsep}{HELPERS}"
    site = subprocess.Popen(
        [sys.executable, *COMMANDS[kind].format(port=port).split()],
        env={**os.environ, "PYTHONPATH": path, "SITE_FOLDER": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def is_up() -> bool:
        assert site.poll() is None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def ask(text: str) -> int:
        with Browser(f"http://127.0.0.1:{port}") as browser:
            # A worker imports all that it needs with its first call.
            assert browser.post("/chatkit/secret", timeout=60).status_code == 200
            call = {"type": "threads.create", "params": {"input": said(text)}}
            told = events(Client(browser).send(call, timeout=60))
        items = [one["item"] for one in told if one["type"] == "thread.item.done"]
        return int(items[-1]["content"][0]["text"])

    try:
        until(is_up, 60)
        first = ask("one")
        assert is_alive(first)
        if sent == signal.SIGKILL:
            os.killpg(site.pid, sent)
        else:
            site.send_signal(sent)
        until(lambda: not is_alive(first), 30)
        if sent == signal.SIGHUP:
            assert is_alive(ask("two"))
    finally:
        if site.poll() is None:
            os.killpg(site.pid, signal.SIGKILL)
        site.wait(10)
