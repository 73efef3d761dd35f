"""Misconfigurations that are seen from inside, each planted and named with its cure."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal, NoReturn

import pytest
from flask import Flask, render_template_string
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_talisman import Talisman
from flask_wtf.csrf import CSRFProtect
from pydantic import BaseModel

from flask_chatkit import ChatKit
from flask_chatkit.doctor import checks_hosted, checks_storage
from flask_chatkit.doctor.checks_storage import file_system
from flask_chatkit.hosted.client import WORKFLOWS_END
from flask_chatkit.server import SQLAlchemyStore
from flask_chatkit.testing import Failure, OpenAIStandIn
from tests.helpers.databases import fresh_database
from tests.helpers.doctor import (
    STRONG,
    VIEWPORT,
    answer,
    examine,
    faults,
    served_kit,
    the_fault,
)
from tests.helpers.processes import free_port
from tests.helpers.proxy import Habits, proxy
from tests.helpers.schema_1 import STATEMENTS

Make = Callable[..., Flask]
NONE = {"CHATKIT_WORKFLOW_ID": None}
CDN = "https://cdn.platform.openai.com"
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'"


#: What a setting alone breaks: the settings, the check, what is found, the cure.
SETTINGS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "switched-off": ({"CHATKIT_ENABLED": False}, "settings", "no chat is shown", "True"),
    "misspelled": (
        {"CHATKIT_RATE_LIMIT": "1/day"},
        "settings",
        "CHATKIT_RATE_LIMIT is not a setting",
        "rename it to CHATKIT_RATELIMIT",
    ),
    "no-secret-key": ({"SECRET_KEY": None}, "secret-key", "is not set", "secrets.token_hex()"),
    "known-secret-key": ({"SECRET_KEY": "change-me"}, "secret-key", "known example", "token_hex"),
    "flasks-secret-key": (
        {"SECRET_KEY": "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf"},
        "secret-key",
        "known example",
        "token_hex",
    ),
    "short-secret-key": ({"SECRET_KEY": "k3Jd92ms"}, "secret-key", "has 8 bytes", "token_hex"),
    "monotonous-secret-key": (
        {"SECRET_KEY": "x" * 40},
        "secret-key",
        "repeats itself",
        "token_hex",
    ),
    "weak-fallback": (
        {"SECRET_KEY_FALLBACKS": ["dev"]},
        "secret-key",
        "SECRET_KEY_FALLBACKS[0] is a known example",
        "remove it",
    ),
    "fallback-is-the-key": (
        {"SECRET_KEY_FALLBACKS": [STRONG]},
        "secret-key",
        "a key twice",
        "each earlier key once",
    ),
    "fallbacks-in-one-string": (
        {"SECRET_KEY_FALLBACKS": "older"},
        "secret-key",
        "SECRET_KEY_FALLBACKS must be a list",
        "a list of earlier keys",
    ),
    "insecure-cookie": (
        {
            "CHATKIT_COOKIE_SECURE": False,
            "PREFERRED_URL_SCHEME": "https",
            "HEADERS": {"Strict-Transport-Security": "max-age=31536000"},
        },
        "cookie",
        "CHATKIT_COOKIE_SECURE is False on an https site",
        "remove CHATKIT_COOKIE_SECURE",
    ),
    "foreign-cookie-domain": (
        {"CHATKIT_COOKIE_DOMAIN": "shop.example", "SERVER_NAME": "www.shop.test"},
        "cookie",
        "the site's host www.shop.test",
        "a parent domain of the host",
    ),
    "cookie-path-elsewhere": (
        {"CHATKIT_COOKIE_PATH": "/chat"},
        "cookie",
        "the kit is at /chatkit",
        "remove CHATKIT_COOKIE_PATH",
    ),
    "http-origin": (
        {"CHATKIT_TRUSTED_ORIGINS": ["http://blog.shop.test"]},
        "trusted-origins",
        "not on https",
        "https://blog.shop.test",
    ),
    "developers-login-origin": (
        {"CHATKIT_LOGIN_ORIGINS": ["http://localhost:3000"]},
        "trusted-origins",
        "any program on a visitor's machine",
        "remove it from CHATKIT_LOGIN_ORIGINS",
    ),
    "developers-origin": (
        {"CHATKIT_TRUSTED_ORIGINS": ["http://localhost:3000"]},
        "trusted-origins",
        "any program on a visitor's machine",
        "remove it",
    ),
    "origin-of-nobody": (
        {"CHATKIT_TRUSTED_ORIGINS": ["https://bolg.shop.invalid"]},
        "trusted-origins",
        "no such host",
        "correct it",
    ),
    "no-limits": (
        {"CHATKIT_MESSAGE_RATELIMIT": ""},
        "limits-storage",
        "CHATKIT_MESSAGE_RATELIMIT is empty",
        "set a limit",
    ),
    "limits-switched-off": (
        {"RATELIMIT_ENABLED": False},
        "limits-storage",
        "nothing is limited",
        "RATELIMIT_ENABLED to True",
    ),
    "redis-is-down": (
        {"CHATKIT_RATELIMIT_STORAGE_URI": f"redis://:hunter2@127.0.0.1:{free_port()}/0"},
        "limits-storage",
        "the redis storage does not answer",
        "start the storage",
    ),
    "database-is-down": (
        {
            "CHATKIT_DATABASE_URI": "postgresql+psycopg://shop:hunter2@127.0.0.1:"
            f"{free_port()}/shop?connect_timeout=2"
        },
        "database",
        "the postgresql database can't be reached",
        "CHATKIT_DATABASE_URI",
    ),
    "database-in-memory": (
        {"CHATKIT_DATABASE_URI": "sqlite://"},
        "sqlite",
        "lost when a process ends",
        "PostgreSQL",
    ),
    "database-where-nobody-writes": (
        {"CHATKIT_DATABASE_URI": "sqlite:////proc/shop/history.sqlite3"},
        "database",
        "can't write to the folder /proc",
        "give the folder to the user",
    ),
    "uploads-where-nobody-writes": (
        {"CHATKIT_UPLOAD_FOLDER": "/proc/shop/files"},
        "uploads",
        "can't be written to",
        "chown",
    ),
    "csp-without-frames": (
        {"HEADERS": {"Content-Security-Policy": f"{POLICY} {CDN}"}, "CHATKIT_DOMAIN_KEY": "dk"},
        "csp",
        f"blocks {CDN}: see frame-src",
        f"add {CDN} to frame-src",
    ),
    "csp-without-calls": (
        {"HEADERS": {"Content-Security-Policy": "script-src 'self'; connect-src https://api.test"}},
        "csp",
        "see connect-src",
        "add 'self' to connect-src",
    ),
    "csp-with-a-nonce-that-the-macro-lacks": (
        {"HEADERS": {"Content-Security-Policy": "script-src 'nonce-abc' 'strict-dynamic' 'self'"}},
        "csp",
        "see script-src",
        "add 'self' to script-src, or the page's nonce to the macro",
    ),
    "trusted-types": (
        {
            "HEADERS": {
                "Content-Security-Policy": "require-trusted-types-for 'script';"
                " trusted-types dompurify"
            }
        },
        "csp",
        "trusted-types lacks flask-chatkit",
        "add flask-chatkit to trusted-types",
    ),
    "coep": (
        {"HEADERS": {"Cross-Origin-Embedder-Policy": "require-corp"}, "CHATKIT_DOMAIN_KEY": "dk"},
        "coep",
        "require-corp keeps OpenAI's frame out",
        "remove the header",
    ),
    "no-hsts": (
        {"PREFERRED_URL_SCHEME": "https", "SERVER_NAME": "www.shop.test"},
        "https",
        "Strict-Transport-Security",
        "add_header",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_wrong_settings_are_named(production: Make, name: str) -> None:
    """A site with one wrong setting has that one fault, and reads how to cure it."""
    config, check, found, cure = SETTINGS[name]
    script = {"CHATKIT_SCRIPT_URL": f"{CDN}/deployments/chatkit/chatkit.js"}
    results = examine(production(served_kit(), **script, **config))
    fault = the_fault(results, check, found, cure)
    assert {one.check for one in faults(results)} == {fault.check}
    assert "hunter2" not in str(results)
    assert STRONG not in str(results)


def test_nothing_is_wrong_with_the_site_itself(production: Make) -> None:
    """The site that the faults are planted in has none."""
    assert faults(examine(production(served_kit()))) == []


def test_nonce_is_enough(production: Make) -> None:
    """A policy that trusts the page's nonce, and no host, is as it should be."""
    policy = "script-src 'nonce-abc' 'strict-dynamic'; style-src 'nonce-abc'"
    app = production(served_kit(), HEADERS={"Content-Security-Policy": policy})
    app.jinja_env.globals["csp_nonce"] = lambda: "abc"
    assert faults(examine(app)) == []


