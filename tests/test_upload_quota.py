"""``CHATKIT_UPLOAD_QUOTA``: its forms, its errors, and readable sizes and times."""

from __future__ import annotations

from typing import Any

import pytest

from flask_chatkit import ConfigurationError
from flask_chatkit.config import Settings
from flask_chatkit.upload_quota import UploadQuota, size_text, time_text, upload_quota

MB = 2**20


@pytest.mark.parametrize(
    ("value", "quota"),
    [
        ("visitor=1MB", (MB, 500 * MB, 10_240 * MB)),
        ("visitor = 1 mb, address: 2 MB; total=1GB", (MB, 2 * MB, 1024 * MB)),
        ("total=5", (100 * MB, 500 * MB, 5)),
        ("address=none", (100 * MB, None, 10_240 * MB)),
        ("none", (None, None, None)),
        (" None ", (None, None, None)),
        ("", (None, None, None)),
        ({"visitor": 7, "total": "1TB"}, (7, 500 * MB, 2**40)),
        ({"visitor": None}, (None, 500 * MB, 10_240 * MB)),
        (UploadQuota(1, 2, 3), (1, 2, 3)),
    ],
)
def test_forms(value: object, quota: tuple[Any, ...]) -> None:
    """A string or a mapping; what is not named keeps its default, and none is no limit."""
    read = upload_quota("CHATKIT_UPLOAD_QUOTA", value)
    assert (read.visitor, read.address, read.total) == quota


KEY = "CHATKIT_UPLOAD_QUOTA"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("100MB", f"{KEY} must be parts such as visitor=100MB"),
        ("visitor", f"{KEY} must be parts such as visitor=100MB"),
        ("visitor=", f"{KEY} must be parts such as visitor=100MB"),
        ("visitor=1XB", f"{KEY}.visitor must be a size above 0 such as 100MB"),
        ("visitor=0", f"{KEY}.visitor must be a size"),
        ("visitor=-1", f"{KEY}.visitor must be a size"),
        ("visitor=1MB and more", f"{KEY}.visitor must be a size"),
        ("guest=1MB", rf"no option {KEY}.guest \(Valid options: visitor, address, total\)"),
        ("visiter=1MB", rf"no option {KEY}.visiter \(did you mean visitor\?\)"),
        ("visitor=1XB, total=0", f"{KEY}.visitor must be .*{KEY}.total must be"),
        (5, f"{KEY} must be a string or a mapping such as .*, not int"),
        (True, f"{KEY} must be a string or a mapping such as .*, not bool"),
        ([], f"{KEY} must be a string or a mapping such as .*, not list"),
        ({"visitor": True}, f"{KEY}.visitor must be a size .*, not bool"),
        ({"visitor": 1.5}, f"{KEY}.visitor must be a size .*, not float"),
        ({"guest": 1}, f"no option {KEY}.guest"),
    ],
)
def test_each_wrong_form_has_its_error(value: object, fault: str) -> None:
    """Each fault has an error of its own, which names the setting, the part and the form."""
    with pytest.raises(ConfigurationError, match=fault):
        Settings.from_config({KEY: value}, {})


def test_numbers_are_for_people() -> None:
    """Sizes and times are in the unit that people use for them."""
    assert [size_text(size) for size in (12, 1536, 10 * MB, 2**30, 3 * 2**40)] == [
        *("12 bytes", "1.5 KB", "10 MB", "1 GB", "3 TB")
    ]
    assert [time_text(seconds) for seconds in (0, 1, 61, 3600, 86400)] == [
        *("a moment", "1 second", "2 minutes", "1 hour", "24 hours")
    ]
