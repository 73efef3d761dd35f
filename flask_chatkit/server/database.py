"""Where the history is: engines, the processes and threads that use them, transactions."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar
from weakref import WeakSet, finalize

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import Pool, SingletonThreadPool, StaticPool

from ..errors import ConfigurationError
from .history.migrations import is_current, upgrade_tables

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

ACCEPTED = (
    "sqlite:////srv/site/chat.db, postgresql://user:password@host/name or "
    "mysql://user:password@host/name"
)
#: The databases that are known to work, by SQLAlchemy's name.
DIALECTS = frozenset({"sqlite", "postgresql", "mysql", "mariadb"})
#: For a URI that names no driver: the one that SQLAlchemy would take, and ours where it is missing.
DRIVERS = {
    "postgres": ("postgresql", "psycopg2", "psycopg"),
    "postgresql": ("postgresql", "psycopg2", "psycopg"),
    "mysql": ("mysql", "mysqldb", "pymysql"),
    "mariadb": ("mariadb", "mysqldb", "pymysql"),
}
MODULES = {"mysqldb": "MySQLdb"}
#: How many pieces of work wait for the database at once, beside what request threads do themselves.
WORKERS = 8
#: Seconds that a writer of SQLite waits for the others, and that a server has to accept us.
BUSY_SECONDS = 10
#: How often a piece of work is done that met a deadlock, or a connection that had died.
ATTEMPTS = 5
DEADLOCKS = frozenset({"40001", "40P01", 1205, 1213})


class Extension(Protocol):
    """A Flask-SQLAlchemy extension, as far as it is needed here."""

    @property
    def engine(self) -> Engine:
        """The engine of the current application."""


Source: TypeAlias = "str | URL | Engine | Extension"


class _Process:
    """What one process has of a database: nothing of it survives a fork."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="flask-chatkit-store")
        self.engine: Engine | None = None
        self.ready: WeakSet[Engine] = WeakSet()
        #: Connections of the parent process, which must neither be used nor closed here.
        self.inherited: list[Pool] = []


class Database:
    """Does pieces of work on a database.

    :param source: a URI, an engine, or a Flask-SQLAlchemy extension. The latter is asked for its
        engine at each piece of work, since it has one for each application.
    :param create_tables: whether missing tables are made, and those of an earlier release brought
        up to date, at the first piece of work.
    :raises ConfigurationError: the source is none of these, or can't be used.
    """

    def __init__(self, source: Source, *, create_tables: bool) -> None:
        self._create_tables = create_tables
        self._pid = os.getpid()
        self._processes: dict[int, _Process] = {}
        finalize(self, _let_go, self._pid, self._processes)
        self._source: URL | Engine | Extension
        if isinstance(source, (str, URL)):
            self._source = _url(source)
            self._process().engine = _engine(self._source)
        elif isinstance(source, Engine):
            _check(source)
            self._source = source
        # Looked for on the class: outside of an application context the property itself raises.
        elif hasattr(type(source), "engine") and not hasattr(source, "sync_engine"):
            self._source = source
        else:
            raise ConfigurationError(
                "the history's database must be a URI, an Engine of SQLAlchemy (not an "
                f"AsyncEngine) or a Flask-SQLAlchemy extension, not {type(source).__name__}"
            )

    async def statement(self, work: Callable[[Connection], T]) -> T:
        """Do work that is a single statement, in one round trip where the driver can."""
        return await self._run(work, transaction=False)

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Do work that happens as a whole or not at all."""
        return await self._run(work, transaction=True)

    def close(self) -> None:
        """End this process's threads and its own connections; an engine of the site stays open."""
        process = self._processes.pop(os.getpid(), None)
        if process is not None:
            process.workers.shutdown()
            if process.engine is not None:
                process.engine.dispose()

    async def _run(self, work: Callable[[Connection], T], *, transaction: bool) -> T:
        process = self._process()
        engine = self._pick(process)

        def perform() -> T:
            return self._perform(process, engine, work, transaction=transaction)

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Somebody drives this coroutine by hand, in a thread that may wait.
            return perform()
        future = loop.run_in_executor(process.workers, perform)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # What was begun ends before anything else is written on the way out.
            await asyncio.wait([future])
            raise

    def _process(self) -> _Process:
        pid = os.getpid()
        # A lock could have been held by another thread while this process was forked.
        return self._processes.get(pid) or self._processes.setdefault(pid, _Process())

    def _pick(self, process: _Process) -> Engine:
        source = self._source
        if isinstance(source, Engine):
            return source
        if not isinstance(source, URL):
            return source.engine
        if process.engine is None:
            with process.lock:
                process.engine = process.engine or _engine(source)
        return process.engine

    def _perform(
        self,
        process: _Process,
        engine: Engine,
        work: Callable[[Connection], T],
        *,
        transaction: bool,
    ) -> T:
        if engine not in process.ready:
            with process.lock:
                if engine not in process.ready:
                    self._prepare(process, engine)
        # The one connection of a database in memory is for one thread at a time.
        turn = process.lock if isinstance(engine.pool, StaticPool) else nullcontext()
        with turn:
            return _again(lambda: _work(engine, work, transaction=transaction))

    def _prepare(self, process: _Process, engine: Engine) -> None:
        if not isinstance(self._source, URL):
            _check(engine)
            if os.getpid() != self._pid and not isinstance(engine.pool, StaticPool):
                process.inherited.append(engine.pool)
                engine.dispose(close=False)
        elif engine.dialect.name == "sqlite" and not isinstance(engine.pool, StaticPool):
            _make_folder(engine.url)
            _use_wal(engine)
        if self._create_tables:
            _upgrade(engine)
        process.ready.add(engine)


