"""The widget's HTML: functions that return safe markup, with thin macros over them.

They are Jinja globals, so that the macros work imported with and without context. The HTML has no
inline script or style; the loader reads everything from one data attribute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flask import before_render_template, current_app, g, request
from flask.sansio.app import App
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ..chats.checks import DEFAULT
from ..chats.hosted import HostedChat
from ..chats.served import Chat
from ..errors import Misconfigured, OptionError
from ..identity.origins import trusted_origin
from ..options.macros import GLYPHS
from ..options.read import macro_options
from ..options.translations import page_words
from ..registry import ChatKitState, kits, named_kit
from .assets import hashed_name
from .context import Place, find_chat, find_nonce, find_place
from .payloads import Assets, behaviour, chat_options, served_config, style

_LINK = Markup('<link rel="stylesheet" href="{href}"')
_LINK_END = Markup(">")
# The loader reads what it executes from its own tag, which no sanitiser lets through in a visitor's
# text, and accepts only widgets whose addresses are below the kit's.
_SCRIPT = Markup("<script src=\"{src}\" data-kit='{kit}' defer")
_SCRIPT_END = Markup("></script>")
_NONCE = Markup(' nonce="{}"')
_ATTRIBUTE = Markup(' {}="{}"')
_NOSCRIPT = Markup('<noscript><a href="{page}">{label}</a></noscript>')
_FLOATING = Markup(
    '<div class="chatkit chatkit-floating{classes}" id="{id}"{attributes}'
    " data-chatkit='{config}'>"
    '<button type="button" class="chatkit-launcher" aria-expanded="false"'
    ' aria-controls="{id}-panel" aria-label="{label}">{icon}{text}</button>'
    '<dialog class="chatkit-panel" id="{id}-panel" aria-label="{label}"></dialog>'
    "{noscript}</div>"
)
_INLINE = Markup(
    '<section class="chatkit chatkit-{variant}{classes}" id="{id}"{attributes}'
    " aria-label=\"{label}\" data-chatkit='{config}'>{space}{noscript}</section>"
)
_GLYPH = Markup('<svg viewBox="0 0 24 24" aria-hidden="true"><path d="{}"/></svg>')
_IMAGE = Markup('<img src="{}" alt="" width="28" height="28">')
_TEXT = Markup('<span class="chatkit-text">{}</span>')
# Keeps an inline chat's place from the first paint on. No policy forbids the attributes of an SVG
# as styles, and they take any length.
_SPACE = Markup('<svg class="chatkit-space"{} aria-hidden="true"></svg>')

#: Own options that the stylesheet reads.
_MARKS = ("side", "edge", "preset")

#: How many different widgets a kit caches the HTML of.
CACHED = 256


def _as_string(value: object) -> str:
    """A lazily translated string, or another value that JSON doesn't know, for this visitor."""
    if isinstance(value, (bytes, bytearray, set, frozenset)) or callable(value):
        raise TypeError(f"not {type(value).__name__}")
    return str(value)


_ENCODE = json.JSONEncoder(default=_as_string).encode


class _Page:
    """What has been emitted on the page that is being rendered."""

    def __init__(self) -> None:
        self.assets: set[str] = set()
        self.count = 0


