"""One client of a stream: an iterable of bytes that a WSGI server writes."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from .sse import HEARTBEAT, READ_LATE, merged_chunks

if TYPE_CHECKING:
    from .stream import Stream

#: Ends a subscriber's queue.
END = None


class Subscriber(Iterator[bytes]):
    """Receives one stream for one client.

    Under an ASGI server no thread iterates over it: an :class:`.asgi_stream.Feed` takes what is
    there.

    :param stream: unsubscribed from when this is closed.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        #: Called when there is more to take, in the thread of the stream's loop.
        self.notify: Callable[[], None] | None = None
        self._first: list[bytes] = []
        self._over = False
        #: When the oldest chunk arrived that is not taken yet; 0 if there is none.
        self._waits_since = 0.0

    def put(self, chunk: bytes | None) -> None:
        """Add a chunk, or :data:`END`."""
        self._waits_since = self._waits_since or time.monotonic()
        self.queue.put(chunk)
        if (notify := self.notify) is not None:
            notify()

    def wait_first(self, seconds: float) -> bool:
        """Wait for the first chunk, before any header is sent.

        :returns: whether it has arrived, or the stream has ended.
        """
        try:
            chunk = self.queue.get(timeout=seconds)
        except queue.Empty:
            return False
        # The headers are sent next; what waits for that is not late.
        self._waits_since = 0.0 if self.queue.empty() else time.monotonic()
        if chunk is END:
            self._over = True
        else:
            self._first.append(chunk)
        return True

    @property
    def is_empty(self) -> bool:
        """Whether the stream has ended without a chunk."""
        return self._over and not self._first

    @property
    def is_waiting(self) -> bool:
        """Whether there is nothing to take now, but the stream goes on."""
        return not (self._over or self._first) and self.queue.empty()

    def take(self) -> bytes:
        """All that has arrived since the last call, without waiting for more."""
        chunks, self._first = self._first, []
        with suppress(queue.Empty):
            while not self._over:
                self._take(chunks)
        self.stream.make_room()
        return self._joined(chunks)

    def __next__(self) -> bytes:
        """All that has arrived since the last call, or a heartbeat after a while of silence."""
        chunks, self._first = self._first, []
        try:
            if not chunks and not self._over:
                self._take(chunks, timeout=self.stream.heartbeat_seconds)
            while not self._over:
                self._take(chunks)
        except queue.Empty:
            if not chunks:
                return HEARTBEAT
        self.stream.make_room()
        if not chunks:
            raise StopIteration
        return self._joined(chunks)

    def close(self) -> None:
        """Unsubscribe; every WSGI server calls this at the end, whoever ended it."""
        self.stream.unsubscribe(self)

    def _take(self, chunks: list[bytes], timeout: float | None = None) -> None:
        chunk = self.queue.get(block=timeout is not None, timeout=timeout)
        if chunk is END:
            self._over = True
        else:
            chunks.append(chunk)

    def _joined(self, chunks: list[bytes]) -> bytes:
        """The chunks joined; a client that reads late gets fewer events with the same text."""
        since, self._waits_since = self._waits_since, 0.0
        is_late = since and time.monotonic() - since >= READ_LATE
        return merged_chunks(chunks) if is_late else b"".join(chunks)
