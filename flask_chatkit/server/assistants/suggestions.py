"""What a visitor may say next, as the chat suggests it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatkit.types import ClientEffectEvent

#: What to say; or a mapping with ``label``, which the button shows, and ``prompt``, which is sent.
Suggestion = str | Mapping[str, str]

#: The name of the client effect that carries them; pages receive it, too.
EFFECT = "chatkit.suggestions"
#: Suggestions of one answer.
MOST = 6
#: Characters of a label, and of what is sent.
LONGEST = {"label": 120, "prompt": 2000}


def suggestions_event(suggestions: Sequence[Suggestion]) -> ClientEffectEvent:
    """The event that suggests what to say next, for servers and for tools of agents.

    :param suggestions: one to six: what to say, or a mapping with ``label`` and ``prompt``.
    :raises ValueError: they are not of that form.
    """
    if isinstance(suggestions, (str, Mapping)) or not 1 <= len(suggestions) <= MOST:
        raise ValueError(f"suggest: give a list of 1 to {MOST} suggestions")
    data = {"suggestions": [_checked(one) for one in suggestions]}
    return ClientEffectEvent(name=EFFECT, data=data)


def _checked(given: Any) -> dict[str, str]:
    found = {"label": given, "prompt": given} if isinstance(given, str) else given
    if not isinstance(found, Mapping) or set(found) != set(LONGEST):
        raise ValueError("suggest: each is a str, or a dict with 'label' and 'prompt'")
    for name, most in LONGEST.items():
        value = found[name]
        if not isinstance(value, str) or not value.strip() or len(value) > most:
            raise ValueError(f"suggest: {name!r} must be a str of 1 to {most} characters")
    return {name: found[name].strip() for name in LONGEST}
