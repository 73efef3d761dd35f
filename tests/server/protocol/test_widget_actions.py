"""What a browser says was done to a widget, and what of that reaches the site's code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from chatkit.server import ChatKitServer
from chatkit.types import WidgetItem
from chatkit.widgets import DynamicWidgetRoot
from flask import Flask

from flask_chatkit import ChatKit
from flask_chatkit.errors import BadRequest
from flask_chatkit.server.protocol.widget_actions import used_action
from tests.helpers.served import ORDER_ACTIONS, Client, Shop, of_type, said, visit
from tests.helpers.sites import MakeApp, told

FORM = {
    "type": "Form",
    "onSubmitAction": {"type": "mail", "payload": {"order": 1, "to": {"id": 7}}},
    "children": [
        {"type": "Text", "value": "Where to?", "editable": {"name": "title"}},
        {"type": "Icon", "name": "check"},
        {"type": "Input", "name": "address"},
        {"type": "Input", "name": "to.name"},
        {"type": "Button", "label": "Draft", "onClickAction": {"type": "draft"}},
    ],
}
#: Every place that an action has in a widget; each type with what a browser sends.
WIDGET: dict[str, Any] = {
    "type": "Card",
    "confirm": {"label": "Yes", "action": {"type": "yes", "payload": {"ids": [1, 2.0]}}},
    "cancel": {"label": "No", "action": {"type": "no"}},
    "children": [
        FORM,
        {
            "type": "Row",
            "children": [
                {"type": "Button", "onClickAction": {"type": "buy", "payload": {"sku": 1}}},
                {"type": "Button", "onClickAction": {"type": "buy", "payload": {"sku": 2}}},
                {
                    "type": "Button",
                    "disabled": True,
                    "onClickAction": {"type": "buy", "payload": {"sku": 3}},
                },
            ],
        },
        {
            "type": "Select",
            "name": "size",
            "options": [{"label": "M", "value": "m"}],
            "onChangeAction": {"type": "size", "payload": {"sku": 1}},
        },
        {"type": "Checkbox", "name": "gift", "onChangeAction": {"type": "gift"}},
        {
            "type": "Button",
            "onClickAction": {"type": "nested", "payload": {"onClickAction": {"type": "hidden"}}},
        },
        {"type": "Button", "onClickAction": {"type": "far", "payload": {"id": 2**60 + 1}}},
    ],
}
HONEST: list[tuple[str, Any]] = [
    ("yes", {"ids": [1, 2]}),
    ("no", None),
    ("buy", {"sku": 1}),
    ("buy", {"sku": 2}),
    ("size", {"sku": 1, "size": "m"}),
    ("gift", {"gift": True}),
    ("draft", {"address": "x", "title": "y", "to": {"name": "z"}}),
    ("mail", {"order": 1, "to": {"id": 7, "name": "z"}, "address": "x"}),
    # Our own element does not merge what is nested.
    ("mail", {"order": 1, "to": {"name": "z"}, "address": "x", "title": "y"}),
    ("mail", {"order": 1, "to": {"id": 7}}),
    # What JavaScript makes of a large number.
    ("far", {"id": 2**60}),
]
MADE_UP: list[tuple[str, Any]] = [
    ("yes", {"ids": [1, 2, 3]}),
    ("yes", {"ids": [True, 2]}),
    ("no", {}),
    ("no", {"address": "x"}),
    ("buy", {"sku": 3}),
    ("buy", {"sku": "1"}),
    ("buy", {"sku": 1, "price": 0}),
    ("buy", {"sku": 1, "address": "x"}),
    ("buy", {}),
    ("buy", None),
    ("buy", [1]),
    ("size", {"sku": 2, "size": "m"}),
    ("size", {"sku": 1, "size": "m", "gift": True}),
    ("mail", {"order": 2, "to": {"id": 7, "name": "z"}, "address": "x"}),
    ("mail", {"order": 1, "to": {"id": 8, "name": "z"}, "address": "x"}),
    ("mail", {"order": 1, "to": {"id": 7}, "check": True}),
    ("far", {"id": 2**59}),
    ("hidden", None),
    ("other", None),
]


def item_of(widget: Any) -> WidgetItem:
    """A widget as the history has it."""
    return WidgetItem(id="w", thread_id="t", created_at=datetime.now(timezone.utc), widget=widget)


@pytest.mark.parametrize(("kind", "payload"), HONEST)
def test_what_a_widget_sends_is_found_in_it(kind: str, payload: Any) -> None:
    """Each action of a widget is taken, with what the fields around it add."""
    item = item_of(DynamicWidgetRoot.model_validate(WIDGET))
    assert used_action(item, kind, payload)[0].type == kind


@pytest.mark.parametrize(("kind", "payload"), MADE_UP)
def test_what_no_widget_sends_is_refused(kind: str, payload: Any) -> None:
    """A type or payload that the widget does not have is refused, and named."""
    item = item_of(DynamicWidgetRoot.model_validate(WIDGET))
    with pytest.raises(BadRequest, match=kind):
        used_action(item, kind, payload)


LOCKED = {
    "type": "Form",
    "onSubmitAction": {"type": "pay", "payload": {"price": 5, "to": {"id": 7}}},
    "children": [
        {"type": "Input", "name": "price", "disabled": True},
        {"type": "Input", "name": "to.id", "disabled": True},
        {"type": "Input", "name": "note", "disabled": True},
        {"type": "Input", "name": "name"},
    ],
}


def test_a_disabled_field_takes_the_place_of_nothing() -> None:
    """What the payload has in the place of a disabled field stays, whatever an element sends."""
    item = item_of(DynamicWidgetRoot.model_validate({"type": "Card", "children": [LOCKED]}))
    whole = {"price": 5, "to": {"id": 7}, "note": "x", "name": "y"}
    for sent in (
        whole,
        {**whole, "price": "5", "to": {"id": "7"}},
        {**whole, "price": 1, "to": {"id": 8}},
        {**whole, "to": None},
        {"note": "x", "name": "y"},
    ):
        assert used_action(item, "pay", sent)[1] == whole
    with pytest.raises(BadRequest, match="pay"):
        used_action(item, "pay", {**whole, "more": 1})


@pytest.mark.parametrize(
    ("payload", "locked", "field", "sent"),
    [
        ({"price": 10}, "price", "price.note", {"price": 1}),
        (
            {"price": {"amount": 10}},
            "price.amount",
            "price.currency",
            {"price": {"currency": "EUR"}},
        ),
        ({"price": {"amount": 10}}, "price.amount", "price.currency", {"price": "x"}),
        ({"a.b": 1, "a": {"c": 2}}, "a.b", "z", {"a.b": 9, "a": {"c": 2}}),
        ([10, 20], "0", "z", {"0": 9, "1": 20}),
    ],
)
def test_names_within_each_other_unlock_nothing(
    payload: Any, locked: str, field: str, sent: dict[str, Any]
) -> None:
    """A field whose name is a part of a disabled one's, or the reverse, changes none of it."""
    children = [
        {"type": "Input", "name": locked, "disabled": True},
        {"type": "Input", "name": field},
    ]
    action = {"type": "pay", "payload": payload}
    form = {"type": "Form", "onSubmitAction": action, "children": children}
    item = item_of(DynamicWidgetRoot.model_validate({"type": "Card", "children": [form]}))
    found = used_action(item, "pay", sent)[1]
    stored = {"0": 10, "1": 20} if isinstance(payload, list) else payload
    for key, value in stored.items():
        assert found[key] == value or found[key] == {**value, "currency": "EUR"}


