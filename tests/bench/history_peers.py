"""The sites whose history is read: ours in a database, and the samples' in memory.

Both serve the same ``ChatKitServer``, which has nothing to say. Each runs in a process of its own
that finds in its environment which history it has.
"""

import logging
import os
import warnings
from datetime import datetime, timedelta, timezone

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from chatkit.server import ChatKitServer

from chatkit.types import AssistantMessageContent, AssistantMessageItem, ThreadMetadata
from history_memory import MemoryStore

PATHS = {"ours": "/chatkit/api", "fastapi": "/chatkit"}
SECRET = "/chatkit/secret"
BEGUN = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Silent(ChatKitServer):
    """Keeps what is said, and says nothing."""

    async def respond(self, thread, item, context):
        for event in ():
            yield event


def thread(owner, number):
    """Make the thread of a visitor that was begun as the so-manieth."""
    return ThreadMetadata(
        id=f"thr_{owner}{number:028d}",
        title=f"Conversation {number}: where is my order?",
        created_at=BEGUN + timedelta(seconds=number),
    )


def item(thread_id, number):
    """Make an item of a thread: half a dozen lines of an answer."""
    return AssistantMessageItem(
        id=f"msg_{number:032d}",
        thread_id=thread_id,
        created_at=BEGUN + timedelta(seconds=number),
        content=[AssistantMessageContent(text=f"Answer {number}. " + "It is on its way. " * 20)],
    )


def ours(uri=None):
    """Build a site with the kit, whose history is where ``BENCH_DATABASE`` says."""
    from flask import Flask

    from flask_chatkit import ChatKit

    logging.getLogger("flask_chatkit").setLevel(logging.ERROR)
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="bench" * 8,
        # Limits would end the bench.
        RATELIMIT_ENABLED=False,
        CHATKIT_DATABASE_URI=uri or os.environ["BENCH_DATABASE"],
    )
    kit = ChatKit()
    kit.add_server("default", Silent)
    app.register_blueprint(kit)
    return app


def fastapi():
    """Build a site like OpenAI's samples, with ``BENCH_THREADS`` threads in memory."""
    from chatkit.server import StreamingResult
    from fastapi import FastAPI, Request
    from fastapi.responses import Response, StreamingResponse

    app = FastAPI()
    store = MemoryStore()
    server = Silent(store)
    kept = [thread("few_", number) for number in range(int(os.environ["BENCH_THREADS"]))]
    store.threads.update((one.id, one) for one in kept)

    @app.post(PATHS["fastapi"])
    async def chatkit(request: Request):
        result = await server.process(await request.body(), {"request": request})
        if isinstance(result, StreamingResult):
            return StreamingResponse(result, media_type="text/event-stream")
        return Response(content=result.json, media_type="application/json")

    return app
