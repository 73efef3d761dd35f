"""How many calls of a process may wait for OpenAI."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from flask_chatkit.errors import UpstreamUnavailable
from flask_chatkit.hosted import share


class Worker:
    """What gunicorn's worker looks like from its handler of signals."""

    def __init__(self, threads: int) -> None:
        self.cfg = SimpleNamespace(threads=threads, worker_class_str="gthread")

    def handle(self, *_: Any) -> None:
        """Would end the worker."""


@pytest.mark.parametrize(("threads", "places"), [(64, 32), (16, 8), (1, 1), (None, 16)])
def test_half_of_gunicorns_threads_may_wait(threads: int | None, places: int) -> None:
    """Half of a worker's threads may wait, and sixteen where their number is not known."""
    usual = signal.getsignal(signal.SIGTERM)
    handler: Any = Worker(threads).handle if threads else signal.SIG_DFL
    signal.signal(signal.SIGTERM, handler)
    try:
        assert share._default_size() == places
    finally:
        signal.signal(signal.SIGTERM, usual)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_places_are_a_processs_own() -> None:
    """A process that was forked while all places were taken has its own."""
    places = share.Share(1)
    with places.call():
        child = os.fork()
        if child == 0:
            with places.call() as seconds:
                os._exit(0 if seconds is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with places.call() as seconds:
            assert seconds == share.BEYOND_SECONDS
    with places.call() as seconds:
        assert seconds is None


def test_slow_is_not_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """While calls are answered further ones begin, however long one has waited; else none does."""
    now = 100.0
    monkeypatch.setattr(share, "time", SimpleNamespace(monotonic=lambda: now))
    places = share.Share(1)
    with places.call():
        now += share.SLOW_SECONDS - 0.1
        with places.call() as seconds:
            assert seconds == share.BEYOND_SECONDS
        now += 0.5
        with places.call():
            now += share.SLOW_SECONDS
            with pytest.raises(UpstreamUnavailable), places.call():
                pass
