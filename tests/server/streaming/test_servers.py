"""Streamed answers under the servers that people use, each a process of its own."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest
import requests

from tests.helpers.paths import HELPERS, ROOT
from tests.helpers.sites import Browser

#: Threads of the servers that have a pool of them.
THREADS = 16
GUNICORN = "-m gunicorn -b 127.0.0.1:{port} --no-control-socket site_under_test:make_app()"
#: How each is started, by its name; {port} is free.
COMMANDS = {
    "werkzeug": "-m flask --app site_under_test:make_app run --port {port}",
    "gthread": f"{GUNICORN} -k gthread --threads {THREADS}",
    "preloaded": f"{GUNICORN} -k gthread --threads {THREADS} --preload -w 2",
    "sync": f"{GUNICORN} -k sync",
    "gevent": f"{GUNICORN} -k gevent",
    "waitress": (
        f"-m waitress --listen 127.0.0.1:{{port}} --threads {THREADS} "
        "--call site_under_test:make_app"
    ),
    "uvicorn": "-m uvicorn --factory --port {port} --no-access-log site_under_test:make_asgi",
    "hypercorn": "-m hypercorn -b 127.0.0.1:{port} site_under_test:make_asgi()",
}
#: How many clients leave in the middle of an answer, by server; sync serves one at a time.
ABORTS = {"gthread": 1000, "sync": 10}
#: Seconds in which a model's call must be cut off, on a machine that is busy with other things.
CUT = 4.0
Missing = Callable[[str, str], NoReturn]


def until(holds: Callable[[], Any], seconds: float = 10.0, every: float = 0.02) -> Any:
    """Wait until something holds; what it is."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(every)
    return found


class Model:
    """The other end of the answers: it says words, and sees who hangs up when."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        #: When a call was cut off, by its name, in this machine's monotonic seconds.
        self.cut: dict[str, float] = {}
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        """Hang up on everybody."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0, backlog=1000)
        self.address = f"localhost:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._over.wait()
        server.close()
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readline()).decode().split()
        plan = dict(part.split("=") for part in asked)
        name = plan.get("name", "")
        self.open.add(name)
        tasks = [asyncio.create_task(act) for act in (self._talk(writer, plan), reader.read())]
        try:
            await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
            if not tasks[0].done() or tasks[0].exception():
                self.cut[name] = time.monotonic()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.open.discard(name)
            writer.close()

    async def _talk(self, writer: asyncio.StreamWriter, plan: dict[str, str]) -> None:
        for number in range(int(plan.get("words", 5))):
            if number == int(plan.get("after", -1)):
                await asyncio.sleep(float(plan["silence"]))
            writer.write(b"w%d \n" % number)
            await writer.drain()
            await asyncio.sleep(float(plan.get("every", 0.05)))


