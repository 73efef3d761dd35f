"""The tables of the documentation agree with the code: complete, and nothing else in them."""

from __future__ import annotations

import inspect
import re
from typing import get_args

from flask_chatkit import ChatKit
from flask_chatkit.config import documented
from flask_chatkit.doctor.report import CHECKS
from flask_chatkit.errors import API_ERRORS
from flask_chatkit.http.rules import RULES
from flask_chatkit.identity.probes import Purpose
from flask_chatkit.options.element import ELEMENT, SHORTHANDS
from flask_chatkit.options.macros import GLYPHS, PRESENTATION
from flask_chatkit.options.translations import english, languages
from tests.helpers.gallery import DOCS as GALLERY
from tests.helpers.markdown import names, page, table, tables
from tests.helpers.paths import DOCS, STATIC

PICTURES = DOCS / "pictures"
MACROS, JAVASCRIPT = page("macros"), page("javascript")
#: What no template can say: the functions of a page's script.
UNSAYABLE = {"entities", "commands", "widgets", "on_client_tool", "api"}
#: Bytes of one picture, and of all.
PICTURE, ALL_PICTURES = 120_000, 900_000
FLAGS = re.DOTALL | re.MULTILINE


def script() -> str:
    """Return the widget's JavaScript."""
    files = [*STATIC.glob("widget.js"), *sorted((STATIC / "widget").rglob("*.js"))]
    return "\n".join(path.read_text("utf-8") for path in files)


def same(told: list[str], wanted: set[str]) -> None:
    """Check that a table has all names, each once."""
    assert set(told) ^ wanted == set(), "these are in the table or in the code only"
    assert len(told) == len(wanted)


def test_configuration_table_is_the_codes() -> None:
    """Each setting is in the table, in order, with its default and its meaning."""
    rows = [row for section in tables("key", page("configuration")) for row in section]
    assert rows == [
        [f"`{field.metadata['key']}`", field.metadata["shown"], field.metadata["doc"]]
        for field in documented()
    ]


def test_http_table_is_the_codes() -> None:
    """Each route is in the table, and nothing else."""
    told = {
        tuple(re.findall(r"`(\w+) …(/[^`]*)`", row[0])[0]) for row in table("call", page("http"))
    }
    rules = {
        (method, rule.replace("<", "{").replace(">", "}"))
        for rule, _, methods in RULES
        for method in methods.split()
        if method != "HEAD"
    }
    assert told == rules


def test_error_table_is_the_codes() -> None:
    """Each error is in the table with its status, and nothing else."""
    told = [(row[0].strip("`"), int(row[1])) for row in table("code", page("http"))]
    assert told == [(error.slug, error.code) for error in API_ERRORS]


def test_option_table_is_the_codes() -> None:
    """Each option of the element is in its table, and nothing else."""
    told = [name for row in table("option", MACROS) for name in names(row[0])]
    assert sorted(told) == sorted([*ELEMENT, *SHORTHANDS, "options"])


def test_macros_own_options_are_told() -> None:
    """Each macro's own options are in the tables, once, and nothing else."""
    all_three, floating = tables("own option", MACROS)
    assert PRESENTATION["inline"] == PRESENTATION["themed"]
    same([names(row[0])[0] for row in all_three], set(PRESENTATION["inline"]))
    own = set(PRESENTATION["floating"]) - set(PRESENTATION["inline"])
    same([names(row[0])[0] for row in floating], own)
    (icons,) = [row[1] for row in floating if row[0] == "`icon`"]
    assert set(names(icons)) == set(GLYPHS)


def test_overview_lists_every_option() -> None:
    """The table at the top of the page has all options that a macro takes, once."""
    told = [name for row in table("what", MACROS) for name in names(row[1])]
    own = {name for options in PRESENTATION.values() for name in options}
    same(told, {*own, "kit", "nonce", *ELEMENT, *SHORTHANDS, "options"} - UNSAYABLE)


