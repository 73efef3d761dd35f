"""Options: what each becomes for ChatKit's element, and what the error says when it is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from flask_chatkit import OptionError
from flask_chatkit.options.element import ELEMENT, SHORTHANDS
from flask_chatkit.options.macros import PRESENTATION
from flask_chatkit.options.names import ALIASES, UNSUPPORTED
from flask_chatkit.options.read import element_options, macro_options
from flask_chatkit.options.translations import LOCALES
from flask_chatkit.options.values import closest_locale


def element(**given: Any) -> dict[str, Any]:
    return element_options(given, hosted=True)


def own(variant: str, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return macro_options(variant, given, {}, hosted=True)


BECOMES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"locale": "de_DE"}, {"locale": "de-DE"}),
    ({"locale": "PT-br"}, {"locale": "pt-BR"}),
    ({"locale": "de-CH"}, {"locale": "de"}),
    ({"frame_title": "Support"}, {"frameTitle": "Support"}),
    ({"initial_thread": None}, {"initialThread": None}),
    ({"initial_thread": "cthr_1"}, {"initialThread": "cthr_1"}),
    ({"header": False}, {"header": {"enabled": False}}),
    ({"title": "Help"}, {"header": {"title": {"enabled": True, "text": "Help"}}}),
    ({"title": False}, {"header": {"title": {"enabled": False}}}),
    (
        {"header": {"title": "Help"}},
        {"header": {"enabled": True, "title": {"enabled": True, "text": "Help"}}},
    ),
    ({"history": False}, {"history": {"enabled": False}}),
    ({"history": {"show_delete": False}}, {"history": {"enabled": True, "showDelete": False}}),
    ({"greeting": "Hi"}, {"startScreen": {"greeting": "Hi"}}),
    (
        {"prompts": ["Where is it?"]},
        {"startScreen": {"prompts": [{"label": "Where is it?", "prompt": "Where is it?"}]}},
    ),
    (
        {"prompts": [{"label": "Size", "prompt": "Which size?", "icon": "lucide:ruler"}]},
        {
            "startScreen": {
                "prompts": [{"label": "Size", "prompt": "Which size?", "icon": "lucide:ruler"}]
            }
        },
    ),
    (
        {"start_screen": {"greeting": "A"}, "greeting": "B"},
        {"startScreen": {"greeting": "B"}},
    ),
    ({"feedback": True, "retry": True}, {"threadItemActions": {"feedback": True, "retry": True}}),
    ({"placeholder": "Ask"}, {"composer": {"placeholder": "Ask"}}),
    ({"attachments": False}, {"composer": {"attachments": {"enabled": False}}}),
    (
        {"attachments": {"max_size": 1024, "max_count": 2, "accept": ["image/*"]}},
        {
            "composer": {
                "attachments": {
                    "enabled": True,
                    "maxSize": 1024,
                    "maxCount": 2,
                    "accept": {"image/*": []},
                }
            }
        },
    ),
    (
        {"accepted_file_types": {"image/png": [".png"]}, "max_file_size": 10},
        {
            "composer": {
                "attachments": {
                    "accept": {"image/png": [".png"]},
                    "maxSize": 10,
                    "enabled": True,
                }
            }
        },
    ),
    ({"disclaimer": "May err"}, {"disclaimer": {"text": "May err"}}),
    (
        {"disclaimer": {"text": "May err", "high_contrast": True}},
        {"disclaimer": {"text": "May err", "highContrast": True}},
    ),
    ({"auto_scroll": True}, {"thread": {"autoScroll": True}}),
    ({"entities": {"show_composer_menu": True}}, {"entities": {"showComposerMenu": True}}),
    ({"commands": True}, {"commands": {"enabled": True}}),
    ({"theme": "auto"}, {"theme": {}}),
    ({"theme": "dark"}, {"theme": {"colorScheme": "dark"}}),
    ({"accent": "#0a7"}, {"theme": {"color": {"accent": {"primary": "#0a7", "level": 1}}}}),
    (
        {"accent": {"primary": "teal", "level": 3}, "theme": "light"},
        {
            "theme": {
                "colorScheme": "light",
                "color": {"accent": {"primary": "teal", "level": 3}},
            }
        },
    ),
    (
        {"background": "#ffffff"},
        {"theme": {"color": {"surface": {"background": "#ffffff", "foreground": "#000000"}}}},
    ),
    (
        {"background": "#123"},
        {"theme": {"color": {"surface": {"background": "#123", "foreground": "#ffffff"}}}},
    ),
    (
        {"background": "Canvas", "foreground": "CanvasText"},
        {"theme": {"color": {"surface": {"background": "Canvas", "foreground": "CanvasText"}}}},
    ),
    ({"radius": "sharp"}, {"theme": {"radius": "sharp"}}),
    ({"radius": "0"}, {"theme": {"radius": "sharp"}}),
    ({"radius": "4px"}, {"theme": {"radius": "soft"}}),
    ({"radius": 12}, {"theme": {"radius": "round"}}),
    ({"radius": "2rem"}, {"theme": {"radius": "pill"}}),
    ({"density": "compact"}, {"theme": {"density": "compact"}}),
    ({"base_size": 16}, {"theme": {"typography": {"baseSize": 16}}}),
    ({"font_family": "Inter"}, {"theme": {"typography": {"fontFamily": "Inter"}}}),
    (
        {"grayscale": {"hue": 220, "tint": 6, "shade": -1}},
        {"theme": {"color": {"grayscale": {"hue": 220, "tint": 6, "shade": -1}}}},
    ),
    (
        {
            "theme": {
                "color_scheme": "auto",
                "color": {"accent": "#0a7"},
                "typography": {"base_size": 15},
            }
        },
        {
            "theme": {
                "color": {"accent": {"primary": "#0a7", "level": 1}},
                "typography": {"baseSize": 15},
            }
        },
    ),
]


@pytest.mark.parametrize(("given", "wanted"), BECOMES)
def test_option_becomes(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Each snake_case option lands where ChatKit wants it."""
    assert element(**given) == wanted


