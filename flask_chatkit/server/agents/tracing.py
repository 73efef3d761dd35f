"""Keeps traces from OpenAI unless OpenAI's own model has read the conversation.

The Agents SDK sends the trace of each run, with its messages, to OpenAI's trace store, also if the
model is another company's. For such a run, ``tracing_disabled`` is set, and a gate before OpenAI's
exporter holds back the traces of code around the run, such as the ``with trace(…)`` of an exported
workflow. Trace processors of the site get everything.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agents import Agent, Model, RunConfig
from agents.tracing import TracingProcessor, get_trace_provider
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor
from agents.tracing.provider import DefaultTraceProvider
from agents.tracing.traces import NoOpTrace
from openai import AsyncOpenAI

from .._upstream import client_of, exporter_of, trace_processors
from .graph import reachable

logger = logging.getLogger("flask_chatkit")

#: Whether the traces of the current answer are kept from OpenAI's trace store.
_withheld: ContextVar[bool] = ContextVar("flask_chatkit_withheld", default=False)

#: Prefixes of model names for adapters to other services.
_ADAPTERS = ("litellm/", "any-llm/")


@dataclass(frozen=True)
class Tracing:
    """Where the traces of an agent's runs go.

    :param to_openai: whether OpenAI's trace store gets them.
    :param to_site: whether trace processors of the site's own do.
    :param reason: why, in one line.
    """

    to_openai: bool
    to_site: bool
    reason: str


@dataclass(frozen=True)
class _Setup:
    """The site's trace provider, and the kinds of its processors."""

    provider: DefaultTraceProvider | None
    is_on: bool
    has_openai: bool
    has_own: bool


def tracing_of(agent: Agent[Any], config: RunConfig | None = None) -> Tracing:
    """Return where the traces of an agent's runs go, for ``doctor``.

    :param config: the ``run_config`` of its ``run_options``.
    """
    return _judge([agent], config)[0]


def guard_run(agent: Agent[Any], config: RunConfig | None = None) -> RunConfig | None:
    """Return a run's configuration, which keeps its traces from OpenAI if need be.

    Call it in the task that runs the agent. The log has a warning, once a process.

    :param config: the site's configuration.
    """
    found, setup, foreign = _judge([agent], config)
    if not setup.is_on:
        # Spans that go nowhere hold the model's input, too, and timers of its connection hold the
        # spans for minutes: megabytes if there are files.
        return dataclasses.replace(config or RunConfig(), trace_include_sensitive_data=False)
    if not _withhold(setup, foreign):
        return config
    if found.to_site:
        return config
    return dataclasses.replace(
        config or RunConfig(), tracing_disabled=True, trace_include_sensitive_data=False
    )


def guard_workflow(function: Callable[..., Any]) -> None:
    """Keep the traces of an exported workflow from OpenAI if the model of an agent is foreign.

    Call it before the workflow in the task that runs it, since a workflow opens a trace before any
    agent runs. Its agents are the globals of its module; without any, the SDK's default model
    counts. :func:`guard_run` checks each run as well.
    """
    known = getattr(inspect.unwrap(function), "__globals__", {})
    agents = [value for value in list(known.values()) if isinstance(value, Agent)]
    _, setup, foreign = _judge(agents or [Agent(name="workflow")], None)
    _withhold(setup, foreign)


def _judge(
    agents: Iterable[Agent[Any]], config: RunConfig | None
) -> tuple[Tracing, _Setup, str | None]:
    """Return where traces go, the site's setup, and the reason why a model is foreign."""
    setup = _setup()
    if not setup.is_on or (config is not None and config.tracing_disabled):
        off = dataclasses.replace(setup, is_on=False)
        return Tracing(False, False, "the site has switched tracing off"), off, None
    if not setup.has_openai:
        reason = "OpenAI's exporter was replaced by the site"
        return Tracing(False, setup.has_own, reason), setup, None
    for agent in reachable(agents):
        host = _foreign_host(agent, config)
        if host is not None:
            reason = f"the model of the agent {agent.name!r} is not OpenAI's, but {host}"
            return Tracing(False, setup.has_own, reason), setup, reason
    return Tracing(True, setup.has_own, "the model is OpenAI's"), setup, None


