"""The history's database: worker threads per process, transactions, deadlines and retries."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitTimeout
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary, WeakSet, finalize

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import Pool, StaticPool

from ...errors import ConfigurationError
from ...runtime.watchdog import Watchdog
from ...runtime.workers import Stuck, Workers
from .calls import GRACE, Call, Health, overdue, silent, watched
from .engines import (
    check_engine,
    database_url,
    is_in_memory,
    make_engine,
    make_folder,
    watch_connections,
)
from .filling import Filling, add_fts5
from .migrations import PATIENCE, is_current, upgrade_tables

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: Worker threads that wait for the database, besides request threads.
WORKERS = 8
#: Seconds that a call may take by default.
SECONDS = 10.0
#: Seconds that a call may have waited before SQLite's own timeout is shortened.
HURRY = 0.5
#: Seconds that calls have to finish when a database is closed.
CLOSE_SECONDS = 2.0
#: Attempts at a call that meets a deadlock or a dead connection.
ATTEMPTS = 5
DEADLOCKS = frozenset({"40001", "40P01", 1205, 1213})


class Extension(Protocol):
    """A Flask-SQLAlchemy extension."""

    @property
    def engine(self) -> Engine:
        """The engine of the current application."""


Source: TypeAlias = "str | URL | Engine | Extension"


class _Process:
    """A process's threads and engine for a database; nothing of it survives a fork."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.workers = Workers(WORKERS, "flask-chatkit-store")
        self.watchdog = Watchdog()
        self.health = Health()
        self.engine: Engine | None = None
        self.ready: WeakSet[Engine] = WeakSet()
        #: Engines that are being prepared, each in its own thread.
        self.preparing: WeakKeyDictionary[Engine, Future[None]] = WeakKeyDictionary()
        #: Connections of the parent process, which must be neither used nor closed here.
        self.inherited: list[Pool] = []
        #: What adds the words by which old messages are found.
        self.filling: list[Filling] = []


