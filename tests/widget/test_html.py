"""Rendering: whole HTML, with and without context, nonces, assets once a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from flask import Flask, render_template_string
from jinja2 import DictLoader

from flask_chatkit import ChatKit, OptionError
from flask_chatkit.options.macros import GLYPHS
from flask_chatkit.widget.assets import hashed_name
from tests.helpers.sites import MakeApp

IMPORT = '{% from "chatkit/macros.html" import chatkit_floating, chatkit_inline, chatkit_themed %}'
HEAD = (
    f'<link rel="stylesheet" href="/chatkit/static/{hashed_name("chatkit.css")}">'
    f'<script src="/chatkit/static/{hashed_name("loader.js")}" data-kit=\'{{"base":"/chatkit/",'
    f'"widget":"/chatkit/static/{hashed_name("widget/index.js")}",'
    f'"styles":"/chatkit/static/{hashed_name("widget.css")}","script":'
    '"https://cdn.platform.openai.com/deployments/chatkit/chatkit.js"}\' defer></script>'
)
URLS = '"page":"/chatkit/"'


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """Make a site with a second chat, on OpenAI's own script."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin", widget={"greeting": "Welcome"})
    kit.add_hosted("files", "wf_standin", file_upload={"max_file_size": 2}, history=False)
    return make_app(kit, CHATKIT_SCRIPT_URL=None)


def render(app: Flask, template: str, **context: Any) -> str:
    with app.test_request_context("/"):
        return render_template_string(IMPORT + template, **context)


def config(html: str) -> dict[str, Any]:
    """Read what the loader reads."""
    (found,) = re.findall(r"data-chatkit='([^']*)'", html)
    return dict(json.loads(found))


def test_floating_is_a_button_and_a_closed_dialog(app: Flask) -> None:
    """The whole HTML of the floating widget."""
    assert render(app, "{{ chatkit_floating() }}") == (
        HEAD + '<div class="chatkit chatkit-floating" id="chatkit-1"'
        " data-chatkit='{" + URLS + ',"options":{"frameTitle":"Chat"}}\'>'
        '<button type="button" class="chatkit-launcher" aria-expanded="false"'
        ' aria-controls="chatkit-1-panel" aria-label="Chat">'
        '<svg viewBox="0 0 24 24" aria-hidden="true">'
        '<path d="M5 3h14a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3h-7l-6 4.5V17H5a3 3 0 0 1-3-3V6a3 3 0 0 1'
        ' 3-3z"/></svg></button>'
        '<dialog class="chatkit-panel" id="chatkit-1-panel" aria-label="Chat"></dialog>'
        '<noscript><a href="/chatkit/">Chat</a></noscript></div>'
    )


def test_inline_is_a_named_section(app: Flask) -> None:
    """The whole HTML of the inline widget."""
    html = render(app, '{{ chatkit_inline("sales", height="500px", id="talk", label="Ask us") }}')
    assert html == (
        HEAD + '<section class="chatkit chatkit-inline" id="talk" aria-label="Ask us"'
        ' data-chatkit=\'{"chat":"sales",'
        + URLS.replace("/chatkit/", "/chatkit/sales/")
        + ',"options":{"frameTitle":"Ask us","startScreen":{"greeting":"Welcome"}},'
        '"style":{"height":"500px"}}\'>'
        '<svg class="chatkit-space" height="500px" aria-hidden="true"></svg>'
        '<noscript><a href="/chatkit/sales/">Ask us</a></noscript></section>'
    )


def test_themed_says_so(app: Flask) -> None:
    """The themed widget asks the loader to take the site's look."""
    html = render(app, '{{ chatkit_themed(accent="#0a7", radius="round") }}')
    assert 'class="chatkit chatkit-themed"' in html
    assert config(html)["preset"] == "auto"
    assert config(html)["style"] == {"accent": "#0a7", "on-accent": "#000000"}
    assert config(html)["options"]["theme"] == {
        "color": {"accent": {"level": 1, "primary": "#0a7"}},
        "radius": "round",
    }


