"""The kit's group of commands: how a command finds its kit, fails, and prints."""

from __future__ import annotations

from typing import Any

import click
import pytest
from flask import current_app

from flask_chatkit import ChatKit, Misconfigured
from flask_chatkit.cli.base import pass_kit, person
from flask_chatkit.identity.visitor import Visitor
from flask_chatkit.registry import ChatKitState
from tests.helpers.sites import MakeApp


@click.command()
@pass_kit
def who(kit: ChatKitState) -> None:
    click.echo(f"{kit.name} on {current_app.name}")


@click.command()
@pass_kit
def broken(kit: ChatKitState) -> None:
    raise Misconfigured(detail="SECRET_KEY is not set")


@click.command("look-up")
@click.argument("key", type=person)
@pass_kit
def look_up(kit: ChatKitState, key: Visitor) -> None:
    click.echo(key.key)


def with_commands(name: str = "chatkit", **options: Any) -> ChatKit:
    kit = ChatKit(name, **options)
    for command in (who, broken, look_up):
        kit.cli.add_command(command)
    return kit


def test_each_kit_has_a_group(make_app: MakeApp) -> None:
    """A second kit's commands are in its own group, and find its own state."""
    app = make_app(with_commands())
    app.register_blueprint(with_commands("staff", url_prefix="/staff/chat"))
    run = app.test_cli_runner()
    assert run.invoke(args=["chatkit", "who"]).output == "chatkit on site\n"
    assert run.invoke(args=["staff", "who"]).output == "staff on site\n"


def test_group_follows_the_registered_name(make_app: MakeApp) -> None:
    """A kit that is registered under another name has its commands there."""
    app = make_app()
    kit = with_commands("other", url_prefix="/other")
    app.register_blueprint(kit, name="renamed")
    run = app.test_cli_runner()
    assert run.invoke(args=["renamed", "who"]).output == "renamed on site\n"


def test_errors_are_one_line_with_the_cause(make_app: MakeApp) -> None:
    """What the package raises exits with 1, and the owner reads the detail that the web hides."""
    result = make_app(with_commands()).test_cli_runner().invoke(args=["chatkit", "broken"])
    assert result.exit_code == 1
    assert "SECRET_KEY is not set" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("given", "key"),
    [("user:42", "user:42"), ("anon:abc", "anon:abc"), ("42", "user:42"), ("a:b", "user:a:b")],
)
def test_keys_of_people(make_app: MakeApp, given: str, key: str) -> None:
    """A key is a namespaced id, or a login id alone."""
    result = make_app(with_commands()).test_cli_runner().invoke(args=["chatkit", "look-up", given])
    assert result.output == f"{key}\n"


@pytest.mark.parametrize("given", ["", "user:", "a\nb", "x" * 513])
def test_wrong_keys_are_usage_errors(make_app: MakeApp, given: str) -> None:
    """A key of no accepted form exits with 2, and the accepted form is told."""
    result = make_app(with_commands()).test_cli_runner().invoke(args=["chatkit", "look-up", given])
    assert result.exit_code == 2
    assert "user:<login id>" in result.output
