"""The widget's translations: one file for each language in ``static/lang``.

A file has three groups: ``widget`` and ``chat``, which the scripts show, and ``page``, which the
server renders. The scripts import English as a module, and the languages and locales from
``static/shared/locales.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent.parent / "static"
FOLDER = STATIC / "lang"

Words = Mapping[str, Mapping[str, str]]

#: ChatKit's locales, as it names them: ``de``, ``pt-BR``.
LOCALES: list[str] = json.loads((STATIC / "shared" / "locales.json").read_text("utf-8"))["locales"]


@cache
def languages() -> frozenset[str]:
    """The languages that are translated, as ChatKit names them: ``de``, ``zh-TW``."""
    return frozenset(path.stem for path in FOLDER.glob("*.json"))


@cache
def _read(language: str) -> Words:
    words: Words = json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
    return words


def english() -> Words:
    """The English strings, whose keys every translation has."""
    return _read("en")


def page_words(locale: str | None) -> Mapping[str, str]:
    """The strings that the server renders, in the language of a locale of ChatKit's."""
    return _read(language_of(locale) if locale else "en")["page"]


def language_of(locale: str) -> str:
    """The closest language that is translated; English without one."""
    if locale in {"zh-HK", "zh-Hant"}:
        # They are written as in Taiwan.
        return "zh-TW"
    for name in (locale, locale.partition("-")[0]):
        if name in languages():
            return name
    return "en"
