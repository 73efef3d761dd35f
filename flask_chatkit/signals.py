"""Signals of :mod:`blinker` about a site's chats, used like Flask's own.

.. code-block:: python

    from flask_chatkit.signals import answer_finished

    @answer_finished.connect_via(app)
    def measure(app, *, chat, outcome, seconds, **extra):
        histogram.labels(chat, outcome).observe(seconds)

Each is sent with the application as sender and with keyword arguments only. Later releases may add
arguments, so accept ``**extra``. None contains message text, a secret or a key. All have ``kit``,
the kit's name, and ``chat``, the chat's name. ``visitor`` is a :class:`~flask_chatkit.Visitor`.

A receiver runs in an application context. Signals about a request are delivered in the request's
thread. Those from the event loop, where answers run, are delivered by one other thread, in order,
so a slow receiver delays no answer. Exceptions that a receiver raises are logged, and break neither
the request nor the answer. An async receiver needs ``flask[async]``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Mapping
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from blinker import NamedSignal, Namespace

if TYPE_CHECKING:
    from flask import Flask

logger = logging.getLogger("flask_chatkit")

#: Most signals that wait for delivery; more are dropped.
MAX_WAITING = 10_000
#: Seconds for receivers, when the process ends, to handle what is still waiting.
LAST_SECONDS = 2.0

_namespace = Namespace()

#: A client secret was minted. ``visitor``; ``hosted`` (bool): whether OpenAI hosts the chat;
#: ``expires_in`` (int): seconds.
secret_minted = _namespace.signal("secret-minted")

#: A visitor's request was refused. ``reason`` (str): one of
#: :data:`flask_chatkit.activity.REASONS`; ``limit`` (str or None): what was exceeded, such as
#: ``20 per 1 minute per visitor``; ``status`` (int): of HTTP, 200 for an error event in a stream;
#: ``visitor`` (or None), ``chat`` (or None) and ``thread`` (an id, or None), if known.
request_refused = _namespace.signal("request-refused")

#: A visitor's message was stored and is about to be answered. ``visitor``; ``thread`` (str): the
#: thread's id; ``characters`` (int): the length of its text; ``attachments`` (int): how many files.
message_received = _namespace.signal("message-received")

#: An answer of a served chat has ended; sent once per answer. ``visitor``; ``thread`` (str or
#: None): the thread's id; ``operation`` (str): ChatKit's name of what was answered, such as
#: ``threads.create``; ``outcome`` (str): one of :data:`flask_chatkit.activity.OUTCOMES`;
#: ``seconds`` (float): from the request to the end; ``usage``: the tokens that an agent's models
#: used (``input_tokens``, ``output_tokens``, ``total_tokens``, ``requests``), None if no agent
#: answered.
answer_finished = _namespace.signal("answer-finished")

#: A visitor gave feedback on an answer. ``visitor``; ``thread`` (str): its id; ``items`` (tuple of
#: str): their ids; ``kind`` (str): ``positive`` or ``negative``.
feedback_given = _namespace.signal("feedback-given")

#: A visitor has signed in, and their earlier threads now belong to the login. ``visitor``: the
#: login; ``former``: the anonymous visitor; ``chat`` is None, since it concerns all of the kit's.
user_transferred = _namespace.signal("user-transferred")

#: OpenAI, or an agent's model, was unreachable, failed or refused. ``visitor``; ``code`` (str):
#: ``upstream_rejected``, ``upstream_unavailable`` or ``upstream_timeout``; ``seconds`` (float or
#: None): how long the call took, with its retries.
upstream_failed = _namespace.signal("upstream-failed")

#: All signals, by their names in this module.
SIGNALS: Mapping[str, NamedSignal] = {
    "secret_minted": secret_minted,
    "request_refused": request_refused,
    "message_received": message_received,
    "answer_finished": answer_finished,
    "feedback_given": feedback_given,
    "user_transferred": user_transferred,
    "upstream_failed": upstream_failed,
}


def send(signal: NamedSignal, app: Flask, /, **values: Any) -> None:
    """Send a signal: at once, or by another thread if this one runs an event loop.

    :param app: the sender.
    :param values: the signal's documented values.
    """
    if not signal.receivers:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        _deliver(signal, app, values)
    else:
        _courier.post(signal, app, values)


def wait_delivered(seconds: float = LAST_SECONDS) -> bool:
    """Wait until signals sent on the event loop have reached their receivers, for tests.

    :returns: whether they have.
    """
    return _courier.wait(seconds)


def _deliver(signal: NamedSignal, app: Flask, values: Mapping[str, Any]) -> None:
    if signal.is_muted:
        return
    for receiver in signal.receivers_for(app):
        try:
            call = app.ensure_sync(receiver) if iscoroutinefunction(receiver) else receiver
            call(app, **values)
        except Exception:
            logger.exception("A receiver of the signal %s raised", signal.name)


class _Courier:
    """Delivers signals in one thread, in the order in which they were posted."""

    def __init__(self) -> None:
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._posted: queue.Queue[tuple[NamedSignal, Flask, Mapping[str, Any]]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._has_warned = False

    def post(self, signal: NamedSignal, app: Flask, values: Mapping[str, Any]) -> None:
        if self._pid != os.getpid():
            # The thread, and what it had to deliver, belong to the parent process.
            self._start_anew()
        if self._posted.qsize() >= MAX_WAITING:
            if not self._has_warned:
                self._has_warned = True
                logger.error("Receivers of signals are too slow: signals are dropped")
            return
        self._posted.put((signal, app, values))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="flask_chatkit signals", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The process is ending, and threads cannot start any more.
            while not self._posted.empty():
                self._next()
        else:
            self._thread = thread

    def wait(self, seconds: float) -> bool:
        if self._pid != os.getpid():
            return True
        end = time.monotonic() + seconds
        with self._posted.all_tasks_done:
            while self._posted.unfinished_tasks:
                left = end - time.monotonic()
                if left <= 0 or not self._posted.all_tasks_done.wait(left):
                    return False
        return True

    def _run(self) -> None:
        while True:
            self._next()

    def _next(self) -> None:
        signal, app, values = self._posted.get()
        try:
            with app.app_context():
                _deliver(signal, app, values)
        except BaseException:
            # sys.exit in a receiver, or in a teardown function: the thread has to go on.
            logger.exception("The signal %s could not be delivered", signal.name)
        finally:
            self._posted.task_done()


_courier = _Courier()
