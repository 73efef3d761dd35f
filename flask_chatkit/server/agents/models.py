"""Warns about models that OpenAI's API will retire."""

from __future__ import annotations

import logging
from typing import Any

from agents import Agent, RunConfig
from agents.models import get_default_model

logger = logging.getLogger("flask_chatkit")

#: The date at which a model leaves the API, by its name.
RETIRING = dict.fromkeys(("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini"), "2027-01-14")

_named: set[str] = set()


def warn_retiring(agent: Agent[Any], config: RunConfig | None) -> None:
    """Log a warning, once a process, if a run's model leaves the API."""
    model: Any = config.model if config is not None and config.model is not None else agent.model
    if model is None:
        model = get_default_model()
    name = str(model if isinstance(model, str) else getattr(model, "model", ""))
    name = name.removeprefix("openai/")
    if name in RETIRING and name not in _named:
        _named.add(name)
        logger.warning(
            "The model %s leaves OpenAI's API on %s; give the agent %r another one before",
            name,
            RETIRING[name],
            agent.name,
        )