def test_site_without_a_chat_is_named(production: Make) -> None:
    """A kit without a chat says how to get one."""
    the_fault(examine(production(ChatKit(), **NONE)), "chats", "there is no chat", "CHATKIT_SERVER")


def test_setting_changed_too_late_is_named(production: Make) -> None:
    """A setting that came after the registration is named."""
    app = production(served_kit())
    app.config["CHATKIT_RATELIMIT"] = "1/day"
    the_fault(examine(app), "settings", "CHATKIT_RATELIMIT changed", "before registering")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("chat = 42", "names int"),
        ("def other(): pass", "has no attribute 'chat'"),
        ("import a_package_that_is_not_there", "a_package_that_is_not_there"),
    ],
)
def test_server_that_is_none_is_named(
    production: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, found: str
) -> None:
    """CHATKIT_SERVER that names nothing that can answer is told with the accepted forms."""
    (tmp_path / "planted_chat.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "planted_chat", raising=False)
    results = examine(production(ChatKit(), **NONE, CHATKIT_SERVER="planted_chat:chat"))
    the_fault(results, "chats", found, "a function (message, chat)")


# --- OpenAI


def hosted(production: Make, **config: Any) -> list[Any]:
    """What is found of a site whose chat the stand-in hosts, without what hosted chats all have."""
    results = examine(production(None, **config))
    return [result for result in results if result.check != "workflows-end"]


def test_hosted_chat_that_works(production: Make, openai_standin: OpenAIStandIn) -> None:
    """A hosted chat's session is made for the doctor and cancelled, and its thread count is not."""
    assert faults(hosted(production)) == []
    (session,) = openai_standin.sessions.values()
    assert session["status"] == "cancelled"
    assert session["user"].startswith("doctor:")


@pytest.mark.parametrize(
    ("config", "check", "found", "cure"),
    [
        ({"CHATKIT_API_KEY": None}, "api-key", "there is no API key", "CHATKIT_API_KEY"),
        ({"CHATKIT_API_KEY": "sk-hunter2-wrong"}, "api-key", "does not accept the key", "api-keys"),
        ({"CHATKIT_WORKFLOW_ID": "wf_gone"}, "workflow", "does not find", "CHATKIT_PROJECT"),
        ({"CHATKIT_ORGANIZATION": "org-other"}, "api-key", "CHATKIT_ORGANIZATION", "correct"),
        ({"CHATKIT_API_BASE": "http://127.0.0.1:9/v1"}, "api-key", "can't be reached", "firewall"),
    ],
    ids=["no-key", "wrong-key", "no-workflow", "wrong-organisation", "unreachable"],
)
def test_openais_refusals_are_named(
    production: Make,
    openai_standin: OpenAIStandIn,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    check: str,
    found: str,
    cure: str,
) -> None:
    """What OpenAI refuses is told by its cause, and the key is not in it."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(checks_hosted, "_today", lambda: WORKFLOWS_END - timedelta(days=1))
    openai_standin._state.organization = "org-own"
    results = hosted(production, **{"CHATKIT_ORGANIZATION": "org-own", **config})
    the_fault(results, check, found, cure)
    assert "hunter2" not in str(results)


@pytest.mark.parametrize(
    ("failure", "check", "found", "cure"),
    [
        (Failure(status=403, code="missing_scope"), "api-key", "may not use ChatKit", "permission"),
        (Failure(status=429, code="insufficient_quota"), "api-key", "quota", "billing"),
        (Failure(status=503), "api-key", "answered 503", "status.openai.com"),
    ],
    ids=["scope", "quota", "outage"],
)
def test_openais_trouble_is_named(
    production: Make,
    openai_standin: OpenAIStandIn,
    failure: Failure,
    check: str,
    found: str,
    cure: str,
) -> None:
    """A key without permission, a used-up quota and an outage are told apart."""
    openai_standin.fail(failure)
    the_fault(hosted(production), check, found, cure)


@pytest.mark.parametrize(("status", "days"), [(410, -1), (404, 0), (404, 1)])
def test_ended_workflows_are_named(
    production: Make,
    openai_standin: OpenAIStandIn,
    monkeypatch: pytest.MonkeyPatch,
    status: Literal[404, 410],
    days: int,
) -> None:
    """Once OpenAI answers that the workflow is gone, the cure is to serve the chat."""
    monkeypatch.setattr(checks_hosted, "_today", lambda: WORKFLOWS_END + timedelta(days=days))
    openai_standin.end_workflows(status)
    the_fault(hosted(production), "workflow", "has ended the workflow", "CHATKIT_SERVER")


@pytest.mark.parametrize(
    ("today", "found"),
    [(date(2026, 11, 28), "2 days left"), (date(2026, 12, 1), "has ended hosted workflows")],
)
def test_days_are_counted(
    production: Make, monkeypatch: pytest.MonkeyPatch, today: date, found: str
) -> None:
    """The days until the end of hosted workflows are counted, and the end is named after it."""
    monkeypatch.setattr(checks_hosted, "_today", lambda: today)
    the_fault(examine(production(None)), "workflows-end", found, "CHATKIT_SERVER")


def test_skewed_clock_is_named(production: Make, openai_standin: OpenAIStandIn) -> None:
    """A clock that differs from OpenAI's is told."""
    then = Habits(headers={"Date": "Sat, 28 Nov 2020 12:00:00 GMT"})
    with proxy(openai_standin.url, then) as between:
        results = hosted(production, CHATKIT_API_BASE=f"{between}/v1")
    the_fault(results, "clock", "that of OpenAI differ", "NTP")


def test_page_without_a_viewport_is_named(production: Make) -> None:
    """A page whose chat phones show tiny is named, and the tag that it lacks."""
    app = production(served_kit())

    @app.get("/chat")
    def chat() -> str:
        return render_template_string(
            "{% from 'chatkit/macros.html' import chatkit_inline %}{{ chatkit_inline() }}"
        )

    results = examine(app, pages=["/", "/chat"])
    fault = the_fault(results, "viewport", "/chat: without a viewport tag", '<meta name="viewport"')
    assert faults(results) == [fault]


def test_action_of_no_chat_is_named(production: Make) -> None:
    """Functions for a chat that does not exist are named, with the chats that do."""
    kit = served_kit()
    kit.action("order.cancel", chat="shop")(answer)
    kit.feedback(chat="shop")(answer)
    results = examine(production(kit))
    the_fault(results, "chats", "@chatkit.action('order.cancel')", "correct the chat's name")
    the_fault(results, "chats", "@chatkit.feedback is declared for the chat 'shop'", "chat's name")
    assert len(faults(results)) == 2


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("CHATKIT_KEEP_DAYS", "name it FLASK_CHATKIT_KEEP_DAYS"),
        ("FLASK_CHATKIT_KEEP_DAYS", "app.config.from_prefixed_env()"),
    ],
)
def test_setting_that_is_not_read_is_named(
    production: Make, monkeypatch: pytest.MonkeyPatch, name: str, cure: str
) -> None:
    """A setting that is in the environment only is named, and never its value."""
    monkeypatch.setenv(name, "90-hunter2")
    results = examine(production(served_kit()))
    fault = the_fault(results, "settings", f"{name} is set in the environment", cure)
    assert faults(results) == [fault]
    assert "hunter2" not in str(results)


