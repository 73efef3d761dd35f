"""What a chat is: a named conversation surface of a kit, with its own limits and settings.

The bounds are those of OpenAI's API reference for ``POST /v1/chatkit/sessions`` (OpenAPI document
2.3.0); they are checked when a chat is declared, because OpenAI checks them at the first visitor.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from limits import RateLimitItem

from .config import Settings, limits
from .errors import ConfigurationError, OptionError
from .widget.options import element_options

#: A state variable's value.
StateValue = str | int | float | bool
StateVariables = Mapping[str, StateValue]
#: State variables, or a callable that returns them when a visitor's session is made.
StateSource = StateVariables | Callable[[], StateVariables | Awaitable[StateVariables]]

#: Checks one part of a declaration: the chat's name, the part's name, the value.
Check = Callable[[str, str, Any], Any]

DEFAULT = "default"
#: First segments of the kit's own URLs, which a chat's name would hide.
RESERVED = frozenset({"api", "attachments", "config", "embed.js", "secret", "session", "static"})

MAX_FILE_MEGABYTES = 512
MAX_FILES = 10
MAX_SESSION_SECONDS = 600
MAX_STATE_VARIABLES = 64
MAX_STATE_KEY = 64


def _wrong(chat: str, name: str, form: str) -> NoReturn:
    raise ConfigurationError(f"{name} of the chat {chat!r} must be {form}")


def check_name(name: object) -> str:
    """Check a chat's name, which is a segment of its URLs.

    :raises ConfigurationError: it is not of the accepted form, or it is reserved.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise ConfigurationError(
            "a chat's name must be 1 to 64 of a-z, 0-9, - and _, beginning with a letter or digit"
        )
    if name in RESERVED:
        raise ConfigurationError(
            f"{name!r} is part of the kit's own URLs and can't name a chat; "
            f"so are {', '.join(sorted(RESERVED - {name}))}"
        )
    return name


def check_state_variables(variables: object, chat: str) -> dict[str, StateValue]:
    """Check state variables against OpenAI's bounds: 64 of them, keys of 64 characters.

    :raises ConfigurationError: one is not of the accepted form; its value is not told.
    """
    name = "state_variables"
    if not isinstance(variables, Mapping):
        _wrong(chat, name, "a mapping of names to values")
    if len(variables) > MAX_STATE_VARIABLES:
        _wrong(chat, name, f"at most {MAX_STATE_VARIABLES} variables")
    for key, value in variables.items():
        if not isinstance(key, str) or not 1 <= len(key) <= MAX_STATE_KEY:
            _wrong(chat, name, f"keyed by texts of 1 to {MAX_STATE_KEY} characters")
        if not isinstance(value, (str, int, float, bool)) or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            _wrong(chat, f"{name}[{key!r}]", "a str, int, finite float or bool")
    return dict(variables)


def _number(chat: str, name: str, value: object, low: int, high: int | None, unit: str) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or value < low
        or (high is not None and value > high)
    ):
        bounds = f"from {low} to {high}" if high is not None else f"of {low} or more"
        _wrong(chat, name, f"a whole number of {unit} {bounds}")
    return value


def _flag(chat: str, name: str, value: object) -> bool:
    return value if isinstance(value, bool) else _wrong(chat, name, "True or False")


