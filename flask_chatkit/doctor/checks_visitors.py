"""Checks of visitors' identity: the secret key, the cookie, CSRF guards, trusted origins."""

from __future__ import annotations

import ipaddress
import math
import re
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from ..config import signing_keys
from ..errors import ConfigurationError
from ..parsers import LOOPBACK, cookie_prefix
from .http import Unreachable
from .report import Finding, check, error, ok, skipped, warning
from .site import Site

#: Secret keys of tutorials.
_EXAMPLES = frozenset(
    (
        "dev development secret secret-key secretkey secret_key mysecret my-secret my-secret-key "
        "changeme change-me change_me changethis change-this please-change-me replace-me todo test "
        "testing password key flask super-secret supersecret super-secret-key topsecret 123456 "
        "you-will-never-guess hard-to-guess-string this-is-a-secret a-very-secret-key dev-key "
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf"
    ).split()
)
#: The least bytes of a key, and its least bits by the frequency of its characters.
_MIN_BYTES, _MIN_BITS = 16, 40.0
_MAKE_KEY = "python -c 'import secrets; print(secrets.token_hex())'"


@check(
    "secret-key",
    "`SECRET_KEY` is set and can't be guessed, and neither can its fallbacks",
    cure=f"set SECRET_KEY to what this prints: {_MAKE_KEY}",
)
def secret_key(site: Site) -> Iterator[Finding]:
    """Check each key that signs visitors' cookies."""
    set_one = f"set SECRET_KEY to what this prints: {_MAKE_KEY}"
    try:
        keys = signing_keys(site.config)
    except ConfigurationError as wrong:
        yield error(
            str(wrong), "set SECRET_KEY_FALLBACKS to a list of earlier keys, the oldest first"
        )
        return
    if not keys:
        yield error("SECRET_KEY is not set, and no secret can be handed out", set_one)
        return
    weak = {index: why for index, key in enumerate(keys) if (why := _weakness(key))}
    if site.is_development:
        yield ok("SECRET_KEY is set" + (", and good for development only" if weak else ""))
        return
    if len(keys) - 1 in weak:
        yield error(f"SECRET_KEY {weak[len(keys) - 1]}: visitors' cookies can be forged", set_one)
    for index in sorted(set(weak) - {len(keys) - 1}):
        yield error(
            f"SECRET_KEY_FALLBACKS[{index}] {weak[index]}, and signs as well as SECRET_KEY does",
            "remove it from SECRET_KEY_FALLBACKS; visitors with a cookie of its time start anew",
        )
    if len(set(keys)) < len(keys):
        yield warning(
            "SECRET_KEY_FALLBACKS holds a key twice, or SECRET_KEY itself",
            "keep each earlier key once, for the 30 days that a cookie lasts",
        )
    if not weak:
        more = f", with {len(keys) - 1} earlier ones" if len(keys) > 1 else ""
        yield ok(f"SECRET_KEY is long enough{more}")


def _weakness(key: bytes) -> str | None:
    plain = key.decode("utf-8", "replace").strip().lower()
    if re.sub(r"[\s_]+", "-", plain).strip("!.-") in _EXAMPLES or plain in _EXAMPLES:
        return "is a known example"
    if len(key) < _MIN_BYTES:
        return f"has {len(key)} bytes, fewer than {_MIN_BYTES}"
    counts = Counter(key)
    bits = -sum(count * math.log2(count / len(key)) for count in counts.values())
    if bits < _MIN_BITS:
        return "repeats itself"
    return None


@check(
    "cookie",
    "the visitor cookie's attributes fit the site's scheme, host and path, so that browsers "
    "keep it",
    cure="see the settings CHATKIT_COOKIE_…",
    needs_key=True,
)
def cookie(site: Site) -> Iterator[Finding]:
    """Check the attributes as a browser does."""
    given = site.settings
    found = [*_secure(site), *_domain(site), *_cookie_path(site)]
    if given.cookie_max_age < 3600:
        found.append(
            warning(
                f"CHATKIT_COOKIE_MAX_AGE is {given.cookie_max_age} seconds: visitors are forgotten",
                "set CHATKIT_COOKIE_MAX_AGE to days, such as 30 * 86400",
            )
        )
    yield from found or [ok("browsers keep the visitor cookie")]


def _secure(site: Site) -> Iterator[Finding]:
    given, scheme = site.settings, site.scheme
    needs_https = (
        "CHATKIT_COOKIE_SECURE"
        if given.cookie_secure
        else "CHATKIT_COOKIE_SAMESITE 'None'"
        if given.cookie_samesite == "None"
        else "CHATKIT_COOKIE_PARTITIONED"
        if given.cookie_partitioned
        else f"CHATKIT_COOKIE_NAME {cookie_prefix(given.cookie_name)}…"
        if cookie_prefix(given.cookie_name)
        else ""
    )
    if scheme == "http" and needs_https and not site.is_loopback:
        yield error(
            f"{needs_https} makes a cookie for https, and the site is on http: nobody keeps it",
            "serve the site by https, or remove the setting",
        )
    if scheme == "https" and given.cookie_secure is False:
        yield error(
            "CHATKIT_COOKIE_SECURE is False on an https site: the cookie travels on http, too",
            "remove CHATKIT_COOKIE_SECURE: it follows the request",
        )
    seen = site.seen
    if seen and scheme == "https" and not seen["cookie"]["secure"] and given.cookie_secure is None:
        yield error(
            "the running site sets the cookie without Secure: it takes the request for http",
            "see ProxyFix(x_proto=1) in docs/deployment.md, or set CHATKIT_COOKIE_SECURE to True",
        )


