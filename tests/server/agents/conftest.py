"""The model's API and the site that the tests of agents share."""

from __future__ import annotations

from tests.server.agents.test_server import api, dialect, quiet, site

__all__ = ["api", "dialect", "quiet", "site"]
