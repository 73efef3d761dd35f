"""The tokens that an answer uses."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Usage:
    """The usage of one answer, as its models count it.

    :param requests: answered calls to a model.
    :param input_tokens: tokens of the models' input.
    :param output_tokens: tokens of their output.
    :param total_tokens: both.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class _Counts(Protocol):
    """A usage of the Agents SDK (``agents.Usage``), or :class:`Usage`."""

    requests: int
    input_tokens: int
    output_tokens: int
    total_tokens: int


#: The usages of the current answer's runs; the SDK updates them while they run.
_runs: ContextVar[list[Any]] = ContextVar("flask_chatkit_usage")


def begin_usage() -> None:
    """Start counting for a new answer. Call it in the answer's task."""
    _runs.set([])


def count_run(usage: _Counts) -> None:
    """Count a run of this answer by its ``result.context_wrapper.usage``; else do nothing."""
    runs = _runs.get(None)
    if runs is not None:
        runs.append(usage)


def current_usage() -> Usage | None:
    """Return the usage of the current answer so far. Call it in the answer's task.

    It includes all runs, also retried ones and the title's, but no model call that was stopped or
    failed: services don't report its usage.

    :returns: None if the Agents SDK has called no model.
    """
    runs = _runs.get(None)
    if not runs:
        return None
    names = ("requests", "input_tokens", "output_tokens", "total_tokens")
    return Usage(**{name: sum(getattr(run, name) for run in runs) for name in names})
