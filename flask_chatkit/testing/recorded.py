"""The requests that the stand-in has received."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request


class RecordedHeaders(Headers):
    """Request headers, case-insensitive. Their repr shows no values, so no key is logged."""

    def __repr__(self) -> str:
        return f"<headers {sorted({name for name, _ in self})}>"

    __str__ = __repr__


@dataclass(frozen=True)
class RecordedRequest:
    """One call of the API as it arrived; ``status`` is that of the response (0: reset)."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: RecordedHeaders = field(repr=False)
    body: Any
    status: int
    request_id: str

    @classmethod
    def of(cls, request: Request, status: int, request_id: str) -> RecordedRequest:
        """Record a request with the status and the id of its response."""
        body = None
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(request.get_data())
        return cls(
            method=request.method,
            path=request.path,
            query=request.args.to_dict(),
            headers=RecordedHeaders(request.headers),
            body=body,
            status=status,
            request_id=request_id,
        )
