"""How long the history is kept: by the command, and by itself once an hour."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa

from flask_chatkit import ChatKit
from flask_chatkit.owner import hourly_prune as upkeep_module
from flask_chatkit.server.history import records, rows
from flask_chatkit.server.history.tables import attachments, items, jobs, threads
from tests.helpers.histories import DATABASES, Site, add, database
from tests.helpers.served import Client, until, visit
from tests.helpers.sites import MakeApp
from tests.helpers.stores import TidyStore
from tests.server.test_served_chats import Parrot

Missing = Callable[[str, str], NoReturn]
DAY = timedelta(days=1)
YEAR = timedelta(days=365)


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


def backdate(site: Site, age: timedelta, *, which: str | None = None) -> None:
    """Make a thread and all in it older, or all threads."""
    then = datetime.now(timezone.utc) - age

    def work(db: sa.Connection) -> None:
        mine = sa.true() if which is None else threads.c.id == which
        chosen = sa.select(threads.c.position).where(mine)
        db.execute(sa.update(items).where(items.c.thread.in_(chosen)).values(created_at=then))
        db.execute(sa.update(threads).where(mine).values(created_at=then))

    site.work(work)


def ids(site: Site) -> list[str]:
    return sorted(site.work(lambda db: db.scalars(sa.select(threads.c.id)).all()))


def chat(site: Site, browse: Any) -> Client:
    return visit(browse(site.app), "/chatkit/help")


def upload(client: Client) -> str:
    file: str = client.upload().json()["id"]
    return file


def without_counts(dump: dict[str, Any]) -> dict[str, Any]:
    """What only a deletion changes; counts of answers are written a moment later."""
    return {name: kept for name, kept in dump.items() if name != "chatkit_counts"}


def age_of_files(site: Site, age: timedelta) -> None:
    """Make what is in the folder, and what the database has of unsent files, older."""
    then = time.time() - age.total_seconds()
    for path in site.files.iterdir():
        os.utime(path, (then, then))
    moment = datetime.fromtimestamp(then, timezone.utc)
    site.work(lambda db: db.execute(sa.update(attachments).values(created_at=moment)))


# --- threads ----------------------------------------------------------------------------------


def test_unused_threads_go_with_all_that_is_theirs(site: Site, browse: Any) -> None:
    """A thread that was not used for so long goes, with its items, files and thumbs; no other."""
    visitor = chat(site, browse)
    old = visitor.create("old", attachments=[upload(visitor)])
    used = visitor.create("old too, and used again", attachments=[upload(visitor)])
    backdate(site, 100 * DAY)
    visitor.add(used, "still here")
    now = datetime.now(timezone.utc)

    def fill(db: sa.Connection) -> None:
        for number in range(250):
            add(db, "user:ann", f"old{number}", now - 91 * DAY)
            add(db, "user:ann", f"new{number}", now - 89 * DAY)

    site.work(fill)
    before = without_counts(site.dump())
    planned = site.prune(90 * DAY, dry_run=True)
    assert without_counts(site.dump()) == before
    done = site.prune(90 * DAY)
    for told in (planned, done):
        counts = (told.threads, told.items, told.files, told.feedback, told.unsent)
        assert (*counts, told.problems) == (251, 252, 251, 250, 0, [])
    assert old not in ids(site)
    assert ids(site) == sorted([used, *(f"thr_new{number}" for number in range(250))])
    assert len(list(site.files.iterdir())) == 1
    after = without_counts(site.dump())
    for name, kept in after.items():
        assert set(kept) <= set(before[name])
    assert (len(after["chatkit_items"]), len(after["chatkit_feedback"])) == (254, 250)
    assert len(after["chatkit_attachments"]) == 251
    assert site.prune(90 * DAY).threads == 0


def test_time_of_a_thread_is_that_of_its_newest_item(site: Site) -> None:
    """A thread that was begun long ago and an empty one that is new are both in use."""
    site.add("user:ann", "old", 10 * DAY)
    site.add("user:ann", "empty-new")
    site.add("user:ann", "empty-old", 10 * DAY)
    site.work(
        lambda db: db.execute(
            sa.delete(items).where(items.c.id.in_(["msg_empty-new", "msg_empty-old"]))
        )
    )
    newer = datetime.now(timezone.utc) - 2 * DAY
    site.work(
        lambda db: db.execute(
            sa.update(items).where(items.c.id == "msg_old").values(created_at=newer)
        )
    )
    assert site.prune(3 * DAY).threads == 1
    assert ids(site) == ["thr_empty-new", "thr_old"]


def test_thread_under_way_stays(small: Site, browse: Any) -> None:
    """A thread in which an answer may be under way stays, however short the time is."""
    visitor = chat(small, browse)
    thread = visitor.create("hello")
    backdate(small, timedelta(seconds=200))
    assert small.prune(timedelta(seconds=1)).threads == 0
    backdate(small, timedelta(seconds=400))
    assert small.prune(timedelta(seconds=1)).threads == 1
    assert thread not in ids(small)


def test_thread_that_is_just_being_used_stays(site: Site, browse: Any) -> None:
    """A message that comes while the thread is looked at keeps it."""
    visitor = chat(site, browse)
    thread = visitor.create("hello")
    backdate(site, 10 * DAY)
    look = rows.unused_threads
    said = []

    def looking(db: sa.Connection, *args: Any, **more: Any) -> Any:
        if not said:
            said.append(visitor.add(thread, "still here"))
        return look(db, *args, **more)

    rows.unused_threads = looking  # type: ignore[assignment]
    try:
        if site.store.database._source.get_backend_name() == "sqlite":
            # A writer of SQLite keeps all others waiting: nobody can say anything meanwhile.
            visitor.add(thread, "still here")
            said.append(True)
        done = site.prune(DAY)
    finally:
        rows.unused_threads = look
    assert (done.threads, done.problems) == (0, [])
    assert ids(site) == [thread]


@pytest.mark.parametrize("wrong", [timedelta(), timedelta(seconds=-1)])
def test_ages_are_above_zero(small: Site, wrong: timedelta) -> None:
    """No age, or less, would delete everything: it is refused."""
    with pytest.raises(ValueError, match="above zero"):
        small.prune(wrong)


def test_stores_of_the_sites_own_are_pruned_where_they_can_be(small: Site, browse: Any) -> None:
    """A store that shows everybody's threads is pruned by its methods; one that does not, named."""
    kept = TidyStore()
    small.kit.add_server("desk", Parrot(kept))

    class Isolating(TidyStore):
        isolates_owners = True

    small.kit.add_server("closed", Parrot(Isolating()))
    visitor = visit(browse(small.app), "/chatkit/desk")
    old, new = visitor.create("old"), visitor.create("new")
    then = datetime.now() - 10 * DAY  # noqa: DTZ005  as the package has it
    kept.threads[old] = kept.threads[old].model_copy(update={"created_at": then})
    kept.items[old] = [one.model_copy(update={"created_at": then}) for one in kept.items[old]]
    planned, done = small.prune(DAY, dry_run=True), small.prune(DAY)
    for told in (planned, done):
        assert (told.threads, told.items, told.problems) == (1, 2, [])
        assert any("'closed'" in note for note in told.notes)
    assert list(kept.threads) == [new]