def test_assets_are_emitted_once_a_page(app: Flask) -> None:
    """Several widgets share their assets and have ids of their own; the next page starts anew."""
    html = render(app, "{{ chatkit_floating() }}{{ chatkit_inline() }}{{ chatkit_themed() }}")
    assert html.count("<script") == html.count("<link") == 1
    assert re.findall(r' id="([^"]+)"', html) == [
        "chatkit-1",
        "chatkit-1-panel",
        "chatkit-2",
        "chatkit-3",
    ]
    with app.test_request_context("/"):
        pages = [render_template_string(IMPORT + "{{ chatkit_inline() }}") for _ in range(2)]
    assert pages[0] == pages[1]
    assert pages[1].startswith(HEAD)


@pytest.mark.parametrize("how", ["", " with context", " without context"])
def test_macros_work_however_imported(app: Flask, how: str) -> None:
    """Imported with or without context, and from Jinja's cached module, the macros are the same."""
    template = '{% import "chatkit/macros.html" as chat' + how + " %}{{ chat.chatkit_inline() }}"
    with app.test_request_context("/"):
        assert [render_template_string(template) for _ in range(2)] == [
            render_template_string(IMPORT + "{{ chatkit_inline() }}")
        ] * 2


def test_values_are_escaped(app: Flask) -> None:
    """Neither an option nor a label can leave its attribute, nor end a script."""
    evil = "'\"></script><script>alert(1)</script>&"
    html = render(
        app,
        "{{ chatkit_floating(greeting=evil, label=evil, class_name=evil) }}",
        evil=evil,
    )
    assert html.count("<script") == 1
    assert config(html)["options"]["startScreen"]["greeting"] == evil
    assert 'aria-label="&#39;&#34;&gt;&lt;/script&gt;' in html


@pytest.mark.parametrize("nonce", ["abc'\"", lambda: "abc'\""], ids=["text", "callable"])
def test_nonce_is_carried(app: Flask, nonce: Any) -> None:
    """A nonce, as text or callable, by option or by the site's csp_nonce, is escaped."""
    wanted = ' nonce="abc&#39;&#34;"'
    assert render(app, "{{ chatkit_inline(nonce=n) }}", n=nonce).count(wanted) == 2
    app.jinja_env.globals["csp_nonce"] = nonce
    assert render(app, "{{ chatkit_inline() }}").count(wanted) == 2


def test_disabled_kit_renders_nothing(make_app: MakeApp) -> None:
    """With CHATKIT_ENABLED False the macros render nothing, whatever their options."""
    app = make_app(CHATKIT_ENABLED=False)
    assert render(app, "{{ chatkit_floating(nonsense=1) }}{{ chatkit_inline('nobody') }}") == ""


@pytest.mark.parametrize(
    ("call", "form"),
    [
        ("chatkit_inline('nobody')", "no chat 'nobody'; declared chats: default, files, sales"),
        ("chatkit_inline(greating='x')", "did you mean greeting"),
        ("chatkit_inline(clas_name='x')", "did you mean class_name"),
        ("chatkit_inline(label=' ')", "not blank"),
        ("chatkit_inline(side='left')", "chatkit_floating"),
        ("chatkit_floating(side='top')", "right, left"),
        ("chatkit_inline(load='later')", "visible, click, consent"),
        ("chatkit_floating(load='visible')", "click, consent"),
        ("chatkit_inline(teaser='x')", "option of chatkit_floating, not of chatkit_inline"),
        ("chatkit_floating(contact='javascript:alert(1)')", "an address such as"),
        ("chatkit_floating(strings={'clos': 'x'})", "did you mean close"),
        ("chatkit_themed(preset='tailwind')", "auto, bootstrap, shadcn, pico, plain"),
        ("chatkit_inline(height='tall')", "CSS length"),
        ("chatkit_inline(height='1px;position:fixed')", "CSS length"),
        ("chatkit_inline(id='a b')", "HTML id"),
        ("chatkit_inline(attachments=True)", "file_upload=True"),
        ("chatkit_inline(kit='nobody')", "no kit 'nobody'"),
    ],
)
def test_wrong_option_is_an_error_at_render_time(app: Flask, call: str, form: str) -> None:
    """A wrong option, chat or kit is an error that names the valid ones."""
    with pytest.raises(OptionError, match=form):
        render(app, "{{ " + call + " }}")


