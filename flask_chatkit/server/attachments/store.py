"""Attachments of served chats: checked while they are received, owned by their visitor.

An upload has two halves. A request's body can be read in the request's own thread only, and the
store is called on the event loop:

* in the view's thread, :meth:`Attachments.write` copies the body to its place and counts it;
* on the loop, :meth:`Attachments.receive` (direct) or :meth:`Attachments.complete` (two-phase)
  detects the file's type and saves it in the store, or deletes the bytes again.

Direct: ``write(stream)``, then ``receive(written, name, type, context)``. Two-phase: ChatKit calls
``attachments.create``, then ``load_pending(id, context)``, ``write(stream, pending)`` and
``complete(written, context)``. Until the second half is done, nobody can read the bytes.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from chatkit.store import AttachmentStore, NotFoundError, Store
from chatkit.types import (
    Attachment,
    AttachmentCreateParams,
    AttachmentUploadDescriptor,
    FileAttachment,
    ImageAttachment,
)
from pydantic import AnyUrl

from ...errors import BadRequest, NotFound, TooLarge
from ..context import ChatContext
from ..ids import new_id
from .files import HEAD, Files, Readable, too_large
from .filetypes import INLINE, Accept, clean_name, declared_type, disposition, sniff
from .links import Links, is_ours
from .pictures import WatchedPicture

#: Seconds for which the visitor's browser caches a file.
_CACHE_SECONDS = 3600


@dataclass(frozen=True)
class Written:
    """Bytes that were received, and are not in the history yet.

    :param attachment_id: the attachment's id, which is the key of its bytes.
    :param size: their number.
    :param head: the first of them.
    :param is_whole: False for a damaged picture.
    """

    attachment_id: str
    size: int
    head: bytes = field(repr=False)
    is_whole: bool = True


@dataclass(frozen=True)
class Served:
    """A file that is sent to its visitor.

    :param mime_type: its type, detected from its bytes.
    :param name: its cleaned name.
    :param size: its size in bytes.
    :param inline: whether browsers may display it; other files are downloaded.
    :param open: opens it, in any thread; raises ``NotFound`` if the bytes are gone.
    :param key: the key of its bytes.
    """

    mime_type: str
    name: str
    size: int
    inline: bool
    open: Callable[[], BinaryIO] = field(repr=False)
    key: str = ""


class Attachments(AttachmentStore[ChatContext]):
    """The attachments of one served chat.

    :param files: the bytes.
    :param links: signs the links to them.
    :param store: the history, which has their owners and descriptions.
    :param max_bytes: bytes of one attachment; those of ``files`` by default.
    :param accept: suffixes by MIME type, as in ChatKit's ``composer.attachments.accept``; None
        accepts all.
    :raises ConfigurationError: ``accept`` has another form.
    """

    def __init__(
        self,
        files: Files,
        links: Links,
        store: Store[ChatContext],
        *,
        max_bytes: int | None = None,
        accept: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.files = files
        self.links = links
        self.max_bytes = files.max_bytes if max_bytes is None else min(max_bytes, files.max_bytes)
        self._store = store
        self._accept = Accept(accept)

    def describe_in(self, store: Store[ChatContext]) -> None:
        """Look attachments up in another store: that of the server which a factory made."""
        self._store = store

    # Called by openai-chatkit

    def generate_attachment_id(self, mime_type: str, context: ChatContext) -> str:  # noqa: ARG002 - the package's signature
        """A new id of 128 random bits; openai-chatkit's own have 32."""
        return new_id("attachment")

    async def create_attachment(
        self,
        input: AttachmentCreateParams,  # noqa: A002 - the package's name
        context: ChatContext,
    ) -> Attachment:
        """Announce a file, the first of two phases; openai-chatkit saves the result.

        :raises TooLarge: its announced size exceeds ``max_bytes``.
        :raises BadRequest: its announced size is zero, or its type is not accepted.
        :raises RateLimited: all files together would be too large.
        :raises UpstreamUnavailable: the disk is almost full.
        """
        name = clean_name(input.name)
        kind = declared_type(name, input.mime_type)
        if input.size > self.max_bytes:
            raise too_large(self.max_bytes)
        if input.size < 1:
            raise BadRequest("The file is empty.", refusal="file_refused")
        self._accept.check_declared(kind, name)
        await asyncio.to_thread(self.files.check_room, input.size)
        key = self.generate_attachment_id(kind, context)
        descriptor = AttachmentUploadDescriptor(
            url=AnyUrl(self.links.url(key, context, purpose="write")),
            method="PUT",
            headers={"Content-Type": kind},
        )
        metadata = {"uploaded": False, "size": input.size}
        attachment = self._build(key, name, kind, metadata, context)
        return attachment.model_copy(update={"upload_descriptor": descriptor})

    async def delete_attachment(self, attachment_id: str, context: ChatContext) -> None:
        """Delete the bytes; openai-chatkit deletes the description.

        :raises chatkit.store.NotFoundError: this visitor has no such attachment.
        """
        attachment = await self._store.load_attachment(attachment_id, context)
        if is_ours(attachment):
            await asyncio.to_thread(self.files.delete, attachment.id)

    # Uploads

    def check_room(self, size: int) -> None:
        """Check that there is room for some bytes; see :meth:`Files.check_room`; blocks."""
        self.files.check_room(size)

    async def load_pending(self, attachment_id: str, context: ChatContext) -> Attachment:
        """Load an announced attachment whose bytes may be uploaded now.

        :raises NotFound: this visitor has no such attachment.
        :raises BadRequest: it was uploaded already.
        """
        attachment = await self._load(attachment_id, context)
        if self.is_uploaded(attachment):
            raise _uploaded_already()
        return attachment

    def write(self, stream: Readable, pending: Attachment | None = None) -> Written:
        """Copy a request's body to its place; blocks, in the request's thread.

        :param pending: the announced attachment; None for a direct upload.
        :raises TooLarge: there are more than ``max_bytes`` bytes.
        :raises BadRequest: there are none, more than was announced, or it was uploaded already.
        """
        picture = WatchedPicture(stream)
        if pending is None:
            key = new_id("attachment")
            size, head = self.files.write(key, picture, self.max_bytes)
            return Written(key, size, head, picture.is_whole)
        announced = (pending.metadata or {}).get("size", self.max_bytes)
        try:
            size, head = self.files.write(pending.id, picture, min(announced, self.max_bytes))
        except FileExistsError:
            raise _uploaded_already() from None
        except TooLarge:
            if announced >= self.max_bytes:
                raise
            raise BadRequest(
                "More came than was announced. Remove the file and attach it again.",
                refusal="file_refused",
            ) from None
        return Written(pending.id, size, head, picture.is_whole)

    async def receive(
        self, written: Written, name: str | None, claimed_type: str | None, context: ChatContext
    ) -> Attachment:
        """Save a direct upload in the store; deletes the bytes if that fails.

        :param name: the file's name, as sent by the browser.
        :param claimed_type: its MIME type, as sent by the browser.
        :raises BadRequest: files of its type are not accepted.
        """
        async with self._bytes_or_nothing(written):
            name = clean_name(name)
            attachment = await self._identify(written, name, claimed_type, context)
            await self._store.save_attachment(attachment, context)
        return attachment

    async def complete(self, written: Written, context: ChatContext) -> Attachment:
        """Save the second phase in the store; deletes the bytes if that fails.

        :raises NotFound: this visitor has no such attachment.
        :raises BadRequest: files of its type are not accepted, or it was completed before.
        """
        async with self._bytes_or_nothing(written):
            pending = await self._load(written.attachment_id, context)
        if self.is_uploaded(pending):
            # Outside: the bytes of the completed upload must stay.
            raise _uploaded_already()
        async with self._bytes_or_nothing(written):
            attachment = await self._identify(written, pending.name, pending.mime_type, context)
            attachment = attachment.model_copy(update={"thread_id": pending.thread_id})
            await self._store.save_attachment(attachment, context)
        return attachment

    def adopt(
        self, key: str, data: bytes, name: str, claimed_type: str, context: ChatContext
    ) -> Attachment:
        """Write a file that the visitor has sent elsewhere; blocks, and leaves the store alone.

        :param key: its id; an existing file of that id stays as it is.
        :raises BadRequest: it is empty, or a damaged picture.
        :raises TooLarge: it has more than ``max_bytes`` bytes.
        """
        name = clean_name(name)
        picture = WatchedPicture(io.BytesIO(data))
        try:
            size, head = self.files.write(key, picture, self.max_bytes)
        except FileExistsError:
            size, head = len(data), data[:HEAD]
        kind = sniff(head, name, claimed_type)
        if kind in INLINE and not picture.is_whole:
            self.files.delete(key)
            raise _damaged()
        return self._build(key, name, kind, {"uploaded": True, "size": size}, context)

    def discard(self, written: Written) -> None:
        """Delete bytes that nobody will receive; blocks, like :meth:`write`."""
        self.files.delete(written.attachment_id)

    # Downloads

    async def open_for(self, attachment_id: str, context: ChatContext) -> Served:
        """Find a file for its visitor.

        :raises NotFound: this visitor has no such file, or it was not uploaded.
        """
        attachment = await self._load(attachment_id, context)
        if not is_ours(attachment) or not self.is_uploaded(attachment):
            raise NotFound("There is no such file.")
        key = attachment.id
        return Served(
            mime_type=attachment.mime_type,
            name=clean_name(attachment.name),
            size=(attachment.metadata or {})["size"],
            inline=attachment.mime_type in INLINE,
            open=lambda: self.files.open(key),
            key=key,
        )

    async def read(self, attachment: Attachment, context: ChatContext) -> bytes:
        """Read a file for an agent; at most ``max_bytes`` bytes.

        :raises NotFound: this visitor has no such file, or its bytes are gone.
        """
        await self.open_for(attachment.id, context)
        return await asyncio.to_thread(self.files.read, attachment.id)

    def is_uploaded(self, attachment: Attachment) -> bool:
        """Whether the bytes were uploaded."""
        return bool((attachment.metadata or {}).get("uploaded", True))

    async def _load(self, attachment_id: str, context: ChatContext) -> Attachment:
        try:
            return await self._store.load_attachment(attachment_id, context)
        except NotFoundError:
            raise NotFound("There is no such file.") from None

    async def _identify(
        self, written: Written, name: str, claimed: str | None, context: ChatContext
    ) -> Attachment:
        kind = await asyncio.to_thread(sniff, written.head, name, claimed)
        self._accept.check(kind, name)
        if kind in INLINE and not written.is_whole:
            raise _damaged()
        metadata = {"uploaded": True, "size": written.size}
        return self._build(written.attachment_id, name, kind, metadata, context)

    def _build(
        self, key: str, name: str, kind: str, metadata: dict[str, Any], context: ChatContext
    ) -> FileAttachment | ImageAttachment:
        # ChatKit displays an image's preview, so only what may be displayed is an image.
        if kind not in INLINE:
            return FileAttachment(id=key, name=name, mime_type=kind, metadata=metadata)
        preview = AnyUrl(self.links.url(key, context))
        return ImageAttachment(
            id=key, name=name, mime_type=kind, metadata=metadata, preview_url=preview
        )

    @asynccontextmanager
    async def _bytes_or_nothing(self, written: Written) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await asyncio.to_thread(self.discard, written)
            raise


def headers_for(served: Served) -> dict[str, str]:
    """The headers that make a file safe to send, whatever it contains."""
    return {
        "Content-Type": served.mime_type,
        "Content-Disposition": disposition(served.name, inline=served.inline),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        # ChatKit's frame, which displays the pictures, has another origin.
        "Cross-Origin-Resource-Policy": "cross-origin" if served.inline else "same-origin",
        "Cache-Control": f"private, max-age={_CACHE_SECONDS}",
    }


def _damaged() -> BadRequest:
    return BadRequest(
        "This picture is damaged or incomplete. Please choose another one.", refusal="file_refused"
    )


def _uploaded_already() -> BadRequest:
    return BadRequest("This file was uploaded already.", refusal="file_refused")
