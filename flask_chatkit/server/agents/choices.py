"""What a visitor chose in the composer: a model, a tool."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from agents import Agent, Model, ModelSettings, RunConfig
from chatkit.types import ThreadItem, UserMessageItem


class Choices:
    """What visitors may choose in the composer.

    :param models: the ids of models.
    :param tools: the ids of tools; None for all tools of the agent.
    """

    def __init__(self, models: Collection[str] | None, tools: Collection[str] | None) -> None:
        self._models = frozenset(models or ())
        self._tools = frozenset(tools) if tools is not None else None

    def apply(
        self,
        agent: Agent[Any],
        message: UserMessageItem | None,
        items: Sequence[ThreadItem],
        config: RunConfig | None,
    ) -> tuple[Agent[Any], RunConfig | None]:
        """Return the agent and configuration with what the visitor chose.

        :param message: the message that is answered; None if the page has answered a client tool.
        :param items: the thread's items, the oldest first.
        """
        # When the page has answered, it is still the last message that is being answered.
        last = message or last_message(items)
        model = last.inference_options.model if last is not None else None
        if model is not None and model in self._models:
            other = _other_model(agent, config, model)
            config = dataclasses.replace(config or RunConfig(), model=other)
        # A tool is asked for once: a client tool would be called for ever.
        choice = message.inference_options.tool_choice if message is not None else None
        if choice is not None and self._may_choose(choice.id, agent):
            # For this agent only: one that it hands over to may not have the tool.
            settings = agent.model_settings.resolve(ModelSettings(tool_choice=choice.id))
            agent = agent.clone(model_settings=settings)
        return agent, config

    def _may_choose(self, tool: str, agent: Agent[Any]) -> bool:
        is_offered = self._tools is None or tool in self._tools
        return is_offered and any(one.name == tool for one in agent.tools)


def _other_model(agent: Agent[Any], config: RunConfig | None, name: str) -> str | Model:
    """The model of a name, where the agent's own is asked."""
    own = config.model if config is not None and config.model is not None else agent.model
    if isinstance(own, Model) and isinstance(getattr(own, "model", None), str):
        # The site gave it a client of its own, which a name alone would not find again.
        other = copy.copy(own)
        other.model = name  # type: ignore[attr-defined] # seen a line before
        return other
    return name


def last_message(items: Sequence[ThreadItem]) -> UserMessageItem | None:
    """The last message of a visitor among a thread's items, the oldest of which is the first."""
    return next((one for one in reversed(items) if isinstance(one, UserMessageItem)), None)
