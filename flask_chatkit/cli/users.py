"""``user export`` and ``user delete`` for one person's data; ``prune`` for unused data."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from ..config import check_extra
from ..identity.visitor import Visitor
from ..registry import ChatKitState
from .base import counted, json_option, pass_kit, person, print_json, progress

if TYPE_CHECKING:
    from ..owner.people import Deletion
    from ..owner.prune import Pruned

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}

hosted_option = click.option(
    "--hosted/--no-hosted",
    default=None,
    help="Whether OpenAI is asked for hosted threads; by default if the kit has or had some.",
)


def age(value: str) -> timedelta:
    """The type of an age: ``12h``, ``90d`` or ``2w``."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", value.strip())
    if match is None:
        raise click.BadParameter("an age is a number of hours, days or weeks: 12h, 90d or 2w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.group()
def user() -> None:
    """Export or delete all data of one person.

    KEY is user:<login id> or anon:<id>; a bare login id stands for user:.
    """


@user.command("export")
@click.argument("key", type=person)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
@click.option(
    "--files",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder to copy the files into.",
)
@hosted_option
@pass_kit
def export_command(
    kit: ChatKitState,
    key: Visitor,
    file: str,
    folder: Path | None,
    hosted: bool | None,  # noqa: FBT001  an option
) -> None:
    """Write all data of a person as JSON Lines, one record a line.

    To FILE, which only its owner can read, or to the terminal.
    """
    check_extra("the export of a person's data")
    from ..owner.export import export_person
    from ..owner.stores import Problems

    problems = Problems()
    records = export_person(kit, key, folder=folder, hosted=hosted, problems=problems)
    written: Counter[str] = Counter()
    with _opened(file) as target, progress("Exporting", hidden=file == "-") as advance:
        for record in records:
            target.write(json.dumps(record, ensure_ascii=False) + "\n")
            written[record["record"]] += 1
            advance(1)
    if file != "-":
        _print_export(key, file, written)
    _fail_with(problems)


def _opened(file: str) -> AbstractContextManager[IO[str]]:
    """Open the file, which only its owner can read, or the terminal."""
    if file == "-":
        return nullcontext(sys.stdout)
    descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _print_export(key: Visitor, file: str, written: Counter[str]) -> None:
    written.pop("person", None)
    counts = ", ".join(counted(count, kind) for kind, count in written.items())
    click.echo(f"Wrote to {file}: {counts or f'nothing is known of {key.key}'}.")


@user.command("delete")
@click.argument("key", type=person)
@click.option("--dry-run", is_flag=True, help="Only count what would be deleted.")
@hosted_option
@json_option
@pass_kit
def delete_command(
    kit: ChatKitState,
    key: Visitor,
    dry_run: bool,  # noqa: FBT001  an option
    hosted: bool | None,  # noqa: FBT001  an option
    as_json: bool,  # noqa: FBT001  an option
) -> None:
    """Delete all data of a person, for good."""
    check_extra("the deletion of a person's data")
    from ..owner.people import delete_person

    with progress("Deleting", hidden=as_json) as advance:
        done = delete_person(kit, key, dry_run=dry_run, hosted=hosted, advance=advance)
    if as_json:
        print_json(dataclasses.asdict(done))
    else:
        _print_deletion(done)
    _fail_with(done.problems)


@click.command("prune")
@click.option(
    "--older-than",
    type=age,
    help="Delete threads unused for so long: 12h, 90d, 2w. CHATKIT_KEEP_DAYS by default.",
)
@click.option("--dry-run", is_flag=True, help="Only count what would be deleted.")
@json_option
@pass_kit
def prune_command(
    kit: ChatKitState,
    older_than: timedelta | None,
    dry_run: bool,  # noqa: FBT001  an option
    as_json: bool,  # noqa: FBT001  an option
) -> None:
    """Delete unused threads, and files that were never sent.

    Without an age and without CHATKIT_KEEP_DAYS, only the files.
    """
    check_extra("pruning the history")
    from ..owner.prune import prune

    with progress("Pruning", hidden=as_json) as advance:
        done = prune(kit, older_than, dry_run=dry_run, advance=advance)
    if as_json:
        since = done.unused_since and done.unused_since.isoformat()
        print_json({**dataclasses.asdict(done), "unused_since": since})
    else:
        _print_pruned(done)
    _fail_with(done.problems)


def _fail_with(problems: list[str]) -> None:
    for problem in problems:
        click.echo(f"Failed: {problem}", err=True)
    if problems:
        click.echo("The rest is done. Run the same command again for what failed.", err=True)
        click.get_current_context().exit(1)


def _print_deletion(done: Deletion) -> None:
    verb = "Would delete" if done.dry_run else "Deleted"
    click.echo(
        f"{verb} of {done.key}: {counted(done.threads, 'thread')} with "
        f"{counted(done.items, 'item')}, {counted(done.files, 'file')}, "
        f"{counted(done.feedback, 'thumb up or down', 'thumbs up or down')}."
    )
    if done.aliases:
        ids = counted(len(done.aliases), "anonymous id")
        click.echo(f"With what was begun before signing in, under {ids}: {', '.join(done.aliases)}")
    if done.asked_openai:
        click.echo(f"{verb} at OpenAI: {counted(done.hosted_threads, 'hosted thread')}.")
    else:
        click.echo("OpenAI was not asked: the kit has no hosted chats (--hosted asks anyway).")
    if not done.dry_run:
        click.echo("Secrets of served chats that were handed out before are refused from now on.")


def _print_pruned(done: Pruned) -> None:
    verb = "Would delete" if done.dry_run else "Deleted"
    if done.unused_since is None:
        click.echo("Threads were not checked: give --older-than, or set CHATKIT_KEEP_DAYS.")
    else:
        click.echo(
            f"{verb}, unused since {done.unused_since:%Y-%m-%d %H:%M} UTC: "
            f"{counted(done.threads, 'thread')} with {counted(done.items, 'item')} and "
            f"{counted(done.files, 'file')}."
        )
    click.echo(
        f"{verb}: {counted(done.unsent, 'file')} never sent, "
        f"{counted(done.orphans, 'file')} that nothing refers to any more, "
        f"{counted(done.leftovers, 'broken upload')}."
    )
    if done.strays:
        click.echo(f"{verb}: {counted(done.strays, 'message')} of threads that are gone already.")
    for note in done.notes:
        click.echo(note)


#: The commands of the kit's group.
COMMANDS: tuple[click.Command, ...] = (user, prune_command)