def buttons(*ids: float) -> WidgetItem:
    """A card with a button for each id."""
    children = [
        {"type": "Button", "onClickAction": {"type": "buy", "payload": {"id": one}}} for one in ids
    ]
    return item_of(DynamicWidgetRoot.model_validate({"type": "Card", "children": children}))


@pytest.mark.parametrize(
    "ids",
    [
        (2**52, 2**52 + 1),
        (7205759403792793, 7205759403792794),
        (2**60, 2**60 + 256),
        (0.3, 0.1 + 0.2),
    ],
)
def test_numbers_that_are_near_are_not_the_same(ids: tuple[float, float]) -> None:
    """The button that was clicked is the one whose payload the handler gets."""
    for one in ids:
        # As JavaScript writes it.
        sent = one if isinstance(one, float) or one < 2**53 else int(float(one))
        assert used_action(buttons(*ids), "buy", {"id": sent})[1] == {"id": one}


def test_numbers_that_javascript_cannot_tell_apart_are_refused() -> None:
    """Where two buttons send the same, neither is taken for the other."""
    item = buttons(2**60 + 1, 2**60 + 3)
    with pytest.raises(BadRequest, match="buy"):
        used_action(item, "buy", {"id": 2**60})
    assert used_action(item, "buy", {"id": 2**60 + 3})[1] == {"id": 2**60 + 3}


