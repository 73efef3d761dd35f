"""Connections to the MCP servers of agents, shared by all answers of the process.

An agent's ``mcp_servers`` must be connected before it runs. A connection that is made within an
answer would end with it, for everybody: so each has its own task, which connects, waits and cleans
up, as anyio's cancel scopes demand. The SDK's ``MCPServerManager`` (0.24.0) won't do: its tasks
belong to the answer, and it does not notice a broken connection.

A server object of the site gets a stand-in for its session, which connects at its first use, and
again when the connection has broken. Server objects with the same configuration share one
connection, such as those of agents that are made for each answer.
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

#: Seconds to connect to a server. An answer waits for it.
CONNECT_SECONDS = 30.0
#: Seconds for which the connection of an agent that was made for one answer is kept.
IDLE_SECONDS = 60.0
#: The most connections of that kind that are kept; the least recently used are closed first.
MOST_IDLE = 8

_IS_V2 = int(version("mcp").partition(".")[0]) >= 2
#: The transports that are fully described by their parameters.
_KNOWN = (MCPServerStdio, MCPServerSse, MCPServerStreamableHttp)
#: Requests that may be sent twice, since they only read.
_READS = frozenset(
    {
        *("list_tools", "list_prompts", "get_prompt", "list_resources"),
        *("list_resource_templates", "read_resource", "send_ping"),
    }
)
#: JSON-RPC errors: the connection was closed, the session is unknown, the request timed out.
_CLOSED, _INVALID_REQUEST, _TIMEOUT = -32000, -32600, -32001


class Unreachable(Exception):
    """An MCP server could not be connected; the log has its name and the reason."""


@contextlib.asynccontextmanager
async def connected(agent: Agent[Any], *, keep: bool = True) -> AsyncIterator[None]:
    """Connect the MCP servers of an agent while it runs.

    The servers of agents that it can reach are connected at their first use.

    :param keep: False for an agent that was made for this run: its connections are kept for a
        minute, for the next agent with the same parameters; those of the site's own classes, which
        cannot be shared, are closed.
    :raises Unreachable: a server can't be connected.
    """
    lease = Lease(agent, keep=keep)
    try:
        await lease.connect()
        yield
    finally:
        lease.release()


class Lease:
    """The connections of one run; see :func:`connected`."""

    def __init__(self, agent: Agent[Any], *, keep: bool = True) -> None:
        self._agent = agent
        self._keep = keep
        self._connections: list[Connection] = []

    async def connect(self) -> None:
        """Connect the servers that the run needs.

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
            await _gather([connection.link() for connection in needed])

    def release(self) -> None:
        """Release the connections."""
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.users -= 1
            if not connection.users:
                connection.pool.rest(connection)


class Link:
    """One connect of a server, until it breaks or is closed."""

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
        """Whether it has ended."""
        return self.over.is_set() or self.is_dead

    @property
    def is_dead(self) -> bool:
        """Whether the other end is gone, which mcp 2 knows; earlier versions raise an error."""
        return is_disconnected(self.session)


