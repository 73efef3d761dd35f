"""What an exported workflow does not know of its thread: earlier turns, and files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, cast

from agents import ItemHelpers
from chatkit.types import (
    HiddenContextItem,
    ThreadItem,
    UserMessageItem,
    UserMessageTextContent,
)

from ..assistants.messages import text_of
from ..history.tool_outputs import KIND, is_memory
from ..surrogates import clean
from .converter import Converter, ToldFiles, drop_unpaired_calls
from .memory import recall

#: Where a hidden item keeps the texts that models are told in the place of messages.
TEXTS = "texts"


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
    #: Whether a run that keeps its conversation elsewhere has been given the files.
    is_sent: bool = False

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
        return [*self.earlier, *self._with_parts(told), *self.after]

    def accompany(self, given: Any) -> Any:
        """What a run that keeps its conversation elsewhere is given: this message's files, once."""
        if not self.parts or self.is_sent:
            return given
        self.is_sent = True
        return self._with_parts(list(ItemHelpers.input_to_new_input_list(given)))

    def changed_text(self) -> str | None:
        """What the first run was told in the place of this message's text, if not that as well."""
        if not isinstance(self.start, Mapping) or self.start.get("role") != "user":
            return None
        text = _text_in(self.start)
        return text if text and self.text not in text else None

    def _with_parts(self, told: list[Any]) -> list[Any]:
        if not self.parts or self._has_parts(told):
            return told
        first = told[0] if told else None
        is_user = isinstance(first, Mapping) and first.get("role") == "user"
        content = first.get("content") if is_user and first is not None else None
        if isinstance(content, str):
            content = [{"type": "input_text", "text": content}]
        if isinstance(content, list):
            return [{**cast("Any", first), "content": [*self.parts, *content]}, *told[1:]]
        return [{"role": "user", "content": list(self.parts)}, *told]

    def _has_parts(self, told: list[Any]) -> bool:
        """Whether a run goes on with the whole input of one before, files included."""
        contents = [one.get("content") for one in told if isinstance(one, Mapping)]
        there = [part for content in contents if isinstance(content, list) for part in content]
        return all(part in there for part in self.parts)

    def _is_message(self, first: Any) -> bool:
        if not isinstance(first, Mapping) or first.get("role") != "user":
            return False
        return _text_in(first) == self.text


def _text_in(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = [one.get("text") for one in content or () if one.get("type") == "input_text"]
    return "".join(map(str, texts))


def _put_texts(earlier: Sequence[ThreadItem], items: Sequence[ThreadItem]) -> list[ThreadItem]:
    """Earlier items with what models were told in place of messages; see :func:`text_item`."""
    texts: dict[str, str] = {}
    for item in items:
        if is_memory(item):
            texts.update(cast("HiddenContextItem", item).content.get(TEXTS) or {})
    return [with_text(item, texts[item.id]) if item.id in texts else item for item in earlier]


def with_text(item: ThreadItem, text: str) -> ThreadItem:
    """A message with another text; another item as it is."""
    if not isinstance(item, UserMessageItem):
        return item
    return item.model_copy(update={"content": [UserMessageTextContent(text=text)]})


def text_item(item_id: str, message: UserMessageItem, text: str) -> HiddenContextItem:
    """What keeps in the thread which text models are told in the place of a message's own.

    A guardrail may have masked what no model is to read, in later turns neither.
    """
    return HiddenContextItem(
        id=item_id,
        thread_id=message.thread_id,
        created_at=datetime.now(timezone.utc),
        content={"kind": KIND, "items": [], TEXTS: {message.id: clean(text)}},
    )


def _parts(message: Sequence[Any], text: str) -> list[Any]:
    """The parts of a message as the model is told it, without its text."""
    parts = [part for item in message for part in item.get("content") or ()]
    plain = {"type": "input_text", "text": text}
    if plain in parts:
        parts.remove(plain)
    return parts


async def memory_of(
    files: ToldFiles, items: Sequence[ThreadItem], said: UserMessageItem | None
) -> Memory:
    """What the export does not know of a thread: earlier turns, and this message's files."""
    places = [at for at, item in enumerate(items) if isinstance(item, UserMessageItem)]
    at = places[-1] if places else len(items)
    message = cast("UserMessageItem", items[at]) if places else said
    text = text_of(message) if message is not None else ""
    converter = Converter(files, recall(items))
    earlier = drop_unpaired_calls(await converter.to_agent_input(_put_texts(items[:at], items)))
    own = await converter.to_agent_input(items[at : at + 1])
    after = drop_unpaired_calls(await converter.to_agent_input(items[at + 1 :]))
    return Memory(text, earlier, _parts(own, text), after)
