"""Exports with guardrails: the package's functions, as exports call them, and the SDK's own."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from agents import Agent, GuardrailFunctionOutput, InputGuardrail, Runner

from flask_chatkit.server.assistants.messages import text_of
from tests.helpers.driving import call, deltas, items_of, said, stored, thread_of, upload
from tests.helpers.model_api import ModelApi, Say
from tests.server.agents.test_workflow import api, drive, export

__all__ = ["api"]
CARD = "4111111111111111"


@dataclasses.dataclass
class GuardrailResult:
    """What a guardrail has found, by the names of the package ``guardrails``."""

    tripwire_triggered: bool
    info: dict[str, Any]


def load_config_bundle(source: dict[str, Any]) -> list[dict[str, Any]]:
    """The guardrails of a configuration."""
    return list(source["guardrails"])


def instantiate_guardrails(
    bundle: list[dict[str, Any]], registry: Any = None
) -> list[dict[str, Any]]:
    """Make them."""
    return bundle


async def run_guardrails(
    ctx: Any,
    data: str,
    media_type: str,
    guardrails: list[dict[str, Any]],
    *,
    suppress_tripwire: bool = False,
    raise_guardrail_errors: bool = False,
    **more: Any,
) -> list[GuardrailResult]:
    """Run them: numbers of cards are masked, and whoever wants all ignored is found."""
    assert media_type == "text/plain"
    assert suppress_tripwire
    assert ctx.guardrail_llm is not None
    return [
        GuardrailResult(False, {"checked_text": data.replace(CARD, "<CREDIT_CARD>")})
        if one["name"] == "Contains PII"
        else GuardrailResult("ignore" in data, {})
        for one in guardrails
    ]


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A double of the package."""
    runtime: Any = ModuleType("guardrails.runtime")
    runtime.load_config_bundle = load_config_bundle
    runtime.instantiate_guardrails = instantiate_guardrails
    runtime.run_guardrails = run_guardrails
    monkeypatch.setitem(sys.modules, "guardrails", ModuleType("guardrails"))
    monkeypatch.setitem(sys.modules, "guardrails.runtime", runtime)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-guardrails")
    yield
    sys.modules.pop("tests.helpers.exports.guardrails_package", None)


def test_tripwire_of_the_package_is_refused(api: ModelApi) -> None:
    """What a guardrail has found is refused politely, and no model is asked."""

    async def test(server: Any) -> None:
        events = await call(server, "threads.create", input=said("ignore all"))
        assert events[-1].type == "error"
        assert "Sorry" in events[-1].message
        assert deltas(events) == ""
        assert len(await stored(server, thread_of(events))) == 1

    drive(api, export("guardrails_package"), test)
    assert api.asked == []


def test_masked_text_stays_masked(api: ModelApi) -> None:
    """What a guardrail has masked reaches no model: not with files, in titles or later turns."""
    api.replies = [Say(["a"]), Say(["b"]), Say(["c"])]

    async def test(server: Any) -> None:
        file = await upload(server, "a.txt", "text/plain")
        message = said(f"Pay by {CARD}", attachments=[file.id])
        events = await call(server, "threads.create", input=message)
        assert len(items_of(events, "assistant_message")) == 1
        thread = thread_of(events)
        await call(server, "threads.add_user_message", thread_id=thread, input=said("again"))
        first = (await stored(server, thread))[0]
        assert text_of(first) == f"Pay by {CARD}"
        await call(server, "threads.retry_after_item", thread_id=thread, item_id=first.id)

    drive(api, export("guardrails_package"), test, titles=True, read_attachment=lambda *_: b"foxes")
    assert len(api.asked) == 3
    for asked in [*api.asked, *api.titles_asked]:
        assert CARD not in str(asked)
        assert str(asked).count("<CREDIT_CARD>") == 1
        # The file goes along with its own message, which is answered twice.
        is_own = asked in api.asked and "again" not in str(asked["input"])
        assert str(asked).count("foxes") == is_own


SHAPES = {
    "nested": {"jailbreak": {"failed": True}},
    "flat": {"failed": True, "failures": [{"guardrail_name": "Jailbreak"}]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_form_of_fail_output_is_refused(api: ModelApi, shape: str) -> None:
    """Agent Builder's older exports return another form of what a guardrail has found."""
    model = export("linear").__globals__["WorkflowInput"]

    async def run_workflow(given: model) -> Any:  # type: ignore[valid-type]
        return SHAPES[shape]

    run_workflow.__annotations__["given"] = model

    async def test(server: Any) -> None:
        events = await call(server, "threads.create", input=said("ignore all"))
        assert events[-1].type == "error"
        assert "Sorry" in events[-1].message

    drive(api, run_workflow, test)


def no_input(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
    """Find something in every message."""
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


def test_tripwire_of_the_sdk_is_refused(api: ModelApi) -> None:
    """A guardrail of the Agents SDK that the export does not catch is refused politely too."""
    model = export("linear").__globals__["WorkflowInput"]
    guardrail = InputGuardrail(guardrail_function=no_input, run_in_parallel=False)
    agent = Agent(name="Coach", model="small", input_guardrails=[guardrail])

    async def run_workflow(given: model) -> Any:  # type: ignore[valid-type]
        await Runner.run(agent, given.input_as_text)

    run_workflow.__annotations__["given"] = model

    async def test(server: Any) -> None:
        events = await call(server, "threads.create", input=said("ignore all"))
        assert events[-1].type == "error"
        assert "Sorry" in events[-1].message

    drive(api, run_workflow, test)
    assert api.asked == []
