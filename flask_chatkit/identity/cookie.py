"""The signed cookie by which an anonymous visitor is known; only this module reads it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from itsdangerous import TimestampSigner
from werkzeug.wrappers import Request, Response

from ..config import Settings
from ..parsers import cookie_prefix
from .signing import SIGNATURE, claimed_time, is_timely, signer, unsign_timely
from .visitor import Visitor

#: Cookies of one name that are read; more do not fit into the headers that servers accept.
MAX_COOKIES = 256

#: Seconds for which a value that another key signed is left alone: a new process of a rolling
#: deploy may have signed it, with a key that this process does not have.
ROLLOUT_SECONDS = 600

#: 128 bits, the time of signing, and the signature, in their exact form.
_SIGNED = re.compile(rf"[A-Za-z0-9_-]{{22}}\.[A-Za-z0-9_-]{{1,12}}\.{SIGNATURE}")


class VisitorCookie:
    """The signed, rolling cookie of anonymous visitors.

    Whoever runs a sibling host, or a page on it, can set a cookie of this name in a visitor's
    browser that is genuine but somebody else's. A second cookie proves that a visitor began in the
    browser that sends the first: it is set with the visitor's first cookie, for this host alone,
    and on https under a name that no other host can set (``__Host-``).

    :param keys: the signing keys, the newest last.
    :param kit: the kit's name, which salts the signature: another kit's cookie is not valid here.
    :param settings: the kit's settings, with the cookie's name, maximum age and attributes.
    :param path: where the kit is mounted, without the script root.
    """

    def __init__(self, keys: Sequence[bytes], kit: str, settings: Settings, path: str) -> None:
        self._signer = signer(TimestampSigner, keys, "visitor", kit)
        self._own_signer = signer(TimestampSigner, keys, "visitor-own", kit)
        self._settings = settings
        self._path = path
        self.name = settings.cookie_name + ("" if kit == "chatkit" else f"_{kit}")
        self._prefix = cookie_prefix(self.name)

    def read(self, request: Request) -> Visitor | None:
        """Return the cookie's visitor; None if it is missing, damaged or expired.

        Of several cookies of the name, the one whose visitor began in this browser counts, else the
        first that is genuine.
        """
        read = (
            read_visitor(self._signer, value, self._settings) for value in self._values(request)
        )
        found = [visitor for visitor in read if visitor]
        if len(found) > 1:
            own = self._own_keys(request)
            found.sort(key=lambda visitor: visitor.key not in own)
        return found[0] if found else None

    def is_own(self, request: Request, visitor: Visitor) -> bool:
        """Whether the cookie's visitor began in this browser, and was not set by another host."""
        return self._prefix == "__Host-" or visitor.key in self._own_keys(request)

    def is_of_other_key(self, request: Request) -> bool:
        """Whether a cookie was recently signed by a key that this process does not have."""
        return any(is_of_other_key(self._signer, value) for value in self._values(request))

    def clear(self, request: Request, response: Response) -> None:
        """Delete the cookies of an anonymous visitor, who has signed in."""
        attributes = self.attributes(request)
        response.delete_cookie(self.name, **attributes)
        name = self._own_name(attributes)
        if name in request.cookies:
            response.delete_cookie(name, **_own_attributes(attributes))

    def write(
        self, request: Request, response: Response, visitor: Visitor, *, own: bool = False
    ) -> None:
        """Set the cookie of an anonymous visitor.

        :param own: whether to set the second cookie, too, which proves that the visitor began in
            this browser: only for one who is new, or has it already.
        """
        attributes = self.attributes(request)
        age = self._settings.cookie_max_age
        response.set_cookie(
            self.name, sign_visitor(self._signer, visitor), max_age=age, **attributes
        )
        if own and self._prefix != "__Host-":
            response.set_cookie(
                self._own_name(attributes),
                sign_visitor(self._own_signer, visitor),
                max_age=age,
                **_own_attributes(attributes),
            )

    def attributes(self, request: Request) -> dict[str, Any]:
        """The cookie's attributes; with others, a browser keeps a second cookie."""
        settings = self._settings
        # Browsers refuse a SameSite=None, partitioned or prefixed cookie unless it is secure.
        secure = (
            settings.cookie_secure
            if settings.cookie_secure is not None
            else request.is_secure
            or settings.cookie_samesite == "None"
            or settings.cookie_partitioned
            or bool(self._prefix)
        )
        here = "/" if self._prefix == "__Host-" else request.root_path.rstrip("/") + self._path
        return {
            "path": settings.cookie_path or here,
            "domain": settings.cookie_domain,
            "secure": secure,
            "httponly": True,
            "samesite": settings.cookie_samesite,
            "partitioned": settings.cookie_partitioned,
        }

    def _values(self, request: Request) -> Iterator[str]:
        return _values(request, self.name)

    def _own_name(self, attributes: dict[str, Any]) -> str:
        bare = self.name.removeprefix("__Secure-")
        if not attributes["secure"]:
            return f"{bare}-own"
        # Such a cookie has the path "/", which may be the root of several sites.
        return f"__Host-{bare}-own" + re.sub(r"[^A-Za-z0-9]+", "_", attributes["path"].rstrip("/"))

    def _own_keys(self, request: Request) -> set[str]:
        """The keys of the visitors who began in this browser: one at most, in practice."""
        name = self._own_name(self.attributes(request))
        read = (
            read_visitor(self._own_signer, value, self._settings)
            for value in _values(request, name)
        )
        return {visitor.key for visitor in read if visitor}


def _values(request: Request, name: str) -> Iterator[str]:
    """The values of a cookie's name that may be ours, in the order in which the browser sent them.

    Browsers know no quoting: a parser that does, as Werkzeug's, reads everything between two broken
    cookies of one quotation mark each as the value of the first.
    """
    parts = (part.partition("=") for part in request.headers.get("Cookie", "").split(";"))
    # Browsers strip spaces and tabs alone: a name that begins with other white space is not
    # subject to the rules of a prefix such as __Host-.
    values = (value.strip(" \t") for key, _, value in parts if key.strip(" \t") == name)
    return islice((value for value in values if _SIGNED.fullmatch(value)), MAX_COOKIES)


def _own_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    path = "/" if attributes["secure"] else attributes["path"]
    return {**attributes, "domain": None, "path": path}


def sign_visitor(by: TimestampSigner, visitor: Visitor) -> str:
    """Sign an anonymous visitor's id."""
    return by.sign(visitor.key.removeprefix("anon:")).decode("ascii")


def read_visitor(by: TimestampSigner, value: str, settings: Settings) -> Visitor | None:
    """Return the signed visitor; None for a value that is not genuine, or expired."""
    if not _SIGNED.fullmatch(value):
        return None
    raw = unsign_timely(by, value, time.time(), settings.cookie_max_age)
    return Visitor(f"anon:{raw.decode()}", known=True) if raw is not None else None


def is_of_other_key(by: TimestampSigner, value: str) -> bool:
    """Whether a value claims to be signed recently, but by another key."""
    return bool(
        _SIGNED.fullmatch(value)
        and is_timely(claimed_time(value), time.time(), ROLLOUT_SECONDS)
        and not by.validate(value)
    )
