"""What a site configures: one frozen dataclass, every key documented once, where it is declared."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

from itsdangerous import want_bytes
from limits import RateLimitItem, parse_many

from .errors import ConfigurationError
from .quota import UploadQuota, upload_quota
from .startup_checks import DATABASES, STORAGES, check_driver

logger = logging.getLogger("flask_chatkit")

PREFIX = "CHATKIT_"
API_BASE = "https://api.openai.com/v1"
#: OpenAI's element. It is closed and unversioned: it can neither be pinned nor mirrored.
SCRIPT_URL = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js"
#: What ``CHATKIT_SENDFILE`` may be beside a location of nginx.
X_SENDFILE, REDIRECT = "X-Sendfile", "redirect"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _wrong(key: str, form: str, value: object = "") -> NoReturn:
    # The value itself stays out of the message: a key pasted into the wrong variable is a secret.
    kind = "" if isinstance(value, str) else f", not {type(value).__name__}"
    raise ConfigurationError(f"{key} must be {form}{kind}")


def text(key: str, value: object) -> str | None:
    """A text without blanks or control characters; blank means not set."""
    if not isinstance(value, str) or re.search(r"[^\x21-\x7e]", value.strip()):
        _wrong(key, "a text of printable ASCII characters without blanks", value)
    return value.strip() or None


def api_key(key: str, value: object) -> str | None:
    """OpenAI's key; what is plainly something else is refused."""
    found = text(key, value)
    if found is not None and found.startswith("wf_"):
        _wrong(key, "an API key; this is a workflow's id, which belongs to CHATKIT_WORKFLOW_ID")
    return found


def workflow(key: str, value: object) -> str | None:
    """A workflow's id; a key that was pasted here is refused."""
    found = text(key, value)
    if found is not None and found.startswith("sk-"):
        _wrong(key, "a workflow's id, wf_...; this is an API key, which belongs to CHATKIT_API_KEY")
    return found


def flag(key: str, value: object) -> bool:
    """True or False, as a bool or, from an environment variable, as a word."""
    word = str(value).lower()
    if isinstance(value, (bool, int, str)) and word in {"true", "false", "1", "0"}:
        return word in {"true", "1"}
    return _wrong(key, "True or False", value)


def whole(low: int, high: int, unit: str) -> Callable[[str, object], int]:
    """A whole number within bounds; a bool is not a number."""

    def parse(key: str, value: object) -> int:
        form = f"a whole number of {unit} from {low} to {high}"
        if isinstance(value, timedelta):
            value = int(value.total_seconds())
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            _wrong(key, form, value)
        if not low <= value <= high:
            _wrong(key, form)
        return value

    return parse


def seconds(low: float, high: float) -> Callable[[str, object], float]:
    """Seconds within bounds, not always whole ones."""

    def parse(key: str, value: object) -> float:
        form = f"seconds from {low:g} to {high:g}"
        if isinstance(value, timedelta):
            value = value.total_seconds()
        try:
            number = float(cast("Any", value))
        except (TypeError, ValueError):
            _wrong(key, form, value)
        if isinstance(value, bool) or not low <= number <= high:
            _wrong(key, form)
        return number

    return parse


def days(key: str, value: object) -> int:
    """A whole number of days, or a timedelta of some."""
    if isinstance(value, timedelta):
        value = value.days
    return whole(1, 36_500, "days")(key, value)


def choice(*valid: str) -> Callable[[str, object], str]:
    """One of a few words, in any case."""

    def parse(key: str, value: object) -> str:
        for word in valid:
            if isinstance(value, str) and value.lower() == word.lower():
                return word
        _wrong(key, "one of " + ", ".join(valid))

    return parse


def origin(key: str, value: str) -> str:
    """An exact origin, normalised the way browsers send it."""
    form = "exact origins such as https://www.example.com, without a path or a wildcard"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        _wrong(key, form)
    host = parts.hostname or ""
    if (
        parts.scheme not in {"http", "https"}
        or not re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:.]+", host)
        or parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or port == 0
    ):
        _wrong(key, form)
    shown = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{shown}" + (f":{port}" if port and port != default else "")


