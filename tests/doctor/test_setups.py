"""Three set-ups as they should be, each of real processes, in which the doctor finds no fault."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import Result

from tests.helpers.databases import fresh_database
from tests.helpers.doctor import STRONG
from tests.helpers.nginx import NGINX, documented, nginx_command
from tests.helpers.paths import ROOT
from tests.helpers.processes import free_port, process, wait_for

Missing = Callable[[str, str], NoReturn]
SITE = """
import os
from flask import Flask, render_template_string
from werkzeug.middleware.proxy_fix import ProxyFix
from flask_chatkit import ChatKit

def create_app():
    app = Flask("site", instance_path=os.getcwd())
    app.config.from_prefixed_env()
    if os.environ.get("PROXIES"):
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)
    chatkit = ChatKit()
    app.register_blueprint(chatkit)

    @chatkit.assistant(attachments=True)
    def answer(message, chat):
        yield f"You said {message.text}"

    @app.get("/")
    def home():
        return render_template_string(
            "<meta name=viewport content='width=device-width'>"
            "{% from 'chatkit/macros.html' import chatkit_floating %}{{ chatkit_floating() }}"
        )
    return app
"""


@pytest.fixture
def doctor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command as an operator does, in the folder and environment of the site."""

    def run(env: dict[str, str], *options: str) -> Result:
        with monkeypatch.context() as there:
            there.chdir(folder)
            for name in os.environ:
                if name not in env:
                    there.delenv(name)
            for name, value in env.items():
                there.setenv(name, value)
            app = runpy.run_path(str(folder / "shop.py"))["create_app"]()
            return app.test_cli_runner().invoke(args=["chatkit", "doctor", *options])

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a site."""
    (tmp_path / "shop.py").write_text(SITE)
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    """The environment of a site, without what a developer's shell has."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FLASK_", "OPENAI_", "CHATKIT_")) and "proxy" not in name.lower()
    }
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def well(output: str, *reminders: str) -> None:
    """Check that the report is short and green, and reminds of nothing else."""
    lines = output.splitlines()
    assert lines[-1].startswith("All well: "), output
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == list(reminders), output
    assert STRONG not in output


def test_development_is_well(folder: Path) -> None:
    """Under `flask run --debug` with a key for development, nothing is found or asked."""
    env = environment(FLASK_SECRET_KEY="dev", FLASK_DEBUG="1")
    port = free_port()
    command = f"-m flask --app shop run --no-reload --port {port}".split()
    with process(folder, sys.executable, *command, env=env) as running:
        wait_for(port, running, folder)
        done = subprocess.run(
            f"{sys.executable} -m flask --app shop chatkit doctor --url http://localhost:{port}".split(),
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    well(done.stdout)


def test_one_server_is_well(folder: Path, doctor: Callable[..., Result]) -> None:
    """One gunicorn with threads, SQLite and limits in memory is a set-up as it should be."""
    env = environment(FLASK_SECRET_KEY=STRONG)
    port = free_port()
    command = f"-m gunicorn -k gthread --threads 16 --no-control-socket -b 127.0.0.1:{port}"
    command += " shop:create_app()"
    with process(folder, sys.executable, *command.split(), env=env) as running:
        wait_for(port, running, folder)
        done = doctor(env, "--url", f"http://127.0.0.1:{port}")
    assert done.exit_code == 0, done.output
    well(done.output)


def own_address() -> str:
    """An address of this machine's at which browsers are strict; loopback where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent, suppress(OSError):
        unsent.connect(("192.0.2.1", 9))
        return str(unsent.getsockname()[0])
    return "127.0.0.1"


def nginx_server(folder: Path, port: int, upstream: int) -> str:
    """The server of docs/deployment.md, with this test's ports and certificate."""
    server = documented("nginx")
    for old, new in (
        ("listen 443 ssl", f"listen {own_address()}:{port} ssl"),
        ("server_name www.shop.example", f"server_name {own_address()}"),
        ("/etc/letsencrypt/live/www.shop.example/fullchain.pem", f"{folder}/cert.pem"),
        ("/etc/letsencrypt/live/www.shop.example/privkey.pem", f"{folder}/key.pem"),
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
    ):
        assert old in server, old
        server = server.replace(old, new)
    return server


def make_certificate(folder: Path, missing: Missing) -> None:
    """Make a certificate for this machine, which the doctor is told to trust."""
    if shutil.which("openssl") is None:
        missing("openssl", "install openssl")
    command = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=shop "
        f"-addext subjectAltName=IP:{own_address()} -keyout {folder}/key.pem -out {folder}/cert.pem"
    )
    subprocess.run(command.split(), check=True, capture_output=True, timeout=60)


def test_several_servers_behind_nginx_are_well(
    folder: Path, doctor: Callable[..., Result], missing: Missing, redis_uri: str
) -> None:
    """Two workers with Redis and PostgreSQL behind the documented nginx are as they should be."""
    if NGINX is None:
        missing("nginx", "install nginx-light")
    make_certificate(folder, missing)
    port, upstream = free_port(), free_port()
    config = nginx_command(folder, nginx_server(folder, port, upstream))
    subprocess.run([*config, "-t"], check=True, capture_output=True, timeout=30)
    with ExitStack() as running:
        uri = running.enter_context(fresh_database("PostgreSQL", missing))
        env = environment(
            FLASK_SECRET_KEY=STRONG,
            FLASK_SECRET_KEY_FALLBACKS=json.dumps([STRONG[::-1]]),
            FLASK_CHATKIT_RATELIMIT_STORAGE_URI=f"{redis_uri}/15",
            FLASK_CHATKIT_DATABASE_URI=uri,
            FLASK_CHATKIT_DOMAIN_KEY="domain_pk_of_the_shop",
            PROXIES="1",
            REQUESTS_CA_BUNDLE=str(folder / "cert.pem"),
        )
        gunicorn = "-m gunicorn -w 2 -k gthread --threads 16 --no-control-socket"
        command = f"{gunicorn} -b 127.0.0.1:{upstream} shop:create_app()".split()
        workers = running.enter_context(process(folder, sys.executable, *command, env=env))
        wait_for(upstream, workers, folder)
        front = running.enter_context(process(folder, *config, env=env))
        wait_for(port, front, folder, own_address())
        told = doctor(env, "--url", f"https://{own_address()}:{port}", "--json")
    assert told.exit_code == 0, told.output
    results = {result["check"]: result for result in json.loads(told.output)}
    assert not [one for one in results.values() if one["status"] in {"error", "warning"}]
    assert own_address() in results["allow-list"]["cure"] or own_address() == "127.0.0.1"
    for name in (
        "proxy-headers",
        "body-limit",
        "streaming",
        "workers",
        "limits-sharing",
        "database",
        "limits-storage",
        "https",
        "csp",
        "files",
    ):
        assert results[name]["status"] == "ok", results[name]
