"""The kit: what a site declares, and what happens when an application registers it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from flask import Blueprint, Flask, current_app
from flask.sansio.app import App
from flask.sansio.blueprints import BlueprintSetupState

from .chats.callbacks import Callbacks
from .chats.declarations import (
    DEFAULT,
    Backend,
    Chat,
    HostedChat,
    ServedChat,
    ServedOptions,
    StateSource,
)
from .cli import threads, users
from .cli.base import KitGroup
from .cli.doctor import doctor as doctor_command
from .cli.stats import stats as stats_command
from .config import Settings, check_extra
from .doctor.report import Result
from .doctor.run import diagnose
from .errors import API_ERRORS, ApiError, ConfigurationError, OptionError
from .hosted.export import (
    Exported,
    export_threads,
    last_place,
    open_for_export,
    read_lines,
    threads_since,
)
from .http.caller import with_caller
from .http.errors import HANDLED, answer_error
from .http.hooks import after_request, before_request
from .http.rules import ANY_METHOD, METHODS, RULES
from .identity.login import UserLoader
from .identity.visitor import Visitor
from .owner.stats import DEFAULT_SINCE, Stats, read_stats
from .registry import ChatKitState, Declarations, kits
from .server.agents.shape import checked_input, refuse_workflow
from .server.context import ChatContext
from .widget import html

if TYPE_CHECKING:
    from agents import Agent
    from chatkit.server import ChatKitServer
    from typing_extensions import Unpack

    from .owner.carry import Carried, MapUsers
    from .owner.people import Deletion
    from .owner.prune import Pruned

L = TypeVar("L", bound=UserLoader)
F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound=Callable[[], Any])
M = TypeVar("M", bound=Callable[..., Any])


_OWN_METHODS = (
    "the chat {!r} has a ChatKitServer, whose own methods are called: override action, "
    "sync_action, add_feedback or transcribe there"
)


def _declares(method: M) -> M:
    """Mark a method that declares something, which Flask would call a setup method."""

    @wraps(method)
    def declare(self: ChatKit, *args: Any, **options: Any) -> Any:
        self._declared.check_open(method.__name__, self.name)
        return method(self, *args, **options)

    return cast("M", declare)


class ChatKit(Blueprint):
    """OpenAI ChatKit on a Flask site: a blueprint with its endpoints, macros and assets.

    Register it like any other blueprint, on as many applications as you like::

        chatkit = ChatKit()
        app.register_blueprint(chatkit)

    :param name: the kit's name. A second kit needs a second one.
    :param url_prefix: where it is mounted.
    :param store: the history of served chats: a ``chatkit.store.Store``, a SQLAlchemy engine, a
        Flask-SQLAlchemy extension or a URI; ``CHATKIT_DATABASE_URI`` by default.
    :param blueprint: what else :class:`flask.Blueprint` takes: ``subdomain``, ``url_defaults``, …
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

    @_declares
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
            async, that returns them in the visitor's request. It may take the visitor, who on a
            page of another origin is not whoever is signed in.
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
        declared = HostedChat.declare(
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
        self._add(declared)

    @_declares
    def add_server(
        self,
        name: str,
        server: ChatKitServer[Any] | Callable[..., Any],
        *,
        context: Callable[[ChatContext], Any] | None = None,
        isolate: bool = True,
        page_actions: bool = False,
        **options: Unpack[ServedOptions],
    ) -> None:
        """Declare a chat that a ``ChatKitServer`` of the site's answers in.

        Whatever the server's store does, a visitor gets at nothing but their own: it is wrapped
        unless it isolates visitors itself.

        :param name: as for :meth:`add_hosted`.
        :param server: the server, or what makes it when it is first needed: a class or function,
            sync or async, which is given the kit's ``store`` and ``attachment_store`` if it has
            parameters of these names.
        :param context: makes the server's own context of ours, a
            :class:`~flask_chatkit.server.ChatContext`, which it gets by default.
        :param isolate: False leaves it to the store to tell visitors apart.
        :param page_actions: whether its ``action`` gets what the page sends by
            ``sendCustomAction`` without a widget, with None for its ``sender``.
        :param options: see :class:`~flask_chatkit.chats.declarations.ServedOptions`.
        :raises ConfigurationError: something is not of the accepted form, the name is taken, or
            the packages of ``flask-chatkit[server]`` are not installed.
        """
        refuse_workflow(server, "server", name)
        is_server = callable(server) or hasattr(server, "process")
        if not is_server:
            raise ConfigurationError(
                f"the server of the chat {name!r} must be a ChatKitServer or what makes one, "
                f"not {type(server).__name__}"
            )
        self._serve(
            name,
            "server",
            server,
            context=context,
            isolate=isolate,
            page_actions=page_actions,
            **options,
        )

    @_declares
    def add_agent(
        self,
        name: str,
        agent: Agent[Any] | Callable[[ChatContext], Any],
        *,
        titles: bool | Agent[Any] = True,
        run_options: Mapping[str, Any] | None = None,
        history_characters: int | None = None,
        history_bytes: int | None = None,
        look_again: bool = True,
        **options: Unpack[ServedOptions],
    ) -> None:
        """Declare a chat that an agent of OpenAI's Agents SDK answers in, with any model.

        :param name: as for :meth:`add_hosted`.
        :param agent: the agent, or what makes one for a context.
        :param titles: whether threads get titles; an agent makes them in place of our own.
        :param run_options: what else ``Runner.run_streamed`` takes: ``run_config``, ``max_turns``,
            ``hooks``.
        :param history_characters: what the agent is told of a thread, in the place of
            ``CHATKIT_HISTORY_CHARACTERS``.
        :param history_bytes: of files with a message, in the place of ``CHATKIT_HISTORY_BYTES``.
        :param look_again: whether the agent gets a tool, ``look_at_file``, in threads with files:
            they are told with their own message alone, and named afterwards.
        :param options: see :class:`~flask_chatkit.chats.declarations.ServedOptions`.
        :raises ConfigurationError: as for :meth:`add_server`.
        """
        refuse_workflow(agent, "agent", name)
        if not callable(agent) and not hasattr(agent, "instructions"):
            raise ConfigurationError(
                f"the agent of the chat {name!r} must be an agents.Agent or what makes one, "
                f"not {type(agent).__name__}"
            )
        self._serve(
            name,
            "agent",
            agent,
            titles=titles,
            run_options=run_options,
            history_characters=history_characters,
            history_bytes=history_bytes,
            look_again=look_again,
            **options,
        )

    @_declares
    def add_workflow(
        self,
        name: str,
        workflow: Callable[..., Any],
        *,
        titles: bool | Agent[Any] = True,
        run_options: Mapping[str, Any] | None = None,
        history_characters: int | None = None,
        history_bytes: int | None = None,
        **options: Unpack[ServedOptions],
    ) -> None:
        """Declare a chat that a workflow answers in, as Agent Builder exports it in Python.

        The text of its agents reaches the visitor as it is made; an agent with an
        ``output_type`` is shown as a step. Earlier turns of the thread and the message's files
        precede what the export gives its agents.

        :param name: as for :meth:`add_hosted`.
        :param workflow: the exported function, sync or async, unchanged: its one required
            parameter is annotated with a pydantic model that has a field ``input_as_text``.
        :param titles: as for :meth:`add_agent`.
        :param run_options: for each run, where the export itself sets nothing else; as for
            :meth:`add_agent`.
        :param history_characters: as for :meth:`add_agent`.
        :param history_bytes: as for :meth:`add_agent`.
        :param options: see :class:`~flask_chatkit.chats.declarations.ServedOptions`.
        :raises ConfigurationError: as for :meth:`add_server`.
        """
        checked_input(workflow, f"the workflow of the chat {name!r}")
        self._serve(
            name,
            "workflow",
            workflow,
            titles=titles,
            run_options=run_options,
            history_characters=history_characters,
            history_bytes=history_bytes,
            **options,
        )

    @_declares
    def assistant(
        self, name: str = DEFAULT, *, titles: bool = True, **options: Unpack[ServedOptions]
    ) -> Callable[[F], F]:
        """Declare a chat that a function answers in; a decorator.

        For example::

            @chatkit.assistant("concierge")
            def concierge(message, chat):
                yield f"You said {message.text}"

        The function, sync or async, returns or yields text, widgets, or any event of ChatKit's. A
        sync one runs in a thread of its own. ``message`` is a
        :class:`~flask_chatkit.server.Message`, ``chat`` a :class:`~flask_chatkit.server.Chat`.

        :param name: as for :meth:`add_hosted`.
        :param titles: whether threads are titled by their first message.
        :param options: see :class:`~flask_chatkit.chats.declarations.ServedOptions`.
        :raises ConfigurationError: as for :meth:`add_server`.
        """

        def declare(function: F) -> F:
            refuse_workflow(function, "assistant", name)
            try:
                inspect.signature(function).bind("message", "chat")
            except TypeError:
                raise ConfigurationError(
                    f"the assistant of the chat {name!r} takes two arguments: (message, chat)"
                ) from None
            self._serve(name, "assistant", function, titles=titles, **options)
            return function

        if callable(name):
            raise ConfigurationError("write @chatkit.assistant() or @chatkit.assistant(name)")
        return declare

    @_declares
    def action(
        self, kind: str, *, chat: str = DEFAULT, from_page: bool = False
    ) -> Callable[[F], F]:
        """Declare what answers when a widget's action is used; a decorator.

        The function gets the action's payload and the chat, and answers like an assistant. A
        ``ChatKitServer`` of the site's own has its method ``action`` for this.

        It is called for an action that ``chat.sender``, a widget of this visitor, has in the
        history, with the payload that it has there and what a form adds. Whose order, account or
        file a payload names is for the function to check, as for all that a browser says.

        :param kind: the action's type.
        :param chat: the name of a chat of :meth:`assistant` or :meth:`add_agent`.
        :param from_page: whether it is called, too, for what the page sends by
            ``sendCustomAction`` without a widget; ``chat.sender`` is None then, and all of the
            payload the page's own word.
        :raises ConfigurationError: there is one already.
        """

        def declare(function: F) -> F:
            callbacks = self._callbacks(chat)
            if kind in callbacks.actions:
                raise ConfigurationError(
                    f"the action {kind!r} of the chat {chat!r} is declared twice"
                )
            callbacks.actions[kind] = function
            if from_page:
                callbacks.from_page.add(kind)
            return function

        return declare

    @_declares
    def feedback(self, *, chat: str = DEFAULT) -> Callable[[F], F]:
        """Declare what is told when a visitor likes an answer or not; a decorator.

        The function gets ``positive`` or ``negative``, the items, and the chat.

        :param chat: as for :meth:`action`.
        :raises ConfigurationError: there is one already.
        """
        return self._handler("feedback", chat)

    @_declares
    def transcriber(self, *, chat: str = DEFAULT) -> Callable[[F], F]:
        """Declare what turns speech into text, for the composer's ``dictation``; a decorator.

        The function gets the audio (``data`` in bytes, ``mime_type``) and the chat, and returns
        the text.

        :param chat: as for :meth:`action`.
        :raises ConfigurationError: there is one already.
        """
        return self._handler("transcribe", chat)

    @_declares
    def on_startup(self, function: S) -> S:
        """Declare what is started once in each process, before the first answer; a decorator.

        It runs on the event loop that carries the answers, in the application context, for each
        application that the kit is registered on, and again in a process that is forked. Tasks that
        it starts live until the process ends. What an asynchronous generator has after its
        ``yield`` runs then::

            @chatkit.on_startup
            async def prices():
                task = asyncio.create_task(watch_prices())
                yield  # answers are given now
                task.cancel()

        It may take 30 seconds. If it fails, the visitor reads an error, and the next answer tries
        again.

        :param function: a function without arguments: sync, async or an asynchronous generator.
        :raises ConfigurationError: it takes arguments, or is a generator that is not asynchronous.
        """
        if not _takes_nothing(function):
            raise ConfigurationError("on_startup takes a function without arguments")
        if inspect.isgeneratorfunction(function):
            raise ConfigurationError(
                "on_startup takes a generator only if it is asynchronous: write async def"
            )
        self._declared.startup.append(function)
        return function

    def _handler(self, kind: str, chat: str) -> Callable[[F], F]:
        def declare(function: F) -> F:
            callbacks = self._callbacks(chat)
            if getattr(callbacks, kind) is not None:
                raise ConfigurationError(f"{kind} of the chat {chat!r} is declared twice")
            setattr(callbacks, kind, function)
            return function

        return declare

    def _callbacks(self, chat: str) -> Callbacks:
        declared = self._declared.chats.get(chat)
        if isinstance(declared, ServedChat) and declared.source.kind == "server":
            raise ConfigurationError(_OWN_METHODS.format(chat))
        return self._declared.callbacks[chat]

    def _serve(self, name: str, kind: str, value: object, **options: Any) -> None:
        check_extra(f"the chat {name!r}")
        callbacks = self._declared.callbacks[name]
        if kind == "server" and callbacks != Callbacks():
            raise ConfigurationError(_OWN_METHODS.format(name))
        self._add(ServedChat.declare(name, Backend(kind, value), callbacks, **options))

    def _add(self, chat: Chat) -> None:
        if chat.name in self._declared.chats:
            raise ConfigurationError(f"the chat {chat.name!r} is declared twice")
        self._declared.chats[chat.name] = chat

    @_declares
    def user_loader(self, loader: L) -> L:
        """Declare how the site's login is asked for the visitor's id; a decorator.

        :param loader: a function, sync or async, that returns the id of who is signed in, or None.
        :raises ConfigurationError: it takes arguments, or there is one already.
        """
        if not _takes_nothing(loader):
            raise ConfigurationError("user_loader takes a function without arguments")
        if self._declared.user_loader is not None:
            raise ConfigurationError("user_loader is declared twice")
        self._declared.user_loader = loader
        return loader

    def stats(self, since: timedelta | datetime = DEFAULT_SINCE) -> Stats:
        """What happened in the kit's chats lately, on the current application.

        :param since: for how long to look back, or a time; one without a zone is in UTC.
        :raises ValueError: it is in the future.
        :raises ChatKitError: the history can't be opened.
        """
        return read_stats(self._here(), since)

    def export_threads(
        self,
        file: str | Path | IO[str],
        *,
        user: str | None = None,
        since: datetime | None = None,
    ) -> Exported:
        """Write the threads that OpenAI keeps of hosted chats to a file, as JSON Lines.

        One line a thread or item, as OpenAI sends it, each written when it is read. A path whose
        file has an earlier export goes on after it. Within an application context.

        :param file: a path, or a text file that is open for writing.
        :param user: the key of one person, as for :meth:`export_user`; everybody by default.
        :param since: threads that were begun then or later; a time without a zone is in UTC.
        :raises ApiError: OpenAI refuses, or can't be reached for long. What was written stays.
        :raises FileFormError: the file has something else in it.
        :raises ValueError: the key is none.
        """
        key = None if user is None else Visitor.from_key(user).key
        hosted = self._here().hosted_threads
        if not isinstance(file, (str, Path)):
            return export_threads(hosted, file, user=key, since=since)
        path = Path(file)
        place = last_place(path)
        with open_for_export(path) as opened:
            return export_threads(hosted, opened, user=key, since=since, place=place)

    def import_threads(
        self,
        file: str | Path | Iterable[str | bytes],
        *,
        chat: str = DEFAULT,
        map_users: MapUsers | None = None,
        dry_run: bool = False,
    ) -> Carried:
        """Carry an export of hosted threads into the history of a served chat.

        Threads and items keep OpenAI's ids, their times and their order. What is there already is
        not written again. Within an application context.

        :param file: a path, or the lines of an export.
        :param chat: the name of the served chat.
        :param map_users: is called with the user that OpenAI knows a thread by, and returns the
            key of a person, or None to leave the thread out. By default users are those whom the
            kit named to OpenAI: ``user:<login id>`` and ``anon:<id>``.
        :param dry_run: whether it is only counted. Files are not fetched then.
        :returns: what was carried over, and what was not, with ids and reasons.
        :raises ConfigurationError: there is no such served chat.
        :raises FileFormError: a line is no thread or item; what came before it is carried over.
        """
        check_extra("an import of threads")
        from .owner.carry import Carrier

        carrier = Carrier(self._here(), chat, map_users=map_users, dry_run=dry_run)
        if not isinstance(file, (str, Path)):
            return carrier.carry_lines(read_lines(file, "the export"))
        with Path(file).open("rb") as opened:
            return carrier.carry_lines(read_lines(opened, Path(file).name))

    def migrate_threads(
        self,
        *,
        user: str | None = None,
        since: datetime | None = None,
        chat: str = DEFAULT,
        map_users: MapUsers | None = None,
        dry_run: bool = False,
    ) -> Carried:
        """Carry hosted threads into the history of a served chat, straight from OpenAI.

        :meth:`export_threads` and :meth:`import_threads` in one, without a file. Of a thread that
        was carried before only what is new is asked for. Within an application context.

        :param user: as for :meth:`export_threads`, as are ``since`` and what is raised.
        :param chat: as for :meth:`import_threads`, as are the others.
        """
        key = None if user is None else Visitor.from_key(user).key
        check_extra("an import of threads")
        from .owner.carry import Carrier

        kit = self._here()
        carrier = Carrier(kit, chat, map_users=map_users, dry_run=dry_run)
        threads = threads_since(kit.hosted_threads, key, since)
        return carrier.carry_hosted(kit.hosted_threads, threads)

    def export_user(
        self, key: str, *, files: str | Path | None = None, hosted: bool | None = None
    ) -> Iterator[dict[str, Any]]:
        """All that this kit keeps of a person, record by record, each one a dict for JSON.

        It is read while it is iterated over, within an application context. What could not be
        read is a record of its own at the end, ``{"record": "problem", "what": …}``.

        :param key: ``user:<login id>`` or ``anon:<id>``; a login id alone is taken for ``user:``.
        :param files: a folder to copy the files into; by default only their names are exported.
        :param hosted: whether OpenAI is asked too; by default if the kit has or had hosted chats.
        :raises ValueError: the key is none.
        :raises ConfigurationError: the packages of ``flask-chatkit[server]`` are not installed.
        """
        person = Visitor.from_key(key)
        check_extra("the export of a person's data")
        from .owner.export import export_person

        folder = None if files is None else Path(files)
        return export_person(self._here(), person, folder=folder, hosted=hosted)

    def delete_user(
        self, key: str, *, dry_run: bool = False, hosted: bool | None = None
    ) -> Deletion:
        """Delete all that this kit keeps of a person, for good.

        Within an application context; it blocks, so not on the event loop of the answers.

        :param key: as for :meth:`export_user`.
        :param dry_run: whether it is only counted.
        :param hosted: as for :meth:`export_user`.
        :returns: what was deleted, and what could not be: delete again for the latter.
        :raises ValueError: the key is none.
        :raises ConfigurationError: the packages of ``flask-chatkit[server]`` are not installed.
        """
        person = Visitor.from_key(key)
        check_extra("the deletion of a person's data")
        from .owner.people import delete_person

        return delete_person(self._here(), person, dry_run=dry_run, hosted=hosted)

    def prune(self, older_than: timedelta | None = None, *, dry_run: bool = False) -> Pruned:
        """Delete this kit's threads that were not used for long, and files that nobody sent.

        Within an application context; it blocks, so not on the event loop of the answers.

        :param older_than: how long; ``CHATKIT_KEEP_DAYS`` by default, and if there is none only
            files are deleted: those that were uploaded more than a day ago and never sent.
        :param dry_run: whether it is only counted.
        :returns: what was deleted, and what could not be.
        :raises ValueError: ``older_than`` is not above zero.
        :raises ConfigurationError: the packages of ``flask-chatkit[server]`` are not installed.
        """
        check_extra("pruning the history")
        from .owner.prune import prune

        return prune(self._here(), older_than, dry_run=dry_run)

    def doctor(self, url: str | None = None, pages: Sequence[str] = ("/",)) -> list[Result]:
        """Check the set-up on the current application, as ``flask chatkit doctor`` does.

        :param url: the running site's address, such as ``https://www.example.com``, to look at what
            is in front of it, too; None to look from inside only.
        :param pages: paths of pages that show a chat.
        :returns: what each check found, with its cure; no secret is in it.
        :raises OptionError: the address or a path is not of the accepted form.
        """
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        return diagnose(app, self._here(), url, pages)

    def _here(self) -> ChatKitState:
        """What the kit is on the current application."""
        for state in kits(current_app).values():
            if state.declared is self._declared:
                return state
        raise OptionError(f"the kit {self.name!r} is not registered on this application")

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
        kits(app)[name] = ChatKitState(app, name, self.name, self._declared, settings, path, mount)
        html.install(app)


def _takes_nothing(function: object) -> bool:
    """Whether something can be called without arguments."""
    return callable(function) and not any(
        parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        for parameter in inspect.signature(function).parameters.values()
    )