# --- guards and limits of the site's own


def test_csrf_guard_before_embedded_pages_is_named(production: Make) -> None:
    """CSRFProtect that is not told of the kit keeps pages of other origins out."""
    app = production(served_kit(), CHATKIT_TRUSTED_ORIGINS=["https://localhost:8443"])
    app.debug = True
    CSRFProtect(app)
    the_fault(examine(app), "csrf", "embed.js", "csrf.exempt(chatkit)")


def test_csrf_guard_without_a_token_is_named(production: Make) -> None:
    """CSRFProtect, with a page that has no token for the widget, is named."""
    app = production(served_kit())
    CSRFProtect(app)
    the_fault(examine(app), "csrf", "no csrf-token", "csrf.exempt(chatkit)")


@pytest.mark.parametrize("limit", [3600, timedelta(minutes=5)])
def test_csrf_tokens_that_end_are_named(production: Make, limit: Any) -> None:
    """A page that is open for longer than a token lasts can't chat, which is told."""
    app = production(served_kit(), WTF_CSRF_TIME_LIMIT=limit)
    CSRFProtect(app)

    @app.get("/chat")
    def chat() -> str:
        return render_template_string(
            VIEWPORT + "<meta name=csrf-token content='{{ csrf_token() }}'>"
            "{% from 'chatkit/macros.html' import chatkit_inline %}{{ chatkit_inline() }}"
        )

    the_fault(examine(app, pages=["/chat"]), "csrf", "WTF_CSRF_TIME_LIMIT", "csrf.exempt(chatkit)")