ALIASED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"theme": {"primaryColor": "#0a7"}}, {"accent": "#0a7"}),
    ({"primary_color": "#0a7"}, {"accent": "#0a7"}),
    ({"theme": {"backgroundColor": "#fff"}}, {"background": "#fff"}),
    (
        {"theme": {"backgroundColor": "#fff", "textColor": "#111"}},
        {"background": "#fff", "foreground": "#111"},
    ),
    ({"theme": {"fontFamily": "Inter"}}, {"font_family": "Inter"}),
    ({"theme": {"borderRadius": "8px"}}, {"radius": "round"}),
    ({"welcomeMessage": "Hi"}, {"greeting": "Hi"}),
    ({"enableFileUpload": True}, {"attachments": True}),
    (
        {"enableFileUpload": True, "maxFileSize": 9, "acceptedFileTypes": ["image/*"]},
        {"attachments": {"max_size": 9, "accept": ["image/*"]}},
    ),
    ({"startScreen": {"greeting": "Hi"}}, {"greeting": "Hi"}),
    ({"options": {"startScreen": {"greeting": "Hi"}}}, {"greeting": "Hi"}),
    (
        {"options": {"theme": {"colorScheme": "dark"}}, "accent": "#0a7"},
        {"theme": "dark", "accent": "#0a7"},
    ),
    (
        {"options": {"startScreen": {"greeting": "A", "prompts": ["p"]}}, "greeting": "B"},
        {"greeting": "B", "prompts": ["p"]},
    ),
]


