"""Which agents a run can reach: by handoffs, and as tools of each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents import Agent, Handoff


def reachable(agents: Iterable[Agent[Any]]) -> list[Agent[Any]]:
    """The agents themselves, and those that they hand over to or use as tools; each once.

    Agents that a tool's own code runs are seen by nobody.
    """
    found: dict[int, Agent[Any]] = {}
    waiting = list(agents)[::-1]
    while waiting:
        agent = waiting.pop()
        if id(agent) in found:
            continue
        found[id(agent)] = agent
        targets = [*map(_target, agent.handoffs), *map(_as_tool, agent.tools)]
        waiting += [one for one in reversed(targets) if isinstance(one, Agent)]
    return list(found.values())


def _target(handoff: Any) -> Any:
    """The agent of a handoff, which ``handoff()`` holds by a weak reference (0.24.0)."""
    if not isinstance(handoff, Handoff):
        return handoff
    reference = getattr(handoff, "_agent_ref", None)
    return reference() if reference is not None else None


def _as_tool(tool: Any) -> Any:
    """The agent behind a tool that ``Agent.as_tool`` made, which notes it there (0.24.0)."""
    return getattr(tool, "_agent_instance", None)
