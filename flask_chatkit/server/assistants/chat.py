"""The chat that a site's function gets: what is known of it, and what it can send."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, TypeVar

from chatkit.errors import CustomStreamError
from chatkit.store import Store, StoreItemType
from chatkit.types import (
    ClientEffectEvent,
    ClientToolCallItem,
    CustomTask,
    NoticeEvent,
    ProgressUpdateEvent,
    StructuredInput,
    StructuredInputItem,
    ThoughtTask,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    WidgetItem,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

from ...identity.visitor import Visitor
from ..context import ChatContext, as_context
from .channel import Channel
from .messages import ChatAttachment, Turn
from .suggestions import Suggestion, suggestions_event
from .widgets import as_widget, explain
from .writer import Outgoing, Sent, Step

logger = logging.getLogger("flask_chatkit")

T = TypeVar("T", bound=BaseModel)

_INPUT: TypeAdapter[StructuredInput] = TypeAdapter(StructuredInput)


class Chat:
    """The chat that a function answers in.

    The methods send at once and return what they have sent, so ``chat.progress("…")`` and ``yield
    chat.progress("…")`` do the same. They work in sync and async functions.

    :param context: the request's context.
    :param store: the history.
    :param thread: the thread; None while nothing belongs to one, as in dictation.
    :param channel: takes what is sent; None where nothing can be.
    :param history: earlier messages.
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
        #: Earlier messages, the oldest first: those among the last 100 items.
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
        """The visitor's preferred language, as the browser sends it (``de-CH``)."""
        return as_context(self.context).locale

    @property
    def page(self) -> dict[str, Any]:
        """What the visitor's page says it is about; see :attr:`ChatContext.page`."""
        return as_context(self.context).page

    @property
    def title(self) -> str | None:
        """The thread's title; assign to it to change it."""
        return self.thread.title if self.thread is not None else None

    @title.setter
    def title(self, title: str | None) -> None:
        if self.thread is None:
            raise RuntimeError("there is no thread yet whose title could be set")
        if title is not None and not isinstance(title, str):
            raise TypeError(f"a title must be a str or None, not {type(title).__name__}")
        self.thread.title = title

    def progress(self, text: str, icon: str | None = None) -> Sent:
        """Show what is going on, until the next output.

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
        """Have the page do something: fires its ``chatkit.effect`` event."""
        event = _make(ClientEffectEvent, "effect", name=name, data=_json("data", data or {}))
        return self._send(event)

    def suggest(self, suggestions: Sequence[Suggestion]) -> Sent:
        """Suggest what the visitor may say next, as buttons below the answer.

        They are gone with the visitor's next message, and are not stored.

        :param suggestions: one to six: what to say, or a dict with ``label``, which the button
            shows, and ``prompt``, which is sent.
        :raises ValueError: they are not of that form.
        """
        return self._send(suggestions_event(suggestions))

    def widget(self, widget: Any, copy_text: str | None = None) -> Sent:
        """Show a widget.

        :param widget: one of :mod:`chatkit.widgets`, or a dict as in a ``.widget`` file.
        :param copy_text: what the copy button copies.
        :raises ValueError: it is not a valid widget; the message names the field.
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
        """Replace the widget that was acted on.

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
        """Show a thought; consecutive ones are shown together."""
        task = _make(ThoughtTask, "thinking", content=text, title=title)
        return self._send(Step("reasoning", task))

    def task(self, title: str, content: str | None = None, icon: str | None = None) -> Sent:
        """Show a step of the work; consecutive ones are shown together."""
        task = _make(CustomTask, "task", title=title, content=content, icon=icon)
        return self._send(Step("custom", task))

    def client_tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> Sent:
        """Have the page run one of its tools; ends the answer.

        The function is called again with the page's answer, as ``message.tool_result``.
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
        """Ask the visitor something with a form.

        When it is answered or skipped, the function is called again with ``message.answers``.

        :param questions: one or several of: a string, for a free answer; a dict with ``question``
            and optionally ``id``, ``description``, or ``options`` (strings) with ``multiple``;
            ChatKit's ``StructuredInput``. Questions without an id get ``q1``, ``q2`` and so on.
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
        """An error to ``raise`` whose message is shown to the visitor.

        :param allow_retry: whether the visitor is offered a retry.
        """
        return CustomStreamError(message, allow_retry=allow_retry)

    def _send(self, what: Any) -> Sent:
        if self._channel is None:
            raise RuntimeError("there is no answer here to send this with")
        self._channel.put(Outgoing(what))
        return Sent()

    def _new_id(self, kind: StoreItemType) -> str:
        if self.thread is None:
            raise RuntimeError("there is no thread yet that this could belong to")
        return self._store.generate_item_id(kind, self.thread, self.context)

    def _base(self, kind: StoreItemType) -> dict[str, Any]:
        new_id = self._new_id(kind)
        thread = self.thread
        return {
            "id": new_id,
            "thread_id": thread.id if thread is not None else "",
            "created_at": datetime.now(timezone.utc),
        }


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
    """A mapping as a dict, once it is known to be JSON."""
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be JSON: {error}") from None
    return dict(value)
