"""The combinators that check settings, declarations and options."""

from __future__ import annotations

from typing import Any

import pytest

from flask_chatkit.errors import OptionError
from flask_chatkit.validation import (
    MOST_FAULTS,
    Check,
    Faults,
    Invalid,
    json_value,
    list_of,
    mapping_of,
    number,
    one_of,
    raised_as,
    record,
    suggest,
    switch,
    text,
    token,
)


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (text, None, "a must be a string, not None"),
        (token, "sk secret", "a must be a string of printable ASCII characters without spaces"),
        (number(1, 9, "seconds"), "5", "a must be a whole number of seconds from 1 to 9, not str"),
        (number(1, 9, "seconds"), 10, "a must be a whole number of seconds from 1 to 9"),
        (number(1, unit="files"), True, "a must be a whole number of files, at least 1, not bool"),
        (number(0, 1, whole=False), float("nan"), "a must be a number from 0 to 1"),
        (list_of(text), ["x", 5], "a[1] must be a string, not int"),
        (mapping_of(text), {"x": 5}, "a['x'] must be a string, not int"),
        (
            one_of("a string or a list", text, list_of(text)),
            5,
            "a must be a string or a list, not int",
        ),
        (json_value, {"x": {1}}, "a must be a value that JSON can hold"),
        (record({"b": text}, ["b"]), {}, "a needs b"),
        (record({"b": text}), 5, "a must be a mapping with some of b, not int"),
        (switch({"b": text}), 5, "a must be True, False or a mapping with some of b, not int"),
    ],
)
def test_error_names_the_form_and_the_type(check: Check, value: Any, message: str) -> None:
    """An error names the value, the accepted form and a wrong type, and never the value itself."""
    with pytest.raises(Invalid) as caught:
        check("a", value)
    assert str(caught.value) == message


def test_record_has_short_forms_and_defaults() -> None:
    """A value that is no mapping stands for one field, and fields left out have their defaults."""
    check = record(
        {"text": text, "delay": number(0)}, ["text"], short="text", defaults={"delay": 5}
    )
    assert check("a", "x") == {"text": "x", "delay": 5}
    assert check("a", {"text": "x", "delay": 1}) == {"text": "x", "delay": 1}


@raised_as(OptionError, "here: ")
def collect(count: int) -> None:
    faults = Faults()
    for index in range(count):
        with faults:
            raise Invalid(str(index))
    faults.finish()


def test_faults_are_collected_and_bounded() -> None:
    """All faults are in one error of the caller's type, up to a number; other errors pass."""
    collect(0)
    with pytest.raises(OptionError, match=r"^here: 0; 1$"):
        collect(2)
    with pytest.raises(OptionError) as caught:
        collect(100)
    assert str(caught.value).count(";") == MOST_FAULTS - 1
    with pytest.raises(KeyError), Faults():
        raise KeyError


@pytest.mark.parametrize(
    ("name", "meant"),
    [("colr", "color"), ("position", "side"), ("x" * 65, None), ("nonsense", None)],
)
def test_suggestion(name: str, meant: str | None) -> None:
    """A misspelled name and a synonym lead to the valid name; others lead to none."""
    assert suggest(name, ["color", "side", "x" * 66]) == meant
