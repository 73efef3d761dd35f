"""``CHATKIT_UPLOAD_QUOTA``: bytes of files from one visitor, from one address, and in all."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from .validation import is_none, record, refuse

_UNITS = {"": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_SIZE = re.compile(r"(\d{1,15}) ?(|[KMGT]B)", re.IGNORECASE)
_PART = re.compile(r"\s*(\w+)\s*[=:]\s*([^=:,;]+?)\s*(?:[,;]|$)")
_FORM = "visitor=100MB, address=500MB, total=10GB"


@dataclass(frozen=True)
class UploadQuota:
    """Bytes of files; None for no limit.

    :param visitor: of one visitor, a day.
    :param address: of all anonymous visitors of one address, a day.
    :param total: of all files in ``CHATKIT_UPLOAD_FOLDER``.
    """

    visitor: int | None = 100 * 2**20
    address: int | None = 500 * 2**20
    total: int | None = 10 * 2**30


def upload_quota(key: str, value: object) -> UploadQuota:
    """Read a quota: a mapping, or a string such as ``visitor=100MB, total=10GB``.

    ``none`` and an empty string are no limit. What is not named keeps its default.

    :raises Invalid: names each part that is wrong.
    """
    if isinstance(value, UploadQuota):
        return value
    names = [item.name for item in fields(UploadQuota)]
    if is_none(value):
        return UploadQuota(**dict.fromkeys(names))
    if isinstance(value, str):
        rest = _PART.sub("", value).strip()
        if rest:
            refuse(key, f"parts such as {_FORM}; a part of it has no name or no size")
        value = dict(_PART.findall(value))
    if not isinstance(value, Mapping):
        refuse(key, f"a string or a mapping such as {_FORM}", value)
    return UploadQuota(**record(dict.fromkeys(names, _size))(key, value))


def _size(name: str, value: object) -> int | None:
    if is_none(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        refuse(name, "a size above 0 such as 100MB, or none; units are KB, MB, GB, TB", value)
    return int(match[1]) * _UNITS[match[2].upper()]


def size_text(size: int) -> str:
    """A readable number of bytes: ``10 MB``, ``1.5 KB``, ``12 bytes``."""
    for name, unit in reversed(_UNITS.items()):
        if name and size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"


def time_text(seconds: int) -> str:
    """A readable duration: ``2 hours``, ``1 minute``."""
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        count = math.ceil(seconds / size)
        if seconds >= size:
            return f"{count} {name}" + ("s" if count > 1 else "")
    return "a moment"
