"""The parts of a thread that an exported workflow is not given: earlier turns, and files."""

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
from .converter import Converter, FileParts, drop_unpaired_calls
from .memory import recall

#: The key of a hidden item's content for texts that models get in place of messages.
TEXTS = "texts"


@dataclasses.dataclass
class Memory:
    """Earlier turns, and what belongs to this message.

    :param text: the text of this message.
    :param earlier: the input before it.
    :param parts: its files, and its other content.
    :param after: the results of client tools after it.
    """

    text: str
    earlier: list[Any]
    parts: list[Any]
    after: list[Any]
    #: The first item of the first run's input, which a guardrail may have changed.
    start: Any = None
    #: Whether a run that keeps its conversation elsewhere has the files.
    is_sent: bool = False

    def prepend_history(self, given: Any) -> list[Any]:
        """Return a run's input with the thread's history before it."""
        given_input: list[Any] = list(ItemHelpers.input_to_new_input_list(given))
        if self.earlier and given_input[: len(self.earlier)] == self.earlier:
            # It continues with the whole input of an earlier run.
            return given_input
        first = given_input[0] if given_input else None
        if self.start is None:
            self.start = first if first is not None else {}
        elif not self._is_message(first) and first != self.start:
            # A node without the chat's history: it gets the input that its author has chosen.
            return given_input
        return [*self.earlier, *self._with_parts(given_input), *self.after]

    def attach_files(self, given: Any) -> Any:
        """Return the input of a run that keeps its conversation elsewhere, with the files, once."""
        if not self.parts or self.is_sent:
            return given
        self.is_sent = True
        return self._with_parts(list(ItemHelpers.input_to_new_input_list(given)))

    def changed_text(self) -> str | None:
        """Return the text that the first run got in place of this message's, if it replaces it."""
        if not isinstance(self.start, Mapping) or self.start.get("role") != "user":
            return None
        text = _text_in(self.start)
        return text if text and self.text not in text else None

    def _with_parts(self, given_input: list[Any]) -> list[Any]:
        if not self.parts or self._has_parts(given_input):
            return given_input
        first = given_input[0] if given_input else None
        is_user = isinstance(first, Mapping) and first.get("role") == "user"
        content = first.get("content") if is_user and first is not None else None
        if isinstance(content, str):
            content = [{"type": "input_text", "text": content}]
        if isinstance(content, list):
            return [{**cast("Any", first), "content": [*self.parts, *content]}, *given_input[1:]]
        return [{"role": "user", "content": list(self.parts)}, *given_input]

    def _has_parts(self, given_input: list[Any]) -> bool:
        """Whether a run continues with the whole input of an earlier one, files included."""
        contents = [one.get("content") for one in given_input if isinstance(one, Mapping)]
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
    """Return earlier items with the texts that replace those of messages; see :func:`text_item`."""
    texts: dict[str, str] = {}
    for item in items:
        if is_memory(item):
            texts.update(cast("HiddenContextItem", item).content.get(TEXTS) or {})
    return [with_text(item, texts[item.id]) if item.id in texts else item for item in earlier]


def with_text(item: ThreadItem, text: str) -> ThreadItem:
    """Return a message with another text; any other item as it is."""
    if not isinstance(item, UserMessageItem):
        return item
    return item.model_copy(update={"content": [UserMessageTextContent(text=text)]})


def text_item(item_id: str, message: UserMessageItem, text: str) -> HiddenContextItem:
    """Build an item that keeps the text that models get in place of a message's own.

    A guardrail may have masked what no model may read, in later turns either.
    """
    return HiddenContextItem(
        id=item_id,
        thread_id=message.thread_id,
        created_at=datetime.now(timezone.utc),
        content={"kind": KIND, "items": [], TEXTS: {message.id: clean(text)}},
    )


def _parts(message: Sequence[Any], text: str) -> list[Any]:
    """Return the content of a message without its text."""
    parts = [part for item in message for part in item.get("content") or ()]
    plain = {"type": "input_text", "text": text}
    if plain in parts:
        parts.remove(plain)
    return parts


async def load_memory(
    files: FileParts, items: Sequence[ThreadItem], message: UserMessageItem | None
) -> Memory:
    """Collect the earlier turns of a thread, and this message's files."""
    places = [at for at, item in enumerate(items) if isinstance(item, UserMessageItem)]
    at = places[-1] if places else len(items)
    message = cast("UserMessageItem", items[at]) if places else message
    text = text_of(message) if message is not None else ""
    converter = Converter(files, recall(items))
    earlier = drop_unpaired_calls(await converter.to_agent_input(_put_texts(items[:at], items)))
    own = await converter.to_agent_input(items[at : at + 1])
    after = drop_unpaired_calls(await converter.to_agent_input(items[at + 1 :]))
    return Memory(text, earlier, _parts(own, text), after)
