"""Pytest fixtures for sites: ``pytest_plugins = ["flask_chatkit.testing.fixtures"]``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .standin import OpenAIStandIn


@pytest.fixture
def openai_standin() -> Iterator[OpenAIStandIn]:
    """Serve a fresh stand-in of OpenAI's ChatKit API for one test, and stop it afterwards.

    .. code-block:: python

        def test_chat_is_offered(openai_standin):
            app = create_app(openai_standin.config())
            answer = app.test_client().post("/chatkit/secret", json={})
            assert answer.json["client_secret"].startswith("ek_")
            assert len(openai_standin.sessions) == 1
    """
    with OpenAIStandIn() as standin:
        yield standin
