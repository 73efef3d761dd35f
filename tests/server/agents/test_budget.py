"""What an agent is told has a budget: a history's characters, and the bytes of files."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from agents import StopAtTools, function_tool, set_tracing_disabled
from chatkit.types import FileAttachment

from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.server.agents import budget as budget_module
from flask_chatkit.server.agents import files as agent_files
from flask_chatkit.server.agents.budget import BUSY, COPIES, POOL, Budget
from flask_chatkit.server.context import ChatContext
from flask_chatkit.server.ids import new_id
from tests.helpers.driving import ALICE, BOB, Answer, call, deltas, kinds, said, thread_of, upload
from tests.helpers.model_api import Fail, ModelApi, Say, Use
from tests.server.agents.test_server import PNG, Site, add_to_cart, texts

MB = 1_000_000
#: A picture of 3 MB, to the stand-in's eyes.
PICTURE = PNG + bytes(3 * MB - len(PNG))


@pytest.fixture(autouse=True)
def room() -> Iterator[None]:
    """Each answer has given back what it took."""
    POOL.clear()
    yield
    assert POOL.taken == 0


def _read(attachment: Any, context: ChatContext) -> bytes:
    return PICTURE if attachment.mime_type == "image/png" else attachment.name.encode()


async def _pictures(
    server: Any, count: int, context: ChatContext = ALICE, data: bytes = PICTURE
) -> list[str]:
    ids = []
    for number in range(count):
        given = {"name": f"{number}.png", "mime_type": "image/png"}
        one = FileAttachment(id=new_id("attachment"), metadata={"size": len(data)}, **given)
        await server.store.save_attachment(one, context)
        ids.append(one.id)
    return ids


def _size(asked: Any) -> int:
    return len(json.dumps(asked["input"]))


def test_nine_pictures_are_sent_once(site: Site, api: ModelApi) -> None:
    """Nine pictures of 3 MB cost 36 MB with their message, and nothing with each further word."""
    api.replies = [Say(["Nice"]) for _ in range(9)]
    budget = Budget(bytes=30 * MB)
    server = site.server(site.agent(), read_attachment=_read, budget=budget)

    async def test() -> None:
        message = said("Look", attachments=await _pictures(server, 9))
        thread = thread_of(await call(server, "threads.create", input=message))
        for _ in range(8):
            events = await call(
                server, "threads.add_user_message", thread_id=thread, input=said("word")
            )
            assert deltas(events) == "Nice"

    site.run(test())
    first, *others = map(_size, api.asked)
    assert first > 36 * MB
    assert max(others) < 10_000
    assert all(
        f"'{number}.png' (image/png, 3,000,000 bytes)" in str(api.asked[-1]) for number in range(9)
    )


def test_a_message_is_told_so_many_bytes_by_default(site: Site, api: ModelApi) -> None:
    """By default five pictures of 3 MB go along with their message, and the others are named."""
    api.replies = [Say(["Nice"])]
    server = site.server(site.agent(), read_attachment=_read)

    async def test() -> None:
        message = said("Look", attachments=await _pictures(server, 9))
        await call(server, "threads.create", input=message)

    site.run(test())
    assert 20 * MB < _size(api.asked[0]) < 21 * MB
    assert all(f"'{number}.png'" in str(api.asked[0]["input"]) for number in range(5, 9))


def _holds_file(value: Any, depth: int = 4) -> bool:
    if isinstance(value, str):
        return len(value) > MB
    if not depth or not isinstance(value, (dict, list, tuple)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return any(_holds_file(one, depth - 1) for one in list(inner))


def test_no_file_is_left_in_what_refers_to_itself(site: Site, api: ModelApi) -> None:
    """When an answer has ended nothing has its files any more, before Python looks for garbage."""
    set_tracing_disabled(True)
    api.replies = [Say(["Nice"])]
    server = site.server(site.agent(), read_attachment=_read)

    async def test() -> None:
        message = said("Look", attachments=await _pictures(server, 2))
        await call(server, "threads.create", input=message)
        assert _size(api.asked[0]) > 8 * MB
        api.asked.clear()
        # Nor do the loop's timers have it, by the context of the call.
        assert not any(map(_holds_file, gc.get_objects()))

    gc.collect()
    gc.disable()
    try:
        site.run(test())
    finally:
        gc.enable()
        set_tracing_disabled(False)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("told", [{}, {"MALLOC_MMAP_THRESHOLD_": "33554432"}])
def test_large_blocks_go_back_to_the_system(told: dict[str, str]) -> None:
    """What an answer with files took is freed for all, unless who runs the site has said how."""
    script = """if True:
        from flask_chatkit.server.agents.budget import return_large_blocks

        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * 4096 / 1e6

        return_large_blocks()
        before, kept = resident(), []
        for _ in range(3):
            blocks = []
            for _ in range(9):
                blocks.append(b"x" * 4_000_000)
                kept.append(b"x" * 20_000)
            del blocks
        print(resident() - before)
    """
    command, env = [sys.executable, "-c", script], {**os.environ, **told}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert (float(ran.stdout) > 20) == bool(told)


def test_five_visitors_share_the_room(
    site: Site, api: ModelApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five answers with nine pictures each follow each other, as far as there is room for them."""
    picture = PICTURE[: MB // 10]
    most: list[int] = []
    taken = budget_module.MemoryPool._try

    def note(self: Any, *given: Any) -> bool:
        done = taken(self, *given)
        most.append(self.taken)
        return done

    monkeypatch.setattr(budget_module.MemoryPool, "_try", note)
    api.replies = [Say(["Nice"]) for _ in range(5)]
    budget = Budget(answers_bytes=4 * MB)
    server = site.server(site.agent(), read_attachment=lambda *_: picture, budget=budget)

    async def visit(number: int) -> None:
        who = ChatContext(visitor=Visitor.login(f"visitor {number}"))
        message = said("Look", attachments=await _pictures(server, 9, who, picture))
        events = await call(server, "threads.create", who, input=message)
        assert deltas(events) == "Nice"

    async def test() -> None:
        await asyncio.gather(*map(visit, range(5)))

    site.run(test())
    assert max(most) == 9 * len(picture) * COPIES <= budget.answers_bytes
    assert len(api.asked) == 5


def test_no_room_is_told_in_words(
    site: Site, api: ModelApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits too long for others' files reads so, with Retry; words alone never wait."""
    monkeypatch.setattr(budget_module, "WAIT_SECONDS", 0.1)
    api.replies = [Say(["So"], hang=True), Say(["Hi"]), Say(["Nice"])]
    budget = Budget(answers_bytes=20 * MB)
    server = site.server(site.agent(), read_attachment=_read, budget=budget)

    async def test() -> None:
        message = said("Look", attachments=await _pictures(server, 1))
        answer = Answer(server, "threads.create", input=message)
        await asyncio.to_thread(api.is_hanging.wait, 5)
        message = said("Look", attachments=await _pictures(server, 1, BOB))
        events = await call(server, "threads.create", BOB, input=message)
        assert (events[-1].message, events[-1].allow_retry) == (BUSY, True)
        thread = thread_of(events)
        given = {"thread_id": thread, "input": said("Hello")}
        assert deltas(await call(server, "threads.add_user_message", BOB, **given)) == "Hi"
        answer.task.cancel()
        await asyncio.wait([answer.task])
        assert POOL.taken == 0
        given = {"thread_id": thread, "input": message}
        assert deltas(await call(server, "threads.add_user_message", BOB, **given)) == "Nice"

    site.run(test())


def test_one_visitor_has_half_of_the_room() -> None:
    """Whoever has some already leaves half of the room to others who have some."""

    async def test() -> None:
        assert await POOL.take(60, 100, "a", 0)
        # Nobody else is there.
        assert await POOL.take(10, 100, "a", 0)
        assert await POOL.take(10, 100, "b", 0)
        assert not await POOL.take(10, 100, "a", 0)
        assert await POOL.take(10, 100, "b", 0)
        assert not await POOL.take(20, 100, "c", 0)
        POOL.give_back(70, "a")
        POOL.give_back(20, "b")
        # More than all is told alone.
        assert await POOL.take(300, 100, "c", 0)
        assert not await POOL.take(1, 100, "b", 0)
        POOL.give_back(300, "c")

    asyncio.run(test())


def test_old_turns_are_left_out(site: Site, api: ModelApi, dialect: str) -> None:
    """The newest turns are told as far as the characters go; calls stay with their outputs."""

    @function_tool
    def order() -> str:
        """Look up an order."""
        return "packed " + "y" * 400

    api.replies = [
        reply
        for number in range(4)
        for reply in (Use([("order", {})]), Say([f"answer {number} " + "x" * 400]))
    ]
    budget = Budget(characters=2500)
    server = site.server(site.agent(dialect, tools=[order]), budget=budget)

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said("turn 0")))
        for number in range(1, 4):
            given = {"thread_id": thread, "input": said(f"turn {number}")}
            await call(server, "threads.add_user_message", **given)

    site.run(test())
    told = str(api.asked[6])
    assert "turn 0" not in told
    assert all(f"turn {number}" in told for number in (1, 2, 3))
    assert told.count("packed") == 2


