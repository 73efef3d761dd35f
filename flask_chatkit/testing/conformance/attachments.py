"""Tests of a store's attachments."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    Attachment,
    ImageAttachment,
)
from pydantic import AnyUrl

from .checks import Run, same
from .samples import DIFFICULT, new_attachment


class AttachmentTests:
    """Attachments are stored and deleted."""

    def test_attachment_comes_back(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """Attachments are loaded as they were, with the metadata that browsers don't get."""
        image = ImageAttachment(
            id=f"atc_{secrets.token_hex(16)}",
            name=DIFFICULT,
            mime_type="image/png",
            preview_url=AnyUrl("https://shop.example/photo.png"),
        )
        given: list[Attachment] = [new_attachment(metadata={"path": "a/b"}), image]
        for attachment in given:
            run(store.save_attachment(attachment, alice))
            same(run(store.load_attachment(attachment.id, alice)), attachment)

    def test_attachment_is_updated(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """Saving an attachment again replaces it: ChatKit adds the thread when it is sent."""
        attachment = new_attachment(metadata={"path": "a/b"})
        run(store.save_attachment(attachment, alice))
        sent = attachment.model_copy(update={"thread_id": "thr_1"})
        run(store.save_attachment(sent, alice))
        same(run(store.load_attachment(attachment.id, alice)), sent)

    def test_deleted_attachment_is_gone(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """A deleted or missing attachment raises NotFoundError."""
        attachment = new_attachment()
        run(store.save_attachment(attachment, alice))
        run(store.delete_attachment(attachment.id, alice))
        for gone in (attachment.id, f"atc_{secrets.token_hex(16)}"):
            with pytest.raises(NotFoundError):
                run(store.load_attachment(gone, alice))
