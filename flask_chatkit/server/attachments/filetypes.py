"""The type and the name of an uploaded file, and the headers with which it is sent.

A type claimed by a browser is a hint; the first bytes decide. Nothing that a browser would execute
(HTML, SVG, scripts, styles) keeps its own type.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import puremagic
from werkzeug.http import dump_options_header

from ...errors import BadRequest, ConfigurationError

UNKNOWN = "application/octet-stream"
PLAIN = "text/plain"
ZIP = "application/zip"

#: Raster images, which browsers may display.
INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})

#: Exact signatures; they alone decide what is displayed, and some are plain ASCII.
_SIGNATURES: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBPVP8", re.DOTALL), "image/webp"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"\{\\rtf"), "application/rtf"),
)

#: Text types that no browser executes, by suffix.
_TEXT_SUFFIXES = {
    ".csv": "text/csv",
    ".ics": "text/calendar",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".ndjson": "application/x-ndjson",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".txt": PLAIN,
    ".vcf": "text/vcard",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
_TEXT_TYPES = frozenset(_TEXT_SUFFIXES.values())
_JSON_TYPES = frozenset({"application/json", "application/x-ndjson"})

#: Aliases of types.
_ALIASES = {
    "application/x-gzip": "application/gzip",
    "application/x-pdf": "application/pdf",
    "application/x-yaml": "application/yaml",
    "application/x-zip-compressed": ZIP,
    "audio/mp3": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/x-ms-bmp": "image/bmp",
    "text/x-markdown": "text/markdown",
    "text/yaml": "application/yaml",
}
#: Types that share a container format, and so a signature.
_KIN = (
    frozenset({"image/heif", "image/heic"}),
    frozenset({"video/mp4", "audio/mp4", "video/quicktime"}),
    frozenset({"video/webm", "audio/webm", "video/x-matroska", "application/x-matroska"}),
    frozenset({"audio/ogg", "video/ogg", "application/ogg"}),
)

#: https://mimesniff.spec.whatwg.org/#binary-data-byte
_BINARY = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
#: https://mimesniff.spec.whatwg.org/#identifying-a-resource-with-an-unknown-mime-type, and SVG.
_MARKUP = re.compile(
    r"[\ufeff\s]*<(?:!--|\?xml\b|(?:!doctype|html|head|body|script|style|iframe|svg|math|title|h1"
    r"|div|font|table|a|b|br|p)(?![\w-]))",
    re.IGNORECASE,
)

_NAME = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,99}"
_TYPE = re.compile(rf"{_NAME}/{_NAME}")
_PATTERN = re.compile(rf"\*/\*|{_NAME}/(?:\*|{_NAME})")
_SUFFIX = re.compile(r"\.[^\s./\\]+(?:\.[^\s./\\]+)*")

#: Characters that change the direction of text and so disguise a name.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_LONGEST_NAME = 255


def clean_name(name: str | None) -> str:
    """A file name that is safe to display and send: no folder, nothing invisible, never empty."""
    # The end, because it has the suffix. Normalising takes quadratic time, so it is cut first.
    text = unicodedata.normalize("NFC", (name or "")[-4 * _LONGEST_NAME :])
    text = "".join(
        char
        for char in text
        if char not in _BIDI and unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
    )
    text = re.split(r"[/\\]", text)[-1].strip()
    if not text.strip(". "):
        return "file"
    stem, dot, suffix = text.rpartition(".")
    if len(text) > _LONGEST_NAME and dot and len(suffix) < 32:
        return stem[: _LONGEST_NAME - len(suffix) - 1] + dot + suffix
    return text[:_LONGEST_NAME]


def clean_type(claimed: str | None) -> str:
    """A claimed MIME type without its parameters; ``application/octet-stream`` for none."""
    kind = (claimed or "").partition(";")[0].strip().lower()
    return _ALIASES.get(kind, kind) if _TYPE.fullmatch(kind) else UNKNOWN


def declared_type(name: str, claimed: str | None) -> str:
    """The type of a file that was announced, before its bytes are uploaded.

    :param name: its name. For text its suffix is better than a browser's claim, which is
        ``application/vnd.ms-excel`` for CSV where Excel is installed, and empty for Markdown.
    """
    kind = clean_type(claimed)
    if kind in _TEXT_TYPES and kind != PLAIN:
        return kind
    return _TEXT_SUFFIXES.get(_suffix(name), kind)


def sniff(head: bytes, name: str, claimed: str | None) -> str:
    """Detect a MIME type from the first bytes; the claim only chooses among matching types.

    Text keeps the claimed type if no browser executes it; HTML, SVG, XML and scripts become
    ``text/plain``. Unknown types are ``application/octet-stream``.

    :param head: the first bytes, up to :data:`~.files.HEAD`.
    :param name: the file's name, whose suffix is another hint.
    """
    for signature, kind in _SIGNATURES:
        if signature.match(head):
            return kind
    hint = declared_type(name, claimed)
    text = _text(head)
    # Old programs write single-byte encodings: accepted if name or claim says that it is text.
    if text is None and hint in _TEXT_TYPES:
        text = _without_binary(head.decode("latin-1"))
    if text is not None:
        return _text_type(text, hint)
    return _binary_type(head, _suffix(name), clean_type(claimed))


class Accept:
    """Which files are accepted, as in ChatKit's ``composer.attachments.accept``.

    :param accept: suffixes by MIME type (``image/*`` and ``*/*`` too); no suffix: any. None: all.
        Files of no known signature are ``application/octet-stream``: name that for a format of
        your own.
    :raises ConfigurationError: a type or suffix is not of the accepted form.
    """

    def __init__(self, accept: Mapping[str, Sequence[str]] | None) -> None:
        self._accept: dict[str, tuple[str, ...]] | None = None
        if accept is None:
            return
        self._accept = {}
        for each, listed in accept.items():
            pattern, suffixes = each.lower(), tuple(suffix.lower() for suffix in listed)
            if not _PATTERN.fullmatch(pattern) or not all(map(_SUFFIX.fullmatch, suffixes)):
                raise ConfigurationError(
                    "accept must map MIME types to lists of suffixes, such as "
                    f"{{'image/*': ['.png', '.jpg']}}, not {pattern!r}: {list(suffixes)!r}"
                )
            self._accept[_ALIASES.get(pattern, pattern)] = suffixes

    def check(self, kind: str, name: str) -> None:
        """Check a sniffed type and the name's suffix.

        :raises BadRequest: such files are not accepted.
        """
        if self._accept is not None and not self._allows(self._accept, kind, name):
            raise self._refusal(self._accept)

    def check_declared(self, kind: str, name: str) -> None:
        """Check an announced type; where the browser knows none, the suffix is enough.

        :raises BadRequest: such files are not accepted.
        """
        if self._accept is None or self._allows(self._accept, kind, name):
            return
        if kind == UNKNOWN and any(_ends(name, each) for each in self._accept.values()):
            return
        raise self._refusal(self._accept)

    @staticmethod
    def _allows(accept: Mapping[str, tuple[str, ...]], kind: str, name: str) -> bool:
        for pattern, suffixes in accept.items():
            if _matches(pattern, kind) and (not suffixes or _ends(name, suffixes)):
                return True
            # Markdown that begins with HTML is detected as plain text.
            if kind == PLAIN and pattern in _TEXT_TYPES and _ends(name, suffixes):
                return True
        return False

    @staticmethod
    def _refusal(accept: Mapping[str, tuple[str, ...]]) -> BadRequest:
        accepted = dict.fromkeys(
            each for pattern, suffixes in accept.items() for each in (suffixes or (pattern,))
        )
        return BadRequest(
            "Files of this kind are not accepted here"
            + (f"; accepted are {', '.join(accepted)}." if accepted else "."),
            refusal="file_refused",
        )


def disposition(name: str, *, inline: bool) -> str:
    """A ``Content-Disposition`` with the name in ASCII, and in full as in RFC 8187."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    plain = re.sub(r'["\\%]', "_", plain).strip()
    if not plain.rpartition(".")[0].strip():
        plain = f"file{plain}" if plain.startswith(".") else plain or "file"
    options = {"filename": plain}
    if plain != name:
        options["filename*"] = f"UTF-8''{quote(name, safe='')}"
    return dump_options_header("inline" if inline else "attachment", options)


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2].lower() if "." in name else ""


