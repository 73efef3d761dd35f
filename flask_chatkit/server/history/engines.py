"""SQLAlchemy engines for the history: databases, drivers and timeouts."""

from __future__ import annotations

import math
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from ...errors import ConfigurationError
from ...startup_checks import unwritable
from .calls import show_connection, show_socket

ACCEPTED = (
    "sqlite:////srv/site/chat.db, postgresql://user:password@host/name or "
    "mysql://user:password@host/name"
)
#: The supported databases, by SQLAlchemy's names.
DIALECTS = frozenset({"sqlite", "postgresql", "mysql", "mariadb"})
#: For a URI without a driver: SQLAlchemy's default, and the one used if that is not installed.
DRIVERS = {
    "postgres": ("postgresql", "psycopg2", "psycopg"),
    "postgresql": ("postgresql", "psycopg2", "psycopg"),
    "mysql": ("mysql", "mysqldb", "pymysql"),
    "mariadb": ("mariadb", "mysqldb", "pymysql"),
}
MODULES = {"mysqldb": "MySQLdb"}
#: Seconds that a server has to accept a connection; libpq's minimum is two.
CONNECT_SECONDS = 5
#: TCP keepalives, in seconds and a number of probes, to notice that a server is gone.
KEEPALIVES = {"keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3}
#: The same for a socket, and the milliseconds that sent data may stay unacknowledged.
_OPTIONS = {
    "TCP_KEEPIDLE": 20,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,
}


def database_url(source: str | URL) -> URL:
    """Parse a URI and choose its driver.

    :raises ConfigurationError: it can't be used; the message does not repeat it.
    """
    try:
        url = make_url(source)
    except (ArgumentError, ValueError):
        # Not repeated in the message: it may contain a password.
        raise ConfigurationError(f"CHATKIT_DATABASE_URI must be of the form {ACCEPTED}") from None
    if url.drivername in DRIVERS:
        dialect, usual, ours = DRIVERS[url.drivername]
        driver = usual if find_spec(MODULES.get(usual, usual)) else ours
        url = url.set(drivername=f"{dialect}+{driver}")
    if url.get_backend_name() not in DIALECTS:
        raise ConfigurationError(f"CHATKIT_DATABASE_URI must be of the form {ACCEPTED}")
    return url


def make_engine(url: URL, size: int, seconds: float) -> Engine:
    """Make an engine from a URI.

    :param size: the number of connections that stay open.
    :param seconds: seconds that connecting or a lock may take.
    :raises ConfigurationError: the URI can't be used, or its driver is not installed.
    """
    options: dict[str, Any] = {
        "pool_size": size,
        "max_overflow": 3 * size,
        "pool_timeout": seconds,
    }
    backend, driver = url.get_backend_name(), url.drivername.partition("+")[2]
    if backend == "sqlite":
        arguments: dict[str, Any] = {"timeout": seconds}
        # Transactions are begun explicitly; switching for each would cost three statements.
        options["isolation_level"] = "AUTOCOMMIT"
        if is_in_memory(url):
            options = {"poolclass": StaticPool, "isolation_level": "AUTOCOMMIT"}
            arguments["check_same_thread"] = False
    else:
        options["pool_recycle"] = 1800
        options["isolation_level"] = "READ COMMITTED"
        arguments = _waits(driver, seconds)
    # The URI takes precedence, and drivers reject duplicates.
    arguments = {key: value for key, value in arguments.items() if key not in url.query}
    try:
        # Errors would contain the parameters: what people wrote.
        engine = create_engine(url, connect_args=arguments, hide_parameters=True, **options)
    except (ImportError, NoSuchModuleError) as error:
        name = getattr(error, "name", None) or driver or backend
        raise ConfigurationError(
            f"CHATKIT_DATABASE_URI needs the driver {name}, which is not installed; install it, "
            f"or use the form {ACCEPTED}"
        ) from None
    except (ArgumentError, TypeError, ValueError):
        raise ConfigurationError(f"CHATKIT_DATABASE_URI must be of the form {ACCEPTED}") from None
    check_engine(engine)
    if backend == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    else:
        watch_connections(engine)
    return engine


def watch_connections(engine: Engine) -> None:
    """Give connecting and the driver's first queries a deadline, also for a site's engine.

    The engine's own options take precedence.
    """
    if engine.dialect.name == "sqlite" or event.contains(engine, "connect", show_connection):
        return
    # Inserted first: the driver's first query on a new connection may hang, too.
    event.listen(engine, "connect", show_connection, insert=True)
    if engine.dialect.driver == "pymysql":
        event.listen(engine, "do_connect", _dial)
    elif engine.dialect.driver in {"psycopg", "psycopg2", "mysqldb"}:
        event.listen(engine, "do_connect", _limit)


def _limit(_dialect: Any, _record: object, _args: Any, options: dict[str, Any]) -> None:
    options.setdefault("connect_timeout", CONNECT_SECONDS)


def _waits(driver: str, seconds: float) -> dict[str, Any]:
    """A driver's options to time out connecting, and to notice that a server is gone."""
    connect = max(2, min(CONNECT_SECONDS, math.ceil(seconds)))
    if driver in {"psycopg", "psycopg2"}:
        options: dict[str, Any] = {
            "connect_timeout": connect,
            **KEEPALIVES,
            # Milliseconds that sent data may stay unacknowledged.
            "tcp_user_timeout": max(2000, int(seconds * 1000)),
        }
        if driver == "psycopg":
            # PgBouncer gives each transaction another connection to the server, where a prepared
            # statement is unknown or another one of that name.
            options["prepare_threshold"] = None
        return options
    return {"connect_timeout": connect} if driver in {"pymysql", "mysqldb"} else {}


def _dial(dialect: Any, _record: object, args: Any, options: dict[str, Any]) -> Any:
    """Connect PyMySQL through a socket that the watchdog can shut down at the call's deadline.

    PyMySQL waits for each part of the server's greeting without a limit.
    """
    if args or "unix_socket" in options or "bind_address" in options:
        return None  # PyMySQL connects itself
    address = options.get("host") or "127.0.0.1", options.get("port") or 3306
    connection = dialect.dbapi.Connection(defer_connect=True, **options)
    try:
        dialed = socket.create_connection(address, options.get("connect_timeout"))
    except OSError as error:
        raise dialect.dbapi.OperationalError(2003, f"can't connect to MySQL: {error}") from error
    dialed.settimeout(None)
    dialed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    dialed.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        if hasattr(socket, name):
            dialed.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    show_socket(dialed)
    connection.connect(dialed)
    return connection


def check_engine(engine: Engine) -> None:
    """Check an engine, of the kit or the site.

    :raises ConfigurationError: it can't be used.
    """
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


def is_in_memory(url: URL) -> bool:
    """Whether a URL is that of a SQLite database in memory."""
    name = url.database or ":memory:"
    return ":memory:" in name or url.query.get("mode") == "memory" or "mode=memory" in name


def _set_pragmas(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # In WAL mode nothing is lost if a process dies, and at most the last writes if the machine
    # does.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def make_folder(url: URL) -> None:
    """Create the folder of SQLite's file.

    :raises ConfigurationError: it can't be made.
    """
    name = url.database or ""
    if name.startswith("file:"):
        return
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"CHATKIT_DATABASE_URI must name a file in a folder that can be made: {error.strerror}"
        ) from None
    # SQLite creates files beside it, even for reading.
    trouble = unwritable(Path(name).parent) or unwritable(Path(name))
    if trouble:
        raise ConfigurationError(f"CHATKIT_DATABASE_URI must name a file to write to: {trouble}")
