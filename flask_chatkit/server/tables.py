"""The tables of the history, for SQLite, PostgreSQL and MySQL or MariaDB.

A site that migrates with Alembic adds :data:`metadata` to its ``target_metadata``, and makes its
store with ``create_tables=False``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CHAR,
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql

#: Characters of the longest id that can be stored.
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
#: What MySQL needs for emoji in texts, and for transactions at all.
_OPTIONS: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in _MYSQL
    for name, value in {"engine": "InnoDB", "charset": "utf8mb4"}.items()
}


def _exact(length: int) -> String:
    """A text that is compared byte by byte; MySQL would take A for a."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), *_MYSQL
    )


# SQLite numbers only an INTEGER PRIMARY KEY by itself.
_POSITION = BigInteger().with_variant(Integer(), "sqlite")
_OWNER = CHAR(64).with_variant(mysql.CHAR(64, charset="ascii", collation="ascii_bin"), *_MYSQL)
_ID = _exact(LONGEST_ID)
_NAME = _exact(255)
#: ``user:`` and a login id of at most 512 characters.
_VISITOR = _exact(520)
_TIME = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *_MYSQL)
# A text and no JSON type: PostgreSQL's refuses the NUL that a message may have.
_DATA = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *_MYSQL)

#: ``position`` is the order of insertion. ``owner`` is what every query asks for: see
#: :func:`~flask_chatkit.server.context.owner_name`. ``kit``, ``chat`` and ``visitor`` say the same
#: in plain words, so that a site can find and delete a person's data.
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
    UniqueConstraint("id"),
    sqlite_autoincrement=True,
    **_OPTIONS,
)
Index(None, threads.c.owner, threads.c.position)
Index(None, threads.c.visitor)

#: ``thread`` is the thread's position. An id is unique within its thread only: adapters for models
#: that are not OpenAI's give all their messages one id.
items = Table(
    "chatkit_items",
    metadata,
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("thread", _POSITION, ForeignKey(threads.c.position, ondelete="CASCADE"), nullable=False),
    Column("id", _ID, nullable=False),
    Column("type", String(64), nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("data", _DATA, nullable=False),
    UniqueConstraint("thread", "id"),
    sqlite_autoincrement=True,
    **_OPTIONS,
)
Index(None, items.c.thread, items.c.position)

#: ``thread`` is the id of the thread that the attachment was sent to; null until it was.
attachments = Table(
    "chatkit_attachments",
    metadata,
    Column("position", _POSITION, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False),
    Column("owner", _OWNER, nullable=False),
    Column("kit", _NAME, nullable=False),
    Column("chat", _NAME, nullable=False),
    Column("visitor", _VISITOR, nullable=False),
    Column("thread", _ID, nullable=True),
    Column("created_at", _TIME, nullable=False),
    Column("data", _DATA, nullable=False),
    UniqueConstraint("id"),
    sqlite_autoincrement=True,
    **_OPTIONS,
)
Index(None, attachments.c.owner, attachments.c.thread)
Index(None, attachments.c.visitor)
