"""Who is chatting: the site's login, or an anonymous visitor known by a signed cookie or token.

Only this module reads the cookie, and the token that stands for it on pages of other origins. It
knows nothing of Flask beyond the request and response that it is handed.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from itsdangerous import TimestampSigner
from werkzeug.wrappers import Request, Response

from ..config import Settings, cookie_prefix
from .signing import CLOCK_TOLERANCE, SIGNATURE, claimed_time, is_timely, signer, unsign_timely

#: Seconds for which an anonymous visitor is new.
NEW_SECONDS = 86400

#: Characters of a login's id; OpenAI gets it with each session.
LONGEST_ID = 512

#: Cookies of one name that are looked at; more do not fit into what servers accept of a header.
MAX_COOKIES = 256

#: Seconds for which what another key has signed is left alone: a new process of a rolling deploy
#: may have signed it, which has a key that this one does not have.
ROLLOUT_SECONDS = 600

#: The header in which a page of another origin shows its visitor's token, or that it has none yet.
HEADER = "X-ChatKit-Visitor"

#: 128 bits, the time of signing, and the signature, in their exact form.
_SIGNED = re.compile(rf"[A-Za-z0-9_-]{{22}}\.[A-Za-z0-9_-]{{1,12}}\.{SIGNATURE}")


@dataclass(frozen=True)
class Visitor:
    """Who is chatting.

    :param key: the id in its namespace, ``user:…`` or ``anon:…``. The two can't collide, whatever
        ids a site's login uses. OpenAI gets it as ``user``.
    :param known: whether the visitor came with proof of who they are. One who did not is made up
        for this request, and is counted by address.
    """

    key: str
    known: bool

    @classmethod
    def login(cls, user_id: str) -> Visitor:
        """A visitor whom the site's login knows."""
        return cls(f"user:{user_id}", known=True)

    @classmethod
    def from_key(cls, key: str) -> Visitor:
        """The person whom a key names: ``user:<login id>``, ``anon:<id>``, or a bare login id.

        :raises ValueError: it is empty, too long or not printable; the message has the accepted
            form.
        """
        prefix, _, name = key.partition(":")
        whole = key if prefix in {"user", "anon"} else f"user:{key}"
        name = whole.partition(":")[2]
        if not (0 < len(name) <= LONGEST_ID and name.isprintable()):
            raise ValueError(
                "a key is user:<login id> or anon:<id>, or a login id alone: printable, and at "
                f"most {LONGEST_ID} characters"
            )
        return cls(whole, known=True)

    @classmethod
    def new(cls) -> Visitor:
        """Somebody never seen before.

        The id tells when that was, so that it is known without any storage: a time of 32 bits,
        and 96 of chance.
        """
        born = int(time.time()).to_bytes(4, "big")
        name = base64.urlsafe_b64encode(born + secrets.token_bytes(12)).rstrip(b"=")
        return cls(f"anon:{name.decode('ascii')}", known=False)

    @property
    def is_new(self) -> bool:
        """Whether it is an anonymous visitor who was first seen within a day."""
        if not self.is_anonymous:
            return False
        try:
            raw = base64.urlsafe_b64decode(self.key.removeprefix("anon:") + "==")
        except ValueError:
            return False
        # The host that made the id up may be ahead.
        born = int.from_bytes(raw[:4], "big")
        return -CLOCK_TOLERANCE <= time.time() - born < NEW_SECONDS

    @property
    def is_anonymous(self) -> bool:
        """Whether the cookie or the token, not the login, tells who this is."""
        return self.key.startswith("anon:")

    @property
    def user_id(self) -> str | None:
        """The login's id, as ``user_loader`` returned it; None for an anonymous visitor."""
        return None if self.is_anonymous else self.key.removeprefix("user:")

    @property
    def digest(self) -> str:
        """A name for the visitor that tells nobody the id: 128 bits of SHA-256, in hex."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]


class VisitorCookie:
    """The signed, rolling cookie of anonymous visitors.

    Whoever runs a sibling host, or a page on it, can put a cookie of this name into a visitor's
    browser that is genuine and somebody else's. A second cookie tells that a visitor began in the
    very browser that shows the first: it is written with the visitor's first cookie, to this host
    alone, and on https under a name that no other host can write (``__Host-``).

    :param keys: the signing keys, the newest last.
    :param kit: the kit's name, which salts the signature: another kit's cookie is nobody's here.
    :param settings: name, age and attributes.
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
        """The visitor whose cookie this is; None for one that is missing, damaged or expired.

        Of several cookies of the name the one counts that began in this browser, else the first
        that is genuine.
        """
        read = (_read(self._signer, value, self._settings) for value in self._values(request))
        found = [visitor for visitor in read if visitor]
        if len(found) > 1:
            own = self._own_keys(request)
            found.sort(key=lambda visitor: visitor.key not in own)
        return found[0] if found else None

    def is_own(self, request: Request, visitor: Visitor) -> bool:
        """Whether the visitor of the cookie began in this browser, and was not put into it."""
        return self._prefix == "__Host-" or visitor.key in self._own_keys(request)

    def is_of_other_key(self, request: Request) -> bool:
        """Whether a cookie was signed a moment ago by a key that this process does not have."""
        return any(_is_of_other_key(self._signer, value) for value in self._values(request))

    def clear(self, request: Request, response: Response) -> None:
        """Forget the anonymous visitor, who is somebody else from now on."""
        attributes = self.attributes(request)
        response.delete_cookie(self.name, **attributes)
        name = self._own_name(attributes)
        if name in request.cookies:
            response.delete_cookie(name, **_own_attributes(attributes))

    def write(
        self, request: Request, response: Response, visitor: Visitor, *, own: bool = False
    ) -> None:
        """Remember an anonymous visitor from now on.

        :param own: whether to remember, too, that the visitor began in this browser; only of one
            who is new, or was remembered so before.
        """
        attributes = self.attributes(request)
        age = self._settings.cookie_max_age
        response.set_cookie(self.name, _sign(self._signer, visitor), max_age=age, **attributes)
        if own and self._prefix != "__Host-":
            response.set_cookie(
                self._own_name(attributes),
                _sign(self._own_signer, visitor),
                max_age=age,
                **_own_attributes(attributes),
            )

    def attributes(self, request: Request) -> dict[str, Any]:
        """The cookie's attributes, without which a browser keeps it apart from the one it has."""
        settings = self._settings
        # A SameSite=None, partitioned or prefixed cookie is refused by every browser unless it is
        # secure.
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
        """The key of the visitor who began in this browser, if it tells one."""
        name = self._own_name(self.attributes(request))
        read = (_read(self._own_signer, value, self._settings) for value in _values(request, name))
        return {visitor.key for visitor in read if visitor}


