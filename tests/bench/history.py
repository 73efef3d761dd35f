"""Bench ``history``: what reading a long history costs, and how it compares with the samples.

Run it by hand, ``python tests/bench/history.py``; the README beside it tells how to read the table.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil
from history_peers import PATHS, SECRET, item, ours, thread
from mint import HERE, free_port, ratio, running
from sqlalchemy import create_engine, insert, make_url, select, text
from stream import UVICORN, environment, listening

POSTGRESQL = os.environ.get(
    "TEST_POSTGRESQL_URI", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
)
#: Threads of a visitor, and items of one of them.
FEW, MANY = 100, 100_000
SHORT, LONG = 100, 1_000
#: Threads and items of a page: what ChatKit's server takes if nobody asks, and all we give.
THREADS, ITEMS = 20, 100
VISITORS = 16
WARM_UP = 1.0
BULK = 5_000

GUNICORN = [
    *("gunicorn", "-k", "gthread", "--threads", str(VISITORS), "-w", "1"),
    *("--no-control-socket", "--log-level", "warning"),
]


@dataclass
class Person:
    """A visitor: what the browser sends, and as whom the history knows it.

    :param opened: the id of the thread that is opened, in the middle of the list.
    """

    headers: list[str]
    context: object
    opened: str


def rows_of(known, name, threads, others):
    """Rows of somebody's threads, each among as many of as many others."""
    crowd = [
        known
        | {
            "owner": hashlib.sha256(f"other {number}".encode()).hexdigest(),
            "visitor": f"anon:other-{number}",
        }
        for number in range(others)
    ]
    for number in range(threads):
        for place, whose in enumerate([known, *crowd]):
            one = thread(f"{place:03d}_" if place else name, number)
            yield whose | {
                "id": one.id,
                "created_at": one.created_at,
                "data": one.model_dump_json(),
            }


