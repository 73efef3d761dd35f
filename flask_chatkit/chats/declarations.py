"""What a chat is: a named conversation surface of a kit, with its own limits and settings.

A hosted chat's bounds are those of OpenAI's API reference for ``POST /v1/chatkit/sessions``
(OpenAPI document 2.3.0); they are checked when it is declared, because OpenAI checks them at the
first visitor.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, TypedDict

from limits import RateLimitItem

from ..config import Settings, limits
from ..errors import ConfigurationError, OptionError
from ..options.element import element_options
from .callbacks import Callbacks

#: A state variable's value.
StateValue = str | int | float | bool
StateVariables = Mapping[str, StateValue]
#: State variables, or a callable that returns them when a visitor's session is made; it may take
#: the visitor.
StateSource = StateVariables | Callable[..., StateVariables | Awaitable[StateVariables]]

#: Checks one part of a declaration: the chat's name, the part's name, the value.
Check = Callable[[str, str, Any], Any]

DEFAULT = "default"
#: First segments of the kit's own URLs, which a chat's name would hide.
RESERVED = frozenset("api attachments config embed.js embed.json secret session static".split())

MAX_FILE_MEGABYTES = 512
MAX_FILES = 10
MAX_SESSION_SECONDS = 600
#: Seconds; a served chat's token is our own, and lasts an hour unless told otherwise.
MAX_TOKEN_SECONDS = 86400
TOKEN_SECONDS = 3600
MAX_STATE_VARIABLES = 64
MAX_STATE_KEY = 64


#: What of ``Runner.run_streamed``'s arguments a site may give.
RUN_OPTIONS = frozenset({"error_handlers", "hooks", "max_turns", "run_config"})
#: How a served chat takes files: in one call, or registered first and uploaded then.
UPLOADS = ("direct", "two_phase")


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
    if not callable(value):
        return check_state_variables(value, chat)
    if not takes(value) and not takes(value, "visitor"):
        _wrong(chat, "state_variables", "a function without arguments, or one of the visitor")
    return value


def takes(function: Callable[..., object], *arguments: object) -> bool:
    """Whether a function can be called with these arguments."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        # One that is written in C may not say; it was accepted so far without any.
        return not arguments
    return True


def _ratelimit(chat: str, name: str, value: object) -> tuple[RateLimitItem, ...]:
    return limits(f"{name} of the chat {chat!r}", value)


def _widget(*, hosted: bool) -> Check:
    def check(chat: str, name: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            _wrong(chat, name, "a mapping of widget options")
        try:
            element_options(value, hosted=hosted)
        except OptionError as error:
            raise ConfigurationError(f"{name} of the chat {chat!r}: {error}") from None
        return dict(value)

    return check


def _attachments(chat: str, name: str, value: object) -> Mapping[str, Any] | None:
    """What a served chat accepts; None for nothing."""
    form = "True, False or a mapping with max_size (bytes), max_count, accept and upload"
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, Mapping):
        _wrong(chat, name, form)
    checks: dict[str, Check] = {
        "max_size": _whole(1, MAX_FILE_MEGABYTES * 2**20, "bytes"),
        "max_count": _whole(1, MAX_FILES, "files"),
        "accept": _accept,
        "upload": _upload,
    }
    if not set(value) <= set(checks):
        _wrong(chat, name, form)
    return {key: checks[key](chat, f"{name}[{key!r}]", item) for key, item in value.items()}


def _accept(chat: str, name: str, value: object) -> Mapping[str, Any]:
    try:
        composer = element_options({"attachments": {"accept": value}}, hosted=False)["composer"]
    except OptionError:
        _wrong(chat, name, "a mapping of MIME types to lists of endings")
    accept: Mapping[str, Any] = composer["attachments"]["accept"]
    return accept


def _upload(chat: str, name: str, value: object) -> str:
    if value not in UPLOADS:
        _wrong(chat, name, " or ".join(map(repr, UPLOADS)))
    return str(value)


def _headers(chat: str, name: str, value: object) -> tuple[str, ...]:
    names = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [None]
    if not all(isinstance(item, str) and re.fullmatch(r"[A-Za-z0-9-]+", item) for item in names):
        _wrong(chat, name, "a list of names of request headers")
    lower = tuple(str(item).lower() for item in names)
    if set(lower) & {"cookie", "authorization"}:
        _wrong(chat, name, "without Cookie and Authorization, which are the visitor's secrets")
    return lower


