"""One answer and two processes: what the second one reads and stops of it, with Redis and without.

Each is a server of its own on one history, as two workers are that a proxy chooses from.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.processes import free_port
from tests.helpers.served import Client, kinds, said, until, visit
from tests.helpers.sites import Browser
from tests.helpers.telling_site import Site
from tests.limits import test_ratelimit

redis_uri = test_ratelimit.redis_uri
ANSWER = "X-ChatKit-Answer"


class Workers:
    """Two processes, and one visitor who meets either."""

    def __init__(self, sites: list[Site]) -> None:
        self.sites = sites
        for site in sites:
            # The first call imports the packages of served chats.
            Browser(site.base).post("/chatkit/secret", json={}, timeout=90)
        self.here = visit(Browser(sites[0].base))
        other = Browser(sites[1].base)
        other.cookies.update(self.here.browser.cookies)
        self.there = Client(other, token=self.here.token)

    def ask(self) -> Any:
        """Begin a slow answer in the first process; its response, once it has said something."""
        body = {"type": "threads.create", "params": {"input": said("slow one")}}
        self.response = self.here.send(body, stream=True)
        self.lines = self.response.iter_lines()
        first = json.loads(next(line for line in self.lines if b"thread.created" in line)[6:])
        next(line for line in self.lines if b"First words" in line)
        return first["thread"]["id"]

    def call(self, client: Client, name: str, thread: str, **more: Any) -> Any:
        """Make one of the kit's own calls."""
        return client.browser.post(f"/chatkit/api/{name}", json={"thread_id": thread}, **more)

    def state(self, client: Client, thread: str) -> str | None:
        """How the last answer stands, as a process knows it."""
        request = {"type": "threads.get_by_id", "params": {"thread_id": thread}}
        answer = client.send({**request, "metadata": {"answer": True}})
        assert answer.status_code == 200, answer.text
        found: str | None = answer.headers.get(ANSWER)
        return found


@pytest.fixture
def start(tmp_path: Path, quota_prefix: str) -> Iterator[Callable[..., Workers]]:
    """Start two processes; keywords are those of each."""
    sites: list[Site] = []

    def begin(**how: Any) -> Workers:
        sites.extend(Site(tmp_path, free_port(), SITE_PREFIX=quota_prefix, **how) for _ in range(2))
        return Workers(sites)

    yield begin
    for site in sites:
        site.kill()
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log, log


def test_second_process_goes_on_with_it(start: Callable[..., Workers], redis_uri: str) -> None:
    """The next page may meet another process: it reads the answer from its start to its end."""
    workers = start(SITE_REDIS=redis_uri)
    thread = workers.ask()
    workers.response.close()
    until(lambda: workers.state(workers.there, thread) == "running")
    with workers.call(workers.there, "resume", thread, stream=True) as response:
        assert response.headers[ANSWER] == "running"
        lines = response.iter_lines()
        found = [next(lines)]
        while b"First words" not in found[-1]:
            found.append(next(lines))
        workers.sites[0].go_on()
        found += lines
    events = [json.loads(line[6:]) for line in found if line.startswith(b"data: ")]
    assert kinds(events)[0] == "thread.created"
    # What comes after the last word of the answer is its thread's title.
    assert "thread.item.done:assistant_message" in kinds(events)
    texts = workers.there.texts(thread, "assistant_message")
    assert texts == ["First words for slow one. And the last ones."]
    assert workers.sites[0].told("begun") == [(workers.sites[0].process.pid, "slow one")]
    until(lambda: workers.state(workers.there, thread) is None)


def test_second_process_stops_it(start: Callable[..., Workers], redis_uri: str) -> None:
    """Stop that meets the other process ends the answer within a second, and its stream."""
    workers = start(SITE_REDIS=redis_uri)
    thread = workers.ask()
    until(lambda: workers.state(workers.there, thread) == "running")
    began = time.monotonic()
    assert workers.call(workers.there, "stop", thread).status_code == 204
    assert b"error" not in b"".join(workers.lines)
    assert time.monotonic() - began < 2
    until(lambda: workers.sites[0].told("stopped"))
    # It was stopped by the visitor, so nothing is said of it.
    until(lambda: workers.there.texts(thread, "assistant_message"), 10)
    until(lambda: workers.state(workers.there, thread) is None)


def test_process_that_is_killed_ends_its_readers(
    start: Callable[..., Workers], redis_uri: str
) -> None:
    """Who reads an answer of a process that dies is told so, and may have it answered again."""
    workers = start(SITE_REDIS=redis_uri)
    thread = workers.ask()
    until(lambda: workers.state(workers.there, thread) == "running")
    with workers.call(workers.there, "resume", thread, stream=True, timeout=60) as response:
        lines = response.iter_lines()
        next(line for line in lines if b"First words" in line)
        killing = threading.Timer(0.5, workers.sites[0].kill)
        killing.start()
        events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    assert events[-1]["type"] == "error"
    assert events[-1]["allow_retry"] is True
    until(lambda: workers.state(workers.there, thread) == "unanswered", 15)


def test_without_redis_the_history_tells(start: Callable[..., Workers]) -> None:
    """Without Redis the other process reads nothing of it, and has it when it is in the history."""
    workers = start(leave=2)
    thread = workers.ask()
    assert workers.call(workers.there, "resume", thread).status_code == 204
    assert workers.call(workers.there, "stop", thread).status_code == 204
    assert workers.sites[0].told("stopped") == []
    workers.response.close()
    until(lambda: workers.sites[0].told("stopped"), 10)
    until(lambda: workers.state(workers.there, thread) == "interrupted")
    assert workers.there.texts(thread, "assistant_message") == ["First words for slow one. "]
