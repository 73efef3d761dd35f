"""The bridge: from one asynchronous task to what a WSGI server writes."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from chatkit.server import NonStreamingResult, StreamingResult
from chatkit.types import AssistantMessageContentPartTextDelta, ThreadItemUpdatedEvent
from flask import Flask, current_app, has_request_context

from flask_chatkit.server.streaming import loop, stream
from flask_chatkit.server.streaming.pacing import AT_A_BEAT, Beat
from flask_chatkit.server.streaming.sse import HEARTBEAT, merged
from flask_chatkit.server.streaming.stream import Stream


def until(holds: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.01)


def answering(
    talk: Callable[[], AsyncGenerator[bytes, None]], app: Flask | None = None, seconds: float = 30
) -> Stream:
    """An answer that a generator gives."""

    async def process() -> StreamingResult:
        return StreamingResult(talk())

    return Stream(loop.current(), app or Flask("site"), process, seconds)


def test_everything_said_arrives_in_order() -> None:
    """What was said since the last time comes at once, and then the end."""

    async def talk() -> AsyncGenerator[bytes, None]:
        for number in range(500):
            yield b"%d " % number
            if number % 100 == 0:
                await asyncio.sleep(0.01)

    reader = answering(talk).start()
    said = list(reader)
    assert b"".join(said).split() == [b"%d" % number for number in range(500)]
    assert len(said) < 500


def delta(text: str, item: str = "msg_1", index: int = 0) -> bytes:
    """A delta, written as ChatKitServer writes it."""
    update = AssistantMessageContentPartTextDelta(content_index=index, delta=text)
    said = ThreadItemUpdatedEvent(item_id=item, update=update)
    return b"data: " + said.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([delta("a")], [delta("a")]),
        ([delta("a"), delta("b"), delta("c")], [delta("abc")]),
        (
            [delta('say "'), delta("b\\"), delta('"\n'), delta("ü\u2028")],
            [delta('say "b\\"\nü\u2028')],
        ),
        ([delta(""), delta("x")], [delta("x")]),
        ([delta("a"), delta("b", "msg_2"), delta("c")], None),
        ([delta("a"), delta("b", index=1)], None),
        ([delta("a"), b'data: {"type":"error"}\n\n', delta("b"), delta("c")], 3),
        ([delta("a"), delta("b"), delta("c", "msg_10"), delta("d", "msg_1")], 3),
        # A site's own server may write as it likes.
        ([b'data: {"type": "thread.item.updated"}\n\n'] * 2, None),
        ([delta("a"), delta("b").replace(b'"}}', b'","more":"x"}}')], None),
        ([delta("a").replace(b'"}}', b'","more":"x"}}'), delta("b")], None),
        ([delta("a"), delta("b")[:-1]], None),
    ],
)
def test_deltas_that_wait_are_merged(events: list[bytes], expected: Any) -> None:
    """Deltas of one text that follow each other become one, and nothing else changes."""
    said = merged(events)
    if isinstance(expected, int):
        assert said.count(b"data: ") == expected
    else:
        assert said == b"".join(events if expected is None else expected)
    if isinstance(expected, (list, int)):
        texts = [
            [json.loads(event[6:]).get("update", {}).get("delta", "|") for event in one]
            for one in (events, [part + b"\n\n" for part in said.split(b"\n\n")[:-1]])
        ]
        assert "".join(texts[0]) == "".join(texts[1])


def test_slow_moments_cost_less() -> None:
    """What an answer says while its reader waits comes in few events, with all of its words."""

    async def talk() -> AsyncGenerator[bytes, None]:
        for number in range(400):
            yield delta(f"{number} ")
            if number % 4 == 0:
                await asyncio.sleep(0)

    reader = answering(talk).start()
    time.sleep(0.4)
    waited = next(reader)
    assert waited.count(b"data: ") == 1
    said = b"".join([waited, *reader])
    assert words_of(said) == [str(number) for number in range(400)]


def words_of(said: bytes) -> list[str]:
    """The words of all deltas."""
    events = [json.loads(event[6:]) for event in said.split(b"\n\n")[:-1]]
    return "".join(event["update"]["delta"] for event in events).split()


def test_nothing_is_merged_while_nobody_is_late() -> None:
    """Deltas that are said at once, to somebody who listens, stay as they were said."""

    async def talk() -> AsyncGenerator[bytes, None]:
        for number in range(6):
            yield delta(f"{number} ")

    for _ in range(5):
        said = b"".join(answering(talk).start())
        assert words_of(said) == [str(number) for number in range(6)]
        if said.count(b"data: ") == 6:
            return
    raise AssertionError("this process was late five times")


def test_few_are_handed_on_at_a_time() -> None:
    """A beat hands on so many, the longest waiting first, and who has waited long in any case."""
    handed: list[int] = []
    counts: list[int] = []

    async def go() -> None:
        beat = Beat()
        for number in range(3 * AT_A_BEAT):
            beat.add(lambda number=number: handed.append(number), 0)  # type: ignore[misc]
        while len(handed) < 3 * AT_A_BEAT:
            await asyncio.sleep(0.001)
            counts.append(len(handed))

    asyncio.run(go())
    assert handed == list(range(3 * AT_A_BEAT))
    assert {count % AT_A_BEAT for count in counts} == {0}
    assert len(set(counts)) > 1


def test_json_is_one_piece() -> None:
    """An answer that is no stream is handed on whole."""

    async def process() -> NonStreamingResult:
        return NonStreamingResult(b'{"a":1}')

    assert list(Stream(loop.current(), Flask("site"), process, 5).start()) == [b'{"a":1}']


def test_silence_is_filled_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat is a comment of one line, which ends no event."""
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.02)

    async def talk() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.2)
        yield b"data: {}\n\n"

    said = list(answering(talk).start())
    assert said[0] == HEARTBEAT == b": hb\n"
    assert said[-1] == b"data: {}\n\n"


