"""``flask chatkit threads``: what is printed, in words and as JSON, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_chatkit import ChatKit
from flask_chatkit.testing import Failure, OpenAIStandIn, assistant_message, user_message
from tests.helpers.sites import MakeApp


def everybody(user: str) -> str:
    """What ``--map-users`` names."""
    return f"user:{user.upper()}"


@pytest.fixture
def app(make_app: MakeApp, tmp_path: Path) -> Flask:
    """A site that serves its chat by now."""
    kit = ChatKit()
    kit.assistant()(lambda message, _chat: message.text)
    return make_app(kit, CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/history.sqlite3")


@pytest.fixture
def threads(app: Flask) -> Any:
    """Run a command."""

    def run(*args: str) -> Any:
        return app.test_cli_runner().invoke(args=["chatkit", "threads", *map(str, args)])

    return run


def test_export_import_and_migrate(
    openai_standin: OpenAIStandIn, threads: Any, tmp_path: Path
) -> None:
    """The commands say what they did in words, and repeating them changes nothing."""
    items = [user_message("Hello"), assistant_message("Hi")]
    openai_standin.add_thread("user:ann", items=items)
    file = tmp_path / "hosted.jsonl"
    exported = threads("export", file)
    assert exported.output == f"Wrote 1 thread and 2 items to {file}.\n"
    imported = threads("import", file)
    assert imported.output == (
        "Carried 1 thread with 2 items and 0 files into the chat 'default'.\n"
    )
    again = threads("migrate")
    assert "Carried 0 threads with 0 items" in again.output
    assert "1 thread and 0 items were there before." in again.output
    assert [result.exit_code for result in (exported, imported, again)] == [0, 0, 0]


def test_export_prints_lines_alone(openai_standin: OpenAIStandIn, threads: Any) -> None:
    """Without a file the lines are printed, and what was done goes to standard error."""
    openai_standin.add_thread("user:ann", items=[user_message("Hello")])
    result = threads("export", "--user", "ann")
    kinds = [json.loads(line)["object"] for line in result.stdout.splitlines()]
    assert kinds == ["chatkit.thread", "chatkit.thread_item"]
    assert "Wrote 1 thread" in result.stderr


def test_json(openai_standin: OpenAIStandIn, threads: Any, tmp_path: Path) -> None:
    """A program reads one object."""
    openai_standin.add_thread("user:ann", items=[user_message("Hello"), {"type": "odd"}])
    file = tmp_path / "hosted.jsonl"
    exported = json.loads(threads("export", "--json", file).stdout)
    assert exported == {"threads": 1, "items": 2, "resumed_after": None, "cut": []}
    result = threads("import", "--json", file)
    told = json.loads(result.stdout)
    assert (told["threads"], told["items"], told["chat"]) == (1, 1, "default")
    (problem,) = told["problems"]
    assert problem["lost"] is True
    assert problem["item"].startswith("cthi_")
    assert result.exit_code == 1


def test_what_is_lost_is_named(openai_standin: OpenAIStandIn, threads: Any) -> None:
    """What could not be carried is named with its ids and the reason, and the exit status is 1."""
    thread = openai_standin.add_thread("user:ann", items=[{"type": "odd"}])
    item = openai_standin.items(thread)[0]["id"]
    result = threads("migrate")
    assert result.exit_code == 1
    assert f"thread {thread}, item {item}: type: it is none of" in result.output
    assert "Hello" not in result.output


def test_dry_run(openai_standin: OpenAIStandIn, threads: Any) -> None:
    """A dry run says what it would do."""
    openai_standin.add_thread("user:ann", items=[user_message("Hello")])
    assert "Would carry 1 thread with 1 item and" in threads("migrate", "--dry-run").output
    assert "Carried 1 thread with 1 item and" in threads("migrate").output


def test_map_users(openai_standin: OpenAIStandIn, threads: Any) -> None:
    """A function of the site's makes people of users whom other code named."""
    openai_standin.add_thread("ann")
    result = threads("migrate", "--map-users", f"{__name__}:everybody")
    assert result.exit_code == 0
    assert "Carried 1 thread" in result.output


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["migrate", "--since", "yesterday"], "2026-01-31"),
        (["migrate", "--map-users", "nothing:here"], "module:function"),
        (["migrate", "--map-users", "json.loads"], "module:function"),
        (["migrate", "--chat", "sales"], "served are: default"),
        (["migrate", "--user", ""], "user:<login id>"),
        (["import", "/no/such/file"], "No such file"),
        (["import"], "FILE"),
    ],
)
def test_wrong_calls(threads: Any, args: list[str], named: str) -> None:
    """A wrong call exits with 2, and the message has the accepted form."""
    result = threads(*args)
    assert result.exit_code == 2
    assert named in result.output


def test_file_of_another_form(threads: Any, tmp_path: Path) -> None:
    """A file that is no export is refused with its line, in one line."""
    file = tmp_path / "other.txt"
    file.write_text("oops\n", "utf-8")
    result = threads("import", file)
    assert result.exit_code == 1
    assert "other.txt, line 1: it is no JSON" in result.output
    assert "Traceback" not in result.output


def test_openais_refusal(openai_standin: OpenAIStandIn, threads: Any) -> None:
    """When OpenAI refuses, the command exits with 1 and says so, without a key."""
    openai_standin.fail(Failure(status=401), times=9)
    result = threads("migrate")
    assert result.exit_code == 1
    assert "refused" in result.output
    assert "sk-" not in result.output


def test_hosted_chat_is_refused(make_app: MakeApp) -> None:
    """While the chat is hosted still, the setting to switch with is named."""
    run = make_app(ChatKit()).test_cli_runner()
    result = run.invoke(args=["chatkit", "threads", "migrate"])
    assert result.exit_code == 2
    assert "CHATKIT_SERVER" in result.output


def test_since(openai_standin: OpenAIStandIn, threads: Any) -> None:
    """Only threads that were begun since are carried."""
    openai_standin.add_thread("user:ann", created_at=1_700_000_000)
    openai_standin.add_thread("user:ann", created_at=1_800_000_000)
    assert "Carried 1 thread " in threads("migrate", "--since", "2026-01-01T00:00Z").output


def test_export_that_fails_at_once_leaves_no_file(
    openai_standin: OpenAIStandIn, threads: Any, tmp_path: Path
) -> None:
    """An empty file would pass for the only copy; what an earlier run has written stays."""
    file = tmp_path / "hosted.jsonl"
    openai_standin.fail(Failure(status=401), times=1)
    assert threads("export", file).exit_code == 1
    assert not file.exists()
    openai_standin.add_thread("user:ann", items=[user_message("Hello")])
    assert threads("export", file).exit_code == 0
    before = file.read_bytes()
    openai_standin.fail(Failure(status=401), times=9)
    assert threads("export", file).exit_code == 1
    assert file.read_bytes() == before
