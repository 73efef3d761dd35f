"""Faults of what is in front of a running site, each planted in a real proxy and named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_chatkit.doctor.report import Result
from flask_chatkit.http import probes
from tests.helpers.doctor import STRONG, examine, faults, served_kit, the_fault
from tests.helpers.processes import free_port, process, wait_for
from tests.helpers.proxy import Habits, proxy
from tests.helpers.sites import Serve

Make = Callable[..., Flask]


@pytest.fixture
def behind(
    production: Make, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Result]]:
    """Examine a site that runs behind a proxy of some habits, with or without ProxyFix."""
    monkeypatch.setattr(probes, "EVERY", 0.15)

    def run(
        habits: Habits, *, fixed: bool = True, prefixes: int = 0, user: str = "", **config: Any
    ) -> list[Result]:
        app = production(served_kit(), **config)
        if fixed:
            app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
                app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=prefixes
            )
        with proxy(serve(app), habits) as url:
            return examine(app, url.replace("://", f"://{user}"))

    return run


def test_nothing_is_wrong_behind_a_good_proxy(behind: Callable[..., list[Result]]) -> None:
    """Behind a proxy that does right there is no fault, and every check but a few was made."""
    results = behind(Habits())
    assert faults(results) == []
    told = {result.check for result in results if result.status == "ok"}
    assert told >= {
        *("running-site", "proxy-headers", "body-limit", "streaming", "workers", "http-basic"),
        *("clock", "files", "limits-sharing", "pages"),
    }


def test_nothing_is_wrong_behind_http_basic(behind: Callable[..., list[Result]]) -> None:
    """HTTP Basic in front is no fault where no page of another origin embeds the chat."""
    results = behind(Habits(basic=True), user="me:hunter2@")
    assert faults(results) == []
    assert "passes the HTTP Basic" in str(results)
    assert "hunter2" not in str(results)


HABITS: dict[str, tuple[Habits, dict[str, Any], str, str, str]] = {
    "buffered": (
        Habits(buffers=True),
        {},
        "streaming",
        "a proxy buffers answers",
        "proxy_buffering off",
    ),
    "compressed-and-buffered": (
        Habits(buffers=True, compresses=True),
        {},
        "streaming",
        "compressed (gzip)",
        "text/event-stream out of what is compressed",
    ),
    "compressed": (
        Habits(compresses=True),
        {},
        "streaming",
        "a proxy compresses answers (gzip)",
        "gzip_types",
    ),
    "body-limit": (
        Habits(max_body=2**20),
        {},
        "body-limit",
        "(413)",
        "client_max_body_size 11m",
    ),
    "no-proxy-fix": (
        Habits(),
        {"fixed": False},
        "proxy-headers",
        "all visitors have the proxy's address",
        "ProxyFix",
    ),
    "host-is-lost": (
        Habits(forwards=False, keeps_host=False),
        {},
        "proxy-headers",
        "no X-Forwarded headers arrive",
        "ProxyFix",
    ),
    "scheme-is-wrong": (
        Habits(scheme="https"),
        {},
        "proxy-headers",
        "the scheme https",
        "ProxyFix",
    ),
    "address-can-be-chosen": (
        Habits(appends=True),
        {},
        "proxy-headers",
        "chooses the address",
        "x_for",
    ),
    "prefix-can-be-chosen": (
        Habits(),
        {"prefixes": 1},
        "proxy-headers",
        "any client that sends X-Forwarded-Prefix",
        "x_prefix",
    ),
    "probe-is-stripped": (
        Habits(strips=frozenset({"x-chatkit-probe"})),
        {},
        "running-site",
        "not to a probe",
        "X-ChatKit-Probe",
    ),
    "kit-is-not-passed-on": (
        Habits(answers={"/chatkit/config": 404}),
        {},
        "running-site",
        "the kit is not at /chatkit/config",
        "prefix",
    ),
    "application-is-down": (
        Habits(answers={"/chatkit/config": 502}),
        {},
        "running-site",
        "the proxy answers 502",
        "the application's server runs",
    ),
    "scripts-are-taken-away": (
        Habits(answers={".js": 404}),
        {},
        "files",
        "answers 404: no chat appears",
        "a location for *.js",
    ),
    "basic-without-name": (
        Habits(basic=True),
        {},
        "running-site",
        "HTTP Basic is asked for",
        "name and password",
    ),
    "basic-before-embedded-pages": (
        Habits(basic=True),
        {"user": "me:hunter2@", "CHATKIT_TRUSTED_ORIGINS": ["https://localhost:8443"]},
        "http-basic",
        "pages that embed the chat",
        "auth_basic off; in nginx for /chatkit/",
    ),
    "token-is-stripped": (
        Habits(strips=frozenset({"x-chatkit-token"})),
        {},
        "http-basic",
        "removes the header X-ChatKit-Token",
        "let the proxy pass X-ChatKit-Token on",
    ),
    "clock": (
        Habits(headers={"Date": "Sat, 28 Nov 2020 12:00:00 GMT"}),
        {},
        "clock",
        "that of the running site differ",
        "NTP",
    ),
    "scripts-with-a-wrong-type": (
        Habits(headers={"Content-Type": "text/plain"}),
        {},
        "files",
        "is sent as text/plain",
        "Content-Type",
    ),
    "coep-set-by-the-proxy": (
        Habits(headers={"Cross-Origin-Embedder-Policy": "require-corp"}),
        {"CHATKIT_DOMAIN_KEY": "dk"},
        "coep",
        "require-corp",
        "remove the header",
    ),
}


@pytest.mark.parametrize("name", HABITS)
def test_faults_of_a_proxy_are_named(behind: Callable[..., list[Result]], name: str) -> None:
    """A proxy with one bad habit is found out by trying, and the cure is told."""
    habits, more, check, found, cure = HABITS[name]
    results = behind(habits, **more)
    the_fault(results, check, found, cure)
    assert "hunter2" not in str(results)


def test_other_secret_key_is_named(production: Make, serve: Serve) -> None:
    """A site that runs with another key than the doctor's refuses the probe, and it is told."""
    url = serve(production(served_kit(), SECRET_KEY=STRONG[::-1]))
    results = examine(production(served_kit()), url)
    the_fault(results, "running-site", "does not know this configuration's probe", "SECRET_KEY")


