"""Converts OpenAI's threads and items to those of a served chat.

OpenAI's form is that of its API reference for ``/v1/chatkit/threads`` (OpenAPI document 2.3.0), a
served chat's that of ``chatkit.types``. Ids stay the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, cast

from chatkit.types import (
    ActiveStatus,
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    Attachment,
    ClientToolCallItem,
    ClosedStatus,
    CustomTask,
    FileAttachment,
    FileSource,
    InferenceOptions,
    LockedStatus,
    TaskItem,
    ThoughtTask,
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
from pydantic import BaseModel, Field, StrictInt, StrictStr, TypeAdapter, ValidationError

from ..server.history.tables import LONGEST_ID
from ..server.surrogates import clean

Json = Mapping[str, Any]

#: The latest time that every database can store, in Unix seconds.
_LATEST = 253_402_300_799
#: Characters of a title at most.
LONGEST_TITLE = 100_000


class DamagedError(Exception):
    """A thread or item can't be converted; the message names the reason."""


# --- OpenAI's form --------------------------------------------------------------------------------

_Id = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_ID, pattern=r"^[\x21-\x7e]+$")]
_Time = Annotated[StrictInt, Field(ge=0, le=_LATEST)]


class _Status(BaseModel):
    type: Literal["active", "locked", "closed"] = "active"
    reason: str | None = None


class _Thread(BaseModel):
    id: _Id
    created_at: _Time
    title: StrictStr | None = None
    status: _Status = Field(default_factory=_Status)
    user: Annotated[StrictStr, Field(min_length=1)]


class _Entry(BaseModel):
    id: _Id
    thread_id: _Id
    created_at: _Time


class _InputText(BaseModel):
    type: Literal["input_text"]
    text: StrictStr


class _Quote(BaseModel):
    type: Literal["quoted_text"]
    text: StrictStr


class _Tag(BaseModel):
    type: Literal["input_tag"]
    id: StrictStr
    text: StrictStr
    data: dict[str, Any] = Field(default_factory=dict)
    group: StrictStr | None = None
    interactive: bool = False


class HostedAttachment(BaseModel):
    """A file of a message, as OpenAI describes it.

    :param preview_url: the URL of a picture; None for most files.
    """

    id: _Id
    type: Literal["image", "file"] = "file"
    name: StrictStr
    mime_type: StrictStr
    preview_url: StrictStr | None = None


class _Choice(BaseModel):
    id: StrictStr


class _Inference(BaseModel):
    model: StrictStr | None = None
    tool_choice: _Choice | None = None


class _UserMessage(_Entry):
    type: Literal["chatkit.user_message"]
    content: list[Annotated[_InputText | _Quote | _Tag, Field(discriminator="type")]]
    attachments: list[HostedAttachment] = Field(default_factory=list)
    inference_options: _Inference | None = None


class _FileRef(BaseModel):
    type: Literal["file"]
    filename: StrictStr


class _UrlRef(BaseModel):
    type: Literal["url"]
    url: StrictStr


class _Reference(BaseModel):
    source: Annotated[_FileRef | _UrlRef, Field(discriminator="type")]


class _OutputText(BaseModel):
    type: Literal["output_text"]
    text: StrictStr
    annotations: list[_Reference] = Field(default_factory=list)


class _AssistantMessage(_Entry):
    type: Literal["chatkit.assistant_message"]
    content: list[_OutputText]


class _Widget(_Entry):
    type: Literal["chatkit.widget"]
    widget: StrictStr


class _ToolCall(_Entry):
    type: Literal["chatkit.client_tool_call"]
    call_id: StrictStr
    name: StrictStr
    arguments: StrictStr
    output: StrictStr | None = None
    status: Literal["in_progress", "completed"]


class _Task(_Entry):
    type: Literal["chatkit.task"]
    task_type: Literal["custom", "thought"]
    heading: StrictStr | None = None
    summary: StrictStr | None = None


class _Step(BaseModel):
    type: Literal["custom", "thought"]
    heading: StrictStr | None = None
    summary: StrictStr | None = None


