"""The servers that are compared: ours, complete, and three that people write or copy.

Each has ``POST /chatkit/secret`` and runs in processes of its own, which call one of these
functions for its application.
"""

from __future__ import annotations

import logging
import os
import uuid

KEY = "sk-bench"
WORKFLOW = "wf_bench"
#: The bench's stand-in, or OpenAI for whoever runs a peer by hand.
BASE = os.environ.get("BENCH_API_BASE", "https://api.openai.com/v1")
URL = f"{BASE}/chatkit/sessions"
HEADERS = {"Authorization": f"Bearer {KEY}", "OpenAI-Beta": "chatkit_beta=v1"}
PATH = "/chatkit/secret"


def ours():
    """Build a site with the kit: signed cookie, guard, and limits that count and never end."""
    from flask import Flask

    from flask_chatkit import ChatKit

    # What it has to say once, at start and at the first mint, is none of the table's business.
    logging.getLogger("flask_chatkit").setLevel(logging.ERROR)
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="bench" * 8,
        CHATKIT_API_KEY=KEY,
        CHATKIT_API_BASE=BASE,
        CHATKIT_WORKFLOW_ID=WORKFLOW,
        CHATKIT_RATELIMIT="100000000/minute;1000000000/day",
        CHATKIT_RATELIMIT_IP="100000000/minute;1000000000/day",
        CHATKIT_RATELIMIT_GLOBAL="1000000000/day",
        CHATKIT_RATELIMIT_STORAGE_URI="memory://",
    )
    app.register_blueprint(ChatKit())
    return app


def bare():
    """Build the least that is fast: one view and one pooled session, nothing safe about it."""
    import requests
    from flask import Flask, jsonify
    from requests.adapters import HTTPAdapter

    app = Flask(__name__)
    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=16))

    @app.post(PATH)
    def secret():
        response = session.post(
            URL,
            headers=HEADERS,
            json={"workflow": {"id": WORKFLOW}, "user": uuid.uuid4().hex},
            timeout=10,
        )
        response.raise_for_status()
        return jsonify(client_secret=response.json()["client_secret"])

    return app


def copied_flask():
    """Build the sample that is copied most in Flask: ``requests.post`` per mint."""
    import requests
    from flask import Flask, jsonify

    app = Flask(__name__)

    @app.post(PATH)
    def secret():
        response = requests.post(
            URL,
            headers=HEADERS,
            json={"workflow": {"id": WORKFLOW}, "user": uuid.uuid4().hex},
            timeout=10,
        )
        response.raise_for_status()
        return jsonify(client_secret=response.json()["client_secret"])

    return app


def copied_fastapi():
    """Build the sample that is copied most in FastAPI: an ``AsyncClient`` per mint."""
    import httpx
    from fastapi import FastAPI

    app = FastAPI()

    @app.post(PATH)
    async def secret():
        async with httpx.AsyncClient(timeout=10) as client:
            response = await client.post(
                URL,
                headers=HEADERS,
                json={"workflow": {"id": WORKFLOW}, "user": uuid.uuid4().hex},
            )
        response.raise_for_status()
        return {"client_secret": response.json()["client_secret"]}

    return app