def test_the_newest_message_stays(site: Site, api: ModelApi) -> None:
    """A message that is longer than the budget is told, and nothing before it."""
    api.replies = [Say(["One"]), Say(["Two"])]
    server = site.server(site.agent(), budget=Budget(characters=100))

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said("first")))
        given = {"thread_id": thread, "input": said("second " * 100)}
        assert deltas(await call(server, "threads.add_user_message", **given)) == "Two"

    site.run(test())
    assert texts(api.asked[1]) == [("user", "second " * 100)]


@pytest.mark.parametrize("without_message", [False, True])
def test_outputs_of_the_last_turn_are_cut(site: Site, api: ModelApi, without_message: bool) -> None:
    """However much the page's tools return in one turn, the budget holds; the newest stays."""
    api.replies = [*(Use([("add_to_cart", {"sku": f"A-{n}"})]) for n in range(10)), Say(["Done"])]
    stop = StopAtTools(stop_at_tool_names=["add_to_cart"])
    agent = site.agent(tools=[add_to_cart], tool_use_behavior=stop)
    # Of so many items the visitor's message is the first, or there is none.
    items = 10 if without_message else 200
    server = site.server(agent, history_items=items)

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said("Fill it")))
        for number in range(10):
            given = {"thread_id": thread, "result": {"page": f"{number}" * 120_000}}
            events = await call(server, "threads.add_client_tool_output", **given)
        assert deltas(events) == "Done"

    site.run(test())
    sizes = list(map(_size, api.asked))
    assert max(sizes) < 210_000
    assert sizes[-1] > 110_000
    assert "9" * 120_000 in str(api.asked[-1])
    outputs = [one for one in api.asked[-1]["input"] if "output" in one]
    assert len(outputs) == (1 if without_message else 10)


