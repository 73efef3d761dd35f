"""The fake model: judged by the Agents SDK's own runner, and by its model for the Responses API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from agents import (
    Agent,
    MaxTurnsExceeded,
    ModelBehaviorError,
    ModelSettings,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)
from agents.exceptions import AgentsException
from agents.run import AgentRunner, get_default_agent_runner, set_default_agent_runner
from flask import Flask
from openai import AsyncOpenAI
from pydantic import BaseModel

from flask_chatkit import ChatKit
from flask_chatkit.server.streaming import loop as server_loop
from flask_chatkit.testing import (
    AnswerError,
    FakeModel,
    FakeModelError,
    HandoffTo,
    ModelReply,
    ServedChat,
    ToolCall,
    fake_models,
    model_error,
)
from tests.helpers.model_api import KEY, Fail, ModelApi, Say, Use, serve_model
from tests.helpers.served import PNG

pytest_plugins = ["pytester"]


@function_tool
def order_status(number: str, loud: bool = False, note: str | None = None) -> str:
    """Look an order up."""
    return f"{number} is packed"


class Size(BaseModel):
    """What an agent with an output type returns."""

    name: str
    waist: int


def run(agent: Agent[Any], given: Any = "hi", **options: Any) -> Any:
    """Run an agent to its end."""
    options = {"run_config": RunConfig(tracing_disabled=True), **options}
    return asyncio.run(Runner.run(agent, given, **options))


def run_sync(agent: Agent[Any]) -> Any:
    """Run an agent as code without asyncio does, whose loop stays open otherwise."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return Runner.run_sync(agent, "hi")
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def stream(agent: Agent[Any], given: Any = "hi", **options: Any) -> tuple[Any, list[Any]]:
    """Run an agent streamed; the result, and all its events."""
    options = {"run_config": RunConfig(tracing_disabled=True), **options}

    async def act() -> tuple[Any, list[Any]]:
        result = Runner.run_streamed(agent, given, **options)
        return result, [event async for event in result.stream_events()]

    return asyncio.run(act())


def agent_of(*replies: Any, **more: Any) -> Agent[Any]:
    """An agent that a script answers for."""
    tools = [order_status]
    return Agent(**{"name": "Clerk", "tools": tools, "model": FakeModel(*replies), **more})


def stream_real(api: ModelApi, make: Callable[[Any], Agent[Any]]) -> tuple[Any, list[Any]]:
    """Run an agent streamed on OpenAI's own model, over HTTP."""

    async def act() -> tuple[Any, list[Any]]:
        async with AsyncOpenAI(api_key=KEY, base_url=api.base_url, max_retries=0) as client:
            agent = make(OpenAIResponsesModel("gpt-of-tests", client))
            result = Runner.run_streamed(agent, "hi", run_config=RunConfig(tracing_disabled=True))
            return result, [event async for event in result.stream_events()]

    return asyncio.run(act())


# --- as the real one ------------------------------------------------------------------------------


@pytest.fixture
def model_api() -> Iterator[ModelApi]:
    """Serve a stand-in for a model's API."""
    with serve_model() as api:
        yield api
        assert api.wrong == []


def shape(events: list[Any]) -> list[Any]:
    """What comes, by type and fields; several deltas are one, and what only OpenAI sends is not."""
    found: list[Any] = []
    for event in events:
        if event.type != "raw_response_event":
            one = (event.type, getattr(event, "name", ""), "")
        elif event.data.type in {
            "response.in_progress",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_part.done",
        }:
            continue
        else:
            data = event.data.model_dump(exclude_unset=True)
            item = data.get("item") or {}
            one = (event.data.type, tuple(sorted(data)), tuple(sorted(set(item) - {"status"})))
        if not (found and found[-1] == one and one[0].endswith(".delta")):
            found.append(one)
    return found


def told(result: Any) -> list[Any]:
    """The conversation after a run, without ids."""
    items = json.loads(json.dumps(result.to_input_list()))
    for item in items:
        for name in ("id", "call_id"):
            item.pop(name, None)
    return items