def test_site_that_does_not_run_is_named(production: Make) -> None:
    """Nobody at the address is told as it is, and no other check hangs on it."""
    results = examine(production(served_kit()), "http://127.0.0.1:9")
    the_fault(results, "running-site", "the connection was refused", "the site runs")


def test_plain_http_is_named(production: Make) -> None:
    """A site whose address is on http, and not on this machine, is told to be on https."""
    app = production(served_kit(), CHATKIT_COOKIE_SECURE=True)
    results = examine(app, "http://shop.invalid")
    the_fault(
        results, "https", "ChatKit needs a secure context: https, or localhost", "serve it by https"
    )
    the_fault(results, "cookie", "CHATKIT_COOKIE_SECURE", "remove the setting")
    the_fault(results, "running-site", "host name is not known", "URL is right")


def test_other_storage_is_named(production: Make, serve: Serve, redis_uri: str) -> None:
    """A site that counts in another storage than the doctor's configuration is found out."""
    kit = served_kit()
    here = production(kit, CHATKIT_RATELIMIT_STORAGE_URI=f"{redis_uri}/0")
    there = production(served_kit(), CHATKIT_RATELIMIT_STORAGE_URI=f"{redis_uri}/1")
    results = examine(here, serve(there))
    the_fault(results, "limits-sharing", "another storage", "CHATKIT_RATELIMIT_STORAGE_URI")
    assert faults(examine(here, serve(here))) == []


SITE = """
from flask import Flask
from flask_chatkit import ChatKit
def make_app():
    app = Flask("site", instance_path={folder!r})
    app.config["SECRET_KEY"] = {key!r}
    kit = ChatKit()
    kit.assistant(attachments=True)(lambda message, chat: "hi")
    app.register_blueprint(kit)
    return app
"""


@pytest.mark.parametrize(
    ("workers", "check", "found", "cure"),
    [
        ("-k sync -w 2", "workers", "workers without threads", "--worker-class gthread"),
        ("-k gthread --threads 4 -w 2", "limits-sharing", "several processes", "redis://"),
        ("-k gthread --threads 2", "workers", "wait for each other", "--threads 64"),
    ],
    ids=["sync", "processes", "threads"],
)
def test_gunicorns_faults_are_named(
    production: Make, tmp_path: Path, workers: str, check: str, found: str, cure: str
) -> None:
    """Workers without threads, too few of them, and several that count apart are found out."""
    (tmp_path / "planted_site.py").write_text(SITE.format(folder=str(tmp_path), key=STRONG))
    port = free_port()
    bind = f"-b 127.0.0.1:{port} --no-control-socket planted_site:make_app()"
    command = f"{sys.executable} -m gunicorn {workers} {bind}".split()
    with process(tmp_path, *command) as running:
        wait_for(port, running, tmp_path)
        app = production(served_kit())
        results = examine(app, f"http://127.0.0.1:{port}")
    the_fault(results, check, found, cure)
