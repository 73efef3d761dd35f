"""``…/attachments`` of a served chat: uploads and downloads over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from chatkit.store import NotFoundError
from chatkit.types import Attachment
from flask import Request, Response, current_app
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout
from werkzeug.wsgi import wrap_file

from ...errors import BadRequest, NotFound, RateLimited, UpstreamTimeout
from ...limits.bodies import in_time
from ...limits.budget import Budget
from ...parsers import REDIRECT, X_SENDFILE
from ..context import ChatContext
from ..history.outages import raise_outage
from ..streaming.loop import LoopTimeout
from ..streaming.run import run_sync
from .capacity import FULL, not_stored
from .files import too_large
from .links import Purpose
from .store import Attachments, Served, Written, headers_for

T = TypeVar("T")

#: Bytes per chunk of a file.
CHUNK = 64 * 1024
#: Bytes that a form may have beside its file.
FORM = 64 * 1024
#: Seconds for which a signed URL of an object store is valid.
SIGNED_SECONDS = 600
#: Seconds that the store may take.
STORE_SECONDS = 30.0


class Uploads:
    """The files of one served chat, over HTTP.

    :param attachments: the chat's attachments.
    :param sendfile: what sends files instead of Flask, as in ``CHATKIT_SENDFILE``; None for
        nothing.
    """

    def __init__(self, attachments: Attachments, sendfile: str | None = None) -> None:
        self._attachments = attachments
        self._sendfile = sendfile

    def linked(self, link: str, attachment_id: str, chat: str, *, writes: bool) -> str:
        """The owner for whom a link was signed.

        :raises NotFound: the link is forged, expired or for something else.
        """
        purpose: Purpose = "write" if writes else "read"
        owner = self._attachments.links.read(link, attachment_id, chat, purpose=purpose)
        if owner is None:
            raise NotFound("This link has expired. Please reload the page.")
        return owner

    @property
    def max_bytes(self) -> int:
        """The maximum size of a file, in bytes."""
        return self._attachments.max_bytes

    def receive(self, request: Request, context: ChatContext, budget: Budget) -> Response:
        """Receive a file in one call: the field ``file`` of a form.

        :param budget: the quotas against which its bytes are counted.
        :raises BadRequest: there is no file, or its type is not accepted.
        :raises TooLarge: the file is too large.
        :raises UpstreamUnavailable: there is no room for it.
        """
        request.max_content_length = self.max_bytes + FORM
        size = request.content_length
        if not size and (size == 0 or not _has_body(request)):
            raise _no_file()
        # Without a length, the largest is assumed.
        size = self.max_bytes if size is None else size
        if size > request.max_content_length:
            raise too_large(self.max_bytes)
        self._attachments.check_room(size)
        budget.check_bytes(size)
        file = self._read_form(request)
        if file is None:
            raise _no_file()
        written = self._attachments.write(file.stream)
        try:
            # Other uploads of the same visitor may have ended meanwhile.
            budget.check_bytes(written.size)
        except RateLimited:
            self._attachments.discard(written)
            raise
        receive = self._attachments.receive
        response = self._saved(
            written, context, lambda: receive(written, file.filename, file.mimetype, context)
        )
        budget.count_bytes(written.size)
        return response

    def _read_form(self, request: Request) -> FileStorage | None:
        """The form's field ``file``, if it has one."""
        try:
            with in_time(request, self.max_bytes + FORM):
                return request.files.get("file")
        except RequestEntityTooLarge:
            raise too_large(self.max_bytes) from None
        except RequestTimeout:
            raise
        except OSError as error:
            # A large form is buffered in the folder for temporary files.
            if error.errno in FULL:
                raise not_stored(error) from error
            raise BadRequest("The file did not arrive whole.") from None
        except Exception:  # noqa: BLE001  each server raises its own exception for a broken body
            raise BadRequest("The file did not arrive whole.") from None

    def complete(self, request: Request, attachment_id: str, context: ChatContext) -> Response:
        """Receive the bytes of a file that was announced before.

        :raises NotFound: this visitor has announced no such file.
        :raises BadRequest: it was uploaded already, or its type is not accepted.
        :raises TooLarge: the file is too large.
        :raises UpstreamUnavailable: there is no room for it.
        """
        attachments = self._attachments
        pending = _run(
            context, lambda: attachments.load_pending(attachment_id, context), STORE_SECONDS
        )
        request.max_content_length = attachments.max_bytes + 1
        attachments.check_room(request.content_length or attachments.max_bytes)
        try:
            with in_time(request, attachments.max_bytes):
                written = attachments.write(request.stream, pending)
        except RequestEntityTooLarge:
            raise too_large(attachments.max_bytes) from None
        return self._saved(written, context, lambda: attachments.complete(written, context))

    def _saved(
        self,
        written: Written,
        context: ChatContext,
        save: Callable[[], Coroutine[Any, Any, Attachment]],
    ) -> Response:
        try:
            attachment = _run(context, save, STORE_SECONDS)
        except NotFoundError:
            # All of the visitor's data was deleted meanwhile.
            raise NotFound("There is no such file.") from None
        except LoopTimeout:
            # If saving has not begun, nothing else deletes the bytes.
            self._attachments.discard(written)
            raise UpstreamTimeout("The file could not be stored in time.") from None
        # The metadata is internal.
        body = attachment.model_dump_json(exclude_none=True, context={"exclude_metadata": True})
        return current_app.response_class(body, mimetype="application/json")

    def send(self, request: Request, attachment_id: str, context: ChatContext) -> Response:
        """Send a file.

        :raises NotFound: this visitor has no such file.
        """
        served = _run(
            context, lambda: self._attachments.open_for(attachment_id, context), STORE_SECONDS
        )
        headers = headers_for(served)
        response = self._offload(served, headers["Content-Disposition"])
        if response is None:
            file = served.open()
            body: Any = wrap_file(request.environ, file, CHUNK)
            if request.method == "HEAD":
                # A body that is not sent is not closed.
                file.close()
                body = None
            response = current_app.response_class(body, direct_passthrough=True)
            response.content_length = served.size
        response.headers.update(headers)
        if response.location:
            response.headers["Cache-Control"] = f"private, max-age={SIGNED_SECONDS // 2}"
        return response

    def _offload(self, served: Served, disposition: str) -> Response | None:
        """A response that has the web server or object store send the file; None for neither."""
        files, target = self._attachments.files, self._sendfile
        if target is None:
            return None
        if target == REDIRECT:
            url = files.sign(served.key, SIGNED_SECONDS, served.mime_type, disposition)
            return current_app.response_class(status=302, headers={"Location": url})
        path = files.path(served.key)
        if target == X_SENDFILE:
            return current_app.response_class(headers={X_SENDFILE: str(path)})
        return current_app.response_class(headers={"X-Accel-Redirect": f"{target}{path.name}"})

    def is_uploaded(self, attachment: Attachment) -> bool:
        """Whether the bytes of a file were uploaded."""
        return self._attachments.is_uploaded(attachment)


def _has_body(request: Request) -> bool:
    """Whether a request without a length may have a body."""
    # Some servers end the body themselves, without a length or chunks.
    ends, chunked = "wsgi.input_terminated", "HTTP_TRANSFER_ENCODING"
    return bool(request.environ.get(ends) or request.environ.get(chunked))


def _no_file() -> BadRequest:
    return BadRequest("Send the file as the field 'file' of a multipart/form-data body.")


def _run(context: ChatContext, make: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
    """Run a coroutine on the loop.

    :raises HistoryUnavailable: the database is not available.
    """
    try:
        return run_sync(context, make, seconds)
    except Exception as error:
        raise_outage(error)
        raise