def test_text_files_share_the_characters(site: Site, api: ModelApi) -> None:
    """Twenty text files are told a part of each, with a note, and not 600,000 tokens."""
    api.replies = [Say(["Nice"])]
    server = site.server(
        site.agent(), read_attachment=lambda *_: b"z" * 90_000, budget=Budget(characters=40_000)
    )

    async def test() -> None:
        meta = {"size": 90_000}
        files = [
            (await upload(server, f"{number}.txt", "text/plain", metadata=meta)).id
            for number in range(20)
        ]
        await call(server, "threads.create", input=said("Look", attachments=files))

    site.run(test())
    told = json.dumps(api.asked[0]["input"])
    assert 35_000 < told.count("z") <= 40_000
    assert told.count("The rest is left out.") == 20
    assert [tool["name"] for tool in api.asked[0]["tools"]] == ["look_at_file"]


def test_an_agent_looks_again(site: Site, api: ModelApi, dialect: str) -> None:
    """A picture of an earlier message is told once more when the agent asks for it."""
    look = ("look_at_file", {"name": "0.png", "start": 0})
    api.replies = [Say(["Nice"]), Use([look]), Say(["Still nice"]), Say(["Bye"])]
    server = site.server(site.agent(dialect), read_attachment=_read)

    async def test() -> None:
        message = said("Look", attachments=await _pictures(server, 1))
        thread = thread_of(await call(server, "threads.create", input=message))
        given = {"thread_id": thread, "input": said("Again?")}
        assert deltas(await call(server, "threads.add_user_message", **given)) == "Still nice"
        await call(server, "threads.add_user_message", thread_id=thread, input=said("Bye"))

    site.run(test())
    has_picture = ["data:image/png;base64," in json.dumps(asked) for asked in api.asked]
    assert has_picture == [True, False, True, False]


