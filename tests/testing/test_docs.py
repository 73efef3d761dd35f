"""docs/testing.md: a site outside of this repository that tests itself by it, and its tables."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import flask_chatkit.testing
from flask_chatkit.testing import (
    Answer,
    Asked,
    Failure,
    FakeModel,
    ModelReply,
    OpenAIStandIn,
    ServedChat,
)
from tests.helpers.paths import DOCS

PAGE = (DOCS / "testing.md").read_text("utf-8")
FLAGS = re.DOTALL | re.MULTILINE


def files() -> dict[str, str]:
    """The files that the page's code is for, each with all its parts."""
    found: dict[str, str] = {}
    for name, code in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, FLAGS):
        found[name] = f"{found[name]}\n\n{code}" if name in found else code
    return found


def test_site_tests_itself_by_the_page(tmp_path: Path) -> None:
    """The page's files in an empty folder are a site whose tests pass, without a key or network."""
    code = files()
    assert len(code) == 5
    assert PAGE.count("```python") == len(re.findall(r"^```python\n# \w+\.py$", PAGE, re.MULTILINE))
    for name, text in code.items():
        (tmp_path / name).write_text(text, "utf-8")
    environment = {name: value for name, value in os.environ.items() if "OPENAI" not in name}
    strict = ["-W", "error", "-W", "ignore:Direct usage of named widget:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *strict],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    count = sum(text.count("\ndef test_") for text in code.values())
    assert count > 15
    assert f"{count} passed" in done.stdout, done.stdout + done.stderr


def public(kind: type) -> set[str]:
    """The public names of a class, those of its fields included."""
    own = {name for name in dir(kind) if not name.startswith("_")}
    return own | {name for name in inspect.get_annotations(kind) if not name.startswith("_")}


def told(*names: str) -> set[str]:
    """Those of the names that the page has in code."""
    spans = " ".join(re.findall(r"`([^`\n]+)`", PAGE))
    code = spans + " ".join(files().values())
    return {name for name in names if re.search(rf"\b{name}\b", code)}


def test_page_names_everything() -> None:
    """Whatever the package and its classes have in public is named on the page."""
    names = {*flask_chatkit.testing.__all__} - {"RecordedHeaders", "RecordedRequest", "Answer"}
    names |= public(Answer) | public(ServedChat) | public(OpenAIStandIn) | public(Asked)
    names |= public(ModelReply) | public(FakeModel) | public(Failure)
    names |= {*inspect.signature(ServedChat).parameters, *inspect.signature(Failure).parameters}
    # What is the machinery's, or a base class's.
    names -= {*public(FakeModel.__base__), "wsgi_app", "replaces", "name", "before", "app"}
    names -= {"ServedChatError", "schema", "tools_given", "handoffs_given"}
    assert names - told(*names) == set()
