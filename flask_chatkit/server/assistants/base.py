"""A chat that a function of the site answers, and what all chats of a site's own code share."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from chatkit.actions import Action
from chatkit.server import ChatKitServer
from chatkit.store import AttachmentStore, NotFoundError, Store, StoreItemType
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    AudioInput,
    ClientToolCallItem,
    DurationSummary,
    SyncCustomActionResponse,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    TranscriptionResult,
    UserMessageItem,
    WidgetItem,
    Workflow,
    WorkflowItem,
    WorkflowTaskAdded,
)
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from typing_extensions import override

from ...chats.callbacks import Callbacks
from ...errors import BadRequest
from .._upstream import wrap_output
from ..context import ChatContext
from ..surrogates import clean, clean_events
from .chat import (
    HISTORY,
    Chat,
    Outgoing,
    ReadAttachment,
    Sent,
    Step,
    answered,
    as_widget,
    attachments_of,
    is_widget,
    said,
    text_of,
    turns,
)
from .workers import Work, call, stopping

logger = logging.getLogger("flask_chatkit")

#: A title that is made of a message's first words has so many of them, and of characters.
TITLE_WORDS = 6
TITLE_CHARACTERS = 60
#: Items that one call may give feedback on.
FEEDBACK_ITEMS = 100

ACCEPTED = (
    "text, a widget, an event or item of chatkit.types, or what a helper of the chat returned"
)

_EVENTS = get_args(get_args(ThreadStreamEvent)[0])
_ITEMS = get_args(get_args(ThreadItem)[0])


class Writer:
    """Turns what a function puts out into the events that ChatKit's client reads.

    Texts that follow each other become one message, and steps of the work one workflow.

    :param thread: the thread that is answered in.
    :param new_id: makes an id for an item.
    """

    def __init__(self, thread: ThreadMetadata, new_id: Callable[[StoreItemType], str]) -> None:
        self._thread = thread
        self._new_id = new_id
        self._message: AssistantMessageItem | None = None
        self._texts: list[str] = []
        self._workflow: WorkflowItem | None = None
        self._tool: str | None = None

    def write(self, output: Any) -> Iterator[ThreadStreamEvent]:
        """The events of one output.

        :raises TypeError: it is nothing that can be shown.
        :raises ValueError: it is a widget with something wrong in it.
        """
        if isinstance(output, Sent):
            return
        if isinstance(output, Outgoing):
            output = output.what
        if self._tool is not None:
            raise RuntimeError(
                f"an answer ends when it has called a client tool: nothing can follow "
                f"{self._tool!r} before the page has answered"
            )
        if isinstance(output, str):
            yield from self._write_text(output)
        elif isinstance(output, Step):
            yield from self._write_step(output)
        elif isinstance(output, _EVENTS):
            if isinstance(output, (ThreadItemAddedEvent, ThreadItemDoneEvent)):
                yield from self._write_item(output.item, output)
            else:
                yield output
        elif isinstance(output, _ITEMS):
            yield from self._write_item(output, ThreadItemDoneEvent(item=output))
        elif is_widget(output):
            item = WidgetItem(**self._base("message"), widget=as_widget(output))
            yield from self._write_item(item, ThreadItemDoneEvent(item=item))
        else:
            raise TypeError(
                f"an answer is made of {ACCEPTED}, and not of {type(output).__name__}: "
                f"{repr(output)[:80]}"
            )

    def end(self) -> Iterator[ThreadStreamEvent]:
        """The events that end what is open."""
        yield from self._end_message()
        yield from self._end_workflow()

    def _write_text(self, text: str) -> Iterator[ThreadStreamEvent]:
        if not text:
            return
        yield from self._end_workflow()
        if self._message is None:
            self._message = AssistantMessageItem(**self._base("message"), content=[])
            self._texts = []
            yield ThreadItemAddedEvent(item=self._message)
            yield self._update(
                AssistantMessageContentPartAdded(
                    content_index=0, content=AssistantMessageContent(text="")
                )
            )
        self._texts.append(text)
        yield self._update(AssistantMessageContentPartTextDelta(content_index=0, delta=text))

    def _end_message(self) -> Iterator[ThreadStreamEvent]:
        if self._message is None:
            return
        content = AssistantMessageContent(text="".join(self._texts))
        yield self._update(AssistantMessageContentPartDone(content_index=0, content=content))
        item, self._message = self._message.model_copy(update={"content": [content]}), None
        yield ThreadItemDoneEvent(item=item)

    def _update(self, update: Any) -> ThreadItemUpdatedEvent:
        item_id = self._message.id if self._message is not None else ""
        return ThreadItemUpdatedEvent(item_id=item_id, update=update)

    def _write_step(self, step: Step) -> Iterator[ThreadStreamEvent]:
        yield from self._end_message()
        if self._workflow is None:
            # As the package has it: a reasoning workflow begins empty, another with its first task.
            first: list[Any] = [step.task] if step.kind == "custom" else []
            self._workflow = WorkflowItem(
                **self._base("workflow"), workflow=Workflow(type=step.kind, tasks=first)
            )
            yield ThreadItemAddedEvent(item=self._workflow.model_copy(deep=True))
            if first:
                return
        tasks = self._workflow.workflow.tasks
        tasks.append(step.task)
        yield ThreadItemUpdatedEvent(
            item_id=self._workflow.id,
            update=WorkflowTaskAdded(task_index=len(tasks) - 1, task=step.task),
        )

    def _end_workflow(self) -> Iterator[ThreadStreamEvent]:
        if self._workflow is None:
            return
        item, self._workflow = self._workflow, None
        seconds = (datetime.now(timezone.utc) - item.created_at).total_seconds()
        item.workflow.summary = DurationSummary(duration=round(seconds))
        yield ThreadItemDoneEvent(item=item)

    def _write_item(self, item: Any, event: ThreadStreamEvent) -> Iterator[ThreadStreamEvent]:
        yield from self.end()
        if isinstance(item, ClientToolCallItem) and item.status == "pending":
            self._tool = item.name
        yield event

    def _base(self, kind: StoreItemType) -> dict[str, Any]:
        return {
            "id": self._new_id(kind),
            "thread_id": self._thread.id,
            "created_at": datetime.now(timezone.utc),
        }


class BaseAssistantServer(ChatKitServer[ChatContext]):
    """What all chats of a site's own code share: handlers, titles, and what a stop leaves.

    :param store: the history.
    :param attachment_store: the files; None for none.
    :param handlers: what runs on actions, feedback and dictation.
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
        """Call a function with what was given, or said, and the chat; stream what it puts out.

        :param given: an action's payload, or a message; None for what the page has answered.
        """
        work = Work(_is_one)
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
                # What was said stays said.
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
            given = said(item, attachments)
            place = next((at for at, one in enumerate(items) if one.id == item.id), len(items))
            items = items[:place]
        elif given is _ANSWER:
            given = answered(items)
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
        """Have the handler of a widget's action answer."""
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
        """Have the handler of a widget's action return the widget as it is from now on."""
        handler = self._handler(action)
        before = thread.model_copy(deep=True)
        work = Work(_is_one)
        chat, payload = await self._chat(work, action.payload, thread, context, sender)
        item: WidgetItem | None = None
        with stopping(work.stop):
            try:
                work.start(handler, payload, chat)
                async for output in work.channel:
                    item = _updated(output, sender) or item
            except _NoWidget as error:
                # A browser can bring it about by the operation that it chooses.
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
        """Tell the site what a visitor thinks of an answer.

        :raises NotFoundError: the thread or an item is not this visitor's.
        """
        if len(item_ids) > FEEDBACK_ITEMS:
            raise BadRequest(f"Feedback can be given on at most {FEEDBACK_ITEMS} items at once.")
        # Loaded in any case: what is somebody else's is not found.
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
        """Have the site turn speech into text."""
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
        """Store and send what answers with whole strings, whatever made it."""
        async for event in super()._process_events(
            thread, context, lambda: _cleaned(stream, thread)
        ):
            yield event

    @override
    def _serialize(self, obj: BaseModel) -> bytes:
        return _serialized_whole(super()._serialize, obj)

    # --- titles, and what a stop leaves ---------------------------------------------------------

    async def _set_title(self, thread: ThreadMetadata, context: ChatContext) -> bool:
        """Name a thread that has no title after its first message; whether that was possible."""
        if not self._has_titles or thread.title:
            return False
        try:
            page = await self.store.load_thread_items(thread.id, None, 1, "asc", context)
            first = page.data[0] if page.data else None
            # The function may have set one by now.
            if isinstance(first, UserMessageItem) and not thread.title:
                thread.title = first_words(first)
        except Exception:
            logger.exception("A thread could not be given a title")
        return bool(thread.title)

    @override
    async def handle_stream_cancelled(
        self, thread: ThreadMetadata, pending_items: list[ThreadItem], context: ChatContext
    ) -> None:
        """Keep what was said before the visitor stopped the answer, or went away."""
        unsaved = [
            item for item in pending_items if not await self._is_stored(thread, item, context)
        ]
        await super().handle_stream_cancelled(thread, unsaved, context)
        if await self._set_title(thread, context):
            await self.store.save_thread(thread, context)

    async def _is_stored(
        self, thread: ThreadMetadata, item: ThreadItem, context: ChatContext
    ) -> bool:
        """Whether the stop came after an item was stored, and before the package knew it was."""
        try:
            await self.store.load_item(thread.id, item.id, context)
        except NotFoundError:
            return False
        return True


