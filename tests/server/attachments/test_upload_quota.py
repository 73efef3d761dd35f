"""How many files there may be: for a visitor, an address and in all; and what a full disk does."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NoReturn

import pytest
import requests
import sqlalchemy as sa
from fsspec.implementations.memory import MemoryFileSystem

from flask_chatkit.server.attachments import capacity
from flask_chatkit.server.history.tables import attachments, jobs
from tests.helpers.histories import Site
from tests.helpers.served import Client, until, visit
from tests.helpers.sites import MakeApp, told

MakeSite = Callable[..., Site]
KB = 1024
#: Bytes of the form around a file, about.
FORM = KB


@pytest.fixture
def make_site(make_app: MakeApp, tmp_path: Path) -> Iterator[MakeSite]:
    """Make a site with a chat `help` that takes files; keywords are its configuration."""
    sites: list[Site] = []

    def make(**config: Any) -> Site:
        free = {"CHATKIT_RATELIMIT": "", "CHATKIT_MESSAGE_RATELIMIT": ""}
        uri = f"sqlite:///{tmp_path}/chat.db"
        sites.append(Site(make_app, uri, tmp_path, **{**free, **config}))
        return sites[-1]

    yield make
    for site in sites:
        site.store.close()


def chat(site: Site, browse: Any, base: str | None = None) -> Client:
    return visit(browse(base or site.app), "/chatkit/help")


def upload(client: Client, size: int) -> requests.Response:
    return client.upload(b"%PDF-1.7\n".ljust(size, b"x"), "a.pdf", "application/pdf")


def announce(client: Client, size: int) -> requests.Response:
    return client.post("attachments.create", name="a.pdf", mime_type="application/pdf", size=size)


def refused(answer: requests.Response, status: int = 429) -> str:
    code = {429: "rate_limited", 503: "upstream_unavailable"}[status]
    message: str = told(answer, status, code)["message"]
    assert "message without" in message
    assert int(answer.headers["Retry-After"]) > 0
    return message


def test_visitor_has_a_quota(make_site: MakeSite, browse: Any, caplog: Any) -> None:
    """A visitor brings so many bytes a day, in either way, and reads when it is enough."""
    caplog.set_level("INFO")
    site = make_site(CHATKIT_UPLOAD_QUOTA="visitor=100KB")
    ann = chat(site, browse)
    assert upload(ann, 40 * KB).status_code == 200
    assert announce(ann, 40 * KB).status_code == 200
    for more in (upload, announce):
        message = refused(more(ann, 30 * KB))
        assert "100 KB" in message
        assert "hour" in message
    assert "100 KB a day per visitor" in caplog.text
    # What was refused did not come, so a smaller one does.
    assert upload(ann, 10 * KB).status_code == 200
    assert upload(chat(site, browse, ann.browser.base), 40 * KB).status_code == 200
    assert ann.create("hello")


def test_address_has_a_quota(make_site: MakeSite, browse: Any) -> None:
    """Fresh cookies bring no more than their address may; who is signed in is not held to it."""
    site = make_site(CHATKIT_UPLOAD_QUOTA={"visitor": 100 * KB, "address": 200 * KB})
    ann = chat(site, browse)
    clients = [ann, *(chat(site, browse, ann.browser.base) for _ in range(2))]
    assert [upload(client, 80 * KB).status_code for client in clients] == [200, 200, 429]
    assert "200 KB" in refused(announce(clients[2], 80 * KB))
    browser = browse(ann.browser.base)
    browser.cookies.set("login", "bob", domain="127.0.0.1")
    assert upload(visit(browser, "/chatkit/help"), 80 * KB).status_code == 200


def test_too_large_files_use_nothing_up(make_site: MakeSite, browse: Any) -> None:
    """What is refused for another reason is not counted."""
    site = make_site(CHATKIT_UPLOAD_QUOTA="visitor=200KB", CHATKIT_MAX_UPLOAD_BYTES=100 * KB)
    ann = chat(site, browse)
    for answer in (upload(ann, 180 * KB), announce(ann, 180 * KB)):
        told(answer, 413, "too_large")
    assert upload(ann, 90 * KB).status_code == 200
    assert upload(ann, 90 * KB).status_code == 200


def test_a_file_beyond_the_quota_is_too_large(make_site: MakeSite, browse: Any) -> None:
    """Nobody is told to wait with a file that is more than a whole day's quota."""
    ann = chat(make_site(CHATKIT_UPLOAD_QUOTA="visitor=100KB"), browse)
    for answer in (upload(ann, 180 * KB), announce(ann, 180 * KB)):
        assert told(answer, 413, "too_large")["message"] == "No file can have more than 100 KB."
        assert "Retry-After" not in answer.headers
    assert upload(ann, 90 * KB).status_code == 200