class Connection:
    """A server, connected when it is needed.

    :param make: returns the object to connect; the site's own if there can be no other.
    :param name: the server's name in the log.
    :param key: the configuration, by which it is shared; None if it is not known.
    """

    def __init__(self, pool: Pool, make: Callable[[], MCPServer], name: str, key: Any) -> None:
        self.pool = pool
        self.key = key
        self.users = 0
        self.used_at = 0.0
        #: Whether a lasting agent has used it; then it stays open.
        self.is_kept = False
        #: The site's server objects that use it.
        self.servers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._make = make
        self._name = name
        self._link: Link | None = None

    @property
    def is_lazy(self) -> bool:
        """Whether it may be connected at its first use."""
        return self.key is not None

    async def link(self) -> Link:
        """Connect if need be; all callers share one attempt.

        :raises Unreachable: the server can't be connected.
        """
        link = self._link
        if link is None or link.is_broken:
            if link is not None:
                self.end(link)
            link = self._link = self._begin(link)
        # A caller that is cancelled does not cancel the attempt.
        return await asyncio.shield(link.ready)

    def _begin(self, former: Link | None) -> Link:
        running = asyncio.get_running_loop()
        link = Link(self._make(), running.create_future())
        # Retrieved, so that asyncio doesn't log it when all callers are gone.
        link.ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        link.task = loop.keep(lambda: self._keep(link, former))
        timer = running.call_later(CONNECT_SECONDS, self._give_up, link)
        link.ready.add_done_callback(lambda _: timer.cancel())
        return link

    async def _keep(self, link: Link, former: Link | None) -> None:
        """Connect, wait for the end, and clean up."""
        if former is not None and former.server is link.server and former.task is not None:
            # The same object: its former connection must have ended.
            await asyncio.wait([former.task])
        try:
            _reset(link.server)
            await cast("Any", link.server).connect()
        except BaseException as error:
            # A cancelled attempt has failed, too: its callers must not wait for ever.
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
            except Exception as error:  # noqa: BLE001 - it has ended anyway
                logger.debug("The MCP server %s did not end well: %s", self._name, _describe(error))

    def _give_up(self, link: Link) -> None:
        self._fail(link, asyncio.TimeoutError())
        if link.task is not None:
            link.task.cancel()

    def _fail(self, link: Link, error: BaseException) -> None:
        link.over.set()
        if link.ready.done():
            return
        link.ready.set_exception(Unreachable(self._name))
        if not isinstance(error, asyncio.CancelledError):  # the process ends
            logger.error(
                "The MCP server %s could not be connected: %s. %s",
                self._name,
                _describe(error),
                _advice(link.server),
            )

    def _refresh(self) -> None:
        """Drop the servers' cached tools, which may have changed with a restart."""
        for server in list(self.servers):
            invalidate = getattr(server, "invalidate_tools_cache", None)
            if invalidate is not None:
                invalidate()

    def end(self, link: Link | None = None) -> None:
        """Close the connection, or this broken link."""
        ended = link or self._link
        if ended is not None:
            ended.over.set()
            if ended is self._link:
                self._link = None

    async def call(self, name: str, args: Any, kwargs: Any) -> Any:
        """Send a request, over a new connection if the old one is broken.

        A request that may have been carried out is not sent again.
        """
        for is_last in (False, True):
            link = await self.link()
            link.calls += 1
            try:
                return await _detached(getattr(link.session, name), args, kwargs)
            except Exception as error:
                code = getattr(error, "code", None)
                # A slow answer to another request must not be cut off.
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
    """Takes the place of a server object's client session."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        # Before it is connected, any attribute is taken for a method, which connects.
        link = self.connection._link  # noqa: SLF001 - part of it
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
        #: Server objects of the site's own classes that the site has connected.
        self._connected_by_site: weakref.WeakSet[Any] = weakref.WeakSet()
        self._timer: asyncio.TimerHandle | None = None

    async def adopt(self, server: MCPServer) -> Connection | None:
        """Return the connection for a server object; None if the site has connected it."""
        key = _key(server)
        session = getattr(server, "session", None)
        if session is not None and not isinstance(session, _Session):
            return None
        # After a fork, it belongs to the parent's pool.
        if session is not None and session.connection.pool is self:
            mine: Connection = session.connection
            # A header may have changed, such as a token.
            if mine in self._connections and mine.key == key:
                return mine
        connection = next((one for one in self._connections if _fits(one, server, key)), None)
        if connection is None:
            if key is None and await self._is_connected(server):
                return None
            # Looked up again: another task may have added it meanwhile.
            found = (one for one in self._connections if _fits(one, server, key))
            connection = next(found, None) or self._add(server, key)
        connection.servers.add(server)
        if key is not None:
            cast("Any", server).session = _Session(connection)
            if _IS_V2:
                # One visitor's slow tool would block all others; mcp 2 needs no serializing.
                allow_concurrent_calls(server)
        return connection

    def _add(self, server: MCPServer, key: Any) -> Connection:
        make = (lambda: server) if key is None else _factory_like(server)
        connection = Connection(self, make, _log_name(server), key)
        if key is None:
            _connected_by_kit.add(server)
        self._connections.append(connection)
        return connection

    async def _is_connected(self, server: MCPServer) -> bool:
        """Whether a server of the site's own class, without a session, is connected."""
        if hasattr(server, "session") or server in _connected_by_kit:
            return False
        if server not in self._connected_by_site:
            try:
                await server.list_tools()
            except Exception:  # noqa: BLE001 - it is not connected
                return False
            self._connected_by_site.add(server)
        return True

    def rest(self, connection: Connection) -> None:
        """Keep or close a connection without users."""
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
        # Not by its objects' lifetime: timers of the loop hold them for minutes.
        return not connection.users and not connection.is_kept

    def _sweep(self) -> None:
        """Close connections that have been idle for :data:`IDLE_SECONDS`."""
        self._timer = None
        before = time.monotonic() - IDLE_SECONDS
        for one in list(self._connections):
            if self._is_unowned(one) and one.used_at <= before:
                self._close(one)
        if any(self._is_unowned(one) for one in self._connections):
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is None:
            # In its own context: the answer's would hold its agent.
            self._timer = asyncio.get_running_loop().call_later(
                IDLE_SECONDS, self._sweep, context=contextvars.Context()
            )

    def _close(self, connection: Connection) -> None:
        self._connections.remove(connection)
        connection.end()


