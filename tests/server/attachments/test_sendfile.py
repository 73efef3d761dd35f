"""``CHATKIT_SENDFILE``: files that nginx, another server in front, or the object store sends."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import fsspec
import pytest
import requests
from fsspec.implementations.memory import MemoryFileSystem
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_chatkit import ChatKit, ConfigurationError
from tests.helpers.nginx import NGINX, documented, nginx_command
from tests.helpers.processes import free_port, process, wait_for
from tests.helpers.served import PNG, Client, visit
from tests.helpers.sites import Browser, MakeApp, Serve, told

#: What makes a visitor's file harmless, whoever sends it.
HEADERS = (
    *("Content-Type", "Content-Disposition", "Cache-Control", "X-Content-Type-Options"),
    *("Content-Security-Policy", "Cross-Origin-Resource-Policy"),
)
MakeSite = Callable[..., Any]


@pytest.fixture
def make_site(make_app: MakeApp, tmp_path: Path) -> MakeSite:
    """Make a site whose chat takes files; keywords are its configuration."""

    def make(**config: Any) -> Any:
        kit = ChatKit()
        kit.assistant(attachments=True)(lambda message, _chat: message.text)
        files = {
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3",
            "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "up"),
        }
        return make_app(kit, **{**files, **config})

    return make


def uploaded(browser: Browser) -> tuple[Client, str]:
    """A visitor, and the path of a picture of theirs."""
    ann = visit(browser)
    return ann, f"/chatkit/attachments/{ann.upload().json()['id']}"


@pytest.fixture
def nginx(tmp_path: Path, missing: Callable[[str, str], NoReturn]) -> Callable[[str], Any]:
    """Start nginx in front of a site, with the location of the documentation."""
    if NGINX is None:
        missing("nginx", "install nginx-light")
    location, folder = documented("nginx-files"), "/srv/shop/instance/chatkit-uploads/"
    assert folder in location
    location = location.replace(folder, f"{tmp_path}/up/")

    def start(base: str) -> Any:
        port = free_port()
        forward = f"location / {{ proxy_pass {base}; proxy_set_header Host $http_host; }}"
        server = f"server {{ listen 127.0.0.1:{port};\n{forward}\n{location}}}\n"
        return port, process(tmp_path, *nginx_command(tmp_path, server))

    return start


def test_nginx_sends_files(make_site: MakeSite, serve: Serve, nginx: Any, tmp_path: Path) -> None:
    """Behind the documented nginx a file comes from there, with each header, to its visitor."""
    bare = Browser(serve(make_site()))
    _, path = uploaded(bare)
    direct = bare.get(path)
    app = make_site(CHATKIT_SENDFILE="/chatkit-files")
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)  # type: ignore[method-assign]
    port, front = nginx(serve(app))
    with front as running, Browser(f"http://127.0.0.1:{port}") as browser:
        wait_for(port, running, tmp_path)
        _, path = uploaded(browser)
        answer = browser.get(path)
        assert (answer.status_code, answer.content) == (200, PNG)
        assert {name: answer.headers[name] for name in HEADERS} == {
            name: direct.headers[name] for name in HEADERS
        }
        assert answer.headers["Server"].startswith("nginx")
        assert "X-Accel-Redirect" not in answer.headers
        # A range is something that only nginx knows of.
        part = browser.get(path, headers={"Range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, PNG[:4])
        assert browser.head(path).headers["Content-Length"] == str(len(PNG))
        inner = f"/chatkit-files/{path.rpartition('/')[2]}"
        assert browser.get(inner).status_code == 404
        with Browser(browser.base) as other:
            other.mint()
            told(other.get(path), 404, "not_found")
    bare.close()


def test_files_are_readable_for_the_folders_group(make_site: MakeSite, browse: Any) -> None:
    """The web server's group may read what it is to send, and nobody else."""
    app = make_site(CHATKIT_SENDFILE="/chatkit-files/")
    _, path = uploaded(browse(app))
    folder = Path(app.config["CHATKIT_UPLOAD_FOLDER"])
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (folder, folder / path.split("/")[-1])]
    assert modes == [0o750, 0o640]