class _TaskGroup(_Entry):
    type: Literal["chatkit.task_group"]
    tasks: list[_Step]


_Item = _UserMessage | _AssistantMessage | _Widget | _ToolCall | _Task | _TaskGroup
_ITEM: TypeAdapter[_Item] = TypeAdapter(Annotated[_Item, Field(discriminator="type")])
_SERVED: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)
_TYPES = sorted(
    kind.model_fields["type"].annotation.__args__[0]  # type: ignore[union-attr]  # a Literal
    for kind in (_UserMessage, _AssistantMessage, _Widget, _ToolCall, _Task, _TaskGroup)
)


# --- a served chat's form -------------------------------------------------------------------------


def thread_of(sent: Json) -> tuple[ThreadMetadata, str]:
    """Convert a thread; returns it with OpenAI's user.

    :raises DamagedError: it is not of OpenAI's form; the message names the field.
    """
    thread = _validated(TypeAdapter(_Thread), sent)
    # Not by pydantic, which can't measure strings with lone surrogates.
    if len(thread.title or "") > LONGEST_TITLE:
        raise DamagedError(f"title: it has more than {LONGEST_TITLE:,} characters")
    reason = clean(thread.status.reason)
    status = {
        "active": ActiveStatus(),
        "locked": LockedStatus(reason=reason),
        "closed": ClosedStatus(reason=reason),
    }[thread.status.type]
    made = ThreadMetadata(
        id=thread.id,
        title=clean(thread.title),
        created_at=_time(thread.created_at),
        status=cast("Any", status),
    )
    return made, thread.user


def files_of(sent: Json) -> list[HostedAttachment]:
    """The files of an item; none unless it is a valid message."""
    try:
        item = _validated(_ITEM, sent)
    except DamagedError:
        return []
    return item.attachments if isinstance(item, _UserMessage) else []


def item_of(sent: Json, files: Mapping[str, Attachment]) -> tuple[ThreadItem, list[str]]:
    """Convert an item; returns it with notes on what could not be converted.

    :param files: the attachments whose bytes the site has, by OpenAI's id.
    :raises DamagedError: it has an unknown type or another form; the message names the field.
    """
    item = _validated(_ITEM, sent)
    base: dict[str, Any] = {
        "id": item.id,
        "thread_id": item.thread_id,
        "created_at": _time(item.created_at),
    }
    notes: list[str] = []
    made: ThreadItem
    if isinstance(item, _UserMessage):
        made = _user_message(item, base, files, notes)
    elif isinstance(item, _AssistantMessage):
        made = AssistantMessageItem(**base, content=[_output(part) for part in item.content])
    elif isinstance(item, _Widget):
        made = _widget(item, base)
    elif isinstance(item, _ToolCall):
        made = _tool_call(item, base, notes)
    elif isinstance(item, _Task):
        made = TaskItem(**base, task=_task(item.task_type, item.heading, item.summary))
    else:
        tasks = [_task(step.type, step.heading, step.summary) for step in item.tasks]
        made = WorkflowItem(**base, workflow=_workflow(tasks))
    return made, notes


def json_of(item: ThreadItem) -> str:
    """An item in JSON.

    :raises DamagedError: it is nested too deeply to be written or read.
    """
    try:
        written = item.model_dump_json()
        _SERVED.validate_json(written)
    except (ValueError, RecursionError):
        raise DamagedError("it is nested too deeply to be kept") from None
    return written


def _user_message(
    item: _UserMessage, base: dict[str, Any], files: Mapping[str, Attachment], notes: list[str]
) -> UserMessageItem:
    quotes = [part.text for part in item.content if isinstance(part, _Quote)]
    chosen = item.inference_options or _Inference()
    attachments: list[Attachment] = []
    for file in item.attachments:
        kept = files.get(file.id)
        attachments.append(kept or _named(file))
        if kept is None:
            notes.append(f"the file {file.id} is not to be had from OpenAI; its name stays")
    return UserMessageItem(
        **base,
        content=[
            _tag(part) if isinstance(part, _Tag) else _text(part.text)
            for part in item.content
            if not isinstance(part, _Quote)
        ],
        quoted_text=clean("\n".join(quotes)) if quotes else None,
        attachments=attachments,
        inference_options=InferenceOptions(
            model=clean(chosen.model),
            tool_choice=ToolChoice(id=clean(chosen.tool_choice.id)) if chosen.tool_choice else None,
        ),
    )


