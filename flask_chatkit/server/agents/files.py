"""The files of a thread: an agent gets those of the message that it answers, and only then."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agents import Agent, FunctionTool, RunContextWrapper
from chatkit.types import Attachment, ThreadItem, UserMessageItem
from openai.types.responses import (
    ResponseInputContentParam,
    ResponseInputFileParam,
    ResponseInputImageParam,
)
from typing_extensions import Self

from ..assistants.messages import ReadAttachment
from ..assistants.workers import call
from ..context import ChatContext
from . import converter
from .budget import CUT, Budget, Share, size_of
from .choices import attachments_of
from .converter import text_part
from .errors import Fault

logger = logging.getLogger("flask_chatkit")

#: The image types that models accept; any other would make each later answer fail, too.
IMAGES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
_TEXTS = re.compile(
    r"text/.*|image/svg\+xml|application/(.*\+)?(json|xml|yaml|toml|sql|javascript|x-yaml|x-sh)"
)
_DOCUMENTS = re.compile(
    r"application/(pdf|rtf|msword|vnd\.(ms-excel|ms-powerpoint|openxmlformats-.*|oasis\..*))"
)
_TOOLS = re.compile(r"tool|function", re.IGNORECASE)
#: The tool with which an agent looks at a file again, and the seconds that it waits for memory.
LOOK = "look_at_file"
LOOK_SECONDS = 5.0
_SENT_ALREADY = "The file is there already, in a message after this."
#: Characters of one look at a text file.
LOOK_CHARACTERS = 20_000


@dataclass
class Files:
    """The files of one answer: those of its message, and those that the agent looks at again.

    :param read: returns a file's bytes; None if the chat has no files.
    :param budget: how much may be sent.
    :param share: the answer's share of the memory for files.
    """

    read: ReadAttachment | None
    context: ChatContext
    budget: Budget
    share: Share
    #: Whether the agent has the tool.
    has_tool: bool = False
    #: The content for each file of the message, by id; None for one that can't be read.
    parts: dict[str, ResponseInputContentParam | None] = field(default_factory=dict)
    #: Text files of which a part was left out.
    cut: list[Attachment] = field(default_factory=list)
    #: Messages with files that the agent has looked at again, for the end of its input.
    reread: list[Any] = field(default_factory=list)
    #: Bytes that the message's files leave, and the sizes of files looked at again, by id.
    _left: int = 0
    _sizes: dict[str, int] = field(default_factory=dict)

    async def prepare(self, message: UserMessageItem | None, characters: int) -> None:
        """Read the files of the message that is answered.

        :param characters: the most that all text files may have together.
        :raises CustomStreamError: other answers use all the memory for files.
        """
        files = [*message.attachments] if message is not None and self.read is not None else []
        planned = self._planned(files)
        if planned:
            # For all at once: two answers that wait for each other's memory would block.
            await self.share.take_or_refuse(planned)
        left, texts = self.budget.bytes, sum(map(is_text, files))
        for attachment in files:
            data = None
            if (size_of(attachment) or 0) <= left:
                data = await self._bytes(attachment)
            data = data if data is not None and len(data) <= left else None
            left -= len(data or b"")
            share = min(characters // max(texts, 1), converter.FILE_CHARACTERS)
            part = await _part(attachment, data, share) if data is not None else None
            self.parts[attachment.id] = part
            if is_text(attachment):
                texts -= 1
                characters -= min(share, len(data or b""))
                if part is not None and part["type"] == "input_text" and part["text"].endswith(CUT):
                    self.cut.append(attachment)
        self._left = left
        if planned:
            self.share.shrink(self.budget.bytes - left)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Drop the bytes, also from content that others refer to until it is collected."""
        reread = [part for message in self.reread for part in message["content"]]
        for part in [*self.parts.values(), *reread]:
            for key in {"image_url", "file_data"} & set(part or ()):
                cast("dict[str, Any]", part)[key] = ""
        self.share.release()

    def _planned(self, files: Sequence[Attachment]) -> int:
        """Return the bytes to read: all of the budget if a size is unknown."""
        left = self.budget.bytes
        for attachment in files:
            size = size_of(attachment)
            if size is None:
                return self.budget.bytes
            left -= size if size <= left else 0
        return self.budget.bytes - left

    def part_of(self, attachment: Attachment) -> ResponseInputContentParam:
        """Return a file's content with its own message, and its description afterwards."""
        return self.parts.get(attachment.id) or self._named(attachment)

    def _named(self, attachment: Attachment) -> ResponseInputContentParam:
        """Describe a file of an earlier message, or one that can't be read."""
        if attachment.id in self.parts or self.read is None:
            return text_part(
                f"The user attached the file {attachment.name!r}, which can't be read now."
            )
        size = size_of(attachment)
        known = [kind_of(attachment), *([f"{size:,} bytes"] if size is not None else [])]
        again = f" Call {LOOK} to look at it again." if self.has_tool else ""
        text = f"The user attached the file {attachment.name!r} ({', '.join(known)}) here."
        return text_part(f"{text} Its content came with this message only.{again}")

    async def _bytes(self, attachment: Attachment) -> bytes | None:
        try:
            data = await call(self.read, attachment, self.context)  # type: ignore[arg-type] # checked
        except Exception:
            # An old file may be gone; the conversation continues without it.
            logger.warning("The file of an attachment could not be read", exc_info=True)
            return None
        return data if isinstance(data, bytes) else bytes(data)

    # --- looking again ----------------------------------------------------------------------------

    def with_tool(self, agent: Agent[Any], items: Sequence[ThreadItem]) -> Agent[Any]:
        """Return the agent with a tool for files of the thread, if there are any.

        An agent whose first tool call ends its run, or that must call a tool, gets none: another
        tool would change its behaviour.
        """
        known = {one.id: one for one in attachments_of(items) if one.id not in self.parts}
        known |= {one.id: one for one in self.cut}
        choice = agent.model_settings.tool_choice
        stops = agent.tool_use_behavior != "run_llm_again" and not isinstance(
            agent.tool_use_behavior, dict
        )
        taken = any(getattr(one, "name", None) == LOOK for one in agent.tools)
        if not known or self.read is None or stops or taken or choice not in {None, "auto"}:
            return agent
        self.has_tool = True
        return agent.clone(tools=[*agent.tools, self._tool(list(known.values()))])

    def drop_tool(self, fault: Fault) -> bool:
        """Drop the tool if the model's service accepts none; return whether it was dropped.

        Models without tools refuse the whole request.
        """
        named = f"{fault.code} {fault.param} {fault.message}"
        is_tools = fault.status in {400, 404, 422} and _TOOLS.search(named) is not None
        if not self.has_tool or not is_tools:
            return False
        self.has_tool = False
        logger.info("A model's service accepts no tools: its agent can't look at files again")
        return True

    def without_dropped(self, agent: Agent[Any]) -> Agent[Any]:
        """Return the agent, without the tool if that was dropped."""
        kept = [one for one in agent.tools if one.name != LOOK]
        return agent if self.has_tool or kept == agent.tools else agent.clone(tools=kept)

    def _tool(self, files: Sequence[Attachment]) -> FunctionTool:
        async def look(_context: RunContextWrapper[Any], arguments: str) -> str:
            return await self._look(files, arguments)

        return FunctionTool(
            name=LOOK,
            description="Look again at a file that the user has attached earlier in this "
            "conversation.",
            params_json_schema={
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "The file's name."},
                    "start": {
                        "type": "integer",
                        "description": "Of a text: the character to begin at, 0 for the first.",
                    },
                },
                "required": ["name", "start"],
                "additionalProperties": False,
            },
            on_invoke_tool=look,
        )

    def clear_reread(self) -> None:
        """Drop the files that the agent has looked at again."""
        self.reread.clear()
        self.share.give_back(sum(self._sizes.values()))
        self._sizes.clear()

    async def _look(self, files: Sequence[Attachment], arguments: str) -> str:
        name, start = _asked(arguments)
        # Of several with the same name, the newest.
        found = next((one for one in reversed(files) if one.name == name), None)
        if found is None:
            return f"There is no file {name[:200]!r}. There are: {_names(files)}."
        if found.id in self._sizes:
            return _SENT_ALREADY
        size = size_of(found)
        if (size or 0) > self._left:
            return "The file is too large to be looked at, beside those of the message."
        wanted = self._left if size is None else size
        if not await self.share.take(wanted, LOOK_SECONDS):
            return "The file can't be looked at now: too much is going on. Try it later."
        kept = 0
        try:
            text, kept = await self._read_again(found, start)
        finally:
            # A part of a text file is sent as text; only other files stay in memory.
            self.share.give_back(wanted - kept)
        return text

    async def _read_again(self, found: Attachment, start: int) -> tuple[str, int]:
        """Return the tool's result for a file, and the bytes that stay in memory."""
        data = await self._bytes(found)
        if data is None or len(data) > self._left:
            return "The file can't be read now.", 0
        if is_text(found):
            return await asyncio.to_thread(_slice, data, start), 0
        part = await _part(found, data, 0)
        if part["type"] == "input_text":
            return part["text"], 0
        if found.id in self._sizes:
            # Two calls at the same time.
            return _SENT_ALREADY, 0
        if sum(self._sizes.values()) + len(data) > self._left:
            # The latest file replaces the others.
            self.clear_reread()
        self._sizes[found.id] = len(data)
        self.reread.append(
            {"role": "user", "content": [text_part(f"The file {found.name!r}:"), part]}
        )
        return "The file is in a message after this.", len(data)


