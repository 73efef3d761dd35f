"""The house in order: imports point one way, and every test says what it shows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef, unused-ignore]

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_chatkit"


def test_imports_point_one_way() -> None:
    """Import-linter keeps the layers of pyproject.toml, with no import ignored."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    assert not any("ignore_imports" in contract for contract in contracts["contracts"])
    assert all(contract["exhaustive"] for contract in contracts["contracts"])
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_only_the_client_talks_to_openai() -> None:
    """Requests is imported by one module, and app.config is read by none but config's callers."""
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text("utf-8")
        name = path.relative_to(PACKAGE).as_posix()
        if "import requests" in source:
            # The doctor's is for the site itself.
            assert name in {"doctor/http.py", "hosted/transport.py"}, name
        if ".config[" in source or ".config.get(" in source:
            # The doctor looks at the whole of it.
            assert name == "limits/storage.py" or name.startswith(("doctor/", "testing/")), name


def test_core_needs_no_more_than_it_declares() -> None:
    """Importing the package imports no optional extra."""
    extras = [
        *("openai", "chatkit", "agents", "pydantic", "sqlalchemy", "fsspec", "puremagic"),
        *("pytest", "redis", "asgiref", "flask_babel"),
    ]
    code = f"import sys, flask_chatkit; print([name for name in {extras!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_every_test_says_what_it_shows() -> None:
    """Each test has a docstring of one sentence."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                told = ast.get_docstring(node)
                assert told, f"{path.name}: {node.name}"
                assert told.endswith("."), f"{path.name}: {node.name}"
                assert len(told.splitlines()) == 1, f"{path.name}: {node.name}"
