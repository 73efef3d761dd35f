"""``flask chatkit threads``: exports OpenAI's threads, and imports them into the history."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
from werkzeug.utils import ImportStringError, import_string

from ..chats.checks import DEFAULT
from ..config import check_extra
from ..errors import ConfigurationError
from ..hosted.export import (
    Exported,
    export_threads,
    last_place,
    open_for_export,
    read_lines,
    threads_since,
)
from ..identity.visitor import Visitor
from ..registry import ChatKitState
from .base import counted, json_option, pass_kit, person, print_json, progress

if TYPE_CHECKING:
    from ..owner.carry import Carried

F = TypeVar("F", bound=Callable[..., Any])


def moment(given: str) -> datetime:
    """The type of ``--since``: a date, or a date and time, in UTC without a zone."""
    try:
        return datetime.fromisoformat(given.replace("Z", "+00:00"))
    except ValueError:
        raise click.BadParameter(
            "it must be a date such as 2026-01-31, or a time such as 2026-01-31T12:00"
        ) from None


def function(given: str) -> Callable[[str], Any]:
    """The type of ``--map-users``: ``module:function``."""
    form = "it must be module:function, for a function of OpenAI's user"
    try:
        found = import_string(given)
    except (ImportStringError, ValueError) as error:
        reason = getattr(error, "exception", error)
        raise click.BadParameter(f"{form}: {reason}") from None
    if ":" not in given or not callable(found):
        raise click.BadParameter(form)
    return found  # type: ignore[no-any-return]  # any callable


user_option = click.option(
    "--user", type=person, metavar="KEY", help="Only the threads of one person: user:… or anon:…"
)
since_option = click.option(
    "--since", type=moment, metavar="DATE", help="Only threads created then or later (UTC)."
)


def import_options(command: F) -> F:
    """The options of ``import`` and ``migrate``."""
    for option in (
        json_option,
        click.option("--dry-run", is_flag=True, help="Only count and check; change nothing."),
        click.option(
            "--map-users",
            type=function,
            metavar="MODULE:FUNCTION",
            help="Returns a person's key for OpenAI's user, or None to leave the thread out.",
        ),
        click.option(
            "--chat", default=DEFAULT, show_default=True, help="The served chat they belong to."
        ),
    ):
        command = option(command)
    return command


@click.group("threads")
def group() -> None:
    """Move the threads of hosted chats from OpenAI to your own history."""


@group.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@user_option
@since_option
@json_option
@pass_kit
def export_command(
    kit: ChatKitState,
    file: Path | None,
    user: Visitor | None,
    since: datetime | None,
    as_json: bool,  # noqa: FBT001  an option
) -> None:
    """Write OpenAI's threads and items to FILE as JSON Lines, or print them.

    If FILE has an earlier export, it is continued.
    """
    place = None if file is None else last_place(file)
    opened = nullcontext(sys.stdout) if file is None else open_for_export(file)
    with opened as target, progress("Exporting", hidden=file is None or as_json) as advance:
        done = export_threads(
            kit.hosted_threads,
            target,
            user=user.key if user else None,
            since=since,
            place=place,
            advance=advance,
        )
    for thread in done.cut:
        click.echo(f"The thread {thread} is incomplete: an item has more than 64 MiB.", err=True)
    if as_json and file is not None:
        print_json(dataclasses.asdict(done))
    else:
        _print_export(done, file)
    if done.cut:
        raise click.exceptions.Exit(1)


def _print_export(done: Exported, file: Path | None) -> None:
    after = f", after {done.resumed_after}" if done.resumed_after else ""
    where = f" to {file}" if file else ""
    words = (
        f"Wrote {counted(done.threads, 'thread')} and {counted(done.items, 'item')}{where}{after}."
    )
    click.echo(words, err=file is None)


@group.command("import")
@click.argument("file", type=click.File("rb"))
@import_options
@pass_kit
def import_command(
    kit: ChatKitState,
    file: IO[bytes],
    chat: str,
    map_users: Callable[[str], Any] | None,
    dry_run: bool,  # noqa: FBT001  an option
    as_json: bool,  # noqa: FBT001  an option
) -> None:
    """Import FILE, an export, into the history of a served chat.

    It may be repeated: existing threads and items are left as they are.
    """
    check_extra("an import of threads")
    from ..owner.carry import Carrier

    with progress("Importing", hidden=as_json) as advance, _usage_errors():
        carrier = Carrier(kit, chat, map_users=map_users, dry_run=dry_run, advance=advance)
        done = carrier.carry_lines(read_lines(file, file.name))
    _report(done, as_json=as_json)


@group.command("migrate")
@user_option
@since_option
@import_options
@pass_kit
def migrate_command(
    kit: ChatKitState,
    user: Visitor | None,
    since: datetime | None,
    chat: str,
    map_users: Callable[[str], Any] | None,
    dry_run: bool,  # noqa: FBT001  an option
    as_json: bool,  # noqa: FBT001  an option
) -> None:
    """Import OpenAI's threads directly into the history of a served chat.

    It may be repeated: only new items of existing threads are fetched.
    """
    check_extra("an import of threads")
    from ..owner.carry import Carrier

    with progress("Migrating", hidden=as_json) as advance, _usage_errors():
        carrier = Carrier(kit, chat, map_users=map_users, dry_run=dry_run, advance=advance)
        threads = threads_since(kit.hosted_threads, user.key if user else None, since)
        done = carrier.carry_hosted(kit.hosted_threads, threads)
    _report(done, as_json=as_json)


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Report an unknown chat as a usage error."""
    try:
        yield
    except ConfigurationError as error:
        raise click.BadParameter(str(error), param_hint="--chat") from error


def _report(done: Carried, *, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(done))
    else:
        _print_words(done)
    if done.lost or done.more_problems:
        raise click.exceptions.Exit(1)


def _print_words(done: Carried) -> None:
    verb = "Would carry" if done.dry_run else "Carried"
    click.echo(
        f"{verb} {counted(done.threads, 'thread')} with {counted(done.items, 'item')} and "
        f"{counted(done.files, 'file')} into the chat {done.chat!r}."
    )
    if done.known_threads or done.known_items:
        click.echo(
            f"{counted(done.known_threads, 'thread')} and {counted(done.known_items, 'item')} were "
            "there before."
        )
    for lost, title in ((True, "Not carried over"), (False, "Carried over in part")):
        problems = [problem for problem in done.problems if problem.lost is lost]
        if problems:
            click.echo(f"{title}: {len(problems)}", err=True)
        for problem in problems:
            item = f", item {problem.item}" if problem.item else ""
            click.echo(f"  thread {problem.thread}{item}: {problem.reason}", err=True)
    if done.more_problems:
        click.echo(f"And {done.more_problems:,} more.", err=True)
