"""A site for the built-in chat's tests: a real ChatKitServer that does what a message says."""

from __future__ import annotations

import asyncio
import base64
import json
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timezone
from typing import Any

from chatkit.actions import Action
from chatkit.server import (
    ChatKitServer,
    CustomStreamError,
    NonStreamingResult,
    StreamingResult,
    stream_widget,
)
from chatkit.store import AttachmentStore, NotFoundError, Store
from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartAnnotationAdded,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    Attachment,
    AttachmentCreateParams,
    AttachmentUploadDescriptor,
    ClientEffectEvent,
    ClientToolCallItem,
    ClosedStatus,
    CustomSummary,
    CustomTask,
    DurationSummary,
    FileAttachment,
    GeneratedImage,
    GeneratedImageItem,
    GeneratedImageUpdated,
    HiddenContextItem,
    ImageAttachment,
    NoticeEvent,
    Page,
    ProgressUpdateEvent,
    SearchTask,
    StructuredInputFreeform,
    StructuredInputItem,
    StructuredInputMultipleChoice,
    StructuredInputMultipleChoiceOption,
    SyncCustomActionResponse,
    TaskItem,
    ThoughtTask,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    URLSource,
    UserMessageItem,
    WidgetComponentUpdated,
    WidgetItem,
    WidgetRootUpdated,
    Workflow,
    WorkflowItem,
    WorkflowTaskAdded,
    WorkflowTaskUpdated,
)
from chatkit.widgets import DynamicWidgetRoot
from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

from flask_chatkit.widget import assets

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
PNG = base64.b64decode(PIXEL.split(",")[1])

#: Each of these is an attempt to run `pwned()`; {n} numbers them.
XSS = [
    "<script>pwned({n})</script>",
    "<img src=x onerror=pwned({n})>",
    "<svg onload=pwned({n})><script>pwned({n})</script></svg>",
    '<svg><a xlink:href="javascript:pwned({n})"><text>x{n}</text></a></svg>',
    (
        "<math><mtext><table><mglyph><style><img src=x onerror=pwned({n})></style></mglyph></table>"
        "</mtext></math>"
    ),
    '<iframe srcdoc="<script>parent.pwned({n})</script>"></iframe>',
    "<style>*{{background:red !important}}</style>",
    '<form id="attributes"><input name="children"></form>',
    '<a id="ui" name="body" href="javascript:pwned({n})">clobber{n}</a>',
    "[link{n}](javascript:pwned({n}))",
    "[link{n}](JaVa&#x0A;script:pwned({n}))",
    "[link{n}](data:text/html,<script>pwned({n})</script>)",
    "[link{n}](vbscript:pwned({n}))",
    '![x](x" onerror="pwned({n}))',
    "![picture{n}](https://elsewhere.test/{n}.png)",
    "<details open ontoggle=pwned({n})>d{n}</details>",
    "<video><source onerror=pwned({n})></video>",
    '<a href="https://ok.test/" onclick="pwned({n})" style="position:fixed;inset:0">over{n}</a>',
    "<base href=https://elsewhere.test/>",
    "<object data=javascript:pwned({n})></object><embed src=javascript:pwned({n})>",
    "```<img src=x onerror=pwned({n})>\ncode{n}\n```",
    "| a |\n|---|\n| <img src=x onerror=pwned({n})> |",
    "<template shadowrootmode=open><script>pwned({n})</script></template>",
]

MARKDOWN = """# Big

Some **bold**, *thin* and `code` words with [a link](https://example.org/a) and [a page](/orders).
A second line.

- one
- two
  1. nested

| Name | Price |
|------|------:|
| Tea  | 3.50  |

### Smaller

```python
print("hello" + "a long line " * 12)  # that does not wrap but scrolls, as lines of code should
```

> A quote.

- [x] done
"""

