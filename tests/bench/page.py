"""Bench ``page``: what a chat adds to a page before a click, and how long until one can type.

Run it by hand, ``python tests/bench/page.py``; the README beside it tells how to read the tables.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from mint import ROOT, add_also, free_port, ratio, running
from page_peers import ENVIRONMENT, REACT
from playwright.sync_api import Error, sync_playwright
from stream import environment, listening

# At the end: who measures another flask_chatkit puts it before this one, by PYTHONPATH.
sys.path.append(str(ROOT))

from flask_chatkit.testing import OpenAIStandIn
from tests.helpers import chromium

GUNICORN = [
    *("gunicorn", "-k", "gthread", "--threads", "16", "-w", "1", "--keep-alive", "30"),
    *("--no-control-socket", "--log-level", "warning"),
]
#: Bundled, with React, as an app is.
NPM = {
    "@openai/chatkit": "1.9.0",
    "@openai/chatkit-react": "1.6.1",
    "esbuild": "0.28.2",
    "react": "19.3.1",
    "react-dom": "19.3.1",
}
#: Loaded as their documentation shows it, from the very files that a CDN takes from the package.
LAUNCHERS = {"typebot": ("@typebot.io/js", "0.10.7"), "n8n": ("@n8n/chat", "1.37.0")}

#: Times the processor is slower.
THROTTLES = (1, 4)
#: Bytes after gzip, without headers.
JAVASCRIPT, CSS, HTML = 2_460, 1_600, 600
REQUESTS = 2
EVALUATION = {1: 0.5, 4: 2}  # milliseconds
TASK = 50  # milliseconds

#: As little as tells what is asked here: what is traced is slower.
TRACE = [
    *("-*", "devtools.timeline", "disabled-by-default-devtools.timeline"),
    *("blink.user_timing", "v8.execute"),
]
#: To compile and to run a script's own lines.
TOP = {"EvaluateScript", "v8.compile", "v8.compileModule", "v8.evaluateModule"}
#: What is called later: by timers, events, idle callbacks and promises.
LATER = {"FunctionCall", "RunMicrotasks"}

SHIFT = """() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) sum += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(sum), 100);
})"""

#: Notes in each frame when a field can be typed into: visible, enabled, and what a click would hit.
WATCH = """(() => {
  const seen = (window.__bench = {});
  const now = (stamp = performance.now()) => performance.timeOrigin + stamp;
  addEventListener("click", (event) => { seen.click ??= now(event.timeStamp); }, true);
  const all = (root, wanted) => [...root.querySelectorAll("*")].flatMap((element) => [
    ...(element.matches(wanted) ? [element] : []),
    ...(element.shadowRoot ? all(element.shadowRoot, wanted) : []),
  ]);
  const hit = (element) => {
    const style = { opacityProperty: true, visibilityProperty: true };
    if (element.disabled || element.readOnly || !element.checkVisibility(style)) return false;
    const box = element.getBoundingClientRect();
    const point = [box.x + box.width / 2, box.y + box.height / 2];
    let top = document.elementFromPoint(...point);
    for (;;) {
      const inner = top?.shadowRoot?.elementFromPoint(...point);
      if (!inner || inner === top) return top === element;
      top = inner;
    }
  };
  const FIELD = "textarea, input:not([type=hidden]), [contenteditable=true]";
  const look = () => {
    if (document.body) {
      if (all(document, FIELD).some(hit)) seen.field ??= now();
      if (all(document, "iframe").some(hit)) seen.frame ??= now();
    }
    if (!seen.field) requestAnimationFrame(look);
  };
  look();
})()"""
WAIT = 30_000  # milliseconds


@dataclass
class Seen:
    """What one visit brought before any click; times are milliseconds, bytes are compressed.

    :param wire: bytes of the own answers with their headers, the document's included.
    :param bodies: bytes of the own answers without headers, by kind.
    :param others: requests to other origins.
    :param evaluation: to compile the own scripts and to run their own lines.
    :param cpu: how much of that the thread was computing.
    :param script: that, and whatever they had called later.
    :param own_task: the longest task that runs an own script.
    :param task: the longest task of all.
    :param usable: from the click, or the navigation, until one can type.
    """

    requests: int = 0
    wire: int = 0
    bodies: dict[str, int] = field(default_factory=dict)
    others: int = 0
    mints: int = 0
    cookies: int = 0
    evaluation: float = 0
    cpu: float = 0
    script: float = 0
    own_task: float = 0
    task: float = 0
    shift: float = 0
    usable: float | None = None
    errors: list[str] = field(default_factory=list)


@dataclass
class Peer:
    """A page, and what its rounds brought, by throttle.

    :param name: the row's name.
    :param path: of the page in ``page_peers``.
    :param launcher: what a visitor clicks; None shows the chat without being asked, or none.
    :param framed: whether one types into a frame.
    :param chats: whether there is anything to type into.
    :param package: a folder that holds another ``flask_chatkit`` than this checkout's.
    """

    name: str
    path: str
    launcher: str | None = None
    framed: bool = True
    chats: bool = True
    package: str | None = None
    base: str = ""
    seen: dict[int, list[Seen]] = field(default_factory=dict)

    def of(self, throttle, what):
        """Take one number of each round."""
        return [getattr(seen, what) for seen in self.seen[throttle]]

    def all(self, what):
        """Take one number of each round, however slow the processor was."""
        return [number for throttle in THROTTLES for number in self.of(throttle, what)]

    def body(self, kind):
        """The most bytes of a kind in any round, without headers."""
        return max(bodies.get(kind, 0) for bodies in self.all("bodies"))

    @property
    def url(self):
        """The page's address."""
        return f"{self.base}/{self.path}"


