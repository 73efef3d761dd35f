"""How often: the Flask-Limiter side.

Three quotas hold at once, the visitor's, the address's and the kit's, counted by a
:class:`~flask_limiter.Limiter`: the host's if it has one, else one of our own. We count through
``Limiter.limiter``, its strategy, and not with its decorators: those key their registry by the
view's name, so that two kits would share limits, and mark the storage dead for the whole app when
a key function fails.
"""

from __future__ import annotations

import inspect
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, TypeVar
from weakref import WeakSet

from flask import Flask
from flask.sansio.app import App
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import RateLimitItem, RateLimitItemPerDay
from limits.errors import ConfigurationError as LimitsConfigurationError
from limits.storage import MemoryStorage

from ..config import Settings
from ..errors import ConfigurationError, RateLimited, TooLarge
from ..identity.visitor import Visitor
from ..quota import UploadQuota, size_text, time_text
from ..runtime.processes import PerProcess
from ..runtime.workers import Stuck, Workers
from .addresses import networks_of

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")
K = TypeVar("K")
Items = Sequence[RateLimitItem]

#: Seconds after which a storage that was down is tried again.
RECHECK_SECONDS = 5.0
#: Seconds that one request's counting may take before it is done in memory.
COUNT_SECONDS = 2.0
#: Seconds between two sweeps of a storage in memory.
SWEEP_SECONDS = 10.0
#: How many requests are counted at once in a storage that is on a network.
AT_ONCE = 32
#: What a driver is told of waiting, by the beginning of the URI.
PATIENCE: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("redis", "valkey"), {"socket_connect_timeout": 1.0, "socket_timeout": 1.0}),
    (("memcached",), {"connect_timeout": 1.0, "timeout": 1.0}),
    (
        ("mongodb",),
        {"connectTimeoutMS": 1000, "serverSelectionTimeoutMS": 1000, "socketTimeoutMS": 1000},
    ),
)


#: The acts that ``CHATKIT_MESSAGE_RATELIMIT`` is for, each with a count of its own.
MESSAGE = "message"
TOOL = "tool"
#: Every other call that asks for something, which ``CHATKIT_CALL_RATELIMIT`` is for.
CALL = "call"
UPLOAD = "upload"
#: Visitors' worth of messages that all anonymous visitors of an address have together.
VISITORS = 5
#: Calls are counted in the storage in so many parts of a limit: each call would be slow.
PARTS = 50
#: Seconds for which a storage is not asked again about what it has refused.
REFUSED_SECONDS = 1.0
#: Names under which a process counts calls that the storage does not know of yet.
_OWED = 10_000


def _times(item: RateLimitItem, factor: int) -> RateLimitItem:
    return type(item)(item.amount * factor, item.multiples)


def _kilobytes(size: int) -> int:
    """What bytes are counted as."""
    return math.ceil(size / 1024)


