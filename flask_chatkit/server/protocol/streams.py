"""The event streams of one chat: how many there are, and the response that one becomes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial

from flask import Response, current_app

from ..streaming import loop
from ..streaming.stream import Stream
from .refusals import Refusal

#: Streams that one visitor may have under way; each holds a thread of a WSGI server.
AT_A_TIME = 4
#: Owners after which those are removed whose streams have all ended.
_OWNERS = 1000


class OpenStreams:
    """The streams that are under way in one chat, by owner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.by_owner: dict[str, list[Stream]] = {}

    def add(self, owner: str, stream: Stream) -> None:
        """Add a stream that is to be started.

        :raises Refusal: its owner has :data:`AT_A_TIME` of them under way.
        """
        with self._lock:
            streams = [one for one in self.by_owner.get(owner, ()) if not one.ended]
            if len(streams) >= AT_A_TIME:
                raise Refusal(
                    "Please wait until your other messages are answered.",
                    "busy",
                    limit=f"{AT_A_TIME} answers at a time",
                )
            if len(self.by_owner) > _OWNERS:
                for name, some in list(self.by_owner.items()):
                    if all(one.ended for one in some):
                        del self.by_owner[name]
            self.by_owner[owner] = [*streams, stream]

    def settle(self, seconds: float) -> None:
        """Wait until no stream is under way, or so many seconds for each; for tests."""
        with self._lock:
            streams = [one for some in self.by_owner.values() for one in some if not one.ended]
        for stream in streams:
            loop.current().run(partial(stream.wait, seconds), seconds + 1)


def event_stream(events: Iterable[bytes]) -> Response:
    """A response of server-sent events."""
    response = current_app.response_class(
        events, content_type="text/event-stream; charset=utf-8", direct_passthrough=True
    )
    response.headers["Cache-Control"] = "no-cache, no-transform"
    # nginx would hold the events back until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"
    return response
