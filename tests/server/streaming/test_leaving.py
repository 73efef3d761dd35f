"""An answer that nobody reads any more: how long it goes on, and who may read it then."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator

import pytest
from chatkit.server import StreamingResult
from flask import Flask

from flask_chatkit.server.streaming import loop, stream
from flask_chatkit.server.streaming.stream import Stream
from tests.helpers.served import until
from tests.server.streaming.test_stream import delta


class Talk:
    """What an answer does: it says a word, waits for its turn, and says another one."""

    def __init__(self, leave_seconds: float) -> None:
        self._gate = asyncio.Event()
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        self.stream = Stream(
            loop.current(), Flask("site"), self._process, 30, leave_seconds=leave_seconds
        )

    def go_on(self) -> None:
        """Let it say the last word."""
        loop.current().call(self._gate.set)

    async def _process(self) -> StreamingResult:
        return StreamingResult(self._say())

    async def _say(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"one "
            await self._gate.wait()
            yield b"two"
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.ended.set()


def test_answer_goes_on_for_a_while() -> None:
    """An answer that was left is stopped when its time is over, and not before."""
    talk = Talk(0.5)
    reader = talk.stream.start()
    assert next(reader) == b"one "
    reader.close()
    began = time.monotonic()
    assert talk.cancelled.wait(5)
    assert 0.4 < time.monotonic() - began < 3
    until(lambda: talk.stream.ended)
    assert talk.stream.abandoned
    assert not talk.stream.stopped
    assert talk.stream.attach() is None


def test_whoever_comes_back_reads_it_from_its_start() -> None:
    """A reader that comes in time gets all of the answer, which nobody stops then."""
    talk = Talk(0.3)
    reader = talk.stream.start()
    assert next(reader) == b"one "
    reader.close()
    again = talk.stream.attach()
    assert again is not None
    time.sleep(0.6)
    talk.go_on()
    assert b"".join(again).replace(b": hb\n", b"") == b"one two"
    assert not talk.cancelled.is_set()


def test_each_departure_counts_anew() -> None:
    """Who comes back and leaves again has the whole time once more."""
    talk = Talk(0.6)
    talk.stream.start().close()
    time.sleep(0.4)
    again = talk.stream.attach()
    assert again is not None
    again.close()
    time.sleep(0.4)
    assert not talk.cancelled.is_set()
    assert talk.cancelled.wait(5)


def test_answer_that_ends_meanwhile_is_whole() -> None:
    """An answer that ends while nobody reads it was not stopped."""
    talk = Talk(5)
    talk.stream.start().close()
    talk.go_on()
    until(lambda: talk.stream.ended)
    assert talk.stream.error is None
    assert not talk.stream.abandoned


def test_stop_is_at_once_whoever_reads() -> None:
    """Stop ends the answer for all of its readers, without an error."""
    talk = Talk(30)
    first = talk.stream.start()
    assert next(first) == b"one "
    second = talk.stream.attach()
    assert second is not None
    began = time.monotonic()
    talk.stream.stop()
    assert talk.cancelled.wait(5)
    assert b"error" not in b"".join(first) + b"".join(second)
    assert time.monotonic() - began < 3
    assert talk.stream.stopped


def test_without_a_grace_leaving_stops() -> None:
    """With no time to go on, an answer is stopped when its last reader leaves."""
    talk = Talk(0)
    reader = talk.stream.start()
    assert next(reader) == b"one "
    reader.close()
    assert talk.cancelled.wait(5)


def test_answer_that_waited_for_a_slow_reader_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that a reader held up is written to its end when that reader has left."""
    monkeypatch.setattr(stream, "AHEAD", 1)

    async def say() -> AsyncGenerator[bytes, None]:
        for number in range(2000):
            yield b"%d " % number
            await asyncio.sleep(0)

    async def process() -> StreamingResult:
        return StreamingResult(say())

    answer = Stream(loop.current(), Flask("site"), process, 30, leave_seconds=10)
    reader = answer.start()
    time.sleep(0.3)
    assert not answer.ended
    reader.close()
    until(lambda: answer.ended)
    assert answer.error is None


def test_long_text_stays_whole_for_whoever_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many small deltas the text is kept; what can't be kept is read from now on."""
    monkeypatch.setattr(stream, "MAX_REPLAY_BYTES", 20_000)
    gate, is_text = asyncio.Event(), True

    async def say() -> AsyncGenerator[bytes, None]:
        for number in range(1000):
            other = b'data: {"type":"progress_update","text":"%d"}\n\n' % number
            yield delta(f"w{number} ") if is_text else other
            if number % 50 == 0:
                await asyncio.sleep(0.001)
        await gate.wait()
        yield delta("end")

    async def process() -> StreamingResult:
        return StreamingResult(say())

    for is_text in (True, False):
        gate = asyncio.Event()
        answer = Stream(loop.current(), Flask("site"), process, 30, leave_seconds=10)
        answer.start().close()
        time.sleep(1)
        again = answer.attach()
        assert again is not None
        loop.current().call(gate.set)
        events = [
            json.loads(line[6:])
            for line in b"".join(again).splitlines()
            if line.startswith(b"data")
        ]
        text = "".join(event["update"]["delta"] for event in events if "update" in event)
        expected = "".join(f"w{number} " for number in range(1000)) if is_text else ""
        assert text == expected + "end"
        assert len(events) < 500 if is_text else len(events) == 1
