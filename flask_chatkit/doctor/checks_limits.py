"""Checks of limits: their storage, several processes, and the site's own Limiter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from limits.storage import MemoryStorage
from werkzeug.exceptions import HTTPException

from .http import Unreachable
from .report import Finding, check, error, ok, skipped, warning
from .site import Site, seen_in

_SHARE = (
    "set CHATKIT_RATELIMIT_STORAGE_URI to redis://…, the same for all, and "
    "pip install 'flask-chatkit[redis]'"
)
#: Requests to find out whether several processes answer.
ASKED = 6


@check(
    "limits-storage",
    "the storage for rate limits responds",
    cure="start the storage of CHATKIT_RATELIMIT_STORAGE_URI (or RATELIMIT_STORAGE_URI), or let "
    "this machine reach it",
)
def storage(site: Site) -> Iterator[Finding]:
    """Check whether the storage responds."""
    if not site.settings.limiter_enabled:
        yield (
            ok("limits are switched off, for development")
            if site.is_development
            else error(
                "RATELIMIT_ENABLED is False: nothing is limited", "set RATELIMIT_ENABLED to True"
            )
        )
        return
    limiter = site.kit.limiter.storage.limiter
    name = type(limiter.storage).__name__.removesuffix("Storage").lower()
    if not limiter.storage.check():
        yield error(
            f"the {name} storage does not answer: each process counts for itself",
            "start the storage of CHATKIT_RATELIMIT_STORAGE_URI (or RATELIMIT_STORAGE_URI), or let "
            "this machine reach it",
        )
    elif not isinstance(limiter.storage, MemoryStorage):
        yield ok(f"requests are counted in {name}, which answers")
    else:
        yield ok("requests are counted in each process's memory")
    unlimited = [
        f"CHATKIT_{name.upper()}"
        for name in ("ratelimit", "ratelimit_ip", "message_ratelimit", "call_ratelimit")
        if not getattr(site.settings, name)
    ]
    if unlimited and not site.is_development:
        yield warning(
            f"{', '.join(unlimited)} is empty: anybody may spend without a limit",
            f"remove {', '.join(unlimited)}, or set a limit such as 10/minute;100/day",
        )


@check(
    "limits-sharing",
    "the processes of the running site count together (with `--url`)",
    cure=_SHARE,
    seconds=10.0,
)
def sharing(site: Site) -> Iterator[Finding]:
    """Look for several processes, and for this one's mark in the storage."""
    seen = site.seen
    if seen is None:
        in_memory = site.kit.limiter.storage.is_in_memory
        if in_memory and not site.is_development and not site.url:
            yield skipped(
                "requests are counted in memory, which is right for one process only",
                f"if the site runs in several processes: {_SHARE}",
            )
        else:
            yield skipped("without --url nothing is known of the running site's processes")
        return
    if not seen["counts_in_memory"]:
        if not site.kit.limiter.storage.is_in_memory and not seen["has_mark"]:
            yield error(
                "the running site counts in another storage than this configuration's",
                "give all processes and this command the same CHATKIT_RATELIMIT_STORAGE_URI",
            )
        else:
            yield ok("the running site's processes count together")
        return
    names = {seen["process"]}
    if not seen["processes"]:
        for _ in range(ASKED):
            try:
                found = seen_in(site.look())
            except Unreachable:
                break
            names |= {found["process"]} if found else set()
    if seen["processes"] or len(names) > 1:
        yield error(
            "several processes count in memory, each for itself: limits hold for each, and a "
            "cancelled session is known to one",
            _SHARE,
        )
    else:
        yield ok("the running site is one process, and counts in its memory")


@check(
    "default-limits",
    "default limits of the site's own Flask-Limiter do not apply to the chat's calls",
    cure="limiter.exempt(chatkit)",
)
def default_limits(site: Site) -> Iterator[Finding]:
    """Run the application's hooks for a call of the kit, and see which limits were counted."""
    limiters: Any = [one for one in site.app.extensions.get("limiter", ()) if one.enabled]
    if not limiters:
        yield skipped("the site has no Limiter of its own")
        return
    try:
        path = site.address("config")
    except LookupError as unknown:
        yield skipped(str(unknown))
        return
    hit = set()
    with site.app.test_request_context(path, headers=site.probe("look")):
        try:
            site.app.preprocess_request()
        except HTTPException:
            # A limit is used up, or a guard refuses: the counts are known nevertheless.
            pass
        except Exception as failed:  # noqa: BLE001  storages have exceptions of their own
            yield skipped(f"the site's Limiter can't count ({type(failed).__name__})")
            return
        for limiter in limiters:
            hit |= {str(found.limit) for found in limiter.current_limits}
    if hit:
        yield error(
            "the site's Limiter counts the chat's calls, too: chatting uses up its limits, "
            f"{', '.join(sorted(hit))}",
            "limiter.exempt(chatkit): the kit has limits of its own, counted by the same Limiter",
        )
    else:
        yield ok("the site's Limiter leaves the chat's calls to the kit's limits")
