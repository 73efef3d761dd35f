"""The model's API and the site that the tests of agents share."""

from __future__ import annotations

from tests.server.test_agent import api, dialect, quiet, site

__all__ = ["api", "dialect", "quiet", "site"]
