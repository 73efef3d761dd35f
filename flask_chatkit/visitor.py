"""The former place of :class:`~flask_chatkit.Visitor`; it goes with the next release."""

from __future__ import annotations

import warnings
from typing import Any

from .identity import visitor


def __getattr__(name: str) -> Any:
    """Return a name of the module's new place, with a warning."""
    value = getattr(visitor, name)
    message = "flask_chatkit.visitor is deprecated: import Visitor from flask_chatkit"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return value