def test_the_stored_payload_is_handed_on_to_the_last_digit() -> None:
    """Numbers that JavaScript has rounded are the site's own again, beside a form's fields."""
    number = 2**60 + 1
    form = {
        "type": "Form",
        "onSubmitAction": {"type": "pay", "payload": {"id": number, "to": {"id": number}}},
        "children": [{"type": "Input", "name": "to.name"}],
    }
    button = {"type": "Button", "onClickAction": {"type": "buy", "payload": {"id": number}}}
    item = item_of(DynamicWidgetRoot.model_validate({"type": "Card", "children": [form, button]}))
    near = 2**60
    assert used_action(item, "buy", {"id": near})[1] == {"id": number}
    found = used_action(item, "pay", {"id": near, "to": {"id": near, "name": "z"}})[1]
    assert found == {"id": number, "to": {"id": number, "name": "z"}}
    # Our own element does not merge what is nested.
    assert used_action(item, "pay", {"id": near, "to": {"name": "z"}})[1] == found


# --- over HTTP ------------------------------------------------------------------------------------


@pytest.fixture
def site(make_app: MakeApp, tmp_path: Any) -> Callable[..., Flask]:
    """Make sites whose history is this test's own."""

    def make(kit: ChatKit, /, **config: Any) -> Flask:
        uri = f"sqlite:///{tmp_path}/x.sqlite3"
        more = {"CHATKIT_MESSAGE_RATELIMIT": "", "CHATKIT_RATELIMIT": "", **config}
        return make_app(kit, CHATKIT_DATABASE_URI=uri, **more)

    return make


CARD: dict[str, Any] = {
    "type": "Card",
    "asForm": True,
    "confirm": {"label": "Send", "action": {"type": "label", "payload": {"order": "1042"}}},
    "children": [
        {"type": "Input", "name": "address"},
        {
            "type": "Button",
            "onClickAction": {"type": "quiet", "payload": {}, "streaming": False},
        },
    ],
}
BOTH = ("threads.custom_action", "threads.sync_custom_action")


def shop_kit(calls: list[Any]) -> ChatKit:
    """A chat that shows a card, whose actions note what reaches them."""
    kit = ChatKit()

    @kit.assistant()
    def show(message: Any, chat: Any) -> Iterator[Any]:
        yield CARD

    @kit.action("label")
    def label(payload: Any, chat: Any) -> Iterator[str]:
        calls.append(("label", payload, chat.sender and chat.sender.id))
        yield "It is on its way."

    @kit.action("quiet")
    def quiet(payload: Any, chat: Any) -> None:
        calls.append(("quiet", payload, chat.sender and chat.sender.id))

    @kit.action("words")
    def words(payload: Any, chat: Any) -> str:
        return "words"

    @kit.action("share", from_page=True)
    def share(payload: Any, chat: Any) -> Iterator[str]:
        calls.append(("share", payload, chat.sender))
        yield "Shared."

    @kit.action("card", from_page=True)
    def card(payload: Any, chat: Any) -> Any:
        return CARD

    return kit


@pytest.fixture
def calls() -> list[Any]:
    """What reached the site's handlers."""
    return []


