"""The modules of others: which ones there are, and what is written about them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.paths import STATIC

SCRIPT = Path(__file__).parents[2] / ".ci" / "vendor"
PIN = re.compile(
    r'"(?P<package>[a-z]+)@(?P<version>[\d.]+)",\s+"sha512-[\w+/]+=*",\s+"(?P<module>[\w./]+)",'
    r'\s+"(?P<name>[\w.]+)",'
)


def test_modules_of_others_are_pinned_and_listed() -> None:
    """Each file has the version that is pinned, and its row among the third-party files."""
    pins = list(PIN.finditer(SCRIPT.read_text("utf-8")))
    assert {pin["name"] for pin in pins} == {path.name for path in (STATIC / "vendor").iterdir()}
    listed = (STATIC / "THIRD-PARTY.md").read_text("utf-8")
    for pin in pins:
        head = (STATIC / "vendor" / pin["name"]).read_text("utf-8")[:300]
        assert pin["package"] in head.lower()
        assert re.search(rf"\bv?{re.escape(pin['version'])}\b", head)
        package = rf"\[{pin['package']}\]\(.*`{pin['module']}`"
        row = rf"\| `vendor/{pin['name']}` \| {package} \| {pin['version']} \|"
        assert re.search(row, listed), row
