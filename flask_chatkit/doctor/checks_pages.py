"""Checks of the site's pages: their headers, and the kit's files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

from ..options.read import element_options
from ..widget.assets import hashed_name
from .http import Page, Unreachable
from .report import Finding, check, error, ok, skipped, warning
from .site import Site

_NAME = "see Content-Security-Policy in docs/security.md"
#: Directives for files that have the page's nonce.
_NONCED = frozenset({"script-src", "style-src"})
#: Policies of the widget, and of its Markdown.
_TRUSTED_TYPES = ("flask-chatkit", "dompurify")


class _Head(HTMLParser):
    """Parses a page's policies in meta tags, and whether it shows the widget, with a nonce."""

    def __init__(self) -> None:
        super().__init__()
        self.policies: list[str] = []
        self.has_widget = False
        self.has_viewport = False
        #: None if the page has no loader.
        self.has_nonce: bool | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Handle a tag."""
        given = dict(attrs)
        if tag == "meta" and (given.get("http-equiv") or "").lower() == "content-security-policy":
            self.policies.append(given.get("content") or "")
        self.has_viewport |= tag == "meta" and (given.get("name") or "").lower() == "viewport"
        if tag == "script" and "data-kit" in given:
            self.has_nonce = bool(given.get("nonce"))
        self.has_widget |= "data-chatkit" in given or (given.get("src") or "").endswith("/embed.js")


@dataclass
class _View:
    """A page of the site."""

    path: str
    page: Page
    head: _Head = field(default_factory=_Head)

    @property
    def policies(self) -> list[dict[str, list[str]]]:
        """The page's policies, each by directive."""
        header = self.page.headers.get("Content-Security-Policy", "")
        return [
            _directives(one) for one in (*header.split(","), *self.head.policies) if one.strip()
        ]


