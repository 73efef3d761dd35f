"""Databases of a test's own, on the servers that run here."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

SERVERS = {
    "PostgreSQL": os.environ.get(
        "TEST_POSTGRESQL_URI", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
    ),
    "MariaDB": os.environ.get("TEST_MARIADB_URI", "mysql+pymysql://root@127.0.0.1:3306/test"),
}


@contextmanager
def fresh_database(server: str, missing: Callable[[str, str], NoReturn]) -> Iterator[str]:
    """The URI of a new database, which is dropped afterwards."""
    url = make_url(SERVERS[server])
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"chatkit_{secrets.token_hex(6)}"
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError:
        engine.dispose()
        missing(server, f"start one at {url.host}:{url.port}")
    plain = url.set(drivername=url.get_backend_name(), database=name)
    try:
        yield plain.render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if server == "PostgreSQL" else ""
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}{force}"))
        engine.dispose()
