"""Checks of served chats: OpenAI's allow-list, agents' traces, keys and models."""

from __future__ import annotations

import datetime
import inspect
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..parsers import LOOPBACK
from .report import Finding, check, error, ok, skipped, warning
from .site import Site

#: The models that OpenAI's API will retire, and the date.
RETIRING = re.compile(r"(gpt-4o|gpt-4o-mini|gpt-4\.1|gpt-4\.1-mini)(-\d{4}-\d{2}-\d{2})?")
RETIRED = datetime.date(2027, 1, 14)


@check(
    "allow-list",
    "which hosts must be in OpenAI's domain allow-list, and whether there is a domain key",
    cure="see CHATKIT_DOMAIN_KEY",
)
def allow_list(site: Site) -> Iterator[Finding]:
    """List the exact hosts: the list itself can't be read from here."""
    hosts = sorted(_hosts(site))
    if not site.shows_openai:
        if site.served:
            yield ok("no CHATKIT_DOMAIN_KEY: the built-in chat is used, which needs no allow-list")
        else:
            yield skipped("there is no chat")
    elif hosts:
        yield skipped(
            "OpenAI's allow-list can't be read from here",
            "see that these exact hosts are in OpenAI's domain allow-list, in the organisation "
            f"of the key: {', '.join(hosts)}",
        )
    elif site.is_development or site.is_loopback:
        yield ok("localhost needs no entry in OpenAI's allow-list")
    else:
        yield skipped(
            "the site's host is not known here",
            "see that each exact host of the site is in OpenAI's domain allow-list",
        )


def _hosts(site: Site) -> set[str]:
    """Return the hosts whose pages show a chat, as far as the configuration has them."""
    named: set[str | None] = {site.host}
    named |= {str(host) for host in site.config.get("TRUSTED_HOSTS") or () if host[:1] != "."}
    named |= {urlsplit(origin).hostname for origin in site.settings.trusted_origins}
    found = {host for host in named if host}
    return {host for host in found if host not in LOOPBACK and not host.endswith(".localhost")}


@check(
    "agent-tracing",
    "whether visitors' messages to an agent go to OpenAI's trace store",
    cure="run_config=RunConfig(tracing_disabled=True)",
)
def agent_tracing(site: Site) -> Iterator[Finding]:
    """Check where the traces of each agent's runs go."""
    agents = list(_agents(site))
    if not agents:
        yield skipped("no chat is answered by an agent")
        return
    from ..server.agents.tracing import tracing_of

    for name, server in agents:
        agent = server._agent  # noqa: SLF001  the doctor looks inside
        if not hasattr(agent, "instructions"):
            yield skipped(f"the agent of the chat {name!r} is made for each answer")
            continue
        found = tracing_of(agent, (server.run_options or {}).get("run_config"))
        if found.to_openai and os.environ.get("OPENAI_API_KEY"):
            yield skipped(
                f"what visitors say in the chat {name!r} is kept in OpenAI's trace store",
                f"if the chat {name!r} shall not be traced: agents.set_tracing_disabled(True)",
            )
        else:
            yield ok(f"the chat {name!r} is not traced by OpenAI: {found.reason}")


@check(
    "model-key",
    "whether agents and workflows have a key for their models",
    cure="set OPENAI_API_KEY in the environment",
)
def model_key(site: Site) -> Iterator[Finding]:
    """Create the client of each agent's model, which needs its key, but makes no call."""
    found = False
    for chat, agent, config in _asking(site):
        found = True
        try:
            _make_model(agent, config)
        except Exception as refused:  # noqa: BLE001  adapters have errors of their own
            if type(refused).__name__ != "OpenAIError":
                continue  # an adapter to other services
            # Not a warning: the site's environment may have what this command's lacks.
            yield skipped(
                f"the Agents SDK finds no key here for the model of {agent.name!r}",
                f"see that the site has OPENAI_API_KEY in its environment, or the chat {chat!r} "
                "can't answer; the SDK does not read CHATKIT_API_KEY",
            )
            return
    yield ok("agents have a key") if found else skipped("no agent asks a model of OpenAI's")


def _make_model(agent: Any, config: Any) -> None:
    from agents.models.multi_provider import MultiProvider

    provider = getattr(config, "model_provider", None) or MultiProvider()
    provider.get_model(agent.model)


def _asking(site: Site) -> Iterator[tuple[str, Any, Any]]:
    """Yield the agents whose model is a name, with their ``run_config``."""
    for chat, server in site.servers.items():
        if type(server).__name__ == "AgentServer":
            known = list(_with_handoffs(server._agent))  # noqa: SLF001  the doctor looks inside
        elif type(server).__name__ == "WorkflowServer":
            known = _globals_of(server._workflow)  # noqa: SLF001  likewise
        else:
            continue
        config = (server.run_options or {}).get("run_config")
        for agent in known:
            if not isinstance(getattr(config, "model", None) or agent.model, (str, type(None))):
                continue
            yield chat, agent, config


@check(
    "models",
    "whether an agent's model leaves OpenAI's API",
    cure="see the agents' models",
)
def models(site: Site) -> Iterator[Finding]:
    """Check the model of each agent."""
    found = False
    for chat, server in _agents(site):
        for agent in _with_handoffs(getattr(server, "_agent", None)):
            model = getattr(agent, "model", None)
            name = model if isinstance(model, str) else getattr(model, "model", None)
            if isinstance(name, str) and RETIRING.fullmatch(name):
                found = True
                today = datetime.datetime.now(datetime.timezone.utc).date()
                finding = error if today >= RETIRED else warning
                yield finding(
                    f"{name}, of the agent {agent.name!r} in the chat {chat!r}, leaves the API on "
                    f"{RETIRED}",
                    "give the agent a newer model, and try it",
                )
    if not found:
        yield skipped("no agent's model is known to leave the API")


def _agents(site: Site) -> Iterator[tuple[str, Any]]:
    for name, server in site.servers.items():
        if type(server).__name__ == "AgentServer":
            yield name, server


def _globals_of(workflow: Any) -> list[Any]:
    """Return the agents of an exported workflow, which are globals of its module."""
    known = getattr(inspect.unwrap(workflow), "__globals__", {})
    return [one for one in list(known.values()) if hasattr(one, "instructions")]


def _with_handoffs(agent: Any) -> Iterator[Any]:
    seen: set[int] = set()
    waiting = [agent]
    while waiting:
        one = waiting.pop()
        if hasattr(one, "instructions") and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting.extend(getattr(one, "handoffs", ()))