class Network:
    """What a page asks for, by the browser's own count."""

    def __init__(self, page, session, base):
        self.base = base
        self.asked = {}
        self.heads = {}
        self.done = {}
        self.others = set()
        session.on("Network.requestWillBeSent", self._asked)
        session.on("Network.responseReceived", self._answered)
        session.on("Network.loadingFinished", self._finished)
        session.send("Network.enable")
        # Of all frames, those in other processes too.
        page.on("request", self._any)

    def _any(self, request):
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.others.add(request)

    def _asked(self, event):
        if event["request"]["url"].startswith(self.base):
            self.asked[event["requestId"]] = event.get("type", "Other")

    def _answered(self, event):
        self.heads[event["requestId"]] = event["response"]["encodedDataLength"]

    def _finished(self, event):
        self.done[event["requestId"]] = event["encodedDataLength"]

    def tell(self, seen):
        """Count; the document itself is no request that a chat adds."""
        seen.requests = sum(kind != "Document" for kind in self.asked.values())
        seen.others = len(self.others)
        for request, kind in self.asked.items():
            if request not in self.done:
                seen.errors.append(f"{kind} did not come to an end")
                continue
            seen.wire += self.done[request]
            seen.bodies.setdefault(kind, 0)
            seen.bodies[kind] += self.done[request] - self.heads[request]


# --- what is measured ---


def main_thread(events, url):
    """Find the page's own thread and the moment its navigation began, and take what ran since."""
    for event in events:
        data = event.get("args", {}).get("data", {})
        if event["name"] == "navigationStart" and data.get("documentLoaderURL") == url:
            where, begun = (event["pid"], event["tid"]), event["ts"]
            break
    else:
        raise SystemExit(f"{url}: its navigation is not in the trace")
    return [
        event
        for event in events
        if event["ph"] == "X"
        and (event["pid"], event["tid"]) == where
        and event["ts"] + event.get("dur", 0) >= begun
    ]


def address(event):
    """Tell whose code an event is about; None if it does not say."""
    args = event.get("args", {})
    data = args.get("data") or {}
    return data.get("url") or args.get("fileName") or args.get("url")


def outermost(events):
    """Leave out events that lie in another one."""
    end = 0
    for event in sorted(events, key=lambda event: (event["ts"], -event.get("dur", 0))):
        if event["ts"] >= end:
            end = event["ts"] + event.get("dur", 0)
            yield event


def milliseconds(events, clock="dur"):
    """Add up what events took, those of nested ones once."""
    return sum(event.get(clock, 0) for event in outermost(events)) / 1000


def traced(trace, peer, seen):
    """Read the times out of a trace."""
    events = main_thread(json.loads(trace)["traceEvents"], peer.url)
    # The bench's own calls have no address; a module's and a promise's may have none, and count.
    own = [
        event
        for event in events
        if (address(event) or "").startswith(peer.base)
        or (event["name"] in {"v8.evaluateModule", "RunMicrotasks"} and not address(event))
    ]
    top = [event for event in own if event["name"] in TOP]
    later = [event for event in own if event["name"] in LATER]
    seen.evaluation = milliseconds(top)
    seen.cpu = milliseconds(top, "tdur")
    seen.script = milliseconds([*top, *later])
    for task in events:
        if task["name"] != "RunTask":
            continue
        took = task.get("dur", 0)
        begun, end = task["ts"], task["ts"] + took
        seen.task = max(seen.task, took / 1000)
        if any(begun <= event["ts"] < end for event in top + later):
            seen.own_task = max(seen.own_task, took / 1000)


