"""How long the upgrade of an earlier release's tables takes, by their size.

python tests/bench/upgrade.py [threads]   (default 1,000,000; a fifth as many attachments)
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa

from flask_chatkit.server import upgrade_tables
from flask_chatkit.server.history.engines import database_url
from tests.helpers.databases import fresh_database
from tests.helpers.schema_1 import STATEMENTS

BATCH = 20_000
MOMENT = datetime(2026, 1, 1, tzinfo=timezone.utc)


def missing(server: str, how: str) -> NoReturn:
    """Say what is not there."""
    raise SystemExit(f"{server} is missing: {how}")


def fill(engine: sa.Engine, count: int) -> None:
    """Make the old tables, with that many threads."""
    old = sa.MetaData()
    with engine.begin() as db:
        for statement in STATEMENTS[engine.dialect.name.replace("mariadb", "mysql")]:
            db.exec_driver_sql(" ".join(statement.split()))
        old.reflect(db)
    threads, attachments = (old.tables[f"chatkit_{name}"] for name in ("threads", "attachments"))

    def row(number: int) -> dict[str, Any]:
        who = f"{number % 100_000:064x}"
        return {
            **dict.fromkeys(("kit", "chat"), "chatkit"),
            "owner": who,
            "visitor": f"user:{who}",
            "created_at": MOMENT,
            "data": "x" * 200,
        }

    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        with engine.begin() as db:
            db.execute(threads.insert(), [{**row(n), "id": f"thr_{n:032x}"} for n in numbers])
            files = [
                {**row(n), "id": f"atc_{n:032x}", "thread": f"thr_{n:032x}"}
                for n in numbers
                if n % 5 == 0
            ]
            db.execute(attachments.insert(), files)


def measure(name: str, uri: str, count: int) -> None:
    """Upgrade once, and print how long it took."""
    engine = sa.create_engine(database_url(uri))
    fill(engine, count)
    begun = time.perf_counter()
    with engine.begin() as db:
        upgrade_tables(db)
    print(f"{name:<12} {count:>10,} threads {time.perf_counter() - begun:8.1f} s", flush=True)
    engine.dispose()


def main(make: Callable[..., Any] = fresh_database) -> None:
    """Measure each kind of database."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        measure("SQLite", f"sqlite:///{Path(folder)}/chat.db", count)
    for server in ("PostgreSQL", "MariaDB"):
        with make(server, missing) as uri:
            measure(server, uri, count)


if __name__ == "__main__":
    main()
