"""The widget's files, cached for a year under URLs that hold the hash of their content.

Stylesheets, classic scripts and languages have a hash of their own in their name. ES modules import
each other by relative paths, so all of them lie in one directory, the *tree*, which is named after
the hash of them all: ``<tree>/widget/index.js``.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
import threading
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from flask import Request, Response, current_app

from ..errors import NotFound

#: Seconds of a year, which is as long as caches care.
FOREVER = 365 * 86400

FOLDER = Path(__file__).parent.parent / "static"

#: What is text, and gains from being packed. A system's own table of types may be wrong, and then
#: no browser runs the scripts.
_TEXT = {
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
}
#: A path below the folder, in its one spelling, that leads out of it by no way, and is no longer
#: than any system takes.
_NAME = re.compile(r"[\w-][\w.-]{0,99}(/[\w-][\w.-]{0,99}){0,3}", re.ASCII)
#: Lines of comments are for who reads the source, and visitors pay for bytes. Only in files of our
#: own: those of others keep their licences, and say where a line begins.
_COMMENTS = {
    "js": re.compile(
        rb"^ *(?://.*|/\*\*(?:[^*]|\*(?!/))*\*/)\n|/\*\* @type [^*\n]*\*/ ?", re.MULTILINE
    ),
    "css": re.compile(rb"^ */\*.*?\*/\n", re.MULTILINE | re.DOTALL),
}
#: Nor do they pay for indentation, except in scripts with strings of several lines, and for white
#: space and last commas of what each page loads. A test has a parser compare what is left with the
#: source: no string is touched.
_INDENTATION = re.compile(rb"^ +", re.MULTILINE)
_TEMPLATE = re.compile(rb"`[^`]*`")
_SPACED = frozenset({"loader.js"})
_WHITE_SPACE = (
    (re.compile(rb"(\"[^\"]*\"|`[^`]*`)|\s(?=\W)|(?<=\W)\s"), rb"\1"),
    (re.compile(rb",(?=[)\]}])|;(?=\})"), b""),
    (re.compile(rb"(?<=[(,:=?])\((\w+)\)(?==>)"), rb"\1"),
)
#: The folders of ES modules. A change to one file renames the directory that holds them all.
MODULES = ("builtin", "shared", "vendor", "widget")
#: What else the modules load by relative paths.
_BESIDE_MODULES = ("lang",)
_IN_TREE = re.compile(r"(?P<tree>[0-9a-f]{12})/(?P<name>.+)", re.ASCII)
_HASHED = re.compile(r"(?P<stem>.+)\.(?P<hash>[0-9a-f]{12})\.(?P<ending>\w+)", re.ASCII)


@cache
def hashed_name(name: str) -> str:
    """The path of a file with the hash of its content.

    ``loader.js`` is ``loader.0123456789ab.js``, and ``lang/de.json`` is
    ``lang/de.0123456789ab.json``; a module, ``widget/index.js``, lies in today's tree:
    ``0123456789ab/widget/index.js``.
    """
    if is_module(name):
        return f"{tree_hash()}/{name}"
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{_digest(served(name))}.{ending}"


@cache
def tree_hash() -> str:
    """The hash of all modules, and of the files that they load: 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for folder in sorted((*MODULES, *_BESIDE_MODULES)):
        for path in sorted((FOLDER / folder).rglob("*")):
            if path.is_file():
                name = path.relative_to(FOLDER).as_posix()
                digest.update(f"{name}:{_digest(served(name))}\n".encode())
    return digest.hexdigest()[:12]


def is_module(name: str) -> bool:
    """Whether a file is an ES module, which is cached in the tree only."""
    return name.partition("/")[0] in MODULES


def served(name: str) -> bytes:
    """A file's bytes as visitors get them."""
    source = _source(name)
    plain = source.read_bytes()
    if source.suffix == ".json" and name.endswith(".js"):
        return b"export default " + plain
    comments = _COMMENTS.get(name.rpartition(".")[2])
    if comments is None or name.startswith("vendor/"):
        return plain
    code = comments.sub(b"", plain)
    if name.endswith(".js") and any(b"\n" in found for found in _TEMPLATE.findall(code)):
        return code
    code = _INDENTATION.sub(b"", code)
    for pattern, rest in _WHITE_SPACE if name in _SPACED else ():
        code = pattern.sub(rest, code)
    return code


