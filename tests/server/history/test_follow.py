"""Signing in while an answer is written: the answer is kept, and is the login's."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from chatkit.store import NotFoundError
from flask import Flask, request

from flask_chatkit import ChatKit
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server import SQLAlchemyStore
from flask_chatkit.server.context import ChatContext
from flask_chatkit.testing.stores import new_message, new_thread
from tests.helpers.served import Client, Shop, events, kinds, said, until, visit
from tests.helpers.sites import MakeApp
from tests.helpers.stores import TidyStore

Site = tuple[Flask, list[Shop]]


@pytest.fixture(params=["the kit's store", "the site's store"])
def site(request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Path) -> Site:
    """Make a site where a header signs in."""
    shops: list[Shop] = []

    def ours(store: Any) -> Shop:
        shops.append(Shop(store))
        return shops[0]

    def own() -> Shop:
        shops.append(Shop(TidyStore()))
        return shops[0]

    kit = ChatKit()
    kit.user_loader(login)
    kit.add_server("default", ours if request.param == "the kit's store" else own)
    app = make_app(
        kit,
        CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/chat.db",
        CHATKIT_MESSAGE_RATELIMIT="",
    )
    return app, shops


def login() -> str | None:
    """Who the header says is signed in."""
    return request.headers.get("X-Login")


def test_answer_under_way_is_kept(site: Site, browse: Any) -> None:
    """What is said after the sign-in reaches who listens, and is in the login's history."""
    app, shops = site
    browser = browse(app)
    ann = visit(browser)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(ann.post, "threads.create", input=said("slow"))
        until(lambda: bool(shops) and shops[0].begun == 1)
        other = browse(app)
        other.cookies.update(browser.cookies)
        other.headers["X-Login"] = "7"
        other.mint()
        shops[0].open_gate()
        stream = events(held.result())
    assert kinds(stream)[-1] == "thread.item.done:assistant_message"
    signed_in = Client(other, token=other.mint()["client_secret"])
    (thread,) = signed_in.threads()
    assert signed_in.texts(thread["id"]) == ["slow"]
    assert signed_in.texts(thread["id"], "assistant_message") == ["so far, so good"]


async def _write(store: SQLAlchemyStore, thread: Any, context: ChatContext) -> None:
    await store.add_thread_item(thread.id, new_message(thread), context)


def test_old_cookie_follows_nobody() -> None:
    """A request that begins after the sign-in, with the cookie from before, finds nothing."""
    store = SQLAlchemyStore("sqlite://")
    ann, user = Visitor.new(), Visitor.login("7")
    before = ChatContext(visitor=ann)
    thread = new_thread()
    asyncio.run(store.save_thread(thread, before))
    asyncio.run(store.add_alias("chatkit", ann, user))
    asyncio.run(store.transfer_threads("chatkit", ann, user))
    for stranger in (ChatContext(visitor=ann), ChatContext(visitor=Visitor.new())):
        with pytest.raises(NotFoundError):
            asyncio.run(_write(store, thread, stranger))
        with pytest.raises(NotFoundError):
            asyncio.run(store.load_thread(thread.id, stranger))
    asyncio.run(_write(store, thread, before))
    page = asyncio.run(
        store.load_thread_items(thread.id, None, 20, "asc", ChatContext(visitor=user))
    )
    assert len(page.data) == 1
    store.close()
