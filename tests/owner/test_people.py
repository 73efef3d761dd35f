"""One person's data: exported whole, deleted whole, and nobody else's."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa

from flask_chatkit import ChatKit
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server.attachments.files import Files
from flask_chatkit.server.attachments.store import Attachments
from flask_chatkit.server.history import rows
from flask_chatkit.server.history.store import SQLAlchemyStore
from flask_chatkit.server.history.tables import aliases, attachments, feedback, items, threads
from flask_chatkit.testing import OpenAIStandIn, user_message
from tests.helpers.histories import DATABASES, Site, add, database
from tests.helpers.served import Client, said, visit
from tests.helpers.sites import MakeApp
from tests.helpers.stores import TidyStore
from tests.server.test_served_chats import Parrot

Missing = Callable[[str, str], NoReturn]


@pytest.fixture(params=DATABASES)
def site(
    request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Path, missing: Missing
) -> Iterator[Site]:
    """Make a site on each database."""
    with database(request.param, tmp_path, missing) as uri:
        site = Site(make_app, uri, tmp_path)
        yield site
        site.store.close()


@pytest.fixture
def small(make_app: MakeApp, tmp_path: Path) -> Iterator[Site]:
    """Make a site on SQLite, for what has nothing to do with the database."""
    site = Site(make_app, f"sqlite:///{tmp_path}/chat.db", tmp_path)
    yield site
    site.store.close()


def sign_in(client: Client, name: str = "ann") -> Client:
    client.browser.cookies.set("login", name, domain="127.0.0.1")
    client.token = client.browser.mint(client.prefix)["client_secret"]
    return client


def send_file(client: Client, name: str = "dot.png") -> str:
    file: str = client.upload(name=name).json()["id"]
    return file


def anonymous_key(site: Site) -> str:
    (key,) = set(site.work(lambda db: db.scalars(sa.select(threads.c.visitor)).all()))
    return key


def live(site: Site, browse: Any) -> tuple[Client, str]:
    """Ann chats, signs in, and chats on: two threads, four items, three files, a thumb."""
    ann = visit(browse(site.app), "/chatkit/help")
    known = set(site.work(lambda db: db.scalars(sa.select(threads.c.visitor)).all()))
    thread = ann.create("hello", attachments=[send_file(ann)])
    found = set(site.work(lambda db: db.scalars(sa.select(threads.c.visitor)).all()))
    (key,) = found - known
    send_file(ann, "unsent.png")
    sign_in(ann)
    ann.create("again", attachments=[send_file(ann)])

    def like(db: sa.Connection) -> None:
        item = db.execute(
            sa.select(items.c.thread, items.c.id)
            .join(threads)
            .where(threads.c.id == thread, items.c.type == "assistant_message")
        ).one()
        given = {"thread": item.thread, "item": item.id, "kind": "positive"}
        db.execute(sa.insert(feedback), {**given, "created_at": datetime.now(timezone.utc)})

    site.work(like)
    return ann, key


def unchanged(dump: dict[str, Any]) -> dict[str, Any]:
    """What a command that changes nothing leaves alone; what has ended is noted later."""
    later = {"chatkit_counts", "chatkit_jobs", "chatkit_claims"}
    return {name: rows for name, rows in dump.items() if name not in later}


def strangers(site: Site, count: int = 1000) -> None:
    """Add people, some of whom have nearly Ann's key."""
    near = ["user:ann ", "user:Ann", "user:ann\u0301", "user:anna", "anon:ann", "user:user:ann"]
    keys = [*near, *(f"user:{number}" for number in range(count - len(near)))]

    def fill(db: sa.Connection) -> None:
        for number, key in enumerate(keys):
            add(db, key, f"x{number}")

    site.work(fill)


# --- deleting ---------------------------------------------------------------------------------


