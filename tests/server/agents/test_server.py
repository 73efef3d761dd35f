"""A chat that an agent answers: the real SDKs, against a model's API on loopback."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import agents
import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    RunContextWrapper,
    StopAtTools,
    function_tool,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
)
from agents.tool_guardrails import ToolGuardrailFunctionOutput
from chatkit.agents import AgentContext, ClientToolCall
from chatkit.store import NotFoundError
from chatkit.types import (
    AssistantMessageItem,
    ClientToolCallItem,
    HiddenContextItem,
    ProgressUpdateEvent,
    SDKHiddenContextItem,
)
from chatkit.widgets import Card, Text
from flask import Flask, current_app
from openai import AsyncOpenAI

from flask_chatkit.chats.callbacks import Callbacks
from flask_chatkit.errors import ConfigurationError
from flask_chatkit.server import SQLAlchemyStore
from flask_chatkit.server.agents import converter
from flask_chatkit.server.agents import run as run_module
from flask_chatkit.server.agents import server as agent_module
from flask_chatkit.server.agents import titles as titles_module
from flask_chatkit.server.agents.converter import drop_unpaired_calls
from flask_chatkit.server.agents.errors import REFUSED, TOO_MANY_TURNS
from flask_chatkit.server.agents.server import AgentServer
from flask_chatkit.server.agents.titles import TITLE_INSTRUCTIONS
from flask_chatkit.server.context import ChatContext
from tests.helpers.driving import (
    ALICE,
    Answer,
    call,
    deltas,
    items_of,
    kinds,
    others,
    said,
    settled,
    stored,
    thread_of,
    upload,
    workers,
)
from tests.helpers.model_api import KEY, Fail, ModelApi, Say, Use, serve_model

MODELS = {"responses": OpenAIResponsesModel, "completions": OpenAIChatCompletionsModel}
MESSAGE = [
    "added assistant_message",
    "assistant_message.content_part.added",
    "assistant_message.content_part.text_delta",
    "assistant_message.content_part.done",
    "done assistant_message",
]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

#: A key of a form that nobody knows.
OTHER_KEY = "Zm94ZXM"

Context = RunContextWrapper[AgentContext[Any]]


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Nothing is sent to OpenAI's tracing."""
    agents.set_tracing_disabled(True)


@pytest.fixture
def api() -> Iterator[ModelApi]:
    """A model's API of this test's own; it was asked nothing that it does not accept."""
    with serve_model() as served:
        yield served
        assert served.wrong == []
        assert served.replies == []


@pytest.fixture(params=list(MODELS))
def dialect(request: pytest.FixtureRequest) -> str:
    """Both of OpenAI's APIs; for the second one the SDK gives every item the same id."""
    return str(request.param)


class Site:
    """A server with an agent, whose clients are closed at the end."""

    def __init__(self, api: ModelApi) -> None:
        self.api = api
        self.clients: list[AsyncOpenAI] = []
        self.store = SQLAlchemyStore("sqlite://")

    def model(self, dialect: str = "responses", name: str = "small", key: str = KEY) -> Any:
        """A model with a client of its own."""
        client = AsyncOpenAI(api_key=key, base_url=self.api.base_url, max_retries=0)
        self.clients.append(client)
        return MODELS[dialect](name, client)

    def agent(self, dialect: str = "responses", **more: Any) -> Agent[Any]:
        """An agent."""
        given = {"name": "Coach", "instructions": "Be kind.", "model": self.model(dialect), **more}
        return Agent(**given)

    def server(self, agent: Any, **more: Any) -> AgentServer:
        """A server, whose threads get no titles unless asked."""
        return AgentServer(agent, self.store, **{"callbacks": Callbacks(), "titles": False, **more})

    def run(self, test: Any, *, thorough: bool = False) -> Any:
        """Run a test's coroutine; nothing of it may be left behind.

        :param thorough: whether what nobody can reach any more is looked at, too, which is slow.
        """
        complaints: list[Any] = []

        async def whole() -> Any:
            asyncio.get_running_loop().set_exception_handler(
                lambda _, context: complaints.append(context)
            )
            result = await asyncio.wait_for(test, 30)
            await settled(lambda: not others() and not workers())
            for client in self.clients:
                await client.close()
            if thorough:
                gc.collect()
                await asyncio.sleep(0)
            return result

        try:
            result = asyncio.run(whole())
        finally:
            self.store.close()
        assert complaints == []
        return result


