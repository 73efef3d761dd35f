"""A model with scripted replies, for the tests of agents without a key or a network."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from agents import (
    Agent,
    AgentOutputSchemaBase,
    Handoff,
    Model,
    ModelBehaviorError,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    RunConfig,
    Tool,
    TResponseInputItem,
    Usage,
)
from agents.items import TResponseStreamEvent
from agents.run import AgentRunner

from .asked import Asked, check_input, fitting
from .model_events import ResponseWriter
from .replies import FakeModelError, ModelReply, as_reply


class FakeModel(Model):
    """A model with scripted replies, for one agent or, with :func:`fake_models`, for all.

    .. code-block:: python

        model = FakeModel(ToolCall("order_status", {"number": "1042"}), "It is packed.")
        agent = agent.clone(model=model)
        ...
        assert model.asked[1].tool_outputs == ["packed"]

    Each call of the model takes the next reply: a string, which is streamed word by word; a
    :class:`ToolCall` or :class:`HandoffTo`; a list of these; a pydantic object or mapping for an
    agent with an ``output_type``; a :class:`ModelReply` for everything else; an exception, such as
    :func:`model_error` returns; or a function of :class:`Asked`, sync or async, that returns one of
    them. A reply that a real model could not have given raises :class:`FakeModelError`.

    Titles of threads are answered separately from the script.

    :param replies: the script.
    :param default: the reply after the end of the script; without one, a further call is an error.
    :param title: the title of threads, or an exception to raise instead.
    """

    def __init__(
        self, *replies: Any, default: Any = None, title: str | Exception = "A title"
    ) -> None:
        #: The name that a chat's composer may change.
        self.model = "fake"
        #: The calls so far, the first one first.
        self.asked: list[Asked] = []
        #: The calls for titles.
        self.titles_asked: list[Asked] = []
        self._replies: list[Any] = []
        self._default = _checked(default) if default is not None else None
        self._title = title
        self._lock = threading.Lock()
        self._misfits: list[FakeModelError] = []
        self.add(*replies)

    def add(self, *replies: Any) -> None:
        """Append to the script.

        :raises TypeError: something is not a reply.
        """
        self._replies += [_checked(reply) for reply in replies]

    @property
    def unused(self) -> list[Any]:
        """The replies that no call has taken yet."""
        return list(self._replies)

    def assert_done(self) -> None:
        """Check that every reply of the script was used and fitted its call.

        :raises FakeModelError: a reply is left, or one did not fit. The SDK hides the error of a
            reply that did not fit if the agent was a tool of another agent.
        """
        if self._misfits:
            raise self._misfits[0]
        if self._replies:
            raise FakeModelError(
                f"the model was asked {len(self.asked)} times, and never for {self._replies!r}"
            )

    def clear(self) -> None:
        """Discard the rest of the script."""
        self._replies.clear()
        self._misfits.clear()

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the package's name
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff],
        tracing: ModelTracing,  # noqa: ARG002 - nothing is traced
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: Any = None,  # noqa: ARG002 - OpenAI's own
    ) -> ModelResponse:
        """Reply at once; called by the Agents SDK."""
        asked = self._ask(
            system_instructions, input, model_settings, tools, output_schema, handoffs, False
        )
        remote = previous_response_id is not None or conversation_id is not None
        reply, writer = await self._begin(asked, is_remote=remote)
        await _fail_or_hang(reply, asked)
        response = writer.whole()
        given, made = reply.usage
        usage = Usage(requests=1, input_tokens=given, output_tokens=made, total_tokens=given + made)
        return ModelResponse(output=response.output, usage=usage, response_id=response.id)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the package's name
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff],
        tracing: ModelTracing,  # noqa: ARG002 - nothing is traced
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: Any = None,  # noqa: ARG002 - OpenAI's own
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Reply in events; called by the Agents SDK."""
        asked = self._ask(
            system_instructions, input, model_settings, tools, output_schema, handoffs, True
        )
        remote = previous_response_id is not None or conversation_id is not None
        reply, writer = await self._begin(asked, is_remote=remote)
        is_done = False
        try:
            for event in writer.events():
                # Like a real model, let other tasks run between two events.
                await asyncio.sleep(0)
                is_done = event.type in {"response.completed", "response.incomplete"}
                yield event
            await _fail_or_hang(reply, asked)
        except (asyncio.CancelledError, GeneratorExit):
            asked.is_cancelled = not is_done
            raise
        if reply.incomplete is not None:
            raise _incomplete(writer)

    # --- the script -------------------------------------------------------------------------------

    def _ask(
        self,
        instructions: str | None,
        given: str | list[TResponseInputItem],
        settings: ModelSettings,
        tools: list[Tool],
        schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff],
        is_streamed: bool,  # noqa: FBT001 - there is one caller for each value
    ) -> Asked:
        items: list[Any] = [{"role": "user", "content": given}] if isinstance(given, str) else given
        return Asked(
            instructions=instructions,
            input=[dict(copy.deepcopy(item)) for item in items],
            tools=[tool.name for tool in tools],
            handoffs=[handoff.agent_name for handoff in handoffs],
            settings=copy.deepcopy(settings),
            model=self.model,
            is_streamed=is_streamed,
            tools_given=tuple(tools),
            handoffs_given=tuple(handoffs),
            schema=schema if schema is not None and not schema.is_plain_text() else None,
        )

    async def _begin(self, asked: Asked, *, is_remote: bool) -> tuple[ModelReply, ResponseWriter]:
        try:
            reply = await self._next(asked, is_remote=is_remote)
            calls, text = fitting(reply, asked)
        except FakeModelError as error:
            self._misfits.append(error)
            raise
        return reply, ResponseWriter(reply, calls, text, self.model)

    async def _next(self, asked: Asked, *, is_remote: bool) -> ModelReply:
        if _is_title(asked):
            self.titles_asked.append(asked)
            return as_reply(self._title)
        with self._lock:
            self.asked.append(asked)
            given = self._replies.pop(0) if self._replies else self._default
            number = len(self.asked)
        if given is None:
            raise FakeModelError(
                f"call {number} of the model has no reply in the script. It was asked "
                f"{asked.text[:200]!r}, tools returned {asked.tool_outputs}, instructions "
                f"{(asked.instructions or '')[:80]!r}"
            )
        if not is_remote:
            # With the conversation at OpenAI, only new items are sent.
            check_input(asked.input)
        return await _called(given, asked)


