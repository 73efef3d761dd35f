"""Connections to the MCP servers of agents, kept for the process and shared by all answers.

An agent's ``mcp_servers`` must be connected before it runs. Connected within an answer they would
end with it, for everybody: so each connection has a task of its own, which connects, waits, and
cleans up, as anyio's cancel scopes demand. The SDK's ``MCPServerManager`` (0.24.0) does not do:
its tasks are the answer's, and it does not notice that a connection has broken.

A server object of the site's is handed a stand-in for its session. It connects when it is first
used, and again when the connection has broken. Server objects of equal configuration share one
connection: those of agents that are made for each answer, above all.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import re
import time
import weakref
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Any, TypeVar, cast

from agents import Agent
from agents.exceptions import UserError
from agents.mcp import MCPServer, MCPServerSse, MCPServerStdio, MCPServerStreamableHttp

from .._upstream import allow_concurrent_calls, is_disconnected
from ..streaming import loop
from .graph import reachable

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: Seconds in which a server must be connected. An answer waits for it.
CONNECT_SECONDS = 30.0
#: Seconds that a connection of agents that are made for each answer is kept for the next one.
IDLE_SECONDS = 60.0
#: Connections of that kind that are kept at most; the one that was used last is the last to go.
MOST_IDLE = 8

_IS_V2 = int(version("mcp").partition(".")[0]) >= 2
#: The transports whose configuration is all in their parameters.
_KNOWN = (MCPServerStdio, MCPServerSse, MCPServerStreamableHttp)
#: The requests that may be sent twice, since they change nothing.
_READS = frozenset(
    {
        *("list_tools", "list_prompts", "get_prompt", "list_resources"),
        *("list_resource_templates", "read_resource", "send_ping"),
    }
)
#: JSON-RPC: the connection was closed; the server does not know the session any more.
_CLOSED, _INVALID_REQUEST, _TIMEOUT = -32000, -32600, -32001


class Unreachable(Exception):
    """An MCP server could not be connected; the log says which one and why."""


@contextlib.asynccontextmanager
async def connected(agent: Agent[Any], *, keep: bool = True) -> AsyncIterator[None]:
    """Have the MCP servers of an agent connected while it runs.

    Those of the agents that it can reach are connected when they are first used.

    :param keep: False for an agent that was made for this run: its connections are kept for a
        minute, for the next one of the same parameters; those of the site's own classes, which
        cannot be shared, are closed after it.
    :raises Unreachable: one of them can't be connected.
    """
    lease = Lease(agent, keep=keep)
    try:
        await lease.connect()
        yield
    finally:
        lease.release()


class Lease:
    """The connections that one run of an agent uses; see :func:`connected`."""

    def __init__(self, agent: Agent[Any], *, keep: bool = True) -> None:
        self._agent = agent
        self._keep = keep
        self._connections: list[Connection] = []

    async def connect(self) -> None:
        """Connect what the run needs.

        :raises Unreachable: a server can't be connected.
        """
        own = {id(server) for server in self._agent.mcp_servers}
        needed: list[Connection] = []
        for agent in reachable([self._agent]):
            for server in agent.mcp_servers:
                connection = await _pool().adopt(server)
                if connection is None or connection in self._connections:
                    continue
                connection.users += 1
                connection.is_kept = connection.is_kept or self._keep
                self._connections.append(connection)
                if id(server) in own or not connection.is_lazy:
                    needed.append(connection)
        if needed:
            await _all_of([connection.link() for connection in needed])

    def release(self) -> None:
        """Let go of them."""
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.users -= 1
            if not connection.users:
                connection.pool.rest(connection)


class Link:
    """One time that a server was connected."""

    def __init__(self, server: MCPServer, ready: asyncio.Future[Link]) -> None:
        self.server = server
        self.session: Any = None
        self.ready = ready
        self.over = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        #: Requests under way.
        self.calls = 0

    @property
    def is_broken(self) -> bool:
        """Whether it is known that nothing comes through any more."""
        return self.over.is_set() or self.is_dead

    @property
    def is_dead(self) -> bool:
        """Whether the other end has gone, as mcp 2 knows it; earlier versions tell by an error."""
        return is_disconnected(self.session)


class Connection:
    """A server, connected when it is needed.

    :param make: makes the object that is connected; the site's own where there can be no other.
    :param name: the server's name in the log.
    :param key: the configuration, which others may share; None if it is not known.
    """

    def __init__(self, pool: Pool, make: Callable[[], MCPServer], name: str, key: Any) -> None:
        self.pool = pool
        self.key = key
        self.users = 0
        self.used_at = 0.0
        #: Whether an agent has used it that was not made for one answer; then it stays.
        self.is_kept = False
        #: The site's objects that speak through it.
        self.servers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._make = make
        self._name = name
        self._link: Link | None = None

    @property
    def is_lazy(self) -> bool:
        """Whether it may be connected when it is first used."""
        return self.key is not None

    async def link(self) -> Link:
        """What is connected, once it is; all who ask meanwhile wait for the same.

        :raises Unreachable: it can't be.
        """
        link = self._link
        if link is None or link.is_broken:
            if link is not None:
                self.end(link)
            link = self._link = self._begin(link)
        # Who is stopped while waiting stops nobody else.
        return await asyncio.shield(link.ready)

    def _begin(self, former: Link | None) -> Link:
        running = asyncio.get_running_loop()
        link = Link(self._make(), running.create_future())
        # Looked at, so that nobody complains when all who waited have gone.
        link.ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        link.task = loop.keep(lambda: self._keep(link, former))
        timer = running.call_later(CONNECT_SECONDS, self._give_up, link)
        link.ready.add_done_callback(lambda _: timer.cancel())
        return link

    async def _keep(self, link: Link, former: Link | None) -> None:
        """Connect, wait for the end, and clean up."""
        if former is not None and former.server is link.server and former.task is not None:
            # The same object: it must have let go of the former connection.
            await asyncio.wait([former.task])
        try:
            _reset(link.server)
            await cast("Any", link.server).connect()
        except BaseException as error:
            # What is cancelled has failed too: nobody waits for ever.
            self._fail(link, error)
            if not isinstance(error, Exception):
                raise
            return
        link.session = getattr(link.server, "session", None)
        if link.session is not None and not self.is_lazy:
            cast("Any", link.server).session = _Session(self)
        if former is not None:
            self._refresh()
        if not link.ready.done():
            link.ready.set_result(link)
        try:
            await link.over.wait()
        finally:
            try:
                await cast("Any", link.server).cleanup()
            except Exception as error:  # noqa: BLE001 - it has ended in any case
                logger.debug("The MCP server %s did not end well: %s", self._name, _why(error))

    def _give_up(self, link: Link) -> None:
        self._fail(link, asyncio.TimeoutError())
        if link.task is not None:
            link.task.cancel()

    def _fail(self, link: Link, error: BaseException) -> None:
        link.over.set()
        if link.ready.done():
            return
        link.ready.set_exception(Unreachable(self._name))
        if not isinstance(error, asyncio.CancelledError):  # which is the end of the process
            logger.error(
                "The MCP server %s could not be connected: %s. %s",
                self._name,
                _why(error),
                _cure(link.server),
            )

    def _refresh(self) -> None:
        """Have the servers ask for the tools anew, which may have changed with a restart."""
        for server in list(self.servers):
            invalidate = getattr(server, "invalidate_tools_cache", None)
            if invalidate is not None:
                invalidate()

    def end(self, link: Link | None = None) -> None:
        """End what is connected: all of it, or this link, which has broken."""
        ended = link or self._link
        if ended is not None:
            ended.over.set()
            if ended is self._link:
                self._link = None

    async def call(self, name: str, args: Any, kwargs: Any) -> Any:
        """Send a request; over a new connection where the old one is broken.

        What may have been done already is not asked for a second time.
        """
        for is_last in (False, True):
            link = await self.link()
            link.calls += 1
            try:
                return await _unnoted(getattr(link.session, name), args, kwargs)
            except Exception as error:
                code = getattr(error, "code", None)
                # One who waits for an answer that comes late must not have it cut off.
                hangs = code == _TIMEOUT and name in _READS and link.calls == 1
                if not (hangs or link.is_dead or _is_broken(error)):
                    raise
                self.end(link)
                if is_last or not (name in _READS or _is_unsent(error)):
                    raise
            finally:
                link.calls -= 1
        raise AssertionError  # the second round returns or raises


class _Session:
    """Stands where a server object has its client session."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        # As long as nothing is connected only methods can be asked for, and all of them wait.
        link = self.connection._link  # noqa: SLF001 - they are one
        value = getattr(link.session, name, None) if link is not None else None
        if link is not None and link.session is not None and not inspect.ismethod(value):
            return getattr(link.session, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self.connection.call(name, args, kwargs)

        return call


class Pool:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self._connections: list[Connection] = []
        #: Server objects of the site's own classes that it has connected itself.
        self._left_alone: weakref.WeakSet[Any] = weakref.WeakSet()
        self._timer: asyncio.TimerHandle | None = None

    async def adopt(self, server: MCPServer) -> Connection | None:
        """The connection for a server object; None for one that the site has connected itself."""
        key = _key(server)
        session = getattr(server, "session", None)
        if session is not None and not isinstance(session, _Session):
            return None
        # After a fork it is one of the parent's pool.
        if session is not None and session.connection.pool is self:
            mine: Connection = session.connection
            # A header may be another one by now, such as a token's.
            if mine in self._connections and mine.key == key:
                return mine
        connection = next((one for one in self._connections if _fits(one, server, key)), None)
        if connection is None:
            if key is None and await self._is_connected(server):
                return None
            # Asked anew: others may have come while this one waited.
            found = (one for one in self._connections if _fits(one, server, key))
            connection = next(found, None) or self._add(server, key)
        connection.servers.add(server)
        if key is not None:
            cast("Any", server).session = _Session(connection)
            if _IS_V2:
                # One visitor's slow tool would keep all others waiting; mcp 2 needs no such care.
                allow_concurrent_calls(server)
        return connection

    def _add(self, server: MCPServer, key: Any) -> Connection:
        make = (lambda: server) if key is None else _twin_of(server)
        connection = Connection(self, make, _log_name(server), key)
        if key is None:
            _adopted.add(server)
        self._connections.append(connection)
        return connection

    async def _is_connected(self, server: MCPServer) -> bool:
        """Whether a server of the site's own class, which shows no session, works as it is."""
        if hasattr(server, "session") or server in _adopted:
            return False
        if server not in self._left_alone:
            try:
                await server.list_tools()
            except Exception:  # noqa: BLE001 - which is what an unconnected one does
                return False
            self._left_alone.add(server)
        return True

    def rest(self, connection: Connection) -> None:
        """A connection has no users for now."""
        connection.used_at = time.monotonic()
        if connection.is_kept:
            return
        if connection.key is None:
            self._close(connection)
            return
        self._set_timer()
        resting = sorted(
            (one for one in self._connections if self._is_unowned(one)), key=lambda one: one.used_at
        )
        for one in resting[: max(0, len(resting) - MOST_IDLE)]:
            self._close(one)

    def _is_unowned(self, connection: Connection) -> bool:
        # Not whether its objects are gone: timers of the loop hold on to them for minutes.
        return not connection.users and not connection.is_kept

    def _sweep(self) -> None:
        """Close what nobody has used for a while, and nobody can use any more."""
        self._timer = None
        before = time.monotonic() - IDLE_SECONDS
        for one in list(self._connections):
            if self._is_unowned(one) and one.used_at <= before:
                self._close(one)
        if any(self._is_unowned(one) for one in self._connections):
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is None:
            # In a context of its own: the answer's would hold on to its agent.
            self._timer = asyncio.get_running_loop().call_later(
                IDLE_SECONDS, self._sweep, context=contextvars.Context()
            )

    def _close(self, connection: Connection) -> None:
        self._connections.remove(connection)
        connection.end()


_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = weakref.WeakKeyDictionary()
#: Server objects of the site's own classes that the kit connects; in a fork, those of its parent.
_adopted: weakref.WeakSet[Any] = weakref.WeakSet()


def _pool() -> Pool:
    return _pools.setdefault(asyncio.get_running_loop(), Pool())


def _reset(server: MCPServer) -> None:
    """Have a server forget what it was connected by, which is another process's or has ended."""
    if getattr(server, "session", None) is not None:
        cast("Any", server).session = None
        if hasattr(server, "exit_stack"):
            server.exit_stack = contextlib.AsyncExitStack()


def _key(server: MCPServer) -> Any:
    """What makes a connection the same as another one; None where that is not known."""
    if type(server) not in _KNOWN:
        return None
    known = cast("Any", server)
    params = known.params
    if isinstance(params, dict):
        # What the site changes later must not change with it.
        params = {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in params.items()
        }
    else:
        params = params.model_dump()
    timeout = known.client_session_timeout_seconds
    return (type(server), params, timeout, known.message_handler)


def _fits(connection: Connection, server: MCPServer, key: Any) -> bool:
    if key is None:
        return server in connection.servers
    return bool(connection.key == key)


def _twin_of(server: MCPServer) -> Callable[[], MCPServer]:
    """Makes a server of the same configuration, which holds on to nothing of this one."""
    kind, params, timeout, handler = _key(server)
    name = server.name
    return lambda: cast(
        "MCPServer",
        kind(params, name=name, client_session_timeout_seconds=timeout, message_handler=handler),
    )


async def _unnoted(request: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Await a request whose tasks are not the answer's.

    mcp 2 sends it from a task that has the caller's context, beside those of all others: if Stop
    cancelled that one, it would end the whole connection. And it holds on to the context, so that
    has nothing of the answer in it.
    """

    async def send() -> Any:
        return await request(*args, **kwargs)

    running = asyncio.get_running_loop()
    return await contextvars.Context().run(running.create_task, send())


async def _all_of(waiting: list[Any]) -> None:
    """Wait for all, and raise what the first of them raises."""
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


# --- what goes wrong ----------------------------------------------------------------------------


def _is_broken(error: BaseException) -> bool:
    """Whether an error means that the connection must be made anew."""
    if _is_unsent(error):
        return True
    message = str(error).lower()
    code = getattr(error, "code", getattr(getattr(error, "error", None), "code", None))
    closed = code == _CLOSED and "connection closed" in message
    return closed or (code in {_INVALID_REQUEST, 32600} and "session" in message)


def _is_unsent(error: BaseException) -> bool:
    """Whether the server has never seen the request: there was nowhere to write it to."""
    message = str(error).lower()
    code = getattr(error, "code", None)
    if code in {_INVALID_REQUEST, 32600} and "session terminated" in message:
        return True
    return type(error).__name__ in {"ClosedResourceError", "BrokenResourceError", "ConnectError"}


def _why(error: BaseException) -> str:
    """What the log says of an error: nothing that may quote a header or a variable."""
    while getattr(error, "exceptions", None):
        error = cast("Any", error).exceptions[0]
    if isinstance(error, asyncio.TimeoutError):
        return f"it did not answer within {CONNECT_SECONDS:g} seconds"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({type(error).__name__})"
    if isinstance(error, UserError):
        # The SDK's own words, which name the server and the HTTP status.
        said = str(error)
        return _safe(said[said.rfind("': ") + 3 :] if "': " in said else said).rstrip(".")
    code = getattr(error, "code", None)
    if code == _CLOSED:
        return "it ended at once"
    if code == _TIMEOUT:
        return "it did not answer in time"
    return type(error).__name__ + (f" {code}" if isinstance(code, int) else "")


def _cure(server: MCPServer) -> str:
    if isinstance(server, MCPServerStdio):
        return "Run its command by hand, as the user and in the folder of this process"
    if isinstance(server, (MCPServerSse, MCPServerStreamableHttp)):
        return "Check its URL and authorization, and that it runs and can be reached from here"
    return "Check its connect()"


def _log_name(server: MCPServer) -> str:
    return repr(_safe(server.name))


def _safe(text: str) -> str:
    """A text without what URLs may hold of secrets: user, password and query."""
    text = re.sub(r"(?<=://)[^\s/@]*@", "", text)
    return re.sub(r"(://[^\s?#'\"]*)[?#][^\s'\"]*", r"\1", text)[:200]
