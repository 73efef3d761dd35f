"""``flask chatkit stats`` and ``ChatKit.stats``: what is shown, and of which time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from flask_chatkit import ChatKit
from flask_chatkit.cli.stats import time_span
from flask_chatkit.server import SQLAlchemyStore
from tests.helpers.served import Shop, of_type, visit
from tests.helpers.sites import MakeApp
from tests.helpers.stores import TidyStore

WORDS = "what the owner need not read"


@pytest.fixture
def site(make_app: MakeApp, tmp_path: Path) -> Callable[..., Flask]:
    """Make sites whose history is this test's own."""

    def make(kit: ChatKit, **config: Any) -> Flask:
        quiet = dict.fromkeys(
            ("CHATKIT_RATELIMIT", "CHATKIT_RATELIMIT_IP", "CHATKIT_MESSAGE_RATELIMIT"), ""
        )
        history = {"CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/x.sqlite3"}
        return make_app(kit, **{**quiet, **history, **config})

    return make


def hello(_message: Any, _chat: Any) -> str:
    return "hello"


def run(app: Flask, *args: str, group: str = "chatkit") -> Any:
    return app.test_cli_runner().invoke(args=[group, "stats", *args])


def busy_day(browse: Any, site: Any) -> tuple[Flask, ChatKit]:
    """A site on which something of each kind has happened."""
    kit = ChatKit()
    kit.add_server("support", Shop)
    kit.assistant("concierge")(hello)
    app = site(kit, CHATKIT_WORKFLOW_ID=None)
    browser = browse(app)
    ann = visit(browser, "/chatkit/support")
    thread = ann.create(WORDS)
    ann.add(thread, "readable")
    ann.add(thread, "late-boom")
    ann.post("threads.get_by_id", thread_id="thr_0")
    item = of_type(ann.items(thread), "assistant_message")["id"]
    ann.ask("items.feedback", thread_id=thread, item_ids=[item], kind="negative")
    visit(browser, "/chatkit/concierge").create("hello")
    browser.post("/chatkit/nobody/secret")
    return app, kit


SUPPORT = {
    "threads": 1,
    "messages": 3,
    "answers": 3,
    "finished": 1,
    "stops": 0,
    "declined": 1,
    "failures": 1,
    "secrets": 1,
    "refusals": {"declined": 1, "not_found": 1},
    "feedback": {"positive": 0, "negative": 1},
}


def test_figures(browse: Any, site: Any) -> None:
    """Each chat has its figures, the total has all, and JSON has the same as Python."""
    app, kit = busy_day(browse, site)
    with app.app_context():
        found = kit.stats(since=timedelta(hours=1))
    assert found.chats["support"].as_dict() == SUPPORT
    assert (found.chats["concierge"].answers, found.chats["concierge"].threads) == (1, 1)
    assert (found.total.threads, found.total.messages, found.total.answers) == (2, 4, 4)
    assert found.total.refusals == {"declined": 1, "not_found": 2}
    assert found.notes == ()
    printed = json.loads(run(app, "--since", "1h", "--json").output)
    assert printed["total"] == found.total.as_dict()
    assert printed["chats"] == {name: one.as_dict() for name, one in found.chats.items()}
    assert datetime.fromisoformat(printed["counted_since"]).time() == datetime.min.time()


def test_words_for_the_owner(browse: Any, site: Any) -> None:
    """Plain text names each figure, the reasons in words, and the time that each is of."""
    app, _ = busy_day(browse, site)
    result = run(app)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    day = datetime.now(timezone.utc) - timedelta(hours=24)
    assert lines[0].startswith(f"Threads, messages and feedback since {day:%Y-%m-%d %H}:")
    assert lines[1] == f"answers, secrets and refusals since {day:%Y-%m-%d} 00:00 UTC."
    for line in (
        "support:",
        "messages 3",
        "answers 3 finished 1, stopped 0, declined 1, failed 1",
        "feedback 1 positive 0, negative 1",
        "not_found 1 there is no such chat, session, thread, item or file for this visitor",
        "concierge:",
        "in total:",
    ):
        assert line in lines
    assert WORDS not in result.output


