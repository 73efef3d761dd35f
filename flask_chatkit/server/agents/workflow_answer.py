"""One answer of an exported workflow: its runs, and what of them is shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from agents import Agent, RunConfig, RunResultStreaming, RunState
from agents.run import AgentRunner
from chatkit.agents import AgentContext
from chatkit.types import (
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)

from ..assistants.workers import Work
from ..assistants.writer import Writer
from .choices import last_message
from .errors import ending, fault_of, told
from .loop_calls import LoopCalls
from .mcp import connected
from .refusals import Refusals, shortened_outputs
from .run import clean_config
from .runner import answering, merged_options
from .server import AgentServer
from .titles import Title
from .told_files import Files
from .tracing import guarded
from .usage import count_run
from .workflow_memory import Memory, memory_of, text_item, with_text
from .workflow_output import WorkflowOutput
from .workflow_run import WorkflowRun

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: A run that continues a conversation of its own is given no earlier turns.
_OWN_HISTORY = ("session", "conversation_id", "previous_response_id")


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
        self._said = self._said_first = said
        self._files = files
        self._context = files.context
        self._refusals = Refusals(thread, items)
        self.memory = Memory("", [], [], [])
        self.title = Title(None)
        #: The error of a run that ended early, which is no fault.
        self.early_end: Exception | None = None
        self._has_title = False
        self._output = WorkflowOutput()
        #: Calls from the thread of a sync workflow.
        self.calls = LoopCalls()
        self._runs: set[WorkflowRun] = set()
        self._streams: set[asyncio.Task[None]] = set()
        #: Those whose end the export itself has been given.
        self._read: set[asyncio.Task[None]] = set()
        self._stopped = False
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
            async for event in self._output.events(self._work.channel, writer):
                yield event
        except Exception:
            self.stop()
            for event in writer.end():
                yield event
            raise
        for event in writer.end():
            yield event

    def stop(self) -> None:
        """End the workflow and the model's calls; once is enough."""
        if self._stopped:
            return
        self._stopped = True
        self._work.stop()
        self.title.stop()
        for run in list(self._runs):
            run.stop()
        self.calls.stop()
        for stream in self._streams:
            stream.cancel()

    # --- the export's side ----------------------------------------------------------------------

    async def run(
        self, base: AgentRunner, agent: Agent[Any], given: Any, options: Mapping[str, Any]
    ) -> RunResultStreaming:
        """Run an agent, and show what it says; the result is complete."""
        if not self.calls.is_on_loop():
            # A sync workflow that runs a loop of its own.
            future = self.calls.begin(self.run(base, agent, given, options))
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

    async def _show_copied(self, run: WorkflowRun, copy: asyncio.Queue[Any]) -> None:
        try:
            await self._show(run)
        finally:
            copy.put_nowait(None)

    async def _show(self, run: WorkflowRun) -> None:
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
        self._output.note_run(run.result)

    async def _end_early(self, run: WorkflowRun, error: Exception) -> None:
        """Show the text so far of a run that ended early; the export is told as always."""
        ended = ending(error, run.incomplete)
        if ended is not None:
            self.early_end = error
        elif self._work.channel.closed:
            return
        for event in run.end(ended, error):
            await self._work.channel.put_on_loop(event)

    def _begin(
        self,
        base: AgentRunner,
        agent: Agent[Any],
        given: Any,
        options: Mapping[str, Any],
        carried: Sequence[Any] = (),
    ) -> WorkflowRun:
        settings = merged_options(self._server.run_options, options)
        chosen, config = self._choose(agent, settings["run_config"])
        settings["run_config"] = clean_config(guarded(agent, config))
        own = AgentContext[Any](
            thread=self._thread, store=self._server.store, request_context=self._context
        )
        if not isinstance(given, RunState):
            given = self._input(given, options, carried)
            if settings.get("context") is None:
                settings["context"] = own
        # The runs inside of this one, by tools and handoffs, and the title's, are plain ones.
        token = answering.set(None)
        try:
            if not self._has_title:
                self._has_title = True
                self.title = self._server.begin_title(agent, config, self._thread, self._items)
            result = base.run_streamed(chosen, given, **settings)
            count_run(result.context_wrapper.usage)
            run = WorkflowRun(result, own, config)
        finally:
            answering.reset(token)
        run.begin(agent, self._work)
        return run

    def _choose(
        self, agent: Agent[Any], config: RunConfig | None
    ) -> tuple[Agent[Any], RunConfig | None]:
        """The agent and configuration with what the visitor chose, a tool for one run only."""
        choice = self._said.inference_options.tool_choice if self._said is not None else None
        has_tool = choice is not None and any(one.name == choice.id for one in agent.tools)
        message = self._said if has_tool else None
        if has_tool:
            self._said = None
        asked = last_message(self._items)
        return self._server.choose(agent, message, [asked] if asked else [], config)

    def _input(self, given: Any, options: Mapping[str, Any], carried: Sequence[Any]) -> Any:
        """What a run is given: the thread's earlier turns come first."""
        if any(options.get(key) for key in _OWN_HISTORY):
            return self.memory.accompany(given)
        is_first = self.memory.start is None
        given = [*self.memory.precede(given), *carried]
        if is_first:
            self._keep_changed()
        if self._refusals.left_out.short_outputs:
            given = shortened_outputs(given)
        return given

    def _keep_changed(self) -> None:
        """Keep what a guardrail made of this message: titles and later turns are told that."""
        text = self.memory.changed_text()
        asked = last_message(self._items)
        if text is None or asked is None:
            return
        self._items = [with_text(one, text) if one is asked else one for one in self._items]
        if not self._work.channel.closed:
            new_id = self._server.store.generate_item_id("message", self._thread, self._context)
            item = text_item(new_id, asked, text)
            self._work.channel.put(ThreadItemDoneEvent(item=item))