def test_messages_of_threads_long_deleted_go(small: Site, tmp_path: Path) -> None:
    """What a DELETE by hand left of a thread before there were triggers goes, whatever the age."""
    for name in ("gone", "kept"):
        small.add("user:ann", name)
    with closing(sqlite3.connect(tmp_path / "chat.db")) as plain, plain:
        plain.execute("DROP TRIGGER chatkit_threads_deleted")
        plain.execute("DELETE FROM chatkit_threads WHERE id = 'thr_gone'")
    assert (small.prune(dry_run=True).strays, small.prune().strays, small.prune().strays) == (
        1,
        1,
        0,
    )
    assert [row[2] for row in small.dump()["chatkit_items"]] == ["msg_kept"]


# --- files ------------------------------------------------------------------------------------


def test_unsent_files_go_after_a_day(site: Site, browse: Any) -> None:
    """Files that were uploaded a day ago and never sent go, with or without an age for threads."""
    visitor = chat(site, browse)
    upload(visitor)
    sent = upload(visitor)
    visitor.create("with a file", attachments=[sent])
    assert site.prune().unsent == 0
    age_of_files(site, timedelta(hours=25))
    fresh = upload(visitor)
    planned, done = site.prune(dry_run=True), site.prune()
    for told in (planned, done):
        assert (told.unsent, told.orphans, told.threads, told.unused_since) == (1, 0, 0, None)
    assert sorted(path.name for path in site.files.iterdir()) == sorted([sent, fresh])
    known = site.work(lambda db: set(db.scalars(sa.select(attachments.c.id))))
    assert known == {sent, fresh}


