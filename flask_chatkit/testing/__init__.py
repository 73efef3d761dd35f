"""Stand-ins and fixtures for the tests of a site that uses ChatKit.

Names for served chats and agents need ``flask-chatkit[server]``, and are imported at their first
use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .failures import Failure
from .items import assistant_message, client_tool_call, task, task_group, user_message, widget
from .recorded import RecordedHeaders, RecordedRequest
from .standin import OpenAIStandIn

if TYPE_CHECKING:
    from .answers import Answer, AnswerError, CallRefusedError, ServedChatError
    from .asked import Asked
    from .clicks import widget_texts
    from .model import FakeModel, fake_models
    from .replies import FakeModelError, HandoffTo, ModelReply, ToolCall, model_error
    from .served import ServedChat

__all__ = [
    "Answer",
    "AnswerError",
    "Asked",
    "CallRefusedError",
    "Failure",
    "FakeModel",
    "FakeModelError",
    "HandoffTo",
    "ModelReply",
    "OpenAIStandIn",
    "RecordedHeaders",
    "RecordedRequest",
    "ServedChat",
    "ServedChatError",
    "ToolCall",
    "assistant_message",
    "client_tool_call",
    "fake_models",
    "model_error",
    "task",
    "task_group",
    "user_message",
    "widget",
    "widget_texts",
]

#: The modules of names that need the packages of the extra.
_LATER = {
    **dict.fromkeys(("Answer", "AnswerError", "CallRefusedError", "ServedChatError"), ".answers"),
    **dict.fromkeys(("FakeModel", "fake_models"), ".model"),
    "Asked": ".asked",
    "widget_texts": ".clicks",
    **dict.fromkeys(
        ("FakeModelError", "HandoffTo", "ModelReply", "ToolCall", "model_error"), ".replies"
    ),
    "ServedChat": ".served",
}


def __getattr__(name: str) -> Any:
    """Import a name that needs the packages of ``flask-chatkit[server]``.

    :raises ImportError: they are not installed.
    """
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(module, __name__), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs the packages of flask-chatkit[server]; there is no {error.name}"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
