"""Another try and an edited message: what they replace is there until the new answer has begun."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageItem,
    HiddenContextItem,
    InferenceOptions,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    UserMessageItem,
    Workflow,
    WorkflowItem,
)

from flask_chatkit import ChatKit
from flask_chatkit.server.history.branches import Branch, find_branch, teach_branches
from flask_chatkit.server.protocol.operations import REPLACES
from flask_chatkit.server.streaming import stream as streams
from tests.helpers.served import (
    STORY,
    Client,
    Shop,
    events,
    kinds,
    now,
    refused,
    said,
    until,
    visit,
)
from tests.helpers.sites import MakeApp, told
from tests.helpers.stores import TidyStore


class Tidy(TidyStore):
    """A store of a site's own that keeps owners apart, in tests with one visitor."""

    isolates_owners = True


class Moody(Shop):
    """Echoes in a good mood; in another one it fails, at once or after a while."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.mood = "good"
        #: The texts that it saw before each answer.
        self.histories: list[list[str]] = []
        self.waits = threading.Event()

    async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
        """Answer by the mood."""
        page = await self.store.load_thread_items(thread.id, None, 100, "asc", context)
        texts = [one.content[0].text for one in page.data if hasattr(one, "content")]
        self.histories.append([str(text) for text in texts])
        mood, self.mood = self.mood, "good"
        place = {"thread_id": thread.id, "created_at": now()}
        if mood == "fails":
            raise RuntimeError(STORY)
        if mood == "thinks":
            thought = Workflow(type="reasoning", tasks=[])
            yield ThreadItemDoneEvent(item=WorkflowItem(id="wf", workflow=thought, **place))
            note = HiddenContextItem(id="note", content="thought", **place)
            yield ThreadItemDoneEvent(item=note)
            raise RuntimeError(STORY)
        if mood == "waits":
            self.waits.set()
            await self._gate.wait()
        if mood == "touches":
            first = page.data[0]
            yield ThreadItemReplacedEvent(item=first.model_copy(deep=True))
            raise RuntimeError(STORY)
        key = self.store.generate_item_id("message", thread, context)
        if mood in {"half", "slow"}:
            async for event in self._partly(mood, key, place):
                yield event
        text = f"{mood} answer to {item.content[0].text}"
        content = [AssistantMessageContent(text=text)]
        yield ThreadItemDoneEvent(item=AssistantMessageItem(id=key, content=content, **place))

    async def _partly(self, mood: str, key: str, place: Any) -> AsyncIterator[Any]:
        yield ThreadItemAddedEvent(item=AssistantMessageItem(id=key, content=[], **place))
        half = AssistantMessageContent(text="half of")
        added = AssistantMessageContentPartAdded(content_index=0, content=half)
        yield ThreadItemUpdatedEvent(item_id=key, update=added)
        if mood == "half":
            raise RuntimeError(STORY)
        self.waits.set()
        await self._gate.wait()


@pytest.fixture(params=["database", "leaky", "isolating"])
def place(request: Any, make_app: MakeApp, browse: Any, tmp_path: Any) -> Any:
    """A visitor of a chat whose server has a mood; its history is the kit's, or the site's own."""
    made: list[Moody] = []

    def server(store: Any) -> Moody:
        own = {"database": lambda: store, "leaky": TidyStore, "isolating": Tidy}
        made.append(Moody(own[request.param]()))
        return made[0]

    kit = ChatKit()
    kit.add_server("default", server)
    app = make_app(
        kit,
        CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/x.sqlite3",
        CHATKIT_MESSAGE_RATELIMIT="",
        CHATKIT_RATELIMIT="",
        CHATKIT_RATELIMIT_IP="",
        CHATKIT_LEAVE_SECONDS=0,  # so that leaving is stopping
    )
    ann = visit(browse(app))
    ann.threads()
    return SimpleNamespace(ann=ann, server=made[0], app=app, browse=browse)


def edited(thread: str, old: Any, text: str) -> dict[str, Any]:
    """The call with an edited message, as the built-in chat makes it."""
    return {
        "type": "threads.add_user_message",
        "params": {"thread_id": thread, "input": said(text)},
        "metadata": {REPLACES: old},
    }


def edit(client: Client, thread: str, old: Any, text: str) -> Any:
    """Send an edited message."""
    return client.send(edited(thread, old, text))


def talk(ann: Client) -> tuple[str, list[Any]]:
    """A conversation of three turns: its id and items."""
    thread = ann.create("one")
    ann.add(thread, "two")
    ann.add(thread, "three")
    return thread, ann.items(thread)


def texts(items: list[Any]) -> list[str]:
    """What was said, by both."""
    return [item["content"][0]["text"] for item in items]


MOODS = ["fails", "half", "thinks"]


@pytest.mark.parametrize("mood", MOODS)
def test_retry_that_fails_loses_nothing(place: Any, mood: str) -> None:
    """The thread is as it was before, and clients are sent what they may have removed."""
    ann, server = place.ann, place.server
    thread, before = talk(ann)
    server.mood = mood
    stream = ann.stream("threads.retry_after_item", thread_id=thread, item_id=before[2]["id"])
    assert server.histories[-1] == ["one", "good answer to one", "two"]
    assert ann.items(thread) == before
    assert kinds(stream)[-1] == "error"
    shown = {item["id"]: item for item in before}
    for event in stream:
        if event["type"] in {"thread.item.added", "thread.item.done"}:
            shown[event["item"]["id"]] = event["item"]
        if event["type"] == "thread.item.removed":
            shown.pop(event["item_id"], None)
    assert list(shown.values()) == before
    stream = ann.stream("threads.retry_after_item", thread_id=thread, item_id=before[2]["id"])
    assert texts(ann.items(thread)) == ["one", "good answer to one", "two", "good answer to two"]


def test_retry_replaces_when_it_begins(place: Any) -> None:
    """What was said is still there while the model thinks; it goes with the first new item."""
    ann, server = place.ann, place.server
    thread, before = talk(ann)
    server.mood = "waits"
    done: list[Any] = []
    params = {"thread_id": thread, "item_id": before[0]["id"]}
    retry = threading.Thread(
        target=lambda: done.extend(ann.stream("threads.retry_after_item", **params))
    )
    retry.start()
    assert server.waits.wait(5)
    other = Client(place.browse(place.app), token=ann.token)
    other.browser.cookies.update(ann.browser.cookies)
    assert other.items(thread) == before
    server.open_gate()
    retry.join()
    assert server.histories[-1] == ["one"]
    removed = [event.get("item_id") for event in done if event["type"] == "thread.item.removed"]
    assert removed == [item["id"] for item in before[1:]]
    assert kinds(done)[-1] == "thread.item.done:assistant_message"
    assert texts(ann.items(thread)) == ["one", "waits answer to one"]


@pytest.mark.parametrize("mood", ["waits", "slow"])
@pytest.mark.parametrize("way", ["retry", "edit"])
def test_stop_keeps_one_of_both(
    place: Any, mood: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop before the new answer keeps the old one; Stop within it keeps what was said so far."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    ann, server = place.ann, place.server
    thread, before = talk(ann)
    server.mood = mood
    metadata = {REPLACES: before[4]["id"]}
    kind, params = "threads.retry_after_item", {"item_id": before[4]["id"]}
    if way == "edit":
        kind, params = "threads.add_user_message", {"input": said("four")}
    body = {"type": kind, "params": {"thread_id": thread, **params}, "metadata": metadata}
    answer = ann.send(body, stream=True)
    assert server.waits.wait(5)
    answer.close()
    question = "three" if way == "retry" else "four"
    if mood == "waits":
        until(lambda: not _is_running(place.app))
        assert ann.items(thread) == before
    else:
        until(lambda: texts(ann.items(thread))[4:] == [question, "half of"])


def _is_running(app: Any) -> bool:
    chat = app.extensions["chatkit"]["chatkit"].service
    (dispatcher,) = chat._dispatchers.values()
    return any(not one.ended for some in dispatcher._streams.by_owner.values() for one in some)


def test_edited_message_replaces(place: Any) -> None:
    """An edited message takes the place of the old one and of all after it; same words count."""
    ann, server = place.ann, place.server
    thread, before = talk(ann)
    stream = events(edit(ann, thread, before[4]["id"], "four"))
    assert server.histories[-1] == [*texts(before[:4]), "four"]
    assert kinds(stream) == [
        "thread.item.done:user_message",
        "stream_options",
        *["thread.item.removed"] * 2,
        "thread.item.done:assistant_message",
    ]
    items = ann.items(thread)
    assert items[:4] == before[:4]
    assert texts(items[4:]) == ["four", "good answer to four"]
    # Said once more, and at once: it is no duplicate, as it replaces the former one.
    events(edit(ann, thread, items[4]["id"], "four"))
    again = ann.items(thread)
    assert texts(again) == texts(items)
    assert again[4]["id"] != items[4]["id"]


@pytest.mark.parametrize("mood", MOODS)
def test_edit_that_fails_loses_nothing(place: Any, mood: str) -> None:
    """The message that was not answered is gone, and the old one is there with its answer."""
    ann, server = place.ann, place.server
    thread, before = talk(ann)
    server.mood = mood
    stream = events(edit(ann, thread, before[2]["id"], "other"))
    assert ann.items(thread) == before
    assert kinds(stream)[-1] == "error"
    shown = [event["item"] for event in stream if event["type"] == "thread.item.done"]
    assert shown[-4:] == before[2:]
    # The same at once is no repetition of what has left nothing.
    stream = events(edit(ann, thread, before[2]["id"], "other"))
    assert kinds(stream)[-1] == "thread.item.done:assistant_message"
    assert texts(ann.items(thread))[2:] == ["other", "good answer to other"]


def test_edit_is_of_ones_own_message(place: Any) -> None:
    """404 for what is not the visitor's message in this thread, 400 for what is no id."""
    ann = place.ann
    thread, before = talk(ann)
    bob = visit(place.browse(place.app))
    theirs = bob.create("mine")
    item = before[4]["id"]
    for client, where, which in (
        (ann, thread, before[5]["id"]),
        (ann, thread, "msg_0"),
        (ann, theirs, item),
    ):
        told(edit(client, where, which, "four"), 404, "not_found")
    for wrong in (None, 7, "", "x" * 256, [item]):
        answer = told(edit(ann, thread, wrong, "four"), 400, "bad_request")
        assert f"metadata.{REPLACES}" in answer["message"]
    assert ann.items(thread) == before