def test_deleting_leaves_nothing_and_changes_nobody_else(
    site: Site, browse: Any, openai_standin: OpenAIStandIn
) -> None:
    """No row, file, token or hosted thread of a person stays; a thousand others keep all theirs."""
    strangers(site)
    others = site.dump()
    ann, key = live(site, browse)
    for user in (key, "user:ann", "user:ann", "user:bob"):
        openai_standin.add_thread(user, items=[user_message("hi")])
    everything = site.dump()

    planned = site.delete("ann", dry_run=True)
    assert unchanged(site.dump()) == unchanged(everything)
    assert len(openai_standin.threads) == 4
    done = site.delete("ann")

    wanted = (2, 4, 3, 1, 3, [key], [])
    for told in (planned, done):
        counts = (told.threads, told.items, told.files, told.feedback, told.hosted_threads)
        assert (*counts, told.aliases, told.problems) == wanted
    after = site.dump()
    revoked = after.pop("chatkit_revocations")
    others.pop("chatkit_revocations")
    # How much was answered on a day names nobody, nor does the digest of a deleted thread's id, nor
    # when files were last looked after.
    for dump in (after, others):
        dump.pop("chatkit_counts")
        dump.pop("chatkit_jobs")
    deleted = after.pop("chatkit_deletions")
    assert others.pop("chatkit_deletions") == []
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for (digest,) in deleted)
    assert after == others
    assert sorted(row[1] for row in revoked) == sorted(
        Visitor(one, known=True).digest for one in (key, "user:ann")
    )
    assert list(site.files.iterdir()) == []
    assert [thread["user"] for thread in openai_standin.threads.values()] == ["user:bob"]
    assert ann.post("threads.list").status_code == 401


def test_same_login_begins_anew(small: Site, browse: Any) -> None:
    """What was handed out before the deletion is refused, and what is minted afterwards is good."""
    ann, _ = live(small, browse)
    old, record = ann.token, ann.browser.mint("/chatkit/help")["session_id"]
    small.delete("user:ann")
    assert ann.post("threads.list").status_code == 401
    validated = ann.browser.get(f"/chatkit/help/session/{record}/validate")
    assert validated.json()["status"] == "cancelled"
    sign_in(ann)
    assert ann.token != old
    assert ann.threads() == []
    thread = ann.create("I am back")
    assert [one["id"] for one in ann.threads()] == [thread]


def test_other_processes_refuse_old_tokens(
    small: Site, make_app: MakeApp, tmp_path: Path, browse: Any
) -> None:
    """A process that did not delete anything refuses what was handed out before, at once."""
    ann, _ = live(small, browse)
    other = Site(make_app, f"sqlite:///{tmp_path}/chat.db", tmp_path)
    elsewhere = Client(browse(other.app), "/chatkit/help", ann.token)
    elsewhere.browser.cookies.set("login", "ann", domain="127.0.0.1")
    assert len(elsewhere.threads()) == 2
    small.delete("user:ann")
    assert elsewhere.post("threads.list").status_code == 401
    other.store.close()


def test_tokens_of_earlier_releases_are_refused_too(small: Site, browse: Any) -> None:
    """A token that does not tell when it was minted is good until its person is deleted."""
    from flask_chatkit.identity.sessions import TOKEN, _pack

    ann, _ = live(small, browse)
    with small.app.app_context():
        sessions = small.app.extensions["chatkit"]["chatkit"].sessions
        fields = ["served_old", int(time.time()) + 600, Visitor.login("ann").digest, "help", ""]
        ann.token = TOKEN + _pack(sessions._token_signer, fields)
    assert len(ann.threads()) == 2
    small.delete("user:ann")
    assert ann.post("threads.list").status_code == 401


def test_answers_under_way_write_nothing_back(site: Site, browse: Any) -> None:
    """An answer that goes on after the deletion stores nothing, in an old thread or a new one."""
    go_on, begun = threading.Event(), threading.Event()

    @site.kit.assistant("slow")
    def slow(message: Any, chat: Any) -> Iterator[str]:
        yield "one "
        if message.text != "before":
            begun.set()
            assert go_on.wait(20)
        yield "two"

    ann = sign_in(visit(browse(site.app), "/chatkit/slow"))
    thread = ann.create("before")
    results: list[Any] = []
    calls = [
        ("threads.create", {"input": said("new")}),
        ("threads.add_user_message", {"thread_id": thread, "input": said("more")}),
    ]
    workers = [
        threading.Thread(
            target=lambda kind=kind, params=params: results.append(
                Client(_copy(ann, browse, site), "/chatkit/slow", ann.token).post(kind, **params)
            )
        )
        for kind, params in calls
    ]
    for worker in workers:
        worker.start()
        assert begun.wait(20)
        begun.clear()
    assert site.delete("user:ann").threads == 2
    go_on.set()
    for worker in workers:
        worker.join(20)
    assert [answer.status_code for answer in results] == [200, 200]
    for table in (threads, items, attachments):
        assert site.work(lambda db, table=table: db.execute(sa.select(table)).all()) == []


