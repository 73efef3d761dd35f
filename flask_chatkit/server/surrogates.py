"""Lone surrogates, which JSON allows and UTF-8 does not: they are joined, or become U+FFFD.

They come from a model that streams a character in two deltas, a string that was cut in JavaScript,
or a tool that reads another program's output. A string with one can't be stored or sent.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar, cast

from chatkit.types import (
    AssistantMessageContentPartTextDelta,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
)
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

T = TypeVar("T")

_HALF = re.compile("[\ud800-\udfff]")
#: An escape in JSON: a pair of surrogates, a lone one, or any other, which is skipped.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def whole(text: str) -> str:
    """The string with adjacent surrogates joined, and U+FFFD for lone ones."""
    if text.isascii() or not _HALF.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def whole_json(body: bytes) -> bytes:
    """JSON without escapes of lone surrogates."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], body)


def clean(value: T) -> T:
    """A value without lone surrogates; the same object if it has none.

    :param value: a string, a pydantic model, or lists and dicts of these.
    """
    kept: Any = value
    if isinstance(value, str):
        kept = whole(value)
    elif isinstance(value, BaseModel):
        fields = {**value.__dict__, **(value.__pydantic_extra__ or {})}
        changed = {name: new for name, old in fields.items() if (new := clean(old)) is not old}
        kept = value.model_copy(update=changed) if changed else value
    elif isinstance(value, dict):
        pairs = [(clean(key), clean(old)) for key, old in value.items()]
        same = all(a is c and b is d for (a, b), (c, d) in zip(pairs, value.items(), strict=True))
        kept = value if same else dict(pairs)
    elif isinstance(value, (list, tuple)):
        parts = [clean(old) for old in value]
        same = all(new is old for new, old in zip(parts, value, strict=True))
        kept = value if same else type(value)(parts)
    return cast("T", kept)


async def clean_events(
    events: AsyncIterator[ThreadStreamEvent],
) -> AsyncIterator[ThreadStreamEvent]:
    """Events without lone surrogates; those at the border of two deltas are joined."""
    held: dict[str, tuple[ThreadItemUpdatedEvent, str]] = {}
    async for event in events:
        if _is_plain(event) and not held:
            # Nearly all events; walking through one costs as much as serialising it.
            yield event
            continue
        delta = _delta(event)
        if delta is None:
            for former, half in _ended(held, event):
                yield clean(_with_delta(former, half))
            yield clean(event)
            continue
        updated = cast("ThreadItemUpdatedEvent", event)
        text = held.pop(updated.item_id)[1] + delta if updated.item_id in held else delta
        if text and "\ud800" <= text[-1] <= "\udbff":
            held[updated.item_id] = (updated, text[-1])
            text = text[:-1]
        if text or not delta:
            yield clean(_with_delta(updated, text))


def _is_plain(event: ThreadStreamEvent) -> bool:
    """Whether an event is an ASCII delta of an answer's text, without surrogates."""
    if type(event) is not ThreadItemUpdatedEvent:
        return False
    update = event.update
    if type(update) is not AssistantMessageContentPartTextDelta:
        return False
    text = update.delta
    return event.item_id.isascii() and text.isascii() and bool(text)


def _delta(event: ThreadStreamEvent) -> str | None:
    update = event.update if isinstance(event, ThreadItemUpdatedEvent) else None
    found = getattr(update, "delta", None)
    return found if isinstance(found, str) else None


def _with_delta(event: ThreadItemUpdatedEvent, text: str) -> ThreadItemUpdatedEvent:
    if getattr(event.update, "delta", None) == text:
        return event
    return event.model_copy(update={"update": event.update.model_copy(update={"delta": text})})


def _ended(
    held: dict[str, tuple[ThreadItemUpdatedEvent, str]], event: ThreadStreamEvent
) -> list[tuple[ThreadItemUpdatedEvent, str]]:
    """The held surrogate of the item that an event is about."""
    item_id = getattr(event, "item_id", None) or getattr(getattr(event, "item", None), "id", None)
    return [held.pop(item_id)] if item_id in held else []


def serialize_whole(serialize: Callable[[BaseModel], bytes], obj: BaseModel) -> bytes:
    """Serialize a model; lone surrogates, which can't be, are replaced."""
    try:
        return serialize(obj)
    except PydanticSerializationError:
        return serialize(clean(obj))


async def clean_output(
    stream: Callable[[], AsyncIterator[ThreadStreamEvent]], thread: ThreadMetadata
) -> AsyncIterator[ThreadStreamEvent]:
    """Like :func:`clean_events`; cleans the title and metadata of the thread as well."""
    try:
        async for event in clean_events(stream()):
            _clean_thread(thread)
            yield event
    finally:
        _clean_thread(thread)


def _clean_thread(thread: ThreadMetadata) -> None:
    """Clean what the site's code may have set on a thread."""
    # Called for each event: what is empty or clean is not set again.
    if (title := thread.title) and (clean_title := clean(title)) is not title:
        thread.title = clean_title
    if (metadata := thread.metadata) and (clean_metadata := clean(metadata)) is not metadata:
        thread.metadata = clean_metadata
