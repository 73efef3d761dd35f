"""Who is chatting: a login of the site's, or an anonymous visitor."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass

from werkzeug.utils import cached_property

from .signing import CLOCK_TOLERANCE

#: Seconds for which an anonymous visitor counts as new.
NEW_SECONDS = 86400

#: Most characters of a login's id; OpenAI receives it with each session.
LONGEST_ID = 512


# Werkzeug's cached_property: before Python 3.12 that of functools locks all visitors of a process.
@dataclass(frozen=True)
class Visitor:
    """Who is chatting.

    :param key: the id with its namespace, ``user:…`` or ``anon:…``, so the two can't collide,
        whatever ids a site's login uses. OpenAI gets it as ``user``.
    :param known: whether the visitor came with proof of who they are. Otherwise the visitor is new
        with this request, and is counted by address.
    """

    key: str
    known: bool

    @classmethod
    def login(cls, user_id: str) -> Visitor:
        """Make the visitor of a login.

        :param user_id: the login's id.
        """
        return cls(f"user:{user_id}", known=True)

    @classmethod
    def from_key(cls, key: str) -> Visitor:
        """Make the visitor that a key names: ``user:<login id>``, ``anon:<id>`` or a login id.

        :raises ValueError: the key is empty, too long or not printable; the message names the
            accepted form.
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
        """Make an anonymous visitor who was never seen before.

        The id holds the time, 32 bits, so that it is known without any storage; 96 bits are random.
        """
        born = int(time.time()).to_bytes(4, "big")
        name = base64.urlsafe_b64encode(born + secrets.token_bytes(12)).rstrip(b"=")
        return cls(f"anon:{name.decode('ascii')}", known=False)

    @property
    def is_new(self) -> bool:
        """Whether this is an anonymous visitor who was first seen within a day."""
        if not self.is_anonymous:
            return False
        try:
            raw = base64.urlsafe_b64decode(self.key.removeprefix("anon:") + "==")
        except ValueError:
            return False
        # The clock of the host that made the id may be ahead.
        born = int.from_bytes(raw[:4], "big")
        return -CLOCK_TOLERANCE <= time.time() - born < NEW_SECONDS

    @cached_property
    def is_anonymous(self) -> bool:
        """Whether the cookie or the token, not the login, identifies the visitor."""
        return self.key.startswith("anon:")

    @property
    def user_id(self) -> str | None:
        """The login's id, as ``user_loader`` returned it; None for an anonymous visitor."""
        return None if self.is_anonymous else self.key.removeprefix("user:")

    @cached_property
    def digest(self) -> str:
        """An identifier of the visitor that does not reveal the id: 128 bits of SHA-256, in hex."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]
