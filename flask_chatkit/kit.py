"""The kit: what a site declares, and what happens when an application registers it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response
from flask.sansio.app import App
from flask.sansio.blueprints import BlueprintSetupState

from . import views
from .chats import HostedChat, StateSource
from .config import Settings
from .errors import API_ERRORS, ApiError, ConfigurationError
from .state import Declared, KitState, UserLoader, kits
from .widget import assets, render

L = TypeVar("L", bound=UserLoader)


class ChatKit(Blueprint):
    """OpenAI ChatKit on a Flask site: a blueprint with its endpoints, macros and assets.

    Register it like any other blueprint, on as many applications as you like::

        chatkit = ChatKit()
        app.register_blueprint(chatkit)

    :param name: the kit's name. A second kit needs a second one.
    :param url_prefix: where it is mounted.
    :param blueprint: what else :class:`flask.Blueprint` takes: ``subdomain``, ``url_defaults``, …
    """

    def __init__(
        self, name: str = "chatkit", *, url_prefix: str | None = "/chatkit", **blueprint: Any
    ) -> None:
        if not isinstance(name, str):
            raise TypeError("ChatKit takes its name; use ChatKit().init_app(app)")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            # It is part of a cookie's name.
            raise ConfigurationError("a kit's name must be of a-z, A-Z, 0-9, - and _")
        super().__init__(
            name,
            __name__,
            url_prefix=url_prefix,
            static_folder="static",
            template_folder="templates",
            **blueprint,
        )
        self._declared = Declared()
        self.record(self._bind)
        for rule, view, _ in views.RULES:
            for prefix in ("", "/<chat>"):
                methods = views.METHODS[view.__name__]
                self.add_url_rule(prefix + rule, view_func=view, methods=methods)
        self.before_request(views.enter)
        self.after_request(views.leave)
        for status in views.HANDLED:
            self.register_error_handler(status, views.answer_error)

    def register_error_handler(
        self, code_or_exception: type[Exception] | int, f: Callable[[Any], Any]
    ) -> None:
        """Register an error handler, as on any blueprint; ``ApiError`` stands for each of its own.

        Flask looks for an error's status before it looks for a root that has none.
        """
        kinds = API_ERRORS if code_or_exception is ApiError else (code_or_exception,)
        for kind in kinds:
            super().register_error_handler(kind, f)

    def init_app(self, app: Flask, **options: Any) -> None:
        """Register the kit; the same as ``app.register_blueprint(kit, **options)``."""
        app.register_blueprint(self, **options)

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Check the application's settings, then register; called by Flask.

        :raises ConfigurationError: a setting is wrong, and nothing has been registered then; or
            it can't be mounted where it was to be.
        """
        Settings.from_config(app.config)
        super().register(app, options)

    def add_hosted(
        self,
        name: str,
        workflow_id: str | None = None,
        *,
        version: str | None = None,
        state_variables: StateSource | None = None,
        tracing: bool | None = None,
        session_seconds: int | None = None,
        requests_per_minute: int | None = None,
        file_upload: bool | Mapping[str, bool | int] | None = None,
        history: bool | Mapping[str, bool | int] | None = None,
        automatic_thread_titling: bool | None = None,
        ratelimit: str | None = None,
        widget: Mapping[str, Any] | None = None,
    ) -> None:
        """Declare a chat that OpenAI runs. What is None is left to the settings, then to OpenAI.

        The bounds are those of OpenAI's API reference for ``POST /v1/chatkit/sessions``.

        :param name: its name: a-z, 0-9, ``-`` and ``_``. ``default`` needs no segment in URLs.
        :param workflow_id: the workflow; ``CHATKIT_WORKFLOW_ID`` by default.
        :param version: a version of the workflow; the newest by default.
        :param state_variables: at most 64 variables for the workflow, or a callable, sync or
            async, that returns them in the visitor's request.
        :param tracing: whether OpenAI traces the workflow.
        :param session_seconds: how long a session lasts, 1 to 600 seconds.
        :param requests_per_minute: how many messages a minute a session may send.
        :param file_upload: True, False, or a mapping with ``enabled``, ``max_file_size`` (1 to 512
            megabytes) and ``max_files``. It sets the widget's attachment button too.
        :param history: True, False, or a mapping with ``enabled`` and ``recent_threads``.
        :param automatic_thread_titling: whether OpenAI titles threads.
        :param ratelimit: limits per visitor for this chat, in place of ``CHATKIT_RATELIMIT``.
        :param widget: options that its macros and its full page start from.
        :raises ConfigurationError: something is out of bounds, or the name is taken.
        """
        if name in self._declared.chats:
            raise ConfigurationError(f"the chat {name!r} is declared twice")
        self._declared.chats[name] = HostedChat.declare(
            name,
            workflow_id=workflow_id,
            version=version,
            state_variables=state_variables,
            tracing=tracing,
            session_seconds=session_seconds,
            requests_per_minute=requests_per_minute,
            file_upload=file_upload,
            history=history,
            automatic_thread_titling=automatic_thread_titling,
            ratelimit=ratelimit,
            widget=widget,
        )

    def user_loader(self, loader: L) -> L:
        """Declare how the site's login is asked for the visitor's id; a decorator.

        :param loader: a function, sync or async, that returns the id of who is signed in, or None.
        :raises ConfigurationError: it takes arguments, or there is one already.
        """
        if not callable(loader) or any(
            parameter.default is parameter.empty
            and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
            for parameter in inspect.signature(loader).parameters.values()
        ):
            raise ConfigurationError("user_loader takes a function without arguments")
        if self._declared.user_loader is not None:
            raise ConfigurationError("user_loader is declared twice")
        self._declared.user_loader = loader
        return loader

    def send_static_file(self, filename: str) -> Response:
        """Serve an asset: for ever under its content's hash, otherwise with revalidation."""
        name, hashed = assets.resolve(filename)
        response = super().send_static_file(name)
        if hashed:
            response.cache_control.public = True
            response.cache_control.no_cache = None
            response.cache_control.max_age = assets.FOREVER
            response.cache_control.immutable = True
        return response

    def _bind(self, setup: BlueprintSetupState) -> None:
        app = setup.app
        name = f"{setup.name_prefix}.{setup.name}".lstrip(".")
        # A prefix may hold variables, such as a language; a cookie's path may not.
        prefix = (setup.url_prefix or "").strip("/")
        path = f"/{prefix}"
        if "<" in path:
            path = re.sub(r"[^/]*<.*", "", path).rstrip("/") or "/"
        if not prefix and not setup.subdomain:
            raise ConfigurationError(
                f"the kit {name!r} needs a url_prefix of its own, such as /chatkit: at the root "
                "it would take the site's pages and static files for its own"
            )
        mount = (setup.subdomain, prefix)
        for other in kits(app).values():
            if other.mount == mount:
                raise ConfigurationError(
                    f"the kits {other.name!r} and {name!r} are both mounted at "
                    f"{setup.url_prefix!r}: give one another url_prefix"
                )
        settings = Settings.from_config(app.config)
        settings.tell_misspelled(app.config)
        kits(app)[name] = KitState(app, name, self.name, self._declared, settings, path, mount)
        render.install(app)