@pytest.mark.parametrize(("given", "same"), ALIASED)
def test_names_from_samples_are_mapped(given: dict[str, Any], same: dict[str, Any]) -> None:
    """Names that samples on the web use do what they promise, where ChatKit can."""
    assert element(**given) == element(**same)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_names_nothing_stands_behind_say_so(name: str) -> None:
    """A name from the web that has no equivalent is refused with the reason."""
    with pytest.raises(OptionError, match="there is no option") as caught:
        element(**{name: "x"})
    assert UNSUPPORTED[name] in str(caught.value)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"greating": "x"}, "did you mean greeting"),
    ({"nonsense": 1}, "Valid options: locale, theme"),
    ({"theme": "purple"}, "auto, light, dark"),
    ({"theme": 5}, "auto, light, dark or a mapping"),
    ({"theme": {"colour": "x"}}, "did you mean color"),
    ({"theme": {"messageBackground": "#fff"}}, "whole surface"),
    ({"accent": 5}, "accent must be a CSS colour such as .*, not int"),
    ({"accent": "#0a7; evil"}, "CSS colour"),
    ({"accent": "redd"}, "CSS colour"),
    ({"accent": "#12345"}, "CSS colour"),
    ({"accent": "url(x)"}, "CSS colour"),
    ({"accent": {"level": 1}}, "needs primary"),
    ({"accent": {"primary": "#0a7", "level": 4}}, "from 0 to 3"),
    ({"accent": {"primary": "#0a7", "level": True}}, "from 0 to 3"),
    ({"background": "papayawhip"}, "needs foreground"),
    ({"grayscale": {"hue": 361, "tint": 1}}, "from 0 to 360"),
    ({"grayscale": {"hue": 1, "tint": 10}}, "from 0 to 9"),
    ({"grayscale": {"hue": 1, "tint": 1, "shade": 5}}, "from -4 to 4"),
    ({"grayscale": {"hue": 1}}, "needs tint"),
    ({"base_size": 13}, "from 14 to 18"),
    ({"base_size": 16.0}, "whole number"),
    ({"radius": "oval"}, "pill, round, soft, sharp, or a length"),
    ({"side": "left"}, "an option of the macros"),
    ({"density": "loose"}, "compact, normal, spacious"),
    ({"locale": "xx"}, "a locale of ChatKit's"),
    ({"greeting": None}, "a string, not None"),
    ({"greeting": ["x"]}, "a string, not list"),
    ({"prompts": "x"}, "a list"),
    ({"prompts": [{"prompt": "x"}]}, "needs label"),
    ({"prompts": [{"label": "x", "icon": "ufo"}]}, r"prompts\[0\].icon"),
    ({"header": {"left_action": {"icon": "menu", "on_click": "x"}}}, "JavaScript function"),
    ({"header": 1}, "True, False or a mapping"),
    ({"history": {"delete": True}}, "did you mean show_delete"),
    ({"feedback": "yes"}, "True or False"),
    ({"disclaimer": {"high_contrast": True}}, "needs text"),
    ({"attachments": {"max_size": 0}}, "max_size"),
    ({"attachments": {"max_count": 0}}, "max_count"),
    ({"on_client_tool": "x"}, "JavaScript function"),
    ({"api": {}}, "left out"),
    ({"options": "x"}, "a mapping"),
    ({"options": {"composer": {"x": 1}}}, "composer.x"),
    ({"tools": [{"id": "a", "label": "A", "icon": "bolt"}]}, "serves itself"),
    ({"models": [{"id": "a", "label": "A"}]}, "serves itself"),
    ({"dictation": True}, "serves itself"),
    ({"enableVoiceInput": True}, "serves itself"),
]


@pytest.mark.parametrize(("given", "form"), WRONG)
def test_wrong_option_is_refused(given: dict[str, Any], form: str) -> None:
    """A wrong option's error names it and what is valid."""
    with pytest.raises(OptionError, match=form):
        element(**given)


def test_served_chats_may_have_tools_and_models() -> None:
    """What hosted chats can't do is an option all the same."""
    options = element_options(
        {
            "tools": [{"id": "a", "label": "A", "icon": "bolt", "short_label": "a"}],
            "models": [{"id": "m", "label": "M", "default": True}],
            "dictation": True,
        },
        hosted=False,
    )
    assert options["composer"] == {
        "tools": [{"id": "a", "label": "A", "icon": "bolt", "shortLabel": "a"}],
        "models": [{"id": "m", "label": "M", "default": True}],
        "dictation": {"enabled": True},
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("en_GB", "en"),
        ("es_MX", "es"),
        ("es_419", "es-419"),
        ("zh_Hans_CN", "zh-CN"),
        ("zh_Hant_TW", "zh-TW"),
        ("zh_Hant", "zh-Hant"),
        ("sr_Latn_RS", "sr-RS"),
        ("sk", "sk"),
        ("eo", None),
    ],
)
def test_closest_locale(name: str, found: str | None) -> None:
    """A site's locale becomes the closest that ChatKit speaks."""
    assert closest_locale(name) == found


def test_names_are_consistent() -> None:
    """No name means two things."""
    names = [set(ELEMENT), set(SHORTHANDS), set(ALIASES), set(UNSUPPORTED)]
    assert sum(map(len, names)) == len(set.union(*names))
    assert set(ALIASES.values()) <= set(SHORTHANDS)
    assert len(LOCALES) == len(set(LOCALES)) > 100
    for checks in PRESENTATION.values():
        assert not set(checks) & set.union(*names)


