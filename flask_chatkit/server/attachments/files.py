"""The bytes of attachments: in a private folder, or at a URL that fsspec supports."""

from __future__ import annotations

import importlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from chatkit.types import Attachment

from ...errors import (
    ApiError,
    BadRequest,
    ConfigurationError,
    Misconfigured,
    NotFound,
    TooLarge,
    UpstreamUnavailable,
)
from ...startup_checks import unwritable
from ...upload_quota import size_text
from .capacity import Room, not_stored, not_written
from .links import is_ours
from .remote import TimedSystem

logger = logging.getLogger("flask_chatkit")

#: First bytes of a file, from which its type is detected; puremagic reads 36,870.
HEAD = 64 * 1024
_CHUNK = 64 * 1024

#: The form of a key, which becomes a file name.
_KEY = re.compile(r"[A-Za-z0-9_]{1,128}")
#: The form of attachment ids, see :func:`~flask_chatkit.server.ids.new_id`.
_ATTACHMENT = re.compile(r"atc_[0-9a-f]{32}")
_PART = re.compile(r"\.[A-Za-z0-9_]{1,128}\.[0-9a-f]{16}\.part")
#: How fsspec's drivers name the type and disposition that a signed URL responds with.
_SIGNED = {
    **dict.fromkeys(("s3", "s3a"), ("ResponseContentType", "ResponseContentDisposition")),
    **dict.fromkeys(("gs", "gcs"), ("response_type", "response_disposition")),
    **dict.fromkeys(("abfs", "abfss", "az"), ("content_type", "content_disposition")),
}
_ACCEPTED = "an absolute folder, or a URL for fsspec such as s3://bucket/folder"


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Read at most that many bytes; none at the end."""


@dataclass(frozen=True)
class Entry:
    """An entry of the folder that has the files.

    :param name: its name there.
    :param modified: when it was last written, in Unix seconds; None if unknown.
    :param size: its size in bytes; 0 if unknown.
    """

    name: str
    modified: float | None
    size: int = 0

    @property
    def is_file(self) -> bool:
        """Whether its name is that of an attachment."""
        return _ATTACHMENT.fullmatch(self.name) is not None

    @property
    def is_part(self) -> bool:
        """Whether it is the rest of an interrupted upload."""
        return _PART.fullmatch(self.name) is not None

    @property
    def is_ours(self) -> bool:
        """Whether its name was made here."""
        return self.is_file or self.is_part


class Files:
    """Stores files by key, each written once.

    :param folder: an absolute path, created if it is missing, or a URL for fsspec, whose driver
        (``s3fs`` for ``s3://``) the site installs.
    :param max_bytes: the maximum size of a file, in bytes.
    :param total: the maximum size of all files, in bytes; None for the disk's.
    :param shared: whether the folder's group may read them, for a web server that sends them.
    :raises ConfigurationError: the folder or URL can't be used; the message does not repeat it,
        because it may contain credentials.
    """

    def __init__(
        self, folder: str, max_bytes: int, total: int | None = None, *, shared: bool = False
    ) -> None:
        self.max_bytes = max_bytes
        self._place: _Place = _Remote(folder) if _is_remote(folder) else _Folder(folder, shared)
        self._room = Room(self._place, total)

    def check_room(self, size: int) -> None:
        """Check that there is room for a file of that many bytes.

        :raises RateLimited: all files together would be too large.
        :raises UpstreamUnavailable: the disk is almost full.
        """
        self._room.check(size)

    def write(self, key: str, stream: Readable, limit: int | None = None) -> tuple[int, bytes]:
        """Copy a stream chunk by chunk, counting its bytes; a failure leaves nothing behind.

        :param limit: the maximum size in bytes; ``max_bytes`` by default.
        :returns: the size in bytes, and the first :data:`HEAD` bytes.
        :raises TooLarge: the stream is longer; it is not read further.
        :raises BadRequest: the stream is empty.
        :raises FileExistsError: there is a file of that key.
        :raises UpstreamUnavailable: the file can't be written.
        """
        limit = self.max_bytes if limit is None else min(limit, self.max_bytes)
        source = _Counted(stream, limit)
        try:
            size, head = self._place.write(_checked(key), source)
        except UpstreamUnavailable as error:
            # Its message covers reading and writing; the visitor's is about a file that they send.
            raise not_written(str(error.detail)) from error
        except (ApiError, FileExistsError):
            raise
        except Exception as error:
            if error is source.broken:
                raise
            raise not_stored(error) from error
        self._room.add(size)
        return size, head

    def open(self, key: str) -> BinaryIO:
        """Open a file, which the caller closes.

        :raises NotFound: there is none of that key.
        """
        try:
            return self._place.open(_checked(key))
        except FileNotFoundError:
            raise NotFound("This file is not there any more.") from None

    def read(self, key: str) -> bytes:
        """Read a file.

        :raises NotFound: there is none of that key.
        :raises TooLarge: it exceeds ``max_bytes``, which was larger when it was written.
        """
        with self.open(key) as file:
            data = file.read(self.max_bytes + 1)
        if len(data) > self.max_bytes:
            raise too_large(self.max_bytes)
        return data

    def path(self, key: str) -> Path:
        """The path of a file, for another program on this machine.

        :raises NotFound: there is none of that key, in a folder of this machine.
        """
        found = self._place.path(_checked(key))
        if found is None or not found.is_file():
            raise NotFound("This file is not there any more.")
        return found

    def sign(self, key: str, seconds: int, mime_type: str, disposition: str) -> str:
        """A signed URL at which an object store serves a file.

        :param seconds: seconds for which it is valid.
        :param mime_type: the ``Content-Type``, if the store can set it.
        :param disposition: the ``Content-Disposition``, if the store can set it.
        :raises Misconfigured: the store signs no URLs.
        """
        try:
            url = self._place.sign(_checked(key), seconds, mime_type, disposition)
        except NotImplementedError:
            raise Misconfigured(
                detail="CHATKIT_SENDFILE is redirect, but the driver of CHATKIT_UPLOAD_FOLDER "
                "signs no URLs"
            ) from None
        return url

    def delete(self, key: str) -> None:
        """Delete a file, if there is one of that key."""
        self._place.delete(_checked(key))

    def delete_bytes(self, attachments: Iterable[Attachment]) -> None:
        """Delete the bytes of attachments that are no longer in the history; logs failures."""
        for attachment in attachments:
            if not is_ours(attachment):
                continue
            try:
                self.delete(attachment.id)
            except Exception:
                # The others must still be deleted: nothing refers to them any more.
                logger.exception("The bytes of the attachment %s stay", attachment.id)

    def entries(self) -> Iterator[Entry]:
        """All entries of the folder, including those not made here.

        :raises OSError: the folder can't be read.
        :raises NotImplementedError: the URL's driver lists nothing, such as that of ``https``.
        """
        return self._place.entries()

    def delete_entry(self, entry: Entry) -> None:
        """Delete a file, or the rest of an upload, if it still exists.

        :raises ValueError: it was not made here.
        """
        if not entry.is_ours:
            raise ValueError("only files that were made here are deleted")
        self._place.delete(entry.name)


class _Counted:
    """Counts the bytes of a stream while it is copied."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self.size = 0
        self.head = b""
        #: The exception that reading from the visitor's connection raised.
        self.broken: Exception | None = None

    def _read(self) -> bytes:
        try:
            # At most one byte more than allowed is read, which shows that the stream is too long.
            return self._stream.read(min(_CHUNK, self._limit - self.size + 1))
        except Exception as error:
            self.broken = error
            raise

    def copy(self, target: BinaryIO) -> None:
        while chunk := self._read():
            self.size += len(chunk)
            if self.size > self._limit:
                raise too_large(self._limit)
            if len(self.head) < HEAD:
                self.head += chunk[: HEAD - len(self.head)]
            target.write(chunk)
        if not self.size:
            raise BadRequest("The file is empty.", refusal="file_refused")


class _Place(Protocol):
    """A place for files."""

    def write(self, key: str, source: _Counted) -> tuple[int, bytes]: ...
    def open(self, key: str) -> BinaryIO: ...
    def delete(self, key: str) -> None: ...
    def entries(self) -> Iterator[Entry]: ...
    def space(self) -> tuple[int, int] | None: ...
    def path(self, key: str) -> Path | None: ...
    def sign(self, key: str, seconds: int, mime_type: str, disposition: str) -> str: ...


class _Folder:
    """A folder on this machine, private to the site's user or readable by its group."""

    def __init__(self, folder: str, shared: bool) -> None:  # noqa: FBT001  see Files
        self._mode, self._folder_mode = (0o640, 0o750) if shared else (0o600, 0o700)
        self._folder = Path(_local_path(folder))
        if not self._folder.is_absolute() or "\0" in folder:
            raise ConfigurationError(f"CHATKIT_UPLOAD_FOLDER must be {_ACCEPTED}")
        if self._folder.exists() and not self._folder.is_dir():
            raise ConfigurationError(
                f"CHATKIT_UPLOAD_FOLDER must be {_ACCEPTED}, but there is a file of that name"
            )
        trouble = unwritable(self._folder)
        if trouble:
            raise ConfigurationError(f"CHATKIT_UPLOAD_FOLDER must be {_ACCEPTED}, but {trouble}")

    def write(self, key: str, source: _Counted) -> tuple[int, bytes]:
        self._folder.mkdir(mode=self._folder_mode, parents=True, exist_ok=True)
        part = self._folder / f".{key}.{secrets.token_hex(8)}.part"
        part.touch(mode=self._mode, exist_ok=False)
        try:
            with part.open("wb") as target:
                source.copy(target)
            _place_once(part, self._folder / key)
        finally:
            part.unlink(missing_ok=True)
        return source.size, source.head

    def open(self, key: str) -> BinaryIO:
        return (self._folder / key).open("rb")

    def delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)

    def entries(self) -> Iterator[Entry]:
        try:
            found = os.scandir(self._folder)
        except FileNotFoundError:
            return
        with found:
            for entry in found:
                with suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        yield Entry(entry.name, status.st_mtime, status.st_size)

    def path(self, key: str) -> Path | None:
        """The path of a file."""
        return self._folder / key

    def sign(self, key: str, seconds: int, mime_type: str, disposition: str) -> str:
        """A path has no signed URL."""
        raise NotImplementedError

    def space(self) -> tuple[int, int] | None:
        """The size of the file system, and its free space, in bytes."""
        there = next(path for path in (self._folder, *self._folder.parents) if path.exists())
        usage = shutil.disk_usage(there)
        return usage.total, usage.free


