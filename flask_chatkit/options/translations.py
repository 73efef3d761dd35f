"""The widget's own words: which languages there are, and what is said on the server in them.

``static/lang`` has a file for each language, of three groups: ``widget`` and ``chat``, which the
scripts show, and ``page``, which is shown by the server. The scripts import English as a module,
and the languages and locales that there are from ``static/shared/locales.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent.parent / "static"
FOLDER = STATIC / "lang"

Words = Mapping[str, Mapping[str, str]]

#: All that ChatKit speaks, as it names them: ``de``, ``pt-BR``.
LOCALES: list[str] = json.loads((STATIC / "shared" / "locales.json").read_text("utf-8"))["locales"]


@cache
def languages() -> frozenset[str]:
    """The languages that there are words in, as ChatKit names them: ``de``, ``zh-TW``."""
    return frozenset(path.stem for path in FOLDER.glob("*.json"))


@cache
def _read(language: str) -> Words:
    words: Words = json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
    return words


def english() -> Words:
    """The words in English, which every other language has the same keys of."""
    return _read("en")


def page_words(locale: str | None) -> Mapping[str, str]:
    """What is said on the server: in the language of a locale of ChatKit's, else in English."""
    return _read(language_of(locale) if locale else "en")["page"]


def language_of(locale: str) -> str:
    """The closest of the languages that there are words in; English for others."""
    if locale in {"zh-HK", "zh-Hant"}:
        # They write as in Taiwan.
        return "zh-TW"
    for name in (locale, locale.partition("-")[0]):
        if name in languages():
            return name
    return "en"
