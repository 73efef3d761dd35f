"""A run of an exported workflow, in which an agent with structured output shows a step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from agents import Agent, AgentOutputSchemaBase, RunResultStreaming
from chatkit.types import CustomTask
from typing_extensions import override

from ..assistants.workers import Work
from ..assistants.writer import Step
from .models import warn_retiring
from .run import AgentRun

_RAW_TEXT = ("response.output_text.", "response.content_part.", "response.refusal.")


class WorkflowRun(AgentRun):
    """A run of an exported workflow, in which an agent with structured output shows a step."""

    #: The run's events for the export, if it streams itself.
    copy: asyncio.Queue[Any] | None = None
    _is_hidden = False
    _work: Work

    @property
    def result(self) -> RunResultStreaming:
        """The result of the Agents SDK."""
        result: RunResultStreaming = self._result
        return result

    def begin(self, agent: Agent[Any], work: Work) -> None:
        """Begin with the agent that the export runs."""
        self._work = work
        self._enter(agent)

    def _enter(self, agent: Agent[Any]) -> None:
        self._is_hidden = _is_structured(agent.output_type)
        if self._is_hidden and not self._work.channel.closed:
            task = CustomTask(title=agent.name)
            self._work.channel.put(Step("custom", task))

    @override
    async def _watched(self, events: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        known = self._result.current_agent
        warn_retiring(known, self._config)
        try:
            async for event in events:
                if self.copy is not None:
                    self.copy.put_nowait(event)
                if event.type == "agent_updated_stream_event" and event.new_agent is not known:
                    known = event.new_agent
                    warn_retiring(known, self._config)
                    self._enter(known)
                if not (self._is_hidden and _is_text(event)):
                    yield event
        finally:
            await events.aclose()


def _is_text(event: Any) -> bool:
    """Whether an event is part of a model's message."""
    if event.type != "raw_response_event":
        return False
    data = event.data
    if data.type in {"response.output_item.added", "response.output_item.done"}:
        return bool(data.item.type == "message")
    return str(data.type).startswith(_RAW_TEXT)


def _is_structured(output_type: Any) -> bool:
    if isinstance(output_type, AgentOutputSchemaBase):
        return not output_type.is_plain_text()
    return output_type is not None and output_type is not str