def _run_options(chat: str, name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not set(value) <= RUN_OPTIONS:
        # A session or a conversation's id would be one for all visitors.
        _wrong(chat, name, f"a mapping with {', '.join(sorted(RUN_OPTIONS))}")
    return dict(value)


def _callable(chat: str, name: str, value: object) -> Callable[..., Any]:
    return value if callable(value) else _wrong(chat, name, "a function")


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
    "widget": _widget(hosted=True),
}

_SERVED_CHECKS: dict[str, Check] = {
    "session_seconds": _whole(60, MAX_TOKEN_SECONDS, "seconds"),
    "state_variables": _variables,
    "attachments": _attachments,
    "history": _flag,
    "titles": lambda _chat, _name, value: value,
    "ratelimit": _ratelimit,
    "message_ratelimit": _ratelimit,
    "max_message_length": _whole(1, 1_000_000, "characters"),
    "answer_seconds": _whole(1, 3600, "seconds"),
    "headers": _headers,
    "history_characters": _whole(1000, 100_000_000, "characters"),
    "history_bytes": _whole(0, 1_000_000_000, "bytes"),
    "look_again": _flag,
    "context": _callable,
    "isolate": _flag,
    "page_actions": _flag,
    "run_options": _run_options,
    "widget": _widget(hosted=False),
}


#: Options of one way to declare a served chat only.
_OF_ONE_KIND = frozenset(
    {
        "context",
        "history_bytes",
        "history_characters",
        "isolate",
        "look_again",
        "page_actions",
        "run_options",
        "titles",
    }
)


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

    def attachments(self, _settings: Settings) -> dict[str, Any] | None:
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


class ServedOptions(TypedDict, total=False):
    """The options of every way to declare a served chat. None, or leaving one out, is the default.

    :param session_seconds: how long a secret is valid, 60 to 86400 seconds; by default an hour.
    :param state_variables: as for hosted chats; available as ``context.state``.
    :param attachments: True, or a mapping with ``max_size`` (bytes), ``max_count``, ``accept``
        (suffixes by MIME type) and ``upload`` (``direct`` or ``two_phase``). It also shows or hides
        the widget's attachment button.
    :param history: whether a visitor may see earlier threads; they are stored in any case.
    :param ratelimit: secrets per visitor, in place of ``CHATKIT_RATELIMIT``.
    :param message_ratelimit: messages per visitor, in place of ``CHATKIT_MESSAGE_RATELIMIT``.
    :param max_message_length: characters of a message, in place of ``CHATKIT_MAX_MESSAGE_LENGTH``.
    :param answer_seconds: in place of ``CHATKIT_ANSWER_SECONDS``.
    :param headers: names of request headers that are passed to the site's code, in
        ``context.headers``.
    :param widget: default options of its macros and its full page.
    """

    session_seconds: int | None
    state_variables: StateSource | None
    attachments: bool | Mapping[str, Any] | None
    history: bool | None
    ratelimit: str | None
    message_ratelimit: str | None
    max_message_length: int | None
    answer_seconds: int | None
    headers: Sequence[str] | None
    widget: Mapping[str, Any] | None


class Backend(NamedTuple):
    """What answers in a served chat; only :mod:`flask_chatkit.server` looks inside.

    :param kind: ``server``, ``agent``, ``workflow``, ``assistant``, or ``path``, which is what
        ``CHATKIT_SERVER`` names.
    :param value: a server or what makes one, an agent, a function, or a path to one of them.
    """

    kind: str
    value: Any


def _per_minute(chat: HostedChat, settings: Settings) -> tuple[RateLimitItem, ...] | None:
    """What a hosted session allowed a minute, as a limit of the chat that takes its place."""
    requests = chat.requests_per_minute or settings.session_requests_per_minute
    if requests is None:
        return None
    longer = (item for item in settings.message_ratelimit if item.get_expiry() > 60)
    return (*limits("", f"{requests}/minute"), *longer)