def test_custom_properties_are_the_stylesheets() -> None:
    """Each property that the stylesheets read is in the table, and no other."""
    told = {
        name for row in table("custom property", MACROS) for name in re.findall(r"--[\w-]+", row[0])
    }
    read = set()
    for name in ("chatkit.css", "widget.css"):
        read |= set(re.findall(r"var\(\s*(--chatkit-[\w-]+)", (STATIC / name).read_text("utf-8")))
    # Set by the widget itself, for the option accent; and read by its script, for a themed one.
    assert told == read - {"--chatkit-accent", "--chatkit-on-accent"} | {"--chatkit-radius"}
    for rows in tables("own option", MACROS):
        for row in rows:
            assert set(re.findall(r"--[\w-]+", row[-1])) <= told


def test_words_are_the_codes() -> None:
    """Each string is in the table with its English, and the number of languages is right."""
    told = [(row[0].strip("`"), row[1]) for row in table("name", MACROS)]
    assert told == list(english()["widget"].items())
    for text in (page("README"), MACROS):
        assert f"{len(languages())} languages" in text


def test_presets_are_the_scripts() -> None:
    """Each preset is in the table with the properties that it reads."""
    (block,) = re.findall(r"^ *(?:export )?const PRESETS = \{\n(.*?)^ *\};$", script(), FLAGS)
    read = {
        name: set(re.findall(r'"(--[\w-]+)"', body))
        for name, body in re.findall(r"^ *(\w+): \{(.*?)\},?$", block, FLAGS)
    }
    told = {
        row[0].strip("`"): set(re.findall(r"`(--[\w-]+)`", " ".join(row[1:])))
        for row in table("preset", MACROS)
    }
    assert told == read


def test_events_are_the_scripts() -> None:
    """Each event that the widget sends is in the table, and nothing else."""
    (block,) = re.findall(r"^ *(?:export )?const EVENTS = \{\n(.*?)^ *\};$", script(), FLAGS)
    sent = set(re.findall(r'^ *"?([\w.]+)"?: \[', block, re.MULTILINE))
    calls = re.findall(r'(?:emit|become|setState)\(widget, "([\w.]+)"', script())
    sent |= set(calls) - {"idle", "loading"}
    rows = table("event", JAVASCRIPT)
    told = {name for row in rows for name in re.findall(r"`([\w.]+)`", row[0])}
    assert told == sent


def test_methods_are_the_loaders() -> None:
    """Each method of a chat is in the table, and nothing else."""
    loader = (STATIC / "loader.js").read_text("utf-8")
    (acts,) = re.findall(r"for \(const act of \[(.*?)\]\)", loader, re.DOTALL)
    (kept,) = re.findall(r"for \(const kind of \[(.*?)\]\)", loader)
    methods = {*re.findall(r'"(\w+)"', acts + kept), "on", "off", "tool", "action", "state"}
    told = {name for row in table("method", JAVASCRIPT) for name in re.findall(r"`(\w+)", row[0])}
    assert told == methods


def test_pictures_are_the_gallerys() -> None:
    """Each picture is one of the gallery's, is shown with an alternative text, and is small."""
    shown = re.findall(r"!\[(.*?)\]\(pictures/(.*?)\.png\)", MACROS)
    shown += [
        (words, name)
        for name, words in re.findall(r'<img src="pictures/(.*?)\.png"[^>]* alt="(.*?)">', MACROS)
    ]
    files = {path.stem: path.stat().st_size for path in PICTURES.glob("*.png")}
    assert {name for _, name in shown} == set(files) == set(GALLERY)
    assert all(len(words) > 20 for words, _ in shown)
    assert max(files.values()) <= PICTURE
    assert sum(files.values()) <= ALL_PICTURES


def test_arguments_of_add_hosted_are_told() -> None:
    """Each argument of add_hosted is in its table, in order."""
    told = [row[0].strip("`") for row in table("argument of `add_hosted`", page("quickstart"))]
    assert told == list(inspect.signature(ChatKit.add_hosted).parameters)[1:]


def test_doctors_table_is_the_codes() -> None:
    """Each check is in the deployment page's table, in order, with what it checks."""
    deployment = page("deployment")
    assert table("check", deployment) == [[f"`{made.name}`", made.about] for made in CHECKS]
    told = {row[0].strip("`") for row in table("probe", deployment)}
    assert told == set(get_args(Purpose))
