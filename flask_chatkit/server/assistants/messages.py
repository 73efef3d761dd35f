"""What a site's function gets of a thread: the message, its files, and earlier messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    ClientToolCallItem,
    StructuredInputItem,
    ThreadItem,
    UserMessageItem,
    UserMessageTagContent,
)

from ..context import ChatContext
from .channel import Channel
from .workers import call, is_asynchronous

#: Reads the bytes of an attachment: ``read(attachment, context)``, blocking or asynchronous.
ReadAttachment = Callable[[Attachment, ChatContext], bytes | Awaitable[bytes]]

#: Items of a thread whose messages a function gets as its history.
HISTORY = 100


@dataclass(frozen=True)
class ChatAttachment:
    """A file of a message.

    :param name: its name on the visitor's machine.
    :param mime_type: such as ``image/png``.
    :param size: in bytes; None if unknown.
    """

    id: str
    name: str
    mime_type: str
    size: int | None
    _read: Callable[[], Any] = field(repr=False, compare=False)
    _channel: Channel[Any] | None = field(default=None, repr=False, compare=False)

    def read(self) -> bytes:
        """Its bytes, in a function that is not asynchronous.

        :raises RuntimeError: the function is asynchronous, and would block the event loop.
        """
        if self._channel is None or self._channel.on_loop:
            raise RuntimeError("an asynchronous function reads with: await attachment.aread()")
        if is_asynchronous(self._read):
            later: bytes = self._channel.wait_for(self._read)
            return later
        now: bytes = self._read()
        return now

    async def aread(self) -> bytes:
        """Its bytes, in an asynchronous function."""
        data: bytes = await call(self._read)
        return data


@dataclass(frozen=True)
class ClientToolResult:
    """What the page has answered to :meth:`Chat.client_tool`.

    :param name: the tool's name.
    :param arguments: those of the call.
    :param output: what the page's JavaScript returned. It comes from the browser: validate it.
    """

    name: str
    arguments: dict[str, Any]
    output: Any


@dataclass(frozen=True)
class Message:
    """A visitor's message, or the page's answer to a client tool or a form.

    :param text: with tags as ``@name``; empty for an answer of the page.
    :param attachments: its files.
    :param quoted_text: the part of an earlier answer that it quotes.
    :param tags: its @-mentions.
    :param model: the id of the model that was chosen in the composer.
    :param tool: the id of the tool that was chosen in the composer.
    :param item: ChatKit's own item; None for an answer of the page.
    :param tool_result: the answer of a client tool.
    :param answers: the answers to :meth:`Chat.ask` by question id, each a list of strings, which is
        empty for a question that was skipped.
    """

    text: str = ""
    attachments: list[ChatAttachment] = field(default_factory=list)
    quoted_text: str | None = None
    tags: list[UserMessageTagContent] = field(default_factory=list)
    model: str | None = None
    tool: str | None = None
    item: UserMessageItem | None = None
    tool_result: ClientToolResult | None = None
    answers: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """An earlier message.

    :param role: who wrote it.
    :param text: with tags as ``@name``.
    :param item: ChatKit's own item.
    """

    role: Literal["user", "assistant"]
    text: str
    item: UserMessageItem | AssistantMessageItem


def attachments_of(
    item: UserMessageItem | None,
    read: ReadAttachment | None,
    context: ChatContext,
    channel: Channel[Any] | None,
) -> list[ChatAttachment]:
    """The files of a message, for a site's function."""
    return [
        ChatAttachment(
            id=one.id,
            name=one.name,
            mime_type=one.mime_type,
            size=(one.metadata or {}).get("size"),
            _read=_reader_of(one, read, context),
            _channel=channel,
        )
        for one in (item.attachments if item is not None else [])
    ]


def _reader_of(
    attachment: Attachment, read: ReadAttachment | None, context: ChatContext
) -> Callable[[], Any]:
    if read is None:
        raise RuntimeError("a message has attachments, but the server has no read_attachment")
    if is_asynchronous(read):

        async def later() -> Any:
            return await read(attachment, context)  # type: ignore[misc] # it is asynchronous

        return later
    return lambda: read(attachment, context)


def text_of(item: UserMessageItem | AssistantMessageItem) -> str:
    """The text of a message, with tags as ``@name``."""
    return "".join(
        f"@{part.text}" if isinstance(part, UserMessageTagContent) else part.text
        for part in item.content
    )


def turns(items: Sequence[ThreadItem]) -> list[Turn]:
    """The messages among a thread's items."""
    return [
        Turn("user" if isinstance(item, UserMessageItem) else "assistant", text_of(item), item)
        for item in items
        if isinstance(item, (UserMessageItem, AssistantMessageItem))
    ]


def visitor_message(item: UserMessageItem, attachments: list[ChatAttachment]) -> Message:
    """The message of a user's item."""
    options = item.inference_options
    return Message(
        text=text_of(item),
        attachments=attachments,
        quoted_text=item.quoted_text,
        tags=[part for part in item.content if isinstance(part, UserMessageTagContent)],
        model=options.model,
        tool=options.tool_choice.id if options.tool_choice else None,
        item=item,
    )


def page_answer(items: Sequence[ThreadItem]) -> Message:
    """The page's answer to a client tool or a form.

    :param items: the thread's last items, the oldest first.
    """
    last = items[-1] if items else None
    # ChatKit takes a client tool's answer only for the last item.
    if isinstance(last, ClientToolCallItem) and last.status == "completed":
        return Message(tool_result=ClientToolResult(last.name, last.arguments, last.output))
    answers: dict[str, list[str]] = {}
    for item in reversed(items):
        if isinstance(item, UserMessageItem):
            break
        if isinstance(item, StructuredInputItem) and item.status != "pending":
            for one in item.inputs:
                answers.setdefault(one.id, list(one.answer.values) if one.answer else [])
    return Message(answers=answers)
