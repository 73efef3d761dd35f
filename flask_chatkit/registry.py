"""The kits of an application: kept in ``app.extensions["chatkit"]``, never on the kit."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flask.sansio.app import App
from markupsafe import Markup

from .activity import Activity
from .chats.callbacks import Callbacks
from .chats.checks import DEFAULT
from .chats.hosted import HostedChat
from .chats.served import Backend, Chat, ServedChat
from .config import Settings, check_extra
from .errors import ConfigurationError, Misconfigured, NotFound, OptionError
from .hosted.client import Client
from .hosted.threads import HostedThreads
from .identity.cookie import VisitorCookie
from .identity.login import UserLoader
from .identity.probes import Probes
from .identity.sessions import Sessions
from .identity.signing import current_keys
from .identity.token import VisitorToken
from .limits.concurrency import UnderWay
from .limits.ratelimit import RateLimiter
from .setup_warnings import SetupWarnings

if TYPE_CHECKING:
    from .server.served_chats import ServedChats

EXTENSION = "chatkit"


@dataclass
class Declarations:
    """What the code of a site declares on a kit, for every application that registers it.

    :param chats: by name.
    :param callbacks: what is declared beside a served chat, before or after it, by its name.
    :param store: the site's own choice of a store for served chats.
    :param startup: what runs once in each process before the first answer of served chats.
    :param is_frozen: whether the chats were used, after which nothing may be declared.
    """

    chats: dict[str, Chat] = field(default_factory=dict)
    user_loader: UserLoader | None = None
    callbacks: dict[str, Callbacks] = field(default_factory=lambda: defaultdict(Callbacks))
    store: object = None
    startup: list[Callable[[], Any]] = field(default_factory=list)
    is_frozen: bool = False

    def check_open(self, method: str, kit: str) -> None:
        """Refuse a declaration that comes too late, as Flask does.

        :param method: the name of the kit's method.
        :raises AssertionError: the kit was used already.
        """
        if self.is_frozen:
            raise AssertionError(
                f"The setup method '{method}' can no longer be called on the kit '{kit}'. It was "
                "already used by a request, a macro or a command: a change would not apply to all."
                "\nMake sure all imports, decorators, functions, etc. needed to set up the kit are "
                "done before running the application."
            )


class ChatKitState:
    """One kit on one application.

    :param app: the application.
    :param name: the kit's full name there, ``parent.chatkit`` when nested; what ``url_for`` takes.
    :param kit: the kit's own name, which salts what it signs.
    :param declared: what the site declares, until the first request.
    :param settings: the application's settings.
    :param path: where the kit is mounted, without the script root; the visitor cookie's path.
    :param mount: its subdomain and prefix, which no two kits share.
    """

    def __init__(
        self,
        app: App,
        name: str,
        kit: str,
        declared: Declarations,
        settings: Settings,
        path: str,
        mount: tuple[str | None, str],
    ) -> None:
        self.name = name
        self.own_name = kit
        self.declared: Declarations = declared
        self.settings = settings
        self.path = path
        self.mount = mount
        #: The HTML of widgets that were rendered before, by all that it depends on.
        self.rendered: dict[Hashable, Markup] = {}
        #: When this process next checks whether the history is to be pruned (time.monotonic).
        self.prune_at = 0.0
        #: OpenAI's ChatKit API.
        self.client = Client(
            api_key=settings.api_key,
            base=settings.api_base,
            timeout=settings.api_timeout,
            organization=settings.organization,
            project=settings.project,
            at_a_time=settings.api_at_a_time,
        )
        # Under a second name a kit has the same visitors, and so the same quotas.
        twin = next((kit for kit in kits(app).values() if kit.declared is declared), None)
        # Where addresses are not to be distinguished, as behind a proxy that hides them, all of
        # the site's visitors would share one's.
        by_address = settings.limiter_enabled and bool(settings.ratelimit_ip)
        self.limiter: RateLimiter = twin.limiter if twin else RateLimiter(app, name, settings)
        self.under_way: UnderWay = twin.under_way if twin else UnderWay(by_address=by_address)
        self.activity: Activity = twin.activity if twin else Activity(app, kit, lambda: self.chats)
        self._warnings = SetupWarnings(name, settings)
        self._service: ServedChats | None = None
        self._lock = threading.Lock()
        self.is_used = False
        self._warnings.sunset(self._find_chats().values())

    @cached_property
    def chats(self) -> dict[str, Chat]:
        """The kit's chats here, by name: those declared, and the one that the settings imply.

        When they are first needed, nothing more may be declared.
        """
        self.declared.is_frozen = True
        return self._find_chats()

    def _find_chats(self) -> dict[str, Chat]:
        settings = self.settings
        is_implied = settings.workflow_id is not None or settings.server is not None
        implied: dict[str, Chat] = {DEFAULT: HostedChat.declare(DEFAULT)} if is_implied else {}
        return {
            name: self._replaced(chat) for name, chat in {**implied, **self.declared.chats}.items()
        }

    def _replaced(self, chat: Chat) -> Chat:
        """The chat as the settings have it: CHATKIT_SERVER replaces CHATKIT_WORKFLOW_ID."""
        path = self.settings.server
        if path is None or isinstance(chat, ServedChat) or chat.workflow_id is not None:
            return chat
        callbacks = self.declared.callbacks[chat.name]
        return ServedChat.from_hosted(chat, Backend("path", path), callbacks, self.settings)

    @cached_property
    def served(self) -> list[ServedChat]:
        """The chats that the site serves itself."""
        return [chat for chat in self.chats.values() if isinstance(chat, ServedChat)]

    def chat(self, name: str) -> Chat:
        """Return the chat of that name.

        :raises NotFound: there is none.
        :raises Misconfigured: it is hosted, and has no workflow.
        """
        chat = self.chats.get(name)
        if chat is None:
            if name == DEFAULT and not self.chats:
                raise Misconfigured(
                    detail="there is no chat 'default': set CHATKIT_SERVER or CHATKIT_WORKFLOW_ID, "
                    "or declare one"
                )
            raise NotFound("There is no such chat.")
        if isinstance(chat, HostedChat) and not (chat.workflow_id or self.settings.workflow_id):
            raise Misconfigured(
                detail=f"the chat {name!r} has no workflow: pass workflow_id to add_hosted or set "
                "CHATKIT_WORKFLOW_ID, or CHATKIT_SERVER to serve it yourself"
            )
        return chat

    @cached_property
    def hosted_threads(self) -> HostedThreads:
        """The threads of hosted chats, which OpenAI stores."""
        return HostedThreads(self.client)

    def download(self, url: str, most: int) -> bytes:
        """Fetch a file that OpenAI links to; see :meth:`Client.download`.

        :param most: most bytes of it.
        """
        return self.client.download(url, most)

    @cached_property
    def cookie(self) -> VisitorCookie:
        """The visitor cookie."""
        return VisitorCookie(current_keys(), self.own_name, self.settings, self.path)

    @cached_property
    def token(self) -> VisitorToken:
        """The visitor token, for trusted pages of other origins."""
        return VisitorToken(current_keys(), self.own_name, self.settings)

    @cached_property
    def probes(self) -> Probes:
        """The signed probes of ``flask chatkit doctor``."""
        return Probes(current_keys(), self.own_name)

    @cached_property
    def sessions(self) -> Sessions:
        """The kit's sessions."""
        keys = current_keys()
        marks = self.limiter.storage
        return Sessions(keys, self.own_name, self.client, marks, revoked_at=self.revoked_at)

    @property
    def service(self) -> ServedChats:
        """The kit's served chats, which need the packages of the extra.

        :raises Misconfigured: they are not installed.
        """
        if self._service is None:
            try:
                check_extra("a served chat")
            except ConfigurationError as error:
                raise Misconfigured(detail=str(error)) from None
            keys = current_keys()
            with self._lock:
                if self._service is None:
                    from .server.served_chats import ServedChats

                    self._service = ServedChats(
                        self.own_name,
                        self.settings,
                        keys,
                        self.activity,
                        self.limiter.storage,
                        self.declared.store,
                        self.declared.startup,
                    )
        return self._service

    def revoked_at(self, digest: str) -> float | None:
        """When what a visitor was given was last revoked, which only served chats store.

        :param digest: the visitor's digest.
        :returns: Unix seconds; None if never.
        """
        return self.service.revoked_at(digest) if self.served else None

    def warn_other_key(self) -> None:
        """Warn once that a visitor's cookie or token was recently signed with an unknown key."""
        self._warnings.other_key()

    def warn_csrf(self) -> None:
        """Warn once that a CSRF check of the site refuses calls of the kit."""
        self._warnings.csrf()

    def warn_left_out(self, fault: str) -> None:
        """Log that a widget is left out of a page, each fault once."""
        self._warnings.left_out(fault)

    def is_strict(self, app: App) -> bool:
        """Whether a macro with a wrong option raises, rather than render nothing."""
        given = self.settings.strict_options
        return bool(app.debug or app.testing) if given is None else given

    def stray_callbacks(self) -> list[str]:
        """What is declared beside a chat that does not exist, in a clause each."""
        known = ", ".join(sorted(self.chats)) or "none"
        return [
            f"{declared} is declared for the chat {name!r} of the kit {self.name!r}, which does "
            f"not exist; declared chats: {known}"
            for name, callbacks in self.declared.callbacks.items()
            if name not in self.chats
            for declared in callbacks.declared()
        ]

    def first_use(self) -> None:
        """Log once, when a page or a call first uses the kit, what will not work."""
        if not self.is_used:
            self.is_used = True
            has_store = self.declared.store is not None
            strays = self.stray_callbacks()
            self._warnings.first_use(self.chats.values(), has_store=has_store, strays=strays)


def kits(app: App) -> dict[str, ChatKitState]:
    """The kits of an application by full name, in the order of registration."""
    registered: dict[str, ChatKitState] = app.extensions.setdefault(EXTENSION, {})
    return registered


def named_kit(app: App, name: str | None) -> ChatKitState:
    """Return the kit of that name, full or its own; the application's first without one.

    :raises OptionError: there is none; the message names those there are.
    """
    registered = kits(app)
    # A full name is exact; the own name of a kit that is nested comes after it.
    ends = (kit for full, kit in registered.items() if name in {None, full.rpartition(".")[2]})
    kit = registered.get(name or "") or next(ends, None)
    if kit is None:
        raise OptionError(
            f"there is no kit {name!r}; registered: {', '.join(sorted(registered)) or 'none'}"
        )
    kit.first_use()
    return kit
