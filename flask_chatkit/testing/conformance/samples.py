"""Threads, items and attachments for tests of stores."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from typing import Any

from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    ClientToolCallItem,
    CustomSummary,
    CustomTask,
    EndOfTurnItem,
    FileAttachment,
    GeneratedImage,
    GeneratedImageItem,
    HiddenContextItem,
    ImageAttachment,
    InferenceOptions,
    SDKHiddenContextItem,
    SearchTask,
    StructuredInputAnswer,
    StructuredInputFreeform,
    StructuredInputItem,
    StructuredInputMultipleChoice,
    StructuredInputMultipleChoiceOption,
    TaskItem,
    ThreadItem,
    ThreadMetadata,
    ToolChoice,
    URLSource,
    UserMessageItem,
    UserMessageTagContent,
    UserMessageTextContent,
    WidgetItem,
    Workflow,
    WorkflowItem,
)
from chatkit.widgets import Card, Text
from pydantic import AnyUrl

#: The same for many: stores must not rely on different times.
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
#: The least number of random characters in an id; 96 bits in hex are 24.
LEAST_RANDOM = 20
#: A source of an annotation or a search.
SOURCE = URLSource(title="Terms", url="https://shop.example/terms", group="Legal")
#: Characters that databases or JSON may damage.
DIFFICULT = "naïve — 漢字 — 🦊 — 'quoted\" \\ <b>&amp;</b> \x1f \u2028 %s :name ?"


def new_thread(**more: Any) -> ThreadMetadata:
    """Build a thread with a new id."""
    return ThreadMetadata(**{"id": f"thr_{secrets.token_hex(16)}", "created_at": NOON, **more})


def new_message(thread: ThreadMetadata, text: str = "hello", **more: Any) -> AssistantMessageItem:
    """Build an assistant's message with a new id."""
    return AssistantMessageItem(
        **{
            "id": f"msg_{secrets.token_hex(16)}",
            "thread_id": thread.id,
            "created_at": NOON,
            "content": [AssistantMessageContent(text=text)],
            **more,
        }
    )


def new_attachment(**more: Any) -> FileAttachment:
    """Build an attachment with a new id."""
    return FileAttachment(
        **{
            "id": f"atc_{secrets.token_hex(16)}",
            "name": "invoice.pdf",
            "mime_type": "application/pdf",
            **more,
        }
    )


def every_item(thread: ThreadMetadata) -> list[ThreadItem]:
    """Return one item of each type, with all fields that it can have."""
    base: dict[str, Any] = {"thread_id": thread.id, "created_at": NOON}
    return [*_messages(thread, base), *_outputs(base), *_tasks(base)]


def _messages(thread: ThreadMetadata, base: dict[str, Any]) -> list[ThreadItem]:
    return [
        UserMessageItem(
            **base,
            id="user_message",
            content=[
                UserMessageTextContent(text=DIFFICULT),
                UserMessageTagContent(id="tag", text="@order", data={"order": 17}, group="Orders"),
            ],
            attachments=[
                new_attachment(thread_id=thread.id, metadata={"pages": 3}),
                ImageAttachment(
                    id=f"atc_{secrets.token_hex(16)}",
                    name="photo.png",
                    mime_type="image/png",
                    preview_url=AnyUrl("https://shop.example/photo.png"),
                ),
            ],
            quoted_text="as you said",
            inference_options=InferenceOptions(model="big", tool_choice=ToolChoice(id="search")),
        ),
        AssistantMessageItem(
            **base,
            id="assistant_message",
            content=[
                AssistantMessageContent(
                    text=DIFFICULT, annotations=[Annotation(source=SOURCE, index=3)]
                )
            ],
        ),
    ]


def _outputs(base: dict[str, Any]) -> list[ThreadItem]:
    choice = StructuredInputMultipleChoice(
        id="q1",
        question="Which one?",
        options=[StructuredInputMultipleChoiceOption(value="This one")],
        answer=StructuredInputAnswer(values=["This one"]),
    )
    return [
        ClientToolCallItem(
            **base,
            id="client_tool_call",
            status="completed",
            call_id="call_1",
            name="add_to_cart",
            arguments={"sku": "A-1", "count": 2, "gift": None, "weights": [0.5, 1]},
            output={"total": 19.9},
        ),
        WidgetItem(
            **base,
            id="widget",
            widget=Card(children=[Text(value=DIFFICULT, id="text", weight="medium")]),
            copy_text="a card",
        ),
        GeneratedImageItem(
            **base,
            id="generated_image",
            image=GeneratedImage(id="img_1", url="https://shop.example/fox.png"),
        ),
        StructuredInputItem(
            **base,
            id="structured_input",
            status="answered",
            inputs=[choice, StructuredInputFreeform(id="q2", question="Why?", description="…")],
        ),
    ]


def _tasks(base: dict[str, Any]) -> list[ThreadItem]:
    return [
        WorkflowItem(
            **base,
            id="workflow",
            workflow=Workflow(
                type="custom",
                tasks=[SearchTask(title="Search", queries=["fox"], sources=[SOURCE])],
                summary=CustomSummary(title="Searched"),
                expanded=True,
            ),
        ),
        TaskItem(**base, id="task", task=CustomTask(title="Packing", content=DIFFICULT)),
        HiddenContextItem(**base, id="hidden_context_item", content={"page": "/cart"}),
        SDKHiddenContextItem(**base, id="sdk_hidden_context", content="stopped"),
        EndOfTurnItem(**base, id="end_of_turn"),
    ]
