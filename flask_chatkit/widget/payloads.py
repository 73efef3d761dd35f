"""What the widget's scripts and its full page get to know of a chat, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import current_app, request

from ..chats.served import Chat, ServedChat
from ..errors import OptionError
from ..options.contrast import ink_on
from ..options.names import camel
from ..options.read import element_options
from ..options.translations import page_words
from ..options.values import closest_locale
from ..registry import ChatKitState
from .assets import hashed_name
from .context import Place, find_place

#: Own options that become custom properties of the widget: ``--chatkit-…``.
_STYLES = ("width", "height", "size", "z_index")


class Assets(NamedTuple):
    """What the loader gets to know of a kit; the tags of its assets depend on nothing else."""

    files: str
    base: str
    script: str
    debug: bool

    @classmethod
    def of(cls, kit: ChatKitState, place: Place) -> Assets:
        """The assets of a kit."""
        return cls(place.files, place.kit, kit.settings.script_url, bool(current_app.debug))

    def describe(self) -> dict[str, Any]:
        """The URL that its widgets' addresses are below, and the scripts that are run."""
        return {
            "base": self.base,
            "widget": self.files + hashed_name("widget/index.js"),
            "styles": self.files + hashed_name("widget.css"),
            "script": self.script,
            **({"debug": True} if self.debug else {}),
        }


def describe(kit: ChatKitState, chat: Chat) -> dict[str, Any]:
    """The payload of ``/config``; nothing in it is secret, and it has none of OpenAI's ids."""
    place = find_place(kit, chat)
    served = isinstance(chat, ServedChat)
    options = element_options(chat.widget, hosted=not served)
    return {
        "chat": chat.name,
        "mode": "served" if served else "hosted",
        "page": place.page,
        "secret": f"{place.page}secret",
        "session": f"{place.page}session/",
        **_calls(kit, chat, place),
        "script": kit.settings.script_url,
        "options": chat_options(kit, chat, options, place.locale),
    }


def page_context(kit: ChatKitState, chat: Chat) -> dict[str, Any]:
    """The context of ``chatkit/page.html``, in the visitor's language."""
    place = find_place(kit, chat)
    locale = chat.widget.get("locale")
    locale = closest_locale(str(locale)) if locale else place.locale
    return {
        "kit": kit.name,
        "chat": chat.name,
        "locale": locale,
        "words": page_words(locale),
        "styles": place.files + hashed_name("page.css"),
        "home": request.root_path + "/",
    }


def served_config(kit: ChatKitState, chat: Chat, place: Place) -> dict[str, Any]:
    """What the scripts need to know of a served chat; nothing of a hosted one."""
    if not isinstance(chat, ServedChat):
        return {}
    found: dict[str, Any] = {"served": True}
    if kit.settings.domain_key is not None:
        found["domainKey"] = kit.settings.domain_key
    elif place.is_local:
        # OpenAI checks no key there, but the element requires one.
        found["domainKey"] = "domain_pk_localhost"
    if chat.attachments_accepted is not None:
        found["upload"] = chat.upload
    return found


def _calls(kit: ChatKitState, chat: Chat, place: Place) -> dict[str, Any]:
    """The URLs of a served chat's calls; ChatKit's element knows those of a hosted one."""
    found = served_config(kit, chat, place)
    if found.pop("served", False):
        found |= {"api": f"{place.page}api", "config": f"{place.page}config"}
    if "upload" in found:
        direct = found["upload"] == "direct"
        url = {"uploadUrl": f"{place.page}attachments"} if direct else {}
        found["upload"] = {"type": found["upload"], **url}
    return found


def chat_options(
    kit: ChatKitState, chat: Chat, options: dict[str, Any], locale: str | None
) -> dict[str, Any]:
    """Complete a widget's options with those that follow from the chat's declaration.

    :param options: what ``setOptions`` takes; changed in place.
    :param locale: the visitor's locale, unless an option sets one.
    :raises OptionError: an option contradicts the declaration.
    """
    composer = options.get("composer", {})
    asked = composer.get("attachments")
    if asked is None or asked["enabled"]:
        accepted = chat.attachments(kit.settings)
        if asked is not None and accepted is None:
            switch = "attachments" if isinstance(chat, ServedChat) else "file_upload"
            raise OptionError(
                f"attachments: the sessions of the chat {chat.name!r} accept no files; switch "
                f"them on for both where the chat is declared, with {switch}=True"
            )
        if accepted is not None:
            options.setdefault("composer", {})["attachments"] = {**accepted, **(asked or {})}
    dictation = composer.get("dictation")
    if dictation and dictation["enabled"] and not chat.takes_dictation:
        raise OptionError(
            f"dictation: nothing turns speech into text in the chat {chat.name!r}; declare it with "
            "@chatkit.transcriber, or override transcribe in its server"
        )
    if isinstance(chat, ServedChat) and chat.callbacks.feedback is not None:
        # A site that handles feedback wants the buttons, unless they are switched off.
        options.setdefault("threadItemActions", {}).setdefault("feedback", True)
    if not chat.has_history:
        options["history"] = {"enabled": False}
    if locale is not None:
        options.setdefault("locale", locale)
    return options


def behaviour(variant: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The macro's own options that the widget's scripts read."""
    found: dict[str, Any] = {
        camel(name): own[name]
        for name in ("contact", "load", "message_events", "strings", "teaser")
        if name in own
    }
    if "page" in own:
        # The widget's `page` is its chat's address.
        found["about"] = own["page"]
    preset = own.get("preset") or ("auto" if variant == "themed" else None)
    if preset:
        found["preset"] = preset
    if own.get("panel_header") is False:
        found["panelHeader"] = False
    return found


def style(own: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What the loader sets as custom properties of the widget."""
    found = {name.replace("_", "-"): own[name] for name in _STYLES if name in own}
    if "offset" in own:
        found["offset-inline"], found["offset-block"] = own["offset"]
    accent = options.get("theme", {}).get("color", {}).get("accent")
    if accent:
        # The launcher and the widget's own buttons have the chat's accent too.
        found["accent"] = accent["primary"]
        contrast = ink_on(accent["primary"])
        if contrast:
            found["on-accent"] = contrast
    return found
