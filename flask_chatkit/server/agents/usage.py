"""How many tokens an answer took."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Usage:
    """What the models of one answer have counted.

    :param requests: calls to a model that were answered.
    :param input_tokens: tokens that the models read.
    :param output_tokens: tokens that they wrote.
    :param total_tokens: both, as the models' services count them.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class _Counts(Protocol):
    """A usage as the Agents SDK has it (``agents.Usage``), or ours."""

    requests: int
    input_tokens: int
    output_tokens: int
    total_tokens: int


#: The usages of the runs of the answer under way, which grow while the runs do.
_runs: ContextVar[list[Any]] = ContextVar("flask_chatkit_usage")


def begin_usage() -> None:
    """Count anew: an answer begins. To be called in the answer's task."""
    _runs.set([])


def count_run(usage: _Counts) -> None:
    """Count a run of this answer, from its beginning: ``result.context_wrapper.usage``.

    It does nothing outside an answer.
    """
    runs = _runs.get(None)
    if runs is not None:
        runs.append(usage)


def current_usage() -> Usage | None:
    """What the answer under way has used so far; to be called in the answer's task.

    All runs are in it, the retried ones and the title's too. A call to a model that was stopped or
    failed is not: no service says what it took.

    :returns: None if no model was asked by way of the Agents SDK.
    """
    runs = _runs.get(None)
    if not runs:
        return None
    names = ("requests", "input_tokens", "output_tokens", "total_tokens")
    return Usage(**{name: sum(getattr(run, name) for run in runs) for name in names})