@pytest.fixture
def site(api: ModelApi) -> Site:
    """What servers are made with."""
    return Site(api)


@function_tool
def look_up(city: str) -> str:
    """Look up the weather."""
    return f"sunny in {city}"


@function_tool
def add_to_cart(context: Context, sku: str) -> str:
    """Put something into the cart."""
    context.context.client_tool_call = ClientToolCall(name="add_to_cart", arguments={"sku": sku})
    return "asked"


def texts(asked: dict[str, Any]) -> list[tuple[str, str]]:
    """Who said what, in a request, whichever API it was for."""
    told = []
    for item in asked.get("input", asked.get("messages", [])):
        if "role" not in item or item["role"] in {"system", "developer"}:
            continue
        content = item.get("content") or ""
        parts = [content] if isinstance(content, str) else [part.get("text") for part in content]
        told += [(item["role"], part) for part in parts if part]
    return told


# --- answers ------------------------------------------------------------------------------------


def test_agent_answers(site: Site, api: ModelApi, dialect: str) -> None:
    """What the model says streams into messages, and is what it is told the next time."""
    api.replies = [Say(["Hel", "lo"]), Say(["Again"])]
    server = site.server(site.agent(dialect))

    async def test() -> None:
        events = await call(server, "threads.create", input=said("one"))
        delta, part_done = MESSAGE[2:4]
        told = kinds(events)
        # The adapter for chat completions does not tell the end of a part, only of the message.
        assert told == [*MESSAGE[:2], delta, delta, part_done, MESSAGE[4]] or (
            dialect == "completions" and told == [*MESSAGE[:2], delta, delta, MESSAGE[4]]
        )
        assert events[-1].item.content[0].text == deltas(events) == "Hello"
        thread = thread_of(events)
        await call(server, "threads.add_user_message", thread_id=thread, input=said("two"))
        items = await stored(server, thread)
        assert [item.type for item in items] == ["user_message", "assistant_message"] * 2
        assert len({item.id for item in items}) == 4
        assert "__fake_id__" not in {item.id for item in items}

    site.run(test())
    assert texts(api.asked[1]) == [("user", "one"), ("assistant", "Hello"), ("user", "two")]


def test_several_messages_have_ids_of_their_own(site: Site, api: ModelApi, dialect: str) -> None:
    """Messages before and after a tool's call are two, each with its own text."""
    api.replies = [Use([("look_up", {"city": "Bern"})], text="Let me see."), Say(["Sunny."])]
    server = site.server(site.agent(dialect, tools=[look_up]))

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        assert [item.content[0].text for item in items_of(events, "assistant_message")] == [
            "Let me see.",
            "Sunny.",
        ]
        for event in events:
            if event.type == "thread.item.updated":
                assert event.item_id in {item.id for item in items_of(events, "assistant_message")}
        items = await stored(server, thread_of(events))
        messages = [item for item in items if item.type == "assistant_message"]
        assert [item.content[0].text for item in messages] == ["Let me see.", "Sunny."]

    site.run(test())
    told = str(api.asked[1])
    assert "sunny in Bern" in told


def test_tools_work_in_the_chat(site: Site, api: ModelApi) -> None:
    """A tool knows the visitor and the application, and shows what it does."""

    @function_tool
    async def show(context: Context) -> str:
        """Show something."""
        request: ChatContext = context.context.request_context
        await context.context.stream(ProgressUpdateEvent(text=f"for {request.visitor.user_id}"))
        await context.context.stream_widget(Card(children=[Text(value="Fox")]))
        context.context.thread.title = "Foxes"
        return "shown"

    @function_tool
    def name() -> str:
        """Tell the site's name."""
        return current_app.name

    api.replies = [Use([("show", {}), ("name", {})]), Say(["There."])]
    server = site.server(site.agent(tools=[show, name]))

    async def test() -> None:
        with Flask("the site").app_context():
            events = await call(server, "threads.create", input=said())
        told = [kind for kind in kinds(events) if "content_part" not in kind]
        assert sorted(told[:3]) == ["done widget", "progress_update", "thread.updated"]
        assert told[3:] == ["added assistant_message", "done assistant_message"]
        (progress,) = [event for event in events if event.type == "progress_update"]
        assert progress.text == "for alice"
        assert (await server.store.load_thread(thread_of(events), ALICE)).title == "Foxes"

    site.run(test())
    assert "the site" in str(api.asked[1])


