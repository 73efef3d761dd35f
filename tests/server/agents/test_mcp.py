"""Agents with MCP servers: the real SDK and ``mcp``, with servers in processes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import agents
import pytest
from agents import Agent, OpenAIResponsesModel, handoff
from agents.mcp import MCPServerSse, MCPServerStdio, MCPServerStreamableHttp
from openai import AsyncOpenAI

from flask_chatkit import ChatKit
from flask_chatkit.server.agents import mcp
from flask_chatkit.server.agents.mcp import connected
from flask_chatkit.server.streaming import loop
from tests.helpers.model_api import KEY, ModelApi, Say, Use, serve_model
from tests.helpers.paths import HELPERS
from tests.helpers.served import Client, events, of_type, said, until, visit

SCRIPT = HELPERS / "mcp_server.py"
PID = Use([("pid", {})])
clients: list[AsyncOpenAI] = []
#: What may be in no line of the log.
SECRET = "hunter2-of-the-tests"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nothing is sent to OpenAI's tracing, and no connection outlives its test."""
    agents.set_tracing_disabled(True)
    yield

    async def close() -> None:
        pool = mcp._pool()
        links = [one._link for one in pool._connections if one._link]
        for connection in list(pool._connections):
            pool._close(connection)
        if pool._timer is not None:
            # It was set by the usual time, which a later test shortens.
            pool._timer.cancel()
            pool._timer = None
        if links:
            # One that was given up was cancelled: nobody awaits that.
            await asyncio.wait([link.task for link in links])
        while clients:
            await clients.pop().close()

    loop.current().run(close, 20)


@pytest.fixture
def api() -> Iterator[ModelApi]:
    """A model's API of this test's own."""
    with serve_model() as served:
        yield served


