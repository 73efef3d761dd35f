"""OpenAI ChatKit on a Flask site: a blueprint, Jinja macros, and nothing to leak.

.. code-block:: python

    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.register_blueprint(ChatKit())

.. code-block:: jinja

    {% from "chatkit/macros.html" import chatkit_floating %}
    {{ chatkit_floating() }}
"""

from .blueprint import ChatKit
from .errors import (
    ApiError,
    BadRequest,
    ChatKitError,
    ConfigurationError,
    ForbiddenOrigin,
    Misconfigured,
    NotFound,
    OptionError,
    RateLimited,
    TooLarge,
    Unauthenticated,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from .identity.visitor import Visitor

__all__ = [
    "ApiError",
    "BadRequest",
    "ChatKit",
    "ChatKitError",
    "ConfigurationError",
    "ForbiddenOrigin",
    "Misconfigured",
    "NotFound",
    "OptionError",
    "RateLimited",
    "TooLarge",
    "Unauthenticated",
    "UpstreamRejected",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "Visitor",
]
