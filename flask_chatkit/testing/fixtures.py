"""Pytest fixtures for sites: ``pytest_plugins = ["flask_chatkit.testing.fixtures"]``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from .standin import OpenAIStandIn

if TYPE_CHECKING:
    from .model import FakeModel
    from .served import ServedChat


@pytest.fixture
def openai_standin() -> Iterator[OpenAIStandIn]:
    """Serve a new stand-in for OpenAI's ChatKit API for one test.

    .. code-block:: python

        def test_chat_is_offered(openai_standin):
            app = create_app(openai_standin.config())
            answer = app.test_client().post("/chatkit/secret", json={})
            assert answer.json["client_secret"].startswith("ek_")
            assert len(openai_standin.sessions) == 1
    """
    with OpenAIStandIn() as standin:
        yield standin


@pytest.fixture
def served_chat(app: Flask) -> ServedChat:
    """Visit the chat ``default`` of the application in the site's own fixture ``app``.

    .. code-block:: python

        def test_greeting(served_chat):
            assert served_chat.say("hi").text == "Hello!"
    """
    from .served import ServedChat

    return ServedChat(app)


@pytest.fixture
def fake_model(request: pytest.FixtureRequest) -> Iterator[FakeModel]:
    """Replace every agent's model with a fake one, for one test.

    .. code-block:: python

        def test_coach(fake_model, served_chat):
            fake_model.add("Take a break.")
            assert served_chat.say("I am tired").text == "Take a break."

    An unused reply fails the test.
    """
    from .model import fake_models

    failed = request.session.testsfailed
    with fake_models() as model:
        yield model
        if request.session.testsfailed > failed:
            # The test has failed anyway: unused replies are no second failure.
            model.clear()
