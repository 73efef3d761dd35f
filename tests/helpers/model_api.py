"""A stand-in for a model's API on loopback: ``/v1/responses`` and ``/v1/chat/completions``.

It answers what a test has told it to, in the order of the calls, and is strict about what it is
asked. Calls that are not streamed are those for titles, which run beside the others.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.helpers.faults import readable

KEY = "sk-model-hunter7"

#: What each kind of content part has to have, by OpenAI's API reference.
PARTS = {
    "input_text": {"text"},
    "input_image": {"image_url"},
    "input_file": {"filename", "file_data"},
    "output_text": {"text"},
}


@dataclass
class Say:
    """Stream a message, one delta for each text."""

    texts: list[str]
    #: Whether to fall silent after the texts, until the client goes away.
    hang: bool = False
    thought: str | None = None
    #: Output items before the message: what tools of OpenAI's own did.
    before: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Use:
    """Call functions, each a name and arguments; a text may be said before."""

    calls: list[tuple[str, dict[str, Any]]]
    text: str | None = None


@dataclass
class Fail:
    """Answer with an error."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None


@dataclass
class Stop:
    """Say something and end early: with a refusal, or incomplete for a reason."""

    texts: list[str]
    refusal: str | None = None
    #: ``max_output_tokens`` or ``content_filter``.
    incomplete: str | None = None


@dataclass
class Half:
    """Say something and close the stream before its end."""

    texts: list[str]
    #: A function whose call is begun, too.
    call: str | None = None


@dataclass
class Gateway:
    """Answer with what is no answer of a model's, and with status 200."""

    body: str = ""
    content_type: str = "text/html; charset=utf-8"


class Wrong(Exception):
    """The request is not what the API accepts."""


class Refused(Exception):
    """The request is answered with an error that a visitor's history has brought about."""

    def __init__(self, fail: Fail) -> None:
        super().__init__(fail.message)
        self.fail = fail


Reply = Say | Use | Stop | Half | Gateway | Fail


@dataclass
class ModelApi:
    """What the stand-in was asked, and what it will answer."""

    replies: list[Reply] = field(default_factory=list)
    title: Say | Fail | Gateway = field(default_factory=lambda: Say(["Keys and locks"]))
    #: The bodies of streamed calls, and of those for titles.
    asked: list[dict[str, Any]] = field(default_factory=list)
    titles_asked: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    #: How many clients went away before the end, and a signal for it.
    gone: int = 0
    has_gone: threading.Event = field(default_factory=threading.Event)
    #: Set when a call that hangs has said all that it has to say.
    is_hanging: threading.Event = field(default_factory=threading.Event)
    base_url: str = ""
    #: Characters of the input of a call, files included, after which it is too long.
    context_length: int | None = None
    #: The bodies that were refused.
    refused: list[dict[str, Any]] = field(default_factory=list)
    #: Paths that this service does not have.
    missing: set[str] = field(default_factory=set)
    ids: Iterator[int] = field(default_factory=itertools.count)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_reply(self, body: dict[str, Any], is_streamed: bool) -> Reply:
        """What to answer to a call."""
        with self.lock:
            # A title is asked for without tools; an agent that is a tool runs unstreamed, too.
            if not is_streamed and not body.get("tools"):
                self.titles_asked.append(body)
                return self.title
            self.asked.append(body)
            if not self.replies:
                raise Wrong("a call too many")
            return self.replies.pop(0)


