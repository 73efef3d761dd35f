"""Server-sent events: how they are written, and merged for a client that is behind."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

#: A comment line. With a second newline ChatKit's client would read it as an empty message.
HEARTBEAT = b": hb\n"

#: Seconds that the oldest of some events has waited when they are merged: below that nothing is
#: late, and each event stays as it was written.
MERGE_AFTER = 0.03
#: The same for a client that reads too slowly, or a server that has not begun to send.
READ_LATE = 0.2

#: How ``ChatKitServer`` writes a delta of an assistant's text (openai-chatkit 1.6.5). Any other
#: form, such as that of a site's own server, is left alone.
_DELTA = re.compile(
    rb'(data: \{"type":"thread\.item\.updated","item_id":"[^"\\]*","update":'
    rb'\{"type":"assistant_message\.content_part\.text_delta","content_index":\d+,"delta":")'
    rb'((?:[^"\\]|\\.)*)("\}\}\n\n)',
    re.DOTALL,
)
_END = b"\n\n"
_START = b'data: {"type":"thread.item.updated"'


def event(**fields: Any) -> bytes:
    """One server-sent event, as ChatKit's client reads it."""
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + _END


def error_event(
    message: str | None = None, *, allow_retry: bool, retry_after: int | None = None
) -> bytes:
    """An error event with our message, or with ChatKit's own if it is None.

    :param retry_after: seconds after which the same call may succeed: a field of ours, for the
        built-in chat, which other clients ignore.
    """
    if message is None:
        return event(type="error", code="stream.error", allow_retry=allow_retry)
    wait = {} if retry_after is None else {"retry_after": retry_after}
    return event(type="error", code="custom", message=message, allow_retry=allow_retry, **wait)


def merged(events: Sequence[bytes]) -> bytes:
    """The events joined; consecutive deltas of the same text become one.

    Nothing is decoded: the contents of two JSON strings can be concatenated as they are.
    """
    if len(events) == 1:
        return events[0]
    parts: list[bytes] = []
    #: What the previous delta begins and ends with.
    start, end = b"", b""
    for event in events:
        if start and event.startswith(start) and event.endswith(end):
            text = event[len(start) : -len(end)]
            if b'"' not in text or _DELTA.fullmatch(event):
                parts.append(text)
                continue
        if start:
            parts.append(end)
            start = b""
        found = _DELTA.fullmatch(event) if event.startswith(_START) else None
        if found is None:
            parts.append(event)
        else:
            start, text, end = found.groups()
            parts += [start, text]
    if start:
        parts.append(end)
    return b"".join(parts)


def merged_chunks(chunks: Sequence[bytes]) -> bytes:
    """Like :func:`merged`, for chunks of one or more whole events each."""
    whole = b"".join(chunks)
    if len(chunks) == 1 or not whole.endswith(_END):
        return whole
    return merged([event + _END for event in whole.split(_END)[:-1]])
