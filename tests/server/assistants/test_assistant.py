"""A chat that a function of the site answers."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageItem,
    EndOfTurnItem,
    HiddenContextItem,
    NoticeEvent,
    ThreadItemDoneEvent,
)
from chatkit.widgets import Card, DynamicWidgetRoot, Text, WidgetTemplate
from flask import Flask, current_app

from flask_chatkit.chats.callbacks import Callbacks
from flask_chatkit.errors import BadRequest
from flask_chatkit.server import SQLAlchemyStore
from flask_chatkit.server.assistants.channel import AHEAD
from flask_chatkit.server.assistants.chat import Chat
from flask_chatkit.server.assistants.function import AssistantServer
from flask_chatkit.server.assistants.messages import ClientToolResult, Message
from flask_chatkit.server.assistants.widgets import as_widget
from flask_chatkit.server.assistants.workers import stopping
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.streaming import loop
from flask_chatkit.server.streaming import stream as streams
from tests.helpers.driving import (
    ALICE,
    BOB,
    Answer,
    call,
    deltas,
    items_of,
    kinds,
    others,
    said,
    settled,
    stored,
    thread_of,
    upload,
    workers,
)

Make = Callable[..., AssistantServer]

MESSAGE = [
    "added assistant_message",
    "assistant_message.content_part.added",
    "assistant_message.content_part.text_delta",
    "assistant_message.content_part.done",
    "done assistant_message",
]
CARD = {"type": "Card", "children": [{"type": "Text", "value": "Fox"}]}


@pytest.fixture
def make() -> Iterator[Make]:
    """Make servers with an empty history, whose threads get no titles unless asked."""
    stores: list[SQLAlchemyStore] = []

    def server(function: Any, store: Store[Any] | None = None, **more: Any) -> AssistantServer:
        if store is None:
            store = SQLAlchemyStore("sqlite://")
            stores.append(store)
        return AssistantServer(
            function, store, **{"callbacks": Callbacks(), "titles": False, **more}
        )

    yield server
    for store in stores:
        store.close()


def run(test: Any) -> Any:
    """Run a test's coroutine; nothing of it may be left behind."""
    complaints: list[Any] = []

    async def whole() -> Any:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context)
        )
        result = await asyncio.wait_for(test, 20)
        await settled(lambda: not others() and not workers())
        return result

    result = asyncio.run(whole())
    assert complaints == []
    return result


def ask(server: AssistantServer, text: str = "Hello", **more: Any) -> list[Any]:
    """Say something in a new thread; the events."""
    events: list[Any] = run(call(server, "threads.create", input=said(text, **more)))
    return events


def always(result: Any) -> Any:
    """A function that returns the same, whatever it is given."""

    def answer(given: Any, chat: Chat) -> Any:
        return result

    return answer


# --- what a function answers --------------------------------------------------------------------


def test_texts_stream_into_one_message(make: Make) -> None:
    """Texts that follow each other are one message, streamed as ChatKit has it."""

    def answer(message: Message, chat: Chat) -> Iterator[str]:
        yield "You said "
        yield ""
        yield message.text

    server = make(answer)
    events = ask(server, "hello")
    delta = "assistant_message.content_part.text_delta"
    assert kinds(events) == [*MESSAGE[:2], delta, delta, *MESSAGE[3:]]
    added, done = events[3], events[-1]
    assert added.item.content == []
    assert done.item.content == [AssistantMessageContent(text="You said hello")]
    assert deltas(events) == "You said hello"
    assert {event.item_id for event in events[4:-1]} == {added.item.id} == {done.item.id}
    assert added.item.thread_id == thread_of(events)
    assert asyncio.run(stored(server, thread_of(events)))[-1].content == done.item.content


async def _later(text: str) -> str:
    await asyncio.sleep(0)
    return text


def _plain(message: Message, chat: Chat) -> str:
    return "Hi " + message.text


def _many(message: Message, chat: Chat) -> list[str]:
    return ["Hi", " ", message.text]


def _mapped(message: Message, chat: Chat) -> Any:
    return map(str, ["Hi ", message.text])


def _generator(message: Message, chat: Chat) -> Iterator[str]:
    yield "Hi "
    yield message.text


async def _coroutine(message: Message, chat: Chat) -> str:
    return await _later("Hi " + message.text)


async def _async_generator(message: Message, chat: Chat) -> AsyncIterator[str]:
    yield await _later("Hi ")
    yield message.text


async def _async_list(message: Message, chat: Chat) -> list[str]:
    return ["Hi ", message.text]


def _around_coroutine(message: Message, chat: Chat) -> Any:
    return _coroutine(message, chat)


def _around_generator(message: Message, chat: Chat) -> Any:
    return _async_generator(message, chat)


class _Callable:
    async def __call__(self, message: Message, chat: Chat) -> str:
        return await _later("Hi " + message.text)


def _greet(greeting: str, message: Message, chat: Chat) -> str:
    return greeting + message.text


@pytest.mark.parametrize(
    "function",
    [
        _plain,
        _many,
        _mapped,
        _generator,
        _coroutine,
        _async_generator,
        _async_list,
        _around_coroutine,
        _around_generator,
        _Callable(),
        functools.partial(_greet, "Hi "),
    ],
)
def test_every_kind_of_function_answers(make: Make, function: Any) -> None:
    """Plain and asynchronous functions, and what decorators make of them, are the same."""
    events = ask(make(function), "Ann")
    assert deltas(events) == "Hi Ann"
    assert len(items_of(events, "assistant_message")) == 1


