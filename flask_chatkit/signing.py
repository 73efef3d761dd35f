"""How the kit signs: one choice of algorithm for all that it hands out.

Base64 decoders skip what is not in their alphabet, and a last character with spare bits has
several spellings. So the digest is one whose 48 bytes fill their 64 characters, and whoever reads
what was signed checks its form first: each signed text has one spelling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from itsdangerous import Signer

S = TypeVar("S", bound=Signer)

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