def test_missing_default_chat_is_an_error(make_app: MakeApp) -> None:
    """Without a default chat the error says what to set."""
    app = make_app(CHATKIT_WORKFLOW_ID=None)
    with pytest.raises(OptionError, match="CHATKIT_WORKFLOW_ID"):
        render(app, "{{ chatkit_inline() }}")


def test_one_switch_sets_the_attachment_button(app: Flask) -> None:
    """A chat whose sessions accept files has the button, with the same bounds in bytes."""
    options = config(render(app, "{{ chatkit_inline('files', attachments={'max_count': 1}) }}"))
    assert options["options"]["composer"]["attachments"] == {
        "enabled": True,
        "maxSize": 2 * 1024 * 1024,
        "maxCount": 1,
    }
    off = config(render(app, "{{ chatkit_inline('files', attachments=False) }}"))
    assert off["options"]["composer"]["attachments"] == {"enabled": False}


def test_sessions_without_history_show_none(app: Flask) -> None:
    """A chat whose sessions keep no history does not offer any."""
    assert config(render(app, "{{ chatkit_inline('files') }}"))["options"]["history"] == {
        "enabled": False
    }


def test_locale_comes_from_flask_babel(app: Flask, missing: Callable[[str, str], NoReturn]) -> None:
    """With Flask-Babel the widget speaks the visitor's language, unless an option says which."""
    try:
        from flask_babel import Babel
    except ImportError:
        missing("Flask-Babel", "pip install 'flask-chatkit[test]'")
    Babel(app, locale_selector=lambda: "pt_BR")
    assert config(render(app, "{{ chatkit_inline() }}"))["options"]["locale"] == "pt-BR"
    chosen = config(render(app, "{{ chatkit_inline(locale='de') }}"))
    assert chosen["options"]["locale"] == "de"


def test_lazy_texts_are_texts(app: Flask) -> None:
    """A lazily translated text is one."""

    class Lazy:
        def __str__(self) -> str:
            return "Hallo"

    html = render(app, "{{ chatkit_inline(greeting=lazy) }}", lazy=Lazy())
    assert config(html)["options"]["startScreen"]["greeting"] == "Hallo"


def test_remembered_html_is_what_was_asked_for(app: Flask) -> None:
    """The same call is the same HTML; anything that it depends on makes another one."""
    call = "{{ chatkit_inline(greeting=greeting, feedback=flag) }}"
    first = render(app, call, greeting="A", flag=True)
    assert render(app, call, greeting="A", flag=True) == first
    assert render(app, call, greeting="B", flag=True) != first
    with pytest.raises(OptionError, match="feedback"):
        render(app, call, greeting="A", flag=1)
    with app.test_request_context("/", environ_overrides={"SCRIPT_NAME": "/shop"}):
        assert '"page":"/shop/chatkit/"' in render_template_string(
            IMPORT + "{{ chatkit_inline() }}"
        )
    for number in range(600):
        render(app, call, greeting=str(number), flag=True)
    assert len(app.extensions["chatkit"]["chatkit"].rendered) <= 256


def test_option_that_refers_to_itself_is_refused(app: Flask) -> None:
    """A loop among the options is an error, not a crash."""
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(OptionError, match="Circular reference"):
        render(app, "{{ chatkit_inline(options=loop) }}", loop=loop)


def test_declared_lazy_text_is_each_visitors_own(make_app: MakeApp) -> None:
    """What a chat's declaration says lazily is not remembered for the next visitor."""

    class Greeting:
        name = "Ann"

        def __str__(self) -> str:
            return f"Hello {self.name}"

    greeting = Greeting()
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin", widget={"greeting": greeting})
    app = make_app(kit)
    for Greeting.name in ("Ann", "Bob"):
        html = render(app, "{{ chatkit_inline('sales') }}")
        assert f"Hello {Greeting.name}" in html


