"""Recognises code that Agent Builder exports, without importing any extra package."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ...errors import ConfigurationError

#: The field of the export's ``WorkflowInput`` that holds the visitor's message.
FIELD = "input_as_text"


def workflow_input(function: object) -> type[Any] | None:
    """Return the pydantic model that an exported workflow takes; None if it is not one.

    :param function: a function whose one required parameter is annotated with a pydantic model
        that has a field ``input_as_text``.
    :raises ConfigurationError: the model has other required fields, which no message has.
    """
    if isinstance(function, type) or not callable(function):
        return None
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    required = [
        one
        for one in parameters
        if one.default is one.empty and one.kind not in {one.VAR_POSITIONAL, one.VAR_KEYWORD}
    ]
    if len(required) != 1 or required[0].kind is inspect.Parameter.KEYWORD_ONLY:
        return None
    model = _evaluated(required[0].annotation, function)
    fields = getattr(model, "model_fields", None)
    if not isinstance(model, type) or not isinstance(fields, dict) or FIELD not in fields:
        return None
    others = sorted(name for name, one in fields.items() if name != FIELD and one.is_required())
    if others:
        raise ConfigurationError(
            f"the workflow {_name(function)} takes a {model.__name__} that requires "
            f"{', '.join(others)}: a visitor's message has {FIELD} only, so give the other fields "
            "a default"
        )
    return model


def checked_input(function: object, what: str) -> type[Any]:
    """Return the pydantic model that an exported workflow takes.

    :param what: what the function is for, in the error.
    :raises ConfigurationError: it is not an exported workflow.
    """
    model = workflow_input(function)
    if model is None:
        raise ConfigurationError(
            f"{what} must be the run_workflow function that Agent Builder exports: its one "
            f"required parameter is annotated with a pydantic model that has a field {FIELD}"
        )
    return model


def refuse_workflow(function: object, what: str, name: str) -> None:
    """Refuse an exported workflow for another purpose.

    :raises ConfigurationError: the function is an exported workflow.
    """
    if workflow_input(function) is not None:
        raise ConfigurationError(
            f"the {what} of the chat {name!r} is an exported workflow: "
            f"use chatkit.add_workflow({name!r}, {_name(function)})"
        )


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    plain = inspect.unwrap(function)
    plain = getattr(plain, "func", plain)
    if not hasattr(plain, "__globals__"):
        plain = getattr(type(plain), "__call__", plain)  # noqa: B004 - it is callable
    try:
        # Like typing.get_type_hints, whose other annotations may exist for type checkers only.
        return eval(annotation, getattr(plain, "__globals__", {}))  # noqa: S307 - the site's code
    except Exception:  # noqa: BLE001 - then it is no model
        return None


def _name(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