class AssistantServer(BaseAssistantServer):
    """A chat that a function of the site answers: ``function(message, chat)``.

    The function is plain, a generator, asynchronous, or an asynchronous generator. It returns or
    yields text, widgets, events and items of :mod:`chatkit.types`; texts that follow each other
    stream into one message. One that is not asynchronous may block: each answer has a thread of
    its own. When the visitor stops the answer, a generator is closed where it yields.

    :param function: what answers.
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
        """Have the function answer a message, or what the page has answered."""
        given = input_user_message if input_user_message is not None else _ANSWER
        try:
            async for event in self._answer(self._function, given, thread, context):
                yield event
        except Exception:
            await self._set_title(thread, context)
            raise
        await self._set_title(thread, context)


#: Stands for what has come when it is no message: a client tool's answer, or a form's.
_ANSWER = object()


def first_words(item: UserMessageItem) -> str | None:
    """A title made of a message: its first words, in a line; None if it has nothing to say."""
    words = text_of(item).split()
    if not words:
        return next((one.name[:TITLE_CHARACTERS] for one in item.attachments), None)
    title = shortened(" ".join(words[:TITLE_WORDS]))
    return title if len(words) <= TITLE_WORDS or title.endswith("…") else f"{title}…"


def shortened(title: str) -> str:
    """A title of at most 60 characters, cut at a word."""
    if len(title) <= TITLE_CHARACTERS:
        return title
    cut = title[: TITLE_CHARACTERS - 1]
    # A language without blanks, or one very long word, is cut anywhere.
    return f"{cut.rsplit(' ', 1)[0] or cut}…"


def keep_whole(server: ChatKitServer[Any]) -> None:
    """Have a server of the site's own store and send whole strings, as ours does.

    On the object, whose class is the site's: it is ours alone by now.
    """
    if not isinstance(server, BaseAssistantServer):
        wrap_output(server, _cleaned, _serialized_whole)


def _serialized_whole(serialize: Callable[[BaseModel], bytes], obj: BaseModel) -> bytes:
    try:
        return serialize(obj)
    except PydanticSerializationError:
        return serialize(clean(obj))


async def _cleaned(
    stream: Callable[[], AsyncIterator[ThreadStreamEvent]], thread: ThreadMetadata
) -> AsyncIterator[ThreadStreamEvent]:
    try:
        async for event in clean_events(stream()):
            _clean_thread(thread)
            yield event
    finally:
        _clean_thread(thread)


def _clean_thread(thread: ThreadMetadata) -> None:
    """Mend what the site's code may have set on a thread."""
    # It is looked at with each event: what is empty, or whole, is not set anew.
    if (title := thread.title) and (whole := clean(title)) is not title:
        thread.title = whole
    if (metadata := thread.metadata) and (mended := clean(metadata)) is not metadata:
        thread.metadata = mended


def _is_one(value: Any) -> bool:
    """Whether what a function returned is one output; otherwise it is a series of them."""
    # Models and dicts can be iterated over as well, and nobody means that.
    return isinstance(value, (str, bytes, bytearray, Mapping, BaseModel, Sent)) or not hasattr(
        value, "__iter__"
    )


class _NoWidget(BadRequest, TypeError):
    """An action that is not streamed was answered with something else than its widget."""

    @override
    def __str__(self) -> str:
        return str(self.detail)


def callbacks_of(server: ChatKitServer[Any]) -> Callbacks | None:
    """The handlers that answer a server's actions; None if methods of the site's own do."""
    kind = type(server)
    if not isinstance(server, BaseAssistantServer) or kind.action is not BaseAssistantServer.action:
        return None
    return server.callbacks if kind.sync_action is BaseAssistantServer.sync_action else None


def _updated(output: Any, sender: WidgetItem | None) -> WidgetItem | None:
    """The widget's item as the handler of a synchronous action wants it; None for no change."""
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
