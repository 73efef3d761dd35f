"""An export: one agent after the other."""

from agents import Agent, RunConfig, Runner, TResponseInputItem, trace
from pydantic import BaseModel


class WorkflowInput(BaseModel):
    input_as_text: str


writer = Agent(name="Writer", instructions="Help the user.", model="gpt-4.1")

editor = Agent(name="Editor", instructions="Help the user.", model="gpt-4.1")


async def run_workflow(workflow_input: WorkflowInput):
    with trace("New agent"):
        state = {}
        workflow = workflow_input.model_dump()
        conversation_history: list[TResponseInputItem] = [
            {"role": "user", "content": [{"type": "input_text", "text": workflow["input_as_text"]}]}
        ]
        writer_result_temp = await Runner.run(
            writer,
            input=[*conversation_history],
            run_config=RunConfig(
                trace_metadata={"__trace_source__": "agent-builder", "workflow_id": "wf_1"}
            ),
        )
        conversation_history.extend([item.to_input_item() for item in writer_result_temp.new_items])
        writer_result = {"output_text": writer_result_temp.final_output_as(str)}
        editor_result_temp = await Runner.run(
            editor,
            input=[*conversation_history],
            run_config=RunConfig(
                trace_metadata={"__trace_source__": "agent-builder", "workflow_id": "wf_1"}
            ),
        )
        conversation_history.extend([item.to_input_item() for item in editor_result_temp.new_items])
        editor_result = {"output_text": editor_result_temp.final_output_as(str)}
        return editor_result
