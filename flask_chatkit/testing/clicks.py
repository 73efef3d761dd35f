"""The texts and the actions of a widget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatkit.types import WidgetItem

#: Fields of a component that hold visible text.
_SHOWN = ("label", "value", "title", "text", "placeholder", "alt")


def widget_texts(item: WidgetItem) -> list[str]:
    """Return the texts of a widget, from top to bottom: values, labels, titles."""
    root = _dumped(item)
    buttons = (root[name] for name in ("confirm", "cancel") if name in root)
    return [*_texts(root), *_texts(list(buttons))]


def find_action(items: Sequence[WidgetItem], label: str) -> tuple[WidgetItem, dict[str, Any]]:
    """Return the action with this label, in the first widget that has one.

    :raises LookupError: there is none; the message has the existing labels.
    """
    labels: list[str] = []
    for item in items:
        for action, texts in _clickable(_dumped(item), None):
            if label in texts:
                return item, action
            labels += texts[:1]
    there = ", ".join(map(repr, dict.fromkeys(labels))) or "nothing at all"
    raise LookupError(f"no widget has anything to click that shows {label!r}; there is: {there}")


def _clickable(
    node: Any, form: Mapping[str, Any] | None
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield each action that a visitor can trigger below a component, with its texts."""
    if isinstance(node, Sequence) and not isinstance(node, str):
        for child in node:
            yield from _clickable(child, form)
        return
    if not isinstance(node, Mapping):
        return
    if node.get("type") == "Form":
        form = node.get("onSubmitAction")
    if node.get("disabled"):
        return
    if node.get("onClickAction"):
        yield dict(node["onClickAction"]), list(_texts(node))
    elif node.get("submit") and form:
        yield dict(form), list(_texts(node))
    # A card's own buttons.
    for name in ("confirm", "cancel"):
        button = node.get(name)
        if isinstance(button, Mapping) and button.get("action"):
            yield dict(button["action"]), list(_texts(button))
    yield from _clickable(node.get("children"), form)


def _dumped(item: WidgetItem) -> dict[str, Any]:
    return item.widget.model_dump(by_alias=True, exclude_none=True)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, Sequence) and not isinstance(node, str):
        for child in node:
            yield from _texts(child)
    elif isinstance(node, Mapping):
        yield from _texts(node.get("status"))
        yield from (node[name] for name in _SHOWN if isinstance(node.get(name), str))
        yield from (str(option.get("label")) for option in node.get("options") or ())
        yield from _texts(node.get("children"))
