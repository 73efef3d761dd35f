"""The door for contributors: what the pages, the workflows and the sessions name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.helpers.markers import SLOW, TESTS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "docs" / "architecture.md"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def sessions() -> set[str]:
    """The sessions of the noxfile."""
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_files_that_are_named_exist(page: Path) -> None:
    """Each path in code and each link of the pages for contributors leads to a file or folder."""
    text = page.read_text("utf-8")
    named = re.findall(r"`((?:flask_chatkit|tests|docs|demo_app|\.ci|\.github)/[^`\s]*)`", text)
    named += re.findall(r"(?:pytest|python|\w+) ((?:tests|docs)/[\w/.]+\.py)", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_names_that_are_told_exist() -> None:
    """The names in code that CONTRIBUTING gives for a file are in that file's folder."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    code = "\n".join(
        path.read_text("utf-8")
        for folder in ("flask_chatkit", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".js", ".mjs"}
    )
    named = set(re.findall(r"`([A-Z_]{4,}|_[a-z]+|_[A-Z]+)`", text))
    assert [name for name in named if not re.search(rf"\b{name}\b", code)] == []


def test_sessions_that_are_named_exist() -> None:
    """CONTRIBUTING, the gate and the workflows call sessions that noxfile.py has."""
    files = [ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run", *WORKFLOWS]
    text = "\n".join(path.read_text("utf-8") for path in files)
    called = set(re.findall(r'nox (?:-R )?-s "?([a-z]+)', text))
    assert called
    assert called <= sessions()


def test_contributing_is_one_page() -> None:
    """CONTRIBUTING fits on a page: it leads on, and repeats nothing."""
    assert len((ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()) <= 120


def test_slow_modules_exist() -> None:
    """Each module and folder that is marked slow is there, so that none is fast by a move."""
    assert [place for place in SLOW if not (TESTS / place).exists()] == []
