"""Where limits are counted: the host's Limiter, one of our own, or memory while both are down."""

from __future__ import annotations

import inspect
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from flask import Flask
from flask.sansio.app import App
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import RateLimitItem
from limits.errors import ConfigurationError as LimitsConfigurationError
from limits.storage import MemoryStorage, RedisStorage

from ..config import Settings
from ..errors import ConfigurationError, RateLimited
from ..runtime.processes import PerProcess
from ..runtime.workers import Stuck, Workers

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: Seconds after which a storage that was down is tried again.
RECHECK_SECONDS = 5.0
#: Seconds that the counting of one request may take before memory counts instead.
COUNT_SECONDS = 2.0
#: Seconds between two sweeps of a storage in memory.
SWEEP_SECONDS = 10.0
#: How many requests are counted at once in a storage on the network.
AT_ONCE = 32
#: The timeouts that drivers are given, by the beginning of the URI.
DRIVER_TIMEOUTS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("redis", "valkey"), {"socket_connect_timeout": 1.0, "socket_timeout": 1.0}),
    (("memcached",), {"connect_timeout": 1.0, "timeout": 1.0}),
    (
        ("mongodb",),
        {"connectTimeoutMS": 1000, "serverSelectionTimeoutMS": 1000, "socketTimeoutMS": 1000},
    ),
)


class Hit(NamedTuple):
    """What is counted once.

    :param item: the limit.
    :param names: the count's key, within the kit's own.
    :param whose: ``visitor``, ``address``, ``network`` or ``kit``, for the log; None for a count
        that refuses nothing.
    """

    item: RateLimitItem
    names: tuple[str, ...]
    whose: str | None
    cost: int = 1


