"""A small outdoor shop that chats with its customers: ``flask --app demo_app run``.

Who answers is told in a line at the start and on each page. It depends on the environment:

* nothing set: a small assistant in this package (:mod:`demo_app.assistant`), without a model;
* ``OPENAI_API_KEY``: an agent (:mod:`demo_app.agent`) on a current model, or ``OPENAI_MODEL``;
* ``OPENAI_BASE_URL``: the same agent, on an endpoint that is compatible with OpenAI's;
* ``OPENAI_API_KEY`` and ``CHATKIT_WORKFLOW_ID``: a workflow that OpenAI hosts, until 2026-11-30;
* ``CHATKIT_SERVER``: whatever of yours it names.

Without the packages of ``flask-chatkit[server]`` the chats are hosted by two stand-ins of
``flask_chatkit.testing`` in this process. ``FLASK_DEMO_MODE`` chooses one of :data:`MODES` itself.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from flask import Flask, Response, request, session
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from demo_app import looks, shop
from demo_app.assistant import reply, return_label
from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn

OPENAI = "https://cdn.platform.openai.com"
STANDIN = "/standin"
#: Who can answer: code of yours, OpenAI's workflow, the agent, the assistant, the stand-ins.
MODES = ("own", "hosted", "agent", "assistant", "standins")
#: What answers in a mode that the shop serves itself.
SERVERS = {"agent": "demo_app.agent:agent", "assistant": "demo_app.assistant:answer"}
#: What is read from the environment by these names too, beside FLASK_….
VARIABLES = (
    "CHATKIT_API_KEY",
    "CHATKIT_SERVER",
    "CHATKIT_WORKFLOW_ID",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_MODEL",
)

chatkit = ChatKit()
# The chat "default" comes from CHATKIT_WORKFLOW_ID or CHATKIT_SERVER, and so do these two: they
# have sessions, limits and a look of their own, and change sides with that one setting.
chatkit.add_hosted(
    "help",
    file_upload={"max_file_size": 8, "max_files": 3},
    widget={"placeholder": "Ask about an order, delivery or returns"},
)
chatkit.add_hosted("stylist", widget={"placeholder": "Ask about sizes and materials"})
# The button on an order's card. OpenAI's workflows have their own.
for _chat in ("default", "help", "stylist"):
    chatkit.action("return_label", chat=_chat)(return_label)


@chatkit.user_loader
def customer() -> str | None:
    """Who is signed in; None for everybody else."""
    return session.get("name")


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the shop.

    :param config: settings that win over those of the environment.
    """
    app = Flask(__name__)
    app.config.update(SESSION_COOKIE_SAMESITE="Lax", CHATKIT_RATELIMIT_STORAGE_URI="memory://")
    app.config.update({name: os.environ[name] for name in VARIABLES if os.environ.get(name)})
    app.config.from_prefixed_env()
    app.config.update(config or {})
    mode = app.config.get("DEMO_MODE") or who_answers(app.config)
    if mode not in MODES:
        raise ValueError(f"DEMO_MODE must be one of {', '.join(MODES)}, not {mode!r}")
    if mode == "standins":
        use_standins(app)
    elif mode != "own":
        # It would go before a workflow.
        app.config["CHATKIT_SERVER"] = SERVERS.get(mode)
    notice = describe(mode, app.config)
    click.echo(f" * {notice}", err=True)
    keep(app)

    @app.context_processor
    def tell() -> dict[str, str]:
        return {"notice": notice}

    @app.after_request
    def protect(response: Response) -> Response:
        # Only the page of looks has pages of the shop's own in frames.
        frames = ["'self'"] if request.endpoint == "looks.bench" else []
        csp = policy("'self'" if mode == "standins" else OPENAI, frames)
        response.headers["Content-Security-Policy"] = csp
        return response

    app.register_blueprint(shop.pages)
    app.register_blueprint(looks.pages)
    app.register_blueprint(chatkit)
    app.register_error_handler(404, shop.missing)
    return app


def has_key(config: Mapping[str, Any]) -> bool:
    """Whether there is a key of OpenAI's."""
    return bool(config.get("CHATKIT_API_KEY") or config.get("OPENAI_API_KEY"))


