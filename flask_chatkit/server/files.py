"""Where the bytes of attachments are: a private folder, or any URL that fsspec understands."""

from __future__ import annotations

import importlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..errors import BadRequest, ConfigurationError, NotFound, TooLarge
from ..startup_checks import unwritable
from .ending_files import EndingSystem

#: Bytes at the beginning of a file that tell what it is; puremagic looks at 36,870.
HEAD = 64 * 1024
_CHUNK = 64 * 1024

#: The form of a key: it becomes the name of a file.
_KEY = re.compile(r"[A-Za-z0-9_]{1,128}")
#: What :func:`~flask_chatkit.server.paging.new_id` names attachments.
_ATTACHMENT = re.compile(r"atc_[0-9a-f]{32}")
_PART = re.compile(r"\.[A-Za-z0-9_]{1,128}\.[0-9a-f]{16}\.part")
_ACCEPTED = "an absolute folder, or a URL for fsspec such as s3://bucket/folder"


class Readable(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most that many bytes; none at the end."""


@dataclass(frozen=True)
class Entry:
    """Something that lies where the files are.

    :param name: its name there.
    :param modified: when it was written last, in Unix seconds; None if the place can't tell.
    """

    name: str
    modified: float | None

    @property
    def is_file(self) -> bool:
        """Whether it has the name of an attachment of ours."""
        return _ATTACHMENT.fullmatch(self.name) is not None

    @property
    def is_part(self) -> bool:
        """Whether it is what an upload that was killed has left."""
        return _PART.fullmatch(self.name) is not None


class Files:
    """Stores files by key, each written once.

    :param folder: an absolute path, made if it is missing, or a URL for fsspec, whose driver
        (``s3fs`` for ``s3://``) the site installs.
    :param max_bytes: bytes of one file, at most.
    :raises ConfigurationError: the folder or URL can't be used; it is not repeated in the message,
        because it may hold credentials.
    """

    def __init__(self, folder: str, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._place: _Place = _Remote(folder) if _is_remote(folder) else _Folder(folder)

    def write(self, key: str, stream: Readable, limit: int | None = None) -> tuple[int, bytes]:
        """Copy a stream, chunk by chunk, and count on the way; a failure leaves nothing behind.

        :param limit: bytes that may come, at most; ``max_bytes`` by default.
        :return: the size in bytes, and the first :data:`HEAD` bytes.
        :raises TooLarge: one byte too many came; nothing is read after it.
        :raises BadRequest: there is not one byte.
        :raises FileExistsError: there is a file of that key.
        """
        limit = self.max_bytes if limit is None else min(limit, self.max_bytes)
        return self._place.write(_checked(key), _Counted(stream, limit))

    def open(self, key: str) -> BinaryIO:
        """A file to read from, which the caller closes.

        :raises NotFound: there is none of that key.
        """
        try:
            return self._place.open(_checked(key))
        except FileNotFoundError:
            raise NotFound("This file is not there any more.") from None

    def read(self, key: str) -> bytes:
        """All bytes of a file.

        :raises NotFound: there is none of that key.
        :raises TooLarge: they are more than ``max_bytes``, which may have been more once.
        """
        with self.open(key) as file:
            data = file.read(self.max_bytes + 1)
        if len(data) > self.max_bytes:
            raise too_large(self.max_bytes)
        return data

    def delete(self, key: str) -> None:
        """Remove a file, if there is one of that key."""
        self._place.delete(_checked(key))

    def entries(self) -> Iterator[Entry]:
        """All that lies in the folder, ours or not.

        :raises OSError: the folder can't be read.
        :raises NotImplementedError: it is a URL of a kind that lists nothing, such as ``https``.
        """
        return self._place.entries()

    def delete_entry(self, entry: Entry) -> None:
        """Remove a file, or what is left of one, if it is still there.

        :raises ValueError: it is not one of ours.
        """
        if not (entry.is_file or entry.is_part):
            raise ValueError("only what has a name that was given here is removed")
        self._place.delete(entry.name)


def size_text(size: int) -> str:
    """A number of bytes for people: ``10 MB``, ``1.5 KB``, ``12 bytes``."""
    for unit, name in ((2**20, "MB"), (2**10, "KB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"


class _Counted:
    """A stream that is counted while it is copied."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self.size = 0
        self.head = b""

    def copy(self, target: BinaryIO) -> None:
        # One byte more than allowed is asked for, and no more: a longer stream is told from it.
        while chunk := self._stream.read(min(_CHUNK, self._limit - self.size + 1)):
            self.size += len(chunk)
            if self.size > self._limit:
                raise too_large(self._limit)
            if len(self.head) < HEAD:
                self.head += chunk[: HEAD - len(self.head)]
            target.write(chunk)
        if not self.size:
            raise BadRequest("The file is empty.", refusal="file_refused")


class _Place(Protocol):
    """Where files are."""

    def write(self, key: str, source: _Counted) -> tuple[int, bytes]: ...
    def open(self, key: str) -> BinaryIO: ...
    def delete(self, key: str) -> None: ...
    def entries(self) -> Iterator[Entry]: ...


class _Folder:
    """A folder of this machine, private to the user who runs the site."""

    def __init__(self, folder: str) -> None:
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
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._folder / f".{key}.{secrets.token_hex(8)}.part"
        part.touch(mode=0o600, exist_ok=False)
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
                        yield Entry(entry.name, entry.stat(follow_symlinks=False).st_mtime)


class _Remote:
    """A place that fsspec reaches."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._core = _fsspec("fsspec.core")
        registry = _fsspec("fsspec.registry")
        for part in url.split("::"):
            protocol = part.partition("://")[0]
            try:
                # Looks the driver up and no more: some connect as soon as they are made.
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
            # Drivers keep what was written so far when a file is closed, whatever the reason.
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
        # What was listed before is remembered by some.
        system.invalidate_cache(root)
        try:
            found = system.ls(root, detail=True)
        except FileNotFoundError:
            return
        for entry in found:
            if entry.get("type") == "file":
                name = entry["name"].rstrip("/").rpartition("/")[2]
                yield Entry(name, _modified(entry))

    def _find(self, key: str) -> tuple[Any, str]:
        system, root = self._system()
        return system, f"{root.rstrip('/')}/{key}"

    def _system(self) -> tuple[Any, str]:
        # Asked for each time: fsspec keeps one per process, and one does not survive a fork.
        system = EndingSystem(lambda: self._core.url_to_fs(self._url))
        return system, system.root


def _modified(entry: dict[str, Any]) -> float | None:
    """When a file was written, which each driver has by a name of its own."""
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
    """Give a complete file its name, all at once, unless the name is taken."""
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
    """The refusal of a file that has more bytes than may come."""
    size = size_text(limit)
    return TooLarge(f"The file is larger than {size}.", refusal="file_too_large", limit=size)