CARD: dict[str, Any] = {
    "type": "Card",
    "size": "md",
    "status": {"text": "Order 17", "icon": "info"},
    "children": [
        {"type": "Title", "value": "Green tea", "size": "lg"},
        {"type": "Text", "id": "text", "value": "Loose leaves", "color": "secondary"},
        {
            "type": "Row",
            "children": [
                {"type": "Badge", "label": "In stock", "color": "success"},
                {"type": "Caption", "value": "since 1999"},
                {"type": "Spacer"},
                {"type": "Icon", "name": "star"},
            ],
        },
        {"type": "Image", "src": PIXEL, "alt": "A dot", "height": 40, "width": 40},
        {"type": "Divider"},
        {"type": "Markdown", "value": "It is **good**."},
        {
            "type": "Row",
            "children": [
                {
                    "type": "Button",
                    "label": "Buy",
                    "style": "primary",
                    "onClickAction": {"type": "buy", "payload": {"id": 17}},
                },
                {
                    "type": "Button",
                    "label": "Look",
                    "onClickAction": {"type": "look", "payload": {"id": 17}, "handler": "client"},
                },
                {
                    "type": "Button",
                    "label": "Note",
                    "onClickAction": {"type": "note", "payload": {"id": 17}, "streaming": False},
                },
            ],
        },
    ],
}

FORM: dict[str, Any] = {
    "type": "Card",
    "children": [
        {
            "type": "Form",
            "onSubmitAction": {"type": "book", "payload": {"table": 4}},
            "children": [
                {"type": "Label", "value": "Your name", "fieldName": "guest.name"},
                {"type": "Input", "name": "guest.name", "required": True},
                {"type": "Textarea", "name": "wish", "placeholder": "Wishes"},
                # A browser sends nothing of it: the payload's own stays.
                {"type": "Input", "name": "table", "defaultValue": "5", "disabled": True},
                {
                    "type": "Select",
                    "name": "seat",
                    "placeholder": "Where?",
                    "options": [
                        {"value": "in", "label": "Inside"},
                        {"value": "out", "label": "Outside"},
                    ],
                },
                {"type": "DatePicker", "name": "day", "placeholder": "Day"},
                {"type": "Checkbox", "name": "dog", "label": "With a dog"},
                {
                    "type": "RadioGroup",
                    "name": "size",
                    "ariaLabel": "Size",
                    "options": [{"value": "s", "label": "Small"}, {"value": "l", "label": "Large"}],
                },
                {"type": "Button", "label": "Book", "submit": True, "style": "primary"},
            ],
        }
    ],
}

LIST: dict[str, Any] = {
    "type": "ListView",
    "limit": 2,
    "children": [
        {
            "type": "ListViewItem",
            "onClickAction": {"type": "pick", "payload": {"n": n}},
            "children": [
                {"type": "Icon", "name": "mail"},
                {"type": "Col", "children": [{"type": "Text", "value": f"Row {n}"}]},
            ],
        }
        for n in (1, 2, 3)
    ],
}

CHART: dict[str, Any] = {
    "type": "Card",
    "children": [
        {
            "type": "Chart",
            "data": [{"m": "May", "v": 3}, {"m": "June", "v": 5}],
            "series": [{"type": "bar", "dataKey": "v", "label": "Visits"}],
            "xAxis": "m",
        },
        {
            "type": "Table",
            "children": [
                {
                    "type": "Table.Row",
                    "header": True,
                    "children": [
                        {"type": "Table.Cell", "children": [{"type": "Text", "value": "City"}]}
                    ],
                },
                {
                    "type": "Table.Row",
                    "children": [
                        {"type": "Table.Cell", "children": [{"type": "Text", "value": "Bern"}]}
                    ],
                },
            ],
        },
        {
            "type": "Hologram",
            "title": "From the future",
            "children": [{"type": "Text", "value": "x"}],
        },
    ],
}


def widget(definition: dict[str, Any]) -> DynamicWidgetRoot:
    """Build a widget as a template would."""
    return DynamicWidgetRoot.model_validate(definition)


def now() -> datetime:
    return datetime.now(timezone.utc)


