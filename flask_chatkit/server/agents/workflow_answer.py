"""One answer of an exported workflow: its runs, and their output."""

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
from .errors import describe, ending, fault_from
from .files import Files
from .loop_calls import LoopCalls
from .mcp import connected
from .refusals import Refusals, shortened_outputs
from .run import clean_config
from .runner import current_answer, merged_options
from .server import AgentServer
from .titles import Title
from .tracing import guard_run
from .usage import count_run
from .workflow_memory import Memory, load_memory, text_item, with_text
from .workflow_output import WorkflowOutput
from .workflow_run import WorkflowRun

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: Options of a run with its own conversation, which gets no earlier turns.
_OWN_HISTORY = ("session", "conversation_id", "previous_response_id")


class WorkflowAnswer:
    """One answer of an exported workflow: its runs, and their output.

    :param files: the files of the answer.
    :param is_global: whether an agent is a global of the export's module.
    """

    def __init__(
        self,
        server: AgentServer,
        work: Work,
        thread: ThreadMetadata,
        items: Sequence[ThreadItem],
        message: UserMessageItem | None,
        files: Files,
        is_global: Callable[[Agent[Any]], bool],
    ) -> None:
        self._server = server
        self._is_global = is_global
        self._work = work
        self._thread = thread
        self._items = items
        self._message = self._first_message = message
        self._files = files
        self._context = files.context
        self._refusals = Refusals(thread, items)
        self.memory = Memory("", [], [], [])
        self.title = Title(None)
        #: The error of a run that ended early without a fault.
        self.early_end: Exception | None = None
        self._has_title = False
        self._output = WorkflowOutput()
        #: Calls from the thread of a sync workflow.
        self.calls = LoopCalls()
        self._runs: set[WorkflowRun] = set()
        self._streams: set[asyncio.Task[None]] = set()
        #: Streams whose error the export has received.
        self._read: set[asyncio.Task[None]] = set()
        self._stopped = False
        #: Whether it has ended: runs that its code left behind are not shown.
        self.finished = False

    # --- the answer's side ----------------------------------------------------------------------

    async def remember(self) -> None:
        """Load earlier turns and files, without those that a model's service has refused."""
        kept = self._refusals.left_out.kept(self._items)
        start = self.memory.start
        self.memory = await load_memory(self._files, kept, self._first_message)
        self.memory.start = start

    async def events(self) -> AsyncIterator[ThreadStreamEvent]:
        """Yield the events for the page."""
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
        """End the workflow and the model's calls; later calls do nothing."""
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
        """Run an agent to its end, and show its output."""
        if not self.calls.is_on_loop():
            # A sync workflow with its own loop.
            future = self.calls.begin(self.run(base, agent, given, options))
            return cast("RunResultStreaming", await asyncio.wrap_future(future))
        async with connected(agent, keep=self._is_global(agent)):
            return await self._run_until_accepted(base, agent, given, options)

    async def _run_until_accepted(
        self, base: AgentRunner, agent: Agent[Any], given: Any, options: Mapping[str, Any]
    ) -> RunResultStreaming:
        """Run an agent, and again with less of the thread while the service refuses it."""
        carried: list[Any] = []
        start = self.memory.start
        while True:
            run = self._begin(base, agent, given, options, carried)
            try:
                await self._show(run)
            except Exception as error:
                fault = fault_from(error, run.failure)
                # A message that the visitor is reading can't be taken back.
                if fault is None or run.is_writing or not self._refusals.leave_out_more(fault):
                    raise
                logger.info("A model's service refused the history: %s", describe(error))
                agent, carried = run.agent, carried + run.produced
                self.memory.start = start
                await self.remember()
            else:
                return run.result

    def run_streamed(
        self, base: AgentRunner, agent: Agent[Any], given: Any, options: Mapping[str, Any]
    ) -> RunResultStreaming:
        """Start a run that the export reads, too."""
        run = self._begin(base, agent, given, options)
        copy: asyncio.Queue[Any] = asyncio.Queue()
        run.copy = copy
        task = asyncio.create_task(self._show_copied(run, copy))
        self._streams.add(task)

        async def stream_events() -> AsyncIterator[Any]:
            while True:
                event = await copy.get()
                if event is None:
                    # Raises the run's error.
                    self._read.add(task)
                    await task
                    return
                yield event

        run.result.stream_events = stream_events  # type: ignore[method-assign] # for this one
        return run.result

    async def wait_for_streams(self) -> None:
        """Wait until all streamed runs have been shown."""
        if self._streams:
            await asyncio.wait(self._streams)
            for task in self._streams:
                # The errors that the export did not read are raised here.
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
        """Show the text so far of a run that ended early; the export gets the error as usual."""
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
        settings["run_config"] = clean_config(guard_run(agent, config))
        store, context = self._server.store, self._context
        own = AgentContext[Any](thread=self._thread, store=store, request_context=context)
        if not isinstance(given, RunState):
            given = self._input(given, options, carried)
            if settings.get("context") is None:
                settings["context"] = own
        # Runs within this one, by tools, and the title's are not shown.
        token = current_answer.set(None)
        try:
            if not self._has_title:
                self._has_title = True
                self.title = self._server.begin_title(agent, config, self._thread, self._items)
            result = base.run_streamed(chosen, given, **settings)
            count_run(result.context_wrapper.usage)
            run = WorkflowRun(result, own, config)
        finally:
            current_answer.reset(token)
        run.begin(agent, self._work)
        return run

    def _choose(
        self, agent: Agent[Any], config: RunConfig | None
    ) -> tuple[Agent[Any], RunConfig | None]:
        """Return the agent and configuration with the visitor's choices; a tool for one run."""
        choice = self._message.inference_options.tool_choice if self._message is not None else None
        has_tool = choice is not None and any(one.name == choice.id for one in agent.tools)
        message = self._message if has_tool else None
        if has_tool:
            self._message = None
        last = last_message(self._items)
        return self._server.choose(agent, message, [last] if last else [], config)

    def _input(self, given: Any, options: Mapping[str, Any], carried: Sequence[Any]) -> Any:
        """Return a run's input, beginning with the thread's earlier turns."""
        if any(options.get(key) for key in _OWN_HISTORY):
            return self.memory.attach_files(given)
        is_first = self.memory.start is None
        given = [*self.memory.prepend_history(given), *carried]
        if is_first:
            self._keep_changed()
        if self._refusals.left_out.short_outputs:
            given = shortened_outputs(given)
        return given

    def _keep_changed(self) -> None:
        """Store the text that a guardrail made of this message, for titles and later turns."""
        text, last = self.memory.changed_text(), last_message(self._items)
        if text is None or last is None:
            return
        self._items = [with_text(one, text) if one is last else one for one in self._items]
        if not self._work.channel.closed:
            new_id = self._server.store.generate_item_id("message", self._thread, self._context)
            item = text_item(new_id, last, text)
            self._work.channel.put(ThreadItemDoneEvent(item=item))
