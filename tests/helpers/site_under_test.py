"""A site with a chat that takes its time, for the servers of ``test_servers.py`` to serve.

What it says comes from a model: a socket on loopback that the tests hold the other end of, so that
they see when a call begins and when it is cut off. A message is the call: words with ``=``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

from chatkit.server import ChatKitServer
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)
from flask import Flask, current_app, jsonify

from flask_chatkit import ChatKit
from flask_chatkit.server.streaming import loop

#: Whose tasks are there for as long as an ASGI server runs.
SERVERS = (
    *("Server.serve", "LifespanOn.main", "worker_serve", "Lifespan.handle_lifespan"),
    *("raise_shutdown", "_server_callback", "check_multiprocess_shutdown_event"),
    *("TCPServer._idle_timeout", "EventWrapper.wait"),
)


async def call_model(message: str) -> AsyncGenerator[str, None]:
    """Say what the model says, as it says it."""
    host, port = current_app.config["MODEL"].rsplit(":", 1)
    # By name, so that a resolver's thread has its part in it, as it has with a real model.
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(message.encode() + b"\n")
        await writer.drain()
        while word := await reader.readline():
            yield word.decode().rstrip("\n")
    finally:
        writer.close()


def said_in(item: UserMessageItem | None) -> str:
    """The text of a visitor's message."""
    return "".join(part.text for part in item.content) if item else ""


class Slow(ChatKitServer[Any]):
    """Says word by word what the model says."""

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: Any
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Answer with one message."""
        item = AssistantMessageItem(
            id=self.store.generate_item_id("message", thread, context),
            thread_id=thread.id,
            created_at=datetime.now(),  # noqa: DTZ005  chatkit's own times are naive
            content=[AssistantMessageContent(text="")],
        )
        yield ThreadItemAddedEvent(item=item)
        text = ""
        async with aclosing(call_model(said_in(input_user_message))) as words:
            async for word in words:
                text += word
                update = AssistantMessageContentPartTextDelta(content_index=0, delta=word)
                yield ThreadItemUpdatedEvent(item_id=item.id, update=update)
        item.content[0].text = text
        yield ThreadItemDoneEvent(item=item)


class Agentic(ChatKitServer[Any]):
    """Answers by the helper for agents, 1.6.5 of which leaves a task behind when it is stopped."""

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: Any
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Answer with the agent's message."""
        from agents import Agent, RunConfig, Runner
        from chatkit.agents import AgentContext, stream_agent_response

        agents = AgentContext[Any](thread=thread, store=self.store, request_context=context)
        result = Runner.run_streamed(
            Agent[Any](name="Slow", model=_model()),
            said_in(input_user_message),
            context=agents,
            run_config=RunConfig(tracing_disabled=True),
        )
        async for event in stream_agent_response(agents, result):
            yield event


def _model() -> Any:
    from agents import Model
    from openai.types import responses as said

    class Words(Model):
        async def get_response(self, *args: Any, **more: Any) -> Any:
            raise NotImplementedError

        async def stream_response(
            self, instructions: Any, asked: Any, *args: Any, **more: Any
        ) -> AsyncGenerator[Any, None]:
            question = asked if isinstance(asked, str) else asked[-1]["content"]
            item = said.ResponseOutputMessage(
                id=f"msg_{os.urandom(8).hex()}",
                content=[],
                role="assistant",
                status="in_progress",
                type="message",
            )
            place: dict[str, Any] = {"item_id": item.id, "output_index": 0, "content_index": 0}
            yield said.ResponseOutputItemAddedEvent(
                item=item, output_index=0, sequence_number=0, type="response.output_item.added"
            )
            part = said.ResponseOutputText(annotations=[], text="", type="output_text")
            yield said.ResponseContentPartAddedEvent(
                part=part, sequence_number=1, type="response.content_part.added", **place
            )
            text = ""
            async for word in call_model(question):
                text += word
                yield said.ResponseTextDeltaEvent(
                    delta=word,
                    logprobs=[],
                    sequence_number=2,
                    type="response.output_text.delta",
                    **place,
                )
            item.content.append(part.model_copy(update={"text": text}))
            item.status = "completed"
            yield said.ResponseOutputItemDoneEvent(
                item=item, output_index=0, sequence_number=3, type="response.output_item.done"
            )
            whole = said.Response(
                id="resp_1",
                created_at=0,
                model="slow",
                object="response",
                output=[item],
                parallel_tool_calls=False,
                tool_choice="none",
                tools=[],
            )
            yield said.ResponseCompletedEvent(
                response=whole, sequence_number=4, type="response.completed"
            )

    return Words()


def stats() -> Any:
    """Tell what this process holds: it is the same before and after, or something leaks."""

    async def tasks() -> list[str]:
        await asyncio.sleep(0)
        mine = asyncio.current_task()
        rest = sorted(repr(task.get_coro()) for task in asyncio.all_tasks() if task is not mine)
        # An ASGI server's own, on the same loop, and the one that answers this very request.
        this = [one for one in rest if "run_asgi" in one or "_handle" in one][:1]
        return [one for one in rest if one not in this and not any(map(one.count, SERVERS))]

    def number(name: str) -> int:
        return int((re.findall(rf"(?m)^{name}:\s+(\d+)", told) or [0])[0])

    running = loop.current()
    gc.collect()
    status = Path("/proc/self/status")
    told = status.read_text() if status.exists() else ""
    return jsonify(
        pid=os.getpid(),
        answers=running.busy,
        tasks=running.run(tasks, 5),
        threads=number("Threads") or threading.active_count(),
        kilobytes=number("VmRSS"),
    )


def make_app() -> Flask:
    """The site, with what the tests set in the environment."""
    folder = os.environ["SITE_FOLDER"]
    app = Flask("site", instance_path=folder)
    app.config.update(
        SECRET_KEY="of the tests",
        MODEL=os.environ["SITE_MODEL"],
        RATELIMIT_ENABLED=False,
        CHATKIT_LEAVE_SECONDS=int(os.environ.get("SITE_LEAVE_SECONDS", "0")),
        CHATKIT_RATELIMIT_STORAGE_URI=os.environ.get("SITE_REDIS"),
    )
    kit = ChatKit()
    kit.add_server("default", Slow)
    kit.add_server("agent", Agentic)
    app.register_blueprint(kit)
    app.add_url_rule("/stats", view_func=stats)
    return app


def make_asgi() -> Any:
    """The same site, for an ASGI server."""
    from flask_chatkit.asgi import ChatKitASGI

    return ChatKitASGI(make_app())
