"""Chromium as the tests, the benches and the gallery start it: nothing but the page is its work."""

from __future__ import annotations

import shutil

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: Its popup of the address bar and its spare renderer cost each new profile more than most tests
#: do; the rest is of the list of Playwright that this replaces.
DISABLED = (
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "SpareRendererForSitePerProcess",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    f"--disable-features={','.join(DISABLED)}",
    # No name but localhost resolves in it.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]
MISSING = f"put one of {', '.join(PROGRAMS)} on the PATH"


def program() -> str | None:
    """Find it; None if it is not there."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)