def origins(key: str, value: object) -> frozenset[str]:
    """Origins as a list, or as one text separated by commas or blanks."""
    if isinstance(value, str):
        value = re.split(r"[,\s]+", value.strip()) if value.strip() else []
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(
        isinstance(item, str) for item in value
    ):
        _wrong(key, "a list of exact origins such as https://www.example.com")
    return frozenset(origin(key, item) for item in value)


def url(key: str, value: object) -> str:
    """An https URL; plain http is accepted for this machine only, since a key travels there."""
    form = "an https:// URL (http:// for this machine only), without a name, password or query"
    if not isinstance(value, str):
        _wrong(key, form, value)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        _wrong(key, form)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if (
        not secure
        or not parts.hostname
        or port == 0
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
        or not re.fullmatch(r"[\x21-\x5b\x5d-\x7e]+", value)
    ):
        _wrong(key, form)
    return value.rstrip("/")


def script_url(key: str, value: object) -> str:
    """An https URL, one of this machine, or a path on the site itself."""
    if isinstance(value, str) and re.fullmatch(r"/[^/\s\\][^\s\\]*", value):
        return value
    return url(key, value)


def timeout(key: str, value: object) -> tuple[float, float]:
    """Seconds as one number for both, or as a pair (connect, read)."""
    form = "seconds above 0, as one number or as a pair: connect, read"
    if isinstance(value, str):
        value = re.split(r"[,\s]+", value.strip())
    pair = value if isinstance(value, (list, tuple)) else [value, value]
    try:
        seconds = [float(cast("Any", item)) for item in pair]
    except (TypeError, ValueError):
        _wrong(key, form)
    if (
        len(seconds) != 2
        or any(isinstance(item, bool) for item in pair)
        or not all(0 < item <= 600 for item in seconds)
    ):
        _wrong(key, form)
    return seconds[0], seconds[1]


def limits(key: str, value: object) -> tuple[RateLimitItem, ...]:
    """A rate limit in Flask-Limiter's notation; parsed here, where a mistake can still be told."""
    form = "rate limits such as 10/minute;100/day"
    if not isinstance(value, str):
        _wrong(key, form)
    if not value.strip():
        return ()
    try:
        items = parse_many(value)
    except ValueError:
        _wrong(key, form)
    if any(item.amount < 1 for item in items):
        _wrong(key, form)
    return tuple(sorted(items, key=lambda item: item.get_expiry()))


def importable(key: str, value: object) -> str:
    """``package.module:attribute``, of a module that there is; it is not imported yet."""
    form = "package.module:attribute, such as shop.chat:server"
    match = isinstance(value, str) and re.fullmatch(r"([\w.]+):([\w.]+)", value.strip())
    if not match:
        _wrong(key, form, value)
    try:
        found = importlib.util.find_spec(match[1])
    except (ImportError, ValueError, AttributeError):
        found = None
    if found is None and match[1] not in sys.modules:
        _wrong(key, f"{form}; there is no module {match[1]!r}")
    return match[0]


def folder(key: str, value: object) -> str:
    """A folder's path, or the URL of one that fsspec knows."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value.strip().isprintable():
        _wrong(key, "a folder's path, or a URL that fsspec knows, such as s3://bucket/chat", value)
    return value.strip()


def sendfile(key: str, value: object) -> str:
    """Who sends files in our place: nginx, another server in front, or the object store."""
    form = (
        "X-Sendfile, redirect, or the path of an internal location of nginx such as /chatkit-files/"
    )
    if not isinstance(value, str):
        _wrong(key, form, value)
    value = value.strip()
    for word in (X_SENDFILE, REDIRECT):
        if value.lower() == word.lower():
            return word
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", value):
        _wrong(key, form)
    return value.rstrip("/") + "/"


def cookie_name(key: str, value: object) -> str:
    """A cookie name: a token of RFC 6265."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value):
        _wrong(key, "a cookie name: letters, digits, - and _")
    return value


def cookie_prefix(name: str) -> str:
    """What browsers hold a cookie to by its name: ``__Host-``, ``__Secure-`` or nothing."""
    for prefix in ("__Host-", "__Secure-"):
        # Browsers do not look at the case.
        if name.lower().startswith(prefix.lower()):
            return prefix
    return ""


