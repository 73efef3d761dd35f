"""How Sphinx builds the documentation: ``sphinx-build -W -b html docs docs/_build``."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from pygments.lexers.templates import HtmlDjangoLexer
from sphinx.highlighting import lexers

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# The checkout that the pages belong to, whatever is installed.
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

project = "flask_chatkit"
author = "The flask_chatkit authors"
copyright = author  # noqa: A001 - Sphinx's name
version = release = installed("flask-chatkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
# The templates are HTML.
lexers["jinja"] = HtmlDjangoLexer()
# Pygments does not know the attributes of Alpine.
suppress_warnings = ["misc.highlighting_failure"]

myst_enable_extensions = ["html_image"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d5f73", "color-brand-content": "#1d5f73"},
    "dark_css_variables": {"color-brand-primary": "#7cc4d8", "color-brand-content": "#7cc4d8"},
}
# Prompts and output are not copied.
copybutton_exclude = ".linenos, .gp, .go"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

#: The modules whose names are public. Names elsewhere may move in any release.
PUBLIC = ("flask_chatkit", *(f"flask_chatkit.{name}" for name in ("asgi", "server", "testing")))

#: Pages that are files of the checkout: contributors look for them there.
CHECKOUT = {
    "benchmarks": "tests/bench/README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "threat-model": "SECURITY.md",
}

# Every reference must resolve, except to other packages: their documentation can't be looked up
# without a network.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!flask_chatkit\b).*")]


def read_checkout(app: Sphinx, page: str, source: list[str]) -> None:
    """Read a page that is a file of the checkout, and have links to such files lead to pages."""
    pages = {ROOT / file: name for name, file in CHECKOUT.items()}
    place = ROOT / CHECKOUT[page] if page in CHECKOUT else ROOT / "docs" / f"{page}.md"
    text = place.read_text("utf-8") if page in CHECKOUT else source[0]
    app.env.note_dependency(place)

    def lead(link: re.Match[str]) -> str:
        target = (place.parent / link[1]).resolve()
        if target in pages:
            return f"](/{pages[target]}.md{link[2]})"
        return f"](/{target.relative_to(ROOT / 'docs')}{link[2]})" if page in CHECKOUT else link[0]

    source[0] = re.sub(r"\]\((?!https?:|#|/)([^)#\s]+)(#[^)\s]*|)\)", lead, text)


def link_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | nodes.TextElement | None:
    """Link a name of a private module to its public name, or leave it as plain text.

    A name that does not exist stays unresolved, which is an error.
    """
    target = node.get("reftarget", "")
    module, _, name = target.rpartition(".")
    if node.get("refdomain") != "py" or not module.startswith("flask_chatkit"):
        return None
    for public in PUBLIC:
        if module != public and name in import_module(public).__all__:
            domain, document = env.domains["py"], node["refdoc"]
            return domain.resolve_xref(
                env, document, app.builder, node["reftype"], f"{public}.{name}", node, content
            )
    return content if exists(target) else None


def exists(target: str) -> bool:
    """Return whether a dotted name is that of something in a module, or in a class of one."""
    module, _, name = target.rpartition(".")
    try:
        return hasattr(import_module(module), name)
    except ImportError:
        module, _, kind = module.rpartition(".")
        return bool(module) and hasattr(getattr(import_module(module), kind, None), name)


def label_cells(_app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Repeat the column's heading in each cell of a wide table, for narrow screens to show."""
    for table in doctree.findall(nodes.table):
        head = next(table.findall(nodes.thead), None)
        labels = [cell.astext() for cell in head.findall(nodes.entry)] if head else []
        for row in next(table.findall(nodes.tbody)).findall(nodes.row):
            for label, cell in list(zip(labels, row, strict=True))[1:] if len(labels) > 2 else ():
                if cell.children:
                    cell[0].insert(0, nodes.inline("", f"{label}: ", classes=["cell-label"]))


def write_llms_txt(app: Sphinx, failed: Exception | None) -> None:
    """Write ``llms.txt``: each page's title, its Markdown's address, and its first sentence."""
    if failed or app.builder.name != "html":
        return
    lines = [f"# {project}", "", f"> {first_sentence(app, app.config.root_doc)}"]
    for toctree in app.env.tocs[app.config.root_doc].findall(lambda node: "entries" in node):
        lines += ["", f"## {toctree['caption']}", ""]
        for title, page in toctree["entries"]:
            named = title or app.env.titles[page].astext()
            lines.append(f"- [{named}](_sources/{page}.md.txt): {first_sentence(app, page)}")
    Path(app.outdir, "llms.txt").write_text("\n".join(lines) + "\n", "utf-8")
    for page, file in CHECKOUT.items():
        source = Path(app.outdir, "_sources", f"{page}.md.txt")
        source.write_text((ROOT / file).read_text("utf-8"), "utf-8")


def first_sentence(app: Sphinx, page: str) -> str:
    """Return the first sentence of a page."""
    paragraph = next(app.env.get_doctree(page).findall(nodes.paragraph))
    return re.split(r"(?<=\.) ", " ".join(paragraph.astext().split()))[0]


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", read_checkout)
    app.connect("missing-reference", link_public_name)
    app.connect("doctree-resolved", label_cells)
    app.connect("build-finished", write_llms_txt)
