"""The widget's HTML: functions that return safe markup, with thin macros over them.

They are Jinja globals, so the macros work imported with and without context. What they emit holds
no inline script or style; the loader reads everything from one data attribute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import before_render_template, current_app, g, request, url_for
from flask.sansio.app import App
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ..chats.declarations import DEFAULT, Chat, HostedChat, ServedChat
from ..config import LOOPBACK
from ..errors import Misconfigured, NotFound, OptionError
from ..identity.origins import trusted_origin
from ..options.element import GLYPHS, camel, closest_locale, element_options, ink_on, split
from ..options.translations import page_words
from ..registry import ChatKitState, named_kit
from .assets import hashed_name

_LINK = Markup('<link rel="stylesheet" href="{href}"')
_LINK_END = Markup(">")
# The loader takes what is executed from its own tag, which no sanitiser lets a visitor's text
# bring along, and lets a widget's addresses lie below the kit's only.
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
# Holds an inline chat's place from the first paint on: the attributes of an SVG are no style that
# a policy forbids, and take any length.
_SPACE = Markup('<svg class="chatkit-space"{} aria-hidden="true"></svg>')

#: Own options that the stylesheet reads.
_MARKS = ("side", "edge", "preset")
#: Own options that become custom properties of the widget: ``--chatkit-…``.
_STYLES = ("width", "height", "size", "z_index")


#: How many different widgets a kit remembers the HTML of.
REMEMBERED = 256


def _shown(value: object) -> str:
    """What a lazily translated text, or another that JSON doesn't know, shows to this visitor."""
    if isinstance(value, (bytes, bytearray, set, frozenset)) or callable(value):
        raise TypeError(f"not {type(value).__name__}")
    return str(value)


_ENCODE = json.JSONEncoder(default=_shown).encode


class _Place(NamedTuple):
    """Where a widget is rendered: all that its HTML depends on beside its options."""

    page: str
    kit: str
    files: str
    at_home: bool
    is_local: bool
    locale: str | None
    number: int


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
    page: _Page = g.setdefault("_chatkit_page", _Page())
    page.count += 1
    place = _place(kit, declared, page.count)
    # The same call in the same place is the same HTML: it is put together once. What a text shows
    # to this visitor, in this language, is part of the key.
    try:
        said = _ENCODE([declared.widget, given])
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(f"an option is no text, number, list or mapping: {error}") from None
    key = (variant, id(declared), said, place)
    html = kit.rendered.get(key)
    if html is None:
        html = _html(kit, declared, variant, json.loads(said), place)
        if len(kit.rendered) >= REMEMBERED:
            kit.rendered.clear()
        kit.rendered[key] = html
    return _assets(page, kit, place, nonce) + html


def _html(
    kit: ChatKitState, chat: Chat, variant: str, said: Sequence[Mapping[str, Any]], place: _Place
) -> Markup:
    declared, given = said
    own, element = split(variant, given)
    options = _options(kit, chat, {**declared, **element}, place.locale, variant)
    label = _label(own, options.get("locale"))
    config: dict[str, Any] = {
        **({"chat": chat.name} if chat.name != DEFAULT else {}),
        # The scripts know what lies below it, and go nowhere else: other markup may pose as ours.
        "page": place.page,
        **_served(kit, chat, place),
        **_behaviour(variant, own),
        "options": {"frameTitle": label, **options},
    }
    style = _style(own, options)
    if style:
        config["style"] = style
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
    """The widget's accessible name; whoever says what they see to speech control finds it."""
    text = own.get("text")
    label: str = own.get("label") or text or page_words(locale)["chat"]
    if text and text.lower() not in label.lower():
        raise OptionError("label must contain what text shows, so that it can be said to find it")
    return label


