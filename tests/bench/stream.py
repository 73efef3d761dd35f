"""Bench ``stream``: streamed answers of one ``ChatKitServer``, served by Flask and by FastAPI.

Run it by hand, ``python tests/bench/stream.py``; the README beside it tells how to read the table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil
from mint import HERE, ROOT, add_also, free_port, ratio, running

WARM_UP = 1.0

GUNICORN = [
    *("gunicorn", "-k", "gthread", "-w", "1", "--backlog", "4096"),
    *("--no-control-socket", "--log-level", "warning"),
]
UVICORN = [
    *("uvicorn", "--factory", "--log-level", "warning", "--no-access-log", "--backlog", "4096"),
]
PLAIN = ["--loop", "asyncio", "--http", "h11"]
FAST = ["--loop", "uvloop", "--http", "httptools"]


@dataclass(frozen=True)
class Crowd:
    """How many talk at once, and with how much time between two deltas.

    :param threads: what ours aims at under gunicorn, in the other's streams per second; None for a
        crowd that it is not for.
    :param asgi: the same under uvicorn.
    """

    visitors: int
    delay: float
    threads: float | None
    asgi: float

    def __str__(self):
        return f"{self.visitors} at a time, {self.delay * 1000:.0f} ms"


CROWDS = (
    Crowd(8, 0, 0.95, 0.95),
    Crowd(200, 0.02, 1.1, 1.2),
    Crowd(1000, 0.02, 1.0, 1.2),
    Crowd(5000, 0.02, None, 1.2),
)


@dataclass
class Peer:
    """A server, and what its rounds brought, by crowd.

    :param name: the row's name.
    :param app: the function in ``stream_peers``.
    :param options: more for uvicorn; None for gunicorn.
    :param package: a folder that holds another ``flask_chatkit`` than this checkout's.
    """

    name: str
    app: str
    options: list[str] | None = None
    package: str | None = None
    port: int = 0
    pid: int = 0
    seen: dict[Crowd, list[dict]] = field(default_factory=dict)

    @property
    def path(self):
        """Which of the two sites it serves."""
        return self.app.partition("_")[0]

    def takes(self, crowd):
        """Whether so many are for it."""
        return self.options is not None or crowd.threads is not None

    def start(self, files, core, threads):
        """Start the server, and wait until it listens."""
        self.port = free_port()
        if self.options is not None:
            command = [
                *UVICORN,
                *self.options,
                "--port",
                str(self.port),
                f"stream_peers:{self.app}",
            ]
        else:
            command = [*GUNICORN, "--threads", str(threads), "--worker-connections", "8000"]
            command += ["--bind", f"127.0.0.1:{self.port}", f"stream_peers:{self.app}()"]
        env = environment()
        if self.package:
            env["PYTHONPATH"] = os.pathsep.join([self.package, env["PYTHONPATH"]])
        process = files.enter_context(running([sys.executable, "-m", *command], env))
        self.pid = process.pid
        if core is not None:
            psutil.Process(self.pid).cpu_affinity([core])
        listening(self.name, self.port, process)

    def round(self, crowd, seconds, core):
        """Let the visitors at it."""
        command = [
            *(sys.executable, "stream_load.py", "--peer", self.path, "--port", self.port),
            *("--pid", self.pid, "--visitors", crowd.visitors, "--delay", crowd.delay),
            *("--warm-up", max(WARM_UP, crowd.visitors / 100), "--seconds", seconds),
        ]
        command = [str(part) for part in command]
        with subprocess.Popen(
            command, cwd=HERE, env=environment(), stdout=subprocess.PIPE
        ) as process:
            if core is not None:
                psutil.Process(process.pid).cpu_affinity([core])
            out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{self.name}: the visitors failed")
        seen = json.loads(out)
        if self.path == "ours" and seen["known"] != crowd.visitors:
            seen["errors"].append(f"{seen['known']} of {crowd.visitors} visitors were known")
        if len(seen["first"]) < 2 or not seen["streams"]:
            raise SystemExit(
                f"{self.name}: no stream in {seen['seconds']:.0f} seconds, so the machine is too "
                f"busy for {crowd.visitors} visitors: take more --seconds; {seen['errors'][:3]}"
            )
        self.seen.setdefault(crowd, []).append(seen)

    def of(self, crowd, what):
        """Take one number of each round."""
        return [what(seen) for seen in self.seen[crowd]]


def listening(name, port, process):
    """Wait until a server listens."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"{name}: the server did not start")


