"""The parts of the scripts that need no browser, under Node.js's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from flask_chatkit.widget.assets import served
from tests.helpers.paths import STATIC

TESTS = Path(__file__).parent


def test_scripts_under_node(missing: Callable[[str, str], NoReturn], tmp_path: Path) -> None:
    """Every tests/js/*.test.mjs passes."""
    node = shutil.which("node")
    if node is None:
        missing("Node.js", "put node on the PATH")
    # In a tree that says that .js is an ES module; newer versions of Node.js find that out.
    (tmp_path / "package.json").write_text('{"type": "module"}')
    static = Path(shutil.copytree(STATIC, tmp_path / "flask_chatkit" / "static"))
    for name in ("lang/en.js", "shared/locales.js"):
        (static / name).write_bytes(served(name))
    shutil.copytree(TESTS, tmp_path / "tests" / "js", ignore=shutil.ignore_patterns("*.py*"))
    files = sorted(str(path) for path in (tmp_path / "tests" / "js").glob("*.test.mjs"))
    assert files
    done = subprocess.run(
        [node, "--test", *files],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert "\n# fail 0\n" in done.stdout