def test_nothing_may_be_said(make: Make) -> None:
    """A function that returns None answers with nothing."""
    assert kinds(ask(make(always(None)))) == []


def test_other_items_begin_a_new_message(make: Make) -> None:
    """A widget, an item or an item's event ends a message; other events don't."""

    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        base = {"thread_id": chat.thread.id, "created_at": chat.thread.created_at}
        yield "one"
        yield NoticeEvent(level="info", message="still one")
        yield CARD
        yield "two"
        yield EndOfTurnItem(id="end_1", **base)
        yield "three"
        yield ThreadItemDoneEvent(item=HiddenContextItem(id="hid_1", content="x", **base))
        yield "four"

    server = make(answer)
    events = ask(server)
    assert kinds(events) == [
        *MESSAGE[:3],
        "notice",
        *MESSAGE[3:],
        "done widget",
        *MESSAGE,
        "done end_of_turn",
        *MESSAGE,
        *MESSAGE,
    ]
    types = [item.type for item in asyncio.run(stored(server, thread_of(events)))[1:]]
    message = "assistant_message"
    assert types == [
        message,
        "widget",
        message,
        "end_of_turn",
        message,
        "hidden_context_item",
        message,
    ]


def test_widgets_are_shown(make: Make, tmp_path: Path) -> None:
    """Widgets come as objects, as dicts with fields of tomorrow, or out of .widget files."""
    file = tmp_path / "card.widget"
    template = '{"type":"Card","children":[{"type":"Text","value":{{ (name) | tojson }}}]}'
    file.write_text(json.dumps({"version": "1.0", "name": "card", "template": template}), "utf-8")
    built = WidgetTemplate.from_file(str(file)).build({"name": "Fox"})
    tomorrow = {
        "type": "ListView",
        "limit": None,
        "children": [
            {
                "type": "ListViewItem",
                "onClickAction": {"type": "buy", "payload": {"id": 1}},
                "children": [{"type": "Text", "value": "A", "sparkle": 3}],
            },
        ],
    }
    basic = {"type": "Basic", "children": {"type": "Markdown", "value": "*A*"}}
    shown = [Card(children=[Text(value="Fox")]), dict(CARD), built, tomorrow, basic]
    events = ask(make(always(shown)))
    widgets = [item.widget.model_dump() for item in items_of(events, "widget")]
    assert [one["type"] for one in widgets] == ["Card", "Card", "Card", "ListView", "Basic"]
    assert widgets[0]["children"] == widgets[1]["children"] == widgets[2]["children"]
    (item,) = as_widget(tomorrow).model_dump()["children"]
    assert item["children"][0]["sparkle"] == 3