def test_thoughts_are_shown(site: Site, api: ModelApi) -> None:
    """What a model thinks is a workflow that ends when it speaks."""
    api.replies = [Say(["Yes."], thought="Is it?")]
    server = site.server(site.agent())
    events = site.run(call(server, "threads.create", input=said()))
    assert kinds(events)[:2] == ["added workflow", "workflow.task.added"]
    (workflow,) = items_of(events, "workflow")
    assert [task.content for task in workflow.workflow.tasks] == ["Is it?"]
    assert deltas(events) == "Yes."


def test_client_tools_are_answered(site: Site, api: ModelApi, dialect: str) -> None:
    """A client tool ends the answer; with the page's result the agent goes on."""
    api.replies = [Use([("add_to_cart", {"sku": "A-1"})]), Say(["Added."])]
    agent = site.agent(
        dialect,
        tools=[add_to_cart],
        tool_use_behavior=StopAtTools(stop_at_tool_names=["add_to_cart"]),
    )
    server = site.server(agent)

    async def test() -> None:
        chosen = {"tool_choice": {"id": "add_to_cart"}}
        events = await call(server, "threads.create", input=said("buy", **chosen))
        assert kinds(events) == ["done client_tool_call"]
        item = events[-1].item
        assert (item.name, item.arguments) == ("add_to_cart", {"sku": "A-1"})
        assert item.id != "__fake_id__"
        thread = thread_of(events)
        given = {"thread_id": thread, "result": {"total": 3}}
        events = await call(server, "threads.add_client_tool_output", **given)
        assert deltas(events) == "Added."

    site.run(test())
    # The tool was asked for once, and not for ever.
    assert "add_to_cart" in str(api.asked[0]["tool_choice"])
    assert "add_to_cart" not in str(api.asked[1].get("tool_choice"))
    assert '{"total": 3}' in str(api.asked[1])


def test_unanswered_client_tools_are_left_out(site: Site, api: ModelApi, dialect: str) -> None:
    """A client tool that the page never answered does not hinder the next message."""
    api.replies = [Use([("add_to_cart", {"sku": "A-1"})]), Say(["Fine."])]
    behavior = StopAtTools(stop_at_tool_names=["add_to_cart"])
    server = site.server(site.agent(dialect, tools=[add_to_cart], tool_use_behavior=behavior))

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said("buy")))
        given = {"thread_id": thread, "input": said("never mind")}
        assert deltas(await call(server, "threads.add_user_message", **given)) == "Fine."

    site.run(test())
    assert texts(api.asked[1]) == [("user", "buy"), ("user", "never mind")]


@pytest.mark.parametrize("is_async", [False, True])
def test_agents_are_made_for_a_request(site: Site, api: ModelApi, is_async: bool) -> None:
    """A function, plain or asynchronous, makes the agent for who is chatting."""
    api.replies = [Say(["Hi"])]
    seen = []

    def make(context: ChatContext) -> Any:
        seen.append(context)
        return site.agent(instructions=f"You talk to {context.visitor.user_id}.")

    async def make_async(context: ChatContext) -> Any:
        return make(context)

    server = site.server(make_async if is_async else make)
    assert deltas(site.run(call(server, "threads.create", input=said()))) == "Hi"
    assert seen == [ALICE]
    assert api.asked[0]["instructions"] == "You talk to alice."


def test_what_is_no_agent_is_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong agent is refused when it is declared, or logged when it is made."""
    with pytest.raises(ConfigurationError, match="an agent must be"):
        site.server("Coach")

    def make(context: ChatContext) -> Any:
        return "Coach"

    events = site.run(call(site.server(make), "threads.create", input=said()))
    assert kinds(events) == ["error"]
    assert "the function returned no Agent, but str" in caplog.text


# --- stopping -----------------------------------------------------------------------------------


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing end only because something else is tired of waiting for it."""
    for module in (run_module, titles_module):
        monkeypatch.setattr(module, "CLEANUP_SECONDS", 60)


@pytest.mark.usefixtures("no_patience")
def test_stop_ends_the_models_call(site: Site, api: ModelApi, dialect: str) -> None:
    """A stopped answer closes the call to the model at once, and keeps what was said."""
    server = site.server(site.agent(dialect), titles=True)
    api.title = Say([], hang=True)

    async def test() -> None:
        for count in range(1, 4):
            api.replies = [Say(["Once ", "upon "], hang=True)]
            answer = Answer(server, "threads.create", input=said("Tell me a story"))
            await answer.until(lambda events: deltas(events) == "Once upon ")
            await settled(lambda count=count: len(api.titles_asked) == count)
            await answer.stop()
            await settled(lambda count=count: api.gone == 2 * count)
            await settled(lambda: len(others()) <= 1)
            thread = thread_of(answer.events)
            items = await stored(server, thread)
            assert [item.type for item in items] == [
                "user_message",
                "assistant_message",
                "sdk_hidden_context",
            ]
            assert items[1].content[0].text == "Once upon "
            assert "fake" not in items[1].id
            title = (await server.store.load_thread(thread, ALICE)).title
            assert title == "Tell me a story"

    site.run(test(), thorough=True)


