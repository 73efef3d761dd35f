"""The languages of the widget: every file has all the words, and the scripts know every file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flask_chatkit.options.translations import LOCALES, language_of
from flask_chatkit.widget.assets import served
from tests.helpers.paths import STATIC

FILES = sorted((STATIC / "lang").glob("*.json"))
# Words that a language has from English, or English from it: Message, Image, Sources, Chat, Model.
MOST_SHARED = 8
#: The module of the languages and locales that there are.
KNOWN = "shared/locales.js"

Words = dict[str, dict[str, str]]

each_language = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def read(path: Path) -> Words:
    words: Words = json.loads(path.read_text("utf-8"))
    return words


def flat(words: Words) -> dict[str, str]:
    return {f"{group}.{key}": text for group in words for key, text in words[group].items()}


def module(name: str) -> Any:
    """Read what a module exports that the server makes of JSON."""
    return json.loads(served(name).decode().removeprefix("export default "))


ENGLISH = read(STATIC / "lang" / "en.json")
BUILTIN = "".join(path.read_text("utf-8") for path in (STATIC / "builtin").rglob("*.js"))


@each_language
def test_has_the_keys_of_english(path: Path) -> None:
    """Every language has the groups and keys of English, in the same order."""
    words = read(path)
    assert list(words) == list(ENGLISH)
    for group, texts in ENGLISH.items():
        assert list(words[group]) == list(texts), group


@each_language
def test_has_the_gaps_of_english(path: Path) -> None:
    """Every text has as many gaps to fill as the English one, and no other braces."""
    words = flat(read(path))
    for key, text in flat(ENGLISH).items():
        assert words[key].count("{}") == text.count("{}"), key
        assert not re.search("[{}]", words[key].replace("{}", "")), key


@each_language
def test_texts_are_whole(path: Path) -> None:
    """No text is empty, and none has blanks at its ends, two in a row or a line break."""
    for key, text in flat(read(path)).items():
        assert text, key
        assert text == text.strip(), key
        assert not re.search(r"\s\s|[\n\t]", text), key


@each_language
def test_is_translated(path: Path) -> None:
    """Few texts equal English, and only short ones: a word may be the same in two languages."""
    words = flat(read(path))
    if path.stem == "en":
        return
    same = [key for key, text in flat(ENGLISH).items() if words[key] == text]
    assert len(same) <= MOST_SHARED, same
    assert not [key for key in same if len(words[key].split()) > 1], same


@each_language
def test_is_written_for_people(path: Path) -> None:
    """The files are readable: UTF-8 as it is, two spaces of indent, a line break at the end."""
    said = json.dumps(read(path), ensure_ascii=False, indent=2) + "\n"
    assert path.read_bytes() == said.encode()


@each_language
def test_is_a_locale_of_chatkit(path: Path) -> None:
    """Every file is named as ChatKit names the language."""
    assert path.stem in LOCALES


@pytest.mark.parametrize("script", ["builtin/element.js", "widget/i18n.js"])
def test_english_is_what_the_scripts_say(script: str) -> None:
    """The scripts show the texts of the English file, which is served as a module too."""
    assert 'import english from "../lang/en.js";' in (STATIC / script).read_text("utf-8")
    assert module("lang/en.js") == ENGLISH


def test_every_word_of_the_chat_is_used() -> None:
    """The built-in chat shows each text; some by the name of an icon or of a thread's state."""
    used = set(re.findall(r"\btext\.(\w+)", BUILTIN)) | {"close", "closed", "locked"}
    assert [key for key in ENGLISH["chat"] if key not in used] == []


def test_widget_knows_the_files() -> None:
    """The script asks for the languages that there are, and for no others."""
    assert sorted(module(KNOWN)["languages"]) == sorted(path.stem for path in FILES)


def test_widget_knows_the_locales() -> None:
    """The script and the server have the same locales of ChatKit's."""
    assert f'import known from "../{KNOWN}";' in (STATIC / "widget/i18n.js").read_text("utf-8")
    assert module(KNOWN)["locales"] == LOCALES


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("zh-HK", "zh-TW"),
        ("zh-Hant", "zh-TW"),
        ("zh-TW", "zh-TW"),
        ("zh-CN", "zh"),
        ("pt-BR", "pt"),
        ("de-DE", "de"),
        ("hu", "en"),
        ("en", "en"),
    ],
)
def test_the_closest_language(locale: str, language: str) -> None:
    """A locale gets its own language, and English where there is none."""
    assert language_of(locale) == language
