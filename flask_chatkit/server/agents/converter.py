"""Turns a thread's items into what a model is told."""

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

#: Characters of a text file that an agent is told at most.
FILE_CHARACTERS = 100_000


class ToldFiles(Protocol):
    """The files of an answer."""

    def as_told(self, attachment: Attachment) -> ResponseInputContentParam:
        """A file as the model is told it."""


class Converter(ThreadItemConverter):
    """Turns a thread's items into what a model is told.

    :param files: how files are told.
    :param recalled: what tools returned; see :func:`~.agents.memory.recall`.
    """

    def __init__(
        self,
        files: ToldFiles,
        recalled: Mapping[str, list[TResponseInputItem]] = MappingProxyType({}),
    ) -> None:
        self._files = files
        self._recalled = recalled

    @override
    async def attachment_to_message_content(
        self, attachment: Attachment
    ) -> ResponseInputContentParam:
        """A file: itself with its own message, and in words afterwards."""
        return self._files.as_told(attachment)

    @override
    async def tag_to_message_content(self, tag: UserMessageTagContent) -> ResponseInputContentParam:
        """What the page knows of an @-mention."""
        known = {"id": tag.id, "name": tag.text, "group": tag.group, "data": tag.data or None}
        told = {key: value for key, value in known.items() if value is not None}
        return _text(f"@{tag.text} is: {json.dumps(told, ensure_ascii=False, default=str)}")

    @override
    async def user_message_to_input(
        self, item: UserMessageItem, is_last_message: bool = True
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        """A message; one of files alone has no empty text, which some models refuse."""
        told = await super().user_message_to_input(item, is_last_message)
        for one in cast("list[Any]", told):
            parts = [part for part in one["content"] if part.get("text") != ""]
            one["content"] = parts or one["content"]
        return told

    @override
    async def assistant_message_to_input(
        self, item: AssistantMessageItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        """What the agent said, as text alone, which is what every model's adapter takes.

        The one for chat completions refuses the parts that the package makes (1.6.5).
        """
        text = text_of(item)
        return (
            EasyInputMessageParam(type="message", role="assistant", content=text) if text else None
        )

    @override
    async def hidden_context_to_input(
        self, item: HiddenContextItem
    ) -> TResponseInputItem | list[TResponseInputItem] | None:
        """Hidden context; what is not text is told as JSON."""
        if is_memory(item):
            return self._recalled.get(item.id)
        if not isinstance(item.content, str):
            text = json.dumps(item.content, ensure_ascii=False, default=str)
            item = item.model_copy(update={"content": text})
        return await super().hidden_context_to_input(item)


def _text(text: str) -> ResponseInputTextParam:
    return ResponseInputTextParam(type="input_text", text=text)


def drop_unpaired_calls(items: Sequence[TResponseInputItem]) -> list[TResponseInputItem]:
    """What a model is told, without a tool's call that has no output, and the other way round."""
    found: dict[str, set[str]] = {"function_call": set(), "function_call_output": set()}
    for item in items:
        kind = str(item.get("type"))
        if kind in found:
            found[kind].add(str(item.get("call_id")))
    whole = found["function_call"] & found["function_call_output"]
    return [
        item for item in items if item.get("type") not in found or str(item.get("call_id")) in whole
    ]
