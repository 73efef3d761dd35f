"""Random ids, page sizes, and how long a repeated message counts as a retry."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from chatkit.store import StoreItemType

#: Entries of a page by default, and at most.
PAGE = 20
LONGEST_PAGE = 100

#: Seconds after a complete answer in which the same message counts as a retry.
SAME_SECONDS = 3.0

#: openai-chatkit's prefixes of ids.
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
    """A new id of 128 random bits; openai-chatkit's own have 32."""
    return f"{PREFIXES[kind]}_{secrets.token_hex(16)}"


def page_size(limit: int | None) -> int:
    """The number of entries of a page for a requested limit."""
    return min(max(limit, 1), LONGEST_PAGE) if limit else PAGE
