"""Declaring hosted chats: bounds, names, and the body that OpenAI gets."""

from __future__ import annotations

from typing import Any

import pytest

from flask_chatkit import ChatKit, ConfigurationError
from flask_chatkit.chats.checks import check_state_variables
from flask_chatkit.chats.hosted import HostedChat
from flask_chatkit.config import Settings

SETTINGS = Settings.from_config({"CHATKIT_WORKFLOW_ID": "wf_config"}, {})


@pytest.mark.parametrize(
    "name", ["", "Sales", "a b", "-a", "a" * 65, "ä", "a/b", None, 5, "secret", "session", "api"]
)
def test_bad_name_is_refused(name: Any) -> None:
    """A name that can't be a segment of our URLs is refused."""
    with pytest.raises(ConfigurationError):
        ChatKit().add_hosted(name, "wf_1")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"workflow_id": ""}, "workflow_id"),
    ({"workflow_id": 5}, "workflow_id"),
    ({"version": "latest"}, "version"),
    ({"version": 3}, "version"),
    ({"tracing": "on"}, "tracing"),
    ({"session_seconds": 0}, "from 1 to 600"),
    ({"session_seconds": 601}, "from 1 to 600"),
    ({"session_seconds": True}, "session_seconds"),
    ({"session_seconds": "60"}, "session_seconds"),
    ({"requests_per_minute": 0}, "requests_per_minute"),
    ({"file_upload": {"max_file_size": 0}}, r"file_upload\.max_file_size.*megabytes"),
    ({"file_upload": {"max_file_size": 513}}, "from 1 to 512"),
    ({"file_upload": {"max_files": 0}}, "max_files"),
    ({"file_upload": {"maxFiles": 3}}, "file_upload"),
    ({"file_upload": "yes"}, "file_upload"),
    ({"file_upload": {"enabled": 1}}, "enabled"),
    ({"history": {"recent_threads": 0}}, "recent_threads"),
    ({"history": 1}, "history"),
    ({"automatic_thread_titling": "no"}, "automatic_thread_titling"),
    ({"ratelimit": "often"}, "the chat 'a': ratelimit must be"),
    ({"state_variables": ["a"]}, "state_variables"),
    ({"state_variables": {"k" * 65: 1}}, "64 characters"),
    ({"state_variables": lambda one, two: {one: two}}, "one of the visitor"),
    ({"state_variables": {"": 1}}, "64 characters"),
    ({"state_variables": {str(n): n for n in range(65)}}, "at most 64"),
    ({"state_variables": {"a": None}}, r"state_variables\['a'\]"),
    ({"state_variables": {"a": [1]}}, "a str, int, finite float or bool"),
    ({"state_variables": {"a": float("nan")}}, "finite"),
    ({"widget": {"greating": "x"}}, "did you mean greeting"),
    ({"widget": "x"}, "widget"),
]


@pytest.mark.parametrize(("declared", "form"), WRONG)
def test_out_of_bounds_is_refused_when_declared(declared: dict[str, Any], form: str) -> None:
    """What OpenAI would refuse at the first visitor is refused when the chat is declared."""
    kit = ChatKit()
    with pytest.raises(ConfigurationError, match=form):
        kit.add_hosted("a", **{"workflow_id": "wf_1", **declared})
    kit.add_hosted("a", "wf_1")  # nothing was half declared


def test_every_wrong_argument_is_named() -> None:
    """One error names all arguments of a declaration that are wrong."""
    with pytest.raises(ConfigurationError) as caught:
        ChatKit().add_hosted("a", "", tracing="on", session_seconds=601)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "the chat 'a': workflow_id must be a string of printable ASCII characters without spaces; "
        "tracing must be True or False, not str; "
        "session_seconds must be a whole number of seconds from 1 to 600"
    )


def test_declaring_twice_is_refused() -> None:
    """A name stands for one chat."""
    kit = ChatKit()
    kit.add_hosted("a", "wf_1")
    with pytest.raises(ConfigurationError, match="twice"):
        kit.add_hosted("a", "wf_2")


def test_smallest_body_leaves_everything_to_openai() -> None:
    """A chat that says nothing sends a user and a workflow, and no more."""
    chat = HostedChat.declare("default")
    assert chat.session("anon:x", None, SETTINGS) == {
        "user": "anon:x",
        "workflow": {"id": "wf_config"},
    }


def test_largest_body_says_everything() -> None:
    """Every setting has its place in the body."""
    chat = HostedChat.declare(
        "a",
        workflow_id="wf_own",
        version="3",
        tracing=False,
        session_seconds=60,
        requests_per_minute=4,
        file_upload={"max_file_size": 20, "max_files": 2},
        history={"enabled": True, "recent_threads": 5},
        automatic_thread_titling=False,
    )
    assert chat.session("user:1", {"plan": "pro"}, SETTINGS) == {
        "user": "user:1",
        "workflow": {
            "id": "wf_own",
            "version": "3",
            "state_variables": {"plan": "pro"},
            "tracing": {"enabled": False},
        },
        "expires_after": {"anchor": "created_at", "seconds": 60},
        "rate_limits": {"max_requests_per_1_minute": 4},
        "chatkit_configuration": {
            "automatic_thread_titling": {"enabled": False},
            "file_upload": {"enabled": True, "max_file_size": 20, "max_files": 2},
            "history": {"enabled": True, "recent_threads": 5},
        },
    }


def test_settings_hold_where_the_chat_is_silent() -> None:
    """The kit's session length and message rate are the chat's unless it has its own."""
    settings = Settings.from_config(
        {
            "CHATKIT_WORKFLOW_ID": "wf",
            "CHATKIT_SESSION_SECONDS": 300,
            "CHATKIT_SESSION_REQUESTS_PER_MINUTE": 7,
        },
        {},
    )
    body = HostedChat.declare("a", requests_per_minute=3).session("u", None, settings)
    assert body["expires_after"]["seconds"] == 300
    assert body["rate_limits"]["max_requests_per_1_minute"] == 3


def test_one_switch_sets_both_sides_of_uploads() -> None:
    """The composer counts in bytes what the session counts in megabytes."""
    settings = Settings()
    chat = HostedChat.declare("a", file_upload={"max_file_size": 2, "max_files": 3})
    assert chat.attachments(settings) == {"enabled": True, "maxSize": 2 * 2**20, "maxCount": 3}
    assert HostedChat.declare("a", file_upload=False).attachments(settings) is None
    assert HostedChat.declare("a").attachments(settings) is None


def test_state_variables_accept_all_documented_kinds() -> None:
    """Texts, numbers and bools pass as they are."""
    variables = {"s": "x", "i": 1, "f": 1.5, "b": True}
    assert check_state_variables(variables, "a") == variables
