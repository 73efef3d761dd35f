"""nginx for tests: the documented configuration, on a port and in a folder of the test's own."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tests.helpers.paths import ROOT

#: The program, which most systems keep out of the path of users; None if it is not installed.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def documented(name: str) -> str:
    """A block of ``docs/deployment.md``, which marks it with ``<!-- name -->``."""
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    (block,) = re.findall(rf"<!-- {name} -->\n```nginx\n(.*?)```", page, re.DOTALL)
    return str(block)


def nginx_command(folder: Path, servers: str, events: str = "") -> list[str]:
    """Write nginx's configuration to a folder; the command that runs it in the foreground.

    :param servers: the blocks within ``http``.
    :param events: the directives within ``events``.
    """
    places = "".join(f"{name}_temp_path {folder}/{name};\n" for name in _TEMPORARY)
    config = folder / "nginx.conf"
    config.write_text(
        # As root nginx would give the rest to nobody, who may not write to the folder.
        f"{'user root; ' if os.geteuid() == 0 else ''}daemon off;\n"
        f"pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        f"events {{ {events} }}\nhttp {{ access_log off;\n{places}{servers}}}\n"
    )
    return [str(NGINX), "-p", str(folder), "-c", str(config), "-e", str(folder / "e")]