@pytest.mark.parametrize(
    ("widget", "told"),
    [
        ({"type": "Crad", "children": []}, "widget: type: a widget is a Basic, Card, ListView"),
        (Text(value="x"), "not a Text"),
        ({"type": "Card", "size": "huge"}, "widget.size: Input should be 'sm', 'md', 'lg'"),
        (
            {"type": "Card", "children": [{"type": "Row", "children": [{"type": "Text"}]}]},
            "widget.children[0].children[0].value: Field required (in a Text)",
        ),
        ({"type": "Card", "children": [{"type": "Txt"}]}, "widget.children[0].type: 'Txt' is none"),
        ({"type": "Card", "children": ["text"]}, "widget.children[0]: a component must be a dict"),
        (
            {"type": "Card", "children": [], "confirm": {"label": "OK"}},
            "widget.confirm.action: Field required",
        ),
    ],
)
def test_wrong_widgets_are_named(
    make: Make, widget: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A widget with something wrong in it is refused by the field, in log and helper."""
    seen = []

    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        try:
            chat.widget(widget)
        except (TypeError, ValueError) as error:
            seen.append(str(error))
        yield widget

    events = ask(make(answer))
    assert kinds(events) == ["error"]
    assert events[-1].code == "stream.error"
    assert events[-1].message is None
    assert told in seen[0]
    assert seen[0] in caplog.text


@pytest.mark.parametrize("wrong", [3, b"bytes", object(), ["nested"], Message(text="x")])
def test_what_cannot_be_shown_is_refused(
    make: Make, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Anything else is a TypeError that tells what is accepted, and what was said stays said."""

    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        yield "Well"
        yield wrong

    server = make(answer)
    events = ask(server)
    assert kinds(events) == [*MESSAGE, "error"]
    assert events[-1].model_dump(exclude_none=True)["code"] == "stream.error"
    assert "an answer is made of text, a widget" in caplog.text
    assert f"not of {type(wrong).__name__}" in caplog.text
    assert asyncio.run(stored(server, thread_of(events)))[-1].content[0].text == "Well"


def test_a_single_wrong_value_is_refused(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A function that returns a number is told so, too."""
    assert kinds(ask(make(always(42)))) == ["error"]
    assert "not of int: 42" in caplog.text


# --- helpers ------------------------------------------------------------------------------------


def _help_plainly(message: Message, chat: Chat) -> None:
    chat.progress("Looking", icon="search")
    chat.effect("confetti", {"count": 3})
    chat.notice("warning", "Late", title="Post")
    chat.widget(CARD, copy_text="Fox")


def _help_and_yield(message: Message, chat: Chat) -> Iterator[Any]:
    yield chat.progress("Looking", icon="search")
    yield chat.effect("confetti", {"count": 3})
    chat.notice("warning", "Late", title="Post")
    yield chat.widget(CARD, copy_text="Fox")


def _help_and_return(message: Message, chat: Chat) -> Any:
    chat.progress("Looking", icon="search")
    chat.effect("confetti", {"count": 3})
    chat.notice("warning", "Late", title="Post")
    return chat.widget(CARD, copy_text="Fox")


async def _help_in_coroutine(message: Message, chat: Chat) -> None:
    _help_plainly(message, chat)


async def _help_in_async_generator(message: Message, chat: Chat) -> AsyncIterator[Any]:
    for sent in _help_and_yield(message, chat):
        yield sent


@pytest.mark.parametrize(
    "function",
    [
        _help_plainly,
        _help_and_yield,
        _help_and_return,
        _help_in_coroutine,
        _help_in_async_generator,
    ],
)
def test_helpers_send_once_and_in_order(make: Make, function: Any) -> None:
    """Helpers send whether what they return is yielded or not, and never twice."""
    events = ask(make(function))
    assert kinds(events) == ["progress_update", "client_effect", "notice", "done widget"]
    progress, effect, notice, widget = events[-4:]
    assert (progress.text, progress.icon) == ("Looking", "search")
    assert (effect.name, effect.data) == ("confetti", {"count": 3})
    assert (notice.level, notice.message, notice.title) == ("warning", "Late", "Post")
    assert widget.item.copy_text == "Fox"


def test_helpers_and_texts_keep_their_order(make: Make) -> None:
    """What a helper sends comes between the texts that were yielded around it."""

    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        yield "a"
        chat.widget(CARD)
        yield "b"
        chat.progress("c")
        yield "d"

    told = kinds(ask(make(answer)))
    assert [kind for kind in told if "content_part." not in kind or "delta" in kind] == [
        "added assistant_message",
        MESSAGE[2],
        "done assistant_message",
        "done widget",
        "added assistant_message",
        MESSAGE[2],
        "progress_update",
        MESSAGE[2],
        "done assistant_message",
    ]


@pytest.mark.parametrize("is_async", [False, True])
def test_helpers_send_at_once(make: Make, is_async: bool) -> None:
    """Progress is seen while the function still works."""
    seen = threading.Event()

    def answer(message: Message, chat: Chat) -> str:
        chat.progress("Working")
        assert seen.wait(5)
        return "Done"

    async def answer_async(message: Message, chat: Chat) -> str:
        chat.progress("Working")
        await settled(seen.is_set)
        return "Done"

    async def test() -> None:
        server = make(answer_async if is_async else answer)
        reading = Answer(server, "threads.create", input=said())
        await reading.until(lambda events: "progress_update" in kinds(events))
        assert deltas(reading.events) == ""
        seen.set()
        await reading.task
        assert deltas(reading.events) == "Done"

    run(test())


def test_steps_become_workflows(make: Make) -> None:
    """Thoughts and tasks are gathered into one workflow until something else is shown."""

    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        yield chat.thinking("Hm", title="First")
        chat.thinking("Aha")
        yield "So:"
        yield chat.task("Packing", content="A box", icon="cube")
        yield chat.task("Sending")

    server = make(answer)
    events = ask(server)
    assert kinds(events) == [
        "added workflow",
        "workflow.task.added",
        "workflow.task.added",
        "done workflow",
        *MESSAGE,
        "added workflow",
        "workflow.task.added",
        "done workflow",
    ]
    reasoning, custom = items_of(events, "workflow")
    assert reasoning.workflow.type == "reasoning"
    assert [(one.type, one.title, one.content) for one in reasoning.workflow.tasks] == [
        ("thought", "First", "Hm"),
        ("thought", None, "Aha"),
    ]
    assert reasoning.workflow.summary.duration == 0
    assert [task.title for task in custom.workflow.tasks] == ["Packing", "Sending"]
    (added,) = [
        event.item
        for event in events
        if event.type == "thread.item.added" and getattr(event.item, "id", "") == custom.id
    ]
    assert [task.title for task in added.workflow.tasks] == ["Packing"]
    types = [item.type for item in asyncio.run(stored(server, thread_of(events)))]
    assert types == ["user_message", "workflow", "assistant_message", "workflow"]


@pytest.mark.parametrize(
    ("misuse", "told"),
    [
        (lambda chat: chat.progress("x", icon="no-such-icon"), "progress: icon"),
        (lambda chat: chat.notice("loud", "x"), "notice: level"),
        (lambda chat: chat.effect("x", {"set": {1}}), "data must be JSON"),
        (lambda chat: chat.client_tool("x", {"when": object()}), "arguments must be JSON"),
        (lambda chat: chat.ask([]), "there must be a question"),
        (lambda chat: chat.ask({"options": ["a"]}), "ask: multiple_choice.question"),
        (lambda chat: chat.ask([3]), "a question must be a str or a dict"),
        (lambda chat: chat.ask([{"id": "a", "question": "?"}] * 2), "an id of its own"),
        (lambda chat: chat.replace(CARD), "only the handler of a widget's action"),
        (lambda chat: setattr(chat, "title", 3), "a title must be a str"),
    ],
)
def test_misuse_is_told_where_it_happens(
    make: Make, misuse: Callable[[Chat], Any], told: str
) -> None:
    """A helper that is called wrongly raises at once, in the site's own code."""
    seen = []

    def answer(message: Message, chat: Chat) -> None:
        with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
            misuse(chat)
        seen.append(str(caught.value))

    assert kinds(ask(make(answer))) == []
    assert told in seen[0]


def test_errors_can_be_read(make: Make) -> None:
    """An error of the chat's reaches the visitor, and what was said before it stays."""

    def answer(message: Message, chat: Chat) -> Iterator[str]:
        yield "Let me see"
        raise chat.error("The till is closed.", allow_retry=True)

    server = make(answer)
    events = ask(server)
    assert kinds(events) == [*MESSAGE, "error"]
    error = events[-1]
    assert (error.code, error.message, error.allow_retry) == ("custom", "The till is closed.", True)
    assert asyncio.run(stored(server, thread_of(events)))[-1].content[0].text == "Let me see"


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("hunter"),
        SystemExit(1),
        StopIteration(),
        asyncio.CancelledError(),
        GeneratorExit(),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_other_errors_are_nobodys_business(
    make: Make, raised: BaseException, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other error is logged with its traceback, the visitor is told that there was one."""

    def answer(message: Message, chat: Chat) -> str:
        raise raised

    async def answer_async(message: Message, chat: Chat) -> str:
        raise raised

    events = ask(make(answer_async if is_async else answer))
    assert kinds(events) == ["error"]
    assert (events[-1].code, events[-1].message) == ("stream.error", None)
    assert type(raised).__name__ in caplog.text
    assert "raise raised" in caplog.text


# --- what a function is told --------------------------------------------------------------------


def test_message_tells_everything(make: Make) -> None:
    """A message has its text with tags, the quote, and what was chosen in the composer."""
    seen: list[tuple[Message, Chat]] = []
    tag = {"type": "input_tag", "id": "o17", "text": "Order 17", "data": {"n": 17}}
    content = [
        {"type": "input_text", "text": "Where is "},
        tag,
        {"type": "input_text", "text": "?"},
    ]
    server = make(lambda message, chat: seen.append((message, chat)))
    ask(server, content=content, quoted_text="sent", model="big", tool_choice={"id": "search"})
    ((message, chat),) = seen
    assert message.text == "Where is @Order 17?"
    assert message.quoted_text == "sent"
    assert [one.data for one in message.tags] == [{"n": 17}]
    assert (message.model, message.tool) == ("big", "search")
    assert message.item is not None
    assert message.tool_result is None
    assert message.answers == {}
    assert chat.visitor.user_id == "alice"
    assert chat.locale == "de-CH"
    assert chat.context is ALICE
    assert chat.thread.id == message.item.thread_id
    assert chat.history == []
    assert chat.sender is None


def test_history_is_what_was_said_before(make: Make) -> None:
    """A function is told the messages before this one, the oldest first."""
    seen: list[list[tuple[str, str]]] = []

    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        seen.append([(turn.role, turn.text) for turn in chat.history])
        yield f"re: {message.text}"
        yield CARD

    server = make(answer)

    async def test() -> None:
        events = await call(server, "threads.create", input=said("one"))
        thread = thread_of(events)
        for text in ("two", "three"):
            await call(server, "threads.add_user_message", thread_id=thread, input=said(text))
        third = (await stored(server, thread))[6]
        await call(server, "threads.retry_after_item", thread_id=thread, item_id=third.id)

    run(test())
    before = [("user", "one"), ("assistant", "re: one")]
    then = [*before, ("user", "two"), ("assistant", "re: two")]
    assert seen == [[], before, then, then]


def _read_bytes(attachment: Any, context: ChatContext) -> bytes:
    assert context is ALICE
    return attachment.name.encode()


async def _read_bytes_async(attachment: Any, context: ChatContext) -> bytes:
    await asyncio.sleep(0.001)
    return _read_bytes(attachment, context)


@pytest.mark.parametrize("reader", [_read_bytes, _read_bytes_async])
@pytest.mark.parametrize("is_async", [False, True])
def test_attachments_are_read(make: Make, reader: Any, is_async: bool) -> None:
    """Files are read in plain and asynchronous functions, whatever reads them."""

    def answer(message: Message, chat: Chat) -> str:
        (file,) = message.attachments
        assert (file.mime_type, file.size) == ("text/csv", 5)
        assert chat.attachments == message.attachments
        return file.read().decode()

    async def answer_async(message: Message, chat: Chat) -> str:
        (file,) = message.attachments
        with pytest.raises(RuntimeError, match="aread"):
            file.read()
        return (await file.aread()).decode()

    server = make(answer_async if is_async else answer, read_attachment=reader)

    async def test() -> None:
        file = await upload(server, "a.csv", "text/csv", metadata={"size": 5})
        events = await call(server, "threads.create", input=said(attachments=[file.id]))
        assert deltas(events) == "a.csv"

    run(test())


def test_client_tools_are_answered(make: Make) -> None:
    """A client tool ends the answer; the function is called again with what the page returned."""

    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        if message.tool_result is None:
            yield "Adding"
            yield chat.client_tool("add_to_cart", {"sku": "A-1"})
        else:
            assert (message.text, message.item) == ("", None)
            yield f"{message.tool_result.output['total']} in all"

    server = make(answer)

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        assert kinds(events) == [*MESSAGE, "done client_tool_call"]
        tool = events[-1].item
        assert (tool.name, tool.arguments, tool.status) == (
            "add_to_cart",
            {"sku": "A-1"},
            "pending",
        )
        events = await call(
            server,
            "threads.add_client_tool_output",
            thread_id=thread_of(events),
            result={"total": 3},
        )
        assert deltas(events) == "3 in all"

    run(test())
    result = ClientToolResult("x", {}, None)
    assert (result.name, result.arguments, result.output) == ("x", {}, None)


def test_nothing_follows_a_client_tool(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Something said after a client tool was called is an error, and is not in the history."""

    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        chat.client_tool("add_to_cart")
        yield "Done!"

    server = make(answer)
    events = ask(server)
    assert kinds(events) == ["done client_tool_call", "error"]
    assert "nothing can follow 'add_to_cart'" in caplog.text
    items = asyncio.run(stored(server, thread_of(events)))
    assert [item.type for item in items] == ["user_message", "client_tool_call"]


def test_questions_are_answered(make: Make) -> None:
    """A form is answered or skipped, and the function is told by the question."""
    seen: list[dict[str, list[str]]] = []

    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        seen.append(message.answers)
        if message.item is not None:
            yield "Some questions"
            yield chat.ask(
                [
                    "What is your name?",
                    {"id": "size", "question": "Which size?", "options": ["S", "L"]},
                    {"question": "Why?", "description": "If you like"},
                ]
            )
        else:
            yield "Thanks"

    server = make(answer)

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        form = events[-1].item
        assert [(one.type, one.id) for one in form.inputs] == [
            ("freeform", "q1"),
            ("multiple_choice", "size"),
            ("freeform", "q3"),
        ]
        place = {"thread_id": thread_of(events), "item_id": form.id}
        answers = {"q1": {"values": ["Ann"]}, "size": {"values": ["L", "S"]}}
        events = await call(
            server, "threads.add_structured_input", **place, input={"answers": answers}
        )
        assert kinds(events) == ["replaced structured_input", *MESSAGE]

    run(test())
    assert seen == [{}, {"q1": ["Ann"], "size": ["L"], "q3": []}]


# --- threads, contexts, stopping ----------------------------------------------------------------


def test_blocking_functions_do_not_wait_for_each_other(make: Make) -> None:
    """Fifty functions block at the same time, and the loop goes on."""
    together = threading.Barrier(50)

    def answer(message: Message, chat: Chat) -> str:
        together.wait(10)
        return message.text

    server = make(answer)

    async def test() -> None:
        answers = (call(server, "threads.create", input=said(str(n))) for n in range(50))
        all_events = await asyncio.gather(*answers)
        assert [deltas(events) for events in all_events] == [str(n) for n in range(50)]

    run(test())


_color: ContextVar[str] = ContextVar("color")


@pytest.mark.parametrize("is_async", [False, True])
def test_context_of_the_answer_is_there(make: Make, is_async: bool) -> None:
    """The application and the answer's context variables are there in every kind of function."""
    app = Flask("site")
    torn: list[str] = []

    @app.teardown_appcontext
    def tear(error: BaseException | None) -> None:
        torn.append(threading.current_thread().name)

    def answer(message: Message, chat: Chat) -> Iterator[str]:
        yield current_app.name
        yield _color.get()

    async def answer_async(message: Message, chat: Chat) -> AsyncIterator[str]:
        for text in answer(message, chat):
            yield text

    server = make(answer_async if is_async else answer)

    async def test() -> None:
        _color.set("green")
        with app.app_context():
            events = await call(server, "threads.create", input=said())
        assert deltas(events) == "sitegreen"

    run(test())
    # What a thread has used is torn down in the thread.
    mine = ["MainThread"]
    assert torn == mine if is_async else sorted(torn) == ["MainThread", "flask_chatkit answer"]


def test_a_generator_waits_for_its_reader(make: Make) -> None:
    """A generator is ahead of its reader by a few outputs, not by all of them."""
    made = []

    def answer(message: Message, chat: Chat) -> Iterator[str]:
        for number in range(1000):
            made.append(number)
            yield "x"

    async def test() -> None:
        body = json.dumps({"type": "threads.create", "params": {"input": said()}}).encode()
        result = await make(answer).process(body, ALICE)
        read = 0
        async for _ in result:
            read += 1
            if read == 50:
                await asyncio.sleep(0.1)
                assert len(made) <= 50 + AHEAD + 1
        assert len(made) == 1000

    run(test())


def _endless(closed: threading.Event) -> Any:
    def answer(message: Message, chat: Chat) -> Iterator[str]:
        try:
            while True:
                yield "word "
                time.sleep(0.001)
        except GeneratorExit:
            closed.set()
            raise

    return answer


def _crowded(closed: threading.Event) -> Any:
    def answer(message: Message, chat: Chat) -> Iterator[str]:
        try:
            while True:
                yield "word "
        finally:
            closed.set()

    return answer


def _helping(closed: threading.Event) -> Any:
    def answer(message: Message, chat: Chat) -> Iterator[str]:
        yield "word "
        try:
            while True:
                chat.progress("Still at it")
                time.sleep(0.001)
        except GeneratorExit:
            closed.set()
            raise

    return answer


def _reading(closed: threading.Event) -> Any:
    def answer(message: Message, chat: Chat) -> Iterator[str]:
        yield "word "
        try:
            chat.attachments[0].read()
        except GeneratorExit:
            closed.set()
            raise

    return answer


def _awaiting(closed: threading.Event) -> Any:
    async def answer(message: Message, chat: Chat) -> AsyncIterator[str]:
        yield "word "
        try:
            await asyncio.sleep(60)
        finally:
            # Cleaning up may take a moment.
            await asyncio.sleep(0.01)
            closed.set()

    return answer


def _crowded_async(closed: threading.Event) -> Any:
    async def answer(message: Message, chat: Chat) -> AsyncIterator[str]:
        try:
            while True:
                yield "word "
        finally:
            closed.set()

    return answer


@pytest.mark.parametrize(
    "kind", [_endless, _crowded, _helping, _reading, _awaiting, _crowded_async]
)
def test_stop_ends_the_function(make: Make, kind: Any) -> None:
    """A stopped answer ends its function wherever that is, and keeps what was said."""
    closed = threading.Event()

    async def never(attachment: Any, context: ChatContext) -> bytes:
        await asyncio.sleep(60)
        return b""

    server = make(kind(closed), read_attachment=never, titles=True)

    async def test() -> None:
        file = await upload(server, "a.txt", "text/plain")
        message = said("What is a fox?", attachments=[file.id])
        answer = Answer(server, "threads.create", input=message)
        await answer.until(deltas)
        await asyncio.sleep(0.02)
        await answer.stop()
        await settled(closed.is_set)
        await settled(lambda: not workers())
        thread = thread_of(answer.events)
        items = await stored(server, thread)
        assert [item.type for item in items] == [
            "user_message",
            "assistant_message",
            "sdk_hidden_context",
        ]
        # No more than what may still have been on its way to the visitor.
        seen = deltas(answer.events)
        assert items[1].content[0].text.startswith(seen)
        assert len(items[1].content[0].text) <= len(seen) + len("word ")
        # It is found in the list of threads.
        assert (await server.store.load_thread(thread, ALICE)).title == "What is a fox?"

    run(test())


def _endless_widgets(closed: threading.Event) -> Any:
    def answer(message: Message, chat: Chat) -> Iterator[Any]:
        try:
            yield "said"
            while True:
                yield CARD
        finally:
            closed.set()

    return answer


class _Slow(SQLAlchemyStore):
    """A store that is slow to say that an item was added, or to add it."""

    when = "after"

    async def add_thread_item(self, thread_id: str, item: Any, context: Any) -> None:
        is_slow = isinstance(item, AssistantMessageItem) and not self.stopped
        self.added.append(item.type)
        if self.when == "after":
            await super().add_thread_item(thread_id, item, context)
        if is_slow:
            self.adding.set()
            await asyncio.sleep(60)
        if self.when == "before":
            await super().add_thread_item(thread_id, item, context)

    def __init__(self) -> None:
        super().__init__("sqlite://")
        self.adding = asyncio.Event()
        self.stopped = False
        self.added: list[str] = []


@pytest.mark.parametrize("when", ["after", "before"])
def test_stop_while_the_store_works(make: Make, when: str) -> None:
    """A stop that comes while a message is being stored leaves it there, once."""
    closed = threading.Event()

    async def test() -> None:
        store = _Slow()
        store.when = when
        server = make(_endless_widgets(closed), store)
        reading = Answer(server, "threads.create", input=said())
        await asyncio.wait_for(store.adding.wait(), 5)
        store.stopped = True
        await reading.stop()
        await settled(closed.is_set)
        items = await stored(server, thread_of(reading.events))
        assert [item.type for item in items] == [
            "user_message",
            "assistant_message",
            "sdk_hidden_context",
        ]
        assert items[1].content[0].text == "said"
        assert store.added.count("assistant_message") == (1 if when == "after" else 2)
        store.close()

    run(test())


def test_stop_reaches_the_function_through_the_bridge(make: Make) -> None:
    """The bridge cancels all that an answer started, and the function ends as well."""
    closed = threading.Event()
    store = _Slow()
    server = make(_endless_widgets(closed), store)
    body = json.dumps({"type": "threads.create", "params": {"input": said()}}).encode()
    answer = streams.Stream(loop.current(), Flask("site"), lambda: server.process(body, ALICE), 30)
    reader = answer.start()
    while not store.adding.is_set():
        time.sleep(0.005)
    store.stopped = True
    reader.close()
    while not answer.ended:
        time.sleep(0.005)
    assert isinstance(answer.error, asyncio.CancelledError)
    assert closed.wait(5)
    store.close()


def test_what_an_answer_runs_ends_with_its_task() -> None:
    """What is to be stopped is, when its task ends, though a generator is still suspended."""
    stopped: list[str] = []

    async def events() -> AsyncIterator[str]:
        with stopping(lambda: stopped.append("stopped")):
            yield "word "

    async def test() -> None:
        held = events()
        await asyncio.create_task(held.__anext__())
        await asyncio.sleep(0)
        assert stopped == ["stopped"]
        await held.aclose()

    run(test())


class _Stream:
    """What a model's own SDK returns: it can be iterated over, and closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[str]:
        while True:
            yield "word "

    def close(self) -> None:
        self.closed.set()


def test_stop_closes_what_was_returned(make: Make) -> None:
    """A stream that a function returned is closed when the answer is stopped."""
    stream = _Stream()

    async def test() -> None:
        reading = Answer(make(always(stream)), "threads.create", input=said())
        await reading.until(deltas)
        await reading.stop()
        await settled(stream.closed.is_set)

    run(test())


def test_cleaning_up_comes_before_the_teardown(make: Make) -> None:
    """An asynchronous function cleans up while the application's context is still there."""
    app = Flask("site")
    order: list[str] = []

    @app.teardown_appcontext
    def tear(error: BaseException | None) -> None:
        order.append("torn down")

    async def answer(message: Message, chat: Chat) -> AsyncIterator[str]:
        yield "word "
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.2)
            order.append("cleaned up")

    server = make(answer)

    async def test() -> None:
        async def serve() -> None:
            with app.app_context():
                await call(server, "threads.create", input=said())

        task = asyncio.create_task(serve())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])

    run(test())
    assert order == ["cleaned up", "torn down"]