def _identifier(chat: str, name: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        _wrong(chat, name, "a text of printable ASCII characters without blanks")
    if name == "version" and value == "latest":
        # OpenAI accepts it, and the first message of the session fails.
        _wrong(chat, name, "a version's number; leave it out for the newest")
    return value


def _whole(low: int, high: int | None, unit: str) -> Check:
    return lambda chat, name, value: _number(chat, name, value, low, high, unit)


def _section(**numbers: Check) -> Check:
    """One part of ``chatkit_configuration``: a bool, or a mapping, which means enabled."""

    def check(chat: str, name: str, value: object) -> dict[str, bool | int]:
        if isinstance(value, bool):
            return {"enabled": value}
        checks = {"enabled": _flag, **numbers}
        if not isinstance(value, Mapping) or not set(value) <= set(checks):
            _wrong(chat, name, f"True, False or a mapping with {', '.join(checks)}")
        given = {"enabled": True, **value}
        return {key: checks[key](chat, f"{name}[{key!r}]", item) for key, item in given.items()}

    return check


def _variables(chat: str, _name: str, value: object) -> object:
    return value if callable(value) else check_state_variables(value, chat)


def _ratelimit(chat: str, name: str, value: object) -> tuple[RateLimitItem, ...]:
    return limits(f"{name} of the chat {chat!r}", value)


def _widget(chat: str, name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        _wrong(chat, name, "a mapping of widget options")
    try:
        element_options(value, hosted=True)
    except OptionError as error:
        raise ConfigurationError(f"{name} of the chat {chat!r}: {error}") from None
    return dict(value)


_CHECKS: dict[str, Check] = {
    "workflow_id": _identifier,
    "version": _identifier,
    "state_variables": _variables,
    "tracing": _flag,
    "session_seconds": _whole(1, MAX_SESSION_SECONDS, "seconds"),
    "requests_per_minute": _whole(1, None, "requests"),
    "file_upload": _section(
        max_file_size=_whole(1, MAX_FILE_MEGABYTES, "megabytes"),
        max_files=_whole(1, None, "files"),
    ),
    "history": _section(recent_threads=_whole(1, None, "threads")),
    "automatic_thread_titling": _flag,
    "ratelimit": _ratelimit,
    "widget": _widget,
}


@dataclass(frozen=True, kw_only=True)
class HostedChat:
    """A chat that OpenAI runs: a workflow, and what each session of it is asked for.

    Made by :meth:`flask_chatkit.ChatKit.add_hosted`, which documents the arguments.
    """

    name: str
    workflow_id: str | None = None
    version: str | None = None
    state_variables: StateSource | None = None
    tracing: bool | None = None
    session_seconds: int | None = None
    requests_per_minute: int | None = None
    file_upload: Mapping[str, bool | int] | None = None
    history: Mapping[str, bool | int] | None = None
    automatic_thread_titling: bool | None = None
    ratelimit: tuple[RateLimitItem, ...] | None = None
    widget: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def declare(cls, name: str, **declared: Any) -> HostedChat:
        """Check a declaration.

        :raises ConfigurationError: something is out of OpenAI's bounds; the message names it.
        """
        check_name(name)
        return cls(
            name=name,
            **{
                key: _CHECKS[key](name, key, value)
                for key, value in declared.items()
                if value is not None
            },
        )

    def session(
        self, user: str, variables: StateVariables | None, settings: Settings
    ) -> dict[str, Any]:
        """Build the body of ``POST /v1/chatkit/sessions``; what is not set is left to OpenAI.

        :param user: the visitor's namespaced id.
        :param variables: checked state variables.
        :param settings: the kit's settings, which hold where the chat says nothing.
        """
        workflow: dict[str, Any] = {"id": self.workflow_id or settings.workflow_id}
        if self.version is not None:
            workflow["version"] = self.version
        if variables:
            workflow["state_variables"] = dict(variables)
        if self.tracing is not None:
            workflow["tracing"] = {"enabled": self.tracing}
        body: dict[str, Any] = {"user": user, "workflow": workflow}
        seconds = self.session_seconds or settings.session_seconds
        if seconds is not None:
            body["expires_after"] = {"anchor": "created_at", "seconds": seconds}
        requests = self.requests_per_minute or settings.session_requests_per_minute
        if requests is not None:
            body["rate_limits"] = {"max_requests_per_1_minute": requests}
        configuration: dict[str, Any] = {}
        if self.automatic_thread_titling is not None:
            configuration["automatic_thread_titling"] = {"enabled": self.automatic_thread_titling}
        if self.file_upload is not None:
            configuration["file_upload"] = dict(self.file_upload)
        if self.history is not None:
            configuration["history"] = dict(self.history)
        if configuration:
            body["chatkit_configuration"] = configuration
        return body

    @property
    def attachments(self) -> dict[str, Any] | None:
        """The composer's attachment options that agree with the session's upload settings.

        ChatKit's element counts in bytes where the session counts in megabytes; if the two
        disagree, uploads fail in the visitor's hands.
        """
        upload = self.file_upload
        if not upload or not upload["enabled"]:
            return None
        megabytes = upload.get("max_file_size", MAX_FILE_MEGABYTES)
        return {
            "enabled": True,
            "maxSize": megabytes * 1024 * 1024,
            "maxCount": min(upload.get("max_files", MAX_FILES), MAX_FILES),
        }

    @property
    def has_history(self) -> bool:
        """Whether a visitor may see earlier threads."""
        return self.history is None or bool(self.history["enabled"])
