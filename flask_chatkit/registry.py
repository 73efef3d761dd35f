"""What one kit is on one application: kept in ``app.extensions["chatkit"]``, never on the kit."""

from __future__ import annotations

import inspect
import logging
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from flask import Request, current_app, request
from flask.sansio.app import App
from markupsafe import Markup

from .activity import Activity
from .chats.callbacks import Callbacks
from .chats.declarations import (
    DEFAULT,
    TOKEN_SECONDS,
    Backend,
    Chat,
    HostedChat,
    ServedChat,
)
from .chats.state import state_variables
from .config import Settings, check_extra, signing_keys
from .errors import ConfigurationError, Misconfigured, NotFound, OptionError
from .hosted.client import WORKFLOWS_END, Client
from .hosted.threads import HostedThreads
from .identity.origins import counts_login, token_origin
from .identity.probes import Probes
from .identity.sessions import Minted, Sessions
from .identity.visitor import LONGEST_ID, Visitor, VisitorCookie, VisitorToken
from .limits.concurrency import UnderWay
from .limits.ratelimit import RateLimiter
from .startup_checks import unwritable, uwsgi_problems

if TYPE_CHECKING:
    from .server.served_chats import ServedChats

logger = logging.getLogger("flask_chatkit")

EXTENSION = "chatkit"
#: Where a request's environment has who was found to ask.
VISITOR = "flask_chatkit.visitor"
#: Where it has when what visitors were given was revoked, by their digests.
REVOKED = "flask_chatkit.revoked"

#: Seconds after which a visitor's threads that could not be handed over are tried again.
HAND_OVER_AGAIN = 60
#: Seconds for which it is remembered that they were.
HANDED_OVER = 3600

UserId = str | int | UUID
UserLoader = Callable[[], UserId | None] | Callable[[], Awaitable[UserId | None]]


@dataclass
class Declarations:
    """What the code of a site declares on a kit, for every application that registers it."""

    chats: dict[str, Chat] = field(default_factory=dict)
    user_loader: UserLoader | None = None
    #: What a site declares beside a served chat, by the chat's name, before or after the chat.
    callbacks: dict[str, Callbacks] = field(default_factory=lambda: defaultdict(Callbacks))
    #: The site's own choice of a store for served chats.
    store: object = None
    #: What runs once in each process before the first answer of served chats.
    startup: list[Callable[[], Any]] = field(default_factory=list)


