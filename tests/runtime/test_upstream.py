"""The private names of Flask, threading and gunicorn are what the package takes them for."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Blueprint, Flask
from werkzeug.exceptions import NotFound

from flask_chatkit.runtime import _upstream


def test_current_app_gives_the_application_itself() -> None:
    """Flask's proxy gives the application, which outlives the request."""
    app = Flask("site")
    with app.app_context():
        assert _upstream.this_app() is app


def test_application_handlers_come_without_those_of_blueprints() -> None:
    """Flask finds the application's handler of an error, and not that of a blueprint."""
    app = Flask("site")
    shop = Blueprint("shop", "shop")

    @shop.errorhandler(404)
    def theirs(_error: Any) -> str:
        return "the blueprint's"

    app.register_blueprint(shop)
    with app.test_request_context("/"):
        assert _upstream.find_error_handler(NotFound()) is None

    app = Flask("site")

    @app.errorhandler(404)
    def ours(_error: Any) -> str:
        return "the application's"

    with app.test_request_context("/"):
        assert _upstream.find_error_handler(NotFound()) is ours


def test_exit_hooks_come_before_the_end_of_thread_pools() -> None:
    """What is registered for the end of the process can still use a thread pool."""
    assert hasattr(threading, "_register_atexit"), "Python has no threading._register_atexit"
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from flask_chatkit.runtime._upstream import at_exit\n"
        "pool = ThreadPoolExecutor()\n"
        "at_exit(lambda: print(pool.submit(lambda: 'still there').result()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "still there\n"


def test_gunicorn_worker_handles_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gunicorn's worker is the object whose method handles SIGTERM, with alive and cfg."""
    base = pytest.importorskip("gunicorn.workers.base")
    gthread = pytest.importorskip("gunicorn.workers.gthread")
    config = pytest.importorskip("gunicorn.config").Config()
    config.set("worker_class", "gthread")
    config.set("threads", 8)
    config.set("graceful_timeout", 12)
    worker = gthread.ThreadWorker(1, 1, [], SimpleNamespace(), 30, config, SimpleNamespace())
    assert callable(base.Worker.handle_exit), "gunicorn's worker handles SIGTERM otherwise"
    monkeypatch.setattr(signal, "getsignal", lambda _number: worker.handle_exit)
    assert _upstream.gunicorn_worker() is worker
    assert _upstream.worker_threads() == 8
    assert _upstream.gunicorn_seconds_left(3.0) is None
    worker.alive = False
    assert _upstream.gunicorn_seconds_left(3.0) == 12.0
    worker.tmp.close()


def test_other_servers_have_no_worker() -> None:
    """A process that gunicorn has not started has no worker, no bound and no deadline."""
    assert _upstream.gunicorn_worker() is None
    assert _upstream.worker_threads() is None
    assert _upstream.gunicorn_seconds_left(3.0) is None
