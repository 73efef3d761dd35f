"""Prunes the history once an hour, in one process, after a response.

With ``CHATKIT_KEEP_DAYS`` after any response. Without it only unsent files and the rests of
interrupted uploads are deleted, after an upload.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import cast

from flask import Flask, Response
from werkzeug.wsgi import ClosingIterator

from ..registry import ChatKitState
from ..runtime._upstream import this_app

logger = logging.getLogger("flask_chatkit")

#: The interval, for all processes and machines that share a database.
EVERY = timedelta(hours=1)
JOB = "prune"


def prune_after(kit: ChatKitState, response: Response, *, took_file: bool = False) -> Response:
    """Prune the history after a response was sent, if it is due.

    It runs in a thread of its own, when the server closes the response.

    :param took_file: whether the request has uploaded a file.
    """
    is_wanted = took_file or kit.settings.keep_days is not None
    if not is_wanted or time.monotonic() < kit.prune_at:
        return response
    # Concurrent requests of this process need not check.
    kit.prune_at = time.monotonic() + EVERY.total_seconds()
    start = partial(_start, kit, this_app())
    if response.direct_passthrough:
        # Werkzeug passes a stream through and ignores call_on_close.
        response.response = ClosingIterator(cast("Iterable[bytes]", response.response), start)
    else:
        response.call_on_close(start)
    return response


def _start(kit: ChatKitState, app: Flask) -> None:
    threading.Thread(
        target=_prune, args=(kit, app), name="flask_chatkit upkeep", daemon=True
    ).start()


def _prune(kit: ChatKitState, app: Flask) -> None:
    """Prune, unless another process has within the hour."""
    keeps_threads = kit.settings.keep_days is None
    try:
        with app.app_context():
            from .prune import prune

            if not _begin(kit, at_first=not keeps_threads):
                return
            done = prune(kit, is_automatic=True, orphans=not keeps_threads)
            files = done.files + done.unsent + done.orphans
            if not keeps_threads:
                logger.info(
                    "CHATKIT_KEEP_DAYS: %s threads and %s files of the kit %r were deleted",
                    done.threads,
                    files,
                    kit.name,
                )
            elif files or done.leftovers:
                logger.info(
                    "%s files of the kit %r that were never sent were deleted, and %s that did "
                    "not come whole",
                    files,
                    kit.name,
                    done.leftovers,
                )
    except Exception:
        logger.exception("The history of the kit %r could not be pruned", kit.name)


def _begin(kit: ChatKitState, *, at_first: bool) -> bool:
    """Whether this process is to prune; each does where the kit has no database."""
    if not kit.service.storage.has_records:
        return True
    from ..server.history import records
    from .stores import Rows

    # Before the first run nothing is old enough.
    begin = partial(records.begin_job, kit=kit.own_name, name=JOB, every=EVERY, at_first=at_first)
    return Rows(kit.service.storage.records).change(begin)