def test_file_that_a_message_has_is_sent(small: Site, browse: Any) -> None:
    """A file whose row lost its thread stays while a message has it, and gets the thread back."""
    visitor = chat(small, browse)
    sent = upload(visitor)
    thread = visitor.create("with a file", attachments=[sent])
    small.work(lambda db: db.execute(sa.update(attachments).values(thread=None)))
    age_of_files(small, 2 * DAY)
    assert small.prune().unsent == 0
    assert small.work(lambda db: db.scalars(sa.select(attachments.c.thread)).all()) == [thread]


def test_files_of_threads_that_sql_deleted_are_found(
    small: Site, browse: Any, tmp_path: Path
) -> None:
    """After a plain DELETE the bytes lie about: they are found, and nothing that is not ours is."""
    visitor = chat(small, browse)
    gone, kept = upload(visitor), upload(visitor)
    thread = visitor.create("goes", attachments=[gone])
    visitor.create("stays", attachments=[kept])
    with closing(sqlite3.connect(tmp_path / "chat.db")) as plain, plain:
        plain.execute("DELETE FROM chatkit_threads WHERE id = ?", [thread])
    names = ["notes.txt", "atc_short", f".{gone}.{secrets.token_hex(8)}.part"]
    for name in names:
        (small.files / name).write_text("x")
    assert (small.prune().orphans, small.prune().leftovers) == (0, 0)
    age_of_files(small, 2 * DAY)
    planned, done = small.prune(dry_run=True), small.prune()
    for told in (planned, done):
        assert (told.orphans, told.leftovers, told.problems) == (1, 1, [])
    left = sorted(path.name for path in small.files.iterdir())
    assert left == sorted([kept, "notes.txt", "atc_short"])


def test_files_of_another_kit_are_known(make_app: MakeApp, tmp_path: Path, browse: Any) -> None:
    """Two kits share a folder: what the other one's database has is no orphan."""
    site = Site(make_app, f"sqlite:///{tmp_path}/chat.db", tmp_path)
    other = ChatKit("staff", url_prefix="/staff", store=f"sqlite:///{tmp_path}/staff.db")
    other.assistant("help", attachments=True)(lambda message, _chat: message.text)
    site.app.register_blueprint(other)
    visitor = visit(browse(site.app), "/staff/help")
    upload(visitor)
    visitor.create("hello", attachments=[upload(visitor)])
    age_of_files(site, 2 * DAY)
    assert (site.prune().orphans, len(list(site.files.iterdir()))) == (0, 2)
    with site.app.app_context():
        assert other.prune().orphans == 0
        site.app.extensions["chatkit"]["staff"].service.storage.store.close()
    site.store.close()


def test_files_that_another_store_knows_are_left_alone(small: Site, browse: Any) -> None:
    """Where a store of the site's own describes files, what no database knows is not deleted."""
    small.kit.add_server("desk", Parrot(TidyStore()), attachments=True)
    visitor = visit(browse(small.app), "/chatkit/desk")
    upload(visitor)
    age_of_files(small, 2 * DAY)
    done = small.prune()
    assert (done.orphans, len(done.notes)) == (0, 1)
    assert len(list(small.files.iterdir())) == 1


def test_files_at_a_url_are_swept(make_app: MakeApp, tmp_path: Path, browse: Any) -> None:
    """What lies about where fsspec keeps the files is found as well, once it is old enough."""
    import fsspec

    place = f"memory://prune-{secrets.token_hex(4)}"
    uri = f"sqlite:///{tmp_path}/chat.db"
    site = Site(make_app, uri, tmp_path, CHATKIT_UPLOAD_FOLDER=place)
    visitor = chat(site, browse)
    kept = upload(visitor)
    upload(visitor)
    site.work(lambda db: db.execute(sa.delete(attachments).where(attachments.c.id != kept)))
    system = fsspec.filesystem("memory")
    assert site.prune().orphans == 0
    for file in system.store.values():
        file.created -= 2 * DAY
    assert site.prune().orphans == 1
    assert [Path(name).name for name in system.find(place)] == [kept]
    site.store.close()


# --- by itself --------------------------------------------------------------------------------


