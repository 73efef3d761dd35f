"""Where the checkout's parts are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flask_chatkit"
STATIC = PACKAGE / "static"
DOCS = ROOT / "docs"
HELPERS = ROOT / "tests" / "helpers"
