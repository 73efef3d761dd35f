"""Checks of the set-up as a whole: settings, chats, packages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..chats.served import ServedChat
from ..config import Settings, unknown_keys, unread_environment
from ..errors import ApiError, ConfigurationError
from .report import Finding, check, error, ok, skipped, warning
from .site import Site

if TYPE_CHECKING:
    from packaging.requirements import Requirement

#: The extras that a running site may use.
_EXTRAS = ("server", "postgresql", "mysql", "redis", "async", "asgi")


@check(
    "settings",
    "the settings have not changed since the kit was registered, and none is misspelled, or in the "
    "environment only",
    cure="look at the settings that begin with CHATKIT_",
)
def settings(site: Site) -> Iterator[Finding]:
    """Compare the kit's settings with the application's configuration."""
    if not site.settings.enabled:
        yield warning("CHATKIT_ENABLED is False: no chat is shown", "set CHATKIT_ENABLED to True")
    try:
        changed = site.settings.changed_keys(Settings.from_config(site.config))
    except ConfigurationError as wrong:
        yield error(f"a setting was changed to a wrong value: {wrong}", "correct it")
        changed = []
    if changed:
        yield error(
            f"{', '.join(changed)} changed after the kit was registered, without effect",
            "configure the application before registering the kit",
        )
    wrong_keys = dict(unknown_keys(site.config))
    for key, meant in wrong_keys.items():
        cure = f"rename it to {meant}" if meant else "remove it, or see docs/configuration.md"
        yield warning(f"{key} is not a setting", cure)
    unread = list(unread_environment(site.config))
    for name, cure in unread:
        yield warning(f"{name} is set in the environment, without effect", cure)
    if site.settings.enabled and not changed and not wrong_keys and not unread:
        yield ok("the settings are those that the kit was registered with")


@check(
    "chats",
    "each chat exists and can be set up, those of `@chatkit.action` too, and what `CHATKIT_SERVER` "
    "names is valid",
    cure="start the chat's server by hand in `flask shell`, and see what fails or hangs",
    seconds=20.0,
)
def chats(site: Site) -> Iterator[Finding]:
    """Set up each served chat, as its first call would."""
    if not site.kit.chats:
        yield error(
            "there is no chat",
            "set CHATKIT_SERVER or CHATKIT_WORKFLOW_ID, or declare one: @chatkit.assistant()",
        )
    for hosted in site.hosted:
        if not (hosted.workflow_id or site.settings.workflow_id):
            yield error(
                f"the hosted chat {hosted.name!r} has no workflow",
                "pass workflow_id to add_hosted, or set CHATKIT_SERVER to serve it yourself",
            )
    for stray in site.kit.stray_callbacks():
        yield error(stray, "correct the chat's name, or declare the chat")
    for chat in site.served if site.has_key else ():
        try:
            server = site.kit.service.dispatcher(chat).server
        except ApiError as failed:
            yield error(str(failed.detail or failed.description), _cure_of(chat))
        except Exception as failed:  # noqa: BLE001  the site's own code, such as its imports
            yield error(
                f"the chat {chat.name!r} can't be set up: {type(failed).__name__}: {failed}",
                _cure_of(chat),
            )
        else:
            site.servers[chat.name] = server
            yield ok(f"the chat {chat.name!r} is served by {_described(chat, server)}")
    loader = site.kit.declared.user_loader
    if inspect.iscoroutinefunction(loader) and find_spec("asgiref") is None:
        yield error("user_loader is async, and asgiref is missing", "pip install 'flask[async]'")


def _described(chat: ServedChat, server: object) -> str:
    kind, value = chat.source
    what = {"agent": "an agent", "assistant": "a function", "workflow": "an exported workflow"}
    by = {"AgentServer": "agent", "AssistantServer": "assistant", "WorkflowServer": "workflow"}
    name = type(server).__name__
    found = what.get(by.get(name, kind), f"a ChatKit server ({name})")
    return f"{found}, CHATKIT_SERVER {value}" if kind == "path" else found


def _cure_of(chat: ServedChat) -> str:
    if chat.source.kind == "path":
        return (
            "let CHATKIT_SERVER name a ChatKitServer or a function that returns one, an Agent, a "
            "function (message, chat), or run_workflow as Agent Builder exports it"
        )
    return f"correct the declaration of the chat {chat.name!r}"


@check(
    "packages",
    "the installed packages meet the requirements of the package and of its extras",
    cure="pip install --upgrade 'flask-chatkit[server]'",
)
def packages(site: Site) -> Iterator[Finding]:
    """Compare the installed packages with the required versions."""
    wanted = _requirements("flask-chatkit")
    if not wanted:
        yield skipped("flask-chatkit is not installed as a package")
        return
    wanted += [one for name in ("openai-chatkit",) for one in _requirements(name)]
    wrong = 0
    for requirement in wanted:
        found = _version(requirement.name)
        if found is None or requirement.specifier.contains(found, prereleases=True):
            continue
        wrong += 1
        yield error(
            f"{requirement.name} {found} is installed, and {requirement.specifier} was tested",
            f"pip install '{requirement.name}{requirement.specifier}'",
        )
    for name, module, extra in _needed(site):
        if find_spec(module) is None:
            wrong += 1
            yield error(f"{name} is needed and not installed", f"pip install '{extra}'")
    if not wrong:
        shown = ("flask-chatkit", "Flask", "Flask-Limiter", "openai-chatkit", "openai-agents")
        found_versions = [(name, _version(name)) for name in shown]
        yield ok(", ".join(f"{name} {found}" for name, found in found_versions if found))


def _requirements(name: str) -> list[Requirement]:
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        applies = marker is None or any(
            marker.evaluate({"extra": extra}) for extra in ("", *_EXTRAS)
        )
        if applies and requirement.specifier:
            found.append(requirement)
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _needed(site: Site) -> Iterator[tuple[str, str, str]]:
    """Yield the packages that the settings need: name, module, what to install."""
    uri = str(site.settings.ratelimit_storage_uri or site.settings.limiter_storage_uri or "")
    if uri.startswith(("redis", "rediss")):
        yield "redis", "redis", "flask-chatkit[redis]"
    folder = str(site.settings.upload_folder or "")
    if site.served and "://" in folder and not folder.startswith("file://"):
        yield "fsspec", "fsspec", "fsspec"
    values: list[Any] = [chat.state_variables for chat in site.kit.chats.values()]
    if any(map(inspect.iscoroutinefunction, values)):
        yield "asgiref", "asgiref", "flask[async]"