def test_failing_after_the_stop_is_only_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that fails while it is stopped harms nobody."""
    closed = threading.Event()

    def answer(message: Message, chat: Chat) -> Iterator[str]:
        try:
            while True:
                yield "word "
        finally:
            closed.set()
            raise ValueError("too late")

    async def test() -> None:
        reading = Answer(make(answer), "threads.create", input=said())
        await reading.until(deltas)
        await reading.stop()
        await settled(lambda: closed.is_set() and not workers())

    with caplog.at_level(logging.WARNING, "flask_chatkit"):
        run(test())
    assert "A function failed after its answer was stopped" in caplog.text


# --- actions, feedback, dictation ---------------------------------------------------------------


def _shop(seen: list[Any]) -> Callbacks:
    def buy(payload: Any, chat: Chat) -> Iterator[Any]:
        seen.append((payload, chat.sender, [turn.text for turn in chat.history]))
        chat.replace({"type": "Card", "children": [{"type": "Text", "value": "Bought"}]})
        yield "Thank you"

    async def like(payload: Any, chat: Chat) -> Any:
        chat.title = "Liked"
        return {"type": "Card", "children": [{"type": "Text", "value": "Liked"}]}

    def wrong(payload: Any, chat: Chat) -> str:
        return "text"

    def quiet(payload: Any, chat: Chat) -> None:
        return None

    def replace(payload: Any, chat: Chat) -> Any:
        return chat.replace(CARD)

    actions = {"buy": buy, "like": like, "wrong": wrong, "quiet": quiet, "replace": replace}
    return Callbacks(actions=actions)


def test_actions_are_answered(make: Make) -> None:
    """The handler of a widget's action answers like an assistant, and may replace the widget."""
    seen: list[Any] = []
    server = make(always(CARD), callbacks=_shop(seen))

    async def test() -> None:
        events = await call(server, "threads.create", input=said("show"))
        place = {"thread_id": thread_of(events), "item_id": events[-1].item.id}
        action = {"type": "buy", "payload": {"sku": 1}}
        events = await call(server, "threads.custom_action", **place, action=action)
        assert kinds(events) == ["replaced widget", *MESSAGE]
        items = await stored(server, place["thread_id"])
        assert items[1].widget.children[0].value == "Bought"
        ((payload, sender, history),) = seen
        assert payload == {"sku": 1}
        assert sender.id == place["item_id"]
        assert history == ["show"]

    run(test())