class Database:
    """Runs functions on connections of a database.

    :param source: a URI, an engine, or a Flask-SQLAlchemy extension, which has an engine for each
        application.
    :param create_tables: whether the first call creates missing tables, and upgrades those of an
        earlier release.
    :param seconds: seconds that a call may take. Then its connection is shut down and replaced,
        and so is its thread.
    :raises ConfigurationError: the source is none of these, or can't be used.
    """

    def __init__(self, source: Source, *, create_tables: bool, seconds: float = SECONDS) -> None:
        self._create_tables = create_tables
        self._seconds = seconds
        self._pid = os.getpid()
        self._processes: dict[int, _Process] = {}
        finalize(self, _dispose, self._pid, self._processes)
        self._source: URL | Engine | Extension
        if isinstance(source, (str, URL)):
            self._source = database_url(source)
            self._process().engine = self._make_engine(self._source)
        elif isinstance(source, Engine):
            check_engine(source)
            self._source = source
        # On the class: the property itself raises outside of an application context.
        elif hasattr(type(source), "engine") and not hasattr(source, "sync_engine"):
            self._source = source
        else:
            raise ConfigurationError(
                "the history's database must be a URI, an Engine of SQLAlchemy (not an "
                f"AsyncEngine) or a Flask-SQLAlchemy extension, not {type(source).__name__}"
            )

    @property
    def is_shared(self) -> bool:
        """Whether other processes can use it."""
        return not (isinstance(self._source, URL) and is_in_memory(self._source))

    async def statement(
        self, work: Callable[[Connection], T], *, seconds: float | None = None
    ) -> T:
        """Run a single statement, in one round trip if the driver supports it.

        :param seconds: seconds that it may take, if more than the default.
        :raises HistoryUnavailable: the database did not answer in that time.
        """
        return await self._run(work, seconds, transaction=False)

    async def transaction(
        self, work: Callable[[Connection], T], *, seconds: float | None = None
    ) -> T:
        """Run a transaction; parameters as for :meth:`statement`."""
        return await self._run(work, seconds, transaction=True)

    def close(self) -> None:
        """Close this process's threads and connections; a site's engine stays open."""
        process = self._processes.pop(os.getpid(), None)
        if process is not None:
            for filling in process.filling:
                filling.stop(CLOSE_SECONDS)
            process.workers.close(CLOSE_SECONDS)
            if process.engine is not None:
                process.engine.dispose()

    async def _run(
        self, work: Callable[[Connection], T], seconds: float | None, *, transaction: bool
    ) -> T:
        process = self._process()
        engine = self._pick(process)
        process.health.admit()
        call = Call(max(seconds or 0.0, self._seconds))

        def perform() -> T:
            return self._perform(process, engine, work, call, transaction=transaction)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # Driven without a loop, in a thread that may block.
            return self._perform_here(process, engine, call, perform)
        try:
            future = process.workers.submit(perform)
        except Stuck:
            raise silent() from None
        return await _awaited(process, future, call)

    def _perform_here(
        self, process: _Process, engine: Engine, call: Call, perform: Callable[[], T]
    ) -> T:
        if isinstance(self._source, URL) or engine.dialect.name == "sqlite":
            return perform()
        # A site's engine may take any time to connect.
        try:
            return process.workers.run(perform, call.left + GRACE)
        except Stuck:
            process.health.overdue(call)
            raise overdue(call) from None

    def _process(self) -> _Process:
        pid = os.getpid()
        # Not a lock, which another thread may have held when this process was forked.
        return self._processes.get(pid) or self._processes.setdefault(pid, _Process())

    def _pick(self, process: _Process) -> Engine:
        source = self._source
        if isinstance(source, Engine):
            return source
        if not isinstance(source, URL):
            return source.engine
        if process.engine is None:
            with process.lock:
                process.engine = process.engine or self._make_engine(source)
        return process.engine

    def _make_engine(self, url: URL) -> Engine:
        return make_engine(url, WORKERS, self._seconds)

    def _perform(
        self,
        process: _Process,
        engine: Engine,
        work: Callable[[Connection], T],
        call: Call,
        *,
        transaction: bool,
    ) -> T:
        try:
            if engine not in process.ready:
                self._await_ready(process, engine, call)
            # A database in memory has one connection, for one thread at a time.
            turn = process.lock if isinstance(engine.pool, StaticPool) else nullcontext()
            with watched(process.watchdog, call), turn:
                result = _retry(
                    lambda: self._work(engine, work, call, transaction=transaction), call
                )
        except (DBAPIError, PoolTimeout) as error:
            if not call.is_over:
                raise
            process.health.overdue(call)
            raise overdue(call) from error
        process.health.answered()
        return result

    def _work(
        self, engine: Engine, work: Callable[[Connection], T], call: Call, *, transaction: bool
    ) -> T:
        with engine.connect() as connection, _hurried(connection, call):
            call.begun = None
            dialect = engine.dialect.name
            if dialect == "sqlite":
                if transaction:
                    _begin_immediate(connection)
                elif not isinstance(self._source, URL):
                    # The kit's own engines are in autocommit mode.
                    connection.execution_options(isolation_level="AUTOCOMMIT")
            else:
                call.show(connection.connection.dbapi_connection)
                if transaction:
                    # A site's engine may be in autocommit mode, and MySQL's default locks gaps.
                    connection.execution_options(isolation_level="READ COMMITTED")
                elif dialect == "postgresql":
                    # A flag for this driver; MySQL's would cost two round trips.
                    connection.execution_options(isolation_level="AUTOCOMMIT")
            result = work(connection)
            connection.commit()
            return result

    def _await_ready(self, process: _Process, engine: Engine, call: Call) -> None:
        """Wait until an engine is prepared, once for all calls, each until its own deadline.

        Preparing goes on after the deadlines: upgrading large tables may take longer.
        """
        with process.lock:
            if engine in process.ready:
                return
            if isinstance(engine.pool, StaticPool):
                self._prepare(process, engine)
                return
            job = process.preparing.get(engine)
            if job is None:
                job = process.preparing[engine] = Future()
                # Not a daemon: the process waits for it at exit.
                threading.Thread(
                    target=self._prepare_apart,
                    args=(process, engine, job),
                    name="flask-chatkit-tables",
                ).start()
        try:
            job.result(call.left)
        except WaitTimeout:
            if job.done():
                raise
            process.health.overdue(call)
            raise overdue(call) from None

    def _prepare_apart(self, process: _Process, engine: Engine, job: Future[None]) -> None:
        try:
            self._prepare(process, engine)
        except BaseException as error:  # noqa: BLE001 - raised by the waiting calls
            process.preparing.pop(engine, None)
            job.set_exception(error)
        else:
            process.preparing.pop(engine, None)
            if not isinstance(engine.pool, StaticPool):
                # Before anybody may close the database, which stops it.
                run = partial(self._run_apart, process.watchdog, engine, self._seconds)
                process.filling.append(Filling(run))
            job.set_result(None)

    def _prepare(self, process: _Process, engine: Engine) -> None:
        if not isinstance(self._source, URL):
            check_engine(engine)
            watch_connections(engine)
            if os.getpid() != self._pid and not isinstance(engine.pool, StaticPool):
                process.inherited.append(engine.pool)
                engine.dispose(close=False)
        elif engine.dialect.name == "sqlite" and not isinstance(engine.pool, StaticPool):
            make_folder(engine.url)
            _use_wal(engine, self._seconds)
        if self._create_tables:
            self._upgrade(process.watchdog, engine)
        process.ready.add(engine)

    def _upgrade(self, watchdog: Watchdog, engine: Engine) -> None:
        do = partial(self._run_apart, watchdog, engine)
        if do(self._seconds, is_current, transaction=False):
            return
        try:
            do(max(PATIENCE, self._seconds), _upgrade_all, transaction=True)
        except DBAPIError as error:
            logger.error(  # noqa: TRY400  the error is raised, and logged by the caller
                "The tables of the history could not be created or upgraded (%s). If the "
                "database's user may not change tables, let one who may call "
                "flask_chatkit.server.upgrade_tables, and make the store with create_tables=False",
                type(error).__name__,
            )
            raise

    def _run_apart(
        self,
        watchdog: Watchdog,
        engine: Engine,
        seconds: float,
        work: Callable[[Connection], T],
        *,
        transaction: bool,
    ) -> T:
        """Run work that no visitor waits for, or all do."""
        call = Call(seconds)
        with watched(watchdog, call):
            return _retry(
                lambda: self._work(engine, work, call, transaction=transaction),
                call,
                anything=True,
            )