class MemoryStore(Store[dict[str, Any]]):
    """Threads, items and attachments of one test, in the order they came."""

    def __init__(self) -> None:
        self.threads: dict[str, ThreadMetadata] = {}
        self.items: dict[str, dict[str, ThreadItem]] = {}
        self.attachments: dict[str, Attachment] = {}
        self.count = 0

    def generate_thread_id(self, context: Any) -> str:
        self.count += 1
        return f"thr_{self.count}"

    def generate_item_id(self, item_type: Any, thread: Any, context: Any) -> str:
        self.count += 1
        return f"{item_type}_{self.count}"

    def _page(self, values: list[Any], after: str | None, limit: int, order: str) -> Page[Any]:
        found = values if order == "asc" else values[::-1]
        if after:
            ids = [value.id for value in found]
            found = found[ids.index(after) + 1 :]
        more = len(found) > limit
        found = found[:limit]
        last = found[-1].id if found and more else None
        return Page(data=[v.model_copy(deep=True) for v in found], has_more=more, after=last)

    async def load_thread(self, thread_id: str, context: Any) -> ThreadMetadata:
        if thread_id not in self.threads:
            raise NotFoundError(thread_id)
        return self.threads[thread_id].model_copy(deep=True)

    async def save_thread(self, thread: ThreadMetadata, context: Any) -> None:
        known = ThreadMetadata(**thread.model_dump(exclude={"items"}))
        self.threads[thread.id] = known
        self.items.setdefault(thread.id, {})

    async def load_threads(self, limit: int, after: Any, order: str, context: Any) -> Any:
        return self._page(list(self.threads.values()), after, limit, order)

    async def delete_thread(self, thread_id: str, context: Any) -> None:
        self.threads.pop(thread_id)
        self.items.pop(thread_id)

    async def load_thread_items(
        self, thread_id: str, after: Any, limit: int, order: str, context: Any
    ) -> Any:
        return self._page(list(self.items[thread_id].values()), after, limit, order)

    async def add_thread_item(self, thread_id: str, item: Any, context: Any) -> None:
        self.items[thread_id][item.id] = item.model_copy(deep=True)

    async def save_item(self, thread_id: str, item: Any, context: Any) -> None:
        self.items[thread_id][item.id] = item.model_copy(deep=True)

    async def load_item(self, thread_id: str, item_id: str, context: Any) -> Any:
        return self.items[thread_id][item_id].model_copy(deep=True)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: Any) -> None:
        self.items[thread_id].pop(item_id, None)

    async def save_attachment(self, attachment: Any, context: Any) -> None:
        self.attachments[attachment.id] = attachment

    async def load_attachment(self, attachment_id: str, context: Any) -> Any:
        return self.attachments[attachment_id]

    async def delete_attachment(self, attachment_id: str, context: Any) -> None:
        self.attachments.pop(attachment_id, None)


class Uploads(AttachmentStore[dict[str, Any]]):
    """Files that come in two phases."""

    def __init__(self) -> None:
        self.count = 0
        self.deleted: list[str] = []

    def make(self, name: str, mime_type: str, base: str, **more: Any) -> Attachment:
        self.count += 1
        given = {"id": f"atc_{self.count}", "name": name, "mime_type": mime_type, **more}
        if mime_type.startswith("image/"):
            return ImageAttachment(preview_url=f"{base}/files/{self.count}", **given)
        return FileAttachment(**given)

    async def create_attachment(
        self,
        input: AttachmentCreateParams,  # noqa: A002 - the base class's name
        context: Any,
    ) -> Attachment:
        base = context["base"]
        to = AttachmentUploadDescriptor(
            url=f"{base}/put/{self.count + 1}", method="PUT", headers={"X-Upload": "yes"}
        )
        return self.make(input.name, input.mime_type, base, upload_descriptor=to)

    async def delete_attachment(self, attachment_id: str, context: Any) -> None:
        self.deleted.append(attachment_id)


