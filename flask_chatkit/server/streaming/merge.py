"""Deltas that wait for each other become one: the same text in fewer events."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: How ``ChatKitServer`` writes a delta of an assistant's text (openai-chatkit 1.6.5). What is
#: written otherwise, by a site's own server say, is left alone.
_DELTA = re.compile(
    rb'(data: \{"type":"thread\.item\.updated","item_id":"[^"\\]*","update":'
    rb'\{"type":"assistant_message\.content_part\.text_delta","content_index":\d+,"delta":")'
    rb'((?:[^"\\]|\\.)*)("\}\}\n\n)',
    re.DOTALL,
)
_END = b"\n\n"
_START = b'data: {"type":"thread.item.updated"'

#: Seconds that the oldest of some events has waited when they are merged: below that nobody is
#: late, and each stays as it was said.
MERGE_AFTER = 0.03
#: The same of a client that reads too slowly, or of a server that has not begun to send.
READ_LATE = 0.2


def merged(events: Sequence[bytes]) -> bytes:
    """The events as they are written, with deltas of one text that follow each other as one.

    Nothing of it is decoded: two strings of JSON, one after the other, are one.
    """
    if len(events) == 1:
        return events[0]
    parts: list[bytes] = []
    #: What the delta before begins and ends with.
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
    """The same of chunks, each of which has some whole events."""
    whole = b"".join(chunks)
    if len(chunks) == 1 or not whole.endswith(_END):
        return whole
    return merged([event + _END for event in whole.split(_END)[:-1]])
