"""What is built: the wheel has the package alone, the source distribution all to work on it."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef, unused-ignore]

ROOT = Path(__file__).parent.parent
#: What is no part of a checkout, or made in it.
MADE = (
    *("__pycache__", "*.egg-info", "build", "dist", "instance", "node_modules", "_build"),
    *(".git", ".venv", ".nox", ".*_cache", ".coverage*"),
)
#: The kinds of files that the wheel has, by folder; every folder below has the same.
KINDS = {
    "flask_chatkit": {".py", ".typed"},
    "flask_chatkit/static": {".css", ".js", ".json", ".md", ".mjs", ".ts"},
    "flask_chatkit/templates": {".html"},
    "flask_chatkit/testing/element": {".css", ".html", ".js"},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Build the source distribution, and the wheel from it, of a copy of the tree."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*MADE))
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(folder / "source")],
        check=True,
        capture_output=True,
        timeout=300,
    )
    yield folder
    shutil.rmtree(folder)


def files_of(*folders: str) -> set[str]:
    """The files of a checkout in these folders, without what is made there."""
    ignored = shutil.ignore_patterns(*MADE)
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not ignored("", list(path.relative_to(ROOT).parts))
    }


def wheels_files(built: Path) -> set[str]:
    """The names of the wheel's files, without its metadata."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_wheel_holds_everything(built: Path) -> None:
    """The wheel has every file of the package, and installs nothing beside it."""
    held = wheels_files(built)
    assert held == files_of("flask_chatkit")
    for wanted in (
        "flask_chatkit/py.typed",
        "flask_chatkit/static/loader.js",
        "flask_chatkit/templates/chatkit/macros.html",
        "flask_chatkit/testing/element/chatkit.js",
    ):
        assert wanted in held


def test_wheel_holds_files_of_known_kinds_only(built: Path) -> None:
    """Each folder of the wheel has files of the kinds that are listed here, and of no other."""
    found: dict[str, set[str]] = {}
    for name in wheels_files(built):
        room = max((folder for folder in KINDS if name.startswith(f"{folder}/")), key=len)
        found.setdefault(room, set()).add(Path(name).suffix)
    for room, kinds in KINDS.items():
        assert found[room] <= kinds, room


def test_source_distribution_holds_demo_tests_and_docs(built: Path) -> None:
    """The source distribution has the demo, the tests, the docs and the gate, and nothing made."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        held = {member.name.partition("/")[2] for member in source.getmembers() if member.isfile()}
    wanted = files_of("flask_chatkit", "demo_app", "docs", "tests", ".ci")
    assert wanted <= held
    extra = {name for name in held - wanted if "/" in name}
    assert all(name.startswith("flask_chatkit.egg-info/") for name in extra), extra
    assert {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "SECURITY.md", "noxfile.py"} <= held


def test_no_field_stands_in_both_files() -> None:
    """Metadata is in pyproject.toml, packing in setup.cfg, and nothing in both."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packing = configparser.ConfigParser()
    packing.read(ROOT / "setup.cfg")
    fields = {key for section in packing.sections() for key in packing[section]}
    assert "metadata" not in packing.sections()
    assert "setuptools" not in project["tool"]
    assert not fields & set(project["project"])


def test_packages_whose_private_names_are_used_have_upper_bounds() -> None:
    """A new minor version of openai-chatkit or openai-agents is installed after it was tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    server = {
        re.split(r"[^\w-]", requirement)[0]: requirement
        for requirement in project["project"]["optional-dependencies"]["server"]
    }
    for name in ("openai-agents", "openai-chatkit"):
        assert re.fullmatch(rf"{name}>=\d+\.\d+(\.\d+)?,<\d+\.\d+", server[name])
