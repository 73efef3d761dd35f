"""Sources that a model streams with its text, as web and file search do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, ModelSettings, ModelTracing
from flask import Flask
from openai._models import construct_type
from openai.types.responses import ResponseOutputTextAnnotationAddedEvent

from flask_chatkit import ChatKit
from flask_chatkit.testing import FakeModel, ModelReply, ServedChat

PLACE = {"start_index": 0, "end_index": 3}
FILE = {"file_id": "file_1", "filename": "plan.pdf"}


@pytest.mark.parametrize(
    ("annotation", "source"),
    [
        (
            {"type": "url_citation", "url": "https://shop.example/1", "title": "One", **PLACE},
            {"type": "url", "url": "https://shop.example/1", "title": "One"},
        ),
        (
            {"type": "file_citation", "index": 3, **FILE},
            {"type": "file", "filename": "plan.pdf", "title": "plan.pdf"},
        ),
        (
            {"type": "container_file_citation", "container_id": "cntr_1", **FILE, **PLACE},
            {"type": "file", "filename": "plan.pdf", "title": "plan.pdf"},
        ),
    ],
    ids=lambda value: value["type"],
)
def test_source_is_shown(tmp_path: Path, annotation: Any, source: dict[str, str]) -> None:
    """A source is streamed, is stored with the message, and does not break the answer off."""
    app = Flask("site", instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="of the tests", CHATKIT_DATABASE_URI="sqlite://")
    kit = ChatKit()
    model = FakeModel(ModelReply("Yes, it is.", annotations=[annotation]))
    kit.add_agent("default", Agent(name="Clerk", model=model))
    app.register_blueprint(kit)
    chat = ServedChat(app)
    answer = chat.say("Is it?")
    updates = [getattr(event, "update", None) for event in answer.events]
    kinds = [update.type for update in updates if update is not None]
    assert "assistant_message.content_part.annotation_added" in kinds
    (item,) = answer.items
    for shown in (item, chat.items()[-1]):
        (one,) = shown.content[0].annotations  # type: ignore[union-attr]
        assert source.items() <= one.source.model_dump().items()  # type: ignore[union-attr]


def test_event_is_the_packages_own() -> None:
    """The fake model streams a source as the very class that the openai package makes of one."""
    annotation: Any = {"type": "url_citation", "url": "https://x.example", "title": "X", **PLACE}

    async def events() -> list[Any]:
        model = FakeModel(ModelReply("Yes", annotations=[annotation]))
        off = ModelTracing.DISABLED
        stream = model.stream_response(None, "hi", ModelSettings(), [], None, [], off)
        return [event async for event in stream]

    (fake,) = [event for event in asyncio.run(events()) if event.type.endswith("annotation.added")]
    real = construct_type(
        type_=ResponseOutputTextAnnotationAddedEvent, value={**fake.model_dump(mode="json")}
    )
    assert type(fake) is type(real)
    assert type(fake.annotation) is type(real.annotation)  # type: ignore[attr-defined]
