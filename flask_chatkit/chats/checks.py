"""The checks of a chat's declaration: its name and its arguments.

A hosted chat's bounds are those of OpenAI's API reference for ``POST /v1/chatkit/sessions``
(OpenAPI document 2.3.0). They are checked when it is declared, since OpenAI checks them at the
first visitor.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..errors import ConfigurationError, OptionError
from ..options.read import element_options
from ..options.values import accepted_types
from ..parsers import limits
from ..validation import (
    Check,
    Faults,
    Invalid,
    choice,
    flag,
    function,
    number,
    raised_as,
    record,
    refuse,
    switch,
    token,
    unknown,
)

#: Headers that a site's code is not given: whoever has them is the visitor.
_SECRET_HEADERS = {"cookie", "authorization", "x-chatkit-token", "x-chatkit-visitor"}

#: A state variable's value.
StateValue = str | int | float | bool
StateVariables = Mapping[str, StateValue]
#: State variables, or a callable that returns them when a visitor's session is made; it may take
#: the visitor.
StateSource = StateVariables | Callable[..., StateVariables | Awaitable[StateVariables]]

DEFAULT = "default"
#: First segments of the kit's own URLs, which a chat's name would hide.
RESERVED = frozenset("api attachments config embed.js embed.json secret session static".split())

MAX_FILE_MEGABYTES = 512
MAX_FILES = 10
MAX_SESSION_SECONDS = 600
#: Seconds; a served chat's token is our own, and lasts an hour by default.
MAX_TOKEN_SECONDS = 86400
TOKEN_SECONDS = 3600
MAX_STATE_VARIABLES = 64
#: Characters.
MAX_STATE_KEY = 64
#: The arguments of ``Runner.run_streamed`` that a site may set for all runs of an agent. Others,
#: such as a session or a conversation's id, would be shared by all visitors.
RUN_OPTIONS = frozenset({"error_handlers", "hooks", "max_turns", "run_config"})
#: How a served chat takes files: in one call, or registered first and then uploaded.
UPLOADS = ("direct", "two_phase")


def check_declaration(
    chat: str, declared: Mapping[str, Any], checks: Mapping[str, Check], shown: frozenset[str]
) -> dict[str, Any]:
    """Check the arguments of a declaration; those that are None are left out.

    :param chat: the chat's name, with which the error begins.
    :param checks: the checks of all arguments.
    :param shown: those that an error about an unknown argument lists.
    :raises ConfigurationError: names each wrong argument and its accepted form.
    """
    check_name(chat)
    checked: dict[str, Any] = {}
    with raised_as(ConfigurationError, f"the chat {chat!r}: "):
        faults = Faults()
        for name, value in declared.items():
            with faults:
                if name not in checks:
                    raise unknown(name, name, shown)
                if value is not None:
                    checked[name] = checks[name](name, value)
        faults.finish()
    return checked


@raised_as(ConfigurationError)
def check_name(name: object) -> str:
    """Check a chat's name, which is a segment of its URLs.

    :raises ConfigurationError: it is not of the accepted form, or it is reserved.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        form = "1 to 64 characters of a-z, 0-9, - and _, beginning with a letter or digit"
        refuse("a chat's name", form, name)
    if name in RESERVED:
        raise Invalid(
            f"{name!r} is part of the kit's own URLs and can't name a chat; "
            f"so are {', '.join(sorted(RESERVED - {name}))}"
        )
    return name


def check_state_variables(variables: object, chat: str) -> dict[str, StateValue]:
    """Check state variables against OpenAI's bounds: 64 of them, keys of 64 characters.

    :raises ConfigurationError: one is not of the accepted form; its value is not part of the error.
    """
    with raised_as(ConfigurationError, f"the chat {chat!r}: "):
        return _state_variables("state_variables", variables)


