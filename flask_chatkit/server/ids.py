"""Ids that nobody guesses, sizes of pages, and how long a repeated message is the same one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from chatkit.store import StoreItemType

#: Entries of a page: when nobody asks for a number, and at most.
PAGE = 20
LONGEST_PAGE = 100

#: Seconds in which the same message sent again is the same message, once it was answered well.
SAME_SECONDS = 3.0

#: What the package's own ids begin with.
PREFIXES: Mapping[StoreItemType, str] = {
    "thread": "thr",
    "message": "msg",
    "tool_call": "tc",
    "workflow": "wf",
    "task": "tsk",
    "attachment": "atc",
    "sdk_hidden_context": "shcx",
}


def new_id(kind: StoreItemType) -> str:
    """A new id that nobody guesses: 128 bits, where the package's own have 32."""
    return f"{PREFIXES[kind]}_{secrets.token_hex(16)}"


def page_size(limit: int | None) -> int:
    """How many entries a page has when a browser asks for ``limit``."""
    return min(max(limit, 1), LONGEST_PAGE) if limit else PAGE
