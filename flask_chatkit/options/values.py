"""Checks of the values that options take: colours, locales, icons, addresses, lengths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from .. import validation
from ..validation import (
    Invalid,
    choice,
    flag,
    json_value,
    list_of,
    mapping_of,
    matching,
    nonempty,
    number,
    one_of,
    refuse,
    text,
)
from .names import UNSUPPORTED, camel, snake
from .translations import LOCALES

#: As :func:`flask_chatkit.validation.record` and ``switch``, with keys in either spelling.
record = partial(validation.record, read=snake, write=camel, reasons=UNSUPPORTED)
switch = partial(validation.switch, read=snake, write=camel, reasons=UNSUPPORTED)

_LOCALES = {locale.lower(): locale for locale in LOCALES}

ICONS = frozenset(
    """
agent analytics atom batch bolt book-open book-closed book-clock bug calendar chart check
check-circle check-circle-filled chevron-left chevron-right circle-question clock compass confetti
cube desktop document dots-horizontal dots-vertical empty-circle external-link globe keys lab
images info lifesaver lightbulb mail map-pin maps mobile name notebook notebook-pencil page-blank
phone play plus profile profile-card reload star star-filled search sparkle sparkle-double
square-code square-image square-text suitcase settings-slider user wreath write write-alt
write-alt2
""".split()
)

#: The icons of ChatKit's header, which has a set of its own.
HEADER_ICONS = frozenset(
    """
sidebar-left sidebar-right sidebar-open-left sidebar-open-right sidebar-open-left-alt
sidebar-open-right-alt sidebar-floating-left sidebar-floating-right sidebar-floating-open-left
sidebar-floating-open-right sidebar-collapse-left sidebar-collapse-right collapse-left
collapse-right open-left open-right double-chevron-left double-chevron-right home home-alt
back-small back-large expand-large collapse-large expand-small collapse-small star star-filled bug
chat-temporary settings-cog grid dots-horizontal dots-vertical dots-horizontal-circle
dots-vertical-circle menu menu-inverted hamburger history book-open compose share light-mode
dark-mode close
""".split()
)

#: The names of CSS Color 4, with its system colours.
COLOURS = frozenset(
    """
aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet
brown burlywood cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue
darkcyan darkgoldenrod darkgray darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange
darkorchid darkred darksalmon darkseagreen darkslateblue darkslategray darkslategrey darkturquoise
darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue firebrick floralwhite forestgreen
fuchsia gainsboro ghostwhite gold goldenrod gray green greenyellow grey honeydew hotpink indianred
indigo ivory khaki lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan
lightgoldenrodyellow lightgray lightgreen lightgrey lightpink lightsalmon lightseagreen
lightskyblue lightslategray lightslategrey lightsteelblue lightyellow lime limegreen linen magenta
maroon mediumaquamarine mediumblue mediumorchid mediumpurple mediumseagreen mediumslateblue
mediumspringgreen mediumturquoise mediumvioletred midnightblue mintcream mistyrose moccasin
navajowhite navy oldlace olive olivedrab orange orangered orchid palegoldenrod palegreen
paleturquoise palevioletred papayawhip peachpuff peru pink plum powderblue purple rebeccapurple
red rosybrown royalblue saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue
slateblue slategray slategrey snow springgreen steelblue tan teal thistle tomato turquoise violet
wheat white whitesmoke yellow yellowgreen transparent currentcolor
accentcolor accentcolortext activetext buttonborder buttonface buttontext canvas canvastext field
fieldtext graytext highlight highlighttext linktext mark marktext selecteditem selecteditemtext
visitedtext
""".split()
)

#: Pixels, beyond any screen.
LONGEST = 10**6


def script(name: str, _value: object) -> NoReturn:
    """A function, which no template can pass."""
    raise Invalid(f"{name} takes a JavaScript function and can't be given in a template")


def locale(name: str, value: object) -> str:
    """A locale of ChatKit's, in either spelling: ``de_DE`` or ``de-DE``."""
    found = closest_locale(text(name, value))
    return found or refuse(name, f"a locale of ChatKit's: {', '.join(LOCALES)}")


def closest_locale(name: str) -> str | None:
    """ChatKit's closest locale: the same, or one of the same language; None without either."""
    parts = name.replace("_", "-").lower().split("-")
    if parts[:2] == ["zh", "hans"]:
        return "zh-CN"
    language, last = parts[0], parts[-1]
    for candidate in ("-".join(parts), f"{language}-{last}", "-".join(parts[:2]), language):
        if candidate in _LOCALES:
            return _LOCALES[candidate]
    return None