def test_many_answers_have_fewer_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousand answers under way a silence may be longer before it is filled."""
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(stream, "HEARTBEAT_PACE", 0.5)

    async def talk() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.2)
        yield b"data: {}\n\n"

    reader = answering(talk).start()
    until(lambda: loop.current().busy)
    assert list(reader) == [b"data: {}\n\n"]


def test_answer_waits_for_a_slow_reader() -> None:
    """A reader that does not read holds the answer up, and loses nothing of it."""
    made = []

    async def talk() -> AsyncGenerator[bytes, None]:
        for number in range(1000):
            made.append(number)
            yield b"x"

    reader = answering(talk).start()
    until(lambda: len(made) > stream.AT_ONCE)
    time.sleep(0.1)
    assert len(made) <= stream.AT_ONCE + (stream.AHEAD + 1) * stream.HELD
    assert b"".join(reader) == b"x" * 1000


def test_leaving_cancels_the_task() -> None:
    """When the client has gone the code that answers is cancelled, and may store its words."""
    told: list[str] = []

    async def talk() -> AsyncGenerator[bytes, None]:
        yield b"a"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            told.append("stored")
            raise

    reader = answering(talk).start()
    assert next(reader) == b"a"
    reader.close()
    until(lambda: told == ["stored"])
    assert reader.stream.abandoned


def test_leaving_while_the_answer_waits_is_told_to_it() -> None:
    """Code that is held up by a slow client learns of its leaving where it can store its words."""
    told: list[str] = []

    async def talk() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            told.append("stored")
            raise

    reader = answering(talk).start()
    until(lambda: reader.queue.qsize() > stream.AHEAD)
    time.sleep(0.1)
    reader.close()
    until(lambda: told == ["stored"])


def test_second_listener_keeps_it_alive() -> None:
    """While one client listens, another one's leaving stops nothing; both hear everything."""

    async def talk() -> AsyncGenerator[bytes, None]:
        for _ in range(5):
            yield b"x"
            await asyncio.sleep(0.02)

    answer = answering(talk)
    first = answer.start()
    next(first)
    second = answer.subscribe()
    assert second is not None
    first.close()
    assert b"".join(part for part in second if part != HEARTBEAT) == b"xxxxx"
    late = answer.subscribe()
    assert late is not None
    assert b"".join(late) == b"xxxxx"


