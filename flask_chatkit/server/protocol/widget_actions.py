"""Checks the actions of widgets that browsers send against the widgets in the history.

A request names an item, and an action's type and payload, all of which a browser can forge. The
stored widget has the actions that are possible; only what a form adds to a payload comes from the
visitor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from chatkit.types import ThreadItem, WidgetItem

from ...chats.callbacks import Callbacks
from ...errors import BadRequest

#: Fields of a component whose values are data, not components.
_DATA = frozenset({"data", "payload"})
#: Components whose ``name`` is that of a picture, not of a form's field.
_NAMELESS = frozenset({"Icon"})
_NONE = object()


@dataclass(frozen=True)
class WidgetAction:
    """An action of a widget.

    :param fields: the names of the fields in the surrounding form, which are added to the payload.
    :param locked: the disabled ones: there the stored payload counts.
    """

    type: str
    payload: Any
    streaming: bool
    fields: frozenset[str]
    locked: frozenset[str] = frozenset()


def widget_actions(item: WidgetItem) -> Iterator[WidgetAction]:
    """The actions of a widget."""
    yield from _in(item.model_dump(mode="json").get("widget"), frozenset())


def used_action(item: WidgetItem, kind: str, payload: Any) -> tuple[WidgetAction, Any]:
    """The action of a stored widget that a browser has sent, and its payload.

    All but the enabled fields of a form is taken from the stored payload.

    :raises BadRequest: the widget has no such action, or not with this payload.
    """
    known = [action for action in widget_actions(item) if action.type == kind]
    if not known:
        raise BadRequest(f"The widget has no action {kind[:80]!r}.")
    for is_same in (_is_same, partial(_is_same, is_rounded=True)):
        found = [
            (action, whole)
            for action in known
            if (whole := _payload(action, payload, is_same)) is not _NONE
        ]
        if any(whole != found[0][1] for _, whole in found):
            # Two numbers that are equal in JavaScript: which one was meant is ambiguous.
            break
        if found:
            return found[0]
    raise BadRequest(
        f"The field 'params.action.payload' is not that of the widget's action {kind[:80]!r}."
    )


class ActionChecks:
    """The checks of one chat's actions.

    :param callbacks: the site's; None for a ``ChatKitServer`` of its own that handles actions.
    :param page_actions: whether that accepts actions of the page, without a widget.
    :param answers_at_once: whether it has a method for actions that are not streamed.
    """

    def __init__(
        self, callbacks: Callbacks | None, *, page_actions: bool, answers_at_once: bool = True
    ) -> None:
        self._callbacks = callbacks
        self._page_actions = page_actions
        self._answers_at_once = answers_at_once

    def check_type(self, kind: object) -> None:
        """Check what needs no history.

        :param kind: the action's type; None if it was no string.
        :raises BadRequest: there is none, or nothing handles it.
        """
        if not isinstance(kind, str) or not kind:
            raise BadRequest("The field 'params.action.type' is missing or empty.")
        if self._callbacks is not None and kind not in self._callbacks.actions:
            raise BadRequest(f"This chat has no action {kind[:80]!r}.")

    def check_use(self, action: Any, item: ThreadItem | None, *, is_sync: bool) -> Any:
        """Check an action against its stored item.

        :param item: None for an action of the page.
        :param is_sync: whether it is answered with a widget instead of a stream.
        :returns: the payload for the site's code.
        :raises BadRequest: the widget has no such action, or the page may not send it.
        """
        is_streamed, payload = True, action.payload
        if item is None:
            self._check_page(action.type)
        elif not isinstance(item, WidgetItem):
            # ChatKitServer answers this with an error event.
            if is_sync:
                raise BadRequest("The item is no widget.")
            return payload
        else:
            used, payload = used_action(item, action.type, action.payload)
            is_streamed = used.streaming
        callbacks = self._callbacks.actions if self._callbacks is not None else {}
        handler = callbacks.get(action.type)
        streams = handler is not None and is_streamed and answers_with_stream(handler)
        if is_sync and (streams or not self._answers_at_once):
            raise BadRequest(
                f"The action {action.type[:80]!r} is answered with a stream: "
                "send it as threads.custom_action."
            )
        return payload

    def _check_page(self, kind: str) -> None:
        if self._callbacks is None:
            is_accepted = self._page_actions
        else:
            is_accepted = kind in self._callbacks.from_page
        if not is_accepted:
            raise BadRequest(f"The action {kind[:80]!r} is not taken without a widget.")


def answers_with_stream(handler: Callable[..., Any]) -> bool:
    """Whether the handler of an action is a generator."""
    while isinstance(handler, partial):
        handler = handler.func
    handler = inspect.unwrap(handler)
    call = getattr(type(handler), "__call__", None)  # noqa: B004 - it is called with another
    return any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one)
        for one in (handler, call)
    )


# --- what is in a widget --------------------------------------------------------------------------


def _in(
    node: Any, fields: frozenset[str], locked: frozenset[str] = frozenset()
) -> Iterator[WidgetAction]:
    if isinstance(node, list):
        for one in node:
            yield from _in(one, fields, locked)
        return
    # A disabled component sends no action.
    if not isinstance(node, dict) or node.get("disabled") is True:
        return
    if node.get("type") == "Form" or node.get("asForm"):
        form = list(_fields(node))
        fields |= frozenset(name for name, _ in form)
        # The visitor can't change these, so the stored payload counts.
        locked |= frozenset(name for name, is_disabled in form if is_disabled)
        locked -= frozenset(name for name, is_disabled in form if not is_disabled)
    own = _name(node)
    for key, value in node.items():
        # onClickAction, onChangeAction, onSubmitAction; ``action`` in a card's confirm and cancel.
        if (key == "action" or key.endswith("Action")) and _is_config(value):
            payload = value.get("payload")
            is_change = own is not None and key == "onChangeAction"
            named = fields | {own} if own is not None and is_change else fields
            is_streamed = value.get("streaming") is not False
            yield WidgetAction(value["type"], payload, is_streamed, named, locked)
        elif key not in _DATA:
            yield from _in(value, fields, locked)


def _is_config(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def _fields(node: Any, *, is_disabled: bool = False) -> Iterator[tuple[str, bool]]:
    """The names of the fields in a form, and whether each is disabled."""
    if isinstance(node, list):
        for one in node:
            yield from _fields(one, is_disabled=is_disabled)
    elif isinstance(node, dict):
        name, is_disabled = _name(node), is_disabled or node.get("disabled") is True
        if name is not None:
            yield name, is_disabled
        for key, value in node.items():
            if key not in _DATA and not key.endswith("Action"):
                yield from _fields(value, is_disabled=is_disabled)


def _name(node: Mapping[str, Any]) -> str | None:
    """The name of a field; an editable text has it in ``editable``."""
    name = node.get("name")
    is_named = isinstance(name, str) and name and node.get("type") not in _NAMELESS
    return name if is_named else None


# --- payloads -------------------------------------------------------------------------------------


def _payload(action: WidgetAction, sent: Any, is_same: Callable[[Any, Any], bool]) -> Any:
    """The stored payload, with the fields that the visitor has filled in."""
    if is_same(action.payload, sent):
        return action.payload
    if not action.fields or not isinstance(sent, dict):
        return _NONE
    # The values of fields come from the visitor.
    rest = _without(sent, action.fields)
    # Where payloads are not merged deeply, a field "a.b" replaces all of "a".
    outer = frozenset(name.partition(".")[0] for name in action.fields)
    for one in _spread(action.payload):
        for names in (action.fields, outer):
            if is_same(_without(one, names), rest):
                stored = _without(one, action.fields - action.locked)
                for name in action.locked:
                    path = [name] if name in one else name.split(".")
                    stored = _restored(stored, one, path)
                return _merged(sent, stored)
    return _NONE


def _restored(stored: Any, whole: Any, path: Sequence[str]) -> Any:
    """The stored part, with what the whole payload has at a path."""
    if not isinstance(whole, dict) or path[0] not in whole:
        return stored
    left, first = stored if isinstance(stored, dict) else {}, path[0]
    if not path[1:]:
        return {**left, first: whole[first]}
    inner = _restored(left.get(first), whole[first], path[1:])
    return left if inner is None else {**left, first: inner}


def _merged(sent: Any, stored: dict[str, Any]) -> dict[str, Any]:
    """What was sent, deeply merged with what is stored."""
    if not isinstance(sent, dict):
        return stored
    merged = {**sent, **stored}
    for key, value in stored.items():
        if isinstance(value, dict):
            merged[key] = _merged(sent.get(key), value)
    return merged


def _spread(payload: Any) -> list[dict[str, Any]]:
    """What a payload becomes when JavaScript adds fields to it."""
    if isinstance(payload, dict):
        return [payload]
    if isinstance(payload, (list, str)):
        return [{str(place): one for place, one in enumerate(payload)}, {}]
    return [{}]


def _without(payload: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """A payload without some fields; names with dots are paths."""
    left = dict(payload)
    for name in names:
        left.pop(name, None)
        if "." in name:
            left = _pruned(left, name.split("."))
    return left


def _pruned(payload: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    first, rest = path[0], path[1:]
    if first not in payload:
        return payload
    left = {key: value for key, value in payload.items() if key != first}
    inner = payload[first]
    if rest and isinstance(inner, dict):
        kept = _pruned(inner, rest)
        # A form creates the objects that a path needs.
        return {**left, first: kept} if kept else left
    return left


def _is_same(stored: Any, sent: Any, *, is_rounded: bool = False) -> bool:
    """Whether two JSON values are equal.

    :param is_rounded: whether numbers are compared as JavaScript's, which have 53 bits.
    """
    if isinstance(stored, bool) or isinstance(sent, bool) or stored is None or sent is None:
        return stored is sent
    if isinstance(stored, (int, float)) and isinstance(sent, (int, float)):
        try:
            return stored == sent or (is_rounded and float(stored) == float(sent))
        except OverflowError:
            return False
    if isinstance(stored, dict) and isinstance(sent, dict):
        return stored.keys() == sent.keys() and all(
            _is_same(value, sent[key], is_rounded=is_rounded) for key, value in stored.items()
        )
    if isinstance(stored, list) and isinstance(sent, list):
        return len(stored) == len(sent) and all(
            _is_same(*pair, is_rounded=is_rounded) for pair in zip(stored, sent, strict=True)
        )
    return type(stored) is type(sent) and bool(stored == sent)
