"""What a site starts once in each process, before its first answer."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app

from flask_chatkit import ChatKit
from flask_chatkit.errors import ConfigurationError
from flask_chatkit.server.streaming import loop, startup
from flask_chatkit.server.streaming.startup import Startup
from tests.helpers.served import Client, said, visit
from tests.helpers.sites import told as refused_with


def make_kit(folder: Path) -> ChatKit:
    """A kit with a chat that says what was started."""
    kit = ChatKit(store=f"sqlite:///{folder}/history.sqlite3")

    @kit.assistant()
    def answer(message: Any, chat: Any) -> str:
        return str(current_app.config["STARTED"])

    return kit


def visitor_of(make_app: Any, browse: Any, kit: ChatKit) -> Client:
    """A visitor of an application with a kit."""
    return visit(
        browse(make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_LEAVE_SECONDS=0, STARTED=[]))
    )


def say(visitor: Client, number: int = 0) -> Any:
    """Say something; what was answered, or the error."""
    told = visitor.stream("threads.create", input=said(f"go {number}"))
    items = [one["item"] for one in told if one["type"] == "thread.item.done"]
    return items[-1]["content"][0]["text"] if len(items) > 1 else told[-1]


def test_functions_run_once_before_the_first_answer(
    make_app: Any, browse: Any, tmp_path: Path
) -> None:
    """Sync or async, in order, on the loop, in the application; answers at once wait for them."""
    kit = make_kit(tmp_path)
    threads = []

    @kit.on_startup
    async def first() -> None:
        await asyncio.sleep(0.05)
        current_app.config["STARTED"].append("first")

    @kit.on_startup
    def second() -> None:
        assert asyncio.get_running_loop() is loop.current()._loop
        threads.append(threading.current_thread().name)
        current_app.config["STARTED"].append("second")

    for _ in range(2):
        # On two applications it runs twice.
        visitor = visitor_of(make_app, browse, kit)
        with ThreadPoolExecutor(3) as visitors:
            answers = set(visitors.map(lambda n, who=visitor: say(who, n), range(3)))
        assert answers == {"['first', 'second']"}
    assert threads == ["flask_chatkit"] * 2


def test_tasks_outlive_the_answer(make_app: Any, browse: Any, tmp_path: Path) -> None:
    """A task that was started there goes on when the visitor of the first answer has stopped."""
    kit = ChatKit(store=f"sqlite:///{tmp_path}/history.sqlite3")
    tasks: list[asyncio.Task[None]] = []
    in_app: list[str] = []
    begun, stopped = threading.Event(), threading.Event()

    async def tick() -> None:
        await asyncio.sleep(0)
        in_app.append(current_app.name)
        await asyncio.Event().wait()

    @kit.on_startup
    def begin() -> None:
        tasks.append(asyncio.create_task(tick()))

    @kit.assistant()
    async def answer(message: Any, chat: Any) -> Any:
        try:
            yield "Hel"
            begun.set()
            await asyncio.Event().wait()
        finally:
            stopped.set()

    visitor = visitor_of(make_app, browse, kit)
    body = {"type": "threads.create", "params": {"input": said("go")}}
    answering = visitor.send(body, stream=True)
    assert begun.wait(10)
    answering.close()
    assert stopped.wait(10)
    (task,) = tasks
    assert not task.done()
    assert in_app == ["site"]
    loop.current().call(task.cancel)


def test_failure_is_told_and_tried_again(
    make_app: Any, browse: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception is in the log, the visitor reads an error, and the next answer tries again."""
    kit = make_kit(tmp_path)
    tries: list[str] = []

    @kit.on_startup
    def well() -> None:
        tries.append("well")

    @kit.on_startup
    async def connect() -> None:
        tries.append("connect")
        if tries.count("connect") < 3:
            raise OSError("no database at 10.0.0.7")

    visitor = visitor_of(make_app, browse, kit)
    error = say(visitor, 1)
    assert (error["type"], error["code"], error["allow_retry"]) == ("error", "stream.error", True)
    assert len([one for one in caplog.records if "connect has failed" in one.getMessage()]) == 1
    answer = visitor.post("threads.update", thread_id="thr_1", title="New")
    refused_with(answer, 503, "upstream_unavailable")
    assert say(visitor, 2) == "[]"
    assert tries == ["well", "connect", "connect", "connect"]


def test_it_may_not_take_for_ever(
    make_app: Any,
    browse: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What takes too long is cancelled, and the visitor reads an error."""
    monkeypatch.setattr(startup, "STARTUP_SECONDS", 0.05)
    kit = make_kit(tmp_path)
    cancelled = threading.Event()

    @kit.on_startup
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    assert say(visitor_of(make_app, browse, kit))["code"] == "stream.error"
    assert cancelled.wait(5)
    assert "hang took more than 0.05 seconds" in caplog.text


def test_factory_comes_after_it(make_app: Any, browse: Any, tmp_path: Path) -> None:
    """A factory of a server finds what was started."""
    from tests.helpers.served import Shop

    kit = ChatKit(store=f"sqlite:///{tmp_path}/history.sqlite3")
    kit.on_startup(lambda: current_app.config["STARTED"].append("pool"))

    def make(store: Any) -> Shop:
        assert current_app.config["STARTED"] == ["pool"]
        return Shop(store)

    kit.add_server("default", make)
    assert say(visitor_of(make_app, browse, kit)) == "You said go 0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_each_process_starts_and_ends_its_own(tmp_path: Path) -> None:
    """In a fork it runs anew, and what comes after the yield runs when its loop ends."""
    app = Flask("site")
    log = tmp_path / "log.txt"

    async def resource() -> Any:
        with log.open("a") as file:
            print("begin", os.getpid() == parent, file=file, flush=True)
        try:
            yield
        finally:
            with log.open("a") as file:
                print("end", os.getpid() == parent, current_app.name, file=file, flush=True)

    async def start() -> None:
        await made.run(app)
        await made.run(app)

    parent, made = os.getpid(), Startup([resource])
    loop.current().run(start, 10)
    if (child := os.fork()) == 0:
        try:
            loop.current().run(start, 10)
            loop.current().stop()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert log.read_text().splitlines() == ["begin True", "begin False", "end False site"]

    async def end() -> None:
        for task in list(loop.current()._kept):
            if getattr(task.get_coro(), "cr_frame", None) and not task.done():
                task.cancel()

    loop.current().run(end, 5)


def test_declaration_is_checked() -> None:
    """What takes arguments, is no function or yields without async is refused."""
    kit = ChatKit()

    def yields() -> Any:
        yield

    for wrong in (lambda app: app, 42, yields):
        with pytest.raises(ConfigurationError, match="on_startup takes"):
            kit.on_startup(wrong)  # type: ignore[type-var]
