"""The answers of a served chat: their events, and what a visitor sees of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

with warnings.catch_warnings():
    # openai-chatkit warns about its own deprecated widget classes.
    warnings.simplefilter("ignore", DeprecationWarning)
    from chatkit.types import (
        AssistantMessageContentPartTextDelta,
        AssistantMessageItem,
        ClientEffectEvent,
        ClientToolCallItem,
        ErrorEvent,
        NoticeEvent,
        ProgressUpdateEvent,
        StructuredInput,
        StructuredInputItem,
        ThreadCreatedEvent,
        ThreadItem,
        ThreadItemDoneEvent,
        ThreadItemRemovedEvent,
        ThreadItemReplacedEvent,
        ThreadItemUpdatedEvent,
        ThreadMetadata,
        ThreadStreamEvent,
        ThreadUpdatedEvent,
        UserMessageItem,
        WidgetItem,
    )

from pydantic import TypeAdapter
from werkzeug.test import TestResponse

T = TypeVar("T")

_EVENT: TypeAdapter[ThreadStreamEvent] = TypeAdapter(ThreadStreamEvent)


@dataclass
class Answer:
    """The result of one message, action or other call of a :class:`ServedChat`.

    If the chat runs client tools by itself, their answers are part of it.
    """

    #: Every event in order, as a class of :mod:`chatkit.types`.
    events: list[ThreadStreamEvent] = field(default_factory=list)
    #: Whether ``stop_when`` stopped it.
    stopped: bool = False
    #: The thread before the answer, if it is not a new one.
    before: ThreadMetadata | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """The assistant's messages, one per line; of a message that was cut off, what arrived."""
        texts: dict[str, str] = {}
        for event in self.events:
            if isinstance(event, ThreadItemUpdatedEvent):
                if isinstance(event.update, AssistantMessageContentPartTextDelta):
                    texts[event.item_id] = texts.get(event.item_id, "") + event.update.delta
            elif isinstance(event, ThreadItemRemovedEvent):
                texts.pop(event.item_id, None)
            elif isinstance(event, (ThreadItemDoneEvent, ThreadItemReplacedEvent)) and isinstance(
                event.item, AssistantMessageItem
            ):
                texts[event.item.id] = text_of(event.item)
        return "\n".join(texts.values())

    @property
    def deltas(self) -> list[str]:
        """The pieces in which text arrived."""
        return [
            event.update.delta
            for event in self._of(ThreadItemUpdatedEvent)
            if isinstance(event.update, AssistantMessageContentPartTextDelta)
        ]

    @property
    def items(self) -> list[ThreadItem]:
        """The finished items, in the order in which they were finished, without the visitor's own.

        A replaced item is there in its last form; a removed one is not.
        """
        found: dict[str, ThreadItem] = {}
        for event in self.events:
            if isinstance(event, (ThreadItemDoneEvent, ThreadItemReplacedEvent)):
                found[event.item.id] = event.item
            elif isinstance(event, ThreadItemRemovedEvent):
                found.pop(event.item_id, None)
        return [item for item in found.values() if not isinstance(item, UserMessageItem)]

    @property
    def message(self) -> UserMessageItem | None:
        """The visitor's message as it was stored; None if there was none."""
        items = (event.item for event in self._of(ThreadItemDoneEvent))
        return next((item for item in items if isinstance(item, UserMessageItem)), None)

    @property
    def widgets(self) -> list[WidgetItem]:
        """The widgets that were shown or replaced."""
        return [item for item in self.items if isinstance(item, WidgetItem)]

    @property
    def client_tools(self) -> list[ClientToolCallItem]:
        """The calls of the page's functions that wait for :meth:`ServedChat.tool_result`."""
        calls = (item for item in self.items if isinstance(item, ClientToolCallItem))
        return [call for call in calls if call.status == "pending"]

    @property
    def questions(self) -> list[StructuredInput]:
        """The questions of ``chat.ask`` that wait for :meth:`ServedChat.answer`."""
        forms = (item for item in self.items if isinstance(item, StructuredInputItem))
        return [one for form in forms if form.status == "pending" for one in form.inputs]

    @property
    def progress(self) -> list[str]:
        """The texts of the progress lines, in order."""
        return [event.text for event in self._of(ProgressUpdateEvent)]

    @property
    def notices(self) -> list[NoticeEvent]:
        """The notices: each has a ``level``, a ``message`` and perhaps a ``title``."""
        return self._of(NoticeEvent)

    @property
    def effects(self) -> list[ClientEffectEvent]:
        """The events for the page: each has a ``name`` and ``data``."""
        return self._of(ClientEffectEvent)

    @property
    def thread(self) -> ThreadMetadata | None:
        """The thread after the answer."""
        threads = [event.thread for event in self.events if isinstance(event, _THREAD_EVENTS)]
        return threads[-1] if threads else self.before

    @property
    def title(self) -> str | None:
        """The thread's title after the answer."""
        return self.thread.title if self.thread is not None else None

    @property
    def error(self) -> ErrorEvent | None:
        """The first error that the visitor read; None if there was none."""
        return next(iter(self._of(ErrorEvent)), None)

    def _of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]