@contextlib.contextmanager
def visit(browser, peer, throttle, errors):
    """Open a fresh profile on the site's floor page: its cache has nothing of any chat.

    So the browser's own work for a new process is over when a peer's page is asked for.
    """
    context = browser.new_context(locale="en-GB", viewport={"width": 1000, "height": 800})
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    session = context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": throttle})
    try:
        page.goto(f"{peer.base}/floor")
        page.wait_for_timeout(200)
        yield context, page, session
    except Error as error:
        raise SystemExit(f"{peer.name}: {error}; {errors[:3]}") from error
    finally:
        context.close()


def quiet(page):
    """Wait until nothing has been asked for half a second, and for timers half a second more."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)


def load(browser, peer, throttle, standin):
    """See what a page costs before anybody clicks; nothing runs in it but its own scripts."""
    seen = Seen()
    minted = len(standin.sessions)
    with visit(browser, peer, throttle, seen.errors) as (context, page, session):
        network = Network(page, session, peer.base)
        browser.start_tracing(page=page, categories=TRACE)
        try:
            answer = page.goto(peer.url)
            quiet(page)
        finally:
            trace = browser.stop_tracing()
        if not answer.ok:
            raise SystemExit(f"{peer.name}: the page answers {answer.status}")
        seen.cookies = len(context.cookies())
        seen.mints = len(standin.sessions) - minted
        seen.shift = page.evaluate(SHIFT)
        network.tell(seen)
        traced(trace, peer, seen)
    return seen


def noted(frame, what):
    """Wait for a note of `WATCH`; asked from here, since a strict frame lets nobody wait in it."""
    end = time.monotonic() + WAIT / 1000
    while time.monotonic() < end:
        # A frame that is just going to its address answers with an error.
        with contextlib.suppress(Error):
            seen = frame.evaluate("window.__bench")
            if seen and what in seen:
                return seen[what]
        frame.wait_for_timeout(20)
    raise Error(f"nobody could type within {WAIT // 1000} s")


def usable(browser, peer, throttle, hover, seen):
    """Take the time from the click, or from the navigation, until one can type."""
    with visit(browser, peer, throttle, seen.errors) as (context, page, _session):
        context.add_init_script(WATCH)
        page.goto(peer.url, wait_until="commit")
        if peer.launcher:
            quiet(page)
            # Not Playwright's click, which looks first and for long.
            box = page.locator(peer.launcher).bounding_box()
            point = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            page.mouse.move(*point)
            page.wait_for_timeout(hover)
            page.mouse.click(*point)
        if peer.framed:
            handle = page.wait_for_selector("openai-chatkit iframe", state="attached")
            ends = [noted(page, "frame"), noted(handle.content_frame(), "field")]
        else:
            ends = [noted(page, "field")]
        begun = page.evaluate("__bench.click" if peer.launcher else "performance.timeOrigin")
        if begun is None:
            raise SystemExit(f"{peer.name}: the click did not arrive")
        seen.usable = max(ends) - begun


def measure(browser, peer, throttle, hover, standin):
    """Visit twice: once to count, and once to type."""
    seen = load(browser, peer, throttle, standin)
    if peer.chats:
        usable(browser, peer, throttle, hover, seen)
    return seen


# --- what is prepared ---


def version(node_modules, name):
    """Tell which version of a package is there."""
    file = node_modules / name / "package.json"
    return json.loads(file.read_text())["version"] if file.is_file() else None


def npm(*words, cwd):
    """Run npm."""
    program = shutil.which("npm")
    if program is None:
        raise SystemExit("npm is not there: put it on the PATH")
    done = subprocess.run([program, *words], check=False, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"npm {words[0]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def installed(folder, given):
    """Install what is not there yet, outside of the checkout; the ``node_modules`` folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for node_modules in (given, folder / "node_modules"):
        if node_modules and all(version(node_modules, name) == NPM[name] for name in NPM):
            return node_modules
    if given:
        print(f"{given} has not the versions that are compared: installing them into {folder}")
    wanted = [f"{name}@{number}" for name, number in NPM.items()]
    quietly = ("--no-audit", "--no-fund", "--no-save")
    npm("install", "--prefix", str(folder), *quietly, *wanted, cwd=folder)
    return folder / "node_modules"


def unpacked(folder, name, number):
    """Unpack a package as it was published, without what it depends on; its folder."""
    target = folder / f"{name.strip('@').replace('/', '-')}-{number}"
    if not (target / "package").is_dir():
        with tempfile.TemporaryDirectory() as temporary:
            told = npm("pack", "--json", f"{name}@{number}", cwd=temporary)
            file = Path(temporary) / json.loads(told)[0]["filename"]
            with tarfile.open(file) as archive:
                archive.extractall(target, filter="data")
    return target / "package"


