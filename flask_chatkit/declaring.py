"""The methods by which a site declares its chats, and the functions around them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .chats.callbacks import Callbacks
from .chats.checks import DEFAULT, StateSource
from .chats.hosted import HostedChat
from .chats.served import Backend, Chat, ServedChat, ServedOptions
from .config import check_extra
from .errors import ConfigurationError
from .identity.login import UserLoader
from .registry import Declarations
from .server.agents.shape import checked_input, refuse_workflow
from .server.context import ChatContext

if TYPE_CHECKING:
    from agents import Agent
    from chatkit.server import ChatKitServer
    from typing_extensions import Unpack

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
    def declare(self: Declaring, *args: Any, **options: Any) -> Any:
        self._declared.check_open(method.__name__, self.name)
        return method(self, *args, **options)

    return cast("M", declare)


class Declaring:
    """The methods that declare something on a kit, until its first request."""

    name: str
    _declared: Declarations

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
        """Declare a chat that OpenAI hosts.

        An argument that is None is left to the settings, then to OpenAI. The bounds are those of
        OpenAI's API reference for ``POST /v1/chatkit/sessions``.

        :param name: the chat's name: a-z, 0-9, ``-`` and ``_``. ``default`` needs no segment in
            URLs.
        :param workflow_id: the workflow; by default ``CHATKIT_WORKFLOW_ID``.
        :param version: a version of the workflow; by default the newest.
        :param state_variables: at most 64 variables for the workflow, or a callable, sync or async,
            that returns them and is called in the visitor's request. It may take the visitor, who
            on a page of another origin is not the signed-in user.
        :param tracing: whether OpenAI traces the workflow.
        :param session_seconds: how long a session lasts, 1 to 600 seconds.
        :param requests_per_minute: how many messages a minute a session may send.
        :param file_upload: True, False, or a mapping with ``enabled``, ``max_file_size`` (1 to 512
            megabytes) and ``max_files``. It also shows or hides the widget's attachment button.
        :param history: True, False, or a mapping with ``enabled`` and ``recent_threads``.
        :param automatic_thread_titling: whether OpenAI titles threads.
        :param ratelimit: limits per visitor for this chat, in place of ``CHATKIT_RATELIMIT``.
        :param widget: default options of its macros and its full page.
        :raises ConfigurationError: an argument is invalid, or the name is taken.
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
        """Declare a chat that a ``ChatKitServer`` of the site answers.

        Whatever the server's store does, a visitor can reach only their own threads and files: the
        store is wrapped unless it isolates visitors itself.

        :param name: as for :meth:`add_hosted`.
        :param server: the server, or a callable that makes it when it is first needed: a class or
            function, sync or async. If it has parameters named ``store`` and ``attachment_store``,
            it is passed the kit's.
        :param context: makes the server's own context from a
            :class:`~flask_chatkit.server.ChatContext`, which is the default.
        :param isolate: False leaves it to the store to isolate visitors.
        :param page_actions: whether its ``action`` receives what the page sends with
            ``sendCustomAction`` without a widget, with None as the ``sender``.
        :param options: see :class:`~flask_chatkit.chats.served.ServedOptions`.
        :raises ConfigurationError: an argument is invalid, the name is taken, or the packages of
            ``flask-chatkit[server]`` are not installed.
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
        """Declare a chat that an agent of OpenAI's Agents SDK answers, with any model.

        :param name: as for :meth:`add_hosted`.
        :param agent: the agent, or a callable that returns one for a context.
        :param titles: whether threads get titles; or an agent that makes them.
        :param run_options: other arguments of ``Runner.run_streamed``: ``run_config``,
            ``max_turns``, ``hooks``.
        :param history_characters: characters of a thread that the agent is sent, in place of
            ``CHATKIT_HISTORY_CHARACTERS``.
        :param history_bytes: bytes of files with a message, in place of ``CHATKIT_HISTORY_BYTES``.
        :param look_again: whether the agent gets the tool ``look_at_file`` in threads with files:
            files are sent with their own message only, and named afterwards.
        :param options: see :class:`~flask_chatkit.chats.served.ServedOptions`.
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
        """Declare a chat that a workflow answers, as Agent Builder exports it in Python.

        The text of its agents is streamed; an agent with an ``output_type`` is shown as a step.
        Earlier turns of the thread and the message's files precede the input that the export gives
        its agents.

        :param name: as for :meth:`add_hosted`.
        :param workflow: the exported function, sync or async, unchanged: its one required parameter
            is annotated with a pydantic model that has a field ``input_as_text``.
        :param titles: as for :meth:`add_agent`.
        :param run_options: as for :meth:`add_agent`, for each run, unless the export sets them
            itself.
        :param history_characters: as for :meth:`add_agent`.
        :param history_bytes: as for :meth:`add_agent`.
        :param options: see :class:`~flask_chatkit.chats.served.ServedOptions`.
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
        """Declare a chat that a function answers; a decorator.

        For example::

            @chatkit.assistant("concierge")
            def concierge(message, chat):
                yield f"You said {message.text}"

        The function, sync or async, returns or yields strings, widgets, or any event of ChatKit. A
        sync function runs in a thread of its own. ``message`` is a
        :class:`~flask_chatkit.server.Message`, ``chat`` a :class:`~flask_chatkit.server.Chat`.

        :param name: as for :meth:`add_hosted`.
        :param titles: whether threads are titled by their first message.
        :param options: see :class:`~flask_chatkit.chats.served.ServedOptions`.
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
        """Declare the function that answers a widget's action; a decorator.

        The function is called with the action's payload and the chat, and answers like an
        assistant. A ``ChatKitServer`` of the site has its own method ``action`` for this.

        It is called for an action that ``chat.sender``, a widget of this visitor, has in the
        history, with the stored payload and the fields of a form. The function has to check whose
        order, account or file a payload names, as with anything that a browser sends.

        :param kind: the action's type.
        :param chat: the name of a chat of :meth:`assistant` or :meth:`add_agent`.
        :param from_page: whether it is also called for what the page sends with
            ``sendCustomAction`` without a widget. ``chat.sender`` is None then, and the payload is
            unchecked.
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
        """Declare the function for feedback on an answer; a decorator.

        The function is called with ``positive`` or ``negative``, the items, and the chat.

        :param chat: as for :meth:`action`.
        :raises ConfigurationError: there is one already.
        """
        return self._handler("feedback", chat)

    @_declares
    def transcriber(self, *, chat: str = DEFAULT) -> Callable[[F], F]:
        """Declare the function that turns speech into text, for ``dictation``; a decorator.

        The function is called with the audio (``data`` in bytes, ``mime_type``) and the chat, and
        returns the text.

        :param chat: as for :meth:`action`.
        :raises ConfigurationError: there is one already.
        """
        return self._handler("transcribe", chat)

    @_declares
    def on_startup(self, function: S) -> S:
        """Declare a function that runs once in each process, before the first answer; a decorator.

        It runs on the event loop that carries the answers, in the application context, for each
        application that the kit is registered on, and again in a forked process. Tasks that it
        starts live until the process ends. In an asynchronous generator, the code after ``yield``
        runs then::

            @chatkit.on_startup
            async def prices():
                prices = app.extensions["prices"] = Prices()
                task = asyncio.create_task(prices.watch())
                yield  # answers run now
                task.cancel()
                await prices.close()

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
        """Declare the function that returns the id of the signed-in user; a decorator.

        :param loader: a function without arguments, sync or async, that returns the id, or None if
            nobody is signed in.
        :raises ConfigurationError: it takes arguments, or there is one already.
        """
        if not _takes_nothing(loader):
            raise ConfigurationError("user_loader takes a function without arguments")
        if self._declared.user_loader is not None:
            raise ConfigurationError("user_loader is declared twice")
        self._declared.user_loader = loader
        return loader


def _takes_nothing(function: object) -> bool:
    """Whether something can be called without arguments."""
    return callable(function) and not any(
        parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        for parameter in inspect.signature(function).parameters.values()
    )