def _behaviour(variant: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """What the widget's scripts are told of its own options."""
    found: dict[str, Any] = {
        camel(name): own[name]
        for name in ("contact", "load", "message_events", "strings", "teaser")
        if name in own
    }
    preset = own.get("preset") or ("auto" if variant == "themed" else None)
    if preset:
        found["preset"] = preset
    if own.get("panel_header") is False:
        found["panelHeader"] = False
    return found


def _style(own: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What the loader sets as custom properties of the widget."""
    style = {name.replace("_", "-"): own[name] for name in _STYLES if name in own}
    if "offset" in own:
        style["offset-inline"], style["offset-block"] = own["offset"]
    accent = options.get("theme", {}).get("color", {}).get("accent")
    if accent:
        # The launcher and the widget's own buttons wear the chat's accent too.
        style["accent"] = accent["primary"]
        contrast = ink_on(accent["primary"])
        if contrast:
            style["on-accent"] = contrast
    return style


def _attributes(given: Mapping[str, str | None]) -> Markup:
    return Markup().join(_ATTRIBUTE.format(name, value) for name, value in given.items() if value)


def _icon(name: str) -> Markup:
    return _GLYPH.format(GLYPHS[name]) if name in GLYPHS else _IMAGE.format(name)


def _space(own: Mapping[str, Any]) -> Markup:
    given = {name: own[name] for name in ("width", "height") if name in own}
    # An SVG takes any length, but what a percentage is a part of is known outside of it only.
    fixed = {name: value for name, value in given.items() if not value.endswith("%")}
    if not fixed:
        return Markup()
    return _SPACE.format(_attributes(fixed))


def embed(
    kit: ChatKitState, chat: Chat, variant: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """A widget for a page of another origin: its HTML, and the assets it needs, at full addresses.

    :param variant: ``floating``, ``inline`` or ``themed``.
    :param options: keyword options of the macro.
    :raises OptionError: an option is wrong.
    """
    place = _place(kit, chat, external=True)
    is_login = trusted_origin(request, kit.settings.login_origins) is not None
    said = {"id": f"chatkit-{'' if chat.name == DEFAULT else chat.name + '-'}{variant}", **options}
    return {
        "html": str(_html(kit, chat, variant, [chat.widget, said], place)),
        "styles": place.files + hashed_name("chatkit.css"),
        "loader": place.files + hashed_name("loader.js"),
        "kit": {
            **_kit_of(kit, place).describe(),
            "embedded": True,
            **({"login": True} if is_login else {}),
        },
    }


def page_context(kit: ChatKitState, chat: Chat) -> dict[str, Any]:
    """What ``chatkit/page.html`` is rendered with, in the visitor's language."""
    place = _place(kit, chat)
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


def describe(kit: ChatKitState, chat: Chat) -> dict[str, Any]:
    """What a widget may know of a chat; nothing in it is secret, and none of it is OpenAI's id."""
    place = _place(kit, chat)
    served = isinstance(chat, ServedChat)
    return {
        "chat": chat.name,
        "mode": "served" if served else "hosted",
        **_addresses(place),
        **_api(kit, chat, place),
        "script": kit.settings.script_url,
        "options": _options(kit, chat, chat.widget, place.locale),
    }


def _api(kit: ChatKitState, chat: Chat, place: _Place) -> dict[str, Any]:
    """Where the calls of a served chat go; those of a hosted one ChatKit's element knows."""
    told = _served(kit, chat, place)
    if told.pop("served", False):
        told |= {"api": f"{place.page}api", "config": f"{place.page}config"}
    if "upload" in told:
        direct = told["upload"] == "direct"
        where = {"uploadUrl": f"{place.page}attachments"} if direct else {}
        told["upload"] = {"type": told["upload"], **where}
    return told


def _served(kit: ChatKitState, chat: Chat, place: _Place) -> dict[str, Any]:
    """What the scripts are told of a served chat; nothing of a hosted one."""
    if not isinstance(chat, ServedChat):
        return {}
    told: dict[str, Any] = {"served": True}
    if kit.settings.domain_key is not None:
        told["domainKey"] = kit.settings.domain_key
    elif place.is_local:
        # OpenAI checks no key there, and the element wants to be given one.
        told["domainKey"] = "domain_pk_localhost"
    if chat.attachments_accepted is not None:
        told["upload"] = "two_phase" if chat.upload == "two_phase" else "direct"
    return told


def _place(kit: ChatKitState, chat: Chat, number: int = 0, *, external: bool = False) -> _Place:
    def at(endpoint: str, **values: Any) -> str:
        return url_for(f"{kit.name}.{endpoint}", _external=external, **values)

    page = at("page", chat=None if chat.name == DEFAULT else chat.name)
    return _Place(
        page=page,
        kit=at("page") if chat.name != DEFAULT else page,
        files=at("static", filename=""),
        at_home=request.root_path + request.path == page,
        is_local=urlsplit(request.host_url).hostname in LOOPBACK,
        locale=_babel_locale(),
        number=number,
    )


def _addresses(place: _Place) -> dict[str, str]:
    """Where a chat's page and calls are; the kit's rules are all below the page's."""
    return {
        "page": place.page,
        "secret": f"{place.page}secret",
        "session": f"{place.page}session/",
    }


def _chat(kit: ChatKitState, name: object) -> Chat:
    if not isinstance(name, str):
        raise OptionError(f"the first argument is a chat's name, not {type(name).__name__}")
    try:
        return kit.chat(name)
    except (NotFound, Misconfigured) as error:
        known = ", ".join(sorted(kit.chats)) or "none"
        reason = error.detail or f"there is no chat {name!r}"
        raise OptionError(f"{reason}; declared chats: {known}") from None


def _options(
    kit: ChatKitState,
    chat: Chat,
    given: Mapping[str, Any],
    locale: str | None,
    variant: str | None = None,
) -> dict[str, Any]:
    options = element_options(given, hosted=isinstance(chat, HostedChat), variant=variant)
    asked = options.get("composer", {}).get("attachments")
    if asked is None or asked["enabled"]:
        accepted = chat.attachments(kit.settings)
        if asked is not None and accepted is None:
            switch = "file_upload" if isinstance(chat, HostedChat) else "attachments"
            raise OptionError(
                f"attachments: the sessions of the chat {chat.name!r} accept no files; switch "
                f"both on at once where the chat is declared, with {switch}=True"
            )
        if accepted is not None:
            options.setdefault("composer", {})["attachments"] = {**accepted, **(asked or {})}
    dictation = options.get("composer", {}).get("dictation")
    if (
        dictation
        and dictation["enabled"]
        and not (isinstance(chat, ServedChat) and chat.takes_dictation)
    ):
        raise OptionError(
            f"dictation: nothing turns speech into text in the chat {chat.name!r}; declare it with "
            "@chatkit.transcriber, or override transcribe in its server"
        )
    if isinstance(chat, ServedChat) and chat.callbacks.feedback is not None:
        # Whoever listens wants to be told: the thumbs are there unless they are switched off.
        options.setdefault("threadItemActions", {}).setdefault("feedback", True)
    if not chat.has_history:
        options["history"] = {"enabled": False}
    if locale is not None:
        options.setdefault("locale", locale)
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


def _assets(page: _Page, kit: ChatKitState, place: _Place, nonce: Markup) -> Markup:
    if place.files in page.assets:
        return Markup()
    page.assets.add(place.files)
    link, script = _tags(_kit_of(kit, place))
    return link + nonce + _LINK_END + script + nonce + _SCRIPT_END


class _Kit(NamedTuple):
    """What the loader is told of a kit depends on no more than this."""

    files: str
    base: str
    script: str
    debug: bool

    def describe(self) -> dict[str, Any]:
        """What its widgets' addresses lie below, and what is run."""
        return {
            "base": self.base,
            "widget": self.files + hashed_name("widget/index.js"),
            "styles": self.files + hashed_name("widget.css"),
            "script": self.script,
            **({"debug": True} if self.debug else {}),
        }


def _kit_of(kit: ChatKitState, place: _Place) -> _Kit:
    return _Kit(place.files, place.kit, kit.settings.script_url, bool(current_app.debug))


@lru_cache(maxsize=32)
def _tags(kit: _Kit) -> tuple[Markup, Markup]:
    """The tags of the assets up to the nonce, which is another one for each page."""
    return _LINK.format(href=kit.files + hashed_name("chatkit.css")), _SCRIPT.format(
        src=kit.files + hashed_name("loader.js"),
        kit=htmlsafe_json_dumps(kit.describe(), separators=(",", ":")),
    )