class _Remote:
    """A folder at a URL of fsspec's."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._core = _fsspec("fsspec.core")
        registry = _fsspec("fsspec.registry")
        for part in url.split("::"):
            protocol = part.partition("://")[0]
            try:
                # Only looks up the driver's class: some instances connect at once.
                registry.get_filesystem_class(protocol)
            except ImportError:
                raise ConfigurationError(
                    f"CHATKIT_UPLOAD_FOLDER is a {protocol}:// URL, whose driver for fsspec is "
                    f"not installed; install it, or set {_ACCEPTED}"
                ) from None
            except ValueError:
                raise ConfigurationError(
                    "CHATKIT_UPLOAD_FOLDER is a URL of a kind that fsspec does not know; it must "
                    f"be {_ACCEPTED}"
                ) from None

    def write(self, key: str, source: _Counted) -> tuple[int, bytes]:
        system, path = self._find(key)
        if system.exists(path):
            raise FileExistsError(key)
        try:
            with _writing(system, path) as target:
                source.copy(target)
        except BaseException:
            # Drivers store what was written so far when a file is closed after an error.
            if system.exists(path):
                system.rm_file(path)
            raise
        return source.size, source.head

    def open(self, key: str) -> BinaryIO:
        system, path = self._find(key)
        return cast("BinaryIO", system.open(path, "rb"))

    def delete(self, key: str) -> None:
        system, path = self._find(key)
        with suppress(FileNotFoundError):
            system.rm_file(path)

    def entries(self) -> Iterator[Entry]:
        system, root = self._system()
        # Some drivers cache listings.
        system.invalidate_cache(root)
        try:
            found = system.ls(root, detail=True)
        except FileNotFoundError:
            return
        for entry in found:
            if entry.get("type") == "file":
                name = entry["name"].rstrip("/").rpartition("/")[2]
                yield Entry(name, _modified(entry), entry.get("size") or 0)

    def path(self, key: str) -> Path | None:  # noqa: ARG002  as of a folder
        """None: the file has no path."""
        return None

    def sign(self, key: str, seconds: int, mime_type: str, disposition: str) -> str:
        """A URL signed by the store."""
        system, path = self._find(key)
        protocols = system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)
        names = next((_SIGNED[one] for one in protocols if one in _SIGNED), ())
        options = dict(zip(names, (mime_type, disposition), strict=False))
        return str(system.sign(path, expiration=seconds, **options))

    def space(self) -> tuple[int, int] | None:
        """None: object stores report no limit."""
        return None

    def _find(self, key: str) -> tuple[Any, str]:
        system, root = self._system()
        return system, f"{root.rstrip('/')}/{key}"

    def _system(self) -> tuple[Any, str]:
        # fsspec caches one per process; a file system does not survive a fork.
        system = TimedSystem(lambda: self._core.url_to_fs(self._url))
        return system, system.root


def _modified(entry: dict[str, Any]) -> float | None:
    """When a file was written; each driver names the field differently."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "modified", "created"):
        value = entry.get(name)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return None


def _is_remote(folder: str) -> bool:
    return "://" in folder and not folder.startswith("file://")


def _local_path(folder: str) -> str:
    if not folder.startswith("file://"):
        return folder
    parts = urlsplit(folder)
    return url2pathname(parts.path) if parts.netloc in ("", "localhost") else ""


def _fsspec(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigurationError(
            "CHATKIT_UPLOAD_FOLDER is a URL, which needs fsspec; install it and the driver of "
            f"that kind of URL, or set {_ACCEPTED}"
        ) from None


def _writing(system: Any, path: str) -> Any:
    try:
        return system.open(path, "wb")
    except FileNotFoundError:
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        return system.open(path, "wb")


def _place_once(part: Path, path: Path) -> None:
    """Give a complete file its name atomically, unless the name is taken."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no hard links.
        if path.exists():
            raise FileExistsError(path.name) from None
        part.rename(path)


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise NotFound("There is no such file.")
    return key


def too_large(limit: int) -> TooLarge:
    """The error for a file that is too large."""
    size = size_text(limit)
    return TooLarge(f"The file is larger than {size}.", refusal="file_too_large", limit=size)
