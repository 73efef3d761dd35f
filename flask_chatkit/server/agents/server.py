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
from .budget import HISTORY_BYTES, Budget, Share, return_large_blocks, within
from .choices import Choices, last_message
from .converter import Converter, drop_unpaired_calls
from .errors import Fault, ending, fault_of, for_visitor, told
from .half_answers import ask_for_ends
from .mcp import Lease
from .memory import recall, speaker
from .refusals import LeftOut, Refusals, shortened_outputs
from .run import AgentRun, clean_config
from .titles import Title, begin_title
from .told_files import Files, text_files
from .tracing import guarded
from .usage import begin_usage, count_run

logger = logging.getLogger("flask_chatkit")

#: Items of a thread that an agent is told, by default.
HISTORY = 100
#: Items that a store gives at once.
PAGE = 100
#: Bytes of a message's files that an agent is told at most, by default.
FILES_BYTES = HISTORY_BYTES
#: Seconds that a title may take longer than the answer.
TITLE_SECONDS = 5.0
#: An agent, or what makes one for a request.
AgentSource = Agent[Any] | Callable[[ChatContext], Any]


class AgentServer(BaseAssistantServer):
    """A chat that an agent answers.

    :param agent: the agent, or a function, plain or asynchronous, that makes one for a context.
        Its tools get an :class:`chatkit.agents.AgentContext`, whose ``request_context`` is the
        :class:`ChatContext`.
    :param store: the history.
    :param attachment_store: the files; None for none.
    :param handlers: what runs on actions, feedback and dictation.
    :param read_attachment: reads a file's bytes.
    :param titles: whether a thread gets a title, written by the agent's own model; or the agent
        that writes it.
    :param run_options: for every run: ``max_turns``, ``hooks``, ``run_config``, ``error_handlers``.
    :param history_items: how many of the thread's last items the agent is told.
    :param budget: how much of the thread, and of its files, the agent is told.
    :param look_again: whether the agent gets a tool for files of earlier messages.
    :param models: the ids of models that a visitor may choose in the composer.
    :param tools: the ids of tools that a visitor may choose, if not all of the agent's.
    :raises ConfigurationError: something is not of the accepted form.
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
                f"an agent must be an Agent or a function that makes one, not {agent!r}"
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
        """Have the agent answer a message, or what the page has answered."""
        begin_usage()
        ask_for_ends()
        items = await self._history(thread, context)
        agent = speaker(await self._make_agent(context), thread, input_user_message)
        agent, config = self.choose(agent, input_user_message, items)
        config = guarded(agent, config)
        lease = Lease(agent, keep=isinstance(self._agent, Agent))
        title = self.begin_title(agent, config, thread, items)
        files = self._files(context)
        with files, stopping(title.stop):
            try:
                await lease.connect()
                told = await self._told(files, thread, items)
                if self._looks_again:
                    agent = files.with_tool(agent, LeftOut.of(thread).kept(items))
                async for event in self._runs(agent, config, thread, told, files):
                    yield event
            except Exception as error:
                title.stop()
                await self._set_title(thread, context)
                shown = for_visitor(error)
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

    # --- what the agent is told -----------------------------------------------------------------

    async def _history(self, thread: ThreadMetadata, context: ChatContext) -> list[ThreadItem]:
        """The thread's last items, the oldest first."""
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

    async def _told(
        self, files: Files, thread: ThreadMetadata, items: Sequence[ThreadItem]
    ) -> list[ThreadItem]:
        """What of a thread is within the budget; the files of its last message are read.

        :raises CustomStreamError: other answers take all the room for files.
        """
        kept = LeftOut.of(thread).kept(items)
        said = last_message(kept)
        words = len(text_of(said)) if said is not None else 0
        characters = min(text_files(said), max(self._budget.characters - words, 0))
        await files.prepare(said, characters)
        return within(items, recall(items), self._budget, characters)

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
        """Run the agent; again, with less of the history, while a service refuses that."""
        refusals, context = Refusals(thread, items), files.context
        own = AgentContext[Any](thread=thread, store=self.store, request_context=context)
        carried: list[TResponseInputItem] = []
        while True:
            given = await self._input(items, files, refusals.left_out, carried)
            run = self._begin(agent, clean_config(config, files.looked), given, own)
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
                ended, fault = ending(error, run.incomplete), fault_of(error, run.failure)
                # What the visitor reads at this moment can't be taken back.
                is_final = ended is not None or fault is None or run.is_speaking
                if is_final or not self._gives_way(cast("Fault", fault), refusals, files, error):
                    for event in run.end(ended, error):
                        yield event
                    if ended is not None:
                        return
                    raise
                files.forget_looks()
                agent = files.without_dropped(run.agent)
                carried += run.produced
            else:
                return
            finally:
                run.forget()

    def _gives_way(self, fault: Fault, refusals: Refusals, files: Files, error: Exception) -> bool:
        """Leave out what a model's service has refused: our own tool, or a part of the history."""
        if files.drop_tool(fault):
            # It is the model's, in later answers too.
            self._looks_again = False
        elif not refusals.give_way(fault):
            return False
        logger.info("A model's service refused a history: %s", told(error))
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
        """Begin to write the title of a thread that has none, where threads get titles."""
        if not self._has_titles:
            return Title(None)
        return begin_title(self._titler, agent, config, thread, items)


def _checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    given = dict(options or {})
    if not set(given) <= RUN_OPTIONS:
        wrong = ", ".join(sorted(set(given) - RUN_OPTIONS))
        raise ConfigurationError(
            f"run_options may hold {', '.join(sorted(RUN_OPTIONS))}, and not {wrong}: "
            "the history is the chat's own, for each visitor"
        )
    if isinstance(given.get("run_config"), Mapping):
        given["run_config"] = RunConfig(**given["run_config"])
    return given


def _from_message(items: list[ThreadItem]) -> list[ThreadItem]:
    """A history that was cut, from the visitor's first message in it on."""
    places = (at for at, item in enumerate(items) if _is_message(item))
    return items[next(places, 0) :]


def _is_message(item: ThreadItem) -> bool:
    return isinstance(item, UserMessageItem)