def environment():
    """Make what the servers find in their environment: little, and the same wherever this runs."""
    paths = [part for part in (os.environ.get("PYTHONPATH"), str(ROOT)) if part]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}


def rate(seen):
    """Streams per second."""
    return seen["streams"] / seen["seconds"]


def cpu(seen):
    """Milliseconds of the processor for one stream."""
    return 1000 * seen["cpu"] / seen["streams"]


def first(seen):
    """Milliseconds until the first delta, the median."""
    return 1000 * statistics.median(seen["first"])


def late(seen):
    """Milliseconds until the first delta, the slowest but 5 %."""
    return 1000 * statistics.quantiles(seen["first"], n=20)[18]


def serving(seen):
    """Megabytes of the process that answers."""
    return seen["memory"]["largest"]


def resident(seen):
    """Megabytes of all the server's processes, with what they share counted in each."""
    return seen["memory"]["rss"]


def shared_once(seen):
    """Megabytes of all the server's processes, with what they share counted once."""
    return seen["memory"]["pss"]


def table(peers, crowd):
    """Print what was measured: medians of the rounds, and how far the rounds lay apart."""
    print(
        f"\n{f'{crowd}':<32}{'streams/s':>11}{'min':>8}{'max':>8}{'CPU ms':>9}{'first ms':>10}"
        f"{'p95':>8}{'one RSS':>9}{'all RSS':>9}{'all PSS':>9}{'load CPU':>10}{'checked':>9}"
        f"{'errors':>8}"
    )
    for peer in peers:
        rates = peer.of(crowd, rate)
        middles = [
            statistics.median(peer.of(crowd, what))
            for what in (cpu, first, late, serving, resident, shared_once)
        ]
        busy = statistics.median(peer.of(crowd, lambda seen: seen["own_cpu"] / seen["seconds"]))
        errors = [error for seen in peer.seen[crowd] for error in seen["errors"]]
        print(
            f"{peer.name:<32}{statistics.median(rates):>11.1f}{min(rates):>8.1f}{max(rates):>8.1f}"
            f"{middles[0]:>9.2f}{middles[1]:>10.1f}{middles[2]:>8.1f}{middles[3]:>9.1f}"
            f"{middles[4]:>9.1f}{middles[5]:>9.1f}{busy:>10.0%}"
            f"{sum(seen['answers'] for seen in peer.seen[crowd]):>9}{len(errors):>8}"
        )
        for error in sorted(set(errors))[:3]:
            print(f"  {error}")


def verdict(middle, aim):
    """Say whether an aim is met: at least so much, or for a negative one at most."""
    met = middle >= aim if aim > 0 else middle <= -aim
    return f"{'>=' if aim > 0 else '<='} {abs(aim):<5}{'met' if met else 'MISSED'}"


def rows(mine, crowd):
    """List what is compared, and what ours aims at."""
    by_asgi = mine.options is not None
    memory = -1.1 if by_asgi else -1.2
    return [
        ("streams/s", rate, crowd.asgi if by_asgi else crowd.threads),
        ("time to first delta", first, -0.8 if by_asgi and crowd.visitors >= 200 else -1.2),
        ("memory (RSS) of the process that answers", serving, memory),
        ("memory (RSS) of all processes, gunicorn's arbiter too", resident, memory),
        ("memory (PSS) of all processes: shared pages counted once", shared_once, memory),
        ("CPU per stream", cpu, None),
    ]