def test_actions_that_are_not_streamed(make: Make) -> None:
    """A handler returns the widget as it is from now on, which is stored, or nothing."""
    server = make(always(CARD), callbacks=_shop([]))

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        thread = thread_of(events)
        place = {"thread_id": thread, "item_id": events[-1].item.id}

        async def act(kind: str, **where: Any) -> Any:
            given = {**place, **where, "action": {"type": kind}}
            return await call(server, "threads.sync_custom_action", **given)

        told = await act("like")
        assert told["updated_item"]["widget"]["children"][0]["value"] == "Liked"
        assert (await stored(server, thread))[1].widget.children[0].value == "Liked"
        assert (await server.store.load_thread(thread, ALICE)).title == "Liked"
        assert await act("quiet") == {}
        told = await act("replace")
        assert told["updated_item"]["widget"]["children"][0]["value"] == "Fox"
        with pytest.raises(TypeError, match="a widget or nothing, and not str"):
            await act("wrong")
        with pytest.raises(TypeError, match="no widget was acted on"):
            await act("like", item_id=None)
        with pytest.raises(LookupError, match="'sell'; there are: buy, like"):
            await act("sell")

    run(test())


def test_unknown_actions_are_told_in_the_log(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """An action that nobody handles is an error, of which the visitor learns nothing more."""
    server = make(always(None))

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said()))
        action = {"type": "sell\nx"}
        events = await call(server, "threads.custom_action", thread_id=thread, action=action)
        assert kinds(events) == ["error"]
        assert events[-1].message is None

    run(test())
    assert "no handler is declared for the action 'sell\\nx'; there are: none" in caplog.text