def takes(function: Callable[..., object], *arguments: object) -> bool:
    """Whether a function can be called with these arguments."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        # One written in C may have no signature: it is taken for one without arguments.
        return not arguments
    return True


def _state_variables(name: str, variables: object) -> dict[str, StateValue]:
    if not isinstance(variables, Mapping):
        refuse(name, "a mapping of names to values", variables, dict)
    if len(variables) > MAX_STATE_VARIABLES:
        refuse(name, f"at most {MAX_STATE_VARIABLES} variables")
    faults = Faults()
    for key, value in variables.items():
        with faults:
            if not isinstance(key, str) or not 1 <= len(key) <= MAX_STATE_KEY:
                refuse(name, f"keyed by strings of 1 to {MAX_STATE_KEY} characters")
            is_finite = not isinstance(value, float) or math.isfinite(value)
            if not isinstance(value, (str, int, float, bool)) or not is_finite:
                refuse(f"{name}[{key!r}]", "a str, int, finite float or bool", value, float)
    faults.finish()
    return dict(variables)


def _state_source(name: str, value: object) -> object:
    if not callable(value):
        return _state_variables(name, value)
    if not takes(value) and not takes(value, "visitor"):
        refuse(name, "a function without arguments, or one of the visitor")
    return value


def _version(name: str, value: object) -> str:
    if value == "latest":
        # OpenAI accepts it, and the session's first message fails.
        refuse(name, "a version's number; leave it out for the newest")
    found: str = token(name, value)
    return found


def _widget(*, hosted: bool) -> Check:
    def check(name: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            refuse(name, "a mapping of widget options", value, dict)
        try:
            element_options(value, hosted=hosted)
        except OptionError as error:
            raise Invalid(f"{name}: {error}") from None
        return dict(value)

    return check


def _attachments(name: str, value: object) -> Mapping[str, Any] | None:
    """What a served chat accepts; None for nothing."""
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, Mapping):
        form = "True, False or a mapping with max_size (bytes), max_count, accept and upload"
        refuse(name, form, value)
    return _ACCEPTED(name, value)  # type: ignore[no-any-return]


def _headers(name: str, value: object) -> tuple[str, ...]:
    names = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [None]
    if not all(isinstance(item, str) and re.fullmatch(r"[A-Za-z0-9-]+", item) for item in names):
        refuse(name, "a list of names of request headers", value, list)
    lower = tuple(str(item).lower() for item in names)
    if set(lower) & _SECRET_HEADERS:
        refuse(name, "without Cookie, Authorization and the kit's own, the visitor's secrets")
    return lower


def _run_options(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not set(value) <= RUN_OPTIONS:
        refuse(name, f"a mapping with some of {', '.join(sorted(RUN_OPTIONS))}", value, dict)
    return dict(value)


_ACCEPTED = record(
    {
        "max_size": number(1, MAX_FILE_MEGABYTES * 2**20, "bytes"),
        "max_count": number(1, MAX_FILES, "files"),
        "accept": accepted_types,
        "upload": choice(*UPLOADS),
    }
)

HOSTED: dict[str, Check] = {
    "workflow_id": token,
    "version": _version,
    "state_variables": _state_source,
    "tracing": flag,
    "session_seconds": number(1, MAX_SESSION_SECONDS, "seconds"),
    "requests_per_minute": number(1, unit="requests"),
    "file_upload": switch(
        {
            "max_file_size": number(1, MAX_FILE_MEGABYTES, "megabytes"),
            "max_files": number(1, unit="files"),
        }
    ),
    "history": switch({"recent_threads": number(1, unit="threads")}),
    "automatic_thread_titling": flag,
    "ratelimit": limits,
    "widget": _widget(hosted=True),
}

_OF_ALL: dict[str, Check] = {
    "session_seconds": number(60, MAX_TOKEN_SECONDS, "seconds"),
    "state_variables": _state_source,
    "attachments": _attachments,
    "history": flag,
    "ratelimit": limits,
    "message_ratelimit": limits,
    "max_message_length": number(1, 1_000_000, "characters"),
    "answer_seconds": number(1, 3600, "seconds"),
    "headers": _headers,
    "widget": _widget(hosted=False),
}
#: The arguments that every way to declare a served chat takes.
SERVED_OPTIONS = frozenset(_OF_ALL)
#: And those of one way only.
SERVED: dict[str, Check] = {
    **_OF_ALL,
    "titles": lambda _name, value: value,
    "history_characters": number(1000, 100_000_000, "characters"),
    "history_bytes": number(0, 1_000_000_000, "bytes"),
    "look_again": flag,
    "context": function,
    "isolate": flag,
    "page_actions": flag,
    "run_options": _run_options,
}
