"""What a site's own function is given: the visitor's message, and the chat that it is part of."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Literal, TypeVar, cast, get_args

from chatkit.errors import CustomStreamError
from chatkit.store import Store, StoreItemType
from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    ClientEffectEvent,
    ClientToolCallItem,
    CustomTask,
    NoticeEvent,
    ProgressUpdateEvent,
    StructuredInput,
    StructuredInputItem,
    ThoughtTask,
    ThreadItem,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    UserMessageItem,
    UserMessageTagContent,
    WidgetItem,
)
from chatkit.widgets import (
    DynamicWidgetRoot,
    StrictWidgetComponent,
    StrictWidgetRoot,
    WidgetComponentBase,
    WidgetRoot,
)
from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

from ...identity.visitor import Visitor
from ..context import ChatContext, as_context
from .workers import Channel, call, is_asynchronous

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T", bound=BaseModel)

#: Reads the bytes of an attachment: ``read(attachment, context)``, blocking or asynchronous.
ReadAttachment = Callable[[Attachment, ChatContext], bytes | Awaitable[bytes]]

#: Items that a function is told of what was said before.
HISTORY = 100

#: The widget components that ChatKit documents, by name, and those that can be the root.
COMPONENTS: Mapping[str, type[WidgetComponentBase]] = {
    kind.model_fields["type"].default: kind
    for union in (StrictWidgetComponent, StrictWidgetRoot)
    for kind in get_args(get_args(union)[0])
}
ROOTS = frozenset(
    kind.model_fields["type"].default for kind in get_args(get_args(StrictWidgetRoot)[0])
)

_INPUT: TypeAdapter[StructuredInput] = TypeAdapter(StructuredInput)


@dataclass(frozen=True)
class ChatAttachment:
    """A file that came with a message.

    :param id: its id.
    :param name: its name on the visitor's machine.
    :param mime_type: its MIME type.
    :param size: its size in bytes; None if unknown.
    """

    id: str
    name: str
    mime_type: str
    size: int | None
    _read: Callable[[], Any] = field(repr=False, compare=False)
    _channel: Channel[Any] | None = field(default=None, repr=False, compare=False)

    def read(self) -> bytes:
        """Return its bytes, in a function that is not async.

        :raises RuntimeError: the function is async, and this would block all others.
        """
        if self._channel is None or self._channel.on_loop:
            raise RuntimeError("an asynchronous function reads with: await attachment.aread()")
        if is_asynchronous(self._read):
            later: bytes = self._channel.wait_for(self._read)
            return later
        now: bytes = self._read()
        return now

    async def aread(self) -> bytes:
        """Return its bytes, in an async function."""
        data: bytes = await call(self._read)
        return data


@dataclass(frozen=True)
class ClientToolResult:
    """The result of :meth:`Chat.client_tool`.

    :param name: the tool's name.
    :param arguments: the arguments that it was called with.
    :param output: what the page's JavaScript returned. It comes from the visitor's browser: check
        it.
    """

    name: str
    arguments: dict[str, Any]
    output: Any


@dataclass(frozen=True)
class Message:
    """What the visitor has written, or what their page has returned.

    :param text: the text, with tags as ``@name``; empty if this is something else than a message.
    :param attachments: the files that came with it.
    :param quoted_text: the part of an earlier answer that it refers to.
    :param tags: its @-mentions.
    :param model: the id of the model chosen in the composer.
    :param tool: the id of the tool chosen in the composer.
    :param item: the message as ChatKit has it; None if this is something else.
    :param tool_result: the result of a client tool that was called.
    :param answers: the answers to :meth:`Chat.ask` by the question's id, each a list of strings,
        which is empty for a question that was skipped.
    """

    text: str = ""
    attachments: list[ChatAttachment] = field(default_factory=list)
    quoted_text: str | None = None
    tags: list[UserMessageTagContent] = field(default_factory=list)
    model: str | None = None
    tool: str | None = None
    item: UserMessageItem | None = None
    tool_result: ClientToolResult | None = None
    answers: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """An earlier message of the thread.

    :param role: who wrote it.
    :param text: its text.
    :param item: the message as ChatKit has it.
    """

    role: Literal["user", "assistant"]
    text: str
    item: UserMessageItem | AssistantMessageItem


class Sent:
    """Says that a helper of :class:`Chat` has sent something; yielding it changes nothing."""


@dataclass(frozen=True)
class Outgoing:
    """What a helper has sent, on its way."""

    what: Any


@dataclass(frozen=True)
class Step:
    """A task of a workflow, which is made of such steps as they come."""

    kind: Literal["reasoning", "custom"]
    task: ThoughtTask | CustomTask


class Chat:
    """The chat that a function answers in.

    The methods send at once and return what they have sent, so ``chat.progress("…")`` and ``yield
    chat.progress("…")`` do the same. They work in sync and async functions.

    :param context: what is known about the request.
    :param store: the history.
    :param thread: the thread; None while there is none, as in dictation.
    :param channel: where to send events; None if there is no answer to send them with.
    :param history: the earlier messages.
    :param attachments: the message's files.
    :param sender: the widget that was acted on.
    """

    def __init__(
        self,
        context: ChatContext,
        store: Store[ChatContext],
        thread: ThreadMetadata | None = None,
        *,
        channel: Channel[Any] | None = None,
        history: Sequence[Turn] = (),
        attachments: Sequence[ChatAttachment] = (),
        sender: WidgetItem | None = None,
    ) -> None:
        self.context = context
        #: The thread's title, status and metadata; what is changed here is stored.
        self.thread = thread
        #: What was said before, the oldest first: at most what the last 100 items hold.
        self.history = list(history)
        #: The files that came with the message.
        self.attachments = list(attachments)
        #: The widget that was acted on, in the handler of an action.
        self.sender = sender
        self._store = store
        self._channel = channel

    @property
    def visitor(self) -> Visitor:
        """Who is chatting."""
        return as_context(self.context).visitor

    @property
    def locale(self) -> str | None:
        """The browser's first language (``de-CH``)."""
        return as_context(self.context).locale

    @property
    def title(self) -> str | None:
        """The thread's title, which may be set."""
        return self.thread.title if self.thread is not None else None

    @title.setter
    def title(self, title: str | None) -> None:
        if self.thread is None:
            raise RuntimeError("there is no thread yet that could have a title")
        if title is not None and not isinstance(title, str):
            raise TypeError(f"a title must be a str or None, not {type(title).__name__}")
        self.thread.title = title

    def progress(self, text: str, icon: str | None = None) -> Sent:
        """Show what is being done, until the next text arrives.

        :param icon: one of ChatKit's icon names.
        """
        return self._send(_make(ProgressUpdateEvent, "progress", text=text, icon=icon))

    def notice(
        self, level: Literal["info", "warning", "danger"], message: str, title: str | None = None
    ) -> Sent:
        """Show a notice above the composer. The message may be Markdown."""
        event = _make(NoticeEvent, "notice", level=level, message=message, title=title)
        return self._send(event)

    def effect(self, name: str, data: Mapping[str, Any] | None = None) -> Sent:
        """Send an event to the page: its ``chatkit.effect`` listeners are called."""
        event = _make(ClientEffectEvent, "effect", name=name, data=_json("data", data or {}))
        return self._send(event)

    def widget(self, widget: Any, copy_text: str | None = None) -> Sent:
        """Show a widget.

        :param widget: an object of :mod:`chatkit.widgets`, or a dict as in a ``.widget`` file.
        :param copy_text: what the copy button copies.
        :raises ValueError: it is not a widget; the message names the invalid field.
        """
        item = _make(
            WidgetItem,
            "widget",
            **self._base("message"),
            widget=as_widget(widget),
            copy_text=copy_text,
        )
        return self._send(item)

    def replace(self, widget: Any, copy_text: str | None = None) -> Sent:
        """Show another widget in place of the one that was acted on.

        :raises RuntimeError: no widget was acted on.
        """
        if self.sender is None:
            raise RuntimeError("only the handler of a widget's action can replace the widget")
        update = {
            "widget": as_widget(widget),
            "copy_text": self.sender.copy_text if copy_text is None else copy_text,
        }
        return self._send(ThreadItemReplacedEvent(item=self.sender.model_copy(update=update)))

    def thinking(self, text: str, title: str | None = None) -> Sent:
        """Show a thought. Several in a row are shown together."""
        task = _make(ThoughtTask, "thinking", content=text, title=title)
        return self._send(Step("reasoning", task))

    def task(self, title: str, content: str | None = None, icon: str | None = None) -> Sent:
        """Show a step of the work. Several in a row are shown together."""
        task = _make(CustomTask, "task", title=title, content=content, icon=icon)
        return self._send(Step("custom", task))

    def client_tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> Sent:
        """Call a function of the page. The answer ends with this.

        When the page has returned, the function is called again, with ``message.tool_result``.
        """
        item = _make(
            ClientToolCallItem,
            "client_tool",
            **self._base("tool_call"),
            call_id=self._new_id("tool_call"),
            name=name,
            arguments=_json("arguments", arguments or {}),
        )
        return self._send(item)

    def ask(self, questions: str | Mapping[str, Any] | Sequence[Any]) -> Sent:
        """Ask the visitor with a form.

        When it is answered or skipped, the function is called again, with ``message.answers``.

        :param questions: one or several of: a string, answered in free text; a dict with
            ``question`` and, optionally, ``id``, ``description``, or ``options`` (strings) with
            ``multiple``; a ``StructuredInput`` of ChatKit. Questions without an id are named
            ``q1``, ``q2`` and so on.
        """
        several = [questions] if isinstance(questions, (str, Mapping)) else list(questions)
        inputs = [_question(one, f"q{number}") for number, one in enumerate(several, 1)]
        if not inputs:
            raise ValueError("ask: there must be a question")
        if len({one.id for one in inputs}) < len(inputs):
            raise ValueError("ask: each question must have an id of its own")
        base = self._base("message")
        return self._send(_make(StructuredInputItem, "ask", **base, inputs=inputs))

    def error(self, message: str, allow_retry: bool = False) -> CustomStreamError:  # noqa: FBT001, FBT002 - ChatKit's own signature
        """Return an error to ``raise``, whose message the visitor reads.

        :param allow_retry: whether the visitor is offered a retry.
        """
        return CustomStreamError(message, allow_retry=allow_retry)

    def _send(self, what: Any) -> Sent:
        if self._channel is None:
            raise RuntimeError("there is no answer here that this could be sent with")
        self._channel.put(Outgoing(what))
        return Sent()

    def _new_id(self, kind: StoreItemType) -> str:
        if self.thread is None:
            raise RuntimeError("there is no thread yet that this could be part of")
        return self._store.generate_item_id(kind, self.thread, self.context)

    def _base(self, kind: StoreItemType) -> dict[str, Any]:
        new_id = self._new_id(kind)
        thread = self.thread
        return {
            "id": new_id,
            "thread_id": thread.id if thread is not None else "",
            "created_at": datetime.now(timezone.utc),
        }