def _withhold(setup: _Setup, foreign: str | None) -> bool:
    """Keep this task's further traces from OpenAI if a model is foreign."""
    if foreign is None:
        return False
    # For the whole answer: the next agent gets the messages of the one before.
    _withheld.set(True)
    _close_gates(setup.provider)
    _Logged.once(foreign)
    return True


class _Logged:
    """Whether the warning is logged."""

    done = False

    @classmethod
    def once(cls, reason: str) -> None:
        """Log the warning the first time."""
        if not cls.done:
            cls.done = True
            logger.warning(
                "Traces of such runs are not sent to OpenAI: %s. Call "
                "agents.set_tracing_disabled(True) for no traces, "
                "agents.set_trace_processors([…]) for traces elsewhere",
                reason,
            )


# --- the model's service ------------------------------------------------------------------------


def _foreign_host(agent: Agent[Any], config: RunConfig | None) -> str | None:
    """Return the service of an agent's model; None for OpenAI."""
    model = config.model if config is not None and config.model is not None else agent.model
    if not isinstance(model, Model):
        if isinstance(model, str) and model.startswith(_ADAPTERS):
            return model.partition("/")[0]
        provider = (config or RunConfig()).model_provider
        try:
            model = provider.get_model(model)
        except Exception as error:  # noqa: BLE001 - the run itself raises it again
            return f"unknown ({type(error).__name__})"
    client = client_of(model)
    if not isinstance(client, AsyncOpenAI):
        return type(model).__name__
    for url in (client.base_url, getattr(client, "websocket_base_url", None)):
        host = urlsplit(str(url)).hostname or "" if url is not None else "api.openai.com"
        # api.openai.com, and by region: eu.api.openai.com.
        if host != "openai.com" and not host.endswith(".openai.com"):
            return f"at {host}"
    return None


# --- the site's setup ---------------------------------------------------------------------------


def _setup() -> _Setup:
    provider: Any = get_trace_provider()
    inner = provider
    while inner is not None and not isinstance(inner, DefaultTraceProvider):
        # Logfire and others wrap the SDK's provider.
        inner = getattr(inner, "wrapped", None)
    if inner is None:
        return _Setup(None, is_on=True, has_openai=False, has_own=True)
    processors = trace_processors(inner)
    openais = [one for one in processors if isinstance(one, _Gate) or _is_openais(one)]
    return _Setup(
        inner,
        # Created, but not started: it is not sent.
        is_on=not isinstance(inner.create_trace("flask_chatkit"), NoOpTrace),
        has_openai=bool(openais),
        has_own=provider is not inner or len(openais) < len(processors),
    )


def _is_openais(processor: TracingProcessor) -> bool:
    """Whether it is the SDK's default exporter; a subclass is the site's."""
    is_batch = isinstance(processor, BatchTraceProcessor)
    return is_batch and type(exporter_of(processor)) is BackendSpanExporter


def _close_gates(provider: DefaultTraceProvider | None) -> None:
    """Put a gate before OpenAI's exporter, unless there is one."""
    if provider is None:
        return
    processors = trace_processors(provider)
    if any(_is_openais(one) for one in processors):
        provider.set_processors([_Gate(one) if _is_openais(one) else one for one in processors])


class _Gate(TracingProcessor):
    """Holds back the traces of answers that are kept from OpenAI."""

    def __init__(self, processor: TracingProcessor) -> None:
        self._processor = processor

    def on_trace_start(self, trace: Any) -> None:
        """Pass on the start of a trace."""
        if not _withheld.get():
            self._processor.on_trace_start(trace)

    def on_trace_end(self, trace: Any) -> None:
        """Pass on the end of a trace."""
        if not _withheld.get():
            self._processor.on_trace_end(trace)

    def on_span_start(self, span: Any) -> None:
        """Pass on the start of a span."""
        if not _withheld.get():
            self._processor.on_span_start(span)

    def on_span_end(self, span: Any) -> None:
        """Pass on the end of a span."""
        if not _withheld.get():
            self._processor.on_span_end(span)

    def shutdown(self, timeout: float | None = None) -> None:
        """End with the process; the SDK's processor takes a timeout in seconds."""
        self._processor.shutdown(timeout)  # type: ignore[call-arg]

    def force_flush(self) -> None:
        """Send all that is queued."""
        self._processor.force_flush()
