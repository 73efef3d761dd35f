"""OpenAI's threads as JSON Lines: written as they are read, and gone on with after a break."""

from __future__ import annotations

import io
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from flask_chatkit import ChatKit
from flask_chatkit.errors import UpstreamRejected
from flask_chatkit.hosted.client import Client
from flask_chatkit.hosted.export import FileFormError, export_threads, last_place, read_lines
from flask_chatkit.hosted.threads import HostedThreads
from flask_chatkit.testing import Failure, OpenAIStandIn, assistant_message, user_message
from tests.helpers.sites import MakeApp


@pytest.fixture
def hosted(openai_standin: OpenAIStandIn) -> HostedThreads:
    base = openai_standin.api_base
    return HostedThreads(Client(api_key="sk-standin", base=base, timeout=(1.0, 2.0)))


def fill(openai: OpenAIStandIn, threads: int = 3, items: int = 2) -> None:
    for number in range(threads):
        said = [user_message(f"{number}.{place}") for place in range(items)]
        openai.add_thread(f"user:{number % 2}", title=str(number), items=said)


def expected(openai: OpenAIStandIn) -> list[dict[str, Any]]:
    """What an export has to hold, in order."""
    lines: list[dict[str, Any]] = []
    for name, thread in openai.threads.items():
        lines += [thread, *openai.items(name)]
    return lines


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_line_is_what_openai_sends(
    openai_standin: OpenAIStandIn, hosted: HostedThreads
) -> None:
    """A thread's line comes before those of its items, each just as OpenAI sends it."""
    fill(openai_standin)
    file = io.StringIO()
    done = export_threads(hosted, file)
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert lines == expected(openai_standin)
    assert (done.threads, done.items, done.resumed_after) == (3, 6, None)


def test_one_person(openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path) -> None:
    """The threads of one person are exported alone, also by a bare login id."""
    fill(openai_standin)
    kit = ChatKit()
    with make_app(kit).app_context():
        done = kit.export_threads(tmp_path / "one.jsonl", user="1")
    assert done.threads == 1
    assert read(tmp_path / "one.jsonl")[0]["user"] == "user:1"


@pytest.mark.parametrize("zone", [None, timezone.utc])
def test_since(openai_standin: OpenAIStandIn, hosted: HostedThreads, zone: Any) -> None:
    """Only threads that were begun at a time or later are exported; without a zone it is UTC."""
    for day in (1, 2, 3):
        at = datetime(2026, 1, day, tzinfo=timezone.utc).timestamp()
        openai_standin.add_thread("user:ann", title=str(day), created_at=int(at))
    file = io.StringIO()
    export_threads(hosted, file, since=datetime(2026, 1, 2, tzinfo=zone))
    assert [json.loads(line)["title"] for line in file.getvalue().splitlines()] == ["2", "3"]


def test_break_at_any_byte_is_gone_on_with(
    openai_standin: OpenAIStandIn, hosted: HostedThreads, tmp_path: Path
) -> None:
    """However much of a file was written, going on makes it what one export would have made."""
    fill(openai_standin, threads=2, items=2)
    whole = io.StringIO()
    export_threads(hosted, whole)
    text = whole.getvalue()
    path = tmp_path / "export.jsonl"
    for end in range(0, len(text), 37):
        path.write_text(text[:end], "utf-8")
        place = last_place(path)
        with path.open("a", encoding="utf-8") as file:
            export_threads(hosted, file, place=place)
        assert path.read_text("utf-8") == text, end


