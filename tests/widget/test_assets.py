"""The widget's files over real HTTP: for ever under their hashes, packed, in parts."""

from __future__ import annotations

import gzip
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from flask import Flask, redirect

from flask_chatkit import ChatKit
from flask_chatkit.widget import assets
from flask_chatkit.widget.assets import FOLDER, hashed_name, is_module, resolve, served, tree_hash
from tests.helpers.sites import MakeApp

NAMES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())
TEXTS = [name for name in NAMES if name.endswith((".js", ".mjs", ".css", ".json", ".svg"))]
TYPES = {
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml; charset=utf-8",
}
STATIC = "/chatkit/static"
BIG = "vendor/purify.mjs"
#: Scripts with strings of several lines, or with backticks in regular expressions.
LONG_STRINGS = {
    "builtin/blocks.js",
    "builtin/cites.js",
    "builtin/code.js",
    "builtin/maths.js",
    "builtin/open.js",
    "builtin/style.js",
    "builtin/styles/finding.js",
    "builtin/styles/writing.js",
    "builtin/textview.js",
    "builtin/widgets/style.js",
    "widget/notices.js",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a folder of files, which stands in the place of the kit's own."""

    def forget() -> None:
        assets.hashed_name.cache_clear()
        assets.tree_hash.cache_clear()
        assets._read.cache_clear()

    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    forget()
    yield tmp_path
    forget()


def get(browse: Any, app: Any, name: str, accepted: str | None = None, **headers: str) -> Any:
    """The answer for a file, as a client that unpacks nothing gets it."""
    browser = browse(app)
    browser.headers.clear()
    given = {"Accept-Encoding": accepted, **headers}
    # http.client adds one of its own where there is none.
    kept = {name.replace("_", "-"): value or "identity" for name, value in given.items()}
    answer = browser.get(f"{STATIC}/{name}", headers=kept, stream=True)
    answer.packed = answer.raw.read(decode_content=False)
    return answer


@pytest.mark.parametrize("name", [name for name in NAMES if not is_module(name)])
def test_file_is_immutable_under_its_hash(browse: Any, app: Flask, name: str) -> None:
    """A hashed name is cached for ever; a plain or outdated one is not, and has the same bytes."""
    stem, _, ending = name.rpartition(".")
    outdated = f"{stem}.000000000000.{ending}"
    for asked, kept in (
        (hashed_name(name), "public, max-age=31536000, immutable"),
        (name, "no-cache"),
        (outdated, "no-cache"),
    ):
        answer = get(browse, app, asked)
        assert answer.status_code == 200
        assert answer.packed == served(name)
        assert answer.headers["Cache-Control"] == kept
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers
        assert "Cookie" not in answer.headers.get("Vary", "")
        assert "Access-Control-Allow-Credentials" not in answer.headers


SHARED_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


def shared(answer: Any) -> bool:
    """Whether pages of every origin may read an answer, and nothing in it belongs to a visitor."""
    headers = answer.headers
    return (
        SHARED_HEADERS.items() <= headers.items()
        and "Set-Cookie" not in headers
        and "Cookie" not in headers.get("Vary", "")
        and "Access-Control-Allow-Credentials" not in headers
    )


def test_modules_are_immutable_in_their_tree(browse: Any, app: Flask, folder: Path) -> None:
    """All modules lie in one directory named after their hash, and what they load beside them."""
    files = {"widget/index.js": "import '../shared/dom.js';", "shared/dom.js": "export {};"}
    files |= {"vendor/marked.mjs": "// MIT\nexport {};", "lang/de.json": "{}"}
    for name, text in files.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    tree = tree_hash()
    assert re.fullmatch("[0-9a-f]{12}", tree)
    for name, text in files.items():
        for asked, kept in (
            (f"{tree}/{name}", "public, max-age=31536000, immutable"),
            (name, "no-cache"),
        ):
            answer = get(browse, app, asked)
            assert answer.status_code == 200
            assert answer.packed == text.encode()
            assert answer.headers["Cache-Control"] == kept
            assert answer.headers["Content-Type"] == TYPES[name.rpartition(".")[2]]
            assert shared(answer)
    assert hashed_name("widget/index.js") == f"{tree}/widget/index.js"
    assert re.fullmatch(r"lang/de\.[0-9a-f]{12}\.json", hashed_name("lang/de.json"))


def test_outdated_tree_leads_to_todays(browse: Any, app: Flask, folder: Path) -> None:
    """A page of the version before is redirected, and all that a module imports is of one tree."""
    for name in ("widget/index.js", "shared/dom.js", "lang/de.json", "loader.js"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    browser = browse(app)
    for name in ("widget/index.js", "lang/de.json"):
        old = f"{STATIC}/000000000000/{name}"
        moved = browser.get(old)
        assert moved.status_code == 307
        assert moved.headers["Cache-Control"] == "no-store"
        assert moved.headers["Location"] == f"../../{tree_hash()}/{name}"
        assert moved.content == b""
        assert shared(moved)
        found = urljoin(old, moved.headers["Location"])
        assert found == f"{STATIC}/{tree_hash()}/{name}"
        answer = browser.get(found)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
    # No other file has an address there, nor a module one of its own.
    for name in (
        f"{tree_hash()}/loader.js",
        "000000000000/loader.js",
        "000000000000/widget/gone.js",
        "000000000000/000000000000/widget/index.js",
        "000000000000/../widget/index.js",
        "widget/index.000000000000.js",
    ):
        assert raw(browser.base, f"GET {STATIC}/{name} HTTP/1.1")[0].startswith("HTTP/1.1 404 ")


@pytest.mark.parametrize("changed", ["widget/index.js", "vendor/marked.mjs", "lang/de.json"])
def test_any_change_is_another_tree(folder: Path, changed: str) -> None:
    """Whatever changes in the tree, or gets another name, moves all of it; nothing else does."""
    for name in ("widget/index.js", "vendor/marked.mjs", "lang/de.json", "loader.js"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("1")
    seen = [tree_hash()]
    for change in (
        lambda: (folder / changed).write_text("2"),
        lambda: (folder / changed).rename(folder / (changed + "x")),
        lambda: (folder / "loader.js").write_text("2"),
    ):
        change()
        assets.tree_hash.cache_clear()
        seen.append(tree_hash())
    assert seen[0] != seen[1] != seen[2] == seen[3]


def test_comments_of_modules_are_not_sent(folder: Path) -> None:
    """Types and other comments stay in our own modules' source; others' modules are sent whole."""
    code = (
        "/**\n * @param {string} a\n */\nfunction f(a) {\n  /** @type {URL} */\n  const b = a;\n"
        "  // Why.\n  return /** @type {any} */ (b);\n}\n"
    )
    for name in ("widget/a.js", "vendor/a.mjs"):
        (folder / name).parent.mkdir()
        (folder / name).write_text(code)
    kept = "function f(a) {\nconst b = a;\nreturn (b);\n}\n"
    assert served("widget/a.js") == kept.encode()
    assert served("vendor/a.mjs") == code.encode()


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_packed_for_who_takes_it(browse: Any, app: Flask, name: str) -> None:
    """Text has its type, and comes packed under an ETag of its own, with Vary and its length."""
    plain, packed = (get(browse, app, hashed_name(name), how) for how in ("identity", "gzip"))
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.packed) == plain.packed == served(name)
    assert len(packed.packed) < len(plain.packed)
    assert packed.packed == gzip.compress(plain.packed, 9, mtime=0)
    for answer in (plain, packed):
        assert answer.headers["Content-Length"] == str(len(answer.packed))
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Content-Type"] == TYPES[name.rpartition(".")[2]]
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert re.fullmatch(r'"[0-9a-f]{12}"', plain.headers["ETag"])
    assert packed.headers["ETag"] == plain.headers["ETag"][:-1] + '-gzip"'


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("gzip, identity", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("br", False),
        ("deflate", False),
        ("identity", False),
        ("x", False),
        (";;q=,,", False),
        ("gzipped", False),
    ],
)
def test_what_is_accepted_decides(browse: Any, app: Flask, accepted: str, is_packed: bool) -> None:
    """Packed is what Accept-Encoding allows, and prefers to what it names beside."""
    answer = get(browse, app, BIG, accepted)
    assert ("Content-Encoding" in answer.headers) is is_packed
    body = answer.packed
    assert (gzip.decompress(body) if is_packed else body) == (FOLDER / BIG).read_bytes()


def raw(base: str, *lines: str) -> tuple[str, bytes]:
    """What is answered to a request as it is written here; head and body."""
    host, port = base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = "\r\n".join([*lines, "Host: x", "Connection: close", "", ""])
        connection.sendall(head.encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    lines_of_head, _, body = answer.partition(b"\r\n\r\n")
    return lines_of_head.decode("latin-1"), body


def test_client_that_says_nothing_gets_plain_bytes(browse: Any, app: Flask) -> None:
    """Without Accept-Encoding, or with an empty one, nothing is packed."""
    base = browse(app).base
    for more in ((), ("Accept-Encoding:",)):
        head, body = raw(base, f"GET {STATIC}/{BIG} HTTP/1.1", *more)
        assert " 200 " in head.splitlines()[0]
        assert "Content-Encoding" not in head
        assert body == (FOLDER / BIG).read_bytes()


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
def test_head_has_the_headers_of_get(browse: Any, app: Flask, accepted: str) -> None:
    """HEAD answers what GET does, the length included, without a body."""
    base = browse(app).base
    (got, body), (headed, nothing) = (
        raw(base, f"{method} {STATIC}/{BIG} HTTP/1.1", f"Accept-Encoding: {accepted}")
        for method in ("GET", "HEAD")
    )
    assert nothing == b""
    assert f"Content-Length: {len(body)}" in headed

    def kept(head: str) -> list[str]:
        return sorted(line for line in head.splitlines() if not line.startswith("Date:"))

    assert kept(headed) == kept(got)


@pytest.mark.parametrize("name", [BIG, hashed_name(BIG)])
def test_conditional_requests(browse: Any, app: Flask, name: str) -> None:
    """Who has the bytes already gets a 304; who has them in the other form does not."""
    tags = {how: get(browse, app, name, how).headers["ETag"] for how in ("identity", "gzip")}
    for how, other in (("identity", "gzip"), ("gzip", "identity")):
        for tag in (tags[how], f"W/{tags[how]}", f'"x", {tags[how]}', "*"):
            same = get(browse, app, name, how, If_None_Match=tag)
            assert same.status_code == 304
            assert same.packed == b""
            assert same.headers["ETag"] == tags[how]
            assert same.headers["Vary"] == "Accept-Encoding"
            assert "Content-Encoding" not in same.headers
            assert same.headers["Access-Control-Allow-Origin"] == "*"
        for tag in (tags[other], '"x"'):
            assert get(browse, app, name, how, If_None_Match=tag).status_code == 200


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=100-", 100, None), ("bytes=-5", -5, None), ("bytes=3-3", 3, 3)],
)
@pytest.mark.parametrize("accepted", ["identity", "gzip"])
def test_parts_are_of_the_plain_bytes(
    browse: Any, app: Flask, accepted: str, asked: str, first: int, last: int | None
) -> None:
    """A range is one of the bytes as they are in the file, whatever else is accepted."""
    plain = (FOLDER / BIG).read_bytes()
    part = plain[first:] if last is None else plain[first : last + 1]
    answer = get(browse, app, BIG, accepted, Range=asked)
    assert answer.status_code == 206
    assert answer.packed == part
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Content-Length"] == str(len(part))
    start = first % len(plain)
    wanted = f"bytes {start}-{start + len(part) - 1}/{len(plain)}"
    assert answer.headers["Content-Range"] == wanted
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_parts_of_what_has_changed(browse: Any, app: Flask) -> None:
    """A range of other bytes is answered with all of these; one beyond their end is refused."""
    plain = (FOLDER / BIG).read_bytes()
    tags = {how: get(browse, app, BIG, how).headers["ETag"] for how in ("identity", "gzip")}
    same = get(browse, app, BIG, "gzip", Range="bytes=0-9", If_Range=tags["identity"])
    assert (same.status_code, same.packed) == (206, plain[:10])
    for other in (tags["gzip"], '"x"'):
        answer = get(browse, app, BIG, "gzip", Range="bytes=0-9", If_Range=other)
        assert (answer.status_code, answer.packed) == (200, plain)
    beyond = get(browse, app, BIG, "gzip", Range=f"bytes={len(plain)}-")
    assert beyond.status_code == 416
    assert get(browse, app, BIG, "identity").headers["Accept-Ranges"] == "bytes"
    assert "Accept-Ranges" not in get(browse, app, BIG, "gzip").headers


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_comments_are_not_sent(name: str) -> None:
    """Of our scripts visitors get all but comments, types and indentation; of others' all."""
    lines = (FOLDER / name).read_bytes().splitlines(keepends=True)
    is_ours = not name.startswith("vendor/")
    kept, in_types = [], False
    for line in lines:
        code = line.strip()
        in_types |= code.startswith(b"/**") and code.partition(b"*/")[2] == b""
        if not (is_ours and (in_types or code.startswith(b"//"))):
            kept.append(re.sub(rb"/\*\* @type .*?\*/ ?", b"", line) if is_ours else line)
        in_types &= not code.endswith(b"*/")
    left_out = [line for line in lines if line.strip() and line not in kept]
    if is_ours and name not in LONG_STRINGS:
        kept = [line.lstrip(b" ") for line in kept]
    code = b"".join(kept)
    if name == "loader.js":  # comes without white space, last commas, and brackets of one name
        more = re.compile(rb"[\s,;()]")
        assert more.sub(b"", served(name)) == more.sub(b"", code)
    else:
        assert served(name) == code
    assert b"copyright" not in b"".join(left_out).lower()


def test_files_in_folders_have_hashes_too(browse: Any, app: Flask, folder: Path) -> None:
    """A file in a folder is found under its plain and its hashed name, and packed as well."""
    (folder / "lang" / "x").mkdir(parents=True)
    words = b'{"widget": {"close": "Schlie\xc3\x9fen"}}' * 20
    for name in ("lang/de.json", "lang/pt-BR.json", "lang/x/zh_TW.min.json"):
        (folder / name).write_bytes(words)
        hashed = hashed_name(name)
        stem, _, ending = name.rpartition(".")
        assert re.fullmatch(rf"{re.escape(stem)}\.[0-9a-f]{{12}}\.{ending}", hashed)
        assert resolve(hashed) == (name, True)
        answer = get(browse, app, hashed, "gzip")
        assert gzip.decompress(answer.packed) == words
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Type"] == "application/json"
        assert get(browse, app, name).headers["Cache-Control"] == "no-cache"


def test_what_gains_nothing_is_not_packed(browse: Any, app: Flask, folder: Path) -> None:
    """A tiny text, and what is no text, come as they are, and do not vary."""
    (folder / "tiny.json").write_bytes(b"{}")
    (folder / "empty.js").write_bytes(b"")
    (folder / "dot.png").write_bytes(b"\x89PNG" + bytes(5000))
    (folder / "unknown.xyz0").write_bytes(bytes(5000))
    for name, kind in (
        ("tiny.json", "application/json"),
        ("empty.js", "text/javascript; charset=utf-8"),
        ("dot.png", "image/png"),
        ("unknown.xyz0", "application/octet-stream"),
    ):
        answer = get(browse, app, name, "gzip")
        assert answer.packed == (folder / name).read_bytes()
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Content-Length"] == str(len(answer.packed))
        assert "Content-Encoding" not in answer.headers
        assert "Vary" not in answer.headers


def test_edited_file_is_served_as_it_is(browse: Any, app: Flask, folder: Path) -> None:
    """Whoever works on a file gets it anew, under another ETag, without starting anew."""
    path = folder / "a.js"
    path.write_text("1;" * 500)
    first = get(browse, app, "a.js", "gzip")
    path.write_text("2;" * 500)
    # Some systems have times in hundredths of a second only.
    os.utime(path, (0, 0))
    second = get(browse, app, "a.js", "gzip", If_None_Match=first.headers["ETag"])
    assert second.status_code == 200
    assert gzip.decompress(second.packed) == b"2;" * 500


def test_file_is_packed_once(
    browse: Any, app: Flask, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many requests at once only one packs, and all get the same whole bytes."""
    (folder / "a.js").write_text("let a = 1;" * 5000)
    calls, pack = [], gzip.compress

    def slowly(*given: Any, **more: Any) -> bytes:
        calls.append(given)
        threading.Event().wait(0.1)
        return pack(*given, **more)

    monkeypatch.setattr(assets.gzip, "compress", slowly)
    base, bodies = browse(app).base, []
    asked = (f"GET {STATIC}/a.js HTTP/1.1", "Accept-Encoding: gzip")

    def ask() -> None:
        bodies.append(raw(base, *asked)[1])

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(bodies) == 16
    assert {gzip.decompress(body) for body in bodies} == {b"let a = 1;" * 5000}


NOWHERE = [
    "nothing.js",
    "x.000000000000.js",
    "lang",
    "lang/",
    "",
    ".",
    "..",
    "../config.py",
    "%2e%2e/config.py",
    "..%2fconfig.py",
    "lang/../loader.js",
    "lang/../../config.py",
    "lang/%2e%2e/%2e%2e/config.py",
    "./loader.js",
    ".//loader.js",
    "..\\config.py",
    "lang\\de.json",
    "loader.js/",
    "loader.js%00",
    "loader.js%0a",
    "%00",
    "/etc/passwd",
    "//etc/passwd",
    "C:/x.js",
    "~/x.js",
    "loader%2ejs%2f..",
    "x" * 100,
    "x" * 5000,
    "/".join("x" * 1000),
    "x" * 5000 + ".000000000000.js",
    "..000000000000.js",
    "../config.000000000000.py",
    "../http/rules.000000000000.py",
    "000000000000",
    "000000000000/",
    "000000000000/widget",
    "000000000000/widget/",
    "000000000000/../config.py",
    "000000000000/widget/../../../config.py",
    "000000000000/lang/..%2f..%2f..%2fconfig.py",
    "000000000000/etc/passwd",
    "000000000000//etc/passwd",
]


@pytest.mark.parametrize("name", NOWHERE)
def test_nothing_else_is_served(browse: Any, app: Flask, name: str) -> None:
    """What is no file of the kit's, in its one spelling, is not found, by whatever path."""
    head, body = raw(browse(app).base, f"GET {STATIC}/{name} HTTP/1.1")
    # A browser that asks again without the second slash finds nothing there either.
    assert re.match(r"HTTP/1\.. (404|308) ", head)
    assert b"from __future__" not in body
    assert b"root:" not in body
    assert "immutable" not in head


def test_remembered_files_are_few(app: Flask) -> None:
    """Asking for names that are none makes a process remember nothing."""
    client = app.test_client()
    before = assets._read.cache_info().currsize, hashed_name.cache_info().currsize
    for number in range(300):
        client.get(f"{STATIC}/nothing{number}.000000000000.js")
        client.get(f"{STATIC}/lang/../x{number}.js")
        client.get(f"{STATIC}/{number:012}/widget/nothing.js")
    assert (assets._read.cache_info().currsize, hashed_name.cache_info().currsize) == before


def test_age_of_a_sites_own_is_kept(browse: Any, make_app: MakeApp) -> None:
    """A site's SEND_FILE_MAX_AGE_DEFAULT holds for plain names, and not for hashed ones."""
    app = make_app(SEND_FILE_MAX_AGE_DEFAULT=60)
    assert get(browse, app, BIG).headers["Cache-Control"] == "public, max-age=60"
    assert "immutable" in get(browse, app, hashed_name(BIG)).headers["Cache-Control"]


def test_files_pass_a_guard_of_the_kit(browse: Any, make_app: MakeApp) -> None:
    """A login that guards the kit does not guard its files, which public pages show."""
    kit = ChatKit()
    kit.before_request(lambda: redirect("/login"))
    assert get(browse, make_app(kit), BIG, "gzip").status_code == 200


def test_system_that_knows_no_types_changes_nothing(
    browse: Any, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts are scripts where the system's table of types says that they are plain text."""
    import mimetypes

    monkeypatch.setattr(mimetypes, "guess_type", lambda _name: ("text/plain", None))
    assert get(browse, app, BIG).headers["Content-Type"] == TYPES["js"]


def test_hash_follows_the_content(folder: Path) -> None:
    """A name resolves to its file, and a wrong hash is noticed."""
    (folder / "loader.js").write_text("1")
    hashed = hashed_name("loader.js")
    assert resolve(hashed) == ("loader.js", True)
    assert resolve("loader.000000000000.js") == ("loader.js", False)
    assert resolve("loader.js") == ("loader.js", False)
    assets.hashed_name.cache_clear()
    (folder / "loader.js").write_text("2")
    assert hashed_name("loader.js") != hashed


def test_every_file_can_be_asked_for() -> None:
    """Every file that is shipped has a name that is found again."""
    for name in NAMES:
        assert resolve(hashed_name(name)) == (name, True), name