@pytest.mark.usefixtures("no_patience")
def test_stop_before_the_first_word(site: Site, api: ModelApi) -> None:
    """An answer that is stopped before it has begun leaves no empty message."""
    api.replies = [Say([], hang=True)]
    server = site.server(site.agent())

    async def test() -> None:
        answer = Answer(server, "threads.create", input=said())
        await settled(api.is_hanging.is_set)
        await answer.stop()
        await settled(api.has_gone.is_set)
        items = await stored(server, thread_of(answer.events))
        assert [item.type for item in items] == ["user_message", "sdk_hidden_context"]

    site.run(test(), thorough=True)


@pytest.mark.usefixtures("no_patience")
def test_stop_ends_a_tool(site: Site, api: ModelApi) -> None:
    """A stop while a tool works ends the tool."""
    ended = asyncio.Event()

    @function_tool
    async def work(context: Context) -> str:
        """Work."""
        await context.context.stream(ProgressUpdateEvent(text="working"))
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return "done"

    api.replies = [Use([("work", {})])]
    server = site.server(site.agent(tools=[work]))

    async def test() -> None:
        answer = Answer(server, "threads.create", input=said())
        await answer.until(lambda events: "progress_update" in kinds(events))
        await answer.stop()
        await settled(ended.is_set)

    site.run(test(), thorough=True)


