"""``…/attachments`` of a served chat: the requests that bring files, and those that fetch them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from chatkit.store import NotFoundError
from chatkit.types import Attachment
from flask import Request, Response, current_app
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import wrap_file

from ..errors import BadRequest, NotFound, UpstreamTimeout
from .attachments import Attachments, Kept, headers_for
from .context import ChatContext
from .files import too_large
from .links import Purpose
from .loop import Late
from .outages import raise_outage
from .within import run_within

T = TypeVar("T")

#: Bytes of a form around its file.
FORM = 64 * 1024
#: Seconds that the store may take.
STORE_SECONDS = 30.0


class Uploads:
    """The files of one served chat, over HTTP.

    :param attachments: where they are kept.
    """

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments

    def linked(self, link: str, attachment_id: str, chat: str, *, writes: bool) -> str:
        """The owner whom a signed link was made for.

        :raises NotFound: the link is not genuine, is too old, or is for something else.
        """
        purpose: Purpose = "write" if writes else "read"
        owner = self._attachments.links.read(link, attachment_id, chat, purpose=purpose)
        if owner is None:
            raise NotFound("This link has expired. Please reload the page.")
        return owner

    def receive(self, request: Request, context: ChatContext) -> Response:
        """Take a file in one call: the field ``file`` of a form.

        :raises BadRequest: there is none, or its kind is not accepted.
        :raises TooLarge: it has too many bytes.
        """
        request.max_content_length = self._attachments.max_bytes + FORM
        try:
            file = request.files.get("file")
        except RequestEntityTooLarge:
            raise too_large(self._attachments.max_bytes) from None
        except Exception:  # noqa: BLE001  each server has an exception of its own for a broken body
            raise BadRequest("The file did not arrive whole.") from None
        if file is None:
            raise BadRequest("Send the file as the field 'file' of a multipart/form-data body.")
        kept = self._attachments.keep(file.stream)
        receive = self._attachments.receive
        return self._saved(
            kept, context, lambda: receive(kept, file.filename, file.mimetype, context)
        )

    def fill(self, request: Request, attachment_id: str, context: ChatContext) -> Response:
        """Take the bytes of a file that was announced before.

        :raises NotFound: it was not, by this visitor.
        :raises BadRequest: it has come already, or its kind is not accepted.
        :raises TooLarge: it has too many bytes.
        """
        attachments = self._attachments
        expected = _run(context, lambda: attachments.expect(attachment_id, context), STORE_SECONDS)
        request.max_content_length = attachments.max_bytes + 1
        try:
            kept = attachments.keep(request.stream, expected)
        except RequestEntityTooLarge:
            raise too_large(attachments.max_bytes) from None
        return self._saved(kept, context, lambda: attachments.fill(kept, context))

    def _saved(
        self, kept: Kept, context: ChatContext, save: Callable[[], Coroutine[Any, Any, Attachment]]
    ) -> Response:
        try:
            attachment = _run(context, save, STORE_SECONDS)
        except NotFoundError:
            # All that the visitor had was deleted meanwhile.
            raise NotFound("There is no such file.") from None
        except Late:
            # It may not even have begun, and then nobody else knows of the bytes.
            self._attachments.discard(kept)
            raise UpstreamTimeout("The file could not be stored in time.") from None
        # What we know of a file beside is nobody else's business.
        said = attachment.model_dump_json(exclude_none=True, context={"exclude_metadata": True})
        return current_app.response_class(said, mimetype="application/json")

    def send(self, request: Request, attachment_id: str, context: ChatContext) -> Response:
        """Hand out a file.

        :raises NotFound: there is none for this visitor.
        """
        served = _run(
            context, lambda: self._attachments.open_for(attachment_id, context), STORE_SECONDS
        )
        response = current_app.response_class(
            wrap_file(request.environ, served.open()), direct_passthrough=True
        )
        response.headers.update(headers_for(served))
        response.content_length = served.size
        return response

    def is_uploaded(self, attachment: Attachment) -> bool:
        """Whether the bytes of a file have come."""
        return self._attachments.is_uploaded(attachment)


def _run(context: ChatContext, make: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
    """Run a coroutine on the loop.

    :raises HistoryUnavailable: the database is not there.
    """
    try:
        return run_within(context, make, seconds)
    except Exception as error:
        raise_outage(error)
        raise