def prepare(files, folder, given):
    """Put together what the site serves beside its pages."""
    (files / "empty.js").write_text("")
    node_modules = installed(folder, given)
    for name, (package, number) in LAUNCHERS.items():
        (files / name).symlink_to(unpacked(folder, package, number) / "dist")
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "node_modules").symlink_to(node_modules.resolve())
        flags = ["--bundle", "--minify", "--jsx=automatic", "--log-level=warning"]
        production = '--define:process.env.NODE_ENV="production"'
        for name, source in REACT.items():
            (Path(temporary) / f"{name}.jsx").write_text(source)
            bundle = f"--outfile={files / name}.js"
            command = [node_modules / ".bin/esbuild", f"{name}.jsx", bundle, *flags, production]
            subprocess.run(command, check=True, cwd=temporary)


def start(peers, standin, files, stack):
    """Serve the site, once for each ``flask_chatkit``."""
    # The chat's frame is on another site, as OpenAI's is.
    config = {
        **standin.config(),
        "CHATKIT_SCRIPT_URL": standin.script_url.replace("127.0.0.1", "localhost"),
    }
    bases = {}
    for peer in peers:
        if peer.package not in bases:
            port = free_port()
            env = environment() | {ENVIRONMENT: json.dumps({"config": config, "files": str(files)})}
            if peer.package:
                env["PYTHONPATH"] = os.pathsep.join([peer.package, env["PYTHONPATH"]])
            command = [*GUNICORN, "--bind", f"127.0.0.1:{port}", "page_peers:site()"]
            process = stack.enter_context(running([sys.executable, "-m", *command], env))
            listening(peer.name, port, process)
            bases[peer.package] = f"http://127.0.0.1:{port}"
        peer.base = bases[peer.package]


def launched(playwright):
    """Start Chromium."""
    program = chromium.program()
    if program is None:
        raise SystemExit(f"Chromium is not there: {chromium.MISSING}")
    return playwright.chromium.launch(executable_path=program, args=chromium.FLAGS)


# --- what is printed ---


def spread(numbers, digits=2):
    """Write a median and its range."""
    middle = statistics.median(numbers)
    return f"{middle:.{digits}f} [{min(numbers):.{digits}f}-{max(numbers):.{digits}f}]"


def counts(peers):
    """Print what does not depend on the processor."""
    print(
        f"\n{'before any click':<36}{'requests':>9}{'bytes':>9}{'over floor':>12}"
        f"{'JS':>9}{'CSS':>8}{'HTML':>7}{'others':>8}{'mints':>7}{'cookies':>9}{'shift':>8}"
        f"{'errors':>8}"
    )
    floor = statistics.median(peers[0].all("wire"))
    for peer in peers:
        requests, wire, others, mints, cookies = (
            statistics.median(peer.all(what))
            for what in ("requests", "wire", "others", "mints", "cookies")
        )
        script, style, html = (peer.body(kind) for kind in ("Script", "Stylesheet", "Document"))
        errors = [error for each in peer.all("errors") for error in each]
        print(
            f"{peer.name:<36}{requests:>9.0f}{wire:>9.0f}{wire - floor:>12.0f}"
            f"{script:>9}{style:>8}{html:>7}{others:>8.0f}{mints:>7.0f}{cookies:>9.0f}"
            f"{max(peer.all('shift')):>8.3f}{len(errors):>8}"
        )
        for error in sorted(set(errors))[:3]:
            print(f"  {error}")


def times(peers, throttle):
    """Print milliseconds: medians of the rounds, and how far the rounds lay apart."""
    print(
        f"\n{f'processor / {throttle}, ms':<36}{'evaluation':>24}{'of it CPU':>11}"
        f"{'all script':>24}{'own task':>10}{'any task':>10}{'usable':>24}"
    )
    for peer in peers:
        cpu, own_task, task = (
            statistics.median(peer.of(throttle, what)) for what in ("cpu", "own_task", "task")
        )
        taken = peer.of(throttle, "usable")
        last = "" if None in taken else spread(taken, 0)
        print(
            f"{peer.name:<36}{spread(peer.of(throttle, 'evaluation')):>24}{cpu:>11.2f}"
            f"{spread(peer.of(throttle, 'script')):>24}{own_task:>10.1f}{task:>10.1f}{last:>24}"
        )


