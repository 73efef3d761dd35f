"""A wrong option: an error where a site is made, a page without a chat where it runs."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, render_template_string

from flask_chatkit import ChatKit, OptionError
from tests.helpers.sites import MakeApp

IMPORT = '{% from "chatkit/macros.html" import chatkit_floating, chatkit_inline %}'
WRONG = {
    "option": "chatkit_floating(colour='red')",
    "value": "chatkit_inline(radius='bent')",
    "chat": "chatkit_inline('nobody')",
    "kit": "chatkit_inline(kit='nobody')",
    "label": "chatkit_floating(text='Help', label='Chat')",
}


@pytest.fixture
def page(make_app: MakeApp) -> Any:
    """Make a site with a page that calls a macro, between two words."""

    def make(call: str, kit: ChatKit | None = None, **config: Any) -> Flask:
        app = make_app(kit, **{"TESTING": False, **config})
        app.add_url_rule(
            "/", "home", lambda: render_template_string(IMPORT + "before {{ " + call + " }} after")
        )
        return app

    return make


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "shows no chat" in one.getMessage()]


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_page_without_the_chat_in_production(
    page: Any, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    """In production the page is whole, but for the chat, and the fault is logged once."""
    client = page(call).test_client()
    for _ in range(3):
        assert client.get("/").text == "before  after"
    (line,) = faults(caplog)
    assert "chatkit_" in line
    assert "on /" in line


def test_other_chats_of_the_page_stay(page: Any) -> None:
    """A right call beside a wrong one is rendered as ever."""
    html = (
        page("chatkit_inline(colour='red') ~ chatkit_inline(id='fine')").test_client().get("/").text
    )
    assert html.count("data-chatkit=") == 1
    assert 'id="fine"' in html
    assert "loader." in html


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("mode", ["DEBUG", "TESTING"])
def test_error_where_the_site_is_made(page: Any, call: str, mode: str) -> None:
    """In debug and testing mode the same call raises, naming what is wrong."""
    app = page(call, PROPAGATE_EXCEPTIONS=True, **{mode: True})
    with pytest.raises(OptionError):
        app.test_client().get("/")


@pytest.mark.parametrize(("strict", "debug"), [(True, False), (False, True)])
def test_setting_decides(page: Any, strict: bool, debug: bool) -> None:
    """CHATKIT_STRICT_OPTIONS counts more than the mode."""
    app = page(
        WRONG["option"], CHATKIT_STRICT_OPTIONS=strict, DEBUG=debug, PROPAGATE_EXCEPTIONS=True
    )
    client = app.test_client()
    if strict:
        with pytest.raises(OptionError, match="colour"):
            client.get("/")
    else:
        assert client.get("/").text == "before  after"


def test_full_page_fails_alone(page: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A page that is nothing but the chat is an error; the others are not."""
    kit = ChatKit()
    kit.add_hosted(
        "sales", "wf_standin", history=False, file_upload=False, widget={"attachments": True}
    )
    app = page("chatkit_inline('sales')", kit)
    client = app.test_client()
    assert client.get("/").text == "before  after"
    assert client.get("/chatkit/sales/").status_code == 500
    assert client.get("/chatkit/").status_code == 200
    assert len(faults(caplog)) == 2


def test_log_has_an_end(page: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A fault that is another one with each request does not fill the log."""
    app = page("chatkit_inline('x%s' % request.args.n)")
    client = app.test_client()
    for number in range(120):
        client.get(f"/?n={number}")
    assert 50 < len(faults(caplog)) <= 100