CALL = {"number": "1042", "loud": True, "note": None}
SCRIPTS: dict[str, tuple[list[Any], list[Any]]] = {
    "text": ([Say(["It ", "is ", "packed."])], ["It is packed."]),
    "thought": (
        [Say(["Yes."], thought="Look it up")],
        [ModelReply("Yes.", thinking="Look it up")],
    ),
    "tool": (
        [Use([("order_status", CALL)], text="Let me look."), Say(["Packed."])],
        [["Let me look.", ToolCall("order_status", CALL)], "Packed."],
    ),
    "two tools at once": (
        [Use([("order_status", CALL)] * 2), Say(["Both packed."])],
        [[ToolCall("order_status", CALL)] * 2, "Both packed."],
    ),
    "handoff": (
        [Use([("transfer_to_returns", {})]), Say(["Send it back."])],
        [HandoffTo("Returns"), "Send it back."],
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_streams_as_the_real_model(model_api: ModelApi, name: str) -> None:
    """The same script makes the same events, items and conversation as OpenAI's model over HTTP."""
    model_api.replies, replies = list(SCRIPTS[name][0]), SCRIPTS[name][1]

    def make(model: Any) -> Agent[Any]:
        returns = Agent[Any](name="Returns", model=model)
        return Agent[Any](name="Clerk", tools=[order_status], handoffs=[returns], model=model)

    real, real_events = stream_real(model_api, make)
    fake, fake_events = stream(make(FakeModel(*replies)))
    assert shape(fake_events) == shape(real_events)
    assert told(fake) == told(real)
    assert fake.final_output == real.final_output
    assert fake.last_agent.name == real.last_agent.name
    assert fake.context_wrapper.usage.requests == real.context_wrapper.usage.requests


@pytest.mark.parametrize("name", SCRIPTS)
def test_replies_alike_at_once(name: str) -> None:
    """A run that is not streamed ends as a streamed one does."""
    results = []
    for act in (run, lambda agent: stream(agent)[0]):
        model = FakeModel(*SCRIPTS[name][1])
        returns = Agent[Any](name="Returns", model=model)
        results.append(
            act(Agent(name="Clerk", tools=[order_status], handoffs=[returns], model=model))
        )
        model.assert_done()
    assert told(results[0]) == told(results[1])
    assert results[0].final_output == results[1].final_output


def test_text_comes_in_pieces() -> None:
    """A string is streamed word by word, a list as it is, and neither loses a blank."""
    text = "  Two  words\nand more. "
    for reply, pieces in ((text, 4), (ModelReply(["Two ", "pieces"]), 2)):
        result, events = stream(agent_of(reply))
        deltas = [
            event.data.delta
            for event in events
            if event.type == "raw_response_event"
            and event.data.type == "response.output_text.delta"
        ]
        assert len(deltas) == pieces
        assert "".join(deltas) == result.final_output
    assert run(agent_of(text)).final_output == text


def test_error_is_the_packages_own(model_api: ModelApi) -> None:
    """An API's error is of the same class, with the same fields, as the openai package raises."""
    for status in (400, 401, 404, 429, 500, 503):
        model_api.replies = [Fail(status, "Please wait.", "some_code")]
        with pytest.raises(openai.APIStatusError) as real:
            stream_real(model_api, lambda model: Agent(name="Clerk", model=model))
        with pytest.raises(openai.APIStatusError) as fake:
            stream(agent_of(model_error(status, "Please wait.", code="some_code")))
        assert type(fake.value) is type(real.value)
        for name in ("status_code", "code", "type", "param"):
            assert getattr(fake.value, name) == getattr(real.value, name)
        assert str(fake.value).partition(" - ")[0] == str(real.value).partition(" - ")[0]
        assert fake.value.request_id


# --- what a script may hold -----------------------------------------------------------------------


def test_structured_output() -> None:
    """An object or mapping becomes the agent's output type, and so does what is no JSON object."""
    size = Size(name="M", waist=81)
    assert run(agent_of(size, output_type=Size)).final_output == size
    assert stream(agent_of(size.model_dump(), output_type=Size))[0].final_output == size
    assert run(agent_of(ModelReply(output=[1, 2]), output_type=list[int])).final_output == [1, 2]


def test_function_of_what_was_asked() -> None:
    """A function, plain or asynchronous, makes the reply from what was asked."""

    async def later(asked: Any) -> Any:
        return f"You said {asked.text}"

    model = FakeModel(lambda asked: ToolCall("order_status", {"number": asked.text}), later)
    result = run(agent_of(model=model), "1042")
    assert result.final_output == "You said 1042"
    first, second = model.asked
    assert (first.tools, first.is_streamed, first.tool_outputs) == (["order_status"], False, [])
    assert second.tool_outputs == ["1042 is packed"]


def test_asked_has_the_conversation() -> None:
    """What was asked is kept as it was, with instructions, settings, handoffs and each role."""
    other = Agent[Any](name="Returns")
    settings = ModelSettings(temperature=0.3)
    model = FakeModel("Yes")
    given: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "One"}]},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"},
    ]
    run(
        agent_of(model=model, instructions="Be brief.", handoffs=[other], model_settings=settings),
        given,
    )
    given[2]["content"] = "changed later"
    (asked,) = model.asked
    assert asked.messages == [("user", "One"), ("assistant", "Two"), ("user", "Three")]
    assert asked.text == "Three"
    assert asked.instructions == "Be brief."
    assert asked.settings.temperature == 0.3
    assert asked.handoffs == ["Returns"]


