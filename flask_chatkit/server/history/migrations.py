"""Upgrades the tables of an earlier release.

Each step checks whether it is needed, so that all can be repeated: MySQL commits after each change
of a table, and a process may be killed between two. One process at a time upgrades.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from sqlalchemy import (
    Connection,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    exists,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import AddConstraint, CreateColumn, CreateIndex, DropIndex

from .filling import is_filled, note_filled
from .tables import TRIGGERS, attachments, items, metadata, schema, threads

#: The version of :data:`~flask_chatkit.server.history.tables.metadata`. 1 had threads, items and
#: attachments only, and no table of versions; 2 had no claims, 3 no words.
VERSION = 4
#: Seconds that a process waits, on MySQL, for another one that upgrades the tables.
PATIENCE = 600
#: The key of the advisory lock on PostgreSQL.
_LOCK = int.from_bytes(b"chatkit", "big")
_OLD = "chatkit_attachments_old"


def is_current(db: Connection) -> bool:
    """Whether the tables are those of this release or a later one."""
    try:
        reached = db.scalar(select(func.max(schema.c.version)))
    except DBAPIError:
        return False
    return reached is not None and reached >= VERSION


def upgrade_tables(connection: Connection) -> None:
    """Create missing tables, and upgrade those of an earlier release.

    No row is lost, and up-to-date tables stay as they are. The first call of a store does it,
    unless it was made with ``create_tables=False``; such a site calls this from an Alembic
    revision: ``upgrade_tables(op.get_bind())``.

    :param connection: a connection in a transaction, which the caller commits.
    :raises TimeoutError: on MySQL, another process has been upgrading for ten minutes.
    """
    with _alone(connection):
        metadata.create_all(connection)
        if not _has_reference(connection):
            _clear_missing_threads(connection)
            if connection.dialect.name == "sqlite":
                _rebuild_attachments(connection)
            else:
                connection.execute(AddConstraint(_reference()))
        for table in (threads, items):
            _add_words(connection, table)
        for table in (threads, items, attachments):
            _add_missing_indexes(connection, table)
        if not is_filled(connection) and not _has_rows(connection):
            note_filled(connection)
        if connection.dialect.name == "sqlite":
            for trigger in TRIGGERS.values():
                connection.exec_driver_sql(trigger)
        reached = connection.scalar(select(func.max(schema.c.version)))
        if reached is None or reached < VERSION:
            now = datetime.now(timezone.utc)
            connection.execute(insert(schema), {"version": VERSION, "applied_at": now})


@contextmanager
def _alone(db: Connection) -> Iterator[None]:
    """Keep other processes from upgrading at the same time."""
    dialect = db.dialect.name
    if dialect == "sqlite":
        # DDL begins no transaction by itself, and the upgrade must be atomic.
        if not getattr(db.connection.dbapi_connection, "in_transaction", False):
            db.exec_driver_sql("BEGIN IMMEDIATE")
        yield
    elif dialect == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        yield
    else:
        # Lock names are shared by all databases of a server.
        name = func.concat("flask_chatkit.", func.md5(func.database()))
        if not db.scalar(select(func.get_lock(name, PATIENCE))):
            raise TimeoutError("another process is still upgrading the tables of the history")
        try:
            yield
        finally:
            db.execute(select(func.release_lock(name)))


def _add_words(db: Connection, table: Table) -> None:
    """Add the column of a table's words, which :func:`.search.fill` fills later."""
    if any(column["name"] == "words" for column in inspect(db).get_columns(table.name)):
        return
    column = CreateColumn(table.c.words).compile(dialect=db.dialect)
    db.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column}")


def _has_rows(db: Connection) -> bool:
    return any(
        db.scalar(select(table.c.position).where(table.c.words.is_(None)).limit(1)) is not None
        for table in (threads, items)
    )


def _reference() -> ForeignKeyConstraint:
    # Of a copy: adding the constraint would remove it from the table's own CREATE statement.
    copies = MetaData(naming_convention=metadata.naming_convention)
    threads.to_metadata(copies)
    (reference,) = attachments.to_metadata(copies).foreign_key_constraints
    return reference


def _has_reference(db: Connection) -> bool:
    return bool(inspect(db).get_foreign_keys(attachments.name))


def _clear_missing_threads(db: Connection) -> None:
    """Mark attachments as unsent whose thread is missing or somebody else's."""
    own = exists().where(
        threads.c.id == attachments.c.thread, threads.c.owner == attachments.c.owner
    )
    db.execute(
        update(attachments).where(attachments.c.thread.is_not(None), ~own).values(thread=None)
    )


def _rebuild_attachments(db: Connection) -> None:
    """Recreate the table: SQLite can't add a foreign key to an existing one."""
    for table in TRIGGERS:
        # SQLite rewrites triggers that mention a renamed table.
        db.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table.name}_deleted")
    present = {index["name"] for index in inspect(db).get_indexes(attachments.name)}
    for index in attachments.indexes:
        if index.name in present:
            db.execute(DropIndex(index))
    db.exec_driver_sql(f"ALTER TABLE {attachments.name} RENAME TO {_OLD}")
    attachments.create(db, checkfirst=False)
    columns = ", ".join(column.name for column in attachments.columns)
    db.exec_driver_sql(f"INSERT INTO {attachments.name} ({columns}) SELECT {columns} FROM {_OLD}")  # noqa: S608  constant names
    # The highest position ever used, possibly of a deleted row.
    db.execute(
        text(
            "UPDATE sqlite_sequence SET seq = "
            "(SELECT seq FROM sqlite_sequence WHERE name = :old) WHERE name = :new"
        ),
        {"old": _OLD, "new": attachments.name},
    )
    db.exec_driver_sql(f"DROP TABLE {_OLD}")


def _add_missing_indexes(db: Connection, table: Table) -> None:
    present = {index["name"] for index in inspect(db).get_indexes(table.name)}
    missing: list[Index] = [index for index in table.indexes if index.name not in present]
    for index in sorted(missing, key=lambda index: str(index.name)):
        db.execute(CreateIndex(index))
