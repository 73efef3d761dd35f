"""The files of a thread, as an agent is told them: those of the message that it answers, once."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agents import Agent, FunctionTool, RunContextWrapper
from chatkit.types import Attachment, ThreadItem, UserMessageItem
from openai.types.responses import (
    ResponseInputContentParam,
    ResponseInputFileParam,
    ResponseInputImageParam,
    ResponseInputTextParam,
)
from typing_extensions import Self

from ..assistants.messages import ReadAttachment
from ..assistants.workers import call
from ..context import ChatContext
from . import converter
from .budget import Budget, Share, size_of
from .errors import Fault

logger = logging.getLogger("flask_chatkit")

#: The images that models can look at; any other would make each later answer fail too.
IMAGES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
_TEXTS = re.compile(
    r"text/.*|image/svg\+xml|application/(.*\+)?(json|xml|yaml|toml|sql|javascript|x-yaml|x-sh)"
)
_DOCUMENTS = re.compile(
    r"application/(pdf|rtf|msword|vnd\.(ms-excel|ms-powerpoint|openxmlformats-.*|oasis\..*))"
)
_TOOLS = re.compile(r"tool|function", re.IGNORECASE)
#: The tool by which an agent looks at a file again, and seconds that it waits for room.
LOOK = "look_at_file"
LOOK_SECONDS = 5.0
_TOLD_ALREADY = "The file is told already, in a message after this."
_CUT = "\n(The rest is left out.)"
#: Characters of one look at a text file.
LOOK_CHARACTERS = 20_000


@dataclass
class Files:
    """The files of one answer: those of its message, and those that the agent looks at again.

    :param read: reads a file's bytes; None where there are no files.
    :param budget: what may be told.
    :param share: what the answer takes of the room for files.
    """

    read: ReadAttachment | None
    context: ChatContext
    budget: Budget
    share: Share
    #: Whether the agent has the tool.
    has_tool: bool = False
    #: By id, how the files of the message are told; None for what can't be read.
    told: dict[str, ResponseInputContentParam | None] = field(default_factory=dict)
    #: Texts of which a part was left out.
    cut: list[Attachment] = field(default_factory=list)
    #: What the agent has looked at again: messages that follow all that it is told.
    looked: list[Any] = field(default_factory=list)
    #: Bytes that the message's files leave, and those of what the agent has looked at, by id.
    _left: int = 0
    _sizes: dict[str, int] = field(default_factory=dict)

    async def prepare(self, message: UserMessageItem | None, characters: int) -> None:
        """Read the files of the message that is answered, once.

        :param characters: what all text files may take together.
        :raises CustomStreamError: other answers take all the room for files.
        """
        files = [*message.attachments] if message is not None and self.read is not None else []
        planned = self._planned(files)
        if planned:
            # Of all at once: two answers that wait for each other's would wait for ever.
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
            self.told[attachment.id] = part
            if is_text(attachment):
                texts -= 1
                characters -= min(share, len(data or b""))
                if (
                    part is not None
                    and part["type"] == "input_text"
                    and part["text"].endswith(_CUT)
                ):
                    self.cut.append(attachment)
        self._left = left
        if planned:
            self.share.shrink(self.budget.bytes - left)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the bytes, whoever still holds what a model was told, until it is collected."""
        looked = [part for message in self.looked for part in message["content"]]
        for part in [*self.told.values(), *looked]:
            for key in {"image_url", "file_data"} & set(part or ()):
                cast("dict[str, Any]", part)[key] = ""
        self.share.release()

    def _planned(self, files: Sequence[Attachment]) -> int:
        """Bytes of files that will be read; what is not known is taken for all that may be."""
        left = self.budget.bytes
        for attachment in files:
            size = size_of(attachment)
            if size is None:
                return self.budget.bytes
            left -= size if size <= left else 0
        return self.budget.bytes - left

    def as_told(self, attachment: Attachment) -> ResponseInputContentParam:
        """A file as the model is told it: itself with its own message, in words afterwards."""
        return self.told.get(attachment.id) or self._named(attachment)

    def _named(self, attachment: Attachment) -> ResponseInputContentParam:
        """A file in words: that of an earlier message, or one that can't be read."""
        if attachment.id in self.told or self.read is None:
            said = f"The user attached the file {attachment.name!r}, which can't be read now."
            return _text(said)
        size = size_of(attachment)
        known = [kind_of(attachment), *([f"{size:,} bytes"] if size is not None else [])]
        again = f" Call {LOOK} to look at it again." if self.has_tool else ""
        said = f"The user attached the file {attachment.name!r} ({', '.join(known)}) here."
        return _text(f"{said} It was told with this message alone.{again}")

    async def _bytes(self, attachment: Attachment) -> bytes | None:
        try:
            data = await call(self.read, attachment, self.context)  # type: ignore[arg-type] # seen
        except Exception:
            # An old file may be gone; the conversation goes on without it.
            logger.warning("The file of an attachment could not be read", exc_info=True)
            return None
        return data if isinstance(data, bytes) else bytes(data)

    # --- looking again ----------------------------------------------------------------------------

    def with_tool(self, agent: Agent[Any], items: Sequence[ThreadItem]) -> Agent[Any]:
        """The agent, with a tool that looks at files of the thread again, if there are any.

        It gets none where another tool changes what the site has meant: where the first one that
        is called ends the run, or one has to be called.
        """
        known = {one.id: one for one in _attachments(items) if one.id not in self.told}
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
        """Do without the tool if a model's service takes none; whether it was there to be dropped.

        Models that know no tools refuse the whole request.
        """
        named = f"{fault.code} {fault.param} {fault.message}"
        is_tools = fault.status in {400, 404, 422} and _TOOLS.search(named) is not None
        if not self.has_tool or not is_tools:
            return False
        self.has_tool = False
        logger.info("A model's service takes no tools: its agent can't look at files again")
        return True

    def without_dropped(self, agent: Agent[Any]) -> Agent[Any]:
        """The agent, without the tool if that was dropped."""
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

    def forget_looks(self) -> None:
        """Tell the agent no more of what it has looked at again."""
        self.looked.clear()
        self.share.give_back(sum(self._sizes.values()))
        self._sizes.clear()

    async def _look(self, files: Sequence[Attachment], arguments: str) -> str:
        name, start = _asked(arguments)
        # Of several with one name, the newest.
        found = next((one for one in reversed(files) if one.name == name), None)
        if found is None:
            return f"There is no file {name[:200]!r}. There are: {_names(files)}."
        if found.id in self._sizes:
            return _TOLD_ALREADY
        size = size_of(found)
        if (size or 0) > self._left:
            return "The file is too large to be looked at, beside those of the message."
        wanted = self._left if size is None else size
        if not await self.share.take(wanted, LOOK_SECONDS):
            return "The file can't be looked at now: too much is going on. Try it later."
        kept = 0
        try:
            said, kept = await self._told_again(found, start)
        finally:
            # What was cut out of a text is no file any more; what is told as one stays in memory.
            self.share.give_back(wanted - kept)
        return said

    async def _told_again(self, found: Attachment, start: int) -> tuple[str, int]:
        """What the agent reads of a file, and the bytes of it that stay in memory."""
        data = await self._bytes(found)
        if data is None or len(data) > self._left:
            return "The file can't be read now.", 0
        if is_text(found):
            return await asyncio.to_thread(_slice, data, start), 0
        part = await _part(found, data, 0)
        if part["type"] == "input_text":
            return part["text"], 0
        if found.id in self._sizes:
            # It was asked for twice at a time.
            return _TOLD_ALREADY, 0
        if sum(self._sizes.values()) + len(data) > self._left:
            # The last look counts.
            self.forget_looks()
        self._sizes[found.id] = len(data)
        self.looked.append({"role": "user", "content": [_text(f"The file {found.name!r}:"), part]})
        return "The file is told in a message after this.", len(data)


