"""An export: a classifier, and the agent that it chooses."""

from agents import Agent, RunConfig, Runner, TResponseInputItem, trace
from pydantic import BaseModel


class WorkflowInput(BaseModel):
    input_as_text: str


class KindSchema(BaseModel):
    kind: str


classifier = Agent(
    name="Classifier", instructions="Help the user.", model="gpt-4.1", output_type=KindSchema
)

sales = Agent(name="Sales", instructions="Help the user.", model="gpt-4.1")

support = Agent(name="Support", instructions="Help the user.", model="gpt-4.1")


async def run_workflow(workflow_input: WorkflowInput):
    with trace("New agent"):
        state = {}
        workflow = workflow_input.model_dump()
        conversation_history: list[TResponseInputItem] = [
            {"role": "user", "content": [{"type": "input_text", "text": workflow["input_as_text"]}]}
        ]
        kind_result_temp = await Runner.run(
            classifier,
            input=[*conversation_history],
            run_config=RunConfig(
                trace_metadata={"__trace_source__": "agent-builder", "workflow_id": "wf_1"}
            ),
        )
        conversation_history.extend([item.to_input_item() for item in kind_result_temp.new_items])
        kind_result = {
            "output_text": kind_result_temp.final_output.json(),
            "output_parsed": kind_result_temp.final_output.model_dump(),
        }
        if kind_result["output_parsed"]["kind"] == "sales":
            sales_result_temp = await Runner.run(
                sales,
                input=[*conversation_history],
                run_config=RunConfig(
                    trace_metadata={"__trace_source__": "agent-builder", "workflow_id": "wf_1"}
                ),
            )
            conversation_history.extend(
                [item.to_input_item() for item in sales_result_temp.new_items]
            )
            sales_result = {"output_text": sales_result_temp.final_output_as(str)}
            return sales_result
        support_result_temp = await Runner.run(
            support,
            input=[*conversation_history],
            run_config=RunConfig(
                trace_metadata={"__trace_source__": "agent-builder", "workflow_id": "wf_1"}
            ),
        )
        conversation_history.extend(
            [item.to_input_item() for item in support_result_temp.new_items]
        )
        support_result = {"output_text": support_result_temp.final_output_as(str)}
        return support_result