def can_serve() -> bool:
    """Whether the packages of ``flask-chatkit[server]`` are installed."""
    return all(importlib.util.find_spec(name) for name in ("agents", "chatkit", "sqlalchemy"))


def who_answers(config: Mapping[str, Any]) -> str:
    """One of the modes, by what is configured and installed."""
    if has_key(config) and config.get("CHATKIT_WORKFLOW_ID") and not config.get("CHATKIT_SERVER"):
        return "hosted"
    if not can_serve():
        return "standins"
    if config.get("CHATKIT_SERVER"):
        return "own"
    return "agent" if has_key(config) or config.get("OPENAI_BASE_URL") else "assistant"


def describe(mode: str, config: Mapping[str, Any]) -> str:
    """Say in a line who answers in the chats, and what would change it."""
    if mode == "own":
        return f"This demo is answered by {config['CHATKIT_SERVER']}."
    if mode == "hosted":
        return (
            "This demo is answered by your workflow, which OpenAI hosts until 2026-11-30. "
            "Unset CHATKIT_WORKFLOW_ID, and the shop answers itself."
        )
    if mode == "agent":
        from demo_app.agent import model_name

        endpoint = config.get("OPENAI_BASE_URL")
        # Only the host: an address may hold a password.
        where = f"at {urlsplit(endpoint).hostname}" if endpoint else "of OpenAI's"
        return (
            f"This demo is answered by an agent, on the model {model_name(config)} {where}. "
            "Set OPENAI_MODEL for another one."
        )
    if mode == "assistant":
        return (
            "This demo is answered by a few lines of Python: no model, no key, no account. "
            f"{_for_more(config)}"
        )
    missing = "" if can_serve() else " For chats of its own, install flask-chatkit[server]."
    return (
        "This demo talks to stand-ins for OpenAI on this machine: no key, no account, no internet."
        f"{missing}"
    )


def _for_more(config: Mapping[str, Any]) -> str:
    if config.get("CHATKIT_WORKFLOW_ID"):
        return "A workflow is set; set OPENAI_API_KEY too to use it."
    return "For a model, set OPENAI_API_KEY or OPENAI_BASE_URL."


def policy(chat_origin: str, frames: Iterable[str] = ()) -> str:
    """Write the Content-Security-Policy: nothing inline, and nothing foreign but the chat.

    :param chat_origin: where the chat's script and frame come from.
    :param frames: what else may be in a frame.
    """
    return "; ".join(
        [
            "default-src 'self'",
            "script-src 'self'" + ("" if chat_origin == "'self'" else f" {chat_origin}"),
            "frame-src " + " ".join(sorted({*frames, chat_origin})),
            "connect-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
            "object-src 'none'",
        ]
    )


def keep(app: Flask) -> None:
    """See that there is a folder for the history, and a key that outlives a restart.

    An installed demo's instance folder may be nobody's to write; then it is one for the moment.
    """
    folder = Path(app.instance_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        folder = Path(tempfile.mkdtemp(prefix="flask-chatkit-demo-"))
        app.instance_path = str(folder)
        click.echo(
            f" * The history is kept in {folder}, as long as the system keeps that.", err=True
        )
    if not app.config.get("SECRET_KEY"):
        # A site sets FLASK_SECRET_KEY. Whoever changes it signs all visitors out of their chats.
        app.config["SECRET_KEY"] = _kept_key(folder / "secret_key")


def _kept_key(path: Path) -> str:
    if not path.exists():
        # Written beside and moved: a process that starts at the same time reads a whole one.
        handle, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex())
        Path(draft).replace(path)
    return path.read_text()


def use_standins(app: Flask) -> None:
    """Put OpenAI's API on a loopback port, and the chat's script and frame on the demo's own.

    They keep everything in this process's memory, so this wants one process, as ``flask run`` has.
    """
    standin = OpenAIStandIn(api_key=f"sk-{secrets.token_hex()}", reply=reply)
    standin.start()
    atexit.register(standin.stop)
    app.extensions["openai_standin"] = standin
    app.config.update(standin.config(), CHATKIT_SERVER=None)
    app.config["CHATKIT_SCRIPT_URL"] = f"{STANDIN}/deployments/chatkit/chatkit.js"
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {STANDIN: standin.wsgi_app})  # type: ignore[method-assign]
