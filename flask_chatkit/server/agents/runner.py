"""The Agents SDK's default runner, replaced to show the runs of exported workflows."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from agents import Agent, ModelProvider, RunConfig
from agents import run as agents_run
from agents.run import DEFAULT_MAX_TURNS, AgentRunner
from typing_extensions import override

from .loop_calls import LoopCalls

T = TypeVar("T")

_INSTALLING = threading.Lock()


class Answering(Protocol):
    """An answer that shows the runs of an exported workflow."""

    #: Whether it has ended: runs that its code left behind are not shown.
    finished: bool

    #: Calls from the thread of a sync workflow.
    calls: LoopCalls

    async def run(
        self, base: AgentRunner, agent: Agent[Any], given: Any, options: Mapping[str, Any]
    ) -> Any:
        """Run an agent to its end, and show its output."""

    def run_streamed(
        self, base: AgentRunner, agent: Agent[Any], given: Any, options: Mapping[str, Any]
    ) -> Any:
        """Start a run that the export reads, too."""


#: The answer whose runs are shown; None outside of answers, and inside of a run.
current_answer: ContextVar[Answering | None] = ContextVar("flask_chatkit_workflow", default=None)


def _answer() -> Answering | None:
    answer = current_answer.get()
    return None if answer is None or answer.finished else answer


class WorkflowRunner(AgentRunner):
    """The Agents SDK's default runner, which streams the runs of exported workflows.

    :param base: the former default runner, for all other runs.
    """

    def __init__(self, base: AgentRunner) -> None:
        self.base = base

    @override
    async def run(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> Any:
        """Run an agent; in an exported workflow, show its output."""
        answer = _answer()
        if answer is None:
            return await self.base.run(starting_agent, input, **kwargs)
        return await answer.run(self.base, starting_agent, input, kwargs)

    @override
    def run_sync(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> Any:
        """Do the same in a thread, and block."""
        answer = _answer()
        if answer is None or answer.calls.is_on_loop():
            # On the loop, it raises as it does everywhere.
            return self.base.run_sync(starting_agent, input, **kwargs)
        return answer.calls.wait_for(answer.run(self.base, starting_agent, input, kwargs))

    @override
    def run_streamed(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> Any:
        """Start a run that the export reads, and show its output."""
        answer = _answer()
        if answer is None or not answer.calls.is_on_loop():
            return self.base.run_streamed(starting_agent, input, **kwargs)
        return answer.run_streamed(self.base, starting_agent, input, kwargs)


def install_runner() -> None:
    """Make this runner the default one, around the one that the site has set."""
    with _INSTALLING:
        base = agents_run.get_default_agent_runner()
        if not isinstance(base, WorkflowRunner):
            agents_run.set_default_agent_runner(WorkflowRunner(base))


def merged_options(site_options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a run's options: the export's, and the site's where it sets none."""
    options = {key: one for key, one in given.items() if one is not None}
    if options.get("max_turns") == DEFAULT_MAX_TURNS:
        # Runner passes it where the export sets nothing.
        options.pop("max_turns")
    options = {**site_options, **options}
    site, own = site_options.get("run_config"), given.get("run_config")
    if isinstance(own, Mapping):
        own = RunConfig(**own)
    if site is not None and own is not None:
        plain = RunConfig()
        changed = {
            field.name: getattr(own, field.name)
            for field in dataclasses.fields(own)
            if _differs(getattr(own, field.name), getattr(plain, field.name))
        }
        own = dataclasses.replace(site, **changed)
    options["run_config"] = own if own is not None else site
    return options


def _differs(value: Any, default: Any) -> bool:
    # Each configuration has its own default provider, which equals no other.
    is_provider = isinstance(default, ModelProvider)
    return type(value) is not type(default) if is_provider else bool(value != default)
