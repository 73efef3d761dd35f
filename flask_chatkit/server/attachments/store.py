"""Attachments of served chats: checked while they stream in, owned by their visitor.

An upload has two halves, because a request's body can be read only in the request's own thread,
while the store is asked on the loop that runs the answers:

* in the view's thread, :meth:`Attachments.keep` copies the body to its place and counts it;
* on the loop, :meth:`Attachments.receive` (direct) or :meth:`Attachments.fill` (two-phase) finds
  out what came, and saves it in the store, or removes the bytes again.

Direct: ``keep(stream)``, then ``receive(kept, name, type, context)``. Two-phase: ChatKit calls
``attachments.create``, then ``expect(id, context)``, ``keep(stream, expected)`` and
``fill(kept, context)``. Until the second half is done, nobody can read the bytes.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
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
from .links import Links
from .pictures import WatchedPicture

logger = logging.getLogger("flask_chatkit")

#: Seconds that the visitor's own browser keeps a file.
_CACHE_SECONDS = 3600


@dataclass(frozen=True)
class Kept:
    """Bytes that have come, and of which the store does not know yet.

    :param attachment_id: the attachment they are for, and their key.
    :param size: how many they are.
    :param head: the first of them.
    :param is_whole: whether it is no damaged picture.
    """

    attachment_id: str
    size: int
    head: bytes = field(repr=False)
    is_whole: bool = True


@dataclass(frozen=True)
class Served:
    """A file that its visitor may have.

    :param mime_type: what it is, by its bytes.
    :param name: its name, clean.
    :param size: bytes.
    :param inline: whether it may be shown in place; else it is saved.
    :param open: opens it to read, in any thread; raises ``NotFound`` if the bytes are gone.
    :param key: under which it is kept.
    """

    mime_type: str
    name: str
    size: int
    inline: bool
    open: Callable[[], BinaryIO] = field(repr=False)
    key: str = ""


class Attachments(AttachmentStore[ChatContext]):
    """The attachments of one kit's served chats.

    :param files: where the bytes are.
    :param links: signs the links to them.
    :param store_of: tells the store, which knows whose an attachment is; may be set later.
    :param max_bytes: bytes of one attachment; those of ``files`` by default.
    :param max_count: attachments of one message.
    :param accept: suffixes by MIME type, as in ChatKit's ``composer.attachments.accept``; None
        accepts all.
    :raises ConfigurationError: ``accept`` is not of that form.
    """

    def __init__(
        self,
        files: Files,
        links: Links,
        store_of: Callable[[], Store[ChatContext]] | None = None,
        *,
        max_bytes: int | None = None,
        max_count: int = 10,
        accept: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.store_of = store_of
        self.max_bytes = files.max_bytes if max_bytes is None else min(max_bytes, files.max_bytes)
        self.max_count = max_count
        self._files = files
        self.links = links
        self._accept = Accept(accept)

    # What the package calls

    def generate_attachment_id(self, mime_type: str, context: ChatContext) -> str:  # noqa: ARG002 - the package's signature
        """A new id, of 128 random bits: the package's own has 32."""
        return new_id("attachment")

    async def create_attachment(
        self,
        input: AttachmentCreateParams,  # noqa: A002 - the package's name
        context: ChatContext,
    ) -> Attachment:
        """Announce a file, the first of two phases; the package saves what is returned.

        :raises TooLarge: it is to be larger than ``max_bytes``.
        :raises BadRequest: it is to be empty, or of a kind that is not accepted.
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
        await asyncio.to_thread(self._files.check_room, input.size)
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
        """Remove the bytes; the package removes the rest.

        :raises chatkit.store.NotFoundError: it is not this visitor's.
        """
        attachment = await self._store.load_attachment(attachment_id, context)
        if _is_ours(attachment):
            await asyncio.to_thread(self._files.delete, attachment.id)

    # Uploads

    def check_room(self, size: int) -> None:
        """Check that there is room for so many bytes; see :meth:`Files.check_room`; blocks."""
        self._files.check_room(size)

    async def expect(self, attachment_id: str, context: ChatContext) -> Attachment:
        """The announced attachment whose bytes may come now.

        :raises NotFound: there is none for this visitor.
        :raises BadRequest: its bytes have come already.
        """
        attachment = await self._load(attachment_id, context)
        if self.is_uploaded(attachment):
            raise _came_already()
        return attachment

    def keep(self, stream: Readable, expected: Attachment | None = None) -> Kept:
        """Copy a request's body to its place: blocks, and runs in the thread of the request.

        :param expected: the announced attachment; None for a direct upload.
        :raises TooLarge: more than ``max_bytes`` came.
        :raises BadRequest: nothing came, more than was announced, or it is not the first time.
        """
        picture = WatchedPicture(stream)
        if expected is None:
            key = new_id("attachment")
            size, head = self._files.write(key, picture, self.max_bytes)
            return Kept(key, size, head, picture.is_whole)
        announced = (expected.metadata or {}).get("size", self.max_bytes)
        try:
            size, head = self._files.write(expected.id, picture, min(announced, self.max_bytes))
        except FileExistsError:
            raise _came_already() from None
        except TooLarge:
            if announced >= self.max_bytes:
                raise
            raise BadRequest(
                "More came than was announced. Remove the file and attach it again.",
                refusal="file_refused",
            ) from None
        return Kept(expected.id, size, head, picture.is_whole)

    async def receive(
        self, kept: Kept, name: str | None, claimed_type: str | None, context: ChatContext
    ) -> Attachment:
        """Save a direct upload in the store; the bytes are removed if that fails.

        :param name: the file's name, as the browser tells it.
        :param claimed_type: its MIME type, as the browser tells it.
        :raises BadRequest: files of its kind are not accepted.
        """
        async with self._bytes_or_nothing(kept):
            name = clean_name(name)
            attachment = await self._identify(kept, name, claimed_type, context)
            await self._store.save_attachment(attachment, context)
        return attachment

    async def fill(self, kept: Kept, context: ChatContext) -> Attachment:
        """Save the second phase in the store; the bytes are removed if that fails.

        :raises NotFound: there is no such attachment for this visitor.
        :raises BadRequest: files of its kind are not accepted, or it was filled before.
        """
        async with self._bytes_or_nothing(kept):
            pending = await self._load(kept.attachment_id, context)
        if self.is_uploaded(pending):
            # Not within: the bytes that would be removed are the ones that count.
            raise _came_already()
        async with self._bytes_or_nothing(kept):
            attachment = await self._identify(kept, pending.name, pending.mime_type, context)
            attachment = attachment.model_copy(update={"thread_id": pending.thread_id})
            await self._store.save_attachment(attachment, context)
        return attachment

    def adopt(
        self, key: str, data: bytes, name: str, claimed_type: str, context: ChatContext
    ) -> Attachment:
        """Keep a file that the visitor sent elsewhere, once; blocks. The store is not asked.

        :param key: its id; a file of that id that is there stays as it is.
        :raises BadRequest: it is empty, or not whole.
        :raises TooLarge: it has more than ``max_bytes``.
        """
        name = clean_name(name)
        picture = WatchedPicture(io.BytesIO(data))
        try:
            size, head = self._files.write(key, picture, self.max_bytes)
        except FileExistsError:
            size, head = len(data), data[:HEAD]
        kind = sniff(head, name, claimed_type)
        if kind in INLINE and not picture.is_whole:
            self._files.delete(key)
            raise _damaged()
        return self._build(key, name, kind, {"uploaded": True, "size": size}, context)

    def discard(self, kept: Kept) -> None:
        """Remove bytes that came and that nobody will receive; blocks, as :meth:`keep` does."""
        self._files.delete(kept.attachment_id)

    # Downloads

    async def open_for(self, attachment_id: str, context: ChatContext) -> Served:
        """A file for its visitor.

        :raises NotFound: there is none for this visitor, or its bytes have not come.
        """
        attachment = await self._load(attachment_id, context)
        if not _is_ours(attachment) or not self.is_uploaded(attachment):
            raise NotFound("There is no such file.")
        key = attachment.id
        return Served(
            mime_type=attachment.mime_type,
            name=clean_name(attachment.name),
            size=(attachment.metadata or {})["size"],
            inline=attachment.mime_type in INLINE,
            open=lambda: self._files.open(key),
            key=key,
        )

    @property
    def files(self) -> Files:
        """Where the bytes are."""
        return self._files

    async def read(self, attachment: Attachment, context: ChatContext) -> bytes:
        """All bytes of a file, for an agent; ``max_bytes`` at most.

        :raises NotFound: it is not this visitor's, or its bytes are not there.
        """
        await self.open_for(attachment.id, context)
        return await asyncio.to_thread(self._files.read, attachment.id)

    # What the chat's other parts ask

    def present(self, attachment: Attachment, context: ChatContext) -> Attachment:
        """The attachment with fresh links, which its visitor may be told.

        Those that were not made here, by a server that was there before, stay as they are.
        """
        if not _is_ours(attachment):
            return attachment
        update: dict[str, Any] = {}
        if isinstance(attachment, ImageAttachment):
            update["preview_url"] = AnyUrl(self.links.url(attachment.id, context))
        if attachment.upload_descriptor is not None:
            url = AnyUrl(self.links.url(attachment.id, context, purpose="write"))
            update["upload_descriptor"] = attachment.upload_descriptor.model_copy(
                update={"url": url}
            )
        return attachment.model_copy(update=update)

    def is_uploaded(self, attachment: Attachment) -> bool:
        """Whether the bytes have come."""
        return bool((attachment.metadata or {}).get("uploaded", True))

    def check_message(self, attachments: Sequence[Attachment]) -> None:
        """Check the attachments of a message that a visitor sends.

        :raises BadRequest: they are too many, or the bytes of one have not come.
        """
        if len(attachments) > self.max_count:
            raise BadRequest(f"A message takes {self.max_count} files at most.")
        for attachment in attachments:
            if not self.is_uploaded(attachment):
                raise BadRequest(
                    f"The file {attachment.name} was not uploaded completely. Remove it and "
                    "attach it again."
                )

    async def forget(self, attachments: Iterable[Attachment], context: ChatContext) -> None:  # noqa: ARG002 - as all that touches a visitor's data
        """Remove the bytes of attachments that the store has deleted."""
        for attachment in attachments:
            if not _is_ours(attachment):
                continue
            try:
                await asyncio.to_thread(self._files.delete, attachment.id)
            except Exception:
                # The others must go as well, and what refers to them is gone already.
                logger.exception("The bytes of the attachment %s stay", attachment.id)

    @property
    def _store(self) -> Store[ChatContext]:
        if self.store_of is None:
            raise RuntimeError("set store_of before attachments are used")
        return self.store_of()

    async def _load(self, attachment_id: str, context: ChatContext) -> Attachment:
        try:
            return await self._store.load_attachment(attachment_id, context)
        except NotFoundError:
            raise NotFound("There is no such file.") from None

    async def _identify(
        self, kept: Kept, name: str, claimed: str | None, context: ChatContext
    ) -> Attachment:
        kind = await asyncio.to_thread(sniff, kept.head, name, claimed)
        self._accept.check(kind, name)
        if kind in INLINE and not kept.is_whole:
            raise _damaged()
        metadata = {"uploaded": True, "size": kept.size}
        return self._build(kept.attachment_id, name, kind, metadata, context)

    def _build(
        self, key: str, name: str, kind: str, metadata: dict[str, Any], context: ChatContext
    ) -> FileAttachment | ImageAttachment:
        # ChatKit shows an image's preview in place, so only what may be shown there is an image.
        if kind not in INLINE:
            return FileAttachment(id=key, name=name, mime_type=kind, metadata=metadata)
        preview = AnyUrl(self.links.url(key, context))
        return ImageAttachment(
            id=key, name=name, mime_type=kind, metadata=metadata, preview_url=preview
        )

    @asynccontextmanager
    async def _bytes_or_nothing(self, kept: Kept) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await asyncio.to_thread(self.discard, kept)
            raise


def headers_for(served: Served) -> dict[str, str]:
    """The headers under which a file is safe to answer with, whatever is in it."""
    return {
        "Content-Type": served.mime_type,
        "Content-Disposition": disposition(served.name, inline=served.inline),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        # ChatKit's frame, which shows the pictures, is of another site.
        "Cross-Origin-Resource-Policy": "cross-origin" if served.inline else "same-origin",
        "Cache-Control": f"private, max-age={_CACHE_SECONDS}",
    }


def _is_ours(attachment: Attachment) -> bool:
    """Whether the attachment was made here, and its bytes are in our files."""
    return "uploaded" in (attachment.metadata or {})


def _damaged() -> BadRequest:
    return BadRequest(
        "This picture is damaged or incomplete. Please choose another one.", refusal="file_refused"
    )


def _came_already() -> BadRequest:
    return BadRequest("This file was uploaded already.", refusal="file_refused")
