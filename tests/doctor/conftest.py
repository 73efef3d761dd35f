"""Fixtures of the doctor's tests."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flask import Flask, render_template_string

from flask_chatkit import ChatKit
from tests.helpers.doctor import PAGE, STRONG
from tests.helpers.sites import MakeApp


@pytest.fixture
def redis_uri(missing: Callable[[str, str], NoReturn]) -> str:
    """The address of a Redis, without the number of a database."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)):
            missing("Redis", "start redis-server on 127.0.0.1:6379")
    return "redis://127.0.0.1:6379"


@pytest.fixture
def production(make_app: MakeApp, tmp_path: Path) -> Callable[..., Flask]:
    """Make sites as they are in production: no debugging, and a good key."""

    def make(kit: ChatKit | None = None, /, **config: Any) -> Flask:
        given = {
            "TESTING": False,
            "SECRET_KEY": STRONG,
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
            "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "files"),
            **({"CHATKIT_WORKFLOW_ID": None} if kit else {}),
            **config,
        }
        app = make_app(kit, **given)
        headers = config.get("HEADERS", {})

        @app.get("/")
        def home() -> Any:
            return render_template_string(PAGE), headers

        return app

    return make