@contextmanager
def fake_models(
    *replies: Any, default: Any = None, title: str | Exception = "A title"
) -> Iterator[FakeModel]:
    """Replace every agent's model with one :class:`FakeModel`.

    This applies to all runs of the Agents SDK in this process during the block, whatever model an
    agent, a ``RunConfig`` or a provider names, except for agents that have a ``FakeModel`` of their
    own. Nothing is traced. At the end, every reply must have been used.

    :raises FakeModelError: one was not; see :class:`FakeModel` for the rest.
    """
    model = FakeModel(*replies, default=default, title=title)

    def faked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(self: AgentRunner, starting_agent: Agent[Any], *args: Any, **options: Any) -> Any:
            config = _faked_config(options.get("run_config"), starting_agent, model)
            return method(self, starting_agent, *args, **{**options, "run_config": config})

        return run

    with ExitStack() as patches:
        for name in ("run", "run_sync", "run_streamed"):
            method = faked(getattr(AgentRunner, name))
            patches.enter_context(mock.patch.object(AgentRunner, name, method))
        yield model
    model.assert_done()


def _faked_config(given: Any, agent: Agent[Any], model: FakeModel) -> RunConfig:
    config = RunConfig(**given) if isinstance(given, Mapping) else given or RunConfig()
    named = config.model if config.model is not None else agent.model
    if isinstance(named, FakeModel):
        return replace(config, tracing_disabled=True)
    fake = copy.copy(model)
    name = named if isinstance(named, str) else getattr(named, "model", None)
    fake.model = name if isinstance(name, str) else model.model
    return replace(config, model=fake, tracing_disabled=True)


def _checked(given: Any) -> Any:
    """Check a reply of a script, unless it is a function, which is called later."""
    if isinstance(given, type) or not callable(given):
        as_reply(given)
    return given


async def _called(given: Any, asked: Asked) -> ModelReply:
    if callable(given):
        given = given(asked)
        if inspect.isawaitable(given):
            given = await given
    return as_reply(given)


async def _fail_or_hang(reply: ModelReply, asked: Asked) -> None:
    if reply.hang:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            asked.is_cancelled = True
            raise
    if reply.error is not None:
        raise reply.error


def _incomplete(writer: ResponseWriter) -> Exception:
    """Return the error that the SDK's own model raises after an incomplete response."""
    response = writer.last
    try:
        from agents.models._response_terminal import response_terminal_failure_error
    except ImportError:  # another version of the SDK
        return ModelBehaviorError("Responses stream ended with `response.incomplete`.")
    return response_terminal_failure_error("response.incomplete", response)


def _is_title(asked: Asked) -> bool:
    from ..server.agents.titles import TITLE_INSTRUCTIONS, writing_title

    return writing_title.get() or asked.instructions == TITLE_INSTRUCTIONS
