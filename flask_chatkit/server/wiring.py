"""How a served chat's server gets its store and files: links, files → store → attachments.

A chat is answered by a shallow copy of a site's server object. Of the object itself only a store
that does not isolate owners is replaced: tools, helpers and module globals that hold the object
would otherwise read everybody's threads. What a factory makes is made for the chat.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..chats.served import ServedChat
from ..errors import ChatKitError, ConfigurationError, Misconfigured
from ..runtime._upstream import this_app

with warnings.catch_warnings():
    # openai-chatkit defines deprecated widget classes, which warns on import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from chatkit.server import ChatKitServer
    from chatkit.store import AttachmentStore, Store

from typing import TypeGuard

from .assistants.base import keep_whole
from .assistants.function import AssistantServer
from .history.isolation import isolate
from .sources import imported, kind_of, parameters
from .storage import Storage
from .streaming.run import run_sync
from .streaming.startup import Startup, StartupFailed

if TYPE_CHECKING:
    from .agents.server import AgentServer
    from .attachments.store import Attachments
    from .context import ChatContext

#: Seconds that a site's factory of a server may take.
FACTORY_SECONDS = 30.0


def make_server(chat: ServedChat, storage: Storage, startup: Startup) -> ChatKitServer[Any]:
    """Make the server of a chat.

    :param startup: runs before a site's factory is called.
    :raises Misconfigured: the site's code gives no server.
    """
    source = chat.source
    try:
        value = imported(source.value) if source.kind == "path" else source.value
        kind = kind_of(value) if source.kind == "path" else source.kind
        if isinstance(value, ChatKitServer):
            return wire_server(value, chat, storage, is_shared=True)
        store, attachments = storage.store, None
        if chat.attachments_accepted is not None:
            store = storage.with_files(store)
            attachments = storage.attachments(chat, store)
        if kind == "assistant":
            return AssistantServer(
                value,
                store,
                attachments,
                callbacks=chat.callbacks,
                read_attachment=attachments.read if attachments else None,
                titles=bool(chat.titles),
            )
        if kind in {"agent", "workflow"}:
            return _agent_server(kind, value, chat, storage, store, attachments)
        made = _call_factory(value, {"store": store, "attachment_store": attachments}, startup)
        return wire_server(made, chat, storage, is_shared=False)
    except Misconfigured as error:
        raise Misconfigured(detail=f"the chat {chat.name!r}: {error.detail}") from error
    except ChatKitError as error:
        raise Misconfigured(detail=f"the chat {chat.name!r}: {error}") from error


def wire_server(
    server: ChatKitServer[Any], chat: ServedChat, storage: Storage, *, is_shared: bool
) -> ChatKitServer[Any]:
    """Give a site's server the isolated store and the files of one chat.

    :param is_shared: whether it is an object of the site's own, of which a copy is wired; False
        for what a factory has made for this chat.
    :raises Misconfigured: the folder of the files can't be used.
    """
    store, attachments = server.store, server.attachment_store
    if chat.isolate:
        # On the site's own object, for all that holds it. This depends on no application.
        store = server.store = isolate(store, storage.settings.database_timeout)
    if attachments is None and chat.attachments_accepted is not None:
        store = storage.with_files(store)
        attachments = storage.attachments(chat, store)
    elif is_attachments(attachments):
        # A factory may take the kit's attachments and have a store of its own.
        store = storage.with_files(store)
        attachments.describe_in(store)
    if is_shared:
        # The object may serve another application, with other files.
        server = copy.copy(server)
    server.store, server.attachment_store = store, attachments
    keep_whole(server)
    return server


def is_attachments(store: AttachmentStore[Any] | None) -> TypeGuard[Attachments]:
    """Whether an attachment store is the kit's own."""
    if store is None:
        return False
    # Imported only where files are accepted.
    from .attachments.store import Attachments

    return isinstance(store, Attachments)


def _agent_server(
    kind: str,
    value: Any,
    chat: ServedChat,
    storage: Storage,
    store: Store[ChatContext],
    attachments: Attachments | None,
) -> ChatKitServer[ChatContext]:
    from .agents.budget import Budget

    settings = storage.settings
    characters, size = chat.history_characters, chat.history_bytes
    budget = Budget(
        settings.history_characters if characters is None else characters,
        settings.history_bytes if size is None else size,
        settings.answers_bytes,
    )
    return _agent_class(kind)(
        value,
        store,
        attachments,
        callbacks=chat.callbacks,
        read_attachment=attachments.read if attachments else None,
        titles=chat.titles,
        run_options=chat.run_options,
        budget=budget,
        look_again=chat.look_again,
        models=chat.offers("models"),
        tools=chat.offers("tools") or None,
    )


def _agent_class(kind: str) -> type[AgentServer]:
    if kind == "workflow":
        from .agents.workflow import WorkflowServer

        return WorkflowServer
    from .agents.server import AgentServer

    return AgentServer


def _call_factory(factory: Any, given: Mapping[str, Any], startup: Startup) -> ChatKitServer[Any]:
    """Call a site's factory of a server with those of the arguments that it takes.

    :raises Misconfigured: what the site starts before has failed.
    :raises ConfigurationError: it returns something else.
    """
    names = {parameter.name for parameter in parameters(factory)}
    wanted = {name: value for name, value in given.items() if name in names}

    async def make() -> Any:
        # On the loop that clients of models and databases made by the factory will use.
        await startup.run(this_app())
        made = factory(**wanted)
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
