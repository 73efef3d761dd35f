"""OpenAI ChatKit on a Flask site: a blueprint, Jinja macros, and nothing to leak."""

from .config import Settings
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
from .kit import ChatKit

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
    "Settings",
    "TooLarge",
    "Unauthenticated",
    "UpstreamRejected",
    "UpstreamTimeout",
    "UpstreamUnavailable",
]
