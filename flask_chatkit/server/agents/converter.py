"""Converts a thread's items to a model's input."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, cast

from agents import TResponseInputItem
from chatkit.agents import ThreadItemConverter
from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    HiddenContextItem,
    UserMessageItem,
    UserMessageTagContent,
)
from openai.types.responses import (
    EasyInputMessageParam,
    ResponseInputContentParam,
    ResponseInputTextParam,
)
from typing_extensions import override

from ..assistants.messages import text_of
from ..history.tool_outputs import is_memory

#: Characters of a text file that are sent to an agent at most.
FILE_CHARACTERS = 100_000


class FileParts(Protocol):
    """The files of an answer."""

    def part_of(self, attachment: Attachment) -> ResponseInputContentParam:
        """Return the content for a file."""


class Converter(ThreadItemConverter):
    """Converts a thread's items to a model's input.

    :param files: returns the content of attachments.
    :param recalled: outputs of tools; see :func:`~.agents.memory.recall`.
    """

    def __init__(
        self,
        files: FileParts,
        recalled: Mapping[str, list[TResponseInputItem]] = MappingProxyType({}),
    ) -> None:
        self._files = files
        self._recalled = recalled

    @override
    async def attachment_to_message_content(
        self, attachment: Attachment
    ) -> ResponseInputContentParam:
        """Return the content for an attachment."""
        return self._files.part_of(attachment)

    @override
    async def tag_to_message_content(self, tag: UserMessageTagContent) -> ResponseInputContentParam:
        """Describe an @-mention with the page's data."""
        known = {"id": tag.id, "name": tag.text, "group": tag.group, "data": tag.data or None}
        given = {key: value for key, value in known.items() if value is not None}
        return text_part(f"@{tag.text} is: {json.dumps(given, ensure_ascii=False, default=str)}")

    @override
    async def user_message_to_input(
        self, item: UserMessageItem, is_last_message: bool = True
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        """Convert a message, without an empty text, which some models refuse."""
        converted = await super().user_message_to_input(item, is_last_message)
        for one in cast("list[Any]", converted):
            parts = [part for part in one["content"] if part.get("text") != ""]
            one["content"] = parts or one["content"]
        return converted

    @override
    async def assistant_message_to_input(
        self, item: AssistantMessageItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        """Convert an answer to a string: some adapters refuse ChatKit's parts (1.6.5)."""
        text = text_of(item)
        return (
            EasyInputMessageParam(type="message", role="assistant", content=text) if text else None
        )

    @override
    async def hidden_context_to_input(
        self, item: HiddenContextItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        """Convert hidden context; anything but a string becomes JSON."""
        if is_memory(item):
            return self._recalled.get(item.id)
        if not isinstance(item.content, str):
            text = json.dumps(item.content, ensure_ascii=False, default=str)
            item = item.model_copy(update={"content": text})
        return await super().hidden_context_to_input(item)


def text_part(text: str) -> ResponseInputTextParam:
    """Build the content for a text."""
    return ResponseInputTextParam(type="input_text", text=text)


def drop_unpaired_calls(items: Sequence[TResponseInputItem]) -> list[TResponseInputItem]:
    """Return a model's input without tool calls that have no output, and vice versa."""
    found: dict[str, set[str]] = {"function_call": set(), "function_call_output": set()}
    for item in items:
        kind = str(item.get("type"))
        if kind in found:
            found[kind].add(str(item.get("call_id")))
    whole = found["function_call"] & found["function_call_output"]
    return [
        item for item in items if item.get("type") not in found or str(item.get("call_id")) in whole
    ]
