"""What the whole suite shares: how a missing part is told, and the loopback stand-in."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

pytest_plugins = ["flask_chatkit.testing.fixtures"]


def _missing(part: str, how: str) -> NoReturn:
    reason = f"{part} is missing: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def missing() -> Callable[[str, str], NoReturn]:
    """Skip where a developer lacks a part; fail where CI does, because CI must run everything."""
    return _missing
