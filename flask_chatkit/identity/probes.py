"""Signed probes, by which the doctor learns what reaches a running site through its proxies.

A probe is a header on calls of the kit. It is signed with the application's ``SECRET_KEY``, so
that only the doctor, which has the same configuration, can make one.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from itsdangerous import TimestampSigner

from .signing import CLOCK_TOLERANCE, SIGNATURE, signer, unsign_timely

#: The header that carries a probe.
HEADER = "X-ChatKit-Probe"
Purpose = Literal["look", "stream", "body"]

_SIGNED = re.compile(rf"(look|stream|body)-[0-9a-f]{{16}}\.[A-Za-z0-9_-]{{1,12}}\.{SIGNATURE}")


@dataclass(frozen=True)
class Probe:
    """One probe.

    :param purpose: what the site is to return: what it received (``look``), some events over a
        while (``stream``), or how many bytes arrived (``body``).
    :param nonce: identifies the doctor's own marks in the storage of the limits.
    """

    purpose: Purpose
    nonce: str


class Probes:
    """Signs and reads the probes of one kit.

    :param keys: the signing keys, the newest last.
    :param kit: the kit's name, which salts the signature.
    :param clock: returns Unix seconds.
    """

    def __init__(
        self, keys: Sequence[bytes], kit: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._signer = signer(TimestampSigner, keys, "doctor-probe", kit)
        self._clock = clock

    def sign(self, purpose: Purpose, nonce: str | None = None) -> str:
        """Return the header's value for a probe.

        :param nonce: 16 hexadecimal digits; random by default.
        """
        return self._signer.sign(f"{purpose}-{nonce or secrets.token_hex(8)}").decode("ascii")

    def read(self, value: str) -> Probe | None:
        """Return the probe; None for one that is not genuine, or too old."""
        if not _SIGNED.fullmatch(value):
            return None
        raw = unsign_timely(self._signer, value, self._clock(), CLOCK_TOLERANCE)
        if raw is None:
            return None
        purpose, _, nonce = raw.decode("ascii").partition("-")
        return Probe(cast("Purpose", purpose), nonce)
