"""A run of an agent, as the events that ChatKit's client reads."""

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
from .half_answers import cut_short, events_until, leaves_half
from .item_ids import ItemIds
from .memory import Recorder, remember_speaker
from .models import warn_retiring

logger = logging.getLogger("flask_chatkit")

#: Seconds that what a stopped answer has running gets to end.
CLEANUP_SECONDS = 2.0


class AgentRun:
    """A run of an agent, which can be stopped wherever the answer stands.

    ``stream_agent_response`` reads the run's events and those of its tools side by side, each in a
    task for the next one. When it is stopped itself it leaves both tasks pending (1.6.5), and with
    them the model's call.
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
        self._run_events = self._watched(events_until(result))
        self._next: asyncio.Future[Any] | None = None
        self._stopped = False
        self._first = result.current_agent.name
        self._recorder = Recorder(context, context.generate_id)
        self._message: UserMessageItem | None = None
        self._speaking: AssistantMessageItem | None = None
        self._said = ""
        #: Why the model's answer is not complete, and the error that its stream has ended with.
        self.incomplete: str | None = None
        self.failure: Any = None

    async def events(
        self,
        store: Store[ChatContext],
        thread: ThreadMetadata,
        context: ChatContext,
        items: Sequence[ThreadItem] = (),
    ) -> AsyncIterator[ThreadStreamEvent]:
        """The events that ChatKit's client reads."""
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
        """What this run has added to what the model is told."""
        return [item.to_input_item() for item in self._result.new_items]

    @property
    def is_speaking(self) -> bool:
        """Whether the visitor reads a message that is not at its end."""
        return self._speaking is not None

    def close(self, ended: Ending) -> list[ThreadStreamEvent]:
        """What ends an answer early: the end of the message that is open, and a notice."""
        events: list[ThreadStreamEvent] = []
        item, self._speaking = self._speaking, None
        # The SDK raises before all is read that the model has said (0.24.0).
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
        """The last events of a run that an error has ended.

        :param ended: why the answer has ended early, if the error is no fault.
        """
        if ended is None:
            return self.keep_half(error)
        logger.info("An answer has ended early: %s", ended.reason)
        return self.close(ended)

    def keep_half(self, error: Exception) -> list[ThreadStreamEvent]:
        """What keeps the message that an error has cut short, if the visitor reads one."""
        if not self.is_speaking or not leaves_half(error):
            return []
        events = self.close(Ending("cut short"))
        if isinstance(events[0], ThreadItemDoneEvent):
            events.append(cut_short(self._context))
        return events

    def _follow(self, event: ThreadStreamEvent) -> None:
        """Keep what of a message the visitor reads."""
        if isinstance(event, ThreadItemAddedEvent) and event.item.type == "assistant_message":
            self._speaking = event.item.model_copy(deep=True)
        elif isinstance(event, (ThreadItemDoneEvent, ThreadItemRemovedEvent)):
            ended = event.item.id if isinstance(event, ThreadItemDoneEvent) else event.item_id
            if isinstance(event, ThreadItemDoneEvent) and event.item.type == "assistant_message":
                self._said = text_of(event.item)
            if self._speaking is not None and self._speaking.id == ended:
                self._speaking = None
        elif isinstance(event, ThreadItemUpdatedEvent) and self._speaking is not None:
            update, content = event.update, self._speaking.content
            if isinstance(update, AssistantMessageContentPartTextDelta):
                while len(content) <= update.content_index:
                    content.append(AssistantMessageContent(text=""))
                content[update.content_index].text += update.delta

    async def _advance(self) -> Any:
        event = await self._run_events.__anext__()
        _plain_annotation(event)
        if event.type == "agent_updated_stream_event":
            new, thread = event.new_agent.name, self._context.thread
            remember_speaker(thread, new, self._first, self._message)
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
        """The run's own events, as they come."""
        try:
            async for event in events:
                if event.type == "agent_updated_stream_event":
                    warn_retiring(event.new_agent, self._config)
                yield event
        finally:
            await events.aclose()

    def stream_events(self) -> AgentRun:
        """What ``stream_agent_response`` asks of a run."""
        return self

    def __aiter__(self) -> AgentRun:
        return self

    def __anext__(self) -> asyncio.Future[Any]:
        # A task of ours, where the package would make one that nobody can find again.
        self._next = asyncio.ensure_future(self._advance())
        return self._next

    def stop(self) -> None:
        """End the model's call and whatever else is running; once is enough."""
        if self._stopped:
            return
        self._stopped = True
        self._tools_events.end()
        if self._next is not None:
            self._next.cancel()
        if not self._result.is_complete:
            self._result.cancel()

    def forget(self) -> None:
        """Let go of the files that the model was sent.

        The SDK's results refer to themselves (0.24.0), and so do the tracebacks that
        ``stream_agent_response`` leaves (1.6.5): they are in memory until Python looks for such
        garbage.
        """
        self._result.context_wrapper.turn_input = []
        self._result = None

    async def settle(self) -> None:
        """Stop, and wait a moment until nothing runs any more."""
        self.stop()
        running = [self._next, getattr(self._result, "run_loop_task", None)]
        pending = [task for task in running if task is not None and not task.done()]
        if pending:
            await asyncio.wait(pending, timeout=CLEANUP_SECONDS)
        for task in running:
            if task is not None and task.done() and not task.cancelled():
                # Looked at, so that nobody complains that it never was.
                task.exception()
        # What it has to say was said, or is not wanted any more.
        with suppress(Exception):
            await asyncio.wait_for(self._run_events.aclose(), CLEANUP_SECONDS)


class ToolEvents(asyncio.Queue[Any]):
    """The events of an agent's tools; whoever waits for one is cancelled at the end."""

    _ended = False

    def end(self) -> None:
        """Cancel who waits for an event, now and from now on."""
        self._ended = True
        self.put_nowait(None)

    @override
    async def get(self) -> Any:
        event = await super().get()
        if self._ended:
            raise asyncio.CancelledError
        return event


def _plain_annotation(event: Any) -> None:
    """Make a streamed source of a model's a dict.

    openai (3.57) has a class of its own for it, and openai-chatkit (1.6.5) refuses that, and with
    it the whole answer.
    """
    data = getattr(event, "data", None)
    annotation = getattr(data, "annotation", None)
    if isinstance(annotation, BaseModel):
        data.annotation = annotation.model_dump()  # type: ignore[union-attr]  # it has one


def clean_config(config: RunConfig | None, looked: Sequence[Any] = ()) -> RunConfig:
    """The configuration, with half surrogates kept from the model: no client can send them.

    :param looked: what the model is told after all else: files that it has looked at again.
    """
    config = config or RunConfig()
    own = config.call_model_input_filter

    async def clean_input(data: CallModelData[Any]) -> ModelInputData:
        given = own(data) if own is not None else data.model_data
        told = await given if inspect.isawaitable(given) else given
        cleaned = [*clean(told.input), *looked]
        return ModelInputData(input=cleaned, instructions=clean(told.instructions))

    return dataclasses.replace(config, call_model_input_filter=clean_input)
