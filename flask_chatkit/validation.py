"""Checks of what a site writes: settings, declarations of chats, options of the macros.

A check takes a value's name and the value, and returns the value in the one form that the package
works with. It raises :class:`Invalid`, which :func:`raised_as` turns into its caller's error type.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ContextDecorator
from typing import Any, NoReturn, TypeAlias

Check: TypeAlias = Callable[[str, Any], Any]

#: Faults that one error names. The options of an embedded widget come from a visitor's query.
MOST_FAULTS = 10
#: Characters of a name that is compared with the valid ones.
LONGEST_NAME = 64
#: How alike two names are, from 0 to 1, when one is taken for a misspelling of the other.
ALIKE = 0.7

#: What people write for a name that is spelled quite differently; the first valid one is meant.
SYNONYMS = {
    "color": "colour",
    "accent": "color colour",
    "api_base": "base_url",
    "api_key": "key",
    "api_timeout": "timeout",
    "answer_seconds": "timeout",
    "attachments": "file_upload files uploads",
    "class_name": "class css_class",
    "contact": "email",
    "dictation": "speech voice",
    "edge": "vertical",
    "font_family": "font",
    "locale": "lang language",
    "max_message_length": "max_length",
    "prompts": "questions suggestions",
    "radius": "corners",
    "ratelimit": "limit rate_limit",
    "ratelimit_storage_uri": "redis_url storage_uri",
    "session_seconds": "expires_after",
    "side": "align placement position",
    "state_variables": "state variables",
    "teaser": "bubble",
    "theme": "dark dark_mode mode",
    "title": "name",
    "trusted_origins": "origins",
    "upload_folder": "uploads",
    "widget": "options",
    "workflow_id": "workflow",
}


class Invalid(ValueError):
    """One or more values are not of the accepted form.

    :param faults: a clause for each, which names the value and the accepted form.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Faults:
    """Collects what several checks refuse, so that one error names all of it.

    Each check runs in a block of its own::

        faults = Faults()
        for name, value in given.items():
            with faults:
                checked[name] = check(name, value)
        faults.finish()
    """

    def __init__(self) -> None:
        self._found: list[str] = []

    def __enter__(self) -> None:
        """Begin a check."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        """Keep what the check refuses, and go on unless there is enough of it."""
        if not isinstance(error, Invalid):
            return False
        self._found += error.faults
        if len(self._found) >= MOST_FAULTS:
            self.finish()
        return True

    def finish(self) -> None:
        """Raise what was collected, if anything was.

        :raises Invalid: at least one check refused its value.
        """
        if self._found:
            raise Invalid(*self._found[:MOST_FAULTS]) from None


class raised_as(ContextDecorator):  # noqa: N801  as contextlib names its own
    """Raise the caller's type of error for what checks refuse; also a decorator.

    :param prefix: what the message begins with, such as a chat's name.
    """

    def __init__(self, error: type[Exception], prefix: str = "") -> None:
        self._error = error
        self._prefix = prefix

    def __enter__(self) -> None:
        """Begin the checks."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Turn what they refuse into the caller's error."""
        if isinstance(error, Invalid):
            raise self._error(f"{self._prefix}{error}") from None


def refuse(name: str, form: str, value: object = "", *types: type) -> NoReturn:
    """Raise the error for a value of another form.

    The value stays out of it, since a key that was pasted into the wrong place is a secret.

    :param form: the accepted form, as in “must be a string”.
    :param value: its type is named, unless it is one of the right types.
    :param types: the right types; a string by default.
    """
    given = "None" if value is None else type(value).__name__
    raise Invalid(
        f"{name} must be {form}" + ("" if type(value) in (types or (str,)) else f", not {given}")
    )


def is_none(value: object) -> bool:
    """Whether a configuration's value means none: None, the word ``none``, a blank string."""
    return value is None or (isinstance(value, str) and value.strip().lower() in {"", "none"})


def suggest(name: str, valid: Collection[str]) -> str | None:
    """The valid name that was probably meant, or None."""
    for meant, words in SYNONYMS.items():
        if meant in valid and name in words.split():
            return meant
    if len(name) > LONGEST_NAME:
        return None
    return next(iter(difflib.get_close_matches(name, valid, n=1, cutoff=ALIKE)), None)


def unknown(
    name: str, key: str, valid: Collection[str], reasons: Mapping[str, str] | None = None
) -> Invalid:
    """The error for an option that there is not, with the one that was probably meant.

    :param name: the option as it was written, with its path.
    :param key: the option's own name, in snake_case.
    :param reasons: why there is none, by names that people try.
    """
    if reasons and key in reasons:
        return Invalid(f"there is no option {name}: {reasons[key]}")
    meant = suggest(key, valid)
    hint = f"(did you mean {meant}?)" if meant else f"(Valid options: {', '.join(valid)})"
    return Invalid(f"there is no option {name} {hint}")