def test_since_is_a_span_or_a_time() -> None:
    """Spans have units, and dates and times are ISO 8601."""
    assert time_span("90m") == timedelta(minutes=90)
    assert time_span("24h") == timedelta(days=1)
    assert time_span("7d") == time_span("1w") == timedelta(days=7)
    assert time_span("2026-11-28") == datetime(2026, 11, 28)  # noqa: DTZ001  as it is typed
    assert time_span("2026-11-28T12:00:00+01:00").utcoffset() == timedelta(hours=1)  # type: ignore[union-attr]


@pytest.mark.parametrize("since", ["24", "1y", "", "-1h", "yesterday", "2999-01-01"])
def test_wrong_times_are_usage_errors(browse: Any, site: Any, since: str) -> None:
    """What is no time, or is one to come, exits with 2 and names the accepted form."""
    kit = ChatKit()
    kit.assistant()(hello)
    result = run(site(kit), f"--since={since}")
    assert result.exit_code == 2
    assert "--since" in result.output


def test_nothing_before_its_time(browse: Any, site: Any) -> None:
    """What happened before the time is not in it; a very long time has all."""
    app, kit = busy_day(browse, site)
    with app.app_context():
        assert kit.stats(timedelta(0)).total.threads == 0
        assert kit.stats(timedelta(weeks=999_999)).total.threads == 2
        assert kit.stats(datetime(2020, 1, 1)).total.messages == 4  # noqa: DTZ001  in UTC
        with pytest.raises(ValueError, match="past"):
            kit.stats(timedelta(hours=-1))


def test_hosted_chats_alone(make_app: MakeApp) -> None:
    """A kit without a history says plainly what is not counted, and makes no database."""
    app = make_app()
    result = run(app)
    assert result.exit_code == 0
    assert "The chat 'default' is hosted by OpenAI, which has its threads: nothing is" in (
        result.output
    )
    assert not Path(app.instance_path, "chatkit.sqlite3").exists()


def test_chats_that_are_left_out(browse: Any, site: Any) -> None:
    """A chat with a store of its own, and one that can't be started, are named with the reason."""
    kit = ChatKit()
    kit.assistant()(hello)
    kit.add_server("own", lambda: Shop(TidyStore()))
    kit.add_server("broken", dict)
    app = site(kit)
    visit(browse(app)).create("hello")
    visit(browse(app), "/chatkit/own").create("hello")
    with app.app_context():
        found = kit.stats()
    assert found.chats["default"].messages == 1
    assert (found.chats["own"].messages, found.chats["own"].answers) == (0, 1)
    notes = " ".join(found.notes)
    assert "The history of the chat 'own' is in a store of the site's own" in notes
    assert "The chat 'broken' can't be started" in notes


def test_history_that_cannot_be_read(
    browse: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that fails is one line with its kind, without its address, and exit status 1."""
    app, _ = busy_day(browse, site)

    async def fail(*_args: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("postgresql://root:hunter2@db"))

    monkeypatch.setattr(SQLAlchemyStore, "read_figures", fail)
    result = run(app)
    assert result.exit_code == 1
    assert "the history could not be read (OperationalError)" in result.output
    assert "hunter2" not in result.output


def test_each_kit_has_its_own(browse: Any, site: Any) -> None:
    """Two kits on one database count apart, and each group of commands shows its own."""
    first, second = ChatKit(), ChatKit("staff", url_prefix="/staff")
    for kit in (first, second):
        kit.assistant()(hello)
    app = site(first)
    app.register_blueprint(second)
    visit(browse(app), "/staff").create("hello")
    assert json.loads(run(app, "--json").output)["total"]["answers"] == 0
    assert json.loads(run(app, "--json", group="staff").output)["total"]["answers"] == 1


def test_processes_add_up(browse: Any, site: Any) -> None:
    """Two applications on one database, as two processes are, count together."""
    apps = []
    for _ in range(2):
        kit = ChatKit()
        kit.assistant()(hello)
        apps.append((site(kit), kit))
        ann = visit(browse(apps[-1][0]))
        ann.create("hello")
        ann.post("threads.get_by_id", thread_id="thr_0")
    for app, kit in apps:
        with app.app_context():
            kit.stats()
    with app.app_context():
        found = kit.stats().total
    assert (found.answers, found.secrets, found.refusals) == (2, 2, {"not_found": 2})


def test_kit_that_is_not_registered(make_app: MakeApp) -> None:
    """A kit knows nothing of an application that it is not on."""
    with make_app().app_context(), pytest.raises(ValueError, match="not registered"):
        ChatKit("other").stats()
