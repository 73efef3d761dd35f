"""An export: a handoff."""

from agents import Agent, RunConfig, Runner, TResponseInputItem, trace
from pydantic import BaseModel


class WorkflowInput(BaseModel):
    input_as_text: str


expert = Agent(name="Expert", instructions="Help the user.", model="gpt-4.1")

triage = Agent(name="Triage", instructions="Help the user.", model="gpt-4.1", handoffs=[expert])


async def run_workflow(workflow_input: WorkflowInput):
    with trace("New agent"):
        state = {}
        workflow = workflow_input.model_dump()
        conversation_history: list[TResponseInputItem] = [
            {"role": "user", "content": [{"type": "input_text", "text": workflow["input_as_text"]}]}
        ]
        triage_result_temp = await Runner.run(
            triage,
            input=[*conversation_history],
            run_config=RunConfig(
                trace_metadata={"__trace_source__": "agent-builder", "workflow_id": "wf_1"}
            ),
        )
        conversation_history.extend([item.to_input_item() for item in triage_result_temp.new_items])
        triage_result = {"output_text": triage_result_temp.final_output_as(str)}
        return triage_result
