"""What a macro may be told: each option, its accepted form, and what ChatKit's element calls it.

Only this module knows ChatKit's option names. They are those of ``ChatKitOptions`` in
``@openai/chatkit`` 1.9.0; the aliases are names that samples on the web use for things that exist
under another name, or don't exist at all.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

from ..errors import OptionError
from .translations import LOCALES, english

Check = Callable[[str, Any], Any]

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

#: The icons of ChatKit's header, which are others.
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


def _wrong(path: str, form: str) -> NoReturn:
    raise OptionError(f"{path} must be {form}")


def _listed(names: Sequence[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))


def text(path: str, value: object) -> str:
    """A text; a lazily translated one counts."""
    if value is None or isinstance(value, (bool, int, float, bytes, Mapping, list, tuple)):
        _wrong(path, "a text")
    return str(value)


def filled(path: str, value: object) -> str:
    """A text that is not blank, since it names something."""
    said = text(path, value)
    return said if said.strip() else _wrong(path, "a text that is not blank")


def flag(path: str, value: object) -> bool:
    """True or False."""
    return value if isinstance(value, bool) else _wrong(path, "True or False")


def word(*valid: str) -> Check:
    """One of a few words."""

    def check(path: str, value: object) -> str:
        if value not in valid:
            _wrong(path, "one of " + ", ".join(valid))
        return value

    return check


def number(low: int, high: int | None = None, *, whole: bool = True) -> Check:
    """A number within bounds; a bool is not one."""
    kind = "a whole number" if whole else "a number"
    form = f"{kind} from {low} to {high}" if high is not None else f"{kind} of {low} or more"

    def check(path: str, value: object) -> int | float:
        accepted = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, accepted):
            _wrong(path, form)
        if not value >= low or (high is not None and not value <= high):
            _wrong(path, form)
        return value

    return check


def each(check: Check) -> Check:
    """A list."""

    def checked(path: str, value: object) -> list[Any]:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
            _wrong(path, "a list")
        return [check(f"{path}[{index}]", item) for index, item in enumerate(value)]

    return checked


def plain(path: str, value: object) -> Any:
    """Anything JSON can say."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        _wrong(path, "something that JSON can say")


def script(path: str, _value: object) -> NoReturn:
    """A function, which no template can hand over."""
    raise OptionError(f"{path} takes a JavaScript function and can't be given in a template")


def one_of(*checks: Check) -> Check:
    """The first form that fits."""

    def check(path: str, value: object) -> Any:
        forms = []
        for candidate in checks:
            try:
                return candidate(path, value)
            except OptionError as error:
                forms.append(str(error).removeprefix(f"{path} must be "))
        _wrong(path, "; or ".join(forms))

    return check


