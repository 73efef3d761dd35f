"""How the kit signs: one choice of algorithm for all that it hands out.

Base64 decoders skip what is not in their alphabet, and a last character with spare bits has
several spellings. So the digest is one whose 48 bytes fill their 64 characters, and whoever reads
what was signed checks its form first: each signed text has one spelling.

Several hosts sign and read, and their clocks are never equal. What differs by no more than
:data:`CLOCK_TOLERANCE` is taken for the same time: what a host signs that is ahead holds on the
others. An end stays the end, by the clock of the host that looks: nothing is good for longer than
it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from itsdangerous import BadData, Signer, TimestampSigner, base64_decode

S = TypeVar("S", bound=Signer)

#: Seconds by which the clocks of two hosts may differ.
CLOCK_TOLERANCE = 300

#: The form of a signature.
SIGNATURE = "[A-Za-z0-9_-]{64}"


def signer(kind: type[S], keys: Sequence[bytes], purpose: str, kit: str) -> S:
    """A signer whose signatures are good for one purpose of one kit.

    :param kind: one of itsdangerous's signers.
    :param keys: the signing keys, the newest last.
    :param kit: the kit's name: another kit's signature is nobody's here.
    """
    return kind(
        list(keys),
        salt=f"flask-chatkit.{purpose}.{kit}",
        key_derivation="hmac",
        digest_method=hashlib.sha384,
    )


def is_timely(made: float, now: float, seconds: float) -> bool:
    """Whether something that is good for some seconds was made in time, by clocks that differ.

    :param made: when it was made, in Unix seconds.
    :param now: the time here.
    """
    return -CLOCK_TOLERANCE <= now - made <= seconds


def unsign_timely(by: TimestampSigner, value: str, now: float, seconds: float) -> bytes | None:
    """What was signed; None if it is not genuine, or not timely."""
    try:
        raw, signed_at = by.unsign(value, return_timestamp=True)
    except BadData:
        return None
    return raw if is_timely(signed_at.timestamp(), now, seconds) else None


def claimed_time(value: str) -> int:
    """When a value says that it was signed, in Unix seconds, by whichever key; 0 for none."""
    try:
        return int.from_bytes(base64_decode(value.rsplit(".", 2)[-2]), "big")
    except (BadData, IndexError):
        return 0
