"""Sites with a history, for the tests of what is done with all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa
from flask import Flask, request

from flask_chatkit import ChatKit
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server import metadata
from flask_chatkit.server.context import ChatContext, owner_of
from flask_chatkit.server.history.tables import attachments, feedback, items, threads
from flask_chatkit.testing.stores import new_attachment, new_message, new_thread
from tests.helpers.databases import fresh_database
from tests.helpers.sites import MakeApp

DATABASES = ("SQLite", "PostgreSQL", "MariaDB")
LONG_AGO = datetime(2025, 1, 1, tzinfo=timezone.utc)


@contextmanager
def database(kind: str, folder: Path, missing: Callable[[str, str], NoReturn]) -> Iterator[str]:
    """The URI of an empty database."""
    if kind == "SQLite":
        yield f"sqlite:///{folder}/chat.db"
    else:
        with fresh_database(kind, missing) as uri:
            yield uri


class Site:
    """A site with a served chat ``help``, and who is signed in by a cookie.

    :param make_app: the fixture.
    :param uri: its database.
    :param folder: where its files are.
    """

    def __init__(self, make_app: MakeApp, uri: str, folder: Path, **config: Any) -> None:
        self.kit = ChatKit()
        self.kit.user_loader(lambda: request.cookies.get("login"))
        self.kit.assistant("help", attachments=True)(lambda message, _chat: message.text)
        self.files = folder / "files"
        settings = {"CHATKIT_DATABASE_URI": uri, "CHATKIT_UPLOAD_FOLDER": str(self.files)}
        self.app: Flask = make_app(self.kit, **{**settings, **config})
        self.app.instance_path = str(folder)

    @property
    def store(self) -> Any:
        """The history."""
        state = self.app.extensions["chatkit"]["chatkit"]
        with self.app.app_context():
            return state.service.storage.store

    def work(self, act: Callable[[sa.Connection], Any]) -> Any:
        """Do something in the database."""
        with self.app.app_context():
            # Filling a database takes long on a busy machine.
            return drive(self.store.database.transaction(act, seconds=120))

    def delete(self, key: str, **more: Any) -> Any:
        """Delete a person."""
        with self.app.app_context():
            return self.kit.delete_user(key, **more)

    def export(self, key: str, **more: Any) -> list[dict[str, Any]]:
        """Export a person."""
        with self.app.app_context():
            return list(self.kit.export_user(key, **more))

    def prune(self, *args: Any, **more: Any) -> Any:
        """Prune the history."""
        with self.app.app_context():
            return self.kit.prune(*args, **more)

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Each row of each table."""
        return self.work(
            lambda db: {
                name: sorted(tuple(row) for row in db.execute(sa.select(table)))
                for name, table in metadata.tables.items()
            }
        )

    def add(self, key: str, name: str, age: timedelta = timedelta(), **more: Any) -> None:
        """Add a thread of somebody's, with a message, a file, and a thumb up."""
        self.work(lambda db: add(db, key, name, datetime.now(timezone.utc) - age, **more))


def drive(coroutine: Any) -> Any:
    """Drive a coroutine that does not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it suspended")


def add(
    db: sa.Connection, key: str, name: str, moment: datetime = LONG_AGO, chat: str = "help"
) -> None:
    """Add rows for a thread, as the store would."""
    context = ChatContext(visitor=Visitor(key, known=True), chat=chat)
    owned = {"owner": owner_of(context), "kit": "chatkit", "chat": chat, "visitor": key}
    thread = new_thread(id=f"thr_{name}", created_at=moment)
    row = {**owned, "id": thread.id, "created_at": moment, "data": thread.model_dump_json()}
    db.execute(sa.insert(threads), row)
    position = db.scalar(sa.select(threads.c.position).where(threads.c.id == thread.id))
    item = new_message(thread, f"I am {key}", id=f"msg_{name}")
    row = {"thread": position, "id": item.id, "type": item.type, "created_at": moment}
    db.execute(sa.insert(items), {**row, "data": item.model_dump_json()})
    said = {"thread": position, "item": item.id, "kind": "positive", "created_at": moment}
    db.execute(sa.insert(feedback), said)
    file = new_attachment(id=f"atc_{name}", thread_id=thread.id)
    row = {**owned, "id": file.id, "thread": thread.id, "created_at": moment}
    db.execute(sa.insert(attachments), {**row, "data": file.model_dump_json()})
