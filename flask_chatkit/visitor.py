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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData, TimestampSigner
from werkzeug.wrappers import Request, Response

from .config import Settings
from .signing import SIGNATURE, signer

#: Seconds for which an anonymous visitor is new.
NEW_SECONDS = 86400

#: Characters of a login's id; OpenAI gets it with each session.
LONGEST_ID = 512

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
        return 0 <= time.time() - int.from_bytes(raw[:4], "big") < NEW_SECONDS

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

    :param keys: the signing keys, the newest last.
    :param kit: the kit's name, which salts the signature: another kit's cookie is nobody's here.
    :param settings: name, age and attributes.
    :param path: where the kit is mounted, without the script root.
    """

    def __init__(self, keys: Sequence[bytes], kit: str, settings: Settings, path: str) -> None:
        self._signer = signer(TimestampSigner, keys, "visitor", kit)
        self._settings = settings
        self._path = path
        self.name = settings.cookie_name + ("" if kit == "chatkit" else f"_{kit}")

    def read(self, request: Request) -> Visitor | None:
        """The visitor whose cookie this is; None for one that is missing, damaged or expired."""
        return _read(self._signer, request.cookies.get(self.name, ""), self._settings)

    def clear(self, request: Request, response: Response) -> None:
        """Forget the anonymous visitor, who is somebody else from now on."""
        response.delete_cookie(self.name, **self.attributes(request))

    def write(self, request: Request, response: Response, visitor: Visitor) -> None:
        """Remember an anonymous visitor from now on."""
        response.set_cookie(
            self.name,
            _sign(self._signer, visitor),
            max_age=self._settings.cookie_max_age,
            **self.attributes(request),
        )

    def attributes(self, request: Request) -> dict[str, Any]:
        """The cookie's attributes, without which a browser keeps it apart from the one it has."""
        settings = self._settings
        # A SameSite=None or partitioned cookie is refused by every browser unless it is secure.
        secure = (
            settings.cookie_secure
            if settings.cookie_secure is not None
            else request.is_secure
            or settings.cookie_samesite == "None"
            or settings.cookie_partitioned
        )
        return {
            "path": settings.cookie_path or request.root_path.rstrip("/") + self._path,
            "domain": settings.cookie_domain,
            "secure": secure,
            "httponly": True,
            "samesite": settings.cookie_samesite,
            "partitioned": settings.cookie_partitioned,
        }


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
    try:
        raw = by.unsign(value, max_age=settings.cookie_max_age)
    except BadData:
        return None
    return Visitor(f"anon:{raw.decode()}", known=True)
