"""Bench ``hostile``: five visitors who want the site to suffer, and what the honest ones notice.

Run it by hand, ``python tests/bench/hostile.py``; the README beside it tells how to read the table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

import psutil
from mint import HERE, ROOT, add_also, free_port, running
from stream import environment, listening
from wire import Visitor

sys.path.insert(0, str(ROOT))
from tests.helpers.nginx import NGINX, documented, nginx_command

THREADS = 64
HOSTILE = 5
HONEST = 10
#: Seconds between two messages of an honest visitor: what the default limit lets them say.
PAUSE = 3.5
#: Connections that each hostile visitor keeps busy in each of their ways.
AT_ONCE = 2
#: Bytes of a picture, and pictures of one message.
PICTURE = 3_000_000
PICTURES = 9
#: What must hold: megabytes more resident, milliseconds to the first delta (p99).
MEGABYTES = 100
FIRST_MS = 100


def picture():
    """Make a PNG of some size that nothing makes smaller."""
    width, height = 1000, PICTURE // 3000
    raw = b"".join(b"\0" + random.randbytes(3 * width) for _ in range(height))

    def part(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"IDAT", zlib.compress(raw, 0))
        + part(b"IEND", b"")
    )


class Hostile:
    """One who uses up all that a single visitor can reach."""

    def __init__(self, port, number, shot):
        self.visitor = Visitor(port, f"203.0.113.{number}", base="/chatkit/agent")
        self.shot = shot
        self.files = []
        self.thread = None
        self.items = []
        self.calls = 0
        self.seen = self.visitor.refused

    async def run(self):
        """Attack in all ways at once, for as long as one is let."""
        await self.again(self.visitor.meet)
        ways = (self.talk, self.flood, self.fill, self.hold, self.mint)
        await asyncio.gather(*(self.keep(way) for way in ways for _ in range(AT_ONCE)))

    async def keep(self, way):
        """Do it again, whatever comes of it."""
        while True:
            await self.again(way)
            await asyncio.sleep(0.005)

    async def again(self, way):
        """Do it once."""
        self.calls += 1
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
            await way()

    async def talk(self):
        """Send pictures, and then words, each of which sends all of them to the model again."""
        if self.thread is None and len(self.files) >= PICTURES:
            answer = await self.visitor.say("Look", files=self.files[:PICTURES])
            events = answer.events()
            self.thread = next(e["thread"]["id"] for e in events if e["type"] == "thread.created")
            self.items += [e["item"]["id"] for e in events if e["type"] == "thread.item.done"]
            return
        answer = await self.visitor.say(f"And now? {self.calls}", self.thread)
        if answer.status != 200:
            await asyncio.sleep(0.2)

    async def flood(self):
        """Rate the same answer over and over, read, and rename."""
        kind = random.choice(["feedback", "list", "items", "update"])
        if kind == "list" or self.thread is None:
            await self.visitor.ask("threads.list", limit=100)
        elif kind == "feedback":
            ids = self.items[-1:] * 50
            await self.visitor.ask(
                "items.feedback", thread_id=self.thread, item_ids=ids, kind="positive"
            )
        elif kind == "items":
            await self.visitor.ask("items.list", thread_id=self.thread, limit=100)
        else:
            await self.visitor.ask("threads.update", thread_id=self.thread, title="x" * 200)

    async def fill(self):
        """Upload pictures that nobody sends."""
        name = await self.visitor.upload("shot.png", "image/png", self.shot)
        if name is None:
            await asyncio.sleep(0.2)
        elif len(self.files) < PICTURES:
            self.files.append(name)

    async def hold(self):
        """Ask for a picture, and read nothing of it."""
        if not self.files:
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", self.visitor.port, limit=1024)
        try:
            path = f"{self.visitor.base}/attachments/{random.choice(self.files)}"
            writer.write(self.visitor.request("GET", path))
            await writer.drain()
            await reader.read(1)
            await asyncio.sleep(30)
        finally:
            writer.close()

    async def mint(self):
        """Ask for secrets, now with a cookie and now without."""
        stranger = Visitor(self.visitor.port, self.visitor.address, base=self.visitor.base)
        await (stranger if random.random() < 0.5 else self.visitor).meet()


class Honest:
    """One who talks as a person does."""

    def __init__(self, port, number):
        self.visitor = Visitor(port, f"198.51.100.{number}")
        self.first = []
        self.failed = []

    async def run(self):
        """Say one thing after the other."""
        await asyncio.sleep(random.uniform(0, PAUSE))
        await self.visitor.meet()
        thread = None
        while True:
            begun = time.perf_counter()
            try:
                answer = await self.visitor.say(f"When are you open? {begun}", thread)
                events = answer.events()
                created = [e["thread"]["id"] for e in events if e["type"] == "thread.created"]
                thread = created[0] if created else thread
                if answer.first is None:
                    self.failed.append(f"{answer.status} {answer.body[-200:]!r}")
                else:
                    self.first.append(answer.first)
            except OSError as error:
                self.failed.append(repr(error))
            await asyncio.sleep(max(0.0, PAUSE - (time.perf_counter() - begun)))


def resident(pid):
    """Megabytes of a server's processes."""
    server = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (server, *server.children(recursive=True))) / 1e6