def record(fields: Mapping[str, Check], required: Sequence[str] = ()) -> Check:
    """A mapping with known keys, written in snake_case or as ChatKit writes them."""

    def check(path: str, value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            _wrong(path, f"a mapping with {', '.join(fields)}")
        result = {}
        for name, item in value.items():
            key = snake(name)
            if key not in fields:
                raise _unknown(f"{path}.{name}", key, fields)
            result[camel(key)] = fields[key](f"{path}.{name}", item)
        for key in required:
            if camel(key) not in result:
                raise OptionError(f"{path} needs {key}")
        return result

    return check


def switch(fields: Mapping[str, Check]) -> Check:
    """True, False, or a mapping, which is enabled unless it says otherwise."""
    whole = record({"enabled": flag, **fields})

    def check(path: str, value: object) -> dict[str, Any]:
        if isinstance(value, bool):
            return {"enabled": value}
        if not isinstance(value, Mapping):
            _wrong(path, f"True, False or a mapping with {', '.join(fields)}")
        return {"enabled": True, **whole(path, value)}

    return check


def locale(path: str, value: object) -> str:
    """A locale that ChatKit speaks, in either spelling: ``de_DE`` or ``de-DE``."""
    found = closest_locale(text(path, value))
    return found or _wrong(path, f"a locale that ChatKit speaks: {', '.join(LOCALES)}")


def closest_locale(name: str) -> str | None:
    """ChatKit's closest locale, or None: it falls back to the language."""
    parts = name.replace("_", "-").lower().split("-")
    if parts[:2] == ["zh", "hans"]:
        return "zh-CN"
    language, last = parts[0], parts[-1]
    for candidate in ("-".join(parts), f"{language}-{last}", "-".join(parts[:2]), language):
        if candidate in _LOCALES:
            return _LOCALES[candidate]
    return None


def colour(path: str, value: object) -> str:
    """A CSS colour; what it means is the browser's matter, but it is one value."""
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in COLOURS or re.fullmatch(
            r"#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})"
            r"|(rgba?|hsla?|hwb|lab|lch|oklab|oklch|color)\([\w\s.,/%+-]+\)",
            value,
            re.IGNORECASE,
        ):
            return value
    _wrong(path, "a CSS colour such as #0a7, rgb(0 170 119) or teal")


def accent(path: str, value: object) -> dict[str, Any]:
    """A colour, or a mapping with ``primary`` and ``level`` (0 to 3, 1 by default)."""
    if isinstance(value, str):
        value = {"primary": value}
    fields = {"primary": colour, "level": number(0, 3)}
    return {"level": 1, **record(fields, required=["primary"])(path, value)}


def radius(path: str, value: object) -> str:
    """ChatKit's word for the roundness, or the length that samples call ``borderRadius``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(px|rem)?", str(value))
    if match and not isinstance(value, bool):
        pixels = float(match[1]) * (16 if match[2] == "rem" else 1)
        steps = ((1, "sharp"), (7, "soft"), (17, "round"))
        return next((name for limit, name in steps if pixels < limit), "pill")
    if isinstance(value, str) and value in {"pill", "round", "soft", "sharp"}:
        return value
    _wrong(path, "one of pill, round, soft, sharp, or a length such as 8px")


def icon(path: str, value: object) -> str:
    """One of ChatKit's icons, or one of Lucide's as ``lucide:name``."""
    if isinstance(value, str) and (
        value in ICONS or re.fullmatch(r"lucide:[a-z0-9][a-z0-9-]*", value)
    ):
        return value
    _wrong(path, f"lucide:name or one of {_listed(ICONS)}")


def prompt(path: str, value: object) -> dict[str, Any]:
    """A text, or a mapping with ``label``, ``prompt`` and ``icon``."""
    if not isinstance(value, Mapping):
        said = text(path, value)
        return {"label": said, "prompt": said}
    fields = {"label": text, "prompt": one_of(text, each(plain)), "icon": icon}
    found = record(fields, required=["label"])(path, value)
    return {"prompt": found["label"], **found}


def accepted_types(path: str, value: object) -> dict[str, list[str]]:
    """MIME types with their endings, or a list of MIME types."""
    if isinstance(value, Mapping):
        return {text(path, kind): each(text)(path, endings) for kind, endings in value.items()}
    return {kind: [] for kind in each(text)(path, value)}


def sizes(path: str, value: object) -> int | dict[str, int]:
    """Bytes, or a mapping of MIME patterns to bytes."""
    if isinstance(value, Mapping):
        return {text(path, kind): number(1)(path, size) for kind, size in value.items()}
    return cast("int", number(1)(path, value))


def url(path: str, value: object) -> str:
    """An address that a page may lead to: https, mailto, tel, or one of the site's own."""
    said = text(path, value).strip()
    # Browsers drop control characters, and with them what would tell a scheme.
    if said and said.isprintable() and " " not in said:
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", said)
        if scheme is None or scheme[1].lower() in {"http", "https", "mailto", "tel"}:
            return said
    _wrong(path, "an address such as /help, https://… or mailto:…")


def header_action(path: str, value: object) -> dict[str, Any]:
    """A button in the header: ``icon``, and ``href`` for a link or ``action`` for a function.

    The page declares the function: ``FlaskChatKit.get().action("share", () => …)``.
    """
    fields: dict[str, Check] = {
        "icon": header_icon,
        "href": url,
        "action": filled,
        "label": filled,
        "on_click": script,
    }
    found = record(fields, required=["icon"])(path, value)
    if ("href" in found) is ("action" in found):
        raise OptionError(f"{path} needs either href, an address, or action, a name")
    return cast("dict[str, Any]", found)


def header_icon(path: str, value: object) -> str:
    """One of the icons of ChatKit's header."""
    if isinstance(value, str) and value in HEADER_ICONS:
        return value
    _wrong(path, f"one of {_listed(HEADER_ICONS)}")


_FONT = record(
    {
        "family": text,
        "src": text,
        "weight": one_of(text, number(1, 1000)),
        "style": word("normal", "italic", "oblique"),
        "display": word("auto", "block", "swap", "fallback", "optional"),
        "unicode_range": text,
    },
    required=["family", "src"],
)
_TYPOGRAPHY: dict[str, Check] = {
    "base_size": number(14, 18),
    "font_sources": each(_FONT),
    "font_family": text,
    "font_family_mono": text,
}
_SURFACE: dict[str, Check] = {"background": colour, "foreground": colour}
_GRAYSCALE = record(
    {"hue": number(0, 360, whole=False), "tint": number(0, 9), "shade": number(-4, 4)},
    required=["hue", "tint"],
)
_THEME: dict[str, Check] = {
    "color_scheme": word("auto", "light", "dark"),
    "typography": record(_TYPOGRAPHY),
    "radius": radius,
    "density": word("compact", "normal", "spacious"),
    "color": record(
        {
            "grayscale": _GRAYSCALE,
            "accent": accent,
            "surface": record(_SURFACE, required=list(_SURFACE)),
        }
    ),
}
_ATTACHMENTS: dict[str, Check] = {
    "max_size": sizes,
    "max_count": number(1),
    "accept": accepted_types,
}
_TOOL = record(
    {
        "id": text,
        "label": text,
        "icon": icon,
        "short_label": text,
        "placeholder_override": text,
        "pinned": flag,
        "persistent": flag,
    },
    required=["id", "label", "icon"],
)
_MODEL = record(
    {"id": text, "label": text, "description": text, "disabled": flag, "default": flag},
    required=["id", "label"],
)
_START: dict[str, Check] = {"greeting": text, "prompts": each(prompt)}
_ITEM_ACTIONS: dict[str, Check] = {"feedback": flag, "retry": flag}
_COMPOSER: dict[str, Check] = {
    "placeholder": text,
    "attachments": switch(_ATTACHMENTS),
    "tools": each(_TOOL),
    "models": each(_MODEL),
    "dictation": switch({}),
}


def _title(path: str, value: object) -> dict[str, Any]:
    if isinstance(value, (bool, Mapping)):
        return cast("dict[str, Any]", switch({"text": text})(path, value))
    return {"enabled": True, "text": text(path, value)}


def _disclaimer(path: str, value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        fields = {"text": text, "high_contrast": flag}
        return cast("dict[str, Any]", record(fields, required=["text"])(path, value))
    return {"text": text(path, value)}


def _thread(path: str, value: object) -> str | None:
    return None if value is None else text(path, value)


#: The options of ChatKit's element, by their snake_case names.
ELEMENT: dict[str, Check] = {
    "locale": locale,
    "theme": plain,
    "frame_title": text,
    "initial_thread": _thread,
    "header": switch(
        {"title": _title, "left_action": header_action, "right_action": header_action}
    ),
    "history": switch({"show_delete": flag, "show_rename": flag}),
    "start_screen": record(_START),
    "thread_item_actions": record(_ITEM_ACTIONS),
    "composer": record(_COMPOSER),
    "disclaimer": _disclaimer,
    "entities": record(
        {
            "show_composer_menu": flag,
            "on_tag_search": script,
            "on_click": script,
            "on_request_preview": script,
        }
    ),
    "commands": switch({"on_search": script, "on_select": script}),
    "widgets": record({"on_action": script}),
    "thread": record({"auto_scroll": flag}),
    "on_client_tool": script,
    "api": lambda path, _: _wrong(path, "left out: it comes from the chat's declaration"),
}

#: Short names for what lies deeper: where it belongs, and its form.
SHORT: dict[str, tuple[tuple[str, ...], Check]] = {
    "title": (("header", "title"), _title),
    "greeting": (("start_screen", "greeting"), text),
    "prompts": (("start_screen", "prompts"), each(prompt)),
    "placeholder": (("composer", "placeholder"), text),
    "attachments": (("composer", "attachments"), switch(_ATTACHMENTS)),
    "tools": (("composer", "tools"), each(_TOOL)),
    "models": (("composer", "models"), each(_MODEL)),
    "dictation": (("composer", "dictation"), switch({})),
    "feedback": (("thread_item_actions", "feedback"), flag),
    "retry": (("thread_item_actions", "retry"), flag),
    "auto_scroll": (("thread", "auto_scroll"), flag),
    "accent": (("theme", "color", "accent"), accent),
    "grayscale": (("theme", "color", "grayscale"), _GRAYSCALE),
    "background": (("theme", "color", "surface", "background"), colour),
    "foreground": (("theme", "color", "surface", "foreground"), colour),
    "radius": (("theme", "radius"), radius),
    "density": (("theme", "density"), _THEME["density"]),
    "font_family": (("theme", "typography", "font_family"), text),
    "font_family_mono": (("theme", "typography", "font_family_mono"), text),
    "font_sources": (("theme", "typography", "font_sources"), each(_FONT)),
    "base_size": (("theme", "typography", "base_size"), _TYPOGRAPHY["base_size"]),
    "max_file_size": (("composer", "attachments", "max_size"), sizes),
    "accepted_file_types": (("composer", "attachments", "accept"), accepted_types),
}

#: Names seen in samples, and the option that does what they promise.
ALIASES = {
    "primary_color": "accent",
    "background_color": "background",
    "text_color": "foreground",
    "border_radius": "radius",
    "font_size": "base_size",
    "welcome_message": "greeting",
    "enable_file_upload": "attachments",
    "enable_voice_input": "dictation",
}

_MESSAGES = "ChatKit colours the whole surface, not single messages: use background and foreground"
_EVENTS = "it is an event of the widget, for the site's JavaScript"
#: Names seen in samples that nothing stands behind, and why.
IMPOSSIBLE = {
    "message_background": _MESSAGES,
    "user_message_color": _MESSAGES,
    "bot_message_color": _MESSAGES,
    "max_message_length": "ChatKit's element has no such option; an own server enforces it",
    "show_thinking": "the server of a chat decides what it shows of its thinking",
    "thinking_style": "the server of a chat decides what it shows of its thinking",
    "tool_visualization": "the server of a chat decides what it shows of its tools",
    "on_message": _EVENTS,
    "on_tool_invocation": _EVENTS,
    "on_error": _EVENTS,
    "custom_widgets": "widgets are JSON that the server of a chat writes",
    "workflow_id": "the chat's declaration names the workflow: name the chat instead",
    "user": "the login or the visitor cookie tells who the visitor is",
    "user_id": "the login or the visitor cookie tells who the visitor is",
    "client_secret": "a secret has no place in a page",
    "api_key": "a key has no place in a page",
}

#: What only a chat served by the site itself can do.
SERVED_ONLY = {
    "tools": "choosing a tool",
    "models": "choosing a model",
    "dictation": "dictation",
}


def length(path: str, value: object) -> str:
    """A CSS length; a bare number is pixels."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < LONGEST:
        return f"{value:g}px"
    if isinstance(value, str) and re.fullmatch(
        r"\d{1,9}(\.\d{1,9})?(px|r?em|ch|%|[sld]?v[hwib]|vmin|vmax)", value, re.ASCII
    ):
        return value
    _wrong(path, "a CSS length such as 600px or 80vh")


def identifier(path: str, value: object) -> str:
    """An HTML id."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][\w:.-]*", value):
        _wrong(path, "an HTML id: a letter, then letters, digits, -, _, : and .")
    return value


#: Pixels, beyond any screen.
LONGEST = 10**6
#: The contrast ratio that WCAG 2 asks of text at level AA.
AA = 4.5
#: Pixels. Smaller targets are hard to hit (WCAG 2.5.5).
SMALLEST_LAUNCHER = 44

#: The glyphs a launcher may wear, drawn in 24 by 24.
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


def glyph(path: str, value: object) -> str:
    """One of the launcher's glyphs, or the address of an image."""
    if isinstance(value, str):
        if value in GLYPHS:
            return value
        if "/" in value or "." in value:
            return url(path, value)
    _wrong(path, f"one of {_listed(frozenset(GLYPHS))}, or the address of an image")


def launcher_size(path: str, value: object) -> str:
    """A length of at least 44 pixels."""
    size = length(path, value)
    match = re.fullmatch(r"([\d.]+)(px|rem)", size)
    if match is None or float(match[1]) * (16 if match[2] == "rem" else 1) < SMALLEST_LAUNCHER:
        _wrong(path, f"a length in px or rem, of {SMALLEST_LAUNCHER}px or more")
    return size


def offset(path: str, value: object) -> list[str]:
    """How far from the screen's edges: a length, or two, the inline one first."""
    parts = value.split() if isinstance(value, str) else value
    if isinstance(parts, (int, float)):
        parts = [parts]
    if not isinstance(parts, Sequence) or not 1 <= len(parts) <= 2:
        _wrong(path, 'a length such as 20px, or two, inline and block: "20px 5rem"')
    found = [length(path, part) for part in parts]
    return [found[0], found[-1]]


def teaser(path: str, value: object) -> dict[str, Any]:
    """A text, or a mapping with ``text`` and ``delay``, in seconds."""
    if not isinstance(value, Mapping):
        value = {"text": value}
    fields = {"text": filled, "delay": number(0, 3600, whole=False)}
    return {"delay": 5, **record(fields, required=["text"])(path, value)}


def contact(path: str, value: object) -> dict[str, Any]:
    """An address, or a mapping with ``href`` and ``label``."""
    if not isinstance(value, Mapping):
        value = {"href": value}
    found = record({"href": url, "label": filled}, required=["href"])(path, value)
    return cast("dict[str, Any]", found)


def strings(path: str, value: object) -> dict[str, Any]:
    """Other words for the widget's own, and in ``chat`` for those of the built-in chat."""
    words = english()

    def check(path: str, value: object, known: Mapping[str, str], *more: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            _wrong(path, f"a mapping with some of {', '.join([*known, *more])}")
        for name in value:
            if name not in known and name not in more:
                raise _unknown(f"{path}.{name}", str(name), [*known, *more])
        return {
            name: check(f"{path}.chat", said, words["chat"])
            if name in more
            else filled(f"{path}.{name}", said)
            for name, said in value.items()
        }

    return check(path, value, words["widget"], "chat")


#: Options of the macros themselves.
COMMON: dict[str, Check] = {
    "id": identifier,
    "class_name": text,
    "label": filled,
    "width": length,
    "height": length,
    "preset": word("auto", "bootstrap", "shadcn", "pico", "plain"),
    "contact": contact,
    "strings": strings,
    "message_events": flag,
}
_IN_FLOW: dict[str, Check] = {**COMMON, "load": word("visible", "click", "consent")}
PRESENTATION: dict[str, dict[str, Check]] = {
    "floating": {
        **COMMON,
        "load": word("click", "consent"),
        "side": word("right", "left"),
        "edge": word("bottom", "top"),
        "offset": offset,
        "size": launcher_size,
        "z_index": number(-(2**31), 2**31 - 1),
        "icon": glyph,
        "text": filled,
        "teaser": teaser,
        "panel_header": flag,
    },
    "inline": _IN_FLOW,
    "themed": _IN_FLOW,
}


def snake(name: object) -> str:
    """``startScreen`` and ``start_screen`` are one name."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), str(name))


def camel(name: str) -> str:
    """The name as ChatKit writes it."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _unknown(shown: str, key: str, valid: Mapping[str, object] | Sequence[str]) -> OptionError:
    if key in IMPOSSIBLE:
        return OptionError(f"there is no option {shown}: {IMPOSSIBLE[key]}")
    close = difflib.get_close_matches(key, valid, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return OptionError(f"there is no option {shown}; {hint}Valid options: {', '.join(valid)}")


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _theme(value: object) -> dict[str, Any]:
    """``theme=``: a word, or a mapping of ChatKit's theme options and of the short names."""
    if isinstance(value, str):
        value = {"color_scheme": value}
    if not isinstance(value, Mapping):
        _wrong("theme", "auto, light, dark or a mapping")
    theme: dict[str, Any] = {}
    short = {name: path for name, (path, _) in SHORT.items() if path[0] == "theme"}
    for name, item in value.items():
        key = _known(name)
        if key in _THEME:
            _merge(theme, {camel(key): _THEME[key](f"theme.{name}", item)})
        elif key in short:
            _merge(theme, _nested(short[key][1:], SHORT[key][1](f"theme.{name}", item)))
        else:
            raise _unknown(f"theme.{name}", key, [*_THEME, *short])
    if theme.get("colorScheme") == "auto":
        # Left out for the element: the page's own light or dark decides, in the browser.
        del theme["colorScheme"]
    return theme


def element_options(
    given: Mapping[str, Any], *, hosted: bool, variant: str | None = None
) -> dict[str, Any]:
    """Check options, and turn them into what ``setOptions`` takes, without ``api``.

    :param given: options by any of their names, and ``options``, the raw form.
    :param hosted: whether OpenAI runs the chat, which rules some options out.
    :param variant: the macro that was given them, whose own options are valid names too.
    :raises OptionError: an option is wrong; the message names the valid ones.
    """
    options: dict[str, Any] = {}
    raw = given.get("options") or {}
    if not isinstance(raw, Mapping):
        _wrong("options", "a mapping of ChatKit's options")
    for source in (raw, {name: value for name, value in given.items() if name != "options"}):
        # The short names come last: they refine what the long ones set.
        for name in sorted(source, key=lambda name: _known(name) in SHORT):
            _merge(options, _element_option(str(name), source[name], variant))
    _check_surface(options)
    attachments = options.get("composer", {}).get("attachments")
    if attachments is not None:
        attachments.setdefault("enabled", True)
    if hosted:
        _check_hosted(options)
    return options


def _known(name: object) -> str:
    return ALIASES.get(snake(name), snake(name))


def _element_option(name: str, value: object, variant: str | None) -> dict[str, Any]:
    key = _known(name)
    if key == "theme":
        return {"theme": _theme(value)}
    if key in ELEMENT:
        return {camel(key): ELEMENT[key](name, value)}
    if key in SHORT:
        path, check = SHORT[key]
        return _nested(path, check(name, value))
    if variant is None and any(key in own for own in PRESENTATION.values()):
        raise OptionError(f"{name} is an option of the macros, to be given to them")
    own = ("kit", "nonce", *PRESENTATION[variant]) if variant else ()
    raise _unknown(name, key, [*own, *ELEMENT, *SHORT])


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for part in reversed(path):
        value = {camel(part): value}
    return cast("dict[str, Any]", value)


def _check_hosted(options: Mapping[str, Any]) -> None:
    for key, what in SERVED_ONLY.items():
        value = options.get("composer", {}).get(key)
        if value and value != {"enabled": False}:
            raise OptionError(
                f"{key}: {what} works only in a chat that the site serves itself; "
                "OpenAI's hosted chats ignore it or break"
            )


def _check_surface(options: dict[str, Any]) -> None:
    """ChatKit wants both colours of a surface; the missing one is black or white, by contrast."""
    surface = options.get("theme", {}).get("color", {}).get("surface")
    if surface is None or len(surface) != 1:
        return
    (name,) = surface
    other = "foreground" if name == "background" else "background"
    contrast = on_colour(surface[name])
    if contrast is None:
        raise OptionError(f"{name} needs {other} too, unless it is written as #rrggbb")
    surface[other] = contrast


def on_colour(value: str) -> str | None:
    """Black or white, whichever can be read on a hex colour; None for another notation."""
    luminance = _luminance(value)
    if luminance is None:
        return None
    # The one with the higher contrast ratio of WCAG 2.
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"


def ink_on(accent: str) -> str | None:
    """White where it can be read on a hex colour, as buttons have it, else black; None as above."""
    luminance = _luminance(accent)
    if luminance is None:
        return None
    return "#ffffff" if 1.05 / (luminance + 0.05) >= AA else "#000000"


def _luminance(value: str) -> float | None:
    """The relative luminance of a hex colour, as WCAG 2 defines it."""
    digits = value.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    if not value.startswith("#") or len(digits) != 6:
        return None
    channels = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def split(variant: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell a macro's own options, which are checked, from those of the element.

    :raises OptionError: an own option is wrong, or belongs to another macro.
    """
    checks = PRESENTATION[variant]
    own: dict[str, Any] = {}
    element: dict[str, Any] = {}
    for name, value in given.items():
        key = snake(name)
        if key in checks:
            own[key] = checks[key](name, value)
        else:
            elsewhere = [macro for macro, others in PRESENTATION.items() if key in others]
            if elsewhere:
                raise OptionError(
                    f"{name} is an option of chatkit_{elsewhere[0]}, not of chatkit_{variant}; "
                    f"its own options: {', '.join(checks)}"
                )
            element[name] = value
    return own, element
