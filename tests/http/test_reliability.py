"""The table of docs/reliability.md: each fault of each part, over real HTTP, through a proxy."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import fsspec
import pytest
from agents import Agent, OpenAIResponsesModel
from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from fsspec.implementations.memory import MemoryFileSystem
from openai import AsyncOpenAI
from sqlalchemy import create_engine, make_url

from flask_chatkit import ChatKit
from flask_chatkit.hosted import share
from flask_chatkit.limits import storage
from flask_chatkit.server.attachments import remote
from flask_chatkit.server.history.calls import RECHECK_SECONDS
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.databases import fresh_database
from tests.helpers.faults import Fault, FaultProxy, faults
from tests.helpers.model_api import KEY, Say, serve_model
from tests.helpers.paths import DOCS
from tests.helpers.served import Client, Shop, said, visit
from tests.helpers.sites import MakeApp, told
from tests.helpers.stores import TidyStore

Missing = Callable[[str, str], NoReturn]
Run = Callable[..., float]

#: Seconds that a call of the database may take in these tests.
DEADLINE = 1.0
#: Seconds that a request may take beyond its deadline, on a machine that does other things, too.
SLACK = 2.0
SERVERS = ["PostgreSQL", "MariaDB"]


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What something returns, and how many seconds it took."""
    began = time.monotonic()
    result = act()
    return result, time.monotonic() - began


def recovered(act: Callable[[], Any], seconds: float = 5.0) -> Any:
    """What something returns once it works again."""
    end = time.monotonic() + seconds
    while True:
        answer = act()
        if answer.status_code == 200 or time.monotonic() > end:
            assert answer.status_code == 200, answer.text
            return answer
        time.sleep(0.1)


@pytest.fixture(scope="module")
def databases(missing: Missing) -> Iterator[Callable[[str], str]]:
    """Make one new database on each server, for all tests here."""
    made: dict[str, str] = {}
    with ExitStack() as stack:

        def uri(server: str) -> str:
            if server not in made:
                made[server] = stack.enter_context(fresh_database(server, missing))
            return made[server]

        yield uri


class Shopping(NamedTuple):
    """A site with a served chat whose database is behind a proxy, and a visitor with a thread."""

    app: Flask
    proxy: FaultProxy
    ann: Client
    thread: str


@pytest.fixture
def shopping(
    databases: Callable[[str], str], make_app: MakeApp, browse: Any, tmp_path: Path
) -> Iterator[Callable[..., Shopping]]:
    """Make a site whose database can be broken."""
    with ExitStack() as stack:

        def make(server: str, **config: Any) -> Shopping:
            url = make_url(databases(server))
            proxy = stack.enter_context(faults(url.host or "", url.port or 0))
            kit = ChatKit()
            kit.add_server("default", Shop)
            uri = url.set(port=proxy.port).render_as_string(hide_password=False)
            app = make_app(
                kit,
                **{
                    "CHATKIT_DATABASE_URI": uri,
                    "CHATKIT_DATABASE_TIMEOUT": DEADLINE,
                    "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "up"),
                    "CHATKIT_MESSAGE_RATELIMIT": "",
                    **config,
                },
            )
            ann = visit(browse(app))
            # Making the tables may take longer than the deadline.
            recovered(lambda: ann.post("threads.list", limit=20))
            shopping = Shopping(app, proxy, ann, ann.create("hello"))
            stack.callback(close, app)
            return shopping

        yield make


def close(app: Flask) -> None:
    """Close the connections of a site."""
    with app.app_context():
        app.extensions["chatkit"]["chatkit"].service.storage.records.close()


def reads(shop: Shopping) -> Any:
    """Ask for the threads."""
    return shop.ann.post("threads.list", limit=20)


def says(shop: Shopping, text: str = "more") -> Any:
    """Say something in the thread."""
    return shop.ann.post("threads.add_user_message", thread_id=shop.thread, input=said(text))


def is_event(answer: Any) -> bool:
    """Whether an answer is an error event that offers to try again."""
    return (
        answer.status_code == 200
        and '"type":"error"' in answer.text
        and '"allow_retry":true' in answer.text
    )