def test_a_model_without_tools_goes_on(site: Site, api: ModelApi, dialect: str) -> None:
    """A model that refuses tools is asked once more without ours, and later without at once."""
    refusal = Fail(400, "registry.ollama.ai/library/small does not support tools")
    api.replies = [Say(["Nice"]), refusal, Say(["Still nice"]), Say(["Bye"])]
    server = site.server(site.agent(dialect), read_attachment=_read)

    async def test() -> None:
        message = said("Look", attachments=await _pictures(server, 1))
        thread = thread_of(await call(server, "threads.create", input=message))
        for text, answer in (("Again?", "Still nice"), ("Bye", "Bye")):
            given = {"thread_id": thread, "input": said(text)}
            assert deltas(await call(server, "threads.add_user_message", **given)) == answer

    site.run(test())
    assert [bool(asked.get("tools")) for asked in api.asked] == [False, True, False, False]
    assert "look_at_file" not in str(api.asked[2:])


def test_looks_have_the_bytes_that_are_left(site: Site, api: ModelApi) -> None:
    """However often an agent looks, it is told no more bytes than the budget has."""
    looks = [("look_at_file", {"name": f"{number}.png", "start": 0}) for number in (0, 1, 1, 2)]
    api.replies = [Say(["Nice"]), *(Use([look]) for look in looks), Say(["Still nice"])]
    budget = Budget(bytes=2 * len(PICTURE))
    server = site.server(site.agent(), read_attachment=_read, budget=budget)

    async def test() -> None:
        message = said("Look", attachments=await _pictures(server, 3))
        thread = thread_of(await call(server, "threads.create", input=message))
        given = {"thread_id": thread, "input": said("Again?")}
        assert deltas(await call(server, "threads.add_user_message", **given)) == "Still nice"

    site.run(test())
    counts = [json.dumps(asked["input"]).count("data:image/png") for asked in api.asked]
    assert counts == [2, 0, 1, 2, 2, 1]


def test_an_agent_reads_on(site: Site, api: ModelApi) -> None:
    """A long text is read piece by piece, and what there is not is said so."""
    text = "".join(f"{number:05}," for number in range(10_000))
    api.replies = [
        Say(["Nice"]),
        Use([("look_at_file", {"name": "a.txt", "start": 54_000})]),
        Use([("look_at_file", {"name": "b.txt", "start": 0})]),
        Say(["Done"]),
    ]
    server = site.server(site.agent(), read_attachment=lambda *_: text.encode())

    async def test() -> None:
        file = await upload(server, "a.txt", "text/plain", metadata={"size": len(text)})
        message = said("Look", attachments=[file.id])
        thread = thread_of(await call(server, "threads.create", input=message))
        given = {"thread_id": thread, "input": said("On?")}
        assert deltas(await call(server, "threads.add_user_message", **given)) == "Done"

    site.run(test())
    outputs = [one["output"] for one in api.asked[3]["input"] if "output" in one]
    assert "09000," in outputs[0]
    assert "08999," not in outputs[0]
    assert outputs[1] == "There is no file 'b.txt'. There are: 'a.txt'."