@pytest.mark.parametrize("is_async", [False, True])
def test_feedback_is_the_visitors_own(make: Make, is_async: bool) -> None:
    """Feedback reaches the site with the items, and nobody's on what is somebody else's."""
    seen = []

    def feedback(kind: str, items: list[Any], chat: Chat) -> None:
        seen.append((kind, [item.type for item in items], chat.thread.id))
        with pytest.raises(RuntimeError, match="no answer here"):
            chat.progress("x")

    async def feedback_async(kind: str, items: list[Any], chat: Chat) -> None:
        feedback(kind, items, chat)

    server = make(_plain)

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        thread, item = thread_of(events), events[-1].item.id
        given = {"thread_id": thread, "item_ids": [item, item], "kind": "negative"}
        for declared in (feedback_async if is_async else feedback, None):
            server.callbacks.feedback = declared
            assert await call(server, "items.feedback", **given) == {}
            with pytest.raises(NotFoundError):
                await call(server, "items.feedback", BOB, **given)
            with pytest.raises(NotFoundError):
                await call(server, "items.feedback", **{**given, "item_ids": [item, "msg_x"]})
        assert seen == [("negative", ["assistant_message"], thread)]

    run(test())


@pytest.mark.parametrize("is_async", [False, True])
def test_dictation_is_turned_into_text(make: Make, is_async: bool) -> None:
    """Speech goes to the site's function, in a thread if that blocks."""

    def transcribe(audio: Any, chat: Chat) -> str:
        assert chat.thread is None
        assert chat.title is None
        with pytest.raises(RuntimeError, match="no thread yet"):
            chat.title = "x"
        main = threading.current_thread() is threading.main_thread()
        assert main == is_async
        return f"{audio.media_type} {audio.data.decode()}"

    async def transcribe_async(audio: Any, chat: Chat) -> str:
        return transcribe(audio, chat)

    server = make(_plain)
    sound = {
        "audio_base64": base64.b64encode(b"hum").decode(),
        "mime_type": "audio/webm;codecs=opus",
    }

    async def test() -> None:
        with pytest.raises(BadRequest, match="no dictation"):
            await call(server, "input.transcribe", **sound)
        server.callbacks.transcribe = transcribe_async if is_async else transcribe
        assert await call(server, "input.transcribe", **sound) == {"text": "audio/webm hum"}
        server.callbacks.transcribe = always(None)
        with pytest.raises(TypeError, match="a transcription must be a str"):
            await call(server, "input.transcribe", **sound)

    run(test())


