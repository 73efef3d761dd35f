"""An export: the package ``guardrails``, called as exports do; a tripwire, and masked numbers."""

from types import SimpleNamespace

from agents import Agent, RunConfig, Runner, TResponseInputItem, trace
from guardrails.runtime import instantiate_guardrails, load_config_bundle, run_guardrails
from openai import AsyncOpenAI
from pydantic import BaseModel

client = AsyncOpenAI()
ctx = SimpleNamespace(guardrail_llm=client)
guardrails_config = {
    "guardrails": [
        {"name": "Contains PII", "config": {"block": False, "entities": ["CREDIT_CARD"]}},
        {"name": "Jailbreak", "config": {"model": "gpt-4.1-mini", "confidence_threshold": 0.7}},
    ]
}


async def check(text, config):
    return await run_guardrails(
        ctx,
        text,
        "text/plain",
        instantiate_guardrails(load_config_bundle(config)),
        suppress_tripwire=True,
        raise_guardrail_errors=True,
    )


def guardrails_has_tripwire(results):
    return any(one.tripwire_triggered is True for one in results or [])


def get_guardrail_safe_text(results, fallback_text):
    return next((one.info["checked_text"] for one in results if one.info), fallback_text)


async def scrub_conversation_history(history, config):
    pii_only = {"guardrails": [one for one in config["guardrails"] if "PII" in one["name"]]}
    for message in history:
        for part in message["content"]:
            results = await check(part["text"], pii_only)
            part["text"] = get_guardrail_safe_text(results, part["text"])


async def run_and_apply_guardrails(input_text, config, history, workflow):
    results = await check(input_text, config)
    await scrub_conversation_history(history, config)
    workflow["input_as_text"] = get_guardrail_safe_text(results, workflow["input_as_text"])
    return {
        "results": results,
        "has_tripwire": guardrails_has_tripwire(results),
        "safe_text": get_guardrail_safe_text(results, input_text),
        "fail_output": build_guardrail_fail_output(results),
        "pass_output": {"safe_text": get_guardrail_safe_text(results, input_text)},
    }


def build_guardrail_fail_output(results):
    pii, jailbreak = results
    return {
        "pii": {"failed": pii.tripwire_triggered, "detected_counts": []},
        "jailbreak": {"failed": jailbreak.tripwire_triggered},
    }


coach = Agent(name="Coach", instructions="Help the user.", model="gpt-4.1")


class WorkflowInput(BaseModel):
    input_as_text: str


async def run_workflow(workflow_input: WorkflowInput):
    with trace("New agent"):
        state = {}
        workflow = workflow_input.model_dump()
        conversation_history: list[TResponseInputItem] = [
            {"role": "user", "content": [{"type": "input_text", "text": workflow["input_as_text"]}]}
        ]
        guardrails_input_text = workflow["input_as_text"]
        guardrails_result = await run_and_apply_guardrails(
            guardrails_input_text, guardrails_config, conversation_history, workflow
        )
        guardrails_hastripwire = guardrails_result["has_tripwire"]
        guardrails_output = (
            guardrails_hastripwire and guardrails_result["fail_output"]
        ) or guardrails_result["pass_output"]
        if guardrails_hastripwire:
            return guardrails_output
        coach_result_temp = await Runner.run(
            coach,
            input=[*conversation_history],
            run_config=RunConfig(
                trace_metadata={"__trace_source__": "agent-builder", "workflow_id": "wf_1"}
            ),
        )
        conversation_history.extend([item.to_input_item() for item in coach_result_temp.new_items])
        coach_result = {"output_text": coach_result_temp.final_output_as(str)}
        return coach_result