def _copy(client: Client, browse: Any, site: Site) -> Any:
    browser = browse(client.browser.base)
    browser.cookies.update(client.browser.cookies)
    return browser


@pytest.mark.parametrize("skew", [0, 240, -240])
def test_upload_under_way_leaves_nothing(
    site: Site, browse: Any, monkeypatch: pytest.MonkeyPatch, skew: int
) -> None:
    """A file whose bytes have come when its person is deleted is not stored, by whichever clock."""
    # The host that deletes is another one.
    real = time.time
    deleting = SimpleNamespace(time=lambda: real() + skew)
    monkeypatch.setattr("flask_chatkit.owner.people.time", deleting)
    ann, _ = live(site, browse)
    store = Attachments.receive
    deleted = []

    async def receive(self: Any, *args: Any) -> Any:
        deleted.append(await asyncio.to_thread(site.delete, "user:ann"))
        return await store(self, *args)

    Attachments.receive = receive  # type: ignore[method-assign]
    try:
        answer = ann.upload()
    finally:
        Attachments.receive = store  # type: ignore[method-assign]
    assert answer.status_code == 404
    assert deleted[0].files == 3
    assert list(site.files.iterdir()) == []
    assert site.work(lambda db: db.execute(sa.select(attachments)).all()) == []


def test_what_could_not_be_handed_over_is_theirs(
    small: Site, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that stayed with the anonymous visitor, because handing over failed, go too."""
    ann = visit(browse(small.app), "/chatkit/help")
    ann.create("hello")
    key = anonymous_key(small)

    async def fails(*_: Any) -> int:
        raise OSError("the database is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(SQLAlchemyStore, "transfer_threads", fails)
        sign_in(ann)
    assert anonymous_key(small) == key
    assert small.delete("user:ann").threads == 1
    assert small.work(lambda db: db.execute(sa.select(threads)).all()) == []
    assert small.work(lambda db: db.execute(sa.select(aliases)).all()) == []


def test_files_that_fail_are_told_and_tried_again(
    small: Site, browse: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that can't be deleted is reported; all else goes, and the next run takes it."""
    _, key = live(small, browse)
    delete = Files.delete
    broken = min(path.name for path in small.files.iterdir())

    secret = "s3://key:hunter2@bucket is on fire"

    def fails(self: Files, name: str) -> None:
        if name == broken:
            raise OSError(secret)
        delete(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "delete", fails)
        done = small.delete("user:ann")
    assert (done.threads, done.files) == (2, 2)
    assert done.problems == [f"the file {broken} could not be deleted: OSError"]
    assert "hunter2" not in json.dumps(done.problems)
    caplog.clear()
    again = small.delete("user:ann")
    assert (again.threads, again.files, again.problems) == (0, 1, [])
    assert again.aliases == [key]
    assert list(small.files.iterdir()) == []
    assert small.work(lambda db: db.execute(sa.select(aliases)).all()) == []


def test_files_that_are_gone_already_are_fine(small: Site, browse: Any) -> None:
    """Bytes that somebody else has removed keep nobody from deleting the rest."""
    live(small, browse)
    for path in small.files.iterdir():
        path.unlink()
    done = small.delete("user:ann")
    assert (done.files, done.problems) == (3, [])


def test_files_at_a_url_are_deleted(make_app: MakeApp, tmp_path: Path, browse: Any) -> None:
    """Files that fsspec keeps go as those in a folder do."""
    import fsspec

    place = f"memory://people-{time.monotonic_ns()}"
    uri = f"sqlite:///{tmp_path}/chat.db"
    site = Site(make_app, uri, tmp_path, CHATKIT_UPLOAD_FOLDER=place)
    live(site, browse)
    system = fsspec.filesystem("memory")
    assert len(system.find(place)) == 3
    assert site.delete("user:ann").files == 3
    assert system.find(place) == []
    site.store.close()


def test_openai_that_fails_stops_nothing(
    small: Site, browse: Any, openai_standin: OpenAIStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """Where OpenAI refuses, all that is here is deleted, and the rest is reported."""
    live(small, browse)
    openai_standin.add_thread("user:ann")
    small.app.extensions["chatkit"]["chatkit"].hosted_threads._client._key = "sk-wrong"
    done = small.delete("user:ann")
    assert (done.threads, done.hosted_threads) == (2, 0)
    assert len(done.problems) == 1
    assert done.problems[0].startswith("OpenAI could not be asked for hosted threads")
    assert "sk-wrong" not in str(done)


def test_hosted_threads_go_page_by_page(small: Site, openai_standin: OpenAIStandIn) -> None:
    """More hosted threads than OpenAI lists at once all go, and nobody else's."""
    for _ in range(110):
        openai_standin.add_thread("user:ann")
    openai_standin.add_thread("user:anna")
    assert small.delete("user:ann", dry_run=True).hosted_threads == 110
    assert small.delete("user:ann").hosted_threads == 110
    assert [thread["user"] for thread in openai_standin.threads.values()] == ["user:anna"]


def test_ended_workflows_stop_nothing(
    small: Site, browse: Any, openai_standin: OpenAIStandIn
) -> None:
    """After the end of hosted workflows all that is here is deleted as before."""
    live(small, browse)
    openai_standin.end_workflows()
    assert small.delete("user:ann").threads == 2
    assert small.work(lambda db: db.execute(sa.select(threads)).all()) == []


def test_openai_is_asked_only_where_there_are_hosted_chats(
    make_app: MakeApp, tmp_path: Path, browse: Any, openai_standin: OpenAIStandIn
) -> None:
    """A site that only ever served its chats tells OpenAI nobody's login, unless it wants to."""
    uri = f"sqlite:///{tmp_path}/chat.db"
    site = Site(make_app, uri, tmp_path, CHATKIT_WORKFLOW_ID=None)
    live(site, browse)
    openai_standin.add_thread("user:ann")
    done = site.delete("user:ann", dry_run=True)
    assert (done.asked_openai, openai_standin.requests) == (False, [])
    assert site.delete("user:ann", dry_run=True, hosted=True).hosted_threads == 1
    site.add("user:bob", "x")

    def imported(db: sa.Connection) -> None:
        # As if Bob's thread had been hosted once.
        db.execute(sa.delete(attachments))
        db.execute(sa.update(threads).where(threads.c.id == "thr_x").values(id="cthr_x"))

    site.work(imported)
    assert site.delete("user:ann", dry_run=True).hosted_threads == 1
    site.store.close()


def test_kit_of_hosted_chats_alone(
    make_app: MakeApp, tmp_path: Path, openai_standin: OpenAIStandIn
) -> None:
    """Where OpenAI keeps everything, it is exported and deleted there, and no database is made."""
    kit = ChatKit()
    app = make_app(kit)
    app.instance_path = str(tmp_path / "instance")
    openai_standin.add_thread("user:ann", title="Mine", items=[user_message("hello")])
    openai_standin.add_thread("user:bob")
    with app.app_context():
        records = list(kit.export_user("ann"))
        done = kit.delete_user("ann")
    assert [record["record"] for record in records] == ["person", "thread", "item"]
    assert (records[1]["title"], records[2]["text"]) == ("Mine", "hello")
    assert (done.hosted_threads, done.threads, done.problems) == (1, 0, [])
    assert [thread["user"] for thread in openai_standin.threads.values()] == ["user:bob"]
    assert not Path(app.instance_path).exists()


def test_stores_of_the_sites_own_are_walked(small: Site, browse: Any) -> None:
    """What a store of the site's own has of a person is deleted by its own methods."""
    kept = TidyStore()
    small.kit.add_server("desk", Parrot(kept))
    bob = sign_in(visit(browse(small.app), "/chatkit/desk"), "bob")
    bob.create("I stay")
    ann = visit(browse(small.app), "/chatkit/desk")
    for word in ("one", "two"):
        ann.create(word)
    sign_in(ann)
    ann.create("three")
    planned, done = small.delete("ann", dry_run=True), small.delete("ann")
    assert (planned.threads, planned.items) == (done.threads, done.items) == (3, 6)
    assert len(kept.threads) == 1
    assert len(bob.threads()) == 1


def test_chat_that_cannot_be_opened_is_told(
    small: Site, browse: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A chat whose factory fails is reported, and the others' data is deleted."""
    secret = "no such key: hunter2"

    def fails() -> Any:
        raise RuntimeError(secret)

    small.kit.add_server("broken", fails)
    small.add("user:ann", "1")
    caplog.set_level(logging.CRITICAL)
    done = small.delete("user:ann")
    assert done.threads == 1
    assert len(done.problems) == 1
    assert "'broken'" in done.problems[0]


def test_other_kits_are_left_alone(small: Site) -> None:
    """What another kit keeps of the same person in the same database stays."""
    small.add("user:ann", "1")
    small.work(lambda db: db.execute(sa.update(threads).values(kit="staff")))
    assert small.delete("user:ann").threads == 0
    assert len(small.dump()["chatkit_threads"]) == 1


# --- exporting --------------------------------------------------------------------------------


def test_export_has_everything(
    site: Site, browse: Any, tmp_path: Path, openai_standin: OpenAIStandIn
) -> None:
    """Each thread, item, file, thumb and hosted thread of a person is a record of its own."""
    strangers(site, 20)
    _, key = live(site, browse)
    openai_standin.add_thread(key, title="Hosted", items=[user_message("long ago")])
    openai_standin.add_thread("user:bob")
    records = site.export("ann", files=tmp_path / "copies")
    json.dumps(records)
    counted = {
        kind: sum(record["record"] == kind for record in records)
        for kind in ("person", "thread", "item", "file", "feedback", "problem")
    }
    assert counted == {
        "person": 1,
        "thread": 3,
        "item": 5,
        "file": 3,
        "feedback": 1,
        "problem": 0,
    }
    assert [one["key"] for one in records[0]["before_signing_in"]] == [key]
    texts = [record["text"] for record in records if record["record"] == "item"]
    assert texts == ["hello", "hello", "again", "again", "long ago"]
    files = [record for record in records if record["record"] == "file"]
    assert [file["name"] for file in files] == ["dot.png", "unsent.png", "dot.png"]
    assert [file["thread"] is None for file in files] == [False, True, False]
    for file in files:
        assert (tmp_path / "copies" / file["saved_as"]).stat().st_size == file["bytes"]
    assert "link=" not in json.dumps(records)
    assert "I am user:" not in json.dumps(records)


def test_export_is_read_page_by_page(
    site: Site, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the size of a page, each item follows its thread, and none comes twice."""
    ann = visit(browse(site.app), "/chatkit/help")
    for number in range(5):
        thread = ann.create(f"{number}.0")
        for more in range(1, number + 1):
            ann.add(thread, f"{number}.{more}")
    key = anonymous_key(site)
    whole = [one for one in site.export(key) if one["record"] != "person"]
    for batch, page in ((2, 3), (1, 1), (100, 4)):
        monkeypatch.setattr(rows, "BATCH", batch)
        monkeypatch.setattr(rows, "PAGE", page)
        assert [one for one in site.export(key) if one["record"] != "person"] == whole
    said = [one["text"] for one in whole if one.get("from") == "visitor"]
    assert said == [f"{number}.{more}" for number in range(5) for more in range(number + 1)]
    monkeypatch.setattr(rows, "BATCH", 2)
    assert site.delete(key).items == 30


def test_export_of_nobody_is_short(small: Site) -> None:
    """A person who never chatted has a record of who they are, and nothing else."""
    (record,) = small.export("user:nobody")
    assert record["record"] == "person"
    assert record["before_signing_in"] == []


def test_export_tells_when_tokens_were_revoked(small: Site) -> None:
    """After a deletion the export tells when it was: that is all that is known of the person."""
    small.add("user:ann", "1")
    small.delete("user:ann")
    _, revoked = small.export("user:ann")
    assert (revoked["record"], revoked["visitor"]) == ("revocation", "user:ann")


def test_wrong_keys_are_refused(small: Site) -> None:
    """A key of no accepted form is refused before anything is done."""
    for act in (small.delete, small.export):
        with pytest.raises(ValueError, match="user:<login id>"):
            act("")
