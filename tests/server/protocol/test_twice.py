"""The same message to two processes at the same moment: two sites that share a database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_chatkit import ChatKit
from flask_chatkit.server.history import claims as claiming
from flask_chatkit.server.history import turns
from flask_chatkit.server.history.tables import claims as table
from flask_chatkit.server.protocol import replay
from tests.helpers.databases import fresh_database
from tests.helpers.served import Client, Shop, events, kinds, said, until, visit
from tests.helpers.sites import Browser, MakeApp

Missing = Callable[[str, str], NoReturn]


class Pair(NamedTuple):
    """Two sites, their servers, and one visitor on each of them with the same cookie."""

    apps: tuple[Flask, Flask]
    shops: list[Shop]
    first: Client
    second: Client


@pytest.fixture(params=["file", "PostgreSQL", "MariaDB"])
def pair(
    request: pytest.FixtureRequest,
    make_app: MakeApp,
    browse: Any,
    missing: Missing,
    tmp_path: Path,
) -> Iterator[Pair]:
    """Make two sites on one new database, as two processes are."""
    with ExitStack() as stack:
        uri = f"sqlite:///{tmp_path}/chat.db"
        if request.param != "file":
            uri = stack.enter_context(fresh_database(request.param, missing))
        shops: list[Shop] = []

        def make() -> Flask:
            def shop(store: Any) -> Shop:
                shops.append(Shop(store))
                return shops[-1]

            kit = ChatKit()
            kit.add_server("default", shop)
            return make_app(
                kit,
                CHATKIT_DATABASE_URI=uri,
                CHATKIT_UPLOAD_FOLDER=str(tmp_path / "up"),
                CHATKIT_MESSAGE_RATELIMIT="",
            )

        apps = make(), make()
        first = visit(browse(apps[0]))
        first.threads()
        other: Browser = browse(apps[1])
        other.cookies.update(first.browser.cookies)
        second = Client(other, token=first.token)
        second.threads()
        yield Pair(apps, shops, first, second)
        for app in apps:
            with app.app_context():
                app.extensions["chatkit"]["chatkit"].service.storage.records.close()


def test_one_message_and_one_answer(pair: Pair) -> None:
    """Both calls are told the same thread, message and answer, which are there once."""
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(pair.first.post, "threads.create", input=said("slow"))
        two = pool.submit(pair.second.post, "threads.create", input=said("slow"))
        until(lambda: sum(shop.begun for shop in pair.shops) == 1)
        time.sleep(0.3)
        for shop in pair.shops:
            shop.open_gate()
        told = [events(one.result()), events(two.result())]
    assert sum(shop.begun for shop in pair.shops) == 1
    assert len({stream[0]["thread"]["id"] for stream in told}) == 1
    (thread,) = pair.first.threads()
    assert pair.first.texts(thread["id"]) == ["slow"]
    assert pair.first.texts(thread["id"], "assistant_message") == ["so far, so good"]
    for stream in told:
        assert kinds(stream)[0] == "thread.created"
        assert kinds(stream)[-1] == "thread.item.done:assistant_message"
        assert "so far, so good" in json.dumps(stream)


def test_same_message_in_a_thread(pair: Pair) -> None:
    """In a thread that is there it is one message, too; later on it is said once more."""
    thread = pair.first.create("hello")
    with ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(client.add, thread, "and now?") for client in (pair.first, pair.second)
        ]
        for call in calls:
            assert kinds(call.result())[-1] == "thread.item.done:assistant_message"
    assert pair.first.texts(thread) == ["hello", "and now?"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "SAME_SECONDS", 0.0)
        patch.setattr(replay, "SAME_SECONDS", 0.0)
        pair.second.add(thread, "and now?")
    assert pair.first.texts(thread) == ["hello", "and now?", "and now?"]


def test_clocks_of_hosts_may_differ(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered by a host whose clock is ahead may be said once more at another."""
    monkeypatch.setattr(turns, "SAME_SECONDS", 0.2)
    monkeypatch.setattr(replay, "SAME_SECONDS", 0.2)
    thread = pair.first.create("hello")
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + 240)
        pair.first.add(thread, "yes")
    time.sleep(0.3)
    pair.second.add(thread, "yes")
    assert pair.first.texts(thread) == ["hello", "yes", "yes"]


def test_answers_in_the_future_hold_nobody_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back since a message was answered does not swallow the next one."""
    monkeypatch.setattr(replay, "SAME_SECONDS", 0.0)
    thread = pair.first.create("hello")
    pair.first.add(thread, "yes")
    with pair.apps[0].app_context():
        database = pair.apps[0].extensions["chatkit"]["chatkit"].service.storage.store.database
        engine = database._pick(database._process())
    with engine.begin() as connection:
        later = table.c.touched_at + 240_000_000
        connection.execute(sa.update(table).values(touched_at=later))
    pair.second.add(thread, "yes")
    assert pair.first.texts(thread) == ["hello", "yes", "yes"]


def test_other_words_wait_for_nobody(pair: Pair) -> None:
    """Another message of the same visitor, and the same one of another, are answered at once."""
    thread = pair.first.create("hello")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(pair.first.add, thread, "slow")
        until(lambda: sum(shop.begun for shop in pair.shops) == 2)
        assert "You said else" in json.dumps(pair.second.add(thread, "else"))
        for shop in pair.shops:
            shop.open_gate()
        held.result()


def test_crashed_process_is_not_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim of a process that was killed runs out, and the message is answered anew."""
    monkeypatch.setattr(turns, "STALE_SECONDS", 0.6)
    monkeypatch.setattr(claiming.Claim, "settle", lost)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(pair.first.post, "threads.create", input=said("slow"))
        until(lambda: pair.shops[0].begun == 1)
        # Nobody renews it any more.
        monkeypatch.setattr(turns, "RENEW_SECONDS", 100)
        stream = pool_of_one(pair.second, pair.shops)
        assert kinds(stream)[-1] == "thread.item.done:assistant_message"
        pair.shops[0].open_gate()
        held.result()


async def lost(*_: Any, **__: Any) -> None:
    """What a process that was killed says."""


def pool_of_one(client: Client, shops: list[Shop]) -> list[Any]:
    """Say it at the other site, whose answer may go on at once."""
    shops[1].open_gate()
    return client.stream("threads.create", input=said("slow"))


def test_without_the_table_all_is_answered(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """A site that has not migrated yet is told so once, and answers."""
    with pair.apps[0].app_context():
        service = pair.apps[0].extensions["chatkit"]["chatkit"].service
        database = service.storage.store.database
        engine = database._pick(database._process())
    with engine.begin() as connection:
        table.drop(connection)
    pair.first.create("hello")
    pair.first.create("hello again")
    assert caplog.text.count("chatkit_claims can't be used") == 1
    with engine.begin() as connection:
        table.create(connection)
        assert connection.scalars(sa.select(table.c.message)).all() == []
