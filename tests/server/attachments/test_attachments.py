"""Attachments: what is too large, foreign, disguised or tampered with is told from what is good."""

from __future__ import annotations

import asyncio
import io
import os
import random
import stat
import string
import struct
import sys
import threading
import uuid
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
from chatkit.server import ChatKitServer
from chatkit.store import NotFoundError, Store
from chatkit.types import Attachment, AttachmentCreateParams, FileAttachment, ImageAttachment
from fsspec.registry import known_implementations
from pydantic import AnyUrl
from werkzeug.http import parse_options_header

from flask_chatkit.errors import BadRequest, ConfigurationError, NotFound, TooLarge
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server.attachments.files import HEAD, Files, size_text
from flask_chatkit.server.attachments.filetypes import (
    INLINE,
    PLAIN,
    UNKNOWN,
    Accept,
    _is_harmless,
    clean_name,
    clean_type,
    declared_type,
    sniff,
)
from flask_chatkit.server.attachments.links import Links
from flask_chatkit.server.attachments.store import Attachments, Served, Written, headers_for
from flask_chatkit.server.context import ChatContext, owner_of

NOW = 1_800_000_000


def png() -> bytes:
    """A whole picture of one red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def office(folder: str) -> bytes:
    """The outline of an Office file, as zip programs write it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(f"{folder}/document.xml", "<document/>")
    return packed.getvalue()


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


PNG = png()
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xdb\0\x43" + b"\1" * 64 + b"\xff\xd9"
GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
WEBP = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0"
AVIF = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 32
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 32
MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 32
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"
HTML = b"<!DOCTYPE html><html><script>alert(document.domain)</script></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
XML = b'<?xml version="1.0"?><x:html xmlns:x="http://www.w3.org/1999/xhtml"><x:script/></x:html>'
CSV = "name,price\nLärche,12\n"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class DictStore(Store[ChatContext]):
    """Attachments in a dict, each of its owner; they come back with signed links."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self.kept: dict[str, tuple[str, str, bytes]] = {}

    async def save_attachment(self, attachment: Attachment, context: ChatContext) -> None:
        kind = type(attachment)
        self.kept[attachment.id] = (
            owner_of(context),
            kind.__name__,
            attachment.model_dump_json().encode(),
        )

    async def load_attachment(self, attachment_id: str, context: ChatContext) -> Attachment:
        owner, kind, data = self.kept.get(attachment_id, ("", "", b""))
        if owner != owner_of(context):
            raise NotFoundError(attachment_id)
        model = {"FileAttachment": FileAttachment, "ImageAttachment": ImageAttachment}[kind]
        return self.links.sign_links(model.model_validate_json(data), context)

    async def delete_attachment(self, attachment_id: str, context: ChatContext) -> None:
        await self.load_attachment(attachment_id, context)
        del self.kept[attachment_id]

    async def _unused(self, *args: Any, **more: Any) -> Any:
        raise AssertionError("only attachments are stored here")

    load_thread = save_thread = load_thread_items = load_threads = _unused
    add_thread_item = save_item = load_item = delete_thread = delete_thread_item = _unused


class Server(ChatKitServer[ChatContext]):
    """The package's own server, which answers nothing."""

    async def respond(self, *args: Any) -> Any:
        raise AssertionError("nobody says anything here")
        yield


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@dataclass
class Site:
    """The parts as a site puts them together."""

    attachments: Attachments
    links: Links
    files: Files
    store: DictStore
    clock: Clock
    folder: str

    def names(self) -> list[str]:
        """Whatever is stored, the unfinished included."""
        if "://" not in self.folder:
            return listed(Path(self.folder)) if Path(self.folder).exists() else []
        system, root = fsspec.core.url_to_fs(self.folder)
        if not system.exists(root):
            return []
        return sorted(each.rpartition("/")[2] for each in system.ls(root, detail=False))

    def upload(
        self,
        data: bytes,
        name: str | None = "file.bin",
        claimed: str | None = "application/octet-stream",
        who: ChatContext | None = None,
    ) -> Attachment:
        """A direct upload as the view does it."""
        kept = self.attachments.write(io.BytesIO(data))
        return run(self.attachments.receive(kept, name, claimed, who or ADA))

    def announce(
        self, data: bytes, name: str, claimed: str, who: ChatContext | None = None, size: int = -1
    ) -> Attachment:
        """The first phase, as the package's server does it."""
        params = AttachmentCreateParams(
            name=name, size=len(data) if size == -1 else size, mime_type=claimed
        )

        async def announce() -> Attachment:
            made = await self.attachments.create_attachment(params, who or ADA)
            await self.store.save_attachment(made, who or ADA)
            return made

        return run(announce())

    def fill(self, attachment_id: str, data: bytes, who: ChatContext | None = None) -> Attachment:
        """The second phase as the view does it."""
        expected = run(self.attachments.load_pending(attachment_id, who or ADA))
        kept = self.attachments.write(io.BytesIO(data), expected)
        return run(self.attachments.complete(kept, who or ADA))

    def serve(self, attachment_id: str, who: ChatContext | None = None) -> Served:
        """What the view answers with."""
        return run(self.attachments.open_for(attachment_id, who or ADA))


MakeSite = Callable[..., Site]

run = asyncio.run


def context(user: str, chat: str = "default") -> ChatContext:
    return ChatContext(visitor=Visitor.login(user), chat=chat, url="https://shop.test/chatkit/")


