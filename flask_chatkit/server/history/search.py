"""Searches a visitor's threads: full-text indexes where the database has one, else LIKE.

What is found is the same by either way: threads whose title, or one of whose messages, has words
that begin with all those of the query; see :mod:`.words`. Every statement asks for the owner.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    TableClause,
    and_,
    bindparam,
    column,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.mysql import match
from sqlalchemy.dialects.postgresql import TSQUERY

from .tables import items, threads
from .words import query_words, shown_text, words_of

#: Messages up to which a visitor's own are read one by one: quicker than a frequent word in an
#: index of everybody's.
FEW = 5_000
#: Characters of a message that are shown, and how many of them before the first word found.
SHOWN, BEFORE = 160, 40
#: Words of a message in which the first one is looked for.
LOOKED_AT = 400
INDEXED = (threads, items)
_MYSQL = {"mysql", "mariadb"}


@dataclass
class Match:
    """A thread that was found.

    :param data: the thread, as stored.
    :param item_id: the newest message found; None if it was the title.
    :param excerpt: the part of it around the first word found.
    """

    data: str
    item_id: str | None = None
    excerpt: str = ""


def search(db: Connection, owner: str, query: str, size: int) -> list[Match]:
    """The owner's threads that a query finds, newest first."""
    words = query_words(query)
    if not words:
        return []
    way = _way(db, owner)
    keys = _parameters(words, way) | {"owner_": owner, "size_": size}
    by_title = db.execute(_find_titles(way, len(words)), keys).all()
    by_text = db.execute(_find_texts(way, len(words)), keys).all()
    found = {row.position: row for row in [*by_text, *by_title]}
    newest = {row.position: row.newest for row in by_text}
    rows = sorted(found.values(), key=lambda row: (row.created_at, row.position), reverse=True)
    rows = rows[:size]
    texts = _texts(db, owner, {newest[row.position] for row in rows if row.position in newest})
    titled = {row.position for row in by_title}
    matches = []
    for row in rows:
        match = Match(row.data)
        if row.position not in titled and (item := texts.get(newest[row.position])):
            match.item_id, match.excerpt = item["id"], excerpt(shown_text(item), words)
        matches.append(match)
    return matches


def excerpt(shown: str, words: Collection[str]) -> str:
    """The part of a text around the first word that a query asks for."""
    at = 0
    for place, part in _parts(shown)[:LOOKED_AT]:
        if any(found.startswith(word) for found in words_of(part).split() for word in words):
            at = place
            break
    start = max(0, at - BEFORE)
    if start:
        start = shown.find(" ", start, at) + 1 or start
    end = start + SHOWN
    return ("…" if start else "") + shown[start:end].rstrip() + ("…" if end < len(shown) else "")


def _parts(shown: str) -> list[tuple[int, str]]:
    place, parts = 0, []
    for part in shown.split(" "):
        parts.append((place, part))
        place += len(part) + 1
    return parts


# --- statements -------------------------------------------------------------------------------


def _way(db: Connection, owner: str) -> str:
    """How to search: by ``tsvector``, ``fulltext`` or ``fts5``, else ``like``."""
    dialect = db.dialect.name
    if dialect == "postgresql":
        return "tsvector"
    if dialect not in _MYSQL and not (dialect == "sqlite" and has_fts5(db)):
        return "like"
    own = (
        select(items.c.position)
        .join(threads, threads.c.position == items.c.thread)
        .where(threads.c.owner == owner)
        .limit(FEW + 1)
    )
    few = (db.scalar(select(func.count()).select_from(own.subquery())) or 0) <= FEW
    if few:
        return "like"
    return "fts5" if dialect == "sqlite" else "fulltext"


def has_fts5(db: Connection) -> bool:
    """Whether the kit has made full-text indexes on SQLite."""
    found: int | None = db.scalar(
        text(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('chatkit_threads_fts', "
            "'chatkit_items_fts')"
        )
    )
    return found == len(INDEXED)


def _parameters(words: Sequence[str], way: str) -> dict[str, str]:
    if way == "like":
        return {f"word_{n}": f"% {word}%" for n, word in enumerate(words)}
    if way == "tsvector":
        return {"words_": " & ".join(f"{word}:*" for word in words)}
    if way == "fulltext":
        return {"words_": " ".join(f"+{word}*" for word in words)}
    return {"words_": " AND ".join(f"{word}*" for word in words)}


def _matches(table: Table, way: str, count: int) -> ColumnElement[bool]:
    if way == "like":
        return and_(*(table.c.words.like(bindparam(f"word_{n}")) for n in range(count)))
    if way == "tsvector":
        query: Any = bindparam("words_", type_=TSQUERY)
        return cast("ColumnElement[bool]", table.c.words.op("@@", is_comparison=True)(query))
    if way == "fulltext":
        found = match(table.c.words, against=bindparam("words_"))
        return cast("ColumnElement[bool]", found.in_boolean_mode())
    name = f"{table.name}_fts"
    index = text(f"{name} MATCH :words_")  # no column: SQLite has the table's name for all
    rows: Select[Any] = select(column("rowid")).select_from(TableClause(name)).where(index)
    return table.c.position.in_(rows)


@lru_cache
def _find_titles(way: str, count: int) -> Any:
    return (
        select(threads.c.position, threads.c.created_at, threads.c.data)
        .where(threads.c.owner == bindparam("owner_"), _matches(threads, way, count))
        .order_by(threads.c.created_at.desc(), threads.c.position.desc())
        .limit(bindparam("size_"))
    )


@lru_cache
def _find_texts(way: str, count: int) -> Any:
    newest = func.max(items.c.position).label("newest")
    thread: ColumnElement[int] = items.c.thread
    if way == "fts5":
        # The sign keeps SQLite from reading all threads first, and looking each message up.
        thread = literal_column("+chatkit_items.thread")
    found = (
        select(items.c.thread, newest)
        .select_from(items)
        .join(threads, threads.c.position == thread)
        .where(threads.c.owner == bindparam("owner_"), _matches(items, way, count))
        .group_by(items.c.thread)
        .subquery()
    )
    return (
        select(threads.c.position, threads.c.created_at, threads.c.data, found.c.newest)
        .join(found, found.c.thread == threads.c.position)
        .where(threads.c.owner == bindparam("owner_"))
        .order_by(threads.c.created_at.desc(), threads.c.position.desc())
        .limit(bindparam("size_"))
    )


def _texts(db: Connection, owner: str, positions: Collection[int]) -> dict[int, dict[str, Any]]:
    statement = (
        select(items.c.position, items.c.data)
        .join(threads, threads.c.position == items.c.thread)
        .where(items.c.position.in_(positions), threads.c.owner == owner)
    )
    rows = db.execute(statement) if positions else ()
    return {position: json.loads(data) for position, data in rows}