@pytest.mark.parametrize("value", [b"x", {"a"}, {(1, 2): 3}, print], ids=ascii)
def test_values_that_no_page_can_hold_are_refused(app: Flask, value: Any) -> None:
    """Bytes, sets, functions and keys that are no texts are errors of the option."""
    with pytest.raises(OptionError, match="no string, number, list or mapping"):
        render(app, "{{ chatkit_inline(options={'x': value}) }}", value=value)


def test_name_of_a_chat_is_a_text(app: Flask) -> None:
    """Something else in its place is an error."""
    with pytest.raises(OptionError, match="chat's name, not list"):
        render(app, "{{ chatkit_inline(['sales']) }}")


def test_site_may_replace_the_page(app: Flask) -> None:
    """A template of the site's own of the same name takes the full page's place."""
    app.jinja_loader = DictLoader({"chatkit/page.html": "mine {{ chat }}"})  # type: ignore[misc]
    assert app.test_client().get("/chatkit/sales/").text == "mine sales"


def test_full_page_has_no_link_to_itself(app: Flask) -> None:
    """On its own page the widget does not link to the page."""
    page = app.test_client().get("/chatkit/").text
    assert "chatkit-full" in page
    assert 'href="/chatkit/"' not in page
    assert 'href="/chatkit/sales/"' not in app.test_client().get("/chatkit/sales/").text


@pytest.mark.parametrize(
    ("locale", "lang", "direction", "back"),
    [
        (None, "en", "ltr", "Back to the site"),
        ("de_AT", "de", "ltr", "Zurück zur Website"),
        ("ar", "ar", "rtl", "العودة إلى الموقع"),
        ("hu", "hu", "ltr", "Back to the site"),
    ],
)
def test_full_page_says_its_language(
    make_app: MakeApp, locale: str | None, lang: str, direction: str, back: str
) -> None:
    """The page of a chat that is declared in a language is in it, as far as there are words."""
    kit = ChatKit()
    kit.add_hosted("sales", "wf_standin", widget={"locale": locale} if locale else {})
    page = make_app(kit).test_client().get("/chatkit/sales/").text
    assert f'<html lang="{lang}" dir="{direction}">' in page
    assert back in page


# --- the macros' own options ---


def test_options_of_a_launcher_are_in_its_html(app: Flask) -> None:
    """The whole HTML of a floating widget that has every option; nothing of it is a style."""
    call = (
        "chatkit_floating(side='left', edge='top', offset='1rem 20px', size=50, z_index=3,"
        " icon='/a.png?b&c', text='Hi', label='Hi there', teaser='Psst', panel_header=False,"
        " preset='pico', contact='mailto:a@b.test', strings={'close': 'Shut'},"
        " message_events=True, page={'product': 42}, load='consent', width='20rem',"
        " height='80%', class_name='x y')"
    )
    assert render(app, "{{ " + call + " }}").removeprefix(HEAD) == (
        '<div class="chatkit chatkit-floating x y" id="chatkit-1" data-side="left"'
        ' data-edge="top" data-preset="pico" data-chatkit=\'{'
        + URLS
        + ',"contact":{"href":"mailto:a@b.test"},"load":"consent","messageEvents":true,'
        '"strings":{"close":"Shut"},"teaser":{"delay":5,"text":"Psst"},"about":{"product":42},'
        '"preset":"pico",'
        '"panelHeader":false,"options":{"frameTitle":"Hi there"},"style":{"width":"20rem",'
        '"height":"80%","size":"50px","z-index":3,"offset-inline":"1rem",'
        '"offset-block":"20px"}}\'>'
        '<button type="button" class="chatkit-launcher" aria-expanded="false"'
        ' aria-controls="chatkit-1-panel" aria-label="Hi there">'
        '<img src="/a.png?b&amp;c" alt="" width="28" height="28">'
        '<span class="chatkit-text">Hi</span></button>'
        '<dialog class="chatkit-panel" id="chatkit-1-panel" aria-label="Hi there"></dialog>'
        '<noscript><a href="/chatkit/">Hi there</a></noscript></div>'
    )


