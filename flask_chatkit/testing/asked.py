"""The calls of a fake model, and whether a script's reply fits them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents import AgentOutputSchemaBase, FunctionTool, ModelBehaviorError, ModelSettings, Tool
from pydantic_core import to_json

from .replies import FakeModelError, HandoffTo, ModelReply, ToolCall, as_json, model_error, pieces


@dataclass
class Asked:
    """One call of the model, with everything the agent sent.

    :param instructions: the agent's instructions.
    :param input: the conversation, in the form of the Responses API, the oldest first.
    :param tools: the names of the tools that the agent offered.
    :param handoffs: the names of the agents that it can hand over to.
    :param settings: the settings of the call.
    :param model: the name of the model that would have been called; ``fake`` if none was named.
    :param is_streamed: whether the reply is streamed.
    :param is_cancelled: whether the run ended before the reply did, as when a visitor presses Stop.
    :param tools_given: the tools themselves.
    :param handoffs_given: the handoffs themselves.
    :param schema: that of the agent's ``output_type``; None for plain text.
    """

    instructions: str | None
    input: list[dict[str, Any]]
    tools: list[str]
    handoffs: list[str]
    settings: ModelSettings
    model: str
    is_streamed: bool
    is_cancelled: bool = False
    tools_given: Sequence[Tool] = field(default=(), repr=False)
    handoffs_given: Sequence[Any] = field(default=(), repr=False)
    schema: AgentOutputSchemaBase | None = field(default=None, repr=False)

    @property
    def messages(self) -> list[tuple[str, str]]:
        """The conversation's messages: the role and the text of each."""
        return [(str(item["role"]), _text(item)) for item in self.input if "role" in item]

    @property
    def text(self) -> str:
        """The user's last message."""
        texts = [text for role, text in self.messages if role == "user"]
        return texts[-1] if texts else ""

    @property
    def files(self) -> list[str]:
        """Pictures and files of all messages: the name of each, of a picture its MIME type."""
        parts = [part for item in self.input if "role" in item for part in _parts(item)]
        return [
            str(part.get("filename") or part.get("file_id") or _mime_type(part.get("image_url")))
            for part in parts
            if part.get("type") in {"input_file", "input_image"}
        ]

    @property
    def tool_outputs(self) -> list[str]:
        """What the tools returned since the user's last message."""
        outputs: list[str] = []
        for item in self.input:
            if item.get("role") == "user":
                outputs = []
            elif item.get("type") == "function_call_output":
                output = item["output"]
                outputs.append(output if isinstance(output, str) else json.dumps(output))
        return outputs


# --- replies that a real model could not give ---------------------------------------------------


def fitting(reply: ModelReply, asked: Asked) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the functions that a reply calls, and its text in pieces.

    :raises FakeModelError: a real model could not have given this reply.
    """
    calls = [_fitting_call(call, asked) for call in reply.calls]
    _check_choice(calls, reply, asked)
    text = reply.deltas
    if reply.output is not None:
        text = pieces(_output(reply.output, asked))
    if asked.schema is not None and text and not (calls or reply.hang or reply.error):
        _check_output("".join(text), asked.schema)
    return calls, text


def _fitting_call(call: ToolCall | HandoffTo, asked: Asked) -> tuple[str, str]:
    if isinstance(call, HandoffTo):
        for handoff in asked.handoffs_given:
            if call.name in {handoff.agent_name, handoff.tool_name}:
                return handoff.tool_name, as_json(call.arguments)
        raise FakeModelError(
            f"the script hands over to {call.name!r}, and the agent can hand over to "
            f"{_listed(asked.handoffs)}"
        )
    functions = {tool.name: tool for tool in asked.tools_given if isinstance(tool, FunctionTool)}
    tool = functions.get(call.name)
    if tool is None:
        raise FakeModelError(
            f"the script calls {call.name!r}, and the agent's function tools are "
            f"{_listed(functions)}"
        )
    if isinstance(call.arguments, Mapping):
        _check_arguments(call.name, call.arguments, tool.params_json_schema)
    return call.name, as_json(call.arguments)


def _check_arguments(name: str, arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    properties = schema.get("properties", {})
    unknown = [key for key in arguments if key not in properties]
    if unknown and schema.get("additionalProperties") is False:
        raise FakeModelError(
            f"the script calls {name!r} with {_listed(unknown)}, and its arguments are "
            f"{_listed(properties)}"
        )
    missing = [
        key
        for key in schema.get("required", ())
        if key not in arguments and not _may_be_left_out(properties.get(key, {}))
    ]
    if missing:
        raise FakeModelError(f"the script calls {name!r} without {_listed(missing)}")


def _may_be_left_out(schema: Mapping[str, Any]) -> bool:
    """Whether a strict schema requires an argument that has a default in Python."""
    kinds = [schema, *schema.get("anyOf", ())]
    return "default" in schema or any("null" in str(kind.get("type")) for kind in kinds)


def _check_choice(calls: list[tuple[str, str]], reply: ModelReply, asked: Asked) -> None:
    choice = asked.settings.tool_choice
    if reply.error is not None or reply.hang or choice in (None, "auto"):
        return
    names = [name for name, _ in calls]
    if choice == "none" and names:
        raise FakeModelError(f"the script calls {_listed(names)}, and tool_choice is 'none'")
    if choice == "required" and not names:
        raise FakeModelError("tool_choice is 'required', and the script calls no tool")
    if choice in asked.tools and choice not in names:
        raise FakeModelError(f"tool_choice is {choice!r}, and the script does not call it")


def _output(value: Any, asked: Asked) -> str:
    if asked.schema is None:
        raise FakeModelError(f"the script returns {value!r}, and the agent has no output_type")
    data = json.loads(to_json(value))
    properties = asked.schema.json_schema().get("properties", {})
    # What is no object in JSON is wrapped in one by the SDK.
    if set(properties) == {"response"} and not (isinstance(data, dict) and "response" in data):
        data = {"response": data}
    return json.dumps(data, ensure_ascii=False)


def _check_output(text: str, schema: AgentOutputSchemaBase) -> None:
    try:
        schema.validate_json(text)
    except ModelBehaviorError as error:
        raise FakeModelError(
            f"the script returns {text[:200]!r}, which is no {schema.name()}: {error}"
        ) from None


def check_input(items: list[dict[str, Any]]) -> None:
    """Refuse input that the Responses API refuses, with its messages."""
    waiting: set[str] = set()
    for item in items:
        if item.get("type") == "function_call":
            waiting.add(item["call_id"])
        elif item.get("type") == "function_call_output":
            if item["call_id"] not in waiting:
                raise model_error(
                    400, f"No tool call found for function call output {item['call_id']}."
                )
            waiting.discard(item["call_id"])
    if waiting:
        raise model_error(400, f"No tool output found for function call {waiting.pop()}.")


def _text(item: Mapping[str, Any]) -> str:
    return "".join(str(part.get("text", "")) for part in _parts(item))


def _parts(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of a message, whose content may also be a string."""
    content = item.get("content")
    return [{"text": content}] if isinstance(content, str) else list(content or ())


def _mime_type(url: object) -> str:
    """Return the MIME type of a data URL; any other URL as it is."""
    text = str(url)
    return text[5:].partition(";")[0] if text.startswith("data:") else text


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names)) or "none"
