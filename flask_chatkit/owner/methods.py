"""The methods by which a site's owner looks after what a kit stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flask import current_app

from ..chats.checks import DEFAULT
from ..config import check_extra
from ..errors import OptionError
from ..hosted.export import (
    Exported,
    export_threads,
    last_place,
    open_for_export,
    read_lines,
    threads_since,
)
from ..identity.visitor import Visitor
from ..registry import ChatKitState, Declarations, kits
from .stats import DEFAULT_SINCE, Stats, read_stats

if TYPE_CHECKING:
    from .carry import Carried, MapUsers
    from .people import Deletion
    from .prune import Pruned


class OwnerMethods:
    """The methods that read, move and delete a kit's data, within an application context."""

    name: str
    _declared: Declarations

    def stats(self, since: timedelta | datetime = DEFAULT_SINCE) -> Stats:
        """Return counts of what happened in the kit's chats on the current application.

        :param since: how far to look back, or a time; one without a zone is in UTC.
        :raises ValueError: it is in the future.
        :raises ChatKitError: the history can't be opened.
        """
        return read_stats(self._here(), since)

    def export_threads(
        self,
        file: str | Path | IO[str],
        *,
        user: str | None = None,
        since: datetime | None = None,
    ) -> Exported:
        """Write the threads that OpenAI keeps of hosted chats to a file, as JSON Lines.

        Each line is a thread or an item, as OpenAI sends it, written as soon as it is read. If the
        path has an earlier export, the export continues after it. Call it within an application
        context.

        :param file: a path, or a text file that is open for writing.
        :param user: the key of one person, as for :meth:`export_user`; by default everybody.
        :param since: only threads that began then or later; a time without a zone is in UTC.
        :raises ApiError: OpenAI refuses, or is unreachable for long. What was written stays.
        :raises FileFormError: the file contains something else.
        :raises ValueError: the key is invalid.
        """
        key = None if user is None else Visitor.from_key(user).key
        hosted = self._here().hosted_threads
        if not isinstance(file, (str, Path)):
            return export_threads(hosted, file, user=key, since=since)
        path = Path(file)
        place = last_place(path)
        with open_for_export(path) as opened:
            return export_threads(hosted, opened, user=key, since=since, place=place)

    def import_threads(
        self,
        file: str | Path | Iterable[str | bytes],
        *,
        chat: str = DEFAULT,
        map_users: MapUsers | None = None,
        dry_run: bool = False,
    ) -> Carried:
        """Copy an export of hosted threads into the history of a served chat.

        Threads and items keep OpenAI's ids, times and order. What is already there is not written
        again. Call it within an application context.

        :param file: a path, or the lines of an export.
        :param chat: the name of the served chat.
        :param map_users: called with the user that OpenAI has for a thread; returns the key of a
            person, or None to leave the thread out. By default users are those that the kit named
            to OpenAI: ``user:<login id>`` and ``anon:<id>``.
        :param dry_run: whether to count only. Files are not fetched then.
        :returns: what was copied, and what was not, with ids and reasons.
        :raises ConfigurationError: there is no such served chat.
        :raises FileFormError: a line is no thread or item; what came before it has been copied.
        """
        check_extra("an import of threads")
        from .carry import Carrier

        carrier = Carrier(self._here(), chat, map_users=map_users, dry_run=dry_run)
        if not isinstance(file, (str, Path)):
            return carrier.carry_lines(read_lines(file, "the export"))
        with Path(file).open("rb") as opened:
            return carrier.carry_lines(read_lines(opened, Path(file).name))

    def migrate_threads(
        self,
        *,
        user: str | None = None,
        since: datetime | None = None,
        chat: str = DEFAULT,
        map_users: MapUsers | None = None,
        dry_run: bool = False,
    ) -> Carried:
        """Copy hosted threads into the history of a served chat, straight from OpenAI.

        Does what :meth:`export_threads` and :meth:`import_threads` do, without a file. For a thread
        that was copied before, only new items are requested. Call it within an application context.

        :param user: as for :meth:`export_threads`, like ``since`` and the exceptions.
        :param chat: as for :meth:`import_threads`, like the other arguments.
        """
        key = None if user is None else Visitor.from_key(user).key
        check_extra("an import of threads")
        from .carry import Carrier

        kit = self._here()
        carrier = Carrier(kit, chat, map_users=map_users, dry_run=dry_run)
        threads = threads_since(kit.hosted_threads, key, since)
        return carrier.carry_hosted(kit.hosted_threads, threads)

    def export_user(
        self, key: str, *, files: str | Path | None = None, hosted: bool | None = None
    ) -> Iterator[dict[str, Any]]:
        """Return everything that this kit stores about a person, one dict for JSON per record.

        The records are read while you iterate over them, within an application context. What could
        not be read is a record at the end, ``{"record": "problem", "what": …}``.

        :param key: ``user:<login id>`` or ``anon:<id>``; a login id alone is taken for ``user:``.
        :param files: a folder to copy the files into; by default only their names are exported.
        :param hosted: whether to ask OpenAI too; by default if the kit has or had hosted chats.
        :raises ValueError: the key is invalid.
        :raises ConfigurationError: the packages of ``flask-chatkit[server]`` are not installed.
        """
        person = Visitor.from_key(key)
        check_extra("the export of a person's data")
        from .export import export_person

        folder = None if files is None else Path(files)
        return export_person(self._here(), person, folder=folder, hosted=hosted)

    def delete_user(
        self, key: str, *, dry_run: bool = False, hosted: bool | None = None
    ) -> Deletion:
        """Delete everything that this kit stores about a person, for good.

        Call it within an application context. It blocks, so do not call it on the event loop of the
        answers.

        :param key: as for :meth:`export_user`.
        :param dry_run: whether to count only.
        :param hosted: as for :meth:`export_user`.
        :returns: what was deleted, and what could not be: call it again for the latter.
        :raises ValueError: the key is invalid.
        :raises ConfigurationError: the packages of ``flask-chatkit[server]`` are not installed.
        """
        person = Visitor.from_key(key)
        check_extra("the deletion of a person's data")
        from .people import delete_person

        return delete_person(self._here(), person, dry_run=dry_run, hosted=hosted)

    def prune(self, older_than: timedelta | None = None, *, dry_run: bool = False) -> Pruned:
        """Delete this kit's unused threads, and files that were never sent.

        Call it within an application context. It blocks, so do not call it on the event loop of the
        answers.

        :param older_than: how long threads must be unused; by default ``CHATKIT_KEEP_DAYS``.
            Without either, only files are deleted that were uploaded more than a day ago and never
            sent.
        :param dry_run: whether to count only.
        :returns: what was deleted, and what could not be.
        :raises ValueError: ``older_than`` is not above zero.
        :raises ConfigurationError: the packages of ``flask-chatkit[server]`` are not installed.
        """
        check_extra("pruning the history")
        from .prune import prune

        return prune(self._here(), older_than, dry_run=dry_run)

    def _here(self) -> ChatKitState:
        """The kit's state on the current application."""
        for state in kits(current_app).values():
            if state.declared is self._declared:
                return state
        raise OptionError(f"the kit {self.name!r} is not registered on this application")
