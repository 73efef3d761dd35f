"""Options of the macros themselves: how the widget is presented, whatever its chat."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ..validation import Check, choice, flag, json_value, nonempty, number, refuse, text
from ..validation import record as mapping
from .translations import english
from .values import identifier, length, record, url

#: Bytes of what a page says it is about, as compact JSON in UTF-8.
PAGE_CONTEXT = 4096

#: Pixels. Smaller targets are hard to hit (WCAG 2.5.5).
SMALLEST_LAUNCHER = 44

#: The launcher's glyphs: SVG paths in a square of 24 by 24.
GLYPHS = {
    "chat": "M5 3h14a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3h-7l-6 4.5V17H5a3 3 0 0 1-3-3V6a3 3 0 0 1 3-3z",
    "headset": (
        "M12 3a9 9 0 0 0-9 9v6a2 2 0 0 0 2 2h3v-8H5a7 7 0 0 1 14 0h-3v8h3v.5H12v2h7a2 2 0 0 0 2-2"
        "V12a9 9 0 0 0-9-9z"
    ),
    "question": (
        "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm-1.2 13.2h2.4v2.4h-2.4zM12 5.8a4 4 0 0 1 4 4c0 "
        "2.4-2.8 2.9-2.8 4.4h-2.4c0-2.9 2.8-3 2.8-4.4a1.6 1.6 0 0 0-3.2 0H8a4 4 0 0 1 4-4z"
    ),
    "spark": "M12 2l2.4 7.6L22 12l-7.6 2.4L12 22l-2.4-7.6L2 12l7.6-2.4z",
}


def glyph(name: str, value: object) -> str:
    """One of the launcher's glyphs, or the address of an image."""
    if isinstance(value, str):
        if value in GLYPHS:
            return value
        if "/" in value or "." in value:
            return url(name, value)
    return refuse(name, f"one of {', '.join(sorted(GLYPHS))}, or the address of an image", value)


def launcher_size(name: str, value: object) -> str:
    """A length of at least 44 pixels."""
    size = length(name, value)
    match = re.fullmatch(r"([\d.]+)(px|rem)", size)
    if match is None or float(match[1]) * (16 if match[2] == "rem" else 1) < SMALLEST_LAUNCHER:
        refuse(name, f"a length in px or rem, of {SMALLEST_LAUNCHER}px or more")
    return size


def offset(name: str, value: object) -> list[str]:
    """How far from the screen's edges: a length, or two, the inline one first."""
    parts = value.split() if isinstance(value, str) else value
    if isinstance(parts, (int, float)):
        parts = [parts]
    if not isinstance(parts, Sequence) or not 1 <= len(parts) <= 2:
        refuse(name, 'a length such as 20px, or two, inline and block: "20px 5rem"', value)
    found = [length(name, part) for part in parts]
    return [found[0], found[-1]]


def strings(name: str, value: object) -> Any:
    """Translations in place of the widget's own; those of the built-in chat in ``chat``."""
    words = english()
    chat = mapping(dict.fromkeys(words["chat"], nonempty))
    return mapping({**dict.fromkeys(words["widget"], nonempty), "chat": chat})(name, value)


def page_context(name: str, value: object) -> Any:
    """What the page is about: a mapping of at most 4 kB, which the site's code gets."""
    found = json_value(name, value) if isinstance(value, dict) else None
    compact = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    if found is None or len(compact.encode(errors="replace")) > PAGE_CONTEXT:
        refuse(name, f"a mapping of at most {PAGE_CONTEXT} bytes of JSON", value, dict)
    return found


#: A string, or a mapping with ``delay``, in seconds.
teaser = record(
    {"text": nonempty, "delay": number(0, 3600, "seconds", whole=False)},
    ["text"],
    short="text",
    defaults={"delay": 5},
)
#: An address, or a mapping with ``label``.
contact = record({"href": url, "label": nonempty}, ["href"], short="href")

#: Options of all macros.
COMMON: dict[str, Check] = {
    "id": identifier,
    "class_name": text,
    "label": nonempty,
    "width": length,
    "height": length,
    "preset": choice("auto", "bootstrap", "shadcn", "pico", "plain"),
    "contact": contact,
    "strings": strings,
    "message_events": flag,
    "page": page_context,
}
_IN_FLOW: dict[str, Check] = {**COMMON, "load": choice("visible", "click", "consent")}
#: The options of each macro, by their snake_case names.
PRESENTATION: dict[str, dict[str, Check]] = {
    "floating": {
        **COMMON,
        "load": choice("click", "consent"),
        "side": choice("right", "left"),
        "edge": choice("bottom", "top"),
        "offset": offset,
        "size": launcher_size,
        "z_index": number(-(2**31), 2**31 - 1),
        "icon": glyph,
        "text": nonempty,
        "teaser": teaser,
        "panel_header": flag,
    },
    "inline": _IN_FLOW,
    "themed": _IN_FLOW,
}