@contextmanager
def serve_model() -> Iterator[ModelApi]:
    """Serve a stand-in on loopback."""
    api = ModelApi()

    class Handler(_Handler):
        model_api = api

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    api.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model_api: ModelApi

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer a call."""
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        api = self.model_api
        try:
            if self.headers.get("Authorization") != f"Bearer {KEY}":
                raise Wrong("no key")
            body = json.loads(raw)
            dialect = {
                "/v1/responses": _Responses,
                "/v1/chat/completions": _Completions,
            }.get(self.path)
            if dialect is None:
                raise Wrong(f"no such path: {self.path}")
            if self.path in api.missing:
                raise Refused(Fail(404, "Not Found"))
            dialect.check(body)
            check_input(body, api.context_length)
            reply = api.next_reply(body, bool(body.get("stream")))
        except Wrong as error:
            api.wrong.append(str(error))
            reply = Fail(400, str(error))
        except Refused as refused:
            api.refused.append(body)
            reply = refused.fail
        if isinstance(reply, Fail):
            error = {
                "message": reply.message,
                "type": "invalid_request_error" if reply.status == 400 else "error",
                "param": reply.param,
                "code": reply.code,
            }
            self._send_json(reply.status, {"error": error})
        elif isinstance(reply, Gateway):
            self._send(200, reply.content_type, reply.body.encode())
        elif body.get("stream"):
            self._stream(dialect(api, body), reply)
        elif isinstance(reply, Say) and reply.hang:
            self._hang()
        else:
            self._send_json(200, dialect(api, body).whole(reply))

    def _send_json(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, content_type: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-request-id", "req_standin")
        self.send_header("x-should-retry", "false")
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, dialect: Any, reply: Say | Use | Stop | Half) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for event in dialect.stream(reply):
                self.wfile.write(event)
                self.wfile.flush()
            if isinstance(reply, Say) and reply.hang:
                self._hang()
        except OSError:
            self._note_gone()
        self.close_connection = True

    def _hang(self) -> None:
        """Say nothing until the client goes away."""
        self.model_api.is_hanging.set()
        try:
            if readable(self.connection, seconds=20) and not self.connection.recv(
                1, socket.MSG_PEEK
            ):
                self._note_gone()
        except OSError:
            self._note_gone()
        self.close_connection = True

    def _note_gone(self) -> None:
        with self.model_api.lock:
            self.model_api.gone += 1
        self.model_api.has_gone.set()


class _Responses:
    """The Responses API."""

    def __init__(self, api: ModelApi, body: dict[str, Any]) -> None:
        self.number = next(api.ids)
        self.model = body["model"]
        self.sequence = itertools.count()
        self.output: list[dict[str, Any]] = []

    @staticmethod
    def check(body: dict[str, Any]) -> None:
        """Refuse what the API refuses."""
        given = body.get("input")
        if isinstance(given, str):
            given = [{"role": "user", "content": given}]
        calls: set[str] = set()
        for item in given or []:
            kind = item.get("type", "message")
            if kind == "function_call":
                json.loads(item["arguments"])
                calls.add(item["call_id"])
            elif kind == "function_call_output":
                if item["call_id"] not in calls:
                    raise Wrong(f"No tool call found for {item['call_id']}.")
                calls.discard(item["call_id"])
            elif kind == "message":
                _check_message(item)
            elif kind in {"mcp_list_tools", "mcp_call"}:
                if not any(tool["type"] == "mcp" for tool in body.get("tools", [])):
                    raise Wrong(f"{kind} without a tool of that kind")
            else:
                raise Wrong(f"strange item {kind}")
        if calls:
            raise Wrong(f"No tool output found for {calls}.")
        _check_choice(body, [tool.get("name") for tool in body.get("tools", [])])

    def response(self, status: str) -> dict[str, Any]:
        """The response as it is by now."""
        return {
            "id": f"resp_{self.number}",
            "object": "response",
            "created_at": 1_790_000_000,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": self.model,
            "output": list(self.output),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "temperature": 1.0,
            "top_p": 1.0,
            "metadata": {},
            "usage": {
                "input_tokens": 1,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": 1,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 2,
            },
        }

    def whole(self, reply: Any) -> dict[str, Any]:
        """An answer that is not streamed."""
        for _ in self.stream(reply):
            pass
        return self.response("completed")

    def stream(self, reply: Say | Use | Stop | Half) -> Iterator[bytes]:
        """The events of an answer."""
        yield self._event("response.created", response=self.response("in_progress"))
        if isinstance(reply, Half):
            yield from self._begin(reply)
            return
        if isinstance(reply, Say):
            if reply.thought is not None:
                yield from self._think(reply.thought)
            for item in reply.before:
                index = len(self.output)
                yield self._event("response.output_item.added", output_index=index, item=item)
                self.output.append(item)
                yield self._event("response.output_item.done", output_index=index, item=item)
            yield from self._say(reply.texts, reply.hang)
            if reply.hang:
                return
        elif isinstance(reply, Stop):
            yield from self._say(reply.texts, hang=False, refusal=reply.refusal)
            if reply.incomplete:
                response = self.response("incomplete")
                response["incomplete_details"] = {"reason": reply.incomplete}
                yield self._event("response.incomplete", response=response)
                return
        else:
            if reply.text:
                yield from self._say([reply.text], hang=False)
            for name, arguments in reply.calls:
                yield from self._use(name, arguments)
        yield self._event("response.completed", response=self.response("completed"))

    def _begin(self, reply: Half) -> Iterator[bytes]:
        if reply.texts:
            yield from self._say(reply.texts, hang=True)
        if reply.call:
            # Up to the middle of the arguments.
            yield from itertools.islice(self._use(reply.call, {}), 2)

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": next(self.sequence), **fields}
        return f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode()

    def _message(self, text: str | None, status: str) -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {
            "id": f"msg_{self.number}_{len(self.output)}",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [part] if text is not None else [],
        }

    def _say(self, texts: list[str], hang: bool, refusal: str | None = None) -> Iterator[bytes]:
        if refusal is not None:
            yield from self._refuse(refusal)
            return
        item = self._message(None, "in_progress")
        place = {"item_id": item["id"], "output_index": len(self.output), "content_index": 0}
        index = len(self.output)
        yield self._event("response.output_item.added", output_index=index, item=item)
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield self._event("response.content_part.added", **place, part=part)
        for text in texts:
            yield self._event("response.output_text.delta", **place, delta=text, logprobs=[])
        if hang:
            return
        text = "".join(texts)
        yield self._event("response.output_text.done", **place, text=text, logprobs=[])
        yield self._event("response.content_part.done", **place, part={**part, "text": text})
        done = {**self._message(text, "completed"), "id": item["id"]}
        self.output.append(done)
        yield self._event("response.output_item.done", output_index=index, item=done)

    def _refuse(self, refusal: str) -> Iterator[bytes]:
        item = self._message(None, "in_progress")
        index = len(self.output)
        place = {"item_id": item["id"], "output_index": index, "content_index": 0}
        yield self._event("response.output_item.added", output_index=index, item=item)
        part = {"type": "refusal", "refusal": ""}
        yield self._event("response.content_part.added", **place, part=part)
        yield self._event("response.refusal.delta", **place, delta=refusal)
        yield self._event("response.refusal.done", **place, refusal=refusal)
        done = {**item, "status": "completed", "content": [{**part, "refusal": refusal}]}
        self.output.append(done)
        yield self._event("response.output_item.done", output_index=index, item=done)

    def _think(self, text: str) -> Iterator[bytes]:
        index = len(self.output)
        item = {"id": f"rs_{self.number}", "type": "reasoning", "summary": []}
        place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
        yield self._event("response.output_item.added", output_index=index, item=item)
        yield self._event("response.reasoning_summary_text.delta", **place, delta=text)
        yield self._event("response.reasoning_summary_text.done", **place, text=text)
        done = {**item, "summary": [{"type": "summary_text", "text": text}]}
        self.output.append(done)
        yield self._event("response.output_item.done", output_index=index, item=done)

    def _use(self, name: str, arguments: dict[str, Any]) -> Iterator[bytes]:
        index = len(self.output)
        item = {
            "id": f"fc_{self.number}_{index}",
            "type": "function_call",
            "status": "in_progress",
            "call_id": f"call_{self.number}_{index}",
            "name": name,
            "arguments": "",
        }
        place = {"item_id": item["id"], "output_index": index}
        yield self._event("response.output_item.added", output_index=index, item=item)
        told = json.dumps(arguments)
        kind = "response.function_call_arguments"
        yield self._event(f"{kind}.delta", **place, delta=told)
        yield self._event(f"{kind}.done", **place, arguments=told, name=name)
        done = {**item, "status": "completed", "arguments": told}
        self.output.append(done)
        yield self._event("response.output_item.done", output_index=index, item=done)


class _Completions:
    """The Chat Completions API."""

    def __init__(self, api: ModelApi, body: dict[str, Any]) -> None:
        self.number = next(api.ids)
        self.model = body["model"]

    @staticmethod
    def check(body: dict[str, Any]) -> None:
        """Refuse what the API refuses."""
        calls: set[str] = set()
        for message in body["messages"]:
            role = message["role"]
            if role == "tool":
                if message["tool_call_id"] not in calls:
                    raise Wrong("messages with role 'tool' must follow 'tool_calls'")
                calls.discard(message["tool_call_id"])
            elif calls:
                raise Wrong(f"no tool messages for {calls}")
            elif role not in {"system", "developer", "user", "assistant"}:
                raise Wrong(f"strange role {role}")
            calls |= {call["id"] for call in message.get("tool_calls") or []}
        _check_choice(body, [tool["function"]["name"] for tool in body.get("tools", [])])

    def whole(self, reply: Any) -> dict[str, Any]:
        """An answer that is not streamed."""
        message = {"role": "assistant", "content": "".join(reply.texts), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {**self._base("chat.completion"), "choices": [choice], "usage": self._usage()}

    def stream(self, reply: Say | Use | Stop | Half) -> Iterator[bytes]:
        """The chunks of an answer."""
        yield self._chunk({"role": "assistant", "content": ""})
        texts = [reply.text or ""] if isinstance(reply, Use) else reply.texts
        for text in filter(None, texts):
            yield self._chunk({"content": text})
        if isinstance(reply, Say) and reply.hang:
            return
        calls = reply.calls if isinstance(reply, Use) else []
        if isinstance(reply, Half):
            calls = [(reply.call, {})] if reply.call else []
        for index, (name, arguments) in enumerate(calls):
            yield from self._use(index, name, arguments)
        if isinstance(reply, Half):
            return
        finish = "tool_calls" if calls else "stop"
        if isinstance(reply, Stop):
            if reply.refusal:
                yield self._chunk({"refusal": reply.refusal})
            finish = {"max_output_tokens": "length", None: "stop"}.get(
                reply.incomplete, "content_filter"
            )
        yield self._chunk({}, finish)
        yield self._data(
            {**self._base("chat.completion.chunk"), "choices": [], "usage": self._usage()}
        )
        yield b"data: [DONE]\n\n"

    def _use(self, index: int, name: str, arguments: dict[str, Any]) -> Iterator[bytes]:
        call = {"index": index, "id": f"call_{self.number}_{index}", "type": "function"}
        yield self._chunk({"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]})
        told = {"index": index, "function": {"arguments": json.dumps(arguments)}}
        yield self._chunk({"tool_calls": [told]})

    def _base(self, kind: str) -> dict[str, Any]:
        created = 1_790_000_000
        name = f"chatcmpl-{self.number}"
        return {"id": name, "object": kind, "created": created, "model": self.model}

    def _usage(self) -> dict[str, int]:
        return {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return self._data({**self._base("chat.completion.chunk"), "choices": [choice]})

    def _data(self, body: dict[str, Any]) -> bytes:
        return f"data: {json.dumps(body)}\n\n".encode()


def _check_message(item: dict[str, Any]) -> None:
    role, content = item.get("role"), item["content"]
    if role not in {"user", "assistant", "system", "developer"}:
        raise Wrong(f"strange role {role}")
    if isinstance(content, str):
        return
    for part in content:
        kind = part.get("type")
        if kind not in PARTS or not PARTS[kind] <= set(part):
            raise Wrong(f"strange part {part}")
        if (kind == "output_text") != (role == "assistant"):
            raise Wrong(f"a part {kind} of the role {role}")


def check_input(body: dict[str, Any], context_length: int | None) -> None:
    """Refuse what OpenAI refuses of an input that has the right form.

    A damaged picture is refused with the words and codes of either API, and so is an input that is
    too long; for a stand-in, a token is a character.
    """
    given = body.get("input", body.get("messages"))
    told = json.dumps(given)
    for kind, data in re.findall(r"data:(image/\w+);base64,([\w+/=]*)", told):
        raw = base64.b64decode(data)
        if kind == "image/png" and b"IEND" not in raw:
            if "messages" in body:
                message = "You uploaded an unsupported image. Please make sure your image is valid."
                raise Refused(Fail(400, message, "image_parse_error"))
            message = "The image data you provided does not represent a valid image."
            raise Refused(Fail(400, message, "invalid_image_format", "input"))
    if context_length is not None and len(told) > context_length:
        param = "input" if "input" in body else "messages"
        message = "Your input exceeds the context window of this model."
        raise Refused(Fail(400, message, "context_length_exceeded", param))


def _check_choice(body: dict[str, Any], names: list[Any]) -> None:
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        name = choice.get("name") or choice.get("function", {}).get("name")
        if name not in names:
            raise Wrong(f"Tool choice {name!r} not found in 'tools'.")
