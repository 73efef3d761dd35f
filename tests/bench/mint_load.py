"""The visitors: each with a connection and a cookie jar of its own, each always asking.

A program of its own; it prints one JSON object. What is counted begins after a warm-up, and the
CPU seconds are those of the server's processes, all of them, over the same time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import ssl
import time

import psutil

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_COOKIE = re.compile(rb"\r\nset-cookie: *([^=;\s]+)=([^;\r]*)", re.IGNORECASE)


def cpu_seconds(pid):
    """User and system time of a process and of those below it."""
    server = psutil.Process(pid)
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(one.user + one.system for one in times)


class Load:
    """What the visitors share: the question, and the tally of answers."""

    def __init__(self, port, path, headers, body, context):
        self.port = port
        self.context = context
        self.body = body.encode()
        self.head = (
            f"POST {path} HTTP/1.1\r\n"
            f"Host: localhost:{port}\r\n"
            f"Origin: http://localhost:{port}\r\n"
            "Sec-Fetch-Site: same-origin\r\n"
            "User-Agent: bench\r\n"
            "Accept: application/json\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(self.body)}\r\n" + "".join(f"{header}\r\n" for header in headers)
        ).encode()
        self.counting = False
        self.seen = set()
        self.jars = []
        self.took = []
        self.errors = []

    async def visitor(self):
        """Ask for one secret after the other."""
        jar = {}
        self.jars.append(jar)
        writer = None
        while True:
            begun = time.perf_counter()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1",
                        self.port,
                        ssl=self.context,
                        server_hostname="localhost" if self.context else None,
                    )
                writer.write(self.head + cookies(jar) + b"\r\n" + self.body)
                head = await reader.readuntil(b"\r\n\r\n")
                content = await reader.readexactly(int(_LENGTH.search(head)[1]))
                jar.update(_COOKIE.findall(head))
                self.check(head, content)
            except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
                self.errors.append(f"{type(error).__name__}: {error}"[:200])
                if writer is not None:
                    writer.close()
                writer = None
                await asyncio.sleep(0.05)
                continue
            if self.counting:
                self.took.append(time.perf_counter() - begun)

    def check(self, head, content):
        """Hold an answer to what a browser needs: a 200 with a secret that nobody else got."""
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"{head.splitlines()[0]!r} {content!r}")
        secret = json.loads(content)["client_secret"]
        if not secret.startswith("ek_") or secret in self.seen:
            raise ValueError(f"{secret!r} is no new secret")
        self.seen.add(secret)

    async def run(self, visitors, warm_up, seconds, pid):
        """Let the visitors ask, and tell what they saw."""
        tasks = [asyncio.create_task(self.visitor()) for _ in range(visitors)]
        await asyncio.sleep(warm_up)
        own, used, begun = cpu_seconds(psutil.Process().pid), cpu_seconds(pid), time.perf_counter()
        self.counting = True
        await asyncio.sleep(seconds)
        self.counting = False
        elapsed, used = time.perf_counter() - begun, cpu_seconds(pid) - used
        own = cpu_seconds(psutil.Process().pid) - own
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        broken = [one for one in done if not isinstance(one, asyncio.CancelledError)]
        return {
            "seconds": elapsed,
            "cpu": used,
            "own_cpu": own,
            "known": sum(bool(jar) for jar in self.jars),
            "took": self.took,
            "errors": [*self.errors, *map(repr, broken)],
        }


def cookies(jar):
    """Write the jar as a header line."""
    if not jar:
        return b""
    return b"Cookie: " + b"; ".join(b"=".join(pair) for pair in jar.items()) + b"\r\n"


def main():
    """Read what is asked of it, and do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--body", default="{}")
    parser.add_argument("--pid", type=int, required=True, help="the server's first process")
    parser.add_argument("--visitors", type=int, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--ca", help="speak TLS, and trust this file")
    args = parser.parse_args()
    context = ssl.create_default_context(cafile=args.ca) if args.ca else None
    load = Load(args.port, args.path, args.header, args.body, context)
    print(json.dumps(asyncio.run(load.run(args.visitors, args.warm_up, args.seconds, args.pid))))


if __name__ == "__main__":
    main()
