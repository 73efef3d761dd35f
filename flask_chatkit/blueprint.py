"""The kit: a blueprint, and what happens when an application registers it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, Flask
from flask.sansio.app import App
from flask.sansio.blueprints import BlueprintSetupState

from .cli import threads, users
from .cli.base import KitGroup
from .cli.doctor import doctor as doctor_command
from .cli.stats import stats as stats_command
from .config import Settings
from .declaring import Declaring
from .doctor.report import Result
from .doctor.run import diagnose
from .errors import API_ERRORS, ApiError, ConfigurationError
from .http.caller import with_caller
from .http.errors import HANDLED, answer_error
from .http.hooks import after_request, before_request
from .http.rules import ANY_METHOD, METHODS, RULES
from .owner.methods import OwnerMethods
from .registry import ChatKitState, Declarations, kits
from .runtime._upstream import this_app
from .widget import html


class ChatKit(Declaring, OwnerMethods, Blueprint):
    """OpenAI's ChatKit for Flask: a blueprint with endpoints, macros and assets.

    Register it like any other blueprint, on as many applications as you like::

        chatkit = ChatKit()
        app.register_blueprint(chatkit)

    :param name: the kit's name. Several kits on one application need different names.
    :param url_prefix: the URL prefix of its endpoints.
    :param store: the history of served chats: a ``chatkit.store.Store``, a SQLAlchemy engine, a
        Flask-SQLAlchemy extension or a URI. The default is ``CHATKIT_DATABASE_URI``.
    :param blueprint: other arguments of :class:`flask.Blueprint`: ``subdomain``, ``url_defaults``,
        …
    """

    def __init__(
        self,
        name: str = "chatkit",
        *,
        url_prefix: str | None = "/chatkit",
        store: object = None,
        **blueprint: Any,
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
        self._declared = Declarations(store=store)
        self.cli = KitGroup(self._declared)
        self.cli.add_command(stats_command)
        for command in (*users.COMMANDS, threads.group):
            self.cli.add_command(command)
        self.cli.add_command(doctor_command)
        self.record(self._bind)
        for rule, view, _ in RULES:
            methods = ANY_METHOD if view.__name__ in METHODS else ("GET",)
            view_func = with_caller(view)
            for prefix in ("", "/<chat>"):
                self.add_url_rule(prefix + rule, view_func=view_func, methods=methods)
        self.before_request(before_request)
        self.after_request(after_request)
        for status in HANDLED:
            self.register_error_handler(status, answer_error)

    def register_error_handler(
        self, code_or_exception: type[Exception] | int, f: Callable[[Any], Any]
    ) -> None:
        """Register an error handler, as on any blueprint.

        A handler for ``ApiError`` is registered for each of its subclasses, since Flask looks for a
        handler by the error's status first.
        """
        kinds = API_ERRORS if code_or_exception is ApiError else (code_or_exception,)
        for kind in kinds:
            super().register_error_handler(kind, f)

    def init_app(self, app: Flask, **options: Any) -> None:
        """Register the kit: the same as ``app.register_blueprint(kit, **options)``."""
        app.register_blueprint(self, **options)

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Check the application's settings and register the kit. Flask calls this.

        :raises ConfigurationError: a setting is invalid, and nothing has been registered; or the
            kit can't be mounted there.
        """
        Settings.from_config(app.config)
        super().register(app, options)

    def doctor(self, url: str | None = None, pages: Sequence[str] = ("/",)) -> list[Result]:
        """Check the configuration of the current application, like ``flask chatkit doctor``.

        :param url: the running site's address, such as ``https://www.example.com``, to check what
            is in front of it too; None to check from inside only.
        :param pages: paths of pages that show a chat.
        :returns: what each check found, with its fix; contains no secret.
        :raises OptionError: the address or a path is invalid.
        """
        return diagnose(this_app(), self._here(), url, pages)

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
        settings.warn_unknown_keys(app.config)
        settings.warn_unread_environment(app.config)
        kits(app)[name] = ChatKitState(app, name, self.name, self._declared, settings, path, mount)
        html.install(app)
