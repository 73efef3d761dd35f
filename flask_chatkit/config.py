"""What a site configures: one frozen dataclass, every key documented once, where it is declared."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from itsdangerous import want_bytes
from limits import RateLimitItem

from . import parsers
from .errors import ConfigurationError
from .parsers import REDIRECT, choice, cookie_prefix, flag, limits, origins, seconds, string, whole
from .startup_checks import DATABASES, STORAGES, missing_driver
from .upload_quota import UploadQuota, upload_quota
from .validation import Check, Faults, Invalid, is_none, raised_as, refuse, suggest

logger = logging.getLogger("flask_chatkit")

PREFIX = "CHATKIT_"
API_BASE = "https://api.openai.com/v1"
#: OpenAI's element. It is closed and unversioned: it can neither be pinned nor mirrored.
SCRIPT_URL = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js"


def setting(
    default: object, doc: str, parse: Check, *, shown: str | None = None, secret: bool = False
) -> Any:
    """Declare a setting; its key is the field's name in capitals.

    :param default: a string is in the notation of a configuration.
    :param doc: what it is, as the table of the documentation has it.
    :param parse: checks a value and returns it in one form.
    :param shown: the default in words, if it does not explain itself.
    :param secret: whether it stays out of the repr, which ends up in logs and tracebacks.
    """
    meta: dict[str, Any] = {"doc": doc, "parse": parse, "shown": shown or f"`{default}`"}
    if default in {None, (), frozenset()}:
        meta |= {"none": default, "shown": shown or "none"}
    elif parse in {limits, upload_quota}:
        meta["none"] = parse("", "none")
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        meta["shown"] = shown or f"{default:,}".removesuffix(".0").replace(",", " ")
    value = parse("", default) if isinstance(default, str) else default
    return field(default=value, repr=not secret, metadata=meta)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A kit's settings on one application, read and checked once, when the kit is registered.

    Most of it is the table, in the order of the documentation.
    """

    enabled: bool = setting(
        True, "`False`: the macros render nothing and the endpoints return 404.", flag
    )
    api_key: str | None = setting(
        None,
        "OpenAI's API key. It never leaves the server.",
        parsers.api_key,
        shown="`OPENAI_API_KEY` of the configuration, then of the environment",
        secret=True,
    )
    workflow_id: str | None = setting(
        None,
        "The workflow of the chat `default`, which OpenAI then hosts (until 2026-11-30).",
        parsers.workflow,
    )
    server: str | None = setting(
        None,
        "`package.module:attribute` of what serves the chat `default` and every hosted chat "
        "without a workflow of its own. Replaces `CHATKIT_WORKFLOW_ID`.",
        parsers.importable,
    )
    organization: str | None = setting(None, "Sent as `OpenAI-Organization`.", string)
    project: str | None = setting(None, "Sent as `OpenAI-Project`.", string)
    api_base: str = setting(API_BASE, "URL of OpenAI's API: https, or loopback.", parsers.url)
    api_timeout: tuple[float, float] = setting(
        "3.05, 10",
        "Seconds to connect, and seconds to wait for a response. Once connected, a call with "
        "all its retries ends after the sum of both.",
        parsers.timeout,
    )
    api_at_a_time: int | None = setting(
        None,
        "How many calls of a process may wait for OpenAI's API while it is slow. Further ones "
        "get 503 at once.",
        whole(1, 10_000, "calls"),
        shown="half of gunicorn's threads, else 16",
    )
    session_seconds: int | None = setting(
        None,
        "How long a session lasts: 1 to 600 seconds. A served chat's session lasts an hour by "
        "default.",
        whole(1, 600, "seconds"),
        shown="OpenAI's: 600",
    )
    session_requests_per_minute: int | None = setting(
        None,
        "How many messages a minute OpenAI accepts in one session.",
        whole(1, 1_000_000, "requests"),
        shown="OpenAI's: 10",
    )
    ratelimit: tuple[RateLimitItem, ...] = setting(
        "10/minute;100/day", "Secrets per visitor. `none` or empty: no limit.", limits
    )
    ratelimit_ip: tuple[RateLimitItem, ...] = setting(
        "30/minute;300/day",
        "Secrets per address, for all visitors together. `none` or empty: no limit.",
        limits,
    )
    ratelimit_global: tuple[RateLimitItem, ...] = setting(
        (),
        "Secrets of the whole kit and, counted separately, messages in its served chats.",
        limits,
    )
    message_ratelimit: tuple[RateLimitItem, ...] = setting(
        "20/minute;500/day",
        "Messages per visitor in served chats. `none` or empty: no limit.",
        limits,
    )
    call_ratelimit: tuple[RateLimitItem, ...] = setting(
        "240/minute",
        "All other calls per visitor: reading, renaming, deleting, feedback, downloads. `none` "
        "or empty: no limit.",
        limits,
    )
    ratelimit_storage_uri: str | None = setting(
        None,
        "Where requests are counted, as in Flask-Limiter. `redis://…` shares the counts between "
        "processes.",
        string,
        shown="the site's `Limiter`, else `RATELIMIT_STORAGE_URI`, else `memory://`",
        secret=True,
    )
    max_message_length: int = setting(
        10_000,
        "Maximum length of a message in served chats, in characters.",
        whole(1, 1_000_000, "characters"),
    )
    answer_seconds: int = setting(
        300,
        "Seconds that one answer of a served chat may take before it is stopped.",
        whole(1, 3600, "seconds"),
    )
    leave_seconds: int = setting(
        30,
        "Seconds that an answer of a served chat goes on when nobody reads it any more: its page "
        "was left or reloaded, or the connection broke. `0` stops it at once.",
        whole(0, 3600, "seconds"),
    )
    history_characters: int = setting(
        200_000,
        "Characters of a thread that an agent is sent, text files included. The oldest turns "
        "are left out.",
        whole(1000, 100_000_000, "characters"),
    )
    history_bytes: int = setting(
        15_000_000,
        "Bytes of files that an agent is sent with a message.",
        whole(0, 1_000_000_000, "bytes"),
    )
    answers_bytes: int = setting(
        64_000_000,
        "Bytes of memory for the files of all agent answers under way in a process. A file "
        "takes four times its size.",
        whole(1_000_000, 1_000_000_000_000, "bytes"),
    )
    cookie_name: str = setting(
        "chatkit_visitor",
        "Name of the visitor cookie. A kit other than `chatkit` appends its own name. "
        "[`__Host-…`](security.md#visitors) is the safest form.",
        parsers.cookie_name,
    )
    cookie_max_age: int = setting(
        30 * 86400,
        "Seconds (or a `timedelta`) that an anonymous visitor is remembered after the last mint.",
        whole(60, 400 * 86400, "seconds"),
        shown="30 days",
    )
    cookie_domain: str | None = setting(
        None, "`Domain` of the cookie.", parsers.cookie_domain, shown="the host"
    )
    cookie_path: str | None = setting(
        None,
        "`Path` of the cookie. A `__Host-` cookie always has `/`.",
        parsers.cookie_path,
        shown="where the kit is mounted",
    )
    cookie_secure: bool | None = setting(
        None, "Whether the cookie is sent over https only.", flag, shown="as the request"
    )
    cookie_samesite: str = setting(
        "Lax", "`Lax`, `Strict` or `None` (which requires https).", choice("Lax", "Strict", "None")
    )
    cookie_partitioned: bool = setting(
        False, "Whether each embedding site has a cookie of its own (CHIPS).", flag
    )
    trusted_origins: frozenset[str] = setting(
        frozenset(),
        "Other origins whose pages may call the endpoints: a list, or a comma-separated string.",
        origins,
    )
    login_origins: frozenset[str] = setting(
        frozenset(),
        "Trusted origins, on https, whose pages chat as the signed-in user, like the site's own "
        "pages. [So does any script running there](security.md#other-origins).",
        parsers.secure_origins,
    )
    strict_options: bool | None = setting(
        None,
        "Whether a macro with a wrong option raises. If not, its page is shown without the chat, "
        "and the fault is logged once.",
        flag,
        shown="in debug and testing mode",
    )
    script_url: str = setting(
        SCRIPT_URL,
        "URL of the script of ChatKit's element. Only tests and demos change it.",
        parsers.script_url,
        shown="OpenAI's CDN",
    )
    domain_key: str | None = setting(
        None,
        "The key of OpenAI's domain allow-list, for served chats.",
        string,
        shown="a placeholder on localhost",
    )
    database_uri: str | None = setting(
        None,
        "The database for the history of served chats.",
        string,
        shown="a SQLite file in the instance folder",
        secret=True,
    )
    database_timeout: float = setting(
        10.0,
        "Seconds that a call of that database may take. After that, the call fails and its "
        "connection is replaced.",
        seconds(0.1, 600),
    )
    upload_folder: str | None = setting(
        None,
        "Where attachments of served chats are stored: a folder, or a URL that fsspec knows "
        "(`s3://…`).",
        parsers.folder,
        shown="a folder in the instance folder",
        secret=True,
    )
    keep_days: int | None = setting(
        None,
        "Days after which an unused thread of a served chat is deleted, with its files. Files "
        "that were never sent are deleted after one day in any case.",
        whole(1, 36_500, "days"),
        shown="none: kept forever",
    )
    max_upload_bytes: int = setting(
        10 * 1024 * 1024,
        "Maximum size of one attachment of a served chat, in bytes.",
        whole(1, 512 * 1024 * 1024, "bytes"),
        shown="10 MiB",
    )
    upload_quota: UploadQuota = setting(  # noqa: RUF009  as all of them
        "visitor=100MB, address=500MB, total=10GB",
        "Bytes of attachments: of one visitor in a day, of all anonymous visitors of an address "
        "in a day, and in total. A string or a mapping; `none` or empty: no limit.",
        upload_quota,
    )
    sendfile: str | None = setting(
        None,
        "[What sends files](deployment.md#files-sent-by-the-front-server) instead of the "
        "site: an internal location of nginx (`/chatkit-files/`), `X-Sendfile`, or `redirect` "
        "to the object store.",
        parsers.sendfile,
        shown="the site itself; `X-Sendfile` with Flask's `USE_X_SENDFILE`",
    )

    # Flask-Limiter's own keys, which apply to our limits too.
    limiter_storage_uri: str | None = field(default=None, repr=False)
    limiter_enabled: bool = True
    limiter_prefix: str = ""
    limiter_strategy: str | None = None
    limiter_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Flask's own key, which applies to files in a folder.
    use_x_sendfile: bool = False

    @classmethod
    @raised_as(ConfigurationError)
    def from_config(
        cls, config: Mapping[str, Any], environ: Mapping[str, str] | None = None
    ) -> Settings:
        """Read the settings from a Flask configuration.

        :param config: ``app.config``.
        :param environ: where ``OPENAI_API_KEY`` is looked for last; ``os.environ`` by default.
        :raises ConfigurationError: names each wrong setting and its accepted form.
        """
        values: dict[str, Any] = {}
        faults = Faults()
        for item in documented():
            meta = item.metadata
            value = config.get(meta["key"])
            if value is None:
                continue
            if is_none(value) and "none" in meta:
                values[item.name] = meta["none"]
            # An empty environment variable is not set.
            elif value != "":
                with faults:
                    values[item.name] = meta["parse"](meta["key"], value)
        if not values.get("api_key"):
            for source in (config, os.environ if environ is None else environ):
                if not is_none(source.get("OPENAI_API_KEY")):
                    with faults:
                        values["api_key"] = parsers.api_key(
                            "OPENAI_API_KEY", source["OPENAI_API_KEY"]
                        )
                    break
        faults.finish()
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
        contradictions = tuple(settings.contradictions())
        if contradictions:
            raise Invalid(*contradictions)
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
        """Log a warning for each key that looks like ours and is none, with what was meant."""
        for key, meant in unknown_keys(config):
            hint = f"; did you mean {meant}?" if meant else ""
            logger.warning("%s is not a setting of flask_chatkit%s", key, hint)

    @staticmethod
    def warn_unread_environment(config: Mapping[str, Any]) -> None:
        """Log a warning for each setting that is in the environment only, and has no effect."""
        for name, cure in unread_environment(config):
            logger.warning("%s is set in the environment, without effect: %s", name, cure)

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings together, in a clause each."""
        if self.server:
            check_extra("CHATKIT_SERVER")
        is_url = "://" in (self.upload_folder or "") and not str(self.upload_folder).startswith(
            "file://"
        )
        if self.sendfile is not None and is_url != (self.sendfile == REDIRECT):
            yield (
                "CHATKIT_SENDFILE redirect needs a CHATKIT_UPLOAD_FOLDER that is the URL of an "
                "object store, and its other values one that is a folder"
            )
        if self.database_uri:
            yield from missing_driver("CHATKIT_DATABASE_URI", self.database_uri, DATABASES)
        for key, uri in (
            ("CHATKIT_RATELIMIT_STORAGE_URI", self.ratelimit_storage_uri),
            ("RATELIMIT_STORAGE_URI", self.limiter_storage_uri),
        ):
            if uri and self.limiter_enabled:
                yield from missing_driver(key, uri, STORAGES)
        if self.cookie_samesite == "None" and self.cookie_secure is False:
            yield (
                "CHATKIT_COOKIE_SAMESITE 'None' needs CHATKIT_COOKIE_SECURE True: "
                "browsers refuse such a cookie otherwise"
            )
        if self.cookie_partitioned and self.cookie_secure is False:
            yield "CHATKIT_COOKIE_PARTITIONED needs CHATKIT_COOKIE_SECURE True"
        yield from self._cookie_prefix_contradictions()

    def _cookie_prefix_contradictions(self) -> Iterator[str]:
        """Why browsers would drop a cookie of this name."""
        prefix = cookie_prefix(self.cookie_name)
        if not self.cookie_name.startswith(prefix):
            yield f"CHATKIT_COOKIE_NAME must be spelled {prefix}…"
            return
        dropped = f"browsers drop a cookie named {prefix}… (CHATKIT_COOKIE_NAME)"
        if prefix and self.cookie_secure is False:
            yield f"CHATKIT_COOKIE_SECURE must not be False: {dropped} without https"
        if prefix == "__Host-" and self.cookie_path not in {None, "/"}:
            yield f"CHATKIT_COOKIE_PATH must be / or not set: {dropped} with another path"
        if prefix == "__Host-" and self.cookie_domain is not None:
            yield f"CHATKIT_COOKIE_DOMAIN must not be set: {dropped} with a domain"


for _field in dataclasses.fields(Settings):
    if "doc" in _field.metadata:
        # Only the class knows the name of a field.
        _field.metadata = MappingProxyType({**_field.metadata, "key": PREFIX + _field.name.upper()})


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


@raised_as(ConfigurationError)
def signing_keys(config: Mapping[str, Any]) -> list[bytes]:
    """The site's signing keys, the newest last, as itsdangerous wants them; [] without any.

    :raises ConfigurationError: a key is not a string or bytes.
    """
    newest, older = config.get("SECRET_KEY"), config.get("SECRET_KEY_FALLBACKS") or []
    if not newest:
        return []
    if not isinstance(older, (list, tuple)):
        # A single string would be taken for as many keys as it has letters.
        refuse("SECRET_KEY_FALLBACKS", "a list of strings", older, list)
    for name, key in (("SECRET_KEY", newest), *(("SECRET_KEY_FALLBACKS", key) for key in older)):
        if not isinstance(key, (str, bytes)) or not key:
            refuse(name, "a string or bytes, not empty", key, str, bytes)
    return [want_bytes(key) for key in (*older, newest)]


def documented() -> Iterator[dataclasses.Field[Any]]:
    """The settings that a site sets under a key of ours, in the order of docs/configuration.md."""
    return (item for item in dataclasses.fields(Settings) if "key" in item.metadata)


def unknown_keys(config: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """The keys that look like ours and are none, each with the one that was probably meant."""
    known = {item.metadata["key"] for item in documented()}
    names = {key.removeprefix(PREFIX).lower() for key in known}
    for key in config:
        if key.startswith(PREFIX) and key not in known:
            meant = suggest(key.removeprefix(PREFIX).lower(), names)
            yield key, meant and PREFIX + meant.upper()


def unread_environment(
    config: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """The environment variables with a setting that the configuration lacks, each with its cure.

    :param config: ``app.config``.
    :param environ: ``os.environ`` by default.
    """
    environ = os.environ if environ is None else environ
    for item in documented():
        key = item.metadata["key"]
        if config.get(key) is not None:
            continue
        if environ.get(f"FLASK_{key}"):
            yield f"FLASK_{key}", "call app.config.from_prefixed_env() before registering the kit"
        elif environ.get(key):
            yield key, f"name it FLASK_{key}, and call app.config.from_prefixed_env()"
