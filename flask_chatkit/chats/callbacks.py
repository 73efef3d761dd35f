"""What a site declares beside a served chat: functions for actions, feedback and dictation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Callbacks:
    """The functions of a site for one chat, each sync or async.

    :param actions: by the action's type: ``handler(payload, chat)``, which answers like an
        assistant.
    :param from_page: the types that a page may send without a widget.
    :param feedback: ``feedback(kind, items, chat)``, where ``kind`` is ``positive`` or
        ``negative``.
    :param transcribe: ``transcribe(audio, chat)``, which returns the transcript.
    """

    actions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    from_page: set[str] = field(default_factory=set)
    feedback: Callable[..., Any] | None = None
    transcribe: Callable[..., Any] | None = None

    def declared(self) -> Iterator[str]:
        """The decorators that were used, as the site wrote them."""
        for kind in self.actions:
            yield f"@chatkit.action({kind!r})"
        if self.feedback is not None:
            yield "@chatkit.feedback"
        if self.transcribe is not None:
            yield "@chatkit.transcriber"
