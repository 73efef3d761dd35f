"""What stands where OpenAI does in bench ``outage``: ``mint_upstream`` on a port, without TLS."""

from __future__ import annotations

import asyncio
import sys

from mint_upstream import Upstream


async def main(port):
    """Serve until somebody kills it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
