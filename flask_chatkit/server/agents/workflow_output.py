"""The output of an exported workflow, as events of the ChatKit protocol."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents import ItemHelpers, RunResultStreaming
from chatkit.errors import CustomStreamError
from chatkit.types import (
    ClientToolCallItem,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadStreamEvent,
)
from pydantic import BaseModel

from ..assistants.messages import text_of
from ..assistants.writer import Writer
from .errors import REFUSED
from .shape import FIELD

logger = logging.getLogger("flask_chatkit")

#: Types of items that count as output: after one of them, the export's result is not shown.
_SHOWN = frozenset({"assistant_message", "client_tool_call", "generated_image", "widget"})


@dataclass
class Returned:
    """The result of the exported function."""

    value: Any


class WorkflowOutput:
    """The output of an answer: that of its runs, through the channel, and the export's result."""

    def __init__(self) -> None:
        self._shown: dict[str, None] = {}
        self._last_text = ""

    def note_run(self, result: RunResultStreaming) -> None:
        """Keep the text of a run, which is shown if nothing else is."""
        text = ItemHelpers.text_message_outputs(result.new_items)
        output = result.final_output
        self._last_text = text or (output if isinstance(output, str) else self._last_text)

    async def events(
        self, channel: AsyncIterable[Any], writer: Writer
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Yield the events for the channel's outputs.

        :raises CustomStreamError: the export has returned the result of a failed guardrail.
        """
        async for output in channel:
            if isinstance(output, Returned):
                is_refused = _is_failed_guardrail(output.value)
                show = self._take_back if is_refused else self._show_returned
                for event in show(output.value, writer):
                    yield event
                if is_refused:
                    raise CustomStreamError(REFUSED)
                continue
            for event in writer.write(output):
                self._note(event)
                yield event
            item = getattr(output, "item", None)
            if isinstance(item, ClientToolCallItem) and item.status == "pending":
                # ChatKit accepts the page's result for the last item only.
                break

    def _note(self, event: ThreadStreamEvent) -> None:
        if isinstance(event, (ThreadItemDoneEvent, ThreadItemReplacedEvent)):
            item = event.item
            has_text = item.type != "assistant_message" or bool(text_of(item).strip())
            if item.type in _SHOWN and has_text:
                self._shown[item.id] = None
        elif isinstance(event, ThreadItemRemovedEvent):
            self._shown.pop(event.item_id, None)

    def _take_back(self, _value: Any, writer: Writer) -> list[ThreadStreamEvent]:
        """Remove the items of an answer that a guardrail stopped."""
        logger.warning("A guardrail stopped an answer")
        ended = list(writer.end())
        for event in ended:
            self._note(event)
        return [*ended, *(ThreadItemRemovedEvent(item_id=one) for one in self._shown)]

    def _show_returned(self, value: Any, writer: Writer) -> list[ThreadStreamEvent]:
        if self._shown:
            return []
        text = _text_returned(value) or self._last_text
        if not text.strip():
            logger.warning("A workflow has neither shown nor returned any text")
            return []
        return list(writer.write(text))


def _is_failed_guardrail(value: Any) -> bool:
    """Whether this is a result of the export's ``build_guardrail_fail_output``."""
    if not isinstance(value, Mapping) or "output_text" in value:
        return False
    return any(
        isinstance(one, Mapping) and one.get("failed") is True for one in (value, *value.values())
    )


def _text_returned(value: Any) -> str:
    """Return the text of an export's result; empty for none."""
    if isinstance(value, str):
        return value
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if not isinstance(value, Mapping) or FIELD in value:
        return ""
    if "output_text" in value:
        text = value["output_text"]
        return text if isinstance(text, str) else ""
    texts = [one for one in value.values() if isinstance(one, str)]
    return texts[0] if len(value) == len(texts) == 1 else ""
