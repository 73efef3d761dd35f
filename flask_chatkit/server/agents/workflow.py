"""A chat that is answered by a workflow, in the Python code that Agent Builder exports."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from agents import Agent
from chatkit.types import ThreadMetadata, ThreadStreamEvent, UserMessageItem
from typing_extensions import override

from ..assistants.workers import Work, call, stopping
from ..context import ChatContext
from .errors import visible_error
from .incomplete import require_finish_reasons
from .runner import current_answer, install_runner
from .server import TITLE_SECONDS, AgentServer
from .shape import FIELD, checked_input
from .tracing import guard_workflow
from .usage import begin_usage
from .workflow_answer import WorkflowAnswer
from .workflow_output import Returned


class WorkflowServer(AgentServer):
    """A chat that is answered by an exported workflow.

    :param agent: the exported function.
    :param options: as for :class:`~flask_chatkit.server.agents.server.AgentServer`.
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
        """Have the workflow answer a message, or the page's result of a client tool."""
        install_runner()
        begin_usage()
        require_finish_reasons()
        files = self._files(context)
        with files:
            items = await self._select_history(files, thread, await self._history(thread, context))
            work = Work(lambda _: True)
            answer = WorkflowAnswer(
                self, work, thread, items, input_user_message, files, self.is_global
            )
            await answer.remember()
            async with aclosing(self._answered(answer, work, thread, context)) as events:
                async for event in events:
                    yield event

    async def _answered(
        self, answer: WorkflowAnswer, work: Work, thread: ThreadMetadata, context: ChatContext
    ) -> AsyncGenerator[ThreadStreamEvent, None]:
        with stopping(answer.stop):
            try:
                work.start(self._run_workflow, answer)
                async for event in answer.events():
                    yield event
            except Exception as error:
                answer.title.stop()
                await self._set_title(thread, context)
                if error is answer.early_end:
                    # The visitor has the text so far, and a notice.
                    return
                shown = visible_error(error)
                if shown is error:
                    raise
                raise shown from None
            else:
                answer.finished = True
                await answer.title.wait(TITLE_SECONDS)
                await self._set_title(thread, context)
            finally:
                await work.settle()
                await answer.title.settle()

    async def _run_workflow(self, answer: WorkflowAnswer) -> Returned:
        # Only in the context of this task, and of the thread of a sync workflow.
        current_answer.set(answer)
        guard_workflow(self._workflow)
        result = await call(self._workflow, self._model(**{FIELD: answer.memory.text}))
        await answer.wait_for_streams()
        return Returned(result)

    def is_global(self, agent: Agent[Any]) -> bool:
        """Whether an agent is a global of the export's module, and not made for this answer."""
        known = getattr(inspect.unwrap(self._workflow), "__globals__", {})
        return any(agent is value for value in list(known.values()))
