"""Hidden items of a thread that contain the outputs of an agent's tools."""

from __future__ import annotations

from chatkit.types import HiddenContextItem, ThreadItem

#: The kind of the kit's hidden items, as opposed to a site's.
KIND = "flask_chatkit.tools"


def is_memory(item: ThreadItem) -> bool:
    """Whether an item contains tool outputs."""
    return (
        isinstance(item, HiddenContextItem)
        and isinstance(item.content, dict)
        and item.content.get("kind") == KIND
    )
