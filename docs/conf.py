"""How Sphinx builds the documentation: ``sphinx-build -W -b html docs docs/_build``."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "flask_chatkit"
author = "The flask_chatkit authors"
copyright = author  # noqa: A001 - Sphinx's name
version = release = installed("flask-chatkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d5f73", "color-brand-content": "#1d5f73"},
    "dark_css_variables": {"color-brand-primary": "#7cc4d8", "color-brand-content": "#7cc4d8"},
}
# Prompts stay out of what the button copies.
copybutton_exclude = ".linenos, .gp, .go"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

#: The modules whose names are public. Everything else may move.
PUBLIC = ("flask_chatkit", *(f"flask_chatkit.{name}" for name in ("asgi", "server", "testing")))

# Every reference must resolve, except to the packages beside this one, whose documentation can't
# be fetched where there is no network, and to types that have no name of their own.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!flask_chatkit\b).*"),
]


def link_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | nodes.TextElement | None:
    """Link a name that a docstring takes from a private module to the public name for it."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    if node.get("refdomain") != "py" or not module.startswith("flask_chatkit"):
        return None
    for public in PUBLIC:
        if module != public and name in import_module(public).__all__:
            return env.domains["py"].resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], f"{public}.{name}", node, content
            )
    return None


def write_llms_txt(app: Sphinx, failed: Exception | None) -> None:
    """Write ``llms.txt``: each page's title, the address of its Markdown, and its first sentence."""
    if failed or app.builder.name not in {"html", "dirhtml"}:
        return
    lines = [f"# {project}", "", f"> {summary(app, 'index')}"]
    root = app.env.get_doctree(app.config.root_doc)
    for toctree in app.env.tocs[app.config.root_doc].findall(lambda n: n.tagname == "toctree"):
        lines += ["", f"## {toctree['caption']}", ""]
        for _, page in toctree["entries"]:
            title = app.env.titles[page].astext()
            lines.append(f"- [{title}](_sources/{page}.md.txt): {summary(app, page)}")
    del root
    Path(app.outdir, "llms.txt").write_text("\n".join(lines) + "\n", "utf-8")


def summary(app: Sphinx, page: str) -> str:
    """Return the first sentence of a page."""
    first = next(app.env.get_doctree(page).findall(nodes.paragraph)).astext()
    return re.split(r"(?<=[.:])\s", " ".join(first.split()))[0]


def setup(app: Sphinx) -> None:
    """Connect the two functions above."""
    app.connect("missing-reference", link_public_name)
    app.connect("build-finished", write_llms_txt)