def ratios(peers):
    """Compare ours with each of the others, round by round."""
    _floor, ours, *others = peers
    print(f"\n{'ratio, by round':<66}{'min':>9}{'median':>9}{'max':>9}")
    for other in others:
        since = "click : click" if other.launcher else "click : navigation"
        for throttle in THROTTLES:
            print(f"ours : {other.name}, processor / {throttle}")
            for title, what in (
                ("bytes over the wire, the document included", "wire"),
                ("evaluation of scripts at load", "evaluation"),
                ("all script until the page is idle", "script"),
                ("longest task with its script", "own_task"),
                (f"until one can type, {since}", "usable"),
            ):
                theirs = other.of(throttle, what)
                if all(theirs):
                    middle, low, high = ratio(ours.of(throttle, what), theirs)
                    print(f"  {title:<64}{low:>9.4f}{middle:>9.4f}{high:>9.4f}")


def aims(peers):
    """Hold ours to the budget."""
    floor, ours = peers[:2]
    rows = [
        ("JavaScript, bytes after gzip", ours.body("Script"), JAVASCRIPT),
        ("CSS, bytes after gzip", ours.body("Stylesheet"), CSS),
        (
            "HTML over the floor, bytes after gzip",
            ours.body("Document") - floor.body("Document"),
            HTML,
        ),
        ("own requests", max(ours.all("requests")), REQUESTS),
        ("requests to other origins", max(ours.all("others")), 0),
        ("mints", max(ours.all("mints")), 0),
        ("cookies", max(ours.all("cookies")), 0),
    ]
    for title, what in (
        ("evaluation of its script", "evaluation"),
        ("longest task with its script", "own_task"),
    ):
        for throttle in THROTTLES:
            seen = statistics.median(ours.of(throttle, what))
            aim = EVALUATION[throttle] if what == "evaluation" else TASK
            rows.append((f"{title}, ms, median, processor / {throttle}", seen, aim))
    rows += [
        ("layout shift, worst round", max(ours.all("shift")), 0),
        ("errors", sum(map(len, ours.all("errors"))), 0),
    ]
    print(f"\n{'budget of ours':<66}{'seen':>9}  aim")
    for name, seen, aim in rows:
        text = f"{seen:.2f}" if isinstance(seen, float) else f"{seen}"
        print(f"{name:<66}{text:>9}  <= {aim:<6}{'met' if seen <= aim else 'MISSED'}")


def main():
    """Start everything, measure in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each peer (%(default)s)")
    parser.add_argument(
        "--node-modules",
        type=Path,
        metavar="PATH",
        help="a node_modules folder that has React, OpenAI's bindings and esbuild already",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "flask_chatkit_bench_page",
        help="where packages are installed and kept (%(default)s)",
    )
    parser.add_argument(
        "--hover",
        type=int,
        default=0,
        help="milliseconds that the pointer rests on the launcher before the click (%(default)s)",
    )
    add_also(parser)
    args = parser.parse_args()
    peers = [
        Peer("floor: the page alone", "floor", chats=False),
        Peer("ours, chatkit_floating()", "ours", ".chatkit-launcher"),
        Peer("floor with an empty script", "empty", chats=False),
        Peer("chatkit-react, as in the snippet", "react"),
        Peer("chatkit-react, behind a button", "react_button", "#root button"),
        Peer("Typebot, bubble", "typebot", "typebot-bubble button", framed=False),
        Peer("n8n chat", "n8n", ".chat-window-toggle", framed=False),
    ]
    for one in args.also:
        name = f"ours in {Path(one).name}"
        peers.append(Peer(name, "ours", ".chatkit-launcher", package=str(Path(one).resolve())))
    with contextlib.ExitStack() as stack:
        files = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        prepare(files, args.folder, args.node_modules)
        standin = stack.enter_context(OpenAIStandIn())
        start(peers, standin, files, stack)
        browser = launched(stack.enter_context(sync_playwright()))
        stack.callback(browser.close)
        # The browser's and the server's first time is nobody's number.
        for peer in peers:
            measure(browser, peer, 1, args.hover, standin)
        for turn in range(args.rounds):
            for throttle in THROTTLES:
                # None is always the first.
                for place in range(len(peers)):
                    peer = peers[(turn + place) % len(peers)]
                    seen = measure(browser, peer, throttle, args.hover, standin)
                    peer.seen.setdefault(throttle, []).append(seen)
            busy = psutil.getloadavg()[0]
            print(f"Round {turn + 1} of {args.rounds}; load average {busy:.1f}", flush=True)
    counts(peers)
    for throttle in THROTTLES:
        times(peers, throttle)
    ratios(peers)
    aims(peers)


if __name__ == "__main__":
    main()
