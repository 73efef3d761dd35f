"""Calls are ended at their deadline, whatever becomes of one of them."""

from __future__ import annotations

import time

from flask_chatkit.runtime.watchdog import TICK, Watchdog
from tests.helpers.served import until


class Call:
    """A call that is over its time at once."""

    def __init__(self, error: Exception | None = None) -> None:
        self.deadline = time.monotonic()
        self.ended = False
        self._error = error

    def end(self) -> None:
        """End it, or fail to."""
        if self._error is not None:
            raise self._error
        self.ended = True


def test_one_that_cannot_be_ended_keeps_no_other(caplog: object) -> None:
    """An exception of one call's end is logged, and later calls are ended all the same."""
    watchdog = Watchdog()
    broken, well = Call(TypeError("no socket")), Call()
    watchdog.add(broken)
    until(lambda: broken.ended)
    watchdog.add(well)
    until(lambda: well.ended)
    time.sleep(2 * TICK)
    assert "could not be ended" in caplog.text  # type: ignore[attr-defined]
