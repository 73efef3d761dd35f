"""Owners around a site's own store; that it isolates them, the conformance kit has shown."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
from chatkit.server import ChatKitServer, NonStreamingResult
from chatkit.store import NotFoundError
from chatkit.types import LockedStatus, Page, ThreadItemDoneEvent

from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server.context import ChatContext, owner_of
from flask_chatkit.server.history import isolation as owned_module
from flask_chatkit.server.history.isolation import OWNER, OwnedStore, isolate
from flask_chatkit.server.history.store import SQLAlchemyStore
from flask_chatkit.testing.stores import ids, new_attachment, new_message, new_thread
from tests.helpers.stores import LeakyStore, TidyStore


@pytest.fixture
def site() -> TidyStore:
    """Make a site's own store, which isolates nobody."""
    return TidyStore()


@pytest.fixture
def store(site: TidyStore) -> OwnedStore:
    """Put owners around it."""
    return OwnedStore(site)


@pytest.fixture
def alice() -> ChatContext:
    """Make up a visitor."""
    return ChatContext(visitor=Visitor.login("alice"))


@pytest.fixture
def bob() -> ChatContext:
    """Make up another visitor."""
    return ChatContext(visitor=Visitor.login("bob"))


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_the_owner_is_kept_out_of_sight(
    store: OwnedStore, site: TidyStore, alice: ChatContext
) -> None:
    """The owner is in what the site stores, and not in what its code gets."""
    thread, attachment = new_thread(metadata={"topic": "fox"}), new_attachment()
    run(store.save_thread(thread, alice))
    run(store.save_attachment(attachment, alice))
    assert site.threads[thread.id].metadata == {"topic": "fox", OWNER: owner_of(alice)}
    assert site.attachments[attachment.id].metadata == {OWNER: owner_of(alice)}
    assert thread.metadata == {"topic": "fox"}
    assert run(store.load_thread(thread.id, alice)) == thread
    assert run(store.load_threads(20, None, "asc", alice)).data == [thread]
    assert run(store.load_attachment(attachment.id, alice)) == attachment


def test_the_owner_survives_new_metadata(
    store: OwnedStore, site: TidyStore, alice: ChatContext, bob: ChatContext
) -> None:
    """Code that replaces a thread's metadata neither loses the owner nor changes it."""
    thread = new_thread()
    run(store.save_thread(thread, alice))
    for changed in ({"other": 1}, {}, {OWNER: owner_of(bob)}):
        loaded = run(store.load_thread(thread.id, alice))
        loaded.metadata = changed
        loaded.status = LockedStatus()
        run(store.save_thread(loaded, alice))
        assert site.threads[thread.id].metadata[OWNER] == owner_of(alice)
    with pytest.raises(NotFoundError):
        run(OwnedStore(site).load_thread(thread.id, bob))


def test_what_has_no_owner_is_nobodys(
    store: OwnedStore, site: TidyStore, alice: ChatContext
) -> None:
    """A thread from before is seen by nobody, and can't be taken."""
    old = new_thread()
    site.threads[old.id] = old
    for asked in (
        store.load_thread(old.id, alice),
        store.save_thread(old, alice),
        store.delete_thread(old.id, alice),
        store.add_thread_item(old.id, new_message(old), alice),
    ):
        with pytest.raises(NotFoundError):
            run(asked)
    assert run(store.load_threads(20, None, "desc", alice)) == Page()


def test_an_attachment_is_claimed_when_it_is_made(
    store: OwnedStore, site: TidyStore, alice: ChatContext, bob: ChatContext
) -> None:
    """An attachment store that has saved it directly, as OpenAI's guide does, is no obstacle."""
    attachment = new_attachment()
    run(site.save_attachment(attachment, alice))
    with pytest.raises(NotFoundError):
        run(store.load_attachment(attachment.id, bob))
    run(store.save_attachment(attachment, alice))
    assert run(store.load_attachment(attachment.id, alice)) == attachment
    with pytest.raises(NotFoundError):
        run(store.save_attachment(attachment, bob))


def test_few_among_many_are_found(
    store: OwnedStore, site: TidyStore, alice: ChatContext, bob: ChatContext
) -> None:
    """Own threads are found however many of others' lie between them."""
    mine = []
    for number in range(350):
        thread = new_thread()
        if number % 100 == 3:
            mine.append(thread.id)
        run(store.save_thread(thread, alice if number % 100 == 3 else bob))
    page = run(store.load_threads(3, None, "asc", alice))
    assert (ids(page), page.has_more, page.after) == (mine[:3], True, mine[2])
    page = run(store.load_threads(3, page.after, "asc", alice))
    assert (ids(page), page.has_more, page.after) == (mine[3:], False, None)


def test_a_store_that_turns_in_circles_ends(alice: ChatContext) -> None:
    """A store that forgets `after` and always has more does not keep a request for ever."""

    class Circling(TidyStore):
        async def load_threads(self, limit: int, after: Any, order: str, context: Any) -> Any:
            page = await super().load_threads(1, None, order, context)
            return page.model_copy(update={"has_more": True, "after": page.data[-1].id})

    store = OwnedStore(Circling())
    thread = new_thread()
    run(store.save_thread(thread, alice))
    run(store.save_thread(new_thread(), alice))
    page = run(store.load_threads(20, None, "asc", alice))
    assert (ids(page), page.has_more) == ([thread.id], False)


