"""Which tests are fast: a marker for each test, by what it needs.

``browser``, ``services`` and ``slow`` are put on by folder, fixture and module here, so that nobody
has to think of them; a single test is marked in place. What has none of them is ``fast``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MARKERS = ("browser", "services", "slow")

#: Fixtures that need a database server, Redis, PgBouncer or nginx.
SERVICES = frozenset({"databases", "in_mariadb", "in_postgresql", "nginx", "redis", "redis_uri"})
#: Parameters of tests and fixtures that stand for a database server.
SERVERS = frozenset({"MariaDB", "PostgreSQL"})
#: Modules and folders whose tests start programs, wait for time to pass, or take long for another
#: reason: whole conversations over HTTP, ten thousand mutations.
SLOW = (
    "docs/test_servers.py",
    "docs/test_site.py",
    "docs/test_snippets.py",
    "doctor/test_running.py",
    "doctor/test_setups.py",
    "hosted/test_client.py",
    "http/test_embed.py",
    "http/test_reliability.py",
    "js/",
    "limits/test_unread.py",
    "owner/test_carry.py",
    "owner/test_people.py",
    "server/agents/",
    "server/history/test_conformance.py",
    "server/history/test_migrations.py",
    "server/history/test_store.py",
    "server/protocol/",
    "server/streaming/",
    "test_asgi.py",
    "test_asgi_limits.py",
    "test_demo.py",
    "test_moving.py",
    "test_packaging.py",
    "test_signals.py",
    "testing/test_docs.py",
    "testing/test_served_chat.py",
)


def mark(item: pytest.Item) -> None:
    """Put the markers on a test that was collected."""
    fixtures = set(getattr(item, "fixturenames", ()))
    params = getattr(getattr(item, "callspec", None), "params", {})
    place = item.path.relative_to(TESTS).as_posix()
    if place.startswith("browser/"):
        item.add_marker("browser")
    if fixtures & SERVICES or any(
        one in SERVERS for one in params.values() if isinstance(one, str)
    ):
        item.add_marker("services")
    if place.startswith(SLOW):
        item.add_marker("slow")
    if not any(map(item.get_closest_marker, MARKERS)):
        item.add_marker("fast")
