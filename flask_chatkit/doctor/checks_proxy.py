"""Checks of the running site and its proxies; only with ``--url``."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

from ..chats.checks import DEFAULT
from ..http import probes
from ..identity.sessions import HEADER as TOKEN_HEADER
from .http import Page, Unreachable
from .report import Finding, check, error, ok, skipped, warning
from .site import Site, seen_in

_PROXY_FIX = (
    "app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1), with the number of "
    "proxies you run (x_prefix=1 for a site below a path), which must set these headers"
)
#: Seconds between two clocks that are reported, long before they do harm.
SKEW = 30
#: Parallel answers.
AT_ONCE = 3
#: Seconds for which a body is sent.
UPLOAD_SECONDS = 4.0
#: Headers that a visitor could forge, with reserved values (RFC 5737), and what they would change.
FORGED = (
    ("X-Forwarded-For", "x_for", "address", "192.0.2.77", "the address that limits count"),
    ("X-Forwarded-Host", "x_host", "host", "doctor.invalid", "the host of the site's own links"),
    ("X-Forwarded-Prefix", "x_prefix", "root", "/doctor", "the prefix of the site's own links"),
)
_NO_URL = "without --url the running site is not looked at"


@check(
    "running-site",
    "the running site responds, with the same `SECRET_KEY` and at the same prefix (with `--url`)",
    cure="see whether the site runs: look at its log, and at its proxy's",
    needs_key=True,
    seconds=10.0,
)
def running_site(site: Site) -> Iterator[Finding]:
    """Send a probe, and identify what responds instead of the kit."""
    if site.http is None:
        add = "to check proxy, workers, streaming and headers: add --url https://your.site"
        yield skipped(_NO_URL, "" if site.is_development else add)
        return
    try:
        page = site.look()
    except LookupError as unknown:
        yield skipped(str(unknown))
        return
    except Unreachable as why:
        yield error(
            f"the site can't be reached: {why}",
            "see that the URL is right, that the site runs, and that its certificate is complete",
        )
        return
    if "Date" in page.headers:
        site.clocks["the running site"] = (page.headers["Date"], time.time())
    if seen_in(page) is None:
        yield _strange(site, page)
    else:
        yield ok("the running site answers")


def _strange(site: Site, page: Page) -> Finding:
    status = page.status
    if status == 401 and "basic" in page.headers.get("WWW-Authenticate", "").lower():
        return error(
            "HTTP Basic is asked for in front of the site",
            "put the name and password into --url, before the host and an @",
        )
    if status == 401 and "probe" in page.text:
        return error(
            "the running site does not know this configuration's probe",
            "run the doctor with the SECRET_KEY of the running site, and set both clocks by NTP",
        )
    if status in {301, 302, 303, 307, 308}:
        return error(
            "the site answers with a redirect",
            "name the address it redirects to, or let the kit's calls pass a login: "
            f"{page.headers.get('Location', '')[:100]}",
        )
    if status in {502, 503, 504}:
        return error(
            f"the proxy answers {status}: the application does not",
            "see that the application's server runs, and where the proxy looks for it",
        )
    if status == 400:
        return error(
            "the site answers 400",
            "if TRUSTED_HOSTS or SERVER_NAME is set, the URL's host must be in it",
        )
    if status == 404:
        return error(
            f"the kit is not at {site.address('config')} (404)",
            "let the proxy pass the kit's prefix on unchanged, and run the same version",
        )
    if status == 200:
        return error(
            "the site answers, but not to a probe",
            "let the proxy pass X-ChatKit-Probe on and cache nothing of the kit's; run one version",
        )
    return error(f"the site answers {status} to the kit's call", "look at its log and the proxy's")


@check(
    "proxy-headers",
    "behind a proxy, the application sees the visitor's scheme, host, prefix and address, and"
    " trusts nobody else's headers (with `--url`)",
    cure=_PROXY_FIX,
)
def proxy_headers(site: Site) -> Iterator[Finding]:
    """Compare the request with the application's view of it."""
    seen = site.seen
    if seen is None:
        yield skipped(_NO_URL)
        return
    found = list(_mistaken(site, seen))
    for header, argument, field, value, what in FORGED:
        try:
            report = seen_in(site.look({header: value}))
        except Unreachable:
            continue
        if report is not None and report[field] == value:
            found.append(
                error(
                    f"any client that sends {header} chooses {what}",
                    f"let the first proxy overwrite {header} (nginx: proxy_set_header), or lower "
                    f"ProxyFix's {argument}; nobody may reach the application past the proxy",
                )
            )
    yield from found or [ok(f"the application sees {seen['scheme']}://{seen['host']}")]


