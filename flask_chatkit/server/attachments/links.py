"""Signed links to attachments: each for one visitor, one attachment, one purpose and some hours.

ChatKit displays pictures in a frame of another origin, which sends no cookie of the site: the link
alone identifies the visitor. Where a cookie is sent, both must agree.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from chatkit.types import Attachment, ImageAttachment
from itsdangerous import BadData, Signer, base64_decode, base64_encode
from pydantic import AnyUrl

from ...identity.signing import SIGNATURE, signer
from ..context import ChatContext, as_context

Purpose = Literal["read", "write"]

#: The expiry time and owner, and the signature, each in its exact form.
_TOKEN = re.compile(rf"([A-Za-z0-9_-]{{8,4096}})\.({SIGNATURE})")


class Links:
    """Signs and reads the links of one kit.

    A link names its owner by :func:`owner_name <flask_chatkit.server.context.owner_name>` only,
    because it appears in logs and in ChatKit's frame, which must not see a login's id.

    :param keys: the signing keys, the newest last.
    :param kit: the kit's name, which salts the signature.
    :param max_age: seconds for which a link is valid at most; at least three quarters of it.
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
        # Expiry times are rounded, so that a picture keeps its URL and stays cached.
        step = max(1, self._max_age // 4)
        ends = (int(self._clock()) + self._max_age) // step * step
        payload = base64_encode(f"{ends}:{meant.owner}").decode("ascii")
        signed = _signed(payload, attachment_id, meant.chat)
        return f"{payload}.{self._signers[purpose].get_signature(signed).decode('ascii')}"

    def read(self, token: str, attachment_id: str, chat: str, *, purpose: Purpose) -> str | None:
        """The owner of a link; None if it is damaged, expired or for something else.

        :param attachment_id: the requested attachment.
        :param chat: the name of the requested chat.
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

    def sign_links(self, attachment: Attachment, context: ChatContext) -> Attachment:
        """The attachment with fresh links.

        Attachments that another server made before this one keep their links.
        """
        if not is_ours(attachment):
            return attachment
        update: dict[str, Any] = {}
        if isinstance(attachment, ImageAttachment):
            update["preview_url"] = AnyUrl(self.url(attachment.id, context))
        if attachment.upload_descriptor is not None:
            url = AnyUrl(self.url(attachment.id, context, purpose="write"))
            update["upload_descriptor"] = attachment.upload_descriptor.model_copy(
                update={"url": url}
            )
        return attachment.model_copy(update=update)


def is_ours(attachment: Attachment) -> bool:
    """Whether the attachment was uploaded here, so that its bytes are in the kit's files."""
    return "uploaded" in (attachment.metadata or {})


def _signed(payload: str, attachment_id: str, chat: str) -> bytes:
    """What is signed: the token's payload, and what the URL names anyway."""
    return f"{payload}\0{attachment_id}\0{chat}".encode()
