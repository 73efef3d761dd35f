"""The site whose parts fail, one after the other: a served chat, and a hosted one beside it."""

from __future__ import annotations

import logging
import os

from stream_peers import Talker


def site():
    """Build a site with PostgreSQL, Redis, OpenAI's stand-in, and limits that are counted."""
    from flask import Flask
    from werkzeug.middleware.proxy_fix import ProxyFix

    from flask_chatkit import ChatKit

    # Each answer that the database ends is logged by openai-chatkit, with its traceback.
    for name in ("flask_chatkit", "chatkit"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    app = Flask(__name__, instance_path=os.environ["BENCH_INSTANCE"])
    app.wsgi_app = ProxyFix(app.wsgi_app)
    app.config.update(
        SECRET_KEY="bench" * 8,
        CHATKIT_API_KEY="sk-bench",
        CHATKIT_API_BASE=os.environ["BENCH_OPENAI"],
        CHATKIT_DATABASE_URI=os.environ["BENCH_DATABASE"],
        CHATKIT_RATELIMIT_STORAGE_URI=os.environ["BENCH_REDIS"],
        # Counted all the same.
        CHATKIT_RATELIMIT="1000000/minute",
        CHATKIT_RATELIMIT_IP="1000000/minute",
        CHATKIT_MESSAGE_RATELIMIT="1000000/minute",
    )
    kit = ChatKit()
    kit.add_server("default", Talker)
    kit.add_hosted("sales", workflow_id="wf_bench")
    app.register_blueprint(kit)
    return app
