"""Programs that run for the length of a test, and free ports for them."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
