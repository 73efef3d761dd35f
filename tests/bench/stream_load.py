"""The visitors of bench ``stream``: each with a connection of its own, each always in an answer.

A program of its own; it prints one JSON object. What is counted begins after a warm-up; every
answer is taken to pieces and checked once the counting is over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import time

import psutil
from mint_load import cpu_seconds
from stream_peers import DELTAS, PATHS, TEXT

MARK = b'"assistant_message.content_part.text_delta"'
#: Begins what comes after the deltas, and says it all once more.
DONE = b'"assistant_message.content_part.done"'
#: In each word once, however many of them came as one delta.
WORD = b" of an answer, "
END = b"0\r\n\r\n"
#: Seconds that one answer may take before it counts as broken.
PATIENCE = 180.0

_COOKIE = re.compile(rb"\r\nset-cookie: *([^;\r]*)", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9a-fA-F]+)\r\n")


class Connection(asyncio.Protocol):
    """A connection that tells when the first delta came, and when the answer was over."""

    def __init__(self, tally):
        self.tally = tally
        self.transport = None
        self.answer = bytearray()
        self.first = None
        self.over = None
        self.end = END
        self.words = 0

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, request, end=END):
        """Send a request; a future that is done when its answer is there."""
        self.answer, self.first, self.end, self.words = bytearray(), None, end, 0
        self.over = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.over

    def data_received(self, data):
        self.answer += data
        if self.first is None and MARK in data:
            self.first = time.perf_counter()
        if self.first is not None and self.words < DELTAS:
            # The whole text at the end, twice, is no delta.
            words = min(data.partition(DONE)[0].count(WORD), DELTAS - self.words)
            self.words += words
            if self.tally.counting:
                self.tally.deltas += words
        if data.endswith(self.end) or self.answer.endswith(self.end):
            self.over.set_result(bytes(self.answer))

    def connection_lost(self, error):
        if self.over is not None and not self.over.done():
            self.over.set_exception(error or ConnectionError("the connection was closed"))


class Load:
    """What the visitors share: the question, and the tally of answers."""

    def __init__(self, peer, port, delay):
        self.peer = peer
        self.port = port
        self.delay = delay
        self.counting = False
        self.stopping = False
        self.deltas = 0
        self.known = 0
        self.first = []
        self.answers = []
        self.errors = []

    def request(self, path, body, more=b""):
        """Write a request, with the headers that a browser sends from the site's own page."""
        head = (
            f"POST {path} HTTP/1.1\r\n"
            f"Host: localhost:{self.port}\r\n"
            f"Origin: http://localhost:{self.port}\r\n"
            "Sec-Fetch-Site: same-origin\r\n"
            "User-Agent: bench\r\n"
            "Accept: text/event-stream\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
        )
        return head.encode() + more + b"\r\n" + body

    async def connect(self):
        """Open a connection."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(self), "127.0.0.1", self.port
        )
        return connection

    async def introduce(self):
        """Get what a visitor needs: ours wants to know who speaks, by cookie and by token."""
        if self.peer != "ours":
            return b""
        connection = await self.connect()
        answer = await connection.ask(self.request("/chatkit/secret", b"{}"), b"}\n")
        connection.transport.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        token = json.loads(body)["client_secret"].encode()
        cookie = _COOKIE.search(head)[1]
        self.known += 1
        return b"Cookie: " + cookie + b"\r\nAuthorization: Bearer " + token + b"\r\n"

    async def visitor(self, number, headers, pause):
        """Send one message after the other, each in a thread of its own."""
        await asyncio.sleep(pause)
        connection = await self.connect()
        count = 0
        while not self.stopping:
            count += 1
            text = f"{self.delay} seconds between words, please: message {number}-{count}"
            begun = time.perf_counter()
            request = self.request(PATHS[self.peer], creation(text), headers)
            try:
                answer = await asyncio.wait_for(connection.ask(request), PATIENCE)
            except (OSError, TimeoutError, asyncio.TimeoutError) as error:
                self.errors.append(f"{type(error).__name__}: {error}"[:200])
                connection.transport.close()
                connection = await self.connect()
                continue
            self.answers.append((text, answer))
            if connection.first is not None:
                self.first.append(connection.first - begun)
        connection.transport.close()

    async def run(self, visitors, warm_up, seconds, pid):
        """Let the visitors talk, and tell what they saw."""
        headers = [await self.introduce() for _ in range(visitors)]
        # An answer lasts so long: who all begin at once would also end at once, time and again.
        spread = max(self.delay * DELTAS, 0.1)
        tasks = [
            asyncio.create_task(self.visitor(number, headers[number], spread * number / visitors))
            for number in range(visitors)
        ]
        await asyncio.sleep(spread + warm_up)
        own, used, begun = cpu_seconds(psutil.Process().pid), cpu_seconds(pid), time.perf_counter()
        self.counting = True
        await asyncio.sleep(seconds)
        self.counting = False
        elapsed, used = time.perf_counter() - begun, cpu_seconds(pid) - used
        own = cpu_seconds(psutil.Process().pid) - own
        size = memory(pid)
        self.stopping = True
        done = await asyncio.gather(*tasks, return_exceptions=True)
        broken = [repr(one) for one in done if isinstance(one, BaseException)]
        wrong = [said for text, answer in self.answers if (said := complaint(text, answer))]
        return {
            "seconds": elapsed,
            "cpu": used,
            "own_cpu": own,
            "memory": size,
            "known": self.known,
            "streams": self.deltas / DELTAS,
            "answers": len(self.answers),
            "first": self.first,
            "errors": [*self.errors, *broken, *wrong],
        }


def memory(pid):
    """Megabytes of a server's processes: with what they share counted in each, and once."""
    server = psutil.Process(pid)
    sizes = [one.memory_full_info() for one in (server, *server.children(recursive=True))]
    return {
        "rss": sum(size.rss for size in sizes) / 1e6,
        "pss": sum(size.pss for size in sizes) / 1e6,
        "largest": max(size.rss for size in sizes) / 1e6,
    }


