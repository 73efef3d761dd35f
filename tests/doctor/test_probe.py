"""Probes: what a running site answers to the doctor, and to nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_chatkit.identity.probes import HEADER, Probes
from tests.helpers.doctor import STRONG, served_kit
from tests.helpers.sites import Browser, told

Make = Callable[..., Flask]
Browse = Callable[[Any], Browser]
KEY = STRONG.encode()


@pytest.fixture
def site(production: Make, browse: Browse) -> Browser:
    """A browser on a running site."""
    return browse(production(served_kit()))


def signed(purpose: Any = "look", key: bytes = KEY, kit: str = "chatkit") -> dict[str, str]:
    """The header of a probe."""
    return {HEADER: Probes([key], kit).sign(purpose)}


def test_site_says_what_arrived(site: Browser) -> None:
    """A genuine probe is answered with what the application saw, and nothing secret."""
    answer = site.get("/chatkit/config", headers=signed())
    seen = answer.json()
    assert site.base == f"{seen['scheme']}://{seen['host']}"
    assert seen["address"] == "127.0.0.1"
    assert seen["threads"] is True
    assert seen["counts_in_memory"] is True
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert STRONG not in answer.text


@pytest.mark.parametrize("path", ["/chatkit/config", "/chatkit/api", "/chatkit/secret"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        "look",
        "look-0123456789abcdef.aaaaaa." + "A" * 64,
        signed(key=b"another key")[HEADER],
        signed(kit="staff")[HEADER],
        signed()[HEADER].replace("look-", "body-"),
    ],
    ids=["empty", "unsigned", "made-up", "other-key", "other-kit", "other-purpose"],
)
def test_strangers_probes_are_refused(site: Browser, path: str, value: str) -> None:
    """A probe that this site's key has not signed is refused, on each call."""
    method = "GET" if path.endswith("config") else "POST"
    answer = site.request(method, path, headers={HEADER: value})
    body = told(answer, 401, "unauthenticated")
    assert "probe" in body["message"]
    assert "Set-Cookie" not in answer.headers


def test_probes_are_good_for_five_minutes(site: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe of six minutes ago is refused, and so is one of a clock that is far ahead."""
    real = time.time
    for seconds, status in ((-360, 401), (-240, 200), (0, 200), (240, 200), (360, 401)):
        monkeypatch.setattr(time, "time", lambda shift=seconds: real() + shift)
        header = signed()
        monkeypatch.setattr(time, "time", real)
        assert site.get("/chatkit/config", headers=header).status_code == status, seconds


def test_bodies_are_counted_and_not_kept(site: Browser, tmp_path: Any) -> None:
    """A body is counted to the last byte of the limit, and refused with one more."""
    limit = 10 * 2**20 + 64 * 1024
    url = "/chatkit/attachments"
    assert site.post(url, data=bytes(limit), headers=signed("body")).json() == {"bytes": limit}
    told(site.post(url, data=bytes(limit + 1), headers=signed("body")), 413, "too_large")
    assert not (tmp_path / "files").exists()


def test_stream_is_an_answers(site: Browser) -> None:
    """The stream has the headers of a served chat's answer, and five events."""
    answer = site.post("/chatkit/api", data=b"", headers=signed("stream"))
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.text.count("data: ") == 5


def test_kit_that_is_switched_off_answers_none(production: Make, browse: Browse) -> None:
    """A kit that is switched off answers a probe with 404, like everything."""
    site = browse(production(served_kit(), CHATKIT_ENABLED=False))
    assert site.get("/chatkit/config", headers=signed()).status_code == 404
