"""What a running site answers to the doctor's probes.

A probe is sent with a call of the kit and answered before anything else is done, so that it passes
all proxies as a real call does, and has no effect.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from typing import Any

from flask import Request, Response, current_app, jsonify
from werkzeug.exceptions import RequestEntityTooLarge

from ..errors import TooLarge, Unauthenticated
from ..identity.probes import HEADER
from ..identity.sessions import HEADER as TOKEN_HEADER
from ..registry import ChatKitState

#: Events of the measured stream, and seconds between two.
EVENTS, EVERY = 5, 0.25
#: Bytes of an upload's form beside its file.
FORM = 64 * 1024
_CHUNK = 64 * 1024
#: Headers that proxies add.
_FORWARDED = (
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"),
    *("X-Forwarded-Port", "X-Forwarded-Prefix", "X-Real-IP", "Via"),
)
_names: dict[int, str] = {}


def answer(kit: ChatKitState, request: Request) -> Response:
    """Answer a request that carries a probe.

    :raises Unauthenticated: the probe is not genuine, or is older than five minutes.
    :raises TooLarge: more bytes were sent than an upload may have.
    """
    probe = kit.probes.read(request.headers[HEADER])
    if probe is None:
        raise Unauthenticated("The probe is not genuine, or is older than five minutes.")
    if probe.purpose == "stream":
        return _stream()
    if probe.purpose == "body":
        return jsonify(bytes=_count(request, kit.settings.max_upload_bytes + FORM))
    return jsonify(_seen(kit, request, probe.nonce))


def _stream() -> Response:
    def events() -> Iterator[bytes]:
        for number in range(EVENTS):
            if number:
                time.sleep(EVERY)
            yield f'data: {{"type": "probe", "number": {number}}}\n\n'.encode()

    response = current_app.response_class(
        events(), content_type="text/event-stream; charset=utf-8", direct_passthrough=True
    )
    # As a served chat's answers have them: see server/protocol/dispatcher.py.
    response.headers["Cache-Control"] = "no-cache, no-transform"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _count(request: Request, most: int) -> int:
    # One byte more than accepted: a longer body is cut off there.
    request.max_content_length = most + 1
    count = 0
    try:
        while chunk := request.stream.read(_CHUNK):
            count += len(chunk)
    except RequestEntityTooLarge:
        count = most + 1
    if count > most:
        raise TooLarge(f"The body has more than {most} bytes.")
    return count


def _seen(kit: ChatKitState, request: Request, nonce: str) -> dict[str, Any]:
    environ = request.environ
    return {
        "time": time.time(),
        "scheme": request.scheme,
        "host": request.host,
        "root": request.root_path,
        "address": request.remote_addr,
        "forwarded": [name for name in _FORWARDED if name in request.headers],
        "has_proxy_fix": "werkzeug.proxy_fix.orig" in environ,
        "process": _process_name(),
        "server": str(environ.get("SERVER_SOFTWARE", ""))[:80],
        "threads": bool(environ.get("wsgi.multithread")),
        "processes": bool(environ.get("wsgi.multiprocess")),
        "uwsgi_threads": _uwsgi_threads(),
        "debug": current_app.debug,
        "counts_in_memory": kit.limiter.storage.is_in_memory,
        "has_token": TOKEN_HEADER in request.headers,
        "has_mark": kit.limiter.storage.is_marked(mark_name(nonce)),
        "cookie": kit.cookie.attributes(request),
    }


def mark_name(nonce: str) -> str:
    """The name of the doctor's mark in the storage of the limits, which the site looks for."""
    return f"doctor-{nonce}"


def _process_name() -> str:
    """A name for this process, on whichever machine it is."""
    return _names.setdefault(os.getpid(), secrets.token_hex(8))


def _uwsgi_threads() -> bool | None:
    """Whether uWSGI lets Python's threads run; None under another server."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return None
    options = {bytes(name) if isinstance(name, bytes) else str(name).encode() for name in uwsgi.opt}
    return bool(options & {b"threads", b"enable-threads", b"gevent"})