def attachments_of(
    item: UserMessageItem | None,
    read: ReadAttachment | None,
    context: ChatContext,
    channel: Channel[Any] | None,
) -> list[ChatAttachment]:
    """The files of a message, as a function gets them."""
    return [
        ChatAttachment(
            id=one.id,
            name=one.name,
            mime_type=one.mime_type,
            size=(one.metadata or {}).get("size"),
            _read=_reader(one, read, context),
            _channel=channel,
        )
        for one in (item.attachments if item is not None else [])
    ]


def _reader(
    attachment: Attachment, read: ReadAttachment | None, context: ChatContext
) -> Callable[[], Any]:
    if read is None:
        raise RuntimeError("a message has attachments, and nothing was given that reads them")
    if is_asynchronous(read):

        async def later() -> Any:
            return await read(attachment, context)  # type: ignore[misc] # it is asynchronous

        return later
    return lambda: read(attachment, context)


def text_of(item: UserMessageItem | AssistantMessageItem) -> str:
    """What was said, with tags as ``@name``."""
    return "".join(
        f"@{part.text}" if isinstance(part, UserMessageTagContent) else part.text
        for part in item.content
    )


def turns(items: Sequence[ThreadItem]) -> list[Turn]:
    """The messages among a thread's items."""
    return [
        Turn("user" if isinstance(item, UserMessageItem) else "assistant", text_of(item), item)
        for item in items
        if isinstance(item, (UserMessageItem, AssistantMessageItem))
    ]


