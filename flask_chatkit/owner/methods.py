"""The methods by which a site's owner looks after what a kit stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flask import current_app

from ..chats.declarations import DEFAULT
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
        """Count what happened in the kit's chats lately, on the current application.

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
        """Write the threads of hosted chats, which OpenAI stores, to a file as JSON Lines.

        One line for each thread or item, as OpenAI sends it, written as it is read. If the path
        has an earlier export, this one continues it. Within an application context.

        :param file: a path, or a text file open for writing.
        :param user: the key of one person, as for :meth:`export_user`; everybody by default.
        :param since: threads created then or later; a time without a zone is in UTC.
        :raises ApiError: OpenAI refuses, or can't be reached for long. What was written stays.
        :raises FileFormError: the file contains something else.
        :raises ValueError: the key is not of the accepted form.
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
        """Import an export of hosted threads into the history of a served chat.

        Threads and items keep OpenAI's ids, their times and their order. What exists already is
        not written again. Within an application context.

        :param file: a path, or the lines of an export.
        :param chat: the name of the served chat.
        :param map_users: is called with the user that OpenAI stores with a thread, and returns the
            key of a person, or None to leave the thread out. By default users are those that the
            kit sent to OpenAI: ``user:<login id>`` and ``anon:<id>``.
        :param dry_run: whether to count only. Files are not fetched then.
        :returns: what was imported, and what was not, with ids and reasons.
        :raises ConfigurationError: there is no such served chat.
        :raises FileFormError: a line is no thread or item; what came before it is imported.
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
        """Import hosted threads into the history of a served chat, straight from OpenAI.

        :meth:`export_threads` and :meth:`import_threads` in one, without a file. Of a thread that
        was imported before, only new items are fetched. Within an application context.

        :param user: as for :meth:`export_threads`, as are ``since`` and the errors.
        :param chat: as for :meth:`import_threads`, as are the others.
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
        """Return all that this kit stores of a person, record by record, each a dict for JSON.

        It is read while it is iterated over, within an application context. What could not be
        read is a record of its own at the end, ``{"record": "problem", "what": …}``.

        :param key: ``user:<login id>`` or ``anon:<id>``; a login id alone stands for ``user:``.
        :param files: a folder to copy the files into; by default only their names are exported.
        :param hosted: whether OpenAI is asked too; by default if the kit has or had hosted chats.
        :raises ValueError: the key is not of the accepted form.
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
        """Delete all that this kit stores of a person, for good.

        Within an application context; it blocks, so not on the event loop of the answers.

        :param key: as for :meth:`export_user`.
        :param dry_run: whether to count only.
        :param hosted: as for :meth:`export_user`.
        :returns: what was deleted, and what could not be: call it again for the latter.
        :raises ValueError: the key is not of the accepted form.
        :raises ConfigurationError: the packages of ``flask-chatkit[server]`` are not installed.
        """
        person = Visitor.from_key(key)
        check_extra("the deletion of a person's data")
        from .people import delete_person

        return delete_person(self._here(), person, dry_run=dry_run, hosted=hosted)

    def prune(self, older_than: timedelta | None = None, *, dry_run: bool = False) -> Pruned:
        """Delete this kit's threads that were not used for long, and files that were never sent.

        Within an application context; it blocks, so not on the event loop of the answers.

        :param older_than: how long; ``CHATKIT_KEEP_DAYS`` by default, and without it only files
            are deleted that were uploaded more than a day ago and never sent.
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