OWN: list[tuple[str, Any, Any]] = [
    ("side", "left", "left"),
    ("edge", "top", "top"),
    ("offset", 20, ["20px", "20px"]),
    ("offset", "2rem", ["2rem", "2rem"]),
    ("offset", "2rem 5%", ["2rem", "5%"]),
    ("offset", ["2rem", 30], ["2rem", "30px"]),
    ("size", 44, "44px"),
    ("size", "2.75rem", "2.75rem"),
    ("z_index", -1, -1),
    ("icon", "headset", "headset"),
    ("icon", "https://shop.test/a.svg", "https://shop.test/a.svg"),
    ("icon", "a.png", "a.png"),
    ("text", "Help", "Help"),
    ("teaser", "Hi", {"text": "Hi", "delay": 5}),
    ("teaser", {"text": "Hi", "delay": 0.5}, {"text": "Hi", "delay": 0.5}),
    ("panel_header", False, False),
    ("load", "consent", "consent"),
    ("contact", "mailto:us@shop.test", {"href": "mailto:us@shop.test"}),
    ("contact", "tel:+41441234567", {"href": "tel:+41441234567"}),
    ("contact", {"href": "/help", "label": "Write"}, {"href": "/help", "label": "Write"}),
    ("strings", {"close": "Shut"}, {"close": "Shut"}),
    ("strings", {"chat": {"send": "Go"}}, {"chat": {"send": "Go"}}),
    ("preset", "auto", "auto"),
    ("message_events", True, True),
    ("page", {"product": 42, "tags": ["a"]}, {"product": 42, "tags": ["a"]}),
    ("width", 400, "400px"),
    ("height", "80dvh", "80dvh"),
]


@pytest.mark.parametrize(("name", "given", "found"), OWN)
def test_own_option_of_the_floating_widget(name: str, given: Any, found: Any) -> None:
    """An own option is checked and put into one form, and none of it reaches ChatKit's element."""
    assert own("floating", {name: given}) == ({name: found}, {})
    # ChatKit's own way to write names is understood too.
    written = "".join(
        part if number == 0 else part.capitalize() for number, part in enumerate(name.split("_"))
    )
    assert own("floating", {written: given}) == ({name: found}, {})


WRONG_OWN: list[tuple[str, Any, str]] = [
    ("side", "start", "right, left"),
    ("edge", "left", "bottom, top"),
    ("offset", "1px 2px 3px", "a length such as 20px, or two"),
    ("offset", [], "a length such as 20px, or two"),
    ("offset", "-5px", "CSS length"),
    ("offset", "calc(1px)", "CSS length"),
    ("offset", True, "a length such as 20px, or two|CSS length"),
    ("offset", None, "a length such as 20px, or two"),
    ("size", 43, "44px or more"),
    ("size", "2.5rem", "44px or more"),
    ("size", "10vw", "px or rem"),
    ("size", "50px;color:red", "CSS length"),
    ("z_index", "9", "whole number"),
    ("z_index", 2**31, "whole number"),
    ("z_index", True, "whole number"),
    ("icon", "smile", "chat, headset, question, spark, or the address"),
    ("icon", "javascript:alert(1).", "an address"),
    ("icon", "data:image/svg+xml,<svg/>", "an address"),
    ("icon", 5, "chat, headset"),
    ("text", "", "not blank"),
    ("text", 5, "a string"),
    ("teaser", " ", "not blank"),
    ("teaser", {"delay": 3}, "needs text"),
    ("teaser", {"text": "x", "delay": -1}, "from 0 to 3600"),
    ("teaser", {"text": "x", "later": 1}, "teaser.later"),
    ("panel_header", "no", "True or False"),
    ("load", "visible", "click, consent"),
    ("contact", "javascript:alert(1)", "an address such as"),
    ("contact", "JaVaScRiPt:alert(1)", "an address such as"),
    ("contact", "java\nscript:alert(1)", "an address such as"),
    ("contact", " \x01javascript:alert(1)", "an address such as"),
    ("contact", "vbscript:x", "an address such as"),
    ("contact", "", "an address such as"),
    ("contact", {"label": "Write"}, "needs href"),
    ("strings", {"clos": "x"}, "did you mean close"),
    ("strings", {"chat": {"sned": "x"}}, "did you mean send"),
    ("strings", {"close": ""}, "not blank"),
    ("strings", {"close": None}, "a string"),
    ("strings", "x", "a mapping with some of"),
    ("strings", {"chat": "x"}, "a mapping with some of"),
    ("preset", "tailwind", "auto, bootstrap, shadcn, pico, plain"),
    ("message_events", 1, "True or False"),
    ("page", "shoes", "a mapping of at most 4096 bytes of JSON"),
    ("page", {"a": {1, 2}}, "JSON"),
    ("page", {"a": "ü" * 2046}, "a mapping of at most 4096 bytes of JSON"),
    ("width", "50", "CSS length"),
    ("height", 0, "CSS length"),
    ("label", "", "not blank"),
    ("id", "1a", "HTML id"),
]


