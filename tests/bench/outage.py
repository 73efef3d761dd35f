"""Bench ``outage``: each part of a site is hung once and killed once while people chat.

Run it by hand, ``python tests/bench/outage.py``; the README beside it tells how to read the table.
PostgreSQL and Redis are started for it, and stopped, continued and killed with signals.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from hostile import quantile, resident
from mint import HERE, ROOT, free_port, running
from stream import environment, listening
from stream_peers import TEXT
from wire import Visitor

WORKERS, THREADS = 2, 256
STREAMS, MINTS = 150, 100
#: Seconds that a part hangs.
HANG = 20
#: Seconds between two deltas of an answer, which has a hundred.
DELAY = 0.02
#: The longest that anybody may wait for anything, in seconds: docs/reliability.md has each part's.
DEADLINE = 20.0


class Part:
    """A server that others need: what starts it, and where it listens."""

    def __init__(self, name, command, port, user=None):
        self.name, self.command, self.port, self.user = name, command, port, user
        self.process = None

    def start(self):
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            self.command,
            cwd=HERE,
            env=environment(),
            user=self.user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        listening(self.name, self.port, self.process)

    def tell(self, what):
        """Send a signal to it and to all that it has started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            for one in (*top.children(recursive=True), top):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.send_signal(what)

    async def hang(self):
        """Freeze it, and let it go on."""
        self.tell(signal.SIGSTOP)
        await asyncio.sleep(HANG)
        self.tell(signal.SIGCONT)

    async def kill(self):
        """Kill it, and start it again two seconds later."""
        self.tell(signal.SIGKILL)
        self.process.wait()
        await asyncio.sleep(2)
        await asyncio.to_thread(self.start)

    def stop(self):
        """End it for good."""
        self.tell(signal.SIGCONT)
        self.tell(signal.SIGKILL)
        self.process.wait()


def postgresql(folder):
    """Make a PostgreSQL of our own; the part, and the URI of its database."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        raise SystemExit("PostgreSQL is not installed")
    data, port = Path(folder, "postgresql"), free_port()
    user = "postgres" if os.getuid() == 0 else None
    data.mkdir()
    if user:
        os.chown(data, pwd.getpwnam(user).pw_uid, -1)
        Path(folder).chmod(0o755)
    subprocess.run(
        [found[-1] / "initdb", "--username=postgres", "--auth=trust", "-D", data],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
    )
    command = [
        *(str(found[-1] / "postgres"), "-D", str(data), "-h", "127.0.0.1"),
        *("-p", str(port), "-k", str(data), "-c", "max_connections=300"),
    ]
    uri = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    return Part("PostgreSQL", command, port, user), uri


def redis(folder):
    """Make a Redis of our own; the part, and its URI."""
    program, port = shutil.which("redis-server"), free_port()
    if program is None:
        raise SystemExit("Redis is not installed")
    command = [program, "--port", str(port), "--save", "", "--dir", folder]
    return Part("Redis", command, port), f"redis://127.0.0.1:{port}/0"


def openai(_folder):
    """Make a stand-in of OpenAI's sessions; the part, and its URL."""
    port = free_port()
    command = [sys.executable, "outage_upstream.py", str(port)]
    return Part("OpenAI", command, port), f"http://127.0.0.1:{port}/v1"


class Crowd:
    """All who chat and mint, and what they saw."""

    def __init__(self, port):
        self.port = port
        self.waits = {"stream": [], "mint": []}
        self.outcomes = {"stream": Counter(), "mint": Counter()}
        self.acknowledged = []
        self.visitors = []
        self.stopping = False
        self.minting = set()
        self.late = []
        self.begun = time.monotonic()

    def note(self, kind, outcome, wait):
        """Count what came of a request, and how long it was silent at most."""
        self.outcomes[kind][outcome] += 1
        self.waits[kind].append(wait)
        if wait > DEADLINE:
            self.late.append(
                f"{kind} {outcome} {wait:.1f} s at {time.monotonic() - self.begun:.0f} s"
            )

    async def chat(self, number):
        """Begin one thread after the other, and remember what the site has said it has."""
        visitor = Visitor(self.port, f"198.51.{number // 250}.{number % 250}")
        self.visitors.append(visitor)
        count = 0
        while not self.stopping:
            if not visitor.token:
                with contextlib.suppress(OSError):
                    await visitor.meet()
                await asyncio.sleep(0 if visitor.token else 0.5)
                continue
            count += 1
            text = f"{DELAY} message {number}-{count}"
            begun = time.perf_counter()
            try:
                answer = await visitor.say(text)
            except OSError as error:
                self.note("stream", type(error).__name__, time.perf_counter() - begun)
                await asyncio.sleep(0.5)
                continue
            self.note("stream", self.outcome(visitor, text, answer), answer.silence)
            if answer.status == 401:
                visitor.token = b""
            if answer.status != 200:
                await asyncio.sleep(0.5)

    def outcome(self, visitor, text, answer):
        """Tell how a stream ended; note the thread and the items that it acknowledged."""
        if answer.status != 200:
            return str(answer.status)
        events = answer.events()
        thread = next((e["thread"]["id"] for e in events if e["type"] == "thread.created"), None)
        done = [e["item"]["id"] for e in events if e["type"] == "thread.item.done"]
        if thread and done:
            self.acknowledged.append((visitor, thread, done, text))
        if any(event["type"] == "error" for event in events):
            return "error event"
        said = [e["item"]["content"][0]["text"] for e in events if e["type"] == "thread.item.done"]
        return "whole" if said[-1:] == [TEXT] else "not whole"

    async def mint(self, number):
        """Mint at a steady pace, whoever is slow."""
        while not self.stopping:
            task = asyncio.create_task(self.mint_once(number))
            self.minting.add(task)
            task.add_done_callback(self.minting.discard)
            number += 1
            await asyncio.sleep(1 / MINTS)

    async def mint_once(self, number):
        """Mint one secret of the hosted chat."""
        address = f"203.{number % 250}.{number // 250 % 250}.7"
        visitor = Visitor(self.port, address, base="/chatkit/sales")
        begun = time.perf_counter()
        try:
            answer = await visitor.meet()
            outcome, wait = str(answer.status), answer.seconds
        except OSError as error:
            outcome, wait = type(error).__name__, time.perf_counter() - begun
        self.note("mint", outcome, wait)

    async def lost(self):
        """What was acknowledged, and is not in the history."""
        missing = []
        for visitor, thread, items, text in self.acknowledged:
            if not any(one is visitor for one in self.visitors):
                continue
            answer = await visitor.ask("items.list", thread_id=thread, limit=100, order="asc")
            if answer.status == 401:
                await visitor.meet()
                answer = await visitor.ask("items.list", thread_id=thread, limit=100, order="asc")
            kept = {item["id"] for item in json.loads(answer.body).get("data", [])}
            if not kept.issuperset(items):
                missing.append(f"{text}: {answer.status}, {len(set(items) - kept)} of {len(items)}")
        return missing


