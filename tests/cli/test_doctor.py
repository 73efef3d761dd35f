"""The command `doctor`: its report, its exit status, and checks that go wrong themselves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_chatkit import ChatKit, OptionError
from flask_chatkit.doctor import report
from flask_chatkit.doctor.report import CHECKS, Check, Finding, error, ok, skipped, warning
from tests.helpers.doctor import answer
from tests.helpers.sites import MakeApp


@pytest.fixture
def app(make_app: MakeApp, tmp_path: Path) -> Flask:
    """Make a site for development whose chat a function answers in."""
    kit = ChatKit()
    kit.assistant()(answer)
    database = f"sqlite:///{tmp_path}/history.sqlite3"
    return make_app(kit, CHATKIT_WORKFLOW_ID=None, CHATKIT_DATABASE_URI=database)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have some checks in the place of the real ones."""

    def plant(*runs: Callable[[Any], Any], seconds: float = 5.0) -> None:
        planted = [Check(run.__name__, "", run, "a cure", seconds) for run in runs]
        monkeypatch.setattr(report, "CHECKS", planted)
        monkeypatch.setattr("flask_chatkit.doctor.run.CHECKS", planted)

    return plant


def test_good_setup_is_short(app: Flask) -> None:
    """A set-up without a fault is a line, and the status is 0."""
    done = app.test_cli_runner().invoke(args=["chatkit", "doctor"])
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) <= 3
    assert done.output.splitlines()[-1].startswith("All well: ")


def test_json_has_each_check(app: Flask) -> None:
    """With --json each check is there with its four fields, and the method returns the same."""
    done = app.test_cli_runner().invoke(args=["chatkit", "doctor", "--json"])
    told = json.loads(done.output)
    assert [set(one) for one in told] == [{"check", "status", "found", "cure"}] * len(told)
    assert {one["check"] for one in told} == {check.name for check in CHECKS}
    kit = app.blueprints["chatkit"]
    assert isinstance(kit, ChatKit)
    with app.app_context():
        assert [result.as_dict() for result in kit.doctor()] == told


def test_report_puts_errors_first(app: Flask, only: Callable[..., None]) -> None:
    """Errors come before warnings, each with its cure, then what a person must look after."""

    def first(_: Any) -> Iterator[Finding]:
        yield warning("it is late", "hurry")
        yield skipped("not known", "look yourself")
        yield skipped("does not apply")

    def second(_: Any) -> Iterator[Finding]:
        yield error("it is broken", "mend it")
        yield ok("the rest is well")

    only(first, second)
    done = app.test_cli_runner().invoke(args=["chatkit", "doctor"])
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "error second: it is broken",
        "  cure: mend it",
        "warning first: it is late",
        "  cure: hurry",
        "For you to look after:",
        "  first: look yourself",
        "1 error and 1 warning; 1 check found nothing wrong",
    ]


def test_warnings_alone_exit_with_0(app: Flask, only: Callable[..., None]) -> None:
    """A warning is no error."""

    def late(_: Any) -> Iterator[Finding]:
        yield warning("it is late", "hurry")

    only(late)
    assert app.test_cli_runner().invoke(args=["chatkit", "doctor"]).exit_code == 0


def test_failing_and_hanging_checks_are_findings(app: Flask, only: Callable[..., None]) -> None:
    """A check that raises or does not end is told as such, and the others are made."""
    over = threading.Event()

    def raises(_: Any) -> Iterator[Finding]:
        yield ok("so far")
        raise RuntimeError("password=hunter2")

    def hangs(_: Any) -> Iterator[Finding]:
        over.wait(60)
        yield ok("at last")

    def works(_: Any) -> Iterator[Finding]:
        yield ok("well")

    only(raises, hangs, works, seconds=0.2)
    done = app.test_cli_runner().invoke(args=["chatkit", "doctor"])
    over.set()
    assert done.exit_code == 1
    assert "error raises: this check failed (RuntimeError)\n  cure: a cure" in done.output
    assert "error hangs: no result within 0.2 seconds\n  cure: a cure" in done.output
    assert "2 checks found nothing wrong" in done.output
    assert "hunter2" not in done.output


def test_secrets_are_hidden_whatever_a_check_says(app: Flask, only: Callable[..., None]) -> None:
    """What the configuration holds of secrets is hidden, and so is what looks like one."""
    app.config["DATABASE"] = "postgresql://shop:hunter2-and-more@db/shop"
    app.config["MAIL_PASSWORD"] = "hunter3-for-mail"

    def tells(_: Any) -> Iterator[Finding]:
        yield error(
            "hunter2-and-more hunter3-for-mail of the tests sk-hunter4 https://a:hunter5@b", "x"
        )

    only(tells)
    done = app.test_cli_runner().invoke(args=["chatkit", "doctor"])
    assert "error tells: " + " ".join(["[hidden]"] * 4) + " https://[hidden]@b" in done.output


@pytest.mark.parametrize(
    "options",
    [
        ["--url", "shop.example"],
        ["--url", "ftp://shop.example"],
        ["--url", "https://"],
        ["--url", "https://shop.example:port"],
        ["--url", "https://shop.example/?a=b"],
        ["--page", "help"],
        ["--pages", "/"],
        ["now"],
    ],
)
def test_wrong_calls_exit_with_2(app: Flask, options: list[str]) -> None:
    """An address, path, option or argument of no accepted form is a wrong call."""
    done = app.test_cli_runner().invoke(args=["chatkit", "doctor", *options])
    assert done.exit_code == 2, done.output
    assert "Error: " in done.output


def test_method_checks_its_arguments(app: Flask) -> None:
    """In Python a wrong address raises, and names the accepted form."""
    kit = app.blueprints["chatkit"]
    assert isinstance(kit, ChatKit)
    with app.app_context(), pytest.raises(OptionError, match=r"https://www\.example\.com"):
        kit.doctor("shop.example")