def _upgrade_all(db: Connection) -> None:
    upgrade_tables(db)
    if db.dialect.name == "sqlite":
        add_fts5(db)


async def _awaited(process: _Process, future: Future[T], call: Call) -> T:
    """A worker's result, if it is in time; else the worker is abandoned and replaced."""
    waiter = asyncio.wrap_future(future)
    try:
        await asyncio.wait([waiter], timeout=call.left + GRACE)
    except asyncio.CancelledError:
        # The call ends before the cancelled task's cleanup writes anything.
        await asyncio.wait([waiter], timeout=call.left + GRACE)
        if not waiter.done():
            _abandon(process, future, waiter)
        raise
    if waiter.done():
        return waiter.result()
    _abandon(process, future, waiter)
    process.health.overdue(call)
    raise overdue(call)


def _abandon(process: _Process, future: Future[T], waiter: asyncio.Future[T]) -> None:
    # Its late result is consumed, so that asyncio does not log it.
    waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
    process.workers.abandon(future)


@contextmanager
def _hurried(connection: Connection, call: Call) -> Iterator[None]:
    """Shorten SQLite's busy timeout for a call that has already waited."""
    if connection.dialect.name != "sqlite" or call.left > call.seconds - HURRY:
        yield
        return
    # Past SQLAlchemy, which would begin a transaction.
    execute = cast("Any", connection.connection.dbapi_connection).execute
    ((usual,),) = execute("PRAGMA busy_timeout")
    execute(f"PRAGMA busy_timeout = {min(usual, int(call.left * 1000))}")
    try:
        yield
    finally:
        # The connection goes back to the pool.
        execute(f"PRAGMA busy_timeout = {usual}")


def _begin_immediate(connection: Connection) -> None:
    """Take SQLite's write lock at once: a transaction that reads first may fail to write."""
    if not getattr(connection.connection.dbapi_connection, "in_transaction", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _retry(work: Callable[[], T], call: Call, *, anything: bool = False) -> T:
    """Retry work after a deadlock or a dead connection; all work here may be repeated.

    :param anything: whether to retry after any database error.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except DBAPIError as error:
            if call.is_over or not (
                anything or error.connection_invalidated or _is_deadlock(error)
            ):
                raise
        time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - no secret
    return work()


def _is_deadlock(error: DBAPIError) -> bool:
    sqlstate = getattr(error.orig, "sqlstate", None)
    return sqlstate in DEADLOCKS or bool(error.orig and DEADLOCKS & {*error.orig.args[:1]})


def _dispose(pid: int, processes: dict[int, _Process]) -> None:
    """Close the connections of a garbage-collected database."""
    process = processes.get(os.getpid())
    if pid == os.getpid() and process is not None and process.engine is not None:
        process.engine.dispose()


def _use_wal(engine: Engine, seconds: float) -> None:
    """Switch SQLite to WAL mode, for concurrent readers; the setting persists in the file."""
    deadline = time.monotonic() + seconds
    while not _is_wal(engine):
        if time.monotonic() > deadline:
            # Without it, readers and writers wait for each other.
            logger.warning("The history's SQLite database could not be put into WAL mode")
            return
        time.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - no secret


def _is_wal(engine: Engine) -> bool:
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal":
            return True
        patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        # Short, because two processes that do this wait for each other.
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
