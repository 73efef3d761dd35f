"""Detects streams of a model's service that close before their end.

The Agents SDK (0.24) checks the finish reason of the official API only. From any other service or
gateway, it takes a stream that has broken off for a complete answer: half a sentence, or nothing
at all for a page of HTML with status 200.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

import openai
from agents import ModelBehaviorError, RunResultStreaming
from agents.models.chatcmpl_stream_handler import ChatCmplStreamHandler
from chatkit.agents import AgentContext
from chatkit.types import SDKHiddenContextItem, ThreadItemDoneEvent

from .._upstream import drain_events_before

#: The SDK's errors for a stream without an end: of the Responses API, and of chat completions.
_SDK_WORDS = ("Model did not produce a final response", "Chat Completions stream ended before")
#: A note for the model in the next turn.
CUT_SHORT = (
    "The answer above was cut off by a fault before its end. The user has seen this much of it."
)

#: Whether streams need a finish reason: only in the kit's answers.
_requires_finish: ContextVar[bool] = ContextVar("flask_chatkit_whole_answers", default=False)
_installing = threading.Lock()


class IncompleteResponse(ModelBehaviorError):
    """A model's service has closed the stream of an answer before its end."""


def is_incomplete(error: Exception) -> bool:
    """Whether an error means that a stream has closed before its end."""
    if isinstance(error, IncompleteResponse):
        return True
    return isinstance(error, ModelBehaviorError) and str(error).startswith(_SDK_WORDS)


def keeps_partial(error: Exception) -> bool:
    """Whether the text before an error is kept; not if a guardrail stopped it."""
    return isinstance(error, openai.OpenAIError) or is_incomplete(error)


def require_finish_reasons() -> None:
    """Raise for streams without a finish reason, in this task and those that it creates."""
    with _installing:
        if not getattr(ChatCmplStreamHandler.handle_stream, "requires_finish", False):
            _install()
    _requires_finish.set(True)


def cut_short_item(context: AgentContext[Any]) -> ThreadItemDoneEvent:
    """Build a hidden note for the model's next turn that its answer was cut short."""
    item = SDKHiddenContextItem(
        id=context.generate_id("sdk_hidden_context"),
        thread_id=context.thread.id,
        created_at=datetime.now(timezone.utc),
        content=CUT_SHORT,
    )
    return ThreadItemDoneEvent(item=item)


def drained_events(result: RunResultStreaming) -> AsyncGenerator[Any, None]:
    """Yield the events of a run, including those that arrived before a fault.

    By default, the SDK drops the unread events when it raises the fault.
    """
    # Called now, since an export that reads the run itself replaces the method.
    return _events_until(result, result.stream_events())


async def _events_until(result: RunResultStreaming, events: Any) -> AsyncGenerator[Any, None]:
    try:
        while True:
            task = getattr(result, "run_loop_task", None)
            if task is not None and task.done() and not task.cancelled():
                error = task.exception()
                if isinstance(error, Exception) and keeps_partial(error):
                    drain_events_before(error)
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
            yield event
    finally:
        await events.aclose()


class _FinishedChunks:
    """Iterates over a stream's chunks; its end is an error unless one had a finish reason."""

    def __init__(self, chunks: AsyncIterator[Any]) -> None:
        self._chunks = chunks.__aiter__()
        self._is_whole = False

    def __aiter__(self) -> _FinishedChunks:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            if self._is_whole:
                raise
            raise IncompleteResponse("the stream has ended without a finish reason") from None
        except ValueError as error:
            # It was cut within a line, or is not JSON.
            raise IncompleteResponse(f"the stream is broken: {type(error).__name__}") from None
        choices = getattr(chunk, "choices", None) or ()
        if any(getattr(choice, "finish_reason", None) is not None for choice in choices):
            self._is_whole = True
        return chunk


def _install() -> None:
    # The chunks of all chat completions pass through this method, including those of LiteLLM and
    # any-llm; the SDK has no hook for it (0.24.0).
    theirs: Any = ChatCmplStreamHandler.handle_stream

    async def handle_stream(response: Any, stream: Any, *args: Any, **more: Any) -> Any:
        chunks = _FinishedChunks(stream) if _requires_finish.get() else stream
        async for event in theirs(response, chunks, *args, **more):
            yield event

    handle_stream.requires_finish = True  # type: ignore[attr-defined] # marks the wrapper
    ChatCmplStreamHandler.handle_stream = staticmethod(handle_stream)  # type: ignore[method-assign]
