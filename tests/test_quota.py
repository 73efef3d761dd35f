"""``CHATKIT_UPLOAD_QUOTA``: what a site writes, and what people read."""

from __future__ import annotations

from typing import Any

import pytest

from flask_chatkit import ConfigurationError
from flask_chatkit.quota import UploadQuota, size_text, time_text, upload_quota

MB = 2**20


@pytest.mark.parametrize(
    ("value", "quota"),
    [
        ("visitor=1MB", (MB, 500 * MB, 10_240 * MB)),
        ("visitor = 1 mb, address: 2 MB; total=1GB", (MB, 2 * MB, 1024 * MB)),
        ("total=5", (100 * MB, 500 * MB, 5)),
        ("address=none", (100 * MB, None, 10_240 * MB)),
        ("none", (None, None, None)),
        ({"visitor": 7, "total": "1TB"}, (7, 500 * MB, 2**40)),
        ({"visitor": None}, (None, 500 * MB, 10_240 * MB)),
        (UploadQuota(1, 2, 3), (1, 2, 3)),
    ],
)
def test_forms(value: object, quota: tuple[Any, ...]) -> None:
    """A text or a mapping; what is not named keeps its default, and none is no limit."""
    read = upload_quota("CHATKIT_UPLOAD_QUOTA", value)
    assert (read.visitor, read.address, read.total) == quota


@pytest.mark.parametrize(
    "value",
    [
        *("100MB", "visitor", "visitor=", "visitor=1XB", "visitor=0", "visitor=-1", "guest=1MB"),
        *("visitor=1MB and more", 5, True, [], {"visitor": True}, {"visitor": 1.5}, {"guest": 1}),
    ],
)
def test_wrong_forms_are_told(value: object) -> None:
    """What is none of these is an error that names the setting and the form."""
    with pytest.raises(ConfigurationError, match="CHATKIT_UPLOAD_QUOTA must be sizes such as"):
        upload_quota("CHATKIT_UPLOAD_QUOTA", value)


def test_numbers_are_for_people() -> None:
    """Sizes and times are said in the unit that people use for them."""
    assert [size_text(size) for size in (12, 1536, 10 * MB, 2**30, 3 * 2**40)] == [
        *("12 bytes", "1.5 KB", "10 MB", "1 GB", "3 TB")
    ]
    assert [time_text(seconds) for seconds in (0, 1, 61, 3600, 86400)] == [
        *("a moment", "1 second", "2 minutes", "1 hour", "24 hours")
    ]