def test_exempt_kit_is_well(production: Make) -> None:
    """With the kit exempt from the site's guard and Limiter, there is no fault."""
    kit = served_kit()
    app = production(kit)
    CSRFProtect(app).exempt(kit)
    Limiter(
        get_remote_address, app=app, storage_uri="memory://", default_limits=["50/hour"]
    ).exempt(kit)
    assert faults(examine(app)) == []


def test_talisman_is_well(production: Make) -> None:
    """Flask-Talisman with the policy of the README, which redirects to https, is no fault."""
    app = production(served_kit())
    policy = {"default-src": "'none'", "script-src": "'self'", "connect-src": "'self'"}
    Talisman(app, content_security_policy={**policy, "style-src": "'self'"})
    assert faults(examine(app)) == []


def test_default_limits_on_the_kit_are_named(production: Make) -> None:
    """Limits that the site's Limiter has for all pages hit the chat's calls."""
    app = production(served_kit())
    Limiter(get_remote_address, app=app, storage_uri="memory://", default_limits=["50/hour"])
    the_fault(examine(app), "default-limits", "50 per 1 hour", "limiter.exempt(chatkit)")


def test_guard_of_the_site_is_named(production: Make) -> None:
    """A hook that answers everything in the kit's place is named with its status."""
    app = production(served_kit())

    @app.before_request
    def maintenance() -> Any:
        return "We are back soon.", 503

    results = examine(app)
    the_fault(results, "csrf", "answers the chat's calls with 503", "let the hook pass")
    the_fault(results, "files", "answers 503", "static")
    the_fault(results, "pages", "the page / answers 503", "log")