def cookie_domain(key: str, value: object) -> str | None:
    """A host name, without scheme or port."""
    if not isinstance(value, str) or not re.fullmatch(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", value):
        _wrong(key, "a host name such as example.com", value)
    return value


def cookie_path(key: str, value: object) -> str:
    """A cookie path."""
    if not isinstance(value, str) or not re.fullmatch(r"/[^;,\s]*", value):
        _wrong(key, "a path that begins with /")
    return value


def setting(
    key: str,
    default: object,
    shown: str,
    doc: str,
    parse: Callable[[str, Any], Any],
    *,
    secret: bool = False,
) -> Any:
    """One setting: its key, its default (as a value and as words), what it is, how it is read."""
    meta = {"key": PREFIX + key, "shown": shown, "doc": doc, "parse": parse}
    # A secret stays out of the repr, which ends up in logs and tracebacks.
    return field(default=default, repr=not secret, metadata=meta)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A kit's settings on one application, read and checked once, when the kit is registered."""

    enabled: bool = setting(
        "ENABLED",
        True,
        "`True`",
        "`False`: the macros render nothing and the endpoints return 404.",
        flag,
    )
    api_key: str | None = setting(
        "API_KEY",
        None,
        "`OPENAI_API_KEY` of the configuration, then of the environment",
        "OpenAI's API key. It never leaves the server.",
        api_key,
        secret=True,
    )
    workflow_id: str | None = setting(
        "WORKFLOW_ID",
        None,
        "none",
        "The workflow of the chat `default`, which OpenAI then hosts (until 2026-11-30).",
        workflow,
    )
    server: str | None = setting(
        "SERVER",
        None,
        "none",
        "`package.module:attribute` of what serves the chat `default` and every hosted chat "
        "without a workflow of its own. Replaces `CHATKIT_WORKFLOW_ID`.",
        importable,
    )
    organization: str | None = setting(
        "ORGANIZATION", None, "none", "Sent as `OpenAI-Organization`.", text
    )
    project: str | None = setting("PROJECT", None, "none", "Sent as `OpenAI-Project`.", text)
    api_base: str = setting(
        "API_BASE", API_BASE, f"`{API_BASE}`", "URL of OpenAI's API: https, or loopback.", url
    )
    api_timeout: tuple[float, float] = setting(
        "API_TIMEOUT",
        (3.05, 10.0),
        "`3.05, 10`",
        "Seconds to connect, and seconds to wait for a response. Once connected, a call with "
        "all its retries ends after the sum of both.",
        timeout,
    )
    api_at_a_time: int | None = setting(
        "API_AT_A_TIME",
        None,
        "half of gunicorn's threads, else 16",
        "How many calls of a process may wait for OpenAI's API while it is slow. Further ones "
        "get 503 at once.",
        whole(1, 10_000, "calls"),
    )
    session_seconds: int | None = setting(
        "SESSION_SECONDS",
        None,
        "OpenAI's: 600",
        "How long a session lasts: 1 to 600 seconds. A served chat's session lasts an hour by "
        "default.",
        whole(1, 600, "seconds"),
    )
    session_requests_per_minute: int | None = setting(
        "SESSION_REQUESTS_PER_MINUTE",
        None,
        "OpenAI's: 10",
        "How many messages a minute OpenAI accepts in one session.",
        whole(1, 1_000_000, "requests"),
    )
    ratelimit: tuple[RateLimitItem, ...] = setting(
        "RATELIMIT",
        limits("", "10/minute;100/day"),
        "`10/minute;100/day`",
        "Secrets per visitor. An empty string: no limit.",
        limits,
    )
    ratelimit_ip: tuple[RateLimitItem, ...] = setting(
        "RATELIMIT_IP",
        limits("", "30/minute;300/day"),
        "`30/minute;300/day`",
        "Secrets per address, for all visitors together. An empty string: no limit.",
        limits,
    )
    ratelimit_global: tuple[RateLimitItem, ...] = setting(
        "RATELIMIT_GLOBAL",
        (),
        "none",
        "Secrets of the whole kit and, counted separately, messages in its served chats.",
        limits,
    )
    message_ratelimit: tuple[RateLimitItem, ...] = setting(
        "MESSAGE_RATELIMIT",
        limits("", "20/minute;500/day"),
        "`20/minute;500/day`",
        "Messages per visitor in served chats.",
        limits,
    )
    call_ratelimit: tuple[RateLimitItem, ...] = setting(
        "CALL_RATELIMIT",
        limits("", "240/minute"),
        "`240/minute`",
        "All other calls per visitor: reading, renaming, deleting, feedback, downloads. An "
        "empty string: no limit.",
        limits,
    )
    ratelimit_storage_uri: str | None = setting(
        "RATELIMIT_STORAGE_URI",
        None,
        "the site's `Limiter`, else `RATELIMIT_STORAGE_URI`, else `memory://`",
        "Where requests are counted, as in Flask-Limiter. `redis://…` shares the counts between"
        " processes.",
        text,
        secret=True,
    )
    max_message_length: int = setting(
        "MAX_MESSAGE_LENGTH",
        10_000,
        "10 000",
        "Maximum length of a message in served chats, in characters.",
        whole(1, 1_000_000, "characters"),
    )
    answer_seconds: int = setting(
        "ANSWER_SECONDS",
        300,
        "300",
        "Seconds that one answer of a served chat may take before it is stopped.",
        whole(1, 3600, "seconds"),
    )
    history_characters: int = setting(
        "HISTORY_CHARACTERS",
        200_000,
        "200 000",
        "Characters of a thread that an agent is sent, text files included. The oldest turns "
        "are left out.",
        whole(1000, 100_000_000, "characters"),
    )
    history_bytes: int = setting(
        "HISTORY_BYTES",
        15_000_000,
        "15 000 000",
        "Bytes of files that an agent is sent with a message.",
        whole(0, 1_000_000_000, "bytes"),
    )
    answers_bytes: int = setting(
        "ANSWERS_BYTES",
        64_000_000,
        "64 000 000",
        "Bytes of memory for the files of all agent answers under way in a process. A file "
        "takes four times its size.",
        whole(1_000_000, 1_000_000_000_000, "bytes"),
    )
    cookie_name: str = setting(
        "COOKIE_NAME",
        "chatkit_visitor",
        "`chatkit_visitor`",
        "Name of the visitor cookie. A kit other than `chatkit` appends its own name. "
        "[`__Host-…`](security.md#visitors) is the safest form.",
        cookie_name,
    )
    cookie_max_age: int = setting(
        "COOKIE_MAX_AGE",
        30 * 86400,
        "30 days",
        "Seconds (or a `timedelta`) that an anonymous visitor is remembered after the last mint.",
        whole(60, 400 * 86400, "seconds"),
    )
    cookie_domain: str | None = setting(
        "COOKIE_DOMAIN", None, "the host", "`Domain` of the cookie.", cookie_domain
    )
    cookie_path: str | None = setting(
        "COOKIE_PATH",
        None,
        "where the kit is mounted",
        "`Path` of the cookie. A `__Host-` cookie always has `/`.",
        cookie_path,
    )
    cookie_secure: bool | None = setting(
        "COOKIE_SECURE", None, "as the request", "Whether the cookie is sent over https only.", flag
    )
    cookie_samesite: str = setting(
        "COOKIE_SAMESITE",
        "Lax",
        "`Lax`",
        "`Lax`, `Strict` or `None` (which requires https).",
        choice("Lax", "Strict", "None"),
    )
    cookie_partitioned: bool = setting(
        "COOKIE_PARTITIONED",
        False,
        "`False`",
        "Whether each embedding site has a cookie of its own (CHIPS).",
        flag,
    )
    trusted_origins: frozenset[str] = setting(
        "TRUSTED_ORIGINS",
        frozenset(),
        "none",
        "Other origins whose pages may call the endpoints: a list, or a comma-separated string.",
        origins,
    )
    login_origins: frozenset[str] = setting(
        "LOGIN_ORIGINS",
        frozenset(),
        "none",
        "Trusted origins whose pages chat as the signed-in user, like the site's own pages. [So"
        " does any script running there](security.md#other-origins).",
        origins,
    )
    script_url: str = setting(
        "SCRIPT_URL",
        SCRIPT_URL,
        "OpenAI's CDN",
        "URL of the script of ChatKit's element. Only tests and demos change it.",
        script_url,
    )
    domain_key: str | None = setting(
        "DOMAIN_KEY",
        None,
        "a placeholder on localhost",
        "The key of OpenAI's domain allow-list, for served chats.",
        text,
    )
    database_uri: str | None = setting(
        "DATABASE_URI",
        None,
        "a SQLite file in the instance folder",
        "The database for the history of served chats.",
        text,
        secret=True,
    )
    database_timeout: float = setting(
        "DATABASE_TIMEOUT",
        10.0,
        "10",
        "Seconds that a call of that database may take. After that, the call fails and its "
        "connection is replaced.",
        seconds(0.1, 600),
    )
    upload_folder: str | None = setting(
        "UPLOAD_FOLDER",
        None,
        "a folder in the instance folder",
        "Where attachments of served chats are stored: a folder, or a URL that fsspec knows "
        "(`s3://…`).",
        folder,
        secret=True,
    )
    keep_days: int | None = setting(
        "KEEP_DAYS",
        None,
        "none: kept forever",
        "Days after which an unused thread of a served chat is deleted, with its files. Files "
        "that were never sent are deleted after one day in any case.",
        days,
    )
    max_upload_bytes: int = setting(
        "MAX_UPLOAD_BYTES",
        10 * 1024 * 1024,
        "10 MiB",
        "Maximum size of one attachment of a served chat, in bytes.",
        whole(1, 512 * 1024 * 1024, "bytes"),
    )

    upload_quota: UploadQuota = setting(  # noqa: RUF009  as all of them
        "UPLOAD_QUOTA",
        UploadQuota(),
        "`visitor=100MB, address=500MB, total=10GB`",
        "Bytes of attachments: of one visitor in a day, of all anonymous visitors of an address"
        " in a day, and in total. A string or a mapping; `none`: no limit.",
        upload_quota,
    )

    sendfile: str | None = setting(
        "SENDFILE",
        None,
        "the site itself; `X-Sendfile` with Flask's `USE_X_SENDFILE`",
        "[What sends files](deployment.md#files-sent-by-the-front-server) instead of the site: "
        "an internal location of nginx (`/chatkit-files/`), `X-Sendfile`, or `redirect` to the "
        "object store.",
        sendfile,
    )

    # From Flask-Limiter's own keys, which hold for our counting too.
    limiter_storage_uri: str | None = field(default=None, repr=False)
    limiter_enabled: bool = True
    limiter_prefix: str = ""
    limiter_strategy: str | None = None
    limiter_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Flask's own, which holds for files in a folder.
    use_x_sendfile: bool = False

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], environ: Mapping[str, str] | None = None
    ) -> Settings:
        """Read the settings from a Flask configuration.

        :param config: ``app.config``.
        :param environ: where ``OPENAI_API_KEY`` is looked for last; ``os.environ`` by default.
        :raises ConfigurationError: a value is wrong; the message names the key and the form.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for item in documented():
            key = item.metadata["key"]
            value, parse = config.get(key), item.metadata["parse"]
            # None is how a configuration says "not set"; so is an empty environment variable,
            # except where it says something: no limit.
            if value is not None and (value != "" or parse is limits):
                values[item.name] = parse(key, value)
        if not values.get("api_key"):
            for source in (config, environ):
                if source.get("OPENAI_API_KEY"):
                    values["api_key"] = api_key("OPENAI_API_KEY", source["OPENAI_API_KEY"])
                    break
        # Whoever may chat as the login may call.
        login = values.get("login_origins", frozenset())
        values["trusted_origins"] = values.get("trusted_origins", frozenset()) | login
        settings = cls(
            **values,
            limiter_storage_uri=config.get("RATELIMIT_STORAGE_URI"),
            limiter_enabled=bool(config.get("RATELIMIT_ENABLED", True)),
            limiter_prefix=config.get("RATELIMIT_KEY_PREFIX") or "",
            limiter_strategy=config.get("RATELIMIT_STRATEGY"),
            use_x_sendfile=bool(config.get("USE_X_SENDFILE", False)),
            limiter_options=dict(config.get("RATELIMIT_STORAGE_OPTIONS") or {}),
        )
        settings.check()
        return settings

    def changed_keys(self, other: Settings) -> list[str]:
        """The keys in which two settings differ."""
        return [
            item.metadata["key"]
            for item in documented()
            if getattr(self, item.name) != getattr(other, item.name)
        ]

    @staticmethod
    def warn_unknown_keys(config: Mapping[str, Any]) -> None:
        """Tell the log which keys look like ours and are none, with what was probably meant."""
        known = [item.metadata["key"] for item in documented()]
        for key in config:
            if key.startswith(PREFIX) and key not in known:
                close = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
                hint = f"; did you mean {close[0]}?" if close else ""
                logger.warning("%s is not a setting of flask_chatkit%s", key, hint)

    def check(self) -> None:
        """Check what no single key can tell.

        :raises ConfigurationError: two settings contradict each other.
        """
        if self.server:
            check_extra("CHATKIT_SERVER")
        is_url = "://" in (self.upload_folder or "") and not str(self.upload_folder).startswith(
            "file://"
        )
        if self.sendfile is not None and is_url != (self.sendfile == REDIRECT):
            raise ConfigurationError(
                "CHATKIT_SENDFILE redirect needs a CHATKIT_UPLOAD_FOLDER that is the URL of an "
                "object store, and its other values one that is a folder"
            )
        if self.database_uri:
            check_driver("CHATKIT_DATABASE_URI", self.database_uri, DATABASES)
        for key, uri in (
            ("CHATKIT_RATELIMIT_STORAGE_URI", self.ratelimit_storage_uri),
            ("RATELIMIT_STORAGE_URI", self.limiter_storage_uri),
        ):
            if uri and self.limiter_enabled:
                check_driver(key, uri, STORAGES)
        if self.cookie_samesite == "None" and self.cookie_secure is False:
            raise ConfigurationError(
                "CHATKIT_COOKIE_SAMESITE 'None' needs CHATKIT_COOKIE_SECURE True: "
                "browsers refuse such a cookie otherwise"
            )
        if self.cookie_partitioned and self.cookie_secure is False:
            raise ConfigurationError("CHATKIT_COOKIE_PARTITIONED needs CHATKIT_COOKIE_SECURE True")
        self._check_cookie_prefix()

    def _check_cookie_prefix(self) -> None:
        """Check that browsers keep a cookie of this name."""
        prefix = cookie_prefix(self.cookie_name)
        if not prefix:
            return
        if self.cookie_name.startswith(prefix):
            named = f"a cookie named {prefix}… (CHATKIT_COOKIE_NAME)"
        else:
            raise ConfigurationError(f"CHATKIT_COOKIE_NAME must be spelled {prefix}…")
        if self.cookie_secure is False:
            raise ConfigurationError(
                f"CHATKIT_COOKIE_SECURE must not be False: browsers drop {named} without https"
            )
        if prefix != "__Host-":
            return
        if self.cookie_path not in {None, "/"}:
            raise ConfigurationError(
                f"CHATKIT_COOKIE_PATH must be / or not set: browsers drop {named} with another path"
            )
        if self.cookie_domain is not None:
            raise ConfigurationError(
                f"CHATKIT_COOKIE_DOMAIN must not be set: browsers drop {named} with a domain"
            )


def check_extra(what: str) -> None:
    """Check that the packages of served chats are installed; importing them takes a second.

    :param what: what needs them.
    :raises ConfigurationError: they are not.
    """
    missing = [name for name in ("chatkit", "sqlalchemy") if not importlib.util.find_spec(name)]
    if missing:
        raise ConfigurationError(
            f"{what} needs the extra packages of served chats ({', '.join(missing)} is not "
            "installed): pip install 'flask-chatkit[server]'"
        )


def signing_keys(config: Mapping[str, Any]) -> list[bytes]:
    """The site's signing keys, the newest last, as itsdangerous wants them; [] without any.

    :raises ConfigurationError: a key is not one.
    """
    newest, older = config.get("SECRET_KEY"), config.get("SECRET_KEY_FALLBACKS") or []
    if not newest:
        return []
    if not isinstance(older, (list, tuple)):
        # A single text would be taken for as many keys as it has letters.
        _wrong("SECRET_KEY_FALLBACKS", "a list of texts", older)
    for name, key in (("SECRET_KEY", newest), *(("SECRET_KEY_FALLBACKS", key) for key in older)):
        if not isinstance(key, (str, bytes)) or not key:
            _wrong(name, "a text or bytes that are not empty", key)
    return [want_bytes(key) for key in (*older, newest)]


def documented() -> Iterator[dataclasses.Field[Any]]:
    """The settings that a site sets under a key of ours, in the order of docs/configuration.md."""
    return (item for item in dataclasses.fields(Settings) if "key" in item.metadata)
