"""Bench ``search``: what finding a word among 100,000 messages costs, by index and by ``LIKE``.

Run it by hand, ``python tests/bench/search.py``; the README beside it tells how to read the table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from history import postgresql
from mint import ratio
from sqlalchemy import create_engine, insert, select, text

#: Messages in all, of a thread, and rows written at once.
ITEMS, EACH, BULK = 100_000, 100, 5_000
#: Of a hundred messages one has the rare word, and half have the frequent one.
QUERIES = {"rare": "zebra", "frequent": "order", "both": "zebra order", "none": "unheard"}
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "st", "lm")]


def message(number, thread):
    """A message of some forty words."""
    lot = random.Random(number)
    words = lot.choices(WORDS, k=40)
    if number % 2:
        words.append("order")
    if number % 1000 == 7:
        words.append("zebra")
    lot.shuffle(words)
    return {
        "id": f"msg_{number}",
        "thread_id": thread,
        "created_at": "2026-11-01T12:00:00Z",
        "type": "user_message",
        "content": [{"type": "input_text", "text": " ".join(words)}],
        "attachments": [],
        "inference_options": {},
    }


def fill(uri, context):
    """Fill a history of one visitor's."""
    from flask_chatkit.server.history.engines import database_url
    from flask_chatkit.server.history.tables import items, threads
    from flask_chatkit.server.history.values import owner_columns
    from flask_chatkit.server.history.words import item_words, words_of
    from flask_chatkit.testing.stores import new_thread

    engine = create_engine(database_url(uri))
    rows = []
    with engine.begin() as db:
        for number in range(ITEMS // EACH):
            one = new_thread(id=f"thr_{number}", title=f"Thread {number}")
            row = owner_columns(context) | {
                "id": one.id,
                "created_at": one.created_at,
                "data": one.model_dump_json(),
                "words": words_of(one.title),
            }
            db.execute(insert(threads), row)
            position = db.scalar(select(threads.c.position).where(threads.c.id == one.id))
            for place in range(EACH):
                said = message(number * EACH + place, one.id)
                rows.append(
                    {
                        "thread": position,
                        "id": said["id"],
                        "type": said["type"],
                        "created_at": one.created_at,
                        "data": json.dumps(said),
                        "words": item_words(said),
                    }
                )
            if len(rows) >= BULK:
                db.execute(insert(items), rows)
                rows.clear()
    if engine.dialect.name == "postgresql":
        # What autovacuum does within a minute.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def drive(coroutine):
    """Run what never waits, as the kit's endpoint does for calls that only read."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise SystemExit("the history waited for an event loop")


def by_like(store, context, query):
    """What a search without words would do: LIKE over the stored JSON."""
    from flask_chatkit.server.context import owner_of
    from flask_chatkit.server.history.tables import items, threads

    asked = [items.c.data.icontains(word, autoescape=True) for word in query.split()]
    statement = (
        select(items.c.thread)
        .join(threads, threads.c.position == items.c.thread)
        .where(threads.c.owner == owner_of(context), *asked)
        .distinct()
    )
    return drive(store.database.statement(lambda db: db.scalars(statement).all()))


def measure(label, uri, args):
    """Time the queries by index and by LIKE, in turns, and print."""
    from flask_chatkit.identity.visitor import Visitor
    from flask_chatkit.server import SQLAlchemyStore
    from flask_chatkit.server.context import ChatContext

    context = ChatContext(visitor=Visitor.login("ann"))
    store = SQLAlchemyStore(uri)
    drive(store.load_threads(1, None, "desc", context))
    begun = time.monotonic()
    fill(uri, context)
    print(f"\n{label}: {ITEMS:,} messages, filled in {time.monotonic() - begun:.0f} s; ms a search")
    heads = ("found", "index", "LIKE", "LIKE : index", "min", "max")
    print(f"{'':<10}" + "".join(f"{head:>14}" for head in heads))
    for name, query in QUERIES.items():
        index, like, found = [], [], 0
        for turn in range(args.rounds + 1):
            begun = time.perf_counter()
            found = len(drive(store.search_threads(query, 100, context)).data)
            middle = time.perf_counter()
            by_like(store, context, query)
            if turn:  # the first makes connections, plans and caches
                index.append(1e3 * (middle - begun))
                like.append(1e3 * (time.perf_counter() - middle))
        middle, low, high = ratio(like, index)
        shown = f"{statistics.median(index):>14.1f}{statistics.median(like):>14.1f}"
        print(f"{name:<10}{found:>14}{shown}{middle:>14.1f}{low:>14.1f}{high:>14.1f}")
    store.close()


def main():
    """Fill the histories, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns (%(default)s)")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measure("SQLite", f"sqlite:///{folder}/search.db", args)
        name = f"chatkit_search_{os.getpid()}"
        measure("PostgreSQL", stack.enter_context(postgresql(name)), args)


if __name__ == "__main__":
    main()
