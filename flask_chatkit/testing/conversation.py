"""The calls of a :class:`ServedChat`, and their answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import TypeAdapter

from .answers import Answer, AnswerError, CallRefusedError, StopWhen, read_events
from .transport import Transport

# After .answers, which keeps the package's own warnings quiet.
from chatkit.types import (  # isort: skip
    ClientToolCallItem,
    Page,
    ThreadItem,
    ThreadMetadata,
)

#: A client tool: a function of the call's arguments that returns the page's result.
Tool = Callable[[dict[str, Any]], Any]

#: Items or threads of a page.
_PAGE = 100
#: Seconds to wait for the end of an answer that was stopped.
_SETTLE = 10.0

_ITEMS: TypeAdapter[Page[ThreadItem]] = TypeAdapter(Page[ThreadItem])


class Conversation:
    """The visitor's open thread, and the calls in it.

    :param transport: makes the calls.
    :param tools: functions in place of the page's client tools.
    :param seconds: the most seconds that an answer may take.
    """

    def __init__(self, transport: Transport, tools: dict[str, Tool], seconds: float) -> None:
        #: Functions in place of the page's client tools.
        self.tools = tools
        #: The open thread; None before the first message.
        self.thread: ThreadMetadata | None = None
        self._transport = transport
        self._seconds = seconds

    @property
    def thread_id(self) -> str | None:
        """The id of the open thread; None before the first message."""
        return self.thread.id if self.thread is not None else None

    def items(self) -> list[ThreadItem]:
        """Return all items of the open thread, the oldest first, as a reloaded page shows them."""
        found = self._pages("items.list", _ITEMS, thread_id=self._opened(), order="asc")
        return list(found)

    def _stream(
        self,
        kind: str,
        /,
        *,
        check: bool,
        stop_when: StopWhen | None = None,
        **params: Any,
    ) -> Answer:
        answer = Answer(before=self.thread)
        with _logged_errors() as logged:
            self._run(kind, answer, stop_when, params)
            while answer.error is None and not answer.stopped and self._runs(answer.client_tools):
                call = answer.client_tools[-1]
                output = self.tools[call.name](call.arguments)
                # The server sends no event for this.
                call.status, call.output = "completed", output
                params = {"result": {} if output is None else output}
                self._run("threads.add_client_tool_output", answer, stop_when, params)
        if check and answer.error is not None:
            causes = [record.exc_info[1] for record in logged if record.exc_info]
            raise AnswerError(answer, [record.getMessage() for record in logged]) from next(
                iter(causes), None
            )
        if stop_when is not None and not answer.stopped and answer.error is None:
            raise RuntimeError("the answer ended before stop_when was true")
        return answer

    def _runs(self, calls: list[ClientToolCallItem]) -> bool:
        return bool(calls) and calls[-1].name in self.tools

    def _run(
        self, kind: str, answer: Answer, stop_when: StopWhen | None, params: dict[str, Any]
    ) -> None:
        """Make one streaming call, and add its events to the answer."""
        if kind != "threads.create":
            params = {"thread_id": self._opened(), **params}
        end = time.monotonic() + self._seconds
        self._transport.clear_replays()
        response = self._transport.post(kind, params)
        if response.mimetype != "text/event-stream":
            raise CallRefusedError(kind, response)
        is_whole = False
        try:
            for event in read_events(self._transport.chunks(response)):
                if event is not None:
                    answer.events.append(event)
                    self.thread = answer.thread
                    if stop_when is not None and stop_when(answer):
                        answer.stopped = True
                        break
                if time.monotonic() > end:
                    raise TimeoutError(
                        f"the answer took more than {self._seconds} s; so far: {answer.text!r}"
                    )
            is_whole = not answer.stopped
        finally:
            if not is_whole and self.thread_id is not None:
                # Else it would go on without a reader.
                self._transport.stop(self.thread_id)
            self._transport.isolate(response.close)
        if answer.stopped:
            self._transport.wait(_SETTLE)

    def _ask(self, kind: str, /, **params: Any) -> Any:
        return self._transport.ask(kind, **params)

    def _pages(self, kind: str, page_of: TypeAdapter[Any], **params: Any) -> Iterator[Any]:
        after = None
        while True:
            answer = self._ask(kind, limit=_PAGE, after=after, **params)
            page = page_of.validate_python(answer)
            yield from page.data
            after = page.after
            if not page.has_more:
                return

    def _opened(self) -> str:
        if self.thread is None:
            raise LookupError("no thread is open: say something first, or open one")
        return self.thread.id

    def _last(self, kind: type[Any], what: str) -> Any:
        """Return the newest item of a type, which is pending if it has a status."""
        for item in reversed(self.items()):
            if isinstance(item, kind) and getattr(item, "status", "pending") == "pending":
                return item
        raise LookupError(f"no {what}")


class _Errors(logging.Handler):
    """Collects logged errors."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record."""
        self._records.append(record)


@contextmanager
def _logged_errors() -> Iterator[list[logging.LogRecord]]:
    """Collect the errors that are logged meanwhile, which visitors don't see, but tests should."""
    records: list[logging.LogRecord] = []
    handler = _Errors(records)
    loggers = [logging.getLogger(name) for name in ("flask_chatkit", "chatkit")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield records
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
