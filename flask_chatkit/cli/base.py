"""Shared parts of all commands: the kit, the application context, ``--json``, exit statuses.

A command exits with 0 for success, 1 for a failure, and 2 for a wrong call.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import update_wrapper
from typing import Any, TypeVar

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from ..errors import ApiError, ChatKitError, OptionError
from ..identity.visitor import Visitor
from ..registry import ChatKitState, Declarations, kits

F = TypeVar("F", bound=Callable[..., Any])

#: Seconds after which a command on a terminal shows its progress.
PROGRESS_AFTER = 1.0


class KitGroup(AppGroup):
    """The commands of one kit: ``flask chatkit``, or ``flask staff`` for ``ChatKit("staff")``.

    :param declared: the declarations of the kit, by which its state is found.
    """

    def __init__(self, declared: Declarations) -> None:
        super().__init__(help="Move, check and look after the chats of this kit.")
        self.declared = declared


def pass_kit(function: F) -> F:
    """Call a command with its kit's state, in the application context; a decorator.

    Errors of the package are shown in one line, and the command exits with 1.
    """

    @click.pass_context
    @with_appcontext
    def invoke(context: click.Context, /, *args: Any, **options: Any) -> Any:
        try:
            return function(_kit_of(context), *args, **options)
        except ChatKitError as error:
            raise click.ClickException(_message(error)) from error

    return update_wrapper(invoke, function)  # type: ignore[return-value]  # click's own typing


def _kit_of(context: click.Context) -> ChatKitState:
    place: click.Context | None = context
    while place is not None and not isinstance(place.command, KitGroup):
        place = place.parent
    if place is None:
        raise click.UsageError("this command belongs to the group of a kit: flask chatkit …")
    group = place.command
    assert isinstance(group, KitGroup)  # noqa: S101  for the type checker
    states = {
        name: state for name, state in kits(current_app).items() if state.declared is group.declared
    }
    if not states:
        raise OptionError("this kit is not registered on the application")
    # A kit may be registered under several names; the one on the command line comes first.
    return states.get(place.info_name or "") or next(iter(states.values()))


def _message(error: ChatKitError) -> str:
    if isinstance(error, ApiError):
        # The command line is the owner's, who may see the details that are only logged on the web.
        return f"{error.description} ({error.detail})" if error.detail else str(error.description)
    return str(error)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def person(key: str) -> Visitor:
    """The type of a command's KEY: ``user:<login id>``, ``anon:<id>``, or a bare login id."""
    try:
        return Visitor.from_key(key)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def print_json(value: Any) -> None:
    """Print a value as JSON on one line."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 thread``, ``2,000 threads``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@contextmanager
def progress(
    label: str, length: int | None = None, *, hidden: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show click's progress bar on a terminal, once the work has taken more than a second.

    :param label: the bar's label.
    :param length: the number of steps; None if it is not known.
    :param hidden: whether to show no bar at all, such as with ``--json``.
    :returns: a function to call with the number of steps done since the last call.
    """
    shown = not hidden and sys.stderr.isatty()
    started, waiting = time.monotonic(), 0
    # Without a length, click needs an iterable; update() keeps the count.
    steps: Iterable[Any] | None = None if length is not None else iter(())
    bar = click.progressbar(steps, length=length, label=label, file=sys.stderr)
    entered = False

    def advance(count: int = 1) -> None:
        nonlocal waiting, entered
        waiting += count
        if shown and time.monotonic() - started > PROGRESS_AFTER:
            if not entered:
                bar.__enter__()
                entered = True
            bar.update(waiting)
            waiting = 0

    try:
        yield advance
    finally:
        if entered:
            bar.__exit__(None, None, None)