def colour(name: str, value: object) -> str:
    """A single CSS colour; functions such as ``rgb()`` are left to the browser to interpret."""
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in COLOURS or re.fullmatch(
            r"#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})"
            r"|(rgba?|hsla?|hwb|lab|lch|oklab|oklch|color)\([\w\s.,/%+-]+\)",
            value,
            re.IGNORECASE,
        ):
            return value
    return refuse(name, "a CSS colour such as #0a7, rgb(0 170 119) or teal", value)


def radius(name: str, value: object) -> str:
    """ChatKit's word for the roundness, or the length that samples call ``borderRadius``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(px|rem)?", str(value))
    if match and not isinstance(value, bool):
        pixels = float(match[1]) * (16 if match[2] == "rem" else 1)
        steps = ((1, "sharp"), (7, "soft"), (17, "round"))
        return next((word for limit, word in steps if pixels < limit), "pill")
    if isinstance(value, str) and value in {"pill", "round", "soft", "sharp"}:
        return value
    return refuse(name, "one of pill, round, soft, sharp, or a length such as 8px", value)


def icon(name: str, value: object) -> str:
    """One of ChatKit's icons, or one of Lucide's as ``lucide:name``."""
    is_lucide = isinstance(value, str) and re.fullmatch(r"lucide:[a-z0-9][a-z0-9-]*", value)
    return str(value) if is_lucide else _icon(name, value)


def url(name: str, value: object) -> str:
    """An address that a page may link to: https, mailto, tel, or one of the site's own."""
    found = text(name, value).strip()
    # Browsers drop control characters, and could find a scheme then that was none before.
    if found and found.isprintable() and " " not in found:
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", found)
        if scheme is None or scheme[1].lower() in {"http", "https", "mailto", "tel"}:
            return found
    return refuse(name, "an address such as /help, https://… or mailto:…")


def prompt(name: str, value: object) -> Any:
    """A string, or a mapping with ``label``, ``prompt`` and ``icon``."""
    found = _PROMPT(name, value)
    return {"prompt": found["label"], **found}


def accepted_types(name: str, value: object) -> dict[str, list[str]]:
    """MIME types with their file suffixes, or a list of MIME types."""
    if isinstance(value, Mapping):
        return _SUFFIXES(name, value)  # type: ignore[no-any-return]
    return {kind: [] for kind in list_of(text)(name, value)}


def sizes(name: str, value: object) -> Any:
    """Bytes, or a mapping of MIME patterns to bytes."""
    check = number(1, unit="bytes")
    return (mapping_of(check) if isinstance(value, Mapping) else check)(name, value)


def header_action(name: str, value: object) -> Any:
    """A button in the header: ``icon``, and ``href`` for a link or ``action`` for a function.

    The page declares the function: ``FlaskChatKit.get().action("share", () => …)``.
    """
    found = _HEADER_ACTION(name, value)
    if ("href" in found) is ("action" in found):
        raise Invalid(f"{name} needs either href, an address, or action, a name")
    return found


def length(name: str, value: object) -> str:
    """A CSS length; a bare number is in pixels."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < LONGEST:
        return f"{value:g}px"
    if isinstance(value, str) and re.fullmatch(
        r"\d{1,9}(\.\d{1,9})?(px|r?em|ch|%|[sld]?v[hwib]|vmin|vmax)", value, re.ASCII
    ):
        return value
    return refuse(name, "a CSS length such as 600px or 80vh", value, str, int, float)


#: An HTML id.
identifier = matching(
    r"[A-Za-z][\w:.-]*", "an HTML id: a letter, then letters, digits, -, _, : and ."
)
#: A colour, or a mapping with ``level``, from 0 to 3.
accent = record(
    {"primary": colour, "level": number(0, 3)}, ["primary"], short="primary", defaults={"level": 1}
)
disclaimer = record({"text": text, "high_contrast": flag}, ["text"], short="text")
#: A string, False for none, or a mapping.
title = switch({"text": text}, short="text")
_SUFFIXES = mapping_of(list_of(text))
_icon = choice("lucide:name", *sorted(ICONS))
_PROMPT = record(
    {
        "label": text,
        "prompt": one_of("a string or a list", text, list_of(json_value)),
        "icon": icon,
    },
    ["label"],
    short="label",
)
_HEADER_ACTION = record(
    {
        "icon": choice(*sorted(HEADER_ICONS)),
        "href": url,
        "action": nonempty,
        "label": nonempty,
        "on_click": script,
    },
    required=["icon"],
)
