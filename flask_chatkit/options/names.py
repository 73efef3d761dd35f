"""The names of options: how they are written, and names that samples on the web use."""

from __future__ import annotations

import re

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")

#: Names that samples use, and the option that does what they promise.
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
_SHOWS = "the chat's server decides what it shows of its {}"
_VISITOR = "the login or the visitor cookie identifies the visitor"
#: Names that samples use for what does not exist, and why it doesn't.
UNSUPPORTED = {
    "message_background": _MESSAGES,
    "user_message_color": _MESSAGES,
    "bot_message_color": _MESSAGES,
    "max_message_length": "ChatKit's element has no such option; CHATKIT_MAX_MESSAGE_LENGTH is one",
    "show_thinking": _SHOWS.format("thinking"),
    "thinking_style": _SHOWS.format("thinking"),
    "tool_visualization": _SHOWS.format("tools"),
    "on_message": _EVENTS,
    "on_tool_invocation": _EVENTS,
    "on_error": _EVENTS,
    "custom_widgets": "widgets are JSON that the chat's server writes",
    "workflow_id": "the chat's declaration names the workflow: name the chat instead",
    "user": _VISITOR,
    "user_id": _VISITOR,
    "client_secret": "a page must not contain secrets",
    "api_key": "a page must not contain keys",
}


def snake(name: object) -> str:
    """A name in snake_case: ``startScreen`` and ``start_screen`` are the same option."""
    text = str(name)
    return text if text.islower() else _HUMP.sub(lambda match: "_" + match[1].lower(), text)


def camel(name: str) -> str:
    """A name as ChatKit writes it."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def canonical(name: object) -> str:
    """The option's own name in snake_case, for any name that it is known by."""
    key = snake(name)
    return ALIASES.get(key, key)