def _named(file: HostedAttachment) -> FileAttachment:
    """A file of which only the name is known. An image would need a preview URL."""
    return FileAttachment(
        id=file.id,
        name=clean(file.name),
        mime_type=clean(file.mime_type),
        metadata={"uploaded": False, "hosted_id": file.id},
    )


def _text(text: str) -> UserMessageTextContent:
    return UserMessageTextContent(text=clean(text))


def _tag(tag: _Tag) -> UserMessageTagContent:
    return UserMessageTagContent(
        id=clean(tag.id),
        text=clean(tag.text),
        data=_clean_data(tag.data),
        group=clean(tag.group),
        interactive=tag.interactive,
    )


def _output(part: _OutputText) -> AssistantMessageContent:
    sources: list[URLSource | FileSource] = [
        URLSource(title=clean(one.source.url), url=clean(one.source.url))
        if isinstance(one.source, _UrlRef)
        else FileSource(title=clean(one.source.filename), filename=clean(one.source.filename))
        for one in part.annotations
    ]
    return AssistantMessageContent(
        text=clean(part.text), annotations=[Annotation(source=source) for source in sources]
    )


def _widget(item: _Widget, base: dict[str, Any]) -> WidgetItem:
    try:
        return WidgetItem(**base, widget=_parsed(item.widget, "widget"))
    except ValidationError as error:
        raise DamagedError(f"widget: {_first(error)}") from None


def _tool_call(item: _ToolCall, base: dict[str, Any], notes: list[str]) -> ClientToolCallItem:
    arguments = _parsed(item.arguments, "arguments")
    if not isinstance(arguments, dict):
        raise DamagedError("arguments: it is no JSON object")
    output = None if item.output is None else _parsed(item.output, "output")
    if item.status == "in_progress":
        # A pending call blocks its thread until it is answered.
        notes.append("the page never answered this call; it counts as completed without an output")
    return ClientToolCallItem(
        **base,
        status="completed",
        call_id=clean(item.call_id),
        name=clean(item.name),
        arguments=arguments,
        output=output,
    )


def _task(kind: str, heading: str | None, summary: str | None) -> CustomTask | ThoughtTask:
    if kind == "thought":
        return ThoughtTask(title=clean(heading), content=clean(summary or ""))
    return CustomTask(title=clean(heading), content=clean(summary))


def _workflow(tasks: Sequence[CustomTask | ThoughtTask]) -> Workflow:
    is_thought = bool(tasks) and all(isinstance(task, ThoughtTask) for task in tasks)
    return Workflow(type="reasoning" if is_thought else "custom", tasks=list(tasks))


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _clean_data(data: dict[str, Any]) -> dict[str, Any]:
    try:
        return clean(data)
    except RecursionError:
        raise DamagedError("content: it is nested too deeply to be kept") from None


def _parsed(text: str, field: str) -> Any:
    try:
        return clean(json.loads(text))
    except (ValueError, RecursionError):
        raise DamagedError(f"{field}: it is no JSON") from None


def _validated(adapter: TypeAdapter[Any], sent: Any) -> Any:
    try:
        return adapter.validate_python(sent)
    except ValidationError as error:
        raise DamagedError(_first(error)) from None


def _first(error: ValidationError) -> str:
    """The first error, without the value, which is part of a visitor's message."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] in {"union_tag_invalid", "union_tag_not_found"} and not first["loc"]:
        return f"type: it is none of {', '.join(_TYPES)}"
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith("chatkit."))
    return f"{place or 'item'}: {first['msg']}"
