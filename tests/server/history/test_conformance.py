"""The conformance kit: good stores pass it, and what a bad store does wrong is told by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from chatkit.store import Store

from flask_chatkit.server.history.isolation import OwnedStore
from flask_chatkit.server.history.store import SQLAlchemyStore
from flask_chatkit.testing.stores import StoreConformance
from tests.helpers.databases import fresh_database
from tests.helpers.paths import ROOT
from tests.helpers.stores import TidyStore

Missing = Callable[[str, str], NoReturn]

BAD = """
import pytest
from flask_chatkit.server.history.isolation import OwnedStore
from flask_chatkit.testing.stores import StoreConformance
from tests.helpers.stores import LeakyStore


class TestLeaky(StoreConformance):
    @pytest.fixture
    def store(self):
        return LeakyStore()


class TestOwned(StoreConformance):
    @pytest.fixture
    def store(self):
        return OwnedStore(LeakyStore())
"""

#: What a store by time can't do, whatever is put around it.
UNTIDY = {
    "test_every_item_is_replaced",
    "test_items_keep_the_order_of_insertion",
    "test_items_of_one_moment_are_paged",
    "test_threads_of_one_moment_are_paged",
}
#: What a store does wrong that is as OpenAI's quickstart has it.
LEAKY = UNTIDY | {
    "test_ids_cannot_be_guessed",
    "test_items_after_nothing_are_not_found",
    "test_many_add_at_once",
    "test_others_attachment_is_not_deleted",
    "test_others_attachment_is_not_loaded",
    "test_others_attachment_is_not_saved",
    "test_others_item_is_not_deleted",
    "test_others_item_is_not_loaded",
    "test_others_item_is_not_saved",
    "test_others_items_are_not_listed",
    "test_others_thread_gets_no_item",
    "test_others_thread_is_not_deleted",
    "test_others_thread_is_not_loaded",
    "test_others_thread_is_not_saved",
    "test_others_threads_are_not_listed",
    "test_pages_of_items_are_bounded",
    "test_pages_of_threads_are_bounded",
    "test_thread_may_carry_items",
    "test_threads_after_nothing_are_not_found",
    "test_threads_are_paged",
}


def test_bad_stores_fail(tmp_path: Path) -> None:
    """A leaky store fails each check of what it does wrong, and no other."""
    (tmp_path / "test_bad.py").write_text(BAD)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "--tb=line"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = set(re.findall(r"^FAILED test_bad.py::(\w+)::(\w+)", done.stdout, re.MULTILINE))
    failed = {
        kind: {name for of, name in told if of == kind} for kind in ("TestLeaky", "TestOwned")
    }
    assert done.returncode == 1, done.stdout
    assert failed == {"TestLeaky": LEAKY, "TestOwned": UNTIDY}
    assert " error" not in done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def in_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Keep the history in a file, one for all tests."""
    store = SQLAlchemyStore(f"sqlite:///{tmp_path_factory.mktemp('history')}/chat.db")
    yield store
    store.close()


@pytest.fixture(scope="module")
def in_postgresql(missing: Missing) -> Iterator[Store]:
    """Keep the history in PostgreSQL."""
    with fresh_database("PostgreSQL", missing) as uri:
        store = SQLAlchemyStore(uri)
        yield store
        store.close()


@pytest.fixture(scope="module")
def in_mariadb(missing: Missing) -> Iterator[Store]:
    """Keep the history in MariaDB."""
    with fresh_database("MariaDB", missing) as uri:
        store = SQLAlchemyStore(uri)
        yield store
        store.close()


class TestSQLite(StoreConformance):
    """Our store, in a file."""

    @pytest.fixture
    def store(self, in_file: Store) -> Store:
        return in_file


class TestMemory(StoreConformance):
    """Our store, in memory."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = SQLAlchemyStore("sqlite://")
        yield store
        store.close()


class TestPostgreSQL(StoreConformance):
    """Our store, in PostgreSQL."""

    @pytest.fixture
    def store(self, in_postgresql: Store) -> Store:
        return in_postgresql


class TestMariaDB(StoreConformance):
    """Our store, in MariaDB."""

    @pytest.fixture
    def store(self, in_mariadb: Store) -> Store:
        return in_mariadb


class TestOwned(StoreConformance):
    """A site's store that isolates nobody, with owners around it."""

    @pytest.fixture
    def store(self) -> Store:
        return OwnedStore(TidyStore())
