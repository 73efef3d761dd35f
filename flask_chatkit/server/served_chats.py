"""What the served chats of one kit on one application share: their servers, store and files."""

from __future__ import annotations

import copy
import inspect
import logging
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flask import current_app

from ..activity import Activity
from ..chats.declarations import ServedChat
from ..config import REDIRECT, X_SENDFILE, Settings
from ..errors import ChatKitError, ConfigurationError, Misconfigured
from ..identity.visitor import Visitor

with warnings.catch_warnings():
    # openai-chatkit marks its own widget classes as deprecated, and warns when it defines them.
    warnings.simplefilter("ignore", DeprecationWarning)
    from chatkit.server import ChatKitServer
    from chatkit.store import Store

from .assistants.base import keep_whole
from .attachments.links import Links
from .context import ChatContext
from .history.isolation import OwnedStore, isolate
from .history.outages import as_outage
from .protocol.dispatcher import Dispatcher
from .sources import GIVEN, imported, kind_of, parameters
from .streaming.run import run_at_once, run_sync, this_app
from .streaming.startup import Startup, StartupFailed

if TYPE_CHECKING:
    from .agents.server import AgentServer
    from .attachments.files import Files
    from .attachments.store import Attachments
    from .history.counts import CountsWriter
    from .history.store import SQLAlchemyStore

logger = logging.getLogger("flask_chatkit")

DATABASE = "chatkit.sqlite3"
UPLOADS = "chatkit-uploads"
#: Seconds that a site's factory of a server may take.
FACTORY_SECONDS = 30.0


