"""Bench ``mint``: what the kit adds to the least view that mints, and what the copied samples cost.

Run it by hand, ``python tests/bench/mint.py``; the README beside it tells how to read the table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import certifi
import psutil
import trustme
from mint_peers import HEADERS, PATH, WORKFLOW

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VISITORS = 16
WARM_UP = 1.0

GUNICORN = [
    *("gunicorn", "-k", "gthread", "--threads", str(VISITORS), "-w", "1"),
    *("--no-control-socket", "--log-level", "warning"),
]
UVICORN = ["uvicorn", "--factory", "--log-level", "warning", "--no-access-log"]


@dataclass
class Peer:
    """A server, and what its rounds brought.

    :param name: the column's name.
    :param app: the function in ``mint_peers``.
    :param package: a folder that holds another ``flask_chatkit`` than this checkout's.
    """

    name: str
    app: str
    package: str | None = None
    port: int = 0
    pid: int = 0
    rate: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def start(self, env, files):
        """Start the server, and wait until it listens."""
        self.port = free_port()
        if self.package:
            env = {**env, "PYTHONPATH": os.pathsep.join([self.package, env["PYTHONPATH"]])}
        if self.app == "copied_fastapi":
            command = [*UVICORN, "--port", str(self.port), f"mint_peers:{self.app}"]
        else:
            command = [*GUNICORN, "--bind", f"127.0.0.1:{self.port}", f"mint_peers:{self.app}()"]
        process = files.enter_context(running([sys.executable, "-m", *command], env))
        self.pid = process.pid
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.05)
        raise SystemExit(f"{self.name}: the server did not start")

    def round(self, seconds):
        """Let the visitors at it."""
        seen = load(self.port, PATH, self.pid, seconds)
        self.errors += seen["errors"]
        if self.app == "ours" and seen["known"] != VISITORS:
            self.errors.append(f"{seen['known']} of {VISITORS} visitors got a cookie")
        took = sorted(seen["took"])
        if len(took) < 2:
            raise SystemExit(f"{self.name}: no mints; {self.errors[:3]}")
        cuts = statistics.quantiles(took, n=20)
        self.rate.append(len(took) / seen["seconds"])
        self.cpu.append(seen["cpu"] / len(took) * 1000)
        self.p50.append(cuts[9] * 1000)
        self.p95.append(cuts[18] * 1000)


@contextlib.contextmanager
def running(command, env, **options):
    """Run a program until the block ends."""
    with subprocess.Popen(command, cwd=HERE, env=env, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port():
    """Find a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def load(port, path, pid, seconds, *more):
    """Run the visitors against one server."""
    command = [
        *(sys.executable, "mint_load.py", "--port", port, "--path", path, "--pid", pid),
        *("--visitors", VISITORS, "--warm-up", WARM_UP, "--seconds", seconds, *more),
    ]
    done = subprocess.run(
        [str(part) for part in command], cwd=HERE, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def certificates(folder):
    """Make the upstream's certificate, and a trust store of real size that knows it."""
    authority = trustme.CA()
    own, store = folder / "upstream.pem", folder / "trust.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(own))
    store.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + authority.cert_pem.bytes())
    return str(own), str(store)


def environment(port, store):
    """Make what the servers find in their environment: little, and the same wherever this runs.

    ``requests`` reads all of it at each call of a plain session, so the caller's would tell in the
    table: dozens of variables make the bare view slower.
    """
    # What is set comes first: who measures another flask_chatkit puts it there.
    paths = [part for part in (os.environ.get("PYTHONPATH"), str(ROOT)) if part]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "BENCH_API_BASE": f"https://localhost:{port}/v1",
        "REQUESTS_CA_BUNDLE": store,
        "SSL_CERT_FILE": store,
        "PYTHONPATH": os.pathsep.join(paths),
    }


def ceiling(port, store, pid):
    """Ask the upstream itself: nothing in between can be faster than that."""
    body = json.dumps({"workflow": {"id": WORKFLOW}, "user": "bench"})
    headers = [part for item in HEADERS.items() for part in ("--header", ": ".join(item))]
    seen = load(port, "/v1/chatkit/sessions", pid, 2, "--ca", store, "--body", body, *headers)
    rate = len(seen["took"]) / seen["seconds"]
    share = 100 * seen["cpu"] / seen["seconds"], 100 * seen["own_cpu"] / seen["seconds"]
    print(
        f"Ceiling: {rate:.0f} mints/s straight at the upstream, {VISITORS} at a time; the upstream "
        f"takes {share[0]:.0f} % of a core for it, the visitors {share[1]:.0f} %"
        + (f"; ERRORS: {seen['errors'][:3]}" if seen["errors"] else "")
    )


