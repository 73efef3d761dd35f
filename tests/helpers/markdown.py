"""The documentation's Markdown, as the tests read it."""

from __future__ import annotations

import inspect
import re

from tests.helpers.paths import DOCS, ROOT


def page(name: str) -> str:
    """Return the Markdown of a page of the documentation, or of the README."""
    folder = ROOT if name == "README" else DOCS
    return (folder / f"{name}.md").read_text("utf-8")


def snippets(language: str, text: str) -> list[str]:
    """Return the blocks of code in a language, without the indentation of a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [inspect.cleandoc(body) if indent else body for indent, body in found]


def marked(name: str, text: str) -> str:
    """Return the one block of code below an HTML comment with this name."""
    (found,) = re.findall(
        rf"^( *)<!-- {name} -->\n *```\w*\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE
    )
    indent, body = found
    return inspect.cleandoc(body) + "\n" if indent else body


def tables(head: str, text: str) -> list[list[list[str]]]:
    """Return the rows of the tables whose first column has this head, as lists of cells."""
    bodies = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|").split(" | ")] for row in body.splitlines()]
        for body in bodies
    ]


def table(head: str, text: str) -> list[list[str]]:
    """Return the rows of the one table with this head."""
    (rows,) = tables(head, text)
    return rows


def names(cell: str) -> list[str]:
    """Return the names in code that a cell has."""
    return re.findall(r"`(\w+)`", cell)
