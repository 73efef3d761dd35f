"""Sites for the doctor to examine, and what it found there."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from flask import Flask

from flask_chatkit import ChatKit
from flask_chatkit.doctor.report import Result

VIEWPORT = '<meta name="viewport" content="width=device-width">'
PAGE = (
    VIEWPORT
    + "{% from 'chatkit/macros.html' import chatkit_floating %}<p>{{ chatkit_floating() }}</p>"
)
#: A secret key as it should be.
STRONG = secrets.token_hex()


def answer(message: Any, chat: Any) -> str:
    """Answer as an assistant, or what else takes two arguments."""
    return f"You wrote {message.text}"


def served_kit(**options: Any) -> ChatKit:
    """Make a kit whose chat a function answers in."""
    kit = ChatKit()
    kit.assistant(attachments=True, **options)(answer)
    return kit


def examine(app: Flask, url: str | None = None, pages: Sequence[str] = ("/",)) -> list[Result]:
    """Have a look at the site's first kit."""
    kit = next(bp for bp in app.blueprints.values() if isinstance(bp, ChatKit))
    with app.app_context():
        return kit.doctor(url, pages)


def faults(results: list[Result]) -> list[Result]:
    """What is wrong."""
    return [result for result in results if result.status in {"error", "warning"}]


def the_fault(results: list[Result], check: str, found: str, cure: str) -> Result:
    """The one fault of a check that was planted: what is said of it, and its cure."""
    matching = [
        result
        for result in faults(results)
        if result.check == check and found in result.found and cure in result.cure
    ]
    assert len(matching) == 1, faults(results)
    assert "\n" not in matching[0].found + matching[0].cure
    return matching[0]
