"""The two sites that are compared, and the one ``ChatKitServer`` that both of them serve.

It answers without a model: a hundred deltas of text, as many seconds apart as the message says,
in the events that an agent's answer has.
"""

import asyncio
import logging
from datetime import datetime, timezone

from chatkit.server import ChatKitServer
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
)
from history_memory import MemoryStore

DELTAS = 100
#: What each answer says, whatever was asked.
WORDS = [f"word {number} of an answer, " for number in range(DELTAS)]
TEXT = "".join(WORDS)
PATHS = {"ours": "/chatkit/api", "fastapi": "/chatkit"}
#: Threads that are kept. If all were, the faster site would be the one that needs more memory.
KEPT = 1000


class ShortMemory(MemoryStore):
    """Forgets the oldest threads."""

    async def save_thread(self, thread, context):
        await super().save_thread(thread, context)
        while len(self.threads) > KEPT:
            await self.delete_thread(next(iter(self.threads)), context)


class Talker(ChatKitServer):
    """Says the same to everybody; the message begins with the seconds between two deltas."""

    async def respond(self, thread, item, context):
        delay = float(item.content[0].text.split()[0])
        said = AssistantMessageItem(
            id=self.store.generate_item_id("message", thread, context),
            thread_id=thread.id,
            created_at=datetime.now(timezone.utc),
            content=[],
        )
        yield ThreadItemAddedEvent(item=said)
        empty = AssistantMessageContent(text="")
        yield _updated(said, AssistantMessageContentPartAdded(content_index=0, content=empty))
        for place, word in enumerate(WORDS):
            if delay and place:
                await asyncio.sleep(delay)
            part = AssistantMessageContentPartTextDelta(content_index=0, delta=word)
            yield _updated(said, part)
        whole = AssistantMessageContent(text=TEXT)
        yield _updated(said, AssistantMessageContentPartDone(content_index=0, content=whole))
        yield ThreadItemDoneEvent(item=said.model_copy(update={"content": [whole]}))


def _updated(item, update):
    return ThreadItemUpdatedEvent(item_id=item.id, update=update)


def ours():
    """Build a site with the kit: guard, cookie, token, and each visitor's own threads."""
    from flask import Flask

    from flask_chatkit import ChatKit

    logging.getLogger("flask_chatkit").setLevel(logging.ERROR)
    app = Flask(__name__)
    # Limits would end the bench.
    app.config.update(SECRET_KEY="bench" * 8, RATELIMIT_ENABLED=False)
    kit = ChatKit()
    kit.add_server("default", Talker(ShortMemory()))
    app.register_blueprint(kit)
    return app


def ours_asgi():
    """Build the same site for an ASGI server."""
    from flask_chatkit.asgi import ChatKitASGI

    return ChatKitASGI(ours())


def fastapi():
    """Build what the documentation of openai-chatkit shows: no visitors, no limits."""
    from chatkit.server import StreamingResult
    from fastapi import FastAPI, Request
    from fastapi.responses import Response, StreamingResponse

    app = FastAPI()
    server = Talker(ShortMemory())

    @app.post(PATHS["fastapi"])
    async def chatkit(request: Request):
        result = await server.process(await request.body(), {})
        if isinstance(result, StreamingResult):
            return StreamingResponse(result, media_type="text/event-stream")
        return Response(content=result.json, media_type="application/json")

    return app
