"""Half an answer is none: streams of a model's service that close before their end.

The Agents SDK (0.24) asks the official API alone for a finish reason. What any other service, or a
gateway before it, has sent by the time the stream closes is a complete answer to it: the half of a
sentence, or nothing at all where a page of HTML came with status 200.
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

#: What the SDK itself says of a stream without an end: the Responses API's, and the other's.
_SDK_WORDS = ("Model did not produce a final response", "Chat Completions stream ended before")
#: What a model is told in the next turn.
CUT_SHORT = (
    "The answer above was cut off by a fault before its end. The user has seen this much of it."
)

#: Whether streams are asked for their end: in answers of ours, and nowhere else in the process.
_is_asked: ContextVar[bool] = ContextVar("flask_chatkit_whole_answers", default=False)
_installing = threading.Lock()


class HalfAnswer(ModelBehaviorError):
    """A model's service has closed the stream of an answer before its end."""


def is_half(error: Exception) -> bool:
    """Whether an error means that a stream has closed before its end."""
    if isinstance(error, HalfAnswer):
        return True
    return isinstance(error, ModelBehaviorError) and str(error).startswith(_SDK_WORDS)


def leaves_half(error: Exception) -> bool:
    """Whether what was said before an error is the beginning of an answer, to be kept.

    What a guardrail has stopped is not.
    """
    return isinstance(error, openai.OpenAIError) or is_half(error)


def ask_for_ends() -> None:
    """Take no stream without an end for an answer, in this task and those that it begins."""
    with _installing:
        if not getattr(ChatCmplStreamHandler.handle_stream, "asks_for_ends", False):
            _install()
    _is_asked.set(True)


def cut_short(context: AgentContext[Any]) -> ThreadItemDoneEvent:
    """What tells a model in the next turn that it did not come to the end; no page gets it."""
    item = SDKHiddenContextItem(
        id=context.generate_id("sdk_hidden_context"),
        thread_id=context.thread.id,
        created_at=datetime.now(timezone.utc),
        content=CUT_SHORT,
    )
    return ThreadItemDoneEvent(item=item)


def events_until(result: RunResultStreaming) -> AsyncGenerator[Any, None]:
    """The events of a run, up to what a model has said last before a fault.

    By itself, the SDK drops what has come and was not read when the fault is raised.
    """
    # At once: an export that reads the run itself is given others.
    return _events_until(result, result.stream_events())


async def _events_until(result: RunResultStreaming, events: Any) -> AsyncGenerator[Any, None]:
    try:
        while True:
            task = getattr(result, "run_loop_task", None)
            if task is not None and task.done() and not task.cancelled():
                error = task.exception()
                if isinstance(error, Exception) and leaves_half(error):
                    drain_events_before(error)
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
            yield event
    finally:
        await events.aclose()


class _WholeChunks:
    """The chunks of a stream; its end is an error if none of them had a finish reason."""

    def __init__(self, chunks: AsyncIterator[Any]) -> None:
        self._chunks = chunks.__aiter__()
        self._is_whole = False

    def __aiter__(self) -> _WholeChunks:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            if self._is_whole:
                raise
            raise HalfAnswer("the stream has ended without a finish reason") from None
        except ValueError as error:
            # It was cut within a line, or is something else than JSON.
            raise HalfAnswer(f"the stream is broken: {type(error).__name__}") from None
        choices = getattr(chunk, "choices", None) or ()
        if any(getattr(choice, "finish_reason", None) is not None for choice in choices):
            self._is_whole = True
        return chunk


def _install() -> None:
    # The one place through which the chunks of all models by chat completions come, those of
    # LiteLLM and any-llm included; the SDK has no other place for this (0.24.0).
    theirs: Any = ChatCmplStreamHandler.handle_stream

    async def handle_stream(response: Any, stream: Any, *args: Any, **more: Any) -> Any:
        chunks = _WholeChunks(stream) if _is_asked.get() else stream
        async for event in theirs(response, chunks, *args, **more):
            yield event

    handle_stream.asks_for_ends = True  # type: ignore[attr-defined] # a mark of ours
    ChatCmplStreamHandler.handle_stream = staticmethod(handle_stream)  # type: ignore[method-assign]
