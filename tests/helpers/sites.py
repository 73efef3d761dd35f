"""What the tests are written with: the types of fixtures, a browser's habits, one check."""

from __future__ import annotations

from typing import Any, Protocol

import requests
from flask import Flask

from flask_chatkit import ChatKit


class MakeApp(Protocol):
    """How the fixture `make_app` is called."""

    def __call__(self, kit: ChatKit | None = None, /, **config: Any) -> Flask:
        """Make a site whose chats are minted by the stand-in; keywords are its configuration."""
        ...


class Serve(Protocol):
    """How the fixture `serve` is called."""

    def __call__(self, app: Any) -> str:
        """Serve a WSGI app over real HTTP; the base URL, without a slash."""
        ...


class Browser(requests.Session):
    """A browser on a site: it keeps cookies, and speaks JSON."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base
        self.trust_env = False

    def request(self, method: str, url: str, **more: Any) -> requests.Response:  # type: ignore[override]
        """Ask the site, without following redirects."""
        if method.upper() == "POST" and not {"json", "data", "headers"} & set(more):
            more["json"] = {}
        return super().request(
            method, self.base + url, **{"timeout": 10, **more, "allow_redirects": False}
        )

    def mint(self, prefix: str = "/chatkit") -> dict[str, Any]:
        """Mint, and be sure of it."""
        answer = self.post(f"{prefix}/secret")
        assert answer.status_code == 200, answer.text
        return answer.json()


def told(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    """Check an answer against the contract for errors."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"error", "message"}
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["error"]["code"] == code
    assert body["error"]["message"] == body["message"] != ""
    return body
