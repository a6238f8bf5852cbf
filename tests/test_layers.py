"""Imports go down: from a layer of the package to itself and to those below it."""

from __future__ import annotations

import ast
import pathlib

import metajax

PACKAGE = pathlib.Path(metajax.__file__).parent
# From top to bottom.
LAYERS = (
    ("__init__", "__main__"),
    ("cli",),
    ("experiments", "zoo"),
    ("run",),
    ("training", "evaluation", "exporting", "progress"),
    ("algorithms",),
    ("composition",),
    ("outer",),
    ("inner",),
    ("data",),
    ("tasks",),
    ("networks", "losses"),
    ("core",),
)
HEIGHTS = {name: -height for height, names in enumerate(LAYERS) for name in names}


def _imported(tree: ast.AST) -> set[str]:
    """Rooms and modules of the package that a module imports, also inside of functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{one.name}" for one in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("metajax.")}
    return found


def test_imports_go_down():
    up = []
    for path in sorted(PACKAGE.rglob("*.py")):
        here = path.relative_to(PACKAGE)
        height = HEIGHTS[here.parts[0].removesuffix(".py")]
        imported = _imported(ast.parse(path.read_text(encoding="utf-8")))
        up += [
            f"{here} imports {one}" for one in sorted(imported) if HEIGHTS.get(one, height) > height
        ]
    assert not up
