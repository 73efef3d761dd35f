"""Checks of storage: the history's database and the visitors' files."""

from __future__ import annotations

import io
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ChatKitError, UpstreamUnavailable
from .report import Finding, check, error, ok, skipped, warning
from .site import Site

#: File systems on which SQLite's locks are not reliable.
NETWORK = frozenset(
    "nfs nfs4 cifs smb smb2 smb3 smbfs afs ncpfs 9p glusterfs fuse.glusterfs ceph fuse.ceph "
    "fuse.sshfs fuse.s3fs fuse.gcsfuse fuse.rclone fuse.mount-s3 lustre beegfs".split()
)
#: File systems that are lost when the machine or container restarts.
FLEETING = frozenset({"tmpfs", "ramfs"})
#: Bytes that must be free at least.
FREE = 100 * 2**20
_DATABASE = "let CHATKIT_DATABASE_URI name a database that runs, and whose user may connect"


def _store(site: Site) -> Any:
    """Return the kit's own store if a served chat has its history there; else None."""
    stores = (server.store for server in site.servers.values())
    return next((store for store in stores if hasattr(store, "_database")), None)


def _engine(site: Site) -> Any:
    store = _store(site)
    if store is None:
        return None
    database = store._database  # noqa: SLF001  the doctor looks inside
    return database._pick(database._process())  # noqa: SLF001


@check(
    "database",
    "the history's database is reachable and writable, and its tables are up to date",
    cure=_DATABASE,
    seconds=8.0,
)
def database(site: Site) -> Iterator[Finding]:
    """Connect, try to write, and check the tables."""
    engine = _engine(site)
    if engine is None:
        yield skipped("no chat that works keeps its history in the kit's database")
        return
    from sqlalchemy.exc import DBAPIError

    where = engine.dialect.name
    file = _file(engine)
    if file is not None:
        trouble = _unwritable(file)
        if trouble:
            yield trouble
            return
        if not file.exists():
            # Created here, it would belong to the user who runs the doctor.
            yield ok("SQLite's file is made on first use")
            return
    try:
        with engine.connect() as connection:
            yield from _tables(connection, site)
    except DBAPIError as failed:
        reason = type(failed.orig).__name__ if failed.orig else type(failed).__name__
        yield error(f"the {where} database can't be reached ({reason})", _DATABASE)
    except ChatKitError as failed:
        yield error(str(failed), _DATABASE)


def _file(engine: Any) -> Path | None:
    """Return SQLite's file; None for another database, or one in memory."""
    name = engine.url.database or ""
    if (
        engine.dialect.name != "sqlite"
        or not name
        or ":memory:" in name
        or name.startswith("file:")
    ):
        return None
    return Path(name).absolute()


def _unwritable(file: Path) -> Finding | None:
    folder = _existing(file.parent)
    if not _may_write(folder):
        return error(
            f"SQLite can't write to the folder {folder}",
            "give the folder to the user who runs the site, or set CHATKIT_DATABASE_URI",
        )
    if file.exists() and not _may_write(file):
        return error(
            f"the database {file} is read-only",
            f"chown {file} and its -wal and -shm to the user who runs the site",
        )
    return None


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(part for part in (folder, *folder.parents) if part.exists())


def _may_write(path: Path) -> bool:
    """Whether it can be written to, by trying: modes ignore mounts and root."""
    try:
        if path.is_dir():
            with tempfile.NamedTemporaryFile(dir=path, prefix=".chatkit-doctor-"):
                return True
        with path.open("r+b"):
            return True
    except OSError:
        return False


def _tables(connection: Any, site: Site) -> Iterator[Finding]:
    from sqlalchemy import inspect

    from ..server.history.migrations import is_current
    from ..server.history.tables import metadata

    there = set(inspect(connection).get_table_names())
    missing = sorted(set(metadata.tables) - there)
    creates = bool(_store(site)._database._create_tables)  # noqa: SLF001
    version = ".".join(map(str, connection.dialect.server_version_info or ()))
    name = f"{connection.dialect.name} {version}".strip()
    upgrade = (
        "call flask_chatkit.server.upgrade_tables in a revision of Alembic (docs/operations.md)"
    )
    if len(missing) == len(metadata.tables):
        if creates:
            yield ok(f"{name} answers; the tables are made on first use")
        else:
            yield error("the history's tables are not there", upgrade)
    elif missing or not _holds(is_current, connection):
        if creates:
            yield ok(f"{name} answers; the tables are brought up to date on first use")
        else:
            named = f" ({', '.join(missing)} missing)" if missing else ""
            yield error(f"the history's tables are those of an earlier release{named}", upgrade)
    else:
        yield ok(f"{name} answers, and its tables are up to date")


