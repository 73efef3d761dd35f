"""Conformance tests for a site's own store.

.. code-block:: python

    from flask_chatkit.testing.stores import StoreConformance

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self):
            return MyStore(...)

This needs ``flask-chatkit[server]`` and pytest.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from chatkit.store import Store
from chatkit.types import ThreadMetadata

from ..identity.visitor import Visitor
from ..server.context import ChatContext
from .conformance.attachments import AttachmentTests
from .conformance.checks import Run, ids
from .conformance.concurrency import ConcurrencyTests
from .conformance.items import ItemTests
from .conformance.owners import OwnerTests
from .conformance.samples import new_attachment, new_message, new_thread
from .conformance.threads import ThreadTests

__all__ = ["StoreConformance", "ids", "new_attachment", "new_message", "new_thread"]


class StoreConformance(ThreadTests, ItemTests, AttachmentTests, OwnerTests, ConcurrencyTests):
    """Tests of what a served chat needs of its store. Override the fixture ``store``.

    Each test has its own event loop, which ``run`` uses: a store with an asynchronous engine must
    create it there, or at its first use.
    """

    @pytest.fixture
    def store(self) -> Store[Any]:
        """The store under test; it may contain data of other tests."""
        raise NotImplementedError("override the fixture `store` of your StoreConformance class")

    @pytest.fixture
    def alice(self) -> Any:
        """A visitor's context; override it if your store needs another type."""
        return ChatContext(visitor=Visitor.login(f"alice {secrets.token_hex(8)}"))

    @pytest.fixture
    def bob(self) -> Any:
        """Another visitor's context."""
        return ChatContext(visitor=Visitor.login(f"bob {secrets.token_hex(8)}"))

    @pytest.fixture
    def run(self) -> Iterator[Run[Any]]:
        """Run a coroutine of the store; all those of a test run on one loop."""
        loop = asyncio.new_event_loop()
        yield loop.run_until_complete
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    @pytest.fixture
    def thread(self, store: Store[Any], alice: Any, run: Run[Any]) -> ThreadMetadata:
        """A saved thread of Alice."""
        thread = new_thread(title="Alice's", metadata={"topic": "fox"})
        run(store.save_thread(thread, alice))
        return thread
