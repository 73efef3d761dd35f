"""The house in order: imports point one way, the wheel is whole, every test says what it shows."""

from __future__ import annotations

import ast
import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef, unused-ignore]

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_chatkit"

#: The rooms from the ground up: a module imports only from rooms below its own.
FLOORS = (
    {
        "doctor.http",
        "doctor.report",
        "errors",
        "handlers",
        "processes",
        "server.agents.graph",
        "server.agents.half_answers",
        "server.agents.models",
        "server.agents.runner",
        "server.agents.usage",
        "server.paging",
        "server.streaming.beat",
        "server.streaming.merge",
        "server.surrogates",
        "server.tables",
        "server.threads",
        "signals",
        "signing",
        "watchdog",
        "widget.words",
        "workers",
    },
    {
        "doctor.probe",
        "hosted.deadline",
        "hosted.share",
        "quota",
        "server.agents.memory",
        "server.agents.shape",
        "server.agents.tracing",
        "server.ending_files",
        "server.filetypes",
        "server.history.calls",
        "server.history.hosted_items",
        "server.history.migrations",
        "server.loop",
        "server.operations",
        "server.widget_actions",
        "startup_checks",
        "widget.assets",
        "widget.options",
    },
    {
        "config",
        "hosted.client",
        "server.agents.mcp",
        "server.bridge",
        "server.ending_store",
        "server.history.engines",
        "server.outages",
        "server.room",
        "server.sources",
        "server.startup",
    },
    {"chats", "hosted.threads", "server.database", "server.files", "visitor"},
    {
        "hosted.export",
        "limits",
        "server.context",
        "server.history.records",
        "server.pictures",
        "sessions",
    },
    {
        "activity",
        "concurrency",
        "server.chat",
        "server.history.follow",
        "server.history.rows",
        "server.links",
        "server.owned",
        "server.repeats",
        "server.within",
    },
    {
        "bodies",
        "server.agents.converter",
        "server.assistant",
        "server.attachments",
        "server.history.claims",
        "server.history.counts",
        "server.streaming.environ",
        "server.streaming.feed",
        "server.streaming.record",
    },
    {
        "guard",
        "server.agents.budget",
        "server.agents.errors",
        "server.agents.workflow_memory",
        "server.claims",
        "server.streaming.exchange",
        "server.uploads",
    },
    {
        "asgi",
        "server.agents.refusals",
        "server.agents.told_files",
        "server.endpoint",
        "server.store",
    },
    {"server", "server.agent"},
    {"server.agents.workflow_answer"},
    {"server.agents.workflow"},
    {"server.service"},
    {"state"},
    {"cli.base", "doctor.answers", "server.history.places", "stats", "widget.render"},
    {
        "cli.stats",
        "doctor.site",
        "server.history.carried",
        "server.history.export",
        "server.history.people",
        "server.history.prune",
    },
    {
        "cli.users",
        "doctor.checks_hosted",
        "doctor.checks_limits",
        "doctor.checks_pages",
        "doctor.checks_proxy",
        "doctor.checks_served",
        "doctor.checks_setup",
        "doctor.checks_storage",
        "doctor.checks_visitors",
        "server.history.carry",
        "server.history.upkeep",
    },
    {"cli.threads", "doctor.run", "views"},
    {"cli.doctor"},
    {"kit"},
    {""},
)


def imports(path: Path) -> set[str]:
    """The package's own modules that a module imports."""
    module = path.relative_to(PACKAGE).with_suffix("").parts
    package = module if path.name == "__init__.py" else module[:-1]
    if path.name == "__init__.py":
        package = module[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            name = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                longer = f"{name}.{alias.name}".lstrip(".")
                is_module = (PACKAGE / (longer.replace(".", "/") + ".py")).is_file()
                found.add(longer if is_module else name)
    return found


def test_imports_point_one_way() -> None:
    """Each module imports only from floors below its own, and every module has a floor."""
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] == "testing":
            continue
        name = ".".join(part for part in parts if part != "__init__")
        if path.name == "__init__.py" and name not in {"", "server"}:
            assert imports(path) == set(), f"{name} is a plain package"
            continue
        for imported in imports(path):
            assert floor[imported] < floor[name], f"{name} imports {imported}"


def test_only_the_client_talks_to_openai() -> None:
    """Requests is imported by one module, and app.config is read by none but config's callers."""
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text("utf-8")
        name = path.relative_to(PACKAGE).as_posix()
        if "import requests" in source:
            # The doctor's is for the site itself.
            assert name in {"doctor/http.py", "hosted/client.py"}, name
        if ".config[" in source or ".config.get(" in source:
            # The doctor looks at the whole of it.
            assert name == "limits.py" or name.startswith(("doctor/", "testing/")), name


def test_core_needs_no_more_than_it_declares() -> None:
    """Importing the package imports no optional extra."""
    extras = [
        *("openai", "chatkit", "agents", "pydantic", "sqlalchemy", "fsspec", "puremagic"),
        *("pytest", "redis", "asgiref", "flask_babel"),
    ]
    code = f"import sys, flask_chatkit; print([name for name in {extras!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_no_field_stands_in_both_files() -> None:
    """Metadata is in pyproject.toml, packing in setup.cfg, and nothing in both."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packing = configparser.ConfigParser()
    packing.read(ROOT / "setup.cfg")
    fields = {key for section in packing.sections() for key in packing[section]}
    assert "metadata" not in packing.sections()
    assert "setuptools" not in project["tool"]
    assert not fields & set(project["project"])


def test_wheel_holds_everything(tmp_path: Path) -> None:
    """The wheel has templates, static files, the stand-in and py.typed, and none of the tests."""
    source = tmp_path / "source"
    clean = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".*", "node_modules")
    shutil.copytree(ROOT, source, ignore=clean)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(source)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = {
        path.relative_to(ROOT).as_posix()
        for package in (PACKAGE, ROOT / "demo_app")
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == tracked
    for wanted in (
        "flask_chatkit/py.typed",
        "flask_chatkit/static/loader.js",
        "flask_chatkit/templates/chatkit/macros.html",
        "flask_chatkit/testing/element/chatkit.js",
        "demo_app/__init__.py",
    ):
        assert wanted in held


def test_every_test_says_what_it_shows() -> None:
    """Each test has a docstring of one sentence."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                told = ast.get_docstring(node)
                assert told, f"{path.name}: {node.name}"
                assert told.endswith("."), f"{path.name}: {node.name}"
                assert len(told.splitlines()) == 1, f"{path.name}: {node.name}"