@pytest.mark.parametrize("config", [{"CHATKIT_SENDFILE": "x-sendfile"}, {"USE_X_SENDFILE": True}])
def test_other_servers_get_the_path(make_site: MakeSite, browse: Any, config: Any) -> None:
    """X-Sendfile names the file, by our setting or Flask's; its bytes are not sent along."""
    app = make_site(**config)
    browser = browse(app)
    _, path = uploaded(browser)
    answer = browser.get(path)
    name = path.rpartition("/")[2]
    assert answer.headers["X-Sendfile"] == f"{app.config['CHATKIT_UPLOAD_FOLDER']}/{name}"
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Type"] == "image/png"
    (Path(app.config["CHATKIT_UPLOAD_FOLDER"]) / name).unlink()
    told(browser.get(path), 404, "not_found")


class SigningStore(MemoryFileSystem):
    """An object store with signed URLs, as s3fs has them."""

    protocol = ("s3", "signing")
    base = ""

    def sign(self, path: str, expiration: int = 100, **more: Any) -> str:
        """A URL for a while."""
        query = f"expires={expiration}&type={more['ResponseContentType']}"
        assert more["ResponseContentDisposition"].startswith("inline; filename=")
        return f"{self.base}/{path.partition('://')[2]}?{query}"


@pytest.fixture
def object_store(serve: Serve) -> Iterator[str]:
    """Serve the files of an object store to whoever has a signed URL."""

    def answer(environ: Any, start: Any) -> Any:
        file = MemoryFileSystem().cat(f"signing:/{environ['PATH_INFO']}")
        start("200 OK", [("Content-Type", "image/png")])
        return [file]

    fsspec.register_implementation("signing", SigningStore, clobber=True)
    SigningStore.base = serve(answer)
    yield SigningStore.base
    SigningStore.base = ""


def test_object_store_sends_files(make_site: MakeSite, browse: Any, object_store: str) -> None:
    """The visitor, and nobody else, is sent to a URL that the store signs for a while."""
    url = "signing://bucket/chat"
    browser = browse(make_site(CHATKIT_UPLOAD_FOLDER=url, CHATKIT_SENDFILE="redirect"))
    _, path = uploaded(browser)
    answer = browser.get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(f"{object_store}/")
    assert answer.headers["Location"].endswith("?expires=600&type=image/png")
    assert answer.headers["Cache-Control"] == "private, max-age=300"
    assert requests.get(answer.headers["Location"], timeout=10).content == PNG
    told(browse(browser.base).get(path), 401, "unauthenticated")


def test_store_that_signs_nothing_is_told(make_site: MakeSite, browse: Any, caplog: Any) -> None:
    """A driver without signed URLs is named in the log, with the setting."""
    url = "memory://no-signatures"
    browser = browse(make_site(CHATKIT_UPLOAD_FOLDER=url, CHATKIT_SENDFILE="redirect"))
    _, path = uploaded(browser)
    told(browser.get(path), 500, "misconfigured")
    assert "CHATKIT_SENDFILE is redirect, but the driver" in caplog.text


@pytest.mark.parametrize(
    ("value", "folder", "error"),
    [
        ("https://x/", "/srv/up", "CHATKIT_SENDFILE must be X-Sendfile, redirect, or"),
        ("/", "/srv/up", "CHATKIT_SENDFILE must be"),
        ("/a b/", "/srv/up", "CHATKIT_SENDFILE must be"),
        (True, "/srv/up", "CHATKIT_SENDFILE must be"),
        ("redirect", "/srv/up", "redirect needs a CHATKIT_UPLOAD_FOLDER"),
        ("X-Sendfile", "memory://x", "and its other values one that is a folder"),
        ("/files/", "memory://x", "and its other values one that is a folder"),
    ],
)
def test_what_can_not_be_is_told_at_the_start(
    make_site: MakeSite, value: object, folder: str, error: str
) -> None:
    """A wrong value, or one that does not go with the folder, is refused when the site starts."""
    with pytest.raises(ConfigurationError, match=error):
        make_site(CHATKIT_SENDFILE=value, CHATKIT_UPLOAD_FOLDER=folder)
