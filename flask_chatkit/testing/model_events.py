"""The response of a fake model, and its events as the Responses API streams them."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

from agents.items import TResponseStreamEvent
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from .items import new_id
from .replies import ModelReply, pieces

Json = dict[str, Any]

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


class ResponseWriter:
    """One response of a fake model.

    :param reply: the reply.
    :param calls: the names and arguments of the called functions.
    :param text: the text, in pieces.
    :param model: the model's name.
    """

    def __init__(
        self, reply: ModelReply, calls: list[tuple[str, str]], text: list[str], model: str
    ) -> None:
        self._reply = reply
        self._calls = calls
        self._text = text
        self._id = new_id("resp")
        self._model = model
        self._created = int(time.time())
        self._output: list[Json] = []
        self._numbers = itertools.count()

    def whole(self) -> Response:
        """Return the response of a call that is not streamed."""
        for _ in self.events():
            pass
        return self.last

    @property
    def last(self) -> Response:
        """The response after all its events."""
        return Response.model_validate(self._response(self._status))

    def events(self) -> Iterator[TResponseStreamEvent]:
        """Yield the events, as far as the reply does not fail or hang."""
        reply = self._reply
        begun = self._response("in_progress", usage=None)
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)
        if reply.thinking is not None:
            yield from self._think(reply.thinking)
        if reply.refusal is not None:
            yield from self._refuse(reply.refusal)
        elif self._text:
            yield from self._say()
        if reply.error is not None or reply.hang:
            return
        for name, arguments in self._calls:
            yield from self._call(name, arguments)
        yield self._event(f"response.{self._status}", response=self._response(self._status))

    @property
    def _status(self) -> str:
        return "incomplete" if self._reply.incomplete else "completed"

    def _response(self, status: str, **more: Any) -> Json:
        given, made = self._reply.usage
        reason = self._reply.incomplete
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "instructions": None,
            "model": self._model,
            "output": json.loads(json.dumps(self._output)),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "temperature": 1.0,
            "top_p": 1.0,
            "metadata": {},
            "usage": {
                "input_tokens": given,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": made,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": given + made,
            },
            **more,
        }

    def _event(self, kind: str, **fields: Any) -> TResponseStreamEvent:
        event = {"type": kind, "sequence_number": next(self._numbers), **fields}
        made: TResponseStreamEvent = _EVENT.validate_python(event)
        return made

    def _added(self, item: Json) -> TResponseStreamEvent:
        index = len(self._output)
        return self._event("response.output_item.added", output_index=index, item=item)

    def _done(self, item: Json) -> TResponseStreamEvent:
        index = len(self._output)
        self._output.append(item)
        return self._event("response.output_item.done", output_index=index, item=item)

    def _message(self, parts: list[Json], status: str, key: str) -> Json:
        return {
            "id": key,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": parts,
        }

    def _say(self) -> Iterator[TResponseStreamEvent]:
        key = new_id("msg")
        place = {"item_id": key, "output_index": len(self._output), "content_index": 0}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield self._added(self._message([], "in_progress", key))
        yield self._event("response.content_part.added", **place, part=part)
        for delta in self._text:
            yield self._event("response.output_text.delta", **place, delta=delta, logprobs=[])
        if self._reply.error is not None or self._reply.hang:
            return
        text = "".join(self._text)
        annotations = [dict(annotation) for annotation in self._reply.annotations]
        whole = {**part, "text": text, "annotations": annotations}
        for index, annotation in enumerate(annotations):
            more = {"annotation_index": index, "annotation": annotation}
            yield self._event("response.output_text.annotation.added", **place, **more)
        yield self._event("response.output_text.done", **place, text=text, logprobs=[])
        yield self._event("response.content_part.done", **place, part=whole)
        yield self._done(self._message([whole], self._status, key))

    def _refuse(self, refusal: str) -> Iterator[TResponseStreamEvent]:
        key = new_id("msg")
        place = {"item_id": key, "output_index": len(self._output), "content_index": 0}
        part = {"type": "refusal", "refusal": refusal}
        yield self._added(self._message([], "in_progress", key))
        yield self._event("response.content_part.added", **place, part={**part, "refusal": ""})
        yield self._event("response.refusal.delta", **place, delta=refusal)
        yield self._event("response.refusal.done", **place, refusal=refusal)
        yield self._event("response.content_part.done", **place, part=part)
        yield self._done(self._message([part], "completed", key))

    def _think(self, text: str) -> Iterator[TResponseStreamEvent]:
        item = {"id": new_id("rs"), "type": "reasoning", "summary": []}
        place = {"item_id": item["id"], "output_index": len(self._output), "summary_index": 0}
        part = {"type": "summary_text", "text": text}
        kind = "response.reasoning_summary"
        yield self._added(item)
        yield self._event(f"{kind}_part.added", **place, part={**part, "text": ""})
        yield self._event(f"{kind}_text.delta", **place, delta=text)
        yield self._event(f"{kind}_text.done", **place, text=text)
        yield self._event(f"{kind}_part.done", **place, part=part)
        yield self._done({**item, "summary": [part]})

    def _call(self, name: str, arguments: str) -> Iterator[TResponseStreamEvent]:
        item = {
            "id": new_id("fc"),
            "type": "function_call",
            "status": "in_progress",
            "call_id": new_id("call"),
            "name": name,
            "arguments": "",
        }
        place = {"item_id": item["id"], "output_index": len(self._output)}
        kind = "response.function_call_arguments"
        yield self._added(item)
        for delta in pieces(arguments):
            yield self._event(f"{kind}.delta", **place, delta=delta)
        yield self._event(f"{kind}.done", **place, arguments=arguments, name=name)
        yield self._done({**item, "status": "completed", "arguments": arguments})