def stored(folder):
    """Megabytes in a folder."""
    sizes = []
    for path in Path(folder).rglob("*"):
        with contextlib.suppress(OSError):
            sizes.append(path.stat().st_size if path.is_file() else 0)
    return sum(sizes) / 1e6


def quantile(values, share):
    """The value that so many are below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


async def phase(port, pid, folder, seconds, hostile):
    """Let the honest talk, alone or beside others; what was seen."""
    shot = picture()
    honest = [Honest(port, number) for number in range(1, HONEST + 1)]
    others = [Hostile(port, number, shot) for number in range(1, hostile + 1)]
    tasks = [asyncio.create_task(one.run()) for one in (*honest, *others)]
    before, peak, disk = resident(pid), 0.0, stored(folder)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(1)
        peak = max(peak, resident(pid))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "first": [each for one in honest for each in one.first],
        "failed": [each for one in honest for each in one.failed],
        "before": before,
        "peak": peak,
        "disk": stored(folder) - disk,
        "calls": sum(one.calls for one in others),
        "refused": {
            status: sum(one.seen.get(status, 0) for one in others)
            for status in sorted({status for one in others for status in one.seen})
        },
    }


def show(name, seen):
    """Print what a phase has brought."""
    first = [each * 1000 for each in seen["first"]]
    print(
        f"{name:12} answers {len(first):4}  first delta p50 {quantile(first, 0.5):6.1f} ms  "
        f"p99 {quantile(first, 0.99):7.1f} ms  failed {len(seen['failed'])}  "
        f"resident {seen['before']:.0f} -> {seen['peak']:.0f} MB  disk +{seen['disk']:.1f} MB"
    )
    if seen["refused"]:
        told = ", ".join(f"{status}: {count}" for status, count in seen["refused"].items())
        print(f"{'':12} hostile calls {seen['calls']}; answers by status {told}")
    for failed in seen["failed"][:3]:
        print(f"{'':12} {failed[:200]}")


def main():
    """Run the site, alone first and then under attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240, help="of the attack")
    parser.add_argument("--direct", action="store_true", help="without nginx in front")
    add_also(parser)
    args = parser.parse_args()
    if not (args.direct or NGINX):
        parser.error("no nginx; install nginx-light, or say --direct")
    for package in (None, *args.also):
        print("this checkout" if package is None else package)
        attack(package, args.seconds, direct=args.direct)


def front(files, behind):
    """Start nginx as docs/deployment.md has it, without TLS; its port."""
    port = free_port()
    server = re.sub(r"(?m)^ *(ssl_|add_header).*\n", "", documented("nginx"))
    server = server.replace("443 ssl", f"127.0.0.1:{port}").replace("8000", str(behind))
    # Each client of the bench has an address of its own.
    server = server.replace("$remote_addr", "$http_x_forwarded_for")
    folder = Path(files.enter_context(tempfile.TemporaryDirectory()))
    command = nginx_command(folder, server, "worker_connections 4096;")
    listening("nginx", port, files.enter_context(running(command, environment())))
    return port


def attack(package, seconds, *, direct):
    """Attack one version of the kit."""
    with contextlib.ExitStack() as files:
        folder = files.enter_context(tempfile.TemporaryDirectory())
        env = environment()
        model = files.enter_context(
            running([sys.executable, "hostile_peers.py"], env, stdout=-1, text=True)
        )
        url = f"http://127.0.0.1:{model.stdout.readline().strip()}/v1"
        env |= {"BENCH_MODEL": url, "BENCH_INSTANCE": folder}
        if package:
            env["PYTHONPATH"] = os.pathsep.join([package, env["PYTHONPATH"]])
        port = free_port()
        command = [
            *(sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", str(THREADS)),
            *("-w", "1", "--no-control-socket", "--log-level", "warning"),
            *("--bind", f"127.0.0.1:{port}", "hostile_peers:site()"),
        ]
        server = files.enter_context(running(command, env))
        listening("the site", port, server)
        if not direct:
            port = front(files, port)
        # The first answers import what they need, and open what they keep.
        asyncio.run(phase(port, server.pid, folder, 8, 0))
        show("alone", asyncio.run(phase(port, server.pid, folder, 30, 0)))
        seen = asyncio.run(phase(port, server.pid, folder, seconds, HOSTILE))
        show("attacked", seen)
        grown = seen["peak"] - seen["before"]
        p99 = quantile(seen["first"], 0.99) * 1000
        print(f"{'':12} grown by {grown:.0f} MB (aim: under {MEGABYTES}): {grown < MEGABYTES}")
        print(f"{'':12} first delta p99 {p99:.0f} ms (aim: under {FIRST_MS}): {p99 < FIRST_MS}")


if __name__ == "__main__":
    os.chdir(HERE)
    main()
