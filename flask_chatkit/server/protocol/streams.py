"""The event streams of one chat: how many there are, where, and the response that one becomes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial

from flask import Response, current_app

from ..streaming import loop
from ..streaming.shared import RemoteAnswer, SharedAnswers
from ..streaming.stream import Stream
from ..streaming.subscriber import Subscriber
from .refusals import Refusal

#: Streams that one visitor may have under way; each holds a thread of a WSGI server.
AT_A_TIME = 4
#: Owners, or threads, after which those are removed whose streams have all ended.
_OWNERS = 1000
#: Threads that are remembered before the same is done; their streams hold what they have sent.
_THREADS = 64


class OpenStreams:
    """The streams that are under way in one chat, by owner and by thread.

    :param shared: those of other processes.
    :param chat: the name of their chat.
    """

    def __init__(self, shared: SharedAnswers, chat: str) -> None:
        self._lock = threading.Lock()
        self.shared = shared
        self._chat = chat
        self.by_owner: dict[str, list[Stream]] = {}
        self._by_thread: dict[str, list[Stream]] = {}

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
            _tidy(self.by_owner, _OWNERS)
            self.by_owner[owner] = [*streams, stream]

    def note_thread(self, stream: Stream, thread: str) -> None:
        """Note in which thread a stream answers; whoever may read that may read the stream."""
        with self._lock:
            _tidy(self._by_thread, _THREADS)
            running = [one for one in self._by_thread.get(thread, ()) if not one.ended]
            if stream in running:
                return
            self._by_thread[thread] = [*running, stream]
        self.shared.add(self._shared_name(thread), stream)

    def of_thread(self, thread: str) -> list[Stream]:
        """The streams of this process in a thread, the newest last."""
        with self._lock:
            streams = self._by_thread.get(thread, ())
        return [one for one in streams if not (one.ended or one.abandoned)]

    def is_answering(self, thread: str) -> bool:
        """Whether any process answers in a thread."""
        if self.of_thread(thread):
            return True
        return self.shared.find(self._shared_name(thread)) is not None

    def stop(self, thread: str, answer: str | None = None) -> None:
        """Stop what is answered in a thread, in whichever process.

        :param answer: the id of the one answer to stop, if not any.
        """
        streams = [one for one in self.of_thread(thread) if answer in {None, one.id}]
        for stream in streams:
            stream.stop()
        if not streams:
            self.shared.stop(self._shared_name(thread), answer)

    def read(self, thread: str) -> Subscriber | RemoteAnswer | None:
        """Read what is answered in a thread, from its start; None if nothing is."""
        for stream in reversed(self.of_thread(thread)):
            subscriber = stream.attach()
            if subscriber is not None:
                return subscriber
        return self.shared.read(self._shared_name(thread))

    def _shared_name(self, thread: str) -> str:
        """What other processes know a thread by: a site's store may number them in each chat."""
        return f"{self._chat}/{thread}"

    def settle(self, seconds: float) -> None:
        """Wait until no stream is under way, or so many seconds for each; for tests."""
        with self._lock:
            streams = [one for some in self.by_owner.values() for one in some if not one.ended]
        for stream in streams:
            loop.current().run(partial(stream.wait, seconds), seconds + 1)


def _tidy(streams: dict[str, list[Stream]], most: int) -> None:
    if len(streams) > most:
        for name, some in list(streams.items()):
            if all(one.ended for one in some):
                del streams[name]


def event_stream(events: Iterable[bytes]) -> Response:
    """A response of server-sent events."""
    response = current_app.response_class(
        events, content_type="text/event-stream; charset=utf-8", direct_passthrough=True
    )
    response.headers["Cache-Control"] = "no-cache, no-transform"
    # nginx would hold the events back until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"
    return response
