"""A real PgBouncer in transaction mode, in front of PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from sqlalchemy import URL

CONFIG = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""
#: Since this version it can keep track of prepared statements, which is not what is tested here.
TRACKS = (1, 21)


@contextmanager
def pgbouncer(url: URL, missing: Callable[[str, str], NoReturn]) -> Iterator[URL]:
    """The URL by which a database is reached through PgBouncer, which has two connections."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        missing("PgBouncer", "apt-get install pgbouncer")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "pgbouncer.ini")
        config = CONFIG.format(host=url.host, port=url.port or 5432, user=url.username, own=own)
        if _version(program) >= TRACKS:
            config += "max_prepared_statements = 0\n"
        file.write_text(config)
        command = [program, str(file)]
        if os.geteuid() == 0:
            # It refuses to run as root.
            command = ["runuser", "-u", "nobody", "--", *command]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                _wait(own, process)
                yield url.set(port=own)
            finally:
                process.terminate()


def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)\.(\d+)", said.stdout)
    return tuple(map(int, found.groups())) if found else (0, 0)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    said = process.stdout.read() if process.stdout and process.poll() is not None else b""
    raise AssertionError(f"PgBouncer did not start: {said.decode()}")
