"""Where one kit keeps its history, records and files; each is opened when it is first needed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import current_app

from ..chats.served import ServedChat
from ..config import Settings
from ..errors import ConfigurationError, Misconfigured
from ..parsers import REDIRECT, X_SENDFILE

with warnings.catch_warnings():
    # openai-chatkit defines deprecated widget classes, which warns on import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from chatkit.store import Store

from .attachments.links import Links
from .history.base import DatabaseStore
from .history.isolation import isolate

if TYPE_CHECKING:
    from .attachments.files import Files
    from .attachments.store import Attachments
    from .history.store import SQLAlchemyStore

DATABASE = "chatkit.sqlite3"
UPLOADS = "chatkit-uploads"


class Storage:
    """The history, records and files of one kit on one application.

    :param kit: the kit's own name.
    :param settings: the kit's settings.
    :param keys: the signing keys, the newest last.
    :param store: the site's choice of a store for the whole kit; None for the settings' database.
    """

    def __init__(
        self, kit: str, settings: Settings, keys: Sequence[bytes], store: object = None
    ) -> None:
        self.settings = settings
        self.links = Links(keys, kit)
        self._given_store = store

    @cached_property
    def store(self) -> Store[Any]:
        """The history of chats whose server has no store of its own.

        :raises Misconfigured: it can't be opened.
        """
        if isinstance(self._given_store, Store):
            return isolate(self._given_store, self.settings.database_timeout)
        return self._open(self._given_store)

    @cached_property
    def records(self) -> DatabaseStore:
        """The store of sign-ins and revocations: :attr:`store` if that is a database.

        :raises Misconfigured: it can't be opened.
        """
        return self.store if isinstance(self.store, DatabaseStore) else self._open(None)

    @property
    def has_records(self) -> bool:
        """Whether :attr:`records` exist, or are configured.

        Where each server has a store of its own, no database is created only for them.
        """
        if "records" in vars(self):
            return True
        given = self._given_store
        if given is not None and (not isinstance(given, Store) or isinstance(given, DatabaseStore)):
            return True
        return self.settings.database_uri is not None or self._default_database.exists()

    def find_records(self) -> DatabaseStore | None:
        """:attr:`records`, unless nothing was recorded yet and no database has to be created."""
        if "records" not in vars(self) and (not self.has_records or self._is_missing):
            return None
        return self.records

    @property
    def _is_missing(self) -> bool:
        """Whether the history is a SQLite file that does not exist yet."""
        uri = self.settings.database_uri
        if self._given_store is not None or uri is None:
            return False
        from sqlalchemy import make_url

        url = make_url(uri)
        name = url.database or ":memory:"
        is_file = url.get_backend_name() == "sqlite" and not name.startswith((":", "file:"))
        return is_file and not Path(name).exists()

    @property
    def _default_database(self) -> Path:
        return Path(current_app.instance_path, DATABASE)

    def _open(self, given: Any) -> SQLAlchemyStore:
        # Imported only by sites that use it: SQLAlchemy alone takes 15 megabytes.
        from sqlalchemy import URL

        from .history.store import SQLAlchemyStore

        # Not a string: the path may contain characters that a URI reserves.
        default = URL.create("sqlite", database=str(self._default_database))
        try:
            return SQLAlchemyStore(
                given if given is not None else self.settings.database_uri or default,
                seconds=self.settings.database_timeout,
            )
        except ConfigurationError as error:
            raise Misconfigured(detail=str(error)) from None

    @cached_property
    def files(self) -> Files:
        """The bytes of attachments.

        :raises Misconfigured: the folder can't be used.
        """
        from .attachments.files import Files

        settings = self.settings
        folder = settings.upload_folder or f"{current_app.instance_path}/{UPLOADS}"
        try:
            return Files(
                folder,
                settings.max_upload_bytes,
                settings.upload_quota.total,
                shared=self.sendfile not in {None, REDIRECT},
            )
        except ConfigurationError as error:
            raise Misconfigured(detail=str(error)) from None

    @property
    def sendfile(self) -> str | None:
        """What sends files instead of Flask, as in ``CHATKIT_SENDFILE``; None for nothing.

        Flask's ``USE_X_SENDFILE`` is the default, for folders only.
        """
        is_url = "://" in (self.settings.upload_folder or "")
        default = X_SENDFILE if self.settings.use_x_sendfile and not is_url else None
        return self.settings.sendfile or default

    def with_files(self, store: Store[Any]) -> Store[Any]:
        """The store, which signs links and deletes bytes if it is a database."""
        if isinstance(store, DatabaseStore):
            return store.with_files(self.links, self.files)
        return store

    def attachments(self, chat: ServedChat, store: Store[Any]) -> Attachments:
        """The attachments of a chat.

        :param store: the history that has their metadata.
        :raises Misconfigured: the folder can't be used.
        """
        from .attachments.store import Attachments

        accepted = chat.attachments(self.settings) or {}
        return Attachments(
            self.files,
            self.links,
            store,
            max_bytes=accepted.get("maxSize", self.settings.max_upload_bytes),
            accept=accepted.get("accept"),
        )