def test_default_replies_for_ever() -> None:
    """After the script the default replies, as often as it is asked."""
    agent = agent_of(model=FakeModel("First", default=lambda asked: asked.text.upper()))
    assert [run(agent, text).final_output for text in ("a", "b", "c")] == ["First", "B", "C"]


def test_refusal_and_cut_are_the_sdks() -> None:
    """A refusal and a reply that is cut off end a run as the SDK ends it."""
    with pytest.raises(AgentsException, match="refused"):
        stream(agent_of(ModelReply(refusal="I can't help with that.")))
    cut = ModelReply("So far", incomplete="max_output_tokens")
    with pytest.raises(ModelBehaviorError, match="max_output_tokens"):
        stream(agent_of(cut))
    assert run(agent_of(cut)).final_output == "So far"


def test_usage_is_counted() -> None:
    """The tokens of the script are those of the run, streamed or not."""
    script = [
        ModelReply(calls=[ToolCall("order_status", {"number": "1"})], usage=(100, 20)),
        ModelReply("Yes", usage=(130, 5)),
    ]
    for result in (run(agent_of(*script)), stream(agent_of(*script))[0]):
        usage = result.context_wrapper.usage
        assert (usage.requests, usage.input_tokens, usage.output_tokens) == (2, 230, 25)
        assert usage.total_tokens == 255


def test_broken_arguments_reach_the_sdk() -> None:
    """Arguments that are a string are sent as they are, as models do break JSON."""
    model = FakeModel(ToolCall("order_status", '{"number": '), "Sorry.")
    assert run(agent_of(model=model)).final_output == "Sorry."
    assert model.asked[1].tool_outputs[0].startswith("An error occurred")


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "more", "message"),
    [
        ("Large", {"output_type": Size}, "which is no Size"),
        ({"name": "M"}, {"output_type": Size}, "which is no Size"),
        ({"name": "M"}, {}, "no output_type"),
        (ToolCall("order"), {}, "function tools are 'order_status'"),
        (ToolCall("order"), {"tools": []}, "function tools are none"),
        (ToolCall("order_status"), {}, "without 'number'"),
        (ToolCall("order_status", {"nr": "1"}), {}, "with 'nr', and its arguments are 'number'"),
        (HandoffTo("Returns"), {}, "can hand over to none"),
        ("No", {"model_settings": ModelSettings(tool_choice="required")}, "calls no tool"),
        ("No", {"model_settings": ModelSettings(tool_choice="order_status")}, "does not call it"),
        (
            ToolCall("order_status", {"number": "1"}),
            {"model_settings": ModelSettings(tool_choice="none")},
            "tool_choice is 'none'",
        ),
    ],
)
@pytest.mark.parametrize("act", [run, stream])
def test_reply_that_no_model_gives(
    act: Callable[..., Any], reply: Any, more: dict[str, Any], message: str
) -> None:
    """A script that does not fit the agent is an error that names both."""
    with pytest.raises(FakeModelError, match=message):
        act(agent_of(reply, **more))


