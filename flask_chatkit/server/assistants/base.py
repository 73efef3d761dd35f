"""What all chats share that a site's own code answers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from chatkit.actions import Action
from chatkit.server import ChatKitServer
from chatkit.store import AttachmentStore, NotFoundError, Store
from chatkit.types import (
    AudioInput,
    SyncCustomActionResponse,
    ThreadItem,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    TranscriptionResult,
    UserMessageItem,
    WidgetItem,
)
from pydantic import BaseModel
from typing_extensions import override

from ...chats.callbacks import Callbacks
from ...errors import BadRequest
from .._upstream import is_stop_note, wrap_output
from ..context import ChatContext
from ..streaming.record import was_stopped
from ..surrogates import clean_output, serialize_whole
from .chat import Chat
from .messages import (
    HISTORY,
    ReadAttachment,
    attachments_of,
    page_answer,
    text_of,
    turns,
    visitor_message,
)
from .widgets import as_widget, is_widget
from .workers import Work, call, stopping
from .writer import Outgoing, Sent, Writer, is_single_output

logger = logging.getLogger("flask_chatkit")

#: What the model reads of an answer that nobody has stopped.
INTERRUPTED = "The answer above was interrupted before its end. The user did not stop it."

#: The most words and characters of a title that is made of a message's first words.
TITLE_WORDS = 6
TITLE_CHARACTERS = 60


class BaseAssistantServer(ChatKitServer[ChatContext]):
    """A ChatKit server with the site's callbacks, with titles, and with partial answers kept.

    :param store: the history.
    :param attachment_store: the files, if there are any.
    :param callbacks: run on actions, feedback and dictation.
    :param read_attachment: reads a file's bytes.
    :param titles: whether a thread without a title gets one from its first message.
    """

    def __init__(
        self,
        store: Store[ChatContext],
        attachment_store: AttachmentStore[ChatContext] | None = None,
        *,
        callbacks: Callbacks,
        read_attachment: ReadAttachment | None = None,
        titles: bool = True,
    ) -> None:
        super().__init__(store, attachment_store)
        self.callbacks = callbacks
        self.read_attachment = read_attachment
        self._has_titles = titles

    # --- what a function answers ----------------------------------------------------------------

    async def _answer(
        self,
        function: Callable[..., Any],
        given: Any,
        thread: ThreadMetadata,
        context: ChatContext,
        *,
        sender: WidgetItem | None = None,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Call a function with a message or a payload, and the chat; stream its outputs.

        :param given: an action's payload, a message, or :data:`ANSWER`.
        """
        work = Work(is_single_output)
        chat, given = await self._chat(work, given, thread, context, sender)
        writer = Writer(thread, lambda kind: self.store.generate_item_id(kind, thread, context))
        with stopping(work.stop):
            try:
                work.start(function, given, chat)
                async for output in work.channel:
                    for event in writer.write(output):
                        yield event
            except Exception:
                work.stop()
                # What was sent stays.
                for event in writer.end():
                    yield event
                raise
            finally:
                await work.settle()
            for event in writer.end():
                yield event

    async def _chat(
        self,
        work: Work,
        given: Any,
        thread: ThreadMetadata,
        context: ChatContext,
        sender: WidgetItem | None,
    ) -> tuple[Chat, Any]:
        page = await self.store.load_thread_items(thread.id, None, HISTORY, "desc", context)
        items = page.data[::-1]
        attachments = []
        if isinstance(given, UserMessageItem):
            item = given
            attachments = attachments_of(item, self.read_attachment, context, work.channel)
            given = visitor_message(item, attachments)
            place = next((at for at, one in enumerate(items) if one.id == item.id), len(items))
            items = items[:place]
        elif given is ANSWER:
            given = page_answer(items)
        chat = Chat(
            context,
            self.store,
            thread,
            channel=work.channel,
            history=turns(items),
            attachments=attachments,
            sender=sender,
        )
        return chat, given

    # --- actions --------------------------------------------------------------------------------

    @override
    async def action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: ChatContext,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Have the callback of a widget's action answer."""
        handler = self._handler(action)
        async for event in self._answer(handler, action.payload, thread, context, sender=sender):
            yield event

    @override
    async def sync_action(
        self,
        thread: ThreadMetadata,
        action: Action[str, Any],
        sender: WidgetItem | None,
        context: ChatContext,
    ) -> SyncCustomActionResponse:
        """Have the callback of a widget's action return the updated widget."""
        handler = self._handler(action)
        before = thread.model_copy(deep=True)
        work = Work(is_single_output)
        chat, payload = await self._chat(work, action.payload, thread, context, sender)
        item: WidgetItem | None = None
        with stopping(work.stop):
            try:
                work.start(handler, payload, chat)
                async for output in work.channel:
                    item = _updated(output, sender) or item
            except _NoWidget as error:
                # A browser can provoke it by the operation that it chooses.
                logger.warning("The action %.80r was not streamed: %s", action.type, error.detail)
                raise
            finally:
                await work.settle()
        if item is not None:
            await self.store.save_item(thread.id, item, context)
        if thread != before:
            await self.store.save_thread(thread, context)
        return SyncCustomActionResponse(updated_item=item)

    def _handler(self, action: Action[str, Any]) -> Callable[..., Any]:
        handler = self.callbacks.actions.get(action.type)
        if handler is None:
            declared = ", ".join(sorted(self.callbacks.actions)) or "none"
            raise LookupError(
                f"no handler is declared for the action {action.type[:80]!r}; there are: {declared}"
            )
        return handler

    # --- feedback and dictation -----------------------------------------------------------------

    @override
    async def add_feedback(
        self,
        thread_id: str,
        item_ids: list[str],
        feedback: Literal["positive", "negative"],
        context: ChatContext,
    ) -> None:
        """Pass a visitor's feedback on to the site.

        :raises NotFoundError: the thread or an item is not this visitor's.
        """
        # Loaded in any case: somebody else's is not found.
        thread = await self.store.load_thread(thread_id, context)
        items = [
            await self.store.load_item(thread_id, item_id, context)
            for item_id in dict.fromkeys(item_ids)
        ]
        if self.callbacks.feedback is not None:
            before = thread.model_copy(deep=True)
            await call(self.callbacks.feedback, feedback, items, Chat(context, self.store, thread))
            if thread != before:
                await self.store.save_thread(thread, context)

    @override
    async def transcribe(
        self, audio_input: AudioInput, context: ChatContext
    ) -> TranscriptionResult:
        """Have the site's callback turn speech into text."""
        if self.callbacks.transcribe is None:
            raise BadRequest("This chat takes no dictation.", refusal="no_dictation")
        text = await call(self.callbacks.transcribe, audio_input, Chat(context, self.store))
        if isinstance(text, TranscriptionResult):
            return text
        if not isinstance(text, str):
            raise TypeError(f"a transcription must be a str, not {type(text).__name__}")
        return TranscriptionResult(text=text)

    # --- half surrogates ------------------------------------------------------------------------

    @override
    async def _process_events(
        self,
        thread: ThreadMetadata,
        context: ChatContext,
        stream: Callable[[], AsyncIterator[ThreadStreamEvent]],
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Store and send whole characters only, whatever the events come from."""
        async for event in super()._process_events(
            thread, context, lambda: clean_output(stream, thread)
        ):
            yield event

    @override
    def _serialize(self, obj: BaseModel) -> bytes:
        return serialize_whole(super()._serialize, obj)

    # --- titles, and what a stop leaves ---------------------------------------------------------

    async def _set_title(self, thread: ThreadMetadata, context: ChatContext) -> bool:
        """Name an untitled thread after its first message; returns whether that was possible."""
        if not self._has_titles or thread.title:
            return False
        try:
            page = await self.store.load_thread_items(thread.id, None, 1, "asc", context)
            first = page.data[0] if page.data else None
            # The function may have set one meanwhile.
            if isinstance(first, UserMessageItem) and not thread.title:
                thread.title = first_words(first)
        except Exception:
            logger.exception("A thread could not be given a title")
        return bool(thread.title)

    @override
    async def handle_stream_cancelled(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: ChatContext
    ) -> None:
        """Keep what was sent before the visitor stopped the answer, or was gone for too long."""
        unsaved = [
            item for item in pending_items if not await self._is_stored(thread, item, context)
        ]
        await super().handle_stream_cancelled(thread, unsaved, context)
        if not was_stopped():
            await self._note_interruption(thread, context)
        if await self._set_title(thread, context):
            await self.store.save_thread(thread, context)

    async def _note_interruption(self, thread: ThreadMetadata, context: ChatContext) -> None:
        """Correct openai-chatkit's note for the model that the visitor has stopped the answer."""
        page = await self.store.load_thread_items(thread.id, None, 1, "desc", context)
        for item in filter(is_stop_note, page.data):
            changed = item.model_copy(update={"content": INTERRUPTED})
            await self.store.save_item(thread.id, changed, context)

    async def _is_stored(
        self, thread: ThreadMetadata, item: ThreadItem, context: ChatContext
    ) -> bool:
        """Whether an item was stored just before openai-chatkit was cancelled."""
        try:
            await self.store.load_item(thread.id, item.id, context)
        except NotFoundError:
            return False
        return True


#: Stands for the answer of a client tool or a form, which is no message.
ANSWER = object()


def first_words(item: UserMessageItem) -> str | None:
    """A title made of a message's first words, or of a file's name; None without either."""
    words = text_of(item).split()
    if not words:
        return next((one.name[:TITLE_CHARACTERS] for one in item.attachments), None)
    title = shortened(" ".join(words[:TITLE_WORDS]))
    return title if len(words) <= TITLE_WORDS or title.endswith("…") else f"{title}…"


def shortened(title: str) -> str:
    """A title of at most :data:`TITLE_CHARACTERS`, cut at a word."""
    if len(title) <= TITLE_CHARACTERS:
        return title
    cut = title[: TITLE_CHARACTERS - 1]
    # A language without spaces, or one very long word, is cut anywhere.
    return f"{cut.rsplit(' ', 1)[0] or cut}…"


def keep_whole(server: ChatKitServer[Any]) -> None:
    """Have a site's own server store and send whole characters, as ours does.

    :param server: changed, so it must not be the site's own object.
    """
    if not isinstance(server, BaseAssistantServer):
        wrap_output(server, clean_output, serialize_whole)


class _NoWidget(BadRequest, TypeError):
    """A callback answered an action that is not streamed with something else than a widget."""

    @override
    def __str__(self) -> str:
        return str(self.detail)


def callbacks_of(server: ChatKitServer[Any]) -> Callbacks | None:
    """The callbacks that answer a server's actions; None if methods of the site's class do."""
    kind = type(server)
    if not isinstance(server, BaseAssistantServer) or kind.action is not BaseAssistantServer.action:
        return None
    return server.callbacks if kind.sync_action is BaseAssistantServer.sync_action else None


def _updated(output: Any, sender: WidgetItem | None) -> WidgetItem | None:
    """The updated item of a widget, as the callback of a synchronous action returns it."""
    if isinstance(output, Sent):
        return None
    if isinstance(output, Outgoing):
        output = output.what
    if isinstance(output, ThreadItemReplacedEvent) and isinstance(output.item, WidgetItem):
        return output.item
    if not is_widget(output):
        raise _NoWidget(
            "The action is answered with a stream: send it as threads.custom_action.",
            detail="the handler of an action that is not streamed returns a widget or nothing, "
            f"and not {type(output).__name__}",
        )
    if sender is None:
        raise _NoWidget(
            "The action needs a widget that it was used in.",
            detail="no widget was acted on that could be replaced by another one",
        )
    return sender.model_copy(update={"widget": as_widget(output)})