def text(name: str, value: object) -> str:
    """A string, or a lazily translated one."""
    if value is None or isinstance(value, (bool, int, float, bytes, Mapping, list, tuple)):
        refuse(name, "a string", value)
    return str(value)


def nonempty(name: str, value: object) -> str:
    """A string that is not blank."""
    found = text(name, value)
    return found if found.strip() else refuse(name, "a string that is not blank")


def matching(pattern: str, form: str) -> Check:
    """A string that a regular expression matches as a whole."""

    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            refuse(name, form, value)
        return value

    return check


token = matching(r"[\x21-\x7e]+", "a string of printable ASCII characters without spaces")


def flag(name: str, value: object) -> bool:
    """True or False."""
    return value if isinstance(value, bool) else refuse(name, "True or False", value, bool)


def function(name: str, value: object) -> Callable[..., Any]:
    """Anything that can be called."""
    return value if callable(value) else refuse(name, "a function", value)


def choice(*valid: str) -> Check:
    """One of a few words."""

    def check(name: str, value: object) -> str:
        if isinstance(value, str) and value in valid:
            return value
        refuse(name, f"one of {', '.join(valid)}", value)

    return check


def number(low: float, high: float | None = None, unit: str = "", *, whole: bool = True) -> Check:
    """A number within bounds; a bool is not one.

    :param unit: what it counts, in the plural: ``seconds``.
    """
    kind = ("a whole number" if whole else "a number") + (f" of {unit}" if unit else "")
    form = f"{kind}, at least {low:g}" if high is None else f"{kind} from {low:.15g} to {high:.15g}"
    types = (int,) if whole else (int, float)

    def check(name: str, value: Any) -> int | float:
        is_number = isinstance(value, types) and not isinstance(value, bool)
        if not (is_number and low <= value and (high is None or value <= high)):
            refuse(name, form, value, *types)
        return value  # type: ignore[no-any-return]

    return check


def list_of(check: Check) -> Check:
    """A list whose items pass a check."""

    def checked(name: str, value: object) -> list[Any]:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
            refuse(name, "a list", value, list)
        return [check(f"{name}[{index}]", item) for index, item in enumerate(value)]

    return checked


def mapping_of(check: Check) -> Check:
    """A mapping of strings to values that pass a check."""

    def checked(name: str, value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            refuse(name, "a mapping", value, dict)
        return {text(name, key): check(f"{name}[{key!r}]", item) for key, item in value.items()}

    return checked


def json_value(name: str, value: object) -> Any:
    """Anything that JSON can hold."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        refuse(name, "a value that JSON can hold", value, dict, list, float)


def one_of(form: str, *checks: Check) -> Check:
    """The first form that fits.

    :param form: all of them, in words.
    """

    def check(name: str, value: object) -> Any:
        for candidate in checks:
            try:
                return candidate(name, value)
            except Invalid:
                continue
        refuse(name, form, value)

    return check


def record(
    fields: Mapping[str, Check],
    required: Sequence[str] = (),
    *,
    short: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    read: Callable[[str], str] = str,
    write: Callable[[str], str] = str,
    reasons: Mapping[str, str] | None = None,
) -> Check:
    """A mapping with known keys.

    :param short: the field that a value stands for that is no mapping.
    :param defaults: the values of fields that are left out.
    :param read: turns a key as it was written into the name of a field.
    :param write: turns the name of a field into the key of the result.
    :param reasons: why there are no such fields, by names that people try.
    """

    def check(name: str, value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            if short is None:
                refuse(name, f"a mapping with some of {', '.join(fields)}", value, dict)
            return {**(defaults or {}), write(short): fields[short](name, value)}
        result: dict[str, Any] = dict(defaults or {})
        faults, missing = Faults(), set(required)
        for written, item in value.items():
            key = read(written)
            missing.discard(key)
            with faults:
                if key not in fields:
                    raise unknown(f"{name}.{written}", key, fields, reasons)
                result[write(key)] = fields[key](f"{name}.{written}", item)
        if missing:
            with faults:
                raise Invalid(*(f"{name} needs {key}" for key in required if key in missing))
        faults.finish()
        return result

    return check


def switch(fields: Mapping[str, Check], *, short: str | None = None, **names: Any) -> Check:
    """True, False, or a mapping, which means True unless its ``enabled`` is False.

    :param short: as for :func:`record`.
    :param names: as for :func:`record`.
    """
    known = {"enabled": flag, **fields}
    mapping = record(known, short=short, defaults={"enabled": True}, **names)
    form = f"True, False or a mapping with some of {', '.join(fields or known)}"

    def check(name: str, value: object) -> dict[str, Any]:
        if isinstance(value, bool):
            return {"enabled": value}
        if not isinstance(value, Mapping) and short is None:
            refuse(name, form, value)
        return mapping(name, value)  # type: ignore[no-any-return]

    return check