def _directives(policy: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in policy.split(";"):
        name, *sources = part.split()[:200] or [""]
        if name:
            found.setdefault(name.lower(), sources)
    return found


def _views(site: Site) -> list[_View]:
    def make() -> list[_View]:
        found = []
        for path in site.paths:
            try:
                view = _View(path, site.page(path))
            except Unreachable:
                continue
            if view.page.status < 300:
                view.head.feed(view.page.text)
                found.append(view)
        return found

    return site.remember("views", make)


@check(
    "pages",
    "the pages respond, and one of them shows a chat",
    cure="look at the site's log for why the page fails",
    seconds=15.0,
)
def pages(site: Site) -> Iterator[Finding]:
    """Fetch the pages."""
    for path in site.paths:
        try:
            found = site.page(path)
        except Unreachable as why:
            yield skipped(f"the page {path} can't be fetched: {why}")
            return
        if found.status >= 500:
            yield error(f"the page {path} answers {found.status}", "look at the site's log")
    views = _views(site)
    if any(view.head.has_widget for view in views):
        yield ok(f"a chat is shown on {', '.join(v.path for v in views if v.head.has_widget)}")
    else:
        yield skipped(
            f"no chat is shown on {', '.join(site.paths)}, as far as can be seen from here",
            "name a page that shows one: --page /help",
        )


@check(
    "viewport",
    "the pages with a chat have a viewport tag: phones show them in small print without one",
    cure='<meta name="viewport" content="width=device-width, initial-scale=1">',
)
def viewport(site: Site) -> Iterator[Finding]:
    """Look for the tag in each page that shows a chat."""
    views = [view for view in _views(site) if view.head.has_widget]
    lacking = [view.path for view in views if not view.head.has_viewport]
    if lacking:
        yield warning(
            f"{', '.join(lacking)}: without a viewport tag a phone shows the chat tiny, in the "
            "corner of a page that it takes to be a desktop's",
            'in the head: <meta name="viewport" content="width=device-width, initial-scale=1">',
        )
    elif views:
        yield ok("the pages with a chat have a viewport tag")
    else:
        yield skipped("no page with a chat was seen")


@check(
    "csp",
    "the pages' `Content-Security-Policy` lets the widget load, call the site, and show OpenAI's "
    "frame",
    cure=_NAME,
)
def csp(site: Site) -> Iterator[Finding]:
    """Check each policy of each page as a browser does."""
    views = _views(site)
    found = [finding for view in views for finding in _judged(site, view)]
    if found:
        yield from dict.fromkeys(found)
    elif views:
        yield ok(
            "the pages' policies let the chat work"
            if any(view.policies for view in views)
            else "the pages have no Content-Security-Policy"
        )
    else:
        yield skipped("no page could be looked at")


def _judged(site: Site, view: _View) -> Iterator[Finding]:
    parts = urlsplit(site.settings.script_url)
    openai = f"{parts.scheme}://{parts.netloc}" if parts.netloc else "'self'"
    for policy in view.policies:
        scripts = _sources(policy, "script-src-elem", "script-src", "default-src")
        types = policy.get("trusted-types", ["*"])
        missing = [name for name in _TRUSTED_TYPES if not {name, "*"} & set(types)]
        if "'script'" in policy.get("require-trusted-types-for", []) and missing:
            yield error(
                f"{view.path}: trusted-types lacks {' and '.join(missing)}",
                f"add {' '.join(missing)} to trusted-types",
            )
        wanted = [("script-src", "'self'", scripts)]
        wanted.append(("connect-src", "'self'", _sources(policy, "connect-src", "default-src")))
        wanted.append(
            ("style-src", "'self'", _sources(policy, "style-src-elem", "style-src", "default-src"))
        )
        if site.shows_openai:
            frames = _sources(policy, "frame-src", "child-src", "default-src")
            wanted += [("script-src", openai, scripts), ("frame-src", openai, frames)]
        for directive, source, sources in wanted:
            if not _allows(sources, source, site, directive, view.head):
                yield error(
                    f"{view.path}: the page's Content-Security-Policy blocks {_shown(source)}: "
                    f"see {directive}",
                    f"add {source} to {directive}"
                    + (
                        ", or the page's nonce to the macro" if view.head.has_nonce is False else ""
                    ),
                )


def _shown(source: str) -> str:
    return "the kit's own files and calls" if source == "'self'" else source


def _sources(policy: dict[str, list[str]], *directives: str) -> list[str] | None:
    """Return the sources of the first directive that a policy has; None if it has none."""
    return next((policy[name] for name in directives if name in policy), None)


def _allows(
    sources: list[str] | None, wanted: str, site: Site, directive: str, head: _Head
) -> bool:
    if sources is None:
        return True
    if directive in _NONCED and any(source.startswith("'nonce-") for source in sources):
        if head.has_nonce is not False:
            return True
        if "'strict-dynamic'" in sources:
            return False
    origin = wanted
    if wanted == "'self'":
        if "'self'" in sources:
            return True
        origin = f"{site.scheme or 'https'}://{site.parts.netloc or site.host or 'localhost'}"
    return any(_matches(source, origin) for source in sources)


def _matches(source: str, origin: str) -> bool:
    """Whether a policy's source matches an origin."""
    wanted = urlsplit(origin)
    if source == "*":
        return wanted.scheme in {"http", "https"}
    if source.endswith(":") or source in {"https", "http"}:
        return source.rstrip(":") == wanted.scheme
    if source.startswith("'"):
        return False
    parts = urlsplit(source if "://" in source else f"{wanted.scheme}://{source}")
    if parts.scheme != wanted.scheme and (parts.scheme, wanted.scheme) != ("http", "https"):
        return False
    host, given = parts.netloc.lower(), wanted.netloc.lower()
    return given.endswith(host[1:]) if host.startswith("*.") else host == given


@check(
    "coep",
    "no page has a `Cross-Origin-Embedder-Policy` that keeps OpenAI's frame out",
    cure="see Cross-Origin-Embedder-Policy",
)
def coep(site: Site) -> Iterator[Finding]:
    """Check the header."""
    if not site.shows_openai:
        yield skipped("no chat shows OpenAI's frame")
        return
    found = False
    for view in _views(site):
        value = view.page.headers.get("Cross-Origin-Embedder-Policy", "").partition(";")[0].strip()
        if value in {"require-corp", "credentialless"}:
            found = True
            yield error(
                f"{view.path}: Cross-Origin-Embedder-Policy: {value} keeps OpenAI's frame out",
                "remove the header from pages with a chat, or use unsafe-none there",
            )
    if not found:
        yield ok("no Cross-Origin-Embedder-Policy keeps OpenAI's frame out")


@check(
    "permissions-policy",
    "if a chat has dictation, the pages' `Permissions-Policy` allows the microphone",
    cure="see Permissions-Policy",
)
def permissions_policy(site: Site) -> Iterator[Finding]:
    """Check the header, if there is dictation."""
    if not any(_dictates(chat) for chat in site.served):
        yield skipped("no chat takes dictation")
        return
    origin = urlsplit(site.settings.script_url)
    frame = f"{origin.scheme}://{origin.netloc}"
    allows = f'Permissions-Policy: microphone=(self "{frame}")'
    found = False
    for view in _views(site):
        header = view.page.headers.get("Permissions-Policy", "")
        given = re.search(r"(?:^|,)\s*microphone=(\*|\([^)]*\)|self)", header)
        if given and given[1] != "*" and not ("self" in given[1] and frame in given[1]):
            found = True
            yield error(
                f"{view.path}: Permissions-Policy keeps the microphone from the chat", allows
            )
    if not found:
        yield ok("the pages let the chat use the microphone")


def _dictates(chat: object) -> bool:
    try:
        options = element_options(getattr(chat, "widget", {}), hosted=False)
    except Exception:  # noqa: BLE001  wrong options are refused elsewhere
        return False
    return bool(options.get("composer", {}).get("dictation", {}).get("enabled"))


@check(
    "https",
    "the site is on https and sends `Strict-Transport-Security`",
    cure="serve the site by https",
)
def https(site: Site) -> Iterator[Finding]:
    """Check the scheme and the header."""
    if site.is_loopback or site.scheme is None:
        yield (
            ok("localhost needs no https")
            if site.is_loopback
            else skipped("without --url it is not known whether the site is on https")
        )
        return
    if site.scheme == "http":
        yield error(
            "the site is on http. ChatKit needs a secure context: https, or localhost",
            "serve it by https: certbot, or the proxy's own certificates",
        )
        return
    views = _views(site)
    if not views:
        yield skipped("no page could be looked at")
    elif any("Strict-Transport-Security" in view.page.headers for view in views):
        yield ok("the site is on https, and says so for the future")
    else:
        yield warning(
            "the site does not send Strict-Transport-Security: a visit by http can be taken over",
            "in nginx: add_header Strict-Transport-Security max-age=31536000 always; or use "
            "Flask-Talisman",
        )


@check(
    "files",
    "the kit's scripts reach a browser with the right MIME types",
    cure="let the proxy pass the kit's static files to the application",
)
def files(site: Site) -> Iterator[Finding]:
    """Fetch the loader, as each page with a chat does."""
    try:
        path = site.address("static", filename=hashed_name("loader.js"))
        found = site.http.send("GET", site.at(path)) if site.http else site.inside("GET", path)
    except LookupError as unknown:
        yield skipped(str(unknown))
        return
    except Unreachable as why:
        yield skipped(f"the loader can't be fetched: {why}")
        return
    kind = found.headers.get("Content-Type", "").partition(";")[0].strip()
    if found.status != 200:
        yield error(
            f"the loader ({path}) answers {found.status}: no chat appears",
            "let the proxy pass the kit's prefix to the application, its static files too "
            "(nginx: a location for *.js takes them away), and run one version everywhere",
        )
    elif kind not in {"text/javascript", "application/javascript"}:
        yield error(
            f"the loader is sent as {kind or 'nothing'}: no browser runs it",
            "let the proxy leave the answer's Content-Type as it is",
        )
    else:
        yield ok("the kit's scripts are served")