@pytest.mark.usefixtures("no_patience")
def test_stop_while_the_store_works(site: Site, api: ModelApi) -> None:
    """A stop that comes while a message is being stored ends the model's next call, too."""
    adding = asyncio.Event()
    add = site.store.add_thread_item

    async def slow(thread_id: str, item: Any, context: Any) -> None:
        await add(thread_id, item, context)
        if isinstance(item, AssistantMessageItem) and not adding.is_set():
            adding.set()
            await asyncio.sleep(60)

    site.store.add_thread_item = slow  # type: ignore[method-assign]
    api.replies = [Use([("look_up", {"city": "Bern"})], text="Well"), Say(["So"], hang=True)]
    server = site.server(site.agent(tools=[look_up]))

    async def test() -> None:
        answer = Answer(server, "threads.create", input=said())
        await asyncio.wait_for(adding.wait(), 10)
        await asyncio.sleep(0.1)
        await answer.stop()
        await settled(lambda: len(others()) <= 1)
        items = await stored(server, thread_of(answer.events))
        assert [item.type for item in items] == [
            "user_message",
            "assistant_message",
            "sdk_hidden_context",
        ]
        # Whether the second call was made depends on how far the run was ahead.
        await settled(lambda: api.gone == len(api.asked) - 1)
        api.replies.clear()

    site.run(test(), thorough=True)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (
            Fail(401, f"Incorrect API key provided: {KEY} {OTHER_KEY}.", "invalid_api_key"),
            "AuthenticationError, status 401, code invalid_api_key, request id req_standin",
        ),
        (Fail(429, f"Quota of {KEY} is used up", "insufficient_quota"), "RateLimitError"),
        (Fail(500, "The server had an error"), "InternalServerError, status 500"),
    ],
)
def test_errors_of_the_model_are_logged(
    site: Site,
    api: ModelApi,
    dialect: str,
    failure: Fail,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the model's service says is logged without any key, and told nobody."""
    api.replies = [failure]
    api.title = failure
    server = site.server(site.agent(dialect), titles=True)
    with caplog.at_level(logging.DEBUG):
        events = site.run(call(server, "threads.create", input=said()))
    assert [kind for kind in kinds(events) if kind != "thread.updated"] == ["error"]
    (error,) = [event for event in events if event.type == "error"]
    assert (error.code, error.message, error.allow_retry) == ("stream.error", None, True)
    assert f"The model could not answer: {told}" in caplog.text
    assert KEY not in caplog.text
    assert OTHER_KEY not in caplog.text


def test_unreachable_models_are_an_error(
    site: Site, api: ModelApi, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that can't be reached is an error like any other."""
    model = site.model()
    model._client.base_url = "http://127.0.0.1:9/v1"
    events = site.run(call(site.server(site.agent(model=model)), "threads.create", input=said()))
    assert kinds(events) == ["error"]
    assert "The model could not answer: APIConnectionError" in caplog.text


def test_failures_leave_nothing_running(site: Site, api: ModelApi, dialect: str) -> None:
    """Any number of failed answers leaves no task behind."""
    api.replies = [Fail(500, "no")] * 5
    server = site.server(site.agent(dialect))

    async def test() -> None:
        for _ in range(5):
            await call(server, "threads.create", input=said())
        await settled(lambda: len(others()) <= 1)

    site.run(test(), thorough=True)


@input_guardrail(run_in_parallel=False)
def no_input(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
    """Stop before the model is asked."""
    return GuardrailFunctionOutput(output_info="secret rule", tripwire_triggered=True)


@output_guardrail
def no_output(context: Any, agent: Any, output: Any) -> GuardrailFunctionOutput:
    """Stop when the model has answered."""
    return GuardrailFunctionOutput(output_info="secret rule", tripwire_triggered=True)


@tool_input_guardrail
def no_tool(data: Any) -> ToolGuardrailFunctionOutput:
    """Stop before a tool works."""
    return ToolGuardrailFunctionOutput.raise_exception("secret rule")


@pytest.mark.parametrize("kind", ["input", "output", "tool"])
def test_guardrails_are_polite(site: Site, api: ModelApi, dialect: str, kind: str) -> None:
    """A guardrail that stops an answer takes back what was said, and the visitor can read why."""
    guards: dict[str, Any] = {}
    if kind == "input":
        guards = {"input_guardrails": [no_input]}
    elif kind == "output":
        guards = {"output_guardrails": [no_output]}
        api.replies = [Say(["The code is 1234"])]
    else:

        @function_tool(tool_input_guardrails=[no_tool])
        def work() -> str:
            """Work."""
            return "done"

        guards = {"tools": [work]}
        api.replies = [Use([("work", {})])]
    server = site.server(site.agent(dialect, **guards))

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        error = events[-1]
        assert (error.type, error.code, error.message) == ("error", "custom", REFUSED)
        assert error.allow_retry is False
        items = await stored(server, thread_of(events))
        assert [item.type for item in items] == ["user_message"]
        if kind == "output":
            removed = [one.item_id for one in events if one.type == "thread.item.removed"]
            added = [one.item.id for one in events if one.type == "thread.item.added"]
            assert removed == added

    site.run(test(), thorough=True)


def test_endless_turns_end(site: Site, api: ModelApi, caplog: pytest.LogCaptureFixture) -> None:
    """An agent that never comes to an end is stopped, by the site's own limit."""
    api.replies = [Use([("look_up", {"city": "Bern"})])] * 2
    server = site.server(site.agent(tools=[look_up]), run_options={"max_turns": 2})
    with caplog.at_level(logging.INFO):
        events = site.run(call(server, "threads.create", input=said()))
    assert kinds(events) == ["notice"]
    assert events[-1].message == TOO_MANY_TURNS
    assert "max_turns" in caplog.text
    assert "Traceback" not in caplog.text


# --- titles -------------------------------------------------------------------------------------


async def _title(server: AgentServer, text: str = "Where are my keys to the old house?") -> Any:
    events = await call(server, "threads.create", input=said(text))
    told = [event.thread.title for event in events if event.type == "thread.updated"]
    assert len(told) <= 1
    title = (await server.store.load_thread(thread_of(events), ALICE)).title
    assert title == (told[0] if told else None)
    assert deltas(events) == "Hm"
    return title


@pytest.mark.parametrize(
    ("written", "title"),
    [
        (Say(["Keys and locks"]), "Keys and locks"),
        (Say(['\n**"Keys  and locks."**\nThis title is short.']), "Keys and locks"),
        (Say(["Donaudampfschifffahrt " * 5]), "Donaudampfschifffahrt Donaudampfschifffahrt…"),
        (Say([" "]), "Where are my keys to the…"),
        (Fail(500, "no"), "Where are my keys to the…"),
    ],
)
def test_model_writes_titles(
    site: Site, api: ModelApi, dialect: str, written: Any, title: str
) -> None:
    """A thread gets a title of the model's, or its first words if there is none."""
    api.replies = [Say(["Hm"])]
    api.title = written
    settings = ModelSettings(tool_choice="required", store=False)
    agent = site.agent(dialect, tools=[look_up], model_settings=settings)
    server = site.server(agent, titles=True)
    assert site.run(_title(server)) == title
    (asked,) = api.titles_asked
    assert asked["model"] == "small"
    assert "Where are my keys to the old house?" in str(asked)
    assert TITLE_INSTRUCTIONS in str(asked)
    assert not asked.get("tools")
    assert asked["store"] is False


def test_titles_are_not_waited_for(
    site: Site, api: ModelApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A title that takes too long is done without."""
    monkeypatch.setattr(agent_module, "TITLE_SECONDS", 0.05)
    api.replies = [Say(["Hm"])]
    api.title = Say([], hang=True)

    async def test() -> None:
        title = await _title(site.server(site.agent(), titles=True))
        assert title == "Where are my keys to the…"
        assert not [task for task in others() if "_write_title" in repr(task)]
        await settled(api.has_gone.is_set)

    site.run(test())


def test_titles_can_be_left_out(site: Site, api: ModelApi) -> None:
    """Without titles a thread has none, and no model is asked for one."""
    api.replies = [Say(["Hm"])]
    assert site.run(_title(site.server(site.agent()))) is None
    assert api.titles_asked == []


def test_an_agent_of_the_sites_writes_titles(site: Site, api: ModelApi) -> None:
    """The site may have an agent of its own for titles."""
    api.replies = [Say(["Hm"])]
    titler = Agent(name="t", instructions="Name it.", model=site.model(name="tiny"))
    assert site.run(_title(site.server(site.agent(), titles=titler))) == "Keys and locks"
    assert api.titles_asked[0]["model"] == "tiny"
    assert api.titles_asked[0]["instructions"] == "Name it."


def test_titles_are_written_once(site: Site, api: ModelApi) -> None:
    """A thread that has a title keeps it."""
    api.replies = [Say(["Hm"]), Say(["Hm"])]
    server = site.server(site.agent(), titles=True)

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        given = {"thread_id": thread_of(events), "input": said("And?")}
        assert kinds(await call(server, "threads.add_user_message", **given)) == MESSAGE

    site.run(test())
    assert len(api.titles_asked) == 1


# --- what was chosen, and what is told ----------------------------------------------------------


@pytest.mark.parametrize("chosen", ["big", "enormous"])
def test_models_on_offer_can_be_chosen(
    site: Site, api: ModelApi, dialect: str, chosen: str
) -> None:
    """A model on offer is asked where the agent's own is; any other choice is of no effect."""
    api.replies = [Use([("look_up", {"city": "Bern"})]), Say(["Hm"])]
    agent = site.agent(dialect, tools=[look_up])
    server = site.server(agent, models=frozenset({"big"}), titles=True)
    events = site.run(call(server, "threads.create", input=said(model=chosen)))
    assert deltas(events) == "Hm"
    expected = "big" if chosen == "big" else "small"
    assert [asked["model"] for asked in [*api.asked, *api.titles_asked]] == [expected] * 3
    assert agent.model.model == "small"


@pytest.mark.parametrize(
    ("chosen", "offered", "is_forced"),
    [
        ("look_up", None, True),
        ("look_up", {"look_up"}, True),
        ("look_up", {"other"}, False),
        ("no_such_tool", {"no_such_tool"}, False),
        ("required", None, False),
    ],
)
def test_tools_can_be_chosen(
    site: Site, api: ModelApi, dialect: str, chosen: str, offered: Any, is_forced: bool
) -> None:
    """A tool that the agent has, and that is on offer, is used first; the settings stay."""
    api.replies = [Use([("look_up", {"city": "Bern"})]), Say(["Hm"])]
    settings = ModelSettings(temperature=0.5)
    agent = site.agent(dialect, tools=[look_up], model_settings=settings)
    server = site.server(agent, tools=offered)
    site.run(call(server, "threads.create", input=said(tool_choice={"id": chosen})))
    first, second = api.asked
    assert ("look_up" in str(first.get("tool_choice"))) == is_forced
    assert "look_up" not in str(second.get("tool_choice"))
    assert first["temperature"] == 0.5


def test_run_options_are_used(site: Site, api: ModelApi) -> None:
    """A run's configuration is the site's; what would be shared by all visitors is refused."""
    api.replies = [Say(["Hm"])]
    config = {"model_settings": ModelSettings(temperature=0.25, tool_choice="required")}
    server = site.server(site.agent(), run_options={"run_config": config}, titles=True)
    site.run(call(server, "threads.create", input=said()))
    assert api.asked[0]["temperature"] == api.titles_asked[0]["temperature"] == 0.25
    for wrong in ("session", "conversation_id", "previous_response_id", "context"):
        with pytest.raises(ConfigurationError, match=f"and not {wrong}"):
            site.server(site.agent(), run_options={wrong: object()})
    site.server(site.agent(), run_options={"run_config": RunConfig(), "max_turns": None})


def test_files_are_told(site: Site, api: ModelApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are looked at, texts are read, documents are sent; the rest is named."""
    monkeypatch.setattr(converter, "FILE_CHARACTERS", 10)
    files = {
        "fox.png": ("image/png", PNG),
        "fox.heic": ("image/heic", b"heic"),
        "a.csv": ("text/csv; charset=utf-8", "naïve;1,2,3,4".encode()),
        "a.json": ("application/ld+json", b"{}"),
        "a.svg": ("image/svg+xml", b"<svg/>"),
        "a.pdf": ("application/pdf", b"%PDF-1.7"),
        "a.zip": ("application/zip", b"PK"),
        "gone.txt": ("text/plain", None),
    }

    async def read(attachment: Any, context: ChatContext) -> bytes:
        assert context is ALICE
        data = files[attachment.name][1]
        if data is None:
            raise NotFoundError
        return data

    api.replies = [Say(["Nice"])]
    server = site.server(site.agent(), read_attachment=read)

    async def test() -> None:
        ids = [(await upload(server, name, kind)).id for name, (kind, _) in files.items()]
        events = await call(server, "threads.create", input=said("Look", attachments=ids))
        assert deltas(events) == "Nice"
        given = {"thread_id": thread_of(events), "input": said("", attachments=ids[:1])}
        await call(server, "threads.add_user_message", **given)

    api.replies.append(Say(["Nice"]))
    site.run(test())
    assert [part["type"] for part in api.asked[1]["input"][-1]["content"]] == ["input_image"]
    parts = api.asked[0]["input"][0]["content"]
    data = base64.b64encode(PNG).decode()
    image = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{data}"}
    assert parts[0] == {"type": "input_text", "text": "Look"}
    assert parts[1] == image
    assert "'fox.heic' (image/heic): you can't open it" in parts[2]["text"]
    assert "<file>\nnaïve;1,2,\n</file>\n(The rest is left out.)" in parts[3]["text"]
    assert "<file>\n{}\n</file>" in parts[4]["text"]
    assert parts[4]["text"].endswith("</file>")
    assert "<file>\n<svg/>\n</file>" in parts[5]["text"]
    assert parts[6]["filename"] == "a.pdf"
    assert parts[6]["file_data"].startswith("data:application/pdf;base64,")
    assert "'a.zip' (application/zip): you can't open it" in parts[7]["text"]
    assert "'gone.txt', which can't be read now" in parts[8]["text"]


def test_files_go_along_with_their_own_message(site: Site, api: ModelApi) -> None:
    """A file is read and sent once, with its message; later turns name it, and may look again."""
    read = []

    def reader(attachment: Any, context: ChatContext) -> bytes:
        read.append(attachment.name)
        return attachment.name.encode()

    api.replies = [Say(["Nice"])] * 3
    server = site.server(site.agent(), read_attachment=reader)

    async def test() -> None:
        thread = ""
        for name in ("1.txt", "2.txt", "3.txt"):
            file = await upload(server, name, "text/plain", metadata={"size": 5})
            given = {"input": said(name, attachments=[file.id])}
            if thread:
                await call(server, "threads.add_user_message", thread_id=thread, **given)
            else:
                thread = thread_of(await call(server, "threads.create", **given))

    site.run(test())
    assert read == ["1.txt", "2.txt", "3.txt"]
    told = [text for _, text in texts(api.asked[2])]
    assert "'1.txt' (text/plain, 5 bytes) here" in told[1]
    assert "Call look_at_file" in told[4]
    assert "<file>\n3.txt\n</file>" in told[7]
    assert "tools" not in api.asked[0] or not api.asked[0]["tools"]
    assert [tool["name"] for tool in api.asked[1]["tools"]] == ["look_at_file"]


def test_everything_in_a_thread_is_told(site: Site, api: ModelApi, dialect: str) -> None:
    """Tags, quotes, hidden context and widgets are told in words."""
    api.replies = [Say(["Hm"])]
    server = site.server(site.agent(dialect))

    async def test() -> None:
        api.replies.append(Say(["Hm"]))
        thread = thread_of(await call(server, "threads.create", input=said("one")))
        base: dict[str, Any] = {"thread_id": thread, "created_at": datetime.now(timezone.utc)}
        for item in (
            HiddenContextItem(id="hid_1", content={"page": "/cart", "sum": 3}, **base),
            HiddenContextItem(id="hid_2", content="The till is closed.", **base),
            SDKHiddenContextItem(id="shcx_1", content="Stopped.", **base),
        ):
            await server.store.add_thread_item(thread, item, ALICE)
        tag = {"type": "input_tag", "id": "o1", "text": "Order 1", "data": {"n": 1}}
        content = [{"type": "input_text", "text": "And "}, tag]
        given = {"thread_id": thread, "input": said(content=content, quoted_text="as said")}
        await call(server, "threads.add_user_message", **given)

    site.run(test())
    told = str([text for _, text in texts(api.asked[1])])
    for wanted in (
        '{"page": "/cart", "sum": 3}',
        "The till is closed.",
        "Stopped.",
        "And @Order 1",
        "as said",
        '@Order 1 is: {"id": "o1", "name": "Order 1", "data": {"n": 1}}',
    ):
        assert wanted in told


def test_history_is_cut_at_a_message(site: Site, api: ModelApi) -> None:
    """An agent is told the last items only, from a message of the visitor's on."""
    api.replies = [Say([f"re: {n}"]) for n in range(4)]
    server = site.server(site.agent(), history_items=4)

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said("0")))
        for number in range(1, 4):
            given = {"thread_id": thread, "input": said(str(number))}
            await call(server, "threads.add_user_message", **given)

    site.run(test())
    assert texts(api.asked[3]) == [("user", "2"), ("assistant", "re: 2"), ("user", "3")]


def test_long_histories_are_loaded_in_pages(
    site: Site, api: ModelApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A history is loaded page by page, as far as the agent is told."""
    monkeypatch.setattr(agent_module, "PAGE", 2)
    api.replies = [Say([f"re: {n}"]) for n in range(4)]
    server = site.server(site.agent(), history_items=7)

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said("0")))
        for number in range(1, 4):
            given = {"thread_id": thread, "input": said(str(number))}
            await call(server, "threads.add_user_message", **given)

    site.run(test())
    assert [text for _, text in texts(api.asked[3])] == [
        "0",
        "re: 0",
        "1",
        "re: 1",
        "2",
        "re: 2",
        "3",
    ]


def test_calls_and_outputs_come_in_pairs() -> None:
    """A tool's call without an output, and an output without a call, are left out."""
    call_1 = {"type": "function_call", "call_id": "1", "name": "x", "arguments": "{}"}
    output_1 = {"type": "function_call_output", "call_id": "1", "output": "y"}
    message = {"role": "user", "content": "hi"}
    orphans = [{**output_1, "call_id": "0"}, {**call_1, "call_id": "2"}]
    assert drop_unpaired_calls([*orphans, message, call_1, output_1]) == [message, call_1, output_1]


# --- handlers -----------------------------------------------------------------------------------


def test_handlers_are_shared(site: Site, api: ModelApi) -> None:
    """Actions, feedback and dictation are the same as an assistant's."""

    def greet(payload: Any, chat: Any) -> Any:
        yield f"Hello {chat.visitor.user_id}"

    seen = []
    handlers = Callbacks(
        actions={"greet": greet},
        feedback=lambda kind, items, chat: seen.append((kind, len(items), chat.thread.id)),
        transcribe=lambda audio, chat: f"{chat.locale}: {audio.data.decode()}",
    )
    api.replies = [Say(["Hi"])]
    server = site.server(site.agent(), callbacks=handlers)

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        thread = thread_of(events)
        action = {"type": "greet", "payload": None}
        given = {"thread_id": thread, "action": action}
        assert deltas(await call(server, "threads.custom_action", **given)) == "Hello alice"
        given = {"thread_id": thread, "item_ids": [events[-1].item.id], "kind": "positive"}
        await call(server, "items.feedback", **given)
        assert seen == [("positive", 1, thread)]
        sound = {"audio_base64": base64.b64encode(b"hum").decode(), "mime_type": "audio/ogg"}
        assert await call(server, "input.transcribe", **sound) == {"text": "de-CH: hum"}
        assert ClientToolCallItem not in {type(item) for item in await stored(server, thread)}

    site.run(test())
