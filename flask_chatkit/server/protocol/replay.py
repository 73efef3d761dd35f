"""The same call again in the same process: a browser repeats it after a broken connection.

ChatKit sends no request id, so a repeated call is recognised by visitor and content. One that is
being answered, or was a moment ago, gets the very same stream. What another process answered, or
what was interrupted, is found in the history: see :mod:`.protocol.retries`.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeGuard

from ..ids import SAME_SECONDS
from ..streaming.stream import Stream
from ..streaming.subscriber import Subscriber
from .operations import Call

#: Seconds for which an interrupted answer is remembered.
CUT_SECONDS = 60.0
#: Seconds to wait for another thread that charges the very same call.
CHARGE_SECONDS = 10.0
#: Streams that are remembered.
REMEMBERED = 128


class RequestKey(NamedTuple):
    """Identifies a call.

    :param digest: SHA-256 of the owner and of all that the call says, as 64 hex digits.
    """

    owner: str
    digest: str
    is_message: bool


def request_key(call: Call) -> RequestKey:
    """What identifies a call."""
    is_message = call.type != "threads.add_client_tool_output"
    # Of the results of a page's tool only the first counts: the thread waits for one.
    content = call.params.model_dump_json() if is_message else call.params.thread_id
    # The same words in the place of an edited message are no repetition of it.
    edited = f"\0{call.replaces}" if call.replaces else ""
    digest = hashlib.sha256(f"{call.type}\0{content}{edited}".encode()).digest()
    whole = hashlib.sha256(call.owner.encode() + digest).hexdigest()
    return RequestKey(call.owner, whole, is_message)


class ReplayCache:
    """The streams of one chat that a repeated call may receive."""

    def __init__(self) -> None:
        self._recent: OrderedDict[RequestKey, tuple[float, Stream]] = OrderedDict()
        self._tidied = 0.0
        self._charging: dict[RequestKey, threading.Event] = {}
        self._lock = threading.Lock()

    def forget(self, owner: str) -> None:
        """Take an owner's next calls for new ones: a thread of theirs is deleted."""
        with self._lock:
            for key in [key for key in self._recent if key.owner == owner]:
                del self._recent[key]

    def clear(self) -> None:
        """Take all next calls for new ones."""
        with self._lock:
            self._recent.clear()

    def subscribe(
        self, key: RequestKey, make: Callable[[Stream | None], Stream], charge: Callable[[], None]
    ) -> Subscriber | None:
        """Subscribe to the stream that answers a call.

        :param make: makes the stream, unless there is one; gets the interrupted one that has to end
            before, if any.
        :param charge: charges the call, unless it is being answered already; may raise.
        :returns: None if the call is being answered, but its start is not buffered any more.
        """
        while True:
            now = time.monotonic()
            with self._lock:
                self._tidy(now)
                _, former = self._recent.get(key, (now, None))
                if former is not None and not (former.ended or former.abandoned):
                    return former.subscribe()
                other = self._charging.get(key)
                if other is None:
                    self._charging[key] = threading.Event()
                    break
            # Another thread is just charging the very same call.
            other.wait(CHARGE_SECONDS)
        try:
            charge()
            with self._lock:
                if _is_answered(former, key, now) and (again := former.subscribe()) is not None:
                    return again
                stream = make(former if former is not None and former.abandoned else None)
                self._recent[key] = (now, stream)
                self._recent.move_to_end(key)
                return stream.start()
        finally:
            with self._lock:
                self._charging.pop(key).set()

    def _tidy(self, now: float) -> None:
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        if now - self._tidied < 1.0:
            return
        self._tidied = now
        for key, (since, stream) in list(self._recent.items()):
            if stream.ended and now - since > CUT_SECONDS:
                del self._recent[key]
            elif stream.ended and now - stream.ended_at > SAME_SECONDS:
                # From now on it only matters that the call was answered.
                stream.drop_replay()


def _is_answered(former: Stream | None, key: RequestKey, now: float) -> TypeGuard[Stream]:
    """Whether a stream has ended well a moment ago, so that the call is the same one."""
    return (
        former is not None
        and key.is_message
        and not former.abandoned
        and former.error is None
        and not former.is_undone
        and now - former.ended_at <= SAME_SECONDS
    )
