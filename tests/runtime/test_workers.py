"""Threads for calls that may hang."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from flask_chatkit.runtime import workers
from flask_chatkit.runtime.workers import Stuck, Workers


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Make what calls hang at; it is opened in the end."""
    gate = threading.Event()
    yield gate
    gate.set()


def running(name: str) -> int:
    """How many threads of a name there are."""
    return sum(thread.name == name for thread in threading.enumerate())


def settled(name: str, count: int) -> bool:
    """Whether there are so many threads of a name soon."""
    end = time.monotonic() + 3
    while running(name) != count and time.monotonic() < end:
        time.sleep(0.01)
    return running(name) == count


def test_what_hangs_is_replaced(gate: threading.Event) -> None:
    """Who waits gives up in time, others are served, and the thread ends when it comes back."""
    crew = Workers(2, "replaced")
    for _ in range(5):
        with pytest.raises(Stuck):
            crew.run(gate.wait, 0.02)
    assert crew.stuck == 5
    assert crew.run(lambda: "served", 2) == "served"
    gate.set()
    assert settled("replaced", 1)
    assert crew.stuck == 0
    crew.close(1)


def test_errors_come_back() -> None:
    """What a call raises is raised where it is waited for, a timeout of its own included."""
    crew = Workers(1, "errors")
    with pytest.raises(ZeroDivisionError):
        crew.run(lambda: 1 // 0, 2)

    def late() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        crew.run(late, 2)
    crew.close(1)


def test_what_waits_for_a_thread_is_not_begun_later(gate: threading.Event) -> None:
    """A call that was given up before its turn is never done."""
    crew = Workers(1, "turns")
    done: list[str] = []
    first = crew.submit(gate.wait)
    with pytest.raises(Stuck):
        crew.run(lambda: done.append("late"), 0.02)
    gate.set()
    assert first.result(2)
    assert crew.run(lambda: "next", 2) == "next"
    assert done == []
    crew.close(1)


def test_no_more_than_so_many_hang(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """When many hang the next call is refused at once, but one a minute is begun nevertheless."""
    crew = Workers(1, "many", most=2)
    for _ in range(2):
        with pytest.raises(Stuck):
            crew.run(gate.wait, 0.02)
    with pytest.raises(Stuck, match="hang"):
        crew.submit(lambda: None)
    monkeypatch.setattr(workers, "AGAIN_SECONDS", 0.0)
    assert crew.run(lambda: "begun", 2) == "begun"
    crew.close(1)


def test_threads_end_with_their_owner() -> None:
    """Threads that nobody can reach any more end by themselves."""
    crew = Workers(3, "owned")
    crew.run(lambda: None, 2)
    assert running("owned") == 1
    del crew
    gc.collect()
    assert settled("owned", 0)