class Talker(ChatKitServer[dict[str, Any]]):
    """Does what the first word of a message says."""

    store: MemoryStore

    def __init__(self) -> None:
        self.uploads = Uploads()
        super().__init__(MemoryStore(), self.uploads)
        self.feedback: list[Any] = []
        self.actions: list[Any] = []
        self.inputs: list[Any] = []
        self.cancelled = threading.Event()
        self.go = threading.Event()  # "wait" answers go on when it is set
        self.failures = 0

    def say(self, thread: ThreadMetadata, text: str, **more: Any) -> ThreadItemDoneEvent:
        content = AssistantMessageContent(text=text, annotations=more.get("annotations", []))
        return self.done(AssistantMessageItem, thread, content=[content])

    def done(self, kind: Any, thread: ThreadMetadata, **given: Any) -> ThreadItemDoneEvent:
        item_id = self.store.generate_item_id("message", thread, {})
        item = kind(id=item_id, thread_id=thread.id, created_at=now(), **given)
        return ThreadItemDoneEvent(item=item)

    async def add_feedback(
        self, thread_id: str, item_ids: Any, feedback: Any, context: Any
    ) -> None:
        self.feedback.append((thread_id, item_ids, feedback))

    async def handle_stream_cancelled(self, thread: Any, pending_items: Any, context: Any) -> None:
        await super().handle_stream_cancelled(thread, pending_items, context)
        self.cancelled.set()

    async def stream_text(
        self, thread: ThreadMetadata, chunks: list[str]
    ) -> AsyncIterator[ThreadStreamEvent]:
        done = self.done(AssistantMessageItem, thread, content=[])
        yield ThreadItemAddedEvent(item=done.item)
        part = AssistantMessageContent(text="", annotations=[])

        def update(change: Any) -> ThreadItemUpdatedEvent:
            return ThreadItemUpdatedEvent(item_id=done.item.id, update=change)

        yield update(AssistantMessageContentPartAdded(content_index=0, content=part))
        for chunk in chunks:
            if chunk == "\0wait":
                await asyncio.to_thread(self.go.wait, 20)
                continue
            yield update(AssistantMessageContentPartTextDelta(content_index=0, delta=chunk))
            await asyncio.sleep(0)
        text = "".join(chunk for chunk in chunks if chunk != "\0wait")
        yield ThreadItemDoneEvent(
            item=done.item.model_copy(update={"content": [AssistantMessageContent(text=text)]})
        )

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: Any
    ) -> AsyncIterator[ThreadStreamEvent]:
        if input_user_message is None:
            items = list(self.store.items[thread.id].values())
            for item in reversed(items):
                if isinstance(item, ClientToolCallItem):
                    yield self.say(thread, f"The tool said {json.dumps(item.output)}")
                    return
                if isinstance(item, StructuredInputItem):
                    given = [q.answer.values for q in item.inputs if q.answer]
                    yield self.say(thread, f"{item.status}: {given}")
                    return
            return
        self.inputs.append(input_user_message)
        text = "".join(part.text for part in input_user_message.content)
        if thread.title is None:
            thread.title = text[:40] or "Files"
        word = text.split()[0] if text else "files"
        act = getattr(self, f"do_{word}", None)
        if act is None:
            yield self.say(thread, f"You said {text}")
            return
        async for event in act(thread, text):
            yield event

    async def do_files(self, thread: Any, text: str) -> Any:
        names = ", ".join(each.name for each in self.inputs[-1].attachments)
        yield self.say(thread, f"I got {names}")

    def do_stream(self, thread: Any, text: str) -> Any:
        return self.stream_text(thread, [MARKDOWN[n : n + 7] for n in range(0, len(MARKDOWN), 7)])

    def do_wait(self, thread: Any, text: str) -> Any:
        return self.stream_text(thread, ["The beginning, ", "\0wait", "and the end."])

    def do_fence(self, thread: Any, text: str) -> Any:
        return self.stream_text(thread, ["Look:\n\n```js\nlet a", "\0wait", " = 1;\n```\n\nSo."])

    async def do_xss(self, thread: Any, text: str) -> Any:
        said = "\n\n".join(each.format(n=n) for n, each in enumerate(XSS))
        yield self.say(thread, said)
        yield ThreadItemDoneEvent(
            item=self.done(
                WidgetItem,
                thread,
                widget=widget(
                    {
                        "type": "Card",
                        "children": [
                            {"type": "Markdown", "value": said},
                            {"type": "Text", "value": "<img src=x onerror=pwned(1)>"},
                            {"type": "Image", "src": "javascript:pwned(2)", "alt": "no"},
                            {"type": "Box", "background": "url(https://elsewhere.test/b.png)"},
                            {"type": "__proto__", "value": "proto"},
                            {"type": "constructor", "value": "made"},
                        ],
                    }
                ),
            ).item
        )
        yield NoticeEvent(level="warning", title="<b>x</b>", message=XSS[1].format(n=99))

    async def do_sources(self, thread: Any, text: str) -> Any:
        done = self.say(thread, "Tea is old.")
        yield ThreadItemAddedEvent(item=done.item.model_copy(update={"content": []}))
        source = URLSource(title="On tea", url="https://tea.test/", attribution="tea.test")
        note = Annotation(source=source)
        yield ThreadItemUpdatedEvent(
            item_id=done.item.id,
            update=AssistantMessageContentPartAnnotationAdded(
                content_index=0, annotation_index=0, annotation=note
            ),
        )
        content = [AssistantMessageContent(text="Tea is old.", annotations=[note, note])]
        yield ThreadItemDoneEvent(item=done.item.model_copy(update={"content": content}))

    async def do_title(self, thread: Any, text: str) -> Any:
        thread.title = "A better title"
        yield self.say(thread, "Renamed.")

    async def do_image(self, thread: Any, text: str) -> Any:
        thread.allowed_image_domains = ["pictures.test"]
        yield self.say(
            thread,
            f"![in]({PIXEL}) ![ok](https://pictures.test/a.png) ![no](https://bad.test/a.png)",
        )

    async def do_tool(self, thread: Any, text: str) -> Any:
        yield self.done(
            ClientToolCallItem, thread, call_id="c1", name="colour", arguments={"of": "sky"}
        )

    async def do_effect(self, thread: Any, text: str) -> Any:
        yield ClientEffectEvent(name="confetti", data={"n": 3})
        yield ProgressUpdateEvent(text="Counting sheep", icon="search")
        yield self.done(HiddenContextItem, thread, content="secret context")
        await asyncio.to_thread(self.go.wait, 20)
        yield NoticeEvent(level="info", message="Mind the **gap**.", title="Notice")
        yield self.say(thread, "Done.")

    async def do_fail(self, thread: Any, text: str) -> Any:
        self.failures += 1
        if self.failures == 1:
            yield self.say(thread, "Half an answer")
            raise CustomStreamError("The kettle is cold.", allow_retry=True)
        yield self.say(thread, "Now it is warm.")

    async def do_close(self, thread: Any, text: str) -> Any:
        thread.status = ClosedStatus(reason="We are closed for today.")
        yield self.say(thread, "Goodbye.")

    async def do_card(self, thread: Any, text: str) -> Any:
        yield self.done(WidgetItem, thread, widget=widget(CARD), copy_text="Green tea")

    async def do_form(self, thread: Any, text: str) -> Any:
        yield self.done(WidgetItem, thread, widget=widget(FORM))

    async def do_list(self, thread: Any, text: str) -> Any:
        yield self.done(WidgetItem, thread, widget=widget(LIST))

    async def do_chart(self, thread: Any, text: str) -> Any:
        yield self.done(WidgetItem, thread, widget=widget(CHART))

    async def do_live(self, thread: Any, text: str) -> Any:
        def state(value: str, *, streaming: bool) -> DynamicWidgetRoot:
            text = {"type": "Text", "id": "t", "value": value, "streaming": streaming}
            box = {"type": "Input", "id": "i", "name": "kept"}
            return widget({"type": "Card", "id": "card", "children": [text, box]})

        async def states() -> Any:
            yield state("One", streaming=True)
            yield state("One two", streaming=True)
            await asyncio.to_thread(self.go.wait, 20)
            yield state("One two three", streaming=False)

        last = None
        async for event in stream_widget(thread, states()):
            last = event
            if not isinstance(event, ThreadItemDoneEvent):
                yield event
        assert isinstance(last, ThreadItemDoneEvent)
        item_id = last.item.id
        badge = {"type": "Badge", "id": "t", "label": "Four"}
        part = widget({"type": "Card", "children": [badge]}).children[0]
        yield ThreadItemUpdatedEvent(
            item_id=item_id, update=WidgetComponentUpdated(component_id="t", component=part)
        )
        root = widget({"type": "Card", "children": [badge, {"type": "Text", "value": "Five"}]})
        yield ThreadItemUpdatedEvent(item_id=item_id, update=WidgetRootUpdated(widget=root))
        yield ThreadItemDoneEvent(item=last.item.model_copy(update={"widget": root}))

    async def do_think(self, thread: Any, text: str) -> Any:
        done = self.done(WorkflowItem, thread, workflow=Workflow(type="reasoning", tasks=[]))
        item = done.item
        yield ThreadItemAddedEvent(item=item)

        def update(change: Any) -> ThreadItemUpdatedEvent:
            return ThreadItemUpdatedEvent(item_id=item.id, update=change)

        thought = ThoughtTask(
            title="Weighing", content="Is it **tea**?", status_indicator="loading"
        )
        yield update(WorkflowTaskAdded(task_index=0, task=thought))
        await asyncio.to_thread(self.go.wait, 20)
        thought = thought.model_copy(update={"status_indicator": "complete"})
        yield update(WorkflowTaskUpdated(task_index=0, task=thought))
        search = SearchTask(
            title_query="tea", sources=[URLSource(title="Tea", url="https://tea.test/")]
        )
        yield update(WorkflowTaskAdded(task_index=1, task=search))
        workflow = Workflow(
            type="reasoning", tasks=[thought, search], summary=DurationSummary(duration=75)
        )
        yield ThreadItemDoneEvent(item=item.model_copy(update={"workflow": workflow}))
        custom = Workflow(
            type="custom",
            tasks=[CustomTask(title="Boil", content="Water", icon="bolt")],
            summary=CustomSummary(title="Made tea"),
            expanded=True,
        )
        yield self.done(WorkflowItem, thread, workflow=custom)
        yield self.done(TaskItem, thread, task=CustomTask(title="Pour"))
        yield self.say(thread, "Tea it is.")

    async def do_draw(self, thread: Any, text: str) -> Any:
        done = self.done(GeneratedImageItem, thread)
        yield ThreadItemAddedEvent(item=done.item)
        image = GeneratedImage(id="img_1", url=PIXEL)
        yield ThreadItemUpdatedEvent(
            item_id=done.item.id, update=GeneratedImageUpdated(image=image, progress=0.5)
        )
        yield ThreadItemDoneEvent(item=done.item.model_copy(update={"image": image}))

    async def do_ask(self, thread: Any, text: str) -> Any:
        options = [StructuredInputMultipleChoiceOption(value=v) for v in ("Green", "Black")]
        yield self.done(
            StructuredInputItem,
            thread,
            inputs=[
                StructuredInputMultipleChoice(id="q1", question="Which tea?", options=options),
                StructuredInputMultipleChoice(
                    id="q2", question="With what?", options=options, multiple=True
                ),
                StructuredInputFreeform(id="q3", question="Anything else?", description="Say so."),
            ],
        )

    async def do_replace(self, thread: Any, text: str) -> Any:
        first = self.say(thread, "Wrong")
        yield first
        content = [AssistantMessageContent(text="Right")]
        yield ThreadItemReplacedEvent(item=first.item.model_copy(update={"content": content}))
        second = self.say(thread, "Superfluous")
        yield second
        yield ThreadItemRemovedEvent(item_id=second.item.id)

    async def action(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: Any, context: Any
    ) -> AsyncIterator[ThreadStreamEvent]:
        self.actions.append((action.type, action.payload, sender and sender.id))
        yield self.say(thread, f"Action {action.type} {json.dumps(action.payload)}")

    async def sync_action(self, thread: Any, action: Any, sender: Any, context: Any) -> Any:
        self.actions.append((action.type, action.payload, sender.id))
        root = widget({"type": "Card", "children": [{"type": "Text", "value": "Noted"}]})
        item = sender.model_copy(update={"widget": root})
        await self.store.save_item(thread.id, item, context)
        return SyncCustomActionResponse(updated_item=item)


