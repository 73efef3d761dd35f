"""``flask chatkit doctor``: checks the set-up, and names each fault with its cure."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from ..doctor.report import CHECKS, Result
from ..doctor.run import diagnose
from ..errors import OptionError
from ..registry import ChatKitState
from ..runtime._upstream import this_app
from .base import counted, json_option, pass_kit, print_json, progress


@click.command()
@click.option("--url", help="The running site's address, to check its proxies, too.")
@click.option(
    "--page",
    "pages",
    multiple=True,
    default=("/",),
    show_default=True,
    help="The path of a page that shows a chat; may be given several times.",
)
@json_option
@pass_kit
def doctor(kit: ChatKitState, *, url: str | None, pages: tuple[str, ...], as_json: bool) -> None:
    """Check the set-up, and name each fault with its cure.

    Run it as the user who runs the site, with its configuration and environment. It exits with 1
    if there is an error.
    """
    try:
        with _quiet(), progress("Checking", len(CHECKS), hidden=as_json) as advance:
            results = diagnose(this_app(), kit, url, pages, advance)
    except OptionError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json([result.as_dict() for result in results])
    else:
        for line in _lines(results):
            click.echo(line)
    if any(result.status == "error" for result in results):
        raise click.exceptions.Exit(1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Disable the log: the checks report failures, with their cures."""
    logger = logging.getLogger("flask_chatkit")
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


def _lines(results: Sequence[Result]) -> Iterator[str]:
    """Yield the report: faults, then what a person has to check, then the numbers."""
    faults = [result for result in results if result.status in {"error", "warning"}]
    faults.sort(key=lambda result: result.status)
    for result in faults:
        colour = "red" if result.status == "error" else "yellow"
        yield f"{click.style(result.status, fg=colour)} {result.check}: {result.found}"
        yield f"  cure: {result.cure}"
    reminders = [result for result in results if result.status == "skipped" and result.cure]
    if reminders:
        yield "For you to look after:"
        for result in reminders:
            yield f"  {result.check}: {result.cure}"
    errors = sum(result.status == "error" for result in faults)
    good = len({result.check for result in results if result.status == "ok"})
    if faults:
        yield (
            f"{counted(errors, 'error')} and {counted(len(faults) - errors, 'warning')}; "
            f"{counted(good, 'check')} found nothing wrong"
        )
    else:
        yield click.style(f"All well: {counted(good, 'check')} found nothing wrong", fg="green")
