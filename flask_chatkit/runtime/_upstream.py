"""Private names of Flask, threading and gunicorn, which have no public one for the same.

Each is used in this file only; ``tests/runtime/test_upstream.py`` fails when one changes. Those of
the packages of ``flask-chatkit[server]`` are in :mod:`flask_chatkit.server._upstream`.
"""

# ruff: noqa: SLF001  this is the place for them

from __future__ import annotations

import atexit

# Imported so that its hook for the end of the process comes before ours; see at_exit.
import signal
import threading
from collections.abc import Callable
from typing import Any, cast

from flask import Flask, Request, current_app, request


def this_app() -> Flask:
    """The current application itself, which outlives the request.

    Flask 3.1 documents ``_get_current_object`` of its proxies, but leaves it out of their types.
    """
    return cast("Flask", current_app._get_current_object())  # type: ignore[attr-defined]


def this_request() -> Request:
    """The current request itself, which code in other threads can read; as for this_app."""
    return cast("Request", request._get_current_object())  # type: ignore[attr-defined]


def find_error_handler(error: Exception) -> Callable[[Any], Any] | None:
    """The application's own handler of an error, without those of blueprints.

    Flask 3.1 asks a blueprint's handlers first, and offers no way to skip them.
    """
    return current_app._find_error_handler(error, [])


def at_exit(act: Callable[[], object]) -> None:
    """Call a function at the end of the process, before thread pools end.

    ``atexit`` comes after that. Python 3.10 to 3.14 have ``threading._register_atexit``, whose
    hooks run in reverse order; that of the pools is set when their module is imported.
    """
    getattr(threading, "_register_atexit", atexit.register)(act)


def gunicorn_worker() -> Any:
    """Gunicorn's worker, if this process is one; else None.

    Gunicorn 20 to 27 don't publish it: it is the object whose method handles SIGTERM.
    """
    return getattr(signal.getsignal(signal.SIGTERM), "__self__", None)


def gunicorn_seconds_left(default: float) -> float | None:
    """Seconds that gunicorn gives this worker to end once it is told to; None until then.

    Gunicorn kills a worker after them, before any code runs that ends a process.

    :param default: seconds if its configuration has none.
    """
    worker = gunicorn_worker()
    if getattr(worker, "alive", True):
        return None
    return float(getattr(getattr(worker, "cfg", None), "graceful_timeout", default))


def worker_threads() -> int | None:
    """How many requests this process serves at once under gunicorn's threads; None if unknown.

    Its workers of other classes, such as gevent's, have no such bound.
    """
    config = getattr(gunicorn_worker(), "cfg", None)
    if getattr(config, "worker_class_str", None) not in {"sync", "gthread"}:
        return None
    threads = getattr(config, "threads", None)
    return threads if isinstance(threads, int) and threads > 0 else None
