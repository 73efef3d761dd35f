"""The signed token that stands for the visitor cookie on pages of other origins."""

from __future__ import annotations

from collections.abc import Sequence

from itsdangerous import TimestampSigner
from werkzeug.wrappers import Request

from ..config import Settings
from .cookie import is_of_other_key, read_visitor, sign_visitor
from .signing import signer
from .visitor import Visitor

#: The header in which a page of another origin sends its visitor's token; empty without one.
HEADER = "X-ChatKit-Visitor"


class VisitorToken:
    """Stands for the cookie on pages of other origins, where browsers keep no cookie of ours.

    It lives as long as the cookie, and each mint renews it. It is valid on the pages of one origin
    only, so that no two sites that embed the chat can match their visitors.

    :param keys: the signing keys, the newest last.
    :param kit: the kit's name, which salts the signature: another kit's token is not valid here.
    :param settings: the kit's settings, with the maximum age.
    """

    def __init__(self, keys: Sequence[bytes], kit: str, settings: Settings) -> None:
        self._keys = keys
        self._kit = kit
        self._settings = settings

    def read(self, request: Request, origin: str) -> Visitor | None:
        """Return the token's visitor; None if it is missing, damaged or expired.

        :param origin: the origin of the page that sends it.
        """
        return read_visitor(self._signer(origin), request.headers.get(HEADER, ""), self._settings)

    def is_of_other_key(self, request: Request, origin: str) -> bool:
        """Whether the token was recently signed by a key that this process does not have."""
        return is_of_other_key(self._signer(origin), request.headers.get(HEADER, ""))

    def sign(self, visitor: Visitor, origin: str) -> str:
        """Sign a token for an anonymous visitor on the pages of an origin."""
        return sign_visitor(self._signer(origin), visitor)

    def _signer(self, origin: str) -> TimestampSigner:
        # No kit's name has a dot, and no other purpose a slash: no two salts are equal.
        return signer(TimestampSigner, self._keys, f"visitor-token.{origin}", self._kit)
