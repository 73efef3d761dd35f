"""The page of looks: the chat on four kinds of pages, with controls to try its options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, render_template, request
from werkzeug.datastructures import MultiDict

from flask_chatkit import OptionError

#: The most characters of a text in the address.
LONGEST_TEXT = 60

pages = Blueprint("looks", __name__, url_prefix="/looks")


@dataclass(frozen=True)
class Site:
    """A page in the style of a framework, which is in ``static/look-<name>.css``."""

    name: str
    title: str
    about: str
    #: The attribute of ``<html>`` for light or dark, and its default.
    switch: str
    scheme: str | None
    #: The parts of the look that a chat takes from the page, and their sources.
    source: str
    reads: Mapping[str, str]


SITES = {
    site.name: site
    for site in (
        Site(
            "bootstrap",
            "Bootstrap 5",
            "The colours, letters and corners of Bootstrap 5.3.",
            "data-bs-theme",
            "light",
            "its custom properties",
            {
                "Accent": "--bs-primary",
                "Background": "--bs-body-bg",
                "Text": "--bs-body-color",
                "Corners": "--bs-border-radius",
                "Letters": "--bs-body-font-family",
            },
        ),
        Site(
            "shadcn",
            "Tailwind and shadcn/ui",
            "The neutral theme that shadcn/ui starts with, on Tailwind 4.",
            "class",
            "light",
            "its custom properties",
            {
                "Accent": "--primary",
                "Background": "--background",
                "Text": "--foreground",
                "Corners": "--radius",
                "Letters": "--font-sans",
            },
        ),
        Site(
            "pico",
            "Pico 2",
            "The colours, letters and corners of Pico CSS 2.",
            "data-theme",
            "light",
            "its custom properties",
            {
                "Accent": "--pico-primary-background",
                "Background": "--pico-background-color",
                "Text": "--pico-color",
                "Corners": "--pico-border-radius",
                "Letters": "--pico-font-family",
            },
        ),
        Site(
            "plain",
            "A plain page",
            "A stylesheet of its own, with no custom property in it.",
            "data-theme",
            None,
            "what is painted",
            {
                "Accent": "the first button",
                "Background": "what lies behind it",
                "Text": "what stands around it",
                "Corners": "those of ChatKit",
                "Letters": "those around it",
            },
        ),
    )
}


def _word(*words: str) -> Callable[[str], str | None]:
    return lambda value: value if value in words else None


def _size(value: str) -> int | None:
    return int(value) if value in {"14", "15", "16", "17", "18"} else None


def _colour(value: str) -> str | None:
    return value.lower() if re.fullmatch(r"#[0-9A-Fa-f]{6}", value) else None


def _text(value: str) -> str | None:
    return value if len(value) <= LONGEST_TEXT and value.isprintable() else None


#: The options that a link may set on a page here; the macros check more.
PAGE = {
    "variant": _word("themed", "inline", "floating"),
    "scheme": _word("light", "dark"),
}
OPTIONS: dict[str, Callable[[str], Any]] = {
    "label": _text,
    "preset": _word("auto"),
    "accent": _colour,
    "radius": _word("sharp", "soft", "round", "pill"),
    "density": _word("compact", "normal", "spacious"),
    "base_size": _size,
}
LAUNCHER: dict[str, Callable[[str], Any]] = {
    "side": _word("right", "left"),
    "edge": _word("bottom", "top"),
    "icon": _word("chat", "question", "spark", "headset"),
    "text": _text,
    "teaser": _text,
}


@pages.get("")
def bench() -> str:
    """Show the pages side by side, with controls for the options of their chats."""
    return render_template("looks.html", sites=SITES.values(), longest=LONGEST_TEXT)


@pages.get("/<name>")
def look(name: str) -> str:
    """Show one of the pages, with a chat that has the options of the address."""
    site = SITES.get(name) or abort(404)
    asked = read(request.args)
    variant, scheme = asked.pop("variant", "themed"), asked.pop("scheme", site.scheme)
    # A chat within the page needs a height; a panel has its own.
    options = asked if variant == "floating" else {"height": "28rem", **asked}
    try:
        return render_template(
            "look.html",
            site=site,
            variant=variant,
            scheme=scheme,
            options=options,
            takes_look=variant == "themed" or "preset" in options,
        )
    except OptionError as error:
        abort(400, str(error))


def read(args: MultiDict[str, str]) -> dict[str, Any]:
    """Return the checked options of an address; empty fields are ignored."""
    given = {name: value.strip() for name, value in args.items() if value.strip()}
    known = {**PAGE, **OPTIONS}
    if given.get("variant") == "floating":
        known |= LAUNCHER
    found = {}
    for name, value in given.items():
        found[name] = known[name](value) if name in known else None
        if found[name] is None:
            abort(400, f"{name} can't be {value!r} here.")
    if "teaser" in found:
        # Shown soon, for somebody who tries it.
        found["teaser"] = {"text": found["teaser"], "delay": 1}
    return found
