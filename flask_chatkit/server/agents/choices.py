"""The visitor's messages: their files, and the model and tool chosen in the composer."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from agents import Agent, Model, ModelSettings, RunConfig
from chatkit.types import Attachment, ThreadItem, UserMessageItem


class Choices:
    """The models and tools that visitors may choose in the composer.

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
        """Return the agent and configuration with the visitor's choices.

        :param message: the message that is answered; None if the page has answered a client tool.
        :param items: the thread's items, the oldest first.
        """
        # After a client tool, it is still the last message that is being answered.
        last = message or last_message(items)
        model = last.inference_options.model if last is not None else None
        if model is not None and model in self._models:
            other = _other_model(agent, config, model)
            config = dataclasses.replace(config or RunConfig(), model=other)
        # A tool is forced once only: a client tool would be called for ever.
        choice = message.inference_options.tool_choice if message is not None else None
        if choice is not None and self._may_choose(choice.id, agent):
            # For this agent only: those it hands off to may not have the tool.
            settings = agent.model_settings.resolve(ModelSettings(tool_choice=choice.id))
            agent = agent.clone(model_settings=settings)
        return agent, config

    def _may_choose(self, tool: str, agent: Agent[Any]) -> bool:
        is_offered = self._tools is None or tool in self._tools
        return is_offered and any(one.name == tool for one in agent.tools)


def _other_model(agent: Agent[Any], config: RunConfig | None, name: str) -> str | Model:
    """Return the model of this name, at the service of the agent's own."""
    own = config.model if config is not None and config.model is not None else agent.model
    if isinstance(own, Model) and isinstance(getattr(own, "model", None), str):
        # The site gave it a client of its own, which a name alone would lose.
        other = copy.copy(own)
        other.model = name  # type: ignore[attr-defined] # checked above
        return other
    return name


def last_message(items: Sequence[ThreadItem]) -> UserMessageItem | None:
    """Return the visitor's last message among a thread's items, which are sorted oldest first."""
    return next((one for one in reversed(items) if isinstance(one, UserMessageItem)), None)


def attachments_of(items: Iterable[ThreadItem]) -> list[Attachment]:
    """Return the attachments of all messages."""
    return [one for item in items if isinstance(item, UserMessageItem) for one in item.attachments]
