"""The checks of this project, each by one name: for a contributor, ``.ci/run`` and the workflows.

``nox`` runs what a change needs before it is proposed: ``lint`` and ``fast``. ``nox -R -s fast``
runs a session again without installing anything.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.sessions = ["lint", "fast"]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = os.environ.get("CI") == "true"

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
BIOME = "@biomejs/biome@2.6.8"
TYPESCRIPT = "typescript@7.0.2"
#: Benches that end within minutes; the others are described in tests/bench/README.md.
BENCHES = ["mint", "render"]


def npm(session: nox.Session, *packages: str) -> Path | None:
    """Install npm packages; the folder of their programs, or None where npm is missing."""
    if shutil.which("npm") is None:
        if os.environ.get("CI") == "true":
            session.error("npm is missing, and CI runs everything")
        session.warn("npm is missing: JavaScript is not checked")
        return None
    prefix = Path(session.create_tmp(), "npm").resolve()
    flags = ["--silent", "--no-audit", "--no-fund", "--no-save", "--prefix", str(prefix)]
    session.run("npm", "install", *flags, *packages, external=True)
    return prefix / "node_modules" / ".bin"


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that need no browser, no server and no patience; under a minute."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "auto", "-m", "fast", *session.posargs)


@nox.session
def full(session: nox.Session) -> None:
    """Run every test with coverage, and hold the coverage to its gate."""
    session.install("-e", ".[coverage]")
    session.run("coverage", "erase")
    session.run("pytest", "-n", "auto", "--cov", "--cov-report=", *session.posargs)
    if not session.posargs:
        session.run("coverage", "report")


@nox.session(python=PYTHONS)
@nox.parametrize("dependencies", ["newest", "lowest"])
def tests(session: nox.Session, dependencies: str) -> None:
    """Run the tests without a browser on a Python, with the newest or the lowest dependencies."""
    if dependencies == "lowest":
        # pip has no such resolution.
        session.install("uv")
        python = str(Path(session.bin, "python"))
        resolution = ["--resolution", "lowest-direct", "--python", python]
        session.run("uv", "pip", "install", *resolution, "-e", ".[test]")
    else:
        session.install("-e", ".[test]")
    session.run("pytest", "-n", "auto", "-m", "not browser", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Run the tests in Chromium."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "auto", "-m", "browser", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style, types, layers, templates, workflows and JavaScript."""
    session.install("-e", ".[lint]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-cache")
    session.run("djlint", "--lint", "flask_chatkit/templates", "demo_app/templates")
    workflows = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    if programs := npm(session, BIOME, TYPESCRIPT):
        paths = ["flask_chatkit", "demo_app", "tests/js"]
        session.run(str(programs / "biome"), "check", "--config-path=.ci", *paths, external=True)
        if Path(".ci/tsconfig.json").exists():
            session.run(str(programs / "tsc"), "--project", ".ci/tsconfig.json", external=True)
        session.run(".ci/vendor", "--check", external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the source distribution, and the wheel from it, into a folder: dist by default."""
    session.install("build")
    session.run("python", "-m", "build", "--outdir", *(session.posargs or ["dist"]), ".")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the short benches, or those that are named: ``nox -s bench -- mint --rounds 3``."""
    session.install("-e", ".[bench]")
    named, options = session.posargs[:1] or BENCHES, session.posargs[1:]
    for name in named:
        session.run("python", f"tests/bench/{name}.py", *options)