def person(uri, name, threads, items, others=0):
    """Let somebody come to the site, and fill the history with what they might have said.

    :param others: how many others say as much at the same time.
    """
    from flask_chatkit.identity.visitor import Visitor
    from flask_chatkit.server import ChatContext
    from flask_chatkit.server.history.tables import items as items_table
    from flask_chatkit.server.history.tables import threads as threads_table

    # The site tells whose a thread is; this file needs not know how.
    browser = ours(uri).test_client()
    minted = browser.post(SECRET, json={})
    token = minted.get_json()["client_secret"]
    said = {"content": [{"type": "input_text", "text": "Hello"}], "attachments": []}
    said["inference_options"] = {}
    body = {"type": "threads.create", "params": {"input": said}}
    created = browser.post(PATHS["ours"], json=body).get_data()
    first = json.loads(created.split(b"\n\n")[0].removeprefix(b"data: "))["thread"]["id"]
    engine = create_engine(uri)
    with engine.begin() as db:
        row = db.execute(select(threads_table).where(threads_table.c.id == first)).one()
        known = {key: getattr(row, key) for key in ("owner", "kit", "chat", "visitor")}
        rows = rows_of(known, name, threads, others)
        while bulk := list(itertools.islice(rows, BULK)):
            db.execute(insert(threads_table), bulk)
        opened = thread(name, threads // 2).id
        place = select(threads_table.c.position).where(threads_table.c.id == opened)
        position = db.execute(place).scalar_one()
        rows = [
            {
                "thread": position,
                "id": one.id,
                "type": one.type,
                "created_at": one.created_at,
                "data": one.model_dump_json(),
            }
            for one in (item(opened, number) for number in range(items))
        ]
        db.execute(insert(items_table), rows)
    if engine.dialect.name == "postgresql":
        # What autovacuum does within a minute.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(text("VACUUM ANALYZE"))
    engine.dispose()
    cookie = minted.headers["Set-Cookie"].partition(";")[0]
    return Person(
        [f"Cookie: {cookie}", f"Authorization: Bearer {token}"],
        ChatContext(visitor=Visitor.new(), owner=known["owner"]),
        opened,
    )


@contextlib.contextmanager
def postgresql(name):
    """Make a database of the bench's own, and drop it afterwards."""
    url = make_url(POSTGRESQL)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as db:
            db.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as db:
                db.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()


# --- does it grow ------------------------------------------------------------------------------


async def listing(store, who):
    """What ``threads.list`` asks of the store, at the top of the list."""
    return [await store.load_threads(THREADS, None, "desc", who.context)]


async def paging(store, who):
    """What ``threads.list`` asks of the store in the middle of the list."""
    return [await store.load_threads(THREADS, who.opened, "desc", who.context)]


async def opening(store, who):
    """What ``threads.get_by_id`` and ``items.list`` ask of the store."""
    await store.load_thread(who.opened, who.context)
    first = await store.load_thread_items(who.opened, None, THREADS, "asc", who.context)
    return [first, await store.load_thread_items(who.opened, None, ITEMS, "desc", who.context)]


CALLS = {
    "threads.list": (listing, [THREADS]),
    "threads.list, from the middle": (paging, [THREADS]),
    "opening a thread": (opening, [THREADS, ITEMS]),
}


def drive(coroutine):
    """Run what never waits, as the kit's endpoint does for calls that only read."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise SystemExit("the history waited for an event loop")


def timed(store, who, name, repeats):
    """Microseconds of one call, the median of some."""
    call, sizes = CALLS[name]
    took = []
    for _ in range(repeats):
        begun = time.perf_counter()
        pages = drive(call(store, who))
        took.append(time.perf_counter() - begun)
    if [len(page.data) for page in pages] != sizes:
        raise SystemExit(f"{name}: {[len(page.data) for page in pages]} entries, not {sizes}")
    return 1e6 * statistics.median(took)


def growth(label, small, large, few, others, many, args):
    """Time the calls in a small and a large history, in turns, and print the ratios."""
    from flask_chatkit.server import SQLAlchemyStore

    stores = [SQLAlchemyStore(uri) for uri in (small, large, large)]
    people = [few, others, many]
    print(f"\n{label}: µs in the store, median of the rounds")
    heads = (f"{FEW:,} in all", f"{FEW:,} of {MANY:,}", f"{MANY:,}")
    print(f"{'':<32}" + "".join(f"{head:>18}" for head in heads))
    rows = []
    for name in CALLS:
        seen = [[] for _ in people]
        for turn in range(args.rounds + 1):
            for place in (0, 1, 2) if turn % 2 else (2, 1, 0):
                took = timed(stores[place], people[place], name, args.repeats)
                # The first turn makes connections, plans and caches.
                if turn:
                    seen[place].append(took)
        print(f"{name:<32}" + "".join(f"{statistics.median(one):>18.0f}" for one in seen))
        rows += [
            (f"{name}, {heads[1]}", seen[1], seen[0]),
            (f"{name}, {heads[2]}", seen[2], seen[0]),
        ]
    print(f"{'ratio to the small history, by round':<56}{'min':>8}{'median':>8}{'max':>8}  aim")
    for name, own, base in rows:
        middle, low, high = ratio(own, base)
        verdict = "met" if middle <= 1.5 else "MISSED"
        print(f"{name:<56}{low:>8.2f}{middle:>8.2f}{high:>8.2f}  <= 1.5  {verdict}")
    for store in stores:
        store.close()


# --- against the samples -----------------------------------------------------------------------


@dataclass
class Peer:
    """A server, who asks it, and what the rounds brought."""

    name: str
    app: str
    env: dict[str, str]
    headers: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    port: int = 0
    pid: int = 0
    rate: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def start(self, files):
        """Start the server, and wait until it listens."""
        self.port = free_port()
        if self.app == "fastapi":
            target = [*UVICORN, *self.options, "--port", str(self.port), "history_peers:fastapi"]
        else:
            target = [*GUNICORN, "--bind", f"127.0.0.1:{self.port}", "history_peers:ours()"]
        process = files.enter_context(
            running([sys.executable, "-m", *target], environment() | self.env)
        )
        self.pid = process.pid
        listening(self.name, self.port, process)

    def share(self, other):
        """Be the same server, asked by somebody else."""
        self.port, self.pid = other.port, other.pid

    def round(self, seconds):
        """Let the visitors at it."""
        body = json.dumps({"type": "threads.list", "params": {"limit": THREADS}})
        headers = [part for header in self.headers for part in ("--header", header)]
        command = [
            *(sys.executable, "history_load.py", "--port", self.port, "--path", PATHS[self.app]),
            *("--pid", self.pid, "--visitors", VISITORS, "--warm-up", WARM_UP),
            *("--seconds", seconds, "--body", body, "--threads", THREADS, *headers),
        ]
        done = subprocess.run(
            [str(part) for part in command], cwd=HERE, check=True, stdout=subprocess.PIPE
        )
        seen = json.loads(done.stdout)
        self.errors += seen["errors"]
        took = seen["took"]
        if not took:
            raise SystemExit(f"{self.name}: no answers; {seen['errors'][:3]}")
        self.rate.append(len(took) / seen["seconds"])
        self.cpu.append(1000 * seen["cpu"] / len(took))
        self.p50.append(1000 * statistics.median(took))
        self.busy.append(seen["own_cpu"] / seen["seconds"])
        self.rss.append(seen["memory"]["rss"])


def sites(databases, files):
    """Start all sites: ours by database and number of threads, and the others by the latter."""
    kinds = {"uvicorn": ["--loop", "asyncio", "--http", "h11"]}
    if find_spec("uvloop") and find_spec("httptools"):
        # What the samples ask for.
        kinds["uvicorn[standard]"] = ["--loop", "uvloop", "--http", "httptools"]
    mine, samples = {}, {}
    for label, (uri, few, many) in databases.items():
        env = {"BENCH_DATABASE": uri}
        mine[label, FEW] = Peer(f"ours, {label}, {FEW:,} of {MANY:,}", "ours", env, few.headers)
        mine[label, MANY] = Peer(f"ours, {label}, {MANY:,}", "ours", env, many.headers)
        mine[label, FEW].start(files)
        mine[label, MANY].share(mine[label, FEW])
    for count in (FEW, MANY):
        for kind, options in kinds.items():
            env = {"BENCH_THREADS": str(count)}
            name = f"in memory, {kind}, {count:,}"
            samples[kind, count] = Peer(name, "fastapi", env, options=options)
            samples[kind, count].start(files)
    return mine, samples


def compare(databases, args):
    """Ask each site for its threads, in turns, and print."""
    with contextlib.ExitStack() as files:
        mine, samples = sites(databases, files)
        peers = [*mine.values(), *samples.values()]
        for turn in range(args.rounds):
            for peer in peers[:: 1 if turn % 2 else -1]:
                peer.round(args.seconds)
            rates = ", ".join(f"{peer.rate[-1]:.0f}" for peer in peers)
            busy = psutil.getloadavg()[0]
            print(f"Round {turn + 1}: {rates} requests/s; load average {busy:.1f}", flush=True)
    table(peers)
    rows = [
        (f"{own.name} : {other.name}", own.rate, other.rate, 2)
        for (_, count), own in mine.items()
        for (_, size), other in samples.items()
        if size == count
    ]
    for label in databases:
        few, many = mine[label, FEW], mine[label, MANY]
        rows.append((f"{few.name} : {many.name}", few.rate, many.rate, -1.5))
    print(f"\n{'requests/s, ratio by round':<72}{'min':>8}{'median':>8}{'max':>8}  aim")
    for name, own, other, aim in rows:
        middle, low, high = ratio(own, other)
        met = middle >= aim if aim > 0 else middle <= -aim
        verdict = f"{'>=' if aim > 0 else '<='} {abs(aim):<5}{'met' if met else 'MISSED'}"
        print(f"{name:<72}{low:>8.2f}{middle:>8.2f}{high:>8.2f}  {verdict}")


def table(peers):
    """Print what was measured: medians of the rounds, and how far the rounds lay apart."""
    print(
        f"\n{f'threads.list, {VISITORS} at a time':<40}{'requests/s':>12}{'min':>8}{'max':>8}"
        f"{'CPU ms':>9}{'p50 ms':>9}{'RSS MB':>9}{'load CPU':>10}{'errors':>8}"
    )
    for peer in peers:
        middle = statistics.median
        print(
            f"{peer.name:<40}{middle(peer.rate):>12.1f}{min(peer.rate):>8.1f}{max(peer.rate):>8.1f}"
            f"{middle(peer.cpu):>9.2f}{middle(peer.p50):>9.1f}{middle(peer.rss):>9.1f}"
            f"{middle(peer.busy):>10.0%}{len(peer.errors):>8}"
        )
        for error in sorted(set(peer.errors))[:3]:
            print(f"  {error}")


def main():
    """Fill the histories, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns (%(default)s)")
    parser.add_argument("--repeats", type=int, default=100, help="calls a turn (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=3, help="counted seconds of a turn (%(default)s)"
    )
    parser.add_argument("--only", choices=("growth", "rate"), help="leave the other half out")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        name = f"chatkit_bench_{os.getpid()}"
        pairs = {
            "SQLite": (f"sqlite:///{folder}/small.db", f"sqlite:///{folder}/large.db"),
            "PostgreSQL": tuple(
                stack.enter_context(postgresql(f"{name}_{size}")) for size in ("small", "large")
            ),
        }
        databases = {}
        for label, (small, large) in pairs.items():
            begun = time.monotonic()
            few = person(small, "few_", FEW, SHORT)
            # Who looked through everybody's from the newest would meet these last.
            others = person(large, "few_", FEW, SHORT, MANY // FEW - 1)
            many = person(large, "many", MANY, LONG)
            print(f"{label}: filled in {time.monotonic() - begun:.0f} s", flush=True)
            databases[label] = (large, others, many)
            if args.only != "rate":
                growth(label, small, large, few, others, many, args)
        if args.only != "growth":
            compare(databases, args)


if __name__ == "__main__":
    main()
