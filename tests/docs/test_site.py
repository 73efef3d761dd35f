"""The documentation is built without a warning, and everything in it leads somewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import pytest
from flask import Blueprint

from flask_chatkit import ChatKit, asgi, signals
from tests.helpers.paths import DOCS, ROOT

PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts]
MARKDOWN = [*sorted(ROOT.glob("*.md")), ROOT / "tests" / "bench" / "README.md", *PAGES]


class Page(HTMLParser):
    """The ids, links and pictures of a built page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element's id, and what it leads to."""
        values = dict(attrs)
        self.ids.add(values.get("id") or "")
        for name in ("href", "src"):
            if values.get(name):
                self.targets.append(str(values[name]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]) -> Path:
    """The built documentation."""
    if importlib.util.find_spec("sphinx") is None:
        missing("Sphinx", "pip install 'flask-chatkit[docs]'")
    out = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", DOCS, out],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


def test_builds_without_a_warning(site: Path) -> None:
    """Each page of the documentation is built, and Sphinx warns of nothing."""
    built = {path.relative_to(site).with_suffix(".md") for path in site.rglob("*.html")}
    assert built >= {path.relative_to(DOCS) for path in PAGES}


def test_links_of_the_site_lead_somewhere(site: Path) -> None:
    """Each link and picture within the built site is there, headings and names included."""
    pages = {path: Page(path) for path in site.rglob("*.html")}
    lost = []
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            found = pages.get(file)
            if not file.exists() or (parts.fragment and found and parts.fragment not in found.ids):
                lost.append(f"{path.relative_to(site)}: {target}")
    assert lost == []


def test_reference_has_each_public_name(site: Path) -> None:
    """Each name that a public module exports has an entry in the API reference."""
    pages = (Page(path) for path in (site / "api").glob("*.html"))
    ids = set[str]().union(*(page.ids for page in pages))
    public = [
        f"{module}.{name}"
        for module in ("flask_chatkit", "flask_chatkit.server", "flask_chatkit.testing")
        for name in import_module(module).__all__
    ]
    own = set(dir(ChatKit)) - set(dir(Blueprint))
    public += [f"flask_chatkit.ChatKit.{name}" for name in own if not name.startswith("_")]
    public += [f"flask_chatkit.asgi.{name}" for name in asgi.__all__]
    public += [f"flask_chatkit.signals.{name}" for name in [*signals.SIGNALS, "wait_delivered"]]
    assert [name for name in public if name not in ids] == []


def test_llms_txt_lists_each_page(site: Path) -> None:
    """The list for language models names each page of the menu, with its Markdown's address."""
    text = (site / "llms.txt").read_text("utf-8")
    listed = re.findall(r"^- \[.+\]\(_sources/(.+)\.txt\): \S.*$", text, re.MULTILINE)
    assert sorted(listed) == sorted(
        str(path.relative_to(DOCS))
        for path in PAGES
        if (path.parent == DOCS and path.stem != "index") or path.match("api/index.md")
    )
    assert all((site / "_sources" / f"{name}.txt").is_file() for name in listed)
    assert text.startswith("# flask_chatkit\n\n> ")


def headings(text: str) -> set[str]:
    """Return what a page's headings are called in addresses."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in plain.splitlines()
        if line.startswith("#")
    }


@pytest.mark.parametrize("path", MARKDOWN, ids=[str(path.relative_to(ROOT)) for path in MARKDOWN])
def test_links_within_lead_somewhere(path: Path) -> None:
    """Each file and heading that the Markdown itself links to is there, as on a code host."""
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, heading = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.is_file(), target
        assert not heading or heading in headings(found.read_text("utf-8")), target