def test_hanging_client_holds_up_nobody_else() -> None:
    """A second client, which has come because the first one's connection hangs, hears it all."""

    async def talk() -> AsyncGenerator[bytes, None]:
        for _ in range(2000):
            yield b"x"
            await asyncio.sleep(0)

    answer = answering(talk)
    first = answer.start()
    next(first)
    second = answer.subscribe()
    assert second is not None
    said = b"".join(part for part in second if part != HEARTBEAT)
    assert said == b"x" * 2000
    first.close()


def test_leaving_of_one_lets_the_other_go_on() -> None:
    """An answer that waits for two clients goes on for the one that stays."""

    async def talk() -> AsyncGenerator[bytes, None]:
        for _ in range(2000):
            yield b"x"
            await asyncio.sleep(0)

    answer = answering(talk)
    first = answer.start()
    second = answer.subscribe()
    assert second is not None
    until(lambda: first.queue.qsize() > stream.AHEAD)
    time.sleep(0.1)
    first.close()
    assert b"".join(part for part in second if part != HEARTBEAT) == b"x" * 2000


def test_failure_after_the_promise_of_a_stream_is_told() -> None:
    """A failure without a word is told in the stream, once the client was promised one."""

    async def talk() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.2)
        raise RuntimeError("of the cause")
        yield b""

    reader = answering(talk).start()
    assert not reader.wait_first(0.01)
    assert reader.stream.commit_headers()
    said = [part for part in reader if part != HEARTBEAT]
    assert said == [b'data: {"type":"error","code":"stream.error","allow_retry":true}\n\n']


def test_long_answers_are_ended() -> None:
    """An answer that takes too long is cancelled, and the visitor is told in words."""

    async def talk() -> AsyncGenerator[bytes, None]:
        yield b"a"
        await asyncio.sleep(60)

    said = b"".join(answering(talk, seconds=0.1).start())
    assert said.startswith(b"a")
    assert b"took too long" in said
    assert said.endswith(b"\n\n")


def test_failure_after_the_first_word_is_an_event(caplog: pytest.LogCaptureFixture) -> None:
    """Once something was said a failure is told in the stream, and nothing of its cause."""

    async def talk() -> AsyncGenerator[bytes, None]:
        yield b"data: {}\n\n"
        raise RuntimeError("of the cause")

    said = b"".join(answering(talk).start())
    assert said == (
        b'data: {}\n\ndata: {"type":"error","code":"stream.error","allow_retry":true}\n\n'
    )
    assert "of the cause" in caplog.text


def test_failure_before_the_first_word_is_kept() -> None:
    """A failure before anything was said is for the endpoint to answer."""

    async def talk() -> AsyncGenerator[bytes, None]:
        raise KeyError("x")
        yield b""

    reader = answering(talk).start()
    assert reader.wait_first(5)
    assert reader.is_empty
    assert isinstance(reader.stream.error, KeyError)


def test_exit_of_a_sites_code_ends_nothing_else() -> None:
    """Code that calls sys.exit fails alone: the loop goes on for everybody else."""

    async def leave() -> AsyncGenerator[bytes, None]:
        sys.exit(3)
        yield b""

    async def talk() -> AsyncGenerator[bytes, None]:
        yield b"still here"

    assert list(answering(leave).start()) == []
    assert list(answering(talk).start()) == [b"still here"]


def test_application_context_and_nothing_of_the_request() -> None:
    """The code that answers has the application and a context of its own, and no request."""
    app = Flask("site")
    leaked: contextvars.ContextVar[str] = contextvars.ContextVar("leaked", default="none")

    async def talk() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0)
        yield f"{current_app.name} {has_request_context()} {leaked.get()}".encode()

    with app.test_request_context("/"):
        leaked.set("from the request")
        reader = answering(talk, app).start()
    assert b"".join(reader) == b"site False none"


