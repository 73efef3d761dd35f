"""Everything that openai-chatkit allows in a widget is taken by the server, too."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("chatkit")

from chatkit.types import WidgetItem

from flask_chatkit.server.assistants.widgets import as_widget
from flask_chatkit.server.protocol.widget_actions import used_action, widget_actions
from tests.helpers.widget_gallery import GALLERY


@pytest.mark.parametrize("name", GALLERY)
def test_gallery_is_taken_as_it_is(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """No component or property of the schema is refused, or warned of as misspelled."""
    caplog.set_level(logging.WARNING)
    for widget in GALLERY[name]:
        root = widget if widget["type"] != "Form" else {"type": "Card", "children": [widget]}
        assert as_widget(root).type == root["type"]
    assert caplog.records == []


def test_lines_of_an_editable_text_are_taken() -> None:
    """What a visitor writes into an editable text reaches the site with its line breaks."""
    text = {"type": "Text", "value": "Dear", "editable": {"name": "mail.body"}}
    confirm = {"label": "Send", "action": {"type": "send", "payload": {"to": "ann"}}}
    card = {"type": "Card", "asForm": True, "children": [text], "confirm": confirm}
    item = WidgetItem(
        id="w", thread_id="t", created_at="2026-01-01T00:00:00Z", widget=as_widget(card)
    )
    assert [action.fields for action in widget_actions(item)] == [{"mail.body"}]
    sent = {"to": "ann", "mail": {"body": "Dear\nAnn"}}
    assert used_action(item, "send", sent)[1] == sent
