"""Checking the widgets that a site's function shows."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast, get_args

from chatkit.widgets import (
    DynamicWidgetRoot,
    StrictWidgetComponent,
    StrictWidgetRoot,
    WidgetComponentBase,
    WidgetRoot,
)
from pydantic import BaseModel, ValidationError, create_model

logger = logging.getLogger("flask_chatkit")

#: The widget components that ChatKit documents, by name, and those that can be the root.
COMPONENTS: Mapping[str, type[WidgetComponentBase]] = {
    kind.model_fields["type"].default: kind
    for union in (StrictWidgetComponent, StrictWidgetRoot)
    for kind in get_args(get_args(union)[0])
}
ROOTS = frozenset(
    kind.model_fields["type"].default for kind in get_args(get_args(StrictWidgetRoot)[0])
)


def is_widget(value: object) -> bool:
    """Whether this is meant to be a widget."""
    return isinstance(value, (WidgetComponentBase, Mapping))


def as_widget(value: object) -> WidgetRoot:
    """Validate a widget.

    A dict, as in a ``.widget`` file, is checked against the components of openai-chatkit; unknown
    fields are passed on. A ``DynamicWidgetRoot`` is not checked.

    :raises TypeError: it is no widget at all.
    :raises ValueError: something in it is invalid; the message names the field.
    """
    if isinstance(value, WidgetComponentBase):
        if value.type not in ROOTS:
            raise ValueError(f"widget: type: a widget is a {_names(ROOTS)}, not a {value.type}")
        return cast("WidgetRoot", value)
    if not isinstance(value, Mapping):
        raise TypeError(f"a widget must be one of chatkit.widgets or a dict, not {_kind(value)}")
    if value.get("type") not in ROOTS:
        raise ValueError(
            f"widget: type: a widget is a {_names(ROOTS)}, not a {value.get('type')!r}"
        )
    _check_component(value, "widget")
    try:
        return DynamicWidgetRoot.model_validate(value)
    except ValidationError as error:
        raise ValueError(f"widget: {explain(error)}") from None


def _check_component(component: Any, where: str) -> None:
    if isinstance(component, BaseModel):
        return
    if not isinstance(component, Mapping):
        raise TypeError(f"{where}: a component must be a dict, not {_kind(component)}")
    kind = component.get("type")
    if not isinstance(kind, str) or kind not in COMPONENTS:
        raise ValueError(f"{where}.type: {kind!r} is none of {_names(COMPONENTS)}")
    fields = {key: one for key, one in component.items() if one is not None and key != "children"}
    try:
        _fields_of(kind).model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"{where}.{explain(error)} (in a {kind})") from None
    for name in set(component) - set(COMPONENTS[kind].model_fields):
        _warn_unknown_field(kind, str(name), where)
    children = component.get("children")
    if children is not None:
        several = children if isinstance(children, (list, tuple)) else [children]
        for number, child in enumerate(several):
            _check_component(child, f"{where}.children[{number}]")


@lru_cache
def _warn_unknown_field(kind: str, name: str, where: str) -> None:
    """Warn once: a newer ChatKit may have the field, but it is probably misspelled."""
    close = difflib.get_close_matches(name, COMPONENTS[kind].model_fields, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    logger.warning("%s: a %s has no field %r%s", where, kind, name, hint)


@lru_cache
def _fields_of(kind: str) -> type[BaseModel]:
    """A model of a component's own fields.

    openai-chatkit's classes raise a deprecation warning whenever one is made, even from a dict.
    """
    component = COMPONENTS[kind]
    # Some refer to a type, that of icons, which is defined only later.
    component.model_rebuild()
    fields: dict[str, Any] = {
        name: (given.annotation, given)
        for name, given in component.model_fields.items()
        if name != "children"
    }
    return create_model(kind, **fields)


def explain(error: ValidationError) -> str:
    """The first error in one line: the field, and what is wrong."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "value"
    what = first["msg"]
    return f"{where}: {what if len(what) <= 300 else what[:300] + '…'}"


def _names(names: Any) -> str:
    return ", ".join(sorted(names))


def _kind(value: object) -> str:
    return type(value).__name__