def _holds(is_current: Any, connection: Any) -> bool:
    try:
        return bool(is_current(connection))
    finally:
        connection.rollback()


@check(
    "sqlite",
    "SQLite is on a local disk that survives a restart",
    cure="set CHATKIT_DATABASE_URI to a file on a local disk, or to PostgreSQL",
)
def sqlite(site: Site) -> Iterator[Finding]:
    """Check the file system of the database."""
    engine = _engine(site)
    if engine is None or engine.dialect.name != "sqlite":
        yield skipped("the history is not kept in SQLite")
        return
    file = _file(engine)
    elsewhere = "set CHATKIT_DATABASE_URI to a file on a local disk, or to PostgreSQL"
    if file is None:
        if site.is_development:
            yield ok("the history is in memory, for development")
        else:
            yield error("the history is in memory: it is lost when a process ends", elsewhere)
        return
    kind = file_system(file)
    if kind in NETWORK:
        yield error(
            f"SQLite's file is on a network file system ({kind}), where it breaks", elsewhere
        )
    elif kind in FLEETING and not site.is_development:
        yield warning(f"SQLite's file is on {kind}: it is lost at the next restart", elsewhere)
    else:
        yield ok(f"SQLite's file is on a local disk ({kind or 'unknown'})")


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """Return the type of a path's file system; None if it is not known."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    place, found = path.resolve(), (-1, "")
    for line in lines:
        _, point, kind = [*line.split(" "), "", "", ""][:3]
        root = Path(point.replace("\\040", " "))
        depth = len(root.parts)
        # Of two mounts at one place, the later one counts.
        if (place == root or root in place.parents) and depth >= found[0]:
            found = depth, kind
    return found[1] or None


@check(
    "uploads",
    "the upload folder is writable, is not public, and has space",
    cure="let CHATKIT_UPLOAD_FOLDER name a folder or URL that can be written to",
    seconds=8.0,
    needs_key=True,
)
def uploads(site: Site) -> Iterator[Finding]:
    """Write a file and remove it."""
    if not any(chat.attachments_accepted is not None for chat in site.served):
        yield skipped("no served chat takes files")
        return
    cure = (
        "give CHATKIT_UPLOAD_FOLDER to the user who runs the site: chown it, or name another folder"
    )
    try:
        files = site.kit.service.storage.files
        folder: Path | None = getattr(files._place, "_folder", None)  # noqa: SLF001  the doctor looks inside
        if folder is None or folder.exists():
            key = f"doctor_{secrets.token_hex(8)}"
            files.write(key, io.BytesIO(b"doctor"))
            files.delete(key)
        elif not _may_write(_existing(folder)):
            raise PermissionError
    except UpstreamUnavailable as failed:
        why = type(failed.__cause__ or failed).__name__
        yield error(f"the upload folder can't be written to ({why})", cure)
        return
    except ChatKitError as failed:
        yield error(str(getattr(failed, "detail", None) or failed), cure)
        return
    except Exception as failed:  # noqa: BLE001  fsspec's drivers have exceptions of their own
        yield error(f"the upload folder can't be written to ({type(failed).__name__})", cure)
        return
    if folder is None:
        yield ok("the upload folder can be written to")
        return
    public = site.app.static_folder
    if public and Path(public).resolve() in (folder.resolve(), *folder.resolve().parents):
        yield error(
            "the upload folder is below the static folder: anybody may fetch visitors' files",
            "set CHATKIT_UPLOAD_FOLDER to a folder outside of static",
        )
    yield _space(folder, site.settings.max_upload_bytes)


def _space(folder: Path, largest: int) -> Finding:
    from ..server.attachments.capacity import kept_free

    usage = shutil.disk_usage(_existing(folder))
    free = usage.free
    # With less, no file is accepted.
    if free < max(FREE, kept_free(usage.total) + 4 * largest):
        return error(
            f"{free // 2**20} MB are free in the upload folder",
            "free space there, or set CHATKIT_UPLOAD_FOLDER to a larger disk",
        )
    return ok(f"the upload folder can be written to, {free // 2**30} GB are free")
