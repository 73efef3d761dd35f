"""What will fail at the first call, found at start: drivers, folders, uWSGI's options."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

Drivers: TypeAlias = Mapping[str, tuple[tuple[str, ...], str]]

#: By the scheme of a URI: the modules of which one is needed, and how to install it.
DATABASES: Drivers = {
    "postgresql": (("psycopg2", "psycopg"), "pip install 'flask-chatkit[postgresql]'"),
    "postgres": (("psycopg2", "psycopg"), "pip install 'flask-chatkit[postgresql]'"),
    "postgresql+psycopg": (("psycopg",), "pip install 'flask-chatkit[postgresql]'"),
    "postgresql+psycopg2": (("psycopg2",), "pip install psycopg2-binary"),
    "mysql": (("MySQLdb", "pymysql"), "pip install 'flask-chatkit[mysql]'"),
    "mariadb": (("MySQLdb", "pymysql"), "pip install 'flask-chatkit[mysql]'"),
    "mysql+pymysql": (("pymysql",), "pip install 'flask-chatkit[mysql]'"),
    "mariadb+pymysql": (("pymysql",), "pip install 'flask-chatkit[mysql]'"),
    "mysql+mysqldb": (("MySQLdb",), "pip install mysqlclient"),
    "mariadb+mysqldb": (("MySQLdb",), "pip install mysqlclient"),
}
STORAGES: Drivers = {
    "redis": (("redis",), "pip install 'flask-chatkit[redis]'"),
    "rediss": (("redis",), "pip install 'flask-chatkit[redis]'"),
    "redis+unix": (("redis",), "pip install 'flask-chatkit[redis]'"),
    "redis+sentinel": (("redis",), "pip install 'flask-chatkit[redis]'"),
    "redis+cluster": (("redis",), "pip install 'flask-chatkit[redis]'"),
    "valkey": (("valkey",), "pip install valkey"),
    "memcached": (("pymemcache",), "pip install pymemcache"),
    "mongodb": (("pymongo",), "pip install pymongo"),
}
_LAZY = "lazy-apps = true in uWSGI's configuration"
_THREADS = "enable-threads = true and threads = 16 in uWSGI's configuration"


def missing_driver(key: str, uri: str, known: Drivers) -> Iterator[str]:
    """What is wrong if no driver for a URI is installed, found without importing it.

    :param key: the setting.
    :param known: :data:`DATABASES` or :data:`STORAGES`.
    """
    modules, cure = known.get(uri.partition("://")[0].lower(), ((), ""))
    if modules and not any(map(_is_installed, modules)):
        yield f"{key} needs the driver {modules[-1]}, which is not installed: {cure}"


def _is_installed(module: str) -> bool:
    return module in sys.modules or find_spec(module) is not None


def unwritable(path: Path) -> str | None:
    """Why a file or a folder can't be created or changed there; None if nothing speaks against it.

    It is looked at, not tried.
    """
    place = path
    # Path.exists raises where the process may not look.
    while not os.path.exists(place):  # noqa: PTH110
        if place.parent == place:
            return f"there is no {place}"
        place = place.parent
    # A server may have begun as another user than the process acts as now.
    effective = os.access in os.supports_effective_ids
    wanted = os.W_OK | (os.X_OK if place.is_dir() else 0)
    if os.access(place, wanted, effective_ids=effective):
        return None
    return f"{place} can't be written to by this process's user"


def uwsgi_problems() -> Iterator[str]:
    """What is wrong with the options of uWSGI, if it runs this process."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return
    names = {
        name.decode() if isinstance(name, bytes) else str(name)
        for name, value in uwsgi.opt.items()
        if not re.fullmatch(r"b?'?(false|0|)'?", str(value).lower())
    }
    if not names & {"enable-threads", "threads", "gevent"}:
        yield f"uWSGI runs no Python threads, so no served chat can answer: {_THREADS}"
    if not names & {"lazy-apps", "lazy"}:
        yield (
            "uWSGI loads the application before it forks: all of its processes share the "
            f"connections made by then, such as a Limiter's, an Engine's or a model's: {_LAZY}"
        )
