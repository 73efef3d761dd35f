"""The tables of the history, for SQLite, PostgreSQL and MySQL or MariaDB.

A site that migrates with Alembic adds :data:`metadata` to its ``target_metadata``, and makes its
store with ``create_tables=False``. In a revision it calls
:func:`~flask_chatkit.server.history.migrations.upgrade_tables` for the changes of a release.

SQLite enforces foreign keys only on connections that enable them, so there the tables have
triggers as well: a plain ``DELETE`` leaves nothing behind.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CHAR,
    DDL,
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.postgresql import TSVECTOR

#: Characters of the longest id.
LONGEST_ID = 255

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_MYSQL = ("mysql", "mariadb")
#: MySQL needs these for emoji, and for transactions.
_OPTIONS: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in _MYSQL
    for name, value in {"engine": "InnoDB", "charset": "utf8mb4"}.items()
}


def _exact(length: int) -> String:
    """A string that is compared byte by byte; MySQL would ignore case."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), *_MYSQL
    )


# SQLite autoincrements only an INTEGER PRIMARY KEY.
_POSITION = BigInteger().with_variant(Integer(), "sqlite")


def _ascii(length: int) -> CHAR:
    """An ASCII string of fixed length."""
    return CHAR(length).with_variant(
        mysql.CHAR(length, charset="ascii", collation="ascii_bin"), *_MYSQL
    )


_OWNER = _ascii(64)
_ID = _exact(LONGEST_ID)
_NAME = _exact(255)
#: ``user:`` and a login id of at most 512 characters.
_VISITOR = _exact(520)
_TIME = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *_MYSQL)
# Not a JSON type: PostgreSQL's rejects NUL, which a message may contain.
_DATA = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *_MYSQL)
#: See :mod:`.words`; null in rows of an earlier release, until they are filled.
_WORDS = (
    Text()
    .with_variant(TSVECTOR(), "postgresql")
    .with_variant(mysql.MEDIUMTEXT(charset="ascii", collation="ascii_bin"), *_MYSQL)
)


def _index_words(table: Table) -> None:
    """Index what is searched. On SQLite that is what has no words yet, as FTS5 has the others."""
    words = table.c.words
    Index(
        None,
        words,
        postgresql_using="gin",
        mysql_prefix="FULLTEXT",
        mariadb_prefix="FULLTEXT",
        sqlite_where=words.is_(None),
    )


#: ``position`` is the order of insertion. Every statement asks for ``owner``: see
#: :func:`~flask_chatkit.server.context.owner_name`. ``kit``, ``chat`` and ``visitor`` are the same
#: in plain text, so that a site can find and delete a person's data.
threads = Table(
    "chatkit_threads",
    metadata,
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False),
    Column("owner", _OWNER, nullable=False),
    Column("kit", _NAME, nullable=False),
    Column("chat", _NAME, nullable=False),
    Column("visitor", _VISITOR, nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("data", _DATA, nullable=False),
    Column("words", _WORDS, nullable=True),
    UniqueConstraint("id"),
    sqlite_autoincrement=True,
    **_OPTIONS,
)
_index_words(threads)
Index(None, threads.c.owner, threads.c.position)
Index(None, threads.c.owner, threads.c.created_at, threads.c.position)
Index(None, threads.c.visitor)

#: ``thread`` is the thread's position. An id is unique within its thread only: adapters for other
#: providers' models give all messages the same id.
items = Table(
    "chatkit_items",
    metadata,
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("thread", _POSITION, ForeignKey(threads.c.position, ondelete="CASCADE"), nullable=False),
    Column("id", _ID, nullable=False),
    Column("type", String(64), nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("data", _DATA, nullable=False),
    Column("words", _WORDS, nullable=True),
    UniqueConstraint("thread", "id"),
    sqlite_autoincrement=True,
    **_OPTIONS,
)
_index_words(items)
Index(None, items.c.thread, items.c.position)

#: ``thread`` is the id of the owner's thread that the attachment was sent to; null until it was.
attachments = Table(
    "chatkit_attachments",
    metadata,
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False),
    Column("owner", _OWNER, nullable=False),
    Column("kit", _NAME, nullable=False),
    Column("chat", _NAME, nullable=False),
    Column("visitor", _VISITOR, nullable=False),
    Column("thread", _ID, ForeignKey(threads.c.id, ondelete="CASCADE"), nullable=True),
    Column("created_at", _TIME, nullable=False),
    Column("data", _DATA, nullable=False),
    UniqueConstraint("id"),
    sqlite_autoincrement=True,
    **_OPTIONS,
)
Index(None, attachments.c.owner, attachments.c.thread)
Index(None, attachments.c.thread)
Index(None, attachments.c.visitor)

