"""Hidden items of a thread that hold what an agent's tools returned."""

from __future__ import annotations

from chatkit.types import HiddenContextItem, ThreadItem

#: Distinguishes the package's hidden items from those of a site.
KIND = "flask_chatkit.tools"


def is_memory(item: ThreadItem) -> bool:
    """Whether an item of a thread is what tools returned."""
    return (
        isinstance(item, HiddenContextItem)
        and isinstance(item.content, dict)
        and item.content.get("kind") == KIND
    )
