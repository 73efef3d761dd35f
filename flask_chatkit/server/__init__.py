"""A site's own assistant, served by Flask: the extra ``flask-chatkit[server]``.

Nothing here is imported before it is asked for: the packages behind it take a second to load.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assistants.chat import Chat
    from .assistants.messages import ClientToolResult, Message, Turn
    from .assistants.suggestions import suggestions_event
    from .context import ChatContext
    from .history.isolation import OwnedStore
    from .history.migrations import upgrade_tables
    from .history.store import SQLAlchemyStore
    from .history.tables import metadata

_HOMES = {
    "Chat": "assistants.chat",
    "ChatContext": "context",
    "ClientToolResult": "assistants.messages",
    "Message": "assistants.messages",
    "OwnedStore": "history.isolation",
    "SQLAlchemyStore": "history.store",
    "Turn": "assistants.messages",
    "metadata": "history.tables",
    "suggestions_event": "assistants.suggestions",
    "upgrade_tables": "history.migrations",
}

__all__ = [
    "Chat",
    "ChatContext",
    "ClientToolResult",
    "Message",
    "OwnedStore",
    "SQLAlchemyStore",
    "Turn",
    "metadata",
    "suggestions_event",
    "upgrade_tables",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, from where it is."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        with warnings.catch_warnings():
            # openai-chatkit marks its own widget classes as deprecated, and says so itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = import_module(f".{_HOMES[name]}", __name__)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs the packages of served chats ({error.name} is not installed): "
            "pip install 'flask-chatkit[server]'"
        ) from error
    return getattr(module, name)
