"""The pages that are compared, all in one site: the same small document, with each peer's snippet.

The site compresses text as a front server does, and answers what the peers ask of their backends.
It runs in a process of its own, which finds in its environment what the bench has prepared.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
from functools import lru_cache

#: What the bench has prepared: the stand-in's configuration, and the folder with peers' files.
ENVIRONMENT = "BENCH_PAGE"

DOCUMENT = """\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Teapots</title>
  <link rel="icon" href="data:,">HEAD
</head>
<body>
  <header><a href="/floor">The Teapot Shop</a></header>
  <main>
    <h1>Teapots</h1>
    <p>Each of our teapots is thrown by hand, glazed twice and fired for two days.</p>
    <ul>
      <li><a href="#one">The round one</a>, for two cups, 35.00</li>
      <li><a href="#two">The tall one</a>, for four cups, 48.00</li>
      <li><a href="#three">The one with the crooked spout</a>, for whoever likes it, 12.00</li>
    </ul>
    <p>They are packed in straw, and come within a week. What breaks on its way is replaced.</p>
  </main>
  <footer><p>The Teapot Shop, 1 Kiln Lane</p></footer>BODY
</body>
</html>
"""

#: What no script can be below.
EMPTY = """
  <script src="/files/empty.js" defer></script>"""

#: As the README says: the macro before the end of the body.
OURS = """
  {% from "chatkit/macros.html" import chatkit_floating %}{{ chatkit_floating() }}"""

#: As OpenAI's guide says: their script in the head, the app's bundle beside it.
REACT_HEAD = """
  <script src="SCRIPT" async></script>
  <script src="/files/BUNDLE" defer></script>"""
REACT_BODY = """
  <div id="root"></div>"""

#: As the README of @typebot.io/js says, with the server of whoever hosts Typebot.
TYPEBOT = """
  <script type="module">
    import Typebot from "/files/typebot/web.js";

    Typebot.initBubble({
      typebot: "bench",
      apiHost: location.origin,
      theme: { button: { backgroundColor: "#0042DA", iconColor: "#FFFFFF" } },
    });
  </script>"""

#: As the README of @n8n/chat says for pages that bundle nothing.
N8N_HEAD = """
  <link href="/files/n8n/style.css" rel="stylesheet">"""
N8N_BODY = """
  <script type="module">
    import { createChat } from "/files/n8n/chat.bundle.es.js";

    createChat({ webhookUrl: `${location.origin}/n8n/webhook` });
  </script>"""

#: The snippet of OpenAI's guide, in the corner of the page.
REACT_CHAT = """
import { createRoot } from "react-dom/client";
import { ChatKit, useChatKit } from "@openai/chatkit-react";

const corner = { position: "fixed", right: 16, bottom: 80, width: 320, height: 600 };

function MyChat() {
  const { control } = useChatKit({
    api: {
      async getClientSecret(existing) {
        const res = await fetch("/api/chatkit/session", { method: "POST" });
        const { client_secret } = await res.json();
        return client_secret;
      },
    },
  });
  return <ChatKit control={control} style={corner} />;
}
"""
REACT_EAGER = """
createRoot(document.getElementById("root")).render(<MyChat />);
"""
REACT_BUTTON = """
import { useState } from "react";

function Launcher() {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button
        type="button"
        aria-expanded={open}
        style={{ position: "fixed", right: 16, bottom: 16, minWidth: 48, minHeight: 48 }}
        onClick={() => setOpen(!open)}
      >
        Chat
      </button>
      {open && <MyChat />}
    </>
  );
}