class Site:
    """A site with an agent, and the processes of its MCP servers."""

    def __init__(self, make_app: Any, browse: Any, api: ModelApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        self._make_app, self._browse = make_app, browse

    def agent(self, *servers: Any, **more: Any) -> Agent[Any]:
        """An agent with MCP servers."""
        client = AsyncOpenAI(api_key=KEY, base_url=self.api.base_url, max_retries=0)
        clients.append(client)
        given = {"name": "Coach", "model": OpenAIResponsesModel("small", client), **more}
        return Agent(mcp_servers=list(servers), **given)

    def stdio(
        self,
        kind: type[Any] = MCPServerStdio,
        /,
        number: str = "",
        **more: Any,
    ) -> Any:
        """A server that is a process of ours; a number makes its environment another one."""
        params = {"command": sys.executable, "args": [str(SCRIPT), str(self.folder)]}
        params["env"] = {"NUMBER": number}
        return kind(params, **{"name": "tools", **more})

    def visitor(self, agent: Any) -> Client:
        """A visitor of a chat with an agent, or with what makes one."""
        kit = ChatKit(store=f"sqlite:///{self.folder}/history.sqlite3")
        kit.add_agent("default", agent, titles=False)
        # Leaving is stopping here.
        config = {"CHATKIT_WORKFLOW_ID": None, "CHATKIT_LEAVE_SECONDS": 0}
        return visit(self._browse(self._make_app(kit, **config)))

    def ask(self, visitor: Client, *replies: Any) -> list[str]:
        """Say something, to which the model replies; what the tools gave it."""
        self.api.replies = [*replies, Say(["done"])]
        told = visitor.stream("threads.create", input=new())
        assert of_type([one["item"] for one in told if "item" in one], "assistant_message"), told
        assert told[-1]["type"] == "thread.item.done", told
        return outputs(self.api.asked[-1])

    @property
    def begun(self) -> set[int]:
        """The processes that have begun."""
        return {int(path.stem) for path in self.folder.glob("*.pid")}

    @property
    def alive(self) -> set[int]:
        """Those of them that run."""
        return {pid for pid in self.begun if is_alive(pid)}


def new() -> dict[str, Any]:
    """A message that is no repetition of another one, which would not be answered twice."""
    return said(f"go {os.urandom(4).hex()}")


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def outputs(asked: dict[str, Any]) -> list[str]:
    """What tools gave, in a request to the model."""
    found = [one["output"] for one in asked["input"] if one.get("type") == "function_call_output"]
    return [one if isinstance(one, str) else one[0]["text"] for one in found]


def text_of(output: str) -> str:
    """The text of an output, which the SDK hands on as JSON."""
    return output.partition('"text":"')[2].partition('"')[0] or output


@pytest.fixture
def site(make_app: Any, browse: Any, api: ModelApi, tmp_path: Path) -> Site:
    """A site, and what it is made with."""
    return Site(make_app, browse, api, tmp_path)


@pytest.fixture
def serve_mcp(site: Site) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Serves MCP over HTTP."""
    begun: list[subprocess.Popen[bytes]] = []

    def serve(kind: str, port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(SCRIPT), str(site.folder), kind, str(port)]
        begun.append(subprocess.Popen(command))
        until(lambda: begun[-1].poll() is not None or takes_calls(port), 30)
        assert begun[-1].poll() is None
        return begun[-1]

    yield serve
    for process in begun:
        process.kill()
        process.wait(10)


def takes_calls(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_answers_share_one_connection(site: Site) -> None:
    """The first answers wait for one process to start, and later ones use it too."""
    visitor = site.visitor(site.agent(site.stdio()))
    site.api.replies = [PID, PID, PID, *(Say(["done"]) for _ in range(3))]
    with ThreadPoolExecutor(3) as visitors:
        list(visitors.map(lambda n: visitor.create(f"go {n}"), range(3)))
    told = [text for asked in site.api.asked for text in outputs(asked)]
    assert len({text_of(text) for text in told}) == 1
    assert text_of(site.ask(visitor, PID)[0]) == text_of(told[0])
    assert len(site.begun) == len(site.alive) == 1


def test_stop_leaves_the_connection_to_the_others(site: Site) -> None:
    """When a visitor stops in the middle of a tool's call, others and the next answers go on."""
    visitor = site.visitor(site.agent(site.stdio()))
    other = site.visitor(site.agent(site.stdio()))
    site.api.replies = [Use([("wait", {"name": "never"})]), Use([("wait", {"name": "other"})])]
    stopped = visitor.send({"type": "threads.create", "params": {"input": said("a")}}, stream=True)
    until((site.folder / "never.waiting").exists, 20)
    with ThreadPoolExecutor(1) as visitors:
        answer = visitors.submit(other.post, "threads.create", input=said("b"))
        until((site.folder / "other.waiting").exists)
        stopped.close()
        until(lambda: loop.current().busy == 1)
        site.api.replies = [Say(["done"])]
        (site.folder / "other").touch()
        assert events(answer.result())[-1]["type"] == "thread.item.done"
    assert outputs(site.api.asked[-1])[0].count("waited") == 1
    site.ask(visitor, PID)
    assert len(site.begun) == 1


@pytest.mark.parametrize("is_cached", [False, True])
def test_dead_process_is_started_again(site: Site, is_cached: bool) -> None:
    """A process that has died is started again by the next answer, also for a cached list."""
    visitor = site.visitor(site.agent(site.stdio(cache_tools_list=is_cached)))
    first = text_of(site.ask(visitor, PID)[0])
    os.kill(int(first), 9)
    until(lambda: not site.alive)
    second = text_of(site.ask(visitor, PID)[0])
    assert {int(first), int(second)} == site.begun
    assert site.alive == {int(second)}


def test_call_that_may_be_done_is_not_repeated(site: Site) -> None:
    """A process that dies in a tool's call is called once; the model reads of it and goes on."""
    visitor = site.visitor(site.agent(site.stdio()))
    told = site.ask(visitor, Use([("die", {})]), PID)
    assert "error occurred" in told[0]
    assert int(text_of(told[1])) in site.alive
    assert (site.folder / "deaths").read_text() == "x"


@pytest.mark.parametrize(
    ("kind", "transport", "path"),
    [
        (MCPServerStreamableHttp, "streamable-http", "mcp"),
        (MCPServerSse, "sse", "sse"),
    ],
)
def test_http_server_is_found_again(
    site: Site, serve_mcp: Any, kind: Any, transport: str, path: str
) -> None:
    """While a server is away a visitor reads an error, and once it is back answers go on."""
    port = free_port()
    process = serve_mcp(transport, port)
    visitor = site.visitor(site.agent(kind({"url": f"http://127.0.0.1:{port}/{path}"})))
    assert text_of(site.ask(visitor, PID)[0]) == str(process.pid)
    process.kill()
    process.wait(10)
    told = visitor.stream("threads.create", input=new())
    assert (told[-1]["type"], told[-1]["code"]) == ("error", "stream.error")
    assert told[-1]["allow_retry"] is True
    process = serve_mcp(transport, port)
    assert text_of(site.ask(visitor, PID)[0]) == str(process.pid)


def test_slow_tool_keeps_nobody_waiting(site: Site, serve_mcp: Any) -> None:
    """Over HTTP an agent answers one visitor while a tool of another's takes its time."""
    port = free_port()
    process = serve_mcp("streamable-http", port)
    visitor = site.visitor(
        site.agent(MCPServerStreamableHttp({"url": f"http://127.0.0.1:{port}/mcp"}))
    )
    site.api.replies = [Use([("wait", {"name": "slow"})])]
    with ThreadPoolExecutor(1) as visitors:
        slow = visitors.submit(visitor.post, "threads.create", input=said("slow"))
        until((site.folder / "slow.waiting").exists, 20)
        assert text_of(site.ask(visitor, PID)[0]) == str(process.pid)
        site.api.replies = [Say(["done"])]
        (site.folder / "slow").touch()
        assert events(slow.result())[-1]["type"] == "thread.item.done"


def test_unreachable_server_fails_its_own_chat_only(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the server, the reason and the cure in one line, without a secret."""
    url = f"http://user:{SECRET}@127.0.0.1:{free_port()}/mcp?key={SECRET}"
    broken = [
        MCPServerStdio({"command": "no-such-command", "env": {"TOKEN": SECRET}}),
        MCPServerStdio({"command": "false", "env": {"TOKEN": SECRET}}),
        MCPServerStreamableHttp({"url": url, "headers": {"Authorization": SECRET}}),
        MCPServerStreamableHttp({"url": url, "headers": {"Authorization": f"a\n{SECRET}"}}),
    ]
    for server in broken:
        visitor = site.visitor(site.agent(server))
        caplog.clear()
        told = visitor.stream("threads.create", input=new())
        assert (told[-1]["type"], told[-1]["code"]) == ("error", "stream.error")
        records = [one for one in caplog.records if one.name == "flask_chatkit"]
        (line,) = [one.getMessage() for one in records if one.levelno >= logging.WARNING]
        assert "\n" not in line
        assert line.startswith("The MCP server ")
        assert line.endswith(("this process", "from here"))
        assert SECRET not in caplog.text
    assert site.api.asked == []
    assert site.ask(site.visitor(site.agent(site.stdio())), PID)


def test_connecting_has_a_deadline(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that says nothing is ended after a while, and the visitor reads an error."""
    monkeypatch.setattr(mcp, "CONNECT_SECONDS", 0.3)
    script = f"import os, time; open(r'{site.folder}/%d.pid' % os.getpid(), 'w'); time.sleep(60)"
    server = MCPServerStdio(
        {"command": sys.executable, "args": ["-c", script]}, client_session_timeout_seconds=60
    )
    told = site.visitor(site.agent(server)).stream("threads.create", input=new())
    assert told[-1]["code"] == "stream.error"
    assert "did not answer within 0.3 seconds" in caplog.text
    until(lambda: not site.alive, 40)


def test_agents_made_for_each_answer_share_by_configuration(site: Site) -> None:
    """Servers made anew with the same parameters share a process, whatever filters them."""
    made: list[int] = []

    def make(context: Any) -> Agent[Any]:
        server = site.stdio(tool_filter=lambda _, tool: tool.name != "die")
        made.append(id(server))
        return site.agent(server)

    visitor = site.visitor(make)
    assert len({text_of(site.ask(visitor, PID)[0]) for _ in range(3)}) == 1
    assert len(made) == 3
    assert len(site.begun) == 1
    tools = [tool["name"] for tool in site.api.asked[-1]["tools"]]
    assert tools == ["pid", "wait"]


def test_unlike_servers_of_each_answer_are_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers whose parameters differ from answer to answer do not pile up."""
    monkeypatch.setattr(mcp, "MOST_IDLE", 1)
    monkeypatch.setattr(mcp, "IDLE_SECONDS", 0.1)
    visitor = site.visitor(lambda _: site.agent(site.stdio(number=os.urandom(4).hex())))
    assert len({text_of(site.ask(visitor, PID)[0]) for _ in range(2)}) == len(site.begun) == 2
    until(lambda: not site.alive, 40)


def test_server_of_a_class_of_the_sites_is_closed_after_its_answer(site: Site) -> None:
    """Where equality is not known, a server made for an answer ends with it; one for all stays."""

    class Own(MCPServerStdio):
        pass

    visitor = site.visitor(lambda _: site.agent(site.stdio(Own)))
    for count in (1, 2):
        assert site.ask(visitor, PID)
        until(lambda: not site.alive, 40)
        assert len(site.begun) == count
    visitor = site.visitor(site.agent(site.stdio(Own)))
    first, second = site.ask(visitor, PID), site.ask(visitor, PID)
    assert first == second
    os.kill(int(text_of(first[0])), 9)
    assert site.ask(visitor, PID) != first


def test_server_that_the_site_has_connected_is_left_alone(site: Site) -> None:
    """A server that was connected on startup is used as it is."""
    server = site.stdio()
    session = []
    kit = ChatKit(store=f"sqlite:///{site.folder}/history.sqlite3")
    kit.add_agent("default", site.agent(server), titles=False)

    @kit.on_startup
    async def connect() -> Any:
        async with server:
            session.append(server.session)
            yield

    visitor = visit(site._browse(site._make_app(kit, CHATKIT_WORKFLOW_ID=None)))
    assert int(text_of(site.ask(visitor, PID)[0])) in site.alive
    assert server.session is session[0]
    assert mcp._pools[loop.current()._loop]._connections == []


@pytest.mark.parametrize("way", ["handoff", "handoff()", "tool"])
def test_servers_of_other_agents_are_connected(site: Site, way: str) -> None:
    """An agent that is handed over to, or used as a tool, has its servers' tools."""
    expert = site.agent(site.stdio(), name="Expert", handoff_description="Knows.")
    if way == "tool":
        coach = site.agent(tools=[expert.as_tool("expert", "Asks the expert.")])
        site.api.replies = [Use([("expert", {"input": "?"})]), PID, Say(["I"]), Say(["done"])]
    else:
        given = handoff(expert) if way == "handoff()" else expert
        coach = site.agent(handoffs=[given])
        site.api.replies = [Use([("transfer_to_expert", {})]), PID, Say(["done"])]
    site.visitor(coach).stream("threads.create", input=new())
    told = [text_of(one) for asked in site.api.asked for one in outputs(asked)]
    assert str(*site.begun) in told


def test_run_of_a_sites_own_uses_the_same(site: Site) -> None:
    """Whatever runs an agent itself has its servers connected by one function."""
    agent = site.agent(site.stdio())

    async def listed() -> list[str]:
        async with connected(agent):
            return [tool.name for tool in await agent.mcp_servers[0].list_tools()]

    assert loop.current().run(listed, 20) == ["pid", "wait", "die"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_fork_has_connections_of_its_own(site: Site) -> None:
    """A forked process connects anew, and does not touch what its parent is connected to."""
    agent = site.agent(site.stdio())

    async def pid() -> str:
        async with connected(agent):
            return str((await agent.mcp_servers[0].call_tool("pid", {})).content[0].text)

    first = loop.current().run(pid, 20)
    script = (site.folder / "child").with_suffix(".txt")
    if (child := os.fork()) == 0:
        try:
            script.write_text(loop.current().run(pid, 20))
            loop.current().stop()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert script.read_text() in {str(one) for one in site.begun} - {first}
    assert loop.current().run(pid, 20) == first
    assert site.alive == {int(first)}