def test_what_did_not_come_uses_nothing_up(make_site: MakeSite, browse: Any) -> None:
    """Neither an empty request, nor a form without the file, nor a refused file is counted."""
    site = make_site(CHATKIT_UPLOAD_QUOTA="address=200KB", CHATKIT_MAX_UPLOAD_BYTES=100 * KB)
    ann = chat(site, browse)
    url = "/chatkit/help/attachments"

    def form() -> Iterator[bytes]:
        end = f"{'x' * 50 * KB}\r\n--b--\r\n"
        yield f'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\n{end}'.encode()

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    for _ in range(3):
        told(ann.browser.post(url, headers=ann.bearer), 400, "bad_request")
        told(ann.browser.post(url, data=b"", headers=ann.bearer), 400, "bad_request")
        # In chunks, so that its length is not told.
        sent = ann.browser.post(url, data=form(), headers={**ann.bearer, **kind})
        told(sent, 400, "bad_request")
        told(ann.upload(b"\x89PNG\r\n\x1a\n" + bytes(60 * KB)), 400, "bad_request")
    assert upload(ann, 90 * KB).status_code == 200
    assert upload(ann, 90 * KB).status_code == 200
    assert "200 KB" in refused(upload(ann, 90 * KB))


def test_all_files_have_a_quota(
    make_site: MakeSite, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is kept has a bound; where files go, others may come, whoever deleted them."""
    monkeypatch.setattr(capacity, "REMEMBERED_FULL", 0.0)
    site = make_site(CHATKIT_UPLOAD_QUOTA="total=100KB")
    ann = chat(site, browse)
    first = upload(ann, 60 * KB).json()["id"]
    for more in (upload, announce):
        refused(more(ann, 60 * KB))
    assert upload(ann, 20 * KB).status_code == 200
    assert [path.stat().st_size for path in site.files.iterdir()].count(60 * KB) == 1
    (site.files / first).unlink()
    assert upload(ann, 60 * KB).status_code == 200


def test_nothing_is_limited_where_nobody_wants_it(make_site: MakeSite, browse: Any) -> None:
    """`none` is no quota at all."""
    ann = chat(make_site(CHATKIT_UPLOAD_QUOTA="none"), browse)
    assert [upload(ann, 2000 * KB).status_code for _ in range(3)] == [200] * 3


# --- a full disk ------------------------------------------------------------------------------


def test_space_is_kept_for_the_history(
    make_site: MakeSite, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where little space is left no file is taken, in words, and the chat goes on."""
    site = make_site()
    ann = chat(site, browse)
    monkeypatch.setattr(capacity, "KEPT_SHARE", 1.0)
    monkeypatch.setattr(capacity, "KEPT_FREE", shutil.disk_usage("/").total * 100)
    for more in (upload, announce):
        assert "no room" in refused(more(ann, KB), 503)
    assert ann.create("hello")
    assert not site.files.exists()
    monkeypatch.setattr(capacity, "KEPT_FREE", 0)
    assert upload(ann, KB).status_code == 200


@pytest.fixture
def small_disk(tmp_path: Path, missing: Callable[[str, str], NoReturn]) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "files"
    folder.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_takes_no_file(
    make_site: MakeSite, browse: Any, small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """A disk that is full in the midst of a file leaves nothing of it; the visitor reads why."""
    monkeypatch.setattr(capacity, "KEPT_FREE", -(2**40))
    site = make_site()
    ann = chat(site, browse)
    first = upload(ann, 1500 * KB).json()["id"]
    announced = announce(ann, 1500 * KB).json()["upload_descriptor"]
    path = announced["url"].removeprefix(ann.browser.base)
    answers = [
        upload(ann, 1500 * KB),
        ann.browser.put(path, data=b"%PDF-1.7\n".ljust(1500 * KB, b"x"), headers={}),
    ]
    for answer in answers:
        assert "no room" in refused(answer, 503)
    assert [file.name for file in small_disk.iterdir()] == [first]
    assert "the disk is full" in caplog.text
    assert "Traceback" not in caplog.text
    assert ann.create("hello", attachments=[first])
    monkeypatch.setattr(capacity, "KEPT_FREE", 1024 * KB)
    monkeypatch.setattr(capacity, "KEPT_SHARE", 0.3)
    assert "no room" in refused(upload(ann, KB), 503)


class FullStore(MemoryFileSystem):
    """An object store of whose files one can't be written."""

    protocol = ("full",)
    error: Exception = OSError(errno.ENOSPC, "s3cret")

    def open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        """Open a file; not to write."""
        if mode == "wb":
            raise self.error
        return super().open(path, mode, **more)


@pytest.mark.parametrize(
    ("error", "words", "log"),
    [
        (OSError(errno.ENOSPC, "s3cret"), "no room", "the disk is full"),
        (PermissionError(errno.EACCES, "s3cret"), "could not be stored", "EACCES"),
        (TimeoutError("s3cret"), "could not be stored", "TimeoutError"),
    ],
)
def test_store_elsewhere_that_fails_is_told_in_words(
    make_site: MakeSite, browse: Any, caplog: Any, error: Exception, words: str, log: str
) -> None:
    """A file that an object store does not take is refused with 503, and why is in the log."""
    import fsspec

    fsspec.register_implementation("full", FullStore, clobber=True)
    FullStore.error = error
    ann = chat(make_site(CHATKIT_UPLOAD_FOLDER="full://bucket/files"), browse)
    assert words in refused(upload(ann, KB), 503)
    assert log in caplog.text
    assert "s3cret" not in caplog.text
    assert ann.create("hello")


# --- what nobody sent -------------------------------------------------------------------------


def age(site: Site, seconds: float) -> None:
    """Make all files older, and the last time that anything was swept."""
    then = time.time() - seconds
    for path in site.files.iterdir():
        os.utime(path, (then, then))
    moment = datetime.fromtimestamp(then, timezone.utc)
    site.work(lambda db: db.execute(sa.update(attachments).values(created_at=moment)))
    hour_ago = datetime.now(timezone.utc) - timedelta(minutes=61)
    site.work(lambda db: db.execute(sa.update(jobs).values(begun_at=hour_ago)))
    site.app.extensions["chatkit"]["chatkit"].prune_at = 0.0


def test_what_nobody_sent_goes_after_a_day(make_site: MakeSite, browse: Any) -> None:
    """By itself, without an age: unsent files and parts; not what is sent, new or unknown."""
    site = make_site()
    ann = chat(site, browse)
    sent = upload(ann, KB).json()["id"]
    thread = ann.create("hello", attachments=[sent])
    until(lambda: site.work(lambda db: db.scalar(sa.select(sa.func.count()).select_from(jobs))))
    unsent = upload(ann, KB).json()["id"]
    part = f".{unsent}.{'0' * 16}.part"
    unknown = f"atc_{'0' * 32}"
    for name in (part, unknown):
        (site.files / name).write_bytes(b"x" * 100)
    age(site, 2 * 86400)
    (site.files / f".new.{'0' * 16}.part").write_bytes(b"x")
    fresh = upload(ann, KB).json()["id"]
    until(lambda: not (site.files / part).exists() and not (site.files / unsent).exists())
    left = {path.name for path in site.files.iterdir()}
    assert left == {sent, fresh, unknown, f".new.{'0' * 16}.part"}
    assert len(ann.items(thread)) == 2
