"""Thread items of all six types, in the API's form, for :meth:`OpenAIStandIn.add_thread`.

The stand-in adds the fields that every item has (id, thread, time).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Json = dict[str, Any]


def new_id(prefix: str) -> str:
    """Make an id with one of OpenAI's prefixes."""
    return f"{prefix}_{uuid.uuid4().hex}"


def user_message(
    text: str,
    *,
    quoted: str | None = None,
    attachments: Sequence[Mapping[str, Any]] = (),
    model: str | None = None,
    tool: str | None = None,
) -> Json:
    """Build a user's message; ``attachments`` are in the API's form."""
    content = [{"type": "input_text", "text": text}]
    if quoted is not None:
        content.append({"type": "quoted_text", "text": quoted})
    options = {"model": model, "tool_choice": None if tool is None else {"id": tool}}
    return {
        "type": "chatkit.user_message",
        "content": content,
        "attachments": [dict(attachment) for attachment in attachments],
        "inference_options": None if model is None and tool is None else options,
    }


def assistant_message(text: str, *, urls: Sequence[str] = (), files: Sequence[str] = ()) -> Json:
    """Build an assistant's message, with annotations for ``urls`` and file names."""
    sources = [{"type": "url", "url": url} for url in urls]
    sources += [{"type": "file", "filename": name} for name in files]
    annotations = [{"type": source["type"], "source": source} for source in sources]
    part = {"type": "output_text", "text": text, "annotations": annotations}
    return {"type": "chatkit.assistant_message", "content": [part]}


def widget(payload: Mapping[str, Any]) -> Json:
    """Build a widget; the API carries its ``payload`` as a JSON string."""
    return {"type": "chatkit.widget", "widget": json.dumps(payload)}


def client_tool_call(name: str, arguments: Mapping[str, Any], *, output: object = None) -> Json:
    """Build a client tool's call: in progress without an ``output``, else completed."""
    return {
        "type": "chatkit.client_tool_call",
        "name": name,
        "call_id": new_id("call"),
        "arguments": json.dumps(arguments),
        "output": None if output is None else json.dumps(output),
        "status": "in_progress" if output is None else "completed",
    }


def task(
    heading: str | None = None,
    summary: str | None = None,
    *,
    task_type: Literal["custom", "thought"] = "custom",
) -> Json:
    """Build a task of the workflow."""
    return {"type": "chatkit.task", "task_type": task_type, "heading": heading, "summary": summary}


def task_group(*tasks: Mapping[str, Any]) -> Json:
    """Build a group of tasks, each made by :func:`task`."""
    parts = [
        {"type": part["task_type"], "heading": part["heading"], "summary": part["summary"]}
        for part in tasks
    ]
    return {"type": "chatkit.task_group", "tasks": parts}