def _domain(site: Site) -> Iterator[Finding]:
    domain, host = site.settings.cookie_domain, site.host
    if domain is None:
        return
    bare = domain.lstrip(".").lower()
    if "." not in bare or _is_address(bare):
        yield error(
            "CHATKIT_COOKIE_DOMAIN is no domain that browsers accept",
            "remove CHATKIT_COOKIE_DOMAIN",
        )
    elif host and host != bare and not host.endswith(f".{bare}"):
        yield error(
            f"CHATKIT_COOKIE_DOMAIN is {bare}, and the site's host {host}: browsers refuse it",
            "remove CHATKIT_COOKIE_DOMAIN, or set it to a parent domain of the host",
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _cookie_path(site: Site) -> Iterator[Finding]:
    path = site.settings.cookie_path
    if path is None:
        return
    try:
        address = site.address("secret")
    except LookupError:
        return
    if address != path and not address.startswith(path.rstrip("/") + "/"):
        yield error(
            f"CHATKIT_COOKIE_PATH is {path}, and the kit is at {address.removesuffix('/secret')}: "
            "the cookie is never sent there",
            "remove CHATKIT_COOKIE_PATH: it follows where the kit is mounted",
        )


@check(
    "csrf",
    "a CSRF guard of the site lets the chat's calls through, also from `embed.js` and from "
    "pages that stay open for long",
    cure="csrf.exempt(chatkit)",
    needs_key=True,
)
def csrf(site: Site) -> Iterator[Finding]:
    """Post a call without a CSRF token to the application."""
    exempt = "csrf.exempt(chatkit): its calls are JSON of the same origin, and need no token"
    try:
        found = site.inside("POST", site.address("api"), site.probe("body"))
    except LookupError as unknown:
        yield skipped(str(unknown))
        return
    if found.status == 200:
        yield ok("no guard of the site stands before the chat's calls")
    elif "csrf" not in site.app.extensions:
        yield warning(
            f"a hook of the site answers the chat's calls with {found.status}",
            "let the hook pass the kit's requests on, unless a login shall come first",
        )
    elif site.settings.trusted_origins:
        yield error(
            "CSRFProtect refuses the calls of pages that embed the chat with embed.js", exempt
        )
    elif _lacks_token(site):
        yield error(
            "CSRFProtect refuses the chat's calls until the widget has fetched a token: a page "
            "with it has no csrf-token",
            exempt,
        )
    else:
        yield from _limited(site, exempt)


def _lacks_token(site: Site) -> bool:
    """Whether a page shows the widget without a CSRF token."""
    name = site.config.get("WTF_CSRF_META_NAME") or "csrf-token"
    for path in site.paths:
        try:
            text = site.page(path).text
        except Unreachable:
            continue
        if "data-chatkit=" in text and not re.search(rf"name=[\"']?{re.escape(str(name))}\b", text):
            return True
    return False


def _limited(site: Site, exempt: str) -> Iterator[Finding]:
    limit: Any = site.config.get("WTF_CSRF_TIME_LIMIT")
    if isinstance(limit, timedelta):
        limit = int(limit.total_seconds())
    if limit:
        yield warning(
            f"CSRFProtect's tokens end after {limit} seconds (WTF_CSRF_TIME_LIMIT): a page that is "
            "open for longer has to fetch another one",
            exempt,
        )
    else:
        yield ok("the chat's calls carry the token of the page's csrf-token")


@check(
    "trusted-origins",
    "each of `CHATKIT_TRUSTED_ORIGINS` is on https, exists, and is not a developer's machine",
    cure="see CHATKIT_TRUSTED_ORIGINS",
)
def trusted_origins(site: Site) -> Iterator[Finding]:
    """Check each origin whose pages may call the kit."""
    found = []
    for origin in sorted(site.settings.trusted_origins):
        parts = urlsplit(origin)
        host = parts.hostname or ""
        if host in LOOPBACK or host.endswith(".localhost"):
            if not (site.is_development or site.is_loopback):
                found.append(
                    error(
                        f"{origin} is trusted: any program on a visitor's machine may be there",
                        f"remove it from {_listed(site, origin)} in production",
                    )
                )
            continue
        if parts.scheme == "http" and site.scheme != "http":
            found.append(
                error(
                    f"{origin} is trusted and not on https: whoever is on the line is trusted, too",
                    f"put https://{parts.netloc} into {_listed(site, origin)} in its place",
                )
            )
        elif not _exists(host):
            found.append(
                warning(
                    f"{origin} is trusted, and there is no such host",
                    f"correct it in {_listed(site, origin)}, or remove it",
                )
            )
    if found:
        yield from found
    elif site.settings.trusted_origins:
        yield ok(f"trusted: {', '.join(sorted(site.settings.trusted_origins))}")
        if site.settings.login_origins:
            yield ok(
                "a script on these chats as whoever is signed in: "
                f"{', '.join(sorted(site.settings.login_origins))}"
            )
    else:
        yield ok("no other origin is trusted")


def _listed(site: Site, origin: str) -> str:
    """Return the setting that lists an origin."""
    name = "LOGIN" if origin in site.settings.login_origins else "TRUSTED"
    return f"CHATKIT_{name}_ORIGINS"


def _exists(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return True
