"""A chat that a workflow answers, in the Python code that Agent Builder exports."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from agents import Agent, ItemHelpers, RunConfig, RunResultStreaming, RunState
from agents import run as agents_run
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

from ..agent import TITLE_SECONDS as TITLE_WAIT
from ..agent import AgentServer, _cleaning, _Run, _Title
from ..assistant import Writer
from ..chat import Step, text_of
from ..context import ChatContext
from ..threads import Work, call, stopping
from .errors import REFUSED, ending, fault_of, for_visitor, told
from .mcp import connected
from .models import warn_retiring
from .refusals import Refusals, shortened_outputs
from .shape import FIELD, checked_input
from .tracing import guard_workflow, guarded
from .usage import begin_usage, count_run

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T")

#: The answer whose runs are streamed; None outside of an answer, and inside of its runs.
_ANSWER: ContextVar[WorkflowAnswer | None] = ContextVar("flask_chatkit_workflow", default=None)
_INSTALLING = threading.Lock()

#: A run that continues a conversation of its own is given no earlier turns.
_OWN_HISTORY = ("session", "conversation_id", "previous_response_id")
#: Kinds of items that count as shown: with one of them, what the export returns is not.
_SHOWN = frozenset({"assistant_message", "client_tool_call", "generated_image", "widget"})
_RAW_TEXT = ("response.output_text.", "response.content_part.", "response.refusal.")


class WorkflowRunner(AgentRunner):
    """The Agents SDK's default runner, which streams the runs of exported workflows.

    :param base: the default runner of before, which runs all the rest.
    """

    def __init__(self, base: AgentRunner) -> None:
        self.base = base

    @override
    async def run(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> Any:
        """Run an agent; in an exported workflow, what it says is shown."""
        answer = _ANSWER.get()
        if answer is None:
            return await self.base.run(starting_agent, input, **kwargs)
        return await answer.run(self.base, starting_agent, input, kwargs)

    @override
    def run_sync(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> Any:
        """The same in a thread, which waits."""
        answer = _ANSWER.get()
        if answer is None or answer.is_on_loop():
            # On the loop, it raises what it raises everywhere.
            return self.base.run_sync(starting_agent, input, **kwargs)
        return answer.wait_for(answer.run(self.base, starting_agent, input, kwargs))

    @override
    def run_streamed(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> Any:
        """Start a run that the export reads; what it says is shown as well."""
        answer = _ANSWER.get()
        if answer is None or not answer.is_on_loop():
            return self.base.run_streamed(starting_agent, input, **kwargs)
        return answer.run_streamed(self.base, starting_agent, input, kwargs)


def install_runner() -> None:
    """Make our runner the default one, around what a site has set."""
    with _INSTALLING:
        base = agents_run.get_default_agent_runner()
        if not isinstance(base, WorkflowRunner):
            agents_run.set_default_agent_runner(WorkflowRunner(base))


class WorkflowServer(AgentServer):
    """A chat that an exported workflow answers.

    :param agent: the exported function.
    :param options: as for :class:`~flask_chatkit.server.agent.AgentServer`.
    """

    def __init__(self, agent: Callable[..., Any], *args: Any, **options: Any) -> None:
        super().__init__(agent, *args, **options)
        self._workflow = agent
        self._model = checked_input(agent, "a workflow")

    @override
    async def respond(
        self,
        thread: ThreadMetadata,
        input_user_message: UserMessageItem | None,
        context: ChatContext,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Have the workflow answer a message, or what the page has answered."""
        install_runner()
        begin_usage()
        items = await self._history(thread, context)
        work = Work(lambda _: True)
        answer = WorkflowAnswer(self, work, thread, items, input_user_message, context)
        await answer.remember()
        with stopping(answer.stop):
            try:
                work.start(self._run_workflow, answer)
                async for event in answer.events():
                    yield event
            except Exception as error:
                answer.title.stop()
                await self._entitle(thread, context)
                if error is answer.early_end:
                    # The visitor has what was said, and a notice.
                    return
                shown = for_visitor(error)
                if shown is error:
                    raise
                raise shown from None
            else:
                await answer.title.wait(TITLE_WAIT)
                await self._entitle(thread, context)
            finally:
                await work.settle()
                await answer.title.settle()

    async def _run_workflow(self, answer: WorkflowAnswer) -> _Returned:
        # In the context of this task, and of the thread of a sync workflow, alone.
        _ANSWER.set(answer)
        guard_workflow(self._workflow)
        result = await call(self._workflow, self._model(**{FIELD: answer.memory.text}))
        await answer.wait_for_streams()
        return _Returned(result)

    def is_global(self, agent: Agent[Any]) -> bool:
        """Whether an agent is one of the export's module, and not made for this answer."""
        known = getattr(inspect.unwrap(self._workflow), "__globals__", {})
        return any(agent is value for value in list(known.values()))

    async def memory_of(
        self, items: Sequence[ThreadItem], said: UserMessageItem | None, context: ChatContext
    ) -> _Memory:
        """What the export does not know of a thread: earlier turns, and this message's files."""
        places = [at for at, item in enumerate(items) if isinstance(item, UserMessageItem)]
        at = places[-1] if places else len(items)
        message = said or (cast("UserMessageItem", items[at]) if places else None)
        text = text_of(message) if message is not None else ""
        # All at once: how much of the files is sent, the newest decide first.
        whole = await self._input(items, context)
        before = [one for one in whole if one.get("role") == "user"]
        own = await self._input(items[at : at + 1], context)
        after = await self._input(items[at + 1 :], context)
        earlier = whole[: max(0, len(whole) - len(own) - len(after))] if before else []
        return _Memory(text, earlier, _parts(own, text), after)

    def options_of(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a run is given: the export's options, and the site's where it sets none."""
        options = {key: one for key, one in given.items() if one is not None}
        options = {**self._run_options, **options}
        site, own = self._run_options.get("run_config"), given.get("run_config")
        if isinstance(own, Mapping):
            own = RunConfig(**own)
        if site is not None and own is not None:
            plain = RunConfig()
            changed = {
                field.name: getattr(own, field.name)
                for field in dataclasses.fields(own)
                if getattr(own, field.name) != getattr(plain, field.name)
            }
            own = dataclasses.replace(site, **changed)
        options["run_config"] = own if own is not None else site
        return options


@dataclasses.dataclass
class _Returned:
    """What the exported function has returned."""

    value: Any


@dataclasses.dataclass
class _Memory:
    """What the export does not know: earlier turns, and what came with this message.

    :param text: this message.
    :param earlier: what was said before it.
    :param parts: its files, and what else belongs to it.
    :param after: what followed it: the page's answers.
    """

    text: str
    earlier: list[Any]
    parts: list[Any]
    after: list[Any]
    #: What the input of the first run begins with, which a guardrail may have changed.
    start: Any = None

    def precede(self, given: Any) -> list[Any]:
        """What a run of the export is given, with what precedes it."""
        told: list[Any] = list(ItemHelpers.input_to_new_input_list(given))
        if self.earlier and told[: len(self.earlier)] == self.earlier:
            # It goes on with the whole input of a run before.
            return told
        first = told[0] if told else None
        if self.start is None:
            self.start = first if first is not None else {}
        elif not self._is_message(first) and first != self.start:
            # A node without the chat's history: it is given what its author has chosen.
            return told
        if self.parts:
            is_user = isinstance(first, Mapping) and first.get("role") == "user"
            content = first.get("content") if is_user and first is not None else None
            if isinstance(content, str):
                content = [{"type": "input_text", "text": content}]
            if isinstance(content, list):
                told[0] = {**cast("Any", first), "content": [*self.parts, *content]}
            else:
                told.insert(0, {"role": "user", "content": list(self.parts)})
        return [*self.earlier, *told, *self.after]

    def _is_message(self, first: Any) -> bool:
        if not isinstance(first, Mapping) or first.get("role") != "user":
            return False
        content = first.get("content")
        if isinstance(content, str):
            return content == self.text
        texts = [one.get("text") for one in content or () if one.get("type") == "input_text"]
        return "".join(map(str, texts)) == self.text


def _parts(message: Sequence[Any], text: str) -> list[Any]:
    """The parts of a message as the model is told it, without its text."""
    parts = [part for item in message for part in item.get("content") or ()]
    plain = {"type": "input_text", "text": text}
    if plain in parts:
        parts.remove(plain)
    return parts


class WorkflowAnswer:
    """One answer of an exported workflow: its runs, and what of them is shown."""

    def __init__(
        self,
        server: WorkflowServer,
        work: Work,
        thread: ThreadMetadata,
        items: Sequence[ThreadItem],
        said: UserMessageItem | None,
        context: ChatContext,
    ) -> None:
        self._server = server
        self._work = work
        self._thread = thread
        self._items = items
        self._said = said
        self._said_first = said
        self._context = context
        self._refusals = Refusals(thread, items)
        self.memory = _Memory("", [], [], [])
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

    # --- the answer's side ----------------------------------------------------------------------

    async def remember(self) -> None:
        """Read what the export does not know, without what a model's service has refused."""
        kept = self._refusals.left_out.kept(self._items)
        start = self.memory.start
        self.memory = await self._server.memory_of(kept, self._said_first, self._context)
        self.memory.start = start

    async def events(self) -> AsyncIterator[ThreadStreamEvent]:
        """The events that ChatKit's client reads."""
        store, thread, context = self._server.store, self._thread, self._context
        writer = Writer(thread, lambda kind: store.generate_item_id(kind, thread, context))
        try:
            async for output in self._work.channel:
                if isinstance(output, _Returned):
                    for event in self._returned(output.value, writer):
                        yield event
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
            removed = [ThreadItemRemovedEvent(item_id=one) for one in self._shown]
            return [*writer.end(), *removed, *self._refuse()]
        if self._shown:
            return []
        text = _text_returned(value) or self._last
        if not text.strip():
            logger.warning("A workflow has neither shown nor returned a text")
            return []
        return list(writer.write(text))

    def _refuse(self) -> list[ThreadStreamEvent]:
        raise CustomStreamError(REFUSED)

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
        async with connected(agent, keep=self._server.is_global(agent)):
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
        settings = server.options_of(options)
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
        if not isinstance(given, RunState) and not any(options.get(key) for key in _OWN_HISTORY):
            given = [*self.memory.precede(given), *carried]
            if self._refusals.left_out.short_outputs:
                given = shortened_outputs(given)
        own = AgentContext[Any](thread=self._thread, store=server.store, request_context=context)
        if settings.get("context") is None and not isinstance(given, RunState):
            settings["context"] = own
        # The runs inside of this one, by tools and handoffs, and the title's, are plain ones.
        token = _ANSWER.set(None)
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
            _ANSWER.reset(token)
        run.begin(agent, self._work)
        return run


class _WorkflowRun(_Run):
    """A run of an exported workflow: an agent with a structured output shows a step instead."""

    #: What the export reads of this run, if it streams itself.
    copy: asyncio.Queue[Any] | None = None
    _is_hidden = False
    _work: Work

    @property
    def result(self) -> RunResultStreaming:
        """The result of the Agents SDK."""
        return self._result

    def begin(self, agent: Agent[Any], work: Work) -> None:
        """Begin with the agent that the export has named."""
        self._work = work
        self._enter(agent)

    def _enter(self, agent: Agent[Any]) -> None:
        self._is_hidden = agent.output_type not in {None, str}
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


def _is_failed_guardrail(value: Any) -> bool:
    """Whether this is what ``build_guardrail_fail_output`` of an export returns."""
    return isinstance(value, Mapping) and any(
        isinstance(one, Mapping) and one.get("failed") is True for one in value.values()
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
