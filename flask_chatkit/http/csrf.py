"""CSRF checks of the site's own, which stand before the kit's calls and are not needed there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from traceback import walk_tb

from flask import Response
from werkzeug.exceptions import HTTPException

#: What the widget is told of a call that such a check refused.
REASON = "csrf"
#: The statuses with which they refuse: Flask-WTF's, and that of others.
STATUSES = frozenset({400, 403})
#: Flask-SeaSurf says nothing but 403.
_WORD = re.compile(r"[cx]srf|seasurf", re.IGNORECASE)
#: Characters of an answer that are searched.
_LONGEST = 2000


def is_refusal(error: HTTPException) -> bool:
    """Whether a CSRF check raised the error, as far as names and words tell."""
    return error.code in STATUSES and any(map(_WORD.search, _words(error)))


def is_refused(response: Response) -> bool:
    """Whether the response is a CSRF check's own JSON."""
    return (
        response.status_code in STATUSES
        and response.is_json
        and _WORD.search(response.get_data(as_text=True)[:_LONGEST]) is not None
    )


def _words(error: HTTPException) -> Iterator[str]:
    yield from (kind.__name__ for kind in type(error).__mro__)
    yield str(error.description or "")
    # A plain abort() says nothing, but comes from somewhere.
    for frame, _ in walk_tb(error.__traceback__):
        yield frame.f_code.co_name
        yield str(frame.f_globals.get("__name__", ""))