def test_what_is_in_the_file_is_not_fetched_again(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """A second export to a file asks for what is new only."""
    fill(openai_standin, threads=30, items=1)
    kit = ChatKit()
    path = tmp_path / "export.jsonl"
    with make_app(kit).app_context():
        kit.export_threads(path)
        before = len(openai_standin.requests)
        fill(openai_standin, threads=1)
        again = kit.export_threads(path)
    assert (again.threads, again.items) == (1, 2)
    assert len(openai_standin.requests) - before == 3
    assert read(path) == expected(openai_standin)


def test_thread_that_was_deleted_meanwhile(
    openai_standin: OpenAIStandIn, hosted: HostedThreads, tmp_path: Path
) -> None:
    """Where the last thread of a file is gone at OpenAI, the younger ones follow it."""
    clock = iter(range(1_700_000_000, 1_800_000_000))
    openai_standin._state.clock = lambda: float(next(clock))
    fill(openai_standin, threads=3)
    path = tmp_path / "export.jsonl"
    with path.open("w", encoding="utf-8") as file:
        export_threads(hosted, file)
    hosted.delete(list(openai_standin.threads)[-1])
    fill(openai_standin, threads=1)
    with path.open("a", encoding="utf-8") as file:
        done = export_threads(hosted, file, place=last_place(path))
    assert (done.threads, done.items) == (1, 2)
    assert len([line for line in read(path) if line["object"] == "chatkit.thread"]) == 4


def test_what_was_written_before_a_failure_stays(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """When OpenAI refuses in the middle, the file has all that came before, and is gone on with."""
    fill(openai_standin, threads=5)
    third = list(openai_standin.threads)[2]
    openai_standin.fail(Failure(status=401), path=f"/chatkit/threads/{third}/items")
    kit = ChatKit()
    path = tmp_path / "export.jsonl"
    with make_app(kit).app_context():
        with pytest.raises(UpstreamRejected):
            kit.export_threads(path)
        assert read(path) == expected(openai_standin)[:7]
        kit.export_threads(path)
    assert read(path) == expected(openai_standin)


def test_thread_that_is_not_whole_is_named(
    openai_standin: OpenAIStandIn,
    hosted: HostedThreads,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An item that is too large to be read ends its thread, which is named, and not the export."""
    monkeypatch.setattr("flask_chatkit.hosted.threads.MAX_PAGE_BYTES", 1000)
    monkeypatch.setattr("flask_chatkit.hosted.threads.MAX_ENTRY_BYTES", 2000)
    large = openai_standin.add_thread("user:ann", items=[user_message("x" * 3000)])
    openai_standin.add_thread("user:ann", items=[user_message("small")])
    path = tmp_path / "export.jsonl"
    with path.open("w", encoding="utf-8") as file:
        done = export_threads(hosted, file)
    assert done.cut == [large]
    assert [line["object"] for line in read(path)] == [
        "chatkit.thread",
        "chatkit.thread",
        "chatkit.thread_item",
    ]


def test_texts_of_all_kinds(
    openai_standin: OpenAIStandIn, hosted: HostedThreads, tmp_path: Path
) -> None:
    """Line ends, halves of characters and NUL in texts leave a line a line."""
    text = "a\u2028b\r\n\x00 \ud83d"
    openai_standin.add_thread("user:ann", items=[user_message(text), assistant_message("b")])
    path = tmp_path / "export.jsonl"
    with path.open("w", encoding="utf-8") as file:
        export_threads(hosted, file)
    with path.open("rb") as opened:
        lines = list(read_lines(opened, path.name))
    assert lines == expected(openai_standin)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("no json\n", "line 1"),
        ('{"object":"list"}\n', "'object'"),
        ('{"object":"chatkit.thread"}\n', "'id'"),
        ('{"object":"chatkit.thread_item","id":"i","thread_id":"t"}\n', "begins with an item"),
        ("[]\n", "line 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, named: str) -> None:
    """A file that is no export is refused, and left as it is."""
    path = tmp_path / "other.txt"
    path.write_text(content, "utf-8")
    with pytest.raises(FileFormError, match=named):
        last_place(path)
    assert path.read_text("utf-8") == content


@pytest.mark.parametrize("missing", [True, False])
def test_file_that_has_nothing_yet(tmp_path: Path, missing: bool) -> None:
    """An export begins in a file that is missing or empty."""
    path = tmp_path / "new.jsonl"
    if not missing:
        path.touch()
    assert last_place(path) is None


def test_wrong_line_is_named() -> None:
    """What is read from a file of another form is refused with the number of the line."""
    lines = ['{"object":"chatkit.thread","id":"t"}', "", "oops"]
    with pytest.raises(FileFormError, match=r"x\.jsonl, line 3"):
        list(read_lines(lines, "x.jsonl"))


@pytest.mark.parametrize("content", [b"my only copy", b'{"a": 1}', b"x" * 100_000, b"one\ntwo"])
def test_file_that_is_no_export_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """A file of somebody's own, with or without line ends, is refused and not a byte is changed."""
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(FileFormError):
        last_place(path)
    assert path.read_bytes() == content


def test_export_is_for_its_owners_eyes(
    openai_standin: OpenAIStandIn, make_app: MakeApp, tmp_path: Path
) -> None:
    """A new file, which holds everybody's messages, can be read by its owner only."""
    kit = ChatKit()
    with make_app(kit).app_context():
        kit.export_threads(tmp_path / "export.jsonl")
    assert (tmp_path / "export.jsonl").stat().st_mode & 0o077 == 0
