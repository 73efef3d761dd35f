"""Which agents a run can reach: by handoffs, and as tools of each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents import Agent, Handoff

from .._upstream import agent_of_handoff, agent_of_tool


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
        targets = [*map(_target, agent.handoffs), *map(agent_of_tool, agent.tools)]
        waiting += [one for one in reversed(targets) if isinstance(one, Agent)]
    return list(found.values())


def _target(handoff: Any) -> Any:
    """The agent of a handoff."""
    return agent_of_handoff(handoff) if isinstance(handoff, Handoff) else handoff
