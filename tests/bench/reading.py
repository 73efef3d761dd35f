"""Bench ``reading``: what a long answer and a long conversation cost in the built-in chat.

Run it by hand, ``python tests/bench/reading.py``; the README beside it tells how to read it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from mint import ROOT, add_also, free_port, running
from page import LATER, TOP, milliseconds
from playwright.sync_api import sync_playwright
from stream import environment, listening

sys.path.append(str(ROOT))

from reading_peers import CHARACTERS, DELTAS

from tests.helpers import chromium

GUNICORN = [
    *("gunicorn", "-k", "gthread", "--threads", "8", "-w", "1", "--timeout", "600"),
    *("--no-control-socket", "--log-level", "warning"),
]
THROTTLE = 4  # times the processor is slower
KEY = 0.2  # seconds between two keys
LONG_TASK, ANSWERED = 50, 100  # milliseconds
SHARE = 0.25  # of the other's script time
#: Turns whose times are compared, some of each since a single one says little.
EARLY, LATE = range(3, 13), range(291, 301)

START = """async () => {
  await customElements.whenDefined("flask-chatkit-chat");
  const el = (window.el = document.createElement("flask-chatkit-chat"));
  el.setOptions({ api: { url: "/api", domainKey: "local" } });
  document.getElementById("box").append(el);
  window.ended = 0;
  el.addEventListener("chatkit.response.end", () => { ended += 1; });
  window.keys = [];
  new PerformanceObserver((list) => {
    for (const { name, duration } of list.getEntries()) if (name === "keydown") keys.push(duration);
  }).observe({ type: "event", durationThreshold: 16 });
}"""
TURN = """async (number) => {
  const { ended } = window;
  const begun = performance.now();
  await el.sendUserMessage({ text: `turn ${number}` });
  while (window.ended === ended) await new Promise((done) => setTimeout(done, 1));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begun;
}"""


@dataclass
class Seen:
    """What one round brought.

    :param script: milliseconds of the processor for scripts while the long answer came.
    :param task: of the processor for the longest task, and **wall** until it had ended.
    :param tasks: how many took 50 milliseconds of the processor.
    :param keys: milliseconds until each key was answered by a frame.
    :param early: milliseconds of an early turn, **late** of a late one.
    :param heap: kilobytes that a late turn keeps, and **nodes** DOM nodes.
    """

    script: float = 0
    task: float = 0
    wall: float = 0
    tasks: int = 0
    keys: list[float] = field(default_factory=list)
    shown: int = 0
    early: float = 0
    late: float = 0
    heap: float = 0
    nodes: float = 0


@dataclass
class Peer:
    """A version of the built-in chat.

    :param package: the folder of its ``flask_chatkit``; None for this checkout's.
    """

    name: str
    package: str | None = None
    base: str = ""
    seen: list[Seen] = field(default_factory=list)

    def of(self, what):
        """Take one number of each round."""
        return [getattr(seen, what) for seen in self.seen]

    @property
    def keys(self):
        """The times of all keys of all rounds, shortest first."""
        return sorted(key for seen in self.seen for key in seen.keys)


def metrics(session):
    """What Chromium has counted so far."""
    found = session.send("Performance.getMetrics")["metrics"]
    return {each["name"]: each["value"] for each in found}


@contextlib.contextmanager
def chat(browser, peer, throttle):
    """Open a chat in a fresh profile."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1000, "height": 800})
    context.set_default_timeout(600_000)
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("Emulation.setCPUThrottlingRate", {"rate": throttle})
    try:
        page.goto(peer.base)
        page.evaluate(START)
        page.wait_for_timeout(1000)
        yield page, session
    finally:
        context.close()


#: As little as tells what is asked here: what is traced is slower.
TRACE = ["-*", "devtools.timeline", "disabled-by-default-devtools.timeline", "v8.execute"]


def traced(trace, seen):
    """Read the times of the page's thread out of a trace."""
    threads = {}
    for event in json.loads(trace)["traceEvents"]:
        if event["ph"] == "X":
            threads.setdefault((event["pid"], event["tid"]), []).append(event)
    scripts = {"FunctionCall", *TOP, *LATER}
    events = max(
        threads.values(),
        key=lambda events: sum(event["name"] == "FunctionCall" for event in events),
    )
    seen.script = milliseconds([event for event in events if event["name"] in scripts], "tdur")
    tasks = [event for event in events if event["name"] == "RunTask"]
    seen.wall = max(event.get("dur", 0) for event in tasks) / 1000
    took = [event.get("tdur", 0) / 1000 for event in tasks]
    seen.task, seen.tasks = max(took), sum(each >= LONG_TASK for each in took)


def long_answer(browser, peer, seconds, seen):
    """Type while a long answer comes."""
    with chat(browser, peer, THROTTLE) as (page, _session):
        browser.start_tracing(page=page, categories=TRACE)
        page.evaluate(f"void el.sendUserMessage({{ text: 'long {seconds}' }})")
        page.evaluate("el.focusComposer()")
        number = 0
        while not page.evaluate("ended"):
            page.keyboard.press("abcdefgh "[number % 9])
            number += 1
            time.sleep(KEY)
        page.wait_for_timeout(1000)
        traced(browser.stop_tracing(), seen)
        # What was faster than 16 ms is not told.
        keys = page.evaluate("keys")
        seen.keys = [*keys, *[16] * (number - len(keys))]
        seen.shown = page.evaluate(
            "el.shadowRoot.querySelector('article.assistant_message').textContent.length"
        )