# --- what is kept


@pytest.mark.services
def test_missing_tables_are_named(
    production: Make, missing: Callable[[str, str], NoReturn]
) -> None:
    """A site that migrates by itself and has not is told how, on a real PostgreSQL."""
    with fresh_database("PostgreSQL", missing) as uri:
        kit = ChatKit(store=SQLAlchemyStore(uri, create_tables=False))
        kit.assistant()(answer)
        results = examine(production(kit, **NONE))
        the_fault(results, "database", "tables are not there", "upgrade_tables")


def test_old_tables_are_named(production: Make, tmp_path: Path) -> None:
    """The tables of the first release, which a site migrates by itself, are told."""
    uri = f"sqlite:///{tmp_path}/old.sqlite3"
    with closing(sqlite3.connect(tmp_path / "old.sqlite3")) as old:
        for statement in STATEMENTS["sqlite"]:
            old.execute(statement)
    kit = ChatKit(store=SQLAlchemyStore(uri, create_tables=False))
    kit.assistant()(answer)
    the_fault(examine(production(kit, **NONE)), "database", "earlier release", "upgrade_tables")


def test_network_disk_is_named(
    production: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite on a network file system is told by the system's list of mounts."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda1 / ext4 rw 0 0\nserver:/shop {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(
        checks_storage, "file_system", lambda path: file_system(path, mounts=mounts)
    )
    the_fault(examine(production(served_kit())), "sqlite", "nfs4", "PostgreSQL")