def _values(request: Request, name: str) -> Iterator[str]:
    """The values of a cookie's name that may be ours, in the order in which the browser sent them.

    Browsers know no quotes: a parser that does, as Werkzeug's, takes all between two broken
    cookies of one quotation mark each for the value of the first.
    """
    parts = (part.partition("=") for part in request.headers.get("Cookie", "").split(";"))
    # Of blanks these two alone, as browsers have it: a name that begins with another one is not
    # held to what a prefix such as __Host- promises.
    values = (value.strip(" \t") for key, _, value in parts if key.strip(" \t") == name)
    return islice((value for value in values if _SIGNED.fullmatch(value)), MAX_COOKIES)


def _own_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    path = "/" if attributes["secure"] else attributes["path"]
    return {**attributes, "domain": None, "path": path}


class VisitorToken:
    """What stands for the cookie on pages of other origins, where browsers keep no cookie of ours.

    As long-lived as the cookie, and rolling: each mint signs it anew. It is good on the pages of
    one origin only, so that what one site that shows the chat keeps of its visitors tells another
    one nothing.

    :param keys: the signing keys, the newest last.
    :param kit: the kit's name, which salts the signature: another kit's token is nobody's here.
    :param settings: its age.
    """

    def __init__(self, keys: Sequence[bytes], kit: str, settings: Settings) -> None:
        self._keys = keys
        self._kit = kit
        self._settings = settings

    def read(self, request: Request, origin: str) -> Visitor | None:
        """The visitor whose token this is; None for one that is missing, damaged or expired.

        :param origin: where the page that shows it comes from.
        """
        return _read(self._signer(origin), request.headers.get(HEADER, ""), self._settings)

    def is_of_other_key(self, request: Request, origin: str) -> bool:
        """Whether it was signed a moment ago by a key that this process does not have."""
        return _is_of_other_key(self._signer(origin), request.headers.get(HEADER, ""))

    def sign(self, visitor: Visitor, origin: str) -> str:
        """The token by which an anonymous visitor is known on pages of an origin from now on."""
        return _sign(self._signer(origin), visitor)

    def _signer(self, origin: str) -> TimestampSigner:
        # No kit's name has a dot, and no other purpose a slash: no two salts are equal.
        return signer(TimestampSigner, self._keys, f"visitor-token.{origin}", self._kit)


def _sign(by: TimestampSigner, visitor: Visitor) -> str:
    return by.sign(visitor.key.removeprefix("anon:")).decode("ascii")


def _read(by: TimestampSigner, value: str, settings: Settings) -> Visitor | None:
    if not _SIGNED.fullmatch(value):
        return None
    raw = unsign_timely(by, value, time.time(), settings.cookie_max_age)
    return Visitor(f"anon:{raw.decode()}", known=True) if raw is not None else None


def _is_of_other_key(by: TimestampSigner, value: str) -> bool:
    return bool(
        _SIGNED.fullmatch(value)
        and is_timely(claimed_time(value), time.time(), ROLLOUT_SECONDS)
        and not by.validate(value)
    )
