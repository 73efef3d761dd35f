"""Parsers of settings: each accepts what a configuration or an environment variable holds."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from limits import RateLimitItem, parse_many

from . import validation
from .validation import Check, is_none, matching, number, refuse, token

#: What ``CHATKIT_SENDFILE`` may be beside a location of nginx.
X_SENDFILE, REDIRECT = "X-Sendfile", "redirect"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_TIMES = {"seconds": timedelta(seconds=1), "days": timedelta(days=1)}
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_LIMITS = "rate limits such as 10/minute;100/day"
_ORIGIN = "exact origins such as https://www.example.com, without a path or a wildcard"
_URL = "an https:// URL (http:// for this machine only), without user name, password or query"
_TIMEOUT = "seconds above 0, at most 600, as one number or as a pair: connect, read"


def string(key: str, value: object) -> str:
    """A string of printable ASCII characters without spaces, except around it."""
    found: str = token(key, value.strip() if isinstance(value, str) else value)
    return found


def unlike(prefix: str, form: str) -> Check:
    """A string that does not begin with the prefix of another setting's values."""

    def parse(key: str, value: object) -> str:
        found = string(key, value)
        return refuse(key, form) if found.startswith(prefix) else found

    return parse


api_key = unlike("wf_", "an API key; this is a workflow's id, which belongs to CHATKIT_WORKFLOW_ID")
workflow = unlike(
    "sk-", "a workflow's id, wf_...; this is an API key, which belongs to CHATKIT_API_KEY"
)


def flag(key: str, value: object) -> bool:
    """True or False, also as the words of an environment variable."""
    if isinstance(value, (int, str)):
        value = _FLAGS.get(str(value).lower(), value)
    return validation.flag(key, value)


def whole(low: int, high: int, unit: str) -> Check:
    """A whole number, also as a string; of seconds or days also as a timedelta."""
    check = number(low, high, unit)

    def parse(key: str, value: object) -> Any:
        if isinstance(value, timedelta) and unit in _TIMES:
            value //= _TIMES[unit]
        elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
            value = int(value)
        return check(key, value)

    return parse


def seconds(low: float, high: float) -> Check:
    """Seconds, not always whole ones, also as a string or a timedelta."""
    check = number(low, high, "seconds", whole=False)

    def parse(key: str, value: object) -> float:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        elif isinstance(value, str):
            with suppress(ValueError):
                value = float(value)
        return float(check(key, value))

    return parse


def choice(*valid: str) -> Check:
    """One of a few words, in any case."""
    check = validation.choice(*valid)
    words = {word.lower(): word for word in valid}
    return lambda key, value: check(key, words.get(str(value).lower(), value))


def _split_url(key: str, form: str, value: str) -> SplitResult:
    """The parts of a URL without user name, password, query and fragment."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return refuse(key, form)
    if port == 0 or "@" in parts.netloc or parts.query or parts.fragment:
        refuse(key, form)
    return parts


def origin(key: str, value: str) -> str:
    """An exact origin, normalised the way browsers send it."""
    parts = _split_url(key, _ORIGIN, value)
    host, port = parts.hostname or "", parts.port
    if (
        parts.scheme not in {"http", "https"}
        or not re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:.]+", host)
        or parts.path not in {"", "/"}
    ):
        refuse(key, _ORIGIN)
    shown = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{shown}" + (f":{port}" if port and port != default else "")


def origins(key: str, value: object) -> frozenset[str]:
    """Origins as a list, or as one string, separated by commas or spaces."""
    if isinstance(value, str):
        value = re.split(r"[,\s]+", value.strip())
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(
        isinstance(item, str) for item in value
    ):
        refuse(key, _ORIGIN, value, list)
    return frozenset(origin(key, item) for item in value)


def secure_origins(key: str, value: object) -> frozenset[str]:
    """Origins whose pages nobody on the network can change."""
    found = origins(key, value)
    for item in found:
        if item.startswith("http://") and urlsplit(item).hostname not in LOOPBACK:
            refuse(
                key,
                "https:// origins (http:// for this machine only), since whoever can change a page "
                "on its way would chat as whoever is signed in",
            )
    return found


def url(key: str, value: object) -> str:
    """An https URL; http is accepted for this machine only, since a key is sent there."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x5b\x5d-\x7e]+", value):
        return refuse(key, _URL, value)
    parts = _split_url(key, _URL, value)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not secure or not parts.hostname:
        refuse(key, _URL)
    return value.rstrip("/")


