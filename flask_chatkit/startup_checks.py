"""What can be known to fail before the first call: missing drivers, folders, uWSGI's options."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from .errors import ConfigurationError

Drivers: TypeAlias = Mapping[str, tuple[tuple[str, ...], str]]

#: By the scheme of a URI: the modules of which one is needed, and what installs it.
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


def check_driver(key: str, uri: str, known: Drivers) -> None:
    """Check that a driver for a URI is installed, without importing it.

    :param key: the setting.
    :param known: :data:`DATABASES` or :data:`STORAGES`.
    :raises ConfigurationError: it is not.
    """
    modules, cure = known.get(uri.partition("://")[0].lower(), ((), ""))
    if modules and not any(map(_is_there, modules)):
        raise ConfigurationError(
            f"{key} needs the driver {modules[-1]}, which is not installed: {cure}"
        )


def _is_there(module: str) -> bool:
    return module in sys.modules or find_spec(module) is not None


def unwritable(path: Path) -> str | None:
    """Why a file or a folder can't be made or changed there; None if it seems that it can."""
    place = path
    # Not by the path's own method, which raises where nobody may look.
    while not os.path.exists(place):  # noqa: PTH110
        if place.parent == place:
            return f"there is no {place}"
        place = place.parent
    # As whom the process acts: a server may have begun as another user.
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
        yield f"uWSGI runs no threads of Python's, so no served chat can answer: {_THREADS}"
    if not names & {"lazy-apps", "lazy"}:
        yield (
            "uWSGI loads the application before it forks: connections that were made by then, such "
            f"as a Limiter's, an Engine's or a model's, are shared by all of its processes: {_LAZY}"
        )
