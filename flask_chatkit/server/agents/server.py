"""A chat that an agent of OpenAI's Agents SDK answers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, cast

from agents import (
    Agent,
    RunConfig,
    Runner,
    TResponseInputItem,
)
from chatkit.agents import AgentContext
from chatkit.store import AttachmentStore, Store
from chatkit.types import (
    ThreadItem,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)

from ...chats.callbacks import Callbacks
from ...chats.checks import RUN_OPTIONS
from ...errors import ConfigurationError
from ..assistants.base import BaseAssistantServer
from ..assistants.messages import ReadAttachment, text_of
from ..assistants.workers import call, stopping
from ..context import ChatContext
from .budget import HISTORY_BYTES, Budget, Share, return_large_blocks, trim_history
from .choices import Choices, last_message
from .converter import Converter, drop_unpaired_calls
from .errors import Fault, describe, ending, fault_from, visible_error
from .files import Files, text_files
from .incomplete import require_finish_reasons
from .mcp import Lease
from .memory import last_agent, recall
from .refusals import LeftOut, Refusals, shortened_outputs
from .run import AgentRun, clean_config
from .titles import Title, begin_title
from .tracing import guard_run
from .usage import begin_usage, count_run

logger = logging.getLogger("flask_chatkit")

#: Items of a thread that are sent to an agent, by default.
HISTORY = 100
#: Items on a page of a store.
PAGE = 100
#: Bytes of a message's files that are sent to an agent, by default.
FILES_BYTES = HISTORY_BYTES
#: Seconds that the end of an answer waits for the title.
TITLE_SECONDS = 5.0
#: An agent, or a function that returns one for a request.
AgentSource = Agent[Any] | Callable[[ChatContext], Any]


class AgentServer(BaseAssistantServer):
    """A chat that an agent answers.

    :param agent: the agent, or a sync or async function that returns one for a context. Its tools
        get a :class:`chatkit.agents.AgentContext`, whose ``request_context`` is the
        :class:`ChatContext`.
    :param store: the history.
    :param attachment_store: the files; None for none.
    :param callbacks: the callbacks for actions, feedback and dictation.
    :param read_attachment: returns a file's bytes.
    :param titles: whether the agent's model writes a title for each thread; or the agent that does.
    :param run_options: for every run: ``max_turns``, ``hooks``, ``run_config``, ``error_handlers``.
    :param history_items: how many of the thread's last items are sent to the agent.
    :param budget: how much of the thread and of its files is sent to the agent.
    :param look_again: whether the agent gets a tool for files of earlier messages.
    :param models: the ids of models that a visitor may choose in the composer.
    :param tools: the ids of tools that a visitor may choose; None: all of the agent's.
    :raises ConfigurationError: an argument is invalid.
    """

    def __init__(
        self,
        agent: AgentSource,
        store: Store[ChatContext],
        attachment_store: AttachmentStore[ChatContext] | None = None,
        *,
        callbacks: Callbacks,
        read_attachment: ReadAttachment | None = None,
        titles: bool | Agent[Any] = True,
        run_options: Mapping[str, Any] | None = None,
        history_items: int = HISTORY,
        budget: Budget | None = None,
        look_again: bool = True,
        models: Collection[str] | None = None,
        tools: Collection[str] | None = None,
    ) -> None:
        super().__init__(
            store,
            attachment_store,
            callbacks=callbacks,
            read_attachment=read_attachment,
            titles=bool(titles),
        )
        if not isinstance(agent, Agent) and not callable(agent):
            raise ConfigurationError(
                f"an agent must be an Agent or a function that returns one, not {agent!r}"
            )
        self._agent = agent
        self._titler = titles if isinstance(titles, Agent) else None
        self.run_options = _checked_options(run_options)
        self._history_items = history_items
        self._budget = budget or Budget(bytes=FILES_BYTES)
        self._looks_again = look_again
        self._choices = Choices(models, tools)
        if attachment_store is not None:
            return_large_blocks()

    async def respond(
        self,
        thread: ThreadMetadata,
        input_user_message: UserMessageItem | None,
        context: ChatContext,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Have the agent answer a message, or the page's result of a client tool."""
        begin_usage()
        require_finish_reasons()
        items = await self._history(thread, context)
        agent = last_agent(await self._make_agent(context), thread, input_user_message)
        agent, config = self.choose(agent, input_user_message, items)
        config = guard_run(agent, config)
        lease = Lease(agent, keep=isinstance(self._agent, Agent))
        title = self.begin_title(agent, config, thread, items)
        files = self._files(context)
        with files, stopping(title.stop):
            try:
                await lease.connect()
                sent = await self._select_history(files, thread, items)
                if self._looks_again:
                    agent = files.with_tool(agent, LeftOut.of(thread).kept(items))
                async for event in self._runs(agent, config, thread, sent, files):
                    yield event
            except Exception as error:
                title.stop()
                await self._set_title(thread, context)
                shown = visible_error(error)
                if shown is error:
                    raise
                raise shown from None
            else:
                await title.wait(TITLE_SECONDS)
                await self._set_title(thread, context)
            finally:
                lease.release()
                await title.settle()

    async def _make_agent(self, context: ChatContext) -> Agent[Any]:
        if isinstance(self._agent, Agent):
            return self._agent
        agent = await call(self._agent, context)
        if not isinstance(agent, Agent):
            raise TypeError(f"the function returned no Agent, but {type(agent).__name__}")
        return agent

    # --- the agent's input ----------------------------------------------------------------------

    async def _history(self, thread: ThreadMetadata, context: ChatContext) -> list[ThreadItem]:
        """Load the thread's last items, the oldest first."""
        newest: list[ThreadItem] = []
        after: str | None = None
        while len(newest) < self._history_items:
            size = min(PAGE, self._history_items - len(newest))
            page = await self.store.load_thread_items(thread.id, after, size, "desc", context)
            newest += page.data
            after = page.after
            if not page.has_more or not page.data or after is None:
                return newest[::-1]
        return _from_message(newest[::-1])

    def _files(self, context: ChatContext) -> Files:
        share = Share(context.owner, self._budget.answers_bytes)
        return Files(self.read_attachment, context, self._budget, share)

    async def _select_history(
        self, files: Files, thread: ThreadMetadata, items: Sequence[ThreadItem]
    ) -> list[ThreadItem]:
        """Return the items within the budget, and read the files of the last message.

        :raises CustomStreamError: other answers use all the memory for files.
        """
        kept = LeftOut.of(thread).kept(items)
        message = last_message(kept)
        length = len(text_of(message)) if message is not None else 0
        characters = min(text_files(message), max(self._budget.characters - length, 0))
        await files.prepare(message, characters)
        return trim_history(items, recall(items), self._budget, characters)

    async def _input(
        self,
        items: Sequence[ThreadItem],
        files: Files,
        left_out: LeftOut,
        carried: Sequence[TResponseInputItem],
    ) -> list[TResponseInputItem]:
        kept = left_out.kept(items)
        given = await Converter(files, recall(kept)).to_agent_input(kept)
        given = [*drop_unpaired_calls(given), *carried]
        return shortened_outputs(given) if left_out.short_outputs else given

    def choose(
        self,
        agent: Agent[Any],
        message: UserMessageItem | None,
        items: Sequence[ThreadItem],
        own: RunConfig | None = None,
    ) -> tuple[Agent[Any], RunConfig | None]:
        """Return the agent and configuration with what the visitor chose in the composer.

        :param own: the configuration of the run; that of all runs by default.
        """
        config = own or self.run_options.get("run_config")
        return self._choices.apply(agent, message, items, config)

    # --- how it runs ----------------------------------------------------------------------------

    async def _runs(
        self,
        agent: Agent[Any],
        config: RunConfig | None,
        thread: ThreadMetadata,
        items: Sequence[ThreadItem],
        files: Files,
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Run the agent, and again with less of the history while the service refuses it."""
        refusals, context = Refusals(thread, items), files.context
        own = AgentContext[Any](thread=thread, store=self.store, request_context=context)
        carried: list[TResponseInputItem] = []
        while True:
            given = await self._input(items, files, refusals.left_out, carried)
            run = self._begin(agent, clean_config(config, files.reread), given, own)
            try:
                with stopping(run.stop):
                    try:
                        async for event in run.events(self.store, thread, context, items):
                            for notice in refusals.accepted():
                                yield notice
                            yield event
                    finally:
                        await run.settle()
            except Exception as error:
                ended, fault = ending(error, run.incomplete), fault_from(error, run.failure)
                # A message that the visitor is reading can't be taken back.
                is_final = ended is not None or fault is None or run.is_writing
                if is_final or not self._send_less(cast("Fault", fault), refusals, files, error):
                    for event in run.end(ended, error):
                        yield event
                    if ended is not None:
                        return
                    raise
                files.clear_reread()
                agent = files.without_dropped(run.agent)
                carried += run.produced
            else:
                return
            finally:
                run.forget()

    def _send_less(self, fault: Fault, refusals: Refusals, files: Files, error: Exception) -> bool:
        """Drop what a model's service has refused: the kit's tool, or a part of the history."""
        if files.drop_tool(fault):
            # The model has no tools, in later answers either.
            self._looks_again = False
        elif not refusals.leave_out_more(fault):
            return False
        logger.info("A model's service refused the history: %s", describe(error))
        return True

    def _begin(
        self,
        agent: Agent[Any],
        config: RunConfig | None,
        given: list[TResponseInputItem],
        agent_context: AgentContext[Any],
    ) -> AgentRun:
        options = {**self.run_options, "run_config": config}
        result = Runner.run_streamed(agent, given, context=agent_context, **options)
        count_run(result.context_wrapper.usage)
        return AgentRun(result, agent_context, config)

    def begin_title(
        self,
        agent: Agent[Any],
        config: RunConfig | None,
        thread: ThreadMetadata,
        items: Sequence[ThreadItem],
    ) -> Title:
        """Start writing the thread's title, if it has none and the chat has titles."""
        if not self._has_titles:
            return Title(None)
        return begin_title(self._titler, agent, config, thread, items)


def _checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    given = dict(options or {})
    if not set(given) <= RUN_OPTIONS:
        wrong = ", ".join(sorted(set(given) - RUN_OPTIONS))
        raise ConfigurationError(
            f"run_options takes {', '.join(sorted(RUN_OPTIONS))}, and not {wrong}: "
            "each visitor has a history of their own"
        )
    if isinstance(given.get("run_config"), Mapping):
        given["run_config"] = RunConfig(**given["run_config"])
    return given


def _from_message(items: list[ThreadItem]) -> list[ThreadItem]:
    """Start a truncated history at its first message of the visitor."""
    places = (at for at, item in enumerate(items) if _is_message(item))
    return items[next(places, 0) :]


def _is_message(item: ThreadItem) -> bool:
    return isinstance(item, UserMessageItem)
