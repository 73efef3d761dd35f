"""What an answer took, in tokens."""

from __future__ import annotations

from flask_chatkit.server.agents.usage import Usage, current_usage
from tests.helpers.driving import call, said
from tests.helpers.model_api import ModelApi, Say, Use
from tests.server.agents.test_server import Site, look_up


def test_usage_is_counted(site: Site, api: ModelApi, dialect: str) -> None:
    """All calls of an answer count, the title's too, and the next answer begins at nothing."""
    api.replies = [Use([("look_up", {"city": "Bern"})]), Say(["Sunny."]), Say(["Again"])]
    server = site.server(site.agent(dialect, tools=[look_up]), titles=True)

    async def test() -> None:
        assert current_usage() is None
        await call(server, "threads.create", input=said())
        assert current_usage() == Usage(3, 3, 3, 6)
        await call(server, "threads.create", input=said())
        assert current_usage() == Usage(2, 2, 2, 4)

    site.run(test())