def _upgrade(engine: Engine) -> None:
    if _again(lambda: _work(engine, is_current, transaction=False), anything=True):
        return
    try:
        _again(lambda: _work(engine, upgrade_tables, transaction=True), anything=True)
    except DBAPIError as error:
        logger.error(  # noqa: TRY400  the error itself is raised, and logged by who gets it
            "The tables of the history could not be made or brought up to date (%s). If the "
            "database's user may not change tables, let one who may call "
            "flask_chatkit.server.upgrade_tables, and make the store with create_tables=False",
            type(error).__name__,
        )
        raise


def _work(engine: Engine, work: Callable[[Connection], T], *, transaction: bool) -> T:
    with engine.connect() as connection:
        dialect = engine.dialect.name
        if dialect == "sqlite":
            if transaction:
                _begin_immediate(connection)
            else:
                connection.execution_options(isolation_level="AUTOCOMMIT")
        elif transaction:
            # A site's engine may commit by itself; and MySQL's own level locks gaps.
            connection.execution_options(isolation_level="READ COMMITTED")
        elif dialect == "postgresql":
            # For the driver this is a flag; MySQL's would ask the server twice.
            connection.execution_options(isolation_level="AUTOCOMMIT")
        result = work(connection)
        connection.commit()
        return result


def _begin_immediate(connection: Connection) -> None:
    """Take SQLite's write lock at once: who reads first and writes then can be refused."""
    if not getattr(connection.connection.dbapi_connection, "in_transaction", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _again(work: Callable[[], T], *, anything: bool = False) -> T:
    """Do work again that lost to somebody else's; all that is done here may be done twice."""
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except DBAPIError as error:
            if not (anything or error.connection_invalidated or _has_lost(error)):
                raise
        time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - no secret
    return work()


def _has_lost(error: DBAPIError) -> bool:
    sqlstate = getattr(error.orig, "sqlstate", None)
    return sqlstate in DEADLOCKS or bool(error.orig and DEADLOCKS & {*error.orig.args[:1]})


def _url(source: str | URL) -> URL:
    try:
        url = make_url(source)
    except (ArgumentError, ValueError):
        # What it was must not be told: it may have a password in it.
        raise ConfigurationError(f"CHATKIT_DATABASE_URI must be of the form {ACCEPTED}") from None
    if url.drivername in DRIVERS:
        dialect, usual, ours = DRIVERS[url.drivername]
        driver = usual if find_spec(MODULES.get(usual, usual)) else ours
        url = url.set(drivername=f"{dialect}+{driver}")
    if url.get_backend_name() not in DIALECTS:
        raise ConfigurationError(f"CHATKIT_DATABASE_URI must be of the form {ACCEPTED}")
    return url


def _engine(url: URL) -> Engine:
    options: dict[str, Any] = {"pool_size": WORKERS, "max_overflow": 3 * WORKERS}
    arguments: dict[str, Any] = {}
    backend, driver = url.get_backend_name(), url.drivername.partition("+")[2]
    if backend == "sqlite":
        if "timeout" not in url.query:
            arguments["timeout"] = BUSY_SECONDS
        if _is_in_memory(url):
            options = {"poolclass": StaticPool}
            arguments["check_same_thread"] = False
    else:
        options["pool_recycle"] = 1800
        options["isolation_level"] = "READ COMMITTED"
        if driver in {"psycopg", "psycopg2", "pymysql", "mysqldb"} and (
            "connect_timeout" not in url.query
        ):
            arguments["connect_timeout"] = BUSY_SECONDS
    try:
        # An error tells the parameters otherwise: what people wrote.
        engine = create_engine(url, connect_args=arguments, hide_parameters=True, **options)
    except (ImportError, NoSuchModuleError) as error:
        name = getattr(error, "name", None) or driver or backend
        raise ConfigurationError(
            f"CHATKIT_DATABASE_URI needs the driver {name}, which is not installed; install it, "
            f"or use the form {ACCEPTED}"
        ) from None
    except (ArgumentError, TypeError, ValueError):
        raise ConfigurationError(f"CHATKIT_DATABASE_URI must be of the form {ACCEPTED}") from None
    _check(engine)
    if backend == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    return engine


def _let_go(pid: int, processes: dict[int, _Process]) -> None:
    """Close the connections of a database that nobody uses any more."""
    process = processes.get(os.getpid())
    if pid == os.getpid() and process is not None and process.engine is not None:
        process.engine.dispose()


def _check(engine: Engine) -> None:
    if engine.dialect.is_async:
        raise ConfigurationError(
            f"CHATKIT_DATABASE_URI must name a driver that is not asynchronous, or none: {ACCEPTED}"
        )
    if engine.dialect.name not in DIALECTS:
        raise ConfigurationError(
            f"the history is kept in SQLite, PostgreSQL or MySQL, not in {engine.dialect.name}; "
            f"set CHATKIT_DATABASE_URI to {ACCEPTED}"
        )
    if isinstance(engine.pool, SingletonThreadPool):
        raise ConfigurationError(
            "an engine for SQLite in memory needs poolclass=StaticPool, or each thread has a "
            "database of its own; CHATKIT_DATABASE_URI 'sqlite://' does that by itself"
        )


def _is_in_memory(url: URL) -> bool:
    name = url.database or ":memory:"
    return ":memory:" in name or url.query.get("mode") == "memory" or "mode=memory" in name


def _set_pragmas(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # In WAL mode this loses nothing when a process dies, and at most the last moments when the
    # machine does.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _make_folder(url: URL) -> None:
    name = url.database or ""
    if name.startswith("file:"):
        return
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"CHATKIT_DATABASE_URI must name a file in a folder that can be made: {error.strerror}"
        ) from None


def _use_wal(engine: Engine) -> None:
    """Let readers and a writer work at once. The file remembers it."""
    deadline = time.monotonic() + BUSY_SECONDS
    while not _is_wal(engine):
        if time.monotonic() > deadline:
            # As slow as it would be without: readers and writers wait for each other.
            logger.warning("The history's SQLite database could not be put into WAL mode")
            return
        time.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - no secret


def _is_wal(engine: Engine) -> bool:
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal":
            return True
        patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        # Two processes that both do this wait for each other, so neither waits for long.
        connection.exec_driver_sql("PRAGMA busy_timeout = 20")
        try:
            mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
        except OperationalError as error:
            if "locked" not in str(error.orig):
                raise
            return False
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience}")
    return mode == "wal"