@pytest.fixture
def ann(browse: Any, site: Any, calls: list[Any]) -> Client:
    """A visitor of such a chat, whose server shows no traceback and hides no status."""
    kit = shop_kit(calls)
    return visit(browse(site(kit, TESTING=False, PROPAGATE_EXCEPTIONS=False)))


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("action", "words"),
    [
        ({"type": "sell\nx"}, "no action 'sell\\nx'"),
        ({"type": ""}, "'params.action.type'"),
        ({}, "'params.action.type'"),
        ({"type": None}, "'params.action.type'"),
        ({"payload": {"order": "1042"}}, "'params.action.type'"),
        ({"type": ["label"]}, "'params.action.type'"),
        ({"type": "label", "payload": {"order": "1043"}}, "'params.action.payload'"),
        ({"type": "label", "payload": {"order": "1042", "to": "x"}}, "'params.action.payload'"),
        ({"type": "label"}, "'params.action.payload'"),
        ({"type": "words"}, "The widget has no action 'words'"),
        ({"type": "share"}, "The widget has no action 'share'"),
    ],
)
def test_made_up_actions_are_refused_in_words(
    ann: Client, calls: list[Any], caplog: Any, kind: str, action: Any, words: str
) -> None:
    """An action that the widget does not have is 400 and a line of the log, in both operations."""
    thread = ann.create()
    widget = of_type(ann.items(thread), "widget")["id"]
    with caplog.at_level("INFO", "flask_chatkit"):
        caplog.clear()
        answer = ann.post(kind, thread_id=thread, item_id=widget, action=action)
    assert words in told(answer, 400, "bad_request")["message"]
    assert calls == []
    # Earlier sites may say that their database is gone.
    told_of = [one for one in caplog.records if "daily counts" not in one.message]
    assert [one.levelname for one in told_of] == ["INFO"]
    assert caplog.records[0].chatkit_reason == "bad_request"


def test_an_action_is_taken_with_what_a_form_adds(ann: Client, calls: list[Any]) -> None:
    """The stored payload and the form's fields reach the handler, whose sender is the widget."""
    thread = ann.create()
    widget = of_type(ann.items(thread), "widget")["id"]
    payload = {"order": "1042", "address": "Hebden Mill"}
    place = {"thread_id": thread, "item_id": widget}
    ann.stream(BOTH[0], **place, action={"type": "label", "payload": payload})
    assert ann.ask(BOTH[1], **place, action={"type": "quiet", "payload": {}}) == {}
    assert calls == [("label", payload, widget), ("quiet", {}, widget)]


def test_a_streaming_handler_is_not_called_for_json(ann: Client, calls: list[Any]) -> None:
    """A handler that yields is not run by the operation that returns a widget."""
    thread = ann.create()
    widget = of_type(ann.items(thread), "widget")["id"]
    action = {"type": "label", "payload": {"order": "1042"}}
    answer = ann.post(BOTH[1], thread_id=thread, item_id=widget, action=action)
    assert "answered with a stream" in told(answer, 400, "bad_request")["message"]
    answer = ann.post(BOTH[1], thread_id=thread, action={"type": "share"})
    assert "answered with a stream" in told(answer, 400, "bad_request")["message"]
    answer = ann.post(BOTH[1], thread_id=thread, action={"type": "card"})
    assert "needs a widget" in told(answer, 400, "bad_request")["message"]
    assert calls == []


@pytest.mark.parametrize("kind", BOTH)
def test_an_action_without_a_widget_is_for_those_who_ask(
    ann: Client, calls: list[Any], kind: str
) -> None:
    """The page's own word reaches a handler with from_page alone."""
    thread = ann.create()
    action = {"type": "label", "payload": {"order": "1042"}}
    for item in ({}, {"item_id": None}, {"item_id": ""}):
        answer = ann.post(kind, thread_id=thread, action=action, **item)
        assert "without a widget" in told(answer, 400, "bad_request")["message"]
    assert calls == []


def test_the_pages_own_word_has_no_sender(ann: Client, calls: list[Any]) -> None:
    """A handler that asks for it is told what the page says, and that no widget was used."""
    thread = ann.create()
    ann.stream(BOTH[0], thread_id=thread, action={"type": "share", "payload": [1]})
    assert calls == [("share", [1], None)]


