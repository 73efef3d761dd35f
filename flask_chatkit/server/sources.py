"""Imports what ``CHATKIT_SERVER`` names, and detects its kind."""

from __future__ import annotations

import importlib
import inspect
import warnings
from typing import Any

from ..errors import ConfigurationError
from .agents.shape import workflow_input

with warnings.catch_warnings():
    # openai-chatkit defines deprecated widget classes, which warns on import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from chatkit.server import ChatKitServer

#: The parameters that a factory may have; ChatKitServer's constructor has the same.
GIVEN = frozenset({"store", "attachment_store"})

ACCEPTED = (
    "a ChatKitServer or what makes one (with the parameters store and attachment_store, or none), "
    "an Agent, a function (message, chat), or a workflow that Agent Builder exports: "
    "run_workflow(workflow_input: WorkflowInput)"
)


def imported(path: str) -> Any:
    """Import ``package.module:attribute``.

    :raises ConfigurationError: its module can't be imported, or has no such attribute.
    """
    module, _, attribute = path.partition(":")
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise ConfigurationError(
            f"CHATKIT_SERVER: the module {module!r} can't be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    return _attribute(found, attribute)


def kind_of(value: object) -> str:
    """The kind of a value: ``server``, ``agent``, ``workflow`` or ``assistant``.

    :raises ConfigurationError: it is none of these; the message names the accepted forms.
    """
    from agents import Agent

    if isinstance(value, ChatKitServer):
        return "server"
    if isinstance(value, Agent):
        return "agent"
    if workflow_input(value) is not None:
        return "workflow"
    if callable(value):
        if required(value) <= GIVEN:
            return "server"
        if not isinstance(value, type) and _takes_two(value):
            return "assistant"
    name = getattr(value, "__name__", type(value).__name__)
    raise ConfigurationError(f"CHATKIT_SERVER must name {ACCEPTED}; it names {name}")


def parameters(value: Any) -> list[inspect.Parameter]:
    """The parameters of a callable."""
    try:
        return list(inspect.signature(value).parameters.values())
    except ValueError:
        # A builtin without a signature.
        return []


def required(value: Any) -> set[str]:
    """The names of a callable's required parameters."""
    return {
        parameter.name
        for parameter in parameters(value)
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    }


def _attribute(found: Any, path: str) -> Any:
    try:
        for name in path.split("."):
            found = getattr(found, name)
    except AttributeError as error:
        raise ConfigurationError(f"CHATKIT_SERVER: {error}") from error
    return found


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind("message", "chat")
    except (TypeError, ValueError):
        return False
    return True
