"""What a function's answer is made of, and the events that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from chatkit.store import StoreItemType
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ClientToolCallItem,
    CustomTask,
    DurationSummary,
    ThoughtTask,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    WidgetItem,
    Workflow,
    WorkflowItem,
    WorkflowTaskAdded,
)
from pydantic import BaseModel

from .widgets import as_widget, is_widget

ACCEPTED = (
    "text, a widget, an event or item of chatkit.types, or what a helper of the chat returned"
)

_EVENTS = get_args(get_args(ThreadStreamEvent)[0])
_ITEMS = get_args(get_args(ThreadItem)[0])


class Sent:
    """Returned by the helpers of ``Chat``, which have sent already: yielding it does nothing."""


@dataclass(frozen=True)
class Outgoing:
    """Something that a helper sends, on its way to the writer."""

    what: Any


@dataclass(frozen=True)
class Step:
    """A task of a workflow; consecutive ones form one."""

    kind: Literal["reasoning", "custom"]
    task: ThoughtTask | CustomTask


def is_single_output(value: Any) -> bool:
    """Whether what a function returned is one output; else it is iterated over."""
    # Strings, models and dicts are iterable as well, but each is one output.
    return isinstance(value, (str, bytes, bytearray, Mapping, BaseModel, Sent)) or not hasattr(
        value, "__iter__"
    )


class Writer:
    """Turns the outputs of a function into events for ChatKit's client.

    Consecutive strings become one message, and consecutive steps one workflow.

    :param thread: where the answer goes.
    :param new_id: makes an item's id.
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

        :raises TypeError: it is none of the accepted outputs.
        :raises ValueError: it is an invalid widget.
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
        """The events that complete the message or workflow under way."""
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
            # As openai-chatkit does it: only a reasoning workflow begins empty.
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
