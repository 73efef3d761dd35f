"""Hosted threads carried over while the migration is killed: nothing lost, nothing doubled.

Usage: ``python tests/bench/migrate.py [--threads 10000] [--items 20] [--kills 5] [--database
sqlite|postgresql|mariadb]``. It starts the stand-in of OpenAI's API in a process of its own, kills
``flask chatkit threads migrate`` at random moments, resumes it, and compares each thread and item
with OpenAI's. Then it migrates everything once more without a break, into another database, and
100 threads into a third one, to tell the speed and the memory. It fails where anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
KEY = "sk-standin"
#: Megabytes that the memory may grow by, from 100 threads to all of them.
GROWTH = 50


def serve(threads: int, items: int) -> None:
    """Serve a stand-in until standard input ends."""
    from flask_chatkit.testing import OpenAIStandIn, assistant_message, user_message

    clock = iter(range(1_600_000_000, 2_000_000_000))
    with OpenAIStandIn(api_key=KEY, clock=lambda: float(next(clock))) as openai:
        for number in range(threads):
            said = [
                (user_message if place % 2 == 0 else assistant_message)(f"{number}.{place} " * 20)
                for place in range(items)
            ]
            openai.add_thread(f"user:{number % 997}", title=f"Thread {number}", items=said)
        # What it was asked is kept, and would be most of its memory by the end.
        openai._requests = Forgetful()  # type: ignore[assignment]
        print(openai.api_base, flush=True)
        sys.stdin.read()


class Forgetful(list[Any]):
    """A list that keeps nothing."""

    def append(self, _value: Any) -> None:
        """Keep nothing."""


def app_for(api_base: str, uri: str, folder: str) -> Any:
    """A site that serves its chat."""
    from flask import Flask

    from flask_chatkit import ChatKit

    kit = ChatKit()
    kit.assistant()(lambda message, _chat: message.text)
    app = Flask("migrate")
    app.config.update(
        SECRET_KEY="of the bench",
        CHATKIT_API_BASE=api_base,
        CHATKIT_API_KEY=KEY,
        CHATKIT_DATABASE_URI=uri,
        CHATKIT_UPLOAD_FOLDER=folder,
    )
    app.register_blueprint(kit)
    return app


def child(api_base: str, uri: str, folder: str, most: int) -> None:
    """Migrate, as the command does; print what was done, how long it took, and the memory."""
    app = app_for(api_base, uri, folder)
    kit = app.extensions["chatkit"]["chatkit"]
    from itertools import islice

    from flask_chatkit.owner.carry import Carrier

    began = time.perf_counter()
    with app.app_context():
        hosted = kit.hosted_threads
        done = Carrier(kit, "default").carry_hosted(hosted, islice(hosted.threads(), most))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([done.threads, done.items, len(done.problems), seconds, peak]), flush=True)


class Run:
    """Processes of one bench.

    :param api_base: the stand-in.
    :param folder: where files would go.
    """

    def __init__(self, api_base: str, folder: str) -> None:
        self.api_base = api_base
        self.folder = folder

    def start(self, uri: str, most: int = sys.maxsize) -> subprocess.Popen[str]:
        """Start a migration."""
        args = ["--child", self.api_base, uri, self.folder, str(most)]
        return subprocess.Popen(
            [sys.executable, __file__, *args], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def finish(self, uri: str, most: int = sys.maxsize) -> tuple[int, int, int, float, float]:
        """Migrate to the end: threads, items, problems, seconds, megabytes."""
        process = self.start(uri, most)
        told, _ = process.communicate(timeout=3600)
        if process.returncode:
            sys.exit("a migration failed")
        threads, items, problems, seconds, peak = json.loads(told)
        return threads, items, problems, seconds, peak


def in_history(uri: str) -> Iterator[tuple[str, ...]]:
    """The threads and items of the history, in the order of their positions."""
    from sqlalchemy import create_engine, select

    from flask_chatkit.server.history.tables import items, threads

    engine = create_engine(uri)
    with engine.connect() as db:
        names = {row.position: row.id for row in db.execute(select(threads))}
        for row in db.execute(select(threads).order_by(threads.c.position)):
            yield ("thread", row.id, str(unix(row.created_at)), row.owner)
        ordered = select(items.c.thread, items.c.id, items.c.created_at, items.c.data).order_by(
            items.c.thread, items.c.position
        )
        for row in db.execution_options(yield_per=1000).execute(ordered):
            text = json.loads(row.data)["content"][0]["text"]
            yield ("item", names[row.thread], row.id, str(unix(row.created_at)), text)
    engine.dispose()


def unix(moment: Any) -> int:
    """Seconds since 1970 of a time that a database gave."""
    return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())


def at_openai(api_base: str) -> Iterator[tuple[str, ...]]:
    """The same of what OpenAI has."""
    from flask_chatkit.hosted.client import Client
    from flask_chatkit.hosted.threads import HostedThreads
    from flask_chatkit.identity.visitor import Visitor
    from flask_chatkit.server.context import owner_name

    hosted = HostedThreads(Client(api_key=KEY, base=api_base, timeout=(3.0, 10.0)))
    all_threads = list(hosted.threads())
    for thread in all_threads:
        owner = owner_name("chatkit", "default", Visitor(thread["user"], known=True))
        yield ("thread", thread["id"], str(thread["created_at"]), owner)
    for thread in all_threads:
        for item in hosted.items(thread["id"]):
            text = item["content"][0]["text"]
            yield ("item", thread["id"], item["id"], str(item["created_at"]), text)


def digest(entries: Iterator[tuple[str, ...]]) -> tuple[int, str]:
    """How many entries there are, and a digest of all of them in order."""
    count, made = 0, hashlib.sha256()
    for entry in entries:
        count += 1
        made.update("\0".join(entry).encode() + b"\n")
    return count, made.hexdigest()


@contextlib.contextmanager
def databases(kind: str, folder: Path, count: int) -> Iterator[list[str]]:
    """URIs of empty databases."""
    if kind == "sqlite":
        yield [f"sqlite:///{folder}/history{number}.sqlite3" for number in range(count)]
        return
    from tests.helpers.databases import fresh_database

    def missing(server: str, how: str) -> Any:
        sys.exit(f"{server} is missing: {how}")

    server = {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}[kind]
    with contextlib.ExitStack() as stack:
        uris = [stack.enter_context(fresh_database(server, missing)) for _ in range(count)]
        drivers = {"PostgreSQL": "postgresql+psycopg", "MariaDB": "mysql+pymysql"}
        yield [drivers[server] + uri[uri.index("://") :] for uri in uris]


def bench(options: argparse.Namespace) -> None:
    """Run it, and print what was measured."""
    with (
        tempfile.TemporaryDirectory() as folder,
        databases(options.database, Path(folder), 3) as (broken, whole, small),
        subprocess.Popen(
            [sys.executable, __file__, "--serve", str(options.threads), str(options.items)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as standin,
    ):
        assert standin.stdout is not None
        run = Run(standin.stdout.readline().strip(), f"{folder}/files")
        try:
            *_, few = run.finish(small, 100)
            threads, items, problems, seconds, all_of_them = run.finish(whole)
            print(
                f"{options.database}: {threads:,} threads, {items:,} items in {seconds:.0f} s: "
                f"{threads / seconds:.0f} threads/s, {items / seconds:.0f} items/s"
            )
            print(
                f"peak memory {all_of_them:.0f} MB, for 100 threads {few:.0f} MB: "
                f"{all_of_them - few:+.0f} MB (aim: at most {GROWTH})"
            )
            chance = random.Random(options.seed)
            for number in range(options.kills):
                process = run.start(broken)
                wait = chance.uniform(1.5, 1.5 + seconds / options.kills)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(wait)
                process.kill()
                process.communicate()
                print(f"killed for the {number + 1}. time, after {wait:.1f} s", flush=True)
            left, *_ = run.finish(broken)
            print(f"resumed to the end: {left:,} threads were left")
            wanted = digest(at_openai(run.api_base))
            for name, uri in (("broken", broken), ("whole", whole)):
                found = digest(in_history(uri))
                print(f"{name}: {found[0]:,} rows, as at OpenAI: {found == wanted}")
                if found != wanted or problems:
                    sys.exit("something was lost, doubled or changed")
            if all_of_them - few > GROWTH:
                sys.exit("the memory grew by more than it may")
        finally:
            standin.stdin.close()  # type: ignore[union-attr]


def main() -> None:
    """Read the options."""
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]), int(sys.argv[3]))
        return
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:5], int(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=20, help="of each thread")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2), "big"))
    parser.add_argument("--database", choices=["sqlite", "postgresql", "mariadb"], default="sqlite")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    bench(options)


if __name__ == "__main__":
    main()
