"""The site that is attacked, and the model that it asks.

``python hostile_peers.py`` is the model, a program of its own: it prints its port, reads what it is
sent, counts the bytes, and answers at once in twenty deltas.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
WORDS = [f"word {number} " for number in range(20)]


def site():
    """Build a site with the kit as a tutorial would, with an agent, files and default limits."""
    from agents import Agent, OpenAIChatCompletionsModel, set_tracing_disabled
    from flask import Flask
    from openai import AsyncOpenAI
    from werkzeug.middleware.proxy_fix import ProxyFix

    from flask_chatkit import ChatKit

    set_tracing_disabled(True)
    logging.getLogger("flask_chatkit").setLevel(logging.ERROR)
    app = Flask(__name__, instance_path=os.environ["BENCH_INSTANCE"])
    app.wsgi_app = ProxyFix(app.wsgi_app)
    app.config.update(SECRET_KEY="bench" * 8)
    app.config.from_prefixed_env("BENCH")
    kit = ChatKit()

    client = AsyncOpenAI(base_url=os.environ["BENCH_MODEL"], api_key="sk-bench")
    agent = Agent(
        name="Bench",
        instructions="Answer.",
        model=OpenAIChatCompletionsModel("bench-model", client),
    )
    kit.add_agent("agent", agent, titles=False, attachments=True)

    @kit.assistant("default")
    def clerk(message, chat):
        """Answer as fast as the model does, without the Agents SDK's work."""
        yield from WORDS

    @kit.feedback()
    def rated(feedback, chat):
        """Take as long as a form that is stored somewhere would."""
        sum(range(200_000))

    app.register_blueprint(kit)
    return app


def chunk(delta, finish=None):
    """One event of a streamed chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    event = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "bench-model",
        "choices": [choice],
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


ANSWER = b"".join(
    [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": word}) for word in WORDS),
        chunk({}, "stop"),
        b"data: [DONE]\n\n",
    ]
)


async def model(reader, writer):
    """Answer each call on a connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            left = int(_LENGTH.search(head)[1])
            while left:
                left -= len(await reader.read(min(left, 1 << 20)))
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                + f"Content-Length: {len(ANSWER)}\r\n\r\n".encode()
                + ANSWER
            )
            await writer.drain()
    except (OSError, EOFError):
        writer.close()


async def main():
    """Listen, tell where, and serve until the end."""
    server = await asyncio.start_server(model, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