# --- the database -------------------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("fault", ["hang", "reset", "drip", "refuse"])
def test_database_has_an_end(shopping: Callable[..., Shopping], server: str, fault: Fault) -> None:
    """A read is a 503 with Retry-After, a message an error event, in time; then all is well."""
    shop = shopping(server)
    shop.proxy.set(fault, 0.1)
    answer, took = timed(lambda: reads(shop))
    told(answer, 503, "upstream_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert took < DEADLINE + SLACK
    answer, took = timed(lambda: says(shop))
    assert is_event(answer), answer.text
    assert took < DEADLINE + SLACK
    shop.proxy.set("pass")
    recovered(lambda: reads(shop))
    assert "assistant_message" in says(shop, "again").text


@pytest.mark.parametrize("server", SERVERS)
def test_database_that_is_slow_is_waited_for(
    shopping: Callable[..., Shopping], server: str
) -> None:
    """Delays below the deadline cost time and nothing else."""
    shop = shopping(server, CHATKIT_DATABASE_TIMEOUT=5)
    shop.proxy.set("delay", 0.05)
    assert reads(shop).status_code == 200
    assert "assistant_message" in says(shop).text


@pytest.mark.parametrize("server", SERVERS)
def test_connections_that_hang_are_replaced(shopping: Callable[..., Shopping], server: str) -> None:
    """More answers than there are workers hang at once; other connections serve the next ones."""
    shop = shopping(server)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: recovered(lambda: reads(shop)), range(12)))
        for connection in list(shop.proxy.connections):
            connection.fault = "hang"
        held = [pool.submit(timed, partial(says, shop, f"{number}")) for number in range(12)]
        for answer, took in (one.result() for one in held):
            assert took < DEADLINE * 2 + SLACK
            assert answer.status_code == 200
        recovered(lambda: reads(shop), 2)
    assert "assistant_message" in says(shop, "and now?").text


