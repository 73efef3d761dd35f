"""A run of an agent, as events of the ChatKit protocol."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, cast

from agents import Agent, RunConfig, RunResultStreaming, TResponseInputItem
from agents.run import CallModelData, ModelInputData
from chatkit.agents import AgentContext, stream_agent_response
from chatkit.store import Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    NoticeEvent,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)
from pydantic import BaseModel
from typing_extensions import override

from .._upstream import set_tool_events
from ..assistants.messages import text_of
from ..context import ChatContext
from ..surrogates import clean
from .choices import last_message
from .errors import Ending
from .incomplete import cut_short_item, drained_events, keeps_partial
from .item_ids import ItemIds
from .memory import Recorder, remember_last_agent
from .models import warn_retiring

logger = logging.getLogger("flask_chatkit")

#: Seconds that the tasks of a stopped answer get to end.
CLEANUP_SECONDS = 2.0


class AgentRun:
    """A run of an agent that can be stopped at any point.

    ``stream_agent_response`` waits for the run's next event and its tools' next event in one task
    each. When it is closed, it leaves both tasks pending (1.6.5), and with them the model's call.
    """

    def __init__(
        self,
        result: RunResultStreaming,
        context: AgentContext[Any],
        config: RunConfig | None = None,
    ) -> None:
        self._result: Any = result
        self._config = config
        self._context = context
        self._tools_events = ToolEvents()
        set_tool_events(context, self._tools_events)
        self._run_events = self._watched(drained_events(result))
        self._next: asyncio.Future[Any] | None = None
        self._stopped = False
        self._first = result.current_agent.name
        self._recorder = Recorder(context, context.generate_id)
        self._message: UserMessageItem | None = None
        self._open_message: AssistantMessageItem | None = None
        self._said = ""
        #: Why the model's answer is incomplete, and the error at the end of its stream.
        self.incomplete: str | None = None
        self.failure: Any = None

    async def events(
        self,
        store: Store[ChatContext],
        thread: ThreadMetadata,
        context: ChatContext,
        items: Sequence[ThreadItem] = (),
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Yield the events for the page."""
        self._message = last_message(items)
        ids = ItemIds(lambda kind: store.generate_item_id(kind, thread, context))
        result = cast("RunResultStreaming", self)
        async for event in stream_agent_response(self._context, result):
            for known in ids.rewrite(event):
                self._follow(known)
                yield known

    @property
    def agent(self) -> Agent[Any]:
        """The agent whose turn it is."""
        agent: Agent[Any] = self._result.current_agent
        return agent

    @property
    def produced(self) -> list[TResponseInputItem]:
        """The items that this run has added to the model's input."""
        return [item.to_input_item() for item in self._result.new_items]

    @property
    def is_writing(self) -> bool:
        """Whether a message is being streamed."""
        return self._open_message is not None

    def close(self, ended: Ending) -> list[ThreadStreamEvent]:
        """Return the events that end an answer early: the open message's end, and a notice."""
        events: list[ThreadStreamEvent] = []
        item, self._open_message = self._open_message, None
        # The SDK raises before all of the model's text is read (0.24.0).
        if ended.text and self._said != ended.text:
            content = [AssistantMessageContent(text=ended.text)]
            item = item or AssistantMessageItem(
                id=self._context.generate_id("message"),
                thread_id=self._context.thread.id,
                created_at=datetime.now(timezone.utc),
                content=content,
            )
            item.content = content
        if item is not None and text_of(item).strip():
            events.append(ThreadItemDoneEvent(item=item))
        elif item is not None:
            events.append(ThreadItemRemovedEvent(item_id=item.id))
        if ended.notice is not None:
            events.append(NoticeEvent(level="info", message=ended.notice))
        return events

    def end(self, ended: Ending | None, error: Exception) -> list[ThreadStreamEvent]:
        """Return the last events of a run that an error has ended.

        :param ended: why the answer has ended early; None for a fault.
        """
        if ended is None:
            return self.keep_partial(error)
        logger.info("An answer has ended early: %s", ended.reason)
        return self.close(ended)

    def keep_partial(self, error: Exception) -> list[ThreadStreamEvent]:
        """Return the events that keep a message that an error has cut short."""
        if not self.is_writing or not keeps_partial(error):
            return []
        events = self.close(Ending("cut short"))
        if isinstance(events[0], ThreadItemDoneEvent):
            events.append(cut_short_item(self._context))
        return events

    def _follow(self, event: ThreadStreamEvent) -> None:
        """Keep a copy of the message that is being streamed."""
        if isinstance(event, ThreadItemAddedEvent) and event.item.type == "assistant_message":
            self._open_message = event.item.model_copy(deep=True)
        elif isinstance(event, (ThreadItemDoneEvent, ThreadItemRemovedEvent)):
            ended = event.item.id if isinstance(event, ThreadItemDoneEvent) else event.item_id
            if isinstance(event, ThreadItemDoneEvent) and event.item.type == "assistant_message":
                self._said = text_of(event.item)
            if self._open_message is not None and self._open_message.id == ended:
                self._open_message = None
        elif isinstance(event, ThreadItemUpdatedEvent) and self._open_message is not None:
            update, content = event.update, self._open_message.content
            if isinstance(update, AssistantMessageContentPartTextDelta):
                while len(content) <= update.content_index:
                    content.append(AssistantMessageContent(text=""))
                content[update.content_index].text += update.delta

    async def _advance(self) -> Any:
        event = await self._run_events.__anext__()
        _plain_annotation(event)
        if event.type == "agent_updated_stream_event":
            new, thread = event.new_agent.name, self._context.thread
            remember_last_agent(thread, new, self._first, self._message)
        elif event.type == "raw_response_event":
            kind, response = event.data.type, getattr(event.data, "response", None)
            if kind == "response.incomplete":
                details = getattr(response, "incomplete_details", None)
                self.incomplete = str(getattr(details, "reason", None) or "incomplete")
            elif kind == "response.failed":
                self.failure = getattr(response, "error", None)
            elif kind in {"error", "response.error"}:
                self.failure = event.data
        else:
            await self._recorder.note(event)
        return event

    async def _watched(self, events: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """Yield the run's own events."""
        try:
            async for event in events:
                if event.type == "agent_updated_stream_event":
                    warn_retiring(event.new_agent, self._config)
                yield event
        finally:
            await events.aclose()

    def stream_events(self) -> AgentRun:
        """Return the iterator that ``stream_agent_response`` reads."""
        return self

    def __aiter__(self) -> AgentRun:
        return self

    def __anext__(self) -> asyncio.Future[Any]:
        # A task that can be cancelled: the package would keep its own to itself.
        self._next = asyncio.ensure_future(self._advance())
        return self._next

    def stop(self) -> None:
        """End the model's call and all tasks; later calls do nothing."""
        if self._stopped:
            return
        self._stopped = True
        self._tools_events.end()
        if self._next is not None:
            self._next.cancel()
        if not self._result.is_complete:
            self._result.cancel()

    def forget(self) -> None:
        """Drop the references to the files that were sent to the model.

        The SDK's results refer to themselves (0.24.0), and so do the tracebacks that
        ``stream_agent_response`` leaves (1.6.5): they stay in memory until the next garbage
        collection of cycles.
        """
        self._result.context_wrapper.turn_input = []
        self._result = None

    async def settle(self) -> None:
        """Stop, and wait for the tasks, at most :data:`CLEANUP_SECONDS`."""
        self.stop()
        running = [self._next, getattr(self._result, "run_loop_task", None)]
        pending = [task for task in running if task is not None and not task.done()]
        if pending:
            await asyncio.wait(pending, timeout=CLEANUP_SECONDS)
        for task in running:
            if task is not None and task.done() and not task.cancelled():
                # Retrieved, so that asyncio doesn't log it.
                task.exception()
        # Its error was raised already, or is of no use any more.
        with suppress(Exception):
            await asyncio.wait_for(self._run_events.aclose(), CLEANUP_SECONDS)


class ToolEvents(asyncio.Queue[Any]):
    """The events of an agent's tools; :meth:`end` cancels the task that waits for one."""

    _ended = False

    def end(self) -> None:
        """Cancel each task that waits for an event, also in future."""
        self._ended = True
        self.put_nowait(None)

    @override
    async def get(self) -> Any:
        event = await super().get()
        if self._ended:
            raise asyncio.CancelledError
        return event


def _plain_annotation(event: Any) -> None:
    """Turn a streamed annotation into a dict.

    openai (3.57) has a class for it, which openai-chatkit (1.6.5) refuses with an error.
    """
    data = getattr(event, "data", None)
    annotation = getattr(data, "annotation", None)
    if isinstance(annotation, BaseModel):
        data.annotation = annotation.model_dump()  # type: ignore[union-attr]  # it has one


def clean_config(config: RunConfig | None, reread: Sequence[Any] = ()) -> RunConfig:
    """Return a configuration that keeps lone surrogates from the model: no client can send them.

    :param reread: messages for the end of the input: files that the model has looked at again.
    """
    config = config or RunConfig()
    own = config.call_model_input_filter

    async def clean_input(call: CallModelData[Any]) -> ModelInputData:
        given = own(call) if own is not None else call.model_data
        data = await given if inspect.isawaitable(given) else given
        cleaned = [*clean(data.input), *reread]
        return ModelInputData(input=cleaned, instructions=clean(data.instructions))

    return dataclasses.replace(config, call_model_input_filter=clean_input)
