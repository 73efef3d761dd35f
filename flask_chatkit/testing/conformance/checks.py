"""Checks that fail with a sentence outside of a site's own test modules, too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta, timezone
from typing import Any, TypeVar

import pytest
from chatkit.types import (
    Page,
)
from pydantic import BaseModel

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


def ids(page: Page[Any]) -> list[str]:
    """Return the ids on a page."""
    return [entry.id for entry in page.data]


def check(holds: object, otherwise: str) -> None:
    """Fail with a message: pytest explains a plain ``assert`` in test modules only."""
    __tracebackhide__ = True
    if not holds:
        pytest.fail(otherwise)


def same(stored: BaseModel, given: BaseModel) -> None:
    """Check that a stored object equals the given one; a naive time is the machine's."""
    __tracebackhide__ = True
    kept, meant = (one.model_dump(mode="json", exclude={"created_at"}) for one in (stored, given))
    check(kept == meant, f"stored was\n{meant}\nand loaded\n{kept}")
    was, is_now = getattr(given, "created_at", None), getattr(stored, "created_at", None)
    if was is not None and is_now is not None:
        gap = abs(is_now.astimezone(timezone.utc) - was.astimezone(timezone.utc))
        check(gap < timedelta(milliseconds=2), f"created_at was {was} and is {is_now}")


def check_pages(load: Callable[[int, str | None, str], Page[Any]], wanted: list[str]) -> None:
    """Check the pages of a list, in both orders, with limits around its length."""
    __tracebackhide__ = True
    for order, expected in (("asc", wanted), ("desc", wanted[::-1])):
        for limit in (1, 2, 3, len(wanted) - 1, len(wanted), len(wanted) + 1):
            found: list[str] = []
            after: str | None = None
            while True:
                page = load(limit, after, order)
                found += ids(page)
                what = f"{order}, limit {limit}, after {after}: {page!r}, wanted {expected}"
                check(found == expected[: len(found)], what)
                check(page.has_more == (len(found) < len(expected)), f"has_more is wrong: {what}")
                check(len(page.data) == limit or not page.has_more, f"a short page: {what}")
                check(page.after == (found[-1] if page.has_more else None), f"after: {what}")
                if not page.has_more:
                    break
                after = page.after
            check(found == expected, f"{order}, limit {limit}: {found}, wanted {expected}")
        check(
            not load(2, expected[-1], order).data, f"{order}: there is nothing after the last one"
        )
