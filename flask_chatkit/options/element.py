"""The options of ChatKit's element: each one's check, by its snake_case name.

Only this module and :mod:`.names` know the names of ChatKit's options. They are those of
``ChatKitOptions`` in ``@openai/chatkit`` 1.9.0.
"""

from __future__ import annotations

from ..validation import Check, choice, flag, json_value, list_of, number, one_of, refuse, text
from . import values
from .values import record, switch

_FONT = record(
    {
        "family": text,
        "src": text,
        "weight": one_of("a string or a whole number from 1 to 1000", text, number(1, 1000)),
        "style": choice("normal", "italic", "oblique"),
        "display": choice("auto", "block", "swap", "fallback", "optional"),
        "unicode_range": text,
    },
    required=["family", "src"],
)
_TYPOGRAPHY: dict[str, Check] = {
    "base_size": number(14, 18),
    "font_sources": list_of(_FONT),
    "font_family": text,
    "font_family_mono": text,
}
_SURFACE: dict[str, Check] = {"background": values.colour, "foreground": values.colour}
_GRAYSCALE = record(
    {"hue": number(0, 360, whole=False), "tint": number(0, 9), "shade": number(-4, 4)},
    required=["hue", "tint"],
)
THEME: dict[str, Check] = {
    "color_scheme": choice("auto", "light", "dark"),
    "typography": record(_TYPOGRAPHY),
    "radius": values.radius,
    "density": choice("compact", "normal", "spacious"),
    "color": record(
        {
            "grayscale": _GRAYSCALE,
            "accent": values.accent,
            "surface": record(_SURFACE, required=list(_SURFACE)),
        }
    ),
}
_ATTACHMENTS: dict[str, Check] = {
    "max_size": values.sizes,
    "max_count": number(1),
    "accept": values.accepted_types,
}
_TOOL = record(
    {
        "id": text,
        "label": text,
        "icon": values.icon,
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
_START: dict[str, Check] = {"greeting": text, "prompts": list_of(values.prompt)}
_ITEM_ACTIONS: dict[str, Check] = {"feedback": flag, "retry": flag}
_COMPOSER: dict[str, Check] = {
    "placeholder": text,
    "attachments": switch(_ATTACHMENTS),
    "tools": list_of(_TOOL),
    "models": list_of(_MODEL),
    "dictation": switch({}),
}


def _thread(name: str, value: object) -> str | None:
    return None if value is None else text(name, value)


#: The options of ChatKit's element, by their snake_case names.
ELEMENT: dict[str, Check] = {
    "locale": values.locale,
    "theme": json_value,
    "frame_title": text,
    "initial_thread": _thread,
    "header": switch(
        {
            "title": values.title,
            "left_action": values.header_action,
            "right_action": values.header_action,
        }
    ),
    "history": switch({"show_delete": flag, "show_rename": flag}),
    "start_screen": record(_START),
    "thread_item_actions": record(_ITEM_ACTIONS),
    "composer": record(_COMPOSER),
    "disclaimer": values.disclaimer,
    "entities": record(
        {
            "show_composer_menu": flag,
            "on_tag_search": values.script,
            "on_click": values.script,
            "on_request_preview": values.script,
        }
    ),
    "commands": switch({"on_search": values.script, "on_select": values.script}),
    "widgets": record({"on_action": values.script}),
    "thread": record({"auto_scroll": flag}),
    "on_client_tool": values.script,
    "api": lambda name, _: refuse(name, "left out: it comes from the chat's declaration"),
}

#: Short names of nested options: their path, and their check.
SHORTHANDS: dict[str, tuple[tuple[str, ...], Check]] = {
    "title": (("header", "title"), values.title),
    "greeting": (("start_screen", "greeting"), text),
    "prompts": (("start_screen", "prompts"), list_of(values.prompt)),
    "placeholder": (("composer", "placeholder"), text),
    "attachments": (("composer", "attachments"), switch(_ATTACHMENTS)),
    "tools": (("composer", "tools"), list_of(_TOOL)),
    "models": (("composer", "models"), list_of(_MODEL)),
    "dictation": (("composer", "dictation"), switch({})),
    "feedback": (("thread_item_actions", "feedback"), flag),
    "retry": (("thread_item_actions", "retry"), flag),
    "auto_scroll": (("thread", "auto_scroll"), flag),
    "accent": (("theme", "color", "accent"), values.accent),
    "grayscale": (("theme", "color", "grayscale"), _GRAYSCALE),
    "background": (("theme", "color", "surface", "background"), values.colour),
    "foreground": (("theme", "color", "surface", "foreground"), values.colour),
    "radius": (("theme", "radius"), values.radius),
    "density": (("theme", "density"), THEME["density"]),
    "font_family": (("theme", "typography", "font_family"), text),
    "font_family_mono": (("theme", "typography", "font_family_mono"), text),
    "font_sources": (("theme", "typography", "font_sources"), list_of(_FONT)),
    "base_size": (("theme", "typography", "base_size"), _TYPOGRAPHY["base_size"]),
    "max_file_size": (("composer", "attachments", "max_size"), values.sizes),
    "accepted_file_types": (("composer", "attachments", "accept"), values.accepted_types),
}

#: Options of the composer that only a served chat has.
SERVED_ONLY = {
    "tools": "choosing a tool",
    "models": "choosing a model",
    "dictation": "dictation",
}
