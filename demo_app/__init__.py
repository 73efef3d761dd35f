"""A small outdoor shop that chats with its customers: ``flask --app demo_app run``.

A line at the start and on each page names what answers. It depends on the environment:

* nothing set: a small assistant in this package (:mod:`demo_app.assistant`), without a model;
* ``OPENAI_API_KEY``: an agent (:mod:`demo_app.agent`) on a current model, or ``OPENAI_MODEL``;
* ``OPENAI_BASE_URL``: the same agent, on an endpoint that is compatible with OpenAI's;
* ``OPENAI_API_KEY`` and ``CHATKIT_WORKFLOW_ID``: a workflow that OpenAI hosts, until 2026-11-30;
* ``CHATKIT_SERVER``: your own code.

Without the packages of ``flask-chatkit[server]``, stand-ins of ``flask_chatkit.testing`` in this
process host the chats. ``FLASK_DEMO_MODE`` chooses one of :data:`MODES`.
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
from demo_app.assistant import MODELS, TOOLS, answer, repair, reply, return_label
from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn

OPENAI = "https://cdn.platform.openai.com"
STANDIN = "/standin"
#: What can answer: your code, OpenAI's workflow, the agent, the assistant, the stand-ins.
MODES = ("own", "hosted", "agent", "assistant", "standins")
#: CHATKIT_SERVER in the modes that the shop serves itself.
SERVERS = {"agent": "demo_app.agent:agent", "assistant": "demo_app.assistant:answer"}
#: Variables of the environment that are read without the prefix FLASK_, too.
VARIABLES = (
    "CHATKIT_API_KEY",
    "CHATKIT_SERVER",
    "CHATKIT_WORKFLOW_ID",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_MODEL",
)

#: What the shop's chats have below answers: thumbs, and another try.
ABILITIES = {"feedback": True, "retry": True}


def make_kit(*, serves: bool) -> ChatKit:
    """Declare the shop's chats; CHATKIT_WORKFLOW_ID or CHATKIT_SERVER answers in all but one.

    :param serves: whether there is that one, which the shop serves itself. Not beside chats of
        OpenAI's alone: who signs out of those is the visitor of before.
    """
    chatkit = ChatKit()
    # Beside the chat "default": these have their own sessions, limits and look.
    chatkit.add_hosted(
        "help",
        file_upload={"max_file_size": 8, "max_files": 3},
        widget={"placeholder": "Ask about an order, delivery or returns"},
    )
    chatkit.add_hosted("stylist", widget={"placeholder": "Ask about sizes and materials"})
    chats = ["default", "help", "stylist"]
    if serves:
        # The assistant's own: what can be chosen in a composer is declared where it is answered.
        chatkit.assistant("walks", widget={"tools": TOOLS, "models": MODELS})(answer)
        chats.append("walks")
    # The button on an order's card, and the form of a repair. OpenAI's workflows have their own.
    for chat in chats:
        chatkit.action("return_label", chat=chat)(return_label)
        chatkit.action("repair", chat=chat)(repair)
    chatkit.user_loader(customer)
    return chatkit


def customer() -> str | None:
    """Return the name of the signed-in customer; None for everybody else."""
    return session.get("name")


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Create the shop's application.

    :param config: settings that override those of the environment.
    """
    app = Flask(__name__)
    app.config.update(SESSION_COOKIE_SAMESITE="Lax", CHATKIT_RATELIMIT_STORAGE_URI="memory://")
    # The page of looks says what is wrong with an option; a shop would leave the widget out.
    app.config["CHATKIT_STRICT_OPTIONS"] = True
    app.config.update({name: os.environ[name] for name in VARIABLES if os.environ.get(name)})
    app.config.from_prefixed_env()
    app.config.update(config or {})
    mode = app.config.get("DEMO_MODE") or who_answers(app.config)
    if mode not in MODES:
        raise ValueError(f"DEMO_MODE must be one of {', '.join(MODES)}, not {mode!r}")
    if mode == "standins":
        use_standins(app)
    elif mode != "own":
        # It would take precedence over a workflow.
        app.config["CHATKIT_SERVER"] = SERVERS.get(mode)
    serves = mode not in {"hosted", "standins"}
    notice = describe(mode, app.config)
    click.echo(f" * {notice}", err=True)
    keep(app)

    @app.context_processor
    def add_notice() -> dict[str, object]:
        return {"notice": notice, "walks": serves, "abilities": ABILITIES}

    @app.after_request
    def protect(response: Response) -> Response:
        # Only the page of looks has frames with pages of the shop.
        frames = ["'self'"] if request.endpoint == "looks.bench" else []
        csp = policy("'self'" if mode == "standins" else OPENAI, frames)
        response.headers["Content-Security-Policy"] = csp
        return response

    app.register_blueprint(shop.pages)
    app.register_blueprint(looks.pages)
    app.register_blueprint(make_kit(serves=serves))
    app.register_error_handler(404, shop.missing)
    return app


def has_key(config: Mapping[str, Any]) -> bool:
    """Whether there is a key for OpenAI's API."""
    return bool(config.get("CHATKIT_API_KEY") or config.get("OPENAI_API_KEY"))


def can_serve() -> bool:
    """Whether the packages of ``flask-chatkit[server]`` are installed."""
    return all(importlib.util.find_spec(name) for name in ("agents", "chatkit", "sqlalchemy"))


def who_answers(config: Mapping[str, Any]) -> str:
    """Return the mode for the configuration and the installed packages."""
    if has_key(config) and config.get("CHATKIT_WORKFLOW_ID") and not config.get("CHATKIT_SERVER"):
        return "hosted"
    if not can_serve():
        return "standins"
    if config.get("CHATKIT_SERVER"):
        return "own"
    return "agent" if has_key(config) or config.get("OPENAI_BASE_URL") else "assistant"


def describe(mode: str, config: Mapping[str, Any]) -> str:
    """Describe in a line what answers in the chats, and how to change it."""
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
        # Only the host: a URL may contain a password.
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
    """Return a Content-Security-Policy for no inline code and no other origin than the chat's.

    :param chat_origin: the origin of the chat's script and frame.
    :param frames: other sources of frames.
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
    """Ensure that there is a folder for the history, and a key that survives a restart.

    If the instance folder can't be written to, a temporary one is used.
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
        # A real site sets FLASK_SECRET_KEY. Changing it signs all visitors out of their chats.
        app.config["SECRET_KEY"] = _kept_key(folder / "secret_key")


def _kept_key(path: Path) -> str:
    if not path.exists():
        # Written to another file and moved: a process that starts meanwhile reads a whole key.
        handle, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex())
        Path(draft).replace(path)
    return path.read_text()


def use_standins(app: Flask) -> None:
    """Serve OpenAI's API on a loopback port, and the chat's script and frame on the demo's own.

    All is kept in this process's memory, so there must be one process only, like ``flask run``.
    """
    standin = OpenAIStandIn(api_key=f"sk-{secrets.token_hex()}", reply=reply)
    standin.start()
    atexit.register(standin.stop)
    app.extensions["openai_standin"] = standin
    app.config.update(standin.config(), CHATKIT_SERVER=None)
    app.config["CHATKIT_SCRIPT_URL"] = f"{STANDIN}/deployments/chatkit/chatkit.js"
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {STANDIN: standin.wsgi_app})  # type: ignore[method-assign]