def test_a_store_by_item_id_is_safe(alice: ChatContext, bob: ChatContext) -> None:
    """A store that finds items by their ids alone shows and deletes nobody else's."""

    class ByItem(TidyStore):
        async def load_item(self, thread_id: str, item_id: str, context: Any) -> Any:
            return self._get({one.id: one for of in self.items.values() for one in of}, item_id)

        async def delete_thread_item(self, thread_id: str, item_id: str, context: Any) -> None:
            for of in self.items.values():
                of[:] = [one for one in of if one.id != item_id]

    site = ByItem()
    store = OwnedStore(site)
    theirs, mine = new_thread(), new_thread()
    run(store.save_thread(theirs, alice))
    run(store.save_thread(mine, bob))
    message = new_message(theirs)
    run(store.add_thread_item(theirs.id, message, alice))
    with pytest.raises(NotFoundError):
        run(store.load_item(mine.id, message.id, bob))
    run(store.delete_thread_item(mine.id, message.id, bob))
    assert run(store.load_item(theirs.id, message.id, alice)) == message


def test_owners_are_remembered(
    site: TidyStore, alice: ChatContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adding items does not load the thread each time, and no more is remembered than fits."""
    monkeypatch.setattr(owned_module, "REMEMBERED", 2)
    loaded = []

    class Counting(TidyStore):
        async def load_thread(self, thread_id: str, context: Any) -> Any:
            loaded.append(thread_id)
            return await super().load_thread(thread_id, context)

    store = OwnedStore(Counting())
    saved = [new_thread() for _ in range(3)]
    for thread in saved:
        run(store.save_thread(thread, alice))
    loaded.clear()
    for _ in range(3):
        run(store.add_thread_item(saved[2].id, new_message(saved[2]), alice))
    assert loaded == []
    run(store.add_thread_item(saved[0].id, new_message(saved[0]), alice))
    assert loaded == [saved[0].id]
    assert len(store._owners) == 2


def test_a_deleted_thread_is_forgotten(
    store: OwnedStore, alice: ChatContext, bob: ChatContext
) -> None:
    """An id that is free again is anybody's."""
    thread = new_thread()
    run(store.save_thread(thread, alice))
    run(store.delete_thread(thread.id, alice))
    run(store.save_thread(thread, bob))
    assert run(store.load_thread(thread.id, bob)) == thread


def test_ids_of_the_site_are_kept(alice: ChatContext) -> None:
    """A store's own ids are used, by its class or set on it; the package's short ones are not."""

    class Named(LeakyStore):
        def generate_thread_id(self, context: Any) -> str:
            return "thr_mine"

    site = Named()
    site.generate_item_id = lambda kind, *_: f"{kind}_mine"
    store = OwnedStore(site)
    assert store.generate_thread_id(alice) == "thr_mine"
    assert store.generate_item_id("message", new_thread(), alice) == "message_mine"
    plain = OwnedStore(LeakyStore())
    assert len(plain.generate_thread_id(alice)) == len("thr_") + 32
    assert len(plain.generate_item_id("task", new_thread(), alice)) == len("tsk_") + 32


def test_the_rest_of_the_store_is_reached(
    store: OwnedStore, site: TidyStore, alice: ChatContext
) -> None:
    """Methods and attributes that only the site's store has are its own."""
    run(store.save_thread(new_thread(), alice))
    assert store.how_many() == 1
    assert store.threads is site.threads
    assert not hasattr(store, "nonsense")
    assert copy.copy(store.threads) == site.threads


def test_a_store_that_isolates_is_left_alone(store: OwnedStore) -> None:
    """A store that says so itself gets nothing around it."""
    ours = SQLAlchemyStore("sqlite://")
    assert isolate(ours) is ours
    assert isolate(store) is store
    site = LeakyStore()
    assert isinstance(isolate(site), OwnedStore)
    ours.close()


def test_the_owner_never_reaches_the_browser(
    store: OwnedStore, site: TidyStore, alice: ChatContext
) -> None:
    """No answer of the package has the owner in it, nor any metadata of a thread."""

    class Server(ChatKitServer[ChatContext]):
        async def respond(self, thread: Any, item: Any, context: Any) -> Any:
            thread.title = "Renamed"
            yield ThreadItemDoneEvent(item=new_message(thread))

    async def answers(server: Server) -> list[bytes]:
        told: list[bytes] = []

        async def ask(kind: str, **params: Any) -> None:
            body = json.dumps({"type": kind, "params": params})
            result = await server.process(body, alice)
            if isinstance(result, NonStreamingResult):
                told.append(result.json)
            else:
                told.extend([chunk async for chunk in result])

        said = {
            "content": [{"type": "input_text", "text": "hi"}],
            "attachments": [attachment.id],
            "inference_options": {},
        }
        await ask("threads.create", input=said)
        (thread_id,) = site.threads
        await ask("threads.add_user_message", thread_id=thread_id, input=said)
        await ask("threads.get_by_id", thread_id=thread_id)
        await ask("threads.list")
        await ask("items.list", thread_id=thread_id)
        await ask("threads.update", thread_id=thread_id, title="x")
        return told

    attachment = new_attachment(metadata={"path": "secret/path"})
    run(store.save_attachment(attachment, alice))
    told = b"".join(run(answers(Server(store))))
    assert attachment.id.encode() in told
    assert b"Renamed" in told
    assert OWNER in str(site.threads)
    for hidden in (OWNER.encode(), owner_of(alice).encode(), b"secret/path"):
        assert hidden not in told
