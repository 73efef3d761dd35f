"""Which calls a served chat accepts, by their parameters and by the visitor's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatkit.server import ChatKitServer

from ...chats.served import ServedChat
from ...config import Settings
from ...errors import BadRequest
from ..assistants.base import BaseAssistantServer, callbacks_of
from .operations import OPERATIONS, Call
from .refusals import Refusal
from .widget_actions import ActionChecks

if TYPE_CHECKING:
    from ..attachments.http import Uploads

#: Items and threads of one page; ChatKit's client asks for fewer.
MAX_LIMIT = 100
#: Characters of a thread's title.
MAX_TITLE = 200
#: Characters of a file's name.
MAX_NAME = 1024
#: Items that one call may give feedback on.
MAX_FEEDBACK = 50

CLOSED = "This conversation is closed. Please start a new one."
LOCKED = "This conversation is locked at the moment."


class CallChecks:
    """The checks of one chat's calls.

    :param chat: its declaration.
    :param server: answers it.
    :param uploads: its files, if the package stores them.
    :param settings: the kit's settings.
    """

    def __init__(
        self,
        chat: ServedChat,
        server: ChatKitServer[Any],
        uploads: Uploads | None,
        settings: Settings,
    ) -> None:
        self._server = server
        self._uploads = uploads
        self._max_length = chat.max_message_length or settings.max_message_length
        self._max_files: int | None = (chat.attachments(settings) or {}).get("maxCount")
        self._offered = {"model": chat.offers("models"), "tool_choice": chat.offers("tools")}
        self._is_ours = isinstance(server, BaseAssistantServer)
        kind = type(server)
        self._actions = ActionChecks(
            callbacks_of(server),
            page_actions=chat.page_actions or bool(getattr(server, "page_actions", False)),
            answers_at_once=kind.sync_action is not ChatKitServer.sync_action,
        )
        self._takes_dictation = chat.callbacks.transcribe is not None or (
            not self._is_ours and kind.transcribe is not ChatKitServer.transcribe
        )
        #: Bytes of the largest body that each operation may have, and that any may have.
        self.limits = {
            name: operation.limit + (6 * self._max_length if operation.carries_text else 0)
            for name, operation in OPERATIONS.items()
        }
        self.max_body = max(
            limit
            for name, limit in self.limits.items()
            if name != "input.transcribe" or self._takes_dictation
        )

    def check(self, call: Call) -> None:
        """Check what needs no history, and clamp the page size that a call asks for.

        :raises BadRequest: a client such as ChatKit's would not send this.
        :raises Refusal: the visitor should read why.
        """
        params = call.params
        if call.operation.is_message:
            self._check_message(params.input)
        elif call.type == "threads.add_structured_input":
            texts = (value for answer in params.input.answers.values() for value in answer.values)
            self._check_length(sum(map(len, texts)))
        elif call.type == "threads.update":
            if not 1 <= len(params.title.strip()) <= MAX_TITLE:
                raise BadRequest(f"A title has 1 to {MAX_TITLE} characters.")
        elif call.type == "items.feedback" and len(params.item_ids) > MAX_FEEDBACK:
            raise BadRequest(f"Feedback on more than {MAX_FEEDBACK} items is not accepted.")
        elif call.type == "attachments.create" and len(params.name) > MAX_NAME:
            raise BadRequest(f"A file's name has at most {MAX_NAME} characters.")
        self._check_offered(call)
        limit = getattr(params, "limit", None)
        if limit is not None and not 1 <= limit <= MAX_LIMIT:
            params.limit = max(1, min(limit, MAX_LIMIT))
            call.body = call.request.model_dump_json().encode()

    def _check_offered(self, call: Call) -> None:
        """Check that this chat has what a call is about: files, dictation, an action."""
        if call.type.startswith("attachments.") and self._server.attachment_store is None:
            raise BadRequest("This chat accepts no files.", refusal="no_files")
        if call.type == "input.transcribe" and not self._takes_dictation:
            raise BadRequest("This chat takes no dictation.", refusal="no_dictation")
        if call.operation.is_action:
            self._actions.check_type(call.params.action.type)

    def _check_message(self, message: Any) -> None:
        parts = [part.text for part in message.content]
        if not message.attachments and not any(part.strip() for part in parts):
            raise BadRequest("The message is empty.")
        self._check_length(sum(map(len, parts)) + len(message.quoted_text or ""))
        if message.attachments:
            if self._server.attachment_store is None:
                raise Refusal("This chat accepts no files.", "no_files")
            most = self._max_files
            if most is not None and len(message.attachments) > most:
                raise Refusal(
                    f"A message can have at most {most} files.",
                    "too_many_files",
                    limit=f"{most} files",
                )
        chosen = message.inference_options
        choices = {
            "model": chosen.model,
            "tool_choice": chosen.tool_choice and chosen.tool_choice.id,
        }
        for name, value in choices.items():
            # The site decides what a visitor may choose, as it pays for it. A server of its own
            # for which no choices are declared decides by itself.
            offered = self._offered[name]
            if value is not None and value not in offered and (offered or self._is_ours):
                raise BadRequest(f"The field 'inference_options.{name}' is none of those on offer.")

    def _check_length(self, length: int) -> None:
        if length > self._max_length:
            raise Refusal(
                f"This message is too long: it has {length:,} characters, and "
                f"{self._max_length:,} are possible. Please shorten it.",
                "too_long",
                limit=f"{self._max_length} characters",
            )

    async def check_history(self, call: Call, context: Any) -> None:
        """Check a call against the visitor's own history, before anything is done.

        The payload of a widget's action becomes the stored one.

        :param context: the one for the site's store.
        :raises NotFoundError: something in it does not exist, or is somebody else's.
        """
        store, params, operation = self._server.store, call.params, call.operation
        if operation.writes_thread or call.type in {"items.feedback", "items.list"}:
            thread = await store.load_thread(params.thread_id, context)
            if operation.writes_thread and thread.status.type != "active":
                kind = thread.status.type
                message = CLOSED if kind == "closed" else LOCKED
                raise Refusal(getattr(thread.status, "reason", None) or message, f"chat_{kind}")
        item = None
        items = [params.item_id] if getattr(params, "item_id", None) else []
        for item_id in [*items, *getattr(params, "item_ids", ())]:
            item = await store.load_item(params.thread_id, item_id, context)
        if operation.is_action:
            is_sync = not operation.streams
            payload = self._actions.check_use(params.action, item, is_sync=is_sync)
            params.action = params.action.model_copy(update={"payload": payload})
            call.body = call.request.model_dump_json().encode()
        await self._check_files(call, context)

    async def _check_files(self, call: Call, context: Any) -> None:
        is_deletion = call.type == "attachments.delete"
        files = getattr(getattr(call.params, "input", None), "attachments", None) or []
        for attachment_id in [call.params.attachment_id] if is_deletion else files:
            attachment = await self._server.store.load_attachment(attachment_id, context)
            if is_deletion or self._uploads is None:
                continue
            if not self._uploads.is_uploaded(attachment):
                raise Refusal(
                    f"The file {attachment.name} has not been uploaded. Please try again.",
                    "file_missing",
                )