class Stream:
    """A client in the middle of an answer."""

    def __init__(self, port: int, path: str, call: dict[str, Any], cookie: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Content-Type": "application/json", "Cookie": cookie}
        self._connection.request("POST", path, json.dumps(call), headers)
        self._socket = self._connection.sock
        self.answer = self._connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        self.headers = self.answer.headers
        #: What came so far, and when.
        self.events: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.heartbeats: list[float] = []

    def read(self, count: int | None = None, heartbeats: int = 0) -> str:
        """The words so far, once there are as many, and as many heartbeats; or all of them."""
        while count is None or len(self.words) < count or len(self.heartbeats) < heartbeats:
            line = self.answer.readline()
            if line == b": hb\n":
                self.heartbeats.append(time.monotonic())
            elif line.startswith(b"data: "):
                self.events.append(json.loads(line[6:]))
                self.times.append(time.monotonic())
            elif not line:
                self.close()
                break
            else:
                assert line == b"\n", line
        return str("".join(self.words))

    @property
    def words(self) -> list[str]:
        """The words so far; deltas that have waited come as one."""
        updates = [event["update"] for event in self.events if "update" in event]
        text = "".join(update["delta"] for update in updates if "delta" in update)
        return re.findall(r"\S+\s*", text)

    @property
    def word_times(self) -> list[float]:
        """When each word came."""
        return [
            when
            for when, event in zip(self.times, self.events, strict=True)
            if "delta" in event.get("update", {})
        ]

    @property
    def thread(self) -> str:
        """The thread that was made for it."""
        return next(event["thread"]["id"] for event in self.events if "thread" in event)

    def close(self) -> float:
        """Leave, as a closed tab does; when that was."""
        self.answer.close()
        self._connection.close()
        self._socket.close()
        return time.monotonic()


class Site:
    """A server that runs, and a visitor of it."""

    def __init__(self, kind: str, folder: Path, model: Model, more: str = "") -> None:
        self.kind, self.folder, self.model, self.more = kind, folder, model, more
        self.log = folder / "log.txt"
        self.cookie = ""
        self.start()

    def start(self) -> None:
        """Start the server, on a free port; the folder has what it knew before."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = f"{COMMANDS[self.kind].format(port=self.port)} {self.more}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command.split()],
                cwd=HELPERS,
                env={
                    **os.environ,
                    "PYTHONPATH": f"{ROOT}{os.pathsep}{HELPERS}",
                    "PYTHONUNBUFFERED": "1",
                    "SITE_FOLDER": str(self.folder),
                    "SITE_MODEL": self.model.address,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.browser = Browser(f"http://127.0.0.1:{self.port}")

        until(lambda: self.is_up, 60)
        if not self.cookie:
            answer = self.browser.post("/chatkit/secret", timeout=30)
            assert answer.status_code == 200, self.log.read_text()
            self.cookie = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())

    @property
    def is_up(self) -> bool:
        """Whether it takes connections."""
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """End the server and its workers as a power cut does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def say(self, plan: str, *, thread: str | None = None, chat: str = "") -> Stream:
        """Send a message which is the model's plan; each is a new one by its name."""
        said: dict[str, Any] = {
            "input": {
                "content": [{"type": "input_text", "text": plan}],
                "attachments": [],
                "inference_options": {},
            }
        }
        kind = "threads.create"
        if thread is not None:
            kind, said["thread_id"] = "threads.add_user_message", thread
        return Stream(self.port, f"/chatkit{chat}/api", {"type": kind, "params": said}, self.cookie)

    def history(self, thread: str, chat: str = "") -> list[tuple[str, str]]:
        """Who said what in a thread."""
        answer = self.browser.post(
            f"/chatkit{chat}/api",
            json={"type": "threads.get_by_id", "params": {"thread_id": thread}},
            headers={"Cookie": self.cookie},
            timeout=30,  # gunicorn takes connections before it has the application
        )
        assert answer.status_code == 200, answer.text
        return [
            (item["type"], "".join(part["text"] for part in item["content"]))
            for item in answer.json()["items"]["data"]
        ]

    def stats(self) -> list[dict[str, Any]]:
        """What each process holds."""
        found: dict[int, dict[str, Any]] = {}

        def all_told() -> bool:
            # Each on a connection of its own, which any worker may take.
            with Browser(self.browser.base) as asking:
                told = asking.get("/stats").json()
            found[told["pid"]] = told
            return len(found) == (2 if self.kind == "preloaded" else 1)

        until(all_told, 20)
        return [found[pid] for pid in sorted(found)]

    @property
    def complaints(self) -> list[str]:
        """What is in the log that should not be."""
        return re.findall(
            r"(?m)^.*(?:Traceback|Error|destroyed|never retrieved|never awaited).*$",
            self.log.read_text(),
        )


def named(plan: str) -> tuple[str, str]:
    """A new name for a call, and the plan with it."""
    name = secrets.token_hex(6)
    return name, f"name={name} {plan}"


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    """The model behind all sites."""
    made = Model()
    yield made
    made.close()


@contextmanager
def served(
    kind: str, folder: Path, model: Model, missing: Missing, more: str = ""
) -> Iterator[Site]:
    """A server that runs until the end of a test."""
    part = re.search(r"-m (\w+)", COMMANDS[kind])
    for needed in (part and part[1], "gevent" if kind == "gevent" else "flask"):
        if needed and find_spec(needed) is None:
            missing(needed, f"pip install {needed}")
    site = Site(kind, folder, model, more)
    try:
        yield site
    finally:
        site.kill()
        site.browser.close()


@pytest.fixture(scope="module", params=list(COMMANDS))
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    model: Model,
    missing: Missing,
) -> Iterator[Site]:
    """One site for each server."""
    with served(request.param, tmp_path_factory.mktemp(request.param), model, missing) as made:
        yield made


