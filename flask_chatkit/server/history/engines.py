"""Engines of SQLAlchemy for the history: which database, by which driver, how long they wait."""

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
#: Seconds that a server has to accept a connection; libpq knows no less than two.
CONNECT_SECONDS = 5
#: How the kernel finds out that a server is gone: seconds of silence, then between questions, and
#: how many of these.
KEEPALIVES = {"keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3}
#: The same, and how many milliseconds what was sent may stay unacknowledged, for a socket.
_OPTIONS = {
    "TCP_KEEPIDLE": 20,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,
}


def database_url(source: str | URL) -> URL:
    """A URI that can be used, with its driver.

    :raises ConfigurationError: it can't; the message does not repeat it.
    """
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


def make_engine(url: URL, size: int, seconds: float) -> Engine:
    """An engine of our own.

    :param size: how many connections are kept open.
    :param seconds: the longest that anything may wait.
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
        # Transactions are begun by hand. To switch for each statement would cost three more.
        options["isolation_level"] = "AUTOCOMMIT"
        if is_in_memory(url):
            options = {"poolclass": StaticPool, "isolation_level": "AUTOCOMMIT"}
            arguments["check_same_thread"] = False
    else:
        options["pool_recycle"] = 1800
        options["isolation_level"] = "READ COMMITTED"
        arguments = _waits(driver, seconds)
    # What the URI says counts, and a driver does not like to be told twice.
    arguments = {key: value for key, value in arguments.items() if key not in url.query}
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
    check_engine(engine)
    if backend == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    else:
        show_connections(engine)
    return engine


def show_connections(engine: Engine) -> None:
    """Have connecting end, be it a site's engine, and what the driver asks at first.

    What the engine names itself is left as it is.
    """
    if engine.dialect.name == "sqlite" or event.contains(engine, "connect", show_connection):
        return
    # First of all: what the driver asks a new connection may hang, too.
    event.listen(engine, "connect", show_connection, insert=True)
    if engine.dialect.driver == "pymysql":
        event.listen(engine, "do_connect", _dial)
    elif engine.dialect.driver in {"psycopg", "psycopg2", "mysqldb"}:
        event.listen(engine, "do_connect", _limit)


def _limit(_dialect: Any, _record: object, _args: Any, told: dict[str, Any]) -> None:
    told.setdefault("connect_timeout", CONNECT_SECONDS)


def _waits(driver: str, seconds: float) -> dict[str, Any]:
    """What a driver is told, so that connecting ends, and a server that is gone is noticed."""
    connect = max(2, min(CONNECT_SECONDS, math.ceil(seconds)))
    if driver in {"psycopg", "psycopg2"}:
        told: dict[str, Any] = {
            "connect_timeout": connect,
            **KEEPALIVES,
            # Milliseconds that what was sent may stay unacknowledged.
            "tcp_user_timeout": max(2000, int(seconds * 1000)),
        }
        if driver == "psycopg":
            # PgBouncer hands each transaction another connection of its own to the server, where
            # a statement that was prepared before is unknown, or is another one of that name.
            told["prepare_threshold"] = None
        return told
    return {"connect_timeout": connect} if driver in {"pymysql", "mysqldb"} else {}


def _dial(dialect: Any, _record: object, args: Any, told: dict[str, Any]) -> Any:
    """Connect PyMySQL by a socket of our own, which ends at the call's deadline.

    PyMySQL waits for each piece of the server's greeting anew, and for ever.
    """
    if args or "unix_socket" in told or "bind_address" in told:
        return None  # as usual
    place = told.get("host") or "127.0.0.1", told.get("port") or 3306
    connection = dialect.dbapi.Connection(defer_connect=True, **told)
    try:
        dialed = socket.create_connection(place, told.get("connect_timeout"))
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
    """Check an engine, be it the site's.

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
    """Whether it is a SQLite database without a file."""
    name = url.database or ":memory:"
    return ":memory:" in name or url.query.get("mode") == "memory" or "mode=memory" in name


def _set_pragmas(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # In WAL mode this loses nothing when a process dies, and at most the last moments when the
    # machine does.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def make_folder(url: URL) -> None:
    """Make the folder of SQLite's file.

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
    # SQLite keeps files of its own beside it, even to read.
    trouble = unwritable(Path(name).parent) or unwritable(Path(name))
    if trouble:
        raise ConfigurationError(f"CHATKIT_DATABASE_URI must name a file to write to: {trouble}")
