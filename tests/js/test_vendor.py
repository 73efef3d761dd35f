"""The modules of others: which ones there are, and what is written about them."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from tests.helpers.paths import STATIC

SCRIPT = Path(__file__).parents[2] / ".ci" / "vendor"
VENDOR = STATIC / "vendor"


def test_modules_of_others_are_pinned_and_listed() -> None:
    """Each file has the version that is pinned, and its row among the third-party files."""
    script = runpy.run_path(str(SCRIPT))
    listed = (STATIC / "THIRD-PARTY.md").read_text("utf-8")
    names = set()
    for package in script["PACKAGES"]:
        assert re.fullmatch(r"sha512-[\w+/]+=*", package.integrity)
        name, _, version = package.spec.rpartition("@")
        for module, copy in package.modules.items():
            names.add(copy)
            assert version in (VENDOR / copy).read_text("utf-8")
            shown, listing = (module, copy)
            if copy.startswith("highlight/") and copy != "highlight/core.mjs":
                shown, listing = "es/languages/*.min.js", "highlight/*.mjs"
            row = rf"\| `vendor/{re.escape(listing)}` \| \[{name}\]\(.*`{re.escape(shown)}`"
            assert re.search(rf"{row} \| {re.escape(version)} \|", listed), row
    found = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert names == found


def test_languages_are_those_that_are_there() -> None:
    """Code is coloured in each language that is among the modules, and in no other."""
    code = (STATIC / "builtin" / "code.js").read_text("utf-8")
    (table,) = re.findall(r"const LANGUAGES = \{(.*?)\};", code, re.DOTALL)
    languages = re.findall(r"^  (\w+):", table, re.MULTILINE)
    assert tuple(languages) == runpy.run_path(str(SCRIPT))["LANGUAGES"]