def test_interrupted_edit_comes_again(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks within the answer: the same call again ends with one message."""
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    ann, server = place.ann, place.server
    thread, before = talk(ann)
    server.mood = "slow"
    body = edited(thread, before[4]["id"], "four")
    answer = ann.send(body, stream=True)
    assert server.waits.wait(5)
    answer.close()
    until(lambda: texts(ann.items(thread))[4:] == ["four", "half of"])
    half = ann.items(thread)[-1]["id"]
    until(lambda: not _is_running(place.app))
    stream = events(ann.send(body))
    # Who still shows the half of an answer is told to remove it.
    assert [event["item_id"] for event in stream if event["type"].endswith("removed")] == [half]
    items = ann.items(thread)
    assert items[:4] == before[:4]
    assert texts(items[4:]) == ["four", "good answer to four"]


def test_process_that_was_killed_loses_nothing(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process leaves of an edit, both messages, is put in order by the next try."""

    async def nothing(_branch: Branch) -> None:
        """What a process does that was killed."""

    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    ann, server = place.ann, place.server
    thread, before = talk(ann)
    server.mood = "waits"
    body = edited(thread, before[4]["id"], "four")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Branch, "keep", nothing)
        answer = ann.send(body, stream=True)
        assert server.waits.wait(5)
        answer.close()
        until(lambda: not _is_running(place.app))
    assert texts(ann.items(thread)) == [*texts(before), "four"]
    events(ann.send(body))
    assert server.histories[-1] == [*texts(before[:4]), "four"]
    items = ann.items(thread)
    assert items[:4] == before[:4]
    assert texts(items[4:]) == ["four", "good answer to four"]


