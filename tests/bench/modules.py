"""How often one request goes from one module of the package to another.

Run it by hand: ``python tests/bench/modules.py``. A profile hook notes the module of each function
of the package that is called, in all threads; a change is a call in another module than the last
one. Requests of the same kind come before, so that nothing is counted that happens once a process.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask, render_template_string

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import flask_chatkit
from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn

PACKAGE = str(Path(flask_chatkit.__file__).parent)
MACRO = (
    "{% from 'chatkit/macros.html' import chatkit_floating %}"
    "{{ chatkit_floating(greeting='Hello', prompts=['Where is it?']) }}"
)
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f"
    "15c4890000000b49444154789c6360000200000500017a5eab3f00000000"
    "49454e44ae426082"
)


class Trace:
    """The modules of one request.

    :ivar changes: how often the module changed.
    :ivar entered: how often each module was entered.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.entered: Counter[str] = Counter()
        self._last: str | None = None

    def __call__(self, frame: FrameType, event: str, _arg: object) -> None:
        """Note a call, if it is one of the package's functions."""
        if event != "call" or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        # A module's body and a class's run when they are imported.
        name = frame.f_code.co_filename[len(PACKAGE) + 1 :]
        if name.startswith("testing/") or frame.f_code.co_name == "<module>":
            return
        if name != self._last:
            self._last = name
            self.changes += 1
            self.entered[name] += 1


@contextmanager
def tracing() -> Iterator[Trace]:
    """Trace what all threads do meanwhile."""
    trace = _current[0] = Trace()
    try:
        yield trace
    finally:
        _current[0] = None


_current: list[Trace | None] = [None]


def _hook(frame: FrameType, event: str, arg: object) -> None:
    trace = _current[0]
    if trace is not None:
        trace(frame, event, arg)


def site(standin: OpenAIStandIn, folder: str) -> Flask:
    """Make a site with a hosted chat and a served one."""
    app = Flask("modules", instance_path=folder)
    app.config.update(standin.config())
    app.config.update(
        SECRET_KEY="of the bench",
        RATELIMIT_ENABLED=True,
        CHATKIT_RATELIMIT="1000/minute",
        CHATKIT_RATELIMIT_IP="1000/minute",
        CHATKIT_MESSAGE_RATELIMIT="1000/minute",
    )
    kit = ChatKit()
    app.register_blueprint(kit)

    @kit.assistant("desk", attachments=True)
    def desk(message: Any, _chat: Any) -> Iterator[str]:
        yield f"You said {message.text}"

    @app.get("/")
    def home() -> str:
        return render_template_string(MACRO)

    return app


def message(text: str) -> dict[str, Any]:
    """The call that begins a thread."""
    content = [{"type": "input_text", "text": text}]
    given = {"content": content, "attachments": [], "inference_options": {}}
    return {"type": "threads.create", "params": {"input": given}}


def main() -> None:
    """Print the changes of each kind of request."""
    # Before the first thread is started: a hook reaches only those that come after it.
    threading.setprofile(_hook)
    sys.setprofile(_hook)
    with OpenAIStandIn() as standin, tempfile.TemporaryDirectory() as folder:
        app = site(standin, folder)
        client = app.test_client()
        minted = client.post("/chatkit/desk/secret", json={}).get_json()
        bearer = {"Authorization": f"Bearer {minted['client_secret']}"}

        numbers = itertools.count()

        def mint() -> None:
            assert client.post("/chatkit/secret", json={}).status_code == 200

        def say() -> Any:
            """Send a message, and wait for the first byte of its answer."""
            # The same message again would be a retry, which is answered from memory.
            call = message(f"Hello {next(numbers)}")
            answer = client.post("/chatkit/desk/api", json=call, headers=bearer, buffered=False)
            assert answer.status_code == 200, answer.text
            assert next(iter(answer.response))
            return answer

        def macro() -> None:
            assert b"chatkit-launcher" in client.get("/").data

        def upload() -> None:
            data = {"file": (BytesIO(PNG), "dot.png", "image/png")}
            answer = client.post("/chatkit/desk/attachments", data=data, headers=bearer)
            assert answer.status_code == 200, answer.text

        def answer() -> None:
            say().get_data()
            # An answer ends in another thread, a moment after its last byte.
            time.sleep(0.2)

        trips: dict[str, Callable[[], Any]] = {
            "mint": mint,
            "message": say,
            "answer": answer,
            "macro": macro,
            "upload": upload,
        }
        for name, act in trips.items():
            for _ in range(3):
                answer()
                act()
            answer()
            with tracing() as trace:
                act()
            most = ", ".join(f"{module} {count}" for module, count in trace.entered.most_common(8))
            print(f"{name:8} {trace.changes:4} changes, {len(trace.entered)} modules: {most}")


if __name__ == "__main__":
    main()
