"""The widget's HTML: functions that return safe markup, with thin macros over them.

They are Jinja globals, so the macros work imported with and without context. What they emit holds
no inline script or style; the loader reads everything from one data attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import before_render_template, current_app, g, request, url_for
from flask.sansio.app import App
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ..chats import DEFAULT, HostedChat
from ..errors import Misconfigured, NotFound, OptionError
from ..state import KitState, named_kit
from .assets import hashed_name
from .options import closest_locale, element_options, split

LABEL = "Chat"

_LINK = Markup('<link rel="stylesheet" href="{href}"{nonce}>')
_SCRIPT = Markup('<script src="{src}" defer{nonce}></script>')
_NONCE = Markup(' nonce="{}"')
_SIDE = Markup(' data-side="{}"')
_NOSCRIPT = Markup('<noscript><a href="{page}">{label}</a></noscript>')
_FLOATING = Markup(
    '<div class="chatkit chatkit-floating{classes}" id="{id}"{side}'
    " data-chatkit='{config}'>"
    '<button type="button" class="chatkit-launcher" aria-expanded="false"'
    ' aria-controls="{id}-panel" aria-label="{label}">'
    '<svg viewBox="0 0 24 24" aria-hidden="true">'
    '<path d="M5 3h14a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3h-7l-6 4.5V17H5a3 3 0 0 1-3-3V6a3 3 0 0 1 3-3z"'
    "/>"
    "</svg></button>"
    '<dialog class="chatkit-panel" id="{id}-panel" aria-label="{label}"></dialog>'
    "{noscript}</div>"
)
_INLINE = Markup(
    '<section class="chatkit chatkit-{variant}{classes}" id="{id}" aria-label="{label}"'
    " data-chatkit='{config}'>{noscript}</section>"
)


class _Page:
    """What has been emitted on the page that is being rendered."""

    def __init__(self) -> None:
        self.assets: set[str] = set()
        self.count = 0


def install(app: App) -> None:
    """Give an application's templates what the macros need."""
    app.jinja_env.globals["chatkit_widget"] = widget
    # Each page starts anew, also one that is rendered for an error after another has failed.
    before_render_template.connect(_new_page, app)


def _new_page(_app: App, **_: object) -> None:
    g.pop("_chatkit_page", None)


def widget(variant: str, chat: str = DEFAULT, options: Mapping[str, Any] | None = None) -> Markup:
    """Render a widget; the macros ``chatkit_floating``, ``_inline`` and ``_themed`` call this.

    :param variant: ``floating``, ``inline`` or ``themed``.
    :param chat: the chat's name.
    :param options: keyword options of the macro.
    :raises OptionError: an option, the chat or the kit does not exist.
    """
    given = dict(options or {})
    kit = named_kit(current_app, given.pop("kit", None))
    if not kit.settings.enabled:
        return Markup()
    declared = _chat(kit, chat)
    nonce = _nonce(given.pop("nonce", None))
    own, element = split(variant, given)
    base = url_for(f"{kit.name}.page", chat=None if chat == DEFAULT else chat)
    files = url_for(f"{kit.name}.static", filename="")
    label = own.get("label", LABEL)
    config: dict[str, Any] = {
        **_addresses(kit, base, files),
        "options": _options(declared, element),
    }
    config["options"].setdefault("frameTitle", label)
    config.update((name, own[name]) for name in ("width", "height") if name in own)
    if variant == "themed":
        config["themed"] = True
    page: _Page = g.setdefault("_chatkit_page", _Page())
    page.count += 1
    classes = own.get("class_name", "")
    template = _FLOATING if variant == "floating" else _INLINE
    return _assets(page, files, nonce) + template.format(
        variant=variant,
        classes=f" {classes}" if classes else "",
        id=own.get("id") or f"chatkit-{page.count}",
        side=_SIDE.format(own["side"]) if "side" in own else "",
        label=label,
        config=htmlsafe_json_dumps(config, separators=(",", ":")),
        # On its own page the link would lead to where the visitor is.
        noscript=""
        if request.root_path + request.path == base
        else _NOSCRIPT.format(page=base, label=label),
    )


def describe(kit: KitState, chat: HostedChat) -> dict[str, Any]:
    """What a widget may know of a chat; nothing in it is secret, and none of it is OpenAI's id."""
    base = url_for(f"{kit.name}.page", chat=None if chat.name == DEFAULT else chat.name)
    files = url_for(f"{kit.name}.static", filename="")
    return {
        "chat": chat.name,
        "mode": "hosted",
        **_addresses(kit, base, files),
        "options": _options(chat, {}),
    }


def _addresses(kit: KitState, base: str, files: str) -> dict[str, str]:
    """Every URL that the loader needs. The kit's rules are all below the page's."""
    return {
        "page": base,
        "secret": f"{base}secret",
        "session": f"{base}session/",
        "script": kit.settings.script_url,
        "widget": files + hashed_name("widget.js"),
    }


def _chat(kit: KitState, name: str) -> HostedChat:
    try:
        return kit.chat(name)
    except (NotFound, Misconfigured) as error:
        known = ", ".join(sorted(kit.chats)) or "none"
        reason = error.detail or f"there is no chat {name!r}"
        raise OptionError(f"{reason}; declared chats: {known}") from None


def _options(chat: HostedChat, given: Mapping[str, Any]) -> dict[str, Any]:
    options = element_options({**chat.widget, **given}, hosted=True)
    asked = options.get("composer", {}).get("attachments")
    if asked is None or asked["enabled"]:
        accepted = chat.attachments
        if asked is not None and accepted is None:
            raise OptionError(
                f"attachments: the sessions of the chat {chat.name!r} accept no files; switch "
                "both on at once with add_hosted(..., file_upload=True)"
            )
        if accepted is not None:
            options.setdefault("composer", {})["attachments"] = {**accepted, **(asked or {})}
    if not chat.has_history:
        options["history"] = {"enabled": False}
    if "locale" not in options:
        locale = _babel_locale()
        if locale is not None:
            options["locale"] = locale
    return options


def _babel_locale() -> str | None:
    """The visitor's locale as Flask-Babel knows it, when the site uses it."""
    if "babel" not in current_app.extensions:
        return None
    from flask_babel import get_locale  # type: ignore[import-untyped]

    locale = get_locale()
    return closest_locale(str(locale)) if locale else None


def _nonce(given: object) -> Markup:
    """The CSP nonce as an attribute: the option's, else that of a ``csp_nonce`` of the site."""
    if given is None:
        given = current_app.jinja_env.globals.get("csp_nonce")
    value = given() if callable(given) else given
    return _NONCE.format(value) if value else Markup()


def _assets(page: _Page, files: str, nonce: Markup) -> Markup:
    if files in page.assets:
        return Markup()
    page.assets.add(files)
    return _LINK.format(href=files + hashed_name("chatkit.css"), nonce=nonce) + _SCRIPT.format(
        src=files + hashed_name("loader.js"), nonce=nonce
    )