def test_touching_an_earlier_item_begins_nothing(place: Any) -> None:
    """An answer that changes an item above and then fails has not begun."""
    ann, server = place.ann, place.server
    thread, before = talk(ann)
    server.mood = "touches"
    ann.stream("threads.retry_after_item", thread_id=thread, item_id=before[2]["id"])
    assert ann.items(thread) == before


@pytest.fixture
def limited(make_app: MakeApp, browse: Any, tmp_path: Any) -> Callable[..., Client]:
    """Make a site with a limit of messages, and a visitor."""

    def make(limit: str) -> Client:
        kit = ChatKit()
        kit.assistant()(lambda message, _chat: message.text)
        app = make_app(
            kit,
            CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/x.sqlite3",
            CHATKIT_MESSAGE_RATELIMIT=limit,
        )
        return visit(browse(app))

    return make


def test_edits_are_limited_and_limits_say_how_long(limited: Callable[..., Client]) -> None:
    """An edit counts as a message; the refusal has the seconds beside the words."""
    ann = limited("2/minute")
    thread = ann.create("one")
    item = ann.items(thread)[0]["id"]
    events(edit(ann, thread, item, "two"))
    item = ann.items(thread)[0]["id"]
    answer = edit(ann, thread, item, "three")
    assert "wait" in refused(answer)
    (event,) = events(answer)
    assert 1 <= event["retry_after"] <= 60
    assert texts(ann.items(thread)) == ["two", "two"]


def test_long_branches_are_hidden_in_pages() -> None:
    """Pages of any size have what is not replaced, in both orders, and end where it ends."""

    async def run() -> None:
        store = Tidy()
        teach_branches(store)
        place = {"thread_id": "t", "created_at": now()}

        async def add(number: int) -> None:
            content = [AssistantMessageContent(text=str(number))]
            item = AssistantMessageItem(id=f"i{number:03}", content=content, **place)
            await store.add_thread_item("t", item, None)

        for number in range(5):
            await add(number)
        mine = UserMessageItem(
            id="mine", content=[], attachments=[], inference_options=InferenceOptions(), **place
        )
        await store.add_thread_item("t", mine, None)
        for number in range(10, 250):
            await add(number)
        branch = await find_branch(store, None, "t", "mine", None)
        assert branch is not None
        wanted = ["i000", "i001", "i002", "i003", "i004", "mine"]
        async with branch:
            for order, ids in (("asc", wanted), ("desc", wanted[::-1])):
                for size in (1, 2, 6, 7, 100):
                    assert await _all(store, size, order) == ids, (order, size)
            await add(500)
            assert await _all(store, 3, "asc") == [*wanted, "i500"]
        assert list(await _all(store, 50, "asc")) == [*wanted, "i500"]

    asyncio.run(run())


async def _all(store: Any, size: int, order: str) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = await store.load_thread_items("t", after, size, order, None)
        assert len(page.data) <= size
        found += [item.id for item in page.data]
        after = page.after
        if not page.has_more:
            return found