def test_public_uploads_are_named(production: Make, tmp_path: Path) -> None:
    """Files of visitors below the static folder are told, since anybody may fetch them."""
    app = production(served_kit(), CHATKIT_UPLOAD_FOLDER=str(tmp_path / "static" / "files"))
    app.static_folder = str(tmp_path / "static")
    the_fault(examine(app), "uploads", "below the static folder", "outside of static")


def test_full_disk_is_named(production: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little space for a few uploads is told."""
    monkeypatch.setattr(checks_storage, "FREE", 2**62)
    the_fault(examine(production(served_kit())), "uploads", "MB are free", "free space")


def test_upload_folder_that_is_a_file_is_named(production: Make, tmp_path: Path) -> None:
    """A file in the folder's place is told."""
    (tmp_path / "files").write_text("")
    the_fault(examine(production(served_kit())), "uploads", "a file of that name", "another folder")


def test_blocked_microphone_is_named(production: Make) -> None:
    """A page that keeps the microphone from a chat that takes dictation is told."""
    kit = served_kit(widget={"dictation": True})
    kit.transcriber()(answer)
    app = production(kit, HEADERS={"Permissions-Policy": "camera=(), microphone=()"})
    the_fault(examine(app), "permissions-policy", "keeps the microphone", "microphone=(self")


def test_retiring_model_is_named(production: Make) -> None:
    """An agent's model that leaves OpenAI's API is told, also of an agent that is handed to."""
    from agents import Agent

    kit = ChatKit()
    kit.add_agent("default", Agent(name="A", handoffs=[Agent(name="B", model="gpt-4o-mini")]))
    results = examine(production(kit, **NONE))
    the_fault(results, "models", "gpt-4o-mini, of the agent 'B'", "a newer model")


class WorkflowInput(BaseModel):
    """What Agent Builder exports."""

    input_as_text: str


async def run_workflow(workflow_input: WorkflowInput) -> None:
    """Ask nobody: its agents are looked for among the globals of its module."""


def test_missing_key_of_a_model_is_told(production: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key for an agent's or a workflow's model, its owner is told where to put one."""
    from agents import Agent, OpenAIChatCompletionsModel
    from openai import AsyncOpenAI

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def found(declare: Callable[[ChatKit], None]) -> Any:
        kit = ChatKit()
        declare(kit)
        results = examine(production(kit, **NONE))
        return next(one for one in results if one.check == "model-key")

    other = AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key="none")
    has_key = Agent(name="B", model=OpenAIChatCompletionsModel("m", other))
    monkeypatch.setitem(run_workflow.__globals__, "coach", Agent(name="Coach"))
    for declare in (
        lambda kit: kit.add_agent("default", Agent(name="A")),
        lambda kit: kit.add_workflow("default", run_workflow),
    ):
        told = found(declare)
        assert (told.status, "OPENAI_API_KEY" in told.cure) == ("skipped", True)
    assert found(lambda kit: kit.add_agent("default", has_key)).cure == ""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2-not-a-key")
    assert found(lambda kit: kit.add_agent("default", Agent(name="A"))).status == "ok"


def test_wrong_version_is_named(production: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package outside of the tested range is told with the range."""
    from importlib import metadata

    real = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "9.0" if name == "openai-chatkit" else real(name)
    )
    the_fault(examine(production(served_kit())), "packages", "openai-chatkit 9.0", "<1.7")


def test_traces_are_told(production: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenAI's trace store gets of visitors' words is told, and what it does not get, why."""
    from agents import Agent, OpenAIChatCompletionsModel, set_tracing_disabled
    from openai import AsyncOpenAI

    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2-not-a-key")
    other = AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key="none")
    kit = ChatKit()
    kit.add_agent("openais", Agent(name="A"))
    kit.add_agent("others", Agent(name="B", model=OpenAIChatCompletionsModel("m", other)))
    set_tracing_disabled(False)
    try:
        results = examine(production(kit, **NONE))
    finally:
        set_tracing_disabled(True)
    told = {one.status: one for one in results if one.check == "agent-tracing"}
    assert "'openais' is kept in OpenAI's trace store" in told["skipped"].found
    assert "set_tracing_disabled(True)" in told["skipped"].cure
    assert "'others' is not traced by OpenAI" in told["ok"].found
