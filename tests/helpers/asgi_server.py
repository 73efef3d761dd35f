"""Uvicorn in a thread of the tests, which see what happens within."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from flask_chatkit.asgi import ChatKitASGI
from flask_chatkit.server.streaming import loop
from tests.helpers.served import until
from tests.helpers.sites import Serve


class Server:
    """Uvicorn in a thread of its own."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.app = app if isinstance(app, ChatKitASGI) else ChatKitASGI(app, threads=8)
        # A busy machine takes longer than uvicorn's 5 seconds between two requests of a test.
        options = {"timeout_keep_alive": 60, **options}
        config = uvicorn.Config(self.app, port=0, log_level="error", **options)
        self.server = uvicorn.Server(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.thread.start()
        until(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.server.serve()

    def stop(self) -> None:
        """End it, as SIGTERM does."""
        self.server.should_exit = True
        self.thread.join(15)
        assert not self.thread.is_alive()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Start uvicorn, on whose loop answers run, as in a process of its own."""
    monkeypatch.setattr(loop, "_current", None)
    servers: list[Server] = []

    def start(app: Any, **options: Any) -> Server:
        servers.append(Server(app, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def serve(start: Callable[..., Server]) -> Serve:
    """Serve WSGI apps by ASGI."""
    return lambda app: start(app).base