def test_words_arrive_when_they_are_said(site: Site) -> None:
    """Words come as the model says them, and a silence is filled with heartbeats."""
    _, plan = named("words=6 every=0.1 after=3 silence=1.4")
    stream = site.say(plan)
    assert stream.read() == "w0 w1 w2 w3 w4 w5 "
    assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["Cache-Control"] == "no-cache, no-transform"
    assert stream.headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in stream.headers
    times = stream.word_times
    assert times[-1] - times[0] > 1.4
    assert [when for when in stream.heartbeats if times[2] < when < times[3]]
    assert stream.events[-1]["type"] == "thread.item.done"
    assert site.history(stream.thread)[-1] == ("assistant_message", "w0 w1 w2 w3 w4 w5 ")


def test_leaving_cuts_the_call_off(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    """When a client leaves, its model's call ends soon, what was said is kept, and it can go on."""

    def leave(moment: str, chat: str) -> float:
        rest = "every=0.1" if moment == "speech" else "every=0.02 after=3 silence=60"
        name, plan = named(f"words=600 {rest}")
        stream = site.say(plan, chat=chat)
        # A moment after a heartbeat is the worst one: the next is the longest away.
        stream.read(3, heartbeats=0 if moment == "speech" else 1)
        thread, left = stream.thread, stream.close()
        cut: float = until(lambda: site.model.cut.get(name)) - left
        kept = until(lambda: site.history(thread, chat)[1:])
        assert [kind for kind, _ in kept] == ["assistant_message"]
        assert kept[0][1].startswith("w0 w1 w2 ")
        assert site.say(named("words=2")[1], thread=thread, chat=chat).read() == "w0 w1 "
        said_by = [kind for kind, _ in site.history(thread, chat)]
        assert said_by == ["user_message", "assistant_message"] * 2
        return cut

    moments = [("speech", ""), ("speech", "/agent"), ("silence", ""), ("silence", "/agent")]
    if site.kind == "sync":
        moments = moments[1:3]
    with ThreadPoolExecutor(1 if site.kind == "sync" else 4) as clients:
        cuts = list(clients.map(lambda moment: leave(*moment), moments))
    for (moment, chat), cut in zip(moments, cuts, strict=True):
        print(f"{site.kind}, {moment} {chat}: cut off after {cut:.2f} s")
        record_property(f"{moment}{chat}", round(cut, 2))
    assert max(cuts) < CUT


def test_several_at_once(site: Site) -> None:
    """Answers do not wait for each other; under gunicorn's sync worker one stream is all."""

    def one(_: int) -> tuple[float, float]:
        stream = site.say(named("words=10 every=0.1")[1])
        assert stream.read() == "".join(f"w{number} " for number in range(10))
        return stream.word_times[0], stream.word_times[-1]

    count = 2 if site.kind == "sync" else 4  # which is what one visitor may have at a time
    with ThreadPoolExecutor(count) as clients:
        spans = list(clients.map(one, range(count)))
    last_to_begin = max(begin for begin, _ in spans)
    first_to_end = min(end for _, end in spans)
    assert (last_to_begin > first_to_end) == (site.kind == "sync")


def test_nothing_is_left_of_those_who_left(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    """However many clients leave, no task, thread or open call is left of them."""

    def leave(number: int) -> None:
        # One in five leaves in silence, and every second one an agent.
        rest = "after=2 silence=60" if number % 5 == 0 else "every=0.02"
        stream = site.say(named(f"words=6000 {rest}")[1], chat="/agent" if number % 2 else "")
        stream.read(1)
        stream.close()

    def settled() -> list[dict[str, Any]]:
        return until(
            lambda: (
                not site.model.open
                and (now := site.stats())
                and not any(one["answers"] or one["tasks"] for one in now)
                and now
            ),
            20,
        )

    def count(now: list[dict[str, Any]], what: str) -> int:
        return sum(one[what] for one in now)

    aborts = ABORTS.get(site.kind, 60)
    with ThreadPoolExecutor(4 if site.kind == "sync" else THREADS) as clients:
        # The pools of threads, each of which has a bound, fill up first.
        list(clients.map(leave, range(5 if site.kind == "sync" else 50)))
        before = settled()
        list(clients.map(leave, range(aborts)))
    after = settled()
    assert [one["pid"] for one in before] == [one["pid"] for one in after]
    # A pool need not have been full in the first of its process's rounds.
    for what, more in (("threads", THREADS * len(before)), ("kilobytes", 40_000)):
        told = f"{count(before, what)} -> {count(after, what)}"
        print(f"{site.kind}, {aborts} left: {told} {what}")
        record_property(what, told)
        assert count(after, what) < count(before, what) + more


def test_nothing_was_complained_of(site: Site) -> None:
    """After all this the server's log has no error in it."""
    assert site.complaints == []


@pytest.fixture
def start(tmp_path: Path, model: Model, missing: Missing) -> Iterator[Callable[[str, str], Site]]:
    """Start sites that a test may end."""
    with ExitStack() as running:
        yield lambda kind, more: running.enter_context(served(kind, tmp_path, model, missing, more))


def test_killed_process_loses_no_message(start: Callable[[str, str], Site]) -> None:
    """After kill -9 in the middle of an answer the message is there, and the thread can go on."""
    site = start("gthread", "")
    stream = site.say(named("words=600 every=0.05")[1])
    stream.read(3)
    thread = stream.thread
    site.kill()
    stream.close()
    site.start()
    assert [kind for kind, _ in site.history(thread)] == ["user_message"]
    assert site.say(named("words=2")[1], thread=thread).read() == "w0 w1 "
    assert [kind for kind, _ in site.history(thread)] == [
        *["user_message", "user_message", "assistant_message"]
    ]


@pytest.mark.parametrize(
    ("kind", "more"), [("gthread", ""), ("uvicorn", ""), ("hypercorn", "--graceful-timeout 20")]
)
def test_stopped_server_lets_answers_end(
    start: Callable[[str, str], Site], kind: str, more: str
) -> None:
    """A server that is told to end takes no new calls, and an answer under way is not cut."""
    site = start(kind, more)
    stream = site.say(named("words=15 every=0.1")[1])
    stream.read(2)
    site.process.terminate()
    assert stream.read().endswith("w14 ")
    assert stream.events[-1]["type"] == "thread.item.done"
    # Since 0.29 uvicorn ends by the very signal, once all is done.
    assert site.process.wait(10) in {0, -signal.SIGTERM}
    assert site.complaints == []
    site.start()
    assert site.history(stream.thread)[-1] == ("assistant_message", "".join(stream.words))


@pytest.mark.parametrize(
    ("kind", "more", "how"),
    [
        ("gthread", "--graceful-timeout 3", signal.SIGTERM),
        ("werkzeug", "", signal.SIGINT),
        ("uvicorn", "--timeout-graceful-shutdown 1", signal.SIGTERM),
        ("hypercorn", "--graceful-timeout 1", signal.SIGTERM),
    ],
    ids=["gthread-term", "werkzeug-int", "uvicorn-term", "hypercorn-term"],
)
def test_stopped_server_keeps_what_was_said(
    start: Callable[[str, str], Site], kind: str, more: str, how: signal.Signals
) -> None:
    """An answer that takes too long for a server's end is cut off, and what it said is kept."""
    site = start(kind, more)
    name, plan = named("words=600 every=0.1")
    stream = site.say(plan)
    stream.read(3)
    site.process.send_signal(how)
    stream.read()
    site.process.wait(10)
    assert name in site.model.cut
    if kind != "hypercorn":  # which leaves a cancelled task to asyncio, which complains
        assert site.complaints == []
    site.start()
    assert [kind for kind, _ in site.history(stream.thread)] == [
        *["user_message", "assistant_message"]
    ]


def test_reloaded_server_goes_on(start: Callable[[str, str], Site]) -> None:
    """Gunicorn that is reloaded lets an old worker end its answer, and a new one takes over."""
    site = start("gthread", "")
    stream = site.say(named("words=30 every=0.1")[1])
    stream.read(2)
    former = site.stats()[0]["pid"]
    site.process.send_signal(signal.SIGHUP)

    def is_another_one() -> bool:
        # A request that the old worker has accepted, and not begun, ends with it.
        with suppress(requests.RequestException):
            return bool(site.stats()[0]["pid"] != former)
        return False

    until(is_another_one, 60)
    assert site.say(named("words=2")[1]).read() == "w0 w1 "
    assert stream.read().endswith("w29 ")
    assert site.say(named("words=2")[1], thread=stream.thread).read() == "w0 w1 "
    assert len(site.history(stream.thread)) == 4
    assert site.complaints == []