def _mistaken(site: Site, seen: dict[str, Any]) -> Iterator[Finding]:
    asked = site.parts
    host = asked.netloc.rpartition("@")[2].lower()
    wrong = []
    if seen["scheme"] != asked.scheme:
        wrong.append(f"the scheme {seen['scheme']}")
    if _without_port(seen["host"], seen["scheme"]) != _without_port(host, asked.scheme):
        wrong.append(f"the host {seen['host']}")
    if (seen["root"] or "").rstrip("/") != asked.path.rstrip("/"):
        wrong.append(f"the prefix {seen['root'] or '/'}")
    if wrong:
        headers = ", ".join(seen["forwarded"]) or "no X-Forwarded headers arrive"
        yield error(
            f"the application sees {' and '.join(wrong)} in place of the visitor's ({headers})",
            _PROXY_FIX,
        )
    elif "X-Forwarded-For" in seen["forwarded"] and not seen["has_proxy_fix"]:
        yield error(
            "X-Forwarded-For arrives and nobody reads it: all visitors have the proxy's address "
            f"({seen['address']}), and share its limits",
            _PROXY_FIX,
        )
    elif not _is_address(seen["address"]):
        yield error(
            "the application sees no address: all visitors share the limits of one", _PROXY_FIX
        )


def _without_port(host: str, scheme: str) -> str:
    return host.lower().removesuffix({"http": ":80", "https": ":443"}.get(scheme, ":"))


def _is_address(value: object) -> bool:
    try:
        ipaddress.ip_address(str(value).strip("[]"))
    except ValueError:
        return False
    return True


