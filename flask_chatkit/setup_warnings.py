"""What the log says, once a process, about a kit that is not set up completely."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from flask import current_app

from .chats.hosted import HostedChat
from .chats.served import Chat, ServedChat
from .config import Settings, signing_keys
from .errors import ConfigurationError
from .hosted.client import WORKFLOWS_END
from .startup_checks import unwritable, uwsgi_problems

logger = logging.getLogger("flask_chatkit")

#: Different warnings that are logged: a fault of a page may contain what changes with each visitor.
MAX_LOGGED = 100


class SetupWarnings:
    """The warnings of one kit on one application, each logged once.

    :param kit: the kit's full name.
    :param settings: the kit's settings.
    """

    def __init__(self, kit: str, settings: Settings) -> None:
        self._kit = kit
        self._settings = settings
        self._logged: set[str] = set()

    def _is_first(self, warning: str) -> bool:
        is_first = warning not in self._logged
        self._logged.add(warning)
        return is_first

    def sunset(self, chats: Iterable[Chat]) -> None:
        """Warn that hosted chats end."""
        chat = next((chat for chat in chats if isinstance(chat, HostedChat)), None)
        if chat is not None and self._is_first("sunset"):
            logger.warning(
                "Chats of the kit %r, such as %r, are hosted by OpenAI, which ends hosted "
                "workflows on %s. Set CHATKIT_SERVER in place of CHATKIT_WORKFLOW_ID to replace "
                "them with a chat that the site serves itself",
                self._kit,
                chat.name,
                WORKFLOWS_END,
            )

    def other_key(self) -> None:
        """Warn that a visitor's cookie or token was recently signed with an unknown key."""
        if self._is_first("other key"):
            logger.warning(
                "A cookie or token of the kit %r was recently signed with a key that this process "
                "does not have, and is left alone. If SECRET_KEY is being changed: deploy the new "
                "one in SECRET_KEY_FALLBACKS first",
                self._kit,
            )

    def csrf(self) -> None:
        """Warn that a CSRF check of the site refuses calls of the kit."""
        if self._is_first("csrf"):
            logger.warning(
                "A CSRF check of the site refused a call of the kit %r, which needs no token: its "
                "calls are JSON of the same origin. Flask-WTF: csrf.exempt(chatkit); another "
                "check: leave the kit's URLs out of it",
                self._kit,
            )

    def left_out(self, fault: str) -> None:
        """Log that a page lacks its widget, each fault once.

        :param fault: what is wrong with the macro's call.
        """
        if len(self._logged) < MAX_LOGGED and self._is_first(fault):
            logger.error("A page shows no chat (see CHATKIT_STRICT_OPTIONS): %s", fault)

    def first_use(
        self, chats: Collection[Chat], *, has_store: bool, strays: Iterable[str] = ()
    ) -> None:
        """Log what will not work, when a page or a call first uses the kit.

        Only then is everything set up: an application may set its secret key after registering
        the kit.

        :param has_store: whether the site passed a store to the kit.
        :param strays: functions that no chat calls, in a clause each.
        """
        self.sunset(chats)
        settings = self._settings
        try:
            changed = settings.changed_keys(Settings.from_config(current_app.config))
            has_keys = bool(signing_keys(current_app.config))
        except ConfigurationError as error:
            changed, has_keys = [str(error)], True
        if changed:
            logger.warning(
                "%s changed after the kit %r was registered, and had no effect: configure first",
                ", ".join(changed),
                self._kit,
            )
        if not settings.enabled:
            return
        for stray in strays:
            logger.error("%s", stray)
        served = [chat for chat in chats if isinstance(chat, ServedChat)]
        missing = [] if has_keys else ["SECRET_KEY"]
        if len(served) < len(chats) and not settings.api_key:
            missing.insert(0, "CHATKIT_API_KEY (or OPENAI_API_KEY)")
        if missing and chats:
            logger.error("No chat can be started: %s is not set", " and ".join(missing))
        if served:
            for problem in (*uwsgi_problems(), *self._unwritable(served, has_store=has_store)):
                logger.error("%s", problem)

    def _unwritable(self, served: Collection[ServedChat], *, has_store: bool) -> Iterator[str]:
        """What cannot be stored in the instance folder, and the setting for another place."""
        trouble, settings = unwritable(Path(current_app.instance_path)), self._settings
        if trouble and not has_store and settings.database_uri is None:
            yield f"The history can't be kept: {trouble}. Set CHATKIT_DATABASE_URI"
        takes_files = any(chat.attachments_accepted is not None for chat in served)
        if trouble and takes_files and settings.upload_folder is None:
            yield f"Files can't be taken: {trouble}. Set CHATKIT_UPLOAD_FOLDER"