def run(server: Talker, body: bytes, context: dict[str, Any], out: queue.Queue[Any]) -> Any:
    """Run one request in a thread of its own, all of it in one task; returns how to cancel it."""
    loop = asyncio.new_event_loop()

    async def work() -> None:
        try:
            result = await server.process(body, context)
            if isinstance(result, NonStreamingResult):
                out.put(("json", result.json))
                return
            assert isinstance(result, StreamingResult)
            async for chunk in result:
                out.put(("chunk", chunk))
        except NotFoundError:
            out.put(("missing", b""))
        except Exception as error:  # noqa: BLE001 - told to the page
            out.put(("error", str(error).encode()))
        finally:
            out.put(("end", b""))

    task = loop.create_task(work())

    def thread() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        finally:
            loop.close()

    threading.Thread(target=thread, daemon=True).start()
    return lambda: None if loop.is_closed() else loop.call_soon_threadsafe(task.cancel)


STRICT = (
    "default-src 'self'; style-src 'self'; script-src 'self'; img-src 'self' data: https://pictures.test;"
    " object-src 'none'; base-uri 'none'; require-trusted-types-for 'script'"
)


PAGE = (
    '<!doctype html><html lang="en" dir="{direction}"><head><title>Shop</title>'
    '<meta name="viewport" content="width=device-width">'
    '<link rel="stylesheet" href="/page.css"></head>'
    '<body><main><h1>Shop</h1><div id="box"></div></main>{tags}</body></html>'
)
STYLE = (
    "html,body,main,#box{margin:0;height:100%}"
    "h1{position:absolute;width:1px;height:1px;overflow:hidden;margin:0}"
)