def creation(text):
    """Write the body of a call that begins a thread."""
    content = [{"type": "input_text", "text": text}]
    said = {"content": content, "attachments": [], "inference_options": {}}
    return json.dumps({"type": "threads.create", "params": {"input": said}}).encode()


def complaint(text, answer):
    """Say what an answer lacks: it must have all that was said, in order, and nothing else."""
    try:
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or b"text/event-stream" not in head.lower():
            return f"{head.splitlines()[0]!r} {body[:200]!r}"
        events = [json.loads(event[6:]) for event in plain(body).split(b"\n\n")[:-1]]
        kinds = [event["type"] for event in events]
        if kinds.count("thread.created") != 1 or "error" in kinds:
            return f"events {kinds[:3]} … {kinds[-3:]}"
        whole = [event["item"] for event in events if event["type"] == "thread.item.done"]
        said = [item["content"][0]["text"] for item in whole]
        updates = [event["update"] for event in events if event["type"] == "thread.item.updated"]
        deltas = [update["delta"] for update in updates if "delta" in update]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    if said != [text, TEXT]:
        return f"the items said {said!r}"[:200]
    # Those that waited for each other may have come as one.
    return "" if "".join(deltas) == TEXT else f"{len(deltas)} deltas, or in another order"


def plain(body):
    """Take the chunks of a body, and the heartbeats, away."""
    parts, place = [], 0
    while True:
        size = _CHUNK.match(body, place)
        place = size.end() + int(size[1], 16)
        if place == size.end():
            return b"".join(parts).replace(b": hb\n", b"")
        parts.append(body[size.end() : place])
        place += 2


def more_files():
    """Let this process have as many connections open as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main():
    """Read what is asked of it, and do it."""
    more_files()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", choices=PATHS, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="the server's first process")
    parser.add_argument("--visitors", type=int, required=True)
    parser.add_argument("--delay", type=float, required=True, help="seconds between two deltas")
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    load = Load(args.peer, args.port, args.delay)
    print(json.dumps(asyncio.run(load.run(args.visitors, args.warm_up, args.seconds, args.pid))))


if __name__ == "__main__":
    main()
