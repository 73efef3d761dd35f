"""Private names of other packages, which have no public one for the same.

Each is used in this file only, with the reason and the version that it was seen in;
``tests/server/test_upstream.py`` fails when one changes. Those of Flask, threading and gunicorn,
which the core needs as well, are in :mod:`flask_chatkit.runtime._upstream`.
"""

# ruff: noqa: SLF001  this is the place for them

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from werkzeug.wsgi import ClosingIterator

with warnings.catch_warnings():
    # openai-chatkit marks its own widget classes as deprecated, and warns when it defines them.
    warnings.simplefilter("ignore", DeprecationWarning)
    from chatkit.server import ChatKitServer, NonStreamingResult, StreamingResult
    from chatkit.types import SDKHiddenContextItem, ThreadMetadata, ThreadStreamEvent

from pydantic import BaseModel

Events = Callable[[], AsyncIterator[ThreadStreamEvent]]

# --- openai-chatkit 1.6.5 -------------------------------------------------------------------------

#: What processes a parsed request. ``ChatKitServer.process`` parses it again, which takes longer
#: than the rest of its work.
_STREAMING, _NON_STREAMING = "_process_streaming", "_process_non_streaming"
#: What it leaves running when an answer ends early, by the qualified name of the code.
_LEAKING = frozenset({"_AsyncQueueIterator.__anext__"})


def processes_plainly(kind: type[ChatKitServer[Any]]) -> bool:
    """Whether a server's class processes requests as ``ChatKitServer`` does."""
    return kind.process is ChatKitServer.process and all(
        getattr(kind, name, None) is getattr(ChatKitServer, name, ...)
        for name in (_STREAMING, _NON_STREAMING)
    )


async def process(
    server: ChatKitServer[Any], request: Any, context: Any, *, streams: bool
) -> StreamingResult | NonStreamingResult:
    """Do what ``ChatKitServer.process`` does, with a request that is parsed already."""
    if streams:
        return StreamingResult(server._process_streaming(request, context))
    return NonStreamingResult(await server._process_non_streaming(request, context))


def wrap_output(
    server: ChatKitServer[Any],
    clean_events: Callable[[Events, ThreadMetadata], AsyncIterator[ThreadStreamEvent]],
    serialize: Callable[[Callable[[BaseModel], bytes], BaseModel], bytes],
) -> None:
    """Have an object process and serialize its events by way of two functions.

    ChatKitServer has no public place between what answers and what stores and sends it.

    :param server: changed, unless it has a ``_serialize`` of its own.
    :param clean_events: gets what makes the events, and the thread.
    :param serialize: gets the server's own function, and what it serializes.
    """
    if "_serialize" in vars(server):
        return
    theirs: Any = server
    own_process, own_serialize = theirs._process_events, theirs._serialize

    def process_events(thread: ThreadMetadata, context: Any, stream: Events) -> Any:
        return own_process(thread, context, lambda: clean_events(stream, thread))

    theirs._process_events = process_events
    theirs._serialize = lambda obj: serialize(own_serialize, obj)


def is_stop_note(item: object) -> bool:
    """Whether an item is the note that ``handle_stream_cancelled`` leaves for the model."""
    is_note = isinstance(item, SDKHiddenContextItem)
    return is_note and str(getattr(item, "content", "")).startswith("The user cancelled the stream")


def is_leaked(task: asyncio.Task[Any]) -> bool:
    """Whether a task is one that openai-chatkit leaves running when an answer ends early."""
    return getattr(task.get_coro(), "__qualname__", "") in _LEAKING


def set_tool_events(context: Any, events: Any) -> None:
    """Have an ``AgentContext`` put its tools' events into our queue, which can be ended."""
    context._events = events


# --- openai-agents 0.24.0 -------------------------------------------------------------------------


#: The mark of an error whose run hands on the events that came before.
_DRAIN = "_agents_drain_queued_stream_events"
#: ``FAKE_RESPONSES_ID`` of ``agents.models.fake_id``, which is not imported before an agent is.
_FAKE_ID = "__fake_id__"


def is_fake_id(item_id: str) -> bool:
    """Whether an item has no id of its own; some adapters give all items the same placeholder."""
    return item_id in {_FAKE_ID, ""}


def client_of(model: object) -> Any:
    """The client that a model of the SDK's asks OpenAI with; None for another model."""
    return getattr(model, "_client", None)


def trace_processors(provider: Any) -> tuple[Any, ...]:
    """The processors of a trace provider, which has only methods to add and to set them."""
    return tuple(provider._multi_processor._processors)


def exporter_of(processor: object) -> Any:
    """The exporter of a batch processor of traces; None for another processor."""
    return getattr(processor, "_exporter", None)


def agent_of_handoff(handoff: Any) -> Any:
    """The agent that a ``Handoff`` leads to; None if ``agents.handoff()`` has not made it."""
    reference = getattr(handoff, "_agent_ref", None)
    return reference() if reference is not None else None


def agent_of_tool(tool: Any) -> Any:
    """The agent behind a tool that ``Agent.as_tool`` has made; None for another tool."""
    return getattr(tool, "_agent_instance", None)


def allow_concurrent_calls(server: Any) -> None:
    """Have an MCP server of the SDK's run calls side by side, which mcp 2 supports."""
    if hasattr(server, "_serialize_session_requests"):
        server._serialize_session_requests = False


def drain_events_before(error: Exception) -> None:
    """Have a run hand on the events that came before this error (``agents.exceptions``)."""
    setattr(error, _DRAIN, True)


# --- mcp 2.3.0 ------------------------------------------------------------------------------------


def is_disconnected(session: Any) -> bool:
    """Whether a client session's other end has gone; earlier versions raise at the next call."""
    return getattr(getattr(session, "_dispatcher", None), "_closed", False) is True


# --- drivers of databases, and wrappers of WSGI responses -----------------------------------------

#: Wrappers that pass every chunk on as it is, by module and name, with the attribute of what they
#: wrap (sentry-sdk 2.75.0).
_WRAPPERS = {("sentry_sdk.integrations.wsgi", "_ScopedResponse"): "_response"}


def socket_of(connection: Any) -> Any:
    """What has the ``fileno()`` of a driver's connection; PyMySQL's is ``_sock`` (1.2.4)."""
    return connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)


def wrapped_by(iterable: object) -> object | None:
    """What a wrapper of a WSGI response iterates over unchanged; None if that is not known.

    Werkzeug's ``ClosingIterator`` (3.1.9) keeps only the bound ``next`` of what it wraps.
    """
    kind = type(iterable)
    if kind is ClosingIterator:
        args = getattr(cast("Any", iterable)._next, "args", None)
        return args[0] if args else None
    return getattr(iterable, _WRAPPERS.get((kind.__module__, kind.__name__), ""), None)
