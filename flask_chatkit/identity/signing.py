"""Signing: one algorithm for cookies, tokens, sessions and probes.

Base64 decoders skip characters outside their alphabet, and a last character with spare bits can be
spelled in several ways. So the digest has 48 bytes, which fill 64 characters, and readers check the
form first: each signed string has exactly one spelling.

Several hosts sign and read, and their clocks differ. Times up to :data:`CLOCK_TOLERANCE` apart are
taken as equal, so that others accept what a host signs whose clock is ahead. Expiry is judged by
the clock of the host that reads: nothing is valid for longer than it states.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from flask import current_app
from itsdangerous import BadData, Signer, TimestampSigner, base64_decode

from ..config import signing_keys
from ..errors import ConfigurationError, Misconfigured

S = TypeVar("S", bound=Signer)

#: Seconds by which the clocks of two hosts may differ.
CLOCK_TOLERANCE = 300

#: The form of a signature.
SIGNATURE = "[A-Za-z0-9_-]{64}"


def current_keys() -> list[bytes]:
    """The signing keys of the current application, the newest last.

    :raises Misconfigured: ``SECRET_KEY`` is not set, or a key is not of the accepted form.
    """
    try:
        keys = signing_keys(current_app.config)
    except ConfigurationError as error:
        raise Misconfigured(detail=str(error)) from None
    if not keys:
        raise Misconfigured(detail="SECRET_KEY is not set; it signs the visitor cookie")
    return keys


def signer(kind: type[S], keys: Sequence[bytes], purpose: str, kit: str) -> S:
    """Make a signer whose signatures are valid for one purpose of one kit.

    :param kind: one of itsdangerous's signers.
    :param keys: the signing keys, the newest last.
    :param kit: the kit's name: another kit's signatures are not valid here.
    """
    return kind(
        list(keys),
        salt=f"flask-chatkit.{purpose}.{kit}",
        key_derivation="hmac",
        digest_method=hashlib.sha384,
    )


def is_timely(made: float, now: float, seconds: float) -> bool:
    """Whether a time lies within the last seconds, allowing for clocks that differ.

    :param made: the time, in Unix seconds.
    :param now: the time here, in Unix seconds.
    """
    return -CLOCK_TOLERANCE <= now - made <= seconds


def unsign_timely(by: TimestampSigner, value: str, now: float, seconds: float) -> bytes | None:
    """Return the signed value; None if it is not genuine, or too old."""
    try:
        raw, signed_at = by.unsign(value, return_timestamp=True)
    except BadData:
        return None
    return raw if is_timely(signed_at.timestamp(), now, seconds) else None


def claimed_time(value: str) -> int:
    """The time of signing that a value claims, in Unix seconds, without a check; 0 for none."""
    try:
        return int.from_bytes(base64_decode(value.rsplit(".", 2)[-2]), "big")
    except (BadData, IndexError):
        return 0
