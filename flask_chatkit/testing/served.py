"""A visitor of a served chat, for the tests of a site."""

from __future__ import annotations

import base64
import io
import mimetypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from flask import Flask
from flask.testing import FlaskClient
from pydantic import TypeAdapter

from ..blueprint import ChatKit
from ..chats.checks import DEFAULT
from .answers import Answer, CallRefusedError, StopWhen
from .clicks import find_action
from .conversation import Conversation, Tool
from .transport import Transport

# After .answers, which keeps the package's own warnings quiet.
from chatkit.types import (  # isort: skip
    ClientToolCallItem,
    Page,
    StructuredInputItem,
    SyncCustomActionResponse,
    Thread,
    ThreadItem,
    ThreadItemBase,
    ThreadItemReplacedEvent,
    ThreadMetadata,
    UserMessageItem,
    UserMessageTagContent,
    WidgetItem,
)

#: A file to send: a path, a name with bytes and perhaps a MIME type, or an uploaded file's id.
File = Path | tuple[str, bytes] | tuple[str, bytes, str] | str

_THREADS: TypeAdapter[Page[Thread]] = TypeAdapter(Page[Thread])


class ServedChat(Conversation):
    """A visitor of one served chat. Another ``ServedChat`` is another visitor.

    .. code-block:: python

        chat = ServedChat(app)
        assert chat.say("Where is order 1042?").text == "It is packed."

    It makes the calls that the widget makes, through ``app.test_client()``: the site's own views,
    hooks, cookies, logins and limits apply, and no server is needed. Each message continues the
    thread of the one before.

    :param app: the application, configured as for its other tests.
    :param name: the chat's name.
    :param kit: the kit or its name; by default the application's first.
    :param client: a test client of the application: the visitor who has its cookies.
    :param tools: functions in place of the page's client tools, by name. They are called as soon as
        the chat calls them, and the answer goes on.
    :param base_url: the site's address as the browser has it, ``https://shop.example/app/``; by
        default that of ``app.test_client()``.
    :param headers: sent with every call, such as ``{"Accept-Language": "de"}``.
    :param url_values: values of variables in the kit's URLs, such as ``{"lang": "de"}``.
    :param page: what the page says that it is about, ``FlaskChatKit.get().context({…})``.
    :param seconds: how long an answer may take before :class:`TimeoutError` is raised.
    :raises LookupError: there is no such chat, or it is hosted by OpenAI.

    Every method that makes a call raises :class:`CallRefusedError` if the site refuses it. Those
    that return an :class:`Answer` raise :class:`AnswerError` if the visitor reads an error, unless
    they are called with ``check=False``.
    """

    def __init__(
        self,
        app: Flask,
        name: str = DEFAULT,
        *,
        kit: ChatKit | str | None = None,
        client: FlaskClient | None = None,
        tools: Mapping[str, Tool] | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        url_values: Mapping[str, Any] | None = None,
        page: Mapping[str, Any] | None = None,
        seconds: float = 60.0,
    ) -> None:
        #: The test client that carries the visitor's cookies.
        self.client: FlaskClient = client if client is not None else app.test_client()
        self.name = name
        kit_name = kit.name if isinstance(kit, ChatKit) else kit
        transport = Transport(
            app, name, kit_name, self.client, base_url, headers or {}, url_values or {}
        )
        transport.page = page or {}
        super().__init__(transport, dict(tools or {}), seconds)

    def __repr__(self) -> str:
        return f"<ServedChat {self.name!r}, thread {self.thread_id}>"

    # --- streamed calls ---------------------------------------------------------------------------

    def say(
        self,
        text: str = "",
        *,
        files: Iterable[File] = (),
        quoted: str | None = None,
        tags: Sequence[UserMessageTagContent | Mapping[str, Any]] = (),
        model: str | None = None,
        tool: str | None = None,
        stop_when: StopWhen | None = None,
        check: bool = True,
    ) -> Answer:
        """Send a message, in the open thread or a new one.

        :param files: uploaded before, as the composer does.
        :param quoted: the part of an earlier answer that the message refers to.
        :param tags: @-mentions: ``{"id": …, "text": …, "data": {…}}``, after the text.
        :param model: the id of a model that the composer offers.
        :param tool: the id of a tool that the composer offers.
        :param stop_when: called after each event with the answer so far; when it returns True, the
            visitor presses Stop. What the site then stores is stored when this method returns.
        :param check: whether an error in the answer is raised.
        :raises RuntimeError: ``stop_when`` was never true.
        """
        content: list[dict[str, Any]] = [{"type": "input_text", "text": text}] if text else []
        content += [UserMessageTagContent.model_validate(tag).model_dump() for tag in tags]
        message = {
            "content": content,
            "attachments": [self._attached(file) for file in files],
            "quoted_text": quoted,
            "inference_options": {"model": model, "tool_choice": tool and {"id": tool}},
        }
        kind = "threads.create" if self.thread is None else "threads.add_user_message"
        return self._stream(kind, check=check, stop_when=stop_when, input=message)

    def tool_result(self, output: Any, *, check: bool = True) -> Answer:
        """Send the result of the client tool that the chat has called.

        :param output: JSON; ``{"error": "…"}`` is what a page sends if its function has thrown.
        :raises LookupError: no call waits for a result.
        """
        self._last(ClientToolCallItem, "call of a client tool waits for a result")
        return self._stream("threads.add_client_tool_output", check=check, result=output)

    def answer(
        self,
        answers: Mapping[str, str | Sequence[str] | None] | None = None,
        *,
        check: bool = True,
        **by_id: str | Sequence[str] | None,
    ) -> Answer:
        """Answer the form of ``chat.ask``: ``chat.answer(q1="Larch", sizes=["S", "M"])``.

        Questions without an answer are skipped. Without any answer, the form is skipped.

        :param answers: the same by the questions' ids, for ids that are no Python names.
        :raises LookupError: no form waits to be answered, or it has no such question.
        :raises ValueError: several answers to a question that takes one.
        """
        form = self._last(StructuredInputItem, "form waits to be answered")
        given = {**(answers or {}), **by_id}
        known = {question.id for question in form.inputs}
        if not set(given) <= known:
            wrong = ", ".join(sorted(set(given) - known))
            raise LookupError(f"no question {wrong}: the form has {', '.join(sorted(known))}")
        texts: dict[str, list[str]] = {}
        for question in form.inputs:
            value = given.get(question.id)
            texts[question.id] = [value] if isinstance(value, str) else list(value or ())
            if len(texts[question.id]) > 1 and not getattr(question, "multiple", False):
                raise ValueError(f"the question {question.id!r} takes one answer")
        submitted = {
            "status": "answered" if any(texts.values()) else "skipped",
            "answers": {
                key: {"values": values, "skipped": not values} for key, values in texts.items()
            },
        }
        return self._stream(
            "threads.add_structured_input", check=check, item_id=form.id, input=submitted
        )

    def click(
        self, label: str, fill: Mapping[str, Any] | None = None, *, check: bool = True
    ) -> Answer:
        """Click a button of a widget: the newest one in the thread with this label.

        :param fill: values of the fields of the form around it, by the fields' names.
        :raises LookupError: there is none; the message has the existing labels.
        """
        widgets = [item for item in reversed(self.items()) if isinstance(item, WidgetItem)]
        item, action = find_action(widgets, label)
        if action.get("handler") == "client":
            raise LookupError(
                f"{label!r} has an action for the page's JavaScript: {action['type']!r} never "
                "comes to the site"
            )
        payload = {**(action.get("payload") or {}), **fill} if fill else action.get("payload")
        streaming = action.get("streaming") is not False
        return self.act(action["type"], payload, item=item, streaming=streaming, check=check)

    def act(
        self,
        kind: str,
        payload: Any = None,
        *,
        item: ThreadItemBase | str | None = None,
        streaming: bool = True,
        check: bool = True,
    ) -> Answer:
        """Send a widget's action, as ``sendCustomAction`` of the page does.

        :param kind: the action's type.
        :param payload: JSON.
        :param item: the widget that has the action, or its id; None for an action of the page's
            own, which reaches only handlers with ``from_page=True``.
        :param streaming: False for an action with ``"streaming": False``; the widget in the
            response is in :attr:`Answer.widgets`.
        """
        action = {"type": kind, "payload": payload}
        item_id = _id(item) if item is not None else None
        if streaming:
            return self._stream(
                "threads.custom_action", check=check, item_id=item_id, action=action
            )
        params = {"thread_id": self._opened(), "item_id": item_id, "action": action}
        result = self._transport.ask("threads.sync_custom_action", **params)
        updated = SyncCustomActionResponse.model_validate(result).updated_item
        events = [ThreadItemReplacedEvent(item=updated)] if updated is not None else []
        return Answer([*events], before=self.thread)

    def retry(
        self,
        message: ThreadItemBase | str | None = None,
        *,
        stop_when: StopWhen | None = None,
        check: bool = True,
    ) -> Answer:
        """Have a message answered again, by default the last one; what followed it is removed."""
        if message is None:
            message = self._last(UserMessageItem, "message is there to be answered again")
        return self._stream(
            "threads.retry_after_item", check=check, stop_when=stop_when, item_id=_id(message)
        )

    # --- other calls ------------------------------------------------------------------------------

    def feedback(
        self,
        kind: Literal["positive", "negative"],
        items: Iterable[ThreadItemBase | str] | None = None,
    ) -> None:
        """Give a thumb for an answer.

        :param items: the answer's items; by default those after the last message.
        """
        if items is None:
            later: list[ThreadItem] = []
            for item in self.items():
                later = [] if isinstance(item, UserMessageItem) else [*later, item]
            items = later
        ids = [_id(item) for item in items]
        self._ask("items.feedback", thread_id=self._opened(), item_ids=ids, kind=kind)

    def transcribe(self, audio: bytes, mime_type: str = "audio/webm") -> str:
        """Dictate: return the text that the site makes of some speech."""
        text = base64.b64encode(audio).decode()
        answer = self._ask("input.transcribe", audio_base64=text, mime_type=mime_type)
        return str(answer["text"])

    def upload(self, file: File) -> str:
        """Upload a file without sending it, as the composer does; return its id, for :meth:`say`.

        A path's MIME type is guessed from its name.

        :raises ValueError: the chat accepts no files.
        """
        if isinstance(file, str):
            raise TypeError(f"a file is a Path or (name, bytes[, type]), not the string {file!r}")
        if isinstance(file, Path):
            file = (file.name, file.read_bytes())
        name, data = file[0], file[1]
        kind = file[2] if len(file) > 2 else mimetypes.guess_type(name)[0]
        uploaded = self._transport.upload(
            io.BytesIO(data), name, kind or "application/octet-stream"
        )
        return str(uploaded["id"])

    def threads(self) -> list[Thread]:
        """Return the visitor's earlier chats, the newest first."""
        return list(self._pages("threads.list", _THREADS))

    def open(self, thread: ThreadMetadata | str) -> Thread:
        """Open one of the visitor's earlier chats, and load it."""
        key = thread if isinstance(thread, str) else thread.id
        loaded = Thread.model_validate(self._ask("threads.get_by_id", thread_id=key))
        self.thread = loaded
        return loaded

    def new_thread(self) -> None:
        """Start a new chat: the next message begins a thread."""
        self.thread = None

    def rename(self, title: str) -> None:
        """Rename the open thread."""
        self._ask("threads.update", thread_id=self._opened(), title=title)
        self.open(self._opened())

    def delete(self, thread: ThreadMetadata | str | None = None) -> None:
        """Delete an earlier chat, by default the open one."""
        key = self._opened() if thread is None else thread if isinstance(thread, str) else thread.id
        self._ask("threads.delete", thread_id=key)
        if key == self.thread_id:
            self.thread = None

    def sign_in(self, sign_in: Callable[[FlaskClient], Any]) -> Any:
        """Sign in, or out, the way the site does: ``chat.sign_in(lambda c: c.post("/login", …))``.

        The page is reloaded afterwards: the next call mints a new secret, and what the visitor
        wrote before signing in becomes the login's.

        :param sign_in: called with the test client; its result is returned.
        :raises CallRefusedError: it returned a response with a status of 400 or more.
        """
        result = sign_in(self.client)
        self.reload()
        if getattr(result, "status_code", 200) >= 400:
            raise CallRefusedError("sign_in", result)
        return result

    def reload(self) -> None:
        """Reload the page: the next call mints a new secret. The thread stays open."""
        self._transport.forget()

    def _attached(self, file: File) -> str:
        return file if isinstance(file, str) else self.upload(file)


def _id(item: ThreadItemBase | str) -> str:
    return item if isinstance(item, str) else item.id
