"""What the doctor finds, and the registry of its checks."""

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

    :param status: ``ok``; ``warning``, what will hurt some visitors or some day; ``error``, what
        hurts now; ``skipped``, what does not apply, or can't be checked from here.
    :param found: what was found, in one line, without any secret.
    :param cure: what to do, in one line; empty where there is nothing to do.
    """

    status: Status
    found: str
    cure: str = ""


@dataclass(frozen=True)
class Result(Finding):
    """A finding with the check that made it.

    :param check: the check's name, which stays the same from release to release.
    """

    check: str = ""

    def as_dict(self) -> dict[str, str]:
        """The result as ``--json`` prints it."""
        return {"check": self.check, **{k: v for k, v in asdict(self).items() if k != "check"}}


def ok(found: str) -> Finding:
    """All is well."""
    return Finding("ok", found)


def warning(found: str, cure: str) -> Finding:
    """Some visitors will be hurt, or all of them some day."""
    return Finding("warning", found, cure)


def error(found: str, cure: str) -> Finding:
    """The chat does not work, or is not safe."""
    return Finding("error", found, cure)


def skipped(found: str, cure: str = "") -> Finding:
    """It does not apply; or, with a cure, it is for a person to look after."""
    return Finding("skipped", found, cure)


@dataclass(frozen=True)
class Check:
    """One check.

    :param name: what it is called in the output.
    :param about: what it checks, as the table of ``docs/deployment.md`` has it.
    :param run: a function of the :class:`~flask_chatkit.doctor.site.Site` that yields the findings,
        called inside the application's context.
    :param cure: what to do where the check itself fails or does not end.
    :param seconds: how long it may take.
    :param needs_key: whether it says nothing without a ``SECRET_KEY``.
    """

    name: str
    about: str
    run: Callable[[Any], Iterable[Finding]]
    cure: str
    seconds: float = SECONDS
    needs_key: bool = False


#: All checks, in the order in which they are made.
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