def install(app: App) -> None:
    """Add what the macros need to an application's templates."""
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
    :raises OptionError: the chat or the kit does not exist, or options are wrong: names each.
        Unless ``CHATKIT_STRICT_OPTIONS`` asks for that, the widget is left out instead.
    """
    try:
        return _widget(variant, chat, dict(options or {}))
    except OptionError as error:
        kit = next(iter(kits(current_app).values()))
        if kit.is_strict(current_app):
            raise
        kit.warn_left_out(f"chatkit_{variant} on {ascii(request.path)[1:-1]}: {error}")
        if request.endpoint in {f"{name}.page" for name in kits(current_app)}:
            # A page that is nothing but the chat.
            raise Misconfigured(detail=str(error)) from error
        return Markup()


def _widget(variant: str, chat: str, given: dict[str, Any]) -> Markup:
    kit = named_kit(current_app, given.pop("kit", None))
    if not kit.settings.enabled:
        return Markup()
    found = find_chat(kit, chat)
    nonce = find_nonce(given.pop("nonce", None))
    page: _Page = g.setdefault("_chatkit_page", _Page())
    page.count += 1
    place = find_place(kit, found, page.count)
    # The same call in the same place is the same HTML, which is cached. The key has each string as
    # this visitor sees it, in this language.
    try:
        encoded = _ENCODE([found.widget, given])
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(f"an option is no string, number, list or mapping: {error}") from None
    key = (variant, found.name, encoded, place)
    html = kit.rendered.get(key)
    if html is None:
        declared, given = json.loads(encoded)
        html = _html(kit, found, variant, declared, given, place)
        if len(kit.rendered) >= CACHED:
            kit.rendered.clear()
        kit.rendered[key] = html
    return _assets(page, kit, place, nonce) + html


def embed(
    kit: ChatKitState, chat: Chat, variant: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """A widget for a page of another origin: its HTML, and its assets, with absolute URLs.

    :param variant: ``floating``, ``inline`` or ``themed``.
    :param options: keyword options of the macro.
    :raises OptionError: options are wrong: names each.
    """
    place = find_place(kit, chat, external=True)
    is_login = trusted_origin(request, kit.settings.login_origins) is not None
    given = {"id": f"chatkit-{'' if chat.name == DEFAULT else chat.name + '-'}{variant}", **options}
    return {
        "html": str(_html(kit, chat, variant, chat.widget, given, place)),
        "styles": place.files + hashed_name("chatkit.css"),
        "loader": place.files + hashed_name("loader.js"),
        "kit": {
            **Assets.of(kit, place).describe(),
            "embedded": True,
            **({"login": True} if is_login else {}),
        },
    }


def _html(
    kit: ChatKitState,
    chat: Chat,
    variant: str,
    declared: Mapping[str, Any],
    given: Mapping[str, Any],
    place: Place,
) -> Markup:
    hosted = isinstance(chat, HostedChat)
    own, options = macro_options(variant, given, declared, hosted=hosted)
    options = chat_options(kit, chat, options, place.locale)
    label = _label(own, options.get("locale"))
    config: dict[str, Any] = {
        **({"chat": chat.name} if chat.name != DEFAULT else {}),
        # The scripts know what is below it, and call nothing else: other markup may pose as ours.
        "page": place.page,
        **served_config(kit, chat, place),
        **behaviour(variant, own),
        "options": {"frameTitle": label, **options},
    }
    properties = style(own, options)
    if properties:
        config["style"] = properties
    classes = own.get("class_name", "")
    return (_FLOATING if variant == "floating" else _INLINE).format(
        variant=variant,
        classes=f" {classes}" if classes else "",
        id=own.get("id") or f"chatkit-{place.number}",
        attributes=_attributes({f"data-{name}": own.get(name) for name in _MARKS}),
        label=label,
        icon=_icon(own.get("icon", "chat")),
        text=_TEXT.format(own["text"]) if "text" in own else "",
        space=_space(own),
        config=htmlsafe_json_dumps(config, separators=(",", ":")),
        # On its own page the link would lead to where the visitor is.
        noscript="" if place.at_home else _NOSCRIPT.format(page=place.page, label=label),
    )


def _label(own: Mapping[str, Any], locale: str | None) -> str:
    """The widget's accessible name; speech control finds it by what the launcher shows."""
    text = own.get("text")
    label: str = own.get("label") or text or page_words(locale)["chat"]
    if text and text.lower() not in label.lower():
        raise OptionError("label must contain the value of text, so that speech control finds it")
    return label


def _attributes(given: Mapping[str, str | None]) -> Markup:
    return Markup().join(_ATTRIBUTE.format(name, value) for name, value in given.items() if value)


def _icon(name: str) -> Markup:
    return _GLYPH.format(GLYPHS[name]) if name in GLYPHS else _IMAGE.format(name)


def _space(own: Mapping[str, Any]) -> Markup:
    given = {name: own[name] for name in ("width", "height") if name in own}
    # An SVG takes any length, but what a percentage refers to is known outside of it only.
    fixed = {name: value for name, value in given.items() if not value.endswith("%")}
    if not fixed:
        return Markup()
    return _SPACE.format(_attributes(fixed))


def _assets(page: _Page, kit: ChatKitState, place: Place, nonce: object) -> Markup:
    if place.files in page.assets:
        return Markup()
    page.assets.add(place.files)
    link, script = _tags(Assets.of(kit, place))
    attribute = _NONCE.format(nonce) if nonce else Markup()
    return link + attribute + _LINK_END + script + attribute + _SCRIPT_END


@lru_cache(maxsize=32)
def _tags(kit: Assets) -> tuple[Markup, Markup]:
    """The tags of the assets up to the nonce, which each page has its own of."""
    return _LINK.format(href=kit.files + hashed_name("chatkit.css")), _SCRIPT.format(
        src=kit.files + hashed_name("loader.js"),
        kit=htmlsafe_json_dumps(kit.describe(), separators=(",", ":")),
    )