@dataclass(frozen=True, kw_only=True)
class ServedChat:
    """A chat that the site serves itself.

    Made by :meth:`flask_chatkit.ChatKit.add_server`, ``add_agent``, ``assistant`` and by
    ``CHATKIT_SERVER``; the first documents the arguments.

    :param source: what answers.
    """

    name: str
    source: Backend = field(repr=False)
    callbacks: Callbacks = field(default_factory=Callbacks, repr=False)
    session_seconds: int | None = None
    state_variables: StateSource | None = None
    attachments_accepted: Mapping[str, Any] | None = None
    history: bool = True
    titles: Any = True
    ratelimit: tuple[RateLimitItem, ...] | None = None
    message_ratelimit: tuple[RateLimitItem, ...] | None = None
    max_message_length: int | None = None
    answer_seconds: int | None = None
    history_characters: int | None = None
    history_bytes: int | None = None
    look_again: bool = True
    headers: tuple[str, ...] = ()
    context: Callable[..., Any] | None = None
    isolate: bool = True
    page_actions: bool = False
    run_options: Mapping[str, Any] | None = None
    widget: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def declare(
        cls, name: str, source: Backend, callbacks: Callbacks, **declared: Any
    ) -> ServedChat:
        """Check a declaration.

        :raises ConfigurationError: something is not of the accepted form; the message names it.
        """
        check_name(name)
        for key in set(declared) - set(_SERVED_CHECKS):
            close = difflib.get_close_matches(key, _SERVED_CHECKS, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            valid = ", ".join(sorted(set(_SERVED_CHECKS) - _OF_ONE_KIND))
            raise ConfigurationError(
                f"{key} is no option of the served chat {name!r}{hint} Valid are: {valid}"
            )
        checked = {
            key: _SERVED_CHECKS[key](name, key, value)
            for key, value in declared.items()
            if value is not None
        }
        checked["attachments_accepted"] = checked.pop("attachments", None)
        return cls(name=name, source=source, callbacks=callbacks, **checked)

    @classmethod
    def from_hosted(
        cls, chat: HostedChat, source: Backend, callbacks: Callbacks, settings: Settings
    ) -> ServedChat:
        """The served chat that takes a hosted one's place when ``CHATKIT_SERVER`` is set.

        All that a visitor knows the chat by stays: its name, widget, limits and switches.
        """
        upload = chat.attachments(settings)
        accepted = upload and {"max_size": upload["maxSize"], "max_count": upload["maxCount"]}
        return cls(
            name=chat.name,
            source=source,
            callbacks=callbacks,
            session_seconds=chat.session_seconds,
            state_variables=chat.state_variables,
            attachments_accepted=accepted,
            history=chat.has_history,
            titles=chat.automatic_thread_titling is not False,
            ratelimit=chat.ratelimit,
            message_ratelimit=_per_minute(chat, settings),
            widget=chat.widget,
        )

    def attachments(self, settings: Settings) -> dict[str, Any] | None:
        """The composer's attachment options that agree with what the endpoint accepts."""
        accepted = self.attachments_accepted
        if accepted is None:
            return None
        return {
            "enabled": True,
            "maxSize": min(accepted.get("max_size", 2**40), settings.max_upload_bytes),
            "maxCount": accepted.get("max_count", MAX_FILES),
            **({"accept": accepted["accept"]} if "accept" in accepted else {}),
        }

    def offers(self, what: str) -> frozenset[str]:
        """The ids of the ``models`` or ``tools`` among which a visitor may choose."""
        composer = element_options(self.widget, hosted=False).get("composer", {})
        return frozenset(choice["id"] for choice in composer.get(what) or ())

    @property
    def upload(self) -> str:
        """How files come: ``direct`` or ``two_phase``."""
        accepted = self.attachments_accepted or {}
        # A server that brings a store of its own for files knows the second way only.
        own = getattr(self.source.value, "attachment_store", None) is not None
        return str(accepted.get("upload", "two_phase" if own else "direct"))

    @property
    def has_history(self) -> bool:
        """Whether a visitor may see earlier threads."""
        return self.history

    @property
    def takes_dictation(self) -> bool:
        """Whether the site's code turns speech into text."""
        if self.callbacks.transcribe is not None:
            return True
        if self.source.kind in {"agent", "assistant", "workflow"}:
            return False
        own = getattr(self.source.value, "transcribe", None)
        # The package's own only says that it is to be overridden. What a path or a function will
        # give is not known before it does: the endpoint looks again.
        return own is None or getattr(own, "__module__", "") != "chatkit.server"


Chat = HostedChat | ServedChat
