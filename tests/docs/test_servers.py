"""The examples for nginx and systemd are accepted by nginx and systemd, and start what they say."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import requests

from tests.helpers.markdown import marked, page
from tests.helpers.processes import free_port, process, wait_for

Missing = Callable[[str, str], NoReturn]
PAGE = page("deployment")
FORWARDED = re.findall(r"^ *proxy_set_header .*\n", marked("nginx", PAGE), re.MULTILINE)
SITE = """
from flask import Flask

from flask_chatkit import ChatKit


def create_app():
    app = Flask("shop")
    app.config.from_prefixed_env()
    kit = ChatKit()
    kit.assistant()(lambda message, chat: message.text)
    app.register_blueprint(kit)
    return app
"""


def check_nginx(folder: Path, http: str, missing: Missing) -> None:
    """Have nginx check a configuration."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        missing("nginx", "install nginx-light")
    config = folder / "nginx.conf"
    config.write_text(
        f"pid {folder}/pid; error_log {folder}/log;\n"
        f"events {{}}\nhttp {{ access_log off;\n{http}}}\n"
    )
    done = subprocess.run(
        [nginx, "-t", "-p", str(folder), "-c", str(config), "-e", str(folder / "e")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


@pytest.fixture
def server(tmp_path: Path, missing: Missing) -> str:
    """The documented server, with a certificate of this test."""
    if shutil.which("openssl") is None:
        missing("openssl", "install openssl")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=www.shop.example "
        f"-keyout {tmp_path}/privkey.pem -out {tmp_path}/fullchain.pem"
    )
    subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
    folder = "/etc/letsencrypt/live/www.shop.example/"
    example = marked("nginx", PAGE)
    assert example.count(folder) == 2
    return example.replace(folder, f"{tmp_path}/").replace("443", str(free_port()))


def test_nginx_accepts_the_server(server: str, tmp_path: Path, missing: Missing) -> None:
    """The documented server is one that nginx accepts, with the location for files in it."""
    files = marked("nginx-files", PAGE)
    assert files.startswith("location /chatkit-files/ {")
    check_nginx(tmp_path, server, missing)
    check_nginx(tmp_path, server.rpartition("}")[0] + files + "}\n", missing)


def test_nginx_accepts_limits_and_exceptions(server: str, tmp_path: Path, missing: Missing) -> None:
    """The locations against floods and for HTTP Basic are accepted where the page puts them."""
    zones, location = marked("nginx-floods", PAGE).split("# inside")
    location = location.partition("\n")[2]
    assert zones.count("_zone ") == 2
    inner = server.replace("    location / {", f"{''.join(FORWARDED)}{location}    location / {{")
    check_nginx(tmp_path, zones + inner, missing)
    basic = marked("nginx-basic", PAGE)
    inner = server.replace("    location / {", f"auth_basic shop;\n{basic}    location / {{")
    check_nginx(tmp_path, inner, missing)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The documented unit, for a folder, a user and an environment of this machine."""
    (tmp_path / "shop.py").write_text(SITE, "utf-8")
    (tmp_path / "shop.env").write_text("FLASK_SECRET_KEY=of-the-tests\n", "utf-8")
    example = marked("systemd", PAGE)
    for old, new in (
        ("User=shop", "User=root"),
        ("/etc/shop.env", f"{tmp_path}/shop.env"),
        ("/srv/shop/.venv/bin/gunicorn", f"{Path(sys.executable).parent}/gunicorn"),
        ("WorkingDirectory=/srv/shop", f"WorkingDirectory={tmp_path}"),
    ):
        assert old in example, old
        example = example.replace(old, new)
    file = tmp_path / "shop.service"
    file.write_text(example, "utf-8")
    return file


def test_systemd_accepts_the_unit(unit: Path, missing: Missing) -> None:
    """The documented unit is one that systemd accepts."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        missing("systemd-analyze", "install systemd")
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "shop.service" not in done.stderr


def test_units_command_starts_the_site(unit: Path, tmp_path: Path) -> None:
    """The unit's command, in its folder and with its environment, serves a chat."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit.read_text("utf-8"))
    service = parser["Service"]
    port = free_port()
    command = shlex.split(service["ExecStart"].replace(":8000", f":{port}"))
    assert f"127.0.0.1:{port}" in command
    variables = Path(service["EnvironmentFile"]).read_text("utf-8").split()
    env = {**os.environ, **dict(one.split("=", 1) for one in variables)}
    folder = Path(service["WorkingDirectory"])
    with process(folder, *command, "--no-control-socket", env=env) as running:
        wait_for(port, running, tmp_path)
        page = requests.get(f"http://127.0.0.1:{port}/chatkit/", timeout=30)
        assert page.status_code == 200