def table(peers):
    """Print what was measured: medians of the rounds, and how far the rounds lay apart."""
    print(
        f"\n{'peer':<32}{'mints/s':>9}{'min':>8}{'max':>8}{'CPU ms/mint':>13}{'min':>7}{'max':>7}"
        f"{'p50 ms':>9}{'p95 ms':>9}{'errors':>8}"
    )
    for peer in peers:
        rate, cpu = statistics.median(peer.rate), statistics.median(peer.cpu)
        print(
            f"{peer.name:<32}{rate:>9.1f}{min(peer.rate):>8.1f}{max(peer.rate):>8.1f}"
            f"{cpu:>13.2f}{min(peer.cpu):>7.2f}{max(peer.cpu):>7.2f}"
            f"{statistics.median(peer.p50):>9.1f}{statistics.median(peer.p95):>9.1f}"
            f"{len(peer.errors):>8}"
        )
        for error in sorted(set(peer.errors))[:3]:
            print(f"  {error}")


def ratio(ours, theirs):
    """Compare round by round, since neighbours in time saw the same machine."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(each), min(each), max(each)


def aims(peers):
    """Print the ratios of the first peer to the others, and whether the aims are met."""
    ours, bare, flask, fastapi, *others = peers
    print(f"\n{'ratio, by round':<44}{'median':>8}{'min':>8}{'max':>8}  {'aim':<8}")
    rows = [
        ("mints/s, ours : bare view, pooled", ours.rate, bare.rate, 0.9),
        ("mints/s, ours : copied, requests.post", ours.rate, flask.rate, 5),
        ("mints/s, ours : copied, AsyncClient", ours.rate, fastapi.rate, 5),
        ("CPU per mint, ours : bare view, pooled", ours.cpu, bare.cpu, -1.4),
    ]
    for other in others:
        rows += [
            (f"mints/s, {other.name} : ours", other.rate, ours.rate, None),
            (f"mints/s, {other.name} : bare", other.rate, bare.rate, None),
            (f"CPU per mint, {other.name} : ours", other.cpu, ours.cpu, None),
            (f"CPU per mint, {other.name} : bare", other.cpu, bare.cpu, None),
        ]
    for name, own, theirs, aim in rows:
        middle, low, high = ratio(own, theirs)
        verdict = ""
        if aim is not None:
            met = middle >= aim if aim > 0 else middle <= -aim
            verdict = f"{'>=' if aim > 0 else '<='} {abs(aim):<5}{'met' if met else 'MISSED'}"
        print(f"{name:<44}{middle:>8.2f}{low:>8.2f}{high:>8.2f}  {verdict}")
    count = sum(len(peer.errors) for peer in peers)
    print(f"{'errors, all peers':<44}{count:>8}{'':>18}== 0    {'MISSED' if count else 'met'}")


def add_also(parser):
    """Let other versions of flask_chatkit be measured beside this one."""
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="FOLDER",
        help="measure the flask_chatkit in this folder too, in the same run",
    )


def main():
    """Start everything, measure in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=4, help="counted seconds of a turn (%(default)s)"
    )
    add_also(parser)
    args = parser.parse_args()
    peers = [
        Peer("ours, complete", "ours"),
        Peer("bare view, pooled session", "bare"),
        Peer("copied: requests.post", "copied_flask"),
        Peer("copied: FastAPI, AsyncClient", "copied_fastapi"),
        *(Peer(f"ours in {Path(one).name}", "ours", str(Path(one).resolve())) for one in args.also),
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as files:
        own, store = certificates(Path(folder))
        upstream = files.enter_context(
            running(
                [sys.executable, "mint_upstream.py", own],
                None,
                stdout=subprocess.PIPE,
            )
        )
        port = int(upstream.stdout.readline())
        env = environment(port, store)
        for peer in peers:
            peer.start(env, files)
        ceiling(port, store, upstream.pid)
        for turn in range(args.rounds):
            for peer in peers:
                peer.round(args.seconds)
            rates = ", ".join(f"{peer.rate[-1]:.0f}" for peer in peers)
            busy = psutil.getloadavg()[0]
            print(f"Round {turn + 1}: {rates} mints/s; load average {busy:.1f}", flush=True)
    table(peers)
    aims(peers)


if __name__ == "__main__":
    main()
