"""Stand-ins and fixtures for the tests of a site that uses ChatKit."""

from __future__ import annotations

from .failures import Failure
from .items import (
    assistant_message,
    client_tool_call,
    task,
    task_group,
    user_message,
    widget,
)
from .standin import OpenAIStandIn, RecordedHeaders, RecordedRequest

__all__ = [
    "Failure",
    "OpenAIStandIn",
    "RecordedHeaders",
    "RecordedRequest",
    "assistant_message",
    "client_tool_call",
    "task",
    "task_group",
    "user_message",
    "widget",
]
