"""What an exported workflow does not know of its thread: earlier turns, and files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from agents import ItemHelpers
from chatkit.types import ThreadItem, UserMessageItem

from ..agent import AgentServer
from ..chat import text_of
from ..context import ChatContext
from .converter import paired


@dataclasses.dataclass
class Memory:
    """What the export does not know: earlier turns, and what came with this message.

    :param text: this message.
    :param earlier: what was said before it.
    :param parts: its files, and what else belongs to it.
    :param after: what followed it: the page's answers.
    """

    text: str
    earlier: list[Any]
    parts: list[Any]
    after: list[Any]
    #: What the input of the first run begins with, which a guardrail may have changed.
    start: Any = None

    def precede(self, given: Any) -> list[Any]:
        """What a run of the export is given, with what precedes it."""
        told: list[Any] = list(ItemHelpers.input_to_new_input_list(given))
        if self.earlier and told[: len(self.earlier)] == self.earlier:
            # It goes on with the whole input of a run before.
            return told
        first = told[0] if told else None
        if self.start is None:
            self.start = first if first is not None else {}
        elif not self._is_message(first) and first != self.start:
            # A node without the chat's history: it is given what its author has chosen.
            return told
        if self.parts:
            is_user = isinstance(first, Mapping) and first.get("role") == "user"
            content = first.get("content") if is_user and first is not None else None
            if isinstance(content, str):
                content = [{"type": "input_text", "text": content}]
            if isinstance(content, list):
                told[0] = {**cast("Any", first), "content": [*self.parts, *content]}
            else:
                told.insert(0, {"role": "user", "content": list(self.parts)})
        return [*self.earlier, *told, *self.after]

    def _is_message(self, first: Any) -> bool:
        if not isinstance(first, Mapping) or first.get("role") != "user":
            return False
        content = first.get("content")
        if isinstance(content, str):
            return content == self.text
        texts = [one.get("text") for one in content or () if one.get("type") == "input_text"]
        return "".join(map(str, texts)) == self.text


def _parts(message: Sequence[Any], text: str) -> list[Any]:
    """The parts of a message as the model is told it, without its text."""
    parts = [part for item in message for part in item.get("content") or ()]
    plain = {"type": "input_text", "text": text}
    if plain in parts:
        parts.remove(plain)
    return parts


async def memory_of(
    server: AgentServer,
    items: Sequence[ThreadItem],
    said: UserMessageItem | None,
    context: ChatContext,
) -> Memory:
    """What the export does not know of a thread: earlier turns, and this message's files."""
    places = [at for at, item in enumerate(items) if isinstance(item, UserMessageItem)]
    at = places[-1] if places else len(items)
    message = said or (cast("UserMessageItem", items[at]) if places else None)
    text = text_of(message) if message is not None else ""
    # Made of all at once: how much of the files is sent, the newest decide first.
    converter = await server._converter(items, context)  # noqa: SLF001 - of the server
    earlier = paired(await converter.to_agent_input(items[:at]))
    own = await converter.to_agent_input(items[at : at + 1])
    after = paired(await converter.to_agent_input(items[at + 1 :]))
    return Memory(text, earlier, _parts(own, text), after)