#: Feedback on an answer: ``kind`` is ``positive`` or ``negative``. ``thread`` is the
#: thread's position, ``item`` the item's id.
feedback = Table(
    "chatkit_feedback",
    metadata,
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("thread", _POSITION, nullable=False),
    Column("item", _ID, nullable=False),
    Column("kind", _exact(16), nullable=False),
    Column("created_at", _TIME, nullable=False),
    ForeignKeyConstraint(["thread", "item"], [items.c.thread, items.c.id], ondelete="CASCADE"),
    UniqueConstraint("thread", "item"),
    sqlite_autoincrement=True,
    **_OPTIONS,
)

#: How often something happened in a chat on a day (``2026-11-28``, in UTC); without visitors.
counts = Table(
    "chatkit_counts",
    metadata,
    Column("day", _ascii(10), primary_key=True),
    Column("kit", _NAME, primary_key=True),
    Column("chat", _NAME, primary_key=True),
    Column("name", _exact(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
    **_OPTIONS,
)

#: Sign-ins: the keys of an anonymous visitor (``alias``) and the login (``visitor``). ``pair`` is
#: SHA-256 of kit, alias and visitor, because strings that long can't be indexed.
aliases = Table(
    "chatkit_aliases",
    metadata,
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("pair", _ascii(64), nullable=False),
    Column("kit", _NAME, nullable=False),
    Column("alias", _VISITOR, nullable=False),
    Column("visitor", _VISITOR, nullable=False),
    Column("created_at", _TIME, nullable=False),
    UniqueConstraint("pair"),
    sqlite_autoincrement=True,
    **_OPTIONS,
)
Index(None, aliases.c.alias)
Index(None, aliases.c.visitor)

#: When a visitor's sessions were last revoked: ``revoked_at`` is Unix time in microseconds,
#: ``visitor`` is :attr:`.Visitor.digest`.
revocations = Table(
    "chatkit_revocations",
    metadata,
    Column("kit", _NAME, primary_key=True),
    Column("visitor", _ascii(32), primary_key=True),
    Column("revoked_at", BigInteger, nullable=False),
    **_OPTIONS,
)

#: Imported threads that were deleted, so that they are not imported again. ``thread`` is SHA-256
#: of the id.
deletions = Table(
    "chatkit_deletions",
    metadata,
    Column("thread", _ascii(64), primary_key=True),
    **_OPTIONS,
)

#: When a job that one process runs for all was last begun.
jobs = Table(
    "chatkit_jobs",
    metadata,
    Column("kit", _NAME, primary_key=True),
    Column("name", _exact(64), primary_key=True),
    Column("begun_at", _TIME, nullable=False),
    **_OPTIONS,
)

#: Messages that are being answered, or just were: ``message`` is SHA-256 of visitor and content,
#: ``visitor`` as in :data:`revocations`, ``holder`` the process that answers, ``touched_at`` Unix
#: time in microseconds.
claims = Table(
    "chatkit_claims",
    metadata,
    Column("message", _ascii(64), primary_key=True),
    Column("visitor", _ascii(32), nullable=False),
    Column("holder", _ascii(32), nullable=False),
    Column("touched_at", BigInteger, nullable=False),
    Column("is_answered", Integer, nullable=False),
    **_OPTIONS,
)

#: The versions to which these tables were upgraded; see
#: :mod:`~flask_chatkit.server.history.migrations`.
schema = Table(
    "chatkit_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", _TIME, nullable=False),
    **_OPTIONS,
)

#: SQLite's triggers, for connections that have not enabled foreign keys, by table. One may fire
#: another; ``recursive_triggers`` is about one that fires itself.
TRIGGERS = {
    threads: (
        "CREATE TRIGGER IF NOT EXISTS chatkit_threads_deleted AFTER DELETE ON chatkit_threads "
        "BEGIN "
        "DELETE FROM chatkit_feedback WHERE thread = OLD.position; "
        "DELETE FROM chatkit_items WHERE thread = OLD.position; "
        "DELETE FROM chatkit_attachments WHERE thread = OLD.id; "
        "END"
    ),
    items: (
        "CREATE TRIGGER IF NOT EXISTS chatkit_items_deleted AFTER DELETE ON chatkit_items "
        "BEGIN DELETE FROM chatkit_feedback WHERE thread = OLD.thread AND item = OLD.id; END"
    ),
}
for _table, _trigger in TRIGGERS.items():
    _ddl: Any = DDL(_trigger)  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
    event.listen(_table, "after_create", _ddl.execute_if(dialect="sqlite"))
