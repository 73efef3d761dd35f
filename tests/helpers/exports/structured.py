"""An export: the last node's output is structured."""

from agents import Agent, RunConfig, Runner, TResponseInputItem, trace
from pydantic import BaseModel


class WorkflowInput(BaseModel):
    input_as_text: str


class KindSchema(BaseModel):
    kind: str


sorter = Agent(
    name="Sorter", instructions="Help the user.", model="gpt-4.1", output_type=KindSchema
)


async def run_workflow(workflow_input: WorkflowInput):
    with trace("New agent"):
        state = {}
        workflow = workflow_input.model_dump()
        conversation_history: list[TResponseInputItem] = [
            {"role": "user", "content": [{"type": "input_text", "text": workflow["input_as_text"]}]}
        ]
        sorter_result_temp = await Runner.run(
            sorter,
            input=[*conversation_history],
            run_config=RunConfig(
                trace_metadata={"__trace_source__": "agent-builder", "workflow_id": "wf_1"}
            ),
        )
        conversation_history.extend([item.to_input_item() for item in sorter_result_temp.new_items])
        sorter_result = {
            "output_text": sorter_result_temp.final_output.json(),
            "output_parsed": sorter_result_temp.final_output.model_dump(),
        }
        return sorter_result