_THREAD_EVENTS = (ThreadCreatedEvent, ThreadUpdatedEvent)


class ServedChatError(Exception):
    """Base class of the errors of a :class:`ServedChat`."""


class AnswerError(ServedChatError):
    """The visitor read an error instead of an answer, or after a part of one.

    Its ``__cause__`` is the exception of the site's code that was logged at that moment, if there
    was one.

    :param answer: the answer, including the error.
    :param logged: what the loggers ``flask_chatkit`` and ``chatkit`` recorded as errors meanwhile.
    """

    def __init__(self, answer: Answer, logged: list[str]) -> None:
        error = answer.error
        self.answer = answer
        self.logged = logged
        #: ChatKit's code, ``custom`` for an error with a message of the site's own.
        self.code: str = str(getattr(error and error.code, "value", error and error.code))
        #: What the visitor read; None stands for ChatKit's own words, "something went wrong".
        self.message: str | None = error.message if error else None
        #: Whether the visitor was offered to try again.
        self.allow_retry = bool(error and error.allow_retry)
        words = f"the visitor read an error: {self.message or self.code}"
        super().__init__("\n".join([words, *(f"logged: {line}" for line in logged)]))


class CallRefusedError(ServedChatError):
    """The site refused a call with an HTTP status.

    :param what: the call: an operation of ChatKit's protocol, ``secret`` or ``attachments``.
    :param response: the response of the test client.
    """

    def __init__(self, what: str, response: TestResponse) -> None:
        body = response.get_json(silent=True)
        error = body.get("error") if isinstance(body, dict) else None
        fields = error if isinstance(error, dict) else {}
        self.what = what
        self.response = response
        #: The HTTP status.
        self.status = response.status_code
        #: The code of the kit's errors, such as ``rate_limited``; None for an answer of another.
        self.code: str | None = fields.get("code")
        #: What the visitor may read.
        self.message: str = fields.get("message") or response.status
        #: Seconds, or an HTTP date, from the header ``Retry-After``.
        self.retry_after: str | None = response.headers.get("Retry-After")
        kind = f", {response.mimetype}" if not fields else ""
        super().__init__(f"{what}: {self.status} {self.code or ''}{kind}: {self.message}")


def text_of(item: AssistantMessageItem) -> str:
    """Return the text of an assistant's message."""
    return "".join(part.text for part in item.content)


def read_events(chunks: Iterator[bytes]) -> Iterator[ThreadStreamEvent | None]:
    """Parse server-sent events as ChatKit's client does; yield None for each heartbeat.

    :raises ValueError: the stream is malformed.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield _EVENT.validate_json(line[6:])
            elif line.startswith(b":"):
                yield None
            elif line:
                raise ValueError(f"the answer has a line that is no event: {line[:80]!r}")
    if rest:
        raise ValueError(f"the answer ended within an event: {rest[:80]!r}")


#: Decides after each event whether the visitor stops the answer.
StopWhen = Callable[[Answer], bool]