def _per_day(size: int | None) -> Items:
    """A quota of bytes as one of kilobytes, which a storage counts."""
    return () if size is None else (RateLimitItemPerDay(max(1, size // 1024)),)


def own_limiter(settings: Settings, uri: str) -> Limiter:
    """A Limiter of our own, on an application of its own.

    On the host's application it would read ``RATELIMIT_DEFAULT`` and enforce it a second time.
    """
    keeper = Flask(__name__, static_folder=None)
    if settings.limiter_strategy:
        keeper.config["RATELIMIT_STRATEGY"] = settings.limiter_strategy
    # The options are those of the storage that the host configured them for.
    given = settings.limiter_options if uri == settings.limiter_storage_uri else {}
    # Drivers wait long by default, or for ever; a counter is not worth a visitor's patience.
    waits = next((waits for schemes, waits in PATIENCE if uri.startswith(schemes)), {})
    keeper.config["RATELIMIT_STORAGE_OPTIONS"] = {**waits, **given}
    limiter = Limiter(get_remote_address, app=keeper, storage_uri=uri)
    if isinstance(limiter.storage, MemoryStorage):
        limiter.storage.timer = _Sweeps(limiter.storage.timer.function)  # type: ignore[assignment]
    return limiter


class _Sweeps:
    """Takes the place of the timer by which the storage in memory drops what has expired.

    While it counts, the storage starts a thread for that up to a hundred times a second, and
    whoever counts waits until the thread runs: among 64 busy threads, for tens of milliseconds.

    :param sweep: drops what has expired.
    """

    def __init__(self, sweep: Callable[..., object]) -> None:
        self._sweep = sweep
        self._next = time.monotonic() + SWEEP_SECONDS

    def is_alive(self) -> bool:
        """Asked at each count: whether no other timer must be started."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SWEEP_SECONDS
            threading.Thread(target=self._run, name="chatkit-limits", daemon=True).start()
        return True

    def _run(self) -> None:
        # It meets names that are just counted anew; the rest is for the next time.
        with suppress(KeyError):
            self._sweep()


class RateLimiter:
    """Counts the requests of one kit on one application.

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
        self._made_fallback: Limiter | None = None
        self._told_memory = False
        self._down = False
        self._recheck_at = 0.0
        self._lock = threading.Lock()
        self._memory = threading.Lock()
        self._owed = _Owed()
        # No thread survives a fork.
        self._workers = PerProcess(lambda: Workers(AT_ONCE, "chatkit-limits", AT_ONCE))
        _counting.add(self)

    def begin_anew(self) -> None:
        """Have nothing in common with the process that this one was forked from.

        A lock may have been held, and a connection is used by both.
        """
        self._lock, self._memory = threading.Lock(), threading.Lock()
        self._limiter = self._made_fallback = None
        self._owed = _Owed()

    def charge(
        self, visitor: Visitor, address: str, *, act: str, chat: str, visitor_items: Items | None
    ) -> None:
        """Count one act, or refuse it.

        Each anonymous act counts twice: for the visitor, and for all anonymous visitors of the
        address. Who shows a cookie is held to the first; who shows none, to the second, which has
        been used up by whatever came from there before. So dropping the cookie, or making one up,
        gains nothing.

        A message always comes with a cookie: who was given theirs within a day is held to what all
        such visitors of the address have used up, for the same reason.

        :param act: what is counted, each with quotas of its own: ``mint``, ``cancel``, ``message``,
            ``tool``.
        :param visitor_items: the chat's own limits per visitor; None for the kit's.
        :raises RateLimited: a quota is used up; ``retry_after`` tells for how many seconds, and
            ``limit`` which one: ``20 per 1 minute per visitor``, ``… per address``, ``… per kit``.
        """
        if self.enabled:
            self._ending(lambda: self._charge(visitor, address, act, chat, visitor_items))

    def _charge(
        self, visitor: Visitor, address: str, act: str, chat: str, visitor_items: Items | None
    ) -> None:
        settings = self._settings
        is_message = act in {MESSAGE, TOOL}
        scope = (act, "visitor") if visitor_items is None else (act, "visitor", chat)
        items = settings.message_ratelimit if is_message else settings.ratelimit
        items = items if visitor_items is None else tuple(visitor_items)
        own, crowd = (*scope, visitor.digest), (*scope, "address", address)
        known = visitor.known and not (is_message and visitor.is_new)
        self._hit(items, own if known else crowd, "visitor" if known else "address")
        if not is_message:
            self._hit_address(settings.ratelimit_ip, (act, "address"), address)
        elif visitor.is_anonymous:
            # Whoever gathers cookies, and lets them grow old, is still at one address.
            every = [_times(item, VISITORS) for item in items]
            self._hit_address(every, (*scope, "all"), address)
        self._hit(settings.ratelimit_global, (act, "kit"), "kit")
        if visitor.is_anonymous:
            other = self._key(crowd if known else own)
            for item in items:
                self._hit_once(item, other)

    def charge_call(self, owner: str | None, address: str | None) -> None:
        """Count a call that costs little: reading, renaming, deleting, feedback, a file to read.

        Beside the visitor's own quota, all anonymous visitors of an address have five times as
        much. The storage hears of several calls at once, so that reading does not wait for it.

        :param owner: who calls; None for somebody who is not known.
        :param address: where from; None for who is signed in, whom no address makes up.
        :raises RateLimited: a quota is used up, as for :meth:`charge`.
        """
        items = self._settings.call_ratelimit
        if not self.enabled or not items:
            return
        if owner is not None:
            self._owe(items, 1, "visitor", owner)
        if address is not None:
            self._owe(items, VISITORS, "address", address)
            for network, times in networks_of(address):
                self._owe(items, VISITORS * times, "address", network)

    def charge_bytes(self, visitor: Visitor, address: str, quota: UploadQuota, size: int) -> None:
        """Count the bytes of a file that is announced, or refuse it.

        :raises RateLimited: the visitor, or the address, has brought too much within a day.
        :raises TooLarge: the file alone is more than may be brought in a day.
        """

        def act() -> None:
            self._check_bytes(visitor, address, quota, size)
            self._count_bytes(visitor, address, quota, size)

        if self.enabled:
            self._ending(act)

    def check_bytes(self, visitor: Visitor, address: str, quota: UploadQuota, size: int) -> None:
        """Refuse a file that is too much, and count nothing of it yet.

        :raises RateLimited: as for :meth:`charge_bytes`.
        :raises TooLarge: as for :meth:`charge_bytes`.
        """
        if self.enabled:
            self._ending(partial(self._check_bytes, visitor, address, quota, size))

    def count_bytes(self, visitor: Visitor, address: str, quota: UploadQuota, size: int) -> None:
        """Count the bytes of a file that has come."""
        if self.enabled:
            self._ending(partial(self._count_bytes, visitor, address, quota, size))

    def _check_bytes(self, visitor: Visitor, address: str, quota: UploadQuota, size: int) -> None:
        cost = _kilobytes(size)
        # What is refused uses nothing up: a smaller file may still go.
        for item, key, whose in self._of_bytes(visitor, address, quota):
            if not self._is_room(item, key, cost):
                size_of_all = size_text(item.amount * 1024)
                if cost > item.amount:
                    # To wait would not help.
                    raise TooLarge(
                        f"No file can have more than {size_of_all}.", limit=f"{size_of_all} a day"
                    )
                limit, wait = f"{size_of_all} a day per {whose}", self._wait_for(item, key)
                raise RateLimited(
                    f"No more than {size_of_all} of files can be sent in a day. Please send your "
                    f"message without the file, or wait {time_text(wait)}.",
                    retry_after=wait,
                    limit=limit,
                )

    def _count_bytes(self, visitor: Visitor, address: str, quota: UploadQuota, size: int) -> None:
        for item, key, _ in self._of_bytes(visitor, address, quota):
            self._hit_once(item, key, _kilobytes(size))

    def _of_bytes(
        self, visitor: Visitor, address: str, quota: UploadQuota
    ) -> list[tuple[RateLimitItem, tuple[str, ...], str]]:
        """What a visitor's files are counted in: the limit, its key, and whose it is."""
        of_visitor, of_address = map(_per_day, (quota.visitor, quota.address))
        name = (UPLOAD, "visitor", visitor.digest)
        found = [(item, self._key(name), "visitor") for item in of_visitor]
        if visitor.is_anonymous:
            for network, times in ((address, 1), *networks_of(address)):
                key = self._key((UPLOAD, "address", network))
                found += [(_times(item, times), key, "address") for item in of_address]
        return found

    def _is_room(self, item: RateLimitItem, key: tuple[str, ...], cost: int) -> bool:
        return self._count(lambda limiter: limiter.limiter.test(item, *key, cost=cost))

    def mark(self, name: str, seconds: int) -> None:
        """Remember a name for some seconds, for all processes that share the storage."""
        key = "/".join(self._key(("mark", name)))
        expiry = max(1, seconds)
        self._ending(lambda: self._count(lambda limiter: limiter.storage.incr(key, expiry)))

    def is_marked(self, name: str) -> bool:
        """Whether :meth:`mark` remembers the name."""
        key = "/".join(self._key(("mark", name)))
        return self._ending(lambda: self._count(lambda limiter: limiter.storage.get(key))) > 0

    @property
    def enabled(self) -> bool:
        """False where the host switched its limits off, as test configurations do."""
        return self._settings.limiter_enabled

    def _key(self, names: Iterable[str]) -> tuple[str, ...]:
        # limits joins the parts with "/", so a part must not bring one of its own.
        return (*self._prefix, *(name.replace("%", "%25").replace("/", "%2F") for name in names))

    def _hit_address(self, items: Items, names: tuple[str, ...], address: str) -> None:
        self._hit(items, (*names, address), "address")
        for network, times in networks_of(address):
            self._hit([_times(item, times) for item in items], (*names, network), "network")

    def _hit(self, items: Items, names: tuple[str, ...], whose: str) -> None:
        key = self._key(names)
        for item in items:
            self._hit_or_refuse(item, key, whose)

    def _refuse(self, item: RateLimitItem, key: tuple[str, ...], whose: str) -> NoReturn:
        raise RateLimited(retry_after=self._wait_for(item, key), limit=f"{item} per {whose}")

    def _wait_for(self, item: RateLimitItem, key: tuple[str, ...]) -> int:
        """Seconds until something is let through again."""
        reset = self._count(lambda limiter: limiter.limiter.get_window_stats(item, *key)).reset_time
        return max(1, math.ceil(reset - time.time()))

    def _owe(self, items: Items, times: int, whose: str, who: str) -> None:
        """Count in this process, and tell the storage when it is enough to be worth asking."""
        for place, item in enumerate(items):
            name = (place, whose, who)
            self._owed.check(name)
            cost = self._owed.add(name, item.amount * times // PARTS)
            if not cost:
                continue
            more, key = _times(item, times), self._key((CALL, whose, who))
            try:
                self._ending(partial(self._hit_or_refuse, more, key, whose, cost))
            except RateLimited as error:
                # Until the storage has let one through, it is asked each time.
                self._owed.put_back(name, cost - 1, error)
                raise

    def _hit_or_refuse(
        self, item: RateLimitItem, key: tuple[str, ...], whose: str, cost: int = 1
    ) -> None:
        if not self._hit_once(item, key, cost):
            self._refuse(item, key, whose)

    def _hit_once(self, item: RateLimitItem, key: tuple[str, ...], cost: int = 1) -> bool:
        return self._count(lambda limiter: limiter.limiter.hit(item, *key, cost=cost))

    def _ending(self, act: Callable[[], T]) -> T:
        """Count, and give up a storage that takes too long: then memory counts.

        A driver's own timeouts, if a host's Limiter has any, are for each piece of an answer.
        """
        waits = self._down and time.monotonic() < self._recheck_at
        if waits or isinstance(self.limiter.storage, MemoryStorage):
            return act()
        try:
            return self._workers.get().run(act, COUNT_SECONDS)
        except Stuck as error:
            self._note_failure(error)
            return act()

    def _count(self, ask: Callable[[Limiter], T]) -> T:
        """Ask the Limiter, or the one in memory while the storage is down."""
        if self._asks_storage():
            try:
                result = self._ask(self.limiter, ask)
            except Exception as error:  # noqa: BLE001  each storage has exceptions of its own
                self._note_failure(error)
            else:
                if self._down:
                    self._down = False
                    logger.warning("The rate limit storage is back")
                return result
        return self._ask(self._fallback, ask)

    def _asks_storage(self) -> bool:
        """Whether the storage is asked: while it is down by one request now and then."""
        if not self._down:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._recheck_at:
                return False
            self._recheck_at = now + RECHECK_SECONDS
            return True

    def _note_failure(self, error: Exception) -> None:
        self._recheck_at = time.monotonic() + RECHECK_SECONDS
        if not self._down:
            self._down = True
            # The type alone: a driver's message may hold the URI, with its password.
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

    @property
    def _fallback(self) -> Limiter:
        if self._made_fallback is None:
            with self._lock:
                if self._made_fallback is None:
                    self._made_fallback = own_limiter(self._settings, "memory://")
        return self._made_fallback

    @property
    def limiter(self) -> Limiter:
        """The Limiter that counts; chosen at the first request, when the host's is set up."""
        if self._limiter is None:
            with self._lock:
                if self._limiter is None:
                    self._limiter = self._choose()
        if not self._told_memory:
            self._told_memory = True
            quiet = self._app.debug or self._app.testing
            if isinstance(self._limiter.storage, MemoryStorage) and not quiet:
                logger.warning(
                    "Rate limits are counted in each process's own memory; set "
                    "CHATKIT_RATELIMIT_STORAGE_URI (redis://...) to share the count"
                )
        return self._limiter

    def _choose(self) -> Limiter:
        settings = self._settings
        hosts = [limiter for limiter in self._app.extensions.get("limiter", ()) if limiter.enabled]
        if len(hosts) == 1 and not settings.ratelimit_storage_uri:
            host: Limiter = hosts[0]
            if _waits_for_ever(host.storage):
                logger.warning(
                    "The site's Limiter waits for its storage without an end; the chat's calls "
                    "give it up after %g seconds, and the site's own views do not: pass "
                    "storage_options={'socket_timeout': 1, 'socket_connect_timeout': 1}",
                    COUNT_SECONDS,
                )
            return host
        uri = settings.ratelimit_storage_uri or settings.limiter_storage_uri
        return own_limiter(settings, uri or "memory://")


class _Owed:
    """Calls of this process that the storage does not know of yet, by limit and name.

    Of more than so many names those that came last are kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, str, str], int] = {}
        #: What the storage has refused just now, and until when it is not asked again.
        self._refused: dict[tuple[int, str, str], tuple[float, RateLimited]] = {}

    def check(self, name: tuple[int, str, str]) -> None:
        """Refuse what was refused a moment ago: a flood of calls costs the storage little.

        :raises RateLimited: as before.
        """
        until, error = self._refused.get(name, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise RateLimited(retry_after=error.retry_after, limit=error.limit)

    def add(self, name: tuple[int, str, str], enough: int) -> int:
        """Count one.

        :returns: how many the storage is to be told now; 0 for none yet.
        """
        with self._lock:
            count = self._counts.pop(name, 0) + 1
            if count >= enough:
                return count
            _keep(self._counts, name, count)
        return 0

    def put_back(self, name: tuple[int, str, str], count: int, error: RateLimited) -> None:
        """Take back what the storage has refused."""
        with self._lock:
            if count:
                _keep(self._counts, name, count)
            self._refused.pop(name, None)
            if (error.retry_after or 1) > 1:
                _keep(self._refused, name, (time.monotonic() + REFUSED_SECONDS, error))


def _keep(table: dict[K, T], name: K, value: T) -> None:
    """Note the newest of a table, in the place of its oldest if it is full."""
    while len(table) >= _OWED and name not in table:
        del table[next(iter(table))]
    table[name] = value


def _waits_for_ever(storage: Any) -> bool:
    """Whether the driver of Redis, if that is what counts, has no timeout."""
    pool = getattr(getattr(storage, "storage", None), "connection_pool", None)
    if pool is None:
        return False
    told = dict(pool.connection_kwargs)
    # Releases of the driver differ in what they take by default.
    for kind in pool.connection_class.__mro__:
        usual = inspect.signature(kind.__init__).parameters.get("socket_timeout")
        if usual is not None:
            told.setdefault("socket_timeout", usual.default)
    return told.get("socket_timeout") is None


#: All that count in this process.
_counting: WeakSet[RateLimiter] = WeakSet()


def _begin_anew() -> None:
    for quotas in list(_counting):
        quotas.begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)