def test_call_too_many_is_named() -> None:
    """A call without a reply says what was asked, and a reply without a call is found as well."""
    model = FakeModel("Once")
    agent = agent_of(model=model, instructions="Be brief.")
    run(agent)
    with pytest.raises(FakeModelError, match=r"call 2 .* asked 'And now\?'.*'Be brief\.'"):
        run(agent, "And now?")
    model.clear()
    model.add("Never", "asked for")
    assert model.unused == ["Never", "asked for"]
    with pytest.raises(FakeModelError, match="never for"):
        model.assert_done()


def test_conversation_that_the_api_refuses() -> None:
    """A tool's call without its output, or the other way round, is refused as OpenAI does."""
    call = {"type": "function_call", "call_id": "call_1", "name": "x", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "1"}
    user = {"role": "user", "content": "hi"}
    for given, message in (
        ([user, output], "No tool call found"),
        ([user, call, user], "No tool output found"),
    ):
        with pytest.raises(openai.BadRequestError, match=message):
            asyncio.run(
                FakeModel("x").get_response(
                    None,
                    given,
                    ModelSettings(),
                    [],
                    None,
                    [],
                    None,  # type: ignore[arg-type]
                )
            )


def test_misfit_that_an_agent_kept_to_itself() -> None:
    """A misfit in the run of an agent that is a tool is raised at the end, unless it is cleared."""
    helper = Agent[Any](name="Helper").as_tool("help", "Helps")
    replies = [ToolCall("help", {"input": "x"}), ToolCall("nothing"), "Never mind."]
    with pytest.raises(FakeModelError, match="calls 'nothing'"), fake_models(*replies) as model:
        assert run(Agent(name="A", tools=[helper])).final_output == "Never mind."
    with fake_models(*replies) as model:
        run(Agent(name="A", tools=[helper]))
        model.clear()


@pytest.mark.parametrize("reply", [None, 3, [3], [["x"]], FakeModelError])
def test_what_is_no_reply(reply: Any) -> None:
    """What a model can't reply with is refused when the script is written."""
    with pytest.raises(TypeError, match="a model replies with"):
        FakeModel(reply)


def test_real_limits_hold() -> None:
    """A script that calls tools for ever ends at the SDK's own limit."""
    agent = agent_of(model=FakeModel(default=ToolCall("order_status", {"number": "1"})))
    with pytest.raises(MaxTurnsExceeded):
        run(agent, max_turns=3)


# --- in the place of every model ------------------------------------------------------------------


def test_all_models_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names a model, the fake one replies, knows the name, and is gone afterwards."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    client = AsyncOpenAI(api_key="sk-nobody", base_url="http://127.0.0.1:9/v1", max_retries=0)
    helper = Agent[Any](name="Helper")
    tool = helper.as_tool("help", "Helps")
    agents = [
        Agent[Any](name="A"),
        Agent[Any](name="B", model="gpt-b"),
        Agent[Any](name="C", model=OpenAIResponsesModel("gpt-c", client)),
    ]
    with fake_models("1", "2", "3", "4", ToolCall("help", {"input": "x"}), "helped", "5") as model:
        assert [run(agent).final_output for agent in agents] == ["1", "2", "3"]
        assert stream(agents[0], run_config={"model": "gpt-d"})[0].final_output == "4"
        assert run_sync(Agent(name="E", tools=[tool])).final_output == "5"
    assert [asked.model for asked in model.asked][:4] == ["fake", "gpt-b", "gpt-c", "gpt-d"]
    assert model.asked[-1].tool_outputs == ["helped"]
    with pytest.raises((openai.OpenAIError, AgentsException)):
        run(agents[2])


