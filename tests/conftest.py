"""What the whole suite shares: how a missing part is told, sites under test, and servers."""

from __future__ import annotations

import gc
import logging
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn

import pytest
from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.markers import mark
from tests.helpers.sites import Browser, MakeApp, Serve

pytest_plugins = ["flask_chatkit.testing.fixtures"]

#: What must never be in a log: client secrets, the stand-in's keys, visitor cookies.
SECRETS = re.compile(
    r"\bek_\w{8}|\bsk-[\w-]{4}|[\w-]{22}\.[\w-]{4,12}\.[\w-]{64}|hunter\d|of the tests"
)


class _LeakWatch(logging.Handler):
    """Reads the complete log of the run, every logger at every level."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.read = 0
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look for secrets in a line as it would be written, its traceback included."""
        self.read += 1
        if SECRETS.search(self.format(record)):
            self.leaks.append(f"{record.name}, {record.pathname}:{record.lineno}")


_watch = _LeakWatch()


def pytest_configure(config: pytest.Config) -> None:
    """Read along from the beginning."""
    config.pluginmanager.register(_Sweep())
    logging.getLogger().addHandler(_watch)
    logging.getLogger("flask_chatkit").setLevel(logging.DEBUG)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests, before ``-m`` selects, and put the browser's last.

    Playwright leaves an event loop running in the main thread.
    """
    for item in items:
        mark(item)
    items.sort(key=lambda item: "browser" in item.path.parts)


class _Sweep:
    """Ends the threads and connections of earlier tests' sites, which wait for Python's collector.

    They add up to a thousand threads and two thousand open files in a run otherwise.
    """

    def __init__(self) -> None:
        self._kept = threading.active_count()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self) -> None:
        """Collect once there are many more threads than after the last time."""
        self._kept = min(self._kept, threading.active_count())
        if threading.active_count() > self._kept + 50:
            gc.collect()
            self._kept = threading.active_count()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist read."""
    seen = getattr(node, "workeroutput", {}).get("log watched")
    if seen is None:
        _watch.leaks.append("a process that did not tell what it read")
    else:
        _watch.read += seen[0]
        _watch.leaks += seen[1]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a secret was logged."""
    logging.getLogger().removeHandler(_watch)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["log watched"] = (_watch.read, _watch.leaks)
    if _watch.leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was read, and what should not have been there."""
    terminalreporter.line(
        f"{_watch.read} log lines read, {len(_watch.leaks)} with a secret in them"
    )
    for leak in _watch.leaks:
        terminalreporter.line(f"SECRET LOGGED by {leak}", red=True)


def _missing(part: str, how: str) -> NoReturn:
    reason = f"{part} is missing: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def missing() -> Callable[[str, str], NoReturn]:
    """Skip where a developer lacks a part; fail where CI does, because CI must run everything."""
    return _missing


@pytest.fixture
def quota_prefix() -> str:
    """Name the quotas of one test, which may count in somebody's Redis."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def make_app(openai_standin: OpenAIStandIn, quota_prefix: str) -> MakeApp:
    """Make sites that talk to this test's stand-in."""

    def make(kit: ChatKit | None = None, /, **config: Any) -> Flask:
        app = Flask("site")
        app.config.update(openai_standin.config(), SECRET_KEY="of the tests", TESTING=True)
        app.config["RATELIMIT_KEY_PREFIX"] = quota_prefix
        app.config.update(config)
        app.register_blueprint(kit or ChatKit())
        return app

    return make


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """Make the simplest site; a test module overrides this fixture for another one."""
    return make_app()


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing: the tests assert what they need."""


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve WSGI apps on loopback, each in threads, until the test ends."""
    servers: list[tuple[BaseWSGIServer, threading.Thread]] = []

    def start(app: Any) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        server.daemon_threads = True
        thread = threading.Thread(target=partial(server.serve_forever, 0.02), daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(5)
        server.server_close()


@pytest.fixture
def browse(serve: Serve) -> Iterator[Callable[[Any], Browser]]:
    """Open browsers on sites, served over real HTTP; they are closed afterwards."""
    opened: list[Browser] = []

    def start(app: Any) -> Browser:
        opened.append(Browser(app if isinstance(app, str) else serve(app)))
        return opened[-1]

    yield start
    for browser in opened:
        browser.close()