def long_conversation(browser, peer, seen):
    """Talk three hundred turns."""
    with chat(browser, peer, 1) as (page, session):
        took, sizes = {}, {}
        for number in range(1, LATE.stop + 1):
            took[number] = page.evaluate(TURN, number)
            if number in (EARLY.stop, LATE.stop):
                session.send("HeapProfiler.collectGarbage")
                sizes[number] = metrics(session)
        seen.early = statistics.median(took[number] for number in EARLY)
        seen.late = statistics.median(took[number] for number in LATE)
        first, last = sizes[EARLY.stop], sizes[LATE.stop]
        count = LATE.stop - EARLY.stop
        seen.heap = (last["JSHeapUsedSize"] - first["JSHeapUsedSize"]) / 1000 / count
        seen.nodes = (last["Nodes"] - first["Nodes"]) / count


def start(peers, stack):
    """Serve each version."""
    for peer in peers:
        port = free_port()
        env = environment()
        if peer.package:
            env["PYTHONPATH"] = os.pathsep.join([peer.package, env["PYTHONPATH"]])
        command = [*GUNICORN, "--bind", f"127.0.0.1:{port}", "reading_peers:site()"]
        process = stack.enter_context(running([sys.executable, "-m", *command], env))
        listening(peer.name, port, process)
        peer.base = f"http://127.0.0.1:{port}"


def share(numbers, part):
    """The number below which a part of the sorted numbers lies."""
    return numbers[min(int(part * len(numbers)), len(numbers) - 1)]


def tell(peers):
    """Print the medians of the rounds."""
    print(
        f"\n{'':<24}{'script ms':>11}{'longest task':>14}{'its wall':>10}{'over 50 ms':>12}"
        f"{'key p50':>9}{'key p98':>9}{'shown':>9}{'early turn':>12}{'late turn':>11}"
        f"{'kB/turn':>9}{'nodes':>7}"
    )
    for peer in peers:
        middle = {
            name: statistics.median(peer.of(name))
            for name in ("script", "tasks", "shown", "early", "late", "heap", "nodes")
        }
        keys = peer.keys
        print(
            f"{peer.name:<24}{middle['script']:>11.0f}{max(peer.of('task')):>14.0f}"
            f"{max(peer.of('wall')):>10.0f}"
            f"{middle['tasks']:>12.0f}{share(keys, 0.5):>9.0f}{share(keys, 0.98):>9.0f}"
            f"{middle['shown']:>9.0f}{middle['early']:>12.1f}{middle['late']:>11.1f}"
            f"{middle['heap']:>9.1f}{middle['nodes']:>7.0f}"
        )


def aims(peers):
    """Hold ours to what was asked for."""
    ours, *others = peers
    turns = [late / early for late, early in zip(ours.of("late"), ours.of("early"), strict=True)]
    rows = [
        ("longest task while 200 kB come, ms of the processor", max(ours.of("task")), LONG_TASK),
        ("a key answered, ms, p98", share(ours.keys, 0.98), ANSWERED),
        ("a late turn : an early one", statistics.median(turns), 1.2),
    ]
    for other in others:
        pairs = zip(ours.of("script"), other.of("script"), strict=True)
        ratio = statistics.median(one / two for one, two in pairs)
        rows.append((f"script, ours : {other.name}", ratio, SHARE))
    print(f"\n{'aims of ours':<60}{'seen':>9}  aim")
    for name, seen, aim in rows:
        print(f"{name:<60}{seen:>9.2f}  <= {aim:<6}{'met' if seen <= aim else 'MISSED'}")


def main():
    """Start everything, measure in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=30, help="that the answer takes (%(default)s)"
    )
    parser.add_argument("--only", choices=["answer", "turns"], help="half of it")
    add_also(parser)
    args = parser.parse_args()
    peers = [Peer("ours")]
    peers += [Peer(f"ours in {Path(one).name}", str(Path(one).resolve())) for one in args.also]
    print(f"{DELTAS} deltas, {DELTAS * CHARACTERS // 1000} kB, processor / {THROTTLE}")
    with contextlib.ExitStack() as stack:
        start(peers, stack)
        playwright = stack.enter_context(sync_playwright())
        program = chromium.program()
        if program is None:
            raise SystemExit(f"Chromium is not there: {chromium.MISSING}")
        browser = playwright.chromium.launch(executable_path=program, args=chromium.FLAGS)
        stack.callback(browser.close)
        for turn in range(args.rounds):
            for peer in peers if turn % 2 == 0 else reversed(peers):
                seen = Seen(early=1, late=1, keys=[0])
                if args.only != "turns":
                    long_answer(browser, peer, args.seconds, seen)
                if args.only != "answer":
                    long_conversation(browser, peer, seen)
                peer.seen.append(seen)
            busy = psutil.getloadavg()[0]
            print(f"Round {turn + 1} of {args.rounds}; load average {busy:.1f}", flush=True)
    tell(peers)
    aims(peers)


if __name__ == "__main__":
    main()
