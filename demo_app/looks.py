"""The page of looks: the chat at home on four kinds of pages, and a bench to try its options on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, render_template, request
from werkzeug.datastructures import MultiDict

from flask_chatkit import OptionError

#: Characters of a text that somebody may put into a page by its address.
LONGEST_TEXT = 60

pages = Blueprint("looks", __name__, url_prefix="/looks")


@dataclass(frozen=True)
class Site:
    """A page that looks as those of a framework do; its style is ``static/look-<name>.css``."""

    name: str
    title: str
    about: str
    #: The attribute of ``<html>`` that says light or dark, and what it says when nobody chose.
    switch: str
    scheme: str | None
    #: What a chat takes from the page, and where it finds it.
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
    return lambda said: said if said in words else None


def _size(said: str) -> int | None:
    return int(said) if said in {"14", "15", "16", "17", "18"} else None


def _colour(said: str) -> str | None:
    return said.lower() if re.fullmatch(r"#[0-9A-Fa-f]{6}", said) else None


def _text(said: str) -> str | None:
    return said if len(said) <= LONGEST_TEXT and said.isprintable() else None


#: What the bench may ask for. The macros check more; this is what a link may do to a page here.
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
    """Show the pages side by side, with controls for what their chats are told."""
    return render_template("looks.html", sites=SITES.values(), longest=LONGEST_TEXT)


@pages.get("/<name>")
def look(name: str) -> str:
    """Show one of the pages, with a chat that is told what the address says."""
    site = SITES.get(name) or abort(404)
    asked = read(request.args)
    variant, scheme = asked.pop("variant", "themed"), asked.pop("scheme", site.scheme)
    # How high it is, its place decides; a panel has a height of its own.
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
    """What an address asks for, checked; a field that is left blank asks for nothing."""
    given = {name: said.strip() for name, said in args.items() if said.strip()}
    known = {**PAGE, **OPTIONS}
    if given.get("variant") == "floating":
        known |= LAUNCHER
    found = {}
    for name, said in given.items():
        found[name] = known[name](said) if name in known else None
        if found[name] is None:
            abort(400, f"{name} can't be {said!r} here.")
    if "teaser" in found:
        # Whoever tries it is not made to wait.
        found["teaser"] = {"text": found["teaser"], "delay": 1}
    return found
