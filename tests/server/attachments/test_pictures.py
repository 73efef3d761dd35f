"""Whether an uploaded picture is whole."""

from __future__ import annotations

import io

import pytest

from flask_chatkit.server.attachments.pictures import WatchedPicture
from tests.server.attachments.test_attachments import GIF, JPEG, PDF, PNG, WEBP


def _is_whole(data: bytes, size: int = 7) -> bool:
    picture = WatchedPicture(io.BytesIO(data))
    while picture.read(size):
        pass
    return picture.is_whole


@pytest.mark.parametrize("data", [PNG, JPEG, GIF, WEBP, PDF, b"", b"text"])
def test_whole_pictures(data: bytes) -> None:
    """What is whole, or no picture, is accepted, and so is what comes after its end."""
    assert all(_is_whole(data, size) for size in (1, 7, 10_000))
    if data in (PNG, JPEG, WEBP):
        assert _is_whole(data + b"camera's own")


@pytest.mark.parametrize(
    "data",
    [
        PNG[:8] + bytes(60),
        PNG[:-8],
        PNG[:40] + b"\1\2" + PNG[42:],
        JPEG[:-2],
        GIF[:-1],
        WEBP[:-4],
    ],
)
def test_damaged_pictures(data: bytes) -> None:
    """What was cut off, zeroed or changed is damaged."""
    assert not any(_is_whole(data, size) for size in (1, 7, 10_000))