class ServedChats:
    """The served chats of one kit on one application.

    :param kit: the kit's own name.
    :param settings: the kit's settings.
    :param keys: the signing keys, the newest last.
    :param activity: logs, counts and signals what happens.
    :param store: the site's own choice of a store for the whole kit.
    :param startup: what the site starts before the first answer.
    """

    def __init__(
        self,
        kit: str,
        settings: Settings,
        keys: Sequence[bytes],
        activity: Activity,
        store: object = None,
        startup: Sequence[Callable[[], Any]] = (),
    ) -> None:
        self.kit = kit
        self.settings = settings
        self._links = Links(keys, kit)
        self._activity = activity
        self._given_store = store
        self._startup = Startup(startup)
        self._dispatchers: dict[str, Dispatcher] = {}
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def dispatcher(self, chat: ServedChat) -> Dispatcher:
        """The endpoint of a chat, with its server, which is made when it is first asked for.

        :raises Misconfigured: the site's code gives no server.
        """
        if self._pid != os.getpid():
            # What a process that was forked from has made belongs to its loop.
            self._lock, self._dispatchers, self._pid = threading.RLock(), {}, os.getpid()
        dispatcher = self._dispatchers.get(chat.name)
        if dispatcher is None:
            with self._lock:
                dispatcher = self._dispatchers.get(chat.name)
                if dispatcher is None:
                    dispatcher = self._make(chat)
                    self._dispatchers[chat.name] = dispatcher
        return dispatcher

    def flush_counts(self) -> None:
        """Write what this process has counted, right now; for a thread that may wait."""
        if "_counts" in vars(self):
            self._counts.flush()

    def transfer_threads(self, chats: Sequence[ServedChat], old: Visitor, new: Visitor) -> bool:
        """Give what an anonymous visitor has said to the login that they signed in with.

        :param chats: all that the kit serves, each of which may have a store of its own.
        :returns: whether all stores have done it; the log says which has not.
        """
        from .history.store import SQLAlchemyStore

        done: set[int] = set()
        is_whole = True
        if self.has_records:
            # First: what can't be handed over is theirs nevertheless.
            try:
                run_sync(None, lambda: self.records.add_alias(self.kit, old, new), FACTORY_SECONDS)
            except Exception:
                is_whole = False
                logger.exception("Who signed in as whom could not be noted")
        for chat in chats:
            try:
                store = self.dispatcher(chat).server.store
                if isinstance(store, OwnedStore):
                    give = partial(
                        store.transfer_threads,
                        ChatContext(visitor=old, kit=self.kit, chat=chat.name),
                        ChatContext(visitor=new, kit=self.kit, chat=chat.name),
                        chat.context or (lambda context: context),
                    )
                elif isinstance(store, SQLAlchemyStore) and _database(store) not in done:
                    give = partial(store.transfer_threads, self.kit, old, new)
                else:
                    continue
                run_sync(None, give, FACTORY_SECONDS)
                done.add(_database(store))
            except Exception:
                is_whole = False
                logger.exception("The threads of the chat %r were not handed over", chat.name)
        return is_whole

    @cached_property
    def store(self) -> Store[Any]:
        """The history, unless a site's server has a store of its own.

        :raises Misconfigured: it can't be opened.
        """
        if isinstance(self._given_store, Store):
            return _own(isolate(self._given_store, self.settings.database_timeout))
        return self._open(self._given_store)

    @cached_property
    def records(self) -> SQLAlchemyStore:
        """Where is kept who signed in as whom, and what was revoked: the history, if it is ours.

        :raises Misconfigured: it can't be opened.
        """
        from .history.store import SQLAlchemyStore

        return self.store if isinstance(self.store, SQLAlchemyStore) else self._open(None)

    @property
    def has_records(self) -> bool:
        """Whether :attr:`records` are there, or would be made by a site that asks for them.

        Where each server brings a store of its own, no database is made for nothing.
        """
        if "records" in vars(self):
            return True
        given = self._given_store
        if given is not None and (not isinstance(given, Store) or hasattr(given, "revoked_at")):
            return True
        return self.settings.database_uri is not None or self._default_database.exists()

    def revoked_at(self, digest: str) -> float | None:
        """When what a visitor was given was last revoked, in Unix seconds; None if never."""
        if not self.has_records:
            return None
        if self._is_unmade:
            return None
        try:
            return run_at_once(lambda: self.records.revoked_at(self.kit, digest), FACTORY_SECONDS)
        except Exception as error:
            # Chats whose store is another one go on.
            outage = as_outage(error)
            if outage is not None:
                logger.error(  # noqa: TRY400  each call says so while it lasts
                    "Whether a visitor's data was deleted could not be asked: %s", outage.detail
                )
                return None
            logger.exception("Whether a visitor's data was deleted could not be asked")
            return None

    @property
    def _is_unmade(self) -> bool:
        """Whether the history would be a file that is not there: nobody needs it to be read."""
        uri = self.settings.database_uri
        if self._given_store is not None or "records" in vars(self) or uri is None:
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
        # What a site does not use is not imported: SQLAlchemy alone is 15 megabytes.
        from sqlalchemy import URL

        from .history.store import SQLAlchemyStore

        # Not as a string: a path may hold what means something in a URI.
        default = URL.create("sqlite", database=str(self._default_database))
        try:
            return SQLAlchemyStore(
                given if given is not None else self.settings.database_uri or default,
                seconds=self.settings.database_timeout,
            )
        except ConfigurationError as error:
            raise Misconfigured(detail=str(error)) from None

    def attachments(self, chat: ServedChat, store: Store[Any]) -> Attachments:
        """The files of a chat, whose descriptions are kept in a store.

        :raises Misconfigured: the folder can't be used.
        """
        from .attachments.store import Attachments

        accepted = chat.attachments(self.settings) or {}
        attachments = Attachments(
            self.files,
            self._links,
            lambda: store,
            max_bytes=accepted.get("maxSize", self.settings.max_upload_bytes),
            max_count=accepted.get("maxCount", 1),
            accept=accepted.get("accept"),
        )
        if hasattr(store, "on_attachments_deleted"):
            # What these do is the same for each chat of the kit.
            ours = cast("Any", store)
            ours.present = attachments.present
            ours.on_attachments_deleted = attachments.forget
        return attachments

    @cached_property
    def files(self) -> Files:
        """Where the bytes of attachments are.

        :raises Misconfigured: the folder can't be used.
        """
        from .attachments.files import Files

        folder = self.settings.upload_folder or f"{current_app.instance_path}/{UPLOADS}"
        try:
            total = self.settings.upload_quota.total
            most = self.settings.max_upload_bytes
            is_shared = self._sendfile not in {None, REDIRECT}
            return Files(folder, most, total, shared=is_shared)
        except ConfigurationError as error:
            raise Misconfigured(detail=str(error)) from None

    @property
    def _sendfile(self) -> str | None:
        """Who sends files in our place; the setting wins over Flask's, which is for folders."""
        is_url = "://" in (self.settings.upload_folder or "")
        flasks = X_SENDFILE if self.settings.use_x_sendfile and not is_url else None
        return self.settings.sendfile or flasks

    def _make(self, chat: ServedChat) -> Dispatcher:
        source = chat.source
        try:
            value = imported(source.value) if source.kind == "path" else source.value
            kind = kind_of(value) if source.kind == "path" else source.kind
            server = self._server(chat, kind, value)
        except Misconfigured as error:
            raise Misconfigured(detail=f"the chat {chat.name!r}: {error.detail}") from error
        except ChatKitError as error:
            raise Misconfigured(detail=f"the chat {chat.name!r}: {error}") from error
        if chat.isolate:
            # On the site's own object, for what holds on to it; this knows of no application.
            server.store = isolate(server.store, self.settings.database_timeout)
        if server is value:
            # The rest does: the object may serve another application, with other files.
            server = copy.copy(server)
            server.store = _own(server.store)
        keep_whole(server)
        attachments = server.attachment_store
        if attachments is None and chat.attachments_accepted is not None:
            attachments = server.attachment_store = self.attachments(chat, server.store)
        uploads = None
        if getattr(attachments, "store_of", None) is not None:
            from .attachments.http import Uploads

            # A factory may take our files, and describe them in a store of its own.
            ours = cast("Attachments", attachments)
            ours.store_of = lambda: server.store
            uploads = Uploads(ours, self._sendfile)
        if hasattr(type(server.store), "add_counts"):
            self._counts.add_store(chat.name, cast("Any", server.store))
        return Dispatcher(chat, server, uploads, self.settings, self._activity, self._startup)

    @cached_property
    def _counts(self) -> CountsWriter:
        from .history.counts import CountsWriter

        return CountsWriter(this_app(), self._activity)

    def _server(self, chat: ServedChat, kind: str, value: Any) -> ChatKitServer[Any]:
        if isinstance(value, ChatKitServer):
            return value
        attachments = None
        if chat.attachments_accepted is not None:
            attachments = self.attachments(chat, self.store)
        read = attachments.read if attachments else None
        if kind == "assistant":
            from .assistants.base import AssistantServer

            return AssistantServer(
                value,
                self.store,
                attachments,
                callbacks=chat.callbacks,
                read_attachment=read,
                titles=bool(chat.titles),
            )
        if kind in {"agent", "workflow"}:
            from .agents.budget import Budget

            settings = self.settings
            characters, most = chat.history_characters, chat.history_bytes
            budget = Budget(
                settings.history_characters if characters is None else characters,
                settings.history_bytes if most is None else most,
                settings.answers_bytes,
            )
            return self._agent_class(kind)(
                value,
                self.store,
                attachments,
                callbacks=chat.callbacks,
                read_attachment=read,
                titles=chat.titles,
                run_options=chat.run_options,
                budget=budget,
                look_again=chat.look_again,
                models=chat.offers("models"),
                tools=chat.offers("tools") or None,
            )
        given = {"store": self.store, "attachment_store": attachments}
        names = {parameter.name for parameter in parameters(value)}
        wanted = {name: given[name] for name in names & GIVEN}

        async def make() -> Any:
            # On the loop, because what it makes belongs there: clients of models, of databases.
            await self._startup.run(this_app())
            made = value(**wanted)
            return await made if inspect.isawaitable(made) else made

        try:
            server = run_sync(None, make, FACTORY_SECONDS)
        except StartupFailed as error:
            raise Misconfigured(detail=f"on_startup's {error} has failed") from None
        if not isinstance(server, ChatKitServer):
            raise ConfigurationError(
                f"a factory of a server must return a ChatKitServer, not {type(server).__name__}"
            )
        return server

    def _agent_class(self, kind: str) -> type[AgentServer]:
        if kind == "workflow":
            from .agents.workflow import WorkflowServer

            return WorkflowServer
        from .agents.server import AgentServer

        return AgentServer


def _own(store: Store[Any]) -> Store[Any]:
    """A store to which something of one application's is tied; it shares the database."""
    return copy.copy(store) if hasattr(store, "on_attachments_deleted") else store


def _database(store: Any) -> int:
    """What is one for all the stores that share a database."""
    return id(getattr(store, "_database", store))
