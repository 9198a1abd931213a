"""Imports point down only: docs/architecture.md draws the rooms, this test holds the drawing."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import bgpbridge

ROOT = Path(bgpbridge.__file__).parent
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "types"}),
    frozenset({"documents", "resources", "capabilities", "scheduling"}),
    frozenset({"wire", "datapath", "commits", "events", "doctor"}),
    frozenset({"rib", "policy", "rpki"}),
    frozenset({"config"}),
    frozenset({"feed", "speaker", "fib", "enrich", "health"}),
    frozenset({"pipeline"}),
    frozenset({"view"}),
    frozenset({"metrics_control"}),
    frozenset({"metrics", "api"}),
    frozenset({"daemon", "lab", "bench"}),
    frozenset({"cli"}),
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
SIDEWAYS = {
    ("policy", "rpki"),
    ("doctor", "datapath"),
    ("speaker", "feed"),
    ("health", "enrich"),
    ("metrics", "api"),
    ("api", "metrics"),
    ("bench", "lab"),
}


def rooms_imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bgpbridge"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("bgpbridge.")}
    return found - {"__version__"}


MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.name != "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    room = parts[0].removesuffix(".py")
    assert room in LEVEL or room == "__main__", f"{room} has no floor in LAYERS: put it on one"
    if room == "__main__":
        return
    for other in rooms_imported(path) - {room}:
        assert LEVEL[other] < LEVEL[room] or (room, other) in SIDEWAYS, f"{path.name} ({room}) imports {other}"


def test_every_module_imports() -> None:
    for module in pkgutil.walk_packages(bgpbridge.__path__, "bgpbridge."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
