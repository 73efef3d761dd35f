"""The visitors of bench ``history``: each with a connection of its own, each always listing.

A program of its own; it prints one JSON object. What is counted begins after a warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from mint_load import Load
from stream_load import memory


class Lists(Load):
    """Asks for a page of threads, time and again."""

    def __init__(self, port, path, headers, body, threads):
        super().__init__(port, path, headers, body, None)
        self.threads = threads
        self.answer = None

    def check(self, head, content):
        """Hold an answer to what was asked for: the same whole page of threads each time."""
        if content != self.answer:
            page = json.loads(content)
            right = head.startswith(b"HTTP/1.1 200 ") and page["has_more"]
            if not right or len(page["data"]) != self.threads:
                raise ValueError(f"{head.splitlines()[0]!r} {content[:200]!r}")
            self.answer = content


def main():
    """Read what is asked of it, and do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--body", required=True)
    parser.add_argument("--threads", type=int, required=True, help="of each page")
    parser.add_argument("--pid", type=int, required=True, help="the server's first process")
    parser.add_argument("--visitors", type=int, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    load = Lists(args.port, args.path, args.header, args.body, args.threads)
    seen = asyncio.run(load.run(args.visitors, args.warm_up, args.seconds, args.pid))
    print(json.dumps(seen | {"memory": memory(args.pid)}))


if __name__ == "__main__":
    main()