def make_site(server: Talker) -> Flask:
    """Make a site with one page that loads the built-in chat under a strict policy.

    ``app.config["ANSWER"]`` may be a function that answers a call to the endpoint instead of the
    server, ``app.config["UPLOADS"]`` has what was uploaded: name, bytes and headers.
    """
    app = Flask("builtin", static_folder=None)
    app.config.update(ANSWER=None, UPLOADS=[], LIBRARIES=True)

    @app.after_request
    def policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = STRICT
        return response

    @app.get("/")
    def page() -> str:
        script = '<script type="module" src="/static/builtin/index.js"></script>'
        direction = "rtl" if "rtl" in request.args else "ltr"
        return PAGE.format(direction=direction, tags=script)

    @app.get("/static/<path:name>")
    def static(name: str) -> Response:
        if name.startswith("vendor/") and not app.config["LIBRARIES"]:
            raise NotFound
        return assets.send(request, name)

    app.add_url_rule("/page.css", "css", lambda: Response(STYLE, content_type="text/css"))
    app.add_url_rule("/api", "api", lambda: _answer(app, server), methods=["POST"])
    _add_uploads(app, server)
    return app


def _answer(app: Flask, server: Talker) -> Any:
    body = request.get_data()
    special = app.config["ANSWER"]
    answer = special and special(json.loads(body))
    if answer is not None:
        return answer
    out: queue.Queue[Any] = queue.Queue()
    cancel = run(server, body, {"base": request.host_url.rstrip("/")}, out)
    kind, first = out.get(timeout=10)
    if kind == "json":
        return Response(first, content_type="application/json")
    if kind == "missing":
        return {"message": "No such thread."}, 404
    if kind == "error":
        return {"message": first.decode()}, 400

    def chunks() -> Iterator[bytes]:
        try:
            yield first
            while True:
                try:
                    kind, chunk = out.get(timeout=0.05)
                except queue.Empty:
                    yield b": hb\n"
                    continue
                if kind != "chunk":
                    return
                yield chunk
        finally:
            cancel()

    return Response(chunks(), content_type="text/event-stream; charset=utf-8")


def _add_uploads(app: Flask, server: Talker) -> None:
    @app.post("/upload")
    def upload() -> Any:
        file = request.files["file"]
        app.config["UPLOADS"].append((file.filename, file.read(), dict(request.headers)))
        base = request.host_url.rstrip("/")
        attachment = server.uploads.make(file.filename or "", file.mimetype, base)
        server.store.attachments[attachment.id] = attachment
        return Response(attachment.model_dump_json(), content_type="application/json")

    @app.get("/upload/<name>")
    def uploaded(name: str) -> Response:
        number = int(name.rpartition("_")[2]) - 1
        return Response(app.config["UPLOADS"][number][1], content_type="text/plain")

    @app.put("/put/<number>")
    def put(number: str) -> Any:
        app.config["UPLOADS"].append((number, request.get_data(), dict(request.headers)))
        return "", 204

    @app.get("/files/<name>")
    def files(name: str) -> Response:
        return Response(PNG, content_type="image/png")