def is_text(attachment: Attachment) -> bool:
    """Whether a file is sent as text."""
    return _TEXTS.fullmatch(kind_of(attachment)) is not None


def kind_of(attachment: Attachment) -> str:
    """Return a file's MIME type without parameters."""
    return attachment.mime_type.partition(";")[0].strip().lower()


def text_files(message: UserMessageItem | None) -> int:
    """Return the most characters that the text files of a message have."""
    return sum(
        min(size if (size := size_of(one)) is not None else most, most)
        for one in (message.attachments if message is not None else ())
        if is_text(one)
        for most in (converter.FILE_CHARACTERS,)
    )


async def _part(attachment: Attachment, data: bytes, characters: int) -> ResponseInputContentParam:
    """Build the content for a file: an image, a text, the file itself, or a description.

    :param characters: the most of a text.
    """
    kind, name = kind_of(attachment), attachment.name
    if _TEXTS.fullmatch(kind):
        return text_part(await asyncio.to_thread(_file_text, name, data, characters))
    if kind in IMAGES:
        url = await asyncio.to_thread(_url, kind, data)
        return ResponseInputImageParam(type="input_image", detail="auto", image_url=url)
    if _DOCUMENTS.fullmatch(kind):
        url = await asyncio.to_thread(_url, kind, data)
        return ResponseInputFileParam(type="input_file", filename=name, file_data=url)
    # The service would refuse it, and so each later message of the thread.
    return text_part(f"The user attached the file {name!r} ({kind}): you can't open it.")


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _file_text(name: str, data: bytes, most: int) -> str:
    # At most four bytes a character, so that a large file is not decoded whole.
    text = data[: 4 * most].decode("utf-8", "replace")[:most]
    cut = CUT if len(data) > len(text.encode()) else ""
    return f"The user attached the file {name!r}:\n<file>\n{text}\n</file>{cut}"


def _slice(data: bytes, start: int) -> str:
    text = data.decode("utf-8", "replace")
    end = start + LOOK_CHARACTERS
    more = f"\n(It goes on at character {end}.)" if end < len(text) else ""
    return f"<file>\n{text[start:end]}\n</file>{more}"


def _asked(arguments: str) -> tuple[str, int]:
    try:
        given = json.loads(arguments)
    except ValueError:
        given = None
    given = given if isinstance(given, dict) else {}
    start = given.get("start")
    return str(given.get("name", "")), max(start, 0) if isinstance(start, int) else 0


def _names(files: Sequence[Attachment]) -> str:
    return ", ".join(repr(one.name) for one in files[-20:])
