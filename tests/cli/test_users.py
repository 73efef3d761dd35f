"""The commands for people's data and its age: what they say, in which form, and how they exit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from flask_chatkit.server.attachments.files import Files
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.histories import Site
from tests.helpers.served import visit
from tests.helpers.sites import MakeApp

DAY = timedelta(days=1)


@pytest.fixture
def site(make_app: MakeApp, tmp_path: Path) -> Iterator[Site]:
    """Make a site that had hosted chats."""
    site = Site(make_app, f"sqlite:///{tmp_path}/chat.db", tmp_path)
    yield site
    site.store.close()


def run(site: Site, *arguments: str) -> Result:
    return site.app.test_cli_runner().invoke(args=["chatkit", *arguments])


def threads_of(site: Site) -> int:
    return len(site.dump()["chatkit_threads"])


def test_delete_says_what_it_did(site: Site, openai_standin: OpenAIStandIn) -> None:
    """A dry run says the same as a deletion, in plain words, and changes nothing."""
    for name, key in (("1", "user:ann"), ("2", "user:ann"), ("3", "user:bob")):
        site.add(key, name)
    openai_standin.add_thread("user:ann")
    told = "2 threads with 2 items, 2 files, 2 thumbs up or down.\n"
    planned = run(site, "user", "delete", "ann", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert planned.output == (
        f"Would delete of user:ann: {told}Would delete at OpenAI: 1 hosted thread.\n"
    )
    assert threads_of(site) == 3
    done = run(site, "user", "delete", "ann")
    assert done.exit_code == 0
    assert done.output == (
        f"Deleted of user:ann: {told}Deleted at OpenAI: 1 hosted thread.\n"
        "Secrets of served chats that were handed out before are refused from now on.\n"
    )
    assert threads_of(site) == 1


def test_delete_as_json(site: Site) -> None:
    """With --json the counts are there for a program, and nothing else."""
    site.add("user:ann", "1")
    done = json.loads(run(site, "user", "delete", "user:ann", "--json").stdout)
    assert done == {
        "key": "user:ann",
        "aliases": [],
        "dry_run": False,
        "threads": 1,
        "items": 1,
        "files": 1,
        "feedback": 1,
        "hosted_threads": 0,
        "asked_openai": True,
        "problems": [],
    }


def test_delete_names_what_came_along(site: Site, browse: Any) -> None:
    """The anonymous ids that a person had before signing in are named."""
    ann = visit(browse(site.app), "/chatkit/help")
    ann.create("hello")
    ann.browser.cookies.set("login", "ann", domain="127.0.0.1")
    ann.browser.mint("/chatkit/help")
    output = run(site, "user", "delete", "ann", "--no-hosted").output
    assert "Deleted of user:ann: 1 thread with 2 items" in output
    assert "under 1 anonymous id: anon:" in output
    assert "OpenAI was not asked" in output


def test_failure_exits_with_one(site: Site, browse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be deleted is named, the exit status is 1, and the next run is complete."""
    visitor = visit(browse(site.app), "/chatkit/help")
    visitor.browser.cookies.set("login", "ann", domain="127.0.0.1")
    visitor.browser.mint("/chatkit/help")
    visitor.token = None
    file = visitor.upload().json()["id"]

    secret = "hunter2"

    def fails(*_: Any) -> None:
        raise OSError(secret)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "delete", fails)
        result = run(site, "user", "delete", "ann")
    assert result.exit_code == 1
    assert f"Failed: the file {file} could not be deleted: OSError\n" in result.stderr
    assert secret not in result.output
    again = run(site, "user", "delete", "ann")
    assert (again.exit_code, list(site.files.iterdir())) == (0, [])


def test_export_writes_json_lines(
    site: Site, tmp_path: Path, openai_standin: OpenAIStandIn
) -> None:
    """Each line is a record, on the terminal or in a file."""
    site.add("user:ann", "1")
    site.add("user:bob", "2")
    openai_standin.add_thread("user:ann", title="Hosted")
    result = run(site, "user", "export", "ann")
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in result.stdout.splitlines()]
    kinds = [record["record"] for record in records]
    assert kinds == ["person", "thread", "item", "feedback", "file", "thread"]
    assert [record.get("kept_by") for record in records if record["record"] == "thread"] == [
        "this site",
        "OpenAI",
    ]
    assert "bob" not in result.stdout
    path = tmp_path / "ann.jsonl"
    told = run(site, "user", "export", "ann", str(path)).output
    assert told.startswith(f"Wrote to {path}: ")
    assert "2 threads, 1 item, 1 feedback, 1 file" in told
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text("utf-8").splitlines()) == len(records)


def test_export_tells_what_failed(site: Site) -> None:
    """What could not be read is a record and a line of its own, and the exit status is 1."""
    site.add("user:ann", "1")
    site.app.extensions["chatkit"]["chatkit"].hosted_threads._client._key = "sk-wrong"
    result = run(site, "user", "export", "ann")
    assert result.exit_code == 1
    last = json.loads(result.stdout.splitlines()[-1])
    assert last["record"] == "problem"
    assert "Failed: " in result.stderr
    assert "sk-wrong" not in result.output


@pytest.mark.parametrize(("given", "left"), [("12h", 1), ("2d", 2), ("1w", 3), ("90d", 4), ("", 4)])
def test_prune_by_age(site: Site, given: str, left: int) -> None:
    """Ages are hours, days or weeks; without one only files are pruned."""
    for name, age in (("a", timedelta()), ("b", 1 * DAY), ("c", 3 * DAY), ("d", 8 * DAY)):
        site.add("user:ann", name, age)
    arguments = ["--older-than", given] if given else []
    planned = run(site, "prune", *arguments, "--dry-run")
    assert threads_of(site) == 4
    done = run(site, "prune", *arguments)
    assert (planned.exit_code, done.exit_code) == (0, 0)
    assert threads_of(site) == left
    if given:
        counted = f"{4 - left} thread{'s' * (left != 3)} with {4 - left} item"
        assert counted in planned.output
        assert counted in done.output
    else:
        assert "give --older-than, or set CHATKIT_KEEP_DAYS" in done.output


def test_prune_as_json(site: Site) -> None:
    """With --json the counts are there for a program."""
    site.add("user:ann", "1", 3 * DAY)
    done = json.loads(run(site, "prune", "--older-than", "1d", "--json").stdout)
    assert (done["threads"], done["items"], done["files"], done["problems"]) == (1, 1, 1, [])
    assert done["unused_since"].endswith("+00:00")


@pytest.mark.parametrize("wrong", ["0d", "90", "d", "-1d", "1.5d", "90 days", "1y"])
def test_wrong_ages_are_usage_errors(site: Site, wrong: str) -> None:
    """An age of another form exits with 2, and the accepted form is shown."""
    result = run(site, "prune", "--older-than", wrong)
    assert result.exit_code == 2
    assert "12h, 90d or 2w" in result.output


def test_keep_days_is_the_default_age(make_app: MakeApp, tmp_path: Path) -> None:
    """Without an age the one of CHATKIT_KEEP_DAYS holds."""
    uri = f"sqlite:///{tmp_path}/chat.db"
    site = Site(make_app, uri, tmp_path, CHATKIT_KEEP_DAYS=timedelta(days=2))
    site.add("user:ann", "1", 3 * DAY)
    assert "1 thread with" in run(site, "prune").output
    assert threads_of(site) == 0
    site.store.close()