def script_url(key: str, value: object) -> str:
    """An https URL, one of this machine, or a path on the site itself."""
    if isinstance(value, str) and re.fullmatch(r"/[^/\s\\][^\s\\]*", value):
        return value
    return url(key, value)


def timeout(key: str, value: object) -> tuple[float, float]:
    """Seconds as one number for both, or as a pair (connect, read)."""
    if isinstance(value, str):
        value = re.split(r"[,\s]+", value.strip())
    pair = value if isinstance(value, (list, tuple)) else [value]
    try:
        found = [0.0 if isinstance(item, bool) else float(cast("Any", item)) for item in pair]
    except (TypeError, ValueError, OverflowError):
        found = []
    if len(found) not in {1, 2} or not all(0 < item <= 600 for item in found):
        refuse(key, _TIMEOUT)
    return found[0], found[-1]


def limits(key: str, value: object) -> tuple[RateLimitItem, ...]:
    """Rate limits in Flask-Limiter's notation; ``none`` or an empty string for no limit."""
    if not isinstance(value, str):
        refuse(key, _LIMITS, value)
    if is_none(value):
        return ()
    try:
        items: Sequence[RateLimitItem] = parse_many(value)
    except ValueError:
        items = ()
    if not items or any(item.amount < 1 for item in items):
        refuse(key, _LIMITS)
    return tuple(sorted(items, key=lambda item: item.get_expiry()))


def importable(key: str, value: object) -> str:
    """``package.module:attribute``, of a module that can be found; it is not imported yet."""
    form = "package.module:attribute, such as shop.chat:server"
    match = isinstance(value, str) and re.fullmatch(r"([\w.]+):([\w.]+)", value.strip())
    if not match:
        refuse(key, form, value)
    try:
        found = importlib.util.find_spec(match[1])
    except (ImportError, ValueError, AttributeError):
        found = None
    if found is None and match[1] not in sys.modules:
        refuse(key, f"{form}; there is no module {match[1]!r}")
    return match[0]


def folder(key: str, value: object) -> str:
    """A folder's path, or the URL of one that fsspec knows."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value.strip().isprintable():
        refuse(key, "a folder's path, or a URL that fsspec knows, such as s3://bucket/chat", value)
    return value.strip()


def sendfile(key: str, value: object) -> str:
    """What sends files in our place: nginx, another server in front, or the object store."""
    form = (
        "X-Sendfile, redirect, or the path of an internal location of nginx such as /chatkit-files/"
    )
    value = value.strip() if isinstance(value, str) else refuse(key, form, value)
    for word in (X_SENDFILE, REDIRECT):
        if value.lower() == word.lower():
            return word
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", value):
        refuse(key, form)
    return value.rstrip("/") + "/"


#: A token of RFC 6265.
cookie_name = matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "a cookie name: letters, digits, - and _")
cookie_domain = matching(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", "a host name such as example.com")
cookie_path = matching(r"/[^;,\s]*", "a path that begins with /")


def cookie_prefix(name: str) -> str:
    """The prefix by which browsers restrict a cookie: ``__Host-``, ``__Secure-`` or nothing."""
    for prefix in ("__Host-", "__Secure-"):
        # Browsers ignore the case.
        if name.lower().startswith(prefix.lower()):
            return prefix
    return ""