# --- titles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("  Where \n is\tmy   order?", "Where is my order?"),
        ("one two three four five six seven", "one two three four five six…"),
        ("donaudampfschifffahrt " * 4, "donaudampfschifffahrt donaudampfschifffahrt…"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_first_words_make_a_title(make: Make, text: str, title: str) -> None:
    """A thread is named after its first message, at the end of the first answer."""
    server = make(_plain, titles=True)

    async def test() -> None:
        events = await call(server, "threads.create", input=said(text))
        assert events[-1].type == "thread.updated"
        assert events[-1].thread.title == title
        thread = thread_of(events)
        events = await call(
            server, "threads.add_user_message", thread_id=thread, input=said("And then?")
        )
        assert "thread.updated" not in kinds(events)
        assert (await server.store.load_thread(thread, ALICE)).title == title

    run(test())


def test_sites_own_title_stays(make: Make) -> None:
    """A title that the function sets is shown and kept."""

    def answer(message: Message, chat: Chat) -> str:
        chat.title = "Mine"
        assert chat.title == "Mine"
        return "Hi"

    events = ask(make(answer, titles=True))
    assert [event.thread.title for event in events if event.type == "thread.updated"] == ["Mine"]


def test_titles_can_be_left_out(make: Make) -> None:
    """Without titles a thread has none."""
    assert "thread.updated" not in kinds(ask(make(_plain)))


def test_a_failed_answer_has_a_title_too(make: Make) -> None:
    """A thread whose first answer failed is found again by its name."""

    def answer(message: Message, chat: Chat) -> str:
        raise chat.error("No.")

    events = ask(make(answer, titles=True), "Is it open?")
    assert kinds(events) == ["error", "thread.updated"]
    assert events[-1].thread.title == "Is it open?"


def test_a_file_alone_gives_its_name(make: Make) -> None:
    """A message of a file only is named after the file."""
    server = make(always("Nice"), titles=True, read_attachment=_read_bytes)

    async def test() -> None:
        file = await upload(server, "fox.png", "image/png")
        events = await call(server, "threads.create", input=said("", attachments=[file.id]))
        assert events[-1].thread.title == "fox.png"

    run(test())


def test_a_ready_widget_is_not_copied() -> None:
    """A widget that is built already is taken as it is."""
    widget = DynamicWidgetRoot.model_validate({"type": "Card", "new": 1, "children": []})
    assert as_widget(widget) is widget
