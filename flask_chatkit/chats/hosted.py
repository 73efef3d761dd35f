"""A chat that OpenAI runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from limits import RateLimitItem

from ..config import Settings
from .checks import (
    HOSTED,
    MAX_FILE_MEGABYTES,
    MAX_FILES,
    StateSource,
    StateVariables,
    check_declaration,
)


@dataclass(frozen=True, kw_only=True)
class HostedChat:
    """A workflow, and the options of each session of it.

    Made by :meth:`flask_chatkit.ChatKit.add_hosted`, which documents the arguments.
    """

    name: str
    workflow_id: str | None = None
    version: str | None = None
    state_variables: StateSource | None = None
    tracing: bool | None = None
    session_seconds: int | None = None
    requests_per_minute: int | None = None
    file_upload: Mapping[str, bool | int] | None = None
    history: Mapping[str, bool | int] | None = None
    automatic_thread_titling: bool | None = None
    ratelimit: tuple[RateLimitItem, ...] | None = None
    widget: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def declare(cls, name: str, **declared: Any) -> HostedChat:
        """Check a declaration.

        :raises ConfigurationError: names each argument that is out of OpenAI's bounds.
        """
        return cls(name=name, **check_declaration(name, declared, HOSTED, frozenset(HOSTED)))

    def session(
        self, user: str, variables: StateVariables | None, settings: Settings
    ) -> dict[str, Any]:
        """The body of ``POST /v1/chatkit/sessions``; what is not set is left to OpenAI.

        :param user: the visitor's namespaced id.
        :param variables: checked state variables.
        :param settings: the kit's settings, the defaults of the chat's own.
        """
        workflow: dict[str, Any] = {"id": self.workflow_id or settings.workflow_id}
        if self.version is not None:
            workflow["version"] = self.version
        if variables:
            workflow["state_variables"] = dict(variables)
        if self.tracing is not None:
            workflow["tracing"] = {"enabled": self.tracing}
        body: dict[str, Any] = {"user": user, "workflow": workflow}
        seconds = self.session_seconds or settings.session_seconds
        if seconds is not None:
            body["expires_after"] = {"anchor": "created_at", "seconds": seconds}
        requests = self.requests_per_minute or settings.session_requests_per_minute
        if requests is not None:
            body["rate_limits"] = {"max_requests_per_1_minute": requests}
        configuration: dict[str, Any] = {}
        if self.automatic_thread_titling is not None:
            configuration["automatic_thread_titling"] = {"enabled": self.automatic_thread_titling}
        if self.file_upload is not None:
            configuration["file_upload"] = dict(self.file_upload)
        if self.history is not None:
            configuration["history"] = dict(self.history)
        if configuration:
            body["chatkit_configuration"] = configuration
        return body

    def attachments(self, _settings: Settings) -> dict[str, Any] | None:
        """The composer's attachment options that agree with the session's upload settings.

        ChatKit's element counts in bytes, the session in megabytes; where the two disagree, uploads
        fail in front of the visitor.
        """
        upload = self.file_upload
        if not upload or not upload["enabled"]:
            return None
        megabytes = upload.get("max_file_size", MAX_FILE_MEGABYTES)
        return {
            "enabled": True,
            "maxSize": megabytes * 1024 * 1024,
            "maxCount": min(upload.get("max_files", MAX_FILES), MAX_FILES),
        }

    @property
    def has_history(self) -> bool:
        """Whether a visitor may see earlier threads."""
        return self.history is None or bool(self.history["enabled"])

    @property
    def takes_dictation(self) -> bool:
        """Whether speech is turned into text: not in hosted chats."""
        return False
