"""Exports one person's data, record by record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from chatkit.types import ThreadItem, ThreadMetadata

from ..hosted.threads import HostedThreads
from ..identity.visitor import Visitor
from ..registry import ChatKitState
from ..server.attachments.filetypes import clean_name
from ..server.history import records, rows
from .stores import Places, Problems, Rows, Walk


def export_person(
    kit: ChatKitState,
    person: Visitor,
    *,
    folder: Path | None = None,
    hosted: bool | None = None,
    problems: Problems | None = None,
) -> Iterator[dict[str, Any]]:
    """All data of a person in a kit, as dicts for JSON.

    :param kit: the kit; data of other kits is not included.
    :param person: the person.
    :param folder: a folder to which files are copied; None for no copies.
    :param hosted: whether to ask OpenAI; by default if the kit has or had hosted chats.
    :param problems: gets what could not be exported; the records contain it, too.
    """
    problems = Problems() if problems is None else problems
    places = Places(kit, problems)
    known = places.aliases_of(person)
    keys = list(dict.fromkeys([person.key, *(alias.alias for alias in known)]))
    yield {
        "record": "person",
        "key": person.key,
        "kit": kit.own_name,
        "exported_at": _iso(datetime.now(timezone.utc)),
        "before_signing_in": [{"key": alias.alias, "until": _iso(alias.since)} for alias in known],
    }
    sources: list[Iterator[dict[str, Any]]] = []
    sources += [_export_rows(places, where, keys, folder) for where in places.rows]
    sources += [_export_walked(walk, keys) for walk in places.walks]
    asked = places.hosted(hosted)
    if asked is not None:
        sources.append(_export_hosted(asked, keys))
    if places.records is not None:
        sources.append(_export_revocations(places.records, kit.own_name, keys))
    for source in sources:
        with problems.collect("a part of it could not be read"):
            yield from source
    for problem in problems:
        yield {"record": "problem", "what": problem}


def _export_rows(
    places: Places, where: Rows, keys: list[str], folder: Path | None
) -> Iterator[dict[str, Any]]:
    after, kit = 0, places.kit.own_name
    while True:
        found = where.read(partial(rows.threads_of, kit=kit, keys=keys, after=after))
        if not found:
            break
        thumbs = where.read(partial(rows.feedback_of, found=[row.position for row in found]))
        items = _items_of(where, [row.position for row in found])
        item = next(items, None)
        for row in found:
            yield _thread(json.loads(row.data), row.chat, row.visitor, row.created_at)
            while item is not None and item.thread == row.position:
                yield _item(json.loads(item.data), row.id, item.created_at)
                item = next(items, None)
            for thumb in (one for one in thumbs if one.thread == row.position):
                yield _thumb(row.id, thumb)
        after = found[-1].position
    for files in places.files_of(where, keys):
        for file in files:
            yield _file(places, file, folder)


def _items_of(where: Rows, found: list[int]) -> Iterator[Any]:
    after = (0, 0)
    while True:
        page = where.read(partial(rows.items_of, found=found, after=after))
        yield from page
        if len(page) < rows.PAGE:
            return
        after = (page[-1].thread, page[-1].position)


def _thumb(thread: str, row: Any) -> dict[str, Any]:
    return {
        "record": "feedback",
        "thread": thread,
        "item": row.item,
        "kind": row.kind,
        "given_at": _iso(row.created_at),
    }


def _file(places: Places, row: rows.FileRow, folder: Path | None) -> dict[str, Any]:
    details = row.details
    record = {
        "record": "file",
        "id": row.id,
        "chat": row.chat,
        "visitor": row.visitor,
        "thread": row.thread,
        "name": details.get("name"),
        "type": details.get("mime_type"),
        "bytes": (details.get("metadata") or {}).get("size"),
        "uploaded_at": _iso(row.created_at),
        "kept_in": "CHATKIT_UPLOAD_FOLDER" if row.is_ours else "the site's own attachment store",
    }
    if folder is not None and row.is_ours:
        with places.problems.collect(f"the file {row.id} could not be copied"):
            record["saved_as"] = _save(places, row, folder)
    return record


def _save(places: Places, row: rows.FileRow, folder: Path) -> str:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{row.id}-{clean_name(row.details.get('name'))}"
    with (
        places.kit.service.storage.files.open(row.id) as source,
        (folder / name).open("wb") as target,
    ):
        while chunk := source.read(64 * 1024):
            target.write(chunk)
    return name


def _export_walked(walk: Walk, keys: list[str]) -> Iterator[dict[str, Any]]:
    for key in keys:
        context = walk.context(Visitor(key, known=True))
        for thread in walk.threads(context):
            yield _thread(_dumped(thread), walk.chat.name, key, thread.created_at)
            for item in walk.items(context, thread.id):
                yield _item(_dumped(item), thread.id, item.created_at)


def _export_hosted(hosted: HostedThreads, keys: list[str]) -> Iterator[dict[str, Any]]:
    for key in keys:
        for thread in hosted.threads(key):
            moment = datetime.fromtimestamp(thread["created_at"], timezone.utc)
            yield {**_thread(thread, None, key, moment), "kept_by": "OpenAI"}
            for item in hosted.items(thread["id"]):
                created = datetime.fromtimestamp(item["created_at"], timezone.utc)
                yield _item(item, thread["id"], created)


def _export_revocations(where: Rows, kit: str, keys: list[str]) -> Iterator[dict[str, Any]]:
    for key in keys:
        digest = Visitor(key, known=True).digest
        moment = where.read(partial(records.revoked_at, kit=kit, digest=digest))
        if moment is not None:
            at = datetime.fromtimestamp(moment / 1_000_000, timezone.utc)
            yield {"record": "revocation", "visitor": key, "revoked_at": _iso(at)}


def _dumped(value: ThreadMetadata | ThreadItem) -> dict[str, Any]:
    return value.model_dump(mode="json", exclude={"items"})


def _thread(
    data: dict[str, Any], chat: str | None, visitor: str, created_at: datetime
) -> dict[str, Any]:
    status = data.get("status")
    return {
        "record": "thread",
        "id": data.get("id"),
        "chat": chat,
        "visitor": visitor,
        "title": data.get("title"),
        "created_at": _iso(created_at),
        "status": status.get("type") if isinstance(status, dict) else status,
        "kept_by": "this site",
        "details": data,
    }


def _item(data: dict[str, Any], thread: str, created_at: datetime) -> dict[str, Any]:
    for file in data.get("attachments") or ():
        # Signed links, which give access to the file.
        for name in ("preview_url", "upload_descriptor", "url"):
            file.pop(name, None)
    kind = str(data.get("type", "")).removeprefix("chatkit.")
    content = data.get("content")
    parts = content if isinstance(content, list) else []
    text = "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
    return {
        "record": "item",
        "id": data.get("id"),
        "thread": thread,
        "kind": kind,
        "from": "visitor" if kind == "user_message" else "assistant",
        "text": text or None,
        "created_at": _iso(created_at),
        "details": data,
    }


def _iso(moment: datetime) -> str:
    return records.utc(moment).astimezone(timezone.utc).isoformat()