def is_text(attachment: Attachment) -> bool:
    """Whether a file is one that is told as a text."""
    return _TEXTS.fullmatch(kind_of(attachment)) is not None


def kind_of(attachment: Attachment) -> str:
    """A file's MIME type, without parameters."""
    return attachment.mime_type.partition(";")[0].strip().lower()


def text_files(message: UserMessageItem | None) -> int:
    """Characters that the text files of a message take, at most."""
    return sum(
        min(size if (size := size_of(one)) is not None else most, most)
        for one in (message.attachments if message is not None else ())
        if is_text(one)
        for most in (converter.FILE_CHARACTERS,)
    )


async def _part(attachment: Attachment, data: bytes, characters: int) -> ResponseInputContentParam:
    """A file: an image to look at, a text to read, or the file itself.

    :param characters: of a text, at most.
    """
    kind, name = kind_of(attachment), attachment.name
    if _TEXTS.fullmatch(kind):
        return _text(await asyncio.to_thread(_file_text, name, data, characters))
    if kind in IMAGES:
        url = await asyncio.to_thread(_url, kind, data)
        return ResponseInputImageParam(type="input_image", detail="auto", image_url=url)
    if _DOCUMENTS.fullmatch(kind):
        url = await asyncio.to_thread(_url, kind, data)
        return ResponseInputFileParam(type="input_file", filename=name, file_data=url)
    # A model's service refuses it, and with it each later message of the thread.
    return _text(f"The user attached the file {name!r} ({kind}): you can't open it.")


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _text(text: str) -> ResponseInputTextParam:
    return ResponseInputTextParam(type="input_text", text=text)


def _file_text(name: str, data: bytes, most: int) -> str:
    # Four bytes a character at most, so that a large file is not decoded whole.
    text = data[: 4 * most].decode("utf-8", "replace")[:most]
    cut = _CUT if len(data) > len(text.encode()) else ""
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


def _attachments(items: Iterable[ThreadItem]) -> list[Attachment]:
    return [one for item in items if isinstance(item, UserMessageItem) for one in item.attachments]


def _names(files: Sequence[Attachment]) -> str:
    return ", ".join(repr(one.name) for one in files[-20:])
