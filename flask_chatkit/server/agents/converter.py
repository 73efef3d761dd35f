"""Turns a thread's items into what a model is told."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

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
    ResponseInputFileParam,
    ResponseInputImageParam,
    ResponseInputTextParam,
)
from typing_extensions import override

from ..chat import text_of
from .memory import is_memory

#: Characters of a text file that an agent is told at most.
FILE_CHARACTERS = 100_000
#: The images that models can look at; any other would make each later answer fail too.
IMAGES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
_TEXTS = re.compile(
    r"text/.*|image/svg\+xml|application/(.*\+)?(json|xml|yaml|toml|sql|javascript|x-yaml|x-sh)"
)
_DOCUMENTS = re.compile(
    r"application/(pdf|rtf|msword|vnd\.(ms-excel|ms-powerpoint|openxmlformats-.*|oasis\..*))"
)


class Converter(ThreadItemConverter):
    """Turns a thread's items into what a model is told.

    :param files: the bytes of attachments by id; None for those that could not be read.
    :param recalled: what tools returned; see :func:`~.agents.memory.recall`.
    """

    def __init__(
        self,
        files: Mapping[str, bytes | None],
        recalled: Mapping[str, list[TResponseInputItem]] = MappingProxyType({}),
    ) -> None:
        self._files = files
        self._recalled = recalled

    @override
    async def attachment_to_message_content(
        self, attachment: Attachment
    ) -> ResponseInputContentParam:
        """A file: an image to look at, a text to read, or the file itself."""
        data = self._files.get(attachment.id)
        kind = attachment.mime_type.partition(";")[0].strip().lower()
        if data is None:
            return _text(
                f"The user attached the file {attachment.name!r}, which can't be read now."
            )
        if _TEXTS.fullmatch(kind):
            return _text(_file_text(attachment.name, data))
        url = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        if kind in IMAGES:
            return ResponseInputImageParam(type="input_image", detail="auto", image_url=url)
        if _DOCUMENTS.fullmatch(kind):
            return ResponseInputFileParam(
                type="input_file", filename=attachment.name, file_data=url
            )
        # A model's service refuses it, and with it each later message of the thread.
        return _text(f"The user attached the file {attachment.name!r} ({kind}): you can't open it.")

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


def _file_text(name: str, data: bytes) -> str:
    # Four bytes a character at most, so that a large file is not decoded whole.
    text = data[: 4 * FILE_CHARACTERS].decode("utf-8", "replace")[:FILE_CHARACTERS]
    cut = "\n(The rest is left out.)" if len(data) > len(text.encode()) else ""
    return f"The user attached the file {name!r}:\n<file>\n{text}\n</file>{cut}"


def paired(items: Sequence[TResponseInputItem]) -> list[TResponseInputItem]:
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
