"""What is wrong with a site's surroundings is an error at start that names the setting."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flask_chatkit import ChatKit, ConfigurationError
from flask_chatkit.startup_checks import unwritable
from tests.helpers.served import Shop
from tests.helpers.sites import MakeApp


@pytest.mark.parametrize(
    ("key", "uri", "driver"),
    [
        ("CHATKIT_DATABASE_URI", "postgresql+psycopg://bob:hunter2@db/chat", "psycopg"),
        ("CHATKIT_DATABASE_URI", "postgresql://bob:hunter2@db/chat", "psycopg"),
        ("CHATKIT_DATABASE_URI", "mysql+pymysql://bob:hunter2@db/chat", "pymysql"),
        ("CHATKIT_RATELIMIT_STORAGE_URI", "redis://:hunter2@cache/0", "redis"),
        ("RATELIMIT_STORAGE_URI", "redis://:hunter2@cache/0", "redis"),
        ("RATELIMIT_STORAGE_URI", "memcached://cache:11211", "pymemcache"),
    ],
)
def test_missing_driver_is_told_at_once(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, key: str, uri: str, driver: str
) -> None:
    """A URI whose driver is not installed is refused when the kit is registered."""
    from flask_chatkit import startup_checks

    real = startup_checks._is_installed
    gone = {driver, "psycopg2", "MySQLdb"}
    monkeypatch.setattr(
        startup_checks, "_is_installed", lambda name: name not in gone and real(name)
    )
    with pytest.raises(ConfigurationError, match=f"^{key} needs the driver {driver}") as caught:
        make_app(**{key: uri})
    assert "pip install" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def read_only() -> Iterator[Path]:
    """Make a folder that this process may not write to, also where the tests run as root."""
    # Not below pytest's own, which nobody else may enter.
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield Path(place)
        finally:
            if is_root:
                os.seteuid(0)
            Path(place).chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's users")
def test_read_only_instance_folder_is_told(
    make_app: MakeApp, read_only: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first use of the kit says which settings name another place, and calls answer 500."""
    assert unwritable(read_only / "new" / "file") is not None
    kit = ChatKit()
    kit.add_server("default", Shop, attachments=True)
    app = make_app(kit)
    app.instance_path = str(read_only)
    client = app.test_client()
    token = client.post("/chatkit/secret", json={}).json["client_secret"]
    assert "The history can't be kept" in caplog.text
    assert "Set CHATKIT_DATABASE_URI" in caplog.text
    assert "Set CHATKIT_UPLOAD_FOLDER" in caplog.text
    call = {"type": "threads.list", "params": {}}
    answer: Any = client.post(
        "/chatkit/api", json=call, headers={"Authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, answer.json["error"]["code"]) == (500, "misconfigured")
    assert "CHATKIT_UPLOAD_FOLDER" in caplog.text


@pytest.mark.parametrize(
    ("options", "cures"),
    [
        ({b"lazy-apps": b"true", b"enable-threads": b"true"}, []),
        ({b"threads": b"16"}, ["lazy-apps = true"]),
        ({b"lazy-apps": b"true"}, ["enable-threads = true"]),
        ({}, ["lazy-apps = true", "enable-threads = true"]),
    ],
)
def test_uwsgis_options_are_told(
    make_app: MakeApp,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: dict[bytes, bytes],
    cures: list[str],
) -> None:
    """Under uWSGI without threads, or one that forks a loaded application, the log says so."""
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))
    kit = ChatKit()
    kit.add_server("default", Shop)
    app = make_app(kit, CHATKIT_DATABASE_URI="sqlite://")
    app.test_client().post("/chatkit/secret", json={})
    for cure in ("lazy-apps = true", "enable-threads = true"):
        assert (cure in caplog.text) == (cure in cures)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_limits_of_a_forked_process_are_its_own(make_app: MakeApp) -> None:
    """A process that was forked while a lock was held counts nevertheless."""
    app = make_app()
    client = app.test_client()
    assert client.post("/chatkit/secret", json={}).status_code == 200
    quotas = app.extensions["chatkit"]["chatkit"].limiter.storage
    with quotas._memory, quotas._lock:
        child = os.fork()
        if child == 0:
            status = client.post("/chatkit/secret", json={}).status_code
            os._exit(0 if status == 200 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
