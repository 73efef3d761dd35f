"""A site's server object keeps all but a store that isolates nobody, wherever it is held."""

from __future__ import annotations

import asyncio
import json
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, FunctionTool, function_tool
from agents.tool_context import ToolContext
from chatkit.server import ChatKitServer
from chatkit.store import NotFoundError

from flask_chatkit import ChatKit
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server import SQLAlchemyStore
from flask_chatkit.server.attachments.store import Attachments
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.history.base import is_database_store
from flask_chatkit.server.history.isolation import OwnedStore, isolate
from flask_chatkit.testing.stores import new_thread
from tests.helpers.served import visit
from tests.helpers.sites import MakeApp
from tests.helpers.stores import TidyStore
from tests.server.test_served_chats import Parrot

ANN = ChatContext(visitor=Visitor.login("ann"))
BOB = ChatContext(visitor=Visitor.login("bob"))


class Helper:
    """A part of a server that holds the server."""

    def __init__(self, server: Any) -> None:
        self.server = server

    async def find(self, thread_id: str, context: Any) -> Any:
        return await self.server.store.load_thread(thread_id, context)


@dataclass(slots=True)
class Slots:
    """A part of a server without a dictionary of attributes."""

    server: Any


class Library(Parrot):
    """A server that reaches its store in all the ways that sites have."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.bound = self.find
        self.partial = partial(self.find)
        self.closure = lambda *args: self.find(*args)  # noqa: PLW0108  closes over self
        self.helper = Helper(self)
        self.many = {"one": [(self.helper,)]}
        self.weak = weakref.ref(self)
        self.slots = Slots(self)
        self.default = lambda *args, library=self: library.find(*args)

        async def by_tool(thread_id: str) -> str:
            return str((await self.find(thread_id, BOB)).id)

        self.agent = Agent(name="a", tools=[function_tool(by_tool, failure_error_function=None)])

    async def find(self, thread_id: str, context: Any) -> Any:
        return await self.store.load_thread(thread_id, context)


async def use_tool(server: Any, thread_id: str, _context: Any) -> Any:
    (tool,) = server.agent.tools
    assert isinstance(tool, FunctionTool)
    arguments = json.dumps({"thread_id": thread_id})
    context = ToolContext(None, tool_name=tool.name, tool_call_id="1", tool_arguments=arguments)
    return await tool.on_invoke_tool(context, arguments)


#: What a site's module has, as its tools find it.
MODULE: dict[str, Any] = {}

WAYS: dict[str, Any] = {
    "method": lambda server, *args: server.find(*args),
    "bound method": lambda server, *args: server.bound(*args),
    "partial": lambda server, *args: server.partial(*args),
    "closure": lambda server, *args: server.closure(*args),
    "helper": lambda server, *args: server.helper.find(*args),
    "containers": lambda server, *args: server.many["one"][0][0].find(*args),
    "weak reference": lambda server, *args: server.weak().find(*args),
    "slots": lambda server, *args: server.slots.server.find(*args),
    "default argument": lambda server, *args: server.default(*args),
    "module": lambda _server, *args: MODULE["library"].find(*args),
    "tool": use_tool,
}


def dispatched(make_app: MakeApp, server: Any, folder: Path | None = None) -> Any:
    """The server that answers in a chat of an application.

    :param folder: where its files are; None for a chat that takes none.
    """
    kit = ChatKit()
    kit.add_server("default", server, attachments=folder is not None)
    app = make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_UPLOAD_FOLDER=folder and str(folder))
    with app.test_request_context():
        state = app.extensions["chatkit"]["chatkit"]
        return state.service.dispatcher(state.chats["default"]).server


@pytest.mark.parametrize("way", WAYS)
def test_store_is_isolated_however_it_is_reached(make_app: MakeApp, way: str) -> None:
    """A server's methods, closures, helpers and tools find no thread of somebody else."""
    site = MODULE["library"] = Library(TidyStore())
    server = dispatched(make_app, site)
    thread = new_thread()
    asyncio.run(server.store.save_thread(thread, ANN))
    with pytest.raises(Exception, match="there is nothing of this id") as raised:
        asyncio.run(WAYS[way](server, thread.id, BOB))
    assert isinstance(raised.value.__cause__ or raised.value, NotFoundError)