createRoot(document.getElementById("root")).render(<Launcher />);
"""
#: File name → source of the React apps that the bench bundles.
REACT = {"react": REACT_CHAT + REACT_EAGER, "react_button": REACT_CHAT + REACT_BUTTON}

#: A bot of one text input, as Typebot's server starts it.
TYPEBOT_ANSWER = {
    "sessionId": "bench",
    "typebot": {
        "id": "bench",
        "version": "6",
        "theme": {"general": {"font": {"type": "Custom", "family": "sans-serif"}}},
        "settings": {},
    },
    "messages": [],
    "input": {"id": "input", "type": "text input", "options": {}},
    "clientSideActions": [],
    "logs": [],
    "progress": 0,
}


class Gzip:
    """Compresses text as a front server does, and leaves alone what is compressed already."""

    TYPES = ("text/", "application/javascript", "application/json", "image/svg+xml")
    LEAST = 256  # bytes
    LEVEL = 6

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        head = []

        def started(status, headers, error=None):
            head[:] = [status, headers]

        answer = self.app(environ, started)
        try:
            body = b"".join(answer)
        finally:
            if hasattr(answer, "close"):
                answer.close()
        status, headers = head
        known = {name.lower(): value for name, value in headers}
        if known.get("content-type", "").startswith(self.TYPES):
            if "accept-encoding" not in known.get("vary", "").lower():
                headers.append(("Vary", "Accept-Encoding"))
            accepted = "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "")
            if accepted and "content-encoding" not in known and len(body) >= self.LEAST:
                body = compressed(body)
                headers = [item for item in headers if item[0].lower() != "content-length"]
                headers += [("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]


@lru_cache(maxsize=64)
def compressed(body):
    """Compress once, so that the processor's time for it is in no peer's numbers."""
    return gzip.compress(body, Gzip.LEVEL, mtime=0)


def site():
    """Build the site: the pages, the peers' files, and what stands for their backends."""
    import requests
    from flask import Flask, jsonify, render_template_string, request, send_from_directory

    from flask_chatkit import ChatKit

    prepared = json.loads(os.environ[ENVIRONMENT])
    config = prepared["config"]
    logging.getLogger("flask_chatkit").setLevel(logging.ERROR)
    app = Flask(__name__)
    # Limits would end the bench.
    app.config.update(config, SECRET_KEY="bench" * 8, RATELIMIT_ENABLED=False)
    app.register_blueprint(ChatKit())
    openai = requests.Session()

    def page(path, head="", body=""):
        html = DOCUMENT.replace("HEAD", head).replace("BODY", body)
        app.add_url_rule(f"/{path}", path, lambda: render_template_string(html))

    page("floor")
    page("empty", "", EMPTY)
    page("ours", "", OURS)
    for name in REACT:
        tags = REACT_HEAD.replace("SCRIPT", config["CHATKIT_SCRIPT_URL"])
        page(name, tags.replace("BUNDLE", f"{name}.js"), REACT_BODY)
    page("typebot", "", TYPEBOT)
    page("n8n", N8N_HEAD, N8N_BODY)

    @app.get("/files/<path:path>")
    def files(path):
        kind = "text/javascript" if path.endswith((".js", ".mjs")) else None
        return send_from_directory(prepared["files"], path, mimetype=kind, max_age=31536000)

    @app.post("/api/chatkit/session")
    def mint():
        answer = openai.post(
            f"{config['CHATKIT_API_BASE']}/chatkit/sessions",
            json={"user": "visitor", "workflow": {"id": config["CHATKIT_WORKFLOW_ID"]}},
            headers={
                "Authorization": f"Bearer {config['CHATKIT_API_KEY']}",
                "OpenAI-Beta": "chatkit_beta=v1",
            },
            timeout=10,
        )
        answer.raise_for_status()
        return jsonify(client_secret=answer.json()["client_secret"])

    @app.post("/api/v1/typebots/<bot>/startChat")
    def typebot_start(bot):
        return jsonify(TYPEBOT_ANSWER)

    @app.post("/n8n/webhook")
    def n8n_answer():
        known = (request.get_json(silent=True) or {}).get("action") == "loadPreviousSession"
        return jsonify({"data": []} if known else {"output": "Hello"})

    app.wsgi_app = Gzip(app.wsgi_app)
    return app