def threads(pid):
    """How many threads a server's processes have."""
    server = psutil.Process(pid)
    return sum(one.num_threads() for one in (server, *server.children(recursive=True)))


async def trouble(parts, seconds):
    """Hang and kill each part in turn, evenly over the time."""
    acts = [act for part in parts for act in (("hung", part.hang), ("killed", part.kill))]
    pause = max(2.0, (seconds - len(parts) * (HANG + 4)) / (len(acts) + 1))
    for (what, act), part in zip(acts, [part for part in parts for _ in range(2)], strict=True):
        await asyncio.sleep(pause)
        print(f"  {part.name} {what}", flush=True)
        await act()
    await asyncio.sleep(pause)


async def run(port, pid, parts, seconds):
    """Let everybody at it while the parts fail, and print what they saw."""
    crowd = Crowd(port)
    calm = (resident(pid), threads(pid))
    tasks = [asyncio.create_task(crowd.chat(number)) for number in range(STREAMS)]
    tasks.append(asyncio.create_task(crowd.mint(0)))
    await asyncio.sleep(10)
    busy = (resident(pid), threads(pid))
    await trouble(parts, seconds)
    after = (resident(pid), threads(pid))
    crowd.stopping = True
    _, hung = await asyncio.wait([*tasks, *crowd.minting], timeout=60)
    for task in hung:
        task.cancel()
        crowd.late.append("a request that nobody has answered")
    await asyncio.sleep(15)
    rest = (resident(pid), threads(pid))
    for kind, waits in crowd.waits.items():
        told = ", ".join(f"{name}: {count}" for name, count in crowd.outcomes[kind].most_common())
        print(
            f"{kind:7} {len(waits):6}  longest silence {max(waits):5.1f} s  "
            f"p99 {quantile(waits, 0.99):5.2f} s  {told}"
        )
    for name, place in (("resident MB", 0), ("threads", 1)):
        print(
            f"{name:12} idle {calm[place]:.0f}, busy {busy[place]:.0f}, after the faults "
            f"{after[place]:.0f}, idle again {rest[place]:.0f}"
        )
    missing = await crowd.lost()
    print(f"acknowledged {len(crowd.acknowledged)} threads, of which not whole: {len(missing)}")
    for line in (*missing[:3], *crowd.late[:5]):
        print(f"  {line}")
    print(
        f"waited longer than {DEADLINE:.0f} s: {len(crowd.late)} (aim: 0); "
        f"lost: {len(missing)} (aim: 0)"
    )


def main():
    """Start everything, and let it fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--only", action="append", choices=["PostgreSQL", "Redis", "OpenAI"])
    args = parser.parse_args()
    with contextlib.ExitStack() as files:
        folder = files.enter_context(tempfile.TemporaryDirectory())
        made = [make(folder) for make in (postgresql, redis, openai)]
        for part, _ in made:
            part.start()
            files.callback(part.stop)
        (_, database), (_, counter), (_, upstream) = made
        env = environment() | {
            "BENCH_INSTANCE": str(folder),
            "BENCH_DATABASE": database,
            "BENCH_REDIS": counter,
            "BENCH_OPENAI": upstream,
        }
        port = free_port()
        command = [
            *(sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", str(THREADS)),
            *("-w", str(WORKERS), "--no-control-socket", "--log-level", "warning"),
            *("--bind", f"127.0.0.1:{port}", "outage_peers:site()"),
        ]
        server = files.enter_context(running(command, env))
        listening("the site", port, server)
        parts = [part for part, _ in made if not args.only or part.name in args.only]
        asyncio.run(run(port, server.pid, parts, args.seconds))


if __name__ == "__main__":
    os.chdir(HERE)
    sys.path.insert(0, str(ROOT))
    main()
