"""The history behind PgBouncer in transaction mode: each transaction has another connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, make_url

from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.history.store import SQLAlchemyStore
from flask_chatkit.testing.stores import new_message, new_thread
from tests.helpers.databases import fresh_database
from tests.helpers.pgbouncer import pgbouncer

Missing = Callable[[str, str], NoReturn]
pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def url(missing: Missing) -> Iterator[URL]:
    """Make a database, and reach it through PgBouncer."""
    with (
        fresh_database("PostgreSQL", missing) as uri,
        pgbouncer(make_url(uri), missing) as url,
    ):
        yield url


async def _talk(store: SQLAlchemyStore, number: int) -> int:
    """Do what an answer does, often enough for a driver to prepare its statements."""
    context = ChatContext(visitor=Visitor.login(f"user {number}"), kit="chatkit", chat="default")
    thread = new_thread()
    await store.save_thread(thread, context)
    for _ in range(8):
        await store.add_thread_item(thread.id, new_message(thread), context)
        await store.load_thread(thread.id, context)
        await store.load_threads(20, None, "desc", context)
    page = await store.load_thread_items(thread.id, None, 100, "asc", context)
    await store.delete_thread(thread.id, context)
    return len(page.data)


def test_statements_do_not_collide(url: URL) -> None:
    """Many visitors at once read and write, and make the tables, through two connections."""
    store = SQLAlchemyStore(url)

    async def all_at_once() -> list[int]:
        return await asyncio.gather(*(_talk(store, number) for number in range(12)))

    assert asyncio.run(all_at_once()) == [8] * 12
    store.close()


def test_prepared_statements_would_collide(url: URL) -> None:
    """An engine that prepares statements fails there, so the test above tells something."""
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"), connect_args={"prepare_threshold": 0}
    )
    store = SQLAlchemyStore(engine)

    async def all_at_once() -> list[Any]:
        talks = (_talk(store, number) for number in range(12))
        return await asyncio.gather(*talks, return_exceptions=True)

    failed = [str(error) for error in asyncio.run(all_at_once()) if error != 8]
    assert any("prepared statement" in error for error in failed)
    store.close()
    engine.dispose()


def test_a_fresh_database_is_set_up_by_several(url: URL, missing: Missing) -> None:
    """Several processes' stores make the tables at the same time, each once."""
    with fresh_database("PostgreSQL", missing) as uri:
        place = url.set(database=make_url(uri).database)
        stores = [SQLAlchemyStore(place) for _ in range(4)]

        async def begin() -> list[int]:
            return await asyncio.gather(*(_talk(store, n) for n, store in enumerate(stores)))

        assert asyncio.run(begin()) == [8] * 4
        for store in stores:
            store.close()