class ChatKitState:
    """One kit on one application.

    :param app: the application.
    :param name: the kit's full name there, ``parent.chatkit`` when nested; what ``url_for`` takes.
    :param kit: the kit's own name, which salts what it signs.
    :param declared: what the site declares, which may still grow.
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
        self.settings = settings
        self.mount = mount
        self.declared: Declarations = declared
        #: The HTML of widgets that were rendered before, by all that it depends on.
        self.rendered: dict[Hashable, Markup] = {}
        # Under a second name a kit has the same visitors, and so the same quotas.
        twin = next((kit for kit in kits(app).values() if kit.declared is declared), None)
        self.quotas: RateLimiter = twin.quotas if twin else RateLimiter(app, name, settings)
        self.under_way: UnderWay = twin.under_way if twin else _under_way(settings)
        self.activity: Activity = twin.activity if twin else Activity(app, kit)
        self.activity.chat_names = lambda: self.chats
        self.own_name = kit
        self._path = path
        self._told_end = False
        self._warned_other_key = False
        self._making = threading.Lock()
        self._service: ServedChats | None = None
        self._used = False
        #: When this process looks again whether the history is to be pruned (time.monotonic).
        self.prune_at = 0.0
        self._client = Client(
            api_key=settings.api_key,
            base=settings.api_base,
            timeout=settings.api_timeout,
            organization=settings.organization,
            project=settings.project,
            at_a_time=settings.api_at_a_time,
        )
        implied = settings.workflow_id is not None or settings.server is not None
        self._implied = HostedChat.declare(DEFAULT) if implied else None
        self._served_instead: dict[int, ServedChat] = {}
        for chat in self.chats.values():
            self._warn_sunset(chat)

    @property
    def chats(self) -> dict[str, Chat]:
        """The kit's chats here: those declared, and the one that the settings imply."""
        implied: dict[str, Chat] = {DEFAULT: self._implied} if self._implied else {}
        chats = {**implied, **self.declared.chats}
        return {name: self._here(chat) for name, chat in chats.items()}

    @property
    def served(self) -> list[ServedChat]:
        """The chats that are served here."""
        return [chat for chat in self.chats.values() if isinstance(chat, ServedChat)]

    def chat(self, name: str) -> Chat:
        """The chat of that name.

        :raises NotFound: there is none.
        :raises Misconfigured: it is hosted, and has no workflow.
        """
        chat = self.declared.chats.get(name)
        if chat is None and name == DEFAULT:
            chat = self._implied
            if chat is None and not self.declared.chats:
                raise Misconfigured(
                    detail="there is no chat 'default': set CHATKIT_SERVER or CHATKIT_WORKFLOW_ID, "
                    "or declare one"
                )
        if chat is None:
            raise NotFound("There is no such chat.")
        chat = self._here(chat)
        if isinstance(chat, HostedChat) and not (chat.workflow_id or self.settings.workflow_id):
            raise Misconfigured(
                detail=f"the chat {name!r} has no workflow: pass workflow_id to add_hosted or set "
                "CHATKIT_WORKFLOW_ID, or CHATKIT_SERVER to serve it yourself"
            )
        self._warn_sunset(chat)
        return chat

    def _here(self, chat: Chat) -> Chat:
        """The chat as the settings have it: CHATKIT_SERVER stands where CHATKIT_WORKFLOW_ID did."""
        path = self.settings.server
        if path is None or isinstance(chat, ServedChat) or chat.workflow_id is not None:
            return chat
        served = self._served_instead.get(id(chat))
        if served is None:
            callbacks = self.declared.callbacks[chat.name]
            served = ServedChat.from_hosted(chat, Backend("path", path), callbacks, self.settings)
            # One object for one declaration: what is remembered of a chat is found by it.
            served = self._served_instead.setdefault(id(chat), served)
        return served

    @cached_property
    def hosted_threads(self) -> HostedThreads:
        """The threads that OpenAI keeps of hosted chats."""
        return HostedThreads(self._client)

    def download(self, url: str, most: int) -> bytes:
        """Fetch a file that OpenAI links to; see :meth:`Client.download`.

        :param most: bytes that it may have.
        """
        return self._client.download(url, most)

    @cached_property
    def cookie(self) -> VisitorCookie:
        """The visitor cookie."""
        return VisitorCookie(self._keys, self.own_name, self.settings, self._path)

    @cached_property
    def token(self) -> VisitorToken:
        """What stands for the cookie on trusted pages of other origins."""
        return VisitorToken(self._keys, self.own_name, self.settings)

    @cached_property
    def probes(self) -> Probes:
        """How ``flask chatkit doctor`` is known to a running site."""
        return Probes(self._keys, self.own_name)

    @property
    def client(self) -> Client:
        """How OpenAI is asked."""
        return self._client

    @property
    def path(self) -> str:
        """Where the kit is mounted, without the script root."""
        return self._path

    @property
    def service(self) -> ServedChats:
        """What served chats are answered with; it needs the packages of the extra.

        :raises Misconfigured: they are not installed.
        """
        if self._service is None:
            try:
                check_extra("a served chat")
            except ConfigurationError as error:
                raise Misconfigured(detail=str(error)) from None
            keys = self._keys
            with self._making:
                if self._service is None:
                    from .server.served_chats import ServedChats

                    self._service = ServedChats(
                        self.own_name,
                        self.settings,
                        keys,
                        self.activity,
                        self.declared.store,
                        self.declared.startup,
                    )
        return self._service

    def transfer_threads(self, chats: Sequence[ServedChat], old: Visitor, new: Visitor) -> bool:
        """Give what an anonymous visitor has said to the login that they signed in with.

        :returns: whether all of it is the login's now. What could not be had is asked for again,
            though not at once: a chat that is broken must not break the others.
        """
        # A browser that keeps the cookie nevertheless must not have it all done at each call.
        done, waiting = (f"{word}-{old.digest}" for word in ("handed-over", "hand-over-failed"))
        if self.quotas.is_marked(done):
            return True
        if self.quotas.is_marked(waiting):
            return False
        is_whole = self.service.transfer_threads(chats, old, new)
        if is_whole:
            self.activity.transferred(old, new)
            self.quotas.mark(done, HANDED_OVER)
        else:
            self.quotas.mark(waiting, HAND_OVER_AGAIN)
        return is_whole

    def mint(self, chat: Chat, visitor: Visitor) -> Minted:
        """Mint a secret for a visitor, hosted or served.

        :raises ApiError: one of the ``Upstream…`` errors, or ``Misconfigured``.
        """
        if isinstance(chat, HostedChat):
            body = chat.session(visitor.key, state_variables(chat, visitor), self.settings)
            minted = self.sessions.mint(chat.name, visitor, body)
        else:
            seconds = chat.session_seconds or self.settings.session_seconds or TOKEN_SECONDS
            minted = self.sessions.mint_token(chat.name, visitor, seconds)
        return minted

    @cached_property
    def sessions(self) -> Sessions:
        """The kit's sessions."""
        return Sessions(
            self._keys, self.own_name, self._client, self.quotas, revoked_at=self.revoked_at
        )

    def revoked_at(self, digest: str) -> float | None:
        """When what a visitor was given was last revoked; only served chats keep that.

        It is read once in a request: what is written for it later compares with that.
        """
        if not self.served:
            return None
        read: dict[str, float | None] = request.environ.setdefault(REVOKED, {})
        if digest not in read:
            read[digest] = self.service.revoked_at(digest)
        return read[digest]

    def identify(self, request: Request) -> Visitor | None:
        """Who is asking: the login, else the owner of the token or the cookie, else None.

        A page of another origin, trusted or not, is its token's visitor and nobody else: neither
        the login nor the cookie is asked for, unless ``CHATKIT_LOGIN_ORIGINS`` lists it. Where a
        token is to tell, a cookie that comes along tells nothing: which of the two came would make
        the visitor another one from call to call.

        :raises Misconfigured: the site's ``user_loader`` returned something unusable.
        """
        visitor = self._identify(request)
        # For what is logged of a request that is refused further on. Not on ``g``, which requests
        # of a test client share inside an application context.
        request.environ[VISITOR] = visitor
        return visitor

    def _identify(self, request: Request) -> Visitor | None:
        loader = cast("Callable[[], object] | None", self.declared.user_loader)
        if loader is not None and counts_login(request, self.settings.login_origins):
            user_id = current_app.ensure_sync(loader)()
            if user_id is not None:
                return Visitor.login(_checked_id(user_id))
        origin = self.token_origin(request)
        if origin is None:
            return self.cookie.read(request)
        return self.token.read(request, origin) if origin else None

    def token_origin(self, request: Request) -> str | None:
        """The origin of a page whose visitor a token tells; see :func:`.origins.token_origin`."""
        settings = self.settings
        return token_origin(request, settings.trusted_origins, settings.login_origins)

    @property
    def has_logins(self) -> bool:
        """Whether visitors may sign in, here or once a hosted chat is served."""
        return self.declared.user_loader is not None

    @property
    def _keys(self) -> list[bytes]:
        try:
            keys = signing_keys(current_app.config)
        except ConfigurationError as error:
            raise Misconfigured(detail=str(error)) from None
        if not keys:
            raise Misconfigured(detail="SECRET_KEY is not set; it signs the visitor cookie")
        return keys

    def require_keys(self) -> None:
        """Check that there is something to sign with.

        :raises Misconfigured: ``SECRET_KEY`` is not set, or a key is not one.
        """
        _ = self.cookie, self.token

    def warn_other_key(self) -> None:
        """Tell the log once that a visitor was signed in the last minutes by an unknown key."""
        if self._warned_other_key:
            return
        self._warned_other_key = True
        logger.warning(
            "A cookie or token of the kit %r was signed in the last minutes with a key that this "
            "process does not have, and is left alone. If SECRET_KEY is being changed: deploy the "
            "new one in SECRET_KEY_FALLBACKS first",
            self.name,
        )

    def _warn_sunset(self, chat: Chat) -> None:
        if not self._told_end and isinstance(chat, HostedChat):
            self._told_end = True
            logger.warning(
                "Chats of the kit %r, such as %r, are hosted by OpenAI, which ends hosted "
                "workflows on %s. One setting, CHATKIT_SERVER in the place of CHATKIT_WORKFLOW_ID, "
                "puts a chat that the site serves itself in theirs",
                self.name,
                chat.name,
                WORKFLOWS_END,
            )

    def first_use(self) -> None:
        """Tell the log once, when a page or a call first uses the kit, what will not work.

        Only now all is set up: an application may set its secret key after registering the kit.
        """
        if self._used:
            return
        self._used = True
        config = current_app.config
        try:
            changed = self.settings.changed_keys(Settings.from_config(config))
            has_keys = bool(signing_keys(config))
        except ConfigurationError as error:
            changed, has_keys = [str(error)], True
        if changed:
            logger.warning(
                "%s changed after the kit %r was registered, and had no effect: configure first",
                ", ".join(changed),
                self.name,
            )
        hosted = any(isinstance(chat, HostedChat) for chat in self.chats.values())
        needs_key = hosted and not self.settings.api_key
        missing = ["CHATKIT_API_KEY (or OPENAI_API_KEY)"] if needs_key else []
        missing += [] if has_keys else ["SECRET_KEY"]
        if missing and self.chats and self.settings.enabled:
            logger.error("No chat can be started: %s is not set", " and ".join(missing))
        if self.served and self.settings.enabled:
            for problem in (*uwsgi_problems(), *self._unwritable_places()):
                logger.error("%s", problem)

    def _unwritable_places(self) -> Iterator[str]:
        """What can't be kept in the instance folder, by the setting that names another place."""
        instance = Path(current_app.instance_path)
        trouble = unwritable(instance)
        settings = self.settings
        if trouble and self.declared.store is None and settings.database_uri is None:
            yield f"The history can't be kept: {trouble}. Set CHATKIT_DATABASE_URI"
        takes_files = any(chat.attachments_accepted is not None for chat in self.served)
        if trouble and takes_files and settings.upload_folder is None:
            yield f"Files can't be taken: {trouble}. Set CHATKIT_UPLOAD_FOLDER"