ADA, BOB = context("ada"), context("bob")
ADA_ELSEWHERE = context("ada", "sales")


@pytest.fixture(params=["folder", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for files: a folder that is not there yet, and one of fsspec's."""
    if request.param == "folder":
        return str(tmp_path / "instance" / "uploads")
    return f"memory://uploads-{uuid.uuid4().hex}"


@pytest.fixture
def make_site(folder: str) -> MakeSite:
    """Make sites on that place."""

    def make(max_bytes: int = 1000, **more: Any) -> Site:
        clock = Clock()
        files, links = Files(folder, max_bytes), Links([b"key"], "chatkit", clock=clock)
        store = DictStore(links)
        attachments = Attachments(files, links, store, **more)
        return Site(attachments, links, files, store, clock, folder)

    return make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()


class Broken(io.RawIOBase):
    """A visitor who goes away after some bytes."""

    def __init__(self, good: int) -> None:
        self.left = good

    def read(self, size: int = -1, /) -> bytes:
        if not self.left:
            raise ConnectionResetError("the visitor went away")
        some = min(self.left, size, 100)
        self.left -= some
        return b"x" * some


class Endless:
    """A stream that says it is short and never ends; counts what was taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        self.taken += size
        return b"x" * size


# Files


def test_bytes_come_back(site: Site) -> None:
    """What was written is read, whole and as a stream, with its size and its head."""
    data = random.Random(1).randbytes(300_000)
    files = Files(site.folder, 1_000_000)
    assert files.write("atc_1", io.BytesIO(data)) == (len(data), data[:HEAD])
    assert files.read("atc_1") == data
    with files.open("atc_1") as file:
        assert file.read(10) == data[:10]
        assert file.read() == data[10:]
    assert site.names() == ["atc_1"]


def test_short_reads_make_a_whole_file(site: Site) -> None:
    """A stream that gives a few bytes at a time arrives whole, and so does its head."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    assert site.files.write("a", Slow(PNG + PDF)) == (len(PNG + PDF), PNG + PDF)
    assert site.files.read("a") == PNG + PDF


def test_exactly_the_limit_is_enough(site: Site) -> None:
    """A file of just the limit is kept; with one byte more nothing is left behind."""
    assert site.files.write("a", io.BytesIO(b"x" * 1000))[0] == 1000
    with pytest.raises(TooLarge, match=r"^413.*The file is larger than 1000 bytes\.$"):
        site.files.write("b", io.BytesIO(b"x" * 1001))
    assert site.names() == ["a"]


def test_endless_stream_ends_at_the_limit(site: Site) -> None:
    """A stream is read to one byte beyond the limit and no further."""
    stream = Endless()
    with pytest.raises(TooLarge):
        site.files.write("a", stream)
    assert stream.taken == 1001
    assert site.names() == []


@pytest.mark.parametrize("good", [0, 1, 100, 999])
def test_broken_stream_leaves_nothing(site: Site, good: int) -> None:
    """When the visitor goes away midway, the error is theirs and no part of the file stays."""
    with pytest.raises(ConnectionResetError):
        site.files.write("a", Broken(good))
    assert site.names() == []


def test_empty_file_is_refused(site: Site) -> None:
    """A file without a byte is refused and not kept."""
    with pytest.raises(BadRequest, match="The file is empty"):
        site.files.write("a", io.BytesIO())
    assert site.names() == []


def test_key_is_written_once(site: Site) -> None:
    """A second file of the same key is refused, and the first one stays."""
    site.files.write("a", io.BytesIO(b"first"))
    with pytest.raises(FileExistsError):
        site.files.write("a", io.BytesIO(b"second"))
    assert site.files.read("a") == b"first"
    assert site.names() == ["a"]


@pytest.mark.parametrize(
    "key", ["", "..", "../a", "a/b", "a\\b", "a\0", ".a", "a.b", "ä", "a" * 129]
)
def test_key_is_no_path(site: Site, key: str) -> None:
    """Only plain ids are keys: nothing else reaches the folder."""
    for act in (site.files.open, site.files.read, site.files.delete):
        with pytest.raises(NotFound):
            act(key)
    with pytest.raises(NotFound):
        site.files.write(key, io.BytesIO(b"x"))
    assert site.names() == []


def test_deleting_twice_is_fine(site: Site) -> None:
    """A deleted file is gone, and deleting it again does no harm."""
    site.files.write("a", io.BytesIO(b"x"))
    site.files.delete("a")
    site.files.delete("a")
    with pytest.raises(NotFound):
        site.files.open("a")
    assert site.names() == []


def test_reading_is_bounded(site: Site) -> None:
    """A file that was kept under a larger limit is not read whole under a smaller one."""
    site.files.write("a", io.BytesIO(b"x" * 500))
    with pytest.raises(TooLarge):
        Files(site.folder, 499).read("a")


def test_folder_is_private(tmp_path: Path) -> None:
    """Nobody else on the machine may look into a folder made here, nor read a file in it."""
    folder = tmp_path / "a" / "uploads"
    before = os.umask(0)
    try:
        Files(str(folder), 10).write("a", io.BytesIO(b"x"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600
    assert (folder / "a").stat().st_nlink == 1


def test_folder_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links files are written, once, all the same."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    files = Files(str(tmp_path), 10)
    files.write("a", io.BytesIO(b"first"))
    with pytest.raises(FileExistsError):
        files.write("a", io.BytesIO(b"second"))
    assert files.read("a") == b"first"
    assert listed(tmp_path) == ["a"]


def test_file_url_is_a_folder(tmp_path: Path) -> None:
    """A file:// URL is the same private folder as its path."""
    files = Files((tmp_path / "with space").as_uri(), 10)
    files.write("a", io.BytesIO(b"x"))
    assert stat.S_IMODE((tmp_path / "with space" / "a").stat().st_mode) == 0o600


def test_one_of_many_writers_wins(tmp_path: Path) -> None:
    """Of writers at the same time one wins, and its bytes are what is read."""
    files = Files(str(tmp_path), 100_000)
    start, won = threading.Barrier(8), []

    def write(letter: bytes) -> None:
        start.wait()
        try:
            files.write("a", io.BytesIO(letter * 90_000))
        except FileExistsError:
            return
        won.append(letter)

    threads = [threading.Thread(target=write, args=(bytes([65 + n]),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert files.read("a") == won[0] * 90_000
    assert listed(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "url",
    [
        "nope://user:hunter2@host/x",
        "relative/folder",
        "",
        "file://user:hunter2@host/x",
        "/with/\0/nul",
        "simplecache::nope://user:hunter2@host/x",
    ],
)
def test_bad_place_is_told_at_the_start(url: str) -> None:
    """A place that can't be is an error that names the key and the form, and no credentials."""
    with pytest.raises(ConfigurationError, match=r"CHATKIT_UPLOAD_FOLDER.*s3://") as caught:
        Files(url, 10)
    assert "hunter2" not in str(caught.value)


def test_missing_driver_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL whose driver is not installed is an error that says so, without credentials."""
    known = {"class": "not_installed_here.FileSystem", "err": "Install it"}
    monkeypatch.setitem(known_implementations, "cloud", known)
    with pytest.raises(
        ConfigurationError, match=r"cloud:// URL, whose driver .* not installed"
    ) as e:
        Files("cloud://user:hunter2@bucket/x", 10)
    assert "hunter2" not in str(e.value)


def test_fsspec_is_needed_for_urls_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fsspec a folder works, and a URL is an error that says what to install."""
    for name in ("fsspec", "fsspec.core", "fsspec.registry"):
        monkeypatch.setitem(sys.modules, name, None)
    Files(str(tmp_path), 10).write("a", io.BytesIO(b"x"))
    with pytest.raises(ConfigurationError, match="which needs fsspec; install it"):
        Files("s3://bucket/x", 10)


def test_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    """A path where a file is can't be the folder."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="a file of that name"):
        Files(str(tmp_path / "file"), 10)


@pytest.mark.parametrize(
    ("size", "told"),
    [(1, "1 bytes"), (1536, "1.5 KB"), (10 * 2**20, "10 MB"), (512 * 2**20, "512 MB")],
)
def test_sizes_are_for_people(size: int, told: str) -> None:
    """A limit is told in the unit that people know."""
    assert size_text(size) == told


# Links


def links(*keys: str, kit: str = "chatkit", clock: Clock | None = None) -> Links:
    return Links([key.encode() for key in keys or ("key",)], kit, clock=clock or Clock())


def test_link_tells_the_visitor() -> None:
    """A link alone tells who may have the attachment, whatever characters the id has."""
    for user in ("ada", "a:b:c", "Zoë 👩‍🔬", "x" * 512):
        token = links().sign("atc_1", context(user), purpose="read")
        assert links().read(token, "atc_1", "default", purpose="read") == context(user).owner


def test_link_is_for_one_thing() -> None:
    """A link to another attachment, chat, purpose or kit is no link."""
    token = links().sign("atc_1", ADA, purpose="read")
    assert links().read(token, "atc_1", "default", purpose="read")
    assert links().read(token, "atc_2", "default", purpose="read") is None
    assert links().read(token, "atc_1", "sales", purpose="read") is None
    assert links().read(token, "atc_1", "default", purpose="write") is None
    assert links(kit="staff").read(token, "atc_1", "default", purpose="read") is None


def test_link_keys_rotate() -> None:
    """A link signed with a fallback key still holds; one of a dropped key does not."""
    token = links("old").sign("atc_1", ADA, purpose="read")
    assert links("old", "new").read(token, "atc_1", "default", purpose="read")
    assert links("new").read(token, "atc_1", "default", purpose="read") is None


def test_link_expires() -> None:
    """A link is good for most of a day, and not after a day."""
    for start in (NOW, NOW + 1, NOW + 21_599, NOW + 40_000):
        clock = Clock()
        clock.now = start
        signing = links(clock=clock)
        token = signing.sign("atc_1", ADA, purpose="write")
        clock.now = start + 86400 * 3 // 4
        assert signing.read(token, "atc_1", "default", purpose="write")
        clock.now = start + 86400
        assert signing.read(token, "atc_1", "default", purpose="write") is None


def test_link_stays_the_same_for_a_while() -> None:
    """Loading a thread again gives the same picture the same URL, so that it is cached."""
    clock = Clock()
    first = links(clock=clock).url("atc_1", ADA)
    clock.now += 600
    assert links(clock=clock).url("atc_1", ADA) == first
    assert first.startswith("https://shop.test/chatkit/attachments/atc_1?link=")


def test_each_changed_character_is_refused() -> None:
    """No link with one character changed, cut, added or doubled is anybody's."""
    token = links().sign("atc_1", ADA, purpose="read")
    alphabet = string.ascii_letters + string.digits + "-_.=+/ \n\0é"
    changed = {token[:at] + char + token[at + 1 :] for at in range(len(token)) for char in alphabet}
    changed |= {token[:at] + char + token[at:] for at in range(len(token) + 1) for char in alphabet}
    changed |= {token[:at] + token[at + 1 :] for at in range(len(token))}
    changed |= {"", ".", token * 2, token.partition(".")[0], "x" * 100_000}
    changed.discard(token)
    assert len(changed) > 10_000
    reader = links()
    good = [each for each in changed if reader.read(each, "atc_1", "default", purpose="read")]
    assert good == []


# Types


@pytest.mark.parametrize(
    ("data", "name", "claimed", "kind"),
    [
        (PNG, "a.png", "image/png", "image/png"),
        (PNG, "a.txt", "text/plain", "image/png"),
        (JPEG, "a.jpg", "image/pjpeg", "image/jpeg"),
        (GIF, "a.gif", "image/gif", "image/gif"),
        (WEBP, "a.webp", "", "image/webp"),
        (AVIF, "a.avif", "video/mp4", "image/avif"),
        (HEIC, "a.heic", "image/heic", "image/heic"),
        (HEIC, "a.heic", "image/png", "image/heif"),
        (MP4, "a.m4a", "audio/x-m4a", "audio/mp4"),
        (MP4, "a", "", "video/mp4"),
        (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", "a.wav", "audio/wave", "audio/wav"),
        (b"ID3\x03\0" + b"\0" * 40, "a.mp3", "audio/mpeg", "audio/mpeg"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "a.gz", "application/x-gzip", "application/gzip"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", "a.bmp", "image/bmp", "image/bmp"),
        (PDF, "a.pdf", "application/pdf", "application/pdf"),
        (PDF, "a.png", "image/png", "application/pdf"),
        (office("word"), "a.docx", DOCX, DOCX),
        (office("xl"), "a.xlsx", "", XLSX),
        (office("any"), "a.zip", "application/x-zip-compressed", "application/zip"),
        (office("any"), "a", "", "application/zip"),
        (b"\x7fELF\2\1\1" + b"\0" * 60, "a.png", "image/png", UNKNOWN),
        (b"\0" * 100, "a.png", "image/png", UNKNOWN),
        (bytes(range(200, 256)) + b"\0", "a.csv", "text/csv", UNKNOWN),
        (bytes(range(200, 256)), "a.png", "image/png", UNKNOWN),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 20, "a.jpg", "image/jpeg", UNKNOWN),
        (b"\0\0\2\0" * 10 + b"TRUEVISION-XFILE.\0", "a.tga", "image/tga", UNKNOWN),
        (b"BM\0\1\2\3", "a", "", UNKNOWN),
    ],
)
def test_bytes_decide_the_type(data: bytes, name: str, claimed: str, kind: str) -> None:
    """A known signature wins over the claim, which only chooses among what it allows."""
    assert sniff(data, name, claimed) == kind


@pytest.mark.parametrize(
    ("text", "name", "claimed", "kind"),
    [
        ("Hello.", "a.txt", "text/plain", "text/plain"),
        ("Hello.", "a", "", "text/plain"),
        (CSV, "a.csv", "text/csv", "text/csv"),
        (CSV, "a.csv", "application/vnd.ms-excel", "text/csv"),
        ("# Hi", "README.md", "", "text/markdown"),
        ("# Hi", "a.txt", "text/x-markdown; charset=UTF-8", "text/markdown"),
        ('\ufeff {"a": 1}', "a.json", "application/json", "application/json"),
        ("no json", "a.json", "application/json", "text/plain"),
        ("BMW is a car, MZ was a brand, PK is a name", "a.bmp", "image/bmp", "text/plain"),
        ("FORM 10-K", "a.aiff", "audio/aiff", "text/plain"),
        ("alert(1)", "a.js", "text/javascript", "text/plain"),
        ("alert(1)", "a.js", "application/ecmascript", "text/plain"),
        ("body { color: red }", "a.css", "text/css", "text/plain"),
        ("x", "a.html", "text/html", "text/plain"),
        ("x", "a.txt", "text/plain\r\nX-Evil: 1", "text/plain"),
        ("From: x\n\nhi", "a.eml", "message/rfc822", "text/plain"),
    ],
)
def test_text_keeps_a_harmless_type(text: str, name: str, claimed: str, kind: str) -> None:
    """Text is what it is claimed to be where no browser runs that, else plain text."""
    assert sniff(text.encode(), name, claimed) == kind


@pytest.mark.parametrize("claimed", ["text/html", "image/svg+xml", "text/csv", "image/png", ""])
@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.csv", "a.png", "a"])
def test_markup_is_never_its_own_type(name: str, claimed: str) -> None:
    """HTML, SVG and XML are plain text, and in any other encoding no type that a browser runs."""
    commented = b"<!-- x -->" + SVG
    for data in (HTML, SVG, XML, b"\xef\xbb\xbf \r\n\t" + HTML.lower(), commented, b"<p>x"):
        assert sniff(data, name, claimed) == PLAIN
    for data in (HTML.decode().encode("utf-16"), HTML.decode().encode("utf-16-be"), HTML + b"\xff"):
        assert sniff(data, name, claimed) in (PLAIN, UNKNOWN)
    for data in (HTML + b"\0", SVG + b"\0\xff", XML + b"\0"):
        assert sniff(data, name, claimed) in (PLAIN, UNKNOWN)
        assert sniff(data, name, "application/x-quicktime-media-link") == UNKNOWN


def test_types_that_browsers_run_are_never_taken_over() -> None:
    """Whatever the library of signatures says, these are not called by their own type."""
    for kind in ("text/html", "text/javascript", "image/svg+xml", "application/xhtml+xml"):
        assert not _is_harmless(kind)
    for kind in ("application/xml", "application/javascript", "message/rfc822", "image/png", ""):
        assert not _is_harmless(kind)
    for kind in (DOCX, "application/pdf", "video/mp4", "font/woff2", "image/tiff"):
        assert _is_harmless(kind)


def test_polyglot_is_what_it_begins_with() -> None:
    """A GIF that is HTML or a script as well is a GIF, though it be all text."""
    assert sniff(GIF + HTML, "a.html", "text/html") == "image/gif"
    assert sniff(b"GIF89a=1;/*" + HTML + b"*/alert(1)", "a.js", "text/javascript") == "image/gif"


def test_long_and_old_texts_are_texts() -> None:
    """Text is told though the head ends within a character, and in the encodings of Excel."""
    assert sniff(("x" + "ä" * HEAD).encode()[:HEAD], "a.csv", "text/csv") == "text/csv"
    assert sniff(CSV.encode("utf-16"), "a.csv", "text/csv") == "text/csv"
    assert sniff(CSV.encode("cp1252"), "a.csv", "application/vnd.ms-excel") == "text/csv"
    assert sniff(CSV.encode("cp1252"), "a.xls", "application/vnd.ms-excel") == UNKNOWN


def test_random_bytes_are_never_shown_in_place() -> None:
    """Whatever is claimed of random bytes, they are no picture and nothing that a browser runs."""
    chance = random.Random(7)
    for _ in range(100):
        data = chance.randbytes(200)
        for claimed in ("text/html", "image/svg+xml", "image/png", "application/xhtml+xml"):
            kind = sniff(data, "a.html", claimed)
            assert kind not in INLINE
            assert not kind.startswith("text/")
            assert "xml" not in kind


def test_file_of_the_same_name_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor's file name never makes the server look at a file of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.zip").write_bytes(office("word"))
    assert sniff(b"\0\1\2\3\xff", "secret.zip", "") == UNKNOWN


# Names


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("report.pdf", "report.pdf"),
        ("Übersicht 2026.pdf", "Übersicht 2026.pdf"),
        ("U\u0308bersicht.pdf", "Übersicht.pdf"),
        ("👩‍🔬.png", "👩‍🔬.png"),
        ("../../x", "x"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x", "x"),
        ("C:\\Users\\ada\\x.txt", "x.txt"),
        ("a\0.txt", "a.txt"),
        ("a\r\nSet-Cookie: x=y.txt", "aSet-Cookie: x=y.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\u2066a\u2069\u200f\ufeff.txt", "a.txt"),
        ("a\u2028b\ud800.txt", "ab.txt"),
        ("  a.txt \t", "a.txt"),
        (".gitignore", ".gitignore"),
        ("", "file"),
        (None, "file"),
        ("..", "file"),
        (". .", "file"),
        ("x/", "file"),
        ("\u202e\0", "file"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("x" * 300, "x" * 255),
        ("." + "x" * 300, "." + "x" * 254),
    ],
)
def test_names_are_clean(name: str | None, clean: str) -> None:
    """A name has no folder, nothing invisible, 1 to 255 characters."""
    assert clean_name(name) == clean


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.txt", "attachment; filename=a.txt"),
        ("a b.txt", 'attachment; filename="a b.txt"'),
        ("Ü.txt", "attachment; filename=U.txt; filename*=UTF-8''%C3%9C.txt"),
        ("日本.txt", "attachment; filename=file.txt; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt"),
        ("日本", "attachment; filename=file; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
        ('a";x=".txt', "attachment; filename=\"a_;x=_.txt\"; filename*=UTF-8''a%22%3Bx%3D%22.txt"),
        ("50%41.txt", "attachment; filename=50_41.txt; filename*=UTF-8''50%2541.txt"),
        (".env", "attachment; filename=file.env; filename*=UTF-8''.env"),
    ],
)
def test_disposition_is_well_formed(name: str, header: str) -> None:
    """A name is told in ASCII for old programs and in full for others, and stays in its place."""
    served = Served(PLAIN, name, 1, False, io.BytesIO)
    assert headers_for(served)["Content-Disposition"] == header
    kind, options = parse_options_header(header)
    assert kind == "attachment"
    assert options["filename"]
    assert set(options) == {"filename"}


# Uploads


def test_direct_upload_is_served_to_its_visitor(site: Site) -> None:
    """A picture that was uploaded comes back, shown in place, by its link and to its visitor."""
    made = site.upload(PNG, "C:\\me\\pixel.png", "image/png")
    assert isinstance(made, ImageAttachment)
    assert (made.name, made.mime_type, made.upload_descriptor) == ("pixel.png", "image/png", None)
    assert made.metadata == {"uploaded": True, "size": len(PNG)}
    address, _, token = str(made.preview_url).partition("?link=")
    assert address == f"https://shop.test/chatkit/attachments/{made.id}"
    assert site.links.read(token, made.id, "default", purpose="read") == ADA.owner

    served = site.serve(made.id)
    assert (served.mime_type, served.name, served.size) == ("image/png", "pixel.png", len(PNG))
    with served.open() as file:
        assert file.read() == PNG
    assert headers_for(served) == {
        "Content-Type": "image/png",
        "Content-Disposition": "inline; filename=pixel.png",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Cache-Control": "private, max-age=3600",
    }
    assert site.names() == [made.id]


@pytest.mark.parametrize(
    ("data", "name", "claimed", "kind"),
    [
        (HTML, "a.html", "text/html", PLAIN),
        (SVG, "a.svg", "image/svg+xml", PLAIN),
        (PDF, "a.png", "image/png", "application/pdf"),
        (HEIC, "a.heic", "image/heic", "image/heic"),
        (b"\0\1\2", "a.png", "image/png", UNKNOWN),
    ],
)
def test_all_else_is_saved_not_shown(
    site: Site, data: bytes, name: str, claimed: str, kind: str
) -> None:
    """What is no picture of pixels is a plain file to save, which no other site may embed."""
    made = site.upload(data, name, claimed)
    assert isinstance(made, FileAttachment)
    headers = headers_for(site.serve(made.id))
    assert headers["Content-Type"] == kind
    assert headers["Content-Disposition"] == f"attachment; filename={name}"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_ids_cannot_be_guessed(site: Site) -> None:
    """An id has 128 random bits, for both ways of uploading."""
    direct, announced = site.upload(PNG), site.announce(PNG, "a.png", "image/png")
    for made in (direct, announced):
        prefix, _, digits = made.id.partition("_")
        assert prefix == "atc"
        assert len(bytes.fromhex(digits)) == 16
    assert direct.id != announced.id


def test_two_phases(site: Site) -> None:
    """An announced file has a link to write to, no bytes, and then the bytes and no such link."""
    announced = site.announce(PNG, "../pixel.png", "image/png")
    assert isinstance(announced, ImageAttachment)
    assert announced.name == "pixel.png"
    assert announced.metadata == {"uploaded": False, "size": len(PNG)}
    descriptor = announced.upload_descriptor
    assert descriptor is not None
    assert (descriptor.method, descriptor.headers) == ("PUT", {"Content-Type": "image/png"})
    address, _, token = str(descriptor.url).partition("?link=")
    assert address == f"https://shop.test/chatkit/attachments/{announced.id}"
    assert site.links.read(token, announced.id, "default", purpose="write") == ADA.owner
    assert site.links.read(token, announced.id, "default", purpose="read") is None
    assert not site.attachments.is_uploaded(announced)
    with pytest.raises(NotFound):
        site.serve(announced.id)
    with pytest.raises(NotFound):
        run(site.attachments.read(announced, ADA))

    filled = site.fill(announced.id, PNG)
    assert filled.id == announced.id
    assert filled.upload_descriptor is None
    assert filled.metadata == {"uploaded": True, "size": len(PNG)}
    assert site.attachments.is_uploaded(filled)
    assert run(site.attachments.read(filled, ADA)) == PNG
    assert site.serve(announced.id).name == "pixel.png"


def test_the_packages_server_does_the_first_phase(site: Site) -> None:
    """The package's own server announces and deletes through these attachments."""
    server = Server(site.store, attachment_store=site.attachments)

    async def ask(body: bytes) -> Any:
        return await server.process(body, ADA)

    params = b'{"name": "a.pdf", "size": %d, "mime_type": "application/pdf"}' % len(PDF)
    answer = run(ask(b'{"type": "attachments.create", "params": %s}' % params))
    assert b'"uploaded"' not in answer.json
    (key,) = site.store.kept
    assert site.fill(key, PDF).mime_type == "application/pdf"
    assert site.names() == [key]
    run(ask(b'{"type": "attachments.delete", "params": {"attachment_id": "%s"}}' % key.encode()))
    assert site.names() == []
    assert site.store.kept == {}


def test_second_write_is_refused(site: Site) -> None:
    """Bytes that have come stay as they are."""
    announced = site.announce(PNG, "a.png", "image/png")
    expected = run(site.attachments.load_pending(announced.id, ADA))
    kept = site.attachments.write(io.BytesIO(PNG), expected)
    with pytest.raises(BadRequest, match="uploaded already"):
        site.attachments.write(io.BytesIO(GIF), expected)
    run(site.attachments.complete(kept, ADA))
    for again in (
        lambda: site.fill(announced.id, GIF),
        lambda: site.attachments.write(io.BytesIO(GIF), expected),
        lambda: run(site.attachments.complete(kept, ADA)),
    ):
        with pytest.raises(BadRequest, match="uploaded already"):
            again()
    assert run(site.attachments.read(announced, ADA)) == PNG


def test_what_came_wins_over_what_was_announced(site: Site) -> None:
    """A file that turns out to be another kind is that kind, under the same id."""
    announced = site.announce(b"x" * 500, "a.png", "image/png")
    filled = site.fill(announced.id, PDF)
    assert isinstance(filled, FileAttachment)
    assert (filled.id, filled.mime_type) == (announced.id, "application/pdf")
    assert filled.metadata == {"uploaded": True, "size": len(PDF)}
    announced = site.announce(b"x" * 500, "a.bin", "")
    assert isinstance(site.fill(announced.id, PNG), ImageAttachment)


def test_thread_of_an_attachment_stays(site: Site) -> None:
    """An attachment that became part of a thread before its bytes came is still part of it."""
    announced = site.announce(PNG, "a.png", "image/png")
    of_thread = announced.model_copy(update={"thread_id": "thr_1"})
    run(site.store.save_attachment(of_thread, ADA))
    assert site.fill(announced.id, PNG).thread_id == "thr_1"


def test_too_large_uploads_are_refused(make_site: MakeSite) -> None:
    """Both ways, a file over the limit is refused with the limit in it and leaves nothing."""
    site = make_site(max_bytes=2 * 2**20)
    told = r"The file is larger than 2 MB\.$"
    with pytest.raises(TooLarge, match=told):
        site.announce(b"", "a.png", "image/png", size=2 * 2**20 + 1)
    with pytest.raises(TooLarge, match=told):
        site.attachments.write(Endless())
    announced = site.announce(b"", "a.bin", "", size=2 * 2**20)
    with pytest.raises(TooLarge, match=told):
        site.attachments.write(Endless(), announced)
    assert site.names() == []


def test_longer_than_announced_is_refused(site: Site) -> None:
    """More bytes than were announced are refused, and the announced file can still come."""
    announced = site.announce(PDF, "a.pdf", "application/pdf")
    with pytest.raises(BadRequest, match="More came than was announced"):
        site.fill(announced.id, PDF + b"x")
    assert site.names() == []
    assert site.fill(announced.id, PDF).mime_type == "application/pdf"


@pytest.mark.parametrize("size", [0, -1])
def test_empty_announcement_is_refused(site: Site, size: int) -> None:
    """Nothing, or less, can't be announced."""
    params = AttachmentCreateParams(name="a", size=size, mime_type="text/plain")
    with pytest.raises(BadRequest, match="empty"):
        run(site.attachments.create_attachment(params, ADA))


def test_broken_uploads_leave_nothing(site: Site) -> None:
    """When the visitor goes away midway nothing stays, and the announced file can still come."""
    with pytest.raises(ConnectionResetError):
        site.attachments.write(Broken(500))
    announced = site.announce(b"x" * 900, "a.txt", "text/plain")
    with pytest.raises(ConnectionResetError):
        site.attachments.write(Broken(500), announced)
    assert site.names() == []
    assert site.fill(announced.id, b"x" * 900).mime_type == PLAIN


def test_bytes_go_when_the_store_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of which the store never learned are removed."""

    async def fail(attachment: Attachment, context: ChatContext) -> None:
        raise OSError("the database is away")

    announced = site.announce(PNG, "a.png", "image/png")
    monkeypatch.setattr(site.store, "save_attachment", fail)
    with pytest.raises(OSError, match="database"):
        site.upload(PNG)
    with pytest.raises(OSError, match="database"):
        site.fill(announced.id, PNG)
    assert site.names() == []


def test_cancelled_upload_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second half is cancelled, or never begun, the bytes are removed."""

    async def hang(attachment: Attachment, context: ChatContext) -> None:
        await asyncio.sleep(60)

    async def cancel(kept: Written) -> None:
        task = asyncio.create_task(site.attachments.receive(kept, "a", "", ADA))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(site.store, "save_attachment", hang)
    run(cancel(site.attachments.write(io.BytesIO(PNG))))
    assert site.names() == []
    site.attachments.discard(site.attachments.write(io.BytesIO(PNG)))
    assert site.names() == []


def test_bytes_stay_out_of_logs(site: Site) -> None:
    """What a visitor uploaded is in no representation that a log might hold."""
    kept = site.attachments.write(io.BytesIO(b"my password is swordfish"))
    assert "swordfish" not in repr(kept)
    made = run(site.attachments.receive(kept, "a.txt", "text/plain", ADA))
    assert "swordfish" not in repr(site.serve(made.id))


# Whose


@pytest.mark.parametrize("who", [BOB, ADA_ELSEWHERE], ids=["visitor", "chat"])
def test_others_find_nothing(site: Site, who: ChatContext) -> None:
    """To another visitor, and in another chat, an attachment is not there."""
    made, announced = site.upload(PNG), site.announce(PNG, "a.png", "image/png")
    with pytest.raises(NotFound):
        site.serve(made.id, who)
    with pytest.raises(NotFound):
        run(site.attachments.read(made, who))
    with pytest.raises(NotFound):
        site.fill(announced.id, PNG, who)
    with pytest.raises(NotFoundError):
        run(site.attachments.delete_attachment(made.id, who))
    assert run(site.attachments.read(made, ADA)) == PNG


def test_foreign_bytes_are_removed(site: Site) -> None:
    """Bytes that were kept for an attachment that is gone do not stay."""
    announced = site.announce(PNG, "a.png", "image/png")
    kept = site.attachments.write(io.BytesIO(PNG), announced)
    run(site.store.delete_attachment(announced.id, ADA))
    with pytest.raises(NotFound):
        run(site.attachments.complete(kept, ADA))
    assert site.names() == []


def test_deleted_attachments_are_forgotten(site: Site) -> None:
    """The bytes of deleted attachments go, also where one of them can't be removed."""
    first, second = site.upload(PNG), site.upload(PDF)
    gone = site.upload(GIF)
    site.files.delete(gone.id)
    odd = first.model_copy(update={"id": "../x"})
    site.files.delete_bytes([odd, gone, first, second])
    assert site.names() == []
    with pytest.raises(NotFound):
        site.serve(first.id).open()


# Presenting


def test_links_are_renewed(site: Site) -> None:
    """An attachment that is loaded a day later has links that work again."""
    made = site.upload(PNG)
    announced = site.announce(PNG, "a.pdf", "application/pdf")
    site.clock.now += 90_000
    fresh = run(site.store.load_attachment(made.id, ADA))
    assert isinstance(fresh, ImageAttachment)
    token = str(fresh.preview_url).partition("?link=")[2]
    assert site.links.read(token, made.id, "default", purpose="read")
    pending = run(site.store.load_attachment(announced.id, ADA))
    assert pending.upload_descriptor is not None
    token = str(pending.upload_descriptor.url).partition("?link=")[2]
    assert site.links.read(token, announced.id, "default", purpose="write")
    assert pending.upload_descriptor.headers == {"Content-Type": "application/pdf"}


def test_attachments_of_others_stay_as_they_are(site: Site) -> None:
    """What a server made before this one keeps its own links, and is not served from here."""
    old = ImageAttachment(
        id="atc_old", name="a", mime_type="image/png", preview_url=AnyUrl("https://cdn.test/a")
    )
    run(site.store.save_attachment(old, ADA))
    assert site.links.sign_links(old, ADA) is old
    assert site.attachments.is_uploaded(old)
    with pytest.raises(NotFound):
        site.serve("atc_old")
    run(site.attachments.delete_attachment("atc_old", ADA))


# What is accepted

IMAGES_AND_TEXT = {
    "image/*": [".png", ".jpg"],
    "application/pdf": [".pdf"],
    "text/csv": [".csv"],
    "text/markdown": [".md"],
}


@pytest.mark.parametrize(
    ("data", "name", "claimed"),
    [
        (PNG, "a.PNG", "image/png"),
        (PDF, "a.pdf", ""),
        (CSV.encode(), "a.csv", "application/vnd.ms-excel"),
        (b"# Hi", "a.md", ""),
        (b'<h1 align="center">Hi</h1>', "README.md", ""),
    ],
)
def test_accepted_files(make_site: MakeSite, data: bytes, name: str, claimed: str) -> None:
    """A file is accepted by what it is and its suffix, whatever the browser makes of it."""
    site = make_site(accept=IMAGES_AND_TEXT)
    assert site.upload(data, name, claimed)
    assert site.fill(site.announce(data, name, claimed).id, data)


@pytest.mark.parametrize(
    ("data", "name", "claimed"),
    [
        (GIF, "a.gif", "image/gif"),
        (PDF, "a.png", "image/png"),
        (HTML, "a.png", "image/png"),
        (HTML, "a.html", "text/html"),
        (PNG, "a.exe", "image/png"),
        (PNG, "png", "image/png"),
        (b"\0\1\2", "a.png", "image/png"),
        (b"\0\1\2", "a.pdf", ""),
    ],
)
def test_refused_files(make_site: MakeSite, data: bytes, name: str, claimed: str) -> None:
    """A file of another kind or suffix is refused both ways, whatever is claimed of it."""
    site = make_site(accept=IMAGES_AND_TEXT)
    told = r"not accepted here; accepted are \.png, \.jpg, \.pdf, \.csv, \.md\.$"
    with pytest.raises(BadRequest, match=told):
        site.upload(data, name, claimed)
    with pytest.raises(BadRequest, match=told):
        site.fill(site.announce(data, name, claimed).id, data)
    assert site.names() == []


def test_announcing_another_kind_is_refused(make_site: MakeSite) -> None:
    """What is not accepted by its own account is refused before a byte comes."""
    site = make_site(accept=IMAGES_AND_TEXT)
    for name, claimed in (("a.gif", "image/gif"), ("a.png", "text/html"), ("a", "")):
        with pytest.raises(BadRequest, match="not accepted"):
            site.announce(PNG, name, claimed)


@pytest.mark.parametrize(
    ("accept", "kind", "name", "good"),
    [
        ({"*/*": []}, UNKNOWN, "a", True),
        ({"image/*": []}, "image/png", "a", True),
        ({"image/*": []}, "application/pdf", "a.png", False),
        ({"IMAGE/PNG": [".PNG"]}, "image/png", "a.png", True),
        ({"image/jpg": [".jpg"]}, "image/jpeg", "a.jpg", True),
        ({UNKNOWN: [".dwg"]}, UNKNOWN, "a.dwg", True),
        ({"application/gzip": [".tar.gz"]}, "application/gzip", "a.gz", False),
        ({"application/gzip": [".tar.gz"]}, "application/gzip", "a.tar.gz", True),
        ({}, "image/png", "a.png", False),
    ],
)
def test_forms_of_accept(
    accept: Mapping[str, Sequence[str]], kind: str, name: str, good: bool
) -> None:
    """Wildcards, any case, several dots and types without a suffix are understood."""
    if good:
        Accept(accept).check(kind, name)
        return
    with pytest.raises(BadRequest, match="not accepted"):
        Accept(accept).check(kind, name)


@pytest.mark.parametrize("accept", [{"png": [".png"]}, {"image/*": ["png"]}, {"*/png": [".png"]}])
def test_malformed_accept_is_told(accept: Mapping[str, Sequence[str]]) -> None:
    """A type or suffix that would accept nothing is an error at the start."""
    with pytest.raises(ConfigurationError, match="accept must map"):
        Accept(accept)


def test_claims_are_only_hints() -> None:
    """A claimed type loses its parameters, and one that is none is unknown."""
    assert clean_type("Text/CSV; charset=utf-8") == "text/csv"
    assert clean_type("image/jpg") == "image/jpeg"
    for claimed in (None, "", "png", "a/b/c", "a/b\r\nX: y", "text/" + "x" * 500, "текст/x"):
        assert clean_type(claimed) == UNKNOWN
    assert declared_type("a.md", None) == "text/markdown"
    assert declared_type("a.png", "image/png") == "image/png"