def _look(name: str) -> Use:
    return Use([("look_at_file", {"name": name, "start": 0})])


def test_looks_give_the_room_back(
    site: Site, api: ModelApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what an agent has looked at, only the files that it is told still take room."""
    monkeypatch.setattr(agent_files, "LOOK_SECONDS", 0.1)
    looks = ["a.txt", "b.txt", "gone.txt", "a.txt", "0.png", "1.png", "2.png", "0.png"]
    api.replies = [Say(["Nice"]), *map(_look, looks), Say(["Done"])]
    # Two pictures are told at a time, and the room is for three.
    size = len(PICTURE)
    budget = Budget(bytes=2 * size, answers_bytes=3 * size * COPIES)
    seen: list[int] = []

    def read(attachment: Any, context: ChatContext) -> bytes:
        seen.append(POOL.taken)
        if attachment.name == "gone.txt":
            raise FileNotFoundError
        if attachment.name.endswith(".txt"):
            return b"z" * size
        return _read(attachment, context)

    server = site.server(site.agent(), read_attachment=read, budget=budget)

    async def test() -> None:
        ids = await _pictures(server, 3)
        for name in ("a.txt", "b.txt", "gone.txt"):
            ids.append((await upload(server, name, "text/plain", metadata={"size": size})).id)
        thread = thread_of(await call(server, "threads.create", input=said("Hi", attachments=ids)))
        seen.clear()
        given = {"thread_id": thread, "input": said("Again?")}
        assert deltas(await call(server, "threads.add_user_message", **given)) == "Done"

    site.run(test())
    assert [one // (size * COPIES) for one in seen] == [1, 1, 1, 1, 1, 2, 3, 2]
    outputs = [one["output"] for one in api.asked[-1]["input"] if "output" in one]
    assert not [one for one in outputs if "too much is going on" in one]
    assert sum("can't be read now" in one for one in outputs) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"server": {"look_again": False}},
        {"agent": {"tool_use_behavior": "stop_on_first_tool"}},
    ],
)
def test_no_tool_where_it_is_not_wanted(site: Site, api: ModelApi, more: Any) -> None:
    """A site may do without the tool, and gets none where it would end the run."""
    api.replies = [Say(["Nice"]), Say(["Bye"])]
    agent = site.agent(**more.get("agent", {}))
    server = site.server(agent, read_attachment=_read, **more.get("server", {}))

    async def test() -> None:
        message = said("Look", attachments=await _pictures(server, 1))
        thread = thread_of(await call(server, "threads.create", input=message))
        await call(server, "threads.add_user_message", thread_id=thread, input=said("Bye"))

    site.run(test())
    assert not api.asked[1].get("tools")
    assert "0.png" in str(api.asked[1])
    assert "look_at_file" not in str(api.asked[1])


def test_encoding_does_not_hold_the_loop(
    site: Site, api: ModelApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are encoded in another thread than that in which all answers run."""
    where: list[Any] = []
    url = agent_files._url

    def note(*given: Any) -> str:
        where.append(threading.current_thread())
        return url(*given)

    monkeypatch.setattr(agent_files, "_url", note)
    api.replies = [Say(["Nice"])]
    server = site.server(site.agent(), read_attachment=_read)

    async def test() -> None:
        message = said("Look", attachments=await _pictures(server, 1))
        assert "error" not in kinds(await call(server, "threads.create", input=message))
        assert where
        assert threading.current_thread() not in where

    site.run(test())
