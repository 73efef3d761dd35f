"""A small outdoor shop that chats with its customers: ``flask --app demo_app run``.

With an API key and a workflow the chats are OpenAI's. Without, the demo runs the two stand-ins of
``flask_chatkit.testing`` by itself: no key, no account, no internet. They keep everything in this
process's memory, so that mode wants one process, as ``flask run`` has.
"""

from __future__ import annotations

import atexit
import os
import secrets
from collections.abc import Mapping
from typing import Any

import click
from flask import Flask, Response, session
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn

from . import shop
from .assistant import reply

OPENAI = "https://cdn.platform.openai.com"
STANDIN = "/standin"

chatkit = ChatKit()
# The chat "default" comes from CHATKIT_WORKFLOW_ID. These two ask the same workflow, and have
# sessions, limits and a look of their own.
chatkit.add_hosted("help", widget={"placeholder": "Ask about an order, delivery or returns"})
chatkit.add_hosted("stylist", widget={"placeholder": "Ask about sizes and materials"})


@chatkit.user_loader
def customer() -> str | None:
    """Who is signed in; None for everybody else."""
    return session.get("name")


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the shop.

    :param config: settings that win over those of the environment.
    """
    app = Flask(__name__)
    # A demo may forget its visitors at each start; a site sets FLASK_SECRET_KEY once for all.
    app.config.update(
        SECRET_KEY=secrets.token_hex(),
        SESSION_COOKIE_SAMESITE="Lax",
        CHATKIT_RATELIMIT_STORAGE_URI="memory://",
    )
    for name in ("OPENAI_API_KEY", "CHATKIT_API_KEY", "CHATKIT_WORKFLOW_ID"):
        if os.environ.get(name):
            app.config[name] = os.environ[name]
    app.config.from_prefixed_env()
    app.config.update(config or {})

    has_key = bool(app.config.get("CHATKIT_API_KEY") or app.config.get("OPENAI_API_KEY"))
    has_workflow = bool(app.config.get("CHATKIT_WORKFLOW_ID"))
    hosted = has_key and has_workflow
    if not hosted:
        use_standins(app)
    notice = describe(has_key=has_key, has_workflow=has_workflow)
    click.echo(f" * {notice}", err=True)

    @app.context_processor
    def tell() -> dict[str, str]:
        return {"notice": notice}

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy(OPENAI if hosted else "'self'")
        return response

    app.register_blueprint(shop.pages)
    app.register_blueprint(chatkit)
    app.register_error_handler(404, shop.missing)
    return app


def describe(*, has_key: bool, has_workflow: bool) -> str:
    """Say in a line whom the chats talk to, and what would change it."""
    if has_key and has_workflow:
        return "This demo talks to OpenAI."
    standins = "This demo talks to stand-ins on this machine: no key, no account, no internet."
    if has_key:
        return f"{standins} A key is set; set CHATKIT_WORKFLOW_ID too to use OpenAI."
    if has_workflow:
        return f"{standins} A workflow is set; set OPENAI_API_KEY too to use OpenAI."
    return f"{standins} Set OPENAI_API_KEY and CHATKIT_WORKFLOW_ID to use OpenAI."


def policy(chat_origin: str) -> str:
    """Write the Content-Security-Policy: nothing inline, and nothing foreign but the chat."""
    return "; ".join(
        [
            "default-src 'self'",
            "script-src 'self'" + ("" if chat_origin == "'self'" else f" {chat_origin}"),
            f"frame-src {chat_origin}",
            "connect-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
            "object-src 'none'",
        ]
    )


def use_standins(app: Flask) -> None:
    """Put OpenAI's API on a loopback port, and the chat's script and frame on the demo's own."""
    standin = OpenAIStandIn(api_key=f"sk-{secrets.token_hex()}", reply=reply)
    standin.start()
    atexit.register(standin.stop)
    app.extensions["openai_standin"] = standin
    app.config.update(standin.config())
    app.config["CHATKIT_SCRIPT_URL"] = f"{STANDIN}/deployments/chatkit/chatkit.js"
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {STANDIN: standin.wsgi_app})  # type: ignore[method-assign]
