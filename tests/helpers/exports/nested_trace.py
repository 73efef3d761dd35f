"""An export: a trace in a trace."""

from agents import Agent, RunConfig, Runner, TResponseInputItem, trace
from pydantic import BaseModel


class WorkflowInput(BaseModel):
    input_as_text: str


coach = Agent(name="Coach", instructions="Help the user.", model="gpt-4.1")


async def run_workflow(workflow_input: WorkflowInput):
    with trace("New agent"):
        state = {}
        workflow = workflow_input.model_dump()
        conversation_history: list[TResponseInputItem] = [
            {"role": "user", "content": [{"type": "input_text", "text": workflow["input_as_text"]}]}
        ]
        with trace("Inner"):
            coach_result_temp = await Runner.run(
                coach,
                input=[*conversation_history],
                run_config=RunConfig(
                    trace_metadata={"__trace_source__": "agent-builder", "workflow_id": "wf_1"}
                ),
            )
            conversation_history.extend(
                [item.to_input_item() for item in coach_result_temp.new_items]
            )
            coach_result = {"output_text": coach_result_temp.final_output_as(str)}
            return coach_result