def test_what_an_answer_leaves_behind_is_cancelled() -> None:
    """No task is left of an answer that was stopped, whatever its code has started."""
    begun = threading.Event()

    async def talk() -> AsyncGenerator[bytes, None]:
        async def forever() -> None:
            await asyncio.sleep(3600)

        helper = asyncio.create_task(forever())
        begun.set()
        yield b"a"
        await helper

    async def count() -> int:
        return len(asyncio.all_tasks())

    # The loop is the process's: tests before this one may have left tasks of their own.
    before = loop.current().run(count, 5)
    for _ in range(50):
        reader = answering(talk).start()
        next(reader)
        reader.close()
    until(lambda: loop.current().run(count, 5) <= before)


def test_background_work_outlives_a_good_answer() -> None:
    """A task that a site's code starts and does not wait for goes on after a good answer."""
    done = threading.Event()

    async def talk() -> AsyncGenerator[bytes, None]:
        async def later() -> None:
            await asyncio.sleep(0.05)
            done.set()

        task = asyncio.create_task(later())
        yield str(task.done()).encode()

    assert list(answering(talk).start()) == [b"False"]
    assert done.wait(5)


def test_stalling_code_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that blocks the loop, and so every other chat, is told in the log."""
    monkeypatch.setattr(loop, "STALL_SECONDS", 0.1)

    async def talk() -> AsyncGenerator[bytes, None]:
        for _ in range(3):
            await asyncio.sleep(0.06)
            time.sleep(0.4)  # noqa: ASYNC251 - on purpose
        yield b"a"

    with caplog.at_level(logging.WARNING, "flask_chatkit"):
        list(answering(talk).start())
        until(lambda: "blocks the event loop" in caplog.text)


def test_call_that_takes_too_long_is_cancelled() -> None:
    """Who waits for a result is not kept longer than they said, and the work is stopped."""
    stopped = threading.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    with pytest.raises(loop.LoopTimeout):
        loop.current().run(slow, 0.05)
    assert stopped.wait(5)


SCRIPT = """
import asyncio, os, sys, threading, time
from chatkit.server import StreamingResult
from flask import Flask
from flask_chatkit.server.streaming import loop
from flask_chatkit.server.streaming.stream import Stream

async def process():
    async def talk():
        yield b"a"
        {body}
    return StreamingResult(talk())

def reader():
    return Stream(loop.current(), Flask("site"), process, 30).start()
"""


def run(body: str, rest: str) -> subprocess.CompletedProcess[str]:
    code = SCRIPT.format(body=body) + textwrap.dedent(rest)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_process_has_a_loop_of_its_own() -> None:
    """A process that is forked after the loop has run starts a loop of its own."""
    done = run(
        "yield b'b'",
        """
        assert b"".join(reader()) == b"ab"
        for _ in range(2):
            if os.fork():
                os.wait()
                break
            assert b"".join(reader()) == b"ab"
        print("well", flush=True)
        """,
    )
    assert done.stdout.splitlines() == ["well"] * 3, done.stderr


def test_end_of_the_process_lets_answers_store_their_words() -> None:
    """When the process ends, an answer under way gets a moment, and is cancelled then."""
    done = run(
        """
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            print("stored", flush=True)
        """.replace("\n        ", "\n        ").strip(),
        """
        loop.GRACE_SECONDS = 0.2
        assert next(reader()) == b"a"
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["stored"], done.stderr
    assert "Task was destroyed" not in done.stderr


def test_loop_holds_on_to_nothing() -> None:
    """An answer that is over is not kept by the loop."""

    class Weight:
        alive = 0

        def __init__(self) -> None:
            Weight.alive += 1

        def __del__(self) -> None:
            Weight.alive -= 1

    def one() -> None:
        weight: Any = Weight()

        async def talk() -> AsyncGenerator[bytes, None]:
            yield str(weight is None).encode()

        list(answering(talk).start())

    for _ in range(5):
        one()
    until(lambda: gc.collect() is not None and Weight.alive <= 1)
