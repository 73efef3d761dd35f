"""A chat that the site serves itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypedDict

from limits import RateLimitItem

from ..config import Settings
from ..options.read import element_options
from ..parsers import limits
from .callbacks import Callbacks
from .checks import MAX_FILES, SERVED, SERVED_OPTIONS, StateSource, check_declaration
from .hosted import HostedChat


class ServedOptions(TypedDict, total=False):
    """The options of every way to declare a served chat. None, or leaving one out, is the default.

    :param session_seconds: how long a secret is valid, 60 to 86400 seconds; by default an hour.
    :param state_variables: as for hosted chats; available as ``context.state``.
    :param attachments: True, or a mapping with ``max_size`` (bytes), ``max_count``, ``accept``
        (suffixes by MIME type) and ``upload`` (``direct`` or ``two_phase``). It also shows or hides
        the widget's attachment button.
    :param history: whether a visitor may see earlier threads; they are stored in any case.
    :param ratelimit: secrets per visitor, in place of ``CHATKIT_RATELIMIT``.
    :param message_ratelimit: messages per visitor, in place of ``CHATKIT_MESSAGE_RATELIMIT``.
    :param max_message_length: characters of a message, in place of ``CHATKIT_MAX_MESSAGE_LENGTH``.
    :param answer_seconds: in place of ``CHATKIT_ANSWER_SECONDS``.
    :param headers: names of request headers that are passed to the site's code, in
        ``context.headers``.
    :param widget: default options of its macros and its full page.
    """

    session_seconds: int | None
    state_variables: StateSource | None
    attachments: bool | Mapping[str, Any] | None
    history: bool | None
    ratelimit: str | None
    message_ratelimit: str | None
    max_message_length: int | None
    answer_seconds: int | None
    headers: Sequence[str] | None
    widget: Mapping[str, Any] | None


class Backend(NamedTuple):
    """What answers in a served chat; only :mod:`flask_chatkit.server` looks inside.

    :param kind: ``server``, ``agent``, ``workflow``, ``assistant``, or ``path`` for
        ``CHATKIT_SERVER``.
    :param value: a server or a factory of one, an agent, a function, or a path to one of them.
    """

    kind: str
    value: Any


def _per_minute(chat: HostedChat, settings: Settings) -> tuple[RateLimitItem, ...] | None:
    """The messages a minute of a hosted session, as the limit of the served chat in its place."""
    requests = chat.requests_per_minute or settings.session_requests_per_minute
    if requests is None:
        return None
    longer = (item for item in settings.message_ratelimit if item.get_expiry() > 60)
    return (*limits("", f"{requests}/minute"), *longer)


@dataclass(frozen=True, kw_only=True)
class ServedChat:
    """A chat that the site serves itself.

    Made by :meth:`flask_chatkit.ChatKit.add_server`, ``add_agent``, ``assistant`` and by
    ``CHATKIT_SERVER``; the first documents the arguments.

    :param source: what answers.
    """

    name: str
    source: Backend = field(repr=False)
    callbacks: Callbacks = field(default_factory=Callbacks, repr=False)
    session_seconds: int | None = None
    state_variables: StateSource | None = None
    attachments_accepted: Mapping[str, Any] | None = None
    history: bool = True
    titles: Any = True
    ratelimit: tuple[RateLimitItem, ...] | None = None
    message_ratelimit: tuple[RateLimitItem, ...] | None = None
    max_message_length: int | None = None
    answer_seconds: int | None = None
    history_characters: int | None = None
    history_bytes: int | None = None
    look_again: bool = True
    headers: tuple[str, ...] = ()
    context: Callable[..., Any] | None = None
    isolate: bool = True
    page_actions: bool = False
    run_options: Mapping[str, Any] | None = None
    widget: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def declare(
        cls, name: str, source: Backend, callbacks: Callbacks, **declared: Any
    ) -> ServedChat:
        """Check a declaration.

        :raises ConfigurationError: names each argument that is not of the accepted form.
        """
        checked = check_declaration(name, declared, SERVED, SERVED_OPTIONS)
        checked["attachments_accepted"] = checked.pop("attachments", None)
        return cls(name=name, source=source, callbacks=callbacks, **checked)

    @classmethod
    def from_hosted(
        cls, chat: HostedChat, source: Backend, callbacks: Callbacks, settings: Settings
    ) -> ServedChat:
        """The served chat that takes a hosted one's place when ``CHATKIT_SERVER`` is set.

        It keeps its name, widget, limits and switches.
        """
        upload = chat.attachments(settings)
        accepted = upload and {"max_size": upload["maxSize"], "max_count": upload["maxCount"]}
        return cls(
            name=chat.name,
            source=source,
            callbacks=callbacks,
            session_seconds=chat.session_seconds,
            state_variables=chat.state_variables,
            attachments_accepted=accepted,
            history=chat.has_history,
            titles=chat.automatic_thread_titling is not False,
            ratelimit=chat.ratelimit,
            message_ratelimit=_per_minute(chat, settings),
            widget=chat.widget,
        )

    def attachments(self, settings: Settings) -> dict[str, Any] | None:
        """The composer's attachment options that agree with what the endpoint accepts."""
        accepted = self.attachments_accepted
        if accepted is None:
            return None
        return {
            "enabled": True,
            "maxSize": min(accepted.get("max_size", 2**40), settings.max_upload_bytes),
            "maxCount": accepted.get("max_count", MAX_FILES),
            **({"accept": accepted["accept"]} if "accept" in accepted else {}),
        }

    def offers(self, what: str) -> frozenset[str]:
        """The ids of the ``models`` or ``tools`` among which a visitor may choose."""
        return frozenset(choice["id"] for choice in self._composer.get(what) or ())

    @cached_property
    def _composer(self) -> Mapping[str, Any]:
        composer: Mapping[str, Any] = element_options(self.widget, hosted=False).get("composer", {})
        return composer

    @property
    def upload(self) -> str:
        """How files are uploaded: ``direct`` or ``two_phase``."""
        accepted = self.attachments_accepted or {}
        # A server with a file store of its own takes them in two phases only.
        own = getattr(self.source.value, "attachment_store", None) is not None
        return str(accepted.get("upload", "two_phase" if own else "direct"))

    @property
    def has_history(self) -> bool:
        """Whether a visitor may see earlier threads."""
        return self.history

    @property
    def takes_dictation(self) -> bool:
        """Whether the site's code turns speech into text."""
        if self.callbacks.transcribe is not None:
            return True
        if self.source.kind in {"agent", "assistant", "workflow"}:
            return False
        own = getattr(self.source.value, "transcribe", None)
        # The base class's own method only raises. What a path or a function leads to is not known
        # yet: the endpoint checks again.
        return own is None or getattr(own, "__module__", "") != "chatkit.server"


Chat = HostedChat | ServedChat