def _ends(name: str, suffixes: Iterable[str]) -> bool:
    return any(name.lower().endswith(suffix) for suffix in suffixes)


def _matches(pattern: str, kind: str) -> bool:
    return pattern in ("*/*", kind, kind.partition("/")[0] + "/*")


def _text(head: bytes) -> str | None:
    """Decode UTF-8 or, with a byte order mark, UTF-16; None for anything else."""
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    # Incremental: the head may end within a character.
    decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8")()
    try:
        return _without_binary(decoder.decode(head))
    except UnicodeDecodeError:
        return None


def _without_binary(text: str) -> str | None:
    return None if _BINARY.search(text) else text


def _text_type(text: str, hint: str) -> str:
    if hint not in _TEXT_TYPES or _MARKUP.match(text):
        return PLAIN
    if hint in _JSON_TYPES and not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return PLAIN
    return hint


def _binary_type(head: bytes, suffix: str, claimed: str) -> str:
    if _MARKUP.match(head.decode("latin-1")):
        return UNKNOWN
    try:
        # Without the file's name: puremagic 2 would open a local file of that name.
        found = puremagic.magic_string(head)
    except puremagic.PureError:
        return UNKNOWN
    # A negative offset counts from the end of the file, which is not available.
    found = [match for match in found if match.offset >= 0]
    known = [(match, clean_type(match.mime_type)) for match in found]
    known = [(match, kind) for match, kind in known if _is_harmless(kind)]
    if any(claimed == kind or _are_kin(claimed, kind) for _, kind in known):
        return claimed
    for match, kind in known:
        if suffix and match.extension.lower().lstrip(".") == suffix[1:]:
            return kind
    if head.startswith(b"PK\x03\x04"):
        return ZIP
    # Without a hint only the best match counts, and matches of two bytes are chance.
    if known and known[0][0] is found[0] and found[0].confidence >= 0.3:
        return known[0][1]
    return UNKNOWN


def _are_kin(one: str, other: str) -> bool:
    return any(one in kin and other in kin for kin in _KIN)


def _is_harmless(kind: str) -> bool:
    """Whether a type of puremagic's is binary data and nothing that a browser executes."""
    family, _, name = kind.partition("/")
    return (
        family in ("application", "audio", "font", "image", "video")
        and kind not in INLINE
        and kind not in (UNKNOWN, "application/xml")
        and not name.endswith(("+xml", "html", "script"))
    )