def test_keep_days_prunes_after_an_answer(make_app: MakeApp, tmp_path: Path, browse: Any) -> None:
    """With CHATKIT_KEEP_DAYS old threads go after some answer was sent, in a thread of its own."""
    site = Site(make_app, f"sqlite:///{tmp_path}/chat.db", tmp_path, CHATKIT_KEEP_DAYS="30")
    site.add("user:ann", "old", 31 * DAY)
    site.add("user:ann", "new", 29 * DAY)
    visitor = chat(site, browse)
    thread = visitor.create("hello")
    until(lambda: "thr_old" not in ids(site))
    assert ids(site) == sorted(["thr_new", thread])
    _wait_for_upkeep()
    # Once an hour: neither this process nor another one does it again.
    site.add("user:ann", "older", 32 * DAY)
    visitor.add(thread, "once more")
    state = site.app.extensions["chatkit"]["chatkit"]
    state.prune_at = 0.0
    visitor.add(thread, "and again")
    until(lambda: state.prune_at > 0)
    _wait_for_upkeep()
    assert "thr_older" in ids(site)
    hour_ago = datetime.now(timezone.utc) - timedelta(minutes=61)
    site.work(lambda db: db.execute(sa.update(jobs).values(begun_at=hour_ago)))
    state.prune_at = 0.0
    visitor.add(thread, "an hour later")
    until(lambda: "thr_older" not in ids(site))
    _wait_for_upkeep()
    site.store.close()


def _wait_for_upkeep() -> None:
    # One that is just being started is listed, and can't be joined yet.
    until(lambda: "flask_chatkit upkeep" not in {one.name for one in threading.enumerate()}, 10)


def test_visitor_does_not_wait_for_it(
    make_app: MakeApp, tmp_path: Path, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer is whole, and the next one too, while pruning hangs; its failure is logged only."""
    site = Site(make_app, f"sqlite:///{tmp_path}/chat.db", tmp_path, CHATKIT_KEEP_DAYS=30)
    go_on, hanging = threading.Event(), threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        hanging.set()
        assert go_on.wait(20)
        raise OSError("no")

    monkeypatch.setattr("flask_chatkit.owner.prune.prune", hang)
    visitor = chat(site, browse)
    thread = visitor.create("hello")
    assert hanging.wait(20)
    assert visitor.add(thread, "more")[-1]["type"] == "thread.item.done"
    go_on.set()
    _wait_for_upkeep()
    site.store.close()


def test_without_keep_days_nothing_is_pruned(small: Site, browse: Any) -> None:
    """Where nobody sets an age, threads stay for ever."""
    small.add("user:ann", "old", 10 * YEAR)
    chat(small, browse).create("hello")
    assert not [one for one in threading.enumerate() if one.name == "flask_chatkit upkeep"]
    assert "thr_old" in ids(small)
    assert small.prune().threads == 0


def test_one_of_many_begins_a_job(site: Site) -> None:
    """Of all that ask at once whether it is their turn, it is one's, and an hour later one's."""
    site.prune()
    begin = partial(records.begin_job, kit="chatkit", name="prune", every=upkeep_module.EVERY)
    for _ in range(2):
        start = threading.Barrier(6)
        won: list[bool] = []

        def ask(start: threading.Barrier = start, won: list[bool] = won) -> None:
            start.wait()
            won.append(site.work(begin))

        workers = [threading.Thread(target=ask) for _ in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sorted(won) == [False] * 5 + [True]
        earlier = datetime.now(timezone.utc) - timedelta(hours=2)
        site.work(lambda db, earlier=earlier: db.execute(sa.update(jobs).values(begun_at=earlier)))


def test_wrong_database_costs_no_file(make_app: MakeApp, tmp_path: Path, browse: Any) -> None:
    """By itself nothing is taken for an orphan where the database knows of no file at all."""
    site = Site(make_app, f"sqlite:///{tmp_path}/chat.db", tmp_path)
    upload(chat(site, browse))
    age_of_files(site, 2 * DAY)
    site.store.close()
    uri = f"sqlite:///{tmp_path}/new.db"
    other = Site(make_app, uri, tmp_path, CHATKIT_KEEP_DAYS=30)
    chat(other, browse).create("hello")
    until(lambda: other.dump()["chatkit_jobs"])
    _wait_for_upkeep()
    assert len(list(site.files.iterdir())) == 1
    other.store.close()
