"""A site whose chat calls a tool of an MCP server, for real servers to serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from agents import Agent, set_tracing_disabled
from agents.mcp import MCPServerStdio
from flask import Flask

from flask_chatkit import ChatKit
from flask_chatkit.server.agents.mcp import connected

FOLDER = Path(os.environ["SITE_FOLDER"])
TOOLS = MCPServerStdio(
    {
        "command": sys.executable,
        "args": [str(Path(__file__).with_name("mcp_server.py")), str(FOLDER)],
    },
    client_session_timeout_seconds=30,
)
AGENT: Agent[Any] = Agent(name="Coach", mcp_servers=[TOOLS])


def make_app() -> Flask:
    """Make the site."""
    set_tracing_disabled(True)
    app = Flask("site", instance_path=str(FOLDER))
    app.config.update(SECRET_KEY="of the tests", CHATKIT_MESSAGE_RATELIMIT="1000/minute")
    kit = ChatKit()

    @kit.assistant()
    async def answer(message: Any, chat: Any) -> str:
        async with connected(AGENT):
            return str((await TOOLS.call_tool("pid", {})).content[0].text)

    kit.init_app(app)
    return app
