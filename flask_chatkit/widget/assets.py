"""The widget's files, served for ever under names that hold their content's hash."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

#: Seconds of a year, which is as long as caches care.
FOREVER = 365 * 86400

FOLDER = Path(__file__).parent.parent / "static"
_HASHED = re.compile(r"(?P<stem>[\w.-]+)\.(?P<hash>[0-9a-f]{12})\.(?P<ending>\w+)")


@cache
def hashed_name(name: str) -> str:
    """The name of a file with its content's hash: ``loader.js`` is ``loader.0123456789ab.js``."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{digest}.{ending}"


def resolve(filename: str) -> tuple[str, bool]:
    """The file that a name asks for, and whether the name holds the hash of its content.

    While a new version is rolled out, a page of the old one may ask for the old hash: it gets the
    new file, which it must not keep.
    """
    match = _HASHED.fullmatch(filename)
    if match is None:
        return filename, False
    name = f"{match['stem']}.{match['ending']}"
    if not (FOLDER / name).is_file():
        return filename, False
    return name, hashed_name(name) == filename