def test_request_threads_are_not_held(shopping: Callable[..., Shopping]) -> None:
    """While the database hangs, requests wait for one deadline, and then for nothing."""
    shop = shopping("PostgreSQL")
    shop.proxy.set("hang")
    reads(shop)
    with ThreadPoolExecutor(8) as pool:
        took = [timed(lambda: reads(shop))[1] for _ in range(3)]
        took += [one[1] for one in pool.map(lambda _: timed(lambda: reads(shop)), range(8))]
    # One of them a second finds out for all.
    assert sorted(took)[len(took) // 2] < DEADLINE


@pytest.mark.parametrize("server", SERVERS)
def test_engine_of_the_site_has_an_end(
    databases: Callable[[str], str], make_app: MakeApp, browse: Any, server: str
) -> None:
    """A site's own engine, which has no timeouts at all, holds nobody either, and is used again."""
    url = make_url(databases(server))
    driver = {"PostgreSQL": "postgresql+psycopg", "MariaDB": "mysql+pymysql"}[server]
    with faults(url.host or "", url.port or 0) as proxy:
        engine = create_engine(url.set(port=proxy.port, drivername=driver))
        kit = ChatKit(store=engine)
        kit.add_server("default", Shop)
        app = make_app(kit, CHATKIT_DATABASE_TIMEOUT=DEADLINE, CHATKIT_MESSAGE_RATELIMIT="")
        ann = visit(browse(app))
        recovered(lambda: ann.post("threads.list", limit=20))
        thread = ann.create()
        proxy.set("hang")
        # The first call's connection is open, the next one's is not.
        for _ in range(2):
            answer, took = timed(lambda: ann.post("threads.list", limit=20))
            told(answer, 503, "upstream_unavailable")
            assert took < DEADLINE + SLACK
            time.sleep(RECHECK_SECONDS + 0.1)
        assert is_event(add(ann, thread, "more"))
        proxy.set("pass")
        recovered(lambda: ann.post("threads.list", limit=20), 8)
        close(app)
        engine.dispose()


@pytest.mark.parametrize("server", SERVERS)
def test_first_use_has_an_end(
    databases: Callable[[str], str], make_app: MakeApp, browse: Any, server: str
) -> None:
    """A database that hangs before there are tables holds nobody, and is used once it answers."""
    url = make_url(databases(server))
    with faults(url.host or "", url.port or 0) as proxy:
        proxy.set("hang")
        kit = ChatKit()
        kit.add_server("default", Shop)
        uri = url.set(port=proxy.port).render_as_string(hide_password=False)
        app = make_app(kit, CHATKIT_DATABASE_URI=uri, CHATKIT_DATABASE_TIMEOUT=DEADLINE)
        ann, _ = timed(lambda: visit(browse(app)))
        answer, took = timed(lambda: ann.post("threads.list", limit=20))
        told(answer, 503, "upstream_unavailable")
        assert took < DEADLINE + SLACK
        proxy.set("pass")
        recovered(lambda: ann.post("threads.list", limit=20))
        close(app)


def test_locked_sqlite_at_first_use_has_an_end(
    make_app: MakeApp, browse: Any, tmp_path: Path
) -> None:
    """A SQLite file that somebody has locked before its first use is one deadline's wait."""
    import sqlite3

    holder = sqlite3.connect(tmp_path / "chat.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    kit = ChatKit()
    kit.add_server("default", Shop)
    app = make_app(
        kit,
        CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/chat.db",
        CHATKIT_DATABASE_TIMEOUT=DEADLINE,
    )
    ann = visit(browse(app))
    answer, took = timed(lambda: ann.post("threads.list", limit=20))
    told(answer, 503, "upstream_unavailable")
    assert took < DEADLINE + SLACK
    holder.execute("COMMIT")
    holder.close()
    recovered(lambda: ann.post("threads.list", limit=20))
    close(app)


# --- the limiter --------------------------------------------------------------------------------


@pytest.fixture
def redis(missing: Missing) -> Iterator[FaultProxy]:
    """Put a proxy in front of Redis."""
    pytest.importorskip("redis")
    with faults("127.0.0.1", 6379) as proxy:
        try:
            socket.create_connection(proxy.target, 1).close()
        except OSError:
            missing("Redis", "start redis-server on 127.0.0.1:6379")
        yield proxy


def hosts_own(app: Flask, uri: str) -> None:
    """Give a site a Limiter of its own, whose client has no timeouts at all."""
    options: Any = {"socket_timeout": None, "socket_connect_timeout": None}
    Limiter(get_remote_address, app=app, storage_uri=uri, storage_options=options)


@pytest.mark.parametrize("whose", ["kit", "key of the host", "Limiter of the host"])
@pytest.mark.parametrize("fault", ["hang", "reset", "drip", "refuse"])
def test_limiter_has_an_end(
    make_app: MakeApp,
    browse: Any,
    redis: FaultProxy,
    fault: Fault,
    whose: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A storage of any origin that fails costs one wait; memory counts until it is back."""
    monkeypatch.setattr(storage, "RECHECK_SECONDS", 0.5)
    monkeypatch.setattr(storage, "COUNT_SECONDS", 0.8)
    uri = f"redis://127.0.0.1:{redis.port}/15"
    config: dict[str, Any] = {"CHATKIT_RATELIMIT": "", "CHATKIT_RATELIMIT_IP": "1000/minute"}
    if whose == "kit":
        config["CHATKIT_RATELIMIT_STORAGE_URI"] = uri
    elif whose == "key of the host":
        config |= {"RATELIMIT_STORAGE_URI": uri, "RATELIMIT_STORAGE_OPTIONS": {"db": 15}}
    app = make_app(**config)
    if whose == "Limiter of the host":
        hosts_own(app, uri)
    browser = browse(app)
    assert browser.post("/chatkit/secret").status_code == 200
    assert ("waits for its storage without an end" in caplog.text) == (whose[0] == "L")
    redis.set(fault, 0.3)
    answer, took = timed(lambda: browser.post("/chatkit/secret"))
    assert (answer.status_code, took < 0.8 + SLACK) == (200, True)
    quotas = app.extensions["chatkit"]["chatkit"].limiter.storage
    assert quotas._is_down
    # While it is down, one request now and then waits for it.
    took = sorted(timed(lambda: browser.post("/chatkit/secret"))[1] for _ in range(5))
    assert took[2] < 0.5
    redis.set("pass")
    end = time.monotonic() + 5
    while quotas._is_down and time.monotonic() < end:
        browser.post("/chatkit/secret")
        time.sleep(0.1)
    assert not quotas._is_down


def test_limiter_that_is_slow_is_waited_for(
    make_app: MakeApp, browse: Any, redis: FaultProxy
) -> None:
    """Delays below the deadline cost time, and all is counted in the storage."""
    uri = f"redis://127.0.0.1:{redis.port}/15"
    app = make_app(CHATKIT_RATELIMIT_STORAGE_URI=uri, CHATKIT_RATELIMIT="2/minute")
    browser = browse(app)
    redis.set("delay", 0.02)
    answers = [browser.post("/chatkit/secret").status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    assert not app.extensions["chatkit"]["chatkit"].limiter.storage._is_down


# --- OpenAI -------------------------------------------------------------------------------------


@pytest.fixture
def openai(openai_standin: OpenAIStandIn) -> Iterator[FaultProxy]:
    """Put a proxy in front of the stand-in for OpenAI."""
    base = urlsplit(openai_standin.api_base)
    with faults(base.hostname or "", base.port or 0) as proxy:
        yield proxy


def mixed(make_app: MakeApp, openai: FaultProxy, **config: Any) -> Flask:
    """Make a site with a hosted chat and a served one."""
    kit = ChatKit()
    kit.add_hosted("default", workflow_id="wf_standin")
    kit.add_server("served", Shop)
    return make_app(
        kit,
        **{
            "CHATKIT_API_BASE": f"http://127.0.0.1:{openai.port}/v1",
            "CHATKIT_API_TIMEOUT": (0.5, 1.0),
            "CHATKIT_DATABASE_URI": "sqlite://",
            "CHATKIT_RATELIMIT": "",
            "CHATKIT_RATELIMIT_IP": "",
            **config,
        },
    )


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("hang", 504, "upstream_timeout"),
        ("drip", 504, "upstream_timeout"),
        ("reset", 503, "upstream_unavailable"),
        ("refuse", 503, "upstream_unavailable"),
    ],
)
def test_openai_has_an_end(
    make_app: MakeApp, browse: Any, openai: FaultProxy, fault: Fault, status: int, code: str
) -> None:
    """A mint is refused in time, whatever OpenAI does, and the next one works."""
    browser = browse(mixed(make_app, openai))
    browser.mint()
    openai.set(fault, 0.1)
    answer, took = timed(lambda: browser.post("/chatkit/secret"))
    told(answer, status, code)
    assert took < 1.5 + SLACK
    openai.set("pass")
    browser.mint()


def test_openai_that_is_slow_is_waited_for(
    make_app: MakeApp, browse: Any, openai: FaultProxy
) -> None:
    """Delays below the deadline cost time and nothing else."""
    browser = browse(mixed(make_app, openai))
    openai.set("delay", 0.1)
    browser.mint()


def test_openai_holds_a_share_of_the_process(
    make_app: MakeApp, browse: Any, openai: FaultProxy
) -> None:
    """While OpenAI hangs a few mints wait for it, all others are 503 at once or very soon."""
    config = {"CHATKIT_API_AT_A_TIME": 2, "CHATKIT_API_TIMEOUT": (0.5, 4.0)}
    browser = browse(mixed(make_app, openai, **config))
    browser.mint()
    openai.set("hang")
    with ThreadPoolExecutor(8) as pool:
        held = [pool.submit(timed, lambda: browser.post("/chatkit/secret")) for _ in range(8)]
        time.sleep(share.SLOW_SECONDS + 0.3)
        answer, took = timed(lambda: browser.post("/chatkit/secret"))
        told(answer, 503, "upstream_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert took < 0.5
        ended = [one.result() for one in held]
    short = [answer for answer, took in ended if took < 3]
    assert [answer.status_code for answer in short] == [503] * 6
    assert sorted(answer.status_code for answer, _ in ended) == [503] * 6 + [504] * 2
    openai.set("pass")
    browser.mint()


def test_quick_openai_may_be_asked_by_all(
    make_app: MakeApp, browse: Any, openai: FaultProxy
) -> None:
    """Where OpenAI answers quickly no mint is refused, however many there are at once."""
    browser = browse(mixed(make_app, openai, CHATKIT_API_AT_A_TIME=1))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: browser.post("/chatkit/secret"), range(12)))
    assert {answer.status_code for answer in answers} == {200}


# --- the model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["hang", "drip", "reset", "refuse"])
def test_model_has_an_end(make_app: MakeApp, browse: Any, fault: Fault) -> None:
    """An answer whose model fails is an error event in time, and the next one works."""
    with serve_model() as api:
        base = urlsplit(api.base_url)
        with faults(base.hostname or "", base.port or 0) as proxy:
            kit = ChatKit()
            kit.add_agent("default", an_agent(proxy.port), titles=False)
            app = make_app(kit, CHATKIT_DATABASE_URI="sqlite://", CHATKIT_ANSWER_SECONDS=2)
            ann = visit(browse(app))
            api.replies = [Say(["Well"]), Say(["Well again"])]
            thread = ann.create("hello")
            proxy.set(fault, 0.5)
            answer, took = timed(partial(add, ann, thread, "and?"))
            assert is_event(answer), answer.text
            assert took < 2 + 3 + SLACK
            proxy.set("pass")
            api.replies = [Say(["Well again"])] * 2
            assert "Well again" in add(ann, thread, "and now?").text


def test_model_that_falls_silent_has_an_end(make_app: MakeApp, browse: Any) -> None:
    """A model that says a word and nothing more holds an answer for its longest time."""
    with serve_model() as api:
        base = urlsplit(api.base_url)
        with faults(base.hostname or "", base.port or 0) as proxy:
            kit = ChatKit()
            kit.add_agent("default", an_agent(proxy.port), titles=False)
            app = make_app(kit, CHATKIT_DATABASE_URI="sqlite://", CHATKIT_ANSWER_SECONDS=1)
            ann = visit(browse(app))
            api.replies = [Say(["Well"], hang=True)]
            answer, took = timed(lambda: ann.post("threads.create", input=said("hello")))
            assert is_event(answer)
            assert "took too long" in answer.text
            assert took < 1 + 3 + SLACK


def an_agent(port: int) -> Agent[Any]:
    """An agent whose model is behind a proxy."""
    client = AsyncOpenAI(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
    return Agent("Coach", instructions="Be kind.", model=OpenAIResponsesModel("small", client))


def add(client: Client, thread: str, text: str) -> Any:
    """Say something in a thread."""
    return client.post("threads.add_user_message", thread_id=thread, input=said(text))


# --- the files ----------------------------------------------------------------------------------


class Shelf(MemoryFileSystem):
    """A file store that can be broken."""

    protocol = "shelf"
    cachable = False
    mended = threading.Event()
    fault = ""

    def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        if self.fault == "refuse":
            raise ConnectionRefusedError(111, "nobody listens")
        if self.fault == "reset":
            raise ConnectionResetError(104, "the connection is gone")
        if self.fault == "delay":
            time.sleep(0.1)
        if self.fault == "hang":
            self.mended.wait(20)
        return super()._open(path, mode, **more)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Shelf]]:
    """Register the file store with fsspec."""
    monkeypatch.setattr(remote, "SECONDS", 0.5)
    monkeypatch.setattr(Shelf, "mended", threading.Event())
    monkeypatch.setattr(Shelf, "fault", "")
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    yield Shelf
    Shelf.mended.set()
    Shelf.store.clear()


def test_model_that_is_slow_is_waited_for(make_app: MakeApp, browse: Any) -> None:
    """Delays below the longest time cost time and nothing else."""
    with serve_model() as api:
        base = urlsplit(api.base_url)
        with faults(base.hostname or "", base.port or 0) as proxy:
            kit = ChatKit()
            kit.add_agent("default", an_agent(proxy.port), titles=False)
            ann = visit(browse(make_app(kit, CHATKIT_DATABASE_URI="sqlite://")))
            api.replies = [Say(["Well"])]
            proxy.set("delay", 0.05)
            assert "Well" in ann.post("threads.create", input=said("hello")).text


@pytest.mark.parametrize("fault", ["hang", "refuse", "reset"])
def test_files_have_an_end(make_app: MakeApp, browse: Any, shelf: type[Shelf], fault: str) -> None:
    """An upload and a download to a store that fails are 503 with Retry-After, and then work."""
    kit = ChatKit()
    kit.add_server("default", Shop, attachments=True)
    config = {"CHATKIT_DATABASE_URI": "sqlite://", "CHATKIT_UPLOAD_FOLDER": "shelf://files"}
    app = make_app(kit, **config, CHATKIT_MESSAGE_RATELIMIT="")
    ann = visit(browse(app))
    kept = ann.upload().json()["id"]
    place = f"/chatkit/attachments/{kept}"
    shelf.fault = fault
    for act in (ann.upload, lambda: ann.browser.get(place, headers=ann.bearer)):
        answer, took = timed(act)
        told(answer, 503, "upstream_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert took < 0.5 + SLACK
    shelf.fault = "delay"
    shelf.mended.set()
    assert ann.upload().status_code == 200
    assert ann.browser.get(place, headers=ann.bearer).status_code == 200


# --- a site's own store -------------------------------------------------------------------------


class Sleepy(TidyStore):
    """A store of a site's own that can be broken."""

    hangs = False
    seconds = 0.0

    async def load_threads(self, *args: Any, **more: Any) -> Any:
        """Load, or hang."""
        await asyncio.sleep(20 if self.hangs else self.seconds)
        return await super().load_threads(*args, **more)

    async def load_thread(self, *args: Any, **more: Any) -> Any:
        """Load, or hang."""
        await asyncio.sleep(20 if self.hangs else self.seconds)
        return await super().load_thread(*args, **more)


def test_sites_own_store_has_an_end(make_app: MakeApp, browse: Any) -> None:
    """A read is a 503 with Retry-After, a message an error event, and then all is well."""
    store = Sleepy()
    kit = ChatKit()
    kit.add_server("default", lambda: Shop(store))
    app = make_app(kit, CHATKIT_DATABASE_TIMEOUT=0.3, CHATKIT_MESSAGE_RATELIMIT="")
    ann = visit(browse(app))
    thread = ann.create()
    store.hangs = True
    answer, took = timed(lambda: ann.post("threads.list", limit=20))
    told(answer, 503, "upstream_unavailable")
    assert took < 0.3 + SLACK
    answer, took = timed(partial(add, ann, thread, "more"))
    assert is_event(answer), answer.text
    assert took < 0.3 + SLACK
    store.hangs, store.seconds = False, 0.05
    assert "You said more" in add(ann, thread, "more").text


# --- the page -----------------------------------------------------------------------------------


def test_page_has_a_row_for_each_fault_of_each_part() -> None:
    """The table of the page has a row for each fault that is tested here, and no other."""
    part, _, _ = (DOCS / "reliability.md").read_text("utf-8").partition("## Around the visitor")
    rows = [line.split(" | ") for line in part.splitlines() if "|" in line]
    told = {(row[0].strip("| "), row[1]) for row in rows[2:]}
    all_five = ("hang", "delay", "reset", "drip", "refuse")
    tested = {
        (part, fault) for part in ("database", "limits", "OpenAI", "model") for fault in all_five
    }
    tested |= {("files", fault) for fault in ("hang", "delay", "reset", "refuse")}
    tested |= {("a store of the site's", fault) for fault in ("hang", "delay")}
    assert told == tested
    assert all(len(row) == 5 for row in rows[2:])


def test_engine_for_pgbouncer_works_as_printed() -> None:
    """The page's engine prepares no statements."""
    page = DOCS / "reliability.md"
    (snippet,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    space: dict[str, Any] = {"ChatKit": ChatKit}
    exec(compile(snippet, "reliability.md", "exec"), space)  # noqa: S102
    assert isinstance(space["chatkit"], ChatKit)
    space["engine"].dispose()
