"""Reads options by any of their names into what ChatKit's ``setOptions`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import OptionError
from ..validation import Faults, Invalid, raised_as, refuse, unknown
from .contrast import on_colour
from .element import ELEMENT, SERVED_ONLY, SHORTHANDS, THEME
from .macros import PRESENTATION
from .names import UNSUPPORTED, camel, canonical, snake


@raised_as(OptionError)
def element_options(given: Mapping[str, Any], *, hosted: bool) -> dict[str, Any]:
    """Check the options of ChatKit's element.

    :param given: options by any of their names, and ``options``, the raw form.
    :param hosted: whether OpenAI runs the chat, which rules some options out.
    :returns: what ``setOptions`` takes, without ``api``.
    :raises OptionError: names each wrong option.
    """
    return _element_options(given, None, Faults(), hosted=hosted)


@raised_as(OptionError)
def macro_options(
    variant: str, given: Mapping[str, Any], declared: Mapping[str, Any], *, hosted: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the options of a macro's call.

    :param variant: ``floating``, ``inline`` or ``themed``.
    :param declared: the chat's own options of ChatKit's element, which those given override.
    :param hosted: as for :func:`element_options`.
    :returns: the macro's own options, and what ``setOptions`` takes.
    :raises OptionError: names each wrong option.
    """
    checks, faults = PRESENTATION[variant], Faults()
    own: dict[str, Any] = {}
    element = dict(declared)
    for name, value in given.items():
        key = snake(name)
        others = [macro for macro, options in PRESENTATION.items() if key in options]
        if others:
            with faults:
                if key not in checks:
                    raise Invalid(
                        f"{name} is an option of chatkit_{others[0]}, not of chatkit_{variant}"
                    )
                own[key] = checks[key](name, value)
        else:
            element[name] = value
    return own, _element_options(element, variant, faults, hosted=hosted)


def _element_options(
    given: Mapping[str, Any], variant: str | None, faults: Faults, *, hosted: bool
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    raw = given.get("options") or {}
    if not isinstance(raw, Mapping):
        with faults:
            refuse("options", "a mapping of ChatKit's options", raw, dict)
        raw = {}
    for source in (raw, {name: value for name, value in given.items() if name != "options"}):
        # Shorthands come last: they refine what the long forms set.
        for name in sorted(source, key=lambda name: canonical(name) in SHORTHANDS):
            with faults:
                _merge(options, _option(str(name), source[name], variant))
    composer: dict[str, Any] = options.get("composer", {})
    for key, what in SERVED_ONLY.items() if hosted else ():
        with faults:
            if composer.get(key) and composer[key] != {"enabled": False}:
                raise Invalid(
                    f"{key}: {what} works only in a chat that the site serves itself; "
                    "OpenAI's hosted chats ignore it or break"
                )
    faults.finish()
    _complete_surface(options)
    if "attachments" in composer:
        composer["attachments"].setdefault("enabled", True)
    return options


def _option(name: str, value: object, variant: str | None) -> dict[str, Any]:
    key = canonical(name)
    if key == "theme":
        return {"theme": _theme(value)}
    if key in ELEMENT:
        return {camel(key): ELEMENT[key](name, value)}
    if key in SHORTHANDS:
        path, check = SHORTHANDS[key]
        return _nested(path, check(name, value))  # type: ignore[no-any-return]
    if variant is None and any(key in own for own in PRESENTATION.values()):
        raise Invalid(f"{name} is an option of the macros: pass it to them")
    own = ("kit", "nonce", *PRESENTATION[variant]) if variant else ()
    raise unknown(name, key, [*ELEMENT, *SHORTHANDS, *own], UNSUPPORTED)


def _theme(value: object) -> dict[str, Any]:
    """``theme=``: a word, or a mapping of ChatKit's theme options and of shorthands."""
    if isinstance(value, str):
        value = {"color_scheme": value}
    if not isinstance(value, Mapping):
        refuse("theme", "auto, light, dark or a mapping", value, dict)
    theme: dict[str, Any] = {}
    faults = Faults()
    short = {name: path for name, (path, _) in SHORTHANDS.items() if path[0] == "theme"}
    for written, item in value.items():
        key, name = canonical(written), f"theme.{written}"
        with faults:
            if key in THEME:
                _merge(theme, {camel(key): THEME[key](name, item)})
            elif key in short:
                _merge(theme, _nested(short[key][1:], SHORTHANDS[key][1](name, item)))
            else:
                raise unknown(name, key, [*THEME, *short], UNSUPPORTED)
    faults.finish()
    if theme.get("colorScheme") == "auto":
        # Left out for the element: the page's own light or dark decides, in the browser.
        del theme["colorScheme"]
    return theme


def _nested(path: tuple[str, ...], value: Any) -> Any:
    for part in reversed(path):
        value = {camel(part): value}
    return value


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _complete_surface(options: Mapping[str, Any]) -> None:
    """Add the missing colour of a surface: ChatKit wants both."""
    surface = options.get("theme", {}).get("color", {}).get("surface")
    if surface is None or len(surface) != 1:
        return
    (name,) = surface
    other = "foreground" if name == "background" else "background"
    contrast = on_colour(surface[name])
    if contrast is None:
        raise Invalid(f"{name} needs {other} too, unless it is written as #rrggbb")
    surface[other] = contrast