def said(item: UserMessageItem, attachments: list[ChatAttachment]) -> Message:
    """A message that the visitor wrote."""
    options = item.inference_options
    return Message(
        text=text_of(item),
        attachments=attachments,
        quoted_text=item.quoted_text,
        tags=[part for part in item.content if isinstance(part, UserMessageTagContent)],
        model=options.model,
        tool=options.tool_choice.id if options.tool_choice else None,
        item=item,
    )


def answered(items: Sequence[ThreadItem]) -> Message:
    """What has come that the visitor did not write: a client tool's answer, or a form's.

    :param items: the thread's last items, the oldest first.
    """
    last = items[-1] if items else None
    # ChatKit takes a client tool's answer only for the last item.
    if isinstance(last, ClientToolCallItem) and last.status == "completed":
        return Message(tool_result=ClientToolResult(last.name, last.arguments, last.output))
    answers: dict[str, list[str]] = {}
    for item in reversed(items):
        if isinstance(item, UserMessageItem):
            break
        if isinstance(item, StructuredInputItem) and item.status != "pending":
            for one in item.inputs:
                answers.setdefault(one.id, list(one.answer.values) if one.answer else [])
    return Message(answers=answers)


def _question(given: Any, new_id: str) -> StructuredInput:
    if isinstance(given, BaseModel):
        fields = given.model_dump()
    elif isinstance(given, str):
        fields = {"question": given}
    elif isinstance(given, Mapping):
        fields = dict(given)
    else:
        raise TypeError(f"ask: a question must be a str or a dict, not {type(given).__name__}")
    fields.setdefault("id", new_id)
    fields.setdefault("type", "multiple_choice" if "options" in fields else "freeform")
    if isinstance(fields.get("options"), (list, tuple)):
        fields["options"] = [
            {"value": one} if isinstance(one, str) else one for one in fields["options"]
        ]
    try:
        return _INPUT.validate_python(fields)
    except ValidationError as error:
        raise ValueError(f"ask: {explain(error)}") from None