def _under_way(settings: Settings) -> UnderWay:
    # Where addresses are not to be told apart, such as behind a proxy that hides them, all of the
    # site's visitors would share one's.
    return UnderWay(by_address=settings.limiter_enabled and bool(settings.ratelimit_ip))


def _checked_id(user_id: object) -> str:
    """The login's id as a text: the id itself, not an object whose text may change or be shared."""
    if inspect.iscoroutine(user_id):
        user_id.close()
    if isinstance(user_id, (int, UUID)) and not isinstance(user_id, bool):
        return str(user_id)
    if isinstance(user_id, str) and 0 < len(user_id) <= LONGEST_ID and user_id.isprintable():
        return user_id
    raise Misconfigured(
        detail=f"user_loader must return a printable text of at most {LONGEST_ID} characters, "
        "a whole number or a UUID, or None for an "
        f"anonymous visitor, not {type(user_id).__name__}"
    )


def kits(app: App) -> dict[str, ChatKitState]:
    """The kits of an application by full name, in the order of registration."""
    registered: dict[str, ChatKitState] = app.extensions.setdefault(EXTENSION, {})
    return registered


def current_kit() -> ChatKitState:
    """The kit whose URL was asked for."""
    registered = kits(current_app)
    kit = next(registered[name] for name in request.blueprints if name in registered)
    kit.first_use()
    return kit


def named_kit(app: App, name: str | None) -> ChatKitState:
    """The kit of that name, full or its own; the application's first without one.

    :raises OptionError: there is none; the message names those there are.
    """
    registered = kits(app)
    # A full name is exact; one that only ends alike, of a kit that is nested, comes after it.
    ends = (kit for full, kit in registered.items() if name in {None, full.rpartition(".")[2]})
    kit = registered.get(name or "") or next(ends, None)
    if kit is None:
        raise OptionError(
            f"there is no kit {name!r}; registered: {', '.join(sorted(registered)) or 'none'}"
        )
    kit.first_use()
    return kit