def test_runner_of_somebody_else() -> None:
    """A default runner that is set meanwhile, and streams what was not streamed, is served too."""

    class Streaming(AgentRunner):
        async def run(self, starting_agent: Any, given: Any, **options: Any) -> Any:  # type: ignore[override]
            result = self.run_streamed(starting_agent, given, **options)
            async for _ in result.stream_events():
                pass
            return result

    before = get_default_agent_runner()
    try:
        with fake_models("one", "two") as model:
            set_default_agent_runner(Streaming())
            assert run(Agent[Any](name="A", model="gpt-a")).final_output == "one"
            set_default_agent_runner(before)
            assert run(Agent[Any](name="A", model="gpt-a")).final_output == "two"
        assert [asked.is_streamed for asked in model.asked] == [True, False]
    finally:
        set_default_agent_runner(before)


def test_own_fake_goes_first() -> None:
    """An agent's own fake model is not replaced, and the inner of two blocks replies."""
    with fake_models("outer"):
        assert run(agent_of("own")).final_output == "own"
        with fake_models("inner"):
            assert run(Agent[Any](name="A")).final_output == "inner"
        assert run(Agent[Any](name="A")).final_output == "outer"


def test_script_must_be_used() -> None:
    """The end of the block fails a test whose script was not used, but hides no other failure."""
    with pytest.raises(FakeModelError, match="never for"), fake_models("unused"):
        pass
    with pytest.raises(ZeroDivisionError), fake_models("unused"):
        raise ZeroDivisionError


# --- in a served chat -----------------------------------------------------------------------------


@pytest.fixture
def make_site(tmp_path: Path) -> Callable[..., Flask]:
    """Make sites on which an agent answers."""

    def make(agent: Any, **options: Any) -> Flask:
        app = Flask("site", instance_path=str(tmp_path))
        app.config.update(SECRET_KEY="of the tests", TESTING=True, CHATKIT_DATABASE_URI="sqlite://")
        kit = ChatKit()
        kit.add_agent("default", agent, **options)
        app.register_blueprint(kit)
        return app

    return make


def test_chat_of_an_agent(make_site: Any, fake_model: FakeModel) -> None:
    """A served agent answers by the script, knows its history, and has a title beside it."""
    fake_model.add(ToolCall("order_status", {"number": "7"}), "It is packed.", "You are welcome.")
    chat = ServedChat(make_site(Agent(name="Clerk", tools=[order_status])))
    first = chat.say("Where is order 7?")
    assert (first.text, first.deltas[0], first.title) == ("It is packed.", "It", "A title")
    assert chat.say("Thanks").text == "You are welcome."
    assert fake_model.asked[-1].messages == [
        ("user", "Where is order 7?"),
        ("assistant", "It is packed."),
        ("user", "Thanks"),
    ]
    (title,) = fake_model.titles_asked
    assert title.text == "Where is order 7?"


def test_title_by_an_agent_of_its_own(make_site: Any, fake_model: FakeModel) -> None:
    """A title that the site's own agent writes takes no reply of the script either."""
    fake_model.add("Hello!")
    titler = Agent[Any](name="Titler", instructions="Name it.", model="gpt-small")
    answer = ServedChat(make_site(Agent(name="Clerk"), titles=titler)).say("hi")
    assert (answer.text, answer.title) == ("Hello!", "A title")
    assert fake_model.titles_asked[0].model == "gpt-small"


