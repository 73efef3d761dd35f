"""The doctor's findings, and the registry of its checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

Status = Literal["ok", "warning", "error", "skipped"]

#: Seconds that one check may take by default.
SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    :param status: ``ok``; ``warning`` for a fault that affects some visitors, or later; ``error``
        for one that affects visitors now; ``skipped`` for what does not apply or can't be checked.
    :param found: the finding, in one line, without any secret.
    :param cure: what to do, in one line; empty if there is nothing to do.
    """

    status: Status
    found: str
    cure: str = ""


@dataclass(frozen=True)
class Result(Finding):
    """A finding with the check that made it.

    :param check: the check's name, which stays the same in later releases.
    """

    check: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the result for ``--json``."""
        return {"check": self.check, **{k: v for k, v in asdict(self).items() if k != "check"}}


def ok(found: str) -> Finding:
    """Return a finding for something that is right."""
    return Finding("ok", found)


def warning(found: str, cure: str) -> Finding:
    """Return a finding for a fault that affects some visitors, or all of them later."""
    return Finding("warning", found, cure)


def error(found: str, cure: str) -> Finding:
    """Return a finding for a chat that does not work or is not safe."""
    return Finding("error", found, cure)


def skipped(found: str, cure: str = "") -> Finding:
    """Return a finding for what does not apply or, with a cure, has to be checked by a person."""
    return Finding("skipped", found, cure)


@dataclass(frozen=True)
class Check:
    """One check.

    :param name: its name in the output.
    :param about: what it checks, for the table of ``docs/deployment.md``.
    :param run: a function of the :class:`~flask_chatkit.doctor.site.Site` that yields findings,
        called in the application context.
    :param cure: what to do if the check itself fails or does not end.
    :param seconds: the most seconds it may take.
    :param needs_key: whether it needs a ``SECRET_KEY``.
    """

    name: str
    about: str
    run: Callable[[Any], Iterable[Finding]]
    cure: str
    seconds: float = SECONDS
    needs_key: bool = False


#: All checks, in the order in which they run.
CHECKS: list[Check] = []

C = TypeVar("C", bound=Callable[[Any], Iterable[Finding]])


def check(
    name: str, about: str, *, cure: str, seconds: float = SECONDS, needs_key: bool = False
) -> Callable[[C], C]:
    """Register a check; a decorator. The arguments are those of :class:`Check`."""

    def register(function: C) -> C:
        CHECKS.append(Check(name, about, function, cure, seconds, needs_key))
        return function

    return register
