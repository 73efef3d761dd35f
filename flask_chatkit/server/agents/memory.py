"""An agent's memory beside the messages: its tools' outputs, and the agent that spoke last.

Calls and outputs are stored in the history, as hidden items before the message that they led to,
and are deleted with the thread. ChatKit sends no hidden item to a page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, cast

from agents import Agent, TResponseInputItem
from chatkit.agents import AgentContext
from chatkit.store import StoreItemType
from chatkit.types import (
    ClientToolCallItem,
    HiddenContextItem,
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadMetadata,
    UserMessageItem,
)

from ..history.tool_outputs import KIND, is_memory
from ..surrogates import clean
from .budget import CUT
from .graph import agent_of

#: Characters of one output that are stored, and of all outputs that are sent in a turn: the oldest
#: are left out.
OUTPUT_CHARACTERS = 10_000
RECALLED_CHARACTERS = 50_000
#: The key of a thread's metadata for the agent that spoke last.
LAST_AGENT = "flask_chatkit_agent"


class Recorder:
    """Stores the outputs of a run's tools in the thread.

    :param context: the context of the agent's tools; the items go through its queue.
    :param new_id: makes an id for an item.
    """

    def __init__(self, context: AgentContext[Any], new_id: Callable[[StoreItemType], str]) -> None:
        self._context = context
        self._new_id = new_id
        self._open: dict[str, dict[str, Any]] = {}
        self._done: list[dict[str, Any]] = []

    async def note(self, event: Any) -> None:
        """Handle an event of the Agents SDK."""
        if event.type != "run_item_stream_event":
            return
        kind, item = event.item.type, event.item
        if kind in {"tool_call_item", "handoff_call_item"}:
            call = _as_dict(item.raw_item)
            if call.get("type") == "function_call":
                self._open[str(call["call_id"])] = _function_call(call)
            else:
                self._done += _hosted(call)
        elif kind in {"tool_call_output_item", "handoff_output_item"}:
            raw = _as_dict(item.raw_item)
            known = self._open.pop(str(raw.get("call_id")), None)
            # ChatKit stores the call of a client tool itself, with the page's result.
            if known is not None and not self._is_clients(known):
                output = _shortened(_output(raw.get("output")))
                call_id = known["call_id"]
                done = {"type": "function_call_output", "call_id": call_id, "output": output}
                self._done += [known, done]
        if self._done and not self._open:
            await self._keep()

    def _is_clients(self, known: Mapping[str, Any]) -> bool:
        asked = self._context.client_tool_call
        return asked is not None and known["name"] == asked.name

    async def _keep(self) -> None:
        item = HiddenContextItem(
            id=self._new_id("message"),
            thread_id=self._context.thread.id,
            created_at=datetime.now(timezone.utc),
            content={"kind": KIND, "items": clean(self._done)},
        )
        self._done = []
        await self._context.stream(ThreadItemDoneEvent(item=item))


def recall(items: Sequence[ThreadItem]) -> dict[str, list[TResponseInputItem]]:
    """Return the input items of a thread's tool calls, by the id of the hidden item.

    :param items: the thread's items, the oldest first.
    """
    clients = {item.call_id for item in items if isinstance(item, ClientToolCallItem)}
    left = RECALLED_CHARACTERS
    recalled: dict[str, list[TResponseInputItem]] = {}
    for item in reversed(items):
        if not is_memory(item):
            continue
        kept = cast("HiddenContextItem", item).content.get("items", [])
        size = len(json.dumps(kept, ensure_ascii=False))
        if size > left:
            break
        left -= size
        recalled[item.id] = [one for one in kept if one.get("call_id") not in clients]
    return recalled


def remember_last_agent(
    thread: ThreadMetadata, name: str, first: str, message: UserMessageItem | None
) -> None:
    """Store the name of the agent that the conversation was handed off to.

    :param first: the name of the run's first agent.
    """
    known = thread.metadata.get(LAST_AGENT) or {"name": first}
    if known.get("name") == name:
        return
    asked = message.id if message is not None else known.get("message")
    # A retry of this message goes to the agent that it was first sent to.
    before = known.get("before") if known.get("message") == asked else known.get("name")
    last = {"name": name, "message": asked, "before": before}
    thread.metadata = {**thread.metadata, LAST_AGENT: last}


def last_agent(
    start: Agent[Any], thread: ThreadMetadata, message: UserMessageItem | None
) -> Agent[Any]:
    """Return the agent that answers: the last one, if handoffs still lead to it.

    :param message: the message to answer; None for the page's result of a client tool.
    """
    known = thread.metadata.get(LAST_AGENT)
    if not isinstance(known, Mapping):
        return start
    is_again = message is not None and known.get("message") == message.id
    name = known.get("before" if is_again else "name")
    return next((agent for agent in _reachable(start) if agent.name == name), start)


def _reachable(start: Agent[Any]) -> Iterator[Agent[Any]]:
    """Yield an agent and all that its handoffs lead to, the nearest first."""
    waiting, seen = [start], {id(start)}
    while waiting:
        agent = waiting.pop(0)
        yield agent
        for other in map(agent_of, agent.handoffs):
            if isinstance(other, Agent) and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)


def _as_dict(raw: Any) -> dict[str, Any]:
    return dict(raw) if isinstance(raw, Mapping) else raw.model_dump(exclude_unset=True)


def _function_call(call: Mapping[str, Any]) -> dict[str, Any]:
    # Without its id, which would need the reasoning item that is not sent again.
    arguments = str(call.get("arguments") or "{}")
    return {
        "type": "function_call",
        "call_id": call["call_id"],
        "name": call["name"],
        "arguments": arguments if len(arguments) <= OUTPUT_CHARACTERS else "{}",
    }


def _hosted(call: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe the call of a hosted tool: other services refuse its item."""
    kind = str(call.get("type", "")).removesuffix("_call")
    fields = ("name", "action", "queries", "code", "arguments", "outputs", "results", "output")
    known = {name: call[name] for name in fields if call.get(name)}
    if not known or kind == "image_generation":
        return []
    text = _shortened(json.dumps(known, ensure_ascii=False, default=str))
    content = (
        "Hidden context for the agent (not shown to the user):\n"
        f"<HiddenContext>\nThe tool {kind} was used: {text}\n</HiddenContext>"
    )
    return [{"type": "message", "role": "user", "content": content}]


def _output(output: Any) -> str:
    if isinstance(output, str):
        return output
    parts = output if isinstance(output, list) else [output]
    return "\n".join(_part(part) for part in parts)


def _part(part: Any) -> str:
    given = part if isinstance(part, Mapping) else {"text": str(part)}
    return str(given["text"]) if "text" in given else f"({given.get('type', 'something else')})"


def _shortened(text: str) -> str:
    return text if len(text) <= OUTPUT_CHARACTERS else text[:OUTPUT_CHARACTERS] + CUT