class Storage:
    """Counts for one kit on one application, and remembers names for a while.

    :param app: whose Limiter counts, if it has one by the first request.
    :param kit: the kit's full name, which is part of every key.
    :param settings: the kit's settings.
    """

    def __init__(self, app: App, kit: str, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._prefix = tuple(part for part in (settings.limiter_prefix, "chatkit", kit) if part)
        self._limiter: Limiter | None = None
        if settings.ratelimit_storage_uri:
            try:
                self._limiter = own_limiter(settings, settings.ratelimit_storage_uri)
            except LimitsConfigurationError as error:
                raise ConfigurationError(
                    "CHATKIT_RATELIMIT_STORAGE_URI must be a storage that Flask-Limiter knows, "
                    "with its driver installed (redis:// needs flask-chatkit[redis]): "
                    f"{type(error).__name__}"
                ) from None
        self._fallback: Limiter | None = None
        self._has_warned = False
        self._is_down = False
        self._recheck_at = 0.0
        self._lock = threading.Lock()
        self._memory = threading.Lock()
        # No thread survives a fork.
        self._workers = PerProcess(lambda: Workers(AT_ONCE, "chatkit-limits", AT_ONCE))
        _storages.add(self)

    def reset(self) -> None:
        """Share nothing with the process that this one was forked from.

        A lock may have been held, and a connection would be used by both.
        """
        self._lock, self._memory = threading.Lock(), threading.Lock()
        self._limiter = self._fallback = None

    @property
    def limiter(self) -> Limiter:
        """The Limiter that counts; chosen at the first request, when the host's is set up."""
        if self._limiter is None:
            with self._lock:
                if self._limiter is None:
                    self._limiter = self._choose()
        if not self._has_warned:
            self._has_warned = True
            quiet = self._app.debug or self._app.testing
            if isinstance(self._limiter.storage, MemoryStorage) and not quiet:
                logger.warning(
                    "Rate limits are counted in each process's own memory; set "
                    "CHATKIT_RATELIMIT_STORAGE_URI (redis://...) to share the count"
                )
        return self._limiter

    @property
    def is_in_memory(self) -> bool:
        """Whether each process counts for itself."""
        return isinstance(self.limiter.storage, MemoryStorage)

    def spend(self, hits: Iterable[Hit]) -> None:
        """Count, in this order, until one exceeds its limit.

        :raises RateLimited: it does.
        """
        self._run(lambda: self._spend(hits))

    def _spend(self, hits: Iterable[Hit]) -> None:
        for hit in hits:
            if not self._hit(hit) and hit.whose is not None:
                limit = f"{hit.item} per {hit.whose}"
                raise RateLimited(retry_after=self._retry_after(hit), limit=limit)

    def _hit(self, hit: Hit) -> bool:
        key = self._key(hit.names)
        return self._count(lambda limiter: limiter.limiter.hit(hit.item, *key, cost=hit.cost))

    def find_full(self, hits: Iterable[Hit]) -> tuple[Hit, int] | None:
        """Find the first that would exceed its limit, without counting.

        :returns: it, and the seconds until something is accepted again; None if there is none.
        """
        return self._run(lambda: self._find_full(hits))

    def _find_full(self, hits: Iterable[Hit]) -> tuple[Hit, int] | None:
        full = next((hit for hit in hits if not self._has_room(hit)), None)
        return None if full is None else (full, self._retry_after(full))

    def _has_room(self, hit: Hit) -> bool:
        key = self._key(hit.names)
        return self._count(lambda limiter: limiter.limiter.test(hit.item, *key, cost=hit.cost))

    def _retry_after(self, hit: Hit) -> int:
        key = self._key(hit.names)
        stats = self._count(lambda limiter: limiter.limiter.get_window_stats(hit.item, *key))
        return max(1, math.ceil(stats.reset_time - time.time()))

    def mark(self, name: str, seconds: int) -> None:
        """Remember a name for some seconds, in all processes that share the storage."""
        key = "/".join(self._key(("mark", name)))
        expiry = max(1, seconds)
        self._run(lambda: self._count(lambda limiter: limiter.storage.incr(key, expiry)))

    def is_marked(self, name: str) -> bool:
        """Whether :meth:`mark` remembers the name."""
        key = "/".join(self._key(("mark", name)))
        return self._run(lambda: self._count(lambda limiter: limiter.storage.get(key))) > 0

    def name(self, *names: str) -> str:
        """The full name of a key of the kit's, for :meth:`with_redis`."""
        return "/".join(self._key(names))

    @property
    def has_redis(self) -> bool:
        """Whether the counts are in Redis, where processes can share more."""
        return self._settings.limiter_enabled and isinstance(self.limiter.storage, RedisStorage)

    def with_redis(self, act: Callable[[Any], T]) -> T | None:
        """Call a function with the client of the Redis that counts.

        :returns: None without one, or while it is down.
        """
        if not self.has_redis:
            return None

        def ask(limiter: Limiter) -> T | None:
            storage = limiter.storage
            return act(storage.storage) if isinstance(storage, RedisStorage) else None

        return self._run(lambda: self._count(ask))

    def _key(self, names: Iterable[str]) -> tuple[str, ...]:
        # limits joins the parts with "/", so a part must not contain one.
        return (*self._prefix, *(name.replace("%", "%25").replace("/", "%2F") for name in names))

    def _run(self, act: Callable[[], T]) -> T:
        """Run a function that counts; if the storage takes too long, again with memory.

        The timeouts of a driver's own, if a host's Limiter has any, are for each part of a reply.
        """
        waits = self._is_down and time.monotonic() < self._recheck_at
        if waits or self.is_in_memory:
            return act()
        try:
            return self._workers.get().run(act, COUNT_SECONDS)
        except Stuck as error:
            self._note_failure(error)
            return act()

    def _count(self, ask: Callable[[Limiter], T]) -> T:
        """Ask the Limiter, or the one in memory while the storage is down."""
        if self._is_asked():
            try:
                result = self._ask(self.limiter, ask)
            except Exception as error:  # noqa: BLE001  each storage has exceptions of its own
                self._note_failure(error)
            else:
                if self._is_down:
                    self._is_down = False
                    logger.warning("The rate limit storage is back")
                return result
        if self._fallback is None:
            with self._lock:
                if self._fallback is None:
                    self._fallback = own_limiter(self._settings, "memory://")
        return self._ask(self._fallback, ask)

    def _is_asked(self) -> bool:
        """Whether the storage is asked: while it is down, by one request now and then."""
        if not self._is_down:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._recheck_at:
                return False
            self._recheck_at = now + RECHECK_SECONDS
            return True

    def _note_failure(self, error: Exception) -> None:
        self._recheck_at = time.monotonic() + RECHECK_SECONDS
        if not self._is_down:
            self._is_down = True
            # The type alone: a driver's message may contain the URI, with its password.
            logger.error(
                "The rate limit storage failed (%s): counting in this process's memory "
                "until it is back",
                type(error).__name__,
            )

    def _ask(self, limiter: Limiter, ask: Callable[[Limiter], T]) -> T:
        if not isinstance(limiter.storage, MemoryStorage):
            return ask(limiter)
        # Two threads at once may start its timer twice, which raises in one of them.
        with self._memory:
            return ask(limiter)

    def _choose(self) -> Limiter:
        settings = self._settings
        hosts = [limiter for limiter in self._app.extensions.get("limiter", ()) if limiter.enabled]
        if len(hosts) == 1 and not settings.ratelimit_storage_uri:
            host: Limiter = hosts[0]
            if _has_no_timeout(host.storage):
                logger.warning(
                    "The site's Limiter waits for its storage without an end; the chat's calls "
                    "give it up after %g seconds, and the site's own views do not: pass "
                    "storage_options={'socket_timeout': 1, 'socket_connect_timeout': 1}",
                    COUNT_SECONDS,
                )
            return host
        uri = settings.ratelimit_storage_uri or settings.limiter_storage_uri
        return own_limiter(settings, uri or "memory://")


def own_limiter(settings: Settings, uri: str) -> Limiter:
    """Make a Limiter on an application of its own.

    On the host's application it would read ``RATELIMIT_DEFAULT`` and enforce it a second time.
    """
    keeper = Flask(__name__, static_folder=None)
    if settings.limiter_strategy:
        keeper.config["RATELIMIT_STRATEGY"] = settings.limiter_strategy
    # The options are those of the storage that the host configured them for.
    given = settings.limiter_options if uri == settings.limiter_storage_uri else {}
    # Drivers wait long by default, or for ever; a counter is not worth a visitor's patience.
    waits = next((waits for schemes, waits in DRIVER_TIMEOUTS if uri.startswith(schemes)), {})
    keeper.config["RATELIMIT_STORAGE_OPTIONS"] = {**waits, **given}
    limiter = Limiter(get_remote_address, app=keeper, storage_uri=uri)
    if isinstance(limiter.storage, MemoryStorage):
        limiter.storage.timer = _Sweeps(limiter.storage.timer.function)  # type: ignore[assignment]
    return limiter


class _Sweeps:
    """Replaces the timer by which the storage in memory drops what has expired.

    With its own, the storage starts a thread for that up to a hundred times a second, and whoever
    counts waits until the thread runs: among 64 busy threads, for tens of milliseconds.

    :param sweep: drops what has expired.
    """

    def __init__(self, sweep: Callable[..., object]) -> None:
        self._sweep = sweep
        self._next = time.monotonic() + SWEEP_SECONDS

    def is_alive(self) -> bool:
        """Called at each count: whether no other timer must be started."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SWEEP_SECONDS
            threading.Thread(target=self._run, name="chatkit-limits", daemon=True).start()
        return True

    def _run(self) -> None:
        # A name may be counted anew meanwhile; the rest is left to the next sweep.
        with suppress(KeyError):
            self._sweep()


def _has_no_timeout(storage: Any) -> bool:
    """Whether the storage is Redis, and its driver has no timeout."""
    pool = getattr(getattr(storage, "storage", None), "connection_pool", None)
    if pool is None:
        return False
    options = dict(pool.connection_kwargs)
    # Releases of the driver differ in their defaults.
    for kind in pool.connection_class.__mro__:
        default = inspect.signature(kind.__init__).parameters.get("socket_timeout")
        if default is not None:
            options.setdefault("socket_timeout", default.default)
    return options.get("socket_timeout") is None


#: All storages of this process.
_storages: WeakSet[Storage] = WeakSet()


def _reset_all() -> None:
    for storage in list(_storages):
        storage.reset()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_reset_all)
