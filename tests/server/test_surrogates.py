"""Half surrogates, from wherever they come: U+FFFD everywhere, and halves in two deltas joined."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from agents import function_tool
from chatkit.server import ChatKitServer
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ProgressUpdateEvent,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
)
from chatkit.widgets import Card, Text

from flask_chatkit import ChatKit
from flask_chatkit.chats.callbacks import Callbacks
from flask_chatkit.server import SQLAlchemyStore
from flask_chatkit.server.assistants.function import AssistantServer
from flask_chatkit.server.history.isolation import OwnedStore
from flask_chatkit.server.surrogates import clean, whole, whole_json
from tests.helpers.driving import ALICE, call, deltas, items_of, kinds, said, stored, thread_of
from tests.helpers.model_api import ModelApi, Say, Use
from tests.helpers.served import visit
from tests.helpers.sites import MakeApp
from tests.server.agents.test_server import Context, Site, api, dialect, quiet, site

__all__ = ["api", "dialect", "quiet", "site"]

HALF = "\ud83d"


@pytest.mark.parametrize(
    ("given", "mended"),
    [
        ("plain", "plain"),
        ("\U0001f600", "\U0001f600"),
        ("\ud83d\ude00", "\U0001f600"),
        ("a\ud83db", "a\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d", "\ufffd"),
    ],
)
def test_strings_become_whole(given: str, mended: str) -> None:
    """Halves that follow each other are a character, and all others are U+FFFD, in JSON too."""
    assert whole(given) == mended
    assert json.loads(whole_json(json.dumps([given]).encode())) == [mended]
    assert clean({"a": [given], given: 1}) == {"a": [mended], mended: 1}


def test_json_keeps_what_is_no_escape() -> None:
    """A backslash before a u may be text."""
    body = rb'["\\ud83d", "\n\ud83d\\", "\\\ud83d"]'
    assert json.loads(whole_json(body)) == ["\\ud83d", "\n\ufffd\\", "\\\ufffd"]


def test_models_deltas_are_joined(site: Site, api: ModelApi, dialect: str) -> None:
    """A character in two deltas is shown and kept whole, and half of one is replaced."""
    api.replies = [Say(["a\ud83d", "\ude00b", HALF]), Say(["Again"])]
    api.title = Say([f"Title {HALF}"])
    server = site.server(site.agent(dialect), titles=True)

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        thread = thread_of(events)
        assert deltas(events) == "a\U0001f600b\ufffd"
        assert items_of(events, "assistant_message")[0].content[0].text == deltas(events)
        assert (await server.store.load_thread(thread, ALICE)).title == "Title \ufffd"
        await call(server, "threads.add_user_message", thread_id=thread, input=said())

    site.run(test())


def test_tools_may_return_halves(site: Site, api: ModelApi, dialect: str) -> None:
    """What a tool returns, streams and sets reaches the model and the page as whole characters."""

    @function_tool
    async def show(context: Context) -> str:
        """Show something."""
        await context.context.stream(ProgressUpdateEvent(text=HALF))
        await context.context.stream_widget(Card(children=[Text(value=HALF)]))
        context.context.thread.title = HALF
        return HALF

    api.replies = [Use([("show", {})]), Say(["There."])]
    server = site.server(site.agent(dialect, tools=[show]))

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        assert deltas(events) == "There."
        assert "error" not in kinds(events)
        assert (await server.store.load_thread(thread_of(events), ALICE)).title == "\ufffd"

    site.run(test())
    assert "\ufffd" in str(api.asked[1])


@pytest.mark.parametrize("is_own", [False, True])
def test_functions_may_yield_halves(site: Site, is_own: bool) -> None:
    """Whatever a function puts out is whole, in our store and in a site's own."""

    def answer(message: Any, chat: Any) -> Any:
        chat.progress(HALF)
        chat.notice("info", HALF)
        chat.title = HALF
        yield "a\ud83d"
        yield "\ude00"
        yield Card(children=[Text(value=HALF)])
        yield HALF
        chat.client_tool("tool", {"x": HALF, HALF: [HALF]})

    store = SQLAlchemyStore("sqlite://")
    server = AssistantServer(answer, OwnedStore(store) if is_own else store, callbacks=Callbacks())

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        assert "error" not in kinds(events)
        assert deltas(events) == "a\U0001f600\ufffd"
        items = await stored(server, thread_of(events))
        assert items[-1].arguments == {"x": "\ufffd", "\ufffd": ["\ufffd"]}

    site.run(test())
    store.close()


class Halves(ChatKitServer[Any]):
    """A server of a site's own, which streams a character in two halves, and one that is none."""

    async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
        made = AssistantMessageItem(
            id=self.store.generate_item_id("message", thread, context),
            thread_id=thread.id,
            created_at=datetime.now(timezone.utc),
            content=[],
        )
        yield ThreadItemAddedEvent(item=made)
        part = AssistantMessageContent(text="")
        yield ThreadItemUpdatedEvent(
            item_id=made.id, update=AssistantMessageContentPartAdded(content_index=0, content=part)
        )
        for delta in ("a\ud83d", "\ude00b", "\ud83d"):
            update = AssistantMessageContentPartTextDelta(content_index=0, delta=delta)
            yield ThreadItemUpdatedEvent(item_id=made.id, update=update)
        whole = AssistantMessageContent(text="a\ud83d\ude00b\ud83d")
        yield ThreadItemDoneEvent(item=made.model_copy(update={"content": [whole]}))


def test_halves_of_a_server_of_the_sites_own(
    browse: Any, make_app: MakeApp, tmp_path: Path
) -> None:
    """A ChatKitServer of a site's own may stream halves of characters, too."""
    kit = ChatKit()
    kit.add_server("default", Halves)
    app = make_app(
        kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/x.sqlite3"
    )
    client = visit(browse(app))
    thread = client.create("hello")
    listed = client.post("items.list", thread_id=thread).json()["data"]
    said_by_it = [item["content"][0]["text"] for item in listed if "assistant" in item["type"]]
    assert said_by_it == ["a😀b\ufffd"]
