"""The served chats of one kit on one application: each one's dispatcher, and what they share."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ..activity import Activity
from ..chats.served import ServedChat
from ..config import Settings
from ..identity.visitor import Visitor
from ..runtime._upstream import this_app
from .context import ChatContext
from .history.base import DatabaseStore, is_database_store
from .history.isolation import OwnedStore
from .history.outages import as_outage
from .protocol.dispatcher import Dispatcher
from .storage import Storage
from .streaming.run import run_at_once, run_sync
from .streaming.shared import Place, SharedAnswers
from .streaming.startup import Startup
from .wiring import FACTORY_SECONDS, is_attachments, make_server

if TYPE_CHECKING:
    from .history.counts import CountsWriter
    from .history.database import Database

logger = logging.getLogger("flask_chatkit")


class ServedChats:
    """The served chats of one kit on one application.

    :param kit: the kit's own name.
    :param settings: the kit's settings.
    :param keys: the signing keys, the newest last.
    :param activity: logs, counts and signals what happens.
    :param place: where processes meet to share answers.
    :param store: the site's choice of a store for the whole kit.
    :param startup: the site's functions that run before the first answer.
    """

    def __init__(
        self,
        kit: str,
        settings: Settings,
        keys: Sequence[bytes],
        activity: Activity,
        place: Place,
        store: object = None,
        startup: Sequence[Callable[[], Any]] = (),
    ) -> None:
        self.kit = kit
        self.settings = settings
        self.storage = Storage(kit, settings, keys, store)
        self._activity = activity
        self._startup = Startup(startup)
        self._shared = SharedAnswers(place)
        self._dispatchers: dict[str, Dispatcher] = {}
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def dispatcher(self, chat: ServedChat) -> Dispatcher:
        """The dispatcher of a chat, made with its server when it is first asked for.

        :raises Misconfigured: the site's code gives no server.
        """
        if self._pid != os.getpid():
            # The parent process's dispatchers belong to its event loop.
            self._lock, self._dispatchers, self._pid = threading.RLock(), {}, os.getpid()
        dispatcher = self._dispatchers.get(chat.name)
        if dispatcher is None:
            with self._lock:
                dispatcher = self._dispatchers.get(chat.name)
                if dispatcher is None:
                    dispatcher = self._dispatchers[chat.name] = self._make(chat)
        return dispatcher

    def _make(self, chat: ServedChat) -> Dispatcher:
        server, uploads = make_server(chat, self.storage, self._startup), None
        attachments = server.attachment_store
        if is_attachments(attachments):
            from .attachments.http import Uploads

            uploads = Uploads(attachments, self.storage.sendfile)
        if isinstance(server.store, DatabaseStore):
            self._counts.add_store(chat.name, server.store)
        return Dispatcher(
            chat, server, uploads, self.settings, self._activity, self._startup, self._shared
        )

    @cached_property
    def _counts(self) -> CountsWriter:
        from .history.counts import CountsWriter

        return CountsWriter(this_app(), self._activity)

    def flush_counts(self) -> None:
        """Write this process's counts at once; blocks."""
        if "_counts" in vars(self):
            self._counts.flush()

    def transfer_threads(self, chats: Sequence[ServedChat], old: Visitor, new: Visitor) -> bool:
        """Transfer an anonymous visitor's threads to the login that they signed in with.

        :param chats: all chats that the kit serves; each may have a store of its own.
        :returns: whether every store succeeded; failures are logged.
        """
        done: set[Database] = set()
        is_whole = True
        if self.storage.has_records:
            # First, so that what can't be transferred is still found as theirs.
            try:
                records = self.storage.records
                run_sync(None, lambda: records.add_alias(self.kit, old, new), FACTORY_SECONDS)
            except Exception:
                is_whole = False
                logger.exception("Who signed in as whom could not be noted")
        for chat in chats:
            try:
                store = self.dispatcher(chat).server.store
                if isinstance(store, OwnedStore):
                    transfer = partial(
                        store.transfer_threads,
                        ChatContext(visitor=old, kit=self.kit, chat=chat.name),
                        ChatContext(visitor=new, kit=self.kit, chat=chat.name),
                        chat.context or (lambda context: context),
                    )
                elif is_database_store(store):
                    if store.database in done:
                        continue
                    done.add(store.database)
                    transfer = partial(store.transfer_threads, self.kit, old, new)
                else:
                    continue
                run_sync(None, transfer, FACTORY_SECONDS)
            except Exception:
                is_whole = False
                logger.exception("The threads of the chat %r were not handed over", chat.name)
        return is_whole

    def revoked_at(self, digest: str) -> float | None:
        """When a visitor's sessions were last revoked, in Unix seconds; None if never.

        :param digest: :attr:`Visitor.digest <flask_chatkit.identity.visitor.Visitor.digest>`.
        """
        try:
            records = self.storage.find_records()
            if records is None:
                return None
            return run_at_once(lambda: records.revoked_at(self.kit, digest), FACTORY_SECONDS)
        except Exception as error:
            # Chats with another store go on.
            outage = as_outage(error)
            if outage is not None:
                logger.error(  # noqa: TRY400  each call logs it, so the traceback is left out
                    "Whether a visitor's data was deleted could not be asked: %s", outage.detail
                )
                return None
            logger.exception("Whether a visitor's data was deleted could not be asked")
            return None
