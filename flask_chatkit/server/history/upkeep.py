"""``CHATKIT_KEEP_DAYS``: the history is pruned once an hour, by one process, while nobody waits."""

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

from ...state import KitState
from ..within import this_app

logger = logging.getLogger("flask_chatkit")

#: How often, whatever the number of processes and machines that share a database.
EVERY = timedelta(hours=1)
JOB = "prune"


def prune_after(kit: KitState, response: Response) -> Response:
    """Have the history pruned after a response has been sent, if it is time to.

    It is done in a thread of its own, when the server has closed the response.
    """
    if kit.settings.keep_days is None or time.monotonic() < kit.prune_at:
        return response
    # Others that are answered meanwhile have nothing to look for.
    kit.prune_at = time.monotonic() + EVERY.total_seconds()
    start = partial(_start, kit, this_app())
    if response.direct_passthrough:
        # Werkzeug hands a stream on as it is, and calls nothing when that is closed.
        response.response = ClosingIterator(cast("Iterable[bytes]", response.response), start)
    else:
        response.call_on_close(start)
    return response


def _start(kit: KitState, app: Flask) -> None:
    threading.Thread(
        target=_prune, args=(kit, app), name="flask_chatkit upkeep", daemon=True
    ).start()


def _prune(kit: KitState, app: Flask) -> None:
    """Prune, unless another process has within the hour."""
    try:
        with app.app_context():
            from . import records
            from .places import Rows
            from .prune import prune

            begin = partial(records.begin_job, kit=kit.own_name, name=JOB, every=EVERY)
            if not Rows(kit.service.records).change(begin):
                return
            done = prune(kit, is_automatic=True)
            logger.info(
                "CHATKIT_KEEP_DAYS: %s threads and %s files of the kit %r were deleted",
                done.threads,
                done.files + done.unsent + done.orphans,
                kit.name,
            )
    except Exception:
        logger.exception("The history of the kit %r could not be pruned", kit.name)
