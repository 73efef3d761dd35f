"""The words by which a visitor finds a thread: of its title, its messages and its files' names.

They are stored beside the text in one spelling of ASCII letters and digits that the full-text
indexes of all databases take alike: MariaDB's drops short and frequent words, and none of them
splits Chinese. A query finds the words that begin with its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

#: Characters of a text that are searched.
SEARCHED = 100_000
#: Characters of a text from which a part is shown.
READ = 10_000
#: Characters of a word that are told apart.
LONGEST = 16
#: Characters of a word as it is spelled; the indexes of MySQL and MariaDB leave out more than 84.
LONGEST_SPELLED = 80
#: Words of a query that are searched for.
MOST = 8
#: Before each word, so that it has three letters and is on no list of stop words.
MARK = "zz"

#: Scripts that are written without spaces: Han, Kana, Thai, Lao, Burmese, Khmer.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
_EMPHASIS = re.compile(r"(?<![\w\\*`~])(\*{1,3}|`{1,3}|~~)(?=[^\s*`~])([^\n]{0,200}?\S)\1(?![*`~])")
#: Marks of Markdown, and what is left of them. What can't be told from text stays as it is.
_MARKDOWN = [
    (re.compile(r"^ {0,3}(?:(`{3,}|~{3,})[\w+#-]* *|[|:-][|: -]*)$", re.MULTILINE), ""),
    (re.compile(r"^ {0,8}(?:(?:#{1,6}|>|[-*+]) +){1,6}", re.MULTILINE), ""),
    (re.compile(r"!?\[([^\]\n]{0,200})\]\([^()\s]{1,2000}\)"), r"\1"),
    # Twice, since one may be within another.
    (_EMPHASIS, r"\2"),
    (_EMPHASIS, r"\2"),
]
_ASCII = re.compile("[a-z0-9]+")
_FOREIGN = re.compile("[^a-z0-9]")


def words_of(text: str) -> str:
    """The words of a text as they are stored: each once, with a space before it."""
    return "".join(f" {word}" for word in dict.fromkeys(_words(text[:SEARCHED])))


def query_words(text: str) -> list[str]:
    """The beginnings of words that a query asks for."""
    return list(dict.fromkeys(_words(text, asked=True)))[:MOST]


def item_words(item: dict[str, Any]) -> str:
    """The words of an item, as serialised by openai-chatkit; none of what visitors don't see."""
    return words_of("\n".join(_texts(item)))


def thread_words(thread: dict[str, Any]) -> str:
    """The words of a thread's title."""
    return words_of(thread.get("title") or "")


def _texts(item: dict[str, Any]) -> Iterator[str]:
    if item["type"] in {"user_message", "assistant_message"}:
        for part in item.get("content") or ():
            yield part.get("text") or ""
        for attachment in item.get("attachments") or ():
            yield attachment.get("name") or ""
    elif item["type"] == "widget":
        yield item.get("copy_text") or ""


def shown_text(item: dict[str, Any]) -> str:
    """The start of what a visitor reads of an item, in one line and without Markdown."""
    text = "\n".join(_texts(item))[:READ]
    if item["type"] == "assistant_message":
        for marks, kept in _MARKDOWN:
            text = marks.sub(kept, text)
    return " ".join(text.split())


def _words(text: str, *, asked: bool = False) -> Iterator[str]:
    if text.isascii():
        for word in _ASCII.findall(text.lower()):
            yield MARK + word[:LONGEST]
        return
    # Without accents, but composed again: Korean letters are decomposed, too.
    apart = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter))
    for word in _word().findall(unicodedata.normalize("NFC", plain)):
        if _UNSPACED.search(word):
            yield from _pairs(word, asked=asked)
        else:
            yield _spelled(word[:LONGEST])


def _pairs(word: str, *, asked: bool) -> Iterator[str]:
    """A text without spaces as overlapping pairs of characters, by which each part is found."""
    start = 0
    for found in _UNSPACED.finditer(word):
        if start < found.start():
            yield _spelled(word[start : found.start()][:LONGEST])
        run, start = found[0], found.end()
        for at in range(len(run)):
            # The last character alone is a word, for queries of one; it's no part of longer ones.
            if not (asked and at and at == len(run) - 1):
                yield _spelled(run[at : at + 2])
    if start < len(word):
        yield _spelled(word[start:][:LONGEST])


def _spelled(word: str) -> str:
    spelled = MARK + _FOREIGN.sub(lambda found: f"u{ord(found[0]):05x}", word)
    return spelled[:LONGEST_SPELLED]


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    # Vowel signs of Indic scripts are marks, which \w leaves out.
    marks = "".join(
        chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M"
    )
    return re.compile(rf"[^\W_](?:[^\W_]|[{marks}])*")
