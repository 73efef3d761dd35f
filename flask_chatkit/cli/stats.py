"""``flask chatkit stats``: figures of the kit's chats."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import click

from ..activity import REASONS
from ..owner.stats import Figures, Stats, read_stats
from ..registry import ChatKitState
from .base import json_option, pass_kit, print_json

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def time_span(value: str) -> timedelta | datetime:
    """The type of ``--since``: a time span such as ``24h``, or a date or time in ISO 8601."""
    span = re.fullmatch(r"(\d{1,6})([mhdw])", value)
    if span:
        return timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a time span (90m, 24h, 7d, 2w) nor a date (2026-11-28)"
        ) from None


@click.command()
@click.option(
    "--since",
    type=time_span,
    default="24h",
    show_default=True,
    help="How far to look back (90m, 24h, 7d, 2w), or a date or time in UTC (2026-11-28).",
)
@json_option
@pass_kit
def stats(kit: ChatKitState, since: timedelta | datetime, *, as_json: bool) -> None:
    """Show figures of the kit's chats: messages, answers, refusals, feedback.

    Threads, messages and feedback are read from the history, to the second. Answers, secrets and
    refusals are counted by day in UTC, from the beginning of the first day.
    """
    try:
        found = read_stats(kit, since)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    if as_json:
        print_json(found.as_dict())
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: Stats) -> Iterator[str]:
    yield f"Threads, messages and feedback since {found.since:%Y-%m-%d %H:%M} UTC;"
    yield f"answers, secrets and refusals since {found.counted_since:%Y-%m-%d %H:%M} UTC."
    for name, figures in found.chats.items():
        yield ""
        yield f"{name}:"
        yield from _figures(figures)
    if len(found.chats) != 1:
        yield ""
        yield "in total:"
        yield from _figures(found.total)
    if found.notes:
        yield ""
        yield from found.notes


def _figures(figures: Figures) -> Iterator[str]:
    yield f"  threads    {figures.threads:>8,}"
    yield f"  messages   {figures.messages:>8,}"
    yield (
        f"  answers    {figures.answers:>8,}   finished {figures.finished:,}, "
        f"stopped {figures.stops:,}, declined {figures.declined:,}, failed {figures.failures:,}"
    )
    yield f"  secrets    {figures.secrets:>8,}"
    yield (
        f"  feedback   {figures.positive + figures.negative:>8,}   "
        f"positive {figures.positive:,}, negative {figures.negative:,}"
    )
    yield f"  refusals   {sum(figures.refusals.values()):>8,}"
    for reason, number in figures.refusals.items():
        yield f"    {reason:<18} {number:>6,}   {REASONS.get(reason, '')}".rstrip()
