"""Signed links to attachments: each good for one visitor, one attachment, one purpose, a while.

ChatKit shows pictures in a frame of another site, which sends no cookie of ours: the link alone
tells who is asking. Whoever gets a cookie as well compares the two.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Literal

from itsdangerous import BadData, Signer, base64_decode, base64_encode

from ...identity.signing import SIGNATURE, signer
from ..context import as_context

Purpose = Literal["read", "write"]

#: When it ends and whose it is, and the signature, in their exact form.
_TOKEN = re.compile(rf"([A-Za-z0-9_-]{{8,4096}})\.({SIGNATURE})")


class Links:
    """Signs and reads the links of one kit.

    A link tells its owner by :func:`owner_name <flask_chatkit.server.context.owner_name>` only: it
    ends up in logs and in ChatKit's frame, where a login's id is nobody's business.

    :param keys: the signing keys, the newest last.
    :param kit: the kit's name, which salts the signature.
    :param max_age: seconds that a link is good for, at most; never less than three quarters of it.
    :param clock: Unix seconds.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        kit: str,
        max_age: int = 86400,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signers: dict[Purpose, Signer] = {
            "read": signer(Signer, keys, "attachment.read", kit),
            "write": signer(Signer, keys, "attachment.write", kit),
        }
        self._max_age = max_age
        self._clock = clock

    def sign(self, attachment_id: str, context: object, *, purpose: Purpose) -> str:
        """A token for the query string, for the visitor and chat of a context."""
        meant = as_context(context)
        # Ends fall on a coarse grid, so that a picture keeps its URL, and its place in the cache.
        step = max(1, self._max_age // 4)
        ends = (int(self._clock()) + self._max_age) // step * step
        payload = base64_encode(f"{ends}:{meant.owner}").decode("ascii")
        signed = _signed(payload, attachment_id, meant.chat)
        return f"{payload}.{self._signers[purpose].get_signature(signed).decode('ascii')}"

    def read(self, token: str, attachment_id: str, chat: str, *, purpose: Purpose) -> str | None:
        """The owner whose link it is; None for one that is damaged, expired or for something else.

        :param attachment_id: the attachment that is asked for.
        :param chat: the name of the chat that is asked.
        """
        form = _TOKEN.fullmatch(token)
        if form is None:
            return None
        payload, signature = form.groups()
        signed = _signed(payload, attachment_id, chat)
        if not self._signers[purpose].verify_signature(signed, signature):
            return None
        try:
            ends, _, owner = base64_decode(payload).decode().partition(":")
            good = int(ends) > self._clock()
        except (BadData, ValueError):  # pragma: no cover - nobody else can have signed it
            return None
        return owner if good else None

    def url(self, attachment_id: str, context: object, *, purpose: Purpose = "read") -> str:
        """The absolute URL of an attachment, with its token."""
        token = self.sign(attachment_id, context, purpose=purpose)
        return f"{as_context(context).url}attachments/{attachment_id}?link={token}"


def _signed(payload: str, attachment_id: str, chat: str) -> bytes:
    """What is signed: more than the token holds, for the rest stands in the URL already."""
    return f"{payload}\0{attachment_id}\0{chat}".encode()
