"""Finds the agents that a run can reach, by handoffs and as tools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents import Agent, Handoff

from .._upstream import agent_of_handoff, agent_of_tool


def reachable(agents: Iterable[Agent[Any]]) -> list[Agent[Any]]:
    """Return the agents, and those that they hand off to or use as tools, each once.

    Agents that the code of a tool runs can't be found.
    """
    found: dict[int, Agent[Any]] = {}
    waiting = list(agents)[::-1]
    while waiting:
        agent = waiting.pop()
        if id(agent) in found:
            continue
        found[id(agent)] = agent
        targets = [*map(agent_of, agent.handoffs), *map(agent_of_tool, agent.tools)]
        waiting += [one for one in reversed(targets) if isinstance(one, Agent)]
    return list(found.values())


def agent_of(handoff: Any) -> Any:
    """Return a handoff's agent."""
    return agent_of_handoff(handoff) if isinstance(handoff, Handoff) else handoff