def test_object_of_the_site_is_not_changed(make_app: MakeApp, tmp_path: Path) -> None:
    """The site's own server keeps every attribute but a store that does not isolate owners."""
    site = Library(TidyStore())
    before = dict(vars(site))
    server = dispatched(make_app, site, tmp_path)
    assert server is not site
    assert isinstance(server.store, OwnedStore)
    assert isinstance(server.attachment_store, Attachments)
    assert {**vars(site), "store": None} == {**before, "store": None}
    assert isinstance(site.store, OwnedStore)
    assert site.attachment_store is None
    own = Library(SQLAlchemyStore("sqlite://"))
    before = dict(vars(own))
    dispatched(make_app, own, tmp_path)
    assert vars(own) == before


def test_state_of_a_server_is_shared(make_app: MakeApp) -> None:
    """What a site's server counts for all its chats is counted once."""
    site: Any = Library(TidyStore())
    servers = [dispatched(make_app, site) for _ in range(2)]
    assert {id(server.helper) for server in servers} == {id(site.helper)}


class Logged:
    """A site's wrapper of a store, which passes everything on."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_wrapped_store_of_the_kit_goes_on_to_be_one(make_app: MakeApp, browse: Any) -> None:
    """A wrapper of SQLAlchemyStore isolates as that does, and hands over threads at sign-in."""
    store: Any = Logged(SQLAlchemyStore("sqlite://"))
    assert isolate(store) is store
    assert is_database_store(store)
    login: list[str | None] = [None]
    kit = ChatKit()
    kit.add_server("default", Parrot(store))
    kit.user_loader(lambda: login[0])
    ann = visit(browse(make_app(kit, CHATKIT_WORKFLOW_ID=None)))
    thread = ann.create("before")
    login[0] = "ann"
    assert [one["id"] for one in visit(ann.browser).threads()] == [thread]


def test_store_of_the_site_is_not_changed(make_app: MakeApp, tmp_path: Path) -> None:
    """A store that two applications share signs links for neither; each has a copy for it."""
    store = SQLAlchemyStore("sqlite://")
    before = dict(vars(store))
    servers = [dispatched(make_app, Parrot(store), tmp_path) for _ in range(2)]
    assert vars(store) == before
    assert servers[0].store is not servers[1].store
    assert {server.store.database for server in servers} == {store.database}


def test_what_does_not_lead_to_the_server_is_shared(make_app: MakeApp) -> None:
    """Clients, caches and locks of a server are those of the site's object."""
    site: Any = Library(TidyStore())
    site.cache, site.client = {"a": [1]}, object()
    server = dispatched(make_app, site)
    assert server.cache is site.cache
    assert server.client is site.client


def test_what_a_factory_makes_is_used_as_it_is(make_app: MakeApp) -> None:
    """A server that was made for a chat is that chat's; its own store is isolated."""
    made: list[ChatKitServer[Any]] = []

    def make() -> ChatKitServer[Any]:
        made.append(Library(TidyStore()))
        return made[0]

    server = dispatched(make_app, make)
    assert [server] == made
    assert isinstance(server.store, OwnedStore)


def test_attachments_are_described_in_the_servers_store(
    browse: Any, make_app: MakeApp, tmp_path: Path
) -> None:
    """A factory that takes the kit's attachments, and has a store of its own, finds them there."""

    class Own(Parrot):
        def __init__(self, attachment_store: Any) -> None:
            super().__init__(SQLAlchemyStore("sqlite://"))
            self.attachment_store = self.files = attachment_store

        async def respond(self, thread: Any, item: Any, context: Any) -> Any:
            taken.extend([await self.files.read(one, context) for one in item.attachments])
            async for event in super().respond(thread, item, context):
                yield event

    taken: list[bytes] = []
    kit = ChatKit()
    kit.add_server("default", Own, attachments=True)
    ann = visit(
        browse(make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_UPLOAD_FOLDER=str(tmp_path)))
    )
    file = {"file": ("a.txt", b"hello", "text/plain")}
    uploaded = ann.browser.post("/chatkit/attachments", data={}, files=file).json()
    thread = ann.create("see", attachments=[uploaded["id"]])
    assert [one["id"] for one in ann.items(thread)[0]["attachments"]] == [uploaded["id"]]
    assert taken == [b"hello"]