def compared(peers, crowd):
    """List which of ours is held against which other: by ASGI, on the same loop and parser."""
    there = [peer for peer in peers if crowd in peer.seen]
    for mine in there:
        for other in there:
            if mine.path == "ours" and mine.package is None and other.path != "ours":
                if mine.options in (None, other.options):
                    yield mine, other
            elif mine is there[0] and other.package is not None:
                yield mine, other


def aims(peers, crowds):
    """Print the ratios of ours to the others, and whether the aims are met."""
    print(f"\n{'ratio, by round':<66}{'min':>8}{'median':>8}{'max':>8}  {'aim':<8}")
    for crowd in crowds:
        for mine, other in compared(peers, crowd):
            print(f"{mine.name} : {other.name}, {crowd}")
            for name, what, aim in rows(mine, crowd):
                middle, low, high = ratio(mine.of(crowd, what), other.of(crowd, what))
                # Another flask_chatkit is there to be compared with, and has no aims.
                said = verdict(middle, aim) if aim is not None and other.package is None else ""
                print(f"  {name:<64}{low:>8.2f}{middle:>8.2f}{high:>8.2f}  {said}")


def all_peers(also):
    """List who is compared with whom."""
    peers = [
        Peer("ours, gunicorn gthread", "ours"),
        Peer("ours, ASGI on uvicorn", "ours_asgi", PLAIN),
        Peer("FastAPI, uvicorn", "fastapi", PLAIN),
    ]
    if find_spec("uvloop") and find_spec("httptools"):
        peers += [
            Peer("ours, ASGI on uvicorn[standard]", "ours_asgi", FAST),
            Peer("FastAPI, uvicorn[standard]", "fastapi", FAST),
        ]
    return peers + [
        Peer(f"ours in {Path(one).name}", "ours", package=str(Path(one).resolve())) for one in also
    ]


def arguments():
    """Read what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=6, help="counted seconds of a turn, at least (%(default)s)"
    )
    parser.add_argument(
        "--crowds",
        type=lambda given: [int(one) for one in given.split(",")],
        default=[8, 200, 1000],
        help="how many at a time: 8, 200, 1000, and 5000, which takes long (8,200,1000)",
    )
    parser.add_argument("--only", default="", help="peers whose names have this in them")
    parser.add_argument(
        "--pin",
        action="store_true",
        help="bind the servers to one core and the visitors to another",
    )
    add_also(parser)
    return parser.parse_args()


def measure(peers, crowd, args):
    """Let a crowd at each peer in turns, each a server that has seen nobody else."""
    cores = psutil.Process().cpu_affinity()
    server_core, load_core = (cores[0], cores[-1]) if args.pin else (None, None)
    threads = max(256, crowd.visitors + 100)
    with contextlib.ExitStack() as files:
        for peer in peers:
            peer.start(files, server_core, threads)
        for turn in range(args.rounds):
            # Whoever comes first in one round comes last in the next.
            for peer in peers[:: 1 if turn % 2 else -1]:
                peer.round(crowd, max(args.seconds, crowd.visitors / 100), load_core)
            rates = ", ".join(f"{rate(peer.seen[crowd][-1]):.1f}" for peer in peers)
            busy = psutil.getloadavg()[0]
            print(
                f"Round {turn + 1}, {crowd}: {rates} streams/s; load average {busy:.1f}",
                flush=True,
            )


def main():
    """Start everything, measure in turns, and print."""
    args = arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Servers inherit it: each visitor is a connection.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    peers = [peer for peer in all_peers(args.also) if args.only in peer.name]
    crowds = [crowd for crowd in CROWDS if crowd.visitors in args.crowds]
    for crowd in crowds:
        measure([peer for peer in peers if peer.takes(crowd)], crowd, args)
    for crowd in crowds:
        table([peer for peer in peers if crowd in peer.seen], crowd)
    aims(peers, crowds)


if __name__ == "__main__":
    main()
