"""Searching the threads, over ``threads.list``: whose, how much, and what a client may send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session

from flask_chatkit import ChatKit
from tests.helpers.served import Shop, visit
from tests.helpers.sites import MakeApp, told
from tests.helpers.stores import TidyStore


@pytest.fixture
def app(make_app: MakeApp, tmp_path: Path) -> Flask:
    """Make a site with the kit's own history."""
    kit = ChatKit()
    kit.add_server("default", Shop)
    kit.user_loader(lambda: session.get("user"))
    return make_app(kit, CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/x.sqlite3")


def found(client: Any, query: Any, **params: Any) -> Any:
    """What the server answers to a query."""
    metadata = {"flask_chatkit_search": query}
    return client.send({"type": "threads.list", "params": params, "metadata": metadata})


def test_threads_are_searched(browse: Any, app: Flask) -> None:
    """A query finds the visitor's own threads only, in the form of a list, with what was found."""
    ann, bob = visit(browse(app)), visit(browse(app))
    red = ann.create("my red shoes")
    ann.create("blue")
    bob.create("red hat")
    answer = found(ann, " RED ").json()
    assert [thread["id"] for thread in answer["data"]] == [red]
    assert (answer["search"], answer["has_more"]) == (True, False)
    # What a site has noted of a thread stays on the server.
    assert answer["data"][0]["metadata"] == {}
    assert found(ann, "hat").json()["data"] == []
    (item,) = answer["found"].values() or [None]
    assert "red shoes" in item["excerpt"]
    everything = found(ann, "").json()
    assert everything["search"] is True
    assert len(everything["data"]) == 2
    assert "search" not in ann.post("threads.list").json()


@pytest.mark.parametrize("query", ["x" * 201, 1, None, ["red"], {"a": 1}])
def test_queries_are_bounded(browse: Any, app: Flask, query: Any) -> None:
    """400: what is no string, or longer than anybody searches for; the value is not repeated."""
    ann = visit(browse(app))
    ann.create("red")
    answer = found(ann, query)
    told(answer, 400, "bad_request")
    assert "flask_chatkit_search" in answer.json()["message"]
    assert "xxx" not in answer.text


def test_results_are_bounded(browse: Any, app: Flask) -> None:
    """A page of results has as many threads as asked for, and says that there are more."""
    ann = visit(browse(app))
    ids = [ann.create(f"red {number}") for number in range(3)]
    answer = found(ann, "red", limit=2).json()
    assert [thread["id"] for thread in answer["data"]] == ids[:0:-1]
    assert answer["has_more"] is True


def test_searches_are_charged(browse: Any, make_app: MakeApp, tmp_path: Path) -> None:
    """A search counts as any other read does."""
    kit = ChatKit()
    kit.add_server("default", Shop)
    uri = f"sqlite:///{tmp_path}/x.sqlite3"
    app = make_app(kit, CHATKIT_DATABASE_URI=uri, CHATKIT_CALL_RATELIMIT="3/hour")
    ann = visit(browse(app))
    codes = [found(ann, "red").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]


def test_a_sites_own_store_says_that_it_can_not(browse: Any, make_app: MakeApp) -> None:
    """A store without search lists all threads, and the answer tells so."""
    kit = ChatKit()
    kit.add_server("default", lambda: Shop(TidyStore()))
    ann = visit(browse(make_app(kit)))
    ann.create("red")
    ann.create("blue")
    answer = found(ann, "red").json()
    assert answer["search"] is False
    assert len(answer["data"]) == 2
