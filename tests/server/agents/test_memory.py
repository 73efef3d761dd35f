"""What an agent knows in the next turn: what its tools returned, and who spoke last."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agents import Agent, function_tool, handoff

from flask_chatkit.server.agents import memory
from tests.helpers.driving import ALICE, call, deltas, kinds, said, stored, thread_of
from tests.helpers.model_api import ModelApi, Say, Use
from tests.server.agents.test_server import Site, look_up


async def _next(server: Any, thread: str, text: str = "next") -> list[Any]:
    return list(await call(server, "threads.add_user_message", thread_id=thread, input=said(text)))


def test_what_tools_returned_is_known(site: Site, api: ModelApi, dialect: str) -> None:
    """Calls and outputs precede the answer that they led to, and the page never gets them."""
    api.replies = [Use([("look_up", {"city": "Bern"})]), Say(["Warm."]), Say(["As I said."])]
    server = site.server(site.agent(dialect, tools=[look_up]))

    async def test() -> None:
        events = await call(server, "threads.create", input=said())
        thread = thread_of(events)
        assert "hidden" not in str(kinds(events))
        items = await call(server, "items.list", thread_id=thread)
        assert "sunny in Bern" not in json.dumps(items)
        kept = [item.type for item in await stored(server, thread)]
        assert kept == ["user_message", "hidden_context_item", "assistant_message"]
        await _next(server, thread)

    site.run(test())
    told = api.asked[2].get("input") or api.asked[2]["messages"]
    places = [json.dumps(told).index(word) for word in ("Hello", "sunny in Bern", "Warm.", "next")]
    assert places == sorted(places)


def test_the_oldest_outputs_are_dropped(
    site: Site, api: ModelApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs are cut, and all of them together keep to a size."""
    monkeypatch.setattr(memory, "OUTPUT_CHARACTERS", 100)
    monkeypatch.setattr(memory, "RECALLED_CHARACTERS", 500)
    answers = iter("abc")

    @function_tool
    def look() -> str:
        """Look."""
        return next(answers) * 1000

    api.replies = [one for _ in range(3) for one in (Use([("look", {})]), Say(["Well."]))]
    api.replies.append(Say(["End"]))
    server = site.server(site.agent(tools=[look]))

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said()))
        for _ in range(3):
            await _next(server, thread)

    site.run(test())
    told = str(api.asked[-1]["input"])
    assert "c" * 100 in told
    assert "c" * 101 not in told
    assert "a" * 100 not in told


@pytest.mark.parametrize("form", ["agent", "handoff", "callable"])
def test_the_agent_that_spoke_last_goes_on(
    site: Site, api: ModelApi, dialect: str, form: str
) -> None:
    """After a handoff the next turn is the second agent's, until it is gone."""
    model = site.model(dialect)
    billing = Agent(name="Billing", instructions="You are billing.", model=model)
    target: Any = handoff(billing) if form == "handoff" else billing
    triage = Agent(name="Triage", instructions="You are triage.", model=model, handoffs=[target])
    server = site.server((lambda _: triage) if form == "callable" else triage)
    api.replies = [Use([("transfer_to_billing", {})]), Say(["Bill."]), Say(["Yes."]), Say(["Hm."])]

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said()))
        assert deltas(await _next(server, thread)) == "Yes."
        triage.handoffs = []
        assert deltas(await _next(server, thread)) == "Hm."

    site.run(test())
    assert "You are billing." in str(api.asked[2])
    assert "You are triage." in str(api.asked[3])


def test_a_message_answered_anew(site: Site, api: ModelApi) -> None:
    """A retry is answered by the agent that the message was for, and tools' outputs go with it."""
    model = site.model()
    billing = Agent(name="Billing", instructions="You are billing.", model=model)
    triage = Agent(name="Triage", instructions="You are triage.", model=model, handoffs=[billing])
    server = site.server(triage)
    api.replies = [Use([("transfer_to_billing", {})]), Say(["Bill."]), Say(["Anew."])]

    async def test() -> None:
        thread = thread_of(await call(server, "threads.create", input=said()))
        first = (await stored(server, thread))[0]
        place = {"thread_id": thread, "item_id": first.id}
        events = await call(server, "threads.retry_after_item", ALICE, **place)
        assert deltas(events) == "Anew."

    site.run(test())
    assert "You are triage." in str(api.asked[2])
    assert "transfer_to_billing" not in str(api.asked[2]["input"])