def _make(kind: type[T], what: str, **fields: Any) -> T:
    try:
        return kind(**fields)
    except ValidationError as error:
        raise ValueError(f"{what}: {explain(error)}") from None


def _json(what: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping that the page can be told, checked where it is given."""
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be JSON: {error}") from None
    return dict(value)


# --- widgets ------------------------------------------------------------------------------------


def is_widget(value: object) -> bool:
    """Whether somebody meant this to be a widget."""
    return isinstance(value, (WidgetComponentBase, Mapping))


def as_widget(value: object) -> WidgetRoot:
    """Check a widget.

    A dict, as a ``.widget`` file makes it, is checked against the components that the package
    knows; fields that it does not know are passed on. A ``DynamicWidgetRoot`` is taken as it is.

    :raises TypeError: it is no widget at all.
    :raises ValueError: something in it is wrong; the message names the field.
    """
    if isinstance(value, WidgetComponentBase):
        if value.type not in ROOTS:
            raise ValueError(f"widget: type: a widget is a {_names(ROOTS)}, not a {value.type}")
        return cast("WidgetRoot", value)
    if not isinstance(value, Mapping):
        raise TypeError(f"a widget must be one of chatkit.widgets or a dict, not {_kind(value)}")
    if value.get("type") not in ROOTS:
        raise ValueError(
            f"widget: type: a widget is a {_names(ROOTS)}, not a {value.get('type')!r}"
        )
    _check_component(value, "widget")
    try:
        return DynamicWidgetRoot.model_validate(value)
    except ValidationError as error:
        raise ValueError(f"widget: {explain(error)}") from None


def _check_component(component: Any, where: str) -> None:
    if isinstance(component, BaseModel):
        return
    if not isinstance(component, Mapping):
        raise TypeError(f"{where}: a component must be a dict, not {_kind(component)}")
    kind = component.get("type")
    if not isinstance(kind, str) or kind not in COMPONENTS:
        raise ValueError(f"{where}.type: {kind!r} is none of {_names(COMPONENTS)}")
    fields = {key: one for key, one in component.items() if one is not None and key != "children"}
    try:
        _fields_of(kind).model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"{where}.{explain(error)} (in a {kind})") from None
    for name in set(component) - set(COMPONENTS[kind].model_fields):
        _tell_unknown(kind, str(name), where)
    children = component.get("children")
    if children is not None:
        several = children if isinstance(children, (list, tuple)) else [children]
        for number, child in enumerate(several):
            _check_component(child, f"{where}.children[{number}]")


@lru_cache
def _tell_unknown(kind: str, name: str, where: str) -> None:
    """Tell the log, once: a newer ChatKit may know the field, but it is probably misspelled."""
    close = difflib.get_close_matches(name, COMPONENTS[kind].model_fields, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    logger.warning("%s: a %s has no field %r%s", where, kind, name, hint)


@lru_cache
def _fields_of(kind: str) -> type[BaseModel]:
    """A model of a component's own fields.

    The package warns that its classes are deprecated whenever one is made, even from a dict.
    """
    component = COMPONENTS[kind]
    # Some name a type, that of icons, which the package defines only later.
    component.model_rebuild()
    fields: dict[str, Any] = {
        name: (given.annotation, given)
        for name, given in component.model_fields.items()
        if name != "children"
    }
    return create_model(kind, **fields)


def explain(error: ValidationError) -> str:
    """The first thing that is wrong, in a line: where, and what."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "value"
    what = first["msg"]
    return f"{where}: {what if len(what) <= 300 else what[:300] + '…'}"


def _names(names: Any) -> str:
    return ", ".join(sorted(names))


def _kind(value: object) -> str:
    return type(value).__name__