@pytest.mark.parametrize(("name", "given", "form"), WRONG_OWN)
def test_wrong_own_option_is_refused(name: str, given: Any, form: str) -> None:
    """The error of a wrong own option names it and the accepted form."""
    with pytest.raises(OptionError, match=form) as caught:
        own("floating", {name: given})
    assert name in str(caught.value)


@pytest.mark.parametrize("variant", ["inline", "themed"])
def test_chats_in_the_page_have_no_launcher(variant: str) -> None:
    """What is about a launcher belongs to the floating widget, the rest to all."""
    floating = {"side", "edge", "offset", "size", "z_index", "icon", "text", "teaser"}
    assert set(PRESENTATION["floating"]) - set(PRESENTATION[variant]) == floating | {"panel_header"}
    for name in floating:
        with pytest.raises(OptionError, match=f"not of chatkit_{variant}"):
            own(variant, {name: "x"})
    for load in ("visible", "click", "consent"):
        assert own(variant, {"load": load}) == ({"load": load}, {})


@pytest.mark.parametrize(
    ("button", "found"),
    [
        ({"icon": "home", "href": "/"}, {"icon": "home", "href": "/"}),
        (
            {"icon": "share", "action": "share", "label": "Share"},
            {"icon": "share", "action": "share", "label": "Share"},
        ),
    ],
)
def test_button_in_the_header(button: dict[str, Any], found: dict[str, Any]) -> None:
    """A button leads to an address or calls a function of the page's, by name."""
    options = element(header={"left_action": button})
    assert options["header"] == {"enabled": True, "leftAction": found}


@pytest.mark.parametrize(
    ("button", "form"),
    [
        ({"icon": "home"}, "either href, an address, or action, a name"),
        ({"icon": "home", "href": "/", "action": "go"}, "either href, an address, or action"),
        ({"href": "/"}, "needs icon"),
        ({"icon": "ufo", "href": "/"}, "sidebar-left"),
        ({"icon": "home", "href": "javascript:alert(1)"}, "an address such as"),
        ({"icon": "home", "action": ""}, "not blank"),
        ({"icon": "home", "href": "/", "label": " "}, "not blank"),
    ],
)
def test_wrong_button_in_the_header_is_refused(button: dict[str, Any], form: str) -> None:
    """A button that would do nothing, or two things, or run a script, is an error."""
    with pytest.raises(OptionError, match=form):
        element(header={"right_action": button})


def test_options_of_another_macro_are_refused() -> None:
    """Side belongs to the floating widget, and the inline one says so."""
    with pytest.raises(OptionError, match="option of chatkit_floating, not of chatkit_inline"):
        own("inline", {"side": "left"})


@pytest.mark.parametrize(
    "value", [10**400, float("inf"), float("nan"), 10**6, "٣px", "9" * 12 + "px"]
)
def test_length_beyond_reason_is_refused(value: object) -> None:
    """What no screen has, and digits that no stylesheet knows, are no length."""
    with pytest.raises(OptionError, match="width must be a CSS length"):
        own("inline", {"width": value})


NEAR = [
    ("color", "accent"),
    ("colour", "accent"),
    ("position", "side"),
    ("suggestions", "prompts"),
    ("language", "locale"),
    ("css_class", "class_name"),
    ("zIndx", "z_index"),
]


@pytest.mark.parametrize(("name", "meant"), NEAR)
def test_near_miss_is_recognised(name: str, meant: str) -> None:
    """A name that is misspelled, or another word for the same, leads to the option."""
    with pytest.raises(OptionError, match=rf"no option {name} \(did you mean {meant}\?\)$"):
        own("floating", {name: "x"})


def test_every_wrong_option_is_named() -> None:
    """One error names all wrong options of a call, the macro's own and the element's."""
    given = {
        "side": "top",
        "greeting": 5,
        "theme": {"density": "loose", "x": 1},
        "color": "red",
        "models": [{"id": "a", "label": "A"}],
    }
    with pytest.raises(OptionError) as caught:
        own("floating", given)
    for fault in (
        "side must be one of right, left",
        "greeting must be a string, not int",
        "theme.density must be one of compact, normal, spacious",
        "no option theme.x",
        "no option color (did you mean accent?)",
        "models: choosing a model works only in a chat that the site serves itself",
    ):
        assert fault in str(caught.value)


def test_number_of_faults_is_bounded() -> None:
    """A visitor's query with very many wrong options is not answered with an error for each."""
    with pytest.raises(OptionError) as caught:
        own("floating", {f"option{number}": 1 for number in range(10_000)})
    assert str(caught.value).count("there is no option") == 10
