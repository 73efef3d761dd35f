"""An event of openai-chatkit's as bytes, as ``ChatKitServer`` writes it."""

from __future__ import annotations

from pydantic import BaseModel


def event(what: BaseModel) -> bytes:
    """One event, without the metadata that is for the site alone."""
    data = what.model_dump_json(
        by_alias=True, exclude_none=True, context={"exclude_metadata": True}
    )
    return b"data: " + data.encode() + b"\n\n"
