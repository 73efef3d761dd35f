"""An MCP server on stdio, or over HTTP on a port: ``mcp_server.py FOLDER [KIND PORT]``.

Each process leaves a file in the folder that is named by its id.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

folder = Path(sys.argv[1])
server = MCPServer("helper", log_level="ERROR")


@server.tool()
def pid() -> str:
    """Which process this is."""
    return str(os.getpid())


@server.tool()
async def wait(name: str) -> str:
    """Wait until there is a file of that name."""
    (folder / f"{name}.waiting").touch()
    while not (folder / name).exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)
    return "waited"


@server.tool()
def die() -> str:
    """End at once, in the middle of the call."""
    (folder / "deaths").open("a").write("x")
    os._exit(1)


if __name__ == "__main__":
    (folder / f"{os.getpid()}.pid").touch()
    if len(sys.argv) > 2:
        server.run(sys.argv[2], port=int(sys.argv[3]))
    else:
        server.run()