def test_a_used_up_widget_does_nothing(browse: Any, site: Any) -> None:
    """What counts is the widget as it is stored now: an action that was replaced is gone."""
    kit = ChatKit()
    kit.assistant()(lambda _message, _chat: CARD)
    done: list[Any] = []

    @kit.action("label")
    def label(payload: Any, chat: Any) -> None:
        done.append(payload)
        chat.replace({"type": "Card", "children": []})

    ann = visit(browse(site(kit)))
    thread = ann.create()
    place = {"thread_id": thread, "item_id": of_type(ann.items(thread), "widget")["id"]}
    action = {"type": "label", "payload": {"order": "1042"}}
    ann.stream(BOTH[0], **place, action=action)
    assert ann.post(BOTH[0], **place, action=action).status_code == 400
    assert done == [{"order": "1042"}]


class Deaf(Shop):
    """A server of a site's own that does not ask for what a page says by itself."""

    page_actions = False


@pytest.mark.parametrize("kind", BOTH)
def test_servers_of_a_sites_own_get_what_the_widget_has(browse: Any, site: Any, kind: str) -> None:
    """A ChatKitServer's own methods are called for actions of stored widgets alone."""
    made: list[Shop] = []

    def make(store: Any) -> Shop:
        made.append(Deaf(store))
        return made[-1]

    kit = ChatKit()
    kit.add_server("default", make)
    ann = visit(browse(site(kit, TESTING=False, PROPAGATE_EXCEPTIONS=False)))
    thread = ann.create("everything")
    widget = of_type(ann.items(thread), "widget")["id"]
    for action in (
        {"type": "order.cancel", "payload": {"id": 2}},
        {"type": "boom", "payload": {}},
        {},
    ):
        answer = ann.post(kind, thread_id=thread, item_id=widget, action=action)
        told(answer, 400, "bad_request")
    cancel = {name: ORDER_ACTIONS[0][name] for name in ("type", "payload")}
    told(ann.post(kind, thread_id=thread, action=cancel), 400, "bad_request")
    assert made[0].told == []
    answer = ann.post(kind, thread_id=thread, item_id=widget, action=cancel)
    assert answer.status_code == 200
    assert made[0].told == [("order.cancel", {"id": 1})]


def test_a_server_without_a_widget_to_return(browse: Any, site: Any) -> None:
    """A ChatKitServer that only streams its actions is 400 where a widget is asked for."""

    class Streaming(Shop):
        sync_action = ChatKitServer.sync_action  # type: ignore[assignment]

    kit = ChatKit()
    kit.add_server("default", Streaming)
    ann = visit(browse(site(kit, TESTING=False, PROPAGATE_EXCEPTIONS=False)))
    thread = ann.create("everything")
    place = {"thread_id": thread, "item_id": of_type(ann.items(thread), "widget")["id"]}
    action = {"type": "order.cancel", "payload": {"id": 1}}
    answer = ann.post(BOTH[1], **place, action=action)
    assert "answered with a stream" in told(answer, 400, "bad_request")["message"]
    assert ann.post(BOTH[0], **place, action=action).status_code == 200


def test_a_server_may_ask_for_the_pages_own_word(browse: Any, site: Any) -> None:
    """With page_actions a server's methods get what names no widget, with no sender."""
    senders: list[Any] = []

    class Listening(Deaf):
        async def action(self, thread: Any, action: Any, sender: Any, context: Any) -> Any:
            senders.append(sender)
            async for event in super().action(thread, action, sender, context):
                yield event

    kit = ChatKit()
    kit.add_server("default", Listening, page_actions=True)
    ann = visit(browse(site(kit)))
    thread = ann.create()
    ann.stream(BOTH[0], thread_id=thread, action={"type": "go", "payload": {}})
    assert senders == [None]


def test_a_server_without_actions_answers_4xx(browse: Any, site: Any) -> None:
    """An action that nobody can answer is no traceback where nothing was shown that has one."""

    class Plain(ChatKitServer[Any]):
        async def respond(self, thread: Any, item: Any, context: Any) -> Any:
            for one in ():
                yield one

    kit = ChatKit()
    kit.add_server("default", Plain)
    ann = visit(browse(site(kit, TESTING=False, PROPAGATE_EXCEPTIONS=False)))
    thread = json.loads(
        ann.post("threads.create", input=said("x")).text.splitlines()[0].removeprefix("data: ")
    )["thread"]["id"]
    for kind in BOTH:
        told(ann.post(kind, thread_id=thread, action={"type": "x"}), 400, "bad_request")
