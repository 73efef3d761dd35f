"""``CHATKIT_UPLOAD_QUOTA``: how many bytes of files a visitor, an address and all may bring."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NoReturn

from .errors import ConfigurationError

_UNITS = {"": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_SIZE = re.compile(r"(\d{1,15}) ?(|[KMGT]B)", re.IGNORECASE)
_PART = re.compile(r"\s*(\w+)\s*[=:]\s*([^=:,;]+?)\s*(?:[,;]|$)")
_FORM = "visitor=100MB, address=500MB, total=10GB, each of them a size or none"


@dataclass(frozen=True)
class UploadQuota:
    """Bytes of files; None for as many as anybody likes.

    :param visitor: of one visitor, a day.
    :param address: of all anonymous visitors of one address, a day.
    :param total: of all that is kept in ``CHATKIT_UPLOAD_FOLDER``.
    """

    visitor: int | None = 100 * 2**20
    address: int | None = 500 * 2**20
    total: int | None = 10 * 2**30


def upload_quota(key: str, value: object) -> UploadQuota:
    """Read a quota: a mapping, or a text such as ``visitor=100MB, total=10GB``; or ``none``.

    What is not named keeps its default.

    :raises ConfigurationError: it is not of that form.
    """
    if isinstance(value, UploadQuota):
        return value
    names = [item.name for item in fields(UploadQuota)]
    if isinstance(value, str):
        if value.strip().lower() == "none":
            return UploadQuota(**dict.fromkeys(names))
        parts = _PART.findall(value)
        if _PART.sub("", value):
            _wrong(key)
        value = dict(parts)
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        _wrong(key)
    return UploadQuota(**{name: _size(key, size) for name, size in value.items()})


def _size(key: str, value: object) -> int | None:
    if value is None or (isinstance(value, str) and value.lower() == "none"):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        _wrong(key)
    return int(match[1]) * _UNITS[match[2].upper()]


def size_text(size: int) -> str:
    """A number of bytes for people: ``10 MB``, ``1.5 KB``, ``12 bytes``."""
    for name, unit in reversed(_UNITS.items()):
        if name and size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"


def time_text(seconds: int) -> str:
    """Some time, as people say it: ``2 hours``, ``1 minute``."""
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        count = math.ceil(seconds / size)
        if seconds >= size:
            return f"{count} {name}" + ("s" if count > 1 else "")
    return "a moment"


def _wrong(key: str) -> NoReturn:
    raise ConfigurationError(f"{key} must be sizes such as {_FORM}")
