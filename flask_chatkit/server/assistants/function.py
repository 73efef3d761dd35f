"""A chat that a function of the site answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from chatkit.store import AttachmentStore, Store
from chatkit.types import ThreadMetadata, ThreadStreamEvent, UserMessageItem

from ...chats.callbacks import Callbacks
from ..context import ChatContext
from .base import ANSWER, BaseAssistantServer
from .messages import ReadAttachment


class AssistantServer(BaseAssistantServer):
    """A chat that a function of the site answers: ``function(message, chat)``.

    The function may be plain, a generator, asynchronous, or an asynchronous generator. It returns
    or yields strings, widgets, and events and items of :mod:`chatkit.types`; consecutive strings
    stream into one message. Unless it is asynchronous it may block: each answer has a thread of its
    own. When the visitor stops the answer, a generator is closed where it yields.

    :param function: answers.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        store: Store[ChatContext],
        attachment_store: AttachmentStore[ChatContext] | None = None,
        *,
        callbacks: Callbacks,
        read_attachment: ReadAttachment | None = None,
        titles: bool = True,
    ) -> None:
        super().__init__(
            store,
            attachment_store,
            callbacks=callbacks,
            read_attachment=read_attachment,
            titles=titles,
        )
        self._function = function

    async def respond(
        self,
        thread: ThreadMetadata,
        input_user_message: UserMessageItem | None,
        context: ChatContext,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Have the function answer a message, or the answer of a client tool or a form."""
        given = input_user_message if input_user_message is not None else ANSWER
        try:
            async for event in self._answer(self._function, given, thread, context):
                yield event
        except Exception:
            await self._set_title(thread, context)
            raise
        await self._set_title(thread, context)