def resolve(filename: str) -> tuple[str, bool]:
    """The file that a path asks for, and whether the path holds the hash of today's content.

    While a new version is rolled out, a page of the old one may ask for the old hash: it gets the
    new file, which it must not keep.
    """
    match = _IN_TREE.fullmatch(filename)
    if match is not None:
        name = match["name"]
        if name.partition("/")[0] not in (*MODULES, *_BESIDE_MODULES) or not _is_file(name):
            return filename, False
        return name, match["tree"] == tree_hash()
    match = _HASHED.fullmatch(filename)
    if match is None:
        return filename, False
    name = f"{match['stem']}.{match['ending']}"
    if is_module(name) or not _is_file(name):
        return filename, False
    return name, hashed_name(name) == filename


def send(request: Request, filename: str, max_age: int | None = None) -> Response:
    """Answer a request for a file, which is cached for a year if its path has today's hash.

    It holds nothing of anybody's, so pages of every origin may load and read it. A path in another
    tree is redirected to today's: all that the module there imports then comes from one tree.

    :param max_age: seconds that a path without a hash is cached; None for asking again each time.
    :raises NotFound: there is no such file.
    """
    name, is_hashed = resolve(filename)
    if not _is_file(name):
        raise NotFound
    if not is_hashed and filename.endswith(f"/{name}"):
        return _share(_redirect(name))
    content = _content(name)
    packed = content.packed if _takes_packed(request) else None
    body = content.plain if packed is None else packed
    response = _share(current_app.response_class(body, mimetype=content.mimetype))
    if content.packed is not None:
        response.vary.add("Accept-Encoding")
    if packed is not None:
        response.content_encoding = "gzip"
    response.set_etag(content.digest if packed is None else f"{content.digest}-gzip")
    kept = response.cache_control
    if is_hashed:
        max_age = FOREVER
    if max_age:
        kept.public = True
        kept.max_age = max_age
    else:
        kept.no_cache = True
    if is_hashed:
        kept.immutable = True
    # A part is one of the plain bytes: who asks for one is not sent packed ones.
    response.make_conditional(request, accept_ranges=packed is None, complete_length=len(body))
    return response


def _redirect(name: str) -> Response:
    # Relative, since a proxy may have taken away a prefix that only the browser knows.
    up = "../" * (name.count("/") + 1)
    response = current_app.response_class(status=307)
    response.location = f"{up}{tree_hash()}/{name}"
    response.cache_control.no_store = True
    return response


def _share(response: Response) -> Response:
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = "*"
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    headers["X-Content-Type-Options"] = "nosniff"
    return response


def _takes_packed(request: Request) -> bool:
    accepted = request.accept_encodings
    packed = accepted.quality("gzip")
    plain = accepted.quality("identity") if "identity" in accepted.values() else 0
    return packed > 0 and packed >= plain and "Range" not in request.headers


def _is_file(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and _source(name).is_file()


def _source(name: str) -> Path:
    # No browser before 2023, and some of 2025, can import JSON: `lang/en.js` is made of
    # `lang/en.json`, and so is each module that is there as JSON only.
    path = FOLDER / name
    data = path.with_suffix(".json")
    return data if path.suffix == ".js" and not path.is_file() and data.is_file() else path


def _digest(plain: bytes) -> str:
    return hashlib.sha256(plain).hexdigest()[:12]


@dataclass(frozen=True)
class _Content:
    """A file in memory.

    :param packed: its bytes in gzip's form; None if that gains nothing.
    """

    mimetype: str
    digest: str
    plain: bytes = field(repr=False)
    packed: bytes | None = field(repr=False)


_reading = threading.Lock()


def _content(name: str) -> _Content:
    # Whoever edits a file sees it without starting the server anew.
    changed = _source(name).stat().st_mtime_ns
    # Threads that come at once wait for the one that packs.
    with _reading:
        return _read(name, changed)


@lru_cache(maxsize=256)
def _read(name: str, _changed: int) -> _Content:
    plain = served(name)
    mimetype = _TEXT.get(name.rpartition(".")[2])
    packed = None if mimetype is None else gzip.compress(plain, 9, mtime=0)
    return _Content(
        mimetype or mimetypes.guess_type(name)[0] or "application/octet-stream",
        _digest(plain),
        plain,
        packed if packed is not None and len(packed) < len(plain) else None,
    )