def test_model_of_the_composer(make_site: Any) -> None:
    """The model that a visitor chose is the one that was asked, whatever stands in its place."""
    widget = {"models": [{"id": "gpt-big", "label": "Big"}]}
    own = FakeModel("One", "Two")
    chat = ServedChat(make_site(Agent(name="Clerk", model=own), widget=widget))
    chat.say("hi", model="gpt-big")
    chat.say("again")
    assert [asked.model for asked in own.asked] == ["gpt-big", "fake"]
    with fake_models("Three") as model:
        chat = ServedChat(make_site(Agent(name="Clerk", model="gpt-small"), widget=widget))
        assert chat.say("hi", model="gpt-big").text == "Three"
    assert model.asked[0].model == "gpt-big"


def test_fixture_reports_only_the_first_failure(pytester: pytest.Pytester) -> None:
    """A script that is left over fails a test, but a test that has failed is not failed twice."""
    pytester.makeconftest('pytest_plugins = ["flask_chatkit.testing.fixtures"]')
    pytester.makepyfile(
        """
        def test_left_over(fake_model):
            fake_model.add("unused")

        def test_failed(fake_model):
            fake_model.add("unused")
            assert False
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1, failed=1)
    result.stdout.fnmatch_lines(["*FakeModelError*unused*"])


def test_files_and_sources(make_site: Any) -> None:
    """The files that the model got are listed, and the sources of its text reach the chat."""
    source = {"type": "url_citation", "url": "https://shop.example/1", "title": "One"}
    place = {"start_index": 0, "end_index": 3}
    model = FakeModel(ModelReply("Yes", annotations=[{**source, **place}]))
    chat = ServedChat(make_site(Agent(name="Clerk", model=model), attachments=True))
    pdf = b"%PDF-1.4 of the tests"
    answer = chat.say("Look", files=[("dot.png", PNG), ("plan.pdf", pdf), ("a.txt", b"plain")])
    (item,) = answer.items
    (annotation,) = item.content[0].annotations  # type: ignore[union-attr]
    assert annotation.source.url == "https://shop.example/1"  # type: ignore[union-attr]
    assert model.asked[0].files == ["image/png", "plan.pdf"]
    assert "plain" in model.asked[0].text


def test_stop_reaches_the_model(make_site: Any) -> None:
    """Stop cancels a model that has fallen silent, and what it said is kept."""
    model = FakeModel(ModelReply("So far so", hang=True))
    chat = ServedChat(make_site(Agent(name="Clerk", model=model)))
    answer = chat.say("Tell me", stop_when=lambda answer: "far so" in answer.text)
    assert answer.stopped
    assert model.asked[0].is_cancelled
    assert chat.items()[-1].content[0].text == "So far so"  # type: ignore[union-attr]


def test_script_that_does_not_fit_fails_the_test(make_site: Any) -> None:
    """What is wrong with the script is the cause of the error that the visitor reads."""
    chat = ServedChat(make_site(Agent(name="Clerk", model=FakeModel(ToolCall("nothing")))))
    with pytest.raises(AnswerError) as failed:
        chat.say("hi")
    assert isinstance(failed.value.__cause__, FakeModelError)
    assert "calls 'nothing'" in str(failed.value)


def test_same_events_as_the_real_model_in_a_chat(make_site: Any, model_api: ModelApi) -> None:
    """A chat shows of the fake model what it shows of OpenAI's own over HTTP."""
    model_api.replies = list(SCRIPTS["tool"][0])
    client = AsyncOpenAI(api_key=KEY, base_url=model_api.base_url)
    shown = []
    for model in (OpenAIResponsesModel("gpt-t", client), FakeModel(*SCRIPTS["tool"][1])):
        site = make_site(Agent(name="Clerk", tools=[order_status], model=model))
        answer = ServedChat(site).say("hi")
        kinds = [
            (event.type, getattr(getattr(event, "update", None), "type", None))
            for event in answer.events
            if event.type != "thread.updated"  # the title, which comes when it comes
        ]
        once = [kind for at, kind in enumerate(kinds) if at == 0 or kind != kinds[at - 1]]
        shown.append((once, answer.text))
    server_loop.current().run(client.close, 5)
    assert shown[0] == shown[1]