_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = weakref.WeakKeyDictionary()
#: Server objects of the site's own classes that the kit connects; after a fork, the parent's.
_connected_by_kit: weakref.WeakSet[Any] = weakref.WeakSet()


def _pool() -> Pool:
    return _pools.setdefault(asyncio.get_running_loop(), Pool())


def _reset(server: MCPServer) -> None:
    """Drop a server's session, which has ended or belongs to another process."""
    if getattr(server, "session", None) is not None:
        cast("Any", server).session = None
        if hasattr(server, "exit_stack"):
            server.exit_stack = contextlib.AsyncExitStack()


def _key(server: MCPServer) -> Any:
    """Return the configuration by which connections are shared; None if it is not known."""
    if type(server) not in _KNOWN:
        return None
    known = cast("Any", server)
    params = known.params
    if isinstance(params, dict):
        # A copy: the site may change it later.
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


def _factory_like(server: MCPServer) -> Callable[[], MCPServer]:
    """Return a function that makes a server of the same configuration, without references to it."""
    kind, params, timeout, handler = _key(server)
    name = server.name
    return lambda: cast(
        "MCPServer",
        kind(params, name=name, client_session_timeout_seconds=timeout, message_handler=handler),
    )


async def _detached(request: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Await a request in a task and a context of its own.

    mcp 2 sends it from a task with the caller's context: if Stop cancelled that task, the whole
    connection would end. It also keeps the context, which must not hold the answer.
    """

    async def send() -> Any:
        return await request(*args, **kwargs)

    running = asyncio.get_running_loop()
    return await contextvars.Context().run(running.create_task, send())


async def _gather(waiting: list[Any]) -> None:
    """Wait for all, and raise the first error."""
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


# --- errors -------------------------------------------------------------------------------------


def _is_broken(error: BaseException) -> bool:
    """Whether an error means that a new connection is needed."""
    if _is_unsent(error):
        return True
    message = str(error).lower()
    code = getattr(error, "code", getattr(getattr(error, "error", None), "code", None))
    closed = code == _CLOSED and "connection closed" in message
    return closed or (code in {_INVALID_REQUEST, 32600} and "session" in message)


def _is_unsent(error: BaseException) -> bool:
    """Whether the request never reached the server."""
    message = str(error).lower()
    code = getattr(error, "code", None)
    if code in {_INVALID_REQUEST, 32600} and "session terminated" in message:
        return True
    return type(error).__name__ in {"ClosedResourceError", "BrokenResourceError", "ConnectError"}


def _describe(error: BaseException) -> str:
    """Describe an error for the log, without headers or variables."""
    while getattr(error, "exceptions", None):
        error = cast("Any", error).exceptions[0]
    if isinstance(error, asyncio.TimeoutError):
        return f"it did not answer within {CONNECT_SECONDS:g} seconds"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({type(error).__name__})"
    if isinstance(error, UserError):
        # The SDK's message has the server's name and the HTTP status.
        message = str(error)
        return _redact(message.rpartition("': ")[2]).rstrip(".")
    code = getattr(error, "code", None)
    if code == _CLOSED:
        return "it ended at once"
    if code == _TIMEOUT:
        return "it did not answer in time"
    return type(error).__name__ + (f" {code}" if isinstance(code, int) else "")


def _advice(server: MCPServer) -> str:
    if isinstance(server, MCPServerStdio):
        return "Run its command by hand, as the user and in the folder of this process"
    if isinstance(server, (MCPServerSse, MCPServerStreamableHttp)):
        return "Check its URL and authorization, and that it runs and can be reached from here"
    return "Check its connect()"


def _log_name(server: MCPServer) -> str:
    return repr(_redact(server.name))


def _redact(text: str) -> str:
    """Return a string without the user, password and query of its URLs."""
    text = re.sub(r"(?<=://)[^\s/@]*@", "", text)
    return re.sub(r"(://[^\s?#'\"]*)[?#][^\s'\"]*", r"\1", text)[:200]