@check(
    "body-limit",
    "the proxy accepts bodies of `CHATKIT_MAX_UPLOAD_BYTES`, tried with zeros that are not "
    "stored (with `--url`)",
    cure="raise the proxy's limit of bodies: client_max_body_size in nginx",
    seconds=15.0,
)
def body_limit(site: Site) -> Iterator[Finding]:
    """Post a body of the largest upload's size."""
    if site.seen is None or site.http is None:
        yield skipped(_NO_URL)
        return
    if any(chat.attachments_accepted is not None for chat in site.served):
        size = site.settings.max_upload_bytes + probes.FORM
    elif site.served:
        size = probes.FORM
    else:
        yield skipped("no chat takes bodies of a size")
        return
    try:
        status = site.http.upload(
            site.at(site.address("attachments")), site.probe("body"), size, UPLOAD_SECONDS
        )
    except Unreachable as why:
        yield error(
            f"a body of {size} bytes is not taken: {why}",
            "raise the proxy's limit of bodies (nginx: client_max_body_size) and its timeouts",
        )
        return
    shown = -(-size // 2**20)
    if status == 413:
        yield error(
            f"the proxy refuses a body of {size} bytes (413): CHATKIT_MAX_UPLOAD_BYTES allows it",
            f"client_max_body_size {shown}m; in nginx, or lower CHATKIT_MAX_UPLOAD_BYTES",
        )
    elif status in {0, 200}:
        yield ok(f"bodies of {shown} MB pass")
    elif status >= 500:
        yield error(
            f"a body of {size} bytes is answered {status}",
            "see the proxy's error log: it must be able to keep bodies (nginx: "
            "client_body_temp_path) and wait for the application",
        )
    else:
        yield skipped(f"something answered {status} before the body was looked at")


@check(
    "streaming",
    "answers reach the browser word by word: no proxy buffers or compresses them (with `--url`)",
    cure="proxy_buffering off; for the kit's prefix",
    seconds=15.0,
)
def streaming(site: Site) -> Iterator[Finding]:
    """Measure the times at which the events of a one-second stream arrive."""
    if site.seen is None:
        yield skipped(_NO_URL)
        return
    lasts = probes.EVERY * (probes.EVENTS - 1)
    try:
        page, times = _streamed(site)
    except Unreachable as why:
        yield error(
            f"a stream of {lasts:g} seconds breaks off: {why}",
            "raise the proxy's read timeout (nginx: proxy_read_timeout) to CHATKIT_ANSWER_SECONDS",
        )
        return
    if page.status != 200:
        yield skipped(f"something answered {page.status} before the stream began")
        return
    spread = times[-1] - times[0] if times else 0.0
    packed = page.headers.get("Content-Encoding", "identity")
    if spread < lasts / 2:
        yield error(
            f"a proxy buffers answers: {lasts:g} seconds of events arrived within {spread:.1f}"
            + (f", compressed ({packed})" if packed != "identity" else ""),
            "proxy_buffering off; in nginx for the kit's prefix, or let X-Accel-Buffering: no have "
            "its effect"
            + (
                "; and take text/event-stream out of what is compressed"
                if packed != "identity"
                else ""
            ),
        )
    elif packed != "identity":
        yield warning(
            f"a proxy compresses answers ({packed}), against Cache-Control: no-transform",
            "take text/event-stream out of what is compressed (nginx: gzip_types)",
        )
    else:
        yield ok(f"answers arrive as they are made: {spread:.1f} of {lasts:g} seconds apart")


def _streamed(site: Site) -> tuple[Page, list[float]]:
    assert site.http is not None  # noqa: S101  for the type checker
    headers = {**site.probe("stream"), "Accept": "text/event-stream", "Accept-Encoding": "gzip, br"}
    found = site.http.stream("POST", site.at(site.address("api")), headers)
    if found[0].status in {400, 403}:
        # A CSRF guard refuses it, which the check csrf reports.
        found = site.http.stream("GET", site.at(site.address("config")), headers)
    return found


@check(
    "workers",
    "the server's workers have threads, so that answers do not block each other (with `--url`)",
    cure="gunicorn --worker-class gthread --workers 2 --threads 64",
    seconds=15.0,
)
def workers(site: Site) -> Iterator[Finding]:
    """Check the server, and request several answers at once."""
    seen = site.seen
    if seen is None:
        yield skipped(_NO_URL)
        return
    server = seen["server"].partition("/")[0].lower()
    threads = "gunicorn --worker-class gthread --workers 2 --threads 64 …"
    if seen["uwsgi_threads"] is False:
        yield error(
            "uWSGI runs without threads: no served chat can answer",
            "enable-threads = true, threads = 16 and lazy-apps = true in uWSGI's configuration",
        )
    elif not seen["threads"]:
        yield (error if site.served else warning)(
            f"{server or 'the server'} runs workers without threads: each carries one answer at a "
            "time, and ends it at its timeout",
            threads,
        )
    elif server == "werkzeug" and not (seen["debug"] or site.is_loopback):
        yield error("the site runs on Flask's development server", threads)
    elif site.served and not _carries(site):
        yield error(f"{AT_ONCE} answers at once wait for each other", threads)
    else:
        yield ok(f"{server or 'the server'} carries several answers at once")
    if seen["debug"] and not site.is_loopback:
        yield error("the running site is in debug mode", "run it without --debug and FLASK_DEBUG")


def _carries(site: Site) -> bool:
    """Whether several answers are sent at once."""

    def one(_: int) -> list[float]:
        try:
            return _streamed(site)[1]
        except Unreachable:
            return []

    with ThreadPoolExecutor(AT_ONCE) as clients:
        spans = [times for times in clients.map(one, range(AT_ONCE)) if times]
    # Events that a proxy buffers arrive at once, whatever the workers do.
    lasts = probes.EVERY * (probes.EVENTS - 1)
    if any(times[-1] - times[0] < lasts / 2 for times in spans):
        return True
    # A blocked answer begins when another one has ended.
    begun = [times[0] for times in spans]
    return not begun or max(begun) - min(begun) < lasts / 2


@check(
    "http-basic",
    "the token of a served chat (`X-ChatKit-Token`) reaches the application, and no HTTP Basic in "
    "front keeps pages of other origins out (with `--url`)",
    cure="auth_basic off; for the kit's prefix",
)
def http_basic(site: Site) -> Iterator[Finding]:
    """Send a token with the name and password of the URL, and without them."""
    if site.http is None or site.seen is None or not site.served:
        yield skipped("no served chat runs behind --url")
        return
    seen = seen_in(site.look({TOKEN_HEADER: "doctor"})) or {}
    if seen.get("has_token") is False:
        yield error(
            f"a proxy in front removes the header {TOKEN_HEADER}, which a served chat needs where "
            "cookies are blocked",
            f"let the proxy pass {TOKEN_HEADER} on",
        )
        return
    url = site.at(site.address("config"))
    page = site.http.send("GET", url, site.probe("look"), auth=False)
    if page.status != 401 or "probe" in page.text:
        yield ok("the token of a served chat reaches the application")
    elif site.settings.trusted_origins:
        yield error(
            "HTTP Basic in front refuses the calls of pages that embed the chat with embed.js, "
            "which have no password",
            f"auth_basic off; in nginx for {site.address('page', chat=None) or DEFAULT}, whose "
            "visitors the kit knows by itself",
        )
    else:
        yield ok("the token of a served chat passes the HTTP Basic in front")


@check(
    "clock",
    "this machine's clock agrees with those of OpenAI and the running site",
    cure="set the clock by NTP: timedatectl set-ntp true",
)
def clock(site: Site) -> Iterator[Finding]:
    """Compare the Date headers of responses with this machine's clock."""
    if not site.clocks:
        yield skipped("no response had a date")
        return
    fine = True
    for who, (date, here) in site.clocks.items():
        try:
            there = parsedate_to_datetime(date).timestamp()
        except ValueError:
            continue
        if abs(there - here) > SKEW:
            fine = False
            yield error(
                f"this machine's clock and that of {who} differ by {abs(there - here):.0f} seconds",
                "set the clock by NTP: timedatectl set-ntp true",
            )
    if fine:
        yield ok(f"the clock agrees with {' and '.join(site.clocks)}")