@pytest.mark.parametrize("name", GLYPHS)
def test_glyph_is_drawn(app: Flask, name: str) -> None:
    """Each of the launcher's glyphs is a path of its own, hidden from screen readers."""
    html = render(app, "{{ chatkit_floating(icon='" + name + "') }}")
    svg = f'<svg viewBox="0 0 24 24" aria-hidden="true"><path d="{GLYPHS[name]}"/></svg>'
    assert html.count(svg) == 1


@pytest.mark.parametrize(
    ("call", "space"),
    [
        ("height='20rem'", 'height="20rem"'),
        ("width=500", 'width="500px"'),
        ("height='50vh', width='30em'", 'width="30em" height="50vh"'),
        ("height=300, width='80%'", 'height="300px"'),
        ("width='80%'", None),
        ("", None),
    ],
)
def test_chat_in_the_page_holds_its_place(app: Flask, call: str, space: str | None) -> None:
    """A size is in the HTML, as attributes that no policy forbids; a percentage is not."""
    html = render(app, "{{ chatkit_inline(" + call + ") }}")
    wanted = f'<svg class="chatkit-space" {space} aria-hidden="true"></svg>' if space else ""
    assert re.findall(r"<svg.*?</svg>", html) == ([wanted] if wanted else [])
    assert "style=" not in html


def test_text_of_a_launcher_is_its_name(app: Flask) -> None:
    """What is seen is what speech control hears; a label may say more, but not something else."""
    html = render(app, "{{ chatkit_floating(text='Ask us') }}")
    assert html.count('aria-label="Ask us"') == 2
    assert 'aria-label="Ask us now"' in render(
        app, "{{ chatkit_floating(text='ask us', label='Ask us now') }}"
    )
    with pytest.raises(OptionError, match="label must contain the value of text"):
        render(app, "{{ chatkit_floating(text='Ask us', label='Chat') }}")


@pytest.mark.parametrize("debug", [True, False])
def test_developer_is_known_to_the_page(app: Flask, debug: bool) -> None:
    """Only where the application is debugged the widget names causes."""
    app.debug = debug
    assert ('"debug":true' in render(app, "{{ chatkit_inline() }}")) is debug


def test_preset_of_themed_is_auto(app: Flask) -> None:
    """The themed chat looks for the site's look, others when an option says so."""
    for call, preset in (
        ("chatkit_themed()", "auto"),
        ("chatkit_themed(preset='shadcn')", "shadcn"),
        ("chatkit_inline(preset='plain')", "plain"),
        ("chatkit_floating(preset='auto')", "auto"),
        ("chatkit_inline()", None),
        ("chatkit_floating()", None),
    ):
        assert config(render(app, "{{ " + call + " }}")).get("preset") == preset


def test_accent_without_a_known_contrast_has_no_ink(app: Flask) -> None:
    """Of a colour that only a browser can read the stylesheet finds the contrast."""
    for accent, style in (
        ("#0b5fff", {"accent": "#0b5fff", "on-accent": "#ffffff"}),
        ("#ffe000", {"accent": "#ffe000", "on-accent": "#000000"}),
        ("teal", {"accent": "teal"}),
        ("oklch(70% 0.2 140)", {"accent": "oklch(70% 0.2 140)"}),
    ):
        assert config(render(app, "{{ chatkit_floating(accent=a) }}", a=accent))["style"] == style


def test_name_is_in_the_visitors_language(
    app: Flask, missing: Callable[[str, str], NoReturn]
) -> None:
    """Without a label the widget is named in Flask-Babel's language, or in the option's."""
    try:
        from flask_babel import Babel
    except ImportError:
        missing("Flask-Babel", "pip install 'flask-chatkit[test]'")
    Babel(app, locale_selector=lambda: "ja_JP")
    assert 'aria-label="チャット"' in render(app, "{{ chatkit_floating() }}")
    assert 'aria-label="الدردشة"' in render(app, "{{ chatkit_inline(locale='ar') }}")
    assert 'aria-label="Chat"' in render(app, "{{ chatkit_inline(locale='de') }}")
