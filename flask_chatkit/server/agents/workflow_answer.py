"""One answer of an exported workflow: its runs, and what of them is shown."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

from agents import Agent, AgentOutputSchemaBase, ItemHelpers, RunResultStreaming, RunState
from agents.run import AgentRunner
from chatkit.agents import AgentContext
from chatkit.errors import CustomStreamError
from chatkit.types import (
    ClientToolCallItem,
    CustomTask,
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)
from pydantic import BaseModel
from typing_extensions import override

from ..assistants.base import Writer
from ..assistants.chat import Step, text_of
from ..assistants.workers import Work
from .errors import REFUSED, ending, fault_of, told
from .mcp import connected
from .models import warn_retiring
from .refusals import Refusals, shortened_outputs
from .runner import answering, merged_options
from .server import AgentServer, _cleaning, _Run, _Title
from .shape import FIELD
from .told_files import Files
from .tracing import guarded
from .usage import count_run
from .workflow_memory import Memory, memory_of, text_item, with_text

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: A run that continues a conversation of its own is given no earlier turns.
_OWN_HISTORY = ("session", "conversation_id", "previous_response_id")
#: Kinds of items that count as shown: with one of them, what the export returns is not.
_SHOWN = frozenset({"assistant_message", "client_tool_call", "generated_image", "widget"})
_RAW_TEXT = ("response.output_text.", "response.content_part.", "response.refusal.")


@dataclasses.dataclass
class Returned:
    """What the exported function has returned."""

    value: Any


class WorkflowAnswer:
    """One answer of an exported workflow: its runs, and what of them is shown.

    :param files: the files of the answer.
    :param is_global: whether an agent is one of the export's module.
    """

    def __init__(
        self,
        server: AgentServer,
        work: Work,
        thread: ThreadMetadata,
        items: Sequence[ThreadItem],
        said: UserMessageItem | None,
        files: Files,
        is_global: Callable[[Agent[Any]], bool],
    ) -> None:
        self._server = server
        self._is_global = is_global
        self._work = work
        self._thread = thread
        self._items = items
        self._said = said
        self._said_first = said
        self._files = files
        self._context = files.context
        self._refusals = Refusals(thread, items)
        self.memory = Memory("", [], [], [])
        self.title = _Title(None)
        #: The error of a run that ended early, which is no fault.
        self.early_end: Exception | None = None
        self._has_title = False
        self._last = ""
        self._shown: dict[str, bool] = {}
        self._loop = asyncio.get_running_loop()
        self._runs: set[_WorkflowRun] = set()
        self._calls: set[Any] = set()
        self._streams: set[asyncio.Task[None]] = set()
        #: Those whose end the export itself has been given.
        self._read: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._is_refused = False
        #: Whether it has ended well: what its code left running is no part of it.
        self.finished = False

    # --- the answer's side ----------------------------------------------------------------------

    async def remember(self) -> None:
        """Read what the export does not know, without what a model's service has refused."""
        kept = self._refusals.left_out.kept(self._items)
        start = self.memory.start
        self.memory = await memory_of(self._files, kept, self._said_first)
        self.memory.start = start

    async def events(self) -> AsyncIterator[ThreadStreamEvent]:
        """The events that ChatKit's client reads."""
        store, thread, context = self._server.store, self._thread, self._context
        writer = Writer(thread, lambda kind: store.generate_item_id(kind, thread, context))
        try:
            async for output in self._work.channel:
                if isinstance(output, Returned):
                    for event in self._returned(output.value, writer):
                        yield event
                    if self._is_refused:
                        raise CustomStreamError(REFUSED)
                    continue
                for event in writer.write(output):
                    self._note(event)
                    yield event
                item = getattr(output, "item", None)
                if isinstance(item, ClientToolCallItem) and item.status == "pending":
                    # ChatKit takes the page's answer for the last item only.
                    break
        except Exception:
            self.stop()
            for event in writer.end():
                yield event
            raise
        for event in writer.end():
            yield event

    def _note(self, event: ThreadStreamEvent) -> None:
        if isinstance(event, (ThreadItemDoneEvent, ThreadItemReplacedEvent)):
            item = event.item
            has_text = item.type != "assistant_message" or bool(text_of(item).strip())
            if item.type in _SHOWN and has_text:
                self._shown[item.id] = True
        elif isinstance(event, ThreadItemRemovedEvent):
            self._shown.pop(event.item_id, None)

    def _returned(self, value: Any, writer: Writer) -> list[ThreadStreamEvent]:
        """What of a returned value is shown.

        :raises CustomStreamError: it is what a failed guardrail has found.
        """
        if _is_failed_guardrail(value):
            logger.warning("A guardrail stopped an answer")
            self._is_refused = True
            ended = list(writer.end())
            for event in ended:
                self._note(event)
            return [*ended, *(ThreadItemRemovedEvent(item_id=one) for one in self._shown)]
        if self._shown:
            return []
        text = _text_returned(value) or self._last
        if not text.strip():
            logger.warning("A workflow has neither shown nor returned a text")
            return []
        return list(writer.write(text))

    def stop(self) -> None:
        """End the workflow and the model's calls; once is enough."""
        if self._stopped:
            return
        self._stopped = True
        self._work.stop()
        self.title.stop()
        for run in list(self._runs):
            run.stop()
        for one in [*self._calls, *self._streams]:
            one.cancel()

    # --- the export's side ----------------------------------------------------------------------

    def is_on_loop(self) -> bool:
        """Whether the caller runs on the loop of this answer."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait, in the thread of a sync workflow, for what only the loop can do."""
        future = self._on_loop(coroutine)
        try:
            return cast("T", future.result())
        except BaseException:
            if self._stopped:
                # Nothing that the export catches: it is to end.
                raise asyncio.CancelledError from None
            raise
        finally:
            self._calls.discard(future)

    def _on_loop(self, coroutine: Coroutine[Any, Any, T]) -> Any:
        if self._stopped:
            coroutine.close()
            raise asyncio.CancelledError
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._calls.add(future)
        return future

    async def run(
        self, base: AgentRunner, agent: Agent[Any], given: Any, options: Mapping[str, Any]
    ) -> RunResultStreaming:
        """Run an agent, and show what it says; the result is complete."""
        if not self.is_on_loop():
            # A sync workflow that runs a loop of its own.
            future = self._on_loop(self.run(base, agent, given, options))
            return cast("RunResultStreaming", await asyncio.wrap_future(future))
        async with connected(agent, keep=self._is_global(agent)):
            return await self._run_until_accepted(base, agent, given, options)

    async def _run_until_accepted(
        self, base: AgentRunner, agent: Agent[Any], given: Any, options: Mapping[str, Any]
    ) -> RunResultStreaming:
        """Run an agent; again, with less of the thread, while a model's service refuses that."""
        carried: list[Any] = []
        start = self.memory.start
        while True:
            run = self._begin(base, agent, given, options, carried)
            try:
                await self._show(run)
            except Exception as error:
                fault = fault_of(error, run.failure)
                # What the visitor reads at this moment can't be taken back.
                if fault is None or run.is_speaking or not self._refusals.give_way(fault):
                    raise
                logger.info("A model's service refused a history: %s", told(error))
                agent, carried = run.agent, carried + run.produced
                self.memory.start = start
                await self.remember()
            else:
                return run.result

    def run_streamed(
        self, base: AgentRunner, agent: Agent[Any], given: Any, options: Mapping[str, Any]
    ) -> RunResultStreaming:
        """Start a run that the export reads as well."""
        run = self._begin(base, agent, given, options)
        copy: asyncio.Queue[Any] = asyncio.Queue()
        run.copy = copy
        task = asyncio.create_task(self._show_copied(run, copy))
        self._streams.add(task)

        async def stream_events() -> AsyncIterator[Any]:
            while True:
                event = await copy.get()
                if event is None:
                    # Raises what the run has ended with.
                    self._read.add(task)
                    await task
                    return
                yield event

        run.result.stream_events = stream_events  # type: ignore[method-assign] # for this one
        return run.result

    async def wait_for_streams(self) -> None:
        """Wait until all that streams has been shown."""
        if self._streams:
            await asyncio.wait(self._streams)
            for task in self._streams:
                # What the export did not read is raised here.
                if not task.cancelled() and task.exception() is not None and task not in self._read:
                    task.result()

    async def _show_copied(self, run: _WorkflowRun, copy: asyncio.Queue[Any]) -> None:
        try:
            await self._show(run)
        finally:
            copy.put_nowait(None)

    async def _show(self, run: _WorkflowRun) -> None:
        self._runs.add(run)
        channel = self._work.channel
        try:
            if self._stopped:
                raise asyncio.CancelledError
            store, context = self._server.store, self._context
            async for event in run.events(store, self._thread, context, self._items):
                for notice in self._refusals.accepted():
                    await channel.put_on_loop(notice)
                await channel.put_on_loop(event)
        except Exception as error:
            await self._end_early(run, error)
            raise
        finally:
            self._runs.discard(run)
            await run.settle()
        text = ItemHelpers.text_message_outputs(run.result.new_items)
        self._last = text or (
            run.result.final_output if isinstance(run.result.final_output, str) else self._last
        )

    async def _end_early(self, run: _WorkflowRun, error: Exception) -> None:
        """Show the text so far of a run that ended early; the export is told as always."""
        ended = ending(error, run.incomplete)
        if ended is None:
            if not self._work.channel.closed:
                for event in run.keep_half(error):
                    await self._work.channel.put_on_loop(event)
            return
        logger.info("An answer has ended early: %s", ended.reason)
        self.early_end = error
        for event in run.close(ended):
            await self._work.channel.put_on_loop(event)

    def _begin(
        self,
        base: AgentRunner,
        agent: Agent[Any],
        given: Any,
        options: Mapping[str, Any],
        carried: Sequence[Any] = (),
    ) -> _WorkflowRun:
        server, context = self._server, self._context
        settings = merged_options(server._run_options, options)  # noqa: SLF001 - its own class
        has_tool = self._said is not None and any(
            self._said.inference_options.tool_choice is not None
            and one.name == self._said.inference_options.tool_choice.id
            for one in agent.tools
        )
        asked = next(
            (one for one in reversed(self._items) if isinstance(one, UserMessageItem)), None
        )
        chosen, config = server._chosen(  # noqa: SLF001 - a part of the server
            agent,
            self._said if has_tool else None,
            [asked] if asked else [],
            settings["run_config"],
        )
        if has_tool:
            # A tool is asked for once.
            self._said = None
        settings["run_config"] = _cleaning(guarded(agent, config))
        if not isinstance(given, RunState):
            if any(options.get(key) for key in _OWN_HISTORY):
                given = self.memory.accompany(given)
            else:
                is_first = self.memory.start is None
                given = [*self.memory.precede(given), *carried]
                if is_first:
                    self._keep_changed()
                if self._refusals.left_out.short_outputs:
                    given = shortened_outputs(given)
        own = AgentContext[Any](thread=self._thread, store=server.store, request_context=context)
        if settings.get("context") is None and not isinstance(given, RunState):
            settings["context"] = own
        # The runs inside of this one, by tools and handoffs, and the title's, are plain ones.
        token = answering.set(None)
        try:
            if not self._has_title:
                self._has_title = True
                self.title = server._begin_title(  # noqa: SLF001 - a part of the server
                    agent, config, self._thread, self._items
                )
            result = base.run_streamed(chosen, given, **settings)
            count_run(result.context_wrapper.usage)
            run = _WorkflowRun(result, own, config)
        finally:
            answering.reset(token)
        run.begin(agent, self._work)
        return run

    def _keep_changed(self) -> None:
        """Keep what a guardrail made of this message: titles and later turns are told that."""
        text = self.memory.changed_text()
        asked = next((one for one in reversed(self._items) if _is_message(one)), None)
        if text is None or not isinstance(asked, UserMessageItem):
            return
        self._items = [with_text(one, text) if one is asked else one for one in self._items]
        if not self._work.channel.closed:
            new_id = self._server.store.generate_item_id("message", self._thread, self._context)
            item = text_item(new_id, asked, text)
            self._work.channel.put(ThreadItemDoneEvent(item=item))


class _WorkflowRun(_Run):
    """A run of an exported workflow: an agent with a structured output shows a step instead."""

    #: What the export reads of this run, if it streams itself.
    copy: asyncio.Queue[Any] | None = None
    _is_hidden = False
    _work: Work

    @property
    def result(self) -> RunResultStreaming:
        """The result of the Agents SDK."""
        result: RunResultStreaming = self._result
        return result

    def begin(self, agent: Agent[Any], work: Work) -> None:
        """Begin with the agent that the export has named."""
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


def _is_message(item: ThreadItem) -> bool:
    return isinstance(item, UserMessageItem)


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


def _is_failed_guardrail(value: Any) -> bool:
    """Whether this is what ``build_guardrail_fail_output`` of an export returns."""
    if not isinstance(value, Mapping) or "output_text" in value:
        return False
    return any(
        isinstance(one, Mapping) and one.get("failed") is True for one in (value, *value.values())
    )


def _text_returned(value: Any) -> str:
    """The text of what an export returns; empty for none."""
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
